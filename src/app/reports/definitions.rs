//! Experiments and metrics as a release defines them. No model is loaded for that.

use std::collections::BTreeMap;

use super::ReportError;
use experiment::{Experiment, Measured, Metric, State};
use feature::FeatureSchema;
use model::{MAX_SEGMENTS_BYTES, read_at_most};
use offer::{Catalog, Rule};
use release::{Release, Segmenter, Store};
use segment::Segmentation;

/// What a stored release defines.
pub(super) struct Definitions {
    /// Offers, policy and experiments.
    pub(super) catalog: Catalog,
    /// The name and the version of its segmentation.
    segmentation: Option<(String, u64)>,
}

impl Definitions {
    /// Reads a release.
    ///
    /// # Errors
    /// When it cannot be read, or this version refuses it.
    pub(super) fn of_store(store: &Store, number: u64) -> Result<Self, ReportError> {
        let files = store.release(number)?;
        let schema =
            FeatureSchema::parse("features.toml", &files.features).map_err(ReportError::Definitions)?;
        let (offers, policy) = (("offers.toml", &*files.offers), ("policy.toml", &*files.policy));
        let catalog = offer::read(&schema, offers, policy)
            .map_err(|unsound| ReportError::Definitions(unsound.problems))?;
        let named = catalog.policy.segmentation.as_ref();
        let segmentation = named.and_then(|named| {
            let version = files.record.models.get(&named.name)?;
            Some((named.name.clone(), *version))
        });
        Ok(Self { catalog, segmentation })
    }

    /// The names of its segments. A report without them has their numbers.
    pub(super) fn segments(&self, store: &Store) -> BTreeMap<i64, String> {
        let Some((name, version)) = &self.segmentation else { return BTreeMap::new() };
        let read = || -> Result<Segmentation, String> {
            let directory = store.fetch_version(name, *version).map_err(|error| error.to_string())?;
            let json = read_at_most(&directory.join(segment::FILE_NAME), MAX_SEGMENTS_BYTES);
            let json = json.map_err(|error| error.to_string())?;
            Segmentation::parse(segment::FILE_NAME, &json).map_err(|problems| problems.to_string())
        };
        match read() {
            Ok(segmentation) => {
                (0..).zip(segmentation.segments()).map(|(id, segment)| (id, segment.name.clone())).collect()
            }
            Err(error) => {
                tracing::warn!(segmentation = name, version, error, "a report has no names of segments");
                BTreeMap::new()
            }
        }
    }
}

/// The names of the segments of a release in memory.
pub(in crate::app) fn segments_of(release: &Release) -> BTreeMap<i64, String> {
    let names = release.segmentation().map(Segmenter::names).unwrap_or_default();
    (0..).zip(names).map(|(id, name)| (id, name.to_string())).collect()
}

/// An experiment as a release defines it, apart from the release.
#[derive(Debug, Clone)]
pub(in crate::app) struct Defined {
    /// Its id.
    pub(in crate::app) id: String,
    /// Whether it assigns.
    pub(in crate::app) state: State,
    /// The share of those eligible that take part.
    pub(in crate::app) coverage: f64,
    /// Its phase.
    pub(in crate::app) phase: u64,
    /// Its variants with their weights, the control first.
    pub(in crate::app) variants: Vec<(String, f64)>,
    /// The ids of its placements; none for everywhere.
    pub(in crate::app) placements: Vec<String>,
    /// What it is judged by.
    pub(in crate::app) measured: Option<Measured>,
    /// The metrics that this means.
    pub(in crate::app) metrics: Vec<Metric>,
}

impl Defined {
    /// The experiment of a catalog called `id`.
    pub(in crate::app) fn find(catalog: &Catalog, id: &str) -> Option<Self> {
        let at = catalog.experiments.all.iter().position(|experiment| experiment.id == id)?;
        let (experiment, placements) = (&catalog.experiments.all[at], &catalog.policy.placements);
        let variants = experiment.variants.iter();
        Some(Self {
            id: experiment.id.clone(),
            state: experiment.state,
            coverage: experiment.coverage,
            phase: catalog.phases.get(at)?.0,
            variants: variants.map(|variant| (variant.id.clone(), variant.weight)).collect(),
            placements: experiment.placements.iter().map(|index| placements[*index].id.clone()).collect(),
            measured: experiment.measured.clone(),
            metrics: catalog.experiments.metrics.clone(),
        })
    }

    /// An earlier phase of `present`: its state and its coverage are those of now, and so is what it is judged by, if that
    /// is anything.
    pub(super) fn judged_as(self, present: Option<Self>) -> Self {
        let Some(present) = present else { return self };
        let Self { state, coverage, measured, metrics, .. } = present;
        match measured {
            Some(_) => Self { state, coverage, measured, metrics, ..self },
            None => Self { state, coverage, ..self },
        }
    }

    /// Those of a catalog that run and have guardrails.
    pub(in crate::app) fn guarded(catalog: &Catalog) -> Vec<Self> {
        let has_guardrails = |experiment: &&Experiment<Rule>| {
            experiment.state == State::Running
                && experiment.measured.as_ref().is_some_and(|measured| !measured.guardrails.is_empty())
        };
        let guarded = catalog.experiments.all.iter().filter(has_guardrails);
        guarded.filter_map(|experiment| Self::find(catalog, &experiment.id)).collect()
    }
}
