//! Sets that only grow, key by key.
//!
//! `add` takes an element, `read` returns the whole set in any notation. The verdict is that of one rule: whether the
//! set could be one copy (the engine `set`, exact). What Jepsen's checkers would say is among the figures and decides
//! nothing: `set` looks at the last read only, `set-full` at what became of every element. Whatever they call lost,
//! stale or unexpected also breaks the rule, except that `set` takes for lost what was added while or
//! after the last read was under way. A set that was never read is unknown. Removals are not judged.

use serde_json::json;

use super::reasons::no_function_of;
use super::report::{Anomaly, Check, Explanation, Figures, Report, Violation};
use super::{CheckError, Options, keys};
use crate::engine::quick::QuickMap;
use crate::engine::set::{self, Add, Call, Decision, Read};
use crate::engine::set_full::{self, Fate, Outcome as End};
use crate::history::{Atom, History, Operation, Outcome};

/// Judges whether every key's adds and reads of the whole set could have taken effect one at a time, each between its
/// invocation and its completion. Sets begin empty.
///
/// ```
/// use godown_jepsen::check::{self, Options};
/// use godown_jepsen::history::{Event, History};
///
/// let history: History = [
///     Event::invoke(0, "add").value(7),
///     Event::ok(0, "add").value(7),
///     Event::invoke(0, "read"),
///     Event::ok(0, "read").value([0; 0]),
/// ]
/// .into_iter()
/// .collect();
/// let report = check::set(&history, &Options::default()).unwrap();
/// assert_eq!(report.checks[0].figures["set-full"]["lost-count"], 1);
/// assert!(report.to_string().contains("lost write: process 0 added 7"), "{report}");
/// ```
///
/// # Errors
/// A history whose events do not make up operations.
pub fn set(history: &History, _: &Options) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let roles = history.words(Role::of);
    let mut check = Check::new("set");
    check.operations = operations.len();
    let keys = keys(history, &operations);
    let mut unread = 0;
    for (key, operations) in &keys {
        check.keys += 1;
        let mut numbers = Numbers::new(operations.len());
        let part = match Part::new(history, &roles, operations, &mut numbers) {
            Ok(part) => part,
            Err(reason) => {
                check.wonder(Some(history.value(*key)), reason);
                continue;
            }
        };
        unread += part.unread;
        let reads = part.reads();
        let fates = set_full::fates(numbers.atoms.len(), &part.attempts, &reads);
        let story = Story { history, part: &part, atoms: &numbers.atoms, reads: &reads, fates: &fates };
        let figures = story.figures();
        if keys.len() == 1 {
            check.figures = figures;
        } else {
            check.figures.insert(history.show(*key).to_string(), figures.into());
        }
        if reads.is_empty() {
            check.wonder(Some(history.value(*key)), "the set was never read");
            continue;
        }
        let decision = set::decide(numbers.atoms.len(), &part.adds, &reads);
        if let Some((anomaly, explanation)) = story.explain(decision) {
            check.violate(Violation { anomaly, key: history.value(*key), explanation });
        }
    }
    if unread > 0 {
        check.notes.push(format!("{unread} reads returned no collection and were passed over"));
    }
    Ok(Report::new(&history.source, vec![check]))
}

/// What a function does to a set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Add,
    Read,
    Strange,
}

impl Role {
    fn of(word: &str) -> Self {
        match word {
            "add" => Role::Add,
            "read" | "get" => Role::Read,
            _ => Role::Strange,
        }
    }
}

/// Elements by number, in order of first appearance.
struct Numbers {
    /// The number of each element whose atom is small, and of the others.
    small: Vec<u32>,
    other: QuickMap<Atom, u32>,
    small_max: u32,
    atoms: Vec<Atom>,
}

const NONE: u32 = u32::MAX;

impl Numbers {
    fn new(operations: usize) -> Self {
        let small_max = u32::try_from(operations).unwrap_or(NONE).saturating_mul(8).saturating_add(64);
        Numbers { small: Vec::new(), other: QuickMap::default(), small_max, atoms: Vec::new() }
    }

    fn of(&mut self, atom: Atom) -> u32 {
        let number = if atom.number() < self.small_max {
            let place = atom.number() as usize;
            if place >= self.small.len() {
                self.small.resize((place + 1).next_power_of_two(), NONE);
            }
            &mut self.small[place]
        } else {
            self.other.entry(atom).or_insert(NONE)
        };
        if *number == NONE {
            *number = self.atoms.len() as u32;
            self.atoms.push(atom);
        }
        *number
    }
}

/// One key's part of a history.
struct Part<'a> {
    /// Adds that may have taken effect.
    adds: Vec<Add>,
    add_owners: Vec<&'a Operation>,
    /// All adds, those that were refused among them.
    attempts: Vec<Add>,
    refused: Vec<&'a Operation>,
    /// What the reads show, each collection once.
    shown: Vec<u32>,
    /// Where each read's begins and ends in `shown`.
    spans: Vec<(usize, usize)>,
    read_owners: Vec<&'a Operation>,
    /// Reads that returned no collection.
    unread: usize,
}

impl<'a> Part<'a> {
    fn new(
        history: &'a History,
        roles: &[Role],
        operations: &'a [Operation],
        numbers: &mut Numbers,
    ) -> Result<Self, String> {
        let mut part = Part {
            adds: Vec::new(),
            add_owners: Vec::new(),
            attempts: Vec::new(),
            refused: Vec::new(),
            shown: Vec::new(),
            spans: Vec::new(),
            read_owners: Vec::new(),
            unread: 0,
        };
        let mut spans: QuickMap<Atom, (usize, usize)> = QuickMap::default();
        for operation in operations {
            match (roles[operation.f.number()], operation.outcome) {
                (Role::Add, outcome) => {
                    let element = numbers.of(operation.argument);
                    let returned = operation.returned().filter(|_| outcome == Outcome::Ok);
                    let add = Add { element, invoked: operation.invoked, returned };
                    part.attempts.push(add);
                    if outcome == Outcome::Fail {
                        part.refused.push(operation);
                    } else {
                        part.adds.push(add);
                        part.add_owners.push(operation);
                    }
                }
                (Role::Read, Outcome::Ok) => {
                    let Some(elements) = history.list(operation.result) else {
                        part.unread += 1;
                        continue;
                    };
                    let span = spans.entry(operation.result).or_insert_with(|| {
                        let begin = part.shown.len();
                        part.shown.extend(elements.iter().map(|element| numbers.of(*element)));
                        (begin, part.shown.len())
                    });
                    part.spans.push(*span);
                    part.read_owners.push(operation);
                }
                (Role::Read, _) => {}
                (Role::Strange, _) => {
                    return Err(no_function_of("a set that only grows (add, read)", history, operation));
                }
            }
        }
        Ok(part)
    }

    fn reads(&self) -> Vec<Read<'_>> {
        let reads = self.spans.iter().zip(&self.read_owners).map(|((begin, end), owner)| Read {
            shown: &self.shown[*begin..*end],
            invoked: owner.invoked,
            returned: owner.ended(),
        });
        reads.collect()
    }
}

/// What is known of a part, and words for it.
struct Story<'a> {
    history: &'a History,
    part: &'a Part<'a>,
    atoms: &'a [Atom],
    reads: &'a [Read<'a>],
    fates: &'a [Option<Fate>],
}

impl Story<'_> {
    /// The elements that fulfil a condition, as values in their order.
    fn elements(&self, is_told: impl Fn(usize) -> bool) -> Vec<serde_json::Value> {
        let mut told: Vec<Atom> = (0..self.atoms.len())
            .filter(|element| is_told(*element))
            .map(|element| self.atoms[element])
            .collect();
        told.sort_by(|a, b| self.history.compare(*a, *b));
        told.into_iter().map(|atom| json!(self.history.value(atom))).collect()
    }

    fn time_ns(&self, position: u32) -> Option<u64> {
        self.history.at(position).time_ns()
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures::new();
        figures.insert("set".to_owned(), self.last_read().into());
        figures.insert("set-full".to_owned(), self.set_full().into());
        figures
    }

    /// What Jepsen's `set` says of the last read, by the order of completions.
    fn last_read(&self) -> Figures {
        let mut figures = Figures::new();
        let Some(last) = self.reads.iter().max_by_key(|read| read.returned) else {
            figures.insert("valid?".to_owned(), "unknown".into());
            return figures;
        };
        let mut is_read = vec![false; self.atoms.len()];
        last.shown.iter().for_each(|element| is_read[*element as usize] = true);
        let mut is_added = vec![false; self.atoms.len()];
        let added = self.part.adds.iter().filter(|add| add.returned.is_some());
        added.for_each(|add| is_added[add.element as usize] = true);
        let is_attempted = |element: usize| self.fates[element].is_some();
        let lists = [
            ("ok", self.elements(|element| is_read[element] && is_attempted(element))),
            ("lost", self.elements(|element| is_added[element] && !is_read[element])),
            ("unexpected", self.elements(|element| is_read[element] && !is_attempted(element))),
            (
                "recovered",
                self.elements(|element| is_read[element] && is_attempted(element) && !is_added[element]),
            ),
        ];
        let is_valid = lists[1].1.is_empty() && lists[2].1.is_empty();
        figures.insert("valid?".to_owned(), is_valid.into());
        let attempts = (0..self.atoms.len()).filter(|element| is_attempted(*element)).count();
        figures.insert("attempt-count".to_owned(), attempts.into());
        let acknowledged = is_added.iter().filter(|is_added| **is_added).count();
        figures.insert("acknowledged-count".to_owned(), acknowledged.into());
        for (name, list) in lists {
            figures.insert(format!("{name}-count"), list.len().into());
            figures.insert(name.to_owned(), list.into());
        }
        figures
    }

    /// What Jepsen's `set-full` says.
    fn set_full(&self) -> Figures {
        let mut figures = Figures::new();
        let ended = |element: usize, end: End| self.fates[element].is_some_and(|fate| fate.outcome() == end);
        let is_stale = |element: usize| {
            self.fates[element].is_some_and(|fate| fate.is_stale(|position| self.time_ns(position)))
        };
        let attempts = self.fates.iter().flatten().count();
        let stable = (0..self.atoms.len()).filter(|element| ended(*element, End::Stable)).count();
        figures.insert("attempt-count".to_owned(), attempts.into());
        figures.insert("stable-count".to_owned(), stable.into());
        let lists = [
            ("lost", self.elements(|element| ended(element, End::Lost))),
            ("never-read", self.elements(|element| ended(element, End::NeverRead))),
            ("stale", self.elements(is_stale)),
        ];
        let repeated = set_full::repeated(self.atoms.len(), self.reads);
        let is_lossless = lists[0].1.is_empty() && repeated.is_empty();
        let valid = if is_lossless && stable == 0 { json!("unknown") } else { json!(is_lossless) };
        figures.insert("valid?".to_owned(), valid);
        for (name, list) in lists {
            figures.insert(format!("{name}-count"), list.len().into());
            figures.insert(name.to_owned(), list.into());
        }
        figures.insert("worst-stale".to_owned(), self.worst_stale(is_stale).into());
        for (name, end) in [("stable-latencies", End::Stable), ("lost-latencies", End::Lost)] {
            let fates = self.fates.iter().flatten().filter(|fate| fate.outcome() == end);
            let latencies_ms = fates.filter_map(|fate| fate.latency_ms(|position| self.time_ns(position)));
            if let Some(values) = set_full::quantiles(latencies_ms.collect()) {
                let named = set_full::QUANTILES.iter().zip(values);
                let named: Figures =
                    named.map(|(quantile, value)| (quantile.to_string(), value.into())).collect();
                figures.insert(name.to_owned(), named.into());
            }
        }
        figures.insert("duplicated-count".to_owned(), repeated.len().into());
        let shown = |element: u32| self.history.show(self.atoms[element as usize]).to_string();
        let duplicated: Figures =
            repeated.iter().map(|(element, count)| (shown(*element), (*count).into())).collect();
        figures.insert("duplicated".to_owned(), duplicated.into());
        figures
    }

    /// The elements that took longest to become stable.
    fn worst_stale(&self, is_stale: impl Fn(usize) -> bool) -> Vec<serde_json::Value> {
        const TOLD_MAX: usize = 8;
        let mut worst: Vec<(u64, Atom, Fate)> = (0..self.atoms.len())
            .filter(|element| is_stale(*element))
            .filter_map(|element| {
                let fate = self.fates[element]?;
                Some((fate.latency_ms(|position| self.time_ns(position))?, self.atoms[element], fate))
            })
            .collect();
        worst.sort_by(|a, b| b.0.cmp(&a.0).then(self.history.compare(b.1, a.1)));
        let told = worst.into_iter().take(TOLD_MAX).map(|(latency_ms, element, fate)| {
            let index = |position: u32| self.history.at(position).index();
            json!({
                "element": self.history.value(element),
                "outcome": "stable",
                "stable-latency": latency_ms,
                "lost-latency": null,
                "known": fate.known.map(index),
                "last-absent": fate.last_absent.map(index),
            })
        });
        told.collect()
    }

    fn read(&self, read: u32) -> &Operation {
        self.part.read_owners[read as usize]
    }

    fn add(&self, add: u32) -> &Operation {
        self.part.add_owners[add as usize]
    }

    fn of(&self, call: Call) -> &Operation {
        match call {
            Call::Add(add) => self.add(add),
            Call::Read(read) => self.read(read),
        }
    }

    fn shown(&self, element: u32) -> String {
        self.history.show(self.atoms[element as usize]).to_string()
    }

    fn at(&self, read: u32) -> String {
        self.history.end_of(self.read(read)).to_string()
    }

    /// What an operation did, in words.
    fn did(&self, call: Call) -> String {
        let process = self.history.process(self.of(call).process);
        match call {
            Call::Add(add) => {
                format!("process {process} added {}", self.shown(self.part.adds[add as usize].element))
            }
            Call::Read(read) => format!("process {process} read ({})", self.at(read)),
        }
    }

    fn explain(&self, decision: Decision) -> Option<(Anomaly, Explanation)> {
        match decision {
            Decision::Linearizable => None,
            Decision::Invented { read, element } => Some(self.invented(read, element)),
            Decision::Repeated { read, element } => {
                let mut explanation = Explanation::of(self.history, [self.read(read)]);
                let element = self.shown(element);
                explanation.summary = format!("{element} is shown twice ({})", self.at(read));
                explanation.contradiction = format!("a set has {element} once");
                Some((Anomaly::Duplicate, explanation))
            }
            Decision::Contradictory { reads, elements } => Some(self.contradictory(reads, elements)),
            Decision::Disordered { first, second, shown_by } => {
                Some(self.disordered(first, second, shown_by))
            }
        }
    }

    fn invented(&self, read: u32, element: u32) -> (Anomaly, Explanation) {
        let atom = self.atoms[element as usize];
        let refused = self.part.refused.iter().find(|add| add.argument == atom);
        let mut explanation =
            Explanation::of(self.history, refused.into_iter().copied().chain([self.read(read)]));
        let element = self.shown(element);
        explanation.summary = format!("{element} is shown ({})", self.at(read));
        let (anomaly, contradiction) = match refused {
            Some(add) => (Anomaly::Refused, format!("its add was refused ({})", self.history.end_of(add))),
            None => (Anomaly::Invented, "nobody ever added it".to_owned()),
        };
        explanation.summary = format!("{}, but {contradiction}", explanation.summary);
        explanation.contradiction = contradiction;
        (anomaly, explanation)
    }

    fn contradictory(&self, reads: [u32; 2], elements: [u32; 2]) -> (Anomaly, Explanation) {
        let mut explanation = Explanation::of(self.history, reads.map(|read| self.read(read)));
        let [x, y] = elements.map(|element| self.shown(element));
        let [a, b] = reads.map(|read| self.at(read));
        explanation.summary = format!("{x} and {y} arrived in contradictory orders ({a}, {b})");
        explanation.steps.push(format!("{x} was added before {y}, because {a} shows {x} and lacks {y}"));
        explanation.contradiction = format!("{b} shows {y} and lacks {x}");
        (Anomaly::NotLinearizable, explanation)
    }

    fn disordered(&self, first: Call, second: Call, shown_by: Option<u32>) -> (Anomaly, Explanation) {
        let told = [self.of(first), self.of(second)].into_iter().chain(shown_by.map(|read| self.read(read)));
        let mut explanation = Explanation::of(self.history, told);
        explanation.in_time(
            self.history,
            (&self.did(second), self.of(second)),
            (&self.did(first), self.of(first)),
        );
        let element = |add: u32| self.part.adds[add as usize].element;
        let (anomaly, summary, contradiction) = match (first, second, shown_by) {
            (Call::Read(read), Call::Add(add), _) => {
                let lacks = format!("{} lacks {}", self.at(read), self.shown(element(add)));
                let is_lost =
                    self.fates[element(add) as usize].is_some_and(|fate| fate.outcome() == End::Lost);
                let anomaly = if is_lost { Anomaly::LostWrite } else { Anomaly::StaleRead };
                let at = self.history.end_of(self.add(add));
                (anomaly, format!("{} ({at}), but {lacks}", self.did(second)), lacks)
            }
            (Call::Read(lower), Call::Read(higher), _) => {
                let shown = self.reads[lower as usize].shown;
                let missed =
                    self.reads[higher as usize].shown.iter().find(|element| !shown.contains(element));
                let missed = missed.map_or(String::new(), |missed| self.shown(*missed));
                let both = format!("{} shows {missed}, and {} lacks it", self.at(higher), self.at(lower));
                (Anomaly::StaleRead, format!("{missed} was shown and then was not"), both)
            }
            (Call::Add(add), Call::Read(read), _) => {
                let shows = format!("{} shows {} already", self.at(read), self.shown(element(add)));
                (Anomaly::Invented, shows.clone(), shows)
            }
            (Call::Add(early), Call::Add(late), by) => {
                let by = by.map_or("a read".to_owned(), |by| self.at(by));
                let (early, late) = (self.shown(element(early)), self.shown(element(late)));
                let shows = format!("{by} shows {early} and lacks {late}");
                (Anomaly::StaleRead, shows.clone(), shows)
            }
        };
        explanation.summary = summary;
        explanation.contradiction = contradiction;
        (anomaly, explanation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::history::{Event, Value};

    fn judge(events: impl IntoIterator<Item = Event>) -> Report {
        set(&events.into_iter().collect(), &Options::default()).unwrap()
    }

    fn add(process: u64, element: i64, at_ms: u64) -> [Event; 2] {
        [
            Event::invoke(process, "add").value(element).at(at_ms * 1_000_000),
            Event::ok(process, "add").value(element).at((at_ms + 1) * 1_000_000),
        ]
    }

    fn read(process: u64, elements: &[i64], at_ms: u64) -> [Event; 2] {
        [
            Event::invoke(process, "read").at(at_ms * 1_000_000),
            Event::ok(process, "read").value(Value::from(elements.to_vec())).at((at_ms + 1) * 1_000_000),
        ]
    }

    #[test]
    fn every_way_to_be_wrong_is_told_in_its_own_words() {
        let good = [add(0, 1, 0), read(0, &[1], 10), add(1, 2, 20)].concat();
        let and = |more: &[[Event; 2]]| judge(good.iter().cloned().chain(more.iter().flatten().cloned()));
        assert!(and(&[read(2, &[2, 1], 30)]).is_valid());
        for (more, anomaly, words) in [
            (vec![read(2, &[1], 30)], Anomaly::LostWrite, "event 7 lacks 2"),
            (vec![read(2, &[1], 30), read(3, &[1, 2], 40)], Anomaly::StaleRead, "event 7 lacks 2"),
            (vec![read(2, &[1, 2, 3], 30)], Anomaly::Invented, "nobody ever added it"),
            (vec![read(2, &[1, 2, 1], 30)], Anomaly::Duplicate, "a set has 1 once"),
            (vec![read(2, &[2], 30)], Anomaly::NotLinearizable, "lacks"),
            (vec![add(2, 3, 25), read(2, &[1, 3], 30)], Anomaly::LostWrite, "lacks 2"),
            (vec![read(2, &[1, 2, 4], 30), add(2, 4, 40)], Anomaly::Invented, "shows 4 already"),
        ] {
            let report = and(&more);
            let violation = report.violations().next().unwrap_or_else(|| panic!("{report}"));
            assert_eq!(violation.anomaly, anomaly, "{report}");
            assert!(report.to_string().contains(words), "{report}");
        }
    }

    #[test]
    fn a_refused_element_that_is_shown_is_called_so() {
        let refused = [Event::invoke(9, "add").value(5), Event::fail(9, "add").value(5)];
        let report = judge([refused, read(0, &[5], 1)].concat());
        assert_eq!(report.violations().next().unwrap().anomaly, Anomaly::Refused, "{report}");
    }

    #[test]
    fn the_figures_have_the_fields_and_numbers_of_jepsen() {
        let unknown = [Event::invoke(9, "add").value(7), Event::info(9, "add").value(7)];
        let events = [
            add(0, 1, 0),
            add(0, 2, 2),
            unknown,
            read(1, &[1], 10),
            read(1, &[1, 2, 7], 20),
            read(2, &[2, 7, 7], 30),
        ];
        let report = judge(events.concat());
        let figures = &report.checks[0].figures;
        let expected = json!({
            "valid?": false, "attempt-count": 3, "acknowledged-count": 2, "ok-count": 2, "lost-count": 1,
            "recovered-count": 1, "unexpected-count": 0, "ok": [2, 7], "lost": [1], "unexpected": [],
            "recovered": [7],
        });
        assert_eq!(figures["set"], expected);
        let expected = json!({
            "valid?": false, "attempt-count": 3, "stable-count": 2, "lost-count": 1, "lost": [1],
            "never-read-count": 0, "never-read": [], "stale-count": 1, "stale": [2],
            "worst-stale": [{
                "element": 2, "outcome": "stable", "stable-latency": 7, "lost-latency": null,
                "known": 3, "last-absent": 6,
            }],
            "stable-latencies": {"0": 0, "0.5": 7, "0.95": 7, "0.99": 7, "1": 7},
            "lost-latencies": {"0": 19, "0.5": 19, "0.95": 19, "0.99": 19, "1": 19},
            "duplicated-count": 1, "duplicated": {"7": 2},
        });
        assert_eq!(figures["set-full"], expected);
    }

    #[test]
    fn what_was_never_read_or_has_removals_is_unknown() {
        assert_eq!(judge(add(0, 1, 0)).verdict, Verdict::Unknown);
        let removal = [Event::invoke(9, "remove").value(5), Event::ok(9, "remove").value(5)];
        assert_eq!(judge([removal, read(0, &[], 1)].concat()).verdict, Verdict::Unknown);
        let nil = [Event::invoke(9, "read"), Event::ok(9, "read").value(Value::Null)];
        let report = judge([nil, read(0, &[], 1)].concat());
        assert!(
            report.is_valid() && report.to_string().contains("1 reads returned no collection"),
            "{report}"
        );
    }
}
