//! Sets of slots, as a few machine words.
//!
//! A search gives every open operation a slot and takes it back after its return, so that the set of those that took
//! effect is small however long the history is.

use std::hash::{Hash, Hasher};

/// A set of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mask<const N: usize>([u64; N]);

impl<const N: usize> Mask<N> {
    /// The empty set.
    pub(crate) const EMPTY: Self = Mask([0; N]);

    pub(crate) fn has(&self, slot: u16) -> bool {
        self.0[usize::from(slot) / 64] >> (slot % 64) & 1 == 1
    }

    pub(crate) fn set(&mut self, slot: u16) {
        self.0[usize::from(slot) / 64] |= 1 << (slot % 64);
    }

    pub(crate) fn clear(&mut self, slot: u16) {
        self.0[usize::from(slot) / 64] &= !(1 << (slot % 64));
    }

    pub(crate) fn is_subset_of(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    pub(crate) fn without(&self, other: &Self) -> Self {
        Mask(std::array::from_fn(|i| self.0[i] & !other.0[i]))
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(u16)) {
        for (word, bits) in (0u16..).zip(&self.0) {
            let mut bits = *bits;
            while bits != 0 {
                visit(word * 64 + bits.trailing_zeros() as u16);
                bits &= bits - 1;
            }
        }
    }
}

impl<const N: usize> Hash for Mask<N> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.iter().for_each(|word| hasher.write_u64(*word));
    }
}
