//! The drawings of the page, as SVG text: latency over time, calls per second, who waited for what, and how fresh reads were.
//!
//! All but the last share one time axis and show the faults as named bands behind everything, so that an eye can follow
//! a band down the page. Colours are classes of the page's style sheet, which knows light and dark. Points that lie on
//! top of each other are drawn as one path of dots, which keeps a page of tens of thousands of calls small.

use std::fmt::Write as _;

use godown_jepsen::history::Outcome;

use super::page::escape;
use super::run::{Fault, Run};
use super::series::Call;
use super::staleness::{Bucket, Staleness};
use super::table::OPERATIONS;

/// The width of a drawing, in its own units.
const WIDTH: f64 = 1_040.0;
/// The room for the names at the left,
const LEFT: f64 = 66.0;
/// and at the right.
const RIGHT: f64 = 14.0;
/// The room for the bands' names at the top,
const TOP: f64 = 22.0;
/// and for the time axis at the bottom.
const BOTTOM: f64 = 26.0;
/// How many dots an operation's panel has at most; of more, the slowest and an even choice of the others are drawn.
const DOTS_MAX: usize = 8_000;
/// How many slices of time the lines and bars have.
const SLICES: usize = 64;
/// How many calls a slice needs before a line goes through its median.
const LINE_CALLS_MIN: usize = 4;

/// The time axis.
struct Time {
    end_s: f64,
}

impl Time {
    fn x(&self, at_s: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (at_s / self.end_s).clamp(0.0, 1.0)
    }

    /// The distance between two ticks: 1, 2 or 5 times a power of ten, at most 12 of them.
    fn step(&self) -> f64 {
        let least = self.end_s / 12.0;
        let power = 10_f64.powf(least.log10().floor());
        [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= least)
            .unwrap_or(least)
    }

    fn axis(&self, svg: &mut String, y: f64) {
        let step = self.step();
        let mut tick = 0.0;
        while tick <= self.end_s * 1.000_1 {
            let x = self.x(tick);
            let label = if step < 1.0 { format!("{tick:.1} s") } else { format!("{tick:.0} s") };
            let _ = write!(
                svg,
                "<path class=\"tick\" d=\"M{x:.1} {y:.1}v4\"/><text class=\"label\" x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{label}</text>",
                y + 17.0
            );
            tick += step;
        }
    }

    fn bands(&self, svg: &mut String, faults: &[Fault], bottom: f64) {
        for fault in merged(faults) {
            let (from, to) = (self.x(fault.from_s), self.x(fault.to_s));
            let (class, words) = (fault.phase.as_str(), escape(&fault.words));
            let _ = write!(
                svg,
                "<rect class=\"band {class}\" x=\"{from:.1}\" y=\"0\" width=\"{:.1}\" height=\"{bottom:.1}\">\
                 <title>{words}: {:.2} s to {:.2} s</title></rect>\
                 <text class=\"band-name {class}\" x=\"{:.1}\" y=\"14\" text-anchor=\"middle\">{words}</text>",
                (to - from).max(1.0),
                fault.from_s,
                fault.to_s,
                (from + to) / 2.0
            );
        }
    }
}

/// Faults of one kind that overlap, as one: their names would stand on top of each other.
fn merged(faults: &[Fault]) -> Vec<Fault> {
    let mut bands: Vec<Fault> = Vec::new();
    for fault in faults {
        match bands.last_mut().filter(|last| last.phase == fault.phase && fault.from_s < last.to_s) {
            Some(last) => {
                last.words = format!("{}, {}", last.words, fault.words);
                last.to_s = last.to_s.max(fault.to_s);
            }
            None => bands.push(fault.clone()),
        }
    }
    bands
}

fn open(svg: &mut String, height: f64, title: &str) {
    let _ = write!(
        svg,
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    );
}

/// A latency's place on a logarithmic axis over whole powers of ten.
struct Decades {
    low: i32,
    high: i32,
}

impl Decades {
    /// From the quickest answer to the longest wait. A refused connection takes no time worth a decade.
    fn of(calls: &[Call]) -> Self {
        let answered = calls.iter().filter(|call| call.outcome == Outcome::Ok);
        let least = answered.map(|call| call.took_s.max(1e-6)).fold(1e-3, f64::min);
        let most = calls.iter().map(|call| call.took_s).fold(1e-2, f64::max);
        Decades { low: least.log10().floor() as i32, high: most.log10().ceil() as i32 }
    }

    /// 0 at the bottom, 1 at the top.
    fn height(&self, seconds: f64) -> f64 {
        let span = f64::from((self.high - self.low).max(1));
        ((seconds.max(1e-9).log10() - f64::from(self.low)) / span).clamp(0.0, 1.0)
    }
}

fn decade_name(power: i32) -> String {
    let (value, unit) = match power {
        ..-3 => (10_f64.powi(power + 6), "µs"),
        -3..0 => (10_f64.powi(power + 3), "ms"),
        _ => (10_f64.powi(power), "s"),
    };
    format!("{value} {unit}")
}

/// Latency over time, a panel for each operation.
pub(super) fn latency(run: &Run, calls: &[Call]) -> String {
    const PANEL: f64 = 148.0;
    const GAP: f64 = 16.0;
    let time = Time { end_s: run.load_s };
    let decades = Decades::of(calls);
    let height = TOP + (PANEL + GAP) * OPERATIONS.len() as f64 - GAP + BOTTOM;
    let mut svg = String::new();
    open(&mut svg, height, "Latency of every call over time, by operation");
    time.bands(&mut svg, &run.faults, height - BOTTOM);
    for (number, operation) in OPERATIONS.iter().enumerate() {
        let top = TOP + (PANEL + GAP) * number as f64;
        let y = |seconds: f64| top + PANEL * (1.0 - decades.height(seconds));
        let _ = write!(
            svg,
            "<rect class=\"panel\" x=\"{LEFT}\" y=\"{top}\" width=\"{}\" height=\"{PANEL}\"/>",
            WIDTH - LEFT - RIGHT
        );
        for power in decades.low..=decades.high {
            let line = y(10_f64.powi(power));
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {line:.1}H{}\"/><text class=\"label\" x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                line + 4.0,
                decade_name(power)
            );
        }
        let mine: Vec<&Call> = calls.iter().filter(|call| call.operation == number).collect();
        let _ = write!(svg, "<path class=\"dots {operation}\" d=\"");
        for call in chosen(&mine) {
            let _ = write!(svg, "M{:.1} {:.1}h0", time.x(call.at_s), y(call.took_s));
        }
        svg.push_str("\"/>");
        median_and_tail(&mut svg, run.load_s, &mine, |at, took| (time.x(at), y(took)));
        let _ = write!(svg, "<path class=\"crosses\" d=\"");
        for call in mine.iter().filter(|call| call.outcome != Outcome::Ok).take(DOTS_MAX) {
            let (x, y) = (time.x(call.at_s), y(call.took_s));
            let _ = write!(svg, "M{:.1} {:.1}l6 6m0-6l-6 6", x - 3.0, y - 3.0);
        }
        let _ = write!(
            svg,
            "\"/><text class=\"name {operation}\" x=\"{}\" y=\"{}\">{operation}</text>",
            LEFT + 8.0,
            top + 16.0
        );
    }
    time.axis(&mut svg, height - BOTTOM);
    svg.push_str("</svg>");
    svg
}

/// The successful calls that are drawn: all, or the slowest and every so-manieth of the rest.
fn chosen<'c>(calls: &[&'c Call]) -> Vec<&'c Call> {
    let mut calls: Vec<&Call> = calls.iter().filter(|call| call.outcome == Outcome::Ok).copied().collect();
    if calls.len() > DOTS_MAX {
        calls.sort_by(|a, b| b.took_s.total_cmp(&a.took_s));
        let rest = calls.split_off(DOTS_MAX / 2);
        let every = rest.len().div_ceil(DOTS_MAX / 2);
        calls.extend(rest.into_iter().step_by(every));
    }
    calls
}

/// Lines through the median and the 99th percentile of each slice of time.
fn median_and_tail(svg: &mut String, load_s: f64, calls: &[&Call], place: impl Fn(f64, f64) -> (f64, f64)) {
    let mut slices: Vec<Vec<f64>> = vec![Vec::new(); SLICES];
    for call in calls.iter().filter(|call| call.outcome == Outcome::Ok) {
        slices[slice(call.at_s, load_s)].push(call.took_s);
    }
    for (class, quantile) in [("median", 0.5), ("tail", 0.99)] {
        let _ = write!(svg, "<path class=\"{class}\" d=\"");
        let mut pen = 'M';
        for (number, slice) in slices.iter_mut().enumerate() {
            if slice.len() < LINE_CALLS_MIN {
                // A line across a stretch without answers would claim that there were some.
                pen = 'M';
                continue;
            }
            slice.sort_by(f64::total_cmp);
            let value = slice[((slice.len() - 1) as f64 * quantile).round() as usize];
            let (x, y) = place((number as f64 + 0.5) * load_s / SLICES as f64, value);
            let _ = write!(svg, "{pen}{x:.1} {y:.1}");
            pen = 'L';
        }
        svg.push_str("\"/>");
    }
}

fn slice(at_s: f64, load_s: f64) -> usize {
    ((at_s / load_s * SLICES as f64) as usize).min(SLICES - 1)
}

/// Calls per second over time, stacked by operation, those that failed or were never answered on top.
pub(super) fn throughput(run: &Run, calls: &[Call]) -> String {
    const PANEL: f64 = 120.0;
    let time = Time { end_s: run.load_s };
    let height = TOP + PANEL + BOTTOM;
    let mut slices = [[0_u32; OPERATIONS.len() + 1]; SLICES];
    for call in calls {
        let kind = if call.outcome == Outcome::Ok { call.operation } else { OPERATIONS.len() };
        slices[slice(call.at_s, run.load_s)][kind] += 1;
    }
    let per_second = SLICES as f64 / run.load_s;
    let most = slices.iter().map(|slice| slice.iter().sum::<u32>()).max().unwrap_or(0);
    let top_rate = (f64::from(most) * per_second).max(1.0);
    let step = Time { end_s: top_rate * 3.0 }.step();
    let ceiling = (top_rate / step).ceil() * step;
    let y = |rate: f64| TOP + PANEL * (1.0 - rate / ceiling);
    let mut svg = String::new();
    open(&mut svg, height, "Calls per second over time, by operation");
    time.bands(&mut svg, &run.faults, height - BOTTOM);
    let mut rate = 0.0;
    while rate <= ceiling * 1.000_1 {
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {:.1}H{}\"/><text class=\"label\" x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{rate:.0}/s</text>",
            y(rate),
            WIDTH - RIGHT,
            LEFT - 8.0,
            y(rate) + 4.0
        );
        rate += step;
    }
    for (kind, class) in OPERATIONS.iter().copied().chain(["failed"]).enumerate() {
        let _ = write!(svg, "<path class=\"bars {class}\" d=\"");
        for (number, slice) in slices.iter().enumerate().filter(|(_, slice)| slice[kind] > 0) {
            let below = f64::from(slice[..kind].iter().sum::<u32>()) * per_second;
            let rate = f64::from(slice[kind]) * per_second;
            let from = time.x(number as f64 * run.load_s / SLICES as f64);
            let to = time.x((number as f64 + 1.0) * run.load_s / SLICES as f64);
            let _ = write!(
                svg,
                "M{:.1} {:.1}H{:.1}V{:.1}H{:.1}z",
                from + 0.5,
                y(below),
                to - 0.5,
                y(below + rate),
                from + 0.5
            );
        }
        svg.push_str("\"/>");
    }
    time.axis(&mut svg, height - BOTTOM);
    svg.push_str("</svg>");
    svg
}

/// A lane for each node, and one for each session with every call from its beginning to its end.
pub(super) fn lanes(run: &Run, calls: &[Call]) -> String {
    const LANE: f64 = 12.0;
    const PITCH: f64 = 18.0;
    const GAP: f64 = 12.0;
    let time = Time { end_s: run.load_s };
    let sessions = calls.iter().map(|call| call.session + 1).max().unwrap_or(0).min(64);
    let nodes_end = TOP + PITCH * run.nodes.len() as f64;
    let height = nodes_end + GAP + PITCH * sessions as f64 + BOTTOM;
    let mut svg = String::new();
    open(&mut svg, height, "Nodes and sessions over time");
    time.bands(&mut svg, &run.faults, height - BOTTOM);
    let name = |svg: &mut String, top: f64, name: &str| {
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            top + LANE - 2.0,
            escape(name)
        );
    };
    for (number, node) in run.nodes.iter().enumerate() {
        let top = TOP + PITCH * number as f64;
        name(&mut svg, top, node);
        let _ = write!(
            svg,
            "<rect class=\"node\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{}\" height=\"{LANE}\" rx=\"2\"/>",
            WIDTH - LEFT - RIGHT
        );
        for fault in run.faults.iter().filter(|fault| fault.node == *node) {
            let (from, to) = (time.x(fault.from_s), time.x(fault.to_s));
            let _ = write!(
                svg,
                "<rect class=\"node-fault {}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{LANE}\">\
                 <title>{}: {:.2} s to {:.2} s</title></rect>",
                fault.phase.as_str(),
                (to - from).max(1.0),
                escape(&fault.words),
                fault.from_s,
                fault.to_s
            );
        }
    }
    for session in 0..sessions {
        let top = nodes_end + GAP + PITCH * session as f64;
        name(&mut svg, top, &format!("session {session}"));
        let middle = top + LANE / 2.0;
        let classes = OPERATIONS.iter().copied().chain(["refused", "unknown"]);
        for (kind, class) in classes.enumerate() {
            let mut path = String::new();
            for call in calls.iter().filter(|call| call.session == session && lane_kind(call) == kind) {
                let from = time.x(call.at_s);
                let width = (time.x(call.at_s + call.took_s) - from).max(0.7);
                let _ = write!(path, "M{from:.1} {middle:.1}h{width:.1}");
            }
            if !path.is_empty() {
                let _ = write!(svg, "<path class=\"calls {class}\" d=\"{path}\"/>");
            }
        }
    }
    time.axis(&mut svg, height - BOTTOM);
    svg.push_str("</svg>");
    svg
}

fn lane_kind(call: &Call) -> usize {
    match call.outcome {
        Outcome::Ok => call.operation,
        Outcome::Fail => OPERATIONS.len(),
        Outcome::Unknown => OPERATIONS.len() + 1,
    }
}

/// Times since a write on a logarithmic axis; one that is shorter than all marks is at the left end.
struct Since {
    low: f64,
    high: f64,
}

impl Since {
    fn of(buckets: &[Bucket]) -> Self {
        let edges = || buckets.iter().flat_map(|bucket| [bucket.from, bucket.until]).filter(|edge| *edge > 0);
        let log = |edge: Option<u64>| edge.map_or(0.0, |edge| (edge as f64).log10());
        let (low, high) = (log(edges().min()), log(edges().max()));
        Since { low, high: high.max(low + 0.1) }
    }

    fn x(&self, log: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * ((log - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn middle(&self, bucket: &Bucket) -> f64 {
        let log = |edge: u64| (edge as f64).max(1.0).log10().max(self.low);
        self.x((log(bucket.from) + log(bucket.until)) / 2.0)
    }
}

/// Where the axis of shares begins: as high as all of the interval's lower ends allow.
fn floor_of(buckets: &[Bucket]) -> f64 {
    let least = buckets.iter().map(|bucket| bucket.low).fold(1.0, f64::min);
    [0.99, 0.9, 0.5].into_iter().find(|floor| *floor <= least).unwrap_or(0.0)
}

/// The share of reads that missed nothing, by how long before them the last write had settled.
pub(super) fn freshness(staleness: &Staleness) -> String {
    const PANEL: f64 = 150.0;
    const HEIGHT: f64 = TOP + PANEL + BOTTOM;
    const STEPS: u32 = 5;
    let buckets = &staleness.t_curve;
    let (since, floor) = (Since::of(buckets), floor_of(buckets));
    let y = |share: f64| TOP + PANEL * (1.0 - (share - floor) / (1.0 - floor)).clamp(0.0, 1.0);
    let mut svg = String::new();
    open(&mut svg, HEIGHT, "Share of reads that missed nothing, by the time since the last write");
    for step in 0..=STEPS {
        let share = floor + (1.0 - floor) * f64::from(step) / f64::from(STEPS);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {0:.1}H{1}\"/><text class=\"label\" x=\"{2}\" y=\"{3:.1}\" \
             text-anchor=\"end\">{4:.1} %</text>",
            y(share),
            WIDTH - RIGHT,
            LEFT - 8.0,
            y(share) + 4.0,
            100.0 * share
        );
    }
    for power in since.low.ceil() as i32..=since.high.floor() as i32 {
        let label = match staleness.unit.as_str() {
            "ns" => decade_name(power - 9),
            _ => format!("{:.0}", 10_f64.powi(power)),
        };
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{0:.1} {TOP}v{PANEL}\"/><text class=\"label\" x=\"{0:.1}\" y=\"{1}\" \
             text-anchor=\"middle\">{label}</text>",
            since.x(f64::from(power)),
            TOP + PANEL + 17.0
        );
    }
    let line = |of: fn(&Bucket) -> f64| -> Vec<String> {
        buckets.iter().map(|bucket| format!("{:.1} {:.1}", since.middle(bucket), y(of(bucket)))).collect()
    };
    let mut back = line(|bucket| bucket.low);
    back.reverse();
    let _ = write!(
        svg,
        "<path class=\"range\" d=\"M{}L{}Z\"/><path class=\"share\" d=\"M{}\"/>",
        line(|bucket| bucket.high).join("L"),
        back.join("L"),
        line(|bucket| bucket.share).join("L")
    );
    for bucket in buckets {
        let _ = write!(
            svg,
            "<circle class=\"share-dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{} to {}: {} of {} reads missed \
             nothing</title></circle>",
            since.middle(bucket),
            y(bucket.share),
            escape(&staleness.time(bucket.from)),
            escape(&staleness.time(bucket.until)),
            bucket.fresh,
            bucket.reads
        );
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::super::phase::Phase;
    use super::*;

    fn bucket(from: u64, until: u64, low: f64) -> Bucket {
        Bucket { from, until, reads: 9, fresh: 9, share: 1.0, low, high: 1.0 }
    }

    #[test]
    fn times_since_a_write_are_in_order_from_left_to_right_even_from_zero_on() {
        let buckets = [bucket(0, 1, 0.7), bucket(1, 2, 0.7), bucket(1_000, 2_000, 0.7)];
        let since = Since::of(&buckets);
        let places = buckets.map(|bucket| since.middle(&bucket));
        assert!(places.is_sorted() && LEFT <= places[0] && places[2] < WIDTH - RIGHT, "{places:?}");
        assert!(places[1] < places[2] - 500.0, "{places:?}");
        let alone = Since::of(&buckets[..1]).middle(&buckets[0]);
        assert!((LEFT..=WIDTH).contains(&alone), "{alone}");
    }

    #[test]
    fn faults_of_one_kind_that_overlap_are_one_band() {
        let fault = |phase, node: &str, words: &str, from_s, to_s| Fault {
            phase,
            node: node.to_owned(),
            words: words.to_owned(),
            from_s,
            to_s,
        };
        let faults = [
            fault(Phase::Joining, "n4", "n4 joins", 1.0, 4.0),
            fault(Phase::Joining, "n5", "n5 joins", 1.5, 5.0),
            fault(Phase::Killed, "n1", "n1 killed", 4.5, 6.0),
            fault(Phase::Killed, "n2", "n2 killed", 6.0, 7.0),
        ];
        let bands = merged(&faults);
        let told: Vec<_> = bands.iter().map(|band| (band.words.as_str(), band.from_s, band.to_s)).collect();
        assert_eq!(
            told,
            [("n4 joins, n5 joins", 1.0, 5.0), ("n1 killed", 4.5, 6.0), ("n2 killed", 6.0, 7.0)]
        );
    }

    #[test]
    fn the_axis_of_shares_holds_every_interval() {
        for (low, floor) in [(0.995, 0.99), (0.97, 0.9), (0.6, 0.5), (0.2, 0.0)] {
            assert_eq!(floor_of(&[bucket(1, 2, 1.0), bucket(2, 5, low)]), floor);
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        for end_s in [0.5, 2.0, 8.0, 60.0, 3_600.0] {
            let time = Time { end_s };
            let count = end_s / time.step();
            assert!((4.0..=12.0).contains(&count), "{count} ticks over {end_s} s");
        }
        assert!((Time { end_s: 8.0 }.step() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn decades_have_names() {
        let names = [-6, -5, -4, -3, -2, -1, 0, 1].map(decade_name);
        assert_eq!(names, ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
    }

    #[test]
    fn of_too_many_dots_the_slowest_are_kept() {
        let call = |took_s: f64| Call {
            operation: 0,
            at_s: 0.0,
            took_s,
            outcome: Outcome::Ok,
            session: 0,
            values: 0,
        };
        let calls: Vec<Call> = (0..3 * DOTS_MAX).map(|n| call(n as f64)).collect();
        let chosen = chosen(&calls.iter().collect::<Vec<_>>());
        assert!(chosen.len() <= DOTS_MAX);
        assert!(chosen.iter().any(|call| call.took_s == (3 * DOTS_MAX - 1) as f64));
    }
}
