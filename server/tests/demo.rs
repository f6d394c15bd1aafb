//! `godown demo`, `check`, `report` and `bench` as a user meets them: the real binary, real nodes, real files.
//!
//! The tests take turns, since each of them keeps three nodes busy. They wait for what the program prints or for its
//! end, never for a length of time.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn godown(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_godown"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A demo that does not outlive its test; told to end, it stops its nodes.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The addresses in the line that says that all nodes are ready.
fn addresses(text: &str) -> Vec<SocketAddr> {
    let line = text.lines().find(|line| line.contains("all nodes are ready")).expect("the nodes' line");
    line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
}

fn assert_stopped(nodes: &[SocketAddr]) {
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        assert!(TcpStream::connect(node).is_err(), "somebody still listens on {node}");
    }
}

/// The only run folder in `parent`.
fn run_folder(parent: &Path) -> PathBuf {
    let entries = fs::read_dir(parent).expect("a folder of runs");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders.remove(0)
}

/// The history in which the last final read that showed something shows nothing.
fn without_a_final_value(history: &str) -> String {
    let mut lines: Vec<String> = history.lines().map(str::to_owned).collect();
    let shows = |line: &String| {
        line.contains(r#""type":"ok""#)
            && line.contains(r#""phase":"final""#)
            && !line.contains(r#""value":[]"#)
    };
    let last = lines.iter().rposition(shows).expect("a final read that showed something");
    let (head, rest) = lines[last].split_once(r#""value":["#).expect("a list");
    let (_, tail) = rest.split_once(']').expect("its end");
    lines[last] = format!(r#"{head}"value":[]{tail}"#);
    lines.join("\n") + "\n"
}

#[test]
fn a_demo_survives_its_disasters_and_leaves_a_run_that_can_be_judged_again() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let parent = folder.path().join("runs");
    let parent_text = parent.to_str().expect("a path of letters");
    let output = godown(&["demo", "--seconds", "2", "--seed", "7", "--run-dir", parent_text])
        .output()
        .expect("the demo runs");
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for words in ["is killed", "is ready", "is paused", "goes on", "Verdict: valid", "report.html"] {
        assert!(text.contains(words), "the demo does not say \"{words}\":\n{text}");
    }
    assert_stopped(&addresses(&text));

    let run = run_folder(&parent);
    let json = |file: &str| -> serde_json::Value {
        let bytes = fs::read(run.join(file)).expect(file);
        serde_json::from_slice(&bytes).expect(file)
    };
    assert_eq!(json("results.json")["verdict"], "valid");
    assert_eq!(json("run.json")["seed"], 7);
    assert_eq!(json("run.json")["faults"].as_array().map(Vec::len), Some(2));
    let report = fs::read_to_string(run.join("report.html")).expect("a report");
    assert!(report.contains("Valid: it kept its promises"));
    assert!(report.contains("href=\"verdict/index.html\"") && report.contains("<h2>Staleness</h2>"));
    let page = fs::read_to_string(run.join("verdict/index.html")).expect("the checker's page");
    assert!(page.contains("read your writes"));
    let history = fs::read_to_string(run.join("history.jsonl")).expect("a history");
    let answers = history.lines().filter(|line| line.contains(r#""type":"ok""#)).count();
    assert!(answers > 200, "only {answers} answers in two seconds");
    let results = json("results.json");
    let rows = results["latency"].as_array().expect("rows");
    let counted: u64 = rows.iter().filter_map(|row| row["count"].as_u64()).sum();
    assert_eq!(counted as usize + 3 * 32, answers, "every answer but the final reads has a latency");

    let path = run.to_str().expect("a path of letters");
    let check = || godown(&["check", path]).output().expect("check runs");
    assert_eq!(check().status.code(), Some(0));
    assert!(text.contains(stdout(&check()).trim()), "check says the demo's words:\n{}", stdout(&check()));
    assert_eq!(json("verdict/results.json")["checks"], results["checks"], "the figures are in both");

    fs::remove_file(run.join("report.html")).expect("a report");
    assert!(godown(&["report", path]).output().expect("report runs").status.success());
    assert!(run.join("report.html").exists());

    fs::write(run.join("history.jsonl"), without_a_final_value(&history)).expect("written");
    let violated = check();
    assert_eq!(violated.status.code(), Some(1), "{}", stdout(&violated));
    assert!(stdout(&violated).contains("Verdict: violated"));

    fs::write(run.join("history.jsonl"), &history[..history.len() - 10]).expect("written");
    let cut = check();
    assert_eq!(cut.status.code(), Some(2));
    assert!(stderr(&cut).contains("cut off"), "{}", stderr(&cut));
}

/// Where the nodes served HTTP, by their logs.
fn logged_addresses(run: &Path, names: &[&str]) -> Vec<SocketAddr> {
    let address = |name: &&str| {
        let log = fs::read_to_string(run.join(format!("{name}.log"))).expect("a log");
        let (_, rest) = log.split_once("serves http://").expect("it says where it serves");
        rest.split(',').next().and_then(|address| address.parse().ok()).expect("an address")
    };
    names.iter().map(address).collect()
}

#[test]
fn a_cluster_that_grows_shrinks_and_loses_a_disk_keeps_what_is_kept_and_brings_nothing_back() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let parent = folder.path().join("runs");
    let parent_text = parent.to_str().expect("a path of letters");
    let output = godown(&["demo", "--grow", "--keys", "2000", "--sessions", "4", "--run-dir", parent_text])
        .output()
        .expect("the demo runs");
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for words in [
        "2,000 keys are written",
        "200 of them are deleted",
        "n4 and n5 are members",
        "n1 is removed",
        "n1 came back with its old disk, heard that it was removed",
        "n2 is killed (kill -9), and its disk is lost",
        "n6 has everything that n2 had",
        "n4 has handed over everything",
        "1,800 keys kept, 200 deleted",
        "2,032 keys deleted; rows of keys that are left on 3 nodes: 0",
        "Verdict: valid",
    ] {
        assert!(text.contains(words), "the demo does not say \"{words}\":\n{text}");
    }

    let run = run_folder(&parent);
    for group in [["n1", "n2", "n3"], ["n4", "n5", "n6"]] {
        assert_stopped(&logged_addresses(&run, &group));
    }
    let bytes = fs::read(run.join("results.json")).expect("results");
    let results: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(results["verdict"], "valid");
    let stock = &results["stock"];
    assert_eq!((stock["nodes"].as_u64(), stock["misses"].as_u64()), (Some(3), Some(0)), "{stock}");
    // Each of three nodes was asked for every key, twice, and listed at least those that were kept.
    assert!(stock["compared"].as_u64() >= Some(3 * (2 * 2_000 + 1_800)), "{stock}");
    let folders = results["emptied"]["folders"].as_array().expect("folders");
    let names: Vec<_> = folders.iter().filter_map(|folder| folder["node"].as_str()).collect();
    assert_eq!(names, ["n3", "n5", "n6"]);
    for folder in folders {
        assert_eq!(folder["rows_left"], 0, "{folder}");
        assert!(folder["full_journal_bytes"].as_u64() > Some(2_000 * 1_000), "{folder}");
        assert!(folder["compacted_tables_bytes"].as_u64() < Some(500_000), "{folder}");
    }
    assert!(!run.join("misses.jsonl").exists());
    let book = fs::read_to_string(run.join("cluster.txt")).expect("what was ordered");
    assert_eq!(
        book.matches("Cluster ").count(),
        6,
        "at the beginning, after each change, at the end:\n{book}"
    );
    for order in ["join n4", "join n5", "remove n1", "replace n2 by n6", "leave n4"] {
        assert!(book.contains(order), "{order}:\n{book}");
    }
    let history = fs::read_to_string(run.join("history.jsonl")).expect("a history");
    for node in ["n1", "n2", "n3", "n4", "n5", "n6"] {
        let asked = format!("\"node\":\"{node}\"");
        assert!(history.contains(&asked), "no session asked {node}");
    }
    let report = fs::read_to_string(run.join("report.html")).expect("a report");
    assert!(report.contains("<b>stock</b>") && report.contains("band leaving"));
}

#[test]
fn a_demo_that_is_interrupted_leaves_no_node_behind() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let parent = folder.path().to_str().expect("a path of letters");
    let mut command = godown(&["demo", "--seconds", "600", "--run-dir", parent]);
    let mut demo =
        Guarded(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the demo runs"));
    let mut lines = BufReader::new(demo.0.stdout.take().expect("a pipe"));
    let mut text = String::new();
    while !text.contains("all nodes are ready") {
        assert!(lines.read_line(&mut text).expect("a line") > 0, "the demo ended early:\n{text}");
    }
    let nodes = addresses(&text);
    assert!(nodes.iter().all(|node| TcpStream::connect(node).is_ok()), "{nodes:?}");
    kill_process(Pid::from_child(&demo.0), Signal::TERM).expect("it is there");
    assert_eq!(demo.0.wait().expect("its end").code(), Some(2));
    assert_stopped(&nodes);
    let mut errors = String::new();
    demo.0.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
    assert!(errors.contains("terminated"), "{errors}");
}

#[test]
fn a_demo_whose_nodes_do_not_start_says_why_and_gives_no_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    let parent = folder.path().to_str().expect("a path of letters");
    let output = godown(&["demo", "--program", "/bin/false", "--run-dir", parent]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("n1 ended by itself"), "{}", stderr(&output));
}

#[test]
fn a_bench_measures_every_number_of_connections_in_both_modes() {
    let _turn = turn();
    for mode in [&["--mode", "closed"][..], &["--mode", "open", "--rate", "200"]] {
        let arguments = [
            "bench",
            "--connections",
            "1,4",
            "--seconds",
            "1",
            "--rounds",
            "2",
            "--read-ratio",
            "0.5",
            "--json",
        ];
        let output = godown(&arguments).args(mode).output().expect("the bench runs");
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let rows = outcome["rows"].as_array().expect("rows");
        let told: Vec<_> =
            rows.iter().map(|row| (row["operation"].as_str(), row["connections"].as_u64())).collect();
        let expected = [("write", 1), ("write", 4), ("read", 1), ("read", 4)];
        assert_eq!(told, expected.map(|(operation, connections)| (Some(operation), Some(connections))));
        for row in rows {
            assert!(row["calls"].as_u64() > Some(10), "{row}");
            assert_eq!(row["failed"], 0, "{row}");
            assert!(row["p50_ns"].as_u64() <= row["max_ns"].as_u64(), "{row}");
        }
    }
}

#[test]
fn a_bench_of_nodes_that_are_not_there_fails() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let unused = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let output = godown(&["bench", "--nodes", &unused]).output().expect("it runs");
    assert!(!output.status.success());
    assert!(stderr(&output).contains("could not connect"), "{}", stderr(&output));
}
