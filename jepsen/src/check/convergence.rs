//! Whether all nodes show the same after everything came to rest.
//!
//! Final reads are those of the phase "final", one for each node and key, made after the faults were healed and the
//! nodes had time to exchange what they missed. Per key they must show the same values, in any order. The check does
//! not ask whether the values are right (the siblings check does), only whether the nodes agree.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Anomaly, Check, Explanation, Report, Violation};
use super::{CheckError, FINAL, keys};
use crate::history::{Atom, History, Operation, Outcome};

/// Judges whether the final reads of every key are equal on all nodes, as sets.
///
/// # Errors
/// A history whose events do not make up operations.
pub fn convergence(history: &History) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let is_final = is_final_read(history);
    let finals: Vec<Operation> = operations.into_iter().filter(|operation| is_final(operation)).collect();
    let mut check = Check::new("convergence");
    check.operations = finals.len();
    let nodes: BTreeSet<String> = finals.iter().map(|read| node_name(history, read)).collect();
    check.notes.push(match nodes.len() {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    });
    if finals.is_empty() {
        check.wonder(
            None,
            "there are no final reads (\"phase\":\"final\"), so nobody knows how the nodes ended",
        );
    }
    let keys = keys(history, &finals);
    check.keys = keys.len();
    for (key, reads) in keys {
        let mut answers: BTreeMap<String, Operation> = BTreeMap::new();
        for read in reads.iter().filter(|read| read.outcome == Outcome::Ok) {
            answers.insert(node_name(history, read), *read);
        }
        let silent: Vec<&str> =
            nodes.iter().filter(|node| !answers.contains_key(*node)).map(String::as_str).collect();
        if !silent.is_empty() {
            let reason = format!("no final read was answered by {}", silent.join(", "));
            check.wonder(Some(history.value(key)), reason);
        }
        if let Some(explanation) = difference(history, &answers) {
            check.violate(Violation { anomaly: Anomaly::Diverged, key: history.value(key), explanation });
        }
    }
    Ok(Report::new(&history.source, vec![check]))
}

/// Whether an operation is a read after everything came to rest.
pub(super) fn is_final_read(history: &History) -> impl Fn(&Operation) -> bool + '_ {
    let is_read = history.words(|word| matches!(word, "read" | "get"));
    move |operation| is_read[operation.f.number()] && operation.is_in_phase(history, FINAL)
}

/// The values that a read showed: a list is all siblings, nothing is none, anything else is the only one.
pub(super) fn shown<'a>(history: &'a History, read: &'a Operation) -> &'a [Atom] {
    match history.list(read.result) {
        Some(values) => values,
        None if read.result.is_null() => &[],
        None => std::slice::from_ref(&read.result),
    }
}

pub(super) fn node_name(history: &History, operation: &Operation) -> String {
    let node = operation.node(history);
    node.map_or_else(|| format!("process {}", history.process(operation.process)), str::to_owned)
}

fn difference(history: &History, answers: &BTreeMap<String, Operation>) -> Option<Explanation> {
    let sets: BTreeMap<&str, BTreeSet<Atom>> = answers
        .iter()
        .map(|(node, read)| (node.as_str(), shown(history, read).iter().copied().collect()))
        .collect();
    let all: BTreeSet<Atom> = sets.values().flatten().copied().collect();
    let told = |values: &mut dyn Iterator<Item = Atom>, between: &str| {
        let mut values: Vec<Atom> = values.collect();
        values.sort_by(|a, b| history.compare(*a, *b));
        let values: Vec<String> = values.iter().map(|value| history.show(*value).to_string()).collect();
        values.join(between)
    };
    let lacks: Vec<String> = sets
        .iter()
        .filter(|(_, set)| set.len() < all.len())
        .map(|(node, set)| format!("{node} lacks {}", told(&mut all.difference(set).copied(), ", ")))
        .collect();
    if lacks.is_empty() {
        return None;
    }
    let shows =
        sets.iter().map(|(node, set)| format!("{node} shows [{}]", told(&mut set.iter().copied(), " ")));
    Some(Explanation {
        summary: lacks.join("; "),
        events: answers.values().map(|read| history.end_of(read)).collect(),
        steps: shows.collect(),
        contradiction: "every node must show the same values after everything came to rest".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::history::Event;

    fn read(process: u64, node: &str, values: &[i64]) -> [Event; 2] {
        let event = |event: Event| event.key("k").node(node).phase("final");
        [event(Event::invoke(process, "read")), event(Event::ok(process, "read")).value(values.to_vec())]
    }

    fn judge(events: impl IntoIterator<Item = Event>) -> Report {
        convergence(&events.into_iter().collect()).unwrap()
    }

    #[test]
    fn equal_sets_in_any_order_converged() {
        let events = [read(0, "n1", &[1, 2]), read(0, "n2", &[2, 1]), read(0, "n3", &[1, 2])];
        assert!(judge(events.concat()).is_valid());
    }

    #[test]
    fn a_node_that_lacks_a_value_diverged_and_is_named() {
        let report = judge([read(0, "n1", &[1, 2]), read(0, "n2", &[2])].concat());
        let violation = report.violations().next().unwrap();
        assert_eq!(report.verdict, Verdict::Violated);
        assert_eq!(violation.explanation.summary, "n2 lacks 1");
        assert_eq!(violation.explanation.events.len(), 2);
    }

    #[test]
    fn a_node_that_did_not_answer_leaves_the_key_unknown() {
        let mut events = [read(0, "n1", &[1]), read(0, "n2", &[1])].concat();
        events[3] = Event::fail(0, "read").phase("final");
        assert_eq!(judge(events).verdict, Verdict::Unknown);
        let other = [read(0, "n1", &[1]), read(0, "n2", &[1])].concat();
        let mut events = [read(0, "n1", &[1])].concat();
        events.extend(other.into_iter().map(|event| event.key("other")));
        assert_eq!(judge(events).verdict, Verdict::Unknown);
    }

    #[test]
    fn without_final_reads_nothing_is_known() {
        let report = judge([Event::invoke(0, "read").key("k"), Event::ok(0, "read").key("k").value([1])]);
        assert_eq!(report.verdict, Verdict::Unknown);
    }
}
