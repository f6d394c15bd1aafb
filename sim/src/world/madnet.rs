//! The world on madsim's network: each node is a madsim node with tasks of its own, driven as a server's would be.
//!
//! A node has a driver that takes inputs from a queue or wakes for the core's deadline, a task that reads its disk, one that
//! syncs it, one that receives, and one per peer that sends whatever has gathered as one message: madsim makes every send and
//! receive last a millisecond at least. Cuts clog madsim's links, crashes kill its nodes, pauses pause them;
//! what troubles messages otherwise hits what one sender has gathered, and disks are ours. A supervisor wakes the clients and
//! makes the faults. All of it is one thread: the lock around what is shared is never waited for, and never held across an
//! await.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use godown_core::effect::{Class, Effect, Effects, ReadAck, Scan};
use godown_core::id::Life;
use godown_core::input::Input;
use godown_core::message::Message;
use godown_core::stored::RowKey;
use godown_core::time::{Mono, Now, Wall};
use godown_core::{Plant, Plants, wire};
use madsim::net::{Endpoint, NetSim};
use madsim::runtime::{Handle, NodeHandle, Runtime};
use madsim::time::{TimeHandle, sleep};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::agenda::Agenda;
use super::network::Links;
use super::operator::Operator;
use super::stepped::{
    DISK_FULL, EPOCH, Expected, READ_FAILED, alter, answered, decoded, held, is_fixed, meet_mixed,
    quiet_bound, rests_by, speaks, told, unexpected, waits,
};
use super::trace::Trace;
use super::troubles::{Begun, Over, Takes, Troubles};
use super::{CoreMoments, Ending, Options, Outcome};
use crate::check::{Check, Failure};
use crate::digest::{Digest, Kind};
use crate::disk::Disk;
use crate::host::{Checks, Host};
use crate::moment::{Moment, Moments};
use crate::rng::Rng;
use crate::scenario::{Kind as Fault, MS, SECOND, Scenario, US, key_name, node_id, place_of};
use crate::workload::{Manner, Todo, Workload};

/// Every send, receive and sleep lasts a millisecond at least, so calls are given so much more time.
const FLOORS: u64 = 60 * MS;
/// The tasks of a killed node are gone after so long. If it started before, its address would still be in use.
const GONE: u64 = 5 * MS;
/// The port that every node listens on.
const PORT: u16 = 7_000;

/// Runs a scenario to its end, or to the first failure.
#[must_use]
pub fn run(scenario: &Scenario, options: &Options) -> Outcome {
    let scenario = Scenario { timeout_ns: scenario.timeout_ns + FLOORS, ..scenario.clone() };
    let mut config = madsim::Config::default();
    let (min_ns, max_ns) = (scenario.network.latency_min_ns, scenario.network.latency_max_ns);
    config.net.send_latency = Duration::from_nanos(min_ns)..Duration::from_nanos(max_ns + 1);
    Runtime::with_seed_and_config(scenario.seed, config).block_on(supervise(scenario, options))
}

/// What the tasks share.
struct Shared {
    scenario: Scenario,
    plants: Plants,
    checks: Checks,
    time: TimeHandle,
    start: Duration,
    places: Vec<Place>,
    /// Only what is wrong with links; messages travel over madsim's.
    links: Links,
    workload: Workload,
    /// Changes to the cluster are for the stepped world.
    operator: Operator,
    lives: Rng,
    disks: Rng,
    digest: Digest,
    trace: Trace,
    failures: Vec<Failure>,
    /// Lives whose disks were lost.
    lost: Vec<Life>,
    inputs: u64,
    fx: Effects,
    todo: Vec<Todo>,
    /// Faults that wait for their moment, and those that have met it, some of them on one node only.
    ambushes: Vec<usize>,
    sprung: Vec<(usize, Option<usize>)>,
    moments: Moments,
    core: CoreMoments,
}

/// A node's disk, and the node while it is up.
#[derive(Default)]
struct Place {
    disk: Disk,
    up: Option<Up>,
    troubles: Troubles,
    /// The life that its core had last.
    lived: Option<Life>,
    /// The newest version of frames that it knows.
    speaks: u8,
    has_started: bool,
    /// For how many faults it is paused.
    pauses: u32,
    /// Until when nobody may complain of it: it was held up until just before.
    excused_ns: u64,
}

struct Up {
    host: Host,
    inputs: UnboundedSender<Input>,
    reads: UnboundedSender<Lookup>,
    syncs: UnboundedSender<Class>,
    frames: Vec<UnboundedSender<Vec<u8>>>,
}

/// Something to look up on a disk.
enum Lookup {
    Row(RowKey, ReadAck),
    Page(Scan),
}

#[derive(Clone)]
struct World {
    shared: Arc<Mutex<Shared>>,
    /// There is something for the supervisor to see to.
    news: Arc<Notify>,
}

impl World {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("a task that panics ends the run")
    }
}

/// What the supervisor has to do.
enum Event {
    Wake { session: usize },
    Begin { fault: usize },
    End { fault: usize },
    Restart { node: usize },
    Heal,
    Look,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Settling { since_ns: u64 },
    Over,
}

struct Supervisor {
    world: World,
    nodes: Vec<NodeHandle>,
    /// For how many reasons each node is down.
    downs: Vec<u32>,
    agenda: Agenda<Event>,
    phase: Phase,
}

async fn supervise(scenario: Scenario, options: &Options) -> Outcome {
    let world = World { shared: Arc::new(Mutex::new(Shared::new(scenario, options))), news: Arc::default() };
    let handle = Handle::current();
    let nodes = (0..world.shared().scenario.nodes()).map(|node| {
        let init = world.clone();
        let builder = handle.create_node().name(format!("n{}", node + 1)).ip(address(node).ip());
        builder.init(move || drive(init.clone(), node)).build()
    });
    let mut supervisor = Supervisor {
        downs: vec![0; nodes.len()],
        nodes: nodes.collect(),
        world,
        agenda: Agenda::default(),
        phase: Phase::Starting,
    };
    supervisor.agenda.push(MS, Event::Look);
    supervisor.run().await;
    for node in &supervisor.nodes {
        handle.kill(node.id());
    }
    let mut shared = supervisor.world.shared();
    let shared = &mut *shared;
    let now_ns = shared.now_ns();
    for up in shared.places.iter().filter_map(|place| place.up.as_ref()) {
        shared.core.join(up.host.node().moments());
    }
    let mut digest = shared.digest.clone();
    let trace = std::mem::take(&mut shared.trace);
    let (inputs, moments, core) = (shared.inputs, shared.moments, shared.core);
    let ending = shared.ending(shared.failures.clone());
    ending.outcome(super::Run { inputs, now_ns, moments, core, trace }, &mut digest)
}

impl Supervisor {
    async fn run(&mut self) {
        let mut pruned_ns = 0;
        while self.phase != Phase::Over && self.world.shared().failures.is_empty() {
            self.spring();
            self.carry_out_todo();
            let now_ns = self.world.shared().now_ns();
            if now_ns > pruned_ns + SECOND {
                // Counting the tasks makes madsim forget those that are done.
                Handle::current().metrics().num_tasks();
                pruned_ns = now_ns;
            }
            let next_ns = self.agenda.next_ns().expect("a world that is not over looks around again");
            if next_ns > now_ns {
                let pause = sleep(Duration::from_nanos(next_ns - now_ns));
                tokio::select! {
                    biased;
                    () = self.world.news.notified() => {}
                    () = pause => {}
                }
            } else if let Some((_, event)) = self.agenda.pop() {
                self.happen(now_ns, event);
            }
        }
    }

    fn happen(&mut self, now_ns: u64, event: Event) {
        let world = self.world.clone();
        let shared = &mut *world.shared();
        match event {
            Event::Wake { session } => {
                let places = &shared.places;
                let manner = |node: usize| {
                    let place = &places[node];
                    if place.up.is_none() {
                        Manner::Down
                    } else if place.pauses > 0 || place.troubles.cost_ns > 0 {
                        Manner::HeldUp(now_ns + SECOND)
                    } else {
                        Manner::HeldUp(place.excused_ns)
                    }
                };
                shared.workload.wake(&shared.scenario, session, now_ns, manner, &mut shared.todo);
            }
            Event::Begin { fault } => self.begin(now_ns, fault, shared),
            Event::End { fault } => self.end(now_ns, fault, shared),
            Event::Restart { node } => self.restart(node),
            Event::Heal => {
                shared.digest.event(now_ns, 0, Kind::Heal, &[]);
                shared.trace.note(now_ns, "heal", || "all faults are over".to_owned());
                self.phase = Phase::Settling { since_ns: now_ns };
                shared.ambushes.clear();
                for place in &mut shared.places {
                    place.troubles.sync_failure = None;
                }
                shared.workload.stop(&shared.scenario, now_ns, &mut shared.todo);
            }
            Event::Look => self.look(now_ns, shared),
        }
    }

    fn begin(&mut self, now_ns: u64, place: usize, shared: &mut Shared) {
        let fault = shared.scenario.faults[place].clone();
        shared.digest.event(now_ns, place, Kind::Begin, &[]);
        shared.trace.begin(now_ns, place, &fault, self.nodes.len());
        shared.links.begin(place, &fault);
        if fault.kind.is_ambush() {
            return shared.ambushes.push(place);
        }
        for &node in &fault.nodes {
            let Place { troubles, disk, .. } = &mut shared.places[node];
            let begun = troubles.begin(now_ns, place, &fault, disk, &mut shared.disks, &mut shared.moments);
            shared.workload.jumped(node, now_ns, troubles.wall_ns);
            match begun {
                Begun::Crash => self.kill(now_ns, node, shared, false),
                Begun::Stop => self.kill(now_ns, node, shared, true),
                Begun::Pause => {
                    shared.places[node].pauses += 1;
                    shared.trace.spell(now_ns, node, "paused", true);
                    if shared.places[node].up.is_some() {
                        Handle::current().pause(self.nodes[node].id());
                    }
                }
                Begun::Slow => shared.trace.spell(now_ns, node, "slow", true),
                Begun::Noted => {}
            }
        }
        self.spoil(shared);
    }

    fn end(&mut self, now_ns: u64, place: usize, shared: &mut Shared) {
        let fault = shared.scenario.faults[place].clone();
        shared.digest.event(now_ns, place, Kind::End, &[]);
        shared.trace.end(now_ns, place, &fault);
        shared.links.end(place, &fault);
        for &node in &fault.nodes {
            let Place { troubles, disk, .. } = &mut shared.places[node];
            let over = troubles.end(place, &fault, disk);
            shared.workload.jumped(node, now_ns, troubles.wall_ns);
            if fault.kind == Fault::Upgrade {
                shared.places[node].speaks = wire::VERSION_MAX;
            }
            match over {
                Over::Noted => {}
                Over::Restart => self.restart(node),
                Over::Replace(disk, moment) => {
                    shared.replace_disk(node, disk, moment);
                    self.restart(node);
                }
                Over::CrashAndReplace(disk, moment) => {
                    self.kill(now_ns, node, shared, false);
                    shared.replace_disk(node, disk, moment);
                    self.agenda.push(now_ns + GONE, Event::Restart { node });
                }
                Over::Resume => {
                    shared.places[node].pauses -= 1;
                    shared.places[node].excused_ns = now_ns + shared.scenario.timeout_ns + FLOORS;
                    shared.trace.spell(now_ns, node, "paused", false);
                    if shared.places[node].pauses == 0 {
                        Handle::current().resume(self.nodes[node].id());
                    }
                }
                Over::Fast => {
                    shared.places[node].excused_ns = now_ns + shared.scenario.timeout_ns + FLOORS;
                    shared.trace.spell(now_ns, node, "slow", false);
                }
                Over::Honest => {
                    if let Some(up) = &shared.places[node].up {
                        _ = up.syncs.send(Class::Lazy);
                    }
                }
            }
        }
        self.spoil(shared);
    }

    fn kill(&mut self, now_ns: u64, node: usize, shared: &mut Shared, in_order: bool) {
        self.downs[node] += 1;
        if self.downs[node] == 1 {
            Handle::current().resume(self.nodes[node].id());
            Handle::current().kill(self.nodes[node].id());
            shared.crash(now_ns, node, in_order);
        }
    }

    fn restart(&mut self, node: usize) {
        self.downs[node] -= 1;
        if self.downs[node] == 0 {
            Handle::current().restart(self.nodes[node].id());
        }
    }

    /// Faults that waited for their moment and have met it.
    fn spring(&mut self) {
        let world = self.world.clone();
        let shared = &mut *world.shared();
        let now_ns = shared.now_ns();
        for (place, one) in std::mem::take(&mut shared.sprung) {
            let fault = shared.scenario.faults[place].clone();
            shared.digest.event(now_ns, place, Kind::Spring, &[]);
            shared.trace.spring(now_ns, place, &fault);
            if let Some(node) = one {
                self.kill(now_ns, node, shared, false);
                self.agenda.push(now_ns + fault.lasts_ns.max(GONE), Event::Restart { node });
                continue;
            }
            for node in &fault.nodes {
                self.kill(now_ns, *node, shared, false);
            }
            self.agenda.push(now_ns + fault.lasts_ns.max(GONE), Event::End { fault: place });
        }
    }

    /// Makes madsim's network as bad as it should be.
    fn spoil(&self, shared: &Shared) {
        let net = NetSim::current();
        for (from, one) in self.nodes.iter().enumerate() {
            for (to, other) in self.nodes.iter().enumerate().filter(|(to, _)| *to != from) {
                if shared.links.is_cut(from, to) {
                    net.clog_link(one.id(), other.id());
                } else {
                    net.unclog_link(one.id(), other.id());
                }
            }
        }
    }

    fn look(&mut self, now_ns: u64, shared: &mut Shared) {
        let next_ns = match self.phase {
            Phase::Starting => {
                let is_ready = |place: &Place| place.up.as_ref().is_some_and(|up| up.host.node().is_ready());
                if !shared.scenario.starts_ready
                    || shared.places[..shared.scenario.founders()].iter().all(is_ready)
                {
                    self.begin_clients(now_ns, shared);
                    shared.scenario.length_ns
                } else if now_ns > shared.scenario.ready_bound_ns() {
                    shared.failures.extend(shared.ending(Vec::new()).unrest());
                    return;
                } else {
                    shared.scenario.sync_every_ns / 16
                }
            }
            Phase::Running => MS,
            Phase::Settling { since_ns } => {
                let for_ns = now_ns - since_ns;
                let is_at_rest = || shared.ending(Vec::new()).unrest().is_none();
                let is_late = for_ns > quiet_bound(&shared.scenario)
                    && now_ns > rests_by(&shared.scenario, shared.workload.record());
                if is_late || is_at_rest() {
                    self.phase = Phase::Over;
                }
                50 * MS + for_ns / 8
            }
            Phase::Over => return,
        };
        self.agenda.push(now_ns + next_ns, Event::Look);
    }

    fn begin_clients(&mut self, now_ns: u64, shared: &mut Shared) {
        self.phase = Phase::Running;
        shared.trace.note(now_ns, "begin", || "the clients begin".to_owned());
        let over_ns = now_ns + shared.scenario.length_ns;
        for (place, fault) in shared.scenario.faults.iter().enumerate() {
            let at_ns = over_ns.min(now_ns + fault.at_ns);
            self.agenda.push(at_ns, Event::Begin { fault: place });
            if !waits(fault.kind) {
                // A crash that is drawn out may reach into the node's next.
                let lasts_ns = fault.lasts_ns.clamp(GONE, (over_ns - at_ns).max(GONE));
                self.agenda.push(at_ns + lasts_ns, Event::End { fault: place });
            }
        }
        self.agenda.push(over_ns + GONE, Event::Heal);
        shared.workload.start(&shared.scenario, now_ns, &mut shared.todo);
    }

    fn carry_out_todo(&mut self) {
        let world = self.world.clone();
        let shared = &mut *world.shared();
        let now_ns = shared.now_ns();
        while let Some(todo) = shared.todo.pop() {
            match todo {
                Todo::Wake { session, at_ns } => self.agenda.push(at_ns, Event::Wake { session }),
                Todo::Call { node, id, call } => {
                    shared.digest.event(now_ns, node, Kind::Call, &id.0.to_le_bytes());
                    shared.trace.say(now_ns, node, || format!("is called ({}): {call:?}", id.0));
                    match &shared.places[node].up {
                        Some(up) => _ = up.inputs.send(Input::Call { id, call }),
                        None => shared.workload.crash(&shared.scenario, node, now_ns, &mut shared.todo),
                    }
                }
            }
        }
    }
}

impl Shared {
    fn new(scenario: Scenario, options: &Options) -> Self {
        let stream = |purpose| Rng::stream(scenario.seed, purpose);
        let time = TimeHandle::current();
        Self {
            plants: options.plants(),
            checks: options.checks,
            start: time.elapsed(),
            time,
            places: (0..scenario.nodes())
                .map(|node| Place { speaks: speaks(&scenario, node), ..Place::default() })
                .collect(),
            links: Links::new(scenario.nodes(), &scenario.network, stream("network")),
            operator: Operator::default(),
            workload: Workload::new(&scenario, FLOORS),
            lives: stream("lives"),
            disks: stream("disks"),
            digest: Digest::default(),
            trace: Trace::new(options.traced),
            failures: Vec::new(),
            lost: Vec::new(),
            inputs: 0,
            fx: Effects::new(),
            todo: Vec::new(),
            ambushes: Vec::new(),
            sprung: Vec::new(),
            moments: Moments::default(),
            core: CoreMoments::default(),
            scenario,
        }
    }

    fn now_ns(&self) -> u64 {
        let elapsed = self.time.elapsed() - self.start;
        u64::try_from(elapsed.as_nanos()).expect("no run lasts for centuries")
    }

    fn ending<'a>(&'a self, failures: Vec<Failure>) -> Ending<'a> {
        let core = |place: &'a Place| place.up.as_ref().map(|up| up.host.node());
        Ending {
            scenario: &self.scenario,
            workload: &self.workload,
            operator: &self.operator,
            disks: self.places.iter().map(|place| &place.disk).collect(),
            nodes: self.places.iter().map(core).collect(),
            lost: self.lost.clone(),
            is_complete: failures.is_empty(),
            failures,
        }
    }

    fn crash(&mut self, now_ns: u64, node: usize, in_order: bool) {
        self.digest.event(now_ns, node, Kind::Crash, &[]);
        let says = if in_order { "stops" } else { "crashes" };
        self.trace.line(now_ns, node, "crash", || (None, says.to_owned()));
        self.trace.spell(now_ns, node, "down", true);
        let place = &mut self.places[node];
        if let Some(up) = place.up.take() {
            self.core.join(up.host.node().moments());
        }
        if in_order && place.troubles.lies == 0 {
            place.disk.close();
        } else if place.disk.crash(&mut self.disks, self.plants.has(Plant::TornBatchApplied)) > 0 {
            self.moments.meet(Moment::CrashLost);
        }
        self.workload.crash(&self.scenario, node, now_ns, &mut self.todo);
    }

    fn replace_disk(&mut self, node: usize, disk: Disk, moment: Moment) {
        let place = &mut self.places[node];
        place.disk = disk;
        place.disk.set_lying(place.troubles.lies > 0);
        self.moments.meet(moment);
    }

    /// A node over its disk, or over an empty one if that cannot be read because of what was done to it.
    fn start(&mut self, node: usize) -> Result<Host, Failure> {
        let (plants, checks) = (self.plants, self.checks);
        let Place { disk, troubles, speaks, has_started, .. } = &mut self.places[node];
        let is_first = !std::mem::replace(has_started, true);
        let named = (node, is_fixed(&self.scenario, node, *speaks, is_first));
        match Host::start(&self.scenario, named, disk, &mut self.lives, plants, checks) {
            Err(failure) if failure.check == Check::Boot && troubles.is_damaged => {
                self.moments.meet(Moment::StoreSetAside);
                self.replace_disk(node, Disk::default(), Moment::Wiped);
                let disk = &self.places[node].disk;
                Host::start(&self.scenario, named, disk, &mut self.lives, plants, checks)
            }
            host => host,
        }
    }

    /// Gives a node an input and carries out what it wants. Says when it wants to be woken at the latest.
    fn input(&mut self, node: usize, input: Input) -> Option<u64> {
        let now_ns = self.now_ns();
        let clocks = self.scenario.clocks[node];
        let counted = clocks.counted(now_ns);
        let jump_ns = self.places[node].troubles.wall_ns;
        let wall = (EPOCH + clocks.ahead_ns + counted).saturating_add_signed(jump_ns);
        let now = Now { mono: Mono(counted), wall: Wall(wall) };
        let mut fx = std::mem::take(&mut self.fx);
        let up = self.places[node].up.as_mut()?;
        self.inputs += 1;
        if let Err(failure) = up.host.handle(node, now, input, &mut fx) {
            self.failures.push(failure);
            return None;
        }
        let deadline = up.host.node().deadline().map(|deadline| clocks.moment(deadline.0));
        for effect in fx.drain(..) {
            self.carry_out(now_ns, node, effect);
        }
        self.fx = fx;
        deadline
    }

    fn carry_out(&mut self, now_ns: u64, node: usize, effect: Effect) {
        let Some(up) = &self.places[node].up else { return };
        match effect {
            Effect::Members(_) => {}
            Effect::Send { to, view, message } => {
                let to = place_of(to);
                let mut frame = Vec::new();
                let version = self.places[node].speaks.min(self.places[to].speaks);
                if !wire::encode(version, view, &message, &mut frame) {
                    if matches!(message, Message::Hint { .. }) {
                        self.moments.meet(Moment::HintUnsaid);
                    }
                    return;
                }
                self.digest.event(now_ns, node, Kind::Send, &frame[..wire::PREFIX + 4]);
                // madsim does not tell what becomes of it; arrivals are lines of their own.
                let late_ns = u64::MAX;
                self.trace.sent(now_ns, (node, to), &message, Ok(now_ns), false, late_ns);
                _ = up.frames[to].send(frame);
            }
            Effect::Reply { id, reply } => {
                self.digest.event(now_ns, node, Kind::Reply, &told(&reply));
                if let Some(act) = answered(&reply) {
                    let is_due = |fault: &usize| self.scenario.faults[*fault].waits_for(act);
                    if let Some(at) = self.ambushes.iter().position(is_due) {
                        self.sprung.push((self.ambushes.remove(at), None));
                    }
                }
                self.trace.say(now_ns, node, || format!("answers call {}: {reply:?}", id.0));
                self.workload.reply(&self.scenario, id, reply, now_ns, &mut self.todo);
            }
            Effect::Read(read) => {
                let (key, ack) = read.into_parts();
                _ = up.reads.send(Lookup::Row(key, ack));
            }
            Effect::Scan(scan) => _ = up.reads.send(Lookup::Page(scan)),
            Effect::Write(write) => {
                let class = write.class();
                let (rows, ack) = write.into_parts();
                self.trace.line(now_ns, node, "write", || (None, format!("writes ({class:?}) {rows:?}")));
                let takes = self.places[node].troubles.takes(&mut self.disks);
                if takes == Takes::Not {
                    self.moments.meet(Moment::WriteRefused);
                    _ = up.inputs.send(ack.failed(DISK_FULL.to_owned()));
                    return;
                }
                let (owed, early) = match class {
                    Class::Synced => (Some(ack), None),
                    Class::Lazy => (None, Some(ack)),
                };
                if let Some(ack) = early {
                    _ = up.inputs.send(ack.done());
                }
                _ = up.syncs.send(class);
                let disk = &mut self.places[node].disk;
                match takes {
                    Takes::Phantom => disk.pretend(owed),
                    Takes::Misdirected => disk.misplace(rows, owed, &mut self.disks),
                    Takes::Well | Takes::Not => disk.write(rows, owed),
                }
                self.record_states(now_ns, node);
            }
            Effect::Note(note) => {
                self.trace.line(now_ns, node, "note", || (None, format!("notes {note:?}")));
                let expected = Expected {
                    damage: self.places[node].troubles.is_damaged || self.places[node].troubles.is_rotten,
                    relapse: self.scenario.relapsed().contains(&node)
                        || (self.scenario.sloppy && self.scenario.changes_members()),
                    changes: self.scenario.changes_members(),
                };
                self.failures.extend(unexpected(node, &note, expected));
            }
        }
    }

    fn look_up(&mut self, node: usize, lookup: Lookup) -> Input {
        let now_ns = self.now_ns();
        let Place { disk, troubles, .. } = &self.places[node];
        let fails = troubles.read_fails(&mut self.disks);
        if fails {
            self.moments.meet(Moment::ReadFailed);
        }
        match lookup {
            Lookup::Row(key, ack) => {
                let value = disk.read(&key);
                self.digest.event(now_ns, node, Kind::Read, value.as_deref().unwrap_or_default());
                self.trace.line(now_ns, node, "read", || (None, format!("has read {key:?}")));
                if fails { ack.failed(READ_FAILED.to_owned()) } else { ack.done(value) }
            }
            Lookup::Page(scan) => {
                let (rows, more) = disk.scan(&scan);
                self.digest.event(now_ns, node, Kind::Scan, &[rows.len() as u8, u8::from(more)]);
                self.trace.line(now_ns, node, "scan", || (None, format!("has scanned {} rows", rows.len())));
                let ack = scan.into_ack();
                if fails { ack.failed(READ_FAILED.to_owned()) } else { ack.done(rows, more) }
            }
        }
    }

    /// What a node's disk holds of each key now, for the story.
    fn record_states(&mut self, now_ns: u64, node: usize) {
        if !self.trace.is_on() {
            return;
        }
        let disk = &self.places[node].disk;
        let nodes = self.places.iter().filter_map(|place| place.up.as_ref()).map(|up| up.host.node());
        let Some(layout) = super::newest(nodes) else { return };
        for (number, says, is_synced) in held(self.workload.record(), node, disk, layout) {
            self.trace.state(now_ns, node, &key_name(number), says, is_synced);
        }
    }

    /// For how long something on the disk takes that begins now, when it takes so long otherwise.
    fn disk_takes(&mut self, node: usize, usual_ns: u64) -> u64 {
        let now_ns = self.now_ns();
        let troubles = &self.places[node].troubles;
        let takes_ns = usual_ns + troubles.disk_extra(&mut self.disks);
        takes_ns.max(troubles.stall_ns.saturating_sub(now_ns))
    }
}

fn address(node: usize) -> SocketAddr {
    let last = u8::try_from(node + 1).expect("there are few nodes");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), PORT)
}

fn node_at(address: SocketAddr) -> usize {
    match address.ip() {
        IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        IpAddr::V6(_) => unreachable!("nodes have addresses of version 4"),
    }
}

/// One life of a node.
async fn drive(world: World, node: usize) {
    let endpoint = match Endpoint::bind(address(node)).await {
        Ok(endpoint) => endpoint,
        Err(error) => {
            let failure = Failure::new(Check::Boot, format!("n{} cannot bind: {error}", node + 1));
            world.shared().failures.push(failure);
            return world.news.notify_one();
        }
    };
    let (inputs, mut inbox) = unbounded_channel();
    let (reads, lookups) = unbounded_channel();
    let (syncs, written) = unbounded_channel();
    let nodes = world.shared().scenario.nodes();
    let (frames, outboxes): (Vec<_>, Vec<_>) = (0..nodes).map(|_| unbounded_channel()).unzip();
    {
        let shared = &mut *world.shared();
        match shared.start(node) {
            Ok(host) => {
                let now_ns = shared.now_ns();
                let life = host.node().life();
                if shared.scenario.losers().contains(&node) {
                    let before = shared.places[node].lived.replace(life);
                    shared.lost.extend(before);
                }
                shared.digest.event(now_ns, node, Kind::Start, &life.0.to_le_bytes());
                shared.trace.line(now_ns, node, "start", || (None, format!("starts as {life}")));
                shared.trace.spell(now_ns, node, "down", false);
                shared.places[node].up = Some(Up { host, inputs: inputs.clone(), reads, syncs, frames });
            }
            Err(failure) => shared.failures.push(failure),
        }
    }
    madsim::task::spawn_local(receive(world.clone(), node, endpoint.clone(), inputs.clone()));
    madsim::task::spawn_local(look_up(world.clone(), node, lookups, inputs.clone()));
    madsim::task::spawn_local(sync(world.clone(), node, written, inputs));
    for (to, outbox) in outboxes.into_iter().enumerate().filter(|(to, _)| *to != node) {
        madsim::task::spawn_local(send(world.clone(), (node, to), endpoint.clone(), outbox));
    }
    let mut input = Input::Tick;
    loop {
        let cost_ns = world.shared().places[node].troubles.cost_ns;
        if cost_ns > 0 {
            sleep(Duration::from_nanos(cost_ns)).await;
        }
        let (pause_ns, has_news) = {
            let shared = &mut *world.shared();
            let deadline = shared.input(node, input);
            let pause_ns = deadline.map(|deadline| deadline.saturating_sub(shared.now_ns()));
            let has_news =
                !shared.todo.is_empty() || !shared.sprung.is_empty() || !shared.failures.is_empty();
            (pause_ns, has_news)
        };
        if has_news {
            world.news.notify_one();
        }
        let pause = sleep(Duration::from_nanos(pause_ns.unwrap_or(SECOND)));
        input = tokio::select! {
            biased;
            Some(input) = inbox.recv() => input,
            () = pause => {
                let shared = &mut *world.shared();
                let now_ns = shared.now_ns();
                shared.digest.event(now_ns, node, Kind::Tick, &[]);
                Input::Tick
            }
        };
    }
}

/// What one send carries: frames, one behind the other, and whether their bits were changed on the way.
struct Payload {
    frames: Vec<u8>,
    is_altered: bool,
}

async fn receive(world: World, node: usize, endpoint: Endpoint, inputs: UnboundedSender<Input>) {
    while let Ok((payload, from)) = endpoint.recv_from_raw(0).await {
        let payload: Box<Payload> = payload.downcast().expect("nodes send payloads");
        let Payload { frames, is_altered } = *payload;
        let (mut rest, from) = (&frames[..], node_at(from));
        let shared = &mut *world.shared();
        let now_ns = shared.now_ns();
        while let Some((prefix, _)) = rest.split_first_chunk::<{ wire::PREFIX }>() {
            let length = wire::length(*prefix).map_or(rest.len(), |length| wire::PREFIX + length);
            let (frame, others) = rest.split_at(length.min(rest.len()));
            rest = others;
            shared.digest.event(now_ns, node, Kind::Arrive, frame);
            match decoded(frame, shared.plants.has(Plant::ChecksumUnchecked)) {
                Ok((view, message)) => {
                    shared.trace.say(now_ns, node, || format!("← n{} {message:?}", from + 1));
                    if shared.places[from].speaks != shared.places[node].speaks {
                        meet_mixed(&message, &mut shared.moments);
                    }
                    let from = node_id(from);
                    _ = inputs.send(Input::Peer { from, view, message });
                }
                Err(_) if is_altered => {
                    // Whatever follows came over the same connection.
                    shared.moments.meet(Moment::AlteredRefused);
                    break;
                }
                Err(failure) => {
                    shared.failures.push(failure);
                    world.news.notify_one();
                }
            }
        }
    }
}

/// Sends what has gathered for one peer, again and again.
async fn send(
    world: World,
    (node, to): (usize, usize),
    endpoint: Endpoint,
    mut outbox: UnboundedReceiver<Vec<u8>>,
) {
    while let Some(mut frames) = outbox.recv().await {
        while let Ok(frame) = outbox.try_recv() {
            frames.extend_from_slice(&frame);
        }
        let troubled = {
            let shared = &mut *world.shared();
            let now_ns = shared.now_ns();
            shared.links.troubled(now_ns, node, to, frames.len())
        };
        if troubled.is_lost {
            continue;
        }
        if troubled.extra_ns > 0 {
            sleep(Duration::from_nanos(troubled.extra_ns)).await;
        }
        let double = troubled.is_doubled.then(|| Payload { frames: frames.clone(), is_altered: false });
        if troubled.is_corrupted {
            alter(&mut frames, &mut world.shared().disks);
        }
        let first = Payload { frames, is_altered: troubled.is_corrupted };
        for payload in [Some(first), double].into_iter().flatten() {
            // A send that fails is a message lost.
            _ = endpoint.send_to_raw(address(to), 0, Box::new(payload)).await;
        }
    }
}

/// Looks up rows and pages, all that have gathered at a time.
async fn look_up(
    world: World,
    node: usize,
    mut lookups: UnboundedReceiver<Lookup>,
    inputs: UnboundedSender<Input>,
) {
    while let Some(lookup) = lookups.recv().await {
        let pause_ns = {
            let shared = &mut *world.shared();
            let usual_ns = shared.disks.between(US, shared.scenario.disk.read_max_ns);
            shared.disk_takes(node, usual_ns)
        };
        sleep(Duration::from_nanos(pause_ns)).await;
        let mut next = Some(lookup);
        while let Some(lookup) = next {
            let input = world.shared().look_up(node, lookup);
            _ = inputs.send(input);
            next = lookups.try_recv().ok();
        }
    }
}

/// Syncs the disk whenever somebody waits for it, and some time after something was written for which nobody waits.
async fn sync(
    world: World,
    node: usize,
    mut written: UnboundedReceiver<Class>,
    inputs: UnboundedSender<Input>,
) {
    let mut flush_ns = None;
    loop {
        let pause_ns = flush_ns.map(|flush_ns: u64| flush_ns.saturating_sub(world.shared().now_ns()));
        let class = tokio::select! {
            biased;
            class = written.recv() => class,
            () = sleep(Duration::from_nanos(pause_ns.unwrap_or_default())), if pause_ns.is_some() => Some(Class::Synced),
        };
        let Some(class) = class else { return };
        if class == Class::Lazy {
            let shared = &mut *world.shared();
            let later_ns = shared.now_ns() + shared.disks.between(US, shared.scenario.disk.lazy_max_ns);
            flush_ns.get_or_insert(later_ns);
            continue;
        }
        flush_ns = None;
        let sync_ns = {
            let shared = &mut *world.shared();
            let times = &shared.scenario.disk;
            let starts = shared.places[node].disk.start_sync();
            let usual_ns = starts.then(|| shared.disks.between(times.sync_min_ns, times.sync_max_ns));
            usual_ns.map(|usual_ns| shared.disk_takes(node, usual_ns))
        };
        let Some(sync_ns) = sync_ns else { continue };
        sleep(Duration::from_nanos(sync_ns)).await;
        let shared = &mut *world.shared();
        let now_ns = shared.now_ns();
        if let Some(fault) = shared.places[node].troubles.sync_failure.take() {
            let is_ambush = shared.scenario.faults[fault].kind == Fault::AmbushSync;
            if is_ambush {
                // On its disk, and nobody knows.
                drop(shared.places[node].disk.finish_sync());
            }
            if !is_ambush && shared.plants.has(Plant::SyncFailureIgnored) {
                shared.places[node].disk.set_lying(true);
                shared.places[node].troubles.lies += 1;
            } else {
                if !is_ambush {
                    shared.moments.meet(Moment::SyncFailed);
                }
                shared.sprung.push((fault, Some(node)));
                return world.news.notify_one();
            }
        }
        let acks = shared.places[node].disk.finish_sync();
        shared.record_states(now_ns, node);
        for ack in acks {
            shared.digest.event(now_ns, node, Kind::Written, &[]);
            shared.trace.line(now_ns, node, "written", || (None, format!("has written {ack:?}")));
            _ = inputs.send(ack.done());
        }
        if shared.places[node].disk.is_dirty() {
            flush_ns = Some(now_ns + shared.disks.between(US, shared.scenario.disk.lazy_max_ns));
        }
    }
}
