//! The HTTP side: connections, routes, and the pages about the node itself.
//!
//! Each face is a module that turns requests into the core's calls; what they share is here: how a call reaches the
//! event loop and its reply comes back, and the bounds on connections, heads, bodies and time. `/health` says that the
//! process lives, `/ready` that the node serves everything it holds, `/stats` everything that is counted, for people, and
//! `/metrics` the same for Prometheus.

mod body;
mod cluster;
mod mec;
mod metrics;
mod multipart;
mod patience;
mod query;
mod refusal;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, Uri, header};
use axum::routing::any;
use godown_core::config::Limits;
use godown_core::id::Life;
use godown_core::input::{Call, Reply};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::{debug, warn};

use crate::config::Setup;
use crate::driver::{Ask, Status};
use crate::peers::Peers;
use crate::store::Meter;
use body::Bodies;
pub(crate) use cluster::take_in;
use metrics::Requests;
use patience::Patient;
use refusal::Refusal;

/// Bytes in a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Header lines in a request's head.
const HEADERS_MAX: usize = 64;

/// What every request can reach.
pub(crate) struct Front {
    name: String,
    life: Life,
    limits: Limits,
    bodies: Bodies,
    client_timeout: Duration,
    connections_max: usize,
    asks: mpsc::Sender<Ask>,
    peers: Arc<Peers>,
    store: OnceLock<Meter>,
    requests: Requests,
    is_started: AtomicBool,
}

type Shared = Arc<Front>;

impl Front {
    /// What `setup` says about HTTP. Calls go into `asks`.
    pub(crate) fn new(setup: &Setup, life: Life, asks: mpsc::Sender<Ask>, peers: Arc<Peers>) -> Arc<Self> {
        let limits = setup.limits().clone();
        Arc::new(Self {
            name: setup.name.clone(),
            life,
            bodies: Bodies::new(limits.value_bytes, setup.bodies_bytes_max, setup.body_timeout),
            limits,
            client_timeout: setup.body_timeout,
            connections_max: setup.connections_max,
            asks,
            peers,
            store: OnceLock::new(),
            requests: Requests::default(),
            is_started: AtomicBool::new(false),
        })
    }

    /// From now on somebody takes calls.
    pub(crate) fn start(&self, store: Meter) {
        let _ = self.store.set(store);
        self.is_started.store(true, Ordering::Relaxed);
    }

    /// The core's reply to `call`.
    async fn call(&self, call: Call) -> Result<Reply, Refusal> {
        let (reply, replied) = oneshot::channel();
        self.ask(Ask::Call(call, reply))?;
        replied.await.map_err(|_| Refusal::unavailable("this node is stopping"))
    }

    async fn status(&self) -> Result<Status, Refusal> {
        let (reply, replied) = oneshot::channel();
        self.ask(Ask::Status(reply))?;
        replied.await.map_err(|_| Refusal::unavailable("this node is stopping"))
    }

    fn ask(&self, ask: Ask) -> Result<(), Refusal> {
        if !self.is_started.load(Ordering::Relaxed) {
            let nameless = self.peers.nameless().join(", ");
            return Err(Refusal::unavailable(format!(
                "this node is starting, and waits to hear the names of its peers at {nameless}"
            )));
        }
        self.asks.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Refusal::unavailable("too many calls wait for this node: try again")
            }
            mpsc::error::TrySendError::Closed(_) => Refusal::unavailable("this node is stopping"),
        })
    }
}

/// # Panics
/// Always: the core answers each call with a reply of its own kind.
fn unexpected(reply: &Reply) -> Refusal {
    unreachable!("the core answered a call with {reply:?}")
}

fn router(front: Shared) -> Router {
    Router::new()
        .route("/mec", any(mec::list))
        .route("/mec/", any(mec::key))
        .route("/mec/{*key}", any(mec::key))
        .route("/cluster/status", any(cluster::status))
        .route("/cluster/transfers", any(cluster::transfers))
        .route("/cluster/join", any(cluster::join))
        .route("/cluster/leave", any(cluster::leave))
        .route("/cluster/remove", any(cluster::remove))
        .route("/cluster/replace", any(cluster::replace))
        .route("/cluster/set", any(cluster::set))
        .route("/cluster/plan", any(cluster::plan))
        .route("/cluster/apply", any(cluster::apply))
        .route("/cluster/unstage", any(cluster::unstage))
        .route("/cluster/repair", any(cluster::repair))
        .route("/metrics", any(metrics::page))
        .route("/health", any(health))
        .route("/ready", any(ready))
        .route("/stats", any(stats))
        .fallback(unknown)
        .with_state(front)
}

async fn unknown(uri: Uri) -> Refusal {
    Refusal::absent(format!(
        "there is nothing at {}: see /mec, /cluster/status, /health, /ready, /stats, /metrics",
        uri.path()
    ))
}

/// These pages take no parameters and no other methods.
fn check_page(request: &Request) -> Result<(), Refusal> {
    if !matches!(request.method(), &Method::GET | &Method::HEAD) {
        return Err(Refusal::method("GET, HEAD"));
    }
    match request.uri().query() {
        Some(query) if !query.is_empty() => {
            Err(Refusal::bad(format!("'{query}': this path takes no query parameters")))
        }
        _ => Ok(()),
    }
}

async fn health(request: Request) -> Result<&'static str, Refusal> {
    check_page(&request)?;
    Ok("alive\n")
}

async fn ready(State(front): State<Shared>, request: Request) -> Result<&'static str, Refusal> {
    check_page(&request)?;
    let status = front.status().await?;
    if status.is_fenced {
        return Err(Refusal::unavailable("fenced: another node uses this one's identity"));
    }
    if !status.is_ready {
        let cluster = front.cluster_status().await?;
        return Err(Refusal::unavailable(match (&cluster.cluster, cluster.member) {
            (None, _) => "this node is in no cluster yet",
            (Some(_), false) => "this node is no member of its cluster any more",
            (Some(_), true) => "catching up with the other replicas",
        }));
    }
    Ok("ready\n")
}

async fn stats(State(front): State<Shared>, request: Request) -> Result<Response<Body>, Refusal> {
    check_page(&request)?;
    let status = front.status().await?;
    let counters: serde_json::Map<String, serde_json::Value> =
        status.counters.into_iter().map(|(name, count)| (name.into(), count.into())).collect();
    let store: serde_json::Map<String, serde_json::Value> = front
        .store
        .get()
        .map(|store| store.stats().named().map(|(name, count)| (name.into(), count.into())))
        .into_iter()
        .flatten()
        .collect();
    let page = json!({
        "name": front.name,
        "life": front.life.to_string(),
        "ready": status.is_ready,
        "fenced": status.is_fenced,
        "calls_in_flight": status.calls,
        "core": counters,
        "store": store,
        "network": front.peers.report(),
    });
    let mut response = Response::new(Body::from(format!("{page:#}\n")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Serves connections until `stop`, then lets requests in flight finish.
pub(crate) async fn serve(front: Shared, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(front.connections_max));
    let service = TowerToHyperService::new(router(Arc::clone(&front)));
    let graceful = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .title_case_headers(true)
        .header_read_timeout(front.client_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    loop {
        let accept = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accept => accepted,
            _ = stop.wait_for(|&stop| stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file handles, most likely: those who hang up give some back.
                warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!("a connection broke at once: {error}");
            continue;
        }
        let stream = Patient::new(stream, front.client_timeout);
        let connection = builder.serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!("a connection ended: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
