//! Dropping what this node does not hold any more, and never before the layouts that gave it up are the only ones.
//!
//! A partition that is to be dropped takes nothing in. Once nobody is at it any more, one write replaces its checkpoint by a
//! mark; from then on its rows mean nothing, and go page by page: objects, log, actors. The mark goes last, so that a
//! crash in between is followed by the rest. Should the partition come back meanwhile, it begins empty after that.
//!
//! What comes back in the life that had minted dots in it before goes on counting where it stopped: a dot is never used
//! twice. A row says from which number on; numbers up to there may be on other nodes, so the gap that they leave in the
//! new clock is none that a later life may close.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::cx::{Cx, Owner};
use crate::effect::Class;
use crate::key::Partition;
use crate::note::Note;
use crate::replica::Replica;
use crate::stored::{self, Row, Table};
use crate::timers::Timer;

/// Rows that go in one write.
const PAGE_ROWS: usize = 256;
/// Bytes of rows that one page reads.
const PAGE_BYTES: usize = 1 << 20;
/// Time between two pages, and between two looks at whether anybody is still there.
const PAUSE: Duration = Duration::from_millis(20);

/// How far a partition has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Somebody may still be at it.
    Draining,
    /// The mark is being written.
    Marking,
    /// The rows of this table come next, or are being read, or removed.
    Emptying(Table),
    /// The mark is being removed, and the partition begun anew if it is held again.
    Ending,
}

/// Partitions that are being dropped.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Retire {
    stages: BTreeMap<Partition, Stage>,
    /// Those for which the disk has something to do.
    busy: BTreeMap<Partition, bool>,
}

impl Retire {
    /// Partitions whose dropping an earlier life began.
    pub(crate) fn resume(marked: impl Iterator<Item = Partition>) -> Self {
        let stages = marked.map(|partition| (partition, Stage::Emptying(Table::Objects))).collect();
        Self { stages, busy: BTreeMap::new() }
    }

    /// What is still to be dropped, in words.
    pub(crate) fn unrest(&self) -> Option<String> {
        let (partition, stage) = self.stages.first_key_value()?;
        Some(format!("{partition:?} is being dropped ({stage:?})").to_string())
    }

    /// How many partitions are being dropped.
    pub(crate) fn len(&self) -> usize {
        self.stages.len()
    }

    /// `partition` is not held any more.
    pub(crate) fn begin(&mut self, cx: &mut Cx<'_>, partition: Partition) {
        self.stages.entry(partition).or_insert(Stage::Draining);
        if let Some(replica) = cx.replica(partition) {
            replica.is_retiring = true;
        }
        cx.shared.timers.set(cx.now.mono, Timer::Retire);
    }

    /// `partition` is held: its replica goes on as it is when nothing of it was dropped, and begins anew otherwise, at
    /// once or when the rest of it is gone.
    pub(crate) fn recall(&mut self, cx: &mut Cx<'_>, partition: Partition) {
        match self.stages.get(&partition) {
            Some(Stage::Draining) => {
                self.stages.remove(&partition);
                cx.replica(partition).expect("it is there until it is marked").is_retiring = false;
            }
            Some(_) => {}
            None if cx.shared.replicas.contains_key(&partition) => {}
            None if cx.shared.minted.contains_key(&partition) => {
                // On record first, from which number on this life counts here.
                self.stages.insert(partition, Stage::Ending);
                cx.shared.timers.set(cx.now.mono, Timer::Retire);
            }
            None => Self::open(cx, partition),
        }
    }

    /// Goes on with whatever waits. `is_idle` says whether nobody is at a partition any more.
    pub(crate) fn on_timer(&mut self, cx: &mut Cx<'_>, is_idle: impl Fn(&Cx<'_>, Partition) -> bool) {
        if !cx.shared.is_open {
            // The gaps of ended lives are closed first: which they are can be told only from what is still here.
            return;
        }
        for (partition, stage) in self.stages.clone() {
            if self.busy.contains_key(&partition) {
                continue;
            }
            match stage {
                Stage::Draining if is_idle(cx, partition) => self.mark(cx, partition),
                Stage::Draining | Stage::Marking => {}
                Stage::Emptying(table) => {
                    let bounds = stored::rows_of(table, partition);
                    self.busy.insert(partition, true);
                    cx.scan(Owner::Retire(partition), bounds, PAGE_ROWS, PAGE_BYTES);
                }
                // From which number on this life counts here is not known before that.
                Stage::Ending if cx.shared.minting.contains(&partition) => {}
                Stage::Ending => self.end(cx, partition),
            }
        }
        if !self.stages.is_empty() {
            cx.shared.timers.set(cx.now.mono.after(PAUSE), Timer::Retire);
        }
    }

    fn mark(&mut self, cx: &mut Cx<'_>, partition: Partition) {
        let replica = cx.shared.replicas.remove(&partition);
        let minted = replica.map_or(0, |replica| replica.minted());
        let before = cx.shared.minted.entry(partition).or_default();
        *before = minted.max(*before);
        self.stages.insert(partition, Stage::Marking);
        self.busy.insert(partition, true);
        let rows = Vec::from([stored::mark_row(partition, true), stored::checkpoint_removal(partition)]);
        cx.write(Owner::Retire(partition), Class::Synced, rows);
    }

    /// A page of what is to be removed has been read.
    pub(crate) fn on_scan(
        &mut self,
        cx: &mut Cx<'_>,
        partition: Partition,
        outcome: Result<(Vec<Row>, bool), String>,
    ) {
        self.busy.remove(&partition);
        let Some(Stage::Emptying(table)) = self.stages.get(&partition).copied() else { return };
        match outcome {
            Ok((rows, _)) if rows.is_empty() => {
                let next = table.next().map_or(Stage::Ending, Stage::Emptying);
                self.stages.insert(partition, next);
            }
            Ok((rows, _)) => {
                let rows = rows.into_iter().map(|row| Row { value: None, ..row }).collect();
                self.busy.insert(partition, true);
                cx.write(Owner::Retire(partition), Class::Lazy, rows);
            }
            Err(reason) => cx.note(Note::ScanFailed { reason }),
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>, partition: Partition) {
        let mut rows = Vec::from([stored::mark_row(partition, false)]);
        let minted = cx.shared.minted.get(&partition).copied().unwrap_or(0);
        // Whether it is held or not: that may change before this has landed.
        rows.push(stored::beginning_row(partition, (minted > 0).then_some((cx.life, minted))));
        self.busy.insert(partition, true);
        cx.write(Owner::Retire(partition), Class::Synced, rows);
    }

    /// A write is done. True when the partition is gone, and begun anew if it is held.
    pub(crate) fn on_write(
        &mut self,
        cx: &mut Cx<'_>,
        partition: Partition,
        outcome: Result<(), String>,
    ) -> bool {
        self.busy.remove(&partition);
        if let Err(reason) = outcome {
            // Tried again with the timer; a partition whose mark did not land is as dropped as one whose mark did.
            if self.stages.get(&partition) == Some(&Stage::Marking) {
                self.mark(cx, partition);
            }
            cx.note(Note::WriteFailed { reason });
            return false;
        }
        match self.stages.get(&partition) {
            Some(Stage::Marking) => {
                self.stages.insert(partition, Stage::Emptying(Table::Objects));
                false
            }
            Some(Stage::Ending) => {
                self.stages.remove(&partition);
                sometimes!(cx.shared.moments, PartitionDropped);
                cx.note(Note::Dropped { partition });
                if cx.layout.holds(cx.me(), partition) {
                    Self::open(cx, partition);
                }
                true
            }
            _ => false,
        }
    }

    /// Begins `partition` anew, empty.
    fn open(cx: &mut Cx<'_>, partition: Partition) {
        let minted = cx.shared.minted.get(&partition).copied().unwrap_or(0);
        sometimes!(cx.shared.moments, PartitionRegained, minted > 0);
        let minted = if planted!(cx.shared.plants, DotReusedAfterDrop) { 0 } else { minted };
        cx.shared.replicas.insert(partition, Replica::reopened(minted));
    }
}
