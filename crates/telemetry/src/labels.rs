//! The label sets of the metrics, and a bound on those with values from files: no file can create endless series.

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
pub(super) struct ArmLabels {
    pub(super) experiment: String,
    pub(super) variant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ExperimentLabels {
    pub(super) experiment: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ShadowLabels {
    pub(super) shadow: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SideLabels {
    pub(super) shadow: String,
    pub(super) side: &'static str,
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
pub(super) struct StepLabels {
    pub(super) action: &'static str,
    pub(super) by: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: String,
    pub(super) verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct LimitLabels {
    pub(super) offer: String,
    pub(super) limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReleaseLabels {
    pub(super) release: u64,
}

/// The most series of one metric; further ones are counted under [`Labels::OVERFLOW`].
pub(super) const SERIES_LIMIT: usize = 1_000;

/// The label of every name beyond the limit of series.
pub(super) const OTHER: &str = "other";

/// Labels with texts that come from files.
pub(super) trait Labels: Clone + Hash + Eq {
    /// The labels with borrowed texts, for lookups without allocation; has the same hash.
    type Borrowed<'t>: Copy + Hash;

    /// The labels of everything beyond the limit.
    const OVERFLOW: Self::Borrowed<'static>;

    fn of(labels: Self::Borrowed<'_>) -> Self;

    fn matches(&self, labels: Self::Borrowed<'_>) -> bool;
}

/// A family with at most [`SERIES_LIMIT`] series and one for the overflow.
#[derive(Debug)]
pub(super) struct Bounded<L, M, C = fn() -> M> {
    family: Family<L, M, C>,
    /// All series but the overflow. A request finds its series here without allocating a text.
    known: RwLock<HashMap<L, M>>,
}

struct Key<'t, L: Labels>(L::Borrowed<'t>);

impl<L: Labels> Hash for Key<'_, L> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<L: Labels> Equivalent<L> for Key<'_, L> {
    fn equivalent(&self, labels: &L) -> bool {
        labels.matches(self.0)
    }
}

impl<L: Labels, M: Clone, C: MetricConstructor<M>> Bounded<L, M, C> {
    pub(super) fn new(family: Family<L, M, C>) -> Self {
        Self { family, known: RwLock::default() }
    }

    /// The metric with these labels, or the overflow metric.
    pub(super) fn with(&self, labels: L::Borrowed<'_>) -> M {
        let key = Key::<L>(labels);
        if let Some(metric) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return metric.clone();
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERIES_LIMIT && !known.contains_key(&key) {
            return self.family.get_or_create_owned(&L::of(L::OVERFLOW));
        }
        let labels = L::of(labels);
        let metric = self.family.get_or_create_owned(&labels);
        known.insert(labels, metric.clone());
        metric
    }

    /// Drops the series that `keep` refuses, so that others find room. The overflow stays.
    pub(super) fn retain(&self, keep: impl Fn(&L) -> bool) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|labels, _| {
            let kept = keep(labels);
            if !kept {
                self.family.remove(labels);
            }
            kept
        });
    }
}

impl Labels for PlacementLabels {
    type Borrowed<'t> = &'t str;
    const OVERFLOW: &'static str = OTHER;

    fn of(placement: &str) -> Self {
        Self { placement: placement.to_owned() }
    }

    fn matches(&self, placement: &str) -> bool {
        self.placement == placement
    }
}

impl Labels for RuleLabels {
    type Borrowed<'t> = (&'t str, &'t str);
    const OVERFLOW: (&'static str, &'static str) = (OTHER, OTHER);

    fn of((offer, rule): (&str, &str)) -> Self {
        Self { offer: offer.to_owned(), rule: rule.to_owned() }
    }

    fn matches(&self, (offer, rule): (&str, &str)) -> bool {
        self.offer == offer && self.rule == rule
    }
}

impl Labels for ArmLabels {
    type Borrowed<'t> = (&'t str, &'t str);
    const OVERFLOW: (&'static str, &'static str) = (OTHER, OTHER);

    fn of((experiment, variant): (&str, &str)) -> Self {
        Self { experiment: experiment.to_owned(), variant: variant.to_owned() }
    }

    fn matches(&self, (experiment, variant): (&str, &str)) -> bool {
        self.experiment == experiment && self.variant == variant
    }
}

impl Labels for ExperimentLabels {
    type Borrowed<'t> = &'t str;
    const OVERFLOW: &'static str = OTHER;

    fn of(experiment: &str) -> Self {
        Self { experiment: experiment.to_owned() }
    }

    fn matches(&self, experiment: &str) -> bool {
        self.experiment == experiment
    }
}

impl Labels for ShadowLabels {
    type Borrowed<'t> = &'t str;
    const OVERFLOW: &'static str = OTHER;

    fn of(shadow: &str) -> Self {
        Self { shadow: shadow.to_owned() }
    }

    fn matches(&self, shadow: &str) -> bool {
        self.shadow == shadow
    }
}

impl Labels for SideLabels {
    type Borrowed<'t> = (&'t str, &'static str);
    const OVERFLOW: (&'static str, &'static str) = (OTHER, OTHER);

    fn of((shadow, side): (&str, &'static str)) -> Self {
        Self { shadow: shadow.to_owned(), side }
    }

    fn matches(&self, (shadow, side): (&str, &'static str)) -> bool {
        self.shadow == shadow && self.side == side
    }
}

impl Labels for ModelLabels {
    type Borrowed<'t> = &'t str;
    const OVERFLOW: &'static str = OTHER;

    fn of(model: &str) -> Self {
        Self { model: model.to_owned() }
    }

    fn matches(&self, model: &str) -> bool {
        self.model == model
    }
}

impl Labels for VersionLabels {
    type Borrowed<'t> = (&'t str, u64);
    const OVERFLOW: (&'static str, u64) = (OTHER, 0);

    fn of((model, version): (&str, u64)) -> Self {
        Self { model: model.to_owned(), version }
    }

    fn matches(&self, (model, version): (&str, u64)) -> bool {
        self.model == model && self.version == version
    }
}

impl Labels for LimitLabels {
    type Borrowed<'t> = (&'t str, &'static str);
    const OVERFLOW: (&'static str, &'static str) = (OTHER, OTHER);

    fn of((offer, limit): (&str, &'static str)) -> Self {
        Self { offer: offer.to_owned(), limit }
    }

    fn matches(&self, (offer, limit): (&str, &'static str)) -> bool {
        self.offer == offer && self.limit == limit
    }
}

impl Labels for OutcomeLabels {
    type Borrowed<'t> = (&'t str, &'static str);
    const OVERFLOW: (&'static str, &'static str) = (OTHER, OTHER);

    fn of((outcome, verdict): (&str, &'static str)) -> Self {
        Self { outcome: outcome.to_owned(), verdict }
    }

    fn matches(&self, (outcome, verdict): (&str, &'static str)) -> bool {
        self.outcome == outcome && self.verdict == verdict
    }
}
