//! The numbers of a check as small tables and curves.
//!
//! A check may tell any JSON; what it is decides how it looks. Numbers and texts are rows, maps are tables of their
//! own, and a list of points (`[x, y]` or `[x, y, low, high]`, all numbers) is a curve, with its range as a shade behind.
//! So is a list of maps that say `share` by `from` or by `k`, with `low` and `high` if they say them; a list of other maps
//! is a table, and a place in a history is its line and its event.

use std::fmt::Write;

use serde_json::Value;

use super::text::{cut, escape};
use super::words;
use crate::check::Figures;

/// How many rows are shown, and how long one may be.
const ROWS_MAX: usize = 200;
const ROW_CHARS_MAX: usize = 200;
/// How deep maps within maps are opened.
const DEPTH_MAX: usize = 4;
/// How many points a curve may have.
const POINTS_MAX: usize = 2_000;

/// All figures of a check, unfolded if they are what there is to see; nothing if it has none.
pub(super) fn html(figures: &Figures, is_open: bool) -> String {
    let (mut rows, mut curves, mut groups) = (Vec::new(), String::new(), String::new());
    for (name, value) in figures {
        match value {
            Value::Object(map) if place(map).is_none() => {
                let mut group = Vec::new();
                for (part, value) in map {
                    collect(part, value, DEPTH_MAX, &mut group, &mut curves);
                }
                groups.push_str(&rows_html(&format!("<caption>{}</caption>", title(name)), group));
            }
            value => collect(name, value, DEPTH_MAX, &mut rows, &mut curves),
        }
    }
    let all = [rows_html("", rows), groups, curves].concat();
    if all.is_empty() {
        return all;
    }
    let open = if is_open { " open" } else { "" };
    format!("<details{open}><summary>figures</summary>\n{all}</details>\n")
}

fn rows_html(caption: &str, rows: Vec<(String, String)>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let rows: String = rows
        .into_iter()
        .take(ROWS_MAX)
        .map(|(name, value)| format!("<tr><th>{}</th><td>{}</td></tr>\n", escape(&name), escape(&value)))
        .collect();
    format!("<table class=\"figures\">{caption}<tbody>\n{rows}</tbody></table>\n")
}

fn collect(name: &str, value: &Value, depth: usize, rows: &mut Vec<(String, String)>, curves: &mut String) {
    if let Some(points) = points(value) {
        curves.push_str(&curve(name, &points));
        return;
    }
    if let Some(records) = records(value) {
        curves.push_str(&table(name, &records));
        return;
    }
    match value {
        Value::Object(map) if depth > 0 && place(map).is_none() => {
            for (part, value) in map {
                collect(&format!("{name} {part}"), value, depth - 1, rows, curves);
            }
        }
        value => rows.push((name.replace(['_', '-'], " "), cut(&show(value), ROW_CHARS_MAX).into_owned())),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        Value::Number(number) => match number.as_u64() {
            Some(whole) => words::count(whole as usize),
            None => number.as_f64().map_or_else(|| number.to_string(), short),
        },
        Value::Array(values) if values.is_empty() => "–".to_owned(),
        Value::Array(values) => values.iter().map(show).collect::<Vec<_>>().join(", "),
        Value::Object(map) => place(map).unwrap_or_else(|| value.to_string()),
        Value::Bool(truth) => truth.to_string(),
    }
}

/// A place in a history, as checks tell it.
fn place(map: &Figures) -> Option<String> {
    let event = map.get("event")?.as_str()?;
    match (map.get("line")?.as_u64()?, map.get("index")?.as_u64()?) {
        (0, index) => Some(format!("event {index}: {event}")),
        (line, _) => Some(format!("line {line}: {event}")),
    }
}

fn records(value: &Value) -> Option<Vec<&Figures>> {
    let list = value.as_array().filter(|list| !list.is_empty())?;
    list.iter().map(Value::as_object).collect()
}

/// How many rows of a list of maps are shown.
const RECORDS_MAX: usize = 12;

fn table(name: &str, records: &[&Figures]) -> String {
    let columns: Vec<&String> = records[0].keys().collect();
    let mut html = format!("<table class=\"figures\"><caption>{}</caption><thead><tr>", title(name));
    columns.iter().for_each(|column| html.push_str(&format!("<th>{}</th>", title(column))));
    html.push_str("</tr></thead><tbody>\n");
    for record in records.iter().take(RECORDS_MAX) {
        html.push_str("<tr>");
        for column in &columns {
            let cell = record.get(*column).map(show).unwrap_or_default();
            let _ = write!(html, "<td>{}</td>", escape(&cut(&cell, ROW_CHARS_MAX)));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table>\n");
    html
}

fn title(name: &str) -> String {
    escape(&name.replace(['_', '-'], " "))
}

/// A point of a curve and the range around it.
#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    low: f64,
    high: f64,
}

fn points(value: &Value) -> Option<Vec<Point>> {
    let list = value.as_array().filter(|list| list.len() >= 2)?;
    let point = |value: &Value| {
        if let Some(map) = value.as_object() {
            let number = |name: &str| map.get(name)?.as_f64();
            let y = number("share")?;
            let (low, high) = (number("low").unwrap_or(y), number("high").unwrap_or(y));
            return Some(Point { x: number("from").or(number("k"))?, y, low, high });
        }
        let numbers: Option<Vec<f64>> = value.as_array()?.iter().map(Value::as_f64).collect();
        match numbers?[..] {
            [x, y] => Some(Point { x, y, low: y, high: y }),
            [x, y, low, high] => Some(Point { x, y, low, high }),
            _ => None,
        }
    };
    let points: Option<Vec<Point>> = list.iter().take(POINTS_MAX).map(point).collect();
    points.filter(|points| points.iter().all(|p| p.x.is_finite() && p.low.is_finite() && p.high.is_finite()))
}

fn curve(name: &str, points: &[Point]) -> String {
    const WIDTH: f64 = 300.0;
    const HEIGHT: f64 = 110.0;
    const LEFT: f64 = 46.0;
    const FOOT: f64 = 18.0;
    let least = |of: fn(&Point) -> f64| points.iter().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&Point) -> f64| points.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
    let (x0, x1) = (least(|p| p.x), most(|p| p.x));
    let (y0, y1) = (least(|p| p.low.min(p.y)), most(|p| p.high.max(p.y)));
    let share = |value: f64, low: f64, high: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
    let x = |value: f64| LEFT + share(value, x0, x1) * (WIDTH - LEFT - 8.0);
    let y = |value: f64| HEIGHT - FOOT - share(value, y0, y1) * (HEIGHT - FOOT - 8.0);
    let line = |of: fn(&Point) -> f64| -> Vec<String> {
        points.iter().map(|point| format!("{:.1} {:.1}", x(point.x), y(of(point)))).collect()
    };
    let mut back = line(|point| point.low);
    back.reverse();
    let caption = title(name);
    let mut html = format!(
        "<figure class=\"curve\"><figcaption>{caption}</figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
         aria-label=\"{caption}: a curve of {} points, from {} at {} to {} at {}\">\n",
        points.len(),
        short(points[0].y),
        short(points[0].x),
        short(points[points.len() - 1].y),
        short(points[points.len() - 1].x),
    );
    if points.iter().any(|point| point.low < point.high) {
        let _ = writeln!(
            html,
            "<path class=\"range\" d=\"M{}L{}Z\"/>",
            line(|point| point.high).join("L"),
            back.join("L")
        );
    }
    let _ = writeln!(
        html,
        "<path class=\"frame\" d=\"M{LEFT} 4V{foot}H{WIDTH}\"/><path d=\"M{}\"/>\n\
         <text x=\"{end}\" y=\"14\" text-anchor=\"end\">{}</text>\n\
         <text x=\"{end}\" y=\"{foot}\" text-anchor=\"end\">{}</text>\n\
         <text x=\"{LEFT}\" y=\"{base}\">{}</text>\n\
         <text x=\"{right}\" y=\"{base}\" text-anchor=\"end\">{}</text>\n</svg></figure>",
        line(|point| point.y).join("L"),
        short(y1),
        short(y0),
        short(x0),
        short(x1),
        foot = HEIGHT - FOOT,
        end = LEFT - 5.0,
        base = HEIGHT - 4.0,
        right = WIDTH - 2.0,
    );
    html
}

/// A number in as many digits as an axis has room for.
fn short(number: f64) -> String {
    let size = number.abs();
    if number.fract() == 0.0 && size < 1e6 {
        format!("{number}")
    } else if (0.001..1e6).contains(&size) {
        let text = format!("{number:.*}", if size >= 100.0 { 1 } else { 3 });
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{number:.1e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(figures: serde_json::Value) -> String {
        html(figures.as_object().unwrap(), true)
    }

    #[test]
    fn numbers_are_rows_and_maps_are_opened() {
        let html = of(serde_json::json!({ "stale_reads": 1_234, "age_ms": { "0.5": 1.5, "<b>": null } }));
        assert!(html.contains("<tr><th>stale reads</th><td>1,234</td></tr>"), "{html}");
        assert!(
            html.contains("<caption>age ms</caption><tbody>\n<tr><th>0.5</th><td>1.5</td></tr>"),
            "{html}"
        );
        assert!(html.contains("<tr><th>&lt;b&gt;</th><td>–</td></tr>"), "{html}");
        assert_eq!(of(serde_json::json!({})), "");
    }

    #[test]
    fn points_are_a_curve_with_its_range() {
        let html = of(serde_json::json!({ "fresh": [[0, 0.5, 0.4, 0.6], [10, 1, 0.9, 1]] }));
        assert!(html.contains("a curve of 2 points, from 0.5 at 0 to 1 at 10"), "{html}");
        assert!(
            html.contains("<path class=\"range\" d=\"M46.0 64.0L292.0 8.0L292.0 22.0L46.0 92.0Z\"/>"),
            "{html}"
        );
        // All of one height is a line in the middle.
        assert!(of(serde_json::json!({ "flat": [[0, 1], [1, 1]] })).contains("M46.0 50.0L292.0 50.0"));
    }

    #[test]
    fn what_is_no_curve_is_told_in_words() {
        assert!(of(serde_json::json!({ "worst": [[1, 2], ["a", 2]] })).contains("<td>1, 2, a, 2</td>"));
        assert!(of(serde_json::json!({ "one": [[1, 2]] })).contains("<td>1, 2</td>"));
    }

    #[test]
    fn maps_with_shares_are_a_curve_and_other_maps_a_table() {
        let curve = of(serde_json::json!({ "t_curve": [
            { "from": 0, "reads": 9, "share": 0.5, "low": 0.4, "high": 0.6 },
            { "from": 10, "reads": 9, "share": 1, "low": 0.9, "high": 1 },
        ] }));
        assert!(curve.contains("t curve: a curve of 2 points, from 0.5 at 0 to 1 at 10"), "{curve}");
        assert!(curve.contains("class=\"range\""), "{curve}");
        let table = of(serde_json::json!({ "worst": [
            { "age": 7, "read": { "index": 3, "line": 4, "event": "process 0 ok read <5>" } },
        ] }));
        assert!(table.contains("<td>7</td><td>line 4: process 0 ok read &lt;5&gt;</td>"), "{table}");
    }

    #[test]
    fn axes_are_short() {
        assert_eq!(
            [0.0, 12.5, 1234.567, 0.000_12, 2e9].map(short),
            ["0", "12.5", "1234.6", "1.2e-4", "2.0e9"]
        );
    }
}
