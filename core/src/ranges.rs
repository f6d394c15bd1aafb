//! The two sides of a partition's transfer by ranges of keys (Meyer, "Range-Based Set Reconciliation", SRDS 2023).
//!
//! The asker ([`Transfer`]) goes over the partition in key order, a window of its own keys at a time. It cuts a window
//! into ranges and sends their fingerprints; the giver ([`Comparison`]) counts over its own rows and names the ranges
//! that are equal. Those that it does not name are cut further and compared again, and once they are short they are
//! pulled: the asker lists the hashes of what it has, and gets everything else. Ranges leave no key out: one reaches
//! from the asker's key before it to its own last key, and the last one to the end of the partition.
//!
//! Both are bookkeeping over keys and hashes: no clock is read here, nothing is sent, nothing written. Whatever is
//! unknown, a row that cannot be read or one that is being written, makes its range unequal, never absent. An answer
//! that is cut short names fewer ranges, and so costs time and never data.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;

use crate::config::Limits;
use crate::fingerprint::{ObjectHash, Seed, Sum, split};
use crate::key::Key;
use crate::message::Span;

/// A range that differs is cut into so many at most.
const PARTS_MAX: usize = 16;
/// Fingerprints in one message, at most: a window's ranges, each cut once more.
const SPANS_MAX: usize = PARTS_MAX * PARTS_MAX;

/// The giver reads at least so many rows at a time.
const ROWS_MIN: usize = 32;

/// What a row shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// No value: it is as good as no row.
    Nothing,
    /// Values.
    Object(ObjectHash),
    /// It cannot be read, or is being written.
    Unknown,
}

/// What the asker is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read its own keys after this one.
    Read { after: Option<Key> },
    /// Have these ranges compared.
    Compare { after: Option<Key>, spans: Vec<Span> },
    /// Pull what lies between, and differs from all of these.
    Pull { after: Option<Key>, until: Option<Key>, have: Vec<ObjectHash> },
    /// The whole partition has been gone over.
    Rest,
}

/// How far the asker has come.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    seed: Seed,
    listed_keys: usize,
    /// All keys up to this one have been gone over.
    done: Option<Key>,
    /// The keys that come next, once they have been read.
    window: Option<Window>,
}

/// Some of the asker's own keys, in order.
#[derive(Clone, Debug)]
struct Window {
    after: Option<Key>,
    /// None for a row that cannot be read.
    keys: Vec<(Key, Option<ObjectHash>)>,
    /// The last key of the window; None when it reaches to the end of the partition.
    end: Option<Key>,
    /// Ranges to have compared, as places in `keys`.
    open: Vec<Range<usize>>,
    /// Those that the giver has been asked about, each with its place in the message.
    asked: Vec<(u32, Range<usize>)>,
    /// Ranges to pull.
    unequal: BTreeSet<(usize, usize)>,
    pull: Option<Pull>,
}

/// A range that is being pulled.
#[derive(Clone, Debug)]
struct Pull {
    /// Everything up to this key has come.
    after: Option<Key>,
    range: Range<usize>,
    /// The ranges in it that differ; what lies between them is known to be equal already.
    unequal: Vec<Range<usize>>,
    /// The keys whose hashes were sent along with the last request.
    have: Vec<usize>,
}

/// What a comparison has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Ranges that were compared.
    pub(crate) ranges: u64,
    /// Those of them that are not, or not known to be, equal.
    pub(crate) unequal: u64,
    /// The asker's own keys in those that are equal.
    pub(crate) equal: u64,
}

/// What a page has shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turned {
    /// Keys that the asker has and the giver has not.
    pub(crate) absent: Vec<Key>,
    /// Keys that are the same on both sides.
    pub(crate) equal: u64,
}

impl Transfer {
    pub(crate) fn new(seed: Seed, limits: &Limits) -> Self {
        Self { seed, listed_keys: limits.listed_keys, done: None, window: None }
    }

    pub(crate) const fn seed(&self) -> Seed {
        self.seed
    }

    /// All keys up to this one have been gone over.
    pub(crate) const fn done(&self) -> Option<&Key> {
        self.done.as_ref()
    }

    /// What is to be done now. Asked twice in a row, it says the same.
    pub(crate) fn next(&mut self) -> Next {
        loop {
            let Some(window) = &mut self.window else {
                return Next::Read { after: self.done.clone() };
            };
            if let Some(next) = window.compare(self.seed).or_else(|| window.pull(self.listed_keys)) {
                return next;
            }
            let Some(end) = &window.end else { return Next::Rest };
            self.done = Some(end.clone());
            self.window = None;
        }
    }

    /// The asker's own rows after `done` have been read; `more` follow.
    pub(crate) fn on_read(&mut self, rows: Vec<(Key, Shown)>, more: bool) {
        let end = rows.last().filter(|_| more).map(|(key, _)| key.clone());
        let known = |(key, shown)| match shown {
            Shown::Nothing => None,
            Shown::Object(hash) => Some((key, Some(hash))),
            Shown::Unknown => Some((key, None)),
        };
        let keys: Vec<_> = rows.into_iter().filter_map(known).collect();
        let whole = 0..keys.len();
        let (open, asked, unequal) = (Vec::new(), Vec::new(), BTreeSet::new());
        let after = self.done.clone();
        let mut window = Window { after, keys, end, open, asked, unequal, pull: None };
        window.differs(whole, self.listed_keys);
        self.window = Some(window);
    }

    /// The giver has named ranges of the last comparison that are equal.
    pub(crate) fn on_compared(&mut self, equal: &[u32]) -> Verdict {
        let mut verdict = Verdict { ranges: 0, unequal: 0, equal: 0 };
        let Some(window) = &mut self.window else { return verdict };
        let equal: BTreeSet<u32> = equal.iter().copied().collect();
        for (place, range) in core::mem::take(&mut window.asked) {
            verdict.ranges += 1;
            if equal.contains(&place) {
                verdict.equal += range.len() as u64;
            } else {
                verdict.unequal += 1;
                window.differs(range, self.listed_keys);
            }
        }
        verdict
    }

    /// The giver does not compare, and gives pages instead, from where the first of the ranges begins that it was asked
    /// about: the rest of the window is pulled.
    pub(crate) fn on_uncompared(&mut self) {
        let Some(window) = &mut self.window else { return };
        let Some((_, first)) = window.asked.first() else { return };
        let range = first.start..window.keys.len();
        window.asked.clear();
        window.open.clear();
        window.unequal.retain(|(start, _)| *start < range.start);
        let (after, have) = (window.start(range.start).cloned(), Vec::new());
        window.pull = Some(Pull { after, unequal: [range.clone()].into(), range, have });
    }

    /// A page has come: it is exhaustive up to `end`, or to the end of what was pulled. `has` says whether an object of
    /// that key is in it, `same` names those of the hashes sent whose objects were left out. None when the page makes
    /// no sense.
    pub(crate) fn on_page(
        &mut self,
        end: Option<&Key>,
        has: impl Fn(&Key) -> bool,
        same: &[u32],
    ) -> Option<Turned> {
        let window = self.window.as_mut()?;
        let Pull { after, range, unequal, have } = window.pull.take()?;
        if end.is_some_and(|end| after.as_ref().is_some_and(|after| end <= after)) {
            return None;
        }
        let until = window.bound(range.end).cloned();
        // A giver may go beyond what it was asked for.
        let end = end.filter(|&end| until.as_ref().is_none_or(|until| end < until));
        let same: BTreeSet<usize> =
            same.iter().filter_map(|&place| have.get(usize::try_from(place).ok()?).copied()).collect();
        let is_of_page =
            |key: &Key| after.as_ref().is_none_or(|after| key > after) && end.is_none_or(|end| key <= end);
        let mut turned = Turned { absent: Vec::new(), equal: 0 };
        for place in range.clone() {
            let (key, _) = &window.keys[place];
            if !is_of_page(key) || has(key) {
                continue;
            }
            if same.contains(&place) {
                turned.equal += u64::from(unequal.iter().any(|range| range.contains(&place)));
            } else {
                turned.absent.push(key.clone());
            }
        }
        if let Some(end) = end {
            window.pull = Some(Pull { after: Some(end.clone()), range, unequal, have: Vec::new() });
        }
        Some(turned)
    }
}

impl Window {
    /// The key at which a range ends that goes up to, and not with, `place`, and at which the one that begins there
    /// begins. For the last place that is the end of the window.
    fn bound(&self, place: usize) -> Option<&Key> {
        if place == self.keys.len() {
            self.end.as_ref()
        } else {
            self.keys[..place].last().map_or(self.after.as_ref(), |(key, _)| Some(key))
        }
    }

    /// The key after which the range begins that begins with `place`.
    fn start(&self, place: usize) -> Option<&Key> {
        self.keys[..place].last().map_or(self.after.as_ref(), |(key, _)| Some(key))
    }

    /// A range is not, or not known to be, equal: it is cut up, or if it is short it will be pulled.
    fn differs(&mut self, range: Range<usize>, listed_keys: usize) {
        let mut ranges = Vec::from([range]);
        while let Some(range) = ranges.pop() {
            if range.len() <= listed_keys.max(1) {
                self.unequal.insert((range.start, range.end));
                continue;
            }
            // Parts so short that their fingerprints took more room than a list would serve nobody.
            let parts = (range.len() * 4 / listed_keys.max(1)).clamp(2, PARTS_MAX);
            for part in split(range, parts) {
                // What cannot be read has no fingerprint.
                let is_known = self.keys[part.clone()].iter().all(|(_, hash)| hash.is_some());
                if is_known { self.open.push(part) } else { ranges.push(part) }
            }
        }
    }

    fn compare(&mut self, seed: Seed) -> Option<Next> {
        if self.asked.is_empty() {
            self.open.sort_unstable_by_key(|range| range.start);
            let now = self.open.len().min(SPANS_MAX);
            self.asked = self.open.drain(..now).map(|range| (0, range)).collect();
        }
        let first = self.asked.first()?.1.start;
        let after = self.start(first).cloned();
        let mut spans: Vec<Span> = Vec::new();
        let mut reached = first;
        for at in 0..self.asked.len() {
            let range = self.asked[at].1.clone();
            if range.start > reached {
                spans.push(Span { end: self.start(range.start).cloned(), sum: None });
            }
            reached = range.end;
            let sum: Sum = self.keys[range].iter().filter_map(|(_, hash)| *hash).collect();
            self.asked[at].0 = u32::try_from(spans.len()).unwrap_or(u32::MAX);
            let count = u32::try_from(sum.count()).unwrap_or(u32::MAX);
            spans.push(Span { end: self.bound(reached).cloned(), sum: Some((sum.fingerprint(seed), count)) });
        }
        Some(Next::Compare { after, spans })
    }

    fn pull(&mut self, listed_keys: usize) -> Option<Next> {
        if self.pull.is_none() {
            self.pull = Some(self.next_pull(listed_keys)?);
        }
        let Pull { after, range, have, .. } = self.pull.as_mut()?;
        let is_to_come = |place: &usize| {
            let (key, hash) = &self.keys[*place];
            hash.is_some() && after.as_ref().is_none_or(|after| key > after)
        };
        *have = range.clone().filter(is_to_come).collect();
        let hashes = have.iter().filter_map(|&place| self.keys[place].1).collect();
        let (after, end) = (after.clone(), range.end);
        Some(Next::Pull { after, until: self.bound(end).cloned(), have: hashes })
    }

    /// The next range that differs, with those that follow it closely: a few equal keys between two cost less than one
    /// more question.
    fn next_pull(&mut self, listed_keys: usize) -> Option<Pull> {
        let (start, mut end) = self.unequal.pop_first()?;
        let mut unequal = Vec::new();
        unequal.push(start..end);
        while let Some(&(next, next_end)) = self.unequal.first()
            && next - end <= listed_keys / 2
            && next_end - start <= listed_keys * 4
        {
            self.unequal.pop_first();
            unequal.push(next..next_end);
            end = next_end;
        }
        Some(Pull { after: self.start(start).cloned(), range: start..end, unequal, have: Vec::new() })
    }
}

/// What the giver has found out of the ranges that it was asked about.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    seed: Seed,
    /// What is still to be looked at begins after this key.
    after: Option<Key>,
    spans: Box<[Span]>,
    /// The range that is being counted.
    at: usize,
    sum: Sum,
    /// Whether that range is known to differ.
    differs: bool,
    /// Whether the range before had more objects than the asker: then this one may, too, and is read with care.
    is_dense: bool,
    equal: Vec<u32>,
    /// Rows that may still be read before the answer is cut short.
    rows_left: usize,
}

impl Comparison {
    /// A comparison of `spans`, of which the first begins after `after`, that reads so many rows at most. None when they
    /// do not follow each other.
    pub(crate) fn new(seed: Seed, after: Option<Key>, spans: Vec<Span>, rows_max: usize) -> Option<Self> {
        let mut last = after.as_ref();
        for (at, span) in spans.iter().enumerate() {
            match &span.end {
                Some(end) if last.is_none_or(|last| last < end) => last = Some(end),
                None if at + 1 == spans.len() => {}
                _ => return None,
            }
        }
        let (spans, sum, equal) = (spans.into_boxed_slice(), Sum::default(), Vec::new());
        Some(Self {
            seed,
            after,
            spans,
            at: 0,
            sum,
            differs: false,
            is_dense: false,
            equal,
            rows_left: rows_max,
        })
    }

    /// What is to be read next: rows after the one key up to the other, so many at most. None when there is nothing left
    /// to find out.
    pub(crate) fn next(&mut self) -> Option<(Option<Key>, Option<Key>, usize)> {
        while let Some(Span { end, sum: None }) = self.spans.get(self.at) {
            self.after.clone_from(end);
            self.at += 1;
        }
        if self.at >= self.spans.len() || self.rows_left == 0 {
            return None;
        }
        let run = self.last_of_run();
        let looks = if self.is_dense { &self.spans[self.at..=self.at] } else { &self.spans[self.at..=run] };
        let asked: u64 = looks.iter().map(|span| u64::from(count(span))).sum();
        // One row more than the asker has shows that the giver has more.
        let rows =
            usize::try_from(asked.saturating_sub(self.sum.count()).saturating_add(1)).unwrap_or(usize::MAX);
        Some((self.after.clone(), self.spans[run].end.clone(), rows.max(ROWS_MIN).min(self.rows_left)))
    }

    /// Rows have been read; `more` follow up to the key that was asked for.
    pub(crate) fn on_rows(&mut self, rows: Vec<(Key, Shown)>, more: bool) {
        // A look at no rows counts, too: there may be many ranges.
        self.rows_left = self.rows_left.saturating_sub(rows.len().max(1));
        let run = self.last_of_run();
        let last = rows.last().map(|(key, _)| key.clone());
        for (key, shown) in rows {
            while self.at < run && self.spans[self.at].end.as_ref().is_some_and(|end| key > *end) {
                self.close();
            }
            match shown {
                Shown::Nothing => {}
                Shown::Object(hash) => self.sum.add(hash),
                Shown::Unknown => self.differs = true,
            }
            self.differs |= self.sum.count() > u64::from(count(&self.spans[self.at]));
        }
        if !more {
            while self.at <= run {
                self.close();
            }
        } else if self.differs {
            // The rest of this range would tell nothing new.
            self.close();
        } else {
            self.after = last.or(self.after.take());
        }
    }

    /// The ranges that are equal.
    pub(crate) fn into_equal(self) -> Vec<u32> {
        self.equal
    }

    /// The range that is being counted ends here.
    fn close(&mut self) {
        let Span { end, sum } = &self.spans[self.at];
        let sums = sum.is_some_and(|(fingerprint, count)| {
            u64::from(count) == self.sum.count() && fingerprint == self.sum.fingerprint(self.seed)
        });
        if sums && !self.differs {
            self.equal.push(u32::try_from(self.at).unwrap_or(u32::MAX));
        }
        self.after.clone_from(end);
        self.is_dense = self.sum.count() > u64::from(count(&self.spans[self.at]));
        (self.sum, self.differs) = (Sum::default(), false);
        self.at += 1;
    }

    /// The last of the ranges in a row that are to be counted, from the present one on.
    fn last_of_run(&self) -> usize {
        let rest = &self.spans[self.at..];
        self.at + rest.iter().take_while(|span| span.sum.is_some()).count().max(1) - 1
    }
}

/// The objects that the asker has in a range.
fn count(span: &Span) -> u32 {
    span.sum.map_or(0, |(_, count)| count)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;
    use crate::id::Life;

    type Side = BTreeMap<Key, Shown>;

    fn key(n: u16) -> Key {
        Key(Bytes::from(n.to_be_bytes().to_vec()))
    }

    fn between(
        side: &Side,
        after: Option<&Key>,
        until: Option<&Key>,
        max: usize,
    ) -> (Vec<(Key, Shown)>, bool) {
        let is_within =
            |key: &Key| after.is_none_or(|after| key > after) && until.is_none_or(|until| key <= until);
        let mut rows =
            side.iter().filter(|(key, _)| is_within(key)).map(|(key, shown)| (key.clone(), *shown));
        let page: Vec<_> = rows.by_ref().take(max).collect();
        (page, rows.next().is_some())
    }

    /// What a transfer has moved.
    #[derive(Debug, Default)]
    struct Moved {
        compared: u64,
        equal: u64,
        requests: usize,
        /// Keys whose objects came, or whose absence was found out; None for one that is unknown at the giver.
        changed: BTreeMap<Key, Option<ObjectHash>>,
        refused: bool,
    }

    #[derive(Debug)]
    struct Sizes {
        window: usize,
        listed: usize,
        page: usize,
        scan: usize,
        rows_max: usize,
        /// Whether the giver is of a version that knows no ranges.
        is_old: bool,
    }

    /// Transfers what `theirs` has to `ours`, as the two nodes would.
    fn transfer(ours: &Side, theirs: &Side, sizes: &Sizes) -> Moved {
        let seed = Seed::of(Life(1));
        let limits = Limits { listed_keys: sizes.listed, ..Limits::default() };
        let (mut transfer, mut moved) = (Transfer::new(seed, &limits), Moved::default());
        loop {
            moved.requests += 1;
            assert!(moved.requests < 10_000, "it goes on for ever");
            match transfer.next() {
                Next::Rest => return moved,
                Next::Read { after } => {
                    let (rows, more) = between(ours, after.as_ref(), None, sizes.window);
                    transfer.on_read(rows, more);
                }
                Next::Compare { after, .. } if sizes.is_old => {
                    transfer.on_uncompared();
                    turn(&mut transfer, &mut moved, theirs, (after, None, Vec::new()), sizes);
                }
                Next::Compare { after, spans } => {
                    assert!(spans.len() <= 2 * SPANS_MAX);
                    let mut comparison = Comparison::new(seed, after, spans, sizes.rows_max)
                        .expect("ranges follow each other");
                    while let Some((after, until, max)) = comparison.next() {
                        let (rows, more) =
                            between(theirs, after.as_ref(), until.as_ref(), max.min(sizes.scan));
                        comparison.on_rows(rows, more);
                    }
                    let verdict = transfer.on_compared(&comparison.into_equal());
                    moved.compared += verdict.ranges;
                    moved.equal += verdict.equal;
                }
                Next::Pull { after, until, have } => {
                    assert!(have.len() <= 4 * sizes.listed.max(1) || sizes.is_old);
                    let asked = if sizes.is_old { (after, None, Vec::new()) } else { (after, until, have) };
                    turn(&mut transfer, &mut moved, theirs, asked, sizes);
                }
            }
            if moved.refused {
                return moved;
            }
        }
    }

    /// One page goes from the giver to the asker.
    fn turn(
        transfer: &mut Transfer,
        moved: &mut Moved,
        theirs: &Side,
        (after, until, have): (Option<Key>, Option<Key>, Vec<ObjectHash>),
        sizes: &Sizes,
    ) {
        let (rows, more) = between(theirs, after.as_ref(), until.as_ref(), sizes.page);
        moved.refused = rows.iter().any(|(_, shown)| *shown == Shown::Unknown);
        if moved.refused {
            return;
        }
        let end = if more { rows.last().map(|(key, _)| key.clone()) } else { None };
        let (mut objects, mut same) = (BTreeMap::new(), Vec::new());
        for (key, shown) in rows {
            let Shown::Object(hash) = shown else { continue };
            match have.iter().position(|had| *had == hash) {
                Some(place) => same.push(place as u32),
                None => _ = objects.insert(key, hash),
            }
        }
        let turned = transfer
            .on_page(end.as_ref(), |key| objects.contains_key(key), &same)
            .expect("an honest page makes sense");
        moved.equal += turned.equal;
        moved.changed.extend(objects.into_iter().map(|(key, hash)| (key, Some(hash))));
        moved.changed.extend(turned.absent.into_iter().map(|key| (key, None)));
    }

    /// What a key holds in one of its versions, of which the first is nothing.
    fn shown(key: u16, version: u8) -> Shown {
        match version {
            0 => Shown::Nothing,
            _ => {
                Shown::Object(ObjectHash(xxh3_128(&(u32::from(key) << 8 | u32::from(version)).to_le_bytes())))
            }
        }
    }

    /// Both sides: what is equal, and what not.
    fn sides() -> impl Strategy<Value = (Side, Side)> {
        let equal = prop::collection::btree_map(0u16..400, 0u8..3, 0..200);
        let other = prop::collection::btree_map(
            0u16..400,
            (prop::option::of(0u8..4), prop::option::of(0u8..4)),
            0..20,
        );
        (equal, other).prop_map(|(equal, other)| {
            let side: Side = equal.into_iter().map(|(n, version)| (key(n), shown(n, version))).collect();
            let (mut ours, mut theirs) = (side.clone(), side);
            for (n, (our, their)) in other {
                for (side, version) in [(&mut ours, our), (&mut theirs, their)] {
                    side.remove(&key(n));
                    side.extend(version.map(|version| (key(n), shown(n, version))));
                }
            }
            (ours, theirs)
        })
    }

    fn sizes() -> impl Strategy<Value = Sizes> {
        (1usize..300, 1usize..20, 1usize..20, 1usize..40, 1usize..600).prop_map(
            |(window, listed, page, scan, rows_max)| Sizes {
                window,
                listed,
                page,
                scan,
                rows_max,
                is_old: false,
            },
        )
    }

    fn visible(side: &Side, key: &Key) -> Option<ObjectHash> {
        match side.get(key) {
            Some(Shown::Object(hash)) => Some(*hash),
            _ => None,
        }
    }

    proptest! {
        // The same cases on every machine; another number is another set of them.
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), cases: 1_000, ..ProptestConfig::default() })]

        #[test]
        fn exactly_the_keys_that_differ_are_moved((ours, theirs) in sides(), sizes in sizes()) {
            let moved = transfer(&ours, &theirs, &sizes);
            let keys: BTreeSet<&Key> = ours.keys().chain(theirs.keys()).collect();
            for key in keys {
                let (our, their) = (visible(&ours, key), visible(&theirs, key));
                prop_assert_eq!(moved.changed.get(key).copied(), (our != their).then_some(their), "{}", key);
            }
            let same = ours.keys().filter(|key| visible(&ours, key).is_some_and(|hash| visible(&theirs, key) == Some(hash)));
            prop_assert_eq!(moved.equal, same.count() as u64, "each key that is equal is counted once");
        }

        #[test]
        fn a_giver_that_does_not_compare_gives_everything(
            (ours, theirs) in sides(), sizes in sizes(), page in 20usize..40,
        ) {
            let moved = transfer(&ours, &theirs, &Sizes { is_old: true, page, ..sizes });
            let keys: BTreeSet<&Key> = ours.keys().chain(theirs.keys()).collect();
            for key in keys {
                let (our, their) = (visible(&ours, key), visible(&theirs, key));
                let came = moved.changed.get(key).copied();
                prop_assert!(came == Some(their) || (came.is_none() && our.is_none() && their.is_none()), "{}", key);
            }
        }

        #[test]
        fn what_one_side_cannot_read_is_never_taken_for_equal_or_absent(
            (mut ours, mut theirs) in sides(), sizes in sizes(), n in 0u16..400, is_ours: bool,
        ) {
            let side = if is_ours { &mut ours } else { &mut theirs };
            side.insert(key(n), Shown::Unknown);
            let moved = transfer(&ours, &theirs, &sizes);
            if is_ours {
                prop_assert_eq!(moved.changed.get(&key(n)), Some(&visible(&theirs, &key(n))), "it is asked for");
            } else {
                prop_assert!(moved.refused, "the page that would hold it is not given");
            }
        }
    }

    fn numbers(keys: impl IntoIterator<Item = u16>) -> Side {
        keys.into_iter().map(|n| (key(n), shown(n, 1))).collect()
    }

    const USUAL: Sizes =
        Sizes { window: 4_096, listed: 32, page: 128, scan: 1_024, rows_max: 16_384, is_old: false };

    #[test]
    fn equal_partitions_cost_one_comparison_per_window() {
        let side = numbers(0..10_000);
        let moved = transfer(&side, &side, &USUAL);
        // Three windows: each is read and compared once.
        assert_eq!((moved.requests, moved.compared, moved.equal), (3 + 3 + 1, 48, 10_000));
    }

    #[test]
    fn an_empty_replica_compares_nothing_and_pulls_page_by_page() {
        let moved = transfer(&Side::new(), &numbers(0..1_000), &USUAL);
        assert_eq!((moved.requests, moved.compared, moved.changed.len()), (1 + 8 + 1, 0, 1_000));
    }

    #[test]
    fn a_transfer_that_was_interrupted_goes_on_where_it_stopped() {
        let moved = transfer(&numbers(0..5_000), &numbers(0..10_000), &USUAL);
        assert_eq!((moved.changed.len(), moved.equal), (5_000, 5_000));
        // Two windows read, and compared down to the last key; then what is missing, in pages, after an empty one.
        assert!(moved.requests < 2 + 4 + 5_000 / 128 + 3, "{}", moved.requests);
    }

    #[test]
    fn one_difference_is_found_in_two_comparisons_and_one_page() {
        let theirs = numbers(0..4_096);
        let mut ours = theirs.clone();
        ours.insert(key(2_000), shown(2_000, 2));
        let moved = transfer(&ours, &theirs, &USUAL);
        assert_eq!((moved.requests, moved.compared), (1 + 2 + 1 + 1, 32));
        assert_eq!(moved.changed, BTreeMap::from([(key(2_000), visible(&theirs, &key(2_000)))]));
    }

    #[test]
    fn ranges_that_do_not_follow_each_other_are_refused() {
        let span = |end: Option<u16>| Span {
            end: end.map(key),
            sum: Some((Sum::default().fingerprint(Seed::of(Life(1))), 0)),
        };
        let is_taken = |after: Option<u16>, ends: &[Option<u16>]| {
            Comparison::new(Seed::of(Life(1)), after.map(key), ends.iter().map(|end| span(*end)).collect(), 9)
                .is_some()
        };
        assert!(
            is_taken(None, &[Some(1), Some(2), None]) && is_taken(Some(1), &[Some(2)]) && is_taken(None, &[])
        );
        let bad = [[Some(2), Some(1)], [Some(1), Some(1)], [None, Some(1)], [None, None]];
        assert!(!bad.iter().any(|ends| is_taken(None, ends)));
        assert!(!is_taken(Some(1), &[Some(1)]) && !is_taken(Some(2), &[Some(1)]));
    }

    #[test]
    fn a_page_that_does_not_go_on_is_refused() {
        let mut transfer = Transfer::new(Seed::of(Life(1)), &Limits::default());
        transfer.on_read(Vec::new(), false);
        assert!(matches!(transfer.next(), Next::Pull { .. }));
        assert!(transfer.on_page(Some(&key(5)), |_| false, &[7]).is_some());
        assert!(matches!(transfer.next(), Next::Pull { after: Some(_), .. }));
        assert!(transfer.on_page(Some(&key(5)), |_| false, &[]).is_none());
    }
}
