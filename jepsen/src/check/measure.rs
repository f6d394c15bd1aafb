//! Times and quantiles, for the figures of reports.
//!
//! A figure is told in the recorder's time if every event has one, else in events. Either way what came before what
//! is decided by positions alone.

use serde::Serialize;

use crate::history::History;

/// When each event was: in nanoseconds if all of them say so, else by position. It never runs backwards.
pub(super) struct Clock {
    times_ns: Option<Vec<u64>>,
}

impl Clock {
    pub(super) fn new(history: &History) -> Self {
        let mut now = 0;
        let tick = |time: Option<u64>| {
            now = now.max(time?);
            Some(now)
        };
        Clock { times_ns: history.iter().map(|event| event.time_ns()).map(tick).collect() }
    }

    /// One that counts events.
    pub(super) fn by_position() -> Self {
        Clock { times_ns: None }
    }

    /// Whether times are times, and not positions.
    pub(super) fn has_times(&self) -> bool {
        self.times_ns.is_some()
    }

    /// What times are counted in.
    pub(super) fn unit(&self) -> &'static str {
        if self.times_ns.is_some() { "ns" } else { "events" }
    }

    pub(super) fn time(&self, position: u32) -> u64 {
        self.times_ns.as_ref().map_or(position.into(), |times| times[position as usize])
    }

    pub(super) fn between(&self, earlier: u32, later: u32) -> u64 {
        self.time(later).saturating_sub(self.time(earlier))
    }

    /// "1.500 ms" or "3 events".
    pub(super) fn tell(&self, time: u64) -> String {
        match (self.times_ns.is_some(), time) {
            (false, 1) => "1 event".to_owned(),
            (false, _) => format!("{time} events"),
            (true, _) => format!("{}.{:03} ms", time / 1_000_000, time / 1_000 % 1_000),
        }
    }
}

/// The sizes that so many of all are not above.
#[derive(Serialize)]
pub(super) struct Quantiles {
    #[serde(rename = "0.5")]
    half: u64,
    #[serde(rename = "0.95")]
    most: u64,
    #[serde(rename = "0.99")]
    nearly_all: u64,
    #[serde(rename = "0.999")]
    almost_all: u64,
    #[serde(rename = "1")]
    all: u64,
}

impl Quantiles {
    pub(super) fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        // The smallest value that so many of 1000 are not above.
        let at = |per_mille: usize| {
            let rank = (values.len() * per_mille).div_ceil(1000).max(1);
            values.get(rank - 1).copied().unwrap_or(0)
        };
        Quantiles { half: at(500), most: at(950), nearly_all: at(990), almost_all: at(999), all: at(1000) }
    }
}
