//! The command line: what it prints, how it ends, and what it says to bad input.

use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_godown-sim")).args(args).output().expect("the simulator starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_campaign_ends_with_its_sums_and_success() {
    let output = sim(&["run", "--seeds", "0..5"]);
    let text = out(&output);
    assert!(output.status.success(), "{text}");
    let last = text.lines().last().expect("a line");
    assert!(last.starts_with("5 seeds, 0 failed; "), "{last}");
    assert!(last.contains(" core inputs, ") && last.contains(" simulated seconds"), "{last}");
}

#[test]
fn a_failing_seed_is_told_with_its_check_and_the_command_that_replays_it() {
    let output = sim(&["run", "--seeds", "0..3", "--plant", "ack-shows-unseen", "--jobs", "1"]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let replay = "  cargo sim replay 0 --world stepped --plant ack-shows-unseen";
    assert!(text.lines().any(|line| line == replay), "{text}");
    let words: Vec<&str> = replay.split_whitespace().skip(2).collect();
    let replayed = sim(&words);
    assert_eq!(replayed.status.code(), Some(1));
    let told = text.lines().next().and_then(|line| line.strip_prefix("seed 0 ")).expect("a failure");
    assert!(out(&replayed).contains(told), "{}", out(&replayed));
}

#[test]
fn failures_come_in_the_order_of_seeds_however_many_run_at_once() {
    let args = |jobs| ["run", "--seeds", "0..12", "--plant", "join-drops-concurrent", "--jobs", jobs];
    let told = |output: Output| {
        out(&output).lines().filter(|line| line.starts_with("seed")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (one, four) = (told(sim(&args("1"))), told(sim(&args("4"))));
    assert_eq!(one, four);
    assert!(one.len() > 5, "{one:?}");
}

#[test]
fn a_replay_tells_the_scenario_and_with_a_trace_every_event() {
    let plain = out(&sim(&["replay", "7"]));
    assert!(plain.starts_with("seed 7: ") && plain.ends_with("every check holds\n"), "{plain}");
    let traced = out(&sim(&["replay", "7", "--trace"]));
    assert!(traced.contains("n1 starts as ") && traced.contains(" is called ("), "{traced}");
    let digest = |text: &str| text.lines().find(|line| line.starts_with("digest ")).map(str::to_owned);
    assert_eq!(digest(&plain), digest(&traced));
}

#[test]
fn a_replay_writes_the_history_for_the_checker() {
    let path = std::env::temp_dir().join(format!("godown-sim-history-{}.jsonl", std::process::id()));
    let name = path.to_string_lossy().into_owned();
    assert!(sim(&["replay", "7", "--history", &name]).status.success());
    let file = std::io::BufReader::new(std::fs::File::open(&path).expect("it was written"));
    let history = godown_jepsen::history::History::from_lines(&name, file).expect("it can be read");
    std::fs::remove_file(&path).expect("it is there");
    let report = godown_jepsen::check::siblings(&history).expect("it can be judged");
    assert!(report.is_valid(), "{report}");
}

#[test]
fn the_planted_bugs_are_listed_with_what_they_do() {
    let text = out(&sim(&["plants"]));
    for plant in godown_core::Plant::ALL {
        assert!(text.contains(plant.name()) && text.contains(plant.says()), "{text}");
    }
}

#[test]
fn bad_input_is_told_with_the_choices() {
    let cases = [
        (&["run", "--seeds", "5"][..], "first..end"),
        (&["run", "--seeds", "a..b"], "first..end"),
        (&["run", "--seeds", "5..5"], "there is no seed in 5..5"),
        (&["run", "--seeds", "0..1", "--world", "flat"], "there are stepped and madnet"),
        (&["run", "--seeds", "0..1", "--plant", "no-bug"], "ack-before-sync"),
        (&["run", "--seeds", "0..1", "--check", "never"], "every or sampled"),
    ];
    for (args, words) in cases {
        let output = sim(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(words), "{args:?}: {text}");
    }
}
