//! The beat of an open loop: calls start when their time has come, not when the server is done with earlier ones.
//!
//! A closed loop waits out every stall of the server and so measures it once; a thousand users would have met it
//! ("coordinated omission"). Here call number n is due at a fixed time, whatever happened before, and its latency
//! counts from then. The runtime's timers tick in milliseconds, too coarse for thousands of calls a second, so a
//! thread of its own sleeps until each beat and hands out a permit; whoever takes the next permit serves the next
//! call. Permits that nobody takes pile up as a number, never as memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// A schedule of calls at a fixed rate, shared by the workers that serve them.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    rate: f64,
    beats: u64,
    due: Semaphore,
    taken: AtomicU64,
}

/// More permits than there can be workers: each worker needs one to learn that the schedule is over.
const LAST_PERMITS: usize = 1 << 20;

impl Pace {
    /// Starts a schedule of `rate` calls per second that ends after `length`.
    ///
    /// # Panics
    /// If the rate is no positive number: the command line has checked it.
    pub(crate) fn start(rate: f64, length: Duration) -> Self {
        assert!(rate.is_finite() && rate > 0.0, "a rate of {rate}");
        let shared = Arc::new(Shared {
            start: Instant::now(),
            rate,
            beats: (rate * length.as_secs_f64()) as u64,
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
        });
        let ticking = Arc::clone(&shared);
        // The thread ends by itself when the schedule does; nobody needs to wait for it.
        thread::spawn(move || ticking.tick());
        Pace { shared }
    }

    /// Waits for the next call and gives the time at which it was due; nothing when the schedule is over.
    pub(crate) async fn next(&self) -> Option<Instant> {
        self.shared.due.acquire().await.ok()?.forget();
        let number = self.shared.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.shared.beats).then(|| self.shared.due_at(number))
    }

    /// How many calls of the schedule nobody has taken.
    pub(crate) fn left(&self) -> u64 {
        self.shared.beats.saturating_sub(self.shared.taken.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn due_at(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.rate)
    }

    fn tick(&self) {
        let mut done = 0;
        while done < self.beats {
            thread::sleep(self.due_at(done).saturating_duration_since(Instant::now()));
            // A sleep that took too long owes several beats.
            let elapsed = self.start.elapsed().as_secs_f64();
            let owed = ((elapsed * self.rate) as u64 + 1).min(self.beats) - done;
            self.due.add_permits(owed as usize);
            done += owed;
        }
        self.due.add_permits(LAST_PERMITS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_due_at_even_distances_however_late_they_are_taken() {
        let pace = Pace::start(1_000.0, Duration::from_millis(50));
        let mut times = Vec::new();
        for _ in 0..50 {
            times.push(pace.next().await.unwrap());
        }
        for pair in times.windows(2) {
            let distance = (pair[1] - pair[0]).as_secs_f64();
            assert!((distance - 0.001).abs() < 1e-6, "{distance}");
        }
        assert!(times[49] <= Instant::now(), "no call comes before it is due");
    }

    #[tokio::test]
    async fn a_schedule_ends_for_every_worker() {
        let pace = Pace::start(1_000.0, Duration::from_millis(3));
        assert_eq!(pace.left(), 3);
        for left in (0..3).rev() {
            assert!(pace.next().await.is_some());
            assert_eq!(pace.left(), left);
        }
        for _ in 0..4 {
            assert_eq!(pace.next().await, None);
        }
    }
}
