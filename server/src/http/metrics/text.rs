//! Prometheus' text format, version 0.0.4.
//!
//! A family is a name, a sentence of help, a type, and its samples, which must all stand together. Only what is needed
//! here is here: counters, gauges, and histograms in seconds.

use std::fmt::Write as _;
use std::time::Duration;

/// What a scraper is told that the page is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page as far as it has been written.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// A family whose samples are being written.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: String,
}

/// Pairs of a label's name and its value.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    /// A counter; its name gets `_total` at its end.
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(format!("{name}_total"), help, "counter")
    }

    /// A number that rises and falls.
    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name.into(), help, "gauge")
    }

    /// A histogram; its name should end in a unit.
    pub(super) fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name.into(), help, "histogram")
    }

    fn family(&mut self, name: String, help: &str, kind: &str) -> Family<'_> {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        // Writing to memory does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text: &mut self.0, name }
    }

    /// The page.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: f64) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// One sample that is a count.
    pub(super) fn count(&mut self, labels: Labels<'_>, value: u64) -> &mut Self {
        self.sample(labels, value as f64)
    }

    /// One histogram: for each bound the number of observations up to it that are above the one before, the number
    /// beyond the last bound, and the sum.
    pub(super) fn buckets(
        &mut self,
        labels: Labels<'_>,
        bounds: &[Duration],
        counts: &[u64],
        beyond: u64,
        sum: Duration,
    ) {
        let mut total = 0;
        for (bound, count) in bounds.iter().zip(counts) {
            total += count;
            self.line("_bucket", labels, Some(&bound.as_secs_f64().to_string()), total as f64);
        }
        total += beyond;
        self.line("_bucket", labels, Some("+Inf"), total as f64);
        self.line("_sum", labels, None, sum.as_secs_f64());
        self.line("_count", labels, None, total as f64);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, le: Option<&str>, value: f64) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let le = le.map(|le| ("le", le));
        for (index, (name, value)) in labels.iter().copied().chain(le).enumerate() {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.text, "{}{name}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        let close = if labels.is_empty() && le.is_none() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_the_format_says() {
        let mut text = Text::default();
        text.counter("a", "Some\nhelp.").count(&[], 7).count(&[("peer", "a\\b\"c\nd")], 8);
        text.gauge("b_seconds", "More.").sample(&[("x", "1"), ("y", "2")], -0.25);
        let expected = "# HELP a_total Some\\nhelp.\n# TYPE a_total counter\na_total 7\n\
                        a_total{peer=\"a\\\\b\\\"c\\nd\"} 8\n\
                        # HELP b_seconds More.\n# TYPE b_seconds gauge\nb_seconds{x=\"1\",y=\"2\"} -0.25\n";
        assert_eq!(text.into_string(), expected);
    }

    #[test]
    fn the_buckets_of_a_histogram_add_up_to_its_count() {
        let mut text = Text::default();
        let bounds = [Duration::from_millis(1), Duration::from_millis(10)];
        text.histogram("h_seconds", "Help.").buckets(
            &[("op", "get")],
            &bounds,
            &[2, 3],
            4,
            Duration::from_secs(1),
        );
        let lines: Vec<String> = text.into_string().lines().skip(2).map(str::to_owned).collect();
        let expected = [
            "h_seconds_bucket{op=\"get\",le=\"0.001\"} 2",
            "h_seconds_bucket{op=\"get\",le=\"0.01\"} 5",
            "h_seconds_bucket{op=\"get\",le=\"+Inf\"} 9",
            "h_seconds_sum{op=\"get\"} 1",
            "h_seconds_count{op=\"get\"} 9",
        ];
        assert_eq!(lines, expected);
    }
}
