//! What a function does to one value under a key, by the words that clients have for it.
//!
//! Objects with other functions (sets, counters, queues, texts) have roles of their own.

/// What a function does to a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Read,
    Write,
    Delete,
    Cas,
    /// Nothing that is known of registers.
    Strange,
}

impl Role {
    pub(super) fn of(word: &str) -> Self {
        match word {
            "read" | "get" => Role::Read,
            "write" | "put" => Role::Write,
            "delete" => Role::Delete,
            "cas" => Role::Cas,
            _ => Role::Strange,
        }
    }
}
