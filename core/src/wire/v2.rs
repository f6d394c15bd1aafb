//! Version 2 of the frames' bodies, frozen: what version 1 has, values that expire, and everything about layouts. A body
//! begins with the sender's view. Each kind is a tuple of frozen parts, in this order for ever.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::DecodeError;
use crate::causal::{Clock, Context};
use crate::fingerprint::{Fingerprint, ObjectHash};
use crate::frozen::{
    self, FrozenBallot, FrozenChange as FrozenLayoutChange, FrozenContext, FrozenDot, FrozenKey,
    FrozenLayout, FrozenMember, FrozenObject2 as FrozenObject, FrozenOp, FrozenProgress, freeze_ballot,
    freeze_member, freeze_progress, thaw_ballot, thaw_layouts, thaw_member, thaw_progress,
};
use crate::id::{Life, NodeId};
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::layout::Layout;
use crate::layout::active::View;
use crate::message::{
    Ballot, Change, ClusterState, Compared, Failure, Given, GivenObject, Listed, Message, Page, Probed,
    Refusal, Span, Staged, Terms, Value, VoteRefusal,
};

const FORWARD: u8 = 1;
const FORWARDED: u8 = 2;
const STORE: u8 = 3;
const STORED: u8 = 4;
const FETCH: u8 = 5;
const FETCHED: u8 = 6;
const REPAIR: u8 = 7;
const PROBE: u8 = 8;
const PROBED: u8 = 9;
const ASK: u8 = 10;
const GIVE: u8 = 11;
const PULL: u8 = 12;
const PAGE: u8 = 13;
const LIST: u8 = 14;
const LISTED: u8 = 15;
const HAIL: u8 = 16;
const GOSSIP: u8 = 17;
const STATE: u8 = 18;
const PREPARE: u8 = 19;
const PROMISE: u8 = 20;
const ACCEPT: u8 = 21;
const ACCEPTED: u8 = 22;
const SWIM: u8 = 23;
const SALVAGE: u8 = 24;
const FORWARD_ON_TERMS: u8 = 25;
const HINT: u8 = 26;
const FETCH_HINTS: u8 = 27;
const COMPARE: u8 = 28;
const COMPARED: u8 = 29;

type ForwardBody = (FrozenOp, u128, u64, FrozenChange, u8, FrozenDuration);
type ForwardedBody = (FrozenOp, Result<FrozenContext, FrozenFailure>);
type StoreBody = (FrozenOp, FrozenKey, FrozenDot, FrozenObject);
type StoredBody = (FrozenOp, Result<(), FrozenRefusal>);
type FetchBody = (FrozenOp, FrozenKey);
type FetchedBody = (FrozenOp, Result<FrozenObject, FrozenRefusal>);
type RepairBody = (FrozenKey, FrozenObject);
type ProbeBody = (FrozenOp, u64);
type ProbedBody = (FrozenOp, FrozenProbed);
type AskBody = (FrozenOp, u16, FrozenContext);
type GiveBody = (FrozenOp, FrozenGiven);
type PullBody = (FrozenOp, u16, Option<FrozenKey>, Option<FrozenKey>, Vec<u128>);
type PageBody = (FrozenOp, Result<FrozenPage, FrozenRefusal>);
type CompareBody = (FrozenOp, u16, Option<FrozenKey>, Vec<FrozenSpan>);
type ComparedBody = (FrozenOp, Result<FrozenCompared, FrozenRefusal>);
type ListBody = (FrozenOp, u16, u16, Option<FrozenKey>, u32);
type ListedBody = (FrozenOp, Result<FrozenListed, FrozenRefusal>);
type HailBody = (FrozenMember, u128, u128);
type StateBody = (FrozenState, bool);
type PrepareBody = (FrozenOp, u64, FrozenBallot);
type PromiseBody = (FrozenOp, Result<Option<(FrozenBallot, FrozenLayout)>, FrozenVoteRefusal>);
type AcceptBody = (FrozenOp, FrozenBallot, FrozenLayout);
type AcceptedBody = (FrozenOp, Result<(), FrozenVoteRefusal>);
type ForwardOnTermsBody = (FrozenOp, u128, u64, FrozenChange, u8, FrozenDuration, FrozenTerms);
type HintBody = (FrozenOp, u64, FrozenKey, FrozenDot, FrozenObject);

/// Primaries, sloppy, stands in.
type FrozenTerms = (u8, bool, bool);

/// Oldest, reads, newest.
type FrozenView = (u64, u64, u64);
/// Layouts, progress, staged.
type FrozenState = (Vec<FrozenLayout>, Vec<(u64, FrozenProgress)>, FrozenStaged);
/// Epoch, version, by, changes.
type FrozenStaged = (u64, u64, u64, Vec<FrozenLayoutChange>);

/// Seconds and nanoseconds.
type FrozenDuration = (u64, u32);
/// Key, what was seen, and bytes with their content type, and milliseconds if they expire, unless it is a delete.
type FrozenChange = (FrozenKey, FrozenContext, Option<(Bytes, Bytes, Option<u64>)>);
/// Partition, clock, complete, reaches, more, objects, whether they are without what the clock implies.
type FrozenGiven = (u16, FrozenContext, bool, bool, bool, Vec<FrozenGivenObject>, bool);
type FrozenGivenObject = (FrozenKey, Vec<FrozenDot>, FrozenObject);
/// Clock, complete, objects, same, end, whether the objects are without what the clock implies.
type FrozenPage = (FrozenContext, bool, Vec<(FrozenKey, FrozenObject)>, Vec<u32>, Option<FrozenKey>, bool);
/// Numbers of contexts that the objects of a message may leave out because its clock implies them, all of them together:
/// a short message must not take all memory.
const IMPLIED_MAX: usize = 1 << 20;

/// End, and fingerprint and count unless the range is not to be compared.
type FrozenSpan = (Option<FrozenKey>, Option<(u128, u32)>);
/// Clock, equal.
type FrozenCompared = (FrozenContext, Vec<u32>);
type FrozenListed = (Vec<FrozenKey>, Option<FrozenKey>);

#[derive(Serialize, Deserialize)]
enum FrozenProbed {
    Equal(Vec<u16>),
    Differ(Vec<u64>),
    OtherView,
}

#[derive(Serialize, Deserialize)]
enum FrozenVoteRefusal {
    Outvoted(FrozenBallot),
    Decided(u64),
    NoVoter,
}

#[derive(Serialize, Deserialize)]
enum FrozenRefusal {
    CatchingUp,
    Damaged,
    Storage,
    Overloaded,
    OtherLife(u128),
    NotHeld,
    Fenced,
    TooManySiblings(u32, u64),
    StaleLayout,
    NotAMember,
    HintsFull(u64),
}

#[derive(Serialize, Deserialize)]
enum FrozenFailure {
    Overloaded(u32),
    Timeout(u8, u8, u8),
    Refused(u8, u8, u8, FrozenRefusal),
    NotTaken(FrozenRefusal),
    KeyEmpty,
    KeyTooLong(u64, u64),
    ValueTooLarge(u64, u64),
    ContentTypeTooLong(u64, u64),
    BadQuorum(u8, u8),
    BadTimeout(FrozenDuration, FrozenDuration),
}

/// The kind and the body of `message`, sent by a node with this view.
pub(super) fn encode(view: View, message: &Message) -> (u8, Vec<u8>) {
    let view: FrozenView = (view.oldest, view.reads, view.newest);
    let (kind, rest) = encode_message(message);
    let mut body = frozen::encode(&view);
    body.extend_from_slice(&rest);
    (kind, body)
}

fn encode_message(message: &Message) -> (u8, Vec<u8>) {
    match message {
        Message::Forward { op, to, floor, change, w, timeout, terms } => {
            let (op, change) = ((*op).into(), freeze_change(change));
            let timeout = freeze_duration(*timeout);
            if *terms == Terms::default() {
                (FORWARD, frozen::encode::<ForwardBody>(&(op, to.0, *floor, change, *w, timeout)))
            } else {
                let terms = (terms.primaries, terms.sloppy, terms.stands_in);
                let body: ForwardOnTermsBody = (op, to.0, *floor, change, *w, timeout, terms);
                (FORWARD_ON_TERMS, frozen::encode(&body))
            }
        }
        Message::Hint { op, target, key, dot, delta } => {
            let body: HintBody = ((*op).into(), target.0, key.into(), (*dot).into(), delta.into());
            (HINT, frozen::encode(&body))
        }
        Message::FetchHints { op, key } => {
            (FETCH_HINTS, frozen::encode::<FetchBody>(&((*op).into(), key.into())))
        }
        Message::Forwarded { op, outcome } => {
            let outcome = outcome.as_ref().map(FrozenContext::from).map_err(freeze_failure);
            (FORWARDED, frozen::encode::<ForwardedBody>(&((*op).into(), outcome)))
        }
        Message::Store { op, key, dot, delta } => {
            (STORE, frozen::encode::<StoreBody>(&((*op).into(), key.into(), (*dot).into(), delta.into())))
        }
        Message::Stored { op, outcome } => {
            let outcome = outcome.as_ref().map(|&()| ()).map_err(freeze_refusal);
            (STORED, frozen::encode::<StoredBody>(&((*op).into(), outcome)))
        }
        Message::Fetch { op, key } => (FETCH, frozen::encode::<FetchBody>(&((*op).into(), key.into()))),
        Message::Fetched { op, outcome } => {
            let outcome = outcome.as_ref().map(FrozenObject::from).map_err(freeze_refusal);
            (FETCHED, frozen::encode::<FetchedBody>(&((*op).into(), outcome)))
        }
        Message::Repair { key, object } => {
            (REPAIR, frozen::encode::<RepairBody>(&(key.into(), object.into())))
        }
        Message::Probe { op, digest } => (PROBE, frozen::encode::<ProbeBody>(&((*op).into(), *digest))),
        Message::Probed { op, outcome } => {
            (PROBED, frozen::encode::<ProbedBody>(&((*op).into(), freeze_probed(outcome))))
        }
        Message::Ask { op, partition, clock } => {
            (ASK, frozen::encode::<AskBody>(&((*op).into(), partition.0, clock.into())))
        }
        Message::Give { op, given } => {
            (GIVE, frozen::encode::<GiveBody>(&((*op).into(), freeze_given(given))))
        }
        Message::Pull { op, partition, after, until, have } => {
            let (after, until) = (after.as_ref().map(FrozenKey::from), until.as_ref().map(FrozenKey::from));
            let have = have.iter().map(|hash| hash.0).collect();
            (PULL, frozen::encode::<PullBody>(&((*op).into(), partition.0, after, until, have)))
        }
        Message::Page { op, outcome } => {
            let outcome = outcome.as_ref().map(freeze_page).map_err(freeze_refusal);
            (PAGE, frozen::encode::<PageBody>(&((*op).into(), outcome)))
        }
        Message::List { op, first, last, after, limit } => {
            let after = after.as_ref().map(FrozenKey::from);
            (LIST, frozen::encode::<ListBody>(&((*op).into(), first.0, last.0, after, *limit)))
        }
        Message::Listed { op, outcome } => {
            let listed = |listed: &Listed| {
                (listed.keys.iter().map(FrozenKey::from).collect(), listed.next.as_ref().map(FrozenKey::from))
            };
            let outcome = outcome.as_ref().map(listed).map_err(freeze_refusal);
            (LISTED, frozen::encode::<ListedBody>(&((*op).into(), outcome)))
        }
        Message::Hail { member, life, answers } => {
            (HAIL, frozen::encode::<HailBody>(&(freeze_member(member), life.0, answers.0)))
        }
        Message::Gossip { digest } => (GOSSIP, frozen::encode(digest)),
        Message::State { state, wants_answer } => {
            (STATE, frozen::encode::<StateBody>(&(freeze_state(state), *wants_answer)))
        }
        Message::Prepare { op, epoch, ballot } => {
            (PREPARE, frozen::encode::<PrepareBody>(&((*op).into(), *epoch, freeze_ballot(*ballot))))
        }
        Message::Promise { op, outcome } => {
            let accepted = |(ballot, layout): &(Ballot, Box<Layout>)| {
                (freeze_ballot(*ballot), FrozenLayout::from(layout.as_ref()))
            };
            let outcome = outcome.as_ref().map(|before| before.as_ref().map(accepted));
            let outcome = outcome.map_err(freeze_vote_refusal);
            (PROMISE, frozen::encode::<PromiseBody>(&((*op).into(), outcome)))
        }
        Message::Accept { op, ballot, layout } => {
            let body: AcceptBody = ((*op).into(), freeze_ballot(*ballot), layout.as_ref().into());
            (ACCEPT, frozen::encode(&body))
        }
        Message::Accepted { op, outcome } => {
            let outcome = outcome.as_ref().map(|&()| ()).map_err(freeze_vote_refusal);
            (ACCEPTED, frozen::encode::<AcceptedBody>(&((*op).into(), outcome)))
        }
        Message::Swim { bytes } => (SWIM, frozen::encode(bytes)),
        Message::Salvage { op, key } => (SALVAGE, frozen::encode::<FetchBody>(&((*op).into(), key.into()))),
        Message::Compare { op, partition, after, spans } => {
            let after = after.as_ref().map(FrozenKey::from);
            let spans = spans.iter().map(freeze_span).collect();
            (COMPARE, frozen::encode::<CompareBody>(&((*op).into(), partition.0, after, spans)))
        }
        Message::Compared { op, outcome } => {
            let compared = |compared: &Compared| ((&compared.clock).into(), compared.equal.clone());
            let outcome = outcome.as_ref().map(compared).map_err(freeze_refusal);
            (COMPARED, frozen::encode::<ComparedBody>(&((*op).into(), outcome)))
        }
    }
}

/// The sender's view and the message in a body of `kind`.
pub(super) fn decode(kind: u8, body: &[u8]) -> Result<(View, Message), DecodeError> {
    let ((oldest, reads, newest), rest): (FrozenView, &[u8]) =
        frozen::decode_first(body).ok_or(DecodeError::Body(kind))?;
    Ok((View { oldest, reads, newest }, decode_message(kind, rest)?))
}

fn decode_message(kind: u8, body: &[u8]) -> Result<Message, DecodeError> {
    fn read<T: serde::de::DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, DecodeError> {
        frozen::decode(body).ok_or(DecodeError::Body(kind))
    }
    Ok(match kind {
        FORWARD => {
            let (op, to, floor, change, w, timeout): ForwardBody = read(kind, body)?;
            forward(op, to, floor, change, w, timeout, Terms::default()).ok_or(DecodeError::Body(kind))?
        }
        FORWARD_ON_TERMS => {
            let (op, to, floor, change, w, timeout, terms): ForwardOnTermsBody = read(kind, body)?;
            let (primaries, sloppy, stands_in) = terms;
            let terms = Terms { primaries, sloppy, stands_in };
            forward(op, to, floor, change, w, timeout, terms).ok_or(DecodeError::Body(kind))?
        }
        HINT => {
            let (op, target, key, dot, delta): HintBody = read(kind, body)?;
            let target = NodeId(target);
            Message::Hint { op: op.into(), target, key: key.into(), dot: dot.into(), delta: delta.into() }
        }
        FETCH_HINTS => {
            let (op, key): FetchBody = read(kind, body)?;
            Message::FetchHints { op: op.into(), key: key.into() }
        }
        FORWARDED => {
            let (op, outcome): ForwardedBody = read(kind, body)?;
            let outcome = match outcome {
                Ok(seen) => Ok(seen.into()),
                Err(failure) => Err(thaw_failure(failure).ok_or(DecodeError::Body(kind))?),
            };
            Message::Forwarded { op: op.into(), outcome }
        }
        STORE => {
            let (op, key, dot, delta): StoreBody = read(kind, body)?;
            Message::Store { op: op.into(), key: key.into(), dot: dot.into(), delta: delta.into() }
        }
        STORED => {
            let (op, outcome): StoredBody = read(kind, body)?;
            Message::Stored { op: op.into(), outcome: outcome.map_err(thaw_refusal) }
        }
        FETCH => {
            let (op, key): FetchBody = read(kind, body)?;
            Message::Fetch { op: op.into(), key: key.into() }
        }
        FETCHED => {
            let (op, outcome): FetchedBody = read(kind, body)?;
            Message::Fetched { op: op.into(), outcome: outcome.map(Into::into).map_err(thaw_refusal) }
        }
        REPAIR => {
            let (key, object): RepairBody = read(kind, body)?;
            Message::Repair { key: key.into(), object: object.into() }
        }
        PROBE => {
            let (op, digest): ProbeBody = read(kind, body)?;
            Message::Probe { op: op.into(), digest }
        }
        PROBED => {
            let (op, outcome): ProbedBody = read(kind, body)?;
            Message::Probed { op: op.into(), outcome: thaw_probed(outcome) }
        }
        ASK => {
            let (op, partition, clock): AskBody = read(kind, body)?;
            Message::Ask { op: op.into(), partition: Partition(partition), clock: clock.into() }
        }
        GIVE => {
            let (op, given): GiveBody = read(kind, body)?;
            Message::Give { op: op.into(), given: thaw_given(given).ok_or(DecodeError::Body(kind))? }
        }
        PULL => {
            let (op, partition, after, until, have): PullBody = read(kind, body)?;
            let have = have.into_iter().map(ObjectHash).collect();
            let (partition, after, until) = (Partition(partition), after.map(Key), until.map(Key));
            Message::Pull { op: op.into(), partition, after, until, have }
        }
        PAGE => {
            let (op, outcome): PageBody = read(kind, body)?;
            let outcome = match outcome {
                Ok(page) => Ok(thaw_page(page).ok_or(DecodeError::Body(kind))?),
                Err(refusal) => Err(thaw_refusal(refusal)),
            };
            Message::Page { op: op.into(), outcome }
        }
        LIST => {
            let (op, first, last, after, limit): ListBody = read(kind, body)?;
            let (first, last) = (Partition(first), Partition(last));
            Message::List { op: op.into(), first, last, after: after.map(Key), limit }
        }
        LISTED => {
            let (op, outcome): ListedBody = read(kind, body)?;
            let listed = |(keys, next): FrozenListed| Listed {
                keys: keys.into_iter().map(Key).collect(),
                next: next.map(Key),
            };
            Message::Listed { op: op.into(), outcome: outcome.map(listed).map_err(thaw_refusal) }
        }
        HAIL => {
            let (member, life, answers): HailBody = read(kind, body)?;
            let member = thaw_member(member).ok_or(DecodeError::Body(kind))?;
            Message::Hail { member, life: Life(life), answers: Life(answers) }
        }
        GOSSIP => Message::Gossip { digest: read(kind, body)? },
        STATE => {
            let (state, wants_answer): StateBody = read(kind, body)?;
            let state = thaw_state(state).ok_or(DecodeError::Body(kind))?;
            Message::State { state: state.into(), wants_answer }
        }
        PREPARE => {
            let (op, epoch, ballot): PrepareBody = read(kind, body)?;
            Message::Prepare { op: op.into(), epoch, ballot: thaw_ballot(ballot) }
        }
        PROMISE => {
            let (op, outcome): PromiseBody = read(kind, body)?;
            let outcome = match outcome {
                Ok(None) => Ok(None),
                Ok(Some((ballot, layout))) => {
                    let layout = layout.thaw().ok_or(DecodeError::Body(kind))?;
                    Ok(Some((thaw_ballot(ballot), layout.into())))
                }
                Err(refusal) => Err(thaw_vote_refusal(refusal)),
            };
            Message::Promise { op: op.into(), outcome }
        }
        ACCEPT => {
            let (op, ballot, layout): AcceptBody = read(kind, body)?;
            let layout = layout.thaw().ok_or(DecodeError::Body(kind))?;
            Message::Accept { op: op.into(), ballot: thaw_ballot(ballot), layout: layout.into() }
        }
        ACCEPTED => {
            let (op, outcome): AcceptedBody = read(kind, body)?;
            Message::Accepted { op: op.into(), outcome: outcome.map_err(thaw_vote_refusal) }
        }
        SWIM => Message::Swim { bytes: read(kind, body)? },
        SALVAGE => {
            let (op, key): FetchBody = read(kind, body)?;
            Message::Salvage { op: op.into(), key: key.into() }
        }
        COMPARE => {
            let (op, partition, after, spans): CompareBody = read(kind, body)?;
            let spans = spans.into_iter().map(thaw_span).collect();
            Message::Compare { op: op.into(), partition: Partition(partition), after: after.map(Key), spans }
        }
        COMPARED => {
            let (op, outcome): ComparedBody = read(kind, body)?;
            let compared = |(clock, equal): FrozenCompared| Compared { clock: clock.into(), equal };
            Message::Compared { op: op.into(), outcome: outcome.map(compared).map_err(thaw_refusal) }
        }
        other => return Err(DecodeError::Kind(other)),
    })
}

/// None for a time that no duration ever encodes to.
fn forward(
    op: FrozenOp,
    to: u128,
    floor: u64,
    change: FrozenChange,
    w: u8,
    timeout: FrozenDuration,
    terms: Terms,
) -> Option<Message> {
    let (to, change, timeout) = (Life(to), thaw_change(change), thaw_duration(timeout)?);
    Some(Message::Forward { op: op.into(), to, floor, change, w, timeout, terms })
}

fn freeze_duration(duration: Duration) -> FrozenDuration {
    (duration.as_secs(), duration.subsec_nanos())
}

/// None when the nanoseconds are not below a second, which no duration ever encodes to.
fn thaw_duration((secs, nanos): FrozenDuration) -> Option<Duration> {
    (nanos < 1_000_000_000).then(|| Duration::new(secs, nanos))
}

fn freeze_change(change: &Change) -> FrozenChange {
    // What is left of a millisecond counts as one: nothing expires before its time.
    let ms = |ttl: Duration| u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let value = change
        .value
        .as_ref()
        .map(|value| (value.bytes.clone(), value.content_type.clone(), value.ttl.map(ms)));
    ((&change.key).into(), (&change.seen).into(), value)
}

fn thaw_change((key, seen, value): FrozenChange) -> Change {
    let value = value.map(|(bytes, content_type, ttl)| Value {
        bytes,
        content_type,
        ttl: ttl.map(Duration::from_millis),
    });
    Change { key: key.into(), seen: seen.into(), value }
}

fn freeze_probed(probed: &Probed) -> FrozenProbed {
    match probed {
        Probed::Equal { incomplete } => {
            FrozenProbed::Equal(incomplete.iter().map(|partition| partition.0).collect())
        }
        Probed::Differ { digests } => FrozenProbed::Differ(digests.clone()),
        Probed::OtherView => FrozenProbed::OtherView,
    }
}

fn thaw_probed(probed: FrozenProbed) -> Probed {
    match probed {
        FrozenProbed::Equal(incomplete) => {
            Probed::Equal { incomplete: incomplete.into_iter().map(Partition).collect() }
        }
        FrozenProbed::Differ(digests) => Probed::Differ { digests },
        FrozenProbed::OtherView => Probed::OtherView,
    }
}

/// What the clock implies of every key, if all objects have seen it, so that it can be left out of each: it is the same for
/// all of them, and grows with the lives of all nodes.
fn common<'a>(clock: &Clock, mut objects: impl ExactSizeIterator<Item = &'a Object>) -> Option<Context> {
    let mut bases = Context::new();
    bases.join_bases(clock.as_context());
    let is_seen = |object: &Object| {
        let mut context = freed(object, &bases).context;
        context.join_bases(&bases);
        context == object.context
    };
    let fits = objects.len().saturating_mul(bases.size()) <= IMPLIED_MAX;
    (fits && objects.all(is_seen)).then_some(bases)
}

/// An object without what the clock implies.
fn freed(object: &Object, bases: &Context) -> Object {
    let mut object = object.clone();
    object.context.drop_up_to(|actor| bases.base(actor));
    object
}

fn freeze_object(object: &Object, common: Option<&Context>) -> FrozenObject {
    match common {
        Some(bases) => (&freed(object, bases)).into(),
        None => object.into(),
    }
}

/// What fills objects that came without what the clock implies, which all are or none. None when they would take more
/// room than they may.
fn filling(clock: &Clock, objects: usize, is_freed: bool) -> Option<Context> {
    if !is_freed {
        return Some(Context::new());
    }
    let mut bases = Context::new();
    bases.join_bases(clock.as_context());
    (objects.saturating_mul(bases.size()) <= IMPLIED_MAX).then_some(bases)
}

fn thaw_object(object: FrozenObject, filling: &Context) -> Object {
    let mut object: Object = object.into();
    object.context.join_bases(filling);
    object
}

fn freeze_given(given: &Given) -> FrozenGiven {
    let common = common(&given.clock, given.objects.iter().map(|given| &given.object));
    let object = |one: &GivenObject| {
        let dots = one.dots.iter().map(|&dot| dot.into()).collect();
        ((&one.key).into(), dots, freeze_object(&one.object, common.as_ref()))
    };
    (
        given.partition.0,
        (&given.clock).into(),
        given.complete,
        given.reaches,
        given.more,
        given.objects.iter().map(object).collect(),
        common.is_some(),
    )
}

fn thaw_given((partition, clock, complete, reaches, more, objects, is_freed): FrozenGiven) -> Option<Given> {
    let clock: Clock = clock.into();
    let filling = filling(&clock, objects.len(), is_freed)?;
    let object = |(key, dots, object): FrozenGivenObject| GivenObject {
        key: key.into(),
        dots: dots.into_iter().map(Into::into).collect(),
        object: thaw_object(object, &filling),
    };
    let objects = objects.into_iter().map(object).collect();
    Some(Given { partition: Partition(partition), clock, complete, reaches, more, objects })
}

fn freeze_page(page: &Page) -> FrozenPage {
    let common = common(&page.clock, page.objects.values());
    let object = |(key, object): (&Key, &Object)| (key.into(), freeze_object(object, common.as_ref()));
    let objects = page.objects.iter().map(object).collect();
    let end = page.end.as_ref().map(FrozenKey::from);
    ((&page.clock).into(), page.complete, objects, page.same.clone(), end, common.is_some())
}

fn thaw_page((clock, complete, objects, same, end, is_freed): FrozenPage) -> Option<Page> {
    let clock: Clock = clock.into();
    let filling = filling(&clock, objects.len(), is_freed)?;
    let object = |(key, object): (FrozenKey, FrozenObject)| (key.into(), thaw_object(object, &filling));
    let objects = objects.into_iter().map(object).collect();
    Some(Page { clock, complete, objects, same, end: end.map(Key) })
}

fn freeze_span(span: &Span) -> FrozenSpan {
    (span.end.as_ref().map(FrozenKey::from), span.sum.map(|(Fingerprint(sum), count)| (sum, count)))
}

fn thaw_span((end, sum): FrozenSpan) -> Span {
    Span { end: end.map(Key), sum: sum.map(|(sum, count)| (Fingerprint(sum), count)) }
}

fn freeze_refusal(refusal: &Refusal) -> FrozenRefusal {
    match *refusal {
        Refusal::CatchingUp => FrozenRefusal::CatchingUp,
        Refusal::Damaged => FrozenRefusal::Damaged,
        Refusal::Storage => FrozenRefusal::Storage,
        Refusal::Overloaded => FrozenRefusal::Overloaded,
        Refusal::OtherLife(life) => FrozenRefusal::OtherLife(life.0),
        Refusal::NotHeld => FrozenRefusal::NotHeld,
        Refusal::Fenced => FrozenRefusal::Fenced,
        Refusal::TooManySiblings { siblings, bytes } => FrozenRefusal::TooManySiblings(siblings, bytes),
        Refusal::StaleLayout => FrozenRefusal::StaleLayout,
        Refusal::NotAMember => FrozenRefusal::NotAMember,
        Refusal::HintsFull { bytes } => FrozenRefusal::HintsFull(bytes),
    }
}

fn thaw_refusal(refusal: FrozenRefusal) -> Refusal {
    match refusal {
        FrozenRefusal::CatchingUp => Refusal::CatchingUp,
        FrozenRefusal::Damaged => Refusal::Damaged,
        FrozenRefusal::Storage => Refusal::Storage,
        FrozenRefusal::Overloaded => Refusal::Overloaded,
        FrozenRefusal::OtherLife(life) => Refusal::OtherLife(Life(life)),
        FrozenRefusal::NotHeld => Refusal::NotHeld,
        FrozenRefusal::Fenced => Refusal::Fenced,
        FrozenRefusal::TooManySiblings(siblings, bytes) => Refusal::TooManySiblings { siblings, bytes },
        FrozenRefusal::StaleLayout => Refusal::StaleLayout,
        FrozenRefusal::NotAMember => Refusal::NotAMember,
        FrozenRefusal::HintsFull(bytes) => Refusal::HintsFull { bytes },
    }
}

fn freeze_failure(failure: &Failure) -> FrozenFailure {
    match *failure {
        Failure::Overloaded { limit } => FrozenFailure::Overloaded(limit),
        Failure::Timeout { acks, needed, replicas } => FrozenFailure::Timeout(acks, needed, replicas),
        Failure::Refused { acks, needed, replicas, ref last } => {
            FrozenFailure::Refused(acks, needed, replicas, freeze_refusal(last))
        }
        Failure::NotTaken(ref refusal) => FrozenFailure::NotTaken(freeze_refusal(refusal)),
        // No forward is answered with an operator's refusal, nor with what its origin has checked before.
        Failure::KeyEmpty | Failure::Cluster(_) | Failure::BadTtl { .. } => FrozenFailure::KeyEmpty,
        Failure::KeyTooLong { bytes, max } => FrozenFailure::KeyTooLong(bytes, max),
        Failure::ValueTooLarge { bytes, max } => FrozenFailure::ValueTooLarge(bytes, max),
        Failure::ContentTypeTooLong { bytes, max } => FrozenFailure::ContentTypeTooLong(bytes, max),
        Failure::BadQuorum { asked, replicas } => FrozenFailure::BadQuorum(asked, replicas),
        Failure::BadTimeout { asked, max } => {
            FrozenFailure::BadTimeout(freeze_duration(asked), freeze_duration(max))
        }
    }
}

fn thaw_failure(failure: FrozenFailure) -> Option<Failure> {
    Some(match failure {
        FrozenFailure::Overloaded(limit) => Failure::Overloaded { limit },
        FrozenFailure::Timeout(acks, needed, replicas) => Failure::Timeout { acks, needed, replicas },
        FrozenFailure::Refused(acks, needed, replicas, last) => {
            Failure::Refused { acks, needed, replicas, last: thaw_refusal(last) }
        }
        FrozenFailure::NotTaken(refusal) => Failure::NotTaken(thaw_refusal(refusal)),
        FrozenFailure::KeyEmpty => Failure::KeyEmpty,
        FrozenFailure::KeyTooLong(bytes, max) => Failure::KeyTooLong { bytes, max },
        FrozenFailure::ValueTooLarge(bytes, max) => Failure::ValueTooLarge { bytes, max },
        FrozenFailure::ContentTypeTooLong(bytes, max) => Failure::ContentTypeTooLong { bytes, max },
        FrozenFailure::BadQuorum(asked, replicas) => Failure::BadQuorum { asked, replicas },
        FrozenFailure::BadTimeout(asked, max) => {
            Failure::BadTimeout { asked: thaw_duration(asked)?, max: thaw_duration(max)? }
        }
    })
}

fn freeze_state(state: &ClusterState) -> FrozenState {
    let ClusterState { layouts, progress, staged } = state;
    let changes = staged.changes.iter().map(FrozenLayoutChange::from).collect();
    (
        layouts.iter().map(FrozenLayout::from).collect(),
        progress.iter().map(|(node, progress)| (node.0, freeze_progress(*progress))).collect(),
        (staged.epoch, staged.version, staged.by.0, changes),
    )
}

/// None for what no node ever says.
fn thaw_state((layouts, progress, staged): FrozenState) -> Option<ClusterState> {
    let (epoch, version, by, changes) = staged;
    if changes.len() > crate::config::CHANGES_MAX {
        return None;
    }
    let changes = changes.into_iter().map(FrozenLayoutChange::thaw).collect::<Option<_>>()?;
    Some(ClusterState {
        layouts: thaw_layouts(layouts)?,
        progress: progress.into_iter().map(|(node, told)| (NodeId(node), thaw_progress(told))).collect(),
        staged: Staged { epoch, version, by: NodeId(by), changes },
    })
}

const fn freeze_vote_refusal(refusal: &VoteRefusal) -> FrozenVoteRefusal {
    match *refusal {
        VoteRefusal::Outvoted { by } => FrozenVoteRefusal::Outvoted(freeze_ballot(by)),
        VoteRefusal::Decided { newest } => FrozenVoteRefusal::Decided(newest),
        VoteRefusal::NoVoter => FrozenVoteRefusal::NoVoter,
    }
}

const fn thaw_vote_refusal(refusal: FrozenVoteRefusal) -> VoteRefusal {
    match refusal {
        FrozenVoteRefusal::Outvoted(by) => VoteRefusal::Outvoted { by: thaw_ballot(by) },
        FrozenVoteRefusal::Decided(newest) => VoteRefusal::Decided { newest },
        FrozenVoteRefusal::NoVoter => VoteRefusal::NoVoter,
    }
}
