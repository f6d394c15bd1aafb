//! What the operating system says of this process, by the names that Prometheus' clients agreed upon.
//!
//! Read from Linux' `/proc`; elsewhere there is nothing to say, and nothing is said.

use std::fs;

use super::text::Text;

/// Writes what is known.
pub(super) fn write(text: &mut Text) {
    if let Some(process) = Process::read() {
        text.gauge("process_resident_memory_bytes", "Memory that is in RAM.")
            .count(&[], process.resident_bytes);
        text.gauge("process_virtual_memory_bytes", "Memory that is mapped.")
            .count(&[], process.virtual_bytes);
        text.counter("process_cpu_seconds", "Processor time used.").sample(&[], process.cpu_s);
        text.gauge("process_start_time_seconds", "When the process began, in seconds since 1970.")
            .sample(&[], process.start_s);
        text.gauge("process_threads", "Threads.").count(&[], process.threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.gauge("process_open_fds", "File descriptors in use.").count(&[], open.count() as u64);
    }
}

#[derive(Debug, PartialEq)]
struct Process {
    resident_bytes: u64,
    virtual_bytes: u64,
    cpu_s: f64,
    start_s: f64,
    threads: u64,
}

impl Process {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
        Self::parse(&stat, &boot, ticks_per_s, rustix::param::page_size() as u64)
    }

    /// Takes proc(5)'s `stat` files apart.
    fn parse(stat: &str, boot: &str, ticks_per_s: f64, page_bytes: u64) -> Option<Self> {
        // The name in brackets may hold anything, brackets too; the third field of the page follows it.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let booted_s: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(Self {
            cpu_s: (number(14)? + number(15)?) as f64 / ticks_per_s,
            threads: number(20)?,
            start_s: booted_s + number(22)? as f64 / ticks_per_s,
            virtual_bytes: number(23)?,
            resident_bytes: number(24)? * page_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 7 0 1000 4096000 250 18446744073709551615";
        let process = Process::parse(stat, "cpu 1 2\nbtime 1700000000\n", 100.0, 4_096);
        let expected = Process {
            resident_bytes: 1_024_000,
            virtual_bytes: 4_096_000,
            cpu_s: 2.0,
            start_s: 1_700_000_010.0,
            threads: 7,
        };
        assert_eq!(process, Some(expected));
        assert_eq!(Process::parse("12 (a) S 1", "btime 1\n", 100.0, 4_096), None);
    }
}
