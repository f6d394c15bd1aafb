//! Conflicts: a write that is before a read of another write of its key comes before that one.
//!
//! Only conflicts that causal order does not imply are kept, and of the writes of one session before another write only
//! the last.

use super::net::{INITIAL, Net, WRITES};
use super::{Budget, Limit};

/// The first walk: reads that show the initial value and should not, and conflicts that causal order does not imply.
pub(super) struct Conflicts<'a> {
    net: &'a Net,
    edges_max: usize,
    findings_max: usize,
    /// Of each: a write, and the read of the initial value after it.
    hidden: Vec<(u32, u32)>,
    /// The later write above, the earlier below.
    edges: Vec<u64>,
    /// How many edges there may be before the superfluous ones are taken out again.
    edges_next: usize,
    is_over: bool,
}

/// The reads of the initial value that should not be, each after a write; and conflicts, the later write first.
pub(super) type Suspects = (Vec<(u32, u32)>, Vec<u64>);

impl<'a> Conflicts<'a> {
    pub(super) fn new(net: &'a Net, budget: Budget) -> Self {
        let (edges_max, findings_max) = (budget.conflicts_max, budget.findings_max);
        let edges_next = edges_max.min(1 << 22);
        Conflicts {
            net,
            edges_max,
            findings_max,
            hidden: Vec::new(),
            edges: Vec::new(),
            edges_next,
            is_over: false,
        }
    }

    pub(super) fn visit(&mut self, access: u32, clock: &[u32], shown: &[u32]) {
        let from = self.net.from[access as usize];
        if from == WRITES || self.is_over {
            return;
        }
        let runs = self.net.runs(self.net.key[access as usize]);
        if from == INITIAL {
            let known = runs.iter().find_map(|run| self.net.last_below(run, clock[run.column as usize]));
            if let Some(write) = known.filter(|_| self.hidden.len() < self.findings_max) {
                self.hidden.push((write, access));
            }
            return;
        }
        for run in runs {
            if let Some(write) = self.net.last_below(run, clock[run.column as usize])
                && write != from
                && write >= shown[run.column as usize]
            {
                self.edges.push(u64::from(from) << 32 | u64::from(write));
            }
        }
        if self.edges.len() > self.edges_next {
            self.thin_out();
            self.edges_next = self.edges_max.min(2 * self.edges.len().max(1 << 21));
            self.is_over = self.edges.len() >= self.edges_max;
        }
    }

    /// Of the writes of one session before another write, the last is enough.
    fn thin_out(&mut self) {
        let session = |write: u64| self.net.session[write as u32 as usize];
        self.edges.sort_unstable();
        self.edges.reverse();
        self.edges.dedup_by(|next, kept| *next >> 32 == *kept >> 32 && session(*next) == session(*kept));
        self.edges.reverse();
    }

    pub(super) fn finish(mut self) -> Result<Suspects, Limit> {
        self.thin_out();
        match (self.is_over, self.hidden.is_empty()) {
            (true, true) => Err(Limit::Conflicts),
            // What was found is enough for every rule.
            (true, false) => Ok((self.hidden, Vec::new())),
            (false, _) => Ok((self.hidden, self.edges)),
        }
    }
}

pub(super) fn conflict(edge: u64) -> (u32, u32) {
    (edge as u32, (edge >> 32) as u32)
}
