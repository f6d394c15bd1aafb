//! `godown check`: judges a history again.
//!
//! A run folder holds what the clients saw; the verdict in it is one program's word at one time. This verb reads the
//! history anew and says what it finds, as `godown-check` does, with the same exit codes: 0 valid, 1 violated,
//! 2 unknown, or no verdict at all. It changes nothing. [`promises`] are the rules, which the demo judges by, too.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use godown_jepsen::check::{self, CheckError, Options, Report, Verdict};
use godown_jepsen::history::{History, Load};

use crate::load::screen::print;

/// The exit code of a run without a verdict.
pub(crate) const UNKNOWN: u8 = 2;

/// The session guarantees (Terry and others, 1994) that the store keeps, by the names of their checks. Where R + W
/// is above the number of replicas, a read asks a replica that has every write acknowledged before it. The others
/// would need more: a read may show a write that has not reached W replicas yet, and is answered before it has repaired
/// anything, so the next read, or one of another session that builds on it, may miss that write while it is under way.
const KEPT_GUARANTEES: [&str; 1] = ["read your writes"];

/// What readers are told of the other guarantees.
pub(crate) const NOT_JUDGED: &str = "Not promised, so not judged: monotonic reads, monotonic writes, writes follow reads.\n\
     A read may show a write that is still under way, and the next read may miss it.";

/// Judges a history by what the store promises: the rules that the history asks for, and where clients say what they
/// had seen, as sessions of this store do, the session guarantees that it keeps.
///
/// # Errors
/// A history whose events do not make up operations, or an operation with a value that its function cannot have.
pub(crate) fn promises(history: &History) -> Result<Report, CheckError> {
    let options = Options::default();
    let report = check::auto(history, &options)?;
    if !has_sessions(&report) {
        return Ok(report);
    }
    let mut sessions = check::session(history, &options)?;
    sessions.checks.retain(|check| KEPT_GUARANTEES.contains(&check.name));
    Ok(report.join(sessions))
}

fn has_sessions(report: &Report) -> bool {
    report.checks.iter().any(|check| check.name == "siblings")
}

/// Prints what was found in the history, and beside it, and the verdict on both.
pub(crate) fn tell(report: &Report, beside: Option<&str>, verdict: Verdict) {
    print(report.to_string().trim_end());
    if let Some(beside) = beside {
        print(&format!("\n{beside}"));
    }
    if has_sessions(report) {
        print(&format!("\n{NOT_JUDGED}"));
    }
    print(&format!("\nVerdict: {verdict}"));
}

/// The flags of `godown check`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A run folder, or a file with a history (JSON lines, EDN, porcupine's logs).
    run: PathBuf,
}

/// Judges a history and prints what was found.
///
/// # Errors
/// None: a history that cannot be read says why on stderr and has the exit code of an unknown verdict.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    Ok(match judge(&args.run) {
        Ok(report) => {
            tell(&report, None, report.verdict);
            exit_code(report.verdict).into()
        }
        Err(error) => {
            eprintln!("godown check: {error}");
            UNKNOWN.into()
        }
    })
}

fn judge(run: &Path) -> Result<Report, Box<dyn Error>> {
    let path = if run.is_dir() { run.join("history.jsonl") } else { run.to_owned() };
    Ok(promises(&Load::default().path(path)?)?)
}

/// What a verdict is to a shell.
pub(crate) fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Valid => 0,
        Verdict::Violated => 1,
        Verdict::Unknown => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_folder_is_judged_by_its_history() {
        let folder = tempfile::tempdir().unwrap();
        let history = r#"{"type":"invoke","process":0,"f":"write","key":"k","value":"a","seen":[]}
{"type":"ok","process":0,"f":"write","key":"k","value":"a"}
{"type":"invoke","process":1,"f":"read","key":"k","node":"n1","phase":"final"}
{"type":"ok","process":1,"f":"read","key":"k","value":["a"]}
"#;
        let path = folder.path().join("history.jsonl");
        std::fs::write(&path, history).unwrap();
        assert_eq!(judge(folder.path()).unwrap().verdict, Verdict::Valid);
        std::fs::write(&path, history.replace(r#"["a"]"#, "[]")).unwrap();
        assert_eq!(judge(&path).unwrap().verdict, Verdict::Violated);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(judge(folder.path()).is_err());
    }

    fn verdicts(text: &str) -> Vec<(&'static str, Verdict)> {
        let history = History::from_lines("h", &mut text.as_bytes()).unwrap();
        promises(&history).unwrap().checks.iter().map(|check| (check.name, check.verdict)).collect()
    }

    #[test]
    fn a_session_that_misses_its_own_write_is_a_violation() {
        let history = r#"{"type":"invoke","process":0,"f":"write","key":"k","value":"a","seen":[]}
{"type":"ok","process":0,"f":"write","key":"k","value":"a"}
{"type":"invoke","process":0,"f":"read","key":"k"}
{"type":"ok","process":0,"f":"read","key":"k","value":[]}
{"type":"invoke","process":1,"f":"read","key":"k","node":"n1","phase":"final"}
{"type":"ok","process":1,"f":"read","key":"k","value":["a"]}
"#;
        let expected = |own| {
            let others = ["siblings", "convergence", "staleness"].map(|name| (name, Verdict::Valid));
            others.into_iter().chain([("read your writes", own)]).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(history), expected(Verdict::Violated));
        let other = history.replacen(r#""process":0,"f":"read""#, r#""process":2,"f":"read""#, 2);
        assert_eq!(verdicts(&other), expected(Verdict::Valid), "another session has promised itself nothing");
    }

    #[test]
    fn histories_of_other_stores_are_judged_by_their_own_rules() {
        let history = r#"{"type":"invoke","process":0,"f":"write","value":1}
{"type":"ok","process":0,"f":"write","value":1}
{"type":"invoke","process":0,"f":"read"}
{"type":"ok","process":0,"f":"read","value":1}
"#;
        assert_eq!(verdicts(history), [("linearizable", Verdict::Valid)]);
    }
}
