//! How long things take: until a dead node is known to be down, and until replicas are equal that were apart.
//!
//! Each seed draws another network, other jitter and another moment in the nodes' periods. What is looked at is looked at
//! every hundredth of a second.

use std::time::Duration;

use godown_core::id::NodeId;
use godown_core::input::Wish;
use godown_core::key::{Key, Partition};

use super::cluster::Cluster;
use super::store;
use super::{Figure, Part, Size, spread};

/// How closely it is looked.
const GRAIN: Duration = Duration::from_millis(10);
/// By when everything is over, or something is wrong.
const MOST: Duration = Duration::from_secs(600);
/// The default probe period, and the default time between two rounds of anti-entropy.
const PERIOD: Duration = Duration::from_secs(1);

/// From the death of a node until it is down for all others.
pub(super) fn detect(size: Size) -> Figure {
    let seeds = size.pick(200, 5);
    let says = format!(
        "From the moment at which a node is killed until all others hold it for down, over {seeds} seeds, with a probe \
         period of one second: so seconds are periods, too."
    );
    let mut figure = Figure::new(Part::Detect, says);
    for &nodes in size.pick(&[5_u64, 30][..], &[5][..]) {
        let times: Vec<f64> = (0..seeds).map(|seed| detected(nodes, seed).as_secs_f64()).collect();
        figure.told(format!("{nodes} nodes"), spread(times, "s"));
    }
    figure
}

fn detected(nodes: u64, seed: u64) -> Duration {
    let mut cluster = Cluster::founded(nodes, seed, |settings| {
        assert_eq!(settings.probe_every, PERIOD, "what is told is told in periods");
        // Nothing is stored here: rounds only find that, and would make this long.
        settings.sync_every = Duration::from_secs(15);
    });
    let wait = Duration::from_millis(10_000 + cluster.rng().below(10_000));
    cluster.pass(wait);
    let dead = NodeId(1 + cluster.rng().below(nodes));
    assert!(cluster.nodes().all(|(_, node)| !node.suspects(dead)), "it is up");
    cluster.stop(dead);
    let is_known = |cluster: &mut Cluster| cluster.nodes().all(|(_, node)| node.suspects(dead));
    cluster.pass_until(GRAIN, MOST, is_known).expect("it is found out")
}

/// From the end of a partition, or of a node's absence, until replicas are equal.
pub(super) fn heal(size: Size) -> Figure {
    let (seeds, keys) = size.pick((50, 300), (3, 100));
    let says = format!(
        "5 nodes, 3 copies; {keys} keys are replaced while they are apart, and then it is counted until the clocks and \
         the data of all replicas are equal, over {seeds} seeds, with a second between two rounds of anti-entropy with a \
         peer: so seconds are intervals, too."
    );
    let mut figure = Figure::new(Part::Heal, says);
    let split: Vec<f64> = (0..seeds).map(|seed| apart(seed, keys).as_secs_f64()).collect();
    figure.told(
        "two nodes and three were apart, and both sides wrote to all keys that they could",
        spread(split, "s"),
    );
    let away: Vec<f64> = (0..seeds).map(|seed| returned(seed, keys).as_secs_f64()).collect();
    figure.told("a node was down and is started again", spread(away, "s"));
    figure
}

const NODES: u64 = 5;

/// Five nodes with some data.
fn five(seed: u64, keys: u64) -> (Cluster, Vec<Key>) {
    let mut cluster = Cluster::founded(NODES, seed, |settings| {
        assert_eq!(settings.sync_every, PERIOD, "what is told is told in intervals");
    });
    let keys: Vec<Key> = (0..keys).map(store::key).collect();
    for (place, key) in keys.iter().enumerate() {
        let at = NodeId(place as u64 % NODES + 1);
        cluster.replace(at, key, Some(store::value(place as u64, 100)), Wish::default());
    }
    cluster.settle();
    (cluster, keys)
}

fn apart(seed: u64, keys: u64) -> Duration {
    let (mut cluster, keys) = five(seed, keys);
    let sides = [[1, 2].map(NodeId).to_vec(), [3, 4, 5].map(NodeId).to_vec()];
    cluster.part(&sides[0], &sides[1]);
    // By now each side holds the other for down.
    cluster.pass(Duration::from_secs(20));
    for (place, key) in keys.iter().enumerate() {
        let at = cluster.partition(key);
        let holders = cluster.node(NodeId(1)).layouts().holders(at).to_vec();
        // Whoever is alone with a key takes the write all the same.
        let wish = Wish { quorum: Some(1), ..Wish::default() };
        for side in &sides {
            let mut taking = holders.iter().copied().filter(|node| side.contains(node));
            if let Some(at) = taking.next() {
                let value = store::value(place as u64 + at.0, 100);
                cluster.replace(at, key, Some(value), wish);
            }
        }
    }
    let wait = Duration::from_millis(20_000 + cluster.rng().below(5_000));
    cluster.pass(wait);
    assert!(!is_equal(&mut cluster), "they are apart");
    cluster.heal();
    healed(&mut cluster, &keys)
}

fn returned(seed: u64, keys: u64) -> Duration {
    let (mut cluster, keys) = five(seed, keys);
    let away = NodeId(1 + cluster.rng().below(NODES));
    cluster.stop(away);
    cluster.pass(Duration::from_secs(20));
    let others: Vec<NodeId> = (1..=NODES).map(NodeId).filter(|&node| node != away).collect();
    for (place, key) in keys.iter().enumerate() {
        let at = others[place % others.len()];
        cluster.replace(at, key, Some(store::value(place as u64 + 1, 100)), Wish::default());
    }
    let wait = Duration::from_millis(20_000 + cluster.rng().below(5_000));
    cluster.pass(wait);
    cluster.start(away);
    healed(&mut cluster, &keys)
}

fn healed(cluster: &mut Cluster, keys: &[Key]) -> Duration {
    let took = cluster.pass_until(GRAIN, MOST, is_equal).expect("replicas become equal");
    for key in keys {
        let at = cluster.partition(key);
        let holders = cluster.node(NodeId(1)).layouts().holders(at).to_vec();
        let held: Vec<_> = holders.iter().map(|&id| store::visible(cluster, id, [key])).collect();
        assert!(held.windows(2).all(|pair| pair[0] == pair[1]), "{key} is the same everywhere: {held:?}");
        assert!(!held[0][0].is_empty(), "{key} is there");
    }
    took
}

/// Whether all holders of each partition have seen the same.
fn is_equal(cluster: &mut Cluster) -> bool {
    let layouts = cluster.node(NodeId(1)).layouts();
    let same = |at: Partition| {
        let mut clocks = layouts.holders(at).iter().map(|&id| cluster.node(id).clock(at));
        let first = clocks.next().flatten();
        first.is_some() && clocks.all(|clock| clock == first)
    };
    layouts.partitions().all(same)
}
