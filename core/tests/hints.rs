//! Writes and reads while replicas cannot be reached, and what becomes of what was kept for them.

mod common;

use std::time::Duration;

use common::{Cluster, key_of};
use godown_core::causal::{Context, Dot};
use godown_core::config::Settings;
use godown_core::id::{CallId, Life, NodeId, OpId};
use godown_core::input::{Call, ClusterCall, ClusterReply, Reply, Wish};
use godown_core::key::Partition;
use godown_core::kind::Object;
use godown_core::layout::Change as LayoutChange;
use godown_core::message::{Change, Failure, Message, Refusal, Value};
use godown_core::node::Node;

const DAY: Duration = Duration::from_secs(24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

/// Five nodes, three of them holders.
struct Five {
    cluster: Cluster,
    holders: Vec<NodeId>,
    stand_ins: Vec<NodeId>,
}

impl Five {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let cluster = Cluster::new(5, change);
        let layouts = cluster.nodes().next().expect("a node").layouts().clone();
        let holders = layouts.holders(Partition(0)).to_vec();
        let stand_ins = layouts.newest().expect("a layout").stand_ins(Partition(0));
        assert_eq!((holders.len(), stand_ins.len()), (3, 2));
        Self { cluster, holders, stand_ins }
    }

    fn put(&mut self, to: NodeId, value: &str, wish: Wish) -> CallId {
        let value = Value { bytes: value.to_string().into(), content_type: "".into(), ttl: None };
        let change = Change { key: key_of("k"), seen: Context::new(), value: Some(value) };
        self.cluster.call(to, Call::Put { change, wish })
    }

    fn node(&self, id: NodeId) -> &Node {
        self.cluster.machines[&id].node.as_ref().expect("it runs")
    }

    fn is_stored(&self, call: CallId) -> bool {
        matches!(self.cluster.replies.get(&call), Some(Reply::Stored { .. }))
    }

    fn kept(&self, id: NodeId) -> u64 {
        self.node(id).cluster().hints.values().map(|report| report.hints).sum()
    }

    fn cut(&mut self, a: NodeId, b: NodeId) {
        self.cluster.cut.extend([(a, b), (b, a)]);
    }

    /// Cuts the stand-ins off from all holders, and lets them notice.
    fn strand(&mut self) {
        for stand_in in self.stand_ins.clone() {
            for holder in self.holders.clone() {
                self.cut(stand_in, holder);
            }
        }
        for stand_in in self.stand_ins.clone() {
            for _ in 0..3 {
                self.put(stand_in, "lost", Wish { sloppy: Some(false), ..w(1) });
                self.cluster.pass(6 * SECOND);
            }
        }
    }

    fn apply(&mut self, change: LayoutChange) {
        let at = self.holders[0];
        let call = |call| Call::Cluster { call, wish: Wish::default() };
        self.cluster.call(at, call(ClusterCall::Stage(change)));
        let id = self.cluster.call(at, call(ClusterCall::Plan));
        let Some(Reply::Cluster(reply)) = self.cluster.replies.get(&id).cloned() else { panic!("no plan") };
        let ClusterReply::Planned(plan) = *reply else { panic!("no plan") };
        let id = self.cluster.call(at, call(ClusterCall::Apply { epoch: plan.epoch, hash: plan.hash }));
        let reply = &self.cluster.replies[&id];
        assert!(matches!(reply, Reply::Cluster(_)), "{reply:?}");
    }
}

fn w(quorum: u8) -> Wish {
    Wish { quorum: Some(quorum), ..Wish::default() }
}

#[test]
fn a_stand_in_counts_for_a_silent_replica_and_hands_the_hint_over_later() {
    let five = &mut Five::new();
    let (first, lost, stand_in) = (five.holders[0], five.holders[2], five.stand_ins[0]);
    five.cluster.crash(lost);
    let call = five.put(first, "v", w(3));
    assert!(!five.cluster.replies.contains_key(&call), "it may be slow only");
    five.cluster.pass(2 * SECOND);
    assert!(five.is_stored(call));
    assert_eq!(five.kept(stand_in), 1);
    let report = &five.node(stand_in).cluster().hints[&lost];
    assert!(report.bytes > 0 && report.oldest_ms > 0);
    assert!(five.node(stand_in).unrest().is_some_and(|what| what.contains("1 hints are kept")));
    five.cluster.start(lost);
    five.cluster.sent.clear();
    five.cluster.pass(DAY);
    let is_handed = |(from, to, message): &(NodeId, NodeId, Message)| {
        (*from, *to) == (stand_in, lost) && matches!(message, Message::Store { .. })
    };
    assert!(five.cluster.sent.iter().any(is_handed));
    assert_eq!(five.cluster.values(lost, "k"), ["v"]);
    assert_eq!(five.kept(stand_in), 0);
    assert!(five.node(stand_in).is_quiet(), "{:?}", five.node(stand_in).unrest());
    assert!(!five.cluster.machines[&stand_in].table.keys().any(|key| b"pq".contains(&key.0[0])));
}

#[test]
fn a_damaged_row_is_mended_with_what_is_kept_for_others() {
    let five = &mut Five::new();
    let [first, second, third] = five.holders[..] else { panic!("three holders") };
    five.cluster.crash(second);
    five.cluster.crash(third);
    let call = five.put(first, "v", w(2));
    five.cluster.pass(2 * SECOND);
    assert!(five.is_stored(call));
    for stand_in in five.stand_ins.clone() {
        five.cut(stand_in, second);
        five.cut(stand_in, third);
    }
    five.cluster.start(second);
    five.cluster.start(third);
    // The only row that has the write is lost; what is left of it lies with stand-ins.
    five.cluster.damage(first, "k");
    five.cluster.get(first, "k");
    five.cluster.pass(DAY);
    assert_eq!(five.cluster.values(first, "k"), ["v"]);
    five.cluster.cut.clear();
    five.cluster.pass(DAY);
    for holder in [first, second, third] {
        assert_eq!(five.cluster.values(holder, "k"), ["v"], "at {holder}");
    }
}

#[test]
fn a_suspected_replica_is_stood_in_for_at_once() {
    let five = &mut Five::new();
    five.cluster.crash(five.holders[2]);
    five.put(five.holders[0], "v", w(3));
    five.cluster.pass(6 * SECOND);
    // Whoever was silent to the end is suspected.
    five.put(five.holders[0], "v", Wish { sloppy: Some(false), ..w(3) });
    five.cluster.pass(6 * SECOND);
    let call = five.put(five.holders[0], "v", w(3));
    assert!(five.is_stored(call));
}

#[test]
fn who_asks_for_replicas_is_not_answered_by_stand_ins() {
    let five = &mut Five::new();
    five.cluster.crash(five.holders[1]);
    five.cluster.crash(five.holders[2]);
    let call = five.put(five.holders[0], "v", Wish { primaries: Some(2), ..w(2) });
    let easy = five.put(five.holders[0], "v", Wish { primaries: Some(1), ..w(2) });
    let strict = five.put(five.holders[0], "v", Wish { sloppy: Some(false), ..w(2) });
    five.cluster.pass(6 * SECOND);
    assert!(five.is_stored(easy));
    for call in [call, strict] {
        let failure = Failure::Timeout { acks: 1, needed: 2, replicas: 3 };
        assert_eq!(five.cluster.replies[&call], Reply::Failed(failure));
    }
    let call = five.put(five.holders[0], "v", Wish { primaries: Some(4), ..w(2) });
    assert_eq!(five.cluster.replies[&call], Reply::Failed(Failure::BadQuorum { asked: 4, replicas: 3 }));
}

#[test]
fn no_more_hints_are_kept_than_the_limit() {
    let five = &mut Five::with(|settings| settings.limits.hint_bytes = 150);
    five.cluster.crash(five.holders[2]);
    let calls: Vec<CallId> = (0..5).map(|_| five.put(five.holders[0], "v", w(3))).collect();
    five.cluster.pass(6 * SECOND);
    let stored = calls.iter().filter(|&&call| five.is_stored(call)).count();
    assert!((1..5).contains(&stored), "{stored} are stored");
    for id in five.stand_ins.clone() {
        let bytes: u64 = five.node(id).cluster().hints.values().map(|report| report.bytes).sum();
        assert!((1..=150).contains(&bytes), "{bytes} bytes");
        assert!(five.node(id).stats().hints_refused > 0);
    }
    let full = |(_, _, message): &(NodeId, NodeId, Message)| {
        matches!(message, Message::Stored { outcome: Err(Refusal::HintsFull { .. }), .. })
    };
    assert!(five.cluster.sent.iter().any(full));
}

#[test]
fn a_hint_outlives_its_stand_in() {
    let five = &mut Five::new();
    let (lost, stand_in) = (five.holders[2], five.stand_ins[0]);
    five.cluster.crash(lost);
    five.put(five.holders[0], "v", w(3));
    five.cluster.pass(2 * SECOND);
    five.cluster.crash(stand_in);
    five.cluster.start(stand_in);
    assert_eq!(five.kept(stand_in), 1);
    five.cluster.start(lost);
    five.cluster.pass(DAY);
    assert_eq!(five.kept(stand_in), 0);
    assert_eq!(five.node(stand_in).stats().hints_handed, 1);
}

#[test]
fn a_hint_is_acknowledged_when_it_is_on_disk() {
    let five = &mut Five::new();
    five.cluster.crash(five.holders[2]);
    five.cluster.hold(five.stand_ins[0]);
    five.cluster.crash(five.stand_ins[1]);
    let call = five.put(five.holders[0], "v", w(3));
    five.cluster.pass(2 * SECOND);
    assert!(!five.cluster.replies.contains_key(&call));
    five.cluster.release(five.stand_ins[0]);
    assert!(five.is_stored(call));
}

#[test]
fn a_hint_for_a_node_that_was_removed_goes_to_its_successor() {
    let five = &mut Five::new();
    let (lost, stand_in) = (five.holders[2], five.stand_ins[0]);
    five.cluster.crash(lost);
    five.put(five.holders[0], "v", w(3));
    five.cluster.pass(2 * SECOND);
    assert_eq!(five.kept(stand_in), 1);
    five.apply(LayoutChange::Remove { node: lost, force: false });
    five.cluster.pass(DAY);
    assert_eq!(five.kept(stand_in), 0);
    assert_eq!(five.node(stand_in).stats().hints_handed, 1);
}

#[test]
fn who_leaves_hands_its_hints_over_first_even_if_their_target_is_still_away() {
    let five = &mut Five::new();
    let (lost, stand_in) = (five.holders[2], five.stand_ins[0]);
    five.cluster.crash(lost);
    five.put(five.holders[0], "v", w(3));
    five.cluster.pass(6 * SECOND);
    assert_eq!(five.kept(stand_in), 1);
    five.apply(LayoutChange::Leave(stand_in));
    five.cluster.pass(DAY);
    assert_eq!(five.kept(stand_in), 0);
    assert_eq!(five.node(stand_in).stats().hints_handed, 1);
}

#[test]
fn where_no_replica_is_reached_a_stand_in_mints_and_all_replicas_get_it() {
    let five = &mut Five::new();
    five.strand();
    let stand_in = five.stand_ins[0];
    let call = five.put(stand_in, "v", w(2));
    let Some(Reply::Stored { seen }) = five.cluster.replies.get(&call).cloned() else { panic!("not stored") };
    assert_eq!(seen.base(five.node(stand_in).life()), 1, "the first dot of its own life");
    assert_eq!(five.kept(stand_in), 3, "one for every replica");
    assert_eq!(five.kept(five.stand_ins[1]), 1, "the second acknowledgement");
    let get = Call::Get { key: key_of("k"), wish: w(1) };
    let call = five.cluster.call(stand_in, get);
    let Some(Reply::Got { siblings, .. }) = five.cluster.replies.get(&call) else { panic!("not read") };
    assert_eq!(siblings.len(), 1);
    five.cluster.cut.clear();
    five.cluster.pass(DAY);
    for holder in five.holders.clone() {
        assert_eq!(five.cluster.values(holder, "k"), ["v"]);
    }
    assert_eq!((five.kept(stand_in), five.kept(five.stand_ins[1])), (0, 0));
    for id in five.holders.iter().chain(&five.stand_ins) {
        assert!(five.node(*id).is_quiet(), "{id}: {:?}", five.node(*id).unrest());
    }
}

#[test]
fn a_stand_ins_dot_leaves_it_from_its_disk() {
    let five = &mut Five::new();
    five.strand();
    let stand_in = five.stand_ins[0];
    five.cluster.hold(stand_in);
    five.cluster.cut.clear();
    five.cluster.sent.clear();
    let call = five.put(stand_in, "v", w(1));
    let get = five.cluster.call(stand_in, Call::Get { key: key_of("k"), wish: w(1) });
    assert!(!five.cluster.replies.contains_key(&call));
    let leaves = |(from, _, message): &(NodeId, NodeId, Message)| {
        *from == stand_in && matches!(message, Message::Store { .. } | Message::Hint { .. })
    };
    assert!(!five.cluster.sent.iter().any(leaves));
    let shows = |reply: &Reply| matches!(reply, Reply::Got { siblings, .. } if !siblings.is_empty());
    assert!(!five.cluster.replies.get(&get).is_some_and(shows));
    five.cluster.release(stand_in);
    assert!(five.is_stored(call));
    assert!(five.cluster.sent.iter().any(leaves));
}

#[test]
fn a_number_that_the_disk_refused_is_the_next_ones() {
    let five = &mut Five::new();
    five.strand();
    let stand_in = five.stand_ins[0];
    five.cut(stand_in, five.stand_ins[1]);
    five.cluster.hold(stand_in);
    let wish = || Wish { timeout: Some(60 * SECOND), ..w(1) };
    let first = five.put(stand_in, "a", wish());
    let second = five.put(stand_in, "b", wish());
    five.cluster.fail(stand_in);
    assert!(!five.is_stored(first));
    let Some(Reply::Stored { seen }) = five.cluster.replies.get(&second) else { panic!("not stored") };
    assert_eq!(seen.highest(five.node(stand_in).life()), 1);
}

#[test]
fn a_stand_in_that_comes_to_hold_the_partition_goes_on_counting_and_gets_its_own_writes() {
    let five = &mut Five::new();
    five.strand();
    let stand_in = five.stand_ins[0];
    let call = five.put(stand_in, "v", w(1));
    assert!(five.is_stored(call));
    five.cluster.cut.clear();
    five.cluster.pass(DAY);
    five.apply(LayoutChange::Leave(five.holders[2]));
    five.cluster.pass(DAY);
    let layouts = five.node(stand_in).layouts();
    assert!(layouts.holds(stand_in, Partition(0)) && !layouts.is_changing());
    assert!(five.node(stand_in).is_ready());
    assert_eq!(five.cluster.values(stand_in, "k"), ["v"], "what it minted before is news to its replica");
    let call = five.put(stand_in, "w", w(2));
    let Some(Reply::Stored { seen }) = five.cluster.replies.get(&call) else { panic!("not stored") };
    assert_eq!(seen.highest(five.node(stand_in).life()), 2);
}

#[test]
fn what_a_stand_in_minted_is_given_back_to_the_replica_that_it_becomes() {
    let five = &mut Five::new();
    five.strand();
    let (stand_in, lost) = (five.stand_ins[0], five.holders[2]);
    five.put(stand_in, "v", w(1));
    // While one of them is away the others keep the dot in their logs, and give it by name.
    five.cluster.crash(lost);
    five.cluster.cut.clear();
    five.cluster.pass(DAY);
    assert_eq!(five.cluster.values(five.holders[0], "k"), ["v"]);
    five.apply(LayoutChange::Remove { node: lost, force: false });
    five.cluster.pass(DAY);
    assert!(five.node(stand_in).is_ready());
    for id in [five.holders[0], five.holders[1], stand_in] {
        assert_eq!(five.cluster.values(id, "k"), ["v"], "{id}");
    }
}

#[test]
fn a_stand_in_never_says_that_something_is_absent() {
    let five = &mut Five::new();
    let op = OpId { origin: five.node(five.holders[0]).life(), n: 1_000 };
    five.cluster.peer(five.stand_ins[0], five.holders[0], Message::FetchHints { op, key: key_of("k") });
    let answer = |(_, _, message): &(NodeId, NodeId, Message)| match message {
        Message::Fetched { op: of, outcome } if *of == op => Some(outcome.clone()),
        _ => None,
    };
    assert_eq!(five.cluster.sent.iter().find_map(answer), Some(Err(Refusal::NotHeld)));
}

/// What a stand-in answers to a read of a key, asked for what it keeps.
fn fetch_hints(five: &mut Five, stand_in: NodeId, key: &str) -> Result<Object, Refusal> {
    let op = OpId { origin: five.node(five.holders[0]).life(), n: 1_000 + five.cluster.sent.len() as u64 };
    five.cluster.peer(stand_in, five.holders[0], Message::FetchHints { op, key: key_of(key) });
    let answer = |(_, _, message): &(NodeId, NodeId, Message)| match message {
        Message::Fetched { op: of, outcome } if *of == op => Some(outcome.clone()),
        _ => None,
    };
    five.cluster.sent.iter().find_map(answer).expect("an answer")
}

#[test]
fn a_stand_in_answers_with_what_its_hints_have_seen_and_nothing_more() {
    let five = &mut Five::new();
    five.strand();
    let stand_in = five.stand_ins[0];
    let call = five.put(stand_in, "v", w(1));
    assert!(five.is_stored(call));
    let change = Change { key: key_of("j"), seen: Context::new(), value: None };
    five.cluster.call(stand_in, Call::Put { change, wish: w(1) });
    let (life, kept) = (five.node(stand_in).life(), five.kept(stand_in));
    assert_eq!(kept, 6, "three each");
    // What it has minted for one key says nothing of the other: a holder may have more dots of it than this.
    let value = fetch_hints(five, stand_in, "k").expect("it keeps hints for it");
    assert_eq!((value.siblings().count(), value.context), (1, dots(&[(life, 1)])));
    let deletion = fetch_hints(five, stand_in, "j").expect("it keeps hints for it");
    assert_eq!((deletion.siblings().count(), deletion.context), (0, dots(&[(life, 2)])));
    assert_eq!(fetch_hints(five, stand_in, "other"), Err(Refusal::NotHeld), "it was never told of that key");
}

fn dots(dots: &[(Life, u64)]) -> Context {
    dots.iter().map(|&(actor, n)| Dot { actor, n }).collect()
}

#[test]
fn a_read_that_asks_for_replicas_is_not_answered_by_stand_ins() {
    let five = &mut Five::new();
    let reader = five.holders[0];
    five.cluster.crash(five.holders[1]);
    five.cluster.crash(five.holders[2]);
    // Whoever was silent to the end is suspected, and stood in for at once.
    five.put(reader, "v", Wish { sloppy: Some(false), ..w(3) });
    five.cluster.pass(6 * SECOND);
    let call = five.put(reader, "v", w(3));
    assert!(five.is_stored(call));
    let mut get = |wish| five.cluster.call(reader, Call::Get { key: key_of("k"), wish });
    let easy = get(Wish { primaries: Some(1), ..w(2) });
    let hard = get(Wish { primaries: Some(2), ..w(2) });
    five.cluster.pass(6 * SECOND);
    assert!(matches!(five.cluster.replies[&easy], Reply::Got { .. }), "{:?}", five.cluster.replies[&easy]);
    let failure = Failure::Timeout { acks: 1, needed: 2, replicas: 3 };
    assert_eq!(five.cluster.replies[&hard], Reply::Failed(failure));
}
