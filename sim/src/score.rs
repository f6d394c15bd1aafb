//! How good the simulator is: for each planted bug, how many seeds it takes to find it.
//!
//! A bug is looked for in several ranges of seeds, each from its own start, until a run breaks a check; the median is
//! its score. Healthy runs hold every check, so whatever breaks is the bug's doing. Each bug has a budget: in the first
//! range it must be found within so many seeds, or the simulator has become worse. How long it takes in another range is
//! a matter of luck, so there it may take [`LATER`] times as many; that it is found at all is asked for everywhere.

use godown_core::Plant;

use crate::campaign;
use crate::check::Check;
use crate::scenario::Weather;
use crate::world::Options;

/// Every planted bug, how many seeds it may take from seed 0 on, and a seed that finds it: the first one, when this was
/// last written. Runs change with the protocol, so a seed may stop finding its bug; the test that tries it says so, and
/// looks for another.
pub const BUDGETS: &[(Plant, u64, u64)] = &[
    (Plant::AckBeforeSync, 400, 7),
    (Plant::DotBeforeDurable, 50, 2),
    (Plant::CounterRestarted, 50, 0),
    (Plant::QuorumShort, 100, 40),
    (Plant::RepairOverwrites, 50, 0),
    (Plant::AckCountedTwice, 3_000, 1_596),
    (Plant::ForwardForgotten, 100, 6),
    (Plant::AbsorbsPartial, 100, 2),
    (Plant::ClockBeforeData, 50, 0),
    (Plant::ReadAheadOfSync, 400, 40),
    (Plant::JoinKeepsDominated, 50, 0),
    (Plant::JoinDropsConcurrent, 50, 0),
    (Plant::RepairSkipsEmpty, 400, 80),
    (Plant::AckShowsUnseen, 50, 2),
    (Plant::CoordinatorCountsItself, 200, 43),
    (Plant::QuorumShortRead, 100, 2),
    (Plant::RefusalCounted, 50, 12),
    (Plant::OwnGapAnswers, 1_500, 985),
    (Plant::CatchingUpServes, 800, 19),
    (Plant::EmptyIsComplete, 1_500, 36),
    (Plant::DeleteWithoutContext, 50, 2),
    (Plant::LateReplyAccepted, 3_000, 24),
    (Plant::StripOffByOne, 800, 53),
    (Plant::BaseJumpsGap, 100, 2),
    (Plant::SlotFreedEarly, 200, 1),
    (Plant::WaiterDropped, 50, 1),
    (Plant::TimerLost, 50, 0),
    (Plant::WallClockTimers, 400, 3),
    (Plant::LimitIgnored, 50, 23),
    (Plant::SiblingsLimitIgnored, 800, 14),
    (Plant::FailedWriteAcknowledged, 100, 1),
    (Plant::DotNotBurnt, 200, 11),
    (Plant::FailedReadIsAbsent, 50, 1),
    (Plant::PageWithHole, 6_000, 527),
    (Plant::FloorForgotten, 200, 2),
    (Plant::GapsLeftOpen, 1_500, 131),
    (Plant::RefusedRetry, 100, 0),
    (Plant::RepairClaimsContext, 100, 2),
    (Plant::DigestForgetsCloud, 12_000, 7_702),
    (Plant::FoldLosesFirst, 100, 13),
    (Plant::LateForward, 800, 276),
    (Plant::ForwardToAnyLife, 1_500, 276),
    (Plant::ClockAheadOfDisk, 1_500, 210),
    (Plant::CheckpointOvertaken, 50, 4),
    (Plant::WholeNotInFloor, 3_000, 137),
    (Plant::GapsOfOthersClosed, 100, 2),
    (Plant::RepairWithoutContext, 50, 6),
    (Plant::ClockAfterObjects, 6_000, 136),
    (Plant::RefusedWriteRemembered, 1_500, 211),
    (Plant::TakesOverRefused, 800, 316),
    (Plant::BurntClaimedEarly, 800, 6),
    (Plant::LifeUnrecorded, 800, 131),
    (Plant::TornBatchApplied, 100, 2),
    (Plant::ChecksumUnchecked, 200, 8),
    (Plant::SyncFailureIgnored, 200, 2),
    (Plant::OverflowForgotten, 100, 5),
    (Plant::ActorCountedEarly, 200, 1),
    (Plant::WriteForgetsOldLayout, 6_000, 752),
    (Plant::DotReusedAfterDrop, 6_000, 534),
    (Plant::AcceptedForgotten, 6_000, 9),
    (Plant::HintDroppedBeforeAck, 6_000, 817),
    (Plant::StandInReusesNumber, 6_000, 534),
    (Plant::MendedByFirst, 6_000, 4_543),
    (Plant::RangesCompareKeys, 400, 2),
    (Plant::TailNotCompared, 800, 65),
    (Plant::LogCutKeepsFloor, 400, 2),
    (Plant::ExpiredShown, 200, 20),
    (Plant::ExpiryTakesAll, 100, 2),
    (Plant::ExpiryUntold, 200, 12),
];

/// In each round but the first a bug may take so many times its budget.
pub const LATER: u64 = 20;

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
    /// The median number of seeds; a round that found nothing counts as the budget.
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

/// The check that the run of one seed breaks with this bug in it.
#[must_use]
pub fn finds(plant: Plant, seed: u64) -> Option<Check> {
    let options = Options { plants: vec![plant], ..Options::default() };
    let mut broke = None;
    campaign::run(
        seed..seed + 1,
        &Weather::default(),
        &options,
        1,
        || true,
        |outcome| {
            broke = outcome.broke();
            false
        },
    );
    broke
}

/// Looks for a bug in so many rounds, with at most `budget` seeds in the first and [`LATER`] times as many in the others.
#[must_use]
pub fn look_for(plant: Plant, budget: u64, rounds: u64, jobs: usize) -> Found {
    let options = Options { plants: vec![plant], ..Options::default() };
    let round = |round: u64| {
        let first = round * ROUND;
        let budget = if round == 0 { budget } else { (budget * LATER).min(ROUND) };
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
