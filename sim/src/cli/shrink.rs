//! `shrink`: the smallest scenario that still fails in the same way, as text.

use std::fs;
use std::process::ExitCode;

use godown_sim::campaign;
use godown_sim::scenario::text::{self, Kept};
use godown_sim::shrink;

use super::{Drawn, How, bar, options, say, source};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The seed, or the file of a scenario.
    what: String,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    drawn: Drawn,
    /// Give up after so many runs.
    #[arg(long, default_value_t = 10_000)]
    runs: u64,
    /// Write the scenario to this file; without it, it is printed.
    #[arg(long)]
    save: Option<String>,
    /// What the file says it is about.
    #[arg(long, default_value = "")]
    about: String,
}

pub(crate) fn shrink(args: &Args) -> Result<ExitCode, String> {
    let source = source(&args.what, &args.drawn)?;
    let options = options(&args.how, &source, false);
    let outcome = campaign::run_one(&source.scenario, &options);
    let Some(failure) = outcome.failures.first() else {
        return Err(format!("{} breaks no check: there is nothing to shrink", args.what));
    };
    say(&format!("broke {failure}"));
    let bar = bar(Some(args.runs), "{wide_bar} {pos}/{len} runs, {msg}");
    let small = shrink::shrink(&source.scenario, &options, failure.check, args.runs, |progress| {
        let shrink::Progress { runs, faults, calls, nodes } = progress;
        bar.set_position(runs);
        bar.set_message(format!("{faults} faults, {calls} calls, {nodes} nodes"));
        true
    });
    bar.finish_and_clear();
    let calls: usize = small.sessions.iter().map(|session| session.calls.len()).sum();
    say(&format!("shrunk to {} faults, {calls} calls, {} nodes", small.faults.len(), small.nodes()));
    let last = campaign::run_one(&small, &options);
    if let Some(failure) = last.failures.first() {
        say(&format!("broke {failure}"));
    }
    let about = match (&source.kept, args.about.as_str()) {
        (Some(kept), "") => kept.about.clone(),
        (_, about) => about.to_owned(),
    };
    let kept = Kept { about, plants: options.plants, breaks: Some(failure.check), scenario: small };
    let text = text::write(&kept);
    match &args.save {
        Some(path) => {
            fs::write(path, text).map_err(|error| format!("{path} could not be written: {error}"))?;
            say(&format!("cargo sim replay {path}"));
        }
        None => say(&text),
    }
    Ok(ExitCode::SUCCESS)
}
