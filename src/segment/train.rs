//! Training: from a table of customers to a [`Segmentation`] and all that is known of it, the same bytes for the same file and seed.
//!
//! Reads the table (`table`), learns the preparation from it (`learn`), tries numbers of segments and takes one (`choose`, on `k_means` and
//! `silhouette`), matches the segments to those of a version before (`matching`), describes them (`profile`) and holds them against other
//! methods (`compare`, with `choose` the only places that know linfa). Nothing is printed and nothing is written. Start reading at [`train`].

#[cfg(test)]
mod cc_general;
mod choose;
mod compare;
pub(in crate::segment) mod customers;
mod draw;
pub mod k_means;
mod learn;
mod matching;
mod membership;
mod outliers;
mod profile;
pub mod progress;
pub mod settings;
pub mod silhouette;
pub mod study;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use ndarray::ArrayView2;

pub use choose::{ChooseError, DEFAULT_KS, DEFAULT_RESAMPLES, LEAST_JACCARD, LEAST_SHARE};
pub use compare::DEFAULT_COMPARISON_ROWS;
pub use matching::{Cause, Gate, MigrationTable, Previous, RetrainRefusal};
pub use outliers::Outliers;
pub use summary::{ChoiceTable, Summary};
pub use table::{Facts, Ids, ReadOptions, Table};

use self::choose::{ChooseOptions, Chosen};
use self::k_means::KMeansOptions;
use self::learn::Learned;
use self::membership::Membership;
use self::profile::{Evidence, PictureOptions, Profiles, Rows, pictures, profile};
use self::progress::{Progress, Stopped};
use self::settings::{TrainSettings, Unfit};
use self::silhouette::Silhouettes;
use self::study::{Comparison, Migration, Pictures, Source, Stability, Study};
use super::assign::{Centroids, Segmentation};
use super::layout::{FILE_NAME, FORMAT_VERSION, Layout, SegmentLayout, TrainingNotes};
use crate::document::Problems;
use crate::table::Writer;

/// Seed of the random generator where nobody gives one.
pub const DEFAULT_SEED: u64 = 42;

/// Restarts of k-means where nobody gives a number, as scikit-learn's `KMeans` had for long.
pub const DEFAULT_N_INIT: usize = 10;

/// Customers in each scatter of a report.
const SCATTERED: usize = 2_000;

/// How much is found out beside the segments themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// The segments, their profiles and how their number was chosen.
    Segments,
    /// Other methods and pictures of single customers, too: what a report shows.
    #[default]
    Report,
}

/// Why there is no segmentation.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The table cannot be used; every problem that was found in it.
    #[error("{0}")]
    Input(Problems),
    /// Settings that make no sense.
    #[error(transparent)]
    Settings(#[from] Unfit),
    /// No number of segments could be taken.
    #[error("{file}: {source}")]
    Choice {
        /// The table.
        file: String,
        /// Why.
        #[source]
        source: ChooseError,
    },
    /// A name for a segment that there is not.
    #[error("segment {id} is given a name, but there are {k} segments, 0 to {}; give one name per segment, largest first", k - 1)]
    NoSuchSegment {
        /// The segment.
        id: u32,
        /// How many there are.
        k: usize,
    },
    /// A name without a letter.
    #[error("the name of segment {id} is empty; give each a name in plain words")]
    EmptyName {
        /// The segment.
        id: u32,
    },
    /// Two segments would have one name.
    #[error("two segments are named `{name}`; names must differ")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// The best clustering has a segment without a row.
    #[error("k-means left one of {k} segments without a row; ask for fewer segments or try another seed")]
    EmptySegment {
        /// Segments asked for.
        k: usize,
    },
    /// Whoever watched asked for the end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// What was trained is not what a server would read.
    #[error("the trained segments are not sound:\n{0}")]
    Unsound(Problems),
}

impl From<Problems> for TrainError {
    fn from(problems: Problems) -> Self {
        Self::Input(problems)
    }
}

/// A segmentation and what training knows beside it.
#[derive(Debug)]
pub struct Trained {
    /// What the server assigns by.
    pub segmentation: Segmentation,
    /// Everything that a report shows.
    pub study: Study,
    /// The segment of each row of the table, in its order.
    pub segments: Vec<u32>,
    /// The id column, where there is one.
    pub ids: Option<Ids>,
    /// Why it may not replace the version before, where one was named and something speaks against it.
    pub refusal: Option<RetrainRefusal>,
    /// Segments that are a few customers far from all others, where there are any.
    pub outliers: Option<Outliers>,
    /// Rows × features of the segmentation, row-major; NaN where a value is missing.
    raw: Vec<f32>,
}

impl Trained {
    /// The raw values of a row, in the order of the segmentation's features.
    #[must_use]
    pub fn raw(&self, row: usize) -> &[f32] {
        let width = self.segmentation.features().len();
        &self.raw[row * width..][..width]
    }

    /// At most `size` rows of a segment, spread evenly over the table.
    #[must_use]
    pub fn sample_of(&self, segment: u32, size: usize) -> Vec<usize> {
        let rows = self.segments.iter().enumerate().filter(|(_, label)| **label == segment);
        let rows: Vec<usize> = rows.map(|(row, _)| row).collect();
        let step = rows.len().div_ceil(size.max(1)).max(1);
        rows.into_iter().step_by(step).collect()
    }

    /// `id,segment` per row of the table, in its order; without an id column the id is the number of the row, from 1.
    #[must_use]
    pub fn assignments_csv(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.write(["id", "segment"]);
        for (row, segment) in self.segments.iter().enumerate() {
            let number = || (row + 1).to_string();
            let id = self.ids.as_ref().map_or_else(number, |ids| ids.get(row).to_owned());
            writer.write([id, segment.to_string()]);
        }
        writer.into_bytes()
    }
}

/// Trains segments on a table of customers.
///
/// The settings say how columns are prepared (by default: the median where a value is missing, ln(1 + x) of skewed amounts and counts, z-scores),
/// which numbers of segments are tried, and how. Segments are numbered by size, the largest first, or, where there is a version `before`, as
/// that numbers them. Values are 32-bit floats, as the server receives them, so that a row has the same segment in training and at serve time.
/// `progress` is told each step. Cost: see `choose` and `k_means`.
///
/// # Errors
/// Settings that make no sense, every problem of the table, no stable number of segments where nobody names one, more segments than
/// distinct rows; `progress` asked to stop.
pub fn train(
    table: Table,
    settings: &TrainSettings,
    before: Option<&Previous>,
    detail: Detail,
    progress: &dyn Progress,
) -> Result<Trained, TrainError> {
    settings.check()?;
    progress.begin("preparing", 1);
    let mut learned = learn::learn(&table, &settings.prepare)?;
    let labels_before = match before {
        None => None,
        Some(before) => {
            learned.note_out_of_range(&before.segmentation, &table);
            Some(customers::labels(&before.segmentation, &table, progress)??)
        }
    };
    let Table { file, ids, names: columns, values, .. } = table;
    let raw = learned.raw(values, columns.len());
    let dimensions = learned.preparation.dimensions();
    let points = learned.preparation.points(&raw);
    let matrix = ArrayView2::from_shape((points.len() / dimensions, dimensions), &points);
    let matrix =
        matrix.map_err(|error| TrainError::Unsound(Problems::one(file.as_str(), None, error.to_string())))?;

    let cluster = &settings.cluster;
    let k_means = KMeansOptions {
        mini_batch_above: cluster.mini_batch_above,
        ..KMeansOptions::new(cluster.k.unwrap_or(cluster.k_min), cluster.n_init, cluster.seed)
    };
    let options = ChooseOptions {
        ks: cluster.k_min..=cluster.k_max,
        k: cluster.k,
        k_means,
        resamples: cluster.resamples,
        gap: cluster.gap,
        silhouette_rows: silhouette::EXACT_UP_TO,
    };
    let chosen = choose::choose(matrix, &options, progress).map_err(|source| match source {
        ChooseError::Stopped(stopped) => TrainError::Stopped(stopped),
        source @ (ChooseError::NoSegments
        | ChooseError::EmptyRange { .. }
        | ChooseError::NoResamples
        | ChooseError::NoReferences
        | ChooseError::TooManySegments { .. }
        | ChooseError::NoStable { .. }) => TrainError::Choice { file: file.clone(), source },
    })?;
    let mut found = Found::new(chosen, &points, dimensions)?;
    if let (Some(before), Some(labels)) = (before, &labels_before) {
        found.continue_from(before, labels, settings.retrain.max_moved, &points);
    }
    let segmentation = found.segmentation(&learned, settings, &[])?;
    let rows = Rows { raw: &raw, customers: ids.as_ref(), labels: &found.membership.segments };
    let evidence = Evidence {
        silhouette_rows: &found.silhouettes.rows,
        silhouettes: &found.silhouettes.values,
        jaccard: &found.stability.jaccard,
    };
    progress.begin("describing", 1);
    let mut profiles = profile(&segmentation, &rows, &evidence);
    let proposed: Vec<String> = profiles.segments.iter().map(|segment| segment.proposed.clone()).collect();
    let names = found.names(&proposed, settings)?;
    let segmentation = found.segmentation(&learned, settings, &names)?;
    profiles.segments.iter_mut().zip(&names).for_each(|(segment, name)| segment.name.clone_from(name));

    let (comparisons, pictures) = match detail {
        Detail::Segments => (Vec::new(), Pictures::default()),
        Detail::Report => {
            let (k, seed) = (names.len(), cluster.seed);
            let rows_compared = DEFAULT_COMPARISON_ROWS;
            let labels = &found.membership.segments;
            let comparisons = compare::compare(matrix, labels, k, rows_compared, seed, progress)?;
            let options = PictureOptions { rows: SCATTERED, seed, tsne: true };
            (comparisons, pictures(&segmentation, &rows, &evidence, &profiles, &options, progress))
        }
    };
    let gate = Gate { max_moved: settings.retrain.max_moved, min_jaccard: LEAST_JACCARD };
    let refusal =
        found.migration.as_ref().and_then(|migration| gate.check(migration, &found.stability, &names).err());
    let outliers = outliers::outliers(&profiles.segments, found.membership.segments.len() as u64);
    let study = study(
        &file,
        learned,
        settings,
        found.choice,
        profiles,
        comparisons,
        pictures,
        found.migration,
        &segmentation,
    );
    Ok(Trained { segmentation, study, segments: found.membership.segments, ids, refusal, outliers, raw })
}

/// The clustering that was taken, by the ids that its segments have.
struct Found {
    choice: study::Choice,
    silhouettes: Silhouettes,
    stability: Stability,
    centroids: Centroids,
    membership: Membership,
    dimensions: usize,
    migration: Option<Migration>,
    /// Names that go on from the version before, made of the names that are proposed.
    carried: Option<matching::Matching>,
}

impl Found {
    fn new(chosen: Chosen, points: &[f64], dimensions: usize) -> Result<Self, TrainError> {
        let Chosen { choice, fit, silhouettes, stability } = chosen;
        let k = fit.sizes.len();
        let centroids = Centroids::new(dimensions, fit.centroids.iter().copied().collect());
        let membership = Membership::of(&centroids, points, dimensions);
        if membership.sizes.contains(&0) {
            return Err(TrainError::EmptySegment { k });
        }
        let (migration, carried) = (None, None);
        Ok(Self { choice, silhouettes, stability, centroids, membership, dimensions, migration, carried })
    }

    /// Gives the segments the ids of those that they continue.
    fn continue_from(&mut self, before: &Previous, labels_before: &[u32], limit: f64, points: &[f64]) {
        let k = self.membership.sizes.len();
        let matching = matching::matched(before, labels_before, k, &self.membership.segments, limit);
        let rows: Vec<&[f64]> = self.centroids.rows().collect();
        let (mut centroids, mut jaccard) = (vec![&[][..]; k], vec![0.0; k]);
        for (found, id) in matching.order.iter().enumerate() {
            centroids[*id] = rows[found];
            jaccard[*id] = self.stability.jaccard[found];
        }
        self.centroids = Centroids::new(self.dimensions, centroids.concat());
        self.membership = Membership::of(&self.centroids, points, self.dimensions);
        let chosen = self.choice.chosen;
        for candidate in self.choice.candidates.iter_mut().filter(|candidate| candidate.k == chosen) {
            candidate.stability.jaccard.clone_from(&jaccard);
        }
        self.stability.jaccard = jaccard;
        self.migration = Some(matching.migration.clone());
        self.carried = Some(matching);
    }

    /// What a person says, else what the version before says, else what the features say.
    fn names(&self, proposed: &[String], settings: &TrainSettings) -> Result<Vec<String>, TrainError> {
        let mut names =
            self.carried.as_ref().map_or_else(|| proposed.to_vec(), |matching| matching.names(proposed));
        let k = names.len();
        for (id, name) in &settings.names {
            let slot = names.get_mut(*id as usize).ok_or(TrainError::NoSuchSegment { id: *id, k })?;
            if name.trim().is_empty() {
                return Err(TrainError::EmptyName { id: *id });
            }
            slot.clone_from(name);
        }
        let mut seen = BTreeSet::new();
        match names.iter().find(|name| !seen.insert(name.as_str())) {
            Some(name) => Err(TrainError::NameTwice { name: name.clone() }),
            None => Ok(names),
        }
    }

    /// The artefact; segments that `names` does not reach are numbered.
    fn segmentation(
        &self,
        learned: &Learned,
        settings: &TrainSettings,
        names: &[String],
    ) -> Result<Segmentation, TrainError> {
        let segments = self.centroids.rows().zip(&self.membership.sizes).enumerate();
        let layout = Layout {
            format_version: FORMAT_VERSION,
            features: learned.preparation.features.clone(),
            pca: learned.preparation.pca.clone(),
            segments: segments
                .map(|(id, (centroid, size))| SegmentLayout {
                    id: id as u32,
                    name: names.get(id).cloned().unwrap_or_else(|| format!("Segment {id}")),
                    size: *size,
                    centroid: centroid.to_vec(),
                })
                .collect(),
            inertia: self.membership.inertia,
            training: TrainingNotes {
                rows: self.membership.segments.len() as u64,
                k: self.membership.sizes.len() as u64,
                seed: settings.cluster.seed,
                n_init: settings.cluster.n_init as u64,
                scale: settings.prepare.scale,
                variance_kept: learned.variance_kept,
                dropped: learned.dropped.clone(),
            },
        };
        layout.check(FILE_NAME).map_err(TrainError::Unsound)
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of a study, each from a place of its own")]
fn study(
    file: &str,
    learned: Learned,
    settings: &TrainSettings,
    choice: study::Choice,
    profiles: Profiles,
    comparisons: Vec<Comparison>,
    pictures: Pictures,
    migration: Option<Migration>,
    segmentation: &Segmentation,
) -> Study {
    let name = std::path::Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned());
    let notes = segmentation.training();
    Study {
        source: Source {
            file: name.unwrap_or_else(|| file.to_owned()),
            rows: notes.rows,
            id_column: settings.read.id.clone(),
            seed: notes.seed,
            n_init: notes.n_init,
            dimensions: learned.preparation.dimensions() as u64,
            variance_kept: learned.variance_kept,
            inertia: segmentation.inertia(),
        },
        columns: learned.columns,
        choice,
        comparisons,
        segments: profiles.segments,
        features: profiles.features,
        correlation: profiles.correlation,
        pictures,
        migration,
        notes: settings
            .read
            .rename
            .iter()
            .map(|(old, new)| format!("Renamed: `{old}` of the file is `{new}` here."))
            .collect(),
    }
}
