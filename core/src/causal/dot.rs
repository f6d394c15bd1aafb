//! The name of one update.

use core::fmt;

use crate::id::Life;

/// One update: the `n`-th that `actor` made in some partition. Every write mints one, deletes included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The life that minted it.
    pub actor: Life,
    /// Counted up from 1, without gaps at its own actor.
    pub n: u64,
}

impl Dot {
    /// The highest number that a dot can have. Nobody counts that far.
    pub const N_MAX: u64 = u64::MAX - 1;

    /// Whether the number is one that can be minted.
    #[must_use]
    pub const fn is_real(self) -> bool {
        self.n >= 1 && self.n <= Self::N_MAX
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.n)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
