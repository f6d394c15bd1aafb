//! What the nemesis did, as bands and marks beside the calls.
//!
//! Recorders tell a fault as two events, one that begins it and one that ends it; here they are paired again by their
//! names, as Jepsen's nemeses and Godown's own choose them: `start-partition` and `stop-partition`, `kill` and `start`,
//! `pause` and `resume`, `start` and `stop`. Jepsen tells each action twice, when it is asked for and when it is done;
//! both are one. A fault that nothing ends lasts until the end, and what neither begins nor ends anything is a mark.
//! Names decide nothing but the drawing: no check looks here.

use super::text::{Text, Texts, begin};

/// What a named process recorded.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    /// Its position in the history.
    pub(super) position: u32,
    /// Who did it, so that two actors do not end each other's faults by half-told actions.
    pub(super) process: Text,
    /// The function.
    pub(super) f: Text,
    /// On which node, if it says so.
    pub(super) node: Text,
    /// With which value, if it has one.
    pub(super) value: Text,
}

/// A stretch or a moment in which the nemesis was at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What it is called.
    pub(super) name: String,
    /// Where it began.
    pub(super) from: u32,
    /// Where it ended.
    pub(super) until: Until,
}

/// How long a fault lasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// A moment: nothing says that it lasted.
    Moment,
    /// Until this position.
    Position(u32),
    /// Nothing ended it.
    Open,
}

/// How much of a value stands in a name.
const VALUE_MAX: usize = 28;

/// The faults that these deeds make up, in order of their beginning.
pub(super) fn faults(deeds: &[Deed], texts: &Texts) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    // Which faults are open, by place, with the deed that began them.
    let mut open: Vec<(usize, &Deed)> = Vec::new();
    // The last deed, and what it touched, until it is told a second time.
    let mut last: Option<(&Deed, Vec<usize>)> = None;
    for deed in deeds {
        if let Some((first, touched)) = last.take()
            && (first.process, first.f, first.node) == (deed.process, deed.f, deed.node)
        {
            for fault in touched {
                if let Until::Position(position) = &mut faults[fault].until {
                    *position = deed.position;
                }
            }
            continue;
        }
        let f = texts.text(deed.f);
        let is_on_another_node =
            |other: &Deed| !deed.node.is_absent() && !other.node.is_absent() && deed.node != other.node;
        let (ended, still): (Vec<_>, Vec<_>) = open
            .into_iter()
            .partition(|(_, opening)| ends(f, texts.text(opening.f)) && !is_on_another_node(opening));
        open = still;
        let touched: Vec<usize> = ended.into_iter().map(|(fault, _)| fault).collect();
        for fault in &touched {
            faults[*fault].until = Until::Position(deed.position);
        }
        if touched.is_empty() {
            let until = if begins(f) { Until::Open } else { Until::Moment };
            if until == Until::Open {
                open.push((faults.len(), deed));
            }
            faults.push(Fault { name: name(deed, texts), from: deed.position, until });
        }
        last = Some((deed, touched));
    }
    faults
}

/// What a deed is called: what it does, and to whom.
fn name(deed: &Deed, texts: &Texts) -> String {
    let f = texts.text(deed.f);
    let what = f.strip_prefix("start-").or_else(|| f.strip_suffix("-start")).unwrap_or(f);
    let whom = match (texts.text(deed.node), texts.text(deed.value)) {
        ("", "" | "nil") => "",
        ("", value) => value,
        (node, _) => node,
    };
    let whom = begin(format_args!("{whom}"), VALUE_MAX);
    if whom.is_empty() { what.to_owned() } else { format!("{what} {whom}") }
}

/// The names that begin something, each with those that end it.
const PAIRS: [(&[&str], &[&str]); 5] = [
    (&["kill", "crash", "down", "stop"], &["start", "restart", "recover", "up", "heal"]),
    (&["start", "begin"], &["stop", "end", "recover", "heal"]),
    (&["pause", "suspend", "freeze"], &["resume", "continue", "thaw", "recover", "heal"]),
    (
        &["partition", "isolate", "split", "cut", "disconnect", "slow", "delay", "flaky", "drop", "corrupt"],
        &["heal", "recover", "rejoin", "reconnect", "connect", "fast", "restore"],
    ),
    (&["bump", "bump-clock", "strobe", "strobe-clock", "skew"], &["reset", "reset-clock"]),
];

fn begins(f: &str) -> bool {
    f.starts_with("start-") || f.ends_with("-start") || PAIRS.iter().any(|(begin, _)| begin.contains(&f))
}

fn ends(f: &str, opening: &str) -> bool {
    let by_name = |what: &str, from: &str, to: &str| {
        f == format!("{to}{what}") || f == format!("{what}{from}") || (f == "heal" && what == "partition")
    };
    if let Some(what) = opening.strip_prefix("start-") {
        return by_name(what, "-stop", "stop-");
    }
    if let Some(what) = opening.strip_suffix("-start") {
        return by_name(what, "-stop", "stop-");
    }
    PAIRS.iter().any(|(begin, end)| begin.contains(&opening) && end.contains(&f))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults of deeds `(f, node, value)` at positions 10, 20, 30, …
    fn of(deeds: &[(&str, &str, &str)]) -> Vec<(String, u32, Until)> {
        let mut texts = Texts::default();
        let deeds: Vec<Deed> = (1u32..)
            .zip(deeds)
            .map(|(i, (f, node, value))| Deed {
                position: i * 10,
                process: texts.add("nemesis"),
                f: texts.add(f),
                node: texts.add(node),
                value: texts.add(value),
            })
            .collect();
        faults(&deeds, &texts).into_iter().map(|fault| (fault.name, fault.from, fault.until)).collect()
    }

    #[test]
    fn a_fault_lasts_from_its_beginning_to_its_end_on_the_same_node() {
        assert_eq!(
            of(&[("kill", "n1", ""), ("pause", "n2", ""), ("start", "n1", ""), ("resume", "n2", "")]),
            [
                ("kill n1".to_owned(), 10, Until::Position(30)),
                ("pause n2".to_owned(), 20, Until::Position(40)),
            ]
        );
        assert_eq!(
            of(&[("kill", "n1", ""), ("kill", "n2", ""), ("start", "n2", "")]),
            [("kill n1".to_owned(), 10, Until::Open), ("kill n2".to_owned(), 20, Until::Position(30))]
        );
    }

    #[test]
    fn an_action_that_is_told_twice_is_one() {
        let told = [
            ("start-partition", "", "majority"),
            ("start-partition", "", "{n1 [n2]}"),
            ("stop-partition", "", ""),
            ("stop-partition", "", "healed"),
        ];
        assert_eq!(of(&told), [("partition majority".to_owned(), 10, Until::Position(40))]);
    }

    #[test]
    fn start_ends_a_kill_and_otherwise_begins_what_stop_ends() {
        let told = [("kill", "", ""), ("start", "", ""), ("start", "", "n3"), ("stop", "", "")];
        // The second start follows on the first and is its second telling, so what stop ends never began.
        assert_eq!(of(&told)[0], ("kill".to_owned(), 10, Until::Position(30)));
        let told = [("start", "", "n3"), ("stop", "", ""), ("stop", "", "")];
        assert_eq!(of(&told), [("start n3".to_owned(), 10, Until::Position(30))]);
    }

    #[test]
    fn what_neither_begins_nor_ends_anything_is_a_mark() {
        assert_eq!(
            of(&[("check-disk", "", "nil"), ("heal", "", "")]),
            [("check-disk".to_owned(), 10, Until::Moment), ("heal".to_owned(), 20, Until::Moment)]
        );
    }

    #[test]
    fn healing_ends_everything_that_is_cut() {
        assert_eq!(
            of(&[("isolate", "", "n1"), ("kill", "", "n2"), ("recover", "", "")]),
            [
                ("isolate n1".to_owned(), 10, Until::Position(30)),
                ("kill n2".to_owned(), 20, Until::Position(30))
            ]
        );
    }
}
