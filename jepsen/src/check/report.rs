//! What a check found, for people and for machines.
//!
//! A [`Report`] holds one [`Check`] per rule that was applied, each with one of three verdicts. A violation is
//! explained in the manner of Elle: let these events be, then this follows, because of that, a contradiction; with
//! the line or index of every event it speaks of, and no event that it does not need.
//! Reports serialise to `results.json` as they are; two runs over the same history give the same bytes.

use std::fmt;

use serde::Serialize;

use crate::history::{At, History, Operation, Value};

/// What a check says of a history, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The history keeps the rule.
    Valid,
    /// It cannot be told, or not within the given time and memory.
    Unknown,
    /// The history breaks the rule.
    Violated,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Valid => "valid",
            Verdict::Unknown => "unknown",
            Verdict::Violated => "violated",
        })
    }
}

/// The verdicts on one history.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where the history came from.
    pub source: String,
    /// The worst verdict of all checks.
    pub verdict: Verdict,
    /// What each rule says.
    pub checks: Vec<Check>,
}

impl Report {
    /// The verdicts of several checks on the history called `source`.
    #[must_use]
    pub fn new(source: &str, checks: Vec<Check>) -> Self {
        let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Valid);
        Report { source: source.to_owned(), verdict, checks }
    }

    /// Whether nothing was violated and everything could be told.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.verdict == Verdict::Valid
    }

    /// Every violation, in order of check and key.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.checks.iter().flat_map(|check| &check.violations)
    }

    /// The report of several reports on one history.
    #[must_use]
    pub fn join(self, other: Report) -> Self {
        let mut checks = self.checks;
        checks.extend(other.checks);
        Report::new(&self.source, checks)
    }
}

/// What one rule says of a history.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The rule.
    pub name: &'static str,
    /// What it says.
    pub verdict: Verdict,
    /// How many operations it judged.
    pub operations: usize,
    /// How many keys they were on.
    pub keys: usize,
    /// Where the history breaks it, by key.
    pub violations: Vec<Violation>,
    /// What could not be told, by key.
    pub unknowns: Vec<Unknown>,
    /// How the rule was applied, where that is a choice.
    pub notes: Vec<String>,
    /// Numbers that the rule found on its way: counts, quantiles, curves.
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub figures: Figures,
}

/// Numbers of a report by name.
pub type Figures = serde_json::Map<String, serde_json::Value>;

impl Check {
    /// A rule that has found nothing yet.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Check {
            name,
            verdict: Verdict::Valid,
            operations: 0,
            keys: 0,
            violations: Vec::new(),
            unknowns: Vec::new(),
            notes: Vec::new(),
            figures: Figures::new(),
        }
    }

    /// Adds a violation.
    pub(crate) fn violate(&mut self, violation: Violation) {
        self.verdict = Verdict::Violated;
        self.violations.push(violation);
    }

    /// Adds something that could not be told.
    pub(crate) fn wonder(&mut self, key: Option<Value>, reason: impl Into<String>) {
        self.verdict = self.verdict.max(Verdict::Unknown);
        self.unknowns.push(Unknown { key, reason: reason.into() });
    }
}

/// What could not be told, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Unknown {
    /// Of which key, or of the history as a whole.
    pub key: Option<Value>,
    /// Why, and what would help.
    pub reason: String,
}

/// The ways in which a history can break a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anomaly {
    /// No order of the operations explains what they returned.
    NotLinearizable,
    /// A value was read that nobody ever wrote.
    ThinAirRead,
    /// A value was read whose write failed.
    AbortedRead,
    /// A value was read before its write began.
    FutureRead,
    /// A read shows what had been replaced, or lacks what had certainly taken effect, before it began.
    StaleRead,
    /// Two calls replaced the same value, and one of the two replacements is gone.
    LostUpdate,
    /// Updates that each build on the next.
    CyclicUpdates,
    /// An acknowledged write is neither shown at the end nor replaced by anything that may have happened.
    LostWrite,
    /// A value is shown though a delete or a write that certainly happened had seen and replaced it.
    Resurrected,
    /// Two values are shown side by side though one replaced the other.
    FalseSibling,
    /// One value is shown twice.
    Duplicate,
    /// A value is shown that nobody had written by then.
    Invented,
    /// A value is shown whose write was refused.
    Refused,
    /// Nodes show different values after everything came to rest.
    Diverged,
    /// A set ended without an element whose add no remove can have seen, or a counter without a change.
    LostElement,
    /// A register ended with a value though a later write had overwritten it.
    LostToEarlier,
    /// Reads with the same causal context show different values.
    Incoherent,
    /// A counter shows what no choice of additions makes at that time.
    OutOfBounds,
    /// A queue hands values out in another order than it took them in.
    OutOfOrder,
    /// Something comes before itself in causal order.
    CyclicCo,
    /// A read shows nothing though a write came before it in causal order.
    WriteCoInitRead,
    /// A read shows a write though another one came in between in causal order.
    WriteCoRead,
    /// No order of the writes that all sessions could agree on explains what they read.
    CyclicCf,
    /// A read shows nothing though, after all that its session read, a write must have come before.
    WriteHbInitRead,
    /// No order of the writes explains what one session read.
    CyclicHb,
    /// A read does not know an acknowledged write of its own session.
    ReadYourWrites,
    /// A read does not know what an earlier read of its session showed.
    MonotonicReads,
    /// A read knows a write but not what the writer's session had written before.
    MonotonicWrites,
    /// A read knows a write but not what the writer's session had read before.
    WritesFollowReads,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Anomaly::NotLinearizable => "not linearizable",
            Anomaly::ThinAirRead => "read out of thin air",
            Anomaly::AbortedRead => "aborted read",
            Anomaly::FutureRead => "read from the future",
            Anomaly::StaleRead => "stale read",
            Anomaly::LostUpdate => "lost update",
            Anomaly::CyclicUpdates => "cyclic updates",
            Anomaly::LostWrite => "lost write",
            Anomaly::Resurrected => "resurrected value",
            Anomaly::FalseSibling => "false sibling",
            Anomaly::Duplicate => "duplicate value",
            Anomaly::Invented => "invented value",
            Anomaly::Refused => "value of a refused write",
            Anomaly::Diverged => "diverged",
            Anomaly::LostElement => "lost element",
            Anomaly::LostToEarlier => "lost to an earlier write",
            Anomaly::Incoherent => "incoherent values",
            Anomaly::OutOfBounds => "out of bounds",
            Anomaly::OutOfOrder => "out of order",
            Anomaly::CyclicCo => "cycle of causes",
            Anomaly::WriteCoInitRead => "missed write",
            Anomaly::WriteCoRead => "replaced write read again",
            Anomaly::CyclicCf => "sessions disagree on the order of writes",
            Anomaly::WriteHbInitRead => "write missed by one session",
            Anomaly::CyclicHb => "session without an order of writes",
            Anomaly::ReadYourWrites => "own write not read",
            Anomaly::MonotonicReads => "read went back",
            Anomaly::MonotonicWrites => "write without the session's write before it",
            Anomaly::WritesFollowReads => "write without what its session had read",
        })
    }
}

/// One place where a history breaks a rule.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// In which way.
    pub anomaly: Anomaly,
    /// On which key.
    pub key: Value,
    /// Why that is so.
    pub explanation: Explanation,
}

/// Why something is a contradiction, and the events that show it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Explanation {
    /// In one sentence.
    pub summary: String,
    /// The events, each as it was recorded: "let …".
    pub events: Vec<Place>,
    /// What follows from them, each with its "because".
    pub steps: Vec<String>,
    /// What cannot be.
    pub contradiction: String,
}

/// An event and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its index in the history.
    pub index: u64,
    /// Its line in the file, from 1; 0 if the history was never in a file.
    pub line: u32,
    /// What it says.
    pub event: String,
    /// Its position among the events of the history.
    #[serde(skip)]
    pub position: u32,
}

impl Place {
    pub(crate) fn of(event: At<'_>) -> Self {
        let (index, line) = (event.index(), event.line());
        Place { index, line, event: event.to_string(), position: event.position() }
    }
}

/// Where things are, for explanations.
impl History {
    /// The event at a position.
    pub(crate) fn place(&self, position: u32) -> Place {
        Place::of(self.at(position))
    }

    /// Where an operation was invoked.
    pub(crate) fn start_of(&self, operation: &Operation) -> Place {
        self.place(operation.invoked)
    }

    /// Where an operation was completed, or else invoked.
    pub(crate) fn end_of(&self, operation: &Operation) -> Place {
        self.place(operation.ended())
    }
}

/// How many characters of an event are told; a read of a whole set may have millions.
const EVENT_LENGTH_MAX: usize = 240;

impl Explanation {
    /// Lets these operations be, event by event in order; long ones without their middle.
    pub(crate) fn of<'o>(history: &History, operations: impl IntoIterator<Item = &'o Operation>) -> Self {
        let ends = operations.into_iter().flat_map(|operation| [operation.invoked, operation.ended()]);
        let mut positions: Vec<u32> = ends.collect();
        positions.sort_unstable();
        positions.dedup();
        let place = |position| {
            let mut place = history.place(position);
            let mut starts = place.event.char_indices().map(|(start, _)| start);
            if let (Some(end), Some(rest)) =
                (starts.nth(EVENT_LENGTH_MAX), place.event.char_indices().rev().nth(EVENT_LENGTH_MAX / 4))
                && end < rest.0
            {
                place.event = format!("{} … {}", &place.event[..end], &place.event[rest.0..]);
            }
            place
        };
        Explanation { events: positions.into_iter().map(place).collect(), ..Explanation::default() }
    }

    /// Adds that something that `first` did comes before something that `second` did, by the order of the log.
    pub(crate) fn in_time(
        &mut self,
        history: &History,
        first: (&str, &Operation),
        second: (&str, &Operation),
    ) {
        self.steps.push(format!(
            "{} before {}, because it returned ({}) before that began ({})",
            first.0,
            second.0,
            history.end_of(first.1),
            history.start_of(second.1)
        ));
    }
}

/// A short name of the place: its line, or else its index.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "event {}", self.index),
            line => write!(f, "line {line}"),
        }
    }
}

/// How many events of an explanation are printed; all of them are in the results.
const PLACES_MAX: usize = 16;
/// How many violations of a check are printed in full.
const VIOLATIONS_MAX: usize = 5;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    let")?;
        for place in self.events.iter().take(PLACES_MAX) {
            writeln!(f, "      {place}: {}", place.event)?;
        }
        if let Some(more) = self.events.len().checked_sub(PLACES_MAX).filter(|more| *more > 0) {
            writeln!(f, "      … and {more} more")?;
        }
        for step in &self.steps {
            writeln!(f, "    then {step}")?;
        }
        writeln!(f, "    but {}: a contradiction", self.contradiction)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_null() { String::new() } else { format!(" on key {}", self.key) };
        writeln!(f, "  {}{key}: {}", self.anomaly, self.explanation.summary)?;
        write!(f, "{}", self.explanation)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.source, self.verdict)?;
        for check in &self.checks {
            let plural = |count: usize| if count == 1 { "" } else { "s" };
            let (operations, keys) = (check.operations, check.keys);
            writeln!(
                f,
                "  {}: {} ({operations} operation{} on {keys} key{}){}",
                check.name,
                check.verdict,
                plural(operations),
                plural(keys),
                check.notes.iter().map(|note| format!("; {note}")).collect::<String>()
            )?;
            for violation in check.violations.iter().take(VIOLATIONS_MAX) {
                write!(f, "{violation}")?;
            }
            if let Some(more) = check.violations.len().checked_sub(VIOLATIONS_MAX).filter(|more| *more > 0) {
                writeln!(f, "  … and {more} more violations, all of them in the results")?;
            }
            for unknown in check.unknowns.iter().take(VIOLATIONS_MAX) {
                match &unknown.key {
                    Some(key) if !key.is_null() => writeln!(f, "  unknown on key {key}: {}", unknown.reason)?,
                    _ => writeln!(f, "  unknown: {}", unknown.reason)?,
                }
            }
            if let Some(more) = check.unknowns.len().checked_sub(VIOLATIONS_MAX).filter(|more| *more > 0) {
                writeln!(f, "  … and {more} more keys that could not be told")?;
            }
        }
        Ok(())
    }
}
