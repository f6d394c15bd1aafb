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

/// Answers of up to 64 replicas, each counted once however often it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    replicas: u32,
    needed: u32,
    yes: u64,
    no: u64,
}

impl Tally {
    /// No answer yet from `replicas` of which `needed` must say yes.
    ///
    /// # Panics
    /// When `needed` is 0 or above `replicas`, or `replicas` above 64: a checked configuration allows neither.
    #[must_use]
    pub fn new(replicas: usize, needed: usize) -> Self {
        assert!((1..=64).contains(&replicas), "{replicas} replicas");
        assert!((1..=replicas).contains(&needed), "{needed} needed of {replicas}");
        Self { replicas: replicas as u32, needed: needed as u32, yes: 0, no: 0 }
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
        if self.yes.count_ones() >= self.needed {
            Standing::Reached
        } else if self.replicas - self.no.count_ones() < self.needed {
            Standing::Impossible
        } else {
            Standing::Pending
        }
    }

    /// How many have said yes.
    #[must_use]
    pub const fn acks(&self) -> usize {
        self.yes.count_ones() as usize
    }

    /// How many must say yes.
    #[must_use]
    pub const fn needed(&self) -> usize {
        self.needed as usize
    }

    /// How many were asked.
    #[must_use]
    pub const fn replicas(&self) -> usize {
        self.replicas as usize
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
    fn a_replica_that_answers_twice_counts_once() {
        let mut tally = Tally::new(3, 2);
        assert!(tally.yes(0));
        assert!(!tally.yes(0));
        assert!(!tally.no(0));
        assert_eq!((tally.acks(), tally.standing()), (1, Standing::Pending));
    }
}
