//! What nodes keep for one that cannot be reached, as clients and operators meet it.

use crate::cluster::{Cluster, Node, wait_until};

/// The value of a series on a node's page for Prometheus; 0 when it is not there.
fn metric(node: &Node, series: &str) -> f64 {
    let page = node.get("/metrics");
    let line = page.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

fn state_of(node: &Node, name: &str) -> String {
    let status: serde_json::Value = serde_json::from_str(node.get("/cluster/status").text()).expect("JSON");
    let members = status["members"].as_array().expect("a list");
    let member = members.iter().find(|member| member["name"] == name).expect("a member");
    member["state"].as_str().expect("a state").to_owned()
}

#[test]
fn others_stand_in_for_a_node_that_is_down_unless_the_request_says_otherwise_and_hand_over_later() {
    // With one copy of each key a node that is down takes some keys with it.
    let mut cluster = Cluster::ready(3, "replicas = 1\nsync_every_ms = 100\nprobe_every_ms = 100");
    cluster[2].kill();
    for node in &cluster[..2] {
        wait_until("it is known to be down", || state_of(node, "n3") == "down");
    }
    let put = |target: &str| cluster[0].request("PUT", target, &[], b"value").status;
    let is_lost = |key: &String| put(&format!("/mec/{key}?sloppy=false&timeout=300")) == 503;
    let lost: Vec<String> = (0..30).map(|n| format!("k-{n}")).filter(is_lost).collect();
    assert!(!lost.is_empty() && lost.len() < 30, "{lost:?}");
    for key in &lost {
        assert_eq!(put(&format!("/mec/{key}?pw=1&timeout=300")), 503, "a primary was asked for");
        assert_eq!(put(&format!("/mec/{key}")), 200);
        let read = |query: &str| cluster[1].get(&format!("/mec/{key}{query}"));
        // The node that keeps it may not be the one that is asked for it; nobody may say that there is nothing.
        let shown = read("?timeout=300");
        assert!(matches!(shown.status, 200 | 503), "{key}: {}", shown.status);
        assert!(shown.status == 503 || shown.text() == "value", "{key}: {}", shown.text());
        assert_eq!(read("?pr=1&timeout=300").status, 503);
        assert_eq!(read("?sloppy=false&timeout=300").status, 503);
    }
    let sum = |series: &str| cluster[..2].iter().map(|node| metric(node, series)).sum::<f64>();
    assert_eq!(sum("godown_hints{peer=\"n3\"}"), lost.len() as f64);
    assert!(sum("godown_hints_bytes{peer=\"n3\"}") > 5.0 * lost.len() as f64);
    assert!((0.0..600.0).contains(&sum("godown_hints_oldest_age_seconds{peer=\"n3\"}")));
    assert_eq!(sum("godown_core_hints_kept_total"), lost.len() as f64);
    let status: String = cluster[..2].iter().map(|node| node.operate(&["status"])).collect();
    assert!(status.contains("Kept for n3 until it can be reached"), "{status}");

    cluster[2].start_and_wait();
    wait_until("all is handed over", || {
        cluster[..2].iter().all(|node| metric(node, "godown_hints{peer=\"n3\"}") == 0.0)
    });
    assert_eq!(
        cluster[..2].iter().map(|node| metric(node, "godown_core_hints_handed_total")).sum::<f64>(),
        lost.len() as f64
    );
    for key in &lost {
        assert_eq!(cluster[2].get(&format!("/mec/{key}?pr=1")).values(), [b"value".to_vec()]);
    }
}

#[test]
fn what_is_kept_for_others_has_a_bound_and_refusals_are_counted() {
    let settings = "replicas = 1\nsync_every_ms = 100\nprobe_every_ms = 100\n[limits]\nhint_bytes = 0";
    let mut cluster = Cluster::ready(3, settings);
    cluster[2].kill();
    for node in &cluster[..2] {
        wait_until("it is known to be down", || state_of(node, "n3") == "down");
    }
    let put = |n: usize| cluster[0].request("PUT", &format!("/mec/k-{n}?timeout=300"), &[], b"value").status;
    assert!((0..30).any(|n| put(n) == 503), "nothing is kept for n3");
    assert!(cluster[..2].iter().any(|node| metric(node, "godown_core_hints_refused_total") > 0.0));
}
