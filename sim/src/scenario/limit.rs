//! What a run may inject and still claim that nothing is lost.
//!
//! An acknowledged write is on W disks. If fewer than W nodes ever lose what their disks hold, one copy is left, and
//! the others are refilled from it. So the nodes that lose disks, over the whole run, must be fewer than the weakest
//! W that any write asks for; a node may lose its disk more than once. A write that asks for fewer copies than the
//! cluster's W is outside of what an empty node waits for before it serves, so there may be none beside such a loss. A
//! node that goes back to an earlier state without knowing answers reads from there, and others that lost their disks may
//! catch up with it: such a run promises fresh reads only where quorums overlap in as many more nodes. What
//! goes through on a disk that claims to hold what it does not hold is beyond any quorum: what a clock covers is
//! taken for seen, and such a disk makes others forget.

use std::collections::BTreeSet;

use super::Scenario;
use super::fault::{Harm, Kind};

impl Scenario {
    /// The nodes that lose what their disks hold, or the newest part of it, at some time.
    #[must_use]
    pub fn losers(&self) -> BTreeSet<usize> {
        let harms = self.faults.iter().filter(|fault| fault.kind.harm() != Harm::None);
        harms.flat_map(|fault| fault.nodes.iter().copied()).collect()
    }

    /// How many nodes may answer a read without what they should have: those that have gone back, and those that may
    /// have caught up with them.
    #[must_use]
    pub fn unsure(&self) -> usize {
        if self.relapsed().is_empty() { 0 } else { self.losers().len() }
    }

    /// The nodes that may answer for a while from a past that they do not know to be one.
    #[must_use]
    pub fn relapsed(&self) -> BTreeSet<usize> {
        let past = self.faults.iter().filter(|fault| fault.kind.harm() == Harm::Past);
        past.flat_map(|fault| fault.nodes.iter().copied()).collect()
    }

    /// The nodes that the operator gives up for lost at some time.
    #[must_use]
    pub fn given_up(&self) -> BTreeSet<usize> {
        let removals = self.faults.iter().filter(|fault| matches!(fault.kind, Kind::Remove | Kind::Replace));
        removals.flat_map(|fault| fault.nodes.iter().copied()).collect()
    }

    /// The smallest number of disks that a write of this run is acknowledged for.
    #[must_use]
    pub fn weakest_w(&self) -> usize {
        let plans = self.sessions.iter().flat_map(|session| &session.calls);
        let asked = plans.filter(|plan| plan.is_change()).filter_map(|plan| plan.quorum);
        asked.fold(self.w, usize::min).min(self.members_min())
    }

    /// What this run injects beyond what it can survive; None when it may claim that nothing is lost.
    #[must_use]
    pub fn excess(&self) -> Option<String> {
        if let Some(fault) = self.faults.iter().find(|fault| fault.kind.harm() == Harm::Beyond) {
            return Some(format!("no quorum survives a disk that {} does this to", fault.kind));
        }
        let losers = self.losers().len();
        if losers == 0 {
            return None;
        }
        let w = self.weakest_w();
        if losers >= w {
            return Some(format!("{losers} nodes lose their disks, and a write is acknowledged by {w}"));
        }
        if w < self.w.min(self.members_min()) {
            return Some(format!("a write asks for {w} copies, and empty nodes count on {}", self.w));
        }
        if self.leaves_repair_to_reads() {
            return Some("nodes lose their disks, and no anti-entropy refills them".to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Deed, MS, Plan, SECOND};

    /// Three nodes with W copies of each write, and these faults.
    fn excess(w: usize, asked: Option<usize>, faults: &[&str]) -> Option<String> {
        let mut scenario = Scenario::draw(0);
        scenario.zones = vec![0; 3];
        (scenario.replicas, scenario.r, scenario.w) = (3, 2, w);
        scenario.sync_every_ns = SECOND;
        scenario.sessions.truncate(1);
        scenario.sessions[0].calls = vec![Plan { quorum: asked, ..Plan::new(MS, Deed::Write, 1) }];
        scenario.faults = faults.iter().map(|fault| fault.parse().expect("a fault")).collect();
        scenario.excess()
    }

    #[test]
    fn fewer_disks_may_be_lost_than_hold_the_weakest_write() {
        let wipe = "at 1s for 1s: wipe n1";
        let other = "at 3s for 1s: rollback n2";
        assert_eq!(excess(2, None, &[wipe]), None);
        assert_eq!(excess(2, None, &[wipe, "at 3s for 1s: wipe n1"]), None, "the same one twice");
        assert_eq!(excess(3, None, &[wipe, other]), None);
        assert!(excess(2, None, &[wipe, other]).is_some_and(|says| says.contains("2 nodes lose")));
        assert!(excess(1, None, &[wipe]).is_some());
        assert!(excess(3, Some(2), &[wipe]).is_some_and(|says| says.contains("asks for 2")));
        assert!(excess(3, None, &["at 1s for 1s: phantom n1 by 10 permille"]).is_some());
        assert_eq!(excess(1, None, &["at 1s for 1s: crash n1 n2 n3"]), None, "what is synced stays");
    }
}
