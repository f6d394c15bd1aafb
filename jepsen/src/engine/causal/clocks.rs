//! Clocks: for each column the number below which its accesses are known.
//!
//! A walk needs a clock for each session, and for a write only while it has readers to come, so clocks come from a
//! pool and go back to it. All lie in one piece of memory; a clock is its number there.

/// Clocks, reused when nobody needs them any more.
pub(super) struct Pool {
    columns: usize,
    words: Vec<u32>,
    free: Vec<u32>,
    count: u32,
}

impl Pool {
    pub(super) fn new(columns: usize) -> Self {
        Pool { columns, words: Vec::new(), free: Vec::new(), count: 0 }
    }

    /// A clock that knows nothing.
    pub(super) fn take(&mut self) -> u32 {
        if let Some(clock) = self.free.pop() {
            self.of_mut(clock).fill(0);
            return clock;
        }
        self.words.resize(self.words.len() + self.columns, 0);
        self.count += 1;
        self.count - 1
    }

    pub(super) fn copy(&mut self, clock: u32) -> u32 {
        let copy = self.take();
        let start = clock as usize * self.columns;
        self.words.copy_within(start..start + self.columns, copy as usize * self.columns);
        copy
    }

    pub(super) fn give_back(&mut self, clock: u32) {
        self.free.push(clock);
    }

    pub(super) fn of(&self, clock: u32) -> &[u32] {
        &self.words[clock as usize * self.columns..][..self.columns]
    }

    pub(super) fn of_mut(&mut self, clock: u32) -> &mut [u32] {
        &mut self.words[clock as usize * self.columns..][..self.columns]
    }

    pub(super) fn join(&mut self, clock: u32, other: u32) {
        let (clock, other) = (clock as usize * self.columns, other as usize * self.columns);
        if clock < other {
            let (low, high) = self.words.split_at_mut(other);
            join(&mut low[clock..][..self.columns], &high[..self.columns]);
        } else if clock > other {
            let (low, high) = self.words.split_at_mut(clock);
            join(&mut high[..self.columns], &low[other..][..self.columns]);
        }
    }
}

pub(super) fn join(clock: &mut [u32], other: &[u32]) {
    for (bound, other) in clock.iter_mut().zip(other) {
        *bound = (*bound).max(*other);
    }
}

/// Joins a clock with another and says whether it grew.
pub(super) fn join_grows(clock: &mut [u32], other: &[u32]) -> bool {
    let mut has_grown = false;
    for (bound, other) in clock.iter_mut().zip(other) {
        has_grown |= *other > *bound;
        *bound = (*bound).max(*other);
    }
    has_grown
}
