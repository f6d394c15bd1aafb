//! The two worlds in which a scenario runs, and what comes out of either.
//!
//! [`stepped`] is an event heap of our own, for volume; `madnet` runs the nodes as tasks of madsim on madsim's
//! network, to prove the core under an async runtime's interleavings. Both take a scenario and return an
//! [`Outcome`]; both use the same core, disks, clients and checks, and both are judged in one place.

pub mod agenda;
pub mod network;
mod operator;
pub mod stepped;
pub mod trace;
mod troubles;

#[cfg(madsim)]
pub mod madnet;

use std::fmt;

pub use godown_core::Moments as CoreMoments;
use godown_core::id::Life;
use godown_core::layout::Layout;
use godown_core::node::Node;
use godown_core::{Plant, Plants};
use godown_jepsen::history::History;

use self::operator::Operator;
use self::trace::{Line, Trace};
use crate::check::{self, Check, Failure};
use crate::digest::{Digest, Kind};
use crate::disk::Disk;
use crate::host::Checks;
use crate::moment::{Moment, Moments};
use crate::record::{Act, End, Op, Record};
use crate::scenario::{Scenario, key_name, span};
use crate::story::{self, Story};
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
    /// Whether events are kept, as lines and as a story.
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
    /// States that the world met.
    pub moments: Moments,
    /// States that the cores met.
    pub core: CoreMoments,
    /// What was broken; the first one first.
    pub failures: Vec<Failure>,
    /// What happened, when it was asked for.
    pub traced: Option<Box<Traced>>,
}

/// All that happened in a run.
#[derive(Clone, Debug)]
pub struct Traced {
    /// A line for each event.
    pub lines: Vec<Line>,
    /// The same as data.
    pub story: Story,
    /// What the clients saw, as it was judged.
    pub history: History,
}

impl Outcome {
    /// The first check that was broken, if any was.
    #[must_use]
    pub fn broke(&self) -> Option<Check> {
        self.failures.first().map(|failure| failure.check)
    }
}

/// A world at its end.
pub(crate) struct Ending<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) workload: &'a Workload,
    pub(crate) operator: &'a Operator,
    pub(crate) disks: Vec<&'a Disk>,
    pub(crate) nodes: Vec<Option<&'a Node>>,
    /// Lives whose disks were lost.
    pub(crate) lost: Vec<Life>,
    /// What the world itself reports.
    pub(crate) failures: Vec<Failure>,
    /// Whether it ran to its end and was not stopped by a failure.
    pub(crate) is_complete: bool,
}

/// What a world has counted and kept by its end.
pub(crate) struct Run {
    pub(crate) inputs: u64,
    pub(crate) now_ns: u64,
    pub(crate) moments: Moments,
    pub(crate) core: CoreMoments,
    pub(crate) trace: Trace,
}

/// The newest layout that any of these nodes knows.
pub(crate) fn newest<'a>(nodes: impl Iterator<Item = &'a Node>) -> Option<&'a Layout> {
    nodes.filter_map(|node| node.layouts().newest()).max_by_key(|layout| layout.epoch())
}

impl Ending<'_> {
    fn layout(&self) -> Option<&Layout> {
        newest(self.nodes.iter().flatten().copied())
    }

    /// What still moves, or differs, in words; None when the world has come to rest.
    pub(crate) fn unrest(&self) -> Option<Failure> {
        let quiet = |says: String, nodes: &[usize]| Some(Failure::new(Check::Quiet, says).on(nodes));
        let layout = self.layout();
        for (node, core) in self.nodes.iter().enumerate() {
            let disk = self.disks[node];
            if let Some(why) = check::quiet::unrest(self.scenario, &self.lost, layout, node, disk, *core) {
                return quiet(format!("n{} {why}", node + 1), &[node]);
            }
        }
        if !self.workload.is_done() {
            let nodes: Vec<usize> = self.workload.awaited().collect();
            let awaited: Vec<String> = nodes.iter().map(|node| format!("n{}", node + 1)).collect();
            let says = format!("a client is not done; answers are awaited from [{}]", awaited.join(" "));
            return quiet(says, &nodes);
        }
        if let Some(fault) = self.operator.awaited() {
            return quiet(format!("\"{}\" is not done", self.scenario.faults[fault]), &[]);
        }
        let clock = |node: usize, partition| self.nodes[node]?.clock(partition);
        let Some(layout) = layout else { return quiet("no cluster was founded".to_owned(), &[]) };
        let difference = check::equal::difference(self.scenario, layout, &self.disks, clock);
        let remains = || check::expired::remains(self.scenario, self.workload.record(), layout, &self.disks);
        difference.or_else(remains)
    }

    /// Judges the run, takes what the replicas hold into the digest, and tells what came of it.
    pub(crate) fn outcome(mut self, mut run: Run, digest: &mut Digest) -> Outcome {
        self.failures.extend_from_slice(self.workload.failures());
        let record = self.workload.record();
        self.failures.extend(check::invented::check(record));
        self.failures.extend(check::bounded::check(self.scenario, record));
        self.failures.extend(check::fresh::check(self.scenario, record));
        self.failures.extend(check::expired::check(self.scenario, record));
        let held = self.layout().map_or(Vec::new(), |layout| check::equal::held(record, layout, &self.disks));
        for held in &held {
            let ids: Vec<u8> = held.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            digest.event(run.now_ns, held.node, Kind::Final, &ids);
        }
        if self.is_complete {
            self.failures.extend(self.unrest());
            self.failures.extend(check::siblings::check(self.scenario, record, &held, run.now_ns));
        }
        seen(record, &mut run.moments);
        check::expired::meet(self.scenario, record, run.now_ns, &mut run.moments);
        let traced = run.trace.finish(run.now_ns).map(|(lines, mut story)| {
            let history = check::siblings::history(self.scenario, record, &held, run.now_ns, true);
            self.tell(&mut story);
            story.digest = digest.to_string();
            Box::new(Traced { lines, story, history })
        });
        Outcome {
            seed: self.scenario.seed,
            digest: digest.value(),
            inputs: run.inputs,
            events: digest.events(),
            simulated_ns: run.now_ns,
            calls: record.ops().len() as u64,
            moments: run.moments,
            core: run.core,
            failures: self.failures,
            traced,
        }
    }

    /// What the story cannot know from events: names, calls, the verdict.
    fn tell(&self, story: &mut Story) {
        let record = self.workload.record();
        story.title = format!("seed {}", self.scenario.seed);
        story.nodes = (0..self.scenario.nodes()).map(|node| format!("n{}", node + 1)).collect();
        story.zones.clone_from(&self.scenario.zones);
        story.keys = record.keys().iter().map(|key| key_name(*key)).collect();
        story.calls = record.ops().iter().map(|op| call(record, op, story.end_ns)).collect();
        story.failures = self
            .failures
            .iter()
            .map(|failure| story::Broken {
                check: failure.check.name().to_owned(),
                says: failure.says.clone(),
                nodes: failure.nodes.clone(),
                key: failure.key.map(key_name),
                calls: failure.ops.clone(),
            })
            .collect();
    }
}

/// A call as the story tells it.
fn call(record: &Record, op: &Op, end_ns: u64) -> story::Called {
    let key = record.key_name(op.key);
    let quorum = op.quorum;
    let asked = match op.act {
        Act::Read => format!("reads {key} from {quorum}"),
        Act::Write => {
            let ttl = op.ttl_ns.map_or_else(String::new, |ttl_ns| format!(" for {}", span(ttl_ns)));
            format!("writes {} to {key} on {quorum}{ttl}, having seen {:?}", op.id, op.seen)
        }
        Act::Delete => format!("deletes {key} on {quorum} as {}, having seen {:?}", op.id, op.seen),
    };
    let (outcome, answered) = match &op.end {
        End::Open => (story::Outcome::Open, "the run ended before its answer".to_owned()),
        End::Ok if op.act == Act::Read => (story::Outcome::Ok, format!("is shown {:?}", op.shown)),
        End::Ok => (story::Outcome::Ok, "is acknowledged".to_owned()),
        End::Fail(why) => (story::Outcome::Fail, format!("fails: {why}")),
        End::Unknown(Some(why)) => {
            (story::Outcome::Unknown, format!("does not learn what came of it: {why}"))
        }
        End::Unknown(None) => (story::Outcome::Unknown, "gets no answer".to_owned()),
    };
    story::Called {
        session: op.session,
        node: op.node,
        act: op.act.name(),
        key: Some(key),
        from_ns: op.at_ns,
        to_ns: if op.end == End::Open { end_ns } else { op.ended_ns },
        outcome,
        says: format!("process {} {asked}, and {answered}", op.process),
    }
}

/// What clients have met.
fn seen(record: &Record, moments: &mut Moments) {
    let mut deleted = vec![false; record.keys().len()];
    let mut written = vec![false; record.keys().len()];
    let mut last: Vec<Option<&Op>> = Vec::new();
    for op in record.ops() {
        if last.len() <= op.session {
            last.resize(op.session + 1, None);
        }
        match (&op.end, op.act) {
            (End::Ok, Act::Read) if op.shown.len() > 1 => moments.meet(Moment::ReadSiblings),
            (End::Ok, Act::Read) if op.shown.is_empty() && written[op.key] => {
                moments.meet(Moment::ReadNothing);
            }
            (End::Ok, Act::Write) => {
                written[op.key] = true;
                if deleted[op.key] {
                    moments.meet(Moment::Recreated);
                }
            }
            (End::Ok, Act::Delete) => deleted[op.key] = true,
            (End::Fail(_), Act::Read) => moments.meet(Moment::ReadFailedCall),
            (End::Fail(_), _) => moments.meet(Moment::WriteFailedCall),
            (End::Unknown(_), Act::Write | Act::Delete) => moments.meet(Moment::OutcomeUnknown),
            _ => {}
        }
        let is_again = |before: &&Op| {
            matches!(before.end, End::Unknown(_)) && before.act == op.act && !op.seen.is_empty()
        };
        if op.act != Act::Read && last[op.session].as_ref().is_some_and(is_again) {
            moments.meet(Moment::Retried);
        }
        last[op.session] = Some(op);
    }
}
