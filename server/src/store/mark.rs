//! The high-water mark: a small file beside the engine that says how far it was once durable.
//!
//! The engine can open after damage with synced writes missing and no error, so what it says of itself proves
//! nothing. Each synced group of writes carries a rising sequence in a row of its own; the mark repeats that number
//! once the group is durable and before anybody is told. A store that opens with less than its mark has forgotten
//! something that was acknowledged. The mark is never ahead of the store by a crash, and no acknowledged write is
//! ever ahead of the mark: its lag is zero.
//!
//! The file has two slots of one page each, written in turn and each with a checksum, so that a crash in the middle
//! of one leaves the other. It never grows: a write in place costs about half of what the engine's own sync costs,
//! and it overlaps with the next group's.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What every slot begins with; the digit is the format's version.
const MAGIC: [u8; 8] = *b"gdmark1\n";

/// Slots lie a page apart, so that a torn write cannot touch both.
const SLOT_BYTES: u64 = 4096;

/// Magic, sequence, checksum.
const RECORD_BYTES: usize = 20;

/// The open file.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// Which slot the next write takes: the one that does not hold the highest sequence.
    next_slot: u64,
    last: u64,
}

impl Mark {
    /// A new mark at zero, durable itself once its folder is synced.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.set_len(2 * SLOT_BYTES)?;
        let mut mark = Self { file, next_slot: 0, last: 0 };
        mark.write(0)?;
        mark.file.sync_all()?;
        Ok(mark)
    }

    /// The mark at `path`. None when neither slot holds what was written: it proves nothing any more.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut best = None;
        for slot in 0..2 {
            let mut record = [0; RECORD_BYTES];
            match file.read_exact_at(&mut record, slot * SLOT_BYTES) {
                Ok(()) => best = best.max(read_record(&record).map(|sequence| (sequence, slot))),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
        }
        Ok(best.map(|(last, slot)| Self { file, next_slot: 1 - slot, last }))
    }

    /// The sequence that was durable when the mark was last raised.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Raises the mark to `sequence`, which the engine has made durable. It is durable itself on return.
    pub(super) fn raise(&mut self, sequence: u64) -> io::Result<()> {
        assert!(sequence > self.last, "the mark falls from {} to {sequence}", self.last);
        self.write(sequence)?;
        self.file.sync_data()
    }

    fn write(&mut self, sequence: u64) -> io::Result<()> {
        self.file.write_all_at(&record(sequence), self.next_slot * SLOT_BYTES)?;
        self.next_slot = 1 - self.next_slot;
        self.last = sequence;
        Ok(())
    }
}

fn record(sequence: u64) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&MAGIC);
    record[8..16].copy_from_slice(&sequence.to_le_bytes());
    let checksum = crc32fast::hash(&record[..16]);
    record[16..].copy_from_slice(&checksum.to_le_bytes());
    record
}

fn read_record(record: &[u8; RECORD_BYTES]) -> Option<u64> {
    let (body, checksum) = record.split_last_chunk::<4>()?;
    let sequence = body.strip_prefix(&MAGIC)?;
    let is_whole = crc32fast::hash(body) == u32::from_le_bytes(*checksum);
    is_whole.then_some(u64::from_le_bytes(sequence.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn a_mark_is_read_back_as_it_was_last_raised() {
        let folder = folder();
        let path = folder.path().join("mark");
        let mut mark = Mark::create(&path).expect("created");
        assert_eq!(mark.last(), 0);
        for sequence in [1, 2, 9] {
            mark.raise(sequence).expect("raised");
            let read = Mark::open(&path).expect("readable").expect("whole");
            assert_eq!(read.last(), sequence);
        }
    }

    #[test]
    fn a_write_torn_at_any_byte_leaves_the_mark_before_it() {
        let folder = folder();
        let path = folder.path().join("mark");
        let mut mark = Mark::create(&path).expect("created");
        mark.raise(7).expect("raised");
        let slot = mark.next_slot * SLOT_BYTES;
        let next = record(8);
        for torn in 0..RECORD_BYTES {
            let mut bytes = record(6);
            bytes[..torn].copy_from_slice(&next[..torn]);
            if bytes == next {
                continue;
            }
            mark.file.write_all_at(&bytes, slot).expect("written");
            let read = Mark::open(&path).expect("readable").expect("one slot is whole");
            assert_eq!(read.last(), 7, "torn after {torn} bytes");
        }
    }

    #[test]
    fn a_mark_with_both_slots_damaged_proves_nothing() {
        let folder = folder();
        let path = folder.path().join("mark");
        let mut mark = Mark::create(&path).expect("created");
        mark.raise(7).expect("raised");
        for slot in 0..2 {
            mark.file.write_all_at(&[0xff], slot * SLOT_BYTES + 9).expect("written");
        }
        assert!(Mark::open(&path).expect("readable").is_none());
        std::fs::write(&path, b"").expect("truncated");
        assert!(Mark::open(&path).expect("readable").is_none());
    }
}
