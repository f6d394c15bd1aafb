//! Bytes at rest: the rows that a node writes, their keys and their values.
//!
//! All rows live in one ordered table of bytes. The first byte of a row's key says what it is: `c` a partition's
//! checkpoint, `b` its beginning after it had been given up, `d` the mark that it is being dropped, `g` this node's
//! membership, `l` a log row (dot → key), `m` a life of this node, `o` an object. A value begins with a format
//! byte and a CRC-32 over that byte, the row's key and the body, so that a row that was altered, or written to
//! the wrong place, is told from a good one. A row that fails is unknown, never absent.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::causal::Dot;
use crate::cluster::Record;
use crate::frozen::{self, FrozenContext, FrozenKey, FrozenObject, FrozenRecord};
use crate::id::Life;
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::replica::Checkpoint;

/// The first version of every row's format.
const V1: u8 = 1;

/// A row's key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub Bytes);

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// A row to put, or to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: RowKey,
    /// Its value; None deletes it. Rows that were read always have one.
    pub value: Option<Bytes>,
}

/// Why a row was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Altered, cut, or written to the wrong place.
    #[error("the row {0:?} does not match its checksum")]
    Damaged(RowKey),
    /// Written by a newer version.
    #[error("the row {0:?} has format {1}, which this version does not know: run the version that wrote it")]
    Format(RowKey, u8),
    /// The cluster has another number of partitions.
    #[error("the store is of a cluster with another number of partitions than {0}: that number is for ever")]
    Partitions(u32),
    /// Its key is none that this version writes.
    #[error("the row {0:?} is none of ours: the data folder belongs to something else")]
    Foreign(RowKey),
}

const BEGINNING: u8 = b'b';
const CHECKPOINT: u8 = b'c';
const MARK: u8 = b'd';
const RECORD: u8 = b'g';
const LOG: u8 = b'l';
const LIFE: u8 = b'm';
const OBJECT: u8 = b'o';

fn row_key(table: u8, partition: Partition, rest: &[u8]) -> RowKey {
    let mut bytes = Vec::with_capacity(3 + rest.len());
    bytes.push(table);
    bytes.extend_from_slice(&partition.0.to_be_bytes());
    bytes.extend_from_slice(rest);
    RowKey(bytes.into())
}

fn seal(key: RowKey, body: &[u8]) -> Row {
    let mut value = Vec::with_capacity(5 + body.len());
    value.push(V1);
    value.extend_from_slice(&checksum(&key, V1, body).to_le_bytes());
    value.extend_from_slice(body);
    Row { key, value: Some(value.into()) }
}

fn open<'a>(key: &RowKey, value: &'a [u8]) -> Result<&'a [u8], StoredError> {
    let damaged = || StoredError::Damaged(key.clone());
    let (&format, rest) = value.split_first().ok_or_else(damaged)?;
    let (sum, body) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    if checksum(key, format, body) != u32::from_le_bytes(*sum) {
        return Err(damaged());
    }
    if format == V1 { Ok(body) } else { Err(StoredError::Format(key.clone(), format)) }
}

fn checksum(key: &RowKey, format: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[format]);
    hasher.update(&key.0);
    hasher.update(body);
    hasher.finalize()
}

/// The row of `key`'s object.
#[must_use]
pub fn object_key(partition: Partition, key: &Key) -> RowKey {
    row_key(OBJECT, partition, &key.0)
}

/// The row that holds `object`, or that removes what there was.
#[must_use]
pub fn object_row(partition: Partition, key: &Key, object: Option<&Object>) -> Row {
    let row = object_key(partition, key);
    match object {
        Some(object) => seal(row, &frozen::encode(&FrozenObject::from(object))),
        None => Row { key: row, value: None },
    }
}

/// The object in a row's value.
///
/// # Errors
/// [`StoredError`] when the row is not what was written.
pub fn read_object(row: &RowKey, value: &[u8]) -> Result<Object, StoredError> {
    let frozen: FrozenObject =
        frozen::decode(open(row, value)?).ok_or_else(|| StoredError::Damaged(row.clone()))?;
    Ok(frozen.into())
}

/// The key whose object a row holds, with its partition; None for any other row.
#[must_use]
pub fn key_of(row: &RowKey) -> Option<(Partition, Key)> {
    let rest = row.0.strip_prefix(&[OBJECT])?;
    let (partition, key) = rest.split_first_chunk::<2>()?;
    Some((Partition(u16::from_be_bytes(*partition)), Key(row.0.slice_ref(key))))
}

/// The bounds of a scan over the objects of partitions `first` to `last`, after the key `after` of the first.
#[must_use]
pub fn objects_between(first: Partition, after: Option<&Key>, last: Partition) -> (RowKey, RowKey) {
    let from = row_key(OBJECT, first, after.map_or(&[][..], |key| &key.0));
    let to = match last.0.checked_add(1) {
        Some(next) => row_key(OBJECT, Partition(next), &[]),
        None => RowKey(Bytes::from_static(&[OBJECT + 1])),
    };
    (from, to)
}

/// The row that says that `dot` changed `key`.
#[must_use]
pub fn log_row(partition: Partition, dot: Dot, key: &Key) -> Row {
    seal(log_key(partition, dot), &frozen::encode(&FrozenKey::from(key)))
}

/// The removal of that row.
#[must_use]
pub fn log_removal(partition: Partition, dot: Dot) -> Row {
    Row { key: log_key(partition, dot), value: None }
}

fn log_key(partition: Partition, dot: Dot) -> RowKey {
    let mut rest = [0; 24];
    rest[..16].copy_from_slice(&dot.actor.0.to_be_bytes());
    rest[16..].copy_from_slice(&dot.n.to_be_bytes());
    row_key(LOG, partition, &rest)
}

/// The row of a partition's checkpoint.
#[must_use]
pub fn checkpoint_row(partition: Partition, checkpoint: &Checkpoint) -> Row {
    let floor: Vec<(u128, u64)> = checkpoint.floor.iter().map(|(actor, &n)| (actor.0, n)).collect();
    let body = (FrozenContext::from(&checkpoint.clock), floor, checkpoint.complete);
    seal(row_key(CHECKPOINT, partition, &[]), &frozen::encode(&body))
}

/// The row that says that `life` was one of this node's, over this very store; and, once it has ended, whether the gaps
/// that it left have been closed.
#[must_use]
pub fn life_row(life: Life, is_closed: bool) -> Row {
    let mut key = Vec::with_capacity(17);
    key.push(LIFE);
    key.extend_from_slice(&life.0.to_be_bytes());
    seal(RowKey(key.into()), &frozen::encode(&is_closed))
}

/// Rows of a partition of which there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Objects.
    Objects,
    /// Log rows.
    Log,
}

impl Table {
    /// The one after it.
    pub(crate) const fn next(self) -> Option<Self> {
        match self {
            Self::Objects => Some(Self::Log),
            Self::Log => None,
        }
    }
}

/// The bounds (both exclusive) of a partition's rows of one table.
pub(crate) fn rows_of(table: Table, partition: Partition) -> (RowKey, RowKey) {
    let letter = match table {
        Table::Objects => OBJECT,
        Table::Log => LOG,
    };
    let end = match partition.0.checked_add(1) {
        Some(next) => row_key(letter, Partition(next), &[]),
        None => RowKey(Bytes::copy_from_slice(&[letter + 1])),
    };
    (row_key(letter, partition, &[]), end)
}

/// The removal of a partition's checkpoint.
pub(crate) fn checkpoint_removal(partition: Partition) -> Row {
    Row { key: row_key(CHECKPOINT, partition, &[]), value: None }
}

/// The row that says that what is left of a partition's rows means nothing and is to be removed; or its removal.
pub(crate) fn mark_row(partition: Partition, is_set: bool) -> Row {
    let key = row_key(MARK, partition, &[]);
    if is_set { seal(key, &[]) } else { Row { key, value: None } }
}

/// The row that says that a partition began empty when this life had minted so many dots in it; or its removal.
pub(crate) fn beginning_row(partition: Partition, beginning: Option<(Life, u64)>) -> Row {
    let key = row_key(BEGINNING, partition, &[]);
    match beginning {
        Some((life, n)) => seal(key, &frozen::encode(&(life.0, n))),
        None => Row { key, value: None },
    }
}

/// The row of a node's membership.
#[must_use]
pub fn record_row(record: &Record) -> Row {
    seal(RowKey(Bytes::from_static(&[RECORD])), &frozen::encode(&FrozenRecord::from(record)))
}

/// The bounds (both exclusive) of the rows that [`Boot`](crate::input::Boot) wants: everything but the objects.
#[must_use]
pub fn boot_range() -> (RowKey, RowKey) {
    (RowKey(Bytes::new()), RowKey(Bytes::from_static(&[OBJECT])))
}

/// What a store says about its node, before any object is read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Checkpoints by partition.
    pub checkpoints: BTreeMap<Partition, Checkpoint>,
    /// Log rows by partition.
    pub logs: BTreeMap<Partition, BTreeMap<Dot, Key>>,
    /// Lives that this node has had over this store, and whether the gaps that each left have been closed.
    pub lives: BTreeMap<Life, bool>,
    /// Partitions that are being dropped.
    pub marks: BTreeSet<Partition>,
    /// Partitions that began empty in a life that had minted so many dots in them before.
    pub beginnings: BTreeMap<Partition, (Life, u64)>,
    /// The node's membership; None for a store whose version knew no layouts, or that is new.
    pub record: Option<Record>,
}

/// Reads the rows of [`boot_range`].
///
/// # Errors
/// [`StoredError`] at the first row that is not what was written. A store with such a row cannot say what it has
/// seen: it is to be set aside, and the node started over an empty one.
pub fn load(rows: &[Row]) -> Result<Loaded, StoredError> {
    let mut loaded = Loaded::default();
    for row in rows {
        let damaged = || StoredError::Damaged(row.key.clone());
        let foreign = || StoredError::Foreign(row.key.clone());
        let body = open(&row.key, row.value.as_ref().ok_or_else(damaged)?)?;
        let (&table, rest) = row.key.0.split_first().ok_or_else(foreign)?;
        if table == LIFE {
            let life: [u8; 16] = rest.try_into().map_err(|_| foreign())?;
            let is_closed = frozen::decode(body).ok_or_else(damaged)?;
            loaded.lives.insert(Life(u128::from_be_bytes(life)), is_closed);
            continue;
        }
        if table == RECORD {
            let record: FrozenRecord = frozen::decode(body).ok_or_else(damaged)?;
            loaded.record = Some(record.thaw().ok_or_else(damaged)?);
            continue;
        }
        let (partition, rest) = rest.split_first_chunk::<2>().ok_or_else(foreign)?;
        let partition = Partition(u16::from_be_bytes(*partition));
        match table {
            CHECKPOINT => {
                let (clock, floor, complete): (FrozenContext, Vec<(u128, u64)>, bool) =
                    frozen::decode(body).ok_or_else(damaged)?;
                let floor = floor.into_iter().map(|(actor, n)| (Life(actor), n)).collect();
                loaded.checkpoints.insert(partition, Checkpoint { clock: clock.into(), floor, complete });
            }
            MARK => _ = loaded.marks.insert(partition),
            BEGINNING => {
                let (life, n): (u128, u64) = frozen::decode(body).ok_or_else(damaged)?;
                loaded.beginnings.insert(partition, (Life(life), n));
            }
            LOG => {
                let (actor, n) = rest.split_first_chunk::<16>().ok_or_else(foreign)?;
                let n: [u8; 8] = n.try_into().map_err(|_| foreign())?;
                let dot = Dot { actor: Life(u128::from_be_bytes(*actor)), n: u64::from_be_bytes(n) };
                let key: FrozenKey = frozen::decode(body).ok_or_else(damaged)?;
                loaded.logs.entry(partition).or_default().insert(dot, key.into());
            }
            _ => return Err(foreign()),
        }
    }
    Ok(loaded)
}
