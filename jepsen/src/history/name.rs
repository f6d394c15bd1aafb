//! Short words that repeat a lot: functions, nodes, phases, process names.
//!
//! A history of a million operations says "read" and "n1" a million times. A [`Name`] is either a literal of the
//! program or shared text, so copying one never copies the letters. It compares and hashes as its text.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A short word, cheap to copy.
#[derive(Clone)]
pub struct Name(Repr);

#[derive(Clone)]
enum Repr {
    Literal(&'static str),
    Shared(Arc<str>),
}

/// Words that nearly every history uses; reading one of them allocates nothing.
const COMMON: [&str; 20] = [
    "read",
    "write",
    "cas",
    "delete",
    "add",
    "remove",
    "increment",
    "append",
    "txn",
    "final",
    "nemesis",
    "kill",
    "start",
    "stop",
    "pause",
    "resume",
    "partition",
    "heal",
    "n1",
    "n2",
];

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Literal(text) => text,
            Repr::Shared(text) => text,
        }
    }

    /// A name for text that does not live in the program.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match COMMON.iter().find(|word| **word == text) {
            Some(word) => Name(Repr::Literal(word)),
            None => Name(Repr::Shared(text.into())),
        }
    }

    /// A name that is a literal of the program.
    #[must_use]
    pub const fn literal(text: &'static str) -> Self {
        Name(Repr::Literal(text))
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name::of(text)
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Name::of(&text)
    }
}

impl From<&String> for Name {
    fn from(text: &String) -> Self {
        Name::of(text)
    }
}

impl From<&Name> for Name {
    fn from(name: &Name) -> Self {
        name.clone()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
