//! What is wrong at the start is said clearly, with the offender's name, and ends the process.

use std::fs;
use std::net::TcpListener;

use crate::cluster::{Cluster, godown};

/// Runs `godown serve` with a configuration file that must not do, and gives what it says on stderr.
fn refusal(config: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("godown.toml");
    let config = config.replace("FOLDER", folder.path().to_str().expect("text"));
    fs::write(&path, config).expect("written");
    let (status, stdout, stderr) = godown(&["serve", "--config", path.to_str().expect("text")]);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert_eq!(stdout, "");
    stderr
}

const GOOD: &str = "name = \"a\"\nport = 0\nhttpport = 0\nroot = \"FOLDER/data\"\n";

#[test]
fn an_unknown_key_or_a_value_of_the_wrong_type_is_shown_with_its_line() {
    let error = refusal(&format!("{GOOD}htpport = 3000\n"));
    assert!(error.contains("line 5") && error.contains("htpport"), "{error}");
    let error = refusal(&format!("{GOOD}[limits]\ncalls = \"many\"\n"));
    assert!(error.contains("line 6") && error.contains("many"), "{error}");
    let error = refusal(&format!("{GOOD}[[node]]\nhost = \"h\"\n"));
    assert!(error.contains("port"), "{error}");
    let error = refusal(&format!("{GOOD}log = \"all=maybe\"\n"));
    assert!(error.contains("all=maybe"), "{error}");
}

#[test]
fn a_setting_out_of_range_is_named_with_its_bound() {
    let error = refusal(&format!("{GOOD}partitions = 100\n"));
    assert!(error.contains("partitions = 100") && error.contains("power of two"), "{error}");
    let error = refusal("port = 1\n");
    assert!(error.contains("name is not set") && error.contains("GODOWN_NAME"), "{error}");
}

#[test]
fn a_configuration_file_that_is_not_there_is_named() {
    let (status, _, stderr) = godown(&["serve", "--config", "/nowhere/godown.toml"]);
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("/nowhere/godown.toml"), "{stderr}");
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let error = refusal(&GOOD.replace("httpport = 0", &format!("httpport = {port}")));
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("in use"), "{error}");
    assert!(error.contains("--http"), "{error}");
    let error = refusal(&GOOD.replace("port = 0\n", &format!("port = {port}\n")));
    assert!(error.contains("for peers") && error.contains("--listen"), "{error}");
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let error = refusal(&GOOD.replace("FOLDER/data", "FOLDER/godown.toml"));
    assert!(error.contains("godown.toml cannot be used"), "{error}");
    let error = refusal(&GOOD.replace("FOLDER/data", "/proc/none/data"));
    assert!(error.contains("/proc/none/data cannot be used"), "{error}");
}

#[test]
fn a_data_folder_serves_one_process_and_one_node() {
    let mut cluster = Cluster::ready(1, "");
    let folder = cluster[0].folder.to_str().expect("text").to_owned();
    let second = |name| {
        let flags = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", &folder, "--name", name];
        let (status, _, stderr) = godown(&[&["serve"][..], &flags].concat());
        assert_eq!(status.code(), Some(1));
        stderr
    };
    let error = second("n1");
    assert!(error.contains("in use by another process") && error.contains(&folder), "{error}");
    cluster[0].stop();
    let error = second("n2");
    assert!(error.contains("belongs to node 'n1'"), "{error}");
}

#[test]
fn version_says_what_is_built_in() {
    let (status, stdout, _) = godown(&["--version"]);
    assert!(status.success());
    assert_eq!(stdout, format!("godown {}\nplants: none\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn config_prints_a_file_that_serve_takes() {
    let (status, stdout, _) = godown(&["config"]);
    assert!(status.success());
    for line in ["httpport = 3000", "timeout_ms = 5000", "[limits]", "value_bytes = 1048576", "# name = "] {
        assert!(stdout.lines().any(|found| found.starts_with(line)), "{line} in {stdout}");
    }
    let error = refusal(&format!("{stdout}\nrubbish = 1\n"));
    assert!(error.contains("rubbish"), "everything before it was understood: {error}");
}
