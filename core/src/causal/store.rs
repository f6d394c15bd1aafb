//! Dot stores, and the one join of a causal container.
//!
//! A dot store holds what is visible, each part under the dot that made it. [`DotFun`] maps dots to payloads and
//! carries the register; other kinds of data are other stores under the same [`Causal::join`].

use alloc::collections::{BTreeMap, btree_map};
use core::fmt;

use super::{Context, Dot};

/// Something visible that lives under dots and can be joined when both sides' contexts are known.
pub trait DotStore: Default {
    /// Whether `dot` is visible.
    fn has(&self, dot: Dot) -> bool;

    /// Whether nothing is visible.
    fn is_empty(&self) -> bool;

    /// Adds every visible dot to `context`.
    fn add_dots(&self, context: &mut Context);

    /// Joins `other` in: what both have stays, what one side has stays unless the other has seen it, which means
    /// that the other has replaced or removed it.
    fn join(&mut self, seen: &Context, other: Self, other_seen: &Context);

    /// Makes everything in `context` invisible.
    fn discard(&mut self, context: &Context);
}

/// A dot store with everything that it has seen.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Causal<S> {
    /// What is visible.
    pub store: S,
    /// What has been seen: what is visible, and what has been replaced or removed. Only at rest, after
    /// [`Replica::strip`](crate::replica::Replica::strip), is it less than that.
    pub context: Context,
}

impl<S: DotStore> Causal<S> {
    /// Joins `other` in. Commutative, associative and idempotent; a delta joins as a full state does.
    pub fn join(&mut self, other: Self) {
        self.store.join(&self.context, other.store, &other.context);
        self.context.join(&other.context);
    }

    /// Whether nothing is visible and nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty() && self.context.is_empty()
    }
}

impl<S: fmt::Debug> fmt::Debug for Causal<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} seen {:?}", self.store, self.context)
    }
}

/// A payload under a dot. The same dot always carries the same payload, unless a kind makes it grow under its dot.
pub trait Payload: Clone {
    /// Joins what another replica holds under the same dot.
    fn join(&mut self, other: Self);
}

/// A map from dots to payloads.
#[derive(Clone, PartialEq, Eq)]
pub struct DotFun<V>(pub BTreeMap<Dot, V>);

impl<V> Default for DotFun<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V: Payload> DotStore for DotFun<V> {
    fn has(&self, dot: Dot) -> bool {
        self.0.contains_key(&dot)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add_dots(&self, context: &mut Context) {
        for &dot in self.0.keys() {
            context.insert(dot);
        }
    }

    fn join(&mut self, seen: &Context, other: Self, other_seen: &Context) {
        self.0.retain(|&dot, _| other.0.contains_key(&dot) || !other_seen.has(dot));
        for (dot, payload) in other.0 {
            match self.0.entry(dot) {
                btree_map::Entry::Occupied(mut ours) => ours.get_mut().join(payload),
                btree_map::Entry::Vacant(vacant) => {
                    if !seen.has(dot) {
                        vacant.insert(payload);
                    }
                }
            }
        }
    }

    fn discard(&mut self, context: &Context) {
        self.0.retain(|&dot, _| !context.has(dot));
    }
}

impl<V: fmt::Debug> fmt::Debug for DotFun<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}
