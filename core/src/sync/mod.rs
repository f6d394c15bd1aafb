//! Anti-entropy by clocks: whoever is missing something asks for exactly that (DottedDB, SRDS 2017).
//!
//! A round with a peer opens with one number for all clocks that both hold; when it matches, nothing else is said.
//! Otherwise the partitions whose clocks differ are walked one at a time: this node says what it has seen, the peer
//! gives the objects that the missing dots have changed, found through its log. So that many partitions cost no more
//! round trips than few, the peer is asked about the next ones ahead; and so that nothing comes twice, no partition that
//! another peer is being asked about. When the log does not reach back
//! far enough, the whole partition is gone over by ranges of keys (`ranges`): what is equal stays where it is, and the
//! rest is pulled, page by page. So a transfer costs what differs, and one that was interrupted goes on where it
//! stopped, because what has come is equal by then. All of it keeps to a pace (`pace`).
//!
//! What may be taken over from a peer's clock, and when, decides whether data is safe here. A dot that the peer has and
//! this node lacks is either in the peer's log, and its object comes with the answer; or below the log's floor, and the
//! answer says that it does not reach; or it never had an effect (its write failed, or died with its node), and nothing
//! need come. So the peer's clock may be taken over once an answer that reaches, and holds everything, is on disk. A
//! checkpoint of its own puts that on record.
//!
//! After a whole partition it is the bases of the clock that the peer had before the first range was compared; what
//! lies beyond gaps is asked for again, and the log names it. A range that is equal is as good as one that was pulled:
//! a dot below those bases is visible on both sides, or was removed at the peer (`fingerprint`). Pages and fingerprints
//! name no removals: a key that stands on no page, and counts in no fingerprint, has lost what those bases cover. So
//! nothing that they cover may come in by another way once this node has begun to read its own keys:
//!
//! 1. Nobody else's pages are being written meanwhile: a partition is pulled by one walk at a time (`Sync::pull`).
//! 2. All other joins claim what they bring. When one has landed since then, or is on its way to disk, the pull is given
//!    up ([`Replica::is_overtaken`](crate::replica::Replica::is_overtaken)). So it is when a damaged row was mended: what a
//!    page had brought, or a fingerprint had counted, may have gone with it.
//! 3. From that decision until the checkpoint has landed or failed, joins of dots that it claims are refused
//!    ([`Replica::is_claiming`](crate::replica::Replica::is_claiming)).
//!
//! Writes land in order, so a crash in between leaves all of this or none. What the giver shows must be as safe: what it
//! has handed to its disk can be seen before it would survive a crash, and what that removed would then come back. So a
//! key that is being written is read through its slot, and its range is not equal. After an answer that reaches no such
//! care is needed: it names the key of every dot that it claims, and the key's slot has put the removal behind the dot
//! or before.

mod give;
mod show;
mod take;
mod whole;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque, btree_map};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_64;

use crate::causal::{Clock, Context, Dot};
use crate::cx::{Answer, CheckpointWrite, Cx, Join, Task, Waiter};
use crate::id::{NodeId, OpId};
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::layout::active::View;
use crate::message::{Given, Message, Probed, Refusal};
use crate::note::Note;
use crate::pace::Pace;
use crate::sweep;
use crate::time::Mono;
use crate::timers::Timer;
pub(crate) use give::give_one;
use give::{Asked, Gather, Lane};
use show::given_bytes;
pub(crate) use take::note_caught;
use take::{By, TakeOver, may_count, prune, write_checkpoint};
use whole::Whole;

/// Bytes of rows that are read at a time to be compared.
const SCAN_BYTES: usize = 4 << 20;

/// Partitions that a peer is asked about beyond the one that is being walked, at most.
const AHEAD_MAX: usize = 16;

/// A round of this node's with one peer, and when it must next be looked at.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Round {
    stage: Stage,
    at: Mono,
}

#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
enum Stage {
    /// The next round begins with the timer.
    Resting,
    /// Are our clocks equal? Whether that is to be asked again, should no answer come soon.
    Probing { n: u64, digest: u64, again: bool },
    /// They were not.
    Walking { queue: VecDeque<Partition>, ahead: BTreeMap<Partition, Ahead>, walk: Walk },
}

/// What the peer was asked about a partition before its turn: the request, and the answer once it has come. It is as good
/// as one that was long on its way.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Ahead {
    n: u64,
    given: Option<Given>,
}

/// One partition of a round.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Walk {
    /// The request, or the work, that is under way.
    n: u64,
    partition: Partition,
    step: WalkStep,
}

#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
enum WalkStep {
    /// What am I missing?
    Asking,
    /// Objects are being written; what they came with follows when all are.
    Joining { left: usize, refused: bool, then: Then },
    /// This node's own objects are being read.
    Reading(Box<Whole>),
    /// Which ranges are equal?
    Comparing(Box<Whole>),
    /// A page of a range has been asked for.
    Pulling(Box<Whole>),
    /// More has come than the pace allows; this follows when the time has come.
    Pausing(Goal),
    /// Another checkpoint of the partition is on its way to disk; this one follows.
    Waiting(Box<TakeOver>),
    /// What was taken over is being written.
    Checkpointing,
}

/// What follows when the objects of a message are on disk.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
enum Then {
    /// The giver's clock, and how much of what it covers the message carried.
    Given { clock: Clock, complete: bool, reaches: bool, more: bool, progress: bool },
    /// The next page or range, or the end.
    Paged(Box<Whole>),
}

/// What a walk is to do next.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
enum Goal {
    /// To ask what is missing.
    Ask,
    /// To go on with a whole partition.
    Whole(Box<Whole>),
}

impl WalkStep {
    /// Whether a whole partition is being gone over, or has been and is not taken over.
    const fn is_pull(&self) -> bool {
        match self {
            Self::Reading(_) | Self::Comparing(_) | Self::Pulling(_) => true,
            Self::Pausing(goal) => matches!(goal, Goal::Whole(_)),
            Self::Joining { then, .. } => matches!(then, Then::Paged(_)),
            Self::Waiting(what) => matches!(what.by, By::Pages { .. }),
            Self::Asking | Self::Checkpointing => false,
        }
    }
}

impl Round {
    /// What a round that is under way is at, in words.
    fn unrest(&self, peer: NodeId) -> Option<String> {
        let Stage::Walking { queue, walk, .. } = &self.stage else {
            return None;
        };
        let step = match &walk.step {
            WalkStep::Asking => "asking".to_string(),
            WalkStep::Joining { left, .. } => format!("joining, {left} objects to go"),
            WalkStep::Reading(whole) => format!("reading what follows {}", whole.place()),
            WalkStep::Comparing(whole) => format!("comparing what follows {}", whole.place()),
            WalkStep::Pulling(whole) => format!("pulling what follows {}", whole.place()),
            WalkStep::Pausing(_) => "keeping to its pace".to_string(),
            WalkStep::Waiting(_) => "waiting for another checkpoint".to_string(),
            WalkStep::Checkpointing => "writing a checkpoint".to_string(),
        };
        let (partition, left) = (walk.partition, queue.len());
        Some(format!("the round with {peer} is walking {partition:?} ({step}), {left} partitions to go"))
    }

    /// Begins soon.
    fn begin_soon(&mut self, cx: &mut Cx<'_>, peer: NodeId) {
        let at = cx.now.mono.after(cx.jitter(cx.config.sync_every / 16));
        self.begin_by(cx, peer, at);
    }

    /// Is looked at by then, or sooner if it would be anyway.
    fn begin_by(&mut self, cx: &mut Cx<'_>, peer: NodeId, at: Mono) {
        if at < self.at {
            cx.shared.timers.cancel(self.at, Timer::Sync(peer));
            self.at = at;
            cx.shared.timers.set(at, Timer::Sync(peer));
        }
    }

    /// Whether the peer is being asked about `partition`, or what it gave by its log is being written.
    fn asks(&self, partition: Partition) -> bool {
        let Stage::Walking { ahead, walk, .. } = &self.stage else { return false };
        let is_asked = match &walk.step {
            WalkStep::Asking | WalkStep::Pausing(Goal::Ask) => true,
            WalkStep::Joining { then, .. } => matches!(then, Then::Given { .. }),
            _ => false,
        };
        (is_asked && walk.partition == partition) || ahead.contains_key(&partition)
    }
}

/// Anti-entropy with all peers, both ways.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Sync {
    rounds: BTreeMap<NodeId, Round>,
    gathers: BTreeMap<(NodeId, Lane), Gather>,
    /// What peers ask while objects are being gathered for them already, in order.
    asked: BTreeMap<NodeId, VecDeque<Asked>>,
    shared: BTreeMap<NodeId, Vec<Partition>>,
    /// Partitions that no other node holds.
    alone: Vec<Partition>,
    /// Objects of a page that are still to be written, by the number of its request, whether or not its walk goes on.
    pages: BTreeMap<u64, (Partition, usize)>,
    pace: Pace,
}

impl Sync {
    /// What ended lives left open is closed: rounds begin.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        for &partition in &cx.shared.replicas.keys().copied().collect::<Vec<_>>() {
            if cx.shared.replicas[&partition].lapsed {
                write_checkpoint(cx, CheckpointWrite::nothing(partition));
            }
        }
        self.reshape(cx);
    }

    /// Other layouts are in force: rounds go on with the peers that still share what they shared, and begin with the rest,
    /// each at a moment of its own.
    pub(crate) fn reshape(&mut self, cx: &mut Cx<'_>) {
        let me = cx.me();
        let nodes: Vec<NodeId> = cx.layout.nodes().iter().copied().filter(|&peer| peer != me).collect();
        let mut shared = BTreeMap::new();
        for peer in nodes {
            let both: Vec<Partition> =
                cx.layout.held_by(peer).filter(|&partition| cx.layout.holds(me, partition)).collect();
            if !both.is_empty() {
                shared.insert(peer, both);
            }
        }
        let before = core::mem::replace(&mut self.shared, shared);
        for peer in before.into_iter().filter(|(peer, was)| self.shared.get(peer) != Some(was)) {
            if let Some(round) = self.rounds.remove(&peer.0) {
                sometimes!(cx.shared.moments, RoundReshaped, !matches!(round.stage, Stage::Resting));
                cx.shared.timers.cancel(round.at, Timer::Sync(peer.0));
            }
        }
        self.gathers.retain(|(peer, _), _| self.shared.contains_key(peer));
        self.asked.retain(|peer, _| self.shared.contains_key(peer));
        for &peer in self.shared.keys() {
            if let btree_map::Entry::Vacant(vacant) = self.rounds.entry(peer) {
                // The first round is soon, so that a node that was away catches up; jitter keeps nodes out of step.
                let at = cx.now.mono.after(cx.jitter(cx.config.sync_every / 4));
                vacant.insert(Round { stage: Stage::Resting, at });
                cx.shared.timers.set(at, Timer::Sync(peer));
            }
        }
        let was_alone = !self.alone.is_empty();
        self.alone = cx.layout.held_by(me).filter(|&at| cx.layout.holders(at).len() == 1).collect();
        if !self.alone.is_empty() && !was_alone {
            cx.shared.timers.set(cx.now.mono.after(cx.config.sync_every), Timer::Sync(me));
        }
    }

    /// Rounds that rest begin soon.
    pub(crate) fn hasten(&mut self, cx: &mut Cx<'_>) {
        for (&peer, round) in &mut self.rounds {
            if matches!(round.stage, Stage::Resting) {
                round.begin_soon(cx, peer);
            }
        }
    }

    /// The peer answers again. What it was asked before may be lost: if no answer comes soon it is asked once more.
    pub(crate) fn meet(&mut self, cx: &mut Cx<'_>, peer: NodeId) {
        let Some(round) = self.rounds.get_mut(&peer) else { return };
        match &mut round.stage {
            Stage::Resting => round.begin_soon(cx, peer),
            Stage::Probing { again, .. } => {
                sometimes!(cx.shared.moments, MetAgain);
                *again = true;
                let part = cx.config.sync_every / 16;
                let at = cx.now.mono.after(part + cx.jitter(part));
                round.begin_by(cx, peer, at);
            }
            Stage::Walking { .. } => {}
        }
    }

    /// Whether objects or pages of `partition` are being carried, either way.
    pub(crate) fn is_at(&self, partition: Partition) -> bool {
        let walks = |round: &Round| match &round.stage {
            Stage::Walking { walk, .. } => walk.partition == partition,
            _ => false,
        };
        self.rounds.values().any(walks)
            || self.gathers.values().any(|gather| gather.partition == partition)
            || self.pages.values().any(|(at, _)| *at == partition)
    }

    /// Walks of whole partitions that are under way: the peer, the partition, and the key that was reached.
    pub(crate) fn pulls(&self) -> impl Iterator<Item = (NodeId, Partition)> + '_ {
        self.rounds.iter().filter_map(|(&peer, round)| match &round.stage {
            Stage::Walking { walk, .. } if walk.step.is_pull() => Some((peer, walk.partition)),
            _ => None,
        })
    }

    /// The partition that the pull called `n` is of.
    pub(crate) fn pulling(&self, n: u64) -> Option<Partition> {
        self.rounds.values().find_map(|round| match &round.stage {
            Stage::Walking { walk, .. } if walk.n == n => Some(walk.partition),
            _ => None,
        })
    }

    /// What is being carried with a peer, either way, in words.
    pub(crate) fn unrest(&self) -> Option<String> {
        let gather = self.gathers.first_key_value().map(|((peer, _), gather)| {
            format!("{} objects of {:?} are still to be read for {peer}", gather.left, gather.partition)
        });
        gather.or_else(|| self.rounds.iter().find_map(|(&peer, round)| round.unrest(peer)))
    }

    /// A round is due, or the present one hangs.
    pub(crate) fn on_timer(&mut self, cx: &mut Cx<'_>, peer: NodeId) {
        if peer == cx.me() {
            // There is nobody to compare with, but the log must not grow for ever.
            let mut budget = sweep::VISITS_MAX;
            for &partition in &self.alone {
                prune(cx, partition);
                sweep::visit(cx, partition, &mut budget);
            }
            if !self.alone.is_empty() {
                cx.shared.timers.set(cx.now.mono.after(cx.config.sync_every), Timer::Sync(peer));
            }
            return;
        }
        let Some(round) = self.rounds.get_mut(&peer) else {
            return;
        };
        if let Stage::Walking { walk, .. } = &mut round.stage
            && matches!(walk.step, WalkStep::Pausing(_))
        {
            let WalkStep::Pausing(goal) = core::mem::replace(&mut walk.step, WalkStep::Asking) else {
                unreachable!("just matched")
            };
            return self.go_on(cx, peer, goal);
        }
        if !matches!(round.stage, Stage::Resting | Stage::Probing { again: true, .. }) {
            sometimes!(cx.shared.moments, RoundHung);
            // Whatever hangs may still be carried out: nothing of it is undone, and nothing is lost by asking again.
            return self.rest(cx, peer);
        }
        let n = cx.next_op();
        let digest = digest(cx, &self.shared[&peer]);
        round.stage = Stage::Probing { n, digest, again: false };
        cx.send(peer, Message::Probe { op: cx.op(n), digest });
        self.await_step(cx, peer);
    }

    /// The round with `peer` is over; the next one follows in its time.
    fn rest(&mut self, cx: &mut Cx<'_>, peer: NodeId) {
        let every = cx.config.sync_every;
        let pause = every * 3 / 4 + cx.jitter(every / 2);
        let round = self.rounds.get_mut(&peer).expect("a round is only ended where one is");
        round.stage = Stage::Resting;
        cx.shared.timers.cancel(round.at, Timer::Sync(peer));
        round.at = cx.now.mono.after(pause);
        cx.shared.timers.set(round.at, Timer::Sync(peer));
    }

    /// The present step of the round with `peer` has a request's time from now on.
    fn await_step(&mut self, cx: &mut Cx<'_>, peer: NodeId) {
        self.await_until(cx, peer, cx.now.mono.after(cx.config.timeout));
    }

    /// The round with `peer` is looked at again at that moment.
    fn await_until(&mut self, cx: &mut Cx<'_>, peer: NodeId, at: Mono) {
        let round = self.rounds.get_mut(&peer).expect("a round is only awaited where one is");
        cx.shared.timers.cancel(round.at, Timer::Sync(peer));
        round.at = at;
        cx.shared.timers.set(round.at, Timer::Sync(peer));
    }

    // --- Opening a round ---------------------------------------------------------------------------------------

    /// A peer wants to know whether our clocks are equal.
    pub(crate) fn on_probe(&mut self, cx: &mut Cx<'_>, from: NodeId, view: View, op: OpId, theirs: u64) {
        let Some(shared) = self.shared.get(&from).filter(|_| shares_view(cx, view)) else {
            return cx.send(from, Message::Probed { op, outcome: Probed::OtherView });
        };
        let outcome = if digest(cx, shared) == theirs {
            let mut incomplete = Vec::new();
            for &partition in shared {
                let Some(replica) = cx.replica(partition) else { continue };
                if !replica.complete {
                    incomplete.push(partition);
                }
                replica.peer_is_equal(from);
                prune(cx, partition);
            }
            Probed::Equal { incomplete }
        } else {
            Probed::Differ { digests: shared.iter().map(|&partition| digest_of(cx, partition)).collect() }
        };
        cx.send(from, Message::Probed { op, outcome });
    }

    /// The peer has compared.
    pub(crate) fn on_probed(&mut self, cx: &mut Cx<'_>, from: NodeId, view: View, op: OpId, outcome: Probed) {
        let Some(Stage::Probing { n, digest: sent, .. }) = self.rounds.get(&from).map(|round| &round.stage)
        else {
            return;
        };
        let (n, sent) = (*n, *sent);
        if !cx.has_asked(op) || op.n != n {
            return;
        }
        let shared = self.shared[&from].clone();
        let outcome = if shares_view(cx, view) { outcome } else { Probed::OtherView };
        match outcome {
            Probed::OtherView => {
                sometimes!(cx.shared.moments, OtherView);
                self.rest(cx, from);
            }
            Probed::Equal { incomplete } => {
                cx.shared.stats.sync_equal += 1;
                // Writes may have come in between; then only the next round can tell.
                if digest(cx, &shared) == sent {
                    let mut budget = sweep::VISITS_MAX;
                    for partition in shared {
                        let is_complete = !incomplete.contains(&partition);
                        on_equal(cx, (from, n), partition, Some(is_complete), &mut budget);
                    }
                }
                self.rest(cx, from);
            }
            Probed::Differ { digests } => {
                cx.shared.stats.sync_differ += 1;
                if digests.len() != shared.len() {
                    cx.note(Note::Stranger { from });
                    return self.rest(cx, from);
                }
                let mut budget = sweep::VISITS_MAX;
                let mut queue = VecDeque::new();
                for (partition, theirs) in shared.into_iter().zip(digests) {
                    // One that is being dropped begins again later.
                    let Some(replica) = cx.shared.replicas.get(&partition) else { continue };
                    let is_settled = replica.complete && replica.barrier.is_none();
                    if digest_of(cx, partition) == theirs && is_settled {
                        on_equal(cx, (from, n), partition, None, &mut budget);
                    } else {
                        queue.push_back(partition);
                    }
                }
                // Each round begins elsewhere, so that a partition that always hangs holds up none for ever.
                let turn = cx.below(queue.len() as u64);
                queue.rotate_left(turn as usize);
                self.walk_on(cx, from, queue);
            }
        }
    }

    // --- Walking the partitions that differ ----------------------------------------------------------------------

    /// Takes up the next partition of the queue, or ends the round.
    fn walk_on(&mut self, cx: &mut Cx<'_>, peer: NodeId, queue: VecDeque<Partition>) {
        self.walk_ahead(cx, peer, queue, BTreeMap::new());
    }

    /// The same, where answers about some of the partitions have come ahead or are on their way.
    ///
    /// An answer that names nothing leads here once more at once, so as deep as there are answers: [`AHEAD_MAX`].
    fn walk_ahead(
        &mut self,
        cx: &mut Cx<'_>,
        peer: NodeId,
        mut queue: VecDeque<Partition>,
        mut ahead: BTreeMap<Partition, Ahead>,
    ) {
        // What another peer is being asked about would come twice. Should this one have more, the next round will tell.
        let is_free =
            |partition: &Partition| ahead.contains_key(partition) || !self.is_asked(peer, *partition);
        while queue.front().is_some_and(|partition| !is_free(partition)) {
            sometimes!(cx.shared.moments, LeftToAnother);
            queue.pop_front();
        }
        let Some(partition) = queue.pop_front() else {
            return self.rest(cx, peer);
        };
        let answer = ahead.remove(&partition);
        let n = answer.as_ref().map_or_else(|| cx.next_op(), |ahead| ahead.n);
        let walk = Walk { n, partition, step: WalkStep::Asking };
        self.rounds.get_mut(&peer).expect("a round is walked").stage = Stage::Walking { queue, ahead, walk };
        match answer {
            None => {
                self.go_on(cx, peer, Goal::Ask);
                self.ask_ahead(cx, peer);
            }
            Some(Ahead { given, .. }) => {
                self.ask_ahead(cx, peer);
                self.await_step(cx, peer);
                if let Some(given) = given {
                    self.given(cx, peer, n, given);
                }
            }
        }
    }

    /// Whether a peer other than this one is being asked about `partition`.
    fn is_asked(&self, but: NodeId, partition: Partition) -> bool {
        self.rounds.iter().any(|(&peer, round)| peer != but && round.asks(partition))
    }

    /// Asks the peer about the partitions that come next, while the pace allows it.
    fn ask_ahead(&mut self, cx: &mut Cx<'_>, peer: NodeId) {
        if self.pace.pause(cx.now.mono).is_some() {
            return;
        }
        let Some(Stage::Walking { queue, ahead, .. }) = self.rounds.get(&peer).map(|round| &round.stage)
        else {
            return;
        };
        let next = queue.iter().take(AHEAD_MAX).copied();
        let next: Vec<Partition> = next
            .filter(|partition| !ahead.contains_key(partition) && !self.is_asked(peer, *partition))
            .collect();
        for partition in next {
            sometimes!(cx.shared.moments, AskedAhead);
            let Walk { n, .. } = ask(cx, peer, partition);
            if let Some(Stage::Walking { ahead, .. }) =
                self.rounds.get_mut(&peer).map(|round| &mut round.stage)
            {
                ahead.insert(partition, Ahead { n, given: None });
            }
        }
    }

    /// Does what a walk is to do next, once the pace allows it.
    fn go_on(&mut self, cx: &mut Cx<'_>, peer: NodeId, goal: Goal) {
        let Some(Stage::Walking { walk, .. }) = self.rounds.get_mut(&peer).map(|round| &mut round.stage)
        else {
            return;
        };
        if let Some(at) = self.pace.pause(cx.now.mono) {
            sometimes!(cx.shared.moments, TransferPaused);
            *walk = Walk { n: cx.next_op(), partition: walk.partition, step: WalkStep::Pausing(goal) };
            return self.await_until(cx, peer, at);
        }
        match goal {
            Goal::Ask => {
                *walk = ask(cx, peer, walk.partition);
                self.await_step(cx, peer);
            }
            Goal::Whole(whole) => self.transfer(cx, peer, whole),
        }
    }

    /// The present partition is done with, well or not.
    fn next_partition(&mut self, cx: &mut Cx<'_>, peer: NodeId) {
        let round = self.rounds.get_mut(&peer).expect("a round is walked");
        let Stage::Walking { queue, ahead, .. } = &mut round.stage else {
            return;
        };
        let (queue, ahead) = (core::mem::take(queue), core::mem::take(ahead));
        self.walk_ahead(cx, peer, queue, ahead);
    }

    fn walk(&mut self, peer: NodeId, n: u64) -> Option<&mut Walk> {
        match &mut self.rounds.get_mut(&peer)?.stage {
            Stage::Walking { walk, .. } if walk.n == n => Some(walk),
            _ => None,
        }
    }

    /// The peer gives what was missing.
    pub(crate) fn on_give(&mut self, cx: &mut Cx<'_>, from: NodeId, op: OpId, given: Given) {
        if !cx.has_asked(op) {
            return;
        }
        if let Some(Stage::Walking { ahead, .. }) = self.rounds.get_mut(&from).map(|round| &mut round.stage)
            && let Some(ahead) = ahead.get_mut(&given.partition).filter(|ahead| ahead.n == op.n)
        {
            if ahead.given.is_none() {
                let bytes = given_bytes(&given);
                ahead.given = Some(given);
                self.pace.spend(cx.now.mono, bytes, cx.config.sync_bytes_per_s);
            }
            return;
        }
        let awaited =
            |walk: &Walk| matches!(walk.step, WalkStep::Asking) && walk.partition == given.partition;
        if !self.walk(from, op.n).is_some_and(|walk| awaited(walk)) {
            return;
        }
        self.pace.spend(cx.now.mono, given_bytes(&given), cx.config.sync_bytes_per_s);
        self.given(cx, from, op.n, given);
    }

    /// What the peer has given comes to its turn.
    fn given(&mut self, cx: &mut Cx<'_>, from: NodeId, n: u64, given: Given) {
        check_continuity(cx, given.partition, &given.clock);
        let is_lapsed = cx.shared.replicas[&given.partition].lapsed;
        if is_lapsed && !write_checkpoint(cx, CheckpointWrite::nothing(given.partition)) {
            // What is given would hide that the store went back, and that is not even on its way to disk.
            return self.next_partition(cx, from);
        }
        let Given { clock, complete, reaches, more, objects, .. } = given;
        let progress = !objects.is_empty();
        cx.shared.stats.sync_objects += objects.len() as u64;
        let then = Then::Given { clock, complete, reaches, more, progress };
        let joins =
            objects.into_iter().map(|given| (given.key, given.object, given.dots, Join::Delta)).collect();
        self.join_all(cx, from, n, joins, then);
    }

    /// Has objects written; `then` follows when all are on disk.
    fn join_all(
        &mut self,
        cx: &mut Cx<'_>,
        peer: NodeId,
        n: u64,
        joins: Vec<(Key, Object, Vec<Dot>, Join)>,
        then: Then,
    ) {
        let Some(walk) = self.walk(peer, n) else { return };
        let (left, partition) = (joins.len(), walk.partition);
        let is_page = matches!(then, Then::Paged(_));
        walk.step = WalkStep::Joining { left, refused: false, then };
        for (key, object, dots, why) in joins {
            if cx.layout.partition(&key) == partition {
                cx.access(key, Waiter::Walk { peer, n }, Task::Join { object, dots, why });
            } else {
                cx.done(Waiter::Walk { peer, n }, Answer::Refused(Refusal::NotHeld));
            }
        }
        if is_page && left > 0 {
            self.pages.insert(n, (partition, left));
        }
        self.await_step(cx, peer);
        if left == 0 || planted!(cx.shared.plants, ClockBeforeData) {
            self.joined_all(cx, peer, n);
        }
    }

    /// One of the objects is on disk, or could not be put there.
    pub(crate) fn on_joined(&mut self, cx: &mut Cx<'_>, peer: NodeId, n: u64, answer: &Answer) {
        if let Some((_, left)) = self.pages.get_mut(&n) {
            *left -= 1;
            if *left == 0 {
                self.pages.remove(&n);
            }
        }
        let Some(Walk { step: WalkStep::Joining { left, refused, .. }, .. }) = self.walk(peer, n) else {
            return;
        };
        *left -= 1;
        *refused |= matches!(answer, Answer::Refused(_));
        if *left == 0 {
            self.joined_all(cx, peer, n);
        }
    }

    fn joined_all(&mut self, cx: &mut Cx<'_>, peer: NodeId, n: u64) {
        let Some(walk) = self.walk(peer, n) else { return };
        let partition = walk.partition;
        let WalkStep::Joining { refused, then, .. } =
            core::mem::replace(&mut walk.step, WalkStep::Checkpointing)
        else {
            unreachable!("only joins are finished here")
        };
        sometimes!(cx.shared.moments, JoinRefused, refused);
        if refused && !planted!(cx.shared.plants, TakesOverRefused) {
            return self.next_partition(cx, peer);
        }
        match then {
            Then::Given { clock, complete, reaches, more, progress } => {
                let replica = cx.replica(partition).expect("walked partitions are held");
                replica.peer_has(peer, &clock);
                sometimes!(cx.shared.moments, GiveTruncated, more);
                sometimes!(cx.shared.moments, LogTooShort, !reaches);
                let is_all = (reaches && !more) || planted!(cx.shared.plants, AbsorbsPartial);
                if is_all {
                    self.take_over(cx, peer, n, TakeOver { clock, by: By::Log { complete } });
                } else if !more {
                    self.pull(cx, peer, clock);
                } else if progress {
                    self.go_on(cx, peer, Goal::Ask);
                } else {
                    self.next_partition(cx, peer);
                }
            }
            Then::Paged(whole) => self.go_on(cx, peer, Goal::Whole(whole)),
        }
    }

    /// Takes the step of the walk that is called `n`, if it is an awaited one.
    fn step(&mut self, peer: NodeId, n: u64, is_awaited: impl Fn(&WalkStep) -> bool) -> Option<WalkStep> {
        let walk = self.walk(peer, n).filter(|walk| is_awaited(&walk.step))?;
        Some(core::mem::replace(&mut walk.step, WalkStep::Checkpointing))
    }

    /// Panics when the parts disagree.
    pub(crate) fn check(&self, timer_set: impl Fn(Mono, Timer) -> bool) {
        for (&peer, round) in &self.rounds {
            assert!(timer_set(round.at, Timer::Sync(peer)), "the round with {peer} has no timer");
        }
    }
}

fn ask(cx: &mut Cx<'_>, peer: NodeId, partition: Partition) -> Walk {
    let n = cx.next_op();
    let clock = cx.shared.replicas[&partition].clock().clone();
    cx.send(peer, Message::Ask { op: cx.op(n), partition, clock });
    Walk { n, partition, step: WalkStep::Asking }
}

/// Whether a peer has the same layouts in force, or is of a version that knows none while there is only the first.
fn shares_view(cx: &Cx<'_>, view: View) -> bool {
    let mine = cx.layout.view();
    let theirs = if view == View::FIXED { View { oldest: 1, reads: 1, newest: 1 } } else { view };
    (theirs.oldest, theirs.newest) == (mine.oldest, mine.newest)
}

/// One number for the clocks of `partitions`.
fn digest(cx: &Cx<'_>, partitions: &[Partition]) -> u64 {
    let mut bytes = Vec::with_capacity(partitions.len() * 8);
    for &partition in partitions {
        bytes.extend_from_slice(&digest_of(cx, partition).to_le_bytes());
    }
    xxh3_64(&bytes)
}

/// One number for the clock of `partition`.
fn digest_of(cx: &Cx<'_>, partition: Partition) -> u64 {
    // One that is being dropped, and held again, is as good as empty: what others have is different.
    let Some(replica) = cx.shared.replicas.get(&partition) else { return 0 };
    if planted!(cx.shared.plants, DigestForgetsCloud) {
        let mut bases = Context::new();
        bases.join_bases(replica.clock().as_context());
        return Clock::from_context(bases).digest();
    }
    replica.digest()
}

/// The clocks of `partition` are equal here and at `peer`; `is_complete` says whether the peer's replica is complete,
/// if that is known.
fn on_equal(
    cx: &mut Cx<'_>,
    (peer, n): (NodeId, u64),
    partition: Partition,
    is_complete: Option<bool>,
    budget: &mut usize,
) {
    let may_count = may_count(cx, partition, n);
    let Some(replica) = cx.replica(partition) else { return };
    replica.peer_is_equal(peer);
    let caught = is_complete.filter(|_| may_count).map(|is_complete| (peer, is_complete));
    let absorbed = replica.burnt();
    sometimes!(cx.shared.moments, BurntRecorded, absorbed.is_some());
    if !write_checkpoint(cx, CheckpointWrite { absorbed, caught, ..CheckpointWrite::nothing(partition) }) {
        note_caught(cx, partition, caught);
    }
    sweep::visit(cx, partition, budget);
}

/// Peers that have dots of this node's ended lives that its own store lacks show that the store has gone back.
fn check_continuity(cx: &mut Cx<'_>, partition: Partition, theirs: &Clock) {
    let Some(replica) = cx.shared.replicas.get(&partition) else { return };
    let missing = theirs.missing_from(replica.clock());
    if missing.iter().any(|(actor, ..)| cx.shared.ended.contains(actor)) {
        cx.went_back(partition);
    }
}
