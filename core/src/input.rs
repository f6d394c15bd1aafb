//! Everything that can happen to a node.

use core::time::Duration;

use alloc::vec::Vec;

use crate::causal::Context;
use crate::effect::{ReadDone, ScanDone, WriteDone};
use crate::id::{CallId, Life, NodeId};
use crate::key::Key;
use crate::kind::Sibling;
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
    /// The call failed.
    Failed(Failure),
}
