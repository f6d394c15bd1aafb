//! Version 1 of how values look as bytes, frozen: what `wire` and `stored` share.
//!
//! These shapes are serialised with bincode, which writes fields in order and nothing else, so any change to them
//! changes every frame and row. They are therefore apart from the types that the protocol works with, and a change
//! is a new version beside this one. The codec is used here, in `wire` and in `stored`, and nowhere else. Version 1 knows
//! no expiry: it is not written, and read as never.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::causal::{Clock, Context, Dot, DotFun};
use crate::cluster::Record;
use crate::hlc::Hlc;
use crate::id::{ClusterId, Life, NodeId, OpId};
use crate::key::Key;
use crate::kind::{Object, Sibling};
use crate::layout::{Change, Layout, LayoutParts, Member};
use crate::message::{Ballot, Progress, Vote};

/// The most bytes that are ever encoded or decoded as one value.
pub(crate) const ENCODED_MAX: usize = 32 << 20;

const CODEC: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<ENCODED_MAX>,
> = bincode::config::standard().with_limit::<ENCODED_MAX>();

/// The bytes of `value`.
///
/// # Panics
/// Never for the types of this crate: none has a shape that the codec refuses.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, CODEC).expect("frozen shapes have no unsupported parts")
}

/// The value that `bytes` hold, all of them; None when they do not.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, CODEC).ok()?;
    (used == bytes.len()).then_some(value)
}

/// The value that `bytes` begin with, and the rest of them; None when they begin with none.
pub(crate) fn decode_first<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, CODEC).ok()?;
    Some((value, bytes.get(used..)?))
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FrozenDot {
    actor: u128,
    n: u64,
}

impl From<Dot> for FrozenDot {
    fn from(dot: Dot) -> Self {
        Self { actor: dot.actor.0, n: dot.n }
    }
}

impl From<FrozenDot> for Dot {
    fn from(dot: FrozenDot) -> Self {
        Self { actor: Life(dot.actor), n: dot.n }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FrozenOp {
    origin: u128,
    n: u64,
}

impl From<OpId> for FrozenOp {
    fn from(op: OpId) -> Self {
        Self { origin: op.origin.0, n: op.n }
    }
}

impl From<FrozenOp> for OpId {
    fn from(op: FrozenOp) -> Self {
        Self { origin: Life(op.origin), n: op.n }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FrozenContext {
    bases: Vec<(u128, u64)>,
    cloud: Vec<FrozenDot>,
}

impl From<&Context> for FrozenContext {
    fn from(context: &Context) -> Self {
        Self {
            bases: context.bases().map(|(actor, base)| (actor.0, base)).collect(),
            cloud: context.cloud().map(FrozenDot::from).collect(),
        }
    }
}

impl From<FrozenContext> for Context {
    fn from(frozen: FrozenContext) -> Self {
        let mut context = Self::new();
        for (actor, base) in frozen.bases {
            context.raise(Life(actor), base);
        }
        for dot in frozen.cloud {
            context.insert(dot.into());
        }
        context
    }
}

impl From<&Clock> for FrozenContext {
    fn from(clock: &Clock) -> Self {
        clock.as_context().into()
    }
}

impl From<FrozenContext> for Clock {
    fn from(frozen: FrozenContext) -> Self {
        Self::from_context(frozen.into())
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FrozenSibling {
    dot: FrozenDot,
    value: Bytes,
    content_type: Bytes,
    at: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FrozenObject {
    siblings: Vec<FrozenSibling>,
    context: FrozenContext,
}

impl From<&Object> for FrozenObject {
    fn from(object: &Object) -> Self {
        let sibling = |(&dot, sibling): (&Dot, &Sibling)| FrozenSibling {
            dot: dot.into(),
            value: sibling.value.clone(),
            content_type: sibling.content_type.clone(),
            at: sibling.at.0,
        };
        Self { siblings: object.store.0.iter().map(sibling).collect(), context: (&object.context).into() }
    }
}

impl From<FrozenObject> for Object {
    fn from(frozen: FrozenObject) -> Self {
        let sibling = |frozen: FrozenSibling| {
            let FrozenSibling { dot, value, content_type, at } = frozen;
            (dot.into(), Sibling { value, content_type, at: Hlc(at), expires: 0 })
        };
        Self {
            store: DotFun(frozen.siblings.into_iter().map(sibling).collect()),
            context: frozen.context.into(),
        }
    }
}

/// The same with an expiry: dot, value, content type, date, expiry; and what was seen.
#[derive(Serialize, Deserialize)]
pub(crate) struct FrozenObject2 {
    siblings: Vec<(FrozenDot, Bytes, Bytes, u64, u64)>,
    context: FrozenContext,
}

impl From<&Object> for FrozenObject2 {
    fn from(object: &Object) -> Self {
        let sibling = |(&dot, sibling): (&Dot, &Sibling)| {
            let Sibling { value, content_type, at, expires } = sibling.clone();
            (dot.into(), value, content_type, at.0, expires)
        };
        Self { siblings: object.store.0.iter().map(sibling).collect(), context: (&object.context).into() }
    }
}

impl From<FrozenObject2> for Object {
    fn from(frozen: FrozenObject2) -> Self {
        let sibling = |(dot, value, content_type, at, expires): (FrozenDot, Bytes, Bytes, u64, u64)| {
            (dot.into(), Sibling { value, content_type, at: Hlc(at), expires })
        };
        Self {
            store: DotFun(frozen.siblings.into_iter().map(sibling).collect()),
            context: frozen.context.into(),
        }
    }
}

/// Keys travel as their bytes.
pub(crate) type FrozenKey = Bytes;

impl From<&Key> for FrozenKey {
    fn from(key: &Key) -> Self {
        key.0.clone()
    }
}

impl From<FrozenKey> for Key {
    fn from(bytes: FrozenKey) -> Self {
        Self(bytes)
    }
}

/// Id, name, address, zone, weight, store.
pub(crate) type FrozenMember = (u64, String, String, String, u32, u128);

pub(crate) fn freeze_member(member: &Member) -> FrozenMember {
    let Member { id, name, address, zone, weight, store } = member.clone();
    (id.0, name, address, zone, weight, store.0)
}

/// None when a text is longer than any that is ever sent.
pub(crate) fn thaw_member((id, name, address, zone, weight, store): FrozenMember) -> Option<Member> {
    let fits = [&name, &address, &zone].iter().all(|text| text.len() <= crate::config::MEMBER_TEXT_MAX);
    fits.then_some(Member { id: NodeId(id), name, address, zone, weight, store: Life(store) })
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FrozenLayout {
    cluster: u128,
    epoch: u64,
    previous: u64,
    members: Vec<FrozenMember>,
    gone: Vec<u64>,
    partitions: u32,
    wanted: u32,
    table: Vec<u16>,
}

impl From<&Layout> for FrozenLayout {
    fn from(layout: &Layout) -> Self {
        let parts = layout.to_parts();
        Self {
            cluster: parts.cluster.0,
            epoch: parts.epoch,
            previous: parts.previous,
            members: parts.members.iter().map(freeze_member).collect(),
            gone: parts.gone.iter().map(|node| node.0).collect(),
            partitions: parts.partitions,
            wanted: parts.wanted as u32,
            table: parts.table,
        }
    }
}

impl FrozenLayout {
    /// None when the parts make no layout.
    pub(crate) fn thaw(self) -> Option<Layout> {
        Layout::from_parts(LayoutParts {
            cluster: ClusterId(self.cluster),
            epoch: self.epoch,
            previous: self.previous,
            members: self.members.into_iter().map(thaw_member).collect::<Option<_>>()?,
            gone: self.gone.into_iter().map(NodeId).collect(),
            partitions: self.partitions,
            wanted: self.wanted as usize,
            table: self.table,
        })
    }
}

/// Layouts whose epochs follow each other and whose clusters are one; None for others, and for too many.
pub(crate) fn thaw_layouts(frozen: Vec<FrozenLayout>) -> Option<Vec<Layout>> {
    if frozen.len() > crate::layout::active::ACTIVE_MAX {
        return None;
    }
    let layouts: Vec<Layout> = frozen.into_iter().map(FrozenLayout::thaw).collect::<Option<_>>()?;
    let follows = |pair: &[Layout]| {
        pair[1].epoch() == pair[0].epoch() + 1
            && pair[1].cluster() == pair[0].cluster()
            && pair[1].partition_count() == pair[0].partition_count()
    };
    layouts.windows(2).all(follows).then_some(layouts)
}

/// Ack, synced, sync-ack.
pub(crate) type FrozenProgress = (u64, u64, u64);

pub(crate) const fn freeze_progress(progress: Progress) -> FrozenProgress {
    (progress.ack, progress.synced, progress.sync_ack)
}

pub(crate) const fn thaw_progress((ack, synced, sync_ack): FrozenProgress) -> Progress {
    Progress { ack, synced, sync_ack }
}

/// Round, by.
pub(crate) type FrozenBallot = (u64, u128);

pub(crate) const fn freeze_ballot(ballot: Ballot) -> FrozenBallot {
    (ballot.round, ballot.by.0)
}

pub(crate) const fn thaw_ballot((round, by): FrozenBallot) -> Ballot {
    Ballot { round, by: Life(by) }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct FrozenRecord {
    store: u128,
    layouts: Vec<FrozenLayout>,
    progress: FrozenProgress,
    voter_from: u64,
    vote_epoch: u64,
    promised: FrozenBallot,
    accepted: Option<(FrozenBallot, FrozenLayout)>,
}

impl From<&Record> for FrozenRecord {
    fn from(record: &Record) -> Self {
        let Vote { epoch, promised, accepted } = &record.vote;
        let accepted = accepted.as_ref();
        Self {
            store: record.store.0,
            layouts: record.layouts.iter().map(FrozenLayout::from).collect(),
            progress: freeze_progress(record.progress),
            voter_from: record.voter_from,
            vote_epoch: *epoch,
            promised: freeze_ballot(*promised),
            accepted: accepted.map(|(ballot, layout)| (freeze_ballot(*ballot), layout.as_ref().into())),
        }
    }
}

impl FrozenRecord {
    /// None when it holds what is no layout.
    pub(crate) fn thaw(self) -> Option<Record> {
        let accepted = match self.accepted {
            Some((ballot, layout)) => Some((thaw_ballot(ballot), Box::new(layout.thaw()?))),
            None => None,
        };
        let vote = Vote { epoch: self.vote_epoch, promised: thaw_ballot(self.promised), accepted };
        Some(Record {
            store: Life(self.store),
            layouts: thaw_layouts(self.layouts)?,
            progress: thaw_progress(self.progress),
            voter_from: self.voter_from,
            vote,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) enum FrozenChange {
    Join(FrozenMember),
    Leave(u64),
    Remove(u64, bool),
    Replace(u64, FrozenMember, bool),
    Set(FrozenMember),
}

impl From<&Change> for FrozenChange {
    fn from(change: &Change) -> Self {
        match change {
            Change::Join(member) => Self::Join(freeze_member(member)),
            Change::Leave(node) => Self::Leave(node.0),
            Change::Remove { node, force } => Self::Remove(node.0, *force),
            Change::Replace { old, new, force } => Self::Replace(old.0, freeze_member(new), *force),
            Change::Set(member) => Self::Set(freeze_member(member)),
        }
    }
}

impl FrozenChange {
    /// None when a text is too long.
    pub(crate) fn thaw(self) -> Option<Change> {
        Some(match self {
            Self::Join(member) => Change::Join(thaw_member(member)?),
            Self::Leave(node) => Change::Leave(NodeId(node)),
            Self::Remove(node, force) => Change::Remove { node: NodeId(node), force },
            Self::Replace(old, new, force) => {
                Change::Replace { old: NodeId(old), new: thaw_member(new)?, force }
            }
            Self::Set(member) => Change::Set(thaw_member(member)?),
        })
    }
}
