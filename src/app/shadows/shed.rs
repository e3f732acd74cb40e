//! Decisions that shadows sampled and that were not compared.
//!
//! Metrics are found under a lock, which a thread of idle priority may hold. A call does not wait for it: it leaves what it
//! sheds in a channel, from where it is booked at least every second, and before anyone looks.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use decision::ShadowJob;
use telemetry::Metrics;

/// A count of decisions with each shadow.
#[derive(Debug)]
pub(super) struct Shed {
    left: Sender<(Arc<str>, usize)>,
    found: Mutex<Receiver<(Arc<str>, usize)>>,
    metrics: Arc<Metrics>,
}

impl Shed {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let (left, found) = channel();
        Self { left, found: Mutex::new(found), metrics }
    }

    /// Counts the decisions of a job. Never waits.
    pub(super) fn count(&self, job: &ShadowJob) {
        job.by_shadow().for_each(|(shadow, decisions)| self.add(shadow, decisions));
    }

    /// Counts decisions that a shadow sampled. Never waits.
    pub(super) fn add(&self, shadow: &Arc<str>, decisions: usize) {
        // It has a receiver as long as it exists.
        _ = self.left.send((Arc::clone(shadow), decisions));
    }

    /// Adds what was counted to the metrics.
    pub(super) fn book(&self) {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for (shadow, decisions) in found.try_iter() {
            self.metrics.shadow_shed(&shadow).inc_by(decisions as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_booked_once() {
        let metrics = Arc::<Metrics>::default();
        let shed = Shed::new(Arc::clone(&metrics));
        let [one, other]: [Arc<str>; 2] = ["one".into(), "other".into()];
        shed.add(&one, 3);
        shed.add(&other, 1);
        shed.add(&one, 4);
        let booked = || [&one, &other].map(|shadow| metrics.shadow_shed(shadow).get());
        assert_eq!(booked(), [0, 0]);
        shed.book();
        shed.book();
        assert_eq!(booked(), [7, 1]);
    }
}
