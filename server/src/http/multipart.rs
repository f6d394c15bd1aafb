//! Several values as one body: the multipart format of RFC 2046.
//!
//! The boundary is derived from the key's clock and checked against every value, so that reading twice gives the same
//! bytes and no value can end its own part.

use memchr::memmem;

/// One part: header lines, each ended by CRLF, and the value.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) head: Vec<u8>,
    pub(super) value: bytes::Bytes,
}

/// A boundary that occurs in no part.
pub(super) fn boundary(seed: u64, parts: &[Part]) -> String {
    let mut seed = seed;
    loop {
        let boundary = format!("godown-{seed:016x}");
        let finder = memmem::Finder::new(&boundary);
        let occurs = |part: &Part| finder.find(&part.value).is_some() || finder.find(&part.head).is_some();
        if !parts.iter().any(occurs) {
            return boundary;
        }
        // The parts are finite, so some number is in none of them.
        seed = seed.wrapping_add(1);
    }
}

/// The whole body.
pub(super) fn encode(boundary: &str, parts: &[Part]) -> Vec<u8> {
    let size = |part: &Part| part.head.len() + part.value.len() + boundary.len() + 8;
    let mut body = Vec::with_capacity(parts.iter().map(size).sum::<usize>() + boundary.len() + 8);
    for part in parts {
        body.extend_from_slice(b"--");
        body.extend_from_slice(boundary.as_bytes());
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(&part.head);
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(&part.value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--");
    body.extend_from_slice(boundary.as_bytes());
    body.extend_from_slice(b"--\r\n");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(value: &str) -> Part {
        Part { head: b"Content-Type: text/plain\r\n".to_vec(), value: value.to_owned().into() }
    }

    #[test]
    fn parts_stand_between_delimiters_and_the_last_one_closes() {
        let body = encode("b", &[part("one"), part("")]);
        let expected = "--b\r\nContent-Type: text/plain\r\n\r\none\r\n\
                        --b\r\nContent-Type: text/plain\r\n\r\n\r\n\
                        --b--\r\n";
        assert_eq!(String::from_utf8(body).expect("text"), expected);
    }

    #[test]
    fn a_boundary_never_occurs_in_a_value_that_foresaw_it() {
        let mut parts = vec![part("harmless")];
        for _ in 0..50 {
            let boundary = boundary(7, &parts);
            assert!(parts.iter().all(|part| memmem::find(&part.value, boundary.as_bytes()).is_none()));
            parts.push(part(&format!("before {boundary} after")));
        }
    }
}
