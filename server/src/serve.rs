//! `godown serve`: one node from its start to its end.
//!
//! The order of the start is the order in which things can be wrong: settings, data folder, ports, store. Only then
//! does anything serve, and one line on stdout says where. The end, on SIGTERM or Ctrl-C, goes the other way: no new
//! connections, requests in flight finish (up to a bound), the store is synced. An end without all that (`kill -9`, a
//! panic, a broken store) loses nothing that was acknowledged; it only makes the next start do more.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use godown_core::id::Life;
use godown_core::input::Boot;
use godown_core::node::Node;
use godown_core::stored;
use rand::rngs::SysRng;
use rand::{SeedableRng as _, TryRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::config::{Flags, Listed, LogFormat, Setup};
use crate::driver::{Driver, Sources};
use crate::http::{self, Front};
use crate::peers::{Identity, Memory, Peers, memory};
use crate::store::{Folder, Started, Store, StoreEvent};

/// Messages from peers that may wait for the event loop; peers wait when there are more.
const INBOX_MAX: usize = 1_024;

/// Nodes that may wait to be taken in; further ones are told to ask again.
const REQUESTS_MAX: usize = 16;

/// The flags of `godown serve`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// How to say on stdout where this node serves.
    #[arg(long, value_enum, default_value = "human")]
    announce: Announce,
    /// Stop when stdin is closed, as on SIGTERM: a node that another program has started then never outlives it.
    #[arg(long)]
    stop_with_stdin: bool,
}

/// How a line on stdout looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Announce {
    /// For people.
    Human,
    /// One JSON object.
    Json,
}

/// Everything that a node has before its event loop begins.
struct Beginning {
    setup: Setup,
    life: Life,
    /// Feeds nothing but jitter.
    seed: u64,
    folder: Arc<Folder>,
    listeners: Listeners,
    started: Started,
    memory: Option<Memory>,
    events: mpsc::UnboundedReceiver<StoreEvent>,
    stop_with_stdin: bool,
}

/// Runs one node until it is told to stop.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let setup = Setup::gather(args.flags)?;
    start_log(&setup)?;
    for warning in setup.warnings() {
        warn!("{warning}");
    }
    let (life, seed) = draw()?;
    let folder = Arc::new(Folder::take(&setup.root, &setup.name, setup.shape().0)?);
    let listeners = Listeners {
        peers: listen(setup.listen, "for peers", "--listen")?,
        http: listen(setup.http, "for HTTP", "--http")?,
    };
    let (sender, events) = mpsc::unbounded_channel();
    let memory = Memory::read(&folder)?;
    // With one copy of each key nobody could refill a lost store, either.
    let has_others = memory.as_ref().map_or(setup.has_others(), |memory| !memory.members.is_empty());
    let is_alone = !has_others || setup.shape().1 == 1;
    let started =
        Store::start(Arc::clone(&folder), is_alone, setup.disk_reserve_bytes, setup.compact_every, sender)?;
    if let Some(why) = &started.set_aside {
        error!("starting over an empty store, to be refilled by the other replicas: {why}");
    }
    listeners.announce(&setup, life, args.announce)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop_with_stdin = args.stop_with_stdin;
    let (store, outcome) = runtime.block_on(live(Beginning {
        setup,
        life,
        seed,
        folder,
        listeners,
        started,
        memory,
        events,
        stop_with_stdin,
    }));
    // What still runs serves nobody any more.
    runtime.shutdown_background();
    let closed = store.close();
    outcome?;
    closed?;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn start_log(setup: &Setup) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_new(&setup.log)
        .map_err(|error| format!("log = \"{}\" is not understood: {error}", setup.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match setup.log_format {
        LogFormat::Human => log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// A new life, and a seed for jitter, from the operating system.
fn draw() -> Result<(Life, u64), Box<dyn Error>> {
    let mut bytes = [0; 16];
    let no_luck = |error| format!("the operating system gives no random numbers: {error}");
    SysRng.try_fill_bytes(&mut bytes).map_err(no_luck)?;
    Ok((Life(u128::from_le_bytes(bytes)), SysRng.try_next_u64().map_err(no_luck)?))
}

/// Bound, and nobody accepted yet.
struct Listeners {
    peers: StdListener,
    http: StdListener,
}

fn listen(address: SocketAddr, what: &str, flag: &str) -> Result<StdListener, String> {
    let bind = || {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("cannot listen {what} on {address}: the port is in use; choose another one with {flag}")
        }
        _ => format!("cannot listen {what} on {address}: {error}"),
    })
}

impl Listeners {
    fn announce(&self, setup: &Setup, life: Life, how: Announce) -> io::Result<()> {
        let (http, peers) = (self.http.local_addr()?, self.peers.local_addr()?);
        let (name, root) = (&setup.name, setup.root.display());
        let line = match how {
            Announce::Human => {
                format!(
                    "godown: {name} serves http://{http}, hears peers on {peers}, keeps its data in {root}"
                )
            }
            Announce::Json => json!({
                "name": name,
                "http": http.to_string(),
                "peers": peers.to_string(),
                "root": root.to_string(),
                "life": life.to_string(),
                "pid": std::process::id(),
            })
            .to_string(),
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()
    }
}

/// Everything that happens on the event loop.
async fn live(beginning: Beginning) -> (Store, Result<(), Box<dyn Error>>) {
    let Beginning { setup, life, seed, folder, listeners, started, memory, events, stop_with_stdin } =
        beginning;
    let Started { store, boot_rows, .. } = started;
    let start = Start::choose(&setup, memory, boot_rows.is_empty());
    let (inbox, inbox_source) = mpsc::channel(INBOX_MAX);
    let (requests, request_source) = mpsc::channel(REQUESTS_MAX);
    let (remember, to_remember) = watch::channel(None);
    // One place for each call that the core admits, and some for calls that it refuses and for questions.
    let (asks, ask_source) = mpsc::channel(setup.limits().calls + 64);
    let sources = Sources { events, asks: ask_source, inbox: inbox_source };
    let (stop_http, http_stopped) = watch::channel(false);
    let (stop_all, all_stopped) = watch::channel(false);

    let store_life = stored::first_life(&boot_rows).unwrap_or(life);
    let begin = || -> Result<_, Box<dyn Error>> {
        let peer_listener = TcpListener::from_std(listeners.peers)?;
        let identity = Identity {
            name: setup.name.clone(),
            life,
            store: store_life,
            shape: setup.shape(),
            advertise: setup.advertised(peer_listener.local_addr()?),
            zone: setup.zone.clone(),
            weight: setup.weight,
            joins: start.joins,
        };
        let listed = with_names(&start.listed, &memory::names(&folder)?);
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let peers = Peers::new(identity, listed, setup.outbox_bytes_max, rng, inbox, requests);
        let front = Front::new(&setup, life, asks, Arc::clone(&peers));
        let join = if start.joins { setup.join.clone() } else { Vec::new() };
        tokio::spawn(Arc::clone(&peers).run(peer_listener, join, all_stopped.clone()));
        tokio::spawn(http::take_in(Arc::clone(&front), request_source));
        tokio::spawn(Memory::keep(Arc::clone(&folder), to_remember));
        let http_listener = TcpListener::from_std(listeners.http)?;
        let http = tokio::spawn(http::serve(Arc::clone(&front), http_listener, http_stopped));
        Ok((peers, front, http, Orders::new(stop_with_stdin)?))
    };
    let (peers, front, http, mut orders) = match begin() {
        Ok(begun) => begun,
        Err(error) => return (store, Err(error)),
    };
    let drain = setup.drain;
    let build = async |all_stopped: &mut watch::Receiver<bool>| -> Result<Option<Node>, Box<dyn Error>> {
        let nameless = peers.nameless();
        if !nameless.is_empty() {
            info!("waiting to hear the names of the peers at {}", nameless.join(", "));
        }
        let names = tokio::select! {
            names = peers.names() => names,
            _ = all_stopped.wait_for(|&stopped| stopped) => return Ok(None),
        };
        if start.listed.iter().any(|peer| peer.name.is_none()) {
            memory::keep_names(&folder, &peers.names_by_address())?;
        }
        let config = setup.config(peers.hello().advertise, (!start.joins).then_some(&names[..]))?;
        Ok(Some(Node::new(config, Boot { life, rows: boot_rows }, seed)?))
    };
    let drive = async {
        let mut all_stopped = all_stopped;
        let node = match build(&mut all_stopped).await {
            Ok(Some(node)) => node,
            Ok(None) => return (store, Ok(())),
            Err(error) => return (store, Err(error)),
        };
        front.start(store.meter());
        let driver = Driver::new(node, Arc::clone(&peers), store, remember);
        let (store, outcome) = driver.run(sources, all_stopped).await;
        let outcome = outcome.map_err(|reason| {
            let words = "the store cannot be relied on any more, so this node stops";
            format!("{words}; nothing acknowledged is lost: {reason}").into()
        });
        (store, outcome)
    };
    let stop = async {
        orders.stop().await;
        info!("stopping: requests in flight have {drain:?} to finish");
        let _ = stop_http.send(true);
        tokio::select! {
            finished = tokio::time::timeout(drain, http) => if finished.is_err() {
                warn!("some requests did not finish in time");
            },
            () = orders.stop() => warn!("told twice: stopping at once"),
        }
        let _ = stop_all.send(true);
        // The loop ends now, and with it this race.
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        ended = drive => ended,
        never = stop => match never {},
    }
}

/// How a node finds the others at its start.
struct Start {
    /// Whether it waits to be taken into a running cluster, rather than begin one with those that are listed.
    joins: bool,
    listed: Vec<Listed>,
}

impl Start {
    /// What `setup` says goes for the first start. Later what was remembered is newer; and a node that remembers
    /// a cluster over a store that is empty has lost it: it must not begin another cluster alone, under its old name.
    fn choose(setup: &Setup, memory: Option<Memory>, is_empty: bool) -> Self {
        match memory {
            Some(memory) => Self { joins: is_empty && !memory.members.is_empty(), listed: memory.listed() },
            None => Self { joins: !setup.join.is_empty(), listed: setup.peers.clone() },
        }
    }
}

/// The nodes that are listed without a name get the one that they once said.
fn with_names(listed: &[Listed], names: &BTreeMap<String, String>) -> Vec<Listed> {
    let named = |listed: &Listed| {
        let name = listed.name.clone().or_else(|| names.get(&listed.to_string()).cloned());
        Listed { name, ..listed.clone() }
    };
    listed.iter().map(named).collect()
}

/// What can tell a node to stop.
struct Orders {
    terminate: Signal,
    interrupt: Signal,
    stdin_closed: Option<oneshot::Receiver<()>>,
}

impl Orders {
    fn new(with_stdin: bool) -> io::Result<Self> {
        let stdin_closed = with_stdin.then(|| {
            let (closed, is_closed) = oneshot::channel();
            // A read of stdin cannot be called off, so it gets a thread that nobody waits for.
            std::thread::spawn(move || {
                let _ = io::copy(&mut io::stdin(), &mut io::sink());
                let _ = closed.send(());
            });
            is_closed
        });
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin_closed,
        })
    }

    /// Waits for the next order to stop.
    async fn stop(&mut self) {
        let stdin_closed = async {
            match self.stdin_closed.take() {
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = stdin_closed => {}
        }
    }
}
