//! What a node is told at its start. To be written.

use std::error::Error;
use std::process::ExitCode;

/// The flags of `godown config`.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> Result<ExitCode, Box<dyn Error>> {
    Err("not yet written".into())
}
