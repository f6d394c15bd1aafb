//! Reads: ask every replica, answer at R with the join, then repair every replica that turned out stale.
//!
//! The reply leaves with the R-th answer. The read itself stays open for the others until its time is up, because a
//! replica that is found stale late is as stale as one found early. Replicas that hold nothing are repaired too.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::causal::Dot;
use crate::cx::{Answer, Cx, Join, Step, Task, Waiter};
use crate::id::{CallId, NodeId, OpId};
use crate::input::Reply;
use crate::key::Key;
use crate::kind::Object;
use crate::message::{Failure, Message, Refusal};
use crate::quorum::{Standing, Tally};
use crate::time::Mono;
use crate::timers::Timer;

/// One read under way.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Get {
    /// Taken when the reply is given.
    call: Option<CallId>,
    key: Key,
    tally: Tally,
    /// The join of all answers so far.
    merged: Object,
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
}

impl Gets {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Reads that still owe their reply.
    pub(crate) fn owed(&self) -> usize {
        self.open.values().filter(|get| get.call.is_some()).count()
    }

    pub(crate) fn start(&mut self, cx: &mut Cx<'_>, call: CallId, key: Key, r: usize, deadline: Mono) {
        let n = cx.next_op();
        let op = cx.op(n);
        let layout = cx.layout;
        let primaries = layout.primaries(layout.partition(&key));
        for &node in primaries {
            if node == cx.me() {
                cx.access(key.clone(), Waiter::Get(n), Task::Load);
            } else {
                cx.send(node, Message::Fetch { op, key: key.clone() });
            }
        }
        let tally = Tally::new(primaries.len(), r);
        let (merged, held) = (Object::default(), Vec::new());
        self.open.insert(n, Get { call: Some(call), key, tally, merged, held, deadline, last: None });
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
        if op.origin == cx.life {
            self.on_answer(cx, from, op.n, outcome);
        }
    }

    fn on_answer(&mut self, cx: &mut Cx<'_>, from: NodeId, n: u64, outcome: Result<Object, Refusal>) {
        let Some(get) = self.open.get_mut(&n) else { return };
        let layout = cx.layout;
        let primaries = layout.primaries(layout.partition(&get.key));
        let Some(index) = primaries.iter().position(|&node| node == from) else {
            return;
        };
        // A replica that has lost its data, and has not got it back, would say "nothing" of everything.
        let own_gap = from == cx.me() && !cx.shared.replicas[&layout.partition(&get.key)].complete;
        match outcome {
            Ok(_) if own_gap => {
                get.tally.no(index);
                get.last = Some(Refusal::CatchingUp);
            }
            Ok(object) => {
                if !get.tally.yes(index) {
                    return;
                }
                get.held.push((index, object.dots().collect()));
                get.merged.join(object);
            }
            Err(refusal) => {
                get.tally.no(index);
                get.last = Some(refusal);
            }
        }
        match get.tally.standing() {
            Standing::Reached => get.answer(cx),
            Standing::Impossible => get.fail(cx),
            Standing::Pending => {}
        }
        if get.tally.is_complete() {
            let get = self.open.remove(&n).expect("just seen");
            cx.shared.timers.cancel(get.deadline, Timer::Get(n));
            get.repair(cx, primaries);
        }
    }

    /// A read's time is up.
    pub(crate) fn on_timeout(&mut self, cx: &mut Cx<'_>, n: u64) {
        let Some(mut get) = self.open.remove(&n) else {
            return;
        };
        let layout = cx.layout;
        let primaries = layout.primaries(layout.partition(&get.key));
        for (index, &node) in primaries.iter().enumerate() {
            if get.tally.is_awaited(index) && node != cx.me() {
                cx.step(Step::Silent(node));
            }
        }
        if let Some(call) = get.call.take() {
            let (acks, needed, replicas) = counts(&get.tally);
            cx.reply(call, Reply::Failed(Failure::Timeout { acks, needed, replicas }));
        }
        get.repair(cx, primaries);
    }

    /// Panics when the parts disagree.
    pub(crate) fn check(&self, timer_set: impl Fn(Mono, Timer) -> bool) {
        for (&n, get) in &self.open {
            assert!(timer_set(get.deadline, Timer::Get(n)), "read {n} has no timer");
            assert!(!get.tally.is_complete(), "read {n} is open although every replica has answered");
            assert!(
                get.call.is_none() || get.tally.standing() == Standing::Pending,
                "read {n} owes its reply although its quorum is decided"
            );
            assert_eq!(get.held.len(), get.tally.acks(), "read {n} counts answers that it does not hold");
        }
    }
}

/// A tally in the numbers of a [`Failure`].
pub(crate) fn counts(tally: &Tally) -> (u8, u8, u8) {
    // A tally has at most 64 replicas.
    (tally.acks() as u8, tally.needed() as u8, tally.replicas() as u8)
}

impl Get {
    fn answer(&mut self, cx: &mut Cx<'_>) {
        let Some(call) = self.call.take() else { return };
        cx.shared.stats.siblings += u64::from(self.merged.store.0.len() > 1);
        let siblings = self.merged.siblings().cloned().collect();
        cx.reply(call, Reply::Got { siblings, seen: self.merged.context.clone() });
    }

    fn fail(&mut self, cx: &mut Cx<'_>) {
        let Some(call) = self.call.take() else { return };
        let (acks, needed, replicas) = counts(&self.tally);
        let last = self.last.expect("a quorum becomes impossible by a refusal");
        cx.reply(call, Reply::Failed(Failure::Refused { acks, needed, replicas, last }));
    }

    /// Sends the join of all answers to every replica whose answer fell short of it.
    fn repair(self, cx: &mut Cx<'_>, primaries: &[NodeId]) {
        let merged: Vec<Dot> = self.merged.dots().collect();
        for (index, held) in self.held {
            if held == merged || (held.is_empty() && planted!(cx.shared.plants, RepairSkipsEmpty)) {
                continue;
            }
            cx.shared.stats.repairs_sent += 1;
            let (key, object) = (self.key.clone(), self.merged.clone());
            if primaries[index] == cx.me() {
                let why = Join::Repair;
                cx.access(key, Waiter::Nobody, Task::Join { object, dots: Vec::new(), why });
            } else {
                cx.send(primaries[index], Message::Repair { key, object });
            }
        }
    }
}
