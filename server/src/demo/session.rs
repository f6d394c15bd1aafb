//! One client: it reads, writes and deletes, one call at a time, and thinks in between.
//!
//! A session is a closed loop. It keeps a clock for each key that it has dealt with and sends it along with most of its
//! writes, which then replace what it had seen; other writes are blind and stand beside whatever is there.
//! Each has a home node and moves on when that fails, returning now and then; it hears who can be asked at all, which may
//! be late. After a write whose end nobody knows
//! a session is another one (a new process number) that has seen nothing, as a client that was restarted.

use std::mem;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use godown_jepsen::history::{Kind, Value};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::sync::watch;
use tokio::time::sleep;

use super::memory::{Memory, Seen};
use super::recorder::{Call, Recorder};
use crate::load::mec::{Mec, Trouble};

/// How long a node may work on a call.
pub(super) const TIMEOUT: Duration = Duration::from_millis(1_000);
/// The keys that everybody wants.
pub(super) const HOT: usize = 4;
/// The keys that somebody wants now and then.
pub(super) const COLD: usize = 28;
/// Of 100 calls, how many go to a hot key.
const HOT_PERCENT: u32 = 60;
/// Of 100 calls, how many are reads,
const READ_PERCENT: u32 = 50;
/// and how many are deletes; the rest are writes.
const DELETE_PERCENT: u32 = 7;
/// Of 100 writes, how many are blind.
const BLIND_PERCENT: u32 = 25;
/// Of 100 calls away from home, before how many a session goes home.
const HOME_PERCENT: u32 = 4;
/// How long a session thinks between two calls.
const THINK_MS: std::ops::RangeInclusive<u64> = 3..=15;

/// All keys, the hot ones first.
pub(super) fn keys() -> Vec<String> {
    let hot = (1..=HOT).map(|number| format!("hot-{number}"));
    let cold = (1..=COLD).map(|number| format!("cold-{number:02}"));
    hot.chain(cold).collect()
}

/// What a session does next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Intent {
    Read,
    /// With what it is built on; nothing for a blind write.
    Write(Seen),
    Delete(Seen),
}

/// One client.
pub(super) struct Session {
    number: usize,
    process: u64,
    recorder: Rc<Recorder>,
    rng: Xoshiro256PlusPlus,
    /// Who can be asked, by name.
    roster: watch::Receiver<Vec<(String, SocketAddr)>>,
    nodes: Vec<(String, Mec)>,
    at: usize,
    keys: Vec<String>,
    memory: Memory,
    identities: u64,
}

impl Session {
    /// The session of this number, with choices drawn from `seed` and its own number. It asks those who are on the
    /// roster, which is never empty.
    pub(super) fn new(
        number: usize,
        seed: u64,
        recorder: Rc<Recorder>,
        roster: watch::Receiver<Vec<(String, SocketAddr)>>,
    ) -> Self {
        let mut session = Session {
            number,
            process: recorder.process(),
            recorder,
            rng: Xoshiro256PlusPlus::seed_from_u64(
                seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            ),
            roster,
            nodes: Vec::new(),
            at: 0,
            keys: keys(),
            memory: Memory::default(),
            identities: 0,
        };
        session.follow();
        session
    }

    /// Goes home after the roster has changed; connections to those who are still on it are kept.
    fn follow(&mut self) {
        let mut known = mem::take(&mut self.nodes);
        for (name, address) in self.roster.borrow_and_update().iter() {
            let place = known.iter().position(|(node, _)| node == name);
            self.nodes.push(match place {
                Some(place) => known.swap_remove(place),
                None => (name.clone(), Mec::new(*address, TIMEOUT)),
            });
        }
        assert!(!self.nodes.is_empty(), "a session needs somebody to talk to");
        self.at = self.number % self.nodes.len();
    }

    /// Works until told to stop; the call under way is finished first.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            // Without anybody who changes it the roster stays as it is.
            if self.roster.has_changed().unwrap_or(false) {
                self.follow();
            }
            let key = self.key();
            match self.intent(&key) {
                Intent::Read => self.read(&key).await,
                Intent::Write(basis) => self.write(&key, basis).await,
                Intent::Delete(basis) => self.delete(&key, basis).await,
            }
            let think_ms = self.rng.random_range(THINK_MS);
            sleep(Duration::from_millis(think_ms)).await;
            if self.percent(HOME_PERCENT) {
                self.at = self.number % self.nodes.len();
            }
        }
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn key(&mut self) -> String {
        let number = if self.percent(HOT_PERCENT) {
            self.rng.random_range(0..HOT)
        } else {
            self.rng.random_range(HOT..HOT + COLD)
        };
        self.keys[number].clone()
    }

    fn intent(&mut self, key: &str) -> Intent {
        let choice = self.rng.random_range(0..100);
        let is_blind = self.percent(BLIND_PERCENT);
        let basis = self.memory.of(key).cloned();
        match (choice, basis) {
            (0..READ_PERCENT, _) => Intent::Read,
            // Only what has been seen can be deleted.
            (..DEL_END, Some(basis)) => Intent::Delete(basis),
            (..DEL_END, None) => Intent::Read,
            (_, Some(basis)) if !is_blind => Intent::Write(basis),
            _ => Intent::Write(Seen::default()),
        }
    }

    fn identity(&mut self, letter: char) -> String {
        self.identities += 1;
        format!("{letter}{}-{}", self.number, self.identities)
    }

    async fn read(&mut self, key: &str) {
        let number = self.number;
        let (name, mec) = &mut self.nodes[self.at];
        let call = self.recorder.invoke(self.process, "read", |event| {
            event.key(key).node(name.as_str()).extra("session", number)
        });
        match mec.get(key).await {
            Ok(got) => {
                let values = texts(&got.values);
                self.recorder.complete(&call, Kind::Ok, |event| {
                    event
                        .key(key)
                        .value(Value::List(values.iter().map(|text| text.as_str().into()).collect()))
                });
                self.memory.on_read(key, got.clock, &values);
            }
            // A read changes nothing, so one without an answer did not happen.
            Err(trouble) => {
                self.recorder.complete(&call, Kind::Fail, |event| event.key(key).error(trouble.reason()));
                self.move_on();
            }
        }
    }

    async fn write(&mut self, key: &str, basis: Seen) {
        let value = self.identity('s');
        let call = self.invoke_change("write", key, &value, &basis);
        let (_, mec) = &mut self.nodes[self.at];
        let answer = mec.put(key, value.as_bytes(), basis.clock.as_deref()).await;
        self.on_changed(&call, key, &value, basis, answer);
    }

    async fn delete(&mut self, key: &str, basis: Seen) {
        let identity = self.identity('d');
        let call = self.invoke_change("delete", key, &identity, &basis);
        let (_, mec) = &mut self.nodes[self.at];
        let answer = mec.delete(key, basis.clock.as_deref().unwrap_or_default()).await;
        self.on_changed(&call, key, &identity, basis, answer);
    }

    fn invoke_change(&self, f: &'static str, key: &str, identity: &str, basis: &Seen) -> Call {
        let (name, _) = &self.nodes[self.at];
        self.recorder.invoke(self.process, f, |event| {
            event
                .key(key)
                .value(identity)
                .node(name.as_str())
                .seen(basis.covers.iter().map(String::as_str))
                .extra("session", self.number)
        })
    }

    fn on_changed(
        &mut self,
        call: &Call,
        key: &str,
        identity: &str,
        basis: Seen,
        answer: Result<Option<String>, Trouble>,
    ) {
        let kind = match &answer {
            Ok(_) => Kind::Ok,
            Err(Trouble::Refused(_) | Trouble::Unreachable(_)) => Kind::Fail,
            Err(Trouble::Unknown(_)) => Kind::Info,
        };
        self.recorder.complete(call, kind, |event| {
            let event = event.key(key).value(identity);
            match &answer {
                Ok(_) => event,
                Err(trouble) => event.error(trouble.reason()),
            }
        });
        match answer {
            Ok(clock) => self.memory.on_acknowledged(key, clock, basis, identity),
            // The node is well; what it was asked for made no sense, such as deleting what is gone.
            Err(Trouble::Refused(_)) => {}
            Err(Trouble::Unreachable(_)) => self.move_on(),
            Err(Trouble::Unknown(_)) => {
                self.process = self.recorder.process();
                self.memory.forget();
                self.move_on();
            }
        }
    }

    fn move_on(&mut self) {
        self.at = (self.at + 1) % self.nodes.len();
    }
}

/// Where the deletes end among 100 calls.
const DEL_END: u32 = READ_PERCENT + DELETE_PERCENT;

/// Values as text; what is none cannot have been written here and is shown as it would be printed.
pub(super) fn texts(values: &[Vec<u8>]) -> Vec<String> {
    values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_asks_those_who_are_on_the_roster() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Rc::new(Recorder::new(&folder.path().join("h"), &folder.path().join("l")).unwrap());
        let list = |names: &[&str]| -> Vec<(String, SocketAddr)> {
            names.iter().map(|name| ((*name).to_owned(), SocketAddr::from(([127, 0, 0, 1], 1)))).collect()
        };
        let (sender, roster) = watch::channel(list(&["n1", "n2", "n3"]));
        let mut session = Session::new(2, 7, recorder, roster);
        let names = |session: &Session| {
            session.nodes.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((names(&session).as_str(), session.at), ("n1 n2 n3", 2));
        sender.send_replace(list(&["n3", "n4"]));
        assert!(session.roster.has_changed().unwrap());
        session.follow();
        assert_eq!((names(&session).as_str(), session.at), ("n3 n4", 0));
        assert!(!session.roster.has_changed().unwrap());
    }
}
