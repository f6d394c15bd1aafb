//! How fast histories are read and judged: `cargo bench -p godown-jepsen --bench checker`. Items are operations.
//!
//! Judging begins with the events in memory and pairs them first; reading ends with the events in memory. The same
//! registers are judged by zones, and by search where failed cas are to be explained, too.

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher};
use godown_jepsen::check::{self, CheckError, FailedCas, Options, Report, Verdict};
use godown_jepsen::generate::{Edn, Fault, Generator, Register, Workload};
use godown_jepsen::history::{Format, History, Independent, Load, Writer};

/// Shows how much memory was held at most, too.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

type Rule = fn(&History, &Options) -> Result<Report, CheckError>;

const REGISTERS: Workload =
    Workload::Register(Register { read_percent: 50, cas_percent: 10, delete_percent: 0, values: None });

/// Ten processes on one key, five operations open at once.
fn generator(workload: Workload, operations: u64) -> Generator {
    Generator { operations, processes: 10, overlap: 5, ..Generator::of(workload) }
}

fn history(generator: &Generator) -> History {
    let mut history = History::new("generated");
    generator.run(|event| history.push(event)).expect("the generator's fields agree");
    history
}

fn judge(bencher: Bencher<'_, '_>, generator: &Generator, rule: Rule, options: &Options, verdict: Verdict) {
    let history = history(generator);
    bencher.counter(ItemsCount::new(history.len() / 2)).bench_local(|| {
        let report = rule(&history, options).expect("its events make up operations");
        assert_eq!(report.verdict, verdict, "{report}");
    });
}

/// One register, every value written once.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5)]
fn registers_by_zones(bencher: Bencher<'_, '_>, operations: u64) {
    let generator = generator(REGISTERS, operations);
    judge(bencher, &generator, check::linearizable, &Options::default(), Verdict::Valid);
}

/// The same register, with what its failed cas found.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5)]
fn registers_by_search(bencher: Bencher<'_, '_>, operations: u64) {
    let options = Options { failed_cas: FailedCas::Check, ..Options::default() };
    judge(bencher, &generator(REGISTERS, operations), check::linearizable, &options, Verdict::Valid);
}

/// A hundredth of the operations crash.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5)]
fn registers_with_crashes(bencher: Bencher<'_, '_>, operations: u64) {
    let generator = Generator { crash_percent: 1, ..generator(REGISTERS, operations) };
    judge(bencher, &generator, check::linearizable, &Options::default(), Verdict::Valid);
}

/// Five values, so that zones do not help.
#[divan::bench(args = [10_000, 100_000], sample_count = 5)]
fn registers_of_few_values(bencher: Bencher<'_, '_>, operations: u64) {
    let registers = Register { cas_percent: 10, values: Some(5), ..Register::default() };
    let generator = generator(Workload::Register(registers), operations);
    judge(bencher, &generator, check::linearizable, &Options::default(), Verdict::Valid);
}

/// A hundred registers, judged in parallel.
#[divan::bench(args = [1_000_000], sample_count = 5)]
fn registers_of_many_keys(bencher: Bencher<'_, '_>, operations: u64) {
    let generator = Generator { keys: 100, ..generator(REGISTERS, operations) };
    judge(bencher, &generator, check::linearizable, &Options::default(), Verdict::Valid);
}

/// A violation, and its explanation.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5)]
fn registers_with_a_stale_read(bencher: Bencher<'_, '_>, operations: u64) {
    let generator = Generator { fault: Some(Fault::StaleRead), ..generator(REGISTERS, operations) };
    judge(bencher, &generator, check::linearizable, &Options::default(), Verdict::Violated);
}

/// One set; it is read whole twenty times or so.
#[divan::bench(args = [10_000], sample_count = 5)]
fn sets(bencher: Bencher<'_, '_>, operations: u64) {
    let generator = Generator { keys: 10, ..generator(Workload::Set { read_percent: 2 }, operations) };
    judge(bencher, &generator, check::set, &Options::default(), Verdict::Valid);
}

/// Increments of one and reads of one counter.
#[divan::bench(args = [10_000, 100_000], sample_count = 5)]
fn counters(bencher: Bencher<'_, '_>, operations: u64) {
    let workload = Workload::Counter { read_percent: 50, delta_max: 1, has_negative: false };
    judge(bencher, &generator(workload, operations), check::counter, &Options::default(), Verdict::Valid);
}

/// One queue.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5)]
fn queues(bencher: Bencher<'_, '_>, operations: u64) {
    judge(
        bencher,
        &generator(Workload::Queue, operations),
        check::queue,
        &Options::default(),
        Verdict::Valid,
    );
}

/// Lists of up to 32 elements, ten at a time.
#[divan::bench(args = [10_000, 100_000], sample_count = 5)]
fn lists(bencher: Bencher<'_, '_>, operations: u64) {
    let workload = Workload::Append { read_percent: 50, length_max: 32 };
    let generator = Generator { keys: 10, ..generator(workload, operations) };
    judge(bencher, &generator, check::kv, &Options::default(), Verdict::Valid);
}

fn load(bencher: Bencher<'_, '_>, format: Format, text: &[u8]) {
    let load = Load { format, independent: Independent::No };
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| load.read("generated", &mut &text[..]).expect("it was just written").len());
}

/// 200,000 events as Jepsen prints them.
#[divan::bench(sample_count = 5)]
fn reading_edn(bencher: Bencher<'_, '_>) {
    let mut edn = Edn::new(Vec::new());
    let generator = generator(REGISTERS, 100_000);
    generator.run(|event| edn.record(&event).expect("memory takes it")).expect("its fields agree");
    load(bencher, Format::Edn, &edn.into_inner());
}

/// 200,000 events as JSON lines.
#[divan::bench(sample_count = 5)]
fn reading_json_lines(bencher: Bencher<'_, '_>) {
    let mut lines = Writer::new(Vec::new());
    let generator = generator(REGISTERS, 100_000);
    let record = |event| lines.record(&event).map(|_| ()).expect("memory takes it");
    generator.run(record).expect("its fields agree");
    load(bencher, Format::Lines, &lines.into_inner());
}

/// The generator by itself.
#[divan::bench(args = [100_000], sample_count = 5)]
fn generating(bencher: Bencher<'_, '_>, operations: u64) {
    let generator = generator(REGISTERS, operations);
    bencher.counter(ItemsCount::new(operations)).bench_local(|| {
        let mut events = 0u64;
        generator.run(|_| events += 1).expect("its fields agree");
        events
    });
}
