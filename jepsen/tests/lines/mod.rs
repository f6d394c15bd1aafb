//! Short histories as text.

use godown_jepsen::history::{Event, History};

/// A history of operations one after another, a line each: process, what, key, value, and perhaps what had been seen.
/// `w` writes, `d` deletes, `r` reads; `w?` is a write of unknown outcome, `w!` a refused one. A value is a number, `-`
/// for nothing, or a list such as `[1,2]`, as which `seen` is also written.
pub(crate) fn history(lines: &str) -> History {
    let mut events = Vec::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [process, what, key, value] = words[..4] else { panic!("{line}") };
        let process: u64 = process.parse().unwrap();
        let f = match &what[..1] {
            "w" => "write",
            "d" => "delete",
            _ => "read",
        };
        let mut invoke = Event::invoke(process, f).key(key);
        let mut end = match &what[1..] {
            "?" => Event::info(process, f),
            "!" => Event::fail(process, f),
            _ => Event::ok(process, f),
        };
        end = end.key(key);
        if let Some(seen) = words.get(4) {
            invoke = invoke.seen(list(seen));
        }
        match (f, value) {
            ("read", "-") => end = end.value(()),
            ("read", list) if list.starts_with('[') => end = end.value(self::list(list)),
            ("read", value) => end = end.value(value.parse::<i64>().unwrap()),
            (_, "-") => {}
            (_, value) => invoke = invoke.value(value.parse::<i64>().unwrap()),
        }
        events.extend([invoke, end]);
    }
    events.into_iter().collect()
}

fn list(text: &str) -> Vec<i64> {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    inner.split(',').filter(|value| !value.is_empty()).map(|value| value.parse().unwrap()).collect()
}
