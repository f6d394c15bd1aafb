//! Percentiles by operation and phase, for the terminal, the results and the page.
//!
//! Only successful calls have a latency here. The others are counted beside them: failed calls, which certainly did
//! not happen, and those whose outcome nobody knows.

use std::collections::BTreeMap;

use godown_jepsen::history::{History, Outcome, PairError};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::phase::Phase;
use crate::load::screen::{duration, thousands};

/// The operations, in the order of every table and chart.
pub(crate) const OPERATIONS: [&str; 3] = ["read", "write", "delete"];

/// One operation in one phase. Latencies are in nanoseconds, absent without successful calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// `read`, `write` or `delete`.
    pub(crate) operation: String,
    /// In which phase the calls began.
    pub(crate) phase: Phase,
    /// Successful calls.
    pub(crate) count: u64,
    /// Half of them took at most this long,
    pub(crate) p50_ns: Option<u64>,
    /// 99 of 100 this long,
    pub(crate) p99_ns: Option<u64>,
    /// 999 of 1,000 this long,
    pub(crate) p999_ns: Option<u64>,
    /// and all of them this long.
    pub(crate) max_ns: Option<u64>,
    /// Calls that certainly did not happen.
    pub(crate) failed: u64,
    /// Calls of which nobody knows.
    pub(crate) unknown: u64,
}

/// The rows for which there are calls, by operation, then phase.
///
/// # Errors
/// A history whose events do not make up operations.
pub(crate) fn rows(
    history: &History,
    latency: &BTreeMap<String, Histogram<u64>>,
) -> Result<Vec<Row>, PairError> {
    let mut troubles: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    let operations = history.operations()?;
    for operation in &operations {
        let invoke = history.at(operation.invoked);
        let phase = invoke.phase().unwrap_or_default();
        let (failed, unknown) = troubles.entry((invoke.f(), phase)).or_default();
        match operation.outcome {
            Outcome::Ok => {}
            Outcome::Fail => *failed += 1,
            Outcome::Unknown => *unknown += 1,
        }
    }
    let mut rows = Vec::new();
    for operation in OPERATIONS {
        for phase in Phase::LOADED {
            let histogram = latency
                .get(&format!("{operation}.{}", phase.as_str()))
                .filter(|histogram| !histogram.is_empty());
            let (failed, unknown) = troubles.get(&(operation, phase.as_str())).copied().unwrap_or_default();
            if histogram.is_none() && failed + unknown == 0 {
                continue;
            }
            let at = |quantile| histogram.map(|histogram| histogram.value_at_quantile(quantile));
            rows.push(Row {
                operation: operation.to_owned(),
                phase,
                count: histogram.map_or(0, Histogram::len),
                p50_ns: at(0.5),
                p99_ns: at(0.99),
                p999_ns: at(0.999),
                max_ns: histogram.map(Histogram::max),
                failed,
                unknown,
            });
        }
    }
    Ok(rows)
}

/// The column names of [`cells`].
pub(crate) const COLUMNS: [&str; 9] =
    ["operation", "phase", "calls", "p50", "p99", "p99.9", "max", "failed", "unknown"];

/// A row as text, column by column.
pub(crate) fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let time = |ns: Option<u64>| ns.map_or_else(|| "–".to_owned(), duration);
    [
        row.operation.clone(),
        row.phase.as_str().to_owned(),
        thousands(row.count),
        time(row.p50_ns),
        time(row.p99_ns),
        time(row.p999_ns),
        time(row.max_ns),
        thousands(row.failed),
        thousands(row.unknown),
    ]
}

/// Columns in alignment: the first `left` to the left, the others to the right.
pub(crate) fn align<const N: usize>(columns: [&str; N], rows: &[[String; N]], left: usize) -> String {
    let header = columns.map(str::to_owned);
    let width = |column: usize| {
        let cells = std::iter::once(&header).chain(rows).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            if column < left {
                line.push_str(&format!("  {cell:<width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use godown_jepsen::history::Event;

    use super::*;
    use crate::load::hlog::histogram;

    #[test]
    fn failures_are_counted_apart_from_latencies() {
        let history: History = [
            Event::invoke(0, "write").key("k").value("a").phase("killed"),
            Event::ok(0, "write"),
            Event::invoke(0, "write").key("k").value("b").phase("killed"),
            Event::fail(0, "write"),
            Event::invoke(0, "write").key("k").value("c").phase("killed"),
            Event::info(0, "write"),
            Event::invoke(1, "delete").key("k").value("d").phase("paused"),
            Event::info(1, "delete"),
            Event::invoke(2, "read").key("k").phase("final"),
            Event::ok(2, "read"),
        ]
        .into_iter()
        .collect();
        let mut killed = histogram();
        killed.saturating_record(2_000_000);
        let latency = BTreeMap::from([("write.killed".to_owned(), killed)]);
        let rows = rows(&history, &latency).unwrap();
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.operation.as_str(), row.phase, row.count, row.failed, row.unknown))
            .collect();
        assert_eq!(told, [("write", Phase::Killed, 1, 1, 1), ("delete", Phase::Paused, 0, 0, 1)]);
        let text = align(COLUMNS, &rows.iter().map(cells).collect::<Vec<_>>(), 2);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("2.00 ms") && lines[2].contains('–'), "{text}");
        let ends: Vec<usize> = lines.iter().map(|line| line.chars().count()).collect();
        assert_eq!(ends, [ends[0]; 3], "columns are aligned:\n{text}");
    }
}
