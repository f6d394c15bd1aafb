//! Whether a queue of distinct values hands them out first in, first out.
//!
//! A history of such a queue is linearizable exactly if none of a few patterns is in it (Henzinger, Sezgin and
//! Vafeiadis, 2013): a dequeue of what nobody enqueues, a value dequeued twice, a dequeue that returned before its
//! enqueue was invoked, two values enqueued one after the other and dequeued the other way round (or the first one never),
//! and an empty answer while at every moment some value was certainly inside. Each is found by sorting: in n log n.
//! Exact if every dequeue returned. A dequeue that never returned may have taken any value that no other
//! dequeue returned; with such calls, values never dequeued are passed over, and what is found is still certain but may
//! not be all. An enqueue that never returned counts if its value was dequeued.

/// A value that was enqueued, and perhaps dequeued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// Its enqueue.
    pub(crate) enqueue: Span,
    /// Its dequeue, if one returned it.
    pub(crate) dequeue: Option<Span>,
}

/// From when to when a call was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its return; none if it may take effect at any later time or never.
    pub(crate) returned: Option<u32>,
}

impl Span {
    fn returned(self) -> u32 {
        self.returned.unwrap_or(NEVER)
    }
}

const NEVER: u32 = u32::MAX;

/// What was found. Values and empty answers are named by their places in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// None of the patterns.
    Linearizable,
    /// A value was dequeued before its enqueue was invoked.
    Early {
        /// The value.
        value: u32,
    },
    /// Of two values the first was enqueued before the second, yet the second was dequeued before the first.
    Overtaken {
        /// The value enqueued first.
        first: u32,
        /// The value dequeued before it.
        second: u32,
    },
    /// The queue was said to be empty, but was not at any moment of that call.
    NeverEmpty {
        /// The empty answer.
        answer: u32,
        /// Values of which at every moment one was inside, in order of time.
        inside: Vec<u32>,
    },
}

/// Decides on values, each enqueued once and dequeued at most once, and answers that the queue was empty.
/// `are_all_dequeues_known` says that no dequeue may have taken a value without having told so.
pub(crate) fn decide(values: &[Passage], answers: &[Span], are_all_dequeues_known: bool) -> Decision {
    let early = values
        .iter()
        .position(|value| value.dequeue.is_some_and(|dequeue| dequeue.returned() < value.enqueue.invoked));
    if let Some(value) = early {
        return Decision::Early { value: value as u32 };
    }
    let certain: Vec<Stay> = (0u32..)
        .zip(values)
        .filter(|(_, value)| value.dequeue.is_some() || are_all_dequeues_known)
        .map(|(number, value)| Stay {
            from: value.enqueue.returned(),
            until: value.dequeue.map_or(NEVER, |dequeue| dequeue.invoked),
            value: number,
        })
        .collect();
    overtaken(values, certain.clone())
        .or_else(|| never_empty(certain, answers))
        .unwrap_or(Decision::Linearizable)
}

/// When a value was certainly inside: after its enqueue returned, before its dequeue was invoked. May be no time at all.
#[derive(Clone, Copy, Debug)]
struct Stay {
    from: u32,
    until: u32,
    value: u32,
}

fn overtaken(values: &[Passage], mut firsts: Vec<Stay>) -> Option<Decision> {
    firsts.sort_unstable_by_key(|stay| (stay.from, stay.value));
    let dequeued =
        (0u32..).zip(values).filter_map(|(number, value)| Some((number, value, value.dequeue?.returned())));
    let mut seconds: Vec<(u32, u32, u32)> =
        dequeued.map(|(number, value, returned)| (value.enqueue.invoked, returned, number)).collect();
    seconds.sort_unstable();
    let mut firsts = firsts.into_iter().peekable();
    // Of those whose enqueue returned before the one at hand was invoked, the one that stayed longest.
    let mut longest: Option<Stay> = None;
    for (invoked, dequeued, second) in seconds {
        while let Some(first) = firsts.next_if(|first| first.from < invoked) {
            if longest.is_none_or(|longest| longest.until < first.until) {
                longest = Some(first);
            }
        }
        if let Some(first) = longest.filter(|first| dequeued < first.until) {
            return Some(Decision::Overtaken { first: first.value, second });
        }
    }
    None
}

fn never_empty(mut stays: Vec<Stay>, answers: &[Span]) -> Option<Decision> {
    stays.retain(|stay| stay.from < stay.until);
    stays.sort_unstable_by_key(|stay| (stay.from, stay.value));
    // The stays that reach further than all before them, and those that no longer overlap begin a new stretch.
    let mut frontier: Vec<Stay> = Vec::new();
    let mut stretches: Vec<(u32, u32)> = Vec::new();
    for stay in stays {
        match stretches.last_mut() {
            Some((_, end)) if stay.from < *end => {
                if stay.until <= *end {
                    continue;
                }
                *end = stay.until;
            }
            _ => stretches.push((stay.from, stay.until)),
        }
        frontier.push(stay);
    }
    for (number, answer) in (0u32..).zip(answers) {
        let Some(returned) = answer.returned else { continue };
        let before = stretches.partition_point(|(begin, _)| *begin < answer.invoked);
        let is_covered = before.checked_sub(1).is_some_and(|last| returned < stretches[last].1);
        if is_covered {
            let inside = cover(&frontier, answer.invoked, returned);
            return Some(Decision::NeverEmpty { answer: number, inside });
        }
    }
    None
}

/// As few values as suffice to have one inside at every moment from `from` until `until`; they overlap all the time.
fn cover(frontier: &[Stay], from: u32, until: u32) -> Vec<u32> {
    let mut inside = Vec::new();
    let mut reached = from;
    while reached < until {
        // The last that begins in time reaches furthest.
        let in_time = frontier.partition_point(|stay| stay.from < reached.max(from + 1));
        let Some(stay) =
            in_time.checked_sub(1).map(|last| frontier[last]).filter(|stay| stay.until > reached)
        else {
            break;
        };
        inside.push(stay.value);
        reached = stay.until;
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::super::random::{Random, rounds};
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Step {
        Enqueue(u32),
        Dequeue(Option<u32>),
    }

    /// Tries every order, as the definition of linearizability says. A dequeue that never returned takes anything.
    fn brute_force(calls: &[(Step, Span)]) -> bool {
        fn go(calls: &[(Step, Span)], left: u32, queue: &[u32]) -> bool {
            let is_left = |i: usize| left >> i & 1 == 1;
            let returns = (0..calls.len()).filter(|i| is_left(*i)).filter_map(|i| calls[i].1.returned);
            let Some(due) = returns.min() else { return true };
            (0..calls.len()).filter(|i| is_left(*i) && calls[*i].1.invoked < due).any(|i| {
                let rest = left & !(1 << i);
                match (calls[i].0, queue.split_first()) {
                    (Step::Enqueue(value), _) => go(calls, rest, &[queue, &[value]].concat()),
                    (Step::Dequeue(_), Some((_, others))) if calls[i].1.returned.is_none() => {
                        go(calls, rest, others)
                    }
                    (Step::Dequeue(None), Some(_)) => false,
                    (Step::Dequeue(None), None) => go(calls, rest, queue),
                    (Step::Dequeue(Some(value)), first) => {
                        first.is_some_and(|(first, others)| *first == value && go(calls, rest, others))
                    }
                }
            })
        }
        go(calls, (1 << calls.len()) - 1, &[])
    }

    /// A few clients of a real queue; some answers are then exchanged.
    fn random_calls(random: &mut Random, crash_dequeues: bool) -> Vec<(Step, Span)> {
        let clients = 1 + random.below(4) as usize;
        let count = 1 + random.below(9) as usize;
        let crash_percent = [0, 20, 50][random.below(3) as usize];
        let lie_percent = [0, 20, 60][random.below(3) as usize];
        let mut queue: Vec<u32> = Vec::new();
        let mut calls: Vec<(Step, Span)> = Vec::new();
        let mut open: Vec<Option<(usize, bool)>> = vec![None; clients];
        let mut position = 0;
        while calls.len() < count || open.iter().any(Option::is_some) {
            position += 1;
            if let Some((call, has_effect @ false)) = &mut open[random.below(clients as u32) as usize] {
                *has_effect = true;
                match &mut calls[*call].0 {
                    Step::Enqueue(value) => queue.push(*value),
                    Step::Dequeue(answer) => {
                        let place = if random.percent(lie_percent) { queue.len() / 2 } else { 0 };
                        *answer = (!queue.is_empty()).then(|| queue.remove(place));
                    }
                }
            }
            let client = random.below(clients as u32) as usize;
            match open[client] {
                None if calls.len() < count => {
                    open[client] = Some((calls.len(), false));
                    let value = calls.len() as u32;
                    let step = if random.percent(55) { Step::Enqueue(value) } else { Step::Dequeue(None) };
                    calls.push((step, Span { invoked: position, returned: None }));
                }
                Some((call, true)) => {
                    open[client] = None;
                    let is_dequeue = matches!(calls[call].0, Step::Dequeue(_));
                    if !random.percent(crash_percent) || is_dequeue && !crash_dequeues {
                        calls[call].1.returned = Some(position);
                    } else if is_dequeue {
                        calls[call].0 = Step::Dequeue(None);
                    }
                }
                _ => {}
            }
        }
        // Exchange two answers, or forget one.
        if random.percent(lie_percent) {
            let answers: Vec<usize> = (0..calls.len())
                .filter(|i| matches!(calls[*i].0, Step::Dequeue(_)) && calls[*i].1.returned.is_some())
                .collect();
            if let [first, .., last] = answers[..] {
                let answer = calls[first].0;
                calls[first].0 = calls[last].0;
                calls[last].0 = answer;
            } else if let [only] = answers[..] {
                calls[only].0 = Step::Dequeue(None);
            }
        }
        calls
    }

    /// What the engine is told: values, empty answers, whether all dequeues are known; and the calls of each.
    struct Input {
        values: Vec<Passage>,
        value_calls: Vec<Vec<usize>>,
        answers: Vec<Span>,
        answer_calls: Vec<usize>,
        are_all_dequeues_known: bool,
    }

    fn input(calls: &[(Step, Span)]) -> Input {
        let mut input = Input {
            values: Vec::new(),
            value_calls: Vec::new(),
            answers: Vec::new(),
            answer_calls: Vec::new(),
            are_all_dequeues_known: true,
        };
        for (place, (step, span)) in calls.iter().enumerate() {
            match step {
                Step::Enqueue(value) => {
                    let by = calls.iter().position(|(step, _)| *step == Step::Dequeue(Some(*value)));
                    if by.is_some() || span.returned.is_some() {
                        let dequeue = by.map(|by| calls[by].1);
                        input.values.push(Passage { enqueue: *span, dequeue });
                        input.value_calls.push([place].into_iter().chain(by).collect());
                    }
                }
                Step::Dequeue(_) if span.returned.is_none() => input.are_all_dequeues_known = false,
                Step::Dequeue(None) => {
                    input.answers.push(*span);
                    input.answer_calls.push(place);
                }
                Step::Dequeue(Some(_)) => {}
            }
        }
        input
    }

    /// Whether the calls that a decision names suffice; enqueues of other values are optional.
    fn is_reason(decision: &Decision, calls: &[(Step, Span)], input: &Input) -> bool {
        let of = |value: &u32| input.value_calls[*value as usize].clone();
        let named: Vec<usize> = match decision {
            Decision::Linearizable => return false,
            Decision::Early { value } => of(value),
            Decision::Overtaken { first, second } => [of(first), of(second)].concat(),
            Decision::NeverEmpty { answer, inside } => {
                let mut named: Vec<usize> = inside.iter().flat_map(of).collect();
                named.push(input.answer_calls[*answer as usize]);
                named
            }
        };
        let kept: Vec<(Step, Span)> = named.into_iter().map(|place| calls[place]).collect();
        !brute_force(&kept)
    }

    #[test]
    fn patterns_agree_with_trying_every_order_and_name_a_reason() {
        let seed = 0xf1f0_0001;
        let mut random = Random(seed);
        let mut kinds = [0u32; 4];
        let mut covers = [0u32; 4];
        let rounds = rounds(200_000);
        for round in 0..rounds {
            let calls = random_calls(&mut random, false);
            let input = input(&calls);
            let decision = decide(&input.values, &input.answers, input.are_all_dequeues_known);
            let told = || format!("seed {seed:#x} round {round}: {decision:?} {calls:#?}");
            let expected = brute_force(&calls);
            assert!(input.are_all_dequeues_known);
            assert_eq!(decision == Decision::Linearizable, expected, "{}", told());
            assert!(expected || is_reason(&decision, &calls, &input), "{}", told());
            kinds[match &decision {
                Decision::Linearizable => 0,
                Decision::Early { .. } => 1,
                Decision::Overtaken { .. } => 2,
                Decision::NeverEmpty { inside, .. } => {
                    covers[inside.len().min(3)] += 1;
                    3
                }
            }] += 1;
        }
        assert!(kinds.iter().all(|count| *count > rounds / 200), "{kinds:?}");
        assert!(
            kinds[0] < rounds * 9 / 10 && covers[0] == 0 && covers[2] > rounds / 40_000,
            "{kinds:?} {covers:?}"
        );
    }

    #[test]
    fn what_is_found_beside_dequeues_that_never_returned_is_certain() {
        let seed = 0xf1f0_0002;
        let mut random = Random(seed);
        let mut found = [0u32; 3];
        let rounds = rounds(100_000);
        for round in 0..rounds {
            let calls = random_calls(&mut random, true);
            let input = input(&calls);
            let decision = decide(&input.values, &input.answers, input.are_all_dequeues_known);
            let told = || format!("seed {seed:#x} round {round}: {decision:?} {calls:#?}");
            let is_possible = brute_force(&calls);
            assert!(!is_possible || decision == Decision::Linearizable, "{}", told());
            let is_missed = decision == Decision::Linearizable && !is_possible;
            found[usize::from(!is_possible) + usize::from(is_missed)] += 1;
        }
        assert!(found[0] > rounds / 5 && found[1] > rounds / 50 && found[2] < found[1], "{found:?}");
    }
}
