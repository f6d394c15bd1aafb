//! How far reads lag behind, for one register whose values are all written once.
//!
//! A write has *settled* when it is certain to have taken effect: at its own return, or when a read that showed its
//! value returned, whichever came first. A write is *newer* than the source of a read if it began after the source
//! had settled, and the read *missed* it if it had also settled before the read began. The number of missed writes
//! is exactly the smallest number of writes that can stand between the source and the read in any order of all
//! operations that agrees with real time and puts every read behind its source; so it is a certain lower bound of
//! the read's k-staleness (Bailis et al., 2012), however much was going on at the same time. The age of a read is
//! the time by which it would have had to begin earlier to miss nothing.
//!
//! [`lags`] finds both for every read with a Fenwick tree, in O(n log n). [`delta`] asks how stale the register was
//! as a whole, [`curve`] how soon a write shows, [`causal`] what reads of siblings missed. Nothing here says what
//! is too stale.

pub(crate) mod causal;
pub(crate) mod curve;
pub(crate) mod delta;

/// A write that may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its acknowledgement; none if it may take effect at any later time or never.
    pub(crate) returned: Option<u32>,
}

/// A read that returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its return.
    pub(crate) returned: u32,
    /// The write whose value it showed, by its place; none if it showed the first value. The write began before the
    /// read returned: a read from the future has no lag.
    pub(crate) source: Option<u32>,
}

/// How far one read lags behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lag {
    /// How many writes it certainly missed.
    pub(crate) missed: u32,
    /// Of those the one that had settled first, by its place.
    pub(crate) first: Option<u32>,
    /// The write that settled last before the read began, by its place.
    pub(crate) latest: Option<u32>,
}

/// A write that has not settled.
pub(crate) const NEVER: u32 = u32::MAX;

/// The position since which each write has certainly been in effect, or [`NEVER`].
pub(crate) fn settled(writes: &[Write], reads: &[Read]) -> Vec<u32> {
    let mut settled: Vec<u32> = writes.iter().map(|write| write.returned.unwrap_or(NEVER)).collect();
    for read in reads {
        if let Some(source) = read.source {
            let at = &mut settled[source as usize];
            *at = (*at).min(read.returned);
        }
    }
    settled
}

/// The lag of each read. Writes and reads stand in order of invocation; `settled` is what [`settled`] says.
pub(crate) fn lags(writes: &[Write], reads: &[Read], settled: &[u32]) -> Vec<Lag> {
    let first_from = first_to_settle(settled);
    let mut by_settled: Vec<u32> = (0..writes.len() as u32).collect();
    by_settled.retain(|write| settled[*write as usize] != NEVER);
    by_settled.sort_unstable_by_key(|write| settled[*write as usize]);
    let mut waiting = by_settled.iter().copied().peekable();
    let mut in_effect = Fenwick::new(writes.len());
    let mut latest = None;
    let lag = |read: &Read| {
        while let Some(write) = waiting.next_if(|write| settled[*write as usize] < read.invoked) {
            in_effect.add(write as usize);
            latest = Some(write);
        }
        let source_settled = read.source.map(|source| settled[source as usize]);
        let newer = source_settled.map_or(0, |at| writes.partition_point(|write| write.invoked <= at));
        let first = first_from[newer].filter(|write| settled[*write as usize] < read.invoked);
        Lag { missed: in_effect.count_from(newer), first, latest }
    };
    reads.iter().map(lag).collect()
}

/// For each place and the end: the write from there on that settles first.
fn first_to_settle(settled: &[u32]) -> Vec<Option<u32>> {
    let mut first = vec![None; settled.len() + 1];
    for (place, at) in settled.iter().enumerate().rev() {
        let later: Option<u32> = first[place + 1];
        let is_later_first = later.is_some_and(|later| settled[later as usize] <= *at);
        first[place] = if is_later_first { later } else { Some(place as u32) };
    }
    first
}

/// Counts marked places behind any place, in logarithmic time (Fenwick, 1994).
struct Fenwick {
    sums: Vec<u32>,
    marked: u32,
}

impl Fenwick {
    fn new(len: usize) -> Self {
        Fenwick { sums: vec![0; len + 1], marked: 0 }
    }

    fn add(&mut self, place: usize) {
        self.marked += 1;
        let mut node = place + 1;
        while node < self.sums.len() {
            self.sums[node] += 1;
            node += node & node.wrapping_neg();
        }
    }

    /// How many marked places are at `place` or behind it.
    fn count_from(&self, place: usize) -> u32 {
        let mut before = 0;
        let mut node = place;
        while node > 0 {
            before += self.sums[node];
            node &= node - 1;
        }
        self.marked - before
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::random::Random;

    /// How many random histories a test judges.
    pub(crate) const ROUNDS: u32 = if cfg!(debug_assertions) { 10_000 } else { 120_000 };

    /// A few clients on one register, whose reads show any value that somebody had begun to write.
    pub(crate) fn random_register(random: &mut Random, count_max: u32) -> (Vec<Write>, Vec<Read>) {
        let (mut writes, mut reads) = (Vec::new(), Vec::new());
        let mut open: Vec<Option<(bool, usize)>> = vec![None; 1 + random.below(4) as usize];
        let mut left = 1 + random.below(count_max);
        let is_lagging = random.is_one_in(2);
        let mut position = 0;
        while left > 0 || open.iter().any(Option::is_some) {
            position += 1;
            let client = random.below(open.len() as u32) as usize;
            match open[client].take() {
                None if left > 0 => {
                    left -= 1;
                    let is_read = random.is_one_in(2);
                    if is_read {
                        reads.push(Read { invoked: position, returned: NEVER, source: None });
                    } else {
                        writes.push(Write { invoked: position, returned: None });
                    }
                    open[client] = Some((is_read, if is_read { reads.len() } else { writes.len() } - 1));
                }
                None => {}
                Some((true, read)) => {
                    let newest = writes.len() as u32;
                    let back = random.below(if is_lagging { newest + 1 } else { newest.min(1) + 1 });
                    reads[read].source = (newest - back).checked_sub(1);
                    reads[read].returned = position;
                }
                Some((false, _)) if random.is_one_in(8) => {}
                Some((false, write)) => writes[write].returned = Some(position),
            }
        }
        (writes, reads)
    }

    /// The smallest number of writes between a read and its source in any order that agrees with real time and
    /// puts reads behind their sources: tries every order, operation after operation, and remembers per set of
    /// operations only the best.
    fn least_between(writes: &[Write], reads: &[Read], target: usize) -> u32 {
        struct Operation {
            invoked: u32,
            returned: u32,
            source: Option<usize>,
            is_write: bool,
        }
        // A write that nobody acknowledged and nobody saw need not have happened.
        let is_in = |place: usize| {
            writes[place].returned.is_some() || reads.iter().any(|read| read.source == Some(place as u32))
        };
        let kept: Vec<usize> = (0..writes.len()).filter(|place| is_in(*place)).collect();
        let mut all: Vec<Operation> = kept
            .iter()
            .map(|place| Operation {
                invoked: writes[*place].invoked,
                returned: writes[*place].returned.unwrap_or(NEVER),
                source: None,
                is_write: true,
            })
            .collect();
        all.extend(reads.iter().map(|read| Operation {
            invoked: read.invoked,
            returned: read.returned,
            source:
                read.source.map(|source| kept.iter().position(|place| *place == source as usize).unwrap()),
            is_write: false,
        }));
        let target = kept.len() + target;
        let count = all.len();
        let mut best = vec![u32::MAX; 1 << count];
        best[0] = 0;
        for set in 0..1usize << count {
            let so_far = best[set];
            if so_far == u32::MAX {
                continue;
            }
            if set >> target & 1 == 1 {
                return so_far.min(best[set..].iter().zip(set..).fold(u32::MAX, |least, (value, set)| {
                    if set >> target & 1 == 1 { least.min(*value) } else { least }
                }));
            }
            for next in (0..count).filter(|next| set >> next & 1 == 0) {
                let mut left = (0..count).filter(|other| set >> other & 1 == 0);
                let is_free = left.all(|other| all[other].returned >= all[next].invoked);
                let is_behind = all[next].source.is_none_or(|source| set >> source & 1 == 1);
                if !is_free || !is_behind {
                    continue;
                }
                let has_begun = all[target].source.is_none_or(|source| set >> source & 1 == 1);
                let between = so_far + u32::from(all[next].is_write && has_begun);
                let after = &mut best[set | 1 << next];
                *after = (*after).min(between);
            }
        }
        unreachable!("some order puts the target in")
    }

    #[test]
    fn what_a_read_missed_is_what_every_order_puts_between_it_and_its_source() {
        let seed = 0x5eed_0101;
        let mut random = Random(seed);
        let mut counts = [0u32; 4];
        for round in 0..ROUNDS {
            let (writes, reads) = random_register(&mut random, 8);
            let lags = lags(&writes, &reads, &settled(&writes, &reads));
            for (place, lag) in lags.iter().enumerate() {
                let expected = least_between(&writes, &reads, place);
                assert_eq!(
                    lag.missed, expected,
                    "seed {seed:#x} round {round} read {place}: {writes:?} {reads:?}"
                );
                counts[expected.min(3) as usize] += 1;
            }
        }
        assert!(counts.iter().all(|count| *count > ROUNDS / 100), "one-sided: {counts:?}");
    }

    #[test]
    fn the_first_missed_write_says_how_much_earlier_a_read_had_to_begin() {
        let seed = 0x5eed_0102;
        let mut random = Random(seed);
        let mut stale = 0;
        for round in 0..ROUNDS / 4 {
            let (writes, reads) = random_register(&mut random, 7);
            let settled = settled(&writes, &reads);
            let lags = lags(&writes, &reads, &settled);
            for (place, lag) in lags.iter().enumerate() {
                let told = format!("seed {seed:#x} round {round} read {place}: {writes:?} {reads:?}");
                // The latest beginning that misses nothing, by trying all.
                let fresh = (0..=reads[place].invoked).rev().find(|begin| {
                    let mut moved = reads.clone();
                    moved[place].invoked = *begin;
                    least_between(&writes, &moved, place) == 0
                });
                let first = lag.first.map_or(reads[place].invoked, |write| settled[write as usize]);
                assert_eq!(fresh, Some(first), "{told}");
                assert_eq!(lag.first.is_some(), lag.missed > 0, "{told}");
                let before = settled.iter().filter(|at| **at < reads[place].invoked).max();
                assert_eq!(lag.latest.map(|write| &settled[write as usize]), before, "{told}");
                stale += u32::from(lag.first.is_some());
            }
        }
        assert!(stale > ROUNDS / 16, "{stale}");
    }

    #[test]
    fn a_write_that_was_shown_counts_although_nobody_acknowledged_it() {
        let writes = [Write { invoked: 0, returned: Some(1) }, Write { invoked: 2, returned: None }];
        let read = |invoked, source| Read { invoked, returned: invoked + 1, source };
        let reads = [read(4, Some(0)), read(6, Some(1)), read(8, Some(0)), read(10, None)];
        let lags = lags(&writes, &reads, &settled(&writes, &reads));
        assert_eq!(lags.iter().map(|lag| lag.missed).collect::<Vec<_>>(), [0, 0, 1, 2]);
        assert_eq!((lags[2].first, lags[3].first), (Some(1), Some(0)));
    }

    #[test]
    fn a_history_without_writes_or_reads_has_no_lag() {
        let read = Read { invoked: 0, returned: 1, source: None };
        assert_eq!(lags(&[], &[read], &[]), [Lag { missed: 0, first: None, latest: None }]);
        assert_eq!(lags(&[Write { invoked: 0, returned: None }], &[], &[NEVER]), []);
    }
}
