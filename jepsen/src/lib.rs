//! Godown's checker: recorded histories in, verdicts out.
//!
//! A history is what the clients of a store saw: every call they made, and what came back. [`history`] reads and
//! writes histories; [`check`] judges whether they keep the store's promises, and explains where they do not;
//! [`generate`] makes histories to order. [`specification`] judges objects of your own, from a test in Rust.
//! The library knows nothing of the store: it shares no code with the core, least of all the clock code, because a checker
//! that shares a mistake with what it checks would not see it.
//!
//! ```
//! use godown_jepsen::check::{self, Options, Verdict};
//! use godown_jepsen::history::{Event, History};
//!
//! let history: History = [
//!     Event::invoke(0, "write").key("k").value(17).seen([0; 0]),
//!     Event::ok(0, "write").key("k"),
//!     Event::invoke(1, "read").key("k").node("n1").phase("final"),
//!     Event::ok(1, "read").key("k").node("n1").phase("final").value([0; 0]),
//! ]
//! .into_iter()
//! .collect();
//! let report = check::auto(&history, &Options::default()).unwrap();
//! assert_eq!(report.verdict, Verdict::Violated);
//! assert!(report.to_string().contains("lost write on key k: write 17 was acknowledged"));
//! ```

pub mod check;
mod engine;
pub mod generate;
pub mod history;
pub mod page;
pub mod specification;
