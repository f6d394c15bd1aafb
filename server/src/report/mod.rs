//! Reports: what a run folder says, as tables and as one page that needs nothing else.
//!
//! A run leaves a folder ([`mod@run`] names its files); everything here is a function of that folder, so a report can
//! be made again at any time, with `godown report`, and shows what the files say, never what a process remembered.
//! [`table`] has the percentiles, [`staleness`] what the checker measured, [`series`] turns the history into what is drawn,
//! [`chart`] draws, [`page`] writes the page.

mod chart;
mod page;
pub(crate) mod phase;
pub(crate) mod run;
mod series;
mod staleness;
pub(crate) mod table;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use run::Folder;

/// The flags of `godown report`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The run folder, such as runs/demo-20261121-093000.
    run: PathBuf,
}

/// Writes the report of a run folder again.
///
/// # Errors
/// The file that is missing or cannot be read.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let path = write(&args.run)?;
    crate::load::screen::print(&path.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// Writes `report.html` from the other files of a run folder, and says where it is.
///
/// # Errors
/// The file that is missing or cannot be read.
pub(crate) fn write(run: &Path) -> Result<PathBuf, run::RunError> {
    let folder = Folder::open(run);
    let page = page::render(&folder.read()?);
    folder.write_report(&page)
}
