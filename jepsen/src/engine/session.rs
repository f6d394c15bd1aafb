//! The four session guarantees, by what reads showed.
//!
//! Terry, Demers, Petersen, Spreitzer, Theimer and Welch (*Session Guarantees for Weakly Consistent Replicated Data*,
//! 1994) say which writes a read must know: its session's own (read your writes), those that its session's reads knew
//! (monotonic reads), and with each write those that the writer's session had written (monotonic writes) or read (writes
//! follow reads) before. A read of one value shows the last write, in an order that all agree on, of those to its key
//! that it knows; a session's own writes to a key are in that order as it issued them. What a single read shows never
//! contradicts the last two guarantees alone, since nobody knows what else it knew; so they are judged together with
//! monotonic reads, and writes follow reads with monotonic writes too, as causal convergence of a history whose sessions
//! are taken apart. [`decide`] is exact in this sense: a finding shows that no order and no knowledge fits, and without one
//! there are some that do. Only a write of unknown outcome after which its session went on may be taken
//! to come after less than it did.

use super::causal::{self, Access, Act, Budget, Edge, Finding, Limit, Pattern, Proof, Why};
use super::graph::Graph;
use super::quick::QuickMap;

/// What breaks each guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// A read does not know an earlier write of its session.
    pub(crate) read_your_writes: Vec<Finding>,
    /// A read does not know what an earlier read of its session showed.
    pub(crate) monotonic_reads: Vec<Finding>,
    /// The same, of a write and what its session wrote before; none if it cannot be told apart from monotonic reads.
    pub(crate) monotonic_writes: Option<Result<Vec<Finding>, Limit>>,
    /// The same, of a write and what its session read before; none if it cannot be told apart from those.
    pub(crate) writes_follow_reads: Option<Result<Vec<Finding>, Limit>>,
    /// How many pairs of writes had to be in an order that only a read tells, for the first two guarantees.
    pub(crate) orders: [usize; 2],
}

/// Decides which guarantees the accesses keep. A write that comes after an access of another session is taken for
/// one of unknown outcome of that session.
pub(crate) fn decide(accesses: &[Access], budget: Budget) -> Answer {
    let (read_your_writes, by_writes) = own(accesses, budget.findings_max, true);
    let (monotonic_reads, by_reads) = own(accesses, budget.findings_max, false);
    let mut answer = Answer {
        read_your_writes,
        monotonic_reads,
        monotonic_writes: None,
        writes_follow_reads: None,
        orders: [by_writes, by_reads],
    };
    if answer.monotonic_reads.is_empty() {
        let found = together(accesses, budget, false);
        let is_kept = found.as_ref().is_ok_and(Vec::is_empty);
        answer.monotonic_writes = Some(found);
        if is_kept {
            answer.writes_follow_reads = Some(together(accesses, budget, true));
        }
    }
    answer
}

const NONE: u32 = u32::MAX;

/// Judges what a session must know of a key by itself: by its writes, or else by its reads. Also returns how many pairs
/// of writes must be in an order that only reads tell.
fn own(accesses: &[Access], findings_max: usize, by_writes: bool) -> (Vec<Finding>, usize) {
    let mut latest: QuickMap<(u32, u32), u32> = QuickMap::default();
    let mut wrote: QuickMap<(u32, u32), u32> = QuickMap::default();
    let mut findings = Vec::new();
    // Of each: a write before another one, and the accesses of one session that show it.
    let mut edges: Vec<(u32, u32, u32, u32)> = Vec::new();
    for (number, access) in (0u32..).zip(accesses) {
        let place = (access.session, access.key);
        let before = latest.get(&place).copied();
        let write = before.map(|before| shown(accesses, before));
        match access.act {
            Act::Write | Act::WriteAfter(_) => {
                if let Some(write) = wrote.insert(place, number) {
                    edges.push((write, number, write, number));
                }
                if by_writes {
                    latest.insert(place, number);
                }
            }
            Act::ReadInitial => {
                if let (Some(before), true) = (before, findings.len() < findings_max) {
                    findings.push(missed(accesses, before, number));
                }
            }
            Act::Read(from) => {
                if let (Some(before), Some(write)) = (before, write)
                    && write != from
                {
                    edges.push((write, from, before, number));
                }
                if !by_writes {
                    latest.insert(place, number);
                }
            }
        }
    }
    edges.sort_unstable();
    edges.dedup_by_key(|edge| (edge.0, edge.1));
    let graph = Graph::new(accesses.len(), edges.iter().map(|edge| (edge.0, edge.1)));
    let cycles = graph.cycles(&graph.components(), findings_max, |_, _| false);
    findings.extend(cycles.iter().map(|cycle| disagreement(accesses, cycle, &edges)));
    let told_by_reads = edges.iter().filter(|edge| edge.3 != edge.1).count();
    (findings, told_by_reads)
}

/// The write itself, or the one that a read shows.
fn shown(accesses: &[Access], access: u32) -> u32 {
    match accesses[access as usize].act {
        Act::Read(from) => from,
        _ => access,
    }
}

/// From a write to an access of a session that knows it, and on to a later access of the session.
fn way(accesses: &[Access], before: u32, after: u32) -> Vec<Edge> {
    let write = shown(accesses, before);
    let read = (write != before).then_some(Edge { from: write, to: before, why: Why::ReadFrom });
    read.into_iter().chain([Edge { from: before, to: after, why: Why::Program }]).collect()
}

fn missed(accesses: &[Access], before: u32, read: u32) -> Finding {
    let path = way(accesses, before, read);
    Finding { pattern: Pattern::WriteCoInitRead, path, via: None, proofs: Vec::new() }
}

fn disagreement(accesses: &[Access], cycle: &[u32], edges: &[(u32, u32, u32, u32)]) -> Finding {
    let mut finding = Finding { pattern: Pattern::CyclicCf, path: Vec::new(), via: None, proofs: Vec::new() };
    for (from, to) in cycle.iter().copied().zip(cycle.iter().copied().cycle().skip(1)) {
        let at = edges.partition_point(|edge| (edge.0, edge.1) < (from, to));
        let Some((_, _, before, after)) = edges.get(at).copied() else { continue };
        if after == to {
            finding.path.push(Edge { from, to, why: Why::Program });
        } else {
            finding.path.push(Edge { from, to, why: Why::Conflict(after) });
            finding.proofs.push(Proof { from, to, path: way(accesses, before, after) });
        }
    }
    finding
}

/// Judges monotonic reads and monotonic writes together, and writes follow reads if asked: the reads of a session are
/// one session and its writes another, each of which comes after the reads before it or does not.
fn together(accesses: &[Access], budget: Budget, follow: bool) -> Result<Vec<Finding>, Limit> {
    // The last write and the last read of each session, up to each access; a write of unknown outcome continues none.
    let mut latest: Vec<(u32, u32)> = Vec::with_capacity(accesses.len());
    let mut of_session: QuickMap<u32, (u32, u32)> = QuickMap::default();
    let mut apart = Vec::with_capacity(accesses.len());
    for (number, access) in (0u32..).zip(accesses) {
        let (write, read) = match access.act {
            Act::WriteAfter(other) => latest.get(other as usize).copied().unwrap_or((NONE, NONE)),
            _ => of_session.get(&access.session).copied().unwrap_or((NONE, NONE)),
        };
        let after = |other: u32| if other == NONE { Act::Write } else { Act::WriteAfter(other) };
        let is_read = matches!(access.act, Act::Read(_) | Act::ReadInitial);
        let act = match access.act {
            Act::Read(_) | Act::ReadInitial => access.act,
            Act::Write => after(if follow { read } else { NONE }),
            // Only one of them can be said, and the later one says more.
            Act::WriteAfter(_) if follow && read != NONE && (write == NONE || read > write) => after(read),
            Act::WriteAfter(_) => after(write),
        };
        apart.push(Access { session: 2 * access.session + u32::from(!is_read), key: access.key, act });
        let now = if is_read { (write, number) } else { (number, read) };
        latest.push(now);
        of_session.insert(access.session, now);
    }
    let answer = causal::decide(&apart, Budget { clock_words_max: 0, ..budget });
    let mut findings = answer.causal?;
    findings.extend(answer.convergent?);
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    const BUDGET: Budget = Budget {
        orders_max: 16,
        conflicts_max: 1 << 24,
        clock_words_max: 0,
        steps_max: 0,
        deadline: None,
        findings_max: 20,
    };

    fn random_accesses(random: &mut Random) -> Vec<Access> {
        let sessions = 1 + random.below(3);
        let keys = 1 + random.below(2);
        let count = 3 + random.below(9);
        let initial_percent = [0, 5, 30][random.below(3) as usize];
        let mut accesses: Vec<Access> = Vec::new();
        for at in 0..count {
            let (session, key) = (random.below(sessions), random.below(keys));
            let writes: Vec<u32> = (0..at)
                .filter(|write| {
                    accesses[*write as usize]
                        == Access { session: accesses[*write as usize].session, key, act: Act::Write }
                })
                .collect();
            let is_full = accesses.iter().filter(|access| access.act == Act::Write).count() == 5;
            let act = match random.below(5) {
                0 | 1 if !is_full => Act::Write,
                _ if writes.is_empty() || random.below(100) < initial_percent => Act::ReadInitial,
                _ => Act::Read(writes[random.below(writes.len() as u32) as usize]),
            };
            accesses.push(Access { session, key, act });
        }
        accesses
    }

    /// Whether there is an order of all writes in which each read shows the last that it must know, where `knows`
    /// closes over what comes right before what, and `keeps` says which writes must be in order.
    fn exists_order(
        accesses: &[Access],
        before: impl Fn(usize, usize) -> bool,
        keeps: impl Fn(usize, usize) -> bool,
    ) -> bool {
        fn go(order: &mut Vec<usize>, left: &mut Vec<usize>, is_good: &dyn Fn(&[usize]) -> bool) -> bool {
            if left.is_empty() {
                return is_good(order);
            }
            (0..left.len()).any(|at| {
                let write = left.remove(at);
                order.push(write);
                let found = go(order, left, is_good);
                order.pop();
                left.insert(at, write);
                found
            })
        }
        let count = accesses.len();
        let mut known: Vec<Vec<bool>> = (0..count)
            .map(|a| (0..count).map(|b| accesses[b].act == Act::Read(a as u32) || before(a, b)).collect())
            .collect();
        for _ in 0..count {
            for a in 0..count {
                for b in 0..count {
                    known[a][b] |= (0..count).any(|middle| known[a][middle] && known[middle][b]);
                }
            }
        }
        let mut writes: Vec<usize> = (0..count).filter(|a| accesses[*a].act == Act::Write).collect();
        let is_good = |order: &[usize]| {
            let rank = |write: usize| order.iter().position(|other| *other == write).unwrap();
            let ordered = order
                .iter()
                .all(|a| order.iter().all(|b| !(keeps(*a, *b) || known[*a][*b]) || rank(*a) < rank(*b)));
            ordered
                && (0..count).all(|read| {
                    let mut must = order
                        .iter()
                        .copied()
                        .filter(|write| known[*write][read] && accesses[*write].key == accesses[read].key);
                    match accesses[read].act {
                        Act::Read(from) => must.all(|write| rank(write) <= rank(from as usize)),
                        Act::ReadInitial => must.next().is_none(),
                        Act::Write | Act::WriteAfter(_) => true,
                    }
                })
        };
        go(&mut Vec::new(), &mut writes, &is_good)
    }

    #[test]
    fn each_guarantee_agrees_with_trying_every_order_of_the_writes() {
        let seed = 0x5eed_0031;
        let mut random = Random(seed);
        let mut verdicts = [[0u32; 2]; 4];
        let rounds = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
        for round in 0..rounds {
            let accesses = random_accesses(&mut random);
            let tell = || format!("seed {seed:#x} round {round}: {accesses:#?}");
            let same = |a: usize, b: usize| a < b && accesses[a].session == accesses[b].session;
            let writes = |a: usize| accesses[a].act == Act::Write;
            let no = |_: usize, _: usize| false;
            let own_order = |a: usize, b: usize| {
                same(a, b) && writes(a) && writes(b) && accesses[a].key == accesses[b].key
            };
            // Knowledge is not handed on here: what a read of another session knew does not matter.
            let expected = [
                exists_order(&accesses, |a, b| same(a, b) && writes(a) && !writes(b), own_order),
                exists_order(&accesses, |a, b| same(a, b) && !writes(a) && !writes(b), own_order),
                exists_order(&accesses, |a, b| same(a, b) && writes(a) == writes(b), no),
                exists_order(&accesses, |a, b| same(a, b) && (writes(b) || !writes(a)), no),
            ];
            let answer = decide(&accesses, BUDGET);
            let is_kept =
                |found: Option<Result<Vec<Finding>, Limit>>| found.map(|found| found.unwrap().is_empty());
            assert_eq!(answer.read_your_writes.is_empty(), expected[0], "{}", tell());
            assert_eq!(answer.monotonic_reads.is_empty(), expected[1], "{}", tell());
            assert_eq!(is_kept(answer.monotonic_writes), expected[1].then_some(expected[2]), "{}", tell());
            assert_eq!(is_kept(answer.writes_follow_reads), expected[2].then_some(expected[3]), "{}", tell());
            for (counts, is_kept) in verdicts.iter_mut().zip(expected) {
                counts[usize::from(is_kept)] += 1;
            }
            for finding in answer.read_your_writes.iter().chain(&answer.monotonic_reads) {
                let proved = |from, to, read| {
                    finding.proofs.iter().any(|proof| {
                        (proof.from, proof.to) == (from, to)
                            && accesses[read as usize].act == Act::Read(to)
                            && proof.path.last().is_some_and(|last| last.to == read)
                    })
                };
                for edge in finding.path.iter().chain(finding.proofs.iter().flat_map(|proof| &proof.path)) {
                    let holds = match edge.why {
                        Why::Program => same(edge.from as usize, edge.to as usize),
                        Why::ReadFrom => accesses[edge.to as usize].act == Act::Read(edge.from),
                        Why::Conflict(read) => proved(edge.from, edge.to, read),
                    };
                    assert!(holds, "{finding:?} {}", tell());
                }
            }
        }
        assert!(verdicts.iter().flatten().all(|count| *count > rounds / 10), "one-sided: {verdicts:?}");
    }
}
