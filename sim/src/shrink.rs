//! From a failing scenario to a small one that fails in the same way.
//!
//! Delta debugging (Zeller and Hildebrandt 2002) over what a scenario is made of: faults, sessions, calls, nodes, keys,
//! numbers. A candidate is kept if a run of it breaks the same check, without breaking any if the bug that it was
//! found with is taken out, and within what N, R and W survive. Whatever is taken out shifts all later luck, so each candidate is given
//! a few seeds. Bounded by a number of runs, and deterministic.

use crate::campaign;
use crate::check::Check;
use crate::scenario::{Clocks, Deed, MS, Plan, SECOND, Scenario, Session, US};
use crate::world::Options;

/// How far shrinking has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Runs so far.
    pub runs: u64,
    /// Faults left.
    pub faults: usize,
    /// Calls left.
    pub calls: usize,
    /// Nodes left.
    pub nodes: usize,
}

/// Shrinks a scenario that breaks `check` with these options, in at most so many runs. `tell` hears of every step that
/// was kept, and says whether to go on.
pub fn shrink(
    scenario: &Scenario,
    options: &Options,
    check: Check,
    runs_max: u64,
    tell: impl FnMut(Progress) -> bool,
) -> Scenario {
    let is_survivable = scenario.excess().is_none();
    let best = scenario.clone();
    let mut shrinker =
        Shrinker { best, options, check, is_survivable, runs: 0, runs_max, is_stopped: false, tell };
    loop {
        let before = shrinker.best.clone();
        shrinker.pass();
        if shrinker.best == before || shrinker.is_over() {
            return shrinker.best;
        }
    }
}

struct Shrinker<'a, T> {
    best: Scenario,
    options: &'a Options,
    check: Check,
    is_survivable: bool,
    runs: u64,
    runs_max: u64,
    is_stopped: bool,
    tell: T,
}

impl<T: FnMut(Progress) -> bool> Shrinker<'_, T> {
    fn is_over(&self) -> bool {
        self.is_stopped || self.runs >= self.runs_max
    }

    /// One go at everything.
    fn pass(&mut self) {
        self.shorten();
        self.drop_faults();
        self.drop_calls();
        self.drop_nodes();
        self.fewer_copies();
        self.fewer_keys();
        self.smaller_faults();
        self.plainer();
        self.plainer_calls();
        self.rounder();
    }

    /// Keeps a candidate if it still fails in the same way with one of a few seeds.
    fn keep(&mut self, mut candidate: Scenario) -> bool {
        candidate.faults.sort_by_key(|fault| fault.at_ns);
        let is_wrong = candidate == self.best
            || candidate.check().is_err()
            || (self.is_survivable && candidate.excess().is_some());
        if is_wrong {
            return false;
        }
        // Small scenarios are quick, and have little else that luck could change.
        let calls: usize = candidate.sessions.iter().map(|session| session.calls.len()).sum();
        let luck = if calls <= 20 { 40 } else { 4 };
        let seeds = std::iter::once(self.best.seed).chain(1..=luck);
        for seed in seeds {
            if self.is_over() {
                return false;
            }
            let candidate = Scenario { seed, ..candidate.clone() };
            self.runs += 1;
            if self.breaks(&candidate) {
                self.best = candidate;
                let progress = self.progress();
                self.is_stopped = !(self.tell)(progress);
                return true;
            }
        }
        false
    }

    fn breaks(&mut self, candidate: &Scenario) -> bool {
        if campaign::run_one(candidate, self.options).broke() != Some(self.check) {
            return false;
        }
        if self.options.plants.is_empty() {
            return true;
        }
        // It must be the planted bug that breaks it.
        self.runs += 1;
        let healthy = Options { plants: Vec::new(), ..self.options.clone() };
        campaign::run_one(candidate, &healthy).broke().is_none()
    }

    fn progress(&self) -> Progress {
        Progress {
            runs: self.runs,
            faults: self.best.faults.len(),
            calls: self.best.sessions.iter().map(|session| session.calls.len()).sum(),
            nodes: self.best.nodes(),
        }
    }

    fn keep_with(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        self.keep(candidate)
    }

    /// A shorter run, without what would come after its end.
    fn shorten(&mut self) {
        for part in [8, 4, 2] {
            while self.best.length_ns > 10 * MS
                && self.keep_with(|scenario| {
                    scenario.length_ns -= scenario.length_ns * part / 10;
                    let length_ns = scenario.length_ns;
                    scenario.faults.retain(|fault| fault.at_ns < length_ns);
                })
            {}
        }
    }

    /// Removes parts of a list in ever smaller pieces. `without` gives the scenario without the parts from one place on.
    fn remove(&mut self, count: impl Fn(&Scenario) -> usize, without: impl Fn(&mut Scenario, usize, usize)) {
        let mut piece = count(&self.best).div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < count(&self.best) && !self.is_over() {
                let until = (at + piece).min(count(&self.best));
                if !self.keep_with(|scenario| without(scenario, at, until)) {
                    at = until;
                }
            }
            if piece == 1 {
                return;
            }
            piece = piece.div_ceil(2);
        }
    }

    fn drop_faults(&mut self) {
        self.remove(
            |scenario| scenario.faults.len(),
            |scenario, from, until| drop(scenario.faults.drain(from..until)),
        );
    }

    fn drop_calls(&mut self) {
        self.remove(
            |scenario| scenario.sessions.len(),
            |scenario, from, until| drop(scenario.sessions.drain(from..until)),
        );
        let calls = |scenario: &Scenario| scenario.sessions.iter().map(|session| session.calls.len()).sum();
        // First those that follow keep their time, then they move up.
        for keeps_time in [true, false] {
            self.remove(calls, |scenario, from, until| {
                let mut place = 0;
                for session in &mut scenario.sessions {
                    let mut skipped_ns = 0;
                    session.calls.retain_mut(|plan| {
                        let stays = !(from..until).contains(&place);
                        place += 1;
                        if stays {
                            plan.after_ns += std::mem::take(&mut skipped_ns);
                        } else if keeps_time {
                            skipped_ns += plan.after_ns;
                        }
                        stays
                    });
                }
                scenario.sessions.retain(|session| !session.calls.is_empty());
            });
        }
    }

    /// Each node is taken out in turn, and what named it with it.
    fn drop_nodes(&mut self) {
        let mut node = 0;
        while node < self.best.nodes() && self.best.nodes() > 1 {
            if !self.keep_with(|scenario| without_node(scenario, node)) {
                node += 1;
            }
            if self.is_over() {
                return;
            }
        }
    }

    fn fewer_copies(&mut self) {
        while self.best.replicas > 1
            && self.keep_with(|scenario| {
                scenario.replicas -= 1;
                scenario.r = scenario.r.min(scenario.replicas);
                scenario.w = scenario.w.min(scenario.replicas);
                let replicas = scenario.replicas;
                each_call(scenario, |plan| plan.quorum = plan.quorum.map(|quorum| quorum.min(replicas)));
            })
        {}
    }

    fn fewer_keys(&mut self) {
        let keys = self.best.keys();
        for pair in keys.windows(2) {
            self.keep_with(|scenario| {
                each_call(scenario, |plan| {
                    if plan.key == pair[0] {
                        plan.key = pair[1];
                    }
                });
            });
        }
        let keys = self.best.keys();
        self.keep_with(|scenario| {
            each_call(scenario, |plan| {
                if let Ok(place) = keys.binary_search(&plan.key) {
                    plan.key = u32::try_from(place + 1).expect("there are few keys");
                }
            });
        });
        self.keep_with(|scenario| scenario.partitions = 1);
    }

    /// Faults that hit fewer nodes.
    fn smaller_faults(&mut self) {
        for fault in 0..self.best.faults.len() {
            let mut at = 0;
            while at < self.best.faults[fault].nodes.len() && self.best.faults[fault].nodes.len() > 1 {
                if !self.keep_with(|scenario| _ = scenario.faults[fault].nodes.remove(at)) {
                    at += 1;
                }
            }
        }
    }

    /// One number after the other as in the plain scenario.
    fn plainer(&mut self) {
        let plain = Scenario::plain();
        let changes: [fn(&mut Scenario, &Scenario); 19] = [
            |scenario, plain| scenario.network = plain.network.clone(),
            |scenario, plain| scenario.disk = plain.disk.clone(),
            |scenario, _| scenario.clocks.fill(Clocks::default()),
            |scenario, _| scenario.zones.fill(0),
            |scenario, plain| scenario.late_max_ns = plain.late_max_ns,
            |scenario, plain| scenario.timeout_ns = plain.timeout_ns,
            |scenario, plain| scenario.sync_every_ns = plain.sync_every_ns,
            |scenario, plain| scenario.expire_every_ns = plain.expire_every_ns,
            |scenario, plain| scenario.gossip_every_ns = plain.gossip_every_ns,
            |scenario, plain| scenario.probe_every_ns = plain.probe_every_ns,
            |scenario, _| scenario.spares = 0,
            |scenario, _| scenario.outdated = 0,
            |scenario, _| scenario.sloppy = false,
            |scenario, plain| scenario.siblings_max = plain.siblings_max,
            |scenario, plain| scenario.sync_objects = plain.sync_objects,
            |scenario, plain| scenario.calls_max = plain.calls_max,
            |scenario, plain| scenario.accesses_max = plain.accesses_max,
            |scenario, plain| scenario.starts_ready = plain.starts_ready,
            |scenario, _| scenario.network.stragglers = 0,
        ];
        for change in changes {
            self.keep_with(|scenario| change(scenario, &plain));
        }
    }

    fn plainer_calls(&mut self) {
        let changes: [fn(&mut Plan); 8] = [
            |plan| plan.retry = false,
            |plan| plan.large = false,
            |plan| plan.ttl_ns = None,
            |plan| plan.timeout_ns = None,
            |plan| plan.turn = 0,
            |plan| plan.quorum = None,
            |plan| plan.blind = false,
            |plan| {
                if plan.deed == Deed::Delete {
                    plan.deed = Deed::Write;
                }
            },
        ];
        for change in changes {
            self.keep_with(|scenario| each_call(scenario, change));
            for (session, call) in places(&self.best) {
                self.keep_with(|scenario| change(&mut scenario.sessions[session].calls[call]));
            }
        }
    }

    /// Times that are easier to read.
    fn rounder(&mut self) {
        for unit in [SECOND, 100 * MS, 10 * MS, MS] {
            let round = |ns: u64| if ns >= unit { ns / unit * unit } else { ns };
            self.keep_with(|scenario| scenario.length_ns = round(scenario.length_ns).max(unit));
            self.keep_with(|scenario| scenario.timeout_ns = round(scenario.timeout_ns));
            self.keep_with(|scenario| scenario.sync_every_ns = round(scenario.sync_every_ns));
            for fault in 0..self.best.faults.len() {
                self.keep_with(|scenario| scenario.faults[fault].at_ns = round(scenario.faults[fault].at_ns));
                self.keep_with(|scenario| {
                    scenario.faults[fault].lasts_ns = round(scenario.faults[fault].lasts_ns);
                });
                self.keep_with(|scenario| {
                    scenario.faults[fault].amount = round(scenario.faults[fault].amount)
                });
            }
            self.keep_with(|scenario| scenario.expire_every_ns = round(scenario.expire_every_ns));
            for (session, call) in places(&self.best) {
                self.keep_with(|scenario| {
                    let plan = &mut scenario.sessions[session].calls[call];
                    plan.after_ns = round(plan.after_ns);
                });
                self.keep_with(|scenario| {
                    let plan = &mut scenario.sessions[session].calls[call];
                    plan.ttl_ns = plan.ttl_ns.map(round);
                });
            }
        }
        for (session, call) in places(&self.best) {
            self.keep_with(|scenario| {
                let after_ns = &mut scenario.sessions[session].calls[call].after_ns;
                *after_ns = if *after_ns > MS { MS } else { US };
            });
        }
    }
}

/// Every call's place: session and place among its calls.
fn places(scenario: &Scenario) -> Vec<(usize, usize)> {
    let of = |(session, calls): (usize, &Session)| (0..calls.calls.len()).map(move |call| (session, call));
    scenario.sessions.iter().enumerate().flat_map(of).collect()
}

fn each_call(scenario: &mut Scenario, change: impl Fn(&mut Plan)) {
    scenario.sessions.iter_mut().flat_map(|session| &mut session.calls).for_each(change);
}

/// Takes a node out; those after it move up, and what was aimed at it alone goes.
fn without_node(scenario: &mut Scenario, node: usize) {
    let nodes = scenario.nodes() - 1;
    scenario.zones.remove(node);
    scenario.outdated -= usize::from(node < scenario.outdated);
    scenario.clocks.remove(node);
    let moved = |old: usize| if old > node { old - 1 } else { old };
    for fault in &mut scenario.faults {
        let (had, had_to) = (!fault.nodes.is_empty(), !fault.to.is_empty());
        for list in [&mut fault.nodes, &mut fault.to] {
            list.retain(|other| *other != node);
            list.iter_mut().for_each(|other| *other = moved(*other));
        }
        // Nobody must not become everybody.
        if (had && fault.nodes.is_empty()) || (had_to && fault.to.is_empty()) {
            fault.at_ns = u64::MAX;
        }
    }
    scenario.faults.retain(|fault| fault.at_ns != u64::MAX);
    for session in &mut scenario.sessions {
        session.node = moved(session.node).min(nodes - 1);
    }
    scenario.replicas = scenario.replicas.min(nodes);
    scenario.r = scenario.r.min(scenario.replicas);
    scenario.w = scenario.w.min(scenario.replicas);
    let replicas = scenario.replicas;
    each_call(scenario, |plan| plan.quorum = plan.quorum.map(|quorum| quorum.min(replicas)));
}

#[cfg(test)]
mod tests {
    use godown_core::Plant;

    use super::*;

    #[test]
    fn a_node_is_taken_out_of_everything_that_names_it() {
        let mut scenario = Scenario::plain();
        scenario.zones = vec![0; 4];
        scenario.outdated = 2;
        scenario.clocks = vec![Clocks::default(); 4];
        scenario.sessions = vec![Session { node: 3, calls: vec![] }, Session { node: 1, calls: vec![] }];
        scenario.faults = ["crash n2", "crash n2 n4", "loss n2 by 5 permille", "loss by 5 permille"]
            .map(|text| format!("at 0s for 1s: {text}").parse().expect("a fault"))
            .into();
        without_node(&mut scenario, 1);
        let told: Vec<String> = scenario.faults.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["at 0s for 1s: crash n3", "at 0s for 1s: loss by 5 permille"]);
        assert_eq!([scenario.sessions[0].node, scenario.sessions[1].node], [2, 1]);
        assert_eq!(scenario.check(), Ok(()));
    }

    #[test]
    fn a_planted_bug_is_shrunk_to_a_few_faults_and_calls() {
        let options = Options { plants: vec![Plant::QuorumShort], ..Options::default() };
        let calls =
            |scenario: &Scenario| scenario.sessions.iter().map(|session| session.calls.len()).sum::<usize>();
        let failing = (0..200).map(Scenario::draw).filter_map(|scenario| {
            let broke = campaign::run_one(&scenario, &options).broke();
            broke.map(|check| (scenario, check))
        });
        // A seed may fail by what takes many calls: of three, the one that gets smallest.
        let shrunk = failing.take(3).map(|(scenario, check)| {
            let mut steps = 0;
            let small = shrink(&scenario, &options, check, 400, |progress| {
                steps += 1;
                assert!(progress.runs <= 401);
                true
            });
            assert_eq!(campaign::run_one(&small, &options).broke(), Some(check));
            assert_eq!(campaign::run_one(&small, &Options::default()).broke(), None);
            assert!(steps > 5, "{steps} steps to\n{small}");
            (scenario, check, small)
        });
        let (scenario, check, small) = shrunk.min_by_key(|(.., small)| calls(small)).expect("it is found");
        assert!(small.faults.len() <= 3 && calls(&small) <= 10, "{small}");
        let again = shrink(&scenario, &options, check, 400, |_| true);
        assert_eq!(again, small, "it is deterministic");
        let stopped = shrink(&scenario, &options, check, 400, |_| false);
        assert!(stopped.faults.len() >= small.faults.len());
    }
}
