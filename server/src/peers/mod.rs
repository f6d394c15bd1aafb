//! The other nodes: connections to them, and what may come over those.
//!
//! Each node calls each of its peers and sends over the connection that it has opened; it hears a peer over the
//! connection that the peer has opened. So there is never a question which of two connections is the one, and each
//! side repairs its own. Both begin with a hello (`hello`); then come frames, and every second a length of zero, a
//! ping, which the other answers with the same four bytes. A connection that shows no sign of life for five seconds
//! is closed: a paused peer stalls nothing and holds no memory (`outbox`).
//!
//! Who the peers are may change at any time: `set_members` ends the connections to those who are no members any more,
//! in both directions, and begins calling new ones. Until the node is in a cluster its peers are those that its
//! configuration lists. Others may call, too, and what they say is the core's to judge: a member that this node has not
//! heard of yet, one that was removed while it was away, a node that has taken this one in. Such a guest is called back
//! for as long as it is connected, so that it can be answered. A node's id is a hash of its name, so that list is complete once every peer has a name; those
//! that were listed without one are asked in the greeting, and `names` waits for that. `memory` keeps what was learnt,
//! so that a later start waits for nobody.
//!
//! A connection whose frames cannot be understood is closed with a reason that names the peer, and never harms the
//! process. Whoever claims a name or a life that somebody live already has is refused and reported: two actors under
//! one name would lose writes silently. Whoever is in another cluster is refused, too.

mod hello;
mod inbound;
pub(crate) mod memory;
mod outbound;
mod outbox;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use godown_core::id::{Life, NodeId};
use godown_core::input::Input;
use godown_core::layout::Member;
use godown_core::layout::active::View;
use godown_core::message::Message;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::config::Listed;
use hello::Purpose;
pub(crate) use hello::{Hello, Identity};
pub(crate) use memory::Memory;
use outbox::Outbox;

/// A connection that shows no sign of life for so long is closed.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(1);

/// What stands for a ping and for its answer: a frame's length of zero.
const PING: [u8; 4] = [0; 4];

/// Callers that are no peers, at once.
const GUESTS_MAX: usize = 32;

/// Everything about the other nodes that this one shares among its tasks.
pub(crate) struct Peers {
    identity: Identity,
    outbox_bytes_max: usize,
    table: Mutex<Table>,
    learnt: Notify,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    inbox: mpsc::Sender<Input>,
    requests: mpsc::Sender<JoinRequest>,
    counts: Counts,
}

/// Who the peers are at present.
struct Table {
    /// The cluster that this node is in.
    cluster: Option<String>,
    links: Vec<Calling>,
    /// The same by id, once every peer has a name.
    routes: BTreeMap<NodeId, Arc<Link>>,
    has_routes: bool,
    /// Callers that are no peers.
    guests: BTreeMap<NodeId, Calling>,
    /// Between the beginning and the end of `run`: links have tasks then.
    is_running: bool,
    /// Feeds nothing but jitter.
    rng: Xoshiro256PlusPlus,
}

/// A link, and the task that keeps calling; it ends with this.
struct Calling {
    link: Arc<Link>,
    task: Option<AbortHandle>,
}

impl Drop for Calling {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A node that asks this one to be taken into its cluster.
#[derive(Debug)]
pub(crate) struct JoinRequest {
    /// What it says of itself.
    pub(crate) hello: Hello,
    /// Whether the change is to be applied at once.
    pub(crate) now: bool,
    /// Takes the answer: why not, if not.
    pub(crate) answer: oneshot::Sender<Result<(), String>>,
}

/// Counters; they only rise.
#[derive(Debug, Default)]
struct Counts {
    /// Connections closed over a frame that was not understood.
    corrupt: AtomicU64,
    /// Connections refused or closed before the first frame.
    refused: AtomicU64,
    /// Connections that claimed a name or a life which somebody else has.
    impostors: AtomicU64,
    /// Messages for nodes that are no members any more.
    strangers: AtomicU64,
}

/// The way to one peer.
struct Link {
    address: Listed,
    /// As listed, as remembered, or as the peer has said.
    name: OnceLock<String>,
    outbox: Outbox,
    /// What the peer said last, while there is a connection.
    connected: Mutex<Option<Connected>>,
    /// Whether it leads to a guest, to whom this node speaks only because it was called.
    is_guest: AtomicBool,
    /// Raised when the peer has called this node: no need to wait any longer before calling it.
    is_back: Notify,
}

/// What is known of whoever is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
struct Connected {
    life: Life,
    /// By how many milliseconds its wall clock was ahead of this node's.
    ahead_ms: i64,
}

impl Link {
    fn new(address: Listed, name: Option<String>, outbox_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            address: Listed { name: None, ..address },
            name: name.map(OnceLock::from).unwrap_or_default(),
            outbox: Outbox::new(outbox_bytes_max),
            connected: Mutex::default(),
            is_guest: AtomicBool::new(false),
            is_back: Notify::new(),
        })
    }

    fn life(&self) -> Option<Life> {
        lock(&self.connected).map(|connected| connected.life)
    }

    /// Whether this is the way to `member`. A version that knew no layouts told no addresses.
    fn leads_to(&self, member: &Member) -> bool {
        let is_there = member.address.is_empty() || self.address.to_string() == member.address;
        is_there && self.id() == Some(member.id)
    }

    fn id(&self) -> Option<NodeId> {
        self.name.get().map(|name| NodeId::named(name))
    }

    fn is_named(&self, name: &str) -> bool {
        self.name.get().is_some_and(|known| known == name)
    }
}

/// A peer's live connection to this node.
struct Session {
    life: Life,
    heard: Mutex<Instant>,
    evict: Notify,
    is_evicted: AtomicBool,
}

impl Session {
    fn evict(&self) {
        self.is_evicted.store(true, Ordering::Relaxed);
        self.evict.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One peer, for reports.
#[derive(Debug, Serialize)]
pub(crate) struct PeerReport {
    pub(crate) name: Option<String>,
    pub(crate) address: String,
    /// Whether this node can send to it.
    pub(crate) connected: bool,
    /// Whether it can send to this node.
    pub(crate) heard: bool,
    life: Option<String>,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) outbox_bytes: u64,
    /// How far its wall clock was ahead of this node's when it was last asked, give or take the way of a message.
    pub(crate) clock_ahead_ms: Option<i64>,
}

/// All peers, for reports.
#[derive(Debug, Serialize)]
pub(crate) struct PeersReport {
    pub(crate) peers: Vec<PeerReport>,
    pub(crate) peers_connected: usize,
    pub(crate) outbox_dropped: u64,
    pub(crate) frames_corrupt: u64,
    pub(crate) connections_refused: u64,
    pub(crate) impostors: u64,
    pub(crate) strangers_dropped: u64,
}

impl Peers {
    /// The peers that are `listed`, nobody called yet. What they send goes into `inbox`, and what nodes want that are
    /// in no cluster yet into `requests`. `rng` feeds nothing but jitter.
    pub(crate) fn new(
        identity: Identity,
        listed: impl IntoIterator<Item = Listed>,
        outbox_bytes_max: usize,
        rng: Xoshiro256PlusPlus,
        inbox: mpsc::Sender<Input>,
        requests: mpsc::Sender<JoinRequest>,
    ) -> Arc<Self> {
        let links = listed.into_iter().map(|mut listed| {
            let name = listed.name.take();
            Calling { link: Link::new(listed, name, outbox_bytes_max), task: None }
        });
        let table = Table {
            cluster: None,
            links: links.collect(),
            routes: BTreeMap::new(),
            has_routes: false,
            guests: BTreeMap::new(),
            is_running: false,
            rng,
        };
        Arc::new(Self {
            identity,
            outbox_bytes_max,
            table: Mutex::new(table),
            learnt: Notify::new(),
            sessions: Mutex::default(),
            inbox,
            requests,
            counts: Counts::default(),
        })
    }

    /// Calls every peer and answers those that call, until `stop`. Asks the nodes at `join` to take this one in, until
    /// one of them says yes or it is in a cluster.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        join: Vec<Listed>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut tasks = JoinSet::new();
        {
            let mut table = lock(&self.table);
            table.is_running = true;
            self.call_all(&mut table);
            if !join.is_empty() {
                let rng = table.rng.clone();
                table.rng.jump();
                tasks.spawn(outbound::ask_until_taken(Arc::clone(&self), join, rng));
            }
        }
        tasks.spawn(inbound::answer(Arc::clone(&self), listener));
        // Dropping the tasks closes their connections.
        let _ = stop.wait_for(|&stop| stop).await;
        let mut table = lock(&self.table);
        table.is_running = false;
        table.links.clear();
        table.guests.clear();
    }

    /// Gives a task to every link that has none.
    fn call_all(self: &Arc<Self>, table: &mut Table) {
        if !table.is_running {
            return;
        }
        let Table { links, guests, rng, .. } = table;
        for calling in links.iter_mut().chain(guests.values_mut()).filter(|calling| calling.task.is_none()) {
            // A stream of jitter of its own, so that tasks do not fall into step.
            let stream = rng.clone();
            rng.jump();
            let call = outbound::keep_calling(Arc::clone(self), Arc::clone(&calling.link), stream);
            calling.task = Some(tokio::spawn(call).abort_handle());
        }
    }

    /// This node is in `cluster` from now on.
    pub(crate) fn set_cluster(&self, cluster: Option<String>) {
        lock(&self.table).cluster = cluster;
    }

    /// The peers are exactly these from now on.
    pub(crate) fn set_members(self: &Arc<Self>, members: &[Member]) {
        let mut table = lock(&self.table);
        let mut former = std::mem::take(&mut table.links);
        table.routes.clear();
        for member in members {
            former.extend(table.guests.remove(&member.id));
            let calling = match former.iter().position(|calling| calling.link.leads_to(member)) {
                Some(index) => {
                    let calling = former.swap_remove(index);
                    calling.link.is_guest.store(false, Ordering::Relaxed);
                    calling
                }
                // A version that knew no layouts told no addresses; whoever calls is called back as a guest.
                None if member.address.is_empty() => continue,
                None => {
                    info!(peer = member.name, address = member.address, "is a peer from now on");
                    let name = Some(member.name.clone());
                    let link = Link::new(parse_address(member), name, self.outbox_bytes_max);
                    Calling { link, task: None }
                }
            };
            table.routes.insert(member.id, Arc::clone(&calling.link));
            table.links.push(calling);
        }
        table.has_routes = true;
        self.call_all(&mut table);
        for Calling { link, .. } in &former {
            info!(peer = %link.describe(), "is not called under this address any more");
        }
        // Ends their tasks.
        drop(former);
        // Whoever is no member any more may come back as a guest.
        let is_gone = |name: &str| {
            let id = NodeId::named(name);
            !table.routes.contains_key(&id) && !table.guests.contains_key(&id)
        };
        let sessions = lock(&self.sessions);
        sessions.iter().filter(|(name, _)| is_gone(name)).for_each(|(_, session)| session.evict());
    }

    /// Takes a caller in that is no peer: it can be answered for as long as it is connected.
    fn add_guest(self: &Arc<Self>, hello: &Hello) -> Result<(), String> {
        let mut table = lock(&self.table);
        let id = NodeId::named(&hello.name);
        if table.guests.len() >= GUESTS_MAX && !table.guests.contains_key(&id) {
            return Err("too many nodes that are no members call this one already".into());
        }
        // One that does not say where it is reached is heard, and not answered.
        if let Ok(address) = hello.advertise.parse::<Listed>() {
            let link = Link::new(address, Some(hello.name.clone()), self.outbox_bytes_max);
            link.is_guest.store(true, Ordering::Relaxed);
            table.guests.insert(id, Calling { link, task: None });
            self.call_all(&mut table);
        }
        Ok(())
    }

    /// A guest has hung up.
    fn remove_guest(&self, name: &str) {
        lock(&self.table).guests.remove(&NodeId::named(name));
    }

    /// The names of all peers, as soon as each has one. Messages can be sent from then on.
    pub(crate) async fn names(&self) -> Vec<String> {
        loop {
            let learnt = self.learnt.notified();
            if self.nameless().is_empty() {
                break;
            }
            learnt.await;
        }
        let mut table = lock(&self.table);
        let named = |calling: &Calling| Some((calling.link.name.get()?.clone(), Arc::clone(&calling.link)));
        let links: Vec<(String, Arc<Link>)> = table.links.iter().filter_map(named).collect();
        table.routes = links.iter().map(|(name, link)| (NodeId::named(name), Arc::clone(link))).collect();
        table.has_routes = true;
        links.into_iter().map(|(name, _)| name).collect()
    }

    /// The addresses of the peers whose name is not known.
    pub(crate) fn nameless(&self) -> Vec<String> {
        let table = lock(&self.table);
        let nameless = table.links.iter().filter(|calling| calling.link.name.get().is_none());
        nameless.map(|calling| calling.link.address.to_string()).collect()
    }

    /// The names of the peers, by address.
    pub(crate) fn names_by_address(&self) -> BTreeMap<String, String> {
        let named =
            |calling: &Calling| Some((calling.link.address.to_string(), calling.link.name.get()?.clone()));
        lock(&self.table).links.iter().filter_map(named).collect()
    }

    /// Sends `message` to `to`, or drops it: messages may be lost. So are all for a node that is no peer any more.
    pub(crate) fn send(&self, to: NodeId, view: View, message: &Message) {
        match lock(&self.table).route(to) {
            Some(link) => link.outbox.push(view, message),
            None => count(&self.counts.strangers),
        }
    }

    /// A peer's name and address, as it is known here.
    pub(crate) fn address_of(&self, id: NodeId) -> Option<(String, String)> {
        let table = lock(&self.table);
        let link = table.route(id)?;
        Some((link.name.get()?.clone(), link.address.to_string()))
    }

    /// A peer's name, for people.
    pub(crate) fn name_of(&self, id: NodeId) -> String {
        let table = lock(&self.table);
        table.route(id).and_then(|link| link.name.get()).cloned().unwrap_or_else(|| id.to_string())
    }

    /// What this node says of itself at present.
    pub(crate) fn hello(&self) -> Hello {
        Hello::new(&self.identity, lock(&self.table).cluster.clone(), wall_ms())
    }

    /// Calls whoever is at `address` and asks who that is. The error is for people.
    pub(crate) async fn inquire(&self, address: &Listed) -> Result<Hello, String> {
        outbound::ask(self, address, Purpose::Ask).await
    }

    /// Asks the node at `address` to take this one in at once. The error is for people.
    pub(crate) async fn ask_in(&self, address: &Listed) -> Result<(), String> {
        let theirs = outbound::ask(self, address, Purpose::JoinNow).await?;
        theirs.refused.map_or(Ok(()), Err)
    }

    /// How things stand.
    pub(crate) fn report(&self) -> PeersReport {
        let (table, sessions) = (lock(&self.table), lock(&self.sessions));
        let report = |Calling { link, .. }: &Calling| {
            let (name, connected, counts) = (link.name.get(), *lock(&link.connected), link.outbox.counts());
            PeerReport {
                name: name.cloned(),
                address: link.address.to_string(),
                connected: connected.is_some(),
                heard: name.is_some_and(|name| sessions.contains_key(name)),
                life: connected.map(|connected| connected.life.to_string()),
                sent: counts.queued,
                dropped: counts.dropped,
                outbox_bytes: counts.bytes,
                clock_ahead_ms: connected.map(|connected| connected.ahead_ms),
            }
        };
        let peers: Vec<PeerReport> = table.links.iter().map(report).collect();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PeersReport {
            peers_connected: peers.iter().filter(|peer| peer.connected).count(),
            outbox_dropped: peers.iter().map(|peer| peer.dropped).sum(),
            peers,
            frames_corrupt: get(&self.counts.corrupt),
            connections_refused: get(&self.counts.refused),
            impostors: get(&self.counts.impostors),
            strangers_dropped: get(&self.counts.strangers),
        }
    }

    /// The link to the peer called `name`.
    fn link(&self, name: &str) -> Option<Arc<Link>> {
        let table = lock(&self.table);
        table
            .links
            .iter()
            .find(|calling| calling.link.is_named(name))
            .map(|calling| Arc::clone(&calling.link))
    }

    /// Whether somebody other than `name` is connected in `life`, or this node itself lives it.
    fn is_taken(&self, life: Life, name: &str) -> bool {
        let by_session = |(other, session): (&String, &Arc<Session>)| other != name && session.life == life;
        let by_link = |Calling { link, .. }: &Calling| link.life() == Some(life) && !link.is_named(name);
        life == self.identity.life
            || lock(&self.sessions).iter().any(by_session)
            || lock(&self.table).callings().any(by_link)
    }

    /// Learns that `link` leads to the node called `name`. False when another link leads there already.
    fn learn(&self, link: &Link, name: &str) -> bool {
        let is_elsewhere = |other: &Calling| !std::ptr::eq(&*other.link, link) && other.link.is_named(name);
        if lock(&self.table).links.iter().any(is_elsewhere) {
            return false;
        }
        let is_known = link.name.get_or_init(|| name.to_owned()) == name;
        if is_known {
            self.learnt.notify_waiters();
        }
        is_known
    }
}

impl Table {
    /// The way to a peer or a guest.
    fn route(&self, id: NodeId) -> Option<&Arc<Link>> {
        self.routes.get(&id).or_else(|| self.guests.get(&id).map(|calling| &calling.link))
    }

    fn callings(&self) -> impl Iterator<Item = &Calling> {
        self.links.iter().chain(self.guests.values())
    }
}

/// Where to call a member. Addresses are checked before they are proposed; one that is none is called in vain.
fn parse_address(member: &Member) -> Listed {
    member.address.parse().unwrap_or_else(|why| {
        warn!(peer = member.name, address = member.address, "cannot be called: {why}");
        Listed { name: None, host: member.address.clone(), port: 0 }
    })
}

/// What this machine's wall clock says, in milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godown_core::id::OpId;
    use godown_core::key::Key;
    use rand::SeedableRng as _;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// A node without anything behind it but its peers' messages.
    struct Alone {
        peers: Arc<Peers>,
        address: String,
        inbox: mpsc::Receiver<Input>,
        requests: mpsc::Receiver<JoinRequest>,
        stop: watch::Sender<bool>,
    }

    async fn start(name: &str, cluster: Option<&str>) -> Alone {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let identity = Identity {
            name: name.into(),
            life: Life(NodeId::named(name).0.into()),
            store: Life::default(),
            shape: (256, 3),
            advertise: address.clone(),
            zone: "default".into(),
            weight: 100,
            joins: cluster.is_none(),
        };
        let (inbox_sender, inbox) = mpsc::channel(100);
        let (requests_sender, requests) = mpsc::channel(1);
        let rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let peers = Peers::new(identity, [], 1 << 20, rng, inbox_sender, requests_sender);
        peers.names().await;
        if cluster.is_some() {
            peers.set_cluster(cluster.map(str::to_owned));
        }
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(Arc::clone(&peers).run(listener, Vec::new(), stopped));
        Alone { peers, address, inbox, requests, stop }
    }

    impl Alone {
        fn member(&self) -> Member {
            let name = self.peers.identity.name.clone();
            let (id, address) = (NodeId::named(&name), self.address.clone());
            Member { id, name, address, zone: "default".into(), weight: 100, store: Life::default() }
        }

        fn set_members(&self, others: &[&Alone]) {
            let members: Vec<Member> = others.iter().map(|other| other.member()).collect();
            self.peers.set_members(&members);
        }

        /// Says something to `to` until it is heard.
        async fn is_heard_by(&self, to: &mut Alone) {
            let words = format!("'{}' hears '{}'", to.member().name, self.member().name);
            let id = to.member().id;
            let heard = async {
                loop {
                    self.peers.send(id, View::default(), &message());
                    tokio::select! {
                        input = to.inbox.recv() => match input {
                            Some(Input::Peer { from, .. }) if from == self.member().id => return,
                            _ => {}
                        },
                        () = sleep(Duration::from_millis(20)) => {}
                    }
                }
            };
            timeout(Duration::from_secs(20), heard).await.expect(&words);
        }
    }

    fn message() -> Message {
        Message::Fetch { op: OpId { origin: Life(1), n: 1 }, key: Key(Bytes::from_static(b"k")) }
    }

    /// Waits until something about the peers is so.
    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.expect(what);
    }

    #[tokio::test]
    async fn members_that_come_are_connected_and_those_that_go_are_not_any_more() {
        let (a, mut b, mut c) =
            (start("a", Some("c1")).await, start("b", Some("c1")).await, start("c", Some("c1")).await);
        a.set_members(&[&b]);
        b.set_members(&[&a]);
        a.is_heard_by(&mut b).await;
        a.set_members(&[&b, &c]);
        c.set_members(&[&a, &b]);
        b.set_members(&[&a, &c]);
        a.is_heard_by(&mut c).await;
        a.is_heard_by(&mut b).await;
        until("b talks to a", || a.peers.report().peers.iter().all(|peer| peer.heard)).await;

        b.set_members(&[&c]);
        a.set_members(&[&c]);
        assert_eq!(a.peers.report().peers.len(), 1);
        until("a hears b no more", || lock(&a.peers.sessions).keys().eq(["c"])).await;
        until("b hears a no more", || !lock(&b.peers.sessions).contains_key("a")).await;
        a.peers.send(b.member().id, View::default(), &message());
        assert_eq!(a.peers.report().strangers_dropped, 1);
        a.is_heard_by(&mut c).await;
        let _ = a.stop.send(true);
        until("c hears a no more", || !lock(&c.peers.sessions).contains_key("a")).await;
    }

    #[tokio::test]
    async fn a_member_that_was_removed_unheard_is_answered_until_it_hangs_up() {
        let (mut a, mut b) = (start("a", Some("c1")).await, start("b", Some("c1")).await);
        b.set_members(&[&a]);
        b.is_heard_by(&mut a).await;
        a.is_heard_by(&mut b).await;
        assert!(a.peers.report().peers.is_empty(), "it is no peer");
        b.set_members(&[]);
        until("a lets it go", || lock(&a.peers.table).guests.is_empty()).await;
        until("b hears a no more", || lock(&b.peers.sessions).is_empty()).await;
        assert!(lock(&b.peers.table).guests.is_empty(), "nobody is called back for an answer");
    }

    #[tokio::test]
    async fn a_member_whose_address_changes_is_called_at_the_new_one() {
        let (a, mut b) = (start("a", Some("c1")).await, start("b", Some("c1")).await);
        b.set_members(&[&a]);
        let nowhere = Member { address: "127.0.0.1:1".into(), ..b.member() };
        a.peers.set_members(&[nowhere]);
        until("nobody answers there", || a.peers.report().peers.iter().all(|peer| !peer.connected)).await;
        a.set_members(&[&b]);
        a.is_heard_by(&mut b).await;
        let sent = a.peers.report().peers[0].sent;
        a.set_members(&[&b]);
        assert_eq!(a.peers.report().peers[0].sent, sent, "what has not changed stays connected");
    }

    #[tokio::test]
    async fn a_node_that_is_in_no_cluster_hears_those_that_are_in_one_and_only_those() {
        let (a, mut new) = (start("a", Some("c1")).await, start("new", None).await);
        a.set_members(&[&new]);
        a.is_heard_by(&mut new).await;
        let lost = start("lost", None).await;
        lost.peers.set_members(&[new.member()]);
        until("it is refused", || new.peers.report().connections_refused > 0).await;
    }

    #[tokio::test]
    async fn nodes_of_two_clusters_refuse_each_other() {
        let (a, b) = (start("a", Some("c1")).await, start("b", Some("c2")).await);
        a.set_members(&[&b]);
        until("it is refused", || b.peers.report().connections_refused > 0).await;
        assert!(!a.peers.report().peers[0].connected);
    }

    #[tokio::test]
    async fn a_node_asks_until_somebody_takes_its_request_and_then_no_more() {
        let (asker, mut taker) = (start("asker", None).await, start("taker", Some("c1")).await);
        let addresses = ["127.0.0.1:1", &taker.address].map(|address| address.parse().expect("an address"));
        let rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let ask = outbound::ask_until_taken(Arc::clone(&asker.peers), addresses.to_vec(), rng);
        let answer = async {
            for answer in [Err("not now".to_owned()), Ok(())] {
                let request = taker.requests.recv().await.expect("a request");
                assert_eq!((request.hello.name.as_str(), request.now), ("asker", false));
                assert_eq!(request.hello.advertise, asker.address);
                request.answer.send(answer).expect("it waits");
            }
        };
        let both = async { tokio::join!(ask, answer) };
        timeout(Duration::from_secs(20), both).await.expect("it has stopped asking");
    }

    #[tokio::test]
    async fn a_peer_is_asked_again_what_its_clock_says_and_another_life_says_nothing_of_it() {
        let (a, mut b) = (start("a", Some("c1")).await, start("b", Some("c1")).await);
        a.set_members(&[&b]);
        b.set_members(&[&a]);
        a.is_heard_by(&mut b).await;
        let link = lock(&a.peers.table).route(b.member().id).cloned().expect("a link");
        let ahead_ms = || a.peers.report().peers[0].clock_ahead_ms.expect("connected");
        let set = |life, ahead_ms| *lock(&link.connected) = Some(Connected { life, ahead_ms });
        set(b.peers.identity.life, 1_000_000);
        outbound::look_at_clock(&a.peers, &link).await;
        // One machine has one clock.
        assert!(ahead_ms().abs() < 10_000, "{}", ahead_ms());
        set(Life(7), 1_000_000);
        outbound::look_at_clock(&a.peers, &link).await;
        assert_eq!(ahead_ms(), 1_000_000);
    }

    #[tokio::test]
    async fn whoever_is_asked_says_who_it_is_and_no_connection_remains() {
        let (a, b) = (start("a", Some("c1")).await, start("b", Some("c2")).await);
        let hello = a.peers.inquire(&b.address.parse().expect("an address")).await.expect("an answer");
        assert_eq!((hello.name.as_str(), hello.cluster.as_deref()), ("b", Some("c2")));
        assert!(lock(&b.peers.sessions).is_empty());
        let nobody = a.peers.inquire(&"127.0.0.1:1".parse().expect("an address")).await;
        assert!(nobody.is_err());
    }
}
