//! The page's script at work: a link of the words chooses its call in the picture.
//!
//! Needs Chromium, so it runs only when asked for: `cargo test -p godown-jepsen --test page_in_browser -- --ignored`.

use std::process::Command;

use godown_jepsen::check::{self, Options};
use godown_jepsen::history::{Event, History};
use godown_jepsen::page;

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// What the page looks like, as markup, once its script has run. Nothing without a browser.
fn dom(folder: &std::path::Path, fragment: &str) -> Option<String> {
    let url = format!("file://{}#{fragment}", folder.join("index.html").display());
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let quiet =
        ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
    BROWSERS.iter().find_map(|browser| {
        let mut command = Command::new(browser);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", &profile]).args(quiet);
        let output = command.args(["--virtual-time-budget=5000", "--dump-dom", &url]).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    })
}

#[test]
#[ignore = "needs Chromium"]
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
    let report = check::linearizable(&history, &Options::default()).unwrap();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-in-browser");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("index.html"), page::html(&history, &report)).unwrap();

    let Some(dom) = dom(&folder, "v1-p5") else {
        eprintln!("skipped: there is no Chromium");
        return;
    };
    let (_, chosen) = dom.split_once("<section id=\"chosen\"").expect("has a place for the chosen call");
    let (chosen, _) = chosen.split_once("</section>").unwrap();
    assert!(chosen.contains("data-position=\"4\""), "{chosen}");
    assert!(chosen.contains("<code>process 2 ok read k \"&lt;b&gt;1\"</code>"), "{chosen}");
    assert!(dom.contains("<a href=\"#v1-p5\" class=\"on\">"), "the link is marked");
    std::fs::remove_dir_all(&folder).unwrap();
}
