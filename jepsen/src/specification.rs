//! Linearizability of anything, from a test in Rust.
//!
//! Say what your object does one call at a time (a [`Specification`]), record what its callers saw (a [`Recorder`]), and
//! [`linearizable`] tells whether the calls could have taken effect one at a time, each between its invocation and
//! its return. Without files and notations: inputs and outputs are your own types.
//!
//! ```
//! use godown_jepsen::specification::{Limits, Recorder, Specification, linearizable};
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! /// An account: `Some(amount)` takes money out, `None` asks for the balance. The output is the new balance.
//! struct Account;
//!
//! impl Specification for Account {
//!     type State = u64;
//!     type Input = Option<u64>;
//!     type Output = u64;
//!     type Next = Option<u64>;
//!     fn initial(&self) -> u64 {
//!         100
//!     }
//!     fn step(&self, balance: &u64, input: &Option<u64>, output: Option<&u64>) -> Option<u64> {
//!         let after = balance.checked_sub(input.unwrap_or(0))?;
//!         output.is_none_or(|output| *output == after).then_some(after)
//!     }
//! }
//!
//! let balance = AtomicU64::new(100);
//! let recorder = Recorder::new();
//! std::thread::scope(|scope| {
//!     for amount in [1, 2, 3] {
//!         let (recorder, balance) = (&recorder, &balance);
//!         scope.spawn(move || {
//!             recorder.call(Some(amount), || balance.fetch_sub(amount, Ordering::SeqCst) - amount);
//!             recorder.call(None, || balance.load(Ordering::SeqCst));
//!         });
//!     }
//! });
//! let answer = linearizable(&Account, &recorder.into_calls(), &Limits::default());
//! assert!(answer.is_linearizable(), "{answer}");
//! ```

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::search::{self, Decision, Machine, Span};
use crate::engine::wgl::Budget;

/// What an object does, one call at a time.
pub trait Specification {
    /// All that decides what a call may return. Small ones make quick searches.
    type State: Eq + Hash;
    /// What a call is called with.
    type Input: Debug;
    /// What comes back.
    type Output: Debug;
    /// What may follow a state: `Option<State>`, or `Vec<State>` where a call may leave one of several.
    type Next: IntoIterator<Item = Self::State>;

    /// The state before the first call.
    fn initial(&self) -> Self::State;

    /// The state after a call; none if a call with this input cannot have this output in this state. The output of a call
    /// that never returned is unknown: whatever it would have been, it fits.
    fn step(&self, state: &Self::State, input: &Self::Input, output: Option<&Self::Output>) -> Self::Next;

    /// Which of several independent objects a call is on, each of them with the same first state. They are judged
    /// one by one, which is much quicker than all at once.
    fn part(&self, input: &Self::Input) -> u64 {
        let _ = input;
        0
    }

    /// Whether such a call never changes the state. Saying so makes searches quicker; saying so falsely makes
    /// them wrong.
    fn is_read(&self, input: &Self::Input) -> bool {
        let _ = input;
        false
    }

    /// The call in words, for messages.
    fn describe(&self, input: &Self::Input, output: Option<&Self::Output>) -> String {
        match output {
            Some(output) => format!("{input:?} -> {output:?}"),
            None => format!("{input:?} -> never returned"),
        }
    }
}

/// One call as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<I, O> {
    /// What it was called with.
    pub input: I,
    /// When it was invoked, among all invocations and returns. No two of these have the same position.
    pub invoked: u32,
    /// When it returned, and with what; none if its caller does not know whether it ever took effect.
    pub returned: Option<(u32, O)>,
}

/// Records calls from many threads.
///
/// A call that is begun and neither ended nor forgotten may have taken effect, at any later time.
#[derive(Debug)]
pub struct Recorder<I, O> {
    calls: Mutex<Recorded<I, O>>,
}

#[derive(Debug)]
struct Recorded<I, O> {
    /// None for those that certainly did not happen.
    calls: Vec<Option<Call<I, O>>>,
    position: u32,
}

/// A call that was begun with [`Recorder::begin`].
#[derive(Debug)]
#[must_use = "a call that is never ended may have taken effect"]
pub struct Ticket(usize);

impl<I, O> Default for Recorder<I, O> {
    fn default() -> Self {
        Recorder { calls: Mutex::new(Recorded { calls: Vec::new(), position: 0 }) }
    }
}

impl<I, O> Recorder<I, O> {
    /// Has recorded nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a whole call around `work`. If that panics, the call has an unknown end.
    pub fn call(&self, input: I, work: impl FnOnce() -> O) -> O
    where
        O: Clone,
    {
        let ticket = self.begin(input);
        let output = work();
        self.end(ticket, output.clone());
        output
    }

    /// A call begins: say so before anything is sent.
    pub fn begin(&self, input: I) -> Ticket {
        self.with(|recorded| {
            recorded.calls.push(Some(Call { input, invoked: recorded.position, returned: None }));
            Ticket(recorded.calls.len() - 1)
        })
    }

    /// It returned: say so after everything was received.
    pub fn end(&self, ticket: Ticket, output: O) {
        self.with(|recorded| {
            let position = recorded.position;
            if let Some(Some(call)) = recorded.calls.get_mut(ticket.0) {
                call.returned = Some((position, output));
            }
        });
    }

    /// It certainly did not happen and never will.
    pub fn forget(&self, ticket: Ticket) {
        self.with(|recorded| {
            if let Some(call) = recorded.calls.get_mut(ticket.0) {
                *call = None;
            }
        });
    }

    /// All calls, in order of their begin.
    #[must_use]
    pub fn into_calls(self) -> Vec<Call<I, O>> {
        let recorded = self.calls.into_inner().unwrap_or_else(PoisonError::into_inner);
        recorded.calls.into_iter().flatten().collect()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Recorded<I, O>) -> T) -> T {
        let mut recorded = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.position += 1;
        change(&mut recorded)
    }
}

/// How much a search may spend on each part.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events walked and calls tried.
    pub steps_max: u64,
    /// Configurations remembered.
    pub configurations_max: usize,
    /// How long to try, for all parts together.
    pub timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { steps_max: 2_000_000_000, configurations_max: 10_000_000, timeout: None }
    }
}

/// What is found about some calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// They could have taken effect one at a time.
    Linearizable,
    /// They could not.
    Violated(Violation),
    /// Nobody knows within the limits, and why.
    Unknown(String),
}

/// Why calls could not have taken effect one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The part that they are on.
    pub part: u64,
    /// The call that no order explains, by its place in the input. All that returned before it can be explained.
    pub call: usize,
    /// An order of all that returned before it, and of some calls that were open.
    pub order: Vec<usize>,
    /// The end of that order, and the call, in words.
    pub text: String,
}

impl Answer {
    /// Whether they could have taken effect one at a time.
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        *self == Answer::Linearizable
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Linearizable => f.write_str("linearizable"),
            Answer::Violated(violation) => write!(f, "not linearizable: {}", violation.text),
            Answer::Unknown(reason) => write!(f, "unknown: {reason}"),
        }
    }
}

/// Judges whether `calls` could have taken effect one at a time, each between its invocation and its return, by
/// the search of Wing and Gong (1993) with Lowe's improvements (2017). See the module's example.
#[must_use]
pub fn linearizable<S: Specification>(
    specification: &S,
    calls: &[Call<S::Input, S::Output>],
    limits: &Limits,
) -> Answer {
    let mut parts: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (place, call) in calls.iter().enumerate() {
        parts.entry(specification.part(&call.input)).or_default().push(place);
    }
    let budget = Budget {
        steps_max: limits.steps_max,
        configurations_max: limits.configurations_max,
        deadline: limits.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
    };
    let mut answer = Answer::Linearizable;
    for (number, mut places) in parts {
        places.sort_by_key(|place| calls[*place].invoked);
        let part = Part { specification, calls, places };
        match part.judge(number, budget) {
            Answer::Linearizable => {}
            Answer::Violated(violation) => return Answer::Violated(violation),
            // Another part may be violated all the same.
            Answer::Unknown(reason) => answer = Answer::Unknown(reason),
        }
    }
    answer
}

struct Part<'a, S: Specification> {
    specification: &'a S,
    calls: &'a [Call<S::Input, S::Output>],
    places: Vec<usize>,
}

impl<S: Specification> Machine for Part<'_, S> {
    type State = S::State;

    fn initial(&self) -> S::State {
        self.specification.initial()
    }

    fn step(&self, state: &S::State, call: usize, visit: &mut dyn FnMut(S::State)) {
        let call = &self.calls[self.places[call]];
        let output = call.returned.as_ref().map(|(_, output)| output);
        self.specification.step(state, &call.input, output).into_iter().for_each(visit);
    }

    fn is_read(&self, call: usize) -> bool {
        self.specification.is_read(&self.calls[self.places[call]].input)
    }
}

/// How many calls before the one in question are told.
const TOLD_MAX: usize = 10;

impl<S: Specification> Part<'_, S> {
    fn judge(&self, number: u64, budget: Budget) -> Answer {
        let span = |place: &usize| {
            let call = &self.calls[*place];
            Span { invoked: call.invoked, returned: call.returned.as_ref().map(|(at, _)| *at) }
        };
        let spans: Vec<Span> = self.places.iter().map(span).collect();
        let unknown = |reason: &str| Answer::Unknown(format!("{reason} (calls: {})", spans.len()));
        match search::decide(self, &spans, budget).0 {
            Decision::Linearizable(_) => Answer::Linearizable,
            Decision::Impossible { call, order } => {
                let order: Vec<usize> = order.into_iter().map(|call| self.places[call]).collect();
                let call = self.places[call];
                let text = self.tell(call, &order);
                Answer::Violated(Violation { part: number, call, order, text })
            }
            Decision::OutOfSteps => unknown("the steps ran out"),
            Decision::OutOfMemory => unknown("the memory ran out"),
            Decision::OutOfTime => unknown("the time ran out"),
            Decision::TooWide => unknown("more than 4,096 calls are open at once"),
        }
    }

    fn tell(&self, call: usize, order: &[usize]) -> String {
        let describe = |call: usize| {
            let Call { input, returned, .. } = &self.calls[call];
            self.specification.describe(input, returned.as_ref().map(|(_, output)| output))
        };
        let skipped = order.len().saturating_sub(TOLD_MAX);
        let mut lines = vec![format!("call {call} ({}) has no place in any order.", describe(call))];
        lines.push("All that returned before it can be explained, for example in this order:".to_owned());
        if skipped > 0 {
            lines.push(format!("  … {skipped} calls, then"));
        }
        lines.extend(order[skipped..].iter().map(|call| format!("  call {call} ({})", describe(*call))));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::generate::{Fault, Generator, Workload};
    use crate::history::{History, Outcome, Value};

    /// A set, a counter, a queue or a list, by the functions that the generator calls.
    struct Object(Workload);

    type Input = (&'static str, u64, i64);

    impl Specification for Object {
        type State = VecDeque<i64>;
        type Input = Input;
        type Output = Vec<i64>;
        type Next = Option<VecDeque<i64>>;

        fn initial(&self) -> VecDeque<i64> {
            VecDeque::new()
        }

        fn step(&self, state: &VecDeque<i64>, input: &Input, output: Option<&Vec<i64>>) -> Self::Next {
            let (f, _, value) = input;
            let mut after = state.clone();
            match (*f, self.0) {
                ("read", Workload::Counter { .. }) => {
                    let sum = state.iter().sum::<i64>();
                    return output.is_none_or(|output| output[..] == [sum]).then_some(after);
                }
                ("read", _) => return output.is_none_or(|output| after == *output).then_some(after),
                ("dequeue", _) => {
                    let taken = Vec::from_iter(after.pop_front());
                    return output.is_none_or(|output| *output == taken).then_some(after);
                }
                (_, Workload::Counter { .. }) => {
                    after = [state.iter().sum::<i64>() + value].into();
                }
                (_, Workload::Set { .. }) => {
                    after.push_back(*value);
                    after.make_contiguous().sort_unstable();
                }
                _ => after.push_back(*value),
            }
            Some(after)
        }

        fn part(&self, (_, key, _): &Input) -> u64 {
            *key
        }

        fn is_read(&self, (f, ..): &Input) -> bool {
            *f == "read"
        }
    }

    fn answer(generator: &Generator) -> Answer {
        let mut history = History::new("generated");
        generator.run(|event| history.push(event)).unwrap();
        let calls = history.operations().unwrap().into_iter().filter_map(|operation| {
            let f = match history.word(operation.f) {
                "read" => "read",
                "dequeue" => "dequeue",
                _ => "add",
            };
            // An empty queue is an answer.
            if operation.outcome == Outcome::Fail && f != "dequeue" {
                return None;
            }
            let number = |value: &Value| value.as_int().unwrap_or(0);
            let key = number(&history.value(operation.key)) as u64;
            let output = match history.value(operation.result) {
                Value::List(values) => {
                    let mut numbers: Vec<i64> = values.iter().map(number).collect();
                    if matches!(generator.workload, Workload::Set { .. }) {
                        numbers.sort_unstable();
                    }
                    numbers
                }
                Value::Int(number) => vec![number],
                _ => Vec::new(),
            };
            let input = (f, key, number(&history.value(operation.argument)));
            let returned = operation.returned().map(|returned| (returned, output));
            Some(Call { input, invoked: operation.invoked, returned })
        });
        linearizable(&Object(generator.workload), &calls.collect::<Vec<_>>(), &Limits::default())
    }

    #[test]
    fn generated_sets_counters_queues_and_lists_are_linearizable_but_for_their_fault() {
        let workloads = [
            Workload::Set { read_percent: 30 },
            Workload::Counter { read_percent: 40, delta_max: 3, has_negative: true },
            Workload::Queue,
            Workload::Append { read_percent: 40, length_max: 8 },
        ];
        for workload in workloads {
            for seed in 0..20 {
                let mut generator = Generator {
                    operations: 60,
                    keys: 1 + (seed % 3) as u32,
                    crash_percent: 3,
                    refuse_percent: 5,
                    seed,
                    ..Generator::of(workload)
                };
                let valid = answer(&generator);
                assert!(valid.is_linearizable(), "{generator:?} {valid}");
                for fault in workload.faults() {
                    generator.fault = Some(*fault);
                    let answer = answer(&generator);
                    assert!(matches!(answer, Answer::Violated(_)), "{generator:?} {answer}");
                }
            }
        }
    }

    /// A lock: true takes it, false gives it back.
    struct Lock;

    impl Specification for Lock {
        type State = bool;
        type Input = bool;
        type Output = ();
        type Next = Option<bool>;

        fn initial(&self) -> bool {
            false
        }

        fn step(&self, is_taken: &bool, takes: &bool, _: Option<&()>) -> Option<bool> {
            (is_taken != takes).then_some(*takes)
        }
    }

    #[test]
    fn a_lock_that_two_hold_is_explained() {
        let recorder = Recorder::new();
        recorder.call(true, || ());
        let refused = recorder.begin(true);
        recorder.forget(refused);
        recorder.call(false, || ());
        recorder.call(true, || ());
        let lost = recorder.begin(false);
        drop(lost);
        recorder.call(true, || ());
        recorder.call(true, || ());
        let calls = recorder.into_calls();
        let Answer::Violated(violation) = linearizable(&Lock, &calls, &Limits::default()) else {
            panic!("two hold it")
        };
        // The call that was given up may have given the lock back once.
        assert_eq!((violation.call, &violation.order[..]), (5, &[0, 1, 2, 3, 4][..]));
        assert!(violation.text.contains("call 3 (false -> never returned)"), "{}", violation.text);
        assert!(linearizable(&Lock, &calls[..5], &Limits::default()).is_linearizable());
    }

    /// Somebody flips a coin and keeps it; later looks show the same side.
    struct Coin;

    impl Specification for Coin {
        type State = Option<bool>;
        type Input = &'static str;
        type Output = bool;
        type Next = Vec<Option<bool>>;

        fn initial(&self) -> Option<bool> {
            None
        }

        fn step(&self, side: &Option<bool>, f: &&str, output: Option<&bool>) -> Vec<Option<bool>> {
            match *f {
                "flip" => vec![Some(false), Some(true)],
                _ => Vec::from_iter((*side == output.copied()).then_some(*side)),
            }
        }
    }

    #[test]
    fn a_call_may_leave_one_of_several_states() {
        let looks = |sides: &[bool]| {
            let recorder = Recorder::new();
            recorder.call("flip", || true);
            sides.iter().for_each(|side| {
                recorder.call("look", || *side);
            });
            linearizable(&Coin, &recorder.into_calls(), &Limits::default()).is_linearizable()
        };
        assert!(looks(&[true, true]) && looks(&[false, false]));
        assert!(!looks(&[true, false]));
    }

    #[test]
    fn limits_make_an_answer_unknown() {
        let fault = Some(Fault::ThinAir);
        let generator = Generator { fault, operations: 50, ..Generator::of(Workload::Queue) };
        assert!(matches!(answer(&generator), Answer::Violated(_)));
        let recorder = Recorder::new();
        recorder.call(true, || ());
        let limits = Limits { steps_max: 0, ..Limits::default() };
        let answer = linearizable(&Lock, &recorder.into_calls(), &limits);
        assert_eq!(answer.to_string(), "unknown: the steps ran out (calls: 1)");
    }
}
