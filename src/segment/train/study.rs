//! What training found, as plain numbers: what the report shows and `report.json` holds.
//!
//! Nothing here computes. Positions of features are those of the features that take part, in the order of the artefact;
//! positions of segments are their ids. Every value is finite; what cannot be told is `None`.

use serde::Serialize;

use crate::segment::percent::{beside, percents};

/// A segment that is found again with at least this mean Jaccard similarity over the resamples is stable. Source: Hennig,
/// "Cluster-wise assessment of cluster stability" (2007).
pub const STABLE_JACCARD: f64 = 0.75;

/// A segment below this share of the customers is too small to be recommended.
pub const SMALLEST_SHARE: f64 = 0.02;

/// All that is known of a trained segmentation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Study {
    /// The table.
    pub source: Source,
    /// Its columns, in the order of the file, those that were left out included.
    pub columns: Vec<Column>,
    /// How the number of segments was chosen.
    pub choice: Choice,
    /// Other ways to cluster, against the one that was taken.
    pub comparisons: Vec<Comparison>,
    /// The segments by id.
    pub segments: Vec<SegmentProfile>,
    /// The features that take part.
    pub features: Vec<PopulationProfile>,
    /// Pearson correlation of the standardised features, features × features.
    pub correlation: Vec<Vec<f64>>,
    /// What is drawn of single customers.
    pub pictures: Pictures,
    /// Against the version before, where one was named.
    pub migration: Option<Migration>,
    /// What else was done to the data or is to be known of it, a sentence each; the report lists them with its own.
    pub notes: Vec<String>,
}

/// The table that was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// The name of the file, without its directory.
    pub file: String,
    /// Customers.
    pub rows: u64,
    /// The column that names them.
    pub id_column: Option<String>,
    /// Seed of the random generator.
    pub seed: u64,
    /// Restarts of k-means for each number of segments.
    pub n_init: u64,
    /// The features came down to so many coordinates …
    pub dimensions: u64,
    /// … that hold this share of their variance, where principal components were taken.
    pub variance_kept: Option<f64>,
    /// The sum of the squared distances of the customers from the centroids of their segments.
    pub inertia: f64,
}

/// A column of the table and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// As in the header.
    pub name: String,
    /// `number`, `text`, `id`, `yes/no`.
    pub kind: &'static str,
    /// Rows without a value.
    pub missing: u64,
    /// Different values, counted up to a bound that `distinct_bounded` tells was reached.
    pub distinct: u64,
    /// Whether there may be more different values.
    pub distinct_bounded: bool,
    /// Of the known values of a number.
    pub range: Option<[f64; 2]>,
    /// Of the known values of a number.
    pub mean: Option<f64>,
    /// Population skewness of the known values of a number.
    pub skewness: Option<f64>,
    /// What stood in for missing values.
    pub impute: Option<f64>,
    /// Bounds beyond which values count as the bound.
    pub winsor: Option<[f64; 2]>,
    /// Whether ln(1 + x) was taken.
    pub log1p: bool,
    /// Why it takes no part, where it takes none.
    pub left_out: Option<String>,
    /// Values outside the range of the version before, where one was named.
    pub out_of_range: Option<u64>,
    /// Why it should take no part, although it does.
    pub warning: Option<String>,
}

/// How the number of segments was chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// One per number of segments that was tried, ascending.
    pub candidates: Vec<Candidate>,
    /// Where the curve of the inertia bends most.
    pub knee: Option<u64>,
    /// Stable, and of those the best silhouette.
    pub recommended: Option<u64>,
    /// What was taken.
    pub chosen: u64,
    /// Whether a person named it.
    pub by_hand: bool,
    /// Why, in a sentence or two.
    pub reason: String,
}

/// One number of segments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The number of segments.
    pub k: u64,
    /// The sum of the squared distances.
    pub inertia: f64,
    /// Mean silhouette, −1..=1.
    pub silhouette: f64,
    /// Standard error of it where it was taken of a sample.
    pub silhouette_error: Option<f64>,
    /// Variance between over variance within; higher is better.
    pub calinski_harabasz: f64,
    /// Mean similarity to the most similar segment; lower is better.
    pub davies_bouldin: f64,
    /// The gap statistic, where it was asked for.
    pub gap: Option<Gap>,
    /// Customers by segment, the largest first.
    pub sizes: Vec<u64>,
    /// Share of customers in the smallest segment, 0..=1.
    pub smallest_share: f64,
    /// What refits on resamples say.
    pub stability: Stability,
    /// Whether it may be recommended: every segment is found again and none is too small.
    pub stable: bool,
}

/// Source: Tibshirani, Walther & Hastie, "Estimating the number of clusters in a data set via the gap statistic" (2001).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gap {
    /// E*[ln W] − ln W.
    pub value: f64,
    /// s, its standard error with the factor sqrt(1 + 1 / B).
    pub error: f64,
}

/// Refits on bootstrap resamples, against the fit on all rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stability {
    /// Resamples.
    pub resamples: u64,
    /// Mean adjusted Rand index.
    pub ari: f64,
    /// Mean Jaccard similarity of each segment with the most similar one of a resample, by id.
    pub jaccard: Vec<f64>,
}

impl Candidate {
    /// The share of the smallest segment as it is shown: one of shares that add up, never as the limit that it misses.
    #[must_use]
    pub fn smallest(&self) -> String {
        let missed = beside(self.smallest_share, SMALLEST_SHARE);
        let limit = beside(SMALLEST_SHARE, SMALLEST_SHARE);
        let one_of_all = percents(&self.sizes).pop();
        one_of_all.filter(|share| *share != limit || missed == limit).unwrap_or(missed)
    }
}

/// The shares of segments as they are shown: they add up to 100 %.
#[must_use]
pub fn shares(segments: &[SegmentProfile]) -> Vec<String> {
    percents(&segments.iter().map(|segment| segment.size).collect::<Vec<_>>())
}

impl Stability {
    /// The similarity of the segment that is found again least.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.jaccard.iter().copied().fold(1.0, f64::min)
    }
}

/// Another way to cluster, on a sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// `Ward`, `Gaussian mixture`, `DBSCAN`.
    pub method: String,
    /// How it was set.
    pub settings: String,
    /// Customers of the sample.
    pub rows: u64,
    /// Clusters that it found.
    pub clusters: u64,
    /// Share of the sample that it calls noise.
    pub noise: f64,
    /// Adjusted Rand index against the segments, over the whole sample.
    pub ari: Option<f64>,
    /// Mean silhouette of what it found.
    pub silhouette: Option<f64>,
    /// What went wrong, where something did.
    pub note: Option<String>,
}

/// A feature over all customers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PopulationProfile {
    /// The feature.
    pub name: String,
    /// Of the raw values, missing ones imputed.
    pub mean: f64,
    /// Of the raw values, missing ones imputed.
    pub median: f64,
    /// Population standard deviation of the same.
    pub deviation: f64,
    /// Share of the standardised feature's variance that the segments explain (η²), 0..=1.
    pub explained: f64,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentProfile {
    /// Its id.
    pub id: u32,
    /// What it is called.
    pub name: String,
    /// What its features would call it.
    pub proposed: String,
    /// One sentence for people.
    pub description: String,
    /// Customers.
    pub size: u64,
    /// Of all customers, 0..=1.
    pub share: f64,
    /// Mean silhouette of its customers.
    pub silhouette: f64,
    /// Jaccard similarity over the resamples.
    pub jaccard: f64,
    /// One per feature.
    pub features: Vec<FeatureProfile>,
    /// The features that set it apart most, the first most of all; at most five.
    pub distinguishing: Vec<usize>,
    /// The customers nearest to the centroid: their ids, or the number of their row.
    pub nearest: Vec<String>,
    /// Offers that suit it, best first, where offers were given.
    pub offers: Vec<SuitableOffer>,
}

/// A feature in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FeatureProfile {
    /// Of the raw values, missing ones imputed.
    pub mean: f64,
    /// Of the raw values, missing ones imputed.
    pub median: f64,
    /// Mean of the standardised values: standard deviations from the population, after log1p where it was taken.
    pub z: f64,
    /// Mean over the population's mean; none where that is 0 or some value is negative.
    pub lift: Option<f64>,
    /// (mean within − mean outside) / pooled deviation of the standardised values: Cohen's d. A pooled deviation below
    /// a thousandth of the population's counts as that, so that it is finite.
    pub difference: f64,
}

/// An offer for a segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SuitableOffer {
    /// The offer.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Share of the segment's customers that were asked about who would be shown it first, 0..=1.
    pub share: f64,
    /// Mean propensity where it was ranked first.
    pub propensity: Option<f64>,
}

/// What is drawn of single customers: samples with a fixed seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pictures {
    /// The first two principal components of the standardised features.
    pub pca: Scatter,
    /// Shares of the variance that they hold.
    pub pca_shares: [f64; 2],
    /// t-SNE of the coordinates; empty where it was not asked for.
    pub tsne: Scatter,
    /// Silhouettes of single customers by segment, descending in each.
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

/// New segments against those of the version before, over the customers of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Migration {
    /// What the version before is called (a path or a version).
    pub previous: String,
    /// Names of the segments before, by their id.
    pub names: Vec<String>,
    /// For each new segment the old one that it continues, where there is one.
    pub continues: Vec<Option<u32>>,
    /// Customers by old segment (rows) and new segment (columns).
    pub matrix: Vec<Vec<u64>>,
    /// Share of the customers that change segment, 0..=1.
    pub moved: f64,
    /// The most that may.
    pub limit: f64,
}
