//! What the nodes may say and serve while one layout gives way to another, when the network is at its worst.
//!
//! Four nodes as a rule, three of them holders of the one partition. Messages come in orders that random runs hardly ever
//! meet: whoever a test cuts off hears of a change long after the others, or just before the moment that counts.

mod common;

use std::time::Duration;

use common::{Cluster, key_of, reply_words};
use godown_core::causal::{Context, Dot};
use godown_core::id::{CallId, Life, NodeId, OpId};
use godown_core::input::{Call, ClusterCall, ClusterReply, Reply, Wish};
use godown_core::key::Partition;
use godown_core::kind::Object;
use godown_core::layout::active::View;
use godown_core::layout::{Change, Member};
use godown_core::message::{
    Ballot, ClusterState, Failure, Message, Progress, Refusal, Staged, Terms, Value, VoteRefusal,
};
use godown_core::node::Node;
use godown_core::stored::RowKey;

const P0: Partition = Partition(0);
const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// A few nodes in a test's hand.
struct Few(Cluster);

impl Few {
    fn new(count: u64) -> Self {
        let mut cluster = Cluster::new(count, |settings| {
            // A call may wait for as long as the test likes.
            settings.timeout_max = 100 * DAY;
        });
        cluster.pass(DAY);
        Self(cluster)
    }

    /// The three holders of the partition, and the node that holds nothing.
    fn places(&self) -> ([NodeId; 3], NodeId) {
        let layouts = self.0.nodes().next().expect("a node").layouts();
        let holders = layouts.holders(P0).try_into().expect("three holders");
        (holders, layouts.newest().expect("a layout").stand_ins(P0)[0])
    }

    fn node(&self, id: NodeId) -> &Node {
        self.0.machines[&id].node.as_ref().expect("it runs")
    }

    fn view(&self, id: NodeId) -> (u64, u64) {
        let view = self.node(id).layouts().view();
        (view.oldest, view.newest)
    }

    /// How far `of` has followed, as `id` knows.
    fn progress(&self, id: NodeId, of: NodeId) -> Progress {
        let nodes = self.node(id).cluster().nodes;
        nodes.iter().find(|report| report.member.id == of).map(|report| report.progress).unwrap_or_default()
    }

    fn cut(&mut self, one: NodeId, other: NodeId) {
        self.0.cut.extend([(one, other), (other, one)]);
    }

    fn join(&mut self, one: NodeId, other: NodeId) {
        self.0.cut.retain(|&link| link != (one, other) && link != (other, one));
    }

    /// Cuts a node off from all others.
    fn isolate(&mut self, node: NodeId) {
        for other in self.0.machines.keys().copied().filter(|&other| other != node).collect::<Vec<_>>() {
            self.cut(node, other);
        }
    }

    fn put(&mut self, to: NodeId, key: &str, w: u8, timeout: Duration) -> CallId {
        let value = Value { bytes: "v".into(), content_type: "".into(), ttl: None };
        let change =
            godown_core::message::Change { key: key_of(key), seen: Context::new(), value: Some(value) };
        let wish = Wish { quorum: Some(w), timeout: Some(timeout), sloppy: Some(false), ..Wish::default() };
        self.0.call(to, Call::Put { change, wish })
    }

    fn get(&mut self, from: NodeId, key: &str, r: u8) -> CallId {
        let wish = Wish { quorum: Some(r), sloppy: Some(false), ..Wish::default() };
        self.0.call(from, Call::Get { key: key_of(key), wish })
    }

    fn reply(&self, call: CallId) -> String {
        self.0.replies.get(&call).map_or_else(|| "no reply".into(), reply_words)
    }

    fn cluster_call(&mut self, at: NodeId, call: ClusterCall) -> ClusterReply {
        let id = self.0.call(at, Call::Cluster { call, wish: Wish::default() });
        match self.0.replies.get(&id) {
            Some(Reply::Cluster(reply)) => (**reply).clone(),
            other => panic!("{at} does not carry it out: {other:?}"),
        }
    }

    /// Has these changes decided.
    fn apply(&mut self, at: NodeId, changes: &[Change]) {
        for change in changes {
            self.cluster_call(at, ClusterCall::Stage(change.clone()));
        }
        let ClusterReply::Planned(plan) = self.cluster_call(at, ClusterCall::Plan) else { panic!("no plan") };
        self.cluster_call(at, ClusterCall::Apply { epoch: plan.epoch, hash: plan.hash });
    }

    /// A member with the store that it has.
    fn member(&self, id: NodeId) -> Member {
        Member { store: self.node(id).store(), ..Member::plain(id) }
    }

    /// Brings `to` to hear at once which layouts `from` has, while no time passes.
    fn tell(&mut self, from: NodeId, to: NodeId) {
        // Whoever asks under an older layout is told; the answer to this request is to nobody's.
        let (op, view) = (self.op(), View { oldest: 1, reads: 1, newest: 1 });
        let sent = self.0.sent.len();
        self.0.peer_with(from, to, view, Message::Fetch { op, key: key_of("nobody's") });
        assert!(self.0.sent.len() > sent);
        assert_eq!(self.view(from).1, self.view(to).1, "{to} has not heard");
    }

    /// The name of a request that no node has made.
    fn op(&self) -> OpId {
        OpId { origin: Life(77), n: self.0.sent.len() as u64 }
    }

    /// A write of nobody's to a key.
    fn store(&self, key: &str) -> Message {
        let dot = Dot { actor: Life(77), n: 1 };
        let delta = Object::delta(Context::new(), dot, None);
        Message::Store { op: self.op(), key: key_of(key), dot, delta }
    }

    fn settle(&mut self, epoch: u64) {
        for _ in 0..20 {
            self.0.pass(DAY);
            if self.0.nodes().all(|node| node.layouts().view().oldest == epoch && node.is_quiet()) {
                return;
            }
        }
        let at: Vec<_> = self.0.nodes().map(|node| (node.layouts().view(), node.unrest())).collect();
        panic!("layout {epoch} is not the only one: {at:?}");
    }
}

// --- Catching up ---------------------------------------------------------------------------------------------------

#[test]
fn who_had_caught_up_with_enough_for_the_next_layout_only_answers_reads_once_that_is_in_force() {
    // Of three copies two are needed to catch up, of two one.
    let [n1, n2, n3] = [1, 2, 3].map(NodeId);
    let mut three = Few::new(3);
    let put = three.put(n1, "k", 3, HOUR);
    assert!(three.reply(put).starts_with("stored"));
    // 1. The layout of two copies is about to take over: n3 has said that it has all that it needs.
    three.apply(n1, &[Change::Leave(n2)]);
    while three.progress(n1, n3).synced < 2 {
        three.0.next_tick();
    }
    assert_eq!(three.view(n1), (1, 2));
    // 2. n3 loses its disk. It catches up with n1 alone, which is too little as long as the older layout is in force.
    three.0.crash(n3);
    three.0.wipe(n3);
    three.cut(n1, n2);
    three.cut(n2, n3);
    three.0.start(n3);
    three.0.pass(DAY);
    assert_eq!(three.view(n3), (1, 2));
    assert_eq!(three.0.values(n3, "k"), ["v"]);
    assert!(!three.node(n3).is_ready(), "n2 may have what n1 has not");
    // 3. The older layout ends, and n1 was enough.
    three.join(n1, n2);
    three.0.pass(2 * DAY);
    assert_eq!(three.view(n3), (2, 2));
    assert!(three.node(n3).is_ready(), "{:?}", three.node(n3).unready());
}

#[test]
fn a_new_replica_answers_no_read_while_a_node_may_still_write_without_it() {
    let mut four = Few::new(4);
    let ([a, b, c], d) = four.places();
    // 1. A write of c's waits for all three disks: c goes on taking part in writes of the older layout.
    four.cut(c, a);
    four.cut(c, b);
    four.put(c, "other", 3, 10 * DAY);
    four.0.pass(HOUR);
    four.join(c, b);
    // 2. d takes c's place. a does not hear of it; d gets everything that b and c have.
    four.isolate(a);
    four.apply(b, &[Change::Leave(c)]);
    four.0.pass(2 * DAY);
    assert_eq!([a, b, c, d].map(|node| four.view(node)), [(1, 1), (1, 2), (1, 2), (1, 2)]);
    assert_eq!(four.0.values(d, "other"), ["v"]);
    // 3. a writes to two of the three that it knows of.
    four.join(a, c);
    let put = four.put(a, "k", 2, HOUR);
    assert!(four.reply(put).starts_with("stored"), "{}", four.reply(put));
    assert_eq!(four.0.values(c, "k"), ["v"]);
    // 4. Neither b nor d has it, and they are two of the three of the next layout.
    four.isolate(a);
    four.isolate(c);
    let get = four.get(b, "k", 2);
    assert!(!four.reply(get).starts_with("got"), "an acknowledged write is missing: {}", four.reply(get));
    four.0.cut.clear();
    four.settle(2);
    for node in [a, b, d] {
        assert_eq!(four.0.values(node, "k"), ["v"], "{node}");
    }
}

#[test]
fn a_holder_that_others_went_on_without_answers_no_read_before_it_has_caught_up() {
    let mut four = Few::new(4);
    let ([a, b, c], d) = four.places();
    let member = four.member(c);
    // 1. c is given up for lost, and the others go on.
    four.isolate(c);
    four.apply(a, &[Change::Remove { node: c, force: false }]);
    four.0.pass(2 * DAY);
    assert_eq!(four.view(a), (2, 2));
    let put = four.put(a, "k", 3, HOUR);
    assert!(four.reply(put).starts_with("stored"));
    // 2. It is taken in again in d's place, with all that it had, and hears of both at once.
    four.apply(a, &[Change::Join(member), Change::Leave(d)]);
    four.join(a, c);
    four.tell(a, c);
    assert!(four.node(c).layouts().newest().expect("a layout").holds(c, P0));
    // 3. Alone it has no answer.
    four.isolate(c);
    assert!(!four.node(c).is_ready());
    let get = four.get(c, "k", 1);
    four.0.pass(HOUR);
    assert!(four.reply(get).starts_with("failed"), "an acknowledged write is missing: {}", four.reply(get));
    four.0.cut.clear();
    four.settle(3);
    for node in [a, b, c] {
        assert!(four.node(node).is_ready());
        assert_eq!(four.0.values(node, "k"), ["v"], "{node}");
    }
}

#[test]
fn what_was_written_before_a_partition_was_given_up_is_not_taken_for_a_gap_when_it_has_come_back() {
    let mut four = Few::new(4);
    let ([a, b, c], d) = four.places();
    // 1. c writes, gives the partition up, and gets it back in the same life.
    let put = four.put(c, "k", 3, HOUR);
    assert!(four.reply(put).starts_with("stored"));
    four.apply(a, &[Change::Leave(c)]);
    four.settle(2);
    assert_eq!(four.0.values(c, "k"), Vec::<String>::new(), "it has dropped what it had");
    let member = four.member(c);
    four.apply(a, &[Change::Join(member), Change::Leave(d)]);
    four.tell(a, c);
    // 2. Before anything has come back it mints its second number there, and ends.
    four.isolate(c);
    four.0.pass(Duration::from_secs(1));
    four.put(c, "later", 1, HOUR);
    assert_eq!(four.0.values(c, "later"), ["v"]);
    let life = four.node(c).life();
    let context = four.node(c).clock(P0).expect("it holds it").as_context().clone();
    assert_eq!((context.base(life), context.highest(life)), (0, 2));
    four.0.crash(c);
    // 3. The next life closes the gaps that this one left. The first number is none: a and b have it.
    four.0.start(c);
    let clock = four.node(c).clock(P0).expect("it holds it");
    assert!(!clock.has(Dot { actor: life, n: 1 }), "it says of what it does not have that it was deleted");
    four.0.cut.clear();
    four.settle(3);
    for node in [a, b, c] {
        assert_eq!(four.0.values(node, "k"), ["v"], "{node}");
        assert_eq!(four.0.values(node, "later"), ["v"], "{node}");
    }
}

#[test]
fn what_was_taken_over_of_a_partition_before_its_first_checkpoint_is_dropped_by_who_does_not_hold_it_any_more()
 {
    let mut four = Few::new(4);
    let ([a, b, c], _) = four.places();
    let put = four.put(a, "k", 3, HOUR);
    assert!(four.reply(put).starts_with("stored"));
    four.apply(b, &[Change::Leave(c)]);
    four.settle(2);
    four.0.crash(c);
    // A page of a's, as if c had ended before it wrote what this page is a part of, and then missed that it left.
    let of_keys_and_actors = |key: &RowKey| matches!(key.0[0], b'o' | b'a');
    let page = four.0.machines[&a].table.clone().into_iter().filter(|(key, _)| of_keys_and_actors(key));
    four.0.machines.get_mut(&c).expect("c").table.extend(page);
    assert_eq!(four.0.values(c, "k"), ["v"]);
    four.0.start(c);
    four.settle(2);
    let left = four.0.machines[&c].table.keys().filter(|key| of_keys_and_actors(key));
    assert_eq!(left.count(), 0, "they would lie there for ever");
}

// --- What a node may say -------------------------------------------------------------------------------------------

#[test]
fn nobody_has_synced_before_all_nodes_write_under_the_new_layout() {
    let mut four = Few::new(4);
    let ([a, b, c], d) = four.places();
    // a hears of nothing; c, which is to leave, has given all that it has.
    four.isolate(a);
    four.apply(b, &[Change::Leave(c)]);
    four.0.pass(2 * DAY);
    for node in [b, c, d] {
        let progress = four.progress(b, node);
        assert!(progress.ack == 2 && progress.synced < 2, "{node}: a may still write, {progress:?}");
    }
    // What b asked the others before a heard of it does not count: a may have written to one of them since.
    four.join(a, b);
    four.tell(b, a);
    four.tell(a, b);
    assert_eq!([a, b, c, d].map(|node| four.progress(b, node).ack), [2; 4]);
    assert!(four.progress(b, b).synced < 2, "it has asked nobody since");
    four.0.cut.clear();
    four.settle(2);
}

#[test]
fn who_leaves_has_not_synced_before_the_others_have_all_that_it_has_written() {
    let mut four = Few::new(4);
    let ([a, b, c], d) = four.places();
    // 1. c has a write that nobody else has, and does not hear that it is to leave before all others have done their part.
    four.isolate(c);
    let put = four.put(c, "k", 1, HOUR);
    assert!(four.reply(put).starts_with("stored"));
    four.apply(a, &[Change::Leave(c)]);
    four.0.pass(2 * DAY);
    // 2. It hears that, and what the others have done, and they hear of it; what it has takes longer.
    four.0.cut.clear();
    four.tell(a, c);
    four.tell(c, a);
    assert_eq!(four.progress(a, c).ack, 2);
    for node in [a, b, d] {
        assert_eq!(four.0.values(node, "k"), Vec::<String>::new(), "{node}");
    }
    assert!(four.progress(c, c).synced < 2, "the others do not have what it wrote");
    four.settle(2);
    for node in [a, b, d] {
        assert_eq!(four.0.values(node, "k"), ["v"], "{node}");
    }
}

#[test]
fn a_node_that_lost_its_store_casts_no_vote_on_the_next_layout() {
    let mut four = Few::new(4);
    let ([a, b, c], d) = four.places();
    four.0.crash(c);
    four.0.wipe(c);
    four.0.start(c);
    assert_eq!(four.view(c), (1, 1), "it has been told which cluster it belongs to");
    let votes = |four: &mut Few, epoch| {
        let mut answer = |node| {
            let op = four.op();
            let ballot = Ballot { round: 1, by: Life(1) };
            four.0.peer(node, a, Message::Prepare { op, epoch, ballot });
            let promise = |(from, _, message): &(NodeId, NodeId, Message)| match message {
                Message::Promise { op: of, outcome } if (*from, *of) == (node, op) => {
                    Some(outcome.clone().map(|_| ()))
                }
                _ => None,
            };
            four.0.sent.iter().find_map(promise).expect("an answer")
        };
        [answer(b), answer(c)]
    };
    assert_eq!(votes(&mut four, 2), [Ok(()), Err(VoteRefusal::NoVoter)], "it may have voted already");
    // Once that layout is decided, whatever it had voted for, it has a vote on those that follow.
    four.0.pass(DAY);
    four.apply(a, &[Change::Set(Member { weight: 50, ..four.member(d) })]);
    four.settle(2);
    assert_eq!(votes(&mut four, 3), [Ok(()), Ok(())]);
}

/// A node whose disk is full may know what another one has promised under a layout that it has not on disk itself.
#[test]
fn who_hears_of_its_own_promise_before_it_knows_the_layout_keeps_it_and_casts_no_vote_that_it_may_have_cast()
{
    let mut four = Few::new(4);
    let ([a, b, _], _) = four.places();
    let layout = four.node(b).layouts().newest().expect("the first").clone();
    let promised = Progress { ack: 2, synced: 1, sync_ack: 1 };
    let state = ClusterState {
        layouts: vec![layout.clone()],
        progress: [(b, promised)].into(),
        staged: Staged::default(),
    };
    four.0.peer(b, a, Message::State { state: Box::new(state), wants_answer: false });
    assert_eq!(four.progress(b, b).ack, 1, "it cannot follow what it does not know");
    let next = layout.next(&[Change::Set(Member { weight: 50, ..four.member(b) })]).expect("a layout");
    let state = ClusterState {
        layouts: vec![layout, next],
        progress: [(b, promised)].into(),
        staged: Staged::default(),
    };
    four.0.peer(b, a, Message::State { state: Box::new(state), wants_answer: false });
    assert_eq!((four.view(b).1, four.progress(b, b).ack), (2, 2));
    // In the life in which it made that promise it may have voted on the layout after that one.
    let op = four.op();
    let ballot = Ballot { round: 1, by: Life(1) };
    four.0.peer(b, a, Message::Prepare { op, epoch: 3, ballot });
    let refused = Message::Promise { op, outcome: Err(VoteRefusal::NoVoter) };
    assert!(four.0.sent.iter().any(|(from, _, message)| *from == b && *message == refused));
}

#[test]
fn a_founder_takes_a_node_for_new_only_if_it_has_said_so_since_the_founder_began() {
    let mut four = Few::new(4);
    let n1 = NodeId(1);
    let others = [2, 3, 4].map(NodeId);
    let members = others.map(|node| four.member(node));
    // All lose their disks; n1 starts first, and the network brings it what the others had said when they were new.
    for node in (1..=4).map(NodeId) {
        four.0.crash(node);
        four.0.wipe(node);
    }
    four.0.start(n1);
    let hail = |four: &mut Few, answers| {
        for (node, member) in others.into_iter().zip(members.clone()) {
            let life = member.store;
            four.0.peer_with(n1, node, View::default(), Message::Hail { member, life, answers });
        }
        four.node(n1).layouts().newest().is_some()
    };
    assert!(!hail(&mut four, Life::default()), "they may have founded another cluster since");
    assert!(!hail(&mut four, Life(77)), "an answer to somebody else, or to an earlier life");
    let life = four.node(n1).life();
    assert!(hail(&mut four, life), "now they have answered");
}

// --- What a node may serve -----------------------------------------------------------------------------------------

/// What a node has answered to a request, if it was a refusal.
fn refusal(four: &Few, of: OpId) -> Option<Refusal> {
    four.0.sent.iter().find_map(|(.., message)| match message {
        Message::Stored { op, outcome } if *op == of => outcome.err(),
        Message::Fetched { op, outcome } if *op == of => outcome.clone().err(),
        Message::Forwarded { op, outcome: Err(Failure::NotTaken(refusal)) } if *op == of => Some(*refusal),
        Message::Listed { op, outcome } if *op == of => outcome.clone().err(),
        _ => None,
    })
}

#[test]
fn who_has_said_that_it_takes_part_in_no_older_write_takes_part_in_none() {
    let mut four = Few::new(4);
    let ([a, b, c], d) = four.places();
    let old = View { oldest: 1, reads: 1, newest: 1 };
    let asks = |four: &mut Few, view, key: &str| {
        let value = Value { bytes: "v".into(), content_type: "".into(), ttl: None };
        let Message::Store { dot, delta, .. } = four.store(key) else { unreachable!("it is a store") };
        let change =
            godown_core::message::Change { key: key_of(key), seen: Context::new(), value: Some(value) };
        let (timeout, terms, to) = (HOUR, Terms::default(), four.node(b).life());
        let forward = |op: OpId| Message::Forward { op, to, floor: op.n, change, w: 1, timeout, terms };
        let hint = |op| Message::Hint { op, target: c, key: key_of(key), dot, delta };
        let mut answers = Vec::new();
        let op = four.op();
        let Message::Store { key, dot, delta, .. } = four.store(key) else { unreachable!("it is a store") };
        four.0.peer_with(b, a, view, Message::Store { op, key, dot, delta });
        answers.push(refusal(four, op));
        let op = four.op();
        four.0.peer_with(b, a, view, forward(op));
        answers.push(refusal(four, op));
        let op = four.op();
        four.0.peer_with(b, a, view, hint(op));
        answers.push(refusal(four, op));
        answers
    };
    assert_eq!(asks(&mut four, old, "before"), [None; 3]);
    // a, cut off, does not hear of the next layout, and d could miss what a writes.
    four.isolate(a);
    four.apply(b, &[Change::Leave(c)]);
    assert_eq!((four.view(b), four.progress(b, b).ack), ((1, 2), 2));
    assert_eq!(asks(&mut four, old, "k"), [Some(Refusal::StaleLayout); 3]);
    assert_eq!(four.0.values(b, "k"), Vec::<String>::new());
    let new = View { newest: 2, ..old };
    assert_eq!(asks(&mut four, new, "k"), [None; 3]);
    assert_eq!(four.0.values(b, "k").len(), 1);
    assert_eq!(four.0.values(d, "before"), Vec::<String>::new());
}

#[test]
fn a_read_that_relies_on_a_layout_that_has_ended_is_not_answered() {
    let mut four = Few::new(4);
    let ([a, b, c], _) = four.places();
    four.put(a, "k", 3, HOUR);
    four.apply(a, &[Change::Leave(c)]);
    four.settle(2);
    let asks = |four: &mut Few, reads| {
        let view = View { oldest: reads, reads, newest: 2 };
        let fetch = four.op();
        four.0.peer_with(b, a, view, Message::Fetch { op: fetch, key: key_of("k") });
        let list = four.op();
        let range = Message::List { op: list, first: P0, last: P0, after: None, limit: 1 };
        four.0.peer_with(b, a, view, range);
        [fetch, list].map(|op| refusal(four, op))
    };
    // Who relies on the first layout also takes the word of c, which has nothing any more.
    assert_eq!(asks(&mut four, 1), [Some(Refusal::StaleLayout); 2]);
    assert_eq!(asks(&mut four, 2), [None; 2]);
}

// --- What stays of a node that was removed ---------------------------------------------------------------------------

#[test]
fn what_a_removed_node_wrote_is_given_by_name_to_whoever_has_missed_it() {
    let mut four = Few::new(4);
    let ([a, b, c], d) = four.places();
    let life = four.node(c).life();
    four.cut(b, c);
    let put = four.put(c, "k", 2, HOUR);
    assert!(four.reply(put).starts_with("stored"));
    assert_eq!([a, b].map(|node| four.0.values(node, "k").len()), [1, 0]);
    four.0.crash(c);
    four.apply(a, &[Change::Remove { node: c, force: false }]);
    assert_eq!(four.0.values(b, "k").len(), 0, "the change comes first");
    four.0.sent.clear();
    four.settle(2);
    let names = |(from, to, message): &(NodeId, NodeId, Message)| match message {
        Message::Give { given, .. } if (*from, *to) == (a, b) => {
            given.objects.iter().any(|given| given.dots == [Dot { actor: life, n: 1 }])
        }
        _ => false,
    };
    assert!(four.0.sent.iter().any(names), "the log has no row of c's any more");
    for node in [a, b, d] {
        assert_eq!(four.0.values(node, "k"), ["v"], "{node}");
        let clock = four.node(node).clock(P0).expect("it holds it").as_context();
        assert_eq!(clock.base(life), 1, "{node} would take what c wrote for news");
    }
}

// --- Gossip -----------------------------------------------------------------------------------------------------------

#[test]
fn an_operator_who_stages_again_and_again_does_not_keep_a_node_from_gossiping() {
    let mut four = Few::new(4);
    let ([a, b, _], _) = four.places();
    let change = Change::Join(Member::plain(NodeId(77)));
    four.0.gossip.clear();
    // Many times in the shortest span between two rounds.
    let often = HOUR / 50;
    for _ in 0..1_000 {
        four.cluster_call(a, ClusterCall::Stage(change.clone()));
        four.0.pass(often);
    }
    let rounds = |node| four.0.gossip.get(&node).copied().unwrap_or(0);
    // Without any news a round comes after five quarters of an hour at the latest.
    assert!(rounds(a) >= 15, "{} rounds in twenty hours, and {} of another node", rounds(a), rounds(b));
}
