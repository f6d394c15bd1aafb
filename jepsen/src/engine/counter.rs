//! Whether a counter's reads can be explained by the additions to it.
//!
//! Two rules. [`out_of_bounds`] holds for any additions and is necessary, not sufficient, as in Jepsen's `counter`: a
//! read shows at least what had certainly been added when it began and at most what could have been added when it
//! returned, where additions of negative amounts count for the bound on the other side. [`decide`] is exact where all
//! additions are of the same amount, so that only their number matters: reads ordered by value cut time
//! into gaps, the gap below each value must hold exactly as many additions as the value grew, and each addition may lie
//! in the gaps between the last read that returned before it began and the first that began after it
//! returned. Filling gaps by the earliest deadline finds out whether that can be, in n log n; additions that
//! never returned have no deadline. When it cannot, two reads and the number of additions between them are the
//! reason (Hall's theorem for intervals). With mixed amounts the question is a subset sum, so there is no quick rule.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::order::Layout;

/// An addition that may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Add {
    /// How much it adds.
    pub(crate) amount: i64,
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its return; none if it may take effect at any later time or never.
    pub(crate) returned: Option<u32>,
}

/// A read that returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// What it shows.
    pub(crate) value: i64,
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its return.
    pub(crate) returned: u32,
}

/// What a read could have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// At least this.
    pub(crate) lower: i128,
    /// At most this.
    pub(crate) upper: i128,
}

/// What each read could have shown at least and at most, in the order of the input, beginning with 0.
pub(crate) fn bounds(adds: &[Add], reads: &[Read]) -> Vec<Bounds> {
    // What took effect for certain by each return, and what could have by each invocation: falls and rises apart.
    let certain = |is_rise: bool| {
        let adds = adds.iter().filter(|add| (add.amount > 0) == is_rise);
        Sums::new(adds.filter_map(|add| Some((add.returned?, add.amount))))
    };
    let possible = |is_rise: bool| {
        let adds = adds.iter().filter(|add| (add.amount > 0) == is_rise);
        Sums::new(adds.map(|add| (add.invoked, add.amount)))
    };
    let (certain_rises, certain_falls) = (certain(true), certain(false));
    let (possible_rises, possible_falls) = (possible(true), possible(false));
    let bounds = reads.iter().map(|read| Bounds {
        lower: certain_rises.before(read.invoked) + possible_falls.before(read.returned),
        upper: possible_rises.before(read.returned) + certain_falls.before(read.invoked),
    });
    bounds.collect()
}

/// Sums of amounts up to a position.
struct Sums(Vec<(u32, i128)>);

impl Sums {
    fn new(amounts: impl Iterator<Item = (u32, i64)>) -> Self {
        let mut sums: Vec<(u32, i128)> = amounts.map(|(at, amount)| (at, amount.into())).collect();
        sums.sort_unstable_by_key(|(at, _)| *at);
        let mut sum = 0;
        for (_, amount) in &mut sums {
            sum += *amount;
            *amount = sum;
        }
        Sums(sums)
    }

    fn before(&self, position: u32) -> i128 {
        let count = self.0.partition_point(|(at, _)| *at < position);
        count.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

/// The first read, in the order of the input, that shows less or more than it could have.
pub(crate) fn out_of_bounds(adds: &[Add], reads: &[Read]) -> Option<(u32, Bounds)> {
    let mut all = (0u32..).zip(bounds(adds, reads)).zip(reads);
    let found = all.find(|((_, bounds), read)| {
        i128::from(read.value) < bounds.lower || i128::from(read.value) > bounds.upper
    });
    found.map(|(found, _)| found)
}

/// What the exact rule found. Reads are named by their places in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// There is an order that explains every read.
    Linearizable,
    /// Additions are of several amounts: this rule does not apply.
    Mixed,
    /// A read shows what no number of additions makes.
    Unreachable {
        /// The read.
        read: u32,
    },
    /// Of two reads the one nearer to the beginning began only after the other had returned.
    Backwards {
        /// The read of the value with fewer additions.
        fewer: u32,
        /// The read of the value with more additions, which returned before.
        more: u32,
    },
    /// Fewer additions than a read shows had begun when it returned.
    TooFew {
        /// The read.
        read: u32,
        /// How many it shows.
        needed: u64,
        /// How many had begun.
        possible: u64,
    },
    /// Too many additions must have taken effect between two reads: they began after the one returned and returned before
    /// the other began.
    TooMany {
        /// The read before; the beginning if none.
        from: Option<u32>,
        /// The read after.
        to: u32,
        /// How many the two values have room for between them.
        room: u64,
        /// How many must have been.
        certain: u64,
    },
}

/// Decides whether additions of one amount and reads can be put in an order that explains them, beginning with 0.
pub(crate) fn decide(adds: &[Add], reads: &[Read]) -> Decision {
    let mut amounts = adds.iter().map(|add| add.amount).filter(|amount| *amount != 0);
    let amount = amounts.next().unwrap_or(1);
    if amounts.any(|other| other != amount) {
        return Decision::Mixed;
    }
    // In 128 bits the quotient of the extremes has its place too.
    let count_of = |read: &Read| {
        let (value, amount) = (i128::from(read.value), i128::from(amount));
        (value % amount == 0).then_some(value / amount).and_then(|count| u64::try_from(count).ok())
    };
    let mut counts = Vec::with_capacity(reads.len());
    for (number, read) in (0u32..).zip(reads) {
        match count_of(read) {
            Some(count) => counts.push(count),
            None => return Decision::Unreachable { read: number },
        }
    }
    let adds: Vec<Add> = adds.iter().filter(|add| add.amount != 0).copied().collect();
    Gaps::new(&counts, reads).map_or_else(|decision| decision, |gaps| gaps.fill(&adds))
}

/// The reads that show the same number of additions; the gap of a level lies just below it.
struct Level {
    /// How many additions they show.
    count: u64,
    /// When a read of this level or a higher one first returned, and which.
    first_returned: (u32, u32),
    /// When a read of this level or a lower one was last invoked, and which.
    last_invoked: (u32, u32),
}

/// The reads cut into levels, the lowest first.
struct Gaps<'a> {
    levels: Vec<Level>,
    /// How many additions each read shows.
    counts: &'a [u64],
}

impl<'a> Gaps<'a> {
    fn new(counts: &'a [u64], reads: &[Read]) -> Result<Self, Decision> {
        let mut order: Vec<u32> = (0u32..).take(reads.len()).collect();
        order.sort_unstable_by_key(|read| (counts[*read as usize], *read));
        let of = |read: u32| reads[read as usize];
        let mut levels: Vec<Level> = Vec::new();
        let mut layout = Layout::new();
        for its_reads in order.chunk_by(|a, b| counts[*a as usize] == counts[*b as usize]) {
            let mut level = Level {
                count: counts[its_reads[0] as usize],
                first_returned: (u32::MAX, u32::MAX),
                last_invoked: levels.last().map_or((0, 0), |below| below.last_invoked),
            };
            for read in its_reads {
                if let Some(fewer) = layout.obstacle(of(*read).returned) {
                    return Err(Decision::Backwards { fewer, more: *read });
                }
                level.first_returned = level.first_returned.min((of(*read).returned, *read));
                level.last_invoked = level.last_invoked.max((of(*read).invoked, *read));
            }
            its_reads.iter().for_each(|read| layout.lay(*read, of(*read).invoked));
            levels.push(level);
        }
        for below in (1..levels.len()).rev() {
            levels[below - 1].first_returned =
                levels[below - 1].first_returned.min(levels[below].first_returned);
        }
        Ok(Gaps { levels, counts })
    }

    /// The first gap that an addition may lie in: above every read that returned before it began.
    fn release(&self, add: &Add) -> usize {
        self.levels.partition_point(|level| level.first_returned.0 < add.invoked)
    }

    /// The last gap that it may lie in: below every read that began after it returned. The gap above all levels has
    /// room for all.
    fn deadline(&self, add: &Add) -> usize {
        let Some(returned) = add.returned else { return self.levels.len() };
        self.levels.partition_point(|level| level.last_invoked.0 < returned)
    }

    fn fill(&self, adds: &[Add]) -> Decision {
        let mut spans: Vec<(u32, u32)> =
            adds.iter().map(|add| (self.release(add) as u32, self.deadline(add) as u32)).collect();
        spans.sort_unstable();
        if let Some((release, deadline)) = spans.iter().find(|(release, deadline)| release > deadline) {
            return self.too_many(*release as usize, *deadline as usize, &spans);
        }
        let mut released = spans.iter().peekable();
        let mut open: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
        let mut below = 0;
        for (gap, level) in (0u32..).zip(&self.levels) {
            while let Some((_, deadline)) = released.next_if(|(release, _)| *release <= gap) {
                open.push(Reverse(*deadline));
            }
            for _ in below..level.count {
                if open.pop().is_none() {
                    return self.too_few(gap as usize, &spans);
                }
            }
            if open.peek().is_some_and(|Reverse(deadline)| *deadline <= gap) {
                return self.first_too_many(gap as usize, &spans);
            }
            below = level.count;
        }
        Decision::Linearizable
    }

    /// How many additions the gaps from one to another have to hold.
    fn between(&self, from: usize, gap: usize) -> u64 {
        self.levels[gap].count - from.checked_sub(1).map_or(0, |below| self.levels[below].count)
    }

    /// Every addition with an earlier deadline has found its place, so all that had begun together are too few.
    fn too_few(&self, gap: usize, spans: &[(u32, u32)]) -> Decision {
        let possible = spans.iter().filter(|(release, _)| *release as usize <= gap).count() as u64;
        let read = self.levels[gap].first_returned.1;
        Decision::TooFew { read, needed: self.counts[read as usize], possible }
    }

    /// Names the read from which on there is no room for the additions up to a gap; the beginning if that will do.
    fn first_too_many(&self, gap: usize, spans: &[(u32, u32)]) -> Decision {
        let mut begins = vec![0u64; gap + 1];
        for (release, _) in spans.iter().filter(|(_, deadline)| *deadline as usize <= gap) {
            begins[*release as usize] += 1;
        }
        let mut certain: u64 = begins.iter().sum();
        let mut from = 0;
        while from < gap && certain <= self.between(from, gap) {
            certain -= begins[from];
            from += 1;
        }
        self.too_many(from, gap, spans)
    }

    fn too_many(&self, from: usize, gap: usize, spans: &[(u32, u32)]) -> Decision {
        let is_inside =
            |(release, deadline): &&(u32, u32)| *release as usize >= from && *deadline as usize <= gap;
        let certain = spans.iter().filter(is_inside).count() as u64;
        let before = from.checked_sub(1).map(|below| self.levels[below].first_returned.1);
        let to = self.levels[gap].last_invoked.1;
        Decision::TooMany { from: before, to, room: self.difference(before, to), certain }
    }

    /// How many more additions one read shows than another.
    fn difference(&self, from: Option<u32>, to: u32) -> u64 {
        let below = from.map_or(0, |from| self.counts[from as usize]);
        self.counts[to as usize].saturating_sub(below)
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{Random, rounds};
    use super::*;

    /// Tries every order, as the definition of linearizability says. Adds come first in the numbering.
    fn brute_force(adds: &[Add], reads: &[Read]) -> bool {
        fn go(adds: &[Add], reads: &[Read], left: u32, sum: i64) -> bool {
            let is_left = |i: usize| left >> i & 1 == 1;
            let returns =
                adds.iter().map(|add| add.returned).chain(reads.iter().map(|read| Some(read.returned)));
            let invokes = adds.iter().map(|add| add.invoked).chain(reads.iter().map(|read| read.invoked));
            let due = returns.enumerate().filter(|(i, _)| is_left(*i)).filter_map(|(_, at)| at).min();
            let Some(due) = due else { return true };
            invokes.enumerate().filter(|(i, at)| is_left(*i) && *at < due).any(|(i, _)| {
                let rest = left & !(1 << i);
                match i.checked_sub(adds.len()) {
                    None => go(adds, reads, rest, sum + adds[i].amount),
                    Some(read) => reads[read].value == sum && go(adds, reads, rest, sum),
                }
            })
        }
        go(adds, reads, (1 << (adds.len() + reads.len())) - 1, 0)
    }

    /// A few clients of a real counter that adds one of `amounts` at a time; some answers are then falsified.
    fn random_calls(random: &mut Random, amounts: &[i64]) -> (Vec<Add>, Vec<Read>) {
        #[derive(Clone, Copy)]
        enum Open {
            Nothing,
            Add(usize, bool),
            Read(usize, Option<i64>),
        }
        let clients = 1 + random.below(4) as usize;
        let count = 1 + random.below(9);
        let crash_percent = [0, 20, 50][random.below(3) as usize];
        let lie_percent = [0, 10, 40][random.below(3) as usize];
        let (mut adds, mut reads) = (Vec::new(), Vec::new());
        let mut sum = 0;
        let mut open = vec![Open::Nothing; clients];
        let (mut begun, mut position) = (0, 0);
        while begun < count || open.iter().any(|open| !matches!(open, Open::Nothing)) {
            position += 1;
            match &mut open[random.below(clients as u32) as usize] {
                Open::Add(add, has_effect @ false) => {
                    let add: &Add = &adds[*add];
                    sum += add.amount;
                    *has_effect = true;
                }
                Open::Read(_, value @ None) => *value = Some(sum),
                _ => {}
            }
            let open = &mut open[random.below(clients as u32) as usize];
            match *open {
                Open::Nothing if begun < count => {
                    begun += 1;
                    if random.percent(50) {
                        *open = Open::Add(adds.len(), false);
                        let amount = amounts[random.below(amounts.len() as u32) as usize];
                        adds.push(Add { amount, invoked: position, returned: None });
                    } else {
                        *open = Open::Read(reads.len(), None);
                        reads.push(Read { value: 0, invoked: position, returned: 0 });
                    }
                }
                Open::Add(..) if random.percent(crash_percent) => *open = Open::Nothing,
                Open::Add(add, true) => {
                    adds[add].returned = Some(position);
                    *open = Open::Nothing;
                }
                Open::Read(read, Some(value)) => {
                    let lie = if random.percent(lie_percent) {
                        amounts[0] * [-1, 1][random.below(2) as usize]
                    } else {
                        0
                    };
                    reads[read].value = value + lie;
                    reads[read].returned = position;
                    *open = Open::Nothing;
                }
                _ => {}
            }
        }
        (adds, reads)
    }

    /// Whether the reads and numbers that a decision names are so, and cannot be.
    fn is_reason(decision: Decision, amount: i64, adds: &[Add], reads: &[Read]) -> bool {
        let of = |read: u32| reads[read as usize];
        let shown = |read: u32| (of(read).value / amount) as u64;
        match decision {
            Decision::Linearizable | Decision::Mixed => false,
            Decision::Unreachable { read } => of(read).value % amount != 0 || of(read).value / amount < 0,
            Decision::Backwards { fewer, more } => {
                shown(fewer) < shown(more) && of(more).returned < of(fewer).invoked
            }
            Decision::TooFew { read, needed, possible } => {
                let can_be = adds.iter().filter(|add| add.invoked < of(read).returned).count() as u64;
                possible < needed && can_be == possible && shown(read) == needed
            }
            Decision::TooMany { from, to, room, certain } => {
                let must_be = adds.iter().filter(|add| {
                    let is_after = from.is_none_or(|from| of(from).returned < add.invoked);
                    is_after && add.returned.is_some_and(|at| at < of(to).invoked)
                });
                certain > room
                    && must_be.count() as u64 == certain
                    && shown(to) - from.map_or(0, shown) == room
            }
        }
    }

    #[test]
    fn gaps_agree_with_trying_every_order_and_name_a_reason() {
        let seed = 0xc0_0001;
        let mut random = Random(seed);
        let mut kinds = [0u32; 5];
        let mut from_within = 0;
        let rounds = rounds(200_000);
        for round in 0..rounds {
            let amount = [1, 1, -1, 3][random.below(4) as usize];
            let (adds, reads) = random_calls(&mut random, &[amount]);
            let decision = decide(&adds, &reads);
            let told = || format!("seed {seed:#x} round {round}: {decision:?} {adds:#?} {reads:#?}");
            let expected = brute_force(&adds, &reads);
            assert_eq!(decision == Decision::Linearizable, expected, "{}", told());
            let amount = adds.first().map_or(1, |add| add.amount);
            assert!(expected || is_reason(decision, amount, &adds, &reads), "{}", told());
            kinds[match decision {
                Decision::Linearizable => 0,
                Decision::Mixed | Decision::Unreachable { .. } => 1,
                Decision::Backwards { .. } => 2,
                Decision::TooFew { .. } => 3,
                Decision::TooMany { from, .. } => {
                    from_within += u32::from(from.is_some());
                    4
                }
            }] += 1;
        }
        assert!(kinds.iter().all(|count| *count > rounds / 100), "{kinds:?}");
        assert!(from_within > rounds / 200, "{from_within}");
    }

    #[test]
    fn a_read_that_can_be_explained_is_within_bounds_and_one_among_certain_additions_is_exact() {
        let seed = 0xc0_0002;
        let mut random = Random(seed);
        let mut found = [0u32; 3];
        let rounds = rounds(100_000);
        for round in 0..rounds {
            let (adds, reads) = random_calls(&mut random, &[1, -2, 5, 0]);
            let outside = out_of_bounds(&adds, &reads);
            let is_possible = brute_force(&adds, &reads);
            let told = || format!("seed {seed:#x} round {round}: {outside:?} {adds:#?} {reads:#?}");
            assert!(!(is_possible && outside.is_some()), "{}", told());
            if let Some((read, _)) = outside {
                assert!(!brute_force(&adds, &reads[read as usize..=read as usize]), "{}", told());
            }
            for (read, bounds) in reads.iter().zip(bounds(&adds, &reads)) {
                let is_certain = |add: &Add| {
                    add.invoked > read.returned || add.returned.is_some_and(|at| at < read.invoked)
                };
                if adds.iter().all(is_certain) {
                    assert_eq!(bounds.lower, bounds.upper, "{}", told());
                }
            }
            found[usize::from(is_possible) + usize::from(outside.is_none() && !is_possible) * 2] += 1;
        }
        assert!(found.iter().all(|count| *count > rounds / 100), "{found:?}");
    }

    #[test]
    fn mixed_amounts_and_extreme_values_are_no_trouble() {
        let add = |amount, invoked| Add { amount, invoked, returned: Some(invoked + 1) };
        let read = |value| Read { value, invoked: 10, returned: 11 };
        assert_eq!(decide(&[add(1, 0), add(2, 2)], &[read(3)]), Decision::Mixed);
        assert_eq!(decide(&[add(0, 0), add(2, 2)], &[read(2)]), Decision::Linearizable);
        assert_eq!(decide(&[], &[read(i64::MIN)]), Decision::Unreachable { read: 0 });
        let decision = decide(&[add(-1, 0)], &[read(i64::MIN)]);
        assert_eq!(decision, Decision::TooFew { read: 0, needed: 1 << 63, possible: 1 });
        let most = [add(i64::MAX, 0), add(i64::MAX, 2)];
        let sum = 2 * i128::from(i64::MAX);
        assert_eq!(bounds(&most, &[read(0)]), [Bounds { lower: sum, upper: sum }]);
    }
}
