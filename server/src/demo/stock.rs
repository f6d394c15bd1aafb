//! The stock: many keys, each written once, of which every tenth is deleted, and all of which are counted at the end.
//!
//! A value names its key and a number, so a value in the wrong place is noticed as well as one that is missing; the rest
//! of it are letters that no compression makes much fewer, so that the bytes on disk are those of real data. No
//! history is kept of them: what must be there follows from a key's number alone, whatever happens to the nodes
//! meanwhile. A key whose write had to be tried again is not deleted, because the try that nobody answered could still
//! arrive, and would be a write that the delete had not seen. Every key is then read through every node: what that node
//! can tell with a quorum of one, which shows what it has on disk where it is a replica; with the usual quorum; and in
//! the node's listing. Reads with a quorum of one come first, since the others would mend what they find.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::rest::AGAIN;
use super::session::{TIMEOUT, texts};
use crate::load::mec::{Mec, Trouble};
use crate::load::screen::{Screen, thousands};

/// Connections that write and delete, over all nodes.
const WRITERS: usize = 32;
/// Connections that read, for each node.
const READERS: usize = 8;
/// Every so many keys, one is deleted.
const DELETED_EVERY: u64 = 10;
/// How often a call is tried.
const TRIES: usize = 5;
/// How long a node may work on a page of its listing.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Keys in a page of a listing.
const PAGE: u32 = 1_000;
/// After so many misses nobody reads on.
const MISSES_MAX: usize = 1_000;
/// A listing that shows so many keys more than twice the stock does not end.
const OTHERS_MAX: u64 = 1_000;
/// What a value is filled up with.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// How much of a value is shown.
const SHOWN_MAX: usize = 40;
/// How often the screen says how far a pass is.
const BEAT: Duration = Duration::from_millis(100);

/// What was put where, as a function of numbers.
#[derive(Clone, Copy, Debug)]
struct Goods {
    keys: u64,
    value_bytes: usize,
    seed: u64,
}

impl Goods {
    /// The key of this number.
    fn key(number: u64) -> String {
        format!("stock-{number:07}")
    }

    /// The number of a key that is one of the stock's.
    fn number(self, key: &str) -> Option<u64> {
        let number = key.strip_prefix("stock-")?.parse().ok()?;
        (number < self.keys && Goods::key(number) == key).then_some(number)
    }

    /// What is put under it: the key, a number that no other run has there, and letters.
    fn value(self, number: u64) -> String {
        let mark = (self.seed ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut value = format!("{} holds {} ", Goods::key(number), mark >> 40);
        let letters = self.value_bytes.saturating_sub(value.len());
        value.reserve_exact(letters);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(mark);
        value.extend((0..letters).map(|_| char::from(LETTERS[rng.random_range(..LETTERS.len())])));
        value
    }
}

/// How the stock is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// By reads with a quorum of one.
    One,
    /// By reads with the usual quorum.
    Quorum,
    /// By the listing.
    Listing,
}

impl Look {
    /// In the order in which they must come.
    pub(super) const ALL: [Look; 3] = [Look::One, Look::Quorum, Look::Listing];

    /// For people.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Look::One => "reads with r = 1",
            Look::Quorum => "reads with the usual quorum",
            Look::Listing => "listings",
        }
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Miss {
    /// The node that was asked.
    pub(super) node: String,
    /// Which key.
    pub(super) key: String,
    /// How it was looked at.
    pub(super) by: &'static str,
    /// What must be there and what is, in words.
    pub(super) words: String,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Miss { node, key, by, words } = self;
        write!(f, "{key} on {node} ({by}): {words}")
    }
}

/// The stock of one run.
#[derive(Debug)]
pub(super) struct Stock {
    goods: Goods,
    deleted: BTreeSet<u64>,
    /// Keys whose write had to be tried again.
    doubtful: BTreeSet<u64>,
}

impl Stock {
    /// A stock of so many keys, which are not written yet, with values of so many bytes drawn from `seed`.
    pub(super) fn new(keys: u64, value_bytes: usize, seed: u64) -> Self {
        let goods = Goods { keys, value_bytes, seed };
        Stock { goods, deleted: BTreeSet::new(), doubtful: BTreeSet::new() }
    }

    /// How many keys were written.
    pub(super) fn keys(&self) -> u64 {
        self.goods.keys
    }

    /// Bytes of the values of so many keys.
    pub(super) fn bytes(&self, keys: u64) -> u64 {
        keys.saturating_mul(self.goods.value_bytes as u64)
    }

    /// How many keys must be there.
    pub(super) fn kept(&self) -> u64 {
        self.goods.keys - self.deleted()
    }

    /// How many keys were deleted.
    pub(super) fn deleted(&self) -> u64 {
        self.deleted.len() as u64
    }

    /// Writes every key.
    ///
    /// # Errors
    /// The key that nobody acknowledges.
    pub(super) async fn fill(
        &mut self,
        nodes: &[(String, SocketAddr)],
        screen: &Screen,
    ) -> Result<(), String> {
        let goods = self.goods;
        let tries = over(nodes, 0..goods.keys, ("written", screen), async move |mec, number| {
            write(mec, &Goods::key(number), &goods.value(number)).await
        });
        self.doubtful =
            tries.await?.into_iter().filter(|(_, tries)| *tries > 1).map(|(number, _)| number).collect();
        Ok(())
    }

    /// Deletes every tenth key, and remembers which.
    ///
    /// # Errors
    /// The key that nobody deletes.
    pub(super) async fn thin(
        &mut self,
        nodes: &[(String, SocketAddr)],
        screen: &Screen,
    ) -> Result<(), String> {
        let numbers = (0..self.goods.keys).filter(|number| number % DELETED_EVERY == DELETED_EVERY / 2);
        let numbers: Vec<u64> = numbers.filter(|number| !self.doubtful.contains(number)).collect();
        let deleted = over(nodes, numbers.into_iter(), ("deleted", screen), async move |mec, number| {
            delete(mec, &Goods::key(number)).await
        });
        self.deleted = deleted.await?.into_iter().map(|(number, ())| number).collect();
        Ok(())
    }

    /// Deletes every key, and `others` as well.
    ///
    /// # Errors
    /// The key that nobody deletes.
    pub(super) async fn clear(
        &self,
        others: Vec<String>,
        nodes: &[(String, SocketAddr)],
        screen: &Screen,
    ) -> Result<(), String> {
        let keys = (0..self.goods.keys).map(Goods::key).chain(others);
        over(nodes, keys, ("deleted", screen), async |mec, key| delete(mec, &key).await).await.map(drop)
    }

    /// What must be under a key; nothing if it was deleted.
    fn wanted(&self, number: u64) -> Option<String> {
        (!self.deleted.contains(&number)).then(|| self.goods.value(number))
    }

    /// How many connections look at each node's stock.
    fn readers(look: Look) -> usize {
        match look {
            Look::One | Look::Quorum => READERS,
            // A page says where the next one begins.
            Look::Listing => 1,
        }
    }

    /// Looks at every key through every node, and says how many answers were compared and what is not as it must be.
    /// After very many misses the rest is left.
    pub(super) async fn count(
        self: &Rc<Self>,
        look: Look,
        nodes: &[(String, SocketAddr)],
        screen: &Screen,
    ) -> (u64, Vec<Miss>) {
        let pass = Rc::new(Pass { look, compared: Cell::new(0), misses: RefCell::new(Vec::new()) });
        let mut workers = JoinSet::new();
        for (name, address) in nodes {
            let next = Rc::new(Cell::new(0));
            for _ in 0..Stock::readers(look) {
                let (stock, pass, next) = (Rc::clone(self), Rc::clone(&pass), Rc::clone(&next));
                let (name, address) = (name.clone(), *address);
                workers.spawn_local(async move {
                    match look {
                        Look::Listing => stock.list(&pass, &name, address).await,
                        _ => stock.read(&pass, &next, &name, address).await,
                    }
                });
            }
        }
        let say = || screen.say(format!("{}: {} answers", look.as_str(), thousands(pass.compared.get())));
        while let Some(ended) = next_of(&mut workers, &say).await {
            if let Err(error) = ended {
                pass.miss("every node", "some key", format!("whoever looked has failed: {error}"));
            }
        }
        let misses = pass.misses.take();
        (pass.compared.get(), misses)
    }

    async fn read(&self, pass: &Pass, next: &Cell<u64>, node: &str, address: SocketAddr) {
        let mut mec = Mec::new(address, TIMEOUT);
        while next.get() < self.goods.keys && !pass.is_over() {
            let number = next.replace(next.get() + 1);
            let key = Goods::key(number);
            let got = retried(async || match pass.look {
                Look::One => mec.get_one(&key).await,
                _ => mec.get(&key).await,
            });
            match got.await {
                Ok(got) => {
                    pass.compared.set(pass.compared.get() + 1);
                    if let Some(words) = wrong(self.wanted(number).as_deref(), &texts(&got.values)) {
                        pass.miss(node, &key, words);
                    }
                }
                Err(trouble) => pass.miss(node, &key, format!("there is no answer: {}", trouble.reason())),
            }
        }
    }

    async fn list(&self, pass: &Pass, node: &str, address: SocketAddr) {
        let mut mec = Mec::new(address, PAGE_TIMEOUT);
        let mut listed = vec![0_u8; self.goods.keys as usize];
        let (mut total, mut after) = (0, None);
        loop {
            let page = match retried(async || mec.list(after.as_deref(), PAGE).await).await {
                Ok(page) => page,
                Err(trouble) => {
                    let after = after.unwrap_or_else(|| "the beginning".to_owned());
                    let words = format!("the listing does not go on from here: {}", trouble.reason());
                    return pass.miss(node, &after, words);
                }
            };
            for key in &page.keys {
                if let Some(number) = self.goods.number(key) {
                    listed[number as usize] = listed[number as usize].saturating_add(1);
                }
            }
            let keys = page.keys.len() as u64;
            pass.compared.set(pass.compared.get() + keys);
            total += keys;
            after = page.keys.last().cloned();
            if !page.has_more || after.is_none() || total > 2 * self.goods.keys + OTHERS_MAX {
                break;
            }
        }
        for (number, &times) in (0..).zip(&listed) {
            let (is_deleted, is_over) = (self.deleted.contains(&number), pass.is_over());
            if times != u8::from(!is_deleted) && !is_over {
                let what = if is_deleted { "deleted" } else { "kept" };
                pass.miss(node, &Goods::key(number), format!("it was {what}, and is listed {times} times"));
            }
        }
    }
}

/// One way to look at everything, under way.
struct Pass {
    look: Look,
    compared: Cell<u64>,
    misses: RefCell<Vec<Miss>>,
}

impl Pass {
    fn miss(&self, node: &str, key: &str, words: String) {
        let (node, key, by) = (node.to_owned(), key.to_owned(), self.look.as_str());
        self.misses.borrow_mut().push(Miss { node, key, by, words });
    }

    fn is_over(&self) -> bool {
        self.misses.borrow().len() >= MISSES_MAX
    }
}

/// What is wrong with these values, in words. Two tries of one write may stand side by side, with one value.
fn wrong(wanted: Option<&str>, values: &[String]) -> Option<String> {
    match (wanted, values) {
        (Some(wanted), []) => Some(format!("{} was kept, and there is nothing", shown(wanted))),
        (Some(wanted), values) if values.iter().any(|value| value != wanted) => {
            Some(format!("{} was kept, and there is {}", shown(wanted), all_shown(values)))
        }
        (None, [_, ..]) => Some(format!("it was deleted, and there is {}", all_shown(values))),
        _ => None,
    }
}

/// A value in quotes; its beginning, if it is long.
fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}… ({} bytes)", &value[..end], value.len()),
        None => format!("{value:?}"),
    }
}

fn all_shown(values: &[String]) -> String {
    values.iter().map(|value| shown(value)).collect::<Vec<_>>().join(" and ")
}

/// Does something with every number or key, by all writers at once, and gives what came of each.
async fn over<K: Clone + 'static, T: 'static>(
    nodes: &[(String, SocketAddr)],
    numbers: impl Iterator<Item = K> + 'static,
    (done, screen): (&str, &Screen),
    work: impl AsyncFn(&mut Mec, K) -> Result<T, String> + Clone + 'static,
) -> Result<Vec<(K, T)>, String> {
    let numbers = Rc::new(RefCell::new(numbers));
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let mut workers = JoinSet::new();
    for (_, address) in nodes.iter().cycle().take(WRITERS) {
        let (numbers, outcomes, work) = (Rc::clone(&numbers), Rc::clone(&outcomes), work.clone());
        let mut mec = Mec::new(*address, TIMEOUT);
        workers.spawn_local(async move {
            loop {
                let Some(number) = numbers.borrow_mut().next() else { return Ok::<_, String>(()) };
                let outcome = work(&mut mec, number.clone()).await?;
                outcomes.borrow_mut().push((number, outcome));
            }
        });
    }
    let say = || screen.say(format!("{} keys are {done}", thousands(outcomes.borrow().len() as u64)));
    while let Some(ended) = next_of(&mut workers, &say).await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(outcomes.take())
}

/// The next worker's end; `say` is called again and again until then.
async fn next_of<T: 'static>(
    workers: &mut JoinSet<T>,
    say: &impl Fn(),
) -> Option<Result<T, tokio::task::JoinError>> {
    loop {
        match timeout(BEAT, workers.join_next()).await {
            Ok(ended) => return ended,
            Err(_) => say(),
        }
    }
}

/// Writes a key until it is acknowledged, and says how many tries that took.
async fn write(mec: &mut Mec, key: &str, value: &str) -> Result<usize, String> {
    let mut clock = None;
    let mut reason = String::new();
    for tried in 1..=TRIES {
        match mec.put(key, value.as_bytes(), clock.as_deref()).await {
            Ok(_) => return Ok(tried),
            Err(trouble) => reason = trouble.reason().to_owned(),
        }
        sleep(AGAIN).await;
        clock = mec.get(key).await.ok().and_then(|got| got.clock);
    }
    Err(format!("{key} cannot be written: {reason}"))
}

/// Deletes what is under a key until nothing is there.
async fn delete(mec: &mut Mec, key: &str) -> Result<(), String> {
    let mut reason = "it is still there".to_owned();
    for _ in 0..TRIES {
        let deleted = match mec.get(key).await {
            Ok(got) if got.values.is_empty() => return Ok(()),
            Ok(got) => mec.delete(key, &got.clock.unwrap_or_default()).await.map(drop),
            Err(trouble) => Err(trouble),
        };
        match deleted {
            Ok(()) => return Ok(()),
            Err(trouble) => reason = trouble.reason().to_owned(),
        }
        sleep(AGAIN).await;
    }
    Err(format!("{key} cannot be deleted: {reason}"))
}

/// A call that changes nothing, tried again until it is answered.
async fn retried<T>(mut call: impl AsyncFnMut() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let mut answer = call().await;
    for _ in 1..TRIES {
        if answer.is_ok() {
            break;
        }
        sleep(AGAIN).await;
        answer = call().await;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_number_and_its_value_belongs_to_it_alone() {
        let goods = Goods { keys: 1_000, value_bytes: 200, seed: 7 };
        let mut values = BTreeSet::new();
        for number in 0..goods.keys {
            assert_eq!(goods.number(&Goods::key(number)), Some(number));
            assert!(goods.value(number).starts_with(&Goods::key(number)));
            assert_eq!(goods.value(number).len(), 200);
            values.insert(goods.value(number));
        }
        assert_eq!(values.len(), 1_000);
        for other in ["stock-0001000", "stock-1", "hot-1", "stock-", "stock-000000x"] {
            assert_eq!(goods.number(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_missing_came_back_or_is_another_value_is_wrong() {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        assert_eq!(wrong(Some("a"), &values(&["a"])), None);
        assert_eq!(wrong(Some("a"), &values(&["a", "a"])), None);
        assert_eq!(wrong(None, &[]), None);
        assert!(wrong(Some("a"), &[]).is_some());
        assert!(wrong(Some("a"), &values(&["b"])).is_some());
        assert!(wrong(Some("a"), &values(&["a", "b"])).is_some());
        assert!(wrong(None, &values(&["a"])).is_some());
    }

    #[test]
    fn a_miss_says_which_key_and_which_node() {
        let miss = Miss {
            node: "n4".into(),
            key: "stock-0000005".into(),
            by: Look::One.as_str(),
            words: wrong(None, &["x".to_owned()]).unwrap(),
        };
        let words = "stock-0000005 on n4 (reads with r = 1): it was deleted, and there is \"x\"";
        assert_eq!(miss.to_string(), words);
        let long = wrong(None, &["ä".repeat(50)]).unwrap();
        assert!(long.ends_with("ä\"… (100 bytes)") && long.len() < 150, "{long}");
    }
}
