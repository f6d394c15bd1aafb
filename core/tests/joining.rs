//! A node that has just been taken in, before it has heard so: whoever counts on it must not wait for it in vain.

mod common;

use std::time::Duration;

use common::{Cluster, key_of};
use godown_core::causal::Context;
use godown_core::id::{Life, NodeId, OpId};
use godown_core::layout::active::View;
use godown_core::message::{Change, Failure, Message, Refusal, Terms, Value};

const N1: NodeId = NodeId(1);
const N3: NodeId = NodeId(3);
/// The life that n1 lives, and the second one of n3.
const LIFE_OF_N1: Life = Life((1 << 112) | (1 << 96));
const LIFE_OF_N3: Life = Life((3 << 112) | (2 << 96));

/// n3 with an empty disk, in no cluster yet, cut off from those that have one.
fn newcomer() -> Cluster {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.crash(N3);
    cluster.wipe(N3);
    cut(&mut cluster);
    cluster.start(N3);
    cluster.sent.clear();
    cluster
}

fn cut(cluster: &mut Cluster) {
    for other in [N1, NodeId(2)] {
        cluster.cut.extend([(N3, other), (other, N3)]);
    }
}

/// A write of n1's client that n3 is to coordinate.
fn forward(to: Life) -> Message {
    let value = Value { bytes: "v".into(), content_type: "".into(), ttl: None };
    Message::Forward {
        op: OpId { origin: LIFE_OF_N1, n: 1_000 },
        to,
        floor: 1_000,
        change: Change { key: key_of("k"), seen: Context::new(), value: Some(value) },
        w: 2,
        timeout: Duration::from_secs(1),
        terms: Terms::default(),
    }
}

/// How n3 has answered the forward.
fn refusals(cluster: &Cluster) -> Vec<Refusal> {
    let refusal = |sent: &(NodeId, NodeId, Message)| match sent {
        (N3, N1, Message::Forwarded { outcome: Err(Failure::NotTaken(refusal)), .. }) => Some(*refusal),
        _ => None,
    };
    cluster.sent.iter().filter_map(refusal).collect()
}

#[test]
fn a_write_that_a_node_in_no_cluster_is_to_coordinate_is_refused_at_once_and_never_done_later() {
    let mut cluster = newcomer();
    cluster.peer(N3, N1, forward(Life::default()));
    assert_eq!(refusals(&cluster), [Refusal::OtherLife(LIFE_OF_N3)]);
    cluster.sent.clear();
    cluster.peer(N3, N1, forward(LIFE_OF_N3));
    assert_eq!(refusals(&cluster), [Refusal::NotAMember]);

    // It hears of its cluster, and then the network brings a second copy of what it has refused.
    cluster.cut.clear();
    cluster.pass(Duration::from_secs(2 * 3600));
    assert!(cluster.nodes().all(godown_core::node::Node::is_ready));
    cut(&mut cluster);
    cluster.sent.clear();
    cluster.peer(N3, N1, forward(LIFE_OF_N3));
    assert_eq!(refusals(&cluster), []);
    assert!(cluster.values(N3, "k").is_empty(), "a refused write is done after all");
}

#[test]
fn a_node_in_no_cluster_asks_whoever_speaks_to_it_as_a_member() {
    let asks = |view: View| {
        let mut cluster = newcomer();
        cluster.peer_with(N3, N1, view, forward(LIFE_OF_N3));
        cluster.sent.iter().any(|sent| matches!(sent, (N3, N1, Message::Hail { .. })))
    };
    assert!(asks(View { oldest: 1, reads: 1, newest: 2 }));
    assert!(!asks(View::default()), "a node that is in none itself has nothing to tell");
}
