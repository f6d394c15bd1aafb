//! Mends damaged rows: what one replica cannot read any more, the others still know.
//!
//! A damaged row is unknown, never absent: until it is mended whoever wants its key is refused, new writes included. Its
//! key goes on a list; the other holders, complete or not, are asked what they hold of it and what they have seen of the
//! partition, and the join of their states is written over the row. No more than [`KEYS_MAX`] keys are on the list: others
//! are found again by whoever wants them, or by the slow pass of `sweep`.
//!
//! What is written must not fall behind what was lost, because this replica's clock goes on claiming what the row had
//! seen: whatever the new row lacks of that reads as removed here, and soon everywhere. So the row is written in one of
//! two cases only:
//!
//! 1. Those who have answered have seen, by their clocks, every dot of the key that this replica has seen. Which dots
//!    those are the log says; a row of it goes only when all holders are known to have its dot. Where the log does not reach,
//!    everything counts that the answers do not cover. Then the join is no less than what was lost, and "absent in it,
//!    and covered by this clock" means removed: no write is lost, acknowledged or not.
//! 2. All nodes have said which hints they keep of the key, after that all other holders have answered, if only that their
//!    rows are damaged, too, and nothing of the key has come here since they were asked. What they do not have, nobody has:
//!    a hint is dropped once its target has it, so what is not kept for others any more is in the rows that are asked for
//!    afterwards. An acknowledged write was on W disks of holders and stand-ins, so beside this replica on W − 1 others, and
//!    all of them are joined in: it can be lost only where W − 1 disks have lost it, too, or with W = 1. What is given up is
//!    deleted by a write of this node's: a message that is still on its way may yet bring it to others, and under equal
//!    clocks they would keep it for ever.
//!
//! That N − W + 1 complete ones have answered would do for acknowledged writes alone: W − 1 of the others have each of
//! them, and any N − W + 1 of the N − 1 others include one of these. But of a write that was not acknowledged it would leave
//! one replica that says "removed" and one that shows it, under equal clocks. And a replica that is still refilling would
//! never answer, while it cannot go on because pages of this partition are withheld.
//!
//! Nothing is claimed with it but dots that are visible, as with read repair. A pull of the whole partition that is under
//! way is given up: what its pages have brought may have gone with the row, and no page brings it again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Unbounded};

use crate::causal::Clock;
use crate::cx::{Answer, Cx, Step, Task, Waiter};
use crate::id::{NodeId, OpId};
use crate::key::{Key, Partition};
use crate::kind::Object;
use crate::layout::active::Layouts;
use crate::message::{Given, Message, Refusal};
use crate::note::Note;
use crate::put::Puts;
use crate::time::Mono;
use crate::timers::Timer;

/// Keys that are remembered to be mended.
pub(crate) const KEYS_MAX: usize = 1_000;
/// Keys that are being mended at a time.
const OPEN_MAX: usize = 16;

/// One key that is being mended.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Mend {
    key: Key,
    /// Whom it has asked: all other holders when it began.
    asked: BTreeSet<NodeId>,
    /// Who has answered: whether all that it can ever say is here.
    answered: BTreeMap<NodeId, bool>,
    stage: Stage,
    /// The join of what they hold; None while none could say.
    merged: Option<Object>,
    /// The join of what is kept for holders.
    hinted: Object,
    /// What they have seen, together.
    clock: Clock,
    /// What this node had seen when it asked them.
    own: Clock,
    /// Whether this node was sending something of the key to the others then. They may have answered before they stored
    /// it: given up here, it would be acknowledged and taken for removed.
    was_gathering: bool,
    deadline: Mono,
    /// Whether it has been handed to the key's slot.
    is_writing: bool,
}

/// What those who are asked are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// What they hold; mostly that is enough.
    Rows,
    /// Which hints they keep.
    Hints,
    /// What they hold, now that the hints are known.
    RowsAgain,
}

impl Mend {
    /// Whether all `others`, who hold the key beside this node, have said what they hold, or have lost it.
    fn has_all(&self, mut others: impl Iterator<Item = NodeId>) -> bool {
        others.all(|node| self.answered.get(&node) == Some(&true))
    }
}

/// All keys that are to be mended.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Scrub {
    /// Those, and whether an operator has been told that nobody else could help.
    damaged: BTreeMap<Key, bool>,
    open: BTreeMap<u64, Mend>,
    /// The key that was begun last.
    last: Option<Key>,
    /// When they are next looked at.
    at: Option<Mono>,
}

impl Scrub {
    /// Keys on the list.
    pub(crate) fn len(&self) -> usize {
        self.damaged.len()
    }

    /// The first key that is to be mended, in words; whatever is left in partitions that are `excused`, or held by nobody
    /// else.
    pub(crate) fn unrest(&self, layout: &Layouts, excused: impl Fn(Partition) -> bool) -> Option<String> {
        let keys = self.len();
        let counts = |partition| layout.holders(partition).len() > 1 && !excused(partition);
        let key = self.damaged.keys().find(|key| counts(layout.partition(key)))?;
        Some(format!("the row of {key:?} is to be mended, and {} others", keys - 1))
    }

    /// A row of `key` was found that is not what was written, or could not be read.
    pub(crate) fn on_damaged(&mut self, cx: &mut Cx<'_>, puts: &Puts, key: Key) {
        if self.damaged.contains_key(&key) {
            return;
        }
        if self.damaged.len() >= KEYS_MAX {
            return;
        }
        self.damaged.insert(key, false);
        self.begin_some(cx, puts);
    }

    /// Time to look at what hangs, and to try again.
    pub(crate) fn on_timer(&mut self, cx: &mut Cx<'_>, puts: &Puts) {
        self.at = None;
        let now = cx.now.mono;
        self.open.retain(|_, mend| mend.is_writing || mend.deadline > now);
        self.begin_some(cx, puts);
    }

    /// Begins as many as may be under way, each in its turn.
    fn begin_some(&mut self, cx: &mut Cx<'_>, puts: &Puts) {
        let busy: BTreeSet<Key> = self.open.values().map(|mend| mend.key.clone()).collect();
        let from = self.last.take().map_or(Unbounded, Excluded);
        let after = self.damaged.range((from.clone(), Unbounded)).map(|(key, _)| key);
        let all = after.chain(self.damaged.keys());
        let mut next: Vec<Key> = Vec::new();
        for key in all.filter(|key| !busy.contains(*key)).take(OPEN_MAX.saturating_sub(busy.len())) {
            if !next.contains(key) {
                next.push(key.clone());
            }
        }
        self.last = next.last().cloned();
        for key in next {
            self.begin(cx, puts, key);
        }
        if !self.damaged.is_empty() && self.at.is_none() {
            let at = cx.now.mono.after(cx.config.sync_every);
            self.at = Some(at);
            cx.shared.timers.set(at, Timer::Mend);
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, puts: &Puts, key: Key) {
        let partition = cx.layout.partition(&key);
        let me = cx.me();
        let Some(replica) = cx.replica(partition).filter(|replica| !replica.is_retiring) else {
            self.damaged.remove(&key);
            return;
        };
        let own = replica.clock().clone();
        let asked: BTreeSet<NodeId> =
            cx.layout.holders(partition).iter().copied().filter(|&node| node != me).collect();
        if asked.is_empty() {
            let is_told = self.damaged.insert(key.clone(), true);
            if is_told == Some(false) {
                cx.note(Note::Unmendable { key });
            }
            return;
        }
        let deadline = cx.now.mono.after(cx.config.timeout);
        let mend = Mend {
            was_gathering: puts.is_gathering(&key),
            key,
            asked,
            answered: BTreeMap::new(),
            stage: Stage::Rows,
            merged: None,
            hinted: Object::default(),
            clock: Clock::new(),
            own,
            deadline,
            is_writing: false,
        };
        self.ask(cx, mend);
    }

    /// Asks whom it is to ask for what its stage says.
    fn ask(&mut self, cx: &mut Cx<'_>, mut mend: Mend) {
        // Under a number of its own, so that no late answer to the question before is taken for one to this.
        let n = cx.next_op();
        let me = cx.me();
        for &node in &mend.asked {
            let key = mend.key.clone();
            match mend.stage {
                Stage::Hints if node == me => cx.step(Step::FetchHints { key, waiter: Waiter::MendHints(n) }),
                Stage::Hints => cx.send(node, Message::FetchHints { op: cx.op(n), key }),
                Stage::Rows | Stage::RowsAgain => cx.send(node, Message::Salvage { op: cx.op(n), key }),
            }
        }
        mend.deadline = cx.now.mono.after(cx.config.timeout);
        self.open.insert(n, mend);
    }

    /// Goes on to the next stage.
    fn go_on(&mut self, cx: &mut Cx<'_>, mut mend: Mend) {
        mend.stage = if mend.stage == Stage::Rows { Stage::Hints } else { Stage::RowsAgain };
        let me = cx.me();
        mend.asked = match mend.stage {
            Stage::Hints => cx.layout.nodes().iter().copied().collect(),
            Stage::Rows | Stage::RowsAgain => {
                let holders = cx.layout.holders(cx.layout.partition(&mend.key));
                holders.iter().copied().filter(|&node| node != me).collect()
            }
        };
        mend.answered.clear();
        self.ask(cx, mend);
    }

    /// Whether an answer with a key's objects is one to a question for hints of this machine's.
    pub(crate) fn awaits_hints(&self, op: OpId) -> bool {
        self.open.get(&op.n).is_some_and(|mend| mend.stage == Stage::Hints)
    }

    /// A node says which hints it keeps of a key.
    pub(crate) fn on_hints(
        &mut self,
        cx: &mut Cx<'_>,
        from: NodeId,
        n: u64,
        outcome: Result<Object, Refusal>,
    ) {
        let Some(mend) = self.open.get_mut(&n).filter(|mend| mend.stage == Stage::Hints) else { return };
        if !mend.asked.contains(&from) || mend.answered.contains_key(&from) {
            return;
        }
        // From a hint that is damaged nothing more will ever come.
        let is_all = matches!(outcome, Ok(_) | Err(Refusal::NotHeld | Refusal::Damaged));
        mend.answered.insert(from, is_all);
        if let Ok(object) = outcome {
            mend.hinted.join(object);
        }
        if mend.answered.len() < mend.asked.len() {
            return;
        }
        let mend = self.open.remove(&n).expect("just seen");
        if mend.answered.values().all(|&is_all| is_all) {
            self.go_on(cx, mend);
        }
    }

    /// Whether a peer's gift is an answer to a request of this machine's.
    pub(crate) fn has_asked(&self, op: OpId) -> bool {
        self.open.contains_key(&op.n)
    }

    /// A peer says what it holds of a key, and what it has seen of the partition; without the key it cannot say.
    pub(crate) fn on_given(&mut self, cx: &mut Cx<'_>, from: NodeId, op: OpId, given: Given) {
        if !cx.has_asked(op) {
            return;
        }
        let Some(mend) = self.open.get_mut(&op.n).filter(|mend| !mend.is_writing) else { return };
        if mend.stage == Stage::Hints || !mend.asked.contains(&from) || mend.answered.contains_key(&from) {
            return;
        }
        let found = given.objects.into_iter().find(|given| given.key == mend.key);
        // Where its row is damaged, too, nothing more will ever come from there.
        let is_all = found.is_some() || given.more;
        sometimes!(cx.shared.moments, MendRefused, found.is_none());
        mend.answered.insert(from, is_all);
        if let Some(found) = found {
            sometimes!(cx.shared.moments, MendFromIncomplete, !given.complete);
            mend.merged.get_or_insert_default().join(found.object);
            mend.clock.join(&given.clock);
        }
        self.settle(cx, op.n);
    }

    /// Has the row written if what came is enough.
    fn settle(&mut self, cx: &mut Cx<'_>, n: u64) {
        let Some(mend) = self.open.get_mut(&n) else { return };
        let partition = cx.layout.partition(&mend.key);
        let Some(replica) = cx.shared.replicas.get(&partition) else { return };
        let me = cx.config.node;
        let others = cx.layout.holders(partition).iter().copied().filter(|&node| node != me);
        let has_all = mend.has_all(others) && !mend.was_gathering;
        let is_enough =
            replica.is_covered(&mend.key, &mend.clock) || planted!(cx.shared.plants, MendedByFirst);
        if has_all && !is_enough && mend.stage == Stage::Rows {
            let mend = self.open.remove(&n).expect("just seen");
            return self.go_on(cx, mend);
        }
        sometimes!(cx.shared.moments, MendUncovered, mend.merged.is_some() && !is_enough);
        if let Some(mut object) = mend.merged.clone().filter(|_| has_all || is_enough) {
            object.join(mend.hinted.clone());
            mend.is_writing = true;
            let gives_up = has_all || planted!(cx.shared.plants, MendedByFirst);
            let had = gives_up.then(|| mend.own.clone());
            let clock = mend.clock.clone();
            cx.access(mend.key.clone(), Waiter::Mend(n), Task::Mend { object, clock, had });
        } else if mend.answered.len() == mend.asked.len() {
            // Nothing came of it. The next attempt comes with the timer.
            self.open.remove(&n);
        }
    }

    /// The row is written, or could not be.
    pub(crate) fn on_mended(&mut self, cx: &mut Cx<'_>, puts: &Puts, n: u64, answer: &Answer) {
        let Some(mend) = self.open.remove(&n) else { return };
        if matches!(answer, Answer::Joined) {
            self.damaged.remove(&mend.key);
            cx.shared.stats.mended += 1;
            sometimes!(cx.shared.moments, Mended);
            cx.note(Note::Mended { key: mend.key });
            self.begin_some(cx, puts);
        }
    }

    /// Panics when the parts disagree.
    pub(crate) fn check(&self, timer_set: impl Fn(Mono, Timer) -> bool) {
        assert!(self.damaged.len() <= KEYS_MAX, "more keys are to be mended than may be");
        assert!(self.open.len() <= OPEN_MAX, "more keys are being mended than may be");
        assert!(self.at.is_some() || self.damaged.is_empty(), "nobody will look at the damaged keys");
        assert!(self.at.is_none_or(|at| timer_set(at, Timer::Mend)), "the damaged keys have no timer");
    }
}
