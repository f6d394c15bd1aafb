//! Which model a history asks for, by what its clients call.
//!
//! The functions decide, in the words that Jepsen's workloads, porcupine's traces and Godown's own recorders use; where
//! two kinds of objects share a function, what reads show decides. A history that fits nothing has no model: it
//! is better not judged than judged by the wrong rule.

use super::{FINAL, Model};
use crate::history::{History, Kind};

/// What a function may be part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Read,
    Write,
    Cas,
    Append,
    Add,
    Remove,
    Increment,
    Enqueue,
    Dequeue,
    Drain,
    Strange,
}

impl Sort {
    fn of(word: &str) -> Self {
        match word {
            "read" | "get" => Sort::Read,
            "write" | "put" | "delete" => Sort::Write,
            "cas" => Sort::Cas,
            "append" => Sort::Append,
            "add" => Sort::Add,
            "remove" => Sort::Remove,
            "increment" | "decrement" => Sort::Increment,
            "enqueue" => Sort::Enqueue,
            "dequeue" => Sort::Dequeue,
            "drain" => Sort::Drain,
            _ => Sort::Strange,
        }
    }
}

/// What was met in a history.
#[derive(Default)]
struct Met {
    calls: [bool; Sort::Strange as usize + 1],
    shows_list: bool,
    shows_map: bool,
    shows_final: bool,
    tells_seen: bool,
}

impl Met {
    fn has(&self, sort: Sort) -> bool {
        self.calls[sort as usize]
    }

    fn has_only(&self, sorts: &[Sort]) -> bool {
        let known = sorts.iter().filter(|sort| self.has(**sort)).count();
        known == self.calls.iter().filter(|is_met| **is_met).count()
    }
}

/// The model of a history, or in words what in it belongs to no model.
pub(super) fn model(history: &History) -> Result<Model, String> {
    use Sort::{Add, Append, Cas, Dequeue, Drain, Enqueue, Increment, Read, Remove, Write};
    let sorts = history.words(Sort::of);
    let mut met = Met::default();
    for event in history.iter().filter(|event| event.process().is_client()) {
        let sort = sorts[event.function().number()];
        met.calls[sort as usize] = true;
        met.tells_seen |= event.seen().is_some();
        let is_final = event.phase() == Some(FINAL);
        met.shows_final |= is_final;
        if sort == Sort::Strange {
            return Err(format!("\"{}\" ({})", event.f(), history.place(event.position())));
        }
        if sort == Read && event.kind() == Kind::Ok {
            met.shows_list |= event.has_list();
            met.shows_map |= history.map(event.value()).is_some();
        }
    }
    if met.shows_map {
        return Err("reads of maps".to_owned());
    }
    let is_changed_by = |sorts: &[Sort]| met.has_only(&[&[Read], sorts].concat());
    Ok(if is_changed_by(&[Write]) && (met.tells_seen || met.shows_final && met.shows_list) {
        Model::Siblings
    } else if is_changed_by(&[Write, Cas]) && !met.shows_list {
        Model::Register
    } else if is_changed_by(&[Write, Append]) && met.has(Append) {
        Model::Kv
    } else if is_changed_by(&[Add, Remove, Increment]) && met.shows_final {
        Model::Convergence
    } else if is_changed_by(&[Add]) && met.has(Add) && met.shows_list {
        Model::Set
    } else if is_changed_by(&[Add, Increment]) && !met.shows_list {
        Model::Counter
    } else if is_changed_by(&[Enqueue, Dequeue]) && !met.has(Read) {
        Model::Queue
    } else if met.has_only(&[Enqueue, Dequeue, Drain]) {
        Model::TotalQueue
    } else if is_changed_by(&[Write, Cas]) {
        return Err("reads of several values".to_owned());
    } else {
        return Err("calls of several kinds of objects".to_owned());
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Event, Value};

    fn routed(calls: &[(&str, Value)]) -> Result<Model, String> {
        let events = calls.iter().flat_map(|(f, value)| {
            [Event::invoke(0, *f).value(value.clone()), Event::ok(0, *f).value(value.clone())]
        });
        model(&events.collect())
    }

    #[test]
    fn every_workload_finds_its_model() {
        use Model::{Counter, Kv, Queue, Register, Set, TotalQueue};
        let list: Value = [1, 2].into();
        for (calls, expected) in [
            (vec![("read", 1.into()), ("write", 1.into()), ("cas", [1, 2].into())], Register),
            (vec![("get", Value::Null), ("put", "a".into()), ("delete", Value::Null)], Register),
            (vec![("get", "ab".into()), ("put", "a".into()), ("append", "b".into())], Kv),
            (vec![("read", list.clone()), ("append", 1.into())], Kv),
            (vec![("add", 1.into()), ("read", list.clone())], Set),
            (vec![("add", 1.into()), ("read", 1.into())], Counter),
            (vec![("add", 1.into())], Counter),
            (vec![("increment", 1.into()), ("decrement", 1.into()), ("read", 0.into())], Counter),
            (vec![("enqueue", 1.into()), ("dequeue", 1.into())], Queue),
            (vec![("enqueue", 1.into()), ("drain", list.clone())], TotalQueue),
        ] {
            assert_eq!(routed(&calls), Ok(expected), "{calls:?}");
        }
        let map: Value = std::collections::BTreeMap::from([("a", 1)]).into();
        for (calls, reason) in [
            (vec![("txn", list.clone())], "\"txn\" (event 0)"),
            (vec![("read", map)], "reads of maps"),
            (vec![("write", 1.into()), ("read", list)], "reads of several values"),
            (vec![("write", 1.into()), ("enqueue", 1.into())], "calls of several kinds of objects"),
        ] {
            assert_eq!(routed(&calls), Err(reason.to_owned()), "{calls:?}");
        }
    }

    #[test]
    fn what_was_seen_and_final_reads_decide_between_registers_and_what_converges() {
        let write = || [Event::invoke(0, "write").value(1).seen([0; 0]), Event::ok(0, "write")];
        let last = |value: Value| {
            [Event::invoke(1, "read").phase("final"), Event::ok(1, "read").phase("final").value(value)]
        };
        assert_eq!(model(&write().into_iter().collect()), Ok(Model::Siblings));
        let plain = [Event::invoke(0, "write").value(1), Event::ok(0, "write")];
        assert_eq!(model(&plain.clone().into_iter().chain(last([1].into())).collect()), Ok(Model::Siblings));
        assert_eq!(model(&plain.into_iter().chain(last(1.into())).collect()), Ok(Model::Register));
        let add = [Event::invoke(0, "add").value(1), Event::ok(0, "add")];
        assert_eq!(model(&add.into_iter().chain(last([1].into())).collect()), Ok(Model::Convergence));
    }
}
