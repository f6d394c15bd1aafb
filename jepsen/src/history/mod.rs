//! What was recorded: events, the operations they make up, and the files they live in.
//!
//! An [`Event`] is one line of a history: a client invoked something, or learned how it ended. A [`History`] is
//! the events in the order in which the recorder saw them; that order, never a clock, is what "before" means to
//! every check. It keeps them as rows of numbers, forty bytes an event, and each value once: an [`Atom`] stands for
//! it. [`Load`] reads files of any notation; [`Writer`] writes JSON lines. [`History::operations`] pairs each invocation
//! with its completion. Nothing here judges; nothing here panics on what a file says.

mod event;
mod load;
mod log;
mod name;
mod operation;
mod parse;
mod pool;
mod rows;
mod value;
mod writer;

use std::cmp::Ordering;
use std::fmt;
use std::io::Read;

pub use event::{Event, Kind, Process};
pub use load::{Format, Independent, Load};
pub use name::Name;
pub use operation::{Operation, Outcome, PairError};
pub use pool::Atom;
pub use rows::{At, Word};
pub use value::{Float, Value};
pub use writer::{ReadError, Writer};

/// The events of one run, in the order in which they were recorded.
///
/// ```
/// use godown_jepsen::history::{Event, History};
///
/// let mut history = History::new("example");
/// history.push(Event::invoke(3, "write").key("k").value(17));
/// history.push(Event::ok(3, "write"));
/// let first = history.at(0);
/// assert_eq!(first.to_string(), "process 3 invoke write k 17");
/// assert_eq!(history.int(first.value()), Some(17));
/// assert_eq!(history.operations().unwrap().len(), 1);
/// ```
#[derive(Clone, Default)]
pub struct History {
    /// Where it came from, for messages: a path, or what a recorder calls itself.
    pub source: String,
    rows: rows::Rows,
}

/// Filling it.
impl History {
    /// An empty history that messages will call `source`.
    #[must_use]
    pub fn new(source: impl Into<String>) -> Self {
        History { source: source.into(), rows: rows::Rows::default() }
    }

    /// Appends an event; one without an index gets its position as index.
    pub fn push(&mut self, event: Event) {
        self.rows.push_event(&event);
    }

    /// Reads a whole history of JSON lines.
    ///
    /// # Errors
    /// The first line that cannot be read, by name and number.
    pub fn from_lines(source: &str, input: &mut dyn Read) -> Result<Self, ReadError> {
        Load { format: Format::Lines, independent: Independent::No }.read(source, input)
    }

    /// Writes the history as JSON lines.
    ///
    /// # Errors
    /// What the output says.
    pub fn to_lines(&self, output: impl std::io::Write) -> std::io::Result<()> {
        let mut writer = Writer::new(output);
        for event in self.iter() {
            writer.record(&event.to_event())?;
        }
        writer.flush()
    }
}

/// What it says.
impl History {
    /// How many events it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.rows.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.rows.is_empty()
    }

    /// How many bytes of memory it holds, nearly.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.rows.footprint()
    }

    /// The event at a position, counted from 0.
    ///
    /// # Panics
    /// If it has no such position.
    #[must_use]
    pub fn at(&self, position: u32) -> At<'_> {
        At::new(&self.rows, position)
    }

    /// The events, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = At<'_>> + ExactSizeIterator {
        (0..self.len() as u32).map(|position| self.at(position))
    }

    /// Pairs invocations with completions, in order of invocation. Takes time linear in the number of events.
    ///
    /// # Errors
    /// A completion without an invocation, a second invocation on a process whose first is still open, or a
    /// completion of another function or key than the one invoked; each with its place.
    pub fn operations(&self) -> Result<Vec<Operation>, PairError> {
        operation::pair(self)
    }

    /// The process with this number.
    ///
    /// # Panics
    /// If the number is not one of this history's.
    #[must_use]
    pub fn process(&self, number: u32) -> &Process {
        self.rows.process(number)
    }

    /// How many different processes it has; they are numbered from 0 in order of first appearance.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.rows.processes().len()
    }

    /// The text of a function, node or phase.
    #[must_use]
    pub fn word(&self, word: Word) -> &str {
        self.rows.text(word)
    }

    /// What `meaning` says of every word, by [`Word::number`]; so that a million operations cost no comparison of text.
    pub fn words<T>(&self, meaning: impl FnMut(&str) -> T) -> Vec<T> {
        let words = self.rows.words();
        let words = if words.is_empty() { &[Box::from("")] } else { words };
        words.iter().map(|word| &**word).map(meaning).collect()
    }
}

/// What its atoms stand for.
impl History {
    /// The value; nothing for none.
    #[must_use]
    pub fn value(&self, atom: Atom) -> Value {
        self.rows.pool.decode(atom)
    }

    /// The whole number, if it is one of 64 bits.
    #[must_use]
    pub fn int(&self, atom: Atom) -> Option<i64> {
        self.rows.pool.as_int(atom)
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self, atom: Atom) -> Option<&str> {
        self.rows.pool.as_text(atom)
    }

    /// The elements, if it is a list or a set.
    #[must_use]
    pub fn list(&self, atom: Atom) -> Option<&[Atom]> {
        self.rows.pool.as_list(atom)
    }

    /// Keys and values, in order of keys, if it is a map.
    pub fn map(&self, atom: Atom) -> Option<impl Iterator<Item = (Atom, Atom)> + '_> {
        let pairs = self.rows.pool.as_map(atom)?.chunks_exact(2);
        Some(pairs.map(|pair| (pair[0], pair[1])))
    }

    /// How two values are ordered, as [`Value`] orders them.
    #[must_use]
    pub fn compare(&self, a: Atom, b: Atom) -> Ordering {
        self.rows.pool.compare(a, b)
    }

    /// The value as messages write it.
    #[must_use]
    pub fn show(&self, atom: Atom) -> Shown<'_> {
        Shown { history: self, atom }
    }
}

/// A value that can be written into a message. See [`History::show`].
#[derive(Clone, Copy)]
pub struct Shown<'h> {
    history: &'h History,
    atom: Atom,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.history.rows.pool.write(self.atom, f)
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
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
