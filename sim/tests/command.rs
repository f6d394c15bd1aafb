//! The command line: what it prints, how it ends, and what it says to bad input.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use godown_core::Plant;
use godown_sim::campaign;
use godown_sim::scenario::Scenario;
use godown_sim::world::Options;

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_godown-sim")).args(args).output().expect("the simulator starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
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

/// The first seed that finds the planted bug that is found soonest.
fn failing() -> u64 {
    let options = Options { plants: vec![Plant::AckShowsUnseen], ..Options::default() };
    let fails = |seed: &u64| campaign::run_one(&Scenario::draw(*seed), &options).broke().is_some();
    (0..50).find(fails).expect("it is found soon")
}

const PLANT: &str = "ack-shows-unseen";

#[test]
fn a_failing_seed_is_told_with_its_check_and_the_command_that_replays_it() {
    let seed = failing();
    let seeds = format!("{seed}..{}", seed + 2);
    let output = sim(&["run", "--seeds", &seeds, "--plant", PLANT, "--jobs", "1"]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let replay = format!("  cargo sim replay {seed} --world stepped --plant {PLANT}");
    assert!(text.lines().any(|line| line == replay), "{text}");
    let words: Vec<&str> = replay.split_whitespace().skip(2).collect();
    let replayed = sim(&words);
    assert_eq!(replayed.status.code(), Some(1));
    let told = text.lines().next().and_then(|line| line.strip_prefix(&format!("seed {seed} ")));
    assert!(out(&replayed).contains(told.expect("a failure")), "{}", out(&replayed));
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
    let mut file = std::fs::File::open(&path).expect("it was written");
    let history = godown_jepsen::history::History::from_lines(&name, &mut file).expect("it can be read");
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

/// A folder of this test's own, gone when it is done.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("godown-sim-{name}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("it can be made");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_failing_seed_is_shrunk_kept_replayed_and_drawn() {
    let scratch = Scratch::new("shrink");
    let (kept, page) = (scratch.file("kept.toml"), scratch.file("page.html"));
    let seed = failing().to_string();
    let shrunk = sim(&["shrink", &seed, "--plant", PLANT, "--save", &kept, "--about", "a test"]);
    assert!(shrunk.status.success(), "{}", out(&shrunk));
    assert!(out(&shrunk).contains("shrunk to "), "{}", out(&shrunk));
    let replayed = sim(&["replay", &kept, "--html", &page]);
    assert_eq!(replayed.status.code(), Some(1), "the file names the planted bug: {}", out(&replayed));
    assert!(fs::read_to_string(&kept).expect("it was written").contains("about = \"a test\""));
    let html = fs::read_to_string(&page).expect("it was written");
    assert!(html.contains("</html>") && html.contains(PLANT), "{} bytes", html.len());
    let forked = sim(&["replay", &kept, "--fork", "0s", "--fork", "100s", "--forks", "5"]);
    let text = out(&forked);
    assert_eq!(forked.status.code(), Some(1), "{text}");
    let last = text.lines().last().expect("a line");
    assert!(last.contains("100.0 %"), "at the end it is inevitable: {text}");
    assert!(out(&sim(&["replay", "7", "--fork", "all"])).contains("no failure to look for"));
}

#[test]
fn a_campaign_is_kept_taken_up_again_and_added_up() {
    let scratch = Scratch::new("folder");
    let runs = scratch.file("runs");
    let first_seed = failing();
    let seeds = format!("{first_seed}..{}", first_seed + 6);
    let args = ["run", "--seeds", &seeds, "--run-dir", &runs, "--plant", PLANT];
    let first = sim(&[&args[..], &["--failures-max", "1", "--jobs", "1"]].concat());
    assert_eq!(first.status.code(), Some(1), "{}", out(&first));
    let lines = || fs::read_to_string(format!("{runs}/seeds.jsonl")).expect("it is there");
    assert_eq!(lines().lines().count(), 1, "{}", lines());
    assert!(fs::metadata(format!("{runs}/failures/seed-{first_seed}.toml")).is_ok());
    // As if the machine had stopped in the middle of a line.
    fs::write(format!("{runs}/seeds.jsonl"), lines() + "{\"seed\": 1, \"dig").expect("it can be written");
    let again = sim(&args);
    assert_eq!(again.status.code(), Some(2), "it is there already");
    assert!(err(&again).contains("--resume"), "{}", err(&again));
    let resumed = sim(&[&args[..], &["--resume"]].concat());
    assert!(out(&resumed).contains("1 of these seeds were run before"), "{}", out(&resumed));
    let kept: Vec<String> =
        lines().lines().map(|line| line[..line.find(',').unwrap_or(0)].to_owned()).collect();
    let due = first_seed..first_seed + 6;
    assert_eq!(kept, due.map(|seed| format!("{{\"seed\":{seed}")).collect::<Vec<_>>());
    let summed = sim(&["sum", &runs]);
    assert!(
        out(&summed).lines().last().is_some_and(|line| line.starts_with("6 seeds, ")),
        "{}",
        out(&summed)
    );
    let other = sim(&["run", "--seeds", "0..7", "--run-dir", &runs, "--resume"]);
    assert!(err(&other).contains("holds another campaign"), "{}", err(&other));
    fs::write(format!("{runs}/seeds.jsonl"), "nonsense\n").expect("it can be written");
    assert!(err(&sim(&["sum", &runs])).contains("seeds.jsonl, line 1"));
}

#[test]
fn shards_are_the_whole_together() {
    let scratch = Scratch::new("shards");
    let (one, two) = (scratch.file("one"), scratch.file("two"));
    for (shard, folder) in [("0/2", &one), ("1/2", &two)] {
        assert!(sim(&["run", "--seeds", "0..7", "--shard", shard, "--run-dir", folder]).status.success());
    }
    let summed = out(&sim(&["sum", &one, &two]));
    let whole = out(&sim(&["run", "--seeds", "0..7"]));
    let sums = |text: &str| {
        let last = text.lines().last().unwrap_or_default();
        last.split(';').take(2).collect::<Vec<_>>().join(";")
    };
    assert_eq!(sums(&summed), sums(&whole));
    assert!(err(&sim(&["sum", &one, &one])).contains("in another folder"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_campaign_says_what_it_has_done() {
    use std::io::BufRead as _;
    let scratch = Scratch::new("interrupted");
    let runs = scratch.file("runs");
    let mut child = Command::new(env!("CARGO_BIN_EXE_godown-sim"))
        .args(["run", "--minutes", "60", "--run-dir", &runs, "--plant", PLANT])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the simulator starts");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("it is piped")).lines();
    // The first failing seed shows that it is under way.
    assert!(lines.next().is_some());
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill is there").success());
    let rest: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert!(rest.last().is_some_and(|line| line.starts_with("interrupted: ")), "{rest:?}");
    let kept = fs::read_to_string(format!("{runs}/seeds.jsonl")).expect("it is there").lines().count();
    let sum = &rest[rest.len() - 2];
    assert!(sum.starts_with(&format!("{kept} seeds, ")), "{kept} lines are kept: {sum}");
}

#[test]
fn faults_and_nodes_can_be_chosen() {
    let told = out(&sim(&["replay", "3", "--nodes", "9", "--faults", "wipe,partition"]));
    assert!(told.starts_with("seed 3: 9 nodes"), "{told}");
    let kinds: Vec<&str> =
        told.lines().filter_map(|line| line.trim().strip_prefix("at ")?.split(": ").nth(1)).collect();
    assert!(kinds.iter().all(|kind| kind.starts_with("wipe") || kind.starts_with("partition")), "{told}");
    assert!(!kinds.is_empty(), "{told}");
    let usual = out(&sim(&["replay", "3"]));
    assert_eq!(out(&sim(&["replay", "3", "--faults", "all"])), usual);
    assert_ne!(out(&sim(&["replay", "3", "--faults", "pause"])), usual);
}

#[test]
fn expiry_and_upgrades_are_asked_for_like_faults() {
    let words = ["some of what is written expires", "only the oldest version of frames until upgraded"];
    let both = out(&sim(&["replay", "5", "--faults", "ttl,upgrade"]));
    assert!(words.iter().all(|words| both.contains(words)), "{both}");
    let neither = out(&sim(&["replay", "5", "--faults", "pause"]));
    assert!(words.iter().all(|words| !neither.contains(words)), "{neither}");
    let failed = sim(&["run", "--seeds", "0..40", "--faults", "ttl", "--plant", "expired-shown"]);
    assert!(out(&failed).contains("--faults ttl"), "{}", out(&failed));
    assert!(out(&sim(&["faults"])).contains("\nttl "));
}

#[test]
fn a_reckless_campaign_succeeds_when_losses_are_seen() {
    let output = sim(&["run", "--seeds", "0..60", "--reckless"]);
    assert!(output.status.success(), "{}", out(&output));
    assert!(out(&output).contains("--reckless"), "{}", out(&output));
    let calm = sim(&["run", "--seeds", "0..5", "--reckless", "--faults", "pause"]);
    assert_eq!(calm.status.code(), Some(1), "a pause loses nothing: {}", out(&calm));
    assert!(out(&calm).contains("none was seen to lose"), "{}", out(&calm));
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
        (&["run"], "--minutes 5"),
        (&["run", "--seeds", "0..1", "--minutes", "0"], "more than 0"),
        (&["run", "--seeds", "0..1", "--shard", "2/2"], "is no shard"),
        (&["run", "--seeds", "0..1", "--nodes", "2"], "3 at least"),
        (&["run", "--seeds", "0..1", "--nodes", "few"], "is no number of nodes"),
        (&["run", "--seeds", "0..1", "--faults", "rain"], "there are partition"),
        (&["replay", "no-such-file.toml"], "neither a seed nor a scenario"),
        (&["shrink", "7"], "breaks no check"),
        (&["replay", "7", "--fork", "soon"], "or all"),
        (&["sum", "no-such-folder"], "is no run folder"),
        (&["score", "--plant", "no-bug"], "ack-before-sync"),
    ];
    for (args, words) in cases {
        let output = sim(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(words), "{args:?}: {text}");
    }
}
