//! Whether all nodes show the same after everything came to rest, and wherever they knew the same before.
//!
//! Final reads are those of the phase "final", one for each node and key, made after the faults were healed and the
//! nodes had time to exchange what they missed. Per key they must show the same values, in any order. The check does
//! not ask whether the values are right (the siblings and endings checks do), only whether the nodes agree.
//!
//! Strong eventual consistency asks for more: whoever knows the same shows the same, at any time. Where completions
//! of reads have a field `context`, equal on a key if and only if the same had been merged, reads with equal
//! contexts must show the same values; so a merge that depends on its order is found long before everything comes
//! to rest.
//!
//! How long a key took to converge is told, not judged: from the last write or fault to the return of the first
//! read from which on all reads of the key agree. Nodes may have agreed before, since nobody can see more than was
//! read.

use std::collections::{BTreeMap, BTreeSet};

use super::measure::{Clock, Quantiles};
use super::report::{Anomaly, Check, Explanation, Report, Violation};
use super::{CheckError, FINAL, keys};
use crate::engine::quick::QuickMap;
use crate::history::{Atom, History, Operation, Outcome};

/// Judges whether the final reads of every key are equal on all nodes, as sets, and whether reads with equal
/// contexts are.
///
/// # Errors
/// A history whose events do not make up operations.
pub fn convergence(history: &History) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let is_final = is_final_read(history);
    let finals = operations.iter().copied().filter(|operation| is_final(operation));
    let finals: Vec<Operation> = finals.collect();
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
        // A node that holds no copy of a key is not asked for it.
        let asked: BTreeSet<String> = reads.iter().map(|read| node_name(history, read)).collect();
        let silent: Vec<&str> =
            asked.iter().filter(|node| !answers.contains_key(*node)).map(String::as_str).collect();
        if asked.len() < nodes.len().min(2) {
            check.wonder(Some(history.value(key)), "only one node was asked for it in the end");
        }
        if !silent.is_empty() {
            let reason = format!("no final read was answered by {}", silent.join(", "));
            check.wonder(Some(history.value(key)), reason);
        }
        if let Some(explanation) = difference(history, &answers) {
            check.violate(Violation { anomaly: Anomaly::Diverged, key: history.value(key), explanation });
        }
    }
    judge_contexts(history, &operations, &mut check);
    measure(history, &operations, &mut check);
    Ok(Report::new(&history.source, vec![check]))
}

/// How many violations of one kind are told for one key.
const VIOLATIONS_MAX: usize = 50;

/// Reads of one key that tell equal contexts must show equal values.
fn judge_contexts(history: &History, operations: &[Operation], check: &mut Check) {
    let is_read = history.words(|word| matches!(word, "read" | "get"));
    let mut first: QuickMap<(Atom, Atom), Operation> = QuickMap::default();
    let mut told: QuickMap<Atom, usize> = QuickMap::default();
    let mut reads_with_context = 0usize;
    let reads = operations.iter().filter(|read| is_read[read.f.number()] && read.outcome == Outcome::Ok);
    for read in reads {
        let Some(context) = history.at(read.ended()).extra("context").present() else { continue };
        reads_with_context += 1;
        let key = read.key.or(Atom::NULL);
        let one = *first.entry((key, context)).or_insert(*read);
        if one.result == read.result || values(history, &one) == values(history, read) {
            continue;
        }
        let told = told.entry(key).or_default();
        *told += 1;
        if *told <= VIOLATIONS_MAX {
            let explanation = incoherence(history, &one, read, context);
            check.violate(Violation { anomaly: Anomaly::Incoherent, key: history.value(key), explanation });
        }
    }
    if reads_with_context > 0 {
        check.figures.insert("reads_with_context".to_owned(), reads_with_context.into());
        check.figures.insert("contexts".to_owned(), first.len().into());
    }
}

fn values(history: &History, read: &Operation) -> BTreeSet<Atom> {
    shown(history, read).iter().copied().collect()
}

fn incoherence(history: &History, one: &Operation, other: &Operation, context: Atom) -> Explanation {
    let shows = |read: &Operation| {
        let (who, value) = (node_name(history, read), history.show(read.result.or(Atom::NULL)));
        format!("{who} showed {value} ({})", history.end_of(read))
    };
    let context = history.show(context);
    Explanation {
        summary: format!("with the same context {context}, {} and {}", shows(one), shows(other)),
        events: vec![history.end_of(one), history.end_of(other)],
        steps: vec![format!(
            "both reads must show the same, because both had merged the same: their context is {context}"
        )],
        contradiction: format!("{}, and {}", shows(one), shows(other)),
    }
}

/// Tells how long keys took to converge, where anything was written and read again.
fn measure(history: &History, operations: &[Operation], check: &mut Check) {
    let is_read = history.words(|word| matches!(word, "read" | "get"));
    let clock = Clock::new(history);
    let last_fault = history.iter().rev().find(|event| !event.process().is_client());
    let mut times = Vec::new();
    let mut apart = 0usize;
    for (_, operations) in keys(history, operations) {
        let changes = operations
            .iter()
            .filter(|operation| !is_read[operation.f.number()] && operation.outcome != Outcome::Fail);
        let Some(last_change) = changes.map(|change| change.ended()).max() else { continue };
        let rest = last_change.max(last_fault.map_or(0, |event| event.position()));
        let mut reads: Vec<&Operation> = operations
            .iter()
            .filter(|read| is_read[read.f.number()] && read.outcome == Outcome::Ok && read.ended() > rest)
            .collect();
        reads.sort_by_key(|read| read.ended());
        let Some(last) = reads.last().map(|read| values(history, read)) else { continue };
        let agreeing = reads.iter().rev().take_while(|read| values(history, read) == last).count();
        match reads.get(reads.len() - agreeing) {
            // One read agrees with itself.
            Some(read) if agreeing > 1 || reads.len() == 1 => times.push(clock.between(rest, read.ended())),
            _ => apart += 1,
        }
    }
    if times.is_empty() && apart == 0 {
        return;
    }
    let unit = clock.unit();
    let figures = serde_json::json!({
        "unit": unit,
        "keys": times.len(),
        "keys_that_never_agreed": apart,
        "at_most": Quantiles::of(times),
    });
    check.figures.insert("time_to_convergence".to_owned(), figures);
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
        assert_eq!(judge(events.clone()).verdict, Verdict::Unknown);
        // A third node may hold a copy of one key and not of the other.
        events.extend(read(1, "n2", &[1]));
        events.extend(read(2, "n3", &[1]).map(|event| event.key("other")));
        assert!(judge(events).is_valid());
    }

    #[test]
    fn reads_with_equal_contexts_show_equal_values() {
        let with = |process: u64, node: &str, context: &[i64], values: &[i64]| {
            let [invoke, end] = read(process, node, values);
            [invoke, end.extra("context", context.to_vec())]
        };
        let same = [with(0, "n1", &[1, 2], &[7, 8]), with(0, "n2", &[1, 2], &[8, 7])];
        assert!(judge(same.concat()).is_valid());
        // Before the end, so that the last reads agree.
        let early = |event: Event| {
            let plain =
                Event::new(event.kind(), event.process().clone(), event.f().clone()).key("k").node("n3");
            let context = event.extras().next().map(|(_, context)| context.clone());
            let plain = event.value_of().map_or(plain.clone(), |value| plain.value(value.clone()));
            context.map_or(plain.clone(), |context| plain.extra("context", context))
        };
        let early_read = |context: &[i64], values: &[i64]| with(5, "n3", context, values).map(early);
        let end = [read(0, "n1", &[7]), read(0, "n3", &[7])].concat();
        let report = judge(
            [early_read(&[1, 2], &[7]), early_read(&[1, 2], &[8])].concat().into_iter().chain(end.clone()),
        );
        let found: Vec<Anomaly> = report.violations().map(|violation| violation.anomaly).collect();
        assert_eq!(found, [Anomaly::Incoherent], "{report}");
        assert!(
            report
                .to_string()
                .contains("with the same context [1 2], n3 showed [7] (event 1) and n3 showed [8] (event 3)"),
            "{report}"
        );
        let other = [early_read(&[1, 2], &[7]), early_read(&[1, 3], &[8])].concat();
        assert!(judge(other.into_iter().chain(end)).is_valid());
    }

    #[test]
    fn the_time_to_convergence_ends_with_the_first_read_that_all_later_ones_agree_with() {
        let at = |events: Vec<Event>| -> Vec<Event> {
            (0u64..).zip(events).map(|(time, event)| event.at(100 * time)).collect()
        };
        let write = [Event::invoke(9, "write").key("k").value(1), Event::ok(9, "write").key("k")];
        let reads = |shown: &[&[i64]]| -> Vec<Event> {
            shown.iter().flat_map(|values| read(0, "n1", values)).collect()
        };
        let figures = |events: Vec<Event>| judge(at(events)).checks.remove(0).figures;
        let found = figures([write.to_vec(), reads(&[&[1], &[], &[1], &[1]])].concat());
        assert_eq!(found["time_to_convergence"]["at_most"]["1"], 600);
        assert_eq!(found["time_to_convergence"]["unit"], "ns");
        let heal = vec![Event::nemesis("heal")];
        let found = figures([write.to_vec(), reads(&[&[]]), heal, reads(&[&[1], &[1]])].concat());
        assert_eq!(found["time_to_convergence"]["at_most"]["1"], 200);
        let found = figures([write.to_vec(), reads(&[&[], &[1]])].concat());
        assert_eq!(found["time_to_convergence"]["keys_that_never_agreed"], 1);
        assert!(figures(reads(&[&[], &[1]])).is_empty());
    }

    #[test]
    fn without_final_reads_nothing_is_known() {
        let report = judge([Event::invoke(0, "read").key("k"), Event::ok(0, "read").key("k").value([1])]);
        assert_eq!(report.verdict, Verdict::Unknown);
    }
}
