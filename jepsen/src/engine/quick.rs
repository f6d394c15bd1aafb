//! A quick hash for tables whose order never shows.
//!
//! The tables of a check hold a million small keys and are asked a few million times, so a keyed hash would cost more
//! than the search itself. Nobody gains by choosing keys that collide: they would slow down their own check.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds the quick hash.
pub(crate) type Quick = BuildHasherDefault<QuickHasher>;

/// A hash map with that hash: the same order in every process, and nowhere may the order show all the same.
#[expect(clippy::disallowed_types, reason = "looked up only, in the checker's hottest loops")]
pub(crate) type QuickMap<K, V> = std::collections::HashMap<K, V, Quick>;

/// Mixes words by multiplication.
#[derive(Default)]
pub(crate) struct QuickHasher(u64);

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93_u128;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_i64(&mut self, word: i64) {
        self.write_u64(word.cast_unsigned());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
