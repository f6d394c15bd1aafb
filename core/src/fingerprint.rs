//! Fingerprints of ranges of objects: equal ones show that two replicas see the same there (Meyer, "Range-Based Set
//! Reconciliation", SRDS 2023).
//!
//! An object's hash covers its key and what is visible under it: every dot with its value, content type, date and expiry. A
//! range's fingerprint covers the hashes of its objects, in whatever order, and their number. A key without anything
//! visible has no hash and counts for nothing.
//!
//! An object's context is left out on purpose: what is at rest is stripped differently on each node, so it would make
//! equal data look different. Nothing is lost with it. Whoever compares takes over only gap-free bases of the other
//! side's clock, and takes a dot within them that is not visible for removed. Where both see the same, such a dot is
//! either visible here, too, or it is not visible there; and there, below a base, "not visible" does mean "removed".
//!
//! Hashes are XXH3 of 128 bits. That makes an accident impossible in practice, and wider sums would not do more: XXH3
//! is not made against those who search for two values with one hash, at any width. Against those there is a seed.
//! Each asker has another one in each of its lives, so that what collides for one does not for the others. Nothing of
//! this is ever stored.

use alloc::vec::Vec;
use core::ops::Range;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::id::Life;
use crate::key::Key;
use crate::kind::{Object, Sibling};

/// What all hashes of one comparison begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The seed of comparisons that this life asks for.
    #[must_use]
    pub fn of(life: Life) -> Self {
        Self(xxh3_64(&life.0.to_le_bytes()))
    }
}

/// What is visible under one key, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectHash(pub u128);

impl ObjectHash {
    /// The hash of what `object` shows under `key`; None when it shows nothing.
    #[must_use]
    pub fn of(seed: Seed, key: &Key, object: &Object) -> Option<Self> {
        if object.store.0.is_empty() {
            return None;
        }
        let hash = |bytes: &[u8]| xxh3_128_with_seed(bytes, seed.0).to_le_bytes();
        // Every part has a fixed width, so no two objects are written alike.
        let mut parts = Vec::with_capacity(16 + object.store.0.len() * 72);
        parts.extend_from_slice(&hash(&key.0));
        for (dot, sibling) in &object.store.0 {
            // Taken apart by name: a part that is added to siblings must be added here.
            let Sibling { value, content_type, at, expires } = sibling;
            parts.extend_from_slice(&dot.actor.0.to_le_bytes());
            parts.extend_from_slice(&dot.n.to_le_bytes());
            parts.extend_from_slice(&at.0.to_le_bytes());
            parts.extend_from_slice(&expires.to_le_bytes());
            parts.extend_from_slice(&hash(value));
            parts.extend_from_slice(&hash(content_type));
        }
        Some(Self(xxh3_128_with_seed(&parts, seed.0)))
    }
}

/// The objects of a range, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub u128);

/// Objects of a range, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    total: u128,
    count: u64,
}

impl Sum {
    /// Adds an object.
    pub fn add(&mut self, hash: ObjectHash) {
        self.join(Self { total: hash.0, count: 1 });
    }

    /// Adds the objects of another range, none of which is in this one.
    pub fn join(&mut self, other: Self) {
        self.total = self.total.wrapping_add(other.total);
        self.count = self.count.wrapping_add(other.count);
    }

    /// How many objects there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// What is compared. The sum itself is never shown: from sums of two ranges that of a third would follow.
    #[must_use]
    pub fn fingerprint(&self, seed: Seed) -> Fingerprint {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&self.total.to_le_bytes());
        bytes[16..].copy_from_slice(&self.count.to_le_bytes());
        Fingerprint(xxh3_128_with_seed(&bytes, seed.0))
    }
}

impl FromIterator<ObjectHash> for Sum {
    fn from_iter<I: IntoIterator<Item = ObjectHash>>(hashes: I) -> Self {
        let mut sum = Self::default();
        for hash in hashes {
            sum.add(hash);
        }
        sum
    }
}

/// Cuts a range of places into `parts` that follow each other and whose lengths differ by one at most; into fewer when
/// there are not as many places. No part is empty.
#[must_use]
pub fn split(range: Range<usize>, parts: usize) -> Vec<Range<usize>> {
    let parts = parts.min(range.len());
    let bound = |part: usize| range.start + part * range.len() / parts;
    (0..parts).map(|part| bound(part)..bound(part + 1)).collect()
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, string::String, vec};

    use bytes::Bytes;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;
    use crate::causal::{Context, Dot, DotFun};
    use crate::hlc::Hlc;

    const SEED: Seed = Seed(7);

    /// Actor, number, value, content type, date and expiry.
    type Told = (u8, u8, String, String, (u8, u8));

    fn object(told: &[Told]) -> Object {
        let sibling = |(actor, n, value, content_type, (at, expires)): &Told| {
            let dot = Dot { actor: Life((*actor).into()), n: (*n).into() };
            let (value, content_type) = (value.clone().into(), content_type.clone().into());
            (dot, Sibling { value, content_type, at: Hlc((*at).into()), expires: (*expires).into() })
        };
        Object { store: DotFun(told.iter().map(sibling).collect()), context: Context::new() }
    }

    fn hash(key: &str, object: &Object) -> Option<ObjectHash> {
        ObjectHash::of(SEED, &Key(Bytes::copy_from_slice(key.as_bytes())), object)
    }

    fn told() -> impl Strategy<Value = Told> {
        // Few values for each part, so that two that are drawn often differ in one only.
        (0u8..3, 1u8..4, "[ab]{0,2}", "[ab]{0,1}", (0u8..3, 0u8..3))
    }

    fn objects() -> impl Strategy<Value = Object> {
        prop::collection::vec(told(), 0..4).prop_map(|told| object(&told))
    }

    fn ranges() -> impl Strategy<Value = BTreeMap<String, Object>> {
        prop::collection::btree_map("[ab]{1,3}", objects(), 0..6)
    }

    fn sum<'a>(range: impl IntoIterator<Item = (&'a String, &'a Object)>) -> Sum {
        range.into_iter().filter_map(|(key, object)| hash(key, object)).collect()
    }

    /// What a range shows: its keys that have something visible.
    fn shown(range: &BTreeMap<String, Object>) -> Vec<(&String, &DotFun<Sibling>)> {
        let all = range.iter().map(|(key, object)| (key, &object.store));
        all.filter(|(_, store)| !store.0.is_empty()).collect()
    }

    proptest! {
        // The same cases on every machine; another number is another set of them.
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

        #[test]
        fn ranges_have_one_fingerprint_exactly_when_they_show_the_same(a in ranges(), b in ranges()) {
            let is_same = sum(&a).fingerprint(SEED) == sum(&b).fingerprint(SEED);
            prop_assert_eq!(is_same, shown(&a) == shown(&b));
        }

        #[test]
        fn any_single_difference_changes_the_fingerprint(
            range in ranges(), (key, told) in ("[ab]{1,3}", told()), part in 0u8..9,
        ) {
            // One sibling more, under a dot that no other has.
            let mut more = range.clone();
            let (_, sibling) = object(&[told]).store.0.pop_first().expect("one sibling");
            let dot = Dot { actor: Life(9), n: 9 };
            more.entry(key.clone()).or_default().store.0.insert(dot, sibling);
            prop_assert_ne!(sum(&more).fingerprint(SEED), sum(&range).fingerprint(SEED), "one was added");
            // The same with one part of it changed.
            let mut other = more.clone();
            let mut changed = other.remove(&key).expect("just added");
            let (mut at, mut dot) = (key, dot);
            let mut sibling = changed.store.0.remove(&dot).expect("just added");
            match part {
                0 => sibling.value = "c".into(),
                1 => sibling.content_type = "c".into(),
                2 => sibling.at = Hlc(99),
                3 => dot.actor = Life(8),
                4 => dot.n = 8,
                5 => at.push('c'),
                // Its value under a second dot, too.
                6 => _ = changed.store.0.insert(Dot { n: 10, ..dot }, sibling.clone()),
                7 => sibling.expires = 99,
                _ => core::mem::swap(&mut sibling.value, &mut sibling.content_type),
            }
            let is_same = part == 8 && sibling.value == sibling.content_type;
            changed.store.0.insert(dot, sibling);
            other.insert(at, changed);
            prop_assert_eq!(sum(&other).fingerprint(SEED) == sum(&more).fingerprint(SEED), is_same, "part {}", part);
        }

        #[test]
        fn neither_order_nor_grouping_matters(range in ranges(), cut in 0usize..6, again in 0usize..6) {
            let all: Vec<_> = range.iter().collect();
            let (cut, again) = (cut.min(all.len()), again.min(all.len()));
            let (cut, again) = (cut.min(again), cut.max(again));
            let (a, b, c) =
                (sum(all[..cut].to_vec()), sum(all[cut..again].to_vec()), sum(all[again..].to_vec()));
            let join = |mut a: Sum, b: Sum| { a.join(b); a };
            prop_assert_eq!(join(join(a, b), c), sum(&range));
            prop_assert_eq!(join(a, join(b, c)), sum(&range));
            prop_assert_eq!(sum(all.into_iter().rev()), sum(&range));
        }

        #[test]
        fn what_an_object_has_seen_and_removed_does_not_matter(object in objects(), n in 5u64..9) {
            let mut stripped = object.clone();
            stripped.context.raise(Life(1), n);
            prop_assert_eq!(hash("k", &stripped), hash("k", &object));
        }

        #[test]
        fn parts_follow_each_other_and_differ_by_one_at_most(start in 0usize..50, len in 0usize..70, parts in 1usize..20) {
            let range = start..start + len;
            let cut = split(range.clone(), parts);
            prop_assert_eq!(cut.len(), parts.min(len));
            prop_assert_eq!(cut.iter().cloned().flatten().collect::<Vec<_>>(), range.collect::<Vec<_>>());
            let lengths = cut.iter().map(ExactSizeIterator::len);
            let (least, most) = (lengths.clone().min().unwrap_or(0), lengths.max().unwrap_or(0));
            prop_assert!(most - least <= 1 && (cut.is_empty() || least > 0));
        }
    }

    #[test]
    fn every_part_of_an_object_counts() {
        let plain = || (1, 1, "value".into(), "type".into(), (1, 1));
        let base = hash("key", &object(&[plain()]));
        let mut others = vec![hash("kez", &object(&[plain()])), None];
        let mut change = |change: fn(&mut Told)| {
            let mut told = plain();
            change(&mut told);
            others.push(hash("key", &object(&[told])));
        };
        change(|told| told.0 = 2);
        change(|told| told.1 = 2);
        change(|told| told.2 = "valuf".into());
        change(|told| told.3 = "typf".into());
        change(|told| told.4 = (2, 1));
        change(|told| told.4 = (1, 2));
        // Bytes that move from one part to its neighbour.
        change(|told| (told.2, told.3) = ("valuet".into(), "ype".into()));
        change(|told| (told.2, told.3) = ("type".into(), "value".into()));
        for (place, other) in others.iter().enumerate() {
            assert_ne!(base, *other, "{place}");
        }
    }

    #[test]
    fn an_empty_range_is_like_no_other_and_like_every_empty_one() {
        let invisible = BTreeMap::from([("k".into(), Object::default())]);
        assert_eq!(sum(&invisible), Sum::default());
        // Neither is it like a range whose hashes add up to nothing.
        let cancels: Sum = [ObjectHash(1), ObjectHash(u128::MAX)].into_iter().collect();
        assert_ne!(cancels.fingerprint(SEED), Sum::default().fingerprint(SEED));
    }

    #[test]
    fn another_seed_gives_other_hashes_and_fingerprints() {
        let (a, b) = (Seed::of(Life(1)), Seed::of(Life(2)));
        let (key, object) = (Key::from("k"), object(&[(1, 1, "v".into(), String::new(), (1, 0))]));
        assert_ne!(ObjectHash::of(a, &key, &object), ObjectHash::of(b, &key, &object));
        assert_ne!(Sum::default().fingerprint(a), Sum::default().fingerprint(b));
        assert_eq!(Seed::of(Life(1)), a);
    }
}
