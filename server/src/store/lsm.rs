//! The engine: one fjall keyspace of opaque rows, read and written synchronously.
//!
//! Everything here blocks, so it is called from the store's own threads and at the start, never from the event loop.
//! A group of writes becomes one batch; a synced one carries the next sequence in a row of its own, which lies
//! behind every table of the core (`stored` uses the letters up to `q`). What the engine says when something fails
//! is sorted here, once, into damage (the node can refill from its peers) and trouble with the machine (it cannot).

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _};
use godown_core::stored::{Row, RowKey};

/// The row that counts synced groups.
const SEQUENCE_KEY: &[u8] = b"zsequence";

/// Decoded blocks kept in memory.
const CACHE_BYTES: u64 = 64 << 20;

/// Rows kept in memory before they become a table; it also bounds what a start has to read back from the journal.
const MEMTABLE_BYTES: u64 = 32 << 20;

/// How often somebody who waits for the engine's threads looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A handle to the rows; its clones share everything.
#[derive(Clone)]
pub(super) struct Lsm {
    db: Database,
    rows: Keyspace,
}

/// A page of rows, and whether the range holds more.
pub(super) type Page = (Vec<Row>, bool);

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// What is on the disk is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// The machine or its owner is in the way: no permission, no space, no file handles, another process.
    #[error("{0}")]
    Machine(String),
}

impl From<fjall::Error> for EngineError {
    fn from(error: fjall::Error) -> Self {
        use fjall::Error as E;
        let is_machine = match &error {
            E::Io(error) | E::Storage(fjall::LsmError::Io(error)) => !is_damage(error.kind()),
            // A version that cannot be read at all is damage; one that can was written by another program version.
            E::InvalidVersion(version) => version.is_some(),
            E::Storage(fjall::LsmError::InvalidVersion(_)) | E::Locked | E::Poisoned | E::KeyspaceDeleted => {
                true
            }
            _ => false,
        };
        let words = error.to_string();
        if is_machine { Self::Machine(words) } else { Self::Damaged(words) }
    }
}

/// What an engine's own files give when parts of them are gone.
const fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

impl Lsm {
    /// Opens the engine in `folder`, or creates it there.
    pub(super) fn open(folder: &Path) -> Result<Self, EngineError> {
        let folder = folder.to_path_buf();
        let open = move || -> Result<Self, fjall::Error> {
            let db = Database::builder(folder).cache_size(CACHE_BYTES).worker_threads(2).open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            let rows = db.keyspace("rows", options)?;
            Ok(Self { db, rows })
        };
        // The engine asserts some of what it reads. On a thread of its own such a panic is one more way of refusing.
        match thread::spawn(open).join() {
            Ok(opened) => Ok(opened?),
            Err(_) => Err(EngineError::Damaged("the engine panicked over its files".into())),
        }
    }

    /// The number of the last synced group that is in here; 0 for none.
    pub(super) fn sequence(&self) -> Result<u64, EngineError> {
        let Some(bytes) = self.rows.get(SEQUENCE_KEY)? else {
            return Ok(0);
        };
        let bytes: [u8; 8] = bytes[..]
            .try_into()
            .map_err(|_| EngineError::Damaged("the sequence row is not a number".into()))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The value of one row.
    pub(super) fn get(&self, key: &RowKey) -> Result<Option<Bytes>, EngineError> {
        Ok(self.rows.get(&key.0)?.map(Bytes::from))
    }

    /// One moment's rows with `after < key < before`, at most `rows_max`, none beyond `bytes_max` but the first.
    pub(super) fn page(
        &self,
        after: &RowKey,
        before: &RowKey,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Page, EngineError> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        if after >= before {
            return Ok((page, false));
        }
        let range = (Bound::Excluded(&after.0[..]), Bound::Excluded(&before.0[..]));
        // A snapshot, because a plain range also shows the first half of a batch that is being applied.
        for found in self.db.snapshot().range::<&[u8], _>(&self.rows, range) {
            if page.len() >= rows_max || (bytes >= bytes_max && !page.is_empty()) {
                return Ok((page, true));
            }
            let (key, value) = found.into_inner()?;
            bytes += key.len() + value.len();
            page.push(Row { key: RowKey(key.into()), value: Some(value.into()) });
        }
        Ok((page, false))
    }

    /// Writes `rows` together. With a `sequence` they survive a crash of the machine once this returns; without, a
    /// crash of the process only.
    pub(super) fn commit(
        &self,
        rows: impl IntoIterator<Item = Row>,
        sequence: Option<u64>,
    ) -> Result<(), EngineError> {
        let durability = match sequence {
            Some(_) => PersistMode::SyncData,
            None => PersistMode::Buffer,
        };
        let mut batch = self.db.batch().durability(Some(durability));
        for row in rows {
            match row.value {
                Some(value) => batch.insert(&self.rows, row.key.0, value),
                None => batch.remove(&self.rows, row.key.0),
            }
        }
        if let Some(sequence) = sequence {
            batch.insert(&self.rows, SEQUENCE_KEY, sequence.to_le_bytes());
        }
        Ok(batch.commit()?)
    }

    /// What the row called `key` holds, which is none of the core's.
    pub(super) fn own(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.rows.get(key)?.map(Bytes::from))
    }

    /// Moves everything into tables and merges all of them, so that what was removed takes no space any more. Of the
    /// journals only those go that are full: one of up to a hundred megabytes stays.
    pub(super) fn compact(&self) -> Result<(), EngineError> {
        self.flush()?;
        // Not in the engine's documentation, like what moves rows into tables: a new version of it may call them otherwise.
        Ok(self.rows.major_compact()?)
    }

    /// Moves everything into tables.
    pub(super) fn flush(&self) -> Result<(), EngineError> {
        self.rows.rotate_memtable()?;
        while self.rows.sealed_memtable_count() > 0 {
            // Fails once a thread of the engine has, and then nobody would be waited for.
            self.db.persist(PersistMode::Buffer)?;
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Bytes of tables on disk.
    pub(super) fn table_bytes(&self) -> u64 {
        self.rows.disk_space()
    }

    /// Calls `look` with every row's key and the bytes of its value, in order.
    pub(super) fn each(&self, mut look: impl FnMut(&RowKey, usize)) -> Result<(), EngineError> {
        for found in self.db.snapshot().iter(&self.rows) {
            let (key, value) = found.into_inner()?;
            look(&RowKey(key.into()), value.len());
        }
        Ok(())
    }

    /// Bytes on disk, as far as the engine knows.
    pub(super) fn disk_bytes(&self) -> Option<u64> {
        self.db.disk_space().ok()
    }

    /// Makes everything written so far survive a crash of the machine.
    pub(super) fn sync(&self) -> Result<(), EngineError> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}
