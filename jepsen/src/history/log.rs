//! Events from the text that Jepsen prints while it runs.
//!
//! A line such as `INFO  jepsen.util - 3  :invoke  :write  4` is one event: process, stage, function, value, and
//! perhaps an error. Logs hold other lines too, so a line without the mark `jepsen.util - ` is skipped; in a file
//! without any mark (Jepsen's `history.txt`) every line is an event. There is no time in them, and a timed-out call
//! prints its reason where its value would be.

use super::event::Fields;
use super::{Event, Kind, ReadError, Value, edn};

/// What stands before an event in a log.
const MARK: &str = "jepsen.util - ";

/// Reads every event of a log; messages call it `file`.
///
/// # Errors
/// The first line that looks like an event and is none.
pub(crate) fn events(file: &str, input: &[u8]) -> Result<Vec<Event>, ReadError> {
    let malformed = |line, reason| ReadError::Malformed { file: file.to_owned(), line, reason };
    let text = std::str::from_utf8(input).map_err(|error| {
        let lines = input[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        malformed(u32::try_from(lines + 1).unwrap_or(u32::MAX), "not UTF-8 text".to_owned())
    })?;
    let is_marked = text.contains(MARK);
    let mut events = Vec::new();
    for (line, text) in (1u32..).zip(text.lines()) {
        let text = match text.split_once(MARK) {
            Some((_, event)) => event,
            None if is_marked || text.trim().is_empty() => continue,
            None => text,
        };
        events.push(event(text).map_err(|reason| malformed(line, reason))?.line_at(line));
    }
    Ok(events)
}

fn event(text: &str) -> Result<Event, String> {
    let expected = || "expected: process, stage, function, value".to_owned();
    let mut rest = text;
    let mut word = || {
        rest = rest.trim_start();
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after;
        Some(word).filter(|word| !word.is_empty()).ok_or_else(expected)
    };
    let mut fields = Fields::default();
    for name in ["process", "type", "f"] {
        let value = edn::values(word()?)?;
        fields.set(name, value.into_iter().next().ok_or_else(expected)?)?;
    }
    let is_reason =
        rest.trim_start().starts_with(':') && !matches!(fields.kind(), Some(Kind::Invoke | Kind::Ok));
    let mut values = edn::values(rest)?.into_iter();
    let (value, error) = if is_reason { (None, values.next()) } else { (values.next(), values.next()) };
    fields.set("value", value.unwrap_or(Value::Null))?;
    if let Some(error) = error {
        fields.set("error", error)?;
    }
    fields.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_an_event_and_other_lines_are_skipped() {
        let text = "INFO  jepsen.core - starting\nINFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]\n\
                    INFO  jepsen.util - 3\t:info\t:cas\t:timed-out\nINFO  jepsen.util - :nemesis\t:info\t:start\tnil\n";
        let events = events("l", text.as_bytes()).unwrap();
        let shown: Vec<_> = events.iter().map(ToString::to_string).collect();
        let expected =
            ["process 3 invoke cas [1 2]", "process 3 info cas nil", "process nemesis info start nil"];
        assert_eq!(shown, expected);
        assert_eq!(events[1].error_of().unwrap().to_string(), "timed-out");
        assert_eq!((events[0].line(), events[2].line()), (2, 4));
    }

    #[test]
    fn a_history_txt_has_no_marks() {
        let events = events("l", b"0\t:invoke\t:read\tnil\n0\t:ok\t:read\t\"a b\"\t\n").unwrap();
        assert_eq!(events[1].value_of(), Some(&Value::from("a b")));
    }

    #[test]
    fn a_line_that_is_no_event_names_itself() {
        let error = events("l", b"jepsen.util - 0 :ok :read 1\njepsen.util - 0 :oh :read 1").unwrap_err();
        assert!(error.to_string().starts_with("l:2: \"type\" must be"), "{error}");
        let error = events("l", b"jepsen.util - 0 :ok").unwrap_err();
        assert_eq!(error.to_string(), "l:1: expected: process, stage, function, value");
    }
}
