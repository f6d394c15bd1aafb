//! Things worth telling an operator. They carry facts; the driver chooses words, levels and places.

use alloc::string::String;
use core::time::Duration;

use crate::id::NodeId;
use crate::key::{Key, Partition};

/// One remarkable event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Another node uses this node's life, or knows more of it than this node ever minted. This node serves nothing
    /// any more: two actors with one name would lose writes silently.
    Fenced {
        /// The node whose message showed it.
        by: NodeId,
    },
    /// A partition has caught up since it was empty, and answers reads now.
    CaughtUp {
        /// The partition.
        partition: Partition,
    },
    /// A key's row does not match its checksum, or could not be read. The key is not served from here.
    Damaged {
        /// The key.
        key: Key,
        /// What was wrong.
        reason: String,
    },
    /// A row that was damaged, or could not be read, has been mended with what others hold.
    Mended {
        /// The key.
        key: Key,
    },
    /// A damaged row cannot be mended: no other node holds its key. It stays refused; only a backup can help.
    Unmendable {
        /// The key.
        key: Key,
    },
    /// A hint for another node does not match its checksum. It is dropped; anti-entropy carries what other replicas have.
    HintDamaged {
        /// Whom it was for.
        target: NodeId,
        /// What was wrong.
        reason: String,
    },
    /// A write to disk failed; what waited for it has been refused.
    WriteFailed {
        /// What the driver said.
        reason: String,
    },
    /// A scan of the disk failed; what waited for it has been refused or will be tried again.
    ScanFailed {
        /// What the driver said.
        reason: String,
    },
    /// A value is dated further in the future than is believed: some node's wall clock is wrong.
    DriftRefused {
        /// By how much.
        ahead: Duration,
    },
    /// Others know more of this node's earlier lives than its own store does: the store was put back to an earlier
    /// state. The partition answers no read until it has caught up.
    WentBack {
        /// The partition.
        partition: Partition,
    },
    /// The layouts in force have changed; which nodes hold what follows from them.
    Relayout {
        /// The epoch of the oldest.
        oldest: u64,
        /// The epoch of the newest.
        newest: u64,
        /// Whether this node is a member of the newest.
        is_member: bool,
    },
    /// A partition that this node does not hold any more has been dropped from its disk.
    Dropped {
        /// The partition.
        partition: Partition,
    },
    /// No cluster could be founded of the nodes that were listed.
    NotFounded {
        /// Why.
        why: String,
    },
    /// This node is not a member of the cluster of the nodes that it was told of: it was removed, or never joined.
    NotAMember {
        /// Who said so.
        by: NodeId,
    },
    /// A node belongs to another cluster, or places keys differently. It is not listened to.
    OtherCluster {
        /// Which.
        by: NodeId,
    },
    /// A node has another layout of the same epoch: votes were forgotten, by stores that were put back. It is not
    /// listened to.
    Forked {
        /// Which.
        by: NodeId,
    },
    /// A message came from somebody who is not a member, or does not fit this node's layouts. It was ignored.
    Stranger {
        /// Who sent it.
        from: NodeId,
    },
}
