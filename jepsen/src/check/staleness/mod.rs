//! How stale reads were, and whether they stayed within bounds.
//!
//! Staleness is measured, not forbidden: the report has figures, and a violation only where a bound was asked for
//! and a read certainly broke it. A write has *settled* when it was acknowledged or when a read that showed its
//! value returned, whichever came first. A read of a register *missed* a write that began after what the read
//! showed had settled, and that had itself settled before the read began. A read of siblings missed an element (a
//! write or a delete) that had settled before the read began and that it cannot have known: nothing that it showed,
//! and no delete that may have happened without replacing what it showed, is that element or had seen it, itself or
//! through others. Neither ever says more than is certain, however much went on at the same time. The *age* of a
//! read is the time since the first write that it missed settled.
//!
//! `visible_99` is where the most likely rising curve of "a read that begins t after the last write settled misses
//! nothing" first reaches 99 in 100. Δ and Γ say by how much reads, or all operations, would have to be moved to
//! make a register atomic; they are told for registers without deletes and cas. Times are the recorder's, and never
//! decide what came before what.

mod ending;
mod figures;
mod part;

use std::borrow::Cow;

use rayon::prelude::*;

pub(super) use self::ending::Ending;
use self::part::{Judged, Measured, Part};
use super::measure::Clock;
use super::report::{Anomaly, Check, Explanation, Place, Report, Violation};
use super::role::Role;
use super::{CheckError, Options, keys};
use crate::history::{Atom, History, Operation};

/// Of how many nodes how many take part in a read and in a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// How many nodes keep a key.
    pub nodes: u32,
    /// How many of them a read asks.
    pub read: u32,
    /// How many of them have acknowledged a write when the client hears of it.
    pub written: u32,
}

/// Measures how stale reads were; violated only if a bound in the options says so.
///
/// ```
/// use godown_jepsen::check::{self, Options};
/// use godown_jepsen::history::{Event, History};
///
/// let write = |value: i64| [Event::invoke(0, "write").value(value), Event::ok(0, "write")];
/// let read = [Event::invoke(1, "read"), Event::ok(1, "read").value(1)];
/// let history: History = [write(1), write(2), write(3), read].concat().into_iter().collect();
/// let report = check::staleness(&history, &Options::default()).unwrap();
/// assert!(report.is_valid());
/// assert_eq!(report.checks[0].figures["versions"]["1"], 2);
///
/// let options = Options { staleness_k_max: Some(1), ..Options::default() };
/// let report = check::staleness(&history, &options).unwrap();
/// assert!(report.to_string().contains("stale read: process 1 read 1 (event 7), 2 writes behind"), "{report}");
/// ```
///
/// # Errors
/// A history whose events do not make up operations.
pub fn staleness(history: &History, options: &Options) -> Result<Report, CheckError> {
    let operations = history.operations()?;
    let keys = keys(history, &operations);
    let roles = history.words(Role::of);
    let clock = Clock::new(history);
    let measure = |(key, operations): &(Atom, Cow<'_, [Operation]>)| {
        let part = Part::new(history, &clock, &roles, operations);
        (*key, part.and_then(|part| part.measure(options)))
    };
    let results: Vec<(Atom, Result<Measured, String>)> = keys.par_iter().map(measure).collect();

    let mut check = Check::new("staleness");
    check.operations = operations.len();
    check.keys = results.len();
    let mut keys: Vec<Key> = Vec::with_capacity(results.len());
    for (key, result) in results {
        match result {
            Ok(measured) => keys.push(Key { key, measured }),
            Err(reason) => check.wonder(Some(history.value(key)), reason),
        }
    }
    for key in &keys {
        judge(history, &clock, key, options, &mut check);
    }
    summarise(&clock, &keys, options, &mut check);
    check.figures = figures::figures(history, &clock, &keys, options.quorum);
    Ok(Report::new(&history.source, vec![check]))
}

/// One key and what was measured on it.
struct Key {
    key: Atom,
    measured: Measured,
}

/// Holds the stalest read of a key against the bounds.
fn judge(history: &History, clock: &Clock, key: &Key, options: &Options, check: &mut Check) {
    let reads = || key.measured.judged.iter();
    // Of equals the first.
    let worst = |size: &dyn Fn(&Judged) -> u64| reads().rev().max_by_key(|judged| size(judged));
    let mut violate = |judged: &Judged, bound: String| {
        let explanation = explain(history, clock, key, judged, &bound);
        check.violate(Violation { anomaly: Anomaly::StaleRead, key: history.value(key.key), explanation });
    };
    if let Some(most) = options.staleness_k_max
        && let Some(judged) = worst(&|judged| judged.missed.into())
        && judged.missed > most
    {
        violate(judged, format!("may be at most {} behind", count(most, "write")));
    }
    if let Some(most) = options.staleness_age_max
        && clock.has_times()
        && let Some(judged) = worst(&|judged| judged.age(clock))
        && u128::from(judged.age(clock)) > most.as_nanos()
    {
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        violate(judged, format!("may miss nothing that is older than {}", clock.tell(most)));
    }
}

fn explain(history: &History, clock: &Clock, key: &Key, judged: &Judged, bound: &str) -> Explanation {
    let read = &judged.read;
    let end = history.end_of(read);
    let shows = format!("process {} read {}", history.process(read.process), history.show(read.result));
    let lag = format!("{} behind", count(judged.missed, "write"));
    let (events, steps) = steps_of(history, judged, key.measured.has_siblings);
    Explanation {
        summary: format!("{shows} ({end}), {lag} and {} late", clock.tell(judged.age(clock))),
        events,
        steps,
        contradiction: format!("{shows} ({end}), {lag}, and a read {bound}"),
    }
}

/// The events that show that a read missed a write, and why that is certain.
fn steps_of(history: &History, judged: &Judged, has_siblings: bool) -> (Vec<Place>, Vec<String>) {
    let Some((write, settled)) = judged.first else { return (Vec::new(), Vec::new()) };
    let read = &judged.read;
    let (began, settled) = (history.start_of(&write), history.place(settled));
    let title = match write.argument.present() {
        Some(value) => format!("{} {}", history.word(write.f), history.show(value)),
        None => format!("the {}", history.word(write.f)),
    };
    let how = if settled.position == write.ended() { "acknowledged" } else { "shown" };
    let mut steps = vec![format!(
        "{title} was in effect before the read began ({}), because it had been {how} ({settled})",
        history.start_of(read)
    )];
    let source = judged.source.map(|settled| history.place(settled));
    steps.push(match &source {
        Some(shown) => format!(
            "{title} is newer than {}, because it began ({began}) when that was in effect ({shown})",
            history.show(read.result.or(Atom::NULL)),
        ),
        None if has_siblings => {
            "the read did not know it, because it showed neither it nor anything that had seen it".to_owned()
        }
        None => "it is newer than what the read showed, because that is how the key began".to_owned(),
    });
    if judged.missed > 1 {
        steps.push(format!("so are {} more, all of them before the read", judged.missed - 1));
    }
    let (begin, end) = (history.start_of(read), history.end_of(read));
    let mut events: Vec<Place> = source.into_iter().chain([began, settled, begin, end]).collect();
    events.sort_by_key(|place| place.position);
    events.dedup();
    (events, steps)
}

fn count(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Says in one line what was found, and what keeps the bounds from being certain.
fn summarise(clock: &Clock, keys: &[Key], options: &Options, check: &mut Check) {
    let judged = || keys.iter().flat_map(|key| &key.measured.judged);
    let (all, stale) = (judged().count(), judged().filter(|judged| judged.missed > 0).count());
    let skipped: usize = keys.iter().map(|key| key.measured.skipped.len()).sum();
    let age = judged().map(|judged| judged.age(clock)).max().unwrap_or(0);
    let behind = judged().map(|judged| judged.missed).max().unwrap_or(0);
    check.notes.push(match stale {
        0 => format!("no stale read among {all}"),
        _ => format!(
            "{stale} of {all} reads stale, at most {} and {} behind",
            count(behind, "write"),
            clock.tell(age)
        ),
    });
    if options.staleness_age_max.is_some() && !clock.has_times() {
        check.wonder(None, "not every event says when it was (\"time\"), so ages are not known");
    }
    let has_bound = options.staleness_k_max.is_some() || options.staleness_age_max.is_some();
    if all == 0 {
        check.wonder(None, "there is no read that could be judged");
    } else if has_bound && skipped > 0 {
        check.wonder(None, format!("{skipped} reads could not be judged; the figures say why"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::{Figures, Nil, Verdict};
    use crate::history::{Event, Value};

    /// One client after the other, a millisecond for each event.
    #[derive(Default)]
    struct Story(Vec<Event>);

    impl Story {
        fn call(mut self, event: impl Fn(u64) -> [Event; 2]) -> Self {
            let process = self.0.len() as u64;
            for event in event(process) {
                let time_ns = 1_000_000 * self.0.len() as u64;
                self.0.push(event.key("k").at(time_ns));
            }
            self
        }

        fn write(self, value: i64) -> Self {
            self.call(|process| [Event::invoke(process, "write").value(value), Event::ok(process, "write")])
        }

        fn write_after(self, value: i64, seen: &[i64]) -> Self {
            let seen = || seen.iter().copied();
            self.call(|process| {
                [Event::invoke(process, "write").value(value).seen(seen()), Event::ok(process, "write")]
            })
        }

        fn maybe_write(self, value: i64) -> Self {
            self.call(|process| [Event::invoke(process, "write").value(value), Event::info(process, "write")])
        }

        fn refused_write(self, value: i64) -> Self {
            self.call(|process| [Event::invoke(process, "write").value(value), Event::fail(process, "write")])
        }

        fn delete(self) -> Self {
            self.call(|process| [Event::invoke(process, "delete"), Event::ok(process, "delete")])
        }

        fn delete_after(self, seen: &[i64]) -> Self {
            let seen = || seen.iter().copied();
            self.call(|process| [Event::invoke(process, "delete").seen(seen()), Event::ok(process, "delete")])
        }

        fn read(self, value: impl Into<Value>) -> Self {
            let value = value.into();
            self.call(|process| {
                [Event::invoke(process, "read"), Event::ok(process, "read").value(value.clone())]
            })
        }

        fn history(self) -> History {
            self.0.into_iter().collect()
        }

        fn judge(self, options: &Options) -> Report {
            staleness(&self.history(), options).unwrap()
        }

        fn figures(self) -> Figures {
            self.judge(&Options::default()).checks.remove(0).figures
        }

        /// By how many writes each of the reads is behind, in order.
        fn behind(self) -> Vec<u32> {
            let history = self.history();
            let (clock, roles) = (Clock::new(&history), history.words(Role::of));
            let part = Part::new(&history, &clock, &roles, &history.operations().unwrap()).unwrap();
            let measured = part.measure(&Options::default()).unwrap();
            measured.judged.iter().map(|judged| judged.missed).collect()
        }
    }

    fn story() -> Story {
        Story::default()
    }

    fn bounds(k: u32) -> Options {
        Options { staleness_k_max: Some(k), ..Options::default() }
    }

    #[test]
    fn a_read_is_behind_by_the_writes_that_it_missed() {
        let reads = story().write(1).write(2).write(3).read(3).read(2).read(1).read(Value::Null);
        assert_eq!(reads.behind(), [0, 1, 2, 3]);
        assert_eq!(story().read(Value::Null).write(1).read(1).behind(), [0, 0]);
        assert_eq!(story().write(1).read([1; 1]).read([0; 0]).behind(), [0, 1]);
    }

    #[test]
    fn staleness_is_no_violation_unless_a_bound_is_asked_for() {
        let reads = || story().write(1).write(2).write(3).read(3).read(1);
        assert_eq!(reads().judge(&Options::default()).verdict, Verdict::Valid);
        assert_eq!(reads().judge(&bounds(2)).verdict, Verdict::Valid);
        let report = reads().judge(&bounds(1));
        assert_eq!(report.verdict, Verdict::Violated);
        let text = report.to_string();
        assert!(
            text.contains(
                "stale read on key k: process 8 read 1 (event 9), 2 writes behind and 5.000 ms late"
            ),
            "{text}"
        );
        assert!(text.contains("write 2 was in effect before the read began (event 8), because it had been acknowledged (event 3)"), "{text}");
        assert!(
            text.contains(
                "write 2 is newer than 1, because it began (event 2) when that was in effect (event 1)"
            ),
            "{text}"
        );
        assert!(text.contains("so are 1 more"), "{text}");
        assert!(text.contains("and a read may be at most 1 write behind: a contradiction"), "{text}");
    }

    #[test]
    fn a_bound_of_time_needs_times() {
        let within =
            |ms| Options { staleness_age_max: Some(Duration::from_millis(ms)), ..Options::default() };
        let reads = || story().write(1).write(2).write(3).read(1);
        assert_eq!(reads().judge(&within(3)).verdict, Verdict::Valid);
        let report = reads().judge(&within(2));
        assert!(
            report.to_string().contains("a read may miss nothing that is older than 2.000 ms"),
            "{report}"
        );
        let timeless: History = reads()
            .0
            .into_iter()
            .map(|event| {
                let plain = Event::new(event.kind(), event.process().clone(), event.f().clone()).key("k");
                event.value_of().map_or(plain.clone(), |value| plain.value(value.clone()))
            })
            .collect();
        assert_eq!(staleness(&timeless, &within(2)).unwrap().verdict, Verdict::Unknown);
        assert_eq!(staleness(&timeless, &Options::default()).unwrap().checks[0].figures["unit"], "events");
    }

    #[test]
    fn a_write_of_unknown_outcome_counts_only_once_it_was_shown() {
        assert_eq!(story().write(1).maybe_write(2).read(1).behind(), [0]);
        assert_eq!(story().write(1).maybe_write(2).read(2).read(1).behind(), [0, 1]);
        assert_eq!(story().write(1).refused_write(2).read(1).behind(), [0]);
        let report = story().write(1).maybe_write(2).read(2).read(1).judge(&bounds(0));
        assert!(report.to_string().contains("because it had been shown (event 5)"), "{report}");
    }

    #[test]
    fn a_delete_is_missed_like_a_write() {
        assert_eq!(story().write(1).delete().read(1).behind(), [1]);
        // A read of nothing may show any delete that had begun, and misses what every one of them is older than.
        assert_eq!(story().write(1).delete().read(Value::Null).behind(), [0]);
        assert_eq!(story().write(1).read(Value::Null).delete().behind(), [1]);
        assert_eq!(story().delete().write(1).write(2).read(Value::Null).behind(), [2]);
        assert_eq!(story().delete().write(1).delete().read(Value::Null).write(2).behind(), [0]);
        let report = story().write(1).delete().read(1).judge(&bounds(0));
        assert!(report.to_string().contains("the delete was in effect"), "{report}");
    }

    #[test]
    fn what_cannot_be_judged_is_counted_with_its_reason() {
        let skipped = |story: Story| story.figures()["reads_not_judged"].clone();
        assert_eq!(skipped(story().write(1).write(2).read([1, 2]))["several_values"], 1);
        assert_eq!(skipped(story().write(1).read(7))["strange_value"], 1);
        assert_eq!(skipped(story().refused_write(1).read(1))["strange_value"], 1);
        assert_eq!(skipped(story().read(1).write(1))["strange_value"], 1);
        let open =
            story().write(1).call(|process| [Event::invoke(process, "read"), Event::info(process, "read")]);
        assert_eq!(skipped(open)["not_returned"], 1);
        let unknown = Options { nil: Nil::Unknown, ..Options::default() };
        let report = story().write(1).read(Value::Null).judge(&unknown);
        assert_eq!(report.checks[0].figures["reads_not_judged"]["nil_unknown"], 1);
        assert_eq!(report.verdict, Verdict::Unknown);
        assert_eq!(story().write(1).read(1).read(7).judge(&bounds(0)).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_key_whose_values_are_not_distinct_is_unknown() {
        let report = story().write(1).write(1).read(1).judge(&Options::default());
        assert_eq!(report.verdict, Verdict::Unknown);
        assert!(report.to_string().contains("1 is written twice (event 0 and event 2)"), "{report}");
        assert_eq!(story().refused_write(1).write(1).read(1).behind(), [0]);
        let mixed = story().write_after(1, &[]).write(2).read([1; 1]).judge(&Options::default());
        assert!(
            mixed.to_string().contains("the operation at event 2 does not say what it had seen"),
            "{mixed}"
        );
    }

    #[test]
    fn a_read_of_siblings_misses_what_nothing_shown_had_seen() {
        let two = || story().write_after(1, &[]).write_after(2, &[]);
        assert_eq!(two().read([1, 2]).read([1; 1]).read([0; 0]).behind(), [0, 1, 2]);
        // 3 had seen 1 and 2, so who shows it knows them.
        let three = || two().write_after(3, &[1, 2]);
        assert_eq!(three().read([3; 1]).read([1, 2]).read([2; 1]).behind(), [0, 1, 2]);
        // Only what was seen counts: 4 began later than 3 and replaces nothing.
        assert_eq!(three().write_after(4, &[]).read([4; 1]).behind(), [3]);
        let report = three().read([1, 2]).judge(&bounds(0));
        assert!(report.to_string().contains("showed neither it nor anything that had seen it"), "{report}");
    }

    #[test]
    fn a_delete_that_nobody_can_see_excuses_what_it_had_seen() {
        let gone = || story().write_after(1, &[]).write_after(2, &[1]).delete_after(&[2]);
        assert_eq!(gone().read([0; 0]).read([2; 1]).read([1; 1]).behind(), [0, 1, 2]);
        assert_eq!(gone().write_after(3, &[]).read([3; 1]).read([0; 0]).behind(), [0, 1]);
    }

    #[test]
    fn figures_tell_how_stale_and_for_how_long() {
        let figures = story().write(1).write(2).read(1).read(2).write(3).read(2).read(3).figures();
        let expected = serde_json::json!({
            "unit": "ns", "reads": 4, "reads_judged": 4, "reads_stale": 2,
            "versions": { "0.5": 0, "0.95": 1, "0.99": 1, "0.999": 1, "1": 1 },
            "versions_histogram": { "0": 2, "1": 2 },
            "age": { "0.5": 0, "0.95": 1_000_000, "0.99": 1_000_000, "0.999": 1_000_000, "1": 1_000_000 },
            "k_curve": [{ "k": 1, "share": 0.5 }, { "k": 2, "share": 1.0 }],
            "keys_atomic": 0, "keys_not_atomic": 1, "keys_without_delta": 0, "delta_max": 1_000_000,
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&figures[name], value, "{name}");
        }
        assert_eq!(figures["worst"][0]["read"]["index"], 5);
        assert_eq!(figures["worst"][0]["write"]["index"], 2);
        assert_eq!(figures["worst"][1]["read"]["index"], 11);
        assert_eq!(figures["visible_99"]["from"], 3_000_000);
        assert_eq!(figures["t_curve"][0]["reads"], 2);
        let quorum = Some(Quorum { nodes: 3, read: 1, written: 1 });
        let report = story().write(1).read(1).judge(&Options { quorum, ..Options::default() });
        let model = report.checks[0].figures["k_curve"][0]["model"].as_f64().unwrap();
        assert!((model - 1.0 / 3.0).abs() < 1e-12, "{model}");
    }

    #[test]
    fn without_reads_nothing_is_known() {
        assert_eq!(story().write(1).judge(&Options::default()).verdict, Verdict::Unknown);
        assert_eq!(story().judge(&Options::default()).verdict, Verdict::Unknown);
    }
}
