//! Files of every notation, told apart by what they hold.
//!
//! [`Load`] says how a file is to be read; the default finds out: JSON lines begin with `{"`, a JSON document with
//! `[` and then `{"`, logs with neither a bracket nor a comment, and everything else is EDN. It also turns
//! Jepsen's independent tuples (`[key value]` where a value would be) into keys and values, when every call has one.

use std::path::Path;

use super::{Event, History, Kind, Process, ReadError, Reader, Value, edn, log};

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
        let bytes = std::fs::read(path).map_err(|source| ReadError::Io { file: file.clone(), source })?;
        self.bytes(&file, &bytes)
    }

    /// Reads a history that is already in memory; messages call it `file`.
    ///
    /// # Errors
    /// The first line that is no event.
    pub fn bytes(self, file: &str, bytes: &[u8]) -> Result<History, ReadError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let format = if self.format == Format::Auto { detect(bytes) } else { self.format };
        let events = match format {
            Format::Lines => Reader::new(file, bytes).collect::<Result<Vec<_>, _>>()?,
            Format::Json => edn::events(file, bytes, true)?,
            Format::Edn | Format::Auto => edn::events(file, bytes, false)?,
            Format::Log => log::events(file, bytes)?,
        };
        let mut history = History { source: file.to_owned(), events };
        for (position, event) in (0u64..).zip(&mut history.events) {
            event.index_or(position);
        }
        if match self.independent {
            Independent::Yes => true,
            Independent::No => false,
            Independent::Auto => is_independent(&history.events),
        } {
            history.events.iter_mut().for_each(split_tuple);
        }
        Ok(history)
    }
}

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
fn tuple(value: Option<&Value>) -> Option<(&Value, &Value)> {
    match value?.as_list()? {
        [key, value] if key.as_list().is_none() && !key.is_null() => Some((key, value)),
        _ => None,
    }
}

fn is_independent(events: &[Event]) -> bool {
    let mut has_other_than_cas = false;
    for event in events.iter().filter(|event| event.process().is_client()) {
        if event.key_of().is_some() {
            return false;
        }
        if event.kind() == Kind::Invoke {
            if tuple(event.value_of()).is_none() {
                return false;
            }
            has_other_than_cas |= *event.f() != "cas";
        }
    }
    has_other_than_cas
}

fn split_tuple(event: &mut Event) {
    if let (Process::Client(_), Some((key, value))) = (event.process(), tuple(event.value_of())) {
        let (key, value) = (key.clone(), value.clone());
        event.set_key_value(key, value);
    }
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
        let show = |event: &Event| {
            let or_none = |value: Option<&Value>| value.map_or("-".to_owned(), ToString::to_string);
            format!("{} {}", or_none(event.key_of()), or_none(event.value_of()))
        };
        load.bytes("t", text.as_bytes()).unwrap().events.iter().map(show).collect()
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
