//! What happened in one run, told as data: for the page that draws it, and for whoever wants to ask it something.
//!
//! A world that is traced writes a [`Story`] beside its digest. All times are nanoseconds since the run began, and they
//! never fall within a list. Nodes are counted from 0; their names say one more. Nothing here is fed back into a run.

use serde::Serialize;

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Story {
    /// What was run: a seed, or a scenario's name.
    pub title: String,
    /// The scenario as text.
    pub scenario: String,
    /// The command that runs it again.
    pub command: String,
    /// The trace's digest, in hexadecimal.
    pub digest: String,
    /// What was broken, the first one first; empty when every check holds.
    pub failures: Vec<Broken>,
    /// The nodes' names, in order.
    pub nodes: Vec<String>,
    /// The zone of each node.
    pub zones: Vec<usize>,
    /// The keys' names, in order.
    pub keys: Vec<String>,
    /// The end of the run.
    pub end_ns: u64,
    /// When clients began, and when all faults were over; None when the run did not get so far.
    pub began_ns: Option<u64>,
    /// When all faults were over.
    pub healed_ns: Option<u64>,
    /// Faults, as they came.
    pub faults: Vec<Band>,
    /// Times in which a node was down, paused or slow.
    pub spells: Vec<Spell>,
    /// Every copy of every message.
    pub messages: Vec<Flight>,
    /// What happened on the nodes beside messages and calls.
    pub events: Vec<Happening>,
    /// What clients called.
    pub calls: Vec<Called>,
    /// What each node's disk held of a key from then on.
    pub states: Vec<State>,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The rule's name.
    pub check: String,
    /// How it was broken, in words.
    pub says: String,
    /// The nodes that it rests on, if any in particular.
    pub nodes: Vec<usize>,
    /// The key's name.
    pub key: Option<String>,
    /// The calls that it rests on, by their place in [`Story::calls`].
    pub calls: Vec<usize>,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Band {
    /// When it began.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
    /// Its kind, in a word: crash, cut, slow, loss, …
    pub kind: String,
    /// What it is, in words.
    pub says: String,
    /// The nodes that it hits; all of them when it hits none in particular.
    pub nodes: Vec<usize>,
}

/// A time in which a node did not run as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spell {
    /// The node.
    pub node: usize,
    /// When it began.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
    /// "down", "paused" or "slow".
    pub what: &'static str,
}

/// What became of a copy of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It arrived.
    Arrived,
    /// It was lost on its way, at random.
    Lost,
    /// A partition cut it off.
    Cut,
    /// Its bits were changed on its way, and its receiver noticed.
    Corrupted,
    /// Its receiver was down.
    Dead,
    /// The run ended while it was on its way.
    Underway,
}

/// One copy of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flight {
    /// Who sent it.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// When it was sent.
    pub sent_ns: u64,
    /// When it arrived, or would have; None when it never got so far.
    pub at_ns: Option<u64>,
    /// What became of it.
    pub fate: Fate,
    /// Whether it is the second copy of a doubled message.
    pub is_double: bool,
    /// Whether it took much longer than messages usually do.
    pub is_late: bool,
    /// The message's kind: Store, Fetched, …
    pub kind: String,
    /// The key's name, if it is about one.
    pub key: Option<String>,
    /// All that it says.
    pub says: String,
}

/// Something that happened on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happening {
    /// When.
    pub at_ns: u64,
    /// Where; None when it happened to the whole world.
    pub node: Option<usize>,
    /// Its kind, in a word: start, crash, tick, read, write, written, scan, note, heal, …
    pub kind: &'static str,
    /// The key's name, if it is about one.
    pub key: Option<String>,
    /// What happened, in words.
    pub says: String,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It certainly did not.
    Fail,
    /// Nobody knows.
    Unknown,
    /// It had not ended when the run did.
    Open,
}

/// A client's call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Called {
    /// The session, counted from 0.
    pub session: usize,
    /// The node that was called.
    pub node: usize,
    /// read, write, delete or list.
    pub act: &'static str,
    /// The key's name.
    pub key: Option<String>,
    /// When it was called.
    pub from_ns: u64,
    /// When it was answered, or given up.
    pub to_ns: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What was asked and what was answered, in words.
    pub says: String,
}

/// What a node's disk holds of a key from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// From when on.
    pub at_ns: u64,
    /// The node.
    pub node: usize,
    /// The key's name.
    pub key: String,
    /// Its siblings, in words: "[3 7]", or "[]" when there are none.
    pub says: String,
    /// Whether it would survive a crash. When it becomes so, it is told again.
    pub is_synced: bool,
}
