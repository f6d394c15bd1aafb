//! Version 1 of how values look as bytes, frozen: what `wire` and `stored` share.
//!
//! These shapes are serialised with bincode, which writes fields in order and nothing else, so any change to them
//! changes every frame and row. They are therefore apart from the types that the protocol works with, and a change
//! is a new version beside this one. The codec is used here, in `wire` and in `stored`, and nowhere else.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::causal::{Clock, Context, Dot, DotFun};
use crate::hlc::Hlc;
use crate::id::{Life, OpId};
use crate::key::Key;
use crate::kind::{Object, Sibling};

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
            (dot.into(), Sibling { value, content_type, at: Hlc(at) })
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
