//! What the user sees while a run goes on: lines of plain words, and below them a bar that moves.
//!
//! Lines go to stdout and stay. The bar goes to stderr, only when that is a terminal, and leaves nothing behind.
//! A pipe that nobody reads any more is no reason to stop a run, so failures to print are passed over.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The words and the bar of one run.
#[derive(Debug)]
pub(crate) struct Screen {
    bar: ProgressBar,
    started: Instant,
}

impl Screen {
    /// A screen for a run that will take about `length`.
    pub(crate) fn new(length: Duration) -> Self {
        let bar = ProgressBar::new(millis(length));
        let style = ProgressStyle::with_template("  {spinner} [{bar:32}] {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        Screen { bar, started: Instant::now() }
    }

    /// Prints a line that stays.
    pub(crate) fn line(&self, text: &str) {
        self.bar.suspend(|| print(text));
    }

    /// Says beside the bar what is going on.
    pub(crate) fn say(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
        self.beat();
    }

    /// Moves the bar to the present.
    pub(crate) fn beat(&self) {
        self.bar.set_position(millis(self.started.elapsed()));
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Prints to stdout, with a line's end.
pub(crate) fn print(text: &str) {
    let mut output = io::stdout().lock();
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

/// Numbers as people read them: `12,345`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds as people read them: `830 µs`, `1.24 ms`, `12.4 ms`, `1.02 s`; always three digits.
pub(crate) fn duration(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..999_500 => (ns as f64 / 1e3, "µs"),
        999_500..999_500_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    match value {
        value if value < 9.995 => format!("{value:.2} {unit}"),
        value if value < 99.95 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_read_well() {
        let texts = [0, 999, 1_000, 1_234_567].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
        let texts =
            [7, 1_000, 830_400, 999_700, 1_236_000, 12_360_000, 999_600_000, 61e9 as u64].map(duration);
        assert_eq!(texts, ["7 ns", "1.00 µs", "830 µs", "1.00 ms", "1.24 ms", "12.4 ms", "1.00 s", "61.0 s"]);
    }
}
