//! Whether all nodes show the same after everything came to rest.
//!
//! Final reads are those of the phase "final", one for each node and key, made after the faults were healed and the
//! nodes had time to exchange what they missed. Per key they must show the same values, in any order. The check does
//! not ask whether the values are right (the siblings check does), only whether the nodes agree.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Anomaly, Check, Explanation, Place, Report, Violation};
use super::{CheckError, FINAL, keys};
use crate::history::{History, Operation, Outcome, Value};

/// Judges whether the final reads of every key are equal on all nodes, as sets.
///
/// # Errors
/// A history whose events do not make up operations.
pub fn convergence(history: &History) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let finals: Vec<Operation<'_>> = operations.into_iter().filter(is_final_read).collect();
    let mut check = Check::new("convergence");
    check.operations = finals.len();
    let nodes: BTreeSet<String> = finals.iter().map(node_name).collect();
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
    let keys = keys(&finals);
    check.keys = keys.len();
    for (key, reads) in keys {
        let mut answers: BTreeMap<String, Operation<'_>> = BTreeMap::new();
        for read in reads.iter().filter(|read| read.outcome == Outcome::Ok) {
            answers.insert(node_name(read), *read);
        }
        let silent: Vec<&str> =
            nodes.iter().filter(|node| !answers.contains_key(*node)).map(String::as_str).collect();
        if !silent.is_empty() {
            check.wonder(Some(key), format!("no final read was answered by {}", silent.join(", ")));
        }
        if let Some(explanation) = difference(&answers) {
            check.violate(Violation { anomaly: Anomaly::Diverged, key: key.clone(), explanation });
        }
    }
    Ok(Report::new(&history.source, vec![check]))
}

/// Whether an operation is a read after everything came to rest.
pub(super) fn is_final_read(operation: &Operation<'_>) -> bool {
    matches!(operation.f().as_str(), "read" | "get") && operation.is_in_phase(FINAL)
}

/// The values that a read showed: a list is all siblings, nothing is none, anything else is the only one.
pub(super) fn shown<'h>(read: &Operation<'h>) -> &'h [Value] {
    match read.result() {
        None | Some(Value::Null) => &[],
        Some(Value::List(values)) => values,
        Some(value) => std::slice::from_ref(value),
    }
}

pub(super) fn node_name(operation: &Operation<'_>) -> String {
    operation.node().map_or_else(|| format!("process {}", operation.process()), ToString::to_string)
}

fn difference(answers: &BTreeMap<String, Operation<'_>>) -> Option<Explanation> {
    let sets: BTreeMap<&str, BTreeSet<&Value>> =
        answers.iter().map(|(node, read)| (node.as_str(), shown(read).iter().collect())).collect();
    let all: BTreeSet<&Value> = sets.values().flatten().copied().collect();
    let lacks: Vec<String> = sets
        .iter()
        .filter_map(|(node, set)| {
            let missing: Vec<String> = all.difference(set).map(ToString::to_string).collect();
            (!missing.is_empty()).then(|| format!("{node} lacks {}", missing.join(", ")))
        })
        .collect();
    if lacks.is_empty() {
        return None;
    }
    let events = answers.values().map(|read| {
        let place = read.completed.zip(read.completion).map(|(position, event)| Place::of(event, position));
        place.unwrap_or_else(|| Place::of(read.invoke, read.invoked))
    });
    let shows = sets.iter().map(|(node, set)| {
        let values: Vec<String> = set.iter().map(ToString::to_string).collect();
        format!("{node} shows [{}]", values.join(" "))
    });
    Some(Explanation {
        summary: lacks.join("; "),
        events: events.collect(),
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
