//! Scenarios from seeds.
//!
//! Each seed switches kinds of faults on and off and picks rates of its own (swarm testing, Groce et al. 2012): a run
//! with nothing but crashes and slow disks finds what a run with a bit of everything drowns. Whether a run loses
//! disks is drawn first, since its quorums and its clients' wishes must then leave a copy of everything. What is drawn
//! last has a stream of its own, so that it changes nothing in runs that do not have it.

use std::ops::RangeInclusive;

use super::fault::{Aim, Harm, Unit};
use super::{
    Clocks, Deed, DiskTimes, EXPIRE_EVERY, Fault, Kind, MS, NODES_MAX, Network, Plan, SECOND, SELDOM,
    Scenario, Session, TTL_MAX, US,
};
use crate::rng::Rng;

/// What scenarios are drawn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weather {
    /// How many nodes there are.
    pub nodes: RangeInclusive<usize>,
    /// The kinds of faults that may be drawn; None for all that can be survived.
    pub faults: Option<Vec<Kind>>,
    /// Whether values may be drawn that expire.
    pub expires: bool,
    /// Whether faults may be more than N, R and W survive. Such a run claims nothing, and should be seen to lose.
    pub is_reckless: bool,
}

impl Default for Weather {
    fn default() -> Self {
        Self { nodes: 3..=7, faults: None, expires: true, is_reckless: false }
    }
}

impl Weather {
    /// Whether few kinds of faults may be drawn. Then each is surer to come.
    fn is_narrow(&self) -> bool {
        self.faults.as_ref().is_some_and(|kinds| kinds.len() <= 3)
    }
}

/// How often each kind is in a run, of a thousand runs in the worst weather, and how often it comes in one at most.
const CHANCES: &[(Kind, u32, u64)] = &[
    (Kind::Partition, 420, 4),
    (Kind::OneWay, 120, 3),
    (Kind::Ring, 60, 2),
    (Kind::Bridge, 60, 2),
    (Kind::Slow, 280, 4),
    (Kind::Loss, 250, 3),
    (Kind::Doubling, 420, 3),
    (Kind::Reordering, 200, 3),
    (Kind::Corruption, 140, 3),
    (Kind::Bandwidth, 80, 2),
    (Kind::Crash, 400, 8),
    (Kind::AmbushRead, 250, 4),
    (Kind::AmbushWrite, 420, 8),
    (Kind::AmbushSync, 250, 6),
    (Kind::Stop, 100, 2),
    (Kind::Pause, 150, 4),
    (Kind::Sluggish, 80, 2),
    (Kind::WallAhead, 80, 2),
    (Kind::WallBehind, 120, 3),
    (Kind::SlowDisk, 120, 3),
    (Kind::Stall, 80, 3),
    (Kind::Full, 220, 4),
    (Kind::ReadErrors, 220, 4),
    (Kind::SyncFailure, 150, 4),
];

/// Kinds that change who belongs to the cluster, with their share.
const CHANGES: &[Kind] = &[Kind::Join, Kind::Join, Kind::Leave, Kind::Remove, Kind::Replace];
/// Kinds that lose disks, with their share.
const LOSSES: &[Kind] = &[Kind::Wipe, Kind::Wipe, Kind::Rollback, Kind::Lie, Kind::Rot, Kind::Bitrot];
/// Kinds that lose more than any quorum makes good.
const BEYOND: &[Kind] = &[Kind::Phantom, Kind::Misdirection];

/// The scenario of a seed in some weather.
#[must_use]
pub fn draw(seed: u64, weather: &Weather) -> Scenario {
    let rng = &mut Rng::stream(seed, "scenario");
    let nodes = size(rng, *weather.nodes.start() as u64, (*weather.nodes.end()).min(NODES_MAX) as u64);
    let zones = zones(rng, nodes);
    let replicas = (*rng.pick(&[2, 3, 3, 3, 3, 3, 4, 5])).min(nodes);
    let (mut r, mut w) = quorums(rng, replicas);
    let leaves_repair_to_reads = rng.chance(150);
    let losses = losses(rng, weather, replicas, leaves_repair_to_reads);
    // So many copies that one is left.
    if losses > 0 && !weather.is_reckless {
        w = w.max(losses + 1).min(replicas);
        // No more overlap than is needed.
        r = if rng.chance(600) { (replicas + 1 - w).max(1) } else { r };
    }
    // What is dense is short: faults come while clients call.
    let density = *rng.pick(&[1, 1, 4, 20]);
    let length_ns = (rng.magnitude(600, 12_000) * MS / density).max(100 * MS);
    let network = network(rng);
    let disk = disk(rng);
    // Long enough for a write over this network and these disks, mostly.
    let usual_ns = 4 * network.latency_max_ns + 3 * disk.sync_max_ns + 2 * disk.read_max_ns;
    // Where rounds of anti-entropy are seldom, none should fail for a straggler.
    let timeout_min_ns = if leaves_repair_to_reads { 25 * network.latency_max_ns } else { 0 };
    let timeout_ns = (usual_ns * rng.between(1, 4)).clamp(timeout_min_ns.max(20 * MS), 2 * SECOND);
    let sync_every_ns = match rng.magnitude(50, 4_000) * MS {
        _ if leaves_repair_to_reads => SELDOM,
        // So often that nodes catch up while clients call, and that logs are dropped before a disk goes back.
        _ if rng.chance(if losses > 0 { 700 } else { 150 }) => (length_ns / rng.between(6, 40)).max(10 * MS),
        usual_ns => usual_ns,
    };
    let w_least = if losses > 0 && !weather.is_reckless { w } else { 1 };
    let sessions = sessions(rng, nodes, length_ns, &Wishes { replicas, w_least, timeout_ns });
    let mut scenario = Scenario {
        seed,
        // With one partition all keys share a clock. Many nodes share many, or most of them would hold nothing.
        partitions: if nodes <= 7 {
            *rng.pick(&[1, 4, 16, 16])
        } else {
            4 * nodes.next_power_of_two() as u32
        },
        replicas,
        r,
        w,
        timeout_ns,
        sync_every_ns,
        starts_ready: leaves_repair_to_reads || losses > 0 || rng.chance(700),
        siblings_max: *rng.pick(&[4, 12, 30]),
        sync_objects: *rng.pick(&[1, 2, 128]),
        calls_max: *rng.pick(&[2, 1_024, 1_024, 1_024]),
        accesses_max: *rng.pick(&[4, 8_192, 8_192, 8_192, 8_192, 8_192]),
        sessions,
        network,
        disk,
        clocks: clocks(rng, nodes),
        late_max_ns: rng.magnitude(1, 5_000) * US,
        length_ns,
        expire_every_ns: EXPIRE_EVERY,
        gossip_every_ns: rng.magnitude(20, 1_000) * MS,
        probe_every_ns: rng.magnitude(20, 1_000) * MS,
        spares: 0,
        outdated: 0,
        sloppy: false,
        faults: faults(rng, weather, &zones, losses, length_ns),
        zones,
    };
    change_members(rng, weather, &mut scenario);
    scenario.sloppy = rng.chance(250) && !scenario.leaves_repair_to_reads();
    upgrade(&mut Rng::stream(seed, "versions"), weather, &mut scenario);
    if weather.expires {
        expire(&mut Rng::stream(seed, "expiry"), weather, &mut scenario);
    }
    scenario
}

/// Has some founders begin with the oldest version of frames, in some runs, and upgrades them one after the other or all
/// at once.
fn upgrade(rng: &mut Rng, weather: &Weather, scenario: &mut Scenario) {
    let may = weather.faults.as_ref().is_none_or(|kinds| kinds.contains(&Kind::Upgrade));
    // Members are changed when all nodes know layouts. A founder that starts anew before its first row is on disk takes up
    // the fixed list as one that may have voted: where most did, nobody decides on a layout any more.
    let is_drawn = rng.chance(if weather.is_narrow() { 1_000 } else { 250 });
    if !may || !is_drawn || scenario.changes_members() {
        return;
    }
    let before = scenario.clone();
    let (founders, length_ns) = (scenario.founders(), scenario.length_ns);
    let are_all = rng.chance(400);
    scenario.outdated = if are_all { founders } else { size(rng, 1, founders as u64) };
    let step_ns = if rng.chance(200) { 0 } else { length_ns / 2 / scenario.outdated as u64 };
    let first_ns = rng.below(length_ns * 4 / 10);
    let down_max_ns = (length_ns / 4).clamp(2 * MS, 200 * MS);
    // Some stay as they are, where others can do without what they cannot say.
    let asks_others = !scenario.losers().is_empty() || scenario.has(Kind::ReadErrors) || scenario.sloppy;
    let may_stay = !asks_others;
    let stays = may_stay && rng.chance(300);
    let first_node = size(rng, 0, scenario.outdated as u64 - 1);
    for turn in 0..scenario.outdated {
        let nodes = vec![(first_node + turn) % scenario.outdated];
        let at_ns = first_ns + turn as u64 * step_ns + rng.below(5 * MS);
        let lasts_ns = rng.magnitude(MS, down_max_ns);
        if at_ns < length_ns && !(stays && rng.chance(500)) {
            let kind = Kind::Upgrade;
            scenario.faults.push(Fault { at_ns, lasts_ns, kind, nodes, to: Vec::new(), amount: 0 });
        }
    }
    scenario.faults.sort_by_key(|fault| fault.at_ns);
    let nodes = scenario.nodes();
    settle(&mut scenario.faults, nodes);
    let is_upgraded = |node: usize| {
        scenario.faults.iter().any(|fault| fault.kind == Kind::Upgrade && fault.nodes.contains(&node))
    };
    let are_upgraded = (0..scenario.outdated).all(is_upgraded);
    if !may_stay && !are_upgraded {
        *scenario = before;
    }
}

/// Has some of what is written expire, in some runs: most of it while clients call, and some just as something goes
/// wrong or has been mended.
fn expire(rng: &mut Rng, weather: &Weather, scenario: &mut Scenario) {
    if !rng.chance(if weather.is_narrow() { 1_000 } else { 250 }) {
        return;
    }
    let length_ns = scenario.length_ns;
    scenario.expire_every_ns = (length_ns / rng.between(4, 60)).max(5 * MS);
    let share = *rng.pick(&[100, 400, 900]);
    let aimed = *rng.pick(&[0, 300, 700]);
    let turns: Vec<u64> =
        scenario.faults.iter().flat_map(|fault| [fault.at_ns, fault.at_ns + fault.lasts_ns]).collect();
    for session in &mut scenario.sessions {
        // Earlier than it will be: calls take their time.
        let mut called_ns = 0;
        for plan in &mut session.calls {
            called_ns += plan.after_ns;
            if plan.deed != Deed::Write || !rng.chance(share) {
                continue;
            }
            let usual_ns = rng.magnitude(MS, length_ns.max(2 * MS));
            let coming: Vec<u64> = turns.iter().copied().filter(|&at_ns| at_ns > called_ns).collect();
            let is_aimed = rng.chance(aimed) && !coming.is_empty();
            let ttl_ns = if is_aimed {
                let off_ns = rng.below(scenario.expire_every_ns);
                (*rng.pick(&coming) - called_ns + rng.below(2) * off_ns).saturating_sub(off_ns / 2)
            } else {
                usual_ns
            };
            plan.ttl_ns = Some(ttl_ns.clamp(MS, TTL_MAX));
        }
    }
}

/// Has the cluster grow, shrink and have nodes replaced, where that leaves enough of it.
fn change_members(rng: &mut Rng, weather: &Weather, scenario: &mut Scenario) {
    let may = |kind: Kind| weather.faults.as_ref().is_none_or(|kinds| kinds.contains(&kind));
    let kinds: Vec<Kind> = CHANGES.iter().copied().filter(|kind| may(*kind)).collect();
    let nodes = scenario.nodes();
    if kinds.is_empty() || nodes < 3 || scenario.leaves_repair_to_reads() || !rng.chance(450) {
        return;
    }
    let before = scenario.clone();
    scenario.spares = size(rng, 0, (nodes as u64 - 2).min(2));
    let founders = scenario.founders();
    let losers: Vec<usize> = scenario.losers().into_iter().filter(|node| *node < founders).collect();
    // One change on the heels of the other, on a few shared clocks, while some have not heard of the one before.
    let is_dense = rng.chance(400);
    if is_dense {
        scenario.partitions = scenario.partitions.min(*rng.pick(&[1, 1, 4]));
        scenario.sync_every_ns = (scenario.length_ns / rng.between(10, 60)).max(10 * MS);
        scenario.gossip_every_ns = (scenario.length_ns / rng.between(2, 30)).max(20 * MS);
    }
    let may_cut = is_dense && may(Kind::Partition) && may(Kind::OneWay);
    for _ in 0..if is_dense { rng.between(2, 8) } else { rng.between(1, 4) } {
        let kind = *rng.pick(&kinds);
        let at_ns = rng.below(scenario.length_ns * 8 / 10);
        if may_cut && rng.chance(600) {
            // Somebody hears of it late.
            let late = vec![size(rng, 0, nodes as u64 - 1)];
            let lasts_ns = rng.between(scenario.length_ns / 20, scenario.length_ns / 3);
            let at_ns = at_ns.saturating_sub(rng.below(lasts_ns));
            let cut = *rng.pick(&[Kind::Partition, Kind::Partition, Kind::OneWay]);
            scenario.faults.push(Fault { at_ns, lasts_ns, kind: cut, nodes: late, to: vec![], amount: 0 });
        }
        let lasts_ns = rng.between(scenario.length_ns / 20, scenario.length_ns / 2);
        let any = size(rng, 0, nodes as u64 - 1);
        let spare = founders + size(rng, 0, scenario.spares.max(1) as u64 - 1);
        // Who is given up for lost is one of those that lose their disks, if there are any.
        let lost = if losers.is_empty() { any.min(founders - 1) } else { *rng.pick(&losers) };
        let (hit, to) = match kind {
            Kind::Join if scenario.spares > 0 && rng.chance(800) => (spare, vec![]),
            Kind::Replace if scenario.spares > 0 => (lost, vec![spare]),
            Kind::Replace => continue,
            Kind::Remove => (lost, vec![]),
            _ => (any, vec![]),
        };
        scenario.faults.push(Fault { at_ns, lasts_ns, kind, nodes: vec![hit], to, amount: 0 });
    }
    scenario.faults.sort_by_key(|fault| fault.at_ns);
    settle(&mut scenario.faults, nodes);
    // Layouts are decided by a majority, and whoever has lost its disk does not vote on the next one.
    let (members, losers) = (scenario.members_min(), scenario.losers().len());
    let can_decide = members >= 2 && 2 * losers < members;
    let leaves_enough = can_decide && (weather.is_reckless || scenario.excess().is_none());
    if !leaves_enough {
        *scenario = before;
    }
}

fn size(rng: &mut Rng, low: u64, high: u64) -> usize {
    usize::try_from(rng.between(low, high)).expect("sizes are small")
}

/// Nodes are dealt to one, two or three zones in turn.
fn zones(rng: &mut Rng, nodes: usize) -> Vec<usize> {
    let count = *rng.pick(&[1, 2, 3, 3]);
    (0..nodes).map(|node| node % count).collect()
}

/// Mostly quorums that overlap, and mostly by one replica: then one mistake shows. Sometimes weak ones, which only let
/// reads be stale.
fn quorums(rng: &mut Rng, replicas: usize) -> (usize, usize) {
    let overlaps = rng.chance(850);
    let is_tight = rng.chance(750);
    let fits = |sum: usize| match (overlaps, is_tight) {
        (false, _) => sum <= replicas,
        (true, true) => sum == replicas + 1,
        (true, false) => sum > replicas,
    };
    let pairs: Vec<(usize, usize)> = (1..=replicas)
        .flat_map(|r| (1..=replicas).map(move |w| (r, w)))
        .filter(|(r, w)| fits(r + w))
        .collect();
    if pairs.is_empty() { (1, 1) } else { *rng.pick(&pairs) }
}

/// How many nodes lose their disks in this run.
fn losses(rng: &mut Rng, weather: &Weather, replicas: usize, leaves_repair_to_reads: bool) -> usize {
    let may = |kind: &Kind| weather.faults.as_ref().is_none_or(|kinds| kinds.contains(kind));
    let (drawn, two) = (rng.chance(350), rng.chance(350));
    if weather.is_reckless && LOSSES.iter().chain(BEYOND).any(may) {
        return 1 + usize::from(two);
    }
    if !drawn || leaves_repair_to_reads || !LOSSES.iter().any(may) {
        return 0;
    }
    (1 + usize::from(two)).min(replicas - 1)
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

fn clocks(rng: &mut Rng, nodes: usize) -> Vec<Clocks> {
    let drifts = rng.chance(300);
    let one = |rng: &mut Rng| {
        let ppm = if drifts { i32::try_from(rng.magnitude(1, 1_000)).expect("it is small") } else { 0 };
        let drift_ppm = if rng.chance(500) { ppm } else { -ppm };
        Clocks { ahead_ns: rng.below(400) * MS, drift_ppm }
    };
    (0..nodes).map(|_| one(rng)).collect()
}

/// What clients may wish for.
struct Wishes {
    replicas: usize,
    w_least: usize,
    timeout_ns: u64,
}

/// What clients do, in times per thousand.
struct Mix {
    reads: u32,
    deletes: u32,
    blind: u32,
    wishes: u32,
    hot: u32,
    lists: u32,
    turns: u32,
    large: u32,
    retries: u32,
}

fn sessions(rng: &mut Rng, nodes: usize, length_ns: u64, wishes: &Wishes) -> Vec<Session> {
    let keys = keys(rng);
    let mix = Mix {
        reads: *rng.pick(&[200, 400, 600]),
        deletes: *rng.pick(&[0, 100, 300]),
        blind: *rng.pick(&[0, 50, 300]),
        wishes: *rng.pick(&[0, 0, 100]),
        hot: *rng.pick(&[0, 500]),
        lists: *rng.pick(&[0, 20]),
        turns: *rng.pick(&[100, 500, 1_000]),
        large: *rng.pick(&[0, 0, 50]),
        retries: *rng.pick(&[0, 500]),
    };
    let calls = rng.magnitude(10, 60);
    let think_max_ns = (2 * length_ns / calls).max(US);
    let session = |rng: &mut Rng| {
        let node = size(rng, 0, nodes as u64 - 1);
        let call = |rng: &mut Rng| plan(rng, &mix, wishes, &keys, nodes, think_max_ns);
        Session { node, calls: (0..calls).map(|_| call(rng)).collect() }
    };
    (0..rng.between(2, 8)).map(|_| session(rng)).collect()
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

fn plan(rng: &mut Rng, mix: &Mix, wishes: &Wishes, keys: &[u32], nodes: usize, think_max_ns: u64) -> Plan {
    let after_ns = rng.between(US, think_max_ns);
    let key = if rng.chance(mix.hot) { keys[0] } else { *rng.pick(keys) };
    let turn = if rng.chance(mix.turns) { size(rng, 1, nodes as u64 - 1) } else { 0 };
    let timeout_ns = rng.chance(mix.wishes / 4).then_some(wishes.timeout_ns / 2);
    let wishes_quorum = rng.chance(mix.wishes);
    let list = |rng: &mut Rng| {
        let limit = u32::try_from(rng.between(1, 5)).expect("it is small");
        Deed::List { limit, after: rng.chance(500) }
    };
    let deed = if rng.chance(mix.lists) {
        list(rng)
    } else if rng.chance(mix.reads) {
        Deed::Read
    } else if rng.chance(mix.deletes) {
        Deed::Delete
    } else {
        Deed::Write
    };
    let is_change = matches!(deed, Deed::Write | Deed::Delete);
    let least = if is_change { wishes.w_least } else { 1 };
    Plan {
        after_ns,
        deed,
        key: if matches!(deed, Deed::List { after: false, .. }) { 0 } else { key },
        blind: is_change && rng.chance(mix.blind),
        large: deed == Deed::Write && rng.chance(mix.large),
        retry: is_change && rng.chance(mix.retries),
        ttl_ns: None,
        quorum: wishes_quorum.then(|| size(rng, least as u64, wishes.replicas as u64)),
        timeout_ns,
        turn,
    }
}

/// The faults of a run: each kind is in it or not, and how often and for how long is drawn for each.
fn faults(rng: &mut Rng, weather: &Weather, zones: &[usize], losses: usize, length_ns: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    let may = |kind: Kind| weather.faults.as_ref().is_none_or(|kinds| kinds.contains(&kind));
    let badness = if weather.is_narrow() { 2_500 } else { *rng.pick(&[300, 600, 1_000]) };
    for &(kind, permille, most) in CHANCES {
        let permille = (permille * badness / 1_000).min(1_000);
        if rng.chance(permille) && may(kind) {
            for _ in 0..rng.between(1, most) {
                several(rng, kind, zones, length_ns, &mut faults);
            }
        }
    }
    // Who loses a disk may lose it again, and in another way.
    let mut losers: Vec<usize> = Vec::new();
    let are_twins = losses > 1 && may(Kind::Wipe) && rng.chance(400);
    while losers.len() < losses {
        let node = size(rng, 0, zones.len() as u64 - 1);
        if !losers.contains(&node) {
            losers.push(node);
        }
    }
    let beyond = if weather.is_reckless { BEYOND } else { &[] };
    let of_losses: Vec<Kind> = LOSSES.iter().chain(beyond).copied().filter(|kind| may(*kind)).collect();
    if are_twins {
        // Several disks at once, as when a rack burns.
        let at_ns = rng.below(length_ns * 8 / 10);
        for node in &losers {
            let at_ns = at_ns + rng.below(5 * MS);
            faults.push(Fault { at_ns, ..one(rng, Kind::Wipe, vec![*node], zones.len(), length_ns) });
        }
    }
    for node in losers {
        for _ in 0..rng.between(u64::from(!are_twins), 3) {
            let kind = *rng.pick(&of_losses);
            let mut loss = one(rng, kind, vec![node], zones.len(), length_ns);
            // Losses that follow each other closely are the ones that a copy must survive.
            if let Some(before) = faults.iter().rev().find(|fault| fault.kind.harm() != Harm::None)
                && before.nodes != loss.nodes
                && rng.chance(500)
            {
                loss.at_ns = before.at_ns + rng.below(2 * before.lasts_ns + MS);
            }
            faults.push(loss);
        }
    }
    faults.retain(|fault| fault.at_ns < length_ns);
    faults.sort_by_key(|fault| fault.at_ns);
    settle(&mut faults, zones.len());
    faults
}

/// A node that is down, or whose disk is about to be lost, cannot be lost a second time: what would reach into the
/// one before it is left out.
fn settle(faults: &mut Vec<Fault>, nodes: usize) {
    let mut free_from = vec![0; nodes];
    faults.retain(|fault| {
        let counts =
            fault.kind.harm() != Harm::None || matches!(fault.kind, Kind::Crash | Kind::Stop | Kind::Upgrade);
        let is_free = fault.nodes.iter().all(|node| fault.at_ns >= free_from[*node]);
        if counts && is_free {
            fault.nodes.iter().for_each(|node| free_from[*node] = fault.at_ns + fault.lasts_ns + 1);
        }
        !counts || is_free
    });
}

/// One fault of a kind, or the few that it comes in.
fn several(rng: &mut Rng, kind: Kind, zones: &[usize], length_ns: u64, faults: &mut Vec<Fault>) {
    let nodes = zones.len();
    match kind {
        Kind::Stop => {
            // A rolling restart: one node after the other, each back before the next one stops.
            let down_ns = rng.magnitude(2, 200) * MS;
            let pause_ns = rng.magnitude(1, 200) * MS;
            let mut at_ns = rng.below(length_ns * 6 / 10);
            let first = size(rng, 0, nodes as u64 - 1);
            for step in 0..nodes {
                if at_ns < length_ns {
                    let node = (first + step) % nodes;
                    faults.push(Fault {
                        at_ns,
                        lasts_ns: down_ns,
                        kind,
                        nodes: vec![node],
                        to: Vec::new(),
                        amount: 0,
                    });
                }
                at_ns += down_ns + pause_ns;
            }
        }
        Kind::Crash => {
            let down_max_ns = (length_ns / *rng.pick(&[3, 10, 100])).max(2 * MS);
            let hit = group(rng, zones);
            let mut at_ns = rng.below(length_ns * 9 / 10);
            let repeats = if rng.chance(300) { rng.between(1, 3) } else { 0 };
            for _ in 0..=repeats {
                let lasts_ns = rng.between(MS, down_max_ns);
                if at_ns < length_ns {
                    let nodes = hit.clone();
                    faults.push(Fault { at_ns, lasts_ns, kind, nodes, to: Vec::new(), amount: 0 });
                }
                at_ns += lasts_ns + rng.magnitude(1, 500) * MS;
            }
        }
        _ => {
            let mut hit = group(rng, zones);
            if matches!(kind, Kind::Partition | Kind::OneWay) && hit.len() == nodes {
                // Nobody is left to be cut off from.
                hit.truncate((nodes / 2).max(1));
            }
            faults.push(one(rng, kind, hit, nodes, length_ns));
        }
    }
}

/// One node, or a zone, or some, or all.
fn group(rng: &mut Rng, zones: &[usize]) -> Vec<usize> {
    let nodes = zones.len();
    let one = size(rng, 0, nodes as u64 - 1);
    match rng.below(10) {
        0..5 => vec![one],
        5..7 => (0..nodes).filter(|node| zones[*node] == zones[one]).collect(),
        7 => (0..nodes).filter(|node| *node == one || rng.chance(400)).collect(),
        _ => (0..nodes).collect(),
    }
}

/// A fault of a kind. What is aimed at nodes hits `hit`.
fn one(rng: &mut Rng, kind: Kind, hit: Vec<usize>, nodes: usize, length_ns: u64) -> Fault {
    let is_brief = match kind {
        // They are back soon, so that somebody asks them before they have caught up.
        Kind::AmbushRead | Kind::AmbushWrite | Kind::AmbushSync | Kind::SyncFailure => true,
        Kind::Wipe => rng.chance(500),
        _ => false,
    };
    // A disk that goes back far has missed deletes, too.
    let goes_far = kind == Kind::Rollback && rng.chance(600);
    let brief_max_ns = rng.magnitude(2, 100) * MS;
    let lasts_ns =
        if is_brief { rng.between(MS, brief_max_ns) } else { rng.between(length_ns / 50, length_ns / 3) };
    let lasts_ns = if goes_far { rng.between(length_ns / 3, length_ns * 9 / 10) } else { lasts_ns };
    let (from, to) = match kind.aim() {
        Aim::All => (Vec::new(), Vec::new()),
        Aim::Nodes => (hit, Vec::new()),
        Aim::Bridge => bridge(rng, nodes),
        // Those who change the cluster are drawn apart.
        Aim::Successor => (hit, Vec::new()),
        Aim::Links => links(rng, nodes),
    };
    Fault { at_ns: rng.below(length_ns * 9 / 10), lasts_ns, kind, nodes: from, to, amount: amount(rng, kind) }
}

/// One side, and the node that reaches both.
fn bridge(rng: &mut Rng, nodes: usize) -> (Vec<usize>, Vec<usize>) {
    let bridge = size(rng, 0, nodes as u64 - 1);
    let first = (bridge + 1) % nodes;
    let side = (0..nodes).filter(|node| *node == first || (*node != bridge && rng.chance(400)));
    (side.collect(), vec![bridge])
}

/// All links, those from a node, those to it, or one.
fn links(rng: &mut Rng, nodes: usize) -> (Vec<usize>, Vec<usize>) {
    let one = size(rng, 0, nodes as u64 - 1);
    let other = (one + size(rng, 1, nodes as u64 - 1)) % nodes;
    match rng.below(5) {
        0 => (vec![one], Vec::new()),
        1 => (Vec::new(), vec![one]),
        2 => (vec![one], vec![other]),
        _ => (Vec::new(), Vec::new()),
    }
}

fn amount(rng: &mut Rng, kind: Kind) -> u64 {
    match kind.unit() {
        Unit::Nothing => 0,
        Unit::Permille => match kind {
            Kind::Doubling => *rng.pick(&[50, 300, 1_000]),
            Kind::Corruption => *rng.pick(&[5, 50, 300]),
            Kind::ReadErrors => *rng.pick(&[50, 300, 1_000]),
            _ => *rng.pick(&[20, 100, 400]),
        },
        Unit::Span => match kind {
            Kind::Sluggish => rng.magnitude(20, 5_000) * US,
            Kind::SlowDisk => rng.magnitude(1, 500) * MS,
            Kind::WallAhead | Kind::WallBehind => rng.magnitude(10, 100_000) * MS,
            _ => rng.magnitude(1, 3_000) * MS,
        },
        Unit::Rate => rng.magnitude(500, 200_000),
        Unit::Rows => rng.between(1, 6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::NODES_MAX;

    #[test]
    fn every_seed_draws_a_valid_scenario_and_always_the_same() {
        for seed in 0..2_000 {
            let scenario = Scenario::draw(seed);
            assert_eq!(scenario, Scenario::draw(seed), "seed {seed}");
            assert_eq!(scenario.check(), Ok(()), "seed {seed}");
            assert_eq!(scenario.excess(), None, "seed {seed}: {scenario}");
            assert!(scenario.faults.is_sorted_by_key(|fault| fault.at_ns), "seed {seed}");
            assert!(scenario.faults.iter().all(|fault| fault.at_ns < scenario.length_ns), "seed {seed}");
        }
    }

    #[test]
    fn a_scenario_has_as_many_nodes_as_were_asked_for() {
        for seed in 0..50 {
            let weather = Weather { nodes: 90..=NODES_MAX, ..Weather::default() };
            let scenario = draw(seed, &weather);
            assert!((90..=NODES_MAX).contains(&scenario.nodes()));
            assert_eq!(scenario.check(), Ok(()), "seed {seed}");
        }
    }

    #[test]
    fn only_the_kinds_that_were_asked_for_are_drawn() {
        let kinds = vec![Kind::Partition, Kind::Wipe];
        let weather = Weather { faults: Some(kinds.clone()), ..Weather::default() };
        let mut seen = 0;
        for seed in 0..200 {
            let faults = draw(seed, &weather).faults;
            assert!(faults.iter().all(|fault| kinds.contains(&fault.kind)), "seed {seed}: {faults:?}");
            seen += usize::from(!faults.is_empty());
        }
        assert!(seen > 100, "{seen} of 200 runs have a fault");
    }

    #[test]
    fn a_run_without_old_nodes_is_the_same_run() {
        let without: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Upgrade).collect();
        let without = Weather { faults: Some(without), ..Weather::default() };
        let mut mixed = 0;
        for seed in 0..400 {
            let (scenario, plain) = (Scenario::draw(seed), draw(seed, &without));
            assert!(plain.outdated == 0 && !plain.has(Kind::Upgrade), "seed {seed}");
            if scenario.outdated == 0 {
                assert_eq!(scenario, plain, "seed {seed}");
            }
            mixed += usize::from(scenario.outdated > 0);
        }
        assert!((40..100).contains(&mixed), "in {mixed} of 400 runs versions are mixed");
    }

    #[test]
    fn a_run_in_which_nothing_expires_is_the_same_run() {
        let without = Weather { expires: false, ..Weather::default() };
        let mut expiring = 0;
        for seed in 0..400 {
            let (mut scenario, plain) = (Scenario::draw(seed), draw(seed, &without));
            expiring += usize::from(scenario.expires());
            scenario.expire_every_ns = plain.expire_every_ns;
            let calls = scenario.sessions.iter_mut().flat_map(|session| &mut session.calls);
            calls.for_each(|plan| plan.ttl_ns = None);
            assert_eq!(scenario, plain, "seed {seed}");
        }
        assert!((60..140).contains(&expiring), "in {expiring} of 400 runs something expires");
    }

    #[test]
    fn a_reckless_run_is_often_beyond_what_it_survives() {
        let weather = Weather { is_reckless: true, ..Weather::default() };
        let beyond = (0..200).filter(|seed| draw(*seed, &weather).excess().is_some()).count();
        assert!(beyond > 100, "{beyond} of 200");
    }

    #[test]
    fn seeds_differ_in_which_faults_they_have() {
        let survivable = Kind::ALL.iter().filter(|kind| kind.harm() != Harm::Beyond);
        for kind in survivable {
            let count = (0..400).filter(|seed| Scenario::draw(*seed).has(*kind)).count();
            assert!((8..300).contains(&count), "{kind} in {count} of 400 seeds");
        }
        let calm = (0..400).filter(|seed| Scenario::draw(*seed).faults.is_empty()).count();
        assert!((2..100).contains(&calm), "{calm} of 400 seeds have no fault");
    }
}
