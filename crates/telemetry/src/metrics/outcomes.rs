//! Outcomes: how many by type and verdict, and those that need attention.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::plain;
use crate::labels::{Bounded, OutcomeLabels};

/// Outcomes that were reported.
pub struct OutcomeMetrics {
    pub(super) outcomes: Bounded<OutcomeLabels, Counter>,
    /// Outcomes that happened after the attribution window of their type.
    pub late: Counter,
    /// Outcomes without a decision that is known.
    pub unattributed: Counter,
}

impl OutcomeMetrics {
    pub(super) fn register(own: &mut Registry) -> Self {
        Self {
            outcomes: Bounded::new(plain(
                own,
                "outcomes",
                "Outcomes that were reported, by type (`other` if it is not declared) and verdict",
                Family::default(),
            )),
            late: plain(
                own,
                "outcomes_late",
                "Accepted outcomes that happened after the attribution window of their type",
                Counter::default(),
            ),
            unattributed: plain(
                own,
                "outcomes_unattributed",
                "Accepted outcomes whose decision is not known",
                Counter::default(),
            ),
        }
    }
}
