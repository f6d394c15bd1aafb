//! `godown-check`: verdicts on recorded histories, from the command line.
//!
//! Reads each file, judges it, and says so: in words on the standard output, or as `results.json` with `--json`. What
//! cannot be read goes to the standard error, and one bad file does not keep the others from being judged. The exit
//! code is the worst of all files. A progress bar shows on a terminal while something takes long.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use godown_jepsen::check::{self, FailedCas, Model, Nil, Options, Quorum, Report, Resolve, Verdict};
use godown_jepsen::history::{Format, History, Independent, Load};
use godown_jepsen::page::{Folder, FolderError, Times};
use indicatif::{ProgressBar, ProgressStyle};

/// Judges recorded histories: linearizability, lost updates, sessions, causality, staleness, convergence.
///
/// A history is a file of events, one for each call that a client made and one for how it ended: Godown's JSON lines,
/// Jepsen's history.edn, a JSON document, Jepsen's text log, or porcupine's key-value traces. What it is a history of
/// is found out (--model auto) or said. Every violation is explained: let these events be, then this follows, a
/// contradiction; with --report also by a page with the calls drawn.
#[derive(Parser)]
#[command(
    name = "godown-check",
    version,
    after_help = "Exit codes: 0 every history is valid, 1 one is violated, 2 one is unknown, 3 one cannot be read or \
                  judged.\nOf several histories the worst counts: 3, then 1, then 2.\n\n\
                  Examples:\n  godown-check runs/demo/history.jsonl\n  \
                  godown-check --model register --nil unknown store/latest/history.edn\n  \
                  godown-check --model session,causal --report verdicts runs"
)]
struct Arguments {
    /// The histories, or folders with them (*.edn, *.jsonl, *.json, *.log); "-" is the standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What the history is of; several models (a,b) are judged one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_value = "auto")]
    model: Vec<ModelArgument>,

    /// How the file is written
    #[arg(long, value_enum, default_value_t = FormatArgument::Auto)]
    format: FormatArgument,

    /// What an acknowledged read of nil means: absent as in porcupine, unknown as in knossos
    #[arg(long, value_enum, default_value_t = NilArgument::Absent)]
    nil: NilArgument,

    /// What a failed cas means: nothing, as in knossos, or that it met another value, as in porcupine
    #[arg(long, value_enum, default_value_t = FailedCasArgument::Ignore)]
    failed_cas: FailedCasArgument,

    /// Take values for tuples [key value] (found out by default)
    #[arg(long, overrides_with = "no_independent")]
    independent: bool,

    /// Take values for values, even if all are pairs
    #[arg(long)]
    no_independent: bool,

    /// Give up on a history after this many seconds; what is not judged by then is unknown
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,

    /// With --model convergence: which of several writes of a register wins
    #[arg(long, value_enum, default_value_t = ResolveArgument::Siblings)]
    resolve: ResolveArgument,

    /// With --model staleness: by how many writes a read may be behind
    #[arg(long, value_name = "WRITES")]
    staleness_k_max: Option<u32>,

    /// With --model staleness: for how long what a read missed may have been in effect
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    staleness_age_max: Option<Duration>,

    /// With --model staleness: nodes, readers and writers of each key, as in 3,2,2, to have the model's line beside what was measured
    #[arg(long, value_name = "N,R,W", value_parser = quorum)]
    quorum: Option<Quorum>,

    /// Print the reports as JSON, one line for each history
    #[arg(long)]
    json: bool,

    /// Write a page that explains each verdict by picture to `DIR/NAME/index.html`, with results and drawings
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModelArgument {
    /// Found out from what clients call and what reads show
    Auto,
    /// One copy of each key: read, write, delete, cas
    Register,
    /// All concurrent values of each key: read, write, delete
    Siblings,
    /// A text or list under each key: get, put, append
    Kv,
    /// A sum: add, increment, decrement, read
    Counter,
    /// A set that only grows: add, read
    Set,
    /// First in first out: enqueue, dequeue, drain
    Queue,
    /// What goes in must come out, in any order: enqueue, dequeue, drain
    TotalQueue,
    /// Causal consistency, convergence and memory: read, write, delete
    Causal,
    /// The four session guarantees: read, write, delete
    Session,
    /// Sets, counters and registers in the end: add, remove, increment, decrement, write, and reads of the phase "final"
    Convergence,
    /// How far reads lag behind, with figures: read, write, delete, cas
    Staleness,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArgument {
    /// Found out from the content
    Auto,
    /// One JSON object per line
    Jsonl,
    /// One JSON document
    Json,
    /// Jepsen's history.edn
    Edn,
    /// Jepsen's text log
    Log,
}

#[derive(Clone, Copy, ValueEnum)]
enum NilArgument {
    /// The register held nothing
    Absent,
    /// The read says nothing
    Unknown,
}

#[derive(Clone, Copy, ValueEnum)]
enum FailedCasArgument {
    /// It says nothing
    Ignore,
    /// It met another value
    Check,
}

#[derive(Clone, Copy, ValueEnum)]
enum ResolveArgument {
    /// None: concurrent values stay side by side
    Siblings,
    /// The latest
    Latest,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number =
        text.parse::<f64>().map_err(|_| "expected a number of seconds, such as 30 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

fn quorum(text: &str) -> Result<Quorum, String> {
    let numbers: Vec<u32> = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    match numbers[..] {
        [nodes, read, written] if 0 < read && read <= nodes && 0 < written && written <= nodes => {
            Ok(Quorum { nodes, read, written })
        }
        _ => {
            Err("expected nodes, readers and writers, such as 3,2,2, neither more than the nodes".to_owned())
        }
    }
}

impl Arguments {
    fn load(&self) -> Load {
        Load {
            format: match self.format {
                FormatArgument::Auto => Format::Auto,
                FormatArgument::Jsonl => Format::Lines,
                FormatArgument::Json => Format::Json,
                FormatArgument::Edn => Format::Edn,
                FormatArgument::Log => Format::Log,
            },
            independent: match (self.independent, self.no_independent) {
                (true, _) => Independent::Yes,
                (_, true) => Independent::No,
                _ => Independent::Auto,
            },
        }
    }

    fn models(&self) -> impl Iterator<Item = Model> + '_ {
        self.model.iter().map(|model| match model {
            ModelArgument::Auto => Model::Auto,
            ModelArgument::Register => Model::Register,
            ModelArgument::Siblings => Model::Siblings,
            ModelArgument::Kv => Model::Kv,
            ModelArgument::Counter => Model::Counter,
            ModelArgument::Set => Model::Set,
            ModelArgument::Queue => Model::Queue,
            ModelArgument::TotalQueue => Model::TotalQueue,
            ModelArgument::Causal => Model::Causal,
            ModelArgument::Session => Model::Session,
            ModelArgument::Convergence => Model::Convergence,
            ModelArgument::Staleness => Model::Staleness,
        })
    }

    fn options(&self) -> Options {
        Options {
            nil: match self.nil {
                NilArgument::Absent => Nil::Absent,
                NilArgument::Unknown => Nil::Unknown,
            },
            failed_cas: match self.failed_cas {
                FailedCasArgument::Check => FailedCas::Check,
                FailedCasArgument::Ignore => FailedCas::Ignore,
            },
            timeout: self.timeout,
            resolve: match self.resolve {
                ResolveArgument::Siblings => Resolve::Siblings,
                ResolveArgument::Latest => Resolve::Latest,
            },
            staleness_k_max: self.staleness_k_max,
            staleness_age_max: self.staleness_age_max,
            quorum: self.quorum,
            ..Options::default()
        }
    }
}

/// The exit codes, in the order in which they win over each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    Valid,
    Unknown,
    Violated,
    Bad,
}

impl Exit {
    fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Exit::Valid => 0,
            Exit::Violated => 1,
            Exit::Unknown => 2,
            Exit::Bad => 3,
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        // clap would exit with 2 on bad arguments, which here means "unknown".
        let code = if error.use_stderr() { 3 } else { 0 };
        let _ = error.print();
        std::process::exit(code)
    });
    let mut worst = Exit::Valid;
    let mut folder = arguments.report.as_ref().map(Folder::new);
    let mut files = Vec::new();
    for file in &arguments.files {
        match histories(file) {
            Ok(found) => files.extend(found),
            Err(reason) => worst = worst.max(complain(&reason)),
        }
    }
    for file in &files {
        let exit = match judge(&arguments, file) {
            Ok(judged) => {
                let exit = match judged.report.verdict {
                    Verdict::Valid => Exit::Valid,
                    Verdict::Unknown => Exit::Unknown,
                    Verdict::Violated => Exit::Violated,
                };
                match (say(&judged, arguments.json), &mut folder) {
                    // Nobody reads on: the verdict still counts for the exit code of what was read.
                    (Err(error), None) if error.kind() == io::ErrorKind::BrokenPipe => return worst.code(),
                    (Err(error), None) => complain(&format!("the verdict cannot be written: {error}")),
                    (_, None) => exit,
                    (_, Some(folder)) => exit.max(keep(&judged, folder)),
                }
            }
            Err(reason) => {
                if let Some(folder) = &mut folder {
                    folder.miss(&file.display().to_string(), &reason);
                }
                complain(&reason)
            }
        };
        worst = worst.max(exit);
    }
    if let Some(folder) = folder {
        worst = worst.max(point(folder.finish()));
    }
    worst.code()
}

/// Writes the page of one history.
fn keep(judged: &Judged, folder: &mut Folder) -> Exit {
    point(folder.write(&judged.history, &judged.report, judged.times).map(Some))
}

/// Says on the standard error, where no reader of verdicts is disturbed, where a page is.
fn point(written: Result<Option<PathBuf>, FolderError>) -> Exit {
    match written {
        Ok(Some(path)) => {
            let _ = writeln!(io::stderr(), "see {}", path.display());
            Exit::Valid
        }
        Ok(None) => Exit::Valid,
        Err(error) => complain(&error.to_string()),
    }
}

fn complain(reason: &str) -> Exit {
    let _ = writeln!(io::stderr(), "error: {reason}");
    Exit::Bad
}

fn say(Judged { report, .. }: &Judged, is_json: bool) -> io::Result<()> {
    let mut output = io::stdout().lock();
    if is_json {
        serde_json::to_writer(&mut output, report)?;
        writeln!(output)?;
    } else {
        write!(output, "{report}")?;
    }
    output.flush()
}

/// A history, its verdict, and how long that took.
struct Judged {
    history: History,
    report: Report,
    times: Times,
}

/// What a history's file may be called; the results and logs that Jepsen writes beside it are none.
fn is_history(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match ending {
        "jsonl" => true,
        "edn" | "json" => !matches!(name, "results.edn" | "test.edn" | "results.json" | "plan.json"),
        "log" => name != "jepsen.log",
        _ => false,
    }
}

/// How deep folders are searched.
const FOLDERS_MAX: usize = 32;

/// A file itself, or the histories in a folder and the folders in it, in order of their names.
///
/// # Errors
/// In words, a folder that cannot be read or holds no history.
fn histories(path: &Path) -> Result<Vec<PathBuf>, String> {
    if path.as_os_str() == "-" || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    search(path, FOLDERS_MAX, &mut found)?;
    if found.is_empty() {
        return Err(format!(
            "{}: there is no history in this folder (files named *.edn, *.jsonl, *.json or *.log)",
            path.display()
        ));
    }
    Ok(found)
}

fn search(folder: &Path, depth_left: usize, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let cannot = |error: io::Error| format!("{}: cannot be read: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        paths.push(entry.map_err(cannot)?.path());
    }
    paths.sort();
    for path in paths {
        // A link to a folder (Jepsen's "latest") leads to what is found anyway.
        if path.is_dir() && !path.is_symlink() && depth_left > 0 {
            search(&path, depth_left - 1, found)?;
        } else if path.is_file() && is_history(&path) {
            found.push(path);
        }
    }
    Ok(())
}

/// Reads and judges one file.
///
/// # Errors
/// In words, with file and line, why it cannot be read or judged.
fn judge(arguments: &Arguments, file: &Path) -> Result<Judged, String> {
    let start = Instant::now();
    let load = arguments.load();
    let name = file.display().to_string();
    let history = if name == "-" {
        load.read("standard input", &mut io::stdin())
    } else {
        let open = File::open(file).and_then(|input| Ok((input.metadata()?.len(), input)));
        let (length, mut input) = open.map_err(|error| format!("{name}: cannot be read: {error}"))?;
        let done = Arc::new(AtomicU64::new(0));
        let mut counted = Counted { input: &mut input, done: Arc::clone(&done) };
        with_progress(Progress { total: length, is_bytes: true }, &done, || load.read(&name, &mut counted))
    };
    let history = history.map_err(|error| error.to_string())?;
    if history.is_empty() {
        return Err(format!("{}: it holds no events", history.source));
    }
    let reading = start.elapsed();
    let options = arguments.options();
    let operations = Progress { total: history.len() as u64 / 2, is_bytes: false };
    let report = with_progress(operations, &options.progress, || {
        let mut reports = arguments.models().map(|model| check::run(&history, model, &options));
        let first = reports.next().unwrap_or_else(|| check::auto(&history, &options))?;
        reports.try_fold(first, |report, next| Ok(report.join(next?)))
    });
    let report = report.map_err(|error: check::CheckError| error.to_string())?;
    let times = Times { reading, judging: start.elapsed().saturating_sub(reading) };
    Ok(Judged { history, report, times })
}

/// Counts the bytes that are read from a file.
struct Counted<'a> {
    input: &'a mut File,
    done: Arc<AtomicU64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// How much there is to do, and of what.
struct Progress {
    total: u64,
    is_bytes: bool,
}

/// Runs `work` and, on a terminal, shows how far it is once it takes longer than a moment.
fn with_progress<T>(progress: Progress, done: &Arc<AtomicU64>, work: impl FnOnce() -> T) -> T {
    const MOMENT: Duration = Duration::from_millis(300);
    if !io::stderr().is_terminal() {
        return work();
    }
    let done = Arc::clone(done);
    let (finish, finished) = mpsc::channel::<()>();
    let show = move || {
        let mut bar = None;
        while finished.recv_timeout(MOMENT) == Err(mpsc::RecvTimeoutError::Timeout) {
            let bar: &mut ProgressBar = bar.get_or_insert_with(|| {
                let template = if progress.is_bytes {
                    "{spinner} {bar:40} {bytes} of {total_bytes} read, {elapsed}"
                } else {
                    "{spinner} {bar:40} {human_pos} of {human_len} operations judged, {elapsed}"
                };
                let style =
                    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
                ProgressBar::new(progress.total).with_style(style)
            });
            bar.tick();
            bar.set_position(done.load(Ordering::Relaxed));
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(show);
        let result = work();
        drop(finish);
        result
    })
}
