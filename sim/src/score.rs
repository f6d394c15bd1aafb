//! How good the simulator is: for each planted bug, how many seeds it takes to find it.
//!
//! A bug is looked for in several ranges of seeds, each from its own start, until a run breaks a check; the median is
//! its score. Healthy runs hold every check, so whatever breaks is the bug's doing. Each bug has a budget: in the first
//! range it must be found within so many seeds, or the simulator has become worse.

use godown_core::Plant;

use crate::campaign;
use crate::check::Check;
use crate::scenario::Weather;
use crate::world::Options;

/// Every planted bug, and how many seeds it may take from seed 0 on.
pub const BUDGETS: &[(Plant, u64)] = &[
    (Plant::AckBeforeSync, 400),
    (Plant::DotBeforeDurable, 50),
    (Plant::CounterRestarted, 50),
    (Plant::QuorumShort, 100),
    (Plant::RepairOverwrites, 50),
    (Plant::AckCountedTwice, 3_000),
    (Plant::ForwardForgotten, 100),
    (Plant::AbsorbsPartial, 100),
    (Plant::ClockBeforeData, 50),
    (Plant::ReadAheadOfSync, 400),
    (Plant::JoinKeepsDominated, 50),
    (Plant::JoinDropsConcurrent, 50),
    (Plant::RepairSkipsEmpty, 400),
    (Plant::AckShowsUnseen, 50),
    (Plant::CoordinatorCountsItself, 200),
    (Plant::QuorumShortRead, 100),
    (Plant::RefusalCounted, 50),
    (Plant::OwnGapAnswers, 1_500),
    (Plant::CatchingUpServes, 800),
    (Plant::EmptyIsComplete, 1_500),
    (Plant::DeleteWithoutContext, 50),
    (Plant::LateReplyAccepted, 3_000),
    (Plant::StripOffByOne, 800),
    (Plant::BaseJumpsGap, 100),
    (Plant::SlotFreedEarly, 200),
    (Plant::WaiterDropped, 50),
    (Plant::TimerLost, 50),
    (Plant::WallClockTimers, 400),
    (Plant::LimitIgnored, 50),
    (Plant::SiblingsLimitIgnored, 800),
    (Plant::FailedWriteAcknowledged, 100),
    (Plant::DotNotBurnt, 200),
    (Plant::FailedReadIsAbsent, 50),
    (Plant::PageWithHole, 6_000),
    (Plant::FloorForgotten, 200),
    (Plant::GapsLeftOpen, 1_500),
    (Plant::RefusedRetry, 100),
    (Plant::RepairClaimsContext, 100),
    (Plant::DigestForgetsCloud, 12_000),
    (Plant::FoldLosesFirst, 100),
    (Plant::LateForward, 800),
    (Plant::ForwardToAnyLife, 1_500),
    (Plant::ClockAheadOfDisk, 1_500),
    (Plant::CheckpointOvertaken, 50),
    (Plant::WholeNotInFloor, 3_000),
    (Plant::GapsOfOthersClosed, 100),
    (Plant::RepairWithoutContext, 50),
    (Plant::ClockAfterObjects, 6_000),
    (Plant::RefusedWriteRemembered, 1_500),
    (Plant::TakesOverRefused, 800),
    (Plant::BurntClaimedEarly, 800),
    (Plant::LifeUnrecorded, 800),
    (Plant::TornBatchApplied, 100),
    (Plant::ChecksumUnchecked, 200),
    (Plant::SyncFailureIgnored, 200),
    (Plant::OverflowForgotten, 100),
    (Plant::ActorCountedEarly, 200),
    (Plant::WriteForgetsOldLayout, 6_000),
    (Plant::DotReusedAfterDrop, 6_000),
    (Plant::AcceptedForgotten, 6_000),
    (Plant::HintDroppedBeforeAck, 6_000),
    (Plant::StandInReusesNumber, 6_000),
    (Plant::MendedByFirst, 6_000),
    (Plant::RangesCompareKeys, 400),
    (Plant::TailNotCompared, 800),
    (Plant::LogCutKeepsFloor, 400),
];

/// Each round begins so many seeds after the one before.
const ROUND: u64 = 1_000_000;

/// What came of looking for one bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The bug.
    pub plant: Plant,
    /// Seeds that it may take.
    pub budget: u64,
    /// For each round how many seeds it took, and the check that told; None when the budget was not enough.
    pub rounds: Vec<Option<(u64, Check)>>,
}

impl Found {
    /// The median number of seeds; a round that found nothing counts as its budget.
    #[must_use]
    pub fn median(&self) -> u64 {
        median(self.rounds.iter().map(|round| round.map_or(self.budget, |(seeds, _)| seeds)).collect())
    }

    /// Whether the bug was found in every round.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.rounds.iter().all(Option::is_some)
    }

    /// The checks that told, the one that told most often first.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let mut counts: Vec<(usize, Check)> = Vec::new();
        for (_, check) in self.rounds.iter().flatten() {
            match counts.iter_mut().find(|(_, other)| other == check) {
                Some((count, _)) => *count += 1,
                None => counts.push((1, *check)),
            }
        }
        counts.sort_by_key(|(count, check)| (std::cmp::Reverse(*count), *check));
        counts.into_iter().map(|(_, check)| check).collect()
    }
}

/// The median of some numbers; 0 of none.
#[must_use]
pub fn median(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}

/// Looks for a bug in so many rounds, with at most `budget` seeds in each.
#[must_use]
pub fn look_for(plant: Plant, budget: u64, rounds: u64, jobs: usize) -> Found {
    let options = Options { plants: vec![plant], ..Options::default() };
    let round = |round: u64| {
        let first = round * ROUND;
        let mut found = None;
        campaign::run(
            first..first + budget,
            &Weather::default(),
            &options,
            jobs,
            || true,
            |outcome| {
                found = outcome.broke().map(|check| (outcome.seed - first + 1, check));
                found.is_none()
            },
        );
        found
    };
    Found { plant, budget, rounds: (0..rounds).map(round).collect() }
}
