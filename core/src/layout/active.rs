//! The layouts in force: usually one; while one gives way to the next, both, and more if that is changed meanwhile.
//!
//! A write needs its quorum in every layout in force. A read needs one in the layout that all nodes are known to have
//! synced, or in the newest one, whose replicas answer only once they have all that was acknowledged before. Nodes that
//! were given up for lost are counted in neither: a quorum is then one of those that are left. Garage's transitions are
//! the model.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Layout, Member};
use crate::config::Config;
use crate::id::NodeId;
use crate::key::{Key, Partition};
use crate::quorum::Sets;

/// Layouts that may be in force at once.
pub const ACTIVE_MAX: usize = 4;

impl View {
    /// What a message counts as that came in a version of frames which knows no layouts: its sender works with a fixed
    /// list, as if that were the first layout.
    pub const FIXED: Self = Self { oldest: u64::MAX, reads: 1, newest: 1 };
}

/// Which layouts a node works with; it goes with every message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View {
    /// The epoch of the oldest layout that writes still go to; 0 for none.
    pub oldest: u64,
    /// The epoch of the oldest layout that reads still rely on.
    pub reads: u64,
    /// The epoch of the newest layout.
    pub newest: u64,
}

/// The layouts in force on a node.
#[derive(Clone, Debug)]
pub struct Layouts {
    /// Oldest first, with no epoch left out; empty on a node that belongs to no cluster yet.
    active: Vec<Layout>,
    partitions: u32,
    /// The epoch of the layout that reads may rely on beside the newest.
    reads: u64,
    /// The holders of each partition in any layout in force, those of the newest first.
    holders: Vec<NodeId>,
    /// Where each partition's holders begin, and the end of all.
    starts: Vec<u32>,
    /// Every node of any layout that is not given up for lost, in order.
    nodes: Vec<NodeId>,
}

impl Layouts {
    /// No layout: a node that belongs to no cluster.
    #[must_use]
    pub fn none(partitions: u32) -> Self {
        let starts = alloc::vec![0; partitions as usize + 1];
        Self { active: Vec::new(), partitions, reads: 0, holders: Vec::new(), starts, nodes: Vec::new() }
    }

    /// These layouts, oldest first; reads may rely on that of epoch `reads` beside the newest.
    ///
    /// # Panics
    /// When there is none, or an epoch is left out.
    #[must_use]
    pub fn new(active: Vec<Layout>, reads: u64) -> Self {
        let newest = active.last().expect("a layout is in force");
        assert!(
            active.windows(2).all(|pair| pair[1].epoch() == pair[0].epoch() + 1),
            "epochs follow each other"
        );
        let nodes = nodes(&active);
        let partitions = newest.partition_count();
        let mut holders = Vec::with_capacity(newest.plan.table.len());
        let mut starts = Vec::with_capacity(partitions as usize + 1);
        for partition in newest.partitions() {
            let start = holders.len();
            starts.push(start as u32);
            for layout in active.iter().rev() {
                for node in layout.primaries(partition) {
                    if !holders[start..].contains(node) && nodes.binary_search(node).is_ok() {
                        holders.push(*node);
                    }
                }
            }
        }
        starts.push(holders.len() as u32);
        let reads = reads.clamp(active[0].epoch(), newest.epoch());
        Self { active, partitions, reads, holders, starts, nodes }
    }

    /// The layouts in force, oldest first.
    #[must_use]
    pub fn active(&self) -> &[Layout] {
        &self.active
    }

    /// The newest layout; None on a node that belongs to no cluster.
    #[must_use]
    pub fn newest(&self) -> Option<&Layout> {
        self.active.last()
    }

    /// What to tell others of this.
    #[must_use]
    pub fn view(&self) -> View {
        let epoch = |layout: Option<&Layout>| layout.map_or(0, Layout::epoch);
        View { oldest: epoch(self.active.first()), reads: self.reads, newest: epoch(self.active.last()) }
    }

    /// Whether one layout is giving way to another.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.active.len() > 1
    }

    /// Every node of any layout in force that is not given up for lost, in order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Whether this is a node of a layout in force, and not given up for lost.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.nodes.binary_search(&node).is_ok()
    }

    /// What is known of such a node.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.active.iter().rev().find_map(|layout| layout.member(node))
    }

    /// The partition of `key`.
    #[must_use]
    pub fn partition(&self, key: &Key) -> Partition {
        Partition::of(key, self.partitions)
    }

    /// All partitions, in order.
    pub fn partitions(&self) -> impl DoubleEndedIterator<Item = Partition> + use<> {
        (0..self.partitions).map(|index| Partition(index as u16))
    }

    /// Who holds `partition`, those of the newest layout first; empty for a partition that does not exist.
    #[must_use]
    pub fn holders(&self, partition: Partition) -> &[NodeId] {
        let place = usize::from(partition.0);
        match (self.starts.get(place), self.starts.get(place + 1)) {
            (Some(&start), Some(&end)) => &self.holders[start as usize..end as usize],
            _ => &[],
        }
    }

    /// Whether `node` holds `partition`.
    #[must_use]
    pub fn holds(&self, node: NodeId, partition: Partition) -> bool {
        self.holders(partition).contains(&node)
    }

    /// The partitions that `node` holds, in order.
    pub fn held_by(&self, node: NodeId) -> impl Iterator<Item = Partition> + '_ {
        self.partitions().filter(move |&partition| self.holds(node, partition))
    }

    /// Who may coordinate a write of `partition`: its primaries in the newest layout.
    #[must_use]
    pub fn coordinators(&self, partition: Partition) -> &[NodeId] {
        self.newest().map_or(&[], |newest| newest.primaries(partition))
    }

    /// Whether the holders of `partition` are not the same in all layouts in force.
    #[must_use]
    pub fn is_moving(&self, partition: Partition) -> bool {
        self.active.windows(2).any(|pair| {
            let (before, after) = (pair[0].primaries(partition), pair[1].primaries(partition));
            before.len() != after.len() || !before.iter().all(|node| after.contains(node))
        })
    }

    /// The quorums that a write with `w` acknowledgements needs among the holders of `partition`: one in each layout.
    #[must_use]
    pub fn write_sets(&self, partition: Partition, w: usize) -> Sets {
        Sets::all(self.active.iter().filter_map(|layout| self.set(layout, partition, w)))
    }

    /// The quorums of which a read with `r` answers needs one: that of the layout which is known to be synced, and that of
    /// the newest. The newest alone may have fewer copies and so a smaller quorum; as long as others may still write under
    /// an older layout without it, no fewer answers will do than there.
    #[must_use]
    pub fn read_sets(&self, partition: Partition, r: usize) -> Sets {
        let relied_on = self.active.iter().filter(|layout| layout.epoch() >= self.reads);
        let sets = relied_on.filter_map(|layout| self.set(layout, partition, r));
        let most = sets.map(|(_, needed)| needed).max().unwrap_or(0);
        let may = |layout: &&Layout| layout.epoch() == self.reads || Some(*layout) == self.active.last();
        let set = |layout: &Layout| {
            let (mask, needed) = self.set(layout, partition, r)?;
            let needed = if layout.epoch() == self.reads { needed } else { most };
            (mask.count_ones() as usize >= needed).then_some((mask, needed))
        };
        Sets::any(self.active.iter().filter(may).filter_map(set))
    }

    /// The holders of `partition` in `layout` as places among all, and how many of them make a quorum of `asked`.
    fn set(&self, layout: &Layout, partition: Partition, asked: usize) -> Option<(u128, usize)> {
        let holders = self.holders(partition);
        let primaries = layout.primaries(partition);
        let place = |node: &NodeId| holders.iter().position(|holder| holder == node);
        let mask = primaries.iter().filter_map(place).fold(0, |mask, place| mask | 1u128 << place);
        // Where R + W is above N it is above what is left, too: both are cut to it at most.
        let needed = asked.min(mask.count_ones() as usize);
        (needed > 0).then_some((mask, needed))
    }

    /// Among whom a replica of `partition` must have caught up before it has all that was ever acknowledged: the holders
    /// in the oldest layout in force, and how many of them, the replica itself counted where it is one and complete.
    #[must_use]
    pub fn sources(&self, config: &Config, partition: Partition) -> (Vec<NodeId>, usize) {
        let Some(oldest) = self.active.first() else { return (Vec::new(), 0) };
        let primaries = oldest.primaries(partition);
        let left = primaries.iter().copied().filter(|node| self.has(*node)).collect();
        // A write is on W of the N: whoever has asked all but W − 1 has met it.
        (left, primaries.len() + 1 - config.w.min(primaries.len()))
    }
}

fn nodes(active: &[Layout]) -> Vec<NodeId> {
    let mut nodes = BTreeSet::new();
    for layout in active {
        for node in layout.gone() {
            nodes.remove(node);
        }
        nodes.extend(layout.members().iter().map(|member| member.id));
    }
    nodes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::id::ClusterId;
    use crate::layout::Change;
    use crate::quorum::{Standing, Tally};

    fn three() -> Layout {
        let members = (1..=3).map(|id| Member::plain(NodeId(id))).collect();
        Layout::first(ClusterId(7), members, 16, 3).expect("a layout")
    }

    fn join(id: u64) -> Change {
        Change::Join(Member::plain(NodeId(id)))
    }

    #[test]
    fn one_layout_has_its_primaries_as_holders_and_one_quorum() {
        let layouts = Layouts::new(alloc::vec![three()], 1);
        for partition in layouts.partitions() {
            assert_eq!(layouts.holders(partition), three().primaries(partition));
            let mut tally = Tally::of(3, layouts.write_sets(partition, 2));
            tally.yes(0);
            assert_eq!(tally.standing(), Standing::Pending);
            tally.yes(2);
            assert_eq!(tally.standing(), Standing::Reached);
        }
    }

    #[test]
    fn a_write_needs_every_layout_and_a_read_one_of_two() {
        let next = three().next(&[join(4)]).expect("a layout");
        let moved = next.held_by(NodeId(4)).next().expect("it holds something");
        let layouts = Layouts::new(alloc::vec![three(), next.clone()], 1);
        let holders = layouts.holders(moved);
        assert_eq!(holders.len(), 4);
        assert_eq!(holders[..3], *next.primaries(moved));
        let only_old = 3;
        let new = holders.iter().position(|&node| node == NodeId(4)).expect("it holds it");
        let kept = (0..3).find(|&place| place != new).expect("another one");
        // One that both have and one of each: two in both layouts.
        let mut write = Tally::of(4, layouts.write_sets(moved, 2));
        write.yes(kept);
        write.yes(only_old);
        assert_eq!(write.standing(), Standing::Pending, "the new layout has one only");
        write.yes(new);
        assert_eq!(write.standing(), Standing::Reached);
        let mut read = Tally::of(4, layouts.read_sets(moved, 2));
        read.yes(kept);
        read.yes(only_old);
        assert_eq!(read.standing(), Standing::Reached, "the old layout is enough");
        let mut read = Tally::of(4, Layouts::new(alloc::vec![three(), next], 2).read_sets(moved, 2));
        read.yes(kept);
        read.yes(only_old);
        assert_eq!(read.standing(), Standing::Pending, "the old layout does not count any more");
    }

    #[test]
    fn a_layout_of_fewer_copies_has_no_smaller_quorum_before_it_is_synced() {
        let next = three().next(&[Change::Leave(NodeId(1))]).expect("a layout");
        let read = |reads, answers: &[usize]| {
            let layouts = Layouts::new(alloc::vec![three(), next.clone()], reads);
            assert_eq!(layouts.holders(Partition(0))[2], NodeId(1), "the one that leaves is last");
            let mut tally = Tally::of(3, layouts.read_sets(Partition(0), 3));
            answers.iter().for_each(|&place| _ = tally.yes(place));
            tally.standing()
        };
        // With R = 3 and W = 1 a write may be on the one that leaves alone, which has not heard of the new layout yet.
        assert_eq!(read(1, &[0, 1]), Standing::Pending);
        assert_eq!(read(1, &[0, 1, 2]), Standing::Reached);
        assert_eq!(read(2, &[0, 1]), Standing::Reached);
    }

    #[test]
    fn who_is_given_up_for_lost_holds_nothing_and_is_not_awaited() {
        let next = three().next(&[Change::Remove { node: NodeId(2), force: false }]).expect("a layout");
        let layouts = Layouts::new(alloc::vec![three(), next], 1);
        assert_eq!(layouts.nodes(), [NodeId(1), NodeId(3)]);
        for partition in layouts.partitions() {
            assert!(!layouts.holds(NodeId(2), partition));
            let mut all = Tally::of(2, layouts.write_sets(partition, 3));
            all.yes(0);
            all.yes(1);
            assert_eq!(all.standing(), Standing::Reached);
            let config = Settings::new(NodeId(1), Vec::new()).check().expect("valid");
            let (sources, needed) = layouts.sources(&config, partition);
            assert_eq!((sources.len(), needed), (2, 2));
        }
        // Who comes back under its name is a member again.
        let again = layouts.newest().expect("a layout").next(&[join(2)]).expect("a layout");
        let active = layouts.active().iter().cloned().chain([again]).collect();
        assert!(Layouts::new(active, 1).has(NodeId(2)));
    }

    #[test]
    fn a_partition_that_does_not_exist_has_no_holders() {
        assert!(Layouts::new(alloc::vec![three()], 1).holders(Partition(16)).is_empty());
        assert!(Layouts::none(16).holders(Partition(0)).is_empty());
    }
}
