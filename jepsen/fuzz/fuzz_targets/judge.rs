//! Judging ends, in a verdict or in an error, whatever was read.
#![no_main]

use godown_jepsen::check::{self, Model, Options};
use godown_jepsen::history::Load;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(history) = Load::default().bytes("h", bytes) {
        let options = Options { steps_max: 10_000, configurations_max: 1_000, ..Options::default() };
        for model in [Model::Auto, Model::Staleness, Model::Convergence] {
            if let Ok(report) = check::run(&history, model, &options) {
                let _ = report.to_string();
            }
        }
    }
});
