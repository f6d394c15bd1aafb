//! What nodes say to each other.
//!
//! A request names itself by an [`OpId`], and its answer repeats it. Any message may be lost, doubled, delayed or
//! overtaken; none may arrive altered (`wire` sees to that).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::causal::{Clock, Context, Dot};
use crate::fingerprint::{Fingerprint, ObjectHash};
use crate::id::{Life, NodeId, OpId};
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::layout::{Change as LayoutChange, Layout, LayoutError, Member};

/// One message between two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// To a primary: be the coordinator of this write.
    Forward {
        /// The request.
        op: OpId,
        /// The life that it is meant for: another one may have carried it out already.
        to: Life,
        /// Every forward of this origin below this number has been answered or given up.
        floor: u64,
        /// What to write.
        change: Change,
        /// Replicas that must have it on disk.
        w: u8,
        /// What is left of the client's time.
        timeout: Duration,
        /// Who may stand in for replicas that cannot be reached.
        terms: Terms,
    },
    /// The outcome of a [`Forward`](Self::Forward): what the writer has seen now, or why it failed.
    Forwarded {
        /// The request.
        op: OpId,
        /// The context to hand to the client.
        outcome: Result<Context, Failure>,
    },
    /// To a replica: join this delta in.
    Store {
        /// The request.
        op: OpId,
        /// The key.
        key: Key,
        /// The one dot that the delta adds to clocks.
        dot: Dot,
        /// The delta.
        delta: Object,
    },
    /// The delta is on the replica's disk, or why not.
    Stored {
        /// The request.
        op: OpId,
        /// Nothing, or the reason.
        outcome: Result<(), Refusal>,
    },
    /// To a replica: what do you hold?
    Fetch {
        /// The request.
        op: OpId,
        /// The key.
        key: Key,
    },
    /// What the replica holds, with everything that its clock implies.
    Fetched {
        /// The request.
        op: OpId,
        /// The object, or the reason why there is none to give.
        outcome: Result<Object, Refusal>,
    },
    /// To a stale replica: join what a quorum was found to hold. It is not answered.
    Repair {
        /// The key.
        key: Key,
        /// The join of what the replicas answered.
        object: Object,
    },
    /// Anti-entropy, opening: one number for all clocks that both nodes hold.
    Probe {
        /// The request.
        op: OpId,
        /// Of the sender's clocks of the shared partitions, in order.
        digest: u64,
    },
    /// The answer to a [`Probe`](Self::Probe).
    Probed {
        /// The request.
        op: OpId,
        /// Whether the clocks are equal, and where not.
        outcome: Probed,
    },
    /// Anti-entropy: here is what I have seen of this partition; what am I missing?
    Ask {
        /// The request.
        op: OpId,
        /// The partition.
        partition: Partition,
        /// What the sender has seen.
        clock: Clock,
    },
    /// The answer to an [`Ask`](Self::Ask).
    Give {
        /// The request.
        op: OpId,
        /// What was missing.
        given: Given,
    },
    /// Anti-entropy, when the log does not reach back: the objects of a range of keys, a page at a time.
    Pull {
        /// The request.
        op: OpId,
        /// The partition.
        partition: Partition,
        /// The key that the range begins after; None for the beginning of the partition.
        after: Option<Key>,
        /// The last key of the range; None for the end of the partition.
        until: Option<Key>,
        /// Objects that the sender has. They are hashed with the seed of its life.
        have: Vec<ObjectHash>,
    },
    /// The answer to a [`Pull`](Self::Pull).
    Page {
        /// The request.
        op: OpId,
        /// Objects in key order, or the reason why there are none to give.
        outcome: Result<Page, Refusal>,
    },
    /// Anti-entropy, when the log does not reach back: which of these ranges are equal?
    Compare {
        /// The request. Hashes are made with the seed of the life in it.
        op: OpId,
        /// The partition.
        partition: Partition,
        /// The key that the first range begins after; None for the beginning of the partition.
        after: Option<Key>,
        /// Ranges that follow each other.
        spans: Vec<Span>,
    },
    /// The answer to a [`Compare`](Self::Compare).
    Compared {
        /// The request.
        op: OpId,
        /// What is equal, or the reason why that cannot be told.
        outcome: Result<Compared, Refusal>,
    },
    /// To a replica: which keys do you hold?
    List {
        /// The request.
        op: OpId,
        /// The first partition to look into.
        first: Partition,
        /// The last one.
        last: Partition,
        /// Begin after this key of the first partition.
        after: Option<Key>,
        /// At most so many.
        limit: u32,
    },
    /// The answer to a [`List`](Self::List).
    Listed {
        /// The request.
        op: OpId,
        /// The keys, or the reason why there are none to give.
        outcome: Result<Listed, Refusal>,
    },
    /// From a node that belongs to no cluster: here I am.
    Hail {
        /// Who.
        member: Member,
        /// In which life.
        life: Life,
        /// The life of the node whose hail this answers; nobody's when it asks for an answer itself.
        answers: Life,
    },
    /// One number for what all members must come to agree on.
    Gossip {
        /// Of the sender's layouts, how far they are followed, and what is staged.
        digest: u64,
    },
    /// Everything that the sender knows of the cluster.
    State {
        /// That.
        state: Box<ClusterState>,
        /// Whether the other should say what it knows beyond this.
        wants_answer: bool,
    },
    /// Deciding on the next layout, first phase: promise to take part in no lower ballot.
    Prepare {
        /// The request.
        op: OpId,
        /// The epoch that is to be decided.
        epoch: u64,
        /// The ballot.
        ballot: Ballot,
    },
    /// The answer to a [`Prepare`](Self::Prepare).
    Promise {
        /// The request.
        op: OpId,
        /// What this node has voted for before, and in which ballot; or why it promises nothing.
        outcome: Result<Option<(Ballot, Box<Layout>)>, VoteRefusal>,
    },
    /// Second phase: vote for this layout.
    Accept {
        /// The request.
        op: OpId,
        /// The ballot.
        ballot: Ballot,
        /// The layout.
        layout: Box<Layout>,
    },
    /// The answer to an [`Accept`](Self::Accept): the vote is on disk, or why there is none.
    Accepted {
        /// The request.
        op: OpId,
        /// Nothing, or the reason.
        outcome: Result<(), VoteRefusal>,
    },
    /// To a stand-in: keep this delta for a replica that cannot be reached, and hand it over later. It is answered by
    /// [`Stored`](Self::Stored).
    Hint {
        /// The request.
        op: OpId,
        /// The replica that it is for.
        target: NodeId,
        /// The key.
        key: Key,
        /// The one dot that the delta adds to clocks.
        dot: Dot,
        /// The delta.
        delta: Object,
    },
    /// To a stand-in: which hints do you keep for this key? It is answered by [`Fetched`](Self::Fetched) with their join,
    /// which never says that something is absent.
    FetchHints {
        /// The request.
        op: OpId,
        /// The key.
        key: Key,
    },
    /// Reachability: what the nodes' probes say to each other.
    Swim {
        /// In a coding of its own.
        bytes: Bytes,
    },
    /// To a replica: my row of this key is damaged. What do you hold, and what have you seen? It is answered with a
    /// [`Give`](Self::Give) of that key alone, or of nothing when the replica cannot say; complete or not. That there is more
    /// says that its row is damaged, too.
    Salvage {
        /// The request.
        op: OpId,
        /// The key.
        key: Key,
    },
}

/// On which terms a write is coordinated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How many of the quorum must be replicas themselves, and no stand-ins.
    pub primaries: u8,
    /// Whether stand-ins may take the places of replicas that cannot be reached.
    pub sloppy: bool,
    /// Whether the node that is asked is to mint the dot as a stand-in, because no replica can be reached.
    pub stands_in: bool,
}

/// The number of an attempt to decide: the higher one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// Counted up from 1.
    pub round: u64,
    /// Whose attempt it is.
    pub by: Life,
}

/// What a node has promised and voted for, as an acceptor of Paxos.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// The epoch that is to be decided.
    pub epoch: u64,
    /// It takes part in no ballot below this one.
    pub promised: Ballot,
    /// What it voted for last, and in which ballot.
    pub accepted: Option<(Ballot, Box<Layout>)>,
}

/// Why a node casts no vote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteRefusal {
    /// It has promised to take part in no ballot so low.
    #[error("another proposal is under way")]
    Outvoted {
        /// What it has promised.
        by: Ballot,
    },
    /// The epoch was decided before.
    #[error("layout {newest} is in force already")]
    Decided {
        /// The newest layout that it knows.
        newest: u64,
    },
    /// It may not vote on this epoch: it does not know the layout before, or may have forgotten what it voted for.
    #[error("a node may not vote: it has lost its store, or has not heard of the present layout")]
    NoVoter,
}

/// How far a node has followed a change of layout: epochs that only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// It begins no write under a layout older than this, and takes part in none.
    pub ack: u64,
    /// It holds everything that this layout gives it.
    pub synced: u64,
    /// It relies on no layout older than this when it reads.
    pub sync_ack: u64,
}

impl Progress {
    /// Takes the higher of each.
    pub fn raise(&mut self, other: Self) {
        self.ack = self.ack.max(other.ack);
        self.synced = self.synced.max(other.synced);
        self.sync_ack = self.sync_ack.max(other.sync_ack);
    }
}

/// Changes that are to make the next layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    /// The epoch of the layout that they are to be made to.
    pub epoch: u64,
    /// Counted up with every change to this list.
    pub version: u64,
    /// Who made the last one.
    pub by: NodeId,
    /// In the order in which they were staged.
    pub changes: Vec<LayoutChange>,
}

impl Staged {
    /// Which of two wins: the higher.
    #[must_use]
    pub const fn order(&self) -> (u64, u64, NodeId) {
        (self.epoch, self.version, self.by)
    }
}

/// What a node knows of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// The layouts in force, oldest first.
    pub layouts: Vec<Layout>,
    /// How far each node has followed.
    pub progress: BTreeMap<NodeId, Progress>,
    /// What is staged.
    pub staged: Staged,
}

/// Why an operator's call was refused. Nothing was changed unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterRefusal {
    /// This node is new.
    #[error("this node belongs to no cluster yet: ask a node that does")]
    NoCluster,
    /// This node was one.
    #[error("this node is not a member of the cluster any more: ask one that is")]
    NotAMember,
    /// The changes make no layout.
    #[error(transparent)]
    Layout(LayoutError),
    /// Too many.
    #[error("too many changes are staged: apply them, or unstage them")]
    TooManyChanges,
    /// The caller knew an older layout.
    #[error(
        "layout {asked} was expected to be the newest, and it is {newest}: plan again, and look at what changed"
    )]
    StaleEpoch {
        /// What the caller expected.
        asked: u64,
        /// The newest.
        newest: u64,
    },
    /// The caller knew other changes.
    #[error(
        "the staged changes have changed since they were planned ({asked:016x}, now {planned:016x}): plan again"
    )]
    StalePlan {
        /// What the caller expected.
        asked: u64,
        /// What would be applied.
        planned: u64,
    },
    /// Too many layouts are in force.
    #[error(
        "{layouts} layouts are in force already: wait until one has ended, or remove the node that holds it up"
    )]
    Changing {
        /// How many.
        layouts: usize,
    },
    /// One at a time.
    #[error("this node is proposing a layout already: wait for its outcome")]
    Proposing,
    /// Another layout was decided first.
    #[error("another change became layout {epoch} first: look at it, and plan again")]
    Overtaken {
        /// Its epoch.
        epoch: u64,
    },
    /// Too few members answered.
    #[error(
        "{acks} members agreed and {needed} must; the layout may still come into force when the others are back: look \
         at the status before you try again{}", .last.as_ref().map(|last| alloc::format!(" (the last refusal: {last})")).unwrap_or_default()
    )]
    NoMajority {
        /// Members that agreed.
        acks: u32,
        /// How many must.
        needed: u32,
        /// Why the last one did not.
        last: Option<VoteRefusal>,
    },
}

/// A client's change to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// What the client has seen of it; what this covers is replaced.
    pub seen: Context,
    /// The new value, or None to delete.
    pub value: Option<Value>,
}

/// A client's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Any bytes.
    pub bytes: Bytes,
    /// Any bytes too; empty when none was named.
    pub content_type: Bytes,
    /// How long it may be kept; None for ever. Then it is deleted, by the clocks of whoever coordinates its write and of
    /// whoever deletes it: one that is ahead deletes early, one that is behind late.
    pub ttl: Option<Duration>,
}

/// How the clocks of two nodes compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// Equal.
    Equal {
        /// The shared partitions that the answering node is not complete in, in order.
        incomplete: Vec<Partition>,
    },
    /// Not equal: the digest of each shared partition's clock, in order.
    Differ {
        /// One number per shared partition.
        digests: Vec<u64>,
    },
    /// The two nodes do not have the same layouts in force, and so do not agree on what they share.
    OtherView,
}

/// What one replica gives another that has asked for what it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The partition.
    pub partition: Partition,
    /// What the giver has seen.
    pub clock: Clock,
    /// Whether the giver is complete.
    pub complete: bool,
    /// Whether the giver's log reaches back far enough to name everything that is missing.
    pub reaches: bool,
    /// Whether there is more than fits: ask again.
    pub more: bool,
    /// The objects that the missing dots have changed.
    pub objects: Vec<GivenObject>,
}

/// An object, whole, and the dots whose effect it is known to include.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenObject {
    /// The key.
    pub key: Key,
    /// Those of the missing dots that changed this key.
    pub dots: Vec<Dot>,
    /// The object with everything that the giver's clock implies.
    pub object: Object,
}

/// A page of a partition's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What the giver had seen before it read the page.
    pub clock: Clock,
    /// Whether the giver is complete.
    pub complete: bool,
    /// Every object whose key lies after the one asked for, up to `end`, but for those in `same`.
    pub objects: BTreeMap<Key, Object>,
    /// Places in what the asker has of objects that are the same here and were left out.
    pub same: Vec<u32>,
    /// The key up to which this page is exhaustive; None when it reaches the end of the range.
    pub end: Option<Key>,
}

/// A range of keys to be compared: it begins after the end of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its last key; None for the end of the partition.
    pub end: Option<Key>,
    /// The fingerprint and the number of the sender's objects in it; None when it is not to be compared.
    pub sum: Option<(Fingerprint, u32)>,
}

/// How ranges compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// What the giver had seen before it read anything.
    pub clock: Clock,
    /// Places of the ranges that are equal. Of the others nothing is known.
    pub equal: Vec<u32>,
}

/// Keys that hold a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// In order of partition, then key.
    pub keys: Vec<Key>,
    /// Where to go on: a key after which more may follow in the span asked for; None at its end.
    pub next: Option<Key>,
}

/// Why a replica did not do what a peer asked. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has lost its data, or is new, and has not caught up.
    #[error("the replica is still catching up with the others")]
    CatchingUp,
    /// The key's row does not match its checksum.
    #[error("the replica's copy is damaged")]
    Damaged,
    /// The disk refused.
    #[error("the replica's disk refused")]
    Storage,
    /// Too many requests at once.
    #[error("the replica is overloaded")]
    Overloaded,
    /// The request was meant for an earlier life of the node; this is its present one.
    #[error("the node has restarted since (it is {0} now)")]
    OtherLife(Life),
    /// The node does not hold that key or partition: its layouts are others.
    #[error("the node does not hold that key: its layouts are others")]
    NotHeld,
    /// The request was made under a layout that is not in force here any more, or by a node that has none.
    #[error("the node has a newer layout: the one that asked has not heard of it yet")]
    StaleLayout,
    /// The node belongs to no cluster, or not to this one any more.
    #[error("the node is not a member of the cluster")]
    NotAMember,
    /// The node has found another that uses its identity, and serves nothing any more.
    #[error("the node is fenced: another one uses its identity")]
    Fenced,
    /// The write would exceed a limit on siblings.
    #[error("the key has {siblings} siblings of {bytes} bytes together, at or over the limit")]
    TooManySiblings {
        /// How many there are.
        siblings: u32,
        /// Their size together.
        bytes: u64,
    },
    /// The node keeps as many hints for others as it may.
    #[error("the node keeps {bytes} bytes of hints for others already, at or near its limit")]
    HintsFull {
        /// How many bytes it keeps.
        bytes: u64,
    },
}

/// Why a client's call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too many calls in flight on this node. Nothing was done.
    #[error("{limit} calls are in flight on this node already: try again")]
    Overloaded {
        /// How many may be in flight.
        limit: u32,
    },
    /// Time ran out. A write may have reached some replicas, and may still surface.
    #[error("{acks} of {replicas} replicas answered in time; {needed} were needed")]
    Timeout {
        /// Replicas that said yes.
        acks: u8,
        /// How many had to.
        needed: u8,
        /// How many there are.
        replicas: u8,
    },
    /// Too many replicas refused; the last reason. A write may have reached the others, and may still surface.
    #[error("{acks} of {replicas} replicas answered and {needed} were needed; the last refusal: {last}")]
    Refused {
        /// Replicas that said yes.
        acks: u8,
        /// How many had to.
        needed: u8,
        /// How many there are.
        replicas: u8,
        /// The last reason given.
        last: Refusal,
    },
    /// No primary took the write. Nothing was done.
    #[error("no replica took the write: {0}")]
    NotTaken(Refusal),
    /// The key is empty.
    #[error("the key is empty")]
    KeyEmpty,
    /// The key is too long.
    #[error("the key is {bytes} bytes long; the limit is {max}")]
    KeyTooLong {
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The value is too large.
    #[error("the value is {bytes} bytes long; the limit is {max}")]
    ValueTooLarge {
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The content type is too long.
    #[error("the content type is {bytes} bytes long; the limit is {max}")]
    ContentTypeTooLong {
        /// Its length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A quorum that no number of answers could satisfy.
    #[error("{asked} replicas were asked for; a key has {replicas}")]
    BadQuorum {
        /// What the call asked for.
        asked: u8,
        /// How many replicas a key has.
        replicas: u8,
    },
    /// A value was to be kept for longer than can be.
    #[error("a value was to expire after {asked:?}; the limit is {max:?}")]
    BadTtl {
        /// What the call asked for.
        asked: Duration,
        /// The limit.
        max: Duration,
    },
    /// An operator's call was refused.
    #[error(transparent)]
    Cluster(Box<ClusterRefusal>),
    /// A timeout of zero or over the maximum.
    #[error("a timeout of {asked:?} was asked for; it must be above zero and at most {max:?}")]
    BadTimeout {
        /// What the call asked for.
        asked: Duration,
        /// The maximum.
        max: Duration,
    },
}

impl Failure {
    /// Whether a write that failed so is certain to have changed nothing anywhere.
    #[must_use]
    pub const fn is_certain(&self) -> bool {
        !matches!(self, Self::Timeout { .. } | Self::Refused { .. })
    }
}
