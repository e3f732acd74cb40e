//! The best offers for a segment: those that a workspace's release would show its customers first.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::check::check_workspace;
use super::super::{Failure, block_on};
use decision::{Customer, Decider, RankRequest, RankResult};
use feature::store::CustomerTable;
use feature::{Entity, FeatureBatch, FeatureSchema, RecentRows};
use offer::OfferIndex;
use release::{Publisher, Release, Snapshot, Workspace};
use segment_train::train::Trained;
use segment_train::train::study::SuitableOffer;
use telemetry::Metrics;
use work::{Call, Workers};

/// Customers of a segment that are ranked, spread evenly over its rows.
const SAMPLE_ROWS: usize = 200;

/// The most offers that are listed for a segment.
const LISTED_OFFERS: usize = 5;

/// For each segment the offers of the workspace that its customers would be shown first, best first, at the placement
/// with the most offers. Every consent counts as given: the list shows what suits, not what is allowed today.
///
/// # Errors
/// When the workspace is not sound, or knows none of the features.
pub(super) fn suitable(workspace: &Path, trained: &Trained) -> Result<Vec<Vec<SuitableOffer>>, Failure> {
    let checked = check_workspace(&Workspace::open(workspace)?)?;
    let release = Arc::clone(&checked.release);
    let known = known_features(trained, release.schema());
    if known.is_empty() {
        let message = format!(
            "--offers {}: its features.toml has none of the features of the segments; name the columns as the schema does",
            workspace.display()
        );
        return Err(Failure::new(message));
    }
    let placements = release.catalog().policy.placements.iter();
    let Some(placement) = placements.max_by_key(|placement| placement.candidates.len()) else {
        return Err(Failure::new(format!(
            "--offers {}: its policy.toml has no placement",
            workspace.display()
        )));
    };
    let decider = decider_of(Arc::clone(&release))?;
    let segments = 0..trained.segmentation.len() as u32;
    let of_segment = |segment| {
        let rows = trained.sample_of(segment, SAMPLE_ROWS);
        let request = request(&release, &placement.id, trained, &known, &rows);
        let (_, results) = block_on(async { Ok(decider.rank(request, &Call::default()).await?) })?;
        Ok(most_shown(&results, &release))
    };
    segments.map(of_segment).collect()
}

/// The features of the segmentation that the schema has, by position: those that a request can bring.
fn known_features(trained: &Trained, schema: &FeatureSchema) -> Vec<usize> {
    let features = trained.segmentation.features().iter().enumerate();
    let of_customers = |name: &str| matches!(schema.find(name), Some((Entity::Customer, _)));
    features
        .filter(|(_, feature)| feature.equals.is_none() && of_customers(&feature.name))
        .map(|(index, _)| index)
        .collect()
}

/// Decides by a release that serves nowhere, without customers of its own.
fn decider_of(release: Arc<Release>) -> Result<Decider, Failure> {
    let publisher = Publisher::default();
    let customers = Arc::new(CustomerTable::empty(release.schema()));
    drop(publisher.publish(Arc::new(Snapshot { release, customers })));
    let workers = Workers::start(1, SAMPLE_ROWS)?;
    let (metrics, recent) = (Arc::new(Metrics::new()), Arc::new(RecentRows::new(0)));
    Ok(Decider::new(publisher.pointer(), workers, metrics, recent))
}

/// Asks for the best offer of each of these rows, with every consent that any offer needs.
fn request(
    release: &Release,
    placement: &str,
    trained: &Trained,
    known: &[usize],
    rows: &[usize],
) -> RankRequest {
    let offers = release.catalog().library.offers();
    let consents: Vec<String> = offers.iter().flat_map(|offer| offer.consents.iter().cloned()).collect();
    let features = trained.segmentation.features();
    let values = rows.iter().flat_map(|row| known.iter().map(|index| trained.raw(*row)[*index]));
    RankRequest {
        placement: placement.to_owned(),
        customers: rows
            .iter()
            .map(|row| Customer { id: format!("row {row}"), consents: consents.clone() })
            .collect(),
        features: FeatureBatch {
            rows: rows.len(),
            dense_names: known.iter().map(|index| &features[*index].name).collect(),
            dense_values: values.collect(),
            columns: Vec::new(),
        },
        count: 1,
        explain: decision::Explain::Winners,
        dry_run: true,
        ..RankRequest::default()
    }
}

/// The offers that these decisions show most often, with the mean propensity.
fn most_shown(results: &[RankResult], release: &Release) -> Vec<SuitableOffer> {
    let mut first: BTreeMap<OfferIndex, (usize, Vec<f64>)> = BTreeMap::new();
    for offer in results.iter().filter_map(|result| result.offers.first()).filter(|offer| !offer.fallback) {
        let (count, propensities) = first.entry(offer.offer).or_default();
        *count += 1;
        propensities.extend(offer.factors.as_ref().map(|factors| factors.propensity));
    }
    let library = &release.catalog().library;
    let mut suitable: Vec<SuitableOffer> = first
        .into_iter()
        .map(|(offer, (count, propensities))| SuitableOffer {
            name: library.get(offer).name.clone(),
            id: library.get(offer).id.to_string(),
            share: count as f64 / results.len().max(1) as f64,
            propensity: (!propensities.is_empty())
                .then(|| propensities.iter().sum::<f64>() / propensities.len() as f64),
        })
        .collect();
    suitable.sort_by(|one, other| other.share.total_cmp(&one.share).then_with(|| one.id.cmp(&other.id)));
    suitable.truncate(LISTED_OFFERS);
    suitable
}
