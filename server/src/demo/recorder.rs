//! Writes down what the clients see, while they see it: the history and the latency log.
//!
//! The order of the history is what every check takes for time, so an invocation is written before its request
//! is sent and a completion after its answer has come, both under one lock; the order in the file is then an order
//! in which things can have happened. A failure to write is kept and ends the run: half a history judges nothing.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use godown_jepsen::history::{Event, Kind, Writer};

use crate::load::hlog::Log;
use crate::report::phase::Phase;

/// The length of an interval of the latency log.
const INTERVAL: Duration = Duration::from_millis(250);

/// Records one run.
pub(super) struct Recorder {
    started: Instant,
    processes: AtomicU64,
    files: Mutex<Files>,
}

struct Files {
    phase: Phase,
    history: Writer<BufWriter<File>>,
    latency: Log<BufWriter<File>>,
    error: Option<io::Error>,
}

/// A call that has begun.
#[derive(Debug)]
pub(super) struct Call {
    /// Which process made it.
    pub(super) process: u64,
    /// `read`, `write` or `delete`.
    pub(super) f: &'static str,
    phase: Phase,
    at: Duration,
}

impl Recorder {
    /// Begins to record into these files; the run begins now.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(history: &Path, latency: &Path) -> io::Result<Self> {
        let history = Writer::new(BufWriter::new(File::create(history)?));
        let latency = Log::new(BufWriter::new(File::create(latency)?), SystemTime::now(), INTERVAL)?;
        Ok(Recorder {
            started: Instant::now(),
            processes: AtomicU64::new(0),
            files: Mutex::new(Files { phase: Phase::Calm, history, latency, error: None }),
        })
    }

    /// The time since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A process number that nobody has had.
    pub(super) fn process(&self) -> u64 {
        self.processes.fetch_add(1, Ordering::Relaxed)
    }

    /// A call begins. `event` says what it is; time and phase are added here.
    pub(super) fn invoke(&self, process: u64, f: &'static str, event: impl FnOnce(Event) -> Event) -> Call {
        let mut files = self.files();
        let (phase, at) = (files.phase, self.elapsed());
        let stamped = Event::invoke(process, f).at(nanoseconds(at)).phase(phase.as_str());
        files.record(&event(stamped));
        Call { process, f, phase, at }
    }

    /// A call is over.
    pub(super) fn complete(&self, call: &Call, kind: Kind, event: impl FnOnce(Event) -> Event) {
        assert!(kind != Kind::Invoke, "a call is over in one of three ways");
        let mut files = self.files();
        let now = self.elapsed();
        files.record(&event(Event::new(kind, call.process, call.f).at(nanoseconds(now))));
        if kind == Kind::Ok && call.phase != Phase::Final {
            let tag = format!("{}.{}", call.f, call.phase.as_str());
            let written = files.latency.record(now, &tag, now.saturating_sub(call.at));
            files.keep(written);
        }
    }

    /// The faults' maker did something to a node, and with it a new phase begins.
    pub(super) fn nemesis(&self, f: &'static str, node: &str, phase: Phase) {
        let mut files = self.files();
        let event = Event::nemesis(f).node(node).at(nanoseconds(self.elapsed()));
        files.record(&event);
        files.phase = phase;
    }

    /// A new phase begins by itself.
    pub(super) fn enter(&self, phase: Phase) {
        self.files().phase = phase;
    }

    /// Whether everything so far could be written.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn check(&self) -> io::Result<()> {
        self.files().error.take().map_or(Ok(()), Err)
    }

    /// Ends the recording; everything is in the files afterwards.
    ///
    /// # Errors
    /// The first failure to write, now or earlier.
    pub(super) fn finish(self) -> io::Result<()> {
        let files = self.files.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = files.error {
            return Err(error);
        }
        let mut history = files.history;
        history.flush()?;
        files.latency.finish()?;
        Ok(())
    }

    /// The files stay usable after a panic elsewhere: every event is written whole.
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn record(&mut self, event: &Event) {
        let written = self.history.record(event).map(drop);
        self.keep(written);
    }

    fn keep(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.error.get_or_insert(error);
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    crate::load::hlog::nanoseconds(time)
}

#[cfg(test)]
mod tests {

    use godown_jepsen::history::{History, Outcome};

    use super::*;

    #[test]
    fn calls_are_recorded_with_phase_outcome_and_latency() {
        let folder = tempfile::tempdir().unwrap();
        let (history, latency) = (folder.path().join("h"), folder.path().join("l"));
        let recorder = Recorder::new(&history, &latency).unwrap();
        let (first, second) = (recorder.process(), recorder.process());
        assert_ne!(first, second);
        let write = recorder.invoke(first, "write", |event| event.key("k").value("s0-1").seen(["a"]));
        recorder.nemesis("kill", "n2", Phase::Killed);
        let read = recorder.invoke(second, "read", |event| event.key("k"));
        recorder.complete(&write, Kind::Ok, |event| event);
        recorder.complete(&read, Kind::Fail, |event| event.error("refused"));
        recorder.finish().unwrap();

        let history = History::from_lines("h", &mut File::open(&history).unwrap()).unwrap();
        let operations = history.operations().unwrap();
        let told: Vec<_> = operations
            .iter()
            .map(|operation| {
                let invoke = history.at(operation.invoked);
                (invoke.f(), invoke.phase().unwrap(), operation.outcome)
            })
            .collect();
        assert_eq!(told, [("write", "calm", Outcome::Ok), ("read", "killed", Outcome::Fail)]);
        let seen: Vec<_> = operations[0].seen(&history).iter().map(|atom| history.text(*atom)).collect();
        assert_eq!(seen, [Some("a")]);
        let tags = crate::load::hlog::read(&std::fs::read(&latency).unwrap()).unwrap();
        assert_eq!(tags.keys().collect::<Vec<_>>(), ["write.calm"], "only what succeeded has a latency");
    }
}
