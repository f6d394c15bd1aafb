//! The operator: carries out the changes to the cluster that a scenario asks for, by calling nodes as a person would.
//!
//! A change is staged, planned and applied with what was planned, through any node that answers; after a refusal or
//! silence it is begun again through another one, until the newest layout shows it. A node is taken in while it runs, as
//! with servers, which ask it who it is. The operator draws nothing: which node comes next follows from how many were asked.

use std::time::Duration;

use godown_core::id::{CallId, Life};
use godown_core::input::{Call, ClusterCall, ClusterReply, Reply, Wish};
use godown_core::layout::{Change, Layout, LayoutError, Member};
use godown_core::message::{ClusterRefusal, Failure};

use crate::scenario::{Fault, Kind, MS, Scenario, node_id, place_of};

/// Calls of the operator's are told from those of clients by this bit.
const OPERATOR: u64 = 1 << 62;
/// Time between two attempts.
pub(crate) const PAUSE_NS: u64 = 20 * MS;

/// A change that is to be made.
#[derive(Clone, Debug)]
struct Task {
    /// The fault's place.
    fault: usize,
    change: Change,
    /// The call that is awaited, and the node that has it.
    awaited: Option<(CallId, usize)>,
    next_ns: u64,
}

/// All changes that are still to be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operator {
    tasks: Vec<Task>,
    calls: u64,
}

/// Whether a call is the operator's.
pub(crate) const fn is_operators(id: CallId) -> bool {
    id.0 & OPERATOR != 0
}

impl Operator {
    /// Takes on what a fault asks for, if it asks for anything.
    pub(crate) fn take_on(&mut self, scenario: &Scenario, place: usize, fault: &Fault, now_ns: u64) {
        let member = |node: usize| {
            let plain = Member::plain(node_id(node));
            scenario.settings(node, false).map_or(plain, |at| at.me.clone())
        };
        let first = |nodes: &[usize]| nodes.first().copied().unwrap_or(0);
        let node = first(&fault.nodes);
        let change = match fault.kind {
            Kind::Join => Change::Join(member(node)),
            Kind::Leave => Change::Leave(node_id(node)),
            Kind::Remove => Change::Remove { node: node_id(node), force: false },
            Kind::Replace => {
                Change::Replace { old: node_id(node), new: member(first(&fault.to)), force: false }
            }
            _ => return,
        };
        self.tasks.push(Task { fault: place, change, awaited: None, next_ns: now_ns });
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.tasks.is_empty()
    }

    /// A node has crashed, and answers nothing any more.
    pub(crate) fn crash(&mut self, node: usize, now_ns: u64) {
        for task in self.tasks.iter_mut().filter(|task| task.awaited.is_some_and(|(_, at)| at == node)) {
            (task.awaited, task.next_ns) = (None, now_ns + PAUSE_NS);
        }
    }

    /// The calls that are due. `newest` is the newest layout that any node knows, `can` says which nodes can be asked, and
    /// `store` over which store a node was new, nobody's if it is not, and None of one that cannot say.
    pub(crate) fn due(
        &mut self,
        scenario: &Scenario,
        now_ns: u64,
        newest: &Layout,
        can: impl Fn(usize) -> bool,
        store: impl Fn(usize) -> Option<Life>,
    ) -> Vec<(usize, CallId, Call)> {
        self.tasks.retain(|task| task.awaited.is_some() || !is_made(&task.change, newest));
        let able: Vec<usize> = (0..scenario.nodes()).filter(|node| can(*node)).collect();
        let mut calls = Vec::new();
        for task in self.tasks.iter_mut().filter(|task| task.awaited.is_none() && task.next_ns <= now_ns) {
            task.next_ns = now_ns + PAUSE_NS;
            if let Change::Join(new) | Change::Replace { new, .. } = &mut task.change {
                let Some(store) = store(place_of(new.id)) else { continue };
                new.store = store;
            }
            if able.is_empty() {
                continue;
            }
            self.calls += 1;
            let node = able[self.calls as usize % able.len()];
            let id = CallId(OPERATOR | self.calls);
            task.awaited = Some((id, node));
            calls.push((node, id, call(ClusterCall::Stage(task.change.clone()))));
        }
        calls
    }

    /// An answer; and what is called next.
    pub(crate) fn reply(&mut self, id: CallId, reply: &Reply, now_ns: u64) -> Option<(usize, CallId, Call)> {
        let place = self.tasks.iter().position(|task| task.awaited.is_some_and(|(at, _)| at == id))?;
        let task = &mut self.tasks[place];
        let (_, node) = task.awaited.take().expect("just seen");
        task.next_ns = now_ns + PAUSE_NS;
        let next = match reply {
            Reply::Cluster(reply) => match reply.as_ref() {
                ClusterReply::Staged { .. } => ClusterCall::Plan,
                ClusterReply::Planned(plan) => ClusterCall::Apply { epoch: plan.epoch, hash: plan.hash },
                ClusterReply::Applied { .. } | ClusterReply::Repairing => return None,
            },
            Reply::Failed(Failure::Cluster(refusal)) => {
                match (refusal.as_ref(), &task.change) {
                    (ClusterRefusal::Layout(LayoutError::LastCopy { .. } | LayoutError::Empty), _) => {
                        // The operator has been told why, and leaves it.
                        self.tasks.remove(place);
                    }
                    (ClusterRefusal::Layout(LayoutError::Taken(_)), Change::Replace { old, .. }) => {
                        // The one that was to take the place is a member by now.
                        task.change = Change::Remove { node: *old, force: false };
                    }
                    (ClusterRefusal::Layout(LayoutError::Unknown(_)), Change::Replace { new, .. }) => {
                        // The one whose place it was to take has gone already.
                        task.change = Change::Join(new.clone());
                    }
                    _ => {}
                }
                return None;
            }
            _ => return None,
        };
        self.calls += 1;
        let id = CallId(OPERATOR | self.calls);
        task.awaited = Some((id, node));
        Some((node, id, call(next)))
    }

    /// What is still to be done, by the place of its fault.
    pub(crate) fn awaited(&self) -> Option<usize> {
        self.tasks.first().map(|task| task.fault)
    }
}

fn call(call: ClusterCall) -> Call {
    // Long enough for several rounds, where clients have little time.
    let wish = Wish { timeout: None::<Duration>, ..Wish::default() };
    Call::Cluster { call, wish }
}

fn is_made(change: &Change, newest: &Layout) -> bool {
    let has = |node| newest.member(node).is_some();
    match change {
        Change::Join(member) => has(member.id),
        Change::Leave(node) | Change::Remove { node, .. } => !has(*node),
        Change::Replace { old, new, .. } => !has(*old) && has(new.id),
        Change::Set(_) => true,
    }
}
