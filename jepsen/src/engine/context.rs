//! The four session guarantees on one key that keeps concurrent values, by what its writes had seen.
//!
//! Each write and delete names those that its session's context covered: it replaces them, and all that they had replaced. A
//! replica holds some of them, with each all that it replaces, and shows those that nothing it holds replaces; a
//! delete shows nothing. So a read *can* know a write exactly if a shown value is that write or replaced it, or if a
//! delete is or did, which had begun before the read ended and replaced nothing that is shown. The guarantees of
//! Terry and others (1994), on one key: a read knows its session's acknowledged writes (read your writes) and what its
//! session's reads showed (monotonic reads); and if what it shows is or replaced a write, it knows what that write's
//! session had acknowledged (monotonic writes) and been shown (writes follow reads) before. A [`Miss`] is an obligation that
//! the read cannot have met, whatever it held, each judged by itself. Unknown outcomes oblige nobody to know the write, but
//! a write that was shown happened, and obliges to what came before it.

/// A write or delete that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// Whose it is.
    pub(crate) session: u32,
    /// When it began.
    pub(crate) invoked: u32,
    /// Whether it certainly happened before the session's next call.
    pub(crate) is_acknowledged: bool,
    /// Whether it shows nothing.
    pub(crate) is_delete: bool,
    /// What its session's context covered, by place in the input: only earlier ones.
    pub(crate) seen: Vec<u32>,
}

/// A read that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Whose it is.
    pub(crate) session: u32,
    /// When it began.
    pub(crate) invoked: u32,
    /// When it was answered.
    pub(crate) ended: u32,
    /// What it showed, by place among the elements.
    pub(crate) shows: Vec<u32>,
}

/// What obliges a read to know an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Because {
    /// Its session wrote it before: read your writes.
    Wrote,
    /// This earlier read of its session showed it: monotonic reads.
    Read(u32),
    /// The read knows this element, whose session wrote it before: monotonic writes.
    WroteBefore(u32),
    /// The read knows this element (the first), to whose session this read (the second) had shown it before: writes
    /// follow reads.
    ReadBefore(u32, u32),
}

/// A read that cannot know what it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Miss {
    /// The read.
    pub(crate) view: u32,
    /// The element that it does not know.
    pub(crate) element: u32,
    /// Why it must.
    pub(crate) because: Because,
}

/// Finds every obligation that a read cannot have met; elements and reads of one key, both in order of invocation.
pub(crate) fn misses(elements: &[Element], views: &[View]) -> Vec<Miss> {
    let mut sweep = Sweep::new(elements, views);
    let mut next = 0;
    for (number, view) in (0u32..).zip(views) {
        while next < elements.len() && elements[next].invoked < view.invoked {
            sweep.begin(next as u32);
            next += 1;
        }
        sweep.judge_by_its_session(number);
    }
    (next..elements.len()).for_each(|number| sweep.begin(number as u32));
    // What a long read shows may have begun after it, so what comes with that is known only now.
    (0..views.len()).for_each(|number| sweep.judge_by_what_it_knows(number as u32));
    sweep.misses
}

/// An element that must be known, and by which read it was shown, if that is why.
type Known = (u32, u32);

const NONE: u32 = u32::MAX;

/// What a session must know by now: nothing that another of them replaced.
#[derive(Clone, Default)]
struct Session {
    wrote: Vec<Known>,
    read: Vec<Known>,
}

struct Sweep<'a> {
    elements: &'a [Element],
    views: &'a [View],
    deletes: Vec<u32>,
    sessions: Vec<Session>,
    /// What must be known with an element that had not seen it; only elements of which there is something to say.
    wrote_before: Vec<(u32, Vec<Known>)>,
    read_before: Vec<(u32, Vec<Known>)>,
    marks: Marks,
    misses: Vec<Miss>,
}

/// Elements that a walk has met.
struct Marks {
    walk: u32,
    of: Vec<u32>,
    stack: Vec<u32>,
}

impl Marks {
    /// Marks some elements and all that they replaced, down to the floor.
    fn mark_below(&mut self, elements: &[Element], tops: &[u32], floor: u32) {
        self.walk += 1;
        self.stack.clear();
        self.push(tops, floor);
        while let Some(element) = self.stack.pop() {
            self.push(&elements[element as usize].seen, floor);
        }
    }

    fn push(&mut self, some: &[u32], floor: u32) {
        for element in some.iter().filter(|element| **element >= floor) {
            if self.of[*element as usize] != self.walk {
                self.of[*element as usize] = self.walk;
                self.stack.push(*element);
            }
        }
    }

    fn has(&self, element: u32) -> bool {
        self.of[element as usize] == self.walk
    }
}

impl<'a> Sweep<'a> {
    fn new(elements: &'a [Element], views: &'a [View]) -> Self {
        let sessions = elements.iter().map(|element| element.session);
        let sessions = sessions.chain(views.iter().map(|view| view.session)).max().map_or(0, |max| max + 1);
        Sweep {
            elements,
            views,
            deletes: (0..elements.len() as u32)
                .filter(|number| elements[*number as usize].is_delete)
                .collect(),
            sessions: vec![Session::default(); sessions as usize],
            wrote_before: Vec::new(),
            read_before: Vec::new(),
            marks: Marks { walk: 0, of: vec![0; elements.len()], stack: Vec::new() },
            misses: Vec::new(),
        }
    }

    fn begin(&mut self, number: u32) {
        let element = &self.elements[number as usize];
        let session = &mut self.sessions[element.session as usize];
        let known = session.wrote.iter().chain(&session.read).map(|(known, _)| *known);
        if let Some(floor) = known.min() {
            self.marks.mark_below(self.elements, &element.seen, floor);
        }
        let is_unseen = |known: &&Known| !self.marks.has(known.0) && known.0 < number;
        let unseen = |some: &[Known]| some.iter().filter(is_unseen).copied().collect::<Vec<Known>>();
        for (some, before) in
            [(&session.wrote, &mut self.wrote_before), (&session.read, &mut self.read_before)]
        {
            let unseen = unseen(some);
            if !unseen.is_empty() {
                before.push((number, unseen));
            }
        }
        if element.is_acknowledged {
            session.wrote.retain(|(known, _)| !self.marks.has(*known));
            session.wrote.push((number, NONE));
        }
    }

    /// Read your writes and monotonic reads.
    fn judge_by_its_session(&mut self, number: u32) {
        let view = &self.views[number as usize];
        let session = &self.sessions[view.session as usize];
        let wrote = session.wrote.iter().map(|(element, _)| (*element, Because::Wrote));
        let read = session.read.iter().map(|(element, view)| (*element, Because::Read(*view)));
        let obligations = wrote.chain(read).collect();
        self.judge(number, obligations);
        let session = &mut self.sessions[view.session as usize];
        if let Some(floor) = session.read.iter().map(|(known, _)| *known).min() {
            self.marks.mark_below(self.elements, &view.shows, floor);
            session.read.retain(|(known, _)| !self.marks.has(*known));
        }
        session.read.extend(view.shows.iter().map(|shown| (*shown, number)));
    }

    /// Monotonic writes and writes follow reads.
    fn judge_by_what_it_knows(&mut self, number: u32) {
        let view = &self.views[number as usize];
        let writes = [&self.wrote_before, &self.read_before].into_iter().filter_map(|before| before.first());
        let floor = writes.map(|(write, _)| *write).min();
        let (Some(floor), Some(top)) = (floor, view.shows.iter().max()) else { return };
        let mut obligations: Vec<(u32, Because)> = Vec::new();
        self.marks.mark_below(self.elements, &view.shows, floor);
        let known = |before: &'_ [(u32, Vec<Known>)]| before.partition_point(|(write, _)| write <= top);
        for (write, needs) in &self.wrote_before[..known(&self.wrote_before)] {
            if self.marks.has(*write) {
                obligations.extend(needs.iter().map(|need| (need.0, Because::WroteBefore(*write))));
            }
        }
        for (write, needs) in &self.read_before[..known(&self.read_before)] {
            if self.marks.has(*write) {
                obligations.extend(needs.iter().map(|need| (need.0, Because::ReadBefore(*write, need.1))));
            }
        }
        self.judge(number, obligations);
    }

    /// Keeps the obligations that a read cannot have met.
    fn judge(&mut self, number: u32, mut obligations: Vec<(u32, Because)>) {
        let view = &self.views[number as usize];
        if let Some(floor) = obligations.iter().map(|(element, _)| *element).min() {
            self.marks.mark_below(self.elements, &view.shows, floor);
            obligations.retain(|(element, _)| !self.marks.has(*element));
        }
        for (element, because) in obligations {
            if !self.may_be_deleted(element, view) {
                self.misses.push(Miss { view: number, element, because });
            }
        }
    }

    /// Whether the read may hold a delete that is the element or replaced it, without replacing what is shown.
    fn may_be_deleted(&mut self, element: u32, view: &View) -> bool {
        let from = self.deletes.partition_point(|delete| *delete < element);
        let floor = view.shows.iter().copied().chain([element]).min().unwrap_or(element);
        (from..self.deletes.len()).any(|at| {
            let delete = self.deletes[at];
            if self.elements[delete as usize].invoked > view.ended {
                return false;
            }
            self.marks.mark_below(self.elements, &[delete], floor);
            self.marks.has(element) && !view.shows.iter().any(|shown| self.marks.has(*shown))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    /// What each element replaced, as bits: itself not included.
    fn replaced(elements: &[Element]) -> Vec<u32> {
        let mut below: Vec<u32> = Vec::new();
        for element in elements {
            let bits = element.seen.iter().map(|seen| 1 << seen | below[*seen as usize]);
            below.push(bits.fold(0, |all, bits| all | bits));
        }
        below
    }

    /// What a replica that holds these elements shows.
    fn showing(elements: &[Element], below: &[u32], held: u32) -> u32 {
        (0..elements.len())
            .filter(|at| held >> at & 1 == 1 && !elements[*at].is_delete)
            .filter(|at| {
                !(0..elements.len()).any(|other| held >> other & 1 == 1 && below[other] >> at & 1 == 1)
            })
            .fold(0, |bits, at| bits | 1 << at)
    }

    fn bits(some: &[u32]) -> u32 {
        some.iter().fold(0, |bits, at| bits | 1 << at)
    }

    /// A few sessions on a key: each write had seen what its session knows, or less; each read shows what some set of
    /// elements shows, often all of them, and may take so long that others write meanwhile.
    fn random_key(random: &mut Random) -> (Vec<Element>, Vec<View>) {
        let sessions = 1 + random.below(3);
        let forgetful_percent = [0, 20, 60][random.below(3) as usize];
        let stale_percent = [0, 20, 60][random.below(3) as usize];
        let deletes_percent = [0, 20, 40][random.below(3) as usize];
        let long_percent = [0, 30, 60][random.below(3) as usize];
        let mut context: Vec<Vec<u32>> = vec![Vec::new(); sessions as usize];
        let mut asked: Vec<Option<u32>> = vec![None; sessions as usize];
        let (mut elements, mut views) = (Vec::<Element>::new(), Vec::new());
        for at in 0..2 + random.below(12) {
            let session = random.below(sessions);
            let knows = &mut context[session as usize];
            let asked = &mut asked[session as usize];
            if asked.is_none() && random.below(2) == 0 && elements.len() < 6 {
                let number = elements.len() as u32;
                let seen: Vec<u32> =
                    knows.iter().copied().filter(|_| random.below(100) >= forgetful_percent).collect();
                let is_acknowledged = random.below(4) > 0;
                elements.push(Element {
                    session,
                    invoked: 2 * at,
                    is_acknowledged,
                    is_delete: random.below(100) < deletes_percent,
                    seen,
                });
                if is_acknowledged {
                    knows.push(number);
                }
            } else if asked.is_none() && random.below(100) < long_percent {
                *asked = Some(2 * at);
            } else {
                let below = replaced(&elements);
                let mut held = 0;
                for (element, below) in below.iter().enumerate() {
                    if random.below(100) >= stale_percent {
                        held |= 1 << element | below;
                    }
                }
                let shown = showing(&elements, &below, held);
                let shows: Vec<u32> = (0..elements.len() as u32).filter(|at| shown >> at & 1 == 1).collect();
                knows.extend(&shows);
                let invoked = asked.take().unwrap_or(2 * at);
                views.push(View { session, invoked, ended: 2 * at + 1, shows });
            }
        }
        views.sort_by_key(|view| view.invoked);
        (elements, views)
    }

    /// Every obligation that no set of elements meets which shows what the read showed, from the definitions.
    fn brute_force(elements: &[Element], views: &[View]) -> Vec<[bool; 4]> {
        let below = replaced(elements);
        let fits = |view: &View| -> Vec<u32> {
            let sets = (0u32..1 << elements.len()).filter(|held| {
                (0..elements.len()).all(|at| {
                    held >> at & 1 == 0 || below[at] & !held == 0 && elements[at].invoked < view.ended
                })
            });
            sets.filter(|held| showing(elements, &below, *held) == bits(&view.shows)).collect()
        };
        let judged = views.iter().map(|view| {
            let held = fits(view);
            assert!(!held.is_empty());
            let cannot = |must: u32| must != 0 && !held.iter().any(|held| held & must == must);
            let cannot_one = |must: u32| (0..elements.len()).any(|at| must >> at & 1 == 1 && cannot(1 << at));
            let certain = held.iter().fold(u32::MAX, |all, held| all & held);
            let wrote = |session: u32, before: u32| {
                let own = |element: &Element| element.session == session && element.invoked < before;
                let each =
                    (0..elements.len()).filter(|at| own(&elements[*at]) && elements[*at].is_acknowledged);
                each.fold(0, |bits, at| bits | 1 << at)
            };
            let read = |session: u32, before: u32| {
                let own = views.iter().filter(|view| view.session == session && view.invoked < before);
                own.fold(0, |all, view| all | bits(&view.shows))
            };
            let known = || elements.iter().enumerate().filter(|(at, _)| certain >> at & 1 == 1);
            [
                cannot(wrote(view.session, view.invoked)),
                cannot(read(view.session, view.invoked)),
                known().any(|(_, element)| cannot_one(wrote(element.session, element.invoked))),
                known().any(|(_, element)| cannot_one(read(element.session, element.invoked))),
            ]
        });
        judged.collect()
    }

    #[test]
    fn misses_agree_with_trying_every_set_of_elements_that_a_read_may_show() {
        let seed = 0x5eed_0041;
        let mut random = Random(seed);
        let mut verdicts = [[0u32; 2]; 4];
        let rounds = if cfg!(debug_assertions) { 20_000 } else { 150_000 };
        for round in 0..rounds {
            let (elements, views) = random_key(&mut random);
            let expected = brute_force(&elements, &views);
            let misses = misses(&elements, &views);
            for (number, expected) in (0u32..).zip(expected) {
                let of_view = || misses.iter().filter(|miss| miss.view == number);
                let found = [
                    of_view().any(|miss| miss.because == Because::Wrote),
                    of_view().any(|miss| matches!(miss.because, Because::Read(_))),
                    of_view().any(|miss| matches!(miss.because, Because::WroteBefore(_))),
                    of_view().any(|miss| matches!(miss.because, Because::ReadBefore(..))),
                ];
                assert_eq!(
                    found, expected,
                    "seed {seed:#x} round {round} read {number}: {elements:#?} {views:#?}"
                );
                for (counts, is_missed) in verdicts.iter_mut().zip(found) {
                    counts[usize::from(is_missed)] += 1;
                }
            }
        }
        assert!(verdicts.iter().all(|[kept, _]| *kept > rounds), "one-sided: {verdicts:?}");
        assert!(verdicts.iter().all(|[_, missed]| *missed > rounds / 150), "one-sided: {verdicts:?}");
    }
}
