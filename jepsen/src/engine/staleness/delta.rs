//! How stale a register was as a whole: Δ and Γ.
//!
//! Δ is the smallest time such that the register is atomic if every read is taken to have begun Δ earlier (Golab,
//! Li and Shah, 2011); 0 says that nothing was stale. Γ is the smallest time such that it is atomic if every
//! operation, write or read, is taken to have begun Γ/2 earlier and ended Γ/2 later (Golab et al., 2014), so it
//! forgives clocks as well.
//!
//! A write and the reads of its value are a block. Let a block's end be the earliest return in it and its start the
//! latest beginning: block A must stand before block B if A's end is before B's start. The register is atomic if
//! and only if no two blocks must each stand before the other (Gibbons and Korach, 1997), and moving beginnings
//! only moves starts, so both numbers are found by bisection over that one test. O(b log b) for b blocks in each of
//! at most 64 rounds, one round if nothing is wrong.

use super::{NEVER, Read, Write};

/// A write and the reads of its value, in the unit of time that the caller likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The write, by its place; none for the first value.
    pub(crate) write: Option<u32>,
    /// When the write began.
    write_began: i64,
    /// When the last of the reads began.
    read_began: i64,
    /// When the first of all of them ended.
    ended: i64,
}

const BEFORE_ALL: i64 = i64::MIN;
const NOT_AT_ALL: i64 = i64::MAX;

impl Block {
    fn start(&self, shift: Shift) -> i64 {
        let write = self.write_began.saturating_sub_unsigned(shift.writes);
        write.max(self.read_began.saturating_sub_unsigned(shift.reads))
    }
}

/// By how much beginnings are moved.
#[derive(Clone, Copy)]
struct Shift {
    writes: u64,
    reads: u64,
}

/// How far a register was from atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distance {
    /// The smallest move that makes it atomic.
    pub(crate) size: u64,
    /// Two blocks, by their places, that a move by one less leaves in conflict; none if the size is 0.
    pub(crate) conflict: Option<(usize, usize)>,
}

/// The blocks of a register, by their ends; `clock` tells the time of a position and never runs backwards. Writes
/// that nobody acknowledged or saw are in no block.
pub(crate) fn blocks(writes: &[Write], reads: &[Read], clock: impl Fn(u32) -> i64) -> Vec<Block> {
    let mut first = Block { write: None, write_began: BEFORE_ALL, read_began: BEFORE_ALL, ended: BEFORE_ALL };
    let settled = super::settled(writes, reads);
    let mut blocks: Vec<Block> = (0u32..)
        .zip(writes.iter().zip(settled))
        .map(|(place, (write, settled))| Block {
            write: Some(place),
            write_began: clock(write.invoked),
            read_began: BEFORE_ALL,
            ended: if settled == NEVER { NOT_AT_ALL } else { clock(settled).min(NOT_AT_ALL - 1) },
        })
        .collect();
    for read in reads {
        let block = read.source.map_or(&mut first, |source| &mut blocks[source as usize]);
        block.read_began = block.read_began.max(clock(read.invoked));
    }
    blocks.retain(|block| block.ended != NOT_AT_ALL);
    blocks.push(first);
    blocks.sort_unstable_by_key(|block| (block.ended, block.write));
    blocks
}

/// Whether the register of these blocks is atomic as it is.
pub(crate) fn is_atomic(blocks: &[Block]) -> bool {
    conflict(blocks, Shift { writes: 0, reads: 0 }).is_none()
}

/// Δ: the smallest move of all reads' beginnings that makes the register atomic.
pub(crate) fn delta(blocks: &[Block]) -> Distance {
    smallest(blocks, |size| Shift { writes: 0, reads: size })
}

/// Γ: the smallest stretch, half of it at either end of every operation, that makes the register atomic.
pub(crate) fn gamma(blocks: &[Block]) -> Distance {
    // Only differences of starts and ends count, so the whole stretch may as well be taken at the beginnings.
    smallest(blocks, |size| Shift { writes: size, reads: size })
}

fn smallest(blocks: &[Block], shift: impl Fn(u64) -> Shift) -> Distance {
    let Some(mut found) = conflict(blocks, shift(0)) else {
        return Distance { size: 0, conflict: None };
    };
    // No start is later than `last`, and no end but that of the first value earlier than `earliest`: a move by the
    // difference leaves nothing that must stand before anything else.
    let last = blocks.iter().map(|block| block.start(shift(0))).max().unwrap_or(0);
    let ends = blocks.iter().map(|block| block.ended).filter(|end| *end != BEFORE_ALL);
    let (mut too_small, mut enough) = (0, last.abs_diff(ends.min().unwrap_or(0)));
    while too_small + 1 < enough {
        let middle = too_small.midpoint(enough);
        match conflict(blocks, shift(middle)) {
            Some(pair) => (found, too_small) = (pair, middle),
            None => enough = middle,
        }
    }
    Distance { size: enough, conflict: Some(found) }
}

/// Two blocks that must each stand before the other.
fn conflict(blocks: &[Block], shift: Shift) -> Option<(usize, usize)> {
    // Blocks that end before they start; in order of their ends, since all blocks are.
    let mut forward: Vec<(usize, i64, i64)> = Vec::new();
    for (place, block) in blocks.iter().enumerate() {
        let start = block.start(shift);
        if block.ended >= start {
            continue;
        }
        if let Some((before, _, _)) = forward.last().filter(|(_, _, start)| block.ended < *start) {
            return Some((*before, place));
        }
        forward.push((place, block.ended, start));
    }
    // The others conflict only with a forward block that reaches over all of them; forward blocks do not overlap
    // now, so only one can: the last that ends before the other's start.
    for (place, block) in blocks.iter().enumerate() {
        let start = block.start(shift);
        if block.ended < start {
            continue;
        }
        let after = forward.partition_point(|(_, ended, _)| *ended < start);
        if let Some((over, _, _)) =
            after.checked_sub(1).map(|last| forward[last]).filter(|over| block.ended < over.2)
        {
            return Some((over, place));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ROUNDS, random_register};
    use super::*;
    use crate::engine::random::Random;

    /// A write from when to when; and a read, and of what.
    type Timed = (Vec<(i64, i64)>, Vec<(i64, i64, Option<u32>)>);

    /// Tries every order; times may be equal, and what ends when another begins may stand behind it.
    fn is_linearizable(writes: &[(i64, i64)], reads: &[(i64, i64, Option<u32>)]) -> bool {
        fn go(
            writes: &[(i64, i64)],
            reads: &[(i64, i64, Option<u32>)],
            done: u32,
            state: Option<u32>,
            failed: &mut std::collections::BTreeSet<(u32, Option<u32>)>,
        ) -> bool {
            let count = writes.len();
            let is_left = |place: usize| done >> place & 1 == 0;
            let end = |place: usize| if place < count { writes[place].1 } else { reads[place - count].1 };
            let left = (0..count + reads.len()).filter(|place| is_left(*place));
            let first_end = left.map(end).min().unwrap_or(i64::MAX);
            if first_end == i64::MAX {
                return true;
            }
            if failed.contains(&(done, state)) {
                return false;
            }
            for (place, write) in writes.iter().enumerate() {
                let is_free = is_left(place) && write.0 <= first_end;
                if is_free && go(writes, reads, done | 1 << place, Some(place as u32), failed) {
                    return true;
                }
            }
            for (place, read) in reads.iter().enumerate() {
                let is_free = is_left(count + place) && read.0 <= first_end && read.2 == state;
                if is_free && go(writes, reads, done | 1 << (count + place), state, failed) {
                    return true;
                }
            }
            failed.insert((done, state));
            false
        }
        go(writes, reads, 0, None, &mut std::collections::BTreeSet::new())
    }

    fn clock_of(random: &mut Random, positions: u32) -> Vec<i64> {
        let mut now = 0;
        let mut tick = |_| {
            now += i64::from(random.below(4));
            now
        };
        (0..positions).map(&mut tick).collect()
    }

    fn moved(writes: &[Write], reads: &[Read], clock: &[i64], by: [i64; 2]) -> Timed {
        let at = |position: u32| clock[position as usize];
        let end = |write: &Write| write.returned.map_or(i64::MAX, at);
        let writes = writes.iter().map(|write| (at(write.invoked) - by[0], end(write))).collect();
        let reads =
            reads.iter().map(|read| (at(read.invoked) - by[1], at(read.returned), read.source)).collect();
        (writes, reads)
    }

    #[test]
    fn delta_and_gamma_are_the_smallest_moves_that_make_a_register_atomic() {
        let seed = 0x5eed_0111;
        let mut random = Random(seed);
        let mut counts = [0u32; 3];
        for round in 0..ROUNDS {
            let (writes, reads) = random_register(&mut random, 8);
            let clock = clock_of(&mut random, 60);
            let blocks = blocks(&writes, &reads, |position| clock[position.min(59) as usize]);
            let told = format!("seed {seed:#x} round {round}: {writes:?} {reads:?} {clock:?}");
            let is_atomic_at = |by: [i64; 2]| {
                let (writes, reads) = moved(&writes, &reads, &clock, by);
                is_linearizable(&writes, &reads)
            };
            if writes.iter().map(|write| write.invoked).chain(reads.iter().map(|read| read.returned)).max()
                >= Some(60)
            {
                continue;
            }
            let delta = delta(&blocks);
            let gamma = gamma(&blocks);
            assert_eq!(is_atomic(&blocks), is_atomic_at([0, 0]), "{told}");
            let expected = (0..).find(|by| is_atomic_at([0, *by])).unwrap();
            assert_eq!(delta.size, expected as u64, "{told}");
            let expected = (0..).find(|by| is_atomic_at([*by, *by])).unwrap();
            assert_eq!(gamma.size, expected as u64, "{told}");
            assert_eq!(delta.conflict.is_some(), delta.size > 0, "{told}");
            if let Some((a, b)) = delta.conflict {
                // The two blocks alone, without all others, are not atomic either.
                let kept = [blocks[a].write, blocks[b].write];
                let reads: Vec<Read> =
                    reads.iter().filter(|read| kept.contains(&read.source)).copied().collect();
                let kept_write = |place: &usize| kept.contains(&Some(*place as u32));
                let alone: Vec<Write> = (0..writes.len())
                    .map(|place| {
                        let write = writes[place];
                        if kept_write(&place) { write } else { Write { returned: None, ..write } }
                    })
                    .collect();
                let (writes, reads) = moved(&alone, &reads, &clock, [0, delta.size as i64 - 1]);
                assert!(!is_linearizable(&writes, &reads), "{told}");
            }
            counts[delta.size.min(2) as usize] += 1;
        }
        assert!(counts.iter().all(|count| *count > ROUNDS / 50), "one-sided: {counts:?}");
    }

    #[test]
    fn a_register_is_atomic_if_the_engine_of_distinct_values_says_so() {
        use crate::engine::wgl::{Call, Step};
        use crate::engine::zones::{self, Finding};
        let seed = 0x5eed_0112;
        let mut random = Random(seed);
        let mut verdicts = [0u32; 2];
        for round in 0..ROUNDS / 4 {
            let (writes, reads) = random_register(&mut random, 60);
            let written = (1..).zip(&writes).map(|(value, write)| Call {
                step: Step::Write(value),
                invoked: write.invoked,
                returned: write.returned,
            });
            let read = reads.iter().map(|read| Call {
                step: Step::Read(read.source.map_or(0, |source| source + 1)),
                invoked: read.invoked,
                returned: Some(read.returned),
            });
            let mut calls: Vec<Call> = written.chain(read).collect();
            calls.sort_by_key(|call| call.invoked);
            let is_atomic = is_atomic(&blocks(&writes, &reads, i64::from));
            let expected = matches!(zones::decide(&calls), Finding::Linearizable);
            assert_eq!(is_atomic, expected, "seed {seed:#x} round {round}: {calls:?}");
            verdicts[usize::from(expected)] += 1;
        }
        assert!(verdicts.iter().all(|count| *count > ROUNDS / 200), "one-sided: {verdicts:?}");
    }

    #[test]
    fn a_read_of_the_first_value_long_after_a_write_is_as_stale_as_the_write_is_old() {
        let writes = [Write { invoked: 0, returned: Some(1) }];
        let reads = [Read { invoked: 2, returned: 3, source: None }];
        let clock = [0, 5, 100, 110];
        let blocks = blocks(&writes, &reads, |position| clock[position as usize]);
        assert_eq!(delta(&blocks), Distance { size: 95, conflict: Some((0, 1)) });
    }

    #[test]
    fn clocks_of_any_size_are_survived() {
        let writes = [Write { invoked: 0, returned: Some(1) }];
        let reads = [Read { invoked: 2, returned: 3, source: None }];
        for clock in [[i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX - 1], [0; 4]] {
            let blocks = blocks(&writes, &reads, |position| clock[position as usize]);
            let _ = (delta(&blocks), gamma(&blocks));
        }
        assert_eq!(delta(&blocks(&[], &[], |_| 0)).size, 0);
    }
}
