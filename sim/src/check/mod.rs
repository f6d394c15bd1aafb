//! What must hold of a run. One rule to a file, and none of them asks the core's clocks what happened.
//!
//! [`answered`](Check::Answered) is watched by the clients themselves; [`fresh`] and [`siblings`] judge what the
//! clients saw; [`equal`] compares what the replicas hold in the end; [`quiet`] says who keeps the world from coming to
//! rest. The worlds report the rest: a node that panics, whose parts disagree, that sends what cannot be decoded, or
//! that complains of something which this world does not do to it.

pub mod equal;
pub mod fresh;
pub mod quiet;
pub mod siblings;

use std::fmt;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Every call is answered once, within its time.
    Answered,
    /// A starting node can read what it had written.
    Boot,
    /// Replicas are equal in the end.
    Equal,
    /// A read sees every write that was acknowledged before, when their quorums overlap.
    Fresh,
    /// A node's parts agree after every input.
    Invariant,
    /// Nodes note nothing that could only come from damage.
    Noted,
    /// Nodes do not panic.
    Panic,
    /// The world comes to rest when all faults are over.
    Quiet,
    /// Nothing that was acknowledged is lost, nothing that was replaced returns.
    Siblings,
    /// What a node sends can be decoded.
    Wire,
}

impl Check {
    /// The rule's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Boot => "boot",
            Self::Equal => "equal",
            Self::Fresh => "fresh",
            Self::Invariant => "invariant",
            Self::Noted => "noted",
            Self::Panic => "panic",
            Self::Quiet => "quiet",
            Self::Siblings => "siblings",
            Self::Wire => "wire",
        }
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
}

impl Failure {
    /// `check` was broken, as `says` tells.
    #[must_use]
    pub fn new(check: Check, says: impl Into<String>) -> Self {
        let says = says.into();
        Self { check, says }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.says)
    }
}
