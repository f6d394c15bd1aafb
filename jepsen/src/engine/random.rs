//! Random numbers for tests of engines: a few lines of xorshift, the same on every machine.

/// A source of random numbers; its seed is not 0.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) % u64::from(bound)) as u32
    }

    /// Whether something happens that happens so many times in a hundred.
    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// Whether something happens that happens once in so many times.
    pub(crate) fn is_one_in(&mut self, bound: u32) -> bool {
        self.below(bound) == 0
    }
}

/// How many rounds to play: all of them in release, fewer while debugging.
pub(crate) fn rounds(release: u32) -> u32 {
    if cfg!(debug_assertions) { release / 10 } else { release }
}
