//! How a register ended whose latest write wins: staleness of its final reads.
//!
//! A final read that certainly missed a write shows that the store's idea of "latest" is not that of its clients:
//! one wrote after another had been acknowledged, and yet lost. Skewed clocks do that.

use super::part::{Part, Skip};
use super::{Measured, steps_of};
use crate::check::Options;
use crate::check::convergence::{node_name, shown};
use crate::check::measure::Clock;
use crate::check::report::{Anomaly, Explanation};
use crate::check::role::Role;
use crate::history::{Atom, History, Operation, Outcome};

/// What one final read of a register says.
pub(in crate::check) enum Ending {
    /// It shows a value that no write certainly overwrote.
    Kept,
    /// It does not.
    Wrong(Anomaly, Explanation),
}

impl Ending {
    /// What each of the final reads says, or in words why it cannot be judged.
    pub(in crate::check) fn of(
        history: &History,
        operations: &[Operation],
        finals: &[Operation],
        options: &Options,
    ) -> Vec<Result<Ending, String>> {
        let (clock, roles) = (Clock::by_position(), history.words(Role::of));
        let part = match Part::new(history, &clock, &roles, operations) {
            Ok(part) => part,
            Err(reason) => return vec![Err(reason)],
        };
        let measured = part.measure_register(options);
        let told = finals.iter().map(|read| judge(history, operations, &roles, &measured, read));
        told.collect()
    }
}

fn judge(
    history: &History,
    operations: &[Operation],
    roles: &[Role],
    measured: &Measured,
    read: &Operation,
) -> Result<Ending, String> {
    let who = node_name(history, read);
    let end = history.end_of(read);
    if let Some(judged) = measured.judged.iter().find(|judged| judged.read == *read) {
        let Some((write, _)) = judged.first else { return Ok(Ending::Kept) };
        let what = match write.argument.present() {
            Some(_) if roles[write.f.number()] == Role::Delete => "a delete came".to_owned(),
            Some(value) => format!("{} was written", history.show(value)),
            None => "a delete came".to_owned(),
        };
        let value = history.show(read.result.or(Atom::NULL));
        let (events, steps) = steps_of(history, judged, false);
        return Ok(Ending::Wrong(
            Anomaly::LostToEarlier,
            Explanation {
                summary: format!(
                    "{who} ends with {value}, though {what} later ({})",
                    history.start_of(&write)
                ),
                events,
                steps,
                contradiction: format!("{who} shows {value} in the end ({end}), where the latest must win"),
            },
        ));
    }
    match measured.skipped.iter().find(|(skipped, _)| skipped == read) {
        Some((_, Skip::StrangeValue)) => Ok(strange(history, operations, roles, read)),
        Some((_, Skip::SeveralValues)) => Ok(Ending::Wrong(
            Anomaly::FalseSibling,
            Explanation {
                summary: format!("{who} ends with several values"),
                events: vec![end.clone()],
                steps: vec!["only one value can be left, because the latest write wins".to_owned()],
                contradiction: format!("{who} shows {} in the end ({end})", history.show(read.result)),
            },
        )),
        _ => Err(format!("the final read at {end} says nothing")),
    }
}

/// A value that nobody had written by then, or whose write was refused.
fn strange(history: &History, operations: &[Operation], roles: &[Role], read: &Operation) -> Ending {
    let (who, end) = (node_name(history, read), history.end_of(read));
    let values = shown(history, read);
    let is_refused = |operation: &&Operation| {
        operation.outcome == Outcome::Fail
            && roles[operation.f.number()] == Role::Write
            && values.contains(&operation.argument)
    };
    let (anomaly, because, also) = match operations.iter().find(is_refused) {
        Some(write) => {
            let at = history.end_of(write);
            (Anomaly::Refused, format!("its write was refused ({at})"), Some(at))
        }
        None => (Anomaly::Invented, "nobody had begun to write it".to_owned(), None),
    };
    let value = history.show(read.result);
    let explanation = Explanation {
        summary: format!("{who} ends with {value}, but {because}"),
        events: also.into_iter().chain([end.clone()]).collect(),
        steps: vec![format!("{value} cannot be there, because {because}")],
        contradiction: format!("{who} shows {value} in the end ({end})"),
    };
    Ending::Wrong(anomaly, explanation)
}
