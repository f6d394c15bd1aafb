//! Godown's checker: recorded histories in, verdicts out.
//!
//! A history is what the clients of a store saw: every call they made, and what came back. This library reads
//! and writes histories ([`history`]), and judges them.
//! It knows nothing of the store: it shares no code with the core, least of all the clock code, because a checker
//! that shares a mistake with what it checks would not see it.

pub mod history;
