//! A cluster in a test's hand: nodes, their tables, and every effect carried out one at a time, in order.
//!
//! Nothing is drawn at random and nothing takes time unless the test says so. Disks complete at once unless they are
//! held, messages arrive at once unless a link is cut. What happens is told in lines, for scripts to compare.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use godown_core::actors::Actors;
use godown_core::causal::Context;
use godown_core::config::{Config, Settings};
use godown_core::effect::{Effect, Write};
use godown_core::id::{CallId, Life, NodeId};
use godown_core::input::{Boot, Call, Input, Reply, Wish};
use godown_core::key::{Key, Partition};
use godown_core::kind::Object;
use godown_core::layout::Member;
use godown_core::layout::active::View;
use godown_core::message::{Change, Message, Probed, Span, Value};
use godown_core::node::Node;
use godown_core::stored::{self, Row, RowKey};
use godown_core::time::{Mono, Now, Wall};
use godown_core::wire;

pub(crate) type Table = BTreeMap<RowKey, Bytes>;

/// Something on its way to a node.
struct Due {
    to: NodeId,
    input: Input,
    /// What to say when it arrives; None to say nothing.
    says: Option<String>,
}

pub(crate) struct Machine {
    pub(crate) node: Option<Node>,
    pub(crate) table: Table,
    held: Option<Vec<Write>>,
    starts: u16,
}

pub(crate) struct Cluster {
    pub(crate) settings: Settings,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) now: Mono,
    due: VecDeque<Due>,
    pub(crate) replies: BTreeMap<CallId, Reply>,
    calls: u64,
    /// What has happened since it was last taken.
    pub(crate) told: Vec<String>,
    /// Every message that was sent, lost ones too.
    pub(crate) sent: Vec<(NodeId, NodeId, Message)>,
    /// How often each node has gossiped, which `sent` leaves out.
    pub(crate) gossip: BTreeMap<NodeId, usize>,
    quiet: bool,
    ticks: u32,
}

impl Cluster {
    /// `count` nodes that have met and are ready. Anti-entropy then rests for an hour at a time.
    pub(crate) fn new(count: u64, change: impl FnOnce(&mut Settings)) -> Self {
        let members: Vec<NodeId> = (1..=count).map(NodeId).collect();
        let mut settings = Settings::new(NodeId(1), members.clone());
        settings.partitions = 1;
        settings.sync_every = Duration::from_secs(3600);
        settings.gossip_every = Duration::from_secs(3600);
        settings.probe_every = Duration::from_secs(3600);
        change(&mut settings);
        let machine = || Machine { node: None, table: Table::new(), held: None, starts: 0 };
        let mut cluster = Self {
            settings,
            machines: members.iter().map(|&node| (node, machine())).collect(),
            cut: BTreeSet::new(),
            now: Mono(0),
            due: VecDeque::new(),
            replies: BTreeMap::new(),
            calls: 0,
            told: Vec::new(),
            sent: Vec::new(),
            gossip: BTreeMap::new(),
            quiet: true,
            ticks: 0,
        };
        for &node in &members {
            cluster.start(node);
        }
        for _ in 0..1_000 {
            if cluster.nodes().all(Node::is_ready) {
                break;
            }
            cluster.next_tick();
        }
        assert!(cluster.nodes().all(Node::is_ready), "the nodes never became ready");
        cluster.told.clear();
        cluster.quiet = false;
        cluster
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.machines.values().filter_map(|machine| machine.node.as_ref())
    }

    pub(crate) fn config(&self, node: NodeId) -> Config {
        Settings { node, me: Member::plain(node), ..self.settings.clone() }
            .check()
            .expect("the test's settings are valid")
    }

    fn clock(&self) -> Now {
        Now { mono: self.now, wall: Wall(1_000_000_000 + self.now.0) }
    }

    /// Begins a life over whatever is in the table.
    pub(crate) fn start(&mut self, id: NodeId) {
        let config = self.config(id);
        let machine = self.machines.get_mut(&id).expect("a member");
        assert!(machine.node.is_none(), "{id} runs already");
        machine.starts += 1;
        let life = Life((u128::from(id.0 as u16) << 112) | (u128::from(machine.starts) << 96));
        let (after, before) = stored::boot_range();
        let rows = between(&machine.table, &after, &before, usize::MAX).0;
        machine.node = Some(Node::new(config, Boot { life, rows }, 7).expect("its own rows are good"));
        self.due.push_back(Due { to: id, input: Input::Tick, says: None });
        self.run();
    }

    /// Ends a life; writes that the disk still holds never were.
    pub(crate) fn crash(&mut self, id: NodeId) {
        let machine = self.machines.get_mut(&id).expect("a member");
        machine.node = None;
        machine.held = None;
        self.due.retain(|due| due.to != id);
    }

    pub(crate) fn wipe(&mut self, id: NodeId) {
        self.machines.get_mut(&id).expect("a member").table.clear();
    }

    /// The disk keeps writes to itself from now on.
    pub(crate) fn hold(&mut self, id: NodeId) {
        self.machines.get_mut(&id).expect("a member").held.get_or_insert_default();
    }

    /// The disk completes what it held.
    pub(crate) fn release(&mut self, id: NodeId) {
        for write in self.machines.get_mut(&id).expect("a member").held.take().unwrap_or_default() {
            self.land(id, write);
        }
        self.run();
    }

    /// The disk refuses what it held.
    pub(crate) fn fail(&mut self, id: NodeId) {
        for write in self.machines.get_mut(&id).expect("a member").held.take().unwrap_or_default() {
            self.refuse(id, write);
        }
        self.run();
    }

    /// The disk completes the first of the writes that it holds.
    pub(crate) fn land_first(&mut self, id: NodeId) {
        let write = self.first_held(id);
        self.land(id, write);
        self.run();
    }

    /// The disk refuses the first of the writes that it holds.
    pub(crate) fn fail_first(&mut self, id: NodeId) {
        let write = self.first_held(id);
        self.refuse(id, write);
        self.run();
    }

    fn first_held(&mut self, id: NodeId) -> Write {
        self.machines
            .get_mut(&id)
            .and_then(|machine| machine.held.as_mut())
            .expect("it holds writes")
            .remove(0)
    }

    fn refuse(&mut self, id: NodeId, write: Write) {
        let (_, ack) = write.into_parts();
        let says = Some(format!("{id}: the disk refuses"));
        self.due.push_back(Due { to: id, input: ack.failed("no space left".into()), says });
    }

    /// A row is not what was written any more.
    pub(crate) fn damage(&mut self, id: NodeId, key: &str) {
        let row = stored::object_key(Partition::of(&key_of(key), self.settings.partitions), &key_of(key));
        let value = self.machines.get_mut(&id).expect("a member").table.get_mut(&row).expect("it has a row");
        *value = value.iter().map(|byte| !byte).collect();
    }

    fn land(&mut self, id: NodeId, write: Write) {
        let rows: Vec<String> = write.rows().iter().map(row_words).collect();
        let (written, ack) = write.into_parts();
        let table = &mut self.machines.get_mut(&id).expect("a member").table;
        for Row { key, value } in written {
            match value {
                Some(value) => table.insert(key, value),
                None => table.remove(&key),
            };
        }
        let says = Some(format!("{id}: on disk: {}", rows.join(", ")));
        self.due.push_back(Due { to: id, input: ack.done(), says });
    }

    pub(crate) fn call(&mut self, to: NodeId, call: Call) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        self.due.push_back(Due { to, input: Input::Call { id, call }, says: None });
        self.run();
        id
    }

    pub(crate) fn put(&mut self, to: NodeId, key: &str, value: Option<&str>, seen: Context) -> CallId {
        let value = value.map(|value| Value {
            bytes: Bytes::copy_from_slice(value.as_bytes()),
            content_type: Bytes::new(),
            ttl: None,
        });
        self.call(to, Call::Put { change: Change { key: key_of(key), seen, value }, wish: Wish::default() })
    }

    pub(crate) fn get(&mut self, to: NodeId, key: &str) -> CallId {
        self.call(to, Call::Get { key: key_of(key), wish: Wish::default() })
    }

    /// A message from `from`, as if it had come over the network.
    pub(crate) fn peer(&mut self, to: NodeId, from: NodeId, message: Message) {
        let view = View { oldest: 1, reads: 1, newest: 1 };
        self.peer_with(to, from, view, message);
    }

    /// The same, from a node that works with these layouts.
    pub(crate) fn peer_with(&mut self, to: NodeId, from: NodeId, view: View, message: Message) {
        self.due.push_back(Due { to, input: Input::Peer { from, view, message }, says: None });
        self.run();
    }

    /// Goes to the next deadline of any node.
    pub(crate) fn next_tick(&mut self) {
        let next = self.nodes().filter_map(Node::deadline).min();
        self.now = self.now.max(next.expect("some timer is always set"));
        self.tick();
    }

    /// Lets `span` pass, stopping at every deadline.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        while let Some(next) = self.nodes().filter_map(Node::deadline).min().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    fn tick(&mut self) {
        // A test that waits for what never comes must end.
        self.ticks += 1;
        assert!(self.ticks < 100_000, "the test goes in circles; sent last: {:?}", self.sent.last());
        let now = self.now;
        let late: Vec<NodeId> = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.node.as_ref().and_then(Node::deadline).is_some_and(|at| at <= now))
            .map(|(&id, _)| id)
            .collect();
        for to in late {
            self.due.push_back(Due { to, input: Input::Tick, says: None });
        }
        self.run();
    }

    /// Carries out everything that can be carried out without time passing.
    pub(crate) fn run(&mut self) {
        let mut fx = Vec::new();
        while let Some(Due { to, input, says }) = self.due.pop_front() {
            let now = self.clock();
            let Some(node) = self.machines.get_mut(&to).and_then(|machine| machine.node.as_mut()) else {
                continue;
            };
            self.told.extend(says);
            node.handle(now, input, &mut fx);
            node.check();
            for effect in fx.drain(..) {
                self.carry_out(to, effect);
            }
        }
        if self.quiet {
            self.told.clear();
        }
    }

    fn carry_out(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Send { to, view, message } => {
                let mut frame = Vec::new();
                wire::encode(wire::VERSION_MAX, view, &message, &mut frame);
                let decoded = wire::decode(&frame[wire::PREFIX..]).expect("its own frames are good");
                assert_eq!(decoded, (view, message.clone()), "a message changes on the wire");
                let words = message_words(&message);
                let is_down = self.machines.get(&to).is_none_or(|machine| machine.node.is_none());
                let lost = is_down || self.cut.contains(&(id, to));
                let arrow = if lost { "-x" } else { "->" };
                if matches!(message, Message::Gossip { .. }) {
                    *self.gossip.entry(id).or_default() += 1;
                }
                // What goes on by itself, whatever happens, is told to nobody.
                if !matches!(message, Message::Gossip { .. } | Message::Swim { .. }) {
                    self.told.push(format!("{id} {arrow} {to}: {words}"));
                    self.sent.push((id, to, message.clone()));
                }
                if !lost {
                    self.due.push_back(Due {
                        to,
                        input: Input::Peer { from: id, view, message },
                        says: None,
                    });
                }
            }
            Effect::Reply { id: call, reply } => {
                self.told.push(format!("{id} replies: {}", reply_words(&reply)));
                assert!(self.replies.insert(call, reply).is_none(), "call {call:?} is answered twice");
            }
            Effect::Read(read) => {
                let (key, ack) = read.into_parts();
                let row = self.machines[&id].table.get(&key).cloned();
                self.due.push_back(Due { to: id, input: ack.done(row), says: None });
            }
            Effect::Write(write) => match &mut self.machines.get_mut(&id).expect("a member").held {
                Some(held) => held.push(write),
                None => self.land(id, write),
            },
            Effect::Scan(scan) => {
                let (rows, more) =
                    between(&self.machines[&id].table, scan.after(), scan.before(), scan.rows_max());
                self.due.push_back(Due { to: id, input: scan.into_ack().done(rows, more), says: None });
            }
            Effect::Members(_) => {}
            Effect::Note(note) => self.told.push(format!("{id} notes: {note:?}")),
        }
    }

    /// What a node holds for a key, filled.
    pub(crate) fn object(&self, id: NodeId, key: &str) -> Object {
        let partition = Partition::of(&key_of(key), self.settings.partitions);
        let row = stored::object_key(partition, &key_of(key));
        let table = &self.machines[&id].table;
        let actors = actors(table).remove(&partition).unwrap_or_default();
        table.get(&row).map_or_else(Object::default, |bytes| {
            stored::read_object(&row, bytes, &actors).expect("its own rows are good")
        })
    }

    pub(crate) fn values(&self, id: NodeId, key: &str) -> Vec<String> {
        self.object(id, key).siblings().map(|sibling| sibling.value.escape_ascii().to_string()).collect()
    }
}

/// The actors that a table's objects name by number.
pub(crate) fn actors(table: &Table) -> BTreeMap<Partition, Actors> {
    let (after, before) = stored::actor_range();
    stored::load(&between(table, &after, &before, usize::MAX).0).expect("its own rows are good").actors
}

pub(crate) fn key_of(key: &str) -> Key {
    Key(Bytes::copy_from_slice(key.as_bytes()))
}

fn between(table: &Table, after: &RowKey, before: &RowKey, max: usize) -> (Vec<Row>, bool) {
    use std::ops::Bound::Excluded;
    let mut rows = table
        .range((Excluded(after), Excluded(before)))
        .map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) });
    let page: Vec<Row> = rows.by_ref().take(max).collect();
    (page, rows.next().is_some())
}

fn row_words(row: &Row) -> String {
    let what = match row.key.0.first() {
        Some(b'a') => "actor",
        Some(b'c') => "checkpoint",
        Some(b'l') => "log",
        Some(b'm') => "life",
        Some(b'g') => "membership",
        Some(b'd') => "mark",
        Some(b'b') => "beginning",
        Some(b'p') => "hint",
        Some(b'q') => "place of a hint",
        _ => "object",
    };
    if row.value.is_some() { what.into() } else { format!("no {what}") }
}

pub(crate) fn reply_words(reply: &Reply) -> String {
    match reply {
        Reply::Got { siblings, seen } => format!("got {siblings:?}, seen {seen:?}"),
        Reply::Stored { seen } => format!("stored, seen {seen:?}"),
        Reply::Listed { keys, more } => format!("{keys:?}{}", if *more { " and more" } else { "" }),
        Reply::Cluster(reply) => format!("{reply:?}"),
        Reply::Failed(failure) => format!("failed: {failure}"),
    }
}

fn message_words(message: &Message) -> String {
    match message {
        Message::Forward { change, w, .. } => format!(
            "forward {} {:?} w={w}",
            change.key,
            change.value.as_ref().map(|value| value.bytes.clone())
        ),
        Message::Forwarded { outcome: Ok(seen), .. } => format!("forwarded, seen {seen:?}"),
        Message::Forwarded { outcome: Err(failure), .. } => format!("not forwarded: {failure}"),
        Message::Store { key, dot, delta, .. } => format!("store {key} {dot} {delta:?}"),
        Message::Stored { outcome: Ok(()), .. } => "stored".into(),
        Message::Stored { outcome: Err(refusal), .. } => format!("not stored: {refusal}"),
        Message::Fetch { key, .. } => format!("fetch {key}"),
        Message::Fetched { outcome: Ok(object), .. } => format!("fetched {object:?}"),
        Message::Fetched { outcome: Err(refusal), .. } => format!("not fetched: {refusal}"),
        Message::Repair { key, object } => format!("repair {key} {object:?}"),
        Message::Probe { .. } => "probe".into(),
        Message::Probed { outcome: Probed::Equal { .. }, .. } => "probed: equal".into(),
        Message::Probed { outcome: Probed::Differ { .. }, .. } => "probed: different".into(),
        Message::Ask { partition, clock, .. } => {
            format!("ask {partition:?}, I have seen {:?}", clock.as_context())
        }
        Message::Give { given, .. } => {
            let objects: Vec<String> = given
                .objects
                .iter()
                .map(|given| format!("{} {:?} for {:?}", given.key, given.object, given.dots))
                .collect();
            let notes =
                [(!given.reaches, ", but my log does not reach"), (given.more, ", and there is more")];
            let notes: String = notes.iter().filter(|(holds, _)| *holds).map(|(_, words)| *words).collect();
            format!("give {:?}, I have seen {:?}{notes}", objects, given.clock.as_context())
        }
        Message::Pull { partition, after, until, have, .. } => {
            let until = until.as_ref().map(|until| format!(" up to {until:?}")).unwrap_or_default();
            let have =
                if have.is_empty() { String::new() } else { format!(", I have {} objects", have.len()) };
            format!("pull {partition:?} after {after:?}{until}{have}")
        }
        Message::Page { outcome: Ok(page), .. } => {
            let same = &page.same;
            let same = if same.is_empty() { String::new() } else { format!(", the same as {same:?}") };
            let seen = page.clock.as_context();
            format!("page {:?} up to {:?}{same}, I had seen {seen:?}", page.objects, page.end)
        }
        Message::Compare { partition, after, spans, .. } => {
            let span = |span: &Span| match (&span.end, span.sum) {
                (Some(end), Some((_, count))) => format!("{count} up to {end:?}"),
                (None, Some((_, count))) => format!("{count} up to the end"),
                (end, None) => format!("nothing up to {end:?}"),
            };
            let spans: Vec<String> = spans.iter().map(span).collect();
            format!("compare {partition:?} after {after:?}: {}", spans.join(", "))
        }
        Message::Compared { outcome: Ok(compared), .. } => {
            format!("compared: {:?} are equal, I had seen {:?}", compared.equal, compared.clock.as_context())
        }
        Message::Compared { outcome: Err(refusal), .. } => format!("not compared: {refusal}"),
        Message::Page { outcome: Err(refusal), .. } => format!("no page: {refusal}"),
        Message::List { first, last, after, limit, .. } => {
            format!("list {first:?} to {last:?} after {after:?}, {limit} keys")
        }
        Message::Listed { outcome, .. } => format!("listed {outcome:?}"),
        Message::Probed { outcome: Probed::OtherView, .. } => "probed: other layouts".into(),
        other => format!("{other:?}"),
    }
}
