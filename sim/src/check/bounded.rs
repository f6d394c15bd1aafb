//! No key holds more siblings than its coordinators could have let in.
//!
//! A coordinator refuses a write to a key that holds as many siblings as it may. Cut off from each other, each of a key's
//! replicas may let in that many, and what all of them join to is never more: of what a coordinator let in nothing is
//! visible there that is not visible at the coordinator itself. So reads from all replicas are judged; one that has not
//! heard what was replaced may show more. A node that loses its disk forgets what it has let in, so runs that lose
//! disks are not judged.

use super::{Check, Failure};
use crate::record::{Act, End, Op, Record};
use crate::scenario::{Scenario, span};

/// Judges every read of a run.
#[must_use]
pub fn check(scenario: &Scenario, record: &Record) -> Option<Failure> {
    // Stand-ins let siblings in, too, and so did those that held the key before.
    let is_wide = scenario.sloppy || scenario.changes_members();
    let coordinators = if is_wide { scenario.nodes() } else { scenario.replicas };
    let most = coordinators * scenario.siblings_max;
    let is_judged = |op: &Op| op.act == Act::Read && op.end == End::Ok && op.quorum >= scenario.replicas;
    let mut reads = record.ops().iter().enumerate().filter(|(_, op)| is_judged(op));
    let (place, read) = reads.find(|(_, op)| op.shown.len() > most)?;
    if !scenario.losers().is_empty() {
        return None;
    }
    let says = format!(
        "{} was read at {} and showed {} siblings; its {} coordinators may let in {} each",
        record.key_name(read.key),
        span(read.at_ns),
        read.shown.len(),
        coordinators,
        scenario.siblings_max
    );
    Some(Failure::new(Check::Bounded, says).on(&[read.node]).about(record.keys()[read.key], vec![place]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_siblings_as_all_replicas_let_in_and_no_more() {
        let scenario = Scenario { siblings_max: 2, ..Scenario::plain() };
        let judge = |quorum: usize, siblings: u64| {
            let mut record = Record::new(vec![1]);
            let op = Op {
                session: 0,
                process: 0,
                act: Act::Read,
                key: 0,
                node: 0,
                id: 0,
                seen: Vec::new(),
                quorum,
                ttl_ns: None,
                at_ns: 0,
                ended_ns: 0,
                invoked: 0,
                completed: 0,
                end: End::Open,
                shown: Vec::new(),
            };
            let op = record.invoke(op);
            record.complete(op, 1, End::Ok, (0..siblings).collect());
            check(&scenario, &record).map(|failure| failure.ops)
        };
        assert_eq!((judge(3, 6), judge(3, 7)), (None, Some(vec![0])));
        assert_eq!(judge(2, 7), None, "the third may know that some were replaced");
    }
}
