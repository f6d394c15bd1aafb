//! How long requests took, by what was asked and what came of it: histograms that many requests count into at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;

use super::text::Family;

/// Bounds of the histograms, in microseconds: from well under a disk's sync to the longest timeout.
const BOUNDS_US: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 60_000_000,
];

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Operation {
    Get,
    Put,
    Delete,
    List,
}

impl Operation {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Get, "get"), (Self::Put, "put"), (Self::Delete, "delete"), (Self::List, "list")];
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Absent,
    Refused,
    Unavailable,
}

impl Outcome {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Ok, "ok"),
        (Self::Absent, "absent"),
        (Self::Refused, "refused"),
        (Self::Unavailable, "unavailable"),
    ];

    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::Absent,
            status if status.is_server_error() => Self::Unavailable,
            status if status.is_client_error() => Self::Refused,
            _ => Self::Ok,
        }
    }
}

/// All requests so far.
#[derive(Debug, Default)]
pub(in crate::http) struct Requests([[Histogram; Outcome::ALL.len()]; Operation::ALL.len()]);

#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BOUNDS_US.len()],
    beyond: AtomicU64,
    sum_us: AtomicU64,
}

impl Requests {
    /// One request was answered with `status` after `took`.
    pub(in crate::http) fn count(&self, operation: Operation, status: StatusCode, took: Duration) {
        let histogram = &self.0[operation as usize][Outcome::of(status) as usize];
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS_US.partition_point(|&bound| bound < us);
        histogram.counts.get(place).unwrap_or(&histogram.beyond).fetch_add(1, Ordering::Relaxed);
        histogram.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Writes them all: series that have counted nothing, too, so that a first failure is a rise from zero.
    pub(super) fn write(&self, family: &mut Family<'_>) {
        let bounds = BOUNDS_US.map(Duration::from_micros);
        for (operation, operation_name) in Operation::ALL {
            for (outcome, outcome_name) in Outcome::ALL {
                let histogram = &self.0[operation as usize][outcome as usize];
                let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                let counts: Vec<u64> = histogram.counts.iter().map(get).collect();
                let labels = [("operation", operation_name), ("outcome", outcome_name)];
                let sum = Duration::from_micros(get(&histogram.sum_us));
                family.buckets(&labels, &bounds, &counts, get(&histogram.beyond), sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::Text;
    use super::*;

    #[test]
    fn a_request_counts_where_its_operation_its_outcome_and_its_time_say() {
        let requests = Requests::default();
        requests.count(Operation::Put, StatusCode::OK, Duration::from_micros(100));
        requests.count(Operation::Put, StatusCode::OK, Duration::from_micros(101));
        requests.count(Operation::Put, StatusCode::OK, Duration::from_secs(61));
        requests.count(Operation::Get, StatusCode::MULTIPLE_CHOICES, Duration::ZERO);
        requests.count(Operation::Get, StatusCode::NOT_FOUND, Duration::ZERO);
        requests.count(Operation::List, StatusCode::BAD_REQUEST, Duration::ZERO);
        requests.count(Operation::Delete, StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO);
        let mut text = Text::default();
        requests.write(&mut text.histogram("t_seconds", "Help."));
        let text = text.into_string();
        for line in [
            "t_seconds_bucket{operation=\"put\",outcome=\"ok\",le=\"0.0001\"} 1",
            "t_seconds_bucket{operation=\"put\",outcome=\"ok\",le=\"0.00025\"} 2",
            "t_seconds_bucket{operation=\"put\",outcome=\"ok\",le=\"60\"} 2",
            "t_seconds_count{operation=\"put\",outcome=\"ok\"} 3",
            "t_seconds_sum{operation=\"put\",outcome=\"ok\"} 61.000201",
            "t_seconds_count{operation=\"get\",outcome=\"ok\"} 1",
            "t_seconds_count{operation=\"get\",outcome=\"absent\"} 1",
            "t_seconds_count{operation=\"list\",outcome=\"refused\"} 1",
            "t_seconds_count{operation=\"delete\",outcome=\"unavailable\"} 1",
            "t_seconds_count{operation=\"delete\",outcome=\"ok\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
