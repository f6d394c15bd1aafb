//! What breaks CC and CCv, told with proofs.
//!
//! Conflicts within a component of causal order and conflicts are the suspects. One that points back along causal order
//! breaks CC; a component without such a one is a cycle that breaks CCv. Paths and cycles are short in the sense of the
//! graph: a run of a session's program is one step.

use super::conflicts::Suspects;
use super::net::{NONE, Net};
use super::{Edge, Finding, Pattern, Proof, Why};
use crate::engine::graph::Graph;

/// Everything that tells what was found.
pub(super) struct Verdicts<'a> {
    net: &'a Net,
    findings_max: usize,
    causes: Graph,
}

impl<'a> Verdicts<'a> {
    pub(super) fn new(net: &'a Net, findings_max: usize) -> Self {
        Verdicts { net, findings_max, causes: Graph::new(net.len(), net.causes()) }
    }

    pub(super) fn judge(&self, found: Suspects, causal: &mut Vec<Finding>, convergent: &mut Vec<Finding>) {
        let Suspects { stuck, hidden, edges } = found;
        let is_program = |from, to| self.net.is_program(from, to);
        if stuck {
            let cycles = self.causes.cycles(&self.causes.components(), self.findings_max, is_program);
            causal.extend(cycles.iter().map(|cycle| self.cycle(Pattern::CyclicCo, cycle)));
        }
        for (write, read) in &hidden {
            causal.extend(self.way(*write, *read).map(|path| Finding {
                pattern: Pattern::WriteCoInitRead,
                path: self.edges(&path, &[]),
                via: None,
                proofs: Vec::new(),
            }));
        }
        // Without a cycle of causal order and conflicts there is nothing left to find.
        let graph = Graph::new(self.net.len(), self.net.causes().chain(edges.iter().copied()));
        let mut component = graph.components();
        let mut suspects = edges;
        suspects.retain(|(from, to)| component[*from as usize] == component[*to as usize]);
        if suspects.is_empty() {
            return;
        }
        suspects.sort_unstable();
        let mut skipped: Vec<(u32, u32)> = Vec::new();
        self.net.walk(|access, clock, _| {
            let start = suspects.partition_point(|(from, _)| *from < access);
            for (from, to) in suspects[start..].iter().take_while(|(from, _)| *from == access) {
                if *to < clock[self.net.column_of(*to)] {
                    skipped.push((*from, *to));
                }
            }
        });
        skipped.sort_unstable_by_key(|(from, to)| (*to, *from));
        skipped.dedup_by_key(|(_, to)| *to);
        let told: Vec<Finding> = skipped
            .iter()
            .take(self.findings_max)
            .filter_map(|(from, to)| self.skipped(*from, *to))
            .collect();
        causal.extend(told);
        if stuck {
            return;
        }
        // What CC already forbids need not be told once more as a cycle: a number of its own for every access there.
        let of_skipped: Vec<u32> = {
            let mut numbers: Vec<u32> = skipped.iter().map(|(from, _)| component[*from as usize]).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let count = self.net.len() as u32;
        for (access, number) in (0..).zip(&mut component) {
            if of_skipped.binary_search(number).is_ok() {
                *number = count + access;
            }
        }
        let cycles = graph.cycles(&component, self.findings_max, is_program);
        convergent.extend(cycles.iter().map(|cycle| self.cycle(Pattern::CyclicCf, cycle)));
    }

    /// A write was read although another write came between.
    fn skipped(&self, between: u32, write: u32) -> Option<Finding> {
        let mut path = self.edges(&self.way(write, between)?, &[]);
        path.extend(self.edges(&self.way_to_reader(between, write)?, &[]));
        Some(Finding {
            pattern: Pattern::WriteCoRead,
            path,
            via: Some(self.net.place[between as usize]),
            proofs: Vec::new(),
        })
    }

    fn way(&self, from: u32, to: u32) -> Option<Vec<u32>> {
        self.causes.path(from, |node| node == to, |from, to| self.net.is_program(from, to))
    }

    fn way_to_reader(&self, from: u32, write: u32) -> Option<Vec<u32>> {
        let is_reader = |node: u32| self.net.from[node as usize] == write;
        self.causes.path(from, is_reader, |from, to| self.net.is_program(from, to))
    }

    fn cycle(&self, pattern: Pattern, cycle: &[u32]) -> Finding {
        let closed: Vec<u32> = cycle.iter().chain(&cycle[..1]).copied().collect();
        let is_cause =
            |from: u32, to: u32| self.net.is_program(from, to) || self.net.cause[to as usize] == from;
        let pairs = closed.windows(2).map(|pair| (pair[0], pair[1]));
        let conflicts: Vec<Conflict> = pairs
            .filter(|(from, to)| !is_cause(*from, *to))
            .map(|(from, to)| Conflict { from, to, read: NONE })
            .collect();
        self.with_proofs(pattern, &closed, &conflicts)
    }

    /// A path of causal order and conflicts, with the proofs of those conflicts.
    pub(super) fn with_proofs(&self, pattern: Pattern, path: &[u32], conflicts: &[Conflict]) -> Finding {
        let mut steps = self.steps(path, conflicts);
        // The latest first: its proof may need earlier ones, never the other way round.
        let mut needed: Vec<usize> = conflicts_of(&steps);
        let mut proofs: Vec<(usize, Proof)> = Vec::new();
        while let Some(number) = needed.pop() {
            let Conflict { from, to, read } = conflicts[number];
            // A conflict of CCv is proved by causal order alone, one of CM perhaps by earlier ones.
            let way = match read {
                NONE => self.way_to_reader(from, to),
                read => self.way(from, read).or_else(|| {
                    let earlier = conflicts[..number].iter().map(|conflict| (conflict.from, conflict.to));
                    let graph = Graph::new(self.net.len(), self.net.causes().chain(earlier));
                    graph.path(from, |node| node == read, |from, to| self.net.is_program(from, to))
                }),
            };
            let way = self.steps(&way.unwrap_or_default(), &conflicts[..number]);
            for earlier in conflicts_of(&way) {
                if let Err(place) = needed.binary_search(&earlier) {
                    needed.insert(place, earlier);
                }
            }
            let place = |access: u32| self.net.place[access as usize];
            proofs.push((number, Proof { from: place(from), to: place(to), path: self.told(way) }));
        }
        proofs.reverse();
        // Each conflict names the read at the end of its proof.
        let read_of = |number: usize, proofs: &[(usize, Proof)]| {
            let proof = proofs.binary_search_by_key(&number, |(number, _)| *number).ok();
            proof.and_then(|at| proofs[at].1.path.last()).map_or(NONE, |edge| edge.to)
        };
        let reads: Vec<u32> = (0..proofs.len()).map(|at| read_of(proofs[at].0, &proofs)).collect();
        let numbers: Vec<usize> = proofs.iter().map(|(number, _)| *number).collect();
        let name = |why: &mut Why| {
            if let Why::Conflict(number) = why {
                let at = numbers.binary_search(&(*number as usize));
                *number = at.map_or(NONE, |at| reads[at]);
            }
        };
        steps.iter_mut().for_each(|step| name(&mut step.why));
        let mut proofs: Vec<Proof> = proofs.into_iter().map(|(_, proof)| proof).collect();
        proofs.iter_mut().flat_map(|proof| &mut proof.path).for_each(|edge| name(&mut edge.why));
        Finding { pattern, path: self.told(steps), via: None, proofs }
    }

    fn edges(&self, path: &[u32], conflicts: &[Conflict]) -> Vec<Edge> {
        self.told(self.steps(path, conflicts))
    }

    /// Says of each step of a path why it holds, and tells a run of program order as one. A conflict is named by its
    /// number.
    fn steps(&self, path: &[u32], conflicts: &[Conflict]) -> Vec<Edge> {
        let session = |access: u32| self.net.session[access as usize];
        let mut steps: Vec<Edge> = Vec::new();
        for pair in path.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            if self.net.is_program(from, to) {
                match steps.last_mut() {
                    Some(last) if last.why == Why::Program && session(last.from) == session(to) => {
                        last.to = to
                    }
                    _ => steps.push(Edge { from, to, why: Why::Program }),
                }
            } else if self.net.from[to as usize] == from {
                steps.push(Edge { from, to, why: Why::ReadFrom });
            } else if self.net.cause[to as usize] == from {
                steps.push(Edge { from, to, why: Why::Program });
            } else {
                let number = conflicts.iter().position(|conflict| (conflict.from, conflict.to) == (from, to));
                let why = Why::Conflict(number.map_or(NONE, |number| number as u32));
                steps.push(Edge { from, to, why });
            }
        }
        steps
    }

    /// The same by places in the input.
    fn told(&self, mut steps: Vec<Edge>) -> Vec<Edge> {
        for step in &mut steps {
            step.from = self.net.place[step.from as usize];
            step.to = self.net.place[step.to as usize];
        }
        steps
    }
}

/// A write before another of its key; for CM, because of a read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conflict {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) read: u32,
}

/// The numbers of the conflicts among steps, in order.
pub(super) fn conflicts_of(steps: &[Edge]) -> Vec<usize> {
    let mut numbers: Vec<usize> = steps
        .iter()
        .filter_map(|step| match step.why {
            Why::Conflict(number) if number != NONE => Some(number as usize),
            _ => None,
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
