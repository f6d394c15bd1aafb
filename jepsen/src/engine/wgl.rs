//! The search for a linearization of one register.
//!
//! Wing and Gong's search (1993) with Lowe's memoisation and just-in-time linearization (2017): walk the events in
//! order, and only when an operation returns that has not taken effect yet, decide which open writers took effect
//! before it. Everything that returned earlier is in, so a configuration is the event, the set of open operations
//! that took effect, and the register's value; open operations have slots that are reused after their return,
//! so the set is a few machine words and not a bit for every operation of the history.
//!
//! What changes nothing (a read, a cas that failed or that keeps the value) takes effect the moment the value
//! allows it; only writers branch. A write whose value nobody will read any more takes effect for free just before
//! another write. Operations that never returned are resources: one whose value nobody can need any more is
//! forgotten, of identical ones the first is used first, and a configuration that used more of them than an equal one is
//! pruned. The order of the search, and so its result, depends on the input alone.
//!
//! Depth first finds an order quickly if there is one, but remembers all that it saw. When its share of the
//! budget is spent, the search goes on breadth first, which remembers the configurations of one moment only.

use std::hash::{Hash, Hasher};
use std::time::Instant;

use super::mask::Mask;
use super::quick::QuickMap;

/// What an operation does to the register. Values are small numbers that the caller gave out; 0 is the first value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// Returned this value.
    Read(u32),
    /// Found that the register does not hold this value.
    Differs(u32),
    /// Wrote this value.
    Write(u32),
    /// Found the first and wrote the second.
    Cas(u32, u32),
}

impl Step {
    fn is_neutral(self) -> bool {
        match self {
            Step::Read(_) | Step::Differs(_) => true,
            Step::Write(_) => false,
            Step::Cas(old, new) => old == new,
        }
    }

    fn is_legal(self, state: u32) -> bool {
        match self {
            Step::Read(value) | Step::Cas(value, _) => state == value,
            Step::Differs(value) => state != value,
            Step::Write(_) => true,
        }
    }

    fn after(self, state: u32) -> u32 {
        match self {
            Step::Read(_) | Step::Differs(_) => state,
            Step::Write(value) | Step::Cas(_, value) => value,
        }
    }

    /// The value that it leaves behind.
    pub(crate) fn makes(self) -> Option<u32> {
        match self {
            Step::Write(value) | Step::Cas(_, value) => Some(value),
            Step::Read(_) | Step::Differs(_) => None,
        }
    }

    /// The value without which it cannot take effect.
    pub(crate) fn needs(self) -> Option<u32> {
        match self {
            Step::Read(value) | Step::Cas(value, _) => Some(value),
            Step::Differs(_) | Step::Write(_) => None,
        }
    }
}

/// One operation: what it does, and where it begins and ends among all events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// What it does.
    pub(crate) step: Step,
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its return; none if it may take effect at any later time or never.
    pub(crate) returned: Option<u32>,
}

/// How much a search may spend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Events walked and operations tried.
    pub(crate) steps_max: u64,
    /// Configurations remembered.
    pub(crate) configurations_max: usize,
    /// When to stop in any case.
    pub(crate) deadline: Option<Instant>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// There is a linearization.
    Linearizable,
    /// There is none; up to the return of every other operation before this call there is one.
    Impossible {
        /// The call that cannot have taken effect before it returned, by its place in the input.
        call: usize,
        /// What the register could have held when it returned.
        states: Vec<u32>,
    },
    /// The steps ran out.
    OutOfSteps,
    /// The memory ran out.
    OutOfMemory,
    /// The time ran out.
    OutOfTime,
    /// More operations are open at once than a set has places for.
    TooWide,
}

/// Decides whether `calls`, ordered by invocation, can be put in an order that explains them, beginning with value 0.
/// Returns the decision and the steps that it took.
pub(crate) fn decide(calls: &[Call], budget: Budget) -> (Decision, u64) {
    let plan = Plan::new(calls);
    match plan.width {
        0..=64 => Search::<1>::new(&plan, calls, budget).run(),
        65..=256 => Search::<4>::new(&plan, calls, budget).run(),
        257..=1024 => Search::<16>::new(&plan, calls, budget).run(),
        1025..=4096 => Search::<64>::new(&plan, calls, budget).run(),
        _ => (Decision::TooWide, 0),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Invoke,
    Return,
    /// A crashed operation whose value nobody can need any more is forgotten.
    Forget,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    position: u32,
    what: What,
    call: u32,
}

const NONE: u32 = u32::MAX;

/// What can be said of the calls before the search.
struct Plan {
    /// Everything that happens, in order.
    moments: Vec<Moment>,
    /// The slot of each call; completed and crashed calls have slots of their own.
    slots: Vec<u16>,
    /// The crashed call before this one that does the same.
    twins: Vec<u32>,
    /// One past the position at which a value is last needed; 0 if it never is.
    needed_until: Vec<u32>,
    /// The largest number of slots of either sort.
    width: usize,
}

impl Plan {
    fn new(calls: &[Call]) -> Self {
        let needed_until = needed_until(calls);
        let mut moments = Vec::with_capacity(2 * calls.len());
        let mut twins = vec![NONE; calls.len()];
        let mut latest: QuickMap<Step, u32> = QuickMap::default();
        for (number, call) in (0u32..).zip(calls) {
            let moment = |position, what| Moment { position, what, call: number };
            match call.returned {
                Some(returned) => {
                    moments.push(moment(call.invoked, What::Invoke));
                    moments.push(moment(returned, What::Return));
                }
                None if call.step.is_neutral() => {}
                None => {
                    let until = needed_until[call.step.after(0) as usize];
                    if until > call.invoked {
                        moments.push(moment(call.invoked, What::Invoke));
                        moments.push(moment(until - 1, What::Forget));
                        twins[number as usize] = latest.insert(call.step, number).unwrap_or(NONE);
                    }
                }
            }
        }
        // In two words, because comparing them one field after the other takes longer.
        moments.sort_unstable_by_key(|moment| {
            (u64::from(moment.position) << 2 | moment.what as u64, moment.call)
        });
        let mut plan = Plan { moments, slots: vec![0; calls.len()], twins, needed_until, width: 0 };
        plan.give_slots(calls);
        plan
    }

    fn give_slots(&mut self, calls: &[Call]) {
        let mut free: [Vec<u16>; 2] = [Vec::new(), Vec::new()];
        let mut used = [0usize; 2];
        for moment in &self.moments {
            let call = moment.call as usize;
            let sort = usize::from(calls[call].returned.is_none());
            if moment.what == What::Invoke {
                self.slots[call] = free[sort].pop().unwrap_or_else(|| {
                    used[sort] += 1;
                    // Beyond this the plan is too wide and the slots are never looked at.
                    u16::try_from(used[sort] - 1).unwrap_or(u16::MAX)
                });
            } else {
                free[sort].push(self.slots[call]);
            }
        }
        self.width = used[0].max(used[1]);
    }
}

/// For each value, one past the last position at which an operation may still need the register to hold it.
fn needed_until(calls: &[Call]) -> Vec<u32> {
    let values = calls.iter().map(|call| match call.step {
        Step::Read(value) | Step::Differs(value) | Step::Write(value) => value,
        Step::Cas(old, new) => old.max(new),
    });
    let mut until = vec![0u32; values.max().map_or(1, |value| value as usize + 1)];
    let mut until_any = 0;
    for call in calls {
        let Some(returned) = call.returned else { continue };
        match call.step {
            // Any value but one: so every value may be the one that helps.
            Step::Differs(_) => until_any = until_any.max(returned + 1),
            step => {
                if let Some(value) = step.needs() {
                    until[value as usize] = until[value as usize].max(returned + 1);
                }
            }
        }
    }
    until.iter_mut().for_each(|until| *until = (*until).max(until_any));
    // A crashed cas hands the need for its new value on to its old one. Long chains are cut short by
    // saying "for ever", which is always safe.
    for round in 0.. {
        let mut has_changed = false;
        for call in calls.iter().filter(|call| call.returned.is_none()) {
            if let Step::Cas(old, new) = call.step {
                let need = if round < 16 || until[new as usize] <= call.invoked {
                    until[new as usize]
                } else {
                    NONE
                };
                if need > until[old as usize] && need > call.invoked {
                    until[old as usize] = need;
                    has_changed = true;
                }
            }
        }
        if !has_changed {
            break;
        }
    }
    until
}

/// What the register holds, and which open operations have taken effect.
#[derive(Clone, Copy, Debug)]
struct Configuration<const N: usize> {
    state: u32,
    done: Mask<N>,
    used: Mask<N>,
}

#[derive(PartialEq, Eq)]
struct Visited<const N: usize> {
    moment: u32,
    state: u32,
    done: Mask<N>,
}

impl<const N: usize> Hash for Visited<N> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(u64::from(self.moment) << 32 | u64::from(self.state));
        self.done.hash(hasher);
    }
}

/// The smallest sets of crashed operations that a configuration was reached with.
struct Spent<const N: usize> {
    first: Mask<N>,
    rest: Vec<Mask<N>>,
}

/// A decision that may have to be taken back.
struct Frame<const N: usize> {
    moment: u32,
    configuration: Configuration<N>,
    /// Its first untried candidate; its last is where the next frame's begin.
    next: u32,
    end: u32,
    begin: u32,
}

/// Marks a candidate as crashed.
const CRASHED: u16 = 1 << 15;

struct Search<'a, const N: usize> {
    plan: &'a Plan,
    calls: &'a [Call],
    budget: Budget,
    steps: u64,
    rounds: u32,
    /// The next moment to walk over.
    moment: usize,
    configuration: Configuration<N>,
    /// What is open at this moment: a set of slots and the call in each, completed and crashed.
    open: Mask<N>,
    neutral: Mask<N>,
    in_slot: Vec<u32>,
    open_crashed: Mask<N>,
    in_slot_crashed: Vec<u32>,
    memo: QuickMap<Visited<N>, Spent<N>>,
    remembered: usize,
    frames: Vec<Frame<N>>,
    candidates: Vec<u16>,
    /// The furthest return that could not be passed, and the values with which it was reached.
    furthest: usize,
    furthest_states: Vec<u32>,
}

impl<'a, const N: usize> Search<'a, N> {
    fn new(plan: &'a Plan, calls: &'a [Call], budget: Budget) -> Self {
        Search {
            plan,
            calls,
            budget,
            steps: 0,
            rounds: 0,
            moment: 0,
            configuration: Configuration { state: 0, done: Mask::EMPTY, used: Mask::EMPTY },
            open: Mask::EMPTY,
            neutral: Mask::EMPTY,
            in_slot: vec![NONE; plan.width],
            open_crashed: Mask::EMPTY,
            in_slot_crashed: vec![NONE; plan.width],
            memo: QuickMap::default(),
            remembered: 0,
            frames: Vec::new(),
            candidates: Vec::new(),
            furthest: 0,
            furthest_states: Vec::new(),
        }
    }

    fn run(mut self) -> (Decision, u64) {
        let Search { plan, calls, budget, .. } = self;
        // Depth first gets half, and what it leaves is for breadth first.
        self.budget.steps_max /= 2;
        self.budget.configurations_max /= 2;
        let decision = self.depth_first();
        let steps = self.steps;
        if !matches!(decision, Decision::OutOfSteps | Decision::OutOfMemory) {
            return (decision, steps);
        }
        // What depth first remembered is given back before anything else is.
        drop(self);
        let mut search = Search { steps, ..Search::<N>::new(plan, calls, budget) };
        let decision = search.breadth_first();
        (decision, search.steps)
    }

    /// Why the search must stop, if it must.
    fn exhausted(&mut self) -> Option<Decision> {
        self.rounds = self.rounds.wrapping_add(1);
        if self.steps > self.budget.steps_max {
            return Some(Decision::OutOfSteps);
        }
        if self.remembered > self.budget.configurations_max {
            return Some(Decision::OutOfMemory);
        }
        let is_late = || self.budget.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        (self.rounds.is_multiple_of(1024) && is_late()).then_some(Decision::OutOfTime)
    }

    fn impossible(&mut self) -> Decision {
        self.furthest_states.sort_unstable();
        let call = self.plan.moments[self.furthest].call as usize;
        Decision::Impossible { call, states: std::mem::take(&mut self.furthest_states) }
    }

    fn depth_first(&mut self) -> Decision {
        loop {
            let Some(returning) = self.advance() else {
                return Decision::Linearizable;
            };
            if self.is_new() {
                self.push_frame(returning);
            }
            if let Some(decision) = self.exhausted() {
                return decision;
            }
            if !self.try_next() {
                return self.impossible();
            }
        }
    }

    fn breadth_first(&mut self) -> Decision {
        let mut front = vec![self.configuration];
        for (place, moment) in self.plan.moments.iter().enumerate() {
            self.moment = place;
            self.steps += 1;
            let slot = self.plan.slots[moment.call as usize];
            let call = &self.calls[moment.call as usize];
            match moment.what {
                What::Invoke => {
                    self.occupy(moment.call);
                    if call.returned.is_some() && call.step.is_neutral() {
                        let allows = |of: &&mut Configuration<N>| call.step.is_legal(of.state);
                        front.iter_mut().filter(allows).for_each(|of| of.done.set(slot));
                    }
                }
                What::Forget => {
                    front.iter_mut().for_each(|of| of.used.clear(slot));
                    self.vacate(moment.call);
                }
                What::Return => {
                    front = match self.pass(front, moment.call) {
                        Ok(passed) if passed.is_empty() => return self.impossible(),
                        Ok(passed) => passed,
                        Err(decision) => return decision,
                    };
                    self.vacate(moment.call);
                }
            }
        }
        Decision::Linearizable
    }

    /// The configurations in which `returning` has taken effect and returned.
    fn pass(
        &mut self,
        front: Vec<Configuration<N>>,
        returning: u32,
    ) -> Result<Vec<Configuration<N>>, Decision> {
        let slot = self.plan.slots[returning as usize];
        let (mut passed, mut left) = (Vec::new(), Vec::new());
        self.forget();
        for configuration in front {
            self.configuration = configuration;
            self.sort_out(slot, &mut passed, &mut left);
        }
        while let Some(before) = left.pop() {
            self.configuration = before;
            self.list_candidates(returning);
            let mut candidates = std::mem::take(&mut self.candidates);
            for candidate in candidates.drain(..) {
                self.configuration = before;
                self.apply(candidate);
                self.sort_out(slot, &mut passed, &mut left);
                if let Some(decision) = self.exhausted() {
                    return Err(decision);
                }
            }
            self.candidates = candidates;
        }
        // Those that used the fewest crashed operations first: they prune the others.
        passed.iter_mut().for_each(|of| of.done.clear(slot));
        passed.sort_by_cached_key(|of| of.used.count());
        self.forget();
        passed.retain(|of| self.remember(of));
        Ok(passed)
    }

    /// Puts the configuration at hand to those that the returning call has passed, or to those that are left to try.
    fn sort_out(&mut self, slot: u16, passed: &mut Vec<Configuration<N>>, left: &mut Vec<Configuration<N>>) {
        let configuration = self.configuration;
        if configuration.done.has(slot) {
            if self.remember(&configuration) {
                passed.push(configuration);
            }
        } else if self.is_new() {
            left.push(configuration);
        }
    }

    /// Forgets what was reached.
    fn forget(&mut self) {
        self.memo.clear();
        self.remembered = 0;
    }

    /// Walks on until an operation returns that has not taken effect; none at the end.
    fn advance(&mut self) -> Option<u32> {
        let begin = self.moment;
        let mut returning = None;
        while let Some(moment) = self.plan.moments.get(self.moment) {
            let slot = self.plan.slots[moment.call as usize];
            let call = &self.calls[moment.call as usize];
            match (moment.what, call.returned) {
                (What::Invoke, Some(_)) => {
                    self.occupy(moment.call);
                    if call.step.is_neutral() && call.step.is_legal(self.configuration.state) {
                        self.configuration.done.set(slot);
                    }
                }
                (What::Invoke, None) => self.occupy(moment.call),
                (What::Return, _) if !self.configuration.done.has(slot) => {
                    returning = Some(moment.call);
                    break;
                }
                (What::Return, _) => {
                    self.configuration.done.clear(slot);
                    self.vacate(moment.call);
                }
                (What::Forget, _) => {
                    self.configuration.used.clear(slot);
                    self.vacate(moment.call);
                }
            }
            self.moment += 1;
        }
        self.steps += (self.moment - begin) as u64;
        returning
    }

    /// Walks back to a moment; the configuration is the caller's to restore.
    fn retreat(&mut self, to: usize) {
        self.steps += (self.moment - to) as u64;
        while self.moment > to {
            self.moment -= 1;
            let moment = self.plan.moments[self.moment];
            match moment.what {
                What::Invoke => self.vacate(moment.call),
                What::Return | What::Forget => self.occupy(moment.call),
            }
        }
    }

    fn occupy(&mut self, number: u32) {
        let slot = self.plan.slots[number as usize];
        let call = &self.calls[number as usize];
        if call.returned.is_none() {
            self.open_crashed.set(slot);
            self.in_slot_crashed[usize::from(slot)] = number;
        } else {
            self.open.set(slot);
            self.in_slot[usize::from(slot)] = number;
            if call.step.is_neutral() {
                self.neutral.set(slot);
            }
        }
    }

    fn vacate(&mut self, number: u32) {
        let slot = self.plan.slots[number as usize];
        if self.calls[number as usize].returned.is_none() {
            self.open_crashed.clear(slot);
        } else {
            self.open.clear(slot);
            self.neutral.clear(slot);
        }
    }

    /// Whether this configuration was not reached before with the same or fewer crashed operations; remembers it.
    fn is_new(&mut self) -> bool {
        let configuration = self.configuration;
        let state = configuration.state;
        if self.moment > self.furthest || self.furthest_states.is_empty() {
            self.furthest = self.moment;
            self.furthest_states.clear();
        }
        if self.moment == self.furthest && !self.furthest_states.contains(&state) {
            self.furthest_states.push(state);
        }
        self.remember(&configuration)
    }

    /// Remembers a configuration of this moment, unless an equal one used the same or fewer crashed operations.
    fn remember(&mut self, configuration: &Configuration<N>) -> bool {
        let Configuration { state, done, used } = *configuration;
        let visited = Visited { moment: self.moment as u32, state, done };
        match self.memo.entry(visited) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Spent { first: used, rest: Vec::new() });
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let spent = entry.get_mut();
                if spent.first.is_subset_of(&used) || spent.rest.iter().any(|less| less.is_subset_of(&used)) {
                    return false;
                }
                spent.rest.push(used);
            }
        }
        self.remembered += 1;
        true
    }

    fn push_frame(&mut self, returning: u32) {
        let begin = self.candidates.len() as u32;
        self.list_candidates(returning);
        self.frames.push(Frame {
            moment: self.moment as u32,
            configuration: self.configuration,
            next: begin,
            end: self.candidates.len() as u32,
            begin,
        });
    }

    /// Lists what may take effect before `returning` does, the most promising first.
    fn list_candidates(&mut self, returning: u32) {
        let state = self.configuration.state;
        let wanted = self.calls[returning as usize].step.needs().filter(|value| *value != state);
        let (calls, slots) = (self.calls, &self.plan.slots);
        let own = slots[returning as usize];
        if calls[returning as usize].step.is_legal(state) {
            self.candidates.push(own);
        }
        let helps = |step: Step| wanted.is_some_and(|value| step.after(state) == value);
        let completed = self.open.without(&self.neutral).without(&self.configuration.done);
        let crashed = self.open_crashed.without(&self.configuration.used);
        for is_helper in [true, false] {
            if is_helper && wanted.is_none() {
                continue;
            }
            completed.for_each(|slot| {
                let step = calls[self.in_slot[usize::from(slot)] as usize].step;
                if slot != own && step.is_legal(state) && helps(step) == is_helper {
                    self.candidates.push(slot);
                }
            });
            crashed.for_each(|slot| {
                let number = self.in_slot_crashed[usize::from(slot)];
                let step = calls[number as usize].step;
                let twin = self.plan.twins[number as usize];
                let is_first = twin == NONE || self.configuration.used.has(slots[twin as usize]);
                if is_first && step.is_legal(state) && step.after(state) != state && helps(step) == is_helper
                {
                    self.candidates.push(slot | CRASHED);
                }
            });
        }
    }

    /// Takes the next untried decision, giving up those that have none left. False if there is none at all.
    fn try_next(&mut self) -> bool {
        while let Some(frame) = self.frames.last_mut() {
            if frame.next == frame.end {
                self.candidates.truncate(frame.begin as usize);
                self.frames.pop();
                continue;
            }
            let candidate = self.candidates[frame.next as usize];
            frame.next += 1;
            let (moment, configuration) = (frame.moment as usize, frame.configuration);
            self.retreat(moment);
            self.configuration = configuration;
            self.apply(candidate);
            return true;
        }
        false
    }

    fn apply(&mut self, candidate: u16) {
        self.steps += 1;
        let slot = candidate & !CRASHED;
        let number = if candidate & CRASHED == 0 {
            self.configuration.done.set(slot);
            self.in_slot[usize::from(slot)]
        } else {
            self.configuration.used.set(slot);
            self.in_slot_crashed[usize::from(slot)]
        };
        let step = self.calls[number as usize].step;
        if matches!(step, Step::Write(_)) {
            self.absorb();
        }
        self.configuration.state = step.after(self.configuration.state);
        let state = self.configuration.state;
        self.neutral.without(&self.configuration.done).for_each(|slot| {
            if self.calls[self.in_slot[usize::from(slot)] as usize].step.is_legal(state) {
                self.configuration.done.set(slot);
            }
        });
    }

    /// Lets every open write whose value nobody needs any more take effect just before the write at hand.
    fn absorb(&mut self) {
        let position = self.plan.moments[self.moment].position;
        self.open.without(&self.neutral).without(&self.configuration.done).for_each(|slot| {
            if let Step::Write(value) = self.calls[self.in_slot[usize::from(slot)] as usize].step
                && self.plan.needed_until[value as usize] <= position
            {
                self.configuration.done.set(slot);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::random::Random;

    const BUDGET: Budget = Budget { steps_max: 10_000_000, configurations_max: 1_000_000, deadline: None };

    fn call(step: Step, invoked: u32, returned: impl Into<Option<u32>>) -> Call {
        Call { step, invoked, returned: returned.into() }
    }

    /// Tries every order, as the definition of linearizability says; remembers sets and values only to end early.
    fn brute_force(calls: &[Call]) -> bool {
        fn go(calls: &[Call], left: u32, state: u32, seen: &mut BTreeSet<(u32, u32)>) -> bool {
            let is_left = |i: usize| left >> i & 1 == 1;
            let completed = (0..calls.len()).filter(|i| is_left(*i)).filter_map(|i| calls[i].returned);
            let Some(first_return) = completed.min() else {
                return true;
            };
            if !seen.insert((left, state)) {
                return false;
            }
            (0..calls.len()).filter(|i| is_left(*i) && calls[*i].invoked < first_return).any(|i| {
                // Said once more, so that the search and its judge share nothing.
                let after = match calls[i].step {
                    Step::Read(value) => (state == value).then_some(state),
                    Step::Differs(value) => (state != value).then_some(state),
                    Step::Write(value) => Some(value),
                    Step::Cas(old, new) => (state == old).then_some(new),
                };
                after.is_some_and(|after| go(calls, left & !(1 << i), after, seen))
            })
        }
        go(calls, (1 << calls.len()) - 1, 0, &mut BTreeSet::new())
    }

    /// A history of a few clients; half of them really run against a register, so that both verdicts are common.
    fn random_calls(random: &mut Random) -> Vec<Call> {
        let clients = 1 + random.below(5) as usize;
        let values = 2 + random.below(4);
        let count = 1 + random.below(11) as usize;
        let crash_percent = [0, 10, 40][random.below(3) as usize];
        let lie_percent = [0, 10, 50][random.below(3) as usize];
        let mut state = 0;
        let mut open: Vec<Option<usize>> = vec![None; clients];
        let mut calls: Vec<Call> = Vec::new();
        let mut kinds: Vec<u32> = Vec::new();
        let mut has_effect: Vec<bool> = Vec::new();
        let mut position = 0;
        loop {
            position += 1;
            let client = random.below(clients as u32) as usize;
            // At any time an open call may take effect.
            if let Some(number) = open[random.below(clients as u32) as usize]
                && !has_effect[number]
            {
                has_effect[number] = true;
                let step = &mut calls[number].step;
                let lie = random.below(100) < lie_percent;
                *step = match (*step, kinds[number]) {
                    (Step::Read(_), _) => Step::Read(if lie { random.below(values) } else { state }),
                    (Step::Cas(old, new), _) if (state == old) != lie => Step::Cas(old, new),
                    (Step::Cas(old, _), _) => Step::Differs(old),
                    (step, _) => step,
                };
                state = step.after(state);
            }
            match open[client] {
                None if calls.len() < count => {
                    let kind = random.below(3);
                    open[client] = Some(calls.len());
                    kinds.push(kind);
                    has_effect.push(false);
                    calls.push(call(
                        match kind {
                            0 => Step::Read(random.below(values)),
                            1 => Step::Write(random.below(values)),
                            _ => Step::Cas(random.below(values), random.below(values)),
                        },
                        position,
                        None,
                    ));
                }
                None if open.iter().all(Option::is_none) => break,
                None => {}
                Some(number) => {
                    open[client] = None;
                    let is_neutral = matches!(calls[number].step, Step::Read(_) | Step::Differs(_));
                    if is_neutral || random.below(100) >= crash_percent {
                        calls[number].returned = Some(position);
                    }
                }
            }
        }
        calls
    }

    #[test]
    fn the_search_agrees_with_trying_every_order() {
        let seed = 0x5eed_0001;
        let mut random = Random(seed);
        let mut verdicts = [0u32; 2];
        for round in 0..120_000 {
            let calls = random_calls(&mut random);
            let expected = brute_force(&calls);
            let (decision, _) = decide(&calls, BUDGET);
            assert_eq!(
                decision == Decision::Linearizable,
                expected,
                "seed {seed:#x} round {round}: {calls:#?}"
            );
            verdicts[usize::from(expected)] += 1;
        }
        assert!(verdicts.iter().all(|count| *count > 30_000), "one-sided: {verdicts:?}");
    }

    #[test]
    fn the_call_that_is_blamed_ends_the_shortest_failing_prefix() {
        let seed = 0x5eed_0002;
        let mut random = Random(seed);
        let mut failed = 0;
        for round in 0..20_000 {
            let calls = random_calls(&mut random);
            let (Decision::Impossible { call, .. }, _) = decide(&calls, BUDGET) else {
                continue;
            };
            failed += 1;
            let end = calls[call].returned.unwrap();
            let prefix = |end: u32| -> Vec<Call> {
                let begun = calls.iter().filter(|call| call.invoked < end);
                begun.map(|call| Call { returned: call.returned.filter(|at| *at < end), ..*call }).collect()
            };
            assert!(brute_force(&prefix(end)), "seed {seed:#x} round {round}: {calls:#?}");
            assert!(!brute_force(&prefix(end + 1)), "seed {seed:#x} round {round}: {calls:#?}");
        }
        assert!(failed > 3_000, "{failed}");
    }

    fn search(calls: &[Call], is_breadth_first: bool, budget: Budget) -> Decision {
        let plan = Plan::new(calls);
        let mut search = Search::<1>::new(&plan, calls, budget);
        if is_breadth_first { search.breadth_first() } else { search.depth_first() }
    }

    #[test]
    fn breadth_first_and_depth_first_say_the_same_of_every_history() {
        let seed = 0x5eed_0003;
        let mut random = Random(seed);
        let mut verdicts = [0u32; 2];
        for round in 0..120_000 {
            let calls = random_calls(&mut random);
            let decision = search(&calls, false, BUDGET);
            assert_eq!(search(&calls, true, BUDGET), decision, "seed {seed:#x} round {round}: {calls:#?}");
            verdicts[usize::from(decision == Decision::Linearizable)] += 1;
        }
        assert!(verdicts.iter().all(|count| *count > 30_000), "one-sided: {verdicts:?}");
    }

    #[test]
    fn breadth_first_decides_where_depth_first_runs_out_of_memory() {
        // After every pair of writes nobody knows which one was last, and at the end there is a value that nobody wrote.
        let pairs = (0..500).flat_map(|i| {
            let at = 4 * i;
            [call(Step::Write(1), at, at + 2), call(Step::Write(2), at + 1, at + 3)]
        });
        let mut calls: Vec<Call> = pairs.collect();
        for (value, at) in [(1, 2_000), (2, 2_001), (3, 2_002)] {
            calls.push(call(Step::Read(value), at, at + 10));
        }
        let budget = Budget { configurations_max: 100, ..BUDGET };
        assert_eq!(search(&calls, false, budget), Decision::OutOfMemory);
        let (decision, _) = decide(&calls, budget);
        assert!(matches!(decision, Decision::Impossible { .. }), "{decision:?}");
        assert_eq!(decision, decide(&calls, BUDGET).0);
    }

    #[test]
    fn many_open_operations_need_wider_sets() {
        // Every width of set: all write at once, then the register holds one of their values, and not another.
        for count in [10, 64, 65, 200, 300, 1_100] {
            let writes = (0..count).map(|i| call(Step::Write(i + 1), i, 2 * count + i));
            let mut calls: Vec<Call> = writes.collect();
            calls.push(call(Step::Read(1), 3 * count, 3 * count + 1));
            assert_eq!(decide(&calls, BUDGET).0, Decision::Linearizable, "{count}");
            calls.push(call(Step::Read(2), 3 * count + 2, 3 * count + 3));
            assert!(matches!(decide(&calls, BUDGET).0, Decision::Impossible { .. }), "{count}");
        }
        let too_many: Vec<Call> = (0..5_000).map(|i| call(Step::Write(1), i, 10_000 + i)).collect();
        assert_eq!(decide(&too_many, BUDGET).0, Decision::TooWide);
    }

    #[test]
    fn crashed_operations_do_not_multiply_the_work() {
        // 40 crashed writes of three values and a long alternation that needs none of them.
        let mut calls: Vec<Call> = (0..40).map(|i| call(Step::Write(1 + i % 3), i, None)).collect();
        for i in 0..200 {
            let at = 40 + 4 * i;
            calls.push(call(Step::Write(10 + i % 2), at, at + 1));
            calls.push(call(Step::Read(10 + i % 2), at + 2, at + 3));
        }
        calls.push(call(Step::Read(3), 1_000, 1_001));
        let (decision, steps) = decide(&calls, BUDGET);
        assert_eq!(decision, Decision::Linearizable);
        assert!(steps < 10_000, "{steps}");
        calls.push(call(Step::Read(99), 1_002, 1_003));
        let (decision, steps) = decide(&calls, BUDGET);
        assert!(
            matches!(decision, Decision::Impossible { call, .. } if call == calls.len() - 1),
            "{decision:?}"
        );
        assert!(steps < 1_000_000, "{steps}");
    }

    #[test]
    fn a_chain_of_crashed_cas_of_any_length_explains_a_read() {
        for length in [1, 2, 3, 10, 15, 16, 17, 18, 40] {
            // The worst order for finding out who needs whom is that of the chain.
            let chain = |length| (0..length).map(|i| call(Step::Cas(i, i + 1), i, None));
            let mut calls: Vec<Call> = chain(length).collect();
            calls.push(call(Step::Read(length), 100, 101));
            assert_eq!(decide(&calls, BUDGET).0, Decision::Linearizable, "{length}");
            calls.push(call(Step::Read(length - 1), 102, 103));
            assert!(matches!(decide(&calls, BUDGET).0, Decision::Impossible { .. }), "{length}");
        }
    }

    #[test]
    fn a_search_stops_at_its_budget() {
        let calls: Vec<Call> = (0..30).map(|i| call(Step::Write(i + 1), i, 100 + i)).collect();
        let mut calls = calls;
        for i in 0..30 {
            calls.push(call(Step::Read(i + 1), 30 + i, 200 + i));
        }
        calls.push(call(Step::Read(77), 300, 301));
        let steps = Budget { steps_max: 1_000, ..BUDGET };
        assert_eq!(decide(&calls, steps).0, Decision::OutOfSteps);
        let memory = Budget { configurations_max: 100, ..BUDGET };
        assert_eq!(decide(&calls, memory).0, Decision::OutOfMemory);
        let time = Budget { deadline: Some(Instant::now()), ..BUDGET };
        assert_eq!(decide(&calls, time).0, Decision::OutOfTime);
    }

    #[test]
    fn the_search_grows_linearly_with_an_easy_history() {
        let calls = |count: u32| -> Vec<Call> {
            let calls = (0..count).map(|i| {
                let step = if i % 2 == 0 { Step::Write(i + 1) } else { Step::Read(i) };
                call(step, 4 * i, 4 * i + 2)
            });
            calls.collect()
        };
        let (_, small) = decide(&calls(1_000), BUDGET);
        let (decision, large) = decide(&calls(10_000), BUDGET);
        assert_eq!(decision, Decision::Linearizable);
        assert!(large < 11 * small, "{small} {large}");
    }
}
