//! The page for Prometheus, read as strictly as its format is written down.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, Lists, wait_until};

/// A page taken apart: each family's type, and every sample by its name and labels.
#[derive(Debug, Default)]
struct Page {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Page {
    /// Takes a page apart, and fails where it is not what the text format 0.0.4 says.
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends, too");
        let mut page = Self::default();
        let mut family = String::new();
        let mut has_help = BTreeSet::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("a name and words");
                check_name(name);
                assert!(words.ends_with('.'), "a sentence: {line}");
                assert!(
                    has_help.insert(name.to_owned()),
                    "{name} is begun twice: its samples must stand together"
                );
                family = name.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a type");
                assert_eq!(name, family, "the type follows the help");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                page.types.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a series and a value");
                let (name, labels) = match series.split_once('{') {
                    Some((name, labels)) => (name, labels.strip_suffix('}').expect("closed")),
                    None => (series, ""),
                };
                let suffixes = ["", "_bucket", "_sum", "_count"];
                let is_histogram = page.types[&family] == "histogram";
                let suffix =
                    name.strip_prefix(family.as_str()).expect("a sample of the family that was begun");
                assert!(suffixes.contains(&suffix) && (suffix.is_empty() != is_histogram), "{line}");
                check_labels(labels);
                let value = value.parse().expect("a number");
                assert!(page.samples.insert(series.to_owned(), value).is_none(), "twice: {series}");
            }
        }
        page
    }

    fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {self:#?}"))
    }
}

fn check_name(name: &str) {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    assert!(name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit()), "{name}");
    assert!(name.starts_with("godown_") || name.starts_with("process_"), "{name}");
}

/// Labels without escapes in their values, which is all that these nodes have.
fn check_labels(labels: &str) {
    let mut names = BTreeSet::new();
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once('=').expect("a name and a value");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{label}");
        assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{label}");
        assert!(names.insert(name), "{label} is there twice");
    }
}

#[test]
fn the_page_for_prometheus_is_what_its_format_says_and_counts_what_happens() {
    let cluster = Cluster::ready(3, "");
    let node = &cluster[0];
    wait_until("both peers are connected", || node.stat("/network/peers_connected") == 2);
    for n in 0..5 {
        node.put(&format!("/mec/k-{n}"), b"value");
    }
    node.get("/mec/k-0");
    node.get("/mec/none");
    node.get("/mec/k-0?r=9");
    node.get("/mec");
    assert_eq!(node.request("DELETE", "/mec/k-0", &[], b"").status, 204);

    let answer = node.get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = Page::parse(answer.text());
    let requests = |operation: &str, outcome: &str| {
        let labels = format!("{{operation=\"{operation}\",outcome=\"{outcome}\"}}");
        page.value(&format!("godown_request_duration_seconds_count{labels}"))
    };
    assert_eq!((requests("put", "ok"), requests("delete", "ok"), requests("list", "ok")), (5.0, 1.0, 1.0));
    assert_eq!(
        (requests("get", "ok"), requests("get", "absent"), requests("get", "refused")),
        (1.0, 1.0, 1.0)
    );
    assert_eq!(requests("put", "unavailable"), 0.0);
    assert_eq!(page.value("godown_core_puts_total"), 6.0);
    assert_eq!(page.value("godown_ready"), 1.0);
    assert_eq!((page.value("godown_peers"), page.value("godown_peers_connected")), (2.0, 2.0));
    for peer in ["n2", "n3"] {
        assert_eq!(page.value(&format!("godown_peer_connected{{peer=\"{peer}\"}}")), 1.0);
        assert!(page.value(&format!("godown_outbox_messages_total{{peer=\"{peer}\"}}")) > 0.0);
        // One machine has one clock.
        assert!(page.value(&format!("godown_clock_ahead_seconds{{peer=\"{peer}\"}}")).abs() < 5.0);
    }
    assert!(page.value("godown_store_groups_synced_total") > 0.0);
    assert!(page.value("godown_store_disk_bytes") > 0.0);
    if cfg!(target_os = "linux") {
        assert!(page.value("process_resident_memory_bytes") > 1e6);
        assert!(page.value("process_open_fds") > 5.0);
        assert!(page.value("process_start_time_seconds") > 1.7e9);
    }
}

#[test]
fn a_node_that_is_still_starting_has_metrics_too() {
    let mut cluster = Cluster::new(3, Lists::MecDb, "");
    cluster[0].start();
    assert_eq!(cluster[0].get("/ready").status, 503);
    let page = Page::parse(cluster[0].get("/metrics").text());
    assert_eq!((page.value("godown_peers"), page.value("godown_peers_connected")), (2.0, 0.0));
    assert!(!page.samples.contains_key("godown_ready"), "nobody can say yet");
}
