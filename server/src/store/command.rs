//! `godown store`: what lies in a data folder, and how to make it smaller, while no node runs over it.
//!
//! Both commands take the folder's lock, so they refuse one that is in use, and a node does not start meanwhile. They
//! change no row. Opening the engine lets it finish what a crash has left behind, as the next start would.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use godown_core::stored;
use serde::Serialize;

use super::folder::Folder;
use super::garbage::Garbage;
use super::lsm::{EngineError, Lsm};
use super::{FolderError, garbage};
use crate::load::screen::{print, thousands};
use crate::report::table::align;

/// The flags of `godown store`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Count the rows in a data folder by kind, and the bytes of its files.
    Inspect {
        /// The data folder.
        folder: PathBuf,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Rewrite a store so that what was deleted takes no space any more. A running node does so by itself.
    Compact {
        /// The data folder.
        folder: PathBuf,
    },
}

/// What lies in a data folder.
#[derive(Debug, Serialize)]
pub(crate) struct Contents {
    /// The node's name.
    node: String,
    /// By kind.
    rows: BTreeMap<&'static str, Rows>,
    /// What was removed since the last compaction: an estimate.
    garbage_bytes: u64,
    files: Files,
}

impl Contents {
    /// Rows of which each belongs to one key, write or hint: none where everything was deleted for good. Of the other
    /// kinds there are some for each partition, however many keys there are.
    pub(crate) fn of_keys(&self) -> u64 {
        let kinds = ["objects", "log", "hints", "places of hints", "foreign"];
        kinds.iter().filter_map(|kind| self.rows.get(kind)).map(|rows| rows.rows).sum()
    }
}

/// Rows of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Rows {
    rows: u64,
    /// Of their keys and values, before the engine compresses them.
    bytes: u64,
}

/// Bytes that files have on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Files {
    /// Where rows lie in order.
    pub(crate) tables_bytes: u64,
    /// Where writes go first.
    pub(crate) journal_bytes: u64,
    /// Everything in the folder, stores that were set aside as well.
    pub(crate) folder_bytes: u64,
}

/// Runs one command.
///
/// # Errors
/// When the folder is in use, is none, or cannot be read.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    match args.verb {
        Verb::Inspect { folder, json } => {
            let contents = inspect(&folder)?;
            match json {
                true => print(&serde_json::to_string(&contents)?),
                false => print(table(&contents).trim_end()),
            }
        }
        Verb::Compact { folder } => {
            let before = measure(&folder)?.folder_bytes;
            compact(&folder)?;
            let after = measure(&folder)?.folder_bytes;
            let (before, after) = (thousands(before), thousands(after));
            print(&format!("{} took {before} bytes on disk, and takes {after}.", folder.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts what lies in the data folder at `path`.
///
/// # Errors
/// When the folder is in use, is none, or cannot be read.
pub(crate) fn inspect(path: &Path) -> Result<Contents, Box<dyn Error>> {
    let (_folder, node) = Folder::visit(path)?;
    let lsm = open(path)?;
    let mut rows: BTreeMap<&'static str, Rows> = BTreeMap::new();
    lsm.each(|key, value_bytes| {
        // The store's own rows lie beside those of the core.
        let kind = stored::kind_of(key).unwrap_or(if key.0.starts_with(b"z") {
            "the store's own"
        } else {
            "foreign"
        });
        let kind = rows.entry(kind).or_default();
        kind.rows += 1;
        kind.bytes += (key.0.len() + value_bytes) as u64;
    })?;
    let garbage = lsm.own(garbage::KEY)?.map(|value| Garbage::read(&value)).unwrap_or_default();
    Ok(Contents { node, rows, garbage_bytes: garbage.bytes(), files: measure(path)? })
}

/// Rewrites the store in the data folder at `path`.
///
/// # Errors
/// When the folder is in use, is none, or the engine fails.
pub(crate) fn compact(path: &Path) -> Result<(), Box<dyn Error>> {
    let (_folder, _) = Folder::visit(path)?;
    let lsm = open(path)?;
    let mut garbage = lsm.own(garbage::KEY)?.map(|value| Garbage::read(&value)).unwrap_or_default();
    garbage.collected(garbage.bytes());
    lsm.commit([garbage.row()], None)?;
    lsm.compact()?;
    Ok(lsm.sync()?)
}

fn open(path: &Path) -> Result<Lsm, Box<dyn Error>> {
    let store = path.join("store");
    if !store.is_dir() {
        return Err(format!("there is no store in {} yet", path.display()).into());
    }
    let refused = |error: EngineError| FolderError::Engine(store.clone(), error.to_string());
    Ok(Lsm::open(&store).map_err(refused)?)
}

/// Adds up what the files in a folder have on disk, be a node running over it or not. Links are not followed.
///
/// # Errors
/// What the system says, but not of files that go away meanwhile.
pub(crate) fn measure(path: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder != path => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let bytes = on_disk(&metadata);
            files.folder_bytes += bytes;
            let is_in_store = entry.path().starts_with(path.join("store"));
            let is_journal = entry.path().extension().is_some_and(|extension| extension == "jnl");
            match (is_in_store, is_journal) {
                (true, true) => files.journal_bytes += bytes,
                (true, false) => files.tables_bytes += bytes,
                (false, _) => {}
            }
        }
    }
    Ok(files)
}

/// The engine's journals are longer than what is in them.
fn on_disk(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    metadata.blocks() * 512
}

fn table(contents: &Contents) -> String {
    let Contents { node, rows, garbage_bytes, files } = contents;
    let row = |(kind, Rows { rows, bytes }): (&&str, &Rows)| {
        [(*kind).to_owned(), thousands(*rows), thousands(*bytes)]
    };
    let rows: Vec<[String; 3]> = rows.iter().map(row).collect();
    let Files { tables_bytes, journal_bytes, folder_bytes } = files;
    format!(
        "The store of {node}\n\n{}\nOn disk: {} bytes in tables, {} in journals, {} in the whole folder.\nOf the tables \
         about {} bytes were deleted and not given back yet.\n",
        align(["rows", "number", "bytes"], &rows, 1),
        thousands(*tables_bytes),
        thousands(*journal_bytes),
        thousands(*folder_bytes),
        thousands((*garbage_bytes).min(*tables_bytes)),
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godown_core::stored::{Row, RowKey};

    use super::*;

    fn row(n: u32, bytes: Option<usize>) -> Row {
        // Bytes that no compression makes fewer.
        let noise = |bytes| {
            (0..bytes as u32).map(|i| (n ^ i).wrapping_mul(0x9e37_79b1) as u8 ^ (n >> 3) as u8).collect()
        };
        let key = [&b"o"[..], &n.to_be_bytes()].concat();
        Row { key: RowKey(key.into()), value: bytes.map(noise) }
    }

    /// A folder with a store in which four rows of five were deleted.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let opened =
            Folder::take(folder.path(), "apple", 256).expect("taken").open_store(false).expect("opens");
        let mut garbage = Garbage::default();
        let written: Vec<Row> = (0..500).map(|n| row(n, Some(10_000))).collect();
        garbage.note(&written);
        opened.lsm.commit(written, None).expect("committed");
        opened.lsm.flush().expect("flushed");
        let mut removed: Vec<Row> = (0..500).filter(|n| n % 5 != 0).map(|n| row(n, None)).collect();
        garbage.note(&removed);
        removed.push(garbage.row());
        opened.lsm.commit(removed, None).expect("committed");
        folder
    }

    #[test]
    fn what_is_deleted_takes_no_space_after_a_compaction_and_the_rest_is_still_there() {
        let folder = folder();
        let before = inspect(folder.path()).expect("readable");
        assert_eq!(before.node, "apple");
        assert_eq!(before.rows["objects"].rows, 100);
        assert!(before.garbage_bytes > 3_500_000, "{before:?}");
        assert!(before.files.tables_bytes > 2_000_000, "{before:?}");
        compact(folder.path()).expect("compacted");
        let after = inspect(folder.path()).expect("readable");
        assert_eq!(after.rows["objects"], before.rows["objects"]);
        assert_eq!(after.garbage_bytes, 0);
        assert!(after.files.tables_bytes < before.files.tables_bytes / 3, "{before:?}, {after:?}");
        let text = table(&after);
        assert!(text.contains("The store of apple") && text.contains("objects"), "{text}");
    }

    #[test]
    fn a_folder_that_is_in_use_or_is_none_is_left_alone() {
        let folder = folder();
        let held = Folder::visit(folder.path()).expect("free");
        let error = inspect(folder.path()).expect_err("refused").to_string();
        assert!(error.contains("in use by another process"), "{error}");
        assert!(compact(folder.path()).is_err());
        drop(held);
        assert!(inspect(folder.path()).is_ok());

        let empty = tempfile::tempdir().expect("a temporary folder");
        let error = inspect(empty.path()).expect_err("refused").to_string();
        assert!(error.contains("no data folder"), "{error}");
        assert_eq!(fs::read_dir(empty.path()).expect("readable").count(), 0, "nothing was created");
    }

    #[test]
    fn rows_of_every_kind_have_a_name() {
        let name = |bytes: &'static [u8]| stored::kind_of(&RowKey(Bytes::from_static(bytes)));
        assert_eq!(name(b"o\0\0key"), Some("objects"));
        assert_eq!(name(b"l\0\0"), Some("log"));
        assert_eq!((name(b"zsequence"), name(b"")), (None, None));
    }
}
