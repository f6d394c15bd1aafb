//! What a cluster sends that has nothing to do: probes of reachability, gossip about layouts, and anti-entropy that finds
//! all clocks equal.
//!
//! The layout is in force everywhere, nothing is written and everybody answers. What is counted is what all nodes send in
//! a minute, for each node and second.

use std::time::Duration;

use super::cluster::{About, Cluster};
use super::{Figure, Part, Size, Value};

/// What each node sends in a second, by what it is about.
struct Idle {
    nodes: u64,
    reachability: f64,
    membership: f64,
    probes: f64,
    others: f64,
    /// The others that a node shares partitions with, on average.
    peers: f64,
}

fn measure(nodes: u64, span: Duration) -> Idle {
    let mut cluster = Cluster::founded(nodes, nodes, |_| {});
    // What is new has been passed on as often as it is going to be.
    cluster.pass(Duration::from_secs(60));
    cluster.scales.clear();
    cluster.pass(span);
    let rate = |counts: &dyn Fn(About) -> bool| {
        let weight = cluster.scales.sum(|_, _, about| counts(about));
        weight.bytes as f64 / nodes as f64 / span.as_secs_f64()
    };
    let reachability = rate(&|about| about == About::Reachability);
    let membership = rate(&|about| about == About::Membership);
    let probes = rate(&|about| about == About::Probes);
    let others = rate(&|about| matches!(about, About::Differences | About::Service));
    let peers = cluster.nodes().map(|(_, node)| {
        let (me, layouts) = (node.id(), node.layouts());
        let shares = |other| layouts.held_by(me).any(|at| layouts.holds(other, at));
        layouts.nodes().iter().filter(|&&other| other != me && shares(other)).count()
    });
    let peers = peers.sum::<usize>() as f64 / nodes as f64;
    Idle { nodes, reachability, membership, probes, others, peers }
}

/// Clusters of several sizes.
pub(super) fn gossip(size: Size) -> Figure {
    let sizes: &[u64] = size.pick(&[3, 10, 30, 100], &[3, 10]);
    let span = Duration::from_secs(size.pick(60, 20));
    let says = format!(
        "Bytes of frames that each node sends in a second, for {} s, when the layout is in force everywhere and nothing \
         is written: one probe of reachability, one message of gossip and one round of anti-entropy with each peer in a \
         second.",
        span.as_secs()
    );
    let mut figure = Figure::new(Part::Gossip, says);
    let mut rates = Vec::new();
    let mut by_peer = Vec::new();
    for &nodes in sizes {
        let Idle { nodes, reachability, membership, probes, others, peers } = measure(nodes, span);
        let unit = "bytes/s";
        let measured = [
            Value::new("reachability", reachability, unit),
            Value::new("gossip", membership, unit),
            Value::new("anti-entropy", probes, unit),
            Value::new("peers", peers, ""),
        ];
        figure.told(format!("{nodes} nodes"), measured);
        figure.at_most(format!("{nodes} nodes: anything else"), Value::of(others, unit), 0.0);
        rates.push(reachability + membership);
        by_peer.push(probes / peers);
    }
    let factor = |rates: &[f64]| {
        let (least, most) =
            rates.iter().fold((f64::MAX, 0.0), |(least, most), &rate| (rate.min(least), rate.max(most)));
        Value::of(most / least, "times")
    };
    figure.at_most("reachability and gossip: the most beside the least", factor(&rates), 2.0);
    figure.at_most("anti-entropy for each peer: the most beside the least", factor(&by_peer), 2.0);
    figure
}
