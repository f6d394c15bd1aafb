//! Texts and lists that are read whole, replaced and appended to, key by key.
//!
//! The model of porcupine's key-value traces: `get`, `put` and `append` of texts, each key beginning with the empty
//! one; and the same for lists, to which one element is appended at a time. Decided by taking the longest reads apart
//! (see the engine `append`), which is exact where every piece that is read tells who wrote it, by itself or by the
//! times of the calls that write the same. Other keys are searched (see the engine `text`) as far as steps, memory and
//! time allow; then they are left unknown, with two calls that cannot be told apart.

use std::fmt::Write as _;
use std::time::Instant;

use super::report::{Anomaly, Check, Explanation, Report, Violation};
use super::{CheckError, Nil, Options, keys};
use crate::engine::append::{self, Block, Call, Decision, Step};
use crate::engine::wgl::Budget;
use crate::engine::{search, text};
use crate::history::{Atom, History, Operation, Outcome, Process};

/// Judges whether every key's gets, puts and appends could have taken effect one at a time, each between its invocation
/// and its completion. Keys begin with the empty text or list.
///
/// ```
/// use godown_jepsen::check::{self, Options};
/// use godown_jepsen::history::{Event, History};
///
/// let history: History = [
///     Event::invoke(0, "append").key("k").value("x"),
///     Event::ok(0, "append").key("k").value("x"),
///     Event::invoke(1, "append").key("k").value("y"),
///     Event::invoke(0, "get").key("k"),
///     Event::ok(0, "get").key("k").value("yx"),
/// ]
/// .into_iter()
/// .collect();
/// let report = check::kv(&history, &Options::default()).unwrap();
/// assert!(report.to_string().contains("shows y before x"), "{report}");
/// ```
///
/// # Errors
/// A history whose events do not make up operations, or a value that is neither text nor list.
pub fn kv(history: &History, options: &Options) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let roles = history.words(Role::of);
    let budget = Budget {
        steps_max: options.steps_max,
        configurations_max: options.configurations_max,
        deadline: options.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
    };
    let mut check = Check::new("kv");
    check.operations = operations.len();
    let keys = keys(history, &operations);
    check.keys = keys.len();
    let part = |operations, searches| Part {
        history,
        roles: &roles,
        operations,
        nil: options.nil,
        budget,
        searches,
    };
    let mut found = Vec::with_capacity(keys.len());
    for (_, operations) in &keys {
        found.push(part(operations, false).judge()?);
    }
    // One violation is a verdict; then no search, which may take long, is worth its while.
    if !found.iter().any(|found| matches!(found, Found::Violation(..))) {
        for (found, (_, operations)) in found.iter_mut().zip(&keys) {
            if matches!(found, Found::Unknown(_)) {
                *found = part(operations, true).judge()?;
            }
        }
    }
    for (found, (key, _)) in found.into_iter().zip(&keys) {
        match found {
            Found::Nothing => {}
            Found::Violation(anomaly, explanation) => {
                check.violate(Violation { anomaly, key: history.value(*key), explanation });
            }
            Found::Unknown(reason) => check.wonder(Some(history.value(*key)), reason),
        }
    }
    Ok(Report::new(&history.source, vec![check]))
}

/// What a function does to a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Get,
    Put,
    Append,
    Strange,
}

impl Role {
    fn of(word: &str) -> Self {
        match word {
            "get" | "read" => Role::Get,
            "put" | "write" => Role::Put,
            "append" => Role::Append,
            _ => Role::Strange,
        }
    }
}

enum Found {
    Nothing,
    Violation(Anomaly, Explanation),
    Unknown(String),
}

/// One key's part of a history.
struct Part<'a> {
    history: &'a History,
    roles: &'a [Role],
    operations: &'a [Operation],
    nil: Nil,
    budget: Budget,
    /// Whether to search for what the pieces do not tell.
    searches: bool,
}

impl<'a> Part<'a> {
    fn judge(&self) -> Result<Found, CheckError> {
        let is_strange = |operation: &&Operation| self.role(operation) == Role::Strange;
        if let Some(stranger) = self.operations.iter().find(is_strange) {
            let (f, at) = (self.history.word(stranger.f), self.history.start_of(stranger));
            return Ok(Found::Unknown(format!("\"{f}\" at {at} is not one of get, put and append")));
        }
        let has_list = |operation: &Operation| match self.role(operation) {
            Role::Get => self.history.list(operation.result).is_some(),
            Role::Put => self.history.list(operation.argument).is_some(),
            Role::Append | Role::Strange => false,
        };
        if self.operations.iter().any(has_list) {
            let whole = |atom| self.history.list(atom);
            let piece = |operation: &'a Operation| Some(std::slice::from_ref(&operation.argument));
            let spell = |from: &[Atom]| {
                let shown = from.iter().take(SPELLED_MAX).map(|atom| self.history.show(*atom).to_string());
                shown.collect::<Vec<_>>().join(" ")
            };
            self.judge_by(whole, piece, spell)
        } else {
            let whole = |atom| self.history.text(atom).map(str::as_bytes);
            // A place inside a character is told as what is left of it.
            let spell = |from: &[u8]| {
                let end = from.len().min(SPELLED_MAX);
                String::from_utf8_lossy(&from[..end]).trim_matches('\u{fffd}').to_owned()
            };
            self.judge_by(whole, |operation| whole(operation.argument), spell)
        }
    }

    fn role(&self, operation: &Operation) -> Role {
        self.roles[operation.f.number()]
    }

    /// Judges texts of any sort: `whole` takes a value for a text, `piece` what an operation appends, and `spell` says
    /// how a text begins.
    fn judge_by<T: Ord + Copy + 'a>(
        &self,
        whole: impl Fn(Atom) -> Option<&'a [T]>,
        piece: impl Fn(&'a Operation) -> Option<&'a [T]>,
        spell: impl Fn(&[T]) -> String,
    ) -> Result<Found, CheckError> {
        let mut calls = Vec::with_capacity(self.operations.len());
        let mut owners = Vec::with_capacity(self.operations.len());
        for operation in self.operations {
            let step = match (self.role(operation), operation.outcome) {
                (Role::Get, Outcome::Ok) if operation.result.is_null() => match self.nil {
                    Nil::Absent => Some(Step::Get(&[][..])),
                    Nil::Unknown => continue,
                },
                (Role::Get, Outcome::Ok) => whole(operation.result).map(Step::Get),
                (Role::Get, _) | (_, Outcome::Fail) => continue,
                (Role::Put, _) => whole(operation.argument).map(Step::Put),
                (Role::Append | Role::Strange, _) => piece(operation).map(Step::Append),
            };
            let Some(step) = step else {
                let at = format!("{}: {}", self.history.source, self.history.end_of(operation));
                return Err(CheckError::Malformed {
                    at,
                    expected: "get, put and append need texts or lists",
                });
            };
            calls.push(Call { step, invoked: operation.invoked, returned: operation.returned() });
            owners.push(operation);
        }
        let refused = |get: u32, at: usize| {
            let Step::Get(shown) = calls[get as usize].step else { return None };
            let mut failed = self.operations.iter().filter(|operation| operation.outcome == Outcome::Fail);
            failed.find(|operation| {
                let text = match self.role(operation) {
                    Role::Put => whole(operation.argument),
                    Role::Append => piece(operation),
                    Role::Get | Role::Strange => None,
                };
                text.is_some_and(|text| !text.is_empty() && shown[at..].starts_with(text))
            })
        };
        let decision = append::decide(&calls);
        let told = match decision {
            Decision::Invented { get, at } => refused(get, at),
            _ => None,
        };
        let story = Story { history: self.history, owners: &owners };
        let search = |[a, b]: [u32; 2]| match text::decide(&calls, self.budget) {
            search::Decision::Linearizable(_) => Found::Nothing,
            search::Decision::Impossible { call, order } => {
                let difference = Difference::new(&calls, call, &order, &spell);
                story.impossible(call as u32, &order, &difference)
            }
            undecided => Found::Unknown(story.ambiguous(a, b, &self.exhausted(&undecided, calls.len()))),
        };
        let leave = |[a, b]: [u32; 2]| Found::Unknown(story.ambiguous(a, b, LEFT));
        Ok(if self.searches { story.tell(decision, told, search) } else { story.tell(decision, told, leave) })
    }

    /// Why a search did not end.
    fn exhausted(&self, decision: &search::Decision, count: usize) -> String {
        match decision {
            search::Decision::OutOfSteps => {
                format!("{} steps were not enough to try the orders of {count} calls", self.budget.steps_max)
            }
            search::Decision::OutOfMemory => format!(
                "the memory for {} configurations was not enough to try the orders of {count} calls",
                self.budget.configurations_max
            ),
            search::Decision::OutOfTime => {
                format!("the time ran out on the orders of {count} calls; allow more with --timeout")
            }
            _ => "more than 4,096 calls are open at once".to_owned(),
        }
    }
}

/// Why a key was not searched.
const LEFT: &str = "their orders were not tried, since another key is violated";
/// Of how long a text no more is told than its beginning.
const SPELLED_MAX: usize = 60;

/// How what an order leaves differs from what a get shows.
struct Difference {
    /// Where the two begin to differ.
    place: usize,
    /// What is left from there on.
    left: String,
    /// What is shown from there on.
    shown: String,
}

impl Difference {
    fn new<T: Ord + Copy>(
        calls: &[Call<'_, T>],
        get: usize,
        order: &[usize],
        spell: impl Fn(&[T]) -> String,
    ) -> Self {
        let mut left: Vec<T> = Vec::new();
        for call in order {
            match calls[*call].step {
                Step::Get(_) => {}
                Step::Put(piece) => left = piece.to_vec(),
                Step::Append(piece) => left.extend(piece),
            }
        }
        let (Step::Get(shown) | Step::Put(shown) | Step::Append(shown)) = calls[get].step;
        let place = left.iter().zip(shown).take_while(|(left, shown)| left == shown).count();
        Difference { place, left: spell(&left[place..]), shown: spell(&shown[place..]) }
    }
}

/// Operations by the place of their calls, and words for them.
struct Story<'a> {
    history: &'a History,
    owners: &'a [&'a Operation],
}

impl Story<'_> {
    fn of(&self, call: u32) -> &Operation {
        self.owners[call as usize]
    }

    /// What an operation wrote, as it was recorded.
    fn written(&self, call: u32) -> String {
        self.history.show(self.of(call).argument).to_string()
    }

    fn explain(&self, calls: &[u32]) -> Explanation {
        Explanation::of(self.history, calls.iter().map(|call| self.of(*call)))
    }

    fn at(&self, call: u32) -> String {
        self.history.end_of(self.of(call)).to_string()
    }

    /// Who called.
    fn reader(&self, get: u32) -> &Process {
        self.history.process(self.of(get).process)
    }

    /// What an operation did, in words.
    fn did(&self, call: u32) -> String {
        let operation = self.of(call);
        let process = self.history.process(operation.process);
        match Role::of(self.history.word(operation.f)) {
            Role::Get => format!("process {process} read ({})", self.at(call)),
            Role::Put => format!("process {process} put {}", self.written(call)),
            Role::Append | Role::Strange => format!("process {process} appended {}", self.written(call)),
        }
    }

    /// The same, with its place where that is not told anyway.
    fn did_at(&self, call: u32) -> String {
        match Role::of(self.history.word(self.of(call).f)) {
            Role::Get => self.did(call),
            _ => format!("{} ({})", self.did(call), self.at(call)),
        }
    }

    /// A decision in words; where there is none, `search` finds one.
    fn tell(
        &self,
        decision: Decision,
        refused: Option<&Operation>,
        search: impl FnOnce([u32; 2]) -> Found,
    ) -> Found {
        let (anomaly, explanation) = match decision {
            Decision::Linearizable => return Found::Nothing,
            Decision::Ambiguous { calls } => return search(calls),
            Decision::Invented { get, at } => self.invented(get, at, refused),
            Decision::Buried { get, put } => self.buried(get, put),
            Decision::Repeated { get, append } => self.repeated(get, append),
            Decision::Torn { gets, append } => self.torn(gets, append),
            Decision::Contradictory { gets, appends } => self.contradictory(gets, appends),
            Decision::Disordered { first, second, shown_by } => self.disordered(first, second, shown_by),
            Decision::Crossed { blocks } => self.crossed(blocks),
        };
        Found::Violation(anomaly, explanation)
    }

    fn ambiguous(&self, a: u32, b: u32, exhausted: &str) -> String {
        let (at_a, at_b) = (self.history.start_of(self.of(a)), self.history.start_of(self.of(b)));
        if a == b {
            let did = self.did(a);
            return format!("{did} ({at_a}) leaves no trace, and {exhausted}; use values that are not empty");
        }
        let (a, b) = (self.did(a), self.did(b));
        format!(
            "{a} ({at_a}) and {b} ({at_b}) cannot be told apart where they are read, and {exhausted}; \
             use distinct values"
        )
    }

    /// What the search found: a call that comes after all that ended before it, and has no place there.
    fn impossible(&self, call: u32, order: &[usize], difference: &Difference) -> Found {
        const TOLD_MAX: usize = 5;
        let told: Vec<u32> =
            order[order.len().saturating_sub(TOLD_MAX)..].iter().map(|call| *call as u32).collect();
        let mut explanation = self.explain(&[&told[..], &[call]].concat());
        let did = self.did(call);
        explanation.summary = format!("no order of the calls explains that {did}");
        let place = if difference.place == 0 { "" } else { &format!(" from place {} on", difference.place) };
        let say = |text: &str| if text.is_empty() { "nothing".to_owned() } else { format!("\"{text}\"") };
        let mut order = String::new();
        for (number, call) in told.iter().enumerate() {
            let then = if number == 0 { "" } else { ", then " };
            let _ = write!(order, "{then}{}", self.did_at(*call));
        }
        let (end, because) = if told.is_empty() {
            ("at the beginning".to_owned(), "nothing had taken effect")
        } else {
            ("in the longest order there is without it".to_owned(), order.as_str())
        };
        explanation.steps.push(format!(
            "{end} there is {}{place}, because the last to take effect are: {because}",
            say(&difference.left)
        ));
        explanation.contradiction = format!(
            "{} shows {}{place}, which no order of what had begun leaves",
            self.at(call),
            say(&difference.shown)
        );
        Found::Violation(Anomaly::NotLinearizable, explanation)
    }

    fn invented(&self, get: u32, at: usize, refused: Option<&Operation>) -> (Anomaly, Explanation) {
        let mut explanation = Explanation::of(self.history, refused.into_iter().chain([self.of(get)]));
        let place = if at == 0 { String::new() } else { format!(" from place {at} on") };
        explanation.summary =
            format!("process {} read{place} what nobody wrote ({})", self.reader(get), self.at(get));
        explanation.contradiction = match refused {
            Some(refused) => format!("that write was refused ({})", self.history.end_of(refused)),
            None => format!("no put or append accounts for what it shows{place}"),
        };
        let anomaly = if refused.is_some() { Anomaly::Refused } else { Anomaly::Invented };
        (anomaly, explanation)
    }

    fn buried(&self, get: u32, put: u32) -> (Anomaly, Explanation) {
        let mut explanation = self.explain(&[get, put]);
        explanation.summary =
            format!("process {} read a put after something else ({})", self.reader(get), self.at(get));
        explanation.steps.push(format!(
            "nothing stands before {}, because {} replaced all",
            self.written(put),
            self.did(put)
        ));
        explanation.contradiction = format!("{} shows something before it", self.at(get));
        (Anomaly::NotLinearizable, explanation)
    }

    fn repeated(&self, get: u32, append: u32) -> (Anomaly, Explanation) {
        let mut explanation = self.explain(&[get, append]);
        let piece = self.written(append);
        explanation.summary = format!("process {} read {piece} twice ({})", self.reader(get), self.at(get));
        explanation
            .steps
            .push(format!("{piece} stands there once, because {} and nobody else did", self.did(append)));
        explanation.contradiction = format!("{} shows it twice", self.at(get));
        (Anomaly::Duplicate, explanation)
    }

    fn torn(&self, gets: [u32; 2], append: u32) -> (Anomaly, Explanation) {
        let mut explanation = self.explain(&[gets[0], gets[1], append]);
        let piece = self.written(append);
        explanation.summary = format!("two reads show {piece} after different beginnings");
        explanation.steps.push(format!(
            "{piece} follows one beginning only, because {} and nobody else did",
            self.did(append)
        ));
        explanation.contradiction =
            format!("{} and {} show it after different ones", self.at(gets[0]), self.at(gets[1]));
        (Anomaly::NotLinearizable, explanation)
    }

    fn contradictory(&self, gets: [u32; 2], appends: [u32; 2]) -> (Anomaly, Explanation) {
        let mut explanation = self.explain(&[gets[0], gets[1]]);
        let [x, y] = appends.map(|append| self.written(append));
        explanation.summary = format!("two reads show {x} and {y} appended to the same text");
        explanation.steps.push(format!("{x} was appended next, because {} shows so", self.at(gets[0])));
        explanation.contradiction = format!("{} shows that {y} was appended next", self.at(gets[1]));
        (Anomaly::NotLinearizable, explanation)
    }

    fn disordered(&self, first: u32, second: u32, shown_by: Option<u32>) -> (Anomaly, Explanation) {
        let calls: Vec<u32> = [first, second].into_iter().chain(shown_by).collect();
        let mut explanation = self.explain(&calls);
        explanation.in_time(
            self.history,
            (&self.did(second), self.of(second)),
            (&self.did(first), self.of(first)),
        );
        let is_get = |call: u32| Role::of(self.history.word(self.of(call).f)) == Role::Get;
        let (anomaly, contradiction) = match (is_get(first), is_get(second), shown_by) {
            (true, true, _) => (
                Anomaly::StaleRead,
                format!("{} shows less of the same text than {}", self.at(first), self.at(second)),
            ),
            (true, false, shown_by) => {
                let by =
                    shown_by.map_or(String::new(), |by| format!(", where {} shows it to be", self.at(by)));
                (Anomaly::StaleRead, format!("{} lacks {}{by}", self.at(first), self.written(second)))
            }
            (false, true, _) => {
                (Anomaly::Invented, format!("{} shows {} already", self.at(second), self.written(first)))
            }
            (false, false, by) => {
                let by = by.map_or("a read".to_owned(), |by| self.at(by));
                let (first, second) = (self.written(first), self.written(second));
                (Anomaly::NotLinearizable, format!("{by} shows {first} before {second}"))
            }
        };
        explanation.summary.clone_from(&contradiction);
        explanation.contradiction = contradiction;
        (anomaly, explanation)
    }

    fn crossed(&self, blocks: [Block; 2]) -> (Anomaly, Explanation) {
        let calls = blocks.iter().flat_map(|block| {
            [block.first_returned, Some(block.last_invoked), block.longest].into_iter().flatten()
        });
        let mut explanation = self.explain(&calls.collect::<Vec<u32>>());
        for [one, other] in [blocks, [blocks[1], blocks[0]]] {
            match one.first_returned {
                Some(first) => explanation.in_time(
                    self.history,
                    (&self.did(first), self.of(first)),
                    (&self.did(other.last_invoked), self.of(other.last_invoked)),
                ),
                None => explanation
                    .steps
                    .push(format!("{} before every put, because it shows none", self.did(one.last_invoked))),
            }
        }
        let name = |block: Block| match block.longest {
            Some(longest) => format!("what {} shows", self.at(longest)),
            None => self.did(block.last_invoked),
        };
        let (a, b) = (name(blocks[0]), name(blocks[1]));
        explanation.summary = format!("{a} and {b} must each come before the other");
        explanation.contradiction = format!(
            "a put and what is appended to it stand together, so {a} is either before {b} or after it"
        );
        (Anomaly::NotLinearizable, explanation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::history::{Event, Value};

    /// One whole operation after another, each by a process of its own.
    fn sequence(operations: &[(&str, Value)]) -> History {
        let each = (0u64..).zip(operations).flat_map(|(process, (f, value))| {
            let argument = if *f == "get" { Value::Null } else { value.clone() };
            [
                Event::invoke(process, *f).key("k").value(argument),
                Event::ok(process, *f).key("k").value(value.clone()),
            ]
        });
        each.collect()
    }

    fn judge(operations: &[(&str, Value)]) -> Report {
        kv(&sequence(operations), &Options::default()).unwrap()
    }

    #[test]
    fn every_way_to_be_wrong_is_told_in_its_own_words() {
        let good = [("get", "".into()), ("append", "a".into()), ("get", "a".into()), ("put", "b".into())];
        let and = |more: &[(&'static str, &str)]| {
            let more = more.iter().map(|(f, value)| (*f, Value::from(*value)));
            judge(&good.iter().cloned().chain(more).collect::<Vec<_>>())
        };
        assert!(and(&[("append", "c"), ("append", "d"), ("get", "bcd")]).is_valid());
        for (more, anomaly, words) in [
            (&[("get", "bz")][..], Anomaly::Invented, "read from place 1 on what nobody wrote"),
            (&[("get", "ab")], Anomaly::NotLinearizable, "replaced all"),
            (&[("append", "c"), ("get", "bcc")], Anomaly::Duplicate, "read c twice"),
            (&[("append", "c"), ("get", "c")], Anomaly::NotLinearizable, "c and a appended to the same text"),
            (
                &[("append", "c"), ("get", "bc"), ("get", "ac")],
                Anomaly::NotLinearizable,
                "different beginnings",
            ),
            (
                &[("append", "c"), ("append", "d"), ("get", "bcd"), ("get", "bd")],
                Anomaly::NotLinearizable,
                "appended to the same text",
            ),
            (&[("append", "c"), ("get", "b"), ("get", "bc")], Anomaly::StaleRead, "lacks c"),
            (&[("get", "bc"), ("append", "c")], Anomaly::Invented, "shows c already"),
            (&[("get", "a")], Anomaly::NotLinearizable, "must each come before the other"),
        ] {
            let report = and(more);
            let violation = report.violations().next().unwrap_or_else(|| panic!("{more:?} {report}"));
            assert_eq!(violation.anomaly, anomaly, "{more:?} {report}");
            assert!(report.to_string().contains(words), "{more:?} {report}");
        }
    }

    #[test]
    fn lists_are_judged_as_texts_of_elements() {
        let list = |elements: &[i64]| Value::from(elements.to_vec());
        let valid =
            [("append", 7.into()), ("append", 70.into()), ("get", list(&[7, 70])), ("put", list(&[1, 2]))];
        assert!(judge(&valid).is_valid());
        let report = judge(&[("append", 7.into()), ("append", 70.into()), ("get", list(&[70, 7]))]);
        assert_eq!(report.verdict, Verdict::Violated);
    }

    #[test]
    fn a_refused_piece_that_is_read_is_called_so() {
        let history: History = [
            Event::invoke(0, "append").key("k").value("a"),
            Event::fail(0, "append").key("k").value("a"),
            Event::invoke(0, "get").key("k"),
            Event::ok(0, "get").key("k").value("a"),
        ]
        .into_iter()
        .collect();
        let report = kv(&history, &Options::default()).unwrap();
        assert_eq!(report.violations().next().unwrap().anomaly, Anomaly::Refused, "{report}");
    }

    #[test]
    fn what_cannot_be_told_apart_is_searched_and_told_with_the_order_that_fails() {
        let append = |piece: &'static str| ("append", Value::from(piece));
        let get = |shown: &'static str| ("get", Value::from(shown));
        let report = judge(&[append("a"), append("ab"), get("aab"), append("a"), get("aaba")]);
        assert!(report.is_valid(), "{report}");
        let report = judge(&[append("a"), append("ab"), get("aab"), append("a"), get("aabb"), get("aaba")]);
        for words in [
            "no order of the calls explains that process 4 read (event 9)",
            "in the longest order there is without it there is \"a\" from place 3 on",
            "process 2 read (event 5), then process 3 appended a (event 7)",
            "event 9 shows \"b\" from place 3 on, which no order of what had begun leaves",
        ] {
            assert!(report.to_string().contains(words), "{report}");
        }
        let list = |elements: &[i64]| Value::from(elements.to_vec());
        let twice = [("append", 7.into()), ("append", 7.into()), ("put", list(&[7])), ("get", list(&[7, 7]))];
        let report = judge(&twice);
        assert!(report.to_string().contains("event 7 shows \"7\" from place 1 on"), "{report}");
        let report = judge(&[("append", "".into()), ("get", "a".into())]);
        assert!(report.to_string().contains("there is nothing, because"), "{report}");
    }

    #[test]
    fn what_cannot_be_told_apart_within_the_budget_is_unknown_and_names_both() {
        let history = || sequence(&[("append", "a".into()), ("append", "ab".into()), ("get", "aab".into())]);
        let now = Some(std::time::Duration::ZERO);
        for (options, reason) in [
            (Options { steps_max: 0, ..Options::default() }, "0 steps were not enough"),
            (Options { configurations_max: 0, ..Options::default() }, "the memory for 0 configurations"),
        ] {
            let report = kv(&history(), &options).unwrap();
            assert_eq!(report.verdict, Verdict::Unknown);
            let text = report.to_string();
            assert!(text.contains(reason) && text.contains("use distinct values"), "{report}");
            assert!(
                text.contains("process 0 appended a") && text.contains("process 1 appended ab"),
                "{report}"
            );
        }
        // A short search is over before it looks at the clock.
        assert!(kv(&history(), &Options { timeout: now, ..Options::default() }).unwrap().is_valid());
    }
}
