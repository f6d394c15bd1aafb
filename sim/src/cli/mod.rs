//! What the commands share: how seeds are run, where scenarios come from, what is said.

pub(crate) mod cost;
mod deadline;
pub(crate) mod folder;
pub(crate) mod fork;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod score;
pub(crate) mod shrink;

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use godown_core::Plant;
use godown_sim::host::Checks;
use godown_sim::scenario::draw::{self, Weather};
use godown_sim::scenario::text::{self, Kept};
use godown_sim::scenario::{Kind, NODES_MAX, Scenario};
use godown_sim::world::{Clock, Options, World};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How seeds are run.
#[derive(Args)]
pub(crate) struct How {
    /// The world: stepped (an event heap, for volume) or madnet (madsim's tasks and network).
    #[arg(long, default_value = "stepped", value_parser = world)]
    pub(crate) world: World,
    /// A planted bug to switch on; may be said more than once.
    #[arg(long = "plant", value_parser = text::plant)]
    pub(crate) plants: Vec<Plant>,
    /// When nodes check themselves: after every input, or sampled.
    #[arg(long, default_value = "every", value_parser = checks)]
    check: Checks,
    /// Drive the stepped world by its own clock and not by madsim's.
    #[arg(long)]
    own_clock: bool,
}

/// Kinds of faults, as they are chosen.
#[derive(Clone, Copy)]
enum Chosen {
    All,
    One(Kind),
    /// Values that expire: no fault, and drawn beside faults.
    Expiry,
}

/// The word for values that expire among the faults that may be drawn.
pub(crate) const EXPIRY: &str = "ttl";

fn chosen(name: &str) -> Result<Chosen, String> {
    match name {
        "all" => Ok(Chosen::All),
        EXPIRY => Ok(Chosen::Expiry),
        name => {
            let kind =
                Kind::named(name).map_err(|error| format!("{error}, and {EXPIRY} for values that expire"));
            kind.map(Chosen::One)
        }
    }
}

/// What scenarios are drawn from.
#[derive(Args)]
pub(crate) struct Drawn {
    /// How many nodes: 3..100 for anything from 3 to 100.
    #[arg(long, value_parser = nodes)]
    nodes: Option<RangeInclusive<usize>>,
    /// Draw only these kinds of faults: partition,crash,wipe (see `faults`), and ttl for values that expire; all of that
    /// unless said otherwise, or with "all".
    #[arg(long, value_delimiter = ',', value_parser = chosen)]
    faults: Option<Vec<Chosen>>,
    /// Let faults be more than N, R and W survive; such runs should be seen to lose.
    #[arg(long)]
    pub(crate) reckless: bool,
}

impl Drawn {
    pub(crate) fn weather(&self) -> Weather {
        let usual = Weather::default();
        Weather {
            nodes: self.nodes.clone().unwrap_or(usual.nodes),
            faults: self.kinds(),
            expires: self.kinds().is_none() || self.has_expiry(),
            is_reckless: self.reckless,
        }
    }

    /// The kinds that may be drawn, if not all may.
    fn kinds(&self) -> Option<Vec<Kind>> {
        let kind = |chosen: &Chosen| match chosen {
            Chosen::All => Some(None),
            Chosen::One(kind) => Some(Some(*kind)),
            Chosen::Expiry => None,
        };
        self.faults.as_ref()?.iter().filter_map(kind).collect()
    }

    fn has_expiry(&self) -> bool {
        self.faults.iter().flatten().any(|chosen| matches!(chosen, Chosen::Expiry))
    }

    /// The options that draw the same again.
    pub(crate) fn told(&self) -> String {
        let nodes = self.nodes.as_ref().map(|nodes| format!(" --nodes {}..{}", nodes.start(), nodes.end()));
        let faults = self.kinds().map(|faults| {
            let expiry = self.has_expiry().then_some(EXPIRY);
            let names: Vec<&str> = faults.iter().map(|kind| kind.name()).chain(expiry).collect();
            format!(" --faults {}", names.join(","))
        });
        let reckless = if self.reckless { " --reckless" } else { "" };
        format!("{}{}{reckless}", nodes.unwrap_or_default(), faults.unwrap_or_default())
    }
}

impl How {
    pub(crate) fn options(&self, traced: bool) -> Options {
        Options {
            world: self.world,
            clock: if self.own_clock { Clock::Own } else { Clock::Madsim },
            plants: self.plants.clone(),
            checks: self.check,
            traced,
        }
    }

    /// The command that does something with a seed or a scenario again just so.
    pub(crate) fn command(&self, verb: &str, what: &str, drawn: &Drawn) -> String {
        let plants: String = self.plants.iter().map(|plant| format!(" --plant {}", plant.name())).collect();
        format!("cargo sim {verb} {what} --world {}{plants}{}", self.world, drawn.told())
    }
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

fn checks(text: &str) -> Result<Checks, String> {
    match text {
        "every" => Ok(Checks::Every),
        "sampled" => Ok(Checks::Sampled),
        _ => Err(format!("\"{text}\" says not when to check: say every or sampled")),
    }
}

fn nodes(text: &str) -> Result<RangeInclusive<usize>, String> {
    let wrong = || format!("\"{text}\" is no number of nodes: say 5, or 3..{NODES_MAX}");
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    let (least, most) = (number(least)?, number(most)?);
    if least < 3 || most > NODES_MAX || least > most {
        return Err(format!("{text} nodes: there must be 3 at least and {NODES_MAX} at most"));
    }
    Ok(least..=most)
}

/// A scenario, from a seed or from a file.
pub(crate) struct Source {
    pub(crate) scenario: Scenario,
    /// What a file says of it.
    pub(crate) kept: Option<Kept>,
}

/// The scenario of a seed, or the one that stands in a file.
pub(crate) fn source(what: &str, drawn: &Drawn) -> Result<Source, String> {
    if let Ok(seed) = what.parse::<u64>() {
        return Ok(Source { scenario: draw::draw(seed, &drawn.weather()), kept: None });
    }
    let path = Path::new(what);
    let cannot =
        |error: std::io::Error| format!("{what} is neither a seed nor a scenario that can be read: {error}");
    let mut text = String::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(text::BYTES_MAX + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > text::BYTES_MAX {
        return Err(format!("{what} is longer than {} MiB: no scenario is", text::BYTES_MAX >> 20));
    }
    let kept = text::read(&text).map_err(|error| format!("{what}: {error}"))?;
    Ok(Source { scenario: kept.scenario.clone(), kept: Some(kept) })
}

/// The options of a run of `source`: what its file says about planted bugs counts where the command says nothing.
pub(crate) fn options(how: &How, source: &Source, traced: bool) -> Options {
    let mut options = how.options(traced);
    if options.plants.is_empty()
        && let Some(kept) = &source.kept
    {
        options.plants.clone_from(&kept.plants);
    }
    options
}

/// Prints a line. A reader who has seen enough closes the pipe; that is no failure of what was run.
pub(crate) fn say(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

/// How many runs may be under way at once.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A bar with this template, if anybody can see it.
pub(crate) fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The processor time that this process has taken, where the system tells it.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
pub(crate) fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    ))
}

/// The processor time that this process has taken, where the system tells it.
#[cfg(not(unix))]
pub(crate) fn processor_time() -> Option<Duration> {
    None
}

/// The processor seconds since `before`.
pub(crate) fn processor_seconds(before: Option<Duration>) -> Option<f64> {
    processor_time().zip(before).map(|(after, before)| (after - before).as_secs_f64())
}
