//! `GET /metrics`: everything that is counted, for Prometheus.
//!
//! Families are named `godown_…`; the sentence beside each says what it counts. Nothing here counts by itself but
//! requests: the core, the store, the peers and the cluster's report are asked when the page is. A node that is still
//! starting says what it can.

mod process;
mod requests;
mod text;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, header};

use super::refusal::Refusal;
use super::{Front, Shared, check_page};
use crate::cluster::report::Status as Cluster;
use crate::driver::Status;
use crate::peers::PeersReport;
pub(super) use requests::{Operation, Requests};
use text::Text;

/// `GET /metrics`.
pub(super) async fn page(State(shared): State<Shared>, request: Request) -> Result<Response<Body>, Refusal> {
    check_page(&request)?;
    let mut text = Text::default();
    text.gauge("godown_build_info", "What this node runs; always 1.")
        .count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    shared.requests.write(&mut text.histogram(
        "godown_request_duration_seconds",
        "Time from a request's head to its answer, by what was asked and what came of it.",
    ));
    // A node that is starting cannot be asked yet, and still says the rest.
    if let Ok(status) = shared.status().await {
        write_node(&mut text, &status);
    }
    if let Ok(cluster) = shared.cluster_status().await {
        write_cluster(&mut text, &cluster);
    }
    write_peers(&mut text, &shared.peers.report());
    write_store(&mut text, &shared).await;
    process::write(&mut text);
    let mut response = Response::new(Body::from(text.into_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
    Ok(response)
}

fn write_node(text: &mut Text, status: &Status) {
    let flag = |is: bool| u64::from(is);
    text.gauge("godown_ready", "Whether the node serves everything that it holds.")
        .count(&[], flag(status.is_ready));
    text.gauge("godown_fenced", "Whether another node was found to use this one's identity.")
        .count(&[], flag(status.is_fenced));
    text.gauge("godown_calls_in_flight", "Client calls that wait for their answer.")
        .count(&[], status.calls as u64);
    for &(name, count) in &status.counters {
        let help = format!("The core's count of {}.", name.replace('_', " "));
        text.counter(&format!("godown_core_{name}"), &help).count(&[], count);
    }
}

fn write_cluster(text: &mut Text, cluster: &Cluster) {
    text.gauge("godown_member", "Whether the node is a member of the newest layout.")
        .count(&[], u64::from(cluster.member));
    text.gauge("godown_layout_epoch", "The newest layout's number; 0 while there is none.")
        .count(&[], cluster.epoch);
    text.gauge(
        "godown_layout_epoch_oldest",
        "The oldest layout in force: less than the newest while a change is under way.",
    )
    .count(&[], cluster.oldest);
    let partitions = &cluster.partitions;
    for (name, help, count) in [
        ("godown_changes_staged", "Changes that wait to be applied.", cluster.staged.len()),
        ("godown_partitions_held", "Partitions that the newest layout gives to this node.", partitions.held),
        ("godown_partitions_complete", "Partitions that this node answers reads for.", partitions.complete),
        (
            "godown_partitions_settling",
            "Partitions that this node has to settle before an older layout can end.",
            partitions.settling,
        ),
        ("godown_partitions_dropping", "Partitions that this node is dropping.", partitions.dropping),
        ("godown_transfers", "Partitions on their way to this node.", cluster.transfers.len()),
        ("godown_log_rows", "Log rows at rest.", cluster.log_rows),
        ("godown_rows_damaged", "Damaged rows that are known, and not mended yet.", cluster.damaged),
        (
            "godown_quiet",
            "Whether nothing is in flight, and nothing left to compare, to hand over, to drop or to mend.",
            usize::from(cluster.unrest.is_none()),
        ),
    ] {
        text.gauge(name, help).count(&[], count as u64);
    }
    let mut family = text.gauge("godown_member_up", "Whether a member answers.");
    for member in &cluster.members {
        family.count(&[("peer", &member.name)], u64::from(member.state != "down"));
    }
    let mut family =
        text.gauge("godown_collection_blocked", "Log rows that stay until this peer has what they name.");
    for blocked in &cluster.blocked {
        family.count(&[("peer", &blocked.peer)], blocked.rows as u64);
    }
    let mut family = text.gauge("godown_hints", "Writes that are kept for a node until it can be reached.");
    for hints in &cluster.hints {
        family.count(&[("peer", &hints.peer)], hints.rows);
    }
    let mut family = text.gauge("godown_hints_bytes", "Bytes of the writes that are kept for a node.");
    for hints in &cluster.hints {
        family.count(&[("peer", &hints.peer)], hints.bytes);
    }
    let mut family = text.gauge(
        "godown_hints_oldest_age_seconds",
        "How long the oldest write that is kept for a node has been kept, at most.",
    );
    for hints in &cluster.hints {
        family.sample(&[("peer", &hints.peer)], hints.oldest_age_ms as f64 / 1e3);
    }
}

fn write_peers(text: &mut Text, report: &PeersReport) {
    // A peer whose name is not known yet is known by its address.
    let name = |peer: &crate::peers::PeerReport| peer.name.clone().unwrap_or_else(|| peer.address.clone());
    let peers: Vec<(String, _)> = report.peers.iter().map(|peer| (name(peer), peer)).collect();
    text.gauge("godown_peers", "Other nodes that this one is to be connected with.")
        .count(&[], peers.len() as u64);
    text.gauge("godown_peers_connected", "Of these, those that it can send to.")
        .count(&[], report.peers_connected as u64);
    let mut family = text.gauge("godown_peer_connected", "Whether this node can send to a peer.");
    for (name, peer) in &peers {
        family.count(&[("peer", name)], peer.connected.into());
    }
    let mut family = text.gauge("godown_peer_heard", "Whether a peer can send to this node.");
    for (name, peer) in &peers {
        family.count(&[("peer", name)], peer.heard.into());
    }
    let mut family = text.gauge("godown_outbox_bytes", "Bytes that wait to be sent to a peer.");
    for (name, peer) in &peers {
        family.count(&[("peer", name)], peer.outbox_bytes);
    }
    let mut family = text.counter("godown_outbox_messages", "Messages taken in for a peer.");
    for (name, peer) in &peers {
        family.count(&[("peer", name)], peer.sent);
    }
    let mut family =
        text.counter("godown_outbox_dropped", "Messages dropped because a peer is away or does not keep up.");
    for (name, peer) in &peers {
        family.count(&[("peer", name)], peer.dropped);
    }
    let mut family = text.gauge(
        "godown_clock_ahead_seconds",
        "How far a peer's wall clock was ahead of this node's when it was last asked, once a minute.",
    );
    for (name, peer) in &peers {
        if let Some(ahead_ms) = peer.clock_ahead_ms {
            family.sample(&[("peer", name)], ahead_ms as f64 / 1e3);
        }
    }
    for (name, help, count) in [
        (
            "godown_frames_corrupt",
            "Connections closed over a frame that was not understood.",
            report.frames_corrupt,
        ),
        (
            "godown_connections_refused",
            "Connections between nodes that were refused.",
            report.connections_refused,
        ),
        (
            "godown_impostors",
            "Connections that claimed a name or a life that another node has.",
            report.impostors,
        ),
        (
            "godown_strangers_dropped",
            "Messages for nodes that are no peers any more.",
            report.strangers_dropped,
        ),
    ] {
        text.counter(name, help).count(&[], count);
    }
}

async fn write_store(text: &mut Text, front: &Front) {
    let Some(store) = front.store.get() else { return };
    for (name, count) in store.stats().named() {
        let help = format!("The store's count of {}.", name.replace('_', " "));
        text.counter(&format!("godown_store_{name}"), &help).count(&[], count);
    }
    text.gauge(
        "godown_store_garbage_bytes",
        "Bytes of what was removed and not given back yet: an estimate.",
    )
    .count(&[], store.garbage_bytes());
    let store = store.clone();
    // The engine may be in the middle of a sync, and what asks it waits.
    let sizes = tokio::task::spawn_blocking(move || (store.table_bytes(), store.disk_bytes())).await;
    if let Ok((table_bytes, Some(bytes))) = sizes {
        text.gauge("godown_store_table_bytes", "Bytes that the store has on disk in tables.")
            .count(&[], table_bytes);
        text.gauge("godown_store_disk_bytes", "Bytes that the store has on disk, tables and journals.")
            .count(&[], bytes);
    }
}
