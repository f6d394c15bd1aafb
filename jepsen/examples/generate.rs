//! Writes a history made to order to standard output:
//! `cargo run --release -p godown-jepsen --example generate -- register --operations 1000000 --format edn > h.edn`.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use godown_jepsen::generate::{Edn, Fault, GenerateError, Generator, Register, Workload};
use godown_jepsen::history::Writer;

/// Writes a history that is valid, or wrong in one known way. The same options make the same bytes.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    workload: Kind,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Args)]
struct Shape {
    /// How many operations.
    #[arg(long, global = true, default_value_t = 1_000)]
    operations: u64,
    /// How many threads invoke them.
    #[arg(long, global = true, default_value_t = 5)]
    processes: u32,
    /// How many keys they are on.
    #[arg(long, global = true, default_value_t = 1)]
    keys: u32,
    /// How many are open at once, in the mean [default: half of the processes].
    #[arg(long, global = true)]
    overlap: Option<u32>,
    /// Of a hundred operations: how many end unknown.
    #[arg(long, global = true, default_value_t = 0)]
    crashes: u32,
    /// Of a hundred writes: how many are refused.
    #[arg(long, global = true, default_value_t = 0)]
    refusals: u32,
    /// What is wrong: one fault in the middle.
    #[arg(long, global = true, value_parser = fault)]
    fault: Option<Fault>,
    /// Everything random comes from here.
    #[arg(long, global = true, default_value_t = 0)]
    seed: u64,
    /// How it is written.
    #[arg(long, global = true, value_enum, default_value_t = Notation::Lines)]
    format: Notation,
}

#[derive(Clone, Copy, ValueEnum)]
enum Notation {
    /// One JSON object a line.
    Lines,
    /// As Jepsen prints it.
    Edn,
}

/// Percentages are of all operations.
#[derive(Subcommand)]
enum Kind {
    /// Reads, writes, cas and deletes of registers.
    Register {
        #[arg(long, default_value_t = 50)]
        reads: u32,
        #[arg(long, default_value_t = 0)]
        cas: u32,
        #[arg(long, default_value_t = 0)]
        deletes: u32,
        /// How many different values are written [default: every write has a new one].
        #[arg(long)]
        values: Option<u32>,
    },
    /// Additions to sets, reads of all elements.
    Set {
        #[arg(long, default_value_t = 2)]
        reads: u32,
    },
    /// Additions to counters, reads.
    Counter {
        #[arg(long, default_value_t = 50)]
        reads: u32,
        /// The largest number that is added.
        #[arg(long, default_value_t = 1)]
        delta: u32,
        /// Negative ones, too.
        #[arg(long)]
        negative: bool,
    },
    /// Queues of distinct elements, emptied at the end.
    Queue,
    /// Additions to lists, reads of whole lists.
    Append {
        #[arg(long, default_value_t = 50)]
        reads: u32,
        /// How long a list gets before a new one is begun.
        #[arg(long, default_value_t = 32)]
        length: u32,
    },
    /// Sessions on replicas that hear of each other's writes later.
    Causal {
        #[arg(long, default_value_t = 50)]
        reads: u32,
        #[arg(long, default_value_t = 3)]
        replicas: u32,
    },
}

impl Kind {
    fn workload(self) -> Workload {
        match self {
            Kind::Register { reads, cas, deletes, values } => Workload::Register(Register {
                read_percent: reads,
                cas_percent: cas,
                delete_percent: deletes,
                values,
            }),
            Kind::Set { reads } => Workload::Set { read_percent: reads },
            Kind::Counter { reads, delta, negative } => {
                Workload::Counter { read_percent: reads, delta_max: delta, has_negative: negative }
            }
            Kind::Queue => Workload::Queue,
            Kind::Append { reads, length } => Workload::Append { read_percent: reads, length_max: length },
            Kind::Causal { reads, replicas } => Workload::Causal { read_percent: reads, replicas },
        }
    }
}

fn fault(name: &str) -> Result<Fault, String> {
    Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| {
        let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        format!("one of {}", names.join(", "))
    })
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Generate(#[from] GenerateError),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

fn main() -> ExitCode {
    match write(Cli::parse()) {
        // Whoever read our output has seen enough.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(trouble) => {
            let _ = writeln!(io::stderr(), "generate: {trouble}");
            ExitCode::from(2)
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn write(Cli { workload, shape }: Cli) -> Result<(), Trouble> {
    let generator = Generator {
        workload: workload.workload(),
        operations: shape.operations,
        processes: shape.processes,
        keys: shape.keys,
        overlap: shape.overlap.unwrap_or(shape.processes.div_ceil(2)),
        crash_percent: shape.crashes,
        refuse_percent: shape.refusals,
        fault: shape.fault,
        seed: shape.seed,
    };
    let output = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    // After the first error nothing more is written; the generator does not know.
    let mut result = Ok(());
    match shape.format {
        Notation::Edn => {
            let mut edn = Edn::new(output);
            generator.run(|event| {
                if result.is_ok() {
                    result = edn.record(&event);
                }
            })?;
            result.and_then(|()| edn.flush())?;
        }
        Notation::Lines => {
            let mut writer = Writer::new(output);
            let mut index = 0;
            generator.run(|event| {
                if result.is_ok() {
                    result = writer.record(&event.index_at(index)).map(|_| ());
                    index += 1;
                }
            })?;
            result.and_then(|()| writer.flush())?;
        }
    }
    Ok(())
}
