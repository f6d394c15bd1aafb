//! Everything that a node can want done, and the tickets that come back when it is.
//!
//! Storage works by tickets. The node emits a [`Read`], [`Write`] or [`Scan`]; the driver takes it apart, does the
//! work, and turns the acknowledgement into the one input that completes it. Only the core makes tickets, and using
//! one up consumes it, so that a doubled or forged completion does not compile.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{CallId, Life, NodeId};
use crate::input::{Input, Reply};
use crate::layout::Member;
use crate::layout::active::View;
use crate::message::Message;
use crate::note::Note;
use crate::stored::{Row, RowKey};

/// One thing to do. Effects are independent, none waits for another; but writes land in the order in which they were
/// emitted: a crash may take the last ones that were not synced, never one from the middle.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub enum Effect {
    /// Send a message; it may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// The layouts that this node works with.
        view: View,
        /// What.
        message: Message,
    },
    /// Answer a client's call.
    Reply {
        /// Which.
        id: CallId,
        /// With what.
        reply: Reply,
    },
    /// Read a row.
    Read(Read),
    /// Write rows, all or none.
    Write(Write),
    /// Read a range of rows.
    Scan(Scan),
    /// These are the nodes to be connected with, this one left out; told whenever that changes.
    Members(Vec<Member>),
    /// Something worth telling an operator.
    Note(Note),
}

/// The buffer that a node appends its effects to. The driver owns and reuses it.
pub type Effects = Vec<Effect>;

/// What makes a ticket one of a kind: the node's life, and a number in it.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Ticket {
    pub(crate) life: Life,
    pub(crate) n: u64,
}

/// Read one row.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct Read {
    pub(crate) ticket: Ticket,
    pub(crate) key: RowKey,
}

impl Read {
    /// The row to read, and the acknowledgement to give back.
    #[must_use]
    pub fn into_parts(self) -> (RowKey, ReadAck) {
        (self.key, ReadAck(self.ticket))
    }

    /// The row to read.
    #[must_use]
    pub const fn key(&self) -> &RowKey {
        &self.key
    }
}

/// Owed for a [`Read`].
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct ReadAck(Ticket);

impl ReadAck {
    /// The row's bytes, or None when there is no such row.
    #[must_use]
    pub fn done(self, row: Option<Bytes>) -> Input {
        Input::Read(ReadDone { ticket: self.0, outcome: Ok(row) })
    }

    /// The row could not be read. It counts as damaged, never as absent.
    #[must_use]
    pub fn failed(self, reason: String) -> Input {
        Input::Read(ReadDone { ticket: self.0, outcome: Err(reason) })
    }
}

/// A [`Read`]'s completion.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct ReadDone {
    pub(crate) ticket: Ticket,
    pub(crate) outcome: Result<Option<Bytes>, String>,
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Once it would survive a crash of the machine.
    Synced,
    /// At once: bookkeeping that may be lost. Lost or not, it is all of it or nothing.
    Lazy,
}

/// Write rows: all of them land, or none.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct Write {
    pub(crate) ticket: Ticket,
    pub(crate) class: Class,
    pub(crate) rows: Vec<Row>,
}

impl Write {
    /// The rows to write, and the acknowledgement to give back.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Row>, WriteAck) {
        (self.rows, WriteAck(self.ticket))
    }

    /// When the write counts as done.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// The rows to write.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

/// Owed for a [`Write`].
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct WriteAck(Ticket);

impl WriteAck {
    /// The rows are where their class wants them.
    #[must_use]
    pub fn done(self) -> Input {
        Input::Write(WriteDone { ticket: self.0, outcome: Ok(()) })
    }

    /// None of the rows landed, and none will.
    #[must_use]
    pub fn failed(self, reason: String) -> Input {
        Input::Write(WriteDone { ticket: self.0, outcome: Err(reason) })
    }
}

/// A [`Write`]'s completion.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct WriteDone {
    pub(crate) ticket: Ticket,
    pub(crate) outcome: Result<(), String>,
}

/// Read a page of rows in key order: those with `after < key < before`. The page is one consistent moment.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct Scan {
    pub(crate) ticket: Ticket,
    pub(crate) after: RowKey,
    pub(crate) before: RowKey,
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
}

impl Scan {
    /// The acknowledgement to give back; read the bounds first.
    #[must_use]
    pub fn into_ack(self) -> ScanAck {
        ScanAck(self.ticket)
    }

    /// Rows up to and with this key are left out.
    #[must_use]
    pub const fn after(&self) -> &RowKey {
        &self.after
    }

    /// Rows from this key on are left out.
    #[must_use]
    pub const fn before(&self) -> &RowKey {
        &self.before
    }

    /// At most so many rows.
    #[must_use]
    pub const fn rows_max(&self) -> usize {
        self.rows_max
    }

    /// No further row once the page holds so many bytes.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

/// Owed for a [`Scan`].
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct ScanAck(Ticket);

impl ScanAck {
    /// The rows found, in key order, and whether the range holds more.
    #[must_use]
    pub fn done(self, rows: Vec<Row>, more: bool) -> Input {
        Input::Scan(ScanDone { ticket: self.0, outcome: Ok((rows, more)) })
    }

    /// The range could not be read.
    #[must_use]
    pub fn failed(self, reason: String) -> Input {
        Input::Scan(ScanDone { ticket: self.0, outcome: Err(reason) })
    }
}

/// A [`Scan`]'s completion.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct ScanDone {
    pub(crate) ticket: Ticket,
    pub(crate) outcome: Result<(Vec<Row>, bool), String>,
}
