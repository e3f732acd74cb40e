//! k-means++ seeding: draws rows that are far from each other.

use rand_xoshiro::Xoshiro256Plus;
use rayon::prelude::*;

use super::super::draw;
use super::{Points, sum_of_rows};
use segment::simd::SimdCentroids;

/// k rows of `points` as centroids, k × dimensions.
///
/// The first is drawn uniformly. For each further one, candidates are drawn with probabilities proportional to their
/// squared distances to the nearest centroid. The candidate that lowers the sum of these distances most is kept, the
/// first of equal ones, as in scikit-learn.
/// Cost: k × rows × dimensions × candidates. Source: Arthur & Vassilvitskii (2007), section 7.
pub(super) fn k_means_plus_plus(points: Points<'_>, k: usize, random: &mut Xoshiro256Plus) -> Vec<f64> {
    let dimensions = points.dimensions;
    let first = draw::below(random, points.rows());
    let mut centroids = points.row(first).to_vec();
    let mut closest = Closest::new(points, &SimdCentroids::new(dimensions, &centroids));
    while centroids.len() < k * dimensions {
        let drawn = draw_rows(&closest, k, random);
        let rows: Vec<f64> = drawn.iter().flat_map(|row| points.row(*row)).copied().collect();
        let candidates = SimdCentroids::new(dimensions, &rows);
        let sums = closest.sums_with(points, &candidates);
        let best =
            (1..drawn.len()).fold(0, |best, trial| if sums[trial] < sums[best] { trial } else { best });
        centroids.extend_from_slice(points.row(drawn[best]));
        closest.add(points, &SimdCentroids::new(dimensions, points.row(drawn[best])));
    }
    centroids
}

/// Draws 2 + ⌊ln k⌋ candidates for one of `k` centroids.
///
/// Probabilities are proportional to the squared distances to the nearest centroid so far.
pub(super) fn draw_rows(closest: &Closest, k: usize, random: &mut Xoshiro256Plus) -> Vec<usize> {
    let candidates = 2 + (k as f64).ln() as usize;
    (0..candidates).map(|_| closest.draw(draw::unit(random))).collect()
}

/// The squared distance of each row to the nearest centroid so far, and the sum of each block of rows.
pub(super) struct Closest {
    squared: Vec<f64>,
    blocks: Vec<f64>,
}

impl Closest {
    pub(super) fn new(points: Points<'_>, centroids: &SimdCentroids) -> Self {
        let mut closest = Self { squared: vec![f64::INFINITY; points.rows()], blocks: Vec::new() };
        closest.add(points, centroids);
        closest
    }

    /// Adds a centroid.
    fn add(&mut self, points: Points<'_>, centroid: &SimdCentroids) {
        let blocks =
            points.blocks().zip(self.squared.par_chunks_mut(Points::BLOCK)).map(|(rows, squared)| {
                let mut closest = squared.iter_mut();
                centroid.for_each_nearest(rows, |nearest| {
                    if let Some(closest) = closest.next() {
                        *closest = closest.min(nearest.squared);
                    }
                });
                squared.iter().sum::<f64>()
            });
        self.blocks = blocks.collect();
    }

    /// For each candidate, the sum of the distances if it became a centroid.
    fn sums_with(&self, points: Points<'_>, candidates: &SimdCentroids) -> Vec<f64> {
        let width = candidates.width();
        let of_block = |(rows, squared): (&[f64], &[f64])| {
            let mut out = vec![0.0; squared.len() * width];
            candidates.distances(rows, &mut out);
            let mut sums = vec![0.0; width];
            for (distances, closest) in out.chunks_exact(width).zip(squared) {
                sums.iter_mut().zip(distances).for_each(|(sum, distance)| *sum += distance.min(*closest));
            }
            sums
        };
        let blocks = points.blocks().zip(self.squared.par_chunks(Points::BLOCK));
        let sums: Vec<Vec<f64>> = blocks.map(of_block).collect();
        sum_of_rows(width, sums.iter().map(Vec::as_slice))
    }

    /// The row at which the running sum exceeds `share` (0..1) of the total.
    fn draw(&self, share: f64) -> usize {
        let mut left = share * self.blocks.iter().sum::<f64>();
        let mut block = 0;
        for (number, sum) in self.blocks.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
            block = number;
            if left < *sum {
                break;
            }
            left -= sum;
        }
        let rows = block * Points::BLOCK..((block + 1) * Points::BLOCK).min(self.squared.len());
        let mut last = rows.start;
        for row in rows {
            // Rounding of the sum must not draw a row that lies on a centroid.
            if self.squared[row] > 0.0 {
                last = row;
                if left < self.squared[row] {
                    break;
                }
                left -= self.squared[row];
            }
        }
        last
    }
}
