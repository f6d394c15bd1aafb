//! Counting answers: has a quorum been reached, can it still be?

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::id::NodeId;

/// How a count of answers stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Answers are still out that could decide it.
    Pending,
    /// Enough replicas have said yes.
    Reached,
    /// Too many have said no.
    Impossible,
}

/// Quorums among a number of replicas: sets of their places as bits, and how many of each set are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sets {
    sets: Vec<(u128, u32)>,
    /// Whether every one is needed, or any one.
    is_all: bool,
}

impl Sets {
    /// All of these are needed.
    #[must_use]
    pub fn all(sets: impl Iterator<Item = (u128, usize)>) -> Self {
        Self::new(sets, true)
    }

    /// One of these is needed.
    #[must_use]
    pub fn any(sets: impl Iterator<Item = (u128, usize)>) -> Self {
        Self::new(sets, false)
    }

    fn new(sets: impl Iterator<Item = (u128, usize)>, is_all: bool) -> Self {
        let mut sets: Vec<(u128, u32)> = sets.map(|(set, needed)| (set, needed as u32)).collect();
        sets.dedup();
        Self { sets, is_all }
    }
}

/// Answers of up to 128 replicas, each counted once however often it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    replicas: u32,
    yes: u128,
    no: u128,
    sets: Sets,
}

impl Tally {
    /// No answer yet from `replicas` of which `needed` must say yes.
    ///
    /// # Panics
    /// When `needed` is 0 or above `replicas`, or `replicas` above 128: a checked configuration allows neither.
    #[must_use]
    pub fn new(replicas: usize, needed: usize) -> Self {
        assert!((1..=replicas).contains(&needed), "{needed} needed of {replicas}");
        let everybody = u128::MAX >> (128 - replicas.min(128));
        Self::of(replicas, Sets::all([(everybody, needed)].into_iter()))
    }

    /// No answer yet from `replicas`, which must make up `sets`.
    ///
    /// # Panics
    /// When there are none, or more than 128.
    #[must_use]
    pub fn of(replicas: usize, sets: Sets) -> Self {
        assert!((1..=128).contains(&replicas), "{replicas} replicas");
        assert!(!sets.sets.is_empty(), "a quorum of nothing");
        Self { replicas: replicas as u32, yes: 0, no: 0, sets }
    }

    /// The replica at `index` says yes. False when it had answered before.
    pub fn yes(&mut self, index: usize) -> bool {
        let fresh = self.is_awaited(index);
        if fresh {
            self.yes |= 1 << index;
        }
        fresh
    }

    /// The replica at `index` says no. False when it had answered before.
    pub fn no(&mut self, index: usize) -> bool {
        let fresh = self.is_awaited(index);
        if fresh {
            self.no |= 1 << index;
        }
        fresh
    }

    /// Whether the replica at `index` has not answered yet.
    #[must_use]
    pub fn is_awaited(&self, index: usize) -> bool {
        assert!(index < self.replicas as usize, "replica {index} of {}", self.replicas);
        (self.yes | self.no) & (1 << index) == 0
    }

    /// Which of `replicas` have not answered yet, in words.
    pub(crate) fn awaited(&self, replicas: &[NodeId]) -> String {
        let awaited = replicas.iter().enumerate().filter(|&(index, _)| self.is_awaited(index));
        awaited.map(|(_, node)| node.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let is_reached = |&(set, needed): &(u128, u32)| (self.yes & set).count_ones() >= needed;
        let is_out = |&(set, needed): &(u128, u32)| (set & !self.no).count_ones() < needed;
        let sets = &self.sets.sets;
        let (reached, out) = match self.sets.is_all {
            true => (sets.iter().all(is_reached), sets.iter().any(is_out)),
            false => (sets.iter().any(is_reached), sets.iter().all(is_out)),
        };
        match (reached, out) {
            (true, _) => Standing::Reached,
            (false, true) => Standing::Impossible,
            (false, false) => Standing::Pending,
        }
    }

    /// The set that is furthest from its quorum; the newest of those.
    fn hardest(&self) -> (u128, u32) {
        let lacks = |&&(set, needed): &&(u128, u32)| needed.saturating_sub((self.yes & set).count_ones());
        *self.sets.sets.iter().max_by_key(lacks).expect("there is a set")
    }

    /// How many have said yes, of the set that is furthest from its quorum.
    #[must_use]
    pub fn acks(&self) -> usize {
        (self.yes & self.hardest().0).count_ones() as usize
    }

    /// How many of that set must say yes.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.hardest().1 as usize
    }

    /// How many that set has.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.hardest().0.count_ones() as usize
    }

    /// How many have answered yes, of all.
    #[must_use]
    pub const fn yeses(&self) -> usize {
        self.yes.count_ones() as usize
    }

    /// Whether every replica has answered.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.yes.count_ones() + self.no.count_ones() == self.replicas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_of_answers_of_up_to_four_replicas_stands_where_counting_says() {
        for replicas in 1..=4usize {
            for needed in 1..=replicas {
                // Each replica says nothing, yes or no: 3^replicas cases.
                for mut case in 0..3usize.pow(replicas as u32) {
                    let mut tally = Tally::new(replicas, needed);
                    let (mut yes, mut no) = (0, 0);
                    for index in 0..replicas {
                        match case % 3 {
                            1 => yes += usize::from(tally.yes(index)),
                            2 => no += usize::from(tally.no(index)),
                            _ => {}
                        }
                        case /= 3;
                    }
                    let expected = if yes >= needed {
                        Standing::Reached
                    } else if replicas - no < needed {
                        Standing::Impossible
                    } else {
                        Standing::Pending
                    };
                    assert_eq!(tally.standing(), expected);
                    assert_eq!(tally.is_complete(), yes + no == replicas);
                }
            }
        }
    }

    #[test]
    fn all_sets_or_any_set_stand_where_each_of_them_does() {
        let sets = [(0b0111, 2), (0b1110, 2)];
        for yes in 0u128..16 {
            for no in (0u128..16).filter(|no| no & yes == 0) {
                let of = |sets: Sets| {
                    let mut tally = Tally::of(4, sets);
                    for index in 0..4 {
                        _ = (yes >> index & 1 == 1).then(|| tally.yes(index));
                        _ = (no >> index & 1 == 1).then(|| tally.no(index));
                    }
                    tally.standing()
                };
                let each = sets.map(|set| of(Sets::all([set].into_iter())));
                let all = |standing| each.iter().all(|each| *each == standing);
                let any = |standing| each.contains(&standing);
                let expect = |reached, impossible| match (reached, impossible) {
                    (true, _) => Standing::Reached,
                    (_, true) => Standing::Impossible,
                    _ => Standing::Pending,
                };
                let needs_all = expect(all(Standing::Reached), any(Standing::Impossible));
                assert_eq!(of(Sets::all(sets.into_iter())), needs_all);
                let needs_any = expect(any(Standing::Reached), all(Standing::Impossible));
                assert_eq!(of(Sets::any(sets.into_iter())), needs_any);
            }
        }
    }

    #[test]
    fn a_replica_that_answers_twice_counts_once() {
        let mut tally = Tally::new(3, 2);
        assert!(tally.yes(0));
        assert!(!tally.yes(0));
        assert!(!tally.no(0));
        assert_eq!((tally.acks(), tally.standing()), (1, Standing::Pending));
    }
}
