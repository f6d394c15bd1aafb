//! Protocol walk-throughs as text: every `tests/scenarios/*.txt` is a script whose effects stand below each command.
//!
//! `UPDATE=1 cargo test -p godown-core --test scenarios` rewrites what stands there; the difference is then for a
//! reader to judge. Lines that begin with `>` are commands, `#` explains, everything else is what happened.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use common::Cluster;
use godown_core::causal::Context;
use godown_core::id::{CallId, NodeId};
use godown_core::input::{Call, Reply, Wish};

/// A script under way.
struct Script {
    cluster: Option<Cluster>,
    /// Calls by the names that the script gave them.
    named: BTreeMap<String, CallId>,
}

impl Script {
    fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("a script begins with `> nodes`")
    }

    /// What a named call's reply says that its client has seen.
    fn seen(&mut self, name: &str) -> Context {
        let id = *self.named.get(name).unwrap_or_else(|| panic!("no call is named {name}"));
        match self.cluster().replies.get(&id) {
            Some(Reply::Got { seen, .. } | Reply::Stored { seen }) => seen.clone(),
            other => panic!("{name} gave no context: {other:?}"),
        }
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let options: BTreeMap<&str, &str> = words.iter().filter_map(|word| word.split_once('=')).collect();
        let plain: Vec<&str> = words.iter().copied().filter(|word| !word.contains('=')).collect();
        let number = |name: &str| options.get(name).map(|text| text.parse::<usize>().expect("a number"));
        let node = |index: usize| -> NodeId {
            let name = plain.get(index).unwrap_or_else(|| panic!("`{line}` names no node"));
            NodeId(name.strip_prefix('n').and_then(|text| text.parse().ok()).expect("a node, as n1"))
        };
        match plain[0] {
            "nodes" => {
                let count = plain[1].parse().expect("how many nodes");
                self.cluster = Some(Cluster::new(count, |settings| {
                    settings.partitions = number("partitions").unwrap_or(1) as u32;
                    settings.replicas = number("n").unwrap_or(3);
                    settings.r = number("r").unwrap_or(2);
                    settings.w = number("w").unwrap_or(2);
                    settings.limits.siblings = number("siblings").unwrap_or(100);
                    settings.limits.sync_objects = number("page").unwrap_or(128);
                }));
            }
            "put" | "delete" => {
                let seen = options.get("seen").map_or_else(Context::new, |name| self.seen(name));
                let value = (plain[0] == "put").then(|| plain[3]);
                let id = self.cluster().put(node(1), plain[2], value, seen);
                self.name(&options, id);
            }
            "get" => {
                let wish = Wish { quorum: number("r").map(|r| r as u8), ..Wish::default() };
                let key = common::key_of(plain[2]);
                let id = self.cluster().call(node(1), Call::Get { key, wish });
                self.name(&options, id);
            }
            "list" => {
                let after = options.get("after").map(|key| common::key_of(key));
                let limit = number("limit").unwrap_or(1_000) as u32;
                self.cluster().call(node(1), Call::List { after, limit, wish: Wish::default() });
            }
            "cut" => {
                let (a, b) = (node(1), node(2));
                self.cluster().cut.extend([(a, b), (b, a)]);
            }
            "heal" => self.cluster().cut.clear(),
            "hold" => self.cluster().hold(node(1)),
            "release" => self.cluster().release(node(1)),
            "fail" => self.cluster().fail(node(1)),
            "crash" => self.cluster().crash(node(1)),
            "wipe" => self.cluster().wipe(node(1)),
            "start" => self.cluster().start(node(1)),
            "tick" => {
                let ms =
                    plain[1].strip_suffix("ms").and_then(|text| text.parse().ok()).expect("a time, as 100ms");
                self.cluster().pass(Duration::from_millis(ms));
            }
            "show" => {
                for id in self.cluster().machines.keys().copied().collect::<Vec<_>>() {
                    let object = self.cluster().object(id, plain[1]);
                    let line = format!("{id} holds {object:?}");
                    self.cluster().told.push(line);
                }
            }
            other => panic!("unknown command `{other}`"),
        }
    }

    fn name(&mut self, options: &BTreeMap<&str, &str>, id: CallId) {
        if let Some(&name) = options.get("as") {
            self.named.insert(name.into(), id);
        }
    }
}

/// The script with what happens now below each command.
fn replay(script: &str) -> String {
    let mut state = Script { cluster: None, named: BTreeMap::new() };
    let mut out = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(out, "{line}").expect("a string takes everything");
            state.command(command);
            for told in state.cluster().told.drain(..) {
                writeln!(out, "  {told}").expect("a string takes everything");
            }
        } else if !line.starts_with(' ') {
            writeln!(out, "{line}").expect("a string takes everything");
        }
    }
    out
}

#[test]
fn every_scenario_happens_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let mut changed = Vec::new();
    for file in &files {
        let script = std::fs::read_to_string(file).expect("a script is text");
        let happened = replay(&script);
        if happened == script {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(file, &happened).expect("the script can be rewritten");
            continue;
        }
        let first = script.lines().zip(happened.lines()).position(|(a, b)| a != b).unwrap_or(0);
        changed.push(format!(
            "{}:{}: written `{}`, happened `{}`",
            file.display(),
            first + 1,
            script.lines().nth(first).unwrap_or("nothing"),
            happened.lines().nth(first).unwrap_or("nothing"),
        ));
    }
    assert!(files.len() >= 12, "only {} scenarios found", files.len());
    assert!(changed.is_empty(), "scenarios changed (UPDATE=1 rewrites them):\n{}", changed.join("\n"));
}
