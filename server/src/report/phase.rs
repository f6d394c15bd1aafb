//! The phases of a run: what the cluster was going through while a call was made.

use serde::{Deserialize, Serialize};

/// A phase. A call belongs to the one in which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Nothing has happened yet.
    Calm,
    /// New nodes come in, and get their share of the data.
    Joining,
    /// A node hands over what it has, and goes.
    Leaving,
    /// A node is dead, or on its way back, or being replaced.
    Killed,
    /// A node is paused: it keeps its connections and answers nothing.
    Paused,
    /// Every node is back, or every change has settled.
    Healed,
    /// The load is over, and each node is asked what it holds.
    Final,
}

impl Phase {
    /// The phases with load, in the order of their first appearance.
    pub(crate) const LOADED: [Phase; 6] =
        [Phase::Calm, Phase::Joining, Phase::Leaving, Phase::Killed, Phase::Paused, Phase::Healed];

    /// Its name in every file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Phase::Calm => "calm",
            Phase::Joining => "joining",
            Phase::Leaving => "leaving",
            Phase::Killed => "killed",
            Phase::Paused => "paused",
            Phase::Healed => "healed",
            Phase::Final => "final",
        }
    }
}
