//! What was to expire does, everywhere and for ever, and not before its time.
//!
//! A value's time begins when its coordinator mints its dot: after its client called, and before it was told of it. Which
//! node that was, nobody here knows, so all wall clocks count, with all that was done to them ([`Walls`]). From the first moment
//! at which any clock may call it over, the value may be missing; the other rules are told so, and to them expiry is a
//! delete that has seen this one write. By a clock that calls it over whatever clock had dated it, no read is shown it.
//! When all clocks do, it must go from every disk, with every trace of it, or the world never comes to rest.
//! A node that knows only the oldest frames drops the time of what it hands on, so where there are such nodes values may stay.

use godown_core::key::Partition;
use godown_core::layout::Layout;

use super::{Check, Failure};
use crate::disk::Disk;
use crate::moment::{Moment, Moments};
use crate::record::{Act, End, Op, Record};
use crate::scenario::{Fault, Kind, MS, SECOND, Scenario, plan, span};
use crate::walls::Walls;
use crate::workload::identity;

/// A write whose client does not know what came of it may still happen so long after all faults are over.
const LATE_MAX: u64 = 30 * SECOND;

/// A write that expires.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Its place in the record.
    pub op: usize,
    /// From this moment on it may be gone.
    pub early_ns: u64,
    /// A clock that says so much says that its time is over.
    pub late_wall_ns: u64,
    /// Whether its client was told that it happened: then it began before.
    pub is_sure: bool,
}

/// Every write that may expire, in the order of the record.
#[must_use]
pub fn dues(scenario: &Scenario, record: &Record) -> Vec<Due> {
    if !scenario.expires() {
        return Vec::new();
    }
    let walls = Walls::new(scenario, record);
    let late_ns = record.begun_ns() + scenario.length_ns + LATE_MAX;
    let due = |(op, write): (usize, &Op)| {
        // A millisecond at least. A write that is forwarded carries whole ones: what is left of one counts as one there.
        let ttl_ns = write.ttl_ns?.max(MS);
        let forwarded_ns = ttl_ns.div_ceil(MS) * MS;
        let over = |wall_ns: u64, ttl_ns: u64| (wall_ns + ttl_ns).div_ceil(MS) * MS;
        let is_sure = match write.end {
            End::Fail(_) => return None,
            End::Ok => true,
            End::Open | End::Unknown(_) => false,
        };
        let until_ns = if is_sure { write.ended_ns } else { late_ns.max(write.at_ns) };
        let early_wall_ns = over(walls.least(write.at_ns, until_ns), ttl_ns);
        let late_wall_ns = over(walls.greatest(write.at_ns, until_ns), forwarded_ns);
        Some(Due { op, early_ns: walls.first(early_wall_ns, write.at_ns), late_wall_ns, is_sure })
    };
    record.ops().iter().enumerate().filter_map(due).collect()
}

/// From when on each of these operations may be gone because it expired; `u64::MAX` for those that never are.
#[must_use]
pub fn early(dues: &[Due], record: &Record, changes: &[&Op]) -> Vec<u64> {
    let early = |change: &&Op| {
        let due = dues.iter().find(|due| record.ops()[due.op].id == change.id);
        due.map_or(u64::MAX, |due| due.early_ns)
    };
    changes.iter().map(early).collect()
}

/// The moment from which on all that was to expire has, by every clock; 0 where nothing was.
#[must_use]
pub fn over_ns(scenario: &Scenario, record: &Record) -> u64 {
    let latest = dues(scenario, record).iter().map(|due| due.late_wall_ns).max();
    latest.map_or(0, |wall_ns| Walls::new(scenario, record).settled(wall_ns))
}

/// Whether nodes may have lost the time of what was to expire.
fn is_lax(scenario: &Scenario) -> bool {
    scenario.outdated > 0
}

/// Judges every read of a run.
#[must_use]
pub fn check(scenario: &Scenario, record: &Record) -> Option<Failure> {
    let mut dues = dues(scenario, record);
    dues.retain(|due| due.is_sure);
    if dues.is_empty() || is_lax(scenario) {
        return None;
    }
    let walls = Walls::new(scenario, record);
    let reads = record.ops().iter().enumerate().filter(|(_, op)| op.act == Act::Read && op.end == End::Ok);
    for (place, read) in reads {
        let wall_ns = walls.of(read.node, read.ended_ns);
        let is_over =
            |due: &&Due| due.late_wall_ns <= wall_ns && read.shown.contains(&record.ops()[due.op].id);
        if let Some(due) = dues.iter().find(is_over) {
            let says = format!(
                "process {} read {} and n{} showed it {} at {}, whose time was over by {}",
                read.process,
                record.key_name(read.key),
                read.node + 1,
                record.ops()[due.op].id,
                span(read.ended_ns),
                span(wall_ns - due.late_wall_ns),
            );
            let failure = Failure::new(Check::Expired, says).on(&[read.node]);
            return Some(failure.about(record.keys()[read.key], vec![due.op, place]));
        }
    }
    None
}

/// What is still on a disk of what was to expire, or is left of it; None when all of that has gone.
#[must_use]
pub fn remains(scenario: &Scenario, record: &Record, layout: &Layout, disks: &[&Disk]) -> Option<Failure> {
    if !scenario.expires() || is_lax(scenario) {
        return None;
    }
    // Where disks are lost a gap may keep remnants at rest, and without anti-entropy clocks do not rise.
    let leaves_nothing = scenario.losers().is_empty() && !scenario.leaves_repair_to_reads();
    let of = |id: u64| record.ops().iter().position(|op| op.id == id && op.ttl_ns.is_some());
    let last = layout.partitions().next_back()?;
    for (node, disk) in disks.iter().enumerate() {
        for (_, key, object) in disk.objects().between(Partition(0), last) {
            let Ok(object) = object else { continue };
            let number = plan::key(&key.to_string()).ok();
            let failure = |says: String, ops: Vec<usize>| {
                let failure = Failure::new(Check::Expired, says).on(&[node]);
                Some(Failure { key: number, ops, ..failure })
            };
            for id in object.siblings().map(|sibling| identity(&sibling.value)) {
                if let Some(op) = of(id) {
                    let says = format!("n{} holds {id} of {key}, which was to expire", node + 1);
                    return failure(says, vec![op]);
                }
            }
            if leaves_nothing && object.siblings().next().is_none() {
                let says = format!("n{} holds nothing for {key}, and a row that says so", node + 1);
                return failure(says, Vec::new());
            }
        }
    }
    None
}

/// What came together with the end of a value's time.
pub fn meet(scenario: &Scenario, record: &Record, end_ns: u64, moments: &mut Moments) {
    let dues = dues(scenario, record);
    if dues.is_empty() {
        return;
    }
    let walls = Walls::new(scenario, record);
    for due in dues.iter().filter(|due| due.is_sure && due.early_ns < end_ns) {
        let write = &record.ops()[due.op];
        let is_during = |fault: &Fault| {
            let from_ns = record.begun_ns() + fault.at_ns;
            (from_ns..from_ns + fault.lasts_ns).contains(&due.early_ns)
        };
        let during = |kinds: &[Kind]| {
            scenario.faults.iter().any(|fault| kinds.contains(&fault.kind) && is_during(fault))
        };
        if during(&[Kind::Partition, Kind::OneWay, Kind::Ring, Kind::Bridge]) {
            moments.meet(Moment::ExpiredApart);
        }
        if during(&[Kind::Crash, Kind::Stop, Kind::Upgrade, Kind::Wipe]) {
            moments.meet(Moment::ExpiredDown);
        }
        if walls.settled(due.late_wall_ns) > due.early_ns + SECOND {
            moments.meet(Moment::ExpiredInDoubt);
        }
        let replaces = |op: &&Op| op.end == End::Ok && op.seen.contains(&write.id);
        if record.ops().iter().filter(replaces).any(|op| op.ended_ns < due.early_ns) {
            moments.meet(Moment::ReplacedInTime);
        }
        let shows = |op: &Op| op.act == Act::Read && op.shown.contains(&write.id);
        let is_late = |op: &Op| op.ended_ns >= due.early_ns && shows(op);
        if record.ops().iter().any(is_late) {
            moments.meet(Moment::ShownWhileInDoubt);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godown_core::actors::Actors;
    use godown_core::causal::{Context, Dot};
    use godown_core::hlc::Hlc;
    use godown_core::id::{ClusterId, Life};
    use godown_core::kind::{Object, Sibling};
    use godown_core::layout::Member;
    use godown_core::stored;

    use super::*;
    use crate::record::Jump;
    use crate::scenario::{Clocks, Deed, Plan, Session, node_id};
    use crate::world::stepped::EPOCH;

    /// A write of 1 to the one key, by a client of three nodes whose clocks agree; it lasts from 10 to 20 ms, and 1 is kept
    /// for 50 ms.
    fn written(end: End) -> (Scenario, Record) {
        written_for(50 * MS, end)
    }

    fn written_for(ttl_ns: u64, end: End) -> (Scenario, Record) {
        let mut scenario = Scenario::plain();
        let plan = Plan { ttl_ns: Some(ttl_ns), ..Plan::new(MS, Deed::Write, 1) };
        scenario.sessions = vec![Session { node: 0, calls: vec![plan] }];
        let mut record = Record::new(vec![1]);
        let mut op = op(Act::Write, 10 * MS);
        op.id = record.next_id();
        op.ttl_ns = Some(ttl_ns);
        let write = record.invoke(op);
        record.complete(write, 20 * MS, end, Vec::new());
        (scenario, record)
    }

    fn op(act: Act, at_ns: u64) -> Op {
        Op {
            session: 0,
            process: 0,
            act,
            key: 0,
            node: 0,
            id: 0,
            seen: Vec::new(),
            quorum: 2,
            ttl_ns: None,
            at_ns,
            ended_ns: 0,
            invoked: 0,
            completed: 0,
            end: End::Open,
            shown: Vec::new(),
        }
    }

    /// Whether a read that n1 answers at this time may show 1.
    fn may_show(scenario: &Scenario, record: &Record, ended_ns: u64) -> bool {
        let mut record = record.clone();
        let read = record.invoke(op(Act::Read, ended_ns - MS));
        record.complete(read, ended_ns, End::Ok, vec![1]);
        check(scenario, &record).is_none()
    }

    #[test]
    fn a_value_may_go_from_its_earliest_end_on_and_must_not_be_shown_after_its_latest() {
        let (scenario, record) = written(End::Ok);
        let due = dues(&scenario, &record)[0];
        assert_eq!((due.early_ns, due.late_wall_ns), (60 * MS, EPOCH + 70 * MS));
        assert!(may_show(&scenario, &record, 70 * MS - 1) && !may_show(&scenario, &record, 70 * MS));
        assert_eq!(over_ns(&scenario, &record), 70 * MS);
    }

    #[test]
    fn a_part_of_a_millisecond_may_be_carried_as_a_whole_one_and_may_not() {
        let (scenario, mut record) = written_for(50 * MS + 1, End::Ok);
        let due = dues(&scenario, &record)[0];
        assert_eq!((due.early_ns, due.late_wall_ns), (61 * MS, EPOCH + 71 * MS));
        let mut op = record.ops()[0].clone();
        (op.at_ns, op.id, op.end) = (20 * MS + MS / 2, record.next_id(), End::Open);
        let write = record.invoke(op);
        record.complete(write, 20 * MS + MS / 2, End::Ok, Vec::new());
        let due = dues(&scenario, &record)[1];
        assert_eq!((due.early_ns, due.late_wall_ns), (71 * MS, EPOCH + 72 * MS), "at once, or forwarded");
    }

    #[test]
    fn a_clock_that_is_ahead_may_end_it_early_and_one_that_is_behind_shows_it_longer() {
        let (mut scenario, record) = written(End::Ok);
        scenario.clocks[2] = Clocks { ahead_ns: 30 * MS, drift_ppm: 0 };
        let due = dues(&scenario, &record)[0];
        assert_eq!(due.early_ns, 30 * MS, "dated by n1, and called over by n3");
        assert!(may_show(&scenario, &record, 99 * MS), "dated by n3, and shown by n1");
        assert!(!may_show(&scenario, &record, 100 * MS));
        let (scenario, mut record) = written(End::Ok);
        record.jumped(Jump { node: 0, at_ns: 50 * MS, off_ns: -1_000_000_000 });
        assert!(may_show(&scenario, &record, 900 * MS) && !may_show(&scenario, &record, 1_070 * MS));
        assert_eq!(over_ns(&scenario, &record), 1_070 * MS);
    }

    #[test]
    fn a_write_of_unknown_outcome_may_begin_late_and_a_refused_one_never_does() {
        let (scenario, record) = written(End::Unknown(None));
        assert_eq!(dues(&scenario, &record)[0].early_ns, 60 * MS);
        assert!(may_show(&scenario, &record, 10 * SECOND));
        let (scenario, record) = written(End::Fail(godown_core::message::Failure::KeyEmpty));
        assert!(dues(&scenario, &record).is_empty());
    }

    /// A disk with this object for the one key.
    fn disk(layout: &Layout, object: &Object) -> Disk {
        let key = Scenario::key(1);
        let partition = layout.partition(&key);
        let mut actors = Actors::new();
        let mut rows = vec![stored::object_row(partition, &key, Some(object), &mut actors)];
        rows.extend(stored::actor_rows(partition, &actors));
        let mut disk = Disk::default();
        disk.write(rows, None);
        disk
    }

    #[test]
    fn neither_a_value_that_was_to_expire_nor_an_empty_row_may_remain_on_a_disk() {
        let (scenario, record) = written(End::Ok);
        let members = (0..3).map(|place| Member::plain(node_id(place))).collect();
        let layout = Layout::first(ClusterId(7), members, scenario.partitions, 3).expect("a layout");
        let sibling = |value: &'static str| Sibling {
            value: Bytes::from_static(value.as_bytes()),
            content_type: Bytes::new(),
            at: Hlc(0),
            expires: 0,
        };
        let dot = Dot { actor: Life(1), n: 1 };
        let object = |value: Option<&'static str>| Object::delta(Context::new(), dot, value.map(sibling));
        let judge = |disk: &Disk| {
            let empty = Disk::default();
            remains(&scenario, &record, &layout, &[&empty, disk, &empty]).map(|failure| failure.says)
        };
        assert_eq!(judge(&Disk::default()), None);
        assert_eq!(judge(&disk(&layout, &object(Some("2")))), None, "that was not to expire");
        let says = judge(&disk(&layout, &object(Some("1")))).expect("it is there");
        assert_eq!(says, "n2 holds 1 of k1, which was to expire");
        let says = judge(&disk(&layout, &object(None))).expect("it is there");
        assert_eq!(says, "n2 holds nothing for k1, and a row that says so");
    }

    #[test]
    fn where_nodes_know_nothing_of_expiry_values_may_stay() {
        let (mut scenario, record) = written(End::Ok);
        scenario.outdated = 1;
        assert!(may_show(&scenario, &record, SECOND));
    }
}
