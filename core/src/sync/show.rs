//! What rows show of their objects where ranges are compared, and what objects take on the wire.

use alloc::vec::Vec;

use crate::cx::{Cx, Step};
use crate::fingerprint::{ObjectHash, Seed};
use crate::key::Key;
use crate::kind::Object;
use crate::message::Given;
use crate::pace::OBJECT_BYTES_MIN;
use crate::ranges::Shown;
use crate::stored::{self, Row};

/// Bytes that one number of a context takes in a frame, at most.
const CONTEXT_ENTRY_BYTES: usize = 26;

/// What rows show, in their order.
pub(super) fn shown(cx: &mut Cx<'_>, seed: Seed, rows: &[Row]) -> Vec<(Key, Shown)> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let Some((_, key)) = stored::key_of(&row.key) else { continue };
        let shown = match cx.object_in(row) {
            Some(object) => hash(cx, seed, &key, &object).map_or(Shown::Nothing, Shown::Object),
            None => {
                sometimes!(cx.shared.moments, ComparedUnknown);
                cx.step(Step::Damaged(key.clone()));
                Shown::Unknown
            }
        };
        all.push((key, shown));
    }
    all
}

pub(super) fn hash(cx: &Cx<'_>, seed: Seed, key: &Key, object: &Object) -> Option<ObjectHash> {
    if planted!(cx.shared.plants, RangesCompareKeys) && !object.store.0.is_empty() {
        return Some(ObjectHash(u128::from(key.hash())));
    }
    ObjectHash::of(seed, key, object)
}

/// What the objects that have come are to be paid for as.
pub(super) fn objects_bytes<'a>(objects: impl IntoIterator<Item = (&'a Key, &'a Object)>) -> u64 {
    let cost = |(key, object)| (object_bytes(key, object) as u64).max(OBJECT_BYTES_MIN);
    objects.into_iter().map(cost).sum()
}

pub(super) fn given_bytes(given: &Given) -> u64 {
    objects_bytes(given.objects.iter().map(|given| (&given.key, &given.object)))
}

/// Bytes that an object takes in a frame, about.
pub(super) fn object_bytes(key: &Key, object: &Object) -> usize {
    key.0.len() + object.size() + object.context.size() * CONTEXT_ENTRY_BYTES
}

pub(super) fn row_bytes(row: &Row) -> usize {
    row.key.0.len() + row.value.as_ref().map_or(0, |value| value.len())
}
