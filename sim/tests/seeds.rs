//! Ranges of seeds that hold every check, in both worlds, and seeds that once did not.
//!
//! Each test says which seeds it runs before and after; a failure says how to replay it. The ranges are small enough
//! for every change; campaigns over many more are run with `cargo sim`.

mod say;

use std::ops::Range;

use godown_sim::campaign;
use godown_sim::host::Checks;
use godown_sim::world::{Options, World};
use say::say;

/// Runs `seeds` and tells every failure at once.
fn hold(world: World, checks: Checks, seeds: Range<u64>) {
    let (first, last) = (seeds.start, seeds.end - 1);
    say(&format!("{world}: seeds {first} to {last}"));
    let options = Options { world, checks, ..Options::default() };
    let mut failed = Vec::new();
    let (mut count, mut calls) = (0, 0);
    campaign::run(seeds, &options, 2, |outcome| {
        count += 1;
        calls += outcome.calls;
        for failure in &outcome.failures {
            let replay = format!("cargo sim replay {} --world {world}", outcome.seed);
            failed.push(format!("seed {} broke {failure}\n  {replay}", outcome.seed));
        }
        true
    });
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

/// Seeds that broke a check until the core was mended, by what was wrong. The core has changed since, and with it what
/// these seeds meet; they stay because they cost nothing and each is a kind of weather that was bad once.
const ONCE_FAILED: &[(&str, u64)] = &[
    ("a doubled forward met the next life of its node, and was minted twice", 26_110),
    ("the same, seen by a read that showed what had been replaced", 54_092),
];

#[test]
fn seeds_that_once_failed_hold_every_check() {
    for (what, seed) in ONCE_FAILED {
        say(&format!("{what}:"));
        for world in World::ALL.into_iter().filter(|world| cfg!(madsim) || *world == World::Stepped) {
            hold(world, Checks::Every, *seed..*seed + 1);
        }
    }
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
