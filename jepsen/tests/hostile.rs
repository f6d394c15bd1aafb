//! Whatever a file holds, reading and judging it ends, in a verdict or in an error that names its place.
//!
//! Small histories in every notation are broken in the ways in which files break (cut off, bytes turned, pieces lost,
//! doubled, swapped between notations), many thousand times from a fixed seed.

use std::time::Duration;

use godown_jepsen::check::{self, Model, Options, Resolve};
use godown_jepsen::history::{Format, Load};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

const SAMPLES: [&str; 8] = [
    "{:type :invoke, :f :write, :value 3, :time 11, :process 0, :index 0}\n\
     {:type :ok, :f :write, :value 3, :time 12, :process 0, :index 1}\n\
     {:type :invoke, :f :cas, :value [3 4], :time 13, :process 1, :index 2}\n\
     {:type :info, :f :cas, :value [3 4], :time 14, :process 1, :index 3, :error [:timed-out \"a \\\"b\\\"\"]}\n\
     {:type :invoke, :f :read, :value nil, :time 15, :process 2, :index 4}\n\
     {:type :ok, :f :read, :value 4, :time 16, :process 2, :index 5}\n",
    "; a vector\n[{:type :invoke :f :read :value [7 nil] :process 0}\n {:type :ok :f :read :value [7 1] :process 0}\n\
     #jepsen.history.Op{:type :info :f :start :process :nemesis :value #{\"n1\" \"n2\"} :index nil :time -1}\n\
     {:type :invoke :f :write :value [7 {:a (1 2.5 ##NaN 1N \\a)}] :process 1} #_ dropped]\n",
    "{\"index\":0,\"time\":5,\"type\":\"invoke\",\"process\":3,\"f\":\"write\",\"key\":\"k\",\"value\":17,\"seen\":[12,\"d1\"]}\n\
     {\"type\":\"info\",\"process\":3,\"f\":\"write\",\"key\":\"k\",\"error\":\"time\\u006fut\"}\n\
     {\"type\":\"invoke\",\"process\":4,\"f\":\"read\",\"key\":\"k\",\"phase\":\"final\",\"node\":\"n1\"}\n\
     {\"type\":\"ok\",\"process\":4,\"f\":\"read\",\"key\":\"k\",\"value\":[17],\"phase\":\"final\",\"node\":\"n1\"}\n",
    "[{\"type\":\"invoke\",\"f\":\"add\",\"process\":0,\"value\":1},\n{\"type\":\"ok\",\"f\":\"add\",\"process\":0,\"value\":1},\n\
     {\"type\":\"invoke\",\"f\":\"read\",\"process\":1},\n{\"type\":\"ok\",\"f\":\"read\",\"process\":1,\"value\":{\"a\":[1,null]}}]",
    "INFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]\nINFO  jepsen.util - 3\t:info\t:cas\t:timed-out\n\
     INFO  jepsen.util - :nemesis\t:info\t:start\tnil\nINFO  jepsen.util - 4\t:invoke\t:read\tnil\n",
    "{:process 9, :type :invoke, :f :append, :key \"0\", :value \"x 9 0 y\"}\n\
     {:process 9, :type :ok, :f :append, :key \"0\", :value \"x 9 0 y\"}\n\
     {:process 1, :type :invoke, :f :get, :key \"0\", :value nil}\n\
     {:process 1, :type :ok, :f :get, :key \"0\", :value \"x 9 0 y\"}\n",
    "{:type :invoke :f :txn :process 0 :value [[:r :x nil] [:append :y 1]]}\n{:type :ok :f :txn :process 0 :value [[:r :x [1]] [:append :y 1]]}\n",
    "{:type :invoke :f :enqueue :process 0 :value 1}{:type :ok :f :enqueue :process 0 :value 1}\
     {:type :invoke :f :dequeue :process 1}{:type :ok :f :dequeue :process 1 :value 1}",
];

/// Pieces that mean something somewhere.
const PIECES: [&str; 26] = [
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "#{",
    "#_",
    "\"",
    "\\",
    ":",
    ",",
    ";",
    "\n",
    " nil ",
    " null ",
    "-",
    "99999999999999999999",
    "##",
    "\u{feff}",
    "\u{0}",
    " :process 18446744073709551615 ",
    " 9223372036854775807 ",
    " -9223372036854775808 ",
    " :value ",
    ":type :ok",
];

fn broken(luck: &mut Luck) -> Vec<u8> {
    let mut bytes = SAMPLES[luck.below(SAMPLES.len())].as_bytes().to_vec();
    for _ in 0..=luck.below(4) {
        let (a, b) = (luck.below(bytes.len() + 1), luck.below(bytes.len() + 1));
        let (begin, end) = (a.min(b), a.max(b));
        match luck.below(7) {
            0 => bytes.truncate(end),
            1 => drop(bytes.drain(begin..end.min(begin + 12))),
            2 => {
                let copy = bytes[begin..end].to_vec();
                bytes.splice(a..a, copy);
            }
            3 if end < bytes.len() => bytes[end] ^= 1 << luck.below(8),
            4 => {
                let other = SAMPLES[luck.below(SAMPLES.len())].as_bytes();
                let cut = luck.below(other.len());
                bytes.splice(begin..end, other[cut..].iter().copied());
            }
            _ => {
                let piece = PIECES[luck.below(PIECES.len())];
                let count = 1 + luck.below(3);
                bytes.splice(a..a, piece.repeat(count).into_bytes());
            }
        }
        bytes.truncate(4_096);
    }
    bytes
}

#[test]
fn a_broken_file_ends_in_a_verdict_or_in_an_error_that_names_it() {
    let count = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let formats = [Format::Auto, Format::Edn, Format::Json, Format::Lines, Format::Log];
    let options = Options {
        steps_max: 10_000,
        configurations_max: 1_000,
        timeout: Some(Duration::from_secs(5)),
        resolve: Resolve::Latest,
        staleness_k_max: Some(1),
        ..Options::default()
    };
    let mut luck = Luck(7);
    let (mut read, mut judged, mut refused) = (0, 0, 0);
    for number in 0..count {
        let bytes = broken(&mut luck);
        let load = Load { format: formats[luck.below(formats.len())], ..Load::default() };
        match load.bytes("h", &bytes) {
            Err(error) => {
                refused += 1;
                assert!(error.to_string().starts_with("h:"), "{number}: {error}");
            }
            Ok(history) => {
                read += 1;
                // A row for every few bytes, and tables that may be half empty.
                assert!(history.footprint() < 64 * bytes.len() + 65_536, "{number}: {}", history.footprint());
                // Rules that a history does not ask for have to end as well.
                let models = [
                    Model::Auto,
                    Model::Auto,
                    Model::Register,
                    Model::Siblings,
                    Model::Set,
                    Model::Counter,
                    Model::Queue,
                    Model::TotalQueue,
                    Model::Kv,
                    Model::Causal,
                    Model::Session,
                    Model::Staleness,
                    Model::Convergence,
                ];
                match check::run(&history, models[luck.below(models.len())], &options) {
                    Ok(report) => {
                        judged += 1;
                        assert!(report.to_string().starts_with("h: "), "{number}: {report}");
                    }
                    Err(error) => assert!(error.to_string().starts_with("h:"), "{number}: {error}"),
                }
            }
        }
    }
    assert!(read > count / 20 && judged > count / 50 && refused > count / 5, "{read} {judged} {refused}");
}
