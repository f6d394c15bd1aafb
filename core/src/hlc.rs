//! Hybrid logical clocks (Kulkarni et al., "Logical physical clocks", 2014): dates that never run backwards.
//!
//! A date is 48 bits of wall-clock milliseconds and a 16-bit counter. It serves `Last-Modified`, "the latest" and
//! staleness reports, never causality. A remote date too far ahead is not adopted, or one wrong clock would drag
//! every other into the future.

use core::time::Duration;

use crate::time::Wall;

/// How far ahead of the local wall clock a remote date may lie and still be adopted.
pub const DRIFT_MAX: Duration = Duration::from_millis(500);

/// A date: the upper 48 bits are milliseconds since the Unix epoch, the lower 16 a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The date of a wall-clock reading, with a counter of zero.
    #[must_use]
    pub const fn from_wall(wall: Wall) -> Self {
        Self(wall.millis() << 16)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }
}

/// A node's source of dates.
#[derive(Clone, Debug, Default)]
pub struct HlcSource {
    last: Hlc,
}

impl HlcSource {
    /// A date later than every one given or adopted before, and not before `wall`.
    pub fn next(&mut self, wall: Wall) -> Hlc {
        // Counting the whole number up carries a full counter into the milliseconds, as it should.
        self.last = Hlc(self.last.0.saturating_add(1)).max(Hlc::from_wall(wall));
        self.last
    }

    /// Learns of a remote date. False when it lies more than [`DRIFT_MAX`] ahead of `wall` and was not adopted.
    pub fn adopt(&mut self, remote: Hlc, wall: Wall) -> bool {
        let bound = u128::from(wall.millis()) + DRIFT_MAX.as_millis();
        let near = u128::from(remote.millis()) <= bound;
        if near {
            self.last = self.last.max(remote);
        }
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn wall_ms(ms: u64) -> Wall {
        Wall(ms * 1_000_000)
    }

    #[test]
    fn dates_rise_while_the_wall_clock_stands_still_or_falls() {
        let mut source = HlcSource::default();
        let first = source.next(wall_ms(10));
        let second = source.next(wall_ms(10));
        let third = source.next(wall_ms(3));
        assert_eq!(first.millis(), 10);
        assert!(first < second && second < third);
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let mut source = HlcSource { last: Hlc((10 << 16) | 0xffff) };
        assert_eq!(source.next(wall_ms(10)), Hlc(11 << 16));
    }

    #[test]
    fn a_near_remote_date_is_adopted_and_a_far_one_is_not() {
        let mut source = HlcSource::default();
        assert!(source.adopt(Hlc::from_wall(wall_ms(1_500)), wall_ms(1_000)));
        assert_eq!(source.next(wall_ms(1_000)).millis(), 1_500);
        assert!(!source.adopt(Hlc::from_wall(wall_ms(1_501)), wall_ms(1_000)));
        assert_eq!(source.next(wall_ms(1_000)).millis(), 1_500);
    }
}
