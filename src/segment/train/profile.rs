//! What sets each segment apart: means, medians, lifts and standardised differences of its features, its typical
//! customers, a name for it.
//!
//! Looks at the raw values and at the segment of each row; never changes either. Start reading at [`profile`].
//! `names` finds the words, `pictures` draws single customers.

mod names;
mod pictures;

use rayon::prelude::*;

pub(super) use self::pictures::{PictureOptions, pictures};

use super::study::{FeatureProfile, PopulationProfile, SegmentProfile};
use super::table::Ids;
use crate::segment::Segmentation;
use crate::segment::prepare::FeaturePreparation;

/// The features that are named for a segment.
const DISTINGUISHING: usize = 5;

/// The customers that are named for a segment.
const NEAREST: usize = 5;

/// A pooled deviation below this, in deviations of the population, counts as this.
const LEAST_POOLED: f64 = 1e-3;

/// Rows that one task looks at. Sums are taken within such a block and then over the blocks in order, so that the number
/// of threads changes nothing.
const BLOCK: usize = 8_192;

/// The customers of the table and where they belong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'t> {
    /// Rows × the features of the segmentation, row-major; NaN where a value is missing.
    pub(super) raw: &'t [f32],
    /// Their ids, one per row, where there is an id column.
    pub(super) customers: Option<&'t Ids>,
    /// The segment of each row.
    pub(super) labels: &'t [u32],
}

/// What the choice of k knows about the segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'t> {
    /// The rows whose silhouette is known, ascending: all, or a sample.
    pub(super) silhouette_rows: &'t [usize],
    /// One silhouette per such row.
    pub(super) silhouettes: &'t [f32],
    /// Mean Jaccard similarity over the resamples, one per segment.
    pub(super) jaccard: &'t [f64],
}

/// What [`profile`] found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profiles {
    /// By id. Their names are those of the segmentation; offers are still to be added.
    pub(super) segments: Vec<SegmentProfile>,
    /// The features in order.
    pub(super) features: Vec<PopulationProfile>,
    /// Pearson correlation of the prepared features, features × features.
    pub(super) correlation: Vec<Vec<f64>>,
}

/// The profile of every segment.
///
/// Missing values are imputed, as the segmentation does. z-scores, differences and correlations are taken of the
/// prepared values (after winsorising and ln(1 + x)), brought to mean 0 and deviation 1 over all rows whichever scale the
/// preparation uses; means, medians and lifts are in the unit of the raw values. Cost: rows × features², in parallel
/// over features and blocks of rows; memory: 8 bytes per row and thread. Sources: Cohen, "Statistical power analysis for
/// the behavioral sciences" (1988), for d and η².
pub(super) fn profile(segmentation: &Segmentation, rows: &Rows<'_>, evidence: &Evidence<'_>) -> Profiles {
    let k = segmentation.len();
    let facts: Vec<Facts> = (0..segmentation.features().len())
        .into_par_iter()
        .map(|feature| Facts::of(&segmentation.features()[feature], feature, rows, k))
        .collect();
    let correlation = correlation(segmentation.features(), &facts, rows);
    let nearest = nearest(segmentation, rows);
    let silhouettes = mean_silhouettes(rows.labels, evidence, k);

    let customers = rows.labels.len();
    let mut segments: Vec<SegmentProfile> = (0..k)
        .map(|id| {
            let size = rows.labels.iter().filter(|label| **label as usize == id).count();
            let features: Vec<FeatureProfile> = facts.iter().map(|facts| facts.segments[id]).collect();
            SegmentProfile {
                id: id as u32,
                name: segmentation.segments()[id].name.clone(),
                proposed: String::new(),
                description: String::new(),
                size: size as u64,
                share: size as f64 / customers.max(1) as f64,
                silhouette: silhouettes[id],
                jaccard: evidence.jaccard.get(id).copied().unwrap_or(0.0),
                distinguishing: apart(&features).into_iter().take(DISTINGUISHING).collect(),
                features,
                nearest: nearest[id].iter().map(|row| customer(rows.customers, *row)).collect(),
                offers: Vec::new(),
            }
        })
        .collect();
    let yes_no: Vec<bool> = facts.iter().map(|facts| facts.yes_no).collect();
    let features: Vec<PopulationProfile> = facts.into_iter().map(|facts| facts.population).collect();
    let proposals = names::Namer { features: &features, yes_no: &yes_no, correlation: &correlation };
    let named = proposals.propose(&segments);
    for (segment, named) in segments.iter_mut().zip(named) {
        segment.proposed = named.name;
        segment.description = named.description;
    }
    Profiles { segments, features, correlation }
}

/// The features by how far apart they set a segment, the most first; equal ones in order.
fn apart(features: &[FeatureProfile]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..features.len()).collect();
    order.sort_by(|one, other| features[*other].difference.abs().total_cmp(&features[*one].difference.abs()));
    order
}

/// How a row is called: by its id, or by its number from 1.
fn customer(customers: Option<&Ids>, row: usize) -> String {
    customers.map_or_else(|| format!("row {}", row + 1), |ids| ids.get(row).to_owned())
}

/// All about one feature.
struct Facts {
    population: PopulationProfile,
    segments: Vec<FeatureProfile>,
    /// Mean and population deviation of the prepared values.
    prepared: Moments,
    /// Whether every value is 0 or 1.
    yes_no: bool,
}

impl Facts {
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

/// The raw value, or what stands in for it.
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
    /// In two passes, in the order of the values.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (rows, sum) = values.clone().fold((0.0, 0.0), |(rows, sum), value| (rows + 1.0, sum + value));
        let rows = f64::max(rows, 1.0);
        let mean = sum / rows;
        let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
        Self { mean, deviation: (squares / rows).sqrt() }
    }

    /// Deviations from the mean; 0 where nothing deviates.
    fn z(self, value: f64) -> f64 {
        if self.deviation > 0.0 { (value - self.mean) / self.deviation } else { 0.0 }
    }
}

/// Sums over the rows of a segment; z stands for the values at mean 0 and deviation 1 over all rows.
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

    /// The sum of the squared differences from the mean of z.
    fn scatter(&self) -> f64 {
        (self.squares - self.z * self.mean_z()).max(0.0)
    }

    /// Cohen's d of this group against the rest of `total`; 0 where either is empty.
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

/// η²: the part of the total scatter that is not within the groups.
fn explained(groups: &[Group], total: &Group) -> f64 {
    let whole = total.scatter();
    if whole <= 0.0 {
        return 0.0;
    }
    let within: f64 = groups.iter().map(Group::scatter).sum();
    (1.0 - within / whole).clamp(0.0, 1.0)
}

/// The median, the mean of the two in the middle where their number is even; 0 of nothing. Reorders the values.
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
fn correlation(features: &[FeaturePreparation], facts: &[Facts], rows: &Rows<'_>) -> Vec<Vec<f64>> {
    let width = features.len();
    let blocks: Vec<Vec<f64>> = rows
        .raw
        .par_chunks(BLOCK * width.max(1))
        .map(|block| {
            let mut products = vec![0.0; width * width];
            let mut z = vec![0.0; width];
            for row in block.chunks_exact(width) {
                for (feature, raw) in row.iter().enumerate() {
                    z[feature] = facts[feature].prepared.z(features[feature].apply(*raw));
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

/// The rows nearest to the centroid of their segment, by segment, the nearest first; equal ones in order.
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
                keep(&mut found[label], (squared, row));
            }
            found
        })
        .collect();
    let mut found = vec![Vec::new(); centroids.len()];
    for block in blocks {
        for (all, some) in found.iter_mut().zip(block) {
            for candidate in some {
                keep(all, candidate);
            }
        }
    }
    found.into_iter().map(|rows| rows.into_iter().map(|(_, row)| row).collect()).collect()
}

/// Puts a candidate in its place among the nearest, which stay few; candidates come in the order of their rows.
fn keep(nearest: &mut Vec<(f64, usize)>, candidate: (f64, usize)) {
    let place = nearest.partition_point(|(squared, _)| *squared <= candidate.0);
    if place < NEAREST {
        nearest.insert(place, candidate);
        nearest.truncate(NEAREST);
    }
}

/// The mean silhouette of each segment, of the rows whose silhouette is known; 0 where none is.
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
