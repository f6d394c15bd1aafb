//! Deletes values whose time is over, everywhere, as a client would.
//!
//! What has expired is not dropped where it lies: a removal that no clock knows of would be undone by the next replica that
//! has not heard of it, or last on one replica and not on another. It is a write without a value, with a dot of its own,
//! that has seen exactly the dots that have expired and so removes nothing else. The first of the key's holders
//! that answers coordinates it; the others wait for two intervals longer, and deletions that meet do no harm.
//!
//! Each replica remembers when the first of its values expires, from rows that were written or read since the start; the
//! pass of `sweep` after a restart finds the others. Only partitions whose moment has come are passed over. Reads
//! hide what has expired meanwhile. All of that goes by wall clocks: one that is ahead deletes early, one that is
//! behind late, and the clocks of two nodes count, that of the write's coordinator and that of whoever deletes.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::causal::Context;
use crate::cx::{Cx, Join, Owner, Step, Task, Waiter};
use crate::key::Partition;
use crate::kind::Object;
use crate::note::Note;
use crate::peers::Peers;
use crate::put::Puts;
use crate::stored::{self, Row, RowKey};
use crate::timers::Timer;

/// Rows in one page of a partition, and thus deletions under way.
const PAGE_ROWS: usize = 256;
/// Bytes in one page of a partition.
const PAGE_BYTES: usize = 1 << 20;
/// It takes a page so often at most, and none while deletions are under way.
const PAGE_EVERY: Duration = Duration::from_millis(100);

/// The pass over partitions in which values have expired.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Expiry {
    /// The partitions that are still to be passed over, the present one first.
    queue: VecDeque<Partition>,
    /// The last row seen of the present one; None before its first page.
    after: Option<RowKey>,
}

impl Expiry {
    /// The first look comes in its time.
    pub(crate) fn start(cx: &mut Cx<'_>) {
        cx.shared.timers.set(cx.now.mono.after(cx.config.expire_every), Timer::Expiry);
    }

    /// Time for a look, or for the next page.
    pub(crate) fn on_timer(&mut self, cx: &mut Cx<'_>, puts: &Puts) {
        if self.queue.is_empty() {
            let now_ms = cx.now.wall.millis();
            let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now_ms);
            let replicas = cx.shared.replicas.iter();
            let due = replicas.filter(|(_, replica)| is_due(replica.next_expiry) && !replica.is_retiring);
            self.queue = due.map(|(&partition, _)| partition).collect();
        }
        let Some(&partition) = self.queue.front() else { return Self::start(cx) };
        if puts.expiring() > 0 {
            cx.shared.timers.set(cx.now.mono.after(PAGE_EVERY), Timer::Expiry);
            return;
        }
        if self.after.is_none()
            && let Some(replica) = cx.replica(partition)
        {
            // Every row that is written or read from now on sets it anew.
            replica.next_expiry = None;
        }
        let (start, before) = stored::objects_between(partition, None, partition);
        let after = self.after.clone().unwrap_or(start);
        cx.scan(Owner::Expiry(partition), (after, before), PAGE_ROWS, PAGE_BYTES);
    }

    /// A page has been read.
    pub(crate) fn on_scan(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        partition: Partition,
        outcome: Result<(Vec<Row>, bool), String>,
    ) {
        let more = match outcome {
            Ok((rows, more)) => {
                for row in &rows {
                    look_at(cx, peers, partition, row);
                }
                self.after = rows.into_iter().next_back().map(|row| row.key).filter(|_| more);
                self.after.is_some()
            }
            Err(reason) => {
                cx.note(Note::ScanFailed { reason });
                self.after = None;
                if let Some(replica) = cx.replica(partition) {
                    // What it has is not known any more: the next look finds it.
                    replica.next_expiry = Some(0);
                }
                false
            }
        };
        if !more {
            self.queue.pop_front();
        }
        if self.queue.is_empty() {
            Self::start(cx);
        } else {
            cx.shared.timers.set(cx.now.mono.after(PAGE_EVERY), Timer::Expiry);
        }
    }
}

/// Has what has expired in a row deleted, if that is this node's affair.
fn look_at(cx: &mut Cx<'_>, peers: &Peers, partition: Partition, row: &Row) {
    let Some((_, key)) = stored::key_of(&row.key) else { return };
    let Some(object) = cx.object_in(row) else { return };
    let Some(replica) = cx.replica(partition) else { return };
    // What has expired counts, too, until it is gone.
    replica.note_expiry(&object);
    let Some((mut expired, first)) = expired(cx, &object) else { return };
    if !is_ours(cx, peers, partition, first) {
        return;
    }
    sometimes!(cx.shared.moments, ExpiredBeside, object.dots().any(|dot| !expired.has(dot)));
    if planted!(cx.shared.plants, ExpiryTakesAll) {
        expired = object.dots().collect();
    }
    if planted!(cx.shared.plants, ExpiryUntold) {
        let object = Object { context: expired, ..Object::default() };
        return cx.access(key, Waiter::Nobody, Task::Join { object, dots: Vec::new(), why: Join::Repair });
    }
    cx.step(Step::Expire { key, seen: expired });
}

/// The dots of the siblings that have expired, and when the first of them did; None when none has.
fn expired(cx: &Cx<'_>, object: &Object) -> Option<(Context, u64)> {
    let wall = cx.now.wall;
    let expired = object.store.0.iter().filter(|(_, sibling)| sibling.is_expired(wall));
    let first = expired.clone().map(|(_, sibling)| sibling.expires).min()?;
    Some((expired.map(|(&dot, _)| dot).collect(), first))
}

/// Whether this node is to delete what expired at `first`.
fn is_ours(cx: &mut Cx<'_>, peers: &Peers, partition: Partition, first: u64) -> bool {
    let me = cx.me();
    let coordinators = cx.layout.coordinators(partition);
    if !coordinators.contains(&me) {
        return false;
    }
    let patience_ms = cx.config.expire_every.as_millis() * 2;
    let is_first = coordinators.iter().find(|&&node| node == me || !peers.is_suspected(node)) == Some(&me);
    let is_late = u128::from(cx.now.wall.millis()) >= u128::from(first) + patience_ms;
    let is_late = is_late && !planted!(cx.shared.plants, ExpiryUntold);
    sometimes!(cx.shared.moments, ExpiredByAnother, is_late && !is_first);
    is_first || is_late
}
