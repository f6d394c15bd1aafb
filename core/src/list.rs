//! Listings: the keys that hold a value, a page at a time, in the stable order of (partition, key).
//!
//! Each partition is listed by one of its replicas, this node where it can. A listing therefore shows what single
//! replicas know: it may miss a write that is still on its way to them, and show a key whose delete is. Runs of
//! partitions that one node holds are asked for at once.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cx::{Asker, Cx, Owner, Step};
use crate::id::{CallId, NodeId, OpId};
use crate::input::Reply;
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::message::{Failure, Listed, Message, Refusal};
use crate::note::Note;
use crate::peers::Peers;
use crate::stored::{self, Row};
use crate::time::Mono;
use crate::timers::Timer;

/// Bytes of rows in one page of a scan.
const SCAN_BYTES: usize = 4 << 20;

/// One listing under way.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct List {
    asker: Asker,
    /// Where it goes on.
    at: Partition,
    after: Option<Key>,
    /// Where it ends.
    last: Partition,
    limit: usize,
    keys: Vec<Key>,
    deadline: Mono,
    /// Who lists the present span, and its end.
    span: Option<(NodeId, Partition)>,
    /// Replicas of the present partition that have refused.
    refused: Vec<NodeId>,
}

/// All listings under way.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Lists {
    open: BTreeMap<u64, List>,
}

impl Lists {
    /// The oldest listing under way, in words.
    pub(crate) fn unrest(&self) -> Option<String> {
        let (n, list) = self.open.first_key_value()?;
        let at = list.at;
        Some(match list.span {
            Some((node, end)) => format!("listing {n} waits for {node} to list {at:?} to {end:?}"),
            None => format!("listing {n} is at {at:?}"),
        })
    }

    /// Listings that still owe a client their reply.
    pub(crate) fn owed(&self) -> usize {
        self.open.values().filter(|list| matches!(list.asker, Asker::Client(_))).count()
    }

    pub(crate) fn start(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        call: CallId,
        after: Option<Key>,
        limit: u32,
        deadline: Mono,
    ) {
        let at = after.as_ref().map_or(Partition(0), |key| cx.layout.partition(key));
        let last = Partition((cx.config.partitions - 1) as u16);
        self.open(cx, peers, Asker::Client(call), (at, after, last), limit, deadline);
    }

    /// A peer wants the keys of partitions that this node holds.
    pub(crate) fn on_list(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        from: NodeId,
        op: OpId,
        span: (Partition, Option<Key>, Partition),
        limit: u32,
    ) {
        let (first, _, last) = &span;
        let may = (first.0..=last.0).all(|at| is_listable(cx, Partition(at)));
        if !may {
            cx.send(from, Message::Listed { op, outcome: Err(Refusal::CatchingUp) });
            return;
        }
        let deadline = cx.now.mono.after(cx.config.timeout);
        self.open(cx, peers, Asker::Peer { node: from, op }, span, limit, deadline);
    }

    fn open(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        asker: Asker,
        (at, after, last): (Partition, Option<Key>, Partition),
        limit: u32,
        deadline: Mono,
    ) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, cx.config.limits.list_page);
        let keys = Vec::new();
        let list = List { asker, at, after, last, limit, keys, deadline, span: None, refused: Vec::new() };
        self.go_on(cx, peers, list);
    }

    /// Asks for the next span, or finishes.
    fn go_on(&mut self, cx: &mut Cx<'_>, peers: &Peers, mut list: List) {
        if list.keys.len() >= list.limit || list.at > list.last {
            return finish(cx, list);
        }
        let layout = cx.layout;
        let holders = layout.holders(list.at);
        let me = cx.me();
        let can = |node: NodeId, at: Partition| {
            if node == me { is_listable(cx, at) } else { layout.holds(node, at) }
        };
        let next = holders
            .iter()
            .enumerate()
            .filter(|&(_, &node)| !list.refused.contains(&node) && can(node, list.at))
            .min_by_key(|&(index, &node)| (node != me, peers.is_suspected(node), index));
        let Some((_, &node)) = next else {
            return fail(cx, &list, Failure::NotTaken(Refusal::CatchingUp));
        };
        let mut end = list.at;
        while end < list.last && can(node, Partition(end.0 + 1)) {
            end = Partition(end.0 + 1);
        }
        list.span = Some((node, end));
        let n = cx.next_op();
        let left = list.limit - list.keys.len();
        if node == me {
            let bounds = stored::objects_between(list.at, list.after.as_ref(), end);
            cx.scan(Owner::List(n), bounds, left, SCAN_BYTES);
        } else {
            sometimes!(cx.shared.moments, ListedElsewhere);
            let (first, last, after) = (list.at, end, list.after.clone());
            cx.send(node, Message::List { op: cx.op(n), first, last, after, limit: left as u32 });
        }
        cx.shared.timers.set(list.deadline, Timer::List(n));
        self.open.insert(n, list);
    }

    fn close(&mut self, cx: &mut Cx<'_>, n: u64) -> Option<List> {
        let list = self.open.remove(&n)?;
        cx.shared.timers.cancel(list.deadline, Timer::List(n));
        Some(list)
    }

    /// This node's own rows have been read.
    pub(crate) fn on_scan(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        n: u64,
        outcome: Result<(Vec<Row>, bool), String>,
    ) {
        let Some(mut list) = self.close(cx, n) else { return };
        let me = cx.me();
        match outcome {
            Ok((rows, more)) => {
                let found = rows.iter().filter_map(|row| stored::key_of(&row.key));
                let next = if more { found.last().map(|(_, key)| key) } else { None };
                // A row that cannot be read is unknown, not absent: its key is listed.
                let is_damaged = |row: &&Row| cx.object_in(row).is_none();
                let damaged = rows.iter().filter(is_damaged).filter_map(|row| stored::key_of(&row.key));
                for (_, key) in damaged.collect::<Vec<_>>() {
                    cx.step(Step::Damaged(key));
                }
                let wall = cx.now.wall;
                let shows = |object: Object| object.siblings().any(|sibling| !sibling.is_expired(wall));
                let holds_value = |row: &Row| cx.object_in(row).is_none_or(shows);
                let keys =
                    rows.iter().filter(|row| holds_value(row)).filter_map(|row| stored::key_of(&row.key));
                let keys = keys.map(|(_, key)| key).collect();
                list.take(cx, Listed { keys, next });
            }
            Err(reason) => {
                cx.note(Note::ScanFailed { reason });
                if let Asker::Peer { .. } = list.asker {
                    // Passed on, it could go round for ever between nodes whose disks all fail.
                    return fail(cx, &list, Failure::NotTaken(Refusal::Storage));
                }
                list.refuse(me);
            }
        }
        self.go_on(cx, peers, list);
    }

    /// A peer has listed a span, or refuses to.
    pub(crate) fn on_listed(
        &mut self,
        cx: &mut Cx<'_>,
        peers: &Peers,
        from: NodeId,
        op: OpId,
        outcome: Result<Listed, Refusal>,
    ) {
        if !cx.has_asked(op) {
            return;
        }
        let is_awaited = |list: &List| list.span.is_some_and(|(node, _)| node == from);
        if !self.open.get(&op.n).is_some_and(is_awaited) {
            return;
        }
        let mut list = self.close(cx, op.n).expect("just seen");
        match outcome {
            Ok(listed) => {
                list.take(cx, listed);
                sometimes!(
                    cx.shared.moments,
                    ListingGoesOn,
                    list.at <= list.last && list.keys.len() < list.limit
                );
            }
            Err(_) => {
                sometimes!(cx.shared.moments, ListingRefused);
                list.refuse(from);
            }
        }
        self.go_on(cx, peers, list);
    }

    /// A listing's time is up.
    pub(crate) fn on_timeout(&mut self, cx: &mut Cx<'_>, n: u64) {
        let Some(list) = self.close(cx, n) else { return };
        if let Some((node, _)) = list.span.filter(|&(node, _)| node != cx.me()) {
            cx.step(Step::Silent(node));
        }
        let replicas = cx.config.replicas as u8;
        fail(cx, &list, Failure::Timeout { acks: 0, needed: 1, replicas });
    }

    /// Panics when the parts disagree.
    pub(crate) fn check(&self, timer_set: impl Fn(Mono, Timer) -> bool) {
        for (&n, list) in &self.open {
            assert!(timer_set(list.deadline, Timer::List(n)), "listing {n} has no timer");
            assert!(list.keys.len() < list.limit, "listing {n} is open although it is full");
        }
    }
}

impl List {
    /// Takes what the present span gave, and moves on behind it.
    fn take(&mut self, cx: &Cx<'_>, listed: Listed) {
        let (_, end) = self.span.take().expect("an answer belongs to a span");
        self.refused.clear();
        self.keys.extend(listed.keys);
        match listed.next {
            Some(key) => {
                let at = cx.layout.partition(&key);
                // A peer that answers with a key from elsewhere must not send the listing in circles.
                let forward =
                    (self.at..=end).contains(&at) && (at > self.at || Some(&key) > self.after.as_ref());
                (self.at, self.after) = if forward { (at, Some(key)) } else { after(end) };
            }
            None => (self.at, self.after) = after(end),
        }
    }

    fn refuse(&mut self, node: NodeId) {
        self.span = None;
        self.refused.push(node);
    }
}

fn after(end: Partition) -> (Partition, Option<Key>) {
    (Partition(end.0.saturating_add(1)), None)
}

fn is_listable(cx: &Cx<'_>, partition: Partition) -> bool {
    cx.shared.replicas.get(&partition).is_some_and(|replica| replica.complete)
}

fn finish(cx: &mut Cx<'_>, list: List) {
    let more = list.at <= list.last;
    match list.asker {
        Asker::Client(call) => {
            let mut keys = list.keys;
            let more = more || keys.len() > list.limit;
            keys.truncate(list.limit);
            cx.reply(call, Reply::Listed { keys, more });
        }
        Asker::Peer { node, op } => {
            let next = if more { list.after.or_else(|| list.keys.last().cloned()) } else { None };
            cx.send(node, Message::Listed { op, outcome: Ok(Listed { keys: list.keys, next }) });
        }
    }
}

fn fail(cx: &mut Cx<'_>, list: &List, failure: Failure) {
    match list.asker {
        Asker::Client(call) => cx.reply(call, Reply::Failed(failure)),
        Asker::Peer { node, op } => cx.send(node, Message::Listed { op, outcome: Err(Refusal::CatchingUp) }),
    }
}
