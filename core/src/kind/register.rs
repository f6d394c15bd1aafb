//! The register: every concurrent value is kept as a sibling until a write that has seen it replaces it.
//!
//! State is dot → (value, content type, date), as in dotted version vector sets (Preguiça et al. 2010). A write or
//! a delete is a delta: its own new dot, its value if it has one, and the context that it replaces.

use alloc::collections::BTreeMap;
use core::fmt;

use bytes::Bytes;

use crate::causal::{Causal, Context, Dot, DotFun, Payload};
use crate::hlc::Hlc;
use crate::time::Wall;

/// One value of a register.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sibling {
    /// What the client sent, byte for byte.
    pub value: Bytes,
    /// Its content type, byte for byte; empty when the client named none.
    pub content_type: Bytes,
    /// When it was written, by its coordinator's clock.
    pub at: Hlc,
    /// When it is to be deleted, in milliseconds since the Unix epoch; 0 for never.
    pub expires: u64,
}

impl Sibling {
    /// Bytes that the client sent: value and content type.
    #[must_use]
    pub fn size(&self) -> usize {
        self.value.len() + self.content_type.len()
    }

    /// Whether its time is over by this clock.
    #[must_use]
    pub const fn is_expired(&self, wall: Wall) -> bool {
        self.expires > 0 && self.expires <= wall.millis()
    }

    const fn rank(&self) -> (Hlc, &Bytes, &Bytes, u64) {
        (self.at, &self.value, &self.content_type, self.expires)
    }
}

impl fmt::Debug for Sibling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        write!(f, "\"{}", self.value[..self.value.len().min(SHOWN)].escape_ascii())?;
        if self.value.len() > SHOWN {
            write!(f, "…{} bytes", self.value.len())?;
        }
        f.write_str("\"")
    }
}

impl Payload for Sibling {
    fn join(&mut self, other: Self) {
        // One dot is one write: two payloads under it mean a dot used twice. Keeping the greater of them at least
        // makes every replica keep the same.
        if other.rank() > self.rank() {
            *self = other;
        }
    }
}

/// The visible siblings by dot.
pub type Register = DotFun<Sibling>;

/// What a key holds: its siblings and what it has seen.
pub type Object = Causal<Register>;

impl Object {
    /// The delta of one write: `dot` with `sibling` replaces what `seen` covers. Without a sibling it deletes.
    #[must_use]
    pub fn delta(seen: Context, dot: Dot, sibling: Option<Sibling>) -> Self {
        let mut context = seen;
        context.insert(dot);
        let store = DotFun(sibling.map(|sibling| (dot, sibling)).into_iter().collect::<BTreeMap<_, _>>());
        Self { store, context }
    }

    /// The siblings, in the order of their dots.
    pub fn siblings(&self) -> impl Iterator<Item = &Sibling> {
        self.store.0.values()
    }

    /// The dots of the siblings, in order.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.store.0.keys().copied()
    }

    /// Bytes of all siblings together.
    #[must_use]
    pub fn size(&self) -> usize {
        self.siblings().map(Sibling::size).sum()
    }
}
