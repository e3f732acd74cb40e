//! The rows that a pushed version and the serving one are compared on: recent requests, or else the store's customers
//! with its offers.
//!
//! A server that has just started, or a store without a server, has too few recent requests. A version that reverses
//! every ranking must not pass because of that. Start reading at [`Registry::sample`].

use std::path::Path;
use std::sync::Arc;

use super::Registry;
use crate::ReleaseFiles;
use crate::gates::{LEAST_ROWS, Sample, segments_in};
use crate::load::{Loaded, Segmenter, load_version};
use document::grouped;
use feature::store::{CustomerSource, CustomerTable};
use feature::{Entity, FeatureSchema, RecentRow, Row, ValueRef};
use model::{Layout, Manifest, ModelKind};
use offer::Offer;
use work::priority::yield_if_due;

/// The most customers that are paired with offers; more take longer and add no information.
const MAX_CUSTOMERS: usize = 1000;

/// The most rows: as many as the server keeps of recent requests.
const MAX_ROWS: usize = 4096;

impl Registry {
    /// Rows for comparing a version with its champion, which lies in the directory `champion` and serves under
    /// `schema` in the release `current`.
    pub(super) fn sample(&self, current: &ReleaseFiles, schema: &FeatureSchema, champion: &Path) -> Sample {
        let recent = Sample { rows: self.shared.recent.snapshot(), source: "recent rows".to_owned() };
        if recent.rows.len() >= LEAST_ROWS {
            return recent;
        }
        match self.of_customers(current, schema, champion) {
            Some(sample) if sample.rows.len() > recent.rows.len() => sample,
            _ => recent,
        }
    }

    /// The store's customers, each with some of the offers that the champion scores. `None` where there are no
    /// customers or a file of the release cannot be read; other checks report that.
    fn of_customers(
        &self,
        current: &ReleaseFiles,
        schema: &FeatureSchema,
        champion: &Path,
    ) -> Option<Sample> {
        if segments_in(champion).is_some() {
            // Another training may number its segments differently, which is no fault.
            return None;
        }
        let customers = self.customers(schema)?;
        let texts = (("offers.toml", current.offers.as_str()), ("policy.toml", current.policy.as_str()));
        let catalog = offer::read(schema, texts.0, texts.1).ok()?;
        let segmenter = catalog.policy.segmentation.as_ref().and_then(|named| {
            let version = *current.record.models.get(&named.name)?;
            self.segmenter(&named.name, version, schema)
        });
        let offers = scored(champion, catalog.library.offers());
        let schema = Arc::new(schema.clone());
        let rows = pairs(&schema, &customers, &offers, segmenter.as_ref());
        let count = customers.len().min(most_customers(&offers));
        Some(Sample {
            rows,
            source: format!("rows from {} customers of the store", grouped(&count.to_string())),
        })
    }

    /// The customers that the server has in memory, or else those of the store.
    fn customers(&self, schema: &FeatureSchema) -> Option<Arc<CustomerTable>> {
        let serving = self.shared.publisher.serving();
        let known = serving.filter(|serving| **serving.release.schema() == *schema);
        let customers = match known {
            Some(serving) => Arc::clone(&serving.customers),
            None => {
                self.shared.store.sync_customers().ok()?;
                Arc::new(CustomerSource::new(self.shared.store.customers_dir()).load(schema).ok()?.0)
            }
        };
        (!customers.is_empty()).then_some(customers)
    }

    fn segmenter(&self, name: &str, version: u64, schema: &FeatureSchema) -> Option<Segmenter> {
        let directory = self.shared.store.fetch_version(name, version).ok()?;
        match load_version(&directory, name, version, schema, &self.shared.cache).ok()? {
            Loaded::Segmentation(segmenter) => Some(*segmenter),
            Loaded::Model(_) => None,
        }
    }
}

/// The offers that the version in a directory scores; none for a segmentation.
fn scored<'o>(directory: &Path, offers: &'o [Offer]) -> Vec<&'o Offer> {
    let text = std::fs::read_to_string(directory.join("model.toml")).unwrap_or_default();
    let manifest = Manifest::parse("model.toml", &text).ok();
    let all = offers.iter();
    match manifest {
        Some(manifest) if manifest.layout == Some(Layout::MultiOffer) => {
            all.filter(|offer| manifest.offers.iter().any(|id| *id == *offer.id)).collect()
        }
        Some(manifest) if manifest.layout == Some(Layout::PerOffer) => {
            all.filter(|offer| directory.join(format!("{}.onnx", offer.id)).is_file()).collect()
        }
        Some(manifest) if matches!(manifest.kind, ModelKind::Segmentation | ModelKind::Generic) => Vec::new(),
        _ => all.collect(),
    }
}

fn most_customers(offers: &[&Offer]) -> usize {
    if offers.is_empty() { MAX_ROWS } else { MAX_CUSTOMERS }
}

/// Customers at even steps through the whole file; the offers take turns, so that each occurs equally often.
fn pairs(
    schema: &Arc<FeatureSchema>,
    customers: &CustomerTable,
    offers: &[&Offer],
    segmenter: Option<&Segmenter>,
) -> Vec<RecentRow> {
    let taken = customers.len().min(most_customers(offers)).max(1);
    let each = (MAX_ROWS / taken).min(offers.len());
    let step = (customers.len() / taken).max(1);
    let context: Vec<ValueRef<'_>> =
        schema.of(Entity::Context).iter().map(|feature| feature.default_ref()).collect();
    let nothing: Vec<ValueRef<'_>> =
        schema.of(Entity::Offer).iter().map(|feature| feature.default_ref()).collect();
    let none: Arc<str> = "".into();
    let mut rows = Vec::with_capacity(taken * each.max(1));
    let mut stored = Vec::new();
    for (at, row) in customers.rows().step_by(step).take(taken).enumerate() {
        yield_if_due();
        customers.read_row(row, &mut stored);
        // The artefact imputes missing values; the schema's defaults do not apply.
        let segment = segmenter.map(|segmenter| segmenter.assign(|index| stored[index]));
        let segment = segment.as_ref().map(crate::load::AssignedSegment::as_ref);
        let features = schema.of(Entity::Customer).iter();
        let customer: Vec<ValueRef<'_>> =
            stored.iter().zip(features).map(|(value, feature)| value.or(feature.default_ref())).collect();
        let of = |offer: &[ValueRef<'_>], id: &Arc<str>| {
            let row = Row { customer: &customer, context: &context, offer, segment };
            RecentRow::new(schema, id, &row)
        };
        if offers.is_empty() {
            rows.push(of(&nothing, &none));
        }
        for offer in (0..each).map(|turn| offers[(at * each + turn) % offers.len()]) {
            let features: Vec<ValueRef<'_>> = offer.features.iter().map(ValueRef::from).collect();
            rows.push(of(&features, &offer.id));
        }
    }
    rows
}
