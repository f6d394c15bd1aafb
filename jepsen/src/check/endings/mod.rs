//! Whether the last values are ones that the calls can have led to.
//!
//! Judged are the reads of the phase "final", by what each key is: a set with add and remove, where adds win over
//! removes that had not seen them; a counter with increment and decrement (or add of numbers, if reads show one); a
//! register with write, where the latest write wins, if the options say that it does. What was acknowledged before
//! a final read began must be in what it shows, what is of unknown outcome may be, what was refused must not.
//!
//! A set's adds may say their `tag`, and a remove with `seen` takes away exactly the tags it lists; then the rule
//! is exact. A final read of a counter may list in `seen` the tags of the changes that it contains; then its value
//! must be their sum. Without those the rules say only what is certain in real time, and count what is not. Each
//! distinct answer is judged once, by the final read that began last and so must know the most.

mod counter;
mod set;

use std::collections::BTreeMap;

use self::counter::Counter;
use self::set::Set;
use super::convergence::{is_final_read, node_name, shown};
use super::report::{Anomaly, Check, Explanation, Report, Violation};
use super::staleness::Ending;
use super::{CheckError, Options, keys};
use crate::engine::ending::Span;
use crate::history::{Atom, History, Operation, Outcome};

/// Which of several writes of a register wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolve {
    /// Registers do not choose: concurrent values stay side by side, and the rule of siblings judges them.
    #[default]
    Siblings,
    /// The latest, by whatever clock the store goes by.
    Latest,
}

/// Judges whether the final reads of sets, counters and (if the options say so) registers show what the calls led to.
///
/// ```
/// use godown_jepsen::check::{self, Options};
/// use godown_jepsen::history::{Event, History};
///
/// let history: History = [
///     Event::invoke(0, "add").value("x"),
///     Event::ok(0, "add"),
///     Event::invoke(1, "read").node("n1").phase("final"),
///     Event::ok(1, "read").node("n1").phase("final").value([0; 0]),
/// ]
/// .into_iter()
/// .collect();
/// let report = check::endings(&history, &Options::default()).unwrap();
/// let lost = "lost element: n1 lacks x, though no remove can have seen its add";
/// assert!(report.to_string().contains(lost), "{report}");
/// ```
///
/// # Errors
/// A history whose events do not make up operations.
pub fn endings(history: &History, options: &Options) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let roles = history.words(Role::of);
    let is_final = is_final_read(history);
    let keys = keys(history, &operations);
    let mut check = Check::new("endings");
    check.operations = operations.len();
    check.keys = keys.len();
    let mut tally = Tally::default();
    for (key, operations) in &keys {
        let role = |operation: &Operation| roles[operation.f.number()];
        let finals = finals(history, operations.iter().filter(|operation| is_final(operation)));
        let Some(kind) = kind(&finals, history, |wanted| operations.iter().any(|one| role(one) == wanted))
        else {
            check.wonder(Some(history.value(*key)), "it has functions of more than one kind of value");
            continue;
        };
        if kind == Kind::Register && options.resolve == Resolve::Siblings {
            continue;
        }
        if finals.is_empty() {
            let reason = "no final read (\"phase\":\"final\") was answered, so nobody knows how it ended";
            check.wonder(Some(history.value(*key)), reason);
            continue;
        }
        let mut ending = Key { history, key: *key, check: &mut check, tally: &mut tally };
        match kind {
            Kind::Register => ending.judge_latest(operations, &finals, options),
            Kind::Set => Set::new(history, &roles, operations).judge(&finals, &mut ending),
            Kind::Counter => match Counter::new(history, &roles, operations) {
                Ok(counter) => counter.judge(&finals, &mut ending),
                Err(reason) => ending.wonder(reason),
            },
        }
    }
    tally.tell(&mut check);
    Ok(Report::new(&history.source, vec![check]))
}

/// What a key is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Register,
    Set,
    Counter,
}

/// What a key with these functions is; none if they do not go together.
fn kind(finals: &[Operation], history: &History, has: impl Fn(Role) -> bool) -> Option<Kind> {
    let shows_numbers = finals.iter().any(|read| history.int(read.result).is_some());
    let is_counter = has(Role::Change) || has(Role::ChangeBack);
    match (has(Role::Write), is_counter, has(Role::Add), has(Role::Remove)) {
        (_, false, false, false) => Some(Kind::Register),
        (false, true, _, false) => Some(Kind::Counter),
        (false, false, true, false) if shows_numbers => Some(Kind::Counter),
        (false, false, ..) => Some(Kind::Set),
        _ => None,
    }
}

/// What a function does to a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Write,
    Add,
    Remove,
    /// Changes a counter by a number.
    Change,
    /// Changes a counter the other way.
    ChangeBack,
    Other,
}

impl Role {
    fn of(word: &str) -> Self {
        match word {
            "write" | "put" | "delete" | "cas" => Role::Write,
            "add" => Role::Add,
            "remove" => Role::Remove,
            "increment" | "inc" => Role::Change,
            "decrement" | "dec" => Role::ChangeBack,
            _ => Role::Other,
        }
    }
}

/// For each distinct answer the read that began last, in order of those.
fn finals<'a>(history: &History, reads: impl Iterator<Item = &'a Operation>) -> Vec<Operation> {
    let mut latest: BTreeMap<(Atom, Vec<Atom>), Operation> = BTreeMap::new();
    for read in reads.filter(|read| read.outcome == Outcome::Ok) {
        let tags = history.at(read.ended()).seen().map_or(Vec::new(), <[Atom]>::to_vec);
        // Reads stand in order of invocation.
        latest.insert((read.result, tags), *read);
    }
    let mut finals: Vec<Operation> = latest.into_values().collect();
    finals.sort_by_key(|read| read.invoked);
    finals
}

/// An operation as the engine sees it.
fn span(operation: &Operation) -> Span {
    Span { invoked: operation.invoked, returned: operation.returned() }
}

/// The name that an add or a change goes by in what others have seen.
fn tag(history: &History, operation: &Operation) -> Option<Atom> {
    let said = [operation.ended(), operation.invoked].map(|position| history.at(position).extra("tag"));
    said.into_iter().find_map(Atom::present)
}

/// What was judged, by how certain it was.
#[derive(Default)]
struct Tally {
    present: usize,
    absent: usize,
    either: usize,
    counters: usize,
    counters_unknown: usize,
    registers: usize,
    registers_not_judged: usize,
}

impl Tally {
    fn tell(&self, check: &mut Check) {
        let figures = [
            ("elements_that_must_be_present", self.present),
            ("elements_that_must_be_absent", self.absent),
            ("elements_that_may_be_either", self.either),
            ("counters_judged", self.counters),
            ("counters_within_bounds_only", self.counters_unknown),
            ("registers_judged", self.registers),
            ("registers_not_judged", self.registers_not_judged),
        ];
        for (name, count) in figures {
            check.figures.insert(name.to_owned(), count.into());
        }
        if self.either > 0 {
            check.notes.push(format!("{} elements may be there or not", self.either));
        }
    }
}

/// How many violations of one key are told.
const VIOLATIONS_MAX: usize = 50;

/// One key, and where to say what is wrong with it.
struct Key<'a> {
    history: &'a History,
    key: Atom,
    check: &'a mut Check,
    tally: &'a mut Tally,
}

impl Key<'_> {
    fn violate(&mut self, anomaly: Anomaly, explanation: Explanation) {
        let key = self.history.value(self.key);
        if self.check.violations.iter().rev().take_while(|violation| violation.key == key).count()
            < VIOLATIONS_MAX
        {
            self.check.violate(Violation { anomaly, key, explanation });
        }
    }

    fn wonder(&mut self, reason: impl Into<String>) {
        self.check.wonder(Some(self.history.value(self.key)), reason);
    }

    /// The latest write must win: no final read may miss a write that certainly came later than what it shows.
    fn judge_latest(&mut self, operations: &[Operation], finals: &[Operation], options: &Options) {
        for ending in Ending::of(self.history, operations, finals, options) {
            match ending {
                Ok(Ending::Kept) => self.tally.registers += 1,
                Ok(Ending::Wrong(anomaly, explanation)) => {
                    self.tally.registers += 1;
                    self.violate(anomaly, explanation);
                }
                Err(reason) => {
                    self.tally.registers_not_judged += 1;
                    self.wonder(reason);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::history::{Event, Value};

    /// Clients one after the other, each in a process of its own.
    #[derive(Default)]
    pub(super) struct Story(pub(super) Vec<Event>);

    impl Story {
        fn call(mut self, invoke: impl Fn(Event) -> Event, end: impl Fn(u64) -> Event, f: &str) -> Self {
            let process = self.0.len() as u64;
            self.0.push(invoke(Event::invoke(process, f)).key("k"));
            self.0.push(end(process).key("k"));
            self
        }

        pub(super) fn ok(self, f: &'static str, value: impl Into<Value>) -> Self {
            let value = value.into();
            self.call(|event| event.value(value.clone()), |process| Event::ok(process, f), f)
        }

        pub(super) fn maybe(self, f: &'static str, value: impl Into<Value>) -> Self {
            let value = value.into();
            self.call(|event| event.value(value.clone()), |process| Event::info(process, f), f)
        }

        pub(super) fn refused(self, f: &'static str, value: impl Into<Value>) -> Self {
            let value = value.into();
            self.call(|event| event.value(value.clone()), |process| Event::fail(process, f), f)
        }

        /// With a tag of its own.
        pub(super) fn tagged(self, f: &'static str, value: impl Into<Value>, tag: &str) -> Self {
            let value = value.into();
            self.call(
                |event| event.value(value.clone()),
                |process| Event::ok(process, f).extra("tag", tag),
                f,
            )
        }

        /// Having seen these tags.
        pub(super) fn having_seen(self, f: &'static str, value: impl Into<Value>, seen: &[&str]) -> Self {
            let value = value.into();
            let invoke = |event: Event| event.value(value.clone()).seen(seen.iter().copied());
            self.call(invoke, |process| Event::ok(process, f), f)
        }

        pub(super) fn ends(self, value: impl Into<Value>) -> Report {
            self.ends_knowing(value, None)
        }

        pub(super) fn ends_knowing(mut self, value: impl Into<Value>, tags: Option<&[&str]>) -> Report {
            let process = self.0.len() as u64;
            let last = |event: Event| event.key("k").node("n1").phase("final");
            self.0.push(last(Event::invoke(process, "read")));
            let end = last(Event::ok(process, "read")).value(value);
            self.0.push(tags.map_or(end.clone(), |tags| end.seen(tags.iter().copied())));
            let options = Options { resolve: Resolve::Latest, ..Options::default() };
            endings(&self.0.into_iter().collect(), &options).unwrap()
        }
    }

    pub(super) fn story() -> Story {
        Story::default()
    }

    #[track_caller]
    pub(super) fn valid(report: &Report) {
        assert!(report.is_valid(), "{report}");
    }

    #[track_caller]
    pub(super) fn violated(report: &Report, anomaly: Anomaly) {
        assert_eq!(report.verdict, Verdict::Violated, "{report}");
        let found: Vec<Anomaly> = report.violations().map(|violation| violation.anomaly).collect();
        assert_eq!(found, [anomaly], "{report}");
    }

    #[test]
    fn a_register_ends_with_a_write_that_no_later_one_overwrote() {
        valid(&story().ok("write", 1).ok("write", 2).ends(2));
        let report = story().ok("write", 1).ok("write", 2).ends(1);
        violated(&report, Anomaly::LostToEarlier);
        let text = report.to_string();
        assert!(text.contains("n1 ends with 1, though 2 was written later"), "{text}");
        assert!(
            text.contains(
                "write 2 is newer than 1, because it began (event 2) when that was in effect (event 1)"
            ),
            "{text}"
        );
        // Of unknown outcome: it may come at any time, or never.
        valid(&story().maybe("write", 1).ok("write", 2).ends(1));
        valid(&story().ok("write", 1).maybe("write", 2).ends(1));
        violated(&story().ok("write", 1).ends(Value::Null), Anomaly::LostToEarlier);
        valid(&story().ok("write", 1).ok("delete", Value::Null).ends(Value::Null));
        violated(&story().ok("write", 1).ok("delete", Value::Null).ends(1), Anomaly::LostToEarlier);
        violated(
            &story().ok("write", 1).ok("delete", Value::Null).ok("write", 2).ends(Value::Null),
            Anomaly::LostToEarlier,
        );
    }

    #[test]
    fn a_register_ends_with_nothing_that_was_not_written() {
        violated(&story().ok("write", 1).ends(7), Anomaly::Invented);
        violated(&story().ok("write", 1).refused("write", 2).ends(2), Anomaly::Refused);
        assert_eq!(story().ok("write", 1).ends([1, 2]).verdict, Verdict::Violated);
        assert_eq!(story().ok("write", 1).ok("write", 1).ends(1).verdict, Verdict::Unknown);
    }

    #[test]
    fn registers_that_do_not_choose_are_left_to_other_rules() {
        let events = story().ok("write", 1).ok("write", 2).0;
        let report = endings(&events.into_iter().collect(), &Options::default()).unwrap();
        assert!(report.is_valid(), "{report}");
    }

    #[test]
    fn a_key_without_a_final_read_or_of_several_kinds_is_unknown() {
        let events = story().ok("add", 1).0;
        let report = endings(&events.into_iter().collect(), &Options::default()).unwrap();
        assert_eq!(report.verdict, Verdict::Unknown);
        assert_eq!(story().ok("add", 1).ok("write", 2).ends([1; 1]).verdict, Verdict::Unknown);
        assert_eq!(story().ok("increment", 1).ok("remove", 2).ends(1).verdict, Verdict::Unknown);
    }
}
