//! The actors that the objects of a partition name at rest, by number.
//!
//! A life is 128 random bits, and every sibling names one. At rest a partition keeps each life once, in a row of its
//! own, and objects name it by a number: dense from 0, in the order in which rows first named them. A number means the
//! same life for as long as the store lives, so numbers are never given anew. The table in memory may be ahead of the
//! disk, because a number is given when a row is made and the row may never land. Therefore every write of a row carries
//! all numbers that are not known to be on disk: whichever writes land, and in whatever order they fail, the stored
//! table has no hole, and no stored object names a number that is not in it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::id::Life;

/// The most numbers that a partition gives out. Lives beyond them are named by their 16 bytes.
pub const ACTORS_MAX: usize = (1 << 14) - 1;

/// One partition's table from numbers to actors, and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actors {
    lives: Vec<Life>,
    numbers: BTreeMap<Life, u32>,
    /// How many of the numbers are known to be on disk: always the first ones.
    stored: usize,
}

impl Actors {
    /// The table of a partition that has no rows.
    #[must_use]
    pub const fn new() -> Self {
        Self { lives: Vec::new(), numbers: BTreeMap::new(), stored: 0 }
    }

    /// How many numbers have been given.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lives.len()
    }

    /// Whether no number has been given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// The actor with this number; None when it was never given.
    #[must_use]
    pub fn life(&self, number: u64) -> Option<Life> {
        self.lives.get(usize::try_from(number).ok()?).copied()
    }

    /// The number of an actor, a new one if it has none yet; None once all [`ACTORS_MAX`] are given.
    pub fn number(&mut self, life: Life) -> Option<u32> {
        if let Some(&number) = self.numbers.get(&life) {
            return Some(number);
        }
        (self.lives.len() < ACTORS_MAX).then(|| self.give(life))
    }

    fn give(&mut self, life: Life) -> u32 {
        let number = u32::try_from(self.lives.len()).expect("fewer rows than that fit any disk");
        self.lives.push(life);
        self.numbers.insert(life, number);
        number
    }

    /// The numbers that are not known to be on disk, in order: what every write of a row is to carry.
    pub fn unstored(&self) -> impl Iterator<Item = (u32, Life)> + '_ {
        (0..).zip(&self.lives).skip(self.stored).map(|(number, &life)| (number, life))
    }

    /// A write is on disk that was made, and carried what was not stored, when there were `len` numbers.
    pub fn landed(&mut self, len: usize) {
        assert!(len <= self.lives.len(), "numbers have landed that were never given");
        self.stored = self.stored.max(len);
    }

    /// Takes up a stored number. False when it does not follow upon those before, or its actor has one already: then
    /// nothing in this partition can be told apart from other actors' dots.
    pub(crate) fn load(&mut self, number: u32, life: Life) -> bool {
        let fits = self.stored == self.lives.len()
            && usize::try_from(number).is_ok_and(|number| number == self.lives.len())
            && !self.numbers.contains_key(&life);
        if fits {
            self.give(life);
            self.stored = self.lives.len();
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unstored(actors: &Actors) -> Vec<u32> {
        actors.unstored().map(|(number, _)| number).collect()
    }

    #[test]
    fn numbers_are_dense_and_stay() {
        let mut actors = Actors::new();
        let given: Vec<_> = [7, 9, 7, 8].map(|life| actors.number(Life(life))).into();
        assert_eq!(given, [Some(0), Some(1), Some(0), Some(2)]);
        assert_eq!([0, 1, 2, 3].map(|n| actors.life(n)), [Some(Life(7)), Some(Life(9)), Some(Life(8)), None]);
        assert_eq!(actors.life(u64::MAX), None);
    }

    #[test]
    fn a_number_is_carried_until_a_write_that_carried_it_has_landed() {
        let mut actors = Actors::new();
        actors.number(Life(7));
        let first = actors.len();
        actors.number(Life(9));
        let second = actors.len();
        assert_eq!(unstored(&actors), [0, 1]);
        actors.landed(first);
        assert_eq!(unstored(&actors), [1], "the second write may still fail");
        actors.landed(second);
        actors.landed(first);
        assert_eq!(unstored(&actors), []);
    }

    #[test]
    fn no_more_numbers_are_given_than_the_limit() {
        let mut actors = Actors::new();
        for life in 0..ACTORS_MAX {
            assert_eq!(actors.number(Life(life as u128)), u32::try_from(life).ok());
        }
        assert_eq!(actors.number(Life(u128::MAX)), None);
        assert_eq!(actors.number(Life(5)), Some(5), "those that have one keep it");
        assert_eq!(actors.len(), ACTORS_MAX);
    }
}
