//! What was recorded: events, the operations they make up, and the files they live in.
//!
//! An [`Event`] is one line of a history: a client invoked something, or learned how it ended. A [`History`] is
//! the events in the order in which the recorder saw them; that order, never a clock, is what "before" means to
//! every check. [`Load`] reads files of any notation. [`History::operations`] pairs each invocation with its completion. [`Writer`] and [`Reader`] move
//! events to and from JSON lines, one event per line, without holding the whole history.
//! Nothing here judges; nothing here panics on what a file says.

mod edn;
mod event;
mod lines;
mod load;
mod log;
mod name;
mod operation;
mod value;

pub use event::{Event, Kind, Process};
pub use lines::{ReadError, Reader, Writer};
pub use load::{Format, Independent, Load};
pub use name::Name;
pub use operation::{Operation, Outcome, PairError};
pub use value::{Float, Value};

/// The events of one run, in the order in which they were recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Where it came from, for messages: a path, or what a recorder calls itself.
    pub source: String,
    /// The events; their position here is the order of time.
    pub events: Vec<Event>,
}

impl History {
    /// An empty history that messages will call `source`.
    #[must_use]
    pub fn new(source: impl Into<String>) -> Self {
        History { source: source.into(), events: Vec::new() }
    }

    /// Appends an event; one without an index gets its position as index.
    pub fn push(&mut self, event: Event) {
        let index = self.events.len() as u64;
        self.events.push(event);
        if let Some(event) = self.events.last_mut() {
            event.index_or(index);
        }
    }

    /// Reads a whole history of JSON lines.
    ///
    /// # Errors
    /// The first line that cannot be read, by name and number.
    pub fn from_lines(source: &str, input: impl std::io::BufRead) -> Result<Self, ReadError> {
        let mut history = History::new(source);
        for event in Reader::new(source, input) {
            history.push(event?);
        }
        Ok(history)
    }

    /// Writes the history as JSON lines.
    ///
    /// # Errors
    /// What the output says.
    pub fn to_lines(&self, output: impl std::io::Write) -> std::io::Result<()> {
        let mut writer = Writer::new(output);
        for event in &self.events {
            writer.record(event)?;
        }
        writer.flush()
    }

    /// Pairs invocations with completions, in order of invocation. Takes time linear in the number of events.
    ///
    /// # Errors
    /// A completion without an invocation, a second invocation on a process whose first is still open, or a
    /// completion of another function than the one invoked; each with its place.
    pub fn operations(&self) -> Result<Vec<Operation<'_>>, PairError> {
        operation::pair(self)
    }
}

impl FromIterator<Event> for History {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut history = History::new("history");
        for event in events {
            history.push(event);
        }
        history
    }
}
