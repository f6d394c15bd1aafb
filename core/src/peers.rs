//! What is known of the other members: their present lives, and whether they answer.
//!
//! Suspicion only changes whom to ask first. It never changes who holds what.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::id::{Life, NodeId};

/// The other members.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Peers {
    lives: BTreeMap<NodeId, Life>,
    suspected: BTreeSet<NodeId>,
}

impl Peers {
    /// `node` has been heard of in this life.
    pub(crate) fn learn(&mut self, node: NodeId, life: Life) {
        self.lives.insert(node, life);
    }

    /// The life that `node` was last heard of in; nobody's when it never was, which the node will correct.
    pub(crate) fn life(&self, node: NodeId) -> Life {
        self.lives.get(&node).copied().unwrap_or_default()
    }

    /// A message from `node` has arrived.
    pub(crate) fn on_heard(&mut self, node: NodeId) {
        self.suspected.remove(&node);
    }

    /// `node` has let a request run into its timeout.
    pub(crate) fn on_silent(&mut self, node: NodeId) {
        self.suspected.insert(node);
    }

    pub(crate) fn is_suspected(&self, node: NodeId) -> bool {
        self.suspected.contains(&node)
    }
}
