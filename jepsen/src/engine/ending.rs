//! How a set or a counter may end, once everything has been delivered everywhere.
//!
//! In an observed-remove set (Shapiro et al., 2011) every add is its own, and a remove takes away exactly the adds
//! that its node had seen: an element is in the set if some add of it was seen by no remove, so adds win over
//! removes that did not know them. [`presence`] says whether the last state must, must not, or may hold an element.
//! Where removes name what they saw, that is exact; where they do not, a remove may have seen any add that began
//! before it ended.
//!
//! A counter ends at the sum of all changes that happened. Those of unknown outcome may be in it or not: [`total`]
//! says whether some choice of them makes the value that was read; exact as long as the sums that can be reached
//! are not too many, else by bounds and the common divisor.

/// How much of the past is certain: what was acknowledged before the last read began has happened, what began after
/// it returned is nobody's business.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The position of the invocation.
    pub(crate) invoked: u32,
    /// The position of the acknowledgement; none if it may take effect at any later time or never.
    pub(crate) returned: Option<u32>,
}

impl Span {
    fn is_certain(&self, last: Span) -> bool {
        self.returned.is_some_and(|returned| returned < last.invoked)
    }

    fn is_possible(&self, last: Span) -> bool {
        last.returned.is_none_or(|returned| self.invoked < returned)
    }
}

/// Which adds a remove took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Exactly these, by place.
    Listed(Vec<u32>),
    /// All that had been acknowledged before it began, and perhaps others.
    Acknowledged,
    /// Nobody knows: any that began before it ended.
    Unknown,
}

/// What the last state holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The element must be there, because no remove can have seen this add.
    Present {
        /// The add, by its place.
        add: u32,
    },
    /// The element cannot be there.
    Absent {
        /// For each add that may have happened, a remove that certainly took it away, both by place.
        taken: Vec<(u32, u32)>,
    },
    /// It may be there or not.
    Either,
}

/// What `last`, a read of the last state, must say of an element after these adds and removes.
pub(crate) fn presence(adds: &[Span], removes: &[(Span, Sight)], last: Span) -> Presence {
    let mut taken: Vec<Option<u32>> = vec![None; adds.len()];
    let mut may_be_seen = vec![false; adds.len()];
    // Removes that do not name what they saw: the latest end of all, the latest beginning of those that see the
    // acknowledged.
    let mut end = 0;
    let mut begin: Option<(u32, u32)> = None;
    for (place, (span, sight)) in (0u32..).zip(removes).filter(|(_, (span, _))| span.is_possible(last)) {
        let is_certain = span.is_certain(last);
        match sight {
            // What saw an add that nobody had begun by then took effect later.
            Sight::Listed(listed) if listed.iter().any(|add| !adds[*add as usize].is_possible(last)) => {}
            Sight::Listed(listed) => {
                for add in listed {
                    may_be_seen[*add as usize] = true;
                    if is_certain {
                        taken[*add as usize] = Some(place);
                    }
                }
            }
            Sight::Acknowledged | Sight::Unknown => {
                end = end.max(span.returned.unwrap_or(u32::MAX));
                if *sight == Sight::Acknowledged && is_certain {
                    begin = begin.max(Some((span.invoked, place)));
                }
            }
        }
    }
    for (add, span) in adds.iter().enumerate() {
        may_be_seen[add] |= span.invoked < end;
        let saw = begin.filter(|(begin, _)| span.returned.is_some_and(|returned| returned < *begin));
        taken[add] = taken[add].or(saw.map(|(_, remove)| remove));
    }
    let places = 0..adds.len() as u32;
    let is_safe = |add: &u32| adds[*add as usize].is_certain(last) && !may_be_seen[*add as usize];
    if let Some(add) = places.clone().find(is_safe) {
        return Presence::Present { add };
    }
    let possible = places.filter(|add| adds[*add as usize].is_possible(last));
    let taken: Option<Vec<(u32, u32)>> =
        possible.map(|add| taken[add as usize].map(|remove| (add, remove))).collect();
    taken.map_or(Presence::Either, |taken| Presence::Absent { taken })
}

/// What a counter's last value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Total {
    /// Some choice of the possible changes makes it.
    Reached,
    /// It is smaller than any choice makes it.
    Below {
        /// The smallest that there is.
        least: i128,
    },
    /// It is larger than any choice makes it.
    Above {
        /// The largest that there is.
        most: i128,
    },
    /// It lies between, and no choice makes it.
    Missed,
    /// It lies between and has the right divisor; there are too many sums to look at all.
    Unknown,
}

/// Sums that are remembered at most.
const SUMS_MAX: usize = 100_000;
/// Sums that are computed at most.
const STEPS_MAX: usize = 20_000_000;

/// Whether `value` is the sum of everything `certain` and of some of the `possible` changes.
pub(crate) fn total(certain: i128, possible: &[i64], value: i128) -> Total {
    let sum = |changes: &mut dyn Iterator<Item = i64>| changes.map(i128::from).sum::<i128>();
    let least = certain + sum(&mut possible.iter().copied().filter(|change| *change < 0));
    let most = certain + sum(&mut possible.iter().copied().filter(|change| *change > 0));
    if value < least {
        return Total::Below { least };
    }
    if value > most {
        return Total::Above { most };
    }
    // Leaving out a negative change is as good as adding a positive one to the least.
    let mut sizes: Vec<u64> = possible.iter().map(|change| change.unsigned_abs()).collect();
    sizes.retain(|size| *size > 0);
    sizes.sort_unstable_by_key(|size| std::cmp::Reverse(*size));
    let wanted = (value - least).unsigned_abs();
    let divisor = sizes.iter().fold(0, |divisor, size| divisor_of(divisor, *size));
    if wanted == 0 {
        return Total::Reached;
    }
    if divisor == 0 || !wanted.is_multiple_of(divisor.into()) {
        return Total::Missed;
    }
    if sizes.iter().all(|size| *size == divisor) {
        return Total::Reached;
    }
    match is_reached(&sizes, wanted) {
        Some(true) => Total::Reached,
        Some(false) => Total::Missed,
        None => Total::Unknown,
    }
}

fn divisor_of(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Whether some of the sizes, the largest first, add up to `wanted`; none if there are too many sums.
fn is_reached(sizes: &[u64], wanted: u128) -> Option<bool> {
    let mut left: u128 = sizes.iter().copied().map(u128::from).sum();
    let mut sums: Vec<u128> = vec![0];
    let mut steps = 0;
    for size in sizes {
        // What all that is left cannot lift to the wanted sum leads nowhere.
        sums.drain(..sums.partition_point(|sum| sum + left < wanted));
        left -= u128::from(*size);
        let with = sums.iter().map(|sum| sum + u128::from(*size)).filter(|sum| *sum <= wanted);
        let with: Vec<u128> = with.collect();
        if with.binary_search(&wanted).is_ok() {
            return Some(true);
        }
        sums = merge(&sums, &with);
        steps += sums.len();
        if sums.len() > SUMS_MAX || steps > STEPS_MAX {
            return None;
        }
    }
    Some(false)
}

fn merge(a: &[u128], b: &[u128]) -> Vec<u128> {
    let mut both = [a, b].concat();
    both.sort();
    both.dedup();
    both
}

#[cfg(test)]
mod tests {
    use super::super::staleness::tests::ROUNDS;
    use super::*;
    use crate::engine::random::Random;

    fn random_span(random: &mut Random) -> Span {
        let invoked = random.below(20);
        let returned = (!random.is_one_in(4)).then(|| invoked + 1 + random.below(8));
        Span { invoked, returned }
    }

    /// Every history that these calls may be: which happened, and what each remove saw.
    fn endings(adds: &[Span], removes: &[(Span, Sight)], last: Span) -> [bool; 2] {
        let (some, others) = (adds.len(), removes.len());
        let mut found = [false; 2];
        let is_certain = |span: &Span| span.returned.is_some_and(|at| at < last.invoked);
        let is_too_late = |span: &Span| last.returned.is_some_and(|at| span.invoked >= at);
        for happened in 0u32..1 << (some + others) {
            let has = |place: usize| happened >> place & 1 == 1;
            let spans = adds.iter().chain(removes.iter().map(|(span, _)| span));
            let mut spans = spans.enumerate();
            if spans.any(|(place, span)| if has(place) { is_too_late(span) } else { is_certain(span) }) {
                continue;
            }
            for saw in 0u32..1 << (some * others) {
                let sees = |remove: usize, add: usize| saw >> (remove * some + add) & 1 == 1;
                let is_sound = (0..others).filter(|remove| has(some + remove)).all(|remove| {
                    let (span, sight) = &removes[remove];
                    (0..some).all(|add| {
                        let began = adds[add].invoked < span.returned.unwrap_or(u32::MAX);
                        let ended = adds[add].returned.is_some_and(|at| at < span.invoked);
                        match sight {
                            Sight::Listed(listed) => {
                                let is_listed = listed.contains(&(add as u32));
                                sees(remove, add) == is_listed && (!is_listed || has(add))
                            }
                            Sight::Acknowledged if ended && has(add) => sees(remove, add),
                            _ => !sees(remove, add) || began && has(add),
                        }
                    })
                });
                if is_sound {
                    let is_alive = |add: &usize| {
                        has(*add) && !(0..others).any(|remove| has(some + remove) && sees(remove, *add))
                    };
                    found[usize::from((0..some).any(|add| is_alive(&add)))] = true;
                }
            }
        }
        found
    }

    #[test]
    fn presence_is_what_all_histories_that_these_calls_may_be_agree_on() {
        let seed = 0x5eed_0141;
        let mut random = Random(seed);
        let mut counts = [0u32; 3];
        for round in 0..ROUNDS {
            let adds: Vec<Span> = (0..random.below(4)).map(|_| random_span(&mut random)).collect();
            let mut removes = Vec::new();
            for _ in 0..random.below(if adds.len() == 3 { 2 } else { 3 }) {
                let span = random_span(&mut random);
                let end = span.returned.unwrap_or(u32::MAX);
                let began = (0..adds.len() as u32).filter(|add| adds[*add as usize].invoked < end);
                let sight = match random.below(3) {
                    0 => Sight::Unknown,
                    1 => Sight::Acknowledged,
                    _ => Sight::Listed(began.filter(|_| random.is_one_in(2)).collect()),
                };
                removes.push((span, sight));
            }
            let invoked = 8 + random.below(20);
            let last = Span { invoked, returned: Some(invoked + 1 + random.below(8)) };
            let expected = endings(&adds, &removes, last);
            let found = presence(&adds, &removes, last);
            let told = format!("seed {seed:#x} round {round}: {adds:?} {removes:?} {last:?}");
            let kind = match &found {
                Presence::Absent { .. } => [true, false],
                Presence::Present { .. } => [false, true],
                Presence::Either => [true, true],
            };
            assert_eq!(kind, expected, "{told}");
            match &found {
                Presence::Present { add } => {
                    // Nothing else is needed to see it.
                    let alone = [adds[*add as usize]];
                    assert_eq!(endings(&alone, &[], last), [false, true], "{told}");
                    counts[0] += 1;
                }
                Presence::Absent { taken } => {
                    for (add, remove) in taken {
                        let (adds, removes) = ([adds[*add as usize]], &removes[*remove as usize]);
                        let sight = match &removes.1 {
                            Sight::Listed(_) => Sight::Listed(vec![0]),
                            sight => sight.clone(),
                        };
                        assert_eq!(endings(&adds, &[(removes.0, sight)], last), [true, false], "{told}");
                    }
                    counts[1] += 1;
                }
                Presence::Either => counts[2] += 1,
            }
        }
        assert!(counts.iter().all(|count| *count > ROUNDS / 20), "one-sided: {counts:?}");
    }

    #[test]
    fn a_total_is_reached_if_some_choice_makes_it() {
        let seed = 0x5eed_0142;
        let mut random = Random(seed);
        let mut counts = [0u32; 4];
        for round in 0..ROUNDS {
            let unit = 1 + i64::from(random.below(3));
            let one = |random: &mut Random| unit * (i64::from(random.below(13)) - 6);
            let possible: Vec<i64> = (0..random.below(7)).map(|_| one(&mut random)).collect();
            let certain = i128::from(one(&mut random));
            let value = certain + i128::from(random.below(60)) - 30;
            let sums = (0u32..1 << possible.len()).map(|set| {
                let chosen = (0..possible.len()).filter(|place| set >> place & 1 == 1);
                certain + chosen.map(|place| i128::from(possible[place])).sum::<i128>()
            });
            let sums: Vec<i128> = sums.collect();
            let (least, most) = (*sums.iter().min().unwrap(), *sums.iter().max().unwrap());
            let expected = match value {
                value if value < least => Total::Below { least },
                value if value > most => Total::Above { most },
                value if sums.contains(&value) => Total::Reached,
                _ => Total::Missed,
            };
            let found = total(certain, &possible, value);
            assert_eq!(found, expected, "seed {seed:#x} round {round}: {certain} {possible:?} {value}");
            counts[match found {
                Total::Reached => 0,
                Total::Below { .. } => 1,
                Total::Above { .. } => 2,
                _ => 3,
            }] += 1;
        }
        assert!(counts.iter().all(|count| *count > ROUNDS / 20), "one-sided: {counts:?}");
    }

    #[test]
    fn too_many_sums_are_not_looked_at() {
        let powers: Vec<i64> = (0..62).map(|power| 1 << power).collect();
        assert_eq!(total(0, &powers, 1 << 40), Total::Reached);
        let mut random = Random(0x5eed_0143);
        let many: Vec<i64> = (0..60).map(|_| i64::from(random.below(u32::MAX)) << 20 | 2).collect();
        assert_eq!(
            total(0, &many, many.iter().map(|size| i128::from(*size)).sum::<i128>() / 2),
            Total::Unknown
        );
        assert_eq!(total(0, &[1; 100_000], 99_999), Total::Reached);
        assert_eq!(total(0, &[i64::MIN, i64::MAX], 0), Total::Reached);
        assert_eq!(total(i128::from(i64::MIN), &[i64::MIN], i128::from(i64::MIN) * 2), Total::Reached);
    }
}
