//! `/cluster/*`: who is in the cluster, and what an operator asks of it.
//!
//! A change goes through three steps: it is staged (`join`, `leave`, `remove`, `replace`, `set`), shown with what it
//! would move (`plan`), and applied by whoever names the very layout that was shown (`apply`); `unstage` forgets what is
//! staged. The rules of all that are the core's; this file turns requests into its calls and its answers into JSON
//! (`cluster::report`). A node that is to join is called first, at the address that the request names: it says itself
//! what it is called, and whether it can be taken in at all.
//!
//! Two requests are YzmaDB's, in its own form and with its own answers: `join` with `Peers`, and `leave` without a
//! body. That system knows no plans, so they stage and apply in one go, unless other changes are staged already.

use std::collections::BTreeSet;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use godown_core::id::{Life, NodeId};
use godown_core::input::{Call, ClusterCall, ClusterReply, Plan, Reply, Wish};
use godown_core::key::Partition;
use godown_core::layout::{Change, Member};
use godown_core::node::{ClusterReport, HintReport, MemberReport};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use super::refusal::Refusal;
use super::{Front, Shared, check_page, unexpected};
use crate::cluster::report::{self, Blocked, Done, Hints, Move, Partitions, Status, Transfer, hex};
use crate::config::Listed;
use crate::driver::Ask;
use crate::peers::{Hello, JoinRequest, wall_ms};

type Answer = Result<Response<Body>, Refusal>;

/// Nodes in one request of YzmaDB's form.
const PEERS_MAX: usize = 256;

/// `{"address": "host:port"}`: take in the node that is there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    address: String,
    zone: Option<String>,
    weight: Option<u32>,
}

/// `{"node": "name"}`, or `{}` for the node that is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Leave {
    node: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    node: String,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    node: String,
    #[serde(default)]
    force: bool,
    address: String,
    zone: Option<String>,
    weight: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    node: String,
    address: Option<String>,
    zone: Option<String>,
    weight: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Apply {
    epoch: u64,
    hash: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// YzmaDB's way to ask for a join.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct YzmaJoin {
    #[serde(rename = "Peers")]
    peers: Vec<String>,
}

/// YzmaDB's answer: always these three, in this order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct YzmaAnswer {
    status: &'static str,
    error: String,
    data: Option<String>,
}

/// `GET /cluster/status`.
pub(super) async fn status(State(shared): State<Shared>, request: Request) -> Answer {
    check_page(&request)?;
    Ok(json(&shared.cluster_status().await?))
}

/// `GET /cluster/transfers`.
pub(super) async fn transfers(State(shared): State<Shared>, request: Request) -> Answer {
    check_page(&request)?;
    Ok(json(&shared.cluster_status().await?.transfers))
}

/// `POST /cluster/join`.
pub(super) async fn join(State(shared): State<Shared>, request: Request) -> Answer {
    let body = read(&shared, request).await?;
    if let Ok(YzmaJoin { peers }) = serde_json::from_slice(&body) {
        return Ok(yzma(yzma_join(&shared, &peers).await));
    }
    let Join { address, zone, weight } = understand(&body)?;
    let address = parse_address(&address)?;
    let hello = inquire(&shared, &address).await?;
    let status = shared.cluster_status().await?;
    let member = match candidate(&status, &hello)? {
        Candidate::Member(name) => return Ok(json(&already(&status, &name))),
        Candidate::New(member) => member,
    };
    let member =
        Member { zone: zone.unwrap_or(member.zone), weight: weight.unwrap_or(member.weight), ..member };
    stage(&shared, Change::Join(member)).await
}

/// `POST /cluster/leave`.
pub(super) async fn leave(State(shared): State<Shared>, request: Request) -> Answer {
    let body = read(&shared, request).await?;
    if body.is_empty() {
        return Ok(yzma(yzma_leave(&shared).await));
    }
    let Leave { node } = understand(&body)?;
    let node = node.unwrap_or_else(|| shared.name.clone());
    stage(&shared, Change::Leave(NodeId::named(&node))).await
}

/// `POST /cluster/remove`.
pub(super) async fn remove(State(shared): State<Shared>, request: Request) -> Answer {
    let Remove { node, force } = understand(&read(&shared, request).await?)?;
    stage(&shared, Change::Remove { node: NodeId::named(&node), force }).await
}

/// `POST /cluster/replace`.
pub(super) async fn replace(State(shared): State<Shared>, request: Request) -> Answer {
    let Replace { node, force, address, zone, weight } = understand(&read(&shared, request).await?)?;
    let address = parse_address(&address)?;
    let hello = inquire(&shared, &address).await?;
    let status = shared.cluster_status().await?;
    let member = match candidate(&status, &hello)? {
        Candidate::Member(name) => {
            return Err(Refusal::conflict(format!(
                "'{name}' is a member already: a member is replaced by a node that is none yet"
            )));
        }
        Candidate::New(member) => member,
    };
    // A successor takes over the seat, so its zone and weight are those of the old one unless the request names others.
    let old = status.members.iter().find(|member| member.name == node);
    let (old_zone, old_weight) =
        old.map_or((member.zone, member.weight), |old| (old.zone.clone(), old.weight));
    let new = Member { zone: zone.unwrap_or(old_zone), weight: weight.unwrap_or(old_weight), ..member };
    stage(&shared, Change::Replace { old: NodeId::named(&node), new, force }).await
}

/// `POST /cluster/set`.
pub(super) async fn set(State(shared): State<Shared>, request: Request) -> Answer {
    let Set { node, address, zone, weight } = understand(&read(&shared, request).await?)?;
    let status = shared.cluster_status().await?;
    let Some(member) = status.members.iter().find(|member| member.name == node) else {
        return Err(Refusal::conflict(format!(
            "'{node}' is no member of this cluster: see godown cluster status"
        )));
    };
    let address = match address {
        Some(address) => parse_address(&address)?.to_string(),
        None => member.address.clone(),
    };
    let member = Member {
        id: NodeId::named(&node),
        address,
        zone: zone.unwrap_or_else(|| member.zone.clone()),
        weight: weight.unwrap_or(member.weight),
        name: node,
        // The one that is on record stays.
        store: Life::default(),
    };
    stage(&shared, Change::Set(member)).await
}

/// `POST /cluster/unstage`.
pub(super) async fn unstage(State(shared): State<Shared>, request: Request) -> Answer {
    let Nothing {} = understand(&read(&shared, request).await?)?;
    shared.cluster(ClusterCall::Unstage).await?;
    done(&shared, "nothing is staged any more").await
}

/// `POST /cluster/plan`.
pub(super) async fn plan(State(shared): State<Shared>, request: Request) -> Answer {
    let Nothing {} = understand(&read(&shared, request).await?)?;
    let plan = shared.plan().await?;
    let status = shared.cluster_status().await?;
    let name = |node| match plan.layout.member(node) {
        Some(member) => shared.name_of(member),
        None => status.name_of(node),
    };
    let mut moves: Vec<Move> = (plan.moves.iter())
        .map(|moves| Move {
            node: name(moves.node),
            gained: moves.gained,
            lost: moves.lost,
            holds: moves.holds,
        })
        .collect();
    moves.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(json(&report::Plan {
        epoch: plan.epoch,
        next: plan.layout.epoch(),
        hash: hex(plan.hash),
        moves,
        warnings: warnings(&shared, &plan, &status),
        staged: status.staged,
    }))
}

/// What an operator should know before, though it is allowed.
fn warnings(front: &Front, plan: &Plan, status: &Status) -> Vec<String> {
    let (copies, wanted) = (plan.layout.copies(), plan.layout.wanted());
    let zones: BTreeSet<&str> = plan.layout.members().iter().map(|member| member.zone.as_str()).collect();
    let mut warnings = Vec::new();
    if copies < wanted {
        warnings.push(format!("each key has {copies} copies only, and {wanted} are wanted"));
    }
    if (2..copies).contains(&zones.len()) {
        warnings
            .push(format!("there are {} zones for {copies} copies: some zone has two of a key", zones.len()));
    }
    for member in plan.layout.members().iter().filter(|member| member.address.is_empty()) {
        let name = front.name_of(member);
        warnings.push(format!(
            "{name} was a member before addresses were written down, and a node that joins could not call it: godown \
             cluster set {name}"
        ));
    }
    for member in status.members.iter().filter(|member| member.state == "down") {
        let leaves = plan.layout.member(NodeId::named(&member.name)).is_none();
        let is_given_up = plan.layout.gone().contains(&NodeId::named(&member.name));
        if leaves && !is_given_up {
            let name = &member.name;
            warnings.push(format!(
                "{name} does not answer, so it cannot hand over what it has: remove it instead"
            ));
        }
    }
    warnings
}

/// `POST /cluster/apply`.
pub(super) async fn apply(State(shared): State<Shared>, request: Request) -> Answer {
    let Apply { epoch, hash } = understand(&read(&shared, request).await?)?;
    let hash = u64::from_str_radix(&hash, 16)
        .map_err(|_| Refusal::bad(format!("hash \"{hash}\": it must be the hexadecimal digits of a plan")))?;
    match shared.cluster(ClusterCall::Apply { epoch, hash }).await? {
        ClusterReply::Applied { epoch, .. } => done(&shared, &format!("layout {epoch} is in force")).await,
        other => unreachable!("the core answered an order to apply with {other:?}"),
    }
}

/// `POST /cluster/repair`.
pub(super) async fn repair(State(shared): State<Shared>, request: Request) -> Answer {
    let Nothing {} = understand(&read(&shared, request).await?)?;
    shared.cluster(ClusterCall::Repair).await?;
    done(&shared, "this node compares everything that it holds with the other replicas").await
}

impl Front {
    /// The core's answer to an operator.
    async fn cluster(&self, call: ClusterCall) -> Result<ClusterReply, Refusal> {
        match self.call(Call::Cluster { call, wish: Wish::default() }).await? {
            Reply::Cluster(reply) => Ok(*reply),
            Reply::Failed(failure) => Err(failure.into()),
            other => Err(unexpected(&other)),
        }
    }

    async fn plan(&self) -> Result<Plan, Refusal> {
        match self.cluster(ClusterCall::Plan).await? {
            ClusterReply::Planned(plan) => Ok(plan),
            other => unreachable!("the core answered a plan with {other:?}"),
        }
    }

    /// How the cluster stands.
    pub(super) async fn cluster_status(&self) -> Result<Status, Refusal> {
        Ok(self.describe(&self.cluster_report().await?))
    }

    async fn cluster_report(&self) -> Result<ClusterReport, Refusal> {
        let (reply, replied) = oneshot::channel();
        self.ask(Ask::Cluster(reply))?;
        replied.await.map_err(|_| Refusal::unavailable("this node is stopping"))
    }

    fn describe(&self, report: &ClusterReport) -> Status {
        let own = NodeId::named(&self.name);
        let mut members: Vec<report::Member> =
            report.nodes.iter().map(|node| self.describe_member(node, own)).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let mut status = Status {
            node: self.name.clone(),
            cluster: report.id.map(|id| id.to_string()),
            member: report.nodes.iter().any(|node| node.member.id == own && node.is_member),
            epoch: report.view.newest,
            oldest: report.view.oldest,
            hash: hex(report.hash),
            proposing: report.is_proposing,
            members,
            partitions: Partitions {
                held: report.held,
                complete: report.complete,
                settling: report.settling,
                dropping: report.dropping,
            },
            log_rows: report.log_rows,
            damaged: report.damaged,
            unrest: report.unrest.clone(),
            ..Status::default()
        };
        let transfer = |&(from, partition): &(NodeId, Partition)| Transfer {
            partition: partition.0,
            from: status.name_of(from),
        };
        let blocked = |(&peer, &rows): (&NodeId, &usize)| Blocked { peer: status.name_of(peer), rows };
        // Dated by this node's clock, which may have been set back meanwhile.
        let now_ms = wall_ms();
        let hints = |(&peer, hints): (&NodeId, &HintReport)| Hints {
            peer: status.name_of(peer),
            rows: hints.hints,
            bytes: hints.bytes,
            oldest_age_ms: now_ms.saturating_sub(hints.oldest_ms),
        };
        let hints = report.hints.iter().map(hints).collect();
        let transfers = report.transfers.iter().map(transfer).collect();
        let blocked = report.blocked.iter().map(blocked).collect();
        let staged = report.staged.iter().map(|change| describe_change(change, &status)).collect();
        (status.transfers, status.blocked, status.staged) = (transfers, blocked, staged);
        status.hints = hints;
        status
    }

    fn describe_member(&self, node: &MemberReport, own: NodeId) -> report::Member {
        let MemberReport { member, is_member, is_suspected, progress, held } = node;
        let state = match is_suspected {
            _ if member.id == own => "self",
            true => "down",
            false => "up",
        };
        let address = match member.address.is_empty() {
            true if member.id == own => self.peers.hello().advertise,
            true => self.peers.address_of(member.id).map(|(_, address)| address).unwrap_or_default(),
            false => member.address.clone(),
        };
        report::Member {
            name: self.name_of(member),
            address,
            zone: member.zone.clone(),
            weight: member.weight,
            state: state.into(),
            stays: *is_member,
            partitions: *held,
            ack: progress.ack,
            synced: progress.synced,
            sync_ack: progress.sync_ack,
        }
    }

    /// A member's name. A version that knew no layouts told no names, only what is hashed of them.
    fn name_of(&self, member: &Member) -> String {
        if member.id == NodeId::named(&member.name) {
            return member.name.clone();
        }
        match member.id == NodeId::named(&self.name) {
            true => self.name.clone(),
            false => self.peers.name_of(member.id),
        }
    }
}

/// A change in words.
fn describe_change(change: &Change, status: &Status) -> String {
    let seat = |member: &Member| {
        let Member { name, address, zone, weight, .. } = member;
        let zone = if zone.is_empty() { String::new() } else { format!("zone {zone}, ") };
        format!("{name} at {address} ({zone}weight {weight})")
    };
    let forced = |force: bool| if force { ", by force" } else { "" };
    match change {
        Change::Join(member) => format!("join {}", seat(member)),
        Change::Leave(node) => format!("leave {}", status.name_of(*node)),
        Change::Remove { node, force } => format!("remove {}{}", status.name_of(*node), forced(*force)),
        Change::Replace { old, new, force } => {
            format!("replace {} by {}{}", status.name_of(*old), seat(new), forced(*force))
        }
        Change::Set(member) => format!("set {}", seat(member)),
    }
}

/// Takes in the nodes that ask for it over the peers' port, one after the other.
pub(crate) async fn take_in(front: Shared, mut requests: mpsc::Receiver<JoinRequest>) {
    while let Some(JoinRequest { hello, now, answer }) = requests.recv().await {
        let outcome = take_in_one(&front, &hello, now).await;
        if outcome.is_ok() {
            info!(
                peer = hello.name,
                "asked to be taken into the cluster: the change is {}",
                match now {
                    true => "applied",
                    false => "staged",
                }
            );
        }
        // Whoever asked may have gone.
        let _ = answer.send(outcome.map_err(|refusal| refusal.to_string()));
    }
}

async fn take_in_one(front: &Front, hello: &Hello, now: bool) -> Result<(), Refusal> {
    let status = front.cluster_status().await?;
    match candidate(&status, hello)? {
        Candidate::Member(_) => Ok(()),
        Candidate::New(member) if now => apply_at_once(front, Change::Join(member)).await,
        Candidate::New(member) => front.cluster(ClusterCall::Stage(Change::Join(member))).await.map(drop),
    }
}

/// A node that is to come in.
enum Candidate {
    /// It is in already.
    Member(String),
    /// It is not, and can be.
    New(Member),
}

/// What the node that says `hello` would be as a member of a cluster that stands as `status` says.
fn candidate(status: &Status, hello: &Hello) -> Result<Candidate, Refusal> {
    let Some(ours) = &status.cluster else {
        return Err(Refusal::unavailable(
            "this node is in no cluster yet that it could take another one into",
        ));
    };
    let (name, address) = (&hello.name, &hello.advertise);
    if *name == status.node {
        return Err(Refusal::conflict(format!(
            "'{name}' is this node's own name: either the address is its own, or another node has the same name"
        )));
    }
    if let Some(theirs) = hello.cluster.as_ref().filter(|theirs| *theirs != ours) {
        return Err(Refusal::conflict(format!(
            "'{name}' is in cluster {theirs}, and this node is in cluster {ours}: a node is in one cluster only; \
             it can come here with an empty data folder"
        )));
    }
    // Whoever is leaving is no member of the newest layout any more.
    if let Some(member) = status.members.iter().find(|member| member.name == *name && member.stays) {
        if hello.cluster.is_some() || member.address == *address {
            return Ok(Candidate::Member(name.clone()));
        }
        return Err(Refusal::conflict(format!(
            "a member is called '{name}' already, at {}: give the new node a name of its own, or replace that \
             member by one",
            member.address
        )));
    }
    if hello.cluster.is_some() {
        return Err(Refusal::conflict(format!(
            "'{name}' was a member of this cluster and is none any more: what it holds is out of date, so it comes \
             back only with an empty data folder"
        )));
    }
    if parse_address(address).is_err() {
        return Err(Refusal::conflict(format!(
            "'{name}' does not say where it is reached ('{address}'): set advertise on it"
        )));
    }
    let (name, address, zone) = (name.clone(), address.clone(), hello.zone.clone());
    let store = hello.store();
    Ok(Candidate::New(Member { id: NodeId::named(&name), name, address, zone, weight: hello.weight, store }))
}

fn already(status: &Status, name: &str) -> Done {
    Done { done: format!("'{name}' is a member already"), staged: status.staged.clone() }
}

async fn inquire(front: &Front, address: &Listed) -> Result<Hello, Refusal> {
    let hello = front.peers.inquire(address).await;
    hello.map_err(|why| {
        Refusal::new(
            StatusCode::BAD_GATEWAY,
            format!("the node at {address} cannot be asked who it is: {why}"),
        )
    })
}

fn parse_address(address: &str) -> Result<Listed, Refusal> {
    match address.parse::<Listed>() {
        Ok(address) if address.name.is_none() && address.port != 0 => Ok(address),
        Ok(_) => Err(Refusal::bad(format!("the address \"{address}\" must look like host:port"))),
        Err(why) => Err(Refusal::bad(format!("the address \"{address}\": {why}"))),
    }
}

async fn stage(front: &Front, change: Change) -> Answer {
    front.cluster(ClusterCall::Stage(change)).await?;
    done(front, "the change is staged: see godown cluster plan for what it would move").await
}

async fn done(front: &Front, words: &str) -> Answer {
    let staged = front.cluster_status().await?.staged;
    Ok(json(&Done { done: words.into(), staged }))
}

/// Stages, plans and applies one change, unless others are staged: they are somebody's who is not done yet. A node that
/// has asked to be taken in may have staged the same change.
async fn apply_at_once(front: &Front, change: Change) -> Result<(), Refusal> {
    let report = front.cluster_report().await?;
    if report.staged.iter().any(|staged| staged.node() != change.node()) {
        return Err(Refusal::conflict(format!(
            "other changes are staged ({}): apply or unstage them first",
            front.describe(&report).staged.join(", ")
        )));
    }
    front.cluster(ClusterCall::Stage(change)).await?;
    let plan = front.plan().await?;
    front.cluster(ClusterCall::Apply { epoch: plan.epoch, hash: plan.hash }).await?;
    Ok(())
}

/// Joins this node with those at `peers`: a node that is in no cluster is taken in by them, a member takes them in.
async fn yzma_join(front: &Front, peers: &[String]) -> Result<String, Refusal> {
    if peers.is_empty() || peers.len() > PEERS_MAX {
        return Err(Refusal::bad(format!(
            "Peers has {} addresses: 1 to {PEERS_MAX} are wanted",
            peers.len()
        )));
    }
    let addresses: Vec<Listed> =
        peers.iter().map(|address| parse_address(address)).collect::<Result<_, _>>()?;
    let mut joined = Vec::new();
    for address in &addresses {
        let hello = inquire(front, address).await?;
        let status = front.cluster_status().await?;
        if status.cluster.is_none() {
            let outcome = front.peers.ask_in(address).await;
            outcome.map_err(|why| Refusal::conflict(format!("{address}: {why}")))?;
        } else if let Candidate::New(member) = candidate(&status, &hello)? {
            apply_at_once(front, Change::Join(member)).await?;
        }
        joined.push(address.to_string());
    }
    Ok(format!("joined {}", joined.join(", ")))
}

/// A node that has left goes on saying so.
async fn yzma_leave(front: &Front) -> Result<String, Refusal> {
    let status = front.cluster_status().await?;
    if status.member {
        apply_at_once(front, Change::Leave(NodeId::named(&front.name))).await?;
    }
    Ok("leave ok".into())
}

fn yzma(outcome: Result<String, Refusal>) -> Response<Body> {
    let (status, answer) = match outcome {
        Ok(data) => (StatusCode::OK, YzmaAnswer { status: "ok", error: String::new(), data: Some(data) }),
        Err(refusal) => {
            (refusal.status(), YzmaAnswer { status: "error", error: refusal.to_string(), data: None })
        }
    };
    let mut response = json(&answer);
    *response.status_mut() = status;
    response
}

async fn read(front: &Front, request: Request) -> Result<Bytes, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::method("POST"));
    }
    if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
        return Err(Refusal::bad(format!("'{query}': this path takes no query parameters")));
    }
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(front.bodies.read(request.into_body(), announced).await?.bytes.clone())
}

/// The body as what this path wants; none is as good as an empty object.
fn understand<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("the body is not understood: {error}")))
}

fn json(value: &impl Serialize) -> Response<Body> {
    // Everything that is written here has a shape in JSON.
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut response = Response::new(Body::from(text + "\n"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
