//! Experiments: what is done to them, and how they are evaluated.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Counters, Seconds, in_unit, plain};
use crate::labels::StepLabels;

/// Experiments: what is done to them, and how they are evaluated.
pub struct ExperimentMetrics {
    pub(super) steps: Counters<StepLabels>,
    /// Stops that could not be written, because the store is away.
    pub stops_pending: Gauge,
    /// When guardrails were last evaluated, in seconds since 1970.
    pub evaluated: Seconds,
    /// How long that took, in seconds.
    pub evaluation: Seconds,
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
            evaluated: in_unit(
                own,
                "experiment_evaluated_timestamp",
                Unit::Seconds,
                "When the guardrails of all experiments that run were last evaluated here since 1970, 0 if they never \
                 were",
                Seconds::default(),
            ),
            evaluation: in_unit(
                own,
                "experiment_evaluation",
                Unit::Seconds,
                "How long the last evaluation of the guardrails of experiments took",
                Seconds::default(),
            ),
        }
    }
}
