//! What every machine is lent while it handles something: the time, the configuration, the shared state, the way out.
//!
//! Machines do not know each other. What one wants of another it pushes as a [`Step`]; `node` takes the steps off
//! and passes them on until none is left.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use rand_xoshiro::Xoshiro256PlusPlus;

use crate::causal::{Clock, Context, Dot};
use crate::config::Config;
use crate::effect::{Class, Effect, Effects, Read, Scan, Ticket, Write};
use crate::hints::{HintWork, StandIns};
use crate::hlc::HlcSource;
use crate::id::{CallId, Life, NodeId, OpId};
use crate::input::Reply;
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::layout::active::Layouts;
use crate::message::{Change, Failure, Message, Refusal};
use crate::note::Note;
use crate::plant::Plants;
use crate::replica::Replica;
use crate::stats::Stats;
use crate::stored::{self, Row, RowKey};
use crate::time::Now;
use crate::timers::Timers;

/// One access to a key, to be given to the slots.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) enum Task {
    /// What does the key hold?
    Load,
    /// Mint a dot for this change and write it.
    Mint(Change),
    /// Join an object in; `dots` are those whose effect it is known to include, for the clock to take up.
    Join { object: Object, dots: Vec<Dot>, why: Join },
    /// Strip what is at rest, if the clock has risen since it was written.
    Strip,
    /// Write the join of what others hold over a damaged row. `clock` is what they have seen. When all others that hold the
    /// key are among them, `had` is what this node had seen when it asked them: whatever of that they do not have is lost. A
    /// row that turns out to be good is joined with it.
    Mend { object: Object, clock: Clock, had: Option<Clock> },
}

/// Why an object is joined in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// A coordinator's delta, or what anti-entropy found missing.
    Delta,
    /// Read repair: nothing is claimed with it but what is visible.
    Repair,
    /// What others hold, for a row that was damaged: nothing is claimed with it but what is visible.
    Mend,
    /// A page of a whole partition: once all have come, the clock will claim everything that the giver had seen.
    Whole,
}

/// What came of an access.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) enum Answer {
    /// What the key holds, with everything that the clock implies.
    Loaded(Object),
    /// The change is on disk. `shown` is what its writer has seen now.
    Minted { dot: Dot, delta: Object, shown: Context },
    /// The join is on disk.
    Joined,
    /// Nothing was changed.
    Refused(Refusal),
}

/// Who waits for an access.
#[derive(Clone, Debug)]
pub(crate) enum Waiter {
    /// A read of this node's.
    Get(u64),
    /// A write that this node coordinates.
    Put(u64),
    /// A peer's read.
    Fetch { to: NodeId, op: OpId },
    /// A peer's write.
    Store { to: NodeId, op: OpId },
    /// A hint that this node hands over to itself.
    Hint(u64),
    /// Objects being gathered for a peer.
    Gather { to: NodeId, n: u64, key: Key },
    /// Objects received from a peer.
    Walk { peer: NodeId, n: u64 },
    /// A damaged row of this node's.
    Mend(u64),
    /// A damaged row of this node's, which wants to know which hints this node keeps.
    MendHints(u64),
    /// A peer's damaged row: what had been seen here before the key was read, and whether this replica was complete.
    Salvage { to: NodeId, op: OpId, key: Key, clock: Box<Clock>, complete: bool },
    /// Nobody: a repair or a strip.
    Nobody,
}

/// Whom a machine's work is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// A client of this node.
    Client(CallId),
    /// Another node, in the name of a client of its own.
    Peer { node: NodeId, op: OpId },
}

/// Whose a storage ticket is.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) enum Owner {
    /// A key's slot, reading or writing.
    Slot(Key),
    /// A partition's checkpoint, with what it absorbs and the walk that waits for it.
    Checkpoint(Box<CheckpointWrite>),
    /// A listing's page.
    List(u64),
    /// Keys of a page to gather for a peer, or objects to be compared with its own.
    Gather { to: NodeId, n: u64 },
    /// This node's own objects of a partition, to be compared with a peer's.
    Walk { peer: NodeId, n: u64 },
    /// A page of objects at rest.
    Sweep,
    /// A page of objects at rest, to be verified.
    Patrol,
    /// A page of a partition with values that have expired.
    Expiry(Partition),
    /// The gaps of ended lives, by partition.
    Closing(Vec<(Partition, Clock)>),
    /// The record of this node's membership.
    Record,
    /// A partition that is being dropped.
    Retire(Partition),
    /// Hints: what is kept for others.
    Hints(Box<HintWork>),
}

/// A checkpoint on its way to disk.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct CheckpointWrite {
    pub(crate) partition: Partition,
    pub(crate) absorbed: Option<Clock>,
    /// Whether all of `absorbed` came as objects, without log rows.
    pub(crate) whole: bool,
    pub(crate) complete: bool,
    /// Whom the replica has caught up with once this is on disk, and whether that one was complete.
    pub(crate) caught: Option<(NodeId, bool)>,
    pub(crate) walk: Option<(NodeId, u64)>,
}

impl CheckpointWrite {
    /// One that takes nothing over.
    pub(crate) const fn nothing(partition: Partition) -> Self {
        Self { partition, absorbed: None, whole: false, complete: false, caught: None, walk: None }
    }
}

/// Something that one machine wants of another.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) enum Step {
    /// An access to a key.
    Access { key: Key, waiter: Waiter, task: Task },
    /// What came of one.
    Done { waiter: Waiter, answer: Answer },
    /// A peer let a request of ours run into its timeout.
    Silent(NodeId),
    /// Other layouts are in force, and on disk.
    Relayout,
    /// An operator wants anti-entropy to begin now.
    RepairNow,
    /// A partition may have more keys to strip than it remembers.
    Sweep,
    /// The row of this key is not what was written, or could not be read.
    Damaged(Key),
    /// These siblings of the key have expired: they are to be deleted everywhere.
    Expire { key: Key, seen: Context },
    /// Which hints does this node keep for a key?
    FetchHints { key: Key, waiter: Waiter },
    /// A write that no replica can be reached for: this node is to mint its dot and keep it for all of them.
    StandIn { change: Change, waiter: Waiter },
}

/// State that machines share.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Shared {
    pub(crate) replicas: BTreeMap<Partition, Replica>,
    /// Dots that this life has minted in partitions that it has given up since: they must never be minted again.
    pub(crate) minted: BTreeMap<Partition, u64>,
    /// Partitions in which this life is minting a dot as a stand-in; it takes the number back if the disk refuses.
    pub(crate) minting: BTreeSet<Partition>,
    /// Who stands in for whom.
    pub(crate) stand_ins: StandIns,
    /// Whether something has happened that may bring this node further in following a change of layout.
    pub(crate) is_following: bool,
    pub(crate) timers: Timers,
    pub(crate) owners: BTreeMap<u64, Owner>,
    pub(crate) steps: VecDeque<Step>,
    pub(crate) hlc: HlcSource,
    pub(crate) rng: Xoshiro256PlusPlus,
    pub(crate) stats: Stats,
    /// Lives of this node, over this store, that have ended.
    pub(crate) ended: Vec<Life>,
    /// Whether this life stands among the stored ones. Until it does, every write that mints carries its row.
    pub(crate) life_stored: bool,
    /// Whether what ended lives left open is closed on disk. Before, nothing is taken over from other nodes.
    pub(crate) is_open: bool,
    pub(crate) last_op: u64,
    pub(crate) last_ticket: u64,
    pub(crate) plants: Plants,
    #[cfg(feature = "simulation")]
    pub(crate) moments: crate::moment::Moments,
}

/// What a machine is lent.
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a Config,
    pub(crate) layout: &'a Layouts,
    pub(crate) life: Life,
    pub(crate) shared: &'a mut Shared,
    pub(crate) fx: &'a mut Effects,
}

impl Cx<'_> {
    pub(crate) fn me(&self) -> NodeId {
        self.config.node
    }

    /// A number for a new request.
    pub(crate) fn next_op(&mut self) -> u64 {
        self.shared.last_op += 1;
        self.shared.last_op
    }

    /// The request that this node calls `n`.
    pub(crate) fn op(&self, n: u64) -> OpId {
        OpId { origin: self.life, n }
    }

    /// Whether a reply is to a request of this life. Numbers begin again with every life.
    pub(crate) fn has_asked(&mut self, op: OpId) -> bool {
        sometimes!(self.shared.moments, LateReply, op.origin != self.life);
        op.origin == self.life || planted!(self.shared.plants, LateReplyAccepted)
    }

    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        debug_assert_ne!(to, self.me(), "a node never writes to itself");
        self.fx.push(Effect::Send { to, view: self.layout.view(), message });
    }

    pub(crate) fn reply(&mut self, id: CallId, reply: Reply) {
        if let Reply::Failed(failure) = &reply {
            self.shared.stats.failed += 1;
            self.shared.stats.timeouts += u64::from(matches!(failure, Failure::Timeout { .. }));
        }
        self.fx.push(Effect::Reply { id, reply });
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.fx.push(Effect::Note(note));
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.shared.steps.push_back(step);
    }

    pub(crate) fn access(&mut self, key: Key, waiter: Waiter, task: Task) {
        self.step(Step::Access { key, waiter, task });
    }

    pub(crate) fn done(&mut self, waiter: Waiter, answer: Answer) {
        self.step(Step::Done { waiter, answer });
    }

    /// A random number below `end`, 0 when that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        use rand::RngExt as _;
        self.shared.rng.random_range(0..end.max(1))
    }

    /// A random span below `max`.
    pub(crate) fn jitter(&mut self, max: Duration) -> Duration {
        Duration::from_nanos(self.below(u64::try_from(max.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub(crate) fn replica(&mut self, partition: Partition) -> Option<&mut Replica> {
        self.shared.replicas.get_mut(&partition)
    }

    /// The object in a row that a scan has read; None when it cannot be told, which is not "absent".
    pub(crate) fn object_in(&self, row: &Row) -> Option<Object> {
        let (partition, _) = stored::key_of(&row.key)?;
        let actors = &self.shared.replicas.get(&partition)?.actors;
        stored::read_object(&row.key, row.value.as_ref()?, actors).ok()
    }

    fn ticket(&mut self, owner: Owner) -> Ticket {
        self.shared.last_ticket += 1;
        let n = self.shared.last_ticket;
        self.shared.owners.insert(n, owner);
        Ticket { life: self.life, n }
    }

    pub(crate) fn read(&mut self, owner: Owner, key: RowKey) {
        let ticket = self.ticket(owner);
        self.fx.push(Effect::Read(Read { ticket, key }));
    }

    pub(crate) fn write(&mut self, owner: Owner, class: Class, rows: Vec<Row>) {
        debug_assert!(!rows.is_empty(), "a write without rows");
        let ticket = self.ticket(owner);
        self.shared.stats.writes += 1;
        self.fx.push(Effect::Write(Write { ticket, class, rows }));
    }

    pub(crate) fn scan(
        &mut self,
        owner: Owner,
        (after, before): (RowKey, RowKey),
        rows_max: usize,
        bytes_max: usize,
    ) {
        let ticket = self.ticket(owner);
        self.fx.push(Effect::Scan(Scan { ticket, after, before, rows_max, bytes_max }));
    }

    /// Something has come that an ended life of this node wrote to `partition` and this node's store does not have: the
    /// store has gone back to an earlier state. What it has is good, but "not here any more" must not read as "deleted".
    ///
    /// That goes on record before anything that comes from others can land: once they have given back what was missing
    /// of those lives, nothing would show any more what else was lost.
    pub(crate) fn went_back(&mut self, partition: Partition) {
        let is_alone = self.layout.holders(partition).len() <= 1;
        let Some(replica) = self.shared.replicas.get_mut(&partition) else { return };
        if !replica.complete || is_alone {
            return;
        }
        replica.lapse();
        sometimes!(self.shared.moments, WentBack);
        self.note(Note::WentBack { partition });
        self.checkpoint(Class::Synced, CheckpointWrite::nothing(partition));
    }

    /// Cuts the log of `partition` if it has become too long, however seldom its peers are met.
    pub(crate) fn cut_log(&mut self, partition: Partition) {
        let Some(replica) = self.shared.replicas.get(&partition) else { return };
        if !replica.is_log_long(self.config.log_rows_max) {
            return;
        }
        let class = if replica.lapsed { Class::Synced } else { Class::Lazy };
        let complete = replica.complete;
        self.checkpoint(class, CheckpointWrite { complete, ..CheckpointWrite::nothing(partition) });
    }

    /// Writes a partition's checkpoint with whatever log rows it makes superfluous. False when there is nothing to
    /// write, or when one is on its way already: then nothing was done, and whoever insists tries again.
    pub(crate) fn checkpoint(&mut self, class: Class, write: CheckpointWrite) -> bool {
        const DROPPED_MAX: usize = 1_000;
        let me = self.me();
        let layout = self.layout;
        let Some(replica) = self.shared.replicas.get_mut(&write.partition) else {
            return false;
        };
        if replica.checkpointing && !planted!(self.shared.plants, CheckpointOvertaken) {
            return false;
        }
        if !self.shared.is_open {
            // The gaps of ended lives are being closed, or will be again: that writes a checkpoint without asking.
            return false;
        }
        let has_caught = write.caught.is_some() && !replica.complete;
        if replica.log_len() == 0 && write.absorbed.is_none() && !has_caught && !replica.lapsed {
            return false;
        }
        let peers: Vec<NodeId> =
            layout.holders(write.partition).iter().copied().filter(|&node| node != me).collect();
        let (mut dropped, mut floor) = replica.droppable(&peers, DROPPED_MAX);
        if replica.is_log_long(self.config.log_rows_max) {
            let keeps = planted!(self.shared.plants, LogCutKeepsFloor).then(|| floor.clone());
            let cut = replica.excess(&dropped, self.config.log_rows_max, &mut floor);
            floor = keeps.unwrap_or(floor);
            sometimes!(self.shared.moments, LogCut, !cut.is_empty());
            self.shared.stats.log_cut += cut.len() as u64;
            dropped.extend(cut);
        }
        let caught = write.caught.filter(|&caught| !replica.complete && replica.is_news(caught));
        if dropped.is_empty() && write.absorbed.is_none() && caught.is_none() && !replica.lapsed {
            return false;
        }
        replica.checkpointing = true;
        replica.lapsed = false;
        replica.claiming.clone_from(&write.absorbed);
        let stays = planted!(self.shared.plants, FloorForgotten);
        replica.drop_log(&dropped, if stays { replica.checkpoint(None, false).floor } else { floor });
        let mut checkpoint = replica.checkpoint(write.absorbed.as_ref(), write.whole);
        checkpoint.complete = write.complete;
        let mut rows: Vec<Row> = Vec::with_capacity(dropped.len() + 1);
        rows.push(stored::checkpoint_row(write.partition, &checkpoint));
        rows.extend(dropped.iter().map(|&dot| stored::log_removal(write.partition, dot)));
        let is_recorded = self.shared.life_stored || planted!(self.shared.plants, LifeUnrecorded);
        if write.absorbed.is_some() && !is_recorded {
            // It may hold burnt dots of this life: the next one must know whose gaps to close.
            rows.push(stored::life_row(self.life, false));
        }
        if planted!(self.shared.plants, ClockAheadOfDisk)
            && let Some(absorbed) = &write.absorbed
        {
            replica.absorbed(absorbed, write.whole);
        }
        sometimes!(self.shared.moments, LogDropped, !dropped.is_empty());
        self.shared.stats.log_dropped += dropped.len() as u64;
        self.write(Owner::Checkpoint(Box::new(write)), class, rows);
        true
    }
}
