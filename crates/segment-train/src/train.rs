//! Training: from a table of customers to a [`Segmentation`] and its [`Study`].
//!
//! The same file and seed give the same bytes. The steps:
//!
//! - `table` reads the table, and `learn` learns the preparation from it.
//! - `choose` tries numbers of segments with `k_means` and `silhouette`, and chooses one; `clustering` is what was chosen.
//! - `matching` matches the segments to those of the previous version.
//! - `profile` describes the segments, and `compare` compares them with other methods.
//!
//! Nothing is printed or written. Start reading at [`train`].

#[cfg(test)]
mod cc_general;
mod choose;
mod clustering;
mod compare;
pub(crate) mod customers;
mod draw;
pub mod k_means;
mod learn;
mod matching;
mod membership;
mod outliers;
mod profile;
pub mod progress;
#[cfg(test)]
mod public_data;
pub mod settings;
pub mod silhouette;
pub mod study;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use ndarray::ArrayView2;

pub use choose::ChooseError;

pub use matching::{Cause, MigrationTable, Previous, RetrainRefusal};
pub use outliers::Outliers;
pub use summary::{ChoiceTable, Summary};
pub use table::{Facts, Ids, ReadOptions, Table};

use self::clustering::Clustering;
use self::compare::DEFAULT_COMPARISON_ROWS;
use self::learn::Learned;
use self::matching::Gate;
use self::profile::{PictureOptions, Rows, pictures, profile};
use self::progress::{Progress, Stopped};
use self::settings::{InvalidSettings, TrainSettings};
use self::study::{Pictures, STABLE_JACCARD, Source, Study};
use ::table::Writer;
use document::Problems;
use segment::assign::Segmentation;

/// The default random seed.
const DEFAULT_SEED: u64 = 42;

/// Restarts of k-means by default, as in scikit-learn's `KMeans` before version 1.4.
const DEFAULT_N_INIT: usize = 10;

/// Customers in each scatter plot of a report.
const SCATTER_ROWS: usize = 2_000;

/// How much training computes besides the segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// The segments, their profiles and how their number was chosen.
    Segments,
    /// Everything that a report shows: also comparisons with other methods and charts of single customers.
    #[default]
    Report,
}

/// Why training failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The table is unusable; has every problem found in it.
    #[error("{0}")]
    Input(Problems),
    /// Settings are invalid.
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    /// No number of segments was chosen.
    #[error("{file}: {source}")]
    Choice {
        /// The table.
        file: String,
        /// Why.
        #[source]
        source: ChooseError,
    },
    /// A name for a segment that does not exist.
    #[error(
        "there is a name for segment {id}, but there are {k} segments, 0 to {}; give one name per segment, largest \
         first",
        k - 1
    )]
    NoSuchSegment {
        /// The id.
        id: u32,
        /// The number of segments.
        k: usize,
    },
    /// An empty name.
    #[error("the name of segment {id} is empty; give each segment a name in plain words")]
    EmptyName {
        /// The segment.
        id: u32,
    },
    /// Two segments with the same name.
    #[error("two segments are named `{name}`; names must differ")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// The best clustering has an empty segment.
    #[error("k-means left one of {k} segments empty; request fewer segments or try another seed")]
    EmptySegment {
        /// The number of segments.
        k: usize,
    },
    /// `progress` asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The trained artefact is invalid.
    #[error("the trained segments are invalid:\n{0}")]
    InvalidArtefact(Problems),
}

impl From<Problems> for TrainError {
    fn from(problems: Problems) -> Self {
        Self::Input(problems)
    }
}

/// The result of a training.
#[derive(Debug)]
pub struct Trained {
    /// What the server uses to assign segments.
    pub segmentation: Segmentation,
    /// Everything that a report shows.
    pub study: Study,
    /// The segment of each row of the table, in order.
    pub segments: Vec<u32>,
    /// The id column, if there is one.
    pub ids: Option<Ids>,
    /// Why the segmentation may not replace the previous version, if there is one.
    pub refusal: Option<RetrainRefusal>,
    /// Segments of a few customers far from all others.
    pub outliers: Option<Outliers>,
    /// Rows × features of the segmentation, row-major; NaN for a missing value.
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

    /// `id,segment` per row of the table, in order. Without an id column, the id is the row number from 1.
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
/// `settings`: how columns are prepared, which numbers of segments are tried, and how.
/// `before`: the previous version, whose ids and names the new segments continue. Without one, ids are by size, the
/// largest first.
/// `progress`: is notified of each step.
///
/// Values are 32-bit floats, as in requests, so a row has the same segment in training and at serve time.
/// Cost: see `choose` and `k_means`.
///
/// # Errors
/// Invalid settings; every problem of the table; more segments than distinct rows; no stable number of segments and
/// none requested; `progress` asked to stop.
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
    let Table { file, ids, names: columns, values, notes, .. } = table;
    let raw = learned.raw(values, columns.len());
    let dimensions = learned.preparation.dimensions();
    let points = learned.preparation.points(&raw);
    let matrix = ArrayView2::from_shape((points.len() / dimensions, dimensions), &points);
    let matrix = matrix.map_err(|error| {
        TrainError::InvalidArtefact(Problems::one(file.as_str(), None, error.to_string()))
    })?;

    let mut found = Clustering::find(&file, matrix, &points, &settings.cluster, progress)?;
    if let (Some(before), Some(labels)) = (before, &labels_before) {
        found.continue_from(before, labels, settings.retrain.max_moved, &points);
    }
    let segmentation = found.segmentation(&learned, settings, &[])?;
    let rows = Rows { raw: &raw, customers: ids.as_ref(), labels: &found.membership.segments };
    let evidence = found.evidence();
    progress.begin("describing", 1);
    let mut profiles = profile(&segmentation, &rows, &evidence);
    let proposed: Vec<String> = profiles.segments.iter().map(|segment| segment.proposed.clone()).collect();
    let names = found.names(&proposed, settings)?;
    let segmentation = found.segmentation(&learned, settings, &names)?;
    profiles.segments.iter_mut().zip(&names).for_each(|(segment, name)| segment.name.clone_from(name));

    let (comparisons, pictures) = match detail {
        Detail::Segments => (Vec::new(), Pictures::default()),
        Detail::Report => {
            let (k, seed) = (names.len(), settings.cluster.seed);
            let labels = &found.membership.segments;
            let comparisons = compare::compare(matrix, labels, k, DEFAULT_COMPARISON_ROWS, seed, progress)?;
            let options = PictureOptions { rows: SCATTER_ROWS, seed, tsne: true };
            (comparisons, pictures(&segmentation, &rows, &evidence, &profiles, &options, progress))
        }
    };
    let gate = Gate { max_moved: settings.retrain.max_moved, min_jaccard: STABLE_JACCARD };
    let refusal =
        found.migration.as_ref().and_then(|migration| gate.check(migration, &found.stability, &names).err());
    let outliers = outliers::outliers(&profiles.segments, found.membership.segments.len() as u64);
    let study = Study {
        source: source(&file, &learned, settings, &segmentation),
        columns: learned.columns,
        choice: found.choice,
        comparisons,
        segments: profiles.segments,
        features: profiles.features,
        correlation: profiles.correlation,
        pictures,
        migration: found.migration,
        warnings: notes.into_iter().chain(outliers.as_ref().map(ToString::to_string)).collect(),
        notes: settings
            .read
            .rename
            .iter()
            .map(|(old, new)| format!("Renamed: the column `{old}` of the file is called `{new}` here."))
            .collect(),
    };
    Ok(Trained { segmentation, study, segments: found.membership.segments, ids, refusal, outliers, raw })
}

/// What a report says of the data and of how the segments were found.
fn source(file: &str, learned: &Learned, settings: &TrainSettings, segmentation: &Segmentation) -> Source {
    let name = std::path::Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned());
    let notes = segmentation.training();
    Source {
        file: name.unwrap_or_else(|| file.to_owned()),
        rows: notes.rows,
        id_column: settings.read.id.clone(),
        seed: notes.seed,
        n_init: notes.n_init,
        dimensions: learned.preparation.dimensions() as u64,
        variance_kept: learned.variance_kept,
        inertia: segmentation.inertia(),
    }
}
