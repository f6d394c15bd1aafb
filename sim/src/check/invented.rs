//! Nothing is read or listed that nobody wrote.
//!
//! What a read shows must be the value of a write to the same key that had been called by then and was not certainly
//! refused. A listed key must have been written by then. Damage that slips through a checksum, a row taken for another's,
//! a value given out twice over under a wrong name: all of it ends here.

use std::collections::BTreeMap;

use super::{Check, Failure};
use crate::record::{Act, End, Op, Record};
use crate::scenario::{Scenario, span};

/// Judges every read and every listing of a run.
#[must_use]
pub fn check(record: &Record) -> Option<Failure> {
    let writes: BTreeMap<u64, &Op> =
        record.ops().iter().filter(|op| op.act == Act::Write).map(|op| (op.id, op)).collect();
    let may_show = |read: &Op, id: &u64| {
        writes.get(id).is_some_and(|write| {
            write.key == read.key && write.invoked < read.completed && !matches!(write.end, End::Fail(_))
        })
    };
    let reads = record.ops().iter().enumerate().filter(|(_, op)| op.act == Act::Read && op.end == End::Ok);
    for (place, read) in reads {
        if let Some(id) = read.shown.iter().find(|id| !may_show(read, id)) {
            let key = record.key_name(read.key);
            let says = format!(
                "process {} read {key} at {} and was shown {id}, which nobody had written to it",
                read.process,
                span(read.at_ns)
            );
            let failure = Failure::new(Check::Invented, says).on(&[read.node]);
            return Some(failure.about(record.keys()[read.key], vec![place]));
        }
    }
    record.listings().iter().find_map(|listing| {
        let had = |number: u32| {
            writes.values().any(|op| record.keys()[op.key] == number && op.invoked < listing.completed)
        };
        let is_known = |key: &&godown_core::key::Key| {
            record.keys().iter().any(|number| Scenario::key(*number) == **key && had(*number))
        };
        let unknown = listing.keys.iter().find(|key| !is_known(key))?;
        let says = format!(
            "n{} listed {unknown} at {}, which nobody had written",
            listing.node + 1,
            span(listing.at_ns)
        );
        Some(Failure::new(Check::Invented, says).on(&[listing.node]))
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godown_core::key::Key;
    use godown_core::message::Failure as Why;

    use super::*;
    use crate::record::Listing;

    fn op(act: Act, key: usize, id: u64) -> Op {
        Op {
            session: 0,
            process: 0,
            act,
            key,
            node: 0,
            id,
            seen: Vec::new(),
            quorum: 1,
            ttl_ns: None,
            at_ns: 0,
            ended_ns: 0,
            invoked: 0,
            completed: 0,
            end: End::Open,
            shown: Vec::new(),
        }
    }

    /// A write of 1 to the first of two keys that ends so, then a read that shows this.
    fn judge(end: End, key: usize, shown: u64) -> bool {
        let mut record = Record::new(vec![3, 5]);
        let write = record.invoke(op(Act::Write, 0, 1));
        record.complete(write, 1, end, Vec::new());
        let read = record.invoke(op(Act::Read, key, 0));
        record.complete(read, 2, End::Ok, vec![shown]);
        check(&record).is_none()
    }

    #[test]
    fn a_read_shows_only_what_was_written_to_its_key() {
        assert!(judge(End::Ok, 0, 1) && judge(End::Unknown(None), 0, 1));
        assert!(!judge(End::Ok, 1, 1), "another key's");
        assert!(!judge(End::Ok, 0, 2), "nobody's");
        assert!(!judge(End::Fail(Why::KeyEmpty), 0, 1), "it was refused");
    }

    #[test]
    fn a_listing_shows_only_keys_that_were_written() {
        let listed = |name: &'static str| {
            let mut record = Record::new(vec![3, 5]);
            record.invoke(op(Act::Write, 0, 1));
            let keys = vec![Key(Bytes::from_static(name.as_bytes()))];
            record.listed(Listing { node: 0, at_ns: 1, completed: record.events(), keys });
            check(&record).is_none()
        };
        assert!(listed("k3") && !listed("k5") && !listed("k4"));
    }
}
