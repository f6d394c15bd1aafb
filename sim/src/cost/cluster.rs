//! A healthy cluster in simulated time, on which costs are measured: nodes, their tables, a network, and scales.
//!
//! It runs the core's own nodes and carries out every effect. A message takes a drawn time and is weighed as the frame
//! that a server would send, with its length and its checksum. A disk never fails; a node that is stopped keeps what it
//! has written. Links can be cut. Nothing here is weather: what misfortune does to data is for the worlds to find out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Bound::Excluded;
use std::time::Duration;

use bytes::Bytes;
use godown_core::config::{Config, Settings};
use godown_core::effect::{Class, Effect, Effects, Scan};
use godown_core::id::{CallId, Life, NodeId};
use godown_core::input::{Boot, Call, ClusterCall, ClusterReply, Input, Reply, Wish};
use godown_core::key::{Key, Partition};
use godown_core::layout::{Change, Member};
use godown_core::message::{self, Message, Value};
use godown_core::node::Node;
use godown_core::stored::{self, Row, RowKey};
use godown_core::time::{Mono, Now, Wall};
use godown_core::wire;

use crate::rng::Rng;

/// A node's rows.
pub(super) type Table = BTreeMap<RowKey, Bytes>;

/// The wall clock's reading when a cluster begins, in nanoseconds: some time in 2026.
const BEGAN_NS: u64 = 1_780_000_000_000_000_000;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A message on its way, from this to that.
    pub(super) delay: (Duration, Duration),
    /// A write that is to survive a crash.
    pub(super) sync: Duration,
    /// A read or a scan.
    pub(super) read: Duration,
}

impl Pace {
    /// A network and disks such as one room has them.
    pub(super) const ROOM: Self = Self {
        delay: (Duration::from_micros(100), Duration::from_millis(1)),
        sync: Duration::from_millis(1),
        read: Duration::from_micros(100),
    };

    /// Every message takes just as long, and nothing else takes any time: so time counts round trips.
    pub(super) const fn trips(one_way: Duration) -> Self {
        Self { delay: (one_way, one_way), sync: Duration::ZERO, read: Duration::ZERO }
    }
}

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// Whether others answer.
    Reachability,
    /// Who belongs to the cluster, and which layout is in force.
    Membership,
    /// Whether clocks are equal, and where they are not.
    Probes,
    /// What anti-entropy moves when they are not.
    Differences,
    /// Clients' reads and writes, hints and read repair.
    Service,
}

impl About {
    const fn of(message: &Message) -> Self {
        match message {
            Message::Swim { .. } => Self::Reachability,
            Message::Hail { .. }
            | Message::Gossip { .. }
            | Message::State { .. }
            | Message::Prepare { .. }
            | Message::Promise { .. }
            | Message::Accept { .. }
            | Message::Accepted { .. } => Self::Membership,
            Message::Probe { .. } | Message::Probed { .. } => Self::Probes,
            Message::Ask { .. }
            | Message::Give { .. }
            | Message::Pull { .. }
            | Message::Page { .. }
            | Message::Compare { .. }
            | Message::Compared { .. } => Self::Differences,
            _ => Self::Service,
        }
    }

    /// Whether it belongs to anti-entropy.
    pub(super) const fn is_anti_entropy(self) -> bool {
        matches!(self, Self::Probes | Self::Differences)
    }
}

/// Frames that were sent over one link about one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

/// Everything that was sent since the scales were last cleared.
#[derive(Clone, Debug, Default)]
pub(super) struct Scales {
    links: BTreeMap<(NodeId, NodeId, About), Weight>,
    /// When each node first asked whether clocks are equal.
    opened: BTreeMap<NodeId, Mono>,
}

impl Scales {
    /// Forgets what was sent so far.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The sum over what `counts` says yes to.
    pub(super) fn sum(&self, counts: impl Fn(NodeId, NodeId, About) -> bool) -> Weight {
        let mut sum = Weight::default();
        for (&(from, to, about), weight) in &self.links {
            if counts(from, to, about) {
                sum.frames += weight.frames;
                sum.bytes += weight.bytes;
            }
        }
        sum
    }

    /// When this node first asked whether clocks are equal.
    pub(super) fn opened(&self, node: NodeId) -> Option<Mono> {
        self.opened.get(&node).copied()
    }
}

#[derive(Debug)]
struct Machine {
    node: Option<Node>,
    table: Table,
    starts: u16,
    wakes_at: Option<Mono>,
    /// Until when the disk is at work: writes land in order.
    busy_until: Mono,
}

/// The cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    settings: Settings,
    zones: BTreeMap<NodeId, String>,
    machines: BTreeMap<NodeId, Machine>,
    pub(super) pace: Pace,
    pub(super) now: Mono,
    /// When what is due, by its number.
    queue: BinaryHeap<Reverse<(Mono, u64)>>,
    /// To whom, in which of its starts, and what; None only for a look at its timers.
    due: BTreeMap<u64, (NodeId, u16, Option<Input>)>,
    numbers: u64,
    cut: BTreeSet<(NodeId, NodeId)>,
    rng: Rng,
    pub(super) scales: Scales,
    replies: BTreeMap<CallId, Reply>,
    calls: u64,
    frame: Vec<u8>,
}

impl Cluster {
    /// So many nodes that have founded a cluster, and are ready and quiet.
    pub(super) fn founded(count: u64, seed: u64, change: impl FnOnce(&mut Settings)) -> Self {
        Self::founded_in(count, seed, |_| String::new(), change)
    }

    /// The same, each in its zone.
    pub(super) fn founded_in(
        count: u64,
        seed: u64,
        zone: impl Fn(NodeId) -> String,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let members: Vec<NodeId> = (1..=count).map(NodeId).collect();
        let mut settings = Settings::new(NodeId(1), members.clone());
        change(&mut settings);
        let mut cluster = Self {
            settings,
            zones: members.iter().map(|&node| (node, zone(node))).collect(),
            machines: BTreeMap::new(),
            pace: Pace::ROOM,
            now: Mono(0),
            queue: BinaryHeap::new(),
            due: BTreeMap::new(),
            numbers: 0,
            cut: BTreeSet::new(),
            rng: Rng::stream(seed, "cost"),
            scales: Scales::default(),
            replies: BTreeMap::new(),
            calls: 0,
            frame: Vec::new(),
        };
        for &node in &members {
            cluster.start(node);
        }
        cluster.settle();
        cluster
    }

    /// Nodes that run.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.machines.iter().filter_map(|(&id, machine)| Some((id, machine.node.as_ref()?)))
    }

    /// A node that runs.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.machines[&id].node.as_ref().expect("it runs")
    }

    /// What a node has on its disk.
    pub(super) fn table(&self, id: NodeId) -> &Table {
        &self.machines[&id].table
    }

    /// The number of the cluster's partitions.
    pub(super) const fn partitions(&self) -> u32 {
        self.settings.partitions
    }

    /// The partition of a key.
    pub(super) fn partition(&self, key: &Key) -> Partition {
        Partition::of(key, self.settings.partitions)
    }

    /// The setting's own randomness, for whoever draws what is to happen.
    pub(super) const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn config(&self, id: NodeId) -> Config {
        let zone = self.zones.get(&id).cloned().unwrap_or_default();
        let members =
            if self.settings.members.contains(&id) { self.settings.members.clone() } else { vec![] };
        let me = Member { zone, ..Member::plain(id) };
        Settings { node: id, me, members, ..self.settings.clone() }.check().expect("these settings are valid")
    }

    /// Begins a life over whatever is in the table.
    pub(super) fn start(&mut self, id: NodeId) {
        let config = self.config(id);
        let now = self.now;
        let machine = self.machines.entry(id).or_insert_with(|| Machine {
            node: None,
            table: Table::new(),
            starts: 0,
            wakes_at: None,
            busy_until: now,
        });
        assert!(machine.node.is_none(), "{id} runs already");
        machine.starts += 1;
        let (after, before) = stored::boot_range();
        let rows = between(&machine.table, &after, &before, usize::MAX, usize::MAX).0;
        let life = Life(u128::from(self.rng.bits()) << 64 | u128::from(self.rng.bits()));
        machine.node =
            Some(Node::new(config, Boot { life, rows }, self.rng.bits()).expect("its own rows are good"));
        self.push(self.now, id, None);
    }

    /// Ends a life. What was written stays.
    pub(super) fn stop(&mut self, id: NodeId) {
        let machine = self.machines.get_mut(&id).expect("a member");
        (machine.node, machine.wakes_at) = (None, None);
    }

    /// Puts other data on a stopped node's disk. What it knows of its cluster stays.
    pub(super) fn refill(&mut self, id: NodeId, data: &Table) {
        let machine = self.machines.get_mut(&id).expect("a member");
        assert!(machine.node.is_none(), "{id} runs");
        machine.table.retain(|row, _| row.0[..] == b"g"[..]);
        machine.table.extend(data.iter().map(|(key, value)| (key.clone(), value.clone())));
    }

    /// Replaces rows on a stopped node's disk.
    pub(super) fn rewrite(&mut self, id: NodeId, rows: Vec<Row>) {
        let machine = self.machines.get_mut(&id).expect("a member");
        assert!(machine.node.is_none(), "{id} runs");
        put(&mut machine.table, rows);
    }

    /// No frame passes between the two sides any more.
    pub(super) fn part(&mut self, one: &[NodeId], other: &[NodeId]) {
        for &a in one {
            self.cut.extend(other.iter().flat_map(|&b| [(a, b), (b, a)]));
        }
    }

    /// Every link passes frames again.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    // --- Time ----------------------------------------------------------------------------------------------------

    fn push(&mut self, at: Mono, to: NodeId, due: Option<Input>) {
        self.numbers += 1;
        self.queue.push(Reverse((at, self.numbers)));
        self.due.insert(self.numbers, (to, self.machines[&to].starts, due));
    }

    /// Carries out whatever is due next. False when that is after `end`.
    pub(super) fn step(&mut self, end: Mono) -> bool {
        let Some(&Reverse((at, number))) = self.queue.peek().filter(|Reverse((at, _))| *at <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.queue.pop();
        self.now = self.now.max(at);
        let (to, start, due) = self.due.remove(&number).expect("what stands in the queue is due");
        let machine = self.machines.get_mut(&to).expect("it was a member once");
        let Some(node) = machine.node.as_mut().filter(|_| machine.starts == start) else { return true };
        let input = match due {
            Some(input) => input,
            None => {
                machine.wakes_at = machine.wakes_at.filter(|&wakes| wakes > at);
                Input::Tick
            }
        };
        let now = Now { mono: self.now, wall: Wall(BEGAN_NS + self.now.0) };
        let mut fx = Effects::new();
        node.handle(now, input, &mut fx);
        let deadline = node.deadline();
        if let Some(due) = deadline.filter(|&due| machine.wakes_at.is_none_or(|wakes| due < wakes)) {
            machine.wakes_at = Some(due);
            self.push(due.max(self.now), to, None);
        }
        for effect in fx {
            self.carry_out(to, effect);
        }
        true
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        while self.step(end) {}
    }

    /// Lets time pass until something holds, which is looked at every `grain`. The time that it took; None when it does
    /// not hold after `most`.
    pub(super) fn pass_until(
        &mut self,
        grain: Duration,
        most: Duration,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        while !holds(self) {
            if self.now.since(start) >= most {
                return None;
            }
            self.pass(grain);
        }
        Some(self.now.since(start))
    }

    /// Lets time pass until all nodes are ready and quiet, and layouts have given way.
    pub(super) fn settle(&mut self) {
        let is_settled =
            |cluster: &mut Self| cluster.nodes().all(|(_, node)| node.is_ready() && node.is_quiet());
        let waited = self.pass_until(Duration::from_millis(250), Duration::from_secs(3_600), is_settled);
        if waited.is_none() {
            let unrest = self.nodes().find_map(|(id, node)| Some((id, node.unready().or(node.unrest())?)));
            panic!("the cluster does not come to rest: {unrest:?}");
        }
    }

    // --- Effects ---------------------------------------------------------------------------------------------------

    fn carry_out(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Send { to, view, message } => {
                self.weigh(id, to, view, &message);
                if !self.cut.contains(&(id, to)) && self.machines.contains_key(&to) {
                    let (least, most) = self.pace.delay;
                    let delay = self.rng.between(least.as_nanos() as u64, most.as_nanos() as u64);
                    let at = self.now.after(Duration::from_nanos(delay));
                    self.push(at, to, Some(Input::Peer { from: id, view, message }));
                }
            }
            Effect::Reply { id: call, reply } => {
                self.replies.insert(call, reply);
            }
            Effect::Read(read) => {
                let (key, ack) = read.into_parts();
                let row = self.machines[&id].table.get(&key).cloned();
                self.push(self.now.after(self.pace.read), id, Some(ack.done(row)));
            }
            Effect::Write(write) => {
                let class = write.class();
                let (rows, ack) = write.into_parts();
                let machine = self.machines.get_mut(&id).expect("a member");
                put(&mut machine.table, rows);
                let takes = if class == Class::Synced { self.pace.sync } else { Duration::ZERO };
                // One sync covers all that was written before it.
                machine.busy_until = machine.busy_until.max(self.now.after(takes));
                let at = machine.busy_until;
                self.push(at, id, Some(ack.done()));
            }
            Effect::Scan(scan) => {
                let (rows, more) = page(&self.machines[&id].table, &scan);
                let input = scan.into_ack().done(rows, more);
                self.push(self.now.after(self.pace.read), id, Some(input));
            }
            Effect::Members(_) | Effect::Note(_) => {}
        }
    }

    fn weigh(
        &mut self,
        from: NodeId,
        to: NodeId,
        view: godown_core::layout::active::View,
        message: &Message,
    ) {
        self.frame.clear();
        assert!(wire::encode(wire::VERSION_MAX, view, message, &mut self.frame), "it fits a frame");
        let about = About::of(message);
        let weight = self.scales.links.entry((from, to, about)).or_default();
        weight.frames += 1;
        weight.bytes += self.frame.len() as u64;
        if matches!(message, Message::Probe { .. }) {
            self.scales.opened.entry(from).or_insert(self.now);
        }
    }

    // --- Clients ---------------------------------------------------------------------------------------------------

    /// Calls a node and waits for its answer.
    pub(super) fn call(&mut self, to: NodeId, call: Call) -> Reply {
        self.calls += 1;
        let id = CallId(self.calls);
        self.push(self.now, to, Some(Input::Call { id, call }));
        let end = self.now.after(self.settings.timeout_max * 2);
        while !self.replies.contains_key(&id) {
            assert!(self.step(end), "a call is answered within its time");
        }
        self.replies.remove(&id).expect("just seen")
    }

    /// Replaces what a key holds; None deletes it.
    pub(super) fn replace(&mut self, at: NodeId, key: &Key, value: Option<Bytes>, wish: Wish) {
        let wish_to_read = Wish { quorum: wish.quorum, ..Wish::default() };
        let seen = match self.call(at, Call::Get { key: key.clone(), wish: wish_to_read }) {
            Reply::Got { seen, .. } => seen,
            other => panic!("a read failed: {other:?}"),
        };
        let value =
            value.map(|bytes| Value { bytes, content_type: Bytes::from_static(CONTENT_TYPE), ttl: None });
        let change = message::Change { key: key.clone(), seen, value };
        match self.call(at, Call::Put { change, wish }) {
            Reply::Stored { .. } => {}
            other => panic!("a write failed: {other:?}"),
        }
    }

    /// Takes new nodes into the cluster, all at once. They run, and belong to none yet.
    pub(super) fn take_in(&mut self, at: NodeId, nodes: &[NodeId], zone: impl Fn(NodeId) -> String) {
        for &id in nodes {
            self.zones.insert(id, zone(id));
            self.start(id);
        }
        self.pass(Duration::from_secs(1));
        let operate = |cluster: &mut Self, call| {
            let wish = Wish { timeout: Some(cluster.settings.timeout_max), ..Wish::default() };
            match cluster.call(at, Call::Cluster { call, wish }) {
                Reply::Cluster(reply) => *reply,
                other => panic!("the cluster refuses: {other:?}"),
            }
        };
        for &id in nodes {
            let store = self.node(id).store();
            let member = Member { zone: zone(id), store, ..Member::plain(id) };
            operate(self, ClusterCall::Stage(Change::Join(member)));
        }
        let ClusterReply::Planned(plan) = operate(self, ClusterCall::Plan) else {
            panic!("a plan is answered with a plan")
        };
        operate(self, ClusterCall::Apply { epoch: plan.epoch, hash: plan.hash });
    }
}

/// What every value here says of itself.
pub(super) const CONTENT_TYPE: &[u8] = b"application/octet-stream";

fn put(table: &mut Table, rows: Vec<Row>) {
    for Row { key, value } in rows {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
}

fn page(table: &Table, scan: &Scan) -> (Vec<Row>, bool) {
    between(table, scan.after(), scan.before(), scan.rows_max(), scan.bytes_max())
}

fn between(
    table: &Table,
    after: &RowKey,
    before: &RowKey,
    rows_max: usize,
    bytes_max: usize,
) -> (Vec<Row>, bool) {
    let mut rows = Vec::new();
    let mut bytes = 0;
    for (key, value) in table.range((Excluded(after), Excluded(before))) {
        if rows.len() >= rows_max || bytes >= bytes_max {
            return (rows, true);
        }
        bytes += key.0.len() + value.len();
        rows.push(Row { key: key.clone(), value: Some(value.clone()) });
    }
    (rows, false)
}
