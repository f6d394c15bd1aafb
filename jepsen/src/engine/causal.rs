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
//! CC and CCv take one walk in causal order with a clock for each session, and for a write only while it has
//! readers to come: what each access knows of each session is one number. Accesses are numbered session after session,
//! so a clock says of each session the number below which its accesses are known. Only conflicts that causal
//! order does not imply become edges; if they make no cycle with causal order both rules are kept, and if they do a second
//! walk tells those that break CC. For CM only the writes that a session reads can gain predecessors, so each session
//! needs clocks for those alone. Its fixpoint, the edges and the memory have budgets, beyond which the answer is unknown.

use std::time::Instant;

use super::graph::Graph;

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
    let mut conflicts = Conflicts::new(&net, budget);
    let stuck = net.walk(|access, clock, shown| conflicts.visit(access, clock, shown));
    let (hidden, edges) = match conflicts.finish() {
        Ok(found) => found,
        // The rest of the history was not looked at, and CM rests on CC.
        Err(limit) => {
            return Answer { causal: Err(limit), convergent: Err(limit), memory: Err(limit) };
        }
    };
    let mut causal = Vec::new();
    let mut convergent = Vec::new();
    let mut memory = Ok(Vec::new());
    if stuck || !hidden.is_empty() || !edges.is_empty() {
        Verdicts::new(&net, budget.findings_max).judge(stuck, &hidden, &edges, &mut causal, &mut convergent);
    }
    drop(edges);
    if causal.is_empty() {
        memory = Memory::judge(&net, budget);
    }
    Answer { causal: Ok(causal), convergent: Ok(convergent), memory }
}

const NONE: u32 = u32::MAX;
/// Instead of what an access reads from.
const WRITES: u32 = u32::MAX;
const INITIAL: u32 = u32::MAX - 1;

/// The writes of one session to one key, by their numbers in `Net::writes`.
#[derive(Clone, Copy)]
struct Run {
    column: u32,
    /// The first of them, so that most questions are answered here.
    first: u32,
    start: u32,
    end: u32,
}

/// The accesses, numbered session after session, each session's in program order.
struct Net {
    /// Where each session begins, and where the last one ends.
    starts: Vec<u32>,
    session: Vec<u32>,
    key: Vec<u32>,
    /// The write that it shows, or what it is instead.
    from: Vec<u32>,
    /// The access of another session that it comes after: what it reads from, as a rule.
    cause: Vec<u32>,
    /// Its place in the input.
    place: Vec<u32>,
    /// How many accesses it is the cause of.
    effects: Vec<u32>,
    /// The place of each session in clocks; none for those that write nothing.
    column: Vec<u32>,
    columns: usize,
    /// The session of each column.
    session_of: Vec<u32>,
    /// Writes, sorted by key and number.
    writes: Vec<u32>,
    runs: Vec<Run>,
    /// Where each key's runs begin, and where the last one's end.
    run_starts: Vec<u32>,
    /// The number of each place of the input.
    number: Vec<u32>,
}

/// For numbers sorted into groups: where each group begins, and where the last one ends.
fn starts_of(groups: impl Iterator<Item = u32> + Clone) -> Vec<u32> {
    let count = groups.clone().max().map_or(0, |group| group as usize + 1);
    let mut starts = vec![0; count + 1];
    groups.for_each(|group| starts[group as usize + 1] += 1);
    for group in 0..count {
        starts[group + 1] += starts[group];
    }
    starts
}

impl Net {
    fn new(accesses: &[Access]) -> Self {
        let starts = starts_of(accesses.iter().map(|access| access.session));
        let mut next = starts.clone();
        let mut place = vec![0; accesses.len()];
        let mut number = vec![0; accesses.len()];
        for (at, access) in (0u32..).zip(accesses) {
            let next = &mut next[access.session as usize];
            place[*next as usize] = at;
            number[at as usize] = *next;
            *next += 1;
        }
        let sorted = || place.iter().map(|at| accesses[*at as usize]);
        let from: Vec<u32> = sorted()
            .map(|access| match access.act {
                Act::Write | Act::WriteAfter(_) => WRITES,
                Act::Read(at) => number[at as usize],
                Act::ReadInitial => INITIAL,
            })
            .collect();
        let cause: Vec<u32> = sorted()
            .map(|access| match access.act {
                Act::Read(at) | Act::WriteAfter(at) => number[at as usize],
                Act::Write | Act::ReadInitial => NONE,
            })
            .collect();
        let mut effects = vec![0; accesses.len()];
        cause.iter().filter(|cause| **cause != NONE).for_each(|cause| effects[*cause as usize] += 1);
        let mut net = Net {
            session: sorted().map(|access| access.session).collect(),
            key: sorted().map(|access| access.key).collect(),
            column: vec![NONE; starts.len() - 1],
            columns: 0,
            session_of: Vec::new(),
            writes: Vec::new(),
            runs: Vec::new(),
            run_starts: Vec::new(),
            starts,
            from,
            cause,
            place,
            effects,
            number,
        };
        net.give_columns();
        net.give_runs();
        net
    }

    fn len(&self) -> usize {
        self.place.len()
    }

    fn is_write(&self, access: u32) -> bool {
        self.from[access as usize] == WRITES
    }

    fn all_writes(&self) -> impl Iterator<Item = u32> + Clone {
        (0..self.len() as u32).filter(|access| self.is_write(*access))
    }

    fn give_columns(&mut self) {
        for access in 0..self.len() {
            let column = &mut self.column[self.session[access] as usize];
            if self.from[access] == WRITES && *column == NONE {
                *column = self.columns as u32;
                self.columns += 1;
                self.session_of.push(self.session[access]);
            }
        }
    }

    fn give_runs(&mut self) {
        let starts = starts_of(self.all_writes().map(|write| self.key[write as usize]));
        let mut next = starts.clone();
        let mut writes = vec![0; starts[starts.len() - 1] as usize];
        for write in self.all_writes() {
            let next = &mut next[self.key[write as usize] as usize];
            writes[*next as usize] = write;
            *next += 1;
        }
        self.run_starts.push(0);
        for bounds in starts.windows(2) {
            let mut start = bounds[0];
            let of_key = &writes[bounds[0] as usize..bounds[1] as usize];
            let session = |write: u32| self.session[write as usize];
            for run in of_key.chunk_by(|a, b| session(*a) == session(*b)) {
                let end = start + run.len() as u32;
                let column = self.column[session(run[0]) as usize];
                self.runs.push(Run { column, first: run[0], start, end });
                start = end;
            }
            self.run_starts.push(self.runs.len() as u32);
        }
        self.writes = writes;
    }

    /// The writes of a key, session by session.
    fn runs(&self, key: u32) -> &[Run] {
        match self.run_starts.get(key as usize..key as usize + 2) {
            Some(bounds) => &self.runs[bounds[0] as usize..bounds[1] as usize],
            None => &[],
        }
    }

    /// The last write of a run below a bound, if there is one.
    fn last_below(&self, run: &Run, bound: u32) -> Option<u32> {
        if run.first >= bound {
            return None;
        }
        let writes = &self.writes[run.start as usize..run.end as usize];
        Some(writes[writes.partition_point(|write| *write < bound) - 1])
    }

    fn column_of(&self, access: u32) -> usize {
        self.column[self.session[access as usize] as usize] as usize
    }

    /// Visits the accesses in causal order, as far as there is one, near the order of the input; with what each
    /// knows of every column, itself not included, and what its cause knows, if it has one. Returns
    /// whether some could not be visited because they are on a cycle or after one.
    fn walk(&self, mut visit: impl FnMut(u32, &[u32], &[u32])) -> bool {
        let sessions = self.column.len();
        let mut next: Vec<u32> = self.starts[..sessions].to_vec();
        let mut pool = Pool::new(self.columns);
        let mut of_session = vec![NONE; sessions];
        let mut of_cause = vec![NONE; self.len()];
        let mut effects = self.effects.clone();
        // Sessions that wait for an access: the first for each access, and the next for each session.
        let mut first_waiting = vec![NONE; self.len()];
        let mut next_waiting = vec![NONE; sessions];
        let mut is_waiting = vec![false; sessions];
        let mut ready: Vec<u32> = Vec::new();
        let mut visited = 0;
        for place in 0..self.len() as u32 {
            let session = self.session[self.number[place as usize] as usize];
            ready.extend((!is_waiting[session as usize]).then_some(session));
            while let Some(session) = ready.pop() {
                let at = session as usize;
                let column = self.column[at] as usize;
                while next[at] < self.starts[at + 1] && self.place[next[at] as usize] <= place {
                    let access = next[at];
                    let cause = self.cause[access as usize];
                    if cause != NONE && of_cause[cause as usize] == NONE {
                        next_waiting[at] = first_waiting[cause as usize];
                        first_waiting[cause as usize] = session;
                        is_waiting[at] = true;
                        break;
                    }
                    if of_session[at] == NONE {
                        of_session[at] = pool.take();
                    }
                    let clock = of_session[at];
                    if column < self.columns {
                        pool.of_mut(clock)[column] = access;
                    }
                    if cause != NONE {
                        let known = of_cause[cause as usize];
                        pool.join(clock, known);
                        if let Some(bound) = pool.of_mut(clock).get_mut(self.column_of(cause)) {
                            *bound = (*bound).max(cause + 1);
                        }
                        visit(access, pool.of(clock), pool.of(known));
                        effects[cause as usize] -= 1;
                        if effects[cause as usize] == 0 {
                            pool.give_back(known);
                        }
                    } else {
                        visit(access, pool.of(clock), &[]);
                    }
                    if effects[access as usize] > 0 {
                        of_cause[access as usize] = pool.copy(clock);
                        let mut waiting = first_waiting[access as usize];
                        while waiting != NONE {
                            is_waiting[waiting as usize] = false;
                            ready.push(waiting);
                            waiting = next_waiting[waiting as usize];
                        }
                    }
                    visited += 1;
                    next[at] += 1;
                    if next[at] == self.starts[at + 1] {
                        pool.give_back(clock);
                    }
                }
            }
        }
        visited < self.len()
    }

    /// Program order from one access to the next, and from every access's cause: causal order is their closure.
    fn causes(&self) -> impl Iterator<Item = (u32, u32)> + Clone + '_ {
        let follows = |pair: &(u32, u32)| self.session[pair.0 as usize] == self.session[pair.1 as usize];
        let program = (1..self.len() as u32).map(|access| (access - 1, access)).filter(follows);
        let others = (0..self.len() as u32).map(|access| (self.cause[access as usize], access));
        program.chain(others.filter(|(cause, _)| *cause != NONE))
    }

    fn is_program(&self, from: u32, to: u32) -> bool {
        to == from + 1 && self.session[from as usize] == self.session[to as usize]
    }
}

/// Clocks, reused when nobody needs them any more.
struct Pool {
    columns: usize,
    words: Vec<u32>,
    free: Vec<u32>,
    count: u32,
}

impl Pool {
    fn new(columns: usize) -> Self {
        Pool { columns, words: Vec::new(), free: Vec::new(), count: 0 }
    }

    /// A clock that knows nothing.
    fn take(&mut self) -> u32 {
        if let Some(clock) = self.free.pop() {
            self.of_mut(clock).fill(0);
            return clock;
        }
        self.words.resize(self.words.len() + self.columns, 0);
        self.count += 1;
        self.count - 1
    }

    fn copy(&mut self, clock: u32) -> u32 {
        let copy = self.take();
        let start = clock as usize * self.columns;
        self.words.copy_within(start..start + self.columns, copy as usize * self.columns);
        copy
    }

    fn give_back(&mut self, clock: u32) {
        self.free.push(clock);
    }

    fn of(&self, clock: u32) -> &[u32] {
        &self.words[clock as usize * self.columns..][..self.columns]
    }

    fn of_mut(&mut self, clock: u32) -> &mut [u32] {
        &mut self.words[clock as usize * self.columns..][..self.columns]
    }

    fn join(&mut self, clock: u32, other: u32) {
        let (clock, other) = (clock as usize * self.columns, other as usize * self.columns);
        if clock < other {
            let (low, high) = self.words.split_at_mut(other);
            join(&mut low[clock..][..self.columns], &high[..self.columns]);
        } else if clock > other {
            let (low, high) = self.words.split_at_mut(clock);
            join(&mut high[..self.columns], &low[other..][..self.columns]);
        }
    }
}

fn join(clock: &mut [u32], other: &[u32]) {
    for (bound, other) in clock.iter_mut().zip(other) {
        *bound = (*bound).max(*other);
    }
}

/// The first walk: reads that show the initial value and should not, and conflicts that causal order does not imply.
struct Conflicts<'a> {
    net: &'a Net,
    edges_max: usize,
    findings_max: usize,
    /// Of each: a write, and the read of the initial value after it.
    hidden: Vec<(u32, u32)>,
    /// The later write above, the earlier below.
    edges: Vec<u64>,
    /// How many edges there may be before the superfluous ones are taken out again.
    edges_next: usize,
    is_over: bool,
}

/// The reads of the initial value that should not be, each after a write; and conflicts, the later write first.
type Suspects = (Vec<(u32, u32)>, Vec<u64>);

impl<'a> Conflicts<'a> {
    fn new(net: &'a Net, budget: Budget) -> Self {
        let (edges_max, findings_max) = (budget.conflicts_max, budget.findings_max);
        let edges_next = edges_max.min(1 << 22);
        Conflicts {
            net,
            edges_max,
            findings_max,
            hidden: Vec::new(),
            edges: Vec::new(),
            edges_next,
            is_over: false,
        }
    }

    fn visit(&mut self, access: u32, clock: &[u32], shown: &[u32]) {
        let from = self.net.from[access as usize];
        if from == WRITES || self.is_over {
            return;
        }
        let runs = self.net.runs(self.net.key[access as usize]);
        if from == INITIAL {
            let known = runs.iter().find_map(|run| self.net.last_below(run, clock[run.column as usize]));
            if let Some(write) = known.filter(|_| self.hidden.len() < self.findings_max) {
                self.hidden.push((write, access));
            }
            return;
        }
        for run in runs {
            if let Some(write) = self.net.last_below(run, clock[run.column as usize])
                && write != from
                && write >= shown[run.column as usize]
            {
                self.edges.push(u64::from(from) << 32 | u64::from(write));
            }
        }
        if self.edges.len() > self.edges_next {
            self.thin_out();
            self.edges_next = self.edges_max.min(2 * self.edges.len().max(1 << 21));
            self.is_over = self.edges.len() >= self.edges_max;
        }
    }

    /// Of the writes of one session before another write, the last is enough.
    fn thin_out(&mut self) {
        let session = |write: u64| self.net.session[write as u32 as usize];
        self.edges.sort_unstable();
        self.edges.reverse();
        self.edges.dedup_by(|next, kept| *next >> 32 == *kept >> 32 && session(*next) == session(*kept));
        self.edges.reverse();
    }

    fn finish(mut self) -> Result<Suspects, Limit> {
        self.thin_out();
        match (self.is_over, self.hidden.is_empty()) {
            (true, true) => Err(Limit::Conflicts),
            // What was found is enough for every rule.
            (true, false) => Ok((self.hidden, Vec::new())),
            (false, _) => Ok((self.hidden, self.edges)),
        }
    }
}

fn conflict(edge: u64) -> (u32, u32) {
    (edge as u32, (edge >> 32) as u32)
}

/// Everything that tells what was found.
struct Verdicts<'a> {
    net: &'a Net,
    findings_max: usize,
    causes: Graph,
}

impl<'a> Verdicts<'a> {
    fn new(net: &'a Net, findings_max: usize) -> Self {
        Verdicts { net, findings_max, causes: Graph::new(net.len(), net.causes()) }
    }

    fn judge(
        &self,
        stuck: bool,
        hidden: &[(u32, u32)],
        edges: &[u64],
        causal: &mut Vec<Finding>,
        convergent: &mut Vec<Finding>,
    ) {
        let is_program = |from, to| self.net.is_program(from, to);
        if stuck {
            let cycles = self.causes.cycles(&self.causes.components(), self.findings_max, is_program);
            causal.extend(cycles.iter().map(|cycle| self.cycle(Pattern::CyclicCo, cycle)));
        }
        for (write, read) in hidden {
            causal.extend(self.way(*write, *read).map(|path| Finding {
                pattern: Pattern::WriteCoInitRead,
                path: self.edges(&path, &[]),
                via: None,
                proofs: Vec::new(),
            }));
        }
        // Without a cycle of causal order and conflicts there is nothing left to find.
        let all = self.net.causes().chain(edges.iter().map(|edge| conflict(*edge)));
        let graph = Graph::new(self.net.len(), all);
        let mut component = graph.components();
        let mut suspects: Vec<(u32, u32)> = edges.iter().map(|edge| conflict(*edge)).collect();
        suspects.retain(|(from, to)| component[*from as usize] == component[*to as usize]);
        if suspects.is_empty() {
            return;
        }
        suspects.sort_unstable();
        let mut skipped: Vec<(u32, u32)> = Vec::new();
        self.net.walk(|access, clock, _| {
            let start = suspects.partition_point(|(from, _)| *from < access);
            for (from, to) in suspects[start..].iter().take_while(|(from, _)| *from == access) {
                if *to < clock[self.net.column_of(*to)] {
                    skipped.push((*from, *to));
                }
            }
        });
        skipped.sort_unstable_by_key(|(from, to)| (*to, *from));
        skipped.dedup_by_key(|(_, to)| *to);
        let told: Vec<Finding> = skipped
            .iter()
            .take(self.findings_max)
            .filter_map(|(from, to)| self.skipped(*from, *to))
            .collect();
        causal.extend(told);
        if stuck {
            return;
        }
        // What CC already forbids need not be told once more as a cycle: a number of its own for every access there.
        let of_skipped: Vec<u32> = {
            let mut numbers: Vec<u32> = skipped.iter().map(|(from, _)| component[*from as usize]).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let count = self.net.len() as u32;
        for (access, number) in (0..).zip(&mut component) {
            if of_skipped.binary_search(number).is_ok() {
                *number = count + access;
            }
        }
        let cycles = graph.cycles(&component, self.findings_max, is_program);
        convergent.extend(cycles.iter().map(|cycle| self.cycle(Pattern::CyclicCf, cycle)));
    }

    /// A write was read although another write came between.
    fn skipped(&self, between: u32, write: u32) -> Option<Finding> {
        let mut path = self.edges(&self.way(write, between)?, &[]);
        path.extend(self.edges(&self.way_to_reader(between, write)?, &[]));
        Some(Finding {
            pattern: Pattern::WriteCoRead,
            path,
            via: Some(self.net.place[between as usize]),
            proofs: Vec::new(),
        })
    }

    fn way(&self, from: u32, to: u32) -> Option<Vec<u32>> {
        self.causes.path(from, |node| node == to, |from, to| self.net.is_program(from, to))
    }

    fn way_to_reader(&self, from: u32, write: u32) -> Option<Vec<u32>> {
        let is_reader = |node: u32| self.net.from[node as usize] == write;
        self.causes.path(from, is_reader, |from, to| self.net.is_program(from, to))
    }

    fn cycle(&self, pattern: Pattern, cycle: &[u32]) -> Finding {
        let closed: Vec<u32> = cycle.iter().chain(&cycle[..1]).copied().collect();
        let is_cause =
            |from: u32, to: u32| self.net.is_program(from, to) || self.net.cause[to as usize] == from;
        let pairs = closed.windows(2).map(|pair| (pair[0], pair[1]));
        let conflicts: Vec<Conflict> = pairs
            .filter(|(from, to)| !is_cause(*from, *to))
            .map(|(from, to)| Conflict { from, to, read: NONE })
            .collect();
        self.with_proofs(pattern, &closed, &conflicts)
    }

    /// A path of causal order and conflicts, with the proofs of those conflicts.
    fn with_proofs(&self, pattern: Pattern, path: &[u32], conflicts: &[Conflict]) -> Finding {
        let mut steps = self.steps(path, conflicts);
        // The latest first: its proof may need earlier ones, never the other way round.
        let mut needed: Vec<usize> = conflicts_of(&steps);
        let mut proofs: Vec<(usize, Proof)> = Vec::new();
        while let Some(number) = needed.pop() {
            let Conflict { from, to, read } = conflicts[number];
            // A conflict of CCv is proved by causal order alone, one of CM perhaps by earlier ones.
            let way = match read {
                NONE => self.way_to_reader(from, to),
                read => self.way(from, read).or_else(|| {
                    let earlier = conflicts[..number].iter().map(|conflict| (conflict.from, conflict.to));
                    let graph = Graph::new(self.net.len(), self.net.causes().chain(earlier));
                    graph.path(from, |node| node == read, |from, to| self.net.is_program(from, to))
                }),
            };
            let way = self.steps(&way.unwrap_or_default(), &conflicts[..number]);
            for earlier in conflicts_of(&way) {
                if let Err(place) = needed.binary_search(&earlier) {
                    needed.insert(place, earlier);
                }
            }
            let place = |access: u32| self.net.place[access as usize];
            proofs.push((number, Proof { from: place(from), to: place(to), path: self.told(way) }));
        }
        proofs.reverse();
        // Each conflict names the read at the end of its proof.
        let read_of = |number: usize, proofs: &[(usize, Proof)]| {
            let proof = proofs.binary_search_by_key(&number, |(number, _)| *number).ok();
            proof.and_then(|at| proofs[at].1.path.last()).map_or(NONE, |edge| edge.to)
        };
        let reads: Vec<u32> = (0..proofs.len()).map(|at| read_of(proofs[at].0, &proofs)).collect();
        let numbers: Vec<usize> = proofs.iter().map(|(number, _)| *number).collect();
        let name = |why: &mut Why| {
            if let Why::Conflict(number) = why {
                let at = numbers.binary_search(&(*number as usize));
                *number = at.map_or(NONE, |at| reads[at]);
            }
        };
        steps.iter_mut().for_each(|step| name(&mut step.why));
        let mut proofs: Vec<Proof> = proofs.into_iter().map(|(_, proof)| proof).collect();
        proofs.iter_mut().flat_map(|proof| &mut proof.path).for_each(|edge| name(&mut edge.why));
        Finding { pattern, path: self.told(steps), via: None, proofs }
    }

    fn edges(&self, path: &[u32], conflicts: &[Conflict]) -> Vec<Edge> {
        self.told(self.steps(path, conflicts))
    }

    /// Says of each step of a path why it holds, and tells a run of program order as one. A conflict is named by its
    /// number.
    fn steps(&self, path: &[u32], conflicts: &[Conflict]) -> Vec<Edge> {
        let session = |access: u32| self.net.session[access as usize];
        let mut steps: Vec<Edge> = Vec::new();
        for pair in path.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            if self.net.is_program(from, to) {
                match steps.last_mut() {
                    Some(last) if last.why == Why::Program && session(last.from) == session(to) => {
                        last.to = to
                    }
                    _ => steps.push(Edge { from, to, why: Why::Program }),
                }
            } else if self.net.from[to as usize] == from {
                steps.push(Edge { from, to, why: Why::ReadFrom });
            } else if self.net.cause[to as usize] == from {
                steps.push(Edge { from, to, why: Why::Program });
            } else {
                let number = conflicts.iter().position(|conflict| (conflict.from, conflict.to) == (from, to));
                let why = Why::Conflict(number.map_or(NONE, |number| number as u32));
                steps.push(Edge { from, to, why });
            }
        }
        steps
    }

    /// The same by places in the input.
    fn told(&self, mut steps: Vec<Edge>) -> Vec<Edge> {
        for step in &mut steps {
            step.from = self.net.place[step.from as usize];
            step.to = self.net.place[step.to as usize];
        }
        steps
    }
}

/// A write before another of its key; for CM, because of a read.
#[derive(Clone, Copy, Debug)]
struct Conflict {
    from: u32,
    to: u32,
    read: u32,
}

/// The numbers of the conflicts among steps, in order.
fn conflicts_of(steps: &[Edge]) -> Vec<usize> {
    let mut numbers: Vec<usize> = steps
        .iter()
        .filter_map(|step| match step.why {
            Why::Conflict(number) if number != NONE => Some(number as usize),
            _ => None,
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The fixpoint of one session's "happened before" over the writes that it reads.
struct Memory<'a> {
    net: &'a Net,
    /// What each write knows, by its row.
    rows: &'a [u32],
    row_of: &'a [u32],
    /// The writes that the session reads, sorted; and what happened before each.
    targets: Vec<u32>,
    /// Where the targets of each column begin.
    target_starts: Vec<u32>,
    before: Vec<u32>,
    /// The round in which each last changed; 0 if it only knows what causal order says.
    changed: Vec<u32>,
    conflicts: Vec<Conflict>,
    steps: u64,
}

/// How the order of one session's reads is broken, by numbers.
enum Broken {
    Cycle(u32),
    Hidden(u32, u32),
}

impl<'a> Memory<'a> {
    fn judge(net: &'a Net, budget: Budget) -> Result<Vec<Finding>, Limit> {
        let writes = net.all_writes().count();
        if writes.saturating_mul(net.columns) > budget.clock_words_max {
            return Err(Limit::ClockWords);
        }
        let mut row_of = vec![NONE; net.len()];
        for (row, write) in (0..).zip(net.all_writes()) {
            row_of[write as usize] = row;
        }
        let mut rows = vec![0; writes * net.columns];
        net.walk(|access, clock, _| {
            if net.is_write(access) {
                rows[row_of[access as usize] as usize * net.columns..][..net.columns].copy_from_slice(clock);
            }
        });
        let mut findings = Vec::new();
        let mut verdicts = None;
        let mut steps = 0;
        for session in 0..net.column.len() {
            let mut memory = Memory::new(net, &rows, &row_of, session, steps);
            let broken = match memory.settle(session, budget) {
                Ok(broken) => broken,
                Err(_) if !findings.is_empty() => break,
                Err(limit) => return Err(limit),
            };
            steps = memory.steps;
            if let Some(broken) = broken {
                let verdicts = verdicts.get_or_insert_with(|| Verdicts::new(net, budget.findings_max));
                findings.extend(memory.finding(&broken, verdicts));
                if findings.len() >= budget.findings_max {
                    break;
                }
            }
        }
        Ok(findings)
    }

    fn new(net: &'a Net, rows: &'a [u32], row_of: &'a [u32], session: usize, steps: u64) -> Self {
        let reads = net.starts[session] as usize..net.starts[session + 1] as usize;
        let mut targets: Vec<u32> = net.from[reads].iter().copied().filter(|from| *from < INITIAL).collect();
        targets.sort_unstable();
        targets.dedup();
        // Columns were given in the order of sessions, and accesses are numbered in it.
        let first_of = |column: &u32| net.starts[*column as usize];
        let mut target_starts: Vec<u32> = net
            .session_of
            .iter()
            .map(|session| targets.partition_point(|target| *target < first_of(session)) as u32)
            .collect();
        target_starts.push(targets.len() as u32);
        let mut before = Vec::with_capacity(targets.len() * net.columns);
        for target in &targets {
            before.extend_from_slice(&rows[row_of[*target as usize] as usize * net.columns..][..net.columns]);
        }
        let changed = vec![0; targets.len()];
        Memory { net, rows, row_of, targets, target_starts, before, changed, conflicts: Vec::new(), steps }
    }

    fn before(&self, target: usize) -> &[u32] {
        &self.before[target * self.net.columns..][..self.net.columns]
    }

    /// The last target of a column below a bound.
    fn last_target(&self, column: usize, bound: u32) -> Option<usize> {
        let (start, end) = (self.target_starts[column] as usize, self.target_starts[column + 1] as usize);
        let below = self.targets[start..end].partition_point(|target| *target < bound);
        (below > 0).then(|| start + below - 1)
    }

    /// Adds what happened before each target that the clock knows, until nothing is added.
    fn close(&mut self, clock: &mut [u32], since: u32) {
        loop {
            self.steps += 1;
            let mut has_grown = false;
            for column in 0..self.net.columns {
                let Some(target) = self.last_target(column, clock[column]) else { continue };
                if self.changed[target] > since {
                    self.steps += 1;
                    has_grown |= join_grows(clock, self.before(target));
                }
            }
            if !has_grown {
                return;
            }
        }
    }

    /// Goes through the session's reads until they add nothing, or the order breaks.
    fn settle(&mut self, session: usize, budget: Budget) -> Result<Option<Broken>, Limit> {
        let net = self.net;
        let accesses = net.starts[session]..net.starts[session + 1];
        let own = net.column[session] as usize;
        let mut clock = vec![0; net.columns];
        let mut row = vec![0; net.columns];
        for round in 1u32.. {
            let mut has_changed = false;
            clock.fill(0);
            for read in accesses.clone() {
                if net.is_write(read) {
                    if net.cause[read as usize] != NONE {
                        let known = self.row_of[read as usize] as usize * net.columns;
                        join(&mut clock, &self.rows[known..][..net.columns]);
                    }
                    continue;
                }
                if self.steps > budget.steps_max {
                    return Err(Limit::Steps);
                }
                if budget.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Err(Limit::Time);
                }
                if own < net.columns {
                    clock[own] = read;
                }
                let from = net.from[read as usize];
                let runs = net.runs(net.key[read as usize]);
                if from == INITIAL {
                    self.close(&mut clock, 0);
                    let known = runs.iter().find_map(|run| net.last_below(run, clock[run.column as usize]));
                    if let Some(write) = known {
                        return Ok(Some(Broken::Hidden(write, read)));
                    }
                    continue;
                }
                let Ok(target) = self.targets.binary_search(&from) else { continue };
                let column = net.column_of(from);
                clock[column] = clock[column].max(from + 1);
                join(&mut clock, self.before(target));
                self.close(&mut clock, 0);
                row.copy_from_slice(self.before(target));
                let conflicts_before = self.conflicts.len();
                self.steps += 1;
                for run in runs {
                    if let Some(write) = net.last_below(run, clock[run.column as usize])
                        && write != from
                        && write >= row[run.column as usize]
                    {
                        self.steps += 1;
                        self.conflicts.push(Conflict { from: write, to: from, read });
                        let known = self.row_of[write as usize] as usize * net.columns;
                        join(&mut row, &self.rows[known..][..net.columns]);
                        row[run.column as usize] = row[run.column as usize].max(write + 1);
                    }
                }
                if self.conflicts.len() > conflicts_before || round > 1 {
                    self.close(&mut row, 0);
                }
                if row != self.before(target) {
                    has_changed = true;
                    self.changed[target] = round;
                    self.before[target * net.columns..][..net.columns].copy_from_slice(&row);
                    if row[column] > from {
                        return Ok(Some(Broken::Cycle(from)));
                    }
                    join(&mut clock, &row);
                }
            }
            if !has_changed {
                break;
            }
        }
        Ok(None)
    }

    fn finding(&self, broken: &Broken, verdicts: &Verdicts<'_>) -> Option<Finding> {
        let conflicts = self.conflicts.iter().map(|conflict| (conflict.from, conflict.to));
        let graph = Graph::new(self.net.len(), self.net.causes().chain(conflicts));
        let (pattern, from, to) = match broken {
            Broken::Cycle(write) => (Pattern::CyclicHb, *write, *write),
            Broken::Hidden(write, read) => (Pattern::WriteHbInitRead, *write, *read),
        };
        let path = graph.path(from, |node| node == to, |from, to| self.net.is_program(from, to))?;
        Some(verdicts.with_proofs(pattern, &path, &self.conflicts))
    }
}

/// Joins a clock with another and says whether it grew.
fn join_grows(clock: &mut [u32], other: &[u32]) -> bool {
    let mut has_grown = false;
    for (bound, other) in clock.iter_mut().zip(other) {
        has_grown |= *other > *bound;
        *bound = (*bound).max(*other);
    }
    has_grown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    const BUDGET: Budget = Budget {
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
            let answer = decide(&accesses, BUDGET);
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
