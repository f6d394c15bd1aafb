//! The search for a linearization of anything that has states.
//!
//! The same search as in `wgl` (Wing and Gong 1993, Lowe 2017), for a machine that is only known by its steps: walk the
//! events in order, and when a call returns that has not taken effect yet, try which open calls took effect before
//! it. A configuration is the event, the set of open calls that took effect, and the state, which is given a number. Calls that only
//! read take effect as soon as the state allows them; crashed calls are used only where they change the state, and a
//! configuration that used more of them than an equal one is pruned. What the machine may do next is tried
//! first where it lets the returning call take effect.
//!
//! Depth first finds an order quickly if there is one, but remembers all that it saw. When its share of the
//! budget is spent, the search goes on breadth first, which remembers the configurations of one moment only.

use std::hash::{BuildHasher, Hash};
use std::time::Instant;

use hashbrown::HashTable;

use super::mask::Mask;
use super::quick::{Quick, QuickMap};
use super::wgl::Budget;

/// What calls do.
pub(crate) trait Machine {
    /// What decides what calls may do next.
    type State: Eq + Hash;
    /// The state at the beginning.
    fn initial(&self) -> Self::State;
    /// Every state in which a call may leave the machine, each to `visit`; none if it cannot take effect.
    fn step(&self, state: &Self::State, call: usize, visit: &mut dyn FnMut(Self::State));
    /// Whether a call never changes the state.
    fn is_read(&self, call: usize) -> bool;
}

/// Where a call begins and ends among all events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The position of its invocation.
    pub(crate) invoked: u32,
    /// The position of its return; none if it may take effect at any later time or never.
    pub(crate) returned: Option<u32>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// There is a linearization: this one. Crashed calls that it leaves out never took effect.
    Linearizable(Vec<usize>),
    /// There is none; up to the return of every other call before this one there is.
    Impossible {
        /// The call that cannot have taken effect before it returned.
        call: usize,
        /// A linearization of all that returned before it.
        order: Vec<usize>,
    },
    /// The steps ran out.
    OutOfSteps,
    /// The memory ran out.
    OutOfMemory,
    /// The time ran out.
    OutOfTime,
    /// More calls are open at once than a set has places for.
    TooWide,
}

/// Decides whether `calls`, ordered by invocation, can be put in an order that the machine can take. Returns the decision
/// and the steps that it took.
pub(crate) fn decide<M: Machine>(machine: &M, calls: &[Span], budget: Budget) -> (Decision, u64) {
    let plan = Plan::new(machine, calls);
    match plan.width {
        0..=64 => Search::<M, 1>::new(machine, &plan, calls, budget).run(),
        65..=256 => Search::<M, 4>::new(machine, &plan, calls, budget).run(),
        257..=1024 => Search::<M, 16>::new(machine, &plan, calls, budget).run(),
        1025..=4096 => Search::<M, 64>::new(machine, &plan, calls, budget).run(),
        _ => (Decision::TooWide, 0),
    }
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    position: u32,
    is_return: bool,
    call: u32,
}

/// What is known before the search.
struct Plan {
    moments: Vec<Moment>,
    /// The slot of each call; completed and crashed calls have slots of their own.
    slots: Vec<u16>,
    is_read: Vec<bool>,
    width: usize,
}

impl Plan {
    fn new<M: Machine>(machine: &M, calls: &[Span]) -> Self {
        let is_read: Vec<bool> = (0..calls.len()).map(|call| machine.is_read(call)).collect();
        let mut moments = Vec::with_capacity(2 * calls.len());
        for (number, call) in (0u32..).zip(calls) {
            // Whether a read that crashed took effect makes no difference.
            if call.returned.is_some() || !is_read[number as usize] {
                moments.push(Moment { position: call.invoked, is_return: false, call: number });
            }
            if let Some(position) = call.returned {
                moments.push(Moment { position, is_return: true, call: number });
            }
        }
        moments.sort_unstable_by_key(|moment| (moment.position, moment.is_return, moment.call));
        let mut slots = vec![0; calls.len()];
        let mut free: Vec<u16> = Vec::new();
        let mut used = [0usize; 2];
        for moment in &moments {
            let call = moment.call as usize;
            if moment.is_return {
                free.push(slots[call]);
                continue;
            }
            let sort = usize::from(calls[call].returned.is_none());
            let free = if sort == 0 { free.pop() } else { None };
            slots[call] = free.unwrap_or_else(|| {
                used[sort] += 1;
                // Beyond this the plan is too wide and the slots are never looked at.
                u16::try_from(used[sort] - 1).unwrap_or(u16::MAX)
            });
        }
        Plan { moments, slots, is_read, width: used[0].max(used[1]) }
    }
}

/// States and their numbers.
struct States<S> {
    all: Vec<S>,
    numbers: HashTable<u32>,
    hasher: Quick,
}

impl<S: Eq + Hash> States<S> {
    fn number(&mut self, state: S) -> u32 {
        let States { all, numbers, hasher } = self;
        let hash = hasher.hash_one(&state);
        let is_same = |number: &u32| all[*number as usize] == state;
        if let Some(number) = numbers.find(hash, is_same) {
            return *number;
        }
        let number = all.len() as u32;
        numbers.insert_unique(hash, number, |number| hasher.hash_one(&all[*number as usize]));
        all.push(state);
        number
    }
}

/// The state, and which open calls have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Configuration<const N: usize> {
    state: u32,
    done: Mask<N>,
    used: Mask<N>,
}

/// One call that may take effect next, and the state that it leaves.
#[derive(Clone, Copy)]
struct Candidate {
    slot: u16,
    is_crashed: bool,
    state: u32,
}

/// A decision that may have to be taken back.
struct Frame<const N: usize> {
    moment: u32,
    configuration: Configuration<N>,
    /// How many calls were in the order.
    placed: u32,
    /// Its first untried candidate; its last is where the next frame's begin.
    next: u32,
    end: u32,
    begin: u32,
}

#[derive(PartialEq, Eq, Hash)]
struct Visited<const N: usize> {
    moment: u32,
    state: u32,
    done: Mask<N>,
}

struct Search<'a, M: Machine, const N: usize> {
    machine: &'a M,
    plan: &'a Plan,
    calls: &'a [Span],
    budget: Budget,
    steps: u64,
    rounds: u32,
    states: States<M::State>,
    /// The next moment to walk over.
    moment: usize,
    configuration: Configuration<N>,
    /// What is open at this moment: a set of slots and the call in each, completed and crashed.
    open: Mask<N>,
    reads: Mask<N>,
    in_slot: Vec<u32>,
    open_crashed: Mask<N>,
    in_slot_crashed: Vec<u32>,
    /// With which crashed calls each configuration was reached, the smallest sets only.
    memo: QuickMap<Visited<N>, Vec<Mask<N>>>,
    remembered: usize,
    frames: Vec<Frame<N>>,
    candidates: Vec<Candidate>,
    /// The calls that took effect, in order.
    order: Vec<u32>,
    /// The order with which the furthest return was reached, and how much of it `order` still begins with.
    furthest: usize,
    furthest_order: Vec<u32>,
    shared: usize,
}

impl<'a, M: Machine, const N: usize> Search<'a, M, N> {
    fn new(machine: &'a M, plan: &'a Plan, calls: &'a [Span], budget: Budget) -> Self {
        let mut states = States { all: Vec::new(), numbers: HashTable::new(), hasher: Quick::default() };
        let state = states.number(machine.initial());
        Search {
            machine,
            plan,
            calls,
            budget,
            steps: 0,
            rounds: 0,
            states,
            moment: 0,
            configuration: Configuration { state, done: Mask::EMPTY, used: Mask::EMPTY },
            open: Mask::EMPTY,
            reads: Mask::EMPTY,
            in_slot: vec![0; plan.width],
            open_crashed: Mask::EMPTY,
            in_slot_crashed: vec![0; plan.width],
            memo: QuickMap::default(),
            remembered: 0,
            frames: Vec::new(),
            candidates: Vec::new(),
            order: Vec::new(),
            furthest: 0,
            furthest_order: Vec::new(),
            shared: 0,
        }
    }

    fn run(mut self) -> (Decision, u64) {
        let begin = self.configuration;
        let budget = self.budget;
        // Depth first gets half, and what it leaves is for breadth first.
        self.budget.steps_max /= 2;
        self.budget.configurations_max /= 2;
        let mut decision = self.depth_first();
        if matches!(decision, Decision::OutOfSteps | Decision::OutOfMemory) {
            self.budget = budget;
            (self.memo, self.remembered) = (QuickMap::default(), 0);
            self.retreat(0);
            decision = self.breadth_first(begin);
        }
        (decision, self.steps)
    }

    /// Why the search must stop, if it must.
    fn exhausted(&mut self, remembered: usize) -> Option<Decision> {
        self.rounds = self.rounds.wrapping_add(1);
        if self.steps > self.budget.steps_max {
            return Some(Decision::OutOfSteps);
        }
        if remembered.max(self.states.all.len()) > self.budget.configurations_max {
            return Some(Decision::OutOfMemory);
        }
        let is_late = || self.budget.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        (self.rounds.is_multiple_of(1024) && is_late()).then_some(Decision::OutOfTime)
    }

    fn depth_first(&mut self) -> Decision {
        loop {
            let Some(returning) = self.advance() else {
                return Decision::Linearizable(as_places(&self.order));
            };
            if self.is_new() {
                self.push_frame(returning);
            }
            if let Some(decision) = self.exhausted(self.remembered) {
                return decision;
            }
            if !self.try_next() {
                let call = self.plan.moments[self.furthest].call as usize;
                return Decision::Impossible { call, order: as_places(&self.furthest_order) };
            }
        }
    }

    /// Walks on until a call returns that has not taken effect; none at the end.
    fn advance(&mut self) -> Option<u32> {
        let begin = self.moment;
        let mut returning = None;
        while let Some(moment) = self.plan.moments.get(self.moment) {
            let slot = self.plan.slots[moment.call as usize];
            if !moment.is_return {
                self.occupy(moment.call);
                if self.can_read(moment.call, self.configuration.state) {
                    self.configuration.done.set(slot);
                    self.order.push(moment.call);
                }
            } else if self.configuration.done.has(slot) {
                self.configuration.done.clear(slot);
                self.vacate(moment.call);
            } else {
                returning = Some(moment.call);
                break;
            }
            self.moment += 1;
        }
        self.steps += (self.moment - begin) as u64;
        returning
    }

    /// Walks back to a moment; the configuration and the order are the caller's to restore.
    fn retreat(&mut self, to: usize) {
        self.steps += (self.moment - to) as u64;
        while self.moment > to {
            self.moment -= 1;
            let Moment { is_return, call, .. } = self.plan.moments[self.moment];
            if is_return {
                self.occupy(call);
            } else {
                self.vacate(call);
            }
        }
    }

    fn occupy(&mut self, number: u32) {
        let slot = self.plan.slots[number as usize];
        if self.calls[number as usize].returned.is_none() {
            self.open_crashed.set(slot);
            self.in_slot_crashed[usize::from(slot)] = number;
            return;
        }
        self.open.set(slot);
        self.in_slot[usize::from(slot)] = number;
        if self.plan.is_read[number as usize] {
            self.reads.set(slot);
        }
    }

    fn vacate(&mut self, number: u32) {
        let slot = self.plan.slots[number as usize];
        if self.calls[number as usize].returned.is_none() {
            self.open_crashed.clear(slot);
        } else {
            self.open.clear(slot);
            self.reads.clear(slot);
        }
    }

    /// Whether a call is a read that the state allows.
    fn can_read(&self, call: u32, state: u32) -> bool {
        self.plan.is_read[call as usize] && self.is_legal(call, state)
    }

    fn is_legal(&self, call: u32, state: u32) -> bool {
        let mut is_legal = false;
        self.machine.step(&self.states.all[state as usize], call as usize, &mut |_| is_legal = true);
        is_legal
    }

    /// Whether this configuration was not reached before with the same or fewer crashed calls; remembers it.
    fn is_new(&mut self) -> bool {
        if self.moment > self.furthest || self.remembered == 0 {
            self.furthest = self.moment;
            self.furthest_order.truncate(self.shared);
            self.furthest_order.extend_from_slice(&self.order[self.shared..]);
            self.shared = self.order.len();
        }
        let Configuration { state, done, used } = self.configuration;
        let visited = Visited { moment: self.moment as u32, state, done };
        let before = self.memo.entry(visited).or_default();
        if before.iter().any(|less| less.is_subset_of(&used)) {
            return false;
        }
        before.push(used);
        self.remembered += 1;
        true
    }

    /// Lists what may take effect before `returning` does, the most promising first.
    fn push_frame(&mut self, returning: u32) {
        let begin = self.candidates.len();
        let mut candidates = std::mem::take(&mut self.candidates);
        self.successors(self.configuration, &mut candidates);
        let own = self.plan.slots[returning as usize];
        candidates[begin..].sort_by_cached_key(|candidate| {
            let is_own = candidate.slot == own && !candidate.is_crashed;
            (!is_own, !is_own && !self.is_legal(returning, candidate.state))
        });
        self.steps += (candidates.len() - begin) as u64;
        self.candidates = candidates;
        self.frames.push(Frame {
            moment: self.moment as u32,
            configuration: self.configuration,
            placed: self.order.len() as u32,
            next: begin as u32,
            end: self.candidates.len() as u32,
            begin: begin as u32,
        });
    }

    /// Every open call that can take effect, with every state that it may leave: completed ones first.
    fn successors(&mut self, from: Configuration<N>, candidates: &mut Vec<Candidate>) {
        let Self { machine, states, in_slot, in_slot_crashed, .. } = self;
        let mut left = Vec::new();
        let mut add = |slot: u16, is_crashed: bool| {
            let number = if is_crashed { &*in_slot_crashed } else { &*in_slot }[usize::from(slot)];
            let state = &states.all[from.state as usize];
            machine.step(state, number as usize, &mut |state| left.push(state));
            for state in left.drain(..) {
                let state = states.number(state);
                // A crashed call that changes nothing need not have happened.
                if !is_crashed || state != from.state {
                    candidates.push(Candidate { slot, is_crashed, state });
                }
            }
        };
        self.open.without(&from.done).for_each(|slot| add(slot, false));
        self.open_crashed.without(&from.used).for_each(|slot| add(slot, true));
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
            let (moment, configuration, placed) = (frame.moment, frame.configuration, frame.placed as usize);
            self.retreat(moment as usize);
            self.order.truncate(placed);
            self.shared = self.shared.min(placed);
            let mut order = std::mem::take(&mut self.order);
            self.configuration = self.after(configuration, candidate, |call| order.push(call));
            self.order = order;
            return true;
        }
        false
    }

    /// The configuration after a call, and after all reads that it allows.
    fn after(
        &mut self,
        mut configuration: Configuration<N>,
        candidate: Candidate,
        mut place: impl FnMut(u32),
    ) -> Configuration<N> {
        self.steps += 1;
        let Candidate { slot, is_crashed, state } = candidate;
        if is_crashed {
            configuration.used.set(slot);
            place(self.in_slot_crashed[usize::from(slot)]);
        } else {
            configuration.done.set(slot);
            place(self.in_slot[usize::from(slot)]);
        }
        configuration.state = state;
        let waiting = self.open.without(&self.open.without(&self.reads)).without(&configuration.done);
        waiting.for_each(|slot| {
            let call = self.in_slot[usize::from(slot)];
            if self.is_legal(call, state) {
                configuration.done.set(slot);
                place(call);
            }
        });
        configuration
    }
}

/// A configuration among others of one moment, and how it came about: the last link of its order.
#[derive(Clone, Copy)]
struct Front<const N: usize> {
    configuration: Configuration<N>,
    link: u32,
}

const NONE: u32 = u32::MAX;

/// The orders of all configurations: each link is a call and the link before it.
#[derive(Default)]
struct Links(Vec<(u32, u32)>);

impl Links {
    fn add(&mut self, before: u32, call: u32) -> u32 {
        self.0.push((before, call));
        self.0.len() as u32 - 1
    }

    fn order(&self, mut link: u32) -> Vec<usize> {
        let mut order = Vec::new();
        while link != NONE {
            let (before, call) = self.0[link as usize];
            order.push(call as usize);
            link = before;
        }
        order.reverse();
        order
    }
}

impl<M: Machine, const N: usize> Search<'_, M, N> {
    fn breadth_first(&mut self, begin: Configuration<N>) -> Decision {
        let mut links = Links::default();
        let mut fronts = vec![Front { configuration: begin, link: NONE }];
        for Moment { is_return, call, .. } in &self.plan.moments {
            let slot = self.plan.slots[*call as usize];
            if !is_return {
                self.occupy(*call);
                for front in &mut fronts {
                    if self.can_read(*call, front.configuration.state) {
                        front.configuration.done.set(slot);
                        front.link = links.add(front.link, *call);
                    }
                }
                continue;
            }
            let before = fronts.first().map_or(NONE, |front| front.link);
            match self.pass(fronts, slot, &mut links) {
                Ok(passed) => fronts = passed,
                Err(decision) => return decision,
            }
            if fronts.is_empty() {
                return Decision::Impossible { call: *call as usize, order: links.order(before) };
            }
            self.vacate(*call);
        }
        Decision::Linearizable(links.order(fronts[0].link))
    }

    /// The configurations in which the call in a slot has taken effect and returned.
    fn pass(
        &mut self,
        mut left: Vec<Front<N>>,
        slot: u16,
        links: &mut Links,
    ) -> Result<Vec<Front<N>>, Decision> {
        let mut seen: QuickMap<Configuration<N>, ()> = QuickMap::default();
        let mut passed: Vec<Front<N>> = Vec::new();
        let mut candidates = Vec::new();
        while let Some(front) = left.pop() {
            if let Some(decision) = self.exhausted(seen.len().max(links.0.len() / 16)) {
                return Err(decision);
            }
            if front.configuration.done.has(slot) {
                passed.push(front);
                continue;
            }
            candidates.clear();
            self.successors(front.configuration, &mut candidates);
            self.steps += 1 + candidates.len() as u64;
            for candidate in &candidates {
                let mut link = front.link;
                let configuration =
                    self.after(front.configuration, *candidate, |call| link = links.add(link, call));
                if seen.insert(configuration, ()).is_none() {
                    left.push(Front { configuration, link });
                }
            }
        }
        passed.iter_mut().for_each(|front| front.configuration.done.clear(slot));
        Ok(undominated(passed))
    }
}

/// Without those that used the same crashed calls as an equal one, or more.
fn undominated<const N: usize>(fronts: Vec<Front<N>>) -> Vec<Front<N>> {
    let mut used: QuickMap<(u32, Mask<N>), Vec<Mask<N>>> = QuickMap::default();
    let mut fronts = fronts;
    fronts.sort_by_key(|front| front.configuration.used.count());
    fronts.retain(|front| {
        let Configuration { state, done, used: with } = front.configuration;
        let before = used.entry((state, done)).or_default();
        let is_new = !before.iter().any(|less| less.is_subset_of(&with));
        if is_new {
            before.push(with);
        }
        is_new
    });
    fronts
}

fn as_places(calls: &[u32]) -> Vec<usize> {
    calls.iter().map(|call| *call as usize).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::wgl::{self, Call, Step};
    use super::*;
    use crate::engine::random::Random;

    const BUDGET: Budget = Budget { steps_max: 10_000_000, configurations_max: 1_000_000, deadline: None };

    /// Calls of a machine that is a table: what each call makes of each state.
    struct Table {
        /// By call, by state: the states that may follow.
        next: Vec<Vec<Vec<u8>>>,
        spans: Vec<Span>,
    }

    impl Machine for Table {
        type State = u8;

        fn initial(&self) -> u8 {
            0
        }

        fn step(&self, state: &u8, call: usize, visit: &mut dyn FnMut(u8)) {
            self.next[call][usize::from(*state)].iter().copied().for_each(visit);
        }

        fn is_read(&self, call: usize) -> bool {
            (0..).zip(&self.next[call]).all(|(state, next)| next.iter().all(|next| *next == state))
        }
    }

    impl Table {
        /// The definition, with what failed before not tried again.
        fn is_linearizable(&self, until: u32) -> bool {
            fn go(
                table: &Table,
                until: u32,
                placed: u32,
                state: u8,
                failed: &mut BTreeSet<(u32, u8)>,
            ) -> bool {
                let returned = |call: usize| table.spans[call].returned.filter(|at| *at < until);
                let is_left = |call: usize| placed >> call & 1 == 0 && returned(call).is_some();
                let count = table.spans.len();
                if !(0..count).any(is_left) {
                    return true;
                }
                failed.insert((placed, state))
                    && (0..count).any(|call| {
                        let invoked = table.spans[call].invoked;
                        let is_late = |other| is_left(other) && returned(other) < Some(invoked);
                        placed >> call & 1 == 0
                            && invoked < until
                            && !(0..count).any(is_late)
                            && table.next[call][usize::from(state)]
                                .iter()
                                .any(|next| go(table, until, placed | 1 << call, *next, failed))
                    })
            }
            go(self, until, 0, 0, &mut BTreeSet::new())
        }

        /// Whether an order is one of the calls that returned before `until`, and others that had begun.
        fn allows(&self, order: &[usize], until: u32) -> bool {
            let returned = |call: usize| self.spans[call].returned.filter(|at| *at < until);
            let place = |call: usize| order.iter().position(|placed| *placed == call);
            let mut states = BTreeSet::from([0]);
            for call in order {
                states = states
                    .iter()
                    .flat_map(|state: &u8| &self.next[*call][usize::from(*state)])
                    .copied()
                    .collect();
            }
            let keeps_time = order.iter().enumerate().all(|(at, call)| {
                order[at..].iter().all(|later| {
                    returned(*later).is_none_or(|returned| returned >= self.spans[*call].invoked)
                })
            });
            let is_whole =
                (0..self.spans.len()).all(|call| returned(call).is_none() || place(call).is_some());
            let has_begun = order.iter().all(|call| self.spans[*call].invoked < until);
            !states.is_empty() && keeps_time && is_whole && has_begun
        }
    }

    fn random_spans(random: &mut Random, count: usize) -> Vec<Span> {
        let clients = 1 + random.below(4) as usize;
        let crash_percent = [0, 10, 40][random.below(3) as usize];
        let mut spans: Vec<Span> = Vec::new();
        let mut open = vec![None; clients];
        let mut position = 0;
        while spans.len() < count || open.iter().any(Option::is_some) {
            position += 1;
            let client = random.below(clients as u32) as usize;
            match open[client] {
                None if spans.len() < count => {
                    open[client] = Some(spans.len());
                    spans.push(Span { invoked: position, returned: None });
                }
                Some(call) => {
                    open[client] = None;
                    let span: &mut Span = &mut spans[call];
                    span.returned = Some(position).filter(|_| random.below(100) >= crash_percent);
                }
                None => {}
            }
        }
        spans
    }

    fn random_table(random: &mut Random) -> Table {
        let states = 2 + random.below(3);
        let choices_max = 1 + random.below(2);
        let legal_percent = 30 + random.below(60);
        let count = 1 + random.below(8) as usize;
        let outcome = |state: u32, is_read: bool, random: &mut Random| -> Vec<u8> {
            if random.below(100) >= legal_percent {
                return Vec::new();
            }
            if is_read {
                return vec![state as u8];
            }
            (0..=random.below(choices_max)).map(|_| random.below(states) as u8).collect()
        };
        let next = (0..count).map(|_| {
            let is_read = random.below(3) == 0;
            (0..states).map(|state| outcome(state, is_read, random)).collect()
        });
        let next = next.collect();
        Table { next, spans: random_spans(random, count) }
    }

    fn search(table: &Table, is_breadth_first: bool) -> Decision {
        let plan = Plan::new(table, &table.spans);
        let mut search = Search::<Table, 1>::new(table, &plan, &table.spans, BUDGET);
        if is_breadth_first { search.breadth_first(search.configuration) } else { search.depth_first() }
    }

    #[test]
    fn both_searches_agree_with_trying_every_order_and_show_real_orders() {
        let seed = 0x5eed_0020;
        let mut random = Random(seed);
        let rounds = if cfg!(debug_assertions) { 15_000 } else { 120_000 };
        let mut verdicts = [0u32; 2];
        for round in 0..rounds {
            let table = random_table(&mut random);
            let expected = table.is_linearizable(u32::MAX);
            verdicts[usize::from(expected)] += 1;
            for is_breadth_first in [false, true] {
                let context = || format!("seed {seed:#x} round {round}: {:?} {:?}", table.spans, table.next);
                match search(&table, is_breadth_first) {
                    Decision::Linearizable(order) => {
                        assert!(expected && table.allows(&order, u32::MAX), "{order:?} {}", context());
                    }
                    Decision::Impossible { call, order } => {
                        let end = table.spans[call].returned.unwrap();
                        assert!(!table.is_linearizable(end + 1), "{}", context());
                        assert!(table.is_linearizable(end), "{call} {}", context());
                        assert!(table.allows(&order, end), "{call} {order:?} {}", context());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(verdicts.iter().all(|count| *count > rounds / 5), "{verdicts:?}");
    }

    /// The register of `wgl` by its steps.
    struct Register(Vec<Call>);

    impl Machine for Register {
        type State = u32;

        fn initial(&self) -> u32 {
            0
        }

        fn step(&self, state: &u32, call: usize, visit: &mut dyn FnMut(u32)) {
            match self.0[call].step {
                Step::Read(value) if value == *state => visit(value),
                Step::Differs(value) if value != *state => visit(*state),
                Step::Write(new) => visit(new),
                Step::Cas(old, new) if old == *state => visit(new),
                _ => {}
            }
        }

        fn is_read(&self, call: usize) -> bool {
            matches!(self.0[call].step, Step::Read(_) | Step::Differs(_))
        }
    }

    #[test]
    fn the_search_agrees_with_that_of_registers_on_longer_histories() {
        let seed = 0x5eed_0021;
        let mut random = Random(seed);
        let rounds = if cfg!(debug_assertions) { 500 } else { 5_000 };
        let mut verdicts = [0u32; 2];
        for round in 0..rounds {
            let spans = random_spans(&mut random, 40);
            let mut value = 0;
            let calls = spans.iter().map(|Span { invoked, returned }| {
                let lie = random.below(50) == 0;
                let new = random.below(4);
                let step = match random.below(3) {
                    0 => Step::Read(if lie { new } else { value }),
                    1 => Step::Write(new),
                    _ => Step::Cas(if lie { new } else { value }, new),
                };
                value = match step {
                    Step::Write(new) | Step::Cas(_, new) => new,
                    _ => value,
                };
                Call { step, invoked: *invoked, returned: *returned }
            });
            let register = Register(calls.collect());
            let expected = wgl::decide(&register.0, BUDGET).0;
            let found = decide(&register, &spans, BUDGET).0;
            let context = || format!("seed {seed:#x} round {round}: {:#?}", register.0);
            match (expected, found) {
                (wgl::Decision::Linearizable, Decision::Linearizable(_)) => verdicts[1] += 1,
                (wgl::Decision::Impossible { call, .. }, Decision::Impossible { call: same, .. })
                    if call == same =>
                {
                    verdicts[0] += 1;
                }
                (expected, found) => panic!("{expected:?} {found:?} {}", context()),
            }
        }
        assert!(verdicts.iter().all(|count| *count > rounds / 10), "{verdicts:?}");
    }

    #[test]
    fn a_search_stops_at_its_budget_and_widens_with_its_calls() {
        let writes = |count: u32| -> (Register, Vec<Span>) {
            let calls =
                (0..count).map(|i| Call { step: Step::Write(i + 1), invoked: i, returned: Some(10_000 + i) });
            let mut calls: Vec<Call> = calls.collect();
            calls.push(Call { step: Step::Read(0), invoked: 30_000, returned: Some(30_001) });
            let spans = calls.iter().map(|call| Span { invoked: call.invoked, returned: call.returned });
            let spans = spans.collect();
            (Register(calls), spans)
        };
        let (register, spans) = writes(16);
        let steps = Budget { steps_max: 1_000, ..BUDGET };
        assert_eq!(decide(&register, &spans, steps).0, Decision::OutOfSteps);
        let memory = Budget { configurations_max: 100, ..BUDGET };
        assert_eq!(decide(&register, &spans, memory).0, Decision::OutOfMemory);
        let time = Budget { deadline: Some(Instant::now()), ..BUDGET };
        assert_eq!(decide(&register, &spans, time).0, Decision::OutOfTime);
        for count in [64, 65, 257, 1_025] {
            let (mut register, spans) = writes(count);
            register.0[count as usize].step = Step::Read(count);
            assert!(matches!(decide(&register, &spans, BUDGET).0, Decision::Linearizable(_)), "{count}");
        }
        let (register, spans) = writes(5_000);
        assert_eq!(decide(&register, &spans, BUDGET).0, Decision::TooWide);
    }
}
