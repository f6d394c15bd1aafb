//! Counters, key by key.
//!
//! `add` takes a whole number, which may be negative; `increment` and `decrement` take one or mean 1; `read` returns the
//! sum so far, beginning with 0. Where all additions are of one amount the verdict is exact: whether the counter could
//! be one copy. Where amounts differ that is a subset sum, so only bounds are judged, as by Jepsen's `counter` but for
//! falling amounts too: a read below or above them is certainly wrong, one within them may still be; the notes
//! of the check say which rule it was. What Jepsen calls `errors` is among the figures.

use serde_json::json;

use super::reasons::no_function_of;
use super::report::{Anomaly, Check, Explanation, Report, Violation};
use super::{CheckError, Nil, Options, keys};
use crate::engine::counter::{self, Add, Bounds, Decision, Read};
use crate::history::{Atom, History, Operation, Outcome};

/// Judges whether every key's reads show sums that its additions explain.
///
/// ```
/// use godown_jepsen::check::{self, Options};
/// use godown_jepsen::history::{Event, History};
///
/// let history: History = [
///     Event::invoke(0, "add").value(2),
///     Event::ok(0, "add").value(2),
///     Event::invoke(0, "read"),
///     Event::ok(0, "read").value(0),
/// ]
/// .into_iter()
/// .collect();
/// let report = check::counter(&history, &Options::default()).unwrap();
/// assert!(report.to_string().contains("at least 2 must have been added by then"), "{report}");
/// ```
///
/// # Errors
/// A history whose events do not make up operations, or an amount or sum that is no whole number.
pub fn counter(history: &History, options: &Options) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let roles = history.words(Role::of);
    let mut check = Check::new("counter");
    check.operations = operations.len();
    let (mut errors, mut reads, mut is_mixed) = (Vec::new(), 0, false);
    for (key, operations) in &keys(history, &operations) {
        check.keys += 1;
        let part = match Part::new(history, &roles, operations, options.nil)? {
            Ok(part) => part,
            Err(reason) => {
                check.wonder(Some(history.value(*key)), reason);
                continue;
            }
        };
        reads += part.reads.len();
        for (read, bounds) in part.reads.iter().zip(counter::bounds(&part.adds, &part.reads)) {
            let value = i128::from(read.value);
            if value < bounds.lower || value > bounds.upper {
                errors.push(json!([number(bounds.lower), read.value, number(bounds.upper)]));
            }
        }
        let decision = counter::decide(&part.adds, &part.reads);
        is_mixed |= decision == Decision::Mixed;
        if let Some(explanation) = part.explain(decision) {
            check.violate(Violation { anomaly: Anomaly::OutOfBounds, key: history.value(*key), explanation });
        }
    }
    if is_mixed {
        check.notes.push("amounts differ, so valid means within bounds".to_owned());
    }
    check.figures.insert("read-count".to_owned(), reads.into());
    check.figures.insert("errors".to_owned(), errors.into());
    Ok(Report::new(&history.source, vec![check]))
}

/// A sum for a report; sums beyond 64 bits are told as text.
fn number(sum: i128) -> serde_json::Value {
    i64::try_from(sum).map_or_else(|_| sum.to_string().into(), serde_json::Value::from)
}

/// What a function does to a counter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Add,
    Subtract,
    Read,
    Strange,
}

impl Role {
    fn of(word: &str) -> Self {
        match word {
            "add" | "increment" | "inc" => Role::Add,
            "decrement" | "dec" => Role::Subtract,
            "read" | "get" => Role::Read,
            _ => Role::Strange,
        }
    }
}

/// One key's part of a history.
struct Part<'a> {
    history: &'a History,
    adds: Vec<Add>,
    add_owners: Vec<&'a Operation>,
    reads: Vec<Read>,
    read_owners: Vec<&'a Operation>,
}

impl<'a> Part<'a> {
    /// The part, or why it is none of a counter's.
    fn new(
        history: &'a History,
        roles: &[Role],
        operations: &'a [Operation],
        nil: Nil,
    ) -> Result<Result<Self, String>, CheckError> {
        let mut part = Part {
            history,
            adds: Vec::new(),
            add_owners: Vec::new(),
            reads: Vec::new(),
            read_owners: Vec::new(),
        };
        for operation in operations {
            let malformed = |expected| {
                let at = format!("{}: {}", history.source, history.end_of(operation));
                CheckError::Malformed { at, expected }
            };
            let role = roles[operation.f.number()];
            match (role, operation.outcome) {
                (Role::Add | Role::Subtract, Outcome::Fail) => {}
                (Role::Add | Role::Subtract, _) => {
                    let amount =
                        if operation.argument.is_null() { Some(1) } else { history.int(operation.argument) };
                    let signed =
                        amount.and_then(
                            |amount| if role == Role::Add { Some(amount) } else { amount.checked_neg() },
                        );
                    let amount = signed.ok_or_else(|| malformed("an addition needs a whole number"))?;
                    part.adds.push(Add {
                        amount,
                        invoked: operation.invoked,
                        returned: operation.returned(),
                    });
                    part.add_owners.push(operation);
                }
                (Role::Read, Outcome::Ok) => {
                    let value = match (operation.result, nil) {
                        (Atom::ABSENT | Atom::NULL, Nil::Absent) => 0,
                        (Atom::ABSENT | Atom::NULL, Nil::Unknown) => continue,
                        (sum, _) => history.int(sum).ok_or_else(|| malformed("a sum is a whole number"))?,
                    };
                    part.reads.push(Read { value, invoked: operation.invoked, returned: operation.ended() });
                    part.read_owners.push(operation);
                }
                (Role::Read, _) => {}
                (Role::Strange, _) => {
                    let object = "a counter (add, increment, decrement, read)";
                    return Ok(Err(no_function_of(object, history, operation)));
                }
            }
        }
        Ok(Ok(part))
    }

    fn read(&self, read: u32) -> &'a Operation {
        self.read_owners[read as usize]
    }

    fn shown(&self, read: u32) -> i64 {
        self.reads[read as usize].value
    }

    /// Who read what, in words.
    fn did(&self, read: u32) -> String {
        format!("process {} read {}", self.history.process(self.read(read).process), self.shown(read))
    }

    fn explain(&self, decision: Decision) -> Option<Explanation> {
        match decision {
            Decision::Linearizable => None,
            // An unreachable sum is within bounds if it is between two that are reachable.
            Decision::Mixed => {
                let (read, bounds) = counter::out_of_bounds(&self.adds, &self.reads)?;
                Some(self.out_of_bounds(read, bounds))
            }
            Decision::Unreachable { read } => {
                let bounds = counter::bounds(&self.adds, &self.reads)[read as usize];
                let value = i128::from(self.shown(read));
                if value < bounds.lower || value > bounds.upper {
                    return Some(self.out_of_bounds(read, bounds));
                }
                let mut explanation = Explanation::of(self.history, [self.read(read)]);
                explanation.summary =
                    format!("{} ({})", self.did(read), self.history.end_of(self.read(read)));
                let amount = self.adds.first().map_or(0, |add| add.amount);
                explanation
                    .steps
                    .push(format!("every sum is a multiple of {amount}, because all additions are of that"));
                explanation.contradiction = format!("{value} is none");
                Some(explanation)
            }
            Decision::Backwards { fewer, more } => Some(self.backwards(fewer, more)),
            Decision::TooFew { read, .. } => {
                Some(self.out_of_bounds(read, counter::bounds(&self.adds, &self.reads)[read as usize]))
            }
            Decision::TooMany { from: None, to, .. } => {
                Some(self.out_of_bounds(to, counter::bounds(&self.adds, &self.reads)[to as usize]))
            }
            Decision::TooMany { from: Some(from), to, room, certain } => {
                Some(self.too_many(from, to, room, certain))
            }
        }
    }

    /// Few enough of the additions that fulfil a condition, the latest.
    fn some(&self, mut is_told: impl FnMut(&Add) -> bool) -> Vec<&'a Operation> {
        const TOLD_MAX: usize = 3;
        let told = self.adds.iter().zip(&self.add_owners).rev().filter(|(add, _)| is_told(add));
        told.take(TOLD_MAX).map(|(_, owner)| *owner).collect()
    }

    fn out_of_bounds(&self, read: u32, bounds: Bounds) -> Explanation {
        let Read { value, invoked, returned } = self.reads[read as usize];
        let is_low = i128::from(value) < bounds.lower;
        let told = self.some(|add| {
            let is_certain = add.returned.is_some_and(|returned| returned < invoked);
            add.invoked < returned && (is_certain || !is_low)
        });
        let mut explanation = Explanation::of(self.history, told.into_iter().chain([self.read(read)]));
        let at = self.history.end_of(self.read(read));
        explanation.summary =
            format!("{} ({at}), not between {} and {}", self.did(read), bounds.lower, bounds.upper);
        explanation.contradiction = if is_low {
            explanation.steps.push(format!(
                "at least {} must have been added by then, because so much had been acknowledged when it began ({}) \
                 and no more can have been taken away",
                bounds.lower,
                self.history.start_of(self.read(read))
            ));
            format!("{at} shows {value}")
        } else {
            explanation.steps.push(format!(
                "at most {} can have been added by then, because no more had begun when it returned ({at}) \
                 and so much at least had been taken away",
                bounds.upper
            ));
            format!("{at} shows {value}")
        };
        explanation
    }

    fn backwards(&self, fewer: u32, more: u32) -> Explanation {
        let mut explanation = Explanation::of(self.history, [self.read(more), self.read(fewer)]);
        let (first, second) = (self.did(more), self.did(fewer));
        explanation.summary = format!(
            "{first} ({}), and later {second} ({})",
            self.history.end_of(self.read(more)),
            self.history.end_of(self.read(fewer))
        );
        explanation.in_time(self.history, (&first, self.read(more)), (&second, self.read(fewer)));
        explanation.contradiction =
            format!("all additions are on the one side, so the sum never goes back to {}", self.shown(fewer));
        explanation
    }

    fn too_many(&self, from: u32, to: u32, room: u64, certain: u64) -> Explanation {
        let (begin, end) = (self.reads[from as usize].returned, self.reads[to as usize].invoked);
        let told =
            self.some(|add| add.invoked > begin && add.returned.is_some_and(|returned| returned < end));
        let reads = [self.read(from), self.read(to)];
        let mut explanation = Explanation::of(self.history, told.into_iter().chain(reads));
        explanation.summary = format!(
            "between {} ({}) and {} ({}) is no room for all that was added",
            self.did(from),
            self.history.end_of(self.read(from)),
            self.did(to),
            self.history.end_of(self.read(to))
        );
        let plural = if certain == 1 { "" } else { "s" };
        explanation.steps.push(format!(
            "{certain} addition{plural} took effect between the two reads, begun after the one had returned ({}) \
             and returned before the other began ({})",
            self.history.end_of(self.read(from)),
            self.history.start_of(self.read(to))
        ));
        explanation.contradiction = format!("from {} to {} it is {room}", self.shown(from), self.shown(to));
        explanation
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
            let argument = if *f == "read" { Value::Null } else { value.clone() };
            [Event::invoke(process, *f).value(argument), Event::ok(process, *f).value(value.clone())]
        });
        each.collect()
    }

    fn judge(operations: &[(&str, Value)]) -> Report {
        counter(&sequence(operations).into_iter().collect(), &Options::default()).unwrap()
    }

    #[test]
    fn a_sum_that_nothing_explains_is_told_with_what_was_added() {
        let good = [("read", Value::Null), ("add", 1.into()), ("increment", Value::Null), ("read", 2.into())];
        assert!(judge(&good).is_valid());
        for (more, words) in [
            (&[("read", 1)][..], "process 3 read 2 before process 4 read 1, because it returned"),
            (&[("add", 1), ("read", 2)], "1 addition took effect between the two reads"),
            (&[("read", 3)], "at most 2 can have been added by then"),
            (&[("read", -1)], "but event 9 shows -1: a contradiction"),
            (&[("add", 5), ("read", 6)], "at least 7 must have been added by then"),
        ] {
            let more = more.iter().map(|(f, value)| (*f, Value::from(*value)));
            let report = judge(&good.iter().cloned().chain(more).collect::<Vec<_>>());
            assert_eq!(report.verdict, Verdict::Violated, "{report}");
            assert!(report.to_string().contains(words), "{report}");
        }
    }

    #[test]
    fn additions_between_two_reads_must_fit_between_their_sums() {
        // An open addition may explain the first read or the second, not both.
        let mut events = vec![Event::invoke(90, "add").value(1), Event::invoke(91, "add").value(1)];
        events.extend(sequence(&[("read", 2.into()), ("add", 1.into()), ("read", 2.into())]));
        let report = counter(&events.into_iter().collect(), &Options::default()).unwrap();
        assert!(report.to_string().contains("1 addition took effect between"), "{report}");
        assert_eq!(report.checks[0].figures["errors"], json!([]), "{report}");
    }

    #[test]
    fn where_amounts_differ_only_bounds_are_judged_and_said_to_be() {
        let report = judge(&[("add", 5.into()), ("decrement", 2.into()), ("read", 3.into())]);
        assert!(report.is_valid() && report.to_string().contains("valid means within bounds"), "{report}");
        let report = judge(&[("add", 5.into()), ("add", (-2).into()), ("read", 4.into())]);
        assert_eq!(report.checks[0].figures["errors"], json!([[3, 4, 3]]), "{report}");
        assert_eq!(report.verdict, Verdict::Violated);
    }

    #[test]
    fn what_is_no_counter_is_not_judged_as_one() {
        let strange: History = sequence(&[("write", 5.into())]).into_iter().collect();
        assert_eq!(counter(&strange, &Options::default()).unwrap().verdict, Verdict::Unknown);
        let text: History = sequence(&[("add", "x".into())]).into_iter().collect();
        assert!(matches!(counter(&text, &Options::default()), Err(CheckError::Malformed { .. })));
    }
}
