//! Who answers: failure detection by SWIM (Das, Gupta, Motivala 2002), as a machine with its own messages and timers.
//!
//! Each period one other member is pinged, in a fixed shuffled round, so each is asked once in n − 1 periods. Who does
//! not answer is pinged through three others; who answers none of them is suspected, is told so, and is declared down
//! unless it refutes that in time. What is claimed of a node spreads on the back of these messages, λ log n times.
//!
//! Claims of one node are totally ordered: by generation, then life, then alive < suspect < down; the greatest wins
//! everywhere, whatever the order of arrival. A node's generation begins at the wall clock's milliseconds, and when the
//! node hears any claim of itself above its own it goes one above that: so a restart wins over the former life, a
//! refutation over a suspicion or a death, and a clock that went back costs one round trip. Members that are down keep
//! their place in the round; without that two halves would never meet again.
//!
//! Being down is an opinion on reachability: it never changes who holds what. Who is a member comes from outside. The
//! usual crates learn that themselves, and cannot be copied with all that they have under way, as a node in a simulator
//! must be; so SWIM is written here.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::id::{Life, NodeId};
use crate::time::Mono;

/// Through how many others a silent member is asked, and how many are told of what cannot wait.
const OTHERS: usize = 3;
/// λ: a claim is passed on at most λ · ⌈log₂ n⌉ times by each node.
const LAMBDA: u32 = 3;
/// The least time for a refutation, in periods.
const SUSPICION_PERIODS_MIN: u32 = 2;
/// The longest message: one datagram's worth.
const PACKET_BYTES_MAX: usize = 1_400;
/// Version, kind, number, node, the sender's claim of itself, what is said, count of claims.
const HEADER_BYTES: usize = 1 + 1 + 8 + 8 + CLAIM_BYTES + CLAIM_BYTES + 1;
const CLAIM_BYTES: usize = 8 + 16 + 1;
/// Claims of others in one message.
const CLAIMS_MAX: usize = (PACKET_BYTES_MAX - HEADER_BYTES) / (8 + CLAIM_BYTES);
/// A higher generation is damage or malice: the node would have no higher one left to refute it with.
const GENERATION_MAX: u64 = u64::MAX >> 1;
/// The first version of the messages' format.
const V1: u8 = 1;

/// What SWIM wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Send these bytes to this node; they may be lost, doubled or late.
    Send { to: NodeId, bytes: Bytes },
    /// The node answers, in this life: it is new, it is back, or it was restarted.
    Up(NodeId, Life),
    /// The node has been declared down: it loses its turn, never its data.
    Down(NodeId),
}

/// How a node is said to be. The order matters: of two claims with one identity the worse wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Alive,
    Suspect,
    Down,
}

/// What is said of a node. The order of the fields makes the order of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    generation: u64,
    life: Life,
    health: Health,
}

impl Claim {
    /// Nobody has heard of the node yet: below every claim that a node makes of itself.
    const UNHEARD: Self = Self { generation: 0, life: Life(0), health: Health::Alive };

    fn is_up(&self) -> bool {
        self.generation > 0 && self.health != Health::Down
    }
}

/// What a message asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Answer with an `Ack`. `node` is who wants to know: the sender, or whom it asks for; `said` is of the receiver.
    Ping = 1,
    /// To the sender of a `Ping`, with its number and node; `said` is of the receiver.
    Ack = 2,
    /// Ping `node` for me, of which I hold what is `said`.
    Ask = 3,
    /// `node` has answered, and `said` this of itself.
    Told = 4,
    /// Only what it carries; `said` is of the receiver.
    News = 5,
}

/// A message without what every message carries: the sender's claim of itself, and news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    kind: Kind,
    n: u64,
    node: NodeId,
    said: Claim,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    word: Word,
    sender: Claim,
    claims: Vec<(NodeId, Claim)>,
}

/// A member that has been pinged and has not answered yet.
#[derive(Clone, Copy, Debug)]
struct Probe {
    target: NodeId,
    n: u64,
    /// What was held of it then, which is all that its silence can speak against.
    held: Claim,
    /// Whether others have been asked to ping it.
    has_asked: bool,
    due: Mono,
}

/// What this node holds of the other members.
#[derive(Debug)]
#[cfg_attr(feature = "simulation", derive(Clone))]
pub(crate) struct Swim {
    me: NodeId,
    /// What this node claims of itself.
    own: Claim,
    period: Duration,
    rng: Xoshiro256PlusPlus,
    members: BTreeMap<NodeId, Claim>,
    /// The members, the next to be pinged first.
    round: VecDeque<NodeId>,
    probe: Option<Probe>,
    /// When the next period begins; None without members.
    next: Option<Mono>,
    /// The suspected members, by when they will be declared down.
    suspicions: BTreeSet<(Mono, NodeId)>,
    /// Whose claims are still passed on, and how often they have been.
    news: BTreeMap<NodeId, u32>,
    /// The number of the last probe. It begins anywhere, so that an answer to a former life fits none of this one.
    last_n: u64,
}

impl Swim {
    /// A node that knows nobody. `started` is its generation, the wall clock's milliseconds; nothing bad comes of a
    /// wrong one. `seed` feeds only whom to ask and when to begin.
    pub(crate) fn new(me: NodeId, life: Life, started: u64, probe_every: Duration, seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let last_n = rng.random();
        let own = Claim { generation: started.clamp(1, GENERATION_MAX), life, health: Health::Alive };
        Self {
            me,
            own,
            // Shorter periods would have parts of no length.
            period: probe_every.max(Duration::from_micros(10)),
            rng,
            members: BTreeMap::new(),
            round: VecDeque::new(),
            probe: None,
            next: None,
            suspicions: BTreeSet::new(),
            news: BTreeMap::new(),
            last_n,
        }
    }

    /// Who is to be probed: the present members; this node itself is passed over. Those that are gone are forgotten,
    /// and nothing is reported of them; of those that are new nothing is known, and they are not down.
    pub(crate) fn set_members(&mut self, now: Mono, members: &[NodeId], acts: &mut Vec<Act>) {
        let wanted: BTreeSet<NodeId> = members.iter().copied().filter(|&node| node != self.me).collect();
        self.members.retain(|node, _| wanted.contains(node));
        self.round.retain(|node| wanted.contains(node));
        self.suspicions.retain(|(_, node)| wanted.contains(node));
        self.probe = self.probe.filter(|probe| wanted.contains(&probe.target));
        let newcomers: Vec<NodeId> =
            wanted.into_iter().filter(|node| !self.members.contains_key(node)).collect();
        for &node in &newcomers {
            self.members.insert(node, Claim::UNHEARD);
            let place = self.rng.random_range(0..=self.round.len());
            self.round.insert(place, node);
        }
        // What a larger cluster would still pass on, a smaller one knows by now.
        let told_max = self.told_max();
        self.news.retain(|node, told| self.members.contains_key(node) && *told < told_max);
        if self.members.is_empty() {
            self.next = None;
        } else if self.next.is_none() {
            // Nodes that start together must not ping together for ever.
            let period_ns = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
            let wait = Duration::from_nanos(self.rng.random_range(0..period_ns));
            self.next = Some(now.after(wait));
        }
        if !newcomers.is_empty() {
            self.spread(self.me, acts);
        }
    }

    /// A message from `from`. What is no message, or from a stranger, changes nothing.
    pub(crate) fn on_message(&mut self, now: Mono, from: NodeId, bytes: &[u8], acts: &mut Vec<Act>) {
        if !self.members.contains_key(&from) {
            return;
        }
        let Some(Packet { word, sender, claims }) = Packet::decode(bytes) else { return };
        let said_of = match word.kind {
            Kind::Ping | Kind::Ack | Kind::News => Some(self.me),
            Kind::Told => Some(word.node),
            // It is passed on to whom it is of, not taken over: an old "down" would go round once more.
            Kind::Ask => None,
        };
        let mut of_me = self.own;
        let said = said_of.map(|node| (node, word.said));
        for (node, claim) in [(from, sender)].into_iter().chain(claims).chain(said) {
            if node == self.me {
                of_me = of_me.max(claim);
            } else {
                self.merge(now, node, claim, acts);
            }
        }
        // Before the answer, which carries it.
        self.refute(from, of_me, acts);
        self.react(from, word, sender, acts);
    }

    /// Everything that is due by now.
    pub(crate) fn on_timer(&mut self, now: Mono, acts: &mut Vec<Act>) {
        self.excuse(now, acts);
        loop {
            if let Some(&(at, node)) = self.suspicions.first().filter(|(at, _)| *at <= now) {
                self.suspicions.remove(&(at, node));
                let claim = Claim { health: Health::Down, ..self.members[&node] };
                self.merge(now, node, claim, acts);
            } else if let Some(probe) = self.probe.filter(|probe| probe.due <= now) {
                self.on_silence(now, probe, acts);
            } else if self.next.is_some_and(|next| next <= now) {
                self.start_probe(now, acts);
            } else {
                return;
            }
        }
    }

    /// When `on_timer` is to be called next.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let suspicion = self.suspicions.first().map(|&(at, _)| at);
        let probe = self.probe.map(|probe| probe.due);
        [suspicion, probe, self.next].into_iter().flatten().min()
    }

    /// Whether `node` is a member that has been declared down. One that has never been heard of is not, until then.
    #[cfg(test)]
    pub(crate) fn is_down(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|claim| claim.health == Health::Down)
    }

    /// The last life that a member was heard of in, down or not.
    #[cfg(test)]
    pub(crate) fn life(&self, node: NodeId) -> Option<Life> {
        self.members.get(&node).filter(|claim| claim.generation > 0).map(|claim| claim.life)
    }

    /// Asserts what always holds.
    pub(crate) fn check(&self) {
        assert!(!self.members.contains_key(&self.me), "a node does not watch itself");
        assert_eq!(self.own.health, Health::Alive, "a node never claims to be anything but alive");
        assert!((1..=GENERATION_MAX).contains(&self.own.generation), "a generation is in range");
        assert_eq!(self.next.is_some(), !self.members.is_empty(), "periods go on while there are members");
        assert_eq!(self.round.len(), self.members.len(), "everybody stands in the round");
        assert!(
            self.round.iter().all(|node| self.members.contains_key(node)),
            "only members stand in the round"
        );
        // With a hundred members a set for each input would be most of a simulation.
        let sum = |sum: u64, node: &NodeId| sum.wrapping_add(node.0.wrapping_mul(node.0 | 1));
        let (round, members) = (self.round.iter().fold(0, sum), self.members.keys().fold(0, sum));
        assert_eq!(round, members, "nobody stands in the round twice");
        let suspected: BTreeSet<NodeId> = self.suspicions.iter().map(|&(_, node)| node).collect();
        assert_eq!(suspected.len(), self.suspicions.len(), "a suspicion has one end");
        let suspects = self.members.iter().filter(|(_, claim)| claim.health == Health::Suspect);
        assert!(suspected.iter().eq(suspects.map(|(node, _)| node)), "every suspicion ends");
        assert!(self.news.keys().all(|node| self.members.contains_key(node)), "news are of members");
        assert!(self.news.values().all(|&told| told < self.told_max()), "news grow old");
        assert!(
            self.probe.is_none_or(|probe| self.members.contains_key(&probe.target)),
            "members are probed"
        );
    }

    // --- What is held ------------------------------------------------------------------------------------------

    /// Takes over a claim of a member that is above what is held; whether it was.
    fn merge(&mut self, now: Mono, node: NodeId, claim: Claim, acts: &mut Vec<Act>) -> bool {
        let Some(held) = self.members.get_mut(&node).filter(|held| **held < claim) else { return false };
        let former = core::mem::replace(held, claim);
        self.suspicions.retain(|&(_, suspect)| suspect != node);
        if claim.health == Health::Suspect {
            self.suspicions.insert((now.after(self.suspicion()), node));
        }
        self.news.insert(node, 0);
        if claim.is_up() && !(former.is_up() && former.life == claim.life) {
            acts.push(Act::Up(node, claim.life));
        } else if claim.health == Health::Down && former.health != Health::Down {
            acts.push(Act::Down(node));
        }
        true
    }

    /// Rises above a claim of this node that is not its own, and says so to who holds it and to a few others.
    fn refute(&mut self, holder: NodeId, claim: Claim, acts: &mut Vec<Act>) {
        if claim <= self.own || claim.generation >= GENERATION_MAX {
            return;
        }
        self.own.generation = claim.generation + 1;
        self.tell(holder, acts);
        self.spread(holder, acts);
    }

    /// Lets a node that has itself been away (a paused process, a machine asleep) hold nobody's silence against it:
    /// answers and refutations may lie unread, or were given long ago. It asks again.
    fn excuse(&mut self, now: Mono, acts: &mut Vec<Act>) {
        let late = self.deadline().map_or(Duration::ZERO, |due| now.since(due));
        if late <= self.period {
            return;
        }
        self.probe = None;
        for (_, suspect) in core::mem::take(&mut self.suspicions) {
            self.suspicions.insert((now.after(self.suspicion()), suspect));
            self.ping(suspect, acts);
        }
    }

    /// How long a suspected member may take to refute it: longer where news travel further.
    fn suspicion(&self) -> Duration {
        self.period.saturating_mul(self.log_n().saturating_sub(1).max(SUSPICION_PERIODS_MIN))
    }

    fn told_max(&self) -> u32 {
        LAMBDA * self.log_n().max(1)
    }

    /// ⌈log₂ n⌉ of the cluster's size.
    fn log_n(&self) -> u32 {
        (self.members.len() + 1).next_power_of_two().trailing_zeros()
    }

    // --- Probes ------------------------------------------------------------------------------------------------

    fn start_probe(&mut self, now: Mono, acts: &mut Vec<Act>) {
        let target = self.round.pop_front().expect("periods go on only while there are members");
        self.round.push_back(target);
        self.last_n = self.last_n.wrapping_add(1);
        self.next = Some(now.after(self.period));
        let (n, held) = (self.last_n, self.members[&target]);
        self.probe = Some(Probe { target, n, held, has_asked: false, due: now.after(self.period / 5) });
        self.ping(target, acts);
    }

    /// A fifth of a period for the direct way, two for the way through others, two to spare.
    fn on_silence(&mut self, now: Mono, probe: Probe, acts: &mut Vec<Act>) {
        let Probe { target, n, held, has_asked, .. } = probe;
        if !has_asked {
            self.probe = Some(Probe { has_asked: true, due: now.after(self.period / 5 * 2), ..probe });
            for other in self.others(target) {
                self.send(other, Word { kind: Kind::Ask, n, node: target, said: held }, acts);
            }
            return;
        }
        self.probe = None;
        let suspected = Claim { health: Health::Suspect, ..held };
        // Not taken over if anything has been heard of the member since the ping: that stands above.
        if self.merge(now, target, suspected, acts) {
            // The first to know should be the one that can refute it.
            self.ping(target, acts);
            self.spread(target, acts);
        }
    }

    /// The answer ends the probe that is under way if it is of this member; it says how the member is in any case.
    fn ping(&mut self, target: NodeId, acts: &mut Vec<Act>) {
        let said = self.members[&target];
        self.send(target, Word { kind: Kind::Ping, n: self.last_n, node: self.me, said }, acts);
    }

    fn react(&mut self, from: NodeId, word: Word, sender: Claim, acts: &mut Vec<Act>) {
        let Word { kind, n, node, said } = word;
        match kind {
            Kind::Ping => self.send(from, Word { kind: Kind::Ack, n, node, said: self.members[&from] }, acts),
            Kind::Ack if node == self.me => self.on_answer(from, n),
            Kind::Ack if node != from && self.members.contains_key(&node) => {
                self.send(node, Word { kind: Kind::Told, n, node: from, said: sender }, acts);
            }
            Kind::Ask if node != from => {
                if let Some(&held) = self.members.get(&node) {
                    let said = said.max(held);
                    self.send(node, Word { kind: Kind::Ping, n, node: from, said }, acts);
                }
            }
            Kind::Told => self.on_answer(node, n),
            Kind::Ack | Kind::Ask | Kind::News => {}
        }
    }

    fn on_answer(&mut self, node: NodeId, n: u64) {
        self.probe = self.probe.filter(|probe| (probe.target, probe.n) != (node, n));
    }

    // --- Messages ----------------------------------------------------------------------------------------------

    /// Tells a few others at once what cannot wait; `but` is not among them.
    fn spread(&mut self, but: NodeId, acts: &mut Vec<Act>) {
        for other in self.others(but) {
            self.tell(other, acts);
        }
    }

    fn tell(&mut self, to: NodeId, acts: &mut Vec<Act>) {
        let said = self.members[&to];
        self.send(to, Word { kind: Kind::News, n: 0, node: self.me, said }, acts);
    }

    /// A few members that are not down, at random, `but` not among them.
    fn others(&mut self, but: NodeId) -> Vec<NodeId> {
        let hold = self.members.iter().filter(|&(&node, claim)| node != but && claim.health != Health::Down);
        let mut able: Vec<NodeId> = hold.map(|(&node, _)| node).collect();
        let count = able.len().min(OTHERS);
        (0..count).map(|_| able.swap_remove(self.rng.random_range(0..able.len()))).collect()
    }

    fn send(&mut self, to: NodeId, word: Word, acts: &mut Vec<Act>) {
        debug_assert_ne!(to, self.me, "a node never writes to itself");
        let claims = self.take_news(to);
        let bytes = Packet { word, sender: self.own, claims }.encode();
        assert!(bytes.len() <= PACKET_BYTES_MAX, "a message fits a datagram");
        acts.push(Act::Send { to, bytes });
    }

    /// What is newest for `to`: claims that have been passed on least often, as many as fit.
    fn take_news(&mut self, to: NodeId) -> Vec<(NodeId, Claim)> {
        let told_max = self.told_max();
        let told = self.news.iter().filter(|&(&node, _)| node != to);
        let mut newest: Vec<(u32, NodeId)> = told.map(|(&node, &told)| (told, node)).collect();
        newest.sort_unstable();
        newest.truncate(CLAIMS_MAX);
        for &(told, node) in &newest {
            if told + 1 < told_max {
                self.news.insert(node, told + 1);
            } else {
                self.news.remove(&node);
            }
        }
        newest.into_iter().map(|(_, node)| (node, self.members[&node])).collect()
    }
}

impl Packet {
    fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.claims.len() * (8 + CLAIM_BYTES));
        bytes.extend([V1, self.word.kind as u8]);
        bytes.extend(self.word.n.to_le_bytes());
        bytes.extend(self.word.node.0.to_le_bytes());
        push_claim(&mut bytes, self.sender);
        push_claim(&mut bytes, self.word.said);
        bytes.push(u8::try_from(self.claims.len()).expect("as many as fit a datagram"));
        for &(node, claim) in &self.claims {
            bytes.extend(node.0.to_le_bytes());
            push_claim(&mut bytes, claim);
        }
        Bytes::from(bytes)
    }

    /// None for everything that `encode` does not write.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let [version, kind] = take(bytes)?;
        let kind = match kind {
            1 => Kind::Ping,
            2 => Kind::Ack,
            3 => Kind::Ask,
            4 => Kind::Told,
            5 => Kind::News,
            _ => return None,
        };
        let (n, node) = (u64::from_le_bytes(take(bytes)?), NodeId(u64::from_le_bytes(take(bytes)?)));
        let (sender, said) = (take_claim(bytes)?, take_claim(bytes)?);
        let [count] = take(bytes)?;
        let is_sound = version == V1 && sender.generation > 0 && sender.health == Health::Alive;
        if !is_sound || usize::from(count) > CLAIMS_MAX {
            return None;
        }
        let claims = (0..count)
            .map(|_| Some((NodeId(u64::from_le_bytes(take(bytes)?)), take_claim(bytes)?)))
            .collect::<Option<Vec<_>>>()?;
        bytes.is_empty().then_some(Self { word: Word { kind, n, node, said }, sender, claims })
    }
}

fn push_claim(bytes: &mut Vec<u8>, claim: Claim) {
    bytes.extend(claim.generation.to_le_bytes());
    bytes.extend(claim.life.0.to_le_bytes());
    bytes.push(claim.health as u8);
}

fn take_claim(bytes: &mut &[u8]) -> Option<Claim> {
    let generation = u64::from_le_bytes(take(bytes)?);
    let life = Life(u128::from_le_bytes(take(bytes)?));
    let health = match take(bytes)? {
        [0] => Health::Alive,
        [1] => Health::Suspect,
        [2] => Health::Down,
        _ => return None,
    };
    (generation <= GENERATION_MAX).then_some(Claim { generation, life, health })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
#[expect(clippy::print_stdout, reason = "the tests measure, too")]
mod tests {
    use alloc::vec;
    use std::println;

    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    extern crate std;

    const PERIOD: Duration = Duration::from_secs(1);
    /// 2026, in milliseconds.
    const STARTED: u64 = 1_767_225_600_000;
    const YEAR_MS: u64 = 365 * 86_400_000;

    /// Nodes 0, 1, 2 and so on, a network between them, and a record of everything.
    struct Net {
        now: Mono,
        rng: Xoshiro256PlusPlus,
        nodes: Vec<Option<Swim>>,
        /// What is under way, by when it arrives.
        queue: BTreeMap<(Mono, u64), (usize, usize, Bytes)>,
        sent: u64,
        sent_bytes: Vec<usize>,
        loss_percent: u32,
        /// Links, from and to, that pass nothing.
        cut: BTreeSet<(usize, usize)>,
        /// What each node said of each, and when.
        reports: Vec<(Mono, usize, Act)>,
        messages: Vec<(Mono, usize, usize, Bytes)>,
    }

    fn id(index: usize) -> NodeId {
        NodeId(index as u64)
    }

    impl Net {
        fn new(count: usize, seed: u64) -> Self {
            let mut net = Self {
                now: Mono(0),
                rng: Xoshiro256PlusPlus::seed_from_u64(seed),
                nodes: (0..count).map(|_| None).collect(),
                queue: BTreeMap::new(),
                sent: 0,
                sent_bytes: vec![0; count],
                loss_percent: 0,
                cut: BTreeSet::new(),
                reports: Vec::new(),
                messages: Vec::new(),
            };
            for index in 0..count {
                net.start(index, Life(100 + index as u128), STARTED);
            }
            net
        }

        fn start(&mut self, index: usize, life: Life, started: u64) {
            let seed = self.rng.random();
            self.nodes[index] = Some(Swim::new(id(index), life, started, PERIOD, seed));
            let all: Vec<usize> = (0..self.nodes.len()).collect();
            self.set_members(index, &all);
        }

        fn set_members(&mut self, index: usize, members: &[usize]) {
            let members: Vec<NodeId> = members.iter().map(|&member| id(member)).collect();
            self.with(index, |swim, now, acts| swim.set_members(now, &members, acts));
        }

        fn with(&mut self, index: usize, act: impl FnOnce(&mut Swim, Mono, &mut Vec<Act>)) {
            let Some(swim) = &mut self.nodes[index] else { return };
            let mut acts = Vec::new();
            act(swim, self.now, &mut acts);
            swim.check();
            for act in acts {
                match act {
                    Act::Send { to, bytes } => self.send(index, to.0 as usize, bytes),
                    report => self.reports.push((self.now, index, report)),
                }
            }
        }

        fn send(&mut self, from: usize, to: usize, bytes: Bytes) {
            assert!(bytes.len() <= PACKET_BYTES_MAX);
            self.sent += 1;
            self.sent_bytes[from] += bytes.len();
            self.messages.push((self.now, from, to, bytes.clone()));
            // Up to a twentieth of a period: later ones overtake.
            let delay = Duration::from_micros(self.rng.random_range(100..50_000));
            let is_lost = self.rng.random_range(0..100) < self.loss_percent;
            if !is_lost && !self.cut.contains(&(from, to)) {
                self.queue.insert((self.now.after(delay), self.sent), (from, to, bytes));
            }
        }

        fn run(&mut self, periods: u32) {
            let end = self.now.after(PERIOD * periods);
            loop {
                let timers = self.nodes.iter().enumerate();
                let timer =
                    timers.filter_map(|(index, swim)| Some((swim.as_ref()?.deadline()?, index))).min();
                let message = self.queue.first_key_value().map(|(&(at, _), _)| at);
                let Some(next) = timer.map(|(at, _)| at).into_iter().chain(message).min() else { break };
                if next > end {
                    break;
                }
                // A node that was away has timers from before.
                self.now = self.now.max(next);
                if message == Some(next) {
                    let (_, (from, to, bytes)) = self.queue.pop_first().expect("a message is under way");
                    self.with(to, |swim, now, acts| swim.on_message(now, id(from), &bytes, acts));
                } else if let Some((_, index)) = timer {
                    self.with(index, Swim::on_timer);
                }
            }
            self.now = end;
        }

        /// Whom `index` holds for down.
        fn down(&self, index: usize) -> Vec<usize> {
            let swim = self.nodes[index].as_ref().expect("the node runs");
            (0..self.nodes.len()).filter(|&other| swim.is_down(id(other))).collect()
        }

        fn life(&self, index: usize, of: usize) -> Option<Life> {
            self.nodes[index].as_ref().expect("the node runs").life(id(of))
        }

        /// Asserts that all nodes hold all others for up, in these lives.
        fn assert_all_up(&self, lives: &[Life]) {
            for index in 0..self.nodes.len() {
                assert_eq!(self.down(index), [0; 0], "at node {index}");
                for other in (0..self.nodes.len()).filter(|&other| other != index) {
                    assert_eq!(self.life(index, other), Some(lives[other]), "of {other} at {index}");
                }
            }
        }

        /// How often anybody declared anybody down.
        fn downs(&self) -> usize {
            self.reports.iter().filter(|(_, _, act)| matches!(act, Act::Down(_))).count()
        }

        /// When each of the others first declared `of` down, in periods after `since`.
        fn declared(&self, of: usize, since: Mono) -> Vec<f64> {
            let said = |by| {
                let down = Act::Down(id(of));
                let report = self
                    .reports
                    .iter()
                    .find(|(at, at_node, act)| *at >= since && *at_node == by && *act == down);
                report.map(|(at, ..)| at.since(since).as_secs_f64() / PERIOD.as_secs_f64())
            };
            (0..self.nodes.len()).filter(|&by| by != of).map(|by| said(by).expect("declared")).collect()
        }
    }

    fn lives(count: usize) -> Vec<Life> {
        (0..count).map(|index| Life(100 + index as u128)).collect()
    }

    #[test]
    fn nodes_become_up_for_each_other() {
        for (count, periods) in [(2, 2), (3, 3), (5, 4), (30, 12)] {
            for seed in 0..20 {
                let mut net = Net::new(count, seed);
                net.run(periods);
                net.assert_all_up(&lives(count));
                assert_eq!(net.downs(), 0);
                assert_eq!(net.reports.len(), count * (count - 1), "each is reported once");
            }
        }
    }

    #[test]
    fn a_silent_node_and_nobody_else_is_down_everywhere_in_time() {
        for (count, seeds, bound) in
            [(2, 100, 4.0), (3, 100, 5.0), (5, 300, 6.6), (30, 20, 10.0), (100, 3, 12.0)]
        {
            let (mut total, mut worst) = (0.0, 0.0_f64);
            for seed in 0..seeds {
                let mut net = Net::new(count, seed);
                // Periods begin at random, so this is any moment of everybody's.
                net.run(10);
                let (gone, since) = (count - 1, net.now);
                net.nodes[gone] = None;
                net.run(15);
                let last = net.declared(gone, since).into_iter().fold(0.0, f64::max);
                (total, worst) = (total + last, worst.max(last));
                for index in 0..gone {
                    assert_eq!(net.down(index), [gone]);
                }
                assert_eq!(net.downs(), gone);
            }
            let mean = total / seeds as f64;
            println!("{count} nodes: down everywhere after {mean:.2} periods, {worst:.2} at worst");
            assert!(worst <= bound, "{worst} periods with {count} nodes");
        }
    }

    #[test]
    fn a_restarted_node_is_up_again_in_its_new_life() {
        for (seed, started) in [(1, STARTED + 20_000), (2, STARTED), (3, STARTED - YEAR_MS), (4, 0)] {
            for away in [0, 1, 4, 12] {
                for life in [Life(1), Life(u128::MAX)] {
                    let mut net = Net::new(5, seed);
                    net.run(8);
                    net.nodes[2] = None;
                    net.run(away);
                    let (before, restarted) = (net.reports.len(), net.now);
                    net.start(2, life, started);
                    net.run(5);
                    let reported = |act: &Act| *act == Act::Up(id(2), life);
                    let ups = net.reports[before..].iter().filter(|(_, _, act)| reported(act));
                    assert_eq!(ups.clone().count(), 4, "also where the former life was never missed");
                    let soon = restarted.after(PERIOD / 10);
                    let at_once = ups.filter(|(at, ..)| *at <= soon).count();
                    assert!(at_once >= OTHERS || started <= STARTED, "a start is news");
                    let mut lives = lives(5);
                    lives[2] = life;
                    net.assert_all_up(&lives);
                }
            }
        }
    }

    #[test]
    fn with_a_fifth_of_all_messages_lost_no_healthy_node_is_down_for_long() {
        for count in [3, 5, 12] {
            let mut net = Net::new(count, 7);
            net.loss_percent = 20;
            net.run(3_000);
            let mut since: BTreeMap<(usize, NodeId), Mono> = BTreeMap::new();
            let (mut downs, mut longest) = (0, Duration::ZERO);
            for &(at, by, ref act) in &net.reports {
                match act {
                    Act::Down(node) => {
                        downs += 1;
                        since.insert((by, *node), at);
                    }
                    Act::Up(node, _) => {
                        longest = longest
                            .max(since.remove(&(by, *node)).map_or(Duration::ZERO, |then| at.since(then)));
                    }
                    Act::Send { .. } => unreachable!("no report"),
                }
            }
            println!("{count} nodes: {downs} false deaths in 3,000 periods, {longest:?} at longest");
            assert!(longest < PERIOD * 3 * count as u32);
            assert!(since.values().all(|&then| net.now.since(then) < PERIOD * 3 * count as u32));
            net.loss_percent = 0;
            net.run(3 * count as u32);
            net.assert_all_up(&lives(count));
        }
    }

    #[test]
    fn a_link_cut_in_one_way_or_both_puts_nobody_down() {
        for cut in [vec![(0, 1)], vec![(0, 1), (1, 0)]] {
            for seed in 0..20 {
                let mut net = Net::new(5, seed);
                net.cut = cut.iter().copied().collect();
                net.run(100);
                net.assert_all_up(&lives(5));
                assert_eq!(net.downs(), 0);
            }
        }
    }

    #[test]
    fn a_node_that_only_hears_or_is_only_heard_is_down_until_it_is_both() {
        for seed in 0..20 {
            for only_hears in [true, false] {
                let mut net = Net::new(5, seed);
                net.run(5);
                net.cut = (1..5).map(|other| if only_hears { (0, other) } else { (other, 0) }).collect();
                net.run(30);
                for index in 1..5 {
                    assert_eq!(net.down(index), [0]);
                }
                net.cut.clear();
                net.run(5);
                net.assert_all_up(&lives(5));
            }
        }
    }

    #[test]
    fn two_halves_meet_again() {
        for seed in 0..20 {
            let mut net = Net::new(5, seed);
            net.run(5);
            net.cut = (0..2).flat_map(|a| (2..5).flat_map(move |b| [(a, b), (b, a)])).collect();
            net.run(100);
            assert_eq!((net.down(0), net.down(4)), (vec![2, 3, 4], vec![0, 1]));
            net.cut.clear();
            net.run(5);
            net.assert_all_up(&lives(5));
        }
    }

    #[test]
    fn a_member_that_was_removed_is_neither_probed_nor_reported() {
        let mut net = Net::new(5, 3);
        net.run(6);
        net.nodes[4] = None;
        // Some suspect it by now, and its name is on everybody's lips.
        net.run(3);
        for index in 0..4 {
            net.set_members(index, &[0, 1, 2, 3]);
        }
        let (reports, messages) = (net.reports.len(), net.messages.len());
        net.run(1);
        net.start(4, Life(9), STARTED + 1);
        net.run(30);
        assert_eq!(net.reports[reports..].iter().filter(|(_, by, _)| *by < 4).count(), 0);
        assert!(net.messages[messages..].iter().all(|&(_, _, to, _)| to != 4));
        assert_eq!((net.down(0), net.life(0, 4)), (vec![], None));
        // It knows nothing of its removal: nobody answers it any more.
        assert_eq!(net.down(4), [0, 1, 2, 3]);
        for index in 0..4 {
            net.set_members(index, &[0, 1, 2, 3, 4]);
        }
        net.run(5);
        let mut lives = lives(5);
        lives[4] = Life(9);
        net.assert_all_up(&lives);
        net.set_members(0, &[0]);
        assert_eq!(net.nodes[0].as_ref().and_then(Swim::deadline), None);
    }

    #[test]
    fn a_node_that_is_silent_for_two_periods_is_not_down() {
        for seed in 0..100 {
            let mut net = Net::new(5, seed);
            net.run(6);
            let paused = net.nodes[4].take();
            net.run(2);
            net.nodes[4] = paused;
            net.run(6);
            assert_eq!(net.downs(), 0);
            net.assert_all_up(&lives(5));
        }
    }

    #[test]
    fn a_node_that_was_asleep_holds_nobodys_silence_against_it() {
        let mut suspicious = 0;
        for seed in 0..100 {
            let mut net = Net::new(5, seed);
            net.run(5);
            let silent = net.nodes[4].take();
            net.run(2);
            // Node 0 has a probe or a suspicion open when it falls asleep, and meanwhile node 4 is back.
            suspicious += net.nodes[0].as_ref().map_or(0, |swim| swim.suspicions.len());
            let asleep = net.nodes[0].take();
            net.nodes[4] = silent;
            net.run(6);
            net.nodes[0] = asleep;
            net.with(0, Swim::on_timer);
            net.run(6);
            assert!(net.reports.iter().all(|(_, by, act)| *by != 0 || !matches!(act, Act::Down(_))));
            net.assert_all_up(&lives(5));
        }
        assert!(suspicious > 20, "{suspicious}");
    }

    /// Node 0 among nodes 1 and 2, with its first probe under way: of whom, under which number, and who else there is.
    fn probing() -> (Swim, NodeId, u64, NodeId) {
        let mut swim = Swim::new(id(0), Life(100), STARTED, PERIOD, 1);
        swim.set_members(Mono(0), &[id(1), id(2)], &mut Vec::new());
        on_next_timer(&mut swim);
        let probe = swim.probe.expect("a probe is under way");
        (swim, probe.target, probe.n, NodeId(3 - probe.target.0))
    }

    fn on_next_timer(swim: &mut Swim) -> Vec<(NodeId, Packet)> {
        let mut acts = Vec::new();
        swim.on_timer(swim.deadline().expect("there are members"), &mut acts);
        sent(&acts)
    }

    fn sent(acts: &[Act]) -> Vec<(NodeId, Packet)> {
        let sends = acts.iter().filter_map(|act| match act {
            Act::Send { to, bytes } => Some((*to, Packet::decode(bytes).expect("a packet"))),
            _ => None,
        });
        sends.collect()
    }

    fn of(generation: u64, health: Health) -> Claim {
        Claim { generation, life: Life(7), health }
    }

    /// What comes of a message from `from` that carries `word` and `claims`.
    fn hear(swim: &mut Swim, from: NodeId, word: Word, claims: &[(NodeId, Claim)]) -> Vec<(NodeId, Packet)> {
        let packet = Packet { word, sender: of(1, Health::Alive), claims: claims.to_vec() };
        let mut acts = Vec::new();
        swim.on_message(Mono(0), from, &packet.encode(), &mut acts);
        swim.check();
        sent(&acts)
    }

    #[test]
    fn only_the_answer_to_a_probe_ends_it() {
        let (mut swim, target, n, other) = probing();
        let ack = |n| Word { kind: Kind::Ack, n, node: id(0), said: Claim::UNHEARD };
        hear(&mut swim, target, ack(n - 1), &[]);
        hear(&mut swim, other, ack(n), &[]);
        hear(&mut swim, other, Word { kind: Kind::Told, node: other, ..ack(n) }, &[]);
        assert!(swim.probe.is_some());
        hear(&mut swim, target, ack(n), &[]);
        assert!(swim.probe.is_none());
    }

    #[test]
    fn a_silent_member_is_asked_for_then_suspected_and_told_so() {
        let (mut swim, target, n, other) = probing();
        let asked = on_next_timer(&mut swim);
        assert_eq!(asked.len(), 1);
        let word = Word { kind: Kind::Ask, n, node: target, said: Claim::UNHEARD };
        assert_eq!((asked[0].0, asked[0].1.word), (other, word));
        let suspected = Claim { health: Health::Suspect, ..Claim::UNHEARD };
        let told = on_next_timer(&mut swim);
        assert_eq!(told.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [target, other]);
        assert_eq!((told[0].1.word.kind, told[0].1.word.said), (Kind::Ping, suspected));
        assert_eq!(told[1].1.claims, [(target, suspected)]);
        assert_eq!((swim.members[&target], swim.is_down(target)), (suspected, false));
    }

    #[test]
    fn a_member_that_was_heard_of_meanwhile_is_not_suspected() {
        let (mut swim, target, _, other) = probing();
        let news = Word { kind: Kind::News, n: 0, node: other, said: Claim::UNHEARD };
        hear(&mut swim, other, news, &[(target, of(5, Health::Alive))]);
        on_next_timer(&mut swim);
        on_next_timer(&mut swim);
        assert!(swim.probe.is_none());
        assert_eq!(swim.members[&target], of(5, Health::Alive));
    }

    #[test]
    fn a_relay_passes_on_what_the_asker_holds_and_does_not_take_it_over() {
        let (mut swim, target, _, asker) = probing();
        let ask = |said| Word { kind: Kind::Ask, n: 9, node: target, said };
        let pings = hear(&mut swim, asker, ask(of(5, Health::Down)), &[]);
        let ping = Word { kind: Kind::Ping, n: 9, node: asker, said: of(5, Health::Down) };
        assert_eq!((pings.len(), pings[0].0, pings[0].1.word), (1, target, ping));
        assert_eq!(swim.members[&target], Claim::UNHEARD);
        let told = hear(
            &mut swim,
            target,
            Word { kind: Kind::Ack, n: 9, node: asker, said: of(1, Health::Alive) },
            &[],
        );
        let word = Word { kind: Kind::Told, n: 9, node: target, said: of(1, Health::Alive) };
        assert_eq!((told.len(), told[0].0, told[0].1.word), (1, asker, word));
    }

    #[test]
    fn the_same_seed_sends_the_same_messages() {
        let run = |seed| {
            let mut net = Net::new(5, seed);
            net.loss_percent = 30;
            net.run(50);
            net.messages
        };
        assert!(run(1) == run(1));
        assert!(run(1) != run(2));
    }

    #[test]
    fn a_nodes_traffic_does_not_grow_with_the_cluster() {
        let rates: Vec<usize> = [3, 10, 30, 100]
            .iter()
            .map(|&count| {
                let mut net = Net::new(count, 5);
                // The news of the start die down.
                net.run(120);
                net.assert_all_up(&lives(count));
                net.sent_bytes.fill(0);
                net.run(200);
                let healthy = net.sent_bytes.iter().sum::<usize>() / count / 200;
                net.nodes[count - 1] = None;
                net.sent_bytes.fill(0);
                net.run(200);
                let one_dead = net.sent_bytes.iter().sum::<usize>() / (count - 1) / 200;
                println!("{count} nodes: {healthy} bytes per period and node, {one_dead} with one dead");
                healthy.max(one_dead)
            })
            .collect();
        let (least, most) = (rates.iter().min(), rates.iter().max());
        assert!(most.zip(least).is_some_and(|(most, least)| *most <= 2 * least), "{rates:?}");
    }

    #[test]
    fn a_generation_that_leaves_none_above_it_is_no_message() {
        let (mut swim, target, _, _) = probing();
        let news =
            |generation| Word { kind: Kind::News, n: 0, node: target, said: of(generation, Health::Down) };
        hear(&mut swim, target, news(u64::MAX), &[]);
        hear(&mut swim, target, news(GENERATION_MAX + 1), &[]);
        assert_eq!(swim.own.generation, STARTED);
        hear(&mut swim, target, news(GENERATION_MAX - 1), &[(target, of(GENERATION_MAX + 1, Health::Down))]);
        assert_eq!(swim.own.generation, STARTED, "nothing is taken out of a message that is none");
        hear(&mut swim, target, news(GENERATION_MAX - 1), &[]);
        assert_eq!(swim.own.generation, GENERATION_MAX);
        assert!(!swim.is_down(target));
    }

    #[cfg(feature = "simulation")]
    #[test]
    fn a_clone_goes_on_as_the_original_would_have() {
        let mut net = Net::new(5, 11);
        net.loss_percent = 30;
        net.run(17);
        let clones: Vec<Option<Swim>> = net.nodes.clone();
        let (now, rng, queue) = (net.now, net.rng.clone(), net.queue.clone());
        net.messages.clear();
        net.run(30);
        let original = core::mem::take(&mut net.messages);
        (net.now, net.rng, net.queue, net.nodes) = (now, rng, queue, clones);
        net.run(30);
        assert!(net.messages == original);
    }

    fn claim() -> impl Strategy<Value = Claim> {
        let health = prop_oneof![Just(Health::Alive), Just(Health::Suspect), Just(Health::Down)];
        // Around what the nodes of a net claim themselves, and anywhere.
        let generation = prop_oneof![STARTED - 1..STARTED + 3, 0..=GENERATION_MAX, Just(GENERATION_MAX)];
        let life = prop_oneof![99..106_u128, any::<u128>()].prop_map(Life);
        (generation, life, health).prop_map(|(generation, life, health)| Claim { generation, life, health })
    }

    fn node() -> impl Strategy<Value = NodeId> {
        prop_oneof![0..7_u64, any::<u64>()].prop_map(NodeId)
    }

    fn packet() -> impl Strategy<Value = Packet> {
        let kinds = [Kind::Ping, Kind::Ack, Kind::Ask, Kind::Told, Kind::News];
        let word = (prop::sample::select(kinds.to_vec()), any::<u64>(), node(), claim())
            .prop_map(|(kind, n, node, said)| Word { kind, n, node, said });
        let sender = claim().prop_map(|claim| Claim {
            generation: claim.generation.max(1),
            health: Health::Alive,
            ..claim
        });
        let claims = prop::collection::vec((node(), claim()), 0..=CLAIMS_MAX);
        (word, sender, claims).prop_map(|(word, sender, claims)| Packet { word, sender, claims })
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_decoded_is_what_was_encoded_and_nothing_shorter_or_longer_is(packet in packet(), cut in 0..1_400_usize) {
            let bytes = packet.encode();
            prop_assert!(bytes.len() <= PACKET_BYTES_MAX);
            prop_assert_eq!(Packet::decode(&bytes), Some(packet));
            prop_assert_eq!(Packet::decode(&bytes[..cut % bytes.len()]), None);
            let mut longer = bytes.to_vec();
            longer.push(0);
            prop_assert_eq!(Packet::decode(&longer), None);
        }

        #[test]
        fn merging_claims_in_any_order_holds_the_same(claims in prop::collection::vec(claim(), 1..8), by in 0..8_usize) {
            let hold = |claims: &[Claim]| {
                let mut swim = Swim::new(id(0), Life(1), 1, PERIOD, 1);
                swim.set_members(Mono(0), &[id(1)], &mut Vec::new());
                for &claim in claims {
                    swim.merge(Mono(0), id(1), claim, &mut Vec::new());
                    swim.check();
                }
                swim.members[&id(1)]
            };
            let mut turned = claims.clone();
            turned.rotate_left(by % claims.len());
            turned.reverse();
            prop_assert_eq!(hold(&claims), hold(&turned));
        }

        #[test]
        fn hostile_bytes_break_nothing_and_draw_few_answers(
            raw in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
            packets in prop::collection::vec((packet(), any::<prop::sample::Index>(), any::<u8>()), 0..20),
            from in node(),
        ) {
            let mut swim = Swim::new(id(0), Life(100), STARTED, PERIOD, 1);
            let mut acts = Vec::new();
            swim.set_members(Mono(0), &[id(0), id(1), id(2), id(3), id(4), id(5)], &mut acts);
            let altered = packets.iter().map(|(packet, at, xor)| {
                let mut bytes = packet.encode().to_vec();
                let at = at.index(bytes.len());
                bytes[at] ^= xor;
                bytes
            });
            let mut now = Mono(0);
            for bytes in raw.iter().cloned().chain(altered) {
                acts.clear();
                now = now.after(PERIOD / 7);
                swim.on_message(now, from, &bytes, &mut acts);
                swim.check();
                let sent = acts.iter().filter(|act| matches!(act, Act::Send { .. })).count();
                prop_assert!(sent <= OTHERS + 2, "{sent} messages in answer to one");
                swim.on_timer(now, &mut acts);
                swim.check();
            }
            prop_assert_eq!(swim.members.len(), 5);
        }
    }
}
