//! Everything has a limit, and here is a test at each.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, key_of};
use godown_core::causal::Context;
use godown_core::id::NodeId;
use godown_core::input::{Call, Reply, Wish};
use godown_core::key::Key;
use godown_core::message::{Change, Failure, Message, Refusal, Terms, Value};

const N1: NodeId = NodeId(1);

fn cluster() -> Cluster {
    Cluster::new(3, |settings| {
        settings.limits.key_bytes = 8;
        settings.limits.value_bytes = 16;
        settings.limits.content_type_bytes = 4;
        settings.limits.object_bytes = 20;
        settings.limits.calls = 2;
        settings.limits.peer_requests = 3;
        settings.limits.list_page = 2;
    })
}

fn put(key: &str, value: &str, content_type: &str, wish: Wish) -> Call {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let value = Some(Value { bytes: bytes(value), content_type: bytes(content_type), ttl: None });
    Call::Put { change: Change { key: key_of(key), seen: Context::new(), value }, wish }
}

fn reply(cluster: &mut Cluster, call: Call) -> Reply {
    let id = cluster.call(N1, call);
    cluster.replies.get(&id).cloned().expect("an immediate reply")
}

#[track_caller]
fn fails(cluster: &mut Cluster, call: Call, failure: Failure) {
    assert_eq!(reply(cluster, call), Reply::Failed(failure));
}

#[track_caller]
fn succeeds(cluster: &mut Cluster, call: Call) {
    let reply = reply(cluster, call);
    assert!(!matches!(reply, Reply::Failed(_)), "{reply:?}");
}

#[test]
fn a_key_may_have_its_limit_in_bytes_and_not_one_more() {
    let cluster = &mut cluster();
    succeeds(cluster, put("12345678", "v", "", Wish::default()));
    fails(cluster, put("123456789", "v", "", Wish::default()), Failure::KeyTooLong { bytes: 9, max: 8 });
    fails(cluster, put("", "v", "", Wish::default()), Failure::KeyEmpty);
    fails(cluster, Call::Get { key: Key(Bytes::new()), wish: Wish::default() }, Failure::KeyEmpty);
}

#[test]
fn a_value_and_its_type_may_have_their_limits_in_bytes_and_not_one_more() {
    let cluster = &mut cluster();
    succeeds(cluster, put("a", "0123456789abcdef", "text", Wish::default()));
    fails(
        cluster,
        put("a", "0123456789abcdefg", "", Wish::default()),
        Failure::ValueTooLarge { bytes: 17, max: 16 },
    );
    fails(cluster, put("a", "v", "texts", Wish::default()), Failure::ContentTypeTooLong { bytes: 5, max: 4 });
}

#[test]
fn siblings_may_not_exceed_their_bytes_together() {
    let cluster = &mut cluster();
    succeeds(cluster, put("a", "0123456789abcdef", "", Wish::default()));
    succeeds(cluster, put("a", "0123", "", Wish::default()));
    let refusal = Refusal::TooManySiblings { siblings: 2, bytes: 20 };
    fails(cluster, put("a", "0", "", Wish::default()), Failure::NotTaken(refusal));
}

#[test]
fn one_call_over_the_limit_is_refused_at_once() {
    let cluster = &mut cluster();
    cluster.cut.extend([(N1, NodeId(2)), (N1, NodeId(3))]);
    let waiting = [cluster.get(N1, "a"), cluster.get(N1, "b")];
    assert!(waiting.iter().all(|id| !cluster.replies.contains_key(id)));
    fails(cluster, Call::Get { key: key_of("c"), wish: Wish::default() }, Failure::Overloaded { limit: 2 });
    // A call whose reply has been given makes room, although late answers may still be awaited.
    cluster.pass(Duration::from_secs(6));
    assert!(waiting.iter().all(|id| cluster.replies.contains_key(id)));
    let id = cluster.get(N1, "c");
    assert!(!cluster.replies.contains_key(&id));
}

#[test]
fn one_peer_request_over_the_limit_is_refused_and_told_so() {
    let cluster = &mut cluster();
    // While the disk holds the first write, everything else for the key waits in its slot.
    cluster.hold(N1);
    cluster.put(N1, "a", Some("v"), Context::new());
    cluster.cut.extend([(N1, NodeId(3))]);
    for n in 0..4 {
        let origin = godown_core::id::Life(77);
        let op = godown_core::id::OpId { origin, n };
        cluster.told.clear();
        cluster.peer(N1, NodeId(3), Message::Fetch { op, key: key_of("a") });
    }
    assert_eq!(cluster.told, ["n1 -x n3: not fetched: the replica is overloaded"]);
}

#[test]
fn a_forward_that_was_taken_is_not_refused_when_it_arrives_again() {
    let cluster = &mut cluster();
    cluster.hold(N1);
    let to = cluster.nodes().next().expect("n1").life();
    let op = |n| godown_core::id::OpId { origin: godown_core::id::Life(77), n };
    let value = || Some(Value { bytes: "v".into(), content_type: Bytes::new(), ttl: None });
    let change = || Change { key: key_of("a"), seen: Context::new(), value: value() };
    let timeout = Duration::from_secs(1);
    let forward = || Message::Forward {
        op: op(1),
        to,
        floor: 1,
        change: change(),
        w: 2,
        timeout,
        terms: Terms::default(),
    };
    cluster.peer(N1, NodeId(3), forward());
    // Enough waits in the key's slot now for the node to refuse whatever is new.
    for n in 2..5 {
        cluster.peer(N1, NodeId(3), Message::Fetch { op: op(n), key: key_of("a") });
    }
    cluster.told.clear();
    cluster.peer(N1, NodeId(3), forward());
    assert_eq!(cluster.told, Vec::<String>::new(), "a refusal would have the origin write a second time");
    cluster.release(N1);
    assert_eq!(cluster.values(N1, "a"), ["v"]);
}

#[test]
fn a_quorum_and_a_timeout_out_of_range_are_named() {
    let cluster = &mut cluster();
    let wish = |quorum, timeout_ms: Option<u64>| Wish {
        quorum,
        timeout: timeout_ms.map(Duration::from_millis),
        ..Wish::default()
    };
    succeeds(cluster, put("a", "v", "", wish(Some(3), Some(60_000))));
    fails(cluster, put("a", "v", "", wish(Some(4), None)), Failure::BadQuorum { asked: 4, replicas: 3 });
    fails(cluster, put("a", "v", "", wish(Some(0), None)), Failure::BadQuorum { asked: 0, replicas: 3 });
    let max = Duration::from_secs(60);
    fails(
        cluster,
        put("a", "v", "", wish(None, Some(0))),
        Failure::BadTimeout { asked: Duration::ZERO, max },
    );
    let asked = Duration::from_millis(60_001);
    fails(cluster, put("a", "v", "", wish(None, Some(60_001))), Failure::BadTimeout { asked, max });
}

#[test]
fn a_listing_gives_a_page_and_says_that_there_is_more() {
    let cluster = &mut cluster();
    for key in ["a", "b", "c"] {
        succeeds(cluster, put(key, "v", "", Wish::default()));
    }
    let list =
        |after: Option<&str>| Call::List { after: after.map(key_of), limit: 1_000, wish: Wish::default() };
    assert_eq!(
        reply(cluster, list(None)),
        Reply::Listed { keys: vec![key_of("a"), key_of("b")], more: true }
    );
    assert_eq!(reply(cluster, list(Some("b"))), Reply::Listed { keys: vec![key_of("c")], more: false });
}
