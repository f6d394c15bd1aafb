//! Causality by dots (Almeida, Shoker, Baquero, "Delta state replicated data types", 2018).
//!
//! A [`Dot`] names one update for ever. A [`Context`] is a set of dots that somebody has seen. A [`Causal`]
//! container pairs the dots that are still visible (its [`store`]) with everything that it has seen; a dot
//! that is seen and not visible has been replaced or removed. One [`Causal::join`] serves replication, read
//! repair and anti-entropy. [`Clock`] is the same set for a whole partition instead of a key.

mod clock;
mod context;
mod dot;
pub mod store;

pub use clock::Clock;
pub use context::Context;
pub use dot::Dot;
pub use store::{Causal, DotFun, DotStore, Payload};
