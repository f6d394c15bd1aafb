//! One node: routes inputs to machines and what they want of each other between them. It decides nothing itself.
//!
//! Between two inputs every invariant holds and nothing waits to be passed on: `handle` takes one input, lets the
//! machines act, passes their steps on until there are none, and leaves. What is to be done outside stands in the
//! effects; the driver may carry them out in any order but for writes, which land in theirs.

/// The machines, each borrowed apart, and what they are lent.
macro_rules! with_cx {
    ($node:ident, $now:expr, $fx:expr) => {{
        let Node { config, layout, life, shared, .. } = $node;
        Cx { now: $now, config, layout, life: *life, shared, fx: $fx }
    }};
}

mod calls;
mod messages;
mod report;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
#[cfg(feature = "simulation")]
use core::time::Duration;

use rand::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::causal::Clock;
use crate::cluster::{self, Cluster};
use crate::config::Config;
use crate::cx::{Answer, Cx, Owner, Shared, Step, Waiter};
use crate::effect::{Class, Effect, Effects, ReadDone, ScanDone, Ticket, WriteDone};
use crate::expiry::Expiry;
use crate::get::Gets;
pub use crate::hints::HintReport;
use crate::hints::{Hints, StandIns};
use crate::hlc::HlcSource;
use crate::id::{Life, NodeId};
use crate::input::{Boot, Input};
use crate::key::Partition;
use crate::layout::active::Layouts;
use crate::layout::{Layout, Member};
use crate::list::Lists;
use crate::message::Message;
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
pub use report::{ClusterReport, MemberReport};

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
        // Whoever ended while it took a partition over has rows of keys and of actors there, and no checkpoint yet.
        let stored = loaded.checkpoints.keys().chain(loaded.logs.keys()).chain(loaded.actors.keys()).copied();
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
                    Waiter::MendHints(n) => {
                        let outcome = match answer {
                            Answer::Loaded(object) => Ok(object),
                            Answer::Refused(refusal) => Err(refusal),
                            _ => unreachable!("a load is answered with an object or a refusal"),
                        };
                        let me = cx.me();
                        self.scrub.on_hints(cx, me, n, outcome);
                    }
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
}

/// Where a monotonic clock would stand that had advanced from `first` to `last` as the wall clock has.
#[cfg(feature = "simulation")]
fn advanced(first: Now, last: Now) -> Mono {
    first.mono.after(Duration::from_nanos(last.wall.0.saturating_sub(first.wall.0)))
}
