//! A history and its verdict as a page: one HTML file that explains by picture, with nothing outside of it.
//!
//! [`html`] gives the page, which a small script lets its reader explore, [`svg`] one violation as a drawing for a paper or a README; [`Folder`] and [`write_into`] write both
//! beside the results. A page loads nothing, so it can be attached to a report, opened from a disk and read in
//! ten years. What a history says may come from anybody: no text of it is ever taken for markup. A page's size is bounded:
//! of a very long history it holds the calls around the violations, and says so.
//!
//! ```
//! use godown_jepsen::check::{self, Options};
//! use godown_jepsen::history::{Event, History};
//! use godown_jepsen::page;
//!
//! let history: History = [
//!     Event::invoke(0, "write").value(1),
//!     Event::ok(0, "write").value(1),
//!     Event::invoke(1, "read"),
//!     Event::ok(1, "read").value(2),
//! ]
//! .into_iter()
//! .collect();
//! let report = check::linearizable(&history, &Options::default()).unwrap();
//! let page = page::html(&history, &report);
//! assert!(page.contains("a contradiction"));
//! let drawing = page::svg(&history, report.violations().next().unwrap());
//! assert!(drawing.starts_with("<svg"));
//! ```

mod embed;
mod faults;
mod figure;
mod figures;
mod folder;
mod scene;
mod text;
mod words;

use crate::check::{Report, Violation};
use crate::history::History;
use scene::Scene;
use text::escape;

pub use folder::{Folder, FolderError, Times, write_into};

/// The page's frame, with a place for each of the things below, in this order.
const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of a history and of what its checks say.
#[must_use]
pub fn html(history: &History, report: &Report) -> String {
    let violations: Vec<&Violation> = report.violations().take(words::VIOLATIONS_MAX).collect();
    page(&Scene::new(history, &violations), report)
}

/// One violation, drawn: its calls among their neighbours. A file of its own, light or dark as its reader prefers.
#[must_use]
pub fn svg(history: &History, violation: &Violation) -> String {
    figure::draw(&Scene::new(history, &[violation]), 0, violation, figure::Frame::Alone)
}

fn page(scene: &Scene, report: &Report) -> String {
    fill(
        FRAME,
        &[
            ("<!-- title -->", format!("{}: {}", report.verdict, escape(&report.source))),
            ("/* style */", format!("{STYLE}{}", figure::STYLE)),
            ("<!-- head -->", words::head(scene, report)),
            ("<!-- checks -->", words::checks(report)),
            ("<!-- violations -->", words::violations(scene, report)),
            ("<!-- story -->", embed::json(scene)),
            ("/* script */", SCRIPT.to_owned()),
        ],
    )
}

/// The frame with each place filled, in order. Places are looked for in the frame only, so what fills one may say what a
/// place is called.
fn fill(frame: &str, places: &[(&str, String)]) -> String {
    let mut page =
        String::with_capacity(frame.len() + places.iter().map(|(_, text)| text.len()).sum::<usize>());
    let mut rest = frame;
    for (place, text) in places {
        let (before, after) = rest.split_once(place).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(text);
        rest = after;
    }
    page.push_str(rest);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{self, Options};
    use crate::history::Event;

    const HOSTILE: &str = "</script><b>& \"'<!-- ]]> <!-- head --> \u{1} \u{2028} \\";

    fn judged(events: impl IntoIterator<Item = Event>) -> (History, Report) {
        let history: History = events.into_iter().collect();
        let report = check::auto(&history, &Options::default()).unwrap();
        (history, report)
    }

    /// Two keys with a stale read each, a fault between, and everything that can be said said by `text`.
    fn violated(text: &str) -> (History, Report) {
        let mut events = Vec::new();
        for key in [text, "other"] {
            let call = |process: u64, f: &str, value: &str| {
                let event = |event: Event| event.key(key).value(value).node(text).at(5);
                [event(Event::invoke(process, f)), event(Event::ok(process, f))]
            };
            events.extend(call(0, "write", text));
            events.extend(call(1, "write", "second"));
            events.push(Event::nemesis("kill").node(text));
            events.push(Event::invoke(3, "write").key(key).value("third"));
            events.push(Event::fail(3, "write").key(key).error(text));
            events.extend(call(2, "read", text));
            events.push(Event::nemesis(text).value(text));
        }
        let mut judged = judged(events);
        judged.1.source = text.to_owned();
        judged.1.checks[0].notes.push(text.to_owned());
        judged
    }

    /// The text of markup, as a browser would show it. Panics when elements are not closed in their order, an
    /// attribute has no quotes, or a character stands where it may not: what an XML reader would refuse.
    fn text_of(markup: &str) -> String {
        let mut text = String::new();
        let mut open: Vec<&str> = Vec::new();
        let mut rest = markup;
        while let Some((before, after)) = rest.split_once('<') {
            text.push_str(before);
            let (tag, after) = after.split_once('>').expect("a tag ends");
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "closed in order");
                continue;
            }
            let (name, attributes) = tag.split_once([' ', '\n']).unwrap_or((tag.trim_end_matches('/'), ""));
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !name.is_empty(), "<{tag}>");
            let quoted: Vec<&str> = attributes.trim_end_matches('/').split('"').collect();
            assert_eq!(quoted.len() % 2, 1, "<{tag}>");
            for name in quoted.iter().step_by(2).filter(|name| !name.trim().is_empty()) {
                assert!(name.starts_with(' ') || *name == quoted[0], "<{tag}>");
                assert!(name.ends_with('='), "<{tag}>");
            }
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        text.push_str(rest);
        assert_eq!(open, [""; 0], "everything is closed");
        assert!(!text.contains(|c: char| c < ' ' && c != '\n'), "no control characters");
        assert!(!text.contains('>'), "every > is escaped or ends a tag");
        for (at, _) in text.match_indices('&') {
            assert!(
                ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().any(|name| text[at..].starts_with(name))
            );
        }
        for (name, c) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")] {
            text = text.replace(name, c);
        }
        text
    }

    fn words(page: &str) -> String {
        let (_, rest) = page.split_once("<div id=\"words\">").expect("has words");
        let (words, _) = rest.split_once("<section id=\"stage\"").expect("words end");
        let words = words.trim_end().strip_suffix("</div>").expect("words end");
        // HTML may say an attribute without a value.
        text_of(&words.replace(" open>", ">"))
    }

    #[test]
    fn the_page_holds_every_sentence_of_every_violation() {
        for text in ["first", HOSTILE] {
            let (history, report) = violated(text);
            let page = html(&history, &report);
            let words = words(&page);
            assert_eq!(report.violations().count(), 2);
            for violation in report.violations() {
                let told = &violation.explanation;
                let events = told.events.iter().map(|place| &place.event);
                for sentence in told.steps.iter().chain([&told.summary, &told.contradiction]).chain(events) {
                    assert!(words.contains(&sentence.replace('\u{1}', "\u{fffd}")), "{sentence}\n{words}");
                }
            }
        }
    }

    #[test]
    fn nothing_that_a_history_says_is_markup() {
        let (history, report) = violated(HOSTILE);
        let told = html(&history, &report);
        let (history, report) = violated("first");
        let plain = html(&history, &report);
        for mark in ["<script", "</script", "<!--", "</style", "</title", "<b>"] {
            assert_eq!(told.matches(mark).count(), plain.matches(mark).count(), "{mark}");
        }
    }

    #[test]
    fn the_script_and_the_style_do_not_end_their_elements() {
        for mark in ["</script", "<script", "<!--", "</style"] {
            assert!(
                !SCRIPT.contains(mark) && !STYLE.contains(mark) && !figure::STYLE.contains(mark),
                "{mark}"
            );
        }
    }

    #[test]
    fn the_page_holds_the_calls_as_data() {
        let (history, report) = violated(HOSTILE);
        let page = html(&history, &report);
        let (_, rest) = page.split_once("id=\"story\">").unwrap();
        let story: serde_json::Value = serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap();
        let texts: Vec<&str> =
            story["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        assert!(texts.iter().any(|text| text.contains("</script><b>")), "{texts:?}");
        assert_eq!(story["bars"]["from"], serde_json::json!([0, 2, 3, 2, 3, 2, 3, 2]));
        assert_eq!(story["bars"]["outcome"], serde_json::json!([12, 12, 13, 12, 12, 12, 13, 12]));
        assert_eq!(story["witnesses"][1]["bars"], serde_json::json!([4, 5, 7]));
        assert_eq!(story["is_whole"], true);
    }

    #[test]
    fn every_place_that_is_named_is_a_link_to_its_bar() {
        let (history, report) = violated("first");
        let page = html(&history, &report);
        for id in ["v1-p0", "v1-p2", "v1-p8", "v2-p18"] {
            assert!(page.contains(&format!("href=\"#{id}\"")), "{id}");
            assert!(page.contains(&format!("<g id=\"{id}\"")), "{id}");
        }
    }

    #[test]
    fn a_drawing_is_well_formed_and_stands_alone() {
        for text in ["first", HOSTILE] {
            let (history, report) = violated(text);
            for violation in report.violations() {
                let drawing = svg(&history, violation);
                let (before, rest) = drawing.split_once("<style>").unwrap();
                let (_, after) = rest.split_once("</style>").unwrap();
                let words = text_of(&format!("{before}{after}"));
                for says in ["read → ", "write second", "kill ", "but ", "contradiction", "failed"] {
                    assert!(words.contains(says), "{says}: {words}");
                }
                assert_eq!(drawing.matches("http").count(), 1);
            }
        }
    }

    #[test]
    fn the_page_loads_nothing() {
        let (history, report) = violated("first");
        let page = html(&history, &report).replace("http://www.w3.org/2000/svg", "");
        for mark in ["http://", "https://", "url(h", "@import", "src=", "<link", "import(", "fetch("] {
            assert!(!page.contains(mark), "{mark}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn a_valid_history_has_a_page_too() {
        let (history, report) = judged([Event::invoke(0, "read"), Event::ok(0, "read")]);
        let page = html(&history, &report);
        assert!(page.contains("<title>valid: history</title>"));
        let (history, report) = judged([]);
        assert!(html(&history, &report).contains("0 operations"));
    }

    #[test]
    fn a_page_of_200000_operations_stays_small() {
        let mut events = Vec::new();
        for i in 0..200_000u64 {
            let read = if i % 50_000 == 40_000 { i / 2 } else { i };
            events.push(Event::invoke(0, "write").key(i / 50_000).value(i).at(i * 2_000));
            events.push(Event::ok(0, "write").key(i / 50_000).value(read).at(i * 2_000 + 999));
        }
        for stale in [90_001, 290_001] {
            events[stale - 1] = Event::invoke(0, "read").key(stale as u64 / 100_000);
            events[stale] = Event::ok(0, "read").key(stale as u64 / 100_000).value(7);
        }
        let (history, report) = judged(events);
        assert_eq!(report.violations().count(), 2);
        let page = html(&history, &report);
        assert!(page.len() < 1_000_000, "{}", page.len());
    }

    #[test]
    fn a_value_of_a_million_characters_does_not_fill_the_page() {
        let long = "x".repeat(1_000_000);
        let events = |value: &str| {
            let write = [Event::invoke(0, "write").value(value), Event::ok(0, "write").value(value)];
            let read = [Event::invoke(1, "read"), Event::ok(1, "read").value("other")];
            write.into_iter().chain(read)
        };
        let (history, report) = judged(events(&long));
        let page = html(&history, &report);
        assert!(page.len() < 200_000, "{}", page.len());
    }
}
