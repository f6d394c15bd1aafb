//! What peers say to a node, and whom it does not listen to: strangers, those that use its own identity, and those whose
//! layouts are older than what it has promised to forget.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Node;
use crate::cx::{Cx, Join, Task, Waiter};
use crate::effect::{Effect, Effects};
use crate::get;
use crate::id::{NodeId, OpId};
use crate::layout::active::View;
use crate::message::{Compared, Message, Page, Probed, Refusal};
use crate::note::Note;
use crate::replica::Replica;
use crate::time::Now;

impl Node {
    pub(super) fn on_peer(&mut self, now: Now, from: NodeId, view: View, message: Message, fx: &mut Effects) {
        if from == self.config.node {
            fx.push(Effect::Note(Note::Stranger { from }));
            return;
        }
        let Some(message) = self.on_membership(now, from, message, fx) else { return };
        if self.layout.newest().is_none() {
            let cx = &mut with_cx!(self, now, fx);
            if view == View::FIXED && cx.config.members.binary_search(&from).is_ok() {
                self.cluster.on_fixed(cx);
            } else if view.newest > 0 {
                self.cluster.on_other_view(cx, from);
            }
            self.turn_away(now, from, message, fx);
            return;
        }
        if !self.layout.has(from) {
            let is_other = view.newest != self.layout.view().newest;
            let cx = &mut with_cx!(self, now, fx);
            if is_other {
                self.cluster.on_other_view(cx, from);
            } else {
                cx.note(Note::Stranger { from });
            }
            self.turn_away(now, from, message, fx);
            return;
        }
        self.peers.on_heard(from);
        if let Some(op) = request(&message) {
            self.peers.learn(from, op.origin);
        }
        if self.uses_our_identity(&message) && !self.is_fenced {
            self.is_fenced = true;
            self.hints.stop();
            fx.push(Effect::Note(Note::Fenced { by: from }));
        }
        let busy = self.slots.load() >= self.config.limits.peer_requests;
        let cx = &mut with_cx!(self, now, fx);
        sometimes!(cx.shared.moments, PeerRequestsLimit, busy);
        let mine = cx.layout.view();
        if request(&message).is_some() && view.newest < mine.newest && view.newest > 0 {
            self.cluster.on_other_view(cx, from);
        }
        let refusal = match (self.is_fenced, busy) {
            (true, _) => Some(Refusal::Fenced),
            (false, true) => Some(Refusal::Overloaded),
            (false, false) => self.stale(view, &message),
        };
        let cx = &mut with_cx!(self, now, fx);
        if let Some(refusal) = refusal
            && refuse(cx, from, &message, refusal)
        {
            return;
        }
        match message {
            Message::Forward { op, to, floor, change, w, timeout, terms } => {
                let deadline = now.mono.after(timeout.min(cx.config.timeout_max));
                let w = usize::from(w);
                self.puts.on_forward(cx, from, op, to, floor, change, w, terms, deadline, refusal);
            }
            Message::Forwarded { op, outcome } => {
                self.puts.on_forwarded(cx, &mut self.peers, from, op, outcome)
            }
            Message::Store { op, key, dot, delta } => {
                let dots = Vec::from([dot]);
                let task = Task::Join { object: delta, dots, why: Join::Delta };
                cx.access(key, Waiter::Store { to: from, op }, task);
            }
            Message::Stored { op, outcome } => {
                if cx.has_asked(op) && !self.hints.on_stored(cx, &self.peers, from, op.n, outcome) {
                    self.puts.on_stored(cx, &self.peers, from, op, outcome);
                }
            }
            Message::Hint { op, target, key, dot, delta } => {
                self.hints.on_hint(cx, from, op, target, (key, dot, delta));
            }
            Message::FetchHints { op, key } => {
                self.hints.on_fetch(cx, key, Waiter::Fetch { to: from, op });
            }
            Message::Fetch { op, key } => {
                let partition = cx.layout.partition(&key);
                let is_incomplete = cx.replica(partition).is_some_and(|replica| !replica.complete);
                if is_incomplete && !planted!(cx.shared.plants, CatchingUpServes) {
                    sometimes!(cx.shared.moments, FetchRefused);
                    // "Not here yet" must never read as "deleted".
                    return cx.send(from, Message::Fetched { op, outcome: Err(Refusal::CatchingUp) });
                }
                cx.access(key, Waiter::Fetch { to: from, op }, Task::Load);
            }
            Message::Fetched { op, outcome } if cx.has_asked(op) && self.scrub.awaits_hints(op) => {
                self.scrub.on_hints(cx, from, op.n, outcome);
            }
            Message::Fetched { op, outcome } => self.gets.on_fetched(cx, from, op, outcome),
            Message::Repair { key, object } => {
                cx.access(key, Waiter::Nobody, get::repair(object));
            }
            Message::Probe { op, digest } => self.sync.on_probe(cx, from, view, op, digest),
            Message::Probed { op, outcome } => self.sync.on_probed(cx, from, view, op, outcome),
            Message::Ask { op, partition, clock } => self.sync.on_ask(cx, from, op, partition, clock),
            Message::Give { op, given } if self.scrub.has_asked(op) => {
                self.scrub.on_given(cx, from, op, given)
            }
            Message::Give { op, given } => self.sync.on_give(cx, from, op, given),
            Message::Salvage { op, key } => {
                let partition = cx.layout.partition(&key);
                let Some(replica) = cx.replica(partition) else { return };
                let (clock, complete) = (Box::new(replica.clock().clone()), replica.complete);
                let waiter = Waiter::Salvage { to: from, op, key: key.clone(), clock, complete };
                cx.access(key, waiter, Task::Load);
            }
            Message::Pull { op, partition, after, until, have } => {
                self.sync.on_pull(cx, from, op, partition, (after, until), have);
            }
            Message::Page { op, outcome } => self.sync.on_page(cx, from, op, outcome),
            Message::Compare { op, partition, after, spans } => {
                self.sync.on_compare(cx, from, op, partition, after, spans);
            }
            Message::Compared { op, outcome } => self.sync.on_compared(cx, from, op, outcome),
            Message::List { op, first, last, after, limit } => {
                self.lists.on_list(cx, &self.peers, from, op, (first, after, last), limit);
            }
            Message::Listed { op, outcome } => self.lists.on_listed(cx, &self.peers, from, op, outcome),
            Message::Prepare { op, epoch, ballot } => self.cluster.on_prepare(cx, from, op, epoch, ballot),
            Message::Promise { op, outcome } => self.cluster.on_promise(cx, from, op, outcome),
            Message::Accept { op, ballot, layout } => self.cluster.on_accept(cx, from, op, ballot, layout),
            Message::Accepted { op, outcome } => self.cluster.on_accepted(cx, from, op, outcome),
            Message::Swim { bytes } => {
                self.probe(now, fx, |swim, acts| swim.on_message(now.mono, from, &bytes, acts));
            }
            Message::Hail { .. } | Message::Gossip { .. } | Message::State { .. } => {
                unreachable!("they were taken before")
            }
        }
    }

    /// Answers a node with which this one shares no layout. It may well be a member that has heard of a change before
    /// this node has, and counts on an answer.
    pub(super) fn turn_away(&mut self, now: Now, from: NodeId, message: Message, fx: &mut Effects) {
        let cx = &mut with_cx!(self, now, fx);
        let refusal = Refusal::NotAMember;
        match message {
            Message::Forward { op, to, floor, change, w, timeout, terms } => {
                let deadline = now.mono.after(timeout.min(cx.config.timeout_max));
                let w = usize::from(w);
                self.puts.on_forward(cx, from, op, to, floor, change, w, terms, deadline, Some(refusal));
            }
            message => {
                refuse(cx, from, &message, refusal);
            }
        }
    }

    /// Takes what anybody may send, members or not. Gives back what it does not take.
    pub(super) fn on_membership(
        &mut self,
        now: Now,
        from: NodeId,
        message: Message,
        fx: &mut Effects,
    ) -> Option<Message> {
        let cx = &mut with_cx!(self, now, fx);
        match message {
            Message::Hail { member, life, answers } => {
                self.peers.learn(from, life);
                self.cluster.on_hail(cx, from, member, life, answers);
            }
            Message::Gossip { digest } => self.cluster.on_gossip(cx, from, digest),
            Message::State { state, wants_answer } => self.cluster.on_state(cx, from, *state, wants_answer),
            other => return Some(other),
        }
        None
    }

    /// Why a request that was made under other layouts than these is not served, if it is not. A version that knows no
    /// layouts works with the first.
    pub(super) fn stale(&self, view: View, message: &Message) -> Option<Refusal> {
        let mine = self.layout.view();
        let is_stale = match message {
            Message::Forward { .. } | Message::Store { .. } | Message::Hint { .. } => {
                let acked = self.cluster.progress(self.config.node).ack;
                view.newest.max(1) < acked
            }
            Message::Fetch { .. } | Message::List { .. } => view.reads.max(1) < mine.oldest,
            _ => false,
        };
        is_stale.then_some(Refusal::StaleLayout)
    }

    /// Whether a message shows that another node lives this node's life, or knows more of it than it has minted.
    pub(super) fn uses_our_identity(&self, message: &Message) -> bool {
        if request(message).is_some_and(|op| op.origin == self.life) {
            return true;
        }
        let (partition, clock) = match message {
            Message::Ask { partition, clock, .. } => (*partition, clock),
            Message::Give { given, .. } => (given.partition, &given.clock),
            // Pages do not name their partition, and the numbers of an earlier life stood for other ones.
            Message::Page { op, outcome: Ok(Page { clock, .. }) }
            | Message::Compared { op, outcome: Ok(Compared { clock, .. }) }
                if op.origin == self.life =>
            {
                match self.sync.pulling(op.n) {
                    Some(partition) => (partition, clock),
                    None => return false,
                }
            }
            _ => return false,
        };
        let given_up = self.shared.minted.get(&partition).copied().unwrap_or(0);
        let minted = self.shared.replicas.get(&partition).map_or(given_up, Replica::minted);
        clock.as_context().highest(self.life) > minted
    }
}

/// The request that a message makes; None for answers and for what is never answered.
pub(super) fn request(message: &Message) -> Option<OpId> {
    match message {
        Message::Forward { op, .. }
        | Message::Store { op, .. }
        | Message::Fetch { op, .. }
        | Message::Probe { op, .. }
        | Message::Ask { op, .. }
        | Message::Pull { op, .. }
        | Message::Compare { op, .. }
        | Message::List { op, .. }
        | Message::Salvage { op, .. }
        | Message::Prepare { op, .. }
        | Message::Accept { op, .. }
        | Message::Hint { op, .. }
        | Message::FetchHints { op, .. } => Some(*op),
        Message::Forwarded { .. }
        | Message::Stored { .. }
        | Message::Fetched { .. }
        | Message::Repair { .. }
        | Message::Probed { .. }
        | Message::Give { .. }
        | Message::Page { .. }
        | Message::Compared { .. }
        | Message::Listed { .. }
        | Message::Hail { .. }
        | Message::Gossip { .. }
        | Message::State { .. }
        | Message::Promise { .. }
        | Message::Accepted { .. }
        | Message::Swim { .. } => None,
    }
}

/// Answers a request with a refusal, or drops what needs no answer. False for answers, which are never refused, and for
/// forwards, which must first be told from their doubles.
pub(super) fn refuse(cx: &mut Cx<'_>, to: NodeId, message: &Message, refusal: Refusal) -> bool {
    match *message {
        Message::Store { op, .. } | Message::Hint { op, .. } => {
            cx.send(to, Message::Stored { op, outcome: Err(refusal) });
        }
        Message::Fetch { op, .. } | Message::FetchHints { op, .. } => {
            cx.send(to, Message::Fetched { op, outcome: Err(refusal) })
        }
        Message::Pull { op, .. } => cx.send(to, Message::Page { op, outcome: Err(refusal) }),
        Message::Compare { op, .. } => cx.send(to, Message::Compared { op, outcome: Err(refusal) }),
        Message::List { op, .. } => cx.send(to, Message::Listed { op, outcome: Err(refusal) }),
        // Nobody need wait for its time to run out to learn that clocks cannot be compared.
        Message::Probe { op, .. } if refusal == Refusal::NotAMember => {
            cx.send(to, Message::Probed { op, outcome: Probed::OtherView });
        }
        Message::Probe { .. } | Message::Ask { .. } | Message::Repair { .. } | Message::Salvage { .. } => {}
        // Votes and the like have refusals of their own, and are small; a fenced node casts none.
        Message::Prepare { .. } | Message::Accept { .. } => return refusal == Refusal::Fenced,
        // A fenced node takes nothing over from anybody.
        Message::Give { .. } | Message::Page { .. } | Message::Compared { .. } | Message::Probed { .. } => {
            return refusal == Refusal::Fenced;
        }
        _ => return false,
    }
    true
}
