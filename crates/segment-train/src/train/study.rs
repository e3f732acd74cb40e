//! The results of a training as plain data: the content of the report and of `report.json`.
//!
//! Nothing here is computed. Positions of features are those in the artefact, positions of segments are their ids.
//! Every value is finite; an unknown value is `None`.

use serde::Serialize;

use report::percent::{percent_near, percents};

/// A segment is stable from this mean Jaccard similarity over the resamples on.
///
/// Source: Hennig, "Cluster-wise assessment of cluster stability" (2007): "a valid, stable cluster should yield a mean
/// Jaccard similarity value of 0.75 or more".
pub(crate) const STABLE_JACCARD: f64 = 0.75;

/// The least share of the customers, 0..=1: a smaller segment is not worth its own offers.
pub(crate) const SMALLEST_SHARE: f64 = 0.02;

/// Everything that a training found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Study {
    /// The table.
    pub source: Source,
    /// All columns of the file in order, including those left out.
    pub columns: Vec<Column>,
    /// How the number of segments was chosen.
    pub choice: Choice,
    /// Comparisons with other clustering methods.
    pub comparisons: Vec<Comparison>,
    /// The segments by id.
    pub segments: Vec<SegmentProfile>,
    /// The features over all customers.
    pub features: Vec<PopulationProfile>,
    /// Pearson correlation of the standardised features, features × features.
    pub correlation: Vec<Vec<f64>>,
    /// Data for the charts of single customers.
    pub pictures: Pictures,
    /// Changes since the previous version, if there is one.
    pub migration: Option<Migration>,
    /// Warnings about the file as a whole and about segments of outliers, a sentence each; columns have their own.
    pub warnings: Vec<String>,
    /// Further notes on the data and its preparation, a sentence each.
    pub notes: Vec<String>,
}

/// The table and the parameters of the training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// The name of the file, without its directory.
    pub file: String,
    /// Customers.
    pub rows: u64,
    /// The id column.
    pub id_column: Option<String>,
    /// The random seed.
    pub seed: u64,
    /// Restarts of k-means for each number of segments.
    pub n_init: u64,
    /// Coordinates of a point: components, or features without components.
    pub dimensions: u64,
    /// Share of the variance that the principal components explain, if there are any.
    pub variance_kept: Option<f64>,
    /// The sum of the squared distances of the customers to the centroids of their segments.
    pub inertia: f64,
}

/// A column of the table and how it was used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// The name in the header.
    pub name: String,
    /// `number`, `text`, `id`, `yes/no`.
    pub kind: &'static str,
    /// Rows without a value.
    pub missing: u64,
    /// Distinct values, counted up to a limit.
    pub distinct: u64,
    /// Whether the count of distinct values reached its limit.
    pub distinct_bounded: bool,
    /// Minimum and maximum of the known values of a number.
    pub range: Option<[f64; 2]>,
    /// Mean of the known values of a number.
    pub mean: Option<f64>,
    /// Population skewness of the known values of a number.
    pub skewness: Option<f64>,
    /// The imputed value.
    pub impute: Option<f64>,
    /// Bounds that values were clamped to.
    pub winsor: Option<[f64; 2]>,
    /// Whether ln(1 + x) was applied.
    pub log1p: bool,
    /// Why it was left out.
    pub left_out: Option<String>,
    /// Values outside the training range of the previous version, if there is one.
    pub out_of_range: Option<u64>,
    /// Why it should be left out although it is used.
    pub warning: Option<String>,
}

/// How the number of segments was chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The numbers of segments tried, ascending.
    pub candidates: Vec<Candidate>,
    /// The knee of the inertia.
    pub knee: Option<u64>,
    /// The stable number with the best silhouette.
    pub recommended: Option<u64>,
    /// The chosen number.
    pub chosen: u64,
    /// Whether the settings requested it.
    pub by_hand: bool,
    /// The reason, in a few sentences.
    pub reason: String,
}

/// A number of segments that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The number of segments.
    pub k: u64,
    /// The sum of the squared distances.
    pub inertia: f64,
    /// Mean silhouette, −1..=1.
    pub silhouette: f64,
    /// Standard error of the mean silhouette, if it is that of a sample.
    pub silhouette_error: Option<f64>,
    /// Calinski–Harabasz index; higher is better.
    pub calinski_harabasz: f64,
    /// Davies–Bouldin index; lower is better.
    pub davies_bouldin: f64,
    /// The gap statistic, if requested.
    pub gap: Option<Gap>,
    /// Customers by segment, the largest first.
    pub sizes: Vec<u64>,
    /// Share of customers in the smallest segment, 0..=1.
    pub smallest_share: f64,
    /// The agreement with refits on resamples.
    pub stability: Stability,
    /// Whether it may be recommended: every segment is found again and none is too small.
    pub stable: bool,
}

/// The gap statistic.
///
/// Source: Tibshirani, Walther & Hastie, "Estimating the number of clusters in a data set via the gap statistic"
/// (2001).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gap {
    /// E*[ln W] − ln W.
    pub value: f64,
    /// s, its standard error with the factor sqrt(1 + 1 / B).
    pub error: f64,
}

/// The agreement of refits on bootstrap resamples with the fit on all rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stability {
    /// The number of resamples.
    pub resamples: u64,
    /// Mean adjusted Rand index.
    pub ari: f64,
    /// Mean Jaccard similarity of each segment with the most similar segment of a resample, by id.
    pub jaccard: Vec<f64>,
}

impl Candidate {
    /// The share of the smallest segment for people.
    ///
    /// Rounded so that all shares add up, but never to the limit that it misses.
    #[must_use]
    pub fn smallest(&self) -> String {
        let exact = percent_near(self.smallest_share, SMALLEST_SHARE);
        let limit = percent_near(SMALLEST_SHARE, SMALLEST_SHARE);
        let rounded = percents(&self.sizes).pop();
        rounded.filter(|share| *share != limit || exact == limit).unwrap_or(exact)
    }
}

/// The shares of the segments for people; they add up to 100 %.
#[must_use]
pub(crate) fn shares(segments: &[SegmentProfile]) -> Vec<String> {
    percents(&segments.iter().map(|segment| segment.size).collect::<Vec<_>>())
}

impl Stability {
    /// The similarity of the least stable segment.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.jaccard.iter().copied().fold(1.0, f64::min)
    }
}

/// Another clustering method on a sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// `Ward`, `Gaussian mixture`, `DBSCAN`.
    pub method: String,
    /// Its parameters.
    pub settings: String,
    /// Customers in the sample.
    pub rows: u64,
    /// Clusters found.
    pub clusters: u64,
    /// Share of the sample that is noise.
    pub noise: f64,
    /// Adjusted Rand index with the segments, over the whole sample.
    pub ari: Option<f64>,
    /// Mean silhouette of its clusters.
    pub silhouette: Option<f64>,
    /// What failed.
    pub note: Option<String>,
}

/// A feature over all customers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PopulationProfile {
    /// The label of the feature.
    pub name: String,
    /// Mean of the raw values, with missing ones imputed.
    pub mean: f64,
    /// Median of the raw values, with missing ones imputed.
    pub median: f64,
    /// Population standard deviation of the raw values, with missing ones imputed.
    pub deviation: f64,
    /// Share of the standardised feature's variance that the segments explain (η²), 0..=1.
    pub explained: f64,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentProfile {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// The name generated from its features.
    pub proposed: String,
    /// A sentence for people.
    pub description: String,
    /// Customers.
    pub size: u64,
    /// Share of all customers, 0..=1.
    pub share: f64,
    /// Mean silhouette of its customers.
    pub silhouette: f64,
    /// Mean Jaccard similarity over the resamples.
    pub jaccard: f64,
    /// One per feature.
    pub features: Vec<FeatureProfile>,
    /// The most distinguishing features, in descending order of their absolute difference.
    pub distinguishing: Vec<usize>,
    /// The customers nearest to the centroid: their ids or row numbers.
    pub nearest: Vec<String>,
    /// Suitable offers, the best first, if offers were given.
    pub offers: Vec<SuitableOffer>,
}

/// A feature in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FeatureProfile {
    /// Mean of the raw values, with missing ones imputed.
    pub mean: f64,
    /// Median of the raw values, with missing ones imputed.
    pub median: f64,
    /// Mean of the standardised values, after log1p if it was applied.
    pub z: f64,
    /// Mean divided by the mean of all customers; `None` if that is 0 or a value is negative.
    pub lift: Option<f64>,
    /// Cohen's d: (mean within − mean outside) / pooled deviation of the standardised values.
    ///
    /// The pooled deviation has a lower bound, so this is always finite.
    pub difference: f64,
}

/// An offer for a segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SuitableOffer {
    /// The id of the offer.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Share of the sampled customers of the segment for whom it ranks first, 0..=1.
    pub share: f64,
    /// Mean propensity of these customers.
    pub propensity: Option<f64>,
}

/// Data for the charts of single customers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pictures {
    /// The first two principal components of the standardised features.
    pub pca: Scatter,
    /// Shares of the variance that they explain.
    pub pca_shares: [f64; 2],
    /// t-SNE of the coordinates; empty if not requested.
    pub tsne: Scatter,
    /// Silhouettes of single customers by segment, each in descending order.
    pub silhouettes: Vec<Vec<f32>>,
}

/// Points with their segments.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Scatter {
    /// x and y.
    pub points: Vec<[f32; 2]>,
    /// The segment of each.
    pub segments: Vec<u32>,
}

/// How the customers of the table move from the previous segments to the new ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Migration {
    /// The name of the previous version: a path or a version.
    pub previous: String,
    /// Names of the previous segments by id.
    pub names: Vec<String>,
    /// For each new segment, the previous one that it continues.
    pub continues: Vec<Option<u32>>,
    /// Customers by previous segment (rows) and new segment (columns).
    pub matrix: Vec<Vec<u64>>,
    /// Share of the customers that change segment, 0..=1.
    pub moved: f64,
    /// The maximum of `moved`.
    pub limit: f64,
}
