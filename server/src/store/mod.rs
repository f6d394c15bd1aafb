//! The store: carries out the core's storage tickets on threads of its own.
//!
//! Two readers take reads and scans. One writer gathers every write that is waiting into one group, commits it as
//! one batch and syncs once if any write in it asks for that; then it goes on with the next group while a fourth
//! thread raises the high-water mark (`mark`) and only then hands the acknowledgements back. So an acknowledged
//! write is in the engine and under the mark, and the two syncs overlap instead of adding up.
//!
//! Nothing here waits for the event loop: completions leave through an unbounded channel, and what may be in flight
//! is bounded by the core. A disk without room refuses writes before the engine sees them, since the engine gives up
//! for good once a write fails half-way. One more thread (`keeper`) gives the space of deleted rows back. Anything else that fails means that the store cannot be relied on: the
//! event `Broken` stops the process, and the next start recovers.

mod command;
mod folder;
mod garbage;
mod keeper;
mod lsm;
mod mark;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use godown_core::effect::{Class, Read, Scan, Write, WriteAck};
use godown_core::input::Input;
use godown_core::stored::Row;
use tokio::sync::mpsc::UnboundedSender;

pub(crate) use command::{Args, Files, compact, inspect, measure, run};
use folder::Opened;
pub(crate) use folder::{Folder, FolderError};
use garbage::Garbage;
use keeper::{Keeper, lock};
use lsm::Lsm;
use mark::Mark;

/// Threads that read.
const READERS: usize = 2;

/// Reads that one thread takes at a time.
const READS_PER_JOB: usize = 8;

/// A group takes no further write once it holds so many.
const GROUP_WRITES_MAX: usize = 4_096;

/// A group takes no further write once it holds so many bytes.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// Groups that may wait for the mark; the writer waits when there are more.
const GROUPS_UNMARKED_MAX: usize = 64;

/// How long the end of a store waits for a compaction that is under way.
const COMPACTION_END_MAX: Duration = Duration::from_secs(1);

/// What the store tells the event loop.
#[derive(Debug)]
pub(crate) enum StoreEvent {
    /// Tickets are completed.
    Done(Vec<Input>),
    /// The store cannot be relied on any more.
    Broken(String),
}

/// Counters; they only rise.
#[derive(Debug, Default)]
pub(crate) struct StoreStats {
    /// Groups committed.
    groups: AtomicU64,
    /// Groups among them that were synced.
    synced: AtomicU64,
    /// Writes in them.
    writes: AtomicU64,
    /// Writes refused because the disk has no room.
    refused: AtomicU64,
    /// Times that the mark was raised.
    marks: AtomicU64,
    /// Rows read singly.
    reads: AtomicU64,
    /// Pages read.
    scans: AtomicU64,
    /// Times that all tables were merged to give space back.
    compactions: AtomicU64,
}

impl StoreStats {
    /// Every counter with its name, for reports.
    pub(crate) fn named(&self) -> [(&'static str, u64); 8] {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("groups", get(&self.groups)),
            ("groups_synced", get(&self.synced)),
            ("writes", get(&self.writes)),
            ("writes_refused", get(&self.refused)),
            ("marks", get(&self.marks)),
            ("reads", get(&self.reads)),
            ("scans", get(&self.scans)),
            ("compactions", get(&self.compactions)),
        ]
    }
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// What a reader is asked for.
enum Job {
    Reads(Vec<Read>),
    Scan(Scan),
}

/// The running threads.
pub(crate) struct Store {
    jobs: mpsc::Sender<Job>,
    writes: mpsc::Sender<Vec<Write>>,
    threads: Vec<JoinHandle<()>>,
    stop_keeper: mpsc::Sender<()>,
    keeper_ended: mpsc::Receiver<()>,
    lsm: Lsm,
    garbage: Arc<Mutex<Garbage>>,
    stats: Arc<StoreStats>,
}

/// Answers questions about a store that works.
#[derive(Clone)]
pub(crate) struct Meter {
    lsm: Lsm,
    garbage: Arc<Mutex<Garbage>>,
    stats: Arc<StoreStats>,
}

impl Meter {
    /// The counters.
    pub(crate) fn stats(&self) -> &StoreStats {
        &self.stats
    }

    /// Bytes of what was removed and not given back yet: an estimate.
    pub(crate) fn garbage_bytes(&self) -> u64 {
        lock(&self.garbage).bytes()
    }

    /// Bytes of tables on disk. Blocks as [`disk_bytes`](Self::disk_bytes) does.
    pub(crate) fn table_bytes(&self) -> u64 {
        self.lsm.table_bytes()
    }

    /// Bytes on disk; None when the engine cannot say. Blocks, perhaps for as long as a sync takes.
    pub(crate) fn disk_bytes(&self) -> Option<u64> {
        self.lsm.disk_bytes()
    }
}

/// A store that has just been opened.
pub(crate) struct Started {
    /// The store.
    pub(crate) store: Store,
    /// The rows that the node starts from.
    pub(crate) boot_rows: Vec<Row>,
    /// Why an earlier store is not used any more, and where it went.
    pub(crate) set_aside: Option<String>,
}

impl Store {
    /// Opens the store in `folder` and starts its threads. It refuses writes while the disk has less than
    /// `reserve_bytes` left, and looks `compact_every` so often whether space can be given back; never when that is
    /// zero. `is_alone` says that no other node could refill it.
    pub(crate) fn start(
        folder: Arc<Folder>,
        is_alone: bool,
        reserve_bytes: u64,
        compact_every: Duration,
        events: UnboundedSender<StoreEvent>,
    ) -> Result<Started, FolderError> {
        let Opened { lsm, mark, sequence, garbage, boot_rows, set_aside } = folder.open_store(is_alone)?;
        let garbage = Arc::new(Mutex::new(garbage));
        let stats = Arc::new(StoreStats::default());
        let (jobs, job_queue) = mpsc::channel();
        let (writes, write_queue) = mpsc::channel();
        let (landed, landed_queue) = mpsc::sync_channel(GROUPS_UNMARKED_MAX);
        let mut threads = Vec::new();
        let job_queue = Arc::new(Mutex::new(job_queue));
        for index in 0..READERS {
            let (lsm, queue) = (lsm.clone(), Arc::clone(&job_queue));
            let (stats, out) = (Arc::clone(&stats), events.clone());
            let work = move || read(&lsm, &queue, &stats, &out);
            threads.push(spawn(format!("reader-{index}"), events.clone(), work));
        }
        let (stop_keeper, stop) = mpsc::channel();
        let (ended, keeper_ended) = mpsc::channel();
        if !compact_every.is_zero() {
            let keeper = Keeper {
                lsm: lsm.clone(),
                folder: Arc::clone(&folder),
                reserve_bytes,
                every: compact_every,
                garbage: Arc::clone(&garbage),
                stats: Arc::clone(&stats),
                stop,
                ended,
            };
            // Nobody joins it: a compaction under way is no reason for a process to stay.
            spawn("keeper".into(), events.clone(), move || keeper.run());
        }
        let writer = Writer {
            lsm: lsm.clone(),
            folder,
            reserve_bytes,
            sequence,
            queue: write_queue,
            waiting: VecDeque::new(),
            landed,
            events: events.clone(),
            garbage: Arc::clone(&garbage),
            stats: Arc::clone(&stats),
        };
        threads.push(spawn("writer".into(), events.clone(), move || writer.run()));
        let (marks, out) = (Arc::clone(&stats), events.clone());
        let work = move || raise_marks(mark, &landed_queue, &marks, &out);
        threads.push(spawn("marker".into(), events, work));
        let store = Self { jobs, writes, threads, stop_keeper, keeper_ended, lsm, garbage, stats };
        Ok(Started { store, boot_rows, set_aside })
    }

    /// Hands reads to the readers, leaving `reads` empty.
    pub(crate) fn read(&self, reads: &mut Vec<Read>) {
        while !reads.is_empty() {
            let rest = reads.split_off(reads.len().min(READS_PER_JOB));
            // A send fails only after the threads have ended, and then `Broken` is on its way.
            let _ = self.jobs.send(Job::Reads(std::mem::replace(reads, rest)));
        }
    }

    /// Hands a scan to the readers.
    pub(crate) fn scan(&self, scan: Scan) {
        let _ = self.jobs.send(Job::Scan(scan));
    }

    /// Hands writes to the writer, leaving `writes` empty.
    pub(crate) fn write(&self, writes: &mut Vec<Write>) {
        if !writes.is_empty() {
            let _ = self.writes.send(std::mem::take(writes));
        }
    }

    /// What can be asked about the store while it works.
    pub(crate) fn meter(&self) -> Meter {
        let (garbage, stats) = (Arc::clone(&self.garbage), Arc::clone(&self.stats));
        Meter { lsm: self.lsm.clone(), garbage, stats }
    }

    /// Finishes what was handed in, ends the threads and syncs everything. Blocks.
    pub(crate) fn close(self) -> Result<(), String> {
        drop((self.jobs, self.writes, self.stop_keeper));
        for thread in self.threads {
            thread.join().map_err(|_| "a thread of the store panicked")?;
        }
        // It says nothing, it ends. One that is in the middle of a compaction ends with the process.
        let _ = self.keeper_ended.recv_timeout(COMPACTION_END_MAX);
        self.lsm.sync().map_err(|error| error.to_string())
    }
}

/// Sends `Broken` when its thread unwinds: a store that lost a thread would never complete what it was handed.
struct Alarm(UnboundedSender<StoreEvent>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(StoreEvent::Broken("a thread of the store panicked".into()));
        }
    }
}

/// # Panics
/// When the operating system gives no thread, at the start of the process.
fn spawn(
    name: String,
    events: UnboundedSender<StoreEvent>,
    work: impl FnOnce() + Send + 'static,
) -> JoinHandle<()> {
    thread::Builder::new()
        .name(name)
        .spawn(move || {
            let _alarm = Alarm(events);
            work();
        })
        .expect("the operating system starts a handful of threads")
}

fn read(
    lsm: &Lsm,
    queue: &Mutex<mpsc::Receiver<Job>>,
    stats: &StoreStats,
    events: &UnboundedSender<StoreEvent>,
) {
    loop {
        // Whoever holds the lock waits for the next job, the others for the lock.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let done = match job {
            Ok(Job::Reads(reads)) => {
                count(&stats.reads, reads.len());
                reads.into_iter().map(|read| read_row(lsm, read)).collect()
            }
            Ok(Job::Scan(scan)) => {
                count(&stats.scans, 1);
                vec![read_page(lsm, scan)]
            }
            Err(mpsc::RecvError) => return,
        };
        let _ = events.send(StoreEvent::Done(done));
    }
}

fn read_row(lsm: &Lsm, read: Read) -> Input {
    let (key, ack) = read.into_parts();
    match lsm.get(&key) {
        Ok(row) => ack.done(row),
        Err(error) => ack.failed(error.to_string()),
    }
}

fn read_page(lsm: &Lsm, scan: Scan) -> Input {
    let page = lsm.page(scan.after(), scan.before(), scan.rows_max(), scan.bytes_max());
    match (page, scan.into_ack()) {
        (Ok((rows, more)), ack) => ack.done(rows, more),
        (Err(error), ack) => ack.failed(error.to_string()),
    }
}

/// A group that is durable in the engine, on its way under the mark.
struct Landed {
    sequence: u64,
    acks: Vec<WriteAck>,
}

/// Writes that are committed together.
#[derive(Default)]
struct Group {
    rows: Vec<Row>,
    acks: Vec<WriteAck>,
    bytes: usize,
    is_synced: bool,
}

impl Group {
    const fn is_full(&self) -> bool {
        self.acks.len() >= GROUP_WRITES_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    fn add(&mut self, write: Write) {
        self.is_synced |= write.class() == Class::Synced;
        let (rows, ack) = write.into_parts();
        let size = |row: &Row| row.key.0.len() + row.value.as_ref().map_or(0, |value| value.len());
        self.bytes += rows.iter().map(size).sum::<usize>();
        self.rows.extend(rows);
        self.acks.push(ack);
    }
}

struct Writer {
    lsm: Lsm,
    /// Held until the writer ends: the folder's lock lives in it.
    folder: Arc<Folder>,
    reserve_bytes: u64,
    sequence: u64,
    queue: mpsc::Receiver<Vec<Write>>,
    waiting: VecDeque<Write>,
    landed: mpsc::SyncSender<Landed>,
    events: UnboundedSender<StoreEvent>,
    garbage: Arc<Mutex<Garbage>>,
    stats: Arc<StoreStats>,
}

impl Writer {
    fn run(mut self) {
        while self.gather() {
            let mut group = Group::default();
            while !group.is_full()
                && let Some(write) = self.waiting.pop_front()
            {
                group.add(write);
            }
            if let Err(reason) = self.check_room(group.bytes) {
                count(&self.stats.refused, group.acks.len());
                let failed = |ack: WriteAck| ack.failed(reason.clone());
                self.send(group.acks.into_iter().map(failed).collect());
                continue;
            }
            if let Err(reason) = self.commit(group) {
                let _ = self.events.send(StoreEvent::Broken(reason));
                return;
            }
        }
    }

    /// Waits for a write, then takes every one that is there. False when there will be none.
    fn gather(&mut self) -> bool {
        if self.waiting.is_empty() {
            match self.queue.recv() {
                Ok(writes) => self.waiting.extend(writes),
                Err(mpsc::RecvError) => return false,
            }
        }
        while let Ok(writes) = self.queue.try_recv() {
            self.waiting.extend(writes);
        }
        true
    }

    fn check_room(&self, bytes: usize) -> Result<(), String> {
        // When nobody can say how much is left, the engine finds out.
        let free = self.folder.free_bytes().unwrap_or(u64::MAX);
        if free < self.reserve_bytes.saturating_add(bytes as u64) {
            return Err(format!(
                "the disk is full: {free} bytes are free, and {} are kept back",
                self.reserve_bytes
            ));
        }
        Ok(())
    }

    fn commit(&mut self, mut group: Group) -> Result<(), String> {
        {
            let mut garbage = lock(&self.garbage);
            if garbage.note(&group.rows) {
                group.rows.push(garbage.row());
            }
        }
        let sequence = group.is_synced.then_some(self.sequence + 1);
        self.lsm.commit(group.rows, sequence).map_err(|error| format!("a write failed: {error}"))?;
        count(&self.stats.groups, 1);
        count(&self.stats.writes, group.acks.len());
        let Some(sequence) = sequence else {
            self.send(group.acks.into_iter().map(WriteAck::done).collect());
            return Ok(());
        };
        count(&self.stats.synced, 1);
        self.sequence = sequence;
        // A send fails only when the marker has ended, and then `Broken` is on its way.
        let _ = self.landed.send(Landed { sequence, acks: group.acks });
        Ok(())
    }

    fn send(&self, done: Vec<Input>) {
        let _ = self.events.send(StoreEvent::Done(done));
    }
}

fn raise_marks(
    mut mark: Mark,
    landed: &mpsc::Receiver<Landed>,
    stats: &StoreStats,
    events: &UnboundedSender<StoreEvent>,
) {
    while let Ok(mut last) = landed.recv() {
        let mut acks = last.acks;
        // Groups that have piled up need one mark only: the highest.
        while let Ok(next) = landed.try_recv() {
            last.sequence = next.sequence;
            acks.extend(next.acks);
        }
        if let Err(error) = mark.raise(last.sequence) {
            let reason = format!("the high-water mark cannot be written: {error}");
            let _ = events.send(StoreEvent::Broken(reason));
            return;
        }
        count(&stats.marks, 1);
        let _ = events.send(StoreEvent::Done(acks.into_iter().map(WriteAck::done).collect()));
    }
}
