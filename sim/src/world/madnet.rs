//! The world on madsim's network: each node is a madsim node with tasks of its own, driven as a server's would be.
//!
//! A node has a driver that takes inputs from a queue or wakes for the core's deadline, a task that reads its disk, one that
//! syncs it, one that receives, and one per peer that sends whatever has gathered as one message: madsim makes every send and
//! receive last a millisecond at least. Partitions clog madsim's links, crashes kill its nodes, loss is its own;
//! duplication, slow links and disks are ours. A supervisor wakes the clients and makes the faults. All of it is one
//! thread: the lock around what is shared is never waited for, and never held across an await.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use godown_core::Plants;
use godown_core::effect::{Class, Effect, Effects, ReadAck, Scan};
use godown_core::input::Input;
use godown_core::layout::Layout;
use godown_core::stored::RowKey;
use godown_core::time::{Mono, Now, Wall};
use godown_core::wire;
use madsim::net::{Endpoint, NetSim};
use madsim::runtime::{Handle, NodeHandle, Runtime};
use madsim::time::{TimeHandle, sleep};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::agenda::Agenda;
use super::network::Links;
use super::stepped::{EPOCH, answered, decoded, told, unexpected};
use super::trace::Trace;
use super::{Ending, Options, Outcome};
use crate::check::{Check, Failure};
use crate::digest::{Digest, Kind};
use crate::disk::Disk;
use crate::host::{Checks, Host};
use crate::rng::Rng;
use crate::scenario::{Fault, MS, QUIET_BOUND, SECOND, Scenario, Trouble, US, node_id, place_of};
use crate::workload::{Todo, Workload};

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
    lives: Rng,
    disks: Rng,
    digest: Digest,
    trace: Trace,
    failures: Vec<Failure>,
    inputs: u64,
    fx: Effects,
    todo: Vec<Todo>,
    /// Faults that wait for their moment, and those that have met it.
    ambushes: Vec<usize>,
    sprung: Vec<usize>,
}

/// A node's disk, and the node while it is up.
#[derive(Default)]
struct Place {
    disk: Disk,
    up: Option<Up>,
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
    layout: Layout,
    nodes: Vec<NodeHandle>,
    /// For how many reasons each node is down.
    downs: Vec<u32>,
    agenda: Agenda<Event>,
    phase: Phase,
}

async fn supervise(scenario: Scenario, options: &Options) -> Outcome {
    let layout = Layout::new(&scenario.config(0));
    let world = World { shared: Arc::new(Mutex::new(Shared::new(scenario, options))), news: Arc::default() };
    let handle = Handle::current();
    let nodes = (0..world.shared().scenario.nodes).map(|node| {
        let init = world.clone();
        let builder = handle.create_node().name(format!("n{}", node + 1)).ip(address(node).ip());
        builder.init(move || drive(init.clone(), node)).build()
    });
    let mut supervisor = Supervisor {
        downs: vec![0; nodes.len()],
        nodes: nodes.collect(),
        world,
        layout,
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
    let ending = shared.ending(&supervisor.layout, shared.failures.clone());
    let mut digest = shared.digest.clone();
    let (failures, history) = ending.judge(&mut digest, now_ns, options.traced);
    Outcome {
        seed: shared.scenario.seed,
        digest: digest.value(),
        inputs: shared.inputs,
        events: digest.events(),
        simulated_ns: now_ns,
        calls: shared.workload.record().ops().len() as u64,
        failures,
        lines: std::mem::take(&mut shared.trace).into_lines(),
        history,
    }
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
                let is_up = |node: usize| shared.places[node].up.is_some();
                shared.workload.wake(&shared.scenario, session, now_ns, is_up, &mut shared.todo);
            }
            Event::Begin { fault } => {
                let what = shared.scenario.faults[fault].what.clone();
                shared.digest.event(now_ns, fault, Kind::Begin, &[]);
                shared.trace.note(now_ns, || format!("fault: {what}"));
                shared.links.begin(&what);
                match what {
                    Trouble::Crash { node } => self.kill(now_ns, node, shared),
                    Trouble::Ambush { .. } => shared.ambushes.push(fault),
                    _ => self.spoil(shared),
                }
            }
            Event::End { fault } => {
                let what = shared.scenario.faults[fault].what.clone();
                shared.digest.event(now_ns, fault, Kind::End, &[]);
                shared.trace.note(now_ns, || format!("over: {what}"));
                shared.links.end(&what);
                match what {
                    Trouble::Crash { node } => self.restart(node),
                    Trouble::Ambush { nodes, .. } => nodes.into_iter().for_each(|node| self.restart(node)),
                    _ => self.spoil(shared),
                }
            }
            Event::Heal => {
                shared.digest.event(now_ns, 0, Kind::Heal, &[]);
                shared.trace.note(now_ns, || "all faults are over".to_owned());
                self.phase = Phase::Settling { since_ns: now_ns };
                shared.ambushes.clear();
                shared.workload.stop(&shared.scenario, now_ns, &mut shared.todo);
            }
            Event::Look => self.look(now_ns, shared),
        }
    }

    fn kill(&mut self, now_ns: u64, node: usize, shared: &mut Shared) {
        self.downs[node] += 1;
        if self.downs[node] == 1 {
            Handle::current().kill(self.nodes[node].id());
            shared.crash(now_ns, node);
        }
    }

    fn restart(&mut self, node: usize) {
        self.downs[node] -= 1;
        if self.downs[node] == 0 {
            Handle::current().restart(self.nodes[node].id());
        }
    }

    /// Ambushes that have met their moment.
    fn spring(&mut self) {
        let world = self.world.clone();
        let shared = &mut *world.shared();
        let now_ns = shared.now_ns();
        for fault in std::mem::take(&mut shared.sprung) {
            let Fault { lasts_ns, what, .. } = shared.scenario.faults[fault].clone();
            let Trouble::Ambush { nodes, .. } = &what else { continue };
            shared.digest.event(now_ns, fault, Kind::Spring, &[]);
            shared.trace.note(now_ns, || format!("sprung: {what}"));
            for node in nodes {
                self.kill(now_ns, *node, shared);
            }
            self.agenda.push(now_ns + lasts_ns.max(GONE), Event::End { fault });
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
        let loss = f64::from(shared.links.loss()) / 1_000.0;
        net.update_config(|config| config.packet_loss_rate = loss);
    }

    fn look(&mut self, now_ns: u64, shared: &mut Shared) {
        let next_ns = match self.phase {
            Phase::Starting => {
                let is_ready = |place: &Place| place.up.as_ref().is_some_and(|up| up.host.node().is_ready());
                if !shared.scenario.starts_ready || shared.places.iter().all(is_ready) {
                    self.begin_clients(now_ns, shared);
                    shared.scenario.length_ns
                } else if now_ns > shared.scenario.ready_bound_ns() {
                    shared.failures.extend(shared.ending(&self.layout, Vec::new()).unrest());
                    return;
                } else {
                    shared.scenario.sync_every_ns / 16
                }
            }
            Phase::Running => MS,
            Phase::Settling { since_ns } => {
                let for_ns = now_ns - since_ns;
                let is_at_rest = || shared.ending(&self.layout, Vec::new()).unrest().is_none();
                if for_ns > QUIET_BOUND || is_at_rest() {
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
        shared.trace.note(now_ns, || "the clients begin".to_owned());
        let over_ns = now_ns + shared.scenario.length_ns;
        for (fault, Fault { at_ns, lasts_ns, what }) in shared.scenario.faults.iter().enumerate() {
            let at_ns = now_ns + at_ns;
            self.agenda.push(at_ns, Event::Begin { fault });
            if !matches!(what, Trouble::Ambush { .. }) {
                // A crash that is drawn out may reach into the node's next.
                let lasts_ns = (*lasts_ns).clamp(GONE, (over_ns - at_ns).max(GONE));
                self.agenda.push(at_ns + lasts_ns, Event::End { fault });
            }
        }
        self.agenda.push(over_ns + GONE, Event::Heal);
        shared.workload.start(now_ns, &mut shared.todo);
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
                    shared.trace.line(now_ns, node, || format!("is called ({}): {call:?}", id.0));
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
            places: (0..scenario.nodes).map(|_| Place::default()).collect(),
            links: Links::new(scenario.nodes, scenario.network.clone(), stream("network")),
            workload: Workload::new(&scenario, FLOORS),
            lives: stream("lives"),
            disks: stream("disks"),
            digest: Digest::default(),
            trace: Trace::new(options.traced),
            failures: Vec::new(),
            inputs: 0,
            fx: Effects::new(),
            todo: Vec::new(),
            ambushes: Vec::new(),
            sprung: Vec::new(),
            scenario,
        }
    }

    fn now_ns(&self) -> u64 {
        let elapsed = self.time.elapsed() - self.start;
        u64::try_from(elapsed.as_nanos()).expect("no run lasts for centuries")
    }

    fn ending<'a>(&'a self, layout: &'a Layout, failures: Vec<Failure>) -> Ending<'a> {
        let core = |place: &'a Place| place.up.as_ref().map(|up| up.host.node());
        Ending {
            scenario: &self.scenario,
            layout,
            workload: &self.workload,
            disks: self.places.iter().map(|place| &place.disk).collect(),
            nodes: self.places.iter().map(core).collect(),
            is_complete: failures.is_empty(),
            failures,
        }
    }

    fn crash(&mut self, now_ns: u64, node: usize) {
        self.digest.event(now_ns, node, Kind::Crash, &[]);
        self.trace.line(now_ns, node, || "crashes".to_owned());
        let place = &mut self.places[node];
        place.up = None;
        place.disk.crash(&mut self.disks);
        self.workload.crash(&self.scenario, node, now_ns, &mut self.todo);
    }

    /// Gives a node an input and carries out what it wants. Says when it wants to be woken at the latest.
    fn input(&mut self, node: usize, input: Input) -> Option<u64> {
        let now_ns = self.now_ns();
        let wall = EPOCH + now_ns + self.scenario.wall_ahead_ns[node];
        let now = Now { mono: Mono(now_ns), wall: Wall(wall) };
        let mut fx = std::mem::take(&mut self.fx);
        let up = self.places[node].up.as_mut()?;
        self.inputs += 1;
        if let Err(failure) = up.host.handle(node, now, input, &mut fx) {
            self.failures.push(failure);
            return None;
        }
        let deadline = up.host.node().deadline().map(|deadline| deadline.0);
        for effect in fx.drain(..) {
            self.carry_out(now_ns, node, effect);
        }
        self.fx = fx;
        deadline
    }

    fn carry_out(&mut self, now_ns: u64, node: usize, effect: Effect) {
        let Some(up) = &self.places[node].up else { return };
        match effect {
            Effect::Send { to, message } => {
                let to = place_of(to);
                let mut frame = Vec::new();
                wire::encode(&message, &mut frame);
                self.digest.event(now_ns, node, Kind::Send, &frame[..wire::PREFIX + 4]);
                self.trace.line(now_ns, node, || format!("→ n{} {message:?}", to + 1));
                _ = up.frames[to].send(frame);
            }
            Effect::Reply { id, reply } => {
                self.digest.event(now_ns, node, Kind::Reply, &told(&reply));
                if let Some(act) = answered(&reply) {
                    let is_due = |fault: &usize| self.scenario.faults[*fault].waits_for(act);
                    if let Some(at) = self.ambushes.iter().position(is_due) {
                        self.sprung.push(self.ambushes.remove(at));
                    }
                }
                self.trace.line(now_ns, node, || format!("answers call {}: {reply:?}", id.0));
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
                self.trace.line(now_ns, node, || format!("writes ({class:?}) {rows:?}"));
                let early = match class {
                    Class::Synced => (Some(ack), None),
                    Class::Lazy => (None, Some(ack)),
                };
                if let Some(ack) = early.1 {
                    _ = up.inputs.send(ack.done());
                }
                _ = up.syncs.send(class);
                self.places[node].disk.write(rows, early.0);
            }
            Effect::Note(note) => {
                self.trace.line(now_ns, node, || format!("notes {note:?}"));
                self.failures.extend(unexpected(node, &note));
            }
        }
    }

    fn look_up(&mut self, node: usize, lookup: Lookup) -> Input {
        let now_ns = self.now_ns();
        let disk = &self.places[node].disk;
        match lookup {
            Lookup::Row(key, ack) => {
                let value = disk.read(&key);
                self.digest.event(now_ns, node, Kind::Read, value.as_deref().unwrap_or_default());
                self.trace.line(now_ns, node, || format!("has read {key:?}"));
                ack.done(value)
            }
            Lookup::Page(scan) => {
                let (rows, more) = disk.scan(&scan);
                self.digest.event(now_ns, node, Kind::Scan, &[rows.len() as u8, u8::from(more)]);
                self.trace.line(now_ns, node, || format!("has scanned {} rows", rows.len()));
                scan.into_ack().done(rows, more)
            }
        }
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
    let nodes = world.shared().scenario.nodes;
    let (frames, outboxes): (Vec<_>, Vec<_>) = (0..nodes).map(|_| unbounded_channel()).unzip();
    {
        let shared = &mut *world.shared();
        let (plants, checks) = (shared.plants, shared.checks);
        let (disk, lives) = (&shared.places[node].disk, &mut shared.lives);
        match Host::start(&shared.scenario, node, disk, lives, plants, checks) {
            Ok(host) => {
                let now_ns = shared.now_ns();
                let life = host.node().life();
                shared.digest.event(now_ns, node, Kind::Start, &life.0.to_le_bytes());
                shared.trace.line(now_ns, node, || format!("starts as {life}"));
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

async fn receive(world: World, node: usize, endpoint: Endpoint, inputs: UnboundedSender<Input>) {
    while let Ok((payload, from)) = endpoint.recv_from_raw(0).await {
        let frames: Box<Vec<u8>> = payload.downcast().expect("nodes send bytes");
        let (mut rest, from) = (&frames[..], node_at(from));
        let shared = &mut *world.shared();
        let now_ns = shared.now_ns();
        while let Some((prefix, _)) = rest.split_first_chunk::<{ wire::PREFIX }>() {
            let length = wire::length(*prefix).map_or(rest.len(), |length| wire::PREFIX + length);
            let (frame, others) = rest.split_at(length.min(rest.len()));
            rest = others;
            shared.digest.event(now_ns, node, Kind::Arrive, frame);
            match decoded(frame) {
                Ok(message) => {
                    shared.trace.line(now_ns, node, || format!("← n{} {message:?}", from + 1));
                    let from = node_id(from);
                    _ = inputs.send(Input::Peer { from, message });
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
        let extra_ns = world.shared().links.extra_ns(node, to);
        if extra_ns > 0 {
            sleep(Duration::from_nanos(extra_ns)).await;
        }
        while let Ok(frame) = outbox.try_recv() {
            frames.extend_from_slice(&frame);
        }
        let double = world.shared().links.doubles().then(|| frames.clone());
        for frames in [Some(frames), double].into_iter().flatten() {
            // A send that fails is a message lost.
            _ = endpoint.send_to_raw(address(to), 0, Box::new(frames)).await;
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
            shared.disks.between(US, shared.scenario.disk.read_max_ns)
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
            starts.then(|| shared.disks.between(times.sync_min_ns, times.sync_max_ns))
        };
        let Some(sync_ns) = sync_ns else { continue };
        sleep(Duration::from_nanos(sync_ns)).await;
        let shared = &mut *world.shared();
        let now_ns = shared.now_ns();
        for ack in shared.places[node].disk.finish_sync() {
            shared.digest.event(now_ns, node, Kind::Written, &[]);
            shared.trace.line(now_ns, node, || format!("has written {ack:?}"));
            _ = inputs.send(ack.done());
        }
        if shared.places[node].disk.is_dirty() {
            flush_ns = Some(now_ns + shared.disks.between(US, shared.scenario.disk.lazy_max_ns));
        }
    }
}
