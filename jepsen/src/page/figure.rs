//! One violation as a drawing that stands alone: its calls among their neighbours, in SVG.
//!
//! Time runs to the right, by position, but only the ends of the calls that are drawn take room: every bar is as
//! wide as its label, every witness' end has its line below the axis, and where events were left out the axis is
//! broken. So a witness that reaches over ten thousand events still fits on a paper. Shapes and patterns say what
//! colours say, too. The style within makes it light or dark as its reader prefers.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::faults::Until;
use super::scene::{Bar, Scene, Witness};
use super::text::{begin, cut, escape};
use crate::check::Violation;
use crate::history::Outcome;

/// The style of every drawing; the page holds it once for all.
pub(super) const STYLE: &str = include_str!("figure.css");

/// How many calls of a witness are drawn, and how many of their neighbours.
const WITNESSES_MAX: usize = 24;
const NEIGHBOURS_MAX: usize = 8;
/// How many events have to be left out for the axis to be broken.
const OMITTED_MIN: u32 = 12;

/// Lengths in pixels.
const LEFT: f64 = 92.0;
const RIGHT: f64 = 34.0;
const LANE: f64 = 34.0;
const BAR: f64 = 24.0;
const STEP: f64 = 16.0;
const BREAK: f64 = 22.0;
const LETTER: f64 = 7.0;
const LINE: f64 = 19.0;
const WIDTH_MIN: f64 = 640.0;
const CHARS_MAX: usize = 600;

/// Whether a drawing is a file of its own or stands in a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    Alone,
    Page,
}

/// Draws the violation with this number of a scene.
pub(super) fn draw(scene: &Scene, number: usize, violation: &Violation, frame: Frame) -> String {
    let Some(witness) = scene.witnesses.get(number) else {
        return String::new();
    };
    Figure::new(scene, witness, format!("v{}", number + 1)).draw(violation, frame)
}

/// An end of a drawn call on the axis.
struct Tick {
    position: u32,
    x: f64,
    is_witness: bool,
}

struct Figure<'a> {
    scene: &'a Scene,
    witness: &'a Witness,
    /// What ids begin with.
    id: String,
    /// The calls, in order of invocation.
    bars: Vec<&'a Bar>,
    /// The lanes that are drawn, in order.
    lanes: Vec<u32>,
    ticks: Vec<Tick>,
    /// Where the axis is broken, and how many events were left out.
    breaks: Vec<(f64, u32)>,
    width: f64,
}

impl<'a> Figure<'a> {
    fn new(scene: &'a Scene, witness: &'a Witness, id: String) -> Self {
        let bars: Vec<&Bar> =
            chosen(scene, witness).into_iter().map(|bar| &scene.bars[bar as usize]).collect();
        // In order of their first call, so that time runs down as well as to the right.
        let mut lanes: Vec<u32> = Vec::new();
        for bar in &bars {
            if !lanes.contains(&bar.lane) {
                lanes.push(bar.lane);
            }
        }
        let mut figure = Figure {
            scene,
            witness,
            id,
            bars,
            lanes,
            ticks: Vec::new(),
            breaks: Vec::new(),
            width: WIDTH_MIN,
        };
        figure.lay_out();
        figure
    }

    /// Goes through the ends from left to right and gives each the room that labels need.
    fn lay_out(&mut self) {
        let mut ends: Vec<(u32, &Bar, bool)> = Vec::new();
        for bar in &self.bars {
            ends.push((bar.invoked.position, bar, false));
            ends.extend(bar.returned().map(|position| (position, *bar, true)));
        }
        ends.sort_by_key(|(position, ..)| *position);
        let mut x = LEFT;
        // Where the last label below the axis ends.
        let mut free = LEFT;
        let mut before = ends.first().map_or(0, |(position, ..)| *position);
        for (position, bar, is_end) in ends {
            let omitted = position.saturating_sub(before).saturating_sub(1);
            x += STEP;
            if omitted >= OMITTED_MIN {
                x += BREAK;
            }
            let is_witness = self.witness.badge(position).is_some();
            if is_end {
                let label = self.label_width(bar);
                x = x.max(self.x_of(bar.invoked.position) + label);
            }
            if is_witness {
                let half = self.place_text(bar, is_end).chars().count() as f64 * LETTER / 2.0 + 3.0;
                x = x.max(free + half);
                free = x + half;
            }
            if omitted >= OMITTED_MIN {
                let last = self.ticks.last().map_or(LEFT, |tick| tick.x);
                self.breaks.push(((last + x) / 2.0, omitted));
            }
            self.ticks.push(Tick { position, x, is_witness });
            before = position;
        }
        let open = self.bars.iter().filter(|bar| bar.returned().is_none());
        let reach = open.map(|bar| self.x_of(bar.invoked.position) + self.label_width(bar) + STEP);
        x = reach.fold(x + RIGHT, f64::max).max(free + 4.0);
        self.width = x.max(WIDTH_MIN);
    }

    fn label_width(&self, bar: &Bar) -> f64 {
        let badge = if self.badge(bar).is_some() { 22.0 } else { 0.0 };
        self.scene.texts.text(bar.label).chars().count() as f64 * LETTER + 14.0 + badge
    }

    fn badge(&self, bar: &Bar) -> Option<String> {
        let completed = bar.completed.and_then(|spot| self.witness.badge(spot.position));
        self.witness.badge(bar.invoked.position).or(completed)
    }

    fn place_text(&self, bar: &Bar, is_end: bool) -> String {
        let spot = bar.completed.filter(|_| is_end).unwrap_or(bar.invoked);
        place_word(self.scene, spot.place)
    }

    /// Where a position lies; one that is not drawn lies between those that are.
    fn x_of(&self, position: u32) -> f64 {
        let next = self.ticks.partition_point(|tick| tick.position < position);
        match (next.checked_sub(1).map(|last| &self.ticks[last]), self.ticks.get(next)) {
            (_, Some(tick)) if tick.position == position => tick.x,
            (Some(last), Some(next)) => f64::midpoint(last.x, next.x),
            (None, Some(_)) => LEFT,
            (Some(_), None) => self.width,
            (None, None) => LEFT,
        }
    }

    fn draw(&self, violation: &Violation, frame: Frame) -> String {
        let told = &violation.explanation;
        let chars = (self.width / LETTER) as usize - 2;
        let title = format!("{}{}: {}", violation.anomaly, on_key(violation), told.summary);
        let title = wrap(&title, chars);
        let foot = if told.contradiction.is_empty() {
            Vec::new()
        } else {
            wrap(&format!("but {}: a contradiction", told.contradiction), chars)
        };
        let faults = self.faults();
        let fault_rows = faults.iter().map(|fault| fault.row + 1).max().unwrap_or(0);
        let top = 14.0 + title.len() as f64 * LINE + 6.0 + fault_rows as f64 * LINE;
        let axis = top + self.lanes.len() as f64 * LANE + 4.0;
        let height = axis + 30.0 + foot.len() as f64 * LINE + 8.0;
        let width = self.width;

        let mut svg = format!(
            "<svg class=\"gw\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-labelledby=\"{id}-title\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"13\">\n\
             <title id=\"{id}-title\">{}</title>\n",
            escape(&title.join(" ")),
            id = self.id,
        );
        if frame == Frame::Alone {
            let _ = writeln!(svg, "<style>\n{STYLE}</style>");
        }
        self.patterns(&mut svg);
        let _ = writeln!(svg, "<rect class=\"gw-ground\" width=\"{width:.0}\" height=\"{height:.0}\"/>");
        lines(&mut svg, &title, 14.0, "gw-title");
        for fault in &faults {
            fault.draw(&mut svg, top, axis, fault_rows);
        }
        for (row, lane) in (0u32..).zip(&self.lanes) {
            self.lane(&mut svg, *lane, top + f64::from(row) * LANE);
        }
        self.axis(&mut svg, top, axis);
        for bar in &self.bars {
            let row = self.lanes.iter().position(|lane| *lane == bar.lane).unwrap_or(0);
            self.bar(&mut svg, bar, top + row as f64 * LANE + (LANE - BAR) / 2.0);
        }
        lines(&mut svg, &foot, axis + 30.0, "gw-foot");
        svg.push_str("</svg>\n");
        svg
    }

    /// Hatching has to be drawn by name, and names are one space for a whole page.
    fn patterns(&self, svg: &mut String) {
        let _ = writeln!(
            svg,
            "<defs><pattern id=\"{}-hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><path class=\"gw-hatch\" d=\"M0 0V6\"/></pattern></defs>",
            self.id
        );
    }

    fn lane(&self, svg: &mut String, lane: u32, y: f64) {
        let middle = y + LANE / 2.0;
        let mut processes: Vec<u32> =
            self.bars.iter().filter(|bar| bar.lane == lane).map(|bar| bar.process).collect();
        processes.dedup();
        let names: Vec<&str> =
            processes.iter().map(|process| self.scene.processes[*process as usize].as_str()).collect();
        let name = if names.len() == 1 { format!("process {}", names[0]) } else { names.join(", ") };
        let _ = writeln!(
            svg,
            "<path class=\"gw-lane\" d=\"M{LEFT} {middle}H{:.1}\"/>\
             <text class=\"gw-quiet\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            self.width - 6.0,
            LEFT - 8.0,
            middle + 4.5,
            escape(&begin(format_args!("{name}"), 14)),
        );
    }

    fn axis(&self, svg: &mut String, top: f64, axis: f64) {
        let _ = writeln!(svg, "<path class=\"gw-axis\" d=\"M{LEFT} {axis:.1}H{:.1}\"/>", self.width - 6.0);
        for (x, omitted) in &self.breaks {
            let _ = writeln!(
                svg,
                "<path class=\"gw-break\" d=\"M{:.1} {y:.1}l4 -8M{x:.1} {y:.1}l4 -8\">\
                 <title>{omitted} events between</title></path>",
                x - 4.0,
                y = axis + 4.0,
            );
        }
        for tick in self.ticks.iter().filter(|tick| tick.is_witness) {
            let place = self
                .bars
                .iter()
                .find_map(|bar| match (bar.invoked, bar.completed) {
                    (spot, _) if spot.position == tick.position => Some(spot.place),
                    (_, Some(spot)) if spot.position == tick.position => Some(spot.place),
                    _ => None,
                })
                .unwrap_or(tick.position.into());
            let _ = writeln!(
                svg,
                "<path class=\"gw-tick\" d=\"M{x:.1} {top:.1}V{:.1}\"/>\
                 <text class=\"gw-place\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                axis + 5.0,
                axis + 18.0,
                place_word(self.scene, place),
                x = tick.x,
            );
        }
    }

    fn bar(&self, svg: &mut String, bar: &Bar, y: f64) {
        let texts = &self.scene.texts;
        let from = self.x_of(bar.invoked.position);
        let badge = self.badge(bar);
        let shape = match bar.returned() {
            Some(position) => {
                let width = self.x_of(position) - from;
                format!("<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"4\"")
            }
            None => torn(from, y, self.width - 8.0),
        };
        let class = format!(
            "gw-{}{}{}",
            hue(texts.text(bar.f)),
            if bar.outcome == Outcome::Unknown { " gw-open" } else { "" },
            if badge.is_some() { " gw-witness" } else { " gw-neighbour" }
        );
        let _ = writeln!(svg, "<g id=\"{}-p{}\">", self.id, bar.invoked.position);
        // The completion is a place of its own that sentences point at.
        if let Some(spot) = bar.completed {
            let _ = write!(svg, "<g id=\"{}-p{}\"/>", self.id, spot.position);
        }
        let _ = write!(svg, "<title>{}</title>{shape} class=\"{class}\"/>", escape(&self.describe(bar)));
        if bar.outcome == Outcome::Fail {
            let _ = write!(svg, "{shape} fill=\"url(#{}-hatch)\"/>", self.id);
        }
        let mut x = from + 7.0;
        if let Some(badge) = badge {
            let _ = write!(
                svg,
                "<circle class=\"gw-badge\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"8.5\"/>\
                 <text class=\"gw-letter\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{badge}</text>",
                from + 13.0,
                y + BAR / 2.0,
                from + 13.0,
                y + BAR / 2.0 + 4.0,
            );
            x += 20.0;
        }
        let _ = writeln!(
            svg,
            "<text class=\"gw-label\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>\n</g>",
            y + BAR / 2.0 + 4.5,
            escape(texts.text(bar.label)),
        );
    }

    fn describe(&self, bar: &Bar) -> String {
        let texts = &self.scene.texts;
        let from = place_word(self.scene, bar.invoked.place);
        let to = bar.completed.map(|spot| place_word(self.scene, spot.place));
        let node = texts.text(bar.node);
        format!(
            "process {}: {}{} ({from} to {}), {}{}",
            self.scene.processes[bar.process as usize],
            texts.text(bar.label),
            if bar.key.is_absent() { String::new() } else { format!(" on key {}", texts.text(bar.key)) },
            to.as_deref().unwrap_or("nowhere"),
            match bar.outcome {
                Outcome::Ok => "ok",
                Outcome::Fail => "failed",
                Outcome::Unknown => "unknown whether it happened",
            },
            if node.is_empty() { String::new() } else { format!(", at {node}") },
        )
    }

    /// The faults that reach into the drawing, each in the lowest row where its name has room.
    fn faults(&self) -> Vec<Shade> {
        let (Some(first), Some(last)) = (self.ticks.first(), self.ticks.last()) else {
            return Vec::new();
        };
        let mut rows: Vec<f64> = Vec::new();
        let mut shades = Vec::new();
        for fault in &self.scene.faults {
            let until = match fault.until {
                Until::Moment => fault.from,
                Until::Position(position) => position,
                Until::Open => u32::MAX,
            };
            if until < first.position || fault.from > last.position {
                continue;
            }
            let from = self.x_of(fault.from);
            let to = (fault.until != Until::Moment).then(|| self.x_of(until).max(from + 3.0));
            let name = begin(format_args!("{}", fault.name), 40);
            let end = from + name.chars().count() as f64 * LETTER + 10.0;
            let row = rows.iter().position(|taken| *taken <= from).unwrap_or(rows.len());
            if row >= SHADE_ROWS_MAX {
                continue;
            }
            if row == rows.len() {
                rows.push(0.0);
            }
            rows[row] = end.max(to.unwrap_or(from));
            shades.push(Shade { from, to, name, row });
        }
        shades
    }
}

/// How many rows of names of faults there may be; what finds no room is left out.
const SHADE_ROWS_MAX: usize = 4;

/// A fault as it is drawn.
struct Shade {
    from: f64,
    to: Option<f64>,
    name: String,
    row: usize,
}

impl Shade {
    fn draw(&self, svg: &mut String, top: f64, axis: f64, rows: usize) {
        let y = top - (rows - self.row) as f64 * LINE;
        let x = self.from;
        match self.to {
            Some(to) => {
                let _ = write!(
                    svg,
                    "<rect class=\"gw-fault\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                    to - x,
                    axis - y
                );
            }
            None => {
                let _ = write!(svg, "<path class=\"gw-moment\" d=\"M{x:.1} {y:.1}V{axis:.1}\"/>");
            }
        }
        let _ = writeln!(
            svg,
            "<text class=\"gw-faulty\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 4.0,
            y + 13.0,
            escape(&self.name)
        );
    }
}

/// The calls that are drawn: those of the witness, and those nearest to it on its key.
fn chosen(scene: &Scene, witness: &Witness) -> BTreeSet<u32> {
    // Of very many the first ones say how it began, and the last ones what came of it.
    let count = witness.bars.len();
    let tail = count.saturating_sub(WITNESSES_MAX / 2).max(WITNESSES_MAX / 2);
    let told = witness.bars.iter().take(WITNESSES_MAX / 2).chain(witness.bars.iter().skip(tail));
    let mut chosen: BTreeSet<u32> = told.copied().collect();
    let mut moments: Vec<u32> = witness.events.iter().flatten().copied().collect();
    moments.sort_unstable();
    if moments.is_empty() {
        return chosen;
    }
    let nearest = |position: u32| {
        let next = moments.partition_point(|moment| *moment < position);
        let around = [next.checked_sub(1), Some(next)].into_iter().flatten();
        around
            .filter_map(|i| moments.get(i))
            .map(|moment| moment.abs_diff(position))
            .min()
            .unwrap_or(u32::MAX)
    };
    let mut neighbours: Vec<(u32, u32)> = (0u32..)
        .zip(&scene.bars)
        .filter(|(number, bar)| {
            bar.key == witness.key
                && bar.outcome != Outcome::Unknown
                && witness.bars.binary_search(number).is_err()
        })
        .map(|(number, bar)| {
            let (from, to) = (bar.invoked.position, bar.returned().unwrap_or(u32::MAX));
            let next = moments.partition_point(|moment| *moment < from);
            let is_beside = moments.get(next).is_some_and(|moment| *moment < to);
            (if is_beside { 0 } else { nearest(from).min(nearest(to)) }, number)
        })
        .collect();
    neighbours.sort_unstable();
    chosen.extend(neighbours.into_iter().take(NEIGHBOURS_MAX).map(|(_, number)| number));
    chosen
}

/// A bar that is open to the right, with a torn end there.
fn torn(from: f64, y: f64, to: f64) -> String {
    let tooth = BAR / 6.0;
    format!(
        "<path d=\"M{to:.1} {y:.1}H{:.1}q-4 0 -4 4v{:.1}q0 4 4 4H{to:.1}\
         l-5 -{tooth}l5 -{tooth}l-5 -{tooth}l5 -{tooth}l-5 -{tooth}z\"",
        from + 4.0,
        BAR - 8.0,
    )
}

/// The class of a function's colour.
pub(super) fn hue(f: &str) -> &'static str {
    match f {
        "read" | "get" | "r" | "dequeue" | "drain" | "contains" => "read",
        "write" | "put" | "w" | "add" | "append" | "enqueue" | "inc" | "increment" => "write",
        "cas" => "cas",
        "delete" | "remove" | "dec" | "decrement" => "delete",
        _ => "other",
    }
}

fn place_word(scene: &Scene, place: u64) -> String {
    format!("{} {place}", if scene.has_lines { "line" } else { "event" })
}

pub(super) fn on_key(violation: &Violation) -> String {
    if violation.key.is_null() { String::new() } else { format!(" on key {}", violation.key) }
}

/// Breaks text into lines of at most so many characters, between words where possible.
fn wrap(text: &str, chars_max: usize) -> Vec<String> {
    let text = cut(text, CHARS_MAX);
    let mut lines = vec![String::new()];
    // How much of the last line is used.
    let mut used = 0;
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(chars_max) {
            if used > 0 && used + 1 + piece.len() > chars_max {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                if used > 0 {
                    line.push(' ');
                    used += 1;
                }
                line.extend(piece);
                used += piece.len();
            }
        }
    }
    lines
}

fn lines(svg: &mut String, lines: &[String], top: f64, class: &str) {
    for (row, line) in (1u32..).zip(lines) {
        let y = top + f64::from(row) * LINE - 5.0;
        let _ = writeln!(svg, "<text class=\"{class}\" x=\"10\" y=\"{y:.1}\">{}</text>", escape(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_longer_ones_broken() {
        assert_eq!(wrap("let these be", 8), ["let", "these be"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
