//! One node: routes inputs to machines and what they want of each other between them. It decides nothing itself.
//!
//! Between two inputs every invariant holds and nothing waits to be passed on: `handle` takes one input, lets the
//! machines act, passes their steps on until there are none, and leaves. What is to be done outside stands in the
//! effects; the driver may carry them out in any order but for writes, which land in theirs.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use rand::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::causal::Clock;
use crate::cluster::{self, Cluster};
use crate::config::{Config, TTL_MAX};
use crate::cx::{Answer, Cx, Join, Owner, Shared, Step, Task, Waiter};
use crate::effect::{Class, Effect, Effects, ReadDone, ScanDone, Ticket, WriteDone};
use crate::expiry::Expiry;
use crate::get::{self, Gets};
pub use crate::hints::HintReport;
use crate::hints::{Hints, StandIns};
use crate::hlc::HlcSource;
use crate::id::{CallId, ClusterId, Life, NodeId, OpId};
use crate::input::{Boot, Call, Input, Reply, Wish};
use crate::key::{Key, Partition};
use crate::layout::active::{Layouts, View};
use crate::layout::{Change, Layout, Member};
use crate::list::Lists;
use crate::message::{self, Compared, Failure, Message, Page, Probed, Progress, Refusal, Terms};
#[cfg(feature = "simulation")]
use crate::moment::Moments;
use crate::note::Note;
use crate::peers::Peers;
use crate::plant::Plants;
use crate::put::Puts;
use crate::replica::{Barrier, Replica};
use crate::retire::Retire;
use crate::scrub::Scrub;
use crate::slots::Slots;
use crate::stats::Stats;
use crate::stored::{self, Row, StoredError};
use crate::sweep::{Patrol, Sweep};
use crate::swim::{Act, Swim};
use crate::sync::{self, Sync};
use crate::time::{Mono, Now};
use crate::timers::{Timer, Timers};

/// How a cluster stands, as one of its nodes knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterReport {
    /// The cluster; None for a node that belongs to none.
    pub id: Option<ClusterId>,
    /// The epochs of the layouts in force.
    pub view: View,
    /// The hash of the newest one.
    pub hash: u64,
    /// Copies of each key under it.
    pub copies: usize,
    /// Every node of a layout in force, in order of their ids.
    pub nodes: Vec<MemberReport>,
    /// Changes that are staged.
    pub staged: Vec<Change>,
    /// Whether a layout that this node was asked to apply is not decided yet.
    pub is_proposing: bool,
    /// Partitions that the newest layout gives to this node.
    pub held: usize,
    /// Partitions that this node answers reads for.
    pub complete: usize,
    /// Partitions that it has still to settle before an older layout can end.
    pub settling: usize,
    /// Partitions that it is dropping.
    pub dropping: usize,
    /// Transfers of whole partitions to this node that are under way.
    pub transfers: Vec<(NodeId, Partition)>,
    /// Log rows at rest.
    pub log_rows: usize,
    /// Log rows that cannot be dropped, and deletes that leave a trace so long, because a peer is not known to have them.
    pub blocked: BTreeMap<NodeId, usize>,
    /// What is kept for nodes that could not be reached.
    pub hints: BTreeMap<NodeId, HintReport>,
    /// Damaged rows that are known, and not mended yet.
    pub damaged: usize,
    /// What is in flight, or left to do, in words; None when nothing is. See [`Node::unrest`].
    pub unrest: Option<String>,
}

/// One node of a [`ClusterReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberReport {
    /// Who.
    pub member: Member,
    /// Whether it belongs to the newest layout, and not only to one that is giving way.
    pub is_member: bool,
    /// Whether it does not answer.
    pub is_suspected: bool,
    /// How far it is known to have followed.
    pub progress: Progress,
    /// Partitions that the newest layout gives to it.
    pub held: usize,
}

/// The machines, each borrowed apart, and what they are lent.
macro_rules! with_cx {
    ($node:ident, $now:expr, $fx:expr) => {{
        let Node { config, layout, life, shared, .. } = $node;
        Cx { now: $now, config, layout, life: *life, shared, fx: $fx }
    }};
}

/// One member of a cluster, in one of its lives.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct Node {
    config: Config,
    layout: Layouts,
    life: Life,
    last: Option<Mono>,
    is_fenced: bool,
    /// Both clocks at the first input and at the last, for a planted bug.
    #[cfg(feature = "simulation")]
    walled: Option<(Now, Now)>,
    /// The nodes that the driver was last told to connect with.
    connected: Vec<Member>,
    /// Partitions that began empty in a life that had minted so many dots in them before.
    beginnings: BTreeMap<Partition, (Life, u64)>,
    /// Lives that ended over this store and whose gaps are still to be closed.
    unclosed: Vec<Life>,
    shared: Shared,
    peers: Peers,
    slots: Slots,
    gets: Gets,
    puts: Puts,
    lists: Lists,
    sync: Sync,
    sweep: Sweep,
    patrol: Patrol,
    scrub: Scrub,
    expiry: Expiry,
    cluster: Cluster,
    retire: Retire,
    hints: Hints,
    swim: Option<Swim>,
    /// When the timer for the probes is set.
    swim_at: Option<Mono>,
}

impl Node {
    /// A node over what its store says. `seed` feeds nothing but jitter.
    ///
    /// # Errors
    /// [`StoredError`] when a row is not what was written. The store cannot say then what it has seen: set it aside
    /// and start over an empty one, which the other replicas will refill.
    pub fn new(config: Config, boot: Boot, seed: u64) -> Result<Self, StoredError> {
        Self::build(config, boot, seed, Plants::default())
    }

    /// A node with planted bugs.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[cfg(feature = "simulation")]
    pub fn planted(config: Config, boot: Boot, seed: u64, plants: Plants) -> Result<Self, StoredError> {
        Self::build(config, boot, seed, plants)
    }

    fn build(config: Config, boot: Boot, seed: u64, plants: Plants) -> Result<Self, StoredError> {
        let mut loaded = stored::load(&boot.rows)?;
        let record = match loaded.record.take() {
            Some(record) => record,
            // A store of a version that knew no layouts.
            None if (config.fixed || !boot.rows.is_empty()) && !config.members.is_empty() => {
                cluster::fixed(&config)
            }
            None => cluster::Record::default(),
        };
        let is_other = |layout: &Layout| layout.partition_count() != config.partitions;
        if record.layouts.iter().any(is_other) {
            return Err(StoredError::Partitions(config.partitions));
        }
        let cluster = Cluster::new(config.node, record);
        let layout = cluster.layouts().unwrap_or_else(|| Layouts::none(config.partitions));
        let life = match loaded.lives.last_key_value() {
            Some((&last, _)) if planted!(plants, CounterRestarted) => last,
            _ => boot.life,
        };
        let mut replicas = BTreeMap::new();
        let marked = |partition: &Partition| loaded.marks.contains(partition);
        let stored = loaded.checkpoints.keys().chain(loaded.logs.keys()).copied();
        let held: BTreeSet<Partition> =
            layout.held_by(config.node).chain(stored).filter(|partition| !marked(partition)).collect();
        for partition in held {
            let checkpoint = loaded.checkpoints.remove(&partition).unwrap_or_default();
            let log = loaded.logs.remove(&partition).unwrap_or_default();
            let mut replica = Replica::load(checkpoint, log);
            replica.actors = loaded.actors.remove(&partition).unwrap_or_default();
            replicas.insert(partition, replica);
        }
        let sweep = if boot.rows.is_empty() { Sweep::over_nothing() } else { Sweep::default() };
        let hints = if boot.rows.is_empty() { Hints::over_nothing() } else { Hints::default() };
        let shared = Shared {
            replicas,
            minted: BTreeMap::new(),
            minting: BTreeSet::new(),
            stand_ins: StandIns::default(),
            is_following: true,
            timers: Timers::new(plants),
            owners: BTreeMap::new(),
            steps: VecDeque::new(),
            hlc: HlcSource::default(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            stats: Stats::default(),
            life_stored: false,
            is_open: false,
            last_op: 0,
            last_ticket: 0,
            ended: loaded.lives.keys().copied().filter(|&ended| ended != life).collect(),
            plants,
            #[cfg(feature = "simulation")]
            moments: Moments::default(),
        };
        let unclosed = loaded.lives.into_iter().filter(|&(_, is_closed)| !is_closed);
        Ok(Self {
            unclosed: unclosed.map(|(ended, _)| ended).filter(|&ended| ended != life).collect(),
            config,
            layout,
            life,
            last: None,
            is_fenced: false,
            connected: Vec::new(),
            beginnings: loaded.beginnings,
            #[cfg(feature = "simulation")]
            walled: None,
            shared,
            peers: Peers::default(),
            slots: Slots::default(),
            gets: Gets::default(),
            puts: Puts::default(),
            lists: Lists::default(),
            sync: Sync::default(),
            sweep,
            patrol: Patrol::default(),
            scrub: Scrub::default(),
            expiry: Expiry::default(),
            cluster,
            retire: Retire::resume(loaded.marks.into_iter()),
            hints,
            swim: None,
            swim_at: None,
        })
    }

    /// Takes one input and appends what to do about it. Never fails, and never panics on what a peer or a client sends.
    ///
    /// # Panics
    /// When `fx` is not empty (effects would be carried out twice), when the monotonic clock falls, or when a storage
    /// ticket comes back that this node did not make.
    pub fn handle(&mut self, now: Now, input: Input, fx: &mut Effects) {
        self.handle_all(now, [input], fx);
    }

    /// Takes several inputs at one moment.
    ///
    /// # Panics
    /// As [`handle`](Self::handle).
    pub fn handle_all(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>, fx: &mut Effects) {
        assert!(fx.is_empty(), "the effects of the last input have not been taken");
        assert!(self.last.is_none_or(|last| last <= now.mono), "the monotonic clock fell");
        let is_first = self.last.replace(now.mono).is_none();
        #[cfg(feature = "simulation")]
        let now = self.by_wall_clock(now);
        if is_first {
            let (me, every) = (self.config.node, self.config.probe_every);
            // Probes are numbered by luck, which is another one in every life.
            let seed = self.life.0 as u64 ^ (self.life.0 >> 64) as u64;
            self.swim = Some(Swim::new(me, self.life, now.wall.millis(), every, seed));
            if self.layout.newest().is_some() {
                self.relayout(now, fx);
            }
            self.close(now, fx);
            self.cluster.start(&mut with_cx!(self, now, fx));
        }
        for input in inputs {
            self.on_input(now, input, fx);
            self.drain(now, fx);
            if self.shared.is_following || self.layout.is_changing() {
                self.follow(now, fx);
                self.drain(now, fx);
            }
        }
    }

    /// When [`Input::Tick`] must come at the latest. None before the first input, which may be a tick.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let due = self.shared.timers.next()?;
        #[cfg(feature = "simulation")]
        let due = self.walled.map_or(due, |(first, last)| {
            // The wall clock has this far to go, if nobody sets it until then.
            last.mono.after(due.since(advanced(first, last)))
        });
        Some(due)
    }

    /// The time, by the wall clock's advance since the first input if a planted bug says so.
    #[cfg(feature = "simulation")]
    fn by_wall_clock(&mut self, now: Now) -> Now {
        if !planted!(self.shared.plants, WallClockTimers) {
            return now;
        }
        let first = self.walled.map_or(now, |(first, _)| first);
        self.walled = Some((first, now));
        Now { mono: advanced(first, now), ..now }
    }

    /// The moments that this node has reached so far.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub const fn moments(&self) -> Moments {
        self.shared.moments
    }

    /// What this node has done so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// This run's identity.
    #[must_use]
    pub const fn life(&self) -> Life {
        self.life
    }

    /// Who this is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.config.node
    }

    /// Whether `node` does not answer, as far as this one knows: it has been declared down, or has let a request run into
    /// its timeout, and nothing has come from it since.
    #[must_use]
    pub fn suspects(&self, node: NodeId) -> bool {
        self.peers.is_suspected(node)
    }

    /// The first life over this node's store: what a cluster that takes it in is to know it by.
    #[must_use]
    pub fn store(&self) -> Life {
        let store = self.cluster.store();
        if store == Life::default() { self.life } else { store }
    }

    /// Whether this node answers reads for every partition that it holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.unready().is_none()
    }

    /// Why this node does not answer reads for every partition that it holds, in words; None when it does.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let me = self.config.node;
        let Some(newest) = self.layout.newest() else { return Some("it belongs to no cluster".into()) };
        if self.is_fenced {
            return Some("it is fenced".into());
        }
        if newest.member(me).is_none() {
            return Some("it is not a member of the cluster".into());
        }
        newest.held_by(me).find_map(|partition| match self.shared.replicas.get(&partition) {
            None => Some(format!("{partition:?} has not begun")),
            Some(replica) if replica.complete => None,
            Some(replica) => {
                let (caught_up, barrier) = (&replica.caught_up, &replica.barrier);
                Some(format!("{partition:?} has caught up with {caught_up:?}, barrier {barrier:?}"))
            }
        })
    }

    /// The layouts that this node works with.
    #[must_use]
    pub const fn layouts(&self) -> &Layouts {
        &self.layout
    }

    /// Whether another node was found to use this one's identity; it serves nothing then.
    #[must_use]
    pub const fn is_fenced(&self) -> bool {
        self.is_fenced
    }

    /// Whether nothing is in flight, no log row is left to drop and nothing at rest is left to strip. Probes go on.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.unrest().is_none()
    }

    /// What is in flight, or left to drop or to strip, in words: the first such thing, and none exactly when
    /// [`is_quiet`](Self::is_quiet).
    #[must_use]
    pub fn unrest(&self) -> Option<String> {
        self.unrest_beside(|_| false)
    }

    /// The same, whatever is left to drop or to strip in partitions that are `excused`.
    pub fn unrest_beside(&self, excused: impl Fn(Partition) -> bool) -> Option<String> {
        let replica_unrest = |(&partition, replica): (&Partition, &Replica)| {
            if excused(partition) {
                return None;
            }
            let primaries = self.layout.holders(partition).iter().copied();
            let peers: Vec<NodeId> = primaries.filter(|&node| node != self.config.node).collect();
            replica.unrest(&peers).map(|what| format!("{partition:?}: {what}"))
        };
        let owned =
            || self.shared.owners.values().next().map(|owner| format!("the disk is at work for {owner:?}"));
        let swept =
            || (!self.sweep.is_done()).then(|| "the pass over the objects at rest goes on".to_string());
        let closing = || {
            let what = "the gaps of ended lives are not on record";
            (!self.shared.is_open).then(|| what.to_string())
        };
        (self.gets.unrest())
            .or_else(closing)
            .or_else(|| self.cluster.unrest(&self.layout))
            .or_else(|| self.retire.unrest())
            .or_else(|| self.puts.unrest())
            .or_else(|| self.lists.unrest())
            .or_else(|| self.slots.unrest())
            .or_else(|| self.sync.unrest())
            .or_else(|| self.hints.unrest(self.layout.has(self.config.node)))
            .or_else(swept)
            .or_else(|| self.scrub.unrest(&self.layout, &excused))
            .or_else(|| self.shared.replicas.iter().find_map(replica_unrest))
            .or_else(owned)
    }

    /// How the cluster stands, as this node knows it.
    #[must_use]
    pub fn cluster(&self) -> ClusterReport {
        let me = self.config.node;
        let newest = self.layout.newest();
        let held = |node| newest.map_or(0, |newest| newest.held_by(node).count());
        let report = |&node: &NodeId| MemberReport {
            member: self.layout.member(node).cloned().unwrap_or_else(|| Member::plain(node)),
            is_member: newest.is_some_and(|newest| newest.member(node).is_some()),
            is_suspected: self.peers.is_suspected(node),
            progress: self.cluster.progress(node),
            held: held(node),
        };
        let replicas = &self.shared.replicas;
        let mut blocked: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (&partition, replica) in replicas {
            for &peer in self.layout.holders(partition).iter().filter(|&&peer| peer != me) {
                *blocked.entry(peer).or_default() += replica.waiting_for(peer);
            }
        }
        ClusterReport {
            id: newest.map(|newest| newest.cluster()),
            view: self.layout.view(),
            hash: newest.map_or(0, |newest| newest.hash()),
            copies: newest.map_or(0, |newest| newest.copies()),
            nodes: self.layout.nodes().iter().map(report).collect(),
            staged: self.cluster.staged(),
            is_proposing: self.cluster.is_proposing(),
            held: held(me),
            complete: replicas.values().filter(|replica| replica.complete && !replica.is_retiring).count(),
            settling: replicas.values().filter(|replica| replica.barrier.is_some()).count(),
            dropping: self.retire.len(),
            transfers: self.sync.pulls().collect(),
            log_rows: replicas.values().map(Replica::log_len).sum(),
            blocked,
            hints: self.hints.report(),
            damaged: self.scrub.len(),
            unrest: self.unrest(),
        }
    }

    /// What this node has seen of a partition that it holds; for judges of equality.
    #[must_use]
    pub fn clock(&self, partition: Partition) -> Option<&Clock> {
        self.shared.replicas.get(&partition).map(Replica::clock)
    }

    /// For simulators and debug builds.
    ///
    /// # Panics
    /// When the node's parts disagree.
    pub fn check(&self) {
        assert!(self.shared.steps.is_empty(), "steps are left to pass on between two inputs");
        for replica in self.shared.replicas.values() {
            replica.check(self.life);
        }
        let has = |at, timer| self.shared.timers.has(at, timer);
        self.gets.check(has);
        self.puts.check(has);
        self.lists.check(has);
        self.sync.check(has);
        self.scrub.check(has);
        self.cluster.check(has);
        self.hints.check(has);
        if let Some(swim) = &self.swim {
            swim.check();
            assert_eq!(swim.deadline(), self.swim_at, "the probes have no timer");
        }
        assert!(self.calls() <= self.config.limits.calls, "more calls are in flight than the limit allows");
    }

    fn calls(&self) -> usize {
        self.gets.owed() + self.puts.owed() + self.lists.owed() + self.cluster.owed()
    }
}

impl Node {
    /// Closes what ended lives left open, before anything else is taken in.
    ///
    /// A life's dots leave it only from its own disk, so a number that is missing below its highest can be on nobody's
    /// key. That is so now; once peers have given back what a restored store had lost, it would not be any more.
    /// Until it is on record nothing is taken over from anybody, however long the disk refuses.
    fn close(&mut self, now: Now, fx: &mut Effects) {
        let unclosed = &self.unclosed;
        let cx = &mut with_cx!(self, now, fx);
        let mut closing = Vec::new();
        let mut rows: Vec<Row> = unclosed.iter().map(|&ended| stored::life_row(ended, true)).collect();
        for (&partition, replica) in &mut cx.shared.replicas {
            let beginning = self.beginnings.get(&partition).copied();
            let mut gaps = replica.clock().gaps(unclosed, beginning);
            if planted!(cx.shared.plants, GapsOfOthersClosed) {
                let actors: Vec<Life> = replica.clock().as_context().actors().collect();
                gaps = replica.clock().gaps(&actors, None);
            }
            if !gaps.as_context().is_empty() && !planted!(cx.shared.plants, GapsLeftOpen) {
                sometimes!(cx.shared.moments, GapClosed);
                replica.checkpointing = true;
                rows.push(stored::checkpoint_row(partition, &replica.checkpoint(Some(&gaps), false)));
                closing.push((partition, gaps));
            }
        }
        if rows.is_empty() {
            self.begin(now, fx);
        } else {
            cx.write(Owner::Closing(closing), Class::Synced, rows);
        }
    }

    /// What ended lives left open is closed: what goes on by itself begins.
    fn begin(&mut self, now: Now, fx: &mut Effects) {
        self.unclosed.clear();
        let cx = &mut with_cx!(self, now, fx);
        cx.shared.is_open = true;
        cx.shared.timers.set(now.mono, Timer::Retire);
        self.sync.start(cx);
        self.hints.start(cx);
        if !self.sweep.is_done() {
            cx.shared.timers.set(now.mono, Timer::Sweep);
        }
        self.patrol.start(cx);
        Expiry::start(cx);
    }

    /// The gaps of ended lives are closed on disk, or could not be.
    fn on_closed(
        &mut self,
        now: Now,
        closing: Vec<(Partition, Clock)>,
        outcome: Result<(), String>,
        fx: &mut Effects,
    ) {
        let cx = &mut with_cx!(self, now, fx);
        for (partition, gaps) in closing {
            let replica = cx.replica(partition).expect("gaps are closed in held partitions");
            replica.checkpointing = false;
            if outcome.is_ok() {
                replica.absorbed(&gaps, false);
            }
        }
        match outcome {
            Ok(()) => self.begin(now, fx),
            Err(reason) => {
                cx.note(Note::WriteFailed { reason });
                cx.shared.timers.set(now.mono.after(cx.config.timeout), Timer::Close);
            }
        }
    }

    fn on_input(&mut self, now: Now, input: Input, fx: &mut Effects) {
        match input {
            Input::Tick => {}
            Input::Call { id, call } => self.on_call(now, id, call, fx),
            Input::Peer { from, view, message } => self.on_peer(now, from, view, message, fx),
            Input::Read(ReadDone { ticket, outcome }) => {
                let owner = self.owner(&ticket);
                let cx = &mut with_cx!(self, now, fx);
                match owner {
                    Owner::Slot(key) => self.slots.on_read(cx, key, outcome),
                    Owner::Hints(work) => self.hints.on_read(cx, &work, outcome),
                    other => panic!("a read came back for {other:?}"),
                }
            }
            Input::Write(WriteDone { ticket, outcome }) => {
                let owner = self.owner(&ticket);
                let cx = &mut with_cx!(self, now, fx);
                match owner {
                    Owner::Slot(key) => self.slots.on_write(cx, key, outcome),
                    Owner::Checkpoint(write) => self.sync.on_checkpoint(cx, *write, outcome),
                    Owner::Closing(closing) => self.on_closed(now, closing, outcome, fx),
                    Owner::Record => self.cluster.on_saved(cx, outcome),
                    Owner::Hints(work) => self.hints.on_write(cx, &self.peers, *work, outcome),
                    Owner::Retire(partition) => {
                        if self.retire.on_write(cx, partition, outcome) {
                            self.relayout(now, fx);
                        }
                    }
                    other => panic!("a write came back for {other:?}"),
                }
            }
            Input::Scan(ScanDone { ticket, outcome }) => {
                let owner = self.owner(&ticket);
                let cx = &mut with_cx!(self, now, fx);
                match owner {
                    Owner::List(n) => self.lists.on_scan(cx, &self.peers, n, outcome),
                    Owner::Gather { to, n } => self.sync.on_gather_rows(cx, to, n, outcome),
                    Owner::Walk { peer, n } => self.sync.on_own_rows(cx, peer, n, outcome),
                    Owner::Sweep => self.sweep.on_scan(cx, outcome),
                    Owner::Patrol => self.patrol.on_scan(cx, outcome),
                    Owner::Expiry(partition) => self.expiry.on_scan(cx, &self.peers, partition, outcome),
                    Owner::Hints(work) => self.hints.on_scan(cx, &self.peers, *work, outcome),
                    Owner::Retire(partition) => self.retire.on_scan(cx, partition, outcome),
                    other => panic!("a scan came back for {other:?}"),
                }
            }
        }
        // Whatever the input was, timers that are due are due.
        while let Some(timer) = self.shared.timers.pop(now.mono) {
            self.on_timer(now, timer, fx);
        }
    }

    fn owner(&mut self, ticket: &Ticket) -> Owner {
        assert_eq!(ticket.life, self.life, "a ticket came back to a node that did not make it");
        self.shared.owners.remove(&ticket.n).expect("a ticket comes back once")
    }

    fn on_timer(&mut self, now: Now, timer: Timer, fx: &mut Effects) {
        let cx = &mut with_cx!(self, now, fx);
        match timer {
            Timer::Get(n) => self.gets.on_timeout(cx, n),
            Timer::Put(n) => self.puts.on_timeout(cx, n),
            Timer::PutLate(n) => self.puts.on_late(cx, &self.peers, n),
            Timer::Hints => self.hints.on_timer(cx, &self.peers),
            Timer::List(n) => self.lists.on_timeout(cx, n),
            Timer::Sync(peer) => self.sync.on_timer(cx, peer),
            Timer::Sweep => self.sweep.on_timer(cx),
            Timer::Mend => self.scrub.on_timer(cx, &self.puts),
            Timer::Patrol => self.patrol.on_timer(cx, &self.sweep),
            Timer::Expiry => self.expiry.on_timer(cx, &self.puts),
            Timer::Close => self.close(now, fx),
            Timer::Gossip => self.cluster.on_timer(cx),
            Timer::Swim => {
                self.swim_at = None;
                self.probe(now, fx, |swim, acts| swim.on_timer(now.mono, acts));
            }
            Timer::Proposal => self.cluster.retry(cx),
            Timer::Retire => {
                let (slots, sync) = (&self.slots, &self.sync);
                self.retire.on_timer(cx, |cx, partition| {
                    let is_still = |replica: &Replica| !replica.checkpointing && replica.writing.is_empty();
                    let replica = cx.shared.replicas.get(&partition);
                    replica.is_none_or(is_still)
                        && slots.is_idle(cx.layout, partition)
                        && !sync.is_at(partition)
                });
            }
        }
    }

    /// Passes on what machines want of each other until they want nothing more.
    fn drain(&mut self, now: Now, fx: &mut Effects) {
        while let Some(step) = self.shared.steps.pop_front() {
            let cx = &mut with_cx!(self, now, fx);
            match step {
                Step::Access { key, waiter, task } => self.slots.on_access(cx, key, waiter, task),
                Step::Silent(node) => self.peers.on_silent(node),
                Step::Relayout => self.relayout(now, fx),
                Step::RepairNow => self.sync.hasten(cx),
                Step::Sweep => self.sweep.again(cx),
                Step::Damaged(key) => self.scrub.on_damaged(cx, &self.puts, key),
                // What a fenced node mints may be another's.
                Step::Expire { .. } if self.is_fenced => {}
                Step::Expire { key, seen } => self.puts.expire(cx, key, seen),
                Step::FetchHints { key, waiter } => self.hints.on_fetch(cx, key, waiter),
                Step::StandIn { change, waiter } => self.hints.on_stand_in(cx, change, waiter),
                Step::Done { waiter, answer } => match waiter {
                    Waiter::Get(n) => self.gets.on_loaded(cx, n, answer),
                    // What a fenced node had under way stays where it is: its dot may be another's.
                    Waiter::Put(_) if self.is_fenced => {}
                    Waiter::Put(n) => self.puts.on_minted(cx, &self.peers, n, answer),
                    Waiter::Gather { to, n, key } => self.sync.on_gathered(cx, to, n, key, answer),
                    Waiter::Walk { peer, n } => self.sync.on_joined(cx, peer, n, &answer),
                    Waiter::Fetch { to, op } => {
                        let outcome = match answer {
                            Answer::Loaded(object) => Ok(object),
                            Answer::Refused(refusal) => Err(refusal),
                            _ => unreachable!("a load is answered with an object or a refusal"),
                        };
                        cx.send(to, Message::Fetched { op, outcome });
                    }
                    Waiter::Store { to, op } => {
                        let outcome = match answer {
                            Answer::Refused(refusal) => Err(refusal),
                            _ => Ok(()),
                        };
                        cx.shared.stats.stored += u64::from(outcome.is_ok());
                        cx.send(to, Message::Stored { op, outcome });
                    }
                    Waiter::Mend(n) => self.scrub.on_mended(cx, &self.puts, n, &answer),
                    Waiter::Salvage { to, op, key, clock, complete } => {
                        sync::give_one(cx, (to, op), key, (*clock, complete), answer);
                    }
                    Waiter::Hint(n) => {
                        let outcome = match answer {
                            Answer::Refused(refusal) => Err(refusal),
                            _ => Ok(()),
                        };
                        let me = cx.me();
                        self.hints.on_stored(cx, &self.peers, me, n, outcome);
                    }
                    Waiter::Nobody => {}
                },
            }
        }
    }

    // --- Layouts -----------------------------------------------------------------------------------------------

    /// The layouts on disk may be other ones than those in force here: what follows from that.
    fn relayout(&mut self, now: Now, fx: &mut Effects) {
        let Some(layouts) = self.cluster.layouts() else { return };
        let (me, before) = (self.config.node, self.layout.view());
        self.layout = layouts;
        let view = self.layout.view();
        self.shared.is_following = true;
        let nodes = self.layout.nodes().iter().filter(|&&node| node != me);
        let connected: Vec<Member> = nodes.filter_map(|&node| self.layout.member(node)).cloned().collect();
        if connected != self.connected {
            self.connected.clone_from(&connected);
            fx.push(Effect::Members(connected));
        }
        let cx = &mut with_cx!(self, now, fx);
        let is_new = (before.oldest, before.newest) != (view.oldest, view.newest);
        if is_new {
            let is_member = cx.layout.newest().is_some_and(|newest| newest.member(me).is_some());
            cx.note(Note::Relayout { oldest: view.oldest, newest: view.newest, is_member });
        }
        for partition in cx.layout.partitions() {
            if cx.layout.holds(me, partition) {
                self.retire.recall(cx, partition);
            } else if cx.shared.replicas.contains_key(&partition)
                && (cx.layout.has(me) || !cx.layout.is_changing())
            {
                // Who was given up for lost keeps what it has until others have all that is left.
                self.retire.begin(cx, partition);
            }
        }
        for partition in cx.layout.held_by(me).collect::<Vec<_>>() {
            let (sources, _) = cx.layout.sources(cx.config, partition);
            let is_moving = cx.layout.is_moving(partition);
            let plants = cx.shared.plants;
            let Some(replica) = cx.replica(partition) else { continue };
            if is_new || !is_moving {
                replica.barrier = is_moving.then(Barrier::default);
            }
            if is_new && !replica.complete {
                // Whom it must have caught up with is another question under other layouts.
                replica.caught_up.clear();
            }
            // Alone, there is nobody to catch up with.
            replica.complete |= sources.iter().all(|&node| node == me);
            replica.complete |= planted!(plants, EmptyIsComplete);
        }
        if cx.shared.is_open {
            self.sync.reshape(cx);
            if is_new {
                self.sync.hasten(cx);
            }
        }
        // Whoever does not belong to the others probes nobody.
        let nodes = self.layout.nodes().iter().copied();
        let others: Vec<NodeId> = nodes.filter(|&node| node != me && self.layout.has(me)).collect();
        self.probe(now, fx, |swim, acts| swim.set_members(now.mono, &others, acts));
    }

    /// Has the probes of others do something, and carries out what follows.
    fn probe(&mut self, now: Now, fx: &mut Effects, work: impl FnOnce(&mut Swim, &mut Vec<Act>)) {
        let Some(swim) = &mut self.swim else { return };
        let mut acts = Vec::new();
        work(swim, &mut acts);
        let due = swim.deadline();
        let cx = &mut with_cx!(self, now, fx);
        if due != self.swim_at {
            if let Some(before) = core::mem::replace(&mut self.swim_at, due) {
                cx.shared.timers.cancel(before, Timer::Swim);
            }
            if let Some(due) = due {
                cx.shared.timers.set(due, Timer::Swim);
            }
        }
        for act in acts {
            match act {
                Act::Send { to, bytes } => cx.send(to, Message::Swim { bytes }),
                Act::Up(node, life) => {
                    self.peers.learn(node, life);
                    self.peers.on_heard(node);
                    self.sync.meet(cx, node);
                }
                Act::Down(node) => {
                    sometimes!(cx.shared.moments, DeclaredDown);
                    self.peers.on_silent(node);
                }
            }
        }
    }

    /// Goes on with following a change of layout as far as that is possible now.
    fn follow(&mut self, now: Now, fx: &mut Effects) {
        self.shared.is_following = false;
        let oldest_write = self.puts.oldest();
        let me = self.config.node;
        let cx = &mut with_cx!(self, now, fx);
        if cx.layout.is_changing() && self.cluster.is_past_barrier(cx) {
            let (last_op, mut passed) = (cx.shared.last_op, Vec::new());
            for (&partition, replica) in &mut cx.shared.replicas {
                let is_complete = replica.complete;
                let Some(barrier) = replica.barrier.as_mut().filter(|at| at.passed_at.is_none()) else {
                    continue;
                };
                barrier.passed_at = Some(last_op);
                if !is_complete {
                    // What was asked before may have been answered before the last write that came without this node.
                    replica.caught_up.clear();
                }
                passed.push(partition);
            }
            for partition in &passed {
                sync::note_caught(cx, *partition, None);
            }
            if !passed.is_empty() {
                self.sync.hasten(cx);
            }
        }
        let has = |partition| {
            let settled = |replica: &Replica| replica.complete && replica.barrier.is_none();
            cx.shared.replicas.get(&partition).is_some_and(settled)
        };
        // What only this node has of its own writes must not go with what it gives up: nobody could ever close the gap.
        let (life, ended) = (cx.life, &cx.shared.ended);
        let is_own = |actor: Life| actor == life || ended.contains(&actor);
        let has_given = |newest: &Layout, (partition, replica): (&Partition, &Replica)| {
            newest.holds(me, *partition)
                || !cx.layout.holds(me, *partition)
                || newest.primaries(*partition).iter().all(|&peer| replica.has_given(peer, is_own))
        };
        // Whoever leaves first hands over what it keeps for others: nobody listens to it afterwards.
        let may_end = |newest: &Layout| newest.member(me).is_some() || self.hints.are_gone();
        let is_settled = |newest: &Layout| {
            may_end(newest)
                && newest.held_by(me).all(has)
                && cx.shared.replicas.iter().all(|held| has_given(newest, held))
        };
        let has_synced = cx.layout.is_changing() && cx.layout.newest().is_some_and(is_settled);
        self.cluster.follow(cx, oldest_write, has_synced);
        self.cluster.save(cx);
    }

    // --- Clients -----------------------------------------------------------------------------------------------

    fn on_call(&mut self, now: Now, id: CallId, call: Call, fx: &mut Effects) {
        let stats = &mut self.shared.stats;
        match &call {
            Call::Get { .. } => stats.gets += 1,
            Call::Put { .. } => stats.puts += 1,
            Call::List { .. } => stats.lists += 1,
            Call::Cluster { .. } => {}
        }
        let admitted = self.admit(&call);
        let cx = &mut with_cx!(self, now, fx);
        let deadline = match admitted {
            Ok(timeout) => now.mono.after(timeout),
            Err(failure) => {
                sometimes!(cx.shared.moments, CallsLimit, matches!(failure, Failure::Overloaded { .. }));
                cx.shared.stats.overloaded += u64::from(matches!(failure, Failure::Overloaded { .. }));
                return cx.reply(id, Reply::Failed(failure));
            }
        };
        match call {
            Call::Get { key, wish } => {
                let r = wish.quorum.map_or(cx.config.r, usize::from);
                let terms = terms(cx, &wish);
                self.gets.start(cx, &self.peers, id, key, r, terms, deadline);
            }
            Call::Put { change, wish } => {
                let w = wish.quorum.map_or(cx.config.w, usize::from);
                let terms = terms(cx, &wish);
                self.puts.start(cx, &self.peers, id, change, w, terms, deadline);
            }
            Call::List { after, limit, .. } => self.lists.start(cx, &self.peers, id, after, limit, deadline),
            Call::Cluster { call, .. } => self.cluster.on_call(cx, id, call, deadline),
        }
    }

    /// The time that a call has, if it may be served at all.
    fn admit(&self, call: &Call) -> Result<Duration, Failure> {
        let limits = &self.config.limits;
        if self.is_fenced {
            return Err(Failure::NotTaken(Refusal::Fenced));
        }
        let is_member = self.layout.newest().is_some_and(|newest| newest.member(self.config.node).is_some());
        if !is_member && !matches!(call, Call::Cluster { .. }) {
            return Err(Failure::NotTaken(Refusal::NotAMember));
        }
        for (load, limit) in [(self.calls(), limits.calls), (self.slots.load(), limits.peer_requests)] {
            if load >= limit && !planted!(self.shared.plants, LimitIgnored) {
                return Err(Failure::Overloaded { limit: u32::try_from(limit).unwrap_or(u32::MAX) });
            }
        }
        match call {
            Call::Get { key, wish } => {
                self.check_key(key)?;
                self.check_wish(wish)
            }
            Call::Put { change, wish } => {
                self.check_change(change)?;
                self.check_wish(wish)
            }
            Call::List { wish, .. } | Call::Cluster { wish, .. } => self.check_wish(wish),
        }
    }

    fn check_key(&self, key: &Key) -> Result<(), Failure> {
        let (bytes, max) = (key.0.len(), self.config.limits.key_bytes);
        if bytes == 0 {
            return Err(Failure::KeyEmpty);
        }
        if bytes > max {
            return Err(Failure::KeyTooLong { bytes: bytes as u64, max: max as u64 });
        }
        Ok(())
    }

    fn check_change(&self, change: &message::Change) -> Result<(), Failure> {
        self.check_key(&change.key)?;
        let Some(value) = &change.value else { return Ok(()) };
        let limits = &self.config.limits;
        let (bytes, max) = (value.bytes.len(), limits.value_bytes);
        if bytes > max {
            return Err(Failure::ValueTooLarge { bytes: bytes as u64, max: max as u64 });
        }
        let (bytes, max) = (value.content_type.len(), limits.content_type_bytes);
        if bytes > max {
            return Err(Failure::ContentTypeTooLong { bytes: bytes as u64, max: max as u64 });
        }
        if let Some(asked) = value.ttl.filter(|&asked| asked > TTL_MAX) {
            return Err(Failure::BadTtl { asked, max: TTL_MAX });
        }
        Ok(())
    }

    fn check_wish(&self, wish: &Wish) -> Result<Duration, Failure> {
        let replicas = self.layout.newest().map_or(self.config.replicas, |newest| newest.copies());
        if let Some(asked) = wish.quorum
            && !(1..=replicas).contains(&usize::from(asked))
        {
            return Err(Failure::BadQuorum { asked, replicas: replicas as u8 });
        }
        if let Some(asked) = wish.primaries.filter(|&asked| usize::from(asked) > replicas) {
            return Err(Failure::BadQuorum { asked, replicas: replicas as u8 });
        }
        let (asked, max) = (wish.timeout.unwrap_or(self.config.timeout), self.config.timeout_max);
        if asked.is_zero() || asked > max {
            return Err(Failure::BadTimeout { asked, max });
        }
        Ok(asked)
    }

    // --- Peers -------------------------------------------------------------------------------------------------

    fn on_peer(&mut self, now: Now, from: NodeId, view: View, message: Message, fx: &mut Effects) {
        if from == self.config.node {
            fx.push(Effect::Note(Note::Stranger { from }));
            return;
        }
        let Some(message) = self.on_membership(now, from, message, fx) else { return };
        if self.layout.newest().is_none() {
            let cx = &mut with_cx!(self, now, fx);
            if view == View::FIXED && cx.config.members.binary_search(&from).is_ok() {
                self.cluster.on_fixed(cx);
            } else if view.newest > 0 {
                self.cluster.on_other_view(cx, from);
            }
            self.turn_away(now, from, message, fx);
            return;
        }
        if !self.layout.has(from) {
            let is_other = view.newest != self.layout.view().newest;
            let cx = &mut with_cx!(self, now, fx);
            if is_other {
                self.cluster.on_other_view(cx, from);
            } else {
                cx.note(Note::Stranger { from });
            }
            self.turn_away(now, from, message, fx);
            return;
        }
        self.peers.on_heard(from);
        if let Some(op) = request(&message) {
            self.peers.learn(from, op.origin);
        }
        if self.uses_our_identity(&message) && !self.is_fenced {
            self.is_fenced = true;
            self.hints.stop();
            fx.push(Effect::Note(Note::Fenced { by: from }));
        }
        let busy = self.slots.load() >= self.config.limits.peer_requests;
        let cx = &mut with_cx!(self, now, fx);
        sometimes!(cx.shared.moments, PeerRequestsLimit, busy);
        let mine = cx.layout.view();
        if request(&message).is_some() && view.newest < mine.newest && view.newest > 0 {
            self.cluster.on_other_view(cx, from);
        }
        let refusal = match (self.is_fenced, busy) {
            (true, _) => Some(Refusal::Fenced),
            (false, true) => Some(Refusal::Overloaded),
            (false, false) => self.stale(view, &message),
        };
        let cx = &mut with_cx!(self, now, fx);
        if let Some(refusal) = refusal
            && refuse(cx, from, &message, refusal)
        {
            return;
        }
        match message {
            Message::Forward { op, to, floor, change, w, timeout, terms } => {
                let deadline = now.mono.after(timeout.min(cx.config.timeout_max));
                let w = usize::from(w);
                self.puts.on_forward(cx, from, op, to, floor, change, w, terms, deadline, refusal);
            }
            Message::Forwarded { op, outcome } => {
                self.puts.on_forwarded(cx, &mut self.peers, from, op, outcome)
            }
            Message::Store { op, key, dot, delta } => {
                let dots = Vec::from([dot]);
                let task = Task::Join { object: delta, dots, why: Join::Delta };
                cx.access(key, Waiter::Store { to: from, op }, task);
            }
            Message::Stored { op, outcome } => {
                if cx.has_asked(op) && !self.hints.on_stored(cx, &self.peers, from, op.n, outcome) {
                    self.puts.on_stored(cx, &self.peers, from, op, outcome);
                }
            }
            Message::Hint { op, target, key, dot, delta } => {
                self.hints.on_hint(cx, from, op, target, (key, dot, delta));
            }
            Message::FetchHints { op, key } => {
                self.hints.on_fetch(cx, key, Waiter::Fetch { to: from, op });
            }
            Message::Fetch { op, key } => {
                let partition = cx.layout.partition(&key);
                let is_incomplete = cx.replica(partition).is_some_and(|replica| !replica.complete);
                if is_incomplete && !planted!(cx.shared.plants, CatchingUpServes) {
                    sometimes!(cx.shared.moments, FetchRefused);
                    // "Not here yet" must never read as "deleted".
                    return cx.send(from, Message::Fetched { op, outcome: Err(Refusal::CatchingUp) });
                }
                cx.access(key, Waiter::Fetch { to: from, op }, Task::Load);
            }
            Message::Fetched { op, outcome } => self.gets.on_fetched(cx, from, op, outcome),
            Message::Repair { key, object } => {
                cx.access(key, Waiter::Nobody, get::repair(object));
            }
            Message::Probe { op, digest } => self.sync.on_probe(cx, from, view, op, digest),
            Message::Probed { op, outcome } => self.sync.on_probed(cx, from, view, op, outcome),
            Message::Ask { op, partition, clock } => self.sync.on_ask(cx, from, op, partition, clock),
            Message::Give { op, given } if self.scrub.has_asked(op) => {
                self.scrub.on_given(cx, from, op, given)
            }
            Message::Give { op, given } => self.sync.on_give(cx, from, op, given),
            Message::Salvage { op, key } => {
                let partition = cx.layout.partition(&key);
                let Some(replica) = cx.replica(partition) else { return };
                let (clock, complete) = (Box::new(replica.clock().clone()), replica.complete);
                let waiter = Waiter::Salvage { to: from, op, key: key.clone(), clock, complete };
                cx.access(key, waiter, Task::Load);
            }
            Message::Pull { op, partition, after, until, have } => {
                self.sync.on_pull(cx, from, op, partition, (after, until), have);
            }
            Message::Page { op, outcome } => self.sync.on_page(cx, from, op, outcome),
            Message::Compare { op, partition, after, spans } => {
                self.sync.on_compare(cx, from, op, partition, after, spans);
            }
            Message::Compared { op, outcome } => self.sync.on_compared(cx, from, op, outcome),
            Message::List { op, first, last, after, limit } => {
                self.lists.on_list(cx, &self.peers, from, op, (first, after, last), limit);
            }
            Message::Listed { op, outcome } => self.lists.on_listed(cx, &self.peers, from, op, outcome),
            Message::Prepare { op, epoch, ballot } => self.cluster.on_prepare(cx, from, op, epoch, ballot),
            Message::Promise { op, outcome } => self.cluster.on_promise(cx, from, op, outcome),
            Message::Accept { op, ballot, layout } => self.cluster.on_accept(cx, from, op, ballot, layout),
            Message::Accepted { op, outcome } => self.cluster.on_accepted(cx, from, op, outcome),
            Message::Swim { bytes } => {
                self.probe(now, fx, |swim, acts| swim.on_message(now.mono, from, &bytes, acts));
            }
            Message::Hail { .. } | Message::Gossip { .. } | Message::State { .. } => {
                unreachable!("they were taken before")
            }
        }
    }

    /// Answers a node with which this one shares no layout. It may well be a member that has heard of a change before
    /// this node has, and counts on an answer.
    fn turn_away(&mut self, now: Now, from: NodeId, message: Message, fx: &mut Effects) {
        let cx = &mut with_cx!(self, now, fx);
        let refusal = Refusal::NotAMember;
        match message {
            Message::Forward { op, to, floor, change, w, timeout, terms } => {
                let deadline = now.mono.after(timeout.min(cx.config.timeout_max));
                let w = usize::from(w);
                self.puts.on_forward(cx, from, op, to, floor, change, w, terms, deadline, Some(refusal));
            }
            message => {
                refuse(cx, from, &message, refusal);
            }
        }
    }

    /// Takes what anybody may send, members or not. Gives back what it does not take.
    fn on_membership(
        &mut self,
        now: Now,
        from: NodeId,
        message: Message,
        fx: &mut Effects,
    ) -> Option<Message> {
        let cx = &mut with_cx!(self, now, fx);
        match message {
            Message::Hail { member, life, answers } => {
                self.peers.learn(from, life);
                self.cluster.on_hail(cx, from, member, life, answers);
            }
            Message::Gossip { digest } => self.cluster.on_gossip(cx, from, digest),
            Message::State { state, wants_answer } => self.cluster.on_state(cx, from, *state, wants_answer),
            other => return Some(other),
        }
        None
    }

    /// Why a request that was made under other layouts than these is not served, if it is not. A version that knows no
    /// layouts works with the first.
    fn stale(&self, view: View, message: &Message) -> Option<Refusal> {
        let mine = self.layout.view();
        let is_stale = match message {
            Message::Forward { .. } | Message::Store { .. } | Message::Hint { .. } => {
                let acked = self.cluster.progress(self.config.node).ack;
                view.newest.max(1) < acked
            }
            Message::Fetch { .. } | Message::List { .. } => view.reads.max(1) < mine.oldest,
            _ => false,
        };
        is_stale.then_some(Refusal::StaleLayout)
    }

    /// Whether a message shows that another node lives this node's life, or knows more of it than it has minted.
    fn uses_our_identity(&self, message: &Message) -> bool {
        if request(message).is_some_and(|op| op.origin == self.life) {
            return true;
        }
        let (partition, clock) = match message {
            Message::Ask { partition, clock, .. } => (*partition, clock),
            Message::Give { given, .. } => (given.partition, &given.clock),
            // Pages do not name their partition, and the numbers of an earlier life stood for other ones.
            Message::Page { op, outcome: Ok(Page { clock, .. }) }
            | Message::Compared { op, outcome: Ok(Compared { clock, .. }) }
                if op.origin == self.life =>
            {
                match self.sync.pulling(op.n) {
                    Some(partition) => (partition, clock),
                    None => return false,
                }
            }
            _ => return false,
        };
        let given_up = self.shared.minted.get(&partition).copied().unwrap_or(0);
        let minted = self.shared.replicas.get(&partition).map_or(given_up, Replica::minted);
        clock.as_context().highest(self.life) > minted
    }
}

/// Where a monotonic clock would stand that had advanced from `first` to `last` as the wall clock has.
#[cfg(feature = "simulation")]
fn advanced(first: Now, last: Now) -> Mono {
    first.mono.after(Duration::from_nanos(last.wall.0.saturating_sub(first.wall.0)))
}

/// On which terms a call is served.
fn terms(cx: &Cx<'_>, wish: &Wish) -> Terms {
    let sloppy = wish.sloppy.unwrap_or(cx.config.sloppy);
    Terms { primaries: wish.primaries.unwrap_or(0), sloppy, stands_in: false }
}

/// The request that a message makes; None for answers and for what is never answered.
fn request(message: &Message) -> Option<OpId> {
    match message {
        Message::Forward { op, .. }
        | Message::Store { op, .. }
        | Message::Fetch { op, .. }
        | Message::Probe { op, .. }
        | Message::Ask { op, .. }
        | Message::Pull { op, .. }
        | Message::Compare { op, .. }
        | Message::List { op, .. }
        | Message::Salvage { op, .. }
        | Message::Prepare { op, .. }
        | Message::Accept { op, .. }
        | Message::Hint { op, .. }
        | Message::FetchHints { op, .. } => Some(*op),
        Message::Forwarded { .. }
        | Message::Stored { .. }
        | Message::Fetched { .. }
        | Message::Repair { .. }
        | Message::Probed { .. }
        | Message::Give { .. }
        | Message::Page { .. }
        | Message::Compared { .. }
        | Message::Listed { .. }
        | Message::Hail { .. }
        | Message::Gossip { .. }
        | Message::State { .. }
        | Message::Promise { .. }
        | Message::Accepted { .. }
        | Message::Swim { .. } => None,
    }
}

/// Answers a request with a refusal, or drops what needs no answer. False for answers, which are never refused, and for
/// forwards, which must first be told from their doubles.
fn refuse(cx: &mut Cx<'_>, to: NodeId, message: &Message, refusal: Refusal) -> bool {
    match *message {
        Message::Store { op, .. } | Message::Hint { op, .. } => {
            cx.send(to, Message::Stored { op, outcome: Err(refusal) });
        }
        Message::Fetch { op, .. } | Message::FetchHints { op, .. } => {
            cx.send(to, Message::Fetched { op, outcome: Err(refusal) })
        }
        Message::Pull { op, .. } => cx.send(to, Message::Page { op, outcome: Err(refusal) }),
        Message::Compare { op, .. } => cx.send(to, Message::Compared { op, outcome: Err(refusal) }),
        Message::List { op, .. } => cx.send(to, Message::Listed { op, outcome: Err(refusal) }),
        // Nobody need wait for its time to run out to learn that clocks cannot be compared.
        Message::Probe { op, .. } if refusal == Refusal::NotAMember => {
            cx.send(to, Message::Probed { op, outcome: Probed::OtherView });
        }
        Message::Probe { .. } | Message::Ask { .. } | Message::Repair { .. } | Message::Salvage { .. } => {}
        // Votes and the like have refusals of their own, and are small; a fenced node casts none.
        Message::Prepare { .. } | Message::Accept { .. } => return refusal == Refusal::Fenced,
        // A fenced node takes nothing over from anybody.
        Message::Give { .. } | Message::Page { .. } | Message::Compared { .. } | Message::Probed { .. } => {
            return refusal == Refusal::Fenced;
        }
        _ => return false,
    }
    true
}
