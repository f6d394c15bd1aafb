//! `godown demo`: a cluster, clients, disasters, a verdict.
//!
//! Three real nodes are started as child processes. Sessions read, write and delete over HTTP while one node
//! is killed and started again and another is paused and resumed. Then the load ends, the nodes get time to agree, each
//! is asked what it holds, and the checker judges everything that the clients saw: was a write lost, did
//! a deleted value return, do the nodes agree, did every session read its own writes? With `--grow` another script is
//! played: the cluster holds a stock of many keys, grows, loses nodes and disks and shrinks; at the end the stock is
//! counted, everything is deleted, and the disks are looked at.
//! The run folder keeps all of it, and how stale reads were. The exit code is the verdict:
//! 0 valid, 1 violated, 2 unknown or no run at all.

mod grow;
mod memory;
mod operator;
mod recorder;
mod rest;
mod script;
mod session;
mod stock;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use godown_jepsen::check::Verdict;
use rand::TryRng;
use rand::rngs::SysRng;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::check::{UNKNOWN, exit_code, promises, tell};
use crate::load::cluster::{Cluster, NODES, interrupted};
use crate::load::screen::{Screen, print, thousands};
use crate::report::run::{Counted, Emptied, Folder, Results, Run, timestamp};
use crate::report::{self, table};
use recorder::Recorder;
use script::Story;
use session::Session;
use stock::Stock;

/// How much longer than the load a run takes, for the bar.
const AFTER: Duration = Duration::from_secs(2);
/// How long the bar takes a run that grows to be, whatever the machine.
const GROW_ABOUT: Duration = Duration::from_secs(150);
/// How long the nodes may take to find no more differences by themselves,
const QUIET_MAX: Duration = Duration::from_secs(15);
/// and how long after much has moved.
const GROW_QUIET_MAX: Duration = Duration::from_secs(120);

/// The flags of `godown demo`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// How long the clients work, in seconds.
    #[arg(long, default_value_t = 8, conflicts_with = "grow", value_parser = clap::value_parser!(u64).range(2..=3_600))]
    seconds: u64,
    /// Fill the cluster, then let it grow, shrink and lose a disk while the clients work, and count everything.
    #[arg(long)]
    grow: bool,
    /// With --grow: how many keys the cluster is filled with.
    #[arg(long, default_value_t = 100_000, requires = "grow", value_parser = clap::value_parser!(u64).range(10..=9_999_999))]
    keys: u64,
    /// With --grow: bytes of each of their values.
    #[arg(long, default_value_t = 1_000, requires = "grow", value_parser = clap::value_parser!(u32).range(50..=1_000_000))]
    value_bytes: u32,
    /// How many clients work at the same time.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..=256))]
    sessions: u64,
    /// What the clients' choices are drawn from; random if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// The folder in which the run's folder is made.
    #[arg(long, default_value = "runs")]
    run_dir: PathBuf,
    /// The program whose `serve` the nodes run, such as an older build; this one if not given.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Leave the cluster up after the verdict, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// Runs the demo.
///
/// # Errors
/// None: a run that cannot be made says why on stderr and has the exit code of an unknown verdict.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let outcome = local.block_on(&runtime, async {
        let (code, kept) = tokio::select! {
            outcome = demo(&args) => outcome?,
            signal = interrupted() => return Err(signal.into()),
        };
        if let Some(cluster) = kept {
            interrupted().await;
            drop(cluster);
        }
        Ok::<_, Box<dyn Error>>(code)
    });
    outcome.or_else(|error| {
        eprintln!("godown demo: {error}");
        Ok(UNKNOWN.into())
    })
}

/// A cluster that outlives its run, and its data.
type Kept = (Cluster, TempDir);

async fn demo(args: &Args) -> Result<(ExitCode, Option<Kept>), Box<dyn Error>> {
    let seed = match args.seed {
        Some(seed) => seed,
        None => SysRng.try_next_u64()?,
    };
    let started = SystemTime::now();
    let (folder, name) = Folder::create(&args.run_dir, "demo", started)?;
    let data = tempfile::Builder::new().prefix("godown-demo-").tempdir()?;
    let screen = Screen::new(if args.grow { GROW_ABOUT } else { Duration::from_secs(args.seconds) + AFTER });
    screen.line(&format!("Godown demo: {NODES} nodes, {} client sessions, seed {seed}", args.sessions));

    screen.say("starting the nodes");
    let program = match &args.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?,
    };
    let mut cluster = Cluster::start(&program, data.path(), folder.path()).await?;
    let nodes: Vec<(String, SocketAddr)> =
        cluster.nodes.iter().map(|node| (node.name.clone(), node.http)).collect();

    let recorder = Rc::new(Recorder::new(&folder.history(), &folder.latency())?);
    let mut story = Story::new(&recorder, &screen);
    let names: Vec<String> = nodes.iter().map(|(name, address)| format!("{name} on {address}")).collect();
    story.tell(format!("all nodes are ready: {}", names.join(", ")));
    let keys = session::keys();
    let mut grown = match args.grow {
        true => Some((
            grow::Script::new(&folder, &screen)?,
            Stock::new(args.keys, args.value_bytes as usize, seed),
        )),
        false => None,
    };
    if let Some((script, stock)) = &mut grown {
        script.stock(&mut story, &cluster, stock).await?;
    }
    let script = grown.as_mut().map(|(script, _)| script);
    let load_s = load(args, seed, &recorder, &mut story, &mut cluster, script).await?;
    recorder.check()?;

    let limit = if args.grow { GROW_QUIET_MAX } else { QUIET_MAX };
    let remaining = cluster.running();
    let rest = come_to_rest(&remaining, &keys, limit, &recorder, &mut story, &screen).await;
    let (mut counted, mut emptied) = (None, None);
    if let Some((mut script, stock)) = grown {
        if !rest.is_quiet {
            return Err(script.never_quiet(&cluster, limit).await);
        }
        let stock = Rc::new(stock);
        counted = Some(script.count(&mut story, &cluster, &stock, &folder).await?);
        if !args.keep {
            emptied = Some(script.empty(&mut story, &mut cluster, &stock, keys.clone()).await?);
        }
        script.tell_times()?;
    }

    let (phases, faults, timeline) = story.end(load_s);
    let recorder = Rc::into_inner(recorder).ok_or("a session outlived the load")?;
    recorder.finish()?;
    let run = Run {
        name,
        what: "demo".to_owned(),
        started: timestamp(started),
        command: format!("godown demo {} --sessions {} --seed {seed}", script_flags(args), args.sessions),
        seed,
        commit: report::run::commit(),
        settings: settings(args),
        versions: report::run::versions(),
        nodes: cluster.nodes.iter().map(|node| node.name.clone()).collect(),
        load_s,
        phases,
        faults,
        timeline,
    };
    folder.write_run(&run)?;
    screen.say("judging the history");
    let code = judge(&folder, rest, counted, emptied, &screen)?;
    if args.keep {
        invite(&remaining, &keys);
    }
    Ok((code, args.keep.then_some((cluster, data))))
}

/// The flags that choose the script.
fn script_flags(args: &Args) -> String {
    match args.grow {
        true => format!("--grow --keys {} --value-bytes {}", args.keys, args.value_bytes),
        false => format!("--seconds {}", args.seconds),
    }
}

/// Lets the sessions work while a script is played, and says when that was over, in seconds.
async fn load(
    args: &Args,
    seed: u64,
    recorder: &Rc<Recorder>,
    story: &mut Story<'_>,
    cluster: &mut Cluster,
    script: Option<&mut grow::Script<'_>>,
) -> Result<f64, Box<dyn Error>> {
    let (stop, stopped) = watch::channel(false);
    let (roster, everybody) = watch::channel(cluster.running());
    let sessions: Vec<_> = (0..args.sessions as usize)
        .map(|number| {
            let session = Session::new(number, seed, Rc::clone(recorder), everybody.clone());
            tokio::task::spawn_local(session.run(stopped.clone()))
        })
        .collect();
    let played = match script {
        Some(script) => script.play(story, cluster, &roster).await,
        None => script::play(story, cluster, Duration::from_secs(args.seconds)).await.map_err(Into::into),
    };
    let load_s = recorder.elapsed().as_secs_f64();
    // Nobody listens any more only if every session has ended, which is what is wanted.
    let _ = stop.send(true);
    for session in sessions {
        session.await?;
    }
    played?;
    Ok(load_s)
}

/// How the nodes came to agree.
struct Rest {
    /// Whether they found no more differences by themselves.
    is_quiet: bool,
    /// How long after the load they showed the same, if ever.
    equal_after: Option<Duration>,
    /// How many replicas the reads afterwards had to repair, if the nodes say.
    repaired: Option<u64>,
}

/// Waits until the nodes agree, and reads everything on each of them for the record.
async fn come_to_rest(
    nodes: &[(String, SocketAddr)],
    keys: &[String],
    limit: Duration,
    recorder: &Recorder,
    story: &mut Story<'_>,
    screen: &Screen,
) -> Rest {
    let over = recorder.elapsed();
    story.tell("the load is over; nobody reads while the nodes compare notes");
    let before = rest::until_quiet(nodes, limit, screen).await;
    story.tell(match before {
        Some(_) => "no node finds a difference any more; now each is asked what it holds",
        None => "the nodes do not say that they agree; each is asked what it holds",
    });
    let asked = recorder.elapsed();
    let equal = rest::until_equal(nodes, keys, screen).await;
    story.tell(match equal {
        Some(_) => "all nodes show the same, and go on doing so",
        None => "the nodes still differ; the final reads will say where",
    });
    rest::record(recorder, nodes, keys).await;
    let after = rest::repairs(nodes).await;
    Rest {
        is_quiet: before.is_some(),
        equal_after: equal.map(|took| asked - over + took),
        repaired: before.zip(after).map(|(before, after)| after.saturating_sub(before)),
    }
}

/// Checks the history, writes results and report, and says all of it.
fn judge(
    folder: &Folder,
    rest: Rest,
    counted: Option<Counted>,
    emptied: Option<Emptied>,
    screen: &Screen,
) -> Result<ExitCode, Box<dyn Error>> {
    let history = folder.read_history()?;
    let judgement = promises(&history)?;
    let is_wrong = counted.is_some_and(|counted| counted.misses > 0)
        || emptied.as_ref().is_some_and(|emptied| emptied.rows_left() > 0);
    let verdict = if is_wrong { Verdict::Violated } else { judgement.verdict };
    let results = Results {
        verdict: verdict.to_string(),
        stock: counted,
        emptied,
        equal_after_s: rest.equal_after.map(|after| after.as_secs_f64()),
        repaired_by_reads: rest.repaired,
        latency: table::rows(&history, &folder.read_latency()?)?,
        ..Results::new(&judgement)?
    };
    folder.write_results(&results)?;
    folder.write_verdict(&history, &judgement)?;
    let report = report::write(folder.path())?;
    screen.finish();

    let calls: u64 = results.latency.iter().map(|row| row.count + row.failed + row.unknown).sum();
    let rows: Vec<_> = results.latency.iter().map(table::cells).collect();
    print(&format!("\nLatency of successful calls ({} calls in all)\n", thousands(calls)));
    print(&table::align(table::COLUMNS, &rows, 2));
    let counted = results.stock.map(|counted| format!("Stock: {counted}."));
    let emptied = results.emptied.as_ref().map(|emptied| format!("Deleted: {emptied}."));
    let beside: Vec<String> = counted.into_iter().chain(emptied).collect();
    tell(&judgement, (!beside.is_empty()).then(|| beside.join("\n")).as_deref(), verdict);
    print(&format!("Run:     {}", folder.path().display()));
    print(&format!("Report:  {}", absolute(&report).display()));
    Ok(exit_code(verdict).into())
}

/// A path that a browser takes; the path itself if it has no absolute form.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn invite(nodes: &[(String, SocketAddr)], keys: &[String]) {
    let key = keys.first().map_or("k", String::as_str);
    print("\nThe cluster is up until Ctrl-C. Try:\n");
    for (_, address) in nodes {
        print(&format!("  curl -i http://{address}/mec/{key}"));
    }
    if let Some((_, address)) = nodes.first() {
        print(&format!(
            "  curl -i -X PUT -H 'Content-Type: text/plain' -d hello http://{address}/mec/greeting"
        ));
    }
}

fn settings(args: &Args) -> BTreeMap<String, String> {
    let keys = format!("{} hot, {} cold", session::HOT, session::COLD);
    let stock = match args.grow {
        true => format!("{} keys of {} bytes", thousands(args.keys), thousands(args.value_bytes.into())),
        false => "none".to_owned(),
    };
    [
        (
            "nodes",
            if args.grow { format!("{NODES}, then 5, 4, and {NODES} again") } else { NODES.to_string() },
        ),
        ("replicas, r, w", "3, 2, 2 (final reads: r = 1)".to_owned()),
        ("sessions", format!("{}, closed loop with think time", args.sessions)),
        ("keys", keys),
        (
            "load",
            if args.grow { "as long as the changes take".to_owned() } else { format!("{} s", args.seconds) },
        ),
        ("stock", stock),
        ("timeout of a call", format!("{} ms", session::TIMEOUT.as_millis())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
