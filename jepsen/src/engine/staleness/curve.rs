//! How soon a write shows: from reads and their ages to curves.
//!
//! Probabilistically bounded staleness (Bailis et al., 2012 and 2014) asks how likely a read that begins a time t
//! after the last write was acknowledged shows it or a newer one (t-visibility), and how likely a read is fewer
//! than k writes behind (k-staleness). Measured, both are proportions: [`buckets`] gives them with Wilson's score
//! interval (1927), which holds for few reads and for proportions near 1. Whatever the true curve, it never falls
//! with t; [`steps`] is the most likely curve of that sort (isotonic regression by pooling adjacent violators: Ayer
//! et al., 1955), and [`visible_after`] reads off it when a share of reads is fresh. [`missing_overlap`] is the
//! model's line for quorums of random members. All counts are whole numbers until the last division, so results are
//! the same everywhere.

/// One read: how long before it the last write had settled, and whether it missed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sample {
    /// From the write to the read, in any unit.
    pub(crate) after: u64,
    /// Whether the read missed no write.
    pub(crate) is_fresh: bool,
}

/// Reads that began about the same time after a write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    /// The smallest time that belongs to it.
    pub(crate) from: u64,
    /// The smallest time that does not belong to it any more.
    pub(crate) until: u64,
    /// How many reads.
    pub(crate) reads: u32,
    /// How many of them missed nothing.
    pub(crate) fresh: u32,
}

/// A stretch on which the most likely rising curve stays level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The smallest time at which it holds.
    pub(crate) from: u64,
    /// How many reads it rests on.
    pub(crate) reads: u32,
    /// How many of them missed nothing.
    pub(crate) fresh: u32,
}

/// The reads in buckets 0, 1, 2, 5, 10, 20, 50, …; buckets without reads are left out.
pub(crate) fn buckets(samples: &[Sample]) -> Vec<Bucket> {
    let edges = edges();
    let mut counts = vec![(0u32, 0u32); edges.len()];
    for sample in samples {
        let place = edges.partition_point(|edge| *edge <= sample.after) - 1;
        counts[place].0 += 1;
        counts[place].1 += u32::from(sample.is_fresh);
    }
    let bucket = |(place, (reads, fresh)): (usize, (u32, u32))| Bucket {
        from: edges[place],
        until: edges.get(place + 1).copied().unwrap_or(u64::MAX),
        reads,
        fresh,
    };
    counts.into_iter().enumerate().filter(|(_, (reads, _))| *reads > 0).map(bucket).collect()
}

/// 0, and 1, 2 and 5 times every power of ten.
fn edges() -> Vec<u64> {
    let powers = std::iter::successors(Some(1u64), |power| power.checked_mul(10));
    let marks =
        powers.flat_map(|power| [1, 2, 5].into_iter().filter_map(move |mark| power.checked_mul(mark)));
    std::iter::once(0).chain(marks).collect()
}

/// The interval of a proportion that holds the true one in 95 of 100 cases (Wilson, 1927).
pub(crate) fn wilson(hits: u32, trials: u32) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    if trials == 0 {
        return (0.0, 1.0);
    }
    let trials = f64::from(trials);
    let share = f64::from(hits) / trials;
    let spread = Z * (share * (1.0 - share) / trials + Z * Z / (4.0 * trials * trials)).sqrt();
    let middle = share + Z * Z / (2.0 * trials);
    let scale = 1.0 + Z * Z / trials;
    let (low, high) = ((middle - spread) / scale, (middle + spread) / scale);
    // At either end the interval ends there, too, but for rounding.
    (if share > 0.0 { low } else { 0.0 }, if share < 1.0 { high } else { 1.0 })
}

/// The most likely curve that never falls: levels that rise from step to step. Sorts the samples.
pub(crate) fn steps(samples: &mut [Sample]) -> Vec<Step> {
    samples.sort_unstable();
    let mut steps: Vec<Step> = Vec::new();
    for same in samples.chunk_by(|a, b| a.after == b.after) {
        let fresh = same.iter().filter(|sample| sample.is_fresh).count() as u32;
        let mut step = Step { from: same[0].after, reads: same.len() as u32, fresh };
        // A level that is not above the one before belongs to it.
        while let Some(before) = steps.pop_if(|before| !is_below(before, &step)) {
            step = Step {
                from: before.from,
                reads: before.reads + step.reads,
                fresh: before.fresh + step.fresh,
            };
        }
        steps.push(step);
    }
    steps
}

fn is_below(a: &Step, b: &Step) -> bool {
    u64::from(a.fresh) * u64::from(b.reads) < u64::from(b.fresh) * u64::from(a.reads)
}

/// The first step on which at least `per_mille` of 1000 reads miss nothing; none if the reads never get so fresh.
pub(crate) fn visible_after(steps: &[Step], per_mille: u32) -> Option<Step> {
    let is_fresh =
        |step: &&Step| u64::from(step.fresh) * 1000 >= u64::from(step.reads) * u64::from(per_mille);
    steps.iter().find(is_fresh).copied()
}

/// How likely a read of `read` of `nodes` nodes, chosen at random, meets none of the `written` nodes that took the
/// last write: C(nodes - written, read) / C(nodes, read).
pub(crate) fn missing_overlap(nodes: u32, read: u32, written: u32) -> f64 {
    let (others, read) = (nodes.saturating_sub(written), read.min(nodes));
    let factor = |member: u32| f64::from(others.saturating_sub(member)) / f64::from(nodes - member);
    (0..read).map(factor).product()
}

#[cfg(test)]
mod tests {
    use super::super::tests::ROUNDS;
    use super::*;
    use crate::engine::random::Random;

    fn random_samples(random: &mut Random) -> Vec<Sample> {
        let count = 1 + random.below(10);
        let spread = 1 + random.below(12);
        let sample = |after: u32, chance: u32| Sample { after: after.into(), is_fresh: chance > 3 };
        (0..count)
            .map(|_| {
                let after = random.below(spread);
                sample(after, random.below(8) + after / 3)
            })
            .collect()
    }

    #[test]
    fn the_steps_are_the_most_likely_rising_curve() {
        let seed = 0x5eed_0121;
        let mut random = Random(seed);
        let mut pooled = 0;
        for round in 0..ROUNDS {
            let mut samples = random_samples(&mut random);
            let steps = steps(&mut samples);
            let mut times: Vec<u64> = samples.iter().map(|sample| sample.after).collect();
            times.dedup();
            pooled += u32::from(steps.len() < times.len());
            for (place, time) in times.iter().enumerate() {
                // The definition: the largest over all beginnings of the smallest over all ends of the mean between.
                let mean = |from: u64, to: u64| {
                    let between = samples.iter().filter(|sample| (from..=to).contains(&sample.after));
                    let (fresh, all) = between
                        .fold((0, 0), |(fresh, all), sample| (fresh + u32::from(sample.is_fresh), all + 1));
                    f64::from(fresh) / f64::from(all)
                };
                let least = |from: &u64| times[place..].iter().map(|to| mean(*from, *to)).fold(1.0, f64::min);
                let expected = times[..=place].iter().map(least).fold(0.0, f64::max);
                let step = steps[steps.partition_point(|step| step.from <= *time) - 1];
                let level = f64::from(step.fresh) / f64::from(step.reads);
                assert!(
                    (level - expected).abs() < 1e-9,
                    "seed {seed:#x} round {round}: {samples:?} {steps:?}"
                );
            }
        }
        assert!(pooled > ROUNDS / 4, "{pooled}");
    }

    #[test]
    fn visibility_is_read_off_the_first_step_that_is_high_enough() {
        let sample = |after, is_fresh| Sample { after, is_fresh };
        let mut samples: Vec<Sample> = (0..100).map(|after| sample(after, after >= 20)).collect();
        assert_eq!(visible_after(&steps(&mut samples), 990), Some(Step { from: 20, reads: 80, fresh: 80 }));
        // One stale read in the end is less than one in a hundred only among many.
        samples.push(sample(1_000, false));
        assert_eq!(visible_after(&steps(&mut samples), 990), None);
        assert_eq!(visible_after(&steps(&mut samples), 980).map(|step| step.from), Some(20));
        samples.extend((100..200).map(|after| sample(after, true)));
        assert_eq!(visible_after(&steps(&mut samples), 990).map(|step| step.from), Some(20));
        assert_eq!(visible_after(&[], 990), None);
    }

    #[test]
    fn every_read_is_in_the_bucket_of_its_time() {
        let times = [0, 1, 2, 3, 4, 5, 9, 10, 19, 20, 49, 50, 1_000_000, u64::MAX];
        let samples: Vec<Sample> =
            times.iter().map(|after| Sample { after: *after, is_fresh: after % 2 == 0 }).collect();
        let buckets = buckets(&samples);
        assert_eq!(buckets.iter().map(|bucket| bucket.reads).sum::<u32>(), times.len() as u32);
        for bucket in &buckets {
            let inside: Vec<u64> =
                times.iter().filter(|time| (bucket.from..bucket.until).contains(time)).copied().collect();
            let is_last = bucket.until == u64::MAX;
            assert_eq!(bucket.reads as usize, inside.len() + usize::from(is_last), "{bucket:?}");
        }
        assert_eq!(buckets[2], Bucket { from: 2, until: 5, reads: 3, fresh: 2 });
        assert_eq!(buckets.len(), 9);
    }

    #[test]
    fn wilsons_interval_is_that_of_the_tables() {
        let is_near = |interval: (f64, f64), low: f64, high: f64| {
            assert!((interval.0 - low).abs() < 5e-4 && (interval.1 - high).abs() < 5e-4, "{interval:?}");
        };
        is_near(wilson(81, 263), 0.2553, 0.3662);
        is_near(wilson(15, 148), 0.0624, 0.1605);
        is_near(wilson(0, 20), 0.0, 0.1611);
        is_near(wilson(29, 29), 0.8830, 1.0);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        assert!((1..100).all(|trials| wilson(trials, trials).1 == 1.0 && wilson(0, trials).0 == 0.0));
    }

    #[test]
    fn the_model_counts_the_reads_that_meet_no_writer() {
        // Every choice of readers, one by one.
        for nodes in 1..=6u32 {
            for (read, written) in
                (1..=nodes).flat_map(|read| (1..=nodes).map(move |written| (read, written)))
            {
                let choices = (0..1u32 << nodes).filter(|set| set.count_ones() == read);
                let writers = (1u32 << written) - 1;
                let missing = choices.clone().filter(|set| set & writers == 0).count() as f64;
                let expected = missing / choices.count() as f64;
                assert!((missing_overlap(nodes, read, written) - expected).abs() < 1e-12);
            }
        }
        assert_eq!(missing_overlap(0, 1, 1), 1.0);
    }
}
