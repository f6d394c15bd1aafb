//! Going over a whole partition, where a peer's log does not reach back far enough: reading what is here, having ranges
//! of it compared, and pulling those that differ, page by page. What it rests on is told above, in `sync`.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::show::{objects_bytes, row_bytes, shown};
use super::take::{By, TakeOver};
use super::{Goal, Round, SCAN_BYTES, Stage, Sync, Then, Walk, WalkStep};
use crate::causal::Clock;
use crate::cx::{Cx, Join, Owner};
use crate::fingerprint::Seed;
use crate::id::{NodeId, OpId};
use crate::kind::Object;
use crate::message::{Compared, Message, Page, Refusal};
use crate::note::Note;
use crate::ranges::{Next, Transfer};
use crate::stored::{self, Row};

/// A whole partition, range by range.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(super) struct Whole {
    /// What the giver had seen before anything was compared: all of it is in all ranges together.
    clock: Clock,
    /// What this node had seen then.
    own: Clock,
    /// How many of its damaged rows had been mended then.
    mends: u64,
    transfer: Transfer,
}

impl Whole {
    /// The key up to which all is done, in words.
    pub(super) fn place(&self) -> String {
        self.transfer.done().map_or_else(|| "the beginning".to_string(), |key| format!("{key:?}"))
    }
}

impl Sync {
    /// Begins to go over the whole partition, of which the giver has seen `clock`, if nobody else's pages can come between.
    pub(super) fn pull(&mut self, cx: &mut Cx<'_>, peer: NodeId, clock: Clock) {
        let Some(Stage::Walking { walk, .. }) = self.rounds.get(&peer).map(|round| &round.stage) else {
            return;
        };
        if self.is_pulled(peer) {
            sometimes!(cx.shared.moments, PullWaits);
            return self.next_partition(cx, peer);
        }
        let replica = &cx.shared.replicas[&walk.partition];
        let (own, mends) = (replica.clock().clone(), replica.mends);
        let transfer = Transfer::new(Seed::of(cx.life), &cx.config.limits);
        self.go_on(cx, peer, Goal::Whole(Box::new(Whole { clock, own, mends, transfer })));
    }

    /// Takes the next step over the whole partition.
    pub(super) fn transfer(&mut self, cx: &mut Cx<'_>, peer: NodeId, mut whole: Box<Whole>) {
        let Some(Stage::Walking { walk, .. }) = self.rounds.get_mut(&peer).map(|round| &mut round.stage)
        else {
            return;
        };
        walk.n = cx.next_op();
        let (n, op, partition) = (walk.n, cx.op(walk.n), walk.partition);
        match whole.transfer.next() {
            Next::Read { after } => {
                sometimes!(cx.shared.moments, SeveralWindows, after.is_some());
                walk.step = WalkStep::Reading(whole);
                let bounds = stored::objects_within(partition, after.as_ref(), None);
                cx.scan(Owner::Walk { peer, n }, bounds, cx.config.limits.window_keys, SCAN_BYTES);
            }
            Next::Compare { after, spans } => {
                walk.step = WalkStep::Comparing(whole);
                cx.send(peer, Message::Compare { op, partition, after, spans });
            }
            Next::Pull { after, until, have } => {
                walk.step = WalkStep::Pulling(whole);
                cx.send(peer, Message::Pull { op, partition, after, until, have });
            }
            Next::Rest => return self.take_whole_over(cx, peer, *whole),
        }
        self.await_step(cx, peer);
    }

    /// The whole partition has been gone over.
    fn take_whole_over(&mut self, cx: &mut Cx<'_>, peer: NodeId, whole: Whole) {
        let Some(Stage::Walking { walk, .. }) = self.rounds.get(&peer).map(|round| &round.stage) else {
            return;
        };
        let (n, Whole { clock, own, mends, .. }) = (walk.n, whole);
        // A gap may have been filled between the giver's clock and its keys, and what lay beyond it have lost its row:
        // only below the bases does "not there" mean "removed".
        self.take_over(cx, peer, n, TakeOver { clock: clock.without_cloud(), by: By::Pages { own, mends } });
    }

    /// Whether another walk is pulling the partition that the walk with `peer` is at, or has left objects of pages that
    /// are still to be written.
    fn is_pulled(&self, peer: NodeId) -> bool {
        let Some(Stage::Walking { walk: Walk { partition, .. }, .. }) =
            self.rounds.get(&peer).map(|round| &round.stage)
        else {
            return false;
        };
        let pulls = |(&other, round): (&NodeId, &Round)| match &round.stage {
            Stage::Walking { walk, .. } => {
                other != peer && walk.partition == *partition && walk.step.is_pull()
            }
            _ => false,
        };
        self.rounds.iter().any(pulls) || self.pages.values().any(|(at, _)| at == partition)
    }

    /// This node's own objects have been read.
    pub(crate) fn on_own_rows(
        &mut self,
        cx: &mut Cx<'_>,
        peer: NodeId,
        n: u64,
        outcome: Result<(Vec<Row>, bool), String>,
    ) {
        let Some(WalkStep::Reading(mut whole)) =
            self.step(peer, n, |step| matches!(step, WalkStep::Reading(_)))
        else {
            return;
        };
        let (rows, mut more) = match outcome {
            Ok((rows, more)) if !more || !rows.is_empty() => (rows, more),
            Ok(_) => return self.next_partition(cx, peer),
            Err(reason) => {
                cx.note(Note::ScanFailed { reason });
                return self.next_partition(cx, peer);
            }
        };
        if planted!(cx.shared.plants, TailNotCompared)
            && (!rows.is_empty() || whole.transfer.done().is_some())
        {
            more = true;
            if rows.is_empty() {
                return self.take_whole_over(cx, peer, *whole);
            }
        }
        let bytes: usize = rows.iter().map(row_bytes).sum();
        self.pace.spend(cx.now.mono, bytes as u64, cx.config.sync_bytes_per_s);
        let rows = shown(cx, whole.transfer.seed(), &rows);
        whole.transfer.on_read(rows, more);
        self.go_on(cx, peer, Goal::Whole(whole));
    }

    /// The peer has compared, or refuses to.
    pub(crate) fn on_compared(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        outcome: Result<Compared, Refusal>,
    ) {
        if !cx.has_asked(op) {
            return;
        }
        let is_awaited = |step: &WalkStep| matches!(step, WalkStep::Comparing(_));
        let Some(WalkStep::Comparing(mut whole)) = self.step(from, op.n, is_awaited) else {
            return;
        };
        let Ok(Compared { clock, equal }) = outcome else {
            sometimes!(cx.shared.moments, ComparedRefused);
            return self.next_partition(cx, from);
        };
        if has_lost(&whole, &clock) {
            sometimes!(cx.shared.moments, GiverLost);
            return self.next_partition(cx, from);
        }
        let verdict = whole.transfer.on_compared(&equal);
        sometimes!(cx.shared.moments, RangesEqual, verdict.unequal == 0);
        sometimes!(cx.shared.moments, RangesDiffer, (1..verdict.ranges).contains(&verdict.unequal));
        cx.shared.stats.sync_ranges += verdict.ranges;
        cx.shared.stats.sync_same += verdict.equal;
        self.go_on(cx, from, Goal::Whole(whole));
    }

    /// The peer gives a page, or refuses to.
    pub(crate) fn on_page(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        outcome: Result<Page, Refusal>,
    ) {
        if !cx.has_asked(op) {
            return;
        }
        let is_awaited = |step: &WalkStep| matches!(step, WalkStep::Pulling(_) | WalkStep::Comparing(_));
        let mut whole = match self.step(from, op.n, is_awaited) {
            Some(WalkStep::Pulling(whole)) => whole,
            Some(WalkStep::Comparing(mut whole)) => {
                whole.transfer.on_uncompared();
                whole
            }
            _ => return,
        };
        let Ok(Page { clock, objects, same, end, .. }) = outcome else {
            sometimes!(cx.shared.moments, PageRefused);
            return self.next_partition(cx, from);
        };
        if has_lost(&whole, &clock) {
            sometimes!(cx.shared.moments, GiverLost);
            return self.next_partition(cx, from);
        }
        let Some(turned) = whole.transfer.on_page(end.as_ref(), |key| objects.contains_key(key), &same)
        else {
            return self.next_partition(cx, from);
        };
        cx.shared.stats.sync_pages += 1;
        cx.shared.stats.sync_pulled += objects.len() as u64;
        cx.shared.stats.sync_same += turned.equal;
        self.pace.spend(cx.now.mono, objects_bytes(&objects), cx.config.sync_bytes_per_s);
        sometimes!(cx.shared.moments, PagePulled);
        sometimes!(cx.shared.moments, SeveralPages, end.is_some());
        sometimes!(cx.shared.moments, SameLeftOut, turned.equal > 0);
        sometimes!(cx.shared.moments, RemovedByPage, !turned.absent.is_empty());
        let mut nothing = Object::default();
        clock.fill(&mut nothing);
        let absent = turned.absent.into_iter().map(|key| (key, nothing.clone(), Vec::new(), Join::Whole));
        let present = objects.into_iter().map(|(key, object)| (key, object, Vec::new(), Join::Whole));
        let joins = present.chain(absent).collect();
        self.join_all(cx, from, op.n, joins, Then::Paged(whole));
    }
}

/// Whether the giver has less than before anything was compared: its data is lost, and the rest would seem to have been
/// removed.
fn has_lost(whole: &Whole, clock: &Clock) -> bool {
    !whole.clock.missing_from(clock).is_empty()
}
