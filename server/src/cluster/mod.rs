//! `godown cluster`: an operator's view of a cluster, and the way to change it.
//!
//! Every command is one or two requests to one node, which may be any member; what the commands mean is decided
//! there. A change is staged first (`join`, `leave`, `remove`, `replace`, `set`), `plan` shows what it would move, and
//! `apply` makes it so: exactly the layout that was shown, or nothing. The exit code is 0 when it is done, 1 when the
//! node says no (or a wait was in vain), and 2 when nobody could be asked.

pub(crate) mod client;
pub(crate) mod report;
pub(crate) mod tables;

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::load::screen::print;
use client::{Client, Trouble};
use report::{Done, Plan, Status, Transfer};

/// How often `status --wait` asks.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// The flags of `godown cluster`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the node to ask serves HTTP.
    #[arg(
        long,
        global = true,
        env = "GODOWN_NODE",
        value_name = "URL",
        default_value = "http://127.0.0.1:3000"
    )]
    node: String,
    /// Print the node's answer as it is: JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show who is in the cluster and how it stands.
    Status {
        /// Wait until no change is under way and all data is where it belongs.
        #[arg(long)]
        wait: bool,
        /// How long to wait at most, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
        timeout: u64,
    },
    /// Show what the staged changes would move.
    Plan,
    /// Apply the staged changes: as they were planned, or after showing the plan.
    Apply {
        /// The number of the layout that is the newest, as the plan says it.
        #[arg(long, requires = "hash")]
        epoch: Option<u64>,
        /// The layout's hash in the plan.
        #[arg(long, requires = "epoch")]
        hash: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Take in the node that is reached at an address.
    Join {
        /// Where it listens for other nodes.
        #[arg(value_name = "HOST:PORT")]
        address: String,
        #[command(flatten)]
        seat: Seat,
    },
    /// Let a member go, once its data is elsewhere.
    Leave {
        /// Its name; the node that is asked if not given.
        name: Option<String>,
    },
    /// Let go of a member that is dead: what it has and nobody else is lost.
    Remove {
        /// Its name.
        name: String,
        /// Even if the last copy of something goes with it.
        #[arg(long)]
        force: bool,
    },
    /// Put a new node into the place of a member.
    Replace {
        /// The name of the member that goes.
        name: String,
        /// Where the new node listens for other nodes.
        #[arg(value_name = "HOST:PORT")]
        address: String,
        /// Even if the last copy of something goes with the member.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        seat: Seat,
    },
    /// Change what the cluster knows of a member.
    Set {
        /// Its name.
        name: String,
        /// Where the others reach it.
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        #[command(flatten)]
        seat: Seat,
    },
    /// Forget the staged changes.
    Unstage,
    /// Show the partitions that are on their way to the node.
    Transfers,
    /// Let the node compare everything that it holds with the other replicas.
    Repair,
}

/// How a member stands beside the others.
#[derive(clap::Args)]
struct Seat {
    /// What it may fail together with; what the node itself says if not given.
    #[arg(long)]
    zone: Option<String>,
    /// Its share of the data, 1 to 1000; what the node itself says if not given.
    #[arg(long)]
    weight: Option<u32>,
}

/// Runs one command.
///
/// # Errors
/// None: what went wrong is said on stderr, and the exit code tells which kind it is.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let client = Client::of(&args.node).await?;
        Command { client, json: args.json }.run(args.verb).await
    });
    Ok(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("godown cluster: {trouble}");
            ExitCode::from(match trouble {
                Trouble::Refused(_) => 1,
                Trouble::NoAnswer(_) => 2,
            })
        }
    })
}

struct Command {
    client: Client,
    json: bool,
}

impl Command {
    async fn run(mut self, verb: Verb) -> Result<(), Trouble> {
        match verb {
            Verb::Status { wait: false, .. } => {
                let status = self.client.get("status").await?;
                self.show(&status, |status: &Status| tables::status(status))
            }
            Verb::Status { wait: true, timeout } => self.wait(Duration::from_secs(timeout)).await,
            Verb::Plan => {
                let plan = self.client.post("plan", &json!({})).await?;
                self.show(&plan, |plan: &Plan| tables::plan(plan))
            }
            Verb::Apply { epoch: Some(epoch), hash: Some(hash), .. } => self.apply(epoch, &hash).await,
            Verb::Apply { yes, .. } => self.plan_and_apply(yes).await,
            Verb::Join { address, seat } => {
                self.stage("join", &seat, &[("address", Some(address.as_str()))], false).await
            }
            Verb::Leave { name } => self.stage_plain("leave", json!({ "node": name })).await,
            Verb::Remove { name, force } => {
                self.stage_plain("remove", json!({ "node": name, "force": force })).await
            }
            Verb::Replace { name, address, force, seat } => {
                let said = [("node", Some(name.as_str())), ("address", Some(address.as_str()))];
                self.stage("replace", &seat, &said, force).await
            }
            Verb::Set { name, address, seat } => {
                let said = [("node", Some(name.as_str())), ("address", address.as_deref())];
                self.stage("set", &seat, &said, false).await
            }
            Verb::Unstage => self.stage_plain("unstage", json!({})).await,
            Verb::Repair => self.stage_plain("repair", json!({})).await,
            Verb::Transfers => {
                let transfers = self.client.get("transfers").await?;
                self.show(&transfers, |transfers: &Vec<Transfer>| tables::transfers(transfers))
            }
        }
    }

    async fn stage(
        &mut self,
        what: &str,
        seat: &Seat,
        said: &[(&str, Option<&str>)],
        force: bool,
    ) -> Result<(), Trouble> {
        let mut body = Map::new();
        let zone = ("zone", seat.zone.as_deref());
        for (name, value) in said.iter().copied().chain([zone]) {
            if let Some(value) = value {
                body.insert(name.into(), value.into());
            }
        }
        if let Some(weight) = seat.weight {
            body.insert("weight".into(), weight.into());
        }
        if force {
            body.insert("force".into(), true.into());
        }
        self.stage_plain(what, Value::Object(body)).await
    }

    async fn stage_plain(&mut self, what: &str, body: Value) -> Result<(), Trouble> {
        let done = self.client.post(what, &body).await?;
        self.show(&done, |done: &Done| tables::done(done))
    }

    async fn plan_and_apply(&mut self, yes: bool) -> Result<(), Trouble> {
        let answer = self.client.post("plan", &json!({})).await?;
        let plan: Plan = understand(&answer)?;
        if !self.json {
            print(&tables::plan(&plan));
        }
        if !yes && !confirm()? {
            return Err(Trouble::Refused("nothing is applied".into()));
        }
        self.apply(plan.epoch, &plan.hash).await
    }

    async fn apply(&mut self, epoch: u64, hash: &str) -> Result<(), Trouble> {
        self.stage_plain("apply", json!({ "epoch": epoch, "hash": hash })).await
    }

    async fn wait(&mut self, timeout: Duration) -> Result<(), Trouble> {
        let started = Instant::now();
        loop {
            // A node that does not answer now may do so before the time is over.
            let asked = self.client.get("status").await;
            if let Ok(answer) = &asked {
                let status: Status = understand(answer)?;
                if status.is_settled() {
                    return self.show(answer, |status: &Status| tables::status(status));
                }
            }
            if started.elapsed() > timeout {
                self.show(&asked?, |status: &Status| tables::status(status))?;
                return Err(Trouble::Refused(format!("a change is still under way after {timeout:?}")));
            }
            sleep(ASK_EVERY).await;
        }
    }

    fn show<T: DeserializeOwned>(&self, answer: &[u8], words: impl Fn(&T) -> String) -> Result<(), Trouble> {
        let understood = understand(answer)?;
        match self.json {
            true => print(String::from_utf8_lossy(answer).trim_end()),
            false => print(words(&understood).trim_end()),
        }
        Ok(())
    }
}

/// An answer as what it must be.
pub(crate) fn understand<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(answer)
        .map_err(|error| Trouble::NoAnswer(format!("the node's answer is not understood: {error}")))
}

/// Whether the user says yes.
fn confirm() -> Result<bool, Trouble> {
    if !io::stdin().is_terminal() {
        return Err(Trouble::Refused(
            "nobody can be asked here: give --yes, or --epoch and --hash of a plan".into(),
        ));
    }
    let mut answer = String::new();
    let mut ask = || {
        eprint!("Apply this? [y/N] ");
        io::stderr().flush()?;
        io::stdin().read_line(&mut answer)
    };
    ask().map_err(|error| Trouble::NoAnswer(error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
