//! A node's disk: ordered rows, of which the newest may not survive a crash.
//!
//! Batches land in the order in which they are written and are visible to reads at once; durable they become with
//! a sync, which covers all batches that were written before it began (group commit). A crash keeps some first
//! part of the batches that no sync has covered and loses the rest, each batch whole: an operating system writes
//! back when it likes, a log replays until its first gap. What a crash takes back is undone row by row from what
//! each batch had replaced, so there is one table and not two. When things happen is the world's affair; here is
//! only what follows.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use godown_core::effect::{Scan, WriteAck};
use godown_core::stored::{self, Row, RowKey};

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

    /// Begins a sync of everything written so far. False when one is under way or nothing needs one.
    pub fn start_sync(&mut self) -> bool {
        let starts = self.syncing == 0 && !self.unsynced.is_empty();
        if starts {
            self.syncing = self.unsynced.len();
        }
        starts
    }

    /// The sync under way is done: its batches are durable, and this is what is owed for them.
    pub fn finish_sync(&mut self) -> Vec<WriteAck> {
        let synced = self.unsynced.drain(..self.syncing);
        let acks = synced.filter_map(|batch| batch.ack).collect();
        self.syncing = 0;
        acks
    }

    /// Whether somebody waits for a batch that no sync under way covers.
    #[must_use]
    pub fn wants_sync(&self) -> bool {
        self.unsynced.range(self.syncing..).any(|batch| batch.ack.is_some())
    }

    /// Whether a batch that no sync under way covers would be lost in a crash.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.unsynced.len() > self.syncing
    }

    /// The machine stops: of the batches that are not durable the first few stay, the others never were.
    pub fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.between(0, self.unsynced.len() as u64);
        let kept = usize::try_from(kept).expect("it is at most a length");
        while self.unsynced.len() > kept {
            let batch = self.unsynced.pop_back().expect("there are more than are kept");
            for (key, old) in batch.undo.into_iter().rev() {
                match old {
                    Some(old) => self.rows.insert(key, old),
                    None => self.rows.remove(&key),
                };
            }
        }
        self.unsynced.clear();
        self.syncing = 0;
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

    /// The rows with `after < key < before`, in order.
    pub fn range<'a>(&'a self, after: &RowKey, before: &RowKey) -> impl Iterator<Item = Row> + 'a {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &'static str, value: Option<&'static str>) -> Row {
        Row {
            key: RowKey(Bytes::from_static(key.as_bytes())),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        }
    }

    fn rows(disk: &Disk) -> Vec<(String, String)> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        disk.rows.iter().map(|(key, value)| (text(&key.0), text(value))).collect()
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_some_first_part_of_the_rest() {
        let mut endings = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let mut disk = Disk::default();
            disk.write(vec![row("a", Some("1")), row("b", Some("1"))], None);
            assert!(disk.start_sync());
            disk.write(vec![row("a", None), row("b", Some("2"))], None);
            disk.finish_sync();
            disk.write(vec![row("a", Some("3")), row("a", Some("4"))], None);
            disk.crash(&mut Rng::stream(seed, "crash"));
            endings.insert(rows(&disk).iter().map(|(k, v)| format!("{k}{v}")).collect::<String>());
            assert!(!disk.is_dirty() && !disk.start_sync());
        }
        let all = ["a1b1", "a4b2", "b2"].map(String::from);
        assert_eq!(endings.into_iter().collect::<Vec<_>>(), all);
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
