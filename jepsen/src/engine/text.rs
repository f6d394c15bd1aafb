//! The search for an order of gets, puts and appends, for texts that do not tell who wrote them.
//!
//! The engine `append` leaves open what several calls may have written. Here every order is tried by `search`, so the cost may
//! grow with each call that is open at once, and there is a budget. A text matters only as the beginning of texts that are
//! read: so a state is the stretch of all texts read, sorted, that begin with it, and its length; all texts that
//! nobody reads are one state. No text is ever built.
//!
//! What is read later rules out most orders at once: if a get follows a write in time and no put can stand between them, the
//! write must leave a beginning of what the get shows. The call to blame does not depend on that: it is the one
//! at whose return the shortest history that has no order ends, found by bisection.

use super::append::{Call, Step};
use super::search::{self, Decision, Machine, Span};
use super::wgl::Budget;

/// Decides whether `calls`, ordered by invocation, can be put in an order that explains what every get shows. An
/// impossible call is the first at whose return this can be known, unless the budget runs out while looking for it.
pub(crate) fn decide<T: Ord + Copy>(calls: &[Call<'_, T>], mut budget: Budget) -> Decision {
    let mut decide_until = |end: u32| {
        let calls = prefix(calls, end);
        let texts = Texts::new(&calls);
        let spans: Vec<Span> =
            calls.iter().map(|call| Span { invoked: call.invoked, returned: call.returned }).collect();
        let (decision, steps) = search::decide(&texts, &spans, budget);
        budget.steps_max = budget.steps_max.saturating_sub(steps);
        decision
    };
    let decision = decide_until(u32::MAX);
    let Decision::Impossible { mut call, mut order } = decision else { return decision };
    let foreseen = calls[call].returned;
    let mut returns: Vec<(u32, usize)> =
        (0..).zip(calls).filter_map(|(number, call)| Some((call.returned?, number))).collect();
    returns.sort_unstable();
    // Up to the return of the call that was found there is an order, and up to the last return there is none.
    let mut possible = returns.partition_point(|(returned, _)| Some(*returned) < foreseen);
    let mut impossible = returns.len() - 1;
    call = returns[impossible].1;
    while possible < impossible {
        let middle = possible.midpoint(impossible);
        match decide_until(returns[middle].0.saturating_add(1)) {
            Decision::Linearizable(found) => (possible, order) = (middle + 1, found),
            Decision::Impossible { .. } => (impossible, call) = (middle, returns[middle].1),
            _ => break,
        }
    }
    Decision::Impossible { call, order }
}

/// What had happened before a position.
fn prefix<'a, T: Copy>(calls: &[Call<'a, T>], end: u32) -> Vec<Call<'a, T>> {
    let begun = calls.iter().take_while(|call| call.invoked < end);
    begun.map(|call| Call { returned: call.returned.filter(|returned| *returned < end), ..*call }).collect()
}

/// All texts that begin with the text at hand: a stretch of those read, and its length. Empty if nobody reads such a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Beginning {
    begin: u32,
    end: u32,
    length: usize,
}

impl Beginning {
    const UNREAD: Self = Beginning { begin: 0, end: 0, length: 0 };

    fn has(&self, text: u32) -> bool {
        (self.begin..self.end).contains(&text)
    }
}

/// The calls as a machine whose states are beginnings of texts that are read.
struct Texts<'c, 'a, T> {
    calls: &'c [Call<'a, T>],
    /// All texts that are read, in order.
    read: Vec<&'a [T]>,
    /// The place among them of what each get shows, and of one that what each write leaves must begin; or `NONE`.
    shown: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl<'c, 'a, T: Ord + Copy> Texts<'c, 'a, T> {
    fn new(calls: &'c [Call<'a, T>]) -> Self {
        let gets = calls.iter().filter_map(|call| match call.step {
            Step::Get(shown) => call.returned.and(Some(shown)),
            Step::Put(_) | Step::Append(_) => None,
        });
        let mut read: Vec<&[T]> = gets.collect();
        read.sort_unstable();
        read.dedup();
        let mut texts = Texts { calls, read, shown: vec![NONE; calls.len()] };
        texts.find_shown();
        texts.foresee();
        texts
    }

    fn find_shown(&mut self) {
        for (shown, call) in self.shown.iter_mut().zip(self.calls) {
            if let Step::Get(text) = call.step {
                *shown = self.read.binary_search(&text).map_or(NONE, |place| place as u32);
            }
        }
    }

    /// Finds for each write a text that what it leaves must begin.
    fn foresee(&mut self) {
        let calls = self.calls;
        let is_put = |call: &&Call<'_, T>| matches!(call.step, Step::Put(_));
        let invoked: Vec<u32> = calls.iter().filter(is_put).map(|put| put.invoked).collect();
        let mut returned: Vec<u32> = calls.iter().filter(is_put).filter_map(|put| put.returned).collect();
        returned.sort_unstable();
        // The latest get first, each with the one that returns first of it and of all that are invoked later.
        let mut gets: Vec<(u32, u32, u32)> = Vec::new();
        for (call, shown) in calls.iter().zip(&self.shown).rev() {
            if let (Step::Get(_), Some(returned)) = (call.step, call.returned) {
                let soonest = gets.last().filter(|(_, soonest, _)| *soonest < returned);
                let (returned, shown) = soonest.map_or((returned, *shown), |get| (get.1, get.2));
                gets.push((call.invoked, returned, shown));
            }
        }
        for (number, call) in calls.iter().enumerate() {
            let (Some(end), false) = (call.returned, matches!(call.step, Step::Get(_))) else { continue };
            let later = gets.partition_point(|(invoked, ..)| *invoked > end);
            let Some((_, until, text)) = later.checked_sub(1).map(|last| gets[last]) else { continue };
            let begun = invoked.partition_point(|put| *put < until);
            let over = returned.partition_point(|put| *put < call.invoked);
            if begun - over == usize::from(is_put(&call)) {
                self.shown[number] = text;
            }
        }
    }

    /// The text at hand with a piece at its end.
    fn extend(&self, Beginning { begin, end, length }: Beginning, piece: &[T]) -> Beginning {
        let (begin, end) = (begin as usize, end as usize);
        let first = begin + self.read[begin..end].partition_point(|text| text[length..] < *piece);
        let count = self.read[first..end].partition_point(|text| text[length..].starts_with(piece));
        if count == 0 {
            return Beginning::UNREAD;
        }
        Beginning { begin: first as u32, end: (first + count) as u32, length: length + piece.len() }
    }
}

impl<T: Ord + Copy> Machine for Texts<'_, '_, T> {
    type State = Beginning;

    fn initial(&self) -> Beginning {
        Beginning { begin: 0, end: self.read.len() as u32, length: 0 }
    }

    fn step(&self, state: &Beginning, call: usize, visit: &mut dyn FnMut(Beginning)) {
        let text = self.shown[call];
        let after = match self.calls[call].step {
            Step::Get(shown) => {
                // Of all texts that begin so, the text itself is the first.
                let is_shown = state.has(text) && state.begin == text && state.length == shown.len();
                return if is_shown {
                    visit(*state)
                };
            }
            Step::Put(piece) => self.extend(self.initial(), piece),
            Step::Append(piece) => self.extend(*state, piece),
        };
        if text == NONE || after.has(text) {
            visit(after);
        }
    }

    fn is_read(&self, call: usize) -> bool {
        matches!(self.calls[call].step, Step::Get(_))
    }
}

#[cfg(test)]
mod tests {
    use super::super::append;
    use super::super::random::{Random, rounds};
    use super::*;

    const BUDGET: Budget = Budget { steps_max: 10_000_000, configurations_max: 1_000_000, deadline: None };

    /// Tries every order, as the definition of linearizability says.
    fn brute_force(calls: &[Call<'_, u8>]) -> bool {
        fn go(calls: &[Call<'_, u8>], left: u32, text: &[u8]) -> bool {
            let is_left = |i: usize| left >> i & 1 == 1;
            let returns = (0..calls.len()).filter(|i| is_left(*i)).filter_map(|i| calls[i].returned);
            let Some(due) = returns.min() else { return true };
            (0..calls.len()).filter(|i| is_left(*i) && calls[*i].invoked < due).any(|i| {
                let rest = left & !(1 << i);
                match calls[i].step {
                    Step::Get(shown) => shown == text && go(calls, rest, text),
                    Step::Put(piece) => go(calls, rest, piece),
                    Step::Append(piece) => go(calls, rest, &[text, piece].concat()),
                }
            })
        }
        go(calls, (1 << calls.len()) - 1, &[])
    }

    /// Whether an order is one of what returned before `end` and of others that had begun, and explains every get.
    fn is_order(order: &[usize], calls: &[Call<'_, u8>], end: u32) -> bool {
        let mut text: Vec<u8> = Vec::new();
        let explains = order.iter().all(|call| match calls[*call].step {
            Step::Get(shown) => text == shown,
            Step::Put(piece) => {
                text = piece.to_vec();
                true
            }
            Step::Append(piece) => {
                text.extend(piece);
                true
            }
        });
        let returned = |call: usize| calls[call].returned.filter(|returned| *returned < end);
        let is_whole = (0..calls.len()).all(|call| {
            order.iter().filter(|placed| **placed == call).count() == 1 || returned(call).is_none()
        });
        let keeps_time = order.iter().enumerate().all(|(at, call)| {
            calls[*call].invoked < end
                && order[at..]
                    .iter()
                    .all(|later| returned(*later).is_none_or(|returned| calls[*call].invoked < returned))
        });
        explains && is_whole && keeps_time
    }

    /// Pieces that begin each other, and nothing.
    const WORDS: [&[u8]; 5] = [b"a", b"b", b"ab", b"aa", b""];

    /// A call and what it reads or writes.
    #[derive(Clone, Debug)]
    struct Drawn {
        kind: u32,
        text: Vec<u8>,
        invoked: u32,
        returned: Option<u32>,
    }

    const GET: u32 = 0;
    const PUT: u32 = 1;

    /// A few clients of a real text who write the same few pieces over and over; some gets then lie.
    fn random_calls(random: &mut Random) -> Vec<Drawn> {
        let clients = 1 + random.below(4) as usize;
        let count = 3 + random.below(7) as usize;
        let words = 1 + random.below(WORDS.len() as u32);
        let put_percent = [0, 10, 40][random.below(3) as usize];
        let crash_percent = [0, 20][random.below(2) as usize];
        let lie_percent = [0, 40, 90][random.below(3) as usize];
        let mut calls: Vec<Drawn> = Vec::new();
        let mut open: Vec<Option<(usize, bool)>> = vec![None; clients];
        let mut text: Vec<u8> = Vec::new();
        let mut position = 0;
        while calls.len() < count || open.iter().any(Option::is_some) {
            position += 1;
            if let Some((call, has_effect @ false)) = &mut open[random.below(clients as u32) as usize] {
                *has_effect = true;
                let call = &mut calls[*call];
                match call.kind {
                    GET => call.text.clone_from(&text),
                    PUT => text.clone_from(&call.text),
                    _ => text.extend(&call.text),
                }
            }
            let client = random.below(clients as u32) as usize;
            match open[client] {
                None if calls.len() < count => {
                    open[client] = Some((calls.len(), false));
                    let is_get = random.percent(45);
                    let kind = if is_get { GET } else { 2 - u32::from(random.percent(put_percent)) };
                    let text = if is_get { &[] } else { WORDS[random.below(words) as usize] };
                    calls.push(Drawn { kind, text: text.to_vec(), invoked: position, returned: None });
                }
                Some(_) if random.percent(crash_percent / 2) => open[client] = None,
                Some((call, true)) => {
                    open[client] = None;
                    let call = &mut calls[call];
                    call.returned = Some(position);
                    if call.kind == GET && random.percent(lie_percent) {
                        match random.below(3) {
                            0 => drop(call.text.pop()),
                            1 => call.text.extend(WORDS[random.below(words) as usize]),
                            _ => call.text.reverse(),
                        }
                    }
                }
                _ => {}
            }
        }
        calls
    }

    fn borrow(drawn: &[Drawn]) -> Vec<Call<'_, u8>> {
        let calls = drawn.iter().filter_map(|Drawn { kind, text, invoked, returned }| {
            let step = match *kind {
                GET => Step::Get(returned.and(Some(text.as_slice()))?),
                PUT => Step::Put(text),
                _ => Step::Append(text),
            };
            Some(Call { step, invoked: *invoked, returned: *returned })
        });
        calls.collect()
    }

    #[test]
    fn the_search_agrees_with_trying_every_order_and_blames_the_end_of_the_shortest_failure() {
        let seed = 0x7e_0001;
        let mut random = Random(seed);
        let rounds = rounds(150_000);
        let mut verdicts = [0u32; 2];
        let mut ambiguous = [0u32; 2];
        for round in 0..rounds {
            let drawn = random_calls(&mut random);
            let calls = borrow(&drawn);
            let expected = brute_force(&calls);
            let told = || format!("seed {seed:#x} round {round}: {drawn:?}");
            verdicts[usize::from(expected)] += 1;
            match decide(&calls, BUDGET) {
                Decision::Linearizable(order) => {
                    assert!(expected && is_order(&order, &calls, u32::MAX), "{order:?} {}", told());
                }
                Decision::Impossible { call, order } => {
                    let end = calls[call].returned.unwrap();
                    assert!(!expected && !brute_force(&prefix(&calls, end + 1)), "{}", told());
                    assert!(is_order(&order, &calls, end), "{call} {order:?} {}", told());
                    assert!(matches!(calls[call].step, Step::Get(_)), "{}", told());
                }
                other => panic!("{other:?} {}", told()),
            }
            match append::decide(&calls) {
                append::Decision::Ambiguous { .. } => ambiguous[usize::from(expected)] += 1,
                other => assert_eq!(other == append::Decision::Linearizable, expected, "{}", told()),
            }
        }
        assert!(verdicts.iter().all(|count| *count > rounds / 5), "{verdicts:?}");
        assert!(ambiguous.iter().all(|count| *count > rounds / 20), "{ambiguous:?}");
    }

    #[test]
    fn what_is_read_later_spares_trying_every_order() {
        // All append at once, two of them the same; only the get at the end tells in which order.
        let letters: Vec<u8> = (b'a'..=b'z').chain([b'm']).collect();
        let shown: Vec<u8> = letters.iter().rev().copied().collect();
        let appends = (0u32..).zip(&letters).map(|(i, letter)| Call {
            step: Step::Append(std::slice::from_ref(letter)),
            invoked: i,
            returned: Some(100 + i),
        });
        let mut calls: Vec<Call<'_, u8>> = appends.collect();
        calls.push(Call { step: Step::Get(&shown), invoked: 200, returned: Some(201) });
        let budget = Budget { steps_max: 20_000, ..BUDGET };
        assert!(matches!(decide(&calls, budget), Decision::Linearizable(_)));
        let wrong = [&shown[..20], b"x"].concat();
        calls.push(Call { step: Step::Get(&wrong), invoked: 202, returned: Some(203) });
        match decide(&calls, budget) {
            Decision::Impossible { call, order } => assert_eq!((call, order.len()), (28, 28)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_search_for_an_order_stops_at_its_budget() {
        let appends = (0..30).map(|i| Call { step: Step::Append(b"a"), invoked: i, returned: Some(100 + i) });
        let mut calls: Vec<Call<'_, u8>> = appends.collect();
        // An append that can always come later hides from the get what the others leave.
        calls.push(Call { step: Step::Put(b"b"), invoked: 31, returned: None });
        calls.push(Call { step: Step::Get(b"ba"), invoked: 98, returned: Some(99) });
        calls.push(Call { step: Step::Get(b"ab"), invoked: 200, returned: Some(201) });
        let steps = Budget { steps_max: 1_000, ..BUDGET };
        assert_eq!(decide(&calls, steps), Decision::OutOfSteps);
        let memory = Budget { configurations_max: 100, ..BUDGET };
        assert_eq!(decide(&calls, memory), Decision::OutOfMemory);
    }
}
