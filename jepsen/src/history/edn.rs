//! Events from EDN, the notation of Jepsen's `history.edn`, and from JSON documents.
//!
//! The parser is written for this one shape: a vector (or list) of maps, or maps one after another, each an event.
//! It reads bytes, allocates only what an event keeps, and knows its line. JSON that is not one event per line (an
//! array, indented objects) differs only in that a `:` follows each key, so the same code reads it. Tags are
//! skipped and their value kept, discarded forms are dropped, a set becomes a sorted list.
//! Nesting is limited, so hostile input ends in an error and not in a full stack.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::event::Fields;
use super::{Event, Process, ReadError, Value};

/// How deep values may nest.
const DEPTH_MAX: u32 = 100;

/// Reads every event of a document; messages call it `file`.
///
/// # Errors
/// The first thing that is wrong, with its line; a document that ends too early is [`ReadError::Truncated`].
pub(crate) fn events(file: &str, input: &[u8], json: bool) -> Result<Vec<Event>, ReadError> {
    let mut parser = Parser { input, at: 0, json, depth: 0, counted: 0, line: 1 };
    parser.document().map_err(|trouble| {
        let file = file.to_owned();
        match trouble {
            // Trailing space would put the end on a line of its own.
            Trouble::End => ReadError::Truncated { file, line: parser.line_of(input.trim_ascii_end().len()) },
            Trouble::Wrong(reason) => ReadError::Malformed { file, line: parser.line_of(parser.at), reason },
        }
    })
}

/// Reads one or two values from a piece of text, as a log line ends with: the value, and perhaps an error.
pub(crate) fn values(text: &str) -> Result<Vec<Value>, String> {
    let text = format!("{text} ");
    let mut parser = Parser { input: text.as_bytes(), at: 0, json: false, depth: 0, counted: 0, line: 1 };
    let mut values = Vec::new();
    loop {
        match parser.peek() {
            Err(Trouble::End) => return Ok(values),
            Err(Trouble::Wrong(reason)) => return Err(reason),
            Ok(_) => values.push(parser.value().map_err(|trouble| match trouble {
                Trouble::End => "the value is cut off".to_owned(),
                Trouble::Wrong(reason) => reason,
            })?),
        }
    }
}

enum Trouble {
    End,
    Wrong(String),
}

fn wrong<T>(reason: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Wrong(reason.into()))
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
    json: bool,
    /// How many values are open; discarded forms count too, since they nest as well.
    depth: u32,
    /// Lines are counted up to here; only ever forwards.
    counted: usize,
    line: u32,
}

/// What ends a word besides white space.
fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'"' | b';')
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b',' || byte == 0x0b
}

impl<'a> Parser<'a> {
    fn document(&mut self) -> Result<Vec<Event>, Trouble> {
        let mut events = Vec::new();
        if !self.has_more()? {
            return Ok(events);
        }
        self.skip_tag()?;
        let closing = match self.peek()? {
            b'[' => Some(b']'),
            b'(' => Some(b')'),
            _ => None,
        };
        if closing.is_some() {
            self.at += 1;
        }
        loop {
            match closing {
                Some(closing) if self.peek()? == closing => {
                    self.at += 1;
                    break;
                }
                None if !self.has_more()? => return Ok(events),
                _ => events.push(self.event()?),
            }
        }
        if self.has_more()? {
            return wrong("the history has ended, but something follows it");
        }
        Ok(events)
    }

    /// Whether anything but space and comments is left.
    fn has_more(&mut self) -> Result<bool, Trouble> {
        match self.peek() {
            Ok(_) => Ok(true),
            Err(Trouble::End) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    fn event(&mut self) -> Result<Event, Trouble> {
        self.skip_tag()?;
        if self.peek()? != b'{' {
            return wrong("expected an event: a map such as {:process 0, :type :invoke, :f :read}");
        }
        let line = self.line_of(self.at);
        self.at += 1;
        let mut fields = Fields::default();
        loop {
            if self.peek()? == b'}' {
                self.at += 1;
                break;
            }
            let name = self.field_name()?;
            let byte = self.peek()?;
            let is_set = match byte {
                b'"' => {
                    let text = self.string()?;
                    fields.set_word(&name, &text) || {
                        fields.set(&name, Value::from(&*text)).map_err(Trouble::Wrong)?;
                        true
                    }
                }
                b':' => {
                    let word = &self.word()?[1..];
                    fields.set_word(&name, word) || {
                        fields.set(&name, Value::from(word)).map_err(Trouble::Wrong)?;
                        true
                    }
                }
                _ => false,
            };
            if !is_set {
                let value = self.value()?;
                fields.set(&name, value).map_err(Trouble::Wrong)?;
            }
        }
        fields.assume_process(Process::Client(0));
        Ok(fields.finish().map_err(Trouble::Wrong)?.line_at(line))
    }

    /// A key of an event: a keyword, or a string and, in JSON, its colon.
    fn field_name(&mut self) -> Result<Cow<'a, str>, Trouble> {
        match self.peek()? {
            b':' if !self.json => Ok(Cow::Borrowed(&self.word()?[1..])),
            b'"' => {
                let name = self.string()?;
                self.colon()?;
                Ok(name)
            }
            _ => wrong("expected the name of a field"),
        }
    }

    /// In JSON, the colon after a key.
    fn colon(&mut self) -> Result<(), Trouble> {
        if self.json {
            if self.peek()? != b':' {
                return wrong("expected \":\" after a name");
            }
            self.at += 1;
        }
        Ok(())
    }

    /// The next byte that is no space, comment or discarded form.
    fn peek(&mut self) -> Result<u8, Trouble> {
        loop {
            match self.input.get(self.at) {
                None => return Err(Trouble::End),
                Some(byte) if is_space(*byte) => self.at += 1,
                Some(b';') => {
                    let rest = &self.input[self.at..];
                    self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                }
                Some(b'#') if self.input.get(self.at + 1) == Some(&b'_') => {
                    self.at += 2;
                    self.value()?;
                }
                Some(byte) => return Ok(*byte),
            }
        }
    }

    /// Skips any tags before a form: `#jepsen.history.Op`, `#inst`, `#object`, `#:ns`.
    fn skip_tag(&mut self) -> Result<(), Trouble> {
        while self.peek()? == b'#' {
            match self.input.get(self.at + 1) {
                Some(b'{' | b'"' | b'#') => return Ok(()),
                Some(_) => {
                    self.at += 1;
                    self.word()?;
                }
                None => return Err(Trouble::End),
            }
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Value, Trouble> {
        if self.depth == DEPTH_MAX {
            return wrong(format!("values nest deeper than {DEPTH_MAX} levels"));
        }
        self.depth += 1;
        let value = self.form();
        self.depth -= 1;
        value
    }

    fn form(&mut self) -> Result<Value, Trouble> {
        self.skip_tag()?;
        match self.peek()? {
            b'"' => Ok(self.string()?.as_ref().into()),
            b'[' => Ok(Value::List(self.list(b']')?)),
            b'(' => Ok(Value::List(self.list(b')')?)),
            b'{' => self.map(),
            b'\\' => self.character(),
            b'#' => match self.input.get(self.at + 1) {
                Some(b'{') => {
                    self.at += 1;
                    Ok(Value::set(self.list(b'}')?))
                }
                Some(b'"') => {
                    self.at += 1;
                    Ok(self.string()?.as_ref().into())
                }
                // `##Inf`, `##-Inf`, `##NaN`.
                _ => {
                    self.at += 2;
                    Ok(match self.word()? {
                        "Inf" => f64::INFINITY.into(),
                        "-Inf" => f64::NEG_INFINITY.into(),
                        "NaN" => f64::NAN.into(),
                        other => return wrong(format!("##{other} is no number")),
                    })
                }
            },
            b')' | b']' | b'}' => wrong("a bracket closes that nothing opened here"),
            _ => Ok(scalar(self.word()?)),
        }
    }

    /// Elements up to the closing bracket; stands on the opening one.
    fn list(&mut self, closing: u8) -> Result<Vec<Value>, Trouble> {
        self.at += 1;
        let mut values = Vec::new();
        while self.peek()? != closing {
            values.push(self.value()?);
        }
        self.at += 1;
        Ok(values)
    }

    fn map(&mut self) -> Result<Value, Trouble> {
        self.at += 1;
        let mut map = BTreeMap::new();
        while self.peek()? != b'}' {
            let key = self.value()?;
            self.colon()?;
            map.insert(key, self.value()?);
        }
        self.at += 1;
        Ok(Value::Map(Box::new(map)))
    }

    /// `\a`, `\newline`.
    fn character(&mut self) -> Result<Value, Trouble> {
        self.at += 1;
        let word = self.word()?;
        Ok(match word {
            "newline" => "\n".into(),
            "space" => " ".into(),
            "tab" => "\t".into(),
            "return" => "\r".into(),
            other => other.into(),
        })
    }

    /// A run of bytes up to space or a bracket; at least one byte. No document ends in a word, so one that reaches
    /// the end may have been cut off.
    fn word(&mut self) -> Result<&'a str, Trouble> {
        let rest = &self.input[self.at.min(self.input.len())..];
        let end = rest.iter().position(|byte| is_space(*byte) || is_delimiter(*byte));
        let length = end.ok_or(Trouble::End)?;
        if length == 0 {
            return wrong("expected a word");
        }
        match std::str::from_utf8(&rest[..length]) {
            Ok(word) => {
                self.at += length;
                Ok(word)
            }
            Err(_) => wrong("not UTF-8 text"),
        }
    }

    /// A string; borrowed unless it has escapes. Stands on the opening quote.
    fn string(&mut self) -> Result<Cow<'a, str>, Trouble> {
        let begin = self.at + 1;
        let mut end = begin;
        let mut has_escapes = false;
        loop {
            match self.input.get(end) {
                None => return Err(Trouble::End),
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    end += 2;
                }
                Some(_) => end += 1,
            }
        }
        let Ok(text) = std::str::from_utf8(&self.input[begin..end]) else {
            return wrong("not UTF-8 text");
        };
        let text = if has_escapes { Cow::Owned(unescape(text)?) } else { Cow::Borrowed(text) };
        self.at = end + 1;
        Ok(text)
    }

    fn line_of(&mut self, at: usize) -> u32 {
        let at = at.min(self.input.len());
        if at > self.counted {
            let lines = self.input[self.counted..at].iter().filter(|byte| **byte == b'\n').count();
            self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            self.counted = at;
        }
        self.line
    }
}

fn unescape(text: &str) -> Result<String, Trouble> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    let hex = |chars: &mut std::str::Chars<'_>| {
        let digits = chars.as_str().get(..4)?;
        *chars = chars.as_str()[4..].chars();
        u32::from_str_radix(digits, 16).ok()
    };
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let Some(mut code) = hex(&mut chars) else {
                    return wrong("\\u needs four hexadecimal digits");
                };
                // JSON writes what is beyond the first plane as two halves.
                if (0xd800..0xdc00).contains(&code) && chars.as_str().starts_with("\\u") {
                    chars = chars.as_str()[2..].chars();
                    let Some(low) = hex(&mut chars) else {
                        return wrong("\\u needs four hexadecimal digits");
                    };
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                }
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => return wrong("a string ends in a backslash"),
        }
    }
    Ok(out)
}

/// What a bare word means.
fn scalar(word: &str) -> Value {
    match word {
        "nil" | "null" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    if let Some(keyword) = word.strip_prefix(':') {
        return keyword.into();
    }
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return word.into();
    }
    // `N` and `M` mark numbers of any size and precision.
    let number = word.strip_suffix(['N', 'M']).unwrap_or(word);
    if let Ok(number) = number.parse::<i64>() {
        return Value::Int(number);
    }
    if digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return number.parse::<f64>().map_or_else(|_| word.into(), Value::from);
    }
    number.into()
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn read(text: &str) -> Result<Vec<Event>, String> {
        events("h.edn", text.as_bytes(), false).map_err(|error| error.to_string())
    }

    fn value(text: &str) -> String {
        let events = read(&format!("{{:process 0 :type :ok :f :read :value {text}}}")).unwrap();
        events[0].value_of().unwrap().to_string()
    }

    #[test]
    fn a_vector_a_list_and_bare_maps_are_all_histories() {
        let one = "{:process 3, :type :invoke, :f :write, :value 4 :node \"n1\"}";
        let two = "{:value [1 2]\n :f :cas :type :ok\n:index nil, :time -1, :process 0}";
        for text in [
            format!("; a comment\n[{one}\n{two}]"),
            format!("({one},{two})\n; the end"),
            format!("{one}\n#jepsen.history.Op{two}\n"),
            format!("#_ {{:a 1}} [{one} #_ \"x\" {two}]"),
        ] {
            let events = read(&text).unwrap();
            assert_eq!(events.len(), 2, "{text}");
            assert_eq!(events[0].to_string(), "process 3 invoke write 4");
            assert_eq!(events[0].node_of().unwrap(), &"n1");
            assert_eq!(events[1].to_string(), "process 0 ok cas [1 2]");
            assert_eq!((events[1].index(), events[1].time_ns()), (None, None));
        }
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("\n; nothing\n[]").unwrap(), []);
    }

    #[test]
    fn every_notation_of_a_value_is_read() {
        for (text, shown) in [
            ("nil", "nil"),
            ("-17", "-17"),
            ("12345678901234567890N", "\"12345678901234567890\""),
            ("2.5", "2.5"),
            ("1e3", "1000.0"),
            (":timed-out", "timed-out"),
            ("a.b/c", "a.b/c"),
            ("\"q\\\"\\n\\u00e9\"", "\"q\\\"\\né\""),
            ("#{3 1 2 1}", "[1 2 3]"),
            ("(1 [2 ()])", "[1 [2 []]]"),
            ("{:b 1, \"a\" {2 nil}}", "{a {2 nil}, b 1}"),
            ("#inst \"2026-01-01\"", "\"2026-01-01\""),
            ("#object[clojure.lang.Atom 0x1 {:status :ready}]", "[clojure.lang.Atom \"0x1\" {status ready}]"),
            ("#knossos.model.Register{:value 3}", "{value 3}"),
            ("##Inf", "inf"),
            ("\\a", "a"),
            ("1/2", "\"1/2\""),
        ] {
            assert_eq!(value(text), shown, "{text}");
        }
    }

    #[test]
    fn the_nemesis_is_a_named_process_and_lines_are_known() {
        let events =
            read("[{:type :info\n  :process :nemesis :f :kill}\n\n{:type :info :process 1 :f :read}]")
                .unwrap();
        assert_eq!(events[0].process(), &Process::NEMESIS);
        assert_eq!(events[0].kind(), Kind::Info);
        assert_eq!((events[0].line(), events[1].line()), (1, 4));
    }

    #[test]
    fn a_json_array_is_read_like_a_vector() {
        let text = "[{\"type\":\"invoke\",\"f\":\"add\",\"process\":\"nemesis\",\"value\":{\"a\":[1,null]}},\n\
                    {\"type\":\"ok\",\"f\":\"\\ud83d\\ude00\",\"process\":1,\"value\":-1.5}]";
        let events = events("h.json", text.as_bytes(), true).unwrap();
        assert_eq!(events[0].value_of().unwrap().to_string(), "{a [1 nil]}");
        assert_eq!(events[1].f(), &"😀");
        assert_eq!(events[1].line(), 2);
    }

    #[test]
    fn a_document_that_ends_early_says_where() {
        let whole = "[{:process 0 :type :ok :f :read :value \"a\"}\n{:process 1 :type :ok :f :read}]\n";
        for cut in 1..whole.trim_end().len() {
            let error = read(&whole[..cut]).unwrap_err();
            let line = whole[..cut].trim_end().lines().count();
            assert!(error.starts_with(&format!("h.edn:{line}: the last line is cut off")), "{cut}: {error}");
        }
    }

    #[test]
    fn garbage_is_an_error_with_its_line() {
        for (text, says) in [
            ("\n\n]", "expected an event"),
            ("\n\n{:process 0 :type :okay}", "must be invoke, ok, fail or info"),
            ("\n\n{:process 0 :value ]}", "a bracket closes"),
            ("\n\n{:process 0 1 2}", "expected the name of a field"),
            ("\n\n[] []", "something follows"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("h.edn:3: ") && error.contains(says), "{text}: {error}");
        }
        assert!(events("h", b"{:process 0 :f \xff\xff}", false).is_err());
        assert!(events("h", b"\x00\x01\x02\xff", false).is_err());
    }

    #[test]
    fn hostile_nesting_is_an_error_and_not_a_crash() {
        for open in ["[", "{", "(", "#{", "#a ", "#_ ", "#_[", "{:a "] {
            let text = format!("{{:process 0 :value {}", open.repeat(300_000));
            assert!(read(&text).is_err(), "{open}");
            assert!(read(&open.repeat(300_000)).is_err(), "{open}");
        }
    }
}
