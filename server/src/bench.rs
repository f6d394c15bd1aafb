//! `godown bench`: how many calls per second, and how long they take, for several numbers of connections in one run.
//!
//! Figures from two runs on a shared machine cannot be compared; figures from interleaved rounds of one run can. So
//! every number of connections gets its turn in each round, and the table says their ratios. Each write
//! goes to a key of its own: it creates, never overwrites, and no sibling is made. An acknowledged write is on the disks
//! of two of three nodes, synced.
//! A closed loop (the default) measures capacity. An open loop (`--mode open --rate R`) starts calls on a
//! fixed schedule and counts latency from the time when a call was due, so a stall is charged to every call that
//! it would have met (no coordinated omission).

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;
use tempfile::TempDir;
use tokio::task::LocalSet;

use crate::load::cluster::{Cluster, interrupted};
use crate::load::hlog::{histogram, nanoseconds};
use crate::load::http::{Client, Method, Request};
use crate::load::pace::Pace;
use crate::load::screen::{Screen, duration, print, thousands};
use crate::report::table::align;

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an open loop may go on after its schedule to serve what is late.
const LATE_MAX: Duration = Duration::from_secs(5);
/// How many failures in a row a worker takes before it gives up: the node is gone.
const FAILURES_MAX: u32 = 100;

/// How calls are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Each connection calls again as soon as it has its answer.
    Closed,
    /// Calls start on a schedule, whatever the answers do.
    Open,
}

/// The flags of `godown bench`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// HTTP addresses of nodes to measure, such as 127.0.0.1:3000,127.0.0.1:3001; without any, a cluster of three is
    /// started for the run.
    #[arg(long, value_delimiter = ',')]
    nodes: Vec<SocketAddr>,
    /// The program whose `serve` the run's own nodes run, such as an older build; this one if not given.
    #[arg(long, value_name = "FILE", conflicts_with = "nodes")]
    program: Option<PathBuf>,
    /// Where the run's own nodes keep their data: a folder is made in it and removed again. The system's folder for
    /// temporary files if not given.
    #[arg(long, value_name = "FOLDER", conflicts_with = "nodes")]
    data: Option<PathBuf>,
    /// How many connections, each number in turn.
    #[arg(long, value_delimiter = ',', default_value = "1,64", value_parser = clap::value_parser!(u64).range(1..=4_096))]
    connections: Vec<u64>,
    /// How long each number of connections is measured, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Into how many rounds that time is cut.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How calls are started.
    #[arg(long, value_enum, default_value = "closed")]
    mode: Mode,
    /// In an open loop, calls per second over all connections.
    #[arg(long, default_value_t = 1_000.0, value_parser = rate)]
    rate: f64,
    /// Bytes in a value.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    value_bytes: u64,
    /// The share of reads among the calls, from 0 to 1.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    read_ratio: f64,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=1e6).contains(&rate) { Ok(rate) } else { Err("must be from 0.1 to 1000000".to_owned()) }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("must be from 0 to 1".to_owned()) }
}

/// Measures and prints.
///
/// # Errors
/// A cluster that cannot be started, or nodes of which none answers.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        tokio::select! {
            outcome = bench(&args) => outcome,
            signal = interrupted() => Err(signal.into()),
        }
    })
}

async fn bench(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let length = Duration::from_secs(args.seconds).saturating_mul(args.connections.len() as u32);
    let screen = Screen::new(length);
    let own: Option<(Cluster, TempDir)> = if args.nodes.is_empty() {
        screen.say("starting three nodes");
        let mut folder = tempfile::Builder::new();
        let folder = match &args.data {
            Some(data) => folder.prefix("godown-bench-").tempdir_in(data)?,
            None => folder.prefix("godown-bench-").tempdir()?,
        };
        let program = match &args.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        Some((Cluster::start(&program, folder.path(), folder.path()).await?, folder))
    } else {
        None
    };
    if own.as_ref().is_some_and(|(_, folder)| is_memory(folder.path())) {
        eprintln!("godown bench: the data are in memory (tmpfs), where syncing is free; --data names a disk");
    }
    let nodes: Vec<SocketAddr> = match &own {
        Some((cluster, _)) => cluster.nodes.iter().map(|node| node.http).collect(),
        None => args.nodes.clone(),
    };
    let mut lots: Vec<Lot> = Vec::with_capacity(args.connections.len());
    for (number, connections) in args.connections.iter().enumerate() {
        lots.push(Lot::new(number, *connections, &nodes, args).await?);
    }
    let round = Duration::from_secs(args.seconds) / args.rounds;
    for number in 1..=args.rounds {
        for lot in &mut lots {
            screen.say(format!("round {number} of {}, connections: {}", args.rounds, lot.connections));
            lot.round(args, round).await?;
        }
    }
    screen.finish();
    let rows = rows(&lots, args.rounds, round);
    if args.json {
        let outcome = Outcome { args: Said::of(args), rows };
        print(&serde_json::to_string(&outcome)?);
    } else {
        tell(args, &nodes, own.is_some(), &rows);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether files in a folder are in memory only.
#[cfg(target_os = "linux")]
fn is_memory(folder: &Path) -> bool {
    /// `TMPFS_MAGIC` of Linux.
    const TMPFS: i128 = 0x0102_1994;
    rustix::fs::statfs(folder).is_ok_and(|system| i128::from(system.f_type) == TMPFS)
}

/// Whether files in a folder are in memory only; this system does not say.
#[cfg(not(target_os = "linux"))]
fn is_memory(_folder: &Path) -> bool {
    false
}

/// One number of connections, and what was measured with it.
struct Lot {
    connections: u64,
    workers: Vec<Worker>,
    tally: Tally,
}

/// What was measured.
struct Tally {
    writes: Histogram<u64>,
    reads: Histogram<u64>,
    failed: u64,
    /// Calls of an open loop's schedule that were given up.
    dropped: u64,
}

impl Tally {
    fn new() -> Self {
        Tally { writes: histogram(), reads: histogram(), failed: 0, dropped: 0 }
    }

    fn add(&mut self, other: &Tally) {
        // The bounds of all of them are the same, so adding cannot fail.
        self.writes += &other.writes;
        self.reads += &other.reads;
        self.failed += other.failed;
        self.dropped += other.dropped;
    }
}

impl Lot {
    /// Connects everybody, so that no round measures it.
    async fn new(
        number: usize,
        connections: u64,
        nodes: &[SocketAddr],
        args: &Args,
    ) -> Result<Self, Box<dyn Error>> {
        let mut workers = Vec::new();
        for (place, node) in (0..connections).zip(nodes.iter().cycle()) {
            let mut client = Client::new(*node, TIMEOUT);
            let answer = client.call(&Request::get("/ready")).await?;
            if answer.status != 200 {
                return Err(format!("{node} is not ready: status {}", answer.status).into());
            }
            workers.push(Worker {
                client,
                prefix: format!("/mec/bench-{}-{number}-{place}-", std::process::id()),
                written: 0,
                rng: Xoshiro256PlusPlus::seed_from_u64(place),
                value: vec![b'v'; args.value_bytes as usize],
                read_ratio: args.read_ratio,
                tally: Tally::new(),
            });
        }
        Ok(Lot { connections, workers, tally: Tally::new() })
    }

    async fn round(&mut self, args: &Args, length: Duration) -> Result<(), Box<dyn Error>> {
        let pace = (args.mode == Mode::Open).then(|| Pace::start(args.rate, length));
        let end = Instant::now() + length;
        let tasks: Vec<_> = self
            .workers
            .drain(..)
            .map(|worker| {
                let pace = pace.clone();
                tokio::task::spawn_local(async move {
                    match pace {
                        None => worker.closed(end).await,
                        Some(pace) => worker.open(&pace, end + LATE_MAX).await,
                    }
                })
            })
            .collect();
        for task in tasks {
            let mut worker = task.await??;
            self.tally.add(&std::mem::replace(&mut worker.tally, Tally::new()));
            self.workers.push(worker);
        }
        self.tally.dropped += pace.map_or(0, |pace| pace.left());
        Ok(())
    }
}

/// One connection.
struct Worker {
    client: Client,
    prefix: String,
    written: u64,
    rng: Xoshiro256PlusPlus,
    value: Vec<u8>,
    read_ratio: f64,
    tally: Tally,
}

impl Worker {
    async fn closed(mut self, end: Instant) -> Result<Self, String> {
        let mut failures = 0;
        loop {
            let start = Instant::now();
            if start >= end {
                return Ok(self);
            }
            failures = self.call(start, failures).await?;
        }
    }

    async fn open(mut self, pace: &Pace, give_up: Instant) -> Result<Self, String> {
        let mut failures = 0;
        while Instant::now() < give_up {
            let Some(due) = pace.next().await else { break };
            failures = self.call(due, failures).await?;
        }
        Ok(self)
    }

    /// Makes a call whose latency counts from `from`; gives the number of failures in a row.
    async fn call(&mut self, from: Instant, failures: u32) -> Result<u32, String> {
        let is_read = self.written > 0 && self.rng.random_bool(self.read_ratio);
        let key = if is_read { self.rng.random_range(0..self.written) } else { self.written };
        let path = format!("{}{key}", self.prefix);
        let request = if is_read {
            Request::get(&path)
        } else {
            Request { method: Method::Put, path: &path, headers: &[], body: &self.value }
        };
        let answer = self.client.call(&request).await;
        let reason = match answer {
            Ok(answer) if answer.status == 200 => {
                let took = nanoseconds(from.elapsed());
                if is_read {
                    self.tally.reads.saturating_record(took);
                } else {
                    self.tally.writes.saturating_record(took);
                    self.written += 1;
                }
                return Ok(0);
            }
            Ok(answer) => format!("status {}: {}", answer.status, answer.excerpt()),
            Err(error) => error.to_string(),
        };
        self.tally.failed += 1;
        if !is_read {
            // The key may have been written all the same; the next write gets another.
            self.written += 1;
        }
        if failures >= FAILURES_MAX {
            return Err(format!("{FAILURES_MAX} calls failed in a row; the last: {reason}"));
        }
        Ok(failures + 1)
    }
}

/// One line of the table. Latencies in nanoseconds.
#[derive(Clone, Debug, Serialize)]
struct Row {
    connections: u64,
    operation: &'static str,
    calls: u64,
    per_second: f64,
    /// To the first row of the same operation.
    ratio: f64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
    /// Failed calls of these connections, of any operation.
    failed: u64,
    /// Calls of the schedule that were given up.
    dropped: u64,
}

fn rows(lots: &[Lot], rounds: u32, round: Duration) -> Vec<Row> {
    let seconds = round.as_secs_f64() * f64::from(rounds);
    let mut rows: Vec<Row> = Vec::new();
    for operation in ["write", "read"] {
        let mut first = None;
        for lot in lots {
            let histogram = if operation == "write" { &lot.tally.writes } else { &lot.tally.reads };
            if histogram.is_empty() && (operation == "read" || lot.tally.failed == 0) {
                continue;
            }
            let per_second = histogram.len() as f64 / seconds;
            rows.push(Row {
                connections: lot.connections,
                operation,
                calls: histogram.len(),
                per_second,
                ratio: per_second / *first.get_or_insert(per_second),
                p50_ns: histogram.value_at_quantile(0.5),
                p99_ns: histogram.value_at_quantile(0.99),
                p999_ns: histogram.value_at_quantile(0.999),
                max_ns: histogram.max(),
                failed: lot.tally.failed,
                dropped: lot.tally.dropped,
            });
        }
    }
    rows
}

/// What was asked for, for the JSON.
#[derive(Serialize)]
struct Said {
    mode: Mode,
    rate: Option<f64>,
    seconds: u64,
    rounds: u32,
    value_bytes: u64,
    read_ratio: f64,
}

impl Said {
    fn of(args: &Args) -> Self {
        Said {
            mode: args.mode,
            rate: (args.mode == Mode::Open).then_some(args.rate),
            seconds: args.seconds,
            rounds: args.rounds,
            value_bytes: args.value_bytes,
            read_ratio: args.read_ratio,
        }
    }
}

#[derive(Serialize)]
struct Outcome {
    #[serde(flatten)]
    args: Said,
    rows: Vec<Row>,
}

fn tell(args: &Args, nodes: &[SocketAddr], is_own: bool, rows: &[Row]) {
    let how = match args.mode {
        Mode::Closed => "closed loop".to_owned(),
        Mode::Open => format!("open loop of {} calls/s, latency from when a call was due", args.rate),
    };
    let whose = if is_own { "started for this run" } else { "as given" };
    print(&format!(
        "{} nodes {whose}; {how}; {} B values; {} s each in {} interleaved rounds\n",
        nodes.len(),
        args.value_bytes,
        args.seconds,
        args.rounds
    ));
    let columns = [
        "operation",
        "connections",
        "per second",
        "ratio",
        "p50",
        "p99",
        "p99.9",
        "max",
        "failed",
        "dropped",
    ];
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                row.operation.to_owned(),
                row.connections.to_string(),
                thousands(row.per_second.round() as u64),
                format!("{:.2}", row.ratio),
                duration(row.p50_ns),
                duration(row.p99_ns),
                duration(row.p999_ns),
                duration(row.max_ns),
                thousands(row.failed),
                thousands(row.dropped),
            ]
        })
        .collect();
    print(align(columns, &cells, 1).trim_end());
    print("\nA write counts when it is acknowledged: synced to disk on a quorum of its replicas.");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lot(connections: u64, writes: u64) -> Lot {
        let mut tally = Tally::new();
        for _ in 0..writes {
            tally.writes.saturating_record(1_000_000);
        }
        Lot { connections, workers: Vec::new(), tally }
    }

    #[test]
    fn rows_say_rates_over_all_rounds_and_ratios_to_the_first() {
        let rows = rows(&[lot(1, 10), lot(64, 85)], 5, Duration::from_secs(1));
        let told: Vec<_> = rows.iter().map(|row| (row.connections, row.per_second, row.ratio)).collect();
        assert_eq!(told, [(1, 2.0, 1.0), (64, 17.0, 8.5)]);
    }

    #[test]
    fn flags_out_of_range_are_refused() {
        assert!(share("1.1").is_err() && share("NaN").is_err() && share("0.5").is_ok());
        assert!(rate("0").is_err() && rate("inf").is_err() && rate("2500").is_ok());
    }
}
