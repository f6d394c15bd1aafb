//! A read sees every write that was acknowledged before it began, when their quorums overlap.
//!
//! If R replicas answer a read and W had a write on disk, and R + W > N, then one of them is the same, and the read
//! shows the write or something that has replaced it. The end of a run cannot show whether that held: by then
//! anti-entropy has brought every replica what it lacked. So each read is judged by itself. It has joined some set of operations:
//! those that must be in it (acknowledged before it began, quorums overlapping; and what it shows), and any of those
//! whose outcome was open. Nothing that it shows may have been replaced by something that must be in it, and
//! everything that must be in it is shown, or replaced by something that may be. What may be in it is found from the
//! youngest operation down, since only younger ones replace older ones.

use super::{Check, Failure};
use crate::record::{Act, End, Op, Record};
use crate::scenario::{Scenario, span};

/// Sets of a key's writes and deletes, by their place in the order of invocation: rows of bits.
#[derive(Clone)]
struct Sets {
    words: usize,
    bits: Vec<u64>,
}

impl Sets {
    fn new(words: usize) -> Self {
        let bits = Vec::new();
        Self { words, bits }
    }

    fn row(&self, row: usize) -> &[u64] {
        &self.bits[row * self.words..(row + 1) * self.words]
    }

    /// Adds a set: the members, and everything in their sets.
    fn add_above(&mut self, members: impl Iterator<Item = usize>) {
        let start = self.bits.len();
        self.bits.resize(start + self.words, 0);
        let (below, new) = self.bits.split_at_mut(start);
        for member in members {
            new[member / 64] |= 1 << (member % 64);
            let set = &below[member * self.words..(member + 1) * self.words];
            join(new, set);
        }
    }
}

fn join(into: &mut [u64], other: &[u64]) {
    for (into, other) in into.iter_mut().zip(other) {
        *into |= other;
    }
}

fn has(set: &[u64], member: usize) -> bool {
    set[member / 64] >> (member % 64) & 1 == 1
}

fn meets(one: &[u64], other: &[u64]) -> bool {
    one.iter().zip(other).any(|(one, other)| one & other != 0)
}

/// Judges every read of a run.
#[must_use]
pub fn check(scenario: &Scenario, record: &Record) -> Option<Failure> {
    (0..scenario.keys.len()).find_map(|key| {
        let of_key = || record.ops().iter().filter(|op| op.key == key);
        let changes: Vec<&Op> = of_key().filter(|op| op.act != Act::Read).collect();
        let reads = of_key().filter(|op| op.act == Act::Read && op.end == End::Ok);
        judge_key(scenario, &changes, reads)
    })
}

fn judge_key<'a>(
    scenario: &Scenario,
    changes: &[&Op],
    reads: impl Iterator<Item = &'a Op>,
) -> Option<Failure> {
    let words = changes.len().div_ceil(64);
    // Identities rise with the order of invocation.
    let place = |id: &u64| changes.binary_search_by_key(id, |op| op.id).ok();
    let mut seen = Sets::new(words);
    for change in changes {
        seen.add_above(change.seen.iter().filter_map(place));
    }
    let (mut shown, mut replaced) = (vec![0; words], vec![0; words]);
    for read in reads {
        shown.fill(0);
        for member in read.shown.iter().filter_map(place) {
            shown[member / 64] |= 1 << (member % 64);
        }
        replaced.fill(0);
        for (member, change) in changes.iter().enumerate().rev() {
            let is_out = change.invoked > read.completed || matches!(change.end, End::Fail(_));
            if is_out {
                continue;
            }
            let is_shown = has(&shown, member);
            let is_acknowledged = change.end == End::Ok && change.completed < read.invoked;
            let must_be_in = is_acknowledged && change.quorum + read.quorum > scenario.replicas;
            let replaces_shown = meets(seen.row(member), &shown);
            let is_hidden = change.act == Act::Delete || is_shown || has(&replaced, member);
            if must_be_in && (replaces_shown || !is_hidden) {
                return Some(stale(scenario, read, change, replaces_shown));
            }
            let may_be_in = must_be_in || is_shown || (is_hidden && !replaces_shown);
            if may_be_in {
                join(&mut replaced, seen.row(member));
            }
        }
    }
    None
}

fn stale(scenario: &Scenario, read: &Op, change: &Op, replaces_shown: bool) -> Failure {
    let says = format!(
        "process {} read k{} at {} from {} of {} replicas and was shown {:?}, {} {} {}, which {} had on disk at {}",
        read.process,
        scenario.keys[read.key],
        span(read.at_ns),
        read.quorum,
        scenario.replicas,
        read.shown,
        if replaces_shown { "some of it replaced by" } else { "without" },
        change.act.name(),
        change.id,
        change.quorum,
        span(change.ended_ns),
    );
    Failure::new(Check::Fresh, says)
}
