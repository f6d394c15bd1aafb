//! Judges a folder of histories whose verdicts are known, and says how long that took.
//!
//! Every folder in it may have a table `EXPECTED.tsv`: a line of headings, then a path (from the outer folder, or from
//! the table's), a model and the verdict `true` or `false`, apart by tabs. Each file is read, judged without and judged
//! with looking for a short explanation, a few times, and the fastest of each counts. What no model here judges is listed and
//! left out. Exits with 1 if a verdict is not the expected one.
//!
//! ```text
//! cargo run --release -p godown-jepsen --example verdicts -- histories
//! ```
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use godown_jepsen::check::{self, FailedCas, Model, Nil, Options, Verdict};
use godown_jepsen::history::{Independent, Load};

/// How often each file is read and judged.
const ROUNDS: usize = 50;

struct Row {
    file: String,
    model: String,
    expected: String,
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("error: which folder? It holds folders with tables EXPECTED.tsv");
        return ExitCode::from(3);
    };
    match judge_all(Path::new(&folder)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(3)
        }
    }
}

fn tables(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut tables: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path().join("EXPECTED.tsv"))
        .filter(|path| path.exists())
        .collect();
    tables.sort();
    Ok(tables)
}

fn rows(table: &Path) -> Result<Vec<Row>, String> {
    let text = std::fs::read_to_string(table).map_err(|error| format!("{}: {error}", table.display()))?;
    let cells = text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    Ok(cells
        .filter_map(|cells| match <[String; 3]>::try_from(cells) {
            Ok([file, model, expected]) => Some(Row { file, model, expected }),
            Err(_) => None,
        })
        .collect())
}

/// The model that a table's words mean, and how values are to be understood.
fn model(words: &str) -> Option<(Model, Options)> {
    let options = Options::default();
    let knossos = Options { nil: Nil::Unknown, ..Options::default() };
    let porcupine = Options { failed_cas: FailedCas::Check, ..Options::default() };
    match words {
        words if words.starts_with("cas-register(") => Some((Model::Register, porcupine)),
        words if words.starts_with("cas-register") => Some((Model::Register, knossos)),
        words if words.starts_with("kv") => Some((Model::Kv, options)),
        "set" | "set-full" => Some((Model::Set, options)),
        "counter" => Some((Model::Counter, options)),
        _ => None,
    }
}

#[derive(Default)]
struct Sums {
    files: usize,
    bytes: u64,
    times: Times,
}

/// The shortest times of one file, or their sums.
#[derive(Clone, Copy, Default)]
struct Times {
    reading: Duration,
    judging: Duration,
    /// Judging with looking for short explanations.
    explaining: Duration,
}

fn judge_all(folder: &Path) -> Result<usize, String> {
    let mut wrong = 0;
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    println!(
        "{:<45} {:>8} {:>9} {:>8} {:>9} {:>11}",
        "file", "expected", "verdict", "read ms", "judge ms", "explain ms"
    );
    for table in tables(folder)? {
        for row in rows(&table)? {
            let Some((model, options)) = model(&row.model) else {
                *left_out.entry(row.model).or_default() += 1;
                continue;
            };
            let beside = table.with_file_name(&row.file);
            let path = if beside.exists() { beside } else { folder.join(&row.file) };
            let (verdict, times) = judge(&path, model, &options)?;
            let expected = if row.expected.starts_with("true") { Verdict::Valid } else { Verdict::Violated };
            let mark = if verdict == expected { "" } else { "  WRONG" };
            wrong += usize::from(verdict != expected);
            println!(
                "{:<45} {:>8.8} {:>9} {:>8.3} {:>9.3} {:>11.3}{mark}",
                row.file,
                row.expected,
                verdict.to_string(),
                milliseconds(times.reading),
                milliseconds(times.judging),
                milliseconds(times.explaining)
            );
            let group =
                Path::new(&row.file).parent().map_or_else(String::new, |path| path.display().to_string());
            let sum = sums.entry(group).or_default();
            sum.files += 1;
            sum.bytes += path.metadata().map_or(0, |data| data.len());
            sum.times.reading += times.reading;
            sum.times.judging += times.judging;
            sum.times.explaining += times.explaining;
        }
    }
    println!();
    for (group, sum) in &sums {
        println!(
            "{group}: {} files, {} KB; read {:.2} ms ({:.0} MB/s), judged {:.2} ms, with explanations {:.2} ms",
            sum.files,
            sum.bytes / 1_000,
            milliseconds(sum.times.reading),
            sum.bytes as f64 / 1e6 / sum.times.reading.as_secs_f64(),
            milliseconds(sum.times.judging),
            milliseconds(sum.times.explaining)
        );
    }
    for (model, count) in left_out {
        println!("left out: {count} of model {model}");
    }
    println!("{wrong} verdicts are not as expected");
    Ok(wrong)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The verdict, and the shortest times.
fn judge(path: &Path, model: Model, options: &Options) -> Result<(Verdict, Times), String> {
    let load = Load { independent: Independent::Auto, ..Load::default() };
    let quick = Options { explain: false, ..options.clone() };
    let mut best = Times { reading: Duration::MAX, judging: Duration::MAX, explaining: Duration::MAX };
    let mut verdict = Verdict::Unknown;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let history = load.path(path).map_err(|error| error.to_string())?;
        best.reading = best.reading.min(begin.elapsed());
        for (options, best) in [(&quick, &mut best.judging), (options, &mut best.explaining)] {
            let begin = Instant::now();
            let report = check::run(&history, model, options).map_err(|error| error.to_string())?;
            *best = (*best).min(begin.elapsed());
            verdict = report.verdict;
        }
    }
    Ok((verdict, best))
}
