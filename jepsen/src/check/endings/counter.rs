//! How a counter ended: the sum of what happened.

use super::set::in_order;
use super::{Key, Role, node_name, span, tag};
use crate::check::report::{Anomaly, Explanation};
use crate::engine::ending::{Total, total};
use crate::engine::quick::QuickMap;
use crate::history::{Atom, History, Operation, Outcome};

/// A key's changes.
pub(super) struct Counter<'h> {
    history: &'h History,
    changes: Vec<(Operation, i64)>,
    tags: QuickMap<Atom, usize>,
}

/// How many changes of unknown outcome an explanation lists.
const TOLD_MAX: usize = 8;

impl<'h> Counter<'h> {
    /// Sorts a key's operations.
    ///
    /// # Errors
    /// In words, why the rule cannot be applied: a change by something that is no number.
    pub(super) fn new(
        history: &'h History,
        roles: &[Role],
        operations: &[Operation],
    ) -> Result<Self, String> {
        let mut counter = Counter { history, changes: Vec::new(), tags: QuickMap::default() };
        for operation in operations.iter().filter(|operation| operation.outcome != Outcome::Fail) {
            let sign = match roles[operation.f.number()] {
                Role::Change | Role::Add => 1,
                Role::ChangeBack => -1,
                _ => continue,
            };
            // Without a number it is one.
            let size = if operation.argument.is_null() { Some(1) } else { history.int(operation.argument) };
            let Some(size) = size.and_then(|size: i64| size.checked_mul(sign)) else {
                let at = history.start_of(operation);
                return Err(format!("the change at {at} is by {}", history.show(operation.argument)));
            };
            if let Some(tag) = tag(history, operation) {
                counter.tags.insert(tag, counter.changes.len());
            }
            counter.changes.push((*operation, size));
        }
        Ok(counter)
    }

    pub(super) fn judge(&self, finals: &[Operation], key: &mut Key<'_>) {
        for read in finals {
            let history = self.history;
            let value = if read.result.is_null() { Some(0) } else { history.int(read.result) };
            let Some(value) = value else {
                key.wonder(format!("the final read at {} shows no number", history.end_of(read)));
                continue;
            };
            let found = match history.at(read.ended()).seen() {
                Some(tags) => self.judge_listed(value.into(), tags, read),
                None => self.judge_total(value.into(), read, key),
            };
            key.tally.counters += 1;
            if let Some((anomaly, explanation)) = found {
                key.violate(anomaly, explanation);
            }
        }
    }

    /// The read says which changes it contains.
    fn judge_listed(&self, value: i128, tags: &[Atom], read: &Operation) -> Option<(Anomaly, Explanation)> {
        let (history, who) = (self.history, node_name(self.history, read));
        let end = history.end_of(read);
        let mut listed = vec![false; self.changes.len()];
        for tag in tags {
            match self.tags.get(tag).filter(|change| self.changes[**change].0.invoked < read.ended()) {
                Some(change) => listed[*change] = true,
                None => {
                    let tag = history.show(*tag);
                    let explanation = Explanation {
                        summary: format!("{who} contains change {tag}, which nobody had begun"),
                        events: vec![end.clone()],
                        steps: vec![format!("no change is called {tag}, or it was refused or began later")],
                        contradiction: format!("{who} says that its value contains {tag} ({end})"),
                    };
                    return Some((Anomaly::Invented, explanation));
                }
            }
        }
        let changes = || listed.iter().zip(&self.changes);
        let lost = changes().find(|(is_listed, (change, _))| {
            let is_due = change.returned().is_some_and(|returned| returned < read.invoked);
            !**is_listed && is_due && tag(history, change).is_some()
        });
        if let Some((_, (change, size))) = lost {
            let ended = history.end_of(change);
            let explanation = Explanation {
                summary: format!("{who} lacks the change by {size} ({ended})"),
                events: in_order(vec![history.start_of(change), ended.clone(), end.clone()]),
                steps: vec![format!(
                    "the change by {size} happened before the read began ({}), because it was acknowledged ({ended})",
                    history.start_of(read)
                )],
                contradiction: format!("{who} does not list it among what its value contains ({end})"),
            };
            return Some((Anomaly::LostElement, explanation));
        }
        let sum: i128 =
            changes().filter(|(is_listed, _)| **is_listed).map(|(_, (_, size))| i128::from(*size)).sum();
        let count = listed.iter().filter(|is_listed| **is_listed).count();
        (sum != value).then(|| {
            let explanation = Explanation {
                summary: format!("{who} ends with {value}, but the changes that it contains add up to {sum}"),
                events: vec![end.clone()],
                steps: vec![format!(
                    "the value is {sum}, because the read names the {count} changes in it ({end})"
                )],
                contradiction: format!("{who} shows {value} ({end})"),
            };
            (Anomaly::OutOfBounds, explanation)
        })
    }

    fn judge_total(
        &self,
        value: i128,
        read: &Operation,
        key: &mut Key<'_>,
    ) -> Option<(Anomaly, Explanation)> {
        let history = self.history;
        let last = span(read);
        let (mut certain, mut possible, mut open) = (0i128, Vec::new(), Vec::new());
        for (change, size) in &self.changes {
            if change.returned().is_some_and(|returned| returned < last.invoked) {
                certain += i128::from(*size);
            } else if last.returned.is_none_or(|returned| change.invoked < returned) {
                possible.push(*size);
                open.push(change);
            }
        }
        let who = node_name(history, read);
        let end = history.end_of(read);
        let limit = match total(certain, &possible, value) {
            Total::Reached => return None,
            Total::Unknown => {
                key.tally.counters_unknown += 1;
                return None;
            }
            Total::Below { least } => format!("together they make at least {least}"),
            Total::Above { most } => format!("together they make at most {most}"),
            Total::Missed => format!("no choice of them makes {value}"),
        };
        let mut steps = vec![format!(
            "everything acknowledged before the read began ({}) adds up to {certain}",
            history.start_of(read)
        )];
        steps.push(match possible.len() {
            0 => "nothing else can be in it, because no other change had begun".to_owned(),
            1 => {
                format!("one more change may be in it, because its outcome is unknown or came later; {limit}")
            }
            count => {
                format!("{count} more may be in it, because their outcome is unknown or came later; {limit}")
            }
        });
        let told = open.iter().take(TOLD_MAX).map(|change| history.start_of(change));
        let explanation = Explanation {
            summary: format!("{who} ends with {value}, which no choice of changes adds up to"),
            events: in_order(told.chain([history.start_of(read), end.clone()]).collect()),
            steps,
            contradiction: format!("{who} shows {value} in the end ({end})"),
        };
        Some((Anomaly::OutOfBounds, explanation))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{story, valid, violated};
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_counter_ends_with_the_sum_of_what_happened() {
        valid(&story().ok("increment", 2).ok("decrement", 3).ends(-1));
        valid(&story().ok("add", 2).ok("add", 3).ends(5));
        let report = story().ok("increment", 2).ok("decrement", 3).ends(2);
        violated(&report, Anomaly::OutOfBounds);
        assert!(
            report
                .to_string()
                .contains("everything acknowledged before the read began (event 4) adds up to -1"),
            "{report}"
        );
        assert!(report.to_string().contains("no other change had begun"), "{report}");
        violated(&story().ok("increment", 2).refused("increment", 1).ends(3), Anomaly::OutOfBounds);
    }

    #[test]
    fn changes_of_unknown_outcome_may_be_in_the_sum() {
        let open = || story().ok("increment", 10).maybe("increment", 4).maybe("decrement", 6);
        for value in [10, 14, 4, 8] {
            valid(&open().ends(value));
        }
        let report = open().ends(15);
        violated(&report, Anomaly::OutOfBounds);
        assert!(report.to_string().contains("at most 14"), "{report}");
        assert!(open().ends(3).to_string().contains("at least 4"));
        assert!(open().ends(9).to_string().contains("no choice of them makes 9"));
    }

    #[test]
    fn a_read_that_names_its_changes_shows_their_sum() {
        let changes = || story().tagged("increment", 2, "a").tagged("increment", 3, "b");
        valid(&changes().ends_knowing(5, Some(&["a", "b"])));
        violated(&changes().ends_knowing(6, Some(&["a", "b"])), Anomaly::OutOfBounds);
        violated(&changes().ends_knowing(2, Some(&["a"])), Anomaly::LostElement);
        violated(&changes().ends_knowing(5, Some(&["a", "b", "c"])), Anomaly::Invented);
    }

    #[test]
    fn what_is_no_number_is_unknown() {
        assert_eq!(story().ok("increment", "x").ends(1).verdict, Verdict::Unknown);
        assert_eq!(story().ok("increment", 1).ends("x").verdict, Verdict::Unknown);
        assert_eq!(story().ok("decrement", i64::MIN).ends(1).verdict, Verdict::Unknown);
    }
}
