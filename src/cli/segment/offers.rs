//! Which offers suit a segment: what the releases of a workspace would show its customers first.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::check::check_workspace;
use super::super::{Failure, block_on};
use crate::decision::{Customer, Decider, RankRequest};
use crate::feature::store::CustomerTable;
use crate::feature::{Entity, FeatureBatch, RecentRows};
use crate::model::{Call, Workers};
use crate::release::{Publisher, Snapshot, Workspace};
use crate::segment::train::Trained;
use crate::segment::train::study::SuitableOffer;
use crate::telemetry::Metrics;

/// Customers of a segment that are asked about: spread evenly over its rows.
const ASKED: usize = 200;

/// Offers that are told of a segment.
const TOLD: usize = 5;

/// For each segment the offers of the workspace that its customers would be shown first, at the placement with the most offers,
/// best first. Every consent counts as given: what suits is asked, not what is allowed today.
///
/// # Errors
/// When the workspace is not sound, or knows none of the features.
pub(super) fn suitable(workspace: &Path, trained: &Trained) -> Result<Vec<Vec<SuitableOffer>>, Failure> {
    let checked = check_workspace(&Workspace::open(workspace)?)?;
    let schema = Arc::clone(checked.release.schema());
    let features = trained.segmentation.features();
    let known: Vec<usize> = features
        .iter()
        .enumerate()
        .filter(|(_, feature)| feature.equals.is_none())
        .filter(|(_, feature)| {
            schema.find(&feature.name).is_some_and(|(entity, _)| entity == Entity::Customer)
        })
        .map(|(index, _)| index)
        .collect();
    if known.is_empty() {
        let message = format!(
            "--offers {}: its features.toml has none of the features of the segments; name the columns as the schema does",
            workspace.display()
        );
        return Err(Failure::new(message));
    }
    let catalog = checked.release.catalog();
    let placements = catalog.policy.placements.iter();
    let Some(placement) = placements.max_by_key(|placement| placement.candidates.len()) else {
        return Err(Failure::new(format!(
            "--offers {}: its policy.toml has no placement",
            workspace.display()
        )));
    };
    let placement = placement.id.clone();
    let offers = catalog.library.offers();
    let consents: Vec<String> = offers.iter().flat_map(|offer| offer.consents.iter().cloned()).collect();
    let names: BTreeMap<Arc<str>, String> =
        offers.iter().map(|offer| (Arc::clone(&offer.id), offer.name.clone())).collect();

    let publisher = Publisher::default();
    let customers = Arc::new(CustomerTable::empty(&schema));
    drop(publisher.publish(Arc::new(Snapshot { release: Arc::clone(&checked.release), customers })));
    let decider = Decider::new(
        publisher.pointer(),
        Workers::start(1, ASKED)?,
        Arc::new(Metrics::new()),
        Arc::new(RecentRows::new(0)),
    );
    let segments = 0..trained.segmentation.len() as u32;
    let mut all = Vec::with_capacity(segments.len());
    for segment in segments {
        let rows = trained.sample_of(segment, ASKED);
        let values = rows.iter().flat_map(|row| known.iter().map(|index| trained.raw(*row)[*index]));
        let request = RankRequest {
            placement: placement.clone(),
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
            explain: crate::decision::Explain::Winners,
            dry_run: true,
            ..RankRequest::default()
        };
        let (_, results) = block_on(async { Ok(decider.rank(request, &Call::default()).await?) })?;
        let mut first: BTreeMap<Arc<str>, (usize, Vec<f64>)> = BTreeMap::new();
        for offer in results.iter().filter_map(|result| result.offers.first()).filter(|offer| !offer.fallback)
        {
            let (count, propensities) = first.entry(Arc::clone(&offer.offer_id)).or_default();
            *count += 1;
            propensities.extend(offer.factors.as_ref().map(|factors| factors.propensity));
        }
        let mut suitable: Vec<SuitableOffer> = first
            .into_iter()
            .map(|(id, (count, propensities))| SuitableOffer {
                name: names.get(&id).cloned().unwrap_or_default(),
                id: id.to_string(),
                share: count as f64 / rows.len().max(1) as f64,
                propensity: (!propensities.is_empty())
                    .then(|| propensities.iter().sum::<f64>() / propensities.len() as f64),
            })
            .collect();
        suitable.sort_by(|one, other| other.share.total_cmp(&one.share).then_with(|| one.id.cmp(&other.id)));
        suitable.truncate(TOLD);
        all.push(suitable);
    }
    Ok(all)
}
