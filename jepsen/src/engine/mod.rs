//! Algorithms that decide, on plain numbers.
//!
//! An engine knows no history, no file and no words: keys, values and sessions are small numbers that the caller gave
//! out, times are positions among all events, and an answer names the calls that decide it by their place in the
//! input. So an engine can be judged by brute force on random small inputs, and run on large ones without a file. What
//! an input means, and how an answer is told, is the business of `check`.

pub(crate) mod append;
pub(crate) mod causal;
pub(crate) mod context;
pub(crate) mod counter;
pub(crate) mod ending;
pub(crate) mod graph;
pub(crate) mod mask;
pub(crate) mod order;
pub(crate) mod queue;
pub(crate) mod quick;
#[cfg(test)]
pub(crate) mod random;
pub(crate) mod search;
pub(crate) mod session;
pub(crate) mod set;
pub(crate) mod set_full;
pub(crate) mod staleness;
pub(crate) mod text;
pub(crate) mod wgl;
pub(crate) mod zones;
