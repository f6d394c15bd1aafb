//! Queues, key by key: first in first out, and nothing lost.
//!
//! `enqueue` takes a value, `dequeue` returns one, or nil if the queue was empty, and `drain` returns all that was left, as
//! if by dequeues of its own. Two rules. [`total_queue`] asks that what goes in comes out: Jepsen's counts,
//! whatever the order, with values as often as they like. A value that nobody tried to enqueue violates it, and so
//! does one lost, where that is certain: it was acknowledged before the last drain began, and dequeues of unknown
//! outcome are too few to account for all that are missing. Duplicates are counted, as by Jepsen, and do not violate
//! it: many queues deliver at least once. [`queue`] adds the rule of a queue of one copy, first in first out, which is
//! exact where every value is enqueued once and every dequeue returned (see the engine `queue`).

use serde_json::json;

use super::reasons::no_function_of;
use super::report::{Anomaly, Check, Explanation, Figures, Report, Violation};
use super::{CheckError, Nil, Options, keys};
use crate::engine::queue::{self, Decision, Passage, Span};
use crate::engine::quick::QuickMap;
use crate::history::{Atom, History, Operation, Outcome};

/// Judges whether every key's enqueues and dequeues could have taken effect one at a time on a first-in-first-out queue,
/// each between its invocation and its completion, and whether all that went in came out. Queues begin empty.
///
/// ```
/// use godown_jepsen::check::{self, Options};
/// use godown_jepsen::history::{Event, History};
///
/// let history: History = [
///     Event::invoke(0, "enqueue").value(1),
///     Event::ok(0, "enqueue").value(1),
///     Event::invoke(0, "enqueue").value(2),
///     Event::ok(0, "enqueue").value(2),
///     Event::invoke(0, "dequeue"),
///     Event::ok(0, "dequeue").value(2),
/// ]
/// .into_iter()
/// .collect();
/// let report = check::queue(&history, &Options::default()).unwrap();
/// assert!(report.to_string().contains("1 was never dequeued, though 2 was"), "{report}");
/// ```
///
/// # Errors
/// A history whose events do not make up operations, or a drain that returned no collection.
pub fn queue(history: &History, options: &Options) -> Result<Report, CheckError> {
    let total = total_queue(history, options)?;
    let mut check = Check::new("fifo-queue");
    for_each_key(history, options, &mut check, |check, key, part| {
        if let Some(violation) = part.repeated_or_refused() {
            check.violate(Violation { key, ..violation });
            return;
        }
        if let Some(twice) = part.values.iter().find(|value| value.enqueues.len() > 1) {
            let reason = format!(
                "{} was enqueued twice ({}, {}), so its order cannot be told; use distinct values",
                history.show(twice.atom),
                history.start_of(twice.enqueues[0]),
                history.start_of(twice.enqueues[1])
            );
            check.wonder(Some(key), reason);
            return;
        }
        match part.first_in_first_out() {
            (_, Some((anomaly, explanation))) => check.violate(Violation { anomaly, key, explanation }),
            (true, None) => {}
            (false, None) => check.wonder(
                Some(key),
                "a dequeue of unknown outcome may have taken any value; what could be told is in order",
            ),
        }
    })?;
    Ok(Report::new(&history.source, vec![check]).join(total))
}

/// Judges whether all that went into every key's queue came out, in any order, and nothing else did.
///
/// ```
/// use godown_jepsen::check::{self, Options};
/// use godown_jepsen::history::{Event, History};
///
/// let history: History = [
///     Event::invoke(0, "enqueue").value(1),
///     Event::ok(0, "enqueue").value(1),
///     Event::invoke(0, "drain"),
///     Event::ok(0, "drain").value([0; 0]),
/// ]
/// .into_iter()
/// .collect();
/// let report = check::total_queue(&history, &Options::default()).unwrap();
/// assert_eq!(report.checks[0].figures["lost-count"], 1);
/// assert!(report.to_string().contains("lost write: 1 was enqueued"), "{report}");
/// ```
///
/// # Errors
/// A history whose events do not make up operations, or a drain that returned no collection.
pub fn total_queue(history: &History, options: &Options) -> Result<Report, CheckError> {
    let mut check = Check::new("total-queue");
    let mut figures: Vec<(String, Figures)> = Vec::new();
    let mut is_drained = true;
    for_each_key(history, options, &mut check, |check, key, part| {
        is_drained &= part.last_drain.is_some();
        figures.push((key.to_string(), part.figures()));
        for value in &part.values {
            if let Some(explanation) = part.explain_unexpected(value) {
                check.violate(Violation { anomaly: Anomaly::Invented, key: key.clone(), explanation });
            }
        }
        let lost: Vec<&Passages<'_>> =
            part.values.iter().filter(|value| part.is_certainly_lost(value)).collect();
        if !part.has_unknown_drain && lost.len() > part.unknown_dequeues {
            for value in lost {
                let explanation = part.explain_lost(value);
                check.violate(Violation { anomaly: Anomaly::LostWrite, key: key.clone(), explanation });
            }
        }
    })?;
    if !is_drained {
        check.notes.push(
            "no drain says that a queue was empty, so what is missing is counted and not judged".to_owned(),
        );
    }
    check.figures = match figures.pop() {
        Some((_, only)) if figures.is_empty() => only,
        last => figures.into_iter().chain(last).map(|(key, figures)| (key, figures.into())).collect(),
    };
    Ok(Report::new(&history.source, vec![check]))
}

fn for_each_key(
    history: &History,
    options: &Options,
    check: &mut Check,
    mut judge: impl FnMut(&mut Check, crate::history::Value, &Part<'_>),
) -> Result<(), CheckError> {
    let operations = history.operations()?;
    let roles = history.words(Role::of);
    check.operations = operations.len();
    for (key, operations) in &keys(history, &operations) {
        check.keys += 1;
        match Part::new(history, &roles, operations, options.nil)? {
            Ok(part) => judge(check, history.value(*key), &part),
            Err(reason) => check.wonder(Some(history.value(*key)), reason),
        }
    }
    Ok(())
}

/// What a function does to a queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Enqueue,
    Dequeue,
    Drain,
    Strange,
}

impl Role {
    fn of(word: &str) -> Self {
        match word {
            "enqueue" => Role::Enqueue,
            "dequeue" => Role::Dequeue,
            "drain" => Role::Drain,
            _ => Role::Strange,
        }
    }
}

/// All that happened to one value.
struct Passages<'a> {
    atom: Atom,
    /// Enqueues that may have taken effect.
    enqueues: Vec<&'a Operation>,
    /// Enqueues that were refused.
    refused: Vec<&'a Operation>,
    /// Dequeues and drains that returned it.
    dequeues: Vec<&'a Operation>,
}

impl Passages<'_> {
    fn attempts(&self) -> usize {
        self.enqueues.len() + self.refused.len()
    }

    fn acknowledged(&self) -> usize {
        self.enqueues.iter().filter(|enqueue| enqueue.outcome == Outcome::Ok).count()
    }
}

/// All that happened to the value of an atom.
fn entry<'v, 'a>(
    values: &'v mut Vec<Passages<'a>>,
    numbers: &mut QuickMap<Atom, usize>,
    atom: Atom,
) -> &'v mut Passages<'a> {
    let number = *numbers.entry(atom).or_insert(values.len());
    if number == values.len() {
        values.push(Passages { atom, enqueues: Vec::new(), refused: Vec::new(), dequeues: Vec::new() });
    }
    &mut values[number]
}

/// How often a value counts.
type Count<'c> = &'c dyn Fn(&Passages<'_>) -> usize;

/// One key's part of a history.
struct Part<'a> {
    history: &'a History,
    /// In order of first appearance.
    values: Vec<Passages<'a>>,
    /// Dequeues that found nothing.
    answers: Vec<&'a Operation>,
    /// Dequeues that may have taken a value without telling.
    unknown_dequeues: usize,
    has_unknown_drain: bool,
    last_drain: Option<&'a Operation>,
}

impl<'a> Part<'a> {
    /// The part, or why it is none of a queue's.
    fn new(
        history: &'a History,
        roles: &[Role],
        operations: &'a [Operation],
        nil: Nil,
    ) -> Result<Result<Self, String>, CheckError> {
        let mut part = Part {
            history,
            values: Vec::new(),
            answers: Vec::new(),
            unknown_dequeues: 0,
            has_unknown_drain: false,
            last_drain: None,
        };
        let mut numbers: QuickMap<Atom, usize> = QuickMap::default();
        let values = &mut part.values;
        for operation in operations {
            match (roles[operation.f.number()], operation.outcome) {
                (Role::Enqueue, outcome) => {
                    let value = entry(values, &mut numbers, operation.argument);
                    if outcome == Outcome::Fail { &mut value.refused } else { &mut value.enqueues }
                        .push(operation);
                }
                (Role::Dequeue, Outcome::Ok) if operation.result.is_null() => match nil {
                    Nil::Absent => part.answers.push(operation),
                    Nil::Unknown => part.unknown_dequeues += 1,
                },
                (Role::Dequeue, Outcome::Ok) => {
                    entry(values, &mut numbers, operation.result).dequeues.push(operation);
                }
                (Role::Dequeue, Outcome::Unknown) => part.unknown_dequeues += 1,
                (Role::Drain, Outcome::Ok) => {
                    let Some(drained) = history.list(operation.result) else {
                        let at = format!("{}: {}", history.source, history.end_of(operation));
                        return Err(CheckError::Malformed { at, expected: "a drain returns a collection" });
                    };
                    for atom in drained {
                        entry(values, &mut numbers, *atom).dequeues.push(operation);
                    }
                    part.last_drain = Some(operation);
                }
                (Role::Drain, Outcome::Unknown) => part.has_unknown_drain = true,
                (Role::Dequeue | Role::Drain, Outcome::Fail) => {}
                (Role::Strange, _) => {
                    return Ok(Err(no_function_of("a queue (enqueue, dequeue, drain)", history, operation)));
                }
            }
        }
        Ok(Ok(part))
    }

    /// What Jepsen's `total-queue` says: all values as often as they occur.
    fn figures(&self) -> Figures {
        let count = |of: Count<'_>| self.values.iter().map(of).sum::<usize>();
        let ok = |value: &Passages<'_>| value.dequeues.len().min(value.attempts());
        let unexpected = |value: &Passages<'_>| if value.attempts() == 0 { value.dequeues.len() } else { 0 };
        let duplicated = |value: &Passages<'_>| {
            value.dequeues.len().saturating_sub(value.attempts()).saturating_sub(unexpected(value))
        };
        let lost = |value: &Passages<'_>| value.acknowledged().saturating_sub(value.dequeues.len());
        let recovered = |value: &Passages<'_>| ok(value).saturating_sub(value.acknowledged());
        let list = |of: Count<'_>| {
            let mut told: Vec<(Atom, usize)> =
                self.values.iter().map(|value| (value.atom, of(value))).collect();
            told.sort_by(|a, b| self.history.compare(a.0, b.0));
            let told = told.into_iter().flat_map(|(atom, count)| std::iter::repeat_n(atom, count));
            told.map(|atom| json!(self.history.value(atom))).collect::<Vec<_>>()
        };
        let mut figures = Figures::new();
        let is_valid = count(&lost) == 0 && count(&unexpected) == 0;
        figures.insert("valid?".to_owned(), is_valid.into());
        figures.insert("attempt-count".to_owned(), count(&|value| value.attempts()).into());
        figures.insert("acknowledged-count".to_owned(), count(&|value| value.acknowledged()).into());
        figures.insert("ok-count".to_owned(), count(&ok).into());
        let lists: [(&str, Count<'_>); 4] = [
            ("unexpected", &unexpected),
            ("duplicated", &duplicated),
            ("lost", &lost),
            ("recovered", &recovered),
        ];
        for (name, of) in lists {
            figures.insert(format!("{name}-count"), count(of).into());
            figures.insert(name.to_owned(), list(of).into());
        }
        figures
    }

    fn shown(&self, value: &Passages<'_>) -> String {
        self.history.show(value.atom).to_string()
    }

    fn is_certainly_lost(&self, value: &Passages<'_>) -> bool {
        let acknowledged = value.enqueues.iter().filter(|enqueue| {
            enqueue.outcome == Outcome::Ok
                && self.last_drain.is_some_and(|drain| enqueue.ended() < drain.invoked)
        });
        acknowledged.count() > value.dequeues.len()
    }

    fn explain_lost(&self, value: &Passages<'_>) -> Explanation {
        let enqueues = value.enqueues.iter().filter(|enqueue| enqueue.outcome == Outcome::Ok);
        let told = enqueues.chain(&value.dequeues).chain(&self.last_drain);
        let mut explanation = Explanation::of(self.history, told.copied());
        let shown = self.shown(value);
        let drain = self.last_drain.map_or(String::new(), |drain| self.history.start_of(drain).to_string());
        explanation.steps.push(format!(
            "{shown} was inside or out when the last drain began ({drain}), because its enqueue had been acknowledged"
        ));
        explanation.summary = format!("{shown} was enqueued and acknowledged, but never came out");
        explanation.contradiction = match value.dequeues.len() {
            0 => "neither a dequeue nor the drain returned it".to_owned(),
            times => format!("it came out only {times} times"),
        };
        explanation
    }

    fn explain_unexpected(&self, value: &Passages<'_>) -> Option<Explanation> {
        let dequeue = value.dequeues.first().filter(|_| value.attempts() == 0)?;
        let mut explanation = Explanation::of(self.history, [*dequeue]);
        let (shown, at) = (self.shown(value), self.history.end_of(dequeue));
        explanation.summary = format!("{shown} came out ({at}), but nobody tried to enqueue it");
        explanation.contradiction = format!("no enqueue of {shown} was ever invoked");
        Some(explanation)
    }

    /// A value that came out more often than it can have gone in. Values that nobody tried to enqueue are the business of
    /// the other rule.
    fn repeated_or_refused(&self) -> Option<Violation> {
        let is_wrong =
            |value: &&Passages<'_>| value.attempts() > 0 && value.dequeues.len() > value.enqueues.len();
        let value = self.values.iter().find(is_wrong)?;
        let calls = value.enqueues.iter().chain(&value.refused).chain(&value.dequeues);
        let mut explanation = Explanation::of(self.history, calls.copied());
        let shown = self.shown(value);
        let (times, at) = (value.dequeues.len(), self.history.end_of(value.dequeues[value.enqueues.len()]));
        let anomaly = if value.enqueues.is_empty() {
            explanation.summary = format!("{shown} came out ({at}), though its enqueue was refused");
            explanation.contradiction = "no other enqueue can have put it in".to_owned();
            Anomaly::Refused
        } else {
            explanation.summary = format!("{shown} came out {times} times ({at})");
            explanation.contradiction = format!("it was enqueued at most {} times", value.enqueues.len());
            Anomaly::Duplicate
        };
        Some(Violation { anomaly, key: crate::history::Value::Null, explanation })
    }

    /// Whether the order was decided exactly, and what is wrong with it. All values are distinct, none came out twice.
    fn first_in_first_out(&self) -> (bool, Option<(Anomaly, Explanation)>) {
        let are_all_dequeues_known = self.unknown_dequeues == 0 && !self.has_unknown_drain;
        let span =
            |operation: &Operation| Span { invoked: operation.invoked, returned: operation.returned() };
        let mut passages = Vec::with_capacity(self.values.len());
        let mut owners = Vec::with_capacity(self.values.len());
        for value in &self.values {
            let dequeue = value.dequeues.first();
            // An enqueue that may never have happened counts only if its value came out.
            if let Some(enqueue) = value.enqueues.first()
                && (dequeue.is_some() || enqueue.returned().is_some())
            {
                passages
                    .push(Passage { enqueue: span(enqueue), dequeue: dequeue.map(|dequeue| span(dequeue)) });
                owners.push(value);
            }
        }
        let answers: Vec<Span> = self.answers.iter().map(|answer| span(answer)).collect();
        let found = match queue::decide(&passages, &answers, are_all_dequeues_known) {
            Decision::Linearizable => None,
            Decision::Early { value } => Some(self.early(owners[value as usize])),
            Decision::Overtaken { first, second } => {
                self.overtaken(owners[first as usize], owners[second as usize])
            }
            Decision::NeverEmpty { answer, inside } => {
                let inside: Vec<&Passages<'_>> = inside.iter().map(|value| owners[*value as usize]).collect();
                Some(self.never_empty(self.answers[answer as usize], &inside))
            }
        };
        (are_all_dequeues_known, found)
    }

    fn early(&self, value: &Passages<'_>) -> (Anomaly, Explanation) {
        let mut explanation =
            Explanation::of(self.history, value.enqueues.iter().chain(&value.dequeues).copied());
        let shown = self.shown(value);
        explanation.summary = format!("{shown} came out before it was put in");
        if let (Some(dequeue), Some(enqueue)) = (value.dequeues.first(), value.enqueues.first()) {
            let out = format!("the dequeue of {shown}");
            explanation.in_time(self.history, (&out, dequeue), ("its enqueue", enqueue));
        }
        explanation.contradiction = format!("nobody else enqueued {shown}");
        (Anomaly::Invented, explanation)
    }

    fn overtaken(&self, first: &Passages<'_>, second: &Passages<'_>) -> Option<(Anomaly, Explanation)> {
        let (put_a, put_b) = (first.enqueues.first()?, second.enqueues.first()?);
        let out_b = second.dequeues.first()?;
        let told = [*put_a, *put_b, *out_b].into_iter().chain(first.dequeues.iter().copied());
        let mut explanation = Explanation::of(self.history, told);
        let (a, b) = (self.shown(first), self.shown(second));
        let (in_a, in_b) = (format!("{a} was enqueued"), format!("{b} was"));
        explanation.in_time(self.history, (&in_a, put_a), (&in_b, put_b));
        explanation.summary = match first.dequeues.first() {
            Some(out_a) => {
                let (out_of_a, out_of_b) = (format!("{a} was"), format!("{b} was dequeued"));
                explanation.in_time(self.history, (&out_of_b, out_b), (&out_of_a, out_a));
                format!("{a} was enqueued before {b} and dequeued after it")
            }
            None => {
                explanation
                    .steps
                    .push(format!("{b} was dequeued, because {} says so", self.history.end_of(out_b)));
                format!("{a} was never dequeued, though {b} was, which was enqueued later")
            }
        };
        explanation.contradiction = "what is first in is first out".to_owned();
        Some((Anomaly::OutOfOrder, explanation))
    }

    fn never_empty(&self, answer: &Operation, inside: &[&Passages<'_>]) -> (Anomaly, Explanation) {
        let calls = inside.iter().flat_map(|value| value.enqueues.iter().chain(&value.dequeues).copied());
        let mut explanation = Explanation::of(self.history, calls.chain([answer]));
        let at = self.history.end_of(answer);
        for value in inside {
            let until = match value.dequeues.first() {
                Some(dequeue) => format!("until {}", self.history.start_of(dequeue)),
                None => "to the end".to_owned(),
            };
            let from = value
                .enqueues
                .first()
                .map_or(String::new(), |enqueue| self.history.end_of(enqueue).to_string());
            let shown = self.shown(value);
            explanation.steps.push(format!(
                "{shown} was inside from {from} {until}, because its enqueue had returned and no dequeue of it had begun"
            ));
        }
        explanation.summary = format!("the queue was said to be empty ({at}), but never was meanwhile");
        let process = self.history.process(answer.process);
        explanation.contradiction = format!("process {process} found it empty ({at})");
        (Anomaly::StaleRead, explanation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::history::{Event, Value};

    /// One whole operation after another, each by a process of its own.
    fn sequence(operations: &[(&str, Value)]) -> Vec<Event> {
        let each = (0u64..).zip(operations).flat_map(|(process, (f, value))| {
            let argument = if *f == "enqueue" { value.clone() } else { Value::Null };
            [Event::invoke(process, *f).value(argument), Event::ok(process, *f).value(value.clone())]
        });
        each.collect()
    }

    fn judge(operations: &[(&str, Value)]) -> Report {
        queue(&sequence(operations).into_iter().collect(), &Options::default()).unwrap()
    }

    fn list(values: &[i64]) -> Value {
        Value::from(values.to_vec())
    }

    #[test]
    fn every_way_to_be_wrong_is_told_in_its_own_words() {
        let good = [("dequeue", Value::Null), ("enqueue", 1.into()), ("enqueue", 2.into())];
        let and = |more: &[(&'static str, Value)]| judge(&[&good[..], more].concat());
        let valid = [("dequeue", 1.into()), ("drain", list(&[2])), ("dequeue", Value::Null)];
        assert!(and(&valid).is_valid(), "{}", and(&valid));
        for (more, anomaly, words) in [
            (vec![("dequeue", 2.into()), ("dequeue", 1.into())], Anomaly::OutOfOrder, "dequeued after it"),
            (vec![("dequeue", 2.into())], Anomaly::OutOfOrder, "never dequeued, though 2 was"),
            (vec![("dequeue", 3.into())], Anomaly::Invented, "nobody tried to enqueue it"),
            (vec![("dequeue", 3.into()), ("enqueue", 3.into())], Anomaly::Invented, "came out before"),
            (vec![("dequeue", 1.into()), ("dequeue", 1.into())], Anomaly::Duplicate, "came out 2 times"),
            (vec![("dequeue", Value::Null)], Anomaly::StaleRead, "1 was inside from event 3 to the end"),
            (vec![("drain", list(&[1]))], Anomaly::LostWrite, "2 was enqueued and acknowledged"),
        ] {
            let report = and(&more);
            let violation = report.violations().next().unwrap_or_else(|| panic!("{report}"));
            assert_eq!(violation.anomaly, anomaly, "{report}");
            assert!(report.to_string().contains(words), "{report}");
        }
    }

    #[test]
    fn a_refused_value_that_comes_out_is_called_so_and_counts_as_recovered() {
        let mut events = vec![Event::invoke(9, "enqueue").value(5), Event::fail(9, "enqueue").value(5)];
        events.extend(sequence(&[("dequeue", 5.into())]));
        let report = queue(&events.into_iter().collect(), &Options::default()).unwrap();
        assert_eq!(report.violations().next().unwrap().anomaly, Anomaly::Refused, "{report}");
        assert_eq!(report.checks[1].figures["recovered"], json!([5]));
    }

    #[test]
    fn the_figures_count_as_jepsen_does() {
        let mut events = vec![Event::invoke(90, "enqueue").value(4)];
        events.extend(sequence(&[
            ("enqueue", 1.into()),
            ("enqueue", 1.into()),
            ("enqueue", 2.into()),
            ("enqueue", 3.into()),
            ("dequeue", 1.into()),
            ("dequeue", 2.into()),
            ("dequeue", 9.into()),
            ("drain", list(&[2, 3, 4])),
        ]));
        let report = total_queue(&events.into_iter().collect(), &Options::default()).unwrap();
        let expected = json!({
            "valid?": false, "attempt-count": 5, "acknowledged-count": 4, "ok-count": 4,
            "unexpected-count": 1, "unexpected": [9], "duplicated-count": 1, "duplicated": [2],
            "lost-count": 1, "lost": [1], "recovered-count": 1, "recovered": [4],
        });
        assert_eq!(json!(report.checks[0].figures), expected);
        let anomalies: Vec<Anomaly> = report.violations().map(|violation| violation.anomaly).collect();
        assert_eq!(anomalies, [Anomaly::Invented, Anomaly::LostWrite]);
    }

    #[test]
    fn what_is_missing_is_lost_only_if_nobody_can_have_it() {
        let missing = [("enqueue", 1.into())];
        let report = judge(&missing);
        assert!(report.is_valid() && report.to_string().contains("counted and not judged"), "{report}");
        let with = |mut events: Vec<Event>| {
            events.extend(sequence(&[("enqueue", 1.into()), ("drain", list(&[]))]));
            total_queue(&events.into_iter().collect(), &Options::default()).unwrap().verdict
        };
        assert_eq!(with(vec![]), Verdict::Violated);
        assert_eq!(with(vec![Event::invoke(90, "dequeue")]), Verdict::Valid);
        assert_eq!(with(vec![Event::invoke(90, "drain")]), Verdict::Valid);
    }

    #[test]
    fn the_order_of_equal_values_and_of_lost_dequeues_is_unknown() {
        assert_eq!(judge(&[("enqueue", 1.into()), ("enqueue", 1.into())]).verdict, Verdict::Unknown);
        let mut events = vec![Event::invoke(90, "dequeue")];
        events.extend(sequence(&[("enqueue", 1.into()), ("enqueue", 2.into()), ("dequeue", 2.into())]));
        let report = queue(&events.into_iter().collect(), &Options::default()).unwrap();
        assert_eq!(report.verdict, Verdict::Unknown, "{report}");
    }
}
