//! Which nodes hold which partition: layouts, one after the other.
//!
//! A layout is an *epoch* of the cluster: its members and, for each partition, the nodes that hold a copy, in order of
//! preference. It is a pure function of the layout before it and of what was changed, so that every node that computes
//! the next one computes the same (`assign`). A layout names the one before it by its hash. Which layout follows is
//! decided elsewhere, once and for all; while one is giving way to the next both are in force, and [`active`] says what
//! that means for reads and writes.

pub mod active;
mod assign;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use self::assign::{Previous, Seat, assign, rank};
use crate::config::{MEMBERS_MAX, WEIGHT_MAX};
use crate::id::{ClusterId, Life, NodeId};
use crate::key::{Key, Partition};

/// A node that belongs to a cluster, and what placement and connections need to know of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The hash of its name.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where other nodes reach it; the driver's affair.
    pub address: String,
    /// Its zone: copies of a partition are spread over as many zones as there are. Empty is a zone like any other.
    pub zone: String,
    /// Its share of the load beside the others', 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// The first life over its store when it came to belong to the cluster; nobody's when that is not known. Over the
    /// same store it has forgotten nothing.
    pub store: Life,
}

impl Member {
    /// A member without an address, in the nameless zone, with the usual weight.
    #[must_use]
    pub fn plain(id: NodeId) -> Self {
        Self {
            id,
            name: format!("{id}"),
            address: String::new(),
            zone: String::new(),
            weight: 100,
            store: Life::default(),
        }
    }
}

/// One change to who belongs to a cluster, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node that is in no cluster is taken in.
    Join(Member),
    /// A member gives up what it holds, once others have all of it.
    Leave(NodeId),
    /// A member is given up for lost: nobody waits for it any more, and what only it had is gone.
    Remove {
        /// Which.
        node: NodeId,
        /// Although it may have the last copy of something.
        force: bool,
    },
    /// A new node takes the place of a member that is given up for lost.
    Replace {
        /// Which.
        old: NodeId,
        /// By whom.
        new: Member,
        /// Although the old one may have the last copy of something.
        force: bool,
    },
    /// A member has another address, zone or weight.
    Set(Member),
}

impl Change {
    /// The node that is changed.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        match self {
            Self::Join(member) | Self::Set(member) => member.id,
            Self::Leave(node) | Self::Remove { node, .. } | Self::Replace { old: node, .. } => *node,
        }
    }
}

/// Why changes make no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Nothing would change.
    #[error("nothing is staged: stage a join, a leave, a removal or a replacement first")]
    Nothing,
    /// The name is in use.
    #[error("{0} is a member already: a node that joins needs a name of its own")]
    Taken(String),
    /// There is no such member.
    #[error("{0} is not a member: `godown cluster status` lists the members")]
    Unknown(NodeId),
    /// Nobody would be left.
    #[error("no member would be left")]
    Empty,
    /// Too many.
    #[error("there would be {0} members; at most {MEMBERS_MAX} may be")]
    Members(usize),
    /// Out of range.
    #[error("the weight of {0} is {1}; it must be between 1 and {WEIGHT_MAX}")]
    Weight(String, u32),
    /// All copies of something would be given up.
    #[error(
        "{partitions} partitions have copies on no other node than those to be removed: start one of these again, or \
         let it leave; to give their data up, force the removal"
    )]
    LastCopy {
        /// How many.
        partitions: usize,
    },
}

/// One epoch of a cluster. Copies share it: they are as good as free, and so is comparing them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    plan: Arc<Plan>,
    hash: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Plan {
    cluster: ClusterId,
    epoch: u64,
    previous: u64,
    /// In order of their ids.
    members: Vec<Member>,
    /// Members of the layout before that were given up for lost; in order.
    gone: Vec<NodeId>,
    partitions: u32,
    wanted: usize,
    copies: usize,
    /// `copies` nodes per partition, one partition after the other.
    table: Vec<NodeId>,
}

/// A layout's parts as bytes and messages carry them: unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutParts {
    /// The cluster that it is of.
    pub cluster: ClusterId,
    /// Counted from 1.
    pub epoch: u64,
    /// The hash of the one before; 0 for the first.
    pub previous: u64,
    /// In order of their ids.
    pub members: Vec<Member>,
    /// Members of the one before that were given up for lost.
    pub gone: Vec<NodeId>,
    /// Shares of the key space.
    pub partitions: u32,
    /// Copies wanted of each key.
    pub wanted: usize,
    /// The holders of each partition, one partition after the other, as places in `members`.
    pub table: Vec<u16>,
}

impl Layout {
    /// The first layout of a cluster.
    ///
    /// # Errors
    /// [`LayoutError`]: no member, too many, or one of no weight.
    pub fn first(
        cluster: ClusterId,
        mut members: Vec<Member>,
        partitions: u32,
        wanted: usize,
    ) -> Result<Self, LayoutError> {
        members.sort_unstable();
        members.dedup_by_key(|member| member.id);
        let plan = Plan {
            cluster,
            epoch: 1,
            previous: 0,
            members,
            gone: Vec::new(),
            partitions,
            wanted,
            copies: 0,
            table: Vec::new(),
        };
        plan.placed(None)
    }

    /// The layout of a cluster whose version knows no layouts: a fixed list, placed by rendezvous hashing alone (Thaler
    /// and Ravishankar 1998). A store of such a version goes on with it.
    #[must_use]
    pub fn fixed(nodes: &[NodeId], partitions: u32, wanted: usize) -> Self {
        let mut members: Vec<Member> = nodes.iter().map(|&node| Member::plain(node)).collect();
        members.sort_unstable();
        let copies = wanted.min(members.len());
        let score = |partition: u32, node: NodeId| {
            let mut input = [0; 12];
            input[..4].copy_from_slice(&partition.to_le_bytes());
            input[4..].copy_from_slice(&node.0.to_le_bytes());
            xxh3_64(&input)
        };
        let mut table = Vec::with_capacity(copies * partitions as usize);
        for index in 0..partitions {
            let mut ranked: Vec<(u64, NodeId)> =
                members.iter().map(|member| (score(index, member.id), member.id)).collect();
            ranked.sort_unstable_by(|a, b| b.cmp(a));
            table.extend(ranked.iter().take(copies).map(|&(_, node)| node));
        }
        let mut ids = Vec::with_capacity(members.len() * 8);
        members.iter().for_each(|member| ids.extend_from_slice(&member.id.0.to_le_bytes()));
        let cluster = ClusterId(u128::from(xxh3_64(&ids)));
        let gone = Vec::new();
        Plan { cluster, epoch: 1, previous: 0, members, gone, partitions, wanted, copies, table }.into()
    }

    /// The layout that follows this one when these changes are made.
    ///
    /// # Errors
    /// [`LayoutError`] says why there is none.
    pub fn next(&self, changes: &[Change]) -> Result<Self, LayoutError> {
        if changes.is_empty() {
            return Err(LayoutError::Nothing);
        }
        let mut members: BTreeMap<NodeId, Member> =
            self.plan.members.iter().map(|member| (member.id, member.clone())).collect();
        let mut gone = BTreeSet::new();
        let mut forced = true;
        let mut seats: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        let join = |members: &mut BTreeMap<NodeId, Member>, member: &Member| match members
            .insert(member.id, member.clone())
        {
            None => Ok(()),
            Some(_) => Err(LayoutError::Taken(member.name.clone())),
        };
        for change in changes {
            let known = members.contains_key(&change.node()) || matches!(change, Change::Join(_));
            if !known {
                return Err(LayoutError::Unknown(change.node()));
            }
            match change {
                Change::Join(member) => join(&mut members, member)?,
                Change::Leave(node) => _ = members.remove(node),
                Change::Remove { node, force } => {
                    forced &= force;
                    members.remove(node);
                    gone.insert(*node);
                }
                Change::Replace { old, new, force } => {
                    forced &= force;
                    join(&mut members, new)?;
                    members.remove(old);
                    gone.insert(*old);
                    seats.insert(*old, new.id);
                }
                Change::Set(member) => {
                    let store = members[&member.id].store;
                    members.insert(member.id, Member { store, ..member.clone() });
                }
            }
        }
        let is_lost =
            |partition: &Partition| self.primaries(*partition).iter().all(|node| gone.contains(node));
        let lost = self.partitions().filter(is_lost).count();
        if lost > 0 && !forced {
            return Err(LayoutError::LastCopy { partitions: lost });
        }
        let next = Plan {
            cluster: self.plan.cluster,
            epoch: self.plan.epoch + 1,
            previous: self.hash(),
            members: members.into_values().collect(),
            gone: gone.into_iter().collect(),
            partitions: self.plan.partitions,
            wanted: self.plan.wanted,
            copies: 0,
            table: Vec::new(),
        };
        let seated: Vec<NodeId> =
            self.plan.table.iter().map(|node| seats.get(node).copied().unwrap_or(*node)).collect();
        next.placed(Some(Previous { table: &seated, copies: self.plan.copies }))
    }

    /// A layout of these parts, if they are one.
    #[must_use]
    pub fn from_parts(parts: LayoutParts) -> Option<Self> {
        let LayoutParts { cluster, epoch, previous, members, gone, partitions, wanted, table } = parts;
        let is_sorted = members.windows(2).all(|pair| pair[0].id < pair[1].id);
        let fits = partitions.is_power_of_two()
            && partitions <= 1 << 16
            && (1..=MEMBERS_MAX).contains(&members.len())
            && wanted > 0
            && epoch > 0
            && members.iter().all(|member| (1..=WEIGHT_MAX).contains(&member.weight));
        let copies = wanted.min(members.len());
        if !is_sorted || !fits || table.len() != copies * partitions as usize {
            return None;
        }
        let table: Option<Vec<NodeId>> =
            table.into_iter().map(|place| members.get(usize::from(place)).map(|member| member.id)).collect();
        let table = table?;
        let is_distinct =
            |nodes: &[NodeId]| nodes.iter().enumerate().all(|(place, node)| !nodes[..place].contains(node));
        let plan = Plan { cluster, epoch, previous, members, gone, partitions, wanted, copies, table };
        plan.table.chunks(copies).all(is_distinct).then(|| plan.into())
    }

    /// The parts that make this layout.
    #[must_use]
    pub fn to_parts(&self) -> LayoutParts {
        let place = |node: &NodeId| {
            let found = self.plan.members.binary_search_by_key(node, |member| member.id);
            found.expect("tables name members") as u16
        };
        LayoutParts {
            cluster: self.plan.cluster,
            epoch: self.plan.epoch,
            previous: self.plan.previous,
            members: self.plan.members.clone(),
            gone: self.plan.gone.clone(),
            partitions: self.plan.partitions,
            wanted: self.plan.wanted,
            table: self.plan.table.iter().map(place).collect(),
        }
    }

    /// A fingerprint of everything in it: two layouts of one hash are one.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The cluster that it is of.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.plan.cluster
    }

    /// Which of the cluster's layouts this is, counted from 1.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.plan.epoch
    }

    /// The hash of the layout before it; 0 for the first.
    #[must_use]
    pub fn previous(&self) -> u64 {
        self.plan.previous
    }

    /// Shares of the key space.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        self.plan.partitions
    }

    /// The members, in order of their ids.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.plan.members
    }

    /// A member.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.plan
            .members
            .binary_search_by_key(&node, |member| member.id)
            .ok()
            .map(|place| &self.plan.members[place])
    }

    /// Members of the layout before that were given up for lost.
    #[must_use]
    pub fn gone(&self) -> &[NodeId] {
        &self.plan.gone
    }

    /// Copies of each key: as many as wanted, or as there are members.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.plan.copies
    }

    /// Copies wanted of each key.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.plan.wanted
    }

    /// The partition of `key`.
    #[must_use]
    pub fn partition(&self, key: &Key) -> Partition {
        Partition::of(key, self.plan.partitions)
    }

    /// The primaries of `partition`, the preferred one first; empty for a partition that does not exist.
    #[must_use]
    pub fn primaries(&self, partition: Partition) -> &[NodeId] {
        let start = partition.0 as usize * self.plan.copies;
        self.plan.table.get(start..start + self.plan.copies).unwrap_or(&[])
    }

    /// The other members in the order in which they stand in for primaries of `partition` that cannot be reached.
    #[must_use]
    pub fn stand_ins(&self, partition: Partition) -> Vec<NodeId> {
        let primaries = self.primaries(partition);
        let mut order = rank(u32::from(partition.0), &self.plan.seats());
        order.retain(|node| !primaries.contains(node));
        order
    }

    /// Whether `node` holds `partition`.
    #[must_use]
    pub fn holds(&self, node: NodeId, partition: Partition) -> bool {
        self.primaries(partition).contains(&node)
    }

    /// All partitions, in order.
    pub fn partitions(&self) -> impl DoubleEndedIterator<Item = Partition> + use<> {
        (0..self.plan.partitions).map(|index| Partition(index as u16))
    }

    /// The partitions that `node` holds, in order.
    pub fn held_by(&self, node: NodeId) -> impl Iterator<Item = Partition> + '_ {
        self.partitions().filter(move |&partition| self.holds(node, partition))
    }

    /// What each node gains and loses on the way from this layout to `next`, and what it holds then.
    #[must_use]
    pub fn moves(&self, next: &Self) -> Vec<Moves> {
        let nodes: BTreeSet<NodeId> =
            self.plan.members.iter().chain(&next.plan.members).map(|member| member.id).collect();
        let moves = |node: NodeId| {
            let before: BTreeSet<Partition> = self.held_by(node).collect();
            let after: BTreeSet<Partition> = next.held_by(node).collect();
            Moves {
                node,
                gained: after.difference(&before).count(),
                lost: before.difference(&after).count(),
                holds: after.len(),
            }
        };
        nodes.into_iter().map(moves).collect()
    }
}

impl Plan {
    fn placed(mut self, previous: Option<Previous<'_>>) -> Result<Layout, LayoutError> {
        if self.members.is_empty() {
            return Err(LayoutError::Empty);
        }
        if self.members.len() > MEMBERS_MAX {
            return Err(LayoutError::Members(self.members.len()));
        }
        let is_wrong = |member: &&Member| !(1..=WEIGHT_MAX).contains(&member.weight);
        if let Some(member) = self.members.iter().find(is_wrong) {
            return Err(LayoutError::Weight(member.name.clone(), member.weight));
        }
        self.copies = self.wanted.min(self.members.len());
        self.table = assign(self.partitions, self.copies, &self.seats(), previous);
        Ok(self.into())
    }

    fn seats(&self) -> Vec<Seat> {
        let zones: BTreeSet<&String> = self.members.iter().map(|member| &member.zone).collect();
        let zones: BTreeMap<&String, u32> = zones.into_iter().zip(0..).collect();
        let seat =
            |member: &Member| Seat { node: member.id, zone: zones[&member.zone], weight: member.weight };
        self.members.iter().map(seat).collect()
    }

    fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        let mut text = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        for member in &self.members {
            text(&member.name);
            text(&member.address);
            text(&member.zone);
        }
        for member in &self.members {
            hash.update(&member.id.0.to_le_bytes());
            hash.update(&member.weight.to_le_bytes());
            hash.update(&member.store.0.to_le_bytes());
        }
        hash.update(&self.cluster.0.to_le_bytes());
        for number in [self.epoch, self.previous, u64::from(self.partitions), self.wanted as u64] {
            hash.update(&number.to_le_bytes());
        }
        for node in self.gone.iter().chain(&self.table) {
            hash.update(&node.0.to_le_bytes());
        }
        hash.digest()
    }
}

impl From<Plan> for Layout {
    fn from(plan: Plan) -> Self {
        Self { hash: plan.hash(), plan: Arc::new(plan) }
    }
}

/// What a change of layout means for one node, in partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves {
    /// The node.
    pub node: NodeId,
    /// Copies that it gets.
    pub gained: usize,
    /// Copies that it gives up.
    pub lost: usize,
    /// Copies that it has then.
    pub holds: usize,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    fn members(ids: impl IntoIterator<Item = u64>) -> Vec<Member> {
        ids.into_iter().map(|id| Member::plain(NodeId(id))).collect()
    }

    fn first(count: u64) -> Layout {
        Layout::first(ClusterId(7), members(1..=count), 256, 3).expect("a layout")
    }

    #[test]
    fn every_partition_has_its_copies_on_distinct_members() {
        for count in 1..=9 {
            let layout = first(count);
            for partition in layout.partitions() {
                let nodes: BTreeSet<NodeId> = layout.primaries(partition).iter().copied().collect();
                assert_eq!(nodes.len(), count.min(3) as usize);
                let mut all = layout.primaries(partition).to_vec();
                all.extend(layout.stand_ins(partition));
                all.sort_unstable();
                assert_eq!(all, (1..=count).map(NodeId).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_partition_that_does_not_exist_has_no_primaries() {
        assert!(first(3).primaries(Partition(256)).is_empty());
    }

    #[test]
    fn a_layout_is_the_same_after_its_parts_and_none_is_made_of_wrong_ones() {
        let layout = first(5).next(&[Change::Remove { node: NodeId(2), force: false }]).expect("a layout");
        assert_eq!(Layout::from_parts(layout.to_parts()).expect("the same"), layout);
        let wrong = |change: fn(&mut LayoutParts)| {
            let mut parts = layout.to_parts();
            change(&mut parts);
            Layout::from_parts(parts)
        };
        assert_eq!(wrong(|parts| parts.partitions = 255), None);
        assert_eq!(wrong(|parts| parts.partitions = 128), None);
        assert_eq!(wrong(|parts| parts.members.swap(0, 1)), None);
        assert_eq!(wrong(|parts| parts.members.clear()), None);
        assert_eq!(wrong(|parts| parts.table[0] = 4), None);
        assert_eq!(wrong(|parts| parts.table[0] = parts.table[1]), None);
        assert_eq!(wrong(|parts| parts.members[0].weight = 0), None);
        assert_eq!(wrong(|parts| parts.epoch = 0), None);
    }

    #[test]
    fn everything_in_a_layout_changes_its_hash() {
        let layout = first(4);
        let changed = |change: fn(&mut LayoutParts)| {
            let mut parts = layout.to_parts();
            change(&mut parts);
            Layout::from_parts(parts).expect("a layout").hash()
        };
        let mut hashes = vec![
            layout.hash(),
            changed(|parts| parts.cluster = ClusterId(8)),
            changed(|parts| parts.epoch = 2),
            changed(|parts| parts.previous = 1),
            changed(|parts| parts.gone = vec![NodeId(9)]),
            changed(|parts| parts.members[0].address = "a".into()),
            changed(|parts| parts.members[0].zone = "a".into()),
            changed(|parts| parts.members[0].name = "a".into()),
            changed(|parts| parts.members[0].weight = 7),
            changed(|parts| parts.members[0].store = Life(7)),
            changed(|parts| parts.table.swap(0, 1)),
        ];
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }

    #[test]
    fn what_makes_no_layout_is_refused_with_the_reason() {
        let layout = first(3);
        let join = |id| Change::Join(Member::plain(NodeId(id)));
        let remove = |id, force| Change::Remove { node: NodeId(id), force };
        let all = [
            remove(1, false),
            remove(2, false),
            Change::Replace { old: NodeId(3), new: Member::plain(NodeId(4)), force: false },
        ];
        let light = Change::Join(Member { weight: 0, ..Member::plain(NodeId(4)) });
        let cases = [
            (vec![], "nothing is staged"),
            (vec![join(2)], "is a member already"),
            (vec![Change::Leave(NodeId(9))], "is not a member"),
            (all.to_vec(), "copies on no other node"),
            (vec![light], "the weight"),
            ([1, 2, 3].map(|id| Change::Leave(NodeId(id))).to_vec(), "no member would be left"),
        ];
        for (changes, words) in cases {
            let error = layout.next(&changes).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(layout.next(&[remove(1, true), remove(2, true)]).is_ok());
    }

    #[test]
    fn a_replacement_takes_exactly_the_place_of_the_one_that_is_gone() {
        let layout = first(5);
        let new = Member::plain(NodeId(77));
        let next = layout.next(&[Change::Replace { old: NodeId(2), new, force: false }]).expect("a layout");
        let moved: usize = layout.moves(&next).iter().map(|moves| moves.gained).sum();
        assert_eq!(moved, layout.held_by(NodeId(2)).count());
        assert_eq!(next.gone(), [NodeId(2)]);
        assert_eq!(next.previous(), layout.hash());
    }
}
