//! A read sees every write that was acknowledged before it began, when their quorums overlap.
//!
//! If R replicas answer a read and W had a write on disk, and R + W > N, then one of them is the same, and the read
//! shows the write or something that has replaced it. The end of a run cannot show whether that held: by then
//! anti-entropy has brought every replica what it lacked. So each read is judged by itself. It has joined some set of operations:
//! those that must be in it (acknowledged before it began, quorums overlapping; and what it shows), and any of those
//! whose outcome was open. Nothing that it shows may have been replaced by something that must be in it, and
//! everything that must be in it is shown, or replaced by something that may be. A node whose disk goes back to an earlier
//! state may answer from there before anybody notices; it takes one replica off every overlap, and so does each that may
//! have caught up with it. What may be in it is found from the
//! youngest operation down, since only younger ones replace older ones. A value whose time may be over may be missing;
//! what it had replaced must be missing, too.

use super::{Check, Failure, expired};
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
    if scenario.sloppy {
        // A write may be with stand-ins that a later read does not ask.
        return None;
    }
    // A node that answers from its past, or has caught up with one that did, counts as one that was not there.
    let replicas = scenario.replicas + scenario.unsure();
    let dues = expired::dues(scenario, record);
    (0..record.keys().len()).find_map(|key| {
        let of_key = || record.ops().iter().filter(|op| op.key == key);
        let changes: Vec<&Op> = of_key().filter(|op| op.act != Act::Read).collect();
        let reads = of_key().filter(|op| op.act == Act::Read && op.end == End::Ok);
        let gone_ns = expired::early(&dues, record, &changes);
        judge_key(replicas, &changes, &gone_ns, reads).map(|stale| stale.tell(scenario, record))
    })
}

/// A read, and what it should have seen.
struct Stale<'a> {
    read: &'a Op,
    change: &'a Op,
    replaces_shown: bool,
}

fn judge_key<'a>(
    replicas: usize,
    changes: &[&'a Op],
    gone_ns: &[u64],
    reads: impl Iterator<Item = &'a Op>,
) -> Option<Stale<'a>> {
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
            let overlaps = change.quorum + read.quorum > replicas;
            let must_be_in = is_shown || (is_acknowledged && overlaps);
            let replaces_shown = meets(seen.row(member), &shown);
            let is_gone = gone_ns[member] <= read.ended_ns;
            let is_hidden = change.act == Act::Delete || is_shown || is_gone || has(&replaced, member);
            if must_be_in && (replaces_shown || !is_hidden) {
                return Some(Stale { read, change, replaces_shown });
            }
            let may_be_in = must_be_in || (is_hidden && !replaces_shown);
            if may_be_in {
                join(&mut replaced, seen.row(member));
            }
        }
    }
    None
}

impl Stale<'_> {
    fn tell(&self, scenario: &Scenario, record: &Record) -> Failure {
        let Self { read, change, replaces_shown } = self;
        let says = format!(
            "process {} read {} at {} from {} of {} replicas and was shown {:?}, {} {} {}, which {} had on disk at {}",
            read.process,
            record.key_name(read.key),
            span(read.at_ns),
            read.quorum,
            scenario.replicas,
            read.shown,
            if *replaces_shown { "some of it replaced by" } else { "without" },
            change.act.name(),
            change.id,
            change.quorum,
            span(change.ended_ns),
        );
        let place = |op: &Op| record.ops().binary_search_by_key(&op.invoked, |op| op.invoked).ok();
        let ops = [place(change), place(read)].into_iter().flatten().collect();
        Failure::new(Check::Fresh, says).on(&[read.node]).about(record.keys()[read.key], ops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// A write or delete that was invoked at `id` and completed at `completed`.
    fn change(act: Act, id: u64, seen: &[u64], quorum: usize, completed: usize, end: End) -> Op {
        Op {
            session: 0,
            process: id,
            act,
            key: 0,
            node: 0,
            id,
            seen: seen.to_vec(),
            quorum,
            ttl_ns: None,
            at_ns: 0,
            ended_ns: 0,
            invoked: usize::try_from(id).expect("small"),
            completed,
            end,
            shown: Vec::new(),
        }
    }

    /// A read that lasted from 100 to 200.
    fn read(quorum: usize, shown: &[u64]) -> Op {
        Op { invoked: 100, shown: shown.to_vec(), ..change(Act::Read, 0, &[], quorum, 200, End::Ok) }
    }

    /// The operations of `gone` may have expired.
    fn is_fresh_without(changes: &[Op], gone: &[u64], read: &Op) -> bool {
        let changes: Vec<&Op> = changes.iter().collect();
        let gone_ns = |op: &&Op| if gone.contains(&op.id) { read.ended_ns } else { u64::MAX };
        let gone_ns: Vec<u64> = changes.iter().map(gone_ns).collect();
        judge_key(3, &changes, &gone_ns, std::iter::once(read)).is_none()
    }

    fn is_fresh(changes: &[Op], read: &Op) -> bool {
        is_fresh_without(changes, &[], read)
    }

    #[test]
    fn a_read_must_show_what_its_quorum_overlaps() {
        let write = |quorum, completed| [change(Act::Write, 1, &[], quorum, completed, End::Ok)];
        assert!(!is_fresh(&write(2, 50), &read(2, &[])));
        assert!(is_fresh(&write(2, 50), &read(2, &[1])));
        assert!(is_fresh(&write(2, 50), &read(1, &[])), "1 + 2 replicas need not overlap");
        assert!(is_fresh(&write(2, 150), &read(2, &[])), "it was acknowledged during the read");
        let unknown = [change(Act::Write, 1, &[], 2, 50, End::Unknown(None))];
        assert!(is_fresh(&unknown, &read(3, &[])) && is_fresh(&unknown, &read(3, &[1])));
    }

    #[test]
    fn only_what_may_have_happened_explains_an_absence() {
        let with = |act, seen: &[u64], end: End| {
            [
                change(Act::Write, 1, &[], 2, 50, End::Ok),
                change(Act::Write, 2, &[], 2, 50, End::Ok),
                change(act, 3, seen, 2, 60, end),
            ]
        };
        let unknown = || End::Unknown(None);
        assert!(is_fresh(&with(Act::Delete, &[1], unknown()), &read(2, &[2])));
        assert!(!is_fresh(&with(Act::Delete, &[1], unknown()), &read(2, &[1])), "2 is missing");
        assert!(!is_fresh(&with(Act::Delete, &[1, 2], unknown()), &read(2, &[2])), "it would have removed 2");
        assert!(!is_fresh(&with(Act::Write, &[1], unknown()), &read(2, &[2])), "3 would be shown");
        assert!(is_fresh(&with(Act::Write, &[1], unknown()), &read(2, &[2, 3])));
        let refused = End::Fail(godown_core::message::Failure::KeyEmpty);
        assert!(!is_fresh(&with(Act::Delete, &[1], refused), &read(2, &[2])));
    }

    #[test]
    fn what_an_overlapping_write_replaced_must_not_be_shown() {
        let changes =
            [change(Act::Write, 1, &[], 1, 50, End::Ok), change(Act::Delete, 2, &[1], 2, 60, End::Ok)];
        assert!(!is_fresh(&changes, &read(2, &[1])));
        assert!(is_fresh(&changes, &read(1, &[1])));
    }

    #[test]
    fn what_has_expired_may_be_missing_and_so_must_be_what_it_replaced() {
        let changes =
            [change(Act::Write, 1, &[], 2, 50, End::Ok), change(Act::Write, 2, &[1], 2, 60, End::Ok)];
        assert!(!is_fresh(&changes, &read(2, &[])));
        assert!(is_fresh_without(&changes, &[2], &read(2, &[])));
        assert!(is_fresh_without(&changes, &[2], &read(2, &[2])), "nobody has to be in time");
        assert!(!is_fresh_without(&changes, &[2], &read(2, &[1])));
        assert!(!is_fresh_without(&changes, &[1], &read(2, &[])));
    }

    /// The rule, word for word: tries every set of operations that the read may have joined.
    fn by_definition(changes: &[Op], gone: &[u64], read: &Op) -> bool {
        let count = changes.len();
        let mut replaces = vec![vec![false; count]; count];
        for upper in 0..count {
            for seen in &changes[upper].seen {
                let lower = changes.iter().position(|op| op.id == *seen).expect("it is there");
                replaces[upper][lower] = true;
                let below = replaces[lower].clone();
                replaces[upper].iter_mut().zip(below).for_each(|(upper, lower)| *upper |= lower);
            }
        }
        (0u32..1 << count).any(|set| {
            let is_in = |n: usize| set >> n & 1 == 1;
            let fits = (0..count).all(|n| {
                let op = &changes[n];
                let overlaps = op.quorum + read.quorum > 3;
                let must = op.end == End::Ok && op.completed < read.invoked && overlaps;
                let must_not = matches!(op.end, End::Fail(_)) || op.invoked > read.completed;
                (is_in(n) || !must) && !(is_in(n) && must_not)
            });
            let is_left = |n: usize| {
                let is_replaced = (0..count).any(|upper| is_in(upper) && replaces[upper][n]);
                is_in(n) && changes[n].act == Act::Write && !is_replaced
            };
            let left: Vec<u64> = (0..count).filter(|n| is_left(*n)).map(|n| changes[n].id).collect();
            let has_expired = |id: &u64| gone.contains(id) && !read.shown.contains(id);
            fits && left.into_iter().filter(|id| !has_expired(id)).collect::<Vec<_>>() == read.shown
        })
    }

    #[test]
    fn the_rule_agrees_with_trying_every_set() {
        let mut rng = Rng::stream(1, "fresh");
        let mut verdicts = [0u32; 2];
        for round in 0..30_000 {
            let count = rng.between(1, 7);
            let mut changes: Vec<Op> = Vec::new();
            for id in 1..=count {
                let act = if rng.chance(300) { Act::Delete } else { Act::Write };
                let end = match rng.below(10) {
                    0 => End::Fail(godown_core::message::Failure::KeyEmpty),
                    1..5 => End::Unknown(None),
                    _ => End::Ok,
                };
                let visible = changes.iter().filter(|op| !matches!(op.end, End::Fail(_)));
                let ids: Vec<u64> = visible.map(|op| op.id).collect();
                let seen: Vec<u64> = ids.into_iter().filter(|_| rng.chance(400)).collect();
                let completed = *rng.pick(&[50, 50, 50, 150]);
                let quorum = usize::try_from(rng.between(1, 3)).expect("small");
                changes.push(change(act, id, &seen, quorum, completed, end));
            }
            let shown: Vec<u64> =
                changes.iter().filter(|op| op.act == Act::Write && rng.chance(300)).map(|op| op.id).collect();
            // What was refused is another check's affair.
            let is_refused = |op: &Op| matches!(op.end, End::Fail(_)) && shown.contains(&op.id);
            if changes.iter().any(is_refused) {
                continue;
            }
            let read = read(usize::try_from(rng.between(1, 3)).expect("small"), &shown);
            let writes = changes.iter().filter(|op| op.act == Act::Write).map(|op| op.id);
            let gone: Vec<u64> = writes.filter(|_| round % 2 == 1 && rng.chance(300)).collect();
            let expected = by_definition(&changes, &gone, &read);
            let judged = is_fresh_without(&changes, &gone, &read);
            assert_eq!(judged, expected, "round {round}: {changes:#?} {gone:?} {shown:?}");
            verdicts[usize::from(expected)] += 1;
        }
        assert!(verdicts.iter().all(|count| *count > 4_000), "one-sided: {verdicts:?}");
    }
}
