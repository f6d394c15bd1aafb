//! A scene as data for the page's script: columns of numbers and a table of texts.
//!
//! Ten thousand calls are a few hundred kilobytes so: positions, times and places are told as differences, which are small,
//! and a column in which nothing stands is left empty. The script undoes it in the function `unpack`; the two change
//! together.

use serde::Serialize;

use super::faults::Until;
use super::scene::{Bar, Overview, Scene};
use super::text::{Text, harmless};
use crate::history::Outcome;

/// What the script reads. Numbers that name texts or processes count from 0; a text 0 is no text.
#[derive(Serialize)]
struct Story<'a> {
    /// How many events and calls the whole history has.
    events: u32,
    operations: usize,
    /// What a place is called: line or event.
    place: &'static str,
    is_whole: bool,
    windows: &'a [(u32, u32)],
    lanes: u32,
    processes: &'a [String],
    texts: &'a [String],
    overview: &'a Overview,
    faults: Vec<Band<'a>>,
    witnesses: Vec<Told<'a>>,
    bars: Columns,
}

/// A fault: what it is called, where it begins, where it ends (null: never; its beginning: a moment).
#[derive(Serialize)]
struct Band<'a>(&'a str, u32, Option<u32>);

/// A violation's key and calls.
#[derive(Serialize)]
struct Told<'a> {
    key: Text,
    bars: &'a [u32],
}

/// The calls, in order of invocation.
#[derive(Default, Serialize)]
struct Columns {
    /// The position of the invocation, less that of the call before.
    from: Vec<u32>,
    /// How many positions later it was completed; 0 if it was not.
    length: Vec<u32>,
    /// 0 ok, 1 failed, 2 unknown; 4 and 8 more if the invocation and the completion say the key.
    outcome: Vec<u8>,
    lane: Vec<u32>,
    process: Vec<u32>,
    f: Vec<Text>,
    key: Vec<Text>,
    argument: Vec<Text>,
    result: Vec<Text>,
    node: Vec<Text>,
    error: Vec<Text>,
    label: Vec<Text>,
    /// The place of each end, less its position.
    place: Vec<i64>,
    place_end: Vec<i64>,
    /// Nanoseconds: of the invocation since that of the call before, and how long the call took.
    time: Vec<i64>,
    took: Vec<i64>,
}

/// The scene as JSON that may stand within a script element.
pub(super) fn json(scene: &Scene) -> String {
    let faults = scene.faults.iter().map(|fault| {
        let until = match fault.until {
            Until::Moment => Some(fault.from),
            Until::Position(position) => Some(position),
            Until::Open => None,
        };
        Band(&fault.name, fault.from, until)
    });
    let witnesses = scene.witnesses.iter().map(|witness| Told { key: witness.key, bars: &witness.bars });
    let story = Story {
        events: scene.events,
        operations: scene.operations,
        place: if scene.has_lines { "line" } else { "event" },
        is_whole: scene.is_whole(),
        windows: &scene.windows,
        lanes: scene.lanes,
        processes: &scene.processes,
        texts: scene.texts.all(),
        overview: &scene.overview,
        faults: faults.collect(),
        witnesses: witnesses.collect(),
        bars: Columns::new(&scene.bars),
    };
    // Numbers, text and lists can always be said in JSON; without a story the page is one of words.
    harmless(&serde_json::to_string(&story).unwrap_or_default())
}

impl Columns {
    fn new(bars: &[Bar]) -> Self {
        let mut columns = Columns::default();
        let mut before = 0;
        let mut time_before = 0i64;
        for bar in bars {
            let (invoked, completed) = (bar.invoked, bar.completed);
            columns.from.push(invoked.position - before);
            before = invoked.position;
            columns.length.push(completed.map_or(0, |spot| spot.position - invoked.position));
            let outcome = match bar.outcome {
                Outcome::Ok => 0,
                Outcome::Fail => 1,
                Outcome::Unknown => 2,
            };
            let keys = [Some(invoked), completed].map(|spot| u8::from(spot.is_some_and(|spot| spot.has_key)));
            columns.outcome.push(outcome + 4 * keys[0] + 8 * keys[1]);
            columns.lane.push(bar.lane);
            columns.process.push(bar.process);
            columns.f.push(bar.f);
            columns.key.push(bar.key);
            columns.argument.push(bar.argument);
            columns.result.push(bar.result);
            columns.node.push(bar.node);
            columns.error.push(bar.error);
            columns.label.push(bar.label);
            let place = |spot: Option<super::scene::Spot>| {
                spot.map_or(0, |spot| spot.place.cast_signed().wrapping_sub(spot.position.into()))
            };
            columns.place.push(place(Some(invoked)));
            columns.place_end.push(place(completed));
            let from = invoked.time_ns.map_or(time_before, u64::cast_signed);
            let to = completed.and_then(|spot| spot.time_ns).map_or(from, u64::cast_signed);
            columns.time.push(from - time_before);
            columns.took.push(to - from);
            time_before = from;
        }
        columns.drop_empty();
        columns
    }

    fn drop_empty(&mut self) {
        for column in [&mut self.key, &mut self.argument, &mut self.result, &mut self.node, &mut self.error] {
            if column.iter().all(|text| text.is_absent()) {
                column.clear();
            }
        }
        for column in [&mut self.place, &mut self.place_end, &mut self.time, &mut self.took] {
            if column.iter().all(|number| *number == 0) {
                column.clear();
            }
        }
    }
}
