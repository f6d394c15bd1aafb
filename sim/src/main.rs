//! The simulator's command line: run many seeds, replay one, shrink it, look for planted bugs.
//!
//! `cargo sim run --seeds 0..1000` runs them on all cores and ends with a line that sums up; every seed that fails
//! is told with the rule that it broke and the command that replays it. Nothing here changes what a seed does.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cli::{cost, replay, run, score, shrink};
use godown_core::Plant;
use godown_sim::scenario::Kind;
use godown_sim::scenario::fault::Harm;

// Simulated nodes live from small allocations; this one makes a campaign a fifth shorter.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seeded fault simulations of Godown.
#[derive(Parser)]
#[command(name = "cargo sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds.
    Run(run::Args),
    /// Run one seed or scenario, and tell what it is and what came of it.
    Replay(replay::Args),
    /// Cut a failing seed or scenario down to what it fails by.
    Shrink(shrink::Args),
    /// Look for every planted bug, and tell how long each took.
    Score(score::Args),
    /// Measure what convergence costs, in bytes, in moved replicas and in time.
    Cost(cost::Args),
    /// Add up what several run folders hold, for campaigns that ran on several machines.
    Sum {
        /// The run folders.
        #[arg(required = true)]
        folders: Vec<std::path::PathBuf>,
    },
    /// List the planted bugs.
    Plants,
    /// List the kinds of faults.
    Faults,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Shrink(args) => shrink::shrink(&args),
        Command::Score(args) => score::score(&args),
        Command::Cost(args) => cost::cost(&args),
        Command::Sum { folders } => run::sum(&folders),
        Command::Plants => {
            for plant in Plant::ALL {
                cli::say(&format!("{:26} {} ({})", plant.name(), plant.says(), plant.from()));
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Faults => {
            for kind in Kind::ALL {
                let harm = match kind.harm() {
                    Harm::None => "",
                    Harm::Disk | Harm::Past => " Fewer nodes than the weakest W may meet it.",
                    Harm::Beyond => " Only reckless runs have it.",
                };
                cli::say(&format!("{:13} {}{harm}", kind.name(), kind.says()));
            }
            let says = "No fault, but drawn like one: some of what clients write expires.";
            cli::say(&format!("{:13} {says}", cli::EXPIRY));
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}
