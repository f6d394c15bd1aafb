//! Writes: one primary mints the dot, puts it on its own disk, and only then sends the delta to the others.
//!
//! The node that a client calls is the coordinator when it is a primary of the key; otherwise it forwards the
//! change to one. Another primary is tried only after a refusal, which says that nothing was minted: after silence
//! nobody knows, and a second coordinator would make a second value of one write. A coordinator remembers the
//! forwards that it took, so that a doubled message mints nothing either; a forward names the life that it is for,
//! because the next life remembers nothing. The reply leaves with the W-th disk.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::causal::Context;
use crate::cx::{Answer, Asker, Cx, Step, Task, Waiter};
use crate::get::counts;
use crate::id::{CallId, Life, NodeId, OpId};
use crate::input::Reply;
use crate::key::Key;
use crate::message::{Change, Failure, Message, Refusal};
use crate::peers::Peers;
use crate::quorum::{Standing, Tally};
use crate::time::Mono;
use crate::timers::Timer;

/// How many lives of other nodes are remembered for the sake of doubled forwards.
const ORIGINS_MAX: usize = 4_096;

/// How far a write has come.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
enum Stage {
    /// A primary has been asked to coordinate, in the life that it was thought to be in.
    Forwarded { node: NodeId, to: Life },
    /// This node's own slot is to mint the dot and put it on disk.
    Minting,
    /// The delta has gone to the other holders.
    Gathering { holders: Vec<NodeId>, tally: Tally, shown: Context, last: Option<Refusal> },
}

/// One write under way.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Put {
    /// None when this node deletes what has expired.
    asker: Option<Asker>,
    change: Change,
    w: usize,
    deadline: Mono,
    stage: Stage,
    /// The epoch of the newest layout when it began, and thus of those that it goes to.
    epoch: u64,
    /// Primaries that have refused and need not be asked again.
    refused: Vec<NodeId>,
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
            Stage::Gathering { holders, tally, .. } => {
                format!("write {n} of {key:?} waits for {}", tally.awaited(holders))
            }
        })
    }

    /// Writes that still owe a client their reply.
    pub(crate) const fn owed(&self) -> usize {
        self.owed
    }

    /// The epoch of the oldest layouts that a write under way goes to.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.open.values().map(|put| put.epoch).min()
    }

    /// A client's write.
    pub(crate) fn start(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        call: CallId,
        change: Change,
        w: usize,
        deadline: Mono,
    ) {
        let asker = Asker::Client(call);
        let put = Put::new(cx, Some(asker), change, w, deadline);
        self.attempt(cx, peers, put, Refusal::NotHeld);
    }

    /// Deletes values of a key that have expired, and nothing else. One copy is enough: anti-entropy carries it on.
    pub(crate) fn expire(&mut self, cx: &mut Cx<'_>, key: Key, seen: Context) {
        let change = Change { key, seen, value: None };
        let deadline = cx.now.mono.after(cx.config.timeout);
        let put = Put::new(cx, None, change, 1, deadline);
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
        let partition = cx.layout.partition(&change.key);
        let not_held = (!cx.layout.holds(cx.me(), partition)).then_some(Refusal::NotHeld);
        if let Some(refusal) = refusal.or(not_held) {
            return refuse(cx, refusal);
        }
        let w = w.clamp(1, cx.config.replicas);
        let asker = Asker::Peer { node: from, op };
        let put = Put::new(cx, Some(asker), change, w, deadline);
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
        let primaries = layout.coordinators(layout.partition(&put.change.key));
        let me = cx.me();
        let next = primaries
            .iter()
            .enumerate()
            .filter(|(_, node)| !put.refused.contains(node))
            .min_by_key(|&(index, &node)| (node != me, peers.is_suspected(node), index));
        let Some((_, &node)) = next.filter(|_| put.attempts < 2 * primaries.len()) else {
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
            },
        );
        put.stage = Stage::Forwarded { node, to };
        self.open(cx, n, put);
    }

    fn mint(&mut self, cx: &mut Cx<'_>, mut put: Put) {
        let n = cx.next_op();
        cx.access(put.change.key.clone(), Waiter::Put(n), Task::Mint(put.change.clone()));
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
                let mut tally = Tally::of(holders.len(), sets);
                for (index, &node) in holders.iter().enumerate() {
                    if node == me {
                        tally.yes(index);
                    } else {
                        let (key, delta) = (put.change.key.clone(), delta.clone());
                        let op = cx.op(n);
                        cx.send(node, Message::Store { op, key, dot, delta });
                    }
                }
                put.stage = Stage::Gathering { holders, tally, shown, last: None };
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
        from: NodeId,
        op: OpId,
        outcome: Result<(), Refusal>,
    ) {
        if !cx.has_asked(op) {
            return;
        }
        let Some(put) = self.open.get_mut(&op.n) else {
            return;
        };
        let Stage::Gathering { holders, tally, last, .. } = &mut put.stage else {
            return;
        };
        let Some(index) = holders.iter().position(|&node| node == from) else {
            return;
        };
        match outcome {
            Ok(()) => {
                sometimes!(cx.shared.moments, AckDoubled, !tally.is_awaited(index));
                if !tally.yes(index)
                    && planted!(cx.shared.plants, AckCountedTwice)
                    && let Some(other) = (0..holders.len()).find(|&other| tally.is_awaited(other))
                {
                    tally.yes(other);
                }
            }
            Err(refusal) => {
                if tally.no(index) {
                    *last = Some(refusal);
                }
            }
        }
        self.settle(cx, op.n);
    }

    /// Replies if the quorum is decided.
    fn settle(&mut self, cx: &mut Cx<'_>, n: u64) {
        let Some(Stage::Gathering { tally, .. }) = self.open.get(&n).map(|put| &put.stage) else {
            return;
        };
        let standing = tally.standing();
        if standing == Standing::Pending {
            return;
        }
        let mut put = self.close(cx, n).expect("just seen");
        if planted!(cx.shared.plants, RefusedRetry) && standing == Standing::Impossible && put.attempts < 2 {
            put.attempts = 2;
            return self.mint(cx, put);
        }
        let Stage::Gathering { tally, shown, last, .. } = put.stage else { unreachable!("just seen") };
        let outcome = if standing == Standing::Reached {
            Ok(shown)
        } else {
            let (acks, needed, replicas) = counts(&tally);
            let last = last.expect("a quorum becomes impossible by a refusal");
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
                if to == Life::default() || planted!(cx.shared.plants, OtherLifeRetry) {
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
        let (holders, tally) = match put.stage {
            Stage::Gathering { holders, tally, .. } => (holders, tally),
            Stage::Forwarded { node, .. } => {
                cx.step(Step::Silent(node));
                (Vec::new(), nothing)
            }
            Stage::Minting => (Vec::new(), nothing),
        };
        for (index, &node) in holders.iter().enumerate() {
            if tally.is_awaited(index) && node != cx.me() && tally.acks() > 0 {
                cx.step(Step::Silent(node));
            }
        }
        let (acks, needed, replicas) = counts(&tally);
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
            None => cx.shared.stats.expired += u64::from(outcome.is_ok()),
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
                Stage::Gathering { tally, .. } => {
                    assert_eq!(
                        tally.standing(),
                        Standing::Pending,
                        "write {n} is open although it is decided"
                    );
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
    fn new(cx: &Cx<'_>, asker: Option<Asker>, change: Change, w: usize, deadline: Mono) -> Self {
        let epoch = cx.layout.view().newest;
        let (stage, refused) = (Stage::Minting, Vec::new());
        Self { asker, change, w, deadline, stage, epoch, refused, attempts: 0 }
    }

    const fn is_for_client(&self) -> bool {
        matches!(self.asker, Some(Asker::Client(_)))
    }
}
