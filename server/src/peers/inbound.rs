//! Answering a peer that calls, and hearing it.
//!
//! Whoever calls says who it is and what it wants. One that wants to talk must be a member, under a name and a life
//! that nobody live has, or it is refused with a reason; others are heard as guests where the core may have an answer
//! for them. One that only asks who this is gets the answer, and one that asks to be taken in is
//! handed on. Frames then go to the event loop through a bounded channel: when the loop is behind, this node reads
//! more slowly, the peer's outbox fills, and the peer drops. Room is made for a frame only as its bytes arrive, so a
//! length alone costs nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use godown_core::config::MEMBERS_MAX;
use godown_core::id::NodeId;
use godown_core::input::Input;
use godown_core::layout::active::View;
use godown_core::message::Message;
use godown_core::wire::{self, DecodeError};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::hello::{Hello, Purpose};
use super::{JoinRequest, PING, Peers, SILENCE_MAX, Session, count, lock};

/// How long a caller may take to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(3);

/// How long an older connection of the same peer gets to show that it is alive.
const DOUBT_MAX: Duration = Duration::from_secs(3);

/// Callers that may be greeting or connected at once, beyond one for each member.
const CALLERS_MAX: usize = 64;

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// Answers callers, for ever.
pub(super) async fn answer(peers: Arc<Peers>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CALLERS_MAX + MEMBERS_MAX));
    let mut callers = JoinSet::new();
    loop {
        while callers.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                let peers = Arc::clone(&peers);
                callers.spawn(async move {
                    serve(&peers, stream, address).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file handles, most likely: those who hang up give some back.
                warn!("a peer's call cannot be taken: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Hears one caller until the connection ends.
async fn serve(peers: &Arc<Peers>, mut stream: TcpStream, address: SocketAddr) {
    let (name, guard) = match greet(peers, &mut stream).await {
        Ok(Some(greeted)) => greeted,
        Ok(None) => return,
        Err(why) => {
            count(&peers.counts.refused);
            warn!(%address, "a call was refused: {why}");
            return;
        }
    };
    info!(peer = name, %address, "hears this peer");
    if let Some(link) = peers.link(&name) {
        link.is_back.notify_one();
    }
    let session = Arc::clone(&guard.session);
    let why = tokio::select! {
        why = hear(peers, &session, NodeId::named(&name), stream) => why,
        () = session.evict.notified() => "a newer connection took its place".into(),
    };
    drop(guard);
    info!(peer = name, %address, "does not hear this peer any more: {why}");
}

/// A session that is registered for as long as this lives.
struct Guard<'a> {
    peers: &'a Peers,
    name: String,
    session: Arc<Session>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut sessions = lock(&self.peers.sessions);
        if sessions.get(&self.name).is_some_and(|session| Arc::ptr_eq(session, &self.session)) {
            sessions.remove(&self.name);
            drop(sessions);
            self.peers.remove_guest(&self.name);
        }
    }
}

/// Greets a caller and registers it, if it wants to talk. The error is for people, and the caller has been told.
async fn greet<'a>(
    peers: &'a Arc<Peers>,
    stream: &mut TcpStream,
) -> Result<Option<(String, Guard<'a>)>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    stream.set_nodelay(true).map_err(|error| words(&error))?;
    let theirs = timeout(HELLO_MAX, Hello::read(stream))
        .await
        .map_err(|_| "it says nothing".to_owned())?
        .map_err(|error| words(&error))?;
    let name = theirs.name.clone();
    let outcome = match theirs.purpose {
        Purpose::Talk | Purpose::Answer => register(peers, &theirs).await.map(Some),
        Purpose::Ask => Ok(None),
        Purpose::Join => request(peers, theirs, false).await.map(|()| None),
        Purpose::JoinNow => request(peers, theirs, true).await.map(|()| None),
    };
    let hello = match &outcome {
        Ok(_) => peers.hello(),
        Err(why) => peers.hello().refusing(why.clone()),
    };
    timeout(HELLO_MAX, hello.write(stream))
        .await
        .map_err(|_| "it does not listen".to_owned())?
        .map_err(|error| words(&error))?;
    match outcome {
        Ok(guard) => Ok(guard.map(|guard| (name, guard))),
        Err(why) => Err(format!("'{name}': {why}")),
    }
}

/// Hands on the wish of a node to be taken in, and waits for the answer.
async fn request(peers: &Peers, hello: Hello, now: bool) -> Result<(), String> {
    let ours = peers.hello();
    ours.check(&hello).map_err(|error| error.to_string())?;
    if ours.cluster.is_none() {
        return Err("this node is in no cluster yet that it could take another one into".into());
    }
    let (answer, answered) = oneshot::channel();
    let busy = |_| "this node is starting, stopping, or busy with other requests".to_owned();
    peers.requests.try_send(JoinRequest { hello, now, answer }).map_err(|error| busy(error.to_string()))?;
    answered.await.map_err(|error| busy(error.to_string()))?
}

async fn register<'a>(peers: &'a Arc<Peers>, theirs: &Hello) -> Result<Guard<'a>, String> {
    let life = theirs.life().map_err(|error| error.to_string())?;
    let ours = peers.hello();
    ours.check(theirs).map_err(|error| error.to_string())?;
    let impostor = |why: String| {
        count(&peers.counts.impostors);
        error!(peer = theirs.name, %life, "{why}");
        why
    };
    if theirs.name == ours.name {
        return Err(impostor(format!("'{}' is this node's own name", theirs.name)));
    }
    if peers.is_taken(life, &theirs.name) {
        return Err(impostor(format!("it claims a life ({life}) that another live node has")));
    }
    if !lock(&peers.table).has_routes {
        return Err("this node does not know the names of its peers yet".into());
    }
    match peers.link(&theirs.name) {
        Some(link) => warn_of_address(theirs, &link.address.to_string()),
        None => admit_stranger(&ours, theirs)?,
    }
    if is_still_there(peers, &theirs.name).await {
        return Err(impostor(format!("another node called '{}' is connected, and alive", theirs.name)));
    }
    let session = Arc::new(Session {
        life,
        heard: Mutex::new(Instant::now()),
        evict: Notify::new(),
        is_evicted: AtomicBool::new(false),
    });
    let older = lock(&peers.sessions).insert(theirs.name.clone(), Arc::clone(&session));
    if let Some(older) = older {
        older.evict();
    }
    let guard = Guard { peers, name: theirs.name.clone(), session };
    if theirs.purpose == Purpose::Talk && peers.link(&theirs.name).is_none() {
        peers.add_guest(theirs)?;
    }
    Ok(guard)
}

/// Whether a node that is no peer may talk: not if both are in no cluster, for then the lists differ. Members hear
/// whoever asks, for it may have been one of them; and a node that is in no cluster hears those that are in one, for they
/// have taken it in.
fn admit_stranger(ours: &Hello, theirs: &Hello) -> Result<(), String> {
    match (&ours.cluster, &theirs.cluster) {
        (None, None) if ours.joins => Err("this node waits to be taken into a running cluster".into()),
        (None, None) => Err(format!("'{}' is not in this node's list of nodes", theirs.name)),
        _ => Ok(()),
    }
}

fn warn_of_address(theirs: &Hello, ours: &str) {
    if !theirs.advertise.is_empty() && theirs.advertise != ours && theirs.cluster.is_some() {
        let (name, advertise) = (&theirs.name, &theirs.advertise);
        warn!(
            peer = name,
            "it says that it is reached at {advertise}, and the cluster has {ours}: godown cluster set {name} \
             --address {advertise}"
        );
    }
}

/// Whether the connection that `name` has already shows a sign of life. A node that calls anew has hung up before,
/// so its old connection is gone or silent; two nodes under one name keep two connections alive.
async fn is_still_there(peers: &Peers, name: &str) -> bool {
    let asked = Instant::now();
    while asked.elapsed() < DOUBT_MAX {
        match lock(&peers.sessions).get(name) {
            None => return false,
            Some(session) if *lock(&session.heard) > asked => return true,
            Some(_) => {}
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
}

/// Hands on what the caller says until the connection ends. Says why it did.
async fn hear(peers: &Peers, session: &Session, from: NodeId, mut stream: TcpStream) -> String {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        match timeout(SILENCE_MAX, stream.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return "it hung up".into(),
            Ok(Ok(_)) => *lock(&session.heard) = Instant::now(),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("it has shown no sign of life for {SILENCE_MAX:?}"),
        }
        loop {
            match next_frame(&mut buffer) {
                Ok(None) => break,
                Ok(Some(Frame::Ping)) => {
                    // A caller that does not read its pongs loses them, and then its patience.
                    let _ = stream.try_write(&PING);
                }
                Ok(Some(Frame::Message(view, message))) => {
                    if session.is_evicted.load(Ordering::Relaxed)
                        || peers.inbox.send(Input::Peer { from, view, message: *message }).await.is_err()
                    {
                        return "this node is stopping".into();
                    }
                }
                Err(error) => {
                    count(&peers.counts.corrupt);
                    let name = peers.name_of(from);
                    error!(peer = name, "a frame from this peer is corrupt: {error}; hanging up on it");
                    return error.to_string();
                }
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Ping,
    Message(View, Box<Message>),
}

/// Takes the next whole frame off `buffer`; None when it has not arrived yet.
fn next_frame(buffer: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
    let Some(prefix) = buffer.first_chunk::<{ wire::PREFIX }>() else {
        return Ok(None);
    };
    if *prefix == PING {
        buffer.advance(wire::PREFIX);
        return Ok(Some(Frame::Ping));
    }
    let length = wire::length(*prefix)?;
    if buffer.len() < wire::PREFIX + length {
        return Ok(None);
    }
    buffer.advance(wire::PREFIX);
    let frame = buffer.split_to(length);
    let (view, message) = wire::decode(&frame)?;
    Ok(Some(Frame::Message(view, Box::new(message))))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use godown_core::id::{Life, OpId};
    use godown_core::key::Key;

    use super::*;

    #[test]
    fn frames_and_pings_are_found_however_the_bytes_are_cut() {
        let message =
            Message::Fetch { op: OpId { origin: Life(1), n: 2 }, key: Key(Bytes::from_static(b"key")) };
        let view = View { oldest: 1, reads: 2, newest: 3 };
        let mut bytes = PING.to_vec();
        wire::encode(wire::VERSION_MAX, view, &message, &mut bytes);
        bytes.extend_from_slice(&PING);
        wire::encode(wire::VERSION_MAX, view, &message, &mut bytes);
        for cut in 0..=bytes.len() {
            let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
            for part in [&bytes[..cut], &bytes[cut..]] {
                buffer.extend_from_slice(part);
                while let Some(frame) = next_frame(&mut buffer).expect("whole") {
                    found.push(frame);
                }
            }
            let message = || Frame::Message(view, Box::new(message.clone()));
            assert_eq!(found, [Frame::Ping, message(), Frame::Ping, message()], "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused_by_its_length_alone() {
        let mut buffer = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        assert!(matches!(next_frame(&mut buffer), Err(DecodeError::Length(_))));
    }
}
