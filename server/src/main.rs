//! `godown`: the server and its command line.
//!
//! This file knows the verbs and nothing else: each is a module with `Args` (its flags) and `run`, which gives the
//! exit code or the reason why it could not do its work. What a verb prints for its user goes to stdout, logs and
//! errors go to stderr. The core that is built in here never has the `simulation` feature, so no planted bug; and
//! `--version` asks the compiler rather than repeat that.

mod bench;
mod check;
mod cluster;
mod config;
mod demo;
mod driver;
mod http;
mod load;
mod peers;
mod report;
mod serve;
mod store;

use std::error::Error;
use std::marker::PhantomData;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use godown_core::node::Node;

/// The process allocates many small, short-lived buffers on few threads; mimalloc is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What `--version` says beyond the name.
const VERSION: &str = if Built::<Node>::HAS_PLANTS {
    concat!(env!("CARGO_PKG_VERSION"), "\nplants: compiled in, not for use")
} else {
    concat!(env!("CARGO_PKG_VERSION"), "\nplants: none")
};

/// Asks the compiler how the core was built: its nodes can be cloned exactly when planted bugs are compiled in. The
/// constant of the type is found first when its bound holds, and that of the trait otherwise.
struct Built<T>(PhantomData<T>);

impl<T: Clone> Built<T> {
    #[expect(dead_code, reason = "no build of the server has plants")]
    const HAS_PLANTS: bool = true;
}

trait Otherwise {
    const HAS_PLANTS: bool = false;
}

impl<T> Otherwise for Built<T> {}

/// A leaderless replicated key-value store.
#[derive(Parser)]
#[command(name = "godown", version = VERSION)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run one node.
    Serve(serve::Args),
    /// Print every setting with its default, as a configuration file.
    Config(config::Args),
    /// Look after the store of a node that does not run.
    Store(store::Args),
    /// See and change who is in a cluster.
    Cluster(cluster::Args),
    /// Start three nodes, load them, break them, and judge what the clients saw.
    Demo(demo::Args),
    /// Measure calls per second and latency for several numbers of connections.
    Bench(bench::Args),
    /// Judge the history of a run again.
    Check(check::Args),
    /// Write the report of a run again.
    Report(report::Args),
}

fn main() -> ExitCode {
    let outcome: Result<ExitCode, Box<dyn Error>> = match Cli::parse().verb {
        Verb::Serve(args) => serve::run(args),
        Verb::Config(args) => config::run(args),
        Verb::Store(args) => store::run(args),
        Verb::Cluster(args) => cluster::run(args),
        Verb::Demo(args) => demo::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Report(args) => report::run(args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("godown: {error}");
        ExitCode::FAILURE
    })
}
