//! placeholder: the machines are being written; the signatures are final.
use crate::{
    config::Config,
    effect::Effects,
    input::{Boot, Input},
    stats::Stats,
    stored::StoredError,
    time::{Mono, Now},
};

/// One node.
#[cfg_attr(feature = "simulation", derive(Clone))]
pub struct Node {
    stats: Stats,
}
impl Node {
    /// New.
    pub fn new(config: Config, boot: Boot, seed: u64) -> Result<Self, StoredError> {
        let _ = (config, boot, seed);
        Ok(Self {
            stats: Stats::default(),
        })
    }
    /// Takes one input and appends what to do about it. `fx` must be empty.
    pub fn handle(&mut self, now: Now, input: Input, fx: &mut Effects) {
        let _ = (now, input, fx);
    }
    /// Many.
    pub fn handle_all(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>, fx: &mut Effects) {
        for i in inputs {
            self.handle(now, i, fx)
        }
    }
    /// Deadline.
    pub fn deadline(&self) -> Option<Mono> {
        None
    }
    /// Stats.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }
    /// Whether it serves reads and writes for all its partitions.
    pub fn is_ready(&self) -> bool {
        true
    }
    /// A new node with planted bugs.
    #[cfg(feature = "simulation")]
    pub fn planted(
        config: Config,
        boot: Boot,
        seed: u64,
        plants: crate::Plants,
    ) -> Result<Self, StoredError> {
        let _ = plants;
        Self::new(config, boot, seed)
    }
    /// Whether nothing is in flight, no log row is left to drop and nothing at rest is left to strip.
    pub fn is_quiet(&self) -> bool {
        true
    }
    /// What this node has seen of a partition that it holds; for judges of equality.
    pub fn clock(&self, partition: crate::key::Partition) -> Option<&crate::causal::Clock> {
        let _ = partition;
        None
    }
    /// Fenced.
    pub fn is_fenced(&self) -> bool {
        false
    }
    /// Panics if parts disagree.
    pub fn check(&self) {}
}
