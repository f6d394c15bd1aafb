//! A small HTTP/1.1 client: one connection, one call at a time, kept alive.
//!
//! A general client costs more processor time per call than a server under test spends on answering it, and on
//! a shared machine that shows up as the server's latency. So this one writes a request from one buffer, reads
//! the answer into another, and looks at four headers. What it receives is bounded and never trusted: an answer
//! that makes no sense is an error of its own. An error says whether anything was sent, because that decides
//! whether the call may have happened. After any error the connection is thrown away: the next answer on it might
//! belong to the call that failed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// The most bytes of status line and headers that are accepted.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most bytes of a body that are accepted.
const BODY_BYTES_MAX: usize = 64 << 20;
/// How much is read at once.
const READ_BYTES: usize = 16 << 10;

/// What to do to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Read it.
    Get,
    /// Store it.
    Put,
    /// Delete it.
    Delete,
    /// Have it done.
    Post,
}

impl Method {
    fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Post => "POST",
        }
    }
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// What to do.
    pub(crate) method: Method,
    /// Path and query, already percent-encoded.
    pub(crate) path: &'a str,
    /// Headers beside `Host` and `Content-Length`.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// The body, empty for none.
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads a path, without headers.
    pub(crate) fn get(path: &'a str) -> Self {
        Request { method: Method::Get, path, headers: &[], body: &[] }
    }

    fn write(&self, host: &str, buffer: &mut Vec<u8>) {
        buffer.clear();
        let mut text = |part: &str| buffer.extend_from_slice(part.as_bytes());
        text(self.method.as_str());
        text(" ");
        text(self.path);
        text(" HTTP/1.1\r\nHost: ");
        text(host);
        for (name, value) in self.headers {
            text("\r\n");
            text(name);
            text(": ");
            text(value);
        }
        if matches!(self.method, Method::Put | Method::Post) || !self.body.is_empty() {
            text("\r\nContent-Length: ");
            text(&self.body.len().to_string());
        }
        text("\r\n\r\n");
        buffer.extend_from_slice(self.body);
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    headers: String,
    /// The whole body.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The first header of this name, in whichever case it was sent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body for a message: as text, at most 200 characters of it, on one line.
    pub(crate) fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.chars().take(200).collect()
    }
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No connection came about, so the call certainly did not happen.
    #[error("could not connect: {0}")]
    NotSent(String),
    /// The connection broke after the request was on its way: the call may have happened.
    #[error("connection lost: {0}")]
    Lost(io::Error),
    /// No whole answer in time: the call may have happened, or may still happen.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// The answer is not HTTP as this client understands it: the call may have happened.
    #[error("an answer that makes no sense: {0}")]
    Malformed(#[from] Malformed),
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The first line does not say a version and a status.
    #[error("no status line")]
    Status,
    /// The headers do not end within the bound, or are no text.
    #[error("headers that are no text or go on beyond {HEAD_BYTES_MAX} bytes")]
    Head,
    /// Neither a length nor chunks, or a length that is no number.
    #[error("no way to tell where the body ends")]
    Length,
    /// More than the bound.
    #[error("a body of more than {BODY_BYTES_MAX} bytes")]
    TooLong,
    /// A chunk without a readable size or without its end.
    #[error("a broken chunk")]
    Chunk,
    /// Several values whose parts cannot be told apart.
    #[error("a multipart body without boundary, part or end")]
    Multipart,
}

/// A client of one server. It connects when it must and keeps the connection while calls succeed.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    timeout: Duration,
    connection: Option<Connection>,
}

impl Client {
    /// A client that gives up on a call after `timeout`, connecting included.
    pub(crate) fn new(address: SocketAddr, timeout: Duration) -> Self {
        Client { address, timeout, connection: None }
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// Why there is none; see [`CallError`] for what may be concluded from it.
    pub(crate) async fn call(&mut self, request: &Request<'_>) -> Result<Response, CallError> {
        let deadline = Instant::now() + self.timeout;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match timeout_at(deadline, Connection::open(self.address)).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => return Err(CallError::NotSent(error.to_string())),
                Err(_) => return Err(CallError::NotSent("no connection in time".to_owned())),
            },
        };
        match timeout_at(deadline, connection.call(request)).await {
            Err(_) => Err(CallError::Late(self.timeout)),
            Ok(Err(error)) => Err(error),
            Ok(Ok((response, stays_open))) => {
                self.connection = stays_open.then_some(connection);
                Ok(response)
            }
        }
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    host: String,
    output: Vec<u8>,
    /// Bytes received and not yet used up.
    input: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            host: address.to_string(),
            output: Vec::new(),
            input: Vec::with_capacity(READ_BYTES),
        })
    }

    /// The answer, and whether the connection can be used again.
    async fn call(&mut self, request: &Request<'_>) -> Result<(Response, bool), CallError> {
        request.write(&self.host, &mut self.output);
        self.stream.write_all(&self.output).await.map_err(CallError::Lost)?;
        let head = loop {
            if let Some(head) = Head::parse(&self.input)? {
                break head;
            }
            self.fill().await?;
        };
        let body = match head.framing {
            Framing::Length(length) => {
                while self.input.len() < head.bytes + length {
                    self.fill().await?;
                }
                let body = self.input[head.bytes..head.bytes + length].to_vec();
                self.input.drain(..head.bytes + length);
                body
            }
            Framing::Chunked => loop {
                if let Some((body, bytes)) = unchunk(&self.input[head.bytes..])? {
                    self.input.drain(..head.bytes + bytes);
                    break body;
                }
                self.fill().await?;
            },
        };
        let response = Response { status: head.status, headers: head.headers, body };
        // Bytes beyond the answer belong to nothing that was asked for.
        Ok((response, head.stays_open && self.input.is_empty()))
    }

    async fn fill(&mut self) -> Result<(), CallError> {
        self.input.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) => Err(CallError::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(CallError::Lost(error)),
        }
    }
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    headers: String,
    framing: Framing,
    stays_open: bool,
    /// Its own length, the empty line included.
    bytes: usize,
}

impl Head {
    /// The head at the start of `input`, or nothing while it is incomplete.
    fn parse(input: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if input.len() > HEAD_BYTES_MAX { Err(Malformed::Head) } else { Ok(None) };
        };
        if end > HEAD_BYTES_MAX {
            return Err(Malformed::Head);
        }
        let text = std::str::from_utf8(&input[..end]).map_err(|_| Malformed::Head)?;
        let (first, headers) = text.split_once("\r\n").unwrap_or((text, ""));
        let status = first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .filter(|code| code.len() == 3)
            .and_then(|code| code.parse::<u16>().ok())
            .ok_or(Malformed::Status)?;
        let is_chunked = header(headers, "transfer-encoding").is_some_and(|value| value == "chunked");
        let framing = match header(headers, "content-length") {
            _ if is_chunked => Framing::Chunked,
            Some(length) => Framing::Length(length.parse().map_err(|_| Malformed::Length)?),
            None if status == 204 || status == 304 => Framing::Length(0),
            None => return Err(Malformed::Length),
        };
        if matches!(framing, Framing::Length(length) if length > BODY_BYTES_MAX) {
            return Err(Malformed::TooLong);
        }
        let closes = header(headers, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Some(Head {
            status,
            headers: headers.to_owned(),
            framing,
            stays_open: first.starts_with("HTTP/1.1") && !closes,
            bytes: end + 4,
        }))
    }
}

fn header<'h>(headers: &'h str, name: &str) -> Option<&'h str> {
    headers.split("\r\n").find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The body made of the chunks at the start of `input` and how many bytes they took, or nothing while the last
/// one has not arrived.
fn unchunk(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = input[at..].windows(2).position(|window| window == b"\r\n") else {
            return if input.len() - at > HEAD_BYTES_MAX { Err(Malformed::Chunk) } else { Ok(None) };
        };
        let text = std::str::from_utf8(&input[at..at + line]).map_err(|_| Malformed::Chunk)?;
        let digits = text.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| Malformed::Chunk)?;
        if size > BODY_BYTES_MAX - body.len() {
            return Err(Malformed::TooLong);
        }
        let start = at + line + 2;
        let Some(chunk) = input.get(start..start + size + 2) else {
            return Ok(None);
        };
        if !chunk.ends_with(b"\r\n") {
            // Trailers after the last chunk are allowed by the standard; no server here sends any.
            return Err(Malformed::Chunk);
        }
        body.extend_from_slice(&chunk[..size]);
        at = start + size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn parse(text: &str) -> Result<Option<Head>, Malformed> {
        Head::parse(text.as_bytes())
    }

    #[test]
    fn a_head_is_read_only_when_it_is_whole() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Mec-Vclock: abc=\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), Ok(None), "after {end} bytes");
        }
        let head = parse(text).unwrap().unwrap();
        assert_eq!((head.status, head.framing, head.stays_open), (200, Framing::Length(3), true));
        assert_eq!(head.bytes, text.len());
        assert_eq!(header(&head.headers, "x-mec-vclock"), Some("abc="));
        assert_eq!(header(&head.headers, "etag"), None);
    }

    #[test]
    fn a_head_that_makes_no_sense_is_named() {
        assert_eq!(parse("FTP/1.1 200 OK\r\n\r\n"), Err(Malformed::Status));
        assert_eq!(parse("HTTP/1.1 2000 OK\r\n\r\n"), Err(Malformed::Status));
        assert_eq!(parse("HTTP/1.1\r\n\r\n"), Err(Malformed::Status));
        assert_eq!(parse("HTTP/1.1 200 OK\r\n\r\n"), Err(Malformed::Length));
        assert_eq!(parse("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), Err(Malformed::Length));
        assert_eq!(parse("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), Err(Malformed::TooLong));
        assert_eq!(Head::parse(&[0xff; HEAD_BYTES_MAX + 1]), Err(Malformed::Head));
        assert_eq!(Head::parse(b"HTTP/1.1 200 \xff\r\n\r\n"), Err(Malformed::Head));
    }

    #[test]
    fn an_answer_without_content_needs_no_length() {
        let head = parse("HTTP/1.1 204 No Content\r\nConnection: Close\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.framing, head.stays_open), (Framing::Length(0), false));
    }

    #[test]
    fn chunks_make_up_a_body() {
        let whole = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(unchunk(&whole[..end]), Ok(None), "after {end} bytes");
        }
        assert_eq!(unchunk(whole), Ok(Some((b"abc0123456789".to_vec(), whole.len()))));
        assert_eq!(unchunk(b"x\r\n"), Err(Malformed::Chunk));
        assert_eq!(unchunk(b"1\r\nabc\r\n"), Err(Malformed::Chunk));
        assert_eq!(unchunk(b"ffffffff\r\n"), Err(Malformed::TooLong));
    }

    #[test]
    fn a_request_is_written_with_its_headers_and_length() {
        let mut buffer = vec![1];
        let request = Request {
            method: Method::Put,
            path: "/mec/k",
            headers: &[("X-Mec-Vclock", "c")],
            body: b"value",
        };
        request.write("h:1", &mut buffer);
        let text = "PUT /mec/k HTTP/1.1\r\nHost: h:1\r\nX-Mec-Vclock: c\r\nContent-Length: 5\r\n\r\nvalue";
        assert_eq!(String::from_utf8(buffer).unwrap(), text);
    }

    /// A server that answers its n-th request, over all connections, with the n-th text, then closes.
    async fn serve(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut answers = answers.iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                    let Some(answer) = answers.next() else { return };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    if answer.contains("Connection: close") {
                        break;
                    }
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn a_connection_is_kept_until_the_server_says_otherwise() {
        let address = serve(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n",
        ])
        .await;
        let mut client = Client::new(address, Duration::from_secs(5));
        let first = client.call(&Request::get("/")).await.unwrap();
        assert_eq!((first.status, first.body.as_slice()), (200, &b"a"[..]));
        assert!(client.connection.is_some());
        assert_eq!(client.call(&Request::get("/")).await.unwrap().status, 404);
        assert!(client.connection.is_none());
        assert_eq!(client.call(&Request::get("/")).await.unwrap().body, b"b");
    }

    #[tokio::test]
    async fn an_answer_longer_than_asked_for_ends_the_connection() {
        let address = serve(&["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"]).await;
        let mut client = Client::new(address, Duration::from_secs(5));
        assert_eq!(client.call(&Request::get("/")).await.unwrap().body, b"a");
        assert!(client.connection.is_none());
    }

    #[tokio::test]
    async fn a_refused_connection_was_never_sent_and_a_lost_one_may_have_happened() {
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut client = Client::new(unused, Duration::from_secs(5));
        let error = client.call(&Request::get("/")).await.unwrap_err();
        assert!(matches!(error, CallError::NotSent(_)), "{error}");

        let mut client = Client::new(serve(&[]).await, Duration::from_secs(5));
        let error = client.call(&Request::get("/")).await.unwrap_err();
        assert!(matches!(error, CallError::Lost(_)), "{error}");
    }

    #[tokio::test]
    async fn a_silent_server_is_given_up_on() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::new(listener.local_addr().unwrap(), Duration::from_millis(50));
        let error = client.call(&Request::get("/")).await.unwrap_err();
        assert!(matches!(error, CallError::Late(_)), "{error}");
    }
}
