//! Histories as JSON lines: one event per line, written as it happens, read without holding the whole.
//!
//! The [`Writer`] numbers events as it writes them, so that a recorder only says what happened. The [`Reader`] is
//! an iterator that knows its line. A recorder that was killed leaves half a line at the end; that is an error which
//! says so, because a verdict on a history that lost its end would be a verdict on another history.

use std::io::{self, BufRead, Write};

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

/// Reads events from JSON lines; stops after the first error. Empty lines are skipped.
#[derive(Debug)]
pub struct Reader<R: BufRead> {
    file: String,
    input: R,
    line: u32,
    buffer: Vec<u8>,
    failed: bool,
}

impl<R: BufRead> Reader<R> {
    /// A reader whose messages call the input `file`.
    pub fn new(file: impl Into<String>, input: R) -> Self {
        Reader { file: file.into(), input, line: 0, buffer: Vec::new(), failed: false }
    }

    fn read(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            self.buffer.clear();
            let length = self
                .input
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| ReadError::Io { file: self.file.clone(), source })?;
            if length == 0 {
                return Ok(None);
            }
            self.line = self.line.saturating_add(1);
            if self.buffer.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return match serde_json::from_slice::<Event>(&self.buffer) {
                Ok(event) => Ok(Some(event.line_at(self.line))),
                Err(error) => Err(self.explain(&error)),
            };
        }
    }

    fn explain(&self, error: &serde_json::Error) -> ReadError {
        let (file, line) = (self.file.clone(), self.line);
        if error.is_eof() && !self.buffer.ends_with(b"\n") {
            return ReadError::Truncated { file, line };
        }
        // serde_json counts lines too; within one line only its column means anything.
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        ReadError::Malformed { file, line, reason: format!("column {}: {reason}", error.column()) }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let event = self.read().transpose();
        self.failed = matches!(event, Some(Err(_)));
        event
    }
}

#[cfg(test)]
mod tests {
    use super::super::{History, Kind, Process, Value};
    use super::*;

    fn read(text: &str) -> Result<Vec<Event>, ReadError> {
        Reader::new("h.jsonl", text.as_bytes()).collect()
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
        ];
        let mut writer = Writer::new(Vec::new());
        for event in &events {
            writer.record(event).unwrap();
        }
        let text = String::from_utf8(writer.into_inner()).unwrap();
        let back = read(&text).unwrap();
        assert_eq!(back.len(), events.len());
        for (i, (back, event)) in back.into_iter().zip(events).enumerate() {
            assert_eq!(back.line(), i as u32 + 1);
            assert_eq!(back.line_at(0), event.index_at(i as u64));
        }
    }

    #[test]
    fn fields_may_come_in_any_order_and_unknown_ones_are_kept() {
        let events =
            read(r#"{"value":null,"f":"read","colour":{"a":[1.5,true]},"process":"nemesis","type":"info"}"#)
                .unwrap();
        assert_eq!(events[0].process(), &Process::NEMESIS);
        assert_eq!(events[0].kind(), Kind::Info);
        assert_eq!(events[0].extra_of("colour").unwrap().to_string(), "{a [1.5 true]}");
    }

    #[test]
    fn a_truncated_last_line_names_itself() {
        let text = "{\"type\":\"invoke\",\"process\":0,\"f\":\"read\"}\n{\"type\":\"ok\",\"proc";
        let error = History::from_lines("run.jsonl", text.as_bytes()).unwrap_err();
        assert!(matches!(&error, ReadError::Truncated { line: 2, .. }), "{error}");
        assert!(error.to_string().starts_with("run.jsonl:2: the last line is cut off"), "{error}");
    }

    #[test]
    fn a_whole_last_line_needs_no_newline() {
        assert_eq!(read("{\"type\":\"invoke\",\"process\":0,\"f\":\"read\"}").unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_event_is_an_error_with_its_place_and_reading_stops() {
        for (text, says) in [
            ("[]\n", "expected an event"),
            ("{\"process\":0,\"f\":\"read\"}\n", "needs \"type\""),
            ("{\"type\":\"ok\",\"f\":\"read\"}\n", "needs \"process\""),
            ("{\"type\":\"okay\",\"process\":0}\n", "must be invoke, ok, fail or info"),
            ("{\"type\":\"ok\",\"process\":[]}\n", "must be a number or a name"),
            ("{\"type\":\"ok\",\"process\":0,\"seen\":3}\n", "must be a list"),
            ("\u{1}\u{2}\n", "expected value"),
        ] {
            let text = format!("\n{text}{{\"type\":\"ok\",\"process\":0}}\n");
            let results: Vec<_> = Reader::new("h", text.as_bytes()).collect();
            assert_eq!(results.len(), 1, "{text}");
            let error = results[0].as_ref().unwrap_err().to_string();
            assert!(error.starts_with("h:2: ") && error.contains(says), "{error}");
        }
        assert!(Reader::new("h", &b"\xff\xfe\n"[..]).next().unwrap().is_err());
    }

    #[test]
    fn hostile_nesting_is_an_error_and_not_a_crash() {
        let text = format!("{{\"type\":\"ok\",\"process\":0,\"value\":{}\n", "[".repeat(1_000_000));
        assert!(matches!(read(&text), Err(ReadError::Malformed { line: 1, .. })));
    }

    #[test]
    fn numbers_beyond_64_bits_stay_exact() {
        let events = read("{\"type\":\"ok\",\"process\":0,\"value\":18446744073709551615}").unwrap();
        assert_eq!(events[0].value_of(), Some(&Value::from("18446744073709551615")));
    }
}
