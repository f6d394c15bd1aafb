//! Hints: deltas that this node keeps for replicas that could not be reached, until they can be (Dynamo, SOSP 2007, §4.6).
//!
//! A hint is an opaque row outside every clock. It is acknowledged when it is on disk, never expires, and goes, the oldest
//! of its target first, as an ordinary delta to the replica that it is for, or to one that holds the partition when that one
//! does not any more; its row is removed only after the answer. What is kept is bounded in bytes, and what is handed over in
//! bytes per second.
//!
//! When no replica of a key can be reached, a stand-in mints the dot itself, in its own life and with a hint for each of
//! them in one write, before anybody hears of it. Per partition one such write is under way at a time, so that a number that
//! the disk refused is the next one's, and none is left out. To a read a stand-in shows the join of its hints for the key
//! and nothing else: it never says that something is absent.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::causal::Dot;
use crate::cx::{Answer, Cx, Join, Owner, Step, Task, Waiter};
use crate::effect::Class;
use crate::id::{NodeId, OpId};
use crate::key::{Key, Partition};
use crate::kind::{Object, Sibling};
use crate::layout::active::{Layouts, View};
use crate::message::{Change, Message, Refusal};
use crate::note::Note;
use crate::peers::Peers;
use crate::slots;
use crate::stored::{self, Hint, HintPlace, Row, RowKey, StoredError};
use crate::time::Mono;
use crate::timers::Timer;
use crate::token::CLIENT_ACTORS_MAX;

/// Hints that are handed over at a time.
const HINTS_IN_FLIGHT: usize = 16;
/// Bytes of rows that one page of hints reads, beyond the first row.
const PAGE_BYTES: usize = 1 << 20;
/// Rows in one page when hints are counted after a start.
const COUNT_ROWS: usize = 256;
/// Hints of one key that a read or a write looks at, the newest ones.
const PLACES_MAX: usize = 4_096;
/// Hints of one key that a read joins, the newest ones.
const FETCH_MAX: usize = 128;
/// Stand-ins that are known for a partition.
const STAND_INS_MAX: usize = 32;
/// A target that refuses is tried again after twice the time, so many times over.
const DOUBLINGS_MAX: u32 = 4;

/// The order in which nodes stand in for others, by partition: what the newest layout says, remembered.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct StandIns {
    epoch: u64,
    orders: BTreeMap<Partition, Vec<NodeId>>,
}

impl StandIns {
    /// Who stands in for the holders of `partition`, the first one first; none of them holds it in any layout in force.
    pub(crate) fn order(&mut self, layout: &Layouts, partition: Partition) -> &[NodeId] {
        let epoch = layout.view().newest;
        if self.epoch != epoch {
            *self = Self { epoch, orders: BTreeMap::new() };
        }
        self.orders.entry(partition).or_insert_with(|| {
            let order = layout.newest().map(|newest| newest.stand_ins(partition)).unwrap_or_default();
            // A holder in an older layout may not be one for long; whoever stands in is one in none.
            order.into_iter().filter(|&node| !layout.holds(node, partition)).take(STAND_INS_MAX).collect()
        })
    }
}

/// What the disk does for hints.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) enum HintWork {
    /// Counting what there is, after a start.
    Counting,
    /// Keeping a hint that a coordinator has sent.
    Keeping { target: NodeId, seq: u64, bytes: u64, at_ms: u64, to: NodeId, op: OpId },
    /// Reading what is to be handed over next.
    Paging { target: NodeId },
    /// Removing what was handed over.
    Removing { target: NodeId, hints: u64, bytes: u64 },
    /// Looking where the hints for a read's key are.
    Finding(u64),
    /// Reading one of them.
    Fetching(u64, RowKey),
    /// Looking how many siblings this node has minted already.
    Weighing(Partition),
    /// A dot that is minted here, and kept for every holder.
    Minting(Box<Minting>),
}

/// A dot on its way to disk, as hints for every holder of its key.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Minting {
    partition: Partition,
    /// For whom, under which number, in how many bytes.
    kept: Vec<(NodeId, u64, u64)>,
    at_ms: u64,
    answer: Answer,
}

/// What is kept for one node.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Kept {
    hints: u64,
    bytes: u64,
    /// When the oldest was written, or one before it.
    oldest_ms: u64,
    /// The last hint that this pass over them has come to.
    cursor: u64,
    /// Whether some of this pass stay behind.
    has_failed: bool,
    /// Passes in a row of which some stayed behind.
    failures: u32,
    /// When the next pass may begin, or this one go on.
    due: Mono,
    /// Under which layouts the last whole pass was made.
    passed: Option<View>,
}

/// A hint that is being handed over.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Sent {
    seq: u64,
    bytes: u64,
    hint: Hint,
    to: NodeId,
    /// Who has said that it does not hold the key.
    refused: Vec<NodeId>,
}

/// Hints of one target that are being handed over together.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Page {
    target: NodeId,
    sent: BTreeMap<u64, Sent>,
    /// Rows that are to be removed: number, bytes, and the key if it is known.
    done: Vec<(u64, u64, Option<Key>)>,
    deadline: Mono,
}

/// What the handing over is at.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
enum Stage {
    #[default]
    Idle,
    /// A page is being read, or what was handed over is being removed.
    Disk,
    Handing(Page),
}

/// A read that asks for the hints of a key.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Fetch {
    key: Key,
    waiter: Waiter,
    /// Rows that are still being read.
    awaited: usize,
    found: Option<Object>,
    refusal: Option<Refusal>,
}

/// A hint's size, and when it was written; of a target what was found of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HintReport {
    /// Hints kept.
    pub hints: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was written, in milliseconds since the Unix epoch by the clock of that time; or a little before.
    pub oldest_ms: u64,
}

/// All hints of this node.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Hints {
    is_counted: bool,
    /// How far they have been counted.
    counted: Option<RowKey>,
    targets: BTreeMap<NodeId, Kept>,
    /// Bytes of all hints, those on their way to disk included.
    bytes: u64,
    last_seq: u64,
    /// Hints on their way to disk.
    writing: BTreeSet<u64>,
    stage: Stage,
    /// The target that was served last.
    last: NodeId,
    /// When the rate allows the next page.
    free_at: Mono,
    /// When the timer is set.
    wakes_at: Option<Mono>,
    fetches: BTreeMap<u64, Fetch>,
    /// Writes that wait for this node to mint their dots; the first of each partition is under way.
    queues: BTreeMap<Partition, VecDeque<(Waiter, Change)>>,
    queued: usize,
    /// Whether nothing is handed over any more.
    is_stopped: bool,
    /// Numbers of dots, by a planted bug.
    #[cfg(feature = "simulation")]
    apart: BTreeMap<Partition, u64>,
}

impl Hints {
    /// Those of a store that is known to be empty.
    pub(crate) fn over_nothing() -> Self {
        Self { is_counted: true, ..Self::default() }
    }

    /// What there is to do, in words.
    pub(crate) fn unrest(&self, is_member: bool) -> Option<String> {
        if !self.is_counted {
            return Some("the hints for others are being counted".to_string());
        }
        if let Some(partition) = self.queues.keys().next() {
            return Some(format!("{} writes wait for this node to stand in, in {partition:?}", self.queued));
        }
        if let Some(fetch) = self.fetches.values().next() {
            return Some(format!("the hints for {:?} are being read", fetch.key));
        }
        if !self.writing.is_empty() {
            return Some("hints are being written".to_string());
        }
        // Who is no member any more is listened to by nobody; it keeps what it has until it is one again.
        let (target, kept) = self.targets.first_key_value().filter(|_| is_member)?;
        Some(format!("{} hints are kept for {target}", kept.hints))
    }

    /// Whether nothing is kept, and it is known. A node that leaves is done only then.
    pub(crate) fn are_gone(&self) -> bool {
        self.is_counted && self.targets.is_empty() && self.writing.is_empty()
    }

    /// What is kept, by target.
    pub(crate) fn report(&self) -> BTreeMap<NodeId, HintReport> {
        let report =
            |kept: &Kept| HintReport { hints: kept.hints, bytes: kept.bytes, oldest_ms: kept.oldest_ms };
        self.targets.iter().map(|(&target, kept)| (target, report(kept))).collect()
    }

    /// Begins, or goes on, after a start.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        if !self.is_counted {
            let (start, before) = stored::all_hints();
            let after = self.counted.clone().unwrap_or(start);
            let owner = Owner::Hints(Box::new(HintWork::Counting));
            cx.scan(owner, (after, before), COUNT_ROWS, PAGE_BYTES);
        }
    }

    /// Another node uses this one's identity: nothing is handed over any more.
    pub(crate) const fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// A page of rows has been read.
    pub(crate) fn on_scan(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        work: HintWork,
        outcome: Result<(Vec<Row>, bool), String>,
    ) {
        let outcome = outcome.map_err(|reason| cx.note(Note::ScanFailed { reason }));
        match work {
            HintWork::Counting => self.on_counted(cx, outcome),
            HintWork::Paging { target } => self.on_page(cx, peers, target, outcome),
            HintWork::Finding(n) => self.on_found(cx, n, outcome),
            HintWork::Weighing(partition) => self.on_weighed(cx, partition, outcome),
            other => panic!("a scan came back for {other:?}"),
        }
    }

    /// Rows have been written, or could not be.
    pub(crate) fn on_write(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        work: HintWork,
        outcome: Result<(), String>,
    ) {
        let outcome = outcome.map_err(|reason| cx.note(Note::WriteFailed { reason }));
        match work {
            HintWork::Keeping { target, seq, bytes, at_ms, to, op } => {
                self.landed(cx, &[(target, seq, bytes)], at_ms, outcome.is_ok());
                cx.send(to, Message::Stored { op, outcome: outcome.map_err(|()| Refusal::Storage) });
            }
            HintWork::Minting(minting) => self.on_minted(cx, *minting, outcome.is_ok()),
            HintWork::Removing { target, hints, bytes } => {
                self.on_removed(target, hints, bytes, outcome.is_ok());
                self.stage = Stage::Idle;
            }
            other => panic!("a write came back for {other:?}"),
        }
        self.go_on(cx, peers);
    }

    // --- Keeping -----------------------------------------------------------------------------------------------------

    fn on_counted(&mut self, cx: &mut Cx<'_>, outcome: Result<(Vec<Row>, bool), ()>) {
        let Ok((rows, more)) = outcome else {
            return self.wake(cx, cx.now.mono.after(cx.config.sync_every));
        };
        for row in &rows {
            let Some((target, seq)) = stored::hint_of(&row.key) else { continue };
            let (bytes, value) = (size(row), row.value.as_ref());
            let kept = self.targets.entry(target).or_default();
            if kept.hints == 0 {
                // A damaged one is told of when its turn comes.
                let hint = value.and_then(|value| stored::read_hint(&row.key, value).ok());
                kept.oldest_ms = hint.map_or(cx.now.wall.millis(), |hint| hint.at_ms);
            }
            kept.hints += 1;
            kept.bytes += bytes;
            self.bytes += bytes;
            self.last_seq = self.last_seq.max(seq);
        }
        sometimes!(cx.shared.moments, HintsFound, !rows.is_empty());
        self.is_counted = !more;
        self.counted = rows.into_iter().next_back().map(|row| row.key).or(self.counted.take());
        self.start(cx);
        if self.is_counted && !self.targets.is_empty() {
            self.wake(cx, cx.now.mono);
        }
    }

    /// Why nothing more can be kept: `bytes` would be too many, or it is not known yet how many there are.
    fn is_full(&self, cx: &mut Cx<'_>, bytes: u64) -> Option<Refusal> {
        if !self.is_counted {
            return Some(Refusal::CatchingUp);
        }
        let is_over = self.bytes.saturating_add(bytes) > cx.config.limits.hint_bytes;
        if is_over {
            sometimes!(cx.shared.moments, HintsLimit);
            cx.shared.stats.hints_refused += 1;
            return Some(Refusal::HintsFull { bytes: self.bytes });
        }
        None
    }

    /// A coordinator wants a delta kept.
    pub(crate) fn on_hint(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        target: NodeId,
        (key, dot, delta): (Key, Dot, Object),
    ) {
        let (seq, at_ms) = (self.last_seq + 1, cx.now.wall.millis());
        let rows = stored::hint_rows(target, seq, &Hint { at_ms, key, dot, delta });
        let bytes = size(&rows[0]);
        let refusal = match target {
            _ if is_leaving(cx) => Some(Refusal::NotAMember),
            target if target == cx.me() => Some(Refusal::NotHeld),
            _ => self.is_full(cx, bytes),
        };
        if let Some(refusal) = refusal {
            return cx.send(from, Message::Stored { op, outcome: Err(refusal) });
        }
        self.last_seq = seq;
        self.bytes += bytes;
        self.writing.insert(seq);
        let work = HintWork::Keeping { target, seq, bytes, at_ms, to: from, op };
        cx.write(Owner::Hints(Box::new(work)), Class::Synced, rows.into());
    }

    /// Hints are on disk, or could not be written.
    fn landed(&mut self, cx: &mut Cx<'_>, kept: &[(NodeId, u64, u64)], at_ms: u64, is_stored: bool) {
        for &(target, seq, bytes) in kept {
            self.writing.remove(&seq);
            if !is_stored {
                self.bytes -= bytes;
                continue;
            }
            sometimes!(cx.shared.moments, HintKept);
            cx.shared.stats.hints_kept += 1;
            cx.shared.stats.hint_bytes += bytes;
            let kept = self.targets.entry(target).or_default();
            if kept.hints == 0 {
                kept.oldest_ms = at_ms;
            }
            kept.hints += 1;
            kept.bytes += bytes;
        }
    }

    // --- Handing over ------------------------------------------------------------------------------------------------

    /// Time to go on.
    pub(crate) fn on_timer(&mut self, cx: &mut Cx<'_>, peers: &Peers) {
        self.wakes_at = None;
        if !self.is_counted {
            return self.start(cx);
        }
        match &mut self.stage {
            Stage::Handing(page) if page.deadline <= cx.now.mono => {
                for sent in core::mem::take(&mut page.sent).into_values() {
                    cx.step(Step::Silent(sent.to));
                }
                let target = page.target;
                self.fail(target);
                self.end_page(cx);
            }
            Stage::Handing(page) => {
                let deadline = page.deadline;
                self.wake(cx, deadline);
            }
            Stage::Idle | Stage::Disk => {}
        }
        self.go_on(cx, peers);
    }

    fn wake(&mut self, cx: &mut Cx<'_>, at: Mono) {
        if self.wakes_at.is_some_and(|before| before <= at) {
            return;
        }
        if let Some(before) = self.wakes_at.replace(at) {
            cx.shared.timers.cancel(before, Timer::Hints);
        }
        cx.shared.timers.set(at, Timer::Hints);
    }

    /// Reads the next page of hints that can be handed over, if nothing is under way; or sets the timer for later.
    fn go_on(&mut self, cx: &mut Cx<'_>, peers: &Peers) {
        if !matches!(self.stage, Stage::Idle) || self.targets.is_empty() || self.is_stopped {
            return;
        }
        let now = cx.now.mono;
        if self.free_at > now {
            return self.wake(cx, self.free_at);
        }
        if !cx.layout.has(cx.me()) {
            return self.wake(cx, now.after(cx.config.sync_every));
        }
        let view = cx.layout.view();
        let leaves = is_leaving(cx);
        // For a target that does not answer there is something to do once after a change of layout: what it does not hold
        // any more goes to others.
        let can = |target: NodeId, kept: &Kept| {
            let is_awaited = peers.is_suspected(target) && cx.layout.has(target) && !leaves;
            kept.due <= now && !(is_awaited && kept.passed == Some(view))
        };
        let able = |&(target, kept): &(&NodeId, &Kept)| can(*target, kept);
        let next = self.targets.range((core::ops::Bound::Excluded(self.last), core::ops::Bound::Unbounded));
        let next = next.chain(&self.targets).find(able).map(|(&target, kept)| (target, kept.cursor));
        let Some((target, cursor)) = next else {
            return self.wake(cx, now.after(cx.config.sync_every));
        };
        self.last = target;
        self.stage = Stage::Disk;
        let owner = Owner::Hints(Box::new(HintWork::Paging { target }));
        cx.scan(owner, stored::hints_between(target, cursor, u64::MAX), HINTS_IN_FLIGHT, PAGE_BYTES);
    }

    fn on_page(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        target: NodeId,
        outcome: Result<(Vec<Row>, bool), ()>,
    ) {
        self.stage = Stage::Idle;
        let view = cx.layout.view();
        let (now, pause) = (cx.now.mono, cx.config.sync_every);
        let kept = self.targets.get_mut(&target).expect("what is read is kept");
        let Ok((mut rows, _)) = outcome else {
            kept.due = now.after(pause);
            return self.go_on(cx, peers);
        };
        // The disk may show what it has not made safe yet. That is not handed over: it is not counted, and a dot that was
        // minted here leaves after that.
        let is_safe =
            |row: &Row| stored::hint_of(&row.key).is_some_and(|(_, seq)| !self.writing.contains(&seq));
        rows.retain(is_safe);
        if rows.is_empty() {
            // The end of a pass.
            kept.failures = if kept.has_failed { kept.failures + 1 } else { 0 };
            kept.due = now.after(pause * (1 << kept.failures.min(DOUBLINGS_MAX)));
            (kept.cursor, kept.has_failed, kept.passed) = (0, false, Some(view));
            return self.go_on(cx, peers);
        }
        let mut page =
            Page { target, sent: BTreeMap::new(), done: Vec::new(), deadline: now.after(cx.config.timeout) };
        let mut handed = 0;
        for row in rows {
            let (_, seq) = stored::hint_of(&row.key).expect("hints are read");
            kept.cursor = seq;
            let (bytes, value) = (size(&row), row.value.unwrap_or_default());
            let hint = match stored::read_hint(&row.key, &value) {
                Ok(hint) => hint,
                Err(error) => {
                    // One of another format is good for the version that wrote it.
                    kept.has_failed = true;
                    if let StoredError::Damaged(_) = error {
                        page.done.push((seq, bytes, None));
                        cx.note(Note::HintDamaged { target, reason: error.to_string() });
                    }
                    continue;
                }
            };
            handed += bytes;
            let sent = Sent { seq, bytes, hint, to: target, refused: Vec::new() };
            kept.has_failed |= !page.send(cx, peers, sent);
        }
        let rate = cx.config.hint_bytes_per_s;
        let nanos = u128::from(handed) * 1_000_000_000 / u128::from(rate);
        self.free_at = now.after(core::time::Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        let deadline = page.deadline;
        self.stage = Stage::Handing(page);
        self.wake(cx, deadline);
        self.end_page(cx);
        self.go_on(cx, peers);
    }

    /// A replica has answered a hint. False when the answer is to something else.
    pub(crate) fn on_stored(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        from: NodeId,
        n: u64,
        outcome: Result<(), Refusal>,
    ) -> bool {
        let Stage::Handing(page) = &mut self.stage else { return false };
        if page.sent.get(&n).is_none_or(|sent| sent.to != from) {
            return false;
        }
        let mut sent = page.sent.remove(&n).expect("just seen");
        let target = page.target;
        let stays = match outcome {
            Ok(()) => {
                sometimes!(cx.shared.moments, HintHandedOver);
                cx.shared.stats.hints_handed += 1;
                page.done.push((sent.seq, sent.bytes, Some(sent.hint.key)));
                false
            }
            Err(Refusal::NotHeld | Refusal::NotAMember) => {
                sent.refused.push(from);
                !page.send(cx, peers, sent)
            }
            Err(_) => true,
        };
        sometimes!(cx.shared.moments, HintRefused, stays);
        if stays {
            self.fail(target);
        }
        self.end_page(cx);
        self.go_on(cx, peers);
        true
    }

    fn fail(&mut self, target: NodeId) {
        if let Some(kept) = self.targets.get_mut(&target) {
            kept.has_failed = true;
        }
    }

    /// Removes what was handed over, once all of the page are answered.
    fn end_page(&mut self, cx: &mut Cx<'_>) {
        let Stage::Handing(page) = &mut self.stage else { return };
        if !page.sent.is_empty() {
            return;
        }
        let (target, done) = (page.target, core::mem::take(&mut page.done));
        self.stage = Stage::Idle;
        if done.is_empty() {
            return;
        }
        let (hints, bytes) = (done.len() as u64, done.iter().map(|(_, bytes, _)| bytes).sum());
        let removal = |(seq, _, key): (u64, u64, Option<Key>)| match key {
            Some(key) => stored::hint_removal(target, seq, &key).into(),
            None => Vec::from([Row { key: stored::hint_key(target, seq), value: None }]),
        };
        let rows = done.into_iter().flat_map(removal).collect();
        self.stage = Stage::Disk;
        let owner = Owner::Hints(Box::new(HintWork::Removing { target, hints, bytes }));
        cx.write(owner, Class::Lazy, rows);
    }

    fn on_removed(&mut self, target: NodeId, hints: u64, bytes: u64, is_removed: bool) {
        let kept = self.targets.get_mut(&target).expect("what is removed was kept");
        if !is_removed {
            kept.has_failed = true;
            return;
        }
        kept.hints -= hints;
        kept.bytes -= bytes;
        self.bytes -= bytes;
        if kept.hints == 0 {
            self.targets.remove(&target);
        }
    }
}

impl Page {
    /// Sends a hint to whoever is to have it. False when nobody can be asked now.
    fn send(&mut self, cx: &mut Cx<'_>, peers: &Peers, mut sent: Sent) -> bool {
        let (layout, me, target) = (cx.layout, cx.me(), self.target);
        let partition = layout.partition(&sent.hint.key);
        let holders = layout.holders(partition);
        let can = |node: &NodeId| !sent.refused.contains(node) && (*node == me || !peers.is_suspected(*node));
        let is_for_target = holders.contains(&target) && !sent.refused.contains(&target);
        let mut to = Some(target).filter(|target| is_for_target && can(target));
        if !is_for_target || is_leaving(cx) {
            // Whoever leaves cannot wait for the target to come back.
            to = to.or_else(|| holders.iter().copied().find(can));
        }
        let Some(to) = to else { return false };
        sometimes!(cx.shared.moments, HintPassedOn, to != target);
        let n = cx.next_op();
        let (key, dot, delta) = (sent.hint.key.clone(), sent.hint.dot, sent.hint.delta.clone());
        if to == me {
            let task = Task::Join { object: delta, dots: Vec::from([dot]), why: Join::Delta };
            cx.access(key, Waiter::Hint(n), task);
        } else {
            cx.send(to, Message::Store { op: cx.op(n), key, dot, delta });
        }
        if planted!(cx.shared.plants, HintDroppedBeforeAck) {
            self.done.push((sent.seq, sent.bytes, Some(sent.hint.key)));
            return true;
        }
        sent.to = to;
        self.sent.insert(n, sent);
        true
    }
}

/// Whether this node is a member no more once the layouts before the newest have ended.
fn is_leaving(cx: &Cx<'_>) -> bool {
    cx.layout.newest().is_none_or(|newest| newest.member(cx.me()).is_none())
}

fn size(row: &Row) -> u64 {
    (row.key.0.len() + row.value.as_ref().map_or(0, Bytes::len)) as u64
}

// --- Reading -----------------------------------------------------------------------------------------------------------

impl Hints {
    /// A read asks what is kept for a key.
    pub(crate) fn on_fetch(&mut self, cx: &mut Cx<'_>, key: Key, waiter: Waiter) {
        if self.fetches.len() >= cx.config.limits.peer_requests {
            return cx.done(waiter, Answer::Refused(Refusal::Overloaded));
        }
        let n = cx.next_op();
        let bounds = stored::hint_places(&key);
        self.fetches.insert(n, Fetch { key, waiter, awaited: 0, found: None, refusal: None });
        cx.scan(Owner::Hints(Box::new(HintWork::Finding(n))), bounds, PLACES_MAX, PAGE_BYTES);
    }

    fn on_found(&mut self, cx: &mut Cx<'_>, n: u64, outcome: Result<(Vec<Row>, bool), ()>) {
        let fetch = self.fetches.get_mut(&n).expect("what was looked for is wanted");
        match outcome {
            Ok((rows, _)) => {
                let mut places: Vec<HintPlace> = rows.iter().filter_map(stored::read_hint_place).collect();
                // What is not on disk for certain is shown to nobody.
                places.retain(|place| !self.writing.contains(&place.seq));
                let mut dots = BTreeSet::new();
                places.retain(|place| dots.len() < FETCH_MAX && dots.insert(place.dot));
                fetch.awaited = places.len();
                for place in places {
                    let row = stored::hint_key(place.target, place.seq);
                    cx.read(Owner::Hints(Box::new(HintWork::Fetching(n, row.clone()))), row);
                }
            }
            Err(()) => fetch.refusal = Some(Refusal::Storage),
        }
        self.finish_fetch(cx, n);
    }

    /// A hint has been read for a read.
    pub(crate) fn on_read(
        &mut self,
        cx: &mut Cx<'_>,
        work: &HintWork,
        outcome: Result<Option<Bytes>, String>,
    ) {
        let HintWork::Fetching(n, row) = work else { panic!("a read came back for {work:?}") };
        let fetch = self.fetches.get_mut(n).expect("what was read is wanted");
        fetch.awaited -= 1;
        let hint = outcome.map(|value| value.map(|value| stored::read_hint(row, &value)));
        match hint {
            // Two keys may share a hash.
            Ok(Some(Ok(hint))) if hint.key == fetch.key => {
                fetch.found.get_or_insert_default().join(hint.delta);
            }
            // It was handed over meanwhile.
            Ok(None | Some(Ok(_))) => {}
            Ok(Some(Err(_))) => fetch.refusal = Some(Refusal::Damaged),
            Err(_) => fetch.refusal = Some(Refusal::Storage),
        }
        let max = cx.config.limits.object_bytes;
        if let Some(found) = fetch.found.as_ref().filter(|found| found.size() > max) {
            let siblings = u32::try_from(found.store.0.len()).unwrap_or(u32::MAX);
            fetch.refusal = Some(Refusal::TooManySiblings { siblings, bytes: found.size() as u64 });
            fetch.found = None;
        }
        self.finish_fetch(cx, *n);
    }

    fn finish_fetch(&mut self, cx: &mut Cx<'_>, n: u64) {
        if self.fetches.get(&n).is_none_or(|fetch| fetch.awaited > 0) {
            return;
        }
        let fetch = self.fetches.remove(&n).expect("just seen");
        let answer = match (fetch.refusal, fetch.found) {
            (Some(refusal), _) => Answer::Refused(refusal),
            (None, Some(object)) => Answer::Loaded(object),
            (None, None) => Answer::Refused(Refusal::NotHeld),
        };
        cx.done(fetch.waiter, answer);
    }
}

// --- Minting -----------------------------------------------------------------------------------------------------------

impl Hints {
    /// No replica of a key can be reached: mints the dot of a change here, and keeps it for all of them.
    pub(crate) fn on_stand_in(&mut self, cx: &mut Cx<'_>, change: Change, waiter: Waiter) {
        if self.queued >= cx.config.limits.peer_requests {
            return cx.done(waiter, Answer::Refused(Refusal::Overloaded));
        }
        let partition = cx.layout.partition(&change.key);
        let queue = self.queues.entry(partition).or_default();
        queue.push_back((waiter, change));
        self.queued += 1;
        if queue.len() == 1 {
            self.weigh(cx, partition);
        }
    }

    /// Looks what is kept already for the key of the first in line.
    fn weigh(&mut self, cx: &mut Cx<'_>, partition: Partition) {
        let Some((_, change)) = self.queues.get(&partition).and_then(VecDeque::front) else { return };
        let bounds = stored::hint_places(&change.key);
        cx.scan(Owner::Hints(Box::new(HintWork::Weighing(partition))), bounds, PLACES_MAX, PAGE_BYTES);
    }

    /// The first in line of a partition is answered: the next one's turn.
    fn next(&mut self, cx: &mut Cx<'_>, partition: Partition, answer: Answer) {
        let queue = self.queues.get_mut(&partition).expect("somebody is first in line");
        let (waiter, _) = queue.pop_front().expect("somebody is first in line");
        self.queued -= 1;
        if queue.is_empty() {
            self.queues.remove(&partition);
        }
        cx.done(waiter, answer);
        self.weigh(cx, partition);
    }

    fn on_weighed(&mut self, cx: &mut Cx<'_>, partition: Partition, outcome: Result<(Vec<Row>, bool), ()>) {
        let queue = self.queues.get(&partition).expect("somebody is first in line");
        let change = queue.front().expect("somebody is first in line").1.clone();
        let minted = match outcome {
            Ok((rows, _)) => {
                check_siblings(cx, &change, &rows).and_then(|()| self.mint(cx, partition, change))
            }
            Err(()) => Err(Refusal::Storage),
        };
        if let Err(refusal) = minted {
            self.next(cx, partition, Answer::Refused(refusal));
        }
    }

    /// Writes a hint for every holder. The number is taken when it is known that they fit.
    fn mint(&mut self, cx: &mut Cx<'_>, partition: Partition, change: Change) -> Result<(), Refusal> {
        let holders = cx.layout.holders(partition);
        // What it has not dropped yet counts dots of its own.
        if holders.is_empty() || holders.contains(&cx.me()) || cx.shared.replicas.contains_key(&partition) {
            return Err(Refusal::NotHeld);
        }
        let minted = *self.minted(cx, partition);
        let at = cx.shared.hlc.next(cx.now.wall);
        let mut seen = change.seen;
        // A client cannot have seen what was not minted yet: a forged clock must not swallow the writes to come.
        seen.cap(cx.life, minted);
        let dot = Dot { actor: cx.life, n: minted + 1 };
        let sibling = change.value.map(|value| Sibling {
            value: value.bytes,
            content_type: value.content_type,
            at,
            expires: value.ttl.map_or(0, |ttl| slots::expiry(cx.now.wall, ttl)),
        });
        let delta = Object::delta(seen, dot, sibling);
        let at_ms = cx.now.wall.millis();
        let hint = Hint { at_ms, key: change.key, dot, delta };
        let (mut rows, mut kept) = (Vec::new(), Vec::new());
        for (&target, seq) in holders.iter().zip(self.last_seq + 1..) {
            let pair = stored::hint_rows(target, seq, &hint);
            kept.push((target, seq, size(&pair[0])));
            rows.extend(pair);
        }
        let bytes = kept.iter().map(|(.., bytes)| bytes).sum();
        if let Some(refusal) = self.is_full(cx, bytes) {
            return Err(refusal);
        }
        *self.minted(cx, partition) += 1;
        cx.shared.minting.insert(partition);
        cx.shared.stats.minted += 1;
        self.bytes += bytes;
        self.last_seq += kept.len() as u64;
        self.writing.extend(kept.iter().map(|&(_, seq, _)| seq));
        let delta = hint.delta;
        // It knows of nothing that the client has not seen.
        let shown = delta.context.within(CLIENT_ACTORS_MAX, [dot]);
        let answer = Answer::Minted { dot, delta, shown };
        let work = HintWork::Minting(Box::new(Minting { partition, kept, at_ms, answer }));
        cx.write(Owner::Hints(Box::new(work)), Class::Synced, rows);
        Ok(())
    }

    /// How many dots this life has minted in a partition that it does not hold.
    fn minted<'a>(&'a mut self, cx: &'a mut Cx<'_>, partition: Partition) -> &'a mut u64 {
        #[cfg(feature = "simulation")]
        if planted!(cx.shared.plants, StandInReusesNumber) {
            return self.apart.entry(partition).or_default();
        }
        cx.shared.minted.entry(partition).or_default()
    }

    fn on_minted(&mut self, cx: &mut Cx<'_>, minting: Minting, is_stored: bool) {
        let Minting { partition, kept, at_ms, answer } = minting;
        cx.shared.minting.remove(&partition);
        self.landed(cx, &kept, at_ms, is_stored);
        if is_stored {
            sometimes!(cx.shared.moments, StoodIn);
            self.next(cx, partition, answer);
        } else {
            // Nobody has heard of the number: it is the next one's.
            sometimes!(cx.shared.moments, StandInRefused);
            *self.minted(cx, partition) -= 1;
            self.next(cx, partition, Answer::Refused(Refusal::Storage));
        }
    }

    /// Panics when the parts disagree.
    pub(crate) fn check(&self, timer_set: impl Fn(Mono, Timer) -> bool) {
        if let Some(at) = self.wakes_at {
            assert!(timer_set(at, Timer::Hints), "hints have no timer");
        }
        if let Stage::Handing(page) = &self.stage {
            assert!(!page.sent.is_empty(), "a page of hints is open although all are answered");
        }
        let is_idle = matches!(self.stage, Stage::Idle);
        let waits = is_idle && !self.is_stopped && self.is_counted && !self.targets.is_empty();
        assert!(!waits || self.wakes_at.is_some(), "hints wait for nothing");
        assert!(self.targets.values().all(|kept| kept.hints > 0), "nothing is kept for a target");
        let queued: usize = self.queues.values().map(VecDeque::len).sum();
        assert_eq!(queued, self.queued, "writes that wait for this node to stand in are miscounted");
    }
}

/// Whether a key has room for one more sibling among those that wait here. What one of them has replaced is counted too:
/// the hints are not read for it.
fn check_siblings(cx: &mut Cx<'_>, change: &Change, rows: &[Row]) -> Result<(), Refusal> {
    let limits = &cx.config.limits;
    let Some(value) = &change.value else { return Ok(()) };
    let places = rows.iter().filter_map(stored::read_hint_place);
    let kept: BTreeMap<Dot, u64> = places
        .filter(|place| !change.seen.has(place.dot))
        .filter_map(|place| Some((place.dot, place.value_bytes?)))
        .collect();
    let (siblings, bytes) = (kept.len(), kept.values().sum::<u64>());
    let added = (value.bytes.len() + value.content_type.len()) as u64;
    if siblings >= limits.siblings || (siblings > 0 && bytes + added > limits.object_bytes as u64) {
        sometimes!(cx.shared.moments, SiblingsLimit);
        let siblings = u32::try_from(siblings).unwrap_or(u32::MAX);
        return Err(Refusal::TooManySiblings { siblings, bytes });
    }
    Ok(())
}
