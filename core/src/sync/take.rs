//! Taking over what a peer has seen: a checkpoint puts on record that this replica has seen it, too, and perhaps that it
//! is complete. When that is safe is told above, in `sync`.

use alloc::boxed::Box;
use alloc::string::String;

use super::{Goal, Round, Stage, Sync, Walk, WalkStep};
use crate::causal::Clock;
use crate::cx::{CheckpointWrite, Cx};
use crate::effect::Class;
use crate::id::NodeId;
use crate::key::Partition;
use crate::note::Note;
use crate::replica::Barrier;
use crate::sweep;

/// What may be taken over from a peer.
#[derive(Clone, Debug)]
pub(super) struct TakeOver {
    pub(super) clock: Clock,
    pub(super) by: By,
}

/// How that came here.
#[derive(Clone, Debug)]
pub(super) enum By {
    /// By the log, from a peer that was complete when it had seen just that, or was not.
    Log { complete: bool },
    /// As objects, without log rows, since this node had seen `own` and mended so many rows.
    Pages { own: Clock, mends: u64 },
}

impl Sync {
    /// Takes over what may be taken of the peer's clock, now that the objects are on disk.
    pub(super) fn take_over(&mut self, cx: &mut Cx<'_>, peer: NodeId, n: u64, what: TakeOver) {
        let Some(walk) = self.walk(peer, n) else { return };
        let partition = walk.partition;
        if cx.shared.replicas[&partition].checkpointing {
            sometimes!(cx.shared.moments, CheckpointWaits);
            walk.step = WalkStep::Waiting(Box::new(what));
            return self.await_step(cx, peer);
        }
        walk.step = WalkStep::Checkpointing;
        let TakeOver { clock, by } = what;
        let replica = &cx.shared.replicas[&partition];
        if let By::Pages { mends, .. } = &by
            && *mends != replica.mends
        {
            sometimes!(cx.shared.moments, PullOvertakenByMend);
            return self.next_partition(cx, peer);
        }
        if let By::Pages { own, .. } = &by
            && replica.is_overtaken(own, &clock)
        {
            // What came in may have been removed at the giver before the first range was compared: nothing said so, and
            // the clock must not either.
            sometimes!(cx.shared.moments, PullOvertaken);
            return self.next_partition(cx, peer);
        }
        let (caught, whole) = match by {
            By::Log { complete } => (may_count(cx, partition, n).then_some((peer, complete)), false),
            // Caught up is who has also asked for what lies beyond the giver's gaps.
            By::Pages { .. } => (None, true),
        };
        sometimes!(cx.shared.moments, PartitionTakenOver, whole);
        let news = whole || !clock.missing_from(replica.clock()).is_empty();
        let absorbed = news.then_some(clock);
        let in_floor = whole && !planted!(cx.shared.plants, WholeNotInFloor);
        let walk = Some((peer, n));
        let write = CheckpointWrite {
            absorbed,
            whole: in_floor,
            caught,
            walk,
            ..CheckpointWrite::nothing(partition)
        };
        if write_checkpoint(cx, write) {
            return self.await_step(cx, peer);
        }
        note_caught(cx, partition, caught);
        sweep::visit(cx, partition, &mut { sweep::VISITS_MAX });
        self.next_partition(cx, peer);
    }

    /// A checkpoint is on disk, or could not be put there.
    pub(crate) fn on_checkpoint(
        &mut self,
        cx: &mut Cx<'_>,
        write: CheckpointWrite,
        outcome: Result<(), String>,
    ) {
        cx.shared.is_following = true;
        let replica = cx.replica(write.partition).expect("nothing is dropped before its checkpoint is done");
        replica.checkpointing = false;
        replica.claiming = None;
        let is_on_disk = outcome.is_ok();
        match outcome {
            Ok(()) => {
                if let Some(absorbed) = &write.absorbed {
                    replica.absorbed(absorbed, write.whole);
                }
                // What was concluded before the store was found to have gone back does not hold any more.
                let is_valid = !replica.complete && !replica.lapsed;
                let caught = write.caught.filter(|&caught| is_valid && replica.is_news(caught));
                replica.caught_up.extend(caught);
                let is_news = is_valid && write.complete;
                replica.complete |= is_news;
                cx.shared.life_stored |= write.absorbed.is_some();
                if is_news {
                    sometimes!(cx.shared.moments, CaughtUp);
                    cx.note(Note::CaughtUp { partition: write.partition });
                }
                note_caught(cx, write.partition, write.caught);
                sweep::visit(cx, write.partition, &mut { sweep::VISITS_MAX });
            }
            Err(reason) => {
                // It may have been the one to say that the replica is not complete. At worst one more is written.
                replica.lapsed |= !replica.complete;
                sometimes!(cx.shared.moments, CheckpointRefused);
                cx.note(Note::WriteFailed { reason });
            }
        }
        if let Some((peer, n)) = write.walk
            && self.walk(peer, n).is_some()
        {
            if is_on_disk && write.caught.is_none() {
                self.go_on(cx, peer, Goal::Ask);
            } else {
                self.next_partition(cx, peer);
            }
        }
        self.resume(cx, write.partition);
        if is_on_disk && cx.shared.replicas[&write.partition].lapsed {
            write_checkpoint(cx, CheckpointWrite::nothing(write.partition));
        }
    }

    /// No checkpoint of `partition` is on its way any more: the next walk that waits for that goes on.
    fn resume(&mut self, cx: &mut Cx<'_>, partition: Partition) {
        let waits = |round: &Round| match &round.stage {
            Stage::Walking { walk: Walk { n, partition: at, step: WalkStep::Waiting(what) }, .. }
                if *at == partition =>
            {
                Some((*n, what.clone()))
            }
            _ => None,
        };
        let next =
            self.rounds.iter().find_map(|(&peer, round)| waits(round).map(|(n, what)| (peer, n, what)));
        if let Some((peer, n, what)) = next {
            self.take_over(cx, peer, n, *what);
        }
    }
}

/// Whether what a request of this number finds counts towards being complete: after a change of layout, only what was
/// asked once all nodes had said that they begin no write under an older one.
pub(super) fn may_count(cx: &Cx<'_>, partition: Partition, n: u64) -> bool {
    let Some(replica) = cx.shared.replicas.get(&partition) else { return false };
    match &replica.barrier {
        Some(barrier) => barrier.passed_at.is_some_and(|at| n > at),
        None => true,
    }
}

/// The replica has caught up with a peer, which was complete or not: it may be all that it was still to do.
pub(crate) fn note_caught(cx: &mut Cx<'_>, partition: Partition, caught: Option<(NodeId, bool)>) {
    let (sources, needed) = cx.layout.sources(cx.config, partition);
    let me = cx.me();
    let Some(replica) = cx.shared.replicas.get_mut(&partition) else { return };
    let is_complete = replica.complete && !replica.lapsed;
    let Some(barrier) = &mut replica.barrier else { return };
    if let Some((peer, complete)) = caught {
        let known = barrier.caught_up.entry(peer).or_default();
        *known |= complete;
    }
    let is_passed = barrier.passed_at.is_some();
    let is_good = |node: &&NodeId| **node == me || barrier.caught_up.get(node).is_some_and(|&good| good);
    let good = sources.iter().filter(is_good).count();
    let has_all = sources.iter().all(|node| *node == me || barrier.caught_up.contains_key(node));
    if is_passed && is_complete && (good >= needed || has_all) {
        replica.barrier = None;
        cx.shared.is_following = true;
    }
}

/// Drops log rows that every replica has, which is bookkeeping: lost, it is done again. Burnt dots are put on record.
pub(super) fn prune(cx: &mut Cx<'_>, partition: Partition) {
    let Some(replica) = cx.shared.replicas.get(&partition) else { return };
    let absorbed = replica.burnt();
    sometimes!(cx.shared.moments, BurntRecorded, absorbed.is_some());
    write_checkpoint(cx, CheckpointWrite { absorbed, ..CheckpointWrite::nothing(partition) });
}

/// Writes a checkpoint if there is something to put on record. False when there is not, or one is on its way.
///
/// An empty replica is complete again when it has caught up with so many complete ones that every acknowledged write
/// must be on one of them (N − W + 1 of the holders in the oldest layout in force), or with all of these, complete or not:
/// then there is nobody left to ask.
pub(super) fn write_checkpoint(cx: &mut Cx<'_>, write: CheckpointWrite) -> bool {
    let me = cx.me();
    let (sources, needed) = cx.layout.sources(cx.config, write.partition);
    let replica = &cx.shared.replicas[&write.partition];
    let mut complete = replica.complete;
    if !complete {
        let mut caught_up = replica.caught_up.clone();
        caught_up.extend(write.caught.filter(|&caught| replica.is_news(caught)));
        let from_complete =
            sources.iter().filter(|node| caught_up.get(node).is_some_and(|&complete| complete));
        let has_all = sources.iter().all(|node| *node == me || caught_up.contains_key(node));
        complete = from_complete.count() >= needed || has_all;
        sometimes!(
            cx.shared.moments,
            CaughtUpWithIncomplete,
            complete && caught_up.values().any(|&complete| !complete)
        );
        // Before all nodes write under the new layout, a replica that comes with it cannot have everything.
        let is_early = |barrier: &Barrier| barrier.passed_at.is_none();
        complete &= !replica.barrier.as_ref().is_some_and(is_early);
    }
    let is_news = write.absorbed.is_some() || (write.caught.is_some() && !replica.complete) || replica.lapsed;
    let class = if is_news { Class::Synced } else { Class::Lazy };
    cx.checkpoint(class, CheckpointWrite { complete, ..write })
}
