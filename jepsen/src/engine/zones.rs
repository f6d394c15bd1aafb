//! Registers whose values tell their writers, decided in linear time.
//!
//! When every value that somebody observed was written once, the value says which write a read saw, and a cas says
//! which write it followed. So the calls fall into blocks: a write, its reads, the cas that took its value, that one's reads, and
//! so on, and inside a block the order is known. A block must come before another if any of its calls returned before
//! any of the other's began. Gibbons and Korach (1997) showed for blocks without cas that two blocks, each of
//! which must come before the other, are the only contradiction left; the same holds for any blocks, because of all
//! blocks in a longer cycle the one whose last call begins latest already contradicts its successor. Such a pair is
//! found by the zones of Anderson et al. (2010), the time between a block's first return and its last begin, in one
//! sweep over the calls in order of their begin: no sorting and no search.
//!
//! Values written several times (nothing, by deletes) are told apart where time leaves a reader one writer only. What
//! is left, and cas that failed, is outside: a case for the search in `wgl`. A crashed writer counts only if its value was
//! observed, since it need not have happened otherwise.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::wgl::{Call, Step};

/// What is found about some calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// There is a linearization.
    Linearizable,
    /// There is none.
    Violated(Witness),
    /// Values do not tell enough.
    Outside(Outside),
}

/// Why calls are not in the class that is decided here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    /// This call says what the register did not hold.
    Differs {
        /// By its place in the input.
        call: usize,
    },
    /// The value that this call observed may be that of several writers, for all that time says.
    Ambiguous {
        /// By its place in the input.
        call: usize,
    },
}

/// The calls that decide that there is no linearization, by their places in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    /// What contradicts what.
    pub(crate) contradiction: Contradiction,
    /// What the contradiction rests on besides: calls that observed the value of a crashed one, so that it must have
    /// happened, and writes that came between an older write of the same value and its reader.
    pub(crate) supports: Vec<usize>,
}

/// In which way calls contradict each other. A call's block is its value's: the write at the beginning of the chain
/// of cas that leads to the value it wrote or observed, and all that observed or wrote a value of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contradiction {
    /// Nobody wrote the value that a call observed.
    ThinAir {
        /// The call.
        reader: usize,
    },
    /// Two cas took the same value, which was written once.
    DoubleConsume {
        /// The first to begin.
        first: usize,
        /// The other.
        second: usize,
    },
    /// Each of these cas took the value of the one before it, and the first that of the last.
    Cycle {
        /// The cas.
        chain: Vec<usize>,
    },
    /// One call must follow another of its block (it observed or wrote what came of the other's value), but had
    /// returned before that began.
    Order {
        /// The call that must come later.
        finished: usize,
        /// The call that must come earlier.
        started: usize,
    },
    /// A call that needs the first value, or one made from it by cas, began after a call of another block had returned.
    Initial {
        /// The call of the other block.
        finisher: usize,
        /// The call that came too late.
        starter: usize,
    },
    /// Two blocks, each of which must come before the other.
    Blocks {
        /// Returned before `starter_b` began: so block A comes first.
        finisher_a: usize,
        /// A call of block A.
        starter_a: usize,
        /// Returned before `starter_a` began: so block B comes first.
        finisher_b: usize,
        /// A call of block B.
        starter_b: usize,
    },
}

impl Contradiction {
    /// The calls that it names, in no order that means anything; one may stand twice.
    pub(crate) fn calls(&self) -> Vec<usize> {
        match self {
            Contradiction::ThinAir { reader } => vec![*reader],
            Contradiction::DoubleConsume { first, second } => vec![*first, *second],
            Contradiction::Cycle { chain } => chain.clone(),
            Contradiction::Order { finished, started } => vec![*finished, *started],
            Contradiction::Initial { finisher, starter } => vec![*finisher, *starter],
            Contradiction::Blocks { finisher_a, starter_a, finisher_b, starter_b } => {
                vec![*finisher_a, *starter_a, *finisher_b, *starter_b]
            }
        }
    }
}

/// Decides whether `calls`, ordered by invocation, can be put in an order that explains them, beginning with value 0.
pub(crate) fn decide(calls: &[Call]) -> Finding {
    match judge(calls) {
        Ok(()) => Finding::Linearizable,
        Err(Stop::Contradiction(contradiction, supports)) => {
            Finding::Violated(Witness { contradiction, supports: as_places(supports) })
        }
        Err(Stop::Outside(outside)) => Finding::Outside(outside),
        Err(Stop::Repeated) => decide_repeated(calls),
    }
}

/// Tells the writers of one value apart first.
fn decide_repeated(calls: &[Call]) -> Finding {
    let renamed = match Renamed::new(calls) {
        Ok(renamed) => renamed,
        Err(outside) => return Finding::Outside(outside),
    };
    match judge(&renamed.calls) {
        Ok(()) => Finding::Linearizable,
        Err(Stop::Contradiction(contradiction, supports)) => {
            let supports = renamed.supports(&contradiction, supports);
            Finding::Violated(Witness { contradiction, supports: as_places(supports) })
        }
        Err(Stop::Outside(outside)) => Finding::Outside(outside),
        Err(Stop::Repeated) => unreachable!("every writer has a value of its own now"),
    }
}

fn as_places(mut calls: Vec<u32>) -> Vec<usize> {
    calls.sort_unstable();
    calls.dedup();
    calls.into_iter().map(|call| call as usize).collect()
}

/// Why a judgement ends early.
enum Stop {
    Contradiction(Contradiction, Vec<u32>),
    Outside(Outside),
    /// A value that somebody observed has several writers.
    Repeated,
}

fn judge(calls: &[Call]) -> Result<(), Stop> {
    let mut table = Table::new(calls).map_err(Stop::Outside)?;
    table.keep_crashed()?;
    table.refuse_strangers()?;
    let blocks = table.blocks()?;
    blocks.refuse_late_first_values(&table)?;
    blocks.refuse_pairs(&table)
}

const NONE: u32 = u32::MAX;
/// In place of a writer: there is more than one, or one besides the beginning.
const SEVERAL: u32 = u32::MAX - 1;

/// Who has to do with one value. Only the extremes matter of its readers.
#[derive(Clone, Copy, Debug)]
struct Uses {
    writer: u32,
    /// The cas that took it.
    consumer: u32,
    /// The reader that returned first.
    first_reader: u32,
    /// The reader that began last.
    last_reader: u32,
}

impl Uses {
    const NONE: Self = Uses { writer: NONE, consumer: NONE, first_reader: NONE, last_reader: NONE };

    fn is_observed(&self) -> bool {
        self.first_reader != NONE || self.consumer != NONE
    }
}

/// The calls by value.
struct Table<'a> {
    calls: &'a [Call],
    values: Vec<Uses>,
    /// The first two cas that were found to take one value.
    double: Option<(u32, u32)>,
}

impl<'a> Table<'a> {
    fn new(calls: &'a [Call]) -> Result<Self, Outside> {
        let mut table = Table { calls, values: vec![Uses::NONE; values_of(calls)], double: None };
        for (number, call) in (0u32..).zip(calls) {
            let is_completed = call.returned.is_some();
            match call.step {
                Step::Cas(old, new) if old != new => {
                    table.write(new, number);
                    if is_completed {
                        table.consume(old, number);
                    }
                }
                Step::Write(value) => table.write(value, number),
                // A read that crashed says nothing.
                _ if !is_completed => {}
                Step::Read(value) | Step::Cas(value, _) => table.read(value, number),
                Step::Differs(_) => return Err(Outside::Differs { call: number as usize }),
            }
        }
        Ok(table)
    }

    fn write(&mut self, value: u32, number: u32) {
        let writer = &mut self.values[value as usize].writer;
        *writer = if *writer == NONE && value != 0 { number } else { SEVERAL };
    }

    fn consume(&mut self, value: u32, number: u32) {
        let consumer = &mut self.values[value as usize].consumer;
        if *consumer == NONE {
            *consumer = number;
        } else {
            self.double.get_or_insert(((*consumer).min(number), (*consumer).max(number)));
        }
    }

    fn read(&mut self, value: u32, number: u32) {
        let first = self.values[value as usize].first_reader;
        if first == NONE || self.returned(number) < self.returned(first) {
            self.values[value as usize].first_reader = number;
        }
        // Calls come in the order of their begin.
        self.values[value as usize].last_reader = number;
    }

    fn invoked(&self, number: u32) -> u32 {
        self.calls[number as usize].invoked
    }

    /// When it returned; for ever later if it crashed.
    fn returned(&self, number: u32) -> u32 {
        self.calls[number as usize].returned.unwrap_or(NONE)
    }

    /// Lets every crashed cas whose value was observed take the value that it needed, and so on back.
    fn keep_crashed(&mut self) -> Result<(), Stop> {
        for value in 0..self.values.len() as u32 {
            let mut value = value;
            loop {
                let uses = self.values[value as usize];
                if !uses.is_observed() {
                    break;
                }
                if uses.writer == SEVERAL {
                    return Err(Stop::Repeated);
                }
                let Some(Call { step: Step::Cas(old, _), returned: None, .. }) =
                    self.calls.get(uses.writer as usize)
                else {
                    break;
                };
                if self.values[*old as usize].consumer == uses.writer {
                    break;
                }
                let was_observed = self.values[*old as usize].is_observed();
                self.consume(*old, uses.writer);
                if was_observed {
                    break;
                }
                value = *old;
            }
        }
        Ok(())
    }

    fn refuse_strangers(&self) -> Result<(), Stop> {
        let is_stranger = |uses: &&Uses| uses.is_observed() && uses.writer == NONE;
        if let Some(uses) = self.values.iter().skip(1).find(is_stranger) {
            let reader = uses.first_reader.min(uses.consumer);
            let contradiction = Contradiction::ThinAir { reader: reader as usize };
            return Err(Stop::Contradiction(contradiction, self.observers([reader])));
        }
        if let Some((first, second)) = self.double {
            let contradiction =
                Contradiction::DoubleConsume { first: first as usize, second: second as usize };
            return Err(Stop::Contradiction(contradiction, self.observers([first, second])));
        }
        Ok(())
    }

    /// The calls that show that the crashed ones among these have happened.
    fn observers<const N: usize>(&self, calls: [u32; N]) -> Vec<u32> {
        let mut observers = Vec::new();
        for mut call in calls {
            while let Call { step: Step::Write(value) | Step::Cas(_, value), returned: None, .. } =
                self.calls[call as usize]
            {
                let uses = self.values[value as usize];
                call = if uses.first_reader == NONE { uses.consumer } else { uses.first_reader };
                if call == NONE || observers.contains(&call) {
                    break;
                }
                observers.push(call);
            }
        }
        observers
    }

    /// Follows every chain from its begin.
    fn blocks(&self) -> Result<Blocks, Stop> {
        let mut blocks =
            Blocks { finishers: vec![NONE; self.calls.len()], initial_starter: NONE, first_finisher: NONE };
        let mut cas_placed = 0;
        let mut initial = Block::new(&mut cas_placed);
        initial.extend(self, 0)?;
        blocks.initial_starter = initial.starter;
        for (number, call) in (0u32..).zip(self.calls) {
            let Step::Write(value) = call.step else { continue };
            let is_told = self.values[value as usize].writer == number;
            if call.returned.is_none() && !(is_told && self.values[value as usize].is_observed()) {
                continue;
            }
            let mut block = Block::new(&mut cas_placed);
            block.add(self, number)?;
            if is_told {
                block.extend(self, value)?;
            }
            blocks.finishers[block.starter as usize] = block.finisher;
            if blocks.first_finisher == NONE
                || self.returned(block.finisher) < self.returned(blocks.first_finisher)
            {
                blocks.first_finisher = block.finisher;
            }
        }
        let cas_kept = self.values.iter().filter(|uses| uses.consumer != NONE).count();
        if cas_placed < cas_kept { Err(self.cycle()) } else { Ok(blocks) }
    }

    /// Finds the cas of a cycle: those that no chain from a write leads to. Since every value has one writer and one
    /// consumer, such a chain has neither begin nor end.
    fn cycle(&self) -> Stop {
        let mut is_placed = vec![false; self.values.len()];
        let heads = self.values.iter().enumerate().filter(|(value, uses)| {
            *value == 0
                || self
                    .calls
                    .get(uses.writer as usize)
                    .is_some_and(|call| matches!(call.step, Step::Write(_)))
        });
        for (head, _) in heads {
            self.follow(head as u32, |value| !std::mem::replace(&mut is_placed[value as usize], true));
        }
        let is_in_cycle = |value: &usize| !is_placed[*value] && self.values[*value].consumer != NONE;
        let begin = (0..self.values.len()).find(is_in_cycle).unwrap_or(0) as u32;
        let mut chain = Vec::new();
        let mut values = Vec::new();
        self.follow(begin, |value| {
            values.push(value);
            chain.push(self.values[value as usize].consumer as usize);
            self.value_after(value) != Some(begin)
        });
        let mut supports = Vec::new();
        if chain.iter().all(|cas| self.calls[*cas].returned.is_none()) {
            // Some read saw one of the values, or none of these would be kept.
            let readers = values.iter().map(|value| self.values[*value as usize].first_reader);
            supports.extend(readers.filter(|reader| *reader != NONE).take(1));
        }
        Stop::Contradiction(Contradiction::Cycle { chain }, supports)
    }

    /// Of two blocks that contradict each other, given by the calls that are the extremes, such calls that few are named
    /// and that they are early: the first return of all, in block B; what began first of block A after that and, if
    /// it may be the same, returned before B's last begin; and what began first of block B after that.
    fn fewest(&self, extremes: [u32; 4]) -> [u32; 4] {
        let [mut finisher_a, mut starter_a, mut finisher_b, mut starter_b] = extremes;
        if self.returned(finisher_a) < self.returned(finisher_b) {
            (finisher_a, starter_a, finisher_b, starter_b) = (finisher_b, starter_b, finisher_a, starter_a);
        }
        let first_after =
            |block: &[u32], returned: u32| block.iter().copied().find(|call| self.invoked(*call) > returned);
        let after_b = first_after(&self.members(starter_a), self.returned(finisher_b)).unwrap_or(starter_a);
        let is_both = self.returned(after_b) < self.invoked(starter_b);
        finisher_a = if is_both { after_b } else { finisher_a };
        let after_a = first_after(&self.members(starter_b), self.returned(finisher_a)).unwrap_or(starter_b);
        [finisher_a, after_b, finisher_b, after_a]
    }

    /// The calls of a call's block, in order of their begin.
    fn members(&self, call: u32) -> Vec<u32> {
        let mut head = match self.calls[call as usize].step {
            Step::Write(value) if self.values[value as usize].writer != call => return vec![call],
            Step::Read(value) | Step::Differs(value) | Step::Write(value) | Step::Cas(value, _) => value,
        };
        while let Some(Call { step: Step::Cas(old, _), .. }) =
            self.calls.get(self.values[head as usize].writer as usize)
        {
            head = *old;
        }
        let mut is_in = vec![false; self.values.len()];
        self.follow(head, |value| !std::mem::replace(&mut is_in[value as usize], true));
        let is_member = |number: &u32| {
            let Call { step, returned, .. } = self.calls[*number as usize];
            match step {
                Step::Write(value) => is_in[value as usize] && self.values[value as usize].writer == *number,
                Step::Cas(old, new) if old != new => {
                    is_in[old as usize] && self.values[old as usize].consumer == *number
                }
                Step::Read(value) | Step::Cas(value, _) => is_in[value as usize] && returned.is_some(),
                Step::Differs(_) => false,
            }
        };
        (0..self.calls.len() as u32).filter(is_member).collect()
    }

    /// Visits values along a chain of cas, until its end or until told to stop.
    fn follow(&self, value: u32, mut visit: impl FnMut(u32) -> bool) {
        let mut next = Some(value);
        while let Some(value) = next
            && visit(value)
        {
            next = self.value_after(value);
        }
    }

    fn value_after(&self, value: u32) -> Option<u32> {
        let consumer = self.values[value as usize].consumer;
        match self.calls.get(consumer as usize)?.step {
            Step::Cas(_, new) => Some(new),
            _ => None,
        }
    }
}

/// One more than the largest value.
fn values_of(calls: &[Call]) -> usize {
    let largest = calls.iter().map(|call| match call.step {
        Step::Read(value) | Step::Differs(value) | Step::Write(value) => value,
        Step::Cas(old, new) => old.max(new),
    });
    largest.max().unwrap_or(0) as usize + 1
}

/// A chain as far as it was followed.
struct Block<'a> {
    /// The call that began last.
    starter: u32,
    /// The call that returned first.
    finisher: u32,
    /// Counts the cas in all chains.
    cas_placed: &'a mut usize,
}

impl<'a> Block<'a> {
    fn new(cas_placed: &'a mut usize) -> Self {
        Block { starter: NONE, finisher: NONE, cas_placed }
    }

    /// Adds a value's readers, the cas that took it, the readers of the new value, and so on.
    fn extend(&mut self, table: &Table<'_>, mut value: u32) -> Result<(), Stop> {
        loop {
            let uses = table.values[value as usize];
            if uses.first_reader != NONE {
                self.add(table, uses.first_reader)?;
                // Of one value's readers none must come before another, so only now.
                self.start(uses.last_reader);
            }
            if uses.consumer == NONE {
                return Ok(());
            }
            *self.cas_placed += 1;
            self.add(table, uses.consumer)?;
            let Some(next) = table.value_after(value) else { return Ok(()) };
            value = next;
        }
    }

    /// Adds a call that must come after all those before it.
    fn add(&mut self, table: &Table<'_>, call: u32) -> Result<(), Stop> {
        let returned = table.returned(call);
        if self.starter != NONE && returned < table.invoked(self.starter) {
            let contradiction =
                Contradiction::Order { finished: call as usize, started: self.starter as usize };
            return Err(Stop::Contradiction(contradiction, Vec::new()));
        }
        if returned != NONE && (self.finisher == NONE || returned < table.returned(self.finisher)) {
            self.finisher = call;
        }
        self.start(call);
        Ok(())
    }

    fn start(&mut self, call: u32) {
        if self.starter == NONE || self.starter < call {
            self.starter = call;
        }
    }
}

/// What must be known of the blocks to put them in order.
struct Blocks {
    /// For every call that is the last to begin of a block, the call that is the first to return.
    finishers: Vec<u32>,
    /// The last to begin of the block of the first value.
    initial_starter: u32,
    /// The first to return of all other blocks.
    first_finisher: u32,
}

impl Blocks {
    /// The block of the first value comes before all others.
    fn refuse_late_first_values(&self, table: &Table<'_>) -> Result<(), Stop> {
        let (finisher, starter) = (self.first_finisher, self.initial_starter);
        if finisher == NONE || starter == NONE || table.returned(finisher) > table.invoked(starter) {
            return Ok(());
        }
        let contradiction = Contradiction::Initial { finisher: finisher as usize, starter: starter as usize };
        Err(Stop::Contradiction(contradiction, table.observers([starter])))
    }

    /// A block is forward if a call of it returned before the last one began, and so holds the register for the time
    /// between. No two may do so at once, and no other block may begin and end meanwhile. Backwards in the order
    /// of begins it is enough to compare each block with the forward one after it: should that not be the
    /// one in its way, then the forward ones are in each other's.
    fn refuse_pairs(&self, table: &Table<'_>) -> Result<(), Stop> {
        let mut found = None;
        let mut forward: Option<(u32, u32)> = None;
        for (starter, finisher) in self.finishers.iter().enumerate().rev() {
            let starter = starter as u32;
            if *finisher == NONE {
                continue;
            }
            let (started, finished) = (table.invoked(starter), table.returned(*finisher));
            if let Some((starter_b, finisher_b)) = forward
                && table.returned(finisher_b) < started
                && finished < table.invoked(starter_b)
            {
                found = Some([*finisher, starter, finisher_b, starter_b]);
            }
            if finished < started {
                forward = Some((starter, *finisher));
            }
        }
        let Some(calls) = found.map(|calls| table.fewest(calls)) else { return Ok(()) };
        let [finisher_a, starter_a, finisher_b, starter_b] = calls.map(|call| call as usize);
        let contradiction = Contradiction::Blocks { finisher_a, starter_a, finisher_b, starter_b };
        Err(Stop::Contradiction(contradiction, table.observers(calls)))
    }
}

/// How many writers of one value to look at for one reader.
const RIVALS_MAX: usize = 64;

/// Calls in which the writers of one value were given values of their own.
struct Renamed {
    calls: Vec<Call>,
    /// For every reader of such a value, the write that returned before it began, and that of these began last: what
    /// had returned before this write began had been overwritten.
    overwriters: Vec<u32>,
}

impl Renamed {
    fn new(calls: &[Call]) -> Result<Self, Outside> {
        let writers = Writers::new(calls);
        let mut renamed = Renamed { calls: calls.to_vec(), overwriters: vec![NONE; calls.len()] };
        let mut open: BinaryHeap<Reverse<(u32, u32)>> = BinaryHeap::new();
        let mut overwriter = NONE;
        for (number, call) in (0u32..).zip(calls) {
            while let Some(Reverse((returned, writer))) = open.peek().copied()
                && returned < call.invoked
            {
                open.pop();
                overwriter = if overwriter == NONE { writer } else { overwriter.max(writer) };
            }
            let mut step = match call.step {
                Step::Cas(old, new) if old == new => Step::Read(old),
                step => step,
            };
            if let Step::Read(observed) | Step::Cas(observed, _) = &mut step
                && writers.is_repeated(*observed)
            {
                if call.returned.is_some() || writers.is_needed(call.step) {
                    let since = calls.get(overwriter as usize).map(|call| call.invoked);
                    *observed = writers.writer_for(call, *observed, since, number)?;
                    renamed.overwriters[number as usize] = overwriter;
                } else {
                    // It crashed and nobody saw its value: then it need not have happened.
                    step = Step::Read(0);
                }
            }
            if let (Step::Write(value) | Step::Cas(_, value), Some(new)) =
                (&mut step, writers.names[number as usize])
            {
                *value = new;
            }
            if let (Some(_), Some(returned)) = (written(call.step), call.returned) {
                open.push(Reverse((returned, number)));
            }
            renamed.calls[number as usize].step = step;
        }
        Ok(renamed)
    }

    /// Adds what the renaming rests on, for all that the contradiction rests on.
    fn supports(&self, contradiction: &Contradiction, mut supports: Vec<u32>) -> Vec<u32> {
        let mut writers = vec![NONE; values_of(&self.calls)];
        for (number, call) in (0u32..).zip(&self.calls) {
            if let Some(value) = written(call.step) {
                writers[value as usize] = number;
            }
        }
        let mut left: Vec<u32> = contradiction.calls().iter().map(|call| *call as u32).collect();
        left.extend(&supports);
        let mut is_seen = vec![false; self.calls.len()];
        while let Some(number) = left.pop() {
            if std::mem::replace(&mut is_seen[number as usize], true) {
                continue;
            }
            let overwriter = self.overwriters[number as usize];
            if overwriter != NONE {
                supports.push(overwriter);
                left.push(overwriter);
            }
            if let Step::Read(value) | Step::Cas(value, _) = self.calls[number as usize].step
                && writers[value as usize] != NONE
            {
                left.push(writers[value as usize]);
            }
        }
        supports
    }
}

/// The value that a step leaves and that was not there before.
fn written(step: Step) -> Option<u32> {
    match step {
        Step::Write(value) => Some(value),
        Step::Cas(old, new) if old != new => Some(new),
        Step::Read(_) | Step::Differs(_) | Step::Cas(..) => None,
    }
}

/// The writers of values that have several.
struct Writers {
    /// By value, then by begin.
    all: Vec<Writer>,
    /// Where each value's begin.
    begins: Vec<u32>,
    /// The new value of each call that writes one of them.
    names: Vec<Option<u32>>,
    /// Whether a value was observed, or would have been by a call that crashed.
    is_needed: Vec<bool>,
}

#[derive(Clone, Copy)]
struct Writer {
    invoked: u32,
    returned: u32,
    /// The latest return up to here of the same value's writers.
    returned_max: u32,
    name: u32,
}

impl Writers {
    fn new(calls: &[Call]) -> Self {
        let values = values_of(calls);
        let mut counts = vec![0u32; values];
        counts[0] = 1;
        let mut is_needed = vec![false; values];
        for call in calls {
            if let Some(value) = written(call.step) {
                counts[value as usize] += 1;
            }
            if let Step::Read(value) | Step::Cas(value, _) = call.step {
                is_needed[value as usize] = true;
            }
        }
        let mut repeated: Vec<(u32, u32)> = (0u32..)
            .zip(calls)
            .filter_map(|(number, call)| Some((written(call.step)?, number)))
            .filter(|(value, _)| counts[*value as usize] > 1)
            .collect();
        repeated.sort_unstable();
        let mut writers = Writers {
            all: Vec::new(),
            begins: vec![0; values + 1],
            names: vec![None; calls.len()],
            is_needed,
        };
        let mut before = None;
        for (value, number) in repeated {
            let call = calls[number as usize];
            let returned = call.returned.unwrap_or(NONE);
            let same = writers.all.last().filter(|_| before == Some(value));
            let returned_max = same.map_or(returned, |last: &Writer| last.returned_max.max(returned));
            let name = (values + writers.all.len()) as u32;
            writers.all.push(Writer { invoked: call.invoked, returned, returned_max, name });
            writers.names[number as usize] = Some(name);
            writers.begins[value as usize + 1] = writers.all.len() as u32;
            before = Some(value);
        }
        for value in 0..values {
            writers.begins[value + 1] = writers.begins[value + 1].max(writers.begins[value]);
        }
        writers
    }

    fn of(&self, value: u32) -> &[Writer] {
        &self.all[self.begins[value as usize] as usize..self.begins[value as usize + 1] as usize]
    }

    fn is_repeated(&self, value: u32) -> bool {
        !self.of(value).is_empty()
    }

    fn is_needed(&self, step: Step) -> bool {
        written(step).is_some_and(|value| self.is_needed[value as usize])
    }

    /// The new value of the only writer that `reader` may have observed: not one that began after it
    /// returned, nor one that had returned before the write that began at `since` and returned before the
    /// reader began.
    fn writer_for(&self, reader: &Call, value: u32, since: Option<u32>, number: u32) -> Result<u32, Outside> {
        let all = self.of(value);
        let returned = reader.returned.unwrap_or(NONE);
        let begun = &all[..all.partition_point(|writer| writer.invoked < returned)];
        let mut only = (value == 0 && since.is_none()).then_some(0);
        for (rivals, writer) in begun.iter().rev().enumerate() {
            if since.is_some_and(|since| writer.returned_max < since) {
                break;
            }
            let is_overwritten = since.is_some_and(|since| writer.returned < since);
            if rivals > RIVALS_MAX || !is_overwritten && only.is_some() {
                return Err(Outside::Ambiguous { call: number as usize });
            }
            if !is_overwritten {
                only = Some(writer.name);
            }
        }
        // Where there is none, any will do: it leads to a contradiction.
        let any = begun.last().or(all.first().filter(|_| value != 0)).map_or(0, |writer| writer.name);
        Ok(only.unwrap_or(any))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::wgl::{self, Budget, Decision};
    use super::*;
    use crate::engine::random::Random;

    fn call(step: Step, invoked: u32, returned: impl Into<Option<u32>>) -> Call {
        Call { step, invoked, returned: returned.into() }
    }

    /// The definition: whether some order of all completed and some crashed calls explains what they did and keeps
    /// every call behind those that had returned before it began. What was tried before is not tried again.
    fn is_linearizable(calls: &[Call]) -> bool {
        fn go(calls: &[Call], placed: u32, value: u32, failed: &mut BTreeSet<(u32, u32)>) -> bool {
            let is_left = |call: usize| placed >> call & 1 == 0 && calls[call].returned.is_some();
            if !(0..calls.len()).any(is_left) {
                return true;
            }
            if !failed.insert((placed, value)) {
                return false;
            }
            (0..calls.len()).any(|next| {
                let is_late = |other| is_left(other) && calls[other].returned < Some(calls[next].invoked);
                if placed >> next & 1 == 1 || (0..calls.len()).any(is_late) {
                    return false;
                }
                let after = match calls[next].step {
                    Step::Read(seen) => (seen == value).then_some(value),
                    Step::Write(new) => Some(new),
                    Step::Cas(old, new) => (old == value).then_some(new),
                    Step::Differs(not) => (not != value).then_some(value),
                };
                after.is_some_and(|after| go(calls, placed | 1 << next, after, failed))
            })
        }
        go(calls, 0, 0, &mut BTreeSet::new())
    }

    /// What random calls are like.
    struct Taste {
        clients: u32,
        count: u32,
        cas_percent: u32,
        crash_percent: u32,
        lie_percent: u32,
        /// Of writes: of a value that may have been written before.
        repeat_percent: u32,
    }

    impl Taste {
        fn random(random: &mut Random, count_max: u32) -> Self {
            Taste {
                clients: 1 + random.below(5),
                count: 1 + random.below(count_max),
                cas_percent: [0, 30, 60][random.below(3) as usize],
                crash_percent: [0, 10, 40][random.below(3) as usize],
                lie_percent: [0, 3, 10, 40][random.below(4) as usize],
                repeat_percent: [0, 0, 10, 40][random.below(4) as usize],
            }
        }
    }

    /// Calls of a few clients on a register that mostly tells the truth.
    fn random_calls(random: &mut Random, taste: &Taste) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        let mut open: Vec<Option<usize>> = vec![None; taste.clients as usize];
        let mut is_done: Vec<bool> = Vec::new();
        let (mut value, mut fresh, mut position) = (0, 0, 0);
        while calls.len() < taste.count as usize || open.iter().any(Option::is_some) {
            position += 1;
            if let Some(number) = open[random.below(taste.clients) as usize]
                && !std::mem::replace(&mut is_done[number], true)
            {
                let lie = random.percent(taste.lie_percent);
                let known = fresh + 1 + u32::from(random.percent(20));
                let step = &mut calls[number].step;
                match *step {
                    Step::Read(_) => *step = Step::Read(if lie { random.below(known) } else { value }),
                    Step::Cas(old, new) if old == value || lie => value = new,
                    Step::Cas(_, new) if !random.percent(5) => {
                        *step = Step::Cas(value, new);
                        value = new;
                    }
                    Step::Cas(old, _) => *step = Step::Differs(old),
                    Step::Write(new) => value = new,
                    Step::Differs(_) => {}
                }
            }
            let client = random.below(taste.clients) as usize;
            match open[client] {
                None if calls.len() < taste.count as usize => {
                    open[client] = Some(calls.len());
                    is_done.push(false);
                    let new = if random.percent(taste.repeat_percent) {
                        random.below(fresh + 1)
                    } else {
                        fresh += 1;
                        fresh
                    };
                    let step = if random.percent(40) {
                        Step::Read(value)
                    } else if random.percent(taste.cas_percent) {
                        Step::Cas(if random.percent(70) { value } else { random.below(fresh + 2) }, new)
                    } else {
                        Step::Write(new)
                    };
                    calls.push(call(step, position, None));
                }
                Some(number) => {
                    open[client] = None;
                    if is_done[number] && !random.percent(taste.crash_percent) {
                        calls[number].returned = Some(position);
                    }
                }
                None => {}
            }
        }
        calls
    }

    /// The calls of a witness, and whatever wrote a value that one of these observed.
    fn evidence(calls: &[Call], witness: &Witness) -> Vec<Call> {
        let mut is_told = vec![false; calls.len()];
        let mut left = witness.contradiction.calls();
        left.extend(&witness.supports);
        while let Some(number) = left.pop() {
            if std::mem::replace(&mut is_told[number], true) {
                continue;
            }
            if let Step::Read(value) | Step::Cas(value, _) = calls[number].step {
                let is_writer = |call: &Call| match call.step {
                    Step::Write(new) | Step::Cas(_, new) => new == value,
                    Step::Read(_) | Step::Differs(_) => false,
                };
                left.extend((0..calls.len()).filter(|other| is_writer(&calls[*other])));
            }
        }
        (0..calls.len()).filter(|number| is_told[*number]).map(|number| calls[number]).collect()
    }

    const KINDS: usize = 6;

    fn kind(contradiction: &Contradiction) -> usize {
        match contradiction {
            Contradiction::ThinAir { .. } => 0,
            Contradiction::DoubleConsume { .. } => 1,
            Contradiction::Cycle { .. } => 2,
            Contradiction::Order { .. } => 3,
            Contradiction::Initial { .. } => 4,
            Contradiction::Blocks { .. } => 5,
        }
    }

    #[test]
    fn zones_agree_with_trying_every_order_and_every_witness_is_a_contradiction_by_itself() {
        let seed = 0x5eed_0010;
        let mut random = Random(seed);
        let rounds = if cfg!(debug_assertions) { 40_000 } else { 400_000 };
        let (mut valid, mut outside, mut kinds, mut supported) = (0, 0, [0u32; KINDS], 0);
        for round in 0..rounds {
            let taste = Taste::random(&mut random, 9);
            let calls = random_calls(&mut random, &taste);
            let expected = is_linearizable(&calls);
            let context = || format!("seed {seed:#x} round {round}: {calls:#?}");
            match decide(&calls) {
                Finding::Linearizable => {
                    assert!(expected, "{}", context());
                    valid += 1;
                }
                Finding::Violated(witness) => {
                    assert!(!expected, "{witness:?} {}", context());
                    assert!(!is_linearizable(&evidence(&calls, &witness)), "{witness:?} {}", context());
                    kinds[kind(&witness.contradiction)] += 1;
                    supported += u32::from(!witness.supports.is_empty());
                }
                Finding::Outside(_) => outside += 1,
            }
        }
        let few = rounds / 1_000;
        assert!(valid > rounds / 3 && kinds.iter().all(|count| *count > few / 4), "{valid} {kinds:?}");
        assert!(supported > few && outside > few && outside < rounds / 4, "{supported} {outside}");
    }

    #[test]
    fn zones_agree_with_the_search_on_larger_histories() {
        let seed = 0x5eed_0011;
        let mut random = Random(seed);
        let budget = Budget { steps_max: 20_000, configurations_max: 1_000_000, deadline: None };
        let rounds = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
        let mut verdicts = [0u32; 2];
        for round in 0..rounds {
            let mut taste = Taste::random(&mut random, 200);
            taste.lie_percent /= 10;
            let calls = random_calls(&mut random, &taste);
            let expected = match wgl::decide(&calls, budget).0 {
                Decision::Linearizable => true,
                Decision::Impossible { .. } => false,
                _ => continue,
            };
            let found = match decide(&calls) {
                Finding::Outside(_) => continue,
                found => found == Finding::Linearizable,
            };
            assert_eq!(found, expected, "seed {seed:#x} round {round}: {calls:#?}");
            verdicts[usize::from(expected)] += 1;
        }
        assert!(verdicts.iter().all(|count| *count > rounds / 15), "{verdicts:?}");
    }

    fn contradiction(calls: &[Call]) -> Contradiction {
        match decide(calls) {
            Finding::Violated(witness) => witness.contradiction,
            finding => panic!("{finding:?}"),
        }
    }

    #[test]
    fn each_kind_of_contradiction_names_its_calls() {
        let thin = [call(Step::Write(1), 0, 1), call(Step::Read(2), 2, 3)];
        assert_eq!(contradiction(&thin), Contradiction::ThinAir { reader: 1 });
        let double = [call(Step::Write(1), 0, 1), call(Step::Cas(1, 2), 2, 3), call(Step::Cas(1, 3), 4, 5)];
        assert_eq!(contradiction(&double), Contradiction::DoubleConsume { first: 1, second: 2 });
        let cycle = [call(Step::Cas(1, 2), 0, 2), call(Step::Cas(2, 1), 1, 3)];
        assert_eq!(contradiction(&cycle), Contradiction::Cycle { chain: vec![0, 1] });
        let order = [call(Step::Read(1), 0, 1), call(Step::Write(1), 2, 3)];
        assert_eq!(contradiction(&order), Contradiction::Order { finished: 0, started: 1 });
        let initial = [call(Step::Write(1), 0, 1), call(Step::Read(0), 2, 3)];
        assert_eq!(contradiction(&initial), Contradiction::Initial { finisher: 0, starter: 1 });
        let stale = [call(Step::Write(1), 0, 1), call(Step::Write(2), 2, 3), call(Step::Read(1), 4, 5)];
        let blocks = Contradiction::Blocks { finisher_a: 1, starter_a: 1, finisher_b: 0, starter_b: 2 };
        assert_eq!(contradiction(&stale), blocks);
    }

    #[test]
    fn a_stale_read_among_many_is_told_by_three_calls() {
        let steps = [1, 1, 1, 2, 2, 1, 2, 2].map(Step::Read).into_iter();
        let mut calls: Vec<Call> = (0..).zip(steps).map(|(i, step)| call(step, 2 * i, 2 * i + 1)).collect();
        (calls[0].step, calls[3].step) = (Step::Write(1), Step::Write(2));
        let blocks = Contradiction::Blocks { finisher_a: 3, starter_a: 3, finisher_b: 0, starter_b: 5 };
        assert_eq!(contradiction(&calls), blocks);
    }

    #[test]
    fn a_witness_says_why_a_crashed_call_must_have_happened() {
        let calls = [
            call(Step::Write(1), 0, 1),
            call(Step::Read(2), 2, 9),
            call(Step::Write(3), 3, 4),
            call(Step::Cas(1, 2), 6, None),
        ];
        let Finding::Violated(witness) = decide(&calls) else {
            panic!("the third is between the first and the last")
        };
        let blocks = Contradiction::Blocks { finisher_a: 2, starter_a: 2, finisher_b: 0, starter_b: 3 };
        assert_eq!((&witness.contradiction, &witness.supports[..]), (&blocks, &[1][..]));
        assert!(!is_linearizable(&evidence(&calls, &witness)));
    }

    #[test]
    fn a_deleted_value_is_told_apart_from_the_first_where_time_does() {
        let told = |read: u32| {
            vec![
                call(Step::Read(0), 0, 1),
                call(Step::Write(1), 2, 3),
                call(Step::Write(0), 4, 6),
                call(Step::Read(0), 5, 7),
                call(Step::Write(2), 8, 9),
                call(Step::Write(0), 10, 11),
                call(Step::Read(read), 12, 13),
            ]
        };
        assert_eq!(decide(&told(0)), Finding::Linearizable);
        assert!(matches!(decide(&told(2)), Finding::Violated(_)));
        // The second delete is still open when the last reader begins, and so is the first.
        let open = [
            call(Step::Write(1), 0, 1),
            call(Step::Write(0), 2, 6),
            call(Step::Write(0), 3, 7),
            call(Step::Read(0), 4, 5),
        ];
        assert_eq!(decide(&open), Finding::Outside(Outside::Ambiguous { call: 3 }));
    }

    #[test]
    fn a_failed_cas_is_outside_unless_it_crashed() {
        let calls = |returned| [call(Step::Differs(1), 0, returned)];
        assert_eq!(decide(&calls(Some(1))), Finding::Outside(Outside::Differs { call: 0 }));
        assert_eq!(decide(&calls(None)), Finding::Linearizable);
        assert_eq!(decide(&[]), Finding::Linearizable);
    }

    #[test]
    fn values_that_nobody_observed_may_be_written_any_number_of_times() {
        let mut calls: Vec<Call> = (0..10).map(|i| call(Step::Write(i % 2), 2 * i, 2 * i + 1)).collect();
        calls.push(call(Step::Cas(2, 1), 21, 30));
        calls.push(call(Step::Write(2), 22, 23));
        assert_eq!(decide(&calls), Finding::Linearizable);
    }
}
