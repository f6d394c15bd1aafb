//! Latencies as an HdrHistogram interval log (version 2), the file that HdrHistogram's tools in any language read.
//!
//! Each interval of the run has one histogram per tag. A tag here is `operation.phase`, such as `write.killed`;
//! values are nanoseconds. Adding up all intervals of a tag loses nothing, so percentiles over any stretch of the
//! run come from this one file. Only calls that succeeded are in it: how long a failure took says when
//! a client lost its patience, not how fast the store is.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, IntervalLogWriterError, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

/// The span of latencies that is told apart, in nanoseconds; what lies outside counts as its nearest end.
const LATENCY_NS: std::ops::RangeInclusive<u64> = 1_000..=120_000_000_000;
/// Three significant digits: a value is off by at most a thousandth.
const DIGITS: u8 = 3;

/// A histogram of latencies in nanoseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(*LATENCY_NS.start(), *LATENCY_NS.end(), DIGITS)
        .expect("the bounds are constants that HdrHistogram accepts")
}

/// Latency as a histogram counts it: whole nanoseconds.
pub(crate) fn nanoseconds(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes an interval log while a run goes on.
pub(crate) struct Log<W: Write> {
    output: W,
    serializer: V2DeflateSerializer,
    interval: Duration,
    /// The number of the interval that is being counted.
    number: u32,
    tags: BTreeMap<String, Histogram<u64>>,
}

impl<W: Write> Log<W> {
    /// Begins a log of a run that started at `started`.
    ///
    /// # Errors
    /// What the output says.
    pub(crate) fn new(mut output: W, started: SystemTime, interval: Duration) -> io::Result<Self> {
        assert!(!interval.is_zero(), "an interval of no length has no end");
        let mut serializer = V2DeflateSerializer::new();
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment("[Latency of successful calls in nanoseconds; tags are operation.phase]")
            .with_start_time(started)
            .with_base_time(started)
            .begin_log_with(&mut output, &mut serializer)?;
        output.write_all(
            b"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        )?;
        Ok(Log { output, serializer, interval, number: 0, tags: BTreeMap::new() })
    }

    /// Counts a call that ended `at` this time since the start. Times before the current interval count into it.
    ///
    /// # Errors
    /// What the output says, when an interval is over.
    pub(crate) fn record(&mut self, at: Duration, tag: &str, latency: Duration) -> io::Result<()> {
        let number = u32::try_from(at.as_nanos() / self.interval.as_nanos()).unwrap_or(u32::MAX);
        if number > self.number {
            self.close_interval()?;
            self.number = number;
        }
        if !self.tags.contains_key(tag) {
            self.tags.insert(tag.to_owned(), histogram());
        }
        if let Some(histogram) = self.tags.get_mut(tag) {
            histogram.saturating_record(nanoseconds(latency));
        }
        Ok(())
    }

    /// Writes what is still being counted, and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.close_interval()?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn close_interval(&mut self) -> io::Result<()> {
        let start = self.interval.saturating_mul(self.number);
        // Without headers this writes nothing of its own.
        let mut writer =
            IntervalLogWriterBuilder::new().begin_log_with(&mut self.output, &mut self.serializer)?;
        for (tag, histogram) in &mut self.tags {
            if histogram.is_empty() {
                continue;
            }
            writer.write_histogram(histogram, start, self.interval, Tag::new(tag)).map_err(|error| {
                match error {
                    IntervalLogWriterError::IoError(error) => error,
                    other => io::Error::other(format!("{other:?}")),
                }
            })?;
            histogram.reset();
        }
        Ok(())
    }
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("interval {interval} of the latency log cannot be read: {reason}")]
pub(crate) struct LogError {
    interval: usize,
    reason: String,
}

/// All intervals of a log added up by tag; histograms without a tag are under the empty one.
///
/// # Errors
/// The first interval that cannot be read.
pub(crate) fn read(log: &[u8]) -> Result<BTreeMap<String, Histogram<u64>>, LogError> {
    let mut tags: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    let mut deserializer = Deserializer::new();
    // The column names are for people and for readers of comma-separated values; the parser does not know them.
    let log = without_column_names(log);
    let mut interval = 0;
    for entry in IntervalLogIterator::new(&log) {
        let fail = |reason: String| LogError { interval, reason };
        let LogEntry::Interval(entry) = entry.map_err(|error| fail(format!("{error:?}")))? else {
            continue;
        };
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(entry.encoded_histogram())
            .map_err(|error| fail(error.to_string()))?;
        let part: Histogram<u64> =
            deserializer.deserialize(&mut bytes.as_slice()).map_err(|error| fail(error.to_string()))?;
        let tag = entry.tag().map_or("", |tag| tag.as_str());
        let sum = tags.entry(tag.to_owned()).or_insert_with(histogram);
        sum.add(&part).map_err(|error| fail(error.to_string()))?;
        interval += 1;
    }
    Ok(tags)
}

fn without_column_names(log: &[u8]) -> Vec<u8> {
    log.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"\""))
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_log_reads_back_as_it_was_recorded() {
        let mut log = Log::new(Vec::new(), SystemTime::UNIX_EPOCH, 100 * MS).unwrap();
        let mut expected = histogram();
        for i in 0..1_000_u32 {
            let latency = MS * (i % 50 + 1);
            log.record(MS * i, "write.calm", latency).unwrap();
            expected.saturating_record(nanoseconds(latency));
        }
        log.record(1_000 * MS, "read.killed", 7 * MS).unwrap();
        let tags = read(&log.finish().unwrap()).unwrap();
        assert_eq!(tags.keys().collect::<Vec<_>>(), ["read.killed", "write.calm"]);
        assert_eq!(tags["write.calm"], expected);
        assert_eq!(tags["read.killed"].len(), 1);
    }

    #[test]
    fn each_interval_is_a_line_of_its_own() {
        let mut log = Log::new(Vec::new(), SystemTime::UNIX_EPOCH, 100 * MS).unwrap();
        for at in [0, 99, 100, 950] {
            log.record(MS * at, "t", MS).unwrap();
        }
        let text = String::from_utf8(log.finish().unwrap()).unwrap();
        let starts: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("Tag=t,")?.split(',').next()).collect();
        assert_eq!(starts, ["0.000", "0.100", "0.900"], "{text}");
    }

    #[test]
    fn latencies_outside_the_bounds_count_as_the_nearest() {
        let mut log = Log::new(Vec::new(), SystemTime::UNIX_EPOCH, MS).unwrap();
        log.record(Duration::ZERO, "t", Duration::ZERO).unwrap();
        log.record(Duration::ZERO, "t", Duration::MAX).unwrap();
        assert_eq!(read(&log.finish().unwrap()).unwrap()["t"].len(), 2);
    }

    #[test]
    fn a_damaged_log_is_an_error_that_names_the_interval() {
        let mut log = Log::new(Vec::new(), SystemTime::UNIX_EPOCH, MS).unwrap();
        log.record(Duration::ZERO, "t", MS).unwrap();
        let mut bytes = log.finish().unwrap();
        let length = bytes.len();
        bytes[length - 20] ^= 1;
        assert!(read(&bytes).unwrap_err().to_string().contains("interval 0"));
    }
}
