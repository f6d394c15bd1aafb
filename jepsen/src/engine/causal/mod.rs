//! Causal consistency of reads and writes whose values tell them apart.
//!
//! Each read names the write that it shows, or the initial value. Then causal consistency is the absence of a few bad
//! patterns (Bouajjani, Enea, Guerraoui and Hamza, *On Verifying Causal Consistency*, 2017). Causal order is the
//! closure of program order (of each session) and of "read from". CC forbids a cycle in it, a read of the initial
//! value after a write of its key, and a read of a write that another write of the key, itself before the read, comes
//! after. CCv, convergence, also forbids a cycle of causal order and conflict order: a write that is before a read of
//! another write of its key is arbitrated before that one. CM, causal memory, forbids in addition to CC that the order
//! which the reads of one session force on the writes that it knows has a cycle or hides the initial value.
//!
//! CC and CCv take a few walks in causal order with a clock for each session, and for a write only while it has
//! readers to come: what each access knows of each session is one number. The walks look for an order of all accesses
//! that neither causal order nor any conflict contradicts; where there is one both rules are kept, and else only the
//! conflicts in its circles are looked at. For CM only the writes that a session reads can gain predecessors, so each session
//! needs clocks for those alone. Its fixpoint, the edges and the memory have budgets, beyond which the answer is unknown.

mod clocks;
mod conflicts;
mod memory;
mod net;
mod verdicts;

use std::time::Instant;

use memory::Memory;
use net::Net;
use verdicts::Verdicts;

/// A read or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Whose it is. The accesses of a session are in program order.
    pub(crate) session: u32,
    /// Of which key.
    pub(crate) key: u32,
    /// What it does.
    pub(crate) act: Act,
}

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Writes a value that no other access writes.
    Write,
    /// The same, and in program order also after the access at this place of the input, of another session.
    WriteAfter(u32),
    /// Shows the value of the write of its key that is at this place of the input.
    Read(u32),
    /// Shows the initial value of its key.
    ReadInitial,
}

/// How much a decision may spend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Orders of all accesses that are tried before all conflicts are kept, for CC and CCv.
    pub(crate) orders_max: u32,
    /// Conflicts kept, for CC and CCv.
    pub(crate) conflicts_max: usize,
    /// Numbers kept in clocks of writes, for CM.
    pub(crate) clock_words_max: usize,
    /// Clocks compared, for CM.
    pub(crate) steps_max: u64,
    /// When to stop with CM in any case.
    pub(crate) deadline: Option<Instant>,
    /// Findings that are told for each rule; all others are left out.
    pub(crate) findings_max: usize,
}

/// How a rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pattern {
    /// Causal order has a cycle.
    CyclicCo,
    /// A read shows the initial value though a write of its key is before it.
    WriteCoInitRead,
    /// A read shows a write though another write of its key is after that one and before the read.
    WriteCoRead,
    /// Causal order and conflict order have a cycle.
    CyclicCf,
    /// A read shows the initial value though a write of its key must be before it for its session.
    WriteHbInitRead,
    /// The order that a session's reads force has a cycle.
    CyclicHb,
}

/// Why an access is before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is earlier in the same session, or said to be earlier in program order.
    Program,
    /// The other one reads it.
    ReadFrom,
    /// Both write a key, and it is before this read of the other.
    Conflict(u32),
}

/// One access before another, by their places in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The earlier one.
    pub(crate) from: u32,
    /// The later one.
    pub(crate) to: u32,
    /// Why.
    pub(crate) why: Why,
}

/// One place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// In which way.
    pub(crate) pattern: Pattern,
    /// A cycle, or the way from the write to the read that shows the initial value, or from the write that is read to
    /// the read by way of the other write of the key (`via`).
    pub(crate) path: Vec<Edge>,
    /// The write in between, of a [`Pattern::WriteCoRead`].
    pub(crate) via: Option<u32>,
    /// For each conflict in the path or in another proof, the way from its first write to the read that shows the
    /// second; each uses only conflicts proved before it.
    pub(crate) proofs: Vec<Proof>,
}

/// Why one write is in conflict order before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// The first write.
    pub(crate) from: u32,
    /// The second write.
    pub(crate) to: u32,
    /// The way from the first write to a read of the second.
    pub(crate) path: Vec<Edge>,
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The conflicts.
    Conflicts,
    /// The numbers in clocks.
    ClockWords,
    /// The steps.
    Steps,
    /// The time.
    Time,
}

/// What breaks each rule; nothing if it is kept. CCv and CM are also broken by whatever breaks CC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What breaks CC.
    pub(crate) causal: Result<Vec<Finding>, Limit>,
    /// What breaks CCv and not CC.
    pub(crate) convergent: Result<Vec<Finding>, Limit>,
    /// What breaks CM and not CC; asked only if CC is kept.
    pub(crate) memory: Result<Vec<Finding>, Limit>,
}

/// Decides whether the accesses are causally consistent. The sessions and keys are numbered from 0 without large gaps.
pub(crate) fn decide(accesses: &[Access], budget: Budget) -> Answer {
    let net = Net::new(accesses);
    let found = match conflicts::suspects(&net, budget) {
        Ok(found) => found,
        // The rest of the history was not looked at, and CM rests on CC.
        Err(limit) => {
            return Answer { causal: Err(limit), convergent: Err(limit), memory: Err(limit) };
        }
    };
    let mut causal = Vec::new();
    let mut convergent = Vec::new();
    let mut memory = Ok(Vec::new());
    if found.stuck || !found.hidden.is_empty() || !found.edges.is_empty() {
        Verdicts::new(&net, budget.findings_max).judge(found, &mut causal, &mut convergent);
    }
    if causal.is_empty() {
        memory = Memory::judge(&net, budget);
    }
    Answer { causal: Ok(causal), convergent: Ok(convergent), memory }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    const BUDGET: Budget = Budget {
        orders_max: 16,
        conflicts_max: 1 << 24,
        clock_words_max: 1 << 26,
        steps_max: 1 << 32,
        deadline: None,
        findings_max: 20,
    };

    /// Accesses of a few sessions that show a recent write of their key, or any.
    fn random_accesses(random: &mut Random) -> Vec<Access> {
        let sessions = 1 + random.below(4);
        let keys = 1 + random.below(3);
        let count = 2 + random.below(11);
        let wild_percent = [0, 0, 10, 50][random.below(4) as usize];
        let initial_percent = [0, 5, 30][random.below(3) as usize];
        let reads_percent = 40 + random.below(30);
        let mut accesses: Vec<Access> = Vec::new();
        for _ in 0..count {
            let act = if random.below(100) < reads_percent { Act::ReadInitial } else { Act::Write };
            accesses.push(Access { session: random.below(sessions), key: random.below(keys), act });
        }
        for at in 0..accesses.len() {
            let Access { key, act: Act::ReadInitial, .. } = accesses[at] else { continue };
            let is_wild = random.below(100) < wild_percent;
            let mut writes: Vec<usize> = (0..accesses.len())
                .filter(|other| is_write_of(&accesses[*other], key))
                .filter(|other| is_wild || *other < at)
                .collect();
            if !is_wild {
                writes = writes.split_off(writes.len().saturating_sub(3));
            }
            if !writes.is_empty() && random.below(100) >= initial_percent {
                accesses[at].act = Act::Read(writes[random.below(writes.len() as u32) as usize] as u32);
            }
        }
        if random.below(3) == 0 {
            let at = random.below(count) as usize;
            let after = random.below(if wild_percent > 0 { count } else { at as u32 + 1 });
            if accesses[at].act == Act::Write && after as usize != at {
                accesses[at].act = Act::WriteAfter(after);
            }
        }
        accesses
    }

    /// A session that twice reads one write, and the initial value of another key in between, while a second session
    /// overwrites both keys: too rare to wait for. A few accesses more, at any place, may hide or heal it.
    fn nearly_hidden(random: &mut Random) -> Vec<Access> {
        let access = |session, key, act| Access { session, key, act };
        let (write, initial) = (Act::Write, Act::ReadInitial);
        let mut accesses = vec![
            access(1, 0, write),
            access(1, 1, write),
            access(1, 0, write),
            access(2, 1, write),
            access(0, 1, Act::Read(3)),
            access(0, 0, initial),
            access(0, 0, Act::Read(2)),
            access(0, 1, Act::Read(3)),
        ];
        for _ in 0..random.below(4) {
            let place = random.below(accesses.len() as u32 + 1);
            for access in &mut accesses {
                if let Act::Read(write) = &mut access.act {
                    *write += u32::from(*write >= place);
                }
            }
            let act = if random.below(2) == 0 { write } else { initial };
            accesses.insert(place as usize, access(random.below(4), random.below(2), act));
        }
        accesses
    }

    /// A relation as rows of bits: bit b of row a says that a is before b.
    type Relation = Vec<u32>;

    fn close(relation: &mut Relation) {
        for middle in 0..relation.len() {
            for row in 0..relation.len() {
                if relation[row] >> middle & 1 == 1 {
                    relation[row] |= relation[middle];
                }
            }
        }
    }

    fn has(relation: &Relation, a: usize, b: usize) -> bool {
        relation[a] >> b & 1 == 1
    }

    fn is_write(access: &Access) -> bool {
        matches!(access.act, Act::Write | Act::WriteAfter(_))
    }

    fn is_write_of(access: &Access, key: u32) -> bool {
        is_write(access) && access.key == key
    }

    fn program(accesses: &[Access], a: usize, b: usize) -> bool {
        a < b && accesses[a].session == accesses[b].session
    }

    /// The definitions themselves, by closure of relations.
    struct Definition<'a> {
        accesses: &'a [Access],
        co: Relation,
    }

    impl<'a> Definition<'a> {
        fn new(accesses: &'a [Access]) -> Self {
            let mut co: Relation = vec![0; accesses.len()];
            for (b, access) in accesses.iter().enumerate() {
                for (a, row) in co.iter_mut().enumerate() {
                    if program(accesses, a, b)
                        || [Act::Read(a as u32), Act::WriteAfter(a as u32)].contains(&access.act)
                    {
                        *row |= 1 << b;
                    }
                }
            }
            close(&mut co);
            Definition { accesses, co }
        }

        fn all(&self) -> std::ops::Range<usize> {
            0..self.accesses.len()
        }

        fn writes(&self, key: u32) -> impl Iterator<Item = usize> + '_ {
            self.all().filter(move |write| is_write_of(&self.accesses[*write], key))
        }

        fn cyclic(&self, relation: &Relation) -> bool {
            self.all().any(|a| has(relation, a, a))
        }

        fn init_read(&self, relation: &Relation, read: usize) -> bool {
            let access = self.accesses[read];
            access.act == Act::ReadInitial && self.writes(access.key).any(|write| has(relation, write, read))
        }

        fn co_read(&self, read: usize) -> bool {
            let Access { key, act: Act::Read(w1), .. } = self.accesses[read] else { return false };
            let w1 = w1 as usize;
            self.writes(key).any(|w2| w2 != w1 && has(&self.co, w1, w2) && has(&self.co, w2, read))
        }

        fn is_causal(&self) -> bool {
            !self.cyclic(&self.co)
                && !self.all().any(|read| self.init_read(&self.co, read) || self.co_read(read))
        }

        fn is_conflict(&self, w1: usize, w2: usize) -> bool {
            let shows = |read: &usize| self.accesses[*read].act == Act::Read(w2 as u32);
            w1 != w2
                && is_write_of(&self.accesses[w1], self.accesses[w2].key)
                && self.all().filter(shows).any(|read| has(&self.co, w1, read))
        }

        fn is_convergent(&self) -> bool {
            let mut all = self.co.clone();
            for w1 in self.all() {
                for w2 in self.all().filter(|w2| self.is_conflict(w1, *w2)) {
                    all[w1] |= 1 << w2;
                }
            }
            close(&mut all);
            self.is_causal() && !self.cyclic(&all)
        }

        /// What happened before, for one access.
        fn happened_before(&self, last: usize) -> Relation {
            let past: u32 =
                self.all().filter(|a| *a == last || has(&self.co, *a, last)).map(|a| 1 << a).sum();
            let mut hb: Relation =
                self.all().map(|a| if past >> a & 1 == 1 { self.co[a] & past } else { 0 }).collect();
            loop {
                let before = hb.clone();
                for read in self.all().filter(|read| *read == last || program(self.accesses, *read, last)) {
                    let Access { key, act: Act::Read(w2), .. } = self.accesses[read] else { continue };
                    for w1 in self.writes(key).filter(|w1| *w1 != w2 as usize) {
                        if has(&hb, w1, read) {
                            hb[w1] |= 1 << w2;
                        }
                    }
                }
                close(&mut hb);
                if hb == before {
                    return hb;
                }
            }
        }

        fn is_memory(&self) -> bool {
            self.is_causal()
                && self.all().all(|last| {
                    let hb = self.happened_before(last);
                    let earlier = |read: &usize| *read == last || program(self.accesses, *read, last);
                    !self.cyclic(&hb) && !self.all().filter(earlier).any(|read| self.init_read(&hb, read))
                })
        }

        /// Whether every edge and every proof of a finding says what is so.
        fn is_proof(&self, finding: &Finding) -> bool {
            let edge_holds = |edge: &Edge, proved: &[Proof]| {
                let (from, to) = (edge.from as usize, edge.to as usize);
                match edge.why {
                    Why::Program => {
                        program(self.accesses, from, to)
                            || self.accesses[to].act == Act::WriteAfter(edge.from)
                    }
                    Why::ReadFrom => self.accesses[to].act == Act::Read(edge.from),
                    Why::Conflict(read) => proved.iter().any(|proof| {
                        (proof.from, proof.to) == (edge.from, edge.to)
                            && proof.path.last().is_some_and(|last| last.to == read)
                    }),
                }
            };
            let joined = |path: &[Edge]| path.windows(2).all(|pair| pair[0].to == pair[1].from);
            let proved = finding.proofs.iter().enumerate().all(|(at, proof)| {
                let (first, last) = (proof.path.first().unwrap(), proof.path.last().unwrap());
                let keys = self.accesses[proof.from as usize].key == self.accesses[proof.to as usize].key;
                keys && proof.from != proof.to
                    && first.from == proof.from
                    && self.accesses[last.to as usize].act == Act::Read(proof.to)
                    && joined(&proof.path)
                    && proof.path.iter().all(|edge| edge_holds(edge, &finding.proofs[..at]))
            });
            let (first, last) = (finding.path.first().unwrap(), finding.path.last().unwrap());
            let (begin, end) = (self.accesses[first.from as usize], self.accesses[last.to as usize]);
            let only_co = finding.path.iter().all(|edge| !matches!(edge.why, Why::Conflict(_)));
            let fits = match finding.pattern {
                Pattern::CyclicCo => first.from == last.to && only_co,
                Pattern::CyclicCf | Pattern::CyclicHb => first.from == last.to && !only_co,
                Pattern::WriteCoInitRead => {
                    is_write_of(&begin, end.key) && end.act == Act::ReadInitial && only_co
                }
                Pattern::WriteHbInitRead => {
                    is_write_of(&begin, end.key) && end.act == Act::ReadInitial && !only_co
                }
                Pattern::WriteCoRead => {
                    let via = finding.via.unwrap();
                    end.act == Act::Read(first.from)
                        && is_write_of(&self.accesses[via as usize], end.key)
                        && finding.path[1..].iter().any(|edge| edge.from == via)
                        && only_co
                }
            };
            proved
                && fits
                && joined(&finding.path)
                && finding.path.iter().all(|edge| edge_holds(edge, &finding.proofs))
        }
    }

    /// Sessions that write a key at once and read it over and over.
    fn crowd(sessions: u32, reads: u32) -> Vec<Access> {
        let access = |session, act| Access { session, key: 0, act };
        let mut accesses: Vec<Access> = (0..sessions).map(|session| access(session, Act::Write)).collect();
        for read in 0..reads * sessions {
            let write = (read / sessions).min(sessions - 1);
            accesses.push(access(read % sessions, Act::Read(write)));
        }
        accesses
    }

    #[test]
    fn what_a_write_comes_after_counts_for_its_session_in_causal_memory() {
        let access = |session, key, act| Access { session, key, act };
        let accesses = [
            access(1, 0, Act::Write),
            access(2, 0, Act::Write),
            access(0, 1, Act::WriteAfter(0)),
            access(0, 0, Act::Read(1)),
            access(0, 0, Act::Read(0)),
        ];
        let definition = Definition::new(&accesses);
        assert!(definition.is_causal() && !definition.is_memory());
        let findings = decide(&accesses, BUDGET).memory.unwrap();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].pattern == Pattern::CyclicHb && definition.is_proof(&findings[0]));
    }

    #[test]
    fn each_budget_stops_what_it_bounds_and_nothing_else() {
        let accesses = crowd(20, 10);
        let conflicts = decide(&accesses, Budget { conflicts_max: 3, ..BUDGET });
        assert_eq!(conflicts.convergent, Err(Limit::Conflicts));
        for (budget, limit) in [
            (Budget { clock_words_max: 20, ..BUDGET }, Limit::ClockWords),
            (Budget { steps_max: 5, ..BUDGET }, Limit::Steps),
            (Budget { deadline: Some(Instant::now()), ..BUDGET }, Limit::Time),
        ] {
            let answer = decide(&accesses, budget);
            assert_eq!(answer.memory, Err(limit));
            assert!(answer.causal.is_ok() && answer.convergent.is_ok());
        }
        let all = decide(&accesses, BUDGET);
        assert!(all.causal.is_ok_and(|found| found.is_empty()) && all.memory.is_ok());
    }

    #[test]
    fn no_more_findings_are_told_than_asked_for() {
        // Every session reads the initial value after its own write, of a key of its own.
        let accesses: Vec<Access> = (0..60)
            .map(|at| Access {
                session: at / 2,
                key: at / 2,
                act: [Act::Write, Act::ReadInitial][at as usize % 2],
            })
            .collect();
        for findings_max in [1, 7] {
            let answer = decide(&accesses, Budget { findings_max, ..BUDGET });
            assert_eq!(answer.causal.map(|found| found.len()), Ok(findings_max));
        }
    }

    #[test]
    fn each_rule_agrees_with_its_definition_and_each_finding_is_a_proof() {
        let seed = 0x5eed_0021;
        let mut random = Random(seed);
        let mut verdicts = [[0u32; 2]; 3];
        let mut patterns = [0u32; 6];
        let rounds = if cfg!(debug_assertions) { 30_000 } else { 200_000 };
        for round in 0..rounds {
            let accesses =
                if round % 50 == 0 { nearly_hidden(&mut random) } else { random_accesses(&mut random) };
            let definition = Definition::new(&accesses);
            // With one order all conflicts are looked at as soon as a read contradicts it.
            let answer = decide(&accesses, Budget { orders_max: 1 + round % 3 * 8, ..BUDGET });
            let (causal, convergent) = (answer.causal.unwrap(), answer.convergent.unwrap());
            let memory = answer.memory.unwrap();
            let tell = || format!("seed {seed:#x} round {round}: {accesses:#?}");
            let found = [
                causal.is_empty(),
                causal.is_empty() && convergent.is_empty(),
                causal.is_empty() && memory.is_empty(),
            ];
            let expected = [definition.is_causal(), definition.is_convergent(), definition.is_memory()];
            assert_eq!(found, expected, "{}", tell());
            for (counts, is_kept) in verdicts.iter_mut().zip(expected) {
                counts[usize::from(is_kept)] += 1;
            }
            for finding in causal.iter().chain(&convergent).chain(&memory) {
                assert!(definition.is_proof(finding), "{finding:#?} {}", tell());
                patterns[finding.pattern as usize] += 1;
            }
        }
        assert!(verdicts.iter().flatten().all(|count| *count > rounds / 5), "one-sided: {verdicts:?}");
        assert!(patterns.iter().all(|count| *count > rounds / 1_000), "a pattern is too rare: {patterns:?}");
    }
}
