//! Causal consistency as users meet it: short histories, each with one bad pattern, and what is said of them.

use godown_jepsen::check::{self, Anomaly, Model, Options, Report, Verdict};
use godown_jepsen::generate::{Fault, Generator, Workload};
use godown_jepsen::history::History;

mod lines;
use lines::history;

fn judge(lines: &str) -> Report {
    check::run(&history(lines), Model::Causal, &Options::default()).unwrap()
}

/// The verdicts of CC, CCv and CM.
fn verdicts(report: &Report) -> [Verdict; 3] {
    let verdicts: Vec<Verdict> = report.checks.iter().map(|check| check.verdict).collect();
    verdicts.try_into().unwrap()
}

fn anomalies(report: &Report) -> Vec<Anomaly> {
    report.violations().map(|violation| violation.anomaly).collect()
}

const ALL_VALID: [Verdict; 3] = [Verdict::Valid; 3];
const ALL_VIOLATED: [Verdict; 3] = [Verdict::Violated; 3];

/// Places of the only violation's events.
fn told(report: &Report) -> Vec<u64> {
    assert_eq!(report.violations().count(), 1, "{report}");
    report.violations().flat_map(|violation| &violation.explanation.events).map(|place| place.index).collect()
}

#[test]
fn sessions_that_see_concurrent_writes_late_or_in_different_orders_of_keys_are_causal() {
    let report = judge(
        "0 w x 1
         1 w y 2
         2 r x 1
         2 r y -
         3 r y 2
         3 r x -
         2 r y 2
         3 r x 1",
    );
    assert_eq!(verdicts(&report), ALL_VALID, "{report}");
}

#[test]
fn an_answer_seen_without_its_question_is_a_missed_write() {
    let report = judge(
        "0 w x 1
         4 r z -
         1 r x 1
         1 w y 2
         2 r y 2
         2 r x -",
    );
    assert_eq!(verdicts(&report), ALL_VIOLATED, "{report}");
    assert_eq!(anomalies(&report), [Anomaly::WriteCoInitRead]);
    assert_eq!(told(&report), [0, 5, 6, 9, 11]);
    let text = report.to_string();
    let summary = "missed write on key x: process 2 read nothing of x (event 11), although before that process 0 \
                   wrote 1 to x (event 0)";
    assert!(text.contains(summary), "{text}");
    let step = "process 1 read 1 of x (event 5) before process 1 wrote 2 to y (event 6), because process 1 did them in this order";
    assert!(text.contains(step), "{text}");
}

#[test]
fn a_replaced_write_that_is_read_again_is_told_with_both_ways() {
    let report = judge(
        "0 w x 1
         1 r x 1
         1 w x 2
         1 w y 3
         2 r y 3
         2 r x 1",
    );
    assert_eq!(verdicts(&report), ALL_VIOLATED, "{report}");
    assert_eq!(anomalies(&report), [Anomaly::WriteCoRead]);
    let text = report.to_string();
    assert!(text.contains("although in between process 1 wrote 2 to x (event 4)"), "{text}");
    assert_eq!(told(&report), [0, 3, 4, 6, 9, 11]);
}

#[test]
fn sessions_that_read_what_the_other_writes_later_are_told_by_the_read_before_its_write() {
    // A cycle of causes: but time only goes on, so one of its reads was answered before its write began.
    let report = judge(
        "0 r x 2
         0 w y 1
         1 r y 1
         1 w x 2",
    );
    assert_eq!(verdicts(&report), ALL_VIOLATED, "{report}");
    assert_eq!(anomalies(&report), [Anomaly::FutureRead]);
    assert!(report.to_string().contains("but its write began only afterwards (event 6)"), "{report}");
}

#[test]
fn two_sessions_that_disagree_for_good_on_the_order_of_two_writes_are_not_convergent() {
    let report = judge(
        "0 w x 1
         1 w x 2
         0 r x 2
         1 r x 1",
    );
    // Each alone can order both writes: the other's after its own.
    assert_eq!(verdicts(&report), [Verdict::Valid, Verdict::Violated, Verdict::Valid], "{report}");
    assert_eq!(anomalies(&report), [Anomaly::CyclicCf]);
    let text = report.to_string();
    assert!(text.contains("no order of the writes explains all reads"), "{text}");
    let because = "process 0 wrote 1 to x (event 0) before process 1 wrote 2 to x (event 2), because the first is \
                   before process 0 read 2 of x (event 5), which shows the second";
    assert!(text.contains(because), "{text}");
}

#[test]
fn a_session_that_changes_its_mind_is_no_causal_memory() {
    let report = judge(
        "0 w x 1
         1 w x 2
         2 r x 1
         2 r x 2
         2 r x 1",
    );
    assert_eq!(verdicts(&report), [Verdict::Valid, Verdict::Violated, Verdict::Violated], "{report}");
    assert_eq!(anomalies(&report), [Anomaly::CyclicCf, Anomaly::CyclicHb]);
    assert!(report.to_string().contains("no order of the writes explains what process 2 read"), "{report}");
}

#[test]
fn a_write_that_a_session_must_put_before_what_it_read_is_missed_by_it() {
    let report = judge(
        "1 w x 1
         1 w y 2
         1 w x 3
         2 w y 4
         0 r y 4
         0 r x -
         0 r x 3
         0 r y 4",
    );
    assert_eq!(verdicts(&report)[0], Verdict::Valid, "{report}");
    assert_eq!(verdicts(&report)[2], Verdict::Violated, "{report}");
    assert!(anomalies(&report).contains(&Anomaly::WriteHbInitRead), "{report}");
    let text = report.to_string();
    assert!(
        text.contains("process 0 read nothing of x (event 11), although before that process 1 wrote 1 to x"),
        "{text}"
    );
}

#[test]
fn a_value_of_nobody_or_of_a_refused_write_comes_out_of_thin_air() {
    let nobody = judge("0 r x 7");
    assert_eq!(anomalies(&nobody), [Anomaly::ThinAirRead]);
    assert!(
        nobody.to_string().contains("process 0 read 7 (event 1), but nobody wrote that value"),
        "{nobody}"
    );
    let refused = judge(
        "0 w! x 7
         1 r x 7",
    );
    assert_eq!(anomalies(&refused), [Anomaly::AbortedRead]);
    assert!(refused.to_string().contains("process 1 read 7 (event 3), but its write was refused (event 1)"));
}

#[test]
fn a_write_of_unknown_outcome_counts_only_once_it_is_read_and_nothing_waits_for_it() {
    // The session went on after the unknown write: that write may take effect after the next one.
    let late = judge(
        "0 w x 0
         0 w? x 1
         0 w x 2
         1 r x 2
         1 r x 1",
    );
    assert_eq!(verdicts(&late), ALL_VALID, "{late}");
    // But not before what its session had seen.
    let early = judge(
        "0 w x 0
         0 w? x 1
         0 w x 2
         1 r x 1
         1 r x 0",
    );
    assert_eq!(anomalies(&early), [Anomaly::WriteCoRead], "{early}");
    let unread = judge(
        "0 w? x 1
         0 r x -",
    );
    assert_eq!(verdicts(&unread), ALL_VALID, "{unread}");
}

#[test]
fn a_key_with_repeated_values_is_unknown_and_the_others_are_judged() {
    let report = judge(
        "0 w x 1
         1 w x 1
         0 r y 5
         0 r x 1",
    );
    assert_eq!(anomalies(&report), [Anomaly::ThinAirRead]);
    let reason = &report.checks[0].unknowns[0].reason;
    assert!(reason.contains("1 is written twice (event 0 and event 2)"), "{reason}");
    let report = judge(
        "0 w x 1
         1 w x 1",
    );
    assert_eq!(verdicts(&report), [Verdict::Unknown; 3], "{report}");
}

#[test]
fn a_delete_makes_later_reads_of_nothing_unknown_and_is_a_write_otherwise() {
    let ambiguous = judge(
        "0 w x 1
         0 d x -
         1 r x -",
    );
    assert_eq!(verdicts(&ambiguous), [Verdict::Unknown; 3], "{ambiguous}");
    let earlier = judge(
        "1 r x -
         0 w x 1
         0 d x -",
    );
    assert_eq!(verdicts(&earlier), ALL_VALID, "{earlier}");
    let resurrected = judge(
        "0 w x 1
         0 d x -
         0 r x 1",
    );
    assert_eq!(anomalies(&resurrected), [Anomaly::WriteCoRead], "{resurrected}");
}

#[test]
fn a_list_of_one_value_is_that_value_and_siblings_are_unknown() {
    let read = |shown: &str| judge(&format!("0 w x 1\n0 w x 2\n1 r x {shown}"));
    assert_eq!(verdicts(&read("[2]")), ALL_VALID);
    assert_eq!(anomalies(&read("[3]")), [Anomaly::ThinAirRead]);
    let siblings = read("[1,2]");
    assert_eq!(verdicts(&siblings), [Verdict::Unknown; 3]);
    assert!(siblings.to_string().contains("shows 2 values side by side"), "{siblings}");
}

#[test]
fn steps_that_run_out_leave_causal_memory_unknown_alone() {
    let lines = "0 w x 1
         1 w x 2
         0 r x 2
         1 r x 2";
    let options = Options { steps_max: 0, ..Options::default() };
    let report = check::causal(&history(lines), &options).unwrap();
    assert_eq!(verdicts(&report), [Verdict::Valid, Verdict::Valid, Verdict::Unknown], "{report}");
    assert!(report.to_string().contains("0 steps were not enough"), "{report}");
}

/// Replicas that hear of each other's writes late, with a fault or without.
fn replicas(seed: u64, crash_percent: u32, fault: Option<Fault>) -> History {
    let workload = Workload::Causal { read_percent: 60, replicas: 3 };
    let shape = Generator { operations: 600, processes: 12, keys: 5, overlap: 6, ..Generator::of(workload) };
    let mut history = History::new("replicas");
    Generator { seed, crash_percent, fault, ..shape }.run(|event| history.push(event)).unwrap();
    history
}

#[test]
fn replicas_that_hear_of_each_other_in_causal_order_are_causal_and_convergent() {
    for seed in 1..40 {
        let history = replicas(seed, [0, 10][seed as usize % 2], None);
        let report = check::causal(&history, &Options::default()).unwrap();
        assert_eq!(verdicts(&report)[..2], [Verdict::Valid; 2], "seed {seed}: {report}");
        let report = check::session(&history, &Options::default()).unwrap();
        assert!(report.is_valid(), "seed {seed}: {report}");
    }
}

#[test]
fn each_fault_of_replicas_is_found_by_the_rules_that_it_breaks() {
    use Verdict::{Valid, Violated};
    for seed in 1..10 {
        for (fault, expected) in [
            (Fault::ThinAir, [Violated; 2]),
            (Fault::FailedWrite, [Violated; 2]),
            (Fault::ReadYourWrites, [Violated; 2]),
            (Fault::MonotonicReads, [Violated; 2]),
            (Fault::CausalReversal, [Violated; 2]),
            (Fault::CyclicOrder, [Violated; 2]),
            (Fault::Divergence, [Valid, Violated]),
        ] {
            let history = replicas(seed, 0, Some(fault));
            let report = check::causal(&history, &Options::default()).unwrap();
            assert_eq!(verdicts(&report)[..2], expected, "seed {seed} {fault:?}: {report}");
        }
        for (fault, place) in [(Fault::ReadYourWrites, 0), (Fault::MonotonicReads, 1)] {
            let history = replicas(seed, 0, Some(fault));
            let report = check::session(&history, &Options::default()).unwrap();
            assert_eq!(report.checks[place].verdict, Violated, "seed {seed} {fault:?}: {report}");
        }
    }
}
