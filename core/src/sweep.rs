//! Strips what is at rest once clocks have risen, so that deletes leave nothing behind and values little.
//!
//! A row is written with whatever its context says beyond the clock's bases of that moment. The keys of such rows
//! are remembered in memory; when their partition's clock has risen each is visited once more. After a restart the
//! keys are found again by one slow pass over the objects at rest. No more than
//! [`Limits::residual_keys`](crate::config::Limits::residual_keys) are remembered for a partition: when there were more
//! and the remembered ones are stripped, its objects are passed over again.
//!
//! A second, slow pass goes over all objects at rest again and again, and does nothing but verify that they are what was
//! written: what nobody reads would otherwise rot on one disk after the other. It takes three quarters of
//! [`Settings::scrub_every`](crate::config::Settings::scrub_every), spread over the partitions, and waits while the other
//! pass is under way: never is more than one page in memory.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Unbounded};
use core::time::Duration;

use crate::causal::Context;
use crate::cx::{Cx, Owner, Step, Task, Waiter};
use crate::key::{Key, Partition};
use crate::note::Note;
use crate::stored::{self, Row, RowKey};
use crate::time::Mono;
use crate::timers::Timer;

/// Rows in one page of the pass.
const PAGE_ROWS: usize = 256;
/// Bytes in one page of the pass.
const PAGE_BYTES: usize = 1 << 20;
/// Keys that are visited on one occasion.
pub(crate) const VISITS_MAX: usize = 64;
/// The pass takes a page so often at most.
const PAGE_EVERY: Duration = Duration::from_millis(100);

/// The pass over the objects at rest, one at a time: first over all of them, then over a partition that could not
/// remember all its keys.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Sweep {
    /// The last row seen; None before the first page.
    after: Option<RowKey>,
    is_done: bool,
    /// The partition that is passed over again; None in the first pass.
    again: Option<Partition>,
}

impl Sweep {
    /// A pass over a store that is known to be empty.
    pub(crate) const fn over_nothing() -> Self {
        Self { after: None, is_done: true, again: None }
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Begins a pass over a partition that wants one, unless one is under way: that one's end looks for the next.
    pub(crate) fn again(&mut self, cx: &mut Cx<'_>) {
        if !self.is_done || planted!(cx.shared.plants, OverflowForgotten) {
            return;
        }
        let mut replicas = cx.shared.replicas.iter_mut();
        let Some((&partition, replica)) = replicas.find(|(_, replica)| replica.wants_sweep()) else { return };
        sometimes!(cx.shared.moments, SweptAgain);
        // What the pass itself cannot remember sets it anew.
        replica.residual_overflows = false;
        *self = Self { after: None, is_done: false, again: Some(partition) };
        cx.shared.timers.set(cx.now.mono.after(PAGE_EVERY), Timer::Sweep);
    }

    /// Time for the next page.
    pub(crate) fn on_timer(&mut self, cx: &mut Cx<'_>) {
        let all = (Partition(0), Partition((cx.config.partitions - 1) as u16));
        let (first, last) = self.again.map_or(all, |partition| (partition, partition));
        let (start, before) = stored::objects_between(first, None, last);
        let after = self.after.clone().unwrap_or(start);
        cx.scan(Owner::Sweep, (after, before), PAGE_ROWS, PAGE_BYTES);
    }

    /// A page has been read.
    pub(crate) fn on_scan(&mut self, cx: &mut Cx<'_>, outcome: Result<(Vec<Row>, bool), String>) {
        match outcome {
            Ok((rows, more)) => {
                for row in &rows {
                    note_row(cx, row);
                }
                self.is_done = !more;
                self.after = rows.into_iter().next_back().map(|row| row.key).or(self.after.take());
            }
            Err(reason) => cx.note(Note::ScanFailed { reason }),
        }
        if self.is_done {
            self.again(cx);
        } else {
            cx.shared.timers.set(cx.now.mono.after(PAGE_EVERY), Timer::Sweep);
        }
    }
}

/// The slow pass over the objects at rest.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Patrol {
    /// The last row seen; None before the first page.
    after: Option<RowKey>,
    /// When the present pass began, or the next one begins.
    begins: Mono,
}

impl Patrol {
    /// The first pass begins in its time.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        let every = cx.config.scrub_every;
        if !every.is_zero() {
            self.begins = cx.now.mono.after(every / 2 + cx.jitter(every / 2));
            cx.shared.timers.set(self.begins, Timer::Patrol);
        }
    }

    /// Time for the next page, unless the disk is at work for `sweep`.
    pub(crate) fn on_timer(&mut self, cx: &mut Cx<'_>, sweep: &Sweep) {
        if !sweep.is_done() {
            cx.shared.timers.set(cx.now.mono.after(PAGE_EVERY), Timer::Patrol);
            return;
        }
        let last = Partition((cx.config.partitions - 1) as u16);
        let (start, before) = stored::objects_between(Partition(0), None, last);
        let after = self.after.clone().unwrap_or(start);
        cx.scan(Owner::Patrol, (after, before), PAGE_ROWS, PAGE_BYTES);
    }

    /// A page has been read.
    pub(crate) fn on_scan(&mut self, cx: &mut Cx<'_>, outcome: Result<(Vec<Row>, bool), String>) {
        let every = cx.config.scrub_every;
        let soon = cx.now.mono.after(PAGE_EVERY);
        let at = match outcome {
            Ok((rows, more)) => {
                cx.shared.stats.scrubbed += rows.len() as u64;
                let damaged = rows.iter().filter(|row| !note_row(cx, row)).count() as u64;
                sometimes!(cx.shared.moments, PatrolFound, damaged > 0);
                cx.shared.stats.scrub_damaged += damaged;
                self.after = rows.into_iter().next_back().map(|row| row.key).filter(|_| more);
                let reached = self.after.as_ref().and_then(stored::key_of).map(|(partition, _)| partition);
                match reached {
                    Some(partition) => {
                        // Each partition has its moment in the pass; several pages of one follow each other soon.
                        let part = every * 3 / 4 / cx.config.partitions * u32::from(partition.0);
                        self.begins.after(part).max(soon)
                    }
                    None => {
                        self.begins = self.begins.after(every).max(soon);
                        self.begins
                    }
                }
            }
            Err(reason) => {
                cx.note(Note::ScanFailed { reason });
                cx.now.mono.after(cx.config.timeout.max(PAGE_EVERY))
            }
        };
        cx.shared.timers.set(at, Timer::Patrol);
    }
}

/// Takes note of what a row at rest says. False when it is not what was written.
fn note_row(cx: &mut Cx<'_>, row: &Row) -> bool {
    let Some((partition, key)) = stored::key_of(&row.key) else {
        return true;
    };
    if cx.replica(partition).is_none() {
        // It is being dropped.
        return true;
    }
    let Some(object) = cx.object_in(row) else {
        cx.step(Step::Damaged(key));
        return false;
    };
    if let Some(replica) = cx.replica(partition) {
        replica.note_expiry(&object);
    }
    // A write may have landed since the page was read: what it noted is not taken back.
    if !object.context.is_empty() {
        sometimes!(cx.shared.moments, ResidualFound);
        note(cx, partition, &key, &object.context);
    }
    true
}

/// `key`'s row at rest has this stripped context.
pub(crate) fn note(cx: &mut Cx<'_>, partition: Partition, key: &Key, at_rest: &Context) {
    let keys_max = cx.config.limits.residual_keys;
    let Some(replica) = cx.replica(partition) else { return };
    replica.note_residual(key, at_rest, keys_max);
    if replica.wants_sweep() {
        cx.step(Step::Sweep);
    }
}

/// The clock of `partition` may have risen: visits keys that were waiting for that, `budget` at most, and takes what it
/// used off the budget. Each time it goes on where it stopped, so that keys that cannot be stripped hold up nobody.
pub(crate) fn visit(cx: &mut Cx<'_>, partition: Partition, budget: &mut usize) {
    let Some(replica) = cx.replica(partition).filter(|_| *budget > 0) else { return };
    let from = replica.visited.take().map_or(Unbounded, Excluded);
    let keys: Vec<Key> = replica.residual.range((from, Unbounded)).take(*budget).cloned().collect();
    if keys.len() == *budget {
        replica.visited = keys.last().cloned();
    }
    *budget -= keys.len();
    for key in keys {
        cx.access(key, Waiter::Nobody, Task::Strip);
    }
}
