//! One line of a history.
//!
//! An [`Event`] says who (a process: one client session, or the nemesis that makes the faults), what stage
//! (invoked, or ended well, badly or unknown), which function on which key, and the value. Recorders build events in
//! the builder style, which never fails, and hand them to a [`Writer`](super::Writer) or a [`History`](super::History);
//! a history keeps them in a form of its own, much smaller. What is absent is left out of the line.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Name, Value};

/// The stage that an event records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A process called.
    Invoke,
    /// The call happened, and this is its result.
    Ok,
    /// The call certainly did not happen.
    Fail,
    /// Nobody knows whether the call happened, or ever will; or, from the nemesis, something that it did.
    Info,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Info => "info",
        })
    }
}

/// Who did it: one session of a client, or a named actor such as the nemesis.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// A client session. At most one of its calls is open at any time.
    Client(u64),
    /// Somebody else; its events are not paired.
    Named(Name),
}

impl Process {
    /// The one that makes the faults.
    pub const NEMESIS: Process = Process::Named(Name::literal("nemesis"));

    /// Whether this is a client session.
    #[must_use]
    pub fn is_client(&self) -> bool {
        matches!(self, Process::Client(_))
    }
}

impl From<u64> for Process {
    fn from(number: u64) -> Self {
        Process::Client(number)
    }
}

impl From<u32> for Process {
    fn from(number: u32) -> Self {
        Process::Client(number.into())
    }
}

impl From<i32> for Process {
    /// A negative number is no client: it becomes a name.
    fn from(number: i32) -> Self {
        u64::try_from(number).map_or_else(|_| Process::Named(number.to_string().into()), Process::Client)
    }
}

impl From<usize> for Process {
    fn from(number: usize) -> Self {
        Process::Client(number as u64)
    }
}

impl From<&str> for Process {
    fn from(name: &str) -> Self {
        Process::Named(name.into())
    }
}

impl From<&Process> for Process {
    fn from(process: &Process) -> Self {
        process.clone()
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Process::Client(number) => write!(f, "{number}"),
            Process::Named(name) => write!(f, "{name}"),
        }
    }
}

/// One event. See the module's story.
///
/// ```
/// use godown_jepsen::history::Event;
///
/// let event = Event::invoke(3, "write").key("k").value(17).node("n1").seen([12, 15]).at(1_000);
/// let line = r#"{"time":1000,"type":"invoke","process":3,"f":"write","key":"k","value":17,"node":"n1","seen":[12,15]}"#;
/// assert_eq!(event.to_line(), line);
/// ```
#[derive(Clone, PartialEq)]
pub struct Event {
    index: Option<u64>,
    time_ns: Option<u64>,
    process: Process,
    kind: Kind,
    f: Name,
    key: Option<Value>,
    value: Option<Value>,
    line: u32,
    more: Option<Box<More>>,
}

/// What most events do not have.
#[derive(Clone, Debug, Default, PartialEq)]
struct More {
    node: Option<Name>,
    error: Option<Value>,
    seen: Option<Vec<Value>>,
    phase: Option<Name>,
    extra: BTreeMap<Name, Value>,
}

impl Event {
    /// An event of any stage, with everything else absent.
    #[must_use]
    pub fn new(kind: Kind, process: impl Into<Process>, f: impl Into<Name>) -> Self {
        Event {
            index: None,
            time_ns: None,
            process: process.into(),
            kind,
            f: f.into(),
            key: None,
            value: None,
            line: 0,
            more: None,
        }
    }

    /// A process called `f`.
    #[must_use]
    pub fn invoke(process: impl Into<Process>, f: impl Into<Name>) -> Self {
        Event::new(Kind::Invoke, process, f)
    }

    /// The process' open call happened.
    #[must_use]
    pub fn ok(process: impl Into<Process>, f: impl Into<Name>) -> Self {
        Event::new(Kind::Ok, process, f)
    }

    /// The process' open call certainly did not happen.
    #[must_use]
    pub fn fail(process: impl Into<Process>, f: impl Into<Name>) -> Self {
        Event::new(Kind::Fail, process, f)
    }

    /// Whether the process' open call happened is unknown.
    #[must_use]
    pub fn info(process: impl Into<Process>, f: impl Into<Name>) -> Self {
        Event::new(Kind::Info, process, f)
    }

    /// The nemesis did `f` ("kill", "heal", …); say on what with [`Event::node`] or [`Event::value`].
    #[must_use]
    pub fn nemesis(f: impl Into<Name>) -> Self {
        Event::new(Kind::Info, Process::NEMESIS, f)
    }

    /// With the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Value>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With the value: what is written, `[old, new]` of a cas, or what was read.
    #[must_use]
    pub fn value(mut self, value: impl Into<Value>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// With the node that the client talked to.
    #[must_use]
    pub fn node(mut self, node: impl Into<Name>) -> Self {
        self.more().node = Some(node.into());
        self
    }

    /// With the reason of a failure.
    #[must_use]
    pub fn error(mut self, error: impl Into<Value>) -> Self {
        self.more().error = Some(error.into());
        self
    }

    /// With what the session's causal context covered for this key (on the invocation of a write or a delete):
    /// values of writes and identities of deletes.
    #[must_use]
    pub fn seen<V: Into<Value>>(mut self, seen: impl IntoIterator<Item = V>) -> Self {
        self.more().seen = Some(seen.into_iter().map(Into::into).collect());
        self
    }

    /// With the phase of the run, such as "final" for reads after everything came to rest.
    #[must_use]
    pub fn phase(mut self, phase: impl Into<Name>) -> Self {
        self.more().phase = Some(phase.into());
        self
    }

    /// With the time in nanoseconds since the run began, on the recorder's monotonic clock.
    #[must_use]
    pub fn at(mut self, time_ns: u64) -> Self {
        self.time_ns = Some(time_ns);
        self
    }

    /// With its index in the history.
    #[must_use]
    pub fn index_at(mut self, index: u64) -> Self {
        self.index = Some(index);
        self
    }

    /// With a field that no check knows.
    #[must_use]
    pub fn extra(mut self, name: impl Into<Name>, value: impl Into<Value>) -> Self {
        self.more().extra.insert(name.into(), value.into());
        self
    }

    /// With the line of the file that it was read from, counted from 1.
    #[must_use]
    pub fn line_at(mut self, line: u32) -> Self {
        self.line = line;
        self
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

/// What an event says.
impl Event {
    /// The index that it was recorded with.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        self.index
    }

    /// Nanoseconds since the run began.
    #[must_use]
    pub fn time_ns(&self) -> Option<u64> {
        self.time_ns
    }

    /// Who.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The stage.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The function.
    #[must_use]
    pub fn f(&self) -> &Name {
        &self.f
    }

    /// The key, if it has one.
    #[must_use]
    pub fn key_of(&self) -> Option<&Value> {
        self.key.as_ref()
    }

    /// The value, if it has one.
    #[must_use]
    pub fn value_of(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// The node, if it says one.
    #[must_use]
    pub fn node_of(&self) -> Option<&Name> {
        self.more.as_ref()?.node.as_ref()
    }

    /// The error, if it says one.
    #[must_use]
    pub fn error_of(&self) -> Option<&Value> {
        self.more.as_ref()?.error.as_ref()
    }

    /// What had been seen, if it says so.
    #[must_use]
    pub fn seen_of(&self) -> Option<&[Value]> {
        self.more.as_ref()?.seen.as_deref()
    }

    /// The phase, if it says one.
    #[must_use]
    pub fn phase_of(&self) -> Option<&Name> {
        self.more.as_ref()?.phase.as_ref()
    }

    /// The fields that no check knows, in order of their names.
    pub fn extras(&self) -> impl Iterator<Item = (&Name, &Value)> {
        self.more.iter().flat_map(|more| &more.extra)
    }

    /// The line that it was read from, counted from 1; 0 if it was not read from a file.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Its line, without the line's end.
    #[must_use]
    pub fn to_line(&self) -> String {
        // Every part of an event can be written as JSON, so the fallback is never taken.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// As its line.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_line())
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn entry<M: SerializeMap, T: Serialize>(
            map: &mut M,
            name: &str,
            value: Option<&T>,
        ) -> Result<(), M::Error> {
            value.map_or(Ok(()), |value| map.serialize_entry(name, value))
        }
        let mut map = serializer.serialize_map(None)?;
        entry(&mut map, "index", self.index.as_ref())?;
        entry(&mut map, "time", self.time_ns.as_ref())?;
        map.serialize_entry("type", &self.kind)?;
        match &self.process {
            Process::Client(number) => map.serialize_entry("process", number)?,
            Process::Named(name) => map.serialize_entry("process", name)?,
        }
        map.serialize_entry("f", &self.f)?;
        entry(&mut map, "key", self.key.as_ref())?;
        entry(&mut map, "value", self.value.as_ref())?;
        if let Some(more) = &self.more {
            entry(&mut map, "node", more.node.as_ref())?;
            entry(&mut map, "error", more.error.as_ref())?;
            entry(&mut map, "seen", more.seen.as_ref())?;
            entry(&mut map, "phase", more.phase.as_ref())?;
            for (name, value) in &more.extra {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}
