//! The two worlds in which a scenario runs, and what comes out of either.
//!
//! [`stepped`] is an event heap of our own, for volume; `madnet` runs the nodes as tasks of madsim on madsim's
//! network, to prove the core under an async runtime's interleavings. Both take a scenario and return an
//! [`Outcome`]; both use the same core, disks, clients and checks, and both are judged in one place.

pub mod agenda;
pub mod network;
pub mod stepped;
pub mod trace;

#[cfg(madsim)]
pub mod madnet;

use std::fmt;

use godown_core::layout::Layout;
use godown_core::node::Node;
use godown_core::{Plant, Plants};
use godown_jepsen::history::History;

use crate::check::{self, Check, Failure};
use crate::digest::{Digest, Kind};
use crate::disk::Disk;
use crate::host::Checks;
use crate::scenario::Scenario;
use crate::workload::Workload;

/// Which world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum World {
    /// Our own event heap.
    #[default]
    Stepped,
    /// madsim's tasks and network.
    Madnet,
}

impl World {
    /// Every world.
    pub const ALL: [Self; 2] = [Self::Stepped, Self::Madnet];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stepped => "stepped",
            Self::Madnet => "madnet",
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What drives the stepped world's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// madsim's virtual clock where this build has it, else the world's own.
    #[default]
    Madsim,
    /// The world's own.
    Own,
}

/// How to run a scenario. None of it but the plants changes what happens.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// In which world.
    pub world: World,
    /// Driven by which clock.
    pub clock: Clock,
    /// With which planted bugs.
    pub plants: Vec<Plant>,
    /// Checked how often.
    pub checks: Checks,
    /// Whether events are kept as lines.
    pub traced: bool,
}

impl Options {
    pub(crate) fn plants(&self) -> Plants {
        let with = |plants: Plants, plant: &Plant| plants.with(*plant);
        self.plants.iter().fold(Plants::default(), with)
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's seed.
    pub seed: u64,
    /// The trace's digest.
    pub digest: u64,
    /// Inputs that nodes took.
    pub inputs: u64,
    /// Events in the trace.
    pub events: u64,
    /// How much simulated time went by.
    pub simulated_ns: u64,
    /// Calls that clients made.
    pub calls: u64,
    /// What was broken; the first one first.
    pub failures: Vec<Failure>,
    /// The events as lines, when they were asked for.
    pub lines: Vec<String>,
    /// The history as it was judged, when lines were asked for.
    pub history: Option<History>,
}

/// A world at its end.
pub(crate) struct Ending<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) layout: &'a Layout,
    pub(crate) workload: &'a Workload,
    pub(crate) disks: Vec<&'a Disk>,
    pub(crate) nodes: Vec<Option<&'a Node>>,
    /// What the world itself reports.
    pub(crate) failures: Vec<Failure>,
    /// Whether it ran to its end and was not stopped by a failure.
    pub(crate) is_complete: bool,
}

impl Ending<'_> {
    /// What still moves, or differs, in words; None when the world has come to rest.
    pub(crate) fn unrest(&self) -> Option<Failure> {
        let quiet = |says: String| Some(Failure::new(Check::Quiet, says));
        for (node, core) in self.nodes.iter().enumerate() {
            if let Some(why) = check::quiet::unrest(self.scenario, *core) {
                return quiet(format!("n{} {why}", node + 1));
            }
        }
        if !self.workload.is_done() {
            let awaited: Vec<String> = self.workload.awaited().map(|node| format!("n{}", node + 1)).collect();
            return quiet(format!("a client is not done; answers are awaited from [{}]", awaited.join(" ")));
        }
        let clock = |node: usize, partition| self.nodes[node]?.clock(partition);
        check::equal::difference(self.scenario, self.layout, &self.disks, clock)
            .map(|difference| Failure::new(Check::Equal, difference))
    }

    /// Judges the run, and takes what the replicas hold into the digest.
    pub(crate) fn judge(
        mut self,
        digest: &mut Digest,
        now_ns: u64,
        keep: bool,
    ) -> (Vec<Failure>, Option<History>) {
        self.failures.extend_from_slice(self.workload.failures());
        let record = self.workload.record();
        self.failures.extend(check::fresh::check(self.scenario, record));
        let held = check::equal::held(self.scenario, self.layout, &self.disks);
        for held in &held {
            let ids: Vec<u8> = held.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            digest.event(now_ns, held.node, Kind::Final, &ids);
        }
        if self.is_complete {
            self.failures.extend(self.unrest());
            self.failures.extend(check::siblings::check(self.scenario, record, &held));
        }
        let history = keep.then(|| check::siblings::history(self.scenario, record, &held, true));
        (self.failures, history)
    }
}
