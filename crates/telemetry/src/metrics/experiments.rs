//! Experiments: what is done to them.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Counters, plain};
use crate::labels::StepLabels;

/// Experiments: what is done to them.
pub struct ExperimentMetrics {
    pub(super) steps: Counters<StepLabels>,
    /// Stops that could not be written, because the store is away.
    pub stops_pending: Gauge,
}

impl ExperimentMetrics {
    pub(super) fn register(own: &mut Registry) -> Self {
        Self {
            steps: plain(
                own,
                "experiment_steps",
                "Steps of experiments that this server promoted, by action and by who asked: a person or the schedule",
                Family::default(),
            ),
            stops_pending: plain(
                own,
                "experiment_stops_pending",
                "Stops of experiments that could not be written, because the store is away; they are tried again",
                Gauge::default(),
            ),
        }
    }
}
