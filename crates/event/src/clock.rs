//! The two clocks of the event log.

use std::fmt::Debug;
use std::time::{Instant, SystemTime};

/// A clock for intervals and ages, and one for what is recorded. Only the second may jump.
pub(crate) trait Clock: Debug + Send + Sync {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The wall clock: microseconds since 1970-01-01T00:00:00Z.
    fn wall(&self) -> i64;
}

/// The clocks of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
pub(crate) mod manual {
    //! Clocks that stand until a test moves them.

    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use super::Clock;

    #[derive(Debug)]
    pub(crate) struct ManualClock {
        start: Instant,
        passed_micros: AtomicU64,
        wall: AtomicI64,
    }

    impl Default for ManualClock {
        fn default() -> Self {
            let wall = AtomicI64::new(1_800_000_000_000_000);
            Self { start: Instant::now(), passed_micros: AtomicU64::new(0), wall }
        }
    }

    impl ManualClock {
        /// Lets time pass on both clocks.
        pub(crate) fn advance(&self, time: Duration) {
            self.passed_micros.fetch_add(time.as_micros() as u64, Ordering::SeqCst);
            self.jump(time.as_micros() as i64);
        }

        /// Sets the wall clock ahead or back.
        pub(crate) fn jump(&self, micros: i64) {
            self.wall.fetch_add(micros, Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Instant {
            self.start + Duration::from_micros(self.passed_micros.load(Ordering::SeqCst))
        }

        fn wall(&self) -> i64 {
            self.wall.load(Ordering::SeqCst)
        }
    }
}
