//! The numbers of staleness, as they stand in a report.

use std::collections::BTreeMap;

use serde::Serialize;

use super::part::{Judged, Skip};
use super::{Key, Quorum};
use crate::check::measure::{Clock, Quantiles};
use crate::check::{Figures, Place};
use crate::engine::staleness::curve::{self, Sample, Step};
use crate::history::{History, Value};

/// Everything that was measured. Times are in `unit`: nanoseconds if every event says when it was, else events.
#[derive(Serialize)]
struct Numbers {
    unit: &'static str,
    reads: usize,
    reads_judged: usize,
    reads_stale: usize,
    reads_not_judged: BTreeMap<Skip, usize>,
    /// By how many writes reads were behind: quantiles, and how many reads by how many writes.
    versions: Quantiles,
    versions_histogram: BTreeMap<u32, usize>,
    /// How much earlier reads had to begin to miss nothing: of all reads judged, and of the stale ones.
    age: Quantiles,
    age_of_stale: Quantiles,
    worst: Vec<Worst>,
    t_curve: Vec<Bucket>,
    t_fit: Vec<Level>,
    visible_90: Option<Level>,
    visible_99: Option<Level>,
    visible_999: Option<Level>,
    k_curve: Vec<Within>,
    keys_atomic: usize,
    keys_not_atomic: usize,
    keys_without_delta: usize,
    delta_max: u64,
    gamma_max: u64,
    delta_worst: Vec<KeyDistance>,
}

/// A read among the stalest.
#[derive(Serialize)]
struct Worst {
    key: Value,
    age: u64,
    versions: u32,
    /// Where the read ended.
    read: Place,
    /// Where the write that it missed longest began, and where it had certainly taken effect.
    write: Place,
    settled: Place,
}

/// Reads by how long before them the last write had settled, and the share of them that missed nothing.
#[derive(Serialize)]
struct Bucket {
    from: u64,
    until: u64,
    reads: u32,
    fresh: u32,
    share: f64,
    low: f64,
    high: f64,
}

/// From when on reads are how fresh, by the most likely curve that never falls.
#[derive(Serialize)]
struct Level {
    from: u64,
    reads: u32,
    fresh: u32,
    share: f64,
    low: f64,
}

impl From<Step> for Level {
    fn from(step: Step) -> Self {
        let share = f64::from(step.fresh) / f64::from(step.reads);
        let (low, _) = curve::wilson(step.fresh, step.reads);
        Level { from: step.from, reads: step.reads, fresh: step.fresh, share, low }
    }
}

/// The share of reads that were fewer than so many versions behind, and what quorums of random members promise.
#[derive(Serialize)]
struct Within {
    k: u32,
    share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<f64>,
}

#[derive(Serialize)]
struct KeyDistance {
    key: Value,
    delta: u64,
    gamma: u64,
}

/// How many of the worst are listed.
const WORST_MAX: usize = 10;
/// How long the curve of versions is at most.
const VERSIONS_MAX: u32 = 100;

/// The figures of all keys.
pub(super) fn figures(history: &History, clock: &Clock, keys: &[Key], quorum: Option<Quorum>) -> Figures {
    let all = || keys.iter().flat_map(|key| key.measured.judged.iter().map(move |judged| (key, judged)));
    let ages = || all().map(|(_, judged)| judged.age(clock));
    let mut skipped: BTreeMap<Skip, usize> = BTreeMap::new();
    for (_, skip) in keys.iter().flat_map(|key| &key.measured.skipped) {
        *skipped.entry(*skip).or_default() += 1;
    }
    let mut histogram: BTreeMap<u32, usize> = BTreeMap::new();
    for (_, judged) in all() {
        *histogram.entry(judged.missed).or_default() += 1;
    }
    let mut samples: Vec<Sample> = all().filter_map(|(_, judged)| sample(clock, judged)).collect();
    let steps = curve::steps(&mut samples);
    let visible = |per_mille| curve::visible_after(&steps, per_mille).map(Level::from);
    let judged = all().count();
    let distances = || keys.iter().filter_map(|key| key.measured.distances.map(|distances| (key, distances)));
    let keys_atomic = distances().filter(|(_, distances)| distances.is_atomic).count();
    let numbers = Numbers {
        unit: clock.unit(),
        reads: judged + skipped.values().sum::<usize>(),
        reads_judged: judged,
        reads_stale: judged - histogram.get(&0).copied().unwrap_or(0),
        reads_not_judged: skipped,
        versions: Quantiles::of(all().map(|(_, judged)| judged.missed.into()).collect()),
        k_curve: within(&histogram, judged, quorum),
        versions_histogram: histogram,
        age: Quantiles::of(ages().collect()),
        age_of_stale: Quantiles::of(
            all().filter(|(_, judged)| judged.missed > 0).map(|(_, judged)| judged.age(clock)).collect(),
        ),
        worst: worst(history, clock, all().collect()),
        t_curve: curve::buckets(&samples).into_iter().map(bucket).collect(),
        visible_90: visible(900),
        visible_99: visible(990),
        visible_999: visible(999),
        t_fit: steps.into_iter().map(Level::from).collect(),
        keys_atomic,
        keys_not_atomic: distances().count() - keys_atomic,
        keys_without_delta: keys.len() - distances().count(),
        delta_max: distances().map(|(_, distances)| distances.delta).max().unwrap_or(0),
        gamma_max: distances().map(|(_, distances)| distances.gamma).max().unwrap_or(0),
        delta_worst: delta_worst(history, keys),
    };
    match serde_json::to_value(numbers) {
        Ok(serde_json::Value::Object(figures)) => figures,
        _ => Figures::new(),
    }
}

fn sample(clock: &Clock, judged: &Judged) -> Option<Sample> {
    let after = clock.between(judged.latest?, judged.read.invoked);
    Some(Sample { after, is_fresh: judged.missed == 0 })
}

fn bucket(bucket: curve::Bucket) -> Bucket {
    let curve::Bucket { from, until, reads, fresh } = bucket;
    let (low, high) = curve::wilson(fresh, reads);
    Bucket { from, until, reads, fresh, share: f64::from(fresh) / f64::from(reads), low, high }
}

fn within(histogram: &BTreeMap<u32, usize>, judged: usize, quorum: Option<Quorum>) -> Vec<Within> {
    let Some((most, _)) = histogram.last_key_value() else { return Vec::new() };
    let missing = quorum.map(|quorum| curve::missing_overlap(quorum.nodes, quorum.read, quorum.written));
    let (mut within, mut missed) = (0, 1.0);
    (1..=most.saturating_add(1).min(VERSIONS_MAX))
        .map(|k| {
            within += histogram.get(&(k - 1)).copied().unwrap_or(0);
            missed *= missing.unwrap_or(0.0);
            let model = missing.map(|_| 1.0 - missed);
            Within { k, share: within as f64 / judged as f64, model }
        })
        .collect()
}

fn worst(history: &History, clock: &Clock, mut all: Vec<(&Key, &Judged)>) -> Vec<Worst> {
    all.retain(|(_, judged)| judged.missed > 0);
    all.sort_by_key(|(_, judged)| {
        std::cmp::Reverse((judged.age(clock), judged.missed, std::cmp::Reverse(judged.read.invoked)))
    });
    let told = all.into_iter().take(WORST_MAX).filter_map(|(key, judged)| {
        let (write, settled) = judged.first?;
        Some(Worst {
            key: history.value(key.key),
            age: judged.age(clock),
            versions: judged.missed,
            read: history.end_of(&judged.read),
            write: history.start_of(&write),
            settled: history.place(settled),
        })
    });
    told.collect()
}

fn delta_worst(history: &History, keys: &[Key]) -> Vec<KeyDistance> {
    let mut far: Vec<_> = keys
        .iter()
        .filter_map(|key| Some((key.key, key.measured.distances?)))
        .filter(|(_, distances)| distances.delta > 0)
        .collect();
    // Keys are in order already, and the sort keeps equals in theirs.
    far.sort_by_key(|(_, distances)| std::cmp::Reverse((distances.delta, distances.gamma)));
    let told = far.into_iter().take(WORST_MAX);
    told.map(|(key, distances)| KeyDistance {
        key: history.value(key),
        delta: distances.delta,
        gamma: distances.gamma,
    })
    .collect()
}
