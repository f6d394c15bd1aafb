//! What moves when nodes are added: replicas, by the layouts alone, and bytes, by a cluster that takes the nodes in.
//!
//! As few as possible must move for the newcomers to get their share: what the others hold beyond a full share, the
//! average rounded up. That the data is where it belongs in the end is looked up on the disks.

use std::collections::BTreeSet;
use std::time::Duration;

use godown_core::id::NodeId;
use godown_core::key::Partition;
use godown_core::layout::Layout;

use super::cluster::{About, Cluster};
use super::store;
use super::{Figure, Part, Size, Value};

const VALUE_BYTES: usize = 1_000;

/// A cluster before and after.
#[derive(Clone, Copy)]
struct Growth {
    before: u64,
    after: u64,
    zones: u64,
}

struct Moved {
    /// Replicas that the nodes did not hold before.
    replicas: u64,
    /// The fewest that had to move.
    replicas_least: u64,
    /// The most replicas of a node beside the average.
    load: f64,
    /// What clients sent of the keys whose replicas moved.
    bytes_least: u64,
    /// Bytes of anti-entropy's frames until the layout was in force alone and all was quiet.
    bytes: u64,
    took: Duration,
}

impl Growth {
    fn zone(self, node: NodeId) -> String {
        if self.zones == 1 { String::new() } else { format!("zone {}", (node.0 - 1) % self.zones) }
    }

    fn measure(self, keys: u64) -> Moved {
        let zone = |node| self.zone(node);
        let mut cluster = Cluster::founded_in(self.before, 1, zone, |_| {});
        let old: Vec<NodeId> = (1..=self.before).map(NodeId).collect();
        let new: Vec<NodeId> = (self.before + 1..=self.after).map(NodeId).collect();
        let first = newest(&cluster);
        for &id in &old {
            let data = store::filled(keys, VALUE_BYTES, cluster.partitions(), |partition| {
                first.holds(id, partition)
            });
            cluster.stop(id);
            cluster.refill(id, &data);
        }
        old.iter().for_each(|&id| cluster.start(id));
        cluster.settle();
        cluster.scales.clear();
        let start = cluster.now;
        cluster.take_in(old[0], &new, zone);
        cluster.pass(Duration::from_secs(1));
        cluster.settle();
        let took = cluster.now.since(start);
        let next = newest(&cluster);
        assert_eq!(next.members().len() as u64, self.after, "the layout has all of them");
        let bytes = cluster.scales.sum(|_, _, about| about == About::Differences).bytes;
        let held = |layout: &Layout| {
            let seats = layout
                .partitions()
                .flat_map(|at| layout.primaries(at).iter().map(move |&node| (node, at)).collect::<Vec<_>>());
            seats.collect::<BTreeSet<(NodeId, Partition)>>()
        };
        let came: BTreeSet<(NodeId, Partition)> = held(&next).difference(&held(&first)).copied().collect();
        let mut bytes_least = 0;
        for n in 0..keys {
            let key = store::key(n);
            let at = cluster.partition(&key);
            let copies = next.primaries(at).iter().filter(|&&node| came.contains(&(node, at))).count() as u64;
            bytes_least += copies * store::sent_bytes(&key, VALUE_BYTES);
        }
        check(&cluster, &next, keys);
        let seats = u64::from(next.partition_count()) * next.copies() as u64;
        let share = seats.div_ceil(self.after);
        let most = next.members().iter().map(|member| next.held_by(member.id).count()).max().unwrap_or(0);
        Moved {
            replicas: came.len() as u64,
            replicas_least: seats - self.before * share,
            load: most as f64 * self.after as f64 / seats as f64,
            bytes_least,
            bytes,
            took,
        }
    }
}

/// Each node has the objects of just those partitions that it holds.
fn check(cluster: &Cluster, layout: &Layout, keys: u64) {
    let mut expected = vec![0; layout.members().len()];
    for n in 0..keys {
        let at = cluster.partition(&store::key(n));
        for (place, member) in layout.members().iter().enumerate() {
            expected[place] += u64::from(layout.holds(member.id, at));
        }
    }
    for (member, expected) in layout.members().iter().zip(expected) {
        let held = store::AtRest::of(cluster.table(member.id)).objects;
        assert_eq!(held, expected, "{} has what it holds, and nothing else", member.id);
    }
}

fn newest(cluster: &Cluster) -> Layout {
    let layouts = cluster.nodes().filter_map(|(_, node)| node.layouts().newest());
    layouts.max_by_key(|layout| layout.epoch()).expect("a cluster has one").clone()
}

/// One node more, and three more in zones.
pub(super) fn fourth_node(size: Size) -> Figure {
    let keys = size.pick(20_000, 2_000);
    let says = format!(
        "256 partitions, 3 copies, {keys} keys with values of {VALUE_BYTES} bytes. Replicas that a node gets which it \
         did not hold before; bytes of anti-entropy's frames until the new layout is in force alone, beside the bytes \
         that clients sent of what had to move."
    );
    let mut figure = Figure::new(Part::FourthNode, says);
    for (growth, what) in [
        (Growth { before: 3, after: 4, zones: 1 }, "3 to 4 nodes"),
        (Growth { before: 6, after: 9, zones: 3 }, "6 to 9 nodes in 3 zones"),
    ] {
        let moved = growth.measure(keys);
        let least = moved.replicas_least as f64;
        figure.at_most(
            format!("{what}: replicas moved"),
            Value::of(moved.replicas as f64, "replicas"),
            (least * 1.01).floor(),
        );
        figure.told(
            format!("{what}: beside it"),
            [
                Value::new("fewest possible", least, "replicas"),
                Value::new("the fullest node", moved.load, "of the average"),
            ],
        );
        let times = moved.bytes as f64 / moved.bytes_least as f64;
        figure.told(
            format!("{what}: bytes moved"),
            [
                Value::new("", times, "times what had to"),
                Value::new("moved", moved.bytes as f64, "bytes"),
                Value::new("had to", moved.bytes_least as f64, "bytes"),
                Value::new("took", moved.took.as_secs_f64(), "s"),
            ],
        );
    }
    figure
}
