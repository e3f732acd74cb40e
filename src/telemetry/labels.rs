//! The label sets of the metrics, and the bound on those whose values come from files: a file cannot make the server
//! collect series without end.

use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::{Family, MetricConstructor};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RpcLabels {
    pub(super) rpc: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) rpc: &'static str,
    pub(super) code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub(super) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PlacementLabels {
    pub(super) placement: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RuleLabels {
    pub(super) offer: String,
    pub(super) rule: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ModelLabels {
    pub(super) model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VersionLabels {
    pub(super) model: String,
    pub(super) version: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EngineLabels {
    pub(super) model: String,
    pub(super) version: u64,
    pub(super) engine: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GateLabels {
    pub(super) gate: String,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReleaseLabels {
    pub(super) release: u64,
}

/// The most series of one metric; what comes later is counted under [`Labels::rest`].
pub(super) const SERIES_LIMIT: usize = 1_000;

/// Stands for every name beyond the limit of series.
const OTHER: &str = "other";

/// Labels that have a value for everything that does not fit.
pub(super) trait Labels: Clone + Hash + Eq {
    fn rest() -> Self;
}

/// A family with at most [`SERIES_LIMIT`] series, and one for the rest.
#[derive(Debug)]
pub(super) struct Bounded<L, M, C = fn() -> M> {
    family: Family<L, M, C>,
    series: AtomicUsize,
}

impl<L: Labels, M: Clone, C: MetricConstructor<M>> Bounded<L, M, C> {
    pub(super) fn new(family: Family<L, M, C>) -> Self {
        Self { family, series: AtomicUsize::new(0) }
    }

    /// The metric with these labels, or the one for the rest. Two threads that ask for the same new labels at once count
    /// them twice, which makes the limit a little smaller and nothing worse.
    pub(super) fn with(&self, labels: &L) -> M {
        if let Some(known) = self.family.get(labels) {
            return known.clone();
        }
        if self.series.load(Ordering::Relaxed) >= SERIES_LIMIT {
            return self.family.get_or_create_owned(&L::rest());
        }
        self.series.fetch_add(1, Ordering::Relaxed);
        self.family.get_or_create_owned(labels)
    }
}

impl Labels for PlacementLabels {
    fn rest() -> Self {
        Self { placement: OTHER.to_owned() }
    }
}

impl Labels for RuleLabels {
    fn rest() -> Self {
        Self { offer: OTHER.to_owned(), rule: OTHER.to_owned() }
    }
}

impl Labels for ModelLabels {
    fn rest() -> Self {
        Self { model: OTHER.to_owned() }
    }
}

impl Labels for VersionLabels {
    fn rest() -> Self {
        Self { model: OTHER.to_owned(), version: 0 }
    }
}
