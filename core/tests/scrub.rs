//! A damaged row is unknown, never absent; and what others still know mends it.

mod common;

use std::time::Duration;

use common::{Cluster, key_of};
use godown_core::causal::Context;
use godown_core::id::NodeId;
use godown_core::key::Partition;
use godown_core::message::Message;
use godown_core::node::Node;
use godown_core::stored;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
/// Damaged keys that are remembered.
const KEYS_MAX: usize = 1_000;

fn cluster(count: u64) -> Cluster {
    Cluster::new(count, |_| {})
}

/// Flips a bit of the row of `key`.
fn damage(cluster: &mut Cluster, id: NodeId, key: &str) {
    let table = &mut cluster.machines.get_mut(&id).expect("a member").table;
    let row = table.get_mut(&stored::object_key(Partition(0), &key_of(key))).expect("a row");
    let mut bytes = row.to_vec();
    *bytes.last_mut().expect("bytes") ^= 1;
    *row = bytes.into();
}

fn node(cluster: &Cluster, id: NodeId) -> &Node {
    cluster.machines[&id].node.as_ref().expect("it runs")
}

fn mended(cluster: &Cluster, id: NodeId) -> u64 {
    node(cluster, id).stats().mended
}

fn cut(cluster: &mut Cluster, one: NodeId, other: NodeId) {
    cluster.cut.extend([(one, other), (other, one)]);
}

fn notes(cluster: &Cluster, words: &str) -> usize {
    cluster.told.iter().filter(|line| line.contains(words)).count()
}

#[test]
fn a_damaged_row_is_mended_with_what_the_others_hold() {
    let cluster = &mut cluster(3);
    cluster.put(N1, "a", Some("v"), Context::new());
    let before = cluster.object(N2, "a");
    damage(cluster, N2, "a");
    let id = cluster.get(N2, "a");
    assert!(common::reply_words(&cluster.replies[&id]).starts_with("got [\"v\"]"));
    assert_eq!((cluster.object(N2, "a"), mended(cluster, N2)), (before, 1));
    assert_eq!(notes(cluster, "n2 notes: Mended"), 1);
}

#[test]
fn a_key_that_was_deleted_meanwhile_is_mended_to_nothing() {
    let cluster = &mut cluster(3);
    cluster.put(N1, "a", Some("v"), Context::new());
    cut(cluster, N1, N2);
    let mut seen = Context::new();
    seen.join(&cluster.object(N1, "a").context);
    cluster.object(N1, "a").dots().for_each(|dot| seen.insert(dot));
    cluster.put(N1, "a", None, seen);
    assert_eq!(cluster.values(N2, "a"), ["v"]);
    damage(cluster, N2, "a");
    cluster.cut.clear();
    cluster.get(N2, "a");
    assert_eq!((cluster.values(N2, "a").len(), mended(cluster, N2)), (0, 1));
}

#[test]
fn a_write_to_a_damaged_row_is_refused_until_it_is_mended() {
    let cluster = &mut cluster(3);
    cluster.put(N1, "a", Some("v"), Context::new());
    damage(cluster, N1, "a");
    cut(cluster, N1, N2);
    cut(cluster, N1, N3);
    cluster.put(N1, "a", Some("w"), Context::new());
    cluster.pass(Duration::from_secs(6));
    assert_eq!(mended(cluster, N1), 0);
    assert!(node(cluster, N1).unrest().is_some_and(|why| why.contains("is to be mended")));
    cluster.cut.clear();
    cluster.pass(Duration::from_secs(3600));
    assert_eq!((cluster.values(N1, "a"), mended(cluster, N1)), (vec!["v".to_owned()], 1));
    cluster.put(N1, "a", Some("w"), Context::new());
    assert_eq!(cluster.values(N1, "a"), ["v", "w"]);
}

#[test]
fn a_row_is_not_mended_by_those_who_have_not_seen_all_that_it_had() {
    let cluster = &mut cluster(3);
    cluster.put(N1, "a", Some("first"), Context::new());
    cut(cluster, N1, N3);
    cut(cluster, N2, N3);
    cluster.put(N1, "a", Some("second"), Context::new());
    damage(cluster, N1, "a");
    // n3, which has not seen the second write, is the only one to be asked; n2 has it.
    cluster.cut.clear();
    cut(cluster, N1, N2);
    cluster.get(N1, "a");
    assert_eq!(mended(cluster, N1), 0, "it was acknowledged with n2's disk, and n3 does not have it");
    cluster.cut.clear();
    cluster.pass(Duration::from_secs(3600));
    assert_eq!((cluster.values(N1, "a").len(), mended(cluster, N1)), (2, 1));
}

#[test]
fn one_who_has_seen_all_that_a_row_had_is_enough() {
    let cluster = &mut cluster(3);
    cluster.put(N1, "a", Some("v"), Context::new());
    cluster.crash(N3);
    damage(cluster, N1, "a");
    cluster.get(N1, "a");
    assert_eq!((cluster.values(N1, "a"), mended(cluster, N1)), (vec!["v".to_owned()], 1));
}

#[test]
fn a_row_that_is_damaged_on_two_nodes_is_mended_by_the_third() {
    let cluster = &mut cluster(3);
    cluster.put(N1, "a", Some("v"), Context::new());
    damage(cluster, N1, "a");
    damage(cluster, N2, "a");
    cluster.get(N3, "a");
    assert_eq!((mended(cluster, N1), mended(cluster, N2)), (1, 1));
    assert_eq!((cluster.values(N1, "a"), cluster.values(N2, "a")), (vec!["v".into()], vec!["v".into()]));
}

#[test]
fn rows_that_are_damaged_on_two_nodes_do_not_wait_for_each_other() {
    let cluster = &mut cluster(3);
    cluster.put(N3, "a", Some("first"), Context::new());
    cut(cluster, N1, N3);
    cut(cluster, N2, N3);
    cluster.put(N1, "a", Some("second"), Context::new());
    damage(cluster, N1, "a");
    damage(cluster, N2, "a");
    cluster.get(N1, "a");
    cluster.get(N2, "a");
    cluster.pass(Duration::from_secs(3600));
    assert_eq!((mended(cluster, N1), mended(cluster, N2)), (0, 0), "n3 might have it");
    cluster.cut.clear();
    cluster.pass(Duration::from_secs(4 * 3600));
    assert_eq!((mended(cluster, N1), mended(cluster, N2)), (1, 1));
    for node in [N1, N2, N3] {
        assert_eq!(cluster.values(node, "a"), ["first"], "both disks that had the second have lost it");
    }
}

#[test]
fn what_nobody_else_has_is_given_up_when_all_others_have_answered() {
    let cluster = &mut cluster(3);
    cut(cluster, N1, N2);
    cut(cluster, N1, N3);
    cluster.put(N1, "a", Some("v"), Context::new());
    cluster.pass(Duration::from_secs(6));
    damage(cluster, N1, "a");
    cluster.cut.clear();
    cut(cluster, N1, N2);
    cluster.get(N1, "a");
    assert_eq!(mended(cluster, N1), 0, "n2 might have it");
    cluster.cut.clear();
    cluster.pass(Duration::from_secs(3600));
    assert_eq!((cluster.values(N1, "a").len(), mended(cluster, N1)), (0, 1));
}

#[test]
fn what_was_given_up_stays_gone_although_it_reaches_another_node_late() {
    let cluster = &mut cluster(3);
    cut(cluster, N1, N2);
    cut(cluster, N1, N3);
    cluster.put(N1, "a", Some("v"), Context::new());
    let is_store =
        |(_, to, message): &&(NodeId, NodeId, Message)| *to == N3 && matches!(message, Message::Store { .. });
    let late = cluster.sent.iter().find(is_store).expect("n1 has sent it to n3").2.clone();
    cluster.pass(Duration::from_secs(6));
    damage(cluster, N1, "a");
    cluster.cut.clear();
    cluster.get(N1, "a");
    assert_eq!(mended(cluster, N1), 1);
    cluster.peer(N3, N1, late);
    assert_eq!(cluster.values(N3, "a"), ["v"], "nothing has told n3 yet");
    cluster.pass(Duration::from_secs(24 * 3600));
    for node in [N1, N2, N3] {
        assert_eq!(cluster.values(node, "a"), Vec::<String>::new(), "{node}");
    }
    assert!(cluster.nodes().all(Node::is_quiet));
}

#[test]
fn a_write_that_is_still_under_way_when_the_others_are_asked_is_not_given_up() {
    let cluster = &mut cluster(3);
    cluster.put(N1, "a", Some("first"), Context::new());
    // 1. n1 has its write on disk and has sent it; the network takes its time.
    cut(cluster, N1, N2);
    cut(cluster, N1, N3);
    let call = cluster.put(N1, "a", Some("second"), Context::new());
    let is_store =
        |(_, to, message): &&(NodeId, NodeId, Message)| *to == N2 && matches!(message, Message::Store { .. });
    let late = cluster.sent.iter().rfind(is_store).expect("n1 has sent it to n2").2.clone();
    // 2. n1 loses the row and asks the others what they have of it. Both say: nothing but the first write.
    damage(cluster, N1, "a");
    cluster.cut.clear();
    cluster.get(N1, "a");
    let gives =
        |(_, to, message): &&(NodeId, NodeId, Message)| *to == N1 && matches!(message, Message::Give { .. });
    assert_eq!(cluster.sent.iter().filter(gives).count(), 2);
    assert_eq!(mended(cluster, N1), 0, "two disks may soon have it");
    // 3. The message arrives, and with n2's disk the write is acknowledged.
    cluster.peer(N2, N1, late);
    assert!(common::reply_words(&cluster.replies[&call]).starts_with("stored"));
    cluster.pass(Duration::from_secs(24 * 3600));
    for node in [N1, N2, N3] {
        assert_eq!(cluster.values(node, "a"), ["first", "second"], "{node}");
    }
    assert_eq!(mended(cluster, N1), 1);
}

#[test]
fn a_damaged_row_and_a_lost_disk_do_not_wait_for_each_other() {
    let cluster = &mut cluster(2);
    cluster.put(N1, "a", Some("v"), Context::new());
    cluster.put(N1, "b", Some("v"), Context::new());
    damage(cluster, N1, "a");
    cluster.crash(N2);
    cluster.wipe(N2);
    cluster.start(N2);
    cluster.pass(Duration::from_secs(4 * 3600));
    assert!(node(cluster, N2).is_ready(), "one key that nobody has any more must not keep all others away");
    assert_eq!((cluster.values(N1, "a").len(), cluster.values(N2, "b").len()), (0, 1));
}

#[test]
fn a_row_that_nobody_else_holds_stays_refused_and_is_told_of_once() {
    let cluster = &mut Cluster::new(1, |settings| (settings.r, settings.w) = (1, 1));
    cluster.put(N1, "a", Some("v"), Context::new());
    damage(cluster, N1, "a");
    for _ in 0..3 {
        let id = cluster.get(N1, "a");
        assert!(common::reply_words(&cluster.replies[&id]).contains("damaged"));
        cluster.pass(Duration::from_secs(3600));
    }
    assert_eq!(notes(cluster, "n1 notes: Unmendable"), 1);
    assert!(node(cluster, N1).is_quiet(), "there is nothing that it could do");
}

#[test]
fn the_pass_after_a_restart_finds_damaged_rows_and_so_does_a_listing() {
    for lists in [false, true] {
        let cluster = &mut cluster(3);
        cluster.put(N1, "a", Some("v"), Context::new());
        damage(cluster, N3, "a");
        if lists {
            let wish = godown_core::input::Wish::default();
            cluster.call(N3, godown_core::input::Call::List { after: None, limit: 10, wish });
        } else {
            cluster.crash(N3);
            cluster.start(N3);
            cluster.pass(Duration::from_secs(3600));
        }
        assert_eq!((cluster.values(N3, "a"), mended(cluster, N3)), (vec!["v".into()], 1));
    }
}

#[test]
fn no_more_damaged_keys_are_remembered_than_the_limit_and_the_rest_is_found_again() {
    let cluster = &mut Cluster::new(3, |settings| settings.scrub_every = Duration::ZERO);
    let keys: Vec<String> = (0..KEYS_MAX + 1).map(|n| format!("k{n:04}")).collect();
    for key in &keys {
        cluster.put(N1, key, Some("v"), Context::new());
    }
    for key in &keys {
        damage(cluster, N3, key);
    }
    cut(cluster, N1, N3);
    cut(cluster, N2, N3);
    for key in &keys {
        cluster.get(N3, key);
        cluster.pass(Duration::from_secs(6));
    }
    let why = node(cluster, N3).unrest().expect("there is much to mend");
    assert!(why.ends_with(&format!("and {} others", KEYS_MAX - 1)), "{why}");
    cluster.cut.clear();
    for _ in 0..200 {
        cluster.pass(Duration::from_secs(3600));
    }
    assert_eq!(mended(cluster, N3), KEYS_MAX as u64);
    cluster.get(N3, keys.last().expect("a key"));
    assert_eq!(mended(cluster, N3), KEYS_MAX as u64 + 1);
}

#[test]
fn a_mend_that_the_disk_refuses_is_tried_again() {
    let cluster = &mut cluster(3);
    cluster.put(N1, "a", Some("v"), Context::new());
    damage(cluster, N1, "a");
    cluster.hold(N1);
    cluster.get(N1, "a");
    cluster.fail(N1);
    assert_eq!(mended(cluster, N1), 0);
    cluster.pass(Duration::from_secs(3600));
    assert_eq!((cluster.values(N1, "a"), mended(cluster, N1)), (vec!["v".into()], 1));
}

#[test]
fn a_late_or_doubled_answer_mends_nothing() {
    let cluster = &mut cluster(3);
    cluster.put(N1, "a", Some("v"), Context::new());
    damage(cluster, N1, "a");
    cluster.get(N1, "a");
    let given = |(_, to, message): &(NodeId, NodeId, Message)| {
        (*to == N1 && matches!(message, Message::Give { .. })).then(|| message.clone())
    };
    let given: Vec<Message> = cluster.sent.iter().filter_map(given).collect();
    assert_eq!(given.len(), 2);
    for message in given {
        cluster.peer(N1, N2, message);
    }
    assert_eq!(mended(cluster, N1), 1);
}

/// One node that does nothing but verify what it has.
fn verifier(partitions: u32, every: Duration) -> Cluster {
    Cluster::new(3, |settings| {
        settings.partitions = partitions;
        settings.scrub_every = every;
        settings.expire_every = Duration::from_secs(1 << 30);
    })
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_damaged_row_that_nobody_reads_is_found_by_the_slow_pass() {
    let cluster = &mut verifier(1, DAY);
    cluster.put(N1, "a", Some("v"), Context::new());
    damage(cluster, N3, "a");
    cluster.pass(DAY + DAY);
    assert_eq!((cluster.values(N3, "a"), mended(cluster, N3)), (vec!["v".into()], 1));
    assert_eq!(node(cluster, N3).stats().scrub_damaged, 1);
}

#[test]
fn every_row_is_verified_once_in_each_interval() {
    let cluster = &mut verifier(1, DAY);
    for n in 0..600 {
        cluster.put(N1, &format!("k{n}"), Some("v"), Context::new());
    }
    let verified = |cluster: &Cluster| node(cluster, N1).stats().scrubbed;
    while verified(cluster) < 600 {
        cluster.next_tick();
    }
    for pass in 2..=4 {
        cluster.pass(DAY);
        assert_eq!(verified(cluster), pass * 600);
    }
}

#[test]
fn a_pass_takes_most_of_its_interval() {
    let cluster = &mut verifier(16, DAY);
    for n in 0..1_200 {
        cluster.put(N1, &format!("k{n}"), Some("v"), Context::new());
    }
    let verified = |cluster: &Cluster| node(cluster, N1).stats().scrubbed;
    while verified(cluster) == 0 {
        cluster.next_tick();
    }
    cluster.pass(DAY / 4);
    assert!((300..900).contains(&verified(cluster)), "after a third of the pass: {}", verified(cluster));
    cluster.pass(DAY / 2);
    assert_eq!(verified(cluster), 1_200);
}

#[test]
fn an_interval_of_zero_means_never() {
    let cluster = &mut verifier(1, Duration::ZERO);
    cluster.put(N1, "a", Some("v"), Context::new());
    cluster.pass(10 * DAY);
    assert_eq!(node(cluster, N1).stats().scrubbed, 0);
}
