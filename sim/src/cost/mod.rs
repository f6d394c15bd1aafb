//! What convergence costs, measured in simulated time: bytes on the wire and at rest, replicas that move, how long
//! detection and healing take. Each figure stands beside what it is meant to be, where there is such a number.
//!
//! A [`Part`] is one such measurement. It runs the core's own nodes with their default settings in a healthy cluster (but
//! for the one thing that it is about) and counts the frames that a server would send. Nothing here reads a clock: two runs
//! print the same, on any machine. The paper to compare with is DottedDB (Gonçalves et al., SRDS 2017).

mod catch_up;
mod cluster;
mod idle;
mod placement;
mod rest;
mod store;
mod times;

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A few keys of a million change while a node is away.
    FewOfMany,
    /// A node misses one write in a hundred.
    MissedOnePercent,
    /// Nodes are added.
    FourthNode,
    /// What is kept beside data, and what stays of deleted data.
    Rest,
    /// What a cluster sends that has nothing to do.
    Gossip,
    /// How long it takes until a dead node is known to be down.
    Detect,
    /// How long it takes until replicas are equal.
    Heal,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::FewOfMany,
        Self::MissedOnePercent,
        Self::FourthNode,
        Self::Rest,
        Self::Gossip,
        Self::Detect,
        Self::Heal,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FewOfMany => "few-of-many",
            Self::MissedOnePercent => "missed-one-percent",
            Self::FourthNode => "fourth-node",
            Self::Rest => "rest",
            Self::Gossip => "gossip",
            Self::Detect => "detect",
            Self::Heal => "heal",
        }
    }

    /// Measures it.
    #[must_use]
    pub fn measure(self, size: Size) -> Figure {
        match self {
            Self::FewOfMany => catch_up::few_of_many(size),
            Self::MissedOnePercent => catch_up::missed_one_percent(size),
            Self::FourthNode => placement::fourth_node(size),
            Self::Rest => rest::rest(size),
            Self::Gossip => idle::gossip(size),
            Self::Detect => times::detect(size),
            Self::Heal => times::heal(size),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As much as the figures are told for.
    Full,
    /// Little enough for a test.
    Quick,
}

impl Size {
    const fn pick<T: Copy>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// What a part has measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Which.
    pub part: Part,
    /// How it was measured, in a sentence.
    pub says: String,
    /// Line by line.
    pub lines: Vec<Line>,
}

impl Figure {
    fn new(part: Part, says: impl Into<String>) -> Self {
        Self { part, says: says.into(), lines: Vec::new() }
    }

    fn told(&mut self, what: impl Into<String>, measured: impl Into<Vec<Value>>) {
        self.lines.push(Line { what: what.into(), measured: measured.into(), target: None });
    }

    fn at_most(&mut self, what: impl Into<String>, measured: Value, most: f64) {
        let target = Some(Target { most, holds: measured.number <= most });
        self.lines.push(Line { what: what.into(), measured: vec![measured], target });
    }

    /// Whether every target is met.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.lines.iter().all(|line| line.target.is_none_or(|target| target.holds))
    }
}

/// One line of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What was measured.
    pub what: String,
    /// What came of it.
    pub measured: Vec<Value>,
    /// What it is meant to be, if that is a number.
    pub target: Option<Target>,
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// What of the line it is; empty where there is only one.
    pub name: &'static str,
    /// How much.
    pub number: f64,
    /// Of what.
    pub unit: &'static str,
}

impl Value {
    const fn new(name: &'static str, number: f64, unit: &'static str) -> Self {
        Self { name, number, unit }
    }

    const fn of(number: f64, unit: &'static str) -> Self {
        Self::new("", number, unit)
    }
}

/// What a number is meant to be: at most this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The most.
    pub most: f64,
    /// Whether it is.
    pub holds: bool,
}

/// The least, the median, the 90th and 99th of a hundred, and the most of some numbers.
fn spread(mut numbers: Vec<f64>, unit: &'static str) -> Vec<Value> {
    assert!(!numbers.is_empty(), "nothing was measured");
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len() - 1;
    let at = |percent: usize| numbers[(last * percent).div_ceil(100)];
    [("min", 0), ("median", 50), ("p90", 90), ("p99", 99), ("max", 100)]
        .map(|(name, percent)| Value::new(name, at(percent), unit))
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_takes_the_nearest_number_above_each_rank() {
        let numbers: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        let told: Vec<f64> = spread(numbers, "s").into_iter().map(|value| value.number).collect();
        assert_eq!(told, [0.0, 50.0, 90.0, 99.0, 100.0]);
        assert!(spread(vec![7.0], "s").iter().all(|value| value.number == 7.0));
    }

    #[test]
    fn a_figure_holds_while_all_of_its_targets_do() {
        let mut figure = Figure::new(Part::Rest, "");
        figure.told("no target", [Value::of(9.0, "bytes")]);
        figure.at_most("at its target", Value::of(24.0, "bytes"), 24.0);
        assert!(figure.holds());
        figure.at_most("beyond it", Value::of(24.1, "bytes"), 24.0);
        assert!(!figure.holds());
    }
}
