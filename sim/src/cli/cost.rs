//! `cost`: what convergence costs, in tables.

use std::process::ExitCode;

use godown_sim::cost::{Figure, Line, Part, Size};
use serde_json::json;

use super::say;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only these; all without a name.
    #[arg(value_parser = part)]
    parts: Vec<Part>,
    /// Measure little: the same figures for small data and few seeds.
    #[arg(long)]
    quick: bool,
    /// Print one line of JSON for each figure.
    #[arg(long)]
    json: bool,
}

fn part(name: &str) -> Result<Part, String> {
    Part::ALL.into_iter().find(|part| part.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Part::ALL.iter().map(|part| part.name()).collect();
        format!("there is no figure of that name: there are {}", names.join(", "))
    })
}

pub(crate) fn cost(args: &Args) -> Result<ExitCode, String> {
    let size = if args.quick { Size::Quick } else { Size::Full };
    let wanted = |part: &Part| args.parts.is_empty() || args.parts.contains(part);
    let mut missed = Vec::new();
    for part in Part::ALL.into_iter().filter(wanted) {
        let figure = part.measure(size);
        if args.json {
            say(&in_json(&figure));
        } else {
            table(&figure);
        }
        let misses = figure.lines.into_iter().filter(|line| line.target.is_some_and(|target| !target.holds));
        missed.extend(misses.map(|line| format!("{}: {}", part.name(), line.what)));
    }
    if !args.json {
        if missed.is_empty() {
            say("every target holds");
        }
        missed.iter().for_each(|what| say(&format!("missed: {what}")));
    }
    Ok(ExitCode::from(u8::from(!missed.is_empty())))
}

fn table(figure: &Figure) {
    say(&format!("{}\n{}\n", figure.part.name(), figure.says));
    say("| what | measured | at most | holds |");
    say("|---|---|---|---|");
    figure.lines.iter().for_each(|line| say(&row(line)));
    say("");
}

fn row(line: &Line) -> String {
    let mut measured = Vec::new();
    for (place, value) in line.measured.iter().enumerate() {
        // The unit stands once where all numbers share it.
        let shares = line.measured.get(place + 1).is_some_and(|next| next.unit == value.unit);
        let unit = if shares { "" } else { value.unit };
        measured.push(format!("{} {} {unit}", value.name, number(value.number)).trim().to_owned());
    }
    let measured = measured.join(", ");
    let (most, holds) = match line.target {
        Some(target) => (number(target.most), if target.holds { "yes" } else { "NO" }),
        None => (String::new(), ""),
    };
    format!("| {} | {measured} | {most} | {holds} |", line.what)
}

/// A number with as many places as say something, its thousands apart.
fn number(number: f64) -> String {
    if number.abs() < 100.0 && number.fract() != 0.0 {
        return format!("{number:.2}");
    }
    let digits = format!("{:.0}", number.abs());
    let mut told = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    if number < 0.0 { format!("-{told}") } else { told }
}

fn in_json(figure: &Figure) -> String {
    let lines: Vec<_> = figure
        .lines
        .iter()
        .map(|line| {
            let measured: Vec<_> = line
                .measured
                .iter()
                .map(|value| json!({ "name": value.name, "number": value.number, "unit": value.unit }))
                .collect();
            let target = line.target.map(|target| json!({ "most": target.most, "holds": target.holds }));
            json!({ "what": line.what, "measured": measured, "target": target })
        })
        .collect();
    json!({ "figure": figure.part.name(), "says": figure.says, "lines": lines }).to_string()
}
