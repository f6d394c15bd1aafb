//! Ranges of seeds that hold every check, in both worlds; and what no quorum survives, which must not.
//!
//! Each test says which seeds it runs before and after; a failure says how to replay it. The ranges are small enough
//! for every change; campaigns over many more are run with `cargo sim`.

mod say;

use std::ops::Range;

use godown_sim::campaign;
use godown_sim::check::Check;
use godown_sim::host::Checks;
use godown_sim::scenario::{Weather, draw};
use godown_sim::world::{Options, World};
use say::say;

/// Runs `seeds` and tells every failure at once.
fn hold(world: World, checks: Checks, seeds: Range<u64>) {
    let (first, last) = (seeds.start, seeds.end - 1);
    say(&format!("{world}: seeds {first} to {last}"));
    let options = Options { world, checks, ..Options::default() };
    let mut failed = Vec::new();
    let (mut count, mut calls) = (0, 0);
    campaign::run(
        seeds,
        &Weather::default(),
        &options,
        2,
        || true,
        |outcome| {
            count += 1;
            calls += outcome.calls;
            for failure in &outcome.failures {
                let replay = format!("cargo sim replay {} --world {world}", outcome.seed);
                failed.push(format!("seed {} broke {failure}\n  {replay}", outcome.seed));
            }
            true
        },
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(count, last - first + 1, "every seed runs");
    assert!(calls > 10 * count, "{calls} calls in {count} runs: the clients hardly did anything");
    say(&format!("{world}: seeds {first} to {last} hold every check"));
}

#[test]
fn three_hundred_seeds_hold_every_check_in_the_stepped_world() {
    hold(World::Stepped, Checks::Every, 0..300);
}

#[cfg(madsim)]
#[test]
fn a_hundred_seeds_hold_every_check_on_madsims_network() {
    hold(World::Madnet, Checks::Every, 0..100);
}

#[test]
fn a_hundred_nodes_hold_every_check() {
    let weather = Weather { nodes: 100..=100, ..Weather::default() };
    let mut inputs = 0;
    campaign::run(
        0..4,
        &weather,
        &Options::default(),
        2,
        || true,
        |outcome| {
            assert_eq!(outcome.broke(), None, "seed {} with 100 nodes: {:?}", outcome.seed, outcome.failures);
            inputs += outcome.inputs;
            true
        },
    );
    assert!(inputs > 10_000, "{inputs} inputs");
}

/// The planner draws nothing that N, R and W cannot survive. Where it is told to, losses must be seen; and only there.
#[test]
fn what_cannot_be_survived_is_seen_to_lose() {
    let weather = Weather { is_reckless: true, ..Weather::default() };
    let (mut beyond, mut lost, mut seen) = (0, 0, Vec::new());
    campaign::run(
        0..300,
        &weather,
        &Options::default(),
        2,
        || true,
        |outcome| {
            let excess = draw::draw(outcome.seed, &weather).excess();
            match (excess.is_some(), outcome.broke()) {
                (false, broke) => {
                    assert_eq!(broke, None, "seed {}, reckless: {:?}", outcome.seed, outcome.failures)
                }
                (true, None) => beyond += 1,
                (true, Some(check)) => {
                    beyond += 1;
                    lost += 1;
                    seen.push(check);
                }
            }
            true
        },
    );
    say(&format!("{lost} of {beyond} runs beyond what can be survived were seen to lose"));
    // Most such runs lose nothing: what only the lost disk had is little where replicas are soon equal again.
    assert!(lost * 15 > beyond, "{lost} of {beyond}");
    assert!(seen.contains(&Check::Fresh) && seen.contains(&Check::Siblings), "{seen:?}");
}

#[cfg(not(madsim))]
#[test]
fn the_suites_on_madsim_were_left_out_of_this_build() {
    let bar = "!".repeat(100);
    let warning = format!(
        "\n{bar}\nmadsim is not in this build: a RUSTFLAGS variable has replaced `--cfg madsim`. The suite on madsim's\n\
         network and the comparison with madsim's clock were LEFT OUT; the stepped world ran on its own clock.\n{bar}\n"
    );
    say(&warning);
    assert!(!cfg!(madsim));
}
