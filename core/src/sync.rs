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

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque, btree_map};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_64;

use crate::causal::{Clock, Context, Dot};
use crate::config::Config;
use crate::cx::{Answer, CheckpointWrite, Cx, Join, Owner, Step, Task, Waiter};
use crate::effect::Class;
use crate::fingerprint::{ObjectHash, Seed};
use crate::id::{NodeId, OpId};
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::layout::active::View;
use crate::message::{Compared, Given, GivenObject, Message, Page, Probed, Refusal, Span};
use crate::note::Note;
use crate::pace::{OBJECT_BYTES_MIN, Pace};
use crate::ranges::{Comparison, Next, Shown, Transfer};
use crate::replica::Barrier;
use crate::stored::{self, Row};
use crate::sweep;
use crate::time::Mono;
use crate::timers::Timer;

/// Bytes that one number of a context takes in a frame, at most.
const CONTEXT_ENTRY_BYTES: usize = 26;

/// Bytes of rows that are read at a time to be compared.
const SCAN_BYTES: usize = 4 << 20;

/// Rows that a giver reads at a time to compare them.
const SCAN_ROWS: usize = 1_024;

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

/// A whole partition, range by range.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Whole {
    /// What the giver had seen before anything was compared: all of it is in all ranges together.
    clock: Clock,
    /// What this node had seen then.
    own: Clock,
    /// How many of its damaged rows had been mended then.
    mends: u64,
    transfer: Transfer,
}

/// What may be taken over from a peer.
#[derive(Clone, Debug)]
struct TakeOver {
    clock: Clock,
    by: By,
}

/// How that came here.
#[derive(Clone, Debug)]
enum By {
    /// By the log, from a peer that was complete when it had seen just that, or was not.
    Log { complete: bool },
    /// As objects, without log rows, since this node had seen `own` and mended so many rows.
    Pages { own: Clock, mends: u64 },
}

/// What a peer wants to know that it lacks, while objects are gathered for it already.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Asked {
    op: OpId,
    partition: Partition,
    clock: Clock,
}

/// What objects are gathered for. A peer asks about partitions ahead while it goes over ranges of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    /// What the log names.
    Asked,
    /// A range of keys.
    Range,
}

/// Objects being gathered for a peer: one lot per peer and lane. What is asked meanwhile waits its turn; of ranges the
/// newest request wins.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Gather {
    n: u64,
    op: OpId,
    /// When it was begun.
    at: Mono,
    partition: Partition,
    clock: Clock,
    /// Whether this replica was complete when it had seen just that.
    complete: bool,
    /// Keys whose objects are still being read.
    left: usize,
    dots: BTreeMap<Key, Vec<Dot>>,
    objects: BTreeMap<Key, Object>,
    /// Keys that could not be read.
    withheld: bool,
    what: Gathering,
}

#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
enum Gathering {
    Given { reaches: bool, more: bool },
    Page { after: Option<Key>, until: Option<Key>, have: Vec<ObjectHash>, end: Option<Key> },
    Compared(Box<Comparison>),
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

impl Whole {
    /// The key up to which all is done, in words.
    fn place(&self) -> String {
        self.transfer.done().map_or_else(|| "the beginning".to_string(), |key| format!("{key:?}"))
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

    /// Takes over what may be taken of the peer's clock, now that the objects are on disk.
    fn take_over(&mut self, cx: &mut Cx<'_>, peer: NodeId, n: u64, what: TakeOver) {
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

    // --- A whole partition -----------------------------------------------------------------------------------------

    /// Begins to go over the whole partition, of which the giver has seen `clock`, if nobody else's pages can come between.
    fn pull(&mut self, cx: &mut Cx<'_>, peer: NodeId, clock: Clock) {
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
    fn transfer(&mut self, cx: &mut Cx<'_>, peer: NodeId, mut whole: Box<Whole>) {
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

    /// Takes the step of the walk that is called `n`, if it is an awaited one.
    fn step(&mut self, peer: NodeId, n: u64, is_awaited: impl Fn(&WalkStep) -> bool) -> Option<WalkStep> {
        let walk = self.walk(peer, n).filter(|walk| is_awaited(&walk.step))?;
        Some(core::mem::replace(&mut walk.step, WalkStep::Checkpointing))
    }

    // --- Giving ----------------------------------------------------------------------------------------------------

    /// A peer says what it has seen of a partition, and wants the rest.
    pub(crate) fn on_ask(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        partition: Partition,
        theirs: Clock,
    ) {
        if !cx.layout.holds(from, partition) {
            return cx.note(Note::Stranger { from });
        }
        let asked = Asked { op, partition, clock: theirs };
        let lane = (from, Lane::Asked);
        // Whoever asks again has given the first request up, and after a request's time all of them.
        let is_wanted = |gather: &Gather| {
            gather.partition != partition && cx.now.mono < gather.at.after(cx.config.timeout)
        };
        if self.gathers.get(&lane).is_some_and(is_wanted) {
            let waiting = self.asked.entry(from).or_default();
            waiting.retain(|asked| asked.partition != partition);
            if waiting.len() > AHEAD_MAX {
                waiting.pop_front();
            }
            sometimes!(cx.shared.moments, AskWaits);
            return waiting.push_back(asked);
        }
        sometimes!(cx.shared.moments, GatherReplaced, self.gathers.contains_key(&lane));
        self.gathers.remove(&lane);
        self.answer(cx, from, asked);
        self.answer_waiting(cx, from);
    }

    /// Gathers what a peer lacks.
    fn answer(&mut self, cx: &mut Cx<'_>, from: NodeId, asked: Asked) {
        let Asked { op, partition, clock: theirs } = asked;
        if !cx.layout.holds(from, partition) {
            return;
        }
        check_continuity(cx, partition, &theirs);
        let max = cx.config.limits.sync_objects;
        let Some(replica) = cx.replica(partition) else {
            return;
        };
        replica.peer_has(from, &theirs);
        let (missing, reaches) = replica.missing(&theirs, max);
        let more = missing.len() > max;
        let dots: BTreeMap<Key, Vec<Dot>> =
            missing.into_iter().take(max).map(|(key, dots)| (key.clone(), dots)).collect();
        let (clock, complete) = (replica.clock().clone(), replica.complete);
        prune(cx, partition);
        let (n, at) = (cx.next_op(), cx.now.mono);
        let keys: Vec<Key> = dots.keys().cloned().collect();
        let what = Gathering::Given { reaches, more };
        let (objects, left) = (BTreeMap::new(), keys.len());
        let withheld = false;
        let gather = Gather { n, op, at, partition, clock, complete, left, dots, objects, withheld, what };
        self.gathers.insert((from, Lane::Asked), gather);
        self.gather(cx, (from, Lane::Asked), n, keys);
    }

    /// Takes up what a peer has asked meanwhile, until there is something to be read for it.
    fn answer_waiting(&mut self, cx: &mut Cx<'_>, to: NodeId) {
        while !self.gathers.contains_key(&(to, Lane::Asked)) {
            let Some(asked) = self.asked.get_mut(&to).and_then(VecDeque::pop_front) else {
                self.asked.remove(&to);
                return;
            };
            self.answer(cx, to, asked);
        }
    }

    /// A peer wants a page of a range of keys.
    pub(crate) fn on_pull(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        partition: Partition,
        (after, until): (Option<Key>, Option<Key>),
        have: Vec<ObjectHash>,
    ) {
        let is_shared = cx.layout.holds(from, partition);
        let Some(replica) = cx.replica(partition).filter(|_| is_shared) else {
            return cx.send(from, Message::Page { op, outcome: Err(Refusal::NotHeld) });
        };
        let (clock, complete) = (replica.clock().clone(), replica.complete);
        let (n, at) = (cx.next_op(), cx.now.mono);
        let bounds = stored::objects_within(partition, after.as_ref(), until.as_ref());
        let what = Gathering::Page { after, until, have, end: None };
        let (dots, objects, withheld) = (BTreeMap::new(), BTreeMap::new(), false);
        self.gathers.insert(
            (from, Lane::Range),
            Gather { n, op, at, partition, clock, complete, left: 0, dots, objects, withheld, what },
        );
        if bounds.0 >= bounds.1 {
            // Nothing lies in a range that ends before it begins.
            return self.give(cx, (from, Lane::Range));
        }
        let limits = &cx.config.limits;
        cx.scan(Owner::Gather { to: from, n }, bounds, limits.sync_objects, limits.sync_bytes);
    }

    /// A peer wants to know which ranges are equal.
    pub(crate) fn on_compare(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        partition: Partition,
        after: Option<Key>,
        spans: Vec<Span>,
    ) {
        let is_shared = cx.layout.holds(from, partition);
        let Some(replica) = cx.replica(partition).filter(|_| is_shared) else {
            return cx.send(from, Message::Compared { op, outcome: Err(Refusal::NotHeld) });
        };
        let (clock, complete) = (replica.clock().clone(), replica.complete);
        let Some(comparison) =
            Comparison::new(Seed::of(op.origin), after, spans, compared_rows_max(cx.config))
        else {
            return cx.note(Note::Stranger { from });
        };
        let (n, at) = (cx.next_op(), cx.now.mono);
        let what = Gathering::Compared(Box::new(comparison));
        let (dots, objects, withheld) = (BTreeMap::new(), BTreeMap::new(), false);
        self.gathers.insert(
            (from, Lane::Range),
            Gather { n, op, at, partition, clock, complete, left: 0, dots, objects, withheld, what },
        );
        self.compare(cx, from);
    }

    /// Reads what is to be compared next, or answers.
    fn compare(&mut self, cx: &mut Cx<'_>, to: NodeId) {
        let Some(gather) = self.gathers.get_mut(&(to, Lane::Range)) else { return };
        let Gathering::Compared(comparison) = &mut gather.what else { return };
        match comparison.next() {
            Some((after, until, rows)) => {
                let bounds = stored::objects_within(gather.partition, after.as_ref(), until.as_ref());
                cx.scan(Owner::Gather { to, n: gather.n }, bounds, rows.min(SCAN_ROWS), SCAN_BYTES);
            }
            None => self.give(cx, (to, Lane::Range)),
        }
    }

    /// Rows that a peer's request is about have been read.
    pub(crate) fn on_gather_rows(
        &mut self,
        cx: &mut Cx<'_>,
        to: NodeId,
        n: u64,
        outcome: Result<(Vec<Row>, bool), String>,
    ) {
        let Some(gather) = self.gathers.get_mut(&(to, Lane::Range)).filter(|gather| gather.n == n) else {
            return;
        };
        let op = gather.op;
        match (outcome, &gather.what) {
            (Ok((rows, more)), Gathering::Page { .. }) => self.on_page_rows(cx, to, &rows, more),
            (Ok((rows, more)), Gathering::Compared(_)) => self.on_compared_rows(cx, to, &rows, more),
            (Ok(_), Gathering::Given { .. }) => unreachable!("what the log names is not scanned for"),
            (Err(reason), what) => {
                cx.note(Note::ScanFailed { reason });
                let refused = match what {
                    Gathering::Compared(_) => Message::Compared { op, outcome: Err(Refusal::Storage) },
                    _ => Message::Page { op, outcome: Err(Refusal::Storage) },
                };
                self.gathers.remove(&(to, Lane::Range));
                cx.send(to, refused);
            }
        }
    }

    /// The keys of the page have been read; the objects follow, each under its slot.
    fn on_page_rows(&mut self, cx: &mut Cx<'_>, to: NodeId, rows: &[Row], more: bool) {
        let Some(gather) = self.gathers.get_mut(&(to, Lane::Range)) else { return };
        let Gathering::Page { after, until, end, .. } = &mut gather.what else { return };
        let mut keys: BTreeSet<Key> =
            rows.iter().filter_map(|row| stored::key_of(&row.key)).map(|(_, key)| key).collect();
        *end = keys.last().filter(|_| more).cloned();
        // More rows and no key to go on from: not a page, and never the end.
        gather.withheld = more && keys.is_empty();
        // A key whose removal is not safe yet has no row any more.
        let last = end.as_ref().or(until.as_ref());
        let replica = &cx.shared.replicas[&gather.partition];
        keys.extend(replica.writing_within(after.as_ref(), last).cloned());
        gather.left = keys.len();
        let n = gather.n;
        self.gather(cx, (to, Lane::Range), n, keys.into_iter().collect());
    }

    /// Rows have been read that are to be compared.
    fn on_compared_rows(&mut self, cx: &mut Cx<'_>, to: NodeId, rows: &[Row], more: bool) {
        let Some(gather) = self.gathers.get_mut(&(to, Lane::Range)) else { return };
        let Gathering::Compared(comparison) = &mut gather.what else { return };
        let mut rows: BTreeMap<Key, Shown> =
            shown(cx, Seed::of(gather.op.origin), rows).into_iter().collect();
        if let Some((after, until, _)) = comparison.next() {
            let last = rows.last_key_value().filter(|_| more).map(|(key, _)| key.clone()).or(until);
            let writing = cx.shared.replicas[&gather.partition].writing_within(after.as_ref(), last.as_ref());
            for key in writing {
                sometimes!(cx.shared.moments, ComparedWhileWritten);
                rows.insert(key.clone(), Shown::Unknown);
            }
        }
        comparison.on_rows(rows.into_iter().collect(), more);
        self.compare(cx, to);
    }

    fn gather(&mut self, cx: &mut Cx<'_>, lane: (NodeId, Lane), n: u64, keys: Vec<Key>) {
        if keys.is_empty() {
            return self.give(cx, lane);
        }
        let to = lane.0;
        for key in keys {
            cx.access(key.clone(), Waiter::Gather { to, n, key }, Task::Load);
        }
    }

    /// One of the objects has been read, or could not be.
    pub(crate) fn on_gathered(&mut self, cx: &mut Cx<'_>, to: NodeId, n: u64, key: Key, answer: Answer) {
        let lanes = [(to, Lane::Asked), (to, Lane::Range)];
        let is_it = |lane: &(NodeId, Lane)| self.gathers.get(lane).is_some_and(|gather| gather.n == n);
        let Some(lane) = lanes.into_iter().find(is_it) else { return };
        let Some(gather) = self.gathers.get_mut(&lane) else { return };
        gather.left -= 1;
        match answer {
            Answer::Loaded(object) => {
                gather.objects.insert(key, object);
            }
            _ => gather.withheld = true,
        }
        if gather.left == 0 {
            self.give(cx, lane);
            self.answer_waiting(cx, to);
        }
    }

    /// Sends what has been gathered.
    fn give(&mut self, cx: &mut Cx<'_>, lane: (NodeId, Lane)) {
        let Some(gather) = self.gathers.remove(&lane) else {
            return;
        };
        let to = lane.0;
        let Gather { op, partition, clock, complete, mut dots, objects, withheld, what, .. } = gather;
        let read_late = planted!(cx.shared.plants, ClockAfterObjects);
        let clock = if read_late { cx.shared.replicas[&partition].clock().clone() } else { clock };
        match what {
            Gathering::Given { reaches, more } => {
                // What could not be read, or does not fit, is as if it had not come to its turn yet.
                let mut more = more || withheld;
                let mut given = Vec::new();
                let mut bytes = 0;
                for (key, object) in objects {
                    bytes += object_bytes(&key, &object);
                    if !given.is_empty() && bytes > cx.config.limits.sync_bytes {
                        more = true;
                        break;
                    }
                    let dots = dots.remove(&key).unwrap_or_default();
                    given.push(GivenObject { key, dots, object });
                }
                let sizes = given.iter().map(|given| object_bytes(&given.key, &given.object) as u64);
                cx.shared.stats.sync_bytes_given += sizes.sum::<u64>();
                let given = Given { partition, clock, complete, reaches, more, objects: given };
                cx.send(to, Message::Give { op, given });
            }
            Gathering::Page { .. } if withheld && !planted!(cx.shared.plants, PageWithHole) => {
                // A page with a hole would read as a delete.
                cx.send(to, Message::Page { op, outcome: Err(Refusal::Damaged) });
            }
            Gathering::Page { end, have, .. } => {
                let (objects, same) = leave_out(cx, Seed::of(op.origin), objects, &have);
                let sizes = objects.iter().map(|(key, object)| object_bytes(key, object) as u64);
                cx.shared.stats.sync_bytes_given += sizes.sum::<u64>();
                let page = Page { clock, complete, objects, same, end };
                cx.send(to, Message::Page { op, outcome: Ok(page) });
            }
            Gathering::Compared(comparison) => {
                let compared = Compared { clock, equal: comparison.into_equal() };
                cx.send(to, Message::Compared { op, outcome: Ok(compared) });
            }
        }
    }

    /// Panics when the parts disagree.
    pub(crate) fn check(&self, timer_set: impl Fn(Mono, Timer) -> bool) {
        for (&peer, round) in &self.rounds {
            assert!(timer_set(round.at, Timer::Sync(peer)), "the round with {peer} has no timer");
        }
    }
}

/// Gives what was read of one key to a peer whose row of it is damaged; nothing when it could not be read, and that there
/// is more when it is damaged here, too. With it goes what this replica had seen before, and whether it was complete.
pub(crate) fn give_one(
    cx: &mut Cx<'_>,
    (to, op): (NodeId, OpId),
    key: Key,
    (clock, complete): (Clock, bool),
    answer: Answer,
) {
    let partition = cx.layout.partition(&key);
    let is_damaged = matches!(answer, Answer::Refused(Refusal::Damaged));
    let objects = match answer {
        Answer::Loaded(object) => Vec::from([GivenObject { key, dots: Vec::new(), object }]),
        _ => Vec::new(),
    };
    let given = Given { partition, clock, complete, reaches: false, more: is_damaged, objects };
    cx.send(to, Message::Give { op, given });
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

/// Whether what a request of this number finds counts towards being complete: after a change of layout, only what was
/// asked once all nodes had said that they begin no write under an older one.
fn may_count(cx: &Cx<'_>, partition: Partition, n: u64) -> bool {
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

/// Whether the giver has less than before anything was compared: its data is lost, and the rest would seem to have been
/// removed.
fn has_lost(whole: &Whole, clock: &Clock) -> bool {
    !whole.clock.missing_from(clock).is_empty()
}

/// Rows that a giver reads for one comparison, at most: more than an asker's windows hold, and not as many as it likes.
fn compared_rows_max(config: &Config) -> usize {
    config.limits.window_keys.saturating_mul(4)
}

/// What the objects that have come are to be paid for as.
fn objects_bytes<'a>(objects: impl IntoIterator<Item = (&'a Key, &'a Object)>) -> u64 {
    let cost = |(key, object)| (object_bytes(key, object) as u64).max(OBJECT_BYTES_MIN);
    objects.into_iter().map(cost).sum()
}

fn given_bytes(given: &Given) -> u64 {
    objects_bytes(given.objects.iter().map(|given| (&given.key, &given.object)))
}

/// Bytes that an object takes in a frame, about.
fn object_bytes(key: &Key, object: &Object) -> usize {
    key.0.len() + object.size() + object.context.size() * CONTEXT_ENTRY_BYTES
}

fn row_bytes(row: &Row) -> usize {
    row.key.0.len() + row.value.as_ref().map_or(0, |value| value.len())
}

/// What rows show, in their order.
fn shown(cx: &mut Cx<'_>, seed: Seed, rows: &[Row]) -> Vec<(Key, Shown)> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let Some((_, key)) = stored::key_of(&row.key) else { continue };
        let shown = match cx.object_in(row) {
            Some(object) => hash(cx, seed, &key, &object).map_or(Shown::Nothing, Shown::Object),
            None => {
                sometimes!(cx.shared.moments, ComparedUnknown);
                cx.step(Step::Damaged(key.clone()));
                Shown::Unknown
            }
        };
        all.push((key, shown));
    }
    all
}

fn hash(cx: &Cx<'_>, seed: Seed, key: &Key, object: &Object) -> Option<ObjectHash> {
    if planted!(cx.shared.plants, RangesCompareKeys) && !object.store.0.is_empty() {
        return Some(ObjectHash(u128::from(key.hash())));
    }
    ObjectHash::of(seed, key, object)
}

/// Takes out of a page what the asker has, and says which of its hashes that were.
fn leave_out(
    cx: &Cx<'_>,
    seed: Seed,
    mut objects: BTreeMap<Key, Object>,
    have: &[ObjectHash],
) -> (BTreeMap<Key, Object>, Vec<u32>) {
    let places: BTreeMap<ObjectHash, u32> = have.iter().copied().zip(0..).collect();
    let mut same = Vec::new();
    objects.retain(|key, object| {
        let place = hash(cx, seed, key, object).and_then(|hash| places.get(&hash));
        same.extend(place);
        place.is_none()
    });
    (objects, same)
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

/// Drops log rows that every replica has, which is bookkeeping: lost, it is done again. Burnt dots are put on record.
fn prune(cx: &mut Cx<'_>, partition: Partition) {
    let Some(replica) = cx.shared.replicas.get(&partition) else { return };
    let absorbed = replica.burnt();
    sometimes!(cx.shared.moments, BurntRecorded, absorbed.is_some());
    write_checkpoint(cx, CheckpointWrite { absorbed, ..CheckpointWrite::nothing(partition) });
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

/// Writes a checkpoint if there is something to put on record. False when there is not, or one is on its way.
///
/// An empty replica is complete again when it has caught up with so many complete ones that every acknowledged write
/// must be on one of them (N − W + 1 of the holders in the oldest layout in force), or with all of these, complete or not:
/// then there is nobody left to ask.
fn write_checkpoint(cx: &mut Cx<'_>, write: CheckpointWrite) -> bool {
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

/// Peers that have dots of this node's ended lives that its own store lacks show that the store has gone back.
fn check_continuity(cx: &mut Cx<'_>, partition: Partition, theirs: &Clock) {
    let Some(replica) = cx.shared.replicas.get(&partition) else { return };
    let missing = theirs.missing_from(replica.clock());
    if missing.iter().any(|(actor, ..)| cx.shared.ended.contains(actor)) {
        cx.went_back(partition);
    }
}
