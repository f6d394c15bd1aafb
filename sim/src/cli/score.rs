//! `score`: the simulator's own mark.

use std::process::ExitCode;

use godown_core::Plant;
use godown_sim::scenario::{Scenario, text};
use godown_sim::score::{self, BUDGETS, Found};
use godown_sim::shrink;
use godown_sim::world::Options;

use super::{bar, cores, processor_seconds, processor_time, say};

/// Runs that shrinking may take for each bug.
const SHRINK_RUNS: u64 = 10_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Look only for these; may be said more than once.
    #[arg(long = "plant", value_parser = text::plant)]
    plants: Vec<Plant>,
    /// From how many starts each is looked for; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// Seeds that each may take in the first round, and twenty times as many in the others; without it each has its own.
    #[arg(long)]
    budget: Option<u64>,
    /// Shrink what found each first, and tell how many faults and calls are left.
    #[arg(long)]
    shrink: bool,
    /// Runs at once; as many as there are cores unless said otherwise.
    #[arg(long)]
    jobs: Option<usize>,
}

pub(crate) fn score(args: &Args) -> Result<ExitCode, String> {
    let jobs = args.jobs.unwrap_or_else(cores);
    let wanted = |plant: &Plant| args.plants.is_empty() || args.plants.contains(plant);
    let plants: Vec<(Plant, u64, u64)> =
        BUDGETS.iter().copied().filter(|(plant, ..)| wanted(plant)).collect();
    let bar = bar(Some(plants.len() as u64), "{wide_bar} {pos}/{len} {msg}");
    let (title, line) = if args.shrink { (" shrunk to |", "---|") } else { ("", "") };
    say(&format!("| planted bug | seeds | CPU-seconds | told first by |{title}"));
    say(&format!("|---|---|---|---|{line}"));
    let mut all = Vec::new();
    let (mut faults, mut calls) = (Vec::new(), Vec::new());
    let mut late = Vec::new();
    for (plant, budget, _) in plants {
        bar.set_message(plant.name());
        let before = processor_time();
        let found = score::look_for(plant, args.budget.unwrap_or(budget), args.rounds, jobs);
        let seconds = processor_seconds(before).map(|seconds| seconds / args.rounds as f64);
        let mut told = row(&found, seconds);
        if args.shrink {
            let sizes = shrunk(&found);
            faults.extend(sizes.map(|(faults, _)| faults as u64));
            calls.extend(sizes.map(|(_, calls)| calls as u64));
            told += &sizes
                .map_or(" |".to_owned(), |(faults, calls)| format!(" {faults} faults, {calls} calls |"));
        }
        bar.suspend(|| say(&told));
        bar.inc(1);
        if !found.is_found() {
            late.push(plant.name());
        }
        all.push(found);
    }
    bar.finish_and_clear();
    let found = all.iter().filter(|found| found.is_found()).count();
    let median = score::median(all.iter().map(Found::median).collect());
    say(&format!(
        "\n{} planted bugs, {found} found in every one of {} rounds; half of them within {median} seeds",
        all.len(),
        args.rounds
    ));
    if args.shrink {
        let (faults, calls) = (score::median(faults), score::median(calls));
        say(&format!(
            "half of the shrunk scenarios have at most {faults} faults, and half at most {calls} calls"
        ));
    }
    if !late.is_empty() {
        say(&format!("not found in every range of seeds: {}", late.join(", ")));
    }
    Ok(ExitCode::from(u8::from(!late.is_empty())))
}

/// How many faults and calls are left of what found the bug first.
fn shrunk(found: &Found) -> Option<(usize, usize)> {
    let (seeds, check) = found.rounds.first().copied().flatten()?;
    let options = Options { plants: vec![found.plant], ..Options::default() };
    let small = shrink::shrink(&Scenario::draw(seeds - 1), &options, check, SHRINK_RUNS, |_| true);
    Some((small.faults.len(), small.sessions.iter().map(|session| session.calls.len()).sum()))
}

fn row(found: &Found, seconds: Option<f64>) -> String {
    let checks: Vec<&str> = found.checks().iter().map(|check| check.name()).collect();
    let misses = found.rounds.iter().filter(|round| round.is_none()).count();
    let missed = if misses > 0 {
        format!(" (nothing found in {misses} of {} ranges)", found.rounds.len())
    } else {
        String::new()
    };
    let seconds = seconds.map_or_else(|| "?".to_owned(), |seconds| format!("{seconds:.2}"));
    format!("| {} | {}{missed} | {seconds} | {} |", found.plant.name(), found.median(), checks.join(", "))
}
