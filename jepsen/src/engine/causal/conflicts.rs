//! Conflicts: a write that is before a read of another write of its key comes before that one.
//!
//! There may be as many conflicts as reads times sessions, far too many to keep, and hardly any matters: only one on a
//! cycle of causal order and conflicts does. So an order of all accesses is guessed, near that of the input, and each
//! read asks only for the latest, in this order, of the writes that come before the one that it shows. That conflict is
//! kept; if it contradicts the order, a new order is made from causal order and all conflicts kept so far, and every read
//! asks again. Once no read contradicts the order, all conflicts agree with it, kept or not, except
//! those within a component of it; these are the suspects, and a last walk collects them. If orders do not settle soon,
//! all conflicts are collected.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::net::{INITIAL, NONE, Net, WRITES};
use super::{Budget, Limit};
use crate::engine::graph::Graph;

/// What may break a rule.
pub(super) struct Suspects {
    /// Whether causal order has a cycle.
    pub(super) stuck: bool,
    /// Reads of the initial value that should not be, each after a write.
    pub(super) hidden: Vec<(u32, u32)>,
    /// Conflicts, among them every one on a cycle of causal order and conflicts; each from the earlier write to the later.
    pub(super) edges: Vec<(u32, u32)>,
}

/// Looks for what may break a rule.
pub(super) fn suspects(net: &Net, budget: Budget) -> Result<Suspects, Limit> {
    let mut order = Order { net, rank: vec![NONE; net.len()], has_circles: false, kept: Vec::new() };
    let (stuck, hidden, mut is_kept) = order.guess(budget.findings_max);
    let mut orders = 1;
    while !is_kept && orders < budget.orders_max && order.kept.len() < budget.conflicts_max {
        order.renew();
        is_kept = order.ask();
        orders += 1;
    }
    if is_kept && !order.has_circles {
        return Ok(Suspects { stuck, hidden, edges: Vec::new() });
    }
    let Order { rank, kept, .. } = order;
    let edges_max = budget.conflicts_max;
    let mut conflicts = Conflicts {
        net,
        edges_max,
        edges: Vec::new(),
        edges_next: edges_max.min(1 << 22),
        is_over: kept.len() >= edges_max,
    };
    drop(kept);
    net.walk(|access, clock, shown| {
        conflicts.collect(access, clock, shown, |write, from| {
            !is_kept || rank[write as usize] == rank[from as usize]
        });
    });
    match (conflicts.is_over, hidden.is_empty()) {
        (true, true) => Err(Limit::Conflicts),
        // What was found is enough for every rule.
        (true, false) => Ok(Suspects { stuck, hidden, edges: Vec::new() }),
        (false, _) => {
            conflicts.thin_out();
            let edges = conflicts.edges.into_iter().map(|(later, earlier)| (earlier, later)).collect();
            Ok(Suspects { stuck, hidden, edges })
        }
    }
}

/// The writes before the one that a read shows because the read knows them: of each session the last, unless
/// causal order has it before the write anyway.
fn known_before(net: &Net, read: u32, clock: &[u32], shown: &[u32]) -> impl Iterator<Item = u32> {
    let from = net.from[read as usize];
    let known = net.runs(net.key[read as usize]).iter().filter_map(move |run| {
        let column = run.column as usize;
        let is_more = clock[column] > shown[column];
        is_more.then(|| net.last_below(run, clock[column])).flatten().filter(|write| *write >= shown[column])
    });
    known.filter(move |write| *write != from)
}

/// An order of all accesses that causal order and the conflicts kept do not contradict.
struct Order<'a> {
    net: &'a Net,
    /// The place of each access; those of a component share one.
    rank: Vec<u32>,
    /// Whether some share one. In the first order none do: what is visited is on no cycle of causal order.
    has_circles: bool,
    /// The earlier write, and the later one.
    kept: Vec<(u32, u32)>,
}

impl Order<'_> {
    /// Takes the accesses as they are visited, and asks the reads at once. Also looks for hidden initial values. Returns
    /// whether causal order has a cycle, what is hidden, and whether no read contradicts the order.
    fn guess(&mut self, hidden_max: usize) -> (bool, Vec<(u32, u32)>, bool) {
        let net = self.net;
        let mut hidden = Vec::new();
        let mut visited = 0;
        let mut is_kept = true;
        let stuck = net.walk(|access, clock, shown| {
            self.rank[access as usize] = visited;
            visited += 1;
            if net.from[access as usize] == INITIAL {
                let runs = net.runs(net.key[access as usize]);
                let known = runs.iter().find_map(|run| net.last_below(run, clock[run.column as usize]));
                hidden.extend(known.filter(|_| hidden.len() < hidden_max).map(|write| (write, access)));
            }
            is_kept &= self.ask_one(access, clock, shown);
        });
        (stuck, hidden, is_kept)
    }

    /// Asks all reads whether they contradict the order.
    fn ask(&mut self) -> bool {
        let net = self.net;
        let mut is_kept = true;
        net.walk(|access, clock, shown| is_kept &= self.ask_one(access, clock, shown));
        is_kept
    }

    /// Keeps the latest conflict of a read, and returns whether it agrees with the order.
    fn ask_one(&mut self, read: u32, clock: &[u32], shown: &[u32]) -> bool {
        let from = self.net.from[read as usize];
        if from == WRITES || from == INITIAL {
            return true;
        }
        let rank = |write: u32| self.rank[write as usize];
        let Some(latest) = known_before(self.net, read, clock, shown).max_by_key(|write| rank(*write)) else {
            return true;
        };
        let agrees = rank(latest) <= rank(from);
        if self.kept.last() != Some(&(latest, from)) {
            self.kept.push((latest, from));
        }
        agrees
    }

    /// Orders the components of causal order and the conflicts kept, near the order so far.
    fn renew(&mut self) {
        self.kept.sort_unstable();
        self.kept.dedup();
        let graph = Graph::new(self.net.len(), self.net.causes().chain(self.kept.iter().copied()));
        let component = graph.components();
        let count = component.iter().max().map_or(0, |last| *last as usize + 1);
        self.has_circles = count < self.net.len();
        let mut members: Vec<(u32, u32)> = component.iter().copied().zip(0..).collect();
        members.sort_unstable();
        let groups: Vec<&[(u32, u32)]> = members.chunk_by(|a, b| a.0 == b.0).collect();
        let mut waits = vec![0u32; count];
        let after = |group: u32| {
            let of_group = groups[group as usize].iter();
            let targets = of_group.flat_map(|(_, access)| graph.after(*access));
            targets.map(|target| component[*target as usize]).filter(move |other| *other != group)
        };
        (0..count as u32).for_each(|group| after(group).for_each(|other| waits[other as usize] += 1));
        let first =
            |group: u32| groups[group as usize].iter().map(|(_, access)| self.rank[*access as usize]).min();
        let free = (0..count as u32).filter(|group| waits[*group as usize] == 0);
        let mut next: BinaryHeap<_> = free.map(|group| Reverse((first(group), group))).collect();
        let mut place = vec![0; count];
        let mut placed = 0;
        while let Some(Reverse((_, group))) = next.pop() {
            place[group as usize] = placed;
            placed += 1;
            for other in after(group) {
                waits[other as usize] -= 1;
                if waits[other as usize] == 0 {
                    next.push(Reverse((first(other), other)));
                }
            }
        }
        for (rank, component) in self.rank.iter_mut().zip(&component) {
            *rank = place[*component as usize];
        }
    }
}

/// Conflicts that are collected.
struct Conflicts<'a> {
    net: &'a Net,
    edges_max: usize,
    /// The later write, and the earlier one.
    edges: Vec<(u32, u32)>,
    /// How many edges there may be before the superfluous ones are taken out again.
    edges_next: usize,
    is_over: bool,
}

impl Conflicts<'_> {
    fn collect(&mut self, read: u32, clock: &[u32], shown: &[u32], is_suspect: impl Fn(u32, u32) -> bool) {
        let from = self.net.from[read as usize];
        if from == WRITES || from == INITIAL || self.is_over {
            return;
        }
        let known = known_before(self.net, read, clock, shown).filter(|write| is_suspect(*write, from));
        self.edges.extend(known.map(|write| (from, write)));
        if self.edges.len() > self.edges_next {
            self.thin_out();
            self.edges_next = self.edges_max.min(2 * self.edges.len().max(1 << 21));
            self.is_over = self.edges.len() >= self.edges_max;
        }
    }

    /// Of the writes of one session before another write, the last is enough.
    fn thin_out(&mut self) {
        let session = |write: u32| self.net.session[write as usize];
        self.edges.sort_unstable();
        self.edges.reverse();
        self.edges.dedup_by(|next, kept| next.0 == kept.0 && session(next.1) == session(kept.1));
        self.edges.reverse();
    }
}
