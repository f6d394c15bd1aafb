//! Events from EDN, the notation of Jepsen's `history.edn`, and from JSON.
//!
//! The parser is written for one shape: a vector (or list) of maps, or maps one after another, each an event. JSON
//! differs only in that a `:` follows each key and that bare words are few, so the same code reads it, whether it is a
//! document or one object a line. Tags are skipped and their value kept, discarded forms are dropped, a set becomes a
//! sorted list. The input passes through a buffer that holds a little more than one event, and what an event says goes
//! straight into the history's rows, so the memory is that of the rows. An event that the buffer cuts off is begun
//! again when more has been read. Nesting and the size of one event are limited, so hostile input ends in an error.

use std::borrow::Cow;
use std::io::Read;

use super::event::Kind;
use super::pool::{Atom, Pool};
use super::rows::{Draft, Rows, Word};
use super::writer::ReadError;

/// How deep values may nest.
const DEPTH_MAX: u32 = 100;
/// How large the buffer is at first.
const BUFFER_BYTES: usize = 128 << 10;
/// How large one event may be.
const EVENT_BYTES_MAX: usize = 1 << 30;

/// Which notation, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// EDN; an event may leave its process out.
    Edn,
    /// JSON; an event may leave its process out.
    Json,
    /// JSON as our own recorders write it.
    Lines,
}

/// Reads every event of an input into `rows`; messages call it `file`.
///
/// # Errors
/// The first thing that is wrong, with its line; an input that ends too early is [`ReadError::Truncated`].
pub(super) fn events(
    file: &str,
    input: &mut dyn Read,
    dialect: Dialect,
    rows: &mut Rows,
) -> Result<(), ReadError> {
    let mut source = Source::new(file, input);
    let mut state = State::Start;
    loop {
        let mut parser = Parser::new(source.rest(), dialect, rows);
        let step = parser.step(state);
        let at = parser.at;
        match step {
            Ok((next, event)) => {
                if let Some(event) = event {
                    let line = source.line_of(event.begin);
                    rows.push(event.draft, event.process, event.kind, line);
                }
                source.consume(at);
                state = next;
            }
            Err(Trouble::End) if !source.is_at_end => source.refill()?,
            Err(Trouble::End) => {
                let rest = Parser::new(source.rest(), dialect, rows).peek();
                return match (rest, state) {
                    (Err(Trouble::End), State::Start | State::Events(None) | State::After) => Ok(()),
                    _ => Err(source.truncated()),
                };
            }
            Err(Trouble::Wrong(reason)) => return Err(source.malformed(at, &reason)),
        }
    }
}

/// Reads one or two values from a piece of text, as a log line ends with: the value, and perhaps an error.
pub(super) fn values(text: &str, rows: &mut Rows) -> Result<Vec<Atom>, String> {
    let mut parser = Parser::new(text.as_bytes(), Dialect::Edn, rows);
    parser.is_whole = true;
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

/// The part of the input that is being looked at, and where in the whole it is.
struct Source<'r> {
    file: &'r str,
    input: &'r mut dyn Read,
    buffer: Vec<u8>,
    /// What has been used, and what has been read, of the buffer.
    used: usize,
    filled: usize,
    is_at_end: bool,
    /// How much of the input came before the buffer.
    offset: u64,
    /// The line of the first unused byte, from 1, and where that line begins in the input.
    line: u32,
    line_begin: u64,
}

impl<'r> Source<'r> {
    fn new(file: &'r str, input: &'r mut dyn Read) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Source {
            file,
            input,
            buffer,
            used: 0,
            filled: 0,
            is_at_end: false,
            offset: 0,
            line: 1,
            line_begin: 0,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.used..self.filled]
    }

    /// Reads more behind what is left.
    fn refill(&mut self) -> Result<(), ReadError> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.offset += self.used as u64;
        self.filled -= self.used;
        self.used = 0;
        if self.filled == self.buffer.len() {
            if self.filled >= EVENT_BYTES_MAX {
                let reason = format!("one event is larger than {} MiB", EVENT_BYTES_MAX >> 20);
                return Err(self.malformed(0, &reason));
            }
            self.buffer.resize(2 * self.filled, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Ok(count) => {
                    self.filled += count;
                    self.is_at_end = count == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Io { file: self.file.to_owned(), source }),
            }
        }
    }

    /// The line of a byte of the rest.
    fn line_of(&self, at: usize) -> u32 {
        let lines = memchr::memchr_iter(b'\n', &self.rest()[..at.min(self.rest().len())]).count();
        self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX))
    }

    /// Goes on behind the first `count` bytes of the rest.
    fn consume(&mut self, count: usize) {
        let used = &self.rest()[..count];
        if let Some(last) = memchr::memrchr(b'\n', used) {
            self.line = self.line_of(count);
            self.line_begin = self.offset + (self.used + last + 1) as u64;
        }
        self.used += count;
    }

    fn malformed(&self, at: usize, reason: &str) -> ReadError {
        let before = &self.rest()[..at.min(self.rest().len())];
        let begin = match memchr::memrchr(b'\n', before) {
            Some(last) => self.offset + (self.used + last + 1) as u64,
            None => self.line_begin,
        };
        let column = self.offset + (self.used + before.len()) as u64 - begin + 1;
        let reason = format!("column {column}: {reason}");
        ReadError::Malformed { file: self.file.to_owned(), line: self.line_of(at), reason }
    }

    fn truncated(&self) -> ReadError {
        // Trailing space would put the end on a line of its own.
        let line = self.line_of(self.rest().trim_ascii_end().len());
        ReadError::Truncated { file: self.file.to_owned(), line }
    }
}

enum Trouble {
    End,
    Wrong(String),
}

fn wrong<T>(reason: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Wrong(reason.into()))
}

/// How far a document has been read.
#[derive(Clone, Copy)]
enum State {
    Start,
    /// Among the events; the bracket that ends them, if one began them.
    Events(Option<u8>),
    After,
}

/// An event, and where it begins.
struct Found {
    draft: Draft,
    process: u32,
    kind: Kind,
    begin: usize,
}

struct Parser<'a, 'h> {
    input: &'a [u8],
    at: usize,
    dialect: Dialect,
    /// How many values are open; discarded forms count too, since they nest as well.
    depth: u32,
    /// Whether a word that reaches the end of the input is a whole one.
    is_whole: bool,
    rows: &'h mut Rows,
}

/// What ends a word: 1 for space, 2 for the rest.
const ENDS: [u8; 256] = {
    let mut ends = [0; 256];
    let spaces = b" \t\n\r\x0b\x0c,";
    let delimiters = b"()[]{}\";";
    let mut i = 0;
    while i < spaces.len() {
        ends[spaces[i] as usize] = 1;
        i += 1;
    }
    i = 0;
    while i < delimiters.len() {
        ends[delimiters[i] as usize] = 2;
        i += 1;
    }
    ends
};

impl<'a, 'h> Parser<'a, 'h> {
    fn new(input: &'a [u8], dialect: Dialect, rows: &'h mut Rows) -> Self {
        Parser { input, at: 0, dialect, depth: 0, is_whole: false, rows }
    }

    fn is_json(&self) -> bool {
        self.dialect != Dialect::Edn
    }

    /// One step through a document: its beginning, an event, or its end.
    fn step(&mut self, state: State) -> Result<(State, Option<Found>), Trouble> {
        match state {
            State::Start => {
                if self.input.starts_with(b"\xef\xbb\xbf") {
                    self.at = 3;
                }
                let before_tag = self.at;
                self.skip_tag()?;
                let closing = match self.peek()? {
                    _ if self.dialect == Dialect::Lines => None,
                    b'[' => Some(b']'),
                    b'(' => Some(b')'),
                    _ => None,
                };
                // A tag before a map belongs to that event.
                self.at = if closing.is_some() { self.at + 1 } else { before_tag };
                Ok((State::Events(closing), None))
            }
            State::Events(Some(closing)) if self.peek()? == closing => {
                self.at += 1;
                Ok((State::After, None))
            }
            State::Events(_) => {
                let event = self.event()?;
                Ok((state, Some(event)))
            }
            State::After => {
                self.peek()?;
                wrong("the history has ended, but something follows it")
            }
        }
    }

    fn event(&mut self) -> Result<Found, Trouble> {
        self.skip_tag()?;
        if self.peek()? != b'{' {
            return wrong(if self.is_json() {
                "expected an event, such as {\"type\":\"invoke\",\"process\":0,\"f\":\"read\"}"
            } else {
                "expected an event: a map such as {:process 0, :type :invoke, :f :read}"
            });
        }
        let begin = self.at;
        self.at += 1;
        let mut draft = Draft::default();
        while self.peek()? != b'}' {
            let name = self.field_name()?;
            self.field(&name, &mut draft)?;
        }
        self.at += 1;
        let missing = |name: &str| Trouble::Wrong(format!("an event needs \"{name}\""));
        let process = match draft.process {
            Some(process) => process,
            None if self.dialect == Dialect::Lines => return Err(missing("process")),
            None => self.rows.client(0),
        };
        let kind = draft.kind.ok_or_else(|| missing("type"))?;
        Ok(Found { draft, process, kind, begin })
    }

    /// The value of a field of an event; stands before it.
    fn field(&mut self, name: &[u8], draft: &mut Draft) -> Result<(), Trouble> {
        self.peek()?;
        let begin = self.at;
        let outcome = match name {
            b"index" => {
                draft.index = self.unsigned()?;
                Ok(())
            }
            b"time" => {
                draft.time_ns = self.unsigned()?;
                Ok(())
            }
            b"type" => self.kind()?.map(|kind| draft.kind = Some(kind)),
            b"process" => self.process()?.map(|process| draft.process = Some(process)),
            b"f" => self.word_field("f")?.map(|word| draft.f = word),
            b"node" => self.word_field("node")?.map(|word| draft.node = word),
            b"phase" => self.word_field("phase")?.map(|word| draft.phase = word),
            b"key" => {
                draft.key = Some(self.value()?);
                Ok(())
            }
            b"value" => {
                draft.value = Some(self.value()?);
                Ok(())
            }
            b"error" => {
                draft.error = Some(self.value()?);
                Ok(())
            }
            b"seen" => match self.value()? {
                Atom::NULL => Ok(()),
                seen if self.rows.pool.as_list(seen).is_some() => {
                    draft.seen = Some(seen);
                    Ok(())
                }
                other => {
                    let shown = self.rows.pool.decode(other);
                    Err(format!("\"seen\" must be a list of values, not {shown}"))
                }
            },
            _ => {
                let value = self.value()?;
                let name = text(name)?;
                draft.extra.push((self.rows.pool.text(name), value));
                Ok(())
            }
        };
        outcome.or_else(|reason| {
            self.at = begin;
            wrong(reason)
        })
    }

    /// A number that is not negative; old recorders write `nil` or -1 for one that they do not know.
    fn unsigned(&mut self) -> Result<Option<u64>, Trouble> {
        if let Some(number) = self.integer()? {
            return Ok(u64::try_from(number).ok());
        }
        let other = self.value()?;
        Ok(self.rows.pool.as_int(other).and_then(|number| u64::try_from(number).ok()))
    }

    fn kind(&mut self) -> Result<Result<Kind, String>, Trouble> {
        let shown = match self.name()? {
            Some(name) => match &*name {
                b"invoke" => return Ok(Ok(Kind::Invoke)),
                b"ok" => return Ok(Ok(Kind::Ok)),
                b"fail" => return Ok(Ok(Kind::Fail)),
                b"info" => return Ok(Ok(Kind::Info)),
                other => text(other)?.to_owned(),
            },
            None => {
                let other = self.value()?;
                self.rows.pool.decode(other).to_string()
            }
        };
        Ok(Err(format!("\"type\" must be invoke, ok, fail or info, not {shown}")))
    }

    fn process(&mut self) -> Result<Result<u32, String>, Trouble> {
        if let Some(number) = self.integer()? {
            return Ok(Ok(match u64::try_from(number) {
                Ok(client) => self.rows.client(client),
                Err(_) => self.rows.actor(&number.to_string()),
            }));
        }
        if let Some(name) = self.name()? {
            return Ok(Ok(self.rows.actor(text(&name)?)));
        }
        let other = self.value()?;
        let shown = self.rows.pool.decode(other);
        Ok(Err(format!("\"process\" must be a number or a name, not {shown}")))
    }

    fn word_field(&mut self, field: &str) -> Result<Result<Word, String>, Trouble> {
        if let Some(name) = self.name()? {
            return Ok(Ok(match self.rows.known_word(&name) {
                Some(word) => word,
                None => self.rows.word(text(&name)?),
            }));
        }
        let value = self.value()?;
        let pool = &self.rows.pool;
        let text = match (pool.as_text(value), pool.as_int(value)) {
            (Some(text), _) => text.to_owned(),
            (_, Some(number)) => number.to_string(),
            _ if value == Atom::NULL => String::new(),
            _ => return Ok(Err(format!("\"{field}\" must be a word, not {}", pool.decode(value)))),
        };
        Ok(Ok(self.rows.word(&text)))
    }

    /// A keyword without its colon or a string, if one stands here.
    fn name(&mut self) -> Result<Option<Cow<'a, [u8]>>, Trouble> {
        match self.peek()? {
            b'"' => self.string().map(Some),
            b':' if !self.is_json() => Ok(Some(Cow::Borrowed(&self.word()?[1..]))),
            _ => Ok(None),
        }
    }

    /// A key of an event: a keyword, or a string and, in JSON, its colon.
    fn field_name(&mut self) -> Result<Cow<'a, [u8]>, Trouble> {
        match self.name()? {
            Some(name) => {
                self.colon()?;
                Ok(name)
            }
            None => wrong("expected the name of a field"),
        }
    }

    /// In JSON, the colon after a key.
    fn colon(&mut self) -> Result<(), Trouble> {
        if self.is_json() {
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
                Some(byte) if ENDS[*byte as usize] == 1 => self.at += 1,
                Some(b';') if !self.is_json() => {
                    let rest = &self.input[self.at..];
                    self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                }
                Some(b'#') if !self.is_json() && self.input.get(self.at + 1) == Some(&b'_') => {
                    self.at += 2;
                    self.value()?;
                }
                Some(byte) => return Ok(*byte),
            }
        }
    }

    /// Skips any tags before a form: `#jepsen.history.Op`, `#inst`, `#object`, `#:ns`.
    fn skip_tag(&mut self) -> Result<(), Trouble> {
        while self.peek()? == b'#' && !self.is_json() {
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

    fn value(&mut self) -> Result<Atom, Trouble> {
        // Even looking for a number can meet discarded forms, which nest.
        if self.depth == DEPTH_MAX {
            return wrong(format!("values nest deeper than {DEPTH_MAX} levels"));
        }
        self.depth += 1;
        let value = match self.integer() {
            Ok(Some(number)) => Ok(self.rows.pool.int(number)),
            Ok(None) => self.form(),
            Err(trouble) => Err(trouble),
        };
        self.depth -= 1;
        value
    }

    /// A whole number of up to 18 digits, if one stands here; what is longer or no number is left alone.
    fn integer(&mut self) -> Result<Option<i64>, Trouble> {
        let first = self.peek()?;
        let is_negative = first == b'-';
        let begin = self.at + usize::from(is_negative);
        let mut at = begin;
        let mut number = 0_i64;
        while let Some(byte) = self.input.get(at)
            && byte.is_ascii_digit()
            && at - begin < 18
        {
            number = 10 * number + i64::from(byte - b'0');
            at += 1;
        }
        // A number that reaches the end may have been cut off.
        let ends = self.input.get(at).map_or(self.is_whole, |byte| ENDS[*byte as usize] != 0);
        if at == begin || !ends {
            return Ok(None);
        }
        self.at = at;
        Ok(Some(if is_negative { -number } else { number }))
    }

    fn form(&mut self) -> Result<Atom, Trouble> {
        self.skip_tag()?;
        match self.peek()? {
            b'"' => {
                let string = self.string()?;
                Ok(self.rows.pool.text(text(&string)?))
            }
            b'[' => {
                let items = self.list(b']')?;
                Ok(self.rows.pool.list(&items))
            }
            b'{' => self.map(),
            b'(' if !self.is_json() => {
                let items = self.list(b')')?;
                Ok(self.rows.pool.list(&items))
            }
            b'\\' if !self.is_json() => self.character(),
            b'#' if !self.is_json() => match self.input.get(self.at + 1) {
                Some(b'{') => {
                    self.at += 1;
                    let mut items = self.list(b'}')?;
                    Ok(self.rows.pool.set(&mut items))
                }
                // A regular expression.
                Some(b'"') => {
                    self.at += 1;
                    let string = self.string()?;
                    Ok(self.rows.pool.text(text(&string)?))
                }
                // `##Inf`, `##-Inf`, `##NaN`.
                Some(_) => {
                    self.at += 2;
                    let number = match text(self.word()?)? {
                        "Inf" => f64::INFINITY,
                        "-Inf" => f64::NEG_INFINITY,
                        "NaN" => f64::NAN,
                        other => return wrong(format!("##{other} is no number")),
                    };
                    Ok(self.rows.pool.float(number))
                }
                None => Err(Trouble::End),
            },
            b'(' | b')' | b']' | b'}' => wrong("a bracket stands here that nothing asks for"),
            _ => {
                let begin = self.at;
                let word = text(self.word()?)?;
                self.scalar(word).ok_or_else(|| {
                    self.at = begin;
                    Trouble::Wrong(format!("expected a value, found {word:?}"))
                })
            }
        }
    }

    /// Elements up to the closing bracket; stands on the opening one.
    fn list(&mut self, closing: u8) -> Result<Vec<Atom>, Trouble> {
        self.at += 1;
        let mut values = Vec::new();
        while self.peek()? != closing {
            values.push(self.value()?);
        }
        self.at += 1;
        Ok(values)
    }

    fn map(&mut self) -> Result<Atom, Trouble> {
        self.at += 1;
        let mut pairs = Vec::new();
        while self.peek()? != b'}' {
            let key = self.value()?;
            self.colon()?;
            pairs.push((key, self.value()?));
        }
        self.at += 1;
        Ok(self.rows.pool.map(&mut pairs))
    }

    /// `\a`, `\newline`.
    fn character(&mut self) -> Result<Atom, Trouble> {
        self.at += 1;
        let character = match text(self.word()?)? {
            "newline" => "\n",
            "space" => " ",
            "tab" => "\t",
            "return" => "\r",
            other => other,
        };
        Ok(self.rows.pool.text(character))
    }

    /// A run of bytes up to space or a bracket; at least one byte. No document ends in a word, so there one that
    /// reaches the end may have been cut off.
    fn word(&mut self) -> Result<&'a [u8], Trouble> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let length = match rest.iter().position(|byte| ENDS[*byte as usize] != 0) {
            Some(length) => length,
            None if self.is_whole => rest.len(),
            None => return Err(Trouble::End),
        };
        if length == 0 {
            return wrong("expected a word");
        }
        self.at += length;
        Ok(&rest[..length])
    }

    /// A string; borrowed unless it has escapes. Stands on the opening quote.
    fn string(&mut self) -> Result<Cow<'a, [u8]>, Trouble> {
        let begin = self.at + 1;
        let mut end = begin;
        let mut has_escapes = false;
        loop {
            let rest = self.input.get(end..).unwrap_or_default();
            let Some(length) = memchr::memchr2(b'"', b'\\', rest) else {
                // The next line's first quote would be taken for the end.
                return self.is_broken(begin).map_or(Err(Trouble::End), wrong);
            };
            end += length;
            if self.input[end] == b'"' {
                break;
            }
            has_escapes = true;
            end += 2;
        }
        let bytes = &self.input[begin..end];
        if self.is_json() && memchr::memchr(b'\n', bytes).is_some() {
            return wrong("a line ends within a string");
        }
        let string = match has_escapes {
            true => Cow::Owned(unescape(text(bytes)?)?.into_bytes()),
            false => Cow::Borrowed(bytes),
        };
        self.at = end + 1;
        Ok(string)
    }

    /// Why a string that has no end yet will never have one: in JSON no line ends within a string.
    fn is_broken(&self, begin: usize) -> Option<&'static str> {
        let rest = self.input.get(begin..).unwrap_or_default();
        let line_end = memchr::memchr(b'\n', rest)?;
        (self.is_json() && !rest[line_end..].trim_ascii().is_empty()).then_some("a line ends within a string")
    }

    /// What a bare word means; in JSON only a few mean anything.
    fn scalar(&mut self, word: &str) -> Option<Atom> {
        let pool = &mut self.rows.pool;
        match (word, self.dialect) {
            ("true", _) => return Some(Pool::bool(true)),
            ("false", _) => return Some(Pool::bool(false)),
            ("null", _) | ("nil", Dialect::Edn) => return Some(Atom::NULL),
            _ => {}
        }
        let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            let keyword = word.strip_prefix(':').unwrap_or(word);
            return (self.dialect == Dialect::Edn).then(|| pool.text(keyword));
        }
        // `N` and `M` mark numbers of any size and precision.
        let number = word.strip_suffix(['N', 'M']).unwrap_or(word);
        if let Ok(number) = number.parse::<i64>() {
            return Some(pool.int(number));
        }
        if digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return Some(match number.parse::<f64>() {
                Ok(number) => pool.float(number),
                Err(_) => pool.text(word),
            });
        }
        Some(pool.text(number))
    }
}

/// The text that bytes are.
fn text(bytes: &[u8]) -> Result<&str, Trouble> {
    std::str::from_utf8(bytes).map_err(|_| Trouble::Wrong("not UTF-8 text".to_owned()))
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

#[cfg(test)]
mod tests {
    use super::super::{Format, History, Load, Process};
    use super::*;

    fn read_as(format: Format, text: &[u8]) -> Result<History, String> {
        let name = if format == Format::Edn { "h.edn" } else { "h.json" };
        Load { format, ..Load::default() }.bytes(name, text).map_err(|error| error.to_string())
    }

    fn read(text: &str) -> Result<History, String> {
        read_as(Format::Edn, text.as_bytes())
    }

    fn value(text: &str) -> String {
        let history = read(&format!("{{:process 0 :type :ok :f :read :value {text}}}")).unwrap();
        history.show(history.at(0).value()).to_string()
    }

    /// Gives one byte at a time, so that every event is cut off many times.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(1);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
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
            let dripped = Load::default().read("h.edn", &mut Drip(text.as_bytes())).unwrap();
            for history in [read(&text).unwrap(), dripped] {
                let (first, second) = (history.at(0), history.at(1));
                assert_eq!(history.len(), 2, "{text}");
                assert_eq!(first.to_string(), "process 3 invoke write 4");
                assert_eq!(first.node(), Some("n1"));
                assert_eq!(second.to_string(), "process 0 ok cas [1 2]");
                assert_eq!((second.index(), second.time_ns()), (1, None));
            }
        }
        assert!(read("").unwrap().is_empty());
        assert!(read("\n; nothing\n[]").unwrap().is_empty());
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
        let text = "[{:type :info\n  :process :nemesis :f :kill}\n\n{:type :info :process 1 :f :read}]";
        let history = read(text).unwrap();
        assert_eq!(history.at(0).process(), &Process::NEMESIS);
        assert_eq!(history.at(0).kind(), Kind::Info);
        assert_eq!((history.at(0).line(), history.at(1).line()), (1, 4));
    }

    #[test]
    fn a_json_array_is_read_like_a_vector() {
        let text = "[{\"type\":\"invoke\",\"f\":\"add\",\"process\":\"nemesis\",\"value\":{\"a\":[1,null]}},\n\
                    {\"type\":\"ok\",\"f\":\"\\ud83d\\ude00\",\"process\":1,\"value\":-1.5}]";
        let history = read_as(Format::Json, text.as_bytes()).unwrap();
        assert_eq!(history.show(history.at(0).value()).to_string(), "{a [1 nil]}");
        assert_eq!(history.at(1).f(), "😀");
        assert_eq!(history.at(1).line(), 2);
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
            ("\n\n{:process 0 :value ]}", "column 20: a bracket stands here"),
            ("\n\n{:process 0 1 2}", "expected the name of a field"),
            ("\n\n[] []", "something follows"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("h.edn:3: ") && error.contains(says), "{text}: {error}");
        }
        assert!(read_as(Format::Edn, b"{:process 0 :f \xff\xff}").is_err());
        assert!(read_as(Format::Edn, b"\x00\x01\x02\xff").is_err());
    }

    #[test]
    fn what_is_no_json_is_an_error_with_its_line_and_column() {
        for (text, says) in [
            ("[]", "1: expected an event"),
            ("{\"process\":0,\"f\":\"read\"}", "needs \"type\""),
            ("{\"type\":\"ok\",\"f\":\"read\"}", "needs \"process\""),
            ("{\"type\":\"okay\",\"process\":0}", "9: \"type\" must be invoke, ok, fail or info, not okay"),
            ("{\"type\":\"ok\",\"process\":[]}", "24: \"process\" must be a number or a name"),
            ("{\"type\":\"ok\",\"process\":0,\"seen\":3}", "33: \"seen\" must be a list"),
            ("{\"type\":\"ok\",\"process\":0,\"value\":nil}", "34: expected a value, found \"nil\""),
            ("{\"type\" \"ok\"}", "9: expected \":\""),
            ("{\"type\":\"ok\",\"pro", "a line ends within a string"),
            ("\u{1}\u{2}", "expected an event"),
        ] {
            let text = format!("\n{text}\n{{\"type\":\"ok\",\"process\":0}}\n");
            let error = read_as(Format::Lines, text.as_bytes()).unwrap_err();
            assert!(error.starts_with("h.json:2: column ") && error.contains(says), "{text}: {error}");
        }
        assert!(read_as(Format::Lines, b"\xff\xfe\n").is_err());
    }

    #[test]
    fn an_event_larger_than_the_buffer_is_read_whole() {
        let numbers: Vec<String> = (0..200_000).map(|number: i64| (number * 1_000_003).to_string()).collect();
        let list = numbers.join(" ");
        let text = format!("{{:process 0 :type :ok :f :read :value [{list}]}}\n{{:process 0 :type :oh}}");
        assert!(text.len() > 4 * BUFFER_BYTES);
        let error = read(&text).unwrap_err();
        assert!(error.starts_with("h.edn:2: column 19: \"type\" must be"), "{error}");
        let history = read(text.lines().next().unwrap()).unwrap();
        assert_eq!(history.list(history.at(0).value()).unwrap().len(), 200_000);
    }

    #[test]
    fn numbers_beyond_64_bits_stay_exact() {
        let text = b"{\"type\":\"ok\",\"process\":0,\"value\":18446744073709551615}";
        let history = read_as(Format::Lines, text).unwrap();
        assert_eq!(history.text(history.at(0).value()), Some("18446744073709551615"));
        assert_eq!(value("-9223372036854775808"), "-9223372036854775808");
        assert_eq!(value("999999999999999999"), "999999999999999999");
    }

    #[test]
    fn hostile_nesting_is_an_error_and_not_a_crash() {
        for open in ["[", "{", "(", "#{", "#a ", "#_ ", "#_[", "{:a "] {
            let text = format!("{{:process 0 :value {}", open.repeat(300_000));
            assert!(read(&text).is_err(), "{open}");
            assert!(read_as(Format::Json, text.as_bytes()).is_err(), "{open}");
            assert!(read(&open.repeat(300_000)).is_err(), "{open}");
        }
    }
}
