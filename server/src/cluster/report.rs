//! What a node says of its cluster, as JSON: the one shape that the HTTP side writes and `godown cluster` reads.
//!
//! Numbers that tell layouts apart are texts of hexadecimal digits, since many readers of JSON keep only 53 bits of
//! a number. A reader passes over fields that it does not know, so fields may be added.

use godown_core::id::NodeId;
use serde::{Deserialize, Serialize};

/// How a cluster stands, as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// The node that says so.
    pub(crate) node: String,
    /// The cluster's id; none while the node is in none.
    pub(crate) cluster: Option<String>,
    /// Whether the node is a member of the newest layout.
    pub(crate) member: bool,
    /// The number of the newest layout; 0 while there is none.
    pub(crate) epoch: u64,
    /// The number of the oldest layout in force: less than `epoch` while a change is under way.
    pub(crate) oldest: u64,
    /// Tells layouts of one number apart.
    pub(crate) hash: String,
    /// Whether the node has proposed a layout that is not decided yet.
    pub(crate) proposing: bool,
    /// Who is in any layout in force.
    pub(crate) members: Vec<Member>,
    /// What of the data is here.
    pub(crate) partitions: Partitions,
    /// Partitions that are on their way to this node.
    pub(crate) transfers: Vec<Transfer>,
    /// Changes that wait to be applied, in words.
    pub(crate) staged: Vec<String>,
    /// Log rows at rest.
    pub(crate) log_rows: usize,
    /// Of these, those that cannot go because a member is not known to have what they name.
    pub(crate) blocked: Vec<Blocked>,
    /// What this node keeps for others that could not be reached.
    pub(crate) hints: Vec<Hints>,
    /// Damaged rows that are known, and not mended yet.
    pub(crate) damaged: usize,
    /// What is in flight, or left to do, in words; none when nothing is.
    pub(crate) unrest: Option<String>,
}

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// Where the others reach it.
    pub(crate) address: String,
    /// What it may fail together with.
    pub(crate) zone: String,
    /// Its share, in proportion to the others'.
    pub(crate) weight: u32,
    /// `up`, `down`, or `self` for the node that says so.
    pub(crate) state: String,
    /// Whether it is in the newest layout.
    pub(crate) stays: bool,
    /// Partitions that it holds in the newest layout.
    pub(crate) partitions: usize,
    /// It begins no write under a layout older than this.
    pub(crate) ack: u64,
    /// It has everything that this layout gives it.
    pub(crate) synced: u64,
    /// It reads by no layout older than this.
    pub(crate) sync_ack: u64,
}

/// How much of the data a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Partitions {
    /// That the newest layout gives to this node.
    pub(crate) held: usize,
    /// That it answers reads for.
    pub(crate) complete: usize,
    /// That it has still to settle before an older layout can end.
    pub(crate) settling: usize,
    /// That it is dropping.
    pub(crate) dropping: usize,
}

/// A partition on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Transfer {
    /// Which.
    pub(crate) partition: u16,
    /// Who gives it.
    pub(crate) from: String,
}

/// What a member keeps from being collected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Blocked {
    /// The member that is waited for.
    pub(crate) peer: String,
    /// Log rows that wait for it.
    pub(crate) rows: usize,
}

/// What a node keeps for another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Hints {
    /// Whom it is for.
    pub(crate) peer: String,
    /// Writes kept.
    pub(crate) rows: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// How long ago the oldest was written, at most.
    pub(crate) oldest_age_ms: u64,
}

/// What the staged changes would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    /// The number of the newest layout, which the changes are made to.
    pub(crate) epoch: u64,
    /// The number of the layout that they would make.
    pub(crate) next: u64,
    /// Tells it apart from others of its number.
    pub(crate) hash: String,
    /// The changes, in words.
    pub(crate) staged: Vec<String>,
    /// What each node gains and loses, in partitions.
    pub(crate) moves: Vec<Move>,
    /// What an operator should know before.
    pub(crate) warnings: Vec<String>,
}

/// What a change of layout means for one node, in partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Move {
    /// The node.
    pub(crate) node: String,
    /// It will get so many from others.
    pub(crate) gained: usize,
    /// It will give so many away.
    pub(crate) lost: usize,
    /// It will hold so many.
    pub(crate) holds: usize,
}

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Done {
    /// In words.
    pub(crate) done: String,
    /// Changes that wait to be applied now, in words.
    pub(crate) staged: Vec<String>,
}

impl Status {
    /// The name of a member; its id's digits for a node that is none.
    pub(crate) fn name_of(&self, id: NodeId) -> String {
        let member = self.members.iter().find(|member| NodeId::named(&member.name) == id);
        member.map_or_else(|| id.to_string(), |member| member.name.clone())
    }

    /// Whether no change is under way and this node has all of its data. That the newest layout is the only one says
    /// that every member had all of its own.
    pub(crate) fn is_settled(&self) -> bool {
        self.member
            && self.epoch == self.oldest
            && !self.proposing
            && self.partitions.complete >= self.partitions.held
            && self.partitions.settling == 0
            && self.transfers.is_empty()
    }
}

/// A number that tells layouts apart, as text.
pub(crate) fn hex(number: u64) -> String {
    format!("{number:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_settled_when_one_layout_is_in_force_and_its_data_is_here() {
        let partitions = Partitions { held: 9, complete: 9, settling: 0, dropping: 3 };
        let settled = Status { member: true, epoch: 4, oldest: 4, partitions, ..Status::default() };
        assert!(settled.is_settled(), "what is dropped may take its time");
        let but = |change: fn(&mut Status)| {
            let mut status = settled.clone();
            change(&mut status);
            assert!(!status.is_settled(), "{status:?}");
        };
        but(|status| status.member = false);
        but(|status| status.oldest = 3);
        but(|status| status.proposing = true);
        but(|status| status.partitions.complete = 8);
        but(|status| status.partitions.settling = 1);
        but(|status| status.transfers.push(Transfer::default()));
    }
}
