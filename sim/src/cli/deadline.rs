//! When a campaign that lasts so many minutes begins no further seed: the one use of a clock, outside of every run.
#![expect(clippy::disallowed_types, reason = "how long a campaign lasts changes nothing in any run")]

use std::time::{Duration, Instant};

/// A moment, or none.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// So long from now; never when that is None.
    pub(crate) fn after(time: Option<Duration>) -> Self {
        Self(time.map(|time| Instant::now() + time))
    }

    pub(crate) fn is_over(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }
}
