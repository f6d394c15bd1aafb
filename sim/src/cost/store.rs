//! Tables that are written as rows, and not by a million calls; and what can be told of tables.
//!
//! The data is as three ended lives would have left it that took turns in writing, after everything had come to rest:
//! every replica has all of it, no log row is left, no object remembers more than the clock implies.

use std::collections::BTreeMap;

use bytes::Bytes;
use godown_core::actors::Actors;
use godown_core::causal::{Clock, Context, Dot};
use godown_core::hlc::Hlc;
use godown_core::id::{Life, NodeId};
use godown_core::key::{Key, Partition};
use godown_core::kind::{Object, Sibling};
use godown_core::replica::Checkpoint;
use godown_core::stored::{self, Row};

use super::cluster::{CONTENT_TYPE, Cluster, Table};

/// Lives that have written everything, and are over.
const AUTHORS: [Life; 3] = [Life(0x5eed << 100 | 1), Life(0x5eed << 100 | 2), Life(0x5eed << 100 | 3)];

/// The `n`th key, of twenty bytes.
pub(super) fn key(n: u64) -> Key {
    Key(format!("key/{n:016}").into())
}

/// A value of so many bytes that is not like its neighbours'.
pub(super) fn value(n: u64, bytes: usize) -> Bytes {
    (0..bytes as u64).map(|at| (n.wrapping_mul(31) >> (at % 8)) as u8 ^ at as u8).collect::<Vec<u8>>().into()
}

/// Bytes that a client sent of a key: key, value and content type.
pub(super) const fn sent_bytes(key: &Key, value_bytes: usize) -> u64 {
    (key.0.len() + value_bytes + CONTENT_TYPE.len()) as u64
}

/// What is known of a partition while it is being filled.
#[derive(Default)]
struct Filled {
    counts: [u64; AUTHORS.len()],
    actors: Actors,
}

/// The first `count` keys with values of so many bytes, for all whose partition is wanted.
pub(super) fn filled(
    count: u64,
    value_bytes: usize,
    partitions: u32,
    wants: impl Fn(Partition) -> bool,
) -> Table {
    let mut parts: BTreeMap<Partition, Filled> = BTreeMap::new();
    let mut rows: Vec<Row> = Vec::new();
    for n in 0..count {
        let key = key(n);
        let partition = Partition::of(&key, partitions);
        if !wants(partition) {
            continue;
        }
        let part = parts.entry(partition).or_default();
        let author = (n % AUTHORS.len() as u64) as usize;
        part.counts[author] += 1;
        let dot = Dot { actor: AUTHORS[author], n: part.counts[author] };
        let sibling = Sibling {
            value: value(n, value_bytes),
            content_type: Bytes::from_static(CONTENT_TYPE),
            at: Hlc((1_700_000_000_000 + n) << 16),
            expires: 0,
        };
        let mut object = Object::delta(Context::new(), dot, Some(sibling));
        object.context = Context::new();
        rows.push(stored::object_row(partition, &key, Some(&object), &mut part.actors));
    }
    for (&partition, part) in &parts {
        let mut context = Context::new();
        for (&author, &count) in AUTHORS.iter().zip(&part.counts).filter(|(_, count)| **count > 0) {
            context.raise(author, count);
        }
        let floor = context.bases().collect();
        let checkpoint = Checkpoint { clock: Clock::from_context(context), floor, complete: true };
        rows.push(stored::checkpoint_row(partition, &checkpoint));
        rows.extend(stored::actor_rows(partition, &part.actors));
    }
    for index in (0..partitions).filter_map(|index| u16::try_from(index).ok()).map(Partition) {
        if wants(index) && !parts.contains_key(&index) {
            let checkpoint = Checkpoint { complete: true, ..Checkpoint::default() };
            rows.push(stored::checkpoint_row(index, &checkpoint));
        }
    }
    rows.into_iter().map(|Row { key, value }| (key, value.expect("a row to put"))).collect()
}

/// Rows that make a store's logs reach back to nothing, as if they had been cut: what its log rows add to its clocks
/// stands in its checkpoints then.
pub(super) fn without_logs(table: &Table) -> Vec<Row> {
    let (after, before) = stored::boot_range();
    let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Excluded(before));
    let rows: Vec<Row> =
        table.range(range).map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) }).collect();
    let loaded = stored::load(&rows).expect("its own rows are good");
    let mut changed = Vec::new();
    for (partition, log) in loaded.logs {
        let mut checkpoint = loaded.checkpoints.get(&partition).cloned().unwrap_or_default();
        for dot in log.into_keys() {
            checkpoint.clock.insert(dot);
            changed.push(stored::log_removal(partition, dot));
        }
        checkpoint.floor = checkpoint.clock.as_context().bases().collect();
        changed.push(stored::checkpoint_row(partition, &checkpoint));
    }
    changed
}

/// What tables hold of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AtRest {
    /// Rows of objects.
    pub(super) objects: u64,
    /// Their bytes beyond keys, values and content types, altogether.
    pub(super) metadata: u64,
    /// The most that one of them has.
    pub(super) metadata_most: u64,
    /// Log rows.
    pub(super) log: u64,
    /// All other rows: clocks, actors, lives, the membership.
    pub(super) others: u64,
    /// Bytes of those.
    pub(super) others_bytes: u64,
}

impl AtRest {
    /// What a table holds.
    pub(super) fn of(table: &Table) -> Self {
        let actors = actors(table);
        let mut sum = Self::default();
        for (row, value) in table {
            let Some((partition, key)) = stored::key_of(row) else {
                let is_log = row.0.first() == Some(&b'l');
                sum.log += u64::from(is_log);
                if !is_log {
                    sum.others += 1;
                    sum.others_bytes += (row.0.len() + value.len()) as u64;
                }
                continue;
            };
            let object = stored::read_object(row, value, &actors[&partition]).expect("a good row");
            let metadata = (row.0.len() + value.len() - key.0.len() - object.size()) as u64;
            sum.objects += 1;
            sum.metadata += metadata;
            sum.metadata_most = sum.metadata_most.max(metadata);
        }
        sum
    }
}

fn actors(table: &Table) -> BTreeMap<Partition, Actors> {
    let (after, before) = stored::actor_range();
    let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Excluded(before));
    let rows: Vec<Row> =
        table.range(range).map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) }).collect();
    stored::load(&rows).expect("its own rows are good").actors
}

/// What is visible of some keys on a node's disk: their dots.
pub(super) fn visible<'a>(
    cluster: &Cluster,
    id: NodeId,
    keys: impl IntoIterator<Item = &'a Key>,
) -> Vec<Vec<Dot>> {
    let table = cluster.table(id);
    let actors = actors(table);
    let dots = |key: &Key| {
        let partition = cluster.partition(key);
        let row = stored::object_key(partition, key);
        let object = table
            .get(&row)
            .map(|value| stored::read_object(&row, value, &actors[&partition]).expect("a good row"));
        object.map(|object| object.dots().collect()).unwrap_or_default()
    };
    keys.into_iter().map(dots).collect()
}
