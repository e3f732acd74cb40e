//! Silhouettes: how much closer each row is to its own cluster than to the nearest other one.
//!
//! The distances between rows dominate the cost. Clusterings of the same rows share one pass over them, without a
//! distance matrix in memory.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::draw::{self, Purpose};
use super::progress::{Progress, Stopped};

/// Silhouettes of larger tables are computed on a sample of this size.
pub const EXACT_UP_TO: usize = 20_000;

/// Rows of a block, processed side by side: one AVX-512 register of 32-bit floats, two of AVX2.
const WIDTH: usize = 16;

/// Distances summed in 32 bits before each addition to a 64-bit sum; the rounding error is at most 1e-5.
const FLUSH_EVERY: usize = 256;

/// The silhouettes of one clustering.
#[derive(Debug, Clone, PartialEq)]
pub struct Silhouettes {
    /// The mean over `rows`.
    pub mean: f64,
    /// The standard error of the mean, if `rows` is a sample.
    pub error: Option<f64>,
    /// The rows with a silhouette: all, or a sample, ascending.
    pub rows: Vec<usize>,
    /// The silhouette of each of `rows`, −1..=1; 0 for a row alone in its cluster, or if there is only one cluster.
    pub values: Vec<f32>,
}

/// Silhouettes of several clusterings of the same rows.
///
/// `points`: rows × dimensions in standard layout.
/// `labelings`: for each clustering, the cluster of every row and the number of clusters.
/// A table of more than `sample_above` rows is replaced by a sample of that size, and the mean has a standard error.
/// Distances are computed in 32 bits. Cost: rows² × (dimensions + clusterings).
/// Source: Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis" (1987).
///
/// # Errors
/// [`Stopped`] if `progress` asks to stop.
pub fn silhouettes(
    points: ArrayView2<'_, f64>,
    labelings: &[(&[u32], usize)],
    sample_above: usize,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<Silhouettes>, Stopped> {
    let mut random = draw::generator(seed, Purpose::SilhouetteRows, 0);
    let rows = draw::without_replacement(&mut random, points.nrows(), sample_above);
    let sampled = rows.len() < points.nrows();
    let table = Rows::new(points, &rows, labelings);
    let blocks = rows.len().div_ceil(WIDTH);
    progress.begin("silhouettes", blocks as u64);
    let of_block = |block: usize| {
        if progress.stopped() {
            return Err(Stopped);
        }
        let sums = table.sums(block);
        progress.advance(1);
        Ok(table.values(block, &sums))
    };
    // By block, then by clustering, then by row.
    let values: Vec<Vec<[f32; WIDTH]>> =
        (0..blocks).into_par_iter().map(of_block).collect::<Result<_, _>>()?;
    let of_labeling = |labeling: usize| {
        let all = values.iter().flat_map(|block| block[labeling]);
        let values: Vec<f32> = all.take(rows.len()).collect();
        let count = values.len() as f64;
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
        let error = sampled.then(|| (squares / (count - 1.0).max(1.0) / count).sqrt());
        Silhouettes { mean, error, rows: rows.clone(), values }
    };
    Ok((0..labelings.len()).map(of_labeling).collect())
}

/// The rows with a silhouette.
struct Rows {
    dimensions: usize,
    /// Row-major.
    values: Vec<f32>,
    /// For each row and clustering, the index of its cluster among those of all clusterings.
    slots: Vec<u32>,
    /// The first cluster of each clustering, and at the end the number of all clusters.
    offsets: Vec<u32>,
    /// Rows of each cluster.
    sizes: Vec<f64>,
}

impl Rows {
    fn new(points: ArrayView2<'_, f64>, rows: &[usize], labelings: &[(&[u32], usize)]) -> Self {
        let mut offsets = vec![0_u32];
        for (_, k) in labelings {
            offsets.push(offsets[offsets.len() - 1] + *k as u32);
        }
        let mut slots = Vec::with_capacity(rows.len() * labelings.len());
        let mut sizes = vec![0.0; offsets[labelings.len()] as usize];
        let mut values = Vec::with_capacity(rows.len() * points.ncols());
        for row in rows {
            values.extend(points.row(*row).iter().map(|value| *value as f32));
            for ((labels, _), offset) in labelings.iter().zip(&offsets) {
                let slot = offset + labels[*row];
                slots.push(slot);
                sizes[slot as usize] += 1.0;
            }
        }
        Self { dimensions: points.ncols(), values, slots, offsets, sizes }
    }

    fn labelings(&self) -> usize {
        self.offsets.len() - 1
    }

    fn rows(&self) -> usize {
        self.values.len() / self.dimensions
    }

    /// For each cluster of each clustering, the sum of the distances of its rows to each row of the block.
    fn sums(&self, block: usize) -> Vec<[f64; WIDTH]> {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                #[expect(unsafe_code, reason = "calls code for an instruction set detected at run time")]
                // SAFETY: AVX-512F was detected above.
                return unsafe { sums_avx512(self, block) };
            }
            if is_x86_feature_detected!("avx2") {
                #[expect(unsafe_code, reason = "calls code for an instruction set detected at run time")]
                // SAFETY: AVX2 was detected above.
                return unsafe { sums_avx2(self, block) };
            }
        }
        sums_generic(self, block)
    }

    /// For each clustering, the silhouettes of the rows of the block.
    fn values(&self, block: usize, sums: &[[f64; WIDTH]]) -> Vec<[f32; WIDTH]> {
        let mut values = vec![[0.0; WIDTH]; self.labelings()];
        for (at, row) in (block * WIDTH..self.rows()).take(WIDTH).enumerate() {
            let slots = &self.slots[row * self.labelings()..][..self.labelings()];
            for (labeling, own) in slots.iter().enumerate() {
                let clusters = self.offsets[labeling]..self.offsets[labeling + 1];
                let mean = |slot: u32, but: f64| sums[slot as usize][at] / (self.sizes[slot as usize] - but);
                let others = clusters.filter(|slot| slot != own && self.sizes[*slot as usize] > 0.0);
                let nearest = others.map(|slot| mean(slot, 0.0)).fold(f64::INFINITY, f64::min);
                let alone = self.sizes[*own as usize] < 1.5;
                let within = mean(*own, 1.0);
                let widest = within.max(nearest);
                if !alone && nearest.is_finite() && widest > 0.0 {
                    values[labeling][at] = ((nearest - within) / widest) as f32;
                }
            }
        }
        values
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sums_avx512(rows: &Rows, block: usize) -> Vec<[f64; WIDTH]> {
    sums_generic(rows, block)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sums_avx2(rows: &Rows, block: usize) -> Vec<[f64; WIDTH]> {
    sums_generic(rows, block)
}

/// Compiled once per instruction set. Every sum is in the order of the rows, so all give the same bits.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "must be inlined into the function that enables the instruction set"
)]
fn sums_generic(rows: &Rows, block: usize) -> Vec<[f64; WIDTH]> {
    let (dimensions, labelings) = (rows.dimensions, rows.labelings());
    let mut own = vec![[0.0_f32; WIDTH]; dimensions];
    for (at, row) in (block * WIDTH..rows.rows()).take(WIDTH).enumerate() {
        let values = &rows.values[row * dimensions..][..dimensions];
        own.iter_mut().zip(values).for_each(|(vector, value)| vector[at] = *value);
    }
    let mut sums = vec![[0.0_f64; WIDTH]; rows.sizes.len()];
    let mut parts = vec![[0.0_f32; WIDTH]; rows.sizes.len()];
    let others = rows.values.chunks(FLUSH_EVERY * dimensions).zip(rows.slots.chunks(FLUSH_EVERY * labelings));
    for (values, slots) in others {
        for (row, slots) in values.chunks_exact(dimensions).zip(slots.chunks_exact(labelings)) {
            let mut distances = [0.0_f32; WIDTH];
            for (vector, value) in own.iter().zip(row) {
                for (square, coordinate) in distances.iter_mut().zip(vector) {
                    let difference = coordinate - value;
                    *square += difference * difference;
                }
            }
            for square in &mut distances {
                *square = square.sqrt();
            }
            for slot in slots {
                let part = &mut parts[*slot as usize];
                part.iter_mut().zip(&distances).for_each(|(sum, distance)| *sum += distance);
            }
        }
        for (sum, part) in sums.iter_mut().zip(&mut parts) {
            sum.iter_mut().zip(&*part).for_each(|(sum, part)| *sum += f64::from(*part));
            *part = [0.0; WIDTH];
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::super::progress::Silent;
    use super::*;

    /// Silhouettes by their definition, row by row, in 64 bits.
    fn by_definition(points: &Array2<f64>, labels: &[u32], k: usize) -> Vec<f64> {
        let distance = |i: usize, j: usize| {
            let squares =
                points.row(i).iter().zip(points.row(j)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
            squares.sqrt()
        };
        let rows = points.nrows();
        let of = |row: usize| {
            let mean = |cluster: u32| {
                let members: Vec<usize> =
                    (0..rows).filter(|other| *other != row && labels[*other] == cluster).collect();
                let sum: f64 = members.iter().map(|other| distance(row, *other)).sum();
                (!members.is_empty()).then(|| sum / members.len() as f64)
            };
            let others = (0..k as u32).filter(|cluster| *cluster != labels[row]).filter_map(mean);
            let nearest = others.fold(f64::INFINITY, f64::min);
            match mean(labels[row]) {
                Some(within) if nearest.is_finite() && within.max(nearest) > 0.0 => {
                    (nearest - within) / within.max(nearest)
                }
                _ => 0.0,
            }
        };
        (0..rows).map(of).collect()
    }

    proptest! {
        #[test]
        fn silhouettes_agree_with_the_definition(
            values in prop::collection::vec(-5.0..5.0_f64, 3 * 40),
            labels in prop::collection::vec(0..4_u32, 40),
        ) {
            let points = Array2::from_shape_vec((40, 3), values).unwrap();
            let two: Vec<u32> = labels.iter().map(|label| label % 2).collect();
            let found = silhouettes(points.view(), &[(&labels, 4), (&two, 2)], 100, 1, &Silent).unwrap();
            for (found, (labels, k)) in found.iter().zip([(&labels, 4), (&two, 2)]) {
                let expected = by_definition(&points, labels, k);
                prop_assert_eq!(found.error, None);
                for (found, expected) in found.values.iter().zip(&expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-5, "{} {}", found, expected);
                }
                prop_assert!((found.mean - expected.iter().sum::<f64>() / 40.0).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_sample_has_a_standard_error() {
        let values =
            (0..2000).map(|row| f64::from(row % 2) * 10.0 + f64::from(row * 7919 % 1000) / 1000.0).collect();
        let points = Array2::from_shape_vec((2000, 1), values).unwrap();
        let labels: Vec<u32> = (0..2000).map(|row| row % 2).collect();
        let exact = &silhouettes(points.view(), &[(&labels, 2)], 2000, 1, &Silent).unwrap()[0];
        let sampled = &silhouettes(points.view(), &[(&labels, 2)], 200, 1, &Silent).unwrap()[0];
        assert_eq!((sampled.values.len(), sampled.rows.len()), (200, 200));
        let error = sampled.error.unwrap();
        assert!(error > 0.0 && (sampled.mean - exact.mean).abs() < 6.0 * error, "{sampled:?}");
    }

    #[test]
    fn a_row_alone_and_a_single_cluster_have_silhouette_0() {
        let points = Array2::from_shape_vec((3, 1), vec![0.0, 0.1, 9.0]).unwrap();
        let found = silhouettes(points.view(), &[(&[0, 0, 1], 2), (&[0, 0, 0], 1)], 9, 1, &Silent).unwrap();
        assert_eq!((found[0].values[2], found[1].mean), (0.0, 0.0));
        assert!(found[0].values[0] > 0.98);
    }
}
