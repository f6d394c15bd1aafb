//! What a replica has seen of a whole partition (Gonçalves et al., "DottedDB", SRDS 2017).
//!
//! A clock is a set of dots like a [`Context`], with one more promise: every dot in it has had its effect on the
//! data that the clock is stored with. From the gap-free bases follows something about each key, also an absent
//! one: whatever the base covers has been seen, so objects are stored without it
//! ([`Replica::strip`](crate::replica::Replica::strip)) and get it back when they are read ([`fill`](Clock::fill)). A clock never goes with other data than its own.

use alloc::vec::Vec;

use xxhash_rust::xxh3::Xxh3;

use super::{Causal, Context, Dot, DotStore};
use crate::id::Life;

/// The dots that have had their effect on a partition's data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock(Context);

impl Clock {
    /// The clock of an empty partition.
    #[must_use]
    pub const fn new() -> Self {
        Self(Context::new())
    }

    /// The clock that has seen exactly `context`.
    #[must_use]
    pub const fn from_context(context: Context) -> Self {
        Self(context)
    }

    /// The dots seen.
    #[must_use]
    pub const fn as_context(&self) -> &Context {
        &self.0
    }

    /// The same without the dots beyond the bases.
    #[must_use]
    pub fn without_cloud(&self) -> Self {
        let mut bases = Context::new();
        bases.join_bases(&self.0);
        Self(bases)
    }

    /// Whether the effect of `dot` is in the data.
    #[must_use]
    pub fn has(&self, dot: Dot) -> bool {
        self.0.has(dot)
    }

    /// Records that the effect of `dot` is in the data.
    pub fn insert(&mut self, dot: Dot) {
        self.0.insert(dot);
    }

    /// Records everything that `other` records.
    pub fn join(&mut self, other: &Self) {
        self.0.join(&other.0);
    }

    /// Adds to an object at rest what the clock and its own visible dots imply.
    pub fn fill<S: DotStore>(&self, object: &mut Causal<S>) {
        object.store.add_dots(&mut object.context);
        object.context.join_bases(&self.0);
    }

    /// The gaps below the highest dot of each actor in `ended`, as a clock: what those lives minted and never landed.
    /// It is only right over the store that the lives ended on; what `beginning`'s life minted up to that number may be
    /// elsewhere, because the store began empty after it.
    #[must_use]
    pub fn gaps(&self, ended: &[Life], beginning: Option<(Life, u64)>) -> Self {
        let mut gaps = Context::new();
        for &actor in ended.iter().filter(|&&actor| self.0.base(actor) < self.0.highest(actor)) {
            match beginning {
                Some((life, last)) if life == actor => {
                    let mut before = Context::new();
                    before.raise(actor, last);
                    before.join(&self.0);
                    for n in before.base(actor) + 1..=before.highest(actor) {
                        if !self.0.has(Dot { actor, n }) {
                            gaps.insert(Dot { actor, n });
                        }
                    }
                }
                _ => gaps.raise(actor, self.0.highest(actor)),
            }
        }
        Self(gaps)
    }

    /// A 64-bit fingerprint: equal clocks have equal ones.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hash = Xxh3::new();
        for (actor, base) in self.0.bases() {
            hash.update(&actor.0.to_le_bytes());
            hash.update(&base.to_le_bytes());
        }
        // The tag keeps a base and a single dot with the same numbers apart.
        hash.update(b"+");
        for dot in self.0.cloud() {
            hash.update(&dot.actor.0.to_le_bytes());
            hash.update(&dot.n.to_le_bytes());
        }
        hash.digest()
    }

    /// The spans of dots in this clock that `other` lacks, as (actor, first, last).
    #[must_use]
    pub fn missing_from(&self, other: &Self) -> Vec<(Life, u64, u64)> {
        self.0.missing_from(&other.0)
    }
}
