//! Several values in one answer: the body of `300 Multiple Choices` (RFC 2046, section 5.1).
//!
//! Only what the face promises is accepted: a boundary in the content type, at least one part, each part's headers
//! ended by an empty line, and the closing delimiter. A body cut off in the middle is malformed, never shorter:
//! a sibling that a client does not see is one that it would silently overwrite.

use super::http::Malformed;

/// The values of the parts of `body`, in order.
///
/// # Errors
/// [`Malformed::Multipart`] if the parts cannot be told apart.
pub(crate) fn values<'b>(content_type: &str, body: &'b [u8]) -> Result<Vec<&'b [u8]>, Malformed> {
    let delimiter = format!("--{}", boundary(content_type).ok_or(Malformed::Multipart)?);
    let between = format!("\r\n{delimiter}");
    // What comes before the first delimiter is a preamble and means nothing.
    let mut rest = if body.starts_with(delimiter.as_bytes()) {
        &body[delimiter.len()..]
    } else {
        split(body, between.as_bytes()).ok_or(Malformed::Multipart)?.1
    };
    let mut values = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n").ok_or(Malformed::Multipart)?;
        let (part, after) = split(part, between.as_bytes()).ok_or(Malformed::Multipart)?;
        let value = match part.strip_prefix(b"\r\n") {
            Some(value) => value,
            None => split(part, b"\r\n\r\n").ok_or(Malformed::Multipart)?.1,
        };
        values.push(value);
        rest = after;
    }
    if values.is_empty() {
        return Err(Malformed::Multipart);
    }
    Ok(values)
}

fn boundary(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then_some(value)
    })
}

/// What stands before and after the first `mark`.
fn split<'b>(bytes: &'b [u8], mark: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "mime/multipart; boundary=xyz";

    #[test]
    fn every_part_is_a_value() {
        let body =
            b"--xyz\r\nContent-Type: text/plain\r\nX: y\r\n\r\na\r\nb\r\n--xyz\r\n\r\n\r\n--xyz\r\nA: b\r\n\r\n-\r\n--xyz--\r\n";
        let expected: Vec<&[u8]> = vec![b"a\r\nb", b"", b"-"];
        assert_eq!(values(TYPE, body).unwrap(), expected);
        let preamble = [b"ignored\r\n", &body[..]].concat();
        assert_eq!(values("multipart/mixed; charset=a; Boundary=\"xyz\"", &preamble).unwrap(), expected);
    }

    #[test]
    fn a_body_cut_off_anywhere_is_malformed_never_shorter() {
        let body = b"--xyz\r\nA: b\r\n\r\none\r\n--xyz\r\nA: b\r\n\r\ntwo\r\n--xyz--";
        assert_eq!(values(TYPE, body).unwrap().len(), 2);
        for end in 0..body.len() {
            assert_eq!(values(TYPE, &body[..end]), Err(Malformed::Multipart), "after {end} bytes");
        }
    }

    #[test]
    fn without_boundary_or_parts_there_are_no_values() {
        assert_eq!(values("mime/multipart", b"--\r\n\r\nx\r\n----"), Err(Malformed::Multipart));
        assert_eq!(values("mime/multipart; boundary=", b""), Err(Malformed::Multipart));
        assert_eq!(values(TYPE, b"--xyz--"), Err(Malformed::Multipart));
    }
}
