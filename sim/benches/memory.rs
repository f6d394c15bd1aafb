//! How much memory a simulated node takes: `cargo bench -p godown-sim --bench memory`.
//!
//! The column "max alloc" is the most that one run held at a time. What 100 nodes take above 5, divided by 95, is what
//! a node takes beside its data: nobody calls them.

use divan::{AllocProfiler, Bencher};
use godown_sim::scenario::{Clocks, SECOND, Scenario};
use godown_sim::world::{Clock, Options, stepped};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Nodes that nobody calls, for ten simulated seconds; each shares 16 partitions or so with others.
#[divan::bench(args = [5, 50, 100], sample_count = 1, sample_size = 1)]
fn idle_nodes(bencher: Bencher<'_, '_>, nodes: usize) {
    let scenario = Scenario {
        zones: vec![0; nodes],
        clocks: vec![Clocks::default(); nodes],
        partitions: 4 * (nodes as u32).next_power_of_two(),
        length_ns: 10 * SECOND,
        ..Scenario::plain()
    };
    // In this very thread, since only its allocations are counted.
    let options = Options { clock: Clock::Own, ..Options::default() };
    bencher.bench_local(|| {
        let outcome = stepped::run(&scenario, &options);
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        outcome.inputs
    });
}
