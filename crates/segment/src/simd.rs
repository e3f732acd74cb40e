//! Squared Euclidean distances from rows to a block of centroids at once, one centroid per SIMD lane.
//!
//! Each lane adds up its squares in the order of the dimensions and without fused multiply-add, as a scalar loop does.
//! So every instruction set gives the same bits, in training and in serving.
//! The instruction set is chosen at run time.

/// Centroids of a block: one AVX-512 register of 64-bit floats, two of AVX2, four of SSE2.
const WIDTH: usize = 8;

/// Rows processed side by side, so that the additions of one row overlap those of another.
const ROWS_AT_ONCE: usize = 4;

/// Centroids, transposed in blocks: the coordinates of one dimension are adjacent.
#[derive(Debug, Clone, PartialEq)]
pub struct SimdCentroids {
    dimensions: usize,
    count: usize,
    blocks: Vec<[f64; WIDTH]>,
}

/// The centroid nearest to a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Its position; the lowest wins a tie.
    pub id: u32,
    /// Squared distance to it.
    pub squared: f64,
    /// Squared distance to the second nearest; infinite if there is only one centroid.
    pub second: f64,
}

impl SimdCentroids {
    /// `centroids`: centroids × `dimensions`, row-major; neither is 0.
    #[must_use]
    pub fn new(dimensions: usize, centroids: &[f64]) -> Self {
        let count = centroids.len() / dimensions;
        let mut blocks = vec![[0.0; WIDTH]; count.div_ceil(WIDTH) * dimensions];
        for (at, centroid) in centroids.chunks_exact(dimensions).enumerate() {
            let block = &mut blocks[at / WIDTH * dimensions..][..dimensions];
            for (vector, coordinate) in block.iter_mut().zip(centroid) {
                vector[at % WIDTH] = *coordinate;
            }
        }
        Self { dimensions, count, blocks }
    }

    /// The number of centroids.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Values that [`Self::distances`] writes per row: one per centroid, padded to whole blocks.
    #[must_use]
    pub fn width(&self) -> usize {
        self.count.div_ceil(WIDTH) * WIDTH
    }

    /// Writes the squared distances of `rows` to each centroid into `out`.
    ///
    /// `rows`: rows × dimensions, row-major. `out`: rows × [`Self::width`].
    pub fn distances(&self, rows: &[f64], out: &mut [f64]) {
        debug_assert_eq!(rows.len() / self.dimensions * self.width(), out.len(), "`out` fits the rows");
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                #[expect(unsafe_code, reason = "calls code for an instruction set detected at run time")]
                // SAFETY: AVX-512F was detected above.
                return unsafe { distances_avx512(self, rows, out) };
            }
            if is_x86_feature_detected!("avx2") {
                #[expect(unsafe_code, reason = "calls code for an instruction set detected at run time")]
                // SAFETY: AVX2 was detected above.
                return unsafe { distances_avx2(self, rows, out) };
            }
        }
        distances_generic(self, rows, out);
    }

    /// The nearest centroid of a row, from the distances that [`Self::distances`] wrote.
    ///
    /// A distance that overflows or is NaN counts as the greatest float, so there is always a nearest centroid.
    #[must_use]
    pub fn nearest(&self, distances: &[f64]) -> Nearest {
        let mut nearest = Nearest { id: 0, squared: f64::INFINITY, second: f64::INFINITY };
        for (id, distance) in (0..).zip(&distances[..self.count]) {
            let distance = distance.min(f64::MAX);
            if distance < nearest.squared {
                nearest = Nearest { id, squared: distance, second: nearest.squared };
            } else if distance < nearest.second {
                nearest.second = distance;
            }
        }
        nearest
    }

    /// Calls `each` with the nearest centroid of every row, in order.
    ///
    /// `rows`: rows × dimensions, row-major. Cost: rows × centroids × dimensions.
    pub fn for_each_nearest(&self, rows: &[f64], mut each: impl FnMut(Nearest)) {
        /// Rows of a tile: their distances fit the L1 cache beside the rows themselves.
        const TILE: usize = 64;
        let mut out = vec![0.0; TILE * self.width()];
        for tile in rows.chunks(TILE * self.dimensions) {
            let out = &mut out[..tile.len() / self.dimensions * self.width()];
            self.distances(tile, out);
            out.chunks_exact(self.width()).for_each(|distances| each(self.nearest(distances)));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn distances_avx512(centroids: &SimdCentroids, rows: &[f64], out: &mut [f64]) {
    distances_generic(centroids, rows, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn distances_avx2(centroids: &SimdCentroids, rows: &[f64], out: &mut [f64]) {
    distances_generic(centroids, rows, out);
}

/// Compiled once per instruction set; the compiler vectorises the loops over [`WIDTH`].
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "must be inlined into the function that enables the instruction set"
)]
fn distances_generic(centroids: &SimdCentroids, rows: &[f64], out: &mut [f64]) {
    let (dimensions, width) = (centroids.dimensions, centroids.width());
    let several = rows.chunks_exact(ROWS_AT_ONCE * dimensions);
    let rest = several.remainder();
    let (out_several, out_rest) = out.split_at_mut(several.len() * ROWS_AT_ONCE * width);
    for (rows, out) in several.zip(out_several.chunks_exact_mut(ROWS_AT_ONCE * width)) {
        for (number, block) in centroids.blocks.chunks_exact(dimensions).enumerate() {
            let sums = squares::<ROWS_AT_ONCE>(rows, block);
            for (row, sums) in sums.iter().enumerate() {
                out[row * width + number * WIDTH..][..WIDTH].copy_from_slice(sums);
            }
        }
    }
    for (row, out) in rest.chunks_exact(dimensions).zip(out_rest.chunks_exact_mut(width)) {
        for (block, out) in centroids.blocks.chunks_exact(dimensions).zip(out.chunks_exact_mut(WIDTH)) {
            out.copy_from_slice(&squares::<1>(row, block)[0]);
        }
    }
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "must be inlined into the function that enables the instruction set"
)]
fn squares<const N: usize>(rows: &[f64], block: &[[f64; WIDTH]]) -> [[f64; WIDTH]; N] {
    let dimensions = block.len();
    let rows: [&[f64]; N] = std::array::from_fn(|row| &rows[row * dimensions..][..dimensions]);
    let mut sums = [[0.0; WIDTH]; N];
    for (dimension, vector) in block.iter().enumerate() {
        for (row, sums) in rows.iter().zip(&mut sums) {
            let coordinate = row[dimension];
            for (sum, centroid) in sums.iter_mut().zip(vector) {
                let difference = coordinate - centroid;
                *sum += difference * difference;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scalar(row: &[f64], centroid: &[f64]) -> f64 {
        row.iter().zip(centroid).map(|(p, c)| (p - c) * (p - c)).sum()
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_bits_of_a_scalar_loop(
            dimensions in 1..20_usize,
            count in 1..20_usize,
            rows in 0..11_usize,
            values in prop::collection::vec(-1e3..1e3_f64, 20 * 20 + 11 * 20),
        ) {
            let (centroids, values) = values.split_at(count * dimensions);
            let rows = &values[..rows * dimensions];
            let simd = SimdCentroids::new(dimensions, centroids);
            let mut out = vec![f64::NAN; rows.len() / dimensions * simd.width()];
            let mut portable = out.clone();
            simd.distances(rows, &mut out);
            distances_generic(&simd, rows, &mut portable);
            prop_assert_eq!(&out, &portable);
            for (row, out) in rows.chunks_exact(dimensions).zip(out.chunks_exact(simd.width())) {
                for (centroid, found) in centroids.chunks_exact(dimensions).zip(out) {
                    prop_assert_eq!(scalar(row, centroid).to_bits(), found.to_bits());
                }
            }
        }
    }

    #[test]
    fn ties_go_to_the_lowest_id_and_there_is_always_a_nearest() {
        let simd = SimdCentroids::new(1, &[2.0, 0.0, 2.0]);
        let mut found = Vec::new();
        simd.for_each_nearest(&[1.0, 2.0, 1e300, f64::NAN, f64::INFINITY], |nearest| found.push(nearest.id));
        assert_eq!(found, [0, 0, 0, 0, 0]);
        let alone = SimdCentroids::new(1, &[2.0]);
        alone.for_each_nearest(&[1.0], |nearest| assert!(nearest.second.is_infinite()));
    }
}
