//! Session guarantees: read your writes, monotonic reads, monotonic writes, writes follow reads.
//!
//! The guarantees of Terry and others (1994), a check each. A key whose writes say what they had seen keeps all concurrent
//! values, and is judged by itself in `engine::context`: a read breaks a guarantee if it shows neither what it must know nor
//! what had replaced it, and no delete can be why. All other keys show one value and are judged together in
//! `engine::session`, where a read breaks a guarantee if no order of the writes, agreed by all sessions, lets it show what
//! it showed while it knew what it must. Then monotonic writes and writes follow reads can only be told from what
//! sessions read one after another; where monotonic reads are broken already, they are unknown. Sessions are the processes.
//! Reads out of thin air are left out here; the other models tell them.

use std::collections::BTreeSet;

use super::accesses::Accesses;
use super::causal::{Story, over};
use super::convergence::shown;
use super::reasons::{no_function_of, written_twice};
use super::register::Options;
use super::report::{Anomaly, Check, Explanation, Report, Violation};
use super::role::Role;
use super::{CheckError, keys};
use crate::engine::causal::{Budget, Finding, Limit};
use crate::engine::context::{Because, Element, Miss, View, misses};
use crate::engine::quick::QuickMap;
use crate::engine::session;
use crate::history::{Atom, History, Operation, Outcome};

/// How many violations of each guarantee are told, by key where keys are judged alone.
const FINDINGS_MAX: usize = 20;

/// Judges the four session guarantees. Keys begin with nothing.
///
/// ```
/// use godown_jepsen::check::{self, Options, Verdict};
/// use godown_jepsen::history::{Event, History};
///
/// let history: History = [
///     Event::invoke(0, "write").key("k").value(1),
///     Event::ok(0, "write").key("k"),
///     Event::invoke(0, "read").key("k"),
///     Event::ok(0, "read").key("k").value(()),
/// ]
/// .into_iter()
/// .collect();
/// let report = check::session(&history, &Options::default()).unwrap();
/// let verdicts: Vec<_> = report.checks.iter().map(|check| (check.name, check.verdict)).collect();
/// assert_eq!(verdicts[0], ("read your writes", Verdict::Violated));
/// assert_eq!(verdicts[1], ("monotonic reads", Verdict::Valid));
/// ```
///
/// # Errors
/// A history whose events do not make up operations.
pub fn session(history: &History, options: &Options) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let keys = keys(history, &operations);
    let has_context: BTreeSet<Atom> = operations
        .iter()
        .filter(|operation| history.at(operation.invoked).seen().is_some())
        .map(|operation| operation.key.or(Atom::NULL))
        .collect();
    let mut checks: Vec<Check> = GUARANTEES.iter().map(|(name, _)| Check::new(name)).collect();
    for check in &mut checks {
        check.operations = operations.len();
        check.keys = keys.len();
    }
    let plain: Vec<Operation> = operations
        .iter()
        .filter(|operation| !has_context.contains(&operation.key.or(Atom::NULL)))
        .copied()
        .collect();
    if !plain.is_empty() {
        judge_values(history, &plain, options, &mut checks);
    }
    for (key, operations) in keys.iter().filter(|(key, _)| has_context.contains(key)) {
        match Part::new(history, operations) {
            Ok(part) => part.judge(*key, &mut checks),
            Err(reason) => {
                let key = history.value(*key);
                checks.iter_mut().for_each(|check| check.wonder(Some(key.clone()), reason.as_str()));
            }
        }
    }
    options.progress.fetch_add(operations.len() as u64, std::sync::atomic::Ordering::Relaxed);
    Ok(Report::new(&history.source, checks))
}

const GUARANTEES: [(&str, Anomaly); 4] = [
    ("read your writes", Anomaly::ReadYourWrites),
    ("monotonic reads", Anomaly::MonotonicReads),
    ("monotonic writes", Anomaly::MonotonicWrites),
    ("writes follow reads", Anomaly::WritesFollowReads),
];

fn judge_values(history: &History, operations: &[Operation], options: &Options, checks: &mut [Check]) {
    let accesses = Accesses::new(history, operations, options.nil);
    let budget = Budget {
        orders_max: 16,
        conflicts_max: 64 << 20,
        clock_words_max: 0,
        steps_max: 0,
        deadline: None,
        findings_max: FINDINGS_MAX,
    };
    let answer = session::decide(&accesses.list, budget);
    let story = Story { history, accesses: &accesses };
    for (check, count) in checks.iter_mut().zip(answer.orders) {
        check.figures.insert("orders_told_by_reads_alone".to_owned(), count.into());
    }
    let broken = |name| Err(format!("it can only be told where {name} are kept"));
    let found: [Result<Vec<Finding>, String>; 4] = [
        Ok(answer.read_your_writes),
        Ok(answer.monotonic_reads),
        answer.monotonic_writes.map_or_else(|| broken("monotonic reads"), |found| within(found, options)),
        answer
            .writes_follow_reads
            .map_or_else(|| broken("monotonic reads and writes"), |found| within(found, options)),
    ];
    for ((check, found), (_, anomaly)) in checks.iter_mut().zip(found).zip(GUARANTEES) {
        match found {
            Ok(findings) => {
                for finding in &findings {
                    check.violate(Violation { anomaly, ..story.violation(finding) });
                }
            }
            Err(reason) => check.wonder(None, reason),
        }
        accesses.tell_unknowns(history, check);
        match accesses.thin_reads() {
            0 => {}
            1 => check.notes.push("1 read out of thin air left out".to_owned()),
            count => check.notes.push(format!("{count} reads out of thin air left out")),
        }
    }
}

fn within(found: Result<Vec<Finding>, Limit>, options: &Options) -> Result<Vec<Finding>, String> {
    found.map_err(|limit| over(limit, options))
}

/// One key that keeps all concurrent values.
struct Part<'h> {
    history: &'h History,
    writes: Vec<Operation>,
    elements: Vec<Element>,
    reads: Vec<Operation>,
    views: Vec<View>,
}

impl<'h> Part<'h> {
    /// Sorts a key's operations.
    ///
    /// # Errors
    /// In words, why the guarantees cannot be told: a function that they do not know, or a value written twice.
    fn new(history: &'h History, operations: &[Operation]) -> Result<Self, String> {
        let mut part =
            Part { history, writes: Vec::new(), elements: Vec::new(), reads: Vec::new(), views: Vec::new() };
        let mut numbers: QuickMap<Atom, u32> = QuickMap::default();
        for operation in operations {
            match (Role::of(history.word(operation.f)), operation.outcome) {
                (Role::Read, Outcome::Ok) => part.reads.push(*operation),
                (Role::Read, _) | (Role::Write | Role::Delete, Outcome::Fail) => {}
                (Role::Write, _) => part.add(operation, false, &mut numbers)?,
                (Role::Delete, _) => part.add(operation, true, &mut numbers)?,
                (Role::Cas | Role::Strange, _) => {
                    return Err(no_function_of("this rule (read, write, delete)", history, operation));
                }
            }
        }
        for read in &part.reads {
            let shows = shown(history, read).iter().filter_map(|value| numbers.get(value).copied());
            let ended = read.ended();
            let is_shown = |number: &u32| {
                let element = &part.elements[*number as usize];
                !element.is_delete && element.invoked < ended
            };
            let shows = shows.filter(is_shown).collect();
            part.views.push(View { session: read.process, invoked: read.invoked, ended, shows });
        }
        Ok(part)
    }

    fn add(
        &mut self,
        operation: &Operation,
        is_delete: bool,
        numbers: &mut QuickMap<Atom, u32>,
    ) -> Result<(), String> {
        let history = self.history;
        let seen = operation.seen(history).iter().filter_map(|value| numbers.get(value).copied()).collect();
        let number = self.writes.len() as u32;
        if let Some(value) = operation.argument.present().filter(|value| !value.is_null())
            && let Some(other) = numbers.insert(value, number)
        {
            return Err(written_twice(value, history, &self.writes[other as usize], operation));
        }
        self.writes.push(*operation);
        self.elements.push(Element {
            session: operation.process,
            invoked: operation.invoked,
            is_acknowledged: operation.outcome == Outcome::Ok,
            is_delete,
            seen,
        });
        Ok(())
    }

    fn judge(&self, key: Atom, checks: &mut [Check]) {
        let misses = misses(&self.elements, &self.views);
        for (number, check) in checks.iter_mut().enumerate() {
            let anomaly = GUARANTEES[number].1;
            let mut told = BTreeSet::new();
            for miss in misses.iter().filter(|miss| guarantee(miss.because) == number) {
                if told.len() < FINDINGS_MAX && told.insert(miss.element) {
                    let key = self.history.value(key);
                    check.violate(Violation { anomaly, key, explanation: self.explain(miss) });
                }
            }
        }
    }

    fn explain(&self, miss: &Miss) -> Explanation {
        let read = &self.reads[miss.view as usize];
        let element = self.write(miss.element);
        let who = self.read(miss.view);
        let mut told = BTreeSet::from([self.writes[miss.element as usize].invoked, read.ended()]);
        let mut steps = Vec::new();
        let mut because = |known: Option<u32>, shown: Option<u32>| {
            if let Some(known) = known {
                steps.extend(self.knowing(miss.view, known, &mut told));
            }
            if let Some(shown) = shown {
                told.insert(self.reads[shown as usize].ended());
            }
        };
        let reason = match miss.because {
            Because::Wrote => {
                told.extend(self.writes[miss.element as usize].completed());
                format!("{who} must know that {element}, because its own session wrote that before")
            }
            Because::Read(earlier) => {
                because(None, Some(earlier));
                format!("{who} must know that {element}, because {} before", self.read(earlier))
            }
            Because::WroteBefore(known) => {
                because(Some(known), None);
                told.extend(self.writes[miss.element as usize].completed());
                format!(
                    "{who} must know that {element}, because the same session wrote that before {}",
                    self.write(known)
                )
            }
            Because::ReadBefore(known, earlier) => {
                because(Some(known), Some(earlier));
                format!(
                    "{who} must know that {element}, because {} before {}",
                    self.read(earlier),
                    self.write(known)
                )
            }
        };
        steps.push(reason);
        Explanation {
            summary: format!("{who}, but not what {element}, nor anything that replaced it"),
            events: told.into_iter().map(|position| self.history.place(position)).collect(),
            steps,
            contradiction: format!("{who}: neither that value nor one that replaced it"),
        }
    }

    /// How a read knows an element: by a shown value that is it or replaced it, perhaps through others.
    fn knowing(&self, view: u32, element: u32, told: &mut BTreeSet<u32>) -> Vec<String> {
        let mut above: Vec<Option<u32>> = vec![None; self.elements.len()];
        let mut stack = self.views[view as usize].shows.clone();
        stack.iter().for_each(|shown| above[*shown as usize] = Some(*shown));
        while let Some(upper) = stack.pop() {
            for lower in &self.elements[upper as usize].seen {
                if above[*lower as usize].is_none() {
                    above[*lower as usize] = Some(upper);
                    stack.push(*lower);
                }
            }
        }
        let mut steps = Vec::new();
        let mut lower = element;
        told.insert(self.writes[lower as usize].invoked);
        while let Some(upper) = above[lower as usize].filter(|upper| *upper != lower) {
            told.insert(self.writes[upper as usize].invoked);
            steps.push(format!(
                "{} knew that {}, because it had seen it",
                self.write(upper),
                self.write(lower)
            ));
            lower = upper;
        }
        steps.push(format!("{} knows that {}, because it shows that", self.read(view), self.write(lower)));
        steps
    }

    /// "process 3 wrote 5 (line 7)".
    fn write(&self, element: u32) -> String {
        let operation = &self.writes[element as usize];
        let (history, at) = (self.history, self.history.start_of(operation));
        let process = history.process(operation.process);
        match (self.elements[element as usize].is_delete, operation.argument.is_null()) {
            (true, true) => format!("process {process} deleted ({at})"),
            (true, false) => {
                format!("process {process} deleted as {} ({at})", history.show(operation.argument))
            }
            (false, _) => format!("process {process} wrote {} ({at})", history.show(operation.argument)),
        }
    }

    /// "process 3 read [5] (line 8)".
    fn read(&self, view: u32) -> String {
        let operation = &self.reads[view as usize];
        let (history, at) = (self.history, self.history.end_of(operation));
        let process = history.process(operation.process);
        match shown(history, operation) {
            [] => format!("process {process} read nothing ({at})"),
            _ => format!("process {process} read {} ({at})", history.show(operation.result)),
        }
    }
}

/// Which of the four guarantees an obligation belongs to.
fn guarantee(because: Because) -> usize {
    match because {
        Because::Wrote => 0,
        Because::Read(_) => 1,
        Because::WroteBefore(_) => 2,
        Because::ReadBefore(..) => 3,
    }
}
