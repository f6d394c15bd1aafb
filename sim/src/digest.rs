//! The trace's digest: two runs with one digest have had the same events in the same order at the same times.
//!
//! Everything that happens in a world is fed in: when, where, what kind, and the bytes that make it what it is. The
//! hash is XXH3 over all of that, each event with its length, so that no two different traces run into each other.
//! It must not depend on the build, the machine or the clock that drives the world; a difference there means that
//! something hidden got in.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

/// The kinds of events in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A node was started.
    Start = 1,
    /// A node was killed.
    Crash,
    /// A node sent a message, or tried to.
    Send,
    /// A message arrived.
    Arrive,
    /// A timer was due.
    Tick,
    /// A row was read.
    Read,
    /// A write was acknowledged.
    Written,
    /// A range was scanned.
    Scan,
    /// A client called.
    Call,
    /// A client was answered.
    Reply,
    /// A client gave up.
    GiveUp,
    /// A fault began.
    Begin,
    /// A fault that had waited for its moment has met it.
    Spring,
    /// A fault ended.
    End,
    /// All faults are over.
    Heal,
    /// What a replica holds at the end.
    Final,
}

/// A digest in the making.
#[derive(Clone)]
pub struct Digest {
    hash: Xxh3,
    events: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self { hash: Xxh3::new(), events: 0 }
    }
}

impl Digest {
    /// Takes in one event: at `at_ns`, on `node`.
    pub fn event(&mut self, at_ns: u64, node: usize, kind: Kind, bytes: &[u8]) {
        let mut head = [0; 16];
        head[..8].copy_from_slice(&at_ns.to_le_bytes());
        head[8..12].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        head[12..14].copy_from_slice(&(node as u16).to_le_bytes());
        head[14] = kind as u8;
        self.hash.update(&head);
        self.hash.update(bytes);
        self.events += 1;
    }

    /// How many events were taken in.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The digest of everything so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.hash.digest()
    }
}

/// As 16 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.value())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(events: &[(u64, usize, Kind, &[u8])]) -> u64 {
        let mut digest = Digest::default();
        for (at_ns, node, kind, bytes) in events {
            digest.event(*at_ns, *node, *kind, bytes);
        }
        digest.value()
    }

    #[test]
    fn every_part_of_an_event_counts() {
        let event = (5, 1, Kind::Tick, &b"ab"[..]);
        let others = [
            (6, 1, Kind::Tick, &b"ab"[..]),
            (5, 2, Kind::Tick, b"ab"),
            (5, 1, Kind::Read, b"ab"),
            (5, 1, Kind::Tick, b"ac"),
        ];
        for other in others {
            assert_ne!(of(&[event]), of(&[other]));
        }
        let split = [(5, 1, Kind::Tick, &b"a"[..]), (5, 1, Kind::Tick, b"b")];
        assert_ne!(of(&[event]), of(&split));
    }

    #[test]
    fn the_digest_of_a_trace_never_changes() {
        assert_eq!(of(&[]), 0x2d06_8005_38d3_94c2);
        let value = of(&[(5, 1, Kind::Tick, b"ab"), (9, 2, Kind::Heal, b"")]);
        assert_eq!(value, 0x3570_390b_3c88_f239, "{value:#x}");
    }
}
