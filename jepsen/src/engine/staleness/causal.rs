//! What reads of siblings missed, when every operation says what its session's context had seen.
//!
//! Elements are writes and deletes; each names the elements that it had seen, and covers those and all that they
//! had seen. Whoever knows an element knows all that it covers. A read shows the writes that it knows and that
//! nothing it knows covers. So what a read may have known is the largest set that is closed under "had seen" and
//! shows what the read showed: the shown writes and all that they cover, and every delete that may have happened
//! and covers nothing that is shown, with all that it covers. (That set is the union of all that would do, so it is
//! exact.) What had settled before the read began and is not in it, the read *missed*; deletes can be missed, too:
//! when a read shows what they cover.
//!
//! Real time decides only what had settled; which of two writes is newer is decided by what was seen, never by
//! clocks. A read that misses nothing is recognised by walking from the newest elements down to those that are
//! common, as version control finds what one branch has and another has not; a budget of steps bounds the rest.

use std::collections::BinaryHeap;

/// A write or a delete that was not refused. Elements stand in order of invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its acknowledgement; none if it may have taken effect at any later time or never.
    pub(crate) returned: Option<u32>,
    /// Whether it shows nothing.
    pub(crate) is_delete: bool,
    /// What it had seen, by place; each stands before it.
    pub(crate) seen: Vec<u32>,
}

/// A read that returned. Reads stand in order of invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its return.
    pub(crate) returned: u32,
    /// The writes that it showed, by place; all began before it returned.
    pub(crate) shown: Vec<u32>,
}

/// How far one read lags behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lag {
    /// How many elements it certainly missed.
    pub(crate) missed: u32,
    /// Of those the one that had settled first, by its place.
    pub(crate) first: Option<u32>,
    /// The element that settled last before the read began, by its place.
    pub(crate) latest: Option<u32>,
}

/// An element that has not settled.
pub(crate) use super::NEVER;

/// The position since which each element has certainly been in effect, or [`NEVER`]: its acknowledgement, or the
/// return of a read that showed it.
pub(crate) fn settled(elements: &[Element], reads: &[Read]) -> Vec<u32> {
    let mut settled: Vec<u32> = elements.iter().map(|element| element.returned.unwrap_or(NEVER)).collect();
    for read in reads {
        for shown in &read.shown {
            let at = &mut settled[*shown as usize];
            *at = (*at).min(read.returned);
        }
    }
    settled
}

/// The lag of each read; none for those that more than `steps_max` steps in all would be needed for.
pub(crate) fn lags(
    elements: &[Element],
    reads: &[Read],
    settled: &[u32],
    steps_max: u64,
) -> Vec<Option<Lag>> {
    let mut walk = Walk {
        elements,
        settled,
        deletes: (0..elements.len() as u32).filter(|place| elements[*place as usize].is_delete).collect(),
        first_delete: first_delete(elements),
        covers_shown: vec![0; elements.len()],
        marks: vec![Mark::default(); elements.len()],
        round: 0,
        heap: BinaryHeap::new(),
        steps_left: steps_max,
    };
    let mut frontier = Frontier::new(elements, settled);
    reads
        .iter()
        .map(|read| {
            frontier.advance(read.invoked);
            let (missed, first) = walk.missed(read, &frontier)?;
            Some(Lag { missed, first, latest: frontier.latest })
        })
        .collect()
}

/// The first delete that covers each element, or [`NEVER`].
fn first_delete(elements: &[Element]) -> Vec<u32> {
    let mut first = vec![NEVER; elements.len()];
    let mut above = Vec::new();
    for (delete, _) in (0u32..).zip(elements).filter(|(_, element)| element.is_delete) {
        above.push(delete);
        while let Some(place) = above.pop() {
            for seen in &elements[place as usize].seen {
                if first[*seen as usize] == NEVER {
                    first[*seen as usize] = delete;
                    above.push(*seen);
                }
            }
        }
    }
    first
}

/// What had settled so far.
struct Frontier<'a> {
    elements: &'a [Element],
    settled: &'a [u32],
    /// Not yet settled, the next one last.
    waiting: Vec<u32>,
    /// The settled writes that no settled element covers; all other settled writes are covered by them or by
    /// settled deletes.
    newest: Vec<u32>,
    /// Whether a settled element covers it; then one covers all that it had seen.
    is_covered: Vec<bool>,
    latest: Option<u32>,
}

impl<'a> Frontier<'a> {
    fn new(elements: &'a [Element], settled: &'a [u32]) -> Self {
        let mut waiting: Vec<u32> = (0..elements.len() as u32).collect();
        waiting.retain(|place| settled[*place as usize] != NEVER);
        waiting.sort_unstable_by_key(|place| std::cmp::Reverse((settled[*place as usize], *place)));
        let is_covered = vec![false; elements.len()];
        Frontier { elements, settled, waiting, newest: Vec::new(), is_covered, latest: None }
    }

    /// Goes on to what had settled before a position.
    fn advance(&mut self, position: u32) {
        let mut has_changed = false;
        while let Some(place) = self.waiting.pop_if(|place| self.settled[*place as usize] < position) {
            self.latest = Some(place);
            if !self.elements[place as usize].is_delete {
                self.newest.push(place);
            }
            self.cover(place);
            has_changed = true;
        }
        if has_changed {
            self.newest.retain(|place| !self.is_covered[*place as usize]);
        }
    }

    fn cover(&mut self, settled: u32) {
        let mut above = vec![settled];
        while let Some(place) = above.pop() {
            for seen in &self.elements[place as usize].seen {
                if !std::mem::replace(&mut self.is_covered[*seen as usize], true) {
                    above.push(*seen);
                }
            }
        }
    }
}

/// What is known of an element during one walk.
#[derive(Clone, Copy, Default)]
struct Mark {
    round: u32,
    /// The read may have known it.
    is_known: bool,
    /// It, or what covers it, had settled before the read began.
    is_due: bool,
}

struct Walk<'a> {
    elements: &'a [Element],
    settled: &'a [u32],
    deletes: Vec<u32>,
    /// The first delete that covers each element, or [`NEVER`].
    first_delete: Vec<u32>,
    /// The round in which an element was found to be shown, or to cover something that is.
    covers_shown: Vec<u32>,
    marks: Vec<Mark>,
    round: u32,
    heap: BinaryHeap<u32>,
    steps_left: u64,
}

impl Walk<'_> {
    /// How many settled elements a read missed, and the first of them; none if the steps ran out.
    fn missed(&mut self, read: &Read, frontier: &Frontier<'_>) -> Option<(u32, Option<u32>)> {
        let is_settled = |settled: &[u32], place: u32| settled[place as usize] < read.invoked;
        let begun =
            self.deletes.partition_point(|place| self.elements[*place as usize].invoked < read.returned);
        self.steps_left = self.steps_left.checked_sub(frontier.newest.len() as u64)?;
        // A delete that is older than all that is shown covers none of it, and may be known for what it covers.
        let oldest = read.shown.iter().copied().min().unwrap_or(NEVER);
        let excused_until = self.deletes[..begun].last().map_or(0, |last| oldest.min(*last + 1));
        let mut due = frontier.newest.clone();
        due.retain(|place| self.first_delete[*place as usize] >= excused_until);
        // What nothing settled covers, no settled delete covers: so the read may have known all of those.
        if !read.shown.iter().any(|place| frontier.is_covered[*place as usize]) {
            let settled = self.settled;
            let may_know = |delete: u32| is_settled(settled, delete);
            if self.walk(&read.shown, &due, begun, may_know)?.is_empty() {
                return Some((0, None));
            }
        }
        // Few reads come this far. Which deletes cannot it have known, and which others may explain what is missing?
        let unknown = self.deletes_above(&read.shown, begun)?;
        due.extend(unknown.iter().filter(|delete| is_settled(self.settled, **delete)));
        let may_know = |delete: u32| unknown.binary_search(&delete).is_err();
        let found = self.walk(&read.shown, &due, begun, may_know)?;
        let missed = found.iter().copied().filter(|place| is_settled(self.settled, *place));
        let first = missed.clone().min_by_key(|place| (self.settled[*place as usize], *place));
        Some((missed.count() as u32, first))
    }

    /// Which of the first `count` deletes cover something shown, in order.
    fn deletes_above(&mut self, shown: &[u32], count: usize) -> Option<Vec<u32>> {
        let (Some(oldest), Some(last)) = (shown.iter().copied().min(), self.deletes[..count].last()) else {
            return Some(Vec::new());
        };
        self.round += 1;
        for place in shown {
            self.covers_shown[*place as usize] = self.round;
        }
        let mut above = Vec::new();
        for place in oldest + 1..=*last {
            let element = &self.elements[place as usize];
            self.steps_left = self.steps_left.checked_sub(1 + element.seen.len() as u64)?;
            if element.seen.iter().any(|seen| self.covers_shown[*seen as usize] == self.round) {
                self.covers_shown[place as usize] = self.round;
                if element.is_delete {
                    above.push(place);
                }
            }
        }
        Some(above)
    }

    /// What is due, or covered by what is due, and is not known or covered by what is known: `known` and
    /// those of the first `deletes` deletes that the read may have known. The youngest first.
    fn walk(
        &mut self,
        known: &[u32],
        due: &[u32],
        deletes: usize,
        may_know: impl Fn(u32) -> bool,
    ) -> Option<Vec<u32>> {
        self.round += 1;
        self.heap.clear();
        // How many elements on the heap are due and not known: without them the rest is common.
        let mut open = 0usize;
        for place in known {
            self.mark(*place, Mark { is_known: true, ..Mark::default() }, &mut open);
        }
        for place in due {
            self.mark(*place, Mark { is_due: true, ..Mark::default() }, &mut open);
        }
        let mut deletes_left = deletes;
        let mut found = Vec::new();
        while open > 0
            && let Some(top) = self.heap.peek().copied()
        {
            // Deletes are looked at only when the walk has come as far down as they are.
            while let Some(delete) = self.deletes[..deletes_left].last().copied().filter(|last| *last >= top)
            {
                deletes_left -= 1;
                self.steps_left = self.steps_left.checked_sub(1)?;
                if may_know(delete) {
                    self.mark(delete, Mark { is_known: true, ..Mark::default() }, &mut open);
                }
            }
            let Some(place) = self.heap.pop() else { break };
            let mark = self.marks[place as usize];
            if mark.is_due && !mark.is_known {
                open -= 1;
                found.push(place);
            }
            let elements = self.elements;
            let seen = &elements[place as usize].seen;
            self.steps_left = self.steps_left.checked_sub(1 + seen.len() as u64)?;
            for below in seen {
                self.mark(*below, mark, &mut open);
            }
        }
        Some(found)
    }

    /// Adds what is known of an element, and puts it on the heap if it was not there.
    fn mark(&mut self, place: u32, more: Mark, open: &mut usize) {
        let mark = &mut self.marks[place as usize];
        if mark.round != self.round {
            *mark = Mark { round: self.round, ..Mark::default() };
            self.heap.push(place);
        }
        let was_open = mark.is_due && !mark.is_known;
        mark.is_known |= more.is_known;
        mark.is_due |= more.is_due;
        let is_open = mark.is_due && !mark.is_known;
        *open = *open + usize::from(is_open) - usize::from(was_open);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::ROUNDS;
    use super::*;
    use crate::engine::random::Random;

    /// The definition, word for word: of all sets of elements that are closed under "had seen", may have happened
    /// by the end of the read, and show what it showed, the elements that are in any.
    fn may_know(elements: &[Element], read: &Read) -> Option<u32> {
        let count = elements.len();
        let mut covers = vec![0u32; count];
        for (place, element) in elements.iter().enumerate() {
            for below in &element.seen {
                covers[place] |= 1 << below | covers[*below as usize];
            }
        }
        let shown = read.shown.iter().fold(0u32, |set, place| set | 1 << place);
        let mut union = None;
        for set in 0..1u32 << count {
            let inside = || (0..count).filter(|place| set >> place & 1 == 1);
            let is_possible =
                inside().all(|place| elements[place].invoked < read.returned && covers[place] & !set == 0);
            let covered = inside().fold(0, |all, place| all | covers[place]);
            let top = inside().filter(|place| covered >> place & 1 == 0 && !elements[*place].is_delete);
            if is_possible && top.fold(0, |all, place| all | 1 << place) == shown {
                union = Some(union.unwrap_or(0) | set);
            }
        }
        union
    }

    /// A few sessions that write, delete and read; a read knows a random closed part of what has begun.
    fn random_elements(random: &mut Random) -> (Vec<Element>, Vec<Read>) {
        let (mut elements, mut reads): (Vec<Element>, Vec<Read>) = (Vec::new(), Vec::new());
        let mut open: Vec<Option<usize>> = vec![None; 1 + random.below(3) as usize];
        let mut left = 1 + random.below(9);
        let delete_one_in = 2 + random.below(4);
        let mut position = 0;
        while left > 0 || open.iter().any(Option::is_some) {
            position += 1;
            let client = random.below(open.len() as u32) as usize;
            match open[client].take() {
                None if left > 0 && random.is_one_in(3) => {
                    let known = known(random, &elements);
                    reads.push(Read {
                        invoked: position,
                        returned: position + 1,
                        shown: top(&elements, known),
                    });
                    position += 1;
                    left -= 1;
                }
                None if left > 0 => {
                    left -= 1;
                    let seen = known(random, &elements);
                    let mut seen = (0..elements.len() as u32).filter(|place| seen >> place & 1 == 1);
                    // Contexts name everything, or only the newest.
                    let seen: Vec<u32> = if random.is_one_in(2) {
                        seen.collect()
                    } else {
                        seen.next_back().into_iter().collect()
                    };
                    let is_delete = random.is_one_in(delete_one_in);
                    open[client] = Some(elements.len());
                    elements.push(Element { invoked: position, returned: None, is_delete, seen });
                }
                None => {}
                Some(_) if random.is_one_in(5) => {}
                Some(place) => elements[place].returned = Some(position),
            }
        }
        (elements, reads)
    }

    /// A random set that is closed under "had seen".
    fn known(random: &mut Random, elements: &[Element]) -> u32 {
        let lag = 1 + random.below(4);
        let mut set = 0;
        for place in (0..elements.len()).rev() {
            let is_recent = place + lag as usize >= elements.len();
            if set >> place & 1 == 1 || random.is_one_in(if is_recent { 3 } else { 2 }) {
                set |= 1 << place;
                for below in &elements[place].seen {
                    set |= 1 << below;
                }
            }
        }
        set
    }

    fn top(elements: &[Element], set: u32) -> Vec<u32> {
        let inside = |place: &u32| set >> place & 1 == 1;
        let all = 0..elements.len() as u32;
        let is_covered = |place: &u32| {
            all.clone().filter(inside).any(|above| elements[above as usize].seen.contains(place))
        };
        all.clone()
            .filter(|place| inside(place) && !is_covered(place) && !elements[*place as usize].is_delete)
            .collect()
    }

    #[test]
    fn a_read_missed_what_had_settled_and_is_in_no_set_that_shows_what_it_showed() {
        let seed = 0x5eed_0131;
        let mut random = Random(seed);
        let mut counts = [0u32; 3];
        let mut missed_deletes = 0;
        for round in 0..ROUNDS {
            let (elements, reads) = random_elements(&mut random);
            let settled = settled(&elements, &reads);
            let lags = lags(&elements, &reads, &settled, u64::MAX);
            for (read, lag) in reads.iter().zip(lags) {
                let told = format!("seed {seed:#x} round {round} {read:?}: {elements:#?} {reads:?}");
                let lag = lag.expect(&told);
                let known = may_know(&elements, read).expect(&told);
                let is_missed = |place: &usize| settled[*place] < read.invoked && known >> place & 1 == 0;
                let missed: Vec<usize> = (0..elements.len()).filter(is_missed).collect();
                assert_eq!(lag.missed as usize, missed.len(), "{told}");
                let first = missed.iter().min_by_key(|place| settled[**place]);
                assert_eq!(lag.first, first.map(|place| *place as u32), "{told}");
                let before = settled.iter().filter(|at| **at < read.invoked).max();
                assert_eq!(lag.latest.map(|place| &settled[place as usize]), before, "{told}");
                counts[missed.len().min(2)] += 1;
                missed_deletes += u32::from(missed.iter().any(|place| elements[*place].is_delete));
            }
        }
        assert!(counts.iter().all(|count| *count > ROUNDS / 30), "one-sided: {counts:?}");
        assert!(missed_deletes > ROUNDS / 100, "{missed_deletes}");
    }

    fn element(invoked: u32, is_delete: bool, seen: &[u32]) -> Element {
        Element { invoked, returned: Some(invoked + 1), is_delete, seen: seen.to_vec() }
    }

    #[test]
    fn fresh_reads_of_a_long_history_take_a_few_steps_each() {
        let count = 10_000;
        let seen = |place: u32| place.checked_sub(1).map_or(vec![], |below| vec![below]);
        let elements: Vec<Element> =
            (0..count).map(|place| element(4 * place, place % 7 == 3, &seen(place))).collect();
        let shown = |place: u32| if place % 7 == 3 { vec![] } else { vec![place] };
        let reads: Vec<Read> = (0..count)
            .map(|place| Read { invoked: 4 * place + 2, returned: 4 * place + 3, shown: shown(place) })
            .collect();
        let lags = lags(&elements, &reads, &settled(&elements, &reads), 20 * u64::from(count));
        assert!(lags.iter().all(|lag| lag.is_some_and(|lag| lag.missed == 0)));
    }

    #[test]
    fn deletes_that_nobody_heard_of_again_do_not_multiply_the_work() {
        // Write, delete it with unknown outcome, and go on as if it were gone.
        let count = 10_000;
        let mut elements = Vec::new();
        let mut reads = Vec::new();
        for place in (0..2 * count).step_by(2) {
            elements.push(element(4 * place, false, &[]));
            elements.push(Element { returned: None, ..element(4 * place + 2, true, &[place]) });
            let shown = if place % 3 == 0 { vec![] } else { vec![place] };
            reads.push(Read { invoked: 4 * place + 4, returned: 4 * place + 5, shown });
        }
        let steps_max = u64::from(count) * u64::from(count);
        let lags = lags(&elements, &reads, &settled(&elements, &reads), steps_max);
        assert!(lags.iter().all(|lag| lag.is_some_and(|lag| lag.missed == 0)));
    }

    #[test]
    fn a_walk_stops_at_its_budget() {
        let elements: Vec<Element> = (0..100).map(|place| element(2 * place, false, &[])).collect();
        let reads = [Read { invoked: 200, returned: 201, shown: vec![99] }];
        let settled = settled(&elements, &reads);
        assert_eq!(lags(&elements, &reads, &settled, 50), [None]);
        assert_eq!(lags(&elements, &reads, &settled, 500)[0].map(|lag| lag.missed), Some(99));
    }
}
