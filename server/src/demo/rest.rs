//! After the load: letting the nodes agree by themselves, and asking each of them for the record.
//!
//! First nobody reads: the nodes compare notes (anti-entropy) until each has found no difference for two rounds with
//! every other. Only then are they asked. A usual read through any node joins what a quorum holds, so it would hide a replica that lags
//! behind; the reads here ask for a quorum of one, which the node that is asked answers from its own disk. Reads
//! repair what they find stale, so the repairs that they cause are counted: none means that the nodes needed no help.
//! Equal once is not enough, since a write with unknown outcome may still arrive: the answers must be
//! the same on all nodes in two rounds that are further apart than a call can take. Whatever the waiting says, the final
//! reads are then recorded, and the checks judge those.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use godown_jepsen::history::{Kind, Value};
use tokio::time::{Instant, sleep};

use super::recorder::Recorder;
use super::session::{TIMEOUT, texts};
use crate::load::http::{CallError, Client, Request};
use crate::load::mec::Mec;
use crate::load::screen::Screen;
use crate::report::phase::Phase;

/// How many comparisons without a difference, in a row and for each other node, make a node quiet.
const QUIET_ROUNDS: u64 = 2;
/// How long the nodes may take to agree.
const AGREE_MAX: Duration = Duration::from_secs(20);
/// How far apart two equal rounds must be: longer than any call that was under way may still work.
const APART: Duration = Duration::from_millis(1_200);
/// How often somebody who does not say yet what is waited for is asked again.
pub(super) const AGAIN: Duration = Duration::from_millis(100);
/// How often a final read is tried.
const TRIES: usize = 3;

/// What every node shows of every key, in the order of the keys, then of the nodes; nothing where none answered.
type Round = Vec<Vec<Option<BTreeSet<String>>>>;

/// What a node counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    /// Comparisons with another node that found no difference,
    equal: u64,
    /// and those that found one.
    differ: u64,
    /// Repairs that changed what it holds.
    repairs: u64,
}

/// Waits until the nodes find no more differences, and says how many repairs there have been on all of them by then;
/// nothing if they go on finding some for longer than `limit`, or do not say.
pub(super) async fn until_quiet(
    nodes: &[(String, SocketAddr)],
    limit: Duration,
    screen: &Screen,
) -> Option<u64> {
    let deadline = Instant::now() + limit;
    let mut clients: Vec<Client> = nodes.iter().map(|(_, address)| Client::new(*address, TIMEOUT)).collect();
    let rounds = QUIET_ROUNDS * (nodes.len() as u64).saturating_sub(1);
    // What each counted when it found its last difference; the load's end counts as one.
    let mut last: Option<Vec<Counters>> = None;
    while Instant::now() < deadline {
        screen.say("the nodes compare notes");
        let Ok(now) = counters(&mut clients).await else {
            // A node that is busy may still say before the time is over.
            sleep(AGAIN).await;
            continue;
        };
        let now = now?;
        let last = last.get_or_insert_with(|| now.clone());
        for (last, now) in last.iter_mut().zip(&now) {
            if last.differ != now.differ {
                *last = *now;
            }
        }
        if last.iter().zip(&now).all(|(last, now)| now.equal >= last.equal + rounds) {
            return Some(now.iter().map(|node| node.repairs).sum());
        }
        sleep(AGAIN).await;
    }
    None
}

/// How many repairs there have been on all nodes; nothing if one does not say.
pub(super) async fn repairs(nodes: &[(String, SocketAddr)]) -> Option<u64> {
    let mut clients: Vec<Client> = nodes.iter().map(|(_, address)| Client::new(*address, TIMEOUT)).collect();
    Some(counters(&mut clients).await.ok()??.iter().map(|node| node.repairs).sum())
}

/// What the nodes count; nothing if one of them answers and does not say.
async fn counters(clients: &mut [Client]) -> Result<Option<Vec<Counters>>, CallError> {
    let mut all = Vec::with_capacity(clients.len());
    for client in clients {
        let page = client.call(&Request::get("/stats")).await?;
        all.push(read_counters(&page.body));
    }
    Ok(all.into_iter().collect())
}

fn read_counters(page: &[u8]) -> Option<Counters> {
    let page: serde_json::Value = serde_json::from_slice(page).ok()?;
    let count = |name: &str| page.get("core")?.get(name)?.as_u64();
    Some(Counters {
        equal: count("sync_equal")?,
        differ: count("sync_differ")?,
        repairs: count("repairs_applied")?,
    })
}

/// Asks all nodes again and again until they agree for good, and says how long that took; nothing if they never did.
pub(super) async fn until_equal(
    nodes: &[(String, SocketAddr)],
    keys: &[String],
    screen: &Screen,
) -> Option<Duration> {
    let started = Instant::now();
    let mut clients: Vec<Mec> = nodes.iter().map(|(_, address)| Mec::new(*address, TIMEOUT)).collect();
    let mut equal: Option<(Instant, Round)> = None;
    while started.elapsed() < AGREE_MAX {
        let asked = Instant::now();
        let round = ask(&mut clients, keys).await;
        let unequal = round.iter().filter(|nodes| !is_equal(nodes)).count();
        if unequal > 0 {
            screen.say(format!("waiting: the nodes differ on {unequal} of {} keys", keys.len()));
            equal = None;
            sleep(AGAIN).await;
            continue;
        }
        match &equal {
            Some((since, before)) if *before == round => {
                if asked - *since >= APART {
                    return Some(*since - started);
                }
            }
            // Equal for the first time, or equal and yet different from before: something came late.
            _ => equal = Some((asked, round)),
        }
        screen.say("the nodes are equal; looking again");
        sleep(AGAIN).await;
    }
    None
}

async fn ask(clients: &mut [Mec], keys: &[String]) -> Round {
    let mut round = Vec::with_capacity(keys.len());
    for key in keys {
        let mut answers = Vec::with_capacity(clients.len());
        for client in &mut *clients {
            let answer = client.get_one(key).await.ok();
            answers.push(answer.map(|got| texts(&got.values).into_iter().collect()));
        }
        round.push(answers);
    }
    round
}

/// Whether all nodes answered, and the same.
fn is_equal(nodes: &[Option<BTreeSet<String>>]) -> bool {
    nodes.iter().all(|node| node.is_some() && *node == nodes[0])
}

/// Reads every key on every node, for the record.
pub(super) async fn record(recorder: &Recorder, nodes: &[(String, SocketAddr)], keys: &[String]) {
    recorder.enter(Phase::Final);
    for (name, address) in nodes {
        let mut client = Mec::new(*address, TIMEOUT);
        let process = recorder.process();
        for key in keys {
            for _ in 0..TRIES {
                let call =
                    recorder.invoke(process, "read", |event| event.key(key.as_str()).node(name.as_str()));
                match client.get_one(key).await {
                    Ok(got) => {
                        let values = texts(&got.values).into_iter().map(Value::from).collect();
                        recorder.complete(&call, Kind::Ok, |event| {
                            event.key(key.as_str()).value(Value::List(values)).phase(Phase::Final.as_str())
                        });
                        break;
                    }
                    Err(trouble) => recorder
                        .complete(&call, Kind::Fail, |event| event.key(key.as_str()).error(trouble.reason())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str]) -> Option<BTreeSet<String>> {
        Some(values.iter().map(|value| (*value).to_owned()).collect())
    }

    #[test]
    fn counters_are_read_from_a_nodes_page_or_not_at_all() {
        let page = br#"{"name":"n1","core":{"sync_equal":6,"sync_differ":1,"repairs_applied":19,"gets":7}}"#;
        assert_eq!(read_counters(page), Some(Counters { equal: 6, differ: 1, repairs: 19 }));
        assert_eq!(read_counters(br#"{"core":{"sync_equal":6}}"#), None);
        assert_eq!(read_counters(b"there is nothing at /stats"), None);
    }

    #[test]
    fn nodes_are_equal_only_if_all_answer_and_the_same() {
        assert!(is_equal(&[set(&["a", "b"]), set(&["b", "a"])]));
        assert!(is_equal(&[set(&[]), set(&[]), set(&[])]));
        assert!(!is_equal(&[set(&["a"]), set(&[]), set(&["a"])]));
        assert!(!is_equal(&[None, None]), "silence is no agreement");
        assert!(!is_equal(&[set(&["a"]), None]));
    }
}
