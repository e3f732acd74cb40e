//! Data for the charts of single customers: scatter plots by principal components and by t-SNE, and silhouettes.
//!
//! The seed draws the sample, and everything after it runs on one thread.
//! So the same table and seed give the same points, bit for bit.

use linfa::traits::Transformer;
use linfa_linalg::eigh::{EigSort, Eigh};
use linfa_tsne::TSneParams;
use ndarray::Array2;
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::{Evidence, Profiles, Rows};
use crate::train::progress::Progress;
use crate::train::study::{Pictures, Scatter};
use segment::Segmentation;

/// The perplexity of t-SNE, its effective number of neighbours; lower for a small sample.
const PERPLEXITY: f64 = 30.0;

/// Maximum number of customers in t-SNE, whose exact form costs their square per step.
///
/// linfa's Barnes–Hut approximation searches neighbours in a tree with pivots from an unseeded generator.
/// With it, the same seed gave different pictures.
const EMBEDDED: usize = 800;

/// Steps of t-SNE; the first quarter uses early exaggeration.
const STEPS: usize = 500;

/// Maximum jitter of a coordinate, relative to the root mean square of all: it separates identical customers.
const JITTER: f64 = 1e-3;

/// What to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::train) struct PictureOptions {
    /// Maximum number of customers in each scatter plot.
    pub(in crate::train) rows: usize,
    /// Seed of the sample and of t-SNE.
    pub(in crate::train) seed: u64,
    /// Whether to compute t-SNE, which costs more than all the rest.
    pub(in crate::train) tsne: bool,
}

/// The pictures of a segmentation. `profiles`: those of the same rows.
///
/// The principal components are those of the correlation matrix over all rows.
/// Each is signed so that its largest weight is positive.
/// Sources: van der Maaten & Hinton, "Visualizing data using t-SNE" (2008); Rousseeuw, "Silhouettes" (1987).
pub(in crate::train) fn pictures(
    segmentation: &Segmentation,
    rows: &Rows<'_>,
    evidence: &Evidence<'_>,
    profiles: &Profiles,
    options: &PictureOptions,
    progress: &dyn Progress,
) -> Pictures {
    let mut random = Xoshiro256Plus::seed_from_u64(options.seed);
    let sample = sample(rows.labels.len(), options.rows, &mut random);
    let segments: Vec<u32> = sample.iter().map(|row| rows.labels[*row]).collect();
    let plane = Plane::of(&profiles.correlation);
    let pca = sample.iter().map(|row| plane.point(&standardised(segmentation, rows, *row)));
    let pca = Scatter { points: pca.collect(), segments };
    let step = sample.len().div_ceil(EMBEDDED).max(1);
    let embedded: Vec<usize> = sample.iter().copied().step_by(step).collect();
    let tsne = if options.tsne && !progress.stopped() {
        progress.begin("t-SNE", 1);
        let points = tsne(segmentation, rows, &embedded, random);
        progress.advance(1);
        points
    } else {
        Vec::new()
    };
    let segments: Vec<u32> = tsne.iter().zip(&embedded).map(|(_, row)| rows.labels[*row]).collect();
    Pictures {
        pca,
        pca_shares: plane.shares,
        tsne: Scatter { points: tsne, segments },
        silhouettes: silhouettes(rows.labels, evidence, segmentation.len()),
    }
}

/// A uniform sample of `wanted` of `rows` row numbers, without replacement, ascending.
///
/// Source: Knuth, "The art of computer programming", volume 2, algorithm S.
fn sample(rows: usize, wanted: usize, random: &mut Xoshiro256Plus) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(wanted.min(rows));
    for row in 0..rows {
        let (needed, left) = (wanted.min(rows) - chosen.len(), rows - row);
        if uniform(random) * (left as f64) < needed as f64 {
            chosen.push(row);
        }
    }
    chosen
}

/// A uniform number in 0..1 with 53 random bits.
fn uniform(random: &mut Xoshiro256Plus) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// The standardised values of a row.
fn standardised(segmentation: &Segmentation, rows: &Rows<'_>, row: usize) -> Vec<f64> {
    let features = segmentation.features();
    let raw = &rows.raw[row * features.len()..(row + 1) * features.len()];
    features.iter().zip(raw).map(|(feature, raw)| feature.apply(*raw)).collect()
}

/// The first two principal components.
struct Plane {
    /// 2 × features.
    axes: [Vec<f64>; 2],
    /// Shares of the variance.
    shares: [f64; 2],
}

impl Plane {
    /// The two leading eigenvectors of a correlation matrix, features × features. Cost: features³.
    ///
    /// Source: Jolliffe, "Principal component analysis" (2002).
    fn of(correlation: &[Vec<f64>]) -> Self {
        let width = correlation.len();
        let matrix = Array2::from_shape_fn((width, width), |(row, column)| correlation[row][column]);
        let mut plane = Self { axes: [vec![0.0; width], vec![0.0; width]], shares: [0.0; 2] };
        // A finite symmetric matrix always has eigenvectors. If they fail, all points are at the origin.
        let Ok(decomposed) = matrix.eigh() else { return plane };
        let (variances, vectors) = decomposed.sort_eig_desc();
        for (number, (vector, variance)) in vectors.columns().into_iter().zip(&variances).enumerate().take(2)
        {
            plane.axes[number] = signed(vector.to_vec());
            plane.shares[number] = (variance / width as f64).clamp(0.0, 1.0);
        }
        plane
    }

    fn point(&self, values: &[f64]) -> [f32; 2] {
        let along =
            |axis: &[f64]| axis.iter().zip(values).map(|(weight, value)| weight * value).sum::<f64>() as f32;
        [along(&self.axes[0]), along(&self.axes[1])]
    }
}

/// The component, with its sign flipped if its largest weight is negative; of equal weights the first counts.
fn signed(component: Vec<f64>) -> Vec<f64> {
    let largest = component
        .iter()
        .fold(0.0_f64, |largest, weight| if weight.abs() > largest.abs() + 1e-9 { *weight } else { largest });
    if largest < 0.0 { component.into_iter().map(|weight| -weight).collect() } else { component }
}

/// The t-SNE of the sample's coordinates; empty with too few customers or only one coordinate.
fn tsne(
    segmentation: &Segmentation,
    rows: &Rows<'_>,
    sample: &[usize],
    mut random: Xoshiro256Plus,
) -> Vec<[f32; 2]> {
    let width = segmentation.features().len();
    let dimensions = segmentation.preparation.dimensions();
    let perplexity = PERPLEXITY.min(sample.len().saturating_sub(1) as f64 / 3.0);
    if dimensions < 2 || perplexity < 1.0 {
        return Vec::new();
    }
    let mut values = Vec::with_capacity(sample.len() * dimensions);
    let mut buffer = Vec::new();
    for row in sample {
        let raw = &rows.raw[row * width..(row + 1) * width];
        values.extend_from_slice(segmentation.preparation.point(raw, &mut buffer));
    }
    let squares: f64 = values.iter().map(|value| value * value).sum();
    let typical = (squares / values.len() as f64).sqrt().max(f64::MIN_POSITIVE);
    for value in &mut values {
        *value += JITTER * typical * (2.0 * uniform(&mut random) - 1.0);
    }
    let Ok(values) = Array2::from_shape_vec((sample.len(), dimensions), values) else { return Vec::new() };
    let embedded = TSneParams::embedding_size_with_rng(2, random)
        .perplexity(perplexity)
        .approx_threshold(0.0)
        .max_iter(STEPS)
        .preliminary_iter(STEPS / 4)
        .transform(values);
    let Ok(embedded) = embedded else { return Vec::new() };
    let points: Vec<[f32; 2]> =
        embedded.rows().into_iter().map(|row| [row[0] as f32, row[1] as f32]).collect();
    if points.iter().flatten().all(|value| value.is_finite()) { points } else { Vec::new() }
}

/// The known silhouettes by segment, each in descending order.
fn silhouettes(labels: &[u32], evidence: &Evidence<'_>, k: usize) -> Vec<Vec<f32>> {
    let mut by_segment = vec![Vec::new(); k];
    for (row, silhouette) in evidence.silhouette_rows.iter().zip(evidence.silhouettes) {
        by_segment[labels[*row] as usize].push(*silhouette);
    }
    for silhouettes in &mut by_segment {
        silhouettes.sort_by(|one: &f32, other| other.total_cmp(one));
    }
    by_segment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::profile::profile;
    use crate::train::profile::tests::{blobs, evidence};
    use crate::train::progress::Silent;

    #[test]
    fn a_sample_is_of_its_size_ascending_and_the_same_for_the_same_seed() {
        let draw = |seed| sample(1_000, 50, &mut Xoshiro256Plus::seed_from_u64(seed));
        let drawn = draw(1);
        assert_eq!(drawn.len(), 50);
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
        assert_eq!(sample(3, 50, &mut Xoshiro256Plus::seed_from_u64(1)), [0, 1, 2]);
    }

    #[test]
    fn the_plane_agrees_with_numpy() {
        // numpy.linalg.eigh of this matrix.
        let plane = Plane::of(&[vec![1.0, 0.8, -0.3], vec![0.8, 1.0, -0.1], vec![-0.3, -0.1, 1.0]]);
        let expected =
            [[0.691_013_84, 0.654_803_55, -0.306_157_12], [0.088_871_13, 0.343_372_04, 0.934_985_33]];
        for (axis, expected) in plane.axes.iter().zip(expected) {
            for (weight, expected) in axis.iter().zip(expected) {
                assert!((weight - expected).abs() < 1e-8, "{:?}", plane.axes);
            }
        }
        assert!((plane.shares[0] - 1.890_995_140_6 / 3.0).abs() < 1e-8, "{:?}", plane.shares);
    }

    #[test]
    fn one_feature_alone_lies_on_a_line() {
        let plane = Plane::of(&[vec![1.0]]);
        assert_eq!(plane.point(&[2.5]).map(f32::to_bits), [2.5_f32, 0.0].map(f32::to_bits));
        assert!((plane.shares[0] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn identical_customers_get_the_same_points_on_every_run_and_for_every_number_of_threads() {
        let table = blobs(160);
        let rows = table.rows();
        let draw = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let profiles = profile(&table.segmentation, &rows, &evidence());
                let options = PictureOptions { rows: 120, seed: 7, tsne: true };
                pictures(&table.segmentation, &rows, &evidence(), &profiles, &options, &Silent)
            })
        };
        let one = draw(1);
        assert_eq!(one.tsne.points.len(), 120);
        assert_eq!(one.pca.segments, one.tsne.segments);
        for threads in [1, 2, 4] {
            assert_eq!(draw(threads), one);
        }
    }

    #[test]
    fn silhouettes_descend_within_their_segments() {
        let evidence = Evidence { silhouette_rows: &[0, 2, 3], silhouettes: &[0.1, 0.5, 0.9], jaccard: &[] };
        assert_eq!(silhouettes(&[0, 1, 1, 0], &evidence, 2), [vec![0.9, 0.1], vec![0.5]]);
    }
}
