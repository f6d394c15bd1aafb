//! Keys that keep all concurrent values: nothing acknowledged is lost, nothing replaced returns.
//!
//! Every write has a value of its own and every delete an identity of its own; each says which of them its session's
//! causal context had seen. The rule: the values that the final reads show are the maximal elements of A ∪ U
//! under the transitive closure of "had seen", where A is what was acknowledged and U is *some* set of operations
//! whose outcome is unknown; refused ones are in no U, and a delete is an element that shows nothing.
//!
//! Whether such a U exists is decided exactly, in time linear in what was seen. What is shown or acknowledged is in,
//! and with it all that it had seen (which changes no maximum: whoever saw it dominates it). An unknown operation that had
//! seen a shown value, itself or through others, is out. Sets of the remaining ones are closed under union, so there is a
//! largest: begin with all and take away, as often as needed, unknown writes that are neither shown nor dominated.
//! An acknowledged write that is neither shown nor dominated by the largest set is lost under every other.
//!
//! Every read, final or not, is also checked for values that nobody wrote, that were refused, or that another shown
//! value had replaced. The check never uses clocks or vectors that the store computed.

use std::collections::{BTreeMap, BTreeSet};

use super::convergence::{is_final_read, node_name, shown};
use super::reasons::{no_function_of, written_twice};
use super::report::{Anomaly, Check, Explanation, Place, Report, Violation};
use super::role::Role;
use super::{CheckError, keys};
use crate::engine::quick::QuickMap;
use crate::history::{Atom, History, Operation, Outcome, Shown};

/// Judges every key by the rule of siblings. See the module's story.
///
/// # Errors
/// A history whose events do not make up operations.
pub fn siblings(history: &History) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let keys = keys(history, &operations);
    let roles = history.words(Role::of);
    let is_final = is_final_read(history);
    let mut check = Check::new("siblings");
    check.operations = operations.len();
    check.keys = keys.len();
    for (key, operations) in &keys {
        match Part::new(history, &roles, operations) {
            Ok(part) => part.judge(*key, &is_final, &mut check),
            Err(reason) => check.wonder(Some(history.value(*key)), reason),
        }
    }
    Ok(Report::new(&history.source, vec![check]))
}

/// A write or a delete.
struct Element {
    operation: Operation,
    is_delete: bool,
    /// What it had seen, by number; always smaller numbers, since elements are numbered by invocation.
    seen: Vec<u32>,
}

/// One key's part of a history.
struct Part<'h> {
    history: &'h History,
    elements: Vec<Element>,
    numbers: QuickMap<Atom, u32>,
    reads: Vec<Operation>,
    /// What a session had seen that nobody had written by then, or that was refused.
    strange: Vec<(Operation, Atom)>,
}

/// How many violations of one key are told; a store that loses a thousand writes is understood from these.
const VIOLATIONS_MAX: usize = 50;

/// What a check of one key has found so far; each anomaly is told once for each value.
struct Findings<'a> {
    history: &'a History,
    key: Atom,
    check: &'a mut Check,
    told: BTreeSet<(Anomaly, Atom)>,
}

impl Findings<'_> {
    fn add(&mut self, anomaly: Anomaly, value: Atom, explanation: impl FnOnce() -> Explanation) {
        if self.told.len() < VIOLATIONS_MAX && self.told.insert((anomaly, value)) {
            let key = self.history.value(self.key);
            self.check.violate(Violation { anomaly, key, explanation: explanation() });
        }
    }
}

impl<'h> Part<'h> {
    /// Sorts a key's operations.
    ///
    /// # Errors
    /// In words, why the rule cannot be applied: a function that it does not know, or a value written twice.
    fn new(history: &'h History, roles: &[Role], operations: &[Operation]) -> Result<Self, String> {
        let mut part = Part {
            history,
            elements: Vec::new(),
            numbers: QuickMap::default(),
            reads: Vec::new(),
            strange: Vec::new(),
        };
        for operation in operations {
            match roles[operation.f.number()] {
                Role::Read => part.reads.push(*operation),
                Role::Write => part.add_element(*operation, false)?,
                Role::Delete => part.add_element(*operation, true)?,
                Role::Cas | Role::Strange => {
                    return Err(no_function_of("siblings (read, write, delete)", history, operation));
                }
            }
        }
        // Only now, since a session may claim to have seen what was written later; that is strange, too.
        for number in 0..part.elements.len() {
            let operation = part.elements[number].operation;
            let told = operation.seen(history);
            let mut seen = Vec::with_capacity(told.len());
            for value in told {
                match part.numbers.get(value) {
                    Some(other) if (*other as usize) < number && !part.is_refused(*other) => {
                        seen.push(*other)
                    }
                    _ => part.strange.push((operation, *value)),
                }
            }
            seen.sort_unstable();
            seen.dedup();
            part.elements[number].seen = seen;
        }
        Ok(part)
    }

    fn add_element(&mut self, operation: Operation, is_delete: bool) -> Result<(), String> {
        let number = self.elements.len() as u32;
        self.elements.push(Element { operation, is_delete, seen: Vec::new() });
        let value = operation.argument;
        if value.is_null() {
            let at = self.history.start_of(&operation);
            return if is_delete { Ok(()) } else { Err(format!("the write at {at} has no value")) };
        }
        match self.numbers.get(&value) {
            // A refused attempt and its repetition may share a value: the refused one shows nothing.
            Some(_) if operation.outcome == Outcome::Fail => {}
            Some(other) if !self.is_refused(*other) => {
                let other = self.elements[*other as usize].operation;
                return Err(written_twice(value, self.history, &other, &operation));
            }
            _ => {
                self.numbers.insert(value, number);
            }
        }
        Ok(())
    }

    fn is_refused(&self, number: u32) -> bool {
        self.elements[number as usize].operation.outcome == Outcome::Fail
    }

    /// The element whose value may be shown under this name.
    fn visible(&self, value: Atom) -> Option<u32> {
        let number = *self.numbers.get(&value)?;
        (!self.elements[number as usize].is_delete).then_some(number)
    }

    fn judge(&self, key: Atom, is_final: impl Fn(&Operation) -> bool, check: &mut Check) {
        let history = self.history;
        let mut findings = Findings { history, key, check, told: BTreeSet::new() };
        for (operation, value) in &self.strange {
            self.judge_strange(operation, operation.invoked, *value, &mut findings);
        }
        let answered = self.reads.iter().filter(|read| read.outcome == Outcome::Ok);
        for read in answered.clone() {
            self.judge_read(read, &mut findings);
        }
        if self.elements.is_empty() {
            return;
        }
        // Nodes that show the same are judged once, by the read that began last: it must know the most.
        let mut finals: BTreeMap<BTreeSet<Atom>, &Operation> = BTreeMap::new();
        for read in answered.filter(|read| is_final(read)) {
            let latest = finals.entry(shown(history, read).iter().copied().collect()).or_insert(read);
            if latest.invoked < read.invoked {
                *latest = read;
            }
        }
        if finals.is_empty() {
            let reason = "no final read (\"phase\":\"final\") was answered, so lost writes cannot be told";
            findings.check.wonder(Some(history.value(key)), reason);
            return;
        }
        let mut finals: Vec<&Operation> = finals.into_values().collect();
        finals.sort_by_key(|read| read.invoked);
        for read in finals {
            Ending::new(self, read).judge(&mut findings);
        }
    }

    /// A value was shown at a position: that of a read's completion, or of an invocation that had seen it.
    fn judge_strange(&self, operation: &Operation, position: u32, value: Atom, findings: &mut Findings<'_>) {
        let history = self.history;
        let place = history.place(position);
        let verb = if position == operation.invoked { "had seen" } else { "was shown" };
        let who = format!(
            "process {} {verb} {} ({place})",
            history.process(operation.process),
            history.show(value)
        );
        let explain = |because: String, also: Option<Place>| {
            let contradiction = "a value can only come from a write that may have happened".to_owned();
            let summary = format!("{who}, but {because}");
            let events = also.into_iter().chain([place]).collect();
            Explanation { summary, events, steps: vec![format!("{who}, but {because}")], contradiction }
        };
        match self.numbers.get(&value).map(|number| &self.elements[*number as usize]) {
            None => findings.add(Anomaly::Invented, value, || explain("nobody wrote it".to_owned(), None)),
            Some(element) => {
                let write = history.start_of(&element.operation);
                if element.operation.outcome == Outcome::Fail {
                    let refusal = element.operation.completed().map(|position| history.place(position));
                    let at = refusal.as_ref().map_or(String::new(), |place| format!(" ({place})"));
                    findings.add(Anomaly::Refused, value, || {
                        explain(format!("its write was refused{at}"), Some(write))
                    });
                } else if element.is_delete && position != operation.invoked {
                    let because = format!("that is the identity of a delete ({write}), which shows nothing");
                    findings.add(Anomaly::Invented, value, || explain(because, Some(write)));
                } else {
                    let because = format!("its write began only afterwards ({write})");
                    findings.add(Anomaly::Invented, value, || explain(because, Some(write)));
                }
            }
        }
    }

    fn judge_read(&self, read: &Operation, findings: &mut Findings<'_>) {
        let completed = read.ended();
        let mut numbers = Vec::new();
        for value in shown(self.history, read) {
            match self.visible(*value) {
                Some(number) if !self.is_refused(number) && self.invoked(number) < completed => {
                    numbers.push(number)
                }
                _ => self.judge_strange(read, completed, *value, findings),
            }
        }
        if numbers.len() < 2 {
            return;
        }
        let count = numbers.len();
        numbers.sort_unstable();
        for twice in numbers.windows(2).filter(|pair| pair[0] == pair[1]) {
            findings.add(Anomaly::Duplicate, self.value(twice[0]), || Explanation {
                summary: format!("one read shows {} twice", self.name(twice[0])),
                events: vec![self.write_place(twice[0]), self.history.end_of(read)],
                steps: Vec::new(),
                contradiction: "one write makes one sibling".to_owned(),
            });
        }
        numbers.dedup();
        if numbers.len() == count {
            self.judge_false_siblings(read, &numbers, findings);
        }
    }

    /// Walks down what each shown value had seen, no deeper than the oldest of them.
    fn judge_false_siblings(&self, read: &Operation, numbers: &[u32], findings: &mut Findings<'_>) {
        let oldest = numbers[0];
        for top in numbers {
            let mut above: BTreeMap<u32, u32> = BTreeMap::new();
            let mut stack = vec![*top];
            while let Some(number) = stack.pop() {
                for below in
                    self.elements[number as usize].seen.iter().rev().take_while(|below| **below >= oldest)
                {
                    above.entry(*below).or_insert_with(|| {
                        stack.push(*below);
                        number
                    });
                }
            }
            for low in numbers.iter().filter(|low| above.contains_key(low)) {
                let (replaced, replacing) = (self.name(*low), self.name(*top));
                findings.add(Anomaly::FalseSibling, self.value(*low), || {
                    let mut chain = vec![*low];
                    while chain.last() != Some(top) {
                        chain.push(above[&chain[chain.len() - 1]]);
                    }
                    Explanation {
                        summary: format!("a read shows {replaced} beside {replacing}, which had replaced it"),
                        events: chain
                            .iter()
                            .map(|number| self.write_place(*number))
                            .chain([self.history.end_of(read)])
                            .collect(),
                        steps: chain.windows(2).map(|pair| self.saw(pair[1], pair[0])).collect(),
                        contradiction: format!(
                            "{replaced} and {replacing} are shown side by side ({})",
                            self.history.end_of(read)
                        ),
                    }
                });
            }
        }
    }

    fn invoked(&self, number: u32) -> u32 {
        self.elements[number as usize].operation.invoked
    }

    fn value(&self, number: u32) -> Atom {
        self.elements[number as usize].operation.argument
    }

    fn name(&self, number: u32) -> Shown<'h> {
        self.history.show(self.value(number))
    }

    /// "write 5" or "delete d1".
    fn title(&self, number: u32) -> String {
        let verb = if self.elements[number as usize].is_delete { "delete" } else { "write" };
        format!("{verb} {}", self.name(number))
    }

    fn write_place(&self, number: u32) -> Place {
        self.history.place(self.invoked(number))
    }

    /// "write 6 replaces 5, because it had seen it (line 3)".
    fn saw(&self, upper: u32, lower: u32) -> String {
        let place = self.write_place(upper);
        format!("{} replaces {}, because it had seen it ({place})", self.title(upper), self.name(lower))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It happened: acknowledged, shown, or seen by something that happened.
    Certain,
    /// It may have happened, and nothing speaks against it.
    Possible,
    /// Its outcome is unknown, but it cannot have happened as far as this read tells.
    Ruled,
    /// Refused, or begun after the read.
    Out,
}

/// How a key ended, as one final read shows it, and what must and may have happened for that.
struct Ending<'a, 'h> {
    part: &'a Part<'h>,
    read: &'a Operation,
    is_shown: Vec<bool>,
    standing: Vec<Standing>,
    /// The element because of which another is certain; itself if it was acknowledged or shown.
    reason: Vec<u32>,
    /// How many certain or possible elements had seen it.
    dominators: Vec<u32>,
}

impl<'a, 'h> Ending<'a, 'h> {
    fn new(part: &'a Part<'h>, read: &'a Operation) -> Self {
        let count = part.elements.len();
        let mut ending = Ending {
            part,
            read,
            is_shown: vec![false; count],
            standing: vec![Standing::Possible; count],
            reason: (0..count as u32).collect(),
            dominators: vec![0; count],
        };
        ending.find_certain();
        ending.rule_out();
        ending.take_away();
        ending
    }

    fn find_certain(&mut self) {
        let completed = self.read.ended();
        for (number, element) in self.part.elements.iter().enumerate() {
            let operation = &element.operation;
            self.standing[number] = match operation.outcome {
                _ if operation.invoked > completed => Standing::Out,
                Outcome::Fail => Standing::Out,
                // What was acknowledged only while the read was under way may have escaped it.
                Outcome::Ok if operation.completed().is_some_and(|at| at < self.read.invoked) => {
                    Standing::Certain
                }
                Outcome::Ok | Outcome::Unknown => Standing::Possible,
            };
        }
        for value in shown(self.part.history, self.read) {
            if let Some(number) = self.part.visible(*value)
                && self.standing[number as usize] != Standing::Out
            {
                self.is_shown[number as usize] = true;
                self.standing[number as usize] = Standing::Certain;
            }
        }
        // Downwards: what had been seen has a smaller number, so it is visited later.
        for number in (0..self.standing.len())
            .rev()
            .filter(|number| self.standing[*number] == Standing::Certain)
            .collect::<Vec<_>>()
        {
            let mut stack = vec![number];
            while let Some(upper) = stack.pop() {
                for below in &self.part.elements[upper].seen {
                    let lower = *below as usize;
                    if self.standing[lower] == Standing::Possible {
                        self.standing[lower] = Standing::Certain;
                        self.reason[lower] = upper as u32;
                        stack.push(lower);
                    }
                }
            }
        }
    }

    /// What had seen a shown value, itself or through others, replaced it if it happened; so it did not.
    fn rule_out(&mut self) {
        let mut has_seen_shown = vec![false; self.standing.len()];
        for (number, element) in self.part.elements.iter().enumerate() {
            has_seen_shown[number] = element
                .seen
                .iter()
                .any(|below| self.is_shown[*below as usize] || has_seen_shown[*below as usize]);
            if has_seen_shown[number] && self.standing[number] == Standing::Possible {
                self.standing[number] = Standing::Ruled;
            }
        }
    }

    /// An unknown write that is neither shown nor dominated would have to be shown; so it did not happen.
    fn take_away(&mut self) {
        let is_in = |standing| matches!(standing, Standing::Certain | Standing::Possible);
        for (element, standing) in self.part.elements.iter().zip(&self.standing) {
            if is_in(*standing) {
                element.seen.iter().for_each(|below| self.dominators[*below as usize] += 1);
            }
        }
        // From the youngest down: an element's dominators are younger, so they are settled before it.
        for (number, element) in self.part.elements.iter().enumerate().rev() {
            let must_show = !element.is_delete && !self.is_shown[number] && self.dominators[number] == 0;
            if must_show && self.standing[number] == Standing::Possible {
                self.standing[number] = Standing::Ruled;
                element.seen.iter().for_each(|below| self.dominators[*below as usize] -= 1);
            }
        }
    }

    fn judge(&self, findings: &mut Findings<'_>) {
        let is_below_shown = self.below_shown();
        for (number, element) in self.part.elements.iter().enumerate() {
            let number = number as u32;
            if self.standing[number as usize] != Standing::Certain {
                continue;
            }
            for below in element.seen.iter().filter(|below| self.is_shown[**below as usize]) {
                let value = self.part.value(*below);
                // If that is because of another shown value, the read shows a false sibling and was told so.
                if !is_below_shown[number as usize] {
                    findings.add(Anomaly::Resurrected, value, || self.explain_resurrected(*below, number));
                }
            }
            let is_hidden =
                element.is_delete || self.is_shown[number as usize] || self.dominators[number as usize] > 0;
            if !is_hidden {
                findings.add(Anomaly::LostWrite, self.part.value(number), || self.explain_lost(number));
            }
        }
    }

    /// Which elements a shown value had seen, directly or through others, or are shown themselves.
    fn below_shown(&self) -> Vec<bool> {
        let mut is_below = self.is_shown.clone();
        for (upper, element) in self.part.elements.iter().enumerate().rev() {
            if is_below[upper] {
                element.seen.iter().for_each(|below| is_below[*below as usize] = true);
            }
        }
        is_below
    }

    fn explain_resurrected(&self, shown: u32, dominator: u32) -> Explanation {
        let (part, value) = (self.part, self.part.name(shown));
        let mut events = vec![part.write_place(shown), part.write_place(dominator)];
        let mut steps = vec![part.saw(dominator, shown)];
        let mut number = dominator;
        loop {
            let operation = &part.elements[number as usize].operation;
            let reason = self.reason[number as usize];
            if reason == number {
                if let Some(position) = operation.completed() {
                    let place = part.history.place(position);
                    steps.push(format!(
                        "{} happened, because it was acknowledged ({place})",
                        part.title(number)
                    ));
                    events.push(place);
                }
                break;
            }
            let (title, place) = (part.title(number), part.write_place(reason));
            steps.push(format!("{title} happened, because {} had seen it ({place})", part.title(reason)));
            events.push(place);
            number = reason;
        }
        let read = part.history.end_of(self.read);
        let node = node_name(part.history, self.read);
        let contradiction = format!("{node} shows {value} in the end ({read})");
        events.push(read);
        events.sort_by_key(|place| place.index);
        events.dedup();
        Explanation {
            summary: format!("{node} shows {value} in the end, though {} replaced it", part.title(dominator)),
            events,
            steps,
            contradiction,
        }
    }

    fn explain_lost(&self, lost: u32) -> Explanation {
        const SEERS_MAX: usize = 3;
        let (part, value) = (self.part, self.part.name(lost));
        let operation = &part.elements[lost as usize].operation;
        let mut events = vec![part.write_place(lost)];
        let mut steps = Vec::new();
        if let Some(position) = operation.completed() {
            let place = part.history.place(position);
            steps.push(format!("write {value} happened, because it was acknowledged ({place})"));
            events.push(place);
        }
        let seers = (lost as usize..part.elements.len())
            .filter(|n| part.elements[*n].seen.binary_search(&lost).is_ok());
        let mut has_seers = false;
        for seer in seers.take(SEERS_MAX) {
            has_seers = true;
            let (title, place) = (part.title(seer as u32), part.write_place(seer as u32));
            let because = match self.standing[seer] {
                Standing::Out if part.is_refused(seer as u32) => "but it was refused".to_owned(),
                Standing::Out => "but it began after the read".to_owned(),
                _ => match self.shown_below(seer as u32) {
                    Some(shown) => format!("but it had also seen {}, which is still shown", part.name(shown)),
                    None => {
                        "but if it had happened, its own value would have to be shown or replaced".to_owned()
                    }
                },
            };
            steps.push(format!("{title} would have replaced it, as it had seen it ({place}), {because}"));
            events.push(place);
        }
        if !has_seers {
            steps.push(format!("nothing replaced {value}, because no write or delete had seen it"));
        }
        let read = part.history.end_of(self.read);
        let node = node_name(part.history, self.read);
        let contradiction = format!("{node} does not show {value} in the end ({read})");
        events.push(read);
        events.sort_by_key(|place| place.index);
        events.dedup();
        let summary = format!(
            "write {value} was acknowledged, nothing that can have happened replaced it, and {node} lacks it"
        );
        Explanation { summary, events, steps, contradiction }
    }

    /// A shown value that an element had seen, itself or through others.
    fn shown_below(&self, number: u32) -> Option<u32> {
        let mut stack = vec![number];
        let mut visited = BTreeSet::new();
        while let Some(upper) = stack.pop() {
            for below in &self.part.elements[upper as usize].seen {
                if self.is_shown[*below as usize] {
                    return Some(*below);
                }
                if visited.insert(*below) {
                    stack.push(*below);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::history::{Event, Value};

    /// One operation after the other, each by a process of its own, then a final read by each node.
    #[derive(Default)]
    struct Story(Vec<Event>);

    impl Story {
        fn process(&self) -> u64 {
            self.0.len() as u64
        }

        fn operation(mut self, f: &str, value: impl Into<Value>, seen: &[&str], outcome: Outcome) -> Self {
            let process = self.process();
            self.0.push(Event::invoke(process, f).key("k").value(value).seen(seen.iter().copied()));
            self.0.push(match outcome {
                Outcome::Ok => Event::ok(process, f).key("k"),
                Outcome::Fail => Event::fail(process, f).key("k").error("refused"),
                Outcome::Unknown => Event::info(process, f).key("k").error("timeout"),
            });
            self
        }

        fn write(self, value: &str, seen: &[&str]) -> Self {
            self.operation("write", value, seen, Outcome::Ok)
        }

        fn maybe_write(self, value: &str, seen: &[&str]) -> Self {
            self.operation("write", value, seen, Outcome::Unknown)
        }

        fn refused_write(self, value: &str, seen: &[&str]) -> Self {
            self.operation("write", value, seen, Outcome::Fail)
        }

        fn delete(self, value: &str, seen: &[&str]) -> Self {
            self.operation("delete", value, seen, Outcome::Ok)
        }

        fn maybe_delete(self, value: &str, seen: &[&str]) -> Self {
            self.operation("delete", value, seen, Outcome::Unknown)
        }

        fn read(mut self, values: &[&str]) -> Self {
            let process = self.process();
            self.0.push(Event::invoke(process, "read").key("k"));
            self.0.push(Event::ok(process, "read").key("k").value(values.to_vec()));
            self
        }

        fn ends(mut self, values: &[&str]) -> Report {
            let process = self.process();
            self.0.push(Event::invoke(process, "read").key("k").node("n1").phase("final"));
            self.0.push(Event::ok(process, "read").key("k").node("n1").phase("final").value(values.to_vec()));
            siblings(&self.0.into_iter().collect()).unwrap()
        }
    }

    fn story() -> Story {
        Story::default()
    }

    fn anomalies(report: &Report) -> Vec<String> {
        report
            .violations()
            .map(|violation| format!("{}: {}", violation.anomaly, violation.explanation.summary))
            .collect()
    }

    #[track_caller]
    fn valid(report: &Report) {
        assert!(report.is_valid(), "{report}");
    }

    #[track_caller]
    fn violated(report: &Report, expected: Anomaly) {
        assert_eq!(report.verdict, Verdict::Violated, "{report}");
        let found: Vec<Anomaly> = report.violations().map(|violation| violation.anomaly).collect();
        assert_eq!(found, [expected], "{report}");
    }

    #[test]
    fn concurrent_writes_stay_side_by_side_and_a_later_one_replaces_what_it_saw() {
        valid(&story().write("a", &[]).write("b", &[]).ends(&["b", "a"]));
        valid(&story().write("a", &[]).write("b", &[]).write("c", &["a", "b"]).ends(&["c"]));
        valid(&story().write("a", &[]).write("b", &[]).write("c", &["a"]).ends(&["b", "c"]));
    }

    #[test]
    fn an_acknowledged_write_that_is_gone_is_lost() {
        let report = story().write("a", &[]).write("b", &[]).ends(&["b"]);
        violated(&report, Anomaly::LostWrite);
        let text = report.to_string();
        assert!(text.contains("nothing replaced a, because no write or delete had seen it"), "{text}");
        assert!(text.contains("but n1 does not show a in the end (event 5): a contradiction"), "{text}");
        assert!(text.contains("event 1: process 0 ok write k"), "{text}");
    }

    #[test]
    fn an_unknown_write_may_be_shown_or_not_and_may_replace() {
        valid(&story().maybe_write("a", &[]).ends(&[]));
        valid(&story().maybe_write("a", &[]).ends(&["a"]));
        valid(&story().write("a", &[]).maybe_write("b", &["a"]).ends(&["a"]));
        valid(&story().write("a", &[]).maybe_write("b", &["a"]).ends(&["b"]));
        violated(&story().write("a", &[]).maybe_write("b", &["a"]).ends(&[]), Anomaly::LostWrite);
    }

    #[test]
    fn an_unknown_delete_explains_an_absence() {
        valid(&story().write("a", &[]).maybe_delete("d", &["a"]).ends(&[]));
        valid(&story().write("a", &[]).maybe_delete("d", &["a"]).ends(&["a"]));
        violated(
            &story().write("a", &[]).write("b", &[]).maybe_delete("d", &["b"]).ends(&["b"]),
            Anomaly::LostWrite,
        );
    }

    #[test]
    fn a_chain_of_unknown_operations_explains_an_absence() {
        let chain = || {
            story()
                .write("a", &[])
                .maybe_write("b", &["a"])
                .maybe_write("c", &["b"])
                .maybe_delete("d", &["c"])
        };
        for end in [&["a"][..], &["b"], &["c"], &[]] {
            valid(&chain().ends(end));
        }
        violated(&chain().ends(&["a", "c"]), Anomaly::FalseSibling);
    }

    #[test]
    fn what_had_seen_a_shown_value_cannot_have_replaced_another() {
        // b could have replaced a, but it would have replaced x as well.
        let report = story()
            .write("a", &[])
            .write("x", &[])
            .maybe_write("b", &["a", "x"])
            .maybe_delete("d", &["b"])
            .ends(&["x"]);
        violated(&report, Anomaly::LostWrite);
        assert!(report.to_string().contains("but it had also seen x, which is still shown"), "{report}");
    }

    #[test]
    fn a_deleted_value_that_returns_is_resurrected() {
        let report = story().write("a", &[]).delete("d", &["a"]).ends(&["a"]);
        violated(&report, Anomaly::Resurrected);
        assert!(
            report.to_string().contains("delete d happened, because it was acknowledged (event 3)"),
            "{report}"
        );
        violated(
            &story().write("a", &[]).write("b", &["a"]).delete("d", &["b"]).ends(&["a"]),
            Anomaly::Resurrected,
        );
        // The delete is unknown, but an acknowledged write had seen it.
        let report = story().write("a", &[]).maybe_delete("d", &["a"]).write("b", &["d"]).ends(&["a", "b"]);
        violated(&report, Anomaly::FalseSibling);
        let report = story().write("a", &[]).maybe_delete("d", &["a"]).delete("e", &["d"]).ends(&["a"]);
        violated(&report, Anomaly::Resurrected);
        assert!(report.to_string().contains("delete d happened, because delete e had seen it"), "{report}");
    }

    #[test]
    fn a_delete_removes_only_what_it_saw() {
        valid(&story().write("a", &[]).write("b", &[]).delete("d", &["a"]).ends(&["b"]));
        violated(&story().write("a", &[]).write("b", &[]).delete("d", &["a"]).ends(&[]), Anomaly::LostWrite);
    }

    #[test]
    fn a_value_beside_the_one_that_replaced_it_is_a_false_sibling() {
        violated(&story().write("a", &[]).write("b", &["a"]).ends(&["a", "b"]), Anomaly::FalseSibling);
        let report = story().write("a", &[]).maybe_write("b", &["a"]).write("c", &["b"]).ends(&["a", "c"]);
        violated(&report, Anomaly::FalseSibling);
        assert!(
            report.to_string().contains("write b replaces a, because it had seen it (event 2)"),
            "{report}"
        );
        violated(
            &story().write("a", &[]).write("b", &["a"]).read(&["b", "a"]).ends(&["b"]),
            Anomaly::FalseSibling,
        );
        violated(&story().write("a", &[]).ends(&["a", "a"]), Anomaly::Duplicate);
    }

    #[test]
    fn a_value_that_nobody_wrote_by_then_is_invented() {
        violated(&story().ends(&["x"]), Anomaly::Invented);
        violated(&story().write("a", &[]).read(&["x"]).ends(&["a"]), Anomaly::Invented);
        violated(&story().read(&["a"]).write("a", &[]).ends(&["a"]), Anomaly::Invented);
        violated(&story().write("a", &["x"]).ends(&["a"]), Anomaly::Invented);
        violated(&story().delete("d", &[]).ends(&["d"]), Anomaly::Invented);
    }

    #[test]
    fn the_value_of_a_refused_write_must_not_be_shown_or_seen() {
        valid(&story().refused_write("a", &[]).ends(&[]));
        violated(&story().refused_write("a", &[]).ends(&["a"]), Anomaly::Refused);
        violated(&story().refused_write("a", &[]).read(&["a"]).ends(&[]), Anomaly::Refused);
        violated(&story().refused_write("a", &[]).write("b", &["a"]).ends(&["b"]), Anomaly::Refused);
        violated(&story().write("a", &[]).refused_write("b", &["a"]).ends(&[]), Anomaly::LostWrite);
    }

    #[test]
    fn a_refused_attempt_may_be_repeated_with_its_value() {
        valid(&story().refused_write("a", &[]).write("a", &[]).ends(&["a"]));
        violated(&story().refused_write("a", &[]).write("a", &[]).ends(&[]), Anomaly::LostWrite);
        valid(&story().write("a", &[]).refused_write("a", &[]).ends(&["a"]));
    }

    #[test]
    fn what_the_rule_does_not_cover_is_unknown() {
        assert_eq!(story().write("a", &[]).write("a", &[]).ends(&["a"]).verdict, Verdict::Unknown);
        assert_eq!(story().operation("append", 1, &[], Outcome::Ok).ends(&[]).verdict, Verdict::Unknown);
        let without_end = story().write("a", &[]).read(&["a"]).0;
        assert_eq!(siblings(&without_end.into_iter().collect()).unwrap().verdict, Verdict::Unknown);
    }

    #[test]
    fn a_write_that_overlaps_the_final_read_may_escape_it() {
        let fin = |event: Event| event.key("k").node("n1").phase("final");
        let history: History = [
            Event::invoke(0, "write").key("k").value(1),
            fin(Event::invoke(1, "read")),
            Event::ok(0, "write").key("k"),
            fin(Event::ok(1, "read")).value(Vec::<i64>::new()),
            Event::invoke(2, "write").key("k").value(2),
            Event::ok(2, "write").key("k"),
        ]
        .into_iter()
        .collect();
        valid(&siblings(&history).unwrap());
    }

    #[test]
    fn what_begins_after_the_final_read_explains_nothing() {
        let mut events = story().write("a", &[]).0;
        let fin = |event: Event| event.key("k").node("n1").phase("final");
        events.extend([fin(Event::invoke(10, "read")), fin(Event::ok(10, "read")).value([0; 0])]);
        let history: History = Story(events).delete("d", &["a"]).0.into_iter().collect();
        violated(&siblings(&history).unwrap(), Anomaly::LostWrite);
    }

    #[test]
    fn each_node_is_judged_by_what_it_shows() {
        let fin = |process: u64, node: &str, values: &[&str]| {
            [
                Event::invoke(process, "read").key("k").node(node).phase("final"),
                Event::ok(process, "read").key("k").node(node).phase("final").value(values.to_vec()),
            ]
        };
        let mut events = story().write("a", &[]).0;
        events.extend([fin(5, "n1", &["a"]), fin(5, "n2", &[])].concat());
        let report = siblings(&events.into_iter().collect()).unwrap();
        violated(&report, Anomaly::LostWrite);
        assert!(anomalies(&report)[0].contains("n2 lacks it"), "{report}");
    }

    /// The rule, word for word: tries every set of unknown operations.
    mod by_definition {
        use super::*;

        pub(super) struct Operation {
            pub(super) value: Option<String>,
            pub(super) is_delete: bool,
            pub(super) outcome: Outcome,
            pub(super) seen: Vec<usize>,
        }

        pub(super) fn holds(operations: &[Operation], shown: &BTreeSet<String>) -> bool {
            let count = operations.len();
            // had_seen[a][b]: a had seen b, directly or through others.
            let mut had_seen = vec![vec![false; count]; count];
            for (a, operation) in operations.iter().enumerate() {
                for b in &operation.seen {
                    had_seen[a][*b] = true;
                    let below = had_seen[*b].clone();
                    had_seen[a].iter_mut().zip(below).for_each(|(a, b)| *a |= b);
                }
            }
            (0u32..1 << count).any(|set| {
                let is_in = |a: usize| set >> a & 1 == 1;
                let fits = (0..count).all(|a| match operations[a].outcome {
                    Outcome::Ok => is_in(a),
                    Outcome::Fail => !is_in(a),
                    Outcome::Unknown => true,
                });
                let maximal =
                    (0..count).filter(|a| is_in(*a) && !(0..count).any(|b| is_in(b) && had_seen[b][*a]));
                let visible = maximal.filter(|a| !operations[*a].is_delete);
                fits && visible.filter_map(|a| operations[a].value.clone()).collect::<BTreeSet<_>>() == *shown
            })
        }
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            ((self.0 >> 33) % bound as u64) as usize
        }

        fn is_one_in(&mut self, bound: usize) -> bool {
            self.below(bound) == 0
        }
    }

    fn random_operations(random: &mut Random) -> Vec<by_definition::Operation> {
        let count = 1 + random.below(8);
        let mut operations: Vec<by_definition::Operation> = Vec::new();
        let outcomes = [Outcome::Ok, Outcome::Unknown, Outcome::Unknown, Outcome::Ok, Outcome::Fail];
        for number in 0..count {
            let is_delete = random.is_one_in(4);
            let density = 1 + random.below(4);
            let visible = (0..number)
                .filter(|n| operations[*n].outcome != Outcome::Fail && operations[*n].value.is_some());
            let seen = visible.filter(|_| random.is_one_in(density)).collect();
            let is_nameless = is_delete && random.is_one_in(3);
            operations.push(by_definition::Operation {
                value: (!is_nameless).then(|| format!("v{number}")),
                is_delete,
                outcome: outcomes[random.below(outcomes.len())],
                seen,
            });
        }
        operations
    }

    #[test]
    fn the_rule_agrees_with_trying_every_set_of_unknown_operations() {
        let seed = 0x5eed_0003;
        let mut random = Random(seed);
        let mut verdicts = [0u32; 2];
        for round in 0..40_000 {
            let operations = random_operations(&mut random);
            let names = |n: &usize| operations[*n].value.clone();
            // What a right store would show if half of the unknown operations happened; then perhaps a mistake.
            let happened: Vec<usize> = (0..operations.len())
                .filter(|n| match operations[*n].outcome {
                    Outcome::Ok => true,
                    Outcome::Fail => false,
                    Outcome::Unknown => random.is_one_in(2),
                })
                .collect();
            let is_replaced = |n: &usize| happened.iter().any(|other| operations[*other].seen.contains(n));
            let maximal = happened.iter().filter(|n| !operations[**n].is_delete && !is_replaced(n));
            let mut shown: BTreeSet<String> = maximal.filter_map(names).collect();
            if random.is_one_in(2) {
                let number = random.below(operations.len());
                if let Some(value) =
                    names(&number).filter(|value| !operations[number].is_delete && !shown.remove(value))
                {
                    shown.insert(value);
                }
            }
            let mut story = story();
            for operation in &operations {
                let seen: Vec<String> = operation.seen.iter().filter_map(names).collect();
                let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
                let f = if operation.is_delete { "delete" } else { "write" };
                story = story.operation(f, operation.value.clone(), &seen, operation.outcome);
            }
            let shown_list: Vec<&str> = shown.iter().map(String::as_str).collect();
            let described = format!("{:#?} {shown:?}", story.0);
            let report = story.ends(&shown_list);
            let expected = by_definition::holds(&operations, &shown);
            assert_eq!(report.is_valid(), expected, "seed {seed:#x} round {round}: {described}\n{report}");
            assert_ne!(
                report.verdict,
                Verdict::Unknown,
                "seed {seed:#x} round {round}: {described}\n{report}"
            );
            verdicts[usize::from(expected)] += 1;
        }
        assert!(verdicts.iter().all(|count| *count > 8_000), "one-sided: {verdicts:?}");
    }
}
