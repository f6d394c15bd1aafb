//! Files of every notation, told apart by what they hold.
//!
//! [`Load`] says how a file is to be read; the default finds out: JSON lines begin with `{"`, a JSON document with
//! `[` and then `{"`, logs with neither a bracket nor a comment, and everything else is EDN. It also turns
//! Jepsen's independent tuples (`[key value]` where a value would be) into keys and values, when every call has one.

use std::io::{BufReader, Read};
use std::path::Path;

use super::parse::{self, Dialect};
use super::pool::Atom;
use super::rows::{At, Row, Rows};
use super::{History, Kind, ReadError, log};

/// The notation of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Find out.
    #[default]
    Auto,
    /// One JSON object per line.
    Lines,
    /// One JSON document: an array of objects.
    Json,
    /// Jepsen's `history.edn`.
    Edn,
    /// Jepsen's text log.
    Log,
}

/// Whether values are tuples of a key and a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Independent {
    /// Find out: yes if no event has a key and every call carries a tuple, not all of them cas.
    #[default]
    Auto,
    /// Yes.
    Yes,
    /// No.
    No,
}

/// How to read a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The notation.
    pub format: Format,
    /// Whether values are tuples of a key and a value.
    pub independent: Independent,
}

impl Load {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, or its first line that is no event.
    pub fn path(self, path: impl AsRef<Path>) -> Result<History, ReadError> {
        let path = path.as_ref();
        let file = path.display().to_string();
        let mut input =
            std::fs::File::open(path).map_err(|source| ReadError::Io { file: file.clone(), source })?;
        self.read(&file, &mut input)
    }

    /// Reads a history that is already in memory; messages call it `file`.
    ///
    /// # Errors
    /// The first line that is no event.
    pub fn bytes(self, file: &str, mut bytes: &[u8]) -> Result<History, ReadError> {
        self.read(file, &mut bytes)
    }

    /// Reads a history from an input, which need not be buffered; messages call it `file`. The input is never held as
    /// a whole: the memory is that of the [`History`].
    ///
    /// # Errors
    /// An input that cannot be read, or its first line that is no event.
    pub fn read(self, file: &str, input: &mut dyn Read) -> Result<History, ReadError> {
        let mut head = Vec::new();
        let format = match self.format {
            Format::Auto => {
                let head_bytes = Read::take(&mut *input, HEAD_BYTES).read_to_end(&mut head);
                head_bytes.map_err(|source| ReadError::Io { file: file.to_owned(), source })?;
                detect(&head)
            }
            format => format,
        };
        let mut input = head.as_slice().chain(input);
        let mut rows = Rows::default();
        match format {
            Format::Lines => parse::events(file, &mut input, Dialect::Lines, &mut rows)?,
            Format::Json => parse::events(file, &mut input, Dialect::Json, &mut rows)?,
            Format::Edn | Format::Auto => parse::events(file, &mut input, Dialect::Edn, &mut rows)?,
            Format::Log => log::events(file, &mut BufReader::new(input), &mut rows)?,
        }
        let mut history = History { source: file.to_owned(), rows };
        if match self.independent {
            Independent::Yes => true,
            Independent::No => false,
            Independent::Auto => is_independent(&history),
        } {
            split_tuples(&mut history)?;
        }
        if history.rows.is_full() || u32::try_from(history.rows.rows.len()).is_err() {
            return Err(ReadError::TooLarge { file: file.to_owned() });
        }
        history.rows.rows.shrink_to_fit();
        Ok(history)
    }
}

/// How much of a wrong value is told.
const SHOWN_MAX: usize = 80;
/// How much of an input is looked at to find out its notation.
const HEAD_BYTES: u64 = 64 << 10;

/// The notation of a file, by its first few significant bytes.
fn detect(bytes: &[u8]) -> Format {
    let mut rest = bytes;
    let mut next = || loop {
        rest = rest.trim_ascii_start();
        match rest.split_first()? {
            (b',', after) => rest = after,
            (b';', after) => {
                rest = &after[after.iter().position(|byte| *byte == b'\n').unwrap_or(after.len())..]
            }
            (byte, after) => {
                rest = after;
                return Some(*byte);
            }
        }
    };
    match (next(), next(), next()) {
        (Some(b'{'), Some(b'"'), _) if is_one_object_a_line(bytes) => Format::Lines,
        (Some(b'{'), Some(b'"'), _) | (Some(b'['), Some(b'{'), Some(b'"')) => Format::Json,
        (None | Some(b'{' | b'[' | b'(' | b'#'), _, _) => Format::Edn,
        _ => Format::Log,
    }
}

/// Whether the first line that is not empty closes what it opens; a last line may be cut off.
fn is_one_object_a_line(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => text[..end].trim_ascii_end().ends_with(b"}"),
        None => true,
    }
}

/// A tuple's key is never a list: that would be a transaction's `[[:r x nil] [:w y 1]]`.
fn tuple(rows: &Rows, value: Atom) -> Option<(Atom, Atom)> {
    match rows.pool.as_list(value)? {
        [key, value] if rows.pool.as_list(*key).is_none() && !key.is_null() => Some((*key, *value)),
        _ => None,
    }
}

/// Whether every call carries a tuple, not all of them cas. A set's elements may be pairs themselves; then its reads
/// show collections and no tuples.
fn is_independent(history: &History) -> bool {
    let mut has_other_than_cas = false;
    let mut shows_collection = false;
    for event in history.iter().filter(|event| event.process().is_client()) {
        if event.key() != Atom::ABSENT {
            return false;
        }
        let is_tuple = tuple(&history.rows, event.value()).is_some();
        if event.kind() == Kind::Invoke {
            if !is_tuple {
                return false;
            }
            has_other_than_cas |= event.f() != "cas";
        }
        shows_collection |= event.kind() == Kind::Ok && event.f() == "read" && !is_tuple && event.has_list();
    }
    let is_add = history.words(|word| word == "add");
    let has_add = || history.iter().any(|event| is_add[event.function().number()]);
    has_other_than_cas && !(shows_collection && has_add())
}

/// Makes keys and values of tuples. A completion may lack its value, a call may not.
fn split_tuples(history: &mut History) -> Result<(), ReadError> {
    let is_call = |event: &At<'_>| {
        event.process().is_client() && (event.kind() == Kind::Invoke || !event.value().is_null())
    };
    for position in 0..history.len() as u32 {
        let event = history.at(position);
        if !is_call(&event) {
            continue;
        }
        let Some((key, value)) = tuple(&history.rows, event.value()) else {
            let (line, shown) = (event.line(), history.show(event.value()).to_string());
            let shown: String = shown.chars().take(SHOWN_MAX).collect();
            let reason = format!("expected a tuple [key value] as the others, found {shown}");
            return Err(ReadError::Malformed { file: history.source.clone(), line, reason });
        };
        let row: &mut Row = &mut history.rows.rows[position as usize];
        (row.key, row.value) = (key, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_notation_is_told_by_its_content() {
        for (text, format) in [
            ("{\"type\":\"ok\"}\n", Format::Lines),
            ("\n  {\"type\":\"ok", Format::Lines),
            ("{\n \"type\":\"ok\"}\n", Format::Json),
            ("[{\"type\":\"ok\"}]", Format::Json),
            ("[{:type :ok}]", Format::Edn),
            ("; {\"\n{:type :ok}", Format::Edn),
            ("#jepsen.history.Op{:type :ok}", Format::Edn),
            ("", Format::Edn),
            ("INFO  jepsen.util - 0 :ok :read 1", Format::Log),
            ("0\t:ok\t:read\t1", Format::Log),
        ] {
            assert_eq!(detect(text.as_bytes()), format, "{text}");
        }
    }

    fn keys(text: &str, independent: Independent) -> Vec<String> {
        let load = Load { independent, ..Load::default() };
        let history = load.bytes("t", text.as_bytes()).unwrap();
        let or_none =
            |atom: Atom| atom.present().map_or("-".to_owned(), |atom| history.show(atom).to_string());
        let show = |event: At<'_>| format!("{} {}", or_none(event.key()), or_none(event.value()));
        history.iter().map(show).collect()
    }

    #[test]
    fn a_mixed_up_tuple_is_named_with_its_line() {
        let text =
            "{:process 0 :type :invoke :f :read :value [7 nil]}\n{:process 0 :type :ok :f :read :value 3}";
        let error = Load::default().bytes("t", text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "t:2: expected a tuple [key value] as the others, found 3");
        let pairs = "{:process 0 :type :invoke :f :add :value [7 1]}{:process 0 :type :ok :f :add :value [7 1]}
                     {:process 0 :type :invoke :f :read :value [7 nil]}{:process 0 :type :ok :f :read :value [1 2 3]}";
        assert_eq!(keys(pairs, Independent::Auto)[3], "- [1 2 3]");
    }

    #[test]
    fn tuples_become_keys_only_when_every_call_carries_one() {
        let tuples = "{:process 0 :type :invoke :f :read :value [7 nil]}{:process 0 :type :ok :f :read :value [7 [1 2]]}";
        assert_eq!(keys(tuples, Independent::Auto), ["7 nil", "7 [1 2]"]);
        assert_eq!(keys(tuples, Independent::No), ["- [7 nil]", "- [7 [1 2]]"]);
        let cas = "{:process 0 :type :invoke :f :cas :value [1 2]}";
        assert_eq!(keys(cas, Independent::Auto), ["- [1 2]"]);
        assert_eq!(keys(cas, Independent::Yes), ["1 2"]);
        let mixed = format!("{cas}{{:process 1 :type :invoke :f :read :value nil}}");
        assert_eq!(keys(&mixed, Independent::Auto), ["- [1 2]", "- nil"]);
        let transaction = "{:process 0 :type :invoke :f :txn :value [[:r 1 nil] [:w 2 3]]}";
        assert_eq!(keys(transaction, Independent::Auto), ["- [[r 1 nil] [w 2 3]]"]);
    }
}
