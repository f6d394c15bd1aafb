//! The page's script at work, in a browser.
//!
//! A small script of each test uses the page as a reader would, watches the pens that draw on it, and writes what it saw
//! into the page, whose markup the browser then prints. Where there is no Chromium these tests say so and
//! pass. Each runs a browser of its own, with a profile of its own, and ends it when it takes too long.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use godown_jepsen::check::{self, Options};
use godown_jepsen::history::{Event, History};
use godown_jepsen::page;

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const BROWSER_TIME_MAX: Duration = Duration::from_secs(90);

/// Counts what each canvas shows since it was cleared last: marks of any kind, and faint ones. A browser without a
/// screen draws frames when it likes, so the page's are drawn by a timer.
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
    const seen = {};
    window.requestAnimationFrame = (draw) => setTimeout(draw, 16);
    const note = async (name) => {
        await new Promise((done) => setTimeout(done, 100));
        seen[name] = { ...marks.picture, found: document.getElementById("found").textContent,
            chosen: document.getElementById("chosen").dataset.position ?? "none" };
        document.documentElement.dataset.seen = JSON.stringify(seen);
    };
    const put = (id, value, kind) => {
        const input = document.getElementById(id);
        input.value = value;
        input.dispatchEvent(new Event(kind));
    };
"#;

/// A page in a folder of its own.
struct Page {
    folder: PathBuf,
    browser: &'static str,
}

impl Page {
    /// Writes the page of a history, used by a script. Nothing without a browser.
    fn new(name: &str, history: &History, script: &str) -> Option<Page> {
        let Some(browser) = BROWSERS.into_iter().find(|browser| runs(browser)) else {
            // Written past the harness, which swallows what a passing test prints, and in one piece.
            let skipped = format!("SKIPPED: there is no Chromium, so nothing was seen of {name}\n");
            let _ = std::io::stderr().write_all(skipped.as_bytes());
            return None;
        };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let report = check::auto(history, &Options::default()).unwrap();
        let html = page::html(history, &report);
        let (before, body) = html.split_once("<body>").unwrap();
        let (body, after) = body.rsplit_once("</body>").unwrap();
        let used = format!("(async () => {{ {script} }})();");
        let html =
            format!("{before}<body><script>{WATCH}</script>{body}<script>{used}</script></body>{after}");
        fs::write(folder.join("index.html"), html).unwrap();
        Some(Page { folder, browser })
    }

    /// The page as markup, once its scripts have run.
    fn dom(self, fragment: &str) -> String {
        let url = format!("file://{}#{fragment}", self.folder.join("index.html").display());
        let profile = format!("--user-data-dir={}", self.folder.join("profile").display());
        let printed = self.folder.join("dom.html");
        let mut command = Command::new(self.browser);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--disable-dev-shm-usage", "--window-size=1200,900", &profile]);
        command.args(["--virtual-time-budget=10000", "--dump-dom", &url]);
        // A file, so that no process of the browser that outlives it can keep this test waiting.
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(File::create(&printed).unwrap());
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > BROWSER_TIME_MAX {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{} did not end within {BROWSER_TIME_MAX:?}", self.browser);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let dom = fs::read_to_string(&printed).unwrap();
        let _ = fs::remove_dir_all(&self.folder);
        dom
    }

    /// What the script has noted.
    fn seen(self) -> serde_json::Value {
        let dom = self.dom("v1");
        let (_, seen) = dom.split_once("data-seen=\"").unwrap_or_else(|| panic!("notes nothing: {dom}"));
        let seen = seen.split_once('"').unwrap().0.replace("&quot;", "\"");
        serde_json::from_str(&seen).unwrap()
    }
}

fn runs(browser: &str) -> bool {
    let mut command = Command::new(browser);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
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
    let Some(page) = Page::new("page-link", &history, "") else { return };
    let dom = page.dom("v1-p5");
    let (_, chosen) = dom.split_once("<section id=\"chosen\"").expect("has a place for the chosen call");
    let (chosen, _) = chosen.split_once("</section>").unwrap();
    assert!(chosen.contains("data-position=\"4\""), "{chosen}");
    assert!(chosen.contains("<code>process 2 ok read k \"&lt;b&gt;1\"</code>"), "{chosen}");
    assert!(dom.contains("<a href=\"#v1-p5\" class=\"on\">"), "the link is marked");
}

#[test]
fn the_search_finds_calls_and_the_key_filter_makes_others_faint() {
    let script = r#"
        put("key", "0", "change");
        document.getElementById("to-all").click();
        await note("all keys");
        const kb = [...document.getElementById("key").options].find((option) => option.text.includes("kb"));
        put("key", kb.value, "change");
        await note("one key");
        put("search", "process 1", "input");
        await note("a process");
        put("search", "event 9", "input");
        await note("an event");
        document.getElementById("search").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
        await note("entered");
        put("search", "no such thing", "input");
        await note("nothing");
    "#;
    let Some(page) = Page::new("page-search", &busy(40, 4), script) else { return };
    let seen = page.seen();
    assert_eq!(seen["all keys"]["faint"], 0, "{seen:#}");
    // A bar is filled and has an outline; the calls of the violation, on the other key, stay as they are.
    let faint = seen["one key"]["faint"].as_u64().unwrap();
    assert!((16..=40).contains(&faint), "{seen:#}");
    assert_eq!(seen["a process"]["found"], "10 found", "{seen:#}");
    assert_eq!(seen["an event"]["found"], "1 found", "{seen:#}");
    assert_eq!(seen["entered"]["found"], "1 of 1", "{seen:#}");
    assert_eq!(seen["entered"]["chosen"], "8", "{seen:#}");
    assert_eq!(seen["nothing"]["found"], "0 found", "{seen:#}");
}

#[test]
fn of_10000_calls_a_picture_draws_only_what_can_be_seen() {
    let script = r#"
        await note("violation");
        document.getElementById("to-all").click();
        await note("whole");
    "#;
    let Some(page) = Page::new("page-busy", &busy(10_000, 4), script) else { return };
    let seen = page.seen();
    let marks = |name: &str| seen[name]["all"].as_u64().unwrap();
    // A lane has room for at most as many bars as the window has pixels, and each is one mark if it is so small.
    assert!((1_000..=4 * 1_200).contains(&marks("whole")), "{seen:#}");
    assert!((4..=20_000).contains(&marks("violation")), "{seen:#}");
}
