//! Telling the user of `cargo test` which seeds are run.
//!
//! The harness swallows what a passing test prints, and a seed is worth telling before anything fails: so this writes to
//! standard error itself.

use std::io::Write as _;

/// Prints one line, whoever captures.
pub(crate) fn say(line: &str) {
    // In one piece, since other tests print at the same time. A closed standard error is no reason to fail.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
