//! Many seeds: each runs in a thread of its own, and results come out in the order of the seeds.
//!
//! This is the one place with threads, all of it outside of every world: what a seed does depends on
//! nothing but the seed.

use std::collections::BTreeMap;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use crate::check::{Check, Failure};
use crate::scenario::draw::{self, Weather};
use crate::scenario::{SECOND, Scenario};
use crate::world::{self, Options, Outcome, World};

/// Runs one scenario: in this thread in the stepped world, in a fresh one on madsim's network.
///
/// # Panics
/// When the simulator itself panics: the run says nothing then.
#[must_use]
pub fn run_one(scenario: &Scenario, options: &Options) -> Outcome {
    let run = match options.world {
        World::Stepped => catch_unwind(|| world::stepped::run(scenario, options)),
        #[cfg(madsim)]
        World::Madnet => in_thread(|| world::madnet::run(scenario, options)),
        #[cfg(not(madsim))]
        World::Madnet => panic!("this build has no madsim: build without a RUSTFLAGS variable"),
    };
    run.unwrap_or_else(|_| {
        panic!("the simulator itself panicked on seed {}; that is its own mistake", scenario.seed)
    })
}

/// madsim makes the standard library's hash order deterministic only for the first runtime of a thread, and its network
/// uses such tables. The stepped world has none.
#[cfg(madsim)]
#[expect(clippy::disallowed_methods, reason = "the run inside the thread sees no other thread")]
fn in_thread<T: Send>(run: impl FnOnce() -> T + Send) -> std::thread::Result<T> {
    std::thread::scope(|scope| scope.spawn(run).join())
}

/// Runs the scenarios of `seeds` on so many threads at once. `take` gets the outcomes in the order of the seeds and says
/// whether to go on. When `go_on` says no, no further seed is begun; those that were are finished and handed out.
///
/// # Panics
/// When the simulator itself panics.
#[expect(clippy::disallowed_methods, reason = "the runs do not see each other")]
pub fn run(
    seeds: impl Iterator<Item = u64> + Send,
    weather: &Weather,
    options: &Options,
    jobs: usize,
    go_on: impl Fn() -> bool + Sync,
    mut take: impl FnMut(Outcome) -> bool,
) {
    let seeds = Mutex::new((0_u64..).zip(seeds));
    let is_over = AtomicBool::new(false);
    let (sender, outcomes) = mpsc::sync_channel(4 * jobs.max(1));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1))
            .map(|_| {
                let (sender, seeds, is_over, go_on) = (sender.clone(), &seeds, &is_over, &go_on);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) && go_on() {
                        let next = seeds.lock().expect("nobody panics while holding it").next();
                        let Some((place, seed)) = next else { break };
                        let outcome = run_one(&draw::draw(seed, weather), options);
                        if sender.send((place, outcome)).is_err() {
                            break;
                        }
                    }
                })
            })
            .collect();
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = 0;
        'taking: for (place, outcome) in &outcomes {
            early.insert(place, outcome);
            while let Some(outcome) = early.remove(&due) {
                due += 1;
                if !take(outcome) {
                    is_over.store(true, Ordering::Relaxed);
                    break 'taking;
                }
            }
        }
        // A worker that waits to send must not wait for ever.
        drop(outcomes);
        for worker in workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
    });
}

/// How many events of a node that is stuck are told.
const LAST_EVENTS: usize = 10;

/// The last events of each node that a failure to come to rest rests on, from a second run with a trace. Empty for
/// other failures.
#[must_use]
pub fn last_events(scenario: &Scenario, options: &Options, failure: &Failure) -> Vec<String> {
    if !matches!(failure.check, Check::Quiet | Check::Equal | Check::Answered) {
        return Vec::new();
    }
    let outcome = run_one(scenario, &Options { traced: true, ..options.clone() });
    let Some(traced) = outcome.traced else { return Vec::new() };
    let mut told = Vec::new();
    for &node in &failure.nodes {
        let lines: Vec<String> =
            traced.lines.iter().filter(|line| line.node == Some(node)).map(ToString::to_string).collect();
        told.push(format!("the last events of n{}:", node + 1));
        told.extend(lines[lines.len().saturating_sub(LAST_EVENTS)..].iter().map(|line| format!("  {line}")));
    }
    told
}

/// What forks of a run at one moment came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forked {
    /// When the run was forked, in nanoseconds since it began.
    pub at_ns: u64,
    /// How many forks there were.
    pub forks: u64,
    /// How many of them broke the check.
    pub broke: u64,
    /// How many broke another one first.
    pub others: u64,
}

/// Forks a run at each of these moments, each time so often, and counts how often `check` is broken.
#[must_use]
pub fn fork(
    scenario: &Scenario,
    options: &Options,
    check: Check,
    moments: &[u64],
    forks: u64,
) -> Vec<Forked> {
    let one = |at_ns: &u64| {
        let (at_ns, failures) = world::stepped::fork(scenario, options, *at_ns, forks);
        let count = |is: &dyn Fn(Check) -> bool| {
            failures.iter().flatten().filter(|failure| is(failure.check)).count() as u64
        };
        Forked { at_ns, forks, broke: count(&|broke| broke == check), others: count(&|broke| broke != check) }
    };
    moments.iter().map(one).collect()
}

/// Moments spread over a run, to see when its failure became inevitable.
#[must_use]
pub fn moments_of(end_ns: u64) -> Vec<u64> {
    const COUNT: u64 = 16;
    let end_ns = end_ns.max(SECOND / 1_000);
    (0..=COUNT).map(|step| end_ns / COUNT * step).collect()
}
