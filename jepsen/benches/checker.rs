//! How fast histories are read and judged: `cargo bench -p godown-jepsen --bench checker`. Items are operations.
//!
//! Judging begins with the events in memory and pairs them first; reading ends with the events in memory, and is told in
//! bytes a second. The same registers are judged by zones, and by search where failed cas are to be explained, too.
//! Every sample asserts the verdict, so nothing is measured that stopped early.

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher};
use godown_jepsen::check::{self, CheckError, FailedCas, Options, Report, Verdict};
use godown_jepsen::generate::{Edn, Fault, Generator, Register, Workload};
use godown_jepsen::history::{Event, Format, History, Independent, Load, Value, Writer};

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

/// Sets of a thousand operations each, read whole ten or twenty times.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5)]
fn sets(bencher: Bencher<'_, '_>, operations: u64) {
    let keys = (operations / 1_000) as u32;
    let generator = Generator { keys, ..generator(Workload::Set { read_percent: 2 }, operations) };
    judge(bencher, &generator, check::set, &Options::default(), Verdict::Valid);
}

/// Increments of one and reads of one counter.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5)]
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

/// Three hundred sessions on a hundred keys of lagging replicas.
fn sessions(operations: u64) -> Generator {
    let workload = Workload::Causal { read_percent: 50, replicas: 3 };
    Generator { operations, processes: 300, keys: 100, overlap: 150, ..Generator::of(workload) }
}

/// Causal consistency and convergence. Causal memory is given no steps, which makes it, and so the whole, unknown.
#[divan::bench(args = [10_000, 100_000], sample_count = 3)]
fn causal(bencher: Bencher<'_, '_>, operations: u64) {
    let options = Options { steps_max: 0, ..Options::default() };
    judge(bencher, &sessions(operations), check::causal, &options, Verdict::Unknown);
}

/// Causal memory, too.
#[divan::bench(args = [10_000], sample_count = 3)]
fn causal_with_memory(bencher: Bencher<'_, '_>, operations: u64) {
    judge(bencher, &sessions(operations), check::causal, &Options::default(), Verdict::Valid);
}

/// The four session guarantees.
#[divan::bench(args = [10_000, 100_000], sample_count = 3)]
fn session_guarantees(bencher: Bencher<'_, '_>, operations: u64) {
    judge(bencher, &sessions(operations), check::session, &Options::default(), Verdict::Valid);
}

/// How stale the reads of a register were.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 5)]
fn staleness(bencher: Bencher<'_, '_>, operations: u64) {
    let generator = generator(Workload::Register(Register::default()), operations);
    judge(bencher, &generator, check::staleness, &Options::default(), Verdict::Valid);
}

/// 200,000 events.
fn events(workload: Workload, sink: impl FnMut(Event)) {
    generator(workload, 100_000).run(sink).expect("the generator's fields agree");
}

fn load(bencher: Bencher<'_, '_>, format: Format, text: &[u8]) {
    let load = Load { format, independent: Independent::No };
    bencher.counter(BytesCount::new(text.len())).bench_local(|| {
        let history = load.read("generated", &mut &text[..]).expect("it was just written");
        assert_eq!(history.len(), 200_000);
    });
}

/// As Jepsen prints them.
#[divan::bench(sample_count = 5)]
fn reading_edn(bencher: Bencher<'_, '_>) {
    let mut edn = Edn::new(Vec::new());
    events(REGISTERS, |event| edn.record(&event).expect("memory takes it"));
    load(bencher, Format::Edn, &edn.into_inner());
}

fn json_lines() -> Vec<u8> {
    let mut lines = Writer::new(Vec::new());
    events(REGISTERS, |event| lines.record(&event).map(|_| ()).expect("memory takes it"));
    lines.into_inner()
}

/// As JSON lines.
#[divan::bench(sample_count = 5)]
fn reading_json_lines(bencher: Bencher<'_, '_>) {
    load(bencher, Format::Lines, &json_lines());
}

/// As one JSON document.
#[divan::bench(sample_count = 5)]
fn reading_json_document(bencher: Bencher<'_, '_>) {
    let lines = json_lines();
    let lines: Vec<&[u8]> = lines.trim_ascii_end().split(|byte| *byte == b'\n').collect();
    load(bencher, Format::Json, &[b"[", &lines.join(&b",\n"[..])[..], b"]"].concat());
}

/// As Jepsen logs them.
#[divan::bench(sample_count = 5)]
fn reading_jepsen_log(bencher: Bencher<'_, '_>) {
    let mut log = String::new();
    events(Workload::Register(Register::default()), |event| {
        let value =
            event.value_of().and_then(Value::as_int).map_or("nil".to_owned(), |value| value.to_string());
        let (process, kind, f) = (event.process(), event.kind(), event.f());
        log.push_str(&format!("INFO  jepsen.util - {process}\t:{kind}\t:{f}\t{value}\n"));
    });
    load(bencher, Format::Log, log.as_bytes());
}

/// As traces of texts under keys: every read shows all that was appended.
#[divan::bench(sample_count = 5)]
fn reading_kv_trace(bencher: Bencher<'_, '_>) {
    fn text(value: &Value) -> String {
        match value {
            Value::List(values) => values.iter().map(text).collect(),
            value => value.as_int().map_or(String::new(), |number| format!("x {number} y")),
        }
    }
    let mut trace = String::new();
    events(Workload::Append { read_percent: 50, length_max: 32 }, |event| {
        let (process, kind) = (event.process(), event.kind());
        let f = if event.f().as_str() == "read" { "get" } else { "append" };
        let key = event.key_of().and_then(Value::as_int).unwrap_or(0);
        let value = event.value_of().map_or("nil".to_owned(), |value| format!("\"{}\"", text(value)));
        trace.push_str(&format!(
            "{{:process {process}, :type :{kind}, :f :{f}, :key \"{key}\", :value {value}}}\n"
        ));
    });
    load(bencher, Format::Edn, trace.as_bytes());
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
