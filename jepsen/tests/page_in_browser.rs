//! The page's script at work, in a browser.
//!
//! A small script of each test uses the page as a reader would, and watches the pens that draw on it. Where there is no
//! Chromium these tests say so and pass. Each runs a browser of its own.

use std::fs;

use godown_browser::Browser;
use godown_jepsen::check::{self, Options};
use godown_jepsen::history::{Event, History};
use godown_jepsen::page;
use serde_json::Value;

/// Counts what each canvas shows since it was cleared last: marks of any kind, and faint ones. A browser without a
/// screen draws frames when it likes, so the page's are drawn when a test looks.
const WATCH: &str = r#"
    const pen = CanvasRenderingContext2D.prototype, marks = {};
    const { clearRect } = pen;
    pen.clearRect = function (...box) {
        marks[this.canvas.id] = { all: 0, faint: 0 };
        clearRect.apply(this, box);
    };
    for (const name of ["fill", "fillRect", "stroke"]) {
        const draw = pen[name];
        pen[name] = function (...how) {
            const seen = marks[this.canvas.id];
            if (seen) seen.all += 1, seen.faint += this.globalAlpha === 0.22;
            draw.apply(this, how);
        };
    }
    const frames = [];
    window.requestAnimationFrame = (draw) => frames.push(draw);
    const look = () => {
        while (frames.length) frames.shift()(performance.now());
        return { ...marks.picture, found: document.getElementById("found").textContent,
            chosen: document.getElementById("chosen").dataset.position ?? "none" };
    };
    const put = (id, value, kind) => {
        const input = document.getElementById(id);
        input.value = value;
        input.dispatchEvent(new Event(kind));
    };
"#;

/// A page in a browser of its own, and the folder where the page is.
struct Page {
    browser: Browser,
    _folder: tempfile::TempDir,
}

impl Page {
    /// Opens the page of a history. Nothing without a browser.
    fn open(what: &str, history: &History, fragment: &str) -> Option<Page> {
        let mut browser = Browser::start(what)?;
        let report = check::auto(history, &Options::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("index.html");
        fs::write(&file, page::html(history, &report)).unwrap();
        browser.run_first(WATCH);
        browser.resize(1_200, 900);
        browser.open(&format!("file://{}#{fragment}", file.display()));
        Some(Page { browser, _folder: folder })
    }

    /// What the page shows once a script has used it.
    fn after(&mut self, script: &str) -> Value {
        self.browser.evaluate(&format!("{{ {script} }} look()"))
    }
}

/// Writes and reads of one process after another on two keys in turn, and a stale read in the middle.
fn busy(operations: u64, processes: u64) -> History {
    let calls = (0..operations).flat_map(|at| {
        let (process, key) = (at % processes, ["ka", "kb"][at as usize % 2]);
        let event = |event: Event| event.key(key).at(at * 1_000);
        match at {
            _ if at == operations / 2 => {
                [event(Event::invoke(process, "read")), event(Event::ok(process, "read")).value(at % 2)]
            }
            _ => [
                event(Event::invoke(process, "write")).value(at),
                event(Event::ok(process, "write")).value(at),
            ],
        }
    });
    calls.collect()
}

#[test]
fn a_link_of_the_words_chooses_its_call() {
    let history: History = [
        Event::invoke(0, "write").key("k").value("<b>1"),
        Event::ok(0, "write").key("k").value("<b>1"),
        Event::invoke(1, "write").key("k").value(2),
        Event::ok(1, "write").key("k").value(2),
        Event::invoke(2, "read").key("k"),
        Event::ok(2, "read").key("k").value("<b>1"),
    ]
    .into_iter()
    .collect();
    let Some(mut page) = Page::open("a link of the words", &history, "v1-p5") else { return };
    let seen = page.after("");
    assert_eq!(seen["chosen"], "4", "{seen:#}");
    let chosen = page.browser.text("#chosen");
    assert!(chosen.contains("process 2 ok read k \"<b>1\""), "{chosen}");
    page.browser.wait_for("a.on[href='#v1-p5']", 1);
    page.browser.check();
}

#[test]
fn the_search_finds_calls_and_the_key_filter_makes_others_faint() {
    let Some(mut page) = Page::open("a search in a page", &busy(40, 4), "") else { return };
    let seen = page.after(r#"put("key", "0", "change"); document.getElementById("to-all").click();"#);
    assert_eq!(seen["faint"], 0, "{seen:#}");
    let seen = page.after(
        r#"const kb = [...document.getElementById("key").options].find((option) => option.text.includes("kb"));
        put("key", kb.value, "change");"#,
    );
    // A bar is filled and has an outline; the calls of the violation, on the other key, stay as they are.
    assert!((16..=40).contains(&seen["faint"].as_u64().unwrap()), "{seen:#}");
    assert_eq!(page.after(r#"put("search", "process 1", "input");"#)["found"], "10 found");
    assert_eq!(page.after(r#"put("search", "event 9", "input");"#)["found"], "1 found");
    let seen = page.after(
        r#"document.getElementById("search").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));"#,
    );
    assert_eq!((&seen["found"], &seen["chosen"]), (&"1 of 1".into(), &"8".into()), "{seen:#}");
    assert_eq!(page.after(r#"put("search", "no such thing", "input");"#)["found"], "0 found");
    page.browser.check();
}

#[test]
fn of_10000_calls_a_picture_draws_only_what_can_be_seen() {
    let Some(mut page) = Page::open("10,000 calls", &busy(10_000, 4), "") else { return };
    let seen = page.after("");
    assert!((4..=20_000).contains(&seen["all"].as_u64().unwrap()), "{seen:#}");
    let seen = page.after(r#"document.getElementById("to-all").click();"#);
    // A lane has room for at most as many bars as the window has pixels, and each is one mark if it is so small.
    assert!((1_000..=4 * 1_200).contains(&seen["all"].as_u64().unwrap()), "{seen:#}");
    page.browser.check();
}
