//! What a node may claim about data that it lost, never had, or was put back to an earlier state of.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, key_of};
use godown_core::causal::{Clock, Context, Dot};
use godown_core::config::Settings;
use godown_core::hlc::Hlc;
use godown_core::id::{Life, NodeId, OpId};
use godown_core::key::Partition;
use godown_core::kind::{Object, Sibling};
use godown_core::message::{Given, GivenObject, Message, Page, Probed};
use godown_core::node::Node;
use godown_core::stored;

const N1: NodeId = NodeId(1);
const N3: NodeId = NodeId(3);
/// A life whose writes n3 has lost.
const AUTHOR: Life = Life(99);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn clock(up_to: u64) -> Clock {
    let mut context = Context::new();
    context.raise(AUTHOR, up_to);
    Clock::from_context(context)
}

fn object(n: u64) -> Object {
    let sibling = Sibling { value: "v".into(), content_type: Bytes::new(), at: Hlc(1), expires: 0 };
    let mut seen = Context::new();
    seen.raise(AUTHOR, 3);
    Object::delta(seen, Dot { actor: AUTHOR, n }, Some(sibling))
}

/// n3 after its disk was lost, cut off from everybody; the test answers it in n1's name.
struct Orphan(Cluster);

impl Orphan {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut cluster = Cluster::new(3, |settings| {
            settings.limits.sync_objects = 1;
            change(settings);
        });
        cluster.crash(N3);
        cluster.wipe(N3);
        // It is told at once which cluster it belongs to, and nothing more.
        cluster.start(N3);
        for other in [N1, NodeId(2)] {
            cluster.cut.extend([(N3, other), (other, N3)]);
        }
        Self(cluster)
    }

    /// The request that n3 has sent to n1 last.
    fn last_op(&self) -> OpId {
        let request = |(from, to, message): &(NodeId, NodeId, Message)| match message {
            Message::Probe { op, .. } | Message::Ask { op, .. } | Message::Pull { op, .. } => {
                (*from == N3 && *to == N1).then_some(*op)
            }
            _ => None,
        };
        self.0.sent.iter().rev().find_map(request).expect("n3 has asked n1 for something")
    }

    fn answer(&mut self, message: impl FnOnce(OpId) -> Message) {
        let op = self.last_op();
        self.0.peer(N3, N1, message(op));
    }

    /// Passes the time until n3 probes n1 anew.
    fn await_probe(&mut self) {
        self.0.sent.clear();
        let probes = |(from, to, message): &(NodeId, NodeId, Message)| {
            (*from, *to) == (N3, N1) && matches!(message, Message::Probe { .. })
        };
        while !self.0.sent.iter().any(probes) {
            self.0.next_tick();
        }
    }

    /// Brings n3 to pull the whole partition from n1, and answers the first of two pages.
    fn pull_first_page(&mut self) {
        self.pull_page_of(clock(3));
    }

    fn pull_page_of(&mut self, clock: Clock) {
        self.await_probe();
        self.answer(|op| Message::Probed { op, outcome: Probed::Differ { digests: vec![1] } });
        let partition = Partition(0);
        let (complete, reaches, more, objects) = (true, false, false, Vec::new());
        let given = Given { partition, clock: clock.clone(), complete, reaches, more, objects };
        self.answer(|op| Message::Give { op, given });
        self.page(clock, &["a"], Some("a"));
    }

    fn page(&mut self, clock: Clock, keys: &[&str], end: Option<&str>) {
        let objects: BTreeMap<_, _> = keys.iter().map(|key| (key_of(key), object(2))).collect();
        let page = Page { clock, complete: true, objects, same: Vec::new(), end: end.map(key_of) };
        self.answer(|op| Message::Page { op, outcome: Ok(page) });
    }

    fn node(&self) -> &Node {
        self.0.machines[&N3].node.as_ref().expect("n3 runs")
    }

    fn claims(&self) -> u64 {
        self.node().clock(Partition(0)).expect("n3 holds it").as_context().base(AUTHOR)
    }
}

#[test]
fn after_all_pages_the_givers_clock_is_taken_over() {
    let mut orphan = Orphan::new();
    orphan.pull_first_page();
    assert_eq!(orphan.claims(), 0, "not before the last page");
    orphan.page(clock(3), &["b"], None);
    assert_eq!(orphan.claims(), 3);
    assert_eq!((orphan.0.values(N3, "a").len(), orphan.0.values(N3, "b").len()), (1, 1));
}

#[test]
fn a_giver_that_loses_its_data_between_two_pages_passes_nothing_off_as_deleted() {
    let mut orphan = Orphan::new();
    orphan.pull_first_page();
    orphan.page(Clock::new(), &[], None);
    assert_eq!(orphan.claims(), 0);
    assert!(!orphan.node().is_ready());
}

#[test]
fn a_delta_that_lands_during_a_pull_is_not_claimed_with_it() {
    let mut orphan = Orphan::new();
    orphan.pull_first_page();
    // The giver has seen this value and its removal, both before the first page; neither is in any page.
    let dot = Dot { actor: AUTHOR, n: 1 };
    let sibling = Sibling { value: "removed".into(), content_type: Bytes::new(), at: Hlc(1), expires: 0 };
    let delta = Object::delta(Context::new(), dot, Some(sibling));
    let op = OpId { origin: Life(55), n: 1 };
    orphan.0.peer(N3, N1, Message::Store { op, key: key_of("0"), dot, delta });
    orphan.page(clock(3), &["b"], None);
    assert_eq!(orphan.claims(), 1, "only what landed by itself");
}

#[test]
fn a_store_that_was_put_back_answers_no_read_until_it_has_caught_up() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.put(N3, "a", Some("old"), Context::new());
    let backup = cluster.machines[&N3].table.clone();
    for key in ["b", "c", "d"] {
        cluster.put(N3, key, Some("new"), Context::new());
    }
    cluster.pass(DAY);
    cluster.crash(N3);
    cluster.machines.get_mut(&N3).expect("a member").table = backup;
    cluster.start(N3);
    cluster.told.clear();
    cluster.pass(DAY);
    let at = |words: &str| cluster.told.iter().position(|line| line.contains(words));
    let (back, caught_up) = (at("n3 notes: WentBack"), at("n3 notes: CaughtUp"));
    assert!(back.is_some() && back < caught_up, "{:?}", cluster.told);
    for key in ["b", "c", "d"] {
        assert_eq!(cluster.values(N3, key), ["new"]);
    }
    assert_eq!(cluster.values(N3, "a"), ["old"]);
}

#[test]
fn gaps_that_a_life_left_are_closed_and_hold_up_nothing() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.hold(N1);
    cluster.put(N1, "a", Some("refused"), Context::new());
    cluster.fail(N1);
    // A number above the gap lands, and the node ends before it could put the gap on record.
    cluster.put(N1, "a", Some("kept"), Context::new());
    cluster.crash(N1);
    cluster.start(N1);
    cluster.pass(DAY);
    for (node, machine) in &cluster.machines {
        let node_is_quiet = machine.node.as_ref().is_some_and(Node::is_quiet);
        assert!(node_is_quiet, "{node} keeps log rows or contexts that nothing will ever take away");
        assert_eq!(
            cluster.values(*node, "a"),
            ["kept", "refused"],
            "the refused one went to another coordinator"
        );
    }
}

#[test]
fn a_partition_without_other_replicas_drops_its_log_too() {
    let mut cluster = Cluster::new(1, |_| {});
    cluster.put(N1, "a", Some("v"), Context::new());
    assert!(!cluster.nodes().all(Node::is_quiet), "a log row is there");
    cluster.pass(DAY);
    assert!(cluster.nodes().all(Node::is_quiet));
}

impl Orphan {
    /// A delta of something that the giver has seen, and seen removed, before the first page; no page names it.
    fn delta_of_what_was_removed(&mut self) {
        let dot = Dot { actor: AUTHOR, n: 1 };
        let sibling = Sibling { value: "removed".into(), content_type: Bytes::new(), at: Hlc(1), expires: 0 };
        let delta = Object::delta(Context::new(), dot, Some(sibling));
        let op = OpId { origin: Life(55), n: 1 };
        self.0.peer(N3, N1, Message::Store { op, key: key_of("0"), dot, delta });
    }

    fn delete(&mut self, key: &str, dot: Dot) {
        let (delta, op) = (Object::delta(Context::new(), dot, None), OpId { origin: Life(55), n: 1 });
        self.0.peer(N3, N1, Message::Store { op, key: key_of(key), dot, delta });
    }

    fn told(&self, words: &str) -> bool {
        self.0.told.iter().any(|line| line.contains(words))
    }
}

#[test]
fn a_delta_under_way_while_a_pull_ends_is_not_claimed_with_it() {
    let mut orphan = Orphan::new();
    orphan.pull_first_page();
    // The last page's object waits for the disk, and behind it the delta.
    orphan.0.hold(N3);
    orphan.page(clock(3), &["b"], None);
    orphan.delta_of_what_was_removed();
    orphan.0.release(N3);
    orphan.0.pass(Duration::from_millis(10));
    assert_eq!((orphan.claims(), orphan.0.values(N3, "0")), (1, vec!["removed".to_string()]));
}

#[test]
fn a_delta_that_comes_while_the_takeover_is_written_is_refused() {
    let mut orphan = Orphan::new();
    orphan.pull_first_page();
    orphan.0.hold(N3);
    orphan.page(clock(3), &[], None);
    orphan.delta_of_what_was_removed();
    assert!(orphan.told("not stored: the replica is still catching up"), "{:?}", orphan.0.told);
    orphan.0.release(N3);
    orphan.0.pass(Duration::from_millis(10));
    assert_eq!((orphan.claims(), orphan.0.values(N3, "0")), (3, Vec::<String>::new()));
    // Once the take-over is on disk it is known that the delta has been here and gone.
    orphan.delta_of_what_was_removed();
    assert!(orphan.told("n3 -x n1: stored"), "{:?}", orphan.0.told);
    assert_eq!(orphan.0.values(N3, "0"), Vec::<String>::new());
}

#[test]
fn a_delta_that_was_refused_during_a_takeover_that_failed_is_taken_afterwards() {
    let mut orphan = Orphan::new();
    orphan.pull_first_page();
    orphan.0.hold(N3);
    orphan.page(clock(3), &[], None);
    orphan.0.fail(N3);
    orphan.delta_of_what_was_removed();
    assert_eq!((orphan.claims(), orphan.0.values(N3, "0")), (1, vec!["removed".to_string()]));
}

#[test]
fn a_pull_claims_nothing_beyond_the_givers_gaps_and_asks_for_it() {
    let mut orphan = Orphan::new();
    // The giver's gap is filled after its clock was taken and before its keys are read: the value under dot 3 and its
    // removal under dot 4 leave no row then, and the clock still has them as single dots.
    let gapped = Clock::from_context([1, 3, 4].map(|n| Dot { actor: AUTHOR, n }).into_iter().collect());
    let dot = Dot { actor: AUTHOR, n: 3 };
    let sibling = Sibling { value: "removed".into(), content_type: Bytes::new(), at: Hlc(1), expires: 0 };
    let delta = Object::delta(Context::new(), dot, Some(sibling));
    let op = OpId { origin: Life(55), n: 1 };
    orphan.0.peer(N3, N1, Message::Store { op, key: key_of("0"), dot, delta });
    orphan.pull_page_of(gapped.clone());
    orphan.page(gapped, &[], None);
    assert_eq!(orphan.claims(), 1);
    assert!(!orphan.node().clock(Partition(0)).expect("held").has(Dot { actor: AUTHOR, n: 4 }));
    assert!(!orphan.node().is_ready(), "what lies beyond the gap is still to come");
    let asked = orphan.0.sent.iter().rev().find(|(from, to, _)| (*from, *to) == (N3, N1));
    assert!(matches!(asked, Some((_, _, Message::Ask { .. }))), "{asked:?}");
}

#[test]
fn a_partition_is_pulled_from_one_peer_at_a_time() {
    const N2: NodeId = NodeId(2);
    // Nothing that n3 asks is given up before both peers have been asked.
    let mut orphan = Orphan::with(|settings| {
        settings.timeout = Duration::from_secs(3600);
        settings.timeout_max = settings.timeout;
    });
    orphan.pull_first_page();
    let op_to_n2 = |orphan: &Orphan| {
        let life = orphan.node().life();
        orphan.0.sent.iter().rev().find_map(|(from, to, message)| match message {
            Message::Probe { op, .. } | Message::Ask { op, .. } if (*from, *to) == (N3, N2) => {
                (op.origin == life).then_some(*op)
            }
            _ => None,
        })
    };
    while op_to_n2(&orphan).is_none() {
        orphan.0.next_tick();
    }
    let op = op_to_n2(&orphan).expect("n3 has probed n2");
    orphan.0.peer(N3, N2, Message::Probed { op, outcome: Probed::Differ { digests: vec![1] } });
    let op = op_to_n2(&orphan).expect("n3 has asked n2");
    let (partition, complete, reaches, more) = (Partition(0), true, false, false);
    let given = Given { partition, clock: clock(2), complete, reaches, more, objects: Vec::new() };
    orphan.0.peer(N3, N2, Message::Give { op, given });
    // A page of n2's would bring values without claiming their dots: nothing could tell that n1 saw them removed.
    assert!(!orphan.told("n3 -x n2: pull"), "{:?}", orphan.0.told);
    orphan.page(clock(3), &["b"], None);
    assert_eq!(orphan.claims(), 3);
}

#[test]
fn a_late_page_for_an_earlier_life_fences_nobody() {
    let mut orphan = Orphan::new();
    orphan.pull_first_page();
    // It has the number of the present request, and is of another partition, of which this life has minted more.
    let OpId { n, .. } = orphan.last_op();
    let mut context = Context::new();
    context.raise(orphan.node().life(), 9);
    let clock = Clock::from_context(context);
    let page = Page { clock, complete: true, objects: BTreeMap::new(), same: Vec::new(), end: None };
    let late = OpId { origin: Life(3 << 112), n };
    orphan.0.peer(N3, N1, Message::Page { op: late, outcome: Ok(page.clone()) });
    assert!(!orphan.node().is_fenced());
    orphan.answer(|op| Message::Page { op, outcome: Ok(page) });
    assert!(orphan.node().is_fenced(), "the same in answer to the present request shows a double");
}

#[test]
fn a_peer_that_was_met_incomplete_counts_once_it_is_complete() {
    // n2 is down for good, and nothing is ever written. n1 alone is enough, as every write is on all three.
    let mut orphan = Orphan::with(|settings| settings.w = 3);
    for incomplete in [vec![Partition(0)], vec![]] {
        assert!(!orphan.node().is_ready());
        orphan.await_probe();
        orphan.answer(|op| Message::Probed { op, outcome: Probed::Equal { incomplete } });
    }
    assert!(orphan.node().is_ready());
}

#[test]
fn closing_the_gaps_of_ended_lives_writes_over_no_other_checkpoint() {
    let refused = |cluster: &mut Cluster, key: &str| {
        cluster.hold(N1);
        cluster.put(N1, key, Some("refused"), Context::new());
        cluster.fail(N1);
    };
    let mut cluster = Cluster::new(3, |_| {});
    refused(&mut cluster, "a");
    // A number above the gap lands, and the node ends before it could put the gap on record.
    cluster.put(N1, "a", Some("kept"), Context::new());
    cluster.crash(N1);
    cluster.hold(N1);
    cluster.start(N1);
    // The disk refuses to have the gap closed, and a write of the new life.
    cluster.fail(N1);
    refused(&mut cluster, "b");
    // A peer's question leads to a checkpoint; before that has landed the gap is to be closed once more.
    cluster.hold(N1);
    let op = OpId { origin: Life(55), n: 1 };
    cluster.peer(N1, NodeId(2), Message::Ask { op, partition: Partition(0), clock: Clock::new() });
    cluster.pass(Duration::from_secs(6));
    cluster.release(N1);
    let clock = |cluster: &Cluster| {
        let node = cluster.machines[&N1].node.as_ref().expect("n1 runs");
        node.clock(Partition(0)).expect("n1 holds it").clone()
    };
    let before = clock(&cluster);
    cluster.crash(N1);
    cluster.start(N1);
    assert_eq!(clock(&cluster), before, "the clock in memory was ahead of the one on disk");
}

/// n3 in its second life, ready and cut off from everybody; and its first life.
fn second_life() -> (Cluster, Life) {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.put(N3, "a", Some("v"), Context::new());
    let first = cluster.machines[&N3].node.as_ref().expect("n3 runs").life();
    cluster.crash(N3);
    for other in [N1, NodeId(2)] {
        cluster.cut.extend([(N3, other), (other, N3)]);
    }
    cluster.start(N3);
    assert!(is_ready(&cluster));
    (cluster, first)
}

fn is_ready(cluster: &Cluster) -> bool {
    cluster.machines[&N3].node.as_ref().expect("n3 runs").is_ready()
}

/// A peer of n3's says that it has seen `up_to` writes of `life`.
fn has_seen(cluster: &mut Cluster, peer: NodeId, life: Life, up_to: u64) {
    let mut context = Context::new();
    context.raise(life, up_to);
    let (op, clock) = (OpId { origin: Life(55), n: 1 }, Clock::from_context(context));
    cluster.peer(N3, peer, Message::Ask { op, partition: Partition(0), clock });
}

#[test]
fn that_a_store_was_put_back_outlives_a_crash() {
    let (mut cluster, first) = second_life();
    has_seen(&mut cluster, N1, first, 9);
    assert!(!is_ready(&cluster));
    cluster.crash(N3);
    cluster.start(N3);
    assert!(!is_ready(&cluster), "it would answer that what it lost was deleted");
}

#[test]
fn a_checkpoint_from_before_a_store_was_found_to_be_put_back_does_not_undo_that() {
    let (mut cluster, first) = second_life();
    cluster.hold(N3);
    // All have the first write: its log row is dropped, and the checkpoint with that still says "complete".
    has_seen(&mut cluster, N1, first, 1);
    has_seen(&mut cluster, NodeId(2), first, 1);
    assert!(cluster.machines[&N3].node.as_ref().expect("n3 runs").stats().log_dropped > 0);
    has_seen(&mut cluster, N1, first, 9);
    cluster.release(N3);
    assert!(!is_ready(&cluster));
    cluster.crash(N3);
    cluster.start(N3);
    assert!(!is_ready(&cluster));
}

#[test]
fn a_repair_that_brings_what_an_ended_life_wrote_shows_that_the_store_was_put_back() {
    let (mut cluster, first) = second_life();
    let sibling = Sibling { value: "lost".into(), content_type: Bytes::new(), at: Hlc(1), expires: 0 };
    let object = Object::delta(Context::new(), Dot { actor: first, n: 2 }, Some(sibling));
    cluster.peer(N3, N1, Message::Repair { key: key_of("b"), object });
    assert_eq!(cluster.values(N3, "b"), ["lost"]);
    assert!(!is_ready(&cluster), "what else was lost cannot be seen from the clocks any more");
    cluster.crash(N3);
    cluster.start(N3);
    assert!(!is_ready(&cluster));
}

#[test]
fn keys_that_cannot_be_stripped_hold_up_no_other_partitions() {
    let mut orphan = Orphan(Cluster::new(3, |settings| settings.partitions = 2));
    for other in [N1, NodeId(2)] {
        orphan.0.cut.extend([(N3, other), (other, N3)]);
    }
    // Deletes above a gap that stays, so that their keys cannot be stripped: more than one round visits in the first
    // partition, and more than are left to visit in the second when the first is through.
    let keys: Vec<String> = (100..600).map(|n| n.to_string()).collect();
    let held_by = |partition| {
        let is_held = move |key: &&String| Partition::of(&key_of(key), 2) == Partition(partition);
        keys.iter().filter(is_held).take(100)
    };
    for (partition, others) in [(0, Life(97)), (1, Life(98))] {
        for (key, n) in held_by(partition).zip(2..) {
            orphan.delete(key, Dot { actor: others, n });
        }
    }
    // The last key of the second partition can be stripped since a late delete has closed its gap.
    let last = keys.iter().rfind(|key| Partition::of(&key_of(key), 2) == Partition(1)).expect("half are");
    orphan.delete(last, Dot { actor: AUTHOR, n: 2 });
    orphan.delete(held_by(1).next().expect("half are"), Dot { actor: AUTHOR, n: 1 });
    let row = stored::object_key(Partition(1), &key_of(last));
    assert!(orphan.0.machines[&N3].table.contains_key(&row), "it remembers what the clock did not imply");
    for _ in 0..20 {
        orphan.await_probe();
        orphan.answer(|op| Message::Probed { op, outcome: Probed::Equal { incomplete: vec![] } });
    }
    assert!(!orphan.0.machines[&N3].table.contains_key(&row), "its turn never came");
}

#[test]
fn keys_beyond_those_that_may_be_remembered_are_stripped_all_the_same() {
    const REMEMBERED: usize = 10;
    let mut orphan = Orphan::with(|settings| {
        settings.partitions = 2;
        settings.limits.residual_keys = REMEMBERED;
    });
    // Deletes above a gap, each of which leaves a row that remembers it: three times what may be remembered, and just as
    // many as may be in the other partition.
    let keys: Vec<String> = (100..200).map(|n| n.to_string()).collect();
    let held_by = |partition, count| {
        let is_held = move |key: &&String| Partition::of(&key_of(key), 2) == Partition(partition);
        keys.iter().filter(is_held).take(count)
    };
    let count = [3 * REMEMBERED, REMEMBERED];
    for partition in [0, 1] {
        for (key, n) in held_by(partition, count[usize::from(partition)]).zip(2..) {
            orphan.delete(key, Dot { actor: AUTHOR, n });
        }
    }
    let rows = |orphan: &Orphan| {
        let objects = orphan.0.machines[&N3].table.keys().filter_map(stored::key_of);
        objects.fold([0, 0], |mut rows, (partition, _)| {
            rows[usize::from(partition.0)] += 1;
            rows
        })
    };
    let visit = |orphan: &mut Orphan| {
        orphan.await_probe();
        orphan.answer(|op| Message::Probed { op, outcome: Probed::Equal { incomplete: vec![] } });
    };
    assert_eq!(rows(&orphan), count);
    for _ in 0..3 {
        visit(&mut orphan);
    }
    assert_eq!(rows(&orphan), count, "nothing can be stripped while the gap is there");
    for partition in [0, 1] {
        orphan.delete(held_by(partition, 1).next().expect("half are"), Dot { actor: AUTHOR, n: 1 });
    }
    let mut left = Vec::new();
    while rows(&orphan) != [0, 0] && left.len() < 10 {
        visit(&mut orphan);
        left.push(rows(&orphan));
    }
    // Ten are remembered and stripped; then a pass finds ten more, and so on.
    assert_eq!(left, [[20, 0], [10, 0], [0, 0]]);
    let unrest = orphan.node().unrest_beside(|_| false).unwrap_or_default();
    assert!(!unrest.contains("stripped") && !unrest.contains("pass"), "{unrest}");
}

#[test]
fn a_row_that_is_mended_during_a_pull_is_not_claimed_with_it() {
    let mut orphan = Orphan::new();
    orphan.pull_first_page();
    assert_eq!(orphan.0.values(N3, "a").len(), 1);
    let row = stored::object_key(Partition(0), &key_of("a"));
    let table = &mut orphan.0.machines.get_mut(&N3).expect("n3").table;
    table.insert(row, Bytes::from_static(b"rotten"));
    orphan.0.get(N3, "a");
    let salvage = |(from, to, message): &(NodeId, NodeId, Message)| match message {
        Message::Salvage { op, .. } if *from == N3 => Some((*to, *op)),
        _ => None,
    };
    let asked: Vec<(NodeId, OpId)> = orphan.0.sent.iter().filter_map(salvage).collect();
    assert_eq!(asked.len(), 2);
    for (peer, op) in asked {
        // Both are behind the giver of the page: they have never seen what it had brought.
        let key = key_of("a");
        let objects = vec![GivenObject { key, dots: Vec::new(), object: Object::default() }];
        let (partition, clock, complete, reaches, more) = (Partition(0), Clock::new(), true, false, false);
        let given = Given { partition, clock, complete, reaches, more, objects };
        orphan.0.peer(N3, peer, Message::Give { op, given });
    }
    assert_eq!(orphan.0.values(N3, "a").len(), 0, "it is mended with what they have");
    orphan.page(clock(3), &["b"], None);
    assert_eq!(orphan.claims(), 0, "the clock would say that a was deleted");
}
