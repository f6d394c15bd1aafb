//! What it costs a node that was away to come up to date: when little has changed, and when one write in a hundred has.
//!
//! The data lies on all three nodes and has come to rest. One node is stopped, the other two take writes, and it starts
//! again. Every message takes ten milliseconds then and nothing else takes any time, so that time counts round trips one
//! after the other. What is moved is weighed until the node has everything, and until all is quiet.

use std::time::Duration;

use godown_core::id::NodeId;
use godown_core::input::Wish;
use godown_core::key::{Key, Partition};

use super::cluster::{Cluster, Pace, Weight};
use super::store;
use super::{Figure, Part, Size, Value};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
const ALL: [NodeId; 3] = [N1, N2, N3];
/// What a message takes on its way.
const ONE_WAY: Duration = Duration::from_millis(10);

/// Whether logs still name what was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logs {
    Reach,
    Cut,
}

/// What is on the disks, and what changes.
#[derive(Clone, Copy, Debug)]
struct Setting {
    keys: u64,
    value_bytes: usize,
    partitions: u32,
    changed: u64,
    logs: Logs,
}

/// What it cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// What clients sent of the keys that were missed.
    missed_bytes: u64,
    /// Anti-entropy's frames until the node had everything.
    repair: Weight,
    /// Those of them that came to the node.
    received: Weight,
    /// All frames until then.
    total: Weight,
    /// Round trips one after the other, from the node's first probe until then.
    trips: f64,
    /// Anti-entropy's frames until all was quiet.
    quiet: Weight,
    /// Those of them that came to the node.
    quiet_received: Weight,
}

impl Setting {
    fn measure(self) -> Cost {
        let mut cluster = self.cluster();
        let keys = self.changed_keys();
        cluster.stop(N3);
        for (place, key) in keys.iter().enumerate() {
            let value = store::value(place as u64 + 7, self.value_bytes);
            cluster.replace([N1, N2][place % 2], key, Some(value), Wish::default());
        }
        // Whoever is away is known to be, and what can be dropped is.
        cluster.pass(Duration::from_secs(30));
        if self.logs == Logs::Cut {
            for id in [N1, N2] {
                cluster.stop(id);
                cluster.rewrite(id, store::without_logs(cluster.table(id)));
                cluster.start(id);
            }
            cluster.pass(Duration::from_secs(30));
        }
        let mut cost = self.come_back(&mut cluster, &keys);
        cost.missed_bytes = keys.iter().map(|key| store::sent_bytes(key, self.value_bytes)).sum();
        cost
    }

    /// Three nodes with the same data, at rest.
    fn cluster(self) -> Cluster {
        let mut cluster = Cluster::founded(3, 1, |settings| settings.partitions = self.partitions);
        let data = store::filled(self.keys, self.value_bytes, self.partitions, |_| true);
        for id in ALL {
            cluster.stop(id);
            cluster.refill(id, &data);
        }
        for id in ALL {
            cluster.start(id);
        }
        cluster.settle();
        cluster
    }

    /// Keys that lie far apart.
    fn changed_keys(self) -> Vec<Key> {
        (0..self.changed).map(|n| store::key(n * (self.keys / self.changed) + n % 7)).collect()
    }

    fn come_back(self, cluster: &mut Cluster, keys: &[Key]) -> Cost {
        cluster.pace = Pace::trips(ONE_WAY);
        cluster.pass(Duration::from_secs(1));
        cluster.scales.clear();
        cluster.start(N3);
        let end = cluster.now.after(Duration::from_secs(3_600));
        while !has_all(cluster) {
            assert!(cluster.step(end), "the node comes up to date");
        }
        let opened = cluster.scales.opened(N3).expect("it has asked");
        let took = cluster.now.since(opened);
        let repair = cluster.scales.sum(|_, _, about| about.is_anti_entropy());
        let received = cluster.scales.sum(|_, to, about| about.is_anti_entropy() && to == N3);
        let total = cluster.scales.sum(|_, _, _| true);
        cluster.settle();
        let quiet = cluster.scales.sum(|_, _, about| about.is_anti_entropy());
        let quiet_received = cluster.scales.sum(|_, to, about| about.is_anti_entropy() && to == N3);
        let held = ALL.map(|id| store::visible(cluster, id, keys));
        assert!(held[0] == held[1] && held[1] == held[2], "the replicas are equal");
        assert!(held[0].iter().all(|dots| dots.len() == 1), "each key has one value");
        let trips = took.as_secs_f64() / (2 * ONE_WAY).as_secs_f64();
        Cost { missed_bytes: 0, repair, received, total, trips, quiet, quiet_received }
    }
}

/// Whether the third node has seen everything that the others have.
fn has_all(cluster: &Cluster) -> bool {
    let [one, two, three] = ALL.map(|id| cluster.node(id));
    let has = |at: Partition| {
        let third = three.clock(at);
        [one, two].iter().all(|other| match (other.clock(at), third) {
            (Some(other), Some(third)) => other.missing_from(third).is_empty(),
            _ => false,
        })
    };
    one.layouts().partitions().all(has)
}

/// Ten keys of a million have changed.
pub(super) fn few_of_many(size: Size) -> Figure {
    let keys = size.pick(1_000_000, 20_000);
    let says = format!(
        "3 nodes, {keys} keys with values of 100 bytes; 10 are replaced while a node is away, and it starts again. \
         Bytes of frames in both directions until it has all of them."
    );
    let mut figure = Figure::new(Part::FewOfMany, says);
    for logs in [Logs::Reach, Logs::Cut] {
        for partitions in [256, 1] {
            let cost = Setting { keys, value_bytes: 100, partitions, changed: 10, logs }.measure();
            let plural = if partitions == 1 { "" } else { "s" };
            let how = if logs == Logs::Reach { "by the log" } else { "by ranges" };
            let what = format!("{partitions} partition{plural}, {how}");
            let repair = Value::of(cost.repair.bytes as f64, "bytes");
            let trips = Value::of(cost.trips, "round trips");
            if logs == Logs::Reach {
                figure.at_most(format!("{what}: anti-entropy"), repair, f64::from(64 << 10));
                figure.at_most(format!("{what}: one after the other"), trips, 2.0);
            } else {
                figure.told(format!("{what}: anti-entropy"), [repair]);
                figure.told(format!("{what}: one after the other"), [trips]);
            }
            let all = Value::new("all frames", cost.total.bytes as f64, "bytes");
            let quiet = Value::new("anti-entropy until all is quiet", cost.quiet.bytes as f64, "bytes");
            figure.told(format!("{what}: beside it"), [all, quiet]);
        }
    }
    figure
}

/// One key in a hundred has changed.
pub(super) fn missed_one_percent(size: Size) -> Figure {
    let keys: u64 = size.pick(100_000, 10_000);
    let says = format!(
        "3 nodes, {keys} keys; one in a hundred is replaced while a node is away, and it starts again. Bytes of \
         anti-entropy's frames that it receives until it has all of them, beside the bytes that clients sent of them \
         (key of 20 bytes, value, content type)."
    );
    let mut figure = Figure::new(Part::MissedOnePercent, says);
    for value_bytes in [1_000, 100] {
        for partitions in size.pick([256, 1], [16, 1]) {
            let setting = Setting { keys, value_bytes, partitions, changed: keys / 100, logs: Logs::Reach };
            let cost = setting.measure();
            let plural = if partitions == 1 { "" } else { "s" };
            let what = format!("values of {value_bytes} bytes, {partitions} partition{plural}");
            let times = Value::of(cost.received.bytes as f64 / cost.missed_bytes as f64, "times");
            if value_bytes == 1_000 {
                figure.at_most(format!("{what}: received"), times, 1.2);
            } else {
                figure.told(format!("{what}: received"), [times]);
            }
            let missed = Value::new("missed", cost.missed_bytes as f64, "bytes");
            let received = Value::new("received", cost.received.bytes as f64, "bytes");
            let quiet = Value::new("until all is quiet", cost.quiet_received.bytes as f64, "bytes");
            figure.told(format!("{what}: beside it"), [missed, received, quiet]);
        }
    }
    figure
}
