//! The `/mec` face as a client sees it: read, write, delete, with the clock that each answer gives, and list.
//!
//! A clock is an opaque token here: this side never looks into one. Of every failure a client must know one thing,
//! whether the call may have happened all the same; [`Trouble`] says it, and errs towards "may have".

use std::net::SocketAddr;
use std::time::Duration;

use super::http::{CallError, Client, Method, Request, Response};
use super::multipart;

/// The header that carries the clock both ways.
const CLOCK: &str = "x-mec-vclock";
/// How much longer this side waits than it allows the server to take.
const GRACE: Duration = Duration::from_millis(400);

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    /// Its concurrent values; none if the key is missing.
    pub(crate) values: Vec<Vec<u8>>,
    /// The clock that covers them, to be sent with the next write.
    pub(crate) clock: Option<String>,
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Keys that hold a value, in the node's order. Each is as the node escapes it: readable where it was readable.
    pub(crate) keys: Vec<String>,
    /// Whether more follow after the last one.
    pub(crate) has_more: bool,
}

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The node turned it away: it certainly did not happen, and why.
    Refused(String),
    /// The node could not be reached: it certainly did not happen.
    Unreachable(String),
    /// It may have happened, or may still happen.
    Unknown(String),
}

impl Trouble {
    /// The reason, for a message.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Trouble::Refused(reason) | Trouble::Unreachable(reason) | Trouble::Unknown(reason) => reason,
        }
    }

    /// What a status that is no success says about a write. Anything above 499 was turned away somewhere inside, where
    /// part of the work may have been done.
    fn of(response: &Response) -> Self {
        let reason = match response.excerpt() {
            body if body.is_empty() => format!("status {}", response.status),
            body => format!("status {}: {body}", response.status),
        };
        match response.status {
            400..=499 => Trouble::Refused(reason),
            _ => Trouble::Unknown(reason),
        }
    }
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotSent(_) => Trouble::Unreachable(error.to_string()),
            CallError::Lost(_) | CallError::Late(_) | CallError::Malformed(_) => {
                Trouble::Unknown(error.to_string())
            }
        }
    }
}

/// A client of one node's face.
#[derive(Debug)]
pub(crate) struct Mec {
    client: Client,
    query: String,
}

impl Mec {
    /// A client that allows the node `timeout` for each call, and the network a little more.
    pub(crate) fn new(address: SocketAddr, timeout: Duration) -> Self {
        Mec {
            client: Client::new(address, timeout + GRACE),
            query: format!("timeout={}", timeout.as_millis()),
        }
    }

    /// Reads a key with the node's usual quorum.
    ///
    /// # Errors
    /// [`Trouble`]; a read changes nothing, so both kinds mean the same.
    pub(crate) async fn get(&mut self, key: &str) -> Result<Got, Trouble> {
        self.read(&self.path(key)).await
    }

    /// Reads what the node that is asked can tell with a quorum of one.
    ///
    /// # Errors
    /// As [`Mec::get`].
    pub(crate) async fn get_one(&mut self, key: &str) -> Result<Got, Trouble> {
        self.read(&format!("{}&r=1", self.path(key))).await
    }

    async fn read(&mut self, path: &str) -> Result<Got, Trouble> {
        let response = self.client.call(&Request::get(path)).await?;
        got(response)
    }

    /// Writes a key. With a clock the write replaces what that clock covers, without one it replaces nothing.
    /// Gives the clock that covers the old one and this write.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(crate) async fn put(
        &mut self,
        key: &str,
        value: &[u8],
        clock: Option<&str>,
    ) -> Result<Option<String>, Trouble> {
        let headers = [("Content-Type", "text/plain"), (CLOCK, clock.unwrap_or_default())];
        let response = self
            .client
            .call(&Request {
                method: Method::Put,
                path: &self.path(key),
                headers: if clock.is_some() { &headers } else { &headers[..1] },
                body: value,
            })
            .await?;
        match response.status {
            200..=299 => Ok(response.header(CLOCK).map(str::to_owned)),
            _ => Err(Trouble::of(&response)),
        }
    }

    /// Deletes what a clock covers; a concurrent write survives.
    ///
    /// # Errors
    /// [`Trouble`]; a key that was missing already is refused.
    pub(crate) async fn delete(&mut self, key: &str, clock: &str) -> Result<Option<String>, Trouble> {
        let response = self
            .client
            .call(&Request {
                method: Method::Delete,
                path: &self.path(key),
                headers: &[(CLOCK, clock)],
                body: &[],
            })
            .await?;
        match response.status {
            200..=299 => Ok(response.header(CLOCK).map(str::to_owned)),
            _ => Err(Trouble::of(&response)),
        }
    }

    /// Lists at most `limit` keys, from the beginning or after one that a page ended with.
    ///
    /// # Errors
    /// As [`Mec::get`].
    pub(crate) async fn list(&mut self, after: Option<&str>, limit: u32) -> Result<Page, Trouble> {
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        let path = format!("/mec?{}&limit={limit}{after}", self.query);
        let response = self.client.call(&Request::get(&path)).await?;
        match response.status {
            200 => page(&response),
            _ => Err(Trouble::of(&response)),
        }
    }

    fn path(&self, key: &str) -> String {
        let key = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
        format!("/mec/{key}?{}", self.query)
    }
}

fn got(response: Response) -> Result<Got, Trouble> {
    let clock = response.header(CLOCK).map(str::to_owned);
    let values = match response.status {
        200 => vec![response.body],
        300 => {
            let content_type = response.header("content-type").unwrap_or_default();
            multipart::values(content_type, &response.body)
                .map_err(CallError::from)?
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect()
        }
        404 => Vec::new(),
        _ => return Err(Trouble::of(&response)),
    };
    Ok(Got { values, clock })
}

fn page(response: &Response) -> Result<Page, Trouble> {
    #[derive(serde::Deserialize)]
    struct Line {
        key: String,
    }
    let lines = response.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let keys = lines.map(|line| serde_json::from_slice(line).map(|Line { key }| key));
    let keys = keys
        .collect::<Result<_, _>>()
        .map_err(|error| Trouble::Unknown(format!("a listing that makes no sense: {error}")))?;
    Ok(Page { keys, has_more: response.header("link").is_some_and(|link| link.contains("rel=\"next\"")) })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A face that answers one request with `answer`, and the request that it got.
    async fn face(answer: &'static str) -> (Mec, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4_096];
            let bytes = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..bytes]).into_owned()
        });
        (Mec::new(address, Duration::from_secs(5)), served)
    }

    #[tokio::test]
    async fn a_missing_key_is_an_empty_list_that_may_have_a_clock() {
        let (mut mec, served) =
            face("HTTP/1.1 404 Not Found\r\nX-Mec-Vclock: c\r\nContent-Length: 2\r\n\r\nno").await;
        let got = mec.get("a key").await.unwrap();
        assert_eq!(got, Got { values: Vec::new(), clock: Some("c".to_owned()) });
        assert!(served.await.unwrap().starts_with("GET /mec/a%20key?timeout=5000 HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn several_values_come_with_one_clock() {
        let answer = "HTTP/1.1 300 Multiple Choices\r\nContent-Type: mime/multipart; boundary=b\r\n\
            X-Mec-Vclock: c\r\nContent-Length: 37\r\n\r\n--b\r\nA: 1\r\n\r\nx\r\n--b\r\nA: 1\r\n\r\ny\r\n--b--";
        let (mut mec, served) = face(answer).await;
        let got = mec.get_one("k").await.unwrap();
        assert_eq!(got.values, [b"x", b"y"]);
        assert!(served.await.unwrap().contains("&r=1 "));
    }

    #[tokio::test]
    async fn a_write_sends_its_clock_and_a_blind_one_sends_none() {
        for (clock, is_sent) in [(Some("c1"), true), (None, false)] {
            let (mut mec, served) =
                face("HTTP/1.1 200 OK\r\nX-Mec-Vclock: c2\r\nContent-Length: 0\r\n\r\n").await;
            assert_eq!(mec.put("k", b"v", clock).await.unwrap().as_deref(), Some("c2"));
            let request = served.await.unwrap();
            assert_eq!(request.contains("x-mec-vclock: c1\r\n"), is_sent, "{request}");
            assert_eq!(request.contains("x-mec-vclock"), is_sent, "{request}");
        }
    }

    #[tokio::test]
    async fn a_page_of_a_listing_says_whether_more_follows() {
        let answer = "HTTP/1.1 200 OK\r\nLink: </mec?limit=2&after=b>; rel=\"next\"\r\nContent-Length: 24\r\n\r\n\
            {\"key\":\"a\"}\n{\"key\":\"b\"}\n";
        let (mut mec, served) = face(answer).await;
        let page = mec.list(None, 2).await.unwrap();
        assert_eq!(page, Page { keys: vec!["a".to_owned(), "b".to_owned()], has_more: true });
        assert!(served.await.unwrap().starts_with("GET /mec?timeout=5000&limit=2 HTTP/1.1\r\n"));

        let (mut mec, served) = face("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let page = mec.list(Some("b"), 2).await.unwrap();
        assert_eq!(page, Page { keys: Vec::new(), has_more: false });
        assert!(served.await.unwrap().contains("&limit=2&after=b "));
        let (mut mec, _served) = face("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"key").await;
        assert!(matches!(mec.list(None, 2).await, Err(Trouble::Unknown(_))));
    }

    #[tokio::test]
    async fn only_a_refusal_is_certain_not_to_have_happened() {
        let cases = [
            ("HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\nno\nway!", "status 400: no way!"),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        ];
        for (answer, reason) in cases {
            let (mut mec, _served) = face(answer).await;
            let trouble = mec.delete("k", "c").await.unwrap_err();
            assert_eq!(trouble, Trouble::Refused(reason.to_owned()));
        }
        for answer in [
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "what?\r\n\r\n",
        ] {
            let (mut mec, _served) = face(answer).await;
            let trouble = mec.put("k", b"v", None).await.unwrap_err();
            assert!(matches!(trouble, Trouble::Unknown(_)), "{trouble:?}");
        }
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let trouble = Mec::new(unused, Duration::from_secs(5)).put("k", b"v", None).await.unwrap_err();
        assert!(matches!(trouble, Trouble::Unreachable(_)), "{trouble:?}");
    }
}
