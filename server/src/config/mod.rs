//! What a node is told at its start, and where each setting comes from.
//!
//! A setting is looked for in the flags, then in the environment (`GODOWN_…`), then in the configuration file, then
//! in the table of defaults. The file is TOML; an unknown key or a value of the wrong type is an error that shows the
//! line. A MecDB file is such a file as it is: `name`, `port`, `httpport`, `root` and `[[node]]` with `host` and
//! `port` mean what they meant there. [`Setup`] is the checked outcome; nobody checks again.
//!
//! The list of nodes may hold this node itself or leave it out, as MecDB's does. It is recognised by its name, or
//! without names by its port together with an address of this machine. Nodes that are listed without a name are
//! asked for it when they are first reached (`peers`), since a node's id is a hash of its name. The list serves the
//! first start only: a node that is in a cluster knows its members. A node that is to enter a running cluster has no
//! list but `join`: the addresses of nodes that it asks to take it in.

mod table;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use godown_core::config::{Config, ConfigError, Limits, Settings, WEIGHT_MAX};
use godown_core::id::{Life, NodeId};
use godown_core::layout::Member;
use serde::Deserialize;

/// Keys go into the engine, which takes no more than 64 KiB.
const KEY_BYTES_MAX: usize = 32 << 10;

/// An object crosses the network in one frame, which holds no more than 32 MiB.
const OBJECT_BYTES_MAX: usize = 16 << 20;

/// Nodes in a list.
const NODES_MAX: usize = 256;

/// Bytes in a node's name, and in a zone's.
const NAME_BYTES_MAX: usize = 128;

/// The longest time between two rounds of anything, in milliseconds: a day.
const EVERY_MS_MAX: u64 = 24 * 3_600 * 1_000;

/// The longest time from one pass over everything at rest to the next, in milliseconds: a year.
const SCRUB_EVERY_MS_MAX: u64 = 366 * EVERY_MS_MAX;

/// The slowest pace for hints, in bytes per second, that of anti-entropy: a page of them takes sixteen seconds.
const HINT_BYTES_PER_S_MIN: u64 = 64 << 10;

/// Log rows of a partition are held in memory.
const LOG_ROWS_MAX: usize = 16 << 20;

/// The share of a node whose weight nobody has set.
const WEIGHT: u32 = 100;

/// The flags of `godown config`: there are none.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Prints every setting with its default, as a configuration file.
pub(crate) fn run(_args: Args) -> Result<ExitCode, Box<dyn Error>> {
    use std::io::Write as _;
    io::stdout().write_all(table::render().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The flags that name settings.
#[derive(clap::Args, Default)]
pub(crate) struct Flags {
    /// The configuration file (`godown config` prints one).
    #[arg(long, value_name = "FILE", env = "GODOWN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// This node's name, unique in the cluster.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where to listen for the other nodes.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where to listen for HTTP.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) http: Option<SocketAddr>,
    /// The data folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Another node; may be given several times, and adds to the file's list.
    #[arg(long = "peer", value_name = "NAME=HOST:PORT")]
    pub(crate) peers: Vec<Listed>,
    /// A node of the running cluster that this node is to enter; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) join: Vec<String>,
}

/// Everything that a node is told, checked.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// This node's name.
    pub(crate) name: String,
    /// Where to listen for the other nodes.
    pub(crate) listen: SocketAddr,
    /// Where to listen for HTTP.
    pub(crate) http: SocketAddr,
    /// The data folder.
    pub(crate) root: PathBuf,
    /// Where the other nodes reach this one, if it is not where it listens.
    advertise: Option<Listed>,
    /// The zone that this node stands in: what may fail together.
    pub(crate) zone: String,
    /// This node's share of the data, in proportion to the others'.
    pub(crate) weight: u32,
    /// The other nodes.
    pub(crate) peers: Vec<Listed>,
    /// Whom to ask to be taken into a running cluster.
    pub(crate) join: Vec<Listed>,
    /// What the core is told; the members of it are not complete while a peer has no name.
    settings: Settings,
    /// Writes are refused while the disk has less than this left.
    pub(crate) disk_reserve_bytes: u64,
    /// Time between two looks whether the space of what was deleted can be given back; zero for never.
    pub(crate) compact_every: Duration,
    /// How long calls in flight may take to finish when the node is told to stop.
    pub(crate) drain: Duration,
    /// How long a client may take to send a request's head, and its body.
    pub(crate) body_timeout: Duration,
    /// HTTP connections at once.
    pub(crate) connections_max: usize,
    /// Bytes of request bodies in memory at once, all requests together.
    pub(crate) bodies_bytes_max: usize,
    /// Bytes that wait to be sent to one peer.
    pub(crate) outbox_bytes_max: usize,
    /// What to log.
    pub(crate) log: String,
    /// How to log it.
    pub(crate) log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// A node as a list has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    /// Its name; MecDB's lists have none.
    pub(crate) name: Option<String>,
    /// A host name or an address.
    pub(crate) host: String,
    /// The port where it listens for other nodes.
    pub(crate) port: u16,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Listed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) => (Some(name.to_owned()), address),
            None => (None, text),
        };
        let (host, port) = address.rsplit_once(':').ok_or("it must look like name=host:port or host:port")?;
        let port = port.parse().map_err(|_| format!("'{port}' is not a port: name=host:port is wanted"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("the host is missing: name=host:port is wanted".into());
        }
        Ok(Self { name, host: host.to_owned(), port })
    }
}

/// Why a node cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// The file cannot be read.
    #[error("the configuration file {0} cannot be read: {1}")]
    Read(PathBuf, io::Error),
    /// The file says something that is not understood. The message shows the line.
    #[error("the configuration file {0} is not understood: {1}")]
    Parse(PathBuf, String),
    /// An environment variable says something that is not understood.
    #[error("the environment variable {0}={1} is not understood: {2}")]
    Variable(String, String, String),
    /// A setting is missing.
    #[error("{0} is not set: put it into the configuration file, {1}, or give {2}")]
    Missing(&'static str, &'static str, &'static str),
    /// A setting is out of range.
    #[error("{0}")]
    Value(String),
    /// The core says that a setting is out of range.
    #[error(transparent)]
    Core(#[from] ConfigError),
}

/// What one source says: the shape of the file. Every key stands in `table`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Source {
    name: Option<String>,
    port: Option<u16>,
    httpport: Option<u16>,
    root: Option<PathBuf>,
    listen: Option<IpAddr>,
    advertise: Option<String>,
    zone: Option<String>,
    weight: Option<u32>,
    join: Option<Vec<String>>,
    replicas: Option<usize>,
    r: Option<usize>,
    w: Option<usize>,
    partitions: Option<u32>,
    timeout_ms: Option<u64>,
    timeout_max_ms: Option<u64>,
    sync_every_ms: Option<u64>,
    gossip_every_ms: Option<u64>,
    probe_every_ms: Option<u64>,
    expire_every_ms: Option<u64>,
    scrub_every_ms: Option<u64>,
    sloppy: Option<bool>,
    hint_bytes_per_s: Option<u64>,
    sync_bytes_per_s: Option<u64>,
    log_rows_max: Option<usize>,
    body_timeout_ms: Option<u64>,
    drain_ms: Option<u64>,
    disk_reserve_mb: Option<u64>,
    compact_every_ms: Option<u64>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    limits: LimitsSource,
    node: Vec<Listed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsSource {
    key_bytes: Option<usize>,
    value_bytes: Option<usize>,
    content_type_bytes: Option<usize>,
    siblings: Option<usize>,
    object_bytes: Option<usize>,
    calls: Option<usize>,
    peer_requests: Option<usize>,
    list_page: Option<usize>,
    sync_bytes: Option<usize>,
    sync_objects: Option<usize>,
    hint_bytes: Option<u64>,
    connections: Option<usize>,
    bodies_bytes: Option<usize>,
    outbox_bytes: Option<usize>,
}

/// Each field of `$from` that says something replaces that of `$into`.
macro_rules! overlay {
    ($into:expr, $from:expr, [$($field:ident),* $(,)?]) => {
        $( if $from.$field.is_some() { $into.$field = $from.$field; } )*
    };
}

impl Source {
    /// What the configuration file and then the environment say.
    fn gather(
        file: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SetupError> {
        let mut source = match file {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| SetupError::Read(path.into(), error))?;
                toml::from_str(&text).map_err(|error| SetupError::Parse(path.into(), error.to_string()))?
            }
            None => Self::default(),
        };
        for (variable, value) in variables {
            if let Some(setting) = table::by_variable(&variable) {
                let said = toml::from_str(&setting.line(&value)).map_err(|error: toml::de::Error| {
                    SetupError::Variable(variable, value, error.message().to_owned())
                })?;
                source.overlay(said);
            }
        }
        Ok(source)
    }

    fn overlay(&mut self, said: Self) {
        overlay!(
            self,
            said,
            [
                name,
                port,
                httpport,
                root,
                listen,
                advertise,
                zone,
                weight,
                join,
                replicas,
                r,
                w,
                partitions,
                timeout_ms,
                timeout_max_ms,
                sync_every_ms,
                gossip_every_ms,
                probe_every_ms,
                expire_every_ms,
                scrub_every_ms,
                sloppy,
                hint_bytes_per_s,
                sync_bytes_per_s,
                log_rows_max,
                body_timeout_ms,
                drain_ms,
                disk_reserve_mb,
                compact_every_ms,
                log,
                log_format,
            ]
        );
        overlay!(
            self.limits,
            said.limits,
            [
                key_bytes,
                value_bytes,
                content_type_bytes,
                siblings,
                object_bytes,
                calls,
                peer_requests,
                list_page,
                sync_bytes,
                sync_objects,
                hint_bytes,
                connections,
                bodies_bytes,
                outbox_bytes,
            ]
        );
    }
}

impl Setup {
    /// What flags, environment and file say together.
    pub(crate) fn gather(flags: Flags) -> Result<Self, SetupError> {
        let text = |(variable, value): (OsString, OsString)| {
            Some((variable.into_string().ok()?, value.into_string().ok()?))
        };
        let mut source = Source::gather(flags.config.as_deref(), env::vars_os().filter_map(text))?;
        overlay!(source, flags, [name]);
        source.root = flags.data.or(source.root);
        source.node.extend(flags.peers);
        if !flags.join.is_empty() {
            source.join = Some(flags.join);
        }
        Self::check(source, flags.listen, flags.http)
    }

    fn check(said: Source, listen: Option<SocketAddr>, http: Option<SocketAddr>) -> Result<Self, SetupError> {
        let name = said.name.ok_or(SetupError::Missing("name", "GODOWN_NAME", "--name"))?;
        check_name(&name)?;
        let root = said.root.ok_or(SetupError::Missing("root", "GODOWN_ROOT", "--data"))?;
        let ip = said.listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let own_entry = said.node.iter().find(|node| node.name.as_ref() == Some(&name));
        let port = said.port.or(own_entry.map(|node| node.port)).unwrap_or(7000);
        let listen = listen.unwrap_or(SocketAddr::new(ip, port));
        let http = http.unwrap_or(SocketAddr::new(ip, said.httpport.unwrap_or(3000)));
        let own_entry = own_entry.cloned();
        let advertise = match &said.advertise {
            Some(address) => Some(check_address("advertise", address)?),
            None => own_entry,
        };
        if advertise.is_none() && listen.ip().is_unspecified() {
            return Err(SetupError::Value(format!(
                "this node listens on {listen}, which is no address that others could call: set advertise = \
                 \"host:port\" to where they reach it"
            )));
        }
        let zone = said.zone.unwrap_or_else(|| "default".into());
        check_name(&zone)?;
        let weight = said.weight.unwrap_or(WEIGHT);
        if !(1..=WEIGHT_MAX).contains(&weight) {
            return Err(SetupError::Value(format!(
                "weight = {weight}: it must be between 1 and {WEIGHT_MAX}"
            )));
        }
        let peers = check_nodes(said.node, &name, listen)?;
        let join = said.join.unwrap_or_default();
        if join.len() > NODES_MAX {
            return Err(SetupError::Value(format!(
                "join has {} addresses; at most {NODES_MAX} can be",
                join.len()
            )));
        }
        let join: Vec<Listed> =
            join.iter().map(|address| check_address("join", address)).collect::<Result<_, _>>()?;
        if !join.is_empty() && !peers.is_empty() {
            return Err(SetupError::Value(
                "join and a list of nodes are both set: nodes that are listed start a cluster together, and a \
                 node that joins enters a running one; leave one of them out"
                    .into(),
            ));
        }

        let members =
            std::iter::once(NodeId::named(&name)).chain(peers.iter().map(|peer| match &peer.name {
                Some(name) => NodeId::named(name),
                // Until it says its name, its address stands in; it is only counted.
                None => NodeId::named(&peer.to_string()),
            }));
        let mut settings = Settings::new(NodeId::named(&name), members.collect());
        let replicas = said.replicas.unwrap_or(settings.replicas);
        let majority = replicas / 2 + 1;
        settings.replicas = replicas;
        settings.r = said.r.unwrap_or(majority);
        settings.w = said.w.unwrap_or(majority);
        settings.partitions = said.partitions.unwrap_or(settings.partitions);
        let ms = |said: Option<u64>, default| said.map_or(default, Duration::from_millis);
        settings.timeout = ms(said.timeout_ms, settings.timeout);
        settings.timeout_max = ms(said.timeout_max_ms, settings.timeout_max);
        let every = |key, said: Option<u64>, default: Duration| match said {
            Some(said) => range(key, said, 1, EVERY_MS_MAX).map(Duration::from_millis),
            None => Ok(default),
        };
        settings.sync_every = every("sync_every_ms", said.sync_every_ms, settings.sync_every)?;
        settings.gossip_every = every("gossip_every_ms", said.gossip_every_ms, settings.gossip_every)?;
        settings.probe_every = every("probe_every_ms", said.probe_every_ms, settings.probe_every)?;
        settings.expire_every = every("expire_every_ms", said.expire_every_ms, settings.expire_every)?;
        if let Some(said) = said.scrub_every_ms {
            let ms = range("scrub_every_ms", said, 0, SCRUB_EVERY_MS_MAX)?;
            settings.scrub_every = Duration::from_millis(ms);
        }
        settings.sloppy = said.sloppy.unwrap_or(settings.sloppy);
        if let Some(said) = said.hint_bytes_per_s {
            settings.hint_bytes_per_s = range("hint_bytes_per_s", said, HINT_BYTES_PER_S_MIN, u64::MAX)?;
        }
        settings.sync_bytes_per_s = said.sync_bytes_per_s.unwrap_or(settings.sync_bytes_per_s);
        if let Some(said) = said.log_rows_max {
            settings.log_rows_max = range("log_rows_max", said, 1, LOG_ROWS_MAX)?;
        }
        settings.limits = check_limits(&said.limits)?;
        settings.clone().check()?;

        let setup = Self {
            name,
            listen,
            http,
            root,
            advertise,
            zone,
            weight,
            peers,
            join,
            settings,
            disk_reserve_bytes: said.disk_reserve_mb.unwrap_or(64).saturating_mul(1 << 20),
            compact_every: Duration::from_millis(range(
                "compact_every_ms",
                said.compact_every_ms.unwrap_or(60_000),
                0,
                EVERY_MS_MAX,
            )?),
            drain: ms(said.drain_ms, Duration::from_secs(10)),
            body_timeout: ms(said.body_timeout_ms, Duration::from_secs(30)),
            connections_max: positive("connections", said.limits.connections.unwrap_or(4_096))?,
            bodies_bytes_max: positive("bodies_bytes", said.limits.bodies_bytes.unwrap_or(64 << 20))?,
            outbox_bytes_max: positive("outbox_bytes", said.limits.outbox_bytes.unwrap_or(8 << 20))?,
            log: said.log.unwrap_or_else(|| "info".into()),
            log_format: said.log_format.unwrap_or(LogFormat::Human),
        };
        if setup.body_timeout.is_zero() {
            return Err(SetupError::Value("body_timeout_ms = 0: it must be above zero".into()));
        }
        Ok(setup)
    }

    /// The core's configuration of a node that is reached at `address`, and begins a cluster with
    /// `founders`, once every name is known; with none of them it waits to be taken into one.
    pub(crate) fn config(&self, address: String, founders: Option<&[String]>) -> Result<Config, SetupError> {
        let mut settings = self.settings.clone();
        settings.me = Member {
            id: settings.node,
            name: self.name.clone(),
            address,
            zone: self.zone.clone(),
            weight: self.weight,
            // The core sees to that.
            store: Life::default(),
        };
        settings.members = match founders {
            Some(others) => others.iter().map(|name| NodeId::named(name)).chain([settings.node]).collect(),
            None => Vec::new(),
        };
        Ok(settings.check()?)
    }

    /// Whether the settings name any other node.
    pub(crate) const fn has_others(&self) -> bool {
        !self.peers.is_empty() || !self.join.is_empty()
    }

    /// Where the other nodes reach this one, which is bound to `bound`.
    pub(crate) fn advertised(&self, bound: SocketAddr) -> String {
        match &self.advertise {
            // An entry with port 0 says no more than that the system chooses one.
            Some(address) if address.port != 0 => address.to_string(),
            _ => bound.to_string(),
        }
    }

    /// What must be equal on all nodes of a cluster: partitions and replicas, as configured.
    pub(crate) const fn shape(&self) -> (u32, usize) {
        (self.settings.partitions, self.settings.replicas)
    }

    /// The core's limits.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// What an operator should know, though it is allowed.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (what, address) in [("peers", self.listen), ("HTTP", self.http)] {
            if !address.ip().is_loopback() {
                warnings.push(format!(
                    "listening for {what} on {address} without authentication: everybody who reaches this \
                     address reads and writes everything"
                ));
            }
        }
        let is_remote = |peer: &Listed| {
            let loopback = peer.host == "localhost"
                || peer.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
            !loopback
        };
        if self.listen.ip().is_loopback()
            && let Some(peer) = self.peers.iter().find(|peer| is_remote(peer))
        {
            warnings.push(format!(
                "{peer} cannot reach this node, which listens on {} only: set listen",
                self.listen
            ));
        }
        let stray = env::vars_os().filter_map(|(variable, _)| variable.into_string().ok());
        for variable in stray.filter(|variable| table::is_stray(variable)) {
            warnings.push(format!("the environment variable {variable} is no setting: see godown config"));
        }
        warnings
    }
}

fn check_address(key: &str, address: &str) -> Result<Listed, SetupError> {
    match address.parse::<Listed>() {
        Ok(address) if address.name.is_none() => Ok(address),
        Ok(_) => {
            Err(SetupError::Value(format!("{key} = \"{address}\": host:port is wanted, without a name")))
        }
        Err(why) => Err(SetupError::Value(format!("{key} = \"{address}\": {why}"))),
    }
}

fn check_name(name: &str) -> Result<(), SetupError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(SetupError::Value(format!(
            "the name {name:?} is no name: it must have between 1 and {NAME_BYTES_MAX} bytes and no control \
             characters"
        )));
    }
    Ok(())
}

/// The other nodes of a list that may or may not hold this one.
fn check_nodes(nodes: Vec<Listed>, name: &str, listen: SocketAddr) -> Result<Vec<Listed>, SetupError> {
    if nodes.len() > NODES_MAX {
        return Err(SetupError::Value(format!(
            "{} nodes are listed; at most {NODES_MAX} can be",
            nodes.len()
        )));
    }
    let mut peers: Vec<Listed> = Vec::with_capacity(nodes.len());
    for node in nodes {
        match &node.name {
            Some(own) if own == name => {
                if listen.port() != 0 && node.port != listen.port() {
                    return Err(SetupError::Value(format!(
                        "this node, '{name}', is listed with port {}, and its own port is {}",
                        node.port,
                        listen.port()
                    )));
                }
                continue;
            }
            Some(other) => check_name(other)?,
            None if is_ourselves(&node, listen) => continue,
            None => {}
        }
        if let Some(twice) = peers.iter().find(|peer| (&peer.host, peer.port) == (&node.host, node.port)) {
            return Err(SetupError::Value(format!("the node {twice} is listed twice")));
        }
        peers.push(node);
    }
    Ok(peers)
}

/// Whether a node that is listed without a name is the one that listens on `listen`.
fn is_ourselves(node: &Listed, listen: SocketAddr) -> bool {
    if node.port != listen.port() {
        return false;
    }
    let Ok(mut addresses) = (node.host.as_str(), node.port).to_socket_addrs() else {
        return false;
    };
    addresses.any(|address| {
        let ip = address.ip();
        // Another loopback address with the same port may well be another node on this machine.
        ip == listen.ip() || ((listen.ip().is_unspecified() || !ip.is_loopback()) && is_local(ip))
    })
}

/// Whether `ip` is one of this machine's: only then can a socket be bound to it.
fn is_local(ip: IpAddr) -> bool {
    TcpListener::bind((ip, 0)).is_ok()
}

fn positive(key: &str, value: usize) -> Result<usize, SetupError> {
    if value == 0 {
        return Err(SetupError::Value(format!("limits.{key} = 0: it must be above zero")));
    }
    Ok(value)
}

/// `value`, if it is neither less than `min` nor more than `max`.
fn range<T: Ord + fmt::Display>(key: &str, value: T, min: T, max: T) -> Result<T, SetupError> {
    if value < min || value > max {
        return Err(SetupError::Value(format!("{key} = {value}: it must be between {min} and {max}")));
    }
    Ok(value)
}

fn check_limits(said: &LimitsSource) -> Result<Limits, SetupError> {
    let default = Limits::default();
    let limits = Limits {
        key_bytes: positive("key_bytes", said.key_bytes.unwrap_or(default.key_bytes))?,
        value_bytes: positive("value_bytes", said.value_bytes.unwrap_or(default.value_bytes))?,
        content_type_bytes: positive(
            "content_type_bytes",
            said.content_type_bytes.unwrap_or(default.content_type_bytes),
        )?,
        siblings: positive("siblings", said.siblings.unwrap_or(default.siblings))?,
        object_bytes: positive("object_bytes", said.object_bytes.unwrap_or(default.object_bytes))?,
        calls: positive("calls", said.calls.unwrap_or(default.calls))?,
        peer_requests: positive("peer_requests", said.peer_requests.unwrap_or(default.peer_requests))?,
        list_page: positive("list_page", said.list_page.unwrap_or(default.list_page))?,
        sync_bytes: positive("sync_bytes", said.sync_bytes.unwrap_or(default.sync_bytes))?,
        sync_objects: positive("sync_objects", said.sync_objects.unwrap_or(default.sync_objects))?,
        residual_keys: default.residual_keys,
        hint_bytes: said.hint_bytes.unwrap_or(default.hint_bytes),
        window_keys: default.window_keys,
        listed_keys: default.listed_keys,
    };
    let bounds = [
        ("key_bytes", limits.key_bytes, KEY_BYTES_MAX),
        ("object_bytes", limits.object_bytes, OBJECT_BYTES_MAX),
        ("value_bytes", limits.value_bytes, limits.object_bytes),
    ];
    for (key, value, max) in bounds {
        if value > max {
            return Err(SetupError::Value(format!("limits.{key} = {value}: it must be at most {max}")));
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MECDB: &str = r#"
        name = "apple-juice-93"
        port = 7000
        httpport = 3000
        root = "/tmp/mec"
        [[node]]
            host = "127.0.0.1"
            port = 8000
        [[node]]
            host = "127.0.0.1"
            port = 9000
    "#;

    fn source(text: &str) -> Source {
        toml::from_str(text).expect("parses")
    }

    fn check(text: &str) -> Result<Setup, SetupError> {
        Setup::check(source(text), None, None)
    }

    fn refusal(text: &str) -> String {
        check(text).expect_err("refused").to_string()
    }

    #[test]
    fn a_mecdb_file_is_taken_as_it_is() {
        let setup = check(MECDB).expect("valid");
        assert_eq!(setup.name, "apple-juice-93");
        assert_eq!(setup.listen.to_string(), "127.0.0.1:7000");
        assert_eq!(setup.http.to_string(), "127.0.0.1:3000");
        assert_eq!(setup.root, Path::new("/tmp/mec"));
        let peers: Vec<String> = setup.peers.iter().map(Listed::to_string).collect();
        assert_eq!(peers, ["127.0.0.1:8000", "127.0.0.1:9000"]);
        assert!(setup.has_others());
    }

    #[test]
    fn a_list_without_names_may_hold_this_node_itself() {
        let itself = "[[node]]\nhost = \"localhost\"\nport = 7000\n";
        let setup = check(&format!("{MECDB}\n{itself}")).expect("valid");
        assert_eq!(setup.peers.len(), 2);
        let elsewhere = "[[node]]\nhost = \"127.0.0.2\"\nport = 7000\n";
        let setup = check(&format!("{MECDB}\n{elsewhere}")).expect("valid");
        assert_eq!(setup.peers.len(), 3, "another address of this machine is another node");
    }

    #[test]
    fn a_list_with_names_may_hold_this_node_itself_and_gives_it_its_port() {
        let nodes = r#"
            name = "b"
            root = "x"
            node = [{ name = "a", host = "h", port = 1 }, { name = "b", host = "h", port = 2 }]
        "#;
        let setup = check(nodes).expect("valid");
        assert_eq!(setup.listen.port(), 2);
        assert_eq!(setup.peers.len(), 1);
        assert_eq!(setup.peers[0].name.as_deref(), Some("a"));
        let error = refusal(&format!("port = 3\n{nodes}"));
        assert!(error.contains("is listed with port 2, and its own port is 3"), "{error}");
    }

    #[test]
    fn a_node_advertises_what_it_is_told_or_its_own_entry_or_where_it_listens() {
        let base = "name = \"a\"\nroot = \"x\"\n";
        let bound: SocketAddr = "127.0.0.1:7777".parse().expect("an address");
        let advertised = |more: &str| check(&format!("{base}{more}")).expect("valid").advertised(bound);
        assert_eq!(advertised(""), "127.0.0.1:7777");
        assert_eq!(advertised("advertise = \"a.example:7000\"\nlisten = \"0.0.0.0\""), "a.example:7000");
        assert_eq!(advertised("advertise = \"[::1]:7000\""), "[::1]:7000");
        let entry = "node = [{ name = \"a\", host = \"a.example\", port = 7000 }]\n";
        assert_eq!(advertised(entry), "a.example:7000");
        assert_eq!(advertised(&format!("advertise = \"b:1\"\n{entry}")), "b:1");
    }

    #[test]
    fn a_node_that_joins_has_addresses_to_ask_and_no_list() {
        let setup = check("name = \"a\"\nroot = \"x\"\njoin = [\"h:1\", \"[::1]:2\"]").expect("valid");
        let join: Vec<String> = setup.join.iter().map(Listed::to_string).collect();
        assert_eq!(join, ["h:1", "[::1]:2"]);
        assert!(setup.peers.is_empty() && setup.has_others());
        let said = [("GODOWN_JOIN".to_owned(), "h:1, i:2".to_owned())];
        let source = Source::gather(None, said.into_iter()).expect("valid");
        assert_eq!(source.join, Some(vec!["h:1".to_owned(), "i:2".to_owned()]));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("godown.toml");
        fs::write(&path, "name = \"a\"\nhttp_port = 1\n").expect("written");
        let error = Source::gather(Some(&path), std::iter::empty()).expect_err("refused").to_string();
        assert!(error.contains("line 2") && error.contains("http_port"), "{error}");
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let variables = [
            ("GODOWN_NAME", "77"),
            ("GODOWN_TIMEOUT_MS", "1234"),
            ("GODOWN_LIMITS_CALLS", "5"),
            ("GODOWN_UNRELATED", "x"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let source = Source::gather(None, variables.into_iter()).expect("valid");
        assert_eq!(source.name.as_deref(), Some("77"), "names stay text");
        assert_eq!(source.timeout_ms, Some(1234));
        assert_eq!(source.limits.calls, Some(5));
        let bad = [("GODOWN_PORT".to_owned(), "http".to_owned())];
        let error = Source::gather(None, bad.into_iter()).expect_err("refused").to_string();
        assert!(error.contains("GODOWN_PORT=http"), "{error}");
    }

    #[test]
    fn every_setting_can_be_said_by_a_variable() {
        let silent = format!("{:?}", Source::default());
        for (variable, value) in table::samples() {
            let source = Source::gather(None, [(variable.clone(), value)].into_iter()).expect("valid");
            assert_ne!(format!("{source:?}"), silent, "{variable} says nothing");
        }
    }

    #[test]
    fn every_setting_out_of_range_is_named() {
        let base = "name = \"a\"\nroot = \"x\"\n";
        let cases = [
            ("r = 4", "r = 4"),
            ("partitions = 3", "partitions = 3"),
            ("timeout_ms = 0", "timeout"),
            ("body_timeout_ms = 0", "body_timeout_ms"),
            ("sync_every_ms = 0", "sync_every_ms = 0"),
            ("gossip_every_ms = 86400001", "gossip_every_ms = 86400001"),
            ("probe_every_ms = 0", "probe_every_ms = 0"),
            ("expire_every_ms = 0", "expire_every_ms = 0"),
            ("scrub_every_ms = 31622400001", "scrub_every_ms = 31622400001"),
            ("hint_bytes_per_s = 65535", "hint_bytes_per_s = 65535"),
            ("sync_bytes_per_s = 65535", "sync_bytes_per_s = 65535"),
            ("log_rows_max = 0", "log_rows_max = 0"),
            ("compact_every_ms = 86400001", "compact_every_ms = 86400001"),
            ("log_rows_max = 16777217", "log_rows_max = 16777217"),
            ("limits.calls = 0", "limits.calls = 0"),
            ("limits.connections = 0", "limits.connections = 0"),
            ("limits.key_bytes = 32769", "limits.key_bytes = 32769"),
            ("limits.object_bytes = 16777217", "limits.object_bytes"),
            ("limits.value_bytes = 9000000", "limits.value_bytes"),
            ("node = [{ host = \"h\", port = 1 }, { host = \"h\", port = 1 }]", "listed twice"),
            (
                "node = [{ name = \"b\", host = \"h\", port = 1 }, { name = \"b\", host = \"h\", port = 2 }]",
                "same name",
            ),
            ("node = [{ name = \"\", host = \"h\", port = 1 }]", "is no name"),
            ("listen = \"0.0.0.0\"", "set advertise"),
            ("advertise = \"h\"", "advertise = \"h\""),
            ("advertise = \"n=h:1\"", "without a name"),
            ("weight = 0", "weight = 0"),
            ("weight = 1001", "weight = 1001"),
            ("zone = \"\"", "is no name"),
            ("join = [\"h\"]", "join = \"h\""),
            ("join = [\"h:1\"]\nnode = [{ name = \"b\", host = \"h\", port = 1 }]", "both set"),
        ];
        for (line, words) in cases {
            let error = refusal(&format!("{base}{line}\n"));
            assert!(error.contains(words), "{line}: {error}");
        }
        assert!(refusal("root = \"x\"").contains("--name"));
        assert!(refusal("name = \"x\"").contains("--data"));
    }

    #[test]
    fn the_quorums_follow_the_replicas_unless_they_are_set() {
        let setup = check("name = \"a\"\nroot = \"x\"\nreplicas = 5").expect("valid");
        assert_eq!((setup.settings.r, setup.settings.w), (3, 3));
        let setup = check("name = \"a\"\nroot = \"x\"\nreplicas = 1").expect("valid");
        assert_eq!((setup.settings.r, setup.settings.w), (1, 1));
    }

    #[test]
    fn every_setting_of_the_core_that_is_set_arrives_there() {
        let said = "
            name = \"a\"
            root = \"x\"
            sync_every_ms = 1
            gossip_every_ms = 2
            probe_every_ms = 3
            expire_every_ms = 4
            scrub_every_ms = 5
            sloppy = false
            hint_bytes_per_s = 70000
            sync_bytes_per_s = 80000
            log_rows_max = 6
            limits.hint_bytes = 7
        ";
        let settings = check(said).expect("valid").settings;
        let every = [
            settings.sync_every,
            settings.gossip_every,
            settings.probe_every,
            settings.expire_every,
            settings.scrub_every,
        ];
        assert_eq!(every, [1, 2, 3, 4, 5].map(Duration::from_millis));
        assert!(!settings.sloppy);
        assert_eq!((settings.hint_bytes_per_s, settings.sync_bytes_per_s), (70_000, 80_000));
        assert_eq!((settings.log_rows_max, settings.limits.hint_bytes), (6, 7));
        // Zero is a word of its own for some.
        let never = "scrub_every_ms = 0\nsync_bytes_per_s = 0\nlimits.hint_bytes = 0";
        let settings = check(&format!("name = \"a\"\nroot = \"x\"\n{never}")).expect("valid").settings;
        assert_eq!((settings.scrub_every, settings.sync_bytes_per_s), (Duration::ZERO, 0));
        assert_eq!(settings.limits.hint_bytes, 0);
    }

    #[test]
    fn what_is_printed_as_defaults_are_the_defaults() {
        let printed = format!("name = \"a\"\nroot = \"x\"\n{}", table::render());
        let (said, silent) =
            (check(&printed).expect("valid"), check("name = \"a\"\nroot = \"x\"").expect("valid"));
        assert_eq!(format!("{said:?}"), format!("{silent:?}"));
    }

    #[test]
    fn a_peer_flag_names_a_node_and_says_what_is_wrong_with_it() {
        let peer: Listed = "b=[::1]:7001".parse().expect("valid");
        assert_eq!((peer.name.as_deref(), peer.to_string().as_str()), (Some("b"), "[::1]:7001"));
        let peer: Listed = "db.example:7001".parse().expect("valid");
        assert_eq!((peer.name, peer.host.as_str(), peer.port), (None, "db.example", 7001));
        for bad in ["b", "b=host", "b=host:http", "b=:7"] {
            assert!(bad.parse::<Listed>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_open_address_is_warned_about() {
        let base = "name = \"a\"\nroot = \"x\"\n";
        assert_eq!(check(base).expect("valid").warnings(), Vec::<String>::new());
        let open = check(&format!("{base}listen = \"0.0.0.0\"\nadvertise = \"h:1\"")).expect("valid");
        assert!(open.warnings()[0].contains("without authentication"));
        let hidden = format!("{base}node = [{{ name = \"b\", host = \"10.0.0.2\", port = 1 }}]");
        assert!(check(&hidden).expect("valid").warnings()[0].contains("cannot reach this node"));
    }
}
