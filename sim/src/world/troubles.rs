//! What is wrong with a node and its disk, by faults; the part that both worlds share.
//!
//! A fault that begins or ends changes numbers here, and says what its world has to do about it beside that. Counts
//! and sums rather than flags, since faults of one kind may overlap.

use crate::disk::Disk;
use crate::moment::{Moment, Moments};
use crate::rng::Rng;
use crate::scenario::{Fault, Kind};

/// What a world does when a fault begins on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Nothing more.
    Noted,
    /// The node crashes.
    Crash,
    /// The node stops in good order.
    Stop,
    /// The node is paused.
    Pause,
    /// The node becomes slow.
    Slow,
}

/// What a world does when a fault is over on a node.
#[derive(Clone, Debug)]
pub(crate) enum Over {
    /// Nothing more.
    Noted,
    /// One reason less for the node to be down.
    Restart,
    /// The node is down for this; its disk is replaced, and it may start.
    Replace(Disk, Moment),
    /// The node crashes, its disk is replaced, and it may start.
    CrashAndReplace(Disk, Moment),
    /// The node is no longer paused.
    Resume,
    /// The node is no longer slow, as far as this fault goes.
    Fast,
    /// The disk is honest again, and what it claimed is to be synced.
    Honest,
}

/// What is wrong with a node.
#[derive(Clone, Default)]
pub(crate) struct Troubles {
    /// What is added to the wall clock.
    pub(crate) wall_ns: i64,
    /// What an input costs.
    pub(crate) cost_ns: u64,
    /// By how much everything that the disk does is slower, at most.
    pub(crate) slow_disk_ns: u64,
    /// Until when the disk finishes nothing.
    pub(crate) stall_ns: u64,
    /// For how many faults the disk refuses writes.
    pub(crate) full: u32,
    /// For how many faults the disk lies about syncs.
    pub(crate) lies: u32,
    /// Reads that fail, of a thousand.
    pub(crate) read_errors: u32,
    /// The fault by which the next sync fails, or stops the node when it is done.
    pub(crate) sync_failure: Option<usize>,
    /// Whether rows on its disk may not be what was written.
    pub(crate) is_damaged: bool,
    /// Whether objects on its disk may not be what was written, and everything else is.
    pub(crate) is_rotten: bool,
    phantom: u32,
    misdirection: u32,
    /// Disks as they were, by fault.
    snapshots: Vec<(usize, Disk)>,
}

/// How a disk takes a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// As it should.
    Well,
    /// It refuses.
    Not,
    /// It says that it has, and has not.
    Phantom,
    /// It puts a row in another's place.
    Misdirected,
}

impl Troubles {
    /// A fault begins on the node.
    pub(crate) fn begin(
        &mut self,
        now_ns: u64,
        place: usize,
        fault: &Fault,
        disk: &mut Disk,
        rng: &mut Rng,
        moments: &mut Moments,
    ) -> Begun {
        let permille = u32::try_from(fault.amount).unwrap_or(1_000);
        match fault.kind {
            Kind::Crash | Kind::Wipe | Kind::Remove | Kind::Replace => return Begun::Crash,
            Kind::Stop | Kind::Upgrade => return Begun::Stop,
            Kind::Pause => return Begun::Pause,
            Kind::Sluggish => {
                self.cost_ns += fault.amount;
                return Begun::Slow;
            }
            Kind::WallAhead => self.wall_ns = self.wall_ns.saturating_add_unsigned(fault.amount),
            Kind::WallBehind => {
                self.wall_ns = self.wall_ns.saturating_sub_unsigned(fault.amount);
                moments.meet(Moment::WallWentBack);
            }
            Kind::SlowDisk => self.slow_disk_ns += fault.amount,
            Kind::Stall => self.stall_ns = self.stall_ns.max(now_ns + fault.lasts_ns),
            Kind::Full => self.full += 1,
            Kind::ReadErrors => self.read_errors += permille,
            Kind::SyncFailure | Kind::AmbushSync => self.sync_failure = Some(place),
            Kind::Rollback => self.snapshots.push((place, disk.snapshot())),
            Kind::Lie => {
                self.lies += 1;
                disk.set_lying(true);
            }
            Kind::Rot => {
                self.is_damaged = true;
                if disk.rot(fault.amount, rng) > 0 {
                    moments.meet(Moment::Rotted);
                }
            }
            Kind::Bitrot => {
                self.is_rotten = true;
                if disk.rot_objects(fault.amount, rng) > 0 {
                    moments.meet(Moment::ObjectsRotted);
                }
            }
            Kind::Phantom => {
                self.is_damaged = true;
                self.phantom += permille;
            }
            Kind::Misdirection => {
                self.is_damaged = true;
                self.misdirection += permille;
            }
            _ => {}
        }
        Begun::Noted
    }

    /// A fault is over on the node.
    pub(crate) fn end(&mut self, place: usize, fault: &Fault, disk: &mut Disk) -> Over {
        let permille = u32::try_from(fault.amount).unwrap_or(1_000);
        match fault.kind {
            Kind::Crash
            | Kind::Stop
            | Kind::Upgrade
            | Kind::AmbushRead
            | Kind::AmbushWrite
            | Kind::Remove
            | Kind::Replace => {
                return Over::Restart;
            }
            Kind::Wipe => return Over::Replace(Disk::default(), Moment::Wiped),
            Kind::Pause => return Over::Resume,
            Kind::Sluggish => {
                self.cost_ns -= fault.amount;
                return Over::Fast;
            }
            Kind::WallAhead => self.wall_ns = self.wall_ns.saturating_sub_unsigned(fault.amount),
            Kind::WallBehind => self.wall_ns = self.wall_ns.saturating_add_unsigned(fault.amount),
            Kind::SlowDisk => self.slow_disk_ns -= fault.amount,
            Kind::Full => self.full -= 1,
            Kind::ReadErrors => self.read_errors -= permille,
            Kind::Rollback => {
                if let Some(at) = self.snapshots.iter().position(|(of, _)| *of == place) {
                    let (_, snapshot) = self.snapshots.swap_remove(at);
                    return Over::CrashAndReplace(snapshot, Moment::WentBack);
                }
            }
            Kind::Lie => {
                self.lies -= 1;
                if self.lies == 0 {
                    disk.set_lying(false);
                    return Over::Honest;
                }
            }
            Kind::Rot | Kind::Phantom | Kind::Misdirection => {
                match fault.kind {
                    Kind::Phantom => self.phantom -= permille,
                    Kind::Misdirection => self.misdirection -= permille,
                    _ => {}
                }
                self.is_damaged = self.phantom + self.misdirection > 0;
                return Over::CrashAndReplace(Disk::default(), Moment::Wiped);
            }
            _ => {}
        }
        Over::Noted
    }

    /// How the disk takes a batch that is written now.
    pub(crate) fn takes(&self, rng: &mut Rng) -> Takes {
        if self.full > 0 {
            Takes::Not
        } else if self.phantom > 0 && rng.chance(self.phantom) {
            Takes::Phantom
        } else if self.misdirection > 0 && rng.chance(self.misdirection) {
            Takes::Misdirected
        } else {
            Takes::Well
        }
    }

    /// By how much longer than usual the disk takes over something that begins now.
    pub(crate) fn disk_extra(&self, rng: &mut Rng) -> u64 {
        if self.slow_disk_ns == 0 { 0 } else { rng.between(0, self.slow_disk_ns) }
    }

    /// Whether a read that begins now fails.
    pub(crate) fn read_fails(&self, rng: &mut Rng) -> bool {
        self.read_errors > 0 && rng.chance(self.read_errors)
    }
}
