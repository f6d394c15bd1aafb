//! Everything that can happen to a node.

use core::time::Duration;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::causal::Context;
use crate::effect::{ReadDone, ScanDone, WriteDone};
use crate::id::{CallId, Life, NodeId};
use crate::key::Key;
use crate::kind::Sibling;
use crate::layout::active::View;
use crate::layout::{Change as LayoutChange, Layout, Moves};
use crate::message::{Change, Failure, Message};
use crate::stored::Row;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Boot {
    /// This run's identity, drawn afresh from true randomness. It must never repeat.
    pub life: Life,
    /// Every row of [`stored::boot_range`](crate::stored::boot_range), in key order; none for a new or set-aside store.
    pub rows: Vec<Row>,
}

/// One thing that happens to a node.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub enum Input {
    /// Time has passed: some timer may be due.
    Tick,
    /// A client calls. Exactly one reply with this id will follow, within the call's timeout.
    Call {
        /// Free for the driver to choose; not in use by another call.
        id: CallId,
        /// The call.
        call: Call,
    },
    /// A message from another member has arrived whole.
    Peer {
        /// Who sent it, as the connection has proved.
        from: NodeId,
        /// The layouts that the sender worked with.
        view: View,
        /// The message.
        message: Message,
    },
    /// A read is done.
    Read(ReadDone),
    /// A write is done.
    Write(WriteDone),
    /// A scan is done.
    Scan(ScanDone),
}

/// How a call wants to be served, where it differs from the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Replicas that must answer.
    pub quorum: Option<u8>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// How many of the quorum must be replicas themselves, and no stand-ins: Riak's `pr` and `pw`.
    pub primaries: Option<u8>,
    /// Whether stand-ins may take the places of replicas that cannot be reached.
    pub sloppy: Option<bool>,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Read a key.
    Get {
        /// The key.
        key: Key,
        /// Quorum and timeout.
        wish: Wish,
    },
    /// Write or delete a key.
    Put {
        /// What to write.
        change: Change,
        /// Quorum and timeout.
        wish: Wish,
    },
    /// List keys that hold a value, in the stable order of (partition, key).
    List {
        /// Begin after this key; None for the first page.
        after: Option<Key>,
        /// At most so many keys, and at most [`Limits::list_page`](crate::config::Limits::list_page).
        limit: u32,
        /// Timeout; a listing has no quorum.
        wish: Wish,
    },
    /// An operator's call about the cluster.
    Cluster {
        /// What.
        call: ClusterCall,
        /// Timeout.
        wish: Wish,
    },
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterCall {
    /// Add a change to those that are to make the next layout; it takes the place of an earlier one of the same node.
    Stage(LayoutChange),
    /// Forget what is staged.
    Unstage,
    /// What would the next layout be?
    Plan,
    /// Have the staged changes decided upon.
    Apply {
        /// The epoch of the layout that is thought to be the newest.
        epoch: u64,
        /// The hash of the layout that was planned.
        hash: u64,
    },
    /// Begin a round of anti-entropy with every peer now.
    Repair,
}

/// What an operator is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterReply {
    /// What is staged now.
    Staged {
        /// In order.
        changes: Vec<LayoutChange>,
    },
    /// What the next layout would be.
    Planned(Plan),
    /// The layout is decided, and on this node's disk. Nodes follow it from now on.
    Applied {
        /// Its epoch.
        epoch: u64,
        /// Its hash.
        hash: u64,
    },
    /// Rounds of anti-entropy have begun.
    Repairing,
}

/// What the next layout would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The epoch of the layout that is the newest now.
    pub epoch: u64,
    /// The hash of the layout to come, to be given when it is applied.
    pub hash: u64,
    /// What it means for each node.
    pub moves: Vec<Moves>,
    /// The layout to come.
    pub layout: Layout,
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What the key holds: no sibling, one, or several concurrent ones.
    Got {
        /// In the order of their dots.
        siblings: Vec<Sibling>,
        /// What the client has seen now; to be sent with its next write.
        seen: Context,
    },
    /// The write is on as many disks as asked for.
    Stored {
        /// What the client has seen now: what it had seen before, and this write.
        seen: Context,
    },
    /// A page of keys.
    Listed {
        /// In order.
        keys: Vec<Key>,
        /// Whether more follow the last one.
        more: bool,
    },
    /// An operator's call is done.
    Cluster(Box<ClusterReply>),
    /// The call failed.
    Failed(Failure),
}
