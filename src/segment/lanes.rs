//! Squared distances from rows to a few centroids at once: a lane of a vector register for each centroid.
//!
//! Each lane adds up its squares in the order of the dimensions and without fused operations, as a plain loop does, so that every instruction
//! set gives the same bits, in training and in serving. The instruction set is chosen at run time.

/// Centroids that share a register's worth of work: 8 lanes of 64 bits are one register of AVX-512, two of AVX2, four of SSE2.
pub(super) const LANES: usize = 8;

/// Rows that are worked on side by side, so that one addition need not wait for the one before.
const ROWS: usize = 4;

/// Centroids, transposed: for each group of [`LANES`] of them, for each dimension, their coordinates side by side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lanes {
    dimensions: usize,
    count: usize,
    groups: Vec<[f64; LANES]>,
}

/// The nearest of some centroids to a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Nearest {
    /// Its position; the lowest wins a tie.
    pub(super) id: u32,
    /// Squared distance to it.
    pub(super) squared: f64,
    /// Squared distance to the second nearest; infinite where there is one centroid only.
    pub(super) second: f64,
}

impl Lanes {
    /// `centroids`: centroids × `dimensions`, row-major; neither is 0.
    pub(super) fn new(dimensions: usize, centroids: &[f64]) -> Self {
        let count = centroids.len() / dimensions;
        let mut groups = vec![[0.0; LANES]; count.div_ceil(LANES) * dimensions];
        for (at, centroid) in centroids.chunks_exact(dimensions).enumerate() {
            let group = &mut groups[at / LANES * dimensions..][..dimensions];
            for (lanes, coordinate) in group.iter_mut().zip(centroid) {
                lanes[at % LANES] = *coordinate;
            }
        }
        Self { dimensions, count, groups }
    }

    /// Centroids.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// What [`Lanes::distances`] writes for a row: a distance for each centroid, then padding up to a whole number of groups.
    pub(super) fn width(&self) -> usize {
        self.count.div_ceil(LANES) * LANES
    }

    /// Squared distances of `rows` (rows × dimensions, row-major) from each centroid, rows × [`Lanes::width`], into `out`.
    pub(super) fn distances(&self, rows: &[f64], out: &mut [f64]) {
        debug_assert_eq!(rows.len() / self.dimensions * self.width(), out.len(), "room for each row");
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                #[expect(
                    unsafe_code,
                    reason = "the only way to call code for an instruction set that was found at run time"
                )]
                // SAFETY: the processor has AVX-512F, as was just asked.
                return unsafe { distances_avx512(self, rows, out) };
            }
            if is_x86_feature_detected!("avx2") {
                #[expect(
                    unsafe_code,
                    reason = "the only way to call code for an instruction set that was found at run time"
                )]
                // SAFETY: the processor has AVX2, as was just asked.
                return unsafe { distances_avx2(self, rows, out) };
            }
        }
        distances_on(self, rows, out);
    }

    /// The nearest centroid of a row whose distances [`Lanes::distances`] wrote. A distance beyond the range of floats, or none at all,
    /// counts as the greatest float, so that there is always a nearest.
    pub(super) fn nearest(&self, distances: &[f64]) -> Nearest {
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

    /// Tells `each` the nearest centroid of every row, in order.
    ///
    /// `rows`: rows × dimensions, row-major. Cost: rows × centroids × dimensions.
    pub(super) fn each_nearest(&self, rows: &[f64], mut each: impl FnMut(Nearest)) {
        /// Rows whose distances fit the first cache beside the rows themselves.
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
fn distances_avx512(lanes: &Lanes, rows: &[f64], out: &mut [f64]) {
    distances_on(lanes, rows, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn distances_avx2(lanes: &Lanes, rows: &[f64], out: &mut [f64]) {
    distances_on(lanes, rows, out);
}

/// Compiled once for each instruction set; the compiler makes vectors of the inner arrays.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]
fn distances_on(lanes: &Lanes, rows: &[f64], out: &mut [f64]) {
    let (dimensions, width) = (lanes.dimensions, lanes.width());
    let several = rows.chunks_exact(ROWS * dimensions);
    let rest = several.remainder();
    let (out_several, out_rest) = out.split_at_mut(several.len() * ROWS * width);
    for (rows, out) in several.zip(out_several.chunks_exact_mut(ROWS * width)) {
        for (group, lanes) in lanes.groups.chunks_exact(dimensions).enumerate() {
            let sums = squares::<ROWS>(rows, lanes);
            for (row, sums) in sums.iter().enumerate() {
                out[row * width + group * LANES..][..LANES].copy_from_slice(sums);
            }
        }
    }
    for (row, out) in rest.chunks_exact(dimensions).zip(out_rest.chunks_exact_mut(width)) {
        for (lanes, out) in lanes.groups.chunks_exact(dimensions).zip(out.chunks_exact_mut(LANES)) {
            out.copy_from_slice(&squares::<1>(row, lanes)[0]);
        }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]
fn squares<const N: usize>(rows: &[f64], lanes: &[[f64; LANES]]) -> [[f64; LANES]; N] {
    let dimensions = lanes.len();
    let rows: [&[f64]; N] = std::array::from_fn(|row| &rows[row * dimensions..][..dimensions]);
    let mut sums = [[0.0; LANES]; N];
    for (dimension, centroids) in lanes.iter().enumerate() {
        for (row, sums) in rows.iter().zip(&mut sums) {
            let coordinate = row[dimension];
            for (sum, centroid) in sums.iter_mut().zip(centroids) {
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

    /// As anybody would write it.
    fn plain(row: &[f64], centroid: &[f64]) -> f64 {
        row.iter().zip(centroid).map(|(p, c)| (p - c) * (p - c)).sum()
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_bits_of_a_plain_loop(
            dimensions in 1..20_usize,
            count in 1..20_usize,
            rows in 0..11_usize,
            values in prop::collection::vec(-1e3..1e3_f64, 20 * 20 + 11 * 20),
        ) {
            let (centroids, values) = values.split_at(count * dimensions);
            let rows = &values[..rows * dimensions];
            let lanes = Lanes::new(dimensions, centroids);
            let mut out = vec![f64::NAN; rows.len() / dimensions * lanes.width()];
            let mut portable = out.clone();
            lanes.distances(rows, &mut out);
            distances_on(&lanes, rows, &mut portable);
            prop_assert_eq!(&out, &portable);
            for (row, out) in rows.chunks_exact(dimensions).zip(out.chunks_exact(lanes.width())) {
                for (centroid, found) in centroids.chunks_exact(dimensions).zip(out) {
                    prop_assert_eq!(plain(row, centroid).to_bits(), found.to_bits());
                }
            }
        }
    }

    #[test]
    fn ties_go_to_the_lowest_and_there_is_always_a_nearest() {
        let lanes = Lanes::new(1, &[2.0, 0.0, 2.0]);
        let mut found = Vec::new();
        lanes.each_nearest(&[1.0, 2.0, 1e300, f64::NAN, f64::INFINITY], |nearest| found.push(nearest.id));
        assert_eq!(found, [0, 0, 0, 0, 0]);
        let alone = Lanes::new(1, &[2.0]);
        alone.each_nearest(&[1.0], |nearest| assert!(nearest.second.is_infinite()));
    }
}
