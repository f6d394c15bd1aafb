//! One key's part of a history, as the engines of staleness take it.
//!
//! A key whose writes say what their sessions had seen is one of siblings; any other is a register. Either way
//! every value must be written once. Whatever keeps a read from being judged is counted by its reason; whatever
//! keeps the key from it is told in words.

use crate::check::convergence::shown;
use crate::check::measure::Clock;
use crate::check::reasons::no_function_of;
use crate::check::role::Role;
use crate::check::{Nil, Options};
use crate::engine::quick::QuickMap;
use crate::engine::staleness::{self, causal, delta};
use crate::history::{Atom, History, Operation, Outcome};

/// Why a read was not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Skip {
    /// Nobody knows what it showed.
    NotReturned,
    /// It showed nothing, which by the options says nothing.
    NilUnknown,
    /// It showed several values, and no write says what it had seen.
    SeveralValues,
    /// It showed a value that nobody had written by then, or whose write was refused.
    StrangeValue,
    /// To judge it would take too long.
    TooMuchWork,
}

/// A read that was judged.
#[derive(Clone, Copy)]
pub(super) struct Judged {
    pub(super) read: Operation,
    /// How many writes it certainly missed.
    pub(super) missed: u32,
    /// Of those the first that had settled, and the position where it had.
    pub(super) first: Option<(Operation, u32)>,
    /// The position where the last write before it had settled.
    pub(super) latest: Option<u32>,
    /// The position where the write whose value a register showed had settled.
    pub(super) source: Option<u32>,
}

impl Judged {
    /// How much earlier it had to begin to miss nothing.
    pub(super) fn age(&self, clock: &Clock) -> u64 {
        self.first.map_or(0, |(_, settled)| clock.between(settled, self.read.invoked))
    }
}

/// How far a register was from atomic, in the clock's unit.
#[derive(Clone, Copy)]
pub(super) struct Distances {
    pub(super) is_atomic: bool,
    pub(super) delta: u64,
    pub(super) gamma: u64,
}

/// What was found about one key.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) judged: Vec<Judged>,
    pub(super) skipped: Vec<(Operation, Skip)>,
    pub(super) distances: Option<Distances>,
    /// Whether it is a key of siblings.
    pub(super) has_siblings: bool,
}

/// How many steps may be spent on the reads of one key of siblings.
const STEPS_MAX: u64 = 500_000_000;

/// A key's operations by what they do.
pub(super) struct Part<'h> {
    history: &'h History,
    clock: &'h Clock,
    /// What may have been written or deleted, in order of invocation.
    changes: Vec<Operation>,
    is_delete: Vec<bool>,
    numbers: QuickMap<Atom, u32>,
    reads: Vec<Operation>,
    has_cas: bool,
}

impl<'h> Part<'h> {
    /// Sorts a key's operations.
    ///
    /// # Errors
    /// In words, why none of its reads can be judged.
    pub(super) fn new(
        history: &'h History,
        clock: &'h Clock,
        roles: &[Role],
        operations: &[Operation],
    ) -> Result<Self, String> {
        let (changes, is_delete, reads) = (Vec::new(), Vec::new(), Vec::new());
        let numbers = QuickMap::default();
        let mut part = Part { history, clock, changes, is_delete, numbers, reads, has_cas: false };
        for operation in operations {
            let role = roles[operation.f.number()];
            match role {
                Role::Read => part.reads.push(*operation),
                Role::Write | Role::Delete | Role::Cas if operation.outcome == Outcome::Fail => {}
                Role::Write => part.add(*operation, operation.argument, operation.argument.is_null())?,
                Role::Delete => part.add(*operation, operation.argument, true)?,
                Role::Cas => {
                    part.has_cas = true;
                    let Some([_, new]) = history.list(operation.argument) else {
                        let at = history.start_of(operation);
                        return Err(format!("the cas at {at} has no value [old, new]"));
                    };
                    part.add(*operation, *new, new.is_null())?;
                }
                Role::Strange => {
                    return Err(no_function_of("a register (read, write, delete, cas)", history, operation));
                }
            }
        }
        Ok(part)
    }

    fn add(&mut self, operation: Operation, value: Atom, is_delete: bool) -> Result<(), String> {
        let number = self.changes.len() as u32;
        self.changes.push(operation);
        self.is_delete.push(is_delete);
        if value.is_null() {
            return Ok(());
        }
        match self.numbers.insert(value, number) {
            None => Ok(()),
            Some(other) => Err(format!(
                "{} is written twice ({} and {}), so nobody knows which of them a read showed",
                self.history.show(value),
                self.history.start_of(&self.changes[other as usize]),
                self.history.start_of(&operation),
            )),
        }
    }

    /// Judges every read.
    ///
    /// # Errors
    /// In words, why none of them can be judged.
    pub(super) fn measure(&self, options: &Options) -> Result<Measured, String> {
        let says_seen = |operation: &&Operation| self.history.at(operation.invoked).seen().is_some();
        match self.changes.iter().find(says_seen) {
            None => Ok(self.measure_register(options)),
            Some(_) if self.has_cas => Err("it has cas and what writes had seen".to_owned()),
            Some(_) => match self.changes.iter().find(|operation| !says_seen(operation)) {
                None => Ok(self.measure_siblings()),
                Some(silent) => Err(format!(
                    "the operation at {} does not say what it had seen, though others do",
                    self.history.start_of(silent)
                )),
            },
        }
    }

    /// The number of a value that a read showed.
    fn source(&self, read: &Operation, value: Atom) -> Result<u32, Skip> {
        let number = self.numbers.get(&value).copied().ok_or(Skip::StrangeValue)?;
        let has_begun = self.changes[number as usize].invoked < read.ended();
        let is_visible = has_begun && !self.is_delete[number as usize];
        is_visible.then_some(number).ok_or(Skip::StrangeValue)
    }

    pub(super) fn measure_register(&self, options: &Options) -> Measured {
        let mut measured = Measured::default();
        let writes: Vec<staleness::Write> = self
            .changes
            .iter()
            .map(|write| staleness::Write { invoked: write.invoked, returned: write.returned() })
            .collect();
        let nothings = self.nothings();
        // Reads that show one certain write or none, and all that can be judged.
        let (mut sure, mut reads, mut operations) = (Vec::new(), Vec::new(), Vec::new());
        for read in &self.reads {
            let answered = read.returned().filter(|_| read.outcome == Outcome::Ok);
            let source = match (answered, shown(self.history, read)) {
                (None, _) => Err(Skip::NotReturned),
                (_, []) if options.nil == Nil::Unknown => Err(Skip::NilUnknown),
                (Some(returned), []) => {
                    let begun = nothings.partition_point(|(invoked, _)| *invoked < returned);
                    Ok((returned, begun.checked_sub(1).map(|last| nothings[last].1)))
                }
                (Some(returned), [value]) => self.source(read, *value).map(|source| (returned, Some(source))),
                (_, [_, _, ..]) => Err(Skip::SeveralValues),
            };
            match source {
                Ok((returned, source)) => {
                    let number = staleness::Read { invoked: read.invoked, returned, source };
                    if source.is_none_or(|source| !self.is_delete[source as usize]) {
                        sure.push(number);
                    }
                    reads.push(number);
                    operations.push(*read);
                }
                Err(skip) => measured.skipped.push((*read, skip)),
            }
        }
        let settled = staleness::settled(&writes, &sure);
        let lags = staleness::lags(&writes, &reads, &settled);
        measured.judged = operations
            .iter()
            .zip(reads.iter().zip(lags))
            .map(|(operation, (read, lag))| Judged {
                source: read.source.map(|source| settled[source as usize]),
                ..self.judged(*operation, lag.missed, lag.first, lag.latest, &settled)
            })
            .collect();
        // A delete or a cas belongs to more than one value; the blocks of a register know no such thing.
        if !self.has_cas && nothings.is_empty() {
            let clock = |position| i64::try_from(self.clock.time(position)).unwrap_or(i64::MAX);
            let in_order = delta::blocks(&writes, &reads, i64::from);
            let blocks = delta::blocks(&writes, &reads, clock);
            measured.distances = Some(Distances {
                is_atomic: delta::is_atomic(&in_order),
                delta: delta::delta(&blocks).size,
                gamma: delta::gamma(&blocks).size,
            });
        }
        measured
    }

    /// For every delete: when it began, and which of the deletes until then settled last. A read of nothing may show
    /// any delete, and it missed no less than if it showed that one.
    fn nothings(&self) -> Vec<(u32, u32)> {
        let settled = |delete: u32| self.changes[delete as usize].returned().unwrap_or(staleness::NEVER);
        let mut last = None;
        let deletes = (0u32..).zip(&self.is_delete).filter(|(_, is_delete)| **is_delete);
        deletes
            .map(|(delete, _)| {
                let newest = last.filter(|last| settled(*last) > settled(delete)).unwrap_or(delete);
                last = Some(newest);
                (self.changes[delete as usize].invoked, newest)
            })
            .collect()
    }

    fn measure_siblings(&self) -> Measured {
        let mut measured = Measured { has_siblings: true, ..Measured::default() };
        let element = |(place, change): (u32, &Operation)| {
            let seen = change.seen(self.history).iter().filter_map(|value| self.numbers.get(value).copied());
            // What a session claims to have seen before it was written is for other rules to judge.
            let mut seen: Vec<u32> = seen.filter(|seen| *seen < place).collect();
            seen.sort_unstable();
            seen.dedup();
            let is_delete = self.is_delete[place as usize];
            causal::Element { invoked: change.invoked, returned: change.returned(), is_delete, seen }
        };
        let elements: Vec<causal::Element> = (0..).zip(&self.changes).map(element).collect();
        let (mut reads, mut operations) = (Vec::new(), Vec::new());
        for read in &self.reads {
            let Some(returned) = read.returned().filter(|_| read.outcome == Outcome::Ok) else {
                measured.skipped.push((*read, Skip::NotReturned));
                continue;
            };
            let values = shown(self.history, read).iter();
            match values.map(|value| self.source(read, *value)).collect::<Result<Vec<u32>, Skip>>() {
                Ok(shown) => {
                    reads.push(causal::Read { invoked: read.invoked, returned, shown });
                    operations.push(*read);
                }
                Err(skip) => measured.skipped.push((*read, skip)),
            }
        }
        let settled = causal::settled(&elements, &reads);
        let lags = causal::lags(&elements, &reads, &settled, STEPS_MAX);
        for (read, lag) in operations.iter().zip(lags) {
            match lag {
                None => measured.skipped.push((*read, Skip::TooMuchWork)),
                Some(lag) => {
                    measured.judged.push(self.judged(*read, lag.missed, lag.first, lag.latest, &settled));
                }
            }
        }
        measured
    }

    fn judged(
        &self,
        read: Operation,
        missed: u32,
        first: Option<u32>,
        latest: Option<u32>,
        settled: &[u32],
    ) -> Judged {
        let at = |change: u32| settled[change as usize];
        let first = first.map(|change| (self.changes[change as usize], at(change)));
        Judged { read, missed, first, latest: latest.map(at), source: None }
    }
}
