//! The stepped world: one heap of events, taken off one at a time.
//!
//! Time is a number of nanoseconds that jumps from event to event; ties go by the order in which events were put
//! down. Under madsim its virtual clock is moved along and read back before every event, so that whatever asks it
//! for the time is told the same as the nodes are. Every message is encoded, sent over links of our own and decoded. A
//! run has three parts: the nodes start (and, in most scenarios, become ready), the clients call while faults come
//! and go, and then everything is healed and the world must come to rest. Completions and timers belong to one life of a
//! node; those of an earlier one are dropped. The whole world can be cloned at any event.

use godown_core::effect::{Class, Effect, Effects, ReadAck, Scan, WriteAck};
use godown_core::input::{Input, Reply};
use godown_core::layout::Layout;
use godown_core::note::Note;
use godown_core::stored::RowKey;
use godown_core::time::{Mono, Now, Wall};
use godown_core::{Plants, wire};

use super::agenda::Agenda;
use super::network::Links;
use super::trace::Trace;
use super::{Clock, Ending, Options, Outcome};
use crate::check::{Check, Failure};
use crate::digest::{Digest, Kind};
use crate::disk::Disk;
use crate::host::{Checks, Host};
use crate::record::Act;
use crate::rng::Rng;
use crate::scenario::{Fault, MS, QUIET_BOUND, Scenario, Trouble, US, place_of};
use crate::workload::{Todo, Workload, identity};

/// The wall clock's reading when a run begins: in the year 2023.
pub(crate) const EPOCH: u64 = 1_700_000_000_000_000_000;

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
                Stepped::new(scenario, options, Time::Madsim { handle, start_ns }).run(options.traced)
            })
        }
        #[cfg(not(madsim))]
        Clock::Madsim => Stepped::new(scenario, options, Time::Own(0)).run(options.traced),
        Clock::Own => Stepped::new(scenario, options, Time::Own(0)).run(options.traced),
    }
}

/// What drives time. Both say the same.
#[derive(Clone)]
enum Time {
    Own(u64),
    #[cfg(madsim)]
    Madsim {
        handle: madsim::time::TimeHandle,
        start_ns: u64,
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
            Self::Madsim { handle, start_ns } => {
                let now_ns = elapsed(handle) - *start_ns;
                handle.advance(std::time::Duration::from_nanos(to_ns - now_ns));
            }
        }
        self.now_ns()
    }

    fn now_ns(&self) -> u64 {
        match self {
            Self::Own(now_ns) => *now_ns,
            #[cfg(madsim)]
            Self::Madsim { handle, start_ns } => elapsed(handle) - start_ns,
        }
    }
}

/// Something that will happen. `life` counts a node's starts and crashes: what belongs to an earlier one is dropped.
#[derive(Clone)]
enum Event {
    Start { node: usize },
    Frame { from: u16, to: u16, epoch: u32, frame: Vec<u8> },
    Tick { node: usize, life: u32 },
    Read { node: usize, life: u32, key: RowKey, ack: ReadAck },
    Scan { node: usize, life: u32, scan: Box<Scan> },
    Synced { node: usize, life: u32 },
    Flush { node: usize, life: u32 },
    Lazy { node: usize, life: u32, ack: WriteAck },
    Wake { session: usize },
    Begin { fault: usize },
    Spring { fault: usize },
    End { fault: usize },
    Heal,
    Look,
}

/// A node's place in the world: its disk, and the node while it is up.
#[derive(Clone, Default)]
struct Place {
    host: Option<Host>,
    /// For how many faults it is down.
    downs: u32,
    disk: Disk,
    life: u32,
    /// When the one timer that counts will fire.
    tick_ns: Option<u64>,
    is_flush_due: bool,
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
    layout: Layout,
    time: Time,
    agenda: Agenda<Event>,
    places: Vec<Place>,
    links: Links,
    workload: Workload,
    /// For what nodes are born with.
    lives: Rng,
    /// For how long disks take, and what crashes leave.
    disks: Rng,
    /// For how late timers fire.
    timers: Rng,
    digest: Digest,
    trace: Trace,
    phase: Phase,
    /// Faults that wait for their moment.
    ambushes: Vec<usize>,
    failures: Vec<Failure>,
    inputs: u64,
    /// Buffers that are used again and again.
    fx: Effects,
    todo: Vec<Todo>,
    frames: Vec<Vec<u8>>,
}

impl<'a> Stepped<'a> {
    fn new(scenario: &'a Scenario, options: &Options, time: Time) -> Self {
        let stream = |purpose| Rng::stream(scenario.seed, purpose);
        let mut agenda = Agenda::default();
        for node in 0..scenario.nodes {
            agenda.push(0, Event::Start { node });
        }
        agenda.push(1, Event::Look);
        Self {
            scenario,
            plants: options.plants(),
            checks: options.checks,
            layout: Layout::new(&scenario.config(0)),
            time,
            agenda,
            places: vec![Place::default(); scenario.nodes],
            links: Links::new(scenario.nodes, scenario.network.clone(), stream("network")),
            workload: Workload::new(scenario, scenario.late_max_ns + MS),
            lives: stream("lives"),
            disks: stream("disks"),
            timers: stream("timers"),
            digest: Digest::default(),
            trace: Trace::new(options.traced),
            phase: Phase::Starting,
            ambushes: Vec::new(),
            failures: Vec::new(),
            inputs: 0,
            fx: Effects::new(),
            todo: Vec::new(),
            frames: Vec::new(),
        }
    }

    fn run(mut self, keep: bool) -> Outcome {
        let mut now_ns = 0;
        while self.phase != Phase::Over && self.failures.is_empty() {
            let (at_ns, event) = self.agenda.pop().expect("a world that is not over looks around again");
            now_ns = self.time.advance(at_ns);
            self.happen(now_ns, event);
        }
        let ending = Ending {
            scenario: self.scenario,
            layout: &self.layout,
            workload: &self.workload,
            disks: self.places.iter().map(|place| &place.disk).collect(),
            nodes: self.places.iter().map(|place| place.host.as_ref().map(Host::node)).collect(),
            is_complete: self.failures.is_empty(),
            failures: self.failures,
        };
        let (failures, history) = ending.judge(&mut self.digest, now_ns, keep);
        Outcome {
            seed: self.scenario.seed,
            digest: self.digest.value(),
            inputs: self.inputs,
            events: self.digest.events(),
            simulated_ns: now_ns,
            calls: self.workload.record().ops().len() as u64,
            failures,
            lines: self.trace.into_lines(),
            history,
        }
    }

    /// The one place where events become what they do.
    fn happen(&mut self, now_ns: u64, event: Event) {
        match event {
            Event::Start { node } => self.start(now_ns, node),
            Event::Frame { from, to, epoch, frame } => {
                self.arrive(now_ns, usize::from(from), usize::from(to), epoch, &frame);
                self.frames.push(frame);
            }
            Event::Tick { node, life } => self.tick(now_ns, node, life),
            Event::Read { node, life, key, ack } => {
                if self.is_alive(node, life) {
                    let value = self.places[node].disk.read(&key);
                    let bytes = value.as_deref().unwrap_or_default();
                    self.digest.event(now_ns, node, Kind::Read, bytes);
                    self.trace.line(now_ns, node, || format!("has read {key:?}: {} bytes", bytes.len()));
                    self.input(now_ns, node, ack.done(value));
                }
            }
            Event::Scan { node, life, scan } => {
                if self.is_alive(node, life) {
                    let (rows, more) = self.places[node].disk.scan(&scan);
                    let told = [rows.len() as u8, u8::from(more)];
                    self.digest.event(now_ns, node, Kind::Scan, &told);
                    self.trace.line(now_ns, node, || format!("has scanned {} rows", rows.len()));
                    self.input(now_ns, node, scan.into_ack().done(rows, more));
                }
            }
            Event::Synced { node, life } => self.synced(now_ns, node, life),
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
            Event::Wake { session } => {
                let places = &self.places;
                let is_up = |node: usize| places[node].host.is_some();
                self.workload.wake(self.scenario, session, now_ns, is_up, &mut self.todo);
                self.carry_out_todo(now_ns);
            }
            Event::Begin { fault } => self.begin(now_ns, fault),
            Event::Spring { fault } => self.spring(now_ns, fault),
            Event::End { fault } => self.end(now_ns, fault),
            Event::Heal => {
                self.digest.event(now_ns, 0, Kind::Heal, &[]);
                self.trace.note(now_ns, || "all faults are over".to_owned());
                self.phase = Phase::Settling { since_ns: now_ns };
                self.ambushes.clear();
                self.workload.stop(self.scenario, now_ns, &mut self.todo);
                self.carry_out_todo(now_ns);
            }
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
                if !self.scenario.starts_ready || self.places.iter().all(is_ready) {
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
                if for_ns > QUIET_BOUND || self.unrest().is_none() {
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
        self.trace.note(now_ns, || "the clients begin".to_owned());
        let over_ns = now_ns + self.scenario.length_ns;
        for (fault, Fault { at_ns, lasts_ns, what }) in self.scenario.faults.iter().enumerate() {
            let at_ns = now_ns + at_ns;
            self.agenda.push(at_ns, Event::Begin { fault });
            if !matches!(what, Trouble::Ambush { .. }) {
                self.agenda.push(over_ns.min(at_ns + lasts_ns), Event::End { fault });
            }
        }
        self.agenda.push(over_ns, Event::Heal);
        self.workload.start(now_ns, &mut self.todo);
        self.carry_out_todo(now_ns);
    }

    fn unrest(&self) -> Option<Failure> {
        Ending {
            scenario: self.scenario,
            layout: &self.layout,
            workload: &self.workload,
            disks: self.places.iter().map(|place| &place.disk).collect(),
            nodes: self.places.iter().map(|place| place.host.as_ref().map(Host::node)).collect(),
            failures: Vec::new(),
            is_complete: true,
        }
        .unrest()
    }

    fn begin(&mut self, now_ns: u64, fault: usize) {
        let what = &self.scenario.faults[fault].what;
        self.digest.event(now_ns, fault, Kind::Begin, &[]);
        self.trace.note(now_ns, || format!("fault: {what}"));
        self.links.begin(what);
        match *what {
            Trouble::Crash { node } => self.crash(now_ns, node),
            Trouble::Ambush { .. } => self.ambushes.push(fault),
            _ => {}
        }
    }

    /// An ambush has met its moment.
    fn spring(&mut self, now_ns: u64, fault: usize) {
        let Fault { lasts_ns, what, .. } = &self.scenario.faults[fault];
        let Trouble::Ambush { nodes, .. } = what else { return };
        self.digest.event(now_ns, fault, Kind::Spring, &[]);
        self.trace.note(now_ns, || format!("sprung: {what}"));
        for node in nodes {
            self.crash(now_ns, *node);
        }
        self.agenda.push(now_ns + lasts_ns, Event::End { fault });
    }

    fn end(&mut self, now_ns: u64, fault: usize) {
        let what = &self.scenario.faults[fault].what;
        self.digest.event(now_ns, fault, Kind::End, &[]);
        self.trace.note(now_ns, || format!("over: {what}"));
        self.links.end(what);
        match what {
            Trouble::Crash { node } => self.restart(now_ns, *node),
            Trouble::Ambush { nodes, .. } => nodes.iter().for_each(|node| self.restart(now_ns, *node)),
            _ => {}
        }
    }

    // --- Nodes -------------------------------------------------------------------------------------------------

    fn start(&mut self, now_ns: u64, node: usize) {
        let place = &mut self.places[node];
        let started =
            Host::start(self.scenario, node, &place.disk, &mut self.lives, self.plants, self.checks);
        match started {
            Ok(host) => {
                place.life += 1;
                self.digest.event(now_ns, node, Kind::Start, &host.node().life().0.to_le_bytes());
                self.trace.line(now_ns, node, || format!("starts as {}", host.node().life()));
                place.host = Some(host);
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
        self.places[node].downs += 1;
        if self.places[node].downs > 1 {
            return;
        }
        self.digest.event(now_ns, node, Kind::Crash, &[]);
        self.trace.line(now_ns, node, || "crashes".to_owned());
        let place = &mut self.places[node];
        place.host = None;
        place.life += 1;
        place.tick_ns = None;
        place.is_flush_due = false;
        place.disk.crash(&mut self.disks);
        self.workload.crash(self.scenario, node, now_ns, &mut self.todo);
        self.carry_out_todo(now_ns);
    }

    fn tick(&mut self, now_ns: u64, node: usize, life: u32) {
        if !self.is_alive(node, life) || self.places[node].tick_ns != Some(now_ns) {
            return;
        }
        self.places[node].tick_ns = None;
        let host = self.places[node].host.as_ref().expect("it is alive");
        if host.node().deadline().is_some_and(|deadline| deadline.0 <= now_ns) {
            self.digest.event(now_ns, node, Kind::Tick, &[]);
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
        if place.tick_ns.is_some_and(|tick_ns| tick_ns <= deadline.0) {
            return;
        }
        let at_ns = deadline.0.max(now_ns) + self.timers.below(self.scenario.late_max_ns);
        if place.tick_ns.is_none_or(|tick_ns| at_ns < tick_ns) {
            place.tick_ns = Some(at_ns);
            let life = place.life;
            self.agenda.push(at_ns, Event::Tick { node, life });
        }
    }

    /// Gives a node an input and carries out what it wants.
    fn input(&mut self, now_ns: u64, node: usize, input: Input) {
        let wall = EPOCH + now_ns + self.scenario.wall_ahead_ns[node];
        let now = Now { mono: Mono(now_ns), wall: Wall(wall) };
        self.inputs += 1;
        let mut fx = std::mem::take(&mut self.fx);
        let host = self.places[node].host.as_mut().expect("only nodes that are up get inputs");
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
        let life = self.places[node].life;
        match effect {
            Effect::Send { to, message } => {
                let to = place_of(to);
                let mut frame = self.frames.pop().unwrap_or_default();
                frame.clear();
                wire::encode(&message, &mut frame);
                self.digest.event(now_ns, node, Kind::Send, &frame[..wire::PREFIX + 4]);
                let flights = self.links.send(now_ns, node, to);
                self.trace.line(now_ns, node, || {
                    let fate = match flights {
                        [None, _] => "lost",
                        [Some(_), None] => "sent",
                        [Some(_), Some(_)] => "sent twice",
                    };
                    format!("→ n{} ({fate}) {message:?}", to + 1)
                });
                let (from, to) = (node as u16, to as u16);
                let [first, double] = flights;
                if let Some(double) = double {
                    let (epoch, frame) = (double.epoch, frame.clone());
                    self.agenda.push(double.at_ns, Event::Frame { from, to, epoch, frame });
                }
                match first {
                    Some(first) => {
                        let epoch = first.epoch;
                        self.agenda.push(first.at_ns, Event::Frame { from, to, epoch, frame });
                    }
                    None => self.frames.push(frame),
                }
            }
            Effect::Reply { id, reply } => {
                self.digest.event(now_ns, node, Kind::Reply, &told(&reply));
                if let Some(act) = answered(&reply) {
                    let is_due = |fault: &usize| self.scenario.faults[*fault].waits_for(act);
                    if let Some(at) = self.ambushes.iter().position(is_due) {
                        let fault = self.ambushes.remove(at);
                        self.agenda.push(now_ns, Event::Spring { fault });
                    }
                }
                self.trace.line(now_ns, node, || format!("answers call {}: {reply:?}", id.0));
                self.workload.reply(self.scenario, id, reply, now_ns, &mut self.todo);
                self.carry_out_todo(now_ns);
            }
            Effect::Read(read) => {
                let (key, ack) = read.into_parts();
                let at_ns = now_ns + self.disks.between(US, self.scenario.disk.read_max_ns);
                self.agenda.push(at_ns, Event::Read { node, life, key, ack });
            }
            Effect::Scan(scan) => {
                let scan = Box::new(scan);
                let at_ns = now_ns + self.disks.between(US, self.scenario.disk.read_max_ns);
                self.agenda.push(at_ns, Event::Scan { node, life, scan });
            }
            Effect::Write(write) => {
                let class = write.class();
                let (rows, ack) = write.into_parts();
                self.trace.line(now_ns, node, || {
                    let rows: Vec<String> = rows.iter().map(|row| format!("{:?}", row.key)).collect();
                    format!("writes ({class:?}) {}", rows.join(" "))
                });
                match class {
                    Class::Synced => {
                        self.places[node].disk.write(rows, Some(ack));
                        self.sync(now_ns, node);
                    }
                    Class::Lazy => {
                        self.places[node].disk.write(rows, None);
                        let at_ns = now_ns + self.disks.between(US, self.scenario.disk.read_max_ns);
                        self.agenda.push(at_ns, Event::Lazy { node, life, ack });
                        self.flush_later(now_ns, node);
                    }
                }
            }
            Effect::Note(note) => {
                self.trace.line(now_ns, node, || format!("notes {note:?}"));
                self.failures.extend(unexpected(node, &note));
            }
        }
    }

    fn carry_out_todo(&mut self, now_ns: u64) {
        let mut todo = std::mem::take(&mut self.todo);
        for todo in todo.drain(..) {
            match todo {
                Todo::Wake { session, at_ns } => self.agenda.push(at_ns, Event::Wake { session }),
                Todo::Call { node, id, call } => {
                    self.digest.event(now_ns, node, Kind::Call, &id.0.to_le_bytes());
                    self.trace.line(now_ns, node, || format!("is called ({}): {call:?}", id.0));
                    self.input(now_ns, node, Input::Call { id, call });
                }
            }
        }
        self.todo = todo;
    }

    // --- Messages and disks --------------------------------------------------------------------------------------

    fn arrive(&mut self, now_ns: u64, from: usize, to: usize, epoch: u32, frame: &[u8]) {
        if self.places[to].host.is_none() || !self.links.arrives(from, to, epoch) {
            return;
        }
        self.digest.event(now_ns, to, Kind::Arrive, frame);
        match decoded(frame) {
            Ok(message) => {
                self.trace.line(now_ns, to, || format!("← n{} {message:?}", from + 1));
                let from = crate::scenario::node_id(from);
                self.input(now_ns, to, Input::Peer { from, message });
            }
            Err(failure) => self.failures.push(failure),
        }
    }

    /// Begins a sync unless one is under way: the next one will cover what this one does not.
    fn sync(&mut self, now_ns: u64, node: usize) {
        let place = &mut self.places[node];
        if place.disk.start_sync() {
            let times = &self.scenario.disk;
            let at_ns = now_ns + self.disks.between(times.sync_min_ns, times.sync_max_ns);
            let life = place.life;
            self.agenda.push(at_ns, Event::Synced { node, life });
        }
    }

    fn synced(&mut self, now_ns: u64, node: usize, life: u32) {
        if !self.is_alive(node, life) {
            return;
        }
        let acks = self.places[node].disk.finish_sync();
        if self.places[node].disk.wants_sync() {
            self.sync(now_ns, node);
        } else if self.places[node].disk.is_dirty() {
            self.flush_later(now_ns, node);
        }
        for ack in acks {
            self.written(now_ns, node, ack);
            if !self.failures.is_empty() {
                return;
            }
        }
    }

    fn written(&mut self, now_ns: u64, node: usize, ack: WriteAck) {
        self.digest.event(now_ns, node, Kind::Written, &[]);
        self.trace.line(now_ns, node, || format!("has written {ack:?}"));
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
}

/// The message in a frame.
///
/// # Errors
/// [`Check::Wire`]: what a node encodes must be what a node decodes.
pub(crate) fn decoded(frame: &[u8]) -> Result<godown_core::message::Message, Failure> {
    let broken = |why: String| Failure::new(Check::Wire, why);
    let (prefix, rest) = frame
        .split_first_chunk::<{ wire::PREFIX }>()
        .ok_or_else(|| broken("a frame without a length".to_owned()))?;
    let length = wire::length(*prefix).map_err(|error| broken(error.to_string()))?;
    if length != rest.len() {
        return Err(broken(format!("a frame claims {length} bytes and has {}", rest.len())));
    }
    wire::decode(rest).map_err(|error| broken(error.to_string()))
}

/// What was done, if a reply says that it was.
pub(crate) fn answered(reply: &Reply) -> Option<Act> {
    match reply {
        Reply::Got { .. } => Some(Act::Read),
        Reply::Stored { .. } => Some(Act::Write),
        Reply::Listed { .. } | Reply::Failed(_) => None,
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
        Reply::Failed(failure) => format!("4{failure}").into_bytes(),
    }
}

/// Notes that nothing in this world gives a reason for.
pub(crate) fn unexpected(node: usize, note: &Note) -> Option<Failure> {
    let is_expected = matches!(note, Note::CaughtUp { .. } | Note::DriftRefused { .. });
    (!is_expected).then(|| Failure::new(Check::Noted, format!("n{} notes {note:?}", node + 1)))
}
