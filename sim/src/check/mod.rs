//! What must hold of a run. One rule to a file, and none of them asks the core's clocks what happened.
//!
//! [`answered`](Check::Answered) is watched by the clients themselves; [`fresh`], [`invented`], [`bounded`], [`siblings`] and [`expired`] judge what
//! the clients saw; [`equal`] compares what the replicas hold in the end; [`quiet`] says who keeps the world from coming to
//! rest. The worlds report the rest: a node that panics, whose parts disagree, that sends what cannot be decoded, or
//! that complains of something which this world does not do to it.

pub mod bounded;
pub mod equal;
pub mod expired;
pub mod fresh;
pub mod invented;
pub mod quiet;
pub mod siblings;

use std::fmt;

macro_rules! checks {
    ($($variant:ident $name:literal $says:literal,)*) => {
        /// A rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check {
            $(#[doc = $says] $variant,)*
        }

        impl Check {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The rule's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The rule, in a sentence.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$variant => $says,)* }
            }
        }
    };
}

checks! {
    Answered "answered" "Every call is answered once, within its time.",
    Boot "boot" "A starting node can read what it had written.",
    Bounded "bounded" "No key holds more siblings than its coordinators could have let in.",
    Equal "equal" "Replicas are equal in the end.",
    Expired "expired" "What was to expire goes in time, everywhere and without a trace.",
    Fresh "fresh" "A read sees every write that was acknowledged before, when their quorums overlap.",
    Invariant "invariant" "A node's parts agree after every input.",
    Invented "invented" "Nothing is read or listed that nobody wrote.",
    Noted "noted" "Nodes note nothing that could only come from damage which was not done to them.",
    Panic "panic" "Nodes do not panic.",
    Quiet "quiet" "The world comes to rest when all faults are over.",
    Siblings "siblings" "Nothing that was acknowledged is lost, nothing that was replaced returns.",
    Wire "wire" "What a node sends can be decoded, and what was altered on its way is refused.",
}

impl Check {
    /// The rule with this name.
    ///
    /// # Errors
    /// Which names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|check| check.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|check| check.name()).collect();
            format!("there is no check \"{name}\": there are {}", names.join(", "))
        })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The rule.
    pub check: Check,
    /// How, in a line or two.
    pub says: String,
    /// The nodes that it rests on, if any in particular.
    pub nodes: Vec<usize>,
    /// The key's number, if it is about one.
    pub key: Option<u32>,
    /// The calls that it rests on, by their place in the record.
    pub ops: Vec<usize>,
}

impl Failure {
    /// `check` was broken, as `says` tells.
    #[must_use]
    pub fn new(check: Check, says: impl Into<String>) -> Self {
        Self { check, says: says.into(), nodes: Vec::new(), key: None, ops: Vec::new() }
    }

    /// The same, resting on these nodes.
    #[must_use]
    pub fn on(self, nodes: &[usize]) -> Self {
        Self { nodes: nodes.to_vec(), ..self }
    }

    /// The same, about a key and resting on these calls.
    #[must_use]
    pub fn about(self, key: u32, ops: Vec<usize>) -> Self {
        Self { key: Some(key), ops, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.says)
    }
}
