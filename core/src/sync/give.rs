//! Giving: what a peer lacks by its clock, which of its ranges are equal to those here, and pages of keys.
//!
//! Objects are gathered through their keys' slots, so that nothing is shown that is not yet on disk. For each peer there
//! is one lot of objects that the log names and one of a range of keys; what it asks meanwhile waits, within a limit.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use super::show::{hash, object_bytes, shown};
use super::take::prune;
use super::{AHEAD_MAX, SCAN_BYTES, Sync, check_continuity};
use crate::causal::{Clock, Dot};
use crate::config::Config;
use crate::cx::{Answer, Cx, Owner, Task, Waiter};
use crate::fingerprint::{ObjectHash, Seed};
use crate::id::{NodeId, OpId};
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::message::{Compared, Given, GivenObject, Message, Page, Refusal, Span};
use crate::note::Note;
use crate::ranges::{Comparison, Shown};
use crate::stored::{self, Row};
use crate::time::Mono;

/// Rows that a giver reads at a time to compare them.
const SCAN_ROWS: usize = 1_024;

/// What a peer wants to know that it lacks, while objects are gathered for it already.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(super) struct Asked {
    op: OpId,
    partition: Partition,
    clock: Clock,
}

/// What objects are gathered for. A peer asks about partitions ahead while it goes over ranges of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// What the log names.
    Asked,
    /// A range of keys.
    Range,
}

/// Objects being gathered for a peer: one lot per peer and lane. What is asked meanwhile waits its turn; of ranges the
/// newest request wins.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(super) struct Gather {
    n: u64,
    op: OpId,
    /// When it was begun.
    at: Mono,
    pub(super) partition: Partition,
    clock: Clock,
    /// Whether this replica was complete when it had seen just that.
    complete: bool,
    /// Keys whose objects are still being read.
    pub(super) left: usize,
    dots: BTreeMap<Key, Vec<Dot>>,
    objects: BTreeMap<Key, Object>,
    /// Keys that could not be read.
    withheld: bool,
    what: Gathering,
}

#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(super) enum Gathering {
    Given { reaches: bool, more: bool },
    Page { after: Option<Key>, until: Option<Key>, have: Vec<ObjectHash>, end: Option<Key> },
    Compared(Box<Comparison>),
}

impl Sync {
    /// A peer says what it has seen of a partition, and wants the rest.
    pub(crate) fn on_ask(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        partition: Partition,
        theirs: Clock,
    ) {
        if !cx.layout.holds(from, partition) {
            return cx.note(Note::Stranger { from });
        }
        let asked = Asked { op, partition, clock: theirs };
        let lane = (from, Lane::Asked);
        // Whoever asks again has given the first request up, and after a request's time all of them.
        let is_wanted = |gather: &Gather| {
            gather.partition != partition && cx.now.mono < gather.at.after(cx.config.timeout)
        };
        if self.gathers.get(&lane).is_some_and(is_wanted) {
            let waiting = self.asked.entry(from).or_default();
            waiting.retain(|asked| asked.partition != partition);
            if waiting.len() > AHEAD_MAX {
                waiting.pop_front();
            }
            sometimes!(cx.shared.moments, AskWaits);
            return waiting.push_back(asked);
        }
        sometimes!(cx.shared.moments, GatherReplaced, self.gathers.contains_key(&lane));
        self.gathers.remove(&lane);
        self.answer(cx, from, asked);
        self.answer_waiting(cx, from);
    }

    /// Gathers what a peer lacks.
    fn answer(&mut self, cx: &mut Cx<'_>, from: NodeId, asked: Asked) {
        let Asked { op, partition, clock: theirs } = asked;
        if !cx.layout.holds(from, partition) {
            return;
        }
        check_continuity(cx, partition, &theirs);
        let max = cx.config.limits.sync_objects;
        let Some(replica) = cx.replica(partition) else {
            return;
        };
        replica.peer_has(from, &theirs);
        let (missing, reaches) = replica.missing(&theirs, max);
        let more = missing.len() > max;
        let dots: BTreeMap<Key, Vec<Dot>> =
            missing.into_iter().take(max).map(|(key, dots)| (key.clone(), dots)).collect();
        let (clock, complete) = (replica.clock().clone(), replica.complete);
        prune(cx, partition);
        let (n, at) = (cx.next_op(), cx.now.mono);
        let keys: Vec<Key> = dots.keys().cloned().collect();
        let what = Gathering::Given { reaches, more };
        let (objects, left) = (BTreeMap::new(), keys.len());
        let withheld = false;
        let gather = Gather { n, op, at, partition, clock, complete, left, dots, objects, withheld, what };
        self.gathers.insert((from, Lane::Asked), gather);
        self.gather(cx, (from, Lane::Asked), n, keys);
    }

    /// Takes up what a peer has asked meanwhile, until there is something to be read for it.
    fn answer_waiting(&mut self, cx: &mut Cx<'_>, to: NodeId) {
        while !self.gathers.contains_key(&(to, Lane::Asked)) {
            let Some(asked) = self.asked.get_mut(&to).and_then(VecDeque::pop_front) else {
                self.asked.remove(&to);
                return;
            };
            self.answer(cx, to, asked);
        }
    }

    /// A peer wants a page of a range of keys.
    pub(crate) fn on_pull(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        partition: Partition,
        (after, until): (Option<Key>, Option<Key>),
        have: Vec<ObjectHash>,
    ) {
        let is_shared = cx.layout.holds(from, partition);
        let Some(replica) = cx.replica(partition).filter(|_| is_shared) else {
            return cx.send(from, Message::Page { op, outcome: Err(Refusal::NotHeld) });
        };
        let (clock, complete) = (replica.clock().clone(), replica.complete);
        let (n, at) = (cx.next_op(), cx.now.mono);
        let bounds = stored::objects_within(partition, after.as_ref(), until.as_ref());
        let what = Gathering::Page { after, until, have, end: None };
        let (dots, objects, withheld) = (BTreeMap::new(), BTreeMap::new(), false);
        self.gathers.insert(
            (from, Lane::Range),
            Gather { n, op, at, partition, clock, complete, left: 0, dots, objects, withheld, what },
        );
        if bounds.0 >= bounds.1 {
            // Nothing lies in a range that ends before it begins.
            return self.give(cx, (from, Lane::Range));
        }
        let limits = &cx.config.limits;
        cx.scan(Owner::Gather { to: from, n }, bounds, limits.sync_objects, limits.sync_bytes);
    }

    /// A peer wants to know which ranges are equal.
    pub(crate) fn on_compare(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        op: OpId,
        partition: Partition,
        after: Option<Key>,
        spans: Vec<Span>,
    ) {
        let is_shared = cx.layout.holds(from, partition);
        let Some(replica) = cx.replica(partition).filter(|_| is_shared) else {
            return cx.send(from, Message::Compared { op, outcome: Err(Refusal::NotHeld) });
        };
        let (clock, complete) = (replica.clock().clone(), replica.complete);
        let Some(comparison) =
            Comparison::new(Seed::of(op.origin), after, spans, compared_rows_max(cx.config))
        else {
            return cx.note(Note::Stranger { from });
        };
        let (n, at) = (cx.next_op(), cx.now.mono);
        let what = Gathering::Compared(Box::new(comparison));
        let (dots, objects, withheld) = (BTreeMap::new(), BTreeMap::new(), false);
        self.gathers.insert(
            (from, Lane::Range),
            Gather { n, op, at, partition, clock, complete, left: 0, dots, objects, withheld, what },
        );
        self.compare(cx, from);
    }

    /// Reads what is to be compared next, or answers.
    fn compare(&mut self, cx: &mut Cx<'_>, to: NodeId) {
        let Some(gather) = self.gathers.get_mut(&(to, Lane::Range)) else { return };
        let Gathering::Compared(comparison) = &mut gather.what else { return };
        match comparison.next() {
            Some((after, until, rows)) => {
                let bounds = stored::objects_within(gather.partition, after.as_ref(), until.as_ref());
                cx.scan(Owner::Gather { to, n: gather.n }, bounds, rows.min(SCAN_ROWS), SCAN_BYTES);
            }
            None => self.give(cx, (to, Lane::Range)),
        }
    }

    /// Rows that a peer's request is about have been read.
    pub(crate) fn on_gather_rows(
        &mut self,
        cx: &mut Cx<'_>,
        to: NodeId,
        n: u64,
        outcome: Result<(Vec<Row>, bool), String>,
    ) {
        let Some(gather) = self.gathers.get_mut(&(to, Lane::Range)).filter(|gather| gather.n == n) else {
            return;
        };
        let op = gather.op;
        match (outcome, &gather.what) {
            (Ok((rows, more)), Gathering::Page { .. }) => self.on_page_rows(cx, to, &rows, more),
            (Ok((rows, more)), Gathering::Compared(_)) => self.on_compared_rows(cx, to, &rows, more),
            (Ok(_), Gathering::Given { .. }) => unreachable!("what the log names is not scanned for"),
            (Err(reason), what) => {
                cx.note(Note::ScanFailed { reason });
                let refused = match what {
                    Gathering::Compared(_) => Message::Compared { op, outcome: Err(Refusal::Storage) },
                    _ => Message::Page { op, outcome: Err(Refusal::Storage) },
                };
                self.gathers.remove(&(to, Lane::Range));
                cx.send(to, refused);
            }
        }
    }

    /// The keys of the page have been read; the objects follow, each under its slot.
    fn on_page_rows(&mut self, cx: &mut Cx<'_>, to: NodeId, rows: &[Row], more: bool) {
        let Some(gather) = self.gathers.get_mut(&(to, Lane::Range)) else { return };
        let Gathering::Page { after, until, end, .. } = &mut gather.what else { return };
        let mut keys: BTreeSet<Key> =
            rows.iter().filter_map(|row| stored::key_of(&row.key)).map(|(_, key)| key).collect();
        *end = keys.last().filter(|_| more).cloned();
        // More rows and no key to go on from: not a page, and never the end.
        gather.withheld = more && keys.is_empty();
        // A key whose removal is not safe yet has no row any more.
        let last = end.as_ref().or(until.as_ref());
        let replica = &cx.shared.replicas[&gather.partition];
        keys.extend(replica.writing_within(after.as_ref(), last).cloned());
        gather.left = keys.len();
        let n = gather.n;
        self.gather(cx, (to, Lane::Range), n, keys.into_iter().collect());
    }

    /// Rows have been read that are to be compared.
    fn on_compared_rows(&mut self, cx: &mut Cx<'_>, to: NodeId, rows: &[Row], more: bool) {
        let Some(gather) = self.gathers.get_mut(&(to, Lane::Range)) else { return };
        let Gathering::Compared(comparison) = &mut gather.what else { return };
        let mut rows: BTreeMap<Key, Shown> =
            shown(cx, Seed::of(gather.op.origin), rows).into_iter().collect();
        if let Some((after, until, _)) = comparison.next() {
            let last = rows.last_key_value().filter(|_| more).map(|(key, _)| key.clone()).or(until);
            let writing = cx.shared.replicas[&gather.partition].writing_within(after.as_ref(), last.as_ref());
            for key in writing {
                sometimes!(cx.shared.moments, ComparedWhileWritten);
                rows.insert(key.clone(), Shown::Unknown);
            }
        }
        comparison.on_rows(rows.into_iter().collect(), more);
        self.compare(cx, to);
    }

    fn gather(&mut self, cx: &mut Cx<'_>, lane: (NodeId, Lane), n: u64, keys: Vec<Key>) {
        if keys.is_empty() {
            return self.give(cx, lane);
        }
        let to = lane.0;
        for key in keys {
            cx.access(key.clone(), Waiter::Gather { to, n, key }, Task::Load);
        }
    }

    /// One of the objects has been read, or could not be.
    pub(crate) fn on_gathered(&mut self, cx: &mut Cx<'_>, to: NodeId, n: u64, key: Key, answer: Answer) {
        let lanes = [(to, Lane::Asked), (to, Lane::Range)];
        let is_it = |lane: &(NodeId, Lane)| self.gathers.get(lane).is_some_and(|gather| gather.n == n);
        let Some(lane) = lanes.into_iter().find(is_it) else { return };
        let Some(gather) = self.gathers.get_mut(&lane) else { return };
        gather.left -= 1;
        match answer {
            Answer::Loaded(object) => {
                gather.objects.insert(key, object);
            }
            _ => gather.withheld = true,
        }
        if gather.left == 0 {
            self.give(cx, lane);
            self.answer_waiting(cx, to);
        }
    }

    /// Sends what has been gathered.
    fn give(&mut self, cx: &mut Cx<'_>, lane: (NodeId, Lane)) {
        let Some(gather) = self.gathers.remove(&lane) else {
            return;
        };
        let to = lane.0;
        let Gather { op, partition, clock, complete, mut dots, objects, withheld, what, .. } = gather;
        let read_late = planted!(cx.shared.plants, ClockAfterObjects);
        let clock = if read_late { cx.shared.replicas[&partition].clock().clone() } else { clock };
        match what {
            Gathering::Given { reaches, more } => {
                // What could not be read, or does not fit, is as if it had not come to its turn yet.
                let mut more = more || withheld;
                let mut given = Vec::new();
                let mut bytes = 0;
                for (key, object) in objects {
                    bytes += object_bytes(&key, &object);
                    if !given.is_empty() && bytes > cx.config.limits.sync_bytes {
                        more = true;
                        break;
                    }
                    let dots = dots.remove(&key).unwrap_or_default();
                    given.push(GivenObject { key, dots, object });
                }
                let sizes = given.iter().map(|given| object_bytes(&given.key, &given.object) as u64);
                cx.shared.stats.sync_bytes_given += sizes.sum::<u64>();
                let given = Given { partition, clock, complete, reaches, more, objects: given };
                cx.send(to, Message::Give { op, given });
            }
            Gathering::Page { .. } if withheld && !planted!(cx.shared.plants, PageWithHole) => {
                // A page with a hole would read as a delete.
                cx.send(to, Message::Page { op, outcome: Err(Refusal::Damaged) });
            }
            Gathering::Page { end, have, .. } => {
                let (objects, same) = leave_out(cx, Seed::of(op.origin), objects, &have);
                let sizes = objects.iter().map(|(key, object)| object_bytes(key, object) as u64);
                cx.shared.stats.sync_bytes_given += sizes.sum::<u64>();
                let page = Page { clock, complete, objects, same, end };
                cx.send(to, Message::Page { op, outcome: Ok(page) });
            }
            Gathering::Compared(comparison) => {
                let compared = Compared { clock, equal: comparison.into_equal() };
                cx.send(to, Message::Compared { op, outcome: Ok(compared) });
            }
        }
    }
}

/// Gives what was read of one key to a peer whose row of it is damaged; nothing when it could not be read, and that there
/// is more when it is damaged here, too. With it goes what this replica had seen before, and whether it was complete.
pub(crate) fn give_one(
    cx: &mut Cx<'_>,
    (to, op): (NodeId, OpId),
    key: Key,
    (clock, complete): (Clock, bool),
    answer: Answer,
) {
    let partition = cx.layout.partition(&key);
    let is_damaged = matches!(answer, Answer::Refused(Refusal::Damaged));
    let objects = match answer {
        Answer::Loaded(object) => Vec::from([GivenObject { key, dots: Vec::new(), object }]),
        _ => Vec::new(),
    };
    let given = Given { partition, clock, complete, reaches: false, more: is_damaged, objects };
    cx.send(to, Message::Give { op, given });
}

/// Rows that a giver reads for one comparison, at most: more than an asker's windows hold, and not as many as it likes.
fn compared_rows_max(config: &Config) -> usize {
    config.limits.window_keys.saturating_mul(4)
}

/// Takes out of a page what the asker has, and says which of its hashes that were.
fn leave_out(
    cx: &Cx<'_>,
    seed: Seed,
    mut objects: BTreeMap<Key, Object>,
    have: &[ObjectHash],
) -> (BTreeMap<Key, Object>, Vec<u32>) {
    let places: BTreeMap<ObjectHash, u32> = have.iter().copied().zip(0..).collect();
    let mut same = Vec::new();
    objects.retain(|key, object| {
        let place = hash(cx, seed, key, object).and_then(|hash| places.get(&hash));
        same.extend(place);
        place.is_none()
    });
    (objects, same)
}
