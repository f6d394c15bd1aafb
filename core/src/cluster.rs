//! Who belongs to the cluster, and which layout is in force: founding, joining, deciding, spreading, giving way.
//!
//! A node with an empty store belongs to no cluster: it hails the nodes that it was told of. When all of them are as new
//! as itself, the one with the lowest id founds the cluster; when one is in a cluster already, that one's layouts are
//! taken. The layout of each epoch is decided once and for all by one instance of Paxos (Lamport 2001; CASPaxos, Rystsov
//! 2018, is the same idea for a register) among the members of the epoch before: two proposals at once, or one given up
//! half-way, can neither fork nor wedge it. What is decided spreads by gossip, which costs a few bytes per node and
//! second while all agree.
//!
//! A change goes through three steps, each known of every node (after Garage's transitions). `ack`: the node begins no
//! write under an older layout any more, and takes part in none. `synced`: it holds what the layout gives it, all writes
//! acknowledged before the last `ack` included. `sync_ack`: it reads by the new layout, since all have synced. When all
//! have said the last, the old layout ends. What a node says, and every vote, is on its disk before anybody hears it.
//! Everything that is on disk of this stands in one [`Record`].
//!
//! A node that forgot its votes (its store was lost) casts none before the next layout is decided, and reads by the
//! newest layout only, as it may have promised.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use xxhash_rust::xxh3::Xxh3;

use crate::config::CHANGES_MAX;
use crate::cx::{Cx, Owner, Step};
use crate::effect::Class;
use crate::id::{CallId, ClusterId, Life, NodeId, OpId};
use crate::input::{ClusterCall, ClusterReply, Plan, Reply};
use crate::key::Partition;
use crate::layout::active::{ACTIVE_MAX, Layouts};
use crate::layout::{Change, Layout, Member};
use crate::message::{
    Ballot, ClusterRefusal, ClusterState, Failure, Message, Progress, Staged, Vote, VoteRefusal,
};
use crate::note::Note;
use crate::quorum::{Standing, Tally};
use crate::stored::{self, Row};
use crate::time::Mono;
use crate::timers::Timer;

/// Rounds of gossip that follow quickly on something new.
const EAGER_ROUNDS: u32 = 12;
/// How much more often those come.
const EAGER_TIMES: u32 = 8;

/// What is on disk of a node's membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The first life over this store.
    pub store: Life,
    /// The layouts in force, oldest first; none before the node belongs to a cluster.
    pub layouts: Vec<Layout>,
    /// How far this node has followed.
    pub progress: Progress,
    /// The first epoch that this node may vote on.
    pub voter_from: u64,
    /// Its vote on the next epoch.
    pub vote: Vote,
}

impl Record {
    fn newest(&self) -> Option<&Layout> {
        self.layouts.last()
    }

    fn epoch(&self) -> u64 {
        self.newest().map_or(0, Layout::epoch)
    }
}

/// A proposal of this node's.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Proposal {
    call: CallId,
    n: u64,
    layout: Layout,
    ballot: Ballot,
    voters: Vec<NodeId>,
    tally: Tally,
    stage: Stage,
    deadline: Mono,
    last: Option<VoteRefusal>,
}

#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
enum Stage {
    /// Promises are being gathered, with what was accepted before.
    Preparing { accepted: Option<(Ballot, Layout)> },
    /// Votes for this layout are being gathered.
    Accepting { layout: Layout },
    /// Outvoted: it begins again with a higher ballot at this time.
    Waiting { at: Mono },
    /// Decided; this node's disk does not have it yet.
    Decided { layout: Layout },
}

/// What another has told a node that belongs to no cluster.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Heard {
    /// The life in which it was new when it said so last.
    life: Life,
    /// What it answered to this node's own hail.
    answer: Option<Member>,
}

/// This node's membership.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Cluster {
    me: NodeId,
    /// What is to be on disk.
    record: Record,
    /// What is.
    landed: Record,
    /// What is on its way there.
    writing: Option<Record>,
    /// Messages that must not leave before what is on its way to disk has landed.
    riding: Vec<(NodeId, Message)>,
    /// The same, for the write after that.
    boarding: Vec<(NodeId, Message)>,
    heard: BTreeMap<NodeId, Heard>,
    /// How far the others have followed.
    progress: BTreeMap<NodeId, Progress>,
    staged: Staged,
    proposal: Option<Proposal>,
    eager: u32,
    /// The highest round of any ballot that this node has met.
    round: u64,
    /// How often its ballots have lost since the newest layout was decided.
    outvoted: u32,
    gossip_at: Option<Mono>,
    /// The next round comes then at the latest: news that keep coming in must not put it off for ever.
    gossip_by: Mono,
    /// Nodes of other clusters, or with other layouts, that were complained of.
    complained: BTreeSet<NodeId>,
}

impl Cluster {
    pub(crate) fn new(me: NodeId, record: Record) -> Self {
        Self {
            me,
            landed: record.clone(),
            record,
            writing: None,
            riding: Vec::new(),
            boarding: Vec::new(),
            heard: BTreeMap::new(),
            progress: BTreeMap::new(),
            staged: Staged::default(),
            proposal: None,
            eager: 0,
            round: 0,
            outvoted: 0,
            gossip_at: None,
            gossip_by: Mono(u64::MAX),
            complained: BTreeSet::new(),
        }
    }

    /// The layouts that are on disk, and the epoch that reads may rely on; None for a node that belongs to no cluster.
    pub(crate) fn layouts(&self) -> Option<Layouts> {
        let active = self.landed.layouts.clone();
        (!active.is_empty()).then(|| Layouts::new(active, self.landed.progress.sync_ack))
    }

    /// How far a node is known to have followed.
    pub(crate) fn progress(&self, node: NodeId) -> Progress {
        if node == self.me {
            self.landed.progress
        } else {
            self.progress.get(&node).copied().unwrap_or_default()
        }
    }

    /// The first life over this store.
    pub(crate) const fn store(&self) -> Life {
        self.record.store
    }

    /// What is staged.
    pub(crate) fn staged(&self) -> Vec<Change> {
        if self.staged.epoch == self.landed.epoch() { self.staged.changes.clone() } else { Vec::new() }
    }

    /// Whether a proposal of this node's is under way.
    pub(crate) const fn is_proposing(&self) -> bool {
        self.proposal.is_some()
    }

    /// What is under way, in words.
    pub(crate) fn unrest(&self, layouts: &Layouts) -> Option<String> {
        if self.landed.layouts.is_empty() {
            return Some("it belongs to no cluster".into());
        }
        if self.writing.is_some() || self.record != self.landed {
            return Some("its membership is not on disk".into());
        }
        layouts.is_changing().then(|| {
            let view = layouts.view();
            let Progress { ack, synced, sync_ack } = self.landed.progress;
            format!(
                "layout {} gives way to {}: ack {ack}, synced {synced}, sync-ack {sync_ack}",
                view.oldest, view.newest
            )
        })
    }

    /// The first input has come.
    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        if self.record.store == Life::default() {
            self.record.store = cx.life;
        }
        if self.record.layouts.is_empty() && cx.config.members.len() == 1 {
            self.found(cx);
        }
        self.on_timer(cx);
    }

    /// Time to gossip, to hail, to try once more.
    pub(crate) fn on_timer(&mut self, cx: &mut Cx<'_>) {
        self.gossip_by = cx.now.mono.after(cx.config.gossip_every * 5 / 4);
        self.save(cx);
        self.retry(cx);
        if self.record.layouts.is_empty() && self.landed.store == Life::default() {
            // A store that knows nothing of itself could be taken for one that was lost.
        } else if self.record.layouts.is_empty() {
            let me = cx.me();
            let missing = cx.config.members.iter().copied().filter(|node| *node != me);
            for node in missing.collect::<Vec<_>>() {
                self.hail(cx, node, Life::default());
            }
        } else if let Some(to) = self.partner(cx) {
            let digest = self.digest();
            cx.send(to, Message::Gossip { digest });
        }
        self.eager = self.eager.saturating_sub(1);
        self.set_timer(cx);
    }

    /// Somebody to gossip with.
    fn partner(&self, cx: &mut Cx<'_>) -> Option<NodeId> {
        let me = cx.me();
        let others: Vec<NodeId> = cx.layout.nodes().iter().copied().filter(|node| *node != me).collect();
        (!others.is_empty()).then(|| others[cx.below(others.len() as u64) as usize])
    }

    fn set_timer(&mut self, cx: &mut Cx<'_>) {
        let every = cx.config.gossip_every;
        let is_quick = self.eager > 0 || self.record.layouts.is_empty() || self.record != self.landed;
        let every = if is_quick { every / EAGER_TIMES } else { every };
        let at = cx.now.mono.after(every * 3 / 4 + cx.jitter(every / 2)).min(self.gossip_by);
        if let Some(before) = self.gossip_at.replace(at) {
            cx.shared.timers.cancel(before, Timer::Gossip);
        }
        cx.shared.timers.set(at, Timer::Gossip);
    }

    /// There is something new to tell.
    fn spread(&mut self, cx: &mut Cx<'_>) {
        self.eager = EAGER_ROUNDS;
        self.set_timer(cx);
    }

    // --- The disk ------------------------------------------------------------------------------------------------

    /// Puts on disk what is not there yet. What must not be heard before rides along.
    pub(crate) fn save(&mut self, cx: &mut Cx<'_>) {
        if self.writing.is_some() {
            return;
        }
        if self.record == self.landed {
            for (to, message) in core::mem::take(&mut self.boarding) {
                self.deliver(cx, to, message);
            }
            return;
        }
        let Some(lapsed) = self.lapse(cx) else { return };
        self.riding.append(&mut self.boarding);
        self.writing = Some(self.record.clone());
        let mut rows: Vec<Row> = Vec::from([stored::record_row(&self.record)]);
        rows.extend(lapsed);
        cx.write(Owner::Record, Class::Synced, rows);
    }

    /// Replicas of partitions that others went on with without this node have missed writes: they are not complete any
    /// more, which goes to disk in one write with the layouts that say so. None while a checkpoint of one of them is on
    /// its way, which this one would undo.
    fn lapse(&self, cx: &mut Cx<'_>) -> Option<Vec<Row>> {
        let (Some(newest), Some(last)) = (self.record.newest(), self.landed.newest()) else {
            return Some(Vec::new());
        };
        let (me, before) = (cx.me(), last.epoch());
        if newest.epoch() == before {
            return Some(Vec::new());
        }
        let skips = self.record.layouts.first().is_some_and(|oldest| oldest.epoch() > before + 1);
        let since = self.record.layouts.iter().filter(|layout| layout.epoch() > before);
        let since: Vec<&Layout> = since.chain([last]).collect();
        let comes_back = |partition: Partition| {
            let is_interrupted = skips || since.iter().any(|layout| !layout.holds(me, partition));
            is_interrupted && newest.holds(me, partition)
        };
        let returning: Vec<Partition> =
            cx.shared.replicas.keys().copied().filter(|&partition| comes_back(partition)).collect();
        if returning.iter().any(|partition| cx.shared.replicas[partition].checkpointing) {
            return None;
        }
        let mut rows = Vec::new();
        for partition in returning {
            let replica = cx.shared.replicas.get_mut(&partition).expect("just seen");
            if replica.complete || replica.lapsed {
                sometimes!(cx.shared.moments, ReturnedStale);
                replica.lapse();
                rows.push(stored::checkpoint_row(partition, &replica.checkpoint(None, false)));
            }
        }
        Some(rows)
    }

    /// The record is on disk, or could not be put there.
    pub(crate) fn on_saved(&mut self, cx: &mut Cx<'_>, outcome: Result<(), String>) {
        let written = self.writing.take().expect("a record was on its way");
        match outcome {
            Ok(()) => {
                let is_first = self.landed.store == Life::default();
                self.landed = written;
                for (to, message) in core::mem::take(&mut self.riding) {
                    self.deliver(cx, to, message);
                }
                cx.step(Step::Relayout);
                self.finish(cx);
                self.save(cx);
                if is_first && self.record.layouts.is_empty() {
                    // Now that the store has a name, the others may hear of it.
                    self.on_timer(cx);
                }
            }
            Err(reason) => {
                cx.note(Note::WriteFailed { reason });
                let riding = core::mem::take(&mut self.riding);
                self.boarding.splice(0..0, riding);
                self.set_timer(cx);
            }
        }
    }

    fn deliver(&mut self, cx: &mut Cx<'_>, to: NodeId, message: Message) {
        if to != cx.me() {
            return cx.send(to, message);
        }
        match message {
            Message::Promise { op, outcome } => self.on_promise(cx, to, op, outcome),
            Message::Accepted { op, outcome } => self.on_accepted(cx, to, op, outcome),
            _ => unreachable!("a node answers itself with votes only"),
        }
    }

    fn hail(&self, cx: &mut Cx<'_>, to: NodeId, answers: Life) {
        if self.landed.store != Life::default() {
            let member = Member { store: self.landed.store, ..cx.config.me.clone() };
            cx.send(to, Message::Hail { member, life: cx.life, answers });
        }
    }

    // --- Founding and joining --------------------------------------------------------------------------------------

    /// A node that belongs to no cluster says so.
    pub(crate) fn on_hail(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        member: Member,
        life: Life,
        answers: Life,
    ) {
        if !self.landed.layouts.is_empty() {
            // Whoever is a member and has forgotten is told; so is who was one.
            return self.tell(cx, from, false);
        }
        if answers == Life::default() {
            self.hail(cx, from, life);
        }
        if member.id == from && cx.config.members.binary_search(&from).is_ok() {
            // Only an answer says that the other is new now; what asks may have been on its way for long.
            let is_answer = answers == cx.life;
            let heard = self.heard.entry(from).or_default();
            (heard.life, heard.answer) = (life, is_answer.then_some(member).or(heard.answer.take()));
        }
        let me = cx.me();
        let is_first = cx.config.members.first() == Some(&me);
        let is_new = |node| self.heard.get(node).is_some_and(|heard| heard.answer.is_some());
        let has_all = cx.config.members.iter().all(|node| *node == me || is_new(node));
        if is_first && has_all && self.record.layouts.is_empty() {
            self.found(cx);
        }
    }

    /// Founds the cluster of the nodes that were listed, all of which are new.
    fn found(&mut self, cx: &mut Cx<'_>) {
        let mut members: Vec<Member> = self.heard.values().filter_map(|heard| heard.answer.clone()).collect();
        members.push(Member { store: self.record.store, ..cx.config.me.clone() });
        let (partitions, wanted) = (cx.config.partitions, cx.config.replicas);
        match Layout::first(ClusterId(cx.life.0), members, partitions, wanted) {
            Ok(layout) => {
                sometimes!(cx.shared.moments, ClusterFounded);
                self.record = Record {
                    store: self.record.store,
                    layouts: Vec::from([layout]),
                    progress: Progress { ack: 1, synced: 1, sync_ack: 1 },
                    voter_from: 2,
                    vote: Vote::default(),
                };
                self.save(cx);
                self.spread(cx);
            }
            Err(error) => cx.note(Note::NotFounded { why: format!("{error}") }),
        }
    }

    /// Nodes that know no layouts are at work: this one goes on with the fixed list, as they do.
    pub(crate) fn on_fixed(&mut self, cx: &mut Cx<'_>) {
        if self.record.layouts.is_empty() && cx.config.members.len() > 1 {
            self.record = Record { store: self.record.store, ..fixed(cx.config) };
            self.save(cx);
        }
    }

    /// Takes the layouts of a cluster that this node belongs to and does not know of.
    fn adopt(&mut self, cx: &mut Cx<'_>, from: NodeId, state: ClusterState) {
        let Some(newest) = state.layouts.last() else { return };
        // One that is to leave again is awaited, too.
        if !Layouts::new(state.layouts.clone(), 0).has(cx.me()) {
            return self.complain(cx, from, Note::NotAMember { by: from });
        }
        // Who was new in a later life than the one in which it founded this has lost it, and may found another.
        let is_lost = |heard: &Heard| ClusterId(heard.life.0) != newest.cluster();
        let is_founder = newest.members().first().is_some_and(|first| first.id == from);
        if newest.epoch() == 1 && is_founder && self.heard.get(&from).is_some_and(is_lost) {
            return;
        }
        if newest.partition_count() != cx.config.partitions {
            return self.complain(cx, from, Note::OtherCluster { by: from });
        }
        let epoch = newest.epoch();
        // Who has the store with which it was new has forgotten no vote. Anybody else may have voted on the next
        // epoch, and may have promised to read by the newest.
        let is_new = newest.member(cx.me()).is_some_and(|member| member.store == self.record.store);
        sometimes!(cx.shared.moments, LayoutAdopted, !is_new);
        let followed = if is_new && epoch == 1 { 1 } else { 0 };
        self.record = Record {
            store: self.record.store,
            progress: Progress { ack: followed, synced: followed, sync_ack: epoch },
            voter_from: if is_new { epoch + 1 } else { epoch + 2 },
            vote: Vote::default(),
            layouts: state.layouts,
        };
        self.progress = state.progress;
        self.staged = state.staged;
        self.save(cx);
        self.spread(cx);
    }

    fn complain(&mut self, cx: &mut Cx<'_>, of: NodeId, note: Note) {
        if self.complained.len() < CHANGES_MAX && self.complained.insert(of) {
            cx.note(note);
        }
    }

    // --- Gossip ----------------------------------------------------------------------------------------------------

    /// A fingerprint of what all members must come to agree on.
    fn digest(&self) -> u64 {
        let mut hash = Xxh3::new();
        for layout in &self.landed.layouts {
            hash.update(&layout.hash().to_le_bytes());
        }
        if self.landed.layouts.len() > 1 {
            for (node, progress) in self.told() {
                for number in [node.0, progress.ack, progress.synced, progress.sync_ack] {
                    hash.update(&number.to_le_bytes());
                }
            }
        }
        if self.staged.epoch == self.landed.epoch() {
            for number in [self.staged.version, self.staged.by.0] {
                hash.update(&number.to_le_bytes());
            }
        }
        hash.digest()
    }

    /// How far each node has followed, as this one tells others.
    fn told(&self) -> BTreeMap<NodeId, Progress> {
        let mut told = self.progress.clone();
        told.insert(self.me, self.landed.progress);
        told
    }

    /// Everything that this node knows.
    fn state(&self) -> ClusterState {
        ClusterState {
            layouts: self.landed.layouts.clone(),
            progress: self.told(),
            staged: self.staged.clone(),
        }
    }

    fn tell(&mut self, cx: &mut Cx<'_>, to: NodeId, wants_answer: bool) {
        let state = Box::new(self.state());
        cx.send(to, Message::State { state, wants_answer });
    }

    /// Somebody's fingerprint.
    pub(crate) fn on_gossip(&mut self, cx: &mut Cx<'_>, from: NodeId, digest: u64) {
        if self.landed.layouts.is_empty() {
            return self.hail(cx, from, Life(u128::MAX));
        }
        if digest != self.digest() {
            self.tell(cx, from, true);
        }
    }

    /// A message shows that its sender has other layouts. Who has none asks for them: as long as a new member has not
    /// heard that it is one, all that counts on it fails.
    pub(crate) fn on_other_view(&mut self, cx: &mut Cx<'_>, from: NodeId) {
        if !self.landed.layouts.is_empty() {
            let digest = self.digest();
            cx.send(from, Message::Gossip { digest });
        } else if self.record.layouts.is_empty() {
            self.hail(cx, from, Life(u128::MAX));
        }
    }

    /// Everything that somebody knows.
    pub(crate) fn on_state(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        state: ClusterState,
        wants_answer: bool,
    ) {
        let Some(theirs) = state.layouts.last() else { return };
        if self.record.layouts.is_empty() {
            return self.adopt(cx, from, state);
        }
        let ours = self.record.newest().expect("just seen");
        if theirs.cluster() != ours.cluster() {
            return self.complain(cx, from, Note::OtherCluster { by: from });
        }
        let before = self.digest();
        let is_fork = |theirs: &Layout| {
            let ours = self.record.layouts.iter().find(|ours| ours.epoch() == theirs.epoch());
            ours.is_some_and(|ours| ours.hash() != theirs.hash())
        };
        if state.layouts.iter().any(is_fork) {
            return self.complain(cx, from, Note::Forked { by: from });
        }
        let received = state.clone();
        sometimes!(cx.shared.moments, LayoutLearnt, theirs.epoch() > ours.epoch());
        self.learn(&state.layouts);
        let me = cx.me();
        for (node, progress) in state.progress {
            if node == me {
                self.check_own(progress);
            } else if self.progress.len() < 4 * crate::config::MEMBERS_MAX {
                self.progress.entry(node).or_default().raise(progress);
            }
        }
        if self.record.epoch() == state.staged.epoch && state.staged.order() > self.staged.order() {
            self.staged = state.staged;
        }
        self.save(cx);
        if self.digest() != before {
            self.spread(cx);
        }
        if wants_answer && self.state() != received {
            self.tell(cx, from, false);
        }
        cx.shared.is_following = true;
    }

    /// Others say of this node what it does not know itself: its store has gone back to an earlier state. What it has
    /// promised holds, of layouts that it does not know any more as soon as it hears of them again: who tells of a promise
    /// may itself not have that layout on disk yet. What it has voted for is forgotten.
    fn check_own(&mut self, told: Progress) {
        let (own, epoch) = (self.record.progress, self.record.epoch());
        if told.ack > own.ack || told.sync_ack > own.sync_ack {
            self.record.progress.ack = told.ack.min(epoch).max(own.ack);
            self.record.progress.sync_ack = told.sync_ack.min(epoch).max(own.sync_ack);
            let known = epoch.max(told.ack).max(told.sync_ack);
            self.record.voter_from = self.record.voter_from.max(known + 2);
        }
    }

    /// Takes up layouts that were decided, and lets go of those that have ended for others.
    fn learn(&mut self, theirs: &[Layout]) {
        let (Some(first), Some(last)) = (theirs.first(), theirs.last()) else { return };
        let epoch = self.record.epoch();
        // Those before the first have ended for everybody, whether this node was told or not.
        self.record.layouts.retain(|layout| layout.epoch() >= first.epoch());
        self.record.layouts.extend(theirs.iter().filter(|layout| layout.epoch() > epoch).cloned());
        if last.epoch() > epoch {
            self.turn();
        }
    }

    /// A newer layout than before is the newest.
    fn turn(&mut self) {
        self.outvoted = 0;
        self.staged = Staged::default();
        let members = self.record.layouts.iter().flat_map(Layout::members);
        let nodes: BTreeSet<NodeId> = members.map(|member| member.id).collect();
        self.progress.retain(|node, _| nodes.contains(node));
    }

    // --- Following a change ------------------------------------------------------------------------------------------

    /// The lowest of what all nodes of the layouts in force have said.
    fn lowest(&self, cx: &Cx<'_>, of: impl Fn(Progress) -> u64) -> u64 {
        cx.layout.nodes().iter().map(|&node| of(self.progress(node))).min().unwrap_or(0)
    }

    /// Whether every node is known to begin no write under a layout older than the newest.
    pub(crate) fn is_past_barrier(&self, cx: &Cx<'_>) -> bool {
        let newest = cx.layout.view().newest;
        self.lowest(cx, |progress| progress.ack) >= newest
    }

    /// Something may have brought this node further. `oldest_write` is the epoch of its oldest write under way,
    /// `has_synced` says whether it holds all that the newest layout gives it.
    pub(crate) fn follow(&mut self, cx: &mut Cx<'_>, oldest_write: Option<u64>, has_synced: bool) {
        let view = cx.layout.view();
        if !cx.layout.is_changing() || self.record.epoch() != view.newest {
            return;
        }
        let newest = view.newest;
        let is_node = cx.layout.has(cx.me());
        let mut progress = self.record.progress;
        if oldest_write.is_none_or(|epoch| epoch >= newest) {
            progress.ack = newest;
        }
        if has_synced && self.is_past_barrier(cx) {
            progress.synced = newest;
        }
        let all_synced = self.lowest(cx, |progress| progress.synced) >= newest;
        if all_synced {
            progress.sync_ack = newest;
        }
        if is_node && progress != self.record.progress {
            self.record.progress = progress;
            self.spread(cx);
        }
        let all_read = self.lowest(cx, |progress| progress.sync_ack) >= newest;
        if all_synced && all_read && is_node {
            sometimes!(cx.shared.moments, LayoutEnded);
            self.record.layouts.retain(|layout| layout.epoch() == newest);
            self.spread(cx);
        }
        self.save(cx);
    }

    // --- Deciding ----------------------------------------------------------------------------------------------------

    /// An operator's call.
    pub(crate) fn on_call(&mut self, cx: &mut Cx<'_>, id: CallId, call: ClusterCall, deadline: Mono) {
        match self.serve(cx, id, call, deadline) {
            Ok(Some(reply)) => cx.reply(id, Reply::Cluster(Box::new(reply))),
            Ok(None) => {}
            Err(refusal) => cx.reply(id, Reply::Failed(Failure::Cluster(Box::new(refusal)))),
        }
    }

    fn serve(
        &mut self,
        cx: &mut Cx<'_>,
        id: CallId,
        call: ClusterCall,
        deadline: Mono,
    ) -> Result<Option<ClusterReply>, ClusterRefusal> {
        let newest = self.landed.newest().ok_or(ClusterRefusal::NoCluster)?.clone();
        if newest.member(cx.me()).is_none() {
            return Err(ClusterRefusal::NotAMember);
        }
        match call {
            ClusterCall::Stage(change) => {
                let mut changes = self.staged();
                changes.retain(|staged| staged.node() != change.node());
                changes.push(change);
                if changes.len() > CHANGES_MAX {
                    return Err(ClusterRefusal::TooManyChanges);
                }
                // Only what can be planned is staged, so that a mistake is told to whoever makes it.
                newest.next(&changes).map_err(ClusterRefusal::Layout)?;
                self.stage(cx, changes);
                Ok(Some(ClusterReply::Staged { changes: self.staged() }))
            }
            ClusterCall::Unstage => {
                self.stage(cx, Vec::new());
                Ok(Some(ClusterReply::Staged { changes: Vec::new() }))
            }
            ClusterCall::Plan => {
                let next = newest.next(&self.staged()).map_err(ClusterRefusal::Layout)?;
                let moves = newest.moves(&next);
                let plan = Plan { epoch: newest.epoch(), hash: next.hash(), moves, layout: next };
                Ok(Some(ClusterReply::Planned(plan)))
            }
            ClusterCall::Apply { epoch, hash } => {
                if newest.epoch() != epoch {
                    return Err(ClusterRefusal::StaleEpoch { asked: epoch, newest: newest.epoch() });
                }
                if self.landed.layouts.len() >= ACTIVE_MAX {
                    return Err(ClusterRefusal::Changing { layouts: ACTIVE_MAX });
                }
                if self.proposal.is_some() {
                    return Err(ClusterRefusal::Proposing);
                }
                let layout = newest.next(&self.staged()).map_err(ClusterRefusal::Layout)?;
                if layout.hash() != hash {
                    return Err(ClusterRefusal::StalePlan { asked: hash, planned: layout.hash() });
                }
                self.propose(cx, id, &newest, layout, deadline);
                Ok(None)
            }
            ClusterCall::Repair => {
                cx.step(Step::RepairNow);
                Ok(Some(ClusterReply::Repairing))
            }
        }
    }

    fn stage(&mut self, cx: &mut Cx<'_>, changes: Vec<Change>) {
        let version = if self.staged.epoch == self.landed.epoch() { self.staged.version + 1 } else { 1 };
        self.staged = Staged { epoch: self.landed.epoch(), version, by: cx.me(), changes };
        self.spread(cx);
    }

    fn propose(&mut self, cx: &mut Cx<'_>, call: CallId, newest: &Layout, layout: Layout, deadline: Mono) {
        let voters: Vec<NodeId> = newest.members().iter().map(|member| member.id).collect();
        let tally = Tally::new(voters.len(), voters.len() / 2 + 1);
        let ballot = Ballot { round: 0, by: cx.life };
        let stage = Stage::Preparing { accepted: None };
        let proposal = Proposal { call, n: 0, layout, ballot, voters, tally, stage, deadline, last: None };
        self.proposal = Some(proposal);
        cx.shared.timers.set(deadline, Timer::Proposal);
        match self.outvoted {
            0 => self.prepare(cx, 0),
            _ => self.back_off(cx),
        }
    }

    /// Begins, or begins again, after a while that doubles each time that this node is outvoted, over all its proposals of
    /// one layout: where disks are slow, two that came back at once would outvote each other for ever.
    fn back_off(&mut self, cx: &mut Cx<'_>) {
        let Some(proposal) = &mut self.proposal else { return };
        let least = (cx.config.gossip_every / EAGER_TIMES).min(cx.config.timeout / 8);
        let pause = least.saturating_mul(1 << self.outvoted.saturating_sub(1).min(16)).min(cx.config.timeout);
        let at = cx.now.mono.after(pause / 4 + cx.jitter(pause));
        proposal.stage = Stage::Waiting { at };
        cx.shared.timers.set(at, Timer::Proposal);
    }

    /// Begins the first phase with a ballot above `round`.
    fn prepare(&mut self, cx: &mut Cx<'_>, round: u64) {
        let n = cx.next_op();
        let op = cx.op(n);
        let Some(proposal) = &mut self.proposal else { return };
        proposal.n = n;
        self.round = self.round.max(round).max(self.record.vote.promised.round) + 1;
        proposal.ballot.round = self.round;
        proposal.tally = Tally::new(proposal.voters.len(), proposal.voters.len() / 2 + 1);
        proposal.stage = Stage::Preparing { accepted: None };
        let (epoch, ballot) = (proposal.layout.epoch(), proposal.ballot);
        for voter in proposal.voters.clone() {
            if voter == cx.me() {
                self.on_prepare(cx, voter, op, epoch, ballot);
            } else {
                cx.send(voter, Message::Prepare { op, epoch, ballot });
            }
        }
    }

    /// Whether this node may vote on `epoch`.
    fn may_vote(&mut self, cx: &Cx<'_>, epoch: u64) -> Result<(), VoteRefusal> {
        let newest = self.record.epoch();
        if newest >= epoch {
            return Err(VoteRefusal::Decided { newest });
        }
        let is_member = self.record.newest().is_some_and(|newest| newest.member(cx.me()).is_some());
        if newest + 1 != epoch || !is_member || self.record.voter_from > epoch {
            return Err(VoteRefusal::NoVoter);
        }
        if self.record.vote.epoch != epoch {
            self.record.vote = Vote { epoch, ..Vote::default() };
        }
        Ok(())
    }

    /// Asked for a promise to take part in no lower ballot.
    pub(crate) fn on_prepare(&mut self, cx: &mut Cx<'_>, from: NodeId, op: OpId, epoch: u64, ballot: Ballot) {
        let outcome = self.may_vote(cx, epoch).and_then(|()| {
            let vote = &mut self.record.vote;
            if ballot < vote.promised {
                return Err(VoteRefusal::Outvoted { by: vote.promised });
            }
            vote.promised = ballot;
            Ok(vote.accepted.clone())
        });
        self.boarding.push((from, Message::Promise { op, outcome }));
        self.save(cx);
    }

    /// Asked for a vote.
    pub(crate) fn on_accept(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        ballot: Ballot,
        layout: Box<Layout>,
    ) {
        let is_successor = self.record.newest().is_some_and(|newest| newest.hash() == layout.previous());
        let outcome = self.may_vote(cx, layout.epoch()).and_then(|()| {
            let vote = &mut self.record.vote;
            if ballot < vote.promised {
                return Err(VoteRefusal::Outvoted { by: vote.promised });
            }
            if !is_successor {
                return Err(VoteRefusal::NoVoter);
            }
            vote.promised = ballot;
            vote.accepted = Some((ballot, layout));
            Ok(())
        });
        self.boarding.push((from, Message::Accepted { op, outcome }));
        self.save(cx);
    }

    /// A promise, or none.
    pub(crate) fn on_promise(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        outcome: Result<Option<(Ballot, Box<Layout>)>, VoteRefusal>,
    ) {
        if let Err(VoteRefusal::Outvoted { by }) = &outcome {
            self.round = self.round.max(by.round);
        }
        let Some(proposal) = self.awaited(cx, from, op) else { return };
        let Stage::Preparing { accepted } = &mut proposal.stage else { return };
        if let Ok(Some((ballot, layout))) = &outcome
            && accepted.as_ref().is_none_or(|(highest, _)| ballot > highest)
        {
            *accepted = Some((*ballot, layout.as_ref().clone()));
        }
        let outcome = outcome.map(|_| ());
        if proposal.count(from, outcome) != Standing::Reached {
            return self.lose(cx);
        }
        // What may have been decided already must be; otherwise the choice is free.
        let layout = match &mut proposal.stage {
            Stage::Preparing { accepted: Some((_, layout)) }
                if !planted!(cx.shared.plants, AcceptedForgotten) =>
            {
                sometimes!(cx.shared.moments, DecisionFinished);
                layout.clone()
            }
            _ => proposal.layout.clone(),
        };
        let n = cx.next_op();
        proposal.n = n;
        proposal.tally = Tally::new(proposal.voters.len(), proposal.voters.len() / 2 + 1);
        proposal.stage = Stage::Accepting { layout: layout.clone() };
        let (ballot, op) = (proposal.ballot, cx.op(n));
        for voter in proposal.voters.clone() {
            let layout = Box::new(layout.clone());
            if voter == cx.me() {
                self.on_accept(cx, voter, op, ballot, layout);
            } else {
                cx.send(voter, Message::Accept { op, ballot, layout });
            }
        }
    }

    /// A vote, or none.
    pub(crate) fn on_accepted(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        outcome: Result<(), VoteRefusal>,
    ) {
        let Some(proposal) = self.awaited(cx, from, op) else { return };
        let Stage::Accepting { layout } = &proposal.stage else { return };
        let layout = layout.clone();
        if proposal.count(from, outcome) != Standing::Reached {
            return self.lose(cx);
        }
        proposal.stage = Stage::Decided { layout: layout.clone() };
        if layout.epoch() == self.record.epoch() + 1 {
            self.record.layouts.push(layout);
            self.turn();
        }
        self.save(cx);
        self.spread(cx);
        self.finish(cx);
    }

    fn awaited(&mut self, cx: &mut Cx<'_>, from: NodeId, op: OpId) -> Option<&mut Proposal> {
        let is_ours = cx.has_asked(op);
        self.proposal
            .as_mut()
            .filter(|proposal| is_ours && proposal.n == op.n && proposal.voters.contains(&from))
    }

    /// Begins again later when the present ballot cannot win any more.
    fn lose(&mut self, cx: &mut Cx<'_>) {
        let Some(proposal) = &mut self.proposal else { return };
        if proposal.tally.standing() != Standing::Impossible {
            return;
        }
        sometimes!(cx.shared.moments, Outvoted);
        self.outvoted = self.outvoted.saturating_add(1);
        self.back_off(cx);
    }

    /// Time to begin again, or to give up.
    pub(crate) fn retry(&mut self, cx: &mut Cx<'_>) {
        let Some(proposal) = &self.proposal else { return };
        if cx.now.mono >= proposal.deadline {
            let (acks, needed) = (proposal.tally.acks() as u32, proposal.tally.needed() as u32);
            let last = proposal.last.clone();
            return self.give_up(cx, ClusterRefusal::NoMajority { acks, needed, last });
        }
        if matches!(proposal.stage, Stage::Waiting { at } if at <= cx.now.mono) {
            let round = match &proposal.last {
                Some(VoteRefusal::Outvoted { by }) => by.round,
                _ => 0,
            };
            self.prepare(cx, round);
        }
        self.finish(cx);
    }

    /// Answers the operator once this node's disk says what was decided.
    fn finish(&mut self, cx: &mut Cx<'_>) {
        let Some(proposal) = &self.proposal else { return };
        let epoch = proposal.layout.epoch();
        if self.landed.epoch() < epoch {
            return;
        }
        let decided = match &proposal.stage {
            Stage::Decided { layout } => Some(layout.hash()),
            // Learnt from others, before the votes were counted here.
            _ => self.landed.layouts.iter().find(|layout| layout.epoch() == epoch).map(Layout::hash),
        };
        let hash = proposal.layout.hash();
        if decided != Some(hash) {
            return self.give_up(cx, ClusterRefusal::Overtaken { epoch });
        }
        let call = self.close(cx);
        cx.reply(call, Reply::Cluster(Box::new(ClusterReply::Applied { epoch, hash })));
    }

    fn give_up(&mut self, cx: &mut Cx<'_>, refusal: ClusterRefusal) {
        let call = self.close(cx);
        cx.reply(call, Reply::Failed(Failure::Cluster(Box::new(refusal))));
    }

    fn close(&mut self, cx: &mut Cx<'_>) -> CallId {
        let proposal = self.proposal.take().expect("a proposal is closed once");
        cx.shared.timers.cancel(proposal.deadline, Timer::Proposal);
        if let Stage::Waiting { at } = proposal.stage {
            cx.shared.timers.cancel(at, Timer::Proposal);
        }
        proposal.call
    }

    /// Proposals that still owe an operator their reply.
    pub(crate) fn owed(&self) -> usize {
        usize::from(self.proposal.is_some())
    }

    /// Panics when the parts disagree.
    pub(crate) fn check(&self, timer_set: impl Fn(Mono, Timer) -> bool) {
        assert!(self.riding.is_empty() || self.writing.is_some(), "messages ride on no write");
        if let Some(proposal) = &self.proposal {
            assert!(timer_set(proposal.deadline, Timer::Proposal), "a proposal has no timer");
        }
        if let Some(at) = self.gossip_at {
            assert!(timer_set(at, Timer::Gossip), "gossip has no timer");
        }
        let Some(newest) = self.landed.newest() else { return };
        let Progress { ack, synced, sync_ack } = self.landed.progress;
        assert!(ack.max(synced).max(sync_ack) <= newest.epoch(), "this node is ahead of the newest layout");
    }
}

impl Proposal {
    /// Counts an answer.
    fn count(&mut self, from: NodeId, outcome: Result<(), VoteRefusal>) -> Standing {
        let place = self.voters.iter().position(|voter| *voter == from).expect("only voters are counted");
        match outcome {
            Ok(()) => _ = self.tally.yes(place),
            Err(refusal) => {
                self.tally.no(place);
                self.last = Some(match (self.last.take(), refusal) {
                    (Some(last @ VoteRefusal::Outvoted { by }), VoteRefusal::Outvoted { by: other })
                        if by > other =>
                    {
                        last
                    }
                    (_, refusal) => refusal,
                });
            }
        }
        self.tally.standing()
    }
}

/// The record of a store whose version knew no layouts.
pub(crate) fn fixed(config: &crate::config::Config) -> Record {
    Record {
        store: Life::default(),
        layouts: Vec::from([Layout::fixed(&config.members, config.partitions, config.replicas)]),
        progress: Progress { ack: 1, synced: 1, sync_ack: 1 },
        voter_from: 2,
        vote: Vote::default(),
    }
}
