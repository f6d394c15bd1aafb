//! A node's life: how it begins, what it says of itself, how it ends.

use rustix::process::Signal;

use crate::cluster::{Cluster, wait_until};

#[test]
fn ctrl_c_on_one_node_ends_that_node_only() {
    let mut cluster = Cluster::ready(3, "");
    cluster[0].put("/mec/k", b"value");
    cluster[0].signal(Signal::INT);
    let status = cluster[0].join();
    assert!(status.success(), "{status}: {}", cluster[0].log());
    for node in &cluster[1..] {
        assert_eq!(node.get("/mec/k").text(), "value");
    }
}

#[test]
fn sigterm_lets_requests_in_flight_finish_and_takes_no_new_ones() {
    let mut cluster = Cluster::ready(1, "");
    let mut slow = cluster[0].client();
    slow.send(b"PUT /mec/slow HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfirst").expect("sent");
    let mut idle = cluster[0].client();
    assert_eq!(idle.request("GET", "/health", &[], b"").status, 200);
    let address = cluster[0].http();
    cluster[0].signal(Signal::TERM);
    assert!(idle.is_hung_up(), "idle connections are closed");
    wait_until("nobody is let in", || crate::client::Client::try_connect(address).is_err());
    slow.send(b"-half").expect("sent");
    assert_eq!(slow.receive("PUT").expect("an answer").status, 200);
    let status = cluster[0].join();
    assert!(status.success(), "{status}: {}", cluster[0].log());
    cluster[0].start_and_wait();
    assert_eq!(cluster[0].get("/mec/slow").text(), "first-half");
}

#[test]
fn a_request_that_does_not_finish_holds_up_the_end_for_its_bound_only() {
    let mut cluster = Cluster::ready(1, "drain_ms = 300");
    let mut stuck = cluster[0].client();
    stuck.send(b"PUT /mec/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf").expect("sent");
    // The request has been taken up once a later one on another connection is answered.
    assert_eq!(cluster[0].get("/health").status, 200);
    cluster[0].signal(Signal::TERM);
    let status = cluster[0].join();
    assert!(status.success(), "{status}");
    assert!(stuck.is_hung_up());
}

#[test]
fn a_node_is_alive_at_once_and_ready_when_it_has_caught_up() {
    let mut cluster = Cluster::new(3, crate::cluster::Lists::Named, "");
    cluster[0].start();
    assert_eq!(cluster[0].get("/health").text(), "alive\n");
    let waiting = cluster[0].get("/ready");
    assert_eq!(waiting.status, 503, "a new node alone cannot know what the others hold");
    assert_eq!(waiting.header("Retry-After"), Some("1"));
    cluster[1].start();
    cluster[2].start();
    for node in cluster.iter() {
        node.wait_until_ready();
    }
    assert_eq!(cluster[0].get("/ready").text(), "ready\n");
}

#[test]
fn stats_count_what_happens() {
    let cluster = Cluster::ready(3, "");
    let node = &cluster[0];
    wait_until("both peers are connected", || node.stat("/network/peers_connected") == 2);
    // What was said to peers that were not there yet is lost and counted.
    let dropped = node.stat("/network/outbox_dropped");
    for n in 0..10 {
        node.put(&format!("/mec/k-{n}"), b"value");
        node.get(&format!("/mec/k-{n}"));
    }
    let page: serde_json::Value = serde_json::from_str(node.get("/stats").text()).expect("JSON");
    assert_eq!(page["name"], "n1");
    assert_eq!(page["ready"], true);
    assert_eq!(page["life"].as_str().map(str::len), Some(8));
    assert_eq!((node.stat("/core/puts"), node.stat("/core/gets")), (10, 10));
    assert_eq!(node.stat("/network/outbox_dropped"), dropped);
    let store = |counter: &str| page["store"][counter].as_u64().expect("a counter");
    assert!(store("groups") >= store("groups_synced") && store("groups_synced") >= store("marks"));
    assert!(store("marks") > 0 && store("writes") >= store("groups"));
}
