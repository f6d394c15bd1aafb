//! Histories as JSON lines: one event per line, written as it happens.
//!
//! The [`Writer`] numbers events as it writes them, so that a recorder only says what happened. A recorder that was
//! killed leaves half a line at the end; reading that is an error which says so, because a verdict on a history that
//! lost its end would be a verdict on another history.

use std::io::{self, Write};

use super::Event;

/// Writes events as JSON lines and numbers them.
///
/// ```
/// use godown_jepsen::history::{Event, Writer};
///
/// let mut writer = Writer::new(Vec::new());
/// writer.record(&Event::invoke(0, "read").key("k")).unwrap();
/// writer.record(&Event::ok(0, "read").key("k").value([17, 18])).unwrap();
/// let text = String::from_utf8(writer.into_inner()).unwrap();
/// assert!(text.starts_with(r#"{"index":0,"type":"invoke","process":0,"f":"read","key":"k"}"#));
/// assert_eq!(text.lines().count(), 2);
/// ```
#[derive(Debug)]
pub struct Writer<W: Write> {
    output: W,
    next: u64,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// A writer that numbers from 0. Hand it something buffered, and [`Writer::flush`] when it matters.
    pub fn new(output: W) -> Self {
        Writer { output, next: 0, line: Vec::new() }
    }

    /// Writes one event as one line in one `write`, and returns the index it was given (its own, if it has one).
    ///
    /// # Errors
    /// What the output says.
    pub fn record(&mut self, event: &Event) -> io::Result<u64> {
        let index = event.index().unwrap_or(self.next);
        self.line.clear();
        if event.index().is_some() {
            serde_json::to_writer(&mut self.line, event)?;
        } else {
            serde_json::to_writer(&mut self.line, &event.clone().index_at(index))?;
        }
        self.line.push(b'\n');
        self.output.write_all(&self.line)?;
        self.next = index + 1;
        Ok(index)
    }

    /// Hands everything on.
    ///
    /// # Errors
    /// What the output says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// The output.
    pub fn into_inner(self) -> W {
        self.output
    }
}

/// Why a history could not be read. Every message names the file and, where there is one, the line.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read at all.
    #[error("{file}: cannot be read: {source}")]
    Io {
        /// Which file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The last line stops in the middle.
    #[error(
        "{file}:{line}: the last line is cut off: the recorder was probably stopped in the middle of it; \
         delete the line if the history may end there"
    )]
    Truncated {
        /// Which file.
        file: String,
        /// The line, from 1.
        line: u32,
    },
    /// There is more in it than can be numbered.
    #[error("{file}: it has more events, distinct values or names than a history can hold; split it by key")]
    TooLarge {
        /// Which file.
        file: String,
    },
    /// A line is no event.
    #[error("{file}:{line}: {reason}")]
    Malformed {
        /// Which file.
        file: String,
        /// The line, from 1.
        line: u32,
        /// What is wrong with it.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::super::{Event, History, Kind, Process, Value};
    use super::*;

    fn read(text: &str) -> Result<History, ReadError> {
        History::from_lines("run.jsonl", &mut text.as_bytes())
    }

    #[test]
    fn an_event_survives_writing_and_reading() {
        let events = [
            Event::invoke(3, "write")
                .key("k")
                .value(17)
                .node("n1")
                .seen([Value::from(12), "d1".into()])
                .at(5),
            Event::info(3, "write").key("k").error("timeout"),
            Event::nemesis("partition").value([["n1"], ["n2"]]),
            Event::invoke(4, "read").key(7).phase("final").extra("attempt", 2),
            Event::ok(4, "read").key(7).value(Vec::<i64>::new()).phase("final"),
            Event::invoke(1_000_000_000_000_u64, "read").index_at(17),
        ];
        let mut writer = Writer::new(Vec::new());
        for event in &events {
            writer.record(event).unwrap();
        }
        let text = String::from_utf8(writer.into_inner()).unwrap();
        let back = read(&text).unwrap();
        assert_eq!(back.len(), events.len());
        let pushed: History = events.iter().cloned().collect();
        for (i, event) in (0..).zip(events) {
            assert_eq!(back.at(i).line(), i + 1);
            let index = if i == 5 { 17 } else { i.into() };
            assert_eq!(back.at(i).to_event().line_at(0), event.clone().index_at(index));
            assert_eq!(pushed.at(i).to_event(), event.index_at(index));
        }
    }

    #[test]
    fn fields_may_come_in_any_order_and_unknown_ones_are_kept() {
        let text = r#"{"value":null,"f":"read","colour":{"a":[1.5,true]},"process":"nemesis","type":"info"}"#;
        let history = read(text).unwrap();
        let event = history.at(0);
        assert_eq!(event.process(), &Process::NEMESIS);
        assert_eq!(event.kind(), Kind::Info);
        assert_eq!(history.show(event.extra("colour")).to_string(), "{a [1.5 true]}");
    }

    #[test]
    fn a_truncated_last_line_names_itself() {
        let error =
            read("{\"type\":\"invoke\",\"process\":0,\"f\":\"read\"}\n{\"type\":\"ok\",\"proc").unwrap_err();
        assert!(matches!(&error, ReadError::Truncated { line: 2, .. }), "{error}");
        assert!(error.to_string().starts_with("run.jsonl:2: the last line is cut off"), "{error}");
    }

    #[test]
    fn a_whole_last_line_needs_no_newline() {
        assert_eq!(read("{\"type\":\"invoke\",\"process\":0,\"f\":\"read\"}").unwrap().len(), 1);
    }
}
