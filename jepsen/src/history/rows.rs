//! The events of a history, forty bytes each.
//!
//! A history of ten million operations has twenty million events, so they are not kept as [`Event`]s but as rows of
//! numbers: words, processes and values are kept once, beside them, and what few events have (an error, what had been
//! seen, fields that no check knows) in a table of its own. Rows are only ever added. An [`At`] is a row that can be
//! asked what it says.

use std::collections::BTreeMap;
use std::fmt;

use super::event::{Event, Kind, Process};
use super::pool::{Atom, Pool};
use super::value::Value;
use crate::engine::quick::QuickMap;

/// A function, node or phase of one history, as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(u16);

impl Word {
    /// No word: the field is not there, or is empty.
    pub const NONE: Word = Word(0);

    /// Its number: dense, from 0 for none, in order of first appearance.
    #[must_use]
    pub fn number(self) -> usize {
        self.0.into()
    }
}

/// In place of a time that was not recorded.
pub(super) const NO_TIME: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) time_ns: u64,
    pub(super) key: Atom,
    pub(super) value: Atom,
    pub(super) process: u32,
    pub(super) line: u32,
    /// One more than the place in the table of what few events have; 0 for nothing.
    more: u32,
    pub(super) f: Word,
    node: Word,
    phase: Word,
    pub(super) kind: Kind,
}

/// What few events have.
#[derive(Clone, Debug)]
struct More {
    error: Atom,
    seen: Atom,
    extra: Box<[(Atom, Atom)]>,
}

/// All events and what their numbers mean.
#[derive(Clone, Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    pub(super) pool: Pool,
    processes: Vec<Process>,
    clients: Clients,
    actors: BTreeMap<Box<str>, u32>,
    words: Vec<Box<str>>,
    more: Vec<More>,
    /// The index of every event, once one is not its position.
    indices: Option<Vec<u64>>,
    is_full: bool,
}

/// Which number each client has: a table for small numbers, a map for the rest.
#[derive(Clone, Default)]
struct Clients {
    dense: Vec<u32>,
    sparse: QuickMap<u64, u32>,
}

/// Clients below this have a place in the table.
const DENSE_MAX: u64 = 1 << 16;
const NOBODY: u32 = u32::MAX;

impl Clients {
    fn number(&mut self, client: u64, next: u32) -> u32 {
        if client >= DENSE_MAX {
            return *self.sparse.entry(client).or_insert(next);
        }
        let place = client as usize;
        if place >= self.dense.len() {
            self.dense.resize(place + 1, NOBODY);
        }
        if self.dense[place] == NOBODY {
            self.dense[place] = next;
        }
        self.dense[place]
    }
}

/// An event under construction, from named fields in any order.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) index: Option<u64>,
    pub(super) time_ns: Option<u64>,
    pub(super) process: Option<u32>,
    pub(super) kind: Option<Kind>,
    pub(super) f: Word,
    pub(super) node: Word,
    pub(super) phase: Word,
    pub(super) key: Option<Atom>,
    pub(super) value: Option<Atom>,
    pub(super) error: Option<Atom>,
    pub(super) seen: Option<Atom>,
    pub(super) extra: Vec<(Atom, Atom)>,
}

impl Rows {
    /// Whether a number ran out, so that some rows do not mean what they should.
    pub(super) fn is_full(&self) -> bool {
        self.is_full || self.pool.is_full()
    }

    pub(super) fn footprint(&self) -> usize {
        let more: usize = self.more.iter().map(|more| size_of::<More>() + size_of_val(&*more.extra)).sum();
        let indices = self.indices.as_ref().map_or(0, |indices| 8 * indices.capacity());
        let processes = self.processes.capacity() * size_of::<Process>();
        self.rows.capacity() * size_of::<Row>() + self.pool.footprint() + more + indices + processes
    }

    pub(super) fn client(&mut self, client: u64) -> u32 {
        let next = self.processes.len() as u32;
        let number = self.clients.number(client, next);
        if number == next {
            self.processes.push(Process::Client(client));
        }
        number
    }

    pub(super) fn actor(&mut self, name: &str) -> u32 {
        if let Some(number) = self.actors.get(name) {
            return *number;
        }
        let number = self.processes.len() as u32;
        self.processes.push(Process::Named(name.into()));
        self.actors.insert(name.into(), number);
        number
    }

    pub(super) fn word(&mut self, text: &str) -> Word {
        if text.is_empty() {
            return Word::NONE;
        }
        if self.words.is_empty() {
            self.words.push("".into());
        }
        if let Some(place) = self.words.iter().position(|word| **word == *text) {
            return Word(place as u16);
        }
        match u16::try_from(self.words.len()) {
            Ok(place) if self.words.len() < WORDS_MAX => {
                self.words.push(text.into());
                Word(place)
            }
            _ => {
                self.is_full = true;
                Word::NONE
            }
        }
    }

    /// The number of a word that was met before.
    pub(super) fn known_word(&self, text: &[u8]) -> Option<Word> {
        self.words.iter().position(|word| word.as_bytes() == text).map(|place| Word(place as u16))
    }

    pub(super) fn push(&mut self, draft: Draft, process: u32, kind: Kind, line: u32) {
        let position = self.rows.len() as u64;
        if let Some(index) = draft.index
            && index != position
            && self.indices.is_none()
        {
            self.indices = Some((0..position).collect());
        }
        if let Some(indices) = &mut self.indices {
            indices.push(draft.index.unwrap_or(position));
        }
        let mut row = Row {
            time_ns: draft.time_ns.unwrap_or(NO_TIME),
            key: draft.key.unwrap_or(Atom::ABSENT),
            value: draft.value.unwrap_or(Atom::ABSENT),
            process,
            line,
            more: 0,
            f: draft.f,
            node: draft.node,
            phase: draft.phase,
            kind,
        };
        if draft.error.is_some() || draft.seen.is_some() || !draft.extra.is_empty() {
            self.more.push(More {
                error: draft.error.unwrap_or(Atom::ABSENT),
                seen: draft.seen.unwrap_or(Atom::ABSENT),
                extra: draft.extra.into_boxed_slice(),
            });
            row.more = self.more.len() as u32;
        }
        self.rows.push(row);
    }

    pub(super) fn process(&self, number: u32) -> &Process {
        &self.processes[number as usize]
    }

    pub(super) fn processes(&self) -> &[Process] {
        &self.processes
    }

    pub(super) fn text(&self, word: Word) -> &str {
        self.words.get(word.number()).map_or("", |word| word)
    }

    pub(super) fn words(&self) -> &[Box<str>] {
        &self.words
    }
}

/// How many different functions, nodes and phases a history may name.
const WORDS_MAX: usize = 4_096;

/// One event of a history.
#[derive(Clone, Copy)]
pub struct At<'h> {
    rows: &'h Rows,
    row: &'h Row,
    position: u32,
}

impl<'h> At<'h> {
    pub(super) fn new(rows: &'h Rows, position: u32) -> Self {
        At { rows, row: &rows.rows[position as usize], position }
    }

    fn more(self) -> Option<&'h More> {
        self.rows.more.get((self.row.more as usize).checked_sub(1)?)
    }

    /// Its position among the events: what "before" means.
    #[must_use]
    pub fn position(self) -> u32 {
        self.position
    }

    /// The index that it was recorded with; its position if it has none.
    #[must_use]
    pub fn index(self) -> u64 {
        let position = self.position as usize;
        self.rows.indices.as_ref().map_or(self.position.into(), |indices| indices[position])
    }

    /// Nanoseconds since the run began.
    #[must_use]
    pub fn time_ns(self) -> Option<u64> {
        Some(self.row.time_ns).filter(|time| *time != NO_TIME)
    }

    /// Who.
    #[must_use]
    pub fn process(self) -> &'h Process {
        self.rows.process(self.row.process)
    }

    /// The number of who, as in [`Operation::process`](super::Operation::process).
    #[must_use]
    pub fn process_number(self) -> u32 {
        self.row.process
    }

    /// The stage.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.row.kind
    }

    /// The function.
    #[must_use]
    pub fn f(self) -> &'h str {
        self.rows.text(self.row.f)
    }

    /// The function's number.
    #[must_use]
    pub fn function(self) -> Word {
        self.row.f
    }

    /// Whether the value is a list or a set.
    #[must_use]
    pub fn has_list(self) -> bool {
        self.rows.pool.as_list(self.row.value).is_some()
    }

    /// The key, or [`Atom::ABSENT`].
    #[must_use]
    pub fn key(self) -> Atom {
        self.row.key
    }

    /// The value, or [`Atom::ABSENT`].
    #[must_use]
    pub fn value(self) -> Atom {
        self.row.value
    }

    /// The node, if it says one.
    #[must_use]
    pub fn node(self) -> Option<&'h str> {
        Some(self.rows.text(self.row.node)).filter(|node| !node.is_empty())
    }

    /// The phase of the run, if it says one.
    #[must_use]
    pub fn phase(self) -> Option<&'h str> {
        Some(self.rows.text(self.row.phase)).filter(|phase| !phase.is_empty())
    }

    /// The error, or [`Atom::ABSENT`].
    #[must_use]
    pub fn error(self) -> Atom {
        self.more().map_or(Atom::ABSENT, |more| more.error)
    }

    /// What had been seen, if it says so.
    #[must_use]
    pub fn seen(self) -> Option<&'h [Atom]> {
        self.rows.pool.as_list(self.more()?.seen)
    }

    /// A field that the format gives no meaning to, or [`Atom::ABSENT`].
    #[must_use]
    pub fn extra(self, name: &str) -> Atom {
        let fields = self.more().map_or(&[][..], |more| &more.extra);
        let field = fields.iter().find(|(field, _)| self.rows.pool.as_text(*field) == Some(name));
        field.map_or(Atom::ABSENT, |(_, value)| *value)
    }

    /// The line that it was read from, counted from 1; 0 if it was not read from a file.
    #[must_use]
    pub fn line(self) -> u32 {
        self.row.line
    }

    /// The event by itself.
    #[must_use]
    pub fn to_event(self) -> Event {
        let pool = &self.rows.pool;
        let mut event = Event::new(self.kind(), self.process().clone(), self.f())
            .index_at(self.index())
            .line_at(self.line());
        if let Some(time_ns) = self.time_ns() {
            event = event.at(time_ns);
        }
        if let Some(key) = self.key().present() {
            event = event.key(pool.decode(key));
        }
        if let Some(value) = self.value().present() {
            event = event.value(pool.decode(value));
        }
        if let Some(node) = self.node() {
            event = event.node(node);
        }
        if let Some(phase) = self.phase() {
            event = event.phase(phase);
        }
        if let Some(error) = self.error().present() {
            event = event.error(pool.decode(error));
        }
        if let Some(seen) = self.seen() {
            event = event.seen(seen.iter().map(|value| pool.decode(*value)));
        }
        for (name, value) in self.more().map_or(&[][..], |more| &more.extra) {
            event = event.extra(pool.as_text(*name).unwrap_or_default(), pool.decode(*value));
        }
        event
    }
}

/// In words, for explanations: `process 3 invoke write k 17`.
impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} {} {}", self.process(), self.kind(), self.f())?;
        for atom in [self.key(), self.value()].into_iter().filter_map(Atom::present) {
            f.write_str(" ")?;
            self.rows.pool.write(atom, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_event(), f)
    }
}

impl Rows {
    /// Takes in an event that stands for itself.
    pub(super) fn push_event(&mut self, event: &Event) {
        let process = match event.process() {
            Process::Client(number) => self.client(*number),
            Process::Named(name) => self.actor(name.as_str()),
        };
        let atom = |rows: &mut Rows, value: Option<&Value>| value.map(|value| rows.pool.value(value));
        let mut draft = Draft {
            index: event.index(),
            time_ns: event.time_ns(),
            f: self.word(event.f().as_str()),
            node: event.node_of().map_or(Word::NONE, |node| self.word(node.as_str())),
            phase: event.phase_of().map_or(Word::NONE, |phase| self.word(phase.as_str())),
            key: atom(self, event.key_of()),
            value: atom(self, event.value_of()),
            error: atom(self, event.error_of()),
            ..Draft::default()
        };
        if let Some(seen) = event.seen_of() {
            let seen: Vec<Atom> = seen.iter().map(|value| self.pool.value(value)).collect();
            draft.seen = Some(self.pool.list(&seen));
        }
        for (name, value) in event.extras() {
            draft.extra.push((self.pool.text(name.as_str()), self.pool.value(value)));
        }
        self.push(draft, process, event.kind(), event.line());
    }
}
