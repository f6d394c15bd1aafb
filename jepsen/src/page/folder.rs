//! Pages as files: a folder for each history, and a table over all of them.
//!
//! `DIR/<name>/index.html` is the page, `DIR/<name>/results.json` the [`Report`], and `DIR/<name>/witness-N.svg` the drawing
//! of its Nth violation. When there are several histories, `DIR/index.html` lists them. Names are made of the histories'
//! file names, so a second run over the same files writes over the first.
//!
//! `results.json` holds:
//!
//! | field | meaning |
//! |---|---|
//! | `source` | where the history came from |
//! | `verdict` | the worst of all checks: `valid`, `unknown` or `violated` |
//! | `checks[]` | `name`, `verdict`, `operations` and `keys` that were judged, `notes` on how |
//! | `checks[].figures` | numbers by name: counts, quantiles, curves; missing if there are none |
//! | `checks[].unknowns[]` | what could not be told: `key` (null: the history) and `reason` |
//! | `checks[].violations[]` | `anomaly` (a name such as `not-linearizable`), `key`, `explanation` |
//! | `….explanation` | `summary`; `events[]` ("let …"); `steps[]` ("then …"); `contradiction` ("but …") |
//! | `….events[]` | `index` in the history, `line` in the file (from 1; 0: no file), `event` in words |

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::scene::Scene;
use super::text::escape;
use super::words::{self, VIOLATIONS_MAX};
use super::{figure, fill, page};
use crate::check::{Report, Verdict, Violation};
use crate::history::History;

/// How many violations have a drawing of their own.
const DRAWINGS_MAX: usize = 50;

const FRAME: &str = include_str!("table.html");

/// How long it took to come to a verdict.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// To read the file.
    pub reading: Duration,
    /// To judge the history.
    pub judging: Duration,
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be written: {source}", path.display())]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

/// Where reports are written to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    names: BTreeSet<String>,
    rows: Vec<Row>,
}

/// A history in the table.
#[derive(Debug)]
enum Row {
    Judged {
        name: String,
        source: String,
        verdict: Verdict,
        operations: usize,
        violations: usize,
        times: Times,
    },
    Bad {
        source: String,
        reason: String,
    },
}

impl Folder {
    /// A folder, which is made when the first file is written to it.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Folder { path: path.into(), names: BTreeSet::new(), rows: Vec::new() }
    }

    /// Writes page, results and drawings of one history, and says where the page is.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn write(
        &mut self,
        history: &History,
        report: &Report,
        times: Times,
    ) -> Result<PathBuf, FolderError> {
        let name = self.name(&report.source);
        let (index, operations) = fill_folder(&self.path.join(&name), history, report)?;
        self.rows.push(Row::Judged {
            name,
            source: report.source.clone(),
            verdict: report.verdict,
            operations,
            violations: report.violations().count(),
            times,
        });
        Ok(index)
    }

    /// Notes a history that could not be read or judged, for the table.
    pub fn miss(&mut self, source: &str, reason: &str) {
        self.rows.push(Row::Bad { source: source.to_owned(), reason: reason.to_owned() });
    }

    /// Writes the table over all histories, if there are several, and says where it is.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn finish(self) -> Result<Option<PathBuf>, FolderError> {
        if self.rows.len() < 2 {
            return Ok(None);
        }
        let path = self.path.join("index.html");
        write(&path, &table(&self.rows))?;
        Ok(Some(path))
    }

    /// A name for a history's folder that no other history has.
    fn name(&mut self, source: &str) -> String {
        let path = Path::new(source);
        let part = |path: Option<&std::ffi::OsStr>| {
            path.map_or(String::new(), |part| plain(&part.to_string_lossy()))
        };
        let mut name = part(path.file_stem());
        // Every run of Jepsen, and of Godown, calls its file the same; the folder says which run it was.
        if name == "history" {
            let folder = part(path.parent().and_then(Path::file_name));
            name = if folder.is_empty() { name } else { format!("{folder}-{name}") };
        }
        if name.is_empty() {
            "history".clone_into(&mut name);
        }
        let mut unique = name.clone();
        let mut number = 2u32;
        while !self.names.insert(unique.to_lowercase()) {
            unique = format!("{name}-{number}");
            number += 1;
        }
        unique
    }
}

/// Writes page, results and drawings of one history straight into a folder, and says where the page is.
///
/// # Errors
/// What cannot be written.
pub fn write_into(folder: &Path, history: &History, report: &Report) -> Result<PathBuf, FolderError> {
    fill_folder(folder, history, report).map(|(index, _)| index)
}

/// Says where the page is, and how many operations the history has.
fn fill_folder(folder: &Path, history: &History, report: &Report) -> Result<(PathBuf, usize), FolderError> {
    let violations: Vec<&Violation> = report.violations().take(VIOLATIONS_MAX).collect();
    let scene = Scene::new(history, &violations);
    let index = folder.join("index.html");
    write(&index, &page(&scene, report))?;
    let results = serde_json::to_string_pretty(report);
    let results =
        results.map_err(|error| FolderError { path: folder.join("results.json"), source: error.into() })?;
    write(&folder.join("results.json"), &(results + "\n"))?;
    for (number, violation) in violations.iter().enumerate().take(DRAWINGS_MAX) {
        let drawing = figure::draw(&scene, number, violation, figure::Frame::Alone);
        write(&folder.join(format!("witness-{}.svg", number + 1)), &drawing)?;
    }
    Ok((index, scene.operations))
}

/// A name that every file system takes.
fn plain(name: &str) -> String {
    const CHARS_MAX: usize = 80;
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name.chars().map(|c| if is_plain(&c) { c } else { '-' }).take(CHARS_MAX).collect();
    name.trim_matches(['.', '-']).to_owned()
}

fn write(path: &Path, text: &str) -> Result<(), FolderError> {
    let error = |source| FolderError { path: path.to_owned(), source };
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(error)?;
    std::fs::write(path, text).map_err(error)
}

fn table(rows: &[Row]) -> String {
    let mut html = String::new();
    let mut verdicts = [0usize; 4];
    for row in rows {
        match row {
            Row::Judged { name, source, verdict, operations, violations, times } => {
                verdicts[*verdict as usize] += 1;
                let milliseconds = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
                let _ = writeln!(
                    html,
                    "<tr><td>{}</td><td><a href=\"{name}/index.html\">{}</a></td><td class=\"number\">{}</td>\
                     <td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
                     <td><a href=\"{name}/results.json\">results</a></td></tr>",
                    words::badge(*verdict),
                    escape(source),
                    words::count(*operations),
                    words::count(*violations),
                    milliseconds(times.reading),
                    milliseconds(times.judging),
                );
            }
            Row::Bad { source, reason } => {
                verdicts[3] += 1;
                let _ = writeln!(
                    html,
                    "<tr><td><span class=\"verdict bad\">! not judged</span></td><td>{}</td>\
                     <td colspan=\"5\">{}</td></tr>",
                    escape(source),
                    escape(reason)
                );
            }
        }
    }
    let of = |count: usize, what: &str| (count > 0).then(|| format!("{} {what}", words::count(count)));
    let [valid, unknown, violated, bad] = verdicts;
    let facts: Vec<String> =
        [of(violated, "violated"), of(unknown, "unknown"), of(valid, "valid"), of(bad, "not judged")]
            .into_iter()
            .flatten()
            .collect();
    fill(
        FRAME,
        &[
            ("/* style */", super::STYLE.to_owned()),
            ("<!-- count -->", words::count(rows.len())),
            ("<!-- facts -->", facts.join(" · ")),
            ("<!-- rows -->", html),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_history_has_a_plain_name_of_its_own() {
        let mut folder = Folder::new("reports");
        for (source, name) in [
            ("runs/a.edn", "a"),
            ("other/a.jsonl", "a-2"),
            ("store/etcd/2026/history.edn", "2026-history"),
            ("history.edn", "history"),
            ("standard input", "standard-input"),
            ("../..", "history-2"),
            ("x/<b>\"ü.edn", "b"),
            ("A.edn", "A-3"),
        ] {
            assert_eq!(folder.name(source), name, "{source}");
        }
    }
}
