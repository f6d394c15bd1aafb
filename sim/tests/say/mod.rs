//! Telling the user of `cargo test` which seeds are run.
//!
//! The harness swallows what a passing test prints, and a seed is worth telling before anything fails: so this writes to
//! standard error itself.

use std::io::Write as _;

/// Prints one line, whoever captures.
pub(crate) fn say(line: &str) {
    // A closed standard error is the user's wish, and no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}
