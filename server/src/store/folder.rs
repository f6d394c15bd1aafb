//! The data folder: whose it is, and whether what it holds can be believed.
//!
//! It holds `lock` (one process at a time), `node` (whose it is), `store` (the engine), `mark` (how far the store was
//! once durable) and `peers` (names learnt from nodes that were listed without one). A store that has forgotten
//! something, or that does not open, is amnesia: it is renamed to `store.set-aside-1`, `-2`, … and never deleted, and
//! the node starts over an empty one that the other replicas refill. A folder that cannot be used for any other
//! reason is an error for the operator, and nothing in it is changed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use godown_core::stored::{self, Row, StoredError};
use serde::{Deserialize, Serialize};

use super::garbage::{self, Garbage};
use super::lsm::{EngineError, Lsm};
use super::mark::Mark;

/// The layout of the folder that this version writes.
const FORMAT: u32 = 1;

/// Rows read at a time when the node starts.
const BOOT_PAGE_ROWS: usize = 10_000;

/// A data folder that this process has to itself.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Held, not read: the lock goes with the file.
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// The operating system refused.
    #[error("the data folder {folder} cannot be used: {what}: {source}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the data folder {0} is in use by another process: stop that one, or name another folder")]
    Locked(PathBuf),
    /// It belongs to another node.
    #[error(
        "the data folder {folder} belongs to node '{theirs}', and this node is '{ours}': a node never takes \
         over another's data"
    )]
    OtherNode {
        /// The folder.
        folder: PathBuf,
        /// The name in the folder.
        theirs: String,
        /// This node's name.
        ours: String,
    },
    /// There is no data folder.
    #[error("{0} is no data folder of Godown's: it has no file 'node'")]
    Absent(PathBuf),
    /// It was written with another number of partitions.
    #[error(
        "the data folder {folder} was written with partitions = {theirs}, and the configuration says {ours}: \
         the number of partitions never changes"
    )]
    OtherPartitions {
        /// The folder.
        folder: PathBuf,
        /// The number in the folder.
        theirs: u32,
        /// The configured number.
        ours: u32,
    },
    /// Its identity is not understood.
    #[error("{0} is not understood ({1}): the data folder belongs to a newer version or to something else")]
    Identity(PathBuf, String),
    /// The engine cannot work here.
    #[error("the store in {0} cannot be opened: {1}")]
    Engine(PathBuf, String),
    /// Written by a newer version.
    #[error("the store in {0} cannot be read: {1}")]
    Newer(PathBuf, StoredError),
    /// There is damage, and no replica to refill from.
    #[error(
        "the store in {0} cannot be believed: {1}. No other node holds copies to refill it from, so it is left \
         as it is; move it away to start with an empty one"
    )]
    Alone(PathBuf, String),
}

/// A store that can be believed.
pub(super) struct Opened {
    /// The engine.
    pub(super) lsm: Lsm,
    /// The mark, which equals `sequence` or lies just below it.
    pub(super) mark: Mark,
    /// The number of the last synced group.
    pub(super) sequence: u64,
    /// How much of it is worth nothing any more.
    pub(super) garbage: Garbage,
    /// The rows that the node starts from.
    pub(super) boot_rows: Vec<Row>,
    /// Why the store before this one is not used any more, and where it went.
    pub(super) set_aside: Option<String>,
}

/// What the `node` file says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    format: u32,
    name: String,
    partitions: u32,
}

/// Why a store is not used.
enum Distrust {
    /// It has forgotten something, or is damaged.
    Amnesia(String),
    /// It cannot be used now, for a reason that leaves it as good as it was.
    Fatal(FolderError),
}

impl Folder {
    /// Takes the folder at `path` for the node called `name`, creating it when there is none.
    pub(crate) fn take(path: &Path, name: &str, partitions: u32) -> Result<Self, FolderError> {
        let create = |source| FolderError::Io { folder: path.to_path_buf(), what: "creating it", source };
        fs::create_dir_all(path).map_err(create)?;
        let folder = Self::lock(path)?;
        folder.check_identity(name, partitions)?;
        Ok(folder)
    }

    /// Takes the folder at `path` for whoever only wants to look after it, while no node runs over it. Gives the name of
    /// the node that it belongs to.
    pub(super) fn visit(path: &Path) -> Result<(Self, String), FolderError> {
        if !path.join("node").is_file() {
            return Err(FolderError::Absent(path.to_path_buf()));
        }
        let folder = Self::lock(path)?;
        let identity = folder.identity()?.ok_or_else(|| FolderError::Absent(path.to_path_buf()))?;
        Ok((folder, identity.name))
    }

    fn lock(path: &Path) -> Result<Self, FolderError> {
        let io = |what| move |source| FolderError::Io { folder: path.to_path_buf(), what, source };
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(io("opening its lock file"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => FolderError::Locked(path.to_path_buf()),
            fs::TryLockError::Error(source) => io("locking it")(source),
        })?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Whose it is; None when it is nobody's yet.
    fn identity(&self) -> Result<Option<Identity>, FolderError> {
        let Some(text) = self.read("node")? else { return Ok(None) };
        let path = self.path.join("node");
        let identity: Identity =
            toml::from_str(&text).map_err(|error| FolderError::Identity(path.clone(), error.to_string()))?;
        if identity.format != FORMAT {
            let words = format!("it has format {}; this version writes {FORMAT}", identity.format);
            return Err(FolderError::Identity(path, words));
        }
        Ok(Some(identity))
    }

    fn check_identity(&self, name: &str, partitions: u32) -> Result<(), FolderError> {
        let Some(identity) = self.identity()? else {
            let identity = Identity { format: FORMAT, name: name.into(), partitions };
            let text = toml::to_string(&identity)
                .map_err(|error| FolderError::Identity(self.path.join("node"), error.to_string()))?;
            return self.replace("node", &text);
        };
        if identity.name != name {
            return Err(FolderError::OtherNode {
                folder: self.path.clone(),
                theirs: identity.name,
                ours: name.into(),
            });
        }
        if identity.partitions != partitions {
            return Err(FolderError::OtherPartitions {
                folder: self.path.clone(),
                theirs: identity.partitions,
                ours: partitions,
            });
        }
        Ok(())
    }

    /// The text of the file `name`; None when there is none.
    pub(crate) fn read(&self, name: &'static str) -> Result<Option<String>, FolderError> {
        match fs::read_to_string(self.path.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.io("reading a file in it", source)),
        }
    }

    /// Puts `text` into the file `name`: after a crash the file holds either what it held or all of `text`.
    pub(crate) fn replace(&self, name: &'static str, text: &str) -> Result<(), FolderError> {
        let write = || {
            let new = self.path.join(format!("{name}.new"));
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(new, self.path.join(name))?;
            self.sync()
        };
        write().map_err(|source| self.io("writing a file in it", source))
    }

    /// Opens the store, or sets it aside and opens an empty one. With `is_alone` nobody could refill an empty one.
    pub(super) fn open_store(&self, is_alone: bool) -> Result<Opened, FolderError> {
        match self.try_store() {
            Ok(opened) => Ok(opened),
            Err(Distrust::Fatal(error)) => Err(error),
            Err(Distrust::Amnesia(why)) if is_alone => Err(FolderError::Alone(self.path.join("store"), why)),
            Err(Distrust::Amnesia(why)) => {
                let place = self.set_aside().map_err(|source| self.io("setting a store aside", source))?;
                let mut opened = self.try_store().map_err(|distrust| match distrust {
                    Distrust::Fatal(error) => error,
                    Distrust::Amnesia(why) => FolderError::Engine(self.path.join("store"), why),
                })?;
                opened.set_aside = Some(match place {
                    Some(place) => format!("{why}; it was set aside as {}", place.display()),
                    None => why,
                });
                Ok(opened)
            }
        }
    }

    fn try_store(&self) -> Result<Opened, Distrust> {
        let (store, mark_path) = (self.path.join("store"), self.path.join("mark"));
        let exists = |path: &Path| {
            path.try_exists().map_err(|source| Distrust::Fatal(self.io("looking for the store", source)))
        };
        let had_store = exists(&store)?;
        let mark = if exists(&mark_path)? {
            Mark::open(&mark_path)
                .map_err(|source| Distrust::Fatal(self.io("reading the high-water mark", source)))?
        } else {
            None
        };
        if let (false, Some(mark)) = (had_store, &mark)
            && mark.last() > 0
        {
            let why = format!("the store is gone, and {} groups of writes were in it", mark.last());
            return Err(Distrust::Amnesia(why));
        }
        // The mark comes first, so that no crash leaves a store without one.
        let mark = match mark {
            None if !had_store => Some(self.new_mark(&mark_path)?),
            mark => mark,
        };
        let distrust = |error| match error {
            EngineError::Damaged(why) => Distrust::Amnesia(why),
            EngineError::Machine(why) => Distrust::Fatal(FolderError::Engine(store.clone(), why)),
        };
        let lsm = Lsm::open(&store).map_err(distrust)?;
        let sequence = lsm.sequence().map_err(distrust)?;
        let mark = match mark {
            Some(mark) => mark,
            None if sequence == 0 => self.new_mark(&mark_path)?,
            None => {
                let why = "its high-water mark is missing or damaged, so nothing proves that it is whole";
                return Err(Distrust::Amnesia(why.into()));
            }
        };
        if sequence < mark.last() {
            let why = format!(
                "the store ends at group {sequence} of synced writes, and {} were durable once",
                mark.last()
            );
            return Err(Distrust::Amnesia(why));
        }
        let boot_rows = read_boot_rows(&lsm).map_err(distrust)?;
        match stored::load(&boot_rows) {
            Ok(_) => {}
            Err(error @ StoredError::Format(..)) => {
                return Err(Distrust::Fatal(FolderError::Newer(store, error)));
            }
            Err(error) => return Err(Distrust::Amnesia(error.to_string())),
        }
        let garbage = lsm.own(garbage::KEY).map_err(distrust)?;
        let garbage = garbage.map(|value| Garbage::read(&value)).unwrap_or_default();
        self.sync().map_err(|source| Distrust::Fatal(self.io("syncing it", source)))?;
        Ok(Opened { lsm, mark, sequence, garbage, boot_rows, set_aside: None })
    }

    fn new_mark(&self, path: &Path) -> Result<Mark, Distrust> {
        let create = || {
            // A mark that a crash left half made is worth nothing, and stands in the way.
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mark = Mark::create(path)?;
            self.sync()?;
            Ok(mark)
        };
        create().map_err(|source| Distrust::Fatal(self.io("creating the high-water mark", source)))
    }

    /// Renames store and mark out of the way. Says where the store went, if there was one.
    ///
    /// 1. The store goes first. A crash now leaves a mark without a store: amnesia again, found at the next start.
    /// 2. The mark follows it into its folder. A crash now leaves neither: a new node.
    fn set_aside(&self) -> io::Result<Option<PathBuf>> {
        let (store, mark) = (self.path.join("store"), self.path.join("mark"));
        if !store.try_exists()? {
            fs::remove_file(mark)?;
            self.sync()?;
            return Ok(None);
        }
        let place = (1_u32..)
            .map(|n| self.path.join(format!("store.set-aside-{n}")))
            .find(|place| !place.exists())
            .ok_or_else(|| io::Error::other("no name is left for it"))?;
        fs::rename(store, &place)?;
        match fs::rename(mark, place.join("mark")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.sync()?;
        Ok(Some(place))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Bytes that this node may still write to the disk that the folder lies on.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn io(&self, what: &'static str, source: io::Error) -> FolderError {
        FolderError::Io { folder: self.path.clone(), what, source }
    }
}

fn read_boot_rows(lsm: &Lsm) -> Result<Vec<Row>, EngineError> {
    let (mut after, before) = stored::boot_range();
    let mut rows = Vec::new();
    loop {
        let (page, more) = lsm.page(&after, &before, BOOT_PAGE_ROWS, usize::MAX)?;
        if let Some(last) = page.last() {
            after = last.key.clone();
        }
        rows.extend(page);
        if !more {
            return Ok(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godown_core::id::Life;
    use godown_core::stored::RowKey;

    use super::*;

    const PARTITIONS: u32 = 256;

    fn temp() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn take(path: &Path) -> Folder {
        Folder::take(path, "apple", PARTITIONS).expect("taken")
    }

    fn row(key: &'static str, value: &'static str) -> Row {
        Row {
            key: RowKey(Bytes::from_static(key.as_bytes())),
            value: Some(Bytes::from_static(value.as_bytes())),
        }
    }

    /// Commits three groups and returns what a crash right after would leave.
    fn with_three_groups(path: &Path) -> Folder {
        let folder = take(path);
        let mut opened = folder.open_store(false).expect("opens");
        assert_eq!((opened.sequence, opened.mark.last()), (0, 0));
        for sequence in 1..=3 {
            opened.lsm.commit([row("okey", "value")], Some(sequence)).expect("committed");
            opened.mark.raise(sequence).expect("raised");
        }
        folder
    }

    #[test]
    fn a_store_that_is_whole_is_found_again() {
        let temp = temp();
        let folder = with_three_groups(temp.path());
        let opened = folder.open_store(false).expect("opens");
        assert_eq!((opened.sequence, opened.mark.last()), (3, 3));
        assert_eq!(opened.set_aside, None);
        let found = opened.lsm.get(&row("okey", "").key).expect("readable");
        assert_eq!(found.as_deref(), Some(&b"value"[..]));
    }

    #[test]
    fn a_crash_between_the_stores_sync_and_the_marks_is_no_amnesia() {
        let temp = temp();
        let folder = with_three_groups(temp.path());
        let opened = folder.open_store(false).expect("opens");
        opened.lsm.commit([row("okey", "newer")], Some(4)).expect("committed");
        drop(opened);
        let opened = folder.open_store(false).expect("opens");
        assert_eq!((opened.sequence, opened.mark.last()), (4, 3));
        assert_eq!(opened.set_aside, None);
    }

    #[test]
    fn a_store_behind_its_mark_is_set_aside_and_kept() {
        let temp = temp();
        let folder = with_three_groups(temp.path());
        let mut mark = Mark::open(&temp.path().join("mark")).expect("readable").expect("whole");
        mark.raise(4).expect("raised");
        let opened = folder.open_store(false).expect("opens");
        assert_eq!((opened.sequence, opened.mark.last()), (0, 0));
        let why = opened.set_aside.expect("reported");
        assert!(why.contains("ends at group 3") && why.contains("4 were durable"), "{why}");
        let aside = temp.path().join("store.set-aside-1");
        assert!(aside.join("mark").exists());
        let kept = Lsm::open(&aside).expect("opens").get(&row("okey", "").key);
        assert_eq!(kept.expect("readable").as_deref(), Some(&b"value"[..]));
    }

    #[test]
    fn a_store_that_is_gone_is_amnesia_once_and_then_a_new_store() {
        let temp = temp();
        let folder = with_three_groups(temp.path());
        fs::remove_dir_all(temp.path().join("store")).expect("removed");
        let why = folder.open_store(false).expect("opens").set_aside.expect("reported");
        assert!(why.contains("gone"), "{why}");
        assert_eq!(folder.open_store(false).expect("opens").set_aside, None);
    }

    #[test]
    fn a_store_without_a_readable_mark_proves_nothing() {
        let temp = temp();
        let folder = with_three_groups(temp.path());
        fs::write(temp.path().join("mark"), b"rubbish").expect("written");
        let why = folder.open_store(false).expect("opens").set_aside.expect("reported");
        assert!(why.contains("mark is missing or damaged"), "{why}");
    }

    #[test]
    fn a_store_whose_files_are_damaged_is_set_aside() {
        let temp = temp();
        let folder = with_three_groups(temp.path());
        for entry in fs::read_dir(temp.path().join("store")).expect("readable") {
            let path = entry.expect("readable").path();
            if path.extension().is_some_and(|extension| extension == "jnl") {
                let mut bytes = fs::read(&path).expect("readable");
                let last = bytes.iter().rposition(|&byte| byte != 0).expect("not empty");
                bytes[last - 8] ^= 0xff;
                fs::write(&path, bytes).expect("written");
            }
        }
        let opened = folder.open_store(false).expect("opens");
        assert_eq!(opened.sequence, 0);
        assert!(opened.set_aside.is_some());
        assert!(temp.path().join("store.set-aside-1").exists());
    }

    #[test]
    fn a_store_with_a_boot_row_that_is_not_what_was_written_is_set_aside() {
        let temp = temp();
        let folder = with_three_groups(temp.path());
        let opened = folder.open_store(false).expect("opens");
        let mut altered = stored::life_row(Life(7), false);
        altered.value = Some(Bytes::from_static(b"\x01rubbish"));
        opened.lsm.commit([altered], None).expect("committed");
        drop(opened);
        let why = folder.open_store(false).expect("opens").set_aside.expect("reported");
        assert!(why.contains("does not match its checksum"), "{why}");
    }

    #[test]
    fn a_node_without_peers_never_sets_its_only_copy_aside() {
        let temp = temp();
        let folder = with_three_groups(temp.path());
        fs::remove_file(temp.path().join("mark")).expect("removed");
        let error = folder.open_store(true).err().expect("refused").to_string();
        assert!(error.contains("No other node holds copies"), "{error}");
        assert!(temp.path().join("store").exists());
    }

    #[test]
    fn pages_keep_to_their_bounds_rows_and_bytes() {
        let temp = temp();
        let lsm = take(temp.path()).open_store(false).expect("opens").lsm;
        let rows = [row("oa", "1"), row("ob", "2"), row("oc", "3"), row("od", "4")];
        lsm.commit(rows, None).expect("committed");
        let page = |after: &'static str, before: &'static str, rows_max, bytes_max| {
            let (after, before) = (row(after, "").key, row(before, "").key);
            let (rows, more) = lsm.page(&after, &before, rows_max, bytes_max).expect("readable");
            let keys: Vec<Vec<u8>> = rows.iter().map(|row| row.key.0.to_vec()).collect();
            (keys.concat(), more)
        };
        assert_eq!(page("oa", "od", 9, 999), (b"oboc".to_vec(), false));
        assert_eq!(page("o", "p", 3, 999), (b"oaoboc".to_vec(), true));
        assert_eq!(page("o", "p", 4, 999), (b"oaobocod".to_vec(), false));
        assert_eq!(page("o", "p", 9, 1), (b"oa".to_vec(), true));
        assert_eq!(page("o", "p", 9, 4), (b"oaob".to_vec(), true));
        assert_eq!(page("p", "o", 9, 999), (vec![], false));
    }

    #[test]
    fn a_folder_serves_one_process_one_node_and_one_number_of_partitions() {
        let temp = temp();
        let folder = take(temp.path());
        let refuse =
            |name, partitions| Folder::take(temp.path(), name, partitions).expect_err("refused").to_string();
        assert!(refuse("apple", PARTITIONS).contains("in use by another process"));
        drop(folder);
        assert!(refuse("pear", PARTITIONS).contains("belongs to node 'apple'"));
        assert!(refuse("apple", 512).contains("partitions = 256"));
        take(temp.path());
    }
}
