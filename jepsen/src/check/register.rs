//! Linearizability of registers, key by key.
//!
//! A history is linearizable if each key's part of it is (Herlihy and Wing, 1990), so every key is judged alone, in
//! parallel, and the results stand in the order of the keys. This file turns operations into the calls that the
//! search in `wgl` understands, and a failed search into an explanation: it relaxes the history (leaves reads out, lets
//! writes take effect whenever they like) as far as it still fails, so that only the calls that matter are told.
//! What a read of nothing and a failed cas mean is an option, because recorders differ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::reasons::no_function_of;
use super::report::{Anomaly, Check, Explanation, Report, Violation};
use super::role::Role;
use super::{CheckError, Quorum, Resolve, keys, witness};
use crate::engine::quick::QuickMap;
use crate::engine::wgl::{self, Budget, Call, Decision, Step};
use crate::engine::zones::{self, Finding};
use crate::history::{Atom, History, Operation, Outcome, Shown};

/// What an acknowledged read of nothing means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nil {
    /// The register held nothing: it had not been written, or had been deleted. As porcupine.
    #[default]
    Absent,
    /// The recorder did not know what was read; such a read explains itself. As knossos.
    Unknown,
}

/// What a cas that certainly failed means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailedCas {
    /// It did not happen, for whatever reason: a refusal, a full queue, another value. As knossos.
    #[default]
    Ignore,
    /// The register did not hold the expected value at some time during the call. As porcupine.
    Check,
}

/// How to judge.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a read of nothing means.
    pub nil: Nil,
    /// What a failed cas means.
    pub failed_cas: FailedCas,
    /// Whether to look for the fewest calls that explain why a search found no order. Verdicts do not depend on it.
    pub explain: bool,
    /// How long to try, for all keys together; then what is left is unknown.
    pub timeout: Option<Duration>,
    /// How many steps to take for one key; then it is unknown.
    pub steps_max: u64,
    /// How many configurations to remember for one key (up to a hundred bytes each); then it is unknown.
    pub configurations_max: usize,
    /// Which of several writes of a register wins in the end.
    pub resolve: Resolve,
    /// By how many writes a read may be behind; any number if none.
    pub staleness_k_max: Option<u32>,
    /// For how long what a read missed may have been in effect; any time if none.
    pub staleness_age_max: Option<Duration>,
    /// Whose model to draw beside the measured staleness.
    pub quorum: Option<Quorum>,
    /// Counts the operations judged so far, for a progress bar.
    pub progress: Arc<AtomicU64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            nil: Nil::default(),
            failed_cas: FailedCas::default(),
            explain: true,
            timeout: None,
            steps_max: 2_000_000_000,
            configurations_max: 10_000_000,
            resolve: Resolve::default(),
            staleness_k_max: None,
            staleness_age_max: None,
            quorum: None,
            progress: Arc::default(),
        }
    }
}

/// How many steps may be spent on making one explanation short.
const RELAX_STEPS_MAX: u64 = 100_000;

/// Judges whether every key's reads, writes, deletes and cas could have taken effect one at a time, each between its
/// invocation and its completion. Keys begin with nothing.
///
/// # Errors
/// A history whose events do not make up operations, or a cas whose value is no pair.
pub fn linearizable(history: &History, options: &Options) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let keys = keys(history, &operations);
    let roles = history.words(Role::of);
    let deadline = options.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut parts = Vec::with_capacity(keys.len());
    for (key, operations) in &keys {
        parts.push((parts.len(), *key, Part::new(history, &roles, operations, options)?));
    }
    // The largest first: a large one that begins last would leave the other cores idle.
    parts.sort_by_key(|(place, _, part)| (std::cmp::Reverse(part.calls.len()), *place));
    let judge = |(place, key, part): &(usize, Atom, Part<'_>)| {
        let result = part.judge(*key, options, deadline);
        options.progress.fetch_add(part.operations.len() as u64, Ordering::Relaxed);
        (*place, *key, result)
    };
    // Waking another core takes longer than judging a small history.
    let mut results: Vec<_> = match parts.as_slice() {
        [only] => vec![judge(only)],
        parts => parts.par_iter().with_max_len(1).map(judge).collect(),
    };
    results.sort_by_key(|(place, ..)| *place);

    let mut check = Check::new("linearizable");
    check.keys = keys.len();
    check.operations = operations.len();
    check.notes.push(format!(
        "a read of nil is {}, a failed cas is {}",
        match options.nil {
            Nil::Absent => "an absent value",
            Nil::Unknown => "an unknown value",
        },
        match options.failed_cas {
            FailedCas::Check => "checked",
            FailedCas::Ignore => "ignored",
        }
    ));
    for (_, key, result) in results {
        match result {
            Found::Nothing => {}
            Found::Violation(violation) => check.violate(*violation),
            Found::Unknown(reason) => check.wonder(Some(history.value(key)), reason),
        }
    }
    Ok(Report::new(&history.source, vec![check]))
}

enum Found {
    Nothing,
    Violation(Box<Violation>),
    Unknown(String),
}

/// One key's part of a history.
pub(super) struct Part<'a> {
    pub(super) history: &'a History,
    operations: &'a [Operation],
    roles: &'a [Role],
    /// The call of each operation that says anything; the operation's place beside it.
    pub(super) calls: Vec<Call>,
    owners: Vec<u32>,
    /// The value behind each number.
    values: Vec<Atom>,
    /// A function that is no register's.
    stranger: Option<Operation>,
}

/// Numbers given to values: small whole numbers, which most histories write in order, find theirs in a table.
struct Numbers {
    small: Vec<u32>,
    small_max: usize,
    others: QuickMap<Atom, u32>,
}

impl Numbers {
    const NONE: u32 = u32::MAX;

    fn new(operations: usize) -> Self {
        Numbers { small: Vec::new(), small_max: 2 * operations + 1_024, others: QuickMap::default() }
    }

    /// The place of a value's number, [`Numbers::NONE`] at first.
    fn of(&mut self, value: Atom) -> &mut u32 {
        let place = value.number() as usize;
        if place >= self.small_max {
            return self.others.entry(value).or_insert(Self::NONE);
        }
        if place >= self.small.len() {
            self.small.resize((2 * place + 64).min(self.small_max), Self::NONE);
        }
        &mut self.small[place]
    }
}

impl<'a> Part<'a> {
    fn new(
        history: &'a History,
        roles: &'a [Role],
        operations: &'a [Operation],
        options: &Options,
    ) -> Result<Self, CheckError> {
        let mut part = Part {
            history,
            operations,
            roles,
            calls: Vec::with_capacity(operations.len()),
            owners: Vec::with_capacity(operations.len()),
            values: vec![Atom::NULL],
            stranger: None,
        };
        let mut numbers = Numbers::new(operations.len());
        *numbers.of(Atom::NULL) = 0;
        for (owner, operation) in (0u32..).zip(operations) {
            let mut number = |value: Atom| {
                let number = numbers.of(value.or(Atom::NULL));
                if *number == Numbers::NONE {
                    *number = part.values.len() as u32;
                    part.values.push(value);
                }
                *number
            };
            let outcome = operation.outcome;
            let step = match (roles[operation.f.number()], outcome) {
                (Role::Read, Outcome::Ok) => match operation.result {
                    value if !value.is_null() => Some(Step::Read(number(value))),
                    _ if options.nil == Nil::Absent => Some(Step::Read(0)),
                    _ => None,
                },
                (Role::Read, _) | (Role::Write | Role::Delete, Outcome::Fail) => None,
                (Role::Write, _) => Some(Step::Write(number(operation.argument))),
                (Role::Delete, _) => Some(Step::Write(0)),
                (Role::Cas, outcome) => {
                    let Some([old, new]) = history.list(operation.argument) else {
                        let at = place_of(history, operation);
                        return Err(CheckError::Malformed { at, expected: "a cas needs a value [old, new]" });
                    };
                    match (outcome, options.failed_cas) {
                        (Outcome::Fail, FailedCas::Ignore) => None,
                        (Outcome::Fail, FailedCas::Check) => Some(Step::Differs(number(*old))),
                        (Outcome::Ok | Outcome::Unknown, _) => Some(Step::Cas(number(*old), number(*new))),
                    }
                }
                (Role::Strange, _) => {
                    part.stranger = part.stranger.or(Some(*operation));
                    None
                }
            };
            if let Some(step) = step {
                let returned = operation.returned();
                part.calls.push(Call { step, invoked: operation.invoked, returned });
                part.owners.push(owner);
            }
        }
        Ok(part)
    }

    fn judge(&self, key: Atom, options: &Options, deadline: Option<Instant>) -> Found {
        if let Some(stranger) = &self.stranger {
            let object = "a register (read, write, delete, cas)";
            return Found::Unknown(no_function_of(object, self.history, stranger));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Found::Unknown("the time ran out before its turn; allow more with --timeout".to_owned());
        }
        match zones::decide(&self.calls) {
            Finding::Linearizable => return Found::Nothing,
            Finding::Violated(witness) => {
                let (anomaly, explanation) = witness::explain(self, &witness);
                let key = self.history.value(key);
                return Found::Violation(Box::new(Violation { anomaly, key, explanation }));
            }
            Finding::Outside(_) => {}
        }
        let budget =
            Budget { steps_max: options.steps_max, configurations_max: options.configurations_max, deadline };
        let count = self.calls.len();
        match wgl::decide(&self.calls, budget).0 {
            Decision::Linearizable => Found::Nothing,
            Decision::Impossible { call, states } => {
                let explanation = self.explain(call, &states, options.explain, deadline);
                Found::Violation(Box::new(Violation {
                    anomaly: Anomaly::NotLinearizable,
                    key: self.history.value(key),
                    explanation,
                }))
            }
            Decision::OutOfSteps => Found::Unknown(format!(
                "{} steps were not enough for its {count} operations; split the key's history or use distinct values",
                options.steps_max
            )),
            Decision::OutOfMemory => Found::Unknown(format!(
                "the memory for {} configurations was not enough for its {count} operations; \
                 split the key's history or use distinct values",
                options.configurations_max
            )),
            Decision::OutOfTime => Found::Unknown(format!(
                "the time ran out on its {count} operations; allow more with --timeout"
            )),
            Decision::TooWide => {
                Found::Unknown("more than 4,096 operations are open at once; use fewer processes".to_owned())
            }
        }
    }

    pub(super) fn operation(&self, call: usize) -> &Operation {
        &self.operations[self.owners[call] as usize]
    }

    fn explain(
        &self,
        blamed: usize,
        states: &[u32],
        searches: bool,
        deadline: Option<Instant>,
    ) -> Explanation {
        let end = self.calls[blamed].returned.unwrap_or(u32::MAX);
        let relaxed = match searches {
            true => relax(&self.calls, end, deadline),
            false => Relaxed { kept: vec![blamed], free: Vec::new() },
        };
        let mut explanation = Explanation::default();
        let mut told = BTreeSet::new();
        for call in &relaxed.kept {
            let operation = self.operation(*call);
            told.insert(operation.invoked);
            told.insert(operation.ended());
            // A writer of the value in question belongs to the story even when it may take effect at any time.
            if let Some(value) = self.calls[*call].step.needs() {
                for writer in relaxed.writers(value) {
                    told.insert(self.operation(writer).invoked);
                }
            }
        }
        explanation.events = told.iter().map(|position| self.history.place(*position)).collect();
        self.steps(&relaxed.kept, &mut explanation);

        let operation = self.operation(blamed);
        let what = self.describe(blamed);
        let at = self.history.end_of(operation);
        let held = match states {
            [one] => format!("the register can only have held {}", self.value(*one)),
            [] => "the register cannot have held anything".to_owned(),
            some => {
                let names: Vec<String> = some.iter().map(|state| self.value(*state).to_string()).collect();
                format!("the register can only have held one of {}", names.join(", "))
            }
        };
        explanation.summary = format!("no order of the operations explains that {what} ({at})");
        explanation.contradiction = format!(
            "when {what} ({at}), {held}{}",
            if self.is_thin_air(blamed, end) { ", and nobody had begun to write the value" } else { "" }
        );
        explanation
    }

    /// Which of the calls that matter must come before which, as far as the clock of the log says so.
    fn steps(&self, kept: &[usize], explanation: &mut Explanation) {
        const STEPS_MAX: usize = 8;
        let mut by_return: Vec<usize> = kept.to_vec();
        by_return.sort_by_key(|call| self.calls[*call].returned);
        for later in kept {
            // The latest of those that returned before this one began says the most.
            let earlier = by_return.iter().rev().find(|earlier| {
                self.calls[**earlier].returned.is_some_and(|returned| returned < self.calls[*later].invoked)
            });
            let (Some(earlier), true) = (earlier, explanation.steps.len() < STEPS_MAX) else {
                continue;
            };
            let (a, b) = (self.operation(*earlier), self.operation(*later));
            explanation.steps.push(format!(
                "{} before {}, because it returned ({}) before that began ({})",
                self.describe(*earlier),
                self.describe(*later),
                self.history.end_of(a),
                self.history.start_of(b)
            ));
        }
    }

    pub(super) fn value(&self, number: u32) -> Shown<'a> {
        self.history.show(self.values[number as usize])
    }

    pub(super) fn describe(&self, call: usize) -> String {
        let process = self.history.process(self.operation(call).process);
        let value = |number: u32| self.value(number);
        match self.calls[call].step {
            Step::Read(number) => format!("process {process} read {}", value(number)),
            Step::Differs(number) => format!("process {process} found no {} (cas failed)", value(number)),
            Step::Write(0) => format!("process {process} wrote nothing"),
            Step::Write(number) => format!("process {process} wrote {}", value(number)),
            Step::Cas(old, new) => format!("process {process} replaced {} by {}", value(old), value(new)),
        }
    }

    /// A failed write or cas of a value.
    pub(super) fn refused_write(&self, value: u32) -> Option<&Operation> {
        let value = self.values[value as usize];
        self.operations.iter().find(|operation| {
            operation.outcome == Outcome::Fail
                && match self.roles[operation.f.number()] {
                    Role::Write => operation.argument == value,
                    Role::Cas => self.history.list(operation.argument).is_some_and(|pair| pair[1] == value),
                    Role::Read | Role::Delete | Role::Strange => false,
                }
        })
    }

    /// Whether a call needs a value that no call before `end` could have written.
    fn is_thin_air(&self, call: usize, end: u32) -> bool {
        self.calls[call].step.needs().is_some_and(|value| {
            value != 0
                && !self.calls.iter().any(|other| other.invoked < end && other.step.makes() == Some(value))
        })
    }
}

fn place_of(history: &History, operation: &Operation) -> String {
    format!("{}: {}", history.source, history.start_of(operation))
}

/// A history that fails with as few obligations as were found.
struct Relaxed {
    /// The calls whose completion matters, by place in the input.
    kept: Vec<usize>,
    /// Every other call that may still take effect.
    free: Vec<(usize, Step)>,
}

impl Relaxed {
    /// Calls outside `kept` that write a value: few enough to tell.
    fn writers(&self, value: u32) -> impl Iterator<Item = usize> + '_ {
        const WRITERS_MAX: usize = 3;
        let writers = self.free.iter().filter(move |(_, step)| step.makes() == Some(value));
        writers.take(WRITERS_MAX).map(|(call, _)| *call)
    }
}

/// Takes obligations away from the calls up to `end` while no linearization appears: a call without one may take
/// effect at any later time or never, so whatever still fails is a reason why the whole fails. Large groups are tried
/// first (as in Zeller's delta debugging, 1999), then smaller ones. Without a deadline the result depends on the calls
/// alone.
fn relax(calls: &[Call], end: u32, deadline: Option<Instant>) -> Relaxed {
    let prefix: Vec<usize> = (0..calls.len()).filter(|call| calls[*call].invoked <= end).collect();
    let mut is_kept: Vec<bool> = vec![false; calls.len()];
    let mut kept: Vec<usize> =
        prefix.iter().copied().filter(|call| calls[*call].returned.is_some_and(|at| at <= end)).collect();
    kept.iter().for_each(|call| is_kept[*call] = true);
    let mut steps_left = RELAX_STEPS_MAX;
    // What may still make a difference: a read without an obligation does not.
    let mut active = prefix.clone();
    let mut trial: Vec<Call> = Vec::with_capacity(prefix.len());
    let mut size = kept.len().div_ceil(2);
    while size > 0 && steps_left > 0 {
        let mut begin = 0;
        while begin < kept.len()
            && steps_left > 0
            && deadline.is_none_or(|deadline| Instant::now() < deadline)
        {
            let group: Vec<usize> = kept[begin..kept.len().min(begin + size)].to_vec();
            group.iter().for_each(|call| is_kept[*call] = false);
            trial.clear();
            trial.extend(active.iter().map(|call| Call {
                returned: calls[*call].returned.filter(|_| is_kept[*call]),
                ..calls[*call]
            }));
            let budget = Budget { steps_max: steps_left, configurations_max: 200_000, deadline };
            let (decision, steps) = wgl::decide(&trial, budget);
            steps_left = steps_left.saturating_sub(steps + trial.len() as u64);
            if matches!(decision, Decision::Impossible { .. }) {
                kept.retain(|call| is_kept[*call]);
                active.retain(|call| is_kept[*call] || calls[*call].step.makes().is_some());
            } else {
                group.iter().for_each(|call| is_kept[*call] = true);
                begin += size;
            }
        }
        size /= 2;
    }
    let free =
        prefix.into_iter().filter(|call| !is_kept[*call]).map(|call| (call, calls[call].step)).collect();
    Relaxed { kept, free }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::history::{Event, Value};

    fn judge(events: impl IntoIterator<Item = Event>, options: &Options) -> Report {
        linearizable(&events.into_iter().collect(), options).unwrap()
    }

    /// One whole operation after another on a key, each by a process of its own.
    fn sequence(key: &str, operations: &[(&str, Value, Value)]) -> Vec<Event> {
        let each = (0u64..).zip(operations).flat_map(|(process, (f, argument, result))| {
            let invoke = Event::invoke(process, *f).key(key).value(argument.clone());
            [invoke, Event::ok(process, *f).key(key).value(result.clone())]
        });
        each.collect()
    }

    fn write(value: i64) -> (&'static str, Value, Value) {
        ("write", value.into(), value.into())
    }

    fn read(value: impl Into<Value>) -> (&'static str, Value, Value) {
        ("read", Value::Null, value.into())
    }

    fn cas(old: i64, new: i64) -> (&'static str, Value, Value) {
        ("cas", [old, new].into(), [old, new].into())
    }

    fn delete() -> (&'static str, Value, Value) {
        ("delete", Value::Null, Value::Null)
    }

    #[test]
    fn a_read_returns_the_latest_write_cas_or_delete() {
        let good = [read(()), write(1), read(1), cas(1, 2), read(2), delete(), read(()), write(1), read(1)];
        assert!(judge(sequence("k", &good), &Options::default()).is_valid());
        for (place, wrong) in
            [(0, read(1)), (2, read(())), (4, read(1)), (6, read(2)), (3, cas(2, 1)), (8, read(2))]
        {
            let mut bad = good.to_vec();
            bad[place] = wrong;
            let report = judge(sequence("k", &bad), &Options::default());
            assert_eq!(report.verdict, Verdict::Violated, "{place}");
        }
    }

    #[test]
    fn each_key_is_a_register_of_its_own_and_results_stand_in_the_order_of_keys() {
        let mut events = Vec::new();
        for key in ["d", "b", "e", "a", "c"] {
            // The bad ones differ in size, so that they are not judged in their order.
            match key {
                "b" => events.extend(sequence(key, &[read(2)])),
                "d" => events.extend(sequence(key, &[write(1), read(1), read(2)])),
                _ => events.extend(sequence(key, &[write(1), read(1)])),
            }
        }
        let options = Options::default();
        let report = judge(events, &options);
        let keys: Vec<String> = report.violations().map(|violation| violation.key.to_string()).collect();
        assert_eq!(keys, ["b", "d"]);
        assert_eq!((report.checks[0].keys, report.checks[0].operations), (5, 10));
        assert_eq!(options.progress.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn without_explaining_the_verdict_is_the_same_and_names_the_call_to_blame() {
        let mut events = vec![Event::invoke(90, "write").key("k").value(1)];
        events.extend(sequence("k", &[write(1), read(1), write(2), write(3), read(2)]));
        let short = judge(events.clone(), &Options { explain: false, ..Options::default() });
        let long = judge(events, &Options::default());
        let count = |report: &Report| report.violations().next().unwrap().explanation.events.len();
        assert_eq!((short.verdict, count(&short)), (long.verdict, 2));
        assert!(count(&long) > 2, "{long}");
    }

    #[test]
    fn a_violation_tells_only_the_calls_that_matter() {
        let mut operations: Vec<_> = (0..300).flat_map(|i| [write(i), read(i)]).collect();
        operations.extend([write(1_000), write(1_001), read(1_000)]);
        operations.extend((0..300).flat_map(|i| [write(i), read(i)]));
        let report = judge(sequence("k", &operations), &Options::default());
        let explanation = &report.violations().next().unwrap().explanation;
        let told: Vec<u64> = explanation.events.iter().map(|place| place.index).collect();
        // The write of 1000, the whole write of 1001, the whole read of 1000.
        assert_eq!(told, [1_200, 1_201, 1_202, 1_203, 1_204, 1_205]);
        let text = report.to_string();
        let first = "the stretch of 1000 came before that of 1001, because process 600's write of 1000 had ended (event 1201) \
                     before process 601's write of 1001 began (event 1202)";
        let second = "the stretch of 1001 also came before that of 1000, because process 601's write of 1001 had ended \
                      (event 1203) before process 602's read of 1000 began (event 1204)";
        assert!(text.contains(first) && text.contains(second), "{text}");
    }

    #[test]
    fn a_value_out_of_thin_air_is_called_so() {
        let report = judge(sequence("k", &[write(1), read(7)]), &Options::default());
        assert!(report.to_string().contains("read out of thin air on key k: process 1 read 7"), "{report}");
        let explanation = &report.violations().next().unwrap().explanation;
        assert_eq!(explanation.events.len(), 2, "{report}");
    }

    #[test]
    fn every_contradiction_is_told_with_its_reason() {
        let refused = [Event::invoke(9, "write").key("k").value(7), Event::fail(9, "write").key("k")];
        let crossed = [
            Event::invoke(0, "cas").key("k").value([1, 2]),
            Event::invoke(1, "cas").key("k").value([2, 1]),
            Event::ok(0, "cas").key("k").value([1, 2]),
            Event::ok(1, "cas").key("k").value([2, 1]),
        ];
        let cases: [(&str, Vec<Event>, &str); 6] = [
            (
                "aborted read",
                [refused.to_vec(), sequence("k", &[read(7)])].concat(),
                "the write of 7 did not happen, because it failed (event 1)",
            ),
            (
                "lost update",
                sequence("k", &[write(1), cas(1, 2), cas(1, 3)]),
                "the register got 1 once, from process 0's write of 1 (event 1)",
            ),
            ("cyclic updates", crossed.to_vec(), "so each comes before itself"),
            (
                "read from the future",
                sequence("k", &[read(1), write(1)]),
                "process 0's read of 1 comes after process 1's write of 1, because it found 1, which that wrote",
            ),
            (
                "stale read",
                sequence("k", &[write(1), read(())]),
                "the register held nil only at the beginning, because nothing wrote nil again",
            ),
            (
                "stale read",
                sequence("k", &[write(1), cas(1, 2), write(3), read(2)]),
                "process 3's read of 2 belongs to 1, because 1 cas, one after the other, made 2 of it",
            ),
        ];
        for (anomaly, events, because) in cases {
            let text = judge(events, &Options::default()).to_string();
            assert!(text.contains(&format!("  {anomaly} on key k: ")) && text.contains(because), "{text}");
        }
    }

    #[test]
    fn an_unknown_write_may_take_effect_much_later_or_never() {
        let mut events = vec![
            Event::invoke(90, "write").key("k").value(5),
            Event::info(90, "write").key("k"),
            Event::invoke(91, "write").key("k").value(6),
            Event::fail(91, "write").key("k"),
        ];
        events.extend(sequence("k", &[write(1), read(1), read(5), read(5)]));
        assert!(judge(events.clone(), &Options::default()).is_valid());
        events.extend([Event::invoke(92, "read").key("k"), Event::ok(92, "read").key("k").value(6)]);
        assert_eq!(judge(events, &Options::default()).verdict, Verdict::Violated);
    }

    #[test]
    fn a_violation_tells_the_open_writes_of_the_value_in_question() {
        let mut events = vec![Event::invoke(90, "write").key("k").value(5)];
        events.extend(sequence("k", &[write(1), read(5), write(2), read(5)]));
        let report = judge(events, &Options::default());
        let explanation = &report.violations().next().unwrap().explanation;
        assert_eq!(explanation.events[0].event, "process 90 invoke write k 5", "{report}");
    }

    #[test]
    fn a_foreign_function_leaves_its_key_unknown_and_the_others_judged() {
        let mut events = sequence("a", &[("append", 1.into(), 1.into())]);
        events.extend(sequence("b", &[read(1)]));
        let report = judge(events, &Options::default());
        assert_eq!((report.checks[0].unknowns.len(), report.violations().count()), (1, 1));
    }

    #[test]
    fn a_budget_that_runs_out_says_which_and_how_much() {
        // One value twice, and readers that may have met either: a case for the search.
        let history = || {
            let mut events = vec![Event::invoke(90, "write").key("k").value(1)];
            events.extend(sequence("k", &[write(1), read(1)]));
            events
        };
        let steps = judge(history(), &Options { steps_max: 0, ..Options::default() });
        assert_eq!(steps.verdict, Verdict::Unknown);
        assert!(steps.to_string().contains("0 steps were not enough for its 3 operations"), "{steps}");
        let memory = judge(history(), &Options { configurations_max: 0, ..Options::default() });
        assert!(memory.to_string().contains("the memory for 0 configurations"), "{memory}");
    }
}
