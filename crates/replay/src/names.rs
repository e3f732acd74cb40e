//! The names that a release gives to what records have by position, for exports.

use std::sync::Arc;

use event::export::{FeatureKind, FeatureName, Names};
use event::proto::DecisionRecord;
use feature::{Entity, FeatureType};
use release::Snapshot;

use super::releases::Releases;

/// The names of a release.
#[derive(Debug)]
struct ReleaseNames {
    snapshot: Arc<Snapshot>,
    customer: Vec<FeatureName>,
    context: Vec<FeatureName>,
}

/// The names of a release, if it can be loaded.
#[must_use]
pub fn names(releases: &Releases, release: u64) -> Option<Arc<dyn Names>> {
    let snapshot = releases.get(release).ok()?;
    let of = |entity| snapshot.release.schema().of(entity).iter().map(name).collect();
    let (customer, context) = (of(Entity::Customer), of(Entity::Context));
    Some(Arc::new(ReleaseNames { snapshot, customer, context }))
}

fn name(feature: &feature::Feature) -> FeatureName {
    let kind = match feature.feature_type {
        FeatureType::Float => FeatureKind::Float,
        FeatureType::Int => FeatureKind::Int,
        FeatureType::Bool => FeatureKind::Bool,
        FeatureType::String => FeatureKind::String,
    };
    FeatureName { name: feature.name.clone(), kind, sensitive: feature.sensitive }
}

impl Names for ReleaseNames {
    fn customer_features(&self) -> &[FeatureName] {
        &self.customer
    }

    fn context_features(&self) -> &[FeatureName] {
        &self.context
    }

    fn candidates(&self, record: &DecisionRecord) -> Option<Vec<String>> {
        let catalog = self.snapshot.release.catalog();
        let placement = catalog.policy.placement(catalog.policy.find_placement(&record.placement)?);
        let considered = |id: &str| {
            let is = |one: &String| one == id;
            (record.candidate_offer_ids.is_empty() || record.candidate_offer_ids.iter().any(is))
                && !record.exclude_offer_ids.iter().any(is)
        };
        let ids = placement.candidates.iter().map(|candidate| &*catalog.library.get(candidate.offer).id);
        Some(ids.filter(|id| considered(id)).map(str::to_owned).collect())
    }
}
