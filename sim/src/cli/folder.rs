//! A run folder: what a campaign was, a JSON line for each seed, and the scenarios of the first failures.
//!
//! A line is written as soon as its seed and all before it are done, in one piece: whoever interrupts a campaign, or whatever
//! fills the disk, no finished seed is lost. A half-written last line is cut off when the campaign is taken up again.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use godown_sim::scenario::Scenario;
use godown_sim::scenario::text::{self, Kept};
use godown_sim::world::Outcome;
use serde::{Deserialize, Serialize};

/// The version of the folder's files.
const VERSION: u32 = 1;
/// Scenarios of so many failures are kept.
const FAILURES_KEPT: u64 = 100;

/// What a campaign was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) version: u32,
    /// The command's options that decide what a seed does.
    pub(crate) how: String,
    /// The first seed.
    pub(crate) first: u64,
    /// The seed after the last one; None when only time ends it.
    pub(crate) end: Option<u64>,
    /// Which of how many shards.
    pub(crate) shard: (u64, u64),
}

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) seed: u64,
    pub(crate) digest: String,
    pub(crate) inputs: u64,
    pub(crate) events: u64,
    pub(crate) calls: u64,
    pub(crate) simulated_ns: u64,
    /// The states that were met, by their sentences' places in the two tables: the world's, then the core's.
    pub(crate) met: (Vec<u32>, Vec<u32>),
    /// Checks that were broken, and how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) broke: Vec<(String, String)>,
}

impl Line {
    pub(crate) fn new(outcome: &Outcome) -> Self {
        Self {
            seed: outcome.seed,
            digest: format!("{:016x}", outcome.digest),
            inputs: outcome.inputs,
            events: outcome.events,
            calls: outcome.calls,
            simulated_ns: outcome.simulated_ns,
            met: (super::run::world_moments(outcome).collect(), super::run::core_moments(outcome).collect()),
            broke: outcome
                .failures
                .iter()
                .map(|failure| (failure.check.name().to_owned(), failure.says.clone()))
                .collect(),
        }
    }
}

/// A run folder that is being written.
pub(crate) struct Folder {
    path: PathBuf,
    seeds: File,
    failures: u64,
}

impl Folder {
    /// Makes a folder, or takes an interrupted one up again: then also the lines that it has.
    ///
    /// # Errors
    /// In words, when there is one already that is not to be taken up, or is of another campaign, or is broken.
    pub(crate) fn open(path: &Path, asked: &Asked, resumes: bool) -> Result<(Self, Vec<Line>), String> {
        let told = path.display();
        let cannot = |what: &str, error: std::io::Error| format!("{told}: {what}: {error}");
        let campaign = path.join("campaign.json");
        let seeds = path.join("seeds.jsonl");
        let mut lines = Vec::new();
        if campaign.exists() {
            if !resumes {
                return Err(format!(
                    "{told} holds a campaign already: say --resume to go on with it, or name another folder"
                ));
            }
            let before = asked_in(path)?;
            if before != *asked {
                return Err(format!(
                    "{told} holds another campaign ({}): name another folder, or say the same options",
                    before.told()
                ));
            }
            lines = lines_in(path)?;
            // What an interruption cut in two goes.
            let whole: String = lines.iter().map(line_text).collect();
            fs::write(&seeds, whole).map_err(|error| cannot("cannot write seeds.jsonl", error))?;
        } else {
            if path.exists()
                && path.read_dir().map_err(|error| cannot("cannot be read", error))?.next().is_some()
            {
                return Err(format!(
                    "{told} is there, is not empty and holds no campaign: name another folder"
                ));
            }
            fs::create_dir_all(path.join("failures")).map_err(|error| cannot("cannot be made", error))?;
            let text = serde_json::to_string_pretty(asked).expect("it is plain data");
            fs::write(&campaign, text + "\n").map_err(|error| cannot("cannot write campaign.json", error))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&seeds);
        let seeds = file.map_err(|error| cannot("cannot write seeds.jsonl", error))?;
        let failures = lines.iter().filter(|line| !line.broke.is_empty()).count() as u64;
        Ok((Self { path: path.to_owned(), seeds, failures }, lines))
    }

    /// Writes down what came of a seed.
    ///
    /// # Errors
    /// In words: the disk may be full. What was written before stays.
    pub(crate) fn write(
        &mut self,
        line: &Line,
        outcome: &Outcome,
        scenario: impl FnOnce() -> Kept,
    ) -> Result<(), String> {
        let failed = |error: std::io::Error| {
            format!(
                "{}: seed {} could not be written down: {error}; all before it are",
                self.path.display(),
                outcome.seed
            )
        };
        self.seeds.write_all(line_text(line).as_bytes()).map_err(failed)?;
        if !outcome.failures.is_empty() && self.failures < FAILURES_KEPT {
            self.failures += 1;
            let file = self.path.join("failures").join(format!("seed-{}.toml", outcome.seed));
            fs::write(file, text::write(&scenario())).map_err(failed)?;
        }
        Ok(())
    }

    /// Writes the campaign's sums beside its lines.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn sum(&self, told: &str) -> Result<(), String> {
        let path = self.path.join("summary.txt");
        fs::write(&path, told).map_err(|error| format!("{} could not be written: {error}", path.display()))
    }
}

fn line_text(line: &Line) -> String {
    serde_json::to_string(line).expect("it is plain data") + "\n"
}

impl Asked {
    pub(crate) fn new(how: String, first: u64, end: Option<u64>, shard: (u64, u64)) -> Self {
        Self { version: VERSION, how, first, end, shard }
    }

    /// In a few words.
    pub(crate) fn told(&self) -> String {
        let Self { how, first, end, shard: (shard, shards), .. } = self;
        let end = end.map(|end| end.to_string()).unwrap_or_default();
        format!("seeds {first}..{end}, shard {shard}/{shards},{how}")
    }
}

/// What the campaign of a folder was asked for.
///
/// # Errors
/// In words, when it is none.
pub(crate) fn asked_in(path: &Path) -> Result<Asked, String> {
    let file = path.join("campaign.json");
    let told = file.display();
    let text = fs::read_to_string(&file)
        .map_err(|error| format!("{} is no run folder: {told} cannot be read: {error}", path.display()))?;
    let version =
        serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|value| value["version"].as_u64());
    if let Some(version) = version.filter(|version| *version != u64::from(VERSION)) {
        return Err(format!("{told} has version {version}; this build reads {VERSION}"));
    }
    serde_json::from_str(&text).map_err(|error| format!("{told}: {error}"))
}

/// The lines of a folder. A last one without its end is left out.
///
/// # Errors
/// In words, with the number of the line.
pub(crate) fn lines_in(path: &Path) -> Result<Vec<Line>, String> {
    let file = path.join("seeds.jsonl");
    let told = file.display();
    if !file.exists() {
        return Ok(Vec::new());
    }
    let open = File::open(&file).map_err(|error| format!("{told} cannot be read: {error}"))?;
    let mut reader = BufReader::new(open);
    let (mut lines, mut text, mut seen) = (Vec::new(), String::new(), BTreeSet::new());
    for number in 1.. {
        text.clear();
        let read = reader.read_line(&mut text).map_err(|error| format!("{told}, line {number}: {error}"))?;
        if read == 0 || !text.ends_with('\n') {
            break;
        }
        let line: Line =
            serde_json::from_str(&text).map_err(|error| format!("{told}, line {number}: {error}"))?;
        if !seen.insert(line.seed) {
            return Err(format!("{told}, line {number}: seed {} is there twice", line.seed));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// A failing seed's scenario, as it is kept.
pub(crate) fn kept(scenario: Scenario, outcome: &Outcome, plants: &[godown_core::Plant]) -> Kept {
    let about = outcome.failures.first().map(ToString::to_string).unwrap_or_default();
    Kept { about, plants: plants.to_vec(), breaks: outcome.broke(), scenario }
}
