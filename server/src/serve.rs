//! One node from its start to its end. To be written.

use std::error::Error;
use std::process::ExitCode;

/// The flags of `godown serve`.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> Result<ExitCode, Box<dyn Error>> {
    Err("not yet written".into())
}
