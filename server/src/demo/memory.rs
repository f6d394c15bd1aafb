//! What a session knows of each key: the clock that its last answer gave, and what that clock covers.
//!
//! The check believes what a write says it had seen, so the list must be exactly what its clock covers: one too few
//! and a rightly replaced value looks lost, one too many and a rightly kept value looks false. The rules:
//! a read's clock covers the values that the read showed; the clock that acknowledges a write or a delete covers what
//! that write's own clock covered, and the write itself, whatever has been read in between. An answer without
//! a clock, or no answer, leaves nothing to build on: the key is forgotten.

use std::collections::BTreeMap;

/// A clock and what it covers: values of writes, identities of deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The store's opaque token; none before the first answer.
    pub(super) clock: Option<String>,
    /// What it covers, each once.
    pub(super) covers: Vec<String>,
}

/// What one session remembers, by key.
#[derive(Debug, Default)]
pub(super) struct Memory {
    keys: BTreeMap<String, Seen>,
}

impl Memory {
    /// What the session may build its next write on; nothing if it has no clock for the key.
    pub(super) fn of(&self, key: &str) -> Option<&Seen> {
        self.keys.get(key)
    }

    /// A read showed these values under this clock.
    pub(super) fn on_read(&mut self, key: &str, clock: Option<String>, values: &[String]) {
        self.keep(key, clock, values.to_vec());
    }

    /// A write or delete, which had been sent with `basis`, was acknowledged with this clock.
    pub(super) fn on_acknowledged(&mut self, key: &str, clock: Option<String>, basis: Seen, identity: &str) {
        let mut covers = basis.covers;
        covers.push(identity.to_owned());
        self.keep(key, clock, covers);
    }

    /// Nobody knows what became of a call: another session goes on from here, and it has seen nothing.
    pub(super) fn forget(&mut self) {
        self.keys.clear();
    }

    fn keep(&mut self, key: &str, clock: Option<String>, covers: Vec<String>) {
        match clock {
            Some(_) => self.keys.insert(key.to_owned(), Seen { clock, covers }),
            None => self.keys.remove(key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn covers(memory: &Memory, key: &str) -> Vec<String> {
        memory.of(key).map(|seen| seen.covers.clone()).unwrap_or_default()
    }

    #[test]
    fn a_read_is_followed_by_writes_that_had_seen_its_values() {
        let mut memory = Memory::default();
        memory.on_read("k", clock("c1"), &["a".to_owned(), "b".to_owned()]);
        assert_eq!(covers(&memory, "k"), ["a", "b"]);
        assert_eq!(memory.of("other"), None);
    }

    #[test]
    fn an_acknowledgement_covers_what_the_write_was_built_on_and_the_write() {
        let mut memory = Memory::default();
        memory.on_read("k", clock("c1"), &["a".to_owned()]);
        let basis = memory.of("k").cloned().unwrap();
        memory.on_acknowledged("k", clock("c2"), basis, "s0-1");
        assert_eq!(covers(&memory, "k"), ["a", "s0-1"]);
        let basis = memory.of("k").cloned().unwrap();
        memory.on_acknowledged("k", clock("c3"), basis, "d0-2");
        assert_eq!(covers(&memory, "k"), ["a", "s0-1", "d0-2"]);
    }

    #[test]
    fn a_blind_write_covers_nothing_but_itself_whatever_was_read_before() {
        let mut memory = Memory::default();
        memory.on_read("k", clock("c1"), &["a".to_owned()]);
        memory.on_acknowledged("k", clock("c2"), Seen::default(), "s0-1");
        assert_eq!(covers(&memory, "k"), ["s0-1"]);
    }

    #[test]
    fn a_read_replaces_what_was_known_even_if_it_shows_nothing() {
        let mut memory = Memory::default();
        memory.on_acknowledged("k", clock("c1"), Seen::default(), "s0-1");
        memory.on_read("k", clock("c2"), &[]);
        assert_eq!(memory.of("k"), Some(&Seen { clock: clock("c2"), covers: Vec::new() }));
    }

    #[test]
    fn without_a_clock_nothing_is_known() {
        let mut memory = Memory::default();
        memory.on_read("k", clock("c1"), &["a".to_owned()]);
        memory.on_read("k", None, &[]);
        assert_eq!(memory.of("k"), None);
        memory.on_read("k", clock("c1"), &["a".to_owned()]);
        memory.on_read("l", clock("c1"), &["b".to_owned()]);
        memory.forget();
        assert_eq!((memory.of("k"), memory.of("l")), (None, None));
    }
}
