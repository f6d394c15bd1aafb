//! Invocations paired with their completions.
//!
//! A completion ends the open invocation of its own process; a process has at most one. An operation that nobody
//! heard of again, or whose end is `info`, is [`Outcome::Unknown`]: it may take effect at any time after its
//! invocation, or never. Named processes such as the nemesis are not paired. An [`Operation`] is a few numbers that mean
//! something in its history; what most checks do not ask for (nodes, times, contexts) is there, at its positions.

use super::rows::Word;
use super::{Atom, History, Kind, Process};

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened, or may still happen.
    Unknown,
}

/// One call from invocation to completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The position of the invocation in the history.
    pub invoked: u32,
    completed: u32,
    /// The number of who called; see [`History::process`].
    pub process: u32,
    /// The key: the invocation's, or else the completion's, or [`Atom::ABSENT`].
    pub key: Atom,
    /// What it was called with: the invocation's value, or else the completion's, or [`Atom::ABSENT`].
    pub argument: Atom,
    /// What came back: the completion's value, or [`Atom::ABSENT`].
    pub result: Atom,
    /// The function; see [`History::word`].
    pub f: Word,
    /// How it ended.
    pub outcome: Outcome,
}

const NEVER: u32 = u32::MAX;

impl Operation {
    /// The position of the completion in the history, if one was recorded. Of an unknown operation it orders nothing.
    #[must_use]
    pub fn completed(self) -> Option<u32> {
        (self.completed != NEVER).then_some(self.completed)
    }

    /// The position by which it had certainly ended; none if it may take effect at any later time.
    #[must_use]
    pub fn returned(self) -> Option<u32> {
        self.completed().filter(|_| self.outcome != Outcome::Unknown)
    }

    /// The position of its completion, or else of its invocation: where its result is to be found.
    #[must_use]
    pub fn ended(self) -> u32 {
        self.completed().unwrap_or(self.invoked)
    }

    /// The node that was called, or else that answered.
    #[must_use]
    pub fn node(self, history: &History) -> Option<&str> {
        history.at(self.invoked).node().or_else(|| history.at(self.ended()).node())
    }

    /// What its session's context covered when it was called.
    #[must_use]
    pub fn seen(self, history: &History) -> &[Atom] {
        history.at(self.invoked).seen().unwrap_or(&[])
    }

    /// Whether it belongs to a phase of the run.
    #[must_use]
    pub fn is_in_phase(self, history: &History, phase: &str) -> bool {
        [self.invoked, self.ended()].into_iter().any(|position| history.at(position).phase() == Some(phase))
    }
}

/// Why a history's events do not make up operations.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// A process ended what it had not begun.
    #[error(
        "{at}: process {process} completed \"{f}\" but has no open invocation; a line before it is missing"
    )]
    Unmatched {
        /// File and line, or the event's position.
        at: String,
        /// Whose.
        process: String,
        /// Of which function.
        f: String,
    },
    /// A process called while its last call was open.
    #[error(
        "{at}: process {process} invoked \"{f}\" while its invocation at {open} is still open; \
         give each concurrent caller a process number of its own"
    )]
    Overlap {
        /// File and line, or the event's position.
        at: String,
        /// Where the open invocation is.
        open: String,
        /// Whose.
        process: String,
        /// Of which function.
        f: String,
    },
    /// A completion is of another function than the invocation.
    #[error("{at}: process {process} completed \"{f}\" but had invoked \"{invoked}\" at {open}")]
    Mismatch {
        /// File and line, or the event's position.
        at: String,
        /// Where the open invocation is.
        open: String,
        /// Whose.
        process: String,
        /// Of which function.
        f: String,
        /// The function that was invoked.
        invoked: String,
    },
    /// A completion is on another key than the invocation.
    #[error(
        "{at}: process {process} completed \"{f}\" on key {key} but had invoked it on key {invoked} at {open}"
    )]
    Key {
        /// File and line, or the event's position.
        at: Box<str>,
        /// Where the open invocation is.
        open: Box<str>,
        /// Whose.
        process: Box<str>,
        /// Of which function.
        f: Box<str>,
        /// The completion's key.
        key: Box<str>,
        /// The invocation's.
        invoked: Box<str>,
    },
    /// The history has more than can be numbered.
    #[error("{file}: it has more events, distinct values or names than a history can hold; split it by key")]
    TooLarge {
        /// Which history.
        file: String,
    },
}

/// Pairs every client's events. See [`History::operations`].
pub(super) fn pair(history: &History) -> Result<Vec<Operation>, PairError> {
    let rows = &history.rows;
    if rows.is_full() || rows.rows.len() >= NEVER as usize {
        return Err(PairError::TooLarge { file: history.source.clone() });
    }
    let is_client: Vec<bool> = rows.processes().iter().map(Process::is_client).collect();
    let mut operations: Vec<Operation> = Vec::with_capacity(history.len() / 2);
    // The open operation of each process.
    let mut open: Vec<u32> = vec![NEVER; is_client.len()];
    for (position, row) in (0u32..).zip(&rows.rows) {
        let process = row.process as usize;
        if !is_client[process] {
            continue;
        }
        if row.kind == Kind::Invoke {
            if open[process] != NEVER {
                return Err(overlap(history, position, operations[open[process] as usize]));
            }
            open[process] = operations.len() as u32;
            operations.push(Operation {
                invoked: position,
                completed: NEVER,
                process: row.process,
                key: row.key,
                argument: row.value,
                result: Atom::ABSENT,
                f: row.f,
                outcome: Outcome::Unknown,
            });
            continue;
        }
        let number = std::mem::replace(&mut open[process], NEVER);
        let Some(operation) = operations.get_mut(number as usize) else {
            return Err(unmatched(history, position));
        };
        if operation.f != row.f {
            return Err(mismatch(history, position, *operation));
        }
        if operation.key != row.key && operation.key != Atom::ABSENT && row.key != Atom::ABSENT {
            return Err(other_key(history, position, *operation));
        }
        operation.completed = position;
        operation.key = operation.key.or(row.key);
        operation.argument = operation.argument.or(row.value);
        operation.result = row.value;
        operation.outcome = match row.kind {
            Kind::Ok => Outcome::Ok,
            Kind::Fail => Outcome::Fail,
            Kind::Invoke | Kind::Info => Outcome::Unknown,
        };
    }
    Ok(operations)
}

fn place(history: &History, position: u32) -> String {
    let event = history.at(position);
    match event.line() {
        0 => format!("{}: event {}", history.source, event.index()),
        line => format!("{}:{line}", history.source),
    }
}

fn unmatched(history: &History, position: u32) -> PairError {
    let event = history.at(position);
    PairError::Unmatched {
        at: place(history, position),
        process: event.process().to_string(),
        f: event.f().to_owned(),
    }
}

fn overlap(history: &History, position: u32, open: Operation) -> PairError {
    let event = history.at(position);
    PairError::Overlap {
        at: place(history, position),
        open: place(history, open.invoked),
        process: event.process().to_string(),
        f: event.f().to_owned(),
    }
}

fn mismatch(history: &History, position: u32, open: Operation) -> PairError {
    let event = history.at(position);
    PairError::Mismatch {
        at: place(history, position),
        open: place(history, open.invoked),
        process: event.process().to_string(),
        f: event.f().to_owned(),
        invoked: history.word(open.f).to_owned(),
    }
}

fn other_key(history: &History, position: u32, open: Operation) -> PairError {
    let event = history.at(position);
    PairError::Key {
        at: place(history, position).into(),
        open: place(history, open.invoked).into(),
        process: event.process().to_string().into(),
        f: event.f().into(),
        key: history.show(event.key()).to_string().into(),
        invoked: history.show(open.key).to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    fn history(events: impl IntoIterator<Item = Event>) -> History {
        events.into_iter().collect()
    }

    #[test]
    fn a_completion_ends_the_open_call_of_its_own_process() {
        let history = history([
            Event::invoke(0, "write").key("k").value(1),
            Event::invoke(1_000_000_000_000_u64, "read").key("k"),
            Event::nemesis("kill").node("n1"),
            Event::ok(1_000_000_000_000_u64, "read").key("k").value(1),
            Event::info(0, "write"),
            Event::invoke(0, "read").key("k"),
        ]);
        let operations = history.operations().unwrap();
        let seen: Vec<_> = operations.iter().map(|o| (o.invoked, o.completed(), o.outcome)).collect();
        use Outcome::{Ok, Unknown};
        assert_eq!(seen, [(0, Some(4), Unknown), (1, Some(3), Ok), (5, None, Unknown)]);
        assert_eq!(history.int(operations[1].result), Some(1));
        assert_eq!(history.int(operations[0].argument), Some(1));
    }

    #[test]
    fn a_completion_without_an_invocation_names_its_line() {
        let history = history([Event::ok(2, "read").line_at(7)]);
        let error = history.operations().unwrap_err();
        assert!(error.to_string().starts_with("history:7: process 2 completed \"read\""), "{error}");
    }

    #[test]
    fn two_open_calls_on_one_process_name_both_lines() {
        let history = history([Event::invoke(2, "read").line_at(3), Event::invoke(2, "write").line_at(4)]);
        let error = history.operations().unwrap_err().to_string();
        assert!(
            error.starts_with("history:4: process 2 invoked \"write\"") && error.contains("history:3"),
            "{error}"
        );
    }

    #[test]
    fn a_completion_of_another_function_is_an_error() {
        let history = history([Event::invoke(2, "read"), Event::ok(2, "write")]);
        let error = history.operations().unwrap_err().to_string();
        assert!(error.starts_with("history: event 1: process 2 completed \"write\""), "{error}");
    }

    #[test]
    fn a_completion_on_another_key_is_an_error() {
        let history = history([Event::invoke(2, "read").key("a"), Event::ok(2, "read").key("b")]);
        let error = history.operations().unwrap_err().to_string();
        assert!(error.starts_with("history: event 1: process 2 completed \"read\" on key b but"), "{error}");
    }
}
