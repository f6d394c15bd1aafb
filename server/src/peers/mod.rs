//! The other nodes: connections to them, and what may come over those.
//!
//! Each node calls each of its peers and sends over the connection that it has opened; it hears a peer over the
//! connection that the peer has opened. So there is never a question which of two connections is the one, and each
//! side repairs its own. Both begin with a hello (`hello`); then come frames, and every second a length of zero, a
//! ping, which the other answers with the same four bytes. A connection that shows no sign of life for five seconds
//! is closed: a paused peer stalls nothing and holds no memory (`outbox`).
//!
//! A connection whose frames cannot be understood is closed with a reason that names the peer, and never harms the
//! process. Whoever claims a name or a life that somebody live already has is refused and reported: two actors under
//! one name would lose writes silently.
//!
//! A node's id is a hash of its name, so the list of members is complete once every peer has a name. Those that were
//! listed without one are asked in the greeting; `names` waits for that and remembers the answers in the data folder,
//! so that a later start waits for nobody.

mod hello;
mod inbound;
mod outbound;
mod outbox;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use godown_core::id::{Life, NodeId};
use godown_core::input::Input;
use godown_core::message::Message;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::{Listed, Setup};
use crate::store::{Folder, FolderError};
use hello::Hello;
use outbox::Outbox;

/// A connection that shows no sign of life for so long is closed.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(1);

/// What stands for a ping and for its answer: a frame's length of zero.
const PING: [u8; 4] = [0; 4];

/// The file in the data folder that remembers names.
const NAMES_FILE: &str = "peers";

/// Everything about the other nodes that this one shares among its tasks.
pub(crate) struct Peers {
    hello: Hello,
    life: Life,
    links: Vec<Arc<Link>>,
    /// The peers' names once all are known.
    members: OnceLock<BTreeMap<NodeId, Arc<Link>>>,
    learnt: Notify,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    inbox: mpsc::Sender<Input>,
    counts: Counts,
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
}

/// The way to one peer.
struct Link {
    listed: Listed,
    /// As listed, as remembered, or as the peer has said.
    name: OnceLock<String>,
    outbox: Outbox,
    /// The life at the other end of the connection, while there is one.
    life: Mutex<Option<Life>>,
    /// Raised when the peer has called this node: no need to wait any longer before calling it.
    is_back: Notify,
}

/// A peer's live connection to this node.
struct Session {
    life: Life,
    heard: Mutex<Instant>,
    evict: Notify,
    is_evicted: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One peer, for reports.
#[derive(Debug, Serialize)]
pub(crate) struct PeerReport {
    name: Option<String>,
    address: String,
    /// Whether this node can send to it.
    connected: bool,
    /// Whether it can send to this node.
    heard: bool,
    life: Option<String>,
    sent: u64,
    dropped: u64,
    outbox_bytes: u64,
}

/// All peers, for reports.
#[derive(Debug, Serialize)]
pub(crate) struct PeersReport {
    peers: Vec<PeerReport>,
    peers_connected: usize,
    outbox_dropped: u64,
    frames_corrupt: u64,
    connections_refused: u64,
    impostors: u64,
}

impl Peers {
    /// The peers of `setup`, nobody called yet. What they send goes into `inbox`.
    pub(crate) fn new(
        setup: &Setup,
        life: Life,
        folder: &Folder,
        inbox: mpsc::Sender<Input>,
    ) -> Result<Arc<Self>, FolderError> {
        let remembered = remembered(folder)?;
        let link = |listed: &Listed| {
            let name = OnceLock::new();
            let known = listed.name.clone().or_else(|| remembered.get(&listed.to_string()).cloned());
            if let Some(known) = known {
                let _ = name.set(known);
            }
            Arc::new(Link {
                listed: listed.clone(),
                name,
                outbox: Outbox::new(setup.outbox_bytes_max),
                life: Mutex::default(),
                is_back: Notify::new(),
            })
        };
        Ok(Arc::new(Self {
            hello: Hello::new(&setup.name, life, setup.shape()),
            life,
            links: setup.peers.iter().map(link).collect(),
            members: OnceLock::new(),
            learnt: Notify::new(),
            sessions: Mutex::default(),
            inbox,
            counts: Counts::default(),
        }))
    }

    /// Calls every peer and answers those that call, until `stop`. `rng` feeds nothing but jitter.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        mut rng: Xoshiro256PlusPlus,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut tasks = JoinSet::new();
        for link in &self.links {
            // Each caller draws from a stream of its own, so that they do not fall into step.
            let stream = rng.clone();
            rng.jump();
            tasks.spawn(outbound::keep_calling(Arc::clone(&self), Arc::clone(link), stream));
        }
        tasks.spawn(inbound::answer(self, listener));
        // Dropping the tasks closes their connections.
        let _ = stop.wait_for(|&stop| stop).await;
    }

    /// The names of all peers, as soon as each has one. Messages can be sent from then on.
    pub(crate) async fn names(&self, folder: &Folder) -> Result<Vec<String>, FolderError> {
        let learns = self.links.iter().any(|link| link.listed.name.is_none());
        loop {
            let learnt = self.learnt.notified();
            if self.nameless().is_empty() {
                break;
            }
            learnt.await;
        }
        if learns {
            self.remember(folder)?;
        }
        let links = self.links.iter().filter_map(|link| {
            let name = link.name.get()?;
            Some((NodeId::named(name), Arc::clone(link)))
        });
        let _ = self.members.set(links.collect());
        Ok(self.links.iter().filter_map(|link| link.name.get().cloned()).collect())
    }

    /// The addresses of the peers whose name is not known.
    pub(crate) fn nameless(&self) -> Vec<String> {
        let nameless = self.links.iter().filter(|link| link.name.get().is_none());
        nameless.map(|link| link.listed.to_string()).collect()
    }

    /// Sends `message` to `to`, or drops it: messages may be lost.
    pub(crate) fn send(&self, to: NodeId, message: &Message) {
        let link = self.members.get().and_then(|members| members.get(&to));
        assert!(link.is_some(), "the core sends to {to}, which is not in its list of members");
        if let Some(link) = link {
            link.outbox.push(message);
        }
    }

    /// A member's name, for people.
    pub(crate) fn name_of(&self, id: NodeId) -> String {
        let link = self.members.get().and_then(|members| members.get(&id));
        link.and_then(|link| link.name.get()).cloned().unwrap_or_else(|| id.to_string())
    }

    /// How things stand.
    pub(crate) fn report(&self) -> PeersReport {
        let sessions = lock(&self.sessions);
        let peers: Vec<PeerReport> = self
            .links
            .iter()
            .map(|link| {
                let (name, life, counts) = (link.name.get(), *lock(&link.life), link.outbox.counts());
                PeerReport {
                    name: name.cloned(),
                    address: link.listed.to_string(),
                    connected: life.is_some(),
                    heard: name.is_some_and(|name| sessions.contains_key(name)),
                    life: life.map(|life| life.to_string()),
                    sent: counts.queued,
                    dropped: counts.dropped,
                    outbox_bytes: counts.bytes,
                }
            })
            .collect();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PeersReport {
            peers_connected: peers.iter().filter(|peer| peer.connected).count(),
            outbox_dropped: peers.iter().map(|peer| peer.dropped).sum(),
            peers,
            frames_corrupt: get(&self.counts.corrupt),
            connections_refused: get(&self.counts.refused),
            impostors: get(&self.counts.impostors),
        }
    }

    /// The link to the peer called `name`.
    fn link(&self, name: &str) -> Option<&Arc<Link>> {
        self.links.iter().find(|link| link.name.get().is_some_and(|known| known == name))
    }

    /// Whether somebody other than `name` is connected in `life`, or this node itself lives it.
    fn is_taken(&self, life: Life, name: &str) -> bool {
        let by_session = |(other, session): (&String, &Arc<Session>)| other != name && session.life == life;
        let by_link = |link: &Arc<Link>| {
            *lock(&link.life) == Some(life) && link.name.get().is_none_or(|other| other != name)
        };
        life == self.life || lock(&self.sessions).iter().any(by_session) || self.links.iter().any(by_link)
    }

    fn remember(&self, folder: &Folder) -> Result<(), FolderError> {
        let names: BTreeMap<String, &String> =
            self.links.iter().filter_map(|link| Some((link.listed.to_string(), link.name.get()?))).collect();
        // Strings always have a shape in TOML.
        let text = toml::to_string(&names).unwrap_or_default();
        folder.replace(NAMES_FILE, &text)
    }

    /// Learns that `link` leads to the node called `name`. False when another link leads there already.
    fn learn(&self, link: &Link, name: &str) -> bool {
        let others: BTreeSet<&String> = self
            .links
            .iter()
            .filter(|other| !std::ptr::eq(other.as_ref(), link))
            .filter_map(|other| other.name.get())
            .collect();
        if others.contains(&name.to_owned()) {
            return false;
        }
        let is_known = link.name.get_or_init(|| name.to_owned()) == name;
        if is_known {
            self.learnt.notify_waiters();
        }
        is_known
    }
}

/// The names that peers gave at an earlier start, by address. What cannot be read is asked for again.
fn remembered(folder: &Folder) -> Result<BTreeMap<String, String>, FolderError> {
    let text = folder.read(NAMES_FILE)?.unwrap_or_default();
    Ok(toml::from_str(&text).unwrap_or_default())
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
