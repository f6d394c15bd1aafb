//! The event loop: one node, driven by what its store, its clients and its peers have to say.
//!
//! A turn of the loop takes what has arrived (completions first and all of them, then calls and messages up to a
//! batch), hands it to the node at one moment, and carries out the effects. It waits between turns only, never
//! within one: reads and writes go to the store's threads, messages into outboxes, replies to whoever waits. Bounds
//! are elsewhere: the channel of calls and that of messages are short, and what the node lets in bounds the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use godown_core::effect::{Effect, Effects, Read, Write};
use godown_core::id::{CallId, ClusterId};
use godown_core::input::{Call, Input, Reply};
use godown_core::layout::Member;
use godown_core::node::{ClusterReport, Node};
use godown_core::note::Note;
use godown_core::time::{Mono, Now, Wall};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tracing::{debug, error, info, warn};

use crate::peers::{Memory, Peers};
use crate::store::{Store, StoreEvent};

/// Calls, and messages, that one turn takes.
const BATCH: usize = 256;

/// What the HTTP side asks of the loop.
pub(crate) enum Ask {
    /// Serve a client.
    Call(Call, oneshot::Sender<Reply>),
    /// Say how the node is.
    Status(oneshot::Sender<Status>),
    /// Say how the cluster stands.
    Cluster(oneshot::Sender<ClusterReport>),
}

/// How a node is.
#[derive(Debug)]
pub(crate) struct Status {
    /// Whether it answers reads for everything that it holds.
    pub(crate) is_ready: bool,
    /// Whether it has found another node under its identity.
    pub(crate) is_fenced: bool,
    /// Calls in flight.
    pub(crate) calls: usize,
    /// The core's counters.
    pub(crate) counters: Vec<(&'static str, u64)>,
}

/// Where inputs come from.
pub(crate) struct Sources {
    /// From the store.
    pub(crate) events: mpsc::UnboundedReceiver<StoreEvent>,
    /// From clients.
    pub(crate) asks: mpsc::Receiver<Ask>,
    /// From peers.
    pub(crate) inbox: mpsc::Receiver<Input>,
}

/// The node and where its effects go.
pub(crate) struct Driver {
    node: Node,
    peers: Arc<Peers>,
    store: Store,
    remember: watch::Sender<Option<Memory>>,
    /// The cluster that the node is in, and the other members, as last told to the peers.
    cluster: Option<ClusterId>,
    members: Vec<Member>,
    started: Instant,
    waiting: BTreeMap<CallId, oneshot::Sender<Reply>>,
    last_call: u64,
    was_ready: bool,
    notes: Notes,
    reads: Vec<Read>,
    writes: Vec<Write>,
}

impl Driver {
    /// Drives `node` over `store`, once `run` is called.
    pub(crate) fn new(
        node: Node,
        peers: Arc<Peers>,
        store: Store,
        remember: watch::Sender<Option<Memory>>,
    ) -> Self {
        Self {
            node,
            peers,
            store,
            remember,
            cluster: None,
            members: Vec::new(),
            started: Instant::now(),
            waiting: BTreeMap::new(),
            last_call: 0,
            was_ready: false,
            notes: Notes::default(),
            reads: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Runs until `stop`, or until the store breaks: then the reason comes along. Gives the store back.
    pub(crate) async fn run(
        mut self,
        mut sources: Sources,
        mut stop: watch::Receiver<bool>,
    ) -> (Store, Result<(), String>) {
        let mut inputs = vec![Input::Tick];
        let mut effects = Effects::new();
        loop {
            if let Err(reason) = self.gather(&mut sources, &mut inputs) {
                return (self.store, Err(reason));
            }
            let now = self.now();
            if self.node.deadline().is_some_and(|deadline| deadline <= now.mono) {
                inputs.push(Input::Tick);
            }
            self.node.handle_all(now, inputs.drain(..), &mut effects);
            self.carry_out(&mut effects);
            // Connections get their turn, and what they bring comes together in the next one.
            tokio::task::yield_now().await;

            let deadline = self.node.deadline();
            let wake = deadline.map(|Mono(at)| self.started + std::time::Duration::from_nanos(at));
            tokio::select! {
                biased;
                Some(event) = sources.events.recv() => match event {
                    StoreEvent::Done(done) => inputs.extend(done),
                    StoreEvent::Broken(reason) => return (self.store, Err(reason)),
                },
                Some(ask) = sources.asks.recv() => self.on_ask(ask, &mut inputs),
                Some(input) = sources.inbox.recv() => inputs.push(input),
                () = until(wake) => {}
                _ = stop.wait_for(|&stop| stop) => return (self.store, Ok(())),
            }
        }
    }

    /// Takes what has arrived without waiting.
    fn gather(&mut self, sources: &mut Sources, inputs: &mut Vec<Input>) -> Result<(), String> {
        while let Ok(event) = sources.events.try_recv() {
            match event {
                StoreEvent::Done(done) => inputs.extend(done),
                StoreEvent::Broken(reason) => return Err(reason),
            }
        }
        for _ in 0..BATCH {
            let Ok(ask) = sources.asks.try_recv() else { break };
            self.on_ask(ask, inputs);
        }
        for _ in 0..BATCH {
            let Ok(input) = sources.inbox.try_recv() else { break };
            inputs.push(input);
        }
        Ok(())
    }

    fn on_ask(&mut self, ask: Ask, inputs: &mut Vec<Input>) {
        match ask {
            Ask::Call(call, reply) => {
                self.last_call += 1;
                let id = CallId(self.last_call);
                self.waiting.insert(id, reply);
                inputs.push(Input::Call { id, call });
            }
            Ask::Status(reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(Status {
                    is_ready: self.node.is_ready(),
                    is_fenced: self.node.is_fenced(),
                    calls: self.waiting.len(),
                    counters: self.node.stats().named().to_vec(),
                });
            }
            Ask::Cluster(reply) => _ = reply.send(self.node.cluster()),
        }
    }

    fn carry_out(&mut self, effects: &mut Effects) {
        let cluster = self.node.layouts().newest().map(|newest| newest.cluster());
        if cluster != self.cluster {
            self.cluster = cluster;
            self.peers.set_cluster(cluster.map(|cluster| cluster.to_string()));
            self.remember();
        }
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, view, message } => self.peers.send(to, view, &message),
                Effect::Reply { id, reply } => {
                    let waiting = self.waiting.remove(&id);
                    assert!(waiting.is_some(), "the core answers call {} twice, or never had it", id.0);
                    // Whoever asked may have gone.
                    let _ = waiting.map(|waiting| waiting.send(reply));
                }
                Effect::Read(read) => self.reads.push(read),
                Effect::Write(write) => self.writes.push(write),
                Effect::Scan(scan) => self.store.scan(scan),
                Effect::Members(members) => {
                    self.peers.set_members(&members);
                    self.members = members;
                    self.remember();
                }
                Effect::Note(note) => self.notes.tell(&note, &self.peers),
            }
        }
        self.store.write(&mut self.writes);
        self.store.read(&mut self.reads);
        if self.notes.take_news() || !self.was_ready {
            let is_ready = self.node.is_ready();
            if is_ready != self.was_ready {
                info!(
                    "{}",
                    if is_ready { "ready: every partition has caught up" } else { "not ready any more" }
                );
            }
            self.was_ready = is_ready;
        }
    }

    /// Has it written down who is in the cluster.
    fn remember(&self) {
        if let Some(cluster) = self.cluster {
            let addresses = self.members.iter().filter_map(|member| self.peers.address_of(member.id));
            self.remember
                .send_replace(Some(Memory { cluster: cluster.to_string(), members: addresses.collect() }));
        }
    }

    fn now(&self) -> Now {
        let nanos = |span: std::time::Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        // A wall clock before 1970 counts as 1970: dates may be wrong by contract.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: Mono(nanos(self.started.elapsed())), wall: Wall(nanos(wall)) }
    }
}

/// Waits until `wake`, for ever without one.
async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

/// Tells an operator what the core finds remarkable, each kind once a second at most: a note comes with every
/// message of some peers, and a log must not drown in one cause.
#[derive(Default)]
struct Notes {
    told: BTreeMap<&'static str, (Option<Instant>, u64)>,
    has_news: bool,
}

impl Notes {
    fn tell(&mut self, note: &Note, peers: &Peers) {
        if matches!(note, Note::CaughtUp { .. } | Note::Fenced { .. } | Note::Relayout { .. }) {
            self.has_news = true;
        }
        match note {
            Note::CaughtUp { partition } => debug!("partition {partition:?} has caught up"),
            Note::Fenced { by } => error!(
                "fenced: '{}' shows that another node uses this one's identity; nothing is served any more. Is the \
                 data folder in use twice, or was this machine cloned? Start again to take a new identity",
                peers.name_of(*by)
            ),
            Note::Damaged { key, reason } => self.warn("damaged", || {
                format!("the row of key {key} is damaged and not served from here; the others serve it: {reason}")
            }),
            Note::WriteFailed { reason } => self.warn("write", || format!("a write failed: {reason}")),
            Note::ScanFailed { reason } => self.warn("scan", || format!("a scan failed: {reason}")),
            Note::DriftRefused { ahead } => self.warn("drift", || {
                format!("a value is dated {ahead:?} ahead of this machine's clock: some node's clock is wrong")
            }),
            Note::WentBack { partition } => self.warn("went back", || {
                format!(
                    "the data folder was put back to an earlier state (partition {partition:?}): it answers no read \
                     until it has caught up"
                )
            }),
            Note::Relayout { oldest, newest, is_member } => info!(
                "layout {newest} is in force{}{}",
                if oldest < newest { format!(", and layout {oldest} gives way") } else { String::new() },
                if *is_member { "" } else { "; this node is no member of it, and serves nothing any more" },
            ),
            Note::Dropped { partition } => debug!("partition {partition:?} is not held here any more"),
            Note::Mended { key } => info!("the damaged row of key {key} has been mended by the other replicas"),
            Note::Unmendable { key } => {
                error!("the damaged row of key {key} cannot be mended: no other node has a copy; restore a backup")
            }
            Note::HintDamaged { target, reason } => self.warn("hint", || {
                format!("a hint for '{}' is damaged, and dropped: {reason}", peers.name_of(*target))
            }),
            Note::NotFounded { why } => error!("no cluster can be founded of the nodes that are listed: {why}"),
            Note::NotAMember { by } => warn!(
                "'{}' is in a cluster that this node is no member of: take it in there with godown cluster join",
                peers.name_of(*by)
            ),
            Note::OtherCluster { by } => {
                let name = peers.name_of(*by);
                warn!("'{name}' is in another cluster, or has another number of partitions: it is not listened to");
            }
            Note::Forked { by } => {
                let name = peers.name_of(*by);
                error!(
                    "'{name}' has another layout of the same number: data folders were put back to an earlier state on \
                     several nodes at once; it is not listened to"
                );
            }
            Note::Stranger { from } => self.warn("stranger", || {
                let name = peers.name_of(*from);
                format!("a message from '{name}' does not fit this node's list of nodes: the lists differ")
            }),
        }
    }

    fn warn(&mut self, kind: &'static str, words: impl FnOnce() -> String) {
        let (last, hushed) = self.told.entry(kind).or_default();
        if last.is_some_and(|last| last.elapsed().as_secs() == 0) {
            *hushed += 1;
            return;
        }
        let hushed = std::mem::take(hushed);
        *last = Some(Instant::now());
        warn!(hushed, "{}", words());
    }

    const fn take_news(&mut self) -> bool {
        std::mem::replace(&mut self.has_news, false)
    }
}
