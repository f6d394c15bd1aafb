//! The world comes to rest: within a bound after the last fault nothing is left to do.
//!
//! A system that loses nothing because it does nothing would pass every other rule. At rest every call has been
//! answered, every node is up, answers reads for all its partitions and has nothing in flight, no log row left to
//! drop and no object left to strip. Where anti-entropy comes round too seldom to be met, only the calls and the
//! nodes' being ready count. A dot that died with the one disk that it was on leaves a gap that nobody may close: what
//! cannot be dropped or stripped because of such a gap does not count either.

use godown_core::causal::Clock;
use godown_core::id::Life;
use godown_core::key::Partition;
use godown_core::layout::Layout;
use godown_core::node::Node;

use crate::disk::Disk;
use crate::scenario::{Scenario, node_id};

/// What keeps a node from being at rest, in words; None when it is. `lost` are lives whose disks were lost.
#[must_use]
pub fn unrest(
    scenario: &Scenario,
    lost: &[Life],
    layout: Option<&Layout>,
    place: usize,
    disk: &Disk,
    node: Option<&Node>,
) -> Option<String> {
    let Some(node) = node else { return Some("is down".to_owned()) };
    let is_member = layout.is_some_and(|layout| layout.member(node_id(place)).is_some());
    if !is_member && !node.is_fenced() {
        // It waits to be taken in, or has left: then it has nothing left to do, and nothing left at all.
        let is_waiting = node.layouts().newest().is_none();
        let knows = node.layouts().newest().map(Layout::epoch) == layout.map(Layout::epoch);
        return if is_waiting || knows {
            node.unrest_beside(|_| false).filter(|_| !is_waiting)
        } else {
            Some("has not heard that it is not a member any more".to_owned())
        };
    }
    if node.is_fenced() {
        Some("is fenced: it found another node with its identity".to_owned())
    } else if !node.is_ready() {
        let why = node.unready().unwrap_or_default();
        Some(format!("does not answer reads for all its partitions: {why}"))
    } else if scenario.leaves_repair_to_reads() {
        None
    } else {
        // A lost life's dot that others have seen and nobody has: below others in a clock, or in a context at rest.
        let leaves_gap = |partition| {
            let clock = node.clock(partition).map(Clock::as_context);
            let has_gap = |life: &Life| clock.is_some_and(|seen| seen.base(*life) < seen.highest(*life));
            lost.iter().any(has_gap) || remembers(disk, partition, lost)
        };
        node.unrest_beside(leaves_gap).map(|why| format!("is not at rest: {why}"))
    }
}

/// Whether an object of the partition remembers a dot of these lives that its clock does not imply.
fn remembers(disk: &Disk, partition: Partition, lives: &[Life]) -> bool {
    if lives.is_empty() {
        return false;
    }
    let objects = disk.objects();
    let mut objects = objects.between(partition, partition).filter_map(|(_, _, object)| object.ok());
    objects.any(|object| object.context.actors().any(|actor| lives.contains(&actor)))
}
