//! `replay`: one run, told in as much detail as wanted.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use godown_sim::campaign;
use godown_sim::page;
use godown_sim::scenario::text::{self, Kept};
use godown_sim::scenario::{SECOND, Scenario};
use godown_sim::world::{Outcome, World};

use super::{Drawn, How, fork, options, source};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The seed, or the file of a scenario.
    what: String,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    drawn: Drawn,
    /// Print every event as a line.
    #[arg(long)]
    trace: bool,
    /// Write what the clients saw to this file, for `godown-check`.
    #[arg(long)]
    history: Option<String>,
    /// Write the run as a space-time page to this file.
    #[arg(long)]
    html: Option<String>,
    /// Write the scenario as text to this file.
    #[arg(long)]
    save: Option<String>,
    /// Go on from this moment (1.2s since the run began, or all for 17 moments) many times with other luck, and tell
    /// how often the failure still happens; may be said more than once.
    #[arg(long, value_parser = fork::at)]
    fork: Vec<fork::At>,
    /// How many forks at each moment.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    forks: u64,
}

pub(crate) fn replay(args: &Args) -> Result<ExitCode, String> {
    if !args.fork.is_empty() && args.how.world != World::Stepped {
        return Err("only the stepped world can be forked: leave --world out".to_owned());
    }
    let source = source(&args.what, &args.drawn)?;
    let scenario = &source.scenario;
    let is_traced = args.trace || args.history.is_some() || args.html.is_some();
    let options = options(&args.how, &source, is_traced);
    let outcome = campaign::run_one(scenario, &options);
    let last_events =
        outcome.failures.first().map(|failure| campaign::last_events(scenario, &options, failure));
    let mut out = BufWriter::new(std::io::stdout().lock());
    _ = tell(&mut out, scenario, &outcome, args.trace, &last_events.unwrap_or_default())
        .and_then(|()| out.flush());
    drop(out);
    if !args.fork.is_empty() {
        fork::fork(scenario, &options, &outcome, &args.fork, args.forks);
    }
    if let Some(traced) = &outcome.traced {
        if let Some(path) = &args.history {
            write(path, |file| traced.history.to_lines(file))?;
        }
        if let Some(path) = &args.html {
            let mut story = traced.story.clone();
            story.command = args.how.command("replay", &args.what, &args.drawn);
            story.scenario = text::write(&kept(scenario, &source.kept));
            if source.kept.is_some() {
                story.title.clone_from(&args.what);
            }
            write(path, |mut file| file.write_all(page::html(&story).as_bytes()))?;
        }
    }
    if let Some(path) = &args.save {
        let text = text::write(&kept(scenario, &source.kept));
        write(path, |mut file| file.write_all(text.as_bytes()))?;
    }
    Ok(ExitCode::from(u8::from(!outcome.failures.is_empty())))
}

/// What is known of a scenario that may have come from a file.
fn kept(scenario: &Scenario, kept: &Option<Kept>) -> Kept {
    kept.clone().unwrap_or_else(|| Kept {
        about: String::new(),
        plants: Vec::new(),
        breaks: None,
        scenario: scenario.clone(),
    })
}

/// Writes a file, and says what went wrong if anything did.
fn write(path: &str, content: impl FnOnce(BufWriter<File>) -> std::io::Result<()>) -> Result<(), String> {
    let written = File::create(path).and_then(|file| content(BufWriter::new(file)));
    written.map_err(|error| format!("{path} could not be written: {error}"))
}

fn tell(
    out: &mut impl Write,
    scenario: &Scenario,
    outcome: &Outcome,
    traced: bool,
    last_events: &[String],
) -> std::io::Result<()> {
    write!(out, "{scenario}")?;
    for line in outcome.traced.iter().flat_map(|traced| &traced.lines).filter(|_| traced) {
        writeln!(out, "{line}")?;
    }
    let seconds = outcome.simulated_ns as f64 / SECOND as f64;
    let (digest, events) = (outcome.digest, outcome.events);
    writeln!(out, "digest {digest:016x} after {events} events in {seconds:.3} simulated seconds")?;
    for failure in &outcome.failures {
        writeln!(out, "broke {failure}")?;
    }
    last_events.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    if let Some(excess) = scenario.excess() {
        writeln!(out, "this run is reckless and may lose: {excess}")?;
    }
    if outcome.failures.is_empty() {
        writeln!(out, "every check holds")?;
    }
    Ok(())
}
