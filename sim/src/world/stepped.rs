//! The stepped world: one heap of events, taken off one at a time.
//!
//! Time is a number of nanoseconds that jumps from event to event; ties go by the order in which events were put
//! down. Under madsim its virtual clock is moved along and read back before every event, so that whatever asks it
//! for the time is told the same as the nodes are. Every message is encoded, sent over links of our own and decoded. A
//! run has three parts: the nodes start (and, in most scenarios, become ready), the clients call while faults come
//! and go, and then everything is healed and the world must come to rest. Completions and timers belong to one life of a
//! node; those of an earlier one are dropped. The whole world can be cloned at any event, which is what forks are made of.

use std::collections::VecDeque;

use godown_core::effect::{Class, Effect, Effects, ReadAck, Scan, WriteAck};
use godown_core::id::{CallId, Life};
use godown_core::input::{Call, Input, Reply};
use godown_core::layout::Layout;
use godown_core::layout::active::View;
use godown_core::message::Message;
use godown_core::note::Note;
use godown_core::stored::{self, Row, RowKey};
use godown_core::time::{Mono, Now, Wall};
use godown_core::{Plant, Plants, wire};

use super::agenda::Agenda;
use super::network::{Fate, Links};
use super::operator::{self, Operator};
use super::trace::{FlightId, Trace};
use super::troubles::{Begun, Over, Takes, Troubles};
use super::{Clock, Ending, Options, Outcome, newest};
use crate::check::{Check, Failure, expired};
use crate::digest::{Digest, Kind as Happens};
use crate::disk::Disk;
use crate::host::{Checks, Host};
use crate::moment::{Moment, Moments};
use crate::record::{Act, Record};
use crate::rng::Rng;
use crate::scenario::{Kind, MS, QUIET_BOUND, SECOND, Scenario, US, key_name, node_id, place_of};
use crate::story;
use crate::workload::{Manner, Todo, Workload, identity};

/// The wall clock's reading when a run begins: in the year 2023.
pub(crate) const EPOCH: u64 = 1_700_000_000_000_000_000;

/// No run has more events; one that would goes round in circles.
const EVENTS_MAX: u64 = 50_000_000;

/// What a disk says that fails to read because a fault wants it to.
pub(crate) const READ_FAILED: &str = "the disk could not read it";
/// What a disk says that is full because a fault wants it to be.
pub(crate) const DISK_FULL: &str = "the disk is full";

/// Runs a scenario to its end, or to the first failure.
#[must_use]
pub fn run(scenario: &Scenario, options: &Options) -> Outcome {
    match options.clock {
        #[cfg(madsim)]
        Clock::Madsim => {
            let runtime =
                madsim::runtime::Runtime::with_seed_and_config(scenario.seed, madsim::Config::default());
            runtime.block_on(async {
                let handle = madsim::time::TimeHandle::current();
                let start_ns = elapsed(&handle);
                Stepped::new(scenario, options, Time::Madsim { handle, start_ns, now_ns: 0 }).run()
            })
        }
        #[cfg(not(madsim))]
        Clock::Madsim => Stepped::new(scenario, options, Time::Own(0)).run(),
        Clock::Own => Stepped::new(scenario, options, Time::Own(0)).run(),
    }
}

/// Runs a scenario to a moment, and from there on so many times, each with luck of its own: latencies, disk times, what
/// crashes leave. What each fork broke, None for those that held every check; and the moment, which is the run's end if
/// it ended before.
///
/// Only the world's own clock can be in several runs at once, so that is the one that is used.
#[must_use]
pub fn fork(scenario: &Scenario, options: &Options, at_ns: u64, forks: u64) -> (u64, Vec<Option<Failure>>) {
    let mut trunk = Stepped::new(scenario, options, Time::Own(0));
    trunk.trace = Trace::new(false);
    while trunk.is_going() && trunk.agenda.next_ns().is_some_and(|next_ns| next_ns <= at_ns) {
        trunk.step();
    }
    let now_ns = trunk.time.now_ns();
    let one = |fork: u64| {
        let mut world = trunk.clone();
        let stream = |purpose| Rng::stream(scenario.seed ^ (fork + 1).rotate_right(16), purpose);
        world.links.reseed(stream("network"));
        (world.lives, world.disks, world.timers) = (stream("lives"), stream("disks"), stream("timers"));
        world.run().failures.into_iter().next()
    };
    (now_ns, (0..forks).map(one).collect())
}

/// What drives time. Both say the same.
#[derive(Clone)]
enum Time {
    Own(u64),
    #[cfg(madsim)]
    Madsim {
        handle: madsim::time::TimeHandle,
        start_ns: u64,
        now_ns: u64,
    },
}

#[cfg(madsim)]
fn elapsed(handle: &madsim::time::TimeHandle) -> u64 {
    u64::try_from(handle.elapsed().as_nanos()).expect("no run lasts for centuries")
}

impl Time {
    /// Moves on to a moment that is not before the present one, and reads the clock.
    fn advance(&mut self, to_ns: u64) -> u64 {
        match self {
            Self::Own(now_ns) => *now_ns = to_ns,
            #[cfg(madsim)]
            Self::Madsim { handle, start_ns, now_ns } => {
                handle.advance(std::time::Duration::from_nanos(to_ns - *now_ns));
                *now_ns = elapsed(handle) - *start_ns;
            }
        }
        self.now_ns()
    }

    fn now_ns(&self) -> u64 {
        match self {
            Self::Own(now_ns) => *now_ns,
            #[cfg(madsim)]
            Self::Madsim { now_ns, .. } => *now_ns,
        }
    }
}

/// A message on its way.
#[derive(Clone)]
struct Packet {
    from: u16,
    to: u16,
    epoch: u32,
    /// What its receiver's lives were counted at when it left.
    life: u32,
    is_double: bool,
    is_altered: bool,
    id: FlightId,
    frame: Vec<u8>,
}

/// Something that will happen. `life` counts a node's starts and crashes: what belongs to an earlier one is dropped.
#[derive(Clone)]
enum Event {
    Start { node: usize },
    Frame(Packet),
    Tick { node: usize, life: u32, at_ns: u64 },
    Read { node: usize, life: u32, key: RowKey, ack: ReadAck, fails: bool },
    Scan { node: usize, life: u32, scan: Box<Scan>, fails: bool },
    Synced { node: usize, life: u32 },
    Flush { node: usize, life: u32 },
    Lazy { node: usize, life: u32, ack: WriteAck },
    Refuse { node: usize, life: u32, ack: WriteAck },
    Call { node: usize, life: u32, id: CallId, call: Box<Call> },
    Resume { node: usize, life: u32 },
    Wake { session: usize },
    Begin { fault: usize },
    Spring { fault: usize },
    End { fault: usize },
    Restart { node: usize, fault: usize },
    Operate,
    Heal,
    Look,
}

impl Event {
    /// The node that takes this as its work, which it cannot while it is held up.
    fn worker(&self) -> Option<usize> {
        match self {
            Self::Frame(packet) => Some(usize::from(packet.to)),
            Self::Tick { node, .. }
            | Self::Read { node, .. }
            | Self::Scan { node, .. }
            | Self::Synced { node, .. }
            | Self::Lazy { node, .. }
            | Self::Refuse { node, .. }
            | Self::Call { node, .. } => Some(*node),
            _ => None,
        }
    }
}

/// A node's place in the world: its disk, and the node while it is up.
#[derive(Clone, Default)]
struct Place {
    host: Option<Host>,
    /// For how many faults it is down.
    downs: u32,
    disk: Disk,
    /// The newest version of frames that it knows.
    speaks: u8,
    life: u32,
    /// The life that its core had last.
    lived: Option<Life>,
    /// When the one timer that counts will fire.
    tick_ns: Option<u64>,
    is_flush_due: bool,
    troubles: Troubles,
    /// For how many faults it is paused.
    pauses: u32,
    /// Until when it is busy with its last input.
    busy_ns: u64,
    /// What waits because it is paused or busy, and whether it will be taken up without being asked.
    waiting: VecDeque<Event>,
    is_resuming: bool,
    /// Until when nobody may complain of it: it was held up until just before.
    excused_ns: u64,
    /// Whether it has lost its disk and has not been ready since.
    is_refilling: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nodes start; clients begin when all are ready.
    Starting,
    /// Clients call, faults come and go.
    Running,
    /// All faults were over at this time.
    Settling { since_ns: u64 },
    /// The run is over.
    Over,
}

#[derive(Clone)]
struct Stepped<'a> {
    scenario: &'a Scenario,
    plants: Plants,
    checks: Checks,
    time: Time,
    agenda: Agenda<Event>,
    places: Vec<Place>,
    links: Links,
    workload: Workload,
    operator: Operator,
    /// Whether the operator will look around again.
    is_operating: bool,
    /// For what nodes are born with.
    lives: Rng,
    /// For how long disks take, and what crashes leave.
    disks: Rng,
    /// For how late timers fire, and which bits flip.
    timers: Rng,
    digest: Digest,
    trace: Trace,
    moments: Moments,
    /// What the cores have met that are no longer.
    core: super::CoreMoments,
    phase: Phase,
    /// Faults that wait for their moment.
    ambushes: Vec<usize>,
    failures: Vec<Failure>,
    /// Lives whose disks were lost.
    lost: Vec<Life>,
    inputs: u64,
    events: u64,
    /// A message that takes longer than this is late.
    late_ns: u64,
    /// Buffers that are used again and again.
    fx: Effects,
    todo: Vec<Todo>,
    frames: Vec<Vec<u8>>,
}

impl<'a> Stepped<'a> {
    fn new(scenario: &'a Scenario, options: &Options, time: Time) -> Self {
        let stream = |purpose| Rng::stream(scenario.seed, purpose);
        let mut agenda = Agenda::default();
        for node in 0..scenario.nodes() {
            agenda.push(0, Event::Start { node });
        }
        agenda.push(1, Event::Look);
        Self {
            scenario,
            plants: options.plants(),
            checks: options.checks,
            time,
            agenda,
            places: (0..scenario.nodes())
                .map(|node| Place { speaks: speaks(scenario, node), ..Place::default() })
                .collect(),
            links: Links::new(scenario.nodes(), &scenario.network, stream("network")),
            workload: Workload::new(scenario, slack(scenario)),
            operator: Operator::default(),
            is_operating: false,
            lives: stream("lives"),
            disks: stream("disks"),
            timers: stream("timers"),
            digest: Digest::default(),
            trace: Trace::new(options.traced),
            moments: Moments::default(),
            core: super::CoreMoments::default(),
            phase: Phase::Starting,
            ambushes: Vec::new(),
            failures: Vec::new(),
            lost: Vec::new(),
            inputs: 0,
            events: 0,
            late_ns: 4 * scenario.network.latency_max_ns,
            fx: Effects::new(),
            todo: Vec::new(),
            frames: Vec::new(),
        }
    }

    fn is_going(&self) -> bool {
        self.phase != Phase::Over && self.failures.is_empty()
    }

    fn step(&mut self) -> u64 {
        let (at_ns, event) = self.agenda.pop().expect("a world that is not over looks around again");
        let now_ns = self.time.advance(at_ns);
        self.events += 1;
        if self.events > EVENTS_MAX {
            let says = format!("after {EVENTS_MAX} events the world still goes round in circles");
            self.failures.push(Failure::new(Check::Quiet, says));
        }
        self.happen(now_ns, event);
        now_ns
    }

    fn run(mut self) -> Outcome {
        let mut now_ns = self.time.now_ns();
        while self.is_going() {
            now_ns = self.step();
        }
        for host in self.places.iter().filter_map(|place| place.host.as_ref()) {
            self.core.join(host.node().moments());
        }
        let ending = Ending {
            scenario: self.scenario,
            workload: &self.workload,
            operator: &self.operator,
            disks: self.places.iter().map(|place| &place.disk).collect(),
            nodes: self.places.iter().map(|place| place.host.as_ref().map(Host::node)).collect(),
            lost: self.lost(),
            is_complete: self.failures.is_empty(),
            failures: self.failures,
        };
        let mut digest = self.digest;
        let (inputs, moments, core, trace) = (self.inputs, self.moments, self.core, self.trace);
        ending.outcome(super::Run { inputs, now_ns, moments, core, trace }, &mut digest)
    }

    /// The one place where events become what they do.
    fn happen(&mut self, now_ns: u64, event: Event) {
        if let Some(node) = event.worker() {
            let place = &self.places[node];
            let is_held = place.pauses > 0 || now_ns < place.busy_ns || !place.waiting.is_empty();
            if is_held && place.host.is_some() {
                return self.hold(now_ns, node, event);
            }
        }
        self.work(now_ns, event);
    }

    fn work(&mut self, now_ns: u64, event: Event) {
        match event {
            Event::Start { node } => self.start(now_ns, node),
            Event::Frame(packet) => self.arrive(now_ns, packet),
            Event::Tick { node, life, at_ns } => self.tick(now_ns, node, life, at_ns),
            Event::Read { node, life, key, ack, fails } => {
                if self.is_alive(node, life) && !self.stalls(now_ns, node) {
                    self.read(now_ns, node, &key, ack, fails);
                } else if self.is_alive(node, life) {
                    let at_ns = self.places[node].troubles.stall_ns;
                    self.agenda.push(at_ns, Event::Read { node, life, key, ack, fails });
                }
            }
            Event::Scan { node, life, scan, fails } => {
                if self.is_alive(node, life) && !self.stalls(now_ns, node) {
                    self.scan(now_ns, node, *scan, fails);
                } else if self.is_alive(node, life) {
                    let at_ns = self.places[node].troubles.stall_ns;
                    self.agenda.push(at_ns, Event::Scan { node, life, scan, fails });
                }
            }
            Event::Synced { node, life } => {
                if self.is_alive(node, life) && self.stalls(now_ns, node) {
                    self.moments.meet(Moment::StalledSync);
                    self.agenda.push(self.places[node].troubles.stall_ns, Event::Synced { node, life });
                } else if self.is_alive(node, life) {
                    self.synced(now_ns, node);
                }
            }
            Event::Flush { node, life } => {
                if self.is_alive(node, life) {
                    self.places[node].is_flush_due = false;
                    self.sync(now_ns, node);
                }
            }
            Event::Lazy { node, life, ack } => {
                if self.is_alive(node, life) {
                    self.written(now_ns, node, ack);
                }
            }
            Event::Refuse { node, life, ack } => {
                if self.is_alive(node, life) {
                    self.digest.event(now_ns, node, Happens::Written, b"full");
                    self.trace
                        .line(now_ns, node, "refused", || (None, format!("refuses {ack:?}: {DISK_FULL}")));
                    self.moments.meet(Moment::WriteRefused);
                    self.input(now_ns, node, ack.failed(DISK_FULL.to_owned()));
                }
            }
            Event::Call { node, life, id, call } => {
                if self.is_alive(node, life) {
                    self.input(now_ns, node, Input::Call { id, call: *call });
                }
            }
            Event::Resume { node, life } => self.resume(now_ns, node, life),
            Event::Wake { session } => self.wake(now_ns, session),
            Event::Begin { fault } => self.begin(now_ns, fault),
            Event::Spring { fault } => self.spring(now_ns, fault),
            Event::End { fault } => self.end(now_ns, fault),
            Event::Restart { node, fault } => {
                self.digest.event(now_ns, fault, Happens::End, &[]);
                self.trace.end(now_ns, fault, &self.scenario.faults[fault]);
                self.restart(now_ns, node);
            }
            Event::Operate => self.operate(now_ns),
            Event::Heal => self.heal(now_ns),
            Event::Look => self.look(now_ns),
        }
    }

    fn is_alive(&self, node: usize, life: u32) -> bool {
        self.places[node].life == life
    }

    // --- The course of a run -----------------------------------------------------------------------------------

    /// Is it time for the next part?
    fn look(&mut self, now_ns: u64) {
        let next_ns = match self.phase {
            Phase::Starting => {
                let is_ready = |place: &Place| place.host.as_ref().is_some_and(|host| host.node().is_ready());
                let founders = self.scenario.founders();
                if !self.scenario.starts_ready || self.places[..founders].iter().all(is_ready) {
                    self.begin_clients(now_ns);
                    self.scenario.length_ns
                } else if now_ns > self.scenario.ready_bound_ns() {
                    self.failures.extend(self.unrest());
                    return;
                } else {
                    self.scenario.sync_every_ns / 16
                }
            }
            Phase::Running => MS,
            Phase::Settling { since_ns } => {
                let for_ns = now_ns - since_ns;
                let is_late = for_ns > quiet_bound(self.scenario)
                    && now_ns > rests_by(self.scenario, self.workload.record());
                if is_late || self.unrest().is_none() {
                    if for_ns > 10 * SECOND {
                        self.moments.meet(Moment::SlowToRest);
                    }
                    self.phase = Phase::Over;
                }
                50 * MS + for_ns / 8
            }
            Phase::Over => return,
        };
        self.agenda.push(now_ns + next_ns, Event::Look);
    }

    fn begin_clients(&mut self, now_ns: u64) {
        self.phase = Phase::Running;
        self.trace.note(now_ns, "begin", || "the clients begin".to_owned());
        let over_ns = now_ns + self.scenario.length_ns;
        for (place, fault) in self.scenario.faults.iter().enumerate() {
            let at_ns = over_ns.min(now_ns + fault.at_ns);
            self.agenda.push(at_ns, Event::Begin { fault: place });
            if !waits(fault.kind) {
                self.agenda.push(over_ns.min(at_ns + fault.lasts_ns), Event::End { fault: place });
            }
        }
        self.agenda.push(over_ns, Event::Heal);
        self.workload.start(self.scenario, now_ns, &mut self.todo);
        self.carry_out_todo(now_ns);
    }

    fn heal(&mut self, now_ns: u64) {
        self.digest.event(now_ns, 0, Happens::Heal, &[]);
        self.trace.note(now_ns, "heal", || "all faults are over".to_owned());
        self.phase = Phase::Settling { since_ns: now_ns };
        self.ambushes.clear();
        for place in &mut self.places {
            place.troubles.sync_failure = None;
        }
        self.workload.stop(self.scenario, now_ns, &mut self.todo);
        self.carry_out_todo(now_ns);
    }

    /// Lives that cannot vouch for what they wrote: over disks that were lost, and those of nodes that were given up.
    fn lost(&self) -> Vec<Life> {
        let given_up = self.scenario.given_up();
        let lives = self.places.iter().enumerate().filter(|(node, _)| given_up.contains(node));
        self.lost.iter().copied().chain(lives.filter_map(|(_, place)| place.lived)).collect()
    }

    fn unrest(&self) -> Option<Failure> {
        Ending {
            scenario: self.scenario,
            workload: &self.workload,
            operator: &self.operator,
            disks: self.places.iter().map(|place| &place.disk).collect(),
            nodes: self.places.iter().map(|place| place.host.as_ref().map(Host::node)).collect(),
            lost: self.lost(),
            failures: Vec::new(),
            is_complete: true,
        }
        .unrest()
    }

    fn wake(&mut self, now_ns: u64, session: usize) {
        let places = &self.places;
        let manner = |node: usize| {
            let place = &places[node];
            if place.host.is_none() {
                Manner::Down
            } else if place.pauses > 0 || place.troubles.cost_ns > 0 || !place.waiting.is_empty() {
                Manner::HeldUp(now_ns + SECOND)
            } else {
                Manner::HeldUp(place.excused_ns)
            }
        };
        self.workload.wake(self.scenario, session, now_ns, manner, &mut self.todo);
        self.carry_out_todo(now_ns);
    }

    // --- Faults --------------------------------------------------------------------------------------------------

    fn begin(&mut self, now_ns: u64, place: usize) {
        let fault = &self.scenario.faults[place];
        self.digest.event(now_ns, place, Happens::Begin, &[]);
        self.trace.begin(now_ns, place, fault, self.scenario.nodes());
        self.links.begin(place, fault);
        self.operator.take_on(self.scenario, place, fault, now_ns);
        self.operate_later(now_ns);
        if fault.kind.is_ambush() {
            self.ambushes.push(place);
            return;
        }
        for &node in &fault.nodes {
            let at = &mut self.places[node];
            let begun =
                at.troubles.begin(now_ns, place, fault, &mut at.disk, &mut self.disks, &mut self.moments);
            self.workload.jumped(node, now_ns, at.troubles.wall_ns);
            match begun {
                Begun::Crash => self.crash(now_ns, node),
                Begun::Stop => self.stop(now_ns, node),
                Begun::Pause => {
                    self.places[node].pauses += 1;
                    self.trace.spell(now_ns, node, "paused", true);
                }
                Begun::Slow => self.trace.spell(now_ns, node, "slow", true),
                Begun::Noted => self.record_states(now_ns, node),
            }
        }
    }

    /// The operator looks around.
    fn operate(&mut self, now_ns: u64) {
        self.is_operating = false;
        let nodes = self.places.iter().filter_map(|place| place.host.as_ref()).map(Host::node);
        let Some(newest) = newest(nodes).cloned() else { return self.operate_later(now_ns) };
        let places = &self.places;
        let can = |node: usize| {
            let host = places[node].host.as_ref().filter(|_| places[node].pauses == 0);
            let known = host.and_then(|host| host.node().layouts().newest());
            known.is_some_and(|known| known.member(node_id(node)).is_some())
        };
        // Whoever is new is known by its store, once that has a name.
        let store = |node: usize| match places[node].host.as_ref().map(Host::node)? {
            node if node.layouts().newest().is_some() => Some(Life::default()),
            node => Some(node.store()).filter(|store| *store != Life::default()),
        };
        for (node, id, call) in self.operator.due(self.scenario, now_ns, &newest, can, store) {
            self.call(now_ns, node, id, call);
        }
        self.operate_later(now_ns);
    }

    fn operate_later(&mut self, now_ns: u64) {
        if !self.operator.is_done() && !self.is_operating {
            self.is_operating = true;
            self.agenda.push(now_ns + operator::PAUSE_NS, Event::Operate);
        }
    }

    /// A client, or the operator, calls a node.
    fn call(&mut self, now_ns: u64, node: usize, id: CallId, call: Call) {
        self.digest.event(now_ns, node, Happens::Call, &id.0.to_le_bytes());
        self.trace.say(now_ns, node, || format!("is called ({}): {call:?}", id.0));
        let life = self.places[node].life;
        self.happen(now_ns, Event::Call { node, life, id, call: Box::new(call) });
    }

    /// An ambush has met its moment.
    fn spring(&mut self, now_ns: u64, place: usize) {
        let fault = &self.scenario.faults[place];
        self.digest.event(now_ns, place, Happens::Spring, &[]);
        self.trace.spring(now_ns, place, fault);
        self.moments.meet(Moment::AmbushSprung);
        for node in &fault.nodes {
            self.crash(now_ns, *node);
        }
        self.agenda.push(now_ns + fault.lasts_ns, Event::End { fault: place });
    }

    fn end(&mut self, now_ns: u64, place: usize) {
        let fault = &self.scenario.faults[place];
        self.digest.event(now_ns, place, Happens::End, &[]);
        self.trace.end(now_ns, place, fault);
        self.links.end(place, fault);
        for &node in &fault.nodes {
            let at = &mut self.places[node];
            let over = at.troubles.end(place, fault, &mut at.disk);
            if fault.kind == Kind::Upgrade {
                at.speaks = wire::VERSION_MAX;
            }
            self.workload.jumped(node, now_ns, at.troubles.wall_ns);
            match over {
                Over::Noted => {}
                Over::Restart => self.restart(now_ns, node),
                Over::Replace(disk, moment) => {
                    self.replace_disk(node, disk, moment);
                    self.restart(now_ns, node);
                }
                Over::CrashAndReplace(disk, moment) => {
                    self.crash(now_ns, node);
                    self.replace_disk(node, disk, moment);
                    self.restart(now_ns, node);
                }
                Over::Resume => {
                    self.places[node].pauses -= 1;
                    self.trace.spell(now_ns, node, "paused", false);
                    self.let_go(now_ns, node);
                }
                Over::Fast => {
                    self.places[node].busy_ns = now_ns;
                    self.trace.spell(now_ns, node, "slow", false);
                    self.let_go(now_ns, node);
                    // It may still be at its last input.
                    self.places[node].excused_ns += fault.amount;
                }
                Over::Honest => {
                    if self.places[node].host.is_some() && self.places[node].disk.is_dirty() {
                        self.flush_later(now_ns, node);
                    }
                }
            }
        }
    }

    /// The node is not held up any more, unless it is for another reason.
    fn let_go(&mut self, now_ns: u64, node: usize) {
        // What was called meanwhile has its time from now on.
        self.places[node].excused_ns = now_ns + self.scenario.timeout_ns + slack(self.scenario);
        self.take_up(now_ns, node);
    }

    fn replace_disk(&mut self, node: usize, disk: Disk, moment: Moment) {
        let place = &mut self.places[node];
        place.disk = disk;
        place.disk.set_lying(place.troubles.lies > 0);
        place.is_refilling = true;
        self.moments.meet(moment);
    }

    // --- Nodes -------------------------------------------------------------------------------------------------

    fn start(&mut self, now_ns: u64, node: usize) {
        let place = &mut self.places[node];
        let named = (node, is_fixed(self.scenario, node, place.speaks, place.life == 0));
        let host = Host::start(self.scenario, named, &place.disk, &mut self.lives, self.plants, self.checks);
        let host = match host {
            Err(failure) if failure.check == Check::Boot && place.troubles.is_damaged => {
                // What a server does with a store that it cannot read.
                self.trace
                    .line(now_ns, node, "note", || (None, format!("sets its store aside: {}", failure.says)));
                self.moments.meet(Moment::StoreSetAside);
                self.replace_disk(node, Disk::default(), Moment::Wiped);
                let disk = &self.places[node].disk;
                Host::start(self.scenario, named, disk, &mut self.lives, self.plants, self.checks)
            }
            host => host,
        };
        match host {
            Ok(host) => {
                let place = &mut self.places[node];
                place.life += 1;
                if self.scenario.losers().contains(&node) {
                    self.lost.extend(place.lived.replace(host.node().life()));
                }
                self.digest.event(now_ns, node, Happens::Start, &host.node().life().0.to_le_bytes());
                self.trace
                    .line(now_ns, node, "start", || (None, format!("starts as {}", host.node().life())));
                self.trace.spell(now_ns, node, "down", false);
                place.host = Some(host);
                self.record_states(now_ns, node);
                self.input(now_ns, node, Input::Tick);
            }
            Err(failure) => self.failures.push(failure),
        }
    }

    fn restart(&mut self, now_ns: u64, node: usize) {
        self.places[node].downs -= 1;
        if self.places[node].downs == 0 {
            self.start(now_ns, node);
        }
    }

    fn crash(&mut self, now_ns: u64, node: usize) {
        if self.take_down(now_ns, node) {
            self.digest.event(now_ns, node, Happens::Crash, &[]);
            self.trace.line(now_ns, node, "crash", || (None, "crashes".to_owned()));
            let place = &mut self.places[node];
            let lies = place.troubles.lies > 0;
            let was_dirty = place.disk.is_dirty() || lies;
            let lost = place.disk.crash(&mut self.disks, self.plants.has(Plant::TornBatchApplied));
            if lost > 0 {
                self.moments.meet(if lies { Moment::LieShown } else { Moment::CrashLost });
                place.is_refilling |= lies;
            } else if was_dirty {
                self.moments.meet(Moment::CrashKept);
            }
            self.record_states(now_ns, node);
        }
    }

    /// The node is stopped as for an upgrade: what it has written is durable.
    fn stop(&mut self, now_ns: u64, node: usize) {
        if self.take_down(now_ns, node) {
            self.digest.event(now_ns, node, Happens::Crash, b"in good order");
            self.trace.line(now_ns, node, "crash", || (None, "stops".to_owned()));
            if self.places[node].troubles.lies == 0 {
                self.places[node].disk.close();
            }
            self.record_states(now_ns, node);
        }
    }

    /// One more reason for the node to be down. True when it was up.
    fn take_down(&mut self, now_ns: u64, node: usize) -> bool {
        let place = &mut self.places[node];
        place.downs += 1;
        if place.downs > 1 {
            return false;
        }
        if let Some(host) = place.host.take() {
            self.core.join(host.node().moments());
        }
        place.life += 1;
        place.tick_ns = None;
        place.is_flush_due = false;
        place.waiting.clear();
        place.is_resuming = false;
        place.busy_ns = 0;
        self.trace.spell(now_ns, node, "down", true);
        let down = self.places.iter().filter(|place| place.host.is_none()).count();
        if down == self.places.len() {
            self.moments.meet(Moment::AllDown);
        } else if down * 2 > self.places.len() {
            self.moments.meet(Moment::MajorityDown);
        }
        self.operator.crash(node, now_ns);
        self.workload.crash(self.scenario, node, now_ns, &mut self.todo);
        self.carry_out_todo(now_ns);
        true
    }

    fn tick(&mut self, now_ns: u64, node: usize, life: u32, at_ns: u64) {
        if !self.is_alive(node, life) || self.places[node].tick_ns != Some(at_ns) {
            return;
        }
        self.places[node].tick_ns = None;
        let counted = self.scenario.clocks[node].counted(now_ns);
        let host = self.places[node].host.as_ref().expect("it is alive");
        if host.node().deadline().is_some_and(|deadline| deadline.0 <= counted) {
            self.digest.event(now_ns, node, Happens::Tick, &[]);
            self.input(now_ns, node, Input::Tick);
        } else {
            self.arm(now_ns, node);
        }
    }

    /// Keeps one timer per node: a deadline that moves away leaves the timer as it is, to be armed again when it fires.
    fn arm(&mut self, now_ns: u64, node: usize) {
        let place = &mut self.places[node];
        let Some(host) = &place.host else { return };
        let Some(deadline) = host.node().deadline() else { return };
        let due_ns = self.scenario.clocks[node].moment(deadline.0);
        if place.tick_ns.is_some_and(|tick_ns| tick_ns <= due_ns) {
            return;
        }
        let at_ns = due_ns.max(now_ns + 1) + self.timers.below(self.scenario.late_max_ns);
        if place.tick_ns.is_none_or(|tick_ns| at_ns < tick_ns) {
            place.tick_ns = Some(at_ns);
            let life = place.life;
            self.agenda.push(at_ns, Event::Tick { node, life, at_ns });
        }
    }

    /// The node is paused or busy: this waits until it is not.
    fn hold(&mut self, now_ns: u64, node: usize, event: Event) {
        self.places[node].waiting.push_back(event);
        self.take_up(now_ns, node);
    }

    /// Has the node take up what waits for it, as soon as it can.
    fn take_up(&mut self, now_ns: u64, node: usize) {
        let place = &mut self.places[node];
        if place.pauses == 0 && !place.is_resuming && !place.waiting.is_empty() {
            place.is_resuming = true;
            let (life, at_ns) = (place.life, place.busy_ns.max(now_ns));
            self.agenda.push(at_ns, Event::Resume { node, life });
        }
    }

    fn resume(&mut self, now_ns: u64, node: usize, life: u32) {
        if !self.is_alive(node, life) {
            return;
        }
        let place = &mut self.places[node];
        place.is_resuming = false;
        if place.pauses == 0
            && now_ns >= place.busy_ns
            && let Some(event) = place.waiting.pop_front()
        {
            self.moments.meet(Moment::PauseHeldUp);
            self.work(now_ns, event);
        }
        self.take_up(now_ns, node);
    }

    /// Gives a node an input and carries out what it wants.
    fn input(&mut self, now_ns: u64, node: usize, input: Input) {
        let clocks = &self.scenario.clocks[node];
        let counted = clocks.counted(now_ns);
        let place = &mut self.places[node];
        let wall = (EPOCH + clocks.ahead_ns + counted).saturating_add_signed(place.troubles.wall_ns);
        let now = Now { mono: Mono(counted), wall: Wall(wall) };
        self.inputs += 1;
        if place.troubles.cost_ns > 0 {
            place.busy_ns = now_ns + place.troubles.cost_ns;
        }
        let mut fx = std::mem::take(&mut self.fx);
        let host = place.host.as_mut().expect("only nodes that are up get inputs");
        if let Err(failure) = host.handle(node, now, input, &mut fx) {
            self.failures.push(failure);
            return;
        }
        for effect in fx.drain(..) {
            self.carry_out(now_ns, node, effect);
        }
        self.fx = fx;
        self.arm(now_ns, node);
    }

    fn carry_out(&mut self, now_ns: u64, node: usize, effect: Effect) {
        match effect {
            Effect::Send { to, view, message } => self.send(now_ns, node, place_of(to), view, &message),
            Effect::Members(_) => {}
            Effect::Reply { id, reply } => self.reply(now_ns, node, id, reply),
            Effect::Read(read) => {
                let (key, ack) = read.into_parts();
                let (at_ns, fails) = self.read_time(now_ns, node);
                let life = self.places[node].life;
                self.agenda.push(at_ns, Event::Read { node, life, key, ack, fails });
            }
            Effect::Scan(scan) => {
                let scan = Box::new(scan);
                let (at_ns, fails) = self.read_time(now_ns, node);
                let life = self.places[node].life;
                self.agenda.push(at_ns, Event::Scan { node, life, scan, fails });
            }
            Effect::Write(write) => {
                let class = write.class();
                let (rows, ack) = write.into_parts();
                self.write(now_ns, node, class, rows, ack);
            }
            Effect::Note(note) => {
                self.trace.line(now_ns, node, "note", || (None, format!("notes {note:?}")));
                let troubles = &self.places[node].troubles;
                let expected = Expected {
                    damage: troubles.is_damaged || troubles.is_rotten,
                    relapse: self.scenario.relapsed().contains(&node)
                        || (self.scenario.sloppy && self.scenario.changes_members()),
                    changes: self.scenario.changes_members(),
                };
                self.failures.extend(unexpected(node, &note, expected));
                if matches!(note, Note::CaughtUp { .. })
                    && self.places[node].is_refilling
                    && self.places[node].host.as_ref().is_some_and(|host| host.node().is_ready())
                {
                    self.places[node].is_refilling = false;
                    if self.phase == Phase::Running {
                        self.moments.meet(Moment::WipedServed);
                    }
                }
            }
        }
    }

    fn reply(&mut self, now_ns: u64, node: usize, id: CallId, reply: Reply) {
        self.digest.event(now_ns, node, Happens::Reply, &told(&reply));
        if let Some(act) = answered(&reply) {
            let is_due = |fault: &usize| self.scenario.faults[*fault].waits_for(act);
            if let Some(at) = self.ambushes.iter().position(is_due) {
                let fault = self.ambushes.remove(at);
                self.agenda.push(now_ns, Event::Spring { fault });
            }
        }
        self.trace.say(now_ns, node, || format!("answers call {}: {reply:?}", id.0));
        if operator::is_operators(id) {
            if let Some((node, id, call)) = self.operator.reply(id, &reply, now_ns) {
                self.call(now_ns, node, id, call);
            }
            return;
        }
        self.workload.reply(self.scenario, id, reply, now_ns, &mut self.todo);
        self.carry_out_todo(now_ns);
    }

    fn carry_out_todo(&mut self, now_ns: u64) {
        let mut todo = std::mem::take(&mut self.todo);
        for todo in todo.drain(..) {
            match todo {
                Todo::Wake { session, at_ns } => self.agenda.push(at_ns, Event::Wake { session }),
                Todo::Call { node, id, call } => self.call(now_ns, node, id, call),
            }
        }
        self.todo = todo;
    }

    // --- Messages ------------------------------------------------------------------------------------------------

    fn send(&mut self, now_ns: u64, node: usize, to: usize, view: View, message: &Message) {
        let mut frame = self.frames.pop().unwrap_or_default();
        frame.clear();
        let version = self.places[node].speaks.min(self.places[to].speaks);
        if !wire::encode(version, view, message, &mut frame) {
            if matches!(message, Message::Hint { .. }) {
                self.moments.meet(Moment::HintUnsaid);
            }
            return self.frames.push(frame);
        }
        self.digest.event(now_ns, node, Happens::Send, &frame[..wire::PREFIX + 4]);
        let fate = self.links.send(now_ns, node, to, frame.len());
        let (is_on, late_ns) = (self.trace.is_on(), self.late_ns);
        let lost = match fate {
            Fate::Cut => story::Fate::Cut,
            Fate::Lost => {
                if self.scenario.has(Kind::Bandwidth) {
                    self.moments.meet(Moment::QueueOverran);
                }
                story::Fate::Lost
            }
            Fate::Sent { first, double, is_corrupted } => {
                let life = self.places[to].life;
                for (flight, is_double) in
                    double.map(|double| (double, true)).into_iter().chain([(first, false)])
                {
                    let is_altered = is_corrupted && !is_double;
                    let id = if is_on {
                        self.trace.sent(now_ns, (node, to), message, Ok(flight.at_ns), is_double, late_ns)
                    } else {
                        FlightId::default()
                    };
                    let mut bytes = if is_double { frame.clone() } else { std::mem::take(&mut frame) };
                    if is_altered {
                        alter(&mut bytes, &mut self.timers);
                    }
                    let packet = Packet {
                        from: node as u16,
                        to: to as u16,
                        epoch: flight.epoch,
                        life,
                        is_double,
                        is_altered,
                        id,
                        frame: bytes,
                    };
                    self.agenda.push(flight.at_ns, Event::Frame(packet));
                }
                return;
            }
        };
        if is_on {
            self.trace.sent(now_ns, (node, to), message, Err(lost), false, late_ns);
        }
        self.frames.push(frame);
    }

    fn arrive(&mut self, now_ns: u64, packet: Packet) {
        let Packet { from, to, epoch, life, is_double, is_altered, id, frame } = packet;
        let (from, to) = (usize::from(from), usize::from(to));
        if !self.links.arrives(from, to, epoch) {
            self.moments.meet(Moment::CutUnderway);
            self.trace.met(now_ns, id, story::Fate::Cut);
        } else if self.places[to].host.is_none() {
            self.trace.met(now_ns, id, story::Fate::Dead);
        } else {
            if self.places[to].life != life {
                let moment = if is_double { Moment::DoubleMetNextLife } else { Moment::LateMetNextLife };
                self.moments.meet(moment);
            }
            self.digest.event(now_ns, to, Happens::Arrive, &frame);
            match decoded(&frame, self.plants.has(Plant::ChecksumUnchecked)) {
                Ok(_) if is_altered => {
                    let says =
                        format!("n{} takes a message from n{} that was altered on its way", to + 1, from + 1);
                    self.failures.push(Failure::new(Check::Wire, says).on(&[to, from]));
                }
                Ok((view, message)) => {
                    self.trace.met(now_ns, id, story::Fate::Arrived);
                    if self.places[from].speaks != self.places[to].speaks {
                        meet_mixed(&message, &mut self.moments);
                    }
                    let from = node_id(from);
                    self.input(now_ns, to, Input::Peer { from, view, message });
                }
                Err(_) if is_altered => {
                    self.moments.meet(Moment::AlteredRefused);
                    self.trace.met(now_ns, id, story::Fate::Corrupted);
                }
                Err(failure) => self.failures.push(failure.on(&[from])),
            }
        }
        if self.frames.len() < 64 {
            self.frames.push(frame);
        }
    }

    // --- Disks ---------------------------------------------------------------------------------------------------

    fn stalls(&self, now_ns: u64, node: usize) -> bool {
        now_ns < self.places[node].troubles.stall_ns
    }

    /// When a read that begins now is done, and whether it fails.
    fn read_time(&mut self, now_ns: u64, node: usize) -> (u64, bool) {
        let troubles = &self.places[node].troubles;
        let takes_ns = self.disks.between(US, self.scenario.disk.read_max_ns);
        let at_ns = now_ns + takes_ns + troubles.disk_extra(&mut self.disks);
        (at_ns, troubles.read_fails(&mut self.disks))
    }

    fn read(&mut self, now_ns: u64, node: usize, key: &RowKey, ack: ReadAck, fails: bool) {
        if fails {
            self.digest.event(now_ns, node, Happens::Read, b"failed");
            self.trace.line(now_ns, node, "read", || (key_of(key), format!("cannot read {key:?}")));
            self.moments.meet(Moment::ReadFailed);
            return self.input(now_ns, node, ack.failed(READ_FAILED.to_owned()));
        }
        let value = self.places[node].disk.read(key);
        let bytes = value.as_deref().unwrap_or_default();
        self.digest.event(now_ns, node, Happens::Read, bytes);
        let length = bytes.len();
        self.trace.line(now_ns, node, "read", || (key_of(key), format!("has read {key:?}: {length} bytes")));
        self.input(now_ns, node, ack.done(value));
    }

    fn scan(&mut self, now_ns: u64, node: usize, scan: Scan, fails: bool) {
        if fails {
            self.digest.event(now_ns, node, Happens::Scan, b"failed");
            self.trace.line(now_ns, node, "scan", || (None, "cannot scan".to_owned()));
            self.moments.meet(Moment::ReadFailed);
            return self.input(now_ns, node, scan.into_ack().failed(READ_FAILED.to_owned()));
        }
        let (rows, more) = self.places[node].disk.scan(&scan);
        let told = [rows.len() as u8, u8::from(more)];
        self.digest.event(now_ns, node, Happens::Scan, &told);
        self.trace.line(now_ns, node, "scan", || (None, format!("has scanned {} rows", rows.len())));
        self.input(now_ns, node, scan.into_ack().done(rows, more));
    }

    fn write(&mut self, now_ns: u64, node: usize, class: Class, rows: Vec<Row>, ack: WriteAck) {
        self.trace.line(now_ns, node, "write", || {
            let told: Vec<String> = rows.iter().map(|row| format!("{:?}", row.key)).collect();
            (rows.iter().find_map(|row| key_of(&row.key)), format!("writes ({class:?}) {}", told.join(" ")))
        });
        let life = self.places[node].life;
        let place = &mut self.places[node];
        let takes = place.troubles.takes(&mut self.disks);
        if takes == Takes::Not {
            let at_ns = now_ns + self.disks.between(US, self.scenario.disk.read_max_ns);
            return self.agenda.push(at_ns, Event::Refuse { node, life, ack });
        }
        let (owed, early) = match class {
            Class::Synced => (Some(ack), None),
            Class::Lazy => (None, Some(ack)),
        };
        match takes {
            Takes::Phantom => place.disk.pretend(owed),
            Takes::Misdirected => place.disk.misplace(rows, owed, &mut self.disks),
            Takes::Well | Takes::Not => place.disk.write(rows, owed),
        }
        self.record_states(now_ns, node);
        match early {
            None => self.sync(now_ns, node),
            Some(ack) => {
                let at_ns = now_ns + self.disks.between(US, self.scenario.disk.read_max_ns);
                self.agenda.push(at_ns, Event::Lazy { node, life, ack });
                self.flush_later(now_ns, node);
            }
        }
    }

    /// Begins a sync unless one is under way: the next one will cover what this one does not.
    fn sync(&mut self, now_ns: u64, node: usize) {
        if self.places[node].disk.start_sync() {
            let times = &self.scenario.disk;
            let usual_ns = self.disks.between(times.sync_min_ns, times.sync_max_ns);
            let takes_ns = usual_ns + self.places[node].troubles.disk_extra(&mut self.disks);
            let life = self.places[node].life;
            self.agenda.push(now_ns + takes_ns, Event::Synced { node, life });
        }
    }

    fn synced(&mut self, now_ns: u64, node: usize) {
        let place = &mut self.places[node];
        if let Some(fault) = place.troubles.sync_failure.take() {
            let lasts_ns = self.scenario.faults[fault].lasts_ns;
            if self.scenario.faults[fault].kind == Kind::AmbushSync {
                // On its disk, and nobody knows.
                drop(place.disk.finish_sync());
                self.trace.line(now_ns, node, "note", || (None, "its sync is done".to_owned()));
                self.crash(now_ns, node);
                return self.agenda.push(now_ns + lasts_ns, Event::Restart { node, fault });
            }
            if self.plants.has(Plant::SyncFailureIgnored) {
                // The pages count as clean from now on, and are on no disk.
                place.disk.set_lying(true);
                place.troubles.lies += 1;
            } else {
                self.moments.meet(Moment::SyncFailed);
                self.trace.line(now_ns, node, "note", || (None, "a sync failed, which stops it".to_owned()));
                self.crash(now_ns, node);
                return self.agenda.push(now_ns + lasts_ns, Event::Restart { node, fault });
            }
        }
        let acks = self.places[node].disk.finish_sync();
        self.record_states(now_ns, node);
        if self.places[node].disk.wants_sync() {
            self.sync(now_ns, node);
        } else if self.places[node].disk.is_dirty() {
            self.flush_later(now_ns, node);
        }
        let life = self.places[node].life;
        for ack in acks {
            self.happen(now_ns, Event::Lazy { node, life, ack });
            if !self.failures.is_empty() {
                return;
            }
        }
    }

    fn written(&mut self, now_ns: u64, node: usize, ack: WriteAck) {
        self.digest.event(now_ns, node, Happens::Written, &[]);
        self.trace.line(now_ns, node, "written", || (None, format!("has written {ack:?}")));
        self.input(now_ns, node, ack.done());
    }

    fn flush_later(&mut self, now_ns: u64, node: usize) {
        let place = &mut self.places[node];
        if !place.is_flush_due {
            place.is_flush_due = true;
            let life = place.life;
            let at_ns = now_ns + self.disks.between(US, self.scenario.disk.lazy_max_ns);
            self.agenda.push(at_ns, Event::Flush { node, life });
        }
    }

    /// What a node's disk holds of each key now, for the story.
    fn record_states(&mut self, now_ns: u64, node: usize) {
        if !self.trace.is_on() {
            return;
        }
        let disk = &self.places[node].disk;
        let nodes = self.places.iter().filter_map(|place| place.host.as_ref()).map(Host::node);
        let Some(layout) = newest(nodes) else { return };
        for (number, says, is_synced) in held(self.workload.record(), node, disk, layout) {
            self.trace.state(now_ns, node, &key_name(number), says, is_synced);
        }
    }
}

/// What a disk holds of each key that its node is to hold: the key's number, its siblings, whether a crash leaves it so.
pub(crate) fn held(record: &Record, node: usize, disk: &Disk, layout: &Layout) -> Vec<(u32, String, bool)> {
    let mut held = Vec::new();
    let objects = disk.objects();
    for &number in record.keys() {
        let key = Scenario::key(number);
        let partition = layout.partition(&key);
        if !layout.holds(node_id(node), partition) {
            continue;
        }
        let says = match objects.of(partition, &key) {
            None => "[]".to_owned(),
            Some(Err(_)) => "damaged".to_owned(),
            Some(Ok(object)) => {
                let ids = object.siblings().map(|sibling| identity(&sibling.value).to_string());
                format!("[{}]", ids.collect::<Vec<_>>().join(" "))
            }
        };
        held.push((number, says, disk.is_durable(&stored::object_key(partition, &key))));
    }
    held
}

/// The newest version of frames that a node knows when the run begins.
pub(crate) fn speaks(scenario: &Scenario, node: usize) -> u8 {
    if node < scenario.outdated { wire::VERSION_MIN } else { wire::VERSION_MAX }
}

/// Whether a node takes its list of members for the first layout: versions do that know no layouts, and when a cluster begins
/// so do all whose list has a member of such a version. Later that would be a lie.
pub(crate) fn is_fixed(scenario: &Scenario, node: usize, speaks: u8, is_first: bool) -> bool {
    speaks < wire::VERSION_MAX || (is_first && scenario.outdated > 0 && node < scenario.founders())
}

/// What has arrived between a node that knows only the oldest version of frames and one that knows the newest.
pub(crate) fn meet_mixed(message: &Message, moments: &mut Moments) {
    match message {
        Message::Forward { .. } => moments.meet(Moment::MixedForward),
        Message::Store { .. } => moments.meet(Moment::MixedStore),
        Message::Give { given, .. } if !given.objects.is_empty() => moments.meet(Moment::MixedGive),
        Message::Page { outcome: Ok(_), .. } => moments.meet(Moment::MixedPage),
        _ => {}
    }
}

/// Faults that begin a second time: when what they wait for happens. Their end follows from that.
pub(crate) fn waits(kind: Kind) -> bool {
    kind.is_ambush() || matches!(kind, Kind::SyncFailure | Kind::AmbushSync)
}

/// By how much a call may be answered later than its time is up.
fn slack(scenario: &Scenario) -> u64 {
    let slowest = scenario.clocks.iter().map(|clocks| clocks.moment(scenario.timeout_ns)).max();
    scenario.late_max_ns + MS + slowest.unwrap_or(0).saturating_sub(scenario.timeout_ns)
}

/// How long the world may take to come to rest.
pub(crate) fn quiet_bound(scenario: &Scenario) -> u64 {
    QUIET_BOUND + if scenario.leaves_repair_to_reads() { 0 } else { 10 * scenario.sync_every_ns }
}

/// When everything that was to expire has to be gone.
pub(crate) fn rests_by(scenario: &Scenario, record: &Record) -> u64 {
    expired::over_ns(scenario, record) + quiet_bound(scenario)
}

/// Flips one to three bits, which every checksum worth its name notices.
pub(crate) fn alter(frame: &mut [u8], rng: &mut Rng) {
    let bits = frame.len() as u64 * 8;
    let first = rng.below(bits);
    let mut flip =
        |bit: u64| frame[usize::try_from(bit / 8).expect("it is below a length")] ^= 1 << (bit % 8);
    flip(first);
    // Others that are not the same one.
    for step in 0..rng.below(3) {
        flip((first + 1 + step * 13) % bits);
    }
}

/// The key whose object a row holds.
fn key_of(row: &RowKey) -> Option<godown_core::key::Key> {
    stored::key_of(row).map(|(_, key)| key)
}

/// The message in a frame; `blindly` is a planted bug that does not look at the checksum.
///
/// # Errors
/// [`Check::Wire`]: what a node encodes must be what a node decodes.
pub(crate) fn decoded(frame: &[u8], blindly: bool) -> Result<(View, Message), Failure> {
    let broken = |why: String| Failure::new(Check::Wire, why);
    let (prefix, rest) = frame
        .split_first_chunk::<{ wire::PREFIX }>()
        .ok_or_else(|| broken("a frame without a length".to_owned()))?;
    let length = wire::length(*prefix).map_err(|error| broken(error.to_string()))?;
    if length != rest.len() {
        return Err(broken(format!("a frame claims {length} bytes and has {}", rest.len())));
    }
    if blindly {
        let mut trusted = rest.to_vec();
        let sum = crc32fast::hash(&rest[4..]).to_le_bytes();
        trusted[..4].copy_from_slice(&sum);
        return wire::decode(&trusted).map_err(|error| broken(error.to_string()));
    }
    wire::decode(rest).map_err(|error| broken(error.to_string()))
}

/// What was done, if a reply says that it was.
pub(crate) fn answered(reply: &Reply) -> Option<Act> {
    match reply {
        Reply::Got { .. } => Some(Act::Read),
        Reply::Stored { .. } => Some(Act::Write),
        Reply::Listed { .. } | Reply::Cluster(_) | Reply::Failed(_) => None,
    }
}

/// What a reply says, for the digest.
pub(crate) fn told(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Got { siblings, .. } => {
            let ids = siblings.iter().flat_map(|sibling| identity(&sibling.value).to_le_bytes());
            std::iter::once(1).chain(ids).collect()
        }
        Reply::Stored { .. } => vec![2],
        Reply::Listed { keys, more } => vec![3, keys.len() as u8, u8::from(*more)],
        Reply::Cluster(reply) => format!("5{reply:?}").into_bytes(),
        Reply::Failed(failure) => format!("4{failure}").into_bytes(),
    }
}

/// What was done to a node, or to its cluster, that it may complain of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) damage: bool,
    pub(crate) relapse: bool,
    pub(crate) changes: bool,
}

/// Notes that nothing that was done to this node gives a reason for.
pub(crate) fn unexpected(node: usize, note: &Note, expected: Expected) -> Option<Failure> {
    let is_expected = match note {
        Note::CaughtUp { .. } | Note::DriftRefused { .. } | Note::Relayout { .. } | Note::Dropped { .. } => {
            true
        }
        // The damage was told of before.
        Note::Mended { .. } | Note::Unmendable { .. } => true,
        Note::Damaged { reason, .. } => reason == READ_FAILED || expected.damage,
        Note::ScanFailed { reason } => reason == READ_FAILED,
        Note::WriteFailed { reason } => reason == DISK_FULL,
        Note::HintDamaged { .. } => expected.damage,
        Note::WentBack { .. } => expected.relapse,
        Note::Stranger { .. } | Note::NotAMember { .. } => expected.changes,
        _ => false,
    };
    (!is_expected).then(|| Failure::new(Check::Noted, format!("n{} notes {note:?}", node + 1)).on(&[node]))
}
