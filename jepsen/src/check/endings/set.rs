//! How a set ended: every element by itself.

use std::collections::BTreeSet;

use super::{Key, Role, node_name, shown, span, tag};
use crate::check::Place;
use crate::check::report::{Anomaly, Explanation};
use crate::engine::ending::{Presence, Sight, Span, presence};
use crate::engine::quick::QuickMap;
use crate::history::{Atom, History, Operation, Outcome};

/// What was done with one element.
#[derive(Default)]
struct Element {
    adds: Vec<Operation>,
    removes: Vec<Operation>,
    refused: Option<Operation>,
}

/// A key's elements.
pub(super) struct Set<'h> {
    history: &'h History,
    numbers: QuickMap<Atom, usize>,
    elements: Vec<(Atom, Element)>,
}

/// How many removes an explanation lists.
const TOLD_MAX: usize = 8;

impl<'h> Set<'h> {
    pub(super) fn new(history: &'h History, roles: &[Role], operations: &[Operation]) -> Self {
        let mut set = Set { history, numbers: QuickMap::default(), elements: Vec::new() };
        for operation in operations {
            let role = roles[operation.f.number()];
            if !matches!(role, Role::Add | Role::Remove) {
                continue;
            }
            let element = set.element(operation.argument);
            match (role, operation.outcome) {
                (Role::Add, Outcome::Fail) => element.refused = Some(*operation),
                (Role::Add, _) => element.adds.push(*operation),
                (_, Outcome::Fail) => {}
                _ => element.removes.push(*operation),
            }
        }
        set
    }

    fn element(&mut self, value: Atom) -> &mut Element {
        let elements = &mut self.elements;
        let number = *self.numbers.entry(value).or_insert_with(|| {
            elements.push((value, Element::default()));
            elements.len() - 1
        });
        &mut elements[number].1
    }

    pub(super) fn judge(mut self, finals: &[Operation], key: &mut Key<'_>) {
        for value in finals.iter().flat_map(|read| shown(self.history, read)) {
            self.element(*value);
        }
        for read in finals {
            let shown: BTreeSet<Atom> = shown(self.history, read).iter().copied().collect();
            for (value, element) in &self.elements {
                self.judge_element(*value, element, read, shown.contains(value), key);
            }
        }
    }

    fn judge_element(
        &self,
        value: Atom,
        element: &Element,
        read: &Operation,
        is_shown: bool,
        key: &mut Key<'_>,
    ) {
        let adds: Vec<Span> = element.adds.iter().map(span).collect();
        let removes: Vec<(Span, Sight)> =
            element.removes.iter().map(|remove| (span(remove), self.sight(element, remove))).collect();
        match presence(&adds, &removes, span(read)) {
            Presence::Present { add } => {
                key.tally.present += 1;
                if !is_shown {
                    let explanation = self.lost(value, element, &element.adds[add as usize], read);
                    key.violate(Anomaly::LostElement, explanation);
                }
            }
            Presence::Absent { taken } => {
                key.tally.absent += 1;
                if is_shown && taken.is_empty() {
                    let (anomaly, explanation) = self.invented(value, element, read);
                    key.violate(anomaly, explanation);
                } else if is_shown {
                    key.violate(Anomaly::Resurrected, self.resurrected(value, element, &taken, read));
                }
            }
            Presence::Either => key.tally.either += 1,
        }
    }

    /// What a remove took away: the adds of this element whose tags it lists, if all of them have one.
    fn sight(&self, element: &Element, remove: &Operation) -> Sight {
        let Some(seen) = self.history.at(remove.invoked).seen() else {
            return Sight::Unknown;
        };
        let mut listed = Vec::new();
        for (place, add) in (0u32..).zip(&element.adds) {
            match tag(self.history, add) {
                Some(tag) if seen.contains(&tag) => listed.push(place),
                Some(_) => {}
                // An add of unknown outcome may never have told its tag.
                None if add.returned().is_none_or(|returned| remove.invoked < returned) => {}
                None => return Sight::Unknown,
            }
        }
        Sight::Listed(listed)
    }

    fn who(&self, read: &Operation) -> String {
        node_name(self.history, read)
    }

    fn lost(&self, value: Atom, element: &Element, add: &Operation, read: &Operation) -> Explanation {
        let history = self.history;
        let (value, who, end) = (history.show(value), self.who(read), history.end_of(read));
        let mut steps = vec![format!(
            "{value} is in the set before the read began ({}), because its add was acknowledged ({})",
            history.start_of(read),
            history.end_of(add)
        )];
        let last = element.removes.iter().filter(|remove| remove.returned() < Some(add.invoked));
        let last = last.max_by_key(|remove| remove.ended());
        let mut events =
            vec![history.start_of(add), history.end_of(add), history.start_of(read), end.clone()];
        let all_before =
            element.removes.iter().all(|remove| remove.returned().is_some_and(|at| at < add.invoked));
        steps.push(match last {
            _ if element.removes.is_empty() => {
                format!("nothing took it away, because nobody removed {value}")
            }
            Some(last) if all_before => {
                events.push(history.end_of(last));
                let ended = history.end_of(last);
                format!(
                    "no remove can have seen that add, because the last of them had ended ({ended}) when it began ({})",
                    history.start_of(add)
                )
            }
            _ => {
                let removes = element.removes.iter().take(TOLD_MAX);
                events.extend(removes.map(|remove| history.start_of(remove)));
                "no remove took that add away, because none that lists what it saw lists it, and the others had \
                 ended when it began"
                    .to_owned()
            }
        });
        Explanation {
            summary: format!(
                "{who} lacks {value}, though no remove can have seen its add ({})",
                history.start_of(add)
            ),
            events: in_order(events),
            steps,
            contradiction: format!("{who} does not show {value} in the end ({end})"),
        }
    }

    fn resurrected(
        &self,
        value: Atom,
        element: &Element,
        taken: &[(u32, u32)],
        read: &Operation,
    ) -> Explanation {
        let history = self.history;
        let (value, who, end) = (history.show(value), self.who(read), history.end_of(read));
        let mut events = vec![end.clone()];
        let mut steps = Vec::new();
        for (add, remove) in taken.iter().take(TOLD_MAX) {
            let (add, remove) = (&element.adds[*add as usize], &element.removes[*remove as usize]);
            let (began, removed) = (history.start_of(add), history.start_of(remove));
            steps.push(format!(
                "the add of {value} ({began}) is gone, because an acknowledged remove had seen it ({removed})"
            ));
            events.extend([began, removed, history.end_of(remove)]);
        }
        if let Some(more) = taken.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
            steps.push(format!("{more} more adds of {value} are gone in the same way"));
        }
        Explanation {
            summary: format!("{who} shows {value}, though every add of it was removed"),
            events: in_order(events),
            steps,
            contradiction: format!("{who} shows {value} in the end ({end})"),
        }
    }

    fn invented(&self, value: Atom, element: &Element, read: &Operation) -> (Anomaly, Explanation) {
        let history = self.history;
        let (value, who, end) = (history.show(value), self.who(read), history.end_of(read));
        let (anomaly, because, also) = match element.refused {
            Some(add) => {
                let at = history.end_of(&add);
                (Anomaly::Refused, format!("its add was refused ({at})"), Some(at))
            }
            None => (Anomaly::Invented, "nobody had begun to add it".to_owned(), None),
        };
        let explanation = Explanation {
            summary: format!("{who} shows {value}, but {because}"),
            events: in_order(also.into_iter().chain([end.clone()]).collect()),
            steps: vec![format!("{value} is not in the set, because {because}")],
            contradiction: format!("{who} shows {value} in the end ({end})"),
        };
        (anomaly, explanation)
    }
}

/// Events as they happened, each once.
pub(super) fn in_order(mut events: Vec<Place>) -> Vec<Place> {
    events.sort_by_key(|place| place.position);
    events.dedup();
    events
}

#[cfg(test)]
mod tests {
    use super::super::tests::{story, valid, violated};
    use super::*;

    #[test]
    fn an_add_that_no_remove_can_have_seen_must_be_there() {
        valid(&story().ok("add", 1).ends([1; 1]));
        violated(&story().ok("add", 1).ends([0; 0]), Anomaly::LostElement);
        let report = story().ok("add", 1).ok("remove", 1).ok("add", 1).ends([0; 0]);
        violated(&report, Anomaly::LostElement);
        let text = report.to_string();
        assert!(text.contains("the last of them had ended (event 3) when it began (event 4)"), "{text}");
        valid(&story().ok("add", 1).ok("remove", 1).ok("add", 1).ends([1; 1]));
        // A remove of unknown outcome may take effect later, and an add of unknown outcome never.
        valid(&story().maybe("remove", 1).ok("add", 1).ends([0; 0]));
        valid(&story().maybe("add", 1).ends([0; 0]));
        violated(&story().refused("remove", 1).ok("add", 1).ends([0; 0]), Anomaly::LostElement);
    }

    #[test]
    fn without_tags_a_remove_may_have_seen_any_earlier_add_or_none() {
        for end in [&[1][..], &[]] {
            let report = story().ok("add", 1).ok("remove", 1).ends(end.to_vec());
            valid(&report);
            assert_eq!(report.checks[0].figures["elements_that_may_be_either"], 1);
        }
    }

    #[test]
    fn with_tags_a_remove_takes_away_exactly_what_it_saw() {
        let twice = || story().tagged("add", 1, "a").tagged("add", 1, "b");
        valid(&twice().having_seen("remove", 1, &["a", "b"]).ends([0; 0]));
        let report = twice().having_seen("remove", 1, &["a", "b"]).ends([1; 1]);
        violated(&report, Anomaly::Resurrected);
        assert!(
            report.to_string().contains(
                "the add of 1 (event 2) is gone, because an acknowledged remove had seen it (event 4)"
            ),
            "{report}"
        );
        valid(&twice().having_seen("remove", 1, &["a"]).ends([1; 1]));
        let report = twice().having_seen("remove", 1, &["a"]).ends([0; 0]);
        violated(&report, Anomaly::LostElement);
        assert!(report.to_string().contains("none that lists what it saw lists it"), "{report}");
        // One of the adds has no tag: nobody knows whether the remove saw it.
        valid(&story().ok("add", 1).having_seen("remove", 1, &["b"]).ends([0; 0]));
    }

    #[test]
    fn what_nobody_added_must_not_be_there() {
        violated(&story().ok("add", 1).ends([1, 2]), Anomaly::Invented);
        violated(&story().ok("add", 1).refused("add", 2).ends([1, 2]), Anomaly::Refused);
        valid(&story().ok("add", 1).refused("add", 2).maybe("add", 2).ends([1, 2]));
    }
}
