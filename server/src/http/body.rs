//! Request bodies, bounded three ways while they arrive: in bytes each, in bytes all together, and in time.
//!
//! Memory is taken for what has arrived, never for what was announced, and is given back when the request has been
//! answered. A client whose body is too large gets to send a little more into the void, because most read no answer
//! before they have sent everything.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;

/// What a client with too large a body may still send, and for how long.
const VOID_BYTES: u64 = 16 << 20;
const VOID_TIME: Duration = Duration::from_secs(2);

/// The bounds on bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    /// One permit per byte that all bodies together may still take.
    room: Arc<Semaphore>,
    each_max: usize,
    time_max: Duration,
}

/// A body in memory; its room is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Each at most `each_max` bytes within `time_max`, all together at most `all_max` bytes.
    pub(super) fn new(each_max: usize, all_max: usize, time_max: Duration) -> Self {
        let room = Arc::new(Semaphore::new(all_max.min(Semaphore::MAX_PERMITS)));
        Self { room, each_max, time_max }
    }

    /// Reads the whole body. `announced` is its Content-Length, if there is one.
    pub(super) async fn read(&self, mut body: Body, announced: Option<u64>) -> Result<Held, Refusal> {
        if announced.is_some_and(|bytes| bytes > self.each_max as u64) {
            drain(&mut body, announced).await;
            return Err(self.too_large());
        }
        let deadline = Instant::now() + self.time_max;
        let (mut bytes, mut room) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        loop {
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(None) => return Ok(Held { bytes: bytes.freeze(), _room: room }),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    return Err(Refusal::bad(format!("the body broke off: {error}")).and_hang_up());
                }
                Err(_) => {
                    let reason = format!("the body did not arrive within {:?}", self.time_max);
                    return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, reason).and_hang_up());
                }
            };
            // Trailers mean nothing here.
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > self.each_max {
                drain(&mut body, announced).await;
                return Err(self.too_large());
            }
            let more = self.take_room(data.len())?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
    }

    fn take_room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        u32::try_from(bytes)
            .ok()
            .and_then(|bytes| Arc::clone(&self.room).try_acquire_many_owned(bytes).ok())
            .ok_or_else(|| {
                Refusal::unavailable("too many request bodies are in memory already: try again").and_hang_up()
            })
    }

    fn too_large(&self) -> Refusal {
        let reason = format!("the value is larger than the limit of {} bytes", self.each_max);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason).and_hang_up()
    }
}

/// Lets the client send the rest of a body that is not wanted, within bounds.
async fn drain(body: &mut Body, announced: Option<u64>) {
    if announced.is_some_and(|bytes| bytes > VOID_BYTES) {
        return;
    }
    let deadline = Instant::now() + VOID_TIME;
    let mut left = VOID_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn status(refusal: Refusal) -> StatusCode {
        refusal.into_response().status()
    }

    #[tokio::test]
    async fn a_body_at_the_limit_is_read_and_one_byte_more_is_not() {
        let bodies = Bodies::new(10, 100, Duration::from_secs(5));
        let read = async |bytes: usize, announced: Option<u64>| {
            bodies.read(Body::from(vec![7; bytes]), announced).await.map(|held| held.bytes.len())
        };
        assert_eq!(read(10, Some(10)).await.expect("read"), 10);
        assert_eq!(read(0, None).await.expect("read"), 0);
        for announced in [Some(11), None] {
            let refusal = read(11, announced).await.expect_err("refused");
            assert_eq!(status(refusal), StatusCode::PAYLOAD_TOO_LARGE);
        }
    }

    #[tokio::test]
    async fn bodies_share_room_and_give_it_back() {
        let bodies = Bodies::new(10, 15, Duration::from_secs(5));
        let first = bodies.read(Body::from(vec![7; 10]), None).await.expect("room");
        let refusal = bodies.read(Body::from(vec![7; 6]), None).await.expect_err("no room");
        assert_eq!(status(refusal), StatusCode::SERVICE_UNAVAILABLE);
        drop(first);
        assert!(bodies.read(Body::from(vec![7; 10]), None).await.is_ok());
    }
}
