//! Gives the space of what was deleted back, without an operator: a thread that looks now and then.
//!
//! When enough of the tables is garbage (`garbage`), and the disk has room for a second copy of them, everything is
//! moved into tables and all tables are merged. Reads and writes go on meanwhile. The engine merges nothing else as
//! long, so a node that is written to faster than its disk merges would be slowed down by it in the end; that is why
//! the rule asks for more while deletes go on. A process that ends in the middle of it loses nothing: the next start
//! clears the half-made tables away.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::garbage::Garbage;
use super::lsm::{EngineError, Lsm};
use super::{Folder, StoreStats, count};

/// Room beside the second copy: for what is still in memory, twice over.
const ROOM_BYTES: u64 = 64 << 20;

/// The thread's belongings.
pub(super) struct Keeper {
    pub(super) lsm: Lsm,
    pub(super) folder: Arc<Folder>,
    pub(super) reserve_bytes: u64,
    /// Between two looks.
    pub(super) every: Duration,
    pub(super) garbage: Arc<Mutex<Garbage>>,
    pub(super) stats: Arc<StoreStats>,
    /// Closed when the store is.
    pub(super) stop: Receiver<()>,
    /// Dropped at the end.
    pub(super) ended: Sender<()>,
}

impl Keeper {
    /// Looks until the store is closed.
    pub(super) fn run(self) {
        let (mut last, mut was_told) = (lock(&self.garbage).bytes(), false);
        while let Err(RecvTimeoutError::Timeout) = self.stop.recv_timeout(self.every) {
            let garbage = *lock(&self.garbage);
            let is_calm = garbage.bytes() == last;
            last = garbage.bytes();
            let table_bytes = self.lsm.table_bytes();
            if !garbage.is_worth_it(table_bytes, is_calm) {
                continue;
            }
            let (free, wanted) = (self.folder.free_bytes().unwrap_or(0), self.room(table_bytes));
            if free < wanted {
                if !std::mem::replace(&mut was_told, true) {
                    warn!(
                        "the space of what was deleted cannot be given back: {wanted} bytes must be free to \
                         rewrite the store, and {free} are"
                    );
                }
                continue;
            }
            was_told = false;
            if let Err(error) = self.compact(garbage.bytes()) {
                // What is damaged is found again when it is read. To try every time would wear the disk for nothing.
                error!(
                    "the store cannot be compacted, and it is not tried again before the next start: {error}"
                );
                break;
            }
            last = lock(&self.garbage).bytes();
        }
        drop(self.ended);
    }

    const fn room(&self, table_bytes: u64) -> u64 {
        table_bytes.saturating_add(ROOM_BYTES).saturating_add(self.reserve_bytes)
    }

    fn compact(&self, garbage_bytes: u64) -> Result<(), EngineError> {
        let (started, before) = (Instant::now(), self.lsm.disk_bytes().unwrap_or_default());
        self.lsm.compact()?;
        count(&self.stats.compactions, 1);
        let row = {
            let mut garbage = lock(&self.garbage);
            garbage.collected(garbage_bytes);
            garbage.row()
        };
        // The writer may overtake this with a later estimate: it costs one compaction more after the next start.
        self.lsm.commit([row], None)?;
        // Only when something is moved into tables again does the engine remove the files that were merged: in a store that
        // is not written to they would stay.
        self.lsm.flush()?;
        let after = self.lsm.disk_bytes().unwrap_or_default();
        info!(
            "compacted the store in {:?}: it took {before} bytes on disk, and takes {after}",
            started.elapsed()
        );
        Ok(())
    }
}

/// The estimate, for as long as it takes to look.
pub(super) fn lock(garbage: &Mutex<Garbage>) -> MutexGuard<'_, Garbage> {
    garbage.lock().unwrap_or_else(PoisonError::into_inner)
}
