//! What is to happen when: events by time, and those of one moment in the order in which they were put down.
//!
//! A binary heap of small entries; the events themselves lie still in a table, so that moving through the heap
//! costs 24 bytes an entry, however large an event is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events to come.
#[derive(Clone, Debug)]
pub struct Agenda<E> {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<E>>,
    free: Vec<usize>,
    last: u64,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), last: 0 }
    }
}

impl<E> Agenda<E> {
    /// Puts an event down for `at_ns`.
    pub fn push(&mut self, at_ns: u64, event: E) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[slot] = Some(event);
        self.last += 1;
        self.heap.push(Reverse((at_ns, self.last, slot)));
    }

    /// When the next event is.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ns, ..))| *at_ns)
    }

    /// Takes the next event off, with its time.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((at_ns, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let event = self.events[slot].take().expect("every entry has its event");
        Some((at_ns, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_order() {
        let mut agenda = Agenda::default();
        for (at_ns, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            agenda.push(at_ns, event);
        }
        assert_eq!(agenda.pop(), Some((3, 'a')));
        agenda.push(3, 'x');
        let rest: String = std::iter::from_fn(|| agenda.pop()).map(|(_, event)| event).collect();
        assert_eq!(rest, "bxcd");
    }
}
