//! The stepped world's network: when a message arrives, whether at all, and whether twice.
//!
//! Every message draws its own latency, so later ones overtake earlier ones. A partition cuts what is sent while it
//! lasts and what was on its way when it began: each link counts its cuts, and a message remembers the count that it
//! left under. Loss and duplication come from faults only. A doubled message's second copy may come much later,
//! when its receiver has long restarted.

use crate::rng::Rng;
use crate::scenario::{Network, SECOND, Trouble};

/// What is wrong with one link, in one direction.
#[derive(Clone, Debug, Default)]
struct Link {
    /// How many partitions lie across it.
    cuts: u32,
    /// How many have ever begun to.
    epoch: u32,
    /// Latencies that are added, one for each fault.
    extra_max_ns: Vec<u64>,
}

/// A message on its way arrives then, if its link has not been cut since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// When it arrives.
    pub at_ns: u64,
    /// What its link's cuts were counted at.
    pub epoch: u32,
}

/// All links between nodes.
#[derive(Clone, Debug)]
pub struct Links {
    nodes: usize,
    usual: Network,
    links: Vec<Link>,
    losses: Vec<u32>,
    duplications: Vec<u32>,
    rng: Rng,
}

impl Links {
    /// Links that nothing is wrong with.
    #[must_use]
    pub fn new(nodes: usize, usual: Network, rng: Rng) -> Self {
        Self {
            nodes,
            usual,
            links: vec![Link::default(); nodes * nodes],
            losses: Vec::new(),
            duplications: Vec::new(),
            rng,
        }
    }

    /// A message is sent: when do it and its double arrive?
    pub fn send(&mut self, now_ns: u64, from: usize, to: usize) -> [Option<Flight>; 2] {
        let link = &self.links[from * self.nodes + to];
        let epoch = link.epoch;
        let is_lost = self.losses.iter().any(|permille| self.rng.chance(*permille));
        if link.cuts > 0 || is_lost {
            return [None, None];
        }
        let at_ns = now_ns + self.extra_ns(from, to) + latency(&mut self.rng, &self.usual);
        let double = self.doubles().then(|| {
            let late_ns = if self.rng.chance(100) { self.rng.below(3 * SECOND) } else { 0 };
            let at_ns = now_ns + late_ns + latency(&mut self.rng, &self.usual);
            Flight { at_ns, epoch }
        });
        [Some(Flight { at_ns, epoch }), double]
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

    /// How many of a thousand messages are lost.
    #[must_use]
    pub fn loss(&self) -> u32 {
        self.losses.iter().copied().max().unwrap_or(0)
    }

    /// By how much a message from one node to another is slower than usual.
    pub fn extra_ns(&mut self, from: usize, to: usize) -> u64 {
        let extra_max_ns = &self.links[from * self.nodes + to].extra_max_ns;
        extra_max_ns.iter().map(|max| self.rng.between(0, *max)).sum()
    }

    /// Whether a message is doubled.
    pub fn doubles(&mut self) -> bool {
        self.duplications.iter().any(|permille| self.rng.chance(*permille))
    }

    /// Something goes wrong.
    pub fn begin(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Partition { side } => self.across(side, |link| {
                link.cuts += 1;
                link.epoch += 1;
            }),
            Trouble::Slow { from, to, extra_max_ns } => {
                self.links[from * self.nodes + to].extra_max_ns.push(*extra_max_ns)
            }
            Trouble::Loss { permille } => self.losses.push(*permille),
            Trouble::Duplication { permille } => self.duplications.push(*permille),
            Trouble::Crash { .. } | Trouble::Ambush { .. } => {}
        }
    }

    /// It is over.
    pub fn end(&mut self, trouble: &Trouble) {
        let remove = |list: &mut Vec<u32>, item: u32| {
            if let Some(at) = list.iter().position(|other| *other == item) {
                list.remove(at);
            }
        };
        match trouble {
            Trouble::Partition { side } => self.across(side, |link| link.cuts -= 1),
            Trouble::Slow { from, to, extra_max_ns } => {
                let list = &mut self.links[from * self.nodes + to].extra_max_ns;
                if let Some(at) = list.iter().position(|other| other == extra_max_ns) {
                    list.remove(at);
                }
            }
            Trouble::Loss { permille } => remove(&mut self.losses, *permille),
            Trouble::Duplication { permille } => remove(&mut self.duplications, *permille),
            Trouble::Crash { .. } | Trouble::Ambush { .. } => {}
        }
    }

    fn across(&mut self, side: &[usize], change: impl Fn(&mut Link)) {
        for from in 0..self.nodes {
            for to in 0..self.nodes {
                if side.contains(&from) != side.contains(&to) {
                    change(&mut self.links[from * self.nodes + to]);
                }
            }
        }
    }
}

/// How long a message takes when nothing is wrong.
pub fn latency(rng: &mut Rng, usual: &Network) -> u64 {
    let latency_ns = rng.between(usual.latency_min_ns, usual.latency_max_ns);
    if rng.chance(usual.stragglers) { latency_ns * 10 } else { latency_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        let usual = Network { latency_min_ns: 10, latency_max_ns: 20, stragglers: 0 };
        Links::new(3, usual, Rng::stream(1, "test"))
    }

    #[test]
    fn a_partition_cuts_what_is_sent_and_what_is_on_its_way() {
        let mut links = links();
        let [sent, _] = links.send(0, 0, 1);
        let sent = sent.expect("nothing is wrong yet");
        let cut = Trouble::Partition { side: vec![0] };
        links.begin(&cut);
        assert!(!links.arrives(0, 1, sent.epoch));
        assert_eq!(links.send(0, 0, 1), [None, None]);
        assert!(links.send(0, 1, 2)[0].is_some(), "both are on the other side");
        links.begin(&cut);
        links.end(&cut);
        assert_eq!(links.send(0, 1, 0), [None, None], "the second partition still lasts");
        links.end(&cut);
        assert!(links.send(0, 1, 0)[0].is_some());
    }

    #[test]
    fn loss_and_duplication_last_as_long_as_their_faults() {
        let mut links = links();
        let all = [Trouble::Loss { permille: 1_000 }, Trouble::Duplication { permille: 1_000 }];
        links.begin(&all[1]);
        assert!(links.send(0, 0, 1).iter().all(Option::is_some));
        links.begin(&all[0]);
        assert_eq!(links.send(0, 0, 1), [None, None]);
        all.iter().for_each(|trouble| links.end(trouble));
        let [one, two] = links.send(0, 0, 1);
        assert!(one.is_some() && two.is_none());
    }
}
