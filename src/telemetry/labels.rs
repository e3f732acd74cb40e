//! The label sets of the metrics, and the bound on those whose values come from files: a file cannot make the server
//! collect series without end.

use std::hash::{Hash, Hasher};
use std::sync::{PoisonError, RwLock};

use hashbrown::{Equivalent, HashMap};
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
pub(super) struct OfferLabels {
    pub(super) placement: String,
    pub(super) offer: String,
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

/// The most series of one metric; what comes later is counted under [`Labels::REST`].
pub(super) const SERIES_LIMIT: usize = 1_000;

/// Stands for every name beyond the limit of series.
pub(super) const OTHER: &str = "other";

/// Labels with texts that come from files.
pub(super) trait Labels: Clone + Hash + Eq {
    /// The same with the texts of somebody else, to look for without making them; hashes alike.
    type Lent<'t>: Copy + Hash;

    /// Stand for everything that does not fit.
    const REST: Self::Lent<'static>;

    fn of(lent: Self::Lent<'_>) -> Self;

    fn are(&self, lent: Self::Lent<'_>) -> bool;
}

/// A family with at most [`SERIES_LIMIT`] series, and one for the rest.
#[derive(Debug)]
pub(super) struct Bounded<L, M, C = fn() -> M> {
    family: Family<L, M, C>,
    /// What the family has, the rest excepted: the path of a request finds it here without a text of its own.
    known: RwLock<HashMap<L, M>>,
}

struct Key<'t, L: Labels>(L::Lent<'t>);

impl<L: Labels> Hash for Key<'_, L> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<L: Labels> Equivalent<L> for Key<'_, L> {
    fn equivalent(&self, labels: &L) -> bool {
        labels.are(self.0)
    }
}

impl<L: Labels, M: Clone, C: MetricConstructor<M>> Bounded<L, M, C> {
    pub(super) fn new(family: Family<L, M, C>) -> Self {
        Self { family, known: RwLock::default() }
    }

    /// The metric with these labels, or the one for the rest.
    pub(super) fn with(&self, labels: L::Lent<'_>) -> M {
        let key = Key::<L>(labels);
        if let Some(metric) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return metric.clone();
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERIES_LIMIT && !known.contains_key(&key) {
            return self.family.get_or_create_owned(&L::of(L::REST));
        }
        let labels = L::of(labels);
        let metric = self.family.get_or_create_owned(&labels);
        known.insert(labels, metric.clone());
        metric
    }
}

impl Labels for PlacementLabels {
    type Lent<'t> = &'t str;
    const REST: &'static str = OTHER;

    fn of(placement: &str) -> Self {
        Self { placement: placement.to_owned() }
    }

    fn are(&self, placement: &str) -> bool {
        self.placement == placement
    }
}

impl Labels for RuleLabels {
    type Lent<'t> = (&'t str, &'t str);
    const REST: (&'static str, &'static str) = (OTHER, OTHER);

    fn of((offer, rule): (&str, &str)) -> Self {
        Self { offer: offer.to_owned(), rule: rule.to_owned() }
    }

    fn are(&self, (offer, rule): (&str, &str)) -> bool {
        self.offer == offer && self.rule == rule
    }
}

impl Labels for ModelLabels {
    type Lent<'t> = &'t str;
    const REST: &'static str = OTHER;

    fn of(model: &str) -> Self {
        Self { model: model.to_owned() }
    }

    fn are(&self, model: &str) -> bool {
        self.model == model
    }
}

impl Labels for VersionLabels {
    type Lent<'t> = (&'t str, u64);
    const REST: (&'static str, u64) = (OTHER, 0);

    fn of((model, version): (&str, u64)) -> Self {
        Self { model: model.to_owned(), version }
    }

    fn are(&self, (model, version): (&str, u64)) -> bool {
        self.model == model && self.version == version
    }
}
