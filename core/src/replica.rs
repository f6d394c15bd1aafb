//! One partition on one node: its clock, its log from dot to key, and what its other replicas are known to have.
//!
//! The clock here is never ahead of the one on disk. On disk it is a checkpoint plus one log row per dot since; a
//! log row lands in one atomic write with the object that the dot changed, so clock and data cannot part. A
//! checkpoint lands in one write with the removal of the log rows that it makes superfluous.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;

use crate::actors::Actors;
use crate::causal::{Clock, Context, Dot, DotStore};
use crate::id::{Life, NodeId};
use crate::key::Key;
use crate::kind::Object;

/// What is written of a replica beside its objects and its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// What the data has seen; log rows add to it.
    pub clock: Clock,
    /// Per actor the number up to which the log may be incomplete: rows were dropped, or never came because the data
    /// arrived as a whole.
    pub floor: BTreeMap<Life, u64>,
    /// Whether the replica has caught up with the others since it was empty.
    pub complete: bool,
}

/// A partition's state in memory, its objects apart.
#[derive(Debug, Default)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct Replica {
    clock: Clock,
    /// The clock's digest, until the clock changes.
    digest: Cell<Option<u64>>,
    log: BTreeMap<Dot, Key>,
    floor: BTreeMap<Life, u64>,
    seen: BTreeMap<NodeId, Clock>,
    minted: u64,
    /// What this life had minted before the partition came back to this node, or came to it: others may have it.
    regained: u64,
    burnt: BTreeSet<Dot>,
    /// The actors that its objects at rest name by number.
    pub actors: Actors,
    /// Rows of the log that lay beyond gaps of the clock when it was last cut.
    beyond_gaps: usize,
    /// Whether this replica may answer reads: it has been complete once and has not lost its data since.
    pub complete: bool,
    /// Peers that it has caught up with since it was empty, and whether each was itself complete.
    pub caught_up: BTreeMap<NodeId, bool>,
    /// Keys whose objects at rest remember more than the clock's bases imply: to be stripped once those have risen.
    pub residual: BTreeSet<Key>,
    /// Whether there are more of them than may be remembered. Once those that are have been stripped, a pass over the
    /// partition's objects finds the others.
    pub residual_overflows: bool,
    /// The key that was visited last of those.
    pub visited: Option<Key>,
    /// Whether a checkpoint is on its way to disk; there is never a second one beside it.
    pub checkpointing: bool,
    /// What that checkpoint will claim.
    pub claiming: Option<Clock>,
    /// Whether it is about to be dropped, and takes nothing in.
    pub is_retiring: bool,
    /// What this replica still has to do before it has all that the newest layout asks for.
    pub barrier: Option<Barrier>,
    /// When the first value that may expire does, in milliseconds since the Unix epoch, as far as its row has been seen.
    pub next_expiry: Option<u64>,
    /// Damaged rows that have been written anew since the start, or are about to be.
    pub mends: u64,
    /// Dots in writes that are on their way to disk, and their keys.
    pub writing: BTreeMap<Dot, Key>,
    /// Whether it has lost what it once had, and the disk still says that it is complete: no checkpoint that says
    /// otherwise has landed, or is on its way.
    pub lapsed: bool,
}

/// What a replica has to do after a change of layout: catch up once more after all nodes have said that they begin no
/// write under an older one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Barrier {
    /// Requests above this number were made after that; None before.
    pub passed_at: Option<u64>,
    /// Peers that it has caught up with since, and whether each was complete.
    pub caught_up: BTreeMap<NodeId, bool>,
}

impl Replica {
    /// An empty replica of a partition for which this life has minted `minted` dots before.
    #[must_use]
    pub fn reopened(minted: u64) -> Self {
        Self { minted, regained: minted, ..Self::default() }
    }

    /// It has missed what others went on with: it is not complete any more.
    pub fn lapse(&mut self) {
        self.complete = false;
        self.lapsed = true;
        self.caught_up.clear();
    }

    /// The replica that `checkpoint` and the log rows since describe.
    #[must_use]
    pub fn load(checkpoint: Checkpoint, log: BTreeMap<Dot, Key>) -> Self {
        let mut clock = checkpoint.clock;
        for &dot in log.keys() {
            clock.insert(dot);
        }
        Self { clock, log, floor: checkpoint.floor, complete: checkpoint.complete, ..Self::default() }
    }

    /// What the data has seen.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The digest of what the data has seen.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let digest = self.digest.get().unwrap_or_else(|| self.clock.digest());
        self.digest.set(Some(digest));
        digest
    }

    /// Log rows not yet dropped.
    #[must_use]
    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    /// The highest number minted in this life.
    #[must_use]
    pub const fn minted(&self) -> u64 {
        self.minted
    }

    /// The highest number that this life had minted in the partition before this replica was opened.
    #[must_use]
    pub const fn regained(&self) -> u64 {
        self.regained
    }

    /// A new dot of this node's current life. It counts as seen once it has [`landed`](Self::landed), or, when its
    /// write failed, once a checkpoint says so.
    pub fn mint(&mut self, life: Life) -> Dot {
        self.minted += 1;
        Dot { actor: life, n: self.minted }
    }

    /// A write with these dots of `key` is on disk.
    pub fn landed(&mut self, key: &Key, dots: &[Dot]) {
        self.digest.set(None);
        for &dot in dots {
            self.clock.insert(dot);
            self.log.insert(dot, key.clone());
        }
    }

    /// A minted dot's write has failed: it never was, and never will be, on any key. The clock claims it only once a
    /// checkpoint does: contexts that carry it would otherwise outlive a crash that forgets it, and could never be
    /// stripped of it.
    pub fn burn(&mut self, dot: Dot) {
        self.burnt.insert(dot);
    }

    /// A clock of the burnt dots that no checkpoint holds yet; None when there are none.
    #[must_use]
    pub fn burnt(&self) -> Option<Clock> {
        (!self.burnt.is_empty()).then(|| Clock::from_context(self.burnt.iter().copied().collect()))
    }

    /// A checkpoint that holds `clock` is on disk; `whole` says that all of it came as objects, without log rows.
    pub fn absorbed(&mut self, clock: &Clock, whole: bool) {
        self.digest.set(None);
        self.clock.join(clock);
        self.burnt.retain(|&dot| !clock.has(dot));
        if whole {
            raise_floor(&mut self.floor, clock);
        }
    }

    /// Whether it is not known yet that this replica has caught up with that peer while the peer was complete, or was not.
    #[must_use]
    pub fn is_news(&self, (peer, is_complete): (NodeId, bool)) -> bool {
        self.caught_up.get(&peer).is_none_or(|&was_complete| is_complete && !was_complete)
    }

    /// Whether a checkpoint on its way claims `dot`, which has not landed here. Whether its effect still stands or has
    /// been removed is settled then: it must not come in beside that checkpoint.
    #[must_use]
    pub fn is_claiming(&self, dot: Dot) -> bool {
        self.claiming.as_ref().is_some_and(|claiming| claiming.has(dot)) && !self.clock.has(dot)
    }

    /// Whether something has come in since the clock was `own`, or is about to, that `clock` covers.
    #[must_use]
    pub fn is_overtaken(&self, own: &Clock, clock: &Clock) -> bool {
        let gained = self.clock.missing_from(own);
        let covers = |&(actor, first, last): &_| clock.as_context().has_any(actor, first, last);
        gained.iter().any(covers) || self.writing.keys().any(|&dot| clock.has(dot))
    }

    /// Keys after `after`, up to and with `until`, that are being written with dots of their own.
    pub fn writing_within<'a>(
        &'a self,
        after: Option<&'a Key>,
        until: Option<&'a Key>,
    ) -> impl Iterator<Item = &'a Key> {
        let is_within = move |key: &&Key| {
            after.is_none_or(|after| *key > after) && until.is_none_or(|until| *key <= until)
        };
        self.writing.values().filter(is_within)
    }

    /// An object read from disk, with what the clock implies.
    #[must_use]
    pub fn fill(&self, mut object: Object) -> Object {
        self.clock.fill(&mut object);
        object
    }

    /// An object for the disk, without what the clock implies once `dots` have landed with it. None when nothing
    /// is left of it: a delete that every base covers leaves no trace.
    #[must_use]
    pub fn strip(&self, mut object: Object, dots: &[Dot]) -> Option<Object> {
        // The write carries the dots' log rows, so on disk the clock has them the moment that the object is there.
        let base = |actor| {
            let base = self.clock.as_context().base(actor);
            dots.iter().fold(
                base,
                |base, dot| {
                    if dot.actor == actor && dot.n == base + 1 { dot.n } else { base }
                },
            )
        };
        object.context.drop_up_to(base);
        let store = &object.store;
        object.context.retain_cloud(|dot| !store.has(dot));
        (!object.store.is_empty() || !object.context.is_empty()).then_some(object)
    }

    /// `object` is at rest here, or about to be.
    pub fn note_expiry(&mut self, object: &Object) {
        let expiries = object.siblings().map(|sibling| sibling.expires).filter(|&at| at > 0);
        self.next_expiry = expiries.chain(self.next_expiry).min();
    }

    /// `key`'s row at rest has this stripped context; `keys_max` keys may be remembered.
    pub fn note_residual(&mut self, key: &Key, at_rest: &Context, keys_max: usize) {
        if at_rest.is_empty() {
            self.residual.remove(key);
        } else if !self.residual.contains(key) {
            if self.residual.len() < keys_max {
                self.residual.insert(key.clone());
            } else {
                self.residual_overflows = true;
            }
        }
    }

    /// Whether nothing is remembered for stripping any more, and there was more than could be.
    #[must_use]
    pub fn wants_sweep(&self) -> bool {
        self.residual_overflows && self.residual.is_empty()
    }

    /// The dots of the log that `theirs` lacks, by key, for a little more than `keys_max` keys at most; and whether the
    /// log reaches back far enough to name all.
    #[must_use]
    pub fn missing(&self, theirs: &Clock, keys_max: usize) -> (BTreeMap<&Key, Vec<Dot>>, bool) {
        let mut keys: BTreeMap<&Key, Vec<Dot>> = BTreeMap::new();
        let mut reaches = true;
        for (actor, first, last) in self.clock.missing_from(theirs) {
            reaches &= first > self.floor.get(&actor).copied().unwrap_or(0);
            let span = Dot { actor, n: first }..=Dot { actor, n: last };
            for (&dot, key) in self.log.range(span) {
                if keys.len() > keys_max {
                    break;
                }
                keys.entry(key).or_default().push(dot);
            }
        }
        (keys, reaches)
    }

    /// Whether `clock` covers every dot of `key` that this replica has seen, as far as its log says which those are. Where
    /// the log does not reach, any dot may be one.
    #[must_use]
    pub fn is_covered(&self, key: &Key, clock: &Clock) -> bool {
        self.uncovered(key, clock).next().is_none()
    }

    /// The dots that this replica has seen and `clock` lacks and that are of `key` or, below the log's floor, may be.
    pub fn uncovered<'a>(&'a self, key: &'a Key, clock: &Clock) -> impl Iterator<Item = Dot> + 'a {
        self.clock.missing_from(clock).into_iter().flat_map(move |(actor, first, last)| {
            let floor = self.floor.get(&actor).copied().unwrap_or(0);
            let dots = (first..=last).map(move |n| Dot { actor, n });
            dots.filter(move |dot| self.log.get(dot).map_or(dot.n <= floor, |other| other == key))
        })
    }

    /// `peer` is known to have everything in `clock`.
    pub fn peer_has(&mut self, peer: NodeId, clock: &Clock) {
        // Replaced, not joined: a peer that lost its disk has less than it had, and must be believed.
        note_seen(&mut self.seen, peer, clock);
    }

    /// `peer` is known to have seen exactly what this replica has.
    pub fn peer_is_equal(&mut self, peer: NodeId) {
        note_seen(&mut self.seen, peer, &self.clock);
    }

    /// What `peer` said last about what it has seen.
    #[must_use]
    pub fn seen_by(&self, peer: NodeId) -> Option<&Clock> {
        self.seen.get(&peer)
    }

    /// Whether `peer` is known to have seen everything that these lives have written here.
    #[must_use]
    pub fn has_given(&self, peer: NodeId, lives: impl Fn(Life) -> bool) -> bool {
        let nothing = Clock::new();
        let seen = self.seen.get(&peer).unwrap_or(&nothing);
        !self.clock.missing_from(seen).iter().any(|&(actor, ..)| lives(actor))
    }

    /// Log rows that `peer` is not known to have in its gap-free base: what waits for it.
    #[must_use]
    pub fn waiting_for(&self, peer: NodeId) -> usize {
        let Some(seen) = self.seen.get(&peer) else { return self.log.len() };
        self.log.keys().filter(|dot| seen.as_context().base(dot.actor) < dot.n).count()
    }

    /// Log rows that every one of `peers` is known to have in its gap-free base, at most `max` of them, and the
    /// floor that dropping them gives.
    #[must_use]
    pub fn droppable(&self, peers: &[NodeId], max: usize) -> (Vec<Dot>, BTreeMap<Life, u64>) {
        let nothing = Clock::new();
        let mut floor = self.floor.clone();
        let mut dots = Vec::new();
        for (actor, own) in self.clock.as_context().bases() {
            let seen =
                peers.iter().map(|peer| self.seen.get(peer).unwrap_or(&nothing).as_context().base(actor));
            let everywhere = seen.fold(own, u64::min);
            let span = Dot { actor, n: 0 }..=Dot { actor, n: everywhere };
            let before = dots.len();
            dots.extend(self.log.range(span).map(|(&dot, _)| dot).take(max - before));
            if let Some(last) = dots[before..].last() {
                let lowest = floor.entry(actor).or_default();
                *lowest = last.n.max(*lowest);
            }
        }
        (dots, floor)
    }

    /// Whether the log has so many more rows than `rows_max` that it is worth cutting. Rows beyond gaps do not count.
    #[must_use]
    pub fn is_log_long(&self, rows_max: usize) -> bool {
        self.log.len() > rows_max + rows_max / 16 + self.beyond_gaps
    }

    /// Log rows that are too many when `rows_max` may stay beside those of `dropped`: always one of the actor that has
    /// most left, and of these the oldest. Dropping them raises `floor`: it tells peers that lack them that the log does
    /// not reach. What lies beyond a gap stays: a peer without it gets it by the log or never, as a transfer of the whole
    /// partition claims bases only.
    #[must_use]
    pub fn excess(&mut self, dropped: &[Dot], rows_max: usize, floor: &mut BTreeMap<Life, u64>) -> Vec<Dot> {
        let is_dropped: BTreeSet<&Dot> = dropped.iter().collect();
        let mut left: BTreeMap<Life, VecDeque<Dot>> = BTreeMap::new();
        self.beyond_gaps = 0;
        for &dot in self.log.keys().filter(|dot| !is_dropped.contains(dot)) {
            if dot.n <= self.clock.as_context().base(dot.actor) {
                left.entry(dot.actor).or_default().push_back(dot);
            } else {
                self.beyond_gaps += 1;
            }
        }
        let mut rows: usize = left.values().map(VecDeque::len).sum();
        let mut excess = Vec::new();
        while rows > rows_max {
            let Some(longest) = left.values_mut().max_by_key(|dots| dots.len()) else { break };
            let Some(dot) = longest.pop_front() else { break };
            let lowest = floor.entry(dot.actor).or_default();
            *lowest = dot.n.max(*lowest);
            excess.push(dot);
            rows -= 1;
        }
        excess
    }

    /// The log rows of `dots` are being dropped.
    pub fn drop_log(&mut self, dots: &[Dot], floor: BTreeMap<Life, u64>) {
        for dot in dots {
            self.log.remove(dot);
        }
        self.floor = floor;
    }

    /// What to write beside the objects and the log, with `absorbed` on top of what this replica has seen; `whole`
    /// says that all of it came as objects.
    #[must_use]
    pub fn checkpoint(&self, absorbed: Option<&Clock>, whole: bool) -> Checkpoint {
        let mut clock = self.clock.clone();
        let mut floor = self.floor.clone();
        if let Some(absorbed) = absorbed {
            clock.join(absorbed);
            if whole {
                raise_floor(&mut floor, absorbed);
            }
        }
        Checkpoint { clock, floor, complete: self.complete }
    }

    /// What is still to be dropped, stripped or put on record, in words; `peers` hold the partition too.
    #[must_use]
    pub fn unrest(&self, peers: &[NodeId]) -> Option<String> {
        let has = |clock: Option<&Clock>, dot: Dot| {
            clock.is_some_and(|clock| clock.as_context().base(dot.actor) >= dot.n)
        };
        if let Some((&dot, key)) = self.log.first_key_value() {
            let rows = self.log.len();
            let why = match peers.iter().find(|&peer| !has(self.seen_by(*peer), dot)) {
                _ if !has(Some(&self.clock), dot) => format!("this node has a gap below {dot}"),
                Some(peer) => format!("{peer} is not known to have all up to {dot}"),
                None => format!("all are known to have {dot}"),
            };
            return Some(format!("its log has {rows} rows, the first of {key:?}: {why}"));
        }
        if let Some(key) = self.residual.first() {
            let keys = self.residual.len();
            return Some(format!("{keys} keys are to be stripped, the first is {key:?}"));
        }
        if self.residual_overflows {
            return Some("more keys are to be stripped than were remembered".to_string());
        }
        if self.lapsed {
            return Some("that it is not complete any more is not on record".to_string());
        }
        if let Some(dot) = self.burnt.first() {
            return Some(format!("the burnt dot {dot} is not on record"));
        }
        self.checkpointing.then(|| "a checkpoint is on its way".to_string())
    }

    /// Panics when the parts disagree.
    pub fn check(&self, life: Life) {
        let context = self.clock.as_context();
        for (&dot, key) in &self.log {
            assert!(context.has(dot), "the log names {dot} of {key}, which the clock has not seen");
        }
        assert!(context.highest(life) <= self.minted, "the clock has dots of this life that it never minted");
    }
}

/// All that `clock` covers has arrived without log rows: the log does not reach below it.
fn raise_floor(floor: &mut BTreeMap<Life, u64>, clock: &Clock) {
    for actor in clock.as_context().actors() {
        let floor = floor.entry(actor).or_default();
        *floor = clock.as_context().highest(actor).max(*floor);
    }
}

fn note_seen(all: &mut BTreeMap<NodeId, Clock>, peer: NodeId, clock: &Clock) {
    // Mostly it is no news, and comparing is cheaper than copying.
    match all.get_mut(&peer) {
        Some(seen) if seen == clock => {}
        Some(seen) => seen.clone_from(clock),
        None => _ = all.insert(peer, clock.clone()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn no_more_keys_are_remembered_for_stripping_than_the_limit() {
        const MAX: usize = 3;
        let mut replica = Replica::default();
        let key = |n: usize| Key(format!("{n}").into());
        let rest: Context = [Dot { actor: Life(1), n: 2 }].into_iter().collect();
        for n in [0, 1, 2, 0, 1, 2] {
            replica.note_residual(&key(n), &rest, MAX);
        }
        assert!(replica.residual.len() == MAX && !replica.residual_overflows, "all that there are fit");
        replica.note_residual(&key(3), &rest, MAX);
        assert!(replica.residual.len() == MAX && replica.residual_overflows);
        for n in 0..MAX {
            assert!(!replica.wants_sweep(), "those that are remembered come first");
            replica.note_residual(&key(n), &Context::new(), MAX);
        }
        assert!(replica.wants_sweep());
    }

    #[test]
    fn a_clock_covers_a_key_when_it_has_all_dots_of_it_that_the_log_names() {
        let (one, other) = (Key("one".into()), Key("other".into()));
        let dot = |n| Dot { actor: Life(1), n };
        let clock = |up_to| {
            let mut context = Context::new();
            context.raise(Life(1), up_to);
            Clock::from_context(context)
        };
        let mut replica = Replica::default();
        replica.landed(&one, &[dot(1)]);
        replica.landed(&other, &[dot(2)]);
        assert!(!replica.is_covered(&one, &clock(0)));
        assert!(replica.is_covered(&one, &clock(1)), "the other key's dot does not matter");
        assert!(!replica.is_covered(&other, &clock(1)) && replica.is_covered(&other, &clock(2)));
        let (dropped, floor) = replica.droppable(&[], 1);
        replica.drop_log(&dropped, floor);
        assert!(!replica.is_covered(&other, &clock(0)) && !replica.is_covered(&one, &clock(0)));
        assert!(replica.is_covered(&one, &clock(1)), "above the floor the log still says whose a dot is");
        replica.absorbed(&clock(5), true);
        assert!(!replica.is_covered(&one, &clock(4)), "what came without log rows may be of any key");
        assert!(replica.is_covered(&one, &clock(5)));
    }
}
