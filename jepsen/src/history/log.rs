//! Events from the text that Jepsen prints while it runs.
//!
//! A line such as `INFO  jepsen.util - 3  :invoke  :write  4` is one event: process, stage, function, value, and
//! perhaps an error. Logs hold other lines too, so a line without the mark `jepsen.util - ` is skipped; in a file
//! without any mark (Jepsen's `history.txt`) every line is an event. There is no time in them, and a timed-out call
//! prints its reason where its value would be.

use std::io::BufRead;

use super::event::Kind;
use super::parse;
use super::pool::Atom;
use super::rows::{Draft, Rows};
use super::writer::ReadError;

/// What stands before an event in a log.
const MARK: &[u8] = b"jepsen.util - ";
/// How long a line may be.
const LINE_BYTES_MAX: usize = 1 << 28;

/// Reads every event of a log into `rows`; messages call it `file`.
///
/// # Errors
/// The first line that looks like an event and is none.
pub(super) fn events(file: &str, input: &mut dyn BufRead, rows: &mut Rows) -> Result<(), ReadError> {
    let mark = memchr::memmem::Finder::new(MARK);
    let mut bytes = Vec::new();
    let mut is_marked = false;
    // Lines without the mark are events only in a file without any.
    let mut unmarked: Option<ReadError> = None;
    let mut line = 0u32;
    loop {
        line = line.saturating_add(1);
        let malformed = |reason: String| ReadError::Malformed { file: file.to_owned(), line, reason };
        bytes.clear();
        let mut limited = std::io::Read::take(&mut *input, LINE_BYTES_MAX as u64);
        limited
            .read_until(b'\n', &mut bytes)
            .map_err(|source| ReadError::Io { file: file.to_owned(), source })?;
        if bytes.is_empty() {
            break;
        }
        if bytes.len() == LINE_BYTES_MAX {
            return Err(malformed(format!("a line is longer than {} MiB", LINE_BYTES_MAX >> 20)));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed("not UTF-8 text".to_owned()))?.trim();
        match mark.find(text.as_bytes()).map(|at| &text[at + MARK.len()..]) {
            Some(text) => {
                if !is_marked {
                    // What was taken for events before the first mark was something else.
                    is_marked = true;
                    *rows = Rows::default();
                }
                event(text, line, rows).map_err(malformed)?;
            }
            None if is_marked || text.is_empty() || unmarked.is_some() => {}
            None => unmarked = event(text, line, rows).map_err(malformed).err(),
        }
    }
    unmarked.filter(|_| !is_marked).map_or(Ok(()), Err)
}

fn event(text: &str, line: u32, rows: &mut Rows) -> Result<(), String> {
    const EXPECTED: &str = "expected: process, stage, function, value";
    let mut rest = text;
    let mut words = [""; 3];
    for word in &mut words {
        rest = rest.trim_start();
        (*word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if word.is_empty() {
            return Err(EXPECTED.to_owned());
        }
    }
    let [process, stage, f] = words.map(|word| word.strip_prefix(':').unwrap_or(word));
    let process = match process.parse::<u64>() {
        Ok(client) => rows.client(client),
        Err(_) => rows.actor(process),
    };
    let kind = match stage {
        "invoke" => Kind::Invoke,
        "ok" => Kind::Ok,
        "fail" => Kind::Fail,
        "info" => Kind::Info,
        other => return Err(format!("\"type\" must be invoke, ok, fail or info, not {other}")),
    };
    let is_reason = rest.trim_start().starts_with(':') && !matches!(kind, Kind::Invoke | Kind::Ok);
    let mut values = parse::values(rest, rows)?.into_iter();
    let (value, error) = if is_reason { (None, values.next()) } else { (values.next(), values.next()) };
    let value = Some(value.unwrap_or(Atom::NULL));
    let f = rows.word(f);
    rows.push(Draft { f, value, error, ..Draft::default() }, process, kind, line);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Format, History, Load};

    fn read(text: &str) -> Result<History, String> {
        let load = Load { format: Format::Log, ..Load::default() };
        load.bytes("l", text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_log_line_is_an_event_and_other_lines_are_skipped() {
        let text = "INFO  jepsen.core - starting\nINFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]\n\
                    INFO  jepsen.util - 3\t:info\t:cas\t:timed-out\nINFO  jepsen.util - :nemesis\t:info\t:start\tnil\n";
        let history = read(text).unwrap();
        let shown: Vec<_> = history.iter().map(|event| event.to_string()).collect();
        let expected =
            ["process 3 invoke cas [1 2]", "process 3 info cas nil", "process nemesis info start nil"];
        assert_eq!(shown, expected);
        assert_eq!(history.text(history.at(1).error()), Some("timed-out"));
        assert_eq!((history.at(0).line(), history.at(2).line()), (2, 4));
    }

    #[test]
    fn a_history_txt_has_no_marks() {
        let history = read("0\t:invoke\t:read\tnil\n0\t:ok\t:read\t\"a b\"\t\n").unwrap();
        assert_eq!(history.text(history.at(1).value()), Some("a b"));
    }

    #[test]
    fn a_line_that_is_no_event_names_itself() {
        let error = read("jepsen.util - 0 :ok :read 1\njepsen.util - 0 :oh :read 1").unwrap_err();
        assert!(error.starts_with("l:2: \"type\" must be"), "{error}");
        let error = read("jepsen.util - 0 :ok").unwrap_err();
        assert_eq!(error, "l:1: expected: process, stage, function, value");
    }
}
