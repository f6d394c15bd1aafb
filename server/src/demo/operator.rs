//! Who changes the cluster: gives the orders of `godown cluster` and waits until they are done.
//!
//! The requests, and the words in which a node's answers are shown, are those of that command. Everything that is shown
//! is kept in the run folder, too (`cluster.txt`). Every wait has a limit; where it is passed, the error says what was
//! waited for and how each node sees the cluster.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::rest::AGAIN;
use crate::cluster::client::{Client, Trouble};
use crate::cluster::report::{Done, Plan, Status};
use crate::cluster::{tables, understand};
use crate::load::screen::Screen;

/// Nodes, by name and where they serve HTTP.
pub(super) type Nodes = [(String, SocketAddr)];

/// Why the operator gives up.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperatorError {
    /// A node does not do as told.
    #[error("{order}: {trouble}")]
    Refused {
        /// What was ordered.
        order: String,
        /// What came of it.
        trouble: Trouble,
    },
    /// Something does not come about.
    #[error("waited {} s in vain until {what}; the cluster, as each node sees it:\n\n{state}", .limit.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        limit: Duration,
        /// What each node says.
        state: String,
    },
    /// What is shown cannot be kept.
    #[error("cluster.txt: {0}")]
    Io(#[from] io::Error),
}

/// An operator at work.
pub(super) struct Operator<'a> {
    screen: &'a Screen,
    book: File,
}

impl<'a> Operator<'a> {
    /// An operator who shows everything on `screen` and keeps it in the file at `book`.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(screen: &'a Screen, book: &Path) -> io::Result<Self> {
        Ok(Operator { screen, book: File::create(book)? })
    }

    /// Has one change staged by the node at `at`.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) async fn stage(
        &mut self,
        at: SocketAddr,
        what: &str,
        body: &Value,
    ) -> Result<(), OperatorError> {
        let answer = post(at, what, body).await;
        let done = answer.and_then(|answer| understand::<Done>(&answer));
        let done =
            done.map_err(|trouble| OperatorError::Refused { order: format!("{what} {body}"), trouble })?;
        self.note(&format!("{what} {body}: {}", tables::done(&done)))
    }

    /// Shows what is staged at the node at `at` and applies exactly that. Gives the number of the new layout.
    ///
    /// # Errors
    /// Why it is not applied.
    pub(super) async fn apply(&mut self, at: SocketAddr) -> Result<u64, OperatorError> {
        let refused = |order: &str| {
            let order = order.to_owned();
            |trouble| OperatorError::Refused { order, trouble }
        };
        let planned = post(at, "plan", &json!({})).await;
        let plan: Plan = planned.and_then(|answer| understand(&answer)).map_err(refused("plan"))?;
        self.show(&tables::plan(&plan))?;
        let order = json!({ "epoch": plan.epoch, "hash": plan.hash });
        post(at, "apply", &order).await.map_err(refused("apply"))?;
        Ok(plan.next)
    }

    /// Shows what `godown cluster status` shows.
    ///
    /// # Errors
    /// That the node does not say.
    pub(super) async fn tell(&mut self, at: SocketAddr) -> Result<(), OperatorError> {
        let said = status(at).await;
        let said = said.map_err(|trouble| OperatorError::Refused { order: "status".to_owned(), trouble })?;
        self.show(&tables::status(&said))
    }

    /// Waits until all of these nodes say `is_so` of their cluster.
    ///
    /// # Errors
    /// That they did not, within `limit`.
    pub(super) async fn until(
        &self,
        nodes: &Nodes,
        (what, limit): (&str, Duration),
        is_so: impl Fn(&Status) -> bool,
    ) -> Result<(), OperatorError> {
        let deadline = Instant::now() + limit;
        let mut waiting = nodes;
        while let Some(((name, address), rest)) = waiting.split_first() {
            if status(*address).await.is_ok_and(|status| is_so(&status)) {
                // Whoever was found to be so goes on being so until the next order.
                waiting = rest;
                continue;
            }
            if Instant::now() > deadline {
                return Err(self.late(nodes, what, limit).await);
            }
            self.screen.say(format!("waiting until {what}; {name} does not say so yet"));
            sleep(AGAIN).await;
        }
        Ok(())
    }

    /// Waits until layout `epoch` is the only one in force and each of its members has all of its data.
    ///
    /// # Errors
    /// That it is not so within `limit`.
    pub(super) async fn until_settled(
        &self,
        nodes: &Nodes,
        epoch: u64,
        limit: Duration,
    ) -> Result<(), OperatorError> {
        let what = format!("layout {epoch} has settled");
        self.until(nodes, (&what, limit), |status| status.epoch == epoch && status.is_settled()).await
    }

    /// That something did not come about, with how each node sees the cluster.
    pub(super) async fn late(&self, nodes: &Nodes, what: &str, limit: Duration) -> OperatorError {
        let mut state = String::new();
        for (name, address) in nodes {
            let said = match status(*address).await {
                Ok(said) => tables::status(&said),
                Err(trouble) => trouble.to_string(),
            };
            state.push_str(&format!("-- {name}\n{}\n", said.trim_end()));
        }
        OperatorError::Late { what: what.to_owned(), limit, state }
    }

    /// Shows something and keeps it.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn show(&mut self, text: &str) -> Result<(), OperatorError> {
        let lines = text.trim_matches('\n').lines();
        let indented: String = lines.map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect();
        self.screen.line(&format!("\n{indented}"));
        self.note(text)
    }

    fn note(&mut self, text: &str) -> Result<(), OperatorError> {
        Ok(writeln!(self.book, "{}\n", text.trim_end())?)
    }
}

async fn post(at: SocketAddr, what: &str, body: &Value) -> Result<Vec<u8>, Trouble> {
    Client::of(&format!("http://{at}")).await?.post(what, body).await
}

/// How the node at `at` sees its cluster.
async fn status(at: SocketAddr) -> Result<Status, Trouble> {
    understand(&Client::of(&format!("http://{at}")).await?.get("status").await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_that_is_in_vain_says_for_what_and_how_the_nodes_see_the_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let screen = Screen::new(Duration::ZERO);
        let operator = Operator::new(&screen, &folder.path().join("cluster.txt")).unwrap();
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nodes = [("n9".to_owned(), unused)];
        let error = operator.until_settled(&nodes, 4, Duration::ZERO).await.unwrap_err().to_string();
        assert!(error.contains("until layout 4 has settled"), "{error}");
        assert!(error.contains("-- n9") && error.contains(&unused.to_string()), "{error}");
    }
}
