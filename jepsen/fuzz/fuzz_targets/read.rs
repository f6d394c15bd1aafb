//! Reading ends, in a history no larger than its file allows or in an error; the first byte names the notation.
#![no_main]

use godown_jepsen::history::{Format, Load};
use libfuzzer_sys::fuzz_target;

const FORMATS: [Format; 5] = [Format::Auto, Format::Edn, Format::Json, Format::Lines, Format::Log];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let load = Load { format: FORMATS[usize::from(*first) % FORMATS.len()], ..Load::default() };
    if let Ok(history) = load.bytes("h", rest) {
        assert!(history.footprint() < 64 * rest.len() + 65_536);
        let _ = history.operations();
        history.to_lines(std::io::sink()).expect("a sink takes everything");
    }
});
