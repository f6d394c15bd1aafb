//! `report.html`: one page that says how a run went, with nothing outside of it.
//!
//! The verdict comes first, in words; then what was done, what the clients felt, and the figures. The page has no
//! script and loads nothing, so it can be mailed, archived and opened in ten years. Everything from the run is
//! escaped: keys and values are a client's, and a value may well be `<script>`.

use std::fmt::Write as _;

use godown_jepsen::history::Outcome;

use super::chart;
use super::run::{Check, Contents, VERDICT_PAGE, Violation};
use super::series::{self, Call};
use super::staleness::Staleness;
use super::table::{COLUMNS, Row, cells};
use crate::check::NOT_JUDGED;
use crate::load::screen::thousands;

const STYLE: &str = include_str!("page.css");
/// How many contradictions are told in full; all of them are in `results.json`.
const VIOLATIONS_MAX: usize = 10;
/// How many events of one contradiction are shown.
const EVENTS_MAX: usize = 24;

/// Text with the characters that mean something to HTML made harmless, within attributes too.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// The page of a run.
pub(super) fn render(contents: &Contents) -> String {
    let run = &contents.run;
    // A history that cannot be paired has its reason in the verdict; there are no calls to draw then.
    let calls = series::calls(&contents.history, run.load_s).unwrap_or_default();
    let mut page = String::with_capacity(256 << 10);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{0} – {1}</title><style>{STYLE}</style></head><body><main>\
         <header><p class=\"kicker\">Godown {2}</p><h1>{0}</h1>\
         <p class=\"when\">{3} · {4:.1} s of load · seed {5}</p></header>",
        escape(&run.name),
        escape(&contents.results.verdict),
        escape(&run.what),
        escape(&run.started.replace('T', " ").replace('Z', " UTC")),
        run.load_s,
        run.seed
    );
    verdict(&mut page, contents, &calls);
    timeline(&mut page, contents);
    section(
        &mut page,
        "Latency over time",
        "Every dot is a call, at the time when it began. The line is the median, the dashed one the 99th percentile; \
         a cross is a call that failed or was never answered, as high as the client waited for it.",
        &format!("{}{}", legend(&[]), scroll(&chart::latency(run, &calls))),
    );
    section(
        &mut page,
        "Latency by operation and phase",
        "Successful calls only, from HdrHistogram. A call belongs to the phase in which it began. Of fewer than \
         1,000 calls p99.9 is the slowest. A failed call certainly changed nothing: the node was not there, or \
         there was nothing to delete. The clients are closed loops: each waits for its answer, thinks a few \
         milliseconds and calls again, so a stalled store is asked less often and these are the latencies that \
         such clients meet, not those of a fixed arrival rate.",
        &scroll(&table(&contents.results.latency)),
    );
    if let Some(staleness) = Staleness::of(&contents.results) {
        section(
            &mut page,
            "Staleness",
            "How far reads lagged behind writes, as far as it is certain, however much went on at the same time.",
            &staleness.html(),
        );
    }
    section(
        &mut page,
        "Calls per second",
        "By the time when they began.",
        &format!("{}{}", legend(&[("failed", "failed or unknown")]), scroll(&chart::throughput(run, &calls))),
    );
    section(
        &mut page,
        "Who waited for what",
        "Each session’s calls from beginning to end: a wide bar is a long wait.",
        &format!(
            "{}{}",
            legend(&[("refused", "failed"), ("unknown", "outcome unknown")]),
            scroll(&chart::lanes(run, &calls))
        ),
    );
    settings(&mut page, contents);
    page.push_str("</main></body></html>\n");
    page
}

fn section(page: &mut String, title: &str, words: &str, body: &str) {
    let _ = write!(page, "<section><h2>{title}</h2><p class=\"words\">{words}</p>{body}</section>");
}

fn scroll(wide: &str) -> String {
    format!("<div class=\"wide\">{wide}</div>")
}

fn legend(more: &[(&str, &str)]) -> String {
    let mut text = String::from("<p class=\"legend\">");
    let operations = super::table::OPERATIONS.map(|name| (name, name));
    for (class, name) in operations.iter().chain(more) {
        let _ = write!(text, "<span><i class=\"{class}\"></i>{name}</span>");
    }
    text.push_str("</p>");
    text
}

fn verdict(page: &mut String, contents: &Contents, calls: &[Call]) {
    let results = &contents.results;
    let (headline, words) = match results.verdict.as_str() {
        "valid" => (
            "Valid: it kept its promises",
            "Every acknowledged write is still there, or was replaced by a write or delete that had seen it. \
             Nothing that was replaced or deleted came back. Every session read what it had written. At the end every \
             node showed the same.",
        ),
        "violated" => (
            "Violated: it broke a promise",
            "The history contradicts what the store promises; below is what happened, event by event.",
        ),
        _ => (
            "Unknown: it could not be told",
            "Nothing in the history contradicts the store’s promises, but not everything could be checked.",
        ),
    };
    let class = match results.verdict.as_str() {
        known @ ("valid" | "violated") => known,
        _ => "unknown",
    };
    let _ = write!(
        page,
        "<section class=\"verdict {class}\"><h2>{headline}</h2><p>{words}</p><ul class=\"checks\">"
    );
    for check in &results.checks {
        check_line(page, check);
    }
    if let Some(stock) = &results.stock {
        let class = if stock.misses == 0 { "valid" } else { "violated" };
        let _ = write!(
            page,
            "<li><b>stock</b> <span class=\"badge {class}\">{class}</span> nothing kept is missing, nothing deleted came \
             back, on every node <span class=\"quiet\">{stock}</span></li>"
        );
    }
    if let Some(emptied) = &results.emptied {
        let class = if emptied.rows_left() == 0 { "valid" } else { "violated" };
        let _ = write!(
            page,
            "<li><b>deleted</b> <span class=\"badge {class}\">{class}</span> of deleted keys no row is left on any disk \
             <span class=\"quiet\">{emptied}</span></li>"
        );
    }
    page.push_str("</ul>");
    if results.checks.iter().any(|check| check.name == "read your writes") {
        let _ = write!(page, "<p class=\"words\">{}</p>", escape(NOT_JUDGED));
    }
    if contents.has_verdict_page {
        let _ = write!(
            page,
            "<p class=\"words\"><a href=\"{VERDICT_PAGE}\">The checker’s page</a> has every call as a bar in its client’s \
             lane, and draws each contradiction.</p>"
        );
    }
    page.push_str("</section>");
    tiles(page, contents, calls);
    let violations: Vec<&Violation> = results.checks.iter().flat_map(|check| &check.violations).collect();
    if !violations.is_empty() {
        page.push_str("<section><h2>The contradictions</h2>");
        for found in violations.iter().take(VIOLATIONS_MAX) {
            violation(page, found);
        }
        if violations.len() > VIOLATIONS_MAX {
            let more = violations.len() - VIOLATIONS_MAX;
            let _ = write!(page, "<p class=\"words\">{more} more are in <code>results.json</code>.</p>");
        }
        page.push_str("</section>");
    }
}

fn check_line(page: &mut String, check: &Check) {
    let what = match check.name.as_str() {
        "siblings" => "nothing acknowledged is lost, nothing replaced returns",
        "convergence" => "all nodes end equal",
        "staleness" => "measured, not judged; the figures are below",
        "read your writes" => "a session reads what it had written, or what replaced it",
        _ => "",
    };
    let _ = write!(
        page,
        "<li><b>{}</b> <span class=\"badge {1}\">{1}</span> {what} <span class=\"quiet\">{2} operations on {3} keys{4}</span>",
        escape(&check.name),
        escape(&check.verdict),
        thousands(check.operations),
        thousands(check.keys),
        check.notes.iter().map(|note| format!(" · {}", escape(note))).collect::<String>()
    );
    for unknown in check.unknowns.iter().take(VIOLATIONS_MAX) {
        let _ = write!(page, "<br><span class=\"quiet\">{}</span>", escape(&unknown.reason));
    }
    page.push_str("</li>");
}

fn violation(page: &mut String, violation: &Violation) {
    let key = match &violation.key {
        serde_json::Value::String(key) => key.clone(),
        other => other.to_string(),
    };
    let _ = write!(
        page,
        "<article class=\"contradiction\"><h3>{} on <code>{}</code></h3><p>{}</p><pre>",
        escape(&violation.anomaly.replace('-', " ")),
        escape(&key),
        escape(&violation.explanation.summary)
    );
    for place in violation.explanation.events.iter().take(EVENTS_MAX) {
        let _ = writeln!(page, "let   line {:>5}  {}", place.line, escape(&place.event));
    }
    if violation.explanation.events.len() > EVENTS_MAX {
        let _ = writeln!(page, "      … and {} more", violation.explanation.events.len() - EVENTS_MAX);
    }
    for step in &violation.explanation.steps {
        let _ = writeln!(page, "then  {}", escape(step));
    }
    let _ = write!(
        page,
        "but   {}: a contradiction</pre></article>",
        escape(&violation.explanation.contradiction)
    );
}

fn tiles(page: &mut String, contents: &Contents, calls: &[Call]) {
    let count = |keep: &dyn Fn(&Call) -> bool| calls.iter().filter(|call| keep(call)).count() as u64;
    let changes = count(&|call| call.operation != 0 && call.outcome == Outcome::Ok);
    let unknown = count(&|call| call.outcome == Outcome::Unknown);
    let siblings = count(&|call| call.values > 1);
    let most = calls.iter().map(|call| call.values).max().unwrap_or(0);
    let equal = match contents.results.equal_after_s {
        Some(seconds) => (format!("{seconds:.1} s"), "after the load, all nodes showed the same".to_owned()),
        None => ("never".to_owned(), "did all nodes show the same in time".to_owned()),
    };
    let repaired = match contents.results.repaired_by_reads {
        Some(count) => (thousands(count), "replicas that the final reads had to repair".to_owned()),
        None => ("?".to_owned(), "replicas repaired by the final reads: the nodes do not say".to_owned()),
    };
    let figure = |count: u64, words: &str| (thousands(count), words.to_owned());
    let tiles = [
        figure(calls.len() as u64, "calls by the sessions"),
        figure(changes, "acknowledged writes and deletes"),
        figure(unknown, "changes with unknown outcome"),
        figure(siblings, &format!("reads that showed siblings, {most} at most")),
        equal,
        repaired,
    ];
    page.push_str("<div class=\"tiles\">");
    for (figure, words) in &tiles {
        let _ = write!(page, "<div><b>{figure}</b><span>{words}</span></div>");
    }
    page.push_str("</div>");
}

fn timeline(page: &mut String, contents: &Contents) {
    let mut list = String::from("<ol class=\"timeline\">");
    for moment in &contents.run.timeline {
        let _ =
            write!(list, "<li><time>{:.1} s</time><span>{}</span></li>", moment.at_s, escape(&moment.words));
    }
    list.push_str("</ol>");
    let words = "Times are seconds since the first call.";
    section(page, "What happened", words, &list);
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from("<table><thead><tr>");
    for column in COLUMNS {
        let _ = write!(text, "<th>{column}</th>");
    }
    text.push_str("</tr></thead><tbody>");
    let mut before = "";
    for row in rows {
        let first = if row.operation == before { "" } else { " class=\"first\"" };
        before = &row.operation;
        let _ = write!(text, "<tr{first}>");
        for (column, cell) in cells(row).iter().enumerate() {
            let class = match column {
                0 => format!(" class=\"name {}\"", escape(&row.operation)),
                1 => format!(" class=\"phase {}\"", row.phase.as_str()),
                7 | 8 if cell != "0" => " class=\"trouble\"".to_owned(),
                _ => String::new(),
            };
            let _ = write!(text, "<td{class}>{}</td>", escape(cell));
        }
        text.push_str("</tr>");
    }
    text.push_str("</tbody></table>");
    text
}

fn settings(page: &mut String, contents: &Contents) {
    let run = &contents.run;
    let mut list = String::from("<dl>");
    let mut entry = |name: &str, value: &str| {
        let _ = write!(list, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    };
    for (name, value) in run.settings.iter().chain(&run.versions) {
        entry(name, value);
    }
    entry("commit", run.commit.as_deref().unwrap_or("not known"));
    list.push_str("</dl>");
    let _ = write!(
        list,
        "<p class=\"words\">Again: <code>{}</code> makes the same choices, at other moments. Judge the history \
         again: <code>godown check runs/{}</code>.</p><p class=\"words\">Beside this page: <code>run.json</code> (all of the \
         above), <code>history.jsonl</code> (every call), <code>latency.hlog</code> (HdrHistogram), \
         <code>results.json</code> (the verdict), <code>verdict/</code> (the checker’s page).</p>",
        escape(&run.command),
        escape(&run.name)
    );
    section(page, "Settings", "Enough to do it again.", &list);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use godown_jepsen::history::{Event, History};

    use super::super::phase::Phase;
    use super::super::run::{Counted, Fault, Moment, Results, Run, Span};
    use super::super::table;
    use super::*;
    use crate::check::promises;
    use crate::load::hlog::histogram;

    const NASTY: &str = "<script>alert(\"x\")</script>&'";

    fn contents() -> Contents {
        let history: History = [
            Event::invoke(0, "write")
                .key(NASTY)
                .value(NASTY)
                .seen(Vec::<&str>::new())
                .phase("calm")
                .at(500_000_000),
            Event::ok(0, "write").at(501_000_000),
            Event::invoke(0, "read").key(NASTY).phase("killed").at(1_500_000_000),
            Event::fail(0, "read").error(NASTY).at(1_600_000_000),
            Event::invoke(1, "read").key(NASTY).node(NASTY).phase("final").at(2_500_000_000),
            Event::ok(1, "read").value(Vec::<&str>::new()).at(2_501_000_000),
        ]
        .into_iter()
        .collect();
        let report = promises(&history).unwrap();
        let mut results = Results::new(&report).unwrap();
        let mut calm = histogram();
        calm.saturating_record(1_000_000);
        let latency = BTreeMap::from([("write.calm".to_owned(), calm)]);
        results.latency = table::rows(&history, &latency).unwrap();
        let run = Run {
            name: NASTY.to_owned(),
            what: "demo".to_owned(),
            started: "2026-11-21T09:30:00Z".to_owned(),
            command: NASTY.to_owned(),
            seed: 7,
            commit: Some(NASTY.to_owned()),
            settings: BTreeMap::from([(NASTY.to_owned(), NASTY.to_owned())]),
            versions: BTreeMap::new(),
            nodes: vec![NASTY.to_owned()],
            load_s: 2.0,
            phases: vec![Span { phase: Phase::Calm, from_s: 0.0, to_s: 1.0 }],
            faults: vec![Fault {
                phase: Phase::Killed,
                node: NASTY.to_owned(),
                words: NASTY.to_owned(),
                from_s: 1.0,
                to_s: 2.0,
            }],
            timeline: vec![Moment { at_s: 1.0, words: NASTY.to_owned() }],
        };
        Contents { run, results, history, has_verdict_page: true }
    }

    #[test]
    fn whatever_a_client_wrote_is_escaped() {
        let page = render(&contents());
        assert!(page.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;"));
        assert!(!page.contains("<script") && !page.contains("alert(\""), "{page}");
    }

    #[test]
    fn the_page_loads_nothing_from_outside() {
        let page = render(&contents());
        let page = page.replacen("href=\"verdict/index.html\"", "", 1);
        for reference in ["http://", "https://", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(reference), "the page contains {reference}");
        }
    }

    #[test]
    fn a_stock_is_told_with_what_is_wrong() {
        let mut contents = contents();
        assert!(!render(&contents).contains("<b>stock</b>"));
        let stock =
            Counted { kept: 900, deleted: 100, nodes: 4, compared: 12_000, repaired: Some(0), misses: 3 };
        contents.results.stock = Some(stock);
        let page = render(&contents);
        assert!(page.contains("<b>stock</b> <span class=\"badge violated\">"));
        assert!(page.contains("12,000 answers from 4 nodes compared, 3 of them wrong"), "{page}");
    }

    #[test]
    fn only_a_page_that_is_there_is_linked_to() {
        let mut contents = contents();
        assert!(render(&contents).contains("<a href=\"verdict/index.html\">"));
        contents.has_verdict_page = false;
        assert!(!render(&contents).contains("href="));
    }

    #[test]
    fn staleness_is_told_where_it_was_measured() {
        let mut contents = contents();
        let page = render(&contents);
        assert!(page.contains("<h2>Staleness</h2>"));
        assert!(page.contains("<th>reads judged</th><td>1 of 2</td>"), "{page}");
        contents.results.checks.retain(|check| check.name != "staleness");
        assert!(!render(&contents).contains("<h2>Staleness</h2>"));
    }

    #[test]
    fn a_violation_is_told_with_its_events() {
        let page = render(&contents());
        assert!(page.contains("Violated: it broke a promise"));
        assert!(page.contains("lost write on <code>"));
        assert!(page.contains(": a contradiction"));
    }

    #[test]
    fn faults_are_named_and_every_operation_has_a_panel() {
        let page = render(&contents());
        assert!(page.contains("class=\"band killed\""));
        for operation in table::OPERATIONS {
            assert!(page.contains(&format!("<text class=\"name {operation}\"")), "{operation}");
        }
        assert!(page.contains("class=\"crosses\" d=\"M"), "the refused read is a cross");
    }

    #[test]
    fn a_run_without_any_call_still_has_a_page() {
        let mut contents = contents();
        contents.history = History::new("empty");
        contents.results.verdict = "unknown".to_owned();
        contents.results.latency.clear();
        assert!(render(&contents).contains("Unknown: it could not be told"));
    }
}
