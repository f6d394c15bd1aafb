//! The simulator's command line: run many seeds, replay one, list the planted bugs.
//!
//! `cargo sim run --seeds 0..1000` runs them on all cores and ends with a line that sums up; every seed that fails
//! is told with the rule that it broke and the command that replays it. Nothing here changes what a seed does.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use godown_core::Plant;
use godown_sim::campaign;
use godown_sim::host::Checks;
use godown_sim::scenario::{SECOND, Scenario};
use godown_sim::world::{Clock, Options, Outcome, World};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
    Run {
        /// The seeds, the last one left out: 0..1000.
        #[arg(long, value_parser = seeds)]
        seeds: Range<u64>,
        #[command(flatten)]
        how: How,
        /// Runs at once; as many as there are cores unless said otherwise.
        #[arg(long)]
        jobs: Option<usize>,
        /// Stop after so many failing seeds.
        #[arg(long)]
        failures_max: Option<u64>,
    },
    /// Run one seed, and tell what it is and what came of it.
    Replay {
        /// The seed.
        seed: u64,
        #[command(flatten)]
        how: How,
        /// Print every event as a line.
        #[arg(long)]
        trace: bool,
        /// Write what the clients saw to this file, for `godown-check`.
        #[arg(long)]
        history: Option<String>,
    },
    /// List the planted bugs.
    Plants,
}

/// How seeds are run.
#[derive(Args)]
struct How {
    /// The world: stepped (an event heap, for volume) or madnet (madsim's tasks and network).
    #[arg(long, default_value = "stepped", value_parser = world)]
    world: World,
    /// A planted bug to switch on; may be said more than once.
    #[arg(long = "plant", value_parser = plant)]
    plants: Vec<Plant>,
    /// When nodes check themselves: after every input, or sampled.
    #[arg(long, default_value = "every", value_parser = checks)]
    check: Checks,
    /// Drive the stepped world by its own clock and not by madsim's.
    #[arg(long)]
    own_clock: bool,
}

impl How {
    fn options(&self, traced: bool) -> Options {
        Options {
            world: self.world,
            clock: if self.own_clock { Clock::Own } else { Clock::Madsim },
            plants: self.plants.clone(),
            checks: self.check,
            traced,
        }
    }

    /// The command that runs `seed` again just so.
    fn replay(&self, seed: u64) -> String {
        let plants: String = self.plants.iter().map(|plant| format!(" --plant {}", plant.name())).collect();
        format!("cargo sim replay {seed} --world {}{plants}", self.world)
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong =
        || format!("\"{text}\" is no range of seeds: say first..end, such as 0..1000, the end left out");
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.replace('_', "").parse::<u64>().map_err(|_| wrong());
    let seeds = number(start)?..number(end)?;
    if seeds.is_empty() {
        return Err(format!("there is no seed in {text}: the end is left out, and must be above the first"));
    }
    Ok(seeds)
}

fn world(text: &str) -> Result<World, String> {
    let found = World::ALL.into_iter().find(|world| world.name() == text);
    let world = found.ok_or_else(|| format!("there is no world \"{text}\": there are stepped and madnet"))?;
    if world == World::Madnet && !cfg!(madsim) {
        return Err(
            "this build has no madsim, and so no madnet: a RUSTFLAGS variable has replaced the flag \
                    that turns it on; unset it and build again"
                .to_owned(),
        );
    }
    Ok(world)
}

fn plant(text: &str) -> Result<Plant, String> {
    let found = Plant::ALL.iter().find(|plant| plant.name() == text);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = Plant::ALL.iter().map(|plant| plant.name()).collect();
        format!("there is no planted bug \"{text}\": there are {}", names.join(", "))
    })
}

fn checks(text: &str) -> Result<Checks, String> {
    match text {
        "every" => Ok(Checks::Every),
        "sampled" => Ok(Checks::Sampled),
        _ => Err(format!("\"{text}\" says not when to check: say every or sampled")),
    }
}

/// Prints a line. A reader who has seen enough closes the pipe; that is no failure of what was run.
fn say(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { seeds, how, jobs, failures_max } => {
            run(seeds, &how, jobs, failures_max.unwrap_or(u64::MAX))
        }
        Command::Replay { seed, how, trace, history } => replay(seed, &how, trace, history.as_deref()),
        Command::Plants => {
            for plant in Plant::ALL {
                say(&format!("{:24} {}", plant.name(), plant.says()));
            }
            ExitCode::SUCCESS
        }
    }
}

/// Sums over the seeds of a campaign.
#[derive(Default)]
struct Sum {
    seeds: u64,
    failures: u64,
    inputs: u64,
    events: u64,
    calls: u64,
    simulated_ns: u64,
}

fn run(seeds: Range<u64>, how: &How, jobs: Option<usize>, failures_max: u64) -> ExitCode {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.unwrap_or_else(cores);
    let bar = progress_bar(seeds.end - seeds.start);
    let before = processor_time();
    let mut sum = Sum::default();
    campaign::run(seeds, &how.options(false), jobs, |outcome| {
        sum.seeds += 1;
        sum.inputs += outcome.inputs;
        sum.events += outcome.events;
        sum.calls += outcome.calls;
        sum.simulated_ns += outcome.simulated_ns;
        bar.inc(1);
        if let Some(failure) = outcome.failures.first() {
            sum.failures += 1;
            bar.suspend(|| {
                say(&format!("seed {} broke {failure}\n  {}", outcome.seed, how.replay(outcome.seed)));
            });
        }
        sum.failures < failures_max
    });
    bar.finish_and_clear();
    let cpu = processor_time().zip(before).map(|(after, before)| (after - before).as_secs_f64());
    say(&sum.tell(cpu));
    ExitCode::from(u8::from(sum.failures > 0))
}

impl Sum {
    fn tell(&self, cpu_seconds: Option<f64>) -> String {
        let simulated = self.simulated_ns as f64 / SECOND as f64;
        let Self { seeds, failures, inputs, events, calls, .. } = self;
        let pace = cpu_seconds.map_or(String::new(), |cpu| {
            format!(
                "; in {cpu:.1} CPU-seconds: per CPU-second {:.0} inputs, {:.0} events, {:.0} simulated seconds, {:.1} seeds",
                *inputs as f64 / cpu,
                *events as f64 / cpu,
                simulated / cpu,
                *seeds as f64 / cpu,
            )
        });
        format!(
            "{seeds} seeds, {failures} failed; {calls} calls, {inputs} core inputs, {events} events, {simulated:.0} simulated seconds{pace}"
        )
    }
}

fn progress_bar(seeds: u64) -> ProgressBar {
    let bar = ProgressBar::new(seeds);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {per_sec}, {eta} to go");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The processor time that this process has taken, where the system tells it.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    ))
}

/// The processor time that this process has taken, where the system tells it.
#[cfg(not(unix))]
fn processor_time() -> Option<Duration> {
    None
}

fn replay(seed: u64, how: &How, traced: bool, history: Option<&str>) -> ExitCode {
    let scenario = Scenario::draw(seed);
    let outcome = campaign::run_one(&scenario, &how.options(traced || history.is_some()));
    let mut out = BufWriter::new(std::io::stdout().lock());
    _ = tell(&mut out, &scenario, &outcome, traced).and_then(|()| out.flush());
    if let Some(path) = history
        && let Err(error) = write_history(&outcome, path)
    {
        eprintln!("the history could not be written to {path}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::from(u8::from(!outcome.failures.is_empty()))
}

fn tell(out: &mut impl Write, scenario: &Scenario, outcome: &Outcome, traced: bool) -> std::io::Result<()> {
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
    if outcome.failures.is_empty() {
        writeln!(out, "every check holds")?;
    }
    Ok(())
}

fn write_history(outcome: &Outcome, path: &str) -> std::io::Result<()> {
    let file = BufWriter::new(File::create(path)?);
    outcome.traced.as_ref().map_or(Ok(()), |traced| traced.history.to_lines(file))
}
