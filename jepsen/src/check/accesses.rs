//! Reads and writes that name each other: from a history to the accesses that engines of sessions understand.
//!
//! A read shows the write whose value it returned, which can be told only if every value of a key is written once and
//! nothing that has no value of its own (a delete, a write of nil) can be behind a read of nothing. Keys of which that
//! cannot be said are left out altogether, with the reason; to leave a key out never makes a history worse, since what is left
//! orders less. Refused writes did not happen. A write whose end is unknown happened if it was read, and then at some
//! time after its invocation: it comes after what its session did before, and nothing of its session after it.
//! A read of what nobody wrote, or had begun to write, or of what was refused, comes out of thin air.

use super::reasons::{no_function_of, written_twice};
use super::register::Nil;
use super::report::{Anomaly, Check, Explanation, Violation};
use super::role::Role;
use crate::engine::causal::{Access, Act};
use crate::engine::quick::QuickMap;
use crate::history::{Atom, History, Operation, Outcome};

/// What can be said of a history's reads and writes.
pub(super) struct Accesses {
    /// In order of invocation.
    pub(super) list: Vec<Access>,
    /// The operation of each.
    pub(super) operations: Vec<Operation>,
    /// The keys, in their order.
    keys: Vec<Key>,
    /// The reads that nothing explains; they are in no list.
    thin: Vec<(Operation, Thin)>,
}

/// Why a value cannot have been read.
#[derive(Clone, Copy)]
enum Thin {
    NobodyWrote,
    Refused(Operation),
    Later(Operation),
}

/// One key, and why it cannot be judged, if so.
struct Key {
    atom: Atom,
    unknown: Option<String>,
}

const NONE: u32 = u32::MAX;

/// The operations of a history while they are sorted out.
struct Sorting<'h> {
    history: &'h History,
    operations: &'h [Operation],
    nil: Nil,
    roles: Vec<Role>,
    keys: Vec<Key>,
    /// The key of each operation, by number.
    key_of: Vec<u32>,
    /// The writes of each value of each key: the first that was not refused, or else the first.
    writes: QuickMap<(u32, Atom), u32>,
    /// The first operation on each key that writes nothing: a delete.
    first_empty: Vec<u32>,
}

impl Accesses {
    /// Sorts out the reads and writes of a history.
    pub(super) fn new(history: &History, operations: &[Operation], nil: Nil) -> Self {
        let mut sorting = Sorting::new(history, operations, nil);
        sorting.find_writes();
        sorting.find_unknown_reads();
        sorting.finish()
    }

    /// How many keys there are.
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The key of an access.
    pub(super) fn key_of(&self, access: u32) -> Atom {
        self.keys[self.list[access as usize].key as usize].atom
    }

    /// Tells what cannot be judged.
    pub(super) fn tell_unknowns(&self, history: &History, check: &mut Check) {
        for key in &self.keys {
            if let Some(reason) = &key.unknown {
                check.wonder(Some(history.value(key.atom)), reason.as_str());
            }
        }
    }

    /// Tells the reads out of thin air, which no rule allows.
    pub(super) fn tell_thin(&self, history: &History, check: &mut Check) {
        for (read, thin) in self.thin.iter().take(VIOLATIONS_MAX) {
            check.violate(thin.violation(history, read));
        }
    }

    /// How many reads are out of thin air.
    pub(super) fn thin_reads(&self) -> usize {
        self.thin.len()
    }
}

/// How many reads out of thin air are told.
const VIOLATIONS_MAX: usize = 50;

/// The one value that a read returned, if it is one; `None` for nothing.
fn shown(history: &History, read: &Operation) -> Result<Option<Atom>, usize> {
    match history.list(read.result) {
        Some([]) => Ok(None),
        Some([value]) => Ok(Some(*value)),
        Some(values) => Err(values.len()),
        None => Ok(read.result.present().filter(|value| !value.is_null())),
    }
}

impl<'h> Sorting<'h> {
    fn new(history: &'h History, operations: &'h [Operation], nil: Nil) -> Self {
        let mut numbers: QuickMap<Atom, u32> = QuickMap::default();
        let mut atoms: Vec<Atom> = Vec::new();
        let firsts: Vec<u32> = operations
            .iter()
            .map(|operation| {
                let atom = operation.key.or(Atom::NULL);
                *numbers.entry(atom).or_insert_with(|| {
                    atoms.push(atom);
                    atoms.len() as u32 - 1
                })
            })
            .collect();
        let mut order: Vec<u32> = (0..atoms.len() as u32).collect();
        order.sort_by(|a, b| history.compare(atoms[*a as usize], atoms[*b as usize]));
        let mut rank = vec![0; atoms.len()];
        (0..).zip(&order).for_each(|(place, number)| rank[*number as usize] = place);
        Sorting {
            history,
            operations,
            nil,
            roles: history.words(Role::of),
            keys: order.iter().map(|number| Key { atom: atoms[*number as usize], unknown: None }).collect(),
            key_of: firsts.iter().map(|number| rank[*number as usize]).collect(),
            writes: QuickMap::default(),
            first_empty: vec![NONE; atoms.len()],
        }
    }

    fn role(&self, operation: &Operation) -> Role {
        self.roles[operation.f.number()]
    }

    fn give_up(&mut self, number: usize, reason: impl FnOnce(&Self) -> String) {
        let key = self.key_of[number] as usize;
        if self.keys[key].unknown.is_none() {
            self.keys[key].unknown = Some(reason(self));
        }
    }

    fn find_writes(&mut self) {
        for (number, operation) in self.operations.iter().enumerate() {
            let key = self.key_of[number];
            let value = operation.argument.present().filter(|value| !value.is_null());
            match (self.role(operation), value) {
                (Role::Read, _) => {}
                (Role::Cas | Role::Strange, _) => self.give_up(number, |sorting| {
                    no_function_of("this rule (read, write, delete)", sorting.history, operation)
                }),
                (Role::Delete, _) | (Role::Write, None) => {
                    let first = &mut self.first_empty[key as usize];
                    if operation.outcome != Outcome::Fail && *first == NONE {
                        *first = number as u32;
                    }
                }
                (Role::Write, Some(value)) => self.add_write(number, value),
            }
        }
    }

    fn add_write(&mut self, number: usize, value: Atom) {
        let operation = self.operations[number];
        let known = self.writes.entry((self.key_of[number], value)).or_insert(number as u32);
        let other = self.operations[*known as usize];
        if *known == number as u32 || operation.outcome == Outcome::Fail {
            return;
        }
        if other.outcome == Outcome::Fail {
            *known = number as u32;
            return;
        }
        self.give_up(number, |sorting| written_twice(value, sorting.history, &other, &operation));
    }

    fn find_unknown_reads(&mut self) {
        for (number, operation) in self.operations.iter().enumerate() {
            if self.role(operation) != Role::Read || operation.outcome != Outcome::Ok {
                continue;
            }
            let first_empty = self.first_empty[self.key_of[number] as usize];
            match shown(self.history, operation) {
                Err(count) => self.give_up(number, |sorting| {
                    let at = sorting.history.end_of(operation);
                    format!("the read at {at} shows {count} values side by side; this rule needs reads of one value")
                }),
                Ok(None) if first_empty != NONE && self.nil == Nil::Absent => {
                    let empty = &self.operations[first_empty as usize];
                    if empty.invoked < operation.ended() {
                        self.give_up(number, |sorting| {
                            format!(
                                "the read of nothing at {} may show the initial value or what was deleted at {}",
                                sorting.history.end_of(operation),
                                sorting.history.start_of(empty),
                            )
                        });
                    }
                }
                Ok(_) => {}
            }
        }
    }

    /// Whether each write of unknown outcome was read.
    fn was_read(&self) -> Vec<bool> {
        let mut was_read = vec![false; self.operations.len()];
        for (number, operation) in self.operations.iter().enumerate() {
            if self.role(operation) == Role::Read
                && operation.outcome == Outcome::Ok
                && let Ok(Some(value)) = shown(self.history, operation)
                && let Some(write) = self.writes.get(&(self.key_of[number], value))
            {
                was_read[*write as usize] = true;
            }
        }
        was_read
    }

    fn finish(self) -> Accesses {
        let was_read = self.was_read();
        let mut last_of_process = vec![NONE; self.history.processes()];
        for (number, operation) in (0u32..).zip(self.operations) {
            last_of_process[operation.process as usize] = number;
        }
        let mut sessions = self.history.processes() as u32;
        let mut place_of = vec![NONE; self.operations.len()];
        let mut latest = vec![NONE; self.history.processes()];
        let (mut list, mut operations, mut thin) = (Vec::new(), Vec::new(), Vec::new());
        // Reads name writes by their operations first, since a write may come later in the list.
        let mut reads: Vec<(usize, u32)> = Vec::new();
        for (number, operation) in self.operations.iter().enumerate() {
            let key = self.key_of[number];
            if self.keys[key as usize].unknown.is_some() {
                continue;
            }
            let place = list.len() as u32;
            let process = operation.process as usize;
            let mut session = operation.process;
            let mut act = Act::Write;
            match (self.role(operation), operation.outcome) {
                (Role::Read, Outcome::Ok) => match self.resolve(key, operation) {
                    Err(reason) => {
                        thin.push((*operation, reason));
                        continue;
                    }
                    Ok(Some(write)) => reads.push((list.len(), write)),
                    Ok(None) if self.nil == Nil::Unknown => continue,
                    Ok(None) => act = Act::ReadInitial,
                },
                (Role::Write | Role::Delete, Outcome::Ok) => {}
                (Role::Write, Outcome::Unknown) if was_read[number] => {
                    if last_of_process[process] != number as u32 {
                        session = sessions;
                        sessions += 1;
                        if latest[process] != NONE {
                            act = Act::WriteAfter(latest[process]);
                        }
                    }
                }
                _ => continue,
            }
            if session == operation.process {
                latest[process] = place;
            }
            place_of[number] = place;
            list.push(Access { session, key, act });
            operations.push(*operation);
        }
        for (read, write) in reads {
            list[read].act = Act::Read(place_of[write as usize]);
        }
        Accesses { list, operations, keys: self.keys, thin }
    }

    /// The write that a read shows, by its number.
    fn resolve(&self, key: u32, read: &Operation) -> Result<Option<u32>, Thin> {
        let Ok(Some(value)) = shown(self.history, read) else { return Ok(None) };
        let Some(write) = self.writes.get(&(key, value)) else { return Err(Thin::NobodyWrote) };
        let operation = self.operations[*write as usize];
        match operation.outcome {
            Outcome::Fail => Err(Thin::Refused(operation)),
            _ if operation.invoked > read.ended() => Err(Thin::Later(operation)),
            _ => Ok(Some(*write)),
        }
    }
}

impl Thin {
    fn violation(self, history: &History, read: &Operation) -> Violation {
        let value = shown(history, read).ok().flatten().unwrap_or(Atom::NULL);
        let at = history.end_of(read);
        let who = format!("process {} read {} ({at})", history.process(read.process), history.show(value));
        let (anomaly, because, also) = match self {
            Thin::NobodyWrote => (Anomaly::ThinAirRead, "nobody wrote that value".to_owned(), None),
            Thin::Refused(write) => {
                let end = history.end_of(&write);
                (Anomaly::AbortedRead, format!("its write was refused ({end})"), Some(write))
            }
            Thin::Later(write) => {
                let start = history.start_of(&write);
                (Anomaly::FutureRead, format!("its write began only afterwards ({start})"), Some(write))
            }
        };
        let mut events: Vec<_> = also
            .iter()
            .flat_map(|write| [Some(write.invoked), write.completed()].into_iter().flatten())
            .chain([read.ended()])
            .collect();
        events.sort_unstable();
        let explanation = Explanation {
            summary: format!("{who}, but {because}"),
            events: events.into_iter().map(|position| history.place(position)).collect(),
            steps: Vec::new(),
            contradiction: format!("{who}, and {because}"),
        };
        let key = history.value(read.key.or(Atom::NULL));
        Violation { anomaly, key, explanation }
    }
}
