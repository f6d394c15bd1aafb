//! What survives in the end is what should: the rule of `godown-jepsen`, over this run's history.
//!
//! The siblings that the replicas hold must be the maximal elements, under the transitive "had seen", of all
//! acknowledged operations and some of those whose outcome is unknown. Here one thing more is known than a client
//! knows: whatever a read has shown is on some disk, and in a run that loses no disk it can only go by being
//! replaced, or by expiring. So a write that was shown counts as acknowledged there, whatever its own client was told. To
//! this rule expiry is a delete that nobody was told of, and that has seen the one write whose time may be over.

use std::collections::BTreeSet;

use godown_jepsen::check::{self, Verdict};
use godown_jepsen::history::History;

use super::{Check, Failure, expired};
use crate::record::{Act, Held, Op, Record};
use crate::scenario::Scenario;

/// The history of a run that ended at `end_ns`, as it is judged; with times, nodes and reasons when it is `told` to people.
#[must_use]
pub fn history(scenario: &Scenario, record: &Record, held: &[Held], end_ns: u64, told: bool) -> History {
    let shown: BTreeSet<u64> = record.ops().iter().flat_map(|op| op.shown.iter().copied()).collect();
    let keeps = scenario.losers().is_empty();
    let is_certain = |op: &Op| keeps && op.act == Act::Write && shown.contains(&op.id);
    let dues = expired::dues(scenario, record);
    let gone: Vec<usize> = dues.iter().filter(|due| due.early_ns <= end_ns).map(|due| due.op).collect();
    record.history(format!("seed {}", scenario.seed), held, &gone, told, is_certain)
}

/// Judges what the replicas hold in the end.
#[must_use]
pub fn check(scenario: &Scenario, record: &Record, held: &[Held], end_ns: u64) -> Option<Failure> {
    let mut place = None;
    let says = match check::siblings(&history(scenario, record, held, end_ns, false)) {
        Ok(report) => {
            let violation = report.violations().next();
            let told = |violation: &check::Violation| {
                place = violation.key.as_int().and_then(|key| usize::try_from(key).ok());
                let key = place.map_or_else(String::new, |place| record.key_name(place));
                format!("{} of {key}: {}", violation.anomaly, violation.explanation.summary)
            };
            let unknown = || report.checks.iter().flat_map(|check| &check.unknowns).next();
            match report.verdict {
                Verdict::Valid => return None,
                Verdict::Violated => violation.map(told).unwrap_or_default(),
                Verdict::Unknown => {
                    let reason = unknown().map_or("", |unknown| unknown.reason.as_str());
                    format!("it cannot be told: {reason}")
                }
            }
        }
        Err(error) => format!("the history cannot be judged: {error}"),
    };
    let failure = Failure::new(Check::Siblings, says);
    Some(match place {
        Some(place) => {
            let ops = record.ops().iter().enumerate().filter(|(_, op)| op.key == place);
            failure.about(record.keys()[place], ops.map(|(op, _)| op).collect())
        }
        None => failure,
    })
}
