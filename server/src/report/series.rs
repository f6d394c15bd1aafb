//! The history as what is drawn: one entry for each call, with when, how long, by whom and how it ended.

use godown_jepsen::history::{Atom, History, Operation, Outcome, PairError};

use super::phase::Phase;
use super::table::OPERATIONS;

/// One call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Call {
    /// Its place in [`OPERATIONS`].
    pub(super) operation: usize,
    /// When it began.
    pub(super) at_s: f64,
    /// How long the client waited.
    pub(super) took_s: f64,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// Which session made it.
    pub(super) session: usize,
    /// How many values a read showed.
    pub(super) values: usize,
}

/// All calls of the load, in the order in which they began; reads after it are left out.
///
/// # Errors
/// A history whose events do not make up operations.
pub(super) fn calls(history: &History, load_s: f64) -> Result<Vec<Call>, PairError> {
    let operations = history.operations()?;
    Ok(operations
        .iter()
        .filter(|operation| !operation.is_in_phase(history, Phase::Final.as_str()))
        .filter_map(|operation| call(history, operation, load_s))
        .collect())
}

fn call(history: &History, operation: &Operation, load_s: f64) -> Option<Call> {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let invoke = history.at(operation.invoked);
    let at_s = seconds(invoke.time_ns()?);
    // A call that nobody completed was waited for until the load was over.
    let end_ns = operation.completed().and_then(|position| history.at(position).time_ns());
    let end_s = end_ns.map_or(load_s, seconds);
    let session = history.int(invoke.extra("session"));
    Some(Call {
        operation: OPERATIONS.iter().position(|name| *name == invoke.f())?,
        at_s,
        took_s: (end_s - at_s).max(0.0),
        outcome: operation.outcome,
        session: usize::try_from(session.unwrap_or(0)).unwrap_or(0),
        values: history.list(operation.result).map_or(0, <[Atom]>::len),
    })
}

#[cfg(test)]
mod tests {
    use godown_jepsen::history::Event;

    use super::*;

    #[test]
    fn calls_of_the_load_are_drawn_and_final_reads_are_not() {
        let history: History = [
            Event::invoke(7, "read").key("k").extra("session", 2).at(1_000_000_000),
            Event::ok(7, "read").value(["a", "b"]).at(1_250_000_000),
            Event::nemesis("kill").node("n1").at(1_300_000_000),
            Event::invoke(8, "write").key("k").value("c").at(2_000_000_000),
            Event::invoke(9, "read").key("k").phase("final").at(2_500_000_000),
        ]
        .into_iter()
        .collect();
        let calls = calls(&history, 4.0).unwrap();
        assert_eq!(calls.len(), 2);
        assert_eq!(
            calls[0],
            Call { operation: 0, at_s: 1.0, took_s: 0.25, outcome: Outcome::Ok, session: 2, values: 2 }
        );
        assert_eq!((calls[1].outcome, calls[1].took_s), (Outcome::Unknown, 2.0));
    }
}
