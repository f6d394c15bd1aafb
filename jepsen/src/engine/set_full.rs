//! What became of every element of a set: the quality report of Jepsen's `set-full`.
//!
//! For each element: when it was known to be in the set (its add or the first read that shows it returned), the
//! latest read that shows it and the latest that lacks it. From these follow whether it is stable, lost, or was never
//! read, and how long that took. This describes and does not decide: what it calls lost or stale certainly is, but
//! orders of reads that contradict each other it does not see; `set` does. As in Jepsen, an element counts from
//! the invocation of its last add, reads count by their invocation, and latencies are whole milliseconds. Takes time
//! proportional to all that the reads show: the elements that all later reads show are kept in one list, and each
//! read walks over it once, taking away what it lacks.

use super::set::{Add, Read};

/// What became of an element. All fields are positions of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// The invocation of its last add.
    pub(crate) begun: u32,
    /// The first return of its add or of a read that shows it.
    pub(crate) known: Option<u32>,
    /// The latest invocation of a read that shows it.
    pub(crate) last_present: Option<u32>,
    /// The latest invocation of a read that lacks it and returned after the add was invoked.
    pub(crate) last_absent: Option<u32>,
}

/// The three ways in which an element can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From some time on every read shows it.
    Stable,
    /// It was known to be there, and from some time on no read shows it.
    Lost,
    /// No read could tell.
    NeverRead,
}

impl Fate {
    /// How it ended.
    pub(crate) fn outcome(&self) -> Outcome {
        match (self.last_present, self.last_absent) {
            (Some(present), absent) if absent.is_none_or(|absent| absent < present) => Outcome::Stable,
            (_, Some(absent)) if self.known.is_some_and(|known| known < absent) => Outcome::Lost,
            _ => Outcome::NeverRead,
        }
    }

    /// How many milliseconds after it was known it became stable or lost, by the clock of the events; none without a
    /// clock, and for what was never read.
    pub(crate) fn latency_ms(&self, time_ns: impl Fn(u32) -> Option<u64>) -> Option<u64> {
        const NS_PER_MS: u64 = 1_000_000;
        let last = match self.outcome() {
            Outcome::Stable => self.last_absent,
            Outcome::Lost => self.last_present,
            Outcome::NeverRead => return None,
        };
        let known = time_ns(self.known?)?;
        let ended = match last {
            Some(last) => time_ns(last)?.saturating_add(1),
            None => 0,
        };
        Some(ended.saturating_sub(known) / NS_PER_MS)
    }

    /// Whether it became stable only some time after it was known: by the clock of the events a millisecond or more,
    /// without a clock whenever a read that began later lacks it.
    pub(crate) fn is_stale(&self, time_ns: impl Fn(u32) -> Option<u64>) -> bool {
        self.outcome() == Outcome::Stable
            && match self.latency_ms(time_ns) {
                Some(latency_ms) => latency_ms > 0,
                None => self.known < self.last_absent,
            }
    }
}

/// The fate of each of `elements` numbered elements; none of those that are never added. Here `returned` of an add
/// says that it certainly took effect; refused adds are among those without.
pub(crate) fn fates(elements: usize, adds: &[Add], reads: &[Read<'_>]) -> Vec<Option<Fate>> {
    let mut fates: Vec<Option<Fate>> = vec![None; elements];
    for add in adds {
        let fate = &mut fates[add.element as usize];
        if fate.is_none_or(|fate| fate.begun < add.invoked) {
            *fate = Some(Fate { begun: add.invoked, known: None, last_present: None, last_absent: None });
        }
    }
    for add in adds {
        if let (Some(fate), Some(returned)) = (&mut fates[add.element as usize], add.returned) {
            fate.learn(returned);
        }
    }
    let mut by_begin: Vec<(u32, u32)> =
        (0u32..).zip(&fates).filter_map(|(element, fate)| Some((fate.as_ref()?.begun, element))).collect();
    by_begin.sort_unstable();
    let mut latest_first: Vec<u32> = (0u32..).take(reads.len()).collect();
    latest_first.sort_unstable_by_key(|read| std::cmp::Reverse(reads[*read as usize].invoked));
    // What all later reads show, of what was begun before the read at hand; the last begun at the end.
    let mut shown_since = by_begin.clone();
    let mut shown_last: Vec<u32> = vec![u32::MAX; elements];
    for number in latest_first {
        let read = &reads[number as usize];
        for element in read.shown {
            shown_last[*element as usize] = number;
            if let Some(fate) = &mut fates[*element as usize] {
                fate.see(read);
            }
        }
        while shown_since.pop_if(|(begun, _)| *begun > read.invoked).is_some() {}
        shown_since.retain(|(_, element)| {
            let is_shown = shown_last[*element as usize] == number;
            if !is_shown && let Some(fate) = &mut fates[*element as usize] {
                fate.last_absent = Some(read.invoked);
            }
            is_shown
        });
        // What was begun while the read was under way.
        let from = by_begin.partition_point(|(begun, _)| *begun < read.invoked);
        for (_, element) in by_begin[from..].iter().take_while(|(begun, _)| *begun < read.returned) {
            if shown_last[*element as usize] != number
                && let Some(fate) = &mut fates[*element as usize]
            {
                fate.last_absent = fate.last_absent.or(Some(read.invoked));
            }
        }
    }
    fates
}

impl Fate {
    /// Something that certainly saw or made the element returned.
    fn learn(&mut self, returned: u32) {
        if returned > self.begun && self.known.is_none_or(|known| returned < known) {
            self.known = Some(returned);
        }
    }

    /// A read shows the element; reads that were invoked later went before.
    fn see(&mut self, read: &Read<'_>) {
        if read.returned > self.begun {
            self.learn(read.returned);
            self.last_present = self.last_present.or(Some(read.invoked));
        }
    }
}

/// The elements that some read shows more than once, in order, and how often at most.
pub(crate) fn repeated(elements: usize, reads: &[Read<'_>]) -> Vec<(u32, u32)> {
    let mut shown_last: Vec<u32> = vec![u32::MAX; elements];
    let mut found: Vec<(u32, u32)> = Vec::new();
    for (number, read) in (0u32..).zip(reads) {
        let repeats = read
            .shown
            .iter()
            .filter(|element| std::mem::replace(&mut shown_last[**element as usize], number) == number);
        let mut repeats: Vec<u32> = repeats.copied().collect();
        repeats.sort_unstable();
        found.extend(repeats.chunk_by(|a, b| a == b).map(|chunk| (chunk[0], chunk.len() as u32 + 1)));
    }
    found.sort_unstable();
    let most = found.chunk_by(|a, b| a.0 == b.0);
    most.filter_map(|chunk| chunk.last().copied()).collect()
}

/// The quantiles that a report gives.
pub(crate) const QUANTILES: [f64; 5] = [0.0, 0.5, 0.95, 0.99, 1.0];

/// The values at these quantiles; none of no values.
pub(crate) fn quantiles(mut values: Vec<u64>) -> Option<[u64; 5]> {
    values.sort_unstable();
    let last = values.len().checked_sub(1)?;
    // As in Jepsen: the value at the place that is this part of the count, rounded down.
    Some(QUANTILES.map(|quantile| values[last.min((values.len() as f64 * quantile) as usize)]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::random::{Random, rounds};
    use super::*;

    /// Walks over the events in order and tells every known element of every read, as the definition says.
    fn by_definition(adds: &[Add], reads: &[Read<'_>]) -> BTreeMap<u32, Fate> {
        let mut fates: BTreeMap<u32, Fate> = BTreeMap::new();
        for position in 0..100 {
            for add in adds {
                if add.invoked == position {
                    let fate = Fate { begun: position, known: None, last_present: None, last_absent: None };
                    fates.insert(add.element, fate);
                }
                if add.returned == Some(position) {
                    let fate = fates.get_mut(&add.element).unwrap();
                    fate.known = fate.known.or(Some(position));
                }
            }
            for read in reads.iter().filter(|read| read.returned == position) {
                for (element, fate) in &mut fates {
                    if read.shown.contains(element) {
                        fate.known = fate.known.or(Some(position));
                        fate.last_present = fate.last_present.max(Some(read.invoked));
                    } else {
                        fate.last_absent = fate.last_absent.max(Some(read.invoked));
                    }
                }
            }
        }
        fates
    }

    /// What a read shows, and its positions.
    type Answer = (Vec<u32>, u32, u32);

    /// Calls with distinct positions below 100 and answers of any kind.
    fn random_calls(random: &mut Random) -> (Vec<Add>, Vec<Answer>) {
        let count = 1 + random.below(14);
        let spread = 2 + random.below(12);
        let mut positions: Vec<u32> = (0..100).collect();
        let mut adds = Vec::new();
        let mut reads = Vec::new();
        for call in 0..count {
            let mut take = |from: u32| {
                let at = positions.iter().position(|position| *position >= from).unwrap_or(0);
                positions.remove((at + random.below(spread) as usize).min(positions.len() - 1))
            };
            let (one, other) = (take(call * 4), take(call * 4));
            let (invoked, returned) = (one.min(other), one.max(other));
            let element = random.below(6);
            if random.percent(50) {
                adds.push(Add { element, invoked, returned: Some(returned).filter(|_| random.percent(80)) });
            } else {
                let shown = (0..6).filter(|_| random.percent(70)).collect();
                reads.push((shown, invoked, returned));
            }
        }
        (adds, reads)
    }

    #[test]
    fn fates_are_what_telling_every_element_of_every_read_finds() {
        let seed = 0x5e7_f001;
        let mut random = Random(seed);
        let mut outcomes = [0u32; 3];
        for round in 0..rounds(150_000) {
            let (adds, reads) = random_calls(&mut random);
            let reads: Vec<Read<'_>> = reads
                .iter()
                .map(|(shown, invoked, returned)| Read { shown, invoked: *invoked, returned: *returned })
                .collect();
            let found: BTreeMap<u32, Fate> = (0u32..)
                .zip(fates(6, &adds, &reads))
                .filter_map(|(element, fate)| Some((element, fate?)))
                .collect();
            let expected = by_definition(&adds, &reads);
            assert_eq!(found, expected, "seed {seed:#x} round {round}: {adds:#?} {reads:#?}");
            for fate in found.values() {
                outcomes[fate.outcome() as usize] += 1;
            }
        }
        assert!(outcomes.iter().all(|count| *count > rounds(150_000) / 5), "{outcomes:?}");
    }

    #[test]
    fn an_element_is_lost_only_if_it_was_known_when_the_last_read_without_it_began() {
        let add = Add { element: 0, invoked: 1, returned: Some(4) };
        let fate = |reads: &[Read<'_>]| fates(1, &[add], reads)[0].unwrap();
        let read = |shown, invoked, returned| Read { shown, invoked, returned };
        assert_eq!(fate(&[read(&[], 3, 5)]).outcome(), Outcome::NeverRead);
        assert_eq!(fate(&[read(&[], 5, 6)]).outcome(), Outcome::Lost);
        assert_eq!(fate(&[read(&[], 5, 6), read(&[0], 7, 8)]).outcome(), Outcome::Stable);
        assert_eq!(fate(&[read(&[0], 2, 3), read(&[], 5, 6)]).outcome(), Outcome::Lost);
        assert_eq!(fate(&[]).outcome(), Outcome::NeverRead);
    }

    #[test]
    fn latencies_run_from_when_it_was_known_to_just_after_the_last_read_of_the_other_sort() {
        let add = Add { element: 0, invoked: 1, returned: Some(4) };
        let clock = |position: u32| Some(u64::from(position) * 1_000_000);
        let fate = |reads: &[Read<'_>]| fates(1, &[add], reads)[0].unwrap();
        let read = |shown, invoked, returned| Read { shown, invoked, returned };
        let stale = fate(&[read(&[], 7, 8), read(&[0], 9, 10)]);
        assert_eq!((stale.latency_ms(clock), stale.is_stale(clock)), (Some(3), true));
        assert_eq!((stale.latency_ms(|_| None), stale.is_stale(|_| None)), (None, true));
        let stable = fate(&[read(&[], 2, 8), read(&[0], 9, 10)]);
        assert_eq!((stable.latency_ms(clock), stable.is_stale(clock)), (Some(0), false));
        assert!(!stable.is_stale(|_| None));
        let lost = fate(&[read(&[0], 9, 10), read(&[], 11, 12)]);
        assert_eq!((lost.latency_ms(clock), lost.is_stale(clock)), (Some(5), false));
        assert_eq!(fate(&[]).latency_ms(clock), None);
    }

    #[test]
    fn what_a_read_shows_twice_is_counted_by_the_worst_read() {
        let read = |shown| Read { shown, invoked: 0, returned: 1 };
        let reads = [read(&[3, 1, 3, 0, 3, 1]), read(&[1, 1]), read(&[2, 0])];
        assert_eq!(repeated(4, &reads), [(1, 2), (3, 3)]);
        assert_eq!(repeated(4, &reads[2..]), []);
    }

    #[test]
    fn quantiles_are_values_that_occur() {
        assert_eq!(quantiles(vec![]), None);
        assert_eq!(quantiles(vec![7]), Some([7; 5]));
        assert_eq!(quantiles((0..100).rev().collect()), Some([0, 50, 95, 99, 99]));
    }
}
