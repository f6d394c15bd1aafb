//! `run`: campaigns over many seeds.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use godown_core::Moment as CoreMoment;
use godown_sim::campaign;
use godown_sim::moment::Moment;
use godown_sim::scenario::draw;
use godown_sim::scenario::{SECOND, Weather};
use godown_sim::world::{Outcome, World};

use super::deadline::Deadline;
use super::folder::{self, Asked, Folder, Line};
use super::{Drawn, How, bar, cores, processor_seconds, processor_time, say};

/// A campaign of so many seeds or more must reach every moment.
const MOMENTS_FROM: u64 = 20_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The seeds, the last one left out: 0..1000. With --minutes only the first one may be said: 5000..
    #[arg(long, value_parser = seeds)]
    seeds: Option<Seeds>,
    /// Begin no further seed after so many minutes.
    #[arg(long, value_parser = minutes)]
    minutes: Option<Duration>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    drawn: Drawn,
    /// Runs at once; as many as there are cores unless said otherwise.
    #[arg(long)]
    jobs: Option<usize>,
    /// Stop after so many failing seeds.
    #[arg(long)]
    failures_max: Option<u64>,
    /// Run only every n-th seed, beginning with the i-th (from 0): i/n. For campaigns on several machines.
    #[arg(long, value_parser = shard, default_value = "0/1")]
    shard: (u64, u64),
    /// Keep a line for each seed, and the first failures, in this folder.
    #[arg(long)]
    run_dir: Option<PathBuf>,
    /// Go on with the campaign in the run folder where it was interrupted.
    #[arg(long, requires = "run_dir")]
    resume: bool,
    /// List how often each moment was reached.
    #[arg(long)]
    moments: bool,
}

/// Seeds from one on, up to an end if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seeds {
    first: u64,
    end: Option<u64>,
}

fn seeds(text: &str) -> Result<Seeds, String> {
    let wrong =
        || format!("\"{text}\" is no range of seeds: say first..end, such as 0..1000, the end left out");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.replace('_', "").parse::<u64>().map_err(|_| wrong());
    let first = number(first)?;
    let end = if end.is_empty() { None } else { Some(number(end)?) };
    if end.is_some_and(|end| end <= first) {
        return Err(format!("there is no seed in {text}: the end is left out, and must be above the first"));
    }
    Ok(Seeds { first, end })
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("\"{text}\" is no number of minutes"))?;
    if minutes > 0.0 && minutes < 1e6 {
        Ok(Duration::from_secs_f64(minutes * 60.0))
    } else {
        Err(format!("{text} minutes: there must be more than 0, and fewer than a million"))
    }
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("\"{text}\" is no shard: say i/n, such as 0/4, 1/4, 2/4 and 3/4");
    let (shard, shards) = text.split_once('/').ok_or_else(wrong)?;
    let (shard, shards) = (shard.parse::<u64>().map_err(|_| wrong())?, shards.parse().map_err(|_| wrong())?);
    if shard < shards { Ok((shard, shards)) } else { Err(wrong()) }
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
    world: Vec<u64>,
    core: Vec<u64>,
}

/// The places of the world's moments that a run has met.
pub(crate) fn world_moments(outcome: &Outcome) -> impl Iterator<Item = u32> {
    let met = outcome.moments;
    (0_u32..).zip(Moment::ALL).filter(move |(_, moment)| met.has(**moment)).map(|(place, _)| place)
}

/// The places of the core's moments that a run has met.
pub(crate) fn core_moments(outcome: &Outcome) -> impl Iterator<Item = u32> {
    let met = outcome.core;
    (0_u32..).zip(CoreMoment::ALL).filter(move |(_, moment)| met.has(**moment)).map(|(place, _)| place)
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, String> {
    let seeds = args.seeds.unwrap_or(Seeds { first: 0, end: None });
    if seeds.end.is_none() && args.minutes.is_none() {
        return Err("say which seeds to run (--seeds 0..1000), or for how long (--minutes 5)".to_owned());
    }
    let weather = args.drawn.weather();
    let asked =
        Asked::new(args.how.command("replay", "SEED", &args.drawn), seeds.first, seeds.end, args.shard);
    let (mut folder, done) = match &args.run_dir {
        Some(path) => {
            let (folder, done) = Folder::open(path, &asked, args.resume)?;
            (Some(folder), done)
        }
        None => (None, Vec::new()),
    };
    let mut sum = Sum::default();
    done.iter().for_each(|line| sum.add(line));
    let is_done: BTreeSet<u64> = done.iter().map(|line| line.seed).collect();
    let (shard, shards) = args.shard;
    let all = Range { start: seeds.first, end: seeds.end.unwrap_or(u64::MAX) };
    let todo = all.filter(move |seed| seed % shards == shard && !is_done.contains(seed));
    let left = seeds.end.map(|end| (end - seeds.first).div_ceil(shards).saturating_sub(sum.seeds));
    let bar = bar(left, "{wide_bar} {pos}/{len} seeds, {per_sec}, {eta} to go");
    let is_interrupted = interruption()?;
    let deadline = Deadline::after(args.minutes);
    let go_on = || !is_interrupted.load(Ordering::Relaxed) && !deadline.is_over();
    let (before, mut broken) = (processor_time(), None);
    let resumed = sum.seeds;
    let options = args.how.options(false);
    let mut fresh = Sum::default();
    campaign::run(todo, &weather, &options, args.jobs.unwrap_or_else(cores), go_on, |outcome| {
        let line = Line::new(&outcome);
        sum.add(&line);
        fresh.add(&line);
        bar.inc(1);
        if !outcome.failures.is_empty() {
            bar.suspend(|| tell_failure(args, &weather, &outcome));
        }
        if let Some(folder) = &mut folder {
            let scenario = || folder::kept(draw::draw(outcome.seed, &weather), &outcome, &options.plants);
            if let Err(error) = folder.write(&line, &outcome, scenario) {
                broken = Some(error);
            }
        }
        broken.is_none() && sum.failures < args.failures_max.unwrap_or(u64::MAX)
    });
    bar.finish_and_clear();
    let must_reach = weather == Weather::default()
        && args.how.world == World::Stepped
        && options.plants.is_empty()
        && sum.seeds >= MOMENTS_FROM;
    let unreached = sum.tell_moments(args.moments || must_reach, must_reach);
    let mut told = sum.told();
    if resumed > 0 {
        told += &format!("; {resumed} of these seeds were run before");
    }
    told += &fresh.pace(processor_seconds(before));
    say(&told);
    if is_interrupted.load(Ordering::Relaxed) {
        say("interrupted: the seeds above are done, and kept where a run folder was named");
    }
    broken.map_or(Ok(()), Err)?;
    if let Some(folder) = &folder {
        folder.sum(&(told + "\n"))?;
    }
    let is_bad = if weather.is_reckless { sum.failures == 0 } else { sum.failures > 0 };
    if weather.is_reckless && sum.failures == 0 {
        say("these runs were reckless, and none was seen to lose anything");
    }
    Ok(ExitCode::from(u8::from(is_bad || unreached > 0)))
}

/// Becomes true when somebody wants the campaign to end.
fn interruption() -> Result<Arc<AtomicBool>, String> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    let handler = move || {
        if seen.swap(true, Ordering::Relaxed) {
            // Twice means now. Finished seeds are written already.
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| format!("interruptions cannot be caught: {error}"))?;
    Ok(flag)
}

fn tell_failure(args: &Args, weather: &Weather, outcome: &Outcome) {
    let Some(failure) = outcome.failures.first() else { return };
    let replay = args.how.command("replay", &outcome.seed.to_string(), &args.drawn);
    say(&format!("seed {} broke {failure}\n  {replay}", outcome.seed));
    let scenario = draw::draw(outcome.seed, weather);
    for line in campaign::last_events(&scenario, &args.how.options(false), failure) {
        say(&format!("    {line}"));
    }
}

impl Sum {
    fn add(&mut self, line: &Line) {
        self.seeds += 1;
        self.failures += u64::from(!line.broke.is_empty());
        self.inputs += line.inputs;
        self.events += line.events;
        self.calls += line.calls;
        self.simulated_ns += line.simulated_ns;
        self.world.resize(Moment::ALL.len(), 0);
        self.core.resize(CoreMoment::ALL.len(), 0);
        for (counts, met) in [(&mut self.world, &line.met.0), (&mut self.core, &line.met.1)] {
            for place in met {
                if let Some(count) = counts.get_mut(*place as usize) {
                    *count += 1;
                }
            }
        }
    }

    fn told(&self) -> String {
        let simulated = self.simulated_ns as f64 / SECOND as f64;
        let Self { seeds, failures, inputs, events, calls, .. } = self;
        format!(
            "{seeds} seeds, {failures} failed; {calls} calls, {inputs} core inputs, {events} events, {simulated:.0} simulated seconds"
        )
    }

    fn pace(&self, cpu_seconds: Option<f64>) -> String {
        let simulated = self.simulated_ns as f64 / SECOND as f64;
        let Self { seeds, inputs, events, .. } = self;
        cpu_seconds.map_or(String::new(), |cpu| {
            format!(
                "; in {cpu:.1} CPU-seconds: per CPU-second {:.0} inputs, {:.0} events, {:.0} simulated seconds, {:.1} seeds",
                *inputs as f64 / cpu,
                *events as f64 / cpu,
                simulated / cpu,
                *seeds as f64 / cpu,
            )
        })
    }

    /// Lists the moments if asked to, and those that were never reached if they must be. Says how many these are.
    fn tell_moments(&self, all: bool, must_reach: bool) -> usize {
        let world = Moment::ALL.iter().map(|moment| moment.says()).zip(&self.world);
        let core = CoreMoment::ALL.iter().map(|moment| moment.says()).zip(&self.core);
        let moments: Vec<(&str, u64)> = world.chain(core).map(|(says, count)| (says, *count)).collect();
        let unreached = moments.iter().filter(|(_, count)| *count == 0).count();
        if all {
            say("runs in which this was reached:");
            moments.iter().for_each(|(says, count)| say(&format!("{count:>9}  {says}")));
        }
        if unreached > 0 || all {
            let reached = moments.len() - unreached;
            let rule = if must_reach {
                "a campaign must reach all".to_owned()
            } else {
                format!("a campaign of {MOMENTS_FROM} seeds must reach all")
            };
            say(&format!("{reached} of {} moments were reached; {rule}", moments.len()));
        }
        if must_reach { unreached } else { 0 }
    }
}

pub(crate) fn sum(folders: &[PathBuf]) -> Result<ExitCode, String> {
    let mut sum = Sum::default();
    let mut seen = BTreeSet::new();
    for path in folders {
        let asked = folder::asked_in(path)?;
        for line in folder::lines_in(path)? {
            if !seen.insert((asked.how.clone(), line.seed)) {
                return Err(format!("{}: seed {} is in another folder, too", path.display(), line.seed));
            }
            if let Some((check, says)) = line.broke.first() {
                let replay = asked.how.replace("SEED", &line.seed.to_string());
                say(&format!("seed {} broke {check}: {says}\n  {replay}", line.seed));
            }
            sum.add(&line);
        }
    }
    sum.tell_moments(true, false);
    say(&sum.told());
    Ok(ExitCode::from(u8::from(sum.failures > 0)))
}
