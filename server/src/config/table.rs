//! The table of settings: each key once, with its default and what it means.
//!
//! `godown config` prints it, and the environment is read by it. A test proves that the defaults printed here are
//! those in force.

use std::fmt::Write as _;

/// How a value is written in TOML.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// In quotes.
    Text,
    /// Bare: a number, or true or false.
    Number,
    /// Texts in brackets; in an environment variable commas stand between them.
    Texts,
}

use Kind::{Number, Text, Texts};

/// One setting.
pub(super) struct Setting {
    /// The table that it stands in; empty for the top.
    section: &'static str,
    key: &'static str,
    kind: Kind,
    /// As TOML; None when it depends on something, and then `meaning` says on what.
    default: Option<&'static str>,
    example: &'static str,
    meaning: &'static str,
}

impl Setting {
    /// The setting as a line of TOML that says `value`.
    pub(super) fn line(&self, value: &str) -> String {
        let dot = if self.section.is_empty() { "" } else { "." };
        let value = match self.kind {
            Text => toml::Value::String(value.into()).to_string(),
            Number => value.into(),
            Texts => {
                let texts = value.split(',').map(str::trim).filter(|text| !text.is_empty());
                toml::Value::Array(texts.map(toml::Value::from).collect()).to_string()
            }
        };
        format!("{}{dot}{} = {value}", self.section, self.key)
    }

    fn variable(&self) -> String {
        let section = if self.section.is_empty() { "" } else { "limits_" };
        format!("godown_{section}{}", self.key).to_uppercase()
    }
}

/// The setting that an environment variable overrides.
pub(super) fn by_variable(variable: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.variable() == variable)
}

/// Whether an environment variable looks as if it were meant for a setting, and is for none.
pub(super) fn is_stray(variable: &str) -> bool {
    // The last one is for the commands that ask a node.
    let others = ["GODOWN_CONFIG", "GODOWN_NODE"];
    variable.starts_with("GODOWN_") && !others.contains(&variable) && by_variable(variable).is_none()
}

/// Every setting: its variable, and a value that it takes.
#[cfg(test)]
pub(super) fn samples() -> impl Iterator<Item = (String, String)> {
    let sample = |setting: &Setting| setting.example.trim_matches(['"', '[', ']']).to_owned();
    SETTINGS.iter().map(move |setting| (setting.variable(), sample(setting)))
}

const fn top(key: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Setting {
    Setting { section: "", key, kind, default: Some(default), example: default, meaning }
}

const fn open(key: &'static str, kind: Kind, example: &'static str, meaning: &'static str) -> Setting {
    Setting { section: "", key, kind, default: None, example, meaning }
}

const fn limit(key: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting { section: "limits", key, kind: Number, default: Some(default), example: default, meaning }
}

const SETTINGS: &[Setting] = &[
    open("name", Text, "\"apple\"", "This node's name, unique in the cluster and for ever. It must be set."),
    open("root", Text, "\"/var/lib/godown\"", "The data folder, created when there is none. It must be set."),
    top(
        "listen",
        Text,
        "\"127.0.0.1\"",
        "The address to listen on. Any other than loopback is open to everybody who reaches it.",
    ),
    open(
        "port",
        Number,
        "7000",
        "The port for the other nodes. By default the one that this node is listed with below, or 7000.",
    ),
    top("httpport", Number, "3000", "The port for HTTP."),
    open(
        "advertise",
        Text,
        "\"apple.example:7000\"",
        "Where the other nodes reach this one. By default its entry below, or where it listens.",
    ),
    top("zone", Text, "\"default\"", "What this node may fail together with, such as a rack or a room."),
    top("weight", Number, "100", "This node's share of the data, in proportion to the others': 1 to 1000."),
    open(
        "join",
        Texts,
        "[\"pear.example:7000\"]",
        "Nodes of a running cluster that are asked to take this one in. It has no list of nodes then.",
    ),
    top("replicas", Number, "3", "Copies of each key. The same on every node."),
    open("r", Number, "2", "Copies that must answer a read. By default a majority of the replicas."),
    open(
        "w",
        Number,
        "2",
        "Copies that must have a write on disk before it is acknowledged. By default a majority.",
    ),
    top(
        "partitions",
        Number,
        "256",
        "Shares that the keys are cut into, a power of two. The same on every node, for ever.",
    ),
    top("timeout_ms", Number, "5000", "How long a request may take unless it says ?timeout=."),
    top("timeout_max_ms", Number, "60000", "The longest ?timeout= that is taken."),
    top(
        "sloppy",
        Number,
        "true",
        "Whether other nodes stand in for replicas that cannot be reached, unless a request says ?sloppy=: true or false.",
    ),
    top(
        "sync_every_ms",
        Number,
        "1000",
        "Time between two comparisons of what this node and a peer have seen: 1 to 86400000 (a day).",
    ),
    top(
        "sync_bytes_per_s",
        Number,
        "33554432",
        "Bytes that such comparisons may bring to this node in a second: at least 65536, or 0 for no limit.",
    ),
    top(
        "hint_bytes_per_s",
        Number,
        "8388608",
        "Bytes of what is kept for other nodes that are handed over in a second: at least 65536.",
    ),
    top(
        "log_rows_max",
        Number,
        "65536",
        "Changes that a partition remembers for replicas that lack them: 1 to 16777216, in memory. One that lacks more \
         compares ranges of keys.",
    ),
    top(
        "gossip_every_ms",
        Number,
        "1000",
        "Time between two messages about who is in the cluster, 1 to 86400000; while something is new they come more often.",
    ),
    top(
        "probe_every_ms",
        Number,
        "1000",
        "Time between two probes of whether other nodes answer: 1 to 86400000. The same on every node.",
    ),
    top(
        "expire_every_ms",
        Number,
        "60000",
        "Time between two looks for values whose time is over: 1 to 86400000. Reads hide them at once.",
    ),
    top(
        "scrub_every_ms",
        Number,
        "86400000",
        "Time between two passes that verify every row on disk: up to 31622400000 (a year), or 0 for never.",
    ),
    top(
        "body_timeout_ms",
        Number,
        "30000",
        "How long a client may take to send its request, and how long it may do nothing.",
    ),
    top("drain_ms", Number, "10000", "How long requests in flight may take to finish after SIGTERM."),
    top("disk_reserve_mb", Number, "64", "Writes are refused while the disk has less than this left."),
    top(
        "compact_every_ms",
        Number,
        "60000",
        "Time between two looks whether so much was deleted that its space is given back: up to 86400000, or 0 for never.",
    ),
    top("log", Text, "\"info\"", "What to log: error, warn, info, debug or trace, also by module."),
    top("log_format", Text, "\"human\"", "How to log: human or json."),
    limit("key_bytes", "1024", "Bytes in a key."),
    limit("value_bytes", "1048576", "Bytes in a value."),
    limit("content_type_bytes", "256", "Bytes in a content type."),
    limit("siblings", "100", "Concurrent values of a key."),
    limit("object_bytes", "4194304", "Bytes of all concurrent values of a key together."),
    limit("calls", "1024", "Client requests in flight; one more is answered with 503."),
    limit("peer_requests", "8192", "Requests of peers in flight; one more is refused."),
    limit("list_page", "1000", "Keys in one page of a listing."),
    limit("sync_bytes", "262144", "Bytes of objects in one message between replicas that catch up."),
    limit("sync_objects", "128", "Objects in such a message."),
    limit("hint_bytes", "268435456", "Bytes that are kept for other nodes, all together; 0 to keep none."),
    limit("connections", "4096", "HTTP connections at once; further ones wait to be accepted."),
    limit(
        "bodies_bytes",
        "67108864",
        "Bytes of request bodies in memory at once; a request beyond them is answered with 503.",
    ),
    limit("outbox_bytes", "8388608", "Bytes that wait for one peer; further messages to it are dropped."),
];

/// The table as a configuration file.
pub(super) fn render() -> String {
    let mut text = String::from(
        "# Godown's settings with their defaults. A line that is commented out has no fixed default.\n\
         # Each can be overridden by an environment variable: GODOWN_HTTPPORT, GODOWN_LIMITS_CALLS, ...\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            let _ = write!(text, "\n[{section}]");
        }
        let mark = if setting.default.is_some() { "" } else { "# " };
        let _ = write!(text, "\n# {}\n{mark}{} = {}\n", setting.meaning, setting.key, setting.example);
    }
    text.push_str(
        "\n# The nodes that start a cluster together; this node may stand among them. A node without a name (as in\n\
         # MecDB's files) is asked for it when it is first reached.\n\
         # [[node]]\n# name = \"pear\"\n# host = \"127.0.0.1\"\n# port = 8000\n",
    );
    text
}
