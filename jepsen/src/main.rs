//! `godown-check`: verdicts on recorded histories, from the command line.

fn main() {}
