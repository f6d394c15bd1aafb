//! What clients ask of a node, and what they are refused before anything is begun.

use core::time::Duration;

use super::Node;
use crate::config::TTL_MAX;
use crate::cx::Cx;
use crate::effect::Effects;
use crate::id::CallId;
use crate::input::{Call, Reply, Wish};
use crate::key::Key;
use crate::message::{self, Failure, Refusal, Terms};
use crate::time::Now;

impl Node {
    pub(super) fn on_call(&mut self, now: Now, id: CallId, call: Call, fx: &mut Effects) {
        let stats = &mut self.shared.stats;
        match &call {
            Call::Get { .. } => stats.gets += 1,
            Call::Put { .. } => stats.puts += 1,
            Call::List { .. } => stats.lists += 1,
            Call::Cluster { .. } => {}
        }
        let admitted = self.admit(&call);
        let cx = &mut with_cx!(self, now, fx);
        let deadline = match admitted {
            Ok(timeout) => now.mono.after(timeout),
            Err(failure) => {
                sometimes!(cx.shared.moments, CallsLimit, matches!(failure, Failure::Overloaded { .. }));
                cx.shared.stats.overloaded += u64::from(matches!(failure, Failure::Overloaded { .. }));
                return cx.reply(id, Reply::Failed(failure));
            }
        };
        match call {
            Call::Get { key, wish } => {
                let r = wish.quorum.map_or(cx.config.r, usize::from);
                let terms = terms(cx, &wish);
                self.gets.start(cx, &self.peers, id, key, r, terms, deadline);
            }
            Call::Put { change, wish } => {
                let w = wish.quorum.map_or(cx.config.w, usize::from);
                let terms = terms(cx, &wish);
                self.puts.start(cx, &self.peers, id, change, w, terms, deadline);
            }
            Call::List { after, limit, .. } => self.lists.start(cx, &self.peers, id, after, limit, deadline),
            Call::Cluster { call, .. } => self.cluster.on_call(cx, id, call, deadline),
        }
    }

    /// The time that a call has, if it may be served at all.
    pub(super) fn admit(&self, call: &Call) -> Result<Duration, Failure> {
        let limits = &self.config.limits;
        if self.is_fenced {
            return Err(Failure::NotTaken(Refusal::Fenced));
        }
        let is_member = self.layout.newest().is_some_and(|newest| newest.member(self.config.node).is_some());
        if !is_member && !matches!(call, Call::Cluster { .. }) {
            return Err(Failure::NotTaken(Refusal::NotAMember));
        }
        for (load, limit) in [(self.calls(), limits.calls), (self.slots.load(), limits.peer_requests)] {
            if load >= limit && !planted!(self.shared.plants, LimitIgnored) {
                return Err(Failure::Overloaded { limit: u32::try_from(limit).unwrap_or(u32::MAX) });
            }
        }
        match call {
            Call::Get { key, wish } => {
                self.check_key(key)?;
                self.check_wish(wish)
            }
            Call::Put { change, wish } => {
                self.check_change(change)?;
                self.check_wish(wish)
            }
            Call::List { wish, .. } | Call::Cluster { wish, .. } => self.check_wish(wish),
        }
    }

    fn check_key(&self, key: &Key) -> Result<(), Failure> {
        let (bytes, max) = (key.0.len(), self.config.limits.key_bytes);
        if bytes == 0 {
            return Err(Failure::KeyEmpty);
        }
        if bytes > max {
            return Err(Failure::KeyTooLong { bytes: bytes as u64, max: max as u64 });
        }
        Ok(())
    }

    fn check_change(&self, change: &message::Change) -> Result<(), Failure> {
        self.check_key(&change.key)?;
        let Some(value) = &change.value else { return Ok(()) };
        let limits = &self.config.limits;
        let (bytes, max) = (value.bytes.len(), limits.value_bytes);
        if bytes > max {
            return Err(Failure::ValueTooLarge { bytes: bytes as u64, max: max as u64 });
        }
        let (bytes, max) = (value.content_type.len(), limits.content_type_bytes);
        if bytes > max {
            return Err(Failure::ContentTypeTooLong { bytes: bytes as u64, max: max as u64 });
        }
        if let Some(asked) = value.ttl.filter(|&asked| asked > TTL_MAX) {
            return Err(Failure::BadTtl { asked, max: TTL_MAX });
        }
        Ok(())
    }

    fn check_wish(&self, wish: &Wish) -> Result<Duration, Failure> {
        let replicas = self.layout.newest().map_or(self.config.replicas, |newest| newest.copies());
        if let Some(asked) = wish.quorum
            && !(1..=replicas).contains(&usize::from(asked))
        {
            return Err(Failure::BadQuorum { asked, replicas: replicas as u8 });
        }
        if let Some(asked) = wish.primaries.filter(|&asked| usize::from(asked) > replicas) {
            return Err(Failure::BadQuorum { asked, replicas: replicas as u8 });
        }
        let (asked, max) = (wish.timeout.unwrap_or(self.config.timeout), self.config.timeout_max);
        if asked.is_zero() || asked > max {
            return Err(Failure::BadTimeout { asked, max });
        }
        Ok(asked)
    }
}

/// On which terms a call is served.
fn terms(cx: &Cx<'_>, wish: &Wish) -> Terms {
    let sloppy = wish.sloppy.unwrap_or(cx.config.sloppy);
    Terms { primaries: wish.primaries.unwrap_or(0), sloppy, stands_in: false }
}
