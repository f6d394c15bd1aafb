//! The stepped world's network: when a message arrives, whether at all, whether twice, and whether whole.
//!
//! Every link has its own share of the network's latencies and draws from it for each message, so later messages overtake
//! earlier ones; a straggler takes twice as long, every second of them four times, and so on: a heavy tail. A cut stops what is sent
//! while it lasts and what was on its way when it began: each link counts its cuts, and a message remembers the count
//! that it left under. Everything else that is wrong comes from faults too. A doubled message's second copy may come
//! much later, when its receiver has long restarted.

use crate::rng::Rng;
use crate::scenario::{Fault, Kind, MS, Network, SECOND};

/// A set of nodes.
type Mask = u128;

fn mask(nodes: &[usize]) -> Mask {
    nodes.iter().fold(0, |mask, node| mask | 1 << node)
}

/// No queue for a link is longer; what would wait longer is lost.
const QUEUE_MAX: u64 = 2 * SECOND;
/// Of a thousand messages so many are held back while messages are reordered.
const REORDERED: u32 = 333;

/// What is wrong with some links.
#[derive(Clone, Debug)]
struct Trouble {
    fault: usize,
    kind: Kind,
    from: Mask,
    to: Mask,
    amount: u64,
}

/// One link, in one direction.
#[derive(Clone, Debug, Default)]
struct Link {
    /// How many faults cut it.
    cuts: u32,
    /// How many have ever begun to.
    epoch: u32,
    /// The shortest way, and by how much longer it may take.
    least_ns: u64,
    span_ns: u64,
    /// When what queues for it is through.
    free_ns: u64,
}

/// A message on its way arrives then, if its link has not been cut since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// When it arrives.
    pub at_ns: u64,
    /// What its link's cuts were counted at.
    pub epoch: u32,
}

/// What becomes of a message that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost at once: its link is cut.
    Cut,
    /// It is lost on its way.
    Lost,
    /// It is under way, perhaps with a double.
    Sent {
        /// The message.
        first: Flight,
        /// Its double.
        double: Option<Flight>,
        /// Whether its bits are changed on the way.
        is_corrupted: bool,
    },
}

/// What faults do to a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubled {
    /// It never arrives.
    pub is_lost: bool,
    /// It arrives so much later.
    pub extra_ns: u64,
    /// It arrives twice.
    pub is_doubled: bool,
    /// Its bits are changed.
    pub is_corrupted: bool,
}

/// All links between nodes.
#[derive(Clone, Debug)]
pub struct Links {
    nodes: usize,
    stragglers: u32,
    links: Vec<Link>,
    troubles: Vec<Trouble>,
    rng: Rng,
}

impl Links {
    /// Links that nothing is wrong with.
    #[must_use]
    pub fn new(nodes: usize, usual: &Network, mut rng: Rng) -> Self {
        let Network { latency_min_ns: least, latency_max_ns: most, stragglers } = *usual;
        let link = |rng: &mut Rng| {
            // A link's own span lies somewhere in the network's.
            let least_ns = least + rng.below((most - least) / 2 + 1);
            Link { least_ns, span_ns: rng.between((most - least_ns) / 2, most - least_ns), ..Link::default() }
        };
        let links = (0..nodes * nodes).map(|_| link(&mut rng)).collect();
        Self { nodes, stragglers, links, troubles: Vec::new(), rng }
    }

    /// The same links with other luck from now on.
    pub fn reseed(&mut self, rng: Rng) {
        self.rng = rng;
    }

    /// A message of so many bytes is sent: what becomes of it?
    pub fn send(&mut self, now_ns: u64, from: usize, to: usize, bytes: usize) -> Fate {
        let at = from * self.nodes + to;
        if self.links[at].cuts > 0 {
            return Fate::Cut;
        }
        let usual_ns = self.latency(at);
        let Troubled { is_lost, extra_ns, is_doubled, is_corrupted } = self.troubled(now_ns, from, to, bytes);
        if is_lost {
            return Fate::Lost;
        }
        let epoch = self.links[at].epoch;
        let double = is_doubled.then(|| {
            // Some doubles come after whatever the first copy led to.
            let late_ns = if self.rng.chance(300) { self.rng.magnitude(MS, 3 * SECOND) } else { 0 };
            Flight { at_ns: now_ns + late_ns + self.latency(at), epoch }
        });
        Fate::Sent { first: Flight { at_ns: now_ns + usual_ns + extra_ns, epoch }, double, is_corrupted }
    }

    /// What faults do to a message, cuts apart.
    pub fn troubled(&mut self, now_ns: u64, from: usize, to: usize, bytes: usize) -> Troubled {
        let mut troubled = Troubled::default();
        for place in 0..self.troubles.len() {
            let Trouble { kind, from: senders, to: receivers, amount, .. } = self.troubles[place];
            if senders >> from & 1 == 0 || receivers >> to & 1 == 0 {
                continue;
            }
            let permille = u32::try_from(amount).unwrap_or(1_000);
            match kind {
                Kind::Slow => troubled.extra_ns += self.rng.between(0, amount),
                Kind::Loss => troubled.is_lost |= self.rng.chance(permille),
                Kind::Doubling => troubled.is_doubled |= self.rng.chance(permille),
                Kind::Corruption => troubled.is_corrupted |= self.rng.chance(permille),
                Kind::Reordering if self.rng.chance(REORDERED) => {
                    troubled.extra_ns += self.rng.between(0, amount);
                }
                Kind::Bandwidth => {
                    let link = &mut self.links[from * self.nodes + to];
                    let waits_ns = link.free_ns.saturating_sub(now_ns);
                    if waits_ns > QUEUE_MAX {
                        troubled.is_lost = true;
                    } else {
                        link.free_ns = now_ns + waits_ns + bytes as u64 * SECOND / amount;
                        troubled.extra_ns += link.free_ns - now_ns;
                    }
                }
                _ => {}
            }
        }
        troubled
    }

    /// How long a message takes when nothing is wrong.
    fn latency(&mut self, at: usize) -> u64 {
        let Link { least_ns, span_ns, .. } = self.links[at];
        let latency_ns = least_ns + self.rng.below(span_ns + 1);
        if self.rng.chance(self.stragglers) {
            // One in two is twice as long, one in four four times; the tail falls like 1/x.
            latency_ns << (1 + self.rng.bits().trailing_zeros().min(8))
        } else {
            latency_ns
        }
    }

    /// Whether a message that left under `epoch` still arrives.
    #[must_use]
    pub fn arrives(&self, from: usize, to: usize, epoch: u32) -> bool {
        self.links[from * self.nodes + to].epoch == epoch
    }

    /// Whether nothing gets from one node to another.
    #[must_use]
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.links[from * self.nodes + to].cuts > 0
    }

    /// Something goes wrong.
    pub fn begin(&mut self, place: usize, fault: &Fault) {
        if is_cut(fault.kind) {
            self.across(fault, |link| {
                link.cuts += 1;
                link.epoch += 1;
            });
            return;
        }
        if matches!(
            fault.kind,
            Kind::Slow | Kind::Loss | Kind::Doubling | Kind::Reordering | Kind::Corruption | Kind::Bandwidth
        ) {
            let set = |nodes: &[usize]| if nodes.is_empty() { Mask::MAX } else { mask(nodes) };
            let (from, to) = (set(&fault.nodes), set(&fault.to));
            self.troubles.push(Trouble { fault: place, kind: fault.kind, from, to, amount: fault.amount });
        }
    }

    /// It is over.
    pub fn end(&mut self, place: usize, fault: &Fault) {
        if is_cut(fault.kind) {
            self.across(fault, |link| link.cuts -= 1);
        }
        self.troubles.retain(|trouble| trouble.fault != place);
    }

    /// Changes every link that the fault cuts.
    fn across(&mut self, fault: &Fault, change: impl Fn(&mut Link)) {
        let nodes = self.nodes;
        for from in 0..nodes {
            for to in (0..nodes).filter(|to| *to != from) {
                if cuts(fault, nodes, from, to) {
                    change(&mut self.links[from * nodes + to]);
                }
            }
        }
    }
}

/// Whether this kind of fault cuts links.
#[must_use]
pub const fn is_cut(kind: Kind) -> bool {
    matches!(kind, Kind::Partition | Kind::OneWay | Kind::Ring | Kind::Bridge)
}

/// Whether a fault cuts the way from one node to another.
#[must_use]
pub fn cuts(fault: &Fault, nodes: usize, from: usize, to: usize) -> bool {
    let is_in = |node: usize| fault.nodes.contains(&node);
    match fault.kind {
        Kind::Partition => is_in(from) != is_in(to),
        Kind::OneWay => is_in(from) && !is_in(to),
        Kind::Ring => (from + 1) % nodes != to && (to + 1) % nodes != from,
        Kind::Bridge => is_in(from) != is_in(to) && !fault.to.contains(&from) && !fault.to.contains(&to),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(nodes: usize) -> Links {
        let usual = Network { latency_min_ns: 10, latency_max_ns: 20, stragglers: 0 };
        Links::new(nodes, &usual, Rng::stream(1, "test"))
    }

    fn fault(text: &str) -> Fault {
        format!("at 0s for 1s: {text}").parse().expect("a fault")
    }

    fn first(fate: Fate) -> Flight {
        match fate {
            Fate::Sent { first, .. } => first,
            lost => panic!("{lost:?}"),
        }
    }

    #[test]
    fn a_partition_cuts_what_is_sent_and_what_is_on_its_way() {
        let mut links = links(3);
        let sent = first(links.send(0, 0, 1, 9));
        let cut = fault("partition n1");
        links.begin(0, &cut);
        assert!(!links.arrives(0, 1, sent.epoch));
        assert_eq!(links.send(0, 0, 1, 9), Fate::Cut);
        first(links.send(0, 1, 2, 9));
        links.begin(1, &cut);
        links.end(0, &cut);
        assert_eq!(links.send(0, 1, 0, 9), Fate::Cut, "the second partition still lasts");
        links.end(1, &cut);
        first(links.send(0, 1, 0, 9));
    }

    /// The links that a fault cuts among five nodes, as "12" for n1 → n2.
    fn cut(text: &str) -> Vec<String> {
        let fault = fault(text);
        let ways = (0..5).flat_map(|from| (0..5).map(move |to| (from, to)));
        ways.filter(|(from, to)| from != to && cuts(&fault, 5, *from, *to))
            .map(|(from, to)| format!("{}{}", from + 1, to + 1))
            .collect()
    }

    #[test]
    fn cuts_have_their_shapes() {
        assert_eq!(cut("partition n1"), ["12", "13", "14", "15", "21", "31", "41", "51"]);
        assert_eq!(cut("one-way n1"), ["12", "13", "14", "15"]);
        assert_eq!(cut("ring"), ["13", "14", "24", "25", "31", "35", "41", "42", "52", "53"]);
        assert_eq!(cut("bridge n1 n2 -> n3"), ["14", "15", "24", "25", "41", "42", "51", "52"]);
    }

    #[test]
    fn troubles_last_as_long_as_their_faults_and_hit_only_their_links() {
        let mut links = links(3);
        let (loss, double) = (fault("loss n1 by 1000 permille"), fault("doubling by 1000 permille"));
        links.begin(0, &double);
        assert!(matches!(links.send(0, 0, 1, 9), Fate::Sent { double: Some(_), .. }));
        links.begin(1, &loss);
        assert_eq!(links.send(0, 0, 1, 9), Fate::Lost);
        first(links.send(0, 1, 0, 9));
        links.end(1, &loss);
        links.end(0, &double);
        assert!(matches!(links.send(0, 0, 1, 9), Fate::Sent { double: None, is_corrupted: false, .. }));
        links.begin(2, &fault("corruption -> n2 by 1000 permille"));
        assert!(matches!(links.send(0, 0, 1, 9), Fate::Sent { is_corrupted: true, .. }));
        assert!(matches!(links.send(0, 0, 2, 9), Fate::Sent { is_corrupted: false, .. }));
    }

    #[test]
    fn a_narrow_link_makes_messages_queue_and_loses_what_would_wait_too_long() {
        let mut links = links(3);
        links.begin(0, &fault("bandwidth n1 -> n2 by 1000 bytes/s"));
        let [one, two] = [0, 0].map(|now_ns| first(links.send(now_ns, 0, 1, 500)).at_ns);
        assert!((SECOND / 2..SECOND / 2 + 100).contains(&one), "{one}");
        assert!((SECOND..SECOND + 100).contains(&two), "{two}");
        first(links.send(0, 0, 1, 1_500));
        assert_eq!(links.send(0, 0, 1, 9), Fate::Lost);
        assert!(first(links.send(0, 0, 2, 500)).at_ns < 100, "another link");
    }

    #[test]
    fn stragglers_have_a_heavy_tail() {
        let usual = Network { latency_min_ns: 1_000, latency_max_ns: 1_000, stragglers: 1_000 };
        let mut links = Links::new(2, &usual, Rng::stream(1, "test"));
        let times: Vec<u64> = (0..4_000).map(|_| first(links.send(0, 0, 1, 9)).at_ns).collect();
        let above = |ns: u64| times.iter().filter(|at_ns| **at_ns >= ns).count();
        assert_eq!(above(2_000), 4_000);
        assert!((1_800..2_200).contains(&above(4_000)) && (400..600).contains(&above(16_000)));
        assert!(times.iter().all(|at_ns| *at_ns <= 512_000));
    }
}
