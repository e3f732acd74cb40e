//! History: how large it is, how fast it is read, and how far limits over all customers are used.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Seconds, in_unit, plain};
use crate::labels::{Bounded, LimitLabels, SERIES_LIMIT};

/// The history of one customer is copied in half a microsecond, that of a thousand in less than a millisecond.
const VIEW_SECONDS: [f64; 10] =
    [0.000_000_5, 0.000_001, 0.000_002, 0.000_005, 0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.002, 0.01];

/// What limits look at, and how far they are used.
pub struct HistoryMetrics {
    uses: LimitUses,
    pub(super) overshoots: Bounded<LimitLabels, Counter>,
    /// Open reservations; set by a sampler.
    pub reservations: Gauge,
    /// Customers of whom something is kept; set by a sampler.
    pub customers: Gauge,
    /// Bytes of the history and of recent decisions; set by a sampler.
    pub bytes: Gauge,
    view_seconds: Histogram,
    /// Other servers that live, where limits count what each decides alone.
    pub not_shared: Gauge,
    /// 1 while limits look further back than the history reaches.
    pub incomplete: Gauge,
    /// When the last checkpoint was made, in seconds since 1970.
    pub checkpoint_time: Seconds,
    /// Checkpoints that could not be made.
    pub checkpoint_failures: Counter,
}

/// How far a limit of an offer over all customers is used.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitUse {
    /// The offer.
    pub offer: String,
    /// `cap_total` or `budget`.
    pub limit: &'static str,
    /// The most in its period: a number, or money.
    pub most: f64,
    /// What was counted in the period.
    pub used: f64,
    /// What is reserved.
    pub reserved: f64,
}

impl HistoryMetrics {
    /// Records that a call has copied the history of its customers.
    pub fn viewed(&self, took: Duration) {
        self.view_seconds.observe(took.as_secs_f64());
    }

    /// Sets the use of all limits of the release that serves; only a sampler calls this.
    pub fn set_uses(&self, uses: Vec<LimitUse>) {
        self.uses.set(uses);
    }

    pub(super) fn register(own: &mut Registry) -> Self {
        let uses = LimitUses::default();
        own.register_collector(Box::new(uses.clone()));
        Self {
            uses,
            overshoots: Bounded::new(plain(
                own,
                "limit_overshoots",
                "Accepted outcomes that exceeded a total cap or a budget, since their reservation had lapsed or there \
                 was none, by offer and limit",
                Family::default(),
            )),
            reservations: plain(
                own,
                "reservations",
                "Open reservations of total caps and budgets",
                Gauge::default(),
            ),
            customers: plain(
                own,
                "history_customers",
                "Customers with a history in memory",
                Gauge::default(),
            ),
            bytes: in_unit(
                own,
                "history",
                Unit::Bytes,
                "Memory of the history, and of the decisions that are kept for their outcomes",
                Gauge::default(),
            ),
            view_seconds: in_unit(
                own,
                "history_view",
                Unit::Seconds,
                "Time to read the history of the customers of a call",
                Histogram::new(VIEW_SECONDS),
            ),
            not_shared: plain(
                own,
                "history_not_shared",
                "Other servers that use the store while the release has limits: each counts what it decides alone",
                Gauge::default(),
            ),
            incomplete: plain(
                own,
                "history_incomplete",
                "1 while limits of the release look further back than the history reaches, and count too little; what \
                 is missing is read meanwhile",
                Gauge::default(),
            ),
            checkpoint_time: in_unit(
                own,
                "history_checkpoint_time",
                Unit::Seconds,
                "When the last checkpoint of the history was made since 1970, 0 if there is none",
                Seconds::default(),
            ),
            checkpoint_failures: plain(
                own,
                "history_checkpoint_failures",
                "Checkpoints of the history that could not be made; they are repeated",
                Counter::default(),
            ),
        }
    }
}

/// The use of limits when it was last sampled.
#[derive(Debug, Clone, Default)]
struct LimitUses(Arc<Mutex<Vec<LimitUse>>>);

impl LimitUses {
    /// Keeps the fullest, if there are more than a metric may have series.
    fn set(&self, mut uses: Vec<LimitUse>) {
        if uses.len() > SERIES_LIMIT {
            let fullness = |one: &LimitUse| (one.used + one.reserved) / one.most.max(f64::MIN_POSITIVE);
            uses.sort_by(|one, other| fullness(other).total_cmp(&fullness(one)));
            uses.truncate(SERIES_LIMIT);
        }
        uses.sort_by(|one, other| (&one.offer, one.limit).cmp(&(&other.offer, other.limit)));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = uses;
    }
}

/// A metric: name, help, and its value.
type Value = (&'static str, &'static str, fn(&LimitUse) -> f64);

impl Collector for LimitUses {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let values: [Value; 3] = [
            (
                "limit_most",
                "The most that a total cap (a number) or a budget (money) allows in its period, by offer and limit.",
                |one| one.most,
            ),
            (
                "limit_used",
                "What was counted of a total cap (a number) or a budget (money) in its period, by offer and limit.",
                |one| one.used,
            ),
            (
                "limit_reserved",
                "What is reserved of a total cap (a number) or a budget (money), by offer and limit.",
                |one| one.reserved,
            ),
        ];
        for (name, help, of) in values {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for one in &uses {
                let labels = LimitLabels { offer: one.offer.clone(), limit: one.limit };
                ConstGauge::new(of(one)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Metrics};

    fn one(offer: usize, used: f64) -> LimitUse {
        LimitUse { offer: format!("o{offer:04}"), limit: "cap_total", most: 100.0, used, reserved: 1.5 }
    }

    #[test]
    fn the_use_of_limits_is_that_of_the_last_sample() {
        let metrics = Metrics::new();
        metrics.history.set_uses(vec![one(2, 5.0), one(1, 7.0)]);
        let text = metrics.encode(Format::Text);
        for line in [
            "proffer_limit_most{offer=\"o0001\",limit=\"cap_total\"} 100.0",
            "proffer_limit_used{offer=\"o0002\",limit=\"cap_total\"} 5.0",
            "proffer_limit_reserved{offer=\"o0002\",limit=\"cap_total\"} 1.5",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        metrics.history.set_uses(vec![one(3, 5.0)]);
        assert!(!metrics.encode(Format::Text).contains("o0001"));
    }

    #[test]
    fn the_fullest_limits_are_kept() {
        let uses = LimitUses::default();
        uses.set((0..SERIES_LIMIT + 5).map(|offer| one(offer, offer as f64)).collect());
        let kept = uses.0.lock().unwrap();
        assert_eq!((kept.len(), kept[0].offer.as_str()), (SERIES_LIMIT, "o0005"));
    }
}
