//! Causal consistency: what came before what one has seen must be seen as well.
//!
//! Three rules on the reads and writes of all keys together, each stricter than the first: causal consistency (CC),
//! causal convergence (CCv: all sessions can agree on one order of the writes of each key) and causal memory (CM: each session
//! alone can order all the writes that it knows). The engine in `causal` looks for the bad patterns of Bouajjani, Enea, Guerraoui
//! and Hamza (2017); this file tells what it finds. Sessions are the processes. No clock counts, not even the order of
//! the log, except that no read shows what nobody had begun to write. What is left out or unknown, and why, is said in
//! `accesses`.

use std::collections::BTreeSet;
use std::time::Instant;

use super::CheckError;
use super::accesses::Accesses;
use super::register::Options;
use super::report::{Anomaly, Check, Explanation, Report, Verdict, Violation};
use crate::engine::causal::{self, Act, Budget, Edge, Finding, Limit, Pattern, Why};
use crate::history::History;

/// How many findings of each rule are told in full.
const FINDINGS_MAX: usize = 20;

/// Judges whether reads and writes are causally consistent, convergent, and a causal memory. Keys begin with nothing.
/// Causal memory takes at most `steps_max` steps and `timeout`.
///
/// ```
/// use godown_jepsen::check::{self, Options, Verdict};
/// use godown_jepsen::history::{Event, History};
///
/// // Alice posts, Bob answers, and Carol sees the answer without the post.
/// let history: History = [
///     Event::invoke(0, "write").key("post").value("hello"),
///     Event::ok(0, "write").key("post"),
///     Event::invoke(1, "read").key("post"),
///     Event::ok(1, "read").key("post").value("hello"),
///     Event::invoke(1, "write").key("answer").value("hi"),
///     Event::ok(1, "write").key("answer"),
///     Event::invoke(2, "read").key("answer"),
///     Event::ok(2, "read").key("answer").value("hi"),
///     Event::invoke(2, "read").key("post"),
///     Event::ok(2, "read").key("post").value(()),
/// ]
/// .into_iter()
/// .collect();
/// let report = check::causal(&history, &Options::default()).unwrap();
/// assert_eq!(report.verdict, Verdict::Violated);
/// assert!(report.to_string().contains("process 2 read nothing of post"));
/// ```
///
/// # Errors
/// A history whose events do not make up operations.
pub fn causal(history: &History, options: &Options) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let accesses = Accesses::new(history, &operations, options.nil);
    let budget = Budget {
        orders_max: 16,
        conflicts_max: 64 << 20,
        clock_words_max: 64 << 20,
        steps_max: options.steps_max,
        deadline: options.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
        findings_max: FINDINGS_MAX,
    };
    let answer = causal::decide(&accesses.list, budget);
    let mut checks = Vec::new();
    for (name, found) in [
        ("causal (CC)", &answer.causal),
        ("causal (CCv)", &answer.convergent),
        ("causal (CM)", &answer.memory),
    ] {
        let mut check = Check::new(name);
        check.operations = accesses.list.len();
        check.keys = accesses.keys();
        let story = Story { history, accesses: &accesses };
        // What breaks the first rule breaks all, and is told there.
        let base: Option<&Check> = checks.first();
        match base {
            None => {
                accesses.tell_thin(history, &mut check);
                accesses.tell_unknowns(history, &mut check);
            }
            Some(base) => {
                check.unknowns.clone_from(&base.unknowns);
                check.verdict = base.verdict;
                if base.verdict == Verdict::Violated {
                    check.notes.push("CC, which it includes, is violated".to_owned());
                }
            }
        }
        match found {
            Ok(findings) => findings.iter().for_each(|finding| check.violate(story.violation(finding))),
            Err(limit) => check.wonder(None, over(*limit, options)),
        }
        checks.push(check);
    }
    options.progress.fetch_add(operations.len() as u64, std::sync::atomic::Ordering::Relaxed);
    Ok(Report::new(&history.source, checks))
}

pub(super) fn over(limit: Limit, options: &Options) -> String {
    match limit {
        Limit::Conflicts => {
            "there are more concurrent writes of the same keys than there is memory for".to_owned()
        }
        Limit::ClockWords => {
            "it has more writes and sessions than there is memory for; judge a part of the history".to_owned()
        }
        Limit::Time => "the time ran out; allow more with --timeout".to_owned(),
        Limit::Steps => format!("{} steps were not enough", options.steps_max),
    }
}

/// Tells findings in words.
pub(super) struct Story<'a> {
    pub(super) history: &'a History,
    pub(super) accesses: &'a Accesses,
}

impl Story<'_> {
    /// A bad pattern of causal consistency.
    pub(super) fn violation(&self, finding: &Finding) -> Violation {
        let (first, last) = (finding.path[0].from, finding.path[finding.path.len() - 1].to);
        let anomaly = match finding.pattern {
            Pattern::CyclicCo => Anomaly::CyclicCo,
            Pattern::WriteCoInitRead => Anomaly::WriteCoInitRead,
            Pattern::WriteCoRead => Anomaly::WriteCoRead,
            Pattern::CyclicCf => Anomaly::CyclicCf,
            Pattern::WriteHbInitRead => Anomaly::WriteHbInitRead,
            Pattern::CyclicHb => Anomaly::CyclicHb,
        };
        let (summary, contradiction) = match finding.pattern {
            Pattern::CyclicCo => (
                format!("{} comes before itself", self.name(first)),
                format!("{} would come before itself", self.name(first)),
            ),
            Pattern::CyclicCf => (
                format!(
                    "no order of the writes explains all reads: {} would come before itself",
                    self.name(first)
                ),
                format!(
                    "{} would come before itself, in whatever order all sessions agree on",
                    self.name(first)
                ),
            ),
            Pattern::CyclicHb => (
                format!(
                    "no order of the writes explains what {} read: {} would come before itself",
                    self.reader(finding),
                    self.name(first)
                ),
                format!(
                    "{} would come before itself in the order that {} sees",
                    self.name(first),
                    self.reader(finding)
                ),
            ),
            Pattern::WriteCoInitRead | Pattern::WriteHbInitRead => (
                format!("{}, although before that {}", self.name(last), self.name(first)),
                format!("{}, as if nothing had been written yet", self.name(last)),
            ),
            Pattern::WriteCoRead => {
                let via = finding.via.unwrap_or(first);
                (
                    format!("{}, although in between {}", self.name(last), self.name(via)),
                    format!("{}, which had been replaced when {}", self.name(last), self.name(via)),
                )
            }
        };
        let key = self.history.value(self.accesses.key_of(last));
        Violation { anomaly, key, explanation: self.explanation(finding, summary, contradiction) }
    }

    /// The steps of a finding, and every event that they speak of.
    fn explanation(&self, finding: &Finding, summary: String, contradiction: String) -> Explanation {
        let (mut steps, mut edges) = (Vec::new(), BTreeSet::new());
        for proof in &finding.proofs {
            let Some(last) = proof.path.last() else { continue };
            // Program order and reads are told once each, before what follows from them.
            self.tell(&proof.path, &mut edges, &mut steps);
            steps.push(format!(
                "{} before {}, because the first is before {}, which shows the second",
                self.name(proof.from),
                self.name(proof.to),
                self.name(last.to)
            ));
        }
        self.tell(&finding.path, &mut edges, &mut steps);
        let mut told = BTreeSet::new();
        for edge in finding.path.iter().chain(finding.proofs.iter().flat_map(|proof| &proof.path)) {
            for access in [edge.from, edge.to] {
                told.insert(self.position(access));
            }
        }
        let events = told.into_iter().map(|position| self.history.place(position)).collect();
        Explanation { summary, events, steps, contradiction }
    }

    /// Tells the edges of a path that were not told before; conflicts are told with their proofs.
    fn tell(&self, path: &[Edge], told: &mut BTreeSet<(u32, u32)>, steps: &mut Vec<String>) {
        for edge in path.iter().filter(|edge| !matches!(edge.why, Why::Conflict(_))) {
            if !told.insert((edge.from, edge.to)) {
                continue;
            }
            let because = if edge.why == Why::ReadFrom {
                "the second shows the first".to_owned()
            } else {
                let process = self.accesses.operations[edge.from as usize].process;
                format!("process {} did them in this order", self.history.process(process))
            };
            steps.push(format!("{} before {}, because {because}", self.name(edge.from), self.name(edge.to)));
        }
    }

    /// Whose reads force an order: the session of the last conflict's read.
    fn reader(&self, finding: &Finding) -> String {
        let read = finding.path.iter().rev().find_map(|edge| match edge.why {
            Why::Conflict(read) => Some(read),
            _ => None,
        });
        let operation = read.and_then(|read| self.accesses.operations.get(read as usize));
        let process = operation.map(|operation| self.history.process(operation.process).to_string());
        format!("process {}", process.unwrap_or_default())
    }

    /// Where an access is: a write where it was invoked, a read where it returned.
    fn position(&self, access: u32) -> u32 {
        let operation = &self.accesses.operations[access as usize];
        match self.accesses.list[access as usize].act {
            Act::Write | Act::WriteAfter(_) => operation.invoked,
            Act::Read(_) | Act::ReadInitial => operation.ended(),
        }
    }

    /// "process 3 wrote 5 to k (line 7)".
    fn name(&self, access: u32) -> String {
        let operation = &self.accesses.operations[access as usize];
        let history = self.history;
        let key = self.accesses.key_of(access);
        let value = |value| history.show(value);
        let what = match self.accesses.list[access as usize].act {
            Act::Write | Act::WriteAfter(_)
                if operation.argument.or(crate::history::Atom::NULL).is_null() =>
            {
                "wrote nothing".to_owned()
            }
            Act::Write | Act::WriteAfter(_) => format!("wrote {}", value(operation.argument)),
            Act::Read(write) => format!("read {}", value(self.accesses.operations[write as usize].argument)),
            Act::ReadInitial => "read nothing".to_owned(),
        };
        let of = match (key.is_null(), self.accesses.list[access as usize].act) {
            (true, _) => String::new(),
            (_, Act::Write | Act::WriteAfter(_)) => format!(" to {}", history.show(key)),
            (_, Act::Read(_) | Act::ReadInitial) => format!(" of {}", history.show(key)),
        };
        let at = history.place(self.position(access));
        format!("process {} {what}{of} ({at})", history.process(operation.process))
    }
}
