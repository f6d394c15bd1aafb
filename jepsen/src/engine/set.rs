//! Whether a set that only grows, and whose reads show all of it, behaves like one copy.
//!
//! Exact, in time proportional to all that the reads show. The reads of one set form a chain: of two reads the larger
//! shows all that the smaller one shows, or the two saw elements arrive in contradictory orders. So the reads, sorted by
//! size, are the levels of the set's growth; an element belongs to the first level that shows it, its adds before that
//! level's reads and after those of the level below, and the adds of elements never shown after all reads. What
//! is left is whether real time allows that order (`order`). An element may be added several times: the add that began
//! first is the one that may have brought it, and none may take effect before a read that lacks it.
//! Adds that never returned are optional. Elements are numbered, and a read's place in the chain is found by counting,
//! so nothing is kept per read and only a few words per element.

use super::order::Layout;

/// An add that may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Add {
    /// What it adds.
    pub(crate) element: u32,
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its return; none if it may take effect at any later time or never.
    pub(crate) returned: Option<u32>,
}

/// A read of the whole set that returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read<'a> {
    /// What it shows, in any order. Reads that show the same may share it, and then cost nothing.
    pub(crate) shown: &'a [u32],
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its return.
    pub(crate) returned: u32,
}

/// A call by its place in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// One of the adds.
    Add(u32),
    /// One of the reads.
    Read(u32),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// There is an order that explains every read.
    Linearizable,
    /// A read shows an element that nobody adds.
    Invented {
        /// The read, by its place in the input.
        read: u32,
        /// The element.
        element: u32,
    },
    /// A read shows an element twice.
    Repeated {
        /// The read, by its place in the input.
        read: u32,
        /// The element.
        element: u32,
    },
    /// Each of two reads shows an element that the other lacks.
    Contradictory {
        /// The two reads, by their places in the input.
        reads: [u32; 2],
        /// What only the first shows, and what only the second shows.
        elements: [u32; 2],
    },
    /// One call must have taken effect before another that had returned before it was invoked.
    Disordered {
        /// The call that must come first.
        first: Call,
        /// The call that returned before the first was invoked.
        second: Call,
        /// If both are adds, a read that shows the element of the first and not that of the second.
        shown_by: Option<u32>,
    },
}

const NONE: u32 = u32::MAX;

/// Decides whether adds and reads of `elements` numbered elements, beginning with the empty set, can be put in an order
/// that explains what every read shows.
pub(crate) fn decide(elements: usize, adds: &[Add], reads: &[Read<'_>]) -> Decision {
    match Levels::new(elements, adds, reads) {
        Ok(levels) => levels.decide(adds, reads),
        Err(decision) => decision,
    }
}

/// The levels of the set's growth.
struct Levels {
    /// The reads by what they show, the smallest first.
    reads: Vec<u32>,
    /// Where the reads of each level begin; one more at the end.
    begins: Vec<u32>,
    /// The first level that shows each element, or `NONE`.
    of_element: Vec<u32>,
    /// The add of each element that began first, or `NONE`.
    earliest_add: Vec<u32>,
}

impl Levels {
    fn new(elements: usize, adds: &[Add], reads: &[Read<'_>]) -> Result<Self, Decision> {
        let mut order: Vec<u32> = (0u32..).take(reads.len()).collect();
        order.sort_unstable_by_key(|read| (reads[*read as usize].shown.len(), *read));
        let mut levels = Levels {
            reads: order,
            begins: Vec::new(),
            of_element: vec![NONE; elements],
            earliest_add: earliest_adds(elements, adds),
        };
        let mut shown_last: Vec<u32> = vec![NONE; elements];
        let mut previous: Option<u32> = None;
        for (place, read) in (0u32..).zip(&levels.reads) {
            let shown = reads[*read as usize].shown;
            if previous.is_some_and(|previous| std::ptr::eq(reads[previous as usize].shown, shown)) {
                // What was found to be a level a moment ago still is one.
                continue;
            }
            let level = levels.begins.len() as u32;
            let mut fresh = 0;
            for element in shown {
                let number = *element as usize;
                if levels.earliest_add[number] == NONE {
                    return Err(Decision::Invented { read: *read, element: *element });
                }
                if shown_last[number] == *read {
                    return Err(Decision::Repeated { read: *read, element: *element });
                }
                shown_last[number] = *read;
                if levels.of_element[number] == NONE {
                    levels.of_element[number] = level;
                    fresh += 1;
                }
            }
            let below = previous.map_or(&[][..], |previous| reads[previous as usize].shown);
            // Exactly the elements below had a level, each once: the read shows all of them if it shows as many.
            if shown.len() - fresh < below.len() {
                let missed = below.iter().find(|element| shown_last[**element as usize] != *read);
                let gained = shown.iter().find(|element| levels.of_element[**element as usize] == level);
                if let (Some(previous), Some(missed), Some(gained)) = (previous, missed, gained) {
                    return Err(Decision::Contradictory {
                        reads: [previous, *read],
                        elements: [*missed, *gained],
                    });
                }
            }
            if fresh > 0 || previous.is_none() {
                levels.begins.push(place);
            }
            previous = Some(*read);
        }
        levels.begins.push(reads.len() as u32);
        Ok(levels)
    }

    /// Lays all calls out, level by level.
    fn decide(&self, adds: &[Add], reads: &[Read<'_>]) -> Decision {
        let (adds_by_level, begins) = self.adds_by_level(adds);
        let mut layout = Layout::new();
        let obstacle = |layout: &Layout<Call>, returned: Option<u32>| layout.obstacle(returned?);
        for level in 0..begins.len() - 1 {
            let its_adds = &adds_by_level[begins[level] as usize..begins[level + 1] as usize];
            for add in its_adds {
                if let Some(first) = obstacle(&layout, adds[*add as usize].returned) {
                    return self.disordered(first, Call::Add(*add), adds);
                }
            }
            if level + 1 == self.begins.len() {
                // The adds of elements that no read shows.
                break;
            }
            for add in its_adds {
                if self.earliest_add[adds[*add as usize].element as usize] == *add {
                    layout.lay(Call::Add(*add), adds[*add as usize].invoked);
                }
            }
            let its_reads = &self.reads[self.begins[level] as usize..self.begins[level + 1] as usize];
            for read in its_reads {
                if let Some(first) = layout.obstacle(reads[*read as usize].returned) {
                    return self.disordered(first, Call::Read(*read), adds);
                }
            }
            for read in its_reads {
                layout.lay(Call::Read(*read), reads[*read as usize].invoked);
            }
        }
        Decision::Linearizable
    }

    /// The adds by the level of their element, those of elements never shown last; and where each level's begin.
    fn adds_by_level(&self, adds: &[Add]) -> (Vec<u32>, Vec<u32>) {
        let unseen = self.begins.len() - 1;
        let level_of = |add: &Add| match self.of_element[add.element as usize] {
            NONE => unseen,
            level => level as usize,
        };
        let mut ends = vec![0u32; unseen + 2];
        for add in adds {
            ends[level_of(add) + 1] += 1;
        }
        for level in 1..ends.len() {
            ends[level] += ends[level - 1];
        }
        let begins = ends.clone();
        let mut sorted = vec![0u32; adds.len()];
        for (number, add) in (0u32..).zip(adds) {
            let next = &mut ends[level_of(add)];
            sorted[*next as usize] = number;
            *next += 1;
        }
        (sorted, begins)
    }

    fn disordered(&self, first: Call, second: Call, adds: &[Add]) -> Decision {
        let shown_by = match (first, second) {
            (Call::Add(first), Call::Add(_)) => {
                let level = self.of_element[adds[first as usize].element as usize];
                Some(self.reads[self.begins[level as usize] as usize])
            }
            _ => None,
        };
        Decision::Disordered { first, second, shown_by }
    }
}

fn earliest_adds(elements: usize, adds: &[Add]) -> Vec<u32> {
    let mut earliest = vec![NONE; elements];
    for (number, add) in (0u32..).zip(adds) {
        let slot = &mut earliest[add.element as usize];
        if *slot == NONE || add.invoked < adds[*slot as usize].invoked {
            *slot = number;
        }
    }
    earliest
}

#[cfg(test)]
mod tests {
    use super::super::random::{Random, rounds};
    use super::*;

    /// Tries every order, as the definition of linearizability says. Adds come first in the numbering.
    fn brute_force(adds: &[Add], reads: &[Read<'_>]) -> bool {
        fn go(adds: &[Add], reads: &[Read<'_>], left: u32, set: u32) -> bool {
            let is_left = |i: usize| left >> i & 1 == 1;
            let returns =
                adds.iter().map(|add| add.returned).chain(reads.iter().map(|read| Some(read.returned)));
            let invokes = adds.iter().map(|add| add.invoked).chain(reads.iter().map(|read| read.invoked));
            let due = returns.enumerate().filter(|(i, _)| is_left(*i)).filter_map(|(_, at)| at).min();
            let Some(due) = due else { return true };
            invokes.enumerate().filter(|(i, at)| is_left(*i) && *at < due).any(|(i, _)| {
                let rest = left & !(1 << i);
                match i.checked_sub(adds.len()) {
                    None => go(adds, reads, rest, set | 1 << adds[i].element),
                    Some(read) => {
                        let shown = reads[read].shown;
                        let as_set = shown.iter().fold(0, |set, element| set | 1 << element);
                        as_set == set
                            && shown.len() == set.count_ones() as usize
                            && go(adds, reads, rest, set)
                    }
                }
            })
        }
        go(adds, reads, (1 << (adds.len() + reads.len())) - 1, 0)
    }

    /// A few clients of a real set; some answers are then falsified.
    struct Sample {
        adds: Vec<Add>,
        reads: Vec<(Vec<u32>, u32, u32)>,
    }

    impl Sample {
        fn random(random: &mut Random) -> Self {
            let clients = 1 + random.below(4) as usize;
            let elements = 1 + random.below(4);
            let count = 1 + random.below(9);
            let crash_percent = [0, 20, 50][random.below(3) as usize];
            let lie_percent = [0, 10, 40][random.below(3) as usize];
            let mut sample = Sample { adds: Vec::new(), reads: Vec::new() };
            let mut set: Vec<u32> = Vec::new();
            // What each client has open: an add or a read, by number; and whether it took effect.
            let mut open: Vec<Option<(Call, bool)>> = vec![None; clients];
            let mut begun = 0;
            let mut position = 0;
            while begun < count || open.iter().any(Option::is_some) {
                position += 1;
                let acting = random.below(clients as u32) as usize;
                if let Some((call, has_effect @ false)) = &mut open[acting] {
                    *has_effect = true;
                    match *call {
                        Call::Add(add) => {
                            let element = sample.adds[add as usize].element;
                            if !set.contains(&element) {
                                set.push(element);
                            }
                        }
                        Call::Read(read) => sample.reads[read as usize].0 = set.clone(),
                    }
                }
                let client = random.below(clients as u32) as usize;
                match open[client] {
                    None if begun < count => {
                        begun += 1;
                        let call = if random.below(2) == 0 {
                            let element = random.below(elements);
                            sample.adds.push(Add { element, invoked: position, returned: None });
                            Call::Add(sample.adds.len() as u32 - 1)
                        } else {
                            sample.reads.push((Vec::new(), position, 0));
                            Call::Read(sample.reads.len() as u32 - 1)
                        };
                        open[client] = Some((call, false));
                    }
                    Some((Call::Add(add), has_effect)) => {
                        if random.below(100) < crash_percent {
                            open[client] = None;
                        } else if has_effect {
                            sample.adds[add as usize].returned = Some(position);
                            open[client] = None;
                        }
                    }
                    Some((Call::Read(read), true)) => {
                        let (shown, _, returned) = &mut sample.reads[read as usize];
                        *returned = position;
                        open[client] = None;
                        if random.below(100) < lie_percent {
                            match (random.below(4), shown.len()) {
                                (0, 1..) => drop(shown.remove(random.below(shown.len() as u32) as usize)),
                                (1, 2..) => drop(shown.remove(0)),
                                (2, 1..) => shown[0] = random.below(elements),
                                _ => shown.push(random.below(elements)),
                            }
                        }
                    }
                    _ => {}
                }
            }
            sample
        }

        /// The reads; those that show the same in the same order share it.
        fn reads(&self) -> Vec<Read<'_>> {
            let reads = self.reads.iter().map(|(shown, invoked, returned)| {
                let first = self.reads.iter().find(|(other, ..)| other == shown);
                let shown = first.map_or(shown, |(first, ..)| first);
                Read { shown, invoked: *invoked, returned: *returned }
            });
            reads.collect()
        }
    }

    /// The sample with only the obligations that a decision names: other reads left out, other adds optional.
    fn is_reason(decision: Decision, adds: &[Add], reads: &[Read<'_>]) -> bool {
        let named: Vec<Call> = match decision {
            Decision::Linearizable => return false,
            Decision::Invented { read, .. } | Decision::Repeated { read, .. } => vec![Call::Read(read)],
            Decision::Contradictory { reads: [a, b], elements: [x, y] } => {
                let shows = |read: u32, element| reads[read as usize].shown.contains(&element);
                if !shows(a, x) || shows(a, y) || shows(b, x) || !shows(b, y) {
                    return false;
                }
                vec![Call::Read(a), Call::Read(b)]
            }
            Decision::Disordered { first, second, shown_by } => {
                [first, second].into_iter().chain(shown_by.map(Call::Read)).collect()
            }
        };
        let adds: Vec<Add> = (0u32..)
            .zip(adds)
            .map(|(i, add)| Add { returned: add.returned.filter(|_| named.contains(&Call::Add(i))), ..*add })
            .collect();
        let kept = (0u32..).zip(reads).filter(|(i, _)| named.contains(&Call::Read(*i)));
        let kept: Vec<Read<'_>> = kept.map(|(_, read)| *read).collect();
        !brute_force(&adds, &kept)
    }

    #[test]
    fn levels_agree_with_trying_every_order_and_name_a_reason() {
        let seed = 0x5e7_0001;
        let mut random = Random(seed);
        let mut verdicts = [0u32; 2];
        let mut kinds = [0u32; 6];
        for round in 0..rounds(150_000) {
            let sample = Sample::random(&mut random);
            let reads = sample.reads();
            let decision = decide(4, &sample.adds, &reads);
            let expected = brute_force(&sample.adds, &reads);
            let told = || format!("seed {seed:#x} round {round}: {decision:?} {:#?} {reads:#?}", sample.adds);
            assert_eq!(decision == Decision::Linearizable, expected, "{}", told());
            assert!(expected || is_reason(decision, &sample.adds, &reads), "{}", told());
            verdicts[usize::from(expected)] += 1;
            kinds[match decision {
                Decision::Linearizable => 0,
                Decision::Invented { .. } => 1,
                Decision::Repeated { .. } => 2,
                Decision::Contradictory { .. } => 3,
                Decision::Disordered { shown_by: None, .. } => 4,
                Decision::Disordered { shown_by: Some(_), .. } => 5,
            }] += 1;
        }
        let rounds = rounds(150_000);
        assert!(verdicts.iter().all(|count| *count > rounds / 5), "one-sided: {verdicts:?}");
        assert!(kinds.iter().all(|count| *count > rounds / 2_000), "{kinds:?}");
    }

    #[test]
    fn an_add_that_returned_before_another_began_is_not_shown_later_than_it() {
        let adds = [
            Add { element: 0, invoked: 1, returned: Some(2) },
            Add { element: 1, invoked: 3, returned: Some(8) },
        ];
        let reads = [Read { shown: &[1], invoked: 0, returned: 9 }];
        let decision = decide(2, &adds, &reads);
        let expected = Decision::Disordered { first: Call::Add(1), second: Call::Add(0), shown_by: Some(0) };
        assert_eq!(decision, expected);
    }
}
