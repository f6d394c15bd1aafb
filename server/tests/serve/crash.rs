//! What was acknowledged survives: kill -9, restarts, lost stores.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::client::Client;
use crate::cluster::{Cluster, copy_folder, wait_until};

/// Writes keys of its own through one node until that stops answering. Gives the number that were acknowledged: all
/// up to it were.
fn write_until_refused(client: &mut Client, prefix: &str, acked: &AtomicUsize) -> usize {
    for n in 0.. {
        let (key, value) = (format!("/mec/{prefix}-{n}"), format!("{prefix}-{n}"));
        match client.try_request("PUT", &key, &[], value.as_bytes()) {
            Ok(response) if response.status == 200 => acked.fetch_add(1, Ordering::Relaxed),
            _ => return n,
        };
    }
    unreachable!("the numbers do not end")
}

#[test]
fn kill_9_during_writes_loses_nothing_acknowledged_on_a_single_node() {
    let mut cluster = Cluster::ready(1, "");
    for round in 0..3 {
        let acked = AtomicUsize::new(0);
        let node = &mut cluster[0];
        let counts: Vec<usize> = thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let (mut client, acked) = (node.client(), &acked);
                    let prefix = format!("r{round}w{writer}");
                    scope.spawn(move || write_until_refused(&mut client, &prefix, acked))
                })
                .collect();
            wait_until("some writes are acknowledged", || acked.load(Ordering::Relaxed) > 200);
            node.kill();
            writers.into_iter().map(|writer| writer.join().expect("it ended")).collect()
        });
        assert_eq!(counts.iter().sum::<usize>(), acked.load(Ordering::Relaxed));
        node.start_and_wait();
        let mut client = node.client();
        for (writer, count) in counts.into_iter().enumerate() {
            for n in 0..count {
                let read = client.request("GET", &format!("/mec/r{round}w{writer}-{n}"), &[], b"");
                assert_eq!(read.status, 200, "write {n} of {count}");
                assert_eq!(read.text(), format!("r{round}w{writer}-{n}"));
            }
        }
    }
}

#[test]
fn kill_9_of_one_of_three_nodes_loses_nothing_acknowledged_and_it_catches_up() {
    let mut cluster = Cluster::ready(3, "");
    let acked = AtomicUsize::new(0);
    let mut clients: Vec<Client> = cluster.iter().map(|node| node.client()).collect();
    let counts: Vec<usize> = thread::scope(|scope| {
        let writers: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(node, client)| {
                let acked = &acked;
                scope.spawn(move || {
                    // The writers through the two that live end by themselves.
                    let limit = if node == 0 { usize::MAX } else { 150 };
                    for n in 0..limit {
                        let key = format!("/mec/n{node}-{n}?timeout=10000");
                        match client.try_request("PUT", &key, &[], b"value") {
                            Ok(response) if response.status == 200 => acked.fetch_add(1, Ordering::Relaxed),
                            Ok(response) if node > 0 => panic!("{}: {}", response.status, response.text()),
                            _ => return n,
                        };
                    }
                    limit
                })
            })
            .collect();
        wait_until("some writes are acknowledged", || acked.load(Ordering::Relaxed) > 60);
        cluster[0].kill();
        writers.into_iter().map(|writer| writer.join().expect("it ended")).collect()
    });
    assert!(counts[0] > 0 && counts[1] == 150 && counts[2] == 150, "{counts:?}");
    cluster[0].start_and_wait();
    wait_until("all are connected", || cluster.iter().all(|node| node.stat("/network/peers_connected") == 2));
    for reader in 0..3 {
        let mut client = cluster[reader].client();
        for (node, &count) in counts.iter().enumerate() {
            for n in 0..count {
                let read = client.request("GET", &format!("/mec/n{node}-{n}"), &[], b"");
                assert_eq!((read.status, read.values()), (200, vec![b"value".to_vec()]), "n{node}-{n}");
            }
        }
    }
}

#[test]
fn a_restart_keeps_the_data_and_its_clocks() {
    let mut cluster = Cluster::ready(1, "");
    let clock = cluster[0].put("/mec/k", b"value");
    cluster[0].put("/mec/gone", b"value");
    assert_eq!(cluster[0].request("DELETE", "/mec/gone", &[], b"").status, 204);
    cluster[0].stop();
    cluster[0].start_and_wait();
    let read = cluster[0].get("/mec/k");
    assert_eq!((read.text(), read.clock()), ("value", clock.as_str()));
    assert_eq!(cluster[0].get("/mec/gone").status, 404);
    assert_eq!(cluster[0].request("PUT", "/mec/k", &[("X-Mec-Vclock", &clock)], b"next").status, 200);
    assert_eq!(cluster[0].get("/mec/k").values(), [b"next".to_vec()], "the clock still replaces what it saw");
}

/// Stops the other two nodes and asks the third for every key by itself.
fn assert_holds_alone(cluster: &mut Cluster, keys: usize) {
    cluster[0].kill();
    cluster[1].kill();
    let mut client = cluster[2].client();
    for n in 0..keys {
        let read = client.request("GET", &format!("/mec/k-{n}?r=1"), &[], b"");
        assert_eq!((read.status, read.text()), (200, format!("v-{n}").as_str()), "k-{n}");
    }
}

#[test]
fn a_node_whose_store_is_gone_is_refilled_by_its_peers() {
    let mut cluster = Cluster::ready(3, "sync_every_ms = 100");
    for n in 0..50 {
        cluster[0].put(&format!("/mec/k-{n}?w=3"), format!("v-{n}").as_bytes());
    }
    cluster[2].kill();
    fs::remove_dir_all(cluster[2].folder.join("store")).expect("removed");
    cluster[2].start_and_wait();
    assert!(cluster[2].log().contains("starting over an empty store"), "{}", cluster[2].log());
    assert_holds_alone(&mut cluster, 50);
}

#[test]
fn a_store_that_was_rolled_back_is_set_aside_and_refilled() {
    let mut cluster = Cluster::ready(3, "sync_every_ms = 100");
    for n in 0..25 {
        cluster[0].put(&format!("/mec/k-{n}?w=3"), format!("v-{n}").as_bytes());
    }
    cluster[2].stop();
    let store = cluster[2].folder.join("store");
    let earlier = cluster[2].folder.join("earlier");
    copy_folder(&store, &earlier);
    cluster[2].start_and_wait();
    wait_until("all are connected", || cluster.iter().all(|node| node.stat("/network/peers_connected") == 2));
    for n in 25..50 {
        cluster[0].put(&format!("/mec/k-{n}?w=3"), format!("v-{n}").as_bytes());
    }
    cluster[2].stop();
    fs::remove_dir_all(&store).expect("removed");
    fs::rename(&earlier, &store).expect("renamed");
    cluster[2].start_and_wait();
    let log = cluster[2].log();
    assert!(log.contains("were durable once") && log.contains("store.set-aside-1"), "{log}");
    assert!(cluster[2].folder.join("store.set-aside-1").exists(), "it is kept");
    assert_holds_alone(&mut cluster, 50);
}

#[test]
fn a_damaged_store_of_a_single_node_is_an_error_and_stays_as_it_is() {
    let mut cluster = Cluster::ready(1, "");
    cluster[0].put("/mec/k", b"value");
    cluster[0].stop();
    fs::remove_file(cluster[0].folder.join("mark")).expect("removed");
    let config = cluster[0].folder.with_extension("toml");
    let (status, _, stderr) = crate::cluster::godown(&["serve", "--config", config.to_str().expect("text")]);
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("No other node holds copies"), "{stderr}");
    assert!(cluster[0].folder.join("store").exists());
}

#[test]
fn a_full_disk_refuses_writes_and_goes_on_reading() {
    let mut cluster = Cluster::ready(1, "");
    cluster[0].put("/mec/k", b"value");
    cluster[0].stop();
    let config = cluster[0].folder.with_extension("toml");
    // More than any disk has: from now on it counts as full.
    let text = cluster[0].configure("disk_reserve_mb = 1000000000000");
    cluster[0].start_and_wait();
    assert_eq!(cluster[0].get("/mec/k").text(), "value");
    let refused = cluster[0].request("PUT", "/mec/k?timeout=500", &[], b"new");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(cluster[0].stat("/store/writes_refused") > 0);
    assert!(cluster[0].log().contains("the disk is full"), "{}", cluster[0].log());
    assert_eq!(cluster[0].get("/mec/k").text(), "value");
    cluster[0].stop();
    fs::write(&config, text).expect("written");
    cluster[0].start_and_wait();
    assert_eq!(cluster[0].get("/mec/k").values(), [b"value".to_vec()], "what was refused did not land");
    cluster[0].put("/mec/k", b"new");
}
