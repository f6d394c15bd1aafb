//! Requests to the node that is asked about its cluster.

use std::time::Duration;

use serde_json::Value;
use tokio::net::lookup_host;

use crate::load::http::{self, Method, Request};

/// How long one answer may take: to take in a node, it is called first.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The node says no, in these words.
    #[error("{0}")]
    Refused(String),
    /// No node could be asked, or its answer makes no sense.
    #[error("{0}")]
    NoAnswer(String),
}

/// A client of one node.
pub(crate) struct Client {
    url: String,
    http: http::Client,
}

impl Client {
    /// A client of the node at `url`, such as `http://127.0.0.1:3000`. Nothing is sent yet.
    pub(crate) async fn of(url: &str) -> Result<Self, Trouble> {
        let authority = authority(url).map_err(Trouble::NoAnswer)?;
        let mut addresses = lookup_host(&authority)
            .await
            .map_err(|error| Trouble::NoAnswer(format!("{url} has no address: {error}")))?;
        let address = addresses.next().ok_or_else(|| Trouble::NoAnswer(format!("{url} has no address")))?;
        Ok(Self { url: url.into(), http: http::Client::new(address, ANSWER_MAX) })
    }

    /// The body of the page `/cluster/{what}`.
    pub(crate) async fn get(&mut self, what: &str) -> Result<Vec<u8>, Trouble> {
        self.call(&Request::get(&format!("/cluster/{what}"))).await
    }

    /// The answer to an order.
    pub(crate) async fn post(&mut self, what: &str, body: &Value) -> Result<Vec<u8>, Trouble> {
        let (path, body) = (format!("/cluster/{what}"), body.to_string());
        let headers = [("Content-Type", "application/json")];
        self.call(&Request { method: Method::Post, path: &path, headers: &headers, body: body.as_bytes() })
            .await
    }

    async fn call(&mut self, request: &Request<'_>) -> Result<Vec<u8>, Trouble> {
        let answer = self.http.call(request).await;
        let answer = answer.map_err(|error| {
            Trouble::NoAnswer(format!("{}: {error}; another node is asked with --node", self.url))
        })?;
        match answer.status {
            200 => Ok(answer.body),
            _ => Err(Trouble::Refused(String::from_utf8_lossy(&answer.body).trim_end().to_owned())),
        }
    }
}

/// `host:port` in a URL of which nothing else is wanted.
fn authority(url: &str) -> Result<String, String> {
    let wanted = || format!("'{url}' is no address of a node: http://host:port is wanted");
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
        return Err(wanted());
    }
    let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.ends_with(':'));
    match port {
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(authority.to_owned()),
        // An IPv6 address stands in brackets when a port follows.
        _ if !authority.contains(':') || authority.ends_with(']') => Ok(format!("{authority}:80")),
        _ => Err(wanted()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_a_url_of_host_and_port() {
        for (url, expected) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://h:1/", "h:1"),
            ("h:1", "h:1"),
            ("http://h", "h:80"),
            ("http://[::1]:3000", "[::1]:3000"),
            ("http://[::1]", "[::1]:80"),
        ] {
            assert_eq!(authority(url).as_deref(), Ok(expected));
        }
        for bad in ["https://h:1", "http://", "http://h:x", "http://h:1/path", "http://a@h:1", "::1"] {
            assert!(authority(bad).is_err(), "{bad}");
        }
    }
}
