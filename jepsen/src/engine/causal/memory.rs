//! Causal memory: the order that the reads of one session force on the writes that it knows.
//!
//! Only the writes that a session reads can gain predecessors, so each session needs clocks for those alone. Its
//! reads are gone through until they add nothing. Clocks, steps and time have budgets.

use std::time::Instant;

use super::clocks::{join, join_grows};
use super::net::{INITIAL, NONE, Net};
use super::verdicts::{Conflict, Verdicts};
use super::{Budget, Finding, Limit, Pattern};
use crate::engine::graph::Graph;

/// The fixpoint of one session's "happened before" over the writes that it reads.
pub(super) struct Memory<'a> {
    net: &'a Net,
    /// What each write knows, by its row.
    rows: &'a [u32],
    row_of: &'a [u32],
    /// The writes that the session reads, sorted; and what happened before each.
    targets: Vec<u32>,
    /// Where the targets of each column begin.
    target_starts: Vec<u32>,
    before: Vec<u32>,
    /// The round in which each last changed; 0 if it only knows what causal order says.
    changed: Vec<u32>,
    conflicts: Vec<Conflict>,
    steps: u64,
}

/// How the order of one session's reads is broken, by numbers.
pub(super) enum Broken {
    Cycle(u32),
    Hidden(u32, u32),
}

impl<'a> Memory<'a> {
    pub(super) fn judge(net: &'a Net, budget: Budget) -> Result<Vec<Finding>, Limit> {
        let writes = net.all_writes().count();
        if writes.saturating_mul(net.columns) > budget.clock_words_max {
            return Err(Limit::ClockWords);
        }
        let mut row_of = vec![NONE; net.len()];
        for (row, write) in (0..).zip(net.all_writes()) {
            row_of[write as usize] = row;
        }
        let mut rows = vec![0; writes * net.columns];
        net.walk(|access, clock, _| {
            if net.is_write(access) {
                rows[row_of[access as usize] as usize * net.columns..][..net.columns].copy_from_slice(clock);
            }
        });
        let mut findings = Vec::new();
        let mut verdicts = None;
        let mut steps = 0;
        for session in 0..net.column.len() {
            let mut memory = Memory::new(net, &rows, &row_of, session, steps);
            let broken = match memory.settle(session, budget) {
                Ok(broken) => broken,
                Err(_) if !findings.is_empty() => break,
                Err(limit) => return Err(limit),
            };
            steps = memory.steps;
            if let Some(broken) = broken {
                let verdicts = verdicts.get_or_insert_with(|| Verdicts::new(net, budget.findings_max));
                findings.extend(memory.finding(&broken, verdicts));
                if findings.len() >= budget.findings_max {
                    break;
                }
            }
        }
        Ok(findings)
    }

    fn new(net: &'a Net, rows: &'a [u32], row_of: &'a [u32], session: usize, steps: u64) -> Self {
        let reads = net.starts[session] as usize..net.starts[session + 1] as usize;
        let mut targets: Vec<u32> = net.from[reads].iter().copied().filter(|from| *from < INITIAL).collect();
        targets.sort_unstable();
        targets.dedup();
        // Columns were given in the order of sessions, and accesses are numbered in it.
        let first_of = |column: &u32| net.starts[*column as usize];
        let mut target_starts: Vec<u32> = net
            .session_of
            .iter()
            .map(|session| targets.partition_point(|target| *target < first_of(session)) as u32)
            .collect();
        target_starts.push(targets.len() as u32);
        let mut before = Vec::with_capacity(targets.len() * net.columns);
        for target in &targets {
            before.extend_from_slice(&rows[row_of[*target as usize] as usize * net.columns..][..net.columns]);
        }
        let changed = vec![0; targets.len()];
        Memory { net, rows, row_of, targets, target_starts, before, changed, conflicts: Vec::new(), steps }
    }

    fn before(&self, target: usize) -> &[u32] {
        &self.before[target * self.net.columns..][..self.net.columns]
    }

    /// The last target of a column below a bound.
    fn last_target(&self, column: usize, bound: u32) -> Option<usize> {
        let (start, end) = (self.target_starts[column] as usize, self.target_starts[column + 1] as usize);
        let below = self.targets[start..end].partition_point(|target| *target < bound);
        (below > 0).then(|| start + below - 1)
    }

    /// Adds what happened before each target that the clock knows, until nothing is added.
    fn close(&mut self, clock: &mut [u32], since: u32) {
        loop {
            self.steps += 1;
            let mut has_grown = false;
            for column in 0..self.net.columns {
                let Some(target) = self.last_target(column, clock[column]) else { continue };
                if self.changed[target] > since {
                    self.steps += 1;
                    has_grown |= join_grows(clock, self.before(target));
                }
            }
            if !has_grown {
                return;
            }
        }
    }

    /// Goes through the session's reads until they add nothing, or the order breaks.
    fn settle(&mut self, session: usize, budget: Budget) -> Result<Option<Broken>, Limit> {
        let net = self.net;
        let accesses = net.starts[session]..net.starts[session + 1];
        let own = net.column[session] as usize;
        let mut clock = vec![0; net.columns];
        let mut row = vec![0; net.columns];
        for round in 1u32.. {
            let mut has_changed = false;
            clock.fill(0);
            for read in accesses.clone() {
                if net.is_write(read) {
                    if net.cause[read as usize] != NONE {
                        let known = self.row_of[read as usize] as usize * net.columns;
                        join(&mut clock, &self.rows[known..][..net.columns]);
                    }
                    continue;
                }
                if self.steps > budget.steps_max {
                    return Err(Limit::Steps);
                }
                if budget.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Err(Limit::Time);
                }
                if own < net.columns {
                    clock[own] = read;
                }
                let from = net.from[read as usize];
                let runs = net.runs(net.key[read as usize]);
                if from == INITIAL {
                    self.close(&mut clock, 0);
                    let known = runs.iter().find_map(|run| net.last_below(run, clock[run.column as usize]));
                    if let Some(write) = known {
                        return Ok(Some(Broken::Hidden(write, read)));
                    }
                    continue;
                }
                let Ok(target) = self.targets.binary_search(&from) else { continue };
                let column = net.column_of(from);
                clock[column] = clock[column].max(from + 1);
                join(&mut clock, self.before(target));
                self.close(&mut clock, 0);
                row.copy_from_slice(self.before(target));
                let conflicts_before = self.conflicts.len();
                self.steps += 1;
                for run in runs {
                    if let Some(write) = net.last_below(run, clock[run.column as usize])
                        && write != from
                        && write >= row[run.column as usize]
                    {
                        self.steps += 1;
                        self.conflicts.push(Conflict { from: write, to: from, read });
                        let known = self.row_of[write as usize] as usize * net.columns;
                        join(&mut row, &self.rows[known..][..net.columns]);
                        row[run.column as usize] = row[run.column as usize].max(write + 1);
                    }
                }
                if self.conflicts.len() > conflicts_before || round > 1 {
                    self.close(&mut row, 0);
                }
                if row != self.before(target) {
                    has_changed = true;
                    self.changed[target] = round;
                    self.before[target * net.columns..][..net.columns].copy_from_slice(&row);
                    if row[column] > from {
                        return Ok(Some(Broken::Cycle(from)));
                    }
                    join(&mut clock, &row);
                }
            }
            if !has_changed {
                break;
            }
        }
        Ok(None)
    }

    fn finding(&self, broken: &Broken, verdicts: &Verdicts<'_>) -> Option<Finding> {
        let conflicts = self.conflicts.iter().map(|conflict| (conflict.from, conflict.to));
        let graph = Graph::new(self.net.len(), self.net.causes().chain(conflicts));
        let (pattern, from, to) = match broken {
            Broken::Cycle(write) => (Pattern::CyclicHb, *write, *write),
            Broken::Hidden(write, read) => (Pattern::WriteHbInitRead, *write, *read),
        };
        let path = graph.path(from, |node| node == to, |from, to| self.net.is_program(from, to))?;
        Some(verdicts.with_proofs(pattern, &path, &self.conflicts))
    }
}
