//! What the nodes' wall clocks said, and when: each is ahead and drifts as its scenario says, and is set as faults want it.
//!
//! Rules about expiry ask here and not the nodes. Between two times at which it is set a clock only rises, so its least and
//! its greatest reading of a while lie at the ends of such stretches. At the very moment at which a clock is set
//! it counts as showing both times: which of two events of one moment came first is not told here.

use crate::record::Record;
use crate::scenario::{Clocks, Scenario};
use crate::world::stepped::EPOCH;

/// Later than any run lasts.
const FOREVER: u64 = u64::MAX / 4;

/// A time in which a clock was not set.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from_ns: u64,
    to_ns: u64,
    off_ns: i64,
}

/// All wall clocks of a run.
#[derive(Clone, Debug)]
pub struct Walls(Vec<(Clocks, Vec<Stretch>)>);

impl Walls {
    /// The clocks of a run.
    #[must_use]
    pub fn new(scenario: &Scenario, record: &Record) -> Self {
        let of = |(node, clocks): (usize, &Clocks)| {
            let mut stretches = vec![Stretch { from_ns: 0, to_ns: FOREVER, off_ns: 0 }];
            for jump in record.jumps().iter().filter(|jump| jump.node == node) {
                if let Some(last) = stretches.last_mut() {
                    last.to_ns = jump.at_ns;
                }
                stretches.push(Stretch { from_ns: jump.at_ns, to_ns: FOREVER, off_ns: jump.off_ns });
            }
            (*clocks, stretches)
        };
        Self(scenario.clocks.iter().enumerate().map(of).collect())
    }

    fn stretches(&self) -> impl Iterator<Item = (&Clocks, &Stretch)> {
        self.0.iter().flat_map(|(clocks, stretches)| stretches.iter().map(move |stretch| (clocks, stretch)))
    }

    /// The stretches that have a part in a while, each with that part's ends.
    fn within(&self, from_ns: u64, to_ns: u64) -> impl Iterator<Item = (&Clocks, &Stretch, u64, u64)> {
        let meets = move |at: &(&Clocks, &Stretch)| at.1.from_ns <= to_ns && from_ns <= at.1.to_ns;
        let clip = move |(clocks, at): (_, &Stretch)| (from_ns.max(at.from_ns), to_ns.min(at.to_ns), clocks);
        self.stretches().filter(meets).map(move |(clocks, at)| {
            let (first_ns, last_ns, clocks) = clip((clocks, at));
            (clocks, at, first_ns, last_ns)
        })
    }

    /// The least that any clock said between two moments.
    #[must_use]
    pub fn least(&self, from_ns: u64, to_ns: u64) -> u64 {
        self.within(from_ns, to_ns)
            .map(|(clocks, at, first_ns, _)| reading(clocks, at, first_ns))
            .min()
            .unwrap_or(0)
    }

    /// The greatest that any clock said between two moments.
    #[must_use]
    pub fn greatest(&self, from_ns: u64, to_ns: u64) -> u64 {
        let said = self.within(from_ns, to_ns).map(|(clocks, at, _, last_ns)| reading(clocks, at, last_ns));
        said.max().unwrap_or(u64::MAX)
    }

    /// The least that the clock of a node said at a moment.
    #[must_use]
    pub fn of(&self, node: usize, at_ns: u64) -> u64 {
        let (clocks, stretches) = &self.0[node];
        let covers = |at: &&Stretch| at.from_ns <= at_ns && at_ns <= at.to_ns;
        stretches.iter().filter(covers).map(|at| reading(clocks, at, at_ns)).min().unwrap_or(0)
    }

    /// The first moment, from one on, at which any clock says so much.
    #[must_use]
    pub fn first(&self, wall_ns: u64, from_ns: u64) -> u64 {
        let moments = self.within(from_ns, FOREVER).filter_map(|(clocks, at, first_ns, last_ns)| {
            Some(reached(clocks, at, wall_ns).max(first_ns)).filter(|&moment_ns| moment_ns <= last_ns)
        });
        moments.min().unwrap_or(FOREVER)
    }

    /// The moment from which on all clocks say so much for ever.
    #[must_use]
    pub fn settled(&self, wall_ns: u64) -> u64 {
        let last = |(clocks, stretches): &(Clocks, Vec<Stretch>)| {
            stretches.last().map(|at| reached(clocks, at, wall_ns).max(at.from_ns))
        };
        self.0.iter().filter_map(last).max().unwrap_or(0)
    }
}

fn reading(clocks: &Clocks, at: &Stretch, ns: u64) -> u64 {
    (EPOCH + clocks.ahead_ns + clocks.counted(ns)).saturating_add_signed(at.off_ns)
}

/// When the clock would say so much if it had always been set as it is in this stretch.
fn reached(clocks: &Clocks, at: &Stretch, wall_ns: u64) -> u64 {
    let by_itself = i128::from(wall_ns) - i128::from(at.off_ns) - i128::from(EPOCH + clocks.ahead_ns);
    clocks.moment(u64::try_from(by_itself.max(0)).unwrap_or(FOREVER)).min(FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Jump;
    use crate::rng::Rng;
    use crate::scenario::{MS, SECOND};

    /// Three clocks that are ahead, drift and are set at random, and the times at which they are.
    fn drawn(rng: &mut Rng) -> (Scenario, Record, Vec<u64>) {
        let mut scenario = Scenario::plain();
        for clocks in &mut scenario.clocks {
            let drift_ppm = i32::try_from(rng.below(2_000)).expect("small") - 1_000;
            *clocks = Clocks { ahead_ns: rng.below(400) * MS, drift_ppm };
        }
        let mut times: Vec<u64> = (0..rng.below(6)).map(|_| rng.below(2 * SECOND)).collect();
        times.sort_unstable();
        let mut record = Record::new(vec![1]);
        for &at_ns in &times {
            let node = usize::try_from(rng.below(3)).expect("small");
            let off_ns = i64::try_from(rng.below(2_000) * MS).expect("small") - 1_000_000_000;
            record.jumped(Jump { node, at_ns, off_ns });
        }
        (scenario, record, times)
    }

    /// What every clock says at a moment, by going through what was done to it.
    fn readings(scenario: &Scenario, record: &Record, at_ns: u64) -> Vec<u64> {
        let one = |(node, clocks): (usize, &Clocks)| {
            let set = record.jumps().iter().rfind(|jump| jump.node == node && jump.at_ns <= at_ns);
            let off_ns = set.map_or(0, |jump| jump.off_ns);
            (EPOCH + clocks.ahead_ns + clocks.counted(at_ns)).saturating_add_signed(off_ns)
        };
        scenario.clocks.iter().enumerate().map(one).collect()
    }

    #[test]
    fn bounds_hold_at_every_moment_and_are_met() {
        let mut rng = Rng::stream(3, "walls");
        for round in 0..2_000 {
            let (scenario, record, times) = drawn(&mut rng);
            let walls = Walls::new(&scenario, &record);
            let from_ns = rng.below(SECOND);
            let to_ns = from_ns + rng.below(SECOND);
            let wall_ns = EPOCH + rng.below(3 * SECOND);
            let mut moments: Vec<u64> =
                (0..200).map(|step| from_ns + (to_ns - from_ns) * step / 199).collect();
            moments.extend(times.iter().flat_map(|&at| [at.saturating_sub(1), at]));
            moments.retain(|at| (from_ns..=to_ns).contains(at));
            let said: Vec<u64> = moments.iter().flat_map(|&at| readings(&scenario, &record, at)).collect();
            let (least, greatest) = (walls.least(from_ns, to_ns), walls.greatest(from_ns, to_ns));
            assert!(said.iter().all(|said| (least..=greatest).contains(said)), "round {round}");
            assert!(said.iter().min().is_some_and(|&said| said - least <= MS), "round {round}: it is tight");
            assert!(
                said.iter().max().is_some_and(|&said| greatest - said <= MS),
                "round {round}: it is tight"
            );
            let first_ns = walls.first(wall_ns, from_ns);
            let says = |at: u64| readings(&scenario, &record, at).iter().any(|&said| said >= wall_ns);
            assert!(moments.iter().all(|&at| at >= first_ns || !says(at)), "round {round}");
            let settled_ns = walls.settled(wall_ns);
            for at in [settled_ns, settled_ns + SECOND, settled_ns + 100 * SECOND] {
                let all = readings(&scenario, &record, at);
                assert!(all.iter().all(|&said| said >= wall_ns), "round {round}");
                assert!((0..3).all(|node| walls.of(node, at) <= all[node]), "round {round}");
            }
        }
    }
}
