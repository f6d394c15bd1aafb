//! Keys, their stable hash, and the partition that the hash puts them in.

use core::fmt;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// The name of a value: any bytes, not empty, at most [`Limits::key_bytes`](crate::config::Limits::key_bytes).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Bytes);

impl Key {
    /// The key's XXH3 hash, the same in every version and on every platform.
    #[must_use]
    pub fn hash(&self) -> u64 {
        xxh3_64(&self.0)
    }
}

impl From<&'static str> for Key {
    fn from(name: &'static str) -> Self {
        Self(Bytes::from_static(name.as_bytes()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A share of the key space: one in [`Settings::partitions`](crate::config::Settings::partitions).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

impl Partition {
    /// The partition of `key` among `count`, a power of two of at most 65,536: the top bits of the key's hash.
    #[must_use]
    pub fn of(key: &Key, count: u32) -> Self {
        debug_assert!(count.is_power_of_two() && count <= 1 << 16);
        let index = (u128::from(key.hash()) * u128::from(count)) >> 64;
        Self(u16::try_from(index).expect("at most 65,536 partitions"))
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_hash_and_partition_never_change() {
        let key = Key::from("region");
        assert_eq!(key.hash(), 0x2609_2a72_e9b8_4a0d, "{:#x}", key.hash());
        assert_eq!(Partition::of(&key, 256), Partition((key.hash() >> 56) as u16));
        assert_eq!(Partition::of(&key, 1), Partition(0));
        assert_eq!(Partition::of(&key, 65_536), Partition((key.hash() >> 48) as u16));
    }
}
