//! Version 1 of the frames' bodies, frozen. Each kind is a tuple of frozen parts, in this order for ever.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::DecodeError;
use crate::frozen::{self, FrozenContext, FrozenDot, FrozenKey, FrozenObject, FrozenOp};
use crate::id::Life;
use crate::key::{Key, Partition};
use crate::message::{
    Change, Failure, Given, GivenObject, Listed, Message, Page, Probed, Refusal, Terms, Value,
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
type PullBody = (FrozenOp, u16, Option<FrozenKey>);
type PageBody = (FrozenOp, Result<FrozenPage, FrozenRefusal>);
type ListBody = (FrozenOp, u16, u16, Option<FrozenKey>, u32);
type ListedBody = (FrozenOp, Result<FrozenListed, FrozenRefusal>);

/// Seconds and nanoseconds.
type FrozenDuration = (u64, u32);
/// Key, what was seen, and bytes with their content type unless it is a delete.
type FrozenChange = (FrozenKey, FrozenContext, Option<(Bytes, Bytes)>);
/// Partition, clock, complete, reaches, more, objects.
type FrozenGiven = (u16, FrozenContext, bool, bool, bool, Vec<FrozenGivenObject>);
type FrozenGivenObject = (FrozenKey, Vec<FrozenDot>, FrozenObject);
/// Clock, complete, objects, end.
type FrozenPage = (FrozenContext, bool, Vec<(FrozenKey, FrozenObject)>, Option<FrozenKey>);
type FrozenListed = (Vec<FrozenKey>, Option<FrozenKey>);

#[derive(Serialize, Deserialize)]
enum FrozenProbed {
    Equal(Vec<u16>),
    Differ(Vec<u64>),
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

/// The kind and the body of `message`; None for what this version cannot say.
pub(super) fn encode(message: &Message) -> Option<(u8, Vec<u8>)> {
    Some(match message {
        // Its coordinators know no stand-ins; none is asked to be one.
        Message::Forward { terms, .. } if terms.stands_in => return None,
        Message::Forward { op, to, floor, change, w, timeout, terms: _ } => {
            let body: ForwardBody =
                ((*op).into(), to.0, *floor, freeze_change(change), *w, freeze_duration(*timeout));
            (FORWARD, frozen::encode(&body))
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
            (PROBED, frozen::encode::<ProbedBody>(&((*op).into(), freeze_probed(outcome)?)))
        }
        Message::Ask { op, partition, clock } => {
            (ASK, frozen::encode::<AskBody>(&((*op).into(), partition.0, clock.into())))
        }
        Message::Give { op, given } => {
            (GIVE, frozen::encode::<GiveBody>(&((*op).into(), freeze_given(given))))
        }
        // Whoever speaks this version gives everything, to the end of the partition.
        Message::Pull { op, partition, after, .. } => {
            let after = after.as_ref().map(FrozenKey::from);
            (PULL, frozen::encode::<PullBody>(&((*op).into(), partition.0, after)))
        }
        // It does not compare: what it is asked to compare it gives.
        Message::Compare { op, partition, after, .. } => {
            let after = after.as_ref().map(FrozenKey::from);
            (PULL, frozen::encode::<PullBody>(&((*op).into(), partition.0, after)))
        }
        Message::Page { outcome: Ok(page), .. } if !page.same.is_empty() => return None,
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
        Message::Compared { .. }
        | Message::Hail { .. }
        | Message::Gossip { .. }
        | Message::State { .. }
        | Message::Prepare { .. }
        | Message::Promise { .. }
        | Message::Accept { .. }
        | Message::Accepted { .. }
        | Message::Hint { .. }
        | Message::FetchHints { .. }
        | Message::Swim { .. }
        | Message::Salvage { .. } => return None,
    })
}

/// The message in a body of `kind`.
pub(super) fn decode(kind: u8, body: &[u8]) -> Result<Message, DecodeError> {
    fn read<T: serde::de::DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, DecodeError> {
        frozen::decode(body).ok_or(DecodeError::Body(kind))
    }
    Ok(match kind {
        FORWARD => {
            let (op, to, floor, change, w, timeout): ForwardBody = read(kind, body)?;
            let timeout = thaw_duration(timeout).ok_or(DecodeError::Body(kind))?;
            let (op, to, change) = (op.into(), Life(to), thaw_change(change));
            Message::Forward { op, to, floor, change, w, timeout, terms: Terms::default() }
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
            Message::Give { op: op.into(), given: thaw_given(given) }
        }
        PULL => {
            let (op, partition, after): PullBody = read(kind, body)?;
            let (partition, until, have) = (Partition(partition), None, Vec::new());
            Message::Pull { op: op.into(), partition, after: after.map(Key), until, have }
        }
        PAGE => {
            let (op, outcome): PageBody = read(kind, body)?;
            Message::Page { op: op.into(), outcome: outcome.map(thaw_page).map_err(thaw_refusal) }
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
        other => return Err(DecodeError::Kind(other)),
    })
}

fn freeze_duration(duration: Duration) -> FrozenDuration {
    (duration.as_secs(), duration.subsec_nanos())
}

/// None when the nanoseconds are not below a second, which no duration ever encodes to.
fn thaw_duration((secs, nanos): FrozenDuration) -> Option<Duration> {
    (nanos < 1_000_000_000).then(|| Duration::new(secs, nanos))
}

fn freeze_change(change: &Change) -> FrozenChange {
    let value = change.value.as_ref().map(|value| (value.bytes.clone(), value.content_type.clone()));
    ((&change.key).into(), (&change.seen).into(), value)
}

fn thaw_change((key, seen, value): FrozenChange) -> Change {
    let value = value.map(|(bytes, content_type)| Value { bytes, content_type, ttl: None });
    Change { key: key.into(), seen: seen.into(), value }
}

fn freeze_probed(probed: &Probed) -> Option<FrozenProbed> {
    match probed {
        Probed::Equal { incomplete } => {
            Some(FrozenProbed::Equal(incomplete.iter().map(|partition| partition.0).collect()))
        }
        Probed::Differ { digests } => Some(FrozenProbed::Differ(digests.clone())),
        Probed::OtherView => None,
    }
}

fn thaw_probed(probed: FrozenProbed) -> Probed {
    match probed {
        FrozenProbed::Equal(incomplete) => {
            Probed::Equal { incomplete: incomplete.into_iter().map(Partition).collect() }
        }
        FrozenProbed::Differ(digests) => Probed::Differ { digests },
    }
}

fn freeze_given(given: &Given) -> FrozenGiven {
    let object = |given: &GivenObject| {
        let dots = given.dots.iter().map(|&dot| dot.into()).collect();
        ((&given.key).into(), dots, (&given.object).into())
    };
    (
        given.partition.0,
        (&given.clock).into(),
        given.complete,
        given.reaches,
        given.more,
        given.objects.iter().map(object).collect(),
    )
}

fn thaw_given((partition, clock, complete, reaches, more, objects): FrozenGiven) -> Given {
    let object = |(key, dots, object): FrozenGivenObject| GivenObject {
        key: key.into(),
        dots: dots.into_iter().map(Into::into).collect(),
        object: object.into(),
    };
    Given {
        partition: Partition(partition),
        clock: clock.into(),
        complete,
        reaches,
        more,
        objects: objects.into_iter().map(object).collect(),
    }
}

fn freeze_page(page: &Page) -> FrozenPage {
    let objects = page.objects.iter().map(|(key, object)| (key.into(), object.into())).collect();
    ((&page.clock).into(), page.complete, objects, page.end.as_ref().map(FrozenKey::from))
}

fn thaw_page((clock, complete, objects, end): FrozenPage) -> Page {
    let objects = objects.into_iter().map(|(key, object)| (key.into(), object.into())).collect();
    Page { clock: clock.into(), complete, objects, same: Vec::new(), end: end.map(Key) }
}

fn freeze_refusal(refusal: &Refusal) -> FrozenRefusal {
    match *refusal {
        Refusal::CatchingUp => FrozenRefusal::CatchingUp,
        Refusal::Damaged => FrozenRefusal::Damaged,
        Refusal::Storage => FrozenRefusal::Storage,
        // It is a limit of the moment, too.
        Refusal::Overloaded | Refusal::HintsFull { .. } => FrozenRefusal::Overloaded,
        Refusal::OtherLife(life) => FrozenRefusal::OtherLife(life.0),
        // The nearest that this version has.
        Refusal::NotHeld | Refusal::StaleLayout | Refusal::NotAMember => FrozenRefusal::NotHeld,
        Refusal::Fenced => FrozenRefusal::Fenced,
        Refusal::TooManySiblings { siblings, bytes } => FrozenRefusal::TooManySiblings(siblings, bytes),
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
