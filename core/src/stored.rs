//! Bytes at rest: the rows that a node writes, their keys and their values.
//!
//! All rows live in one ordered table of bytes. The first byte of a row's key says what it is: `a` an actor that a
//! partition's objects name by number, `b` a partition's beginning after it had been given up, `c` its checkpoint, `d`
//! the mark that it is being dropped, `g` this node's membership, `l` a log row (dot → key), `m` a life of this
//! node, `o` an object, `p` a hint that is kept for another node, `q` where the hints for a key are. A value begins with a format byte and a CRC-32 over that byte, the row's key and the body, so
//! that a row that was altered, or written to the wrong place, is told from a good one. A row that fails is unknown,
//! never absent. Objects are written in format 2 (`compact`), whose CRC also covers the actors that the body names by
//! number; those of format 1 are read, and gone once their keys are next written.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use crc32fast::Hasher;

use crate::actors::Actors;
use crate::causal::Dot;
use crate::cluster::Record;
use crate::compact;
use crate::frozen::{self, FrozenContext, FrozenDot, FrozenKey, FrozenObject, FrozenObject2, FrozenRecord};
use crate::id::{Life, NodeId};
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::replica::Checkpoint;

/// The first version of every row's format but the actors'.
const V1: u8 = 1;
/// The second version of objects, and the first of actors: a version that knows no actors is told by the first of
/// them that it is too old, and does not take the store for somebody else's.
const V2: u8 = 2;
/// Bytes of a value before its body: format and checksum.
const PREFIX: usize = 5;

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
    /// It does not continue its partition's table of actors: rows are missing, or come twice.
    #[error("the row {0:?} does not follow upon the actors before it")]
    Actors(RowKey),
}

const BEGINNING: u8 = b'b';
const ACTOR: u8 = b'a';
const CHECKPOINT: u8 = b'c';
const MARK: u8 = b'd';
const RECORD: u8 = b'g';
const LOG: u8 = b'l';
const LIFE: u8 = b'm';
const OBJECT: u8 = b'o';
const HINT: u8 = b'p';
const HINT_INDEX: u8 = b'q';

/// Every kind of row: the first byte of its key, and a name.
const KINDS: [(u8, &str); 10] = [
    (ACTOR, "actors"),
    (BEGINNING, "beginnings"),
    (CHECKPOINT, "checkpoints"),
    (MARK, "partitions being dropped"),
    (RECORD, "membership"),
    (LOG, "log"),
    (LIFE, "lives"),
    (OBJECT, "objects"),
    (HINT, "hints"),
    (HINT_INDEX, "places of hints"),
];

/// What kind of row has this key, in a word or two; None for a key that is none of ours.
#[must_use]
pub fn kind_of(row: &RowKey) -> Option<&'static str> {
    let first = row.0.first()?;
    KINDS.iter().find(|(kind, _)| kind == first).map(|&(_, name)| name)
}

/// Whether the row holds a client's values: an object, or a hint for one. The others are small.
#[must_use]
pub fn has_values(row: &RowKey) -> bool {
    matches!(row.0.first(), Some(&(OBJECT | HINT)))
}

fn row_key(table: u8, partition: Partition, rest: &[u8]) -> RowKey {
    let mut bytes = Vec::with_capacity(3 + rest.len());
    bytes.push(table);
    bytes.extend_from_slice(&partition.0.to_be_bytes());
    bytes.extend_from_slice(rest);
    RowKey(bytes.into())
}

fn seal(key: RowKey, format: u8, body: &[u8]) -> Row {
    let mut sum = started(&key, format);
    sum.update(body);
    let mut value = Vec::with_capacity(PREFIX + body.len());
    value.push(format);
    value.extend_from_slice(&sum.finalize().to_le_bytes());
    value.extend_from_slice(body);
    Row { key, value: Some(value.into()) }
}

/// The body of a value that has this format.
fn open<'a>(key: &RowKey, value: &'a [u8], format: u8) -> Result<&'a [u8], StoredError> {
    let (found, sum, body) = parts(key, value)?;
    let mut expected = started(key, found);
    expected.update(body);
    if expected.finalize() != sum {
        return Err(StoredError::Damaged(key.clone()));
    }
    if found == format { Ok(body) } else { Err(StoredError::Format(key.clone(), found)) }
}

/// A value's format, checksum and body.
fn parts<'a>(key: &RowKey, value: &'a [u8]) -> Result<(u8, u32, &'a [u8]), StoredError> {
    let damaged = || StoredError::Damaged(key.clone());
    let (&format, rest) = value.split_first().ok_or_else(damaged)?;
    let (sum, body) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    Ok((format, u32::from_le_bytes(*sum), body))
}

/// The checksum of a value, before it has taken in the body.
fn started(key: &RowKey, format: u8) -> Hasher {
    let mut sum = Hasher::new();
    sum.update(&[format]);
    sum.update(&key.0);
    sum
}

/// The row of `key`'s object.
#[must_use]
pub fn object_key(partition: Partition, key: &Key) -> RowKey {
    row_key(OBJECT, partition, &key.0)
}

/// The row that holds `object`, or that removes what there was. Actors that it is the first to name get a number: the
/// [rows](actor_rows) of those must land with it.
#[must_use]
pub fn object_row(partition: Partition, key: &Key, object: Option<&Object>, actors: &mut Actors) -> Row {
    let key = object_key(partition, key);
    let value = object.map(|object| {
        let mut sum = started(&key, V2);
        let mut value = Vec::with_capacity(PREFIX + 32 + object.size());
        value.extend_from_slice(&[V2, 0, 0, 0, 0]);
        compact::encode(object, actors, &mut sum, &mut value);
        sum.update(&value[PREFIX..]);
        value[1..PREFIX].copy_from_slice(&sum.finalize().to_le_bytes());
        value.into()
    });
    Row { key, value }
}

/// The object in a row's value, under the actors of its partition.
///
/// # Errors
/// [`StoredError`] when the row is not what was written, or the actors are not those that it was written with.
pub fn read_object(row: &RowKey, value: &Bytes, actors: &Actors) -> Result<Object, StoredError> {
    let damaged = || StoredError::Damaged(row.clone());
    let (format, sum, body) = parts(row, value)?;
    if format != V2 {
        let frozen: FrozenObject = frozen::decode(open(row, value, V1)?).ok_or_else(damaged)?;
        return Ok(frozen.into());
    }
    let mut expected = started(row, V2);
    let object = compact::decode(&value.slice_ref(body), actors, &mut expected);
    expected.update(body);
    object.filter(|_| expected.finalize() == sum).ok_or_else(damaged)
}

/// The rows of a partition's actors that are not known to be on disk. They belong into every write that puts one of its
/// objects; once it has landed, [`Actors::landed`] is to learn of it.
pub fn actor_rows(partition: Partition, actors: &Actors) -> impl Iterator<Item = Row> + '_ {
    actors.unstored().map(move |(number, life)| {
        seal(row_key(ACTOR, partition, &number.to_be_bytes()), V2, &life.0.to_be_bytes())
    })
}

/// The bounds (both exclusive) of the actors of all partitions, which [`load`] understands by themselves.
#[must_use]
pub fn actor_range() -> (RowKey, RowKey) {
    (RowKey(Bytes::from_static(&[ACTOR])), RowKey(Bytes::from_static(&[ACTOR + 1])))
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

/// The bounds of a scan over the objects of `partition` after the key `after`, up to and with `until` or to the end.
#[must_use]
pub fn objects_within(partition: Partition, after: Option<&Key>, until: Option<&Key>) -> (RowKey, RowKey) {
    let (from, end) = objects_between(partition, after, partition);
    // No key lies between one and the same with a zero behind it.
    let to = until.map_or(end, |key| row_key(OBJECT, partition, &[&key.0[..], &[0]].concat()));
    (from, to)
}

/// The row that says that `dot` changed `key`.
#[must_use]
pub fn log_row(partition: Partition, dot: Dot, key: &Key) -> Row {
    seal(log_key(partition, dot), V1, &frozen::encode(&FrozenKey::from(key)))
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
    seal(row_key(CHECKPOINT, partition, &[]), V1, &frozen::encode(&body))
}

/// The row that says that `life` was one of this node's, over this very store; and, once it has ended, whether the gaps
/// that it left have been closed.
#[must_use]
pub fn life_row(life: Life, is_closed: bool) -> Row {
    let mut key = Vec::with_capacity(17);
    key.push(LIFE);
    key.extend_from_slice(&life.0.to_be_bytes());
    seal(RowKey(key.into()), V1, &frozen::encode(&is_closed))
}

/// Rows of a partition of which there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Objects.
    Objects,
    /// Log rows.
    Log,
    /// Actors.
    Actors,
}

impl Table {
    /// The one after it.
    pub(crate) const fn next(self) -> Option<Self> {
        match self {
            Self::Objects => Some(Self::Log),
            Self::Log => Some(Self::Actors),
            Self::Actors => None,
        }
    }
}

/// The bounds (both exclusive) of a partition's rows of one table.
pub(crate) fn rows_of(table: Table, partition: Partition) -> (RowKey, RowKey) {
    let letter = match table {
        Table::Objects => OBJECT,
        Table::Log => LOG,
        Table::Actors => ACTOR,
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
    if is_set { seal(key, V1, &[]) } else { Row { key, value: None } }
}

/// The row that says that a partition began empty when this life had minted so many dots in it; or its removal.
pub(crate) fn beginning_row(partition: Partition, beginning: Option<(Life, u64)>) -> Row {
    let key = row_key(BEGINNING, partition, &[]);
    match beginning {
        Some((life, n)) => seal(key, V1, &frozen::encode(&(life.0, n))),
        None => Row { key, value: None },
    }
}

/// The row of a node's membership.
#[must_use]
pub fn record_row(record: &Record) -> Row {
    seal(RowKey(Bytes::from_static(&[RECORD])), V1, &frozen::encode(&FrozenRecord::from(record)))
}

/// A delta that is kept for a node which could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// When it was written, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The key that it changes.
    pub key: Key,
    /// The one dot that it adds to clocks.
    pub dot: Dot,
    /// The delta.
    pub delta: Object,
}

/// Where a hint is, and what of it can be told without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HintPlace {
    pub(crate) target: NodeId,
    pub(crate) seq: u64,
    pub(crate) dot: Dot,
    /// Bytes of its value; None for a delete.
    pub(crate) value_bytes: Option<u64>,
}

fn numbered(table: u8, first: u64, second: u64) -> RowKey {
    let mut bytes = Vec::with_capacity(17);
    bytes.push(table);
    bytes.extend_from_slice(&first.to_be_bytes());
    bytes.extend_from_slice(&second.to_be_bytes());
    RowKey(bytes.into())
}

/// The rows of a hint for `target`: itself, in order of age, and where it is found by its key, the newest first.
#[must_use]
pub fn hint_rows(target: NodeId, seq: u64, hint: &Hint) -> [Row; 2] {
    let body =
        (hint.at_ms, FrozenKey::from(&hint.key), FrozenDot::from(hint.dot), FrozenObject2::from(&hint.delta));
    let value_bytes = (!hint.delta.store.0.is_empty()).then(|| hint.delta.size() as u64);
    let place = (target.0, FrozenDot::from(hint.dot), value_bytes);
    [
        seal(numbered(HINT, target.0, seq), V1, &frozen::encode(&body)),
        seal(numbered(HINT_INDEX, hint.key.hash(), !seq), V1, &frozen::encode(&place)),
    ]
}

/// The removal of those rows.
pub(crate) fn hint_removal(target: NodeId, seq: u64, key: &Key) -> [Row; 2] {
    let keys = [numbered(HINT, target.0, seq), numbered(HINT_INDEX, key.hash(), !seq)];
    keys.map(|key| Row { key, value: None })
}

/// The key of a hint's row.
pub(crate) fn hint_key(target: NodeId, seq: u64) -> RowKey {
    numbered(HINT, target.0, seq)
}

/// The bounds (both exclusive) of the hints for `target` after the one numbered `after` and before `before`.
pub(crate) fn hints_between(target: NodeId, after: u64, before: u64) -> (RowKey, RowKey) {
    (numbered(HINT, target.0, after), numbered(HINT, target.0, before))
}

/// The bounds (both exclusive) of all hints.
pub(crate) fn all_hints() -> (RowKey, RowKey) {
    (RowKey(Bytes::from_static(&[HINT])), RowKey(Bytes::from_static(&[HINT + 1])))
}

/// The bounds (both exclusive) of the places of the hints for `key`, those of keys with its hash among them.
pub(crate) fn hint_places(key: &Key) -> (RowKey, RowKey) {
    // Hints are numbered from 1, and never to the end.
    (numbered(HINT_INDEX, key.hash(), 0), numbered(HINT_INDEX, key.hash(), u64::MAX))
}

/// Whom a hint's row is for, and its number; None for any other row.
pub(crate) fn hint_of(row: &RowKey) -> Option<(NodeId, u64)> {
    let (target, seq) = row.0.strip_prefix(&[HINT])?.split_first_chunk::<8>()?;
    Some((NodeId(u64::from_be_bytes(*target)), u64::from_be_bytes(seq.try_into().ok()?)))
}

/// The hint in a row's value.
///
/// # Errors
/// [`StoredError`] when the row is not what was written.
pub fn read_hint(row: &RowKey, value: &[u8]) -> Result<Hint, StoredError> {
    let (at_ms, key, dot, delta): (u64, FrozenKey, FrozenDot, FrozenObject2) =
        frozen::decode(open(row, value, V1)?).ok_or_else(|| StoredError::Damaged(row.clone()))?;
    Ok(Hint { at_ms, key: key.into(), dot: dot.into(), delta: delta.into() })
}

/// The place in a row of [`hint_places`]; None when it cannot be told.
pub(crate) fn read_hint_place(row: &Row) -> Option<HintPlace> {
    let (_, seq) = row.key.0.strip_prefix(&[HINT_INDEX])?.split_first_chunk::<8>()?;
    let (target, dot, value_bytes): (u64, FrozenDot, Option<u64>) =
        frozen::decode(open(&row.key, row.value.as_ref()?, V1).ok()?)?;
    let seq = !u64::from_be_bytes(seq.try_into().ok()?);
    Some(HintPlace { target: NodeId(target), seq, dot: dot.into(), value_bytes })
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
    /// The actors that objects name by number, by partition.
    pub actors: BTreeMap<Partition, Actors>,
    /// Lives that this node has had over this store, and whether the gaps that each left have been closed.
    pub lives: BTreeMap<Life, bool>,
    /// Partitions that are being dropped.
    pub marks: BTreeSet<Partition>,
    /// Partitions that began empty in a life that had minted so many dots in them before.
    pub beginnings: BTreeMap<Partition, (Life, u64)>,
    /// The node's membership; None for a store whose version knew no layouts, or that is new.
    pub record: Option<Record>,
}

/// The first life over the store that has these rows of [`boot_range`]; None when they do not say.
#[must_use]
pub fn first_life(rows: &[Row]) -> Option<Life> {
    let row = rows.iter().find(|row| row.key.0[..] == [RECORD])?;
    let record: FrozenRecord = frozen::decode(open(&row.key, row.value.as_ref()?, V1).ok()?)?;
    record.thaw().map(|record| record.store).filter(|store| *store != Life::default())
}

/// Reads the rows of [`boot_range`], in the order of their keys.
///
/// # Errors
/// [`StoredError`] at the first row that is not what was written. A store with such a row cannot say what it has
/// seen: it is to be set aside, and the node started over an empty one.
pub fn load(rows: &[Row]) -> Result<Loaded, StoredError> {
    let mut loaded = Loaded::default();
    let marks = rows.iter().filter(|row| row.key.0.first() == Some(&MARK));
    let marks: BTreeSet<&[u8]> = marks.filter_map(|row| row.key.0.get(1..3)).collect();
    for row in rows {
        let damaged = || StoredError::Damaged(row.key.clone());
        let foreign = || StoredError::Foreign(row.key.clone());
        let (&table, rest) = row.key.0.split_first().ok_or_else(foreign)?;
        let format = if table == ACTOR { V2 } else { V1 };
        let body = open(&row.key, row.value.as_ref().ok_or_else(damaged)?, format)?;
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
        if table != MARK && rest.get(..2).is_some_and(|partition| marks.contains(partition)) {
            // Half of it may be gone: it means nothing any more.
            continue;
        }
        let (partition, rest) = rest.split_first_chunk::<2>().ok_or_else(foreign)?;
        let partition = Partition(u16::from_be_bytes(*partition));
        match table {
            ACTOR => {
                let number: [u8; 4] = rest.try_into().map_err(|_| foreign())?;
                let life: [u8; 16] = body.try_into().map_err(|_| damaged())?;
                let (number, life) = (u32::from_be_bytes(number), Life(u128::from_be_bytes(life)));
                if !loaded.actors.entry(partition).or_default().load(number, life) {
                    return Err(StoredError::Actors(row.key.clone()));
                }
            }
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
