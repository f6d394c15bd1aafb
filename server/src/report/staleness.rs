//! How stale reads were: the checker's figures as the page tells them.
//!
//! The staleness check measures and forbids nothing, so all that it found is in its figures. Here they are read back from
//! `results.json` and become a table, in which a sentence defines each, and a curve ([`super::chart`] draws it). A run
//! that was judged before there were such figures has no such section.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::chart;
use super::page::escape;
use super::run::Results;
use crate::load::screen::{duration, thousands};

/// What the checker measured; the names are its own.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Staleness {
    /// `ns`, or `events` if not every event said when it was.
    pub(super) unit: String,
    /// Reads by how long before them the last write had settled.
    pub(super) t_curve: Vec<Bucket>,
    reads: u64,
    reads_judged: u64,
    reads_stale: u64,
    versions: BTreeMap<String, u64>,
    age_of_stale: BTreeMap<String, u64>,
    visible_99: Option<Visible>,
}

/// Reads that began about the same time after a write.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(super) struct Bucket {
    /// The smallest time that belongs to it.
    pub(super) from: u64,
    /// The smallest time that does not belong to it any more.
    pub(super) until: u64,
    /// How many reads.
    pub(super) reads: u64,
    /// How many of them missed nothing.
    pub(super) fresh: u64,
    /// The share of those,
    pub(super) share: f64,
    /// and the interval that holds the true share in 95 of 100 cases.
    pub(super) low: f64,
    pub(super) high: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Visible {
    from: u64,
}

/// How a figure is called, what it is, what it means.
type Row = (&'static str, String, &'static str);

impl Staleness {
    /// What the checker measured; nothing if it did not.
    pub(super) fn of(results: &Results) -> Option<Self> {
        let check = results.checks.iter().find(|check| check.name == "staleness")?;
        serde_json::from_value(serde_json::Value::Object(check.figures.clone())).ok()
    }

    /// The table, and the curve if there is anything to draw.
    pub(super) fn html(&self) -> String {
        let mut text = String::from("<table class=\"meanings\"><tbody>");
        for (name, figure, meaning) in self.rows() {
            let _ = write!(text, "<tr><th>{name}</th><td>{}</td><td>{meaning}</td></tr>", escape(&figure));
        }
        text.push_str("</tbody></table>");
        if !self.t_curve.is_empty() {
            let _ = write!(
                text,
                "<p class=\"words\">The share of reads that missed nothing, by the time since the last write or delete of \
                 their key had settled. The shade holds the true share in 95 of 100 cases (Wilson): it is wide where \
                 there were few reads.</p><div class=\"wide\">{}</div>",
                chart::freshness(self)
            );
        }
        text
    }

    fn rows(&self) -> [Row; 5] {
        let share = match self.reads_stale {
            0 => "0".to_owned(),
            stale => {
                let percent = 100.0 * stale as f64 / self.reads_judged as f64;
                format!("{} ({percent:.3} %)", thousands(stale))
            }
        };
        let ages = match self.reads_stale {
            0 => "–".to_owned(),
            _ => quantiles(&self.age_of_stale, |age| self.time(age)),
        };
        let visible = match self.visible_99 {
            None => "never".to_owned(),
            Some(Visible { from }) => self.time(from),
        };
        [
            (
                "reads judged",
                format!("{} of {}", thousands(self.reads_judged), thousands(self.reads)),
                "Every read that was answered, those after the load too.",
            ),
            (
                "stale reads",
                share,
                "Reads that certainly missed a write or delete that had settled (it was acknowledged, or a read had \
                 shown it) before they began.",
            ),
            (
                "writes behind",
                quantiles(&self.versions, thousands),
                "How many of those a read missed; of all reads judged.",
            ),
            (
                "age of stale reads",
                ages,
                "How long before a stale read the first write that it missed had settled.",
            ),
            (
                "fresh after",
                visible,
                "The time since the last write from which on 99 of 100 reads miss nothing, by the most likely curve that \
                 never falls; of times that no read had nothing is known.",
            ),
        ]
    }

    /// A time in its unit.
    pub(super) fn time(&self, time: u64) -> String {
        match self.unit.as_str() {
            "ns" => duration(time),
            _ => format!("{} events", thousands(time)),
        }
    }
}

fn quantiles(of: &BTreeMap<String, u64>, tell: impl Fn(u64) -> String) -> String {
    let at = |quantile: &str| of.get(quantile).map_or_else(|| "?".to_owned(), |value| tell(*value));
    format!("p50 {} · p99 {} · p99.9 {} · max {}", at("0.5"), at("0.99"), at("0.999"), at("1"))
}

#[cfg(test)]
mod tests {
    use godown_jepsen::check::{self, Options};
    use godown_jepsen::history::{Event, History};

    use super::*;

    /// Two writes, a read that knows both, and one that began 3 ms after the second and shows the `last` value.
    fn measured(last: &str) -> Staleness {
        let at = |event: Event, ms: u64| event.key("k").at(ms * 1_000_000);
        let history: History = [
            at(Event::invoke(0, "write").value("a").seen(Vec::<&str>::new()), 1),
            at(Event::ok(0, "write"), 2),
            at(Event::invoke(0, "write").value("b").seen(["a"]), 3),
            at(Event::ok(0, "write"), 4),
            at(Event::invoke(1, "read"), 5),
            at(Event::ok(1, "read").value(["b"]), 6),
            at(Event::invoke(2, "read"), 7),
            at(Event::ok(2, "read").value([last]), 8),
        ]
        .into_iter()
        .collect();
        let report = check::staleness(&history, &Options::default()).unwrap();
        Staleness::of(&Results::new(&report).unwrap()).expect("the checker's names are those of its mirror")
    }

    #[test]
    fn a_stale_read_is_told_with_its_age() {
        let html = measured("a").html();
        assert!(html.contains("<td>2 of 2</td>"), "{html}");
        assert!(html.contains("<td>1 (50.000 %)</td>"), "{html}");
        assert!(html.contains("<td>p50 0 · p99 1 · p99.9 1 · max 1</td>"), "{html}");
        assert!(html.contains("<td>p50 3.00 ms · p99 3.00 ms · p99.9 3.00 ms · max 3.00 ms</td>"), "{html}");
        assert!(html.contains("<td>never</td>"), "{html}");
    }

    #[test]
    fn without_stale_reads_there_is_no_age_and_reads_are_fresh_from_the_first_on() {
        let html = measured("b").html();
        assert!(html.contains("<td>0</td>") && html.contains("<td>–</td>"), "{html}");
        assert!(html.contains("<th>fresh after</th><td>1.00 ms</td>"), "{html}");
    }

    #[test]
    fn a_run_without_figures_has_no_staleness() {
        let report = check::Report::new("h", vec![check::Check::new("staleness")]);
        assert!(Staleness::of(&Results::new(&report).unwrap()).is_none());
    }
}
