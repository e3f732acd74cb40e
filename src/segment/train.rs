//! Training: from a table of customers to a [`Segmentation`], the same bytes for the same file and seed.
//!
//! Reads the table (`table`), learns the preparation from it (`learn`), clusters the prepared rows (`cluster`, the
//! only place that knows linfa) and numbers the segments. Nothing is printed and nothing is written unless asked.
//! Start reading at [`train`].

#[cfg(test)]
mod cc_general;
mod choose;
mod compare;
mod draw;
pub mod k_means;
mod learn;
mod membership;
mod profile;
pub mod progress;
pub mod silhouette;
pub mod study;
mod summary;
mod table;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

pub use choose::{ChooseError, DEFAULT_KS, DEFAULT_RESAMPLES, LEAST_JACCARD, LEAST_SHARE};
pub use compare::DEFAULT_COMPARISON_ROWS;

use self::membership::{Membership, distinct_rows, largest_first};
use self::table::Table;
use super::assign::{Centroids, Segmentation};
use super::layout::{FILE_NAME, FORMAT_VERSION, Layout, SegmentLayout, TrainingNotes};
use super::prepare::Preparation;
use super::write::WriteError;
use crate::document::Problems;

/// Seed of the random generator where nobody gives one.
pub const DEFAULT_SEED: u64 = 42;

/// Restarts of k-means where nobody gives a number, as scikit-learn's `KMeans` had for long.
pub const DEFAULT_N_INIT: usize = 10;

/// Name of the file that [`Trained::write_assignments`] writes.
pub const ASSIGNMENTS_FILE: &str = "assignments.csv";

/// What a person chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainOptions {
    /// The number of segments, at least 1.
    pub k: usize,
    /// The column that names the customer; every other column is a feature.
    pub id_column: Option<String>,
    /// Seed of the random generator; the same seed gives the same bytes.
    pub seed: u64,
    /// Restarts of k-means, at least 1; the best is kept.
    pub n_init: usize,
    /// Names in the order of the ids (largest segment first), one each; `Segment 0` … where absent.
    pub names: Option<Vec<String>>,
}

impl TrainOptions {
    /// `k` segments, everything else by default.
    #[must_use]
    pub fn new(k: usize) -> Self {
        Self { k, id_column: None, seed: DEFAULT_SEED, n_init: DEFAULT_N_INIT, names: None }
    }

    fn check(&self) -> Result<(), TrainError> {
        if self.k == 0 {
            return Err(TrainError::NoSegments);
        }
        if self.n_init == 0 {
            return Err(TrainError::NoRestarts);
        }
        let Some(names) = &self.names else { return Ok(()) };
        if names.len() != self.k {
            return Err(TrainError::NameCount { given: names.len(), k: self.k });
        }
        let mut seen = BTreeSet::new();
        for name in names {
            if name.trim().is_empty() {
                return Err(TrainError::EmptyName);
            }
            if !seen.insert(name) {
                return Err(TrainError::NameTwice { name: name.clone() });
            }
        }
        Ok(())
    }

    fn name(&self, id: usize) -> String {
        let given = self.names.as_ref().and_then(|names| names.get(id)).cloned();
        given.unwrap_or_else(|| format!("Segment {id}"))
    }
}

/// Why there is no segmentation.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The table cannot be used; every problem that was found in it.
    #[error("{0}")]
    Input(Problems),
    /// `k` is 0.
    #[error("the number of segments (k) must be at least 1")]
    NoSegments,
    /// `n_init` is 0.
    #[error("the number of restarts (n_init) must be at least 1")]
    NoRestarts,
    /// Another number of names than of segments.
    #[error("{given} names for {k} segments; give one name per segment, largest segment first")]
    NameCount {
        /// Names given.
        given: usize,
        /// Segments asked for.
        k: usize,
    },
    /// A name without a letter.
    #[error("the name of a segment is empty; give each a name in plain words")]
    EmptyName,
    /// Two segments would have one name.
    #[error("two segments are named `{name}`; names must differ")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// More segments than different rows.
    #[error("{file}: {k} segments (k) of {distinct} distinct rows; ask for at most {distinct}")]
    TooManySegments {
        /// The table.
        file: String,
        /// Segments asked for.
        k: usize,
        /// Rows that differ once they are prepared.
        distinct: usize,
    },
    /// The best clustering has a segment without a row.
    #[error("k-means left one of {k} segments without a row; ask for fewer segments or try another seed")]
    EmptySegment {
        /// Segments asked for.
        k: usize,
    },
    /// The clustering itself failed.
    #[error("k-means failed: {0}")]
    Clustering(#[source] Box<dyn Error + Send + Sync>),
    /// What was trained is not what a server would read.
    #[error("the trained segments are not sound:\n{0}")]
    Unsound(Problems),
}

/// A segmentation and what training knows beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// What the server assigns by.
    pub segmentation: Segmentation,
    /// The segment of each row of the table, in its order.
    pub segments: Vec<u32>,
    /// The id column, one value per row, where there is one.
    pub customers: Option<Vec<String>>,
    /// Missing values per feature, in the order of the features.
    pub missing: Vec<usize>,
}

impl Trained {
    /// Writes `assignments.csv` into `directory`: `id,segment` per row of the table, in its order; without an id column
    /// the id is the number of the row, from 1. Returns the path.
    ///
    /// # Errors
    /// The file cannot be written; nothing of it is left behind.
    pub fn write_assignments(&self, directory: &Path) -> Result<PathBuf, WriteError> {
        let text = self.assignments_csv();
        let text = text.map_err(|error| WriteError {
            path: directory.join(ASSIGNMENTS_FILE),
            source: std::io::Error::other(error),
        })?;
        {
            let _ = text;
            todo!()
        }
    }

    fn assignments_csv(&self) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["id", "segment"])?;
        for (row, segment) in self.segments.iter().enumerate() {
            let number = || (row + 1).to_string();
            let known = self.customers.as_ref().and_then(|customers| customers.get(row)).cloned();
            writer.write_record([known.unwrap_or_else(number), segment.to_string()])?;
        }
        Ok(writer.into_inner()?)
    }
}

/// Trains segments on a table of customers.
///
/// `input`: a CSV file (comma, UTF-8) with a header; every column but the id column is a numeric feature; an empty
/// field, `NA` or `NaN` is a missing value. Values are rounded to 32-bit floats first, as the server receives them, so
/// that a row has the same segment in training and at serve time.
///
/// Each feature is imputed with its median, taken as ln(1 + x) where it is never negative, has a skewness above 1 and
/// a 99th percentile above 1, and standardised. k-means with k-means++ starts follows; segments are numbered by size,
/// the largest first. Cost: restarts × iterations × rows × segments × features. Sources: Lloyd, "Least squares
/// quantization in PCM" (1982); Arthur & Vassilvitskii, "k-means++: the advantages of careful seeding" (2007).
///
/// # Errors
/// Options that make no sense, every problem of the table, more segments than distinct rows.
pub fn train(input: &Path, options: &TrainOptions) -> Result<Trained, TrainError> {
    options.check()?;
    let table = Table::read(input, options.id_column.as_deref()).map_err(TrainError::Input)?;
    let preparation = learn::learn(&table).map_err(TrainError::Input)?;
    let points = preparation.points(&table.values);
    let dimensions = preparation.dimensions();
    let distinct = distinct_rows(&points, dimensions, options.k);
    if distinct < options.k {
        return Err(TrainError::TooManySegments { file: table.file, k: options.k, distinct });
    }
    let matrix = ndarray::ArrayView2::from_shape((points.len() / dimensions, dimensions), &points)
        .map_err(|error| TrainError::Clustering(Box::new(error)))?;
    let fit = k_means::fit(
        matrix,
        &k_means::KMeansOptions::new(options.k, options.n_init, options.seed),
        &progress::Silent,
    )
    .map_err(|error| TrainError::Clustering(Box::new(error)))?;
    let centroids: Vec<f64> = fit.centroids.iter().copied().collect();
    let centroids = largest_first(&Centroids::new(dimensions, centroids), &points, dimensions);
    let membership = Membership::of(&centroids, &points, dimensions);
    if membership.sizes.contains(&0) {
        return Err(TrainError::EmptySegment { k: options.k });
    }
    let layout = layout(preparation, &centroids, &membership, table.rows(), options);
    Ok(Trained {
        segmentation: layout.check(FILE_NAME).map_err(TrainError::Unsound)?,
        segments: membership.segments,
        missing: table.missing(),
        customers: table.customers,
    })
}

fn layout(
    preparation: Preparation,
    centroids: &Centroids,
    membership: &Membership,
    rows: usize,
    options: &TrainOptions,
) -> Layout {
    let segments = centroids.rows().zip(&membership.sizes).enumerate();
    Layout {
        format_version: FORMAT_VERSION,
        features: preparation.features,
        pca: preparation.pca,
        segments: segments
            .map(|(id, (centroid, size))| SegmentLayout {
                id: id as u32,
                name: options.name(id),
                size: *size,
                centroid: centroid.to_vec(),
            })
            .collect(),
        inertia: membership.inertia,
        training: TrainingNotes {
            rows: rows as u64,
            k: options.k as u64,
            seed: options.seed,
            n_init: options.n_init as u64,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn train_text(text: &str, options: &TrainOptions) -> Result<Trained, TrainError> {
        let directory = tempfile::tempdir().unwrap();
        let input = directory.path().join("customers.csv");
        fs::write(&input, text).unwrap();
        train(&input, options)
    }

    /// Three groups of 5, 10 and 20 customers, well apart; three of the last have no limit.
    fn groups() -> String {
        let mut text = String::from("customer_id,balance,limit\n");
        for customer in 0..35_u32 {
            let (balance, limit) = match customer {
                0..5 => (-40.0, 10.0),
                5..15 => (0.0, 50.0),
                _ => (40.0, 90.0),
            };
            let spread = f64::from(customer * 7 % 5) / 10.0;
            let limit =
                if customer > 15 && customer % 7 == 3 { String::new() } else { (limit + spread).to_string() };
            writeln!(text, "c{customer},{},{limit}", balance + spread).unwrap();
        }
        text
    }

    fn by_customer(k: usize) -> TrainOptions {
        TrainOptions { id_column: Some("customer_id".into()), ..TrainOptions::new(k) }
    }

    #[test]
    fn the_largest_segment_has_id_0() {
        let trained = train_text(&groups(), &by_customer(3)).unwrap();
        let sizes: Vec<u64> = trained.segmentation.segments().iter().map(|segment| segment.size).collect();
        assert_eq!(sizes, [20, 10, 5]);
        assert_eq!(trained.segments[..6], [2, 2, 2, 2, 2, 1]);
        assert_eq!(trained.segmentation.name(2), Some("Segment 2"));
        assert_eq!(trained.missing, [0, 3]);
        assert_eq!(trained.customers.unwrap()[34], "c34");
    }

    #[test]
    fn names_are_given_in_the_order_of_the_ids() {
        let names = ["large", "middling", "small"].map(str::to_owned).to_vec();
        let options = TrainOptions { names: Some(names), ..by_customer(3) };
        let trained = train_text(&groups(), &options).unwrap();
        assert_eq!(trained.segmentation.name(0), Some("large"));
        assert_eq!(trained.segmentation.name(2), Some("small"));
    }

    #[test]
    fn the_same_file_and_seed_give_the_same_bytes() {
        let json = |seed| {
            let options = TrainOptions { seed, ..by_customer(4) };
            train_text(&groups(), &options).unwrap().segmentation.to_json().unwrap()
        };
        assert_eq!(json(7), json(7));
    }

    #[test]
    fn one_segment_holds_everyone_and_its_inertia_is_the_whole_variance() {
        let trained = train_text(&groups(), &by_customer(1)).unwrap();
        assert_eq!(trained.segmentation.segments()[0].size, 35);
        // Two standardised features: a variance of 1 each, over 35 rows.
        assert!((trained.segmentation.inertia() - 70.0).abs() < 1e-6, "{}", trained.segmentation.inertia());
    }

    #[test]
    fn as_many_segments_as_distinct_rows_have_no_inertia() {
        let text = "balance\n1\n2\n2\n30\n";
        let trained = train_text(text, &TrainOptions::new(3)).unwrap();
        assert!(trained.segmentation.inertia() < 1e-6);
        assert_eq!(trained.segments[1], trained.segments[2]);
        let error = train_text(text, &TrainOptions::new(4)).unwrap_err().to_string();
        assert!(
            error.ends_with("customers.csv: 4 segments (k) of 3 distinct rows; ask for at most 3"),
            "{error}"
        );
    }

    #[test]
    fn options_that_make_no_sense_are_refused_before_the_file_is_read() {
        let named = |names: &[&str]| {
            let names = Some(names.iter().map(|name| (*name).to_owned()).collect());
            TrainOptions { names, ..TrainOptions::new(2) }
        };
        let cases = [
            (TrainOptions::new(0), "the number of segments (k) must be at least 1"),
            (TrainOptions { n_init: 0, ..TrainOptions::new(2) }, "the number of restarts (n_init) must be"),
            (named(&["a"]), "1 names for 2 segments"),
            (named(&["a", " "]), "the name of a segment is empty"),
            (named(&["a", "a"]), "two segments are named `a`"),
        ];
        for (options, expected) in cases {
            let error = train(Path::new("no such file"), &options).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn assignments_are_written_by_id_or_by_row() {
        let directory = tempfile::tempdir().unwrap();
        let trained = train_text(&groups(), &by_customer(3)).unwrap();
        let path = trained.write_assignments(directory.path()).unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert!(text.starts_with("id,segment\nc0,2\nc1,2\n"), "{text}");
        assert_eq!(text.lines().count(), 36);
        let unnamed = train_text("balance\n1\n2\n9\n", &TrainOptions::new(2)).unwrap();
        unnamed.write_assignments(directory.path()).unwrap();
        let text = fs::read_to_string(directory.path().join("assignments.csv")).unwrap();
        assert_eq!(text, "id,segment\n1,0\n2,0\n3,1\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_row_keeps_its_segment_through_the_artefact(
            rows in prop::collection::vec(prop::array::uniform3(prop::option::weighted(0.9, 0.0..1e4_f64)), 6..40),
            k in 1..4_usize,
        ) {
            let mut text = String::from("a,b,c\n");
            for row in &rows {
                let fields = row.map(|value| value.map_or_else(String::new, |value| value.to_string()));
                writeln!(text, "{}", fields.join(",")).unwrap();
            }
            // Columns that cannot be used are another test's matter.
            let Ok(trained) = train_text(&text, &TrainOptions::new(k)) else { return Ok(()) };
            let json = trained.segmentation.to_json().unwrap();
            let served = Segmentation::parse("segments.json", json.as_bytes()).unwrap();
            let raw: Vec<f32> = rows.iter().flatten().map(|value| value.map_or(f32::NAN, |value| value as f32)).collect();
            let assigned: Vec<u32> = served.assign_rows(&raw).iter().map(|assignment| assignment.id).collect();
            prop_assert_eq!(assigned, trained.segments);
        }
    }
}
