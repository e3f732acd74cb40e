//! Shadows: how often they were compared, and how it went.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Counters, Metrics, in_unit, plain};
use crate::labels::{Bounded, ReasonLabels, ShadowLabels, SideLabels};

/// A decision for one customer takes some microseconds with a small model, and far longer with a large network.
const DECISION_SECONDS: [f64; 12] =
    [0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.005, 0.02, 0.1, 1.0];

/// What is known of all shadows; [`ShadowMetrics`] are the resolved ones of one.
pub struct ShadowFamilies {
    compared: Bounded<ShadowLabels, Counter>,
    failed: Bounded<ShadowLabels, Counter>,
    shed: Bounded<ShadowLabels, Counter>,
    first_agrees: Bounded<ShadowLabels, Counter>,
    seconds: Bounded<SideLabels, Histogram>,
    unrecorded: Counters<ReasonLabels>,
    /// Calls whose decisions wait for their comparison; set by a sampler.
    pub queued: Gauge,
}

/// Why a comparison that was made is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecorded {
    /// The room of comparisons in the queue of the event log is taken.
    QueueFull,
    /// The log files have the size beyond which they take no comparisons.
    LogSpace,
    /// The event log cannot be written for now.
    NotWritable,
    /// The event log is closed.
    Closed,
}

impl Unrecorded {
    const ALL: [Self; 4] = [Self::QueueFull, Self::LogSpace, Self::NotWritable, Self::Closed];

    fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::LogSpace => "log_space",
            Self::NotWritable => "log_not_writable",
            Self::Closed => "log_closed",
        }
    }
}

/// The metrics of one shadow.
#[derive(Debug, Clone)]
pub struct ShadowMetrics {
    compared: Counter,
    failed: Counter,
    first_agrees: Counter,
    champion_seconds: Histogram,
    shadow_seconds: Histogram,
}

impl ShadowMetrics {
    /// Records a comparison, in which both sides begin with the same offer or not, and the time that each took.
    pub fn compared(&self, first_agrees: bool, champion: Duration, shadow: Duration) {
        self.compared.inc();
        self.first_agrees.inc_by(u64::from(first_agrees));
        self.champion_seconds.observe(champion.as_secs_f64());
        self.shadow_seconds.observe(shadow.as_secs_f64());
    }

    /// Counts a decision that could not be compared.
    pub fn failed(&self) {
        self.failed.inc();
    }
}

impl Metrics {
    /// The metrics of a shadow. Pass ids of the policy, never a text that a client sent.
    #[must_use]
    pub fn shadow(&self, shadow: &str) -> ShadowMetrics {
        let all = &self.shadows;
        ShadowMetrics {
            compared: all.compared.with(shadow),
            failed: all.failed.with(shadow),
            first_agrees: all.first_agrees.with(shadow),
            champion_seconds: all.seconds.with((shadow, "champion")),
            shadow_seconds: all.seconds.with((shadow, "shadow")),
        }
    }

    /// The decisions that a shadow sampled and that were not compared, since there was no time. Pass ids of the policy.
    #[must_use]
    pub fn shadow_shed(&self, shadow: &str) -> Counter {
        self.shadows.shed.with(shadow)
    }
}

impl ShadowFamilies {
    /// Comparisons that were made and not recorded for a reason.
    #[must_use]
    pub fn unrecorded(&self, why: Unrecorded) -> Counter {
        self.unrecorded.get_or_create_owned(&ReasonLabels { reason: why.word() })
    }

    pub(super) fn register(own: &mut Registry) -> Self {
        let families = Self {
            compared: Bounded::new(plain(
                own,
                "shadow_compared",
                "Decisions that were compared with a shadow, by shadow",
                Family::default(),
            )),
            failed: Bounded::new(plain(
                own,
                "shadow_failed",
                "Decisions that a shadow sampled and could not make, by shadow",
                Family::default(),
            )),
            shed: Bounded::new(plain(
                own,
                "shadow_shed",
                "Decisions that a shadow sampled and that were not compared, mostly for want of time, by shadow",
                Family::default(),
            )),
            first_agrees: Bounded::new(plain(
                own,
                "shadow_first_agrees",
                "Compared decisions in which the shadow shows the same first offer, by shadow",
                Family::default(),
            )),
            seconds: Bounded::new(in_unit(
                own,
                "shadow_decision",
                Unit::Seconds,
                "Time to make a compared decision again, by shadow and side: `champion` or `shadow`",
                Family::new_with_constructor(|| Histogram::new(DECISION_SECONDS)),
            )),
            unrecorded: plain(
                own,
                "shadow_unrecorded",
                "Comparisons with shadows that were made and not recorded, by reason: `queue_full`, `log_space` (log \
                 files of half of `records.log_limit`), `log_not_writable` or `log_closed`",
                Family::default(),
            ),
            queued: plain(
                own,
                "shadow_queued",
                "Calls whose decisions wait to be compared with shadows",
                Gauge::default(),
            ),
        };
        // All of them from the start: who counts one later then never waits for another thread.
        for why in Unrecorded::ALL {
            let _ = families.unrecorded(why);
        }
        families
    }
}
