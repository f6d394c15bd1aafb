//! Why a rule cannot judge, in words that several rules share.

use crate::history::{Atom, History, Operation};

/// The operation's function is none of an object's, which is said with those that are: "a set (add, read)".
pub(super) fn no_function_of(object: &str, history: &History, operation: &Operation) -> String {
    let (f, at) = (history.word(operation.f), history.start_of(operation));
    format!("\"{f}\" at {at} is no function of {object}")
}

/// Two operations write one value, so nobody knows which of them a read shows.
pub(super) fn written_twice(value: Atom, history: &History, first: &Operation, second: &Operation) -> String {
    format!(
        "{} is written twice ({} and {}); this rule needs values that are written once",
        history.show(value),
        history.start_of(first),
        history.start_of(second),
    )
}
