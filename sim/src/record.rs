//! What the clients saw, kept small while a run lasts, and as a history when it is judged.
//!
//! An [`Op`] is one call from its invocation to its end. Invocations and ends are numbered in one order, the order
//! in which the world made them happen: that is what "before" means to every check. Writes and deletes each have an
//! identity of their own, and each says which identities its session's context covered. The checks read the ops;
//! `godown-jepsen` gets them as its own events, with what the replicas hold at the end as final reads.

use godown_core::key::Key;
use godown_core::message::Failure;
use godown_jepsen::history::{Event, History, Name};

use crate::scenario::key_name;

/// What a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It read a key.
    Read,
    /// It wrote a value.
    Write,
    /// It deleted.
    Delete,
}

impl Act {
    /// The name of the function in a history.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It has not.
    Open,
    /// It happened.
    Ok,
    /// It certainly did not.
    Fail(Failure),
    /// Nobody knows, because of this.
    Unknown(Option<Failure>),
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The session.
    pub session: usize,
    /// The session, or what it became after an unknown outcome.
    pub process: u64,
    /// What it did.
    pub act: Act,
    /// The key's place in [`Record::keys`].
    pub key: usize,
    /// The node that was called.
    pub node: usize,
    /// The identity of what was written or deleted; 0 for reads.
    pub id: u64,
    /// The identities that its context covered.
    pub seen: Vec<u64>,
    /// The replicas that had to answer.
    pub quorum: usize,
    /// How long what it wrote is kept, unless it is for ever.
    pub ttl_ns: Option<u64>,
    /// When it was called.
    pub at_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// Its invocation's place in the order of all events.
    pub invoked: usize,
    /// Its end's place.
    pub completed: usize,
    /// How it ended.
    pub end: End,
    /// The identities that a read showed.
    pub shown: Vec<u64>,
}

/// What a replica holds of a key in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The node.
    pub node: usize,
    /// The key's place in [`Record::keys`].
    pub key: usize,
    /// The identities of its siblings.
    pub ids: Vec<u64>,
}

/// A page of keys that a client was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The node that was called.
    pub node: usize,
    /// When it was answered.
    pub at_ns: u64,
    /// Its place in the order of all events: just before the event with this number.
    pub completed: usize,
    /// The keys.
    pub keys: Vec<Key>,
}

/// A node's wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// The node.
    pub node: usize,
    /// When.
    pub at_ns: u64,
    /// How far from then on the clock is from where it would be by itself.
    pub off_ns: i64,
}

/// All calls of a run, in order of invocation.
#[derive(Clone, Debug, Default)]
pub struct Record {
    keys: Vec<u32>,
    ops: Vec<Op>,
    listings: Vec<Listing>,
    jumps: Vec<Jump>,
    /// When the clients began.
    begun_ns: u64,
    events: usize,
    last_id: u64,
}

impl Record {
    /// A record of calls of keys with these numbers, in rising order.
    #[must_use]
    pub fn new(keys: Vec<u32>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// The numbers of the keys.
    #[must_use]
    pub fn keys(&self) -> &[u32] {
        &self.keys
    }

    /// The place of the key with this number.
    #[must_use]
    pub fn place(&self, key: u32) -> Option<usize> {
        self.keys.binary_search(&key).ok()
    }

    /// The name of the key with this place.
    #[must_use]
    pub fn key_name(&self, place: usize) -> String {
        key_name(self.keys[place])
    }

    /// How many invocations and ends there were.
    #[must_use]
    pub fn events(&self) -> usize {
        self.events
    }

    /// A client was shown a page of keys.
    pub fn listed(&mut self, listing: Listing) {
        self.listings.push(listing);
    }

    /// The pages of keys that clients were shown.
    #[must_use]
    pub fn listings(&self) -> &[Listing] {
        &self.listings
    }

    /// The clients begin.
    pub fn begin(&mut self, now_ns: u64) {
        self.begun_ns = now_ns;
    }

    /// When the clients began. A fault's times count from then on.
    #[must_use]
    pub fn begun_ns(&self) -> u64 {
        self.begun_ns
    }

    /// How far a wall clock is off may have changed.
    pub fn jumped(&mut self, jump: Jump) {
        let before = self.jumps.iter().rev().find(|before| before.node == jump.node);
        if before.map_or(0, |before| before.off_ns) != jump.off_ns {
            self.jumps.push(jump);
        }
    }

    /// Every time that a wall clock was set.
    #[must_use]
    pub fn jumps(&self) -> &[Jump] {
        &self.jumps
    }

    /// All calls, in order of invocation.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// An identity that nothing else has. They rise.
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A call begins. What is returned names it.
    pub fn invoke(&mut self, mut op: Op) -> usize {
        op.invoked = self.events;
        self.events += 1;
        self.ops.push(op);
        self.ops.len() - 1
    }

    /// A call ends.
    ///
    /// # Panics
    /// When it had ended before.
    pub fn complete(&mut self, op: usize, at_ns: u64, end: End, shown: Vec<u64>) -> &Op {
        let events = self.events;
        self.events += 1;
        let op = &mut self.ops[op];
        assert_eq!(op.end, End::Open, "a call ends once");
        op.completed = events;
        op.ended_ns = at_ns;
        op.end = end;
        op.shown = shown;
        op
    }

    /// The history for `godown-jepsen`. Final reads of what replicas hold follow on the calls, and before these for each
    /// call in `expired` a delete that has seen what it wrote and nothing else, and may have happened or not.
    ///
    /// `is_certain` says of an operation whose outcome its client does not know whether the run shows that it happened.
    /// Times, nodes and reasons, which no check asks for, are in it only when it is `told` to people.
    #[must_use]
    pub fn history(
        &self,
        source: String,
        held: &[Held],
        expired: &[usize],
        told: bool,
        is_certain: impl Fn(&Op) -> bool,
    ) -> History {
        let mut events: Vec<Option<Event>> = vec![None; self.events];
        for op in &self.ops {
            let f = Name::literal(op.act.name());
            let tell = |event: Event, at_ns| {
                let event = event.key(op.key);
                if told { event.node(name(op.node)).at(at_ns) } else { event }
            };
            let explain = |event: Event, failure: &Failure| {
                if told { event.error(failure.to_string()) } else { event }
            };
            let mut invoke = tell(Event::invoke(op.process, &f), op.at_ns);
            if op.act != Act::Read {
                invoke = invoke.value(op.id).seen(op.seen.iter().copied());
            }
            events[op.invoked] = Some(invoke);
            let end = match &op.end {
                End::Open => continue,
                End::Ok if op.act == Act::Read => Event::ok(op.process, &f).value(op.shown.clone()),
                End::Ok => Event::ok(op.process, &f),
                End::Unknown(_) if is_certain(op) => Event::ok(op.process, &f),
                End::Unknown(Some(failure)) => explain(Event::info(op.process, &f), failure),
                End::Unknown(None) => Event::info(op.process, &f),
                End::Fail(failure) => explain(Event::fail(op.process, &f), failure),
            };
            events[op.completed] = Some(tell(end, op.ended_ns));
        }
        let mut history = History::new(source);
        events.into_iter().flatten().for_each(|event| history.push(event));
        // Every deletion is by a process of its own, which no session ever was, and so is every replica read.
        let mut processes = self.ops.iter().map(|op| op.process + 1).max().unwrap_or(0);
        for (id, op) in (self.last_id + 1..).zip(expired.iter().map(|&place| &self.ops[place])) {
            let delete = |event: Event| {
                let event = event.key(op.key);
                if told { event.node(name(op.node)) } else { event }
            };
            history.push(delete(Event::invoke(processes, "delete").value(id).seen([op.id])));
            history.push(delete(Event::info(processes, "delete")));
            processes += 1;
        }
        for held in held {
            let process = processes + held.node as u64;
            let read = |event: Event| event.key(held.key).node(name(held.node)).phase("final");
            history.push(read(Event::invoke(process, "read")));
            history.push(read(Event::ok(process, "read")).value(held.ids.clone()));
        }
        history
    }
}

fn name(node: usize) -> Name {
    Name::from(format!("n{}", node + 1))
}
