//! The measured cost of a unit of work: a row of a model, a customer of a placement.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The working time that is remembered for a size of batches; beyond it, older measurements count half.
const WINDOW: u64 = 1_000_000_000;

/// The number of size classes: 1, 2 to 3, 4 to 7 …; the last has everything beyond.
const SIZES: usize = 24;

/// From this class on (16 units), the fixed cost of a batch is negligible, so larger batches can be estimated from
/// it.
const LARGE: usize = 4;

thread_local! {
    /// Whether the time of this thread says what a call costs.
    static IS_MEASURED: Cell<bool> = const { Cell::new(true) };
}

/// Recent time per unit by the size of the batch, since a batch of one bears its fixed cost alone.
///
/// Recording takes no lock: of two threads that record at once, one measurement may be lost.
#[derive(Debug, Default)]
pub struct Cost {
    sizes: [Rate; SIZES],
}

#[derive(Debug, Default)]
struct Rate {
    nanoseconds: AtomicU64,
    units: AtomicU64,
}

impl Cost {
    /// From now on, nothing is recorded on this thread. For work beside the answers, which is preempted for as long as
    /// there are calls: its time would have calls refused that are not to be.
    pub fn ignore_this_thread() {
        IS_MEASURED.set(false);
    }

    /// Records a batch of `units` that took one thread `time`.
    pub fn record(&self, units: usize, time: Duration) {
        if units == 0 || !IS_MEASURED.get() {
            return;
        }
        let rate = &self.sizes[size(units)];
        let added = u64::try_from(time.as_nanos()).unwrap_or(WINDOW).min(WINDOW);
        let nanoseconds = rate.nanoseconds.fetch_add(added, Ordering::Relaxed) + added;
        let units = rate.units.fetch_add(units as u64, Ordering::Relaxed) + units as u64;
        if nanoseconds > WINDOW {
            rate.nanoseconds.store(nanoseconds / 2, Ordering::Relaxed);
            rate.units.store((units / 2).max(1), Ordering::Relaxed);
        }
    }

    /// The estimated time of a batch of `units` on one thread. Zero while no representative batch was recorded: one
    /// of its size, a larger one, or one of 16 units or more.
    #[must_use]
    pub fn of(&self, units: usize) -> Duration {
        let each = self.representative(size(units)).and_then(Rate::each);
        Duration::from_nanos((each.unwrap_or_default() * units as f64) as u64)
    }

    /// How many units of large batches fit into `time`, at least one; `None` while no large batch was recorded.
    #[must_use]
    pub fn units_in(&self, time: Duration) -> Option<usize> {
        let each = self.representative(SIZES - 1).and_then(Rate::each)?;
        (each > 0.0).then(|| ((time.as_nanos() as f64 / each) as usize).max(1))
    }

    /// Decays the estimate after work of `units` was refused for its cost. Refused work brings no new measurement, so
    /// without decay one slow moment would exclude such work for ever.
    pub fn decay(&self, units: usize) {
        if let Some(rate) = self.representative(size(units)) {
            let known = rate.nanoseconds.load(Ordering::Relaxed);
            rate.nanoseconds.store(known - known / 8, Ordering::Relaxed);
        }
    }

    /// Forgets every measurement.
    pub fn forget(&self) {
        for rate in &self.sizes {
            rate.units.store(0, Ordering::Relaxed);
            rate.nanoseconds.store(0, Ordering::Relaxed);
        }
    }

    /// The rate that is representative of batches of a size.
    fn representative(&self, size: usize) -> Option<&Rate> {
        let known = |rate: &&Rate| rate.units.load(Ordering::Relaxed) > 0;
        let larger = self.sizes[size..].iter().find(known);
        larger.or_else(|| self.sizes.get(LARGE..size)?.iter().rev().find(known))
    }
}

impl Rate {
    /// Nanoseconds per unit.
    fn each(&self) -> Option<f64> {
        let units = self.units.load(Ordering::Relaxed);
        (units > 0).then(|| self.nanoseconds.load(Ordering::Relaxed) as f64 / units as f64)
    }
}

fn size(units: usize) -> usize {
    (units.max(1).ilog2() as usize).min(SIZES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_done_beside_the_answers_is_no_measure_of_them() {
        let cost = Cost::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                Cost::ignore_this_thread();
                cost.record(100, SECOND);
            });
        });
        assert_eq!(cost.of(1), Duration::ZERO);
        cost.record(100, Duration::from_micros(100));
        assert_eq!(cost.of(1), Duration::from_micros(1));
    }

    #[test]
    fn units_cost_what_they_did() {
        let cost = Cost::default();
        assert_eq!((cost.of(5), cost.units_in(SECOND)), (Duration::ZERO, None));
        cost.record(100, Duration::from_micros(200));
        assert_eq!(
            cost.of(5),
            Duration::from_micros(10),
            "a larger batch is representative of a smaller one"
        );
        assert_eq!(
            cost.of(5000),
            Duration::from_millis(10),
            "a large batch is representative of a larger one"
        );
        assert_eq!(cost.units_in(Duration::from_micros(100)), Some(50));
        assert_eq!(cost.units_in(Duration::from_nanos(1)), Some(1));
    }

    #[test]
    fn a_batch_of_one_says_nothing_of_many() {
        let cost = Cost::default();
        cost.record(1, Duration::from_micros(50));
        assert_eq!((cost.of(1), cost.of(1000)), (Duration::from_micros(50), Duration::ZERO));
        cost.record(1000, Duration::from_millis(2));
        assert_eq!((cost.of(1), cost.of(1000)), (Duration::from_micros(50), Duration::from_millis(2)));
        cost.record(0, SECOND);
        assert_eq!(cost.of(1), Duration::from_micros(50));
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let cost = Cost::default();
        cost.record(1000, Duration::from_millis(900));
        for _ in 0..40 {
            cost.record(1000, Duration::from_millis(90));
        }
        let each = cost.of(1);
        assert!((Duration::from_micros(90)..Duration::from_micros(100)).contains(&each), "{each:?}");
    }

    #[test]
    fn a_slow_moment_does_not_keep_work_out_for_ever() {
        let cost = Cost::default();
        cost.record(10, SECOND);
        let refusals = (0..1000).take_while(|_| {
            let refused = cost.of(10) > Duration::from_millis(1);
            cost.decay(10);
            refused
        });
        assert!(refusals.count() < 60);
    }

    #[test]
    fn the_longest_time_is_no_overflow() {
        let cost = Cost::default();
        cost.record(1, Duration::MAX);
        assert_eq!(cost.of(1), SECOND);
        cost.record(usize::MAX, Duration::MAX);
        assert!(cost.of(usize::MAX) <= SECOND);
    }
}
