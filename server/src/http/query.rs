//! Paths and queries, taken apart strictly.
//!
//! A key is one path segment and any bytes, so it is decoded from the raw path. A percent sign that escapes nothing,
//! a parameter that is unknown or given twice, and a number that is none are all the client's mistakes, named in the
//! answer: a mistake that is passed over looks like an answer to something else. A plus sign is a plus sign.

use std::collections::BTreeMap;
use std::str::FromStr;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::refusal::Refusal;

/// What is escaped in a key: everything but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A key as it stands in a path, in a query and in a listing.
pub(super) fn escape(key: &[u8]) -> String {
    percent_encode(key, ESCAPED).to_string()
}

/// The bytes that `text` stands for.
pub(super) fn unescape(text: &str) -> Result<Bytes, Refusal> {
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let is_hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte == b'%' && !(is_hex(rest.next()) && is_hex(rest.next())) {
            return Err(Refusal::bad(format!(
                "'{text}' is not percent-encoded: a '%' stands before two hexadecimal digits"
            )));
        }
    }
    Ok(percent_decode_str(text).collect::<Vec<u8>>().into())
}

/// The parameters of a request.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<&'static str, Bytes>);

impl Query {
    /// Takes `query` apart, in which only the parameters `known` may stand.
    pub(super) fn parse(query: Option<&str>, known: &[&'static str]) -> Result<Self, Refusal> {
        let mut parameters = BTreeMap::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(&known) = known.iter().find(|&&known| known == name) else {
                let list = known.join(", ");
                return Err(Refusal::bad(format!("unknown query parameter '{name}': known here are {list}")));
            };
            if parameters.insert(known, unescape(value)?).is_some() {
                return Err(Refusal::bad(format!("the query parameter '{name}' is given twice")));
            }
        }
        Ok(Self(parameters))
    }

    /// The parameter called `name`, as it is.
    pub(super) fn bytes(&self, name: &str) -> Option<Bytes> {
        self.0.get(name).cloned()
    }

    /// The parameter called `name`, a whole number.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        let value = value.escape_ascii();
        number.map(Some).ok_or_else(|| Refusal::bad(format!("{name}={value} is not a number that fits here")))
    }

    /// The parameter called `name`, yes or no.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.0.get(name).map(|value| &value[..]) {
            None => Ok(None),
            Some(b"true") => Ok(Some(true)),
            Some(b"false") => Ok(Some(false)),
            Some(other) => {
                let value = other.escape_ascii();
                Err(Refusal::bad(format!("{name}={value}: it must be true or false")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_escaping() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&all)).expect("escaped"), all);
        assert_eq!(escape(b"a-b_c.d~e"), "a-b_c.d~e");
        assert_eq!(escape(b"a/b c+d"), "a%2Fb%20c%2Bd");
        assert_eq!(unescape("a+b").expect("as it is"), "a+b");
    }

    #[test]
    fn an_escape_of_nothing_is_refused() {
        for bad in ["%", "%4", "%zz", "a%4g", "%%41", "%41%"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_unknown_doubled_or_no_number_is_named() {
        let parse = |query| Query::parse(Some(query), &["timeout", "r", "sloppy"]);
        let reason = |query| parse(query).expect_err("refused").to_string();
        assert!(reason("tiemout=5").contains("'tiemout'"));
        assert!(reason("r=1&r=2").contains("'r' is given twice"));
        let query = parse("timeout=5x&r=300").expect("parses");
        let error = query.number::<u64>("timeout").expect_err("no number").to_string();
        assert!(error.contains("timeout=5x"), "{error}");
        assert!(query.number::<u8>("r").is_err());
        assert_eq!(parse("timeout=250&").expect("parses").number("timeout").expect("a number"), Some(250));
        for bad in ["sloppy", "sloppy=1", "sloppy=True", "sloppy=no"] {
            let error = parse(bad).expect("parses").flag("sloppy").expect_err("neither").to_string();
            assert!(error.contains("true or false"), "{error}");
        }
        assert_eq!(parse("sloppy=false").expect("parses").flag("sloppy").expect("a flag"), Some(false));
        assert_eq!(parse("r=1").expect("parses").flag("sloppy").expect("absent"), None);
        assert_eq!(Query::parse(None, &[]).expect("parses").number::<u8>("r").expect("absent"), None);
    }
}
