//! A report in words, as HTML: the head, what each check says, and every violation in the manner of Elle.
//!
//! Every place that a sentence names becomes a link to the bar in the picture (`#v1-p12`: the first violation's event
//! at position 12), and every call of a witness has the letter that it has there. The words stand without the script
//! and on paper; the drawing of a violation follows on them.

use std::fmt::Write;

use super::figure::{self, Frame};
use super::figures;
use super::scene::{Scene, Witness};
use super::text::{cut, escape, mentions};
use crate::check::{Check, Report, Unknown, Verdict, Violation};

/// How many violations of a report are told; all of them are in the results.
pub(super) const VIOLATIONS_MAX: usize = 200;
/// How many of them are drawn on the page.
const FIGURES_MAX: usize = 20;
/// How many things that could not be told are listed.
const UNKNOWNS_MAX: usize = 50;
/// How many events and steps of an explanation are told, and how long a sentence may be.
const PLACES_MAX: usize = 200;
const SENTENCE_MAX: usize = 4_000;

/// A verdict's icon; colour alone says nothing to many.
fn icon(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "✓",
        Verdict::Unknown => "?",
        Verdict::Violated => "✗",
    }
}

/// A verdict as a badge.
pub(super) fn badge(verdict: Verdict) -> String {
    format!(
        "<span class=\"verdict {verdict}\"><span aria-hidden=\"true\">{}</span> {verdict}</span>",
        icon(verdict)
    )
}

/// A number with its thousands apart.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn some(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// The head of a page.
pub(super) fn head(scene: &Scene, report: &Report) -> String {
    let violations = report.violations().count();
    let mut facts = vec![
        some(scene.operations, "operation", "operations"),
        some(scene.processes.len(), "process", "processes"),
        some(scene.events as usize, "event", "events"),
    ];
    if !scene.faults.is_empty() {
        facts.push(some(scene.faults.len(), "fault", "faults"));
    }
    if violations > 0 {
        facts.push(some(violations, "violation", "violations"));
    }
    format!(
        "<h1>{} <span class=\"file\">{}</span></h1>\n<p class=\"facts\">{}</p>\n",
        badge(report.verdict),
        escape(&report.source),
        facts.join(" · ")
    )
}

/// What each check says.
pub(super) fn checks(report: &Report) -> String {
    report.checks.iter().map(check).collect()
}

fn check(check: &Check) -> String {
    let mut html = format!(
        "<section class=\"check\"><h2>{} {}</h2>\n<p class=\"facts\">{} on {}</p>\n",
        badge(check.verdict),
        escape(check.name),
        some(check.operations, "operation", "operations"),
        some(check.keys, "key", "keys"),
    );
    for note in &check.notes {
        let _ = writeln!(html, "<p class=\"note\">{}</p>", escape(note));
    }
    if !check.unknowns.is_empty() {
        html.push_str("<ul class=\"unknowns\">\n");
        check.unknowns.iter().take(UNKNOWNS_MAX).for_each(|unknown| html.push_str(&wonder(unknown)));
        html.push_str("</ul>\n");
        html.push_str(&more(check.unknowns.len(), UNKNOWNS_MAX, "more that could not be told"));
    }
    html.push_str(&figures::html(&check.figures, check.violations.is_empty()));
    html.push_str("</section>\n");
    html
}

fn wonder(unknown: &Unknown) -> String {
    let key = match &unknown.key {
        Some(key) if !key.is_null() => format!("key {}: ", escape(&cut(&key.to_string(), SENTENCE_MAX))),
        _ => String::new(),
    };
    format!("<li>{key}{}</li>\n", escape(&cut(&unknown.reason, SENTENCE_MAX)))
}

fn more(count: usize, shown: usize, what: &str) -> String {
    match count.checked_sub(shown).filter(|more| *more > 0) {
        Some(more) => format!("<p class=\"more\">… and {more} {what}, in the results</p>\n"),
        None => String::new(),
    }
}

/// Every violation; `scene` has the witnesses of the first [`VIOLATIONS_MAX`] of them.
pub(super) fn violations(scene: &Scene, report: &Report) -> String {
    let all: Vec<&Violation> = report.violations().collect();
    let told = all.iter().zip(&scene.witnesses).enumerate();
    let mut html: String =
        told.map(|(number, (violation, witness))| tell(scene, number, violation, witness)).collect();
    html.push_str(&more(all.len(), scene.witnesses.len(), "more violations"));
    html
}

fn tell(scene: &Scene, number: usize, violation: &Violation, witness: &Witness) -> String {
    let id = number + 1;
    let told = &violation.explanation;
    let sentence = |text: &str| sentence(text, id, witness);
    let mut html = format!(
        "<details class=\"violation\" id=\"v{id}\"{}>\n<summary><span class=\"what\">{}. {}{}</span> {}</summary>\n",
        if number == 0 { " open" } else { "" },
        id,
        violation.anomaly,
        escape(&cut(&figure::on_key(violation), SENTENCE_MAX)),
        escape(&cut(&told.summary, SENTENCE_MAX)),
    );
    html.push_str("<div class=\"told\"><p class=\"word\">let</p>\n<ol class=\"let\">\n");
    for (place, position) in told.events.iter().zip(&witness.events).take(PLACES_MAX) {
        let letter = position.and_then(|position| witness.badge(position));
        let letter = letter.map_or(String::new(), |letter| format!("<span class=\"letter\">{letter}</span>"));
        let text = escape(&cut(&place.event, SENTENCE_MAX));
        let _ = match position {
            Some(at) => {
                writeln!(html, "<li><a href=\"#v{id}-p{at}\">{letter}{place}</a> <code>{text}</code></li>")
            }
            None => writeln!(html, "<li>{letter}{place} <code>{text}</code></li>"),
        };
    }
    html.push_str("</ol>\n");
    html.push_str(&more(told.events.len(), PLACES_MAX, "more events"));
    for step in told.steps.iter().take(PLACES_MAX) {
        let _ = writeln!(html, "<p class=\"step\"><span class=\"word\">then</span> {}</p>", sentence(step));
    }
    html.push_str(&more(told.steps.len(), PLACES_MAX, "more steps"));
    if !told.contradiction.is_empty() {
        let _ = writeln!(
            html,
            "<p class=\"step but\"><span class=\"word\">but</span> {}: <strong>a contradiction</strong></p>",
            sentence(&told.contradiction)
        );
    }
    html.push_str("</div>\n");
    if number < FIGURES_MAX {
        let drawing = figure::draw(scene, number, violation, Frame::Page);
        let _ = writeln!(html, "<figure>\n{drawing}</figure>");
    }
    html.push_str("</details>\n");
    html
}

/// A sentence with its places as links and its reasons marked.
fn sentence(text: &str, id: usize, witness: &Witness) -> String {
    let text = cut(text, SENTENCE_MAX);
    let mut html = String::new();
    let mut done = 0;
    let plain = |part: &str| escape(part).replace(" because ", " <em>because</em> ");
    for mention in mentions(&text) {
        let Some(position) = witness.position(mention.is_line, mention.number) else {
            continue;
        };
        let place = &text[mention.start..mention.end];
        html.push_str(&plain(&text[done..mention.start]));
        let _ = write!(html, "<a href=\"#v{id}-p{position}\">{}</a>", escape(place));
        done = mention.end;
    }
    html.push_str(&plain(&text[done..]));
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
