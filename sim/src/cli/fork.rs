//! `replay --fork`: from which moment on was a failure inevitable?

use godown_sim::campaign::{self, Forked};
use godown_sim::scenario::{SECOND, Scenario, span};
use godown_sim::world::{Options, Outcome};

use super::say;

/// When to fork a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// At a moment, in nanoseconds since the run began.
    Moment(u64),
    /// At many, from the beginning to the end.
    All,
}

/// # Errors
/// What to say instead.
pub(crate) fn at(text: &str) -> Result<At, String> {
    if text == "all" {
        Ok(At::All)
    } else {
        span::parse(text).map(At::Moment).map_err(|error| error + ", or all")
    }
}

/// Forks a failing run at these moments, and tells how often it fails in the same way.
pub(crate) fn fork(scenario: &Scenario, options: &Options, outcome: &Outcome, ats: &[At], forks: u64) {
    let Some(failure) = outcome.failures.first() else {
        return say("there is no failure to look for in forks");
    };
    say(&format!("forked at    broke {}    broke another check", failure.check));
    let mut last = None;
    for at in ats {
        let moments = match at {
            At::Moment(at_ns) => vec![*at_ns],
            At::All => campaign::moments_of(outcome.simulated_ns),
        };
        for moment in moments {
            for Forked { at_ns, forks, broke, others } in
                campaign::fork(scenario, options, failure.check, &[moment], forks)
            {
                // A run that has ended has no later moment.
                if last.replace(at_ns) != Some(at_ns) {
                    let (seconds, percent) =
                        (at_ns as f64 / SECOND as f64, 100.0 * broke as f64 / forks as f64);
                    say(&format!("{seconds:>9.3} s  {percent:>7.1} %  {others:>7}"));
                }
            }
        }
    }
}
