//! A story as a page: one HTML file that draws a run as a space-time diagram, with nothing outside of it.
//!
//! The template, its style and its script lie beside this file and are compiled in; the story goes into the
//! page as JSON, and the script draws it. The page loads nothing, so it can be attached to a report, opened
//! from a disk and read in ten years. What a story says may come from a client: no text of it is ever taken
//! for markup.

use crate::story::Story;

/// The page's frame, with a place for each of the four things below, in this order.
const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of a run.
///
/// # Panics
/// Never: a story is numbers, text and lists, all of which JSON can say.
#[must_use]
pub fn html(story: &Story) -> String {
    let json = serde_json::to_string(story).expect("a story can be told as JSON");
    let fill = [
        ("<!-- title -->", escape(&story.title)),
        ("/* style */", STYLE.to_owned()),
        ("{{story}}", harmless(&json)),
        ("/* script */", SCRIPT.to_owned()),
    ];
    let mut page =
        String::with_capacity(FRAME.len() + fill.iter().map(|(_, text)| text.len()).sum::<usize>());
    let mut rest = FRAME;
    // Places are looked for in the frame only, so a story may say what a place is called.
    for (place, text) in &fill {
        let (before, after) = rest.split_once(place).expect("the frame has every place, in order");
        page.push_str(before);
        page.push_str(text);
        rest = after;
    }
    page.push_str(rest);
    page
}

/// JSON that may stand within a script element. There `</script>` would end the element and `<!--` change how
/// its end is found. JSON has `<` within strings only, where it has a second spelling.
fn harmless(json: &str) -> String {
    json.replace('<', "\\u003c")
}

/// Text with the characters that mean something to HTML made harmless.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Broken, Called, Fate, Flight, Outcome};

    const HOSTILE: &str = "</script><script>alert(1)</script><!-- ]]> {{story}} /* script */ & \u{2028} \\";
    /// The largest number that a script can tell from its neighbours.
    const LARGE_NS: u64 = (1 << 53) - 1;

    fn story() -> Story {
        let flight = Flight {
            from: 2,
            to: 0,
            sent_ns: 1_000_000_007,
            at_ns: Some(LARGE_NS),
            fate: Fate::Arrived,
            is_double: true,
            is_late: false,
            kind: "Store".to_owned(),
            key: Some("k7".to_owned()),
            says: HOSTILE.to_owned(),
        };
        let call = Called {
            session: 4,
            node: 1,
            act: "write",
            key: Some("k7".to_owned()),
            from_ns: 12_345,
            to_ns: 67_890,
            outcome: Outcome::Unknown,
            says: "write 3".to_owned(),
        };
        let broken = Broken {
            check: "fresh".to_owned(),
            says: HOSTILE.to_owned(),
            nodes: vec![1],
            key: Some("k7".to_owned()),
            calls: vec![0],
        };
        Story {
            title: HOSTILE.to_owned(),
            nodes: vec!["n1".to_owned(), "n2".to_owned(), "n3".to_owned()],
            end_ns: LARGE_NS,
            messages: vec![flight],
            calls: vec![call],
            failures: vec![broken],
            ..Story::default()
        }
    }

    /// What a browser takes for the story: the text from the element's beginning to the first end tag.
    fn embedded(page: &str) -> &str {
        let (_, rest) =
            page.split_once("<script type=\"application/json\" id=\"story\">").expect("has a story");
        rest.split_once("</script").expect("the story ends").0
    }

    #[test]
    fn the_page_says_the_story_as_it_is() {
        let story = story();
        let page = html(&story);
        let told: serde_json::Value = serde_json::from_str(embedded(&page)).expect("is JSON");
        assert_eq!(told, serde_json::to_value(&story).expect("is a value"));
        assert_eq!(told["messages"][0]["at_ns"].as_u64(), Some(LARGE_NS));
        assert_eq!(told["messages"][0]["says"], HOSTILE);
        assert_eq!(told["calls"][0]["outcome"], "unknown");
    }

    #[test]
    fn nothing_that_a_story_says_is_markup() {
        let told = html(&story());
        let plain = html(&Story::default());
        for mark in ["<script", "</script", "<!--", "</style", "</title"] {
            assert_eq!(told.matches(mark).count(), plain.matches(mark).count(), "{mark}");
        }
        assert!(!embedded(&told).contains('<'));
        assert!(told.contains("<title>&lt;/script&gt;"));
    }

    #[test]
    fn the_script_and_the_style_do_not_end_their_elements() {
        for mark in ["</script", "<script", "<!--"] {
            assert!(!SCRIPT.contains(mark), "{mark}");
        }
        assert!(!STYLE.contains("</style"));
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = html(&Story::default());
        for mark in ["http://", "https://", "url(", "@import", "src=", "<link", "import(", "fetch("] {
            assert!(!page.contains(mark), "{mark}");
        }
        assert!(page.contains("default-src 'none'"));
    }
}
