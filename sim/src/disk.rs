//! A node's disk: ordered rows, of which the newest may not survive a crash.
//!
//! Batches land in the order in which they are written and are visible to reads at once; durable they become with
//! a sync, which covers all batches that were written before it began (group commit). A crash keeps some first
//! part of the batches that no sync has covered and loses the rest, each batch whole: an operating system writes
//! back when it likes, a log replays until its first gap. What a crash takes back is undone row by row from what
//! each batch had replaced, so there is one table and not two. A disk can also lie about its syncs, lose or misplace what
//! it says it wrote, and rot. When things happen is the world's affair; here is only what follows.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use godown_core::actors::Actors;
use godown_core::effect::{Scan, WriteAck};
use godown_core::key::{Key, Partition};
use godown_core::kind::Object;
use godown_core::stored::{self, Row, RowKey, StoredError};

use crate::rng::Rng;

/// Rows written together that no finished sync has covered.
#[derive(Clone, Debug)]
struct Batch {
    /// What the rows held before, in the order of writing.
    undo: Vec<(RowKey, Option<Bytes>)>,
    /// Owed once the batch is durable; None when it was acknowledged early.
    ack: Option<WriteAck>,
}

/// A disk, which outlives its node's crashes.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    rows: BTreeMap<RowKey, Bytes>,
    unsynced: VecDeque<Batch>,
    /// How many batches the sync under way covers; 0 when none is.
    syncing: usize,
    /// How many of the batches that are not durable are claimed to be.
    claimed: usize,
    lies: bool,
}

impl Disk {
    /// Writes a batch. `ack` is handed out by the sync that makes the batch durable.
    pub fn write(&mut self, rows: Vec<Row>, ack: Option<WriteAck>) {
        let mut undo = Vec::with_capacity(rows.len());
        for Row { key, value } in rows {
            let old = match value {
                Some(value) => self.rows.insert(key.clone(), value),
                None => self.rows.remove(&key),
            };
            undo.push((key, old));
        }
        self.unsynced.push_back(Batch { undo, ack });
    }

    /// Takes a batch, acknowledges it in its time, and has not written it.
    pub fn pretend(&mut self, ack: Option<WriteAck>) {
        self.unsynced.push_back(Batch { undo: Vec::new(), ack });
    }

    /// Writes a batch, except that one of its values lands in another row, whose own is gone.
    pub fn misplace(&mut self, mut rows: Vec<Row>, ack: Option<WriteAck>, rng: &mut Rng) {
        let at = usize::try_from(rng.below(rows.len() as u64)).expect("it is below a length");
        let others = self.rows.len() as u64;
        if others > 0 && rows[at].value.is_some() {
            let other = usize::try_from(rng.below(others)).expect("it is below a length");
            rows[at].key = self.rows.keys().nth(other).expect("it is below the number of rows").clone();
        }
        self.write(rows, ack);
    }

    /// Begins a sync of everything written so far. False when one is under way or nothing needs one.
    pub fn start_sync(&mut self) -> bool {
        let starts = self.syncing == 0 && self.unsynced.len() > self.claimed;
        if starts {
            self.syncing = self.unsynced.len();
        }
        starts
    }

    /// The sync under way is done: its batches are durable, or said to be, and this is what is owed for them.
    pub fn finish_sync(&mut self) -> Vec<WriteAck> {
        let covered = std::mem::take(&mut self.syncing);
        let acks = self.unsynced.range_mut(..covered).filter_map(|batch| batch.ack.take()).collect();
        if self.lies {
            self.claimed = covered.max(self.claimed);
        } else {
            self.unsynced.drain(..covered);
            self.claimed = self.claimed.saturating_sub(covered);
        }
        acks
    }

    /// From now on syncs do nothing but say that they are done; or they are honest again, and the next one covers all.
    pub fn set_lying(&mut self, lies: bool) {
        self.lies = lies;
        if !lies {
            self.claimed = 0;
        }
    }

    /// Whether somebody waits for a batch that no sync under way covers.
    #[must_use]
    pub fn wants_sync(&self) -> bool {
        self.unsynced.range(self.syncing..).any(|batch| batch.ack.is_some())
    }

    /// Whether a batch that no sync under way covers would be lost in a crash.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.unsynced.len() > self.syncing.max(self.claimed)
    }

    /// The machine stops: of the batches that are not durable the first few stay, the others never were. Says how
    /// many are lost. A store with the planted bug `torn` replays a part of the first one that is.
    pub fn crash(&mut self, rng: &mut Rng, torn: bool) -> usize {
        let batches = self.unsynced.len();
        let kept = usize::try_from(rng.between(0, batches as u64)).expect("it is at most a length");
        while self.unsynced.len() > kept {
            let batch = self.unsynced.pop_back().expect("there are more than are kept");
            let is_first_lost = self.unsynced.len() == kept;
            let rows = batch.undo.len() as u64;
            let stays = if torn && is_first_lost && rows > 1 { rng.between(1, rows - 1) } else { 0 };
            let gone = batch.undo.into_iter().skip(usize::try_from(stays).expect("it is below a length"));
            for (key, old) in gone.collect::<Vec<_>>().into_iter().rev() {
                match old {
                    Some(old) => self.rows.insert(key, old),
                    None => self.rows.remove(&key),
                };
            }
        }
        self.unsynced.clear();
        (self.syncing, self.claimed) = (0, 0);
        batches - kept
    }

    /// The node stops in good order: everything is durable.
    pub fn close(&mut self) {
        self.unsynced.clear();
        (self.syncing, self.claimed) = (0, 0);
    }

    /// A copy of what would be left if the machine stopped now and everything that is not durable were lost.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let mut copy = self.clone();
        for batch in copy.unsynced.drain(..).rev() {
            for (key, old) in batch.undo.into_iter().rev() {
                match old {
                    Some(old) => copy.rows.insert(key, old),
                    None => copy.rows.remove(&key),
                };
            }
        }
        (copy.syncing, copy.claimed, copy.lies) = (0, 0, false);
        copy
    }

    /// Flips a bit in each of so many rows, drawn with repetition. Says how many rows there were to draw from.
    pub fn rot(&mut self, rows: u64, rng: &mut Rng) -> usize {
        let keys: Vec<RowKey> = self.rows.keys().cloned().collect();
        self.rot_some(&keys, rows, rng)
    }

    /// The same, of objects alone.
    pub fn rot_objects(&mut self, rows: u64, rng: &mut Rng) -> usize {
        let is_object = |key: &&RowKey| stored::key_of(key).is_some();
        let keys: Vec<RowKey> = self.rows.keys().filter(is_object).cloned().collect();
        self.rot_some(&keys, rows, rng)
    }

    fn rot_some(&mut self, keys: &[RowKey], rows: u64, rng: &mut Rng) -> usize {
        let count = keys.len();
        for _ in 0..rows.min(count as u64 * 4) {
            let place = usize::try_from(rng.below(count as u64)).expect("it is below a length");
            let value = self.rows.get_mut(&keys[place]).expect("it is one of the rows");
            if !value.is_empty() {
                let mut bytes = value.to_vec();
                let bit = rng.below(bytes.len() as u64 * 8);
                bytes[usize::try_from(bit / 8).expect("it is below a length")] ^= 1 << (bit % 8);
                *value = bytes.into();
            }
        }
        count
    }

    /// Whether a row would be the same after a crash that loses everything that it can.
    #[must_use]
    pub fn is_durable(&self, key: &RowKey) -> bool {
        !self.unsynced.iter().any(|batch| batch.undo.iter().any(|(changed, _)| changed == key))
    }

    /// The newest value of a row.
    #[must_use]
    pub fn read(&self, key: &RowKey) -> Option<Bytes> {
        self.rows.get(key).cloned()
    }

    /// The page that a scan asks for, and whether its range holds more.
    #[must_use]
    pub fn scan(&self, scan: &Scan) -> (Vec<Row>, bool) {
        let (mut page, mut bytes) = (Vec::new(), 0);
        for row in self.range(scan.after(), scan.before()) {
            if page.len() >= scan.rows_max() || bytes >= scan.bytes_max() {
                return (page, true);
            }
            bytes += row.key.0.len() + row.value.as_ref().map_or(0, Bytes::len);
            page.push(row);
        }
        (page, false)
    }

    /// Everything that a starting node wants to know.
    #[must_use]
    pub fn boot_rows(&self) -> Vec<Row> {
        let (after, before) = stored::boot_range();
        self.range(&after, &before).collect()
    }

    /// The objects on this disk, as a node would read them that starts over it.
    #[must_use]
    pub fn objects(&self) -> Objects<'_> {
        let (after, before) = stored::actor_range();
        let rows: Vec<Row> = self.range(&after, &before).collect();
        Objects { disk: self, actors: stored::load(&rows).map(|loaded| loaded.actors) }
    }

    /// The rows with `after < key < before`, in order.
    pub fn range<'a>(&'a self, after: &RowKey, before: &RowKey) -> impl Iterator<Item = Row> + use<'a> {
        // A range that ends before it begins is empty; the map would panic over it.
        let before = before.max(after);
        let bounds = (Bound::Excluded(after.clone()), Bound::Included(before.clone()));
        let last = before.clone();
        let rows = self.rows.range(bounds).take_while(move |(key, _)| **key < last);
        rows.map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) })
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The objects on a disk, with the actors that they name by number, which are read once.
#[derive(Debug)]
pub struct Objects<'a> {
    disk: &'a Disk,
    actors: Result<BTreeMap<Partition, Actors>, StoredError>,
}

impl Objects<'_> {
    /// What the disk holds for a key; None when it holds nothing.
    #[must_use]
    pub fn of(&self, partition: Partition, key: &Key) -> Option<Result<Object, StoredError>> {
        let row = stored::object_key(partition, key);
        self.disk.read(&row).map(|value| self.decoded(partition, &row, &value))
    }

    /// What the disk holds in the partitions `first` to `last`, in order.
    pub fn between(
        &self,
        first: Partition,
        last: Partition,
    ) -> impl Iterator<Item = (Partition, Key, Result<Object, StoredError>)> {
        let (after, before) = stored::objects_between(first, None, last);
        self.disk.range(&after, &before).map(|row| {
            let (partition, key) = stored::key_of(&row.key).expect("only objects lie in that range");
            let object = self.decoded(partition, &row.key, &row.value.unwrap_or_default());
            (partition, key, object)
        })
    }

    fn decoded(&self, partition: Partition, row: &RowKey, value: &Bytes) -> Result<Object, StoredError> {
        const NONE: &Actors = &Actors::new();
        let actors = self.actors.as_ref().map_err(StoredError::clone)?;
        stored::read_object(row, value, actors.get(&partition).unwrap_or(NONE))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn row(key: &'static str, value: Option<&'static str>) -> Row {
        Row {
            key: RowKey(Bytes::from_static(key.as_bytes())),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        }
    }

    fn told(disk: &Disk) -> String {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        disk.rows.iter().map(|(key, value)| text(&key.0) + &text(value)).collect()
    }

    /// All that may be left of a disk after a crash.
    fn endings(disk: &Disk, torn: bool) -> Vec<String> {
        let one = |seed| {
            let mut disk = disk.clone();
            disk.crash(&mut Rng::stream(seed, "crash"), torn);
            assert!(!disk.is_dirty() && !disk.start_sync());
            told(&disk)
        };
        (0..64).map(one).collect::<BTreeSet<_>>().into_iter().collect()
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_some_first_part_of_the_rest() {
        let mut disk = Disk::default();
        disk.write(vec![row("a", Some("1")), row("b", Some("1"))], None);
        assert!(disk.start_sync());
        disk.write(vec![row("a", None), row("b", Some("2"))], None);
        disk.finish_sync();
        disk.write(vec![row("a", Some("3")), row("a", Some("4"))], None);
        assert_eq!(endings(&disk, false), ["a1b1", "a4b2", "b2"]);
        assert_eq!(told(&disk.snapshot()), "a1b1");
        let torn = endings(&disk, true);
        assert!(torn.iter().any(|ending| ending == "b1"), "the second batch, in part: {torn:?}");
    }

    #[test]
    fn a_disk_that_lies_loses_what_it_said_it_had() {
        let mut disk = Disk::default();
        disk.write(vec![row("a", Some("1"))], None);
        disk.set_lying(true);
        assert!(disk.start_sync());
        disk.finish_sync();
        assert!(!disk.is_dirty() && !disk.start_sync(), "it says that all is well");
        assert_eq!(endings(&disk, false), ["", "a1"]);
        disk.set_lying(false);
        assert!(disk.is_dirty() && disk.start_sync());
        disk.finish_sync();
        assert_eq!(endings(&disk, false), ["a1"]);
    }

    #[test]
    fn what_is_pretended_is_never_there_and_what_is_misplaced_is_elsewhere() {
        let mut disk = Disk::default();
        disk.write(vec![row("a", Some("1"))], None);
        disk.pretend(None);
        assert!(disk.start_sync());
        disk.finish_sync();
        assert_eq!(told(&disk), "a1");
        disk.misplace(vec![row("b", Some("2"))], None, &mut Rng::stream(1, "disk"));
        assert_eq!(told(&disk), "a2");
    }

    #[test]
    fn rot_changes_rows() {
        let mut disk = Disk::default();
        disk.write(vec![row("a", Some("1"))], None);
        assert_eq!(disk.rot(1, &mut Rng::stream(1, "disk")), 1);
        assert_ne!(told(&disk), "a1");
        assert_eq!(Disk::default().rot(1, &mut Rng::stream(1, "disk")), 0);
        assert_eq!(disk.rot_objects(1, &mut Rng::stream(1, "disk")), 0, "it is no object");
    }

    #[test]
    fn a_sync_covers_only_what_was_written_before_it_began() {
        let mut disk = Disk::default();
        disk.write(vec![row("a", Some("1"))], None);
        assert!(disk.start_sync());
        assert!(!disk.start_sync(), "one is under way");
        disk.write(vec![row("b", Some("1"))], None);
        disk.finish_sync();
        assert!(disk.is_dirty());
        assert!(disk.is_durable(&row("a", None).key) && !disk.is_durable(&row("b", None).key));
    }

    #[test]
    fn reads_see_what_is_not_yet_durable() {
        let mut disk = Disk::default();
        disk.write(vec![row("a", Some("1"))], None);
        assert_eq!(disk.read(&row("a", None).key), Some(Bytes::from_static(b"1")));
    }

    #[test]
    fn a_range_leaves_out_both_its_ends() {
        let mut disk = Disk::default();
        disk.write(vec![row("a", Some("1")), row("b", Some("1")), row("c", Some("1"))], None);
        let key = |name| row(name, None).key;
        let found = |after, before| disk.range(&key(after), &key(before)).count();
        assert_eq!((found("a", "c"), found("", "z"), found("a", "a"), found("c", "a")), (1, 3, 0, 0));
    }
}
