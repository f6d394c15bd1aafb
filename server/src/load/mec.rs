//! The `/mec/{key}` face as a client sees it: read, write, delete, with the clock that each answer gives.
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

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It certainly did not happen, and why.
    Refused(String),
    /// It may have happened, or may still happen.
    Unknown(String),
}

impl Trouble {
    /// The reason, for a message.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Trouble::Refused(reason) | Trouble::Unknown(reason) => reason,
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
            CallError::NotSent(_) => Trouble::Refused(error.to_string()),
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
