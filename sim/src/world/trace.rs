//! What happens in a run, kept for people: as lines of text, and as a [`Story`].
//!
//! Both are made only when somebody asked for them; a run without a trace pays one comparison an event.

use std::collections::BTreeMap;
use std::fmt;

use godown_core::id::OpId;
use godown_core::key::Key;
use godown_core::message::{Change, Message};

use crate::scenario::{Fault, SECOND, US};
use crate::story::{Band, Fate, Flight, Happening, Spell, State, Story};

/// How much of a line is kept; what a message says can be long.
const LINE_MAX: usize = 300;
/// The most lines that are kept of a run.
const LINES_MAX: usize = 2_000_000;

/// What is kept, if anything is.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Box<Kept>>);

#[derive(Clone, Debug, Default)]
struct Kept {
    lines: Vec<Line>,
    story: Story,
    /// Faults that have begun, by their place in the scenario and in the story.
    open: Vec<(usize, usize)>,
    /// The keys that requests were about, which their answers do not name.
    asked: BTreeMap<OpId, Key>,
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at_ns: u64,
    /// Where; None when it happened to the whole world.
    pub node: Option<usize>,
    /// What.
    pub says: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ns, node, says } = self;
        write!(f, "{:>4}.{:06} ", at_ns / SECOND, at_ns % SECOND / US)?;
        match node {
            Some(node) => write!(f, "n{} {says}", node + 1),
            None => write!(f, "-- {says}"),
        }
    }
}

/// The name under which the trace knows a copy of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlightId(u32);

impl Trace {
    /// A trace that keeps everything, or nothing.
    #[must_use]
    pub fn new(wanted: bool) -> Self {
        Self(wanted.then(Box::default))
    }

    /// Whether it keeps anything.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Something happened on a node. Its kind is a word, and its key is named if it is about one.
    pub fn line(
        &mut self,
        at_ns: u64,
        node: usize,
        kind: &'static str,
        what: impl FnOnce() -> (Option<Key>, String),
    ) {
        if let Some(kept) = &mut self.0 {
            let (key, says) = what();
            let key = key.map(|key| key.to_string());
            kept.line(at_ns, Some(node), says.clone());
            kept.story.events.push(Happening { at_ns, node: Some(node), kind, key, says });
        }
    }

    /// Something happened to the world.
    pub fn note(&mut self, at_ns: u64, kind: &'static str, what: impl FnOnce() -> String) {
        if let Some(kept) = &mut self.0 {
            let says = what();
            kept.line(at_ns, None, says.clone());
            match kind {
                "begin" => kept.story.began_ns = Some(at_ns),
                "heal" => kept.story.healed_ns = Some(at_ns),
                _ => {}
            }
            kept.story.events.push(Happening { at_ns, node: None, kind, key: None, says });
        }
    }

    /// Something happened on a node that the story tells in another way.
    pub fn say(&mut self, at_ns: u64, node: usize, what: impl FnOnce() -> String) {
        if let Some(kept) = &mut self.0 {
            kept.line(at_ns, Some(node), what());
        }
    }

    /// A copy of a message leaves. It is late if it arrives after so long or more.
    pub fn sent(
        &mut self,
        at_ns: u64,
        (from, to): (usize, usize),
        message: &Message,
        arrival: Result<u64, Fate>,
        is_double: bool,
        late_ns: u64,
    ) -> FlightId {
        let Some(kept) = &mut self.0 else {
            return FlightId::default();
        };
        let says = format!("{message:?}");
        let fate = match arrival {
            Ok(_) if is_double => "again",
            Ok(_) => "sent",
            Err(_) => "lost",
        };
        kept.line(at_ns, Some(from), format!("→ n{} ({fate}) {says}", to + 1));
        let key = kept.key_of(message).map(|key| key.to_string());
        kept.story.messages.push(Flight {
            from,
            to,
            sent_ns: at_ns,
            at_ns: arrival.ok(),
            fate: arrival.err().unwrap_or(Fate::Underway),
            is_double,
            is_late: arrival.is_ok_and(|arrives_ns| arrives_ns - at_ns > late_ns),
            kind: says.split([' ', '{', '(']).next().unwrap_or_default().to_owned(),
            key,
            says,
        });
        FlightId(u32::try_from(kept.story.messages.len() - 1).unwrap_or(u32::MAX))
    }

    /// What became of a copy of a message when it was due.
    pub fn met(&mut self, at_ns: u64, id: FlightId, fate: Fate) {
        if let Some(kept) = &mut self.0
            && let Some(flight) = kept.story.messages.get_mut(id.0 as usize)
        {
            flight.at_ns = Some(at_ns);
            flight.fate = fate;
            let (from, to) = (flight.from, flight.to);
            let says = match fate {
                Fate::Arrived => format!("← n{} {}", from + 1, flight.says),
                Fate::Corrupted => format!("refuses what came from n{} and had been altered", from + 1),
                _ => return,
            };
            kept.line(at_ns, Some(to), says);
        }
    }

    /// A fault begins.
    pub fn begin(&mut self, at_ns: u64, place: usize, fault: &Fault, nodes: usize) {
        if let Some(kept) = &mut self.0 {
            kept.line(at_ns, None, format!("fault: {fault}"));
            kept.open.push((place, kept.story.faults.len()));
            kept.story.faults.push(Band {
                from_ns: at_ns,
                to_ns: u64::MAX,
                kind: fault.kind.name().to_owned(),
                says: fault
                    .to_string()
                    .split_once(": ")
                    .map_or_else(String::new, |(_, what)| what.to_owned()),
                nodes: fault.hits(nodes),
            });
        }
    }

    /// An ambush has met its moment: that is when it begins for people.
    pub fn spring(&mut self, at_ns: u64, place: usize, fault: &Fault) {
        if let Some(kept) = &mut self.0 {
            kept.line(at_ns, None, format!("sprung: {fault}"));
            if let Some((_, band)) = kept.open.iter().find(|(open, _)| *open == place) {
                kept.story.faults[*band].from_ns = at_ns;
            }
        }
    }

    /// A fault is over.
    pub fn end(&mut self, at_ns: u64, place: usize, fault: &Fault) {
        if let Some(kept) = &mut self.0 {
            kept.line(at_ns, None, format!("over: {fault}"));
            if let Some(at) = kept.open.iter().position(|(open, _)| *open == place) {
                let (_, band) = kept.open.swap_remove(at);
                kept.story.faults[band].to_ns = at_ns;
            }
        }
    }

    /// A node begins to be down, paused or slow, or is no longer.
    pub fn spell(&mut self, at_ns: u64, node: usize, what: &'static str, begins: bool) {
        if let Some(kept) = &mut self.0 {
            if begins {
                kept.story.spells.push(Spell { node, from_ns: at_ns, to_ns: u64::MAX, what });
            } else {
                let is_it =
                    |spell: &&mut Spell| spell.node == node && spell.what == what && spell.to_ns == u64::MAX;
                if let Some(spell) = kept.story.spells.iter_mut().rev().find(is_it) {
                    spell.to_ns = at_ns;
                }
            }
        }
    }

    /// What a node's disk holds of a key now, if that is news.
    pub fn state(&mut self, at_ns: u64, node: usize, key: &str, says: String, is_synced: bool) {
        if let Some(kept) = &mut self.0 {
            let states = &mut kept.story.states;
            let last = states.iter().rev().find(|state| state.node == node && state.key == key);
            let is_old = match last {
                Some(last) => last.says == says && last.is_synced == is_synced,
                None => says == "[]",
            };
            if !is_old {
                states.push(State { at_ns, node, key: key.to_owned(), says, is_synced });
            }
        }
    }

    /// The lines, and the story up to its end.
    #[must_use]
    pub fn finish(self, end_ns: u64) -> Option<(Vec<Line>, Story)> {
        let mut kept = self.0?;
        kept.story.end_ns = end_ns;
        kept.story.faults.retain(|band| {
            // An ambush that never met its moment was none.
            band.to_ns != u64::MAX || !band.kind.starts_with("ambush")
        });
        kept.story.faults.iter_mut().for_each(|band| band.to_ns = band.to_ns.min(end_ns));
        kept.story.spells.iter_mut().for_each(|spell| spell.to_ns = spell.to_ns.min(end_ns));
        kept.story.faults.sort_by_key(|band| band.from_ns);
        Some((kept.lines, kept.story))
    }
}

impl Kept {
    fn line(&mut self, at_ns: u64, node: Option<usize>, mut says: String) {
        if self.lines.len() < LINES_MAX {
            if let Some((cut, _)) = says.char_indices().nth(LINE_MAX) {
                says.truncate(cut);
                says.push('…');
            }
            self.lines.push(Line { at_ns, node, says });
        }
    }

    /// The key that a message is about, if it is about one.
    fn key_of(&mut self, message: &Message) -> Option<Key> {
        match message {
            Message::Forward { op, change: Change { key, .. }, .. }
            | Message::Store { op, key, .. }
            | Message::Hint { op, key, .. }
            | Message::FetchHints { op, key }
            | Message::Fetch { op, key } => {
                self.asked.insert(*op, key.clone());
                Some(key.clone())
            }
            Message::Repair { key, .. } => Some(key.clone()),
            Message::Forwarded { op, .. } | Message::Stored { op, .. } | Message::Fetched { op, .. } => {
                self.asked.get(op).cloned()
            }
            _ => None,
        }
    }
}
