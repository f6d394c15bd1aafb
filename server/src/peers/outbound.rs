//! Calling a peer, and sending to it for as long as it listens.
//!
//! One task per peer: call, greet, send, and when the connection ends call again, after a pause that doubles from a
//! tenth of a second to two seconds, with jitter so that a cluster does not call in step. A peer that calls this
//! node first is called back at once. While a peer is away little waits for it. A node that is no peer yet can be
//! called as well, to ask who it is, or to be taken in by it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use godown_core::wire;
use rand::RngExt as _;
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::hello::{Hello, Purpose};
use super::{Connected, Link, PING, PING_EVERY, Peers, SILENCE_MAX, count, lock, wall_ms};
use crate::config::Listed;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long the peer may take to answer the hello: it may first have to find out that an older connection is dead.
const HELLO_MAX: Duration = Duration::from_secs(8);

/// How long the answer to a question may take: a node that takes another one in has to write that down first.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// How often a peer is asked again what its clock says.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

/// The first pause, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A connection that lasted so long is no reason to call more slowly.
const LASTING: Duration = Duration::from_secs(5);

/// Calls the peer, sends to it, and begins again, for ever.
pub(super) async fn keep_calling(peers: Arc<Peers>, link: Arc<Link>, mut rng: Xoshiro256PlusPlus) {
    let mut pause = PAUSE_MIN;
    let mut was_told = String::new();
    loop {
        let started = Instant::now();
        let why = match call(&peers, &link).await {
            Ok(stream) => {
                was_told.clear();
                let why = send(&peers, &link, stream).await;
                *lock(&link.connected) = None;
                info!(peer = %link.describe(), "the connection ended: {why}");
                if started.elapsed() > LASTING {
                    pause = PAUSE_MIN;
                }
                why
            }
            Err(why) => why,
        };
        link.outbox.away();
        // The same reason every second is one line in the log.
        if was_told == why {
            debug!(peer = %link.describe(), "no connection: {why}");
        } else {
            warn!(peer = %link.describe(), "no connection: {why}");
            was_told = why;
        }
        let jittered = pause.mul_f64(rng.random_range(0.5..1.0));
        pause = (pause * 2).min(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(jittered) => {}
            () = link.is_back.notified() => pause = PAUSE_MIN,
        }
    }
}

impl Link {
    /// The peer, for people.
    pub(super) fn describe(&self) -> String {
        match self.name.get() {
            Some(name) => format!("{name} ({})", self.address),
            None => self.address.to_string(),
        }
    }
}

/// Asks the nodes at `addresses` in turn to take this one into their cluster, until one of them says that it has
/// taken the request, or this node is in a cluster.
pub(super) async fn ask_until_taken(peers: Arc<Peers>, addresses: Vec<Listed>, mut rng: Xoshiro256PlusPlus) {
    let mut pause = PAUSE_MIN;
    let mut was_told = String::new();
    loop {
        for address in &addresses {
            if lock(&peers.table).cluster.is_some() {
                return;
            }
            let why = match ask(&peers, address, Purpose::Join).await {
                Ok(Hello { refused: None, name, cluster, .. }) => {
                    let cluster = cluster.unwrap_or_default();
                    info!(
                        peer = name,
                        "asked to be taken into cluster {cluster}: it is done when the change is applied there \
                         (godown cluster plan, godown cluster apply)"
                    );
                    return;
                }
                Ok(Hello { refused: Some(why), .. }) | Err(why) => format!("{address}: {why}"),
            };
            if was_told != why {
                warn!("not taken into a cluster yet: {why}");
                was_told = why;
            }
        }
        sleep(pause.mul_f64(rng.random_range(0.5..1.0))).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// What whoever is at `address` says to a caller that wants `purpose` and then hangs up. The error is for people.
pub(super) async fn ask(peers: &Peers, address: &Listed, purpose: Purpose) -> Result<Hello, String> {
    let (_, theirs) = greet(address, &peers.hello().wanting(purpose), ANSWER_MAX).await?;
    Ok(theirs)
}

/// A connection over which both have said who they are. The error is for people.
async fn greet(address: &Listed, ours: &Hello, answer_max: Duration) -> Result<(TcpStream, Hello), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let mut stream = timeout(CONNECT_MAX, TcpStream::connect((address.host.as_str(), address.port)))
        .await
        .map_err(|_| "it does not answer".to_owned())?
        .map_err(|error| words(&error))?;
    stream.set_nodelay(true).map_err(|error| words(&error))?;
    let greet = async {
        ours.write(&mut stream).await?;
        Hello::read(&mut stream).await
    };
    let theirs = timeout(answer_max, greet)
        .await
        .map_err(|_| "it does not greet back".to_owned())?
        .map_err(|error| words(&error))?;
    Ok((stream, theirs))
}

/// A connection to the peer, greeted. The error is for people.
async fn call(peers: &Peers, link: &Link) -> Result<TcpStream, String> {
    let purpose = if link.is_guest.load(Ordering::Relaxed) { Purpose::Answer } else { Purpose::Talk };
    let (stream, theirs) = greet(&link.address, &peers.hello().wanting(purpose), HELLO_MAX).await?;
    accept(peers, link, &theirs)?;
    info!(peer = %link.describe(), "connected");
    Ok(stream)
}

/// Whether whoever answered is the peer.
fn accept(peers: &Peers, link: &Link, theirs: &Hello) -> Result<(), String> {
    let life = theirs.life().map_err(|error| error.to_string())?;
    if theirs.name == peers.identity.name || life == peers.identity.life {
        count(&peers.counts.impostors);
        let why =
            format!("whoever answers there has this node's own name ('{}') or life ({life})", theirs.name);
        error!(peer = %link.describe(), "{why}");
        return Err(why);
    }
    peers.hello().check(theirs).map_err(|error| error.to_string())?;
    // The name is learnt even from a peer that refuses: it may be learning names itself.
    if !peers.learn(link, &theirs.name) {
        count(&peers.counts.impostors);
        return Err(match link.name.get() {
            Some(name) => format!("whoever answers there calls itself '{}', not '{name}'", theirs.name),
            None => format!("'{}' answers there, and at another address too", theirs.name),
        });
    }
    if peers.is_taken(life, &theirs.name) {
        count(&peers.counts.impostors);
        let why = format!("'{}' claims a life ({life}) that another live node has", theirs.name);
        error!(peer = %link.describe(), "{why}");
        return Err(why);
    }
    if let Some(why) = &theirs.refused {
        return Err(format!("it refuses: {why}"));
    }
    *lock(&link.connected) = Some(Connected { life, ahead_ms: theirs.ahead_ms(wall_ms()) });
    // What was checked above is that there is a common version.
    link.outbox.here(theirs.writes().unwrap_or(wire::VERSION_MIN));
    Ok(())
}

/// Sends what comes until the connection ends. Says why it did.
async fn send(peers: &Peers, link: &Link, stream: TcpStream) -> String {
    let (reader, writer) = stream.into_split();
    tokio::select! {
        never = follow_clock(peers, link) => match never {},
        why = write_frames(link, writer) => why,
        why = read_pongs(reader) => why,
    }
}

async fn follow_clock(peers: &Peers, link: &Link) -> Infallible {
    loop {
        sleep(CLOCK_EVERY).await;
        look_at_clock(peers, link).await;
    }
}

/// Asks a connected peer what its clock says now, over a connection of its own: the other one greets but once. One that
/// cannot be asked stays as it was.
pub(super) async fn look_at_clock(peers: &Peers, link: &Link) {
    let (before, started) = (wall_ms(), Instant::now());
    let Ok(theirs) = ask(peers, &link.address, Purpose::Ask).await else { return };
    // It looked at its clock about half-way.
    let half_ms = u64::try_from(started.elapsed().as_millis() / 2).unwrap_or(u64::MAX);
    if let Some(connected) = lock(&link.connected).as_mut()
        && theirs.life().is_ok_and(|life| life == connected.life)
    {
        connected.ahead_ms = theirs.ahead_ms(before.saturating_add(half_ms));
    }
}

async fn write_frames(link: &Link, mut writer: OwnedWriteHalf) -> String {
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = Vec::new();
    loop {
        tokio::select! {
            () = link.outbox.ready() => link.outbox.take(&mut buffer),
            _ = ping.tick() => buffer.extend_from_slice(&PING),
        }
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            match timeout(SILENCE_MAX, writer.write(rest)).await {
                Ok(Ok(written)) => rest = &rest[written..],
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "it takes nothing any more".into(),
            }
        }
        buffer.clear();
    }
}

async fn read_pongs(mut reader: OwnedReadHalf) -> String {
    let mut pongs = [0; 64];
    loop {
        match timeout(SILENCE_MAX, reader.read(&mut pongs)).await {
            Ok(Ok(0)) => return "it hung up".into(),
            Ok(Ok(read)) if pongs[..read].iter().all(|&byte| byte == 0) => {}
            Ok(Ok(_)) => return "it says something where only pongs are due".into(),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("it has shown no sign of life for {SILENCE_MAX:?}"),
        }
    }
}
