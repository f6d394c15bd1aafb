//! Histories made to order: valid by construction, or wrong in one known way.
//!
//! A [`Generator`] runs a simulated store: threads invoke operations, each takes effect at one moment between its invocation and
//! its completion (or is forgotten by its client, and takes effect later or never), and the events stream into a sink, so
//! that ten million operations need no memory. So the history of a register, a set, a counter, a queue or a list is linearizable, and
//! that of sessions on replicas causally consistent and convergent, whatever the seed. A [`Fault`] is a few events in the middle, while nothing
//! else is open, which no such store can have produced: it speaks of values that nothing else in the history writes, so
//! that it is wrong for certain. The same generator makes the same bytes.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};

use crate::history::{Event, Kind, Process, Value};

/// What a history is to be like.
///
/// ```
/// use godown_jepsen::check::{Options, Verdict, linearizable};
/// use godown_jepsen::generate::{Fault, Generator, Register, Workload};
/// use godown_jepsen::history::History;
///
/// let registers = Workload::Register(Register::default());
/// let mut generator = Generator { operations: 1_000, ..Generator::of(registers) };
/// let mut valid = History::new("valid");
/// generator.run(|event| valid.push(event)).unwrap();
/// assert!(linearizable(&valid, &Options::default()).unwrap().is_valid());
///
/// generator.fault = Some(Fault::StaleRead);
/// let mut stale = History::new("stale");
/// generator.run(|event| stale.push(event)).unwrap();
/// assert_eq!(linearizable(&stale, &Options::default()).unwrap().verdict, Verdict::Violated);
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    /// What the operations are.
    pub workload: Workload,
    /// How many operations there are, not counting those of the fault and those that empty a queue at the end.
    pub operations: u64,
    /// How many threads invoke them. A thread goes on under another process number after a crash.
    pub processes: u32,
    /// How many keys they are on; events on a single key do not name it.
    pub keys: u32,
    /// How many operations are open at once, in the mean.
    pub overlap: u32,
    /// Of a hundred operations: how many end unknown.
    pub crash_percent: u32,
    /// Of a hundred writes: how many are refused, and so never take effect.
    pub refuse_percent: u32,
    /// What is wrong, if anything.
    pub fault: Option<Fault>,
    /// Everything random comes from here.
    pub seed: u64,
}

/// What the operations of a history are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// `read`, `write`, `cas` and `delete` of registers.
    Register(Register),
    /// `add` of a new element to a set, `read` of all elements.
    Set {
        /// Of a hundred operations.
        read_percent: u32,
    },
    /// `add` of a number to a counter, `read` of the sum.
    Counter {
        /// Of a hundred operations.
        read_percent: u32,
        /// The largest number that is added, and the smallest if negative ones are.
        delta_max: u32,
        /// Whether negative numbers are added too.
        has_negative: bool,
    },
    /// `enqueue` of a new element, `dequeue` of the oldest; at the end the queues are emptied.
    Queue,
    /// `append` of a new element to a list, `read` of the whole list. A list is left for a new key when it is long.
    Append {
        /// Of a hundred operations.
        read_percent: u32,
        /// How long a list gets.
        length_max: u32,
    },
    /// `read` and `write` of registers on replicas that hear of each other's writes later, in causal order; of two
    /// writes that did not know of each other, all replicas keep the same one. Processes are sessions.
    Causal {
        /// Of a hundred operations.
        read_percent: u32,
        /// How many replicas; each process talks to one of them.
        replicas: u32,
    },
}

/// What the operations of registers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Of a hundred operations.
    pub read_percent: u32,
    /// Of a hundred operations.
    pub cas_percent: u32,
    /// Of a hundred operations. The rest are writes.
    pub delete_percent: u32,
    /// How many values there are; none if every write is of a new one.
    pub values: Option<u32>,
}

impl Default for Register {
    /// Half of it reads, the rest writes of new values.
    fn default() -> Self {
        Register { read_percent: 50, cas_percent: 0, delete_percent: 0, values: None }
    }
}

/// What is wrong with a history. Each is certain: no valid history contains these events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// One read returns what had been replaced before it began.
    StaleRead,
    /// An acknowledged write never shows.
    LostWrite,
    /// A value appears that nobody wrote.
    ThinAir,
    /// Two concurrent writes are seen in one order by one read and in the other by the next; two elements leave a
    /// queue in the order in which they did not enter.
    Inversion,
    /// The value of a refused write is read.
    FailedWrite,
    /// A write of unknown outcome is seen, replaced, and seen again.
    RevivedWrite,
    /// One value is taken by two cas or dequeues, or stands twice in a list.
    DoubleConsume,
    /// A deleted value is read.
    Resurrection,
    /// A session does not see what it wrote.
    ReadYourWrites,
    /// A session sees a newer value and then an older one.
    MonotonicReads,
    /// A session sees an effect and not its cause.
    CausalReversal,
    /// Two writes each follow a read of the other.
    CyclicOrder,
    /// Two sessions each see the other's write replace their own: causal, but no order of the two is common to both.
    Divergence,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 13] = [
        Fault::StaleRead,
        Fault::LostWrite,
        Fault::ThinAir,
        Fault::Inversion,
        Fault::FailedWrite,
        Fault::RevivedWrite,
        Fault::DoubleConsume,
        Fault::Resurrection,
        Fault::ReadYourWrites,
        Fault::MonotonicReads,
        Fault::CausalReversal,
        Fault::CyclicOrder,
        Fault::Divergence,
    ];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::StaleRead => "stale-read",
            Fault::LostWrite => "lost-write",
            Fault::ThinAir => "thin-air",
            Fault::Inversion => "inversion",
            Fault::FailedWrite => "failed-write",
            Fault::RevivedWrite => "revived-write",
            Fault::DoubleConsume => "double-consume",
            Fault::Resurrection => "resurrection",
            Fault::ReadYourWrites => "read-your-writes",
            Fault::MonotonicReads => "monotonic-reads",
            Fault::CausalReversal => "causal-reversal",
            Fault::CyclicOrder => "cyclic-order",
            Fault::Divergence => "divergence",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Workload {
    /// What can be wrong with its histories.
    #[must_use]
    pub fn faults(self) -> &'static [Fault] {
        use Fault::*;
        match self {
            Workload::Register(_) => &[
                StaleRead,
                LostWrite,
                ThinAir,
                Inversion,
                FailedWrite,
                RevivedWrite,
                DoubleConsume,
                Resurrection,
            ],
            Workload::Set { .. } => &[StaleRead, LostWrite, ThinAir, Inversion, FailedWrite],
            Workload::Counter { .. } => &[LostWrite, ThinAir],
            Workload::Queue => &[LostWrite, ThinAir, Inversion, DoubleConsume, FailedWrite],
            Workload::Append { .. } => {
                &[StaleRead, LostWrite, ThinAir, Inversion, DoubleConsume, FailedWrite]
            }
            Workload::Causal { .. } => &[
                ThinAir,
                FailedWrite,
                ReadYourWrites,
                MonotonicReads,
                CausalReversal,
                CyclicOrder,
                Divergence,
            ],
        }
    }
}

/// Why there is no such history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// Somebody must do it.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// Shares are of a hundred.
    #[error("the percentages {0} make more than 100")]
    Percent(&'static str),
    /// The fault needs functions that the workload does not have.
    #[error("{fault} cannot be wrong with this workload; one of these can: {possible}")]
    Fault {
        /// The one that was asked for.
        fault: Fault,
        /// Those that there are.
        possible: String,
    },
}

impl Generator {
    /// A thousand operations by five processes on one key, two at once, without crashes and faults.
    #[must_use]
    pub fn of(workload: Workload) -> Self {
        Generator {
            workload,
            operations: 1_000,
            processes: 5,
            keys: 1,
            overlap: 2,
            crash_percent: 0,
            refuse_percent: 0,
            fault: None,
            seed: 0,
        }
    }

    /// Hands every event to `sink`, in order, with its time and without an index.
    ///
    /// # Errors
    /// If the fields contradict each other; then the sink has seen nothing.
    pub fn run(&self, sink: impl FnMut(Event)) -> Result<(), GenerateError> {
        self.validate()?;
        Run::new(self, sink).run();
        Ok(())
    }

    fn validate(&self) -> Result<(), GenerateError> {
        let replicas = match self.workload {
            Workload::Causal { replicas, .. } => replicas,
            _ => 1,
        };
        let length_max = match self.workload {
            Workload::Append { length_max, .. } => length_max,
            _ => 1,
        };
        let delta_max = match self.workload {
            Workload::Counter { delta_max, .. } => delta_max,
            _ => 1,
        };
        let values = match self.workload {
            Workload::Register(Register { values, .. }) => values.unwrap_or(1),
            _ => 1,
        };
        let counts = [
            (self.processes, "processes"),
            (self.keys, "keys"),
            (self.overlap, "overlap"),
            (replicas, "replicas"),
            (length_max, "length"),
            (delta_max, "delta"),
            (values, "values"),
        ];
        if let Some((_, name)) = counts.iter().find(|(count, _)| *count == 0) {
            return Err(GenerateError::Zero(name));
        }
        let share = match self.workload {
            Workload::Register(register) => {
                u64::from(register.read_percent)
                    + u64::from(register.cas_percent)
                    + u64::from(register.delete_percent)
            }
            Workload::Set { read_percent }
            | Workload::Counter { read_percent, .. }
            | Workload::Append { read_percent, .. }
            | Workload::Causal { read_percent, .. } => read_percent.into(),
            Workload::Queue => 0,
        };
        if share > 100 {
            return Err(GenerateError::Percent("of functions"));
        }
        if u64::from(self.crash_percent) + u64::from(self.refuse_percent) > 100 {
            return Err(GenerateError::Percent("of crashes and refusals"));
        }
        if let Some(fault) = self.fault.filter(|fault| !self.workload.faults().contains(fault)) {
            let possible: Vec<_> = self.workload.faults().iter().map(|fault| fault.name()).collect();
            return Err(GenerateError::Fault { fault, possible: possible.join(", ") });
        }
        Ok(())
    }
}

/// Sebastiano Vigna's SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Less than the bound; 0 is taken for 1.
    fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound.max(1))) >> 32) as u32
    }

    fn is(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
}

/// What a thread wants.
#[derive(Clone, Debug)]
struct Intent {
    f: &'static str,
    key: u32,
    argument: Value,
}

/// An operation whose end its client does not know yet, or never learns.
struct Open {
    thread: u32,
    intent: Intent,
    /// What came of it, once it took effect: none if it was refused.
    result: Option<Option<Value>>,
    /// Whether it is to be refused.
    is_refused: bool,
}

/// How many forgotten operations may still take effect.
const FORGOTTEN_MAX: usize = 16;

struct Run<'a, S: FnMut(Event)> {
    generator: &'a Generator,
    random: Random,
    store: Store,
    sink: S,
    time_ns: u64,
    /// The process that each thread is now.
    processes: Vec<u64>,
    idle: Vec<u32>,
    open: Vec<Open>,
    forgotten: Vec<Open>,
}

impl<'a, S: FnMut(Event)> Run<'a, S> {
    fn new(generator: &'a Generator, sink: S) -> Self {
        Run {
            generator,
            random: Random(generator.seed),
            store: Store::new(generator),
            sink,
            time_ns: 0,
            processes: (0..u64::from(generator.processes)).collect(),
            idle: (0..generator.processes).collect(),
            open: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    fn run(mut self) {
        let half = self.generator.operations / 2;
        self.some(half);
        if let Some(fault) = self.generator.fault {
            // Clients that nobody has met before.
            let first = self.processes.iter().max().map_or(0, |last| last + 1);
            for Line { client, kind, f, key, value } in script(fault, &mut self.store) {
                let value = Some(value).filter(|value| kind != Kind::Invoke || !value.is_null());
                self.emit(first + client, kind, f, key, value);
            }
        }
        self.some(self.generator.operations - half);
        if self.generator.workload == Workload::Queue {
            self.empty_queues();
        }
    }

    /// Invokes that many operations and sees all of them end.
    fn some(&mut self, mut left: u64) {
        while left > 0 || !self.open.is_empty() {
            // As many begin as end when as many are open as should be.
            let is_begin = self.random.below(2 * self.generator.overlap) >= self.open.len() as u32;
            if left > 0 && !self.idle.is_empty() && (is_begin || self.open.is_empty()) {
                self.invoke();
                left -= 1;
            } else if !self.open.is_empty() {
                let place = self.random.below(self.open.len() as u32) as usize;
                self.complete(place);
            }
            if !self.open.is_empty() {
                let place = self.random.below(self.open.len() as u32) as usize;
                let open = &mut self.open[place];
                self.store.take_effect(open, &mut self.random);
            }
            if !self.forgotten.is_empty() && self.random.is(2) {
                let place = self.random.below(self.forgotten.len() as u32) as usize;
                let mut forgotten = self.forgotten.swap_remove(place);
                self.store.take_effect(&mut forgotten, &mut self.random);
            }
        }
    }

    fn invoke(&mut self) {
        let place = self.random.below(self.idle.len() as u32) as usize;
        let thread = self.idle.swap_remove(place);
        let intent = self.store.intent(&mut self.random);
        let argument = Some(intent.argument.clone()).filter(|argument| !argument.is_null());
        self.emit(self.processes[thread as usize], Kind::Invoke, intent.f, intent.key, argument);
        let is_refused =
            !matches!(intent.f, "read" | "dequeue") && self.random.is(self.generator.refuse_percent);
        self.open.push(Open { thread, intent, result: None, is_refused });
    }

    fn complete(&mut self, place: usize) {
        let mut open = self.open.swap_remove(place);
        let thread = open.thread as usize;
        let process = self.processes[thread];
        self.idle.push(open.thread);
        // A dequeue that may have taken an element would excuse the loss of any.
        if open.intent.f != "dequeue" && self.random.is(self.generator.crash_percent) {
            let argument = Some(open.intent.argument.clone()).filter(|argument| !argument.is_null());
            self.emit(process, Kind::Info, open.intent.f, open.intent.key, argument);
            self.processes[thread] += u64::from(self.generator.processes);
            self.store.unknown_sum += open.intent.argument.as_int().map_or(0, i64::abs);
            let may_come = open.result.is_none() && open.intent.f != "read" && self.random.is(50);
            if may_come && self.forgotten.len() < FORGOTTEN_MAX {
                open.is_refused = false;
                self.forgotten.push(open);
            }
            return;
        }
        self.store.take_effect(&mut open, &mut self.random);
        let Intent { f, key, argument } = open.intent;
        match open.result.flatten() {
            Some(result) => self.emit(process, Kind::Ok, f, key, Some(result)),
            None => self.emit(process, Kind::Fail, f, key, Some(argument).filter(|value| !value.is_null())),
        }
    }

    fn empty_queues(&mut self) {
        // What its client forgot may be in the queue before it is emptied, but not after.
        self.forgotten.clear();
        for key in 0..self.generator.keys {
            loop {
                let taken = self.store.apply(0, "dequeue", key, &Value::Null, &mut self.random);
                let process = self.processes[0];
                self.emit(process, Kind::Invoke, "dequeue", key, None);
                let is_empty = taken.is_none();
                self.emit(process, if is_empty { Kind::Fail } else { Kind::Ok }, "dequeue", key, taken);
                if is_empty {
                    break;
                }
            }
        }
    }

    fn emit(&mut self, process: u64, kind: Kind, f: &'static str, key: u32, value: Option<Value>) {
        self.time_ns += 1_000 + u64::from(self.random.below(100_000));
        let mut event = Event::new(kind, process, f).at(self.time_ns);
        if self.store.names_keys {
            event = event.key(key);
        }
        if let Some(value) = value {
            event = event.value(value);
        }
        (self.sink)(event);
    }
}

/// The simulated store, and what the operations on it are.
struct Store {
    workload: Workload,
    keys: u32,
    names_keys: bool,
    /// The largest number that was written.
    fresh: i64,
    /// The sum of all numbers that may or may not have been added.
    unknown_sum: i64,
    state: State,
}

enum State {
    Registers(Vec<Value>),
    /// Sets and lists: elements in order of addition, and how many lists were left. That of a key is at the rest of
    /// the key divided by the number of keys.
    Elements(Vec<Vec<Value>>, u32),
    Counters(Vec<i64>),
    Queues(Vec<VecDeque<Value>>),
    Replicas(Vec<Replica>),
}

/// One copy of all registers.
#[derive(Clone)]
struct Replica {
    /// The newest write by key: its clock, its replica, its value.
    registers: Vec<(u64, u32, Value)>,
    clock: u64,
    /// How many writes of each replica it has heard of, in order.
    heard: Vec<usize>,
    /// Its own writes, and what it had heard when it made them.
    made: VecDeque<Written>,
    /// How many of its own writes are no longer kept because all have heard of them.
    dropped: usize,
}

#[derive(Clone)]
struct Written {
    key: u32,
    clock: u64,
    value: Value,
    after: Vec<usize>,
}

impl Store {
    fn new(generator: &Generator) -> Self {
        let keys = generator.keys;
        let count = keys as usize;
        let state = match generator.workload {
            Workload::Register(_) => State::Registers(vec![Value::Null; count]),
            Workload::Set { .. } | Workload::Append { .. } => State::Elements(vec![Vec::new(); count], 0),
            Workload::Counter { .. } => State::Counters(vec![0; count]),
            Workload::Queue => State::Queues(vec![VecDeque::new(); count]),
            Workload::Causal { replicas, .. } => State::Replicas(vec![
                Replica {
                    registers: vec![(0, 0, Value::Null); count],
                    clock: 0,
                    heard: vec![0; replicas as usize],
                    made: VecDeque::new(),
                    dropped: 0,
                };
                replicas as usize
            ]),
        };
        let names_keys =
            keys > 1 || matches!(generator.workload, Workload::Append { .. } | Workload::Causal { .. });
        Store { workload: generator.workload, keys, names_keys, fresh: 0, unknown_sum: 0, state }
    }

    fn fresh(&mut self) -> Value {
        self.fresh += 1;
        Value::Int(self.fresh)
    }

    fn intent(&mut self, random: &mut Random) -> Intent {
        let key = random.below(self.keys);
        let read = |key| Intent { f: "read", key, argument: Value::Null };
        match self.workload {
            Workload::Register(register) => self.register_intent(register, key, random),
            Workload::Set { read_percent } if random.is(read_percent) => read(key),
            Workload::Set { .. } => Intent { f: "add", key, argument: self.fresh() },
            Workload::Counter { read_percent, .. } if random.is(read_percent) => read(key),
            Workload::Counter { delta_max, has_negative, .. } => {
                let delta = 1 + i64::from(random.below(delta_max));
                let delta = if has_negative && random.is(50) { -delta } else { delta };
                Intent { f: "add", key, argument: delta.into() }
            }
            Workload::Queue if random.is(50) => Intent { f: "dequeue", key, argument: Value::Null },
            Workload::Queue => Intent { f: "enqueue", key, argument: self.fresh() },
            Workload::Append { read_percent, length_max } => {
                let key = self.list_key(key, length_max);
                if random.is(read_percent) {
                    read(key)
                } else {
                    Intent { f: "append", key, argument: self.fresh() }
                }
            }
            Workload::Causal { read_percent, .. } if random.is(read_percent) => read(key),
            Workload::Causal { .. } => Intent { f: "write", key, argument: self.fresh() },
        }
    }

    fn register_intent(&mut self, register: Register, key: u32, random: &mut Random) -> Intent {
        let Register { read_percent, cas_percent, delete_percent, values } = register;
        let choice = random.below(100);
        if choice < read_percent {
            return Intent { f: "read", key, argument: Value::Null };
        }
        if choice < read_percent + delete_percent {
            return Intent { f: "delete", key, argument: Value::Null };
        }
        let new = match values {
            Some(values) => Value::Int(random.below(values).into()),
            None => self.fresh(),
        };
        if choice >= read_percent + delete_percent + cas_percent {
            return Intent { f: "write", key, argument: new };
        }
        let State::Registers(registers) = &self.state else { unreachable!("the state is the workload's") };
        let old = match (&registers[key as usize], values) {
            // Mostly one that may succeed.
            (Value::Int(old), _) if random.is(80) => *old,
            (_, Some(values)) => random.below(values).into(),
            (_, None) => self.fresh.saturating_sub(1 + i64::from(random.below(8))),
        };
        Intent { f: "cas", key, argument: Value::List(vec![Value::Int(old), new]) }
    }

    /// The key that a list has now; the list is begun anew if it is long.
    fn list_key(&mut self, place: u32, length_max: u32) -> u32 {
        let State::Elements(lists, retired) = &mut self.state else {
            unreachable!("the state is the workload's")
        };
        let first = *retired;
        if lists[(first % self.keys) as usize].len() >= length_max as usize {
            lists[(first % self.keys) as usize].clear();
            *retired += 1;
        }
        *retired + place
    }

    fn take_effect(&mut self, open: &mut Open, random: &mut Random) {
        if open.result.is_some() {
            return;
        }
        let Intent { f, key, argument } = &open.intent;
        open.result =
            Some(if open.is_refused { None } else { self.apply(open.thread, f, *key, argument, random) });
    }

    /// What the store does, at one moment: the result, or none if it does nothing.
    fn apply(
        &mut self,
        thread: u32,
        f: &str,
        key: u32,
        argument: &Value,
        random: &mut Random,
    ) -> Option<Value> {
        match &mut self.state {
            State::Registers(registers) => {
                let register = &mut registers[key as usize];
                match f {
                    "read" => return Some(register.clone()),
                    "delete" => *register = Value::Null,
                    "cas" => {
                        let [old, new] = argument.as_list()? else { return None };
                        if register != old {
                            return None;
                        }
                        *register = new.clone();
                    }
                    _ => *register = argument.clone(),
                }
                Some(argument.clone())
            }
            State::Elements(elements, retired) => {
                let is_list = matches!(self.workload, Workload::Append { .. });
                if is_list && key < *retired {
                    // Nobody reads this list any more but those who had begun: they see nothing of it.
                    return None;
                }
                let place = if is_list { key % self.keys } else { key };
                let elements = &mut elements[place as usize];
                if f == "read" {
                    return Some(Value::List(elements.clone()));
                }
                elements.push(argument.clone());
                Some(argument.clone())
            }
            State::Counters(counters) => {
                let counter = &mut counters[key as usize];
                if f == "read" {
                    return Some(Value::Int(*counter));
                }
                *counter += argument.as_int()?;
                Some(argument.clone())
            }
            State::Queues(queues) => {
                let queue = &mut queues[key as usize];
                if f == "dequeue" {
                    return queue.pop_front();
                }
                queue.push_back(argument.clone());
                Some(argument.clone())
            }
            State::Replicas(replicas) => {
                let here = thread as usize % replicas.len();
                spread(replicas, random);
                if f == "read" {
                    return Some(replicas[here].registers[key as usize].2.clone());
                }
                let replica = &mut replicas[here];
                replica.clock += 1;
                let after = replica.heard.clone();
                replica.heard[here] += 1;
                replica.registers[key as usize] = (replica.clock, here as u32, argument.clone());
                replica.made.push_back(Written { key, clock: replica.clock, value: argument.clone(), after });
                Some(argument.clone())
            }
        }
    }
}

/// Lets one replica hear of another's next write, if it has heard of all that this one followed.
fn spread(replicas: &mut [Replica], random: &mut Random) {
    let count = replicas.len() as u32;
    for _ in 0..count {
        let (from, to) = (random.below(count) as usize, random.below(count) as usize);
        let place = replicas[to].heard[from] - replicas[from].dropped;
        let Some(written) = replicas[from].made.get(place).filter(|_| from != to).cloned() else {
            continue;
        };
        let replica = &mut replicas[to];
        if written.after.iter().zip(&replica.heard).all(|(after, heard)| after <= heard) {
            replica.heard[from] += 1;
            replica.clock = replica.clock.max(written.clock);
            let register = &mut replica.registers[written.key as usize];
            if (register.0, register.1) < (written.clock, from as u32) {
                *register = (written.clock, from as u32, written.value);
            }
        }
        let heard_by_all = replicas.iter().map(|replica| replica.heard[from]).min().unwrap_or(0);
        while replicas[from].dropped < heard_by_all {
            replicas[from].made.pop_front();
            replicas[from].dropped += 1;
        }
    }
}

/// An event of a fault.
struct Line {
    /// One of a few clients that are new.
    client: u64,
    kind: Kind,
    f: &'static str,
    key: u32,
    value: Value,
}

/// A whole operation of a fault.
fn whole(client: u64, f: &'static str, key: u32, end: Kind, value: &Value) -> [Line; 2] {
    let argument = if matches!(f, "read" | "dequeue") { &Value::Null } else { value };
    [(Kind::Invoke, argument), (end, value)].map(|(kind, value)| {
        let value = value.clone();
        Line { client, kind, f, key, value }
    })
}

/// The events of a fault. What the store holds afterwards agrees with them, as far as anything can.
fn script(fault: Fault, store: &mut Store) -> Vec<Line> {
    let operations = match store.workload {
        Workload::Register(_) => register_script(fault, store),
        Workload::Set { .. } => elements_script(fault, store, "add", 0),
        Workload::Append { .. } => elements_script(fault, store, "append", u32::MAX),
        Workload::Counter { .. } => counter_script(fault, store),
        Workload::Queue => queue_script(fault),
        Workload::Causal { .. } => causal_script(fault, store.keys),
    };
    let mut lines: Vec<Line> = operations.into_iter().flatten().collect();
    if fault == Fault::Inversion && !matches!(store.workload, Workload::Queue) {
        // The first two are writes: they end after all that follows.
        let ends = [lines.remove(3), lines.remove(1)];
        let at = lines.len().min(8);
        lines.splice(at..at, ends);
    }
    lines
}

/// Values that nothing else writes; those of writes grow from 1.
fn strange(number: i64) -> Value {
    Value::Int(1_000_000_000_000 + number)
}

fn register_script(fault: Fault, store: &mut Store) -> Vec<[Line; 2]> {
    let [a, b, c, last] = [1, 2, 3, 4].map(strange);
    let put = |client, value: &Value, end| whole(client, "write", 0, end, value);
    let write = |value: &Value| put(0, value, Kind::Ok);
    let read = |value: &Value| whole(2, "read", 0, Kind::Ok, value);
    let cas =
        |old: &Value, new: &Value| whole(3, "cas", 0, Kind::Ok, &Value::List(vec![old.clone(), new.clone()]));
    let mut operations = match fault {
        Fault::StaleRead => vec![write(&a), write(&b), read(&a), read(&b)],
        Fault::LostWrite => vec![write(&a), write(&b), read(&a), read(&a)],
        Fault::Inversion => vec![write(&a), put(1, &b, Kind::Ok), read(&a), read(&b), read(&a)],
        Fault::FailedWrite => vec![put(0, &a, Kind::Fail), read(&a)],
        Fault::RevivedWrite => vec![put(1, &a, Kind::Info), read(&a), write(&b), read(&b), read(&a)],
        Fault::DoubleConsume => vec![write(&a), cas(&a, &b), cas(&a, &c)],
        Fault::Resurrection => {
            vec![write(&a), whole(0, "delete", 0, Kind::Ok, &Value::Null), read(&a)]
        }
        _ => vec![read(&a)],
    };
    operations.push(write(&last));
    if let State::Registers(registers) = &mut store.state {
        registers[0] = last;
    }
    operations
}

fn elements_script(fault: Fault, store: &mut Store, f: &'static str, key: u32) -> Vec<[Line; 2]> {
    let (a, b) = (strange(1), strange(2));
    let mut none = Vec::new();
    // A list of its own, but the set that there is.
    let elements = match &mut store.state {
        State::Elements(sets, _) if f == "add" => &mut sets[0],
        _ => &mut none,
    };
    let add = |client, value: &Value, end| whole(client, f, key, end, value);
    let read = |more: &[&Value]| {
        let all = elements.iter().chain(more.iter().copied());
        whole(2, "read", key, Kind::Ok, &Value::List(all.cloned().collect()))
    };
    let operations = match fault {
        Fault::StaleRead => vec![add(0, &a, Kind::Ok), read(&[&a]), read(&[]), read(&[&a])],
        Fault::LostWrite => vec![add(0, &a, Kind::Ok), read(&[])],
        Fault::Inversion => vec![add(0, &a, Kind::Ok), add(1, &b, Kind::Ok), read(&[&a]), read(&[&b])],
        Fault::FailedWrite => vec![add(0, &a, Kind::Fail), read(&[&a])],
        Fault::DoubleConsume => vec![add(0, &a, Kind::Ok), read(&[&a, &a])],
        _ => vec![read(&[&a])],
    };
    match fault {
        Fault::StaleRead => elements.push(a),
        Fault::Inversion => elements.extend([a, b]),
        _ => {}
    }
    operations
}

fn counter_script(fault: Fault, store: &mut Store) -> Vec<[Line; 2]> {
    let sum = match &store.state {
        State::Counters(counters) => counters[0],
        _ => 0,
    };
    // More than all additions of unknown end could explain.
    let much = store.unknown_sum + 1;
    let read = |value: i64| whole(1, "read", 0, Kind::Ok, &Value::Int(value));
    match fault {
        Fault::LostWrite => vec![whole(0, "add", 0, Kind::Ok, &Value::Int(much)), read(sum)],
        _ => vec![read(sum + much)],
    }
}

fn queue_script(fault: Fault) -> Vec<[Line; 2]> {
    let (a, b) = (strange(1), strange(2));
    let put = |value, end| whole(0, "enqueue", 0, end, value);
    let take = |value| whole(1, "dequeue", 0, Kind::Ok, value);
    match fault {
        Fault::LostWrite => vec![put(&a, Kind::Ok)],
        Fault::Inversion => vec![put(&a, Kind::Ok), put(&b, Kind::Ok), take(&b), take(&a)],
        Fault::DoubleConsume => vec![put(&a, Kind::Ok), take(&a), take(&a)],
        Fault::FailedWrite => vec![put(&a, Kind::Fail), take(&a)],
        _ => vec![take(&a)],
    }
}

fn causal_script(fault: Fault, keys: u32) -> Vec<[Line; 2]> {
    let (a, b) = (&strange(1), &strange(2));
    let (x, y) = (keys, keys.saturating_add(1));
    let write = |client, key, value| whole(client, "write", key, Kind::Ok, value);
    let read = |client, key, value| whole(client, "read", key, Kind::Ok, value);
    match fault {
        Fault::FailedWrite => vec![whole(0, "write", x, Kind::Fail, a), read(1, x, a)],
        Fault::ReadYourWrites => vec![write(0, x, a), write(0, x, b), read(0, x, a)],
        Fault::MonotonicReads => vec![write(0, x, a), write(0, x, b), read(1, x, b), read(1, x, a)],
        Fault::CausalReversal => {
            vec![write(0, x, a), read(1, x, a), write(1, y, b), read(2, y, b), read(2, x, &Value::Null)]
        }
        Fault::CyclicOrder => vec![read(0, x, a), write(0, y, b), read(1, y, b), write(1, x, a)],
        Fault::Divergence => vec![write(0, x, a), write(1, x, b), read(0, x, b), read(1, x, a)],
        _ => vec![read(0, x, a)],
    }
}

/// Writes events as Jepsen prints them, and numbers them.
///
/// ```
/// use godown_jepsen::generate::Edn;
/// use godown_jepsen::history::Event;
///
/// let mut edn = Edn::new(Vec::new());
/// edn.record(&Event::invoke(0, "write").value(1).at(123)).unwrap();
/// edn.record(&Event::ok(1, "read").key(7).at(124)).unwrap();
/// let text = String::from_utf8(edn.into_inner()).unwrap();
/// let lines = [
///     "{:index 0, :time 123, :type :invoke, :process 0, :f :write, :value 1}\n",
///     "{:index 1, :time 124, :type :ok, :process 1, :f :read, :value [7 nil]}\n",
/// ];
/// assert_eq!(text, lines.concat());
/// ```
#[derive(Debug)]
pub struct Edn<W: Write> {
    output: W,
    next: u64,
    line: Vec<u8>,
}

impl<W: Write> Edn<W> {
    /// A writer that numbers from 0. Hand it something buffered, and [`Edn::flush`] at the end.
    pub fn new(output: W) -> Self {
        Edn { output, next: 0, line: Vec::new() }
    }

    /// Writes one event as one line. An event with a key becomes one of Jepsen's independent tuples.
    ///
    /// # Errors
    /// What the output says.
    pub fn record(&mut self, event: &Event) -> io::Result<()> {
        self.line.clear();
        let line = &mut self.line;
        let index = event.index().unwrap_or(self.next);
        write!(line, "{{:index {index}, :time {}", event.time_ns().unwrap_or(0))?;
        let colon = if matches!(event.process(), Process::Named(_)) { ":" } else { "" };
        write!(line, ", :type :{}, :process {colon}{}", event.kind(), event.process())?;
        write!(line, ", :f :{}, :value ", event.f())?;
        let value = event.value_of().unwrap_or(&Value::Null);
        if let Some(key) = event.key_of() {
            line.push(b'[');
            write_edn(line, key)?;
            line.push(b' ');
            write_edn(line, value)?;
            line.push(b']');
        } else {
            write_edn(line, value)?;
        }
        line.extend_from_slice(b"}\n");
        self.output.write_all(line)?;
        self.next = index + 1;
        Ok(())
    }

    /// Hands everything on.
    ///
    /// # Errors
    /// What the output says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// The output.
    pub fn into_inner(self) -> W {
        self.output
    }
}

/// Recurses as deep as the value, which a caller in this process has built.
fn write_edn(line: &mut Vec<u8>, value: &Value) -> io::Result<()> {
    match value {
        Value::Null => line.extend_from_slice(b"nil"),
        Value::Bool(truth) => write!(line, "{truth}")?,
        Value::Int(number) => write!(line, "{number}")?,
        Value::Float(number) => write!(line, "{:?}", number.0)?,
        // Escaped as in JSON, which EDN's strings understand.
        Value::Str(text) => serde_json::to_writer(line, text)?,
        Value::List(values) => {
            line.push(b'[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    line.push(b' ');
                }
                write_edn(line, value)?;
            }
            line.push(b']');
        }
        Value::Map(map) => {
            line.push(b'{');
            for (place, (key, value)) in map.iter().enumerate() {
                if place > 0 {
                    line.extend_from_slice(b", ");
                }
                write_edn(line, key)?;
                line.push(b' ');
                write_edn(line, value)?;
            }
            line.push(b'}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Options, Verdict, linearizable};
    use crate::history::{Format, History, Independent, Load};

    fn history(generator: &Generator) -> History {
        let mut history = History::new("generated");
        generator.run(|event| history.push(event)).unwrap();
        history
    }

    const WORKLOADS: [Workload; 7] = [
        Workload::Register(Register { read_percent: 40, cas_percent: 20, delete_percent: 10, values: None }),
        Workload::Register(Register {
            read_percent: 40,
            cas_percent: 20,
            delete_percent: 10,
            values: Some(4),
        }),
        Workload::Set { read_percent: 10 },
        Workload::Counter { read_percent: 30, delta_max: 5, has_negative: true },
        Workload::Queue,
        Workload::Append { read_percent: 30, length_max: 20 },
        Workload::Causal { read_percent: 50, replicas: 3 },
    ];

    fn rough(workload: Workload, seed: u64) -> Generator {
        Generator {
            operations: 200,
            keys: 1 + (seed % 3) as u32,
            crash_percent: 4,
            refuse_percent: 4,
            seed,
            ..Generator::of(workload)
        }
    }

    #[test]
    fn registers_are_linearizable_but_for_their_fault() {
        for workload in &WORKLOADS[..2] {
            for seed in 0..60 {
                let mut generator = rough(*workload, seed);
                let judge = |generator: &Generator| {
                    linearizable(&history(generator), &Options::default()).unwrap().verdict
                };
                assert_eq!(judge(&generator), Verdict::Valid, "{generator:?}");
                for fault in workload.faults() {
                    generator.fault = Some(*fault);
                    assert_eq!(judge(&generator), Verdict::Violated, "{generator:?}");
                }
            }
        }
    }

    #[test]
    fn every_history_pairs_and_says_the_same_in_both_notations() {
        for workload in WORKLOADS {
            for fault in workload.faults().iter().copied().map(Some).chain([None]) {
                let generator = Generator { fault, ..rough(workload, 7) };
                let mut edn = Edn::new(Vec::new());
                generator.run(|event| edn.record(&event).unwrap()).unwrap();
                let events = history(&generator);
                let independent = if events.at(0).key() == crate::history::Atom::ABSENT {
                    Independent::No
                } else {
                    Independent::Yes
                };
                let load = Load { format: Format::Edn, independent };
                let read = load.read("edn", &mut edn.into_inner().as_slice()).unwrap();
                let operations = events.operations().unwrap();
                let same = read.operations().unwrap();
                let count = generator.operations as usize;
                assert!(operations.len() >= count && same.len() == operations.len(), "{generator:?}");
                for (a, b) in operations.iter().zip(&same) {
                    assert_eq!((a.invoked, a.completed(), a.outcome), (b.invoked, b.completed(), b.outcome));
                    assert_eq!(events.value(a.result), read.value(b.result), "{generator:?}");
                    let [invoked, same] = [events.at(a.invoked), read.at(b.invoked)];
                    assert_eq!(events.value(invoked.value()), read.value(same.value()), "{generator:?}");
                    assert_eq!(events.value(a.key), read.value(b.key), "{generator:?}");
                }
            }
        }
    }

    #[test]
    fn as_many_operations_overlap_as_were_asked_for() {
        for overlap in [1, 3, 10] {
            let registers = Workload::Register(Register::default());
            let generator =
                Generator { overlap, processes: 40, operations: 20_000, ..Generator::of(registers) };
            let (mut open, mut sum, mut events) = (0u32, 0u64, 0u64);
            let count = |event: Event| {
                if event.kind() == Kind::Invoke {
                    open += 1;
                } else {
                    open -= 1;
                }
                sum += u64::from(open);
                events += 1;
            };
            generator.run(count).unwrap();
            let mean = sum as f64 / events as f64;
            assert!((mean - f64::from(overlap)).abs() < 0.6, "{mean} {overlap}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let generator = Generator { fault: Some(Fault::Resurrection), ..Generator::of(Workload::Queue) };
        let error = generator.run(|_| panic!("an event")).unwrap_err().to_string();
        assert!(error.starts_with("resurrection cannot be wrong with this workload"), "{error}");
        let generator = Generator { keys: 0, ..Generator::of(Workload::Queue) };
        assert_eq!(generator.run(|_| {}), Err(GenerateError::Zero("keys")));
        let generator = Generator::of(Workload::Set { read_percent: 101 });
        assert_eq!(generator.run(|_| {}), Err(GenerateError::Percent("of functions")));
    }
}
