//! A small blocking HTTP/1.1 client that shows exactly what came over the wire.

use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer takes: a test fails rather than hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// As written, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The one header called `name` exactly so.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    pub(crate) fn clock(&self) -> &str {
        self.header("X-Mec-Vclock").unwrap_or_else(|| panic!("no clock in {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("a body of text")
    }

    /// The values in a 200, 300 or 404, sorted.
    pub(crate) fn values(&self) -> Vec<Vec<u8>> {
        let mut values = match self.status {
            200 => vec![self.body.clone()],
            300 => self.parts().into_iter().map(|(_, value)| value).collect(),
            404 => vec![],
            status => panic!("{status}: {}", self.text()),
        };
        values.sort();
        values
    }

    /// The parts of a 300, taken apart as RFC 2046 says: heads and values.
    pub(crate) fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let content_type = self.header("Content-Type").expect("a type");
        let (_, boundary) = content_type.split_once("; boundary=").expect("a boundary");
        let delimiter = format!("--{boundary}");
        let mut rest = self.body.strip_prefix(delimiter.as_bytes()).expect("a first delimiter");
        let mut parts = Vec::new();
        while rest != b"--\r\n" {
            rest = rest.strip_prefix(b"\r\n").expect("a line's end after the delimiter");
            let (part, next) = split(rest, format!("\r\n{delimiter}").as_bytes()).expect("a next delimiter");
            let (head, value) = split(part, b"\r\n\r\n").expect("an empty line after the head");
            parts.push((String::from_utf8(head.to_vec()).expect("text"), value.to_vec()));
            rest = next;
        }
        parts
    }
}

fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

/// Whether this is about nothing but the time that went by.
fn is_out_of_patience(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// One connection that is kept.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one response to a request of `method`.
    pub(crate) fn receive(&mut self, method: &str) -> std::io::Result<Response> {
        let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let mut line = || {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            line.strip_suffix("\r\n").map(str::to_owned).ok_or_else(broken)
        };
        let status_line = line()?;
        let mut words = status_line.splitn(3, ' ');
        assert_eq!(words.next(), Some("HTTP/1.1"));
        let status: u16 = words.next().expect("a status").parse().expect("a number");
        let reason = words.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let line = line()?;
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "", "a header line");
                break;
            };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut response = Response { status, reason, headers, body: vec![] };
        let length = response.header("Content-Length").map_or(0, |length| length.parse().expect("a number"));
        if method != "HEAD" && status != 204 && status >= 200 {
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    /// One request and its response.
    pub(crate) fn try_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Response> {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: godown\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        self.send(&[request.as_bytes(), body].concat())?;
        self.receive(method)
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.try_request(method, target, headers, body)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// Whether the server has hung up, waiting for it to do so or to say something. It has not if it does neither.
    pub(crate) fn is_hung_up(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => !is_out_of_patience(&error),
        }
    }
}
