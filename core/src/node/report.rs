//! What a node says of itself: whether it serves what it holds, what is left to do, and how its cluster stands.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Node;
use crate::causal::Clock;
use crate::hints::HintReport;
use crate::id::{ClusterId, Life, NodeId};
use crate::key::Partition;
use crate::layout::active::{Layouts, View};
use crate::layout::{Change, Member};
use crate::message::Progress;
#[cfg(feature = "simulation")]
use crate::moment::Moments;
use crate::replica::Replica;
use crate::stats::Stats;

/// How a cluster stands, as one of its nodes knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterReport {
    /// The cluster; None for a node that belongs to none.
    pub id: Option<ClusterId>,
    /// The epochs of the layouts in force.
    pub view: View,
    /// The hash of the newest one.
    pub hash: u64,
    /// Copies of each key under it.
    pub copies: usize,
    /// Every node of a layout in force, in order of their ids.
    pub nodes: Vec<MemberReport>,
    /// Changes that are staged.
    pub staged: Vec<Change>,
    /// Whether a layout that this node was asked to apply is not decided yet.
    pub is_proposing: bool,
    /// Partitions that the newest layout gives to this node.
    pub held: usize,
    /// Partitions that this node answers reads for.
    pub complete: usize,
    /// Partitions that it has still to settle before an older layout can end.
    pub settling: usize,
    /// Partitions that it is dropping.
    pub dropping: usize,
    /// Transfers of whole partitions to this node that are under way.
    pub transfers: Vec<(NodeId, Partition)>,
    /// Log rows at rest.
    pub log_rows: usize,
    /// Log rows that cannot be dropped, and deletes that leave a trace so long, because a peer is not known to have them.
    pub blocked: BTreeMap<NodeId, usize>,
    /// What is kept for nodes that could not be reached.
    pub hints: BTreeMap<NodeId, HintReport>,
    /// Damaged rows that are known, and not mended yet.
    pub damaged: usize,
    /// What is in flight, or left to do, in words; None when nothing is. See [`Node::unrest`].
    pub unrest: Option<String>,
}

/// One node of a [`ClusterReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberReport {
    /// Who.
    pub member: Member,
    /// Whether it belongs to the newest layout, and not only to one that is giving way.
    pub is_member: bool,
    /// Whether it does not answer.
    pub is_suspected: bool,
    /// How far it is known to have followed.
    pub progress: Progress,
    /// Partitions that the newest layout gives to it.
    pub held: usize,
}

impl Node {
    /// The moments that this node has reached so far.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub const fn moments(&self) -> Moments {
        self.shared.moments
    }

    /// What this node has done so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// This run's identity.
    #[must_use]
    pub const fn life(&self) -> Life {
        self.life
    }

    /// Who this is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.config.node
    }

    /// Whether `node` does not answer, as far as this one knows: it has been declared down, or has let a request run into
    /// its timeout, and nothing has come from it since.
    #[must_use]
    pub fn suspects(&self, node: NodeId) -> bool {
        self.peers.is_suspected(node)
    }

    /// The first life over this node's store: what a cluster that takes it in is to know it by.
    #[must_use]
    pub fn store(&self) -> Life {
        let store = self.cluster.store();
        if store == Life::default() { self.life } else { store }
    }

    /// Whether this node answers reads for every partition that it holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.unready().is_none()
    }

    /// Why this node does not answer reads for every partition that it holds, in words; None when it does.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let me = self.config.node;
        let Some(newest) = self.layout.newest() else { return Some("it belongs to no cluster".into()) };
        if self.is_fenced {
            return Some("it is fenced".into());
        }
        if newest.member(me).is_none() {
            return Some("it is not a member of the cluster".into());
        }
        newest.held_by(me).find_map(|partition| match self.shared.replicas.get(&partition) {
            None => Some(format!("{partition:?} has not begun")),
            Some(replica) if replica.complete => None,
            Some(replica) => {
                let (caught_up, barrier) = (&replica.caught_up, &replica.barrier);
                Some(format!("{partition:?} has caught up with {caught_up:?}, barrier {barrier:?}"))
            }
        })
    }

    /// The layouts that this node works with.
    #[must_use]
    pub const fn layouts(&self) -> &Layouts {
        &self.layout
    }

    /// Whether another node was found to use this one's identity; it serves nothing then.
    #[must_use]
    pub const fn is_fenced(&self) -> bool {
        self.is_fenced
    }

    /// Whether nothing is in flight, no log row is left to drop and nothing at rest is left to strip. Probes go on.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.unrest().is_none()
    }

    /// What is in flight, or left to drop or to strip, in words: the first such thing, and none exactly when
    /// [`is_quiet`](Self::is_quiet).
    #[must_use]
    pub fn unrest(&self) -> Option<String> {
        self.unrest_beside(|_| false)
    }

    /// The same, whatever is left to drop or to strip in partitions that are `excused`.
    pub fn unrest_beside(&self, excused: impl Fn(Partition) -> bool) -> Option<String> {
        let replica_unrest = |(&partition, replica): (&Partition, &Replica)| {
            if excused(partition) {
                return None;
            }
            let primaries = self.layout.holders(partition).iter().copied();
            let peers: Vec<NodeId> = primaries.filter(|&node| node != self.config.node).collect();
            replica.unrest(&peers).map(|what| format!("{partition:?}: {what}"))
        };
        let owned =
            || self.shared.owners.values().next().map(|owner| format!("the disk is at work for {owner:?}"));
        let swept =
            || (!self.sweep.is_done()).then(|| "the pass over the objects at rest goes on".to_string());
        let closing = || {
            let what = "the gaps of ended lives are not on record";
            (!self.shared.is_open).then(|| what.to_string())
        };
        (self.gets.unrest())
            .or_else(closing)
            .or_else(|| self.cluster.unrest(&self.layout))
            .or_else(|| self.retire.unrest())
            .or_else(|| self.puts.unrest())
            .or_else(|| self.lists.unrest())
            .or_else(|| self.slots.unrest())
            .or_else(|| self.sync.unrest())
            .or_else(|| self.hints.unrest(self.layout.has(self.config.node)))
            .or_else(swept)
            .or_else(|| self.scrub.unrest(&self.layout, &excused))
            .or_else(|| self.shared.replicas.iter().find_map(replica_unrest))
            .or_else(owned)
    }

    /// How the cluster stands, as this node knows it.
    #[must_use]
    pub fn cluster(&self) -> ClusterReport {
        let me = self.config.node;
        let newest = self.layout.newest();
        let held = |node| newest.map_or(0, |newest| newest.held_by(node).count());
        let report = |&node: &NodeId| MemberReport {
            member: self.layout.member(node).cloned().unwrap_or_else(|| Member::plain(node)),
            is_member: newest.is_some_and(|newest| newest.member(node).is_some()),
            is_suspected: self.peers.is_suspected(node),
            progress: self.cluster.progress(node),
            held: held(node),
        };
        let replicas = &self.shared.replicas;
        let mut blocked: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (&partition, replica) in replicas {
            for &peer in self.layout.holders(partition).iter().filter(|&&peer| peer != me) {
                *blocked.entry(peer).or_default() += replica.waiting_for(peer);
            }
        }
        ClusterReport {
            id: newest.map(|newest| newest.cluster()),
            view: self.layout.view(),
            hash: newest.map_or(0, |newest| newest.hash()),
            copies: newest.map_or(0, |newest| newest.copies()),
            nodes: self.layout.nodes().iter().map(report).collect(),
            staged: self.cluster.staged(),
            is_proposing: self.cluster.is_proposing(),
            held: held(me),
            complete: replicas.values().filter(|replica| replica.complete && !replica.is_retiring).count(),
            settling: replicas.values().filter(|replica| replica.barrier.is_some()).count(),
            dropping: self.retire.len(),
            transfers: self.sync.pulls().collect(),
            log_rows: replicas.values().map(Replica::log_len).sum(),
            blocked,
            hints: self.hints.report(),
            damaged: self.scrub.len(),
            unrest: self.unrest(),
        }
    }

    /// What this node has seen of a partition that it holds; for judges of equality.
    #[must_use]
    pub fn clock(&self, partition: Partition) -> Option<&Clock> {
        self.shared.replicas.get(&partition).map(Replica::clock)
    }
}
