//! One key, one owner: every access to a key's object goes through its slot.
//!
//! A slot reads the row once, applies everything that waits, and writes once: queued changes fold into one write.
//! While that write is on its way nobody sees its result; what it answers leaves when it is on disk. Accesses that
//! arrive meanwhile wait their turn. When nobody waits any more the slot is gone: it is no cache.

use alloc::collections::{BTreeMap, VecDeque, btree_map};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::causal::{Clock, Context, Dot, DotStore};
use crate::config::TTL_MAX;
use crate::cx::{Answer, Cx, Join, Owner, Step, Task, Waiter};
use crate::effect::Class;
use crate::hlc::Hlc;
use crate::key::{Key, Partition};
use crate::kind::{Object, Sibling};
use crate::layout::active::Layouts;
use crate::message::{Change, Refusal};
use crate::note::Note;
use crate::replica::Replica;
use crate::stored;
use crate::sweep;
use crate::time::Wall;
use crate::token::CLIENT_ACTORS_MAX;

/// Dots of one damaged row that are deleted because nobody has them any more.
const LOST_MAX: usize = 10_000;

/// A key that somebody is at.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Slot {
    waiting: VecDeque<(Waiter, Task)>,
    phase: Phase,
}

#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
enum Phase {
    /// The row is being read.
    Reading,
    /// The row is being written.
    Writing(Writing),
}

/// A write on its way, and what follows when it lands.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
struct Writing {
    /// What the key holds then.
    object: Object,
    /// Dots that the write adds to the clock; those of this life were minted for it.
    dots: Vec<Dot>,
    /// Who gets told what.
    answers: Vec<(Waiter, Answer)>,
    /// The context that is then at rest, stripped of what the clock implies.
    at_rest: Context,
    /// How many of the partition's actors are then on disk.
    actors: usize,
}

#[cfg(feature = "simulation")]
impl Slot {
    fn has_mend(&self) -> bool {
        self.waiting.iter().any(|(_, task)| matches!(task, Task::Mend { .. }))
    }
}

/// All keys that somebody is at.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Slots {
    slots: BTreeMap<Key, Slot>,
    load: usize,
    /// Writes of keys whose slots were given up too early, by a planted bug.
    #[cfg(feature = "simulation")]
    freed: BTreeMap<Key, VecDeque<Writing>>,
}

impl Slots {
    /// Accesses that have not been answered yet.
    pub(crate) const fn load(&self) -> usize {
        self.load
    }

    /// Whether nobody is at any key of `partition`.
    pub(crate) fn is_idle(&self, layout: &Layouts, partition: Partition) -> bool {
        self.slots.keys().all(|key| layout.partition(key) != partition)
    }

    /// The first key that somebody is at, in words.
    pub(crate) fn unrest(&self) -> Option<String> {
        let (key, slot) = self.slots.first_key_value()?;
        let waiting = slot.waiting.len();
        Some(match &slot.phase {
            Phase::Reading => format!("the slot of {key:?} is reading, with {waiting} waiting"),
            Phase::Writing(writing) => {
                let dots = &writing.dots;
                format!("the slot of {key:?} is writing {dots:?}, with {waiting} waiting")
            }
        })
    }

    /// Queues an access. Its answer follows as a step.
    pub(crate) fn on_access(&mut self, cx: &mut Cx<'_>, key: Key, waiter: Waiter, task: Task) {
        let partition = cx.layout.partition(&key);
        if cx.replica(partition).is_none_or(|replica| replica.is_retiring) {
            cx.done(waiter, Answer::Refused(Refusal::NotHeld));
            return;
        }
        if matches!(task, Task::Join { .. }) && !cx.shared.is_open {
            cx.done(waiter, Answer::Refused(Refusal::Storage));
            return;
        }
        match self.slots.entry(key.clone()) {
            btree_map::Entry::Occupied(mut slot) => {
                if planted!(cx.shared.plants, ReadAheadOfSync)
                    && let (Task::Load, Phase::Writing(writing)) = (&task, &slot.get().phase)
                {
                    let object = writing.object.clone();
                    cx.done(waiter, Answer::Loaded(object));
                    return;
                }
                slot.get_mut().waiting.push_back((waiter, task));
            }
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Slot { waiting: VecDeque::from([(waiter, task)]), phase: Phase::Reading });
                cx.read(Owner::Slot(key.clone()), stored::object_key(partition, &key));
            }
        }
        self.load += 1;
    }

    /// A slot's read is done.
    pub(crate) fn on_read(&mut self, cx: &mut Cx<'_>, key: Key, outcome: Result<Option<Bytes>, String>) {
        let partition = cx.layout.partition(&key);
        let row = stored::object_key(partition, &key);
        let has_failed = outcome.is_err();
        let object = outcome.and_then(|row_bytes| match row_bytes {
            Some(bytes) => stored::read_object(&row, &bytes, &cx.shared.replicas[&partition].actors)
                .map_err(|error| error.to_string()),
            None => Ok(Object::default()),
        });
        sometimes!(cx.shared.moments, ReadFailed, object.is_err());
        let object = match object {
            Err(_) if planted!(cx.shared.plants, FailedReadIsAbsent) => Ok(Object::default()),
            object => object,
        };
        let slot = self.slots.get_mut(&key).expect("a read belongs to a slot");
        assert!(matches!(slot.phase, Phase::Reading), "a read came back to a slot that is not reading");
        match object {
            Ok(object) => {
                let at_rest = object.context.clone();
                let replica = cx.shared.replicas.get_mut(&partition).expect("a slot's partition is held");
                replica.note_expiry(&object);
                let object = replica.fill(object);
                sometimes!(cx.shared.moments, MendFoundGood, slot.has_mend());
                self.apply(cx, partition, key, object, Some(at_rest));
            }
            Err(reason) => {
                // Unknown is not absent: nothing can be joined with it, and nothing can be said about it.
                cx.shared.stats.damaged += 1;
                cx.note(Note::Damaged { key: key.clone(), reason });
                if planted!(cx.shared.plants, WaiterDropped) {
                    return;
                }
                let replica = cx.shared.replicas.get_mut(&partition).expect("a slot's partition is held");
                let mends = |(_, task): &(Waiter, Task)| match task {
                    Task::Mend { clock, had, .. } => may_mend(replica, &key, clock, had.as_ref(), has_failed),
                    _ => false,
                };
                let first = slot.waiting.iter().position(mends);
                sometimes!(cx.shared.moments, MendPutOff, first.is_none() && slot.has_mend());
                let rest = slot.waiting.split_off(first.unwrap_or(slot.waiting.len()));
                let refused = core::mem::replace(&mut slot.waiting, rest);
                self.load -= refused.len();
                if first.is_some() {
                    replica.mends += 1;
                    self.apply(cx, partition, key, Object::default(), None);
                } else {
                    self.slots.remove(&key);
                    cx.step(Step::Damaged(key));
                }
                // A row that could not be read may be good.
                let refusal = if has_failed { Refusal::Storage } else { Refusal::Damaged };
                for (waiter, _) in refused {
                    cx.done(waiter, Answer::Refused(refusal));
                }
            }
        }
    }

    /// A slot's write is done.
    pub(crate) fn on_write(&mut self, cx: &mut Cx<'_>, key: Key, outcome: Result<(), String>) {
        let partition = cx.layout.partition(&key);
        #[cfg(feature = "simulation")]
        if let Some(writing) = self.freed.get_mut(&key).and_then(VecDeque::pop_front) {
            self.conclude(cx, partition, &key, writing, outcome);
            return;
        }
        let slot = self.slots.get_mut(&key).expect("a write belongs to a slot");
        let Phase::Writing(writing) = core::mem::replace(&mut slot.phase, Phase::Reading) else {
            panic!("a write came back to a slot that is not writing");
        };
        let has_waiting = !slot.waiting.is_empty();
        match self.conclude(cx, partition, &key, writing, outcome) {
            Some((object, at_rest)) => self.apply(cx, partition, key, object, Some(at_rest)),
            None if has_waiting => {
                // What is in memory never was: the rest starts from what is at rest.
                sometimes!(cx.shared.moments, SlotRestarted);
                cx.read(Owner::Slot(key.clone()), stored::object_key(partition, &key));
            }
            None => {
                self.slots.remove(&key);
            }
        }
    }

    /// Tells those that waited for a write what came of it. What the key holds now, and the stripped context that its
    /// row has, unless the write failed.
    fn conclude(
        &mut self,
        cx: &mut Cx<'_>,
        partition: Partition,
        key: &Key,
        writing: Writing,
        outcome: Result<(), String>,
    ) -> Option<(Object, Context)> {
        self.load -= writing.answers.len();
        let life = cx.life;
        sometimes!(cx.shared.moments, WriteRefused, outcome.is_err());
        let replica = cx.shared.replicas.get_mut(&partition).expect("a slot's partition is held");
        for dot in &writing.dots {
            replica.writing.remove(dot);
        }
        match outcome {
            Err(reason) if !planted!(cx.shared.plants, FailedWriteAcknowledged) => {
                let burnt = writing.dots.iter().filter(|dot| dot.actor == life);
                for &dot in burnt.filter(|_| !planted!(cx.shared.plants, DotNotBurnt)) {
                    replica.burn(dot);
                    if planted!(cx.shared.plants, BurntClaimedEarly) {
                        replica.absorbed(&Clock::from_context([dot].into_iter().collect()), false);
                    }
                }
                cx.note(Note::WriteFailed { reason });
                for (waiter, _) in writing.answers {
                    cx.done(waiter, Answer::Refused(Refusal::Storage));
                }
                planted!(cx.shared.plants, RefusedWriteRemembered)
                    .then_some((writing.object, writing.at_rest))
            }
            _ => {
                if planted!(cx.shared.plants, BaseJumpsGap) {
                    let base = |actor| replica.clock().as_context().base(actor);
                    let above = writing.dots.iter().filter(|dot| dot.n == base(dot.actor) + 2);
                    let jumped = above.map(|dot| Dot { n: dot.n - 1, ..*dot }).collect();
                    replica.absorbed(&Clock::from_context(jumped), false);
                }
                replica.landed(key, &writing.dots);
                replica.actors.landed(writing.actors);
                replica.note_expiry(&writing.object);
                let object = replica.fill(writing.object);
                sweep::note(cx, partition, key, &writing.at_rest);
                cx.shared.life_stored |= writing.dots.iter().any(|dot| dot.actor == life);
                cx.cut_log(partition);
                for (waiter, answer) in writing.answers {
                    cx.done(waiter, answer);
                }
                Some((object, writing.at_rest))
            }
        }
    }

    /// Applies everything that waits to `object`, what the key holds now, and writes if that changes it. `at_rest` is
    /// the stripped context that the row on disk has; None when the row is damaged and must be written over.
    fn apply(
        &mut self,
        cx: &mut Cx<'_>,
        partition: Partition,
        key: Key,
        mut object: Object,
        at_rest: Option<Context>,
    ) {
        let slot = self.slots.get_mut(&key).expect("the slot is open");
        let mut batch = Batch { changed: at_rest.is_none(), ..Batch::default() };
        let mut queue = core::mem::take(&mut slot.waiting);
        cx.shared.stats.folded += (queue.len() as u64).saturating_sub(1);
        sometimes!(cx.shared.moments, AccessesFolded, queue.len() > 1);
        for (waiter, task) in queue.drain(..) {
            let lost = match &task {
                Task::Mend { object: known, clock, .. } if at_rest.is_none() => {
                    let replica = &cx.shared.replicas[&partition];
                    // An answer may show more than its giver's clock says.
                    let lost = replica.uncovered(&key, clock).filter(|dot| !known.context.has(*dot));
                    lost.take(LOST_MAX).collect()
                }
                _ => Context::new(),
            };
            let mut answer = batch.apply(cx, partition, &mut object, task);
            if !lost.is_empty() && matches!(answer, Answer::Joined) {
                // Others may still get what this node had and sent; only a write of its own tells them that it is gone.
                sometimes!(cx.shared.moments, LostDeleted);
                let change = Change { key: key.clone(), seen: lost, value: None };
                if let Err(refusal) = batch.mint(cx, partition, &mut object, change) {
                    answer = Answer::Refused(refusal);
                }
            }
            let early = match answer {
                Answer::Joined => planted!(cx.shared.plants, AckBeforeSync),
                Answer::Minted { .. } => planted!(cx.shared.plants, DotBeforeDurable),
                Answer::Loaded(_) => planted!(cx.shared.plants, ReadAheadOfSync),
                Answer::Refused(_) => true,
            };
            if early || !batch.is_dirty() {
                self.load -= 1;
                cx.done(waiter, answer);
            } else {
                batch.answers.push((waiter, answer));
            }
        }
        let replica = cx.shared.replicas.get_mut(&partition).expect("a slot's partition is held");
        if !batch.is_dirty() && !batch.strip {
            self.slots.remove(&key);
            return;
        }
        let mut stripped = replica.strip(object.clone(), &batch.dots);
        if planted!(cx.shared.plants, StripOffByOne) {
            let next = |actor| Dot { actor, n: replica.clock().as_context().base(actor) + 1 };
            let further: Vec<Dot> = object.context.actors().map(next).collect();
            stripped = replica.strip(object.clone(), &further);
        }
        let context = stripped.as_ref().map_or_else(Context::new, |object| object.context.clone());
        if !batch.is_dirty() && at_rest.as_ref() == Some(&context) {
            sweep::note(cx, partition, &key, &context);
            self.slots.remove(&key);
            return;
        }
        cx.shared.stats.stripped += u64::from(!batch.is_dirty());
        sometimes!(cx.shared.moments, ObjectStripped, !batch.is_dirty());
        sometimes!(cx.shared.moments, TracelessDelete, stripped.is_none());
        sometimes!(cx.shared.moments, WritesFolded, batch.dots.len() > 1);
        let mut rows = Vec::with_capacity(batch.dots.len() + 2);
        rows.push(stored::object_row(partition, &key, stripped.as_ref(), &mut replica.actors));
        let unlogged =
            if planted!(cx.shared.plants, FoldLosesFirst) { batch.dots.len().max(1) - 1 } else { 0 };
        rows.extend(batch.dots[unlogged..].iter().map(|&dot| stored::log_row(partition, dot, &key)));
        let is_recorded = cx.shared.life_stored || planted!(cx.shared.plants, LifeUnrecorded);
        if !is_recorded && batch.dots.iter().any(|dot| dot.actor == cx.life) {
            rows.push(stored::life_row(cx.life, false));
        }
        rows.extend(stored::actor_rows(partition, &replica.actors));
        replica.writing.extend(batch.dots.iter().map(|&dot| (dot, key.clone())));
        let actors = replica.actors.len();
        if planted!(cx.shared.plants, ActorCountedEarly) {
            replica.actors.landed(actors);
        }
        let writing = Writing { object, dots: batch.dots, answers: batch.answers, at_rest: context, actors };
        #[cfg(feature = "simulation")]
        if planted!(cx.shared.plants, SlotFreedEarly) {
            self.slots.remove(&key);
            self.freed.entry(key.clone()).or_default().push_back(writing);
            return cx.write(Owner::Slot(key), Class::Synced, rows);
        }
        self.slots.get_mut(&key).expect("the slot is open").phase = Phase::Writing(writing);
        cx.write(Owner::Slot(key), Class::Synced, rows);
    }
}

/// Whether the join of what others hold, who have seen `clock` together, may be written over a damaged row of `key`. What
/// they have not seen may be given up if it is of what this node `had` seen when it asked all that there are, and the row
/// was read: one that could not be read may still be good. And what a checkpoint on its way claims may have come with
/// the row that is lost.
fn may_mend(replica: &Replica, key: &Key, clock: &Clock, had: Option<&Clock>, has_failed: bool) -> bool {
    let mut known = clock.clone();
    if let Some(had) = had.filter(|_| !has_failed) {
        known.join(had);
    }
    replica.is_covered(key, &known) && replica.claiming.is_none()
}

/// When a value expires that is written now and may be kept for `ttl`, in milliseconds since the Unix epoch; never
/// before that time is over, and in a millisecond at the earliest.
pub(crate) fn expiry(wall: Wall, ttl: Duration) -> u64 {
    let ttl = ttl.clamp(Duration::from_millis(1), TTL_MAX);
    let ms = (u128::from(wall.0) + ttl.as_nanos()).div_ceil(1_000_000);
    u64::try_from(ms).unwrap_or(u64::MAX)
}

/// What a row of applied accesses amounts to.
#[derive(Default)]
struct Batch {
    dots: Vec<Dot>,
    answers: Vec<(Waiter, Answer)>,
    changed: bool,
    /// Whether the row is to be written if only its stripped form has become smaller.
    strip: bool,
}

impl Batch {
    /// Whether there is something to write.
    fn is_dirty(&self) -> bool {
        self.changed || !self.dots.is_empty()
    }

    fn apply(&mut self, cx: &mut Cx<'_>, partition: Partition, object: &mut Object, task: Task) -> Answer {
        match task {
            Task::Load => Answer::Loaded(object.clone()),
            Task::Mint(change) => match self.mint(cx, partition, object, change) {
                Ok(answer) => answer,
                Err(refusal) => Answer::Refused(refusal),
            },
            Task::Join { object: other, dots, why } => {
                match self.join(cx, partition, object, other, dots, why) {
                    Ok(()) => Answer::Joined,
                    Err(refusal) => Answer::Refused(refusal),
                }
            }
            Task::Strip => {
                self.strip = true;
                Answer::Joined
            }
            Task::Mend { object: other, .. } => {
                let dots = other.dots().collect();
                match self.join(cx, partition, object, other, dots, Join::Mend) {
                    Ok(()) => {
                        *object = cx.shared.replicas[&partition].fill(core::mem::take(object));
                        Answer::Joined
                    }
                    Err(refusal) => Answer::Refused(refusal),
                }
            }
        }
    }

    fn mint(
        &mut self,
        cx: &mut Cx<'_>,
        partition: Partition,
        object: &mut Object,
        change: Change,
    ) -> Result<Answer, Refusal> {
        let limits = &cx.config.limits;
        if let Some(value) = &change.value {
            let kept = object.store.0.iter().filter(|&(&dot, _)| !change.seen.has(dot));
            let (siblings, bytes) =
                kept.fold((0usize, 0usize), |(count, bytes), (_, kept)| (count + 1, bytes + kept.size()));
            let added = value.bytes.len() + value.content_type.len();
            let is_full =
                siblings >= limits.siblings || (siblings > 0 && bytes + added > limits.object_bytes);
            if is_full && !planted!(cx.shared.plants, SiblingsLimitIgnored) {
                sometimes!(cx.shared.moments, SiblingsLimit);
                let siblings = u32::try_from(siblings).unwrap_or(u32::MAX);
                return Err(Refusal::TooManySiblings { siblings, bytes: bytes as u64 });
            }
        }
        let at = cx.shared.hlc.next(cx.now.wall);
        let life = cx.life;
        let replica = cx.shared.replicas.get_mut(&partition).expect("a slot's partition is held");
        let mut seen = change.seen;
        if planted!(cx.shared.plants, DeleteWithoutContext) && change.value.is_none() {
            seen.join(&object.context);
        }
        // A client cannot have seen what was not minted yet: a forged clock must not swallow the writes to come.
        seen.cap(life, replica.minted());
        let dot = replica.mint(life);
        cx.shared.stats.minted += 1;
        let sibling = change.value.map(|value| Sibling {
            value: value.bytes,
            content_type: value.content_type,
            at,
            expires: value.ttl.map_or(0, |ttl| expiry(cx.now.wall, ttl)),
        });
        let delta = Object::delta(seen, dot, sibling);
        object.join(delta.clone());
        self.dots.push(dot);
        // The writer has seen what it had seen before, and this write; never a sibling that it was not shown. When none
        // such is left, all else that this replica has seen is obsolete, and the whole context says it in fewer words.
        let nothing_unseen = object.store.is_empty() || object.dots().eq([dot]);
        sometimes!(cx.shared.moments, UnseenKept, !nothing_unseen);
        let whole = nothing_unseen || planted!(cx.shared.plants, AckShowsUnseen);
        let shown = if whole { &object.context } else { &delta.context };
        let shown = shown.within(CLIENT_ACTORS_MAX, object.dots().chain([dot]));
        Ok(Answer::Minted { dot, shown, delta })
    }

    fn join(
        &mut self,
        cx: &mut Cx<'_>,
        partition: Partition,
        object: &mut Object,
        mut other: Object,
        mut named: Vec<Dot>,
        why: Join,
    ) -> Result<(), Refusal> {
        let life = cx.life;
        let latest = other.siblings().map(|sibling| sibling.at).max().unwrap_or(Hlc(0));
        if !cx.shared.hlc.adopt(latest, cx.now.wall) {
            cx.shared.stats.drift_refused += 1;
            sometimes!(cx.shared.moments, DriftRefused);
            cx.note(Note::DriftRefused {
                ahead: Duration::from_millis(latest.millis() - cx.now.wall.millis()),
            });
        }
        let replica = cx.shared.replicas.get_mut(&partition).expect("a slot's partition is held");
        other.context.cap(life, replica.minted());
        if why == Join::Delta {
            // Whoever shows a dot has its whole effect. What comes in is claimed, named or not, so that a pull that is
            // under way sees that it has come.
            named.extend(other.dots().filter(|dot| !named.contains(dot)).collect::<Vec<_>>());
        }
        if named.iter().copied().chain(other.dots()).any(|dot| replica.is_claiming(dot)) {
            // Its effect may have been removed, as the clock on its way to disk says without naming the key. Before that
            // lands it can neither be taken in nor passed over; whoever sent it may try again.
            sometimes!(cx.shared.moments, ClaimedRefused);
            return Err(Refusal::CatchingUp);
        }
        if why == Join::Repair && planted!(cx.shared.plants, RepairWithoutContext) {
            other.context = other.dots().collect();
        }
        if why == Join::Repair && planted!(cx.shared.plants, RepairClaimsContext) {
            let spans = Clock::from_context(other.context.clone()).missing_from(replica.clock());
            let dots = |(actor, first, last)| (first..=last).map(move |n| Dot { actor, n });
            named = spans.into_iter().flat_map(dots).collect();
        }
        // Dots that this life would still have to mint cannot have had an effect anywhere; what it minted here while another
        // replica was, or none, is news to this one.
        let is_own = |dot: &Dot| dot.actor == life && dot.n > replica.regained();
        let fresh = |dot: &Dot| !replica.clock().has(*dot) && !is_own(dot) && dot.is_real();
        let fresh: Vec<Dot> =
            named.iter().copied().filter(|dot| fresh(dot) && !self.dots.contains(dot)).collect();
        if why == Join::Delta && !named.is_empty() && fresh.is_empty() {
            // Its effect is here already, and may since have been removed.
            sometimes!(cx.shared.moments, DeltaKnown);
            return Ok(());
        }
        if why == Join::Repair && planted!(cx.shared.plants, RepairOverwrites) {
            *object = Object::default();
        }
        let before = object.store.clone();
        let known = object.context.clone();
        object.join(other.clone());
        if planted!(cx.shared.plants, JoinKeepsDominated) {
            object.store.0.extend(before.0.clone());
        }
        if planted!(cx.shared.plants, JoinDropsConcurrent) && !other.store.is_empty() {
            object.store.0.retain(|dot, _| other.store.has(*dot));
        }
        let changed = object.store != before;
        cx.shared.stats.repairs_applied += u64::from(why == Join::Repair && changed);
        // A context that grew alone is not worth a write, unless the clock is going to claim the dots in it: then the
        // row must remember which of them were removed.
        let remembers = matches!(why, Join::Whole | Join::Mend);
        self.changed |= changed || (remembers && !known.covers(&other.context));
        if fresh.iter().any(|dot| cx.shared.ended.contains(&dot.actor)) {
            cx.went_back(partition);
        }
        self.dots.extend(fresh);
        Ok(())
    }
}
