//! A history as what is drawn: bars in lanes, faults behind them, and which bars bear witness.
//!
//! This is the only file of the page that reads a [`History`]; whatever draws, draws a [`Scene`]. A bar is one
//! call from its invocation to its completion, by position. Each process has a lane; when there are very many, because
//! every crash makes a new one, those that live one after the other share. Of a history with more than
//! [`BARS_MAX`] calls a scene holds only those around the witnesses (or the first ones when there is no
//! witness), beside an overview of the whole. What cannot be paired has no bars; a scene of it is empty, never an error.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::{self, Deed, Fault};
use super::text::{TEXT_MAX, Text, Texts, begin};
use crate::check::Violation;
use crate::history::{At, Atom, History, Operation, Outcome, Process};

/// How many calls a scene holds.
pub(super) const BARS_MAX: usize = 100_000;
/// How many processes may have a lane of their own.
const LANES_MAX: usize = 64;
/// How many samples the overview has.
const SAMPLES_MAX: u32 = 1_000;
/// How far around a witness the calls of a long history are kept, in events, if there is room.
const AROUND_MAX: u32 = 2_000;
/// How many calls of a long history are kept when nothing bears witness.
const BEGINNING: u32 = 20_000;
/// How many characters of a label are drawn.
const LABEL_MAX: usize = 40;
/// How many characters of a process' name are shown.
const NAME_MAX: usize = 40;

/// One end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Its position in the history.
    pub(super) position: u32,
    /// Its line, or its index when the history was never in a file.
    pub(super) place: u64,
    /// When, if that was recorded.
    pub(super) time_ns: Option<u64>,
    /// Whether the event says its key.
    pub(super) has_key: bool,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) invoked: Spot,
    /// Of an unknown outcome, when it became known that it is unknown.
    pub(super) completed: Option<Spot>,
    pub(super) outcome: Outcome,
    pub(super) lane: u32,
    /// The process' place among all processes.
    pub(super) process: u32,
    pub(super) f: Text,
    pub(super) key: Text,
    /// The values of its two events.
    pub(super) argument: Text,
    pub(super) result: Text,
    pub(super) node: Text,
    pub(super) error: Text,
    /// What stands in the bar: "write 5", "read → 5".
    pub(super) label: Text,
}

impl Bar {
    /// Where it certainly ended; a call with an unknown outcome has no such place.
    pub(super) fn returned(&self) -> Option<u32> {
        self.completed.filter(|_| self.outcome != Outcome::Unknown).map(|spot| spot.position)
    }
}

/// What a violation points at.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    pub(super) key: Text,
    /// The position of each event of its explanation, as far as the history has it.
    pub(super) events: Vec<Option<u32>>,
    /// The bars of these events, in order, each once.
    pub(super) bars: Vec<u32>,
    /// The place among `bars` of the bar that has an event at a position.
    badges: BTreeMap<u32, usize>,
    /// Where the lines and indices lie that its sentences name.
    mentioned: BTreeMap<(bool, u64), u32>,
}

impl Witness {
    /// The letter of the call with an event at this position.
    pub(super) fn badge(&self, position: u32) -> Option<String> {
        self.badges.get(&position).map(|place| letters(*place))
    }

    /// The position of a place that a sentence names.
    pub(super) fn position(&self, is_line: bool, number: u64) -> Option<u32> {
        self.mentioned.get(&(is_line, number)).copied()
    }
}

/// A, B, …, Z, AA, AB, …
pub(super) fn letters(place: usize) -> String {
    let letter = char::from(b'A' + (place % 26) as u8);
    if place < 26 { letter.to_string() } else { letters(place / 26 - 1) + &letter.to_string() }
}

/// Samples along the whole history.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct Overview {
    /// How many calls are open where each stretch begins.
    pub(super) open: Vec<u32>,
    /// How many calls of each stretch failed, and of how many the outcome is unknown.
    pub(super) failed: Vec<u32>,
    pub(super) unknown: Vec<u32>,
    /// The time where each stretch begins, and at the end; empty if the history has no times.
    pub(super) times_ns: Vec<u64>,
}

/// See the module's story.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    /// How many events and calls the whole history has.
    pub(super) events: u32,
    pub(super) operations: usize,
    /// Whether places are lines of a file.
    pub(super) has_lines: bool,
    pub(super) bars: Vec<Bar>,
    /// The stretches that the bars were taken from; all of it, of a history that is not too long.
    pub(super) windows: Vec<(u32, u32)>,
    /// The processes, clients in order of their numbers.
    pub(super) processes: Vec<String>,
    pub(super) lanes: u32,
    pub(super) faults: Vec<Fault>,
    pub(super) overview: Overview,
    pub(super) witnesses: Vec<Witness>,
    pub(super) texts: Texts,
}

impl Scene {
    /// The scene of a history and of what bears witness in it.
    pub(super) fn new(history: &History, violations: &[&Violation]) -> Self {
        let operations = history.operations().unwrap_or_default();
        let mut texts = Texts::default();
        let events = u32::try_from(history.len()).unwrap_or(u32::MAX);
        let mut witnesses: Vec<Witness> =
            violations.iter().map(|violation| find(history, violation, &mut texts)).collect();
        let is_whole = operations.len() <= BARS_MAX;
        let windows = if is_whole { vec![(0, events)] } else { around(&witnesses, events) };
        let witnessing: BTreeSet<u32> =
            witnesses.iter().flat_map(|witness| witness.events.iter().flatten().copied()).collect();
        let crew = Crew::new(history, &operations);
        let is_drawn = |operation: &&Operation| {
            is_whole || is_within(operation, &windows) || is_witness(operation, &witnessing)
        };
        let bars: Vec<Bar> = operations
            .iter()
            .filter(is_drawn)
            .map(|operation| bar(history, operation, &crew, &mut texts))
            .collect();
        assign(&mut witnesses, &bars);
        let deeds = deeds(history, &mut texts);
        Scene {
            events,
            operations: operations.len(),
            has_lines: history.iter().any(|event| event.line() > 0),
            bars,
            windows,
            lanes: crew.lanes,
            processes: crew.processes.iter().map(|process| name(history.process(*process))).collect(),
            faults: faults::faults(&deeds, &texts),
            overview: overview(history, &operations),
            witnesses,
            texts,
        }
    }

    /// Whether all calls of the history are drawn.
    pub(super) fn is_whole(&self) -> bool {
        self.bars.len() == self.operations
    }
}

/// Where the events of a violation are.
fn find(history: &History, violation: &Violation, texts: &mut Texts) -> Witness {
    let places = &violation.explanation.events;
    // A violation of another history may speak of events that this one does not have.
    let position = |position: u32| Some(position).filter(|position| (*position as usize) < history.len());
    // Several events may stand on one line; the first of the explanation's own is meant.
    let mentioned = places.iter().rev().filter_map(|place| {
        let name = if place.line > 0 { (true, place.line.into()) } else { (false, place.index) };
        Some((name, position(place.position)?))
    });
    let key = if violation.key.is_null() { Text::ABSENT } else { texts.add(&violation.key.to_string()) };
    Witness {
        key,
        events: places.iter().map(|place| position(place.position)).collect(),
        mentioned: mentioned.collect(),
        ..Witness::default()
    }
}

/// Gives each witness its bars.
fn assign(witnesses: &mut [Witness], bars: &[Bar]) {
    let mut at: BTreeMap<u32, u32> = BTreeMap::new();
    let told: BTreeSet<u32> =
        witnesses.iter().flat_map(|witness| witness.events.iter().flatten().copied()).collect();
    for (number, bar) in (0u32..).zip(bars) {
        for spot in [Some(bar.invoked), bar.completed].into_iter().flatten() {
            if told.contains(&spot.position) {
                at.insert(spot.position, number);
            }
        }
    }
    for witness in witnesses {
        let mut bars: Vec<u32> =
            witness.events.iter().flatten().filter_map(|position| at.get(position).copied()).collect();
        bars.sort_unstable();
        bars.dedup();
        for position in witness.events.iter().flatten() {
            if let Some(bar) = at.get(position)
                && let Ok(place) = bars.binary_search(bar)
            {
                witness.badges.insert(*position, place);
            }
        }
        witness.bars = bars;
    }
}

/// The stretches of a long history that are kept, in order and apart.
fn around(witnesses: &[Witness], events: u32) -> Vec<(u32, u32)> {
    let mut centres: Vec<u32> =
        witnesses.iter().flat_map(|witness| witness.events.iter().flatten().copied()).collect();
    centres.sort_unstable();
    if centres.is_empty() {
        return vec![(0, events.min(2 * BEGINNING))];
    }
    let mut reach = AROUND_MAX;
    loop {
        let mut windows: Vec<(u32, u32)> = Vec::new();
        for centre in &centres {
            let (from, to) = (centre.saturating_sub(reach), centre.saturating_add(reach).min(events));
            match windows.last_mut() {
                Some(last) if from <= last.1 => last.1 = to,
                _ => windows.push((from, to)),
            }
        }
        let kept: usize = windows.iter().map(|(from, to)| (to - from) as usize).sum();
        if kept <= BARS_MAX || reach == 0 {
            return windows;
        }
        reach /= 2;
    }
}

/// Whether a call begins or ends within a stretch, or certainly reaches across it.
fn is_within(operation: &Operation, windows: &[(u32, u32)]) -> bool {
    let from = operation.invoked;
    let to = operation.ended();
    let next = windows.partition_point(|(_, end)| *end < from);
    windows.get(next).is_some_and(|(start, _)| *start <= to)
}

fn is_witness(operation: &Operation, witnessing: &BTreeSet<u32>) -> bool {
    witnessing.contains(&operation.invoked) || witnessing.contains(&operation.ended())
}

/// The processes and their lanes.
struct Crew {
    /// The client processes, in order of their names, by their numbers in the history.
    processes: Vec<u32>,
    /// By number in the history: each process' place among them, and its lane.
    places: Vec<(u32, u32)>,
    lanes: u32,
}

impl Crew {
    fn new(history: &History, operations: &[Operation]) -> Self {
        let mut lives: Vec<Option<(u32, u32)>> = vec![None; history.processes()];
        for operation in operations {
            let life = lives[operation.process as usize].get_or_insert((operation.invoked, 0));
            life.1 = operation.ended();
        }
        let is_alive = |process: &u32| lives[*process as usize].is_some();
        let mut processes: Vec<u32> = (0..history.processes() as u32).filter(is_alive).collect();
        processes.sort_by_key(|process| history.process(*process));
        let mut crew = Crew { lanes: processes.len() as u32, processes, places: vec![(0, 0); lives.len()] };
        for (place, process) in (0u32..).zip(&crew.processes) {
            crew.places[*process as usize] = (place, place);
        }
        if crew.processes.len() > LANES_MAX {
            crew.share(&lives);
        }
        crew
    }

    /// Gives processes that live one after the other the same lane: always the lowest that is free.
    fn share(&mut self, lives: &[Option<(u32, u32)>]) {
        let mut births: Vec<_> =
            lives.iter().zip(0u32..).filter_map(|(life, i)| Some((*life.as_ref()?, i))).collect();
        births.sort_unstable();
        let mut free: BTreeSet<u32> = BTreeSet::new();
        let mut busy: BTreeSet<(u32, u32)> = BTreeSet::new();
        self.lanes = 0;
        for ((from, to), process) in births {
            while let Some((_, lane)) = busy.first().copied().filter(|(end, _)| *end < from) {
                busy.pop_first();
                free.insert(lane);
            }
            let lane = free.pop_first().unwrap_or_else(|| {
                self.lanes += 1;
                self.lanes - 1
            });
            busy.insert((to, lane));
            self.places[process as usize].1 = lane;
        }
    }
}

fn name(process: &Process) -> String {
    begin(format_args!("{process}"), NAME_MAX)
}

fn bar(history: &History, operation: &Operation, crew: &Crew, texts: &mut Texts) -> Bar {
    let (process, lane) = crew.places[operation.process as usize];
    let invocation = history.at(operation.invoked);
    let completion = operation.completed().map(|position| history.at(position));
    let mut text = |atom: Atom| {
        atom.present()
            .map_or(Text::ABSENT, |atom| texts.add(&begin(format_args!("{}", history.show(atom)), TEXT_MAX)))
    };
    Bar {
        invoked: Spot::of(invocation),
        completed: completion.map(Spot::of),
        outcome: operation.outcome,
        lane,
        process,
        key: if operation.key.is_null() { Text::ABSENT } else { text(operation.key) },
        argument: text(invocation.value()),
        result: text(operation.result),
        error: completion.map_or(Text::ABSENT, |completion| text(completion.error())),
        f: texts.add(history.word(operation.f)),
        node: texts.add(operation.node(history).unwrap_or_default()),
        label: texts.add(&label(history, operation)),
    }
}

impl Spot {
    fn of(event: At<'_>) -> Self {
        let place = if event.line() > 0 { event.line().into() } else { event.index() };
        let (position, time_ns) = (event.position(), event.time_ns());
        Spot { position, place, time_ns, has_key: event.key().present().is_some() }
    }
}

/// What stands in a bar: what was called with what, and what came back if that says more.
fn label(history: &History, operation: &Operation) -> String {
    let f = history.word(operation.f);
    let is_read = matches!(f, "read" | "get");
    let is_ok = operation.outcome == Outcome::Ok;
    let show = |atom: Atom| begin(format_args!("{}", history.show(atom)), LABEL_MAX);
    // Some recorders say the answer at the invocation, too.
    let argument = Some(history.at(operation.invoked).value())
        .filter(|value| !(value.is_null() || is_read && operation.result == *value));
    let label = match argument.map(|value| (value, history.list(value))) {
        Some((_, Some([old, new]))) if f == "cas" => format!("cas {}→{}", show(*old), show(*new)),
        Some((value, _)) => format!("{f} {}", show(value)),
        None => f.to_owned(),
    };
    let says_more = argument != Some(operation.result) && (is_read || !operation.result.is_null());
    let label = if is_ok && says_more {
        format!("{label} → {}", show(operation.result.or(Atom::NULL)))
    } else {
        label
    };
    begin(format_args!("{label}"), LABEL_MAX)
}

fn deeds(history: &History, texts: &mut Texts) -> Vec<Deed> {
    let is_client: Vec<bool> =
        (0..history.processes() as u32).map(|process| history.process(process).is_client()).collect();
    history
        .iter()
        .filter(|event| !is_client[event.process_number() as usize])
        .map(|event| Deed {
            position: event.position(),
            process: texts.add(&event.process().to_string()),
            f: texts.add(event.f()),
            node: texts.add(event.node().unwrap_or_default()),
            value: event.value().present().map_or(Text::ABSENT, |value| {
                texts.add(&begin(format_args!("{}", history.show(value)), TEXT_MAX))
            }),
        })
        .collect()
}

fn overview(history: &History, operations: &[Operation]) -> Overview {
    let events = history.len();
    let samples = events.min(SAMPLES_MAX as usize);
    let start = |sample: usize| (sample * events).div_ceil(samples.max(1));
    // The first stretch that begins after a position.
    let after = |position: u32| (position as usize * samples) / events.max(1) + 1;
    let mut changes = vec![0i64; samples + 2];
    let mut overview =
        Overview { failed: vec![0; samples], unknown: vec![0; samples], ..Overview::default() };
    for operation in operations {
        changes[after(operation.invoked)] += 1;
        changes[after(operation.ended())] -= 1;
        let of = |counts: &mut Vec<u32>| counts[after(operation.invoked) - 1] += 1;
        match operation.outcome {
            Outcome::Ok => {}
            Outcome::Fail => of(&mut overview.failed),
            Outcome::Unknown => of(&mut overview.unknown),
        }
    }
    let mut open = 0i64;
    overview.open = changes[..samples]
        .iter()
        .map(|change| {
            open += change;
            u32::try_from(open).unwrap_or(0)
        })
        .collect();
    let mut latest = 0;
    let time = |position: usize| history.at(position as u32).time_ns();
    if !history.is_empty() && time(0).is_some() {
        let ends = (0..samples).map(start).chain([events - 1]);
        overview.times_ns = ends
            .map(|position| {
                latest = time(position).unwrap_or(latest).max(latest);
                latest
            })
            .collect();
    }
    overview
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{self, Options};
    use crate::history::{Event, Kind, Value};

    fn scene(events: impl IntoIterator<Item = Event>) -> Scene {
        let history: History = events.into_iter().collect();
        let report = check::linearizable(&history, &Options::default()).unwrap();
        Scene::new(&history, &report.violations().collect::<Vec<_>>())
    }

    fn call(process: u64, f: &str, argument: impl Into<Value>, result: impl Into<Value>) -> [Event; 2] {
        [Event::invoke(process, f).value(argument), Event::ok(process, f).value(result)]
    }

    #[test]
    fn a_bar_says_what_was_called_and_what_came_back() {
        let says = |f: &str, argument: Option<Value>, result: Option<Value>, kind: Kind| {
            let with = |event: Event, value: Option<Value>| match value {
                Some(value) => event.value(value),
                None => event,
            };
            let events = [with(Event::invoke(0, f), argument), with(Event::new(kind, 0, f), result)];
            let history: History = events.into_iter().collect();
            label(&history, &history.operations().unwrap()[0])
        };
        let int = |number: i64| Some(Value::from(number));
        let list = |values: &[i64]| Some(Value::from(values.to_vec()));
        assert_eq!(says("write", int(5), int(5), Kind::Ok), "write 5");
        assert_eq!(says("write", int(5), None, Kind::Info), "write 5");
        assert_eq!(says("write", int(5), Some(Value::Null), Kind::Ok), "write 5");
        assert_eq!(says("read", Some(Value::Null), int(5), Kind::Ok), "read → 5");
        assert_eq!(says("read", int(5), int(5), Kind::Ok), "read → 5");
        assert_eq!(says("read", None, None, Kind::Ok), "read → nil");
        assert_eq!(says("read", None, Some(Value::Null), Kind::Ok), "read → nil");
        assert_eq!(says("read", None, None, Kind::Fail), "read");
        assert_eq!(says("read", None, list(&[1, 2]), Kind::Ok), "read → [1 2]");
        assert_eq!(says("cas", list(&[1, 2]), list(&[1, 2]), Kind::Ok), "cas 1→2");
        assert_eq!(says("cas", list(&[1, 2]), None, Kind::Fail), "cas 1→2");
        assert_eq!(says("increment", int(2), int(9), Kind::Ok), "increment 2 → 9");
        let long = says("write", Some("x".repeat(99).into()), None, Kind::Ok);
        assert_eq!(long.chars().count(), LABEL_MAX);
    }

    #[test]
    fn a_witness_knows_its_bars_and_where_its_sentences_point() {
        let events = [call(0, "write", 1, 1), call(1, "write", 2, 2), call(2, "read", (), 1)];
        let scene = scene(events.into_iter().flatten());
        let witness = &scene.witnesses[0];
        assert_eq!(witness.bars, [0, 1, 2]);
        assert_eq!(witness.badge(5).as_deref(), Some("C"));
        assert_eq!(witness.position(false, 3), Some(3));
        assert_eq!((scene.bars.len(), scene.lanes, scene.is_whole()), (3, 3, true));
    }

    #[test]
    fn letters_go_on_after_z() {
        assert_eq!([0, 25, 26, 27, 51, 52, 702].map(letters), ["A", "Z", "AA", "AB", "AZ", "BA", "AAA"]);
    }

    #[test]
    fn processes_that_live_one_after_the_other_share_a_lane_when_there_are_many() {
        let events = (0..200).flat_map(|process| call(process, "write", 1, 1));
        let scene = scene(events);
        assert_eq!((scene.processes.len(), scene.lanes), (200, 1));
        let open = (0..200u64).map(|process| Event::invoke(process, "read"));
        let close = (0..200u64).map(|process| Event::ok(process, "read"));
        let scene = self::scene(open.chain(close));
        assert_eq!(scene.lanes, 200);
    }

    #[test]
    fn the_overview_counts_open_calls() {
        let events = [Event::invoke(0, "read"), Event::invoke(1, "read"), Event::ok(0, "read")];
        let scene = scene(events);
        // Nobody knows when the second read ended, so it is not drawn as open beyond its beginning.
        assert_eq!(scene.overview.open, [0, 1, 1]);
        assert_eq!((scene.overview.unknown, scene.overview.times_ns.len()), (vec![0, 1, 0], 0));
    }

    #[test]
    fn of_a_long_history_only_the_calls_around_the_witness_are_kept() {
        let mut events: Vec<Event> = Vec::new();
        for i in 0..(BARS_MAX as i64 + 10) {
            events.extend(call(0, "write", i, i));
        }
        events[60_000] = Event::invoke(0, "read");
        events[60_001] = Event::ok(0, "read").value(-1);
        let scene = scene(events);
        assert!(!scene.is_whole());
        assert_eq!(scene.windows, [(58_000, 62_001)]);
        assert!(scene.bars.len() > 1_900 && scene.bars.len() < 2_100, "{}", scene.bars.len());
        assert!(scene.bars.iter().any(|bar| bar.invoked.position == 60_000));
        assert_eq!(scene.overview.open.len(), 1_000);
    }

    #[test]
    fn what_cannot_be_paired_has_no_bars() {
        let history: History = [Event::ok(0, "read")].into_iter().collect();
        let scene = Scene::new(&history, &[]);
        assert_eq!((scene.events, scene.operations, scene.bars.len()), (1, 0, 0));
    }
}
