//! What is kept at rest beside what clients sent, and what stays of keys that were deleted.
//!
//! Keys are written by calls, under restarts that give each partition several actors, and it is waited until all is quiet.
//! Then all are deleted, and it is waited again.

use std::time::Duration;

use godown_core::id::NodeId;
use godown_core::input::Wish;

use super::cluster::Cluster;
use super::store::{self, AtRest};
use super::{Figure, Part, Size, Value};

const NODES: u64 = 3;
const VALUE_BYTES: usize = 100;

fn sum(cluster: &Cluster) -> AtRest {
    (1..=NODES).map(|node| AtRest::of(cluster.table(NodeId(node)))).fold(AtRest::default(), |sum, at| {
        AtRest {
            objects: sum.objects + at.objects,
            metadata: sum.metadata + at.metadata,
            metadata_most: sum.metadata_most.max(at.metadata_most),
            log: sum.log + at.log,
            others: sum.others + at.others,
            others_bytes: sum.others_bytes + at.others_bytes,
        }
    })
}

/// Bytes beside each key, and what stays of deleted ones.
pub(super) fn rest(size: Size) -> Figure {
    let keys: u64 = size.pick(20_000, 2_000);
    let says = format!(
        "3 nodes, 256 partitions; {keys} keys are written by calls while nodes are restarted, then all of them are \
         deleted. Rows on the three disks when all is quiet."
    );
    let mut figure = Figure::new(Part::Rest, says);
    let mut cluster = Cluster::founded(NODES, 1, |_| {});
    let before = sum(&cluster);
    for n in 0..keys {
        if n % (keys / 4) == keys / 8 {
            restart(&mut cluster, NodeId(n % NODES + 1));
        }
        let value = store::value(n, VALUE_BYTES);
        cluster.replace(NodeId(n % NODES + 1), &store::key(n), Some(value), Wish::default());
    }
    cluster.settle();
    let full = sum(&cluster);
    let copies = (NODES * keys) as f64;
    assert_eq!(full.objects, NODES * keys, "each node has a row for each key");
    let metadata = Value::of(full.metadata as f64 / copies, "bytes");
    figure.at_most("metadata of a key, on average", metadata, 24.0);
    figure.at_most("metadata of a key, the most", Value::of(full.metadata_most as f64, "bytes"), 24.0);
    figure.at_most("log rows", Value::of(full.log as f64, "rows"), 0.0);
    figure.told("clocks, actors, lives, membership", others(&full));
    for n in 0..keys {
        cluster.replace(NodeId(n % NODES + 1), &store::key(n), None, Wish::default());
    }
    cluster.settle();
    let empty = sum(&cluster);
    figure.at_most("all deleted: rows of keys", Value::of(empty.objects as f64, "rows"), 0.0);
    figure.at_most("all deleted: log rows", Value::of(empty.log as f64, "rows"), 0.0);
    figure.told("all deleted: clocks, actors, lives, membership", others(&empty));
    figure.told("before anything was written", others(&before));
    figure
}

fn others(at: &AtRest) -> [Value; 2] {
    [Value::new("", at.others as f64, "rows"), Value::new("", at.others_bytes as f64, "bytes")]
}

fn restart(cluster: &mut Cluster, id: NodeId) {
    cluster.stop(id);
    cluster.pass(Duration::from_secs(1));
    cluster.start(id);
    cluster.settle();
}
