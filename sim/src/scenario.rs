//! What one run is: a cluster, its clients, its network and disks, and a list of faults. All of it is data.
//!
//! [`Scenario::draw`] makes one from a seed. Each seed switches kinds of faults on and off and picks rates of its
//! own (swarm testing, Groce et al. 2012): a run with nothing but crashes and slow disks finds what a run with a
//! bit of everything drowns. The faults are a list with times, so that a scenario can be told in words, cut down and run
//! again. Faults are capped by what N, R and W survive. In this version that is everything below: nodes may crash in
//! any number because what is synced stays, and no disk is lost. Nothing here depends on how a world runs it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use godown_core::config::{Config, Limits, Settings};
use godown_core::id::NodeId;
use godown_core::key::Key;

use crate::record::Act;
use crate::rng::Rng;

/// Nanoseconds in a microsecond.
pub const US: u64 = 1_000;
/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// How long after the last fault the world must have come to rest.
pub const QUIET_BOUND: u64 = 100 * SECOND;
/// The shortest pause between two rounds of anti-entropy in a scenario that leaves all repair to reads.
const SELDOM: u64 = 1_000 * SECOND;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What it was drawn from; whatever a world draws while it runs follows from it, too.
    pub seed: u64,
    /// How many nodes there are; they are called n1, n2, …
    pub nodes: usize,
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
    /// Whether clients wait for every node to be ready before they begin.
    pub starts_ready: bool,
    /// Concurrent values that a key may hold.
    pub siblings_max: usize,
    /// Objects in one message of anti-entropy.
    pub sync_objects: usize,
    /// Calls in flight on a node.
    pub calls_max: usize,
    /// Each key's name, as a number; clients call the first one more often than the others.
    pub keys: Vec<u32>,
    /// The clients.
    pub sessions: Vec<Session>,
    /// What the clients do.
    pub mix: Mix,
    /// How messages travel when nothing is wrong.
    pub network: Network,
    /// How long disks take.
    pub disk: DiskTimes,
    /// Each node's wall clock, ahead of the others' by so much.
    pub wall_ahead_ns: Vec<u64>,
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
    /// How many calls it makes at most.
    pub calls: u32,
    /// It pauses at most so long between two calls.
    pub think_max_ns: u64,
}

/// What clients do, in times per thousand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Calls that read.
    pub reads: u32,
    /// Writes that delete.
    pub deletes: u32,
    /// Writes that leave out the context that their session has.
    pub blind: u32,
    /// Calls that ask for a quorum of their own.
    pub wishes: u32,
    /// Calls that go to the first key whatever else is drawn.
    pub hot: u32,
    /// Calls that list keys.
    pub lists: u32,
    /// Failed calls after which the session turns to another node.
    pub turns: u32,
    /// Writes whose value is a few hundred bytes long and not a few.
    pub large: u32,
}

/// How messages travel when nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The shortest way.
    pub latency_min_ns: u64,
    /// The longest way.
    pub latency_max_ns: u64,
    /// Messages, per thousand, that take ten times as long.
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

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins, in nanoseconds since the clients do.
    pub at_ns: u64,
    /// How long it lasts, at most until all faults are over.
    pub lasts_ns: u64,
    /// What goes wrong.
    pub what: Trouble,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Messages between the nodes of `side` and the others are lost, those on their way included.
    Partition {
        /// The nodes of one side.
        side: Vec<usize>,
    },
    /// A node loses its memory and what its disk had not synced. When the fault is over, it starts again.
    Crash {
        /// The node.
        node: usize,
    },
    /// Nodes crash right after the next answer of a kind, the worst moment there is. They start again when the fault
    /// has lasted its time since then.
    Ambush {
        /// Whether a read is waited for, or a write.
        after: Act,
        /// The nodes.
        nodes: Vec<usize>,
    },
    /// Messages from one node to another take longer.
    Slow {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// By at most so much.
        extra_max_ns: u64,
    },
    /// Messages are lost.
    Loss {
        /// How many of a thousand.
        permille: u32,
    },
    /// Messages arrive twice.
    Duplication {
        /// How many of a thousand.
        permille: u32,
    },
}

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let rng = &mut Rng::stream(seed, "scenario");
        let nodes = size(rng, 3, 7);
        let replicas = (*rng.pick(&[2, 3, 3, 3, 3, 3, 4, 5])).min(nodes);
        let (r, w) = quorums(rng, replicas);
        let leaves_repair_to_reads = rng.chance(150);
        let length_ns = rng.magnitude(600, 12_000) * MS;
        let network = network(rng);
        let disk = disk(rng);
        // Long enough for a write over this network and these disks, mostly.
        let usual_ns = 4 * network.latency_max_ns + 3 * disk.sync_max_ns + 2 * disk.read_max_ns;
        // Where rounds of anti-entropy are seldom, none should fail for a straggler.
        let timeout_min_ns = if leaves_repair_to_reads { 25 * network.latency_max_ns } else { 0 };
        Self {
            seed,
            nodes,
            partitions: 16,
            replicas,
            r,
            w,
            timeout_ns: (usual_ns * rng.between(1, 4)).clamp(timeout_min_ns.max(20 * MS), 2 * SECOND),
            sync_every_ns: if leaves_repair_to_reads { SELDOM } else { rng.magnitude(200, 4_000) * MS },
            starts_ready: leaves_repair_to_reads || rng.chance(700),
            siblings_max: *rng.pick(&[4, 12, 30]),
            sync_objects: *rng.pick(&[1, 2, 128]),
            calls_max: *rng.pick(&[2, 1_024, 1_024, 1_024]),
            keys: keys(rng),
            sessions: sessions(rng, nodes, length_ns),
            mix: mix(rng),
            network,
            disk,
            wall_ahead_ns: (0..nodes).map(|_| rng.below(400) * MS).collect(),
            late_max_ns: rng.magnitude(1, 5_000) * US,
            length_ns,
            faults: all_faults(seed, rng, nodes, length_ns),
        }
    }

    /// What the core of a node is told.
    ///
    /// # Panics
    /// Never for a drawn scenario: its settings are valid.
    #[must_use]
    pub fn config(&self, node: usize) -> Config {
        let members = (0..self.nodes).map(node_id).collect();
        let timeout = Duration::from_nanos(self.timeout_ns);
        Settings {
            partitions: self.partitions,
            replicas: self.replicas,
            r: self.r,
            w: self.w,
            timeout,
            timeout_max: timeout * 2,
            sync_every: Duration::from_nanos(self.sync_every_ns),
            limits: Limits {
                siblings: self.siblings_max,
                sync_objects: self.sync_objects,
                calls: self.calls_max,
                list_page: 3,
                ..Limits::default()
            },
            ..Settings::new(node_id(node), members)
        }
        .check()
        .expect("a scenario's settings are valid")
    }

    /// The name of the key with this place.
    #[must_use]
    pub fn key(&self, place: usize) -> Key {
        Key(Bytes::from(format!("k{}", self.keys[place])))
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
}

impl Fault {
    /// Whether this is an ambush for answers of this kind.
    #[must_use]
    pub fn waits_for(&self, act: Act) -> bool {
        matches!(&self.what, Trouble::Ambush { after, .. } if *after == act)
    }
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

fn size(rng: &mut Rng, low: u64, high: u64) -> usize {
    usize::try_from(rng.between(low, high)).expect("sizes are small")
}

/// Mostly quorums that overlap; sometimes weak ones, which only let reads be stale.
fn quorums(rng: &mut Rng, replicas: usize) -> (usize, usize) {
    let overlaps = rng.chance(800);
    let pairs: Vec<(usize, usize)> = (1..=replicas)
        .flat_map(|r| (1..=replicas).map(move |w| (r, w)))
        .filter(|(r, w)| (r + w > replicas) == overlaps)
        .collect();
    let majority = replicas / 2 + 1;
    if overlaps && rng.chance(300) {
        (majority, majority)
    } else if pairs.is_empty() {
        (1, 1)
    } else {
        *rng.pick(&pairs)
    }
}

fn network(rng: &mut Rng) -> Network {
    let latency_min_ns = rng.magnitude(20, 2_000) * US;
    Network {
        latency_min_ns,
        latency_max_ns: latency_min_ns * rng.magnitude(1, 20),
        stragglers: *rng.pick(&[0, 10, 100]),
    }
}

fn disk(rng: &mut Rng) -> DiskTimes {
    let sync_min_ns = rng.magnitude(50, 20_000) * US;
    DiskTimes {
        read_max_ns: rng.magnitude(5, 5_000) * US,
        sync_min_ns,
        sync_max_ns: sync_min_ns * rng.magnitude(1, 16),
        lazy_max_ns: rng.magnitude(1, 2_000) * MS,
    }
}

/// Few keys, so that clients meet.
fn keys(rng: &mut Rng) -> Vec<u32> {
    let count = *rng.pick(&[1, 1, 2, 3, 5, 8]);
    let mut keys = Vec::new();
    while keys.len() < count {
        let key = u32::try_from(rng.below(1_000)).expect("it is below a thousand");
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn sessions(rng: &mut Rng, nodes: usize, length_ns: u64) -> Vec<Session> {
    let calls = rng.magnitude(10, 60);
    // Calls that come one upon the other fill a part of the run; spread out they fill all of it.
    let think_max_ns = 2 * length_ns / calls / *rng.pick(&[1, 1, 4, 20]);
    let session = |rng: &mut Rng| Session {
        node: size(rng, 0, nodes as u64 - 1),
        calls: u32::try_from(calls).expect("it is small"),
        think_max_ns,
    };
    (0..rng.between(2, 8)).map(|_| session(rng)).collect()
}

fn mix(rng: &mut Rng) -> Mix {
    Mix {
        reads: *rng.pick(&[200, 400, 600]),
        deletes: *rng.pick(&[0, 100, 300]),
        blind: *rng.pick(&[0, 50, 300]),
        wishes: *rng.pick(&[0, 0, 100]),
        hot: *rng.pick(&[0, 500]),
        lists: *rng.pick(&[0, 20]),
        turns: *rng.pick(&[100, 500, 1_000]),
        large: *rng.pick(&[0, 0, 50]),
    }
}

/// The faults of a run, and in a third of all runs ambushes on top of them: they are what bugs of acknowledgement need
/// most. These are drawn apart, so that seeds which are known for what they found stay what they are.
fn all_faults(seed: u64, rng: &mut Rng, nodes: usize, length_ns: u64) -> Vec<Fault> {
    let mut faults = faults(rng, nodes, length_ns);
    let rng = &mut Rng::stream(seed, "second ambushes");
    if rng.chance(350) {
        ambushes(rng, nodes, length_ns, &mut faults);
        faults.sort_by_key(|fault| fault.at_ns);
    }
    faults
}

/// The faults of a run: each kind is in it or not, and how often and for how long is drawn for each.
fn faults(rng: &mut Rng, nodes: usize, length_ns: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    if rng.chance(450) {
        crashes(rng, nodes, length_ns, &mut faults);
    }
    if rng.chance(300) {
        ambushes(rng, nodes, length_ns, &mut faults);
    }
    let mut several = |rng: &mut Rng, permille, trouble: fn(&mut Rng, usize) -> Trouble| {
        let count = if rng.chance(permille) { rng.between(1, 4) } else { 0 };
        for _ in 0..count {
            faults.push(Fault {
                at_ns: rng.below(length_ns * 9 / 10),
                lasts_ns: rng.between(length_ns / 50, length_ns / 3),
                what: trouble(rng, nodes),
            });
        }
    };
    several(rng, 400, partition);
    several(rng, 300, slow_link);
    several(rng, 300, |rng, _| Trouble::Loss { permille: *rng.pick(&[20, 100, 400]) });
    several(rng, 400, |rng, _| Trouble::Duplication { permille: *rng.pick(&[50, 300, 1_000]) });
    faults.sort_by_key(|fault| fault.at_ns);
    faults
}

fn partition(rng: &mut Rng, nodes: usize) -> Trouble {
    // One node alone is the commonest partition, and the one in which a minority still takes calls.
    let side = if rng.chance(500) {
        vec![size(rng, 0, nodes as u64 - 1)]
    } else {
        let mask = rng.between(1, (1 << (nodes - 1)) - 1);
        (0..nodes).filter(|node| mask >> node & 1 == 1).collect()
    };
    Trouble::Partition { side }
}

fn slow_link(rng: &mut Rng, nodes: usize) -> Trouble {
    let from = size(rng, 0, nodes as u64 - 1);
    let step = size(rng, 1, nodes as u64 - 1);
    Trouble::Slow { from, to: (from + step) % nodes, extra_max_ns: rng.magnitude(1, 3_000) * MS }
}

/// Crashes of single nodes, some of them again and again, and of all nodes at once, as when the power fails.
fn crashes(rng: &mut Rng, nodes: usize, length_ns: u64, faults: &mut Vec<Fault>) {
    let down_max_ns = (length_ns / *rng.pick(&[3, 10, 100])).max(2 * MS);
    let mut is_up_from = vec![0; nodes];
    for _ in 0..rng.between(1, 8) {
        let at_ns = rng.below(length_ns * 9 / 10);
        let all = rng.chance(300);
        let first = size(rng, 0, nodes as u64 - 1);
        let repeats = if rng.chance(300) { rng.between(1, 3) } else { 0 };
        for node in if all { 0..nodes } else { first..first + 1 } {
            let mut at_ns = at_ns;
            for _ in 0..=repeats {
                let lasts_ns = rng.between(MS, down_max_ns);
                // A node that is down cannot crash.
                if at_ns >= is_up_from[node] {
                    is_up_from[node] = at_ns + lasts_ns + 1;
                    let what = Trouble::Crash { node };
                    faults.push(Fault { at_ns, lasts_ns, what });
                }
                at_ns += lasts_ns + rng.magnitude(1, 500) * MS;
            }
        }
    }
    faults.retain(|fault| fault.at_ns < length_ns);
    // Crashes are drawn out of order; one that was drawn later may lie before and reach into another.
    let mut kept: Vec<Fault> = Vec::new();
    faults.sort_by_key(|fault| fault.at_ns);
    for fault in faults.drain(..) {
        let meets = |other: &Fault| other.what == fault.what && other.at_ns + other.lasts_ns >= fault.at_ns;
        if !kept.iter().any(meets) {
            kept.push(fault);
        }
    }
    *faults = kept;
}

/// Crashes that wait for an acknowledged write, or a read that was answered. The nodes are back soon, so that somebody
/// asks them before they have caught up.
fn ambushes(rng: &mut Rng, nodes: usize, length_ns: u64, faults: &mut Vec<Fault>) {
    let down_max_ns = rng.magnitude(2, 100) * MS;
    for _ in 0..rng.between(1, 10) {
        let after = if rng.chance(700) { Act::Write } else { Act::Read };
        let one = size(rng, 0, nodes as u64 - 1);
        let nodes = if rng.chance(600) { (0..nodes).collect() } else { vec![one] };
        faults.push(Fault {
            at_ns: rng.below(length_ns * 9 / 10),
            lasts_ns: rng.between(MS, down_max_ns),
            what: Trouble::Ambush { after, nodes },
        });
    }
}

/// A span in the unit that reads best.
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
            self.nodes,
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
        let keys: Vec<String> = self.keys.iter().map(|key| format!("k{key}")).collect();
        writeln!(
            f,
            "  {} sessions of {} calls on {} for {}, pausing up to {}{}",
            self.sessions.len(),
            self.sessions.first().map_or(0, |session| session.calls),
            keys.join(" "),
            span(self.length_ns),
            span(self.sessions.first().map_or(0, |session| session.think_max_ns)),
            if self.starts_ready { "" } else { ", from the first moment on" },
        )?;
        let Mix { reads, deletes, blind, wishes, hot, .. } = self.mix;
        writeln!(
            f,
            "  of a thousand calls {reads} read, {wishes} ask for a quorum, {hot} go to the first key; of a thousand writes {deletes} delete, {blind} are blind"
        )?;
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
        for Fault { at_ns, lasts_ns, what } in &self.faults {
            writeln!(f, "  at {} for {}: {what}", span(*at_ns), span(*lasts_ns))?;
        }
        Ok(())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition { side } => write!(f, "{} cut off from the others", names(side)),
            Self::Ambush { after, nodes } => {
                write!(f, "{} down, from the next {} on", names(nodes), after.name())
            }
            Self::Crash { node } => write!(f, "n{} down", node + 1),
            Self::Slow { from, to, extra_max_ns } => {
                write!(f, "n{} → n{} slower by up to {}", from + 1, to + 1, span(*extra_max_ns))
            }
            Self::Loss { permille } => write!(f, "{permille} of a thousand messages lost"),
            Self::Duplication { permille } => write!(f, "{permille} of a thousand messages doubled"),
        }
    }
}

fn names(nodes: &[usize]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| format!("n{}", node + 1)).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_draws_a_valid_scenario_and_always_the_same() {
        for seed in 0..2_000 {
            let scenario = Scenario::draw(seed);
            assert_eq!(scenario, Scenario::draw(seed), "seed {seed}");
            for node in 0..scenario.nodes {
                let _ = scenario.config(node);
            }
            assert!(scenario.faults.is_sorted_by_key(|fault| fault.at_ns), "seed {seed}");
            assert!(scenario.faults.iter().all(|fault| fault.at_ns < scenario.length_ns), "seed {seed}");
        }
    }

    #[test]
    fn no_node_crashes_while_it_is_down() {
        for seed in 0..2_000 {
            let scenario = Scenario::draw(seed);
            let mut up_from = vec![0; scenario.nodes];
            for fault in &scenario.faults {
                if let Trouble::Crash { node } = fault.what {
                    assert!(fault.at_ns >= up_from[node], "seed {seed}: {scenario}");
                    up_from[node] = fault.at_ns + fault.lasts_ns;
                }
            }
        }
    }

    #[test]
    fn seeds_differ_in_which_faults_they_have() {
        let has = |seed: u64, is: fn(&Trouble) -> bool| {
            Scenario::draw(seed).faults.iter().any(|fault| is(&fault.what))
        };
        let kinds: [fn(&Trouble) -> bool; 6] = [
            |what| matches!(what, Trouble::Partition { .. }),
            |what| matches!(what, Trouble::Crash { .. }),
            |what| matches!(what, Trouble::Ambush { .. }),
            |what| matches!(what, Trouble::Slow { .. }),
            |what| matches!(what, Trouble::Loss { .. }),
            |what| matches!(what, Trouble::Duplication { .. }),
        ];
        for kind in kinds {
            let count = (0..200).filter(|seed| has(*seed, kind)).count();
            assert!((30..150).contains(&count), "{count} of 200 seeds");
        }
    }
}
