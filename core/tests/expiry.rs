//! What has expired is hidden at once, and deleted everywhere as a client would.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, key_of, reply_words};
use godown_core::causal::Context;
use godown_core::config::TTL_MAX;
use godown_core::id::{CallId, NodeId};
use godown_core::input::{Call, Reply, Wish};
use godown_core::message::{Change, Failure, Value};
use godown_core::node::Node;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
const SECOND: Duration = Duration::from_secs(1);
const ALL: [NodeId; 3] = [N1, N2, N3];

fn cluster() -> Cluster {
    Cluster::new(3, |settings| settings.expire_every = 10 * SECOND)
}

fn put(cluster: &mut Cluster, to: NodeId, value: &str, ttl: Option<Duration>, seen: Context) -> CallId {
    let bytes = Bytes::copy_from_slice(value.as_bytes());
    let value = Some(Value { bytes, content_type: Bytes::new(), ttl });
    cluster.call(to, Call::Put { change: Change { key: key_of("a"), seen, value }, wish: Wish::default() })
}

fn read(cluster: &mut Cluster, from: NodeId) -> (Vec<String>, Context) {
    let id = cluster.get(from, "a");
    match &cluster.replies[&id] {
        Reply::Got { siblings, seen } => {
            let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
            (siblings.iter().map(|sibling| text(&sibling.value)).collect(), seen.clone())
        }
        other => panic!("{}", reply_words(other)),
    }
}

fn deleted(cluster: &Cluster) -> u64 {
    cluster.nodes().map(|node| node.stats().expired).sum()
}

#[test]
fn a_value_is_hidden_when_its_time_is_over_and_then_deleted_by_one_node() {
    let cluster = &mut cluster();
    put(cluster, N2, "v", Some(3 * SECOND), Context::new());
    assert_eq!(read(cluster, N1).0, ["v"]);
    cluster.pass(3 * SECOND - Duration::from_millis(1));
    assert_eq!(read(cluster, N1).0, ["v"], "not before its time");
    // It is told in whole milliseconds.
    cluster.pass(Duration::from_millis(2));
    assert_eq!(read(cluster, N1).0, [""; 0]);
    assert!(ALL.iter().all(|&node| cluster.values(node, "a") == ["v"]), "it is only hidden");
    cluster.pass(20 * SECOND);
    assert!(ALL.iter().all(|&node| cluster.values(node, "a").is_empty()));
    assert_eq!(deleted(cluster), 1);
    let minted = |cluster: &Cluster| cluster.nodes().map(|node| node.stats().minted).sum::<u64>();
    let before = minted(cluster);
    cluster.pass(100 * SECOND);
    assert_eq!(minted(cluster), before, "there is nothing more to delete");
}

#[test]
fn what_has_not_expired_stays() {
    let cluster = &mut cluster();
    put(cluster, N1, "brief", Some(SECOND), Context::new());
    put(cluster, N1, "long", Some(100 * SECOND), Context::new());
    put(cluster, N1, "for ever", None, Context::new());
    cluster.pass(50 * SECOND);
    assert!(ALL.iter().all(|&node| cluster.values(node, "a") == ["long", "for ever"]));
    cluster.pass(100 * SECOND);
    assert!(ALL.iter().all(|&node| cluster.values(node, "a") == ["for ever"]));
}

#[test]
fn a_write_replaces_what_had_expired_when_its_writer_read() {
    let cluster = &mut cluster();
    put(cluster, N1, "brief", Some(SECOND), Context::new());
    cluster.pass(2 * SECOND);
    let (values, seen) = read(cluster, N2);
    assert_eq!(values, [""; 0]);
    put(cluster, N2, "next", None, seen);
    assert!(ALL.iter().all(|&node| cluster.values(node, "a") == ["next"]));
    cluster.pass(100 * SECOND);
    assert_eq!(deleted(cluster), 0);
}

#[test]
fn whoever_was_away_does_not_bring_back_what_has_expired() {
    let cluster = &mut cluster();
    put(cluster, N1, "v", Some(30 * SECOND), Context::new());
    cluster.crash(N3);
    cluster.pass(100 * SECOND);
    assert_eq!((cluster.values(N1, "a").len(), cluster.values(N3, "a").len()), (0, 1));
    cluster.start(N3);
    cluster.pass(Duration::from_secs(4 * 3600));
    assert!(ALL.iter().all(|&node| cluster.values(node, "a").is_empty()));
    assert!(cluster.nodes().all(Node::is_quiet), "and no trace is left of it");
}

#[test]
fn others_delete_what_the_first_holder_does_not() {
    for away in ALL {
        let cluster = &mut cluster();
        put(cluster, N1, "v", Some(30 * SECOND), Context::new());
        cluster.crash(away);
        cluster.pass(100 * SECOND);
        for node in ALL.into_iter().filter(|&node| node != away) {
            assert_eq!(cluster.values(node, "a").len(), 0, "{away} is away");
        }
    }
}

#[test]
fn after_a_restart_what_expires_is_found_again() {
    let cluster = &mut cluster();
    put(cluster, N1, "v", Some(30 * SECOND), Context::new());
    for node in ALL {
        cluster.crash(node);
    }
    for node in ALL {
        cluster.start(node);
    }
    cluster.pass(100 * SECOND);
    assert!(ALL.iter().all(|&node| cluster.values(node, "a").is_empty()));
}

#[test]
fn a_value_expires_in_a_millisecond_at_the_earliest_and_in_a_hundred_years_at_the_latest() {
    let cluster = &mut cluster();
    put(cluster, N1, "v", Some(Duration::ZERO), Context::new());
    assert_eq!(read(cluster, N1).0, ["v"]);
    cluster.pass(Duration::from_millis(2));
    assert_eq!(read(cluster, N1).0, [""; 0]);
    let id = put(cluster, N1, "v", Some(TTL_MAX), Context::new());
    assert!(matches!(cluster.replies[&id], Reply::Stored { .. }));
    let asked = TTL_MAX + Duration::from_nanos(1);
    let id = put(cluster, N1, "v", Some(asked), Context::new());
    assert_eq!(cluster.replies[&id], Reply::Failed(Failure::BadTtl { asked, max: TTL_MAX }));
}

#[test]
fn a_listing_leaves_out_what_has_expired() {
    let cluster = &mut cluster();
    put(cluster, N1, "v", Some(SECOND), Context::new());
    let keys = |cluster: &mut Cluster| {
        let id = cluster.call(N1, Call::List { after: None, limit: 10, wish: Wish::default() });
        match &cluster.replies[&id] {
            Reply::Listed { keys, .. } => keys.len(),
            other => panic!("{}", reply_words(other)),
        }
    };
    assert_eq!(keys(cluster), 1);
    cluster.pass(2 * SECOND);
    assert_eq!(keys(cluster), 0);
}

#[test]
fn many_that_expire_at_once_are_all_deleted() {
    let cluster = &mut cluster();
    for n in 0..600 {
        let value = Value { bytes: "v".into(), content_type: Bytes::new(), ttl: Some(SECOND) };
        let change = Change { key: key_of(&format!("k{n}")), seen: Context::new(), value: Some(value) };
        cluster.call(N1, Call::Put { change, wish: Wish::default() });
    }
    cluster.pass(40 * SECOND);
    assert_eq!(deleted(cluster), 600);
}
