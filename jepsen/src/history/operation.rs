//! Invocations paired with their completions.
//!
//! A completion ends the open invocation of its own process; a process has at most one. An operation that nobody
//! heard of again, or whose end is `info`, is [`Outcome::Unknown`]: it may take effect at any time after its
//! invocation, or never. Named processes such as the nemesis are not paired. Nothing is copied: an [`Operation`]
//! points into the history.

use std::collections::BTreeMap;

use super::{Event, History, Kind, Name, Process, Value};

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
#[derive(Clone, Copy, Debug)]
pub struct Operation<'h> {
    /// Its invocation.
    pub invoke: &'h Event,
    /// Its completion, if one was recorded.
    pub completion: Option<&'h Event>,
    /// The position of the invocation in the history.
    pub invoked: u32,
    /// The position of the completion in the history. Of an unknown operation it orders nothing.
    pub completed: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
}

impl<'h> Operation<'h> {
    /// The function.
    #[must_use]
    pub fn f(&self) -> &'h Name {
        self.invoke.f()
    }

    /// Who called.
    #[must_use]
    pub fn process(&self) -> &'h Process {
        self.invoke.process()
    }

    /// The key: the invocation's, or else the completion's.
    #[must_use]
    pub fn key(&self) -> Option<&'h Value> {
        self.invoke.key_of().or_else(|| self.completion?.key_of())
    }

    /// What it was called with: the invocation's value, or else the completion's.
    #[must_use]
    pub fn argument(&self) -> Option<&'h Value> {
        self.invoke.value_of().or_else(|| self.completion?.value_of())
    }

    /// What came back: the completion's value.
    #[must_use]
    pub fn result(&self) -> Option<&'h Value> {
        self.completion?.value_of()
    }

    /// What its session's context covered when it was called.
    #[must_use]
    pub fn seen(&self) -> &'h [Value] {
        self.invoke.seen_of().unwrap_or(&[])
    }

    /// The node that was called, or else that answered.
    #[must_use]
    pub fn node(&self) -> Option<&'h Name> {
        self.invoke.node_of().or_else(|| self.completion?.node_of())
    }

    /// Whether it belongs to a phase of the run.
    #[must_use]
    pub fn is_in_phase(&self, phase: &str) -> bool {
        let of = |event: &'h Event| event.phase_of().is_some_and(|name| *name == phase);
        of(self.invoke) || self.completion.is_some_and(of)
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
    /// The history has more events than positions.
    #[error("{file}: a history may have at most {} events; split it by key", u32::MAX)]
    TooLong {
        /// Which history.
        file: String,
    },
}

/// Pairs every client's events. See [`History::operations`].
pub(super) fn pair(history: &History) -> Result<Vec<Operation<'_>>, PairError> {
    if u32::try_from(history.events.len()).is_err() {
        return Err(PairError::TooLong { file: history.source.clone() });
    }
    let place = |position: u32| {
        let event = &history.events[position as usize];
        match event.line() {
            0 => format!("{}: event {}", history.source, event.index().unwrap_or(position.into())),
            line => format!("{}:{line}", history.source),
        }
    };
    let mut operations: Vec<Operation<'_>> = Vec::with_capacity(history.events.len() / 2);
    let mut open = Open::default();
    for (position, event) in (0u32..).zip(&history.events) {
        let Process::Client(client) = *event.process() else {
            continue;
        };
        let describe = || (place(position), event.process().to_string(), event.f().to_string());
        let slot = open.slot(client);
        if event.kind() == Kind::Invoke {
            if let Some(earlier) = *slot {
                let (at, process, f) = describe();
                let open = place(operations[earlier as usize].invoked);
                return Err(PairError::Overlap { at, open, process, f });
            }
            *slot = Some(operations.len() as u32);
            operations.push(Operation {
                invoke: event,
                completion: None,
                invoked: position,
                completed: None,
                outcome: Outcome::Unknown,
            });
            continue;
        }
        let Some(operation) = slot.take().map(|number| &mut operations[number as usize]) else {
            let (at, process, f) = describe();
            return Err(PairError::Unmatched { at, process, f });
        };
        if operation.f() != event.f() {
            let (at, process, f) = describe();
            let open = place(operation.invoked);
            return Err(PairError::Mismatch { at, open, process, f, invoked: operation.f().to_string() });
        }
        operation.completion = Some(event);
        operation.completed = Some(position);
        operation.outcome = match event.kind() {
            Kind::Ok => Outcome::Ok,
            Kind::Fail => Outcome::Fail,
            Kind::Invoke | Kind::Info => Outcome::Unknown,
        };
    }
    Ok(operations)
}

/// Which operation each client has open: a table for small numbers, a map for the rest.
#[derive(Default)]
struct Open {
    dense: Vec<Option<u32>>,
    sparse: BTreeMap<u64, Option<u32>>,
}

/// Client numbers below this have a place in the table.
const DENSE_MAX: u64 = 1 << 16;

impl Open {
    fn slot(&mut self, client: u64) -> &mut Option<u32> {
        if client >= DENSE_MAX {
            return self.sparse.entry(client).or_default();
        }
        let place = client as usize;
        if place >= self.dense.len() {
            self.dense.resize(place + 1, None);
        }
        &mut self.dense[place]
    }
}

#[cfg(test)]
mod tests {
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
        let seen: Vec<_> = operations.iter().map(|o| (o.invoked, o.completed, o.outcome)).collect();
        use Outcome::{Ok, Unknown};
        assert_eq!(seen, [(0, Some(4), Unknown), (1, Some(3), Ok), (5, None, Unknown)]);
        assert_eq!(operations[1].result(), Some(&Value::from(1)));
        assert_eq!(operations[0].argument(), Some(&Value::from(1)));
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
}
