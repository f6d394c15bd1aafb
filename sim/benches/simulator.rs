//! How fast the simulator is: `cargo bench -p godown-sim --bench simulator`. Items are core inputs.

use divan::Bencher;
use divan::counter::ItemsCount;
use godown_sim::campaign;
use godown_sim::host::Checks;
use godown_sim::scenario::{Scenario, Weather, draw};
use godown_sim::world::Options;
#[cfg(madsim)]
use godown_sim::world::World;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// The scenarios of some seeds with five nodes.
fn scenarios() -> Vec<Scenario> {
    let weather = Weather { nodes: 5..=5, ..Weather::default() };
    (0..40).map(|seed| draw::draw(seed, &weather)).collect()
}

fn run_all(scenarios: &[Scenario], options: &Options) -> u64 {
    let inputs = |scenario| {
        let outcome = campaign::run_one(scenario, options);
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        outcome.inputs
    };
    scenarios.iter().map(inputs).sum()
}

fn campaign_of(bencher: Bencher<'_, '_>, options: &Options) {
    let scenarios = scenarios();
    let inputs = run_all(&scenarios, options);
    bencher.counter(ItemsCount::new(inputs)).bench(|| run_all(&scenarios, options));
}

/// The stepped world, with the core's own checks after one input in 64.
#[divan::bench(sample_count = 10)]
fn stepped_checked_sampled(bencher: Bencher<'_, '_>) {
    campaign_of(bencher, &Options { checks: Checks::Sampled, ..Options::default() });
}

/// The stepped world, with the core's own checks after every input.
#[divan::bench(sample_count = 10)]
fn stepped_checked_always(bencher: Bencher<'_, '_>) {
    campaign_of(bencher, &Options::default());
}

/// The same scenarios on madsim's network.
#[cfg(madsim)]
#[divan::bench(sample_count = 10)]
fn madnet(bencher: Bencher<'_, '_>) {
    campaign_of(bencher, &Options { world: World::Madnet, ..Options::default() });
}

/// Drawing a scenario from its seed.
#[divan::bench]
fn drawing(bencher: Bencher<'_, '_>) {
    let mut seed = 0;
    bencher.bench_local(|| {
        seed += 1;
        Scenario::draw(seed)
    });
}
