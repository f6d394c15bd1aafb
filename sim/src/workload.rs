//! The clients: sessions that call one node each, one call at a time, and remember what they have seen.
//!
//! A session keeps, for each key, the context of its last read or acknowledgement and the identities that this
//! context covers: what the read showed; after an acknowledgement, what it covered before and the write itself.
//! Some of its writes leave the context out. A call whose outcome is unknown (no answer, or one that does not say)
//! ends a process: the session goes on as a new one that has seen nothing. When the faults are over the sessions
//! stop, and one more, the auditor, reads every key from all its replicas until each has been answered.
//! The clients know no world: they are woken, answered and told of crashes, and say what to do next.

use std::time::Duration;

use bytes::Bytes;
use godown_core::causal::Context;
use godown_core::id::CallId;
use godown_core::input::{Call, Reply, Wish};
use godown_core::message::{Change, Value};

use crate::check::{Check, Failure};
use crate::record::{Act, End, Op, Record};
use crate::rng::Rng;
use crate::scenario::{MS, SECOND, Scenario, US};

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
    /// It calls as the scenario's mix says, this often.
    Mixed { left: u32 },
    /// It reads the keys from this one on, each from all replicas.
    Audit { key: usize },
}

#[derive(Clone, Debug)]
struct Session {
    process: u64,
    node: usize,
    think_max_ns: u64,
    knowledge: Vec<Knowledge>,
    script: Script,
    state: State,
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
    stopped: bool,
    record: Record,
    rng: Rng,
    failures: Vec<Failure>,
}

impl Workload {
    /// The clients of `scenario`. They wait so much longer than a call may take before they give up.
    #[must_use]
    pub fn new(scenario: &Scenario, slack_ns: u64) -> Self {
        let keys = scenario.keys.len();
        let session = |(process, session): (usize, &crate::scenario::Session)| Session {
            process: process as u64,
            node: session.node,
            think_max_ns: session.think_max_ns,
            knowledge: vec![Knowledge::default(); keys],
            script: Script::Mixed { left: session.calls },
            state: State::Thinking,
            wake_ns: 0,
        };
        let sessions: Vec<Session> = scenario.sessions.iter().enumerate().map(session).collect();
        Self {
            processes: sessions.len() as u64,
            sessions,
            calls: 0,
            slack_ns,
            stopped: false,
            record: Record::default(),
            rng: Rng::stream(scenario.seed, "workload"),
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
    pub fn start(&mut self, now_ns: u64, todo: &mut Vec<Todo>) {
        for session in 0..self.sessions.len() {
            self.think(session, now_ns, todo);
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
        let nodes = scenario.nodes as u64;
        let node = usize::try_from(self.rng.below(nodes)).expect("it is below the number of nodes");
        self.sessions.push(Session {
            process: self.processes,
            node,
            think_max_ns: 50 * MS,
            knowledge: vec![Knowledge::default(); scenario.keys.len()],
            script: Script::Audit { key: 0 },
            state: State::Thinking,
            wake_ns: 0,
        });
        self.processes += 1;
        // Anti-entropy mends what late messages do. Where there is none, nothing may come after the auditor: neither
        // what was on its way nor what a read repairs that was begun before.
        let late_ns = if scenario.leaves_repair_to_reads() { 2 * scenario.timeout_ns + LATE_MAX } else { 0 };
        self.think(self.sessions.len() - 1, now_ns + late_ns, todo);
    }

    /// It is time for a session to act, unless it has been overtaken by what happened since it asked to be woken.
    pub fn wake(
        &mut self,
        scenario: &Scenario,
        session: usize,
        now_ns: u64,
        is_up: impl Fn(usize) -> bool,
        todo: &mut Vec<Todo>,
    ) {
        let state = &self.sessions[session];
        if now_ns < state.wake_ns {
            return;
        }
        match state.state {
            State::Thinking if is_up(state.node) => self.call(scenario, session, now_ns, todo),
            State::Thinking => {
                self.turn(scenario, session, is_up);
                self.think(session, now_ns, todo);
            }
            State::Calling { id, gives_up_ns, .. } if now_ns >= gives_up_ns => {
                let says = format!(
                    "call {} to n{} had no answer within its timeout and {} ms more",
                    id.0,
                    state.node + 1,
                    self.slack_ns / MS
                );
                self.failures.push(Failure::new(Check::Answered, says));
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
        let session = (id.0 % SESSIONS_MAX) as usize;
        let op = match self.sessions.get(session).map(|session| &session.state) {
            Some(State::Calling { id: awaited, op, .. }) if *awaited == id => *op,
            _ => {
                let says = format!("call {} was answered though nobody waits for it: {reply:?}", id.0);
                self.failures.push(Failure::new(Check::Answered, says));
                return;
            }
        };
        let Some(op) = op else {
            let is_fit = matches!(reply, Reply::Listed { .. } | Reply::Failed(_));
            if !is_fit {
                self.misfit(id, &reply);
            }
            return self.end_list(session, now_ns, todo);
        };
        let place = self.record.ops()[op].key;
        match (reply, self.record.ops()[op].act) {
            (Reply::Got { siblings, seen }, Act::Read) => {
                let shown: Vec<u64> = siblings.iter().map(|sibling| identity(&sibling.value)).collect();
                self.sessions[session].knowledge[place] = Knowledge { context: seen, seen: shown.clone() };
                self.record.complete(op, now_ns, End::Ok, shown);
                self.next(session, now_ns, todo);
            }
            (Reply::Stored { seen }, Act::Write | Act::Delete) => {
                let op = self.record.complete(op, now_ns, End::Ok, Vec::new());
                let mut covered = op.seen.clone();
                covered.push(op.id);
                self.sessions[session].knowledge[place] = Knowledge { context: seen, seen: covered };
                self.next(session, now_ns, todo);
            }
            (Reply::Failed(failure), act) => {
                // A read that failed has changed nothing, whatever the reason.
                let is_certain = failure.is_certain() || act == Act::Read;
                let end = if is_certain { End::Fail(failure) } else { End::Unknown(Some(failure)) };
                if self.rng.chance(scenario.mix.turns) {
                    self.turn(scenario, session, |_| true);
                }
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

    fn misfit(&mut self, id: CallId, reply: &Reply) {
        let says = format!("call {} was answered with what it did not ask for: {reply:?}", id.0);
        self.failures.push(Failure::new(Check::Answered, says));
    }

    fn turn(&mut self, scenario: &Scenario, session: usize, is_up: impl Fn(usize) -> bool) {
        let others: Vec<usize> =
            (0..scenario.nodes).filter(|node| *node != self.sessions[session].node && is_up(*node)).collect();
        if !others.is_empty() {
            self.sessions[session].node = *self.rng.pick(&others);
        }
    }

    fn think(&mut self, session: usize, now_ns: u64, todo: &mut Vec<Todo>) {
        let pause = self.rng.between(US, self.sessions[session].think_max_ns.max(US));
        let state = &mut self.sessions[session];
        state.state = State::Thinking;
        state.wake_ns = now_ns + pause;
        todo.push(Todo::Wake { session, at_ns: state.wake_ns });
    }

    /// The session's call has ended well: it pauses, or is done.
    fn next(&mut self, session: usize, now_ns: u64, todo: &mut Vec<Todo>) {
        let state = &mut self.sessions[session];
        let is_over = match &mut state.script {
            Script::Mixed { left } => *left == 0 || self.stopped,
            Script::Audit { key } => {
                *key += 1;
                *key == state.knowledge.len()
            }
        };
        if is_over {
            state.state = State::Done;
        } else {
            self.think(session, now_ns, todo);
        }
    }

    /// The session's call has ended otherwise. Of an unknown outcome the session knows nothing any more.
    fn end(&mut self, scenario: &Scenario, session: usize, now_ns: u64, end: End, todo: &mut Vec<Todo>) {
        let State::Calling { op, .. } = self.sessions[session].state else {
            return;
        };
        let Some(op) = op else {
            return self.end_list(session, now_ns, todo);
        };
        let is_unknown = matches!(end, End::Unknown(_));
        self.record.complete(op, now_ns, end, Vec::new());
        let state = &mut self.sessions[session];
        if is_unknown {
            state.process = self.processes;
            self.processes += 1;
            state.knowledge = vec![Knowledge::default(); scenario.keys.len()];
        }
        if matches!(state.script, Script::Audit { .. }) {
            // It asks until it is answered.
            self.think(session, now_ns, todo);
        } else {
            self.next(session, now_ns, todo);
        }
    }

    fn end_list(&mut self, session: usize, now_ns: u64, todo: &mut Vec<Todo>) {
        self.sessions[session].state = State::Thinking;
        self.next(session, now_ns, todo);
    }

    fn call(&mut self, scenario: &Scenario, session: usize, now_ns: u64, todo: &mut Vec<Todo>) {
        self.calls += 1;
        let id = CallId(self.calls * SESSIONS_MAX + session as u64);
        let (call, op, timeout_ns) = match &mut self.sessions[session].script {
            Script::Mixed { left } => {
                *left = left.saturating_sub(1);
                self.draw_call(scenario, session, now_ns)
            }
            Script::Audit { key } => {
                let (key, all) = (*key, scenario.replicas);
                let op = self.begin(session, Act::Read, key, all, now_ns, Vec::new());
                let wish = wish(Some(all), None);
                let call = Call::Get { key: scenario.key(key), wish };
                (call, Some(op), scenario.timeout_ns)
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

    fn draw_call(&mut self, scenario: &Scenario, session: usize, now_ns: u64) -> (Call, Option<usize>, u64) {
        let mix = &scenario.mix;
        let rng = &mut self.rng;
        let keys = scenario.keys.len();
        let place = if rng.chance(mix.hot) {
            0
        } else {
            usize::try_from(rng.below(keys as u64)).expect("it is below a length")
        };
        let quorum = rng.chance(mix.wishes).then(|| {
            let quorum = rng.between(1, scenario.replicas as u64);
            usize::try_from(quorum).expect("it is small")
        });
        let timeout_ns = (rng.chance(mix.wishes / 4)).then_some(scenario.timeout_ns / 2);
        let lasts_ns = timeout_ns.unwrap_or(scenario.timeout_ns);
        let wish = wish(quorum, timeout_ns);
        if rng.chance(mix.lists) {
            let limit = u32::try_from(rng.between(1, 5)).expect("it is small");
            let after = rng.chance(500).then(|| scenario.key(place));
            return (Call::List { after, limit, wish }, None, lasts_ns);
        }
        let key = scenario.key(place);
        if rng.chance(mix.reads) {
            let quorum = quorum.unwrap_or(scenario.r);
            let op = self.begin(session, Act::Read, place, quorum, now_ns, Vec::new());
            return (Call::Get { key, wish }, Some(op), lasts_ns);
        }
        let act = if rng.chance(mix.deletes) { Act::Delete } else { Act::Write };
        let is_large = rng.chance(mix.large);
        let Knowledge { context, seen } = if rng.chance(mix.blind) {
            Knowledge::default()
        } else {
            self.sessions[session].knowledge[place].clone()
        };
        let op = self.begin(session, act, place, quorum.unwrap_or(scenario.w), now_ns, seen);
        let value = (act == Act::Write)
            .then(|| Value { bytes: value(self.record.ops()[op].id, is_large), content_type: Bytes::new() });
        let change = Change { key, seen: context, value };
        (Call::Put { change, wish }, Some(op), lasts_ns)
    }

    fn begin(
        &mut self,
        session: usize,
        act: Act,
        key: usize,
        quorum: usize,
        now_ns: u64,
        seen: Vec<u64>,
    ) -> usize {
        let id = if act == Act::Read { 0 } else { self.record.next_id() };
        let session = &self.sessions[session];
        self.record.invoke(Op {
            process: session.process,
            act,
            key,
            node: session.node,
            id,
            seen,
            quorum,
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
const LATE_MAX: u64 = 15 * SECOND;

/// More sessions than any scenario has; a call's name says whose it is.
const SESSIONS_MAX: u64 = 1_000;

fn wish(quorum: Option<usize>, timeout_ns: Option<u64>) -> Wish {
    Wish {
        quorum: quorum.map(|quorum| u8::try_from(quorum).expect("quorums are small")),
        timeout: timeout_ns.map(Duration::from_nanos),
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
        let mut scenario = Scenario::draw(0);
        scenario.sessions.truncate(1);
        scenario.sessions[0] = crate::scenario::Session { node: 0, calls: 9, think_max_ns: MS };
        scenario.keys.truncate(1);
        scenario.mix = crate::scenario::Mix {
            reads: 0,
            deletes: 0,
            blind: 0,
            wishes: 0,
            hot: 0,
            lists: 0,
            turns: 0,
            large: 0,
        };
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
                    workload.wake(scenario, session, at_ns, |_| true, todo);
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
        workload.start(0, &mut todo);
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
        workload.wake(&scenario, 0, late_ns - 1, |_| true, &mut todo);
        assert!(workload.failures().is_empty(), "there is time yet");
        workload.wake(&scenario, 0, late_ns, |_| true, &mut todo);
        assert_eq!(workload.failures().len(), 1);
        let seen = context(1);
        workload.reply(&scenario, id, Reply::Stored { seen }, late_ns, &mut todo);
        assert_eq!(workload.failures().len(), 2, "nobody waits for it any more");
        assert!(workload.failures().iter().all(|failure| failure.check == Check::Answered));
    }

    #[test]
    fn a_value_says_whose_it_is() {
        for id in [1, 42, u64::MAX] {
            assert_eq!((identity(&value(id, false)), identity(&value(id, true))), (id, id));
        }
        assert_eq!(identity(b""), 0);
    }
}
