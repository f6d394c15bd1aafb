//! The world comes to rest: within a bound after the last fault nothing is left to do.
//!
//! A system that loses nothing because it does nothing would pass every other rule. At rest every call has been
//! answered, every node is up, answers reads for all its partitions and has nothing in flight, no log row left to
//! drop and no object left to strip. Where anti-entropy comes round too seldom to be met, only the calls and the
//! nodes' being ready count.

use godown_core::node::Node;

use crate::scenario::Scenario;

/// What keeps a node from being at rest, in words; None when it is.
#[must_use]
pub fn unrest(scenario: &Scenario, node: Option<&Node>) -> Option<&'static str> {
    let Some(node) = node else { return Some("is down") };
    if node.is_fenced() {
        Some("is fenced: it found another node with its identity")
    } else if !node.is_ready() {
        Some("does not answer reads for all its partitions")
    } else if !scenario.leaves_repair_to_reads() && !node.is_quiet() {
        Some("still has something in flight, to drop or to strip")
    } else {
        None
    }
}
