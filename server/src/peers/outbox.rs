//! What waits to be sent to one peer: frames in one buffer, bounded in bytes.
//!
//! The event loop appends frames; the connection's sender takes all of them at once, so that everything that one
//! step says leaves in one write. A message may be lost by contract, and a peer that does not keep up must not grow
//! this node: over the bound the newest message is dropped and counted. While the peer is known to be away nothing
//! is kept for it at all, since what waits here is worth little when it is back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use godown_core::message::Message;
use godown_core::wire;
use tokio::sync::Notify;

/// A buffer that has grown beyond this is not kept for reuse.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// Frames for one peer.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    wake: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes that the sender has taken and not yet written.
    leaving: usize,
    is_closed: bool,
    counts: Counts,
}

/// Counters of one outbox.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Messages taken in.
    pub(super) queued: u64,
    /// Messages dropped because the peer is away or does not keep up.
    pub(super) dropped: u64,
    /// Bytes that wait now.
    pub(super) bytes: u64,
}

impl Outbox {
    /// An empty, open one. A message is always taken when nothing waits, however long it is.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), wake: Notify::new(), bytes_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the frame of `message`, or drops it.
    pub(super) fn push(&self, message: &Message) {
        let mut state = self.state();
        let before = state.waiting.len();
        let is_full = before + state.leaving >= self.bytes_max;
        if state.is_closed || is_full {
            state.counts.dropped += 1;
            return;
        }
        wire::encode(message, &mut state.waiting);
        let frame = state.waiting.len() - before;
        let is_alone = before + state.leaving == 0;
        if frame > wire::FRAME_MAX + wire::PREFIX
            || (!is_alone && state.waiting.len() + state.leaving > self.bytes_max)
        {
            state.waiting.truncate(before);
            state.counts.dropped += 1;
            return;
        }
        state.counts.queued += 1;
        if before == 0 {
            self.wake.notify_one();
        }
    }

    /// Waits until something is there to be sent. What was taken before has been written.
    pub(super) async fn ready(&self) {
        self.state().leaving = 0;
        while self.state().waiting.is_empty() {
            self.wake.notified().await;
        }
    }

    /// Takes everything into `buffer`, which must be empty.
    pub(super) fn take(&self, buffer: &mut Vec<u8>) {
        assert!(buffer.is_empty(), "what was taken before has not been written");
        if buffer.capacity() > SPARE_BYTES_MAX {
            *buffer = Vec::new();
        }
        let mut state = self.state();
        std::mem::swap(&mut state.waiting, buffer);
        state.leaving = buffer.len();
    }

    /// Drops what waits, and whatever comes from now on: the peer is away.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.waiting = Vec::new();
        state.leaving = 0;
        state.is_closed = true;
    }

    /// Takes messages again.
    pub(super) fn open(&self) {
        let mut state = self.state();
        state.is_closed = false;
        state.leaving = 0;
    }

    /// The counters.
    pub(super) fn counts(&self) -> Counts {
        let state = self.state();
        Counts { bytes: (state.waiting.len() + state.leaving) as u64, ..state.counts }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godown_core::id::{Life, OpId};
    use godown_core::key::Key;

    use super::*;

    fn message(bytes: usize) -> Message {
        Message::Fetch { op: OpId { origin: Life(1), n: 1 }, key: Key(Bytes::from(vec![b'k'; bytes])) }
    }

    fn frames(outbox: &Outbox) -> Vec<Message> {
        let mut taken = Vec::new();
        outbox.take(&mut taken);
        let mut rest = &taken[..];
        let mut messages = Vec::new();
        while let Some((prefix, tail)) = rest.split_first_chunk::<4>() {
            let (frame, tail) = tail.split_at(wire::length(*prefix).expect("in bounds"));
            messages.push(wire::decode(frame).expect("whole"));
            rest = tail;
        }
        messages
    }

    #[test]
    fn what_was_pushed_is_taken_in_order() {
        let outbox = Outbox::new(1_000);
        for bytes in [1, 2, 3] {
            outbox.push(&message(bytes));
        }
        assert_eq!(frames(&outbox), [message(1), message(2), message(3)]);
        assert_eq!(frames(&outbox), []);
    }

    #[test]
    fn over_the_bound_the_newest_is_dropped_and_counted() {
        let outbox = Outbox::new(400);
        for _ in 0..1_000 {
            outbox.push(&message(100));
        }
        let counts = outbox.counts();
        assert_eq!(counts.queued + counts.dropped, 1_000);
        assert!(counts.queued >= 2 && counts.bytes <= 400, "{counts:?}");
        assert_eq!(frames(&outbox).len() as u64, counts.queued);
        outbox.push(&message(300));
        assert_eq!(outbox.counts().queued, counts.queued, "what is being written counts too");
    }

    #[test]
    fn a_message_longer_than_the_bound_is_taken_when_nothing_waits() {
        let outbox = Outbox::new(10);
        outbox.push(&message(100));
        outbox.push(&message(1));
        assert_eq!(frames(&outbox), [message(100)]);
    }

    #[test]
    fn nothing_is_kept_for_a_peer_that_is_away() {
        let outbox = Outbox::new(1_000);
        outbox.push(&message(1));
        outbox.close();
        outbox.push(&message(2));
        assert_eq!(outbox.counts().bytes, 0);
        outbox.open();
        outbox.push(&message(3));
        assert_eq!(frames(&outbox), [message(3)]);
    }
}
