//! What a node remembers of the others in its data folder, beside the store.
//!
//! Two small files: `peers` has the names of nodes that were listed without one, `members` the cluster that the node
//! is in and who is in it. The second one matters when the store is lost: a node that finds it and has an empty store
//! knows that it must not begin a cluster of its own, and whom to expect. Neither is ever believed over the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;

use crate::config::Listed;
use crate::store::{Folder, FolderError};

/// The file that remembers names.
const NAMES_FILE: &str = "peers";

/// The file that remembers the cluster.
const MEMBERS_FILE: &str = "members";

/// The cluster that a node was in when it last heard of its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Its id, in hexadecimal digits.
    pub(crate) cluster: String,
    /// The other members' addresses, by name.
    pub(crate) members: BTreeMap<String, String>,
}

impl Memory {
    /// What was remembered; what cannot be understood is as good as forgotten.
    pub(crate) fn read(folder: &Folder) -> Result<Option<Self>, FolderError> {
        let text = folder.read(MEMBERS_FILE)?;
        Ok(text.and_then(|text| toml::from_str(&text).ok()))
    }

    /// The members, as a list has them.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        let listed = |(name, address): (&String, &String)| {
            let address: Listed = address.parse().ok()?;
            Some(Listed { name: Some(name.clone()), ..address })
        };
        self.members.iter().filter_map(listed).collect()
    }

    /// Writes down whatever comes, off the event loop, until nothing can come any more.
    pub(crate) async fn keep(folder: Arc<Folder>, mut latest: watch::Receiver<Option<Self>>) {
        while latest.changed().await.is_ok() {
            let Some(memory) = latest.borrow_and_update().clone() else { continue };
            // Texts by name always have a shape in TOML.
            let text = toml::to_string(&memory).unwrap_or_default();
            let folder = Arc::clone(&folder);
            let written = tokio::task::spawn_blocking(move || folder.replace(MEMBERS_FILE, &text)).await;
            if let Ok(Err(error)) = written {
                warn!("who the members are could not be written down: {error}");
            }
        }
    }
}

/// The names that peers gave at an earlier start, by address. What cannot be read is asked for again.
pub(crate) fn names(folder: &Folder) -> Result<BTreeMap<String, String>, FolderError> {
    let text = folder.read(NAMES_FILE)?.unwrap_or_default();
    Ok(toml::from_str(&text).unwrap_or_default())
}

/// Remembers names by address.
pub(crate) fn keep_names(folder: &Folder, names: &BTreeMap<String, String>) -> Result<(), FolderError> {
    let text = toml::to_string(names).unwrap_or_default();
    folder.replace(NAMES_FILE, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(members: &[(&str, &str)]) -> Memory {
        let member = |&(name, address): &(&str, &str)| (name.to_owned(), address.to_owned());
        Memory { cluster: "c1".into(), members: members.iter().map(member).collect() }
    }

    #[tokio::test]
    async fn the_last_members_are_found_again_at_the_next_start() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let folder = Arc::new(Folder::take(temp.path(), "apple", 256).expect("taken"));
        assert_eq!(Memory::read(&folder).expect("readable"), None);
        let (tell, latest) = watch::channel(None);
        tell.send(Some(memory(&[("pear", "h:1")]))).expect("heard");
        let last = memory(&[("a = \"b\"", "[::1]:7000"), ("pear", "h:2")]);
        tell.send(Some(last.clone())).expect("heard");
        drop(tell);
        Memory::keep(Arc::clone(&folder), latest).await;
        assert_eq!(Memory::read(&folder).expect("readable"), Some(last.clone()));
        let listed: Vec<String> = last.listed().iter().map(Listed::to_string).collect();
        assert_eq!(listed, ["[::1]:7000", "h:2"]);
        folder.replace(MEMBERS_FILE, "cluster = ").expect("written");
        assert_eq!(Memory::read(&folder).expect("readable"), None);
    }
}
