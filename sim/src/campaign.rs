//! Many seeds: each runs in a thread of its own, and results come out in the order of the seeds.
//!
//! This is the one place with threads and a clock, all of it outside of every world: what a seed does depends on
//! nothing but the seed. Each run gets a fresh thread because madsim makes the standard library's hash order
//! deterministic only for the first runtime of a thread.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use crate::scenario::Scenario;
use crate::world::{self, Options, Outcome, World};

/// Runs one scenario in a fresh thread.
///
/// # Panics
/// When the simulator itself panics: the run says nothing then.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the run inside the thread sees no other thread")]
pub fn run_one(scenario: &Scenario, options: &Options) -> Outcome {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| match options.world {
            World::Stepped => world::stepped::run(scenario, options),
            #[cfg(madsim)]
            World::Madnet => world::madnet::run(scenario, options),
            #[cfg(not(madsim))]
            World::Madnet => panic!("this build has no madsim: build without a RUSTFLAGS variable"),
        });
        run.join().unwrap_or_else(|_| {
            panic!("the simulator itself panicked on seed {}; that is its own mistake", scenario.seed)
        })
    })
}

/// Runs the scenarios of `seeds` on so many threads at once. `take` gets the outcomes in the order of the seeds and says whether
/// to go on.
#[expect(clippy::disallowed_methods, reason = "the runs do not see each other")]
pub fn run(seeds: Range<u64>, options: &Options, jobs: usize, mut take: impl FnMut(Outcome) -> bool) {
    let next = AtomicU64::new(seeds.start);
    let is_over = AtomicBool::new(false);
    let (sender, outcomes) = mpsc::sync_channel(4 * jobs.max(1));
    let sender = Mutex::new(sender);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                let sender = sender.lock().expect("nobody panics while holding it").clone();
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_sent = seed < seeds.end && {
                        let outcome = run_one(&Scenario::draw(seed), options);
                        sender.send(outcome).is_ok()
                    };
                    if !is_sent {
                        break;
                    }
                }
            });
        }
        let mut early = BTreeMap::new();
        let mut due = seeds.start;
        while due < seeds.end {
            let outcome: Outcome = outcomes.recv().expect("a worker panicked");
            early.insert(outcome.seed, outcome);
            while let Some(outcome) = early.remove(&due) {
                due += 1;
                if !take(outcome) {
                    is_over.store(true, Ordering::Relaxed);
                    due = seeds.end;
                }
            }
        }
        // A worker that waits to send must not wait for ever.
        drop(outcomes);
    });
}
