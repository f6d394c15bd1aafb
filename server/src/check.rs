//! `godown check`: judges a history again.
//!
//! A run folder holds what the clients saw; the verdict in it is one program's word at one time. This verb reads the
//! history anew and says what it finds, as `godown-check` does, with the same exit codes: 0 valid, 1 violated,
//! 2 unknown, or no verdict at all. It changes nothing.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use godown_jepsen::check::{self, Options, Report, Verdict};
use godown_jepsen::history::Load;

use crate::load::screen::print;

/// The exit code of a run without a verdict.
pub(crate) const UNKNOWN: u8 = 2;

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
            print(report.to_string().trim_end());
            print(&format!("\nVerdict: {}", report.verdict));
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
    let history = Load::default().path(path)?;
    Ok(check::auto(&history, &Options::default())?)
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
}
