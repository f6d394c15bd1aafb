//! Randomness that is nobody's secret: every draw follows from a seed and from what it is drawn for.
//!
//! A [`Rng`] is one stream. Each part of a run (the scenario, the network, the disks, the clients) has a stream of
//! its own, named by its purpose, so that one part drawing once more leaves the others as they were. The draws
//! are made here from the generator's 64-bit words and not with `rand`'s distributions: those may change their
//! values with any release, and a seed must mean the same scenario for as long as the scenario's drawing stays.

use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One stream of randomness.
#[derive(Clone, Debug)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// The stream of `seed` for `purpose`.
    #[must_use]
    pub fn stream(seed: u64, purpose: &str) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(xxh3_64_with_seed(purpose.as_bytes(), seed)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// When `bound` is 0: there is no such number.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a number below zero was asked for");
        // The bias is below 2^-32 for every bound used here; nothing statistical rests on it.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    /// When `low` is above `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a number between {low} and {high} was asked for");
        low + self.below(high - low + 1)
    }

    /// A number from `low` to `high` whose order of magnitude is drawn first: small ones are as likely as large ones.
    ///
    /// # Panics
    /// When `low` is 0 or above `high`.
    pub fn magnitude(&mut self, low: u64, high: u64) -> u64 {
        assert!(0 < low && low <= high, "a magnitude between {low} and {high}");
        let doublings = u64::from((high / low).ilog2());
        let floor = low << self.between(0, doublings);
        self.between(floor, high.min(floor * 2))
    }

    /// Whether something happens that happens `permille` times in a thousand.
    pub fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.below(1_000) < u64::from(permille)
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = self.below(choices.len() as u64);
        &choices[usize::try_from(index).expect("it is below a length")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_for_ever() {
        let mut rng = Rng::stream(7, "network");
        let drawn: Vec<u64> = (0..4).map(|_| rng.below(1_000)).collect();
        assert_eq!(drawn, [402, 545, 902, 749], "seeds would mean other scenarios");
    }

    #[test]
    fn streams_of_one_seed_do_not_follow_each_other() {
        assert_ne!(Rng::stream(7, "network").bits(), Rng::stream(7, "disk").bits());
        assert_ne!(Rng::stream(7, "network").bits(), Rng::stream(8, "network").bits());
    }

    #[test]
    fn draws_stay_within_their_bounds_and_reach_them() {
        let mut rng = Rng::stream(0, "test");
        let between: Vec<u64> = (0..1_000).map(|_| rng.between(3, 5)).collect();
        assert!((3..=5).all(|n| between.contains(&n)) && between.iter().all(|n| (3..=5).contains(n)));
        let magnitudes: Vec<u64> = (0..1_000).map(|_| rng.magnitude(10, 10_000)).collect();
        assert!(magnitudes.iter().all(|n| (10..=10_000).contains(n)));
        let small = magnitudes.iter().filter(|n| **n < 100).count();
        assert!((200..500).contains(&small), "{small} of 1,000 are below 100");
        assert!(!rng.chance(0) && (0..100).all(|_| rng.chance(1_000)));
    }
}
