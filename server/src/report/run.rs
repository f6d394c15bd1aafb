//! The run folder: `runs/<name>/` and the files in it.
//!
//! | file | what it says |
//! |---|---|
//! | `run.json` | [`Run`]: what was run, with what seed, settings and versions, when, and which faults from when to when |
//! | `history.jsonl` | every call of every client, in order |
//! | `latency.hlog` | latencies of successful calls, by operation and phase |
//! | `results.json` | [`Results`]: the verdict with its checks and their figures, the percentiles |
//! | `verdict/` | the checker's own page, results and drawings |
//! | `cluster.txt` | of a run that changes its cluster: what was ordered, and how the cluster stood |
//! | `misses.jsonl` | of such a run: keys of its stock that are not as they must be, if there are any |
//! | `n1.log` and so on | the nodes' logs |
//! | `report.html` | all of it for people |
//!
//! Notebooks and reports read only these files. Times are seconds since the run began; `started` says when that was.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use godown_jepsen::check;
use godown_jepsen::history::{History, ReadError};
use godown_jepsen::page::{self, FolderError};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::phase::Phase;
use super::table::Row;
use crate::load::hlog;
use crate::load::screen::thousands;

/// What was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The folder's name.
    pub(crate) name: String,
    /// The verb: `demo`.
    pub(crate) what: String,
    /// When it began (RFC 3339, UTC).
    pub(crate) started: String,
    /// A command that does the same again.
    pub(crate) command: String,
    /// What the clients' choices were drawn from.
    pub(crate) seed: u64,
    /// The commit of the source, if it is known; ends in `+` if there were changes on top of it.
    pub(crate) commit: Option<String>,
    /// Everything that can be set, by name.
    pub(crate) settings: BTreeMap<String, String>,
    /// What it was run with, by name.
    pub(crate) versions: BTreeMap<String, String>,
    /// The nodes' names.
    pub(crate) nodes: Vec<String>,
    /// How long the load lasted.
    pub(crate) load_s: f64,
    /// The phases, one after the other.
    pub(crate) phases: Vec<Span>,
    /// What was done to which node.
    pub(crate) faults: Vec<Fault>,
    /// What happened, in plain words.
    pub(crate) timeline: Vec<Moment>,
}

/// A phase from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// Which.
    pub(crate) phase: Phase,
    /// When it began.
    pub(crate) from_s: f64,
    /// When it ended.
    pub(crate) to_s: f64,
}

/// A fault from its beginning until it is healed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// The phase that it makes.
    pub(crate) phase: Phase,
    /// The node that suffers it.
    pub(crate) node: String,
    /// In a few words, such as "n2 killed".
    pub(crate) words: String,
    /// When it began.
    pub(crate) from_s: f64,
    /// When the node was itself again.
    pub(crate) to_s: f64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// When.
    pub(crate) at_s: f64,
    /// What.
    pub(crate) words: String,
}

/// What came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// `valid`, `violated` or `unknown`: the worst of the checks.
    pub(crate) verdict: String,
    /// How long after the load all nodes showed the same, and went on doing so; nothing if they never did.
    pub(crate) equal_after_s: Option<f64>,
    /// How many replicas the reads after the load had to repair: none if the nodes had come to agree by themselves.
    pub(crate) repaired_by_reads: Option<u64>,
    /// The checks, as `godown-check` writes them.
    pub(crate) checks: Vec<Check>,
    /// The keys beside the history that were counted at the end, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stock: Option<Counted>,
    /// What was left on the disks when everything had been deleted, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) emptied: Option<Emptied>,
    /// Percentiles by operation and phase.
    pub(crate) latency: Vec<Row>,
}

/// Keys that were written once, of which some were deleted, as every node shows them at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// Keys that must be there.
    pub(crate) kept: u64,
    /// Keys that must not.
    pub(crate) deleted: u64,
    /// Nodes that were asked.
    pub(crate) nodes: u64,
    /// Answers that were compared.
    pub(crate) compared: u64,
    /// How many replicas the reads among them had to repair, if the nodes say: none if all had what they should.
    pub(crate) repaired: Option<u64>,
    /// Answers that were not as they must be.
    pub(crate) misses: u64,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counted { nodes, repaired, .. } = self;
        let [kept, deleted, compared, misses] =
            [self.kept, self.deleted, self.compared, self.misses].map(thousands);
        write!(
            f,
            "{kept} keys kept, {deleted} deleted; {compared} answers from {nodes} nodes compared, {misses} of them wrong"
        )?;
        match repaired {
            Some(repaired) => write!(f, "; replicas that the reads had to repair: {}", thousands(*repaired)),
            None => Ok(()),
        }
    }
}

/// What the nodes' data folders held before and after every key was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Emptied {
    /// Keys that were deleted: those that were counted, and those of the history.
    pub(crate) keys: u64,
    /// How long after the last delete no node had anything left to do, in seconds.
    pub(crate) quiet_after_s: f64,
    /// Each node's folder.
    pub(crate) folders: Vec<Emptying>,
}

impl Emptied {
    /// Rows for a key, a write or a hint that are still there, on all nodes.
    pub(crate) fn rows_left(&self) -> u64 {
        self.folders.iter().map(|folder| folder.rows_left).sum()
    }
}

impl fmt::Display for Emptied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |bytes: fn(&Emptying) -> u64| thousands(self.folders.iter().map(bytes).sum());
        write!(
            f,
            "{} keys deleted; rows of keys that are left on {} nodes: {}; bytes on disk: {} with everything, after \
             compaction {} in tables and {} in the engine's journals",
            thousands(self.keys),
            self.folders.len(),
            thousands(self.rows_left()),
            sum(|folder| folder.full_tables_bytes + folder.full_journal_bytes),
            sum(|folder| folder.compacted_tables_bytes),
            sum(|folder| folder.compacted_journal_bytes),
        )
    }
}

/// What one node's data folder held, in bytes on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Emptying {
    /// The node's name.
    pub(crate) node: String,
    /// Before anything of the rest was deleted: in tables,
    pub(crate) full_tables_bytes: u64,
    /// and in the journal, which the engine keeps at a size of its own.
    pub(crate) full_journal_bytes: u64,
    /// After everything was deleted.
    pub(crate) deleted_tables_bytes: u64,
    pub(crate) deleted_journal_bytes: u64,
    /// After compaction.
    pub(crate) compacted_tables_bytes: u64,
    pub(crate) compacted_journal_bytes: u64,
    /// Rows for a key, a write or a hint that were left.
    pub(crate) rows_left: u64,
}

/// What one rule says. These mirror the checker's own types, which can only be written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) verdict: String,
    pub(crate) operations: u64,
    pub(crate) keys: u64,
    pub(crate) violations: Vec<Violation>,
    pub(crate) unknowns: Vec<Unknown>,
    pub(crate) notes: Vec<String>,
    #[serde(default, skip_serializing_if = "check::Figures::is_empty")]
    pub(crate) figures: check::Figures,
}

/// One contradiction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Violation {
    pub(crate) anomaly: String,
    pub(crate) key: serde_json::Value,
    pub(crate) explanation: Explanation,
}

/// Why it is one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Explanation {
    pub(crate) summary: String,
    pub(crate) events: Vec<Place>,
    pub(crate) steps: Vec<String>,
    pub(crate) contradiction: String,
}

/// An event and where it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) index: u64,
    pub(crate) line: u32,
    pub(crate) event: String,
}

/// What could not be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Unknown {
    pub(crate) key: Option<serde_json::Value>,
    pub(crate) reason: String,
}

impl Results {
    /// The checker's report in the form of the file, without percentiles.
    ///
    /// # Errors
    /// Only if the checker's types and their mirrors here have grown apart, which a test would find.
    pub(crate) fn new(report: &check::Report) -> Result<Self, serde_json::Error> {
        Ok(Results {
            verdict: report.verdict.to_string(),
            equal_after_s: None,
            repaired_by_reads: None,
            stock: None,
            emptied: None,
            checks: serde_json::from_value(serde_json::to_value(&report.checks)?)?,
            latency: Vec::new(),
        })
    }
}

/// What a report needs of a run folder.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) run: Run,
    pub(crate) results: Results,
    pub(crate) history: History,
    /// Whether the checker's page is there.
    pub(crate) has_verdict_page: bool,
}

/// The checker's page, seen from the run folder.
pub(crate) const VERDICT_PAGE: &str = "verdict/index.html";

/// Why a run folder cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The system says no.
    #[error("{}: {source}", .path.display())]
    Io {
        /// To which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {reason}", .path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] ReadError),
    /// The checker's page cannot be written.
    #[error(transparent)]
    Verdict(#[from] FolderError),
}

/// A run folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A folder that exists; nothing is read yet.
    pub(crate) fn open(path: &Path) -> Self {
        Folder { path: path.to_owned() }
    }

    /// Makes a new folder in `parent` for a run of `what`, named after it and the time, and gives its name.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn create(parent: &Path, what: &str, now: SystemTime) -> Result<(Self, String), RunError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| RunError::Io { path, source }
        };
        fs::create_dir_all(parent).map_err(fail(parent))?;
        let digits: String = timestamp(now).chars().filter(char::is_ascii_digit).collect();
        let stem = format!("{what}-{}-{}", &digits[..8], &digits[8..]);
        // Two runs may begin in the same second; each still gets a folder of its own.
        let mut name = stem.clone();
        for attempt in 2..1_000 {
            let path = parent.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok((Folder { path }, name)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    name = format!("{stem}-{attempt}")
                }
                Err(error) => return Err(fail(&path)(error)),
            }
        }
        Err(fail(&parent.join(stem))(io::ErrorKind::AlreadyExists.into()))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the history is.
    pub(crate) fn history(&self) -> PathBuf {
        self.path.join("history.jsonl")
    }

    /// Where the latencies are.
    pub(crate) fn latency(&self) -> PathBuf {
        self.path.join("latency.hlog")
    }

    /// Writes `run.json`.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write_run(&self, run: &Run) -> Result<(), RunError> {
        self.write_json("run.json", run)
    }

    /// Writes `results.json`.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write_results(&self, results: &Results) -> Result<(), RunError> {
        self.write_json("results.json", results)
    }

    /// Writes the checker's page with its results and drawings.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write_verdict(&self, history: &History, report: &check::Report) -> Result<(), RunError> {
        page::write_into(&self.path.join("verdict"), history, report)?;
        Ok(())
    }

    /// Writes `report.html`, and says where it is.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write_report(&self, page: &str) -> Result<PathBuf, RunError> {
        self.write("report.html", page.as_bytes())
    }

    /// Reads the history.
    ///
    /// # Errors
    /// The line that cannot be read.
    pub(crate) fn read_history(&self) -> Result<History, RunError> {
        let path = self.history();
        let mut file = fs::File::open(&path).map_err(|source| RunError::Io { path: path.clone(), source })?;
        Ok(History::from_lines(&path.display().to_string(), &mut file)?)
    }

    /// Reads the latencies.
    ///
    /// # Errors
    /// The interval that cannot be read.
    pub(crate) fn read_latency(&self) -> Result<BTreeMap<String, Histogram<u64>>, RunError> {
        let path = self.latency();
        let bytes = self.bytes("latency.hlog")?;
        hlog::read(&bytes).map_err(|error| RunError::Malformed { path, reason: error.to_string() })
    }

    /// Reads what a report needs.
    ///
    /// # Errors
    /// The file that is missing or cannot be read.
    pub(crate) fn read(&self) -> Result<Contents, RunError> {
        Ok(Contents {
            run: self.read_json("run.json")?,
            results: self.read_json("results.json")?,
            history: self.read_history()?,
            has_verdict_page: self.path.join(VERDICT_PAGE).is_file(),
        })
    }

    fn write_json(&self, file: &str, value: &impl Serialize) -> Result<(), RunError> {
        let mut text = serde_json::to_vec_pretty(value)
            .map_err(|error| RunError::Malformed { path: self.path.join(file), reason: error.to_string() })?;
        text.push(b'\n');
        self.write(file, &text).map(drop)
    }

    fn read_json<T: serde::de::DeserializeOwned>(&self, file: &str) -> Result<T, RunError> {
        serde_json::from_slice(&self.bytes(file)?)
            .map_err(|error| RunError::Malformed { path: self.path.join(file), reason: error.to_string() })
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<PathBuf, RunError> {
        let path = self.path.join(file);
        match fs::write(&path, bytes) {
            Ok(()) => Ok(path),
            Err(source) => Err(RunError::Io { path, source }),
        }
    }

    fn bytes(&self, file: &str) -> Result<Vec<u8>, RunError> {
        let path = self.path.join(file);
        fs::read(&path).map_err(|source| RunError::Io { path, source })
    }
}

/// A time as `2026-11-21T09:30:00Z` (RFC 3339, UTC).
pub(crate) fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March, eras have 400 years.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + carry;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The commit of the source that this program was built from, if the source is still there and is under git.
pub(crate) fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        output.status.success().then_some(output.stdout)
    };
    let commit = String::from_utf8(git(&["rev-parse", "--short=12", "HEAD"])?).ok()?;
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(format!("{}{}", commit.trim(), if changes.is_empty() { "" } else { "+" }))
}

/// What a run was run with: this program, its build, the system.
pub(crate) fn versions() -> BTreeMap<String, String> {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    [
        ("godown", env!("CARGO_PKG_VERSION").to_owned()),
        ("build", build.to_owned()),
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("processors", processors.to_string()),
    ]
    .map(|(name, version)| (name.to_owned(), version))
    .into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use godown_jepsen::history::Event;

    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn two_runs_in_one_second_have_folders_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(951_782_400);
        let names = [(); 3].map(|()| Folder::create(&parent.path().join("runs"), "demo", now).unwrap().1);
        assert_eq!(names, ["demo-20000229-000000", "demo-20000229-000000-2", "demo-20000229-000000-3"]);
    }

    #[test]
    fn a_violation_survives_being_written_and_read() {
        let history: History = [
            Event::invoke(0, "write").key("k").value("a").seen(Vec::<&str>::new()),
            Event::ok(0, "write").key("k").value("a"),
            Event::invoke(1, "read").key("k").node("n1").phase("final"),
            Event::ok(1, "read").key("k").value(Vec::<&str>::new()),
        ]
        .into_iter()
        .collect();
        let report = check::auto(&history, &check::Options::default()).unwrap();
        let results = Results::new(&report).unwrap();
        assert_eq!(results.verdict, "violated");
        let back: Results = serde_json::from_str(&serde_json::to_string(&results).unwrap()).unwrap();
        let violation = &back.checks[0].violations[0];
        assert_eq!(violation.anomaly, "lost-write");
        assert!(!violation.explanation.events.is_empty());
    }
}
