//! Histories that others recorded and judged: this checker must agree.
//!
//! They lie beside the repository, not in it, because they are not ours to publish; where they are absent these
//! tests say so and pass. The tables name each file and what its own checker said.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use godown_jepsen::check::{self, FailedCas, Model, Nil, Options, Verdict};
use godown_jepsen::history::{Format, History, Load};

/// The folder of known histories, if this machine has it.
fn known() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/histories"));
    if folder.is_dir() {
        return Some(folder);
    }
    // Written past the harness, which swallows what a passing test prints, and in one piece.
    let skipped =
        format!("SKIPPED: {} is absent, so nothing was compared with known verdicts\n", folder.display());
    let _ = std::io::stderr().write_all(skipped.as_bytes());
    None
}

/// The rows of a table that are about files under `prefix`: file and whether it is valid.
fn table(folder: &Path, name: &str, prefix: &str) -> BTreeMap<String, bool> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let rows = text.lines().skip(1).filter(|line| line.starts_with(prefix)).map(|line| {
        let mut columns = line.split('\t');
        let file = columns.next().unwrap().to_owned();
        (file, columns.nth(1).unwrap().starts_with("true"))
    });
    rows.collect()
}

#[track_caller]
fn agrees(path: &Path, model: Model, options: &Options, is_valid: bool) {
    let history = Load::default().path(path).unwrap();
    let report = check::run(&history, model, options).unwrap();
    let expected = if is_valid { Verdict::Valid } else { Verdict::Violated };
    assert_eq!(report.verdict, expected, "{options:?}\n{report}");
}

#[test]
fn porcupines_etcd_logs_get_porcupines_verdicts() {
    let Some(folder) = known() else { return };
    let table = table(&folder, "porcupine/EXPECTED.tsv", "porcupine/etcd-2015/");
    assert!(table.len() > 60, "{}", table.len());
    for (file, is_valid) in table {
        for failed_cas in [FailedCas::Ignore, FailedCas::Check] {
            let options = Options { failed_cas, ..Options::default() };
            agrees(&folder.join(&file), Model::Register, &options, is_valid);
            let twin = Path::new(&file).file_stem().unwrap().to_str().unwrap();
            agrees(&folder.join(format!("etcd-2015-edn/{twin}.edn")), Model::Register, &options, is_valid);
        }
    }
}

#[test]
fn a_log_and_its_edn_twin_hold_the_same_operations() {
    let Some(folder) = known() else { return };
    for file in table(&folder, "porcupine/EXPECTED.tsv", "porcupine/etcd-2015/").into_keys() {
        let name = Path::new(&file).file_stem().unwrap().to_str().unwrap().to_owned();
        let log = Load::default().path(folder.join(&file)).unwrap();
        let edn = Load::default().path(folder.join(format!("etcd-2015-edn/{name}.edn"))).unwrap();
        let shown = |history: &History| -> Vec<_> {
            let operations = history.operations().unwrap();
            let show = |o: &godown_jepsen::history::Operation| {
                let f = history.word(o.f).to_owned();
                (o.invoked, f, history.value(o.argument), o.outcome, o.completed())
            };
            operations.iter().map(show).collect()
        };
        assert_eq!(shown(&log), shown(&edn), "{name}");
    }
}

#[test]
fn knossos_cas_registers_get_knossos_verdicts() {
    let Some(folder) = known() else { return };
    let table = table(&folder, "knossos/EXPECTED.tsv", "knossos/cas-register/");
    assert!(table.len() > 70, "{}", table.len());
    for (file, is_valid) in table {
        for nil in [Nil::Unknown, Nil::Absent] {
            let options = Options { nil, ..Options::default() };
            agrees(&folder.join(&file), Model::Register, &options, is_valid);
        }
    }
}

#[test]
fn what_fits_no_model_is_unknown_and_never_judged_by_the_wrong_one() {
    let Some(folder) = known() else { return };
    for file in [
        "knossos/multi-register/good/multi-register.edn",
        "elle-cli/jepsen/bank.edn",
        "elle-cli/jepsen/bank-neg.edn",
        "elle-cli/jepsen/bank-negative-balances.json",
        "elle-cli/jepsen/long-fork.edn",
        "elle-cli/elle/paper-example.json",
    ] {
        let history = Load::default().path(folder.join(file)).unwrap();
        assert!(!history.is_empty(), "{file}");
        let report = check::auto(&history, &Options::default()).unwrap();
        assert_eq!(report.verdict, Verdict::Unknown, "{report}");
    }
}

#[test]
fn every_known_history_survives_being_rewritten_as_json_lines() {
    let Some(folder) = known() else { return };
    for file in [
        "knossos/cas-register/good/memstress3-0.edn",
        "elle-cli/jepsen/bank.edn",
        "elle-cli/jepsen/set_full.json",
    ] {
        let history = Load::default().path(folder.join(file)).unwrap();
        let mut lines = Vec::new();
        history.to_lines(&mut lines).unwrap();
        let again = Load { format: Format::Lines, ..Load::default() }.bytes(file, &lines).unwrap();
        assert_eq!(again.len(), history.len());
        for (again, event) in again.iter().zip(history.iter()) {
            // JSON knows text keys only, so maps with other keys come back with their text.
            assert_eq!(again.to_event().to_line(), event.to_event().to_line(), "{file}");
        }
    }
}

#[test]
fn porcupines_key_value_traces_get_porcupines_verdicts() {
    let Some(folder) = known() else { return };
    let table = table(&folder, "porcupine/EXPECTED.tsv", "porcupine/kv/");
    assert_eq!(table.len(), 6);
    for (file, is_valid) in table {
        agrees(&folder.join(&file), Model::Kv, &Options::default(), is_valid);
        // Some clients write the same twice: that is searched where the verdict hangs on it.
        let history = Load::default().path(folder.join(&file)).unwrap();
        let report = check::run(&history, Model::Kv, &Options::default()).unwrap();
        assert!(report.checks[0].unknowns.is_empty() || !is_valid, "{report}");
        let is_left = |unknown: &check::Unknown| unknown.reason.contains("orders were not tried");
        assert!(report.checks[0].unknowns.iter().all(is_left), "{report}");
    }
}

#[test]
fn elles_sets_and_counters_get_jepsens_verdicts() {
    let Some(folder) = known() else { return };
    let mut judged = 0;
    for (model, name) in [(Model::Set, "set"), (Model::Counter, "counter")] {
        for (file, is_valid) in table(&folder, "elle-cli/EXPECTED.tsv", &format!("jepsen/{name}")) {
            agrees(&folder.join("elle-cli").join(&file), model, &Options::default(), is_valid);
            judged += 1;
        }
    }
    assert_eq!(judged, 5);
    let history = Load::default().path(folder.join("elle-cli/jepsen/set_full.edn")).unwrap();
    let report = check::run(&history, Model::Set, &Options::default()).unwrap();
    assert_eq!(report.checks[0].figures["set-full"]["lost-count"], 293);
}
