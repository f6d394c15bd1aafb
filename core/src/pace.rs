//! How fast anti-entropy may take things in, so that repair never starves clients: a token bucket.
//!
//! What has come is paid for with time: a byte costs its share of a second, and an object at least a block of the
//! disk's, so that small ones are bounded by their number. Who wants to go on while more is owed than a tenth of a
//! second waits. One bucket serves all walks of a node. It never says what is to be done, only when.

use core::time::Duration;

use crate::time::Mono;

/// An object costs at least so many bytes.
pub(crate) const OBJECT_BYTES_MIN: u64 = 4 << 10;
/// So much may be owed before anybody waits.
const DEBT_MAX: Duration = Duration::from_millis(100);

/// What has been taken in, as the moment at which all of it is paid for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    paid: Mono,
}

impl Pace {
    /// So many bytes have come. With a rate of zero nothing is owed.
    pub(crate) fn spend(&mut self, now: Mono, bytes: u64, bytes_per_s: u64) {
        let ns = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_s.max(1));
        if bytes_per_s > 0 {
            let cost = Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
            self.paid = self.paid.max(now).after(cost);
        }
    }

    /// When to go on, if not at once.
    pub(crate) fn pause(&self, now: Mono) -> Option<Mono> {
        let owed = self.paid.since(now);
        (owed > DEBT_MAX).then(|| now.after(owed - DEBT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn ms(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    #[test]
    fn whoever_takes_in_a_lot_waits_until_it_is_paid_for() {
        let mut pace = Pace::default();
        assert_eq!(pace.pause(ms(5_000)), None);
        pace.spend(ms(5_000), MIB, 10 * MIB);
        assert_eq!(pace.pause(ms(5_000)), None, "a tenth of a second may be owed");
        pace.spend(ms(5_000), MIB, 10 * MIB);
        assert_eq!(pace.pause(ms(5_000)), Some(ms(5_100)));
        assert_eq!(pace.pause(ms(5_040)), Some(ms(5_100)));
        assert_eq!(pace.pause(ms(5_100)), None);
    }

    #[test]
    fn over_a_long_time_no_more_is_taken_in_than_the_rate_says() {
        let (mut pace, mut now, mut taken) = (Pace::default(), ms(0), 0);
        while now < ms(60_000) {
            pace.spend(now, 300_000, MIB);
            taken += 300_000;
            now = pace.pause(now).unwrap_or(now);
        }
        assert!((60 * MIB..61 * MIB).contains(&taken), "{taken}");
    }

    #[test]
    fn a_rest_saves_nothing_up_and_a_rate_of_zero_is_no_limit() {
        let mut pace = Pace::default();
        pace.spend(ms(0), MIB, 10 * MIB);
        pace.spend(ms(9_000), 2 * MIB, 10 * MIB);
        assert_eq!(pace.pause(ms(9_000)), Some(ms(9_100)));
        pace.spend(ms(10_000), u64::MAX, 0);
        assert_eq!(pace.pause(ms(10_000)), None);
        pace.spend(ms(10_000), u64::MAX, 1);
        assert!(pace.pause(ms(10_000)).is_some(), "the longest wait is no overflow");
    }
}
