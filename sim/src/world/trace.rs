//! A run's events as lines for people: time, node, what happened.
//!
//! Lines are made only when somebody asked for them; a run without a trace pays one comparison an event.

use std::fmt;

use crate::scenario::{SECOND, US};

/// Lines, if they are wanted.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Vec<String>>);

/// How much of a line is kept; what a message says can be long.
const LINE_MAX: usize = 300;

impl Trace {
    /// A trace that keeps lines, or does not.
    #[must_use]
    pub fn new(wanted: bool) -> Self {
        Self(wanted.then(Vec::new))
    }

    /// Something happened on a node.
    pub fn line(&mut self, at_ns: u64, node: usize, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.0 {
            let what = what();
            let cut = what.char_indices().nth(LINE_MAX).map_or(what.len(), |(at, _)| at);
            let more = if cut < what.len() { "…" } else { "" };
            lines.push(format!("{} n{} {}{more}", Stamp(at_ns), node + 1, &what[..cut]));
        }
    }

    /// Something happened to the world.
    pub fn note(&mut self, at_ns: u64, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.0 {
            lines.push(format!("{} -- {}", Stamp(at_ns), what()));
        }
    }

    /// The lines.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.0.unwrap_or_default()
    }
}

/// A time in seconds, to the microsecond.
struct Stamp(u64);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4}.{:06}", self.0 / SECOND, self.0 % SECOND / US)
    }
}
