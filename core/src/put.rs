//! Writes: one primary mints the dot, puts it on its own disk, and only then sends the delta to the others.
//!
//! The node that a client calls is the coordinator when it is a primary of the key; otherwise it forwards the
//! change to one. Another primary is tried only after a refusal, which says that nothing was minted: after silence
//! nobody knows, and a second coordinator would make a second value of one write. A coordinator remembers the
//! forwards that it took, so that a doubled message mints nothing either; a forward names the life that it is for,
//! because the next life remembers nothing. The reply leaves with the W-th disk.
//!
//! A quorum may be sloppy (Dynamo, SOSP 2007): in the place of a replica that is suspected, that cannot take the delta just
//! now, or that has been silent for a third of the time, a stand-in keeps the delta as a hint. Each place counts once, and
//! never twice the same node. Where no replica can be reached at all, a stand-in mints the dot.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::causal::Context;
use crate::causal::Dot;
use crate::cx::{Answer, Asker, Cx, Step, Task, Waiter};
use crate::get::counts;
use crate::id::{CallId, Life, NodeId, OpId};
use crate::input::Reply;
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::message::{Change, Failure, Message, Refusal, Terms};
use crate::peers::Peers;
use crate::quorum::{Standing, Tally};
use crate::time::Mono;
use crate::timers::Timer;

/// How many lives of other nodes are remembered for the sake of doubled forwards.
const ORIGINS_MAX: usize = 4_096;

/// A replica is not given up for a stand-in before it had this long to answer.
const PATIENCE_MIN: Duration = Duration::from_millis(20);

/// How far a write has come.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
enum Stage {
    /// A primary has been asked to coordinate, in the life that it was thought to be in.
    Forwarded { node: NodeId, to: Life },
    /// This node's own slot is to mint the dot and put it on disk.
    Minting,
    /// The delta has gone to the other holders.
    Gathering(Box<Gathering>),
}

/// The acknowledgements of a write.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Gathering {
    holders: Vec<NodeId>,
    /// Each holder's place, taken by itself or by a stand-in.
    tally: Tally,
    /// The same without stand-ins, where so many of the quorum must be replicas.
    primaries: Option<Tally>,
    dot: Dot,
    delta: Object,
    shown: Context,
    /// Stand-ins that were asked, and in whose place; the last one of a place is the one that counts on.
    standing: Vec<(NodeId, usize)>,
    /// Holders that have refused, as bits.
    refused: u128,
    last: Option<Refusal>,
    /// When stand-ins are asked for those that are still silent.
    late_at: Option<Mono>,
}

impl Gathering {
    fn standing(&self) -> Standing {
        let primaries = self.primaries.as_ref().map_or(Standing::Reached, Tally::standing);
        match (self.tally.standing(), primaries) {
            (Standing::Reached, Standing::Reached) => Standing::Reached,
            (Standing::Impossible, _) | (_, Standing::Impossible) => Standing::Impossible,
            _ => Standing::Pending,
        }
    }

    /// The tally that tells more of how far it is from its quorum.
    fn hardest(&self) -> &Tally {
        let primaries = self.primaries.as_ref().filter(|_| self.tally.standing() == Standing::Reached);
        primaries.unwrap_or(&self.tally)
    }

    /// The holder at `place` has it on disk.
    fn yes(&mut self, place: usize) -> bool {
        if let Some(primaries) = &mut self.primaries {
            primaries.yes(place);
        }
        self.tally.yes(place)
    }

    /// The holder at `place` refuses, and nobody stands in for it.
    fn no(&mut self, place: usize) -> bool {
        self.tally.no(place)
    }
}

/// One write under way.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Put {
    /// None when this node deletes what has expired.
    asker: Option<Asker>,
    change: Change,
    w: usize,
    started: Mono,
    deadline: Mono,
    stage: Stage,
    /// The epoch of the newest layout when it began, and thus of those that it goes to.
    epoch: u64,
    /// Nodes that have refused to coordinate and need not be asked again.
    refused: Vec<NodeId>,
    terms: Terms,
    /// Attempts so far; each member may correct our idea of its life, but not for ever.
    attempts: usize,
}

/// Forwards taken from one life of another node.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Origin {
    floor: u64,
    taken: BTreeSet<u64>,
    last_used: u64,
}

/// All writes under way.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Puts {
    open: BTreeMap<u64, Put>,
    /// The open ones that have been forwarded, to tell coordinators which are closed.
    forwarded: BTreeSet<u64>,
    origins: BTreeMap<Life, Origin>,
    forwards_taken: u64,
    /// Those of the open ones that are for clients.
    owed: usize,
    /// Those that delete what has expired.
    expiring: usize,
}

impl Puts {
    /// The oldest write under way, in words.
    pub(crate) fn unrest(&self) -> Option<String> {
        let (n, put) = self.open.first_key_value()?;
        let key = &put.change.key;
        Some(match &put.stage {
            Stage::Forwarded { node, .. } => {
                format!("write {n} of {key:?} waits for {node} to coordinate it")
            }
            Stage::Minting => format!("write {n} of {key:?} waits for this node's disk"),
            Stage::Gathering(gathering) => {
                let Gathering { holders, tally, .. } = gathering.as_ref();
                format!("write {n} of {key:?} waits for {}", tally.awaited(holders))
            }
        })
    }

    /// Writes that still owe a client their reply.
    pub(crate) const fn owed(&self) -> usize {
        self.owed
    }

    /// Whether a write of `key` is on its way to others.
    pub(crate) fn is_gathering(&self, key: &Key) -> bool {
        let is_it = |put: &Put| matches!(put.stage, Stage::Gathering(..)) && put.change.key == *key;
        self.open.values().any(is_it)
    }

    /// The epoch of the oldest layouts that a write under way goes to.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.open.values().map(|put| put.epoch).min()
    }

    /// A client's write.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one call")]
    pub(crate) fn start(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        call: CallId,
        change: Change,
        w: usize,
        terms: Terms,
        deadline: Mono,
    ) {
        let asker = Asker::Client(call);
        let put = Put::new(cx, Some(asker), change, w, terms, deadline);
        self.attempt(cx, peers, put, Refusal::NotHeld);
    }

    /// Deletes values of a key that have expired, and nothing else. One copy is enough: anti-entropy carries it on.
    pub(crate) fn expire(&mut self, cx: &mut Cx<'_>, key: Key, seen: Context) {
        sometimes!(cx.shared.moments, ExpiredWhileWritten, self.is_gathering(&key));
        let change = Change { key, seen, value: None };
        let deadline = cx.now.mono.after(cx.config.timeout);
        let put = Put::new(cx, None, change, 1, Terms::default(), deadline);
        self.mint(cx, put);
    }

    /// Deletions of what has expired that are under way.
    pub(crate) const fn expiring(&self) -> usize {
        self.expiring
    }

    /// A peer's client's write, which this node is to coordinate unless it has a reason to refuse.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of one message")]
    pub(crate) fn on_forward(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        to: Life,
        floor: u64,
        change: Change,
        w: usize,
        terms: Terms,
        deadline: Mono,
        refusal: Option<Refusal>,
    ) {
        let refuse = |cx: &mut Cx<'_>, refusal| {
            cx.send(from, Message::Forwarded { op, outcome: Err(Failure::NotTaken(refusal)) });
        };
        if to != cx.life && !planted!(cx.shared.plants, ForwardToAnyLife) {
            let refusal = Refusal::OtherLife(cx.life);
            return refuse(cx, refusal);
        }
        // Whether it was taken comes first: a refusal of the second copy would deny what was done for the first.
        if !self.take(cx, op, floor) && !planted!(cx.shared.plants, ForwardForgotten) {
            cx.shared.stats.forwards_doubled += 1;
            return;
        }
        if let Some(refusal) = refusal {
            return refuse(cx, refusal);
        }
        let partition = cx.layout.partition(&change.key);
        if !terms.stands_in && !cx.layout.holds(cx.me(), partition) {
            return refuse(cx, Refusal::NotHeld);
        }
        let w = w.clamp(1, cx.config.replicas);
        let asker = Asker::Peer { node: from, op };
        let put = Put::new(cx, Some(asker), change, w, terms, deadline);
        self.mint(cx, put);
    }

    /// Whether this forward arrives for the first time.
    fn take(&mut self, cx: &mut Cx<'_>, op: OpId, floor: u64) -> bool {
        self.forwards_taken += 1;
        if self.origins.len() >= ORIGINS_MAX && !self.origins.contains_key(&op.origin) {
            let idle = self.origins.iter().min_by_key(|(_, origin)| origin.last_used).map(|(&life, _)| life);
            idle.and_then(|life| self.origins.remove(&life));
        }
        let origin = self.origins.entry(op.origin).or_default();
        origin.last_used = self.forwards_taken;
        if floor > origin.floor {
            origin.floor = floor;
            origin.taken = origin.taken.split_off(&floor);
        }
        let is_open = op.n >= origin.floor || planted!(cx.shared.plants, LateForward);
        let is_first = is_open && origin.taken.insert(op.n);
        sometimes!(cx.shared.moments, ForwardLate, !is_open);
        sometimes!(cx.shared.moments, ForwardDoubled, is_open && !is_first);
        is_first
    }

    /// Has the next primary coordinate, this node itself if it is one; replies with `last` when none is left.
    fn attempt(&mut self, cx: &mut Cx<'_>, peers: &Peers, mut put: Put, last: Refusal) {
        let layout = cx.layout;
        let partition = layout.partition(&put.change.key);
        let primaries = layout.coordinators(partition);
        let me = cx.me();
        let next = primaries
            .iter()
            .enumerate()
            .filter(|(_, node)| !put.refused.contains(node))
            .min_by_key(|&(index, &node)| (node != me, peers.is_suspected(node), index));
        let next = next.map(|(_, &node)| node);
        let is_lost = next.is_some_and(|node| node != me && peers.is_suspected(node));
        let may_stand_in = put.terms.sloppy && put.terms.primaries == 0;
        let stand_in = if is_lost && may_stand_in { stand_in(cx, peers, &put, partition) } else { None };
        put.terms.stands_in = stand_in.is_some();
        let Some(node) = stand_in.or(next).filter(|_| put.attempts < 2 * primaries.len()) else {
            return self.finish(cx, put.asker, Err(Failure::NotTaken(last)));
        };
        put.attempts += 1;
        if node == me {
            return self.mint(cx, put);
        }
        let n = cx.next_op();
        self.forwarded.insert(n);
        let floor = self.forwarded.first().copied().unwrap_or(n);
        cx.shared.stats.forwards += 1;
        sometimes!(cx.shared.moments, WriteForwarded);
        let to = peers.life(node);
        let w = if planted!(cx.shared.plants, CoordinatorCountsItself) { (put.w - 1).max(1) } else { put.w };
        cx.send(
            node,
            Message::Forward {
                op: cx.op(n),
                to,
                floor,
                change: put.change.clone(),
                w: w as u8,
                timeout: put.deadline.since(cx.now.mono),
                terms: put.terms,
            },
        );
        put.stage = Stage::Forwarded { node, to };
        self.open(cx, n, put);
    }

    fn mint(&mut self, cx: &mut Cx<'_>, mut put: Put) {
        let n = cx.next_op();
        let (change, waiter) = (put.change.clone(), Waiter::Put(n));
        put.terms.stands_in &= !cx.layout.holds(cx.me(), cx.layout.partition(&change.key));
        if put.terms.stands_in {
            cx.step(Step::StandIn { change, waiter });
        } else {
            cx.access(change.key.clone(), waiter, Task::Mint(change));
        }
        put.stage = Stage::Minting;
        self.open(cx, n, put);
    }

    fn open(&mut self, cx: &mut Cx<'_>, n: u64, put: Put) {
        cx.shared.timers.set(put.deadline, Timer::Put(n));
        self.owed += usize::from(put.is_for_client());
        self.expiring += usize::from(put.asker.is_none());
        self.open.insert(n, put);
    }

    fn close(&mut self, cx: &mut Cx<'_>, n: u64) -> Option<Put> {
        let put = self.open.remove(&n)?;
        self.owed -= usize::from(put.is_for_client());
        self.expiring -= usize::from(put.asker.is_none());
        self.forwarded.remove(&n);
        cx.shared.timers.cancel(put.deadline, Timer::Put(n));
        if let Stage::Gathering(gathering) = &put.stage
            && let Some(at) = gathering.late_at
        {
            cx.shared.timers.cancel(at, Timer::PutLate(n));
        }
        Some(put)
    }

    /// This node's own slot has answered.
    pub(crate) fn on_minted(&mut self, cx: &mut Cx<'_>, peers: &Peers, n: u64, answer: Answer) {
        let Some(put) = self.open.get_mut(&n) else {
            // Its time was up before it was on disk: anti-entropy will carry it to the others.
            sometimes!(cx.shared.moments, WriteOvertaken);
            return;
        };
        assert!(matches!(put.stage, Stage::Minting), "a dot was minted for a write that had one");
        let layout = cx.layout;
        let me = cx.me();
        match answer {
            Answer::Minted { dot, delta, shown } => {
                let partition = layout.partition(&put.change.key);
                let holders = layout.holders(partition).to_vec();
                let needed = if planted!(cx.shared.plants, QuorumShort) { (put.w - 1).max(1) } else { put.w };
                let sets = if planted!(cx.shared.plants, WriteForgetsOldLayout) {
                    layout.read_sets(partition, needed)
                } else {
                    layout.write_sets(partition, needed)
                };
                put.epoch = layout.view().newest;
                let asked = usize::from(put.terms.primaries);
                let primaries =
                    (asked > 0).then(|| Tally::of(holders.len(), layout.write_sets(partition, asked)));
                for &node in holders.iter().filter(|&&node| node != me) {
                    let (key, delta) = (put.change.key.clone(), delta.clone());
                    cx.send(node, Message::Store { op: cx.op(n), key, dot, delta });
                }
                let mut gathering = Box::new(Gathering {
                    tally: Tally::of(holders.len(), sets),
                    holders,
                    primaries,
                    dot,
                    delta,
                    shown,
                    standing: Vec::new(),
                    refused: 0,
                    last: None,
                    late_at: None,
                });
                let is_suspected = |node: &NodeId| *node != me && peers.is_suspected(*node);
                match gathering.holders.iter().position(|&node| node == me) {
                    Some(place) => _ = gathering.yes(place),
                    None if !put.terms.stands_in => {}
                    None => {
                        // It has minted the dot in the place of one that it does not reach.
                        let place = gathering.holders.iter().position(is_suspected).unwrap_or(0);
                        gathering.standing.push((me, place));
                        gathering.tally.yes(place);
                    }
                }
                let lost: Vec<usize> = (0..gathering.holders.len())
                    .filter(|&place| gathering.tally.is_awaited(place))
                    .filter(|&place| is_suspected(&gathering.holders[place]))
                    .collect();
                put.stage = Stage::Gathering(gathering);
                if put.terms.sloppy && put.standing() == Standing::Pending {
                    for place in lost {
                        put.stand_in(cx, peers, n, place);
                    }
                    put.await_late(cx, n);
                }
                self.settle(cx, n);
            }
            Answer::Refused(refusal) => {
                let mut put = self.close(cx, n).expect("just seen");
                if put.is_for_client() && !matches!(refusal, Refusal::TooManySiblings { .. }) {
                    sometimes!(cx.shared.moments, CoordinatorChanged);
                    put.refused.push(me);
                    self.attempt(cx, peers, put, refusal);
                } else {
                    self.finish(cx, put.asker, Err(Failure::NotTaken(refusal)));
                }
            }
            Answer::Loaded(_) | Answer::Joined => unreachable!("a mint is answered with a dot or a refusal"),
        }
    }

    /// A replica has the delta on disk, or refuses it.
    pub(crate) fn on_stored(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        from: NodeId,
        op: OpId,
        outcome: Result<(), Refusal>,
    ) {
        let Some(put) = self.open.get_mut(&op.n) else {
            return;
        };
        let is_sloppy = put.terms.sloppy;
        let Stage::Gathering(gathering) = &mut put.stage else {
            return;
        };
        let holder = gathering.holders.iter().position(|&node| node == from);
        let standing = || gathering.standing.iter().find(|&&(node, _)| node == from).map(|&(_, place)| place);
        let Some(place) = holder.or_else(standing) else {
            return;
        };
        match outcome {
            Ok(()) => {
                sometimes!(cx.shared.moments, AckDoubled, !gathering.tally.is_awaited(place));
                let is_fresh =
                    if holder.is_some() { gathering.yes(place) } else { gathering.tally.yes(place) };
                let others = 0..gathering.holders.len();
                if !is_fresh
                    && planted!(cx.shared.plants, AckCountedTwice)
                    && let Some(other) = others.into_iter().find(|&other| gathering.tally.is_awaited(other))
                {
                    gathering.yes(other);
                }
            }
            Err(refusal) => {
                let is_first = match &mut gathering.primaries {
                    Some(primaries) if holder.is_some() => primaries.no(place),
                    _ => false,
                };
                if !gathering.tally.is_awaited(place) && !is_first {
                    return;
                }
                gathering.last = Some(refusal);
                gathering.refused |= u128::from(holder.is_some()) << place;
                // Whoever took its place, or takes it now, still may keep the delta.
                let is_stood_in = holder.is_some() && gathering.standing.iter().any(|&(_, at)| at == place);
                let passes = holder.is_none() || will_pass(refusal);
                let is_kept = is_stood_in || (is_sloppy && passes && put.stand_in(cx, peers, op.n, place));
                let Stage::Gathering(gathering) = &mut put.stage else { unreachable!("just seen") };
                if !is_kept && gathering.refused >> place & 1 == 1 {
                    gathering.no(place);
                }
            }
        }
        self.settle(cx, op.n);
    }

    /// A write has waited long: asks stand-ins for those that are still silent.
    pub(crate) fn on_late(&mut self, cx: &mut Cx<'_>, peers: &Peers, n: u64) {
        let Some(put) = self.open.get_mut(&n) else { return };
        let Stage::Gathering(gathering) = &mut put.stage else { return };
        gathering.late_at = None;
        let (tally, places) = (&gathering.tally, 0..gathering.holders.len());
        let silent: Vec<usize> = places.filter(|&place| tally.is_awaited(place)).collect();
        for place in silent {
            put.stand_in(cx, peers, n, place);
        }
        put.await_late(cx, n);
    }

    /// Replies if the quorum is decided.
    fn settle(&mut self, cx: &mut Cx<'_>, n: u64) {
        let Some(standing) = self.open.get(&n).map(Put::standing) else {
            return;
        };
        if standing == Standing::Pending {
            return;
        }
        let mut put = self.close(cx, n).expect("just seen");
        if planted!(cx.shared.plants, RefusedRetry) && standing == Standing::Impossible && put.attempts < 2 {
            put.attempts = 2;
            return self.mint(cx, put);
        }
        let Stage::Gathering(gathering) = put.stage else { unreachable!("only they are decided") };
        let outcome = if standing == Standing::Reached {
            Ok(gathering.shown)
        } else {
            let (acks, needed, replicas) = counts(gathering.hardest());
            let last = gathering.last.expect("a quorum becomes impossible by a refusal");
            sometimes!(cx.shared.moments, WriteImpossible);
            Err(Failure::Refused { acks, needed, replicas, last })
        };
        self.finish(cx, put.asker, outcome);
    }

    /// The primary that was asked to coordinate has answered.
    pub(crate) fn on_forwarded(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &mut Peers,
        from: NodeId,
        op: OpId,
        outcome: Result<Context, Failure>,
    ) {
        if !cx.has_asked(op) {
            return;
        }
        let Some(&Stage::Forwarded { node, to }) = self.open.get(&op.n).map(|put| &put.stage) else { return };
        if node != from {
            return;
        }
        let mut put = self.close(cx, op.n).expect("just seen");
        let layout = cx.layout;
        let copies = layout.coordinators(layout.partition(&put.change.key)).len().max(1);
        match outcome {
            Err(Failure::NotTaken(last @ Refusal::OtherLife(life))) => {
                peers.learn(from, life);
                if to == Life::default() {
                    // Nobody was asked: the question only went out to be corrected.
                    sometimes!(cx.shared.moments, ForwardCorrected, to == Life::default());
                    self.attempt(cx, peers, put, last);
                } else {
                    // Another copy of the message may have reached that life before it ended, and been carried out.
                    sometimes!(cx.shared.moments, ForwardUncertain);
                    let (acks, needed, replicas) = counts(&Tally::new(copies, put.w.min(copies)));
                    self.finish(cx, put.asker, Err(Failure::Refused { acks, needed, replicas, last }));
                }
            }
            Err(Failure::NotTaken(refusal)) if !matches!(refusal, Refusal::TooManySiblings { .. }) => {
                sometimes!(cx.shared.moments, CoordinatorChanged);
                put.refused.push(from);
                self.attempt(cx, peers, put, refusal);
            }
            outcome => self.finish(cx, put.asker, outcome),
        }
    }

    /// A write's time is up.
    pub(crate) fn on_timeout(&mut self, cx: &mut Cx<'_>, n: u64) {
        let Some(put) = self.close(cx, n) else { return };
        let layout = cx.layout;
        let copies = layout.coordinators(layout.partition(&put.change.key)).len().max(1);
        let nothing = Tally::new(copies, put.w.min(copies));
        let (acks, needed, replicas) = match put.stage {
            Stage::Gathering(gathering) => {
                let Gathering { holders, tally, standing, .. } = gathering.as_ref();
                let holders = holders.iter().copied().zip(0..).chain(standing.iter().copied());
                for (node, _) in holders.filter(|&(_, place)| tally.is_awaited(place) && tally.acks() > 0) {
                    if node != cx.me() {
                        cx.step(Step::Silent(node));
                    }
                }
                counts(gathering.hardest())
            }
            Stage::Forwarded { node, .. } => {
                cx.step(Step::Silent(node));
                counts(&nothing)
            }
            Stage::Minting => counts(&nothing),
        };
        self.finish(cx, put.asker, Err(Failure::Timeout { acks, needed, replicas }));
    }

    fn finish(&self, cx: &mut Cx<'_>, asker: Option<Asker>, outcome: Result<Context, Failure>) {
        match asker {
            Some(Asker::Client(call)) => {
                let reply = match outcome {
                    Ok(seen) => Reply::Stored { seen },
                    Err(failure) => Reply::Failed(failure),
                };
                cx.reply(call, reply);
            }
            Some(Asker::Peer { node, op }) => cx.send(node, Message::Forwarded { op, outcome }),
            None => {
                sometimes!(cx.shared.moments, ExpiredDeleted, outcome.is_ok());
                sometimes!(cx.shared.moments, ExpiryFailed, outcome.is_err());
                cx.shared.stats.expired += u64::from(outcome.is_ok());
            }
        }
    }

    /// Panics when the parts disagree.
    pub(crate) fn check(&self, timer_set: impl Fn(Mono, Timer) -> bool) {
        let owed = self.open.values().filter(|put| put.is_for_client()).count();
        assert_eq!(owed, self.owed, "writes that owe a client their reply are miscounted");
        for (&n, put) in &self.open {
            assert!(timer_set(put.deadline, Timer::Put(n)), "write {n} has no timer");
            match &put.stage {
                Stage::Forwarded { .. } => {
                    assert!(self.forwarded.contains(&n), "write {n} is forwarded and not listed so")
                }
                Stage::Minting => {}
                Stage::Gathering(gathering) => {
                    assert_eq!(put.standing(), Standing::Pending, "write {n} is open although it is decided");
                    if let Some(at) = gathering.late_at {
                        assert!(
                            timer_set(at, Timer::PutLate(n)),
                            "write {n} waits for stand-ins by no timer"
                        );
                    }
                    let nodes =
                        gathering.standing.iter().map(|&(node, _)| node).chain(gathering.holders.clone());
                    let nodes: Vec<NodeId> = nodes.collect();
                    let is_twice = |(at, node): (usize, &NodeId)| nodes[..at].contains(node);
                    assert!(!nodes.iter().enumerate().any(is_twice), "write {n} counts a node twice");
                }
            }
        }
        assert!(
            self.forwarded.iter().all(|n| self.open.contains_key(n)),
            "a closed write is listed as forwarded"
        );
    }
}

impl Put {
    fn new(
        cx: &Cx<'_>,
        asker: Option<Asker>,
        change: Change,
        w: usize,
        terms: Terms,
        deadline: Mono,
    ) -> Self {
        let epoch = cx.layout.view().newest;
        let (stage, refused) = (Stage::Minting, Vec::new());
        let started = cx.now.mono;
        Self { asker, change, w, started, deadline, stage, epoch, refused, terms, attempts: 0 }
    }

    /// Whether its quorum is decided.
    fn standing(&self) -> Standing {
        match &self.stage {
            Stage::Gathering(gathering) => gathering.standing(),
            Stage::Forwarded { .. } | Stage::Minting => Standing::Pending,
        }
    }

    /// Has the next stand-in keep the delta for the holder at `place`. False when there is none left.
    fn stand_in(&mut self, cx: &mut Cx<'_>, peers: &Peers, n: u64, place: usize) -> bool {
        let Stage::Gathering(gathering) = &mut self.stage else { return false };
        let (layout, me) = (cx.layout, cx.me());
        let order = cx.shared.stand_ins.order(layout, layout.partition(&self.change.key));
        let is_used = |node: NodeId| {
            node == me
                || gathering.holders.contains(&node)
                || gathering.standing.iter().any(|&(used, _)| used == node)
        };
        let next = order.iter().copied().find(|&node| !is_used(node) && !peers.is_suspected(node));
        let Some(node) = next else { return false };
        gathering.standing.push((node, place));
        sometimes!(cx.shared.moments, HintSent);
        let (target, key, dot) = (gathering.holders[place], self.change.key.clone(), gathering.dot);
        let delta = gathering.delta.clone();
        cx.send(node, Message::Hint { op: cx.op(n), target, key, dot, delta });
        true
    }

    /// Sets the timer for asking stand-ins, a third of the time from now.
    fn await_late(&mut self, cx: &mut Cx<'_>, n: u64) {
        let start = self.started;
        let Stage::Gathering(gathering) = &mut self.stage else { return };
        let third = (self.deadline.since(start) / 3).max(PATIENCE_MIN);
        let at = cx.now.mono.after(third);
        if at < self.deadline {
            gathering.late_at = Some(at);
            cx.shared.timers.set(at, Timer::PutLate(n));
        }
    }

    const fn is_for_client(&self) -> bool {
        matches!(self.asker, Some(Asker::Client(_)))
    }
}

/// Whether what a replica refuses now it may take later, so that a hint for it makes sense.
const fn will_pass(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::CatchingUp | Refusal::Storage | Refusal::Overloaded)
}

/// Who mints the dot of a write whose replicas cannot be reached: this node itself, unless it has refused, or the first
/// stand-in that is not suspected.
fn stand_in(cx: &mut Cx<'_>, peers: &Peers, put: &Put, partition: Partition) -> Option<NodeId> {
    let (layout, me) = (cx.layout, cx.me());
    let order = cx.shared.stand_ins.order(layout, partition);
    let can = |node: NodeId| !put.refused.contains(&node) && (node == me || !peers.is_suspected(node));
    let mine = Some(me).filter(|&me| layout.has(me) && !layout.holds(me, partition) && can(me));
    mine.or_else(|| order.iter().copied().find(|&node| can(node)))
}
