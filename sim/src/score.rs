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
    (Plant::AckBeforeSync, 2_000),
    (Plant::DotBeforeDurable, 2_000),
    (Plant::CounterRestarted, 2_000),
    (Plant::QuorumShort, 2_000),
    (Plant::RepairOverwrites, 2_000),
    (Plant::AckCountedTwice, 2_000),
    (Plant::ForwardForgotten, 2_000),
    (Plant::AbsorbsPartial, 2_000),
    (Plant::ClockBeforeData, 2_000),
    (Plant::ReadAheadOfSync, 2_000),
    (Plant::JoinKeepsDominated, 2_000),
    (Plant::JoinDropsConcurrent, 2_000),
    (Plant::RepairSkipsEmpty, 2_000),
    (Plant::AckShowsUnseen, 2_000),
    (Plant::CoordinatorCountsItself, 2_000),
    (Plant::QuorumShortRead, 2_000),
    (Plant::RefusalCounted, 2_000),
    (Plant::OwnGapAnswers, 2_000),
    (Plant::CatchingUpServes, 2_000),
    (Plant::EmptyIsComplete, 2_000),
    (Plant::DeleteWithoutContext, 2_000),
    (Plant::LateReplyAccepted, 2_000),
    (Plant::StripOffByOne, 2_000),
    (Plant::BaseJumpsGap, 2_000),
    (Plant::SlotFreedEarly, 2_000),
    (Plant::WaiterDropped, 2_000),
    (Plant::TimerLost, 2_000),
    (Plant::WallClockTimers, 2_000),
    (Plant::LimitIgnored, 2_000),
    (Plant::SiblingsLimitIgnored, 2_000),
    (Plant::FailedWriteAcknowledged, 2_000),
    (Plant::DotNotBurnt, 2_000),
    (Plant::FailedReadIsAbsent, 2_000),
    (Plant::PageWithHole, 2_000),
    (Plant::FloorForgotten, 2_000),
    (Plant::GapsLeftOpen, 2_000),
    (Plant::OtherLifeRetry, 2_000),
    (Plant::RefusedRetry, 2_000),
    (Plant::RepairClaimsContext, 2_000),
    (Plant::DigestForgetsCloud, 2_000),
    (Plant::IncompleteCounts, 2_000),
    (Plant::FoldLosesFirst, 2_000),
    (Plant::LateForward, 2_000),
    (Plant::ForwardToAnyLife, 2_000),
    (Plant::ClockAheadOfDisk, 2_000),
    (Plant::CheckpointOvertaken, 2_000),
    (Plant::WholeNotInFloor, 2_000),
    (Plant::GapsOfOthersClosed, 2_000),
    (Plant::RepairWithoutContext, 2_000),
    (Plant::ClockAfterObjects, 2_000),
    (Plant::RefusedWriteRemembered, 2_000),
    (Plant::TakesOverRefused, 2_000),
    (Plant::BurntClaimedEarly, 2_000),
    (Plant::LifeUnrecorded, 2_000),
    (Plant::TornBatchApplied, 2_000),
    (Plant::ChecksumUnchecked, 2_000),
    (Plant::SyncFailureIgnored, 2_000),
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
