//! `fork`: from which moment on was a failure inevitable?

use std::process::ExitCode;

use godown_sim::campaign;
use godown_sim::scenario::{SECOND, span};
use godown_sim::world::World;

use super::{Drawn, How, options, say, source};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The seed, or the file of a scenario.
    what: String,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    drawn: Drawn,
    /// The moment to fork at, such as 1.2s since the run began; may be said more than once. Without it, 17 moments
    /// from the beginning to the end.
    #[arg(long, value_parser = span::parse)]
    at: Vec<u64>,
    /// How many forks at each moment.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    forks: u64,
}

pub(crate) fn fork(args: &Args) -> Result<ExitCode, String> {
    if args.how.world != World::Stepped {
        return Err("only the stepped world can be forked: leave --world out".to_owned());
    }
    let source = source(&args.what, &args.drawn)?;
    let options = options(&args.how, &source, false);
    let outcome = campaign::run_one(&source.scenario, &options);
    let Some(failure) = outcome.failures.first() else {
        say("every check holds: there is no failure to look for in forks");
        return Ok(ExitCode::SUCCESS);
    };
    say(&format!("broke {failure}"));
    let moments =
        if args.at.is_empty() { campaign::moments_of(outcome.simulated_ns) } else { args.at.clone() };
    say("forked at    broke it    broke another check");
    let mut last = None;
    for at_ns in moments {
        let forked = campaign::fork(&source.scenario, &options, failure.check, &[at_ns], args.forks);
        for campaign::Forked { at_ns, forks, broke, others } in forked {
            if last.replace((at_ns, broke)).is_some_and(|(before_ns, _)| before_ns == at_ns) {
                continue;
            }
            let seconds = at_ns as f64 / SECOND as f64;
            let percent = broke as f64 * 100.0 / forks as f64;
            say(&format!("{seconds:>9.3} s  {percent:>7.1} %  {others:>7}"));
        }
    }
    Ok(ExitCode::FAILURE)
}
