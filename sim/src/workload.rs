//! The clients: sessions that call one node each, one call at a time, and remember what they have seen.
//!
//! What a session calls is laid down in its plans. It keeps, for each key, the context of its last read or acknowledgement
//! and the identities that this context covers: what the read showed; after an acknowledgement, what it covered
//! before and the write itself. A call whose outcome is unknown (no answer, or one that does not say)
//! ends a process: the session goes on as a new one that has seen nothing, and some of its writes it tries again with
//! what the first attempt had seen. When the faults are over the sessions
//! stop, and one more, the auditor, reads every key from all its replicas until each has been answered.
//! The clients know no world: they are woken, answered and told of crashes, and say what to do next. They draw nothing.

use std::time::Duration;

use bytes::Bytes;
use godown_core::causal::Context;
use godown_core::id::CallId;
use godown_core::input::{Call, Reply, Wish};
use godown_core::message::{Change, Failure as Failed, Value};

use crate::check::{Check, Failure};
use crate::record::{Act, End, Jump, Listing, Op, Record};
use crate::scenario::{self, Deed, MS, Plan, SECOND, Scenario, US};

/// What a client wants of the world.
#[derive(Clone, Debug)]
pub enum Todo {
    /// Give this call to a node.
    Call {
        /// The node.
        node: usize,
        /// The call's name.
        id: CallId,
        /// The call.
        call: Call,
    },
    /// Wake a session.
    Wake {
        /// Which.
        session: usize,
        /// When.
        at_ns: u64,
    },
}

/// What a session has seen of a key.
#[derive(Clone, Debug, Default)]
struct Knowledge {
    context: Context,
    seen: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It pauses.
    Thinking,
    /// It waits for this call, which is in the record unless it lists keys.
    Calling { id: CallId, op: Option<usize>, gives_up_ns: u64 },
    /// It is done.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// It makes the calls of its plans, from this one on.
    Planned { next: usize },
    /// It reads the keys from this one on, each from all replicas.
    Audit { key: usize },
}

#[derive(Clone, Debug)]
struct Session {
    process: u64,
    node: usize,
    knowledge: Vec<Knowledge>,
    script: Script,
    state: State,
    /// A write whose outcome is unknown and that is to be tried again, with what it had seen.
    again: Option<(Plan, Knowledge)>,
    /// Whether the present call is such a second attempt, which is not followed by a third.
    is_again: bool,
    /// When it wants to be woken; an earlier wake is one that has been overtaken.
    wake_ns: u64,
}

/// All clients of a run.
#[derive(Clone, Debug)]
pub struct Workload {
    sessions: Vec<Session>,
    processes: u64,
    calls: u64,
    slack_ns: u64,
    /// Copies of each key, when a node has said that they are not as many as the scenario wants.
    copies: Option<usize>,
    stopped: bool,
    record: Record,
    failures: Vec<Failure>,
}

/// How a node treats its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It answers in time.
    Up,
    /// It has been down since before.
    Down,
    /// It is held up, or was just now; nobody may complain before this time.
    HeldUp(u64),
}

impl Workload {
    /// The clients of `scenario`. They wait so much longer than a call may take before they complain.
    #[must_use]
    pub fn new(scenario: &Scenario, slack_ns: u64) -> Self {
        let keys = scenario.keys();
        let session = |(process, session): (usize, &scenario::Session)| Session {
            process: process as u64,
            node: session.node,
            knowledge: vec![Knowledge::default(); keys.len()],
            script: Script::Planned { next: 0 },
            state: State::Thinking,
            again: None,
            is_again: false,
            wake_ns: 0,
        };
        let sessions: Vec<Session> = scenario.sessions.iter().enumerate().map(session).collect();
        Self {
            processes: sessions.len() as u64,
            sessions,
            calls: 0,
            slack_ns,
            copies: None,
            stopped: false,
            record: Record::new(keys),
            failures: Vec::new(),
        }
    }

    /// What the clients saw.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Calls that were not answered as they must be.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Whether no client will call again and none waits for an answer.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.sessions.iter().all(|session| session.state == State::Done)
    }

    /// The nodes that an answer is awaited from.
    pub fn awaited(&self) -> impl Iterator<Item = usize> + '_ {
        let waits = |session: &&Session| matches!(session.state, State::Calling { .. });
        self.sessions.iter().filter(waits).map(|session| session.node)
    }

    /// The clients begin.
    pub fn start(&mut self, scenario: &Scenario, now_ns: u64, todo: &mut Vec<Todo>) {
        self.record.begin(now_ns);
        for session in 0..self.sessions.len() {
            self.next(scenario, session, now_ns, todo);
        }
    }

    /// The clients stop, except that the auditor begins.
    pub fn stop(&mut self, scenario: &Scenario, now_ns: u64, todo: &mut Vec<Todo>) {
        self.stopped = true;
        for session in &mut self.sessions {
            if session.state == State::Thinking {
                session.state = State::Done;
            }
        }
        let keys = self.record.keys().len();
        self.sessions.push(Session {
            process: self.processes,
            node: usize::try_from(scenario.seed % scenario.nodes() as u64).expect("it is below a length"),
            knowledge: vec![Knowledge::default(); keys],
            script: Script::Audit { key: 0 },
            state: if keys == 0 { State::Done } else { State::Thinking },
            again: None,
            is_again: false,
            wake_ns: 0,
        });
        self.processes += 1;
        if keys == 0 {
            return;
        }
        // Anti-entropy mends what late messages do. Where there is none, nothing may come after the auditor: neither
        // what was on its way nor what a read repairs that was begun before.
        let late_ns = if scenario.leaves_repair_to_reads() { 2 * scenario.timeout_ns + LATE_MAX } else { 0 };
        self.think(self.sessions.len() - 1, now_ns + late_ns, AUDIT_PAUSE, todo);
    }

    /// It is time for a session to act, unless it has been overtaken by what happened since it asked to be woken.
    pub fn wake(
        &mut self,
        scenario: &Scenario,
        session: usize,
        now_ns: u64,
        manner: impl Fn(usize) -> Manner,
        todo: &mut Vec<Todo>,
    ) {
        let state = &mut self.sessions[session];
        if now_ns < state.wake_ns {
            return;
        }
        match state.state {
            State::Thinking if manner(state.node) != Manner::Down => {
                self.call(scenario, session, now_ns, todo);
            }
            State::Thinking => {
                let nodes = scenario.nodes();
                let first = self.turn_of(scenario, session).max(1);
                let from = self.sessions[session].node;
                let others = (0..nodes).map(|step| (from + first + step) % nodes);
                let up = others.into_iter().find(|node| manner(*node) != Manner::Down);
                self.sessions[session].node = up.unwrap_or(from);
                self.think(session, now_ns, DOWN_PAUSE, todo);
            }
            State::Calling { id, ref mut gives_up_ns, .. } if now_ns >= *gives_up_ns => {
                if let Manner::HeldUp(until_ns) = manner(state.node)
                    && until_ns > now_ns
                {
                    *gives_up_ns = until_ns;
                    state.wake_ns = until_ns;
                    todo.push(Todo::Wake { session, at_ns: until_ns });
                    return;
                }
                let says = format!(
                    "call {} to n{} had no answer within its timeout and {} ms more",
                    id.0,
                    state.node + 1,
                    self.slack_ns / MS
                );
                let failure = Failure::new(Check::Answered, says).on(&[state.node]);
                self.failures.push(failure);
                self.end(scenario, session, now_ns, End::Unknown(None), todo);
            }
            State::Calling { .. } | State::Done => {}
        }
    }

    /// A node has answered.
    pub fn reply(
        &mut self,
        scenario: &Scenario,
        id: CallId,
        reply: Reply,
        now_ns: u64,
        todo: &mut Vec<Todo>,
    ) {
        let session = (id.0 % SESSIONS) as usize;
        let op = match self.sessions.get(session).map(|session| &session.state) {
            Some(State::Calling { id: awaited, op, .. }) if *awaited == id => *op,
            _ => {
                let says = format!("call {} was answered though nobody waits for it: {reply:?}", id.0);
                self.failures.push(Failure::new(Check::Answered, says));
                return;
            }
        };
        let Some(op) = op else {
            match reply {
                Reply::Listed { keys, .. } => self.record.listed(Listing {
                    node: self.sessions[session].node,
                    at_ns: now_ns,
                    completed: self.record.events(),
                    keys,
                }),
                Reply::Failed(_) => {}
                _ => self.misfit(id, &reply),
            }
            return self.end_list(scenario, session, now_ns, todo);
        };
        let place = self.record.ops()[op].key;
        match (reply, self.record.ops()[op].act) {
            (Reply::Got { siblings, seen }, Act::Read) => {
                let shown: Vec<u64> = siblings.iter().map(|sibling| identity(&sibling.value)).collect();
                self.sessions[session].knowledge[place] = Knowledge { context: seen, seen: shown.clone() };
                self.record.complete(op, now_ns, End::Ok, shown);
                self.next(scenario, session, now_ns, todo);
            }
            (Reply::Stored { seen }, Act::Write | Act::Delete) => {
                let op = self.record.complete(op, now_ns, End::Ok, Vec::new());
                let mut covered = op.seen.clone();
                covered.push(op.id);
                self.sessions[session].knowledge[place] = Knowledge { context: seen, seen: covered };
                self.next(scenario, session, now_ns, todo);
            }
            (Reply::Failed(failure), act) => {
                if let Failed::BadQuorum { replicas, .. } = failure {
                    // The auditor asks all that there are.
                    self.copies = Some(usize::from(replicas).max(1));
                }
                // A read that failed has changed nothing, whatever the reason.
                let is_certain = failure.is_certain() || act == Act::Read;
                let end = if is_certain { End::Fail(failure) } else { End::Unknown(Some(failure)) };
                let turn = self.turn_of(scenario, session);
                let state = &mut self.sessions[session];
                state.node = (state.node + turn) % scenario.nodes();
                self.end(scenario, session, now_ns, end, todo);
            }
            (reply, _) => {
                self.misfit(id, &reply);
                self.end(scenario, session, now_ns, End::Unknown(None), todo);
            }
        }
    }

    /// A node has crashed: nobody will answer the calls that it had.
    pub fn crash(&mut self, scenario: &Scenario, node: usize, now_ns: u64, todo: &mut Vec<Todo>) {
        for session in 0..self.sessions.len() {
            let is_cut = matches!(self.sessions[session].state, State::Calling { .. });
            if self.sessions[session].node == node && is_cut {
                self.end(scenario, session, now_ns, End::Unknown(None), todo);
            }
        }
    }

    /// A node's wall clock is so far off from now on.
    pub fn jumped(&mut self, node: usize, at_ns: u64, off_ns: i64) {
        self.record.jumped(Jump { node, at_ns, off_ns });
    }

    fn misfit(&mut self, id: CallId, reply: &Reply) {
        let says = format!("call {} was answered with what it did not ask for: {reply:?}", id.0);
        self.failures.push(Failure::new(Check::Answered, says));
    }

    /// By how many nodes the session moves on when its present call fails.
    fn turn_of(&self, scenario: &Scenario, session: usize) -> usize {
        match self.sessions[session].script {
            Script::Planned { next } => {
                let calls = &scenario.sessions[session].calls;
                calls.get(next.saturating_sub(1)).map_or(0, |plan| plan.turn)
            }
            Script::Audit { .. } => 1,
        }
    }

    fn think(&mut self, session: usize, now_ns: u64, pause_ns: u64, todo: &mut Vec<Todo>) {
        let state = &mut self.sessions[session];
        state.state = State::Thinking;
        state.wake_ns = now_ns + pause_ns;
        todo.push(Todo::Wake { session, at_ns: state.wake_ns });
    }

    /// The session pauses before its next call, or is done.
    fn next(&mut self, scenario: &Scenario, session: usize, now_ns: u64, todo: &mut Vec<Todo>) {
        let state = &mut self.sessions[session];
        let pause_ns = match &mut state.script {
            _ if state.again.is_some() && !self.stopped => Some(US),
            Script::Planned { next } => {
                let plan = scenario.sessions[session].calls.get(*next);
                plan.filter(|_| !self.stopped).map(|plan| plan.after_ns)
            }
            Script::Audit { key } => {
                *key += 1;
                (*key < state.knowledge.len()).then_some(AUDIT_PAUSE)
            }
        };
        match pause_ns {
            Some(pause_ns) => self.think(session, now_ns, pause_ns, todo),
            None => state.state = State::Done,
        }
    }

    /// The session's call has ended otherwise. Of an unknown outcome the session knows nothing any more.
    fn end(&mut self, scenario: &Scenario, session: usize, now_ns: u64, end: End, todo: &mut Vec<Todo>) {
        let State::Calling { op, .. } = self.sessions[session].state else {
            return;
        };
        let Some(op) = op else {
            return self.end_list(scenario, session, now_ns, todo);
        };
        let is_unknown = matches!(end, End::Unknown(_));
        let place = self.record.complete(op, now_ns, end, Vec::new()).key;
        let state = &mut self.sessions[session];
        if is_unknown {
            state.process = self.processes;
            self.processes += 1;
            let forgotten = std::mem::take(&mut state.knowledge[place]);
            state.knowledge.fill(Knowledge::default());
            if let Script::Planned { next } = state.script
                && let Some(plan) = scenario.sessions[session].calls.get(next.wrapping_sub(1))
            {
                let knowledge = if plan.blind { Knowledge::default() } else { forgotten };
                state.again = (plan.retry && !state.is_again).then(|| (plan.clone(), knowledge));
            }
        }
        if matches!(state.script, Script::Audit { .. }) {
            // It asks until it is answered.
            self.think(session, now_ns, AUDIT_PAUSE, todo);
        } else {
            self.next(scenario, session, now_ns, todo);
        }
    }

    fn end_list(&mut self, scenario: &Scenario, session: usize, now_ns: u64, todo: &mut Vec<Todo>) {
        self.sessions[session].state = State::Thinking;
        self.next(scenario, session, now_ns, todo);
    }

    fn call(&mut self, scenario: &Scenario, session: usize, now_ns: u64, todo: &mut Vec<Todo>) {
        self.calls += 1;
        let id = CallId(self.calls * SESSIONS + session as u64);
        let state = &mut self.sessions[session];
        let again = state.again.take();
        state.is_again = again.is_some();
        let (call, op, timeout_ns) = match (&mut state.script, again) {
            (Script::Audit { key }, _) => {
                let (key, all) = (*key, self.copies.unwrap_or(scenario.replicas));
                let op = self.begin(session, Act::Read, (key, all), now_ns, Vec::new(), None);
                let wish = wish(Some(all), None);
                let call = Call::Get { key: Scenario::key(self.record.keys()[key]), wish };
                (call, Some(op), scenario.timeout_ns)
            }
            (Script::Planned { .. }, Some((plan, knowledge))) => {
                self.plan_call(scenario, session, &plan, knowledge, now_ns)
            }
            (Script::Planned { next }, None) => {
                let plan = &scenario.sessions[session].calls[*next];
                *next += 1;
                let place = self.record.place(plan.key);
                let knowledge = match place {
                    Some(place) if !plan.blind => state.knowledge[place].clone(),
                    _ => Knowledge::default(),
                };
                self.plan_call(scenario, session, plan, knowledge, now_ns)
            }
        };
        let state = &mut self.sessions[session];
        let gives_up_ns = now_ns + timeout_ns + self.slack_ns;
        state.state = State::Calling { id, op, gives_up_ns };
        state.wake_ns = gives_up_ns;
        let node = state.node;
        todo.push(Todo::Call { node, id, call });
        todo.push(Todo::Wake { session, at_ns: gives_up_ns });
    }

    fn plan_call(
        &mut self,
        scenario: &Scenario,
        session: usize,
        plan: &Plan,
        knowledge: Knowledge,
        now_ns: u64,
    ) -> (Call, Option<usize>, u64) {
        let lasts_ns = plan.timeout_ns.unwrap_or(scenario.timeout_ns);
        let wish = wish(plan.quorum, plan.timeout_ns);
        let key = Scenario::key(plan.key);
        let act = match plan.deed {
            Deed::List { limit, after } => {
                return (Call::List { after: after.then_some(key), limit, wish }, None, lasts_ns);
            }
            Deed::Read => Act::Read,
            Deed::Write => Act::Write,
            Deed::Delete => Act::Delete,
        };
        let place = self.record.place(plan.key).expect("the record has every key that is planned for");
        if act == Act::Read {
            let quorum = plan.quorum.unwrap_or(scenario.r);
            let op = self.begin(session, Act::Read, (place, quorum), now_ns, Vec::new(), None);
            return (Call::Get { key, wish }, Some(op), lasts_ns);
        }
        let Knowledge { context, seen } = knowledge;
        let quorum = plan.quorum.unwrap_or(scenario.w);
        let op = self.begin(session, act, (place, quorum), now_ns, seen, plan.ttl_ns);
        let value = (act == Act::Write).then(|| Value {
            bytes: value(self.record.ops()[op].id, plan.large),
            content_type: Bytes::new(),
            ttl: plan.ttl_ns.map(Duration::from_nanos),
        });
        let change = Change { key, seen: context, value };
        (Call::Put { change, wish }, Some(op), lasts_ns)
    }

    fn begin(
        &mut self,
        session: usize,
        act: Act,
        (key, quorum): (usize, usize),
        now_ns: u64,
        seen: Vec<u64>,
        ttl_ns: Option<u64>,
    ) -> usize {
        let id = if act == Act::Read { 0 } else { self.record.next_id() };
        let state = &self.sessions[session];
        self.record.invoke(Op {
            session,
            process: state.process,
            act,
            key,
            node: state.node,
            id,
            seen,
            quorum,
            ttl_ns,
            at_ns: now_ns,
            ended_ns: 0,
            invoked: 0,
            completed: 0,
            end: End::Open,
            shown: Vec::new(),
        })
    }
}

/// No message is on its way for longer, however slow its links.
const LATE_MAX: u64 = 20 * SECOND;

/// The auditor pauses so long before each of its calls.
const AUDIT_PAUSE: u64 = 25 * MS;

/// A session that finds its node down tries another after so long.
const DOWN_PAUSE: u64 = MS;

/// More sessions than any scenario has; a call's name says whose it is.
const SESSIONS: u64 = 2 * scenario::SESSIONS_MAX as u64;

fn wish(quorum: Option<usize>, timeout_ns: Option<u64>) -> Wish {
    Wish {
        quorum: quorum.map(|quorum| u8::try_from(quorum).unwrap_or(u8::MAX)),
        timeout: timeout_ns.map(Duration::from_nanos),
        ..Wish::default()
    }
}

/// The value with this identity: its digits, and something after them when it is to be large.
fn value(id: u64, is_large: bool) -> Bytes {
    let mut text = id.to_string();
    if is_large {
        text.push_str(&".".repeat(400));
    }
    Bytes::from(text)
}

/// The identity of a value. Anything else is nobody's: 0.
#[must_use]
pub fn identity(value: &[u8]) -> u64 {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |id: u64, byte| id.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use godown_core::causal::Dot;
    use godown_core::id::Life;
    use godown_core::message::Failure as Reason;

    use super::*;

    /// One session that only writes to one key of n1.
    fn scenario() -> Scenario {
        let mut scenario = Scenario::plain();
        let calls = vec![Plan::new(MS, Deed::Write, 1); 9];
        scenario.sessions = vec![scenario::Session { node: 0, calls }];
        scenario
    }

    /// Wakes the session whenever it asks for it, until it calls; says when, and what.
    fn next_call(
        workload: &mut Workload,
        scenario: &Scenario,
        todo: &mut Vec<Todo>,
    ) -> (u64, CallId, Change) {
        loop {
            match todo.pop().expect("the session goes on") {
                Todo::Wake { session, at_ns } => {
                    workload.wake(scenario, session, at_ns, |_| Manner::Up, todo);
                    let Some(Todo::Call { id, call, .. }) = todo.first().cloned() else { continue };
                    let Call::Put { change, .. } = call else { panic!("{call:?}") };
                    todo.remove(0);
                    return (at_ns, id, change);
                }
                Todo::Call { .. } => unreachable!("calls come first"),
            }
        }
    }

    fn context(n: u64) -> Context {
        let actor = Life(7);
        (1..=n).map(|n| Dot { actor, n }).collect()
    }

    fn started(scenario: &Scenario) -> (Workload, Vec<Todo>) {
        let mut workload = Workload::new(scenario, MS);
        let mut todo = Vec::new();
        workload.start(scenario, 0, &mut todo);
        (workload, todo)
    }

    #[test]
    fn a_write_has_seen_the_acknowledged_ones_before_it() {
        let scenario = scenario();
        let (mut workload, mut todo) = started(&scenario);
        for n in 0..3 {
            let (at_ns, id, change) = next_call(&mut workload, &scenario, &mut todo);
            assert_eq!(change.seen, context(n), "the context of the last acknowledgement");
            todo.clear();
            let seen = context(n + 1);
            workload.reply(&scenario, id, Reply::Stored { seen }, at_ns + 1, &mut todo);
        }
        let seen: Vec<&[u64]> = workload.record().ops().iter().map(|op| &op.seen[..]).collect();
        assert_eq!(seen, [&[][..], &[1], &[1, 2]]);
        assert!(workload.failures().is_empty());
    }

    #[test]
    fn after_an_unknown_outcome_a_new_process_has_seen_nothing() {
        let scenario = scenario();
        let (mut workload, mut todo) = started(&scenario);
        let (at_ns, id, _) = next_call(&mut workload, &scenario, &mut todo);
        todo.clear();
        let seen = context(1);
        workload.reply(&scenario, id, Reply::Stored { seen }, at_ns + 1, &mut todo);
        let (at_ns, ..) = next_call(&mut workload, &scenario, &mut todo);
        todo.clear();
        workload.crash(&scenario, 0, at_ns + 1, &mut todo);
        let (.., change) = next_call(&mut workload, &scenario, &mut todo);
        assert!(change.seen.is_empty());
        let ops = workload.record().ops();
        assert_eq!((ops[1].seen.len(), &ops[1].end), (1, &End::Unknown(None)));
        assert!(ops[2].seen.is_empty() && ops[2].process != ops[1].process);
    }

    #[test]
    fn a_second_attempt_has_seen_what_the_first_had_and_there_is_no_third() {
        let mut scenario = scenario();
        scenario.sessions[0].calls.truncate(2);
        scenario.sessions[0].calls[1].retry = true;
        let (mut workload, mut todo) = started(&scenario);
        let (at_ns, id, _) = next_call(&mut workload, &scenario, &mut todo);
        todo.clear();
        workload.reply(&scenario, id, Reply::Stored { seen: context(1) }, at_ns + 1, &mut todo);
        for _ in 0..2 {
            let (at_ns, _, change) = next_call(&mut workload, &scenario, &mut todo);
            assert_eq!(change.seen, context(1));
            todo.clear();
            workload.crash(&scenario, 0, at_ns + 1, &mut todo);
        }
        assert!(workload.is_done() && todo.is_empty());
        let ids: Vec<u64> = workload.record().ops().iter().map(|op| op.id).collect();
        assert_eq!(ids, [1, 2, 3], "each attempt is a write of its own");
    }

    #[test]
    fn a_certain_failure_changes_neither_process_nor_context() {
        let scenario = scenario();
        let (mut workload, mut todo) = started(&scenario);
        for reply in [Reply::Stored { seen: context(1) }, Reply::Failed(Reason::KeyEmpty)] {
            let (at_ns, id, _) = next_call(&mut workload, &scenario, &mut todo);
            todo.clear();
            workload.reply(&scenario, id, reply, at_ns + 1, &mut todo);
        }
        let (.., change) = next_call(&mut workload, &scenario, &mut todo);
        assert_eq!(change.seen, context(1));
        assert_eq!(workload.record().ops()[2].process, 0);
    }

    #[test]
    fn a_call_must_be_answered_once_and_in_time() {
        let scenario = scenario();
        let (mut workload, mut todo) = started(&scenario);
        let (at_ns, id, _) = next_call(&mut workload, &scenario, &mut todo);
        let late_ns = at_ns + scenario.timeout_ns + MS;
        workload.wake(&scenario, 0, late_ns - 1, |_| Manner::Up, &mut todo);
        assert!(workload.failures().is_empty(), "there is time yet");
        workload.wake(&scenario, 0, late_ns, |_| Manner::HeldUp(late_ns + 5), &mut todo);
        assert!(workload.failures().is_empty(), "it was held up");
        workload.wake(&scenario, 0, late_ns + 5, |_| Manner::HeldUp(late_ns + 5), &mut todo);
        assert_eq!(workload.failures().len(), 1);
        let seen = context(1);
        workload.reply(&scenario, id, Reply::Stored { seen }, late_ns, &mut todo);
        assert_eq!(workload.failures().len(), 2, "nobody waits for it any more");
        assert!(workload.failures().iter().all(|failure| failure.check == Check::Answered));
    }

    #[test]
    fn a_session_that_finds_its_node_down_turns_to_one_that_is_up() {
        let scenario = scenario();
        let (mut workload, mut todo) = started(&scenario);
        let manner = |node| if node < 2 { Manner::Down } else { Manner::Up };
        workload.wake(&scenario, 0, MS, manner, &mut todo);
        workload.wake(&scenario, 0, 2 * MS, manner, &mut todo);
        assert!(todo.iter().any(|todo| matches!(todo, Todo::Call { node: 2, .. })), "{todo:?}");
    }

    #[test]
    fn a_value_says_whose_it_is() {
        for id in [1, 42, u64::MAX] {
            assert_eq!((identity(&value(id, false)), identity(&value(id, true))), (id, id));
        }
        assert_eq!(identity(b""), 0);
    }
}
