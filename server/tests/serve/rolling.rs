//! A rolling restart: three nodes, one after the other, while clients write.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::client::Client;
use crate::cluster::{Cluster, Node, wait_until};

/// What one writer saw.
#[derive(Default)]
struct Saw {
    acked: Vec<String>,
    /// Refused although every node was up from the request's beginning to its end.
    unexcused: Vec<String>,
}

/// Writes keys of its own through the node at whatever address it has at the time, until `is_over`.
fn write(prefix: &str, http: &Mutex<std::net::SocketAddr>, downs: &AtomicUsize, is_over: &AtomicBool) -> Saw {
    let mut saw = Saw::default();
    let mut kept: Option<(Client, std::net::SocketAddr)> = None;
    for n in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        // Odd while some node is down or not back yet.
        let before = downs.load(Ordering::SeqCst);
        let address = *http.lock().expect("nobody panicked");
        let key = format!("/mec/{prefix}-{n}");
        let answer = match kept.take() {
            Some((client, to)) if to == address => Ok(client),
            _ => Client::try_connect(address),
        };
        let answer = answer.and_then(|mut open| {
            let answer = open.try_request("PUT", &key, &[], key.as_bytes())?;
            if answer.header("Connection") != Some("close") {
                kept = Some((open, address));
            }
            Ok(answer)
        });
        match answer {
            Ok(answer) if answer.status == 200 => saw.acked.push(key),
            refused => {
                let after = downs.load(Ordering::SeqCst);
                if before == after && before.is_multiple_of(2) {
                    saw.unexcused.push(format!("{key}: {refused:?}"));
                }
            }
        }
    }
    saw
}

fn are_connected(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| {
        let page: serde_json::Value = serde_json::from_str(node.get("/stats").text()).expect("JSON");
        let peers = page["network"]["peers"].as_array().expect("a list");
        peers.iter().all(|peer| peer["connected"] == true && peer["heard"] == true)
    })
}

#[test]
fn a_rolling_restart_under_load_loses_nothing_and_refuses_only_while_a_node_is_away() {
    let mut cluster = Cluster::ready(3, "sync_every_ms = 100");
    wait_until("all are connected", || are_connected(&cluster));
    let addresses: Vec<Mutex<std::net::SocketAddr>> =
        cluster.iter().map(|node| Mutex::new(node.http())).collect();
    let (downs, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let saw: Vec<Saw> = thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|writer| {
                let (http, downs, is_over) = (&addresses[writer % 3], &downs, &is_over);
                scope.spawn(move || write(&format!("w{writer}"), http, downs, is_over))
            })
            .collect();
        for (index, http) in addresses.iter().enumerate() {
            let puts = |nodes: &[Node]| nodes.iter().map(|node| node.stat("/core/puts")).collect::<Vec<_>>();
            let before = puts(&cluster);
            wait_until("all nodes take writes", || {
                puts(&cluster).iter().zip(&before).all(|(now, before)| now > &(before + 20))
            });
            downs.fetch_add(1, Ordering::SeqCst);
            cluster[index].stop();
            cluster[index].start();
            *http.lock().expect("nobody panicked") = cluster[index].http();
            cluster[index].wait_until_ready();
            wait_until("all are connected again", || are_connected(&cluster));
            downs.fetch_add(1, Ordering::SeqCst);
        }
        is_over.store(true, Ordering::SeqCst);
        writers.into_iter().map(|writer| writer.join().expect("it ended")).collect()
    });
    for (writer, saw) in saw.iter().enumerate() {
        assert_eq!(saw.unexcused, Vec::<String>::new());
        assert!(saw.acked.len() > 20, "writer {writer} wrote {}", saw.acked.len());
    }
    for node in cluster.iter() {
        let mut client = node.client();
        for key in saw.iter().flat_map(|saw| &saw.acked) {
            let read = client.request("GET", key, &[], b"");
            assert_eq!((read.status, read.text()), (200, key.as_str()));
        }
    }
}
