//! The command as its users meet it: verdicts in words and exit codes, one bad file among good ones, JSON.

use std::process::{Command, Output};

const VALID: &str = r#"{"index":0,"type":"invoke","process":0,"f":"write","key":"k","value":1}
{"index":1,"type":"ok","process":0,"f":"write","key":"k"}
{"index":2,"type":"invoke","process":0,"f":"read","key":"k"}
{"index":3,"type":"ok","process":0,"f":"read","key":"k","value":1}
"#;

const STALE: &str = "[{:process 0 :type :invoke :f :write :value 1}\n{:process 0 :type :ok :f :write :value 1}\n\
                     {:process 1 :type :invoke :f :read :value nil}\n{:process 1 :type :ok :f :read :value nil}]\n";

const LOST: &str = r#"{"type":"invoke","process":0,"f":"write","key":"k","value":1,"seen":[]}
{"type":"ok","process":0,"f":"write","key":"k"}
{"type":"info","process":"nemesis","f":"kill","node":"n1"}
{"type":"invoke","process":1,"f":"read","key":"k","node":"n1","phase":"final"}
{"type":"ok","process":1,"f":"read","key":"k","node":"n1","phase":"final","value":[]}
{"type":"invoke","process":1,"f":"read","key":"k","node":"n2","phase":"final"}
{"type":"ok","process":1,"f":"read","key":"k","node":"n2","phase":"final","value":[1]}
"#;

/// A folder of this test's own, gone when it ends.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn with(self, file: &str, content: &[u8]) -> Self {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn check(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_godown-check"));
        let Output { status, stdout, stderr } =
            command.args(arguments).current_dir(&self.0).output().unwrap();
        (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_valid_history_exits_with_0() {
    let (code, out, err) = Folder::new("valid").with("h.jsonl", VALID.as_bytes()).check(&["h.jsonl"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("h.jsonl: valid\n  linearizable: valid (2 operations on 1 key)"), "{out}");
}

#[test]
fn a_stale_read_exits_with_1_and_is_explained() {
    let (code, out, err) = Folder::new("stale").with("h.edn", STALE.as_bytes()).check(&["h.edn"]);
    assert_eq!((code, err.as_str()), (1, ""));
    assert!(out.starts_with("h.edn: violated\n"), "{out}");
    assert!(
        out.contains("stale read: process 1 read nil (line 4), though nil had been replaced by then"),
        "{out}"
    );
    assert!(out.contains("by line 2 at the latest it held 1, because process 0 wrote 1 (line 2)"), "{out}");
}

#[test]
fn a_lost_write_is_found_without_being_told_the_model() {
    let (code, out, _) = Folder::new("lost").with("h.jsonl", LOST.as_bytes()).check(&["h.jsonl"]);
    assert_eq!(code, 1);
    assert!(out.contains("lost write on key k: write 1 was acknowledged"), "{out}");
    assert!(out.contains("diverged on key k: n1 lacks 1"), "{out}");
}

#[test]
fn a_history_that_no_rule_fits_exits_with_2() {
    let history = "{:process 0 :type :invoke :f :elect :value 1}";
    let folder = Folder::new("unknown").with("h.edn", history.as_bytes());
    let (code, out, _) = folder.check(&["h.edn"]);
    assert_eq!(code, 2);
    assert!(out.contains("no rule is known for a history with \"elect\" (line 1)"), "{out}");
}

#[test]
fn a_timeout_leaves_the_history_unknown() {
    let folder = Folder::new("timeout").with("h.jsonl", VALID.as_bytes());
    let (code, out, _) = folder.check(&["--timeout", "0", "h.jsonl"]);
    assert_eq!(code, 2);
    assert!(out.contains("the time ran out"), "{out}");
}

#[test]
fn a_truncated_line_names_itself_and_the_other_files_are_judged() {
    let cut = &VALID.as_bytes()[..VALID.len() - 9];
    let folder = Folder::new("cut").with("cut.jsonl", cut).with("stale.edn", STALE.as_bytes());
    let (code, out, err) = folder.check(&["cut.jsonl", "absent.jsonl", "stale.edn"]);
    assert_eq!(code, 3);
    assert!(err.contains("error: cut.jsonl:4: the last line is cut off"), "{err}");
    assert!(err.contains("error: absent.jsonl: cannot be read"), "{err}");
    assert!(out.starts_with("stale.edn: violated"), "{out}");
}

#[test]
fn an_empty_file_is_no_history() {
    let folder = Folder::new("empty").with("h.edn", b"").with("log", b"INFO jepsen.core - starting\n");
    for (name, says) in [("h.edn", "error: h.edn: it holds no events"), ("log", "error: log:1: ")] {
        let (code, out, err) = folder.check(&[name]);
        assert_eq!((code, out.as_str()), (3, ""), "{name}");
        assert!(err.starts_with(says), "{err}");
    }
}

#[test]
fn a_folder_is_judged_file_by_file_and_a_bad_one_does_not_hide_the_others() {
    let folder = Folder::new("folder")
        .with("a/history.edn", STALE.as_bytes())
        .with("a/results.edn", b"{:valid? true}")
        .with("b/deep/h.jsonl", VALID.as_bytes())
        .with("b/cut.json", b"[{\"type\":")
        .with("b/notes.md", b"nothing");
    let (code, out, err) = folder.check(&["."]);
    assert_eq!(code, 3);
    assert!(err.contains("cut.json:1: the last line is cut off"), "{err}");
    let verdicts: Vec<&str> = out.lines().filter(|line| line.starts_with("./")).collect();
    assert_eq!(verdicts, ["./a/history.edn: violated", "./b/deep/h.jsonl: valid"], "{out}");
    let none = Folder::new("nothing").with("notes.md", b"nothing");
    let (code, _, err) = none.check(&["."]);
    assert_eq!(code, 3);
    assert!(err.starts_with("error: .: there is no history in this folder"), "{err}");
}

#[test]
fn several_models_are_several_checks_of_one_report() {
    let folder = Folder::new("models").with("h.edn", STALE.as_bytes());
    let (code, out, _) = folder.check(&["--model", "session,staleness", "--model", "register", "h.edn"]);
    assert_eq!(code, 1);
    for check in ["read your writes", "staleness", "linearizable"] {
        assert!(out.lines().any(|line| line.starts_with(&format!("  {check}: "))), "{check}: {out}");
    }
}

#[test]
fn hostile_and_broken_input_exits_with_3() {
    let deep = format!("{{:process 0 :type :ok :f :read :value {}", "[".repeat(1_000_000));
    let unmatched = "{:process 0 :type :ok :f :read :value 1}";
    let overlap = "{:process 0 :type :invoke :f :read}\n{:process 0 :type :invoke :f :read}";
    let odd_cas = "{:process 0 :type :invoke :f :cas :value 7}\n{:process 0 :type :ok :f :cas}";
    for (name, content, says) in [
        ("deep", deep.as_bytes(), "deep:1: column 139: values nest deeper than"),
        ("garbage", b"{\x00\xff\xfe[[", "garbage:1: "),
        ("binary", b"\x7fELF\x02\x01\x01\x00\xff\xff", "binary:1: "),
        ("unmatched", unmatched.as_bytes(), "unmatched:1: process 0 completed \"read\""),
        ("overlap", overlap.as_bytes(), "overlap:2: process 0 invoked \"read\" while"),
        ("cas", odd_cas.as_bytes(), "cas: line 1: a cas needs a value [old, new]"),
    ] {
        let (code, out, err) = Folder::new(&format!("broken-{name}")).with(name, content).check(&[name]);
        assert_eq!((code, out.as_str()), (3, ""), "{name}: {err}");
        assert!(err.starts_with(&format!("error: {says}")), "{name}: {err}");
    }
}

#[test]
fn bad_arguments_exit_with_3_and_help_with_0() {
    let folder = Folder::new("arguments");
    assert_eq!(folder.check(&[]).0, 3);
    assert_eq!(folder.check(&["--timeout", "soon", "x"]).0, 3);
    let (code, out, _) = folder.check(&["--help"]);
    assert_eq!(code, 0);
    assert!(out.contains("Exit codes: 0 every history is valid"), "{out}");
}

#[test]
fn options_change_what_nil_and_a_failed_cas_mean() {
    let folder = Folder::new("options").with("stale.edn", STALE.as_bytes());
    assert_eq!(folder.check(&["--nil", "unknown", "stale.edn"]).0, 0);
    let cas = "{:process 0 :type :invoke :f :write :value 1}{:process 0 :type :ok :f :write :value 1}\n\
               {:process 0 :type :invoke :f :cas :value [1 2]}{:process 0 :type :fail :f :cas :value [1 2]}";
    let folder = folder.with("cas.edn", cas.as_bytes());
    assert_eq!(folder.check(&["cas.edn"]).0, 0);
    assert_eq!(folder.check(&["--failed-cas", "check", "cas.edn"]).0, 1);
    let tuples = "{:process 0 :type :invoke :f :write :value [1 2]}{:process 0 :type :ok :f :write :value [1 2]}\n\
                  {:process 0 :type :invoke :f :read :value [3 nil]}{:process 0 :type :ok :f :read :value [3 nil]}";
    let folder = folder.with("tuples.edn", tuples.as_bytes());
    assert!(folder.check(&["tuples.edn"]).1.contains("on 2 keys"));
    let (_, out, _) = folder.check(&["--no-independent", "--model", "register", "tuples.edn"]);
    assert!(out.contains("on 1 key)"), "{out}");
}

#[test]
fn json_reports_are_one_line_each_and_the_same_every_time() {
    let folder = Folder::new("json").with("a.jsonl", LOST.as_bytes()).with("b.edn", STALE.as_bytes());
    let (code, out, _) = folder.check(&["--json", "a.jsonl", "b.edn"]);
    assert_eq!(code, 1);
    let reports: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[0]["verdict"], "violated");
    assert_eq!(reports[0]["checks"][0]["violations"][0]["anomaly"], "lost-write");
    assert_eq!(reports[0]["checks"][0]["violations"][0]["explanation"]["events"][0]["line"], 1);
    assert_eq!(folder.check(&["--json", "a.jsonl", "b.edn"]).1, out);
}

#[test]
fn a_report_is_a_page_with_results_and_drawings_for_each_history() {
    let folder = Folder::new("report").with("stale.edn", STALE.as_bytes()).with("h.jsonl", VALID.as_bytes());
    let (code, out, err) = folder.check(&["--report", "pages", "stale.edn", "h.jsonl", "absent.edn"]);
    assert_eq!(code, 3);
    assert!(out.starts_with("stale.edn: violated\n"), "{out}");
    assert!(err.contains("see pages/stale/index.html\n") && err.ends_with("see pages/index.html\n"), "{err}");
    let read = |file: &str| std::fs::read_to_string(folder.0.join("pages").join(file)).unwrap();
    assert!(read("stale/index.html").contains("<title>violated: stale.edn</title>"));
    assert!(read("stale/witness-1.svg").starts_with("<svg"));
    assert!(read("h/index.html").contains("<title>valid: h.jsonl</title>"));
    let results: serde_json::Value = serde_json::from_str(&read("stale/results.json")).unwrap();
    assert_eq!(results["checks"][0]["violations"][0]["anomaly"], "stale-read");
    let table = read("index.html");
    for says in
        ["3 histories", "href=\"stale/index.html\"", "absent.edn", "1 violated · 1 valid · 1 not judged"]
    {
        assert!(table.contains(says), "{says}: {table}");
    }
    let first = read("stale/index.html");
    assert_eq!(folder.check(&["--report", "pages", "stale.edn"]).0, 1);
    assert_eq!(read("stale/index.html"), first);
}

#[test]
fn a_report_that_cannot_be_written_exits_with_3() {
    let folder = Folder::new("unwritable").with("h.jsonl", VALID.as_bytes());
    let (code, out, err) = folder.check(&["--report", "h.jsonl", "h.jsonl"]);
    assert_eq!(code, 3);
    assert!(out.starts_with("h.jsonl: valid") && err.contains("cannot be written"), "{err}");
}

#[test]
fn staleness_is_told_in_figures_and_violated_only_beyond_a_bound() {
    let folder = Folder::new("staleness").with("stale.edn", STALE.as_bytes());
    let (code, out, _) = folder.check(&["--model", "staleness", "stale.edn"]);
    assert_eq!(code, 0);
    assert!(out.contains("1 of 1 reads stale, at most 1 write and 1 event behind"), "{out}");
    let (code, out, _) = folder.check(&["--model", "staleness", "--staleness-k-max", "0", "stale.edn"]);
    assert_eq!(code, 1);
    assert!(out.contains("stale read: process 1 read nil (line 4), 1 write behind"), "{out}");
    assert_eq!(folder.check(&["--model", "staleness", "--staleness-age-max", "1", "stale.edn"]).0, 2);
    let arguments = ["--json", "--model", "staleness", "--quorum", "3,1,2", "stale.edn"];
    let (_, out, _) = folder.check(&arguments);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["checks"][0]["figures"]["reads_stale"], 1);
    assert_eq!(folder.check(&arguments).1, out);
    assert_eq!(folder.check(&["--quorum", "3,4,1", "stale.edn"]).0, 3);
}

#[test]
fn the_end_of_registers_is_judged_when_the_latest_write_wins() {
    let history = r#"{"type":"invoke","process":0,"f":"write","key":"k","value":1}
{"type":"ok","process":0,"f":"write","key":"k"}
{"type":"invoke","process":0,"f":"write","key":"k","value":2}
{"type":"ok","process":0,"f":"write","key":"k"}
{"type":"invoke","process":1,"f":"read","key":"k","node":"n1","phase":"final"}
{"type":"ok","process":1,"f":"read","key":"k","node":"n1","phase":"final","value":1}
"#;
    let folder = Folder::new("latest").with("h.jsonl", history.as_bytes());
    assert_eq!(folder.check(&["--model", "convergence", "h.jsonl"]).0, 0);
    let (code, out, _) = folder.check(&["--model", "convergence", "--resolve", "latest", "h.jsonl"]);
    assert_eq!(code, 1);
    assert!(
        out.contains(
            "lost to an earlier write on key k: n1 ends with 1, though 2 was written later (line 3)"
        ),
        "{out}"
    );
}
