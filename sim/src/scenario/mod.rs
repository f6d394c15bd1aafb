//! What one run is: a cluster, its clients, its network and disks, and a list of faults. All of it is data.
//!
//! A scenario is [drawn](Scenario::draw) from a seed, or read from [text]. Because its calls and faults are lists,
//! a failing one can be told in words, cut down and run again after the code has changed. What it may
//! inject and still claim that nothing is lost follows from N, R and W; [`limit`] says what. Nothing here depends on how a
//! world runs it. The seed also feeds whatever a world draws while it runs: latencies, disk times, lives.

pub mod draw;
pub mod fault;
pub mod limit;
pub mod plan;
pub mod span;
pub mod text;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use godown_core::config::{Config, Limits, Settings};
use godown_core::id::NodeId;
use godown_core::key::Key;
use godown_core::layout::Member;

pub use draw::Weather;
pub use fault::{Fault, Kind};
pub use plan::{Deed, Plan};

/// Nanoseconds in a microsecond.
pub const US: u64 = 1_000;
/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// How long after the last fault the world must have come to rest, beside what its own settings ask for.
pub const QUIET_BOUND: u64 = 100 * SECOND;
/// The shortest pause between two rounds of anti-entropy in a scenario that leaves all repair to reads.
pub const SELDOM: u64 = 1_000 * SECOND;
/// The time between two looks for values that have expired in a scenario that does not say it.
pub const EXPIRE_EVERY: u64 = 60 * SECOND;
/// The longest that a value may be kept before it expires: a run ends when all have.
pub const TTL_MAX: u64 = 1_000 * SECOND;
/// The most nodes of a scenario.
pub const NODES_MAX: usize = 100;
/// The most sessions of a scenario.
pub const SESSIONS_MAX: usize = 1_000;
/// Bytes of hints that a node may keep for others: so few that some are refused.
const HINT_BYTES: u64 = 4_000;
/// The longest scenario, before its faults are over.
pub const LENGTH_MAX: u64 = 10_000 * SECOND;

/// Bytes per second that anti-entropy may take in, for each object that one of its messages may hold.
const SYNC_BYTES_PER_OBJECT_S: u64 = 256 << 10;
/// Log rows that a partition keeps, for each of those objects.
const LOG_ROWS_PER_OBJECT: usize = 8;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What it was drawn from; whatever a world draws while it runs follows from it, too.
    pub seed: u64,
    /// The zone of each node; there are as many nodes as entries, and they are called n1, n2, …
    pub zones: Vec<usize>,
    /// Shares of the key space.
    pub partitions: u32,
    /// Copies of each key.
    pub replicas: usize,
    /// Replicas that must answer a read.
    pub r: usize,
    /// Replicas that must have a write on disk.
    pub w: usize,
    /// How long a call may take.
    pub timeout_ns: u64,
    /// Time between two rounds of anti-entropy.
    pub sync_every_ns: u64,
    /// Time between two looks for values that have expired.
    pub expire_every_ns: u64,
    /// Time between two messages of gossip.
    pub gossip_every_ns: u64,
    /// Time between two probes.
    pub probe_every_ns: u64,
    /// So many of the nodes, the last ones, do not found the cluster: they wait to be taken in.
    pub spares: usize,
    /// So many of the founders, the first ones, know only the oldest version of frames until they are upgraded.
    pub outdated: usize,
    /// Whether stand-ins take the places of replicas that cannot be reached. Reads then promise nothing fresh.
    pub sloppy: bool,
    /// Whether clients wait for every node to be ready before they begin.
    pub starts_ready: bool,
    /// Concurrent values that a key may hold.
    pub siblings_max: usize,
    /// Objects in one message of anti-entropy.
    pub sync_objects: usize,
    /// Calls in flight on a node.
    pub calls_max: usize,
    /// Accesses to keys in flight on a node, its clients' and its peers' together.
    pub accesses_max: usize,
    /// The clients.
    pub sessions: Vec<Session>,
    /// How messages travel when nothing is wrong.
    pub network: Network,
    /// How long disks take.
    pub disk: DiskTimes,
    /// Each node's clocks.
    pub clocks: Vec<Clocks>,
    /// A timer fires so much late at most.
    pub late_max_ns: u64,
    /// When the clients stop and all faults are over.
    pub length_ns: u64,
    /// What goes wrong, in order of beginning.
    pub faults: Vec<Fault>,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The node that it talks to first.
    pub node: usize,
    /// What it calls, one call after the other.
    pub calls: Vec<Plan>,
}

/// How messages travel when nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The shortest way.
    pub latency_min_ns: u64,
    /// The longest way but for stragglers. Each link has a share of the span of its own.
    pub latency_max_ns: u64,
    /// Messages, per thousand, that take longer: twice as long, half of these four times, and so on (a heavy tail).
    pub stragglers: u32,
}

/// How long disks take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskTimes {
    /// A read or a scan takes at most so long.
    pub read_max_ns: u64,
    /// A sync takes at least so long.
    pub sync_min_ns: u64,
    /// A sync takes at most so long.
    pub sync_max_ns: u64,
    /// What nobody waits for is synced after so long at most.
    pub lazy_max_ns: u64,
}

/// How a node's clocks differ from the world's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// The wall clock is ahead by so much.
    pub ahead_ns: u64,
    /// Both clocks run so many millionths faster, or slower when it is negative.
    pub drift_ppm: i32,
}

/// The fastest and the slowest clock, in millionths: far beyond any real one.
pub const DRIFT_MAX: i32 = 50_000;

impl Clocks {
    /// What the clocks have counted when so much time has gone by.
    #[must_use]
    pub fn counted(&self, ns: u64) -> u64 {
        let rate = u128::try_from(1_000_000 + i64::from(self.drift_ppm)).expect("no clock runs backwards");
        u64::try_from(u128::from(ns) * rate / 1_000_000).unwrap_or(u64::MAX)
    }

    /// The first moment at which the clocks have counted so much.
    #[must_use]
    pub fn moment(&self, counted: u64) -> u64 {
        let rate = u128::try_from(1_000_000 + i64::from(self.drift_ppm)).expect("no clock runs backwards");
        u64::try_from((u128::from(counted) * 1_000_000).div_ceil(rate)).unwrap_or(u64::MAX)
    }
}

/// Time between two passes over the objects at rest: what rots is found by them while clients call, or soon after.
const SCRUB_EVERY: Duration = Duration::from_secs(1);

impl Scenario {
    /// The scenario of a seed, in the usual weather.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        draw::draw(seed, &Weather::default())
    }

    /// How many nodes found the cluster: the first ones.
    #[must_use]
    pub fn founders(&self) -> usize {
        self.nodes() - self.spares.min(self.nodes())
    }

    /// Whether the operator changes who belongs to the cluster.
    #[must_use]
    pub fn changes_members(&self) -> bool {
        self.faults.iter().any(|fault| fault.kind.changes_members())
    }

    /// The fewest members that the cluster may come to have.
    #[must_use]
    pub fn members_min(&self) -> usize {
        let gives_up = |fault: &&Fault| {
            matches!(fault.kind, Kind::Leave | Kind::Remove)
                && fault.nodes.iter().any(|at| *at < self.founders())
        };
        let gone: std::collections::BTreeSet<usize> =
            self.faults.iter().filter(gives_up).flat_map(|fault| fault.nodes.iter().copied()).collect();
        self.founders().saturating_sub(gone.len())
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.zones.len()
    }

    /// The numbers of the keys that are called, in the order in which the sessions name them.
    #[must_use]
    pub fn keys(&self) -> Vec<u32> {
        let mut keys = Vec::new();
        for plan in self.sessions.iter().flat_map(|session| &session.calls) {
            if plan.is_change() || plan.deed == Deed::Read {
                keys.push(plan.key);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// What the core of a node is told. If it `is_fixed` and has no store yet, its list of members is its first layout.
    ///
    /// # Errors
    /// What is wrong with the settings. Never for a drawn scenario.
    pub fn settings(&self, node: usize, is_fixed: bool) -> Result<Config, String> {
        let founders = self.founders();
        let members = if node < founders { (0..founders).map(node_id).collect() } else { Vec::new() };
        let zone = format!("z{}", self.zones[node]);
        let timeout = Duration::from_nanos(self.timeout_ns);
        Settings {
            partitions: self.partitions,
            replicas: self.replicas,
            r: self.r,
            w: self.w,
            timeout,
            timeout_max: timeout * 2,
            sync_every: Duration::from_nanos(self.sync_every_ns),
            expire_every: Duration::from_nanos(self.expire_every_ns),
            gossip_every: Duration::from_nanos(self.gossip_every_ns),
            probe_every: Duration::from_nanos(self.probe_every_ns),
            sloppy: self.sloppy,
            fixed: is_fixed,
            scrub_every: SCRUB_EVERY,
            me: Member { zone, ..Member::plain(node_id(node)) },
            // Where messages are small, all else that anti-entropy is held to is as small: few keys reach all of it.
            sync_bytes_per_s: self.sync_objects as u64 * SYNC_BYTES_PER_OBJECT_S,
            log_rows_max: self.sync_objects * LOG_ROWS_PER_OBJECT,
            limits: Limits {
                siblings: self.siblings_max,
                sync_objects: self.sync_objects,
                window_keys: self.sync_objects * 4,
                listed_keys: (self.sync_objects / 2).max(1),
                calls: self.calls_max,
                peer_requests: self.accesses_max,
                list_page: 3,
                residual_keys: 2,
                hint_bytes: HINT_BYTES,
                ..Limits::default()
            },
            ..Settings::new(node_id(node), members)
        }
        .check()
        .map_err(|error| error.to_string())
    }

    /// What the core of a node is told. If it `is_fixed` and has no store yet, its list of members is its first layout.
    ///
    /// # Panics
    /// When the scenario was not [checked](Self::check).
    #[must_use]
    pub fn config(&self, node: usize, is_fixed: bool) -> Config {
        self.settings(node, is_fixed).expect("a scenario is checked before it is run")
    }

    /// What is wrong with this scenario, if anything. A drawn one is right.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        let nodes = self.nodes();
        if nodes == 0 || nodes > NODES_MAX {
            return Err(format!("there are {nodes} nodes; there must be 1 to {NODES_MAX}"));
        }
        if self.sessions.len() > SESSIONS_MAX {
            return Err(format!("there are {} sessions; at most {SESSIONS_MAX} may be", self.sessions.len()));
        }
        if self.clocks.len() != nodes {
            return Err(format!("clocks are given for {} nodes, and there are {nodes}", self.clocks.len()));
        }
        if let Some(clocks) = self.clocks.iter().find(|clocks| clocks.drift_ppm.abs() > DRIFT_MAX) {
            return Err(format!("a clock drifts by {} ppm; at most {DRIFT_MAX} may be", clocks.drift_ppm));
        }
        if self.length_ns > LENGTH_MAX {
            return Err(format!("it is longer than {}", span::exact(LENGTH_MAX)));
        }
        let Network { latency_min_ns, latency_max_ns, stragglers } = self.network;
        if latency_min_ns > latency_max_ns || latency_max_ns > 10 * SECOND || stragglers > 1_000 {
            return Err(
                "the network's latencies must rise to ten seconds at most, and stragglers to 1000".to_owned()
            );
        }
        let DiskTimes { read_max_ns, sync_min_ns, sync_max_ns, lazy_max_ns } = self.disk;
        if sync_min_ns > sync_max_ns || sync_max_ns.max(read_max_ns).max(lazy_max_ns) > 10 * SECOND {
            return Err("the disks' times must rise to ten seconds at most".to_owned());
        }
        if read_max_ns < US || lazy_max_ns < US || self.late_max_ns == 0 {
            return Err("disks take a microsecond at least, and timers are late by something".to_owned());
        }
        if self.spares >= nodes || self.outdated > nodes - self.spares {
            return Err(format!("of {nodes} nodes {} are spare and {} outdated", self.spares, self.outdated));
        }
        let kept_longest =
            self.sessions.iter().flat_map(|session| &session.calls).filter_map(|plan| plan.ttl_ns).max();
        if kept_longest.is_some_and(|ttl_ns| ttl_ns > TTL_MAX) || self.expire_every_ns > TTL_MAX {
            return Err(format!(
                "values expire, and are looked for, within {} at most",
                span::exact(TTL_MAX)
            ));
        }
        self.settings(0, false)?;
        let named = self.sessions.iter().map(|session| session.node).find(|node| *node >= nodes);
        if let Some(node) = named {
            return Err(format!("a session talks to n{}, and there are {nodes} nodes", node + 1));
        }
        self.faults.iter().try_for_each(|fault| fault.check(nodes))
    }

    /// The core's name for a key.
    #[must_use]
    pub fn key(number: u32) -> Key {
        Key(Bytes::from(key_name(number)))
    }

    /// Whether anything that is written is to expire.
    #[must_use]
    pub fn expires(&self) -> bool {
        self.sessions.iter().flat_map(|session| &session.calls).any(|plan| plan.ttl_ns.is_some())
    }

    /// Whether stale replicas are left to read repair: anti-entropy comes round too seldom to be met.
    #[must_use]
    pub fn leaves_repair_to_reads(&self) -> bool {
        self.sync_every_ns >= SELDOM
    }

    /// The time within which every node of a new cluster must be ready: a round may fail, or find its peer no readier
    /// than itself, and the next one comes only in its time.
    #[must_use]
    pub fn ready_bound_ns(&self) -> u64 {
        3 * self.sync_every_ns + QUIET_BOUND
    }

    /// Whether this kind of fault is among the faults.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.faults.iter().any(|fault| fault.kind == kind)
    }
}

/// The name of the key with this number.
#[must_use]
pub fn key_name(number: u32) -> String {
    format!("k{number}")
}

/// The id of the node with this place, counted from 0: its name says one more.
#[must_use]
pub fn node_id(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

/// The place of the node with this id.
#[must_use]
pub fn place_of(id: NodeId) -> usize {
    usize::try_from(id.0 - 1).expect("ids of simulated nodes are small")
}

/// A span in the unit that reads best, rounded.
#[must_use]
pub fn span(ns: u64) -> String {
    match ns {
        0..MS => format!("{} µs", ns / US),
        MS..SECOND => format!("{} ms", ns / MS),
        _ => format!("{}.{:01} s", ns / SECOND, ns % SECOND / (SECOND / 10)),
    }
}

/// In words, a fault to a line.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} nodes, N = {}, R = {}, W = {}, {} partitions; timeout {}, {}",
            self.seed,
            self.nodes(),
            self.replicas,
            self.r,
            self.w,
            self.partitions,
            span(self.timeout_ns),
            if self.leaves_repair_to_reads() {
                "repair left to reads".to_owned()
            } else {
                format!("anti-entropy every {}", span(self.sync_every_ns))
            }
        )?;
        let keys: Vec<String> = self.keys().into_iter().map(key_name).collect();
        let calls: usize = self.sessions.iter().map(|session| session.calls.len()).sum();
        writeln!(
            f,
            "  {} sessions with {calls} calls on {} for {}{}",
            self.sessions.len(),
            keys.join(" "),
            span(self.length_ns),
            if self.starts_ready { "" } else { ", from the first moment on" },
        )?;
        if self.expires() {
            let every = span(self.expire_every_ns);
            writeln!(f, "  some of what is written expires, which is looked for every {every}")?;
        }
        writeln!(
            f,
            "  messages take {} to {}; reads take up to {}, syncs {} to {}; timers are up to {} late",
            span(self.network.latency_min_ns),
            span(self.network.latency_max_ns),
            span(self.disk.read_max_ns),
            span(self.disk.sync_min_ns),
            span(self.disk.sync_max_ns),
            span(self.late_max_ns),
        )?;
        if self.outdated > 0 {
            let of = if self.outdated == 1 {
                "n1 knows".to_owned()
            } else {
                format!("n1 to n{} know", self.outdated)
            };
            writeln!(f, "  {of} only the oldest version of frames until upgraded")?;
        }
        self.faults.iter().try_for_each(|fault| writeln!(f, "  {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_drift_count_what_they_say_and_reach_every_count() {
        for drift_ppm in [-DRIFT_MAX, -100, 0, 1, DRIFT_MAX] {
            let clocks = Clocks { ahead_ns: 0, drift_ppm };
            for counted in [0, 1, 999, 1_000_001, 12_345_678_901] {
                let moment = clocks.moment(counted);
                assert!(clocks.counted(moment) >= counted, "{drift_ppm} {counted}");
                assert!(moment == 0 || clocks.counted(moment - 1) < counted, "{drift_ppm} {counted}");
            }
        }
        assert_eq!(Clocks { ahead_ns: 0, drift_ppm: 100 }.counted(SECOND), SECOND + 100 * US);
    }

    #[test]
    fn what_is_wrong_with_a_scenario_is_told() {
        let wrong = |change: fn(&mut Scenario)| {
            let mut scenario = Scenario::draw(3);
            assert_eq!(scenario.check(), Ok(()));
            change(&mut scenario);
            scenario.check().expect_err("it was made wrong")
        };
        assert!(wrong(|s| s.zones.clear()).contains("there are 0 nodes"));
        assert!(wrong(|s| s.clocks.truncate(1)).contains("clocks are given for 1"));
        assert!(wrong(|s| s.r = 99).contains("r = 99"));
        assert!(wrong(|s| s.sessions[0].node = 50).contains("n51"));
        assert!(wrong(|s| s.network.latency_min_ns = 11 * SECOND).contains("latencies"));
        assert!(wrong(|s| s.expire_every_ns = TTL_MAX + 1).contains("values expire"));
        assert!(wrong(|s| s.expire_every_ns = 0).contains("expire_every"));
        assert!(wrong(|s| s.disk.sync_min_ns = 11 * SECOND).contains("disks"));
    }
}
