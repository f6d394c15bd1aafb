//! Every planted bug is found, by a check that has reason to find it, within a number of seeds.
//!
//! This is the simulator's own score: a check that stopped checking, or scenarios that no longer meet the moment
//! that a bug needs, fail here. The table says for each bug how many seeds it may take and which checks may be the
//! first to tell; that the same seeds hold every check without the bug is another test's affair.

mod say;

use godown_core::Plant;
use godown_sim::campaign;
use godown_sim::check::Check::{self, Equal, Fresh, Invariant, Noted, Quiet, Siblings};
use godown_sim::world::Options;
use say::say;

macro_rules! found {
    ($($name:ident: $plant:ident within $seeds:literal by $checks:expr;)*) => {
        $(
            #[test]
            fn $name() {
                find(Plant::$plant, $seeds, &$checks);
            }
        )*

        /// Every bug that a test above finds.
        const TESTED: &[Plant] = &[$(Plant::$plant,)*];
    };
}

found! {
    acknowledging_before_the_sync_is_found: AckBeforeSync within 200 by [Fresh, Siblings];
    sending_a_dot_before_it_is_durable_is_found: DotBeforeDurable within 300 by [Fresh, Siblings, Equal, Quiet, Noted];
    counting_from_zero_after_a_restart_is_found: CounterRestarted within 50 by [Invariant, Noted, Fresh, Siblings, Equal];
    a_quorum_that_is_one_short_is_found: QuorumShort within 100 by [Fresh];
    a_repair_that_overwrites_is_found: RepairOverwrites within 50 by [Fresh, Siblings, Equal];
    an_acknowledgement_that_counts_twice_is_found: AckCountedTwice within 1_500 by [Fresh];
    a_doubled_forward_that_mints_twice_is_found: ForwardForgotten within 150 by [Fresh, Siblings];
    taking_over_too_much_of_a_clock_is_found: AbsorbsPartial within 1_000 by [Fresh, Siblings, Equal];
    a_clock_that_is_ahead_of_its_data_is_found: ClockBeforeData within 600 by [Fresh, Siblings, Equal, Quiet];
    a_read_that_is_ahead_of_the_sync_is_found: ReadAheadOfSync within 600 by [Fresh, Siblings, Quiet, Noted];
    a_join_that_keeps_what_was_replaced_is_found: JoinKeepsDominated within 20 by [Fresh, Siblings, Equal];
    a_join_that_drops_what_is_concurrent_is_found: JoinDropsConcurrent within 20 by [Fresh, Siblings, Equal];
    a_repair_that_passes_over_the_empty_is_found: RepairSkipsEmpty within 1_500 by [Equal];
    an_acknowledgement_that_shows_the_unseen_is_found: AckShowsUnseen within 20 by [Fresh, Siblings];
}

fn find(plant: Plant, seeds: u64, checks: &[Check]) {
    say(&format!("{}: seeds 0 to {} at most", plant.name(), seeds - 1));
    let options = Options { plants: vec![plant], ..Options::default() };
    let mut found = None;
    campaign::run(0..seeds, &options, 2, |outcome| {
        let (seed, failure) = (outcome.seed, outcome.failures.into_iter().next());
        found = failure.map(|failure| (seed, failure));
        found.is_none()
    });
    let (seed, failure) =
        found.unwrap_or_else(|| panic!("{} was not found within {seeds} seeds", plant.name()));
    say(&format!("{}: found by seed {seed}: {failure}", plant.name()));
    assert!(
        checks.contains(&failure.check),
        "seed {seed} with {} broke {failure}; that is not what this bug does",
        plant.name()
    );
}

#[test]
fn every_planted_bug_has_a_test() {
    let missing: Vec<&str> =
        Plant::ALL.iter().filter(|plant| !TESTED.contains(plant)).map(|plant| plant.name()).collect();
    assert!(missing.is_empty(), "no test looks for {}", missing.join(", "));
}
