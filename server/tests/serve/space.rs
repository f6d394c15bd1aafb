//! What is deleted leaves nothing behind, and gives its space back.

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::Value;

use crate::cluster::{Cluster, Node, godown, wait_until};

/// Clients at once: writes that come together share a sync.
const CLIENTS: usize = 16;

/// Has `n` keys written or deleted by several clients at nodes in turn.
fn all(cluster: &Cluster, method: &str, n: usize, body: &[u8]) {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let node = &cluster[client % cluster.len()];
            scope.spawn(move || {
                let mut connection = node.client();
                for key in (client..n).step_by(CLIENTS) {
                    let answer = connection.request(method, &format!("/mec/key-{key}"), &[], body);
                    assert!(matches!(answer.status, 200 | 204), "{}", answer.text());
                }
            });
        }
    });
}

/// What a node says is left to do; None when nothing is.
fn unrest(node: &Node) -> Option<String> {
    let status: Value = serde_json::from_str(node.get("/cluster/status").text()).expect("JSON");
    status["unrest"].as_str().map(str::to_owned)
}

fn table_bytes(node: &Node) -> f64 {
    let page = node.get("/metrics");
    let bytes = page.text().lines().find_map(|line| line.strip_prefix("godown_store_table_bytes "));
    bytes.expect("a sample").parse().expect("a number")
}

/// Bytes of all files in a folder but the engine's journals, which have a length of their own.
fn files_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable"));
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => files_bytes(&entry.path()),
        Ok(metadata) if entry.path().extension().is_none_or(|extension| extension != "jnl") => metadata.len(),
        // It has just been removed.
        _ => 0,
    };
    entries.map(bytes).sum()
}

/// What lies in the folder of a node that does not run.
fn inspect(node: &Node) -> Value {
    let folder = node.folder.to_str().expect("text");
    let (status, stdout, stderr) = godown(&["store", "inspect", "--json", folder]);
    assert!(status.success(), "{stderr}");
    serde_json::from_str(&stdout).expect("JSON")
}

fn rows(contents: &Value, kind: &str) -> u64 {
    contents["rows"][kind]["rows"].as_u64().unwrap_or(0)
}

/// Bytes that no compression makes fewer.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn of_deleted_keys_no_row_is_left_on_any_node() {
    const KEYS: usize = 3_000;
    let mut cluster = Cluster::ready(3, "sync_every_ms = 100");
    all(&cluster, "PUT", KEYS, &noise(1_000));
    cluster[0].put("/mec/stays", b"value");
    all(&cluster, "DELETE", KEYS, b"");
    for node in cluster.iter() {
        wait_until("nothing is left to do", || unrest(node).is_none());
    }
    for node in cluster.iter_mut() {
        let folder = node.folder.to_str().expect("text").to_owned();
        let (status, _, stderr) = godown(&["store", "inspect", &folder]);
        assert!(!status.success() && stderr.contains("in use by another process"), "{stderr}");
        node.stop();
    }
    for node in cluster.iter() {
        let contents = inspect(node);
        assert_eq!(contents["node"], node.name.as_str());
        assert_eq!(rows(&contents, "objects"), 1, "{contents:#}");
        // A row for a key, a dot or a hint would be one of these.
        for kind in ["log", "hints", "places of hints", "foreign"] {
            assert_eq!(rows(&contents, kind), 0, "{contents:#}");
        }
        // Of the others there are some for each partition, however many keys there were.
        let total: u64 =
            contents["rows"].as_object().expect("kinds").keys().map(|kind| rows(&contents, kind)).sum();
        assert!(total < KEYS as u64 / 2, "{contents:#}");
    }
}

#[test]
fn the_space_of_what_was_deleted_comes_back_by_itself() {
    const KEYS: usize = 48;
    let mut cluster = Cluster::ready(1, "compact_every_ms = 50");
    // More than the engine keeps in memory, so that tables are written.
    let value = noise(1_000_000);
    all(&cluster, "PUT", KEYS, &value);
    wait_until("tables are written", || table_bytes(&cluster[0]) > 20e6);
    cluster[0].put("/mec/stays", b"value");
    assert_eq!(cluster[0].stat("/store/compactions"), 0);
    all(&cluster, "DELETE", KEYS, b"");
    wait_until("their space is given back", || table_bytes(&cluster[0]) < 8e6);
    assert!(cluster[0].stat("/store/compactions") > 0);
    wait_until("the files are gone", || files_bytes(&cluster[0].folder) < 8_000_000);
    assert_eq!(cluster[0].get("/mec/stays").text(), "value");
    assert_eq!(cluster[0].get("/mec/key-0").status, 404);
    cluster[0].stop();
    let contents = inspect(&cluster[0]);
    assert_eq!(rows(&contents, "objects"), 1, "{contents:#}");
    assert!(contents["files"]["tables_bytes"].as_u64().expect("a number") < 8_000_000, "{contents:#}");
    cluster[0].start_and_wait();
    assert_eq!(cluster[0].get("/mec/stays").text(), "value");
    assert_eq!(cluster[0].get("/mec/key-1").status, 404);
}

#[test]
fn a_store_is_compacted_by_hand_while_its_node_does_not_run() {
    let mut cluster = Cluster::ready(1, "compact_every_ms = 0");
    all(&cluster, "PUT", 40, &noise(1_000_000));
    all(&cluster, "DELETE", 40, b"");
    wait_until("nothing is left to do", || unrest(&cluster[0]).is_none());
    cluster[0].stop();
    let folder = cluster[0].folder.to_str().expect("text").to_owned();
    let before = inspect(&cluster[0]);
    let (status, stdout, stderr) = godown(&["store", "compact", &folder]);
    assert!(status.success() && stdout.contains("bytes on disk"), "{stdout}{stderr}");
    let after = inspect(&cluster[0]);
    let bytes = |contents: &Value| contents["files"]["tables_bytes"].as_u64().expect("a number");
    assert!(bytes(&before) > 20_000_000 && bytes(&after) < 1_000_000, "{before:#}, {after:#}");
    assert_eq!(after["garbage_bytes"], 0);
    cluster[0].start_and_wait();
    assert_eq!(cluster[0].get("/mec/key-0").status, 404);
    let (status, _, stderr) = godown(&["store", "compact", &folder]);
    assert!(!status.success() && stderr.contains("in use by another process"), "{stderr}");
}
