//! Which nodes hold which partition: a pure function of the member list.
//!
//! Each partition ranks all members by a hash of (partition, node), the highest first: rendezvous hashing (Thaler
//! and Ravishankar 1998). Its first N are the partition's primaries, in preference order. Every node that has the
//! same member list computes the same table.

use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_64;

use crate::config::Config;
use crate::id::NodeId;
use crate::key::{Key, Partition};

/// The primaries of every partition.
#[derive(Clone, Debug)]
pub struct Layout {
    /// `replicas` nodes per partition, one partition after the other.
    table: Vec<NodeId>,
    replicas: usize,
    partitions: u32,
}

impl Layout {
    /// The layout that `config` asks for.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let replicas = config.replicas;
        let mut table = Vec::with_capacity(replicas * config.partitions as usize);
        for index in 0..config.partitions {
            let mut ranked: Vec<(u64, NodeId)> =
                config.members.iter().map(|&node| (score(index, node), node)).collect();
            ranked.sort_unstable_by(|a, b| b.cmp(a));
            table.extend(ranked.iter().take(replicas).map(|&(_, node)| node));
        }
        Self { table, replicas, partitions: config.partitions }
    }

    /// The partition of `key`.
    #[must_use]
    pub fn partition(&self, key: &Key) -> Partition {
        Partition::of(key, self.partitions)
    }

    /// The primaries of `partition`, the preferred one first; empty for a partition that does not exist.
    #[must_use]
    pub fn primaries(&self, partition: Partition) -> &[NodeId] {
        let start = partition.0 as usize * self.replicas;
        self.table.get(start..start + self.replicas).unwrap_or(&[])
    }

    /// Whether `node` holds `partition`.
    #[must_use]
    pub fn holds(&self, node: NodeId, partition: Partition) -> bool {
        self.primaries(partition).contains(&node)
    }

    /// All partitions, in order.
    pub fn partitions(&self) -> impl DoubleEndedIterator<Item = Partition> + use<> {
        (0..self.partitions).map(|index| Partition(index as u16))
    }

    /// The partitions that `node` holds, in order.
    pub fn held_by(&self, node: NodeId) -> impl Iterator<Item = Partition> + '_ {
        self.partitions().filter(move |&partition| self.holds(node, partition))
    }
}

fn score(partition: u32, node: NodeId) -> u64 {
    let mut input = [0; 12];
    input[..4].copy_from_slice(&partition.to_le_bytes());
    input[4..].copy_from_slice(&node.0.to_le_bytes());
    xxh3_64(&input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn layout(members: u64) -> Layout {
        let members: Vec<NodeId> = (1..=members).map(NodeId).collect();
        Layout::new(&Settings::new(NodeId(1), members).check().expect("valid"))
    }

    #[test]
    fn every_partition_has_its_copies_on_distinct_members() {
        for members in 1..=9 {
            let layout = layout(members);
            for partition in layout.partitions() {
                let mut primaries = layout.primaries(partition).to_vec();
                assert_eq!(primaries.len(), members.min(3) as usize);
                primaries.sort_unstable();
                primaries.dedup();
                assert_eq!(primaries.len(), members.min(3) as usize);
            }
        }
    }

    #[test]
    fn a_new_member_takes_over_places_and_moves_nothing_else() {
        let (before, after) = (layout(5), layout(6));
        for partition in before.partitions() {
            let kept = after.primaries(partition).iter().filter(|&&node| node != NodeId(6));
            assert!(kept.zip(before.primaries(partition)).all(|(new, old)| new == old));
        }
    }

    #[test]
    fn load_is_spread_over_the_members() {
        let layout = layout(6);
        for node in 1..=6 {
            let held = layout.held_by(NodeId(node)).count();
            assert!((90..=170).contains(&held), "node {node} holds {held} of 256 partitions, 128 expected");
        }
    }

    #[test]
    fn a_partition_that_does_not_exist_has_no_primaries() {
        assert!(layout(3).primaries(Partition(256)).is_empty());
    }
}
