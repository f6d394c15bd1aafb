//! How much of the tables is worth nothing any more: an estimate, and when it is large enough to rewrite them for.
//!
//! The engine removes a row by writing that it is gone; the old one goes when both meet at the bottom of the tree, and
//! without further writes they never do. So what was removed is counted here: the number of rows times the mean size
//! of those that were ever written. Only rows that hold clients' values count, the others are small and many. The
//! estimate lies in a row of its own beside the sequence, so it outlives the process. It is never relied on for
//! anything but the time of a compaction.

use bytes::Bytes;
use godown_core::stored::{self, Row, RowKey};

/// The row that holds the estimate.
pub(super) const KEY: &[u8] = b"zgarbage";

/// Less than this is no reason to rewrite anything.
const BYTES_MIN: u64 = 1 << 20;

/// The tables are rewritten when one part in so many of them is garbage and no more comes, …
const PARTS_IN_CALM: u64 = 4;

/// … or one in so many while it does: then no more is rewritten than is given back.
const PARTS: u64 = 2;

/// What has been written and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Garbage {
    rows_written: u64,
    bytes_written: u64,
    /// Of what was removed since the last compaction.
    bytes: u64,
}

impl Garbage {
    /// What an estimate's row says; nothing for one that is not understood.
    pub(super) fn read(value: &[u8]) -> Self {
        let number = |at: usize| value.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        match (number(0), number(8), number(16)) {
            (Some(rows_written), Some(bytes_written), Some(bytes)) => {
                Self { rows_written, bytes_written, bytes }
            }
            _ => Self::default(),
        }
    }

    /// The row that says this.
    pub(super) fn row(&self) -> Row {
        let numbers = [self.rows_written, self.bytes_written, self.bytes].map(u64::to_le_bytes);
        Row { key: RowKey(Bytes::from_static(KEY)), value: Some(numbers.concat().into()) }
    }

    /// Rows are to be written or removed. Whether it is another estimate now.
    pub(super) fn note(&mut self, rows: &[Row]) -> bool {
        let before = *self;
        for row in rows.iter().filter(|row| stored::has_values(&row.key)) {
            match &row.value {
                Some(value) => {
                    self.rows_written = self.rows_written.saturating_add(1);
                    let bytes = (row.key.0.len() + value.len()) as u64;
                    self.bytes_written = self.bytes_written.saturating_add(bytes);
                }
                None => self.bytes = self.bytes.saturating_add(self.mean_bytes()),
            }
        }
        *self != before
    }

    fn mean_bytes(&self) -> u64 {
        self.bytes_written / self.rows_written.max(1)
    }

    /// Bytes of what was removed since the last compaction.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A compaction that began when `bytes` had been removed is done.
    pub(super) const fn collected(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether tables of `table_bytes` are worth rewriting. `is_calm` says that no more garbage comes at present.
    pub(super) fn is_worth_it(&self, table_bytes: u64, is_calm: bool) -> bool {
        let parts = if is_calm { PARTS_IN_CALM } else { PARTS };
        self.bytes.min(table_bytes) >= BYTES_MIN.max(table_bytes / parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &'static str, bytes: Option<usize>) -> Row {
        let value = bytes.map(|bytes| vec![7; bytes].into());
        Row { key: RowKey(Bytes::from_static(key.as_bytes())), value }
    }

    #[test]
    fn what_is_removed_counts_as_much_as_what_was_written_on_the_mean() {
        let mut garbage = Garbage::default();
        assert!(!garbage.note(&[row("lrow", Some(500)), row("lrow", None), row("crow", Some(9))]));
        assert!(garbage.note(&[row("orow", Some(996)), row("prow", Some(1_996))]));
        assert_eq!(garbage.bytes(), 0);
        assert!(garbage.note(&[row("orow", None), row("orow", None), row("qrow", None)]));
        assert_eq!(garbage.bytes(), 3_000);
        garbage.collected(2_000);
        assert_eq!(Garbage::read(&garbage.row().value.expect("a value")).bytes(), 1_000);
        garbage.collected(9_000);
        assert_eq!(garbage.bytes(), 0);
    }

    #[test]
    fn an_estimate_that_is_not_understood_is_none() {
        let garbage = Garbage { rows_written: 1, bytes_written: u64::MAX, bytes: 3 };
        let value = garbage.row().value.expect("a value");
        assert_eq!(Garbage::read(&value), garbage);
        for end in 0..value.len() {
            assert_eq!(Garbage::read(&value[..end]), Garbage::default());
        }
    }

    #[test]
    fn tables_are_rewritten_for_a_quarter_in_calm_and_for_a_half_otherwise_and_never_for_little() {
        const MIB: u64 = 1 << 20;
        let is_worth_it = |bytes, table_bytes, is_calm| {
            Garbage { bytes, ..Garbage::default() }.is_worth_it(table_bytes, is_calm)
        };
        for (bytes, calm, busy) in
            [(24, false, false), (25, true, false), (49, true, false), (50, true, true)]
        {
            assert_eq!(is_worth_it(bytes * MIB, 100 * MIB, true), calm, "{bytes}");
            assert_eq!(is_worth_it(bytes * MIB, 100 * MIB, false), busy, "{bytes}");
        }
        assert!(is_worth_it(u64::MAX, MIB, true), "what never reached a table was counted, too");
        assert!(!is_worth_it(u64::MAX, MIB - 1, true));
        assert!(!is_worth_it(u64::MAX, 0, true));
        assert!(!is_worth_it(MIB - 1, 2 * MIB, true));
    }
}
