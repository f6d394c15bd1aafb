//! Timers stay inside the node; only the next deadline comes out.

use alloc::collections::BTreeSet;

use crate::id::NodeId;
use crate::plant::Plants;
use crate::time::Mono;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A read's time is up.
    Get(u64),
    /// A write's time is up.
    Put(u64),
    /// A listing's time is up.
    List(u64),
    /// Anti-entropy with a peer: begin a round, or give up the one that hangs.
    Sync(NodeId),
    /// Look at the next page of objects at rest.
    Sweep,
    /// Go on with mending damaged rows.
    Mend,
    /// Verify the next page of objects at rest.
    Patrol,
    /// Look for values that have expired.
    Expiry,
    /// Probes of whether others answer.
    Swim,
    /// Gossip, hail, save once more.
    Gossip,
    /// A proposal begins again, or its time is up.
    Proposal,
    /// Go on with dropping what is not held any more.
    Retire,
    /// A write has waited long for a replica: ask stand-ins.
    PutLate(u64),
    /// Go on with handing hints over.
    Hints,
    /// Close once more what ended lives left open: the disk had refused.
    Close,
}

/// All timers of a node, by when they are due.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Timers {
    due: BTreeSet<(Mono, Timer)>,
    plants: Plants,
}

impl Timers {
    pub(crate) fn new(plants: Plants) -> Self {
        Self { due: BTreeSet::new(), plants }
    }

    pub(crate) fn set(&mut self, at: Mono, timer: Timer) {
        if planted!(self.plants, TimerLost) {
            self.due.retain(|&(moment, _)| moment != at);
        }
        self.due.insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, at: Mono, timer: Timer) {
        self.due.remove(&(at, timer));
    }

    /// The next timer that is due by `now`.
    pub(crate) fn pop(&mut self, now: Mono) -> Option<Timer> {
        let &(at, timer) = self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, timer));
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.due.first().map(|&(at, _)| at)
    }

    pub(crate) fn has(&self, at: Mono, timer: Timer) -> bool {
        self.due.contains(&(at, timer))
    }
}
