//! What waits to be sent to one peer: frames in one buffer, bounded in bytes.
//!
//! The event loop appends frames; the connection's sender takes all of them at once, so that everything that one
//! step says leaves in one write. A message may be lost by contract, and a peer that does not keep up must not grow
//! this node: over the bound the newest message is dropped and counted. While the peer is away the bound is far
//! smaller, and nothing waits longer than a few seconds: enough that nodes which start one after the other lose
//! nothing of what they say first, and worth no more when the peer is back. Frames are written in the version that the
//! peer was last heard to read; when it comes back reading another one, what waits is dropped.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use godown_core::layout::active::View;
use godown_core::message::Message;
use godown_core::wire;
use tokio::sync::Notify;

/// A buffer that has grown beyond this is not kept for reuse.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// What may wait for a peer that is away.
const AWAY_BYTES_MAX: usize = 64 << 10;

/// How long it may wait.
const AWAY_MAX: Duration = Duration::from_secs(5);

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
    is_away: bool,
    /// The version that frames are written in.
    version: u8,
    /// When the first of the waiting frames came.
    oldest: Option<Instant>,
    /// How many frames wait.
    frames: u64,
    counts: Counts,
}

/// Counters of one outbox.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Messages taken in; some of them may have been dropped later.
    pub(super) queued: u64,
    /// Messages dropped because the peer is away or does not keep up.
    pub(super) dropped: u64,
    /// Bytes that wait now.
    pub(super) bytes: u64,
}

impl Outbox {
    /// An empty one, for a peer that is not there yet. A message is always taken when nothing waits, however long it is.
    pub(super) fn new(bytes_max: usize) -> Self {
        let state = State { is_away: true, version: wire::VERSION_MAX, ..State::default() };
        Self { state: Mutex::new(state), wake: Notify::new(), bytes_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the frame of `message`, said by a node with this view, or drops it. What the peer's version has no words
    /// for is left out.
    pub(super) fn push(&self, view: View, message: &Message) {
        let mut state = self.state();
        let before = state.waiting.len();
        let bytes_max = if state.is_away { self.bytes_max.min(AWAY_BYTES_MAX) } else { self.bytes_max };
        if before + state.leaving >= bytes_max {
            state.counts.dropped += 1;
            return;
        }
        let version = state.version;
        if !wire::encode(version, view, message, &mut state.waiting) {
            return;
        }
        let frame = state.waiting.len() - before;
        let is_alone = before + state.leaving == 0;
        if frame > wire::FRAME_MAX + wire::PREFIX
            || (!is_alone && state.waiting.len() + state.leaving > bytes_max)
        {
            state.waiting.truncate(before);
            state.counts.dropped += 1;
            return;
        }
        state.counts.queued += 1;
        state.frames += 1;
        if before == 0 {
            state.oldest = Some(Instant::now());
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
        state.frames = 0;
    }

    /// The peer is away, or still is. What waits is dropped if it is too much or too old for that.
    pub(super) fn away(&self) {
        let mut state = self.state();
        state.is_away = true;
        state.leaving = 0;
        let is_old = state.oldest.is_some_and(|oldest| oldest.elapsed() > AWAY_MAX);
        if is_old || state.waiting.len() > AWAY_BYTES_MAX {
            state.waiting = Vec::new();
            state.counts.dropped += std::mem::take(&mut state.frames);
        }
    }

    /// The peer is there, and frames are to be written in `version`.
    pub(super) fn here(&self, version: u8) {
        let mut state = self.state();
        state.is_away = false;
        state.leaving = 0;
        if state.version != version {
            state.version = version;
            state.waiting = Vec::new();
            state.counts.dropped += std::mem::take(&mut state.frames);
        }
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
            messages.push(wire::decode(frame).expect("whole").1);
            rest = tail;
        }
        messages
    }

    /// An outbox whose peer is there.
    fn here(bytes_max: usize) -> Outbox {
        let outbox = Outbox::new(bytes_max);
        outbox.here(wire::VERSION_MAX);
        outbox
    }

    #[test]
    fn what_was_pushed_is_taken_in_order() {
        let outbox = here(1_000);
        for bytes in [1, 2, 3] {
            outbox.push(View::default(), &message(bytes));
        }
        assert_eq!(frames(&outbox), [message(1), message(2), message(3)]);
        assert_eq!(frames(&outbox), []);
    }

    #[test]
    fn over_the_bound_the_newest_is_dropped_and_counted() {
        let outbox = here(400);
        for _ in 0..1_000 {
            outbox.push(View::default(), &message(100));
        }
        let counts = outbox.counts();
        assert_eq!(counts.queued + counts.dropped, 1_000);
        assert!(counts.queued >= 2 && counts.bytes <= 400, "{counts:?}");
        assert_eq!(frames(&outbox).len() as u64, counts.queued);
        outbox.push(View::default(), &message(300));
        assert_eq!(outbox.counts().queued, counts.queued, "what is being written counts too");
    }

    #[test]
    fn a_message_longer_than_the_bound_is_taken_when_nothing_waits() {
        let outbox = here(10);
        outbox.push(View::default(), &message(100));
        outbox.push(View::default(), &message(1));
        assert_eq!(frames(&outbox), [message(100)]);
    }

    #[test]
    fn little_is_kept_for_a_peer_that_is_away_and_not_for_long() {
        let outbox = here(1 << 20);
        for _ in 0..1_000 {
            outbox.push(View::default(), &message(1_000));
        }
        outbox.away();
        assert_eq!((outbox.counts().bytes, outbox.counts().dropped), (0, 1_000), "too much");
        for _ in 0..1_000 {
            outbox.push(View::default(), &message(1_000));
        }
        let counts = outbox.counts();
        assert!(counts.bytes as usize <= AWAY_BYTES_MAX && counts.dropped < 2_000, "{counts:?}");
        outbox.away();
        assert_eq!(outbox.counts().bytes, counts.bytes, "young enough to wait");
        outbox.state().oldest = Instant::now().checked_sub(AWAY_MAX * 2);
        outbox.away();
        assert_eq!((outbox.counts().bytes, outbox.counts().dropped), (0, 2_000), "too old");
        outbox.push(View::default(), &message(3));
        outbox.here(wire::VERSION_MAX);
        assert_eq!(frames(&outbox), [message(3)]);
    }

    #[test]
    fn a_peer_that_comes_back_reading_another_version_gets_nothing_of_the_former() {
        let outbox = Outbox::new(1 << 20);
        outbox.push(View::default(), &message(1));
        outbox.here(wire::VERSION_MIN);
        assert_eq!((outbox.counts().dropped, outbox.counts().bytes), (1, 0));
        outbox.away();
        outbox.here(wire::VERSION_MAX);
        outbox.push(View::default(), &message(2));
        assert_eq!(frames(&outbox), [message(2)]);
    }
}
