//! A set of dots, kept small: per actor a gap-free base, and the few dots above it.
//!
//! This is the version vector with exceptions of the delta-CRDT papers: `base` says "all of 1..=base", the cloud
//! holds what lies beyond a gap. The representation is canonical (no dot of the cloud touches its base, no entry
//! is empty), so equal sets compare and hash equal.

use alloc::collections::{BTreeMap, BTreeSet, btree_map};
use core::fmt;

use super::Dot;
use crate::id::Life;

/// What one actor has contributed to a [`Context`].
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Entry {
    base: u64,
    cloud: BTreeSet<u64>,
}

impl Entry {
    fn has(&self, n: u64) -> bool {
        n <= self.base || self.cloud.contains(&n)
    }

    fn insert(&mut self, n: u64) {
        if n > self.base && self.cloud.insert(n) {
            self.compact();
        }
    }

    fn raise(&mut self, base: u64) {
        if base > self.base {
            self.base = base;
            self.cloud = self.cloud.split_off(&base.saturating_add(1));
            self.compact();
        }
    }

    /// Moves the dots that touch the base into it.
    fn compact(&mut self) {
        while let Some(&first) = self.cloud.first() {
            if first != self.base + 1 {
                break;
            }
            self.cloud.pop_first();
            self.base = first;
        }
    }

    fn is_empty(&self) -> bool {
        self.base == 0 && self.cloud.is_empty()
    }
}

/// A set of dots that somebody has seen.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Context {
    entries: BTreeMap<Life, Entry>,
}

impl Context {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    /// Whether nothing has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether `dot` has been seen.
    #[must_use]
    pub fn has(&self, dot: Dot) -> bool {
        self.entries.get(&dot.actor).is_some_and(|entry| entry.has(dot.n))
    }

    /// The number up to which every dot of `actor` has been seen; 0 for none.
    #[must_use]
    pub fn base(&self, actor: Life) -> u64 {
        self.entries.get(&actor).map_or(0, |entry| entry.base)
    }

    /// The highest dot of `actor` that has been seen; 0 for none.
    #[must_use]
    pub fn highest(&self, actor: Life) -> u64 {
        let Some(entry) = self.entries.get(&actor) else {
            return 0;
        };
        entry.cloud.last().copied().unwrap_or(entry.base)
    }

    /// Adds one dot. One that cannot have been minted is ignored.
    pub fn insert(&mut self, dot: Dot) {
        if dot.is_real() {
            self.entries.entry(dot.actor).or_default().insert(dot.n);
        }
    }

    /// Adds every dot of `actor` up to `base`.
    pub fn raise(&mut self, actor: Life, base: u64) {
        if base > 0 {
            self.entries.entry(actor).or_default().raise(base.min(Dot::N_MAX));
        }
    }

    /// Adds every dot of `other`.
    pub fn join(&mut self, other: &Self) {
        for (&actor, theirs) in &other.entries {
            match self.entries.entry(actor) {
                btree_map::Entry::Vacant(vacant) => {
                    vacant.insert(theirs.clone());
                }
                btree_map::Entry::Occupied(mut occupied) => {
                    let ours = occupied.get_mut();
                    ours.raise(theirs.base);
                    for &n in &theirs.cloud {
                        ours.insert(n);
                    }
                }
            }
        }
    }

    /// Adds the gap-free part of `other` only: what a partition's clock says about each of its keys.
    pub fn join_bases(&mut self, other: &Self) {
        for (actor, base) in other.bases() {
            self.raise(actor, base);
        }
    }

    /// Drops every dot that lies within `base` of its actor; the inverse of [`join_bases`](Self::join_bases).
    ///
    /// A base that reaches beyond the given one stays whole: it is one number either way.
    pub fn drop_up_to(&mut self, base: impl Fn(Life) -> u64) {
        self.entries.retain(|&actor, entry| {
            let base = base(actor);
            if entry.base <= base {
                entry.base = 0;
                entry.cloud = entry.cloud.split_off(&base.saturating_add(1));
            }
            !entry.is_empty()
        });
    }

    /// Drops single dots of the cloud for which `keep` says no. Bases stay.
    pub fn retain_cloud(&mut self, mut keep: impl FnMut(Dot) -> bool) {
        self.entries.retain(|&actor, entry| {
            entry.cloud.retain(|&n| keep(Dot { actor, n }));
            !entry.is_empty()
        });
    }

    /// Forgets every dot of `actor` above `highest`.
    pub fn cap(&mut self, actor: Life, highest: u64) {
        if let Some(entry) = self.entries.get_mut(&actor) {
            entry.base = entry.base.min(highest);
            entry.cloud.retain(|&n| n <= highest);
            if entry.is_empty() {
                self.entries.remove(&actor);
            }
        }
    }

    /// Whether any of the dots `first` to `last` of `actor` has been seen.
    #[must_use]
    pub fn has_any(&self, actor: Life, first: u64, last: u64) -> bool {
        let any = |entry: &Entry| entry.base >= first || entry.cloud.range(first..=last).next().is_some();
        first <= last && self.entries.get(&actor).is_some_and(any)
    }

    /// Numbers that it takes to write this down: bases and single dots.
    #[must_use]
    pub fn size(&self) -> usize {
        self.entries.values().map(|entry| 1 + entry.cloud.len()).sum()
    }

    /// The same with at most `actors_max` actors: those of `first`, then those with the most dots.
    #[must_use]
    pub fn within(&self, actors_max: usize, first: impl IntoIterator<Item = Dot>) -> Self {
        if self.entries.len() <= actors_max {
            return self.clone();
        }
        let first: BTreeSet<Life> = first.into_iter().map(|dot| dot.actor).collect();
        let mut ranked: alloc::vec::Vec<Life> = self.actors().collect();
        ranked.sort_by_key(|actor| (!first.contains(actor), core::cmp::Reverse(self.highest(*actor))));
        ranked.truncate(actors_max);
        let kept: BTreeSet<Life> = ranked.into_iter().collect();
        let entries = self.entries.iter().filter(|(actor, _)| kept.contains(actor));
        Self { entries: entries.map(|(&actor, entry)| (actor, entry.clone())).collect() }
    }

    /// Whether every dot of `other` has been seen here.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.entries.iter().all(|(&actor, theirs)| {
            let Some(ours) = self.entries.get(&actor) else {
                return false;
            };
            // Beyond our base every single dot would have to stand in the cloud.
            (ours.base.saturating_add(1)..=theirs.base).all(|n| ours.cloud.contains(&n))
                && theirs.cloud.iter().all(|&n| ours.has(n))
        })
    }

    /// The actors, in order.
    pub fn actors(&self) -> impl Iterator<Item = Life> + '_ {
        self.entries.keys().copied()
    }

    /// Each actor's gap-free base, in order; actors without one are left out.
    pub fn bases(&self) -> impl Iterator<Item = (Life, u64)> + '_ {
        self.entries.iter().filter(|(_, entry)| entry.base > 0).map(|(&actor, entry)| (actor, entry.base))
    }

    /// The dots beyond the bases, in order.
    pub fn cloud(&self) -> impl Iterator<Item = Dot> + '_ {
        self.entries.iter().flat_map(|(&actor, entry)| entry.cloud.iter().map(move |&n| Dot { actor, n }))
    }

    /// The spans of dots that are in here and not in `other`, as (actor, first, last), in order.
    ///
    /// Costs the size of both contexts, not the number of dots: a base of a million that the other lacks is one
    /// span.
    #[must_use]
    pub fn missing_from(&self, other: &Self) -> alloc::vec::Vec<(Life, u64, u64)> {
        let empty = Entry::default();
        let mut spans = alloc::vec::Vec::new();
        for (&actor, ours) in &self.entries {
            let theirs = other.entries.get(&actor).unwrap_or(&empty);
            let mut next = theirs.base + 1;
            for &n in theirs.cloud.iter().take_while(|&&n| n <= ours.base) {
                if next < n {
                    spans.push((actor, next, n - 1));
                }
                next = n + 1;
            }
            if next <= ours.base {
                spans.push((actor, next, ours.base));
            }
            spans.extend(ours.cloud.iter().filter(|&&n| !theirs.has(n)).map(|&n| (actor, n, n)));
        }
        spans
    }
}

impl FromIterator<Dot> for Context {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut context = Self::new();
        for dot in dots {
            context.insert(dot);
        }
        context
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (actor, entry)) in self.entries.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{actor}:{}", entry.base)?;
            for n in &entry.cloud {
                write!(f, "+{n}")?;
            }
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    const A: Life = Life(1);
    const B: Life = Life(2);

    fn dot(actor: Life, n: u64) -> Dot {
        Dot { actor, n }
    }

    /// Every context over two actors with dots up to 4 each: all 256.
    fn all_small() -> Vec<Context> {
        (0..=255u64)
            .map(|bits| {
                (0..8u64)
                    .filter(|bit| bits & (1 << bit) != 0)
                    .map(|bit| dot(if bit < 4 { A } else { B }, bit % 4 + 1))
                    .collect()
            })
            .collect()
    }

    fn dots(context: &Context) -> Vec<Dot> {
        [A, B]
            .into_iter()
            .flat_map(|actor| (1..=5).map(move |n| dot(actor, n)))
            .filter(|&dot| context.has(dot))
            .collect()
    }

    #[test]
    fn joins_commute_associate_and_are_idempotent_on_all_small_contexts() {
        let all = all_small();
        for a in &all {
            for b in &all {
                let mut ab = a.clone();
                ab.join(b);
                let mut ba = b.clone();
                ba.join(a);
                assert_eq!(ab, ba);
                let union: Context = dots(a).into_iter().chain(dots(b)).collect();
                assert_eq!(ab, union, "a join is the union, in canonical form");
                assert!(ab.covers(a) && ab.covers(b));
                assert_eq!(a.covers(b), dots(b).iter().all(|&dot| a.has(dot)));
                let mut again = ab.clone();
                again.join(b);
                assert_eq!(again, ab);
            }
        }
    }

    #[test]
    fn missing_spans_are_exactly_the_difference_on_all_small_contexts() {
        let all = all_small();
        for a in &all {
            for b in &all {
                let spans = a.missing_from(b);
                let listed: Vec<Dot> = spans
                    .iter()
                    .flat_map(|&(actor, first, last)| (first..=last).map(move |n| dot(actor, n)))
                    .collect();
                let expected: Vec<Dot> = dots(a).into_iter().filter(|&dot| !b.has(dot)).collect();
                assert_eq!(listed, expected, "{a:?} \\ {b:?}");
            }
        }
    }

    #[test]
    fn dropping_bases_and_joining_them_again_gives_the_same_knowledge() {
        let all = all_small();
        for a in &all {
            for clock in &all {
                let mut stripped = a.clone();
                stripped.drop_up_to(|actor| clock.base(actor));
                let mut filled = stripped.clone();
                filled.join_bases(clock);
                let mut expected = a.clone();
                expected.join_bases(clock);
                assert_eq!(filled, expected, "strip then fill of {a:?} under {clock:?}");
            }
        }
    }

    #[test]
    fn the_cloud_compacts_into_the_base() {
        let context: Context = [dot(A, 3), dot(A, 1), dot(A, 2), dot(A, 5)].into_iter().collect();
        assert_eq!(context.base(A), 3);
        assert_eq!(context.highest(A), 5);
        assert_eq!(context.cloud().collect::<Vec<_>>(), vec![dot(A, 5)]);
    }

    #[test]
    fn raising_a_base_swallows_the_cloud_below_it() {
        let mut context: Context = [dot(A, 3), dot(A, 6), dot(A, 9)].into_iter().collect();
        context.raise(A, 5);
        assert_eq!(context.base(A), 6);
        assert_eq!(context.highest(A), 9);
    }

    #[test]
    fn a_context_cut_to_few_actors_keeps_those_that_matter() {
        let mut context = Context::new();
        for actor in 1..=9 {
            context.raise(Life(actor), 10 * actor as u64);
        }
        let cut = context.within(3, [dot(Life(1), 1)]);
        assert_eq!(cut.actors().collect::<Vec<_>>(), [Life(1), Life(8), Life(9)]);
        assert_eq!(context.within(9, []), context);
    }

    #[test]
    fn dot_zero_is_nobodys() {
        let mut context = Context::new();
        context.insert(dot(A, 0));
        context.raise(A, 0);
        assert!(context.is_empty() && context == Context::new());
        assert!(!context.has(dot(B, 1)));
    }
}
