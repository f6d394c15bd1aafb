//! Session guarantees as users meet them: short histories, and what is said of each guarantee.

use godown_jepsen::check::{self, Anomaly, Model, Options, Report, Verdict};

mod lines;
use lines::history;

fn judge(lines: &str) -> Report {
    check::run(&history(lines), Model::Session, &Options::default()).unwrap()
}

/// The verdicts of read your writes, monotonic reads, monotonic writes, writes follow reads.
fn verdicts(report: &Report) -> [Verdict; 4] {
    let verdicts: Vec<Verdict> = report.checks.iter().map(|check| check.verdict).collect();
    verdicts.try_into().unwrap()
}

/// Asserts that this anomaly is the only one.
fn is_only(report: &Report, anomaly: Anomaly) {
    let anomalies: Vec<Anomaly> = report.violations().map(|violation| violation.anomaly).collect();
    assert_eq!(anomalies, [anomaly], "{report}");
}

fn places(report: &Report) -> Vec<u64> {
    report.violations().flat_map(|violation| &violation.explanation.events).map(|place| place.index).collect()
}

use Verdict::{Unknown, Valid, Violated};

#[test]
fn single_values_that_fit_one_order_of_writes_keep_all_guarantees() {
    let report = judge(
        "0 w x 1
         1 w x 2
         0 r x 2
         1 r x 2
         2 r x 1
         2 r x 2
         3 r y -",
    );
    assert_eq!(verdicts(&report), [Valid; 4], "{report}");
    assert_eq!(report.checks[0].figures["orders_told_by_reads_alone"], 1);
}

#[test]
fn a_session_that_reads_nothing_after_its_write_does_not_read_its_writes() {
    let report = judge(
        "0 w x 1
         0 r x -",
    );
    is_only(&report, Anomaly::ReadYourWrites);
    assert_eq!(verdicts(&report)[0], Violated);
    let text = report.to_string();
    assert!(
        text.contains(
            "process 0 read nothing of x (event 3), although before that process 0 wrote 1 to x (event 0)"
        ),
        "{text}"
    );
}

#[test]
fn a_session_that_reads_its_own_earlier_write_does_not_read_its_writes() {
    let report = judge(
        "0 w x 1
         0 w x 2
         0 r x 1",
    );
    is_only(&report, Anomaly::ReadYourWrites);
    assert_eq!(places(&report), [0, 2, 5], "{report}");
}

#[test]
fn a_write_of_unknown_outcome_need_not_be_read() {
    let report = judge(
        "0 w x 1
         0 w? x 2
         0 r x 1",
    );
    assert_eq!(verdicts(&report), [Valid; 4], "{report}");
}

#[test]
fn a_session_that_reads_an_older_value_again_goes_back() {
    let report = judge(
        "0 w x 1
         1 w x 2
         2 r x 1
         2 r x 2
         2 r x 1",
    );
    is_only(&report, Anomaly::MonotonicReads);
    assert_eq!(verdicts(&report), [Valid, Violated, Unknown, Unknown], "{report}");
    assert!(report.to_string().contains("it can only be told where monotonic reads are kept"), "{report}");
}

#[test]
fn a_session_that_sees_a_later_write_must_see_what_its_writer_wrote_before() {
    let report = judge(
        "0 w x 1
         0 w y 2
         1 r y 2
         1 r x -",
    );
    is_only(&report, Anomaly::MonotonicWrites);
    assert_eq!(verdicts(&report), [Valid, Valid, Violated, Unknown], "{report}");
}

#[test]
fn a_session_that_sees_an_answer_must_see_what_its_writer_had_read() {
    let report = judge(
        "0 w x 1
         1 r x 1
         1 w y 2
         2 r y 2
         2 r x -",
    );
    is_only(&report, Anomaly::WritesFollowReads);
    assert_eq!(verdicts(&report), [Valid, Valid, Valid, Violated], "{report}");
}

#[test]
fn repeated_values_leave_their_key_unknown_for_every_guarantee() {
    let report = judge(
        "0 w x 1
         1 w x 1
         0 r x 1",
    );
    assert_eq!(verdicts(&report), [Unknown; 4], "{report}");
}

#[test]
fn siblings_that_had_seen_each_other_keep_all_guarantees() {
    let report = judge(
        "0 w x 1 []
         1 r x [1]
         1 w x 2 [1]
         2 w x 3 []
         0 r x [2]
         2 r x [2,3]
         1 r x [3,2]",
    );
    assert_eq!(verdicts(&report), [Valid; 4], "{report}");
}

#[test]
fn siblings_without_ones_own_write_or_what_replaced_it_break_read_your_writes() {
    let report = judge(
        "0 w x 1 []
         1 w x 2 []
         0 r x [2]",
    );
    is_only(&report, Anomaly::ReadYourWrites);
    assert_eq!(places(&report), [0, 1, 5], "{report}");
    let text = report.to_string();
    assert!(text.contains("because its own session wrote that before"), "{text}");
    let replaced = judge(
        "0 w x 1 []
         1 w x 2 [1]
         2 w x 3 [2]
         0 r x [3]",
    );
    assert_eq!(verdicts(&replaced), [Valid; 4], "{replaced}");
}

#[test]
fn a_delete_that_had_seen_a_write_explains_its_absence() {
    let report = judge(
        "0 w x 1 []
         1 d x 100 [1]
         0 r x []",
    );
    assert_eq!(verdicts(&report), [Valid; 4], "{report}");
    // But what the delete had replaced cannot be shown by who knows the delete.
    let report = judge(
        "0 w x 1 []
         1 d x 100 [1]
         1 r x [1]",
    );
    is_only(&report, Anomaly::ReadYourWrites);
}

#[test]
fn a_sibling_shown_once_and_then_lost_goes_back() {
    let report = judge(
        "0 w x 1 []
         1 w x 2 []
         2 r x [1,2]
         2 r x [2]",
    );
    is_only(&report, Anomaly::MonotonicReads);
    assert_eq!(places(&report), [0, 5, 7], "{report}");
}

#[test]
fn a_blind_write_shown_without_its_sessions_earlier_write_breaks_monotonic_writes() {
    let report = judge(
        "0 w x 1 []
         0 w x 2 []
         1 w x 3 [2]
         2 r x [3]",
    );
    is_only(&report, Anomaly::MonotonicWrites);
    let text = report.to_string();
    assert!(text.contains("process 1 wrote 3 (event 4) knew that process 0 wrote 2 (event 2)"), "{text}");
}

#[test]
fn a_blind_write_shown_without_what_its_session_had_read_breaks_writes_follow_reads() {
    let report = judge(
        "0 w x 1 []
         1 r x [1]
         1 w x 2 []
         2 r x [2]",
    );
    is_only(&report, Anomaly::WritesFollowReads);
    assert_eq!(places(&report), [0, 3, 4, 7], "{report}");
}

#[test]
fn unknown_writes_of_siblings_oblige_nobody_but_what_is_shown_obliges_to_what_came_before() {
    let unread = judge(
        "0 w? x 1 []
         0 r x []",
    );
    assert_eq!(verdicts(&unread), [Valid; 4], "{unread}");
    let shown = judge(
        "0 w x 1 []
         0 w? x 2 []
         1 r x [2]",
    );
    is_only(&shown, Anomaly::MonotonicWrites);
}

#[test]
fn a_session_that_sees_two_writes_of_another_the_wrong_way_round_goes_back() {
    let report = judge(
        "0 w x 1
         0 w x 2
         1 r x 2
         1 r x 1",
    );
    is_only(&report, Anomaly::MonotonicReads);
    assert_eq!(places(&report), [0, 2, 5, 7], "{report}");
}
