//! The accesses of all sessions as a net of numbers, and the walk through it in causal order.
//!
//! Accesses are numbered session after session, so a clock says of each session the number below which its accesses are
//! known; only sessions that write have a column in clocks. The writes of each key stand in runs, one for each session, so
//! that the last one known of each session is a bisection.

use super::clocks::Pool;
use super::{Access, Act};

pub(super) const NONE: u32 = u32::MAX;
/// Instead of what an access reads from.
pub(super) const WRITES: u32 = u32::MAX;
pub(super) const INITIAL: u32 = u32::MAX - 1;

/// The writes of one session to one key, by their numbers in `Net::writes`.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub(super) column: u32,
    /// The first of them, so that most questions are answered here.
    pub(super) first: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The accesses, numbered session after session, each session's in program order.
pub(super) struct Net {
    /// Where each session begins, and where the last one ends.
    pub(super) starts: Vec<u32>,
    pub(super) session: Vec<u32>,
    pub(super) key: Vec<u32>,
    /// The write that it shows, or what it is instead.
    pub(super) from: Vec<u32>,
    /// The access of another session that it comes after: what it reads from, as a rule.
    pub(super) cause: Vec<u32>,
    /// Its place in the input.
    pub(super) place: Vec<u32>,
    /// How many accesses it is the cause of.
    effects: Vec<u32>,
    /// The place of each session in clocks; none for those that write nothing.
    pub(super) column: Vec<u32>,
    pub(super) columns: usize,
    /// The session of each column.
    pub(super) session_of: Vec<u32>,
    /// Writes, sorted by key and number.
    writes: Vec<u32>,
    runs: Vec<Run>,
    /// Where each key's runs begin, and where the last one's end.
    run_starts: Vec<u32>,
    /// The number of each place of the input.
    number: Vec<u32>,
}

/// For numbers sorted into groups: where each group begins, and where the last one ends.
pub(super) fn starts_of(groups: impl Iterator<Item = u32> + Clone) -> Vec<u32> {
    let count = groups.clone().max().map_or(0, |group| group as usize + 1);
    let mut starts = vec![0; count + 1];
    groups.for_each(|group| starts[group as usize + 1] += 1);
    for group in 0..count {
        starts[group + 1] += starts[group];
    }
    starts
}

impl Net {
    pub(super) fn new(accesses: &[Access]) -> Self {
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

    pub(super) fn len(&self) -> usize {
        self.place.len()
    }

    pub(super) fn is_write(&self, access: u32) -> bool {
        self.from[access as usize] == WRITES
    }

    pub(super) fn all_writes(&self) -> impl Iterator<Item = u32> + Clone {
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
    pub(super) fn runs(&self, key: u32) -> &[Run] {
        match self.run_starts.get(key as usize..key as usize + 2) {
            Some(bounds) => &self.runs[bounds[0] as usize..bounds[1] as usize],
            None => &[],
        }
    }

    /// The last write of a run below a bound, if there is one.
    pub(super) fn last_below(&self, run: &Run, bound: u32) -> Option<u32> {
        if run.first >= bound {
            return None;
        }
        let writes = &self.writes[run.start as usize..run.end as usize];
        Some(writes[writes.partition_point(|write| *write < bound) - 1])
    }

    pub(super) fn column_of(&self, access: u32) -> usize {
        self.column[self.session[access as usize] as usize] as usize
    }

    /// Visits the accesses in causal order, as far as there is one, near the order of the input; with what each
    /// knows of every column, itself not included, and what its cause knows, if it has one. Returns
    /// whether some could not be visited because they are on a cycle or after one.
    pub(super) fn walk(&self, mut visit: impl FnMut(u32, &[u32], &[u32])) -> bool {
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
    pub(super) fn causes(&self) -> impl Iterator<Item = (u32, u32)> + Clone + '_ {
        let follows = |pair: &(u32, u32)| self.session[pair.0 as usize] == self.session[pair.1 as usize];
        let program = (1..self.len() as u32).map(|access| (access - 1, access)).filter(follows);
        let others = (0..self.len() as u32).map(|access| (self.cause[access as usize], access));
        program.chain(others.filter(|(cause, _)| *cause != NONE))
    }

    pub(super) fn is_program(&self, from: u32, to: u32) -> bool {
        to == from + 1 && self.session[from as usize] == self.session[to as usize]
    }
}
