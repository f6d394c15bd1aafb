//! Scenarios as text: TOML, with a line for each call and each fault.
//!
//! A file says which version of the format it has; what it leaves out has a plain default, so that what is left in a
//! shrunk one matters. A file may say which planted bugs it was found with and which check is broken then: without them
//! every check must hold. Errors name the line.

use std::fmt;
use std::str::FromStr;

use godown_core::Plant;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Clocks, DiskTimes, EXPIRE_EVERY, Fault, MS, Network, Plan, SECOND, Scenario, Session, US, fault, span,
};
use crate::check::Check;

/// The version of the format that this build reads and writes.
pub const VERSION: u32 = 1;

/// The most bytes of a file.
pub const BYTES_MAX: u64 = 4 << 20;

/// A scenario that was kept, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it shows, for people.
    pub about: String,
    /// The planted bugs that it was found with.
    pub plants: Vec<Plant>,
    /// The check that is broken with these bugs; without them none is.
    pub breaks: Option<Check>,
    /// The scenario.
    pub scenario: Scenario,
}

/// A value that stands in a file as its text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told<T>(T);

impl<T: fmt::Display> Serialize for Told<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err = String>> Deserialize<'de> for Told<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&span::exact(self.0))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        span::parse(text).map(Self)
    }
}

/// A node by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NodeName(usize);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0 + 1)
    }
}

impl FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        fault::node(text).map(Self)
    }
}

type ToldSpan = Told<Span>;

const fn told(ns: u64) -> ToldSpan {
    Told(Span(ns))
}

/// The file. Its order is that of the text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    about: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    plants: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breaks: Option<String>,
    #[serde(default)]
    seed: u64,
    #[serde(default = "three")]
    nodes: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    zones: Vec<usize>,
    #[serde(default = "three")]
    replicas: usize,
    #[serde(default = "two")]
    r: usize,
    #[serde(default = "two")]
    w: usize,
    #[serde(default = "length")]
    length: ToldSpan,
    #[serde(default = "timeout", skip_serializing_if = "is_timeout")]
    timeout: ToldSpan,
    #[serde(default = "sync_every", skip_serializing_if = "is_sync_every")]
    sync_every: ToldSpan,
    #[serde(default = "expire_every", skip_serializing_if = "is_expire_every")]
    expire_every: ToldSpan,
    #[serde(default = "gossip_every", skip_serializing_if = "is_gossip_every")]
    gossip_every: ToldSpan,
    #[serde(default = "probe_every", skip_serializing_if = "is_probe_every")]
    probe_every: ToldSpan,
    #[serde(default, skip_serializing_if = "is_zero")]
    spares: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    outdated: usize,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    sloppy: bool,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    starts_ready: bool,
    #[serde(default = "partitions", skip_serializing_if = "is_partitions")]
    partitions: u32,
    #[serde(default = "siblings", skip_serializing_if = "is_siblings")]
    siblings_max: usize,
    #[serde(default = "sync_objects", skip_serializing_if = "is_sync_objects")]
    sync_objects: usize,
    #[serde(default = "calls", skip_serializing_if = "is_calls")]
    calls_max: usize,
    #[serde(default = "accesses", skip_serializing_if = "is_accesses")]
    accesses_max: usize,
    #[serde(default = "late", skip_serializing_if = "is_late")]
    timers_late: ToldSpan,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    walls_ahead: Vec<ToldSpan>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    drifts_ppm: Vec<i32>,
    #[serde(default)]
    faults: Vec<Told<Fault>>,
    #[serde(default, skip_serializing_if = "NetworkText::is_usual")]
    network: NetworkText,
    #[serde(default, skip_serializing_if = "DiskText::is_usual")]
    disk: DiskText,
    #[serde(default, rename = "session")]
    sessions: Vec<SessionText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionText {
    node: Told<NodeName>,
    calls: Vec<Told<Plan>>,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkText {
    latency_min: ToldSpan,
    latency_max: ToldSpan,
    #[serde(default)]
    stragglers: u32,
}

impl Default for NetworkText {
    fn default() -> Self {
        Self { latency_min: told(MS), latency_max: told(MS), stragglers: 0 }
    }
}

impl NetworkText {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskText {
    read_max: ToldSpan,
    sync_min: ToldSpan,
    sync_max: ToldSpan,
    lazy_max: ToldSpan,
}

impl Default for DiskText {
    fn default() -> Self {
        Self { read_max: told(100 * US), sync_min: told(MS), sync_max: told(MS), lazy_max: told(MS) }
    }
}

impl DiskText {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

macro_rules! defaults {
    ($($name:ident $is:ident: $type:ty = $value:expr;)*) => {
        $(
            fn $name() -> $type {
                $value
            }

            fn $is(value: &$type) -> bool {
                *value == $name()
            }
        )*
    };
}

defaults! {
    timeout is_timeout: ToldSpan = told(200 * MS);
    sync_every is_sync_every: ToldSpan = told(SECOND);
    expire_every is_expire_every: ToldSpan = told(EXPIRE_EVERY);
    gossip_every is_gossip_every: ToldSpan = told(200 * MS);
    probe_every is_probe_every: ToldSpan = told(200 * MS);
    yes is_yes: bool = true;
    partitions is_partitions: u32 = 16;
    siblings is_siblings: usize = 30;
    sync_objects is_sync_objects: usize = 128;
    calls is_calls: usize = 1_024;
    accesses is_accesses: usize = 8_192;
    late is_late: ToldSpan = told(US);
}

const fn is_zero(count: &usize) -> bool {
    *count == 0
}

const fn two() -> usize {
    2
}

const fn three() -> usize {
    3
}

const fn length() -> ToldSpan {
    told(SECOND)
}

impl Scenario {
    /// The plain scenario that a file with nothing in it tells: what shrinking strives for.
    #[must_use]
    pub fn plain() -> Self {
        read(&format!("version = {VERSION}")).expect("defaults are right").scenario
    }
}

/// The text of a scenario, with what is known of it.
///
/// # Panics
/// Never: every scenario has a text.
#[must_use]
pub fn write(kept: &Kept) -> String {
    let Kept { about, plants, breaks, scenario } = kept;
    let is_zoned = scenario.zones.iter().any(|zone| *zone != 0);
    let are_ahead = scenario.clocks.iter().any(|clocks| clocks.ahead_ns != 0);
    let drift = scenario.clocks.iter().any(|clocks| clocks.drift_ppm != 0);
    let file = File {
        version: VERSION,
        about: about.clone(),
        plants: plants.iter().map(|plant| plant.name().to_owned()).collect(),
        breaks: breaks.map(|check| check.name().to_owned()),
        seed: scenario.seed,
        nodes: scenario.nodes(),
        zones: if is_zoned { scenario.zones.clone() } else { Vec::new() },
        replicas: scenario.replicas,
        r: scenario.r,
        w: scenario.w,
        length: told(scenario.length_ns),
        timeout: told(scenario.timeout_ns),
        sync_every: told(scenario.sync_every_ns),
        expire_every: told(scenario.expire_every_ns),
        gossip_every: told(scenario.gossip_every_ns),
        probe_every: told(scenario.probe_every_ns),
        spares: scenario.spares,
        outdated: scenario.outdated,
        sloppy: scenario.sloppy,
        starts_ready: scenario.starts_ready,
        partitions: scenario.partitions,
        siblings_max: scenario.siblings_max,
        sync_objects: scenario.sync_objects,
        calls_max: scenario.calls_max,
        accesses_max: scenario.accesses_max,
        timers_late: told(scenario.late_max_ns),
        walls_ahead: if are_ahead {
            scenario.clocks.iter().map(|clocks| told(clocks.ahead_ns)).collect()
        } else {
            Vec::new()
        },
        drifts_ppm: if drift {
            scenario.clocks.iter().map(|clocks| clocks.drift_ppm).collect()
        } else {
            Vec::new()
        },
        faults: scenario.faults.iter().cloned().map(Told).collect(),
        network: NetworkText {
            latency_min: told(scenario.network.latency_min_ns),
            latency_max: told(scenario.network.latency_max_ns),
            stragglers: scenario.network.stragglers,
        },
        disk: DiskText {
            read_max: told(scenario.disk.read_max_ns),
            sync_min: told(scenario.disk.sync_min_ns),
            sync_max: told(scenario.disk.sync_max_ns),
            lazy_max: told(scenario.disk.lazy_max_ns),
        },
        sessions: scenario
            .sessions
            .iter()
            .map(|session| SessionText {
                node: Told(NodeName(session.node)),
                calls: session.calls.iter().cloned().map(Told).collect(),
            })
            .collect(),
    };
    toml::to_string_pretty(&file).expect("every scenario has a text")
}

/// Only what tells the version, so that a file of another one is not taken for a broken one.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// Reads a scenario from its text.
///
/// # Errors
/// What is wrong, with the line where there is one.
pub fn read(text: &str) -> Result<Kept, String> {
    let head: Head = toml::from_str(text).map_err(|error| match toml::from_str::<toml::Table>(text) {
        Ok(table) if !table.contains_key("version") => {
            format!("it does not say its version: begin with \"version = {VERSION}\"")
        }
        _ => error.to_string(),
    })?;
    if head.version != VERSION {
        let age = if head.version < VERSION { "an older" } else { "a newer" };
        return Err(format!(
            "it has version {} of the format, and this is {age} one than {VERSION}, which this build reads: run it with the build that wrote it",
            head.version
        ));
    }
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let of_nodes = |name: &str, count: usize| {
        if count == 0 || count == file.nodes {
            Ok(())
        } else {
            Err(format!("{name} has {count} entries, and there are {} nodes", file.nodes))
        }
    };
    of_nodes("zones", file.zones.len())?;
    of_nodes("walls_ahead", file.walls_ahead.len())?;
    of_nodes("drifts_ppm", file.drifts_ppm.len())?;
    let nodes = file.nodes.min(super::NODES_MAX + 1);
    let clocks = |node: usize| Clocks {
        ahead_ns: file.walls_ahead.get(node).map_or(0, |ahead| ahead.0.0),
        drift_ppm: file.drifts_ppm.get(node).copied().unwrap_or(0),
    };
    let mut faults: Vec<Fault> = file.faults.into_iter().map(|fault| fault.0).collect();
    faults.sort_by_key(|fault| fault.at_ns);
    let scenario = Scenario {
        seed: file.seed,
        zones: if file.zones.is_empty() { vec![0; nodes] } else { file.zones.clone() },
        partitions: file.partitions,
        replicas: file.replicas,
        r: file.r,
        w: file.w,
        timeout_ns: file.timeout.0.0,
        sync_every_ns: file.sync_every.0.0,
        expire_every_ns: file.expire_every.0.0,
        gossip_every_ns: file.gossip_every.0.0,
        probe_every_ns: file.probe_every.0.0,
        spares: file.spares,
        outdated: file.outdated,
        sloppy: file.sloppy,
        starts_ready: file.starts_ready,
        siblings_max: file.siblings_max,
        sync_objects: file.sync_objects,
        calls_max: file.calls_max,
        accesses_max: file.accesses_max,
        sessions: file
            .sessions
            .into_iter()
            .map(|session| Session {
                node: session.node.0.0,
                calls: session.calls.into_iter().map(|plan| plan.0).collect(),
            })
            .collect(),
        network: Network {
            latency_min_ns: file.network.latency_min.0.0,
            latency_max_ns: file.network.latency_max.0.0,
            stragglers: file.network.stragglers,
        },
        disk: DiskTimes {
            read_max_ns: file.disk.read_max.0.0,
            sync_min_ns: file.disk.sync_min.0.0,
            sync_max_ns: file.disk.sync_max.0.0,
            lazy_max_ns: file.disk.lazy_max.0.0,
        },
        clocks: (0..nodes).map(clocks).collect(),
        late_max_ns: file.timers_late.0.0,
        length_ns: file.length.0.0,
        faults,
    };
    scenario.check()?;
    let plants = file.plants.iter().map(|name| plant(name)).collect::<Result<_, _>>()?;
    let breaks = file.breaks.as_deref().map(Check::named).transpose()?;
    Ok(Kept { about: file.about, plants, breaks, scenario })
}

/// The planted bug with this name.
///
/// # Errors
/// Which names there are.
pub fn plant(name: &str) -> Result<Plant, String> {
    let found = Plant::ALL.iter().find(|plant| plant.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = Plant::ALL.iter().map(|plant| plant.name()).collect();
        format!("there is no planted bug \"{name}\": there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Weather, draw};

    fn kept(scenario: Scenario) -> Kept {
        let about = "a test".to_owned();
        Kept { about, plants: vec![Plant::ALL[0]], breaks: Some(Check::Fresh), scenario }
    }

    #[test]
    fn every_scenario_is_read_back_from_its_text() {
        let reckless = Weather { is_reckless: true, ..Weather::default() };
        for seed in 0..200 {
            for weather in [&Weather::default(), &reckless] {
                let kept = kept(draw::draw(seed, weather));
                let text = write(&kept);
                assert_eq!(read(&text).as_ref(), Ok(&kept), "seed {seed}:\n{text}");
            }
        }
        let plain = kept(Scenario::plain());
        assert_eq!(read(&write(&plain)), Ok(plain));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let cases = [
            ("", "begin with \"version = 1\""),
            ("version = 0", "an older one"),
            ("version = 9", "a newer one"),
            ("version = 1\nnodez = 3", "line 2"),
            ("version = 1\nlength = \"5 minutes\"", "line 2"),
            (
                "version = 1\nfaults = [\n  \"at 1s for 1s: crash n1\",\n  \"at 1s: crash n1\",\n]",
                "is no fault",
            ),
            ("version = 1\nnodes = 4\nzones = [0, 1]", "zones has 2 entries"),
            ("version = 1\nnodes = 0", "there are 0 nodes"),
            ("version = 1\nnodes = 1000", "1 to 100"),
            ("version = 1\nw = 9", "w = 9"),
            ("version = 1\nplants = [\"no-bug\"]", "ack-before-sync"),
            ("version = 1\nbreaks = \"nothing\"", "there are answered"),
            ("version = 1\n[[session]]\nnode = \"n9\"\ncalls = []", "n9"),
            ("version = 1\n[[session]]\nnode = \"n1\"\ncalls = [\"after 1ms: jump\"]", "line 4"),
        ];
        for (text, words) in cases {
            let error = read(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
