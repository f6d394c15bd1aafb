//! Reads: ask every replica, answer at R with the join, then repair every replica that turned out stale.
//!
//! The reply leaves with the R-th answer. The read itself stays open for the others for a moment, because a replica that
//! is found stale late is as stale as one found early. Replicas that hold nothing are repaired too. A sloppy read takes, in
//! the place of a replica that is suspected, the hints that a stand-in keeps for the key; they are joined in and never count
//! as an absence.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::causal::Dot;
use crate::cx::{Answer, Cx, Join, Step, Task, Waiter};
use crate::id::{CallId, NodeId, OpId};
use crate::input::Reply;
use crate::key::Key;
use crate::kind::{Object, Sibling};
use crate::message::{Failure, Message, Refusal, Terms};
use crate::peers::Peers;
use crate::quorum::{Standing, Tally};
use crate::time::Mono;
use crate::timers::Timer;
use crate::token::CLIENT_ACTORS_MAX;

/// How long a read that has given its reply waits for the rest of the replicas.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// One read under way.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Get {
    /// Taken when the reply is given.
    call: Option<CallId>,
    key: Key,
    /// Whom it has asked: the holders when it began.
    holders: Vec<NodeId>,
    tally: Tally,
    /// The join of all answers so far.
    merged: Object,
    /// The same without stand-ins, where so many of the quorum must be replicas.
    primaries: Option<Tally>,
    /// Stand-ins that were asked, and in whose place.
    standing: Vec<(NodeId, usize)>,
    /// What each replica that answered holds, by its place among the primaries.
    held: Vec<(usize, Vec<Dot>)>,
    deadline: Mono,
    last: Option<Refusal>,
}

/// All reads under way.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Gets {
    open: BTreeMap<u64, Get>,
    /// Those that have given their reply and wait for the rest of the replicas.
    lingering: usize,
}

impl Gets {
    /// The oldest read under way, in words.
    pub(crate) fn unrest(&self) -> Option<String> {
        let (n, get) = self.open.first_key_value()?;
        let stage = if get.call.is_some() { "waits" } else { "has replied and lingers" };
        Some(format!("read {n} of {:?} {stage} for {}", get.key, get.tally.awaited(&get.holders)))
    }

    /// Reads that still owe their reply.
    pub(crate) fn owed(&self) -> usize {
        self.open.len() - self.lingering
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of one call")]
    pub(crate) fn start(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        call: CallId,
        key: Key,
        r: usize,
        terms: Terms,
        deadline: Mono,
    ) {
        let n = cx.next_op();
        let op = cx.op(n);
        let layout = cx.layout;
        let partition = layout.partition(&key);
        let holders = layout.holders(partition).to_vec();
        for &node in &holders {
            if node == cx.me() {
                cx.access(key.clone(), Waiter::Get(n), Task::Load);
            } else {
                cx.send(node, Message::Fetch { op, key: key.clone() });
            }
        }
        let needed = if planted!(cx.shared.plants, QuorumShortRead) { (r - 1).max(1) } else { r };
        let tally = Tally::of(holders.len(), layout.read_sets(partition, needed));
        let asked = usize::from(terms.primaries);
        let primaries = (asked > 0).then(|| Tally::of(holders.len(), layout.read_sets(partition, asked)));
        let standing = if terms.sloppy { ask_stand_ins(cx, peers, n, &key, &holders) } else { Vec::new() };
        let (merged, held, call) = (Object::default(), Vec::new(), Some(call));
        let get = Get { call, key, holders, tally, merged, primaries, standing, held, deadline, last: None };
        self.open.insert(n, get);
        cx.shared.timers.set(deadline, Timer::Get(n));
    }

    /// This node's own slot has answered.
    pub(crate) fn on_loaded(&mut self, cx: &mut Cx<'_>, n: u64, answer: Answer) {
        let outcome = match answer {
            Answer::Loaded(object) => Ok(object),
            Answer::Refused(refusal) => Err(refusal),
            Answer::Minted { .. } | Answer::Joined => {
                unreachable!("a load is answered with an object or a refusal")
            }
        };
        let me = cx.me();
        self.on_answer(cx, me, n, outcome);
    }

    /// A peer has answered.
    pub(crate) fn on_fetched(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        outcome: Result<Object, Refusal>,
    ) {
        if cx.has_asked(op) {
            self.on_answer(cx, from, op.n, outcome);
        }
    }

    fn on_answer(&mut self, cx: &mut Cx<'_>, from: NodeId, n: u64, outcome: Result<Object, Refusal>) {
        let Some(get) = self.open.get_mut(&n) else { return };
        let layout = cx.layout;
        let Some(index) = get.holders.iter().position(|&node| node == from) else {
            return self.on_hints(cx, from, n, outcome);
        };
        // A replica that has lost its data, and has not got it back, would say "nothing" of everything.
        let own = cx.shared.replicas.get(&layout.partition(&get.key));
        let own_gap = from == cx.me() && !own.is_some_and(|replica| replica.complete);
        let owed = get.call.is_some();
        match outcome {
            Ok(_) if own_gap && !planted!(cx.shared.plants, OwnGapAnswers) => {
                sometimes!(cx.shared.moments, OwnGapRefused);
                get.no(index, Refusal::CatchingUp);
            }
            Ok(object) => {
                // Beside its stand-in, it still is a replica that has answered.
                let is_first = get.held.iter().all(|&(place, _)| place != index);
                let is_fresh = get.tally.yes(index);
                let is_primary = get.primaries.as_mut().is_some_and(|primaries| primaries.yes(index));
                if !is_first || !(is_fresh || is_primary || get.is_stood_in(index)) {
                    return;
                }
                sometimes!(
                    cx.shared.moments,
                    LateAnswerRepairs,
                    !owed && get.merged.dots().ne(object.dots())
                );
                get.held.push((index, object.dots().collect()));
                get.merged.join(object);
            }
            Err(Refusal::CatchingUp) if planted!(cx.shared.plants, RefusalCounted) => {
                if get.tally.yes(index) {
                    get.held.push((index, Vec::new()));
                }
            }
            Err(refusal) => get.no(index, refusal),
        }
        self.settle(cx, n, owed);
    }

    /// A stand-in has answered.
    fn on_hints(&mut self, cx: &mut Cx<'_>, from: NodeId, n: u64, outcome: Result<Object, Refusal>) {
        let Some(get) = self.open.get_mut(&n) else { return };
        let Some(&(_, index)) = get.standing.iter().find(|&&(node, _)| node == from) else { return };
        // Whatever it refuses, the replica itself may still answer.
        let Ok(object) = outcome else { return };
        if !get.tally.yes(index) {
            return;
        }
        sometimes!(cx.shared.moments, HintsFetched);
        get.merged.join(object);
        let owed = get.call.is_some();
        self.settle(cx, n, owed);
    }

    /// Answers if the quorum is decided, and ends the read if nobody is awaited any more.
    fn settle(&mut self, cx: &mut Cx<'_>, n: u64, owed: bool) {
        let Some(get) = self.open.get_mut(&n) else { return };
        match get.standing() {
            Standing::Reached => get.answer(cx),
            Standing::Impossible => get.fail(cx),
            Standing::Pending => {}
        }
        if owed && get.call.is_none() {
            self.lingering += 1;
            // Late answers are worth waiting for, but not as long as a patient client, nor as many as there are clients.
            let until = get.deadline.min(cx.now.mono.after(LINGER_MAX));
            cx.shared.timers.cancel(get.deadline, Timer::Get(n));
            cx.shared.timers.set(until, Timer::Get(n));
            get.deadline = until;
        }
        let is_crowded = get.call.is_none() && self.lingering > cx.config.limits.calls;
        sometimes!(cx.shared.moments, ReadsLinger, is_crowded);
        if get.is_complete() || is_crowded {
            let get = self.open.remove(&n).expect("just seen");
            self.lingering -= usize::from(get.call.is_none());
            cx.shared.timers.cancel(get.deadline, Timer::Get(n));
            get.repair(cx);
        }
    }

    /// A read's time is up.
    pub(crate) fn on_timeout(&mut self, cx: &mut Cx<'_>, n: u64) {
        let Some(mut get) = self.open.remove(&n) else {
            return;
        };
        for (index, &node) in get.holders.iter().enumerate() {
            if get.awaits(index) && node != cx.me() {
                cx.step(Step::Silent(node));
            }
        }
        match get.call.take() {
            Some(call) => {
                let (acks, needed, replicas) = counts(get.hardest());
                cx.reply(call, Reply::Failed(Failure::Timeout { acks, needed, replicas }));
            }
            None => self.lingering -= 1,
        }
        get.repair(cx);
    }

    /// Panics when the parts disagree.
    pub(crate) fn check(&self, timer_set: impl Fn(Mono, Timer) -> bool) {
        let lingering = self.open.values().filter(|get| get.call.is_none()).count();
        assert_eq!(lingering, self.lingering, "reads that linger are miscounted");
        for (&n, get) in &self.open {
            assert!(timer_set(get.deadline, Timer::Get(n)), "read {n} has no timer");
            assert!(!get.is_complete(), "read {n} is open although every replica has answered");
            assert!(
                get.call.is_none() || get.standing() == Standing::Pending,
                "read {n} owes its reply although its quorum is decided"
            );
            let stood_in = get.standing.len();
            let held = get.held.len();
            assert!(held + stood_in >= get.tally.yeses(), "read {n} counts answers that it does not hold");
        }
    }
}

/// Asks a stand-in in the place of every holder that is suspected. Who was asked, and in whose place.
fn ask_stand_ins(
    cx: &mut Cx<'_>,
    peers: &Peers,
    n: u64,
    key: &Key,
    holders: &[NodeId],
) -> Vec<(NodeId, usize)> {
    let (layout, me) = (cx.layout, cx.me());
    let is_lost = |&(_, &node): &(usize, &NodeId)| node != me && peers.is_suspected(node);
    let lost: Vec<usize> = holders.iter().enumerate().filter(is_lost).map(|(place, _)| place).collect();
    if lost.is_empty() {
        return Vec::new();
    }
    let order = cx.shared.stand_ins.order(layout, layout.partition(key)).iter().copied();
    let can: Vec<NodeId> = order.filter(|&node| node == me || !peers.is_suspected(node)).collect();
    let asked: Vec<(NodeId, usize)> = can.into_iter().zip(lost).collect();
    for &(node, _) in &asked {
        if node == me {
            cx.step(Step::FetchHints { key: key.clone(), waiter: Waiter::Get(n) });
        } else {
            cx.send(node, Message::FetchHints { op: cx.op(n), key: key.clone() });
        }
    }
    asked
}

/// The task of joining in what a read found others to hold. Whoever shows a dot has its whole effect, so the clock may
/// take up the dots that are visible.
pub(crate) fn repair(object: Object) -> Task {
    let dots = object.dots().collect();
    Task::Join { object, dots, why: Join::Repair }
}

/// A tally in the numbers of a [`Failure`].
pub(crate) fn counts(tally: &Tally) -> (u8, u8, u8) {
    // A tally has at most 64 replicas.
    (tally.acks() as u8, tally.needed() as u8, tally.replicas() as u8)
}

impl Get {
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

    /// Whether the replica at this place has not answered.
    fn awaits(&self, index: usize) -> bool {
        self.tally.is_awaited(index) || self.primaries.as_ref().is_some_and(|tally| tally.is_awaited(index))
    }

    fn is_complete(&self) -> bool {
        self.tally.is_complete() && self.primaries.as_ref().is_none_or(Tally::is_complete)
    }

    fn is_stood_in(&self, index: usize) -> bool {
        self.standing.iter().any(|&(_, place)| place == index)
    }

    /// The replica at this place refuses.
    fn no(&mut self, index: usize, refusal: Refusal) {
        if let Some(primaries) = &mut self.primaries {
            primaries.no(index);
        }
        self.tally.no(index);
        self.last = Some(refusal);
    }

    fn answer(&mut self, cx: &mut Cx<'_>) {
        let Some(call) = self.call.take() else { return };
        let wall = cx.now.wall;
        let shows_all = planted!(cx.shared.plants, ExpiredShown);
        let is_over = |sibling: &&Sibling| sibling.is_expired(wall) && !shows_all;
        // Their dots stay in what the client has seen: its next write replaces them.
        let siblings: Vec<Sibling> = self.merged.siblings().filter(|it| !is_over(it)).cloned().collect();
        sometimes!(cx.shared.moments, ExpiredHidden, siblings.len() < self.merged.siblings().count());
        cx.shared.stats.siblings += u64::from(siblings.len() > 1);
        sometimes!(cx.shared.moments, SiblingsSeen, siblings.len() > 1);
        let seen = self.merged.context.within(CLIENT_ACTORS_MAX, self.merged.dots());
        cx.reply(call, Reply::Got { siblings, seen });
    }

    fn fail(&mut self, cx: &mut Cx<'_>) {
        let Some(call) = self.call.take() else { return };
        let (acks, needed, replicas) = counts(self.hardest());
        let last = self.last.expect("a quorum becomes impossible by a refusal");
        sometimes!(cx.shared.moments, ReadImpossible);
        cx.reply(call, Reply::Failed(Failure::Refused { acks, needed, replicas, last }));
    }

    /// Sends the join of all answers to every replica whose answer fell short of it.
    fn repair(self, cx: &mut Cx<'_>) {
        let merged: Vec<Dot> = self.merged.dots().collect();
        for (index, held) in self.held {
            sometimes!(cx.shared.moments, StaleRepaired, held != merged);
            if held == merged || (held.is_empty() && planted!(cx.shared.plants, RepairSkipsEmpty)) {
                continue;
            }
            cx.shared.stats.repairs_sent += 1;
            let (key, object) = (self.key.clone(), self.merged.clone());
            if self.holders[index] == cx.me() {
                cx.access(key, Waiter::Nobody, repair(object));
            } else {
                cx.send(self.holders[index], Message::Repair { key, object });
            }
        }
    }
}
