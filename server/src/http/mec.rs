//! MecDB's face: `/mec/{key}` and the listing `/mec`.
//!
//! A thin adapter: it owns paths, status codes, headers and bodies, and turns each request into one or two calls.
//! Values are siblings until a write with the clock of a read replaces them. What a client gets wrong is refused
//! before anything is written, a malformed clock above all: taken for an empty one it would lose data.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use godown_core::causal::Context;
use godown_core::input::{Call, Reply, Wish};
use godown_core::key::Key;
use godown_core::kind::Sibling;
use godown_core::message::{Change, Failure, Value};
use godown_core::token;
use tokio::time::Instant;

use super::metrics::Operation;
use super::multipart::{self, Part};
use super::query::{Query, escape, unescape};
use super::refusal::Refusal;
use super::{Front, Shared, unexpected};

/// The client's causal context, opaque to it.
const CLOCK: &str = "x-mec-vclock";

/// When a value was written, in nanoseconds since 1970.
const TIMESTAMP: &str = "x-mec-timestamp";

/// When a value's time is over, in the same way; only values that were given one have it.
const EXPIRES: &str = "x-mec-expires";

/// What a request may say of how it is to be served.
const READ: [&str; 4] = ["timeout", "r", "pr", "sloppy"];
const WRITE: [&str; 4] = ["timeout", "w", "pw", "sloppy"];
const PUT: [&str; 5] = ["timeout", "w", "pw", "sloppy", "ttl"];

/// What a value has whose writer named no type.
const UNTYPED: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Keys in a page of a listing that asks for no number.
const PAGE: u32 = 100;

type Answer = Result<Response<Body>, Refusal>;

/// `/mec/{key}`.
pub(super) async fn key(State(shared): State<Shared>, request: Request) -> Answer {
    let operation = match *request.method() {
        Method::PUT | Method::POST => Operation::Put,
        Method::DELETE => Operation::Delete,
        _ => Operation::Get,
    };
    timed(&shared, operation, serve_key(&shared, request)).await
}

/// Counts a request with the time that it took.
async fn timed(shared: &Front, operation: Operation, serve: impl Future<Output = Answer>) -> Answer {
    let started = Instant::now();
    let answer = serve.await;
    let status = match &answer {
        Ok(response) => response.status(),
        Err(refusal) => refusal.status(),
    };
    shared.requests.count(operation, status, started.elapsed());
    answer
}

async fn serve_key(shared: &Front, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    let key = || read_key(&head.uri, shared.limits.key_bytes);
    match head.method {
        Method::GET | Method::HEAD => get(shared, key()?, &head).await,
        Method::PUT | Method::POST => put(shared, key()?, &head, body).await,
        Method::DELETE => delete(shared, key()?, &head).await,
        _ => Err(Refusal::method("GET, HEAD, PUT, POST, DELETE")),
    }
}

/// `/mec`.
pub(super) async fn list(State(shared): State<Shared>, request: Request) -> Answer {
    timed(&shared, Operation::List, serve_list(&shared, request)).await
}

async fn serve_list(shared: &Front, request: Request) -> Answer {
    if !matches!(request.method(), &Method::GET | &Method::HEAD) {
        return Err(Refusal::method("GET, HEAD"));
    }
    let query = Query::parse(request.uri().query(), &["limit", "after", "timeout"])?;
    let (max, limit) = (shared.limits.list_page, query.number::<u32>("limit")?);
    if let Some(limit) = limit.filter(|&limit| limit == 0 || limit as usize > max) {
        return Err(Refusal::bad(format!("limit={limit}: a page has between 1 and {max} keys")));
    }
    let limit = limit.unwrap_or(PAGE.min(u32::try_from(max).unwrap_or(PAGE)));
    let after = match query.bytes("after") {
        Some(after) => Some(check_key(after, shared.limits.key_bytes)?),
        None => None,
    };
    let call = Call::List { after, limit, wish: Wish { timeout: timeout(&query)?, ..Wish::default() } };
    match shared.call(call).await? {
        Reply::Listed { keys, more } => Ok(listing(&keys, more.then_some(limit))),
        Reply::Failed(failure) => Err(failure.into()),
        other => Err(unexpected(&other)),
    }
}

/// A page of keys as JSON lines, with a link to the next page when there is one.
fn listing(keys: &[Key], next_limit: Option<u32>) -> Response<Body> {
    let mut lines = Vec::new();
    for key in keys {
        // An escaped key has no character that JSON would escape. Writing to memory does not fail.
        let _ = writeln!(lines, "{{\"key\":\"{}\"}}", escape(&key.0));
    }
    let mut response = Response::new(Body::from(lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    if let (Some(limit), Some(last)) = (next_limit, keys.last()) {
        let link = format!("</mec?limit={limit}&after={}>; rel=\"next\"", escape(&last.0));
        insert(headers, header::LINK, &link);
    }
    response
}

async fn get(shared: &Front, key: Key, head: &Parts) -> Answer {
    let query = Query::parse(head.uri.query(), &READ)?;
    let call = Call::Get { key: key.clone(), wish: wish(&query, "r", "pr")? };
    let (siblings, seen) = got(shared.call(call).await?)?;
    let mut response = match &siblings[..] {
        [] => {
            let refusal = Refusal::absent(format!("there is no value under {}", escape(&key.0)));
            axum::response::IntoResponse::into_response(refusal)
        }
        [one] => single(one),
        several => multiple(&key, several, &seen, &head.headers),
    };
    // After a delete the clock of what is gone still says what a next write replaces.
    if !seen.is_empty() {
        insert(response.headers_mut(), CLOCK, &token::encode(&seen, &key));
    }
    Ok(response)
}

fn single(sibling: &Sibling) -> Response<Body> {
    let mut response = Response::new(Body::from(sibling.value.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(sibling));
    insert(headers, header::LAST_MODIFIED, &http_date(sibling));
    insert(headers, TIMESTAMP, &timestamp(sibling));
    if let Some(expires) = expires(sibling) {
        insert(headers, EXPIRES, &expires);
    }
    response
}

fn multiple(key: &Key, siblings: &[Sibling], seen: &Context, asked: &HeaderMap) -> Response<Body> {
    let parts: Vec<Part> = siblings.iter().map(part).collect();
    let seed = Key(token::encode(seen, key).into()).hash();
    let boundary = multipart::boundary(seed, &parts);
    let mut response = Response::new(Body::from(multipart::encode(&boundary, &parts)));
    *response.status_mut() = StatusCode::MULTIPLE_CHOICES;
    // MecDB's clients know the type that it gave, which was never registered; those that ask for multipart/mixed by
    // its registered name get that.
    let wants_mixed = asked.get_all(header::ACCEPT).iter().any(|accept| {
        let accept = accept.as_bytes().to_ascii_lowercase();
        memchr::memmem::find(&accept, b"multipart/mixed").is_some()
    });
    let subtype = if wants_mixed { "multipart/mixed" } else { "mime/multipart" };
    insert(response.headers_mut(), header::CONTENT_TYPE, &format!("{subtype}; boundary={boundary}"));
    response
}

fn part(sibling: &Sibling) -> Part {
    let mut head = b"Content-Type: ".to_vec();
    head.extend_from_slice(content_type(sibling).as_bytes());
    let (date, at) = (http_date(sibling), timestamp(sibling));
    head.extend_from_slice(format!("\r\nLast-Modified: {date}\r\nX-Mec-Timestamp: {at}\r\n").as_bytes());
    if let Some(expires) = expires(sibling) {
        head.extend_from_slice(format!("X-Mec-Expires: {expires}\r\n").as_bytes());
    }
    Part { head, value: sibling.value.clone() }
}

async fn put(shared: &Front, key: Key, head: &Parts, body: Body) -> Answer {
    let query = Query::parse(head.uri.query(), &PUT)?;
    let (wish, ttl) = (wish(&query, "w", "pw")?, ttl(&query)?);
    let headers = &head.headers;
    let seen = clock(headers, &key)?.unwrap_or_default();
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_vec());
    let content_type = Bytes::from(content_type.unwrap_or_default());
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let held = shared.bodies.read(body, announced).await?;
    let value = Value { bytes: held.bytes.clone(), content_type, ttl };
    let change = Change { key: key.clone(), seen, value: Some(value) };
    let seen = stored(shared.call(Call::Put { change, wish }).await?)?;
    let mut response = Response::new(Body::empty());
    insert(response.headers_mut(), CLOCK, &token::encode(&seen, &key));
    Ok(response)
}

/// Deletes what the client has seen, or without a clock what a quorum holds now. Reads first in both cases: a key
/// that holds nothing is answered with 404, and leaves no trace of the delete behind.
async fn delete(shared: &Front, key: Key, head: &Parts) -> Answer {
    let started = Instant::now();
    let query = Query::parse(head.uri.query(), &WRITE)?;
    let wish = wish(&query, "w", "pw")?;
    let clock = clock(&head.headers, &key)?;
    let read = Call::Get { key: key.clone(), wish: Wish { quorum: None, primaries: None, ..wish } };
    let (siblings, found) = got(shared.call(read).await?)?;
    if siblings.is_empty() {
        return Err(Refusal::absent(format!("there is no value under {}", escape(&key.0))));
    }
    // One timeout covers both halves.
    let left =
        wish.timeout.map(|timeout| timeout.saturating_sub(started.elapsed()).max(Duration::from_millis(1)));
    let change = Change { key: key.clone(), seen: clock.unwrap_or(found), value: None };
    let seen = stored(shared.call(Call::Put { change, wish: Wish { timeout: left, ..wish } }).await?)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    insert(response.headers_mut(), CLOCK, &token::encode(&seen, &key));
    Ok(response)
}

fn got(reply: Reply) -> Result<(Vec<Sibling>, Context), Refusal> {
    match reply {
        Reply::Got { siblings, seen } => Ok((siblings, seen)),
        Reply::Failed(failure) => Err(failure.into()),
        other => Err(unexpected(&other)),
    }
}

fn stored(reply: Reply) -> Result<Context, Refusal> {
    match reply {
        Reply::Stored { seen } => Ok(seen),
        Reply::Failed(failure) => Err(failure.into()),
        other => Err(unexpected(&other)),
    }
}

fn read_key(uri: &Uri, bytes_max: usize) -> Result<Key, Refusal> {
    let segment = uri.path().strip_prefix("/mec/").unwrap_or_default();
    if segment.contains('/') {
        return Err(Refusal::bad(format!(
            "'{segment}' has a '/': a key is one path segment; write it as %2F"
        )));
    }
    check_key(unescape(segment)?, bytes_max)
}

/// The core checks keys too; checked here, an over-long one costs no body.
fn check_key(key: Bytes, bytes_max: usize) -> Result<Key, Refusal> {
    if key.is_empty() {
        return Err(Failure::KeyEmpty.into());
    }
    if key.len() > bytes_max {
        return Err(Failure::KeyTooLong { bytes: key.len() as u64, max: bytes_max as u64 }.into());
    }
    Ok(Key(key))
}

/// How a request asks to be served; the numbers of replicas, and of primaries among them, stand under these names.
fn wish(query: &Query, quorum: &str, primaries: &str) -> Result<Wish, Refusal> {
    Ok(Wish {
        quorum: query.number(quorum)?,
        timeout: timeout(query)?,
        primaries: query.number(primaries)?,
        sloppy: query.flag("sloppy")?,
    })
}

/// In milliseconds, as MecDB's users know it.
fn timeout(query: &Query) -> Result<Option<Duration>, Refusal> {
    Ok(query.number("timeout")?.map(Duration::from_millis))
}

/// How long a value is to be kept, in seconds.
fn ttl(query: &Query) -> Result<Option<Duration>, Refusal> {
    match query.number("ttl")? {
        Some(0) => {
            Err(Refusal::bad("ttl=0: a value is kept for a second at least; to delete one use DELETE"))
        }
        ttl => Ok(ttl.map(Duration::from_secs)),
    }
}

/// The clock that a request sends along. One that is not understood is never taken for none.
fn clock(headers: &HeaderMap, key: &Key) -> Result<Option<Context>, Refusal> {
    let mut clocks = headers.get_all(CLOCK).iter();
    let Some(clock) = clocks.next() else {
        return Ok(None);
    };
    if clocks.next().is_some() {
        return Err(Refusal::bad("X-Mec-Vclock is given twice"));
    }
    let text = clock.to_str().map_err(|_| Refusal::bad("X-Mec-Vclock: the clock is no text"))?;
    let context = token::decode(text, key);
    context.map(Some).map_err(|error| Refusal::bad(format!("X-Mec-Vclock: {error}; nothing was written")))
}

/// Peers may send what no HTTP client could have: such a type is as good as none.
fn content_type(sibling: &Sibling) -> HeaderValue {
    match HeaderValue::from_bytes(&sibling.content_type) {
        Ok(value) if !value.is_empty() => value,
        _ => UNTYPED,
    }
}

fn http_date(sibling: &Sibling) -> String {
    // The format has four digits for the year; later dates come from clocks that are wrong anyway.
    const LAST_SECOND: u64 = 253_402_300_799;
    let seconds = (sibling.at.millis() / 1_000).min(LAST_SECOND);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The date's milliseconds, and its counter as nanoseconds: no two dates of one node give the same.
fn timestamp(sibling: &Sibling) -> String {
    (sibling.at.millis() * 1_000_000 + (sibling.at.0 & 0xffff)).to_string()
}

/// When the value's time is over, in nanoseconds since 1970 as for its date; None when it has no end.
fn expires(sibling: &Sibling) -> Option<String> {
    (sibling.expires > 0).then(|| (u128::from(sibling.expires) * 1_000_000).to_string())
}

/// Inserts a value of visible characters.
fn insert(headers: &mut HeaderMap, name: impl header::IntoHeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
