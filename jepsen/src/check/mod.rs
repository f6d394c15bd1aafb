//! Rules, and verdicts on histories that should keep them.
//!
//! [`linearizable`] judges registers; [`siblings`] judges keys whose concurrent writes all survive; [`convergence`]
//! judges whether all nodes ended equal, and [`endings`] whether they ended right; [`causal`] judges whether reads respect
//! causes, and [`session`] what each session is promised; [`staleness`] measures how far reads lag behind; [`set`], [`counter`], [`queue`] and [`kv`] judge
//! what their names say; [`auto`] finds out which of them a history asks for. Each takes a whole [`History`] and returns
//! a [`Report`]. A rule never guesses: what it cannot tell is unknown, with the reason.

mod accesses;
mod causal;
mod convergence;
mod counter;
mod endings;
mod kv;
mod measure;
mod queue;
mod reasons;
mod register;
mod report;
mod role;
mod route;
mod session;
mod set;
mod siblings;
mod staleness;
mod witness;

pub use causal::causal;
pub use convergence::convergence;
pub use counter::counter;
pub use endings::{Resolve, endings};
pub use kv::kv;
pub use queue::{queue, total_queue};
pub use register::{FailedCas, Nil, Options, linearizable};
pub use report::{Anomaly, Check, Explanation, Figures, Place, Report, Unknown, Verdict, Violation};
pub use session::session;
pub use set::set;
pub use siblings::siblings;
pub use staleness::{Quorum, staleness};

use std::borrow::Cow;

use crate::engine::quick::QuickMap;
use crate::history::{Atom, History, Operation, PairError};

/// Why a history could not be judged at all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Its events do not make up operations.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// An operation's value is not what its function takes.
    #[error("{at}: {expected}")]
    Malformed {
        /// File and line, or the event's position.
        at: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// What a history is a history of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// Find out from what the clients call and what reads show: siblings (with how stale reads were) if any event says what
    /// had been seen, else what the functions belong to; unknown if they belong to nothing.
    #[default]
    Auto,
    /// Registers that should behave like one copy.
    Register,
    /// Keys that keep all concurrent values.
    Siblings,
    /// Texts or lists that are read whole, replaced and appended to.
    Kv,
    /// Counters.
    Counter,
    /// Sets that only grow.
    Set,
    /// Queues, first in first out.
    Queue,
    /// Queues that only owe what was put in, in any order.
    TotalQueue,
    /// Reads and writes that should respect causes: causal consistency, convergence and memory.
    Causal,
    /// Sessions that should read their writes, never go back, and keep the order of writes and causes.
    Session,
    /// Sets, counters and registers that all nodes must agree on in the end.
    Convergence,
    /// How stale reads were; of registers and of siblings.
    Staleness,
}

/// Judges a history by the rules that it asks for.
///
/// # Errors
/// See [`run`].
pub fn auto(history: &History, options: &Options) -> Result<Report, CheckError> {
    run(history, Model::Auto, options)
}

/// Judges a history by every rule of a model.
///
/// # Errors
/// A history whose events do not make up operations, or an operation with a value that its function cannot have.
pub fn run(history: &History, model: Model, options: &Options) -> Result<Report, CheckError> {
    match model {
        Model::Auto => match route::model(history) {
            // How stale reads were is told, not judged, where nobody says how stale they may be.
            Ok(Model::Siblings) => {
                Ok(run(history, Model::Siblings, options)?.join(staleness(history, options)?))
            }
            Ok(model) => run(history, model, options),
            Err(stranger) => {
                let mut check = Check::new("model");
                let reason =
                    format!("no rule is known for a history with {stranger}; choose one with --model");
                check.wonder(None, reason);
                Ok(Report::new(&history.source, vec![check]))
            }
        },
        Model::Register => linearizable(history, options),
        Model::Kv => kv(history, options),
        Model::Counter => counter(history, options),
        Model::Set => set(history, options),
        Model::Queue => queue(history, options),
        Model::TotalQueue => total_queue(history, options),
        Model::Causal => causal(history, options),
        Model::Session => session(history, options),
        Model::Convergence => Ok(convergence(history)?.join(endings(history, options)?)),
        Model::Staleness => staleness(history, options),
        Model::Siblings => Ok(siblings(history)?.join(convergence(history)?)),
    }
}

/// The phase of reads after everything came to rest.
const FINAL: &str = "final";

/// Operations by key, keys in order; operations without a key are on the key nil.
fn keys<'a>(history: &History, operations: &'a [Operation]) -> Vec<(Atom, Cow<'a, [Operation]>)> {
    let key_of = |operation: &Operation| operation.key.or(Atom::NULL);
    let Some(first) = operations.first().map(key_of) else { return Vec::new() };
    // A history of one key is large as often as not, and needs no copy.
    if operations.iter().all(|operation| key_of(operation) == first) {
        return vec![(first, Cow::Borrowed(operations))];
    }
    let mut numbers: QuickMap<Atom, usize> = QuickMap::default();
    let mut keys: Vec<(Atom, Vec<Operation>)> = Vec::new();
    let mut last = (Atom::ABSENT, usize::MAX);
    for operation in operations {
        let key = key_of(operation);
        if last.0 != key {
            let number = *numbers.entry(key).or_insert_with(|| {
                keys.push((key, Vec::new()));
                keys.len() - 1
            });
            last = (key, number);
        }
        keys[last.1].1.push(*operation);
    }
    keys.sort_by(|(a, _), (b, _)| history.compare(*a, *b));
    keys.into_iter().map(|(key, operations)| (key, Cow::Owned(operations))).collect()
}
