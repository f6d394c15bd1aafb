//! Why registers with distinct values contradict themselves, in words.
//!
//! The engine in `zones` names one to four calls. Here they become a story that can be followed without knowing the
//! engine: what each call did and where it stands, which of them must come first because of the values, and which did
//! come first because of time. Nothing is searched; a story is as long as the chain of cas that it speaks of.

use std::collections::BTreeSet;

use super::register::Part;
use super::report::{Anomaly, Explanation};
use crate::engine::wgl::Step;
use crate::engine::zones::{Contradiction, Witness};
use crate::history::Outcome;

/// The anomaly and the story of a witness.
pub(super) fn explain(part: &Part<'_>, witness: &Witness) -> (Anomaly, Explanation) {
    let mut story = Story { part, writers: writers(part), told: BTreeSet::new(), steps: Vec::new() };
    let (anomaly, summary, contradiction) = story.tell(&witness.contradiction);
    witness.supports.iter().for_each(|call| story.support(*call));
    let events = story.told.iter().map(|position| part.history.place(*position)).collect();
    (anomaly, Explanation { summary, events, steps: story.steps, contradiction })
}

/// The writer of each value; of several one that certainly happened, and of those the first.
fn writers(part: &Part<'_>) -> Vec<Option<u32>> {
    let mut writers: Vec<Option<u32>> = Vec::new();
    for is_completed in [true, false] {
        for (number, call) in (0u32..).zip(&part.calls) {
            let Some(value) = call.step.makes().filter(|value| call.step.needs() != Some(*value)) else {
                continue;
            };
            if writers.len() <= value as usize {
                writers.resize(value as usize + 1, None);
            }
            if call.returned.is_some() == is_completed {
                writers[value as usize].get_or_insert(number);
            }
        }
    }
    writers
}

struct Story<'a, 'h> {
    part: &'a Part<'h>,
    /// The writer of each value.
    writers: Vec<Option<u32>>,
    /// Positions of the events that belong to it.
    told: BTreeSet<u32>,
    steps: Vec<String>,
}

/// How many cas of one chain are told; of a longer one its two ends.
const CHAIN_MAX: usize = 8;

impl Story<'_, '_> {
    fn tell(&mut self, contradiction: &Contradiction) -> (Anomaly, String, String) {
        match contradiction {
            Contradiction::ThinAir { reader } => self.thin_air(*reader),
            Contradiction::DoubleConsume { first, second } => self.double_consume(*first, *second),
            Contradiction::Cycle { chain } => self.cycle(chain),
            Contradiction::Order { finished, started } => self.order(*finished, *started),
            Contradiction::Initial { finisher, starter } => self.initial(*finisher, *starter),
            Contradiction::Blocks { finisher_a, starter_a, finisher_b, starter_b } => {
                self.blocks((*finisher_a, *starter_a), (*finisher_b, *starter_b))
            }
        }
    }

    fn thin_air(&mut self, reader: usize) -> (Anomaly, String, String) {
        self.tell_call(reader);
        let value = self.needed(reader);
        let shown = self.part.value(value);
        let what = self.part.describe(reader);
        let at = self.end(reader);
        if let Some(refused) = self.part.refused_write(value) {
            self.told.extend([refused.invoked, refused.ended()]);
            let at_refusal = self.part.history.end_of(refused);
            self.steps.push(format!("the write of {shown} did not happen, because it failed ({at_refusal})"));
            let summary = format!("{what} ({at}), but the only write of {shown} failed");
            return (
                Anomaly::AbortedRead,
                summary,
                format!("{what} ({at}), and no other call wrote {shown}"),
            );
        }
        let summary = format!("{what} ({at}), but nobody wrote {shown}");
        let contradiction =
            format!("{what} ({at}), and no call of the whole history wrote {shown} to this key");
        (Anomaly::ThinAirRead, summary, contradiction)
    }

    fn double_consume(&mut self, first: usize, second: usize) -> (Anomaly, String, String) {
        let value = self.part.value(self.needed(first));
        let (a, b) = (self.part.describe(first), self.part.describe(second));
        self.tell_writer(first);
        self.tell_call(first);
        self.tell_call(second);
        let origin = match self.writer(self.needed(first)) {
            Some(writer) => {
                format!("the register got {value} once, from {} ({})", self.noun(writer), self.end(writer))
            }
            None => format!("the register held {value} once, at the beginning"),
        };
        self.steps.push(origin);
        self.steps.push(format!("{a} ({}), so {value} was gone", self.end(first)));
        let summary = format!("two cas replaced the same {value}, and one of the two updates is lost");
        (Anomaly::LostUpdate, summary, format!("{b} ({}), which the other had replaced", self.end(second)))
    }

    fn cycle(&mut self, chain: &[usize]) -> (Anomaly, String, String) {
        let ends = chain.len().min(CHAIN_MAX);
        for cas in &chain[..ends] {
            self.tell_call(*cas);
        }
        for pair in chain.windows(2).take(CHAIN_MAX) {
            self.steps.push(format!(
                "{} comes after {}, because it found the value which that wrote",
                self.noun(pair[1]),
                self.noun(pair[0])
            ));
        }
        if chain.len() > CHAIN_MAX + 1 {
            self.steps.push(format!("and so on through {} cas", chain.len()));
        }
        let (first, last) = (chain[0], chain[chain.len() - 1]);
        let contradiction = if first == last {
            format!("{} found what only it itself wrote", self.noun(first))
        } else {
            format!(
                "{} comes after {}, because it found the value which that wrote, so each comes before itself",
                self.noun(first),
                self.noun(last)
            )
        };
        (Anomaly::CyclicUpdates, format!("{} cas each need another to be first", chain.len()), contradiction)
    }

    fn order(&mut self, finished: usize, started: usize) -> (Anomaly, String, String) {
        self.tell_call(started);
        self.tell_call(finished);
        self.chain(finished, started);
        let (late, early) = (self.noun(finished), self.noun(started));
        let summary = format!(
            "{} ({}) before {early} had begun ({})",
            self.part.describe(finished),
            self.end(finished),
            self.start(started)
        );
        let contradiction = format!(
            "{late} had ended ({}) before {early} began ({})",
            self.end(finished),
            self.start(started)
        );
        let is_future = matches!(self.part.calls[finished].step, Step::Read(_));
        (if is_future { Anomaly::FutureRead } else { Anomaly::NotLinearizable }, summary, contradiction)
    }

    fn initial(&mut self, finisher: usize, starter: usize) -> (Anomaly, String, String) {
        self.tell_call(finisher);
        self.tell_call(starter);
        self.tell_writer(finisher);
        let (root, _) = self.root(starter);
        let held = self.stretch(root);
        self.because_of_value(starter, root);
        self.steps.push(format!(
            "the register held {held} only at the beginning, because nothing wrote {} again",
            self.part.value(root)
        ));
        let other = self.root(finisher).0;
        self.steps.push(format!(
            "by {} at the latest it held {}, because {}",
            self.end(finisher),
            self.stretch(other),
            self.named(finisher)
        ));
        let summary = format!(
            "{} ({}), though {} had been replaced by then",
            self.part.describe(starter),
            self.end(starter),
            self.part.value(root)
        );
        let contradiction = format!(
            "{} began only then ({}), and still found what had been replaced",
            self.noun(starter),
            self.start(starter)
        );
        (Anomaly::StaleRead, summary, contradiction)
    }

    fn blocks(&mut self, a: (usize, usize), b: (usize, usize)) -> (Anomaly, String, String) {
        for (finisher, starter) in [a, b] {
            for call in [finisher, starter] {
                self.tell_writer(call);
                self.tell_call(call);
            }
        }
        // The stretch whose write stands first in the file is told first.
        let root_of = |story: &Self, call: usize| story.root(call).0;
        let begin = |story: &Self, call: usize| {
            let writer = story.writer(root_of(story, call));
            writer.map_or(0, |writer| story.part.calls[writer].invoked)
        };
        let (a, b) = if begin(self, a.0) <= begin(self, b.0) { (a, b) } else { (b, a) };
        let (root_a, root_b) = (root_of(self, a.0), root_of(self, b.0));
        let (held_a, held_b) = (self.stretch(root_a), self.stretch(root_b));
        for (call, root) in [(a.0, root_a), (b.1, root_b), (b.0, root_b), (a.1, root_a)] {
            self.because_of_value(call, root);
        }
        self.steps.push(format!(
            "the register held {held_a} in one stretch of time, and {held_b} in another, because each was written once"
        ));
        self.steps.push(format!(
            "the stretch of {} came before that of {}, because {} had ended ({}) before {} began ({})",
            self.part.value(root_a),
            self.part.value(root_b),
            self.noun(a.0),
            self.end(a.0),
            self.noun(b.1),
            self.start(b.1)
        ));
        let contradiction = format!(
            "the stretch of {} also came before that of {}, because {} had ended ({}) before {} began ({})",
            self.part.value(root_b),
            self.part.value(root_a),
            self.noun(b.0),
            self.end(b.0),
            self.noun(a.1),
            self.start(a.1)
        );
        let stale = if self.part.calls[a.1].invoked > self.part.calls[b.1].invoked { a.1 } else { b.1 };
        let (anomaly, summary) = match self.part.calls[stale].step {
            Step::Read(value) => (
                Anomaly::StaleRead,
                format!(
                    "{} ({}), though {} had been replaced by then",
                    self.part.describe(stale),
                    self.end(stale),
                    self.part.value(value)
                ),
            ),
            _ => (
                Anomaly::NotLinearizable,
                format!(
                    "neither {} nor {} can have been there first",
                    self.part.value(root_a),
                    self.part.value(root_b)
                ),
            ),
        };
        (anomaly, summary, contradiction)
    }

    /// Why `late` comes after `early` of the same chain of values.
    fn chain(&mut self, late: usize, early: usize) {
        let mut steps = Vec::new();
        let mut call = late;
        let target = self.made(early);
        while let Some(value) = self.part.calls[call].step.needs() {
            let shown = self.part.value(value);
            if value == target {
                let because = if self.part.calls[early].step.makes() == Some(value) {
                    format!("it found {shown}, which that wrote")
                } else {
                    format!("that found {shown}, which it replaced")
                };
                let (a, b) = (self.noun(call), self.noun(early));
                steps.push(format!("{a} comes after {b}, because {because}"));
                break;
            }
            let Some(writer) = self.writer(value).filter(|_| steps.len() < CHAIN_MAX) else { break };
            let (a, b) = (self.noun(call), self.noun(writer));
            steps.push(format!("{a} comes after {b}, because it found {shown}, which that wrote"));
            self.tell_call(writer);
            call = writer;
        }
        self.steps.append(&mut steps);
    }

    /// What a call has to do with the value at the beginning of its chain, if that is not plain.
    fn because_of_value(&mut self, call: usize, root: u32) {
        let step = self.part.calls[call].step;
        if step.needs().or(step.makes()) == Some(root) {
            return;
        }
        let value = step.needs().or(step.makes()).unwrap_or(root);
        let count = self.root(call).1;
        let sentence = format!(
            "{} belongs to {}, because {count} cas, one after the other, made {} of it",
            self.noun(call),
            self.part.value(root),
            self.part.value(value)
        );
        if !self.steps.contains(&sentence) {
            self.steps.push(sentence);
        }
    }

    /// A call whose result shows that a call without an end happened, or a write that came between.
    fn support(&mut self, call: usize) {
        self.tell_call(call);
        let step = self.part.calls[call].step;
        let what = self.part.describe(call);
        let sentence = match step.needs() {
            Some(value) => match self.writer(value).filter(|w| self.part.calls[*w].returned.is_none()) {
                Some(writer) => format!(
                    "{} did happen, though nobody saw its end, because {what} ({})",
                    self.noun(writer),
                    self.end(call)
                ),
                None => format!("{what} ({})", self.end(call)),
            },
            None => format!("{what} in between ({}), so what was there before was gone", self.end(call)),
        };
        if !self.steps.contains(&sentence) {
            self.steps.push(sentence);
        }
    }

    /// The value at the beginning of the chain of cas that a call belongs to, and how many cas lead from it.
    fn root(&self, call: usize) -> (u32, usize) {
        let mut value = self.made(call);
        let mut length = 0;
        while let Some(writer) = self.writer(value)
            && let Step::Cas(old, _) = self.part.calls[writer].step
            && length < self.part.calls.len()
        {
            value = old;
            length += 1;
        }
        (value, length)
    }

    /// The value that a call wrote, or else found.
    fn made(&self, call: usize) -> u32 {
        let step = self.part.calls[call].step;
        step.makes().or(step.needs()).unwrap_or(0)
    }

    fn needed(&self, call: usize) -> u32 {
        self.part.calls[call].step.needs().unwrap_or(0)
    }

    fn writer(&self, value: u32) -> Option<usize> {
        self.writers.get(value as usize).copied().flatten().map(|writer| writer as usize)
    }

    /// "5", or "5 and what cas made of it".
    fn stretch(&self, root: u32) -> String {
        let shown = self.part.value(root);
        let is_replaced = self.part.calls.iter().any(|call| match call.step {
            Step::Cas(old, new) => old == root && new != old && call.returned.is_some(),
            _ => false,
        });
        if is_replaced { format!("{shown} (and what cas made of it)") } else { shown.to_string() }
    }

    fn tell_call(&mut self, call: usize) {
        let operation = self.part.operation(call);
        self.told.insert(operation.invoked);
        if operation.outcome != Outcome::Unknown {
            self.told.insert(operation.ended());
        }
    }

    fn tell_writer(&mut self, call: usize) {
        if let Some(writer) = self.part.calls[call].step.needs().and_then(|value| self.writer(value)) {
            self.tell_call(writer);
        }
    }

    /// "process 3's write of 5".
    fn noun(&self, call: usize) -> String {
        let process = self.part.history.process(self.part.operation(call).process);
        let value = |number: u32| self.part.value(number);
        match self.part.calls[call].step {
            Step::Read(number) => format!("process {process}'s read of {}", value(number)),
            Step::Differs(number) => format!("process {process}'s failed cas from {}", value(number)),
            Step::Write(0) => format!("process {process}'s delete"),
            Step::Write(number) => format!("process {process}'s write of {}", value(number)),
            Step::Cas(old, new) => format!("process {process}'s cas from {} to {}", value(old), value(new)),
        }
    }

    /// "process 3 wrote 5 (line 7)".
    fn named(&self, call: usize) -> String {
        format!("{} ({})", self.part.describe(call), self.end(call))
    }

    fn start(&self, call: usize) -> super::Place {
        self.part.history.start_of(self.part.operation(call))
    }

    fn end(&self, call: usize) -> super::Place {
        self.part.history.end_of(self.part.operation(call))
    }
}
