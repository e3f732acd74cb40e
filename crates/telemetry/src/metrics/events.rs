//! Recorded events: their queue, their log, their sealing.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Seconds, in_unit, plain};

/// An SSD syncs within a millisecond, a busy disk takes a hundred, and one that fails takes seconds.
const SYNC_SECONDS: [f64; 13] =
    [0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];

/// Recorded events: their queue, their log, their sealing.
pub struct EventMetrics {
    /// Bytes of events that are not durable yet; set by a sampler.
    pub queue_bytes: Gauge,
    /// Events that are not durable yet; set by a sampler.
    pub queue_length: Gauge,
    /// Events that were not recorded, since the queue had no room.
    pub dropped: Counter,
    /// Events that were queued and lost.
    pub lost: Counter,
    /// Events in the log.
    pub appended: Counter,
    /// Bytes of all log files; set by a sampler.
    pub log_bytes: Gauge,
    /// 1 while the log can be written.
    pub log_writable: Gauge,
    sync_seconds: Histogram,
    /// Age of the oldest event in the log files, 0 if there is none; set by a sampler.
    pub oldest_unsealed: Seconds,
    /// Events in sealed files.
    pub sealed: Counter,
    /// Log files that could not be sealed.
    pub sealing_failures: Counter,
}

impl EventMetrics {
    /// Records a sync of the log.
    pub fn synced(&self, took: Duration) {
        self.sync_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn register(own: &mut Registry) -> Self {
        Self {
            queue_bytes: in_unit(
                own,
                "event_queue",
                Unit::Bytes,
                "Memory reserved for events that are not durable in the log yet",
                Gauge::default(),
            ),
            queue_length: plain(
                own,
                "event_queue_length",
                "Events that are not durable in the log yet",
                Gauge::default(),
            ),
            dropped: plain(
                own,
                "events_dropped",
                "Events that were not recorded because the queue was full",
                Counter::default(),
            ),
            lost: plain(
                own,
                "events_lost",
                "Events that were queued and lost: their encoding failed, or the server ended before they were written",
                Counter::default(),
            ),
            appended: plain(own, "events_appended", "Events appended to the log", Counter::default()),
            log_bytes: in_unit(own, "event_log", Unit::Bytes, "Size of all log files", Gauge::default()),
            log_writable: plain(
                own,
                "event_log_writable",
                "1 while the event log can be written; 0 when it has reached its limit or the disk fails",
                Gauge::default(),
            ),
            sync_seconds: in_unit(
                own,
                "event_log_sync",
                Unit::Seconds,
                "Time to sync the event log to the disk",
                Histogram::new(SYNC_SECONDS),
            ),
            oldest_unsealed: in_unit(
                own,
                "oldest_unsealed_event",
                Unit::Seconds,
                "Age of the oldest event that is not in a sealed file yet, 0 if there is none",
                Seconds::default(),
            ),
            sealed: plain(own, "sealed_events", "Events written to sealed files", Counter::default()),
            sealing_failures: plain(
                own,
                "sealing_failures",
                "Attempts to seal a log file that failed; they are repeated",
                Counter::default(),
            ),
        }
    }
}
