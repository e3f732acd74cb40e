//! The profile of each segment: statistics of its features, its typical customers, and a name.
//!
//! Reads the raw values and the segment of each row, and changes neither. Start reading at [`profile`].
//! `names` names the segments; `pictures` prepares the charts of single customers.

mod names;
mod pictures;

use rayon::prelude::*;

pub(super) use self::pictures::{PictureOptions, pictures};

use super::study::{FeatureProfile, PopulationProfile, SegmentProfile};
use super::table::Ids;
use segment::Segmentation;
use segment::prepare::FeaturePreparation;

/// Distinguishing features of a segment.
const DISTINGUISHING: usize = 5;

/// Typical customers of a segment.
const NEAREST: usize = 5;

/// The least pooled deviation, in deviations of the population, so that every difference is finite.
const LEAST_POOLED: f64 = 1e-3;

/// Rows per parallel task. Sums are computed per block and added up in the order of the blocks, so the result does not
/// depend on the number of threads.
const BLOCK: usize = 8_192;

/// The customers of the table and their segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'t> {
    /// Rows × the features of the segmentation, row-major; NaN where a value is missing.
    pub(super) raw: &'t [f32],
    /// Their ids, one per row, where there is an id column.
    pub(super) customers: Option<&'t Ids>,
    /// The segment of each row.
    pub(super) labels: &'t [u32],
}

/// What the choice of k computed for the segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'t> {
    /// The rows whose silhouette is known, ascending: all, or a sample.
    pub(super) silhouette_rows: &'t [usize],
    /// One silhouette per row of `silhouette_rows`.
    pub(super) silhouettes: &'t [f32],
    /// Mean Jaccard similarity over the resamples, one per segment.
    pub(super) jaccard: &'t [f64],
}

/// The result of [`profile`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profiles {
    /// By id, with the names of the segmentation and without offers.
    pub(super) segments: Vec<SegmentProfile>,
    /// In the order of the segmentation.
    pub(super) features: Vec<PopulationProfile>,
    /// Pearson correlation of the prepared features, features × features.
    pub(super) correlation: Vec<Vec<f64>>,
}

/// Computes the profile of every segment.
///
/// Missing values are imputed as in the segmentation.
/// z-scores, differences and correlations use the prepared values, after winsorising and ln(1 + x).
/// These are scaled to mean 0 and deviation 1 over all rows, with either scale of the preparation.
/// Means, medians and lifts are in the unit of the raw values.
/// Cost: rows × features², in parallel over features and blocks of rows. Memory: 8 bytes per row and thread.
/// Source: Cohen, "Statistical power analysis for the behavioral sciences" (1988), for d and η².
pub(super) fn profile(segmentation: &Segmentation, rows: &Rows<'_>, evidence: &Evidence<'_>) -> Profiles {
    let k = segmentation.len();
    let statistics: Vec<Statistics> = (0..segmentation.features().len())
        .into_par_iter()
        .map(|feature| Statistics::of(&segmentation.features()[feature], feature, rows, k))
        .collect();
    let correlation = correlation(segmentation.features(), &statistics, rows);
    let nearest = nearest(segmentation, rows);
    let silhouettes = mean_silhouettes(rows.labels, evidence, k);

    let customers = rows.labels.len();
    let mut segments: Vec<SegmentProfile> = (0..k)
        .map(|id| {
            let size = rows.labels.iter().filter(|label| **label as usize == id).count();
            let features: Vec<FeatureProfile> =
                statistics.iter().map(|feature| feature.segments[id]).collect();
            SegmentProfile {
                id: id as u32,
                name: segmentation.segments()[id].name.clone(),
                proposed: String::new(),
                description: String::new(),
                size: size as u64,
                share: size as f64 / customers.max(1) as f64,
                silhouette: silhouettes[id],
                jaccard: evidence.jaccard.get(id).copied().unwrap_or(0.0),
                distinguishing: by_difference(&features).into_iter().take(DISTINGUISHING).collect(),
                features,
                nearest: nearest[id].iter().map(|row| customer(rows.customers, *row)).collect(),
                offers: Vec::new(),
            }
        })
        .collect();
    let yes_no: Vec<bool> = statistics.iter().map(|feature| feature.yes_no).collect();
    let features: Vec<PopulationProfile> = statistics.into_iter().map(|feature| feature.population).collect();
    let namer = names::Namer { features: &features, yes_no: &yes_no, correlation: &correlation };
    let named = namer.propose(&segments);
    for (segment, named) in segments.iter_mut().zip(named) {
        segment.proposed = named.name;
        segment.description = named.description;
    }
    Profiles { segments, features, correlation }
}

/// The features in descending order of their absolute difference; equal ones in order.
fn by_difference(features: &[FeatureProfile]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..features.len()).collect();
    order.sort_by(|one, other| features[*other].difference.abs().total_cmp(&features[*one].difference.abs()));
    order
}

/// The id of a row, or its number from 1.
fn customer(customers: Option<&Ids>, row: usize) -> String {
    customers.map_or_else(|| format!("row {}", row + 1), |ids| ids.get(row).to_owned())
}

/// The statistics of one feature.
struct Statistics {
    population: PopulationProfile,
    segments: Vec<FeatureProfile>,
    /// Of the prepared values.
    prepared: Moments,
    /// Whether every value is 0 or 1.
    yes_no: bool,
}

impl Statistics {
    fn of(preparation: &FeaturePreparation, feature: usize, rows: &Rows<'_>, k: usize) -> Self {
        let width = rows.raw.len() / rows.labels.len().max(1);
        let column = || rows.raw.iter().skip(feature).step_by(width.max(1)).copied();
        let prepared = Moments::of(column().map(|raw| preparation.apply(raw)));

        let mut groups = vec![Group::default(); k];
        let mut all = Vec::with_capacity(rows.labels.len());
        for (raw, label) in column().zip(rows.labels) {
            let value = imputed(preparation, raw);
            groups[*label as usize].add(value, prepared.z(preparation.apply(raw)));
            all.push(value);
        }
        let total = groups.iter().fold(Group::default(), Group::with);
        let raw = Moments::of(all.iter().copied());
        let positive = raw.mean > 0.0 && all.iter().all(|value| *value >= 0.0);
        let yes_no = all.iter().all(|value| *value == 0.0 || (*value - 1.0).abs() < f64::EPSILON);
        let population = PopulationProfile {
            name: preparation.label().into_owned(),
            mean: raw.mean,
            median: median(&mut all),
            deviation: raw.deviation,
            explained: explained(&groups, &total),
        };
        let mut values = vec![Vec::new(); k];
        for (raw, label) in column().zip(rows.labels) {
            values[*label as usize].push(imputed(preparation, raw));
        }
        let segments = groups.iter().zip(&mut values).map(|(group, values)| {
            let mean = group.raw / group.rows.max(1.0);
            FeatureProfile {
                mean,
                median: median(values),
                z: group.mean_z(),
                lift: positive.then(|| mean / population.mean).filter(|lift| lift.is_finite()),
                difference: group.difference(&total),
            }
        });
        Self { segments: segments.collect(), population, prepared, yes_no }
    }
}

/// The raw value, or the imputed one.
fn imputed(preparation: &FeaturePreparation, raw: f32) -> f64 {
    if raw.is_finite() { f64::from(raw) } else { preparation.impute }
}

/// Mean and population standard deviation.
#[derive(Debug, Clone, Copy)]
struct Moments {
    mean: f64,
    deviation: f64,
}

impl Moments {
    /// Two passes, in the order of the values.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (rows, sum) = values.clone().fold((0.0, 0.0), |(rows, sum), value| (rows + 1.0, sum + value));
        let rows = f64::max(rows, 1.0);
        let mean = sum / rows;
        let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
        Self { mean, deviation: (squares / rows).sqrt() }
    }

    /// The z-score; 0 if all values are equal.
    fn z(self, value: f64) -> f64 {
        if self.deviation > 0.0 { (value - self.mean) / self.deviation } else { 0.0 }
    }
}

/// Sums over the rows of a segment. z is a value scaled to mean 0 and deviation 1 over all rows.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    rows: f64,
    raw: f64,
    z: f64,
    squares: f64,
}

impl Group {
    fn add(&mut self, raw: f64, z: f64) {
        self.rows += 1.0;
        self.raw += raw;
        self.z += z;
        self.squares += z * z;
    }

    fn with(self, other: &Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            raw: self.raw + other.raw,
            z: self.z + other.z,
            squares: self.squares + other.squares,
        }
    }

    fn without(self, part: &Self) -> Self {
        Self {
            rows: self.rows - part.rows,
            raw: self.raw - part.raw,
            z: self.z - part.z,
            squares: self.squares - part.squares,
        }
    }

    fn mean_z(&self) -> f64 {
        self.z / self.rows.max(1.0)
    }

    /// The sum of the squared deviations of z from its mean.
    fn scatter(&self) -> f64 {
        (self.squares - self.z * self.mean_z()).max(0.0)
    }

    /// Cohen's d of this group against the rest of `total`; 0 if either is empty.
    fn difference(&self, total: &Self) -> f64 {
        let rest = total.without(self);
        if self.rows < 1.0 || rest.rows < 1.0 {
            return 0.0;
        }
        let freedom = (total.rows - 2.0).max(1.0);
        let pooled = ((self.scatter() + rest.scatter()) / freedom).sqrt();
        (self.mean_z() - rest.mean_z()) / pooled.max(LEAST_POOLED)
    }
}

/// η²: the share of the total scatter that is not within the groups.
fn explained(groups: &[Group], total: &Group) -> f64 {
    let whole = total.scatter();
    if whole <= 0.0 {
        return 0.0;
    }
    let within: f64 = groups.iter().map(Group::scatter).sum();
    (1.0 - within / whole).clamp(0.0, 1.0)
}

/// The median, 0 of no values; of an even number, the mean of the two in the middle. Reorders the values.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    let (_, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if values.len() % 2 == 1 {
        return upper;
    }
    let lower = values[..middle].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    f64::midpoint(lower, upper)
}

/// Pearson correlation of the prepared features, features × features: the diagonal is 1, the matrix symmetric.
fn correlation(features: &[FeaturePreparation], statistics: &[Statistics], rows: &Rows<'_>) -> Vec<Vec<f64>> {
    let width = features.len();
    let blocks: Vec<Vec<f64>> = rows
        .raw
        .par_chunks(BLOCK * width.max(1))
        .map(|block| {
            let mut products = vec![0.0; width * width];
            let mut z = vec![0.0; width];
            for row in block.chunks_exact(width) {
                for (feature, raw) in row.iter().enumerate() {
                    z[feature] = statistics[feature].prepared.z(features[feature].apply(*raw));
                }
                for one in 0..width {
                    for other in 0..one {
                        products[one * width + other] += z[one] * z[other];
                    }
                }
            }
            products
        })
        .collect();
    let customers = rows.labels.len().max(1) as f64;
    let mut matrix = vec![vec![1.0; width]; width];
    for one in 0..width {
        for other in 0..one {
            let sum: f64 = blocks.iter().map(|products| products[one * width + other]).sum();
            let value = (sum / customers).clamp(-1.0, 1.0);
            matrix[one][other] = value;
            matrix[other][one] = value;
        }
    }
    matrix
}

/// For each segment, the rows nearest to its centroid, the nearest first; equal ones in order.
fn nearest(segmentation: &Segmentation, rows: &Rows<'_>) -> Vec<Vec<usize>> {
    let width = segmentation.features().len();
    let centroids: Vec<&[f64]> = segmentation.centroids.rows().collect();
    let blocks: Vec<Vec<Vec<(f64, usize)>>> = rows
        .raw
        .par_chunks(BLOCK * width)
        .enumerate()
        .map(|(block, raw)| {
            let mut found = vec![Vec::new(); centroids.len()];
            let mut buffer = Vec::new();
            for (row, raw) in (block * BLOCK..).zip(raw.chunks_exact(width)) {
                let point = segmentation.preparation.point(raw, &mut buffer);
                let label = rows.labels[row] as usize;
                let squared = centroids[label].iter().zip(point).map(|(c, p)| (p - c) * (p - c)).sum();
                insert(&mut found[label], (squared, row));
            }
            found
        })
        .collect();
    let mut found = vec![Vec::new(); centroids.len()];
    for block in blocks {
        for (all, some) in found.iter_mut().zip(block) {
            for candidate in some {
                insert(all, candidate);
            }
        }
    }
    found.into_iter().map(|rows| rows.into_iter().map(|(_, row)| row).collect()).collect()
}

/// Inserts a candidate into the sorted list of the nearest rows. Candidates arrive in the order of their rows.
fn insert(nearest: &mut Vec<(f64, usize)>, candidate: (f64, usize)) {
    let place = nearest.partition_point(|(squared, _)| *squared <= candidate.0);
    if place < NEAREST {
        nearest.insert(place, candidate);
        nearest.truncate(NEAREST);
    }
}

/// The mean silhouette of each segment over the rows with a known silhouette; 0 if there is none.
fn mean_silhouettes(labels: &[u32], evidence: &Evidence<'_>, k: usize) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0_f64); k];
    for (row, silhouette) in evidence.silhouette_rows.iter().zip(evidence.silhouettes) {
        let (sum, rows) = &mut sums[labels[*row] as usize];
        *sum += f64::from(*silhouette);
        *rows += 1.0;
    }
    sums.into_iter().map(|(sum, rows)| sum / rows.max(1.0)).collect()
}

#[cfg(test)]
mod tests;
