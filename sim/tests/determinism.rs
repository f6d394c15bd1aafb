//! One seed is one run: on either clock, twice in a process, in two processes, checked often or seldom.
//!
//! A hidden clock, the operating system's randomness or a random hash order, in the core or here, would make two
//! digests differ. What the digest takes in is every event with its time and bytes, so nothing that differs hides.

mod say;

use std::ops::Range;
use std::process::Command;

use godown_core::Plant;
use godown_sim::campaign;
use godown_sim::host::Checks;
use godown_sim::scenario::Scenario;
#[cfg(madsim)]
use godown_sim::world::Clock;
use godown_sim::world::{Options, Outcome, World};
use say::say;

fn run(seed: u64, options: &Options) -> Outcome {
    campaign::run_one(&Scenario::draw(seed), options)
}

/// Runs every seed in both ways and compares.
fn agree(seeds: Range<u64>, one: &Options, other: &Options) {
    say(&format!("digests of seeds {} to {}", seeds.start, seeds.end - 1));
    for seed in seeds.clone() {
        let (one, other) = (run(seed, one), run(seed, other));
        let told = |outcome: &Outcome| (outcome.digest, outcome.events, outcome.inputs, outcome.simulated_ns);
        assert_eq!(told(&one), told(&other), "seed {seed}");
        assert!(one.events > 0, "seed {seed} ran");
    }
    say(&format!("digests of seeds {} to {} agree", seeds.start, seeds.end - 1));
}

fn of(world: World) -> Options {
    Options { world, ..Options::default() }
}

#[test]
fn a_seed_run_twice_has_the_same_digest_in_the_stepped_world() {
    agree(0..30, &of(World::Stepped), &of(World::Stepped));
}

#[cfg(madsim)]
#[test]
fn a_seed_run_twice_has_the_same_digest_on_madsims_network() {
    agree(0..30, &of(World::Madnet), &of(World::Madnet));
}

#[cfg(madsim)]
#[test]
fn the_digest_is_the_same_with_madsims_clock_and_without() {
    let own = Options { clock: Clock::Own, ..Options::default() };
    agree(100..160, &of(World::Stepped), &own);
}

#[test]
fn checking_seldom_and_tracing_do_not_change_a_run() {
    let other = Options { checks: Checks::Sampled, traced: true, ..Options::default() };
    agree(0..20, &of(World::Stepped), &other);
}

#[test]
fn seeds_differ_from_each_other_and_a_planted_bug_from_none() {
    let mut digests: Vec<u64> = (0..20).map(|seed| run(seed, &of(World::Stepped)).digest).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 20);
    let planted = Options { plants: vec![Plant::QuorumShort], ..Options::default() };
    assert_ne!(run(0, &planted).digest, run(0, &of(World::Stepped)).digest);
}

/// The line of `replay` that tells the digest.
fn digest_of_process(seed: u64, world: World) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_godown-sim"))
        .args(["replay", &seed.to_string(), "--world", world.name()])
        .output()
        .expect("the simulator starts");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let line = text.lines().find_map(|line| line.strip_prefix("digest "));
    line.unwrap_or_else(|| panic!("no digest in {text}")).to_owned()
}

#[test]
fn a_seed_has_the_same_digest_in_two_processes() {
    let worlds = if cfg!(madsim) { &World::ALL[..] } else { &[World::Stepped] };
    for &world in worlds {
        for seed in [3, 14, 15] {
            let digest = digest_of_process(seed, world);
            assert_eq!(digest, digest_of_process(seed, world), "{world} seed {seed}");
            let here = format!("{:016x}", run(seed, &of(world)).digest);
            assert!(digest.starts_with(&here), "{world} seed {seed}: {digest}, but {here} here");
        }
    }
}
