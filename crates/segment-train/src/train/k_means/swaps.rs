//! Leaves a local minimum: moves a centroid to rows that are far from all centroids.

use rand_xoshiro::Xoshiro256Plus;
use rayon::prelude::*;

use super::seeding::{Closest, draw_rows};
use super::{Points, sum_of_rows};
use segment::simd::SimdCentroids;

/// The centroids (k × dimensions) after the swap with the lowest sum of squared distances: a row replaces a centroid.
///
/// Candidates are drawn as in [`super::seeding`], and each is tried in place of each centroid.
/// This takes one pass over the distances: a row that loses its centroid gets its second nearest or the new one.
/// Cost: rows × dimensions × (k + candidates).
/// Source: Lattanzi & Sohler, "A better k-means++ algorithm via local search" (2019), which tests every swap, too.
pub(super) fn swapped(points: Points<'_>, centroids: &[f64], random: &mut Xoshiro256Plus) -> Vec<f64> {
    let dimensions = points.dimensions;
    let k = centroids.len() / dimensions;
    let simd = SimdCentroids::new(dimensions, centroids);
    let closest = Closest::new(points, &simd);
    let rows = draw_rows(&closest, k, random);
    let values: Vec<f64> = rows.iter().flat_map(|row| points.row(*row)).copied().collect();
    let candidates = SimdCentroids::new(dimensions, &values);
    let width = candidates.width();
    // For each candidate: the cost of all rows with it, then the additional cost without each of the centroids.
    let of_block = |rows: &[f64]| {
        let mut distances = vec![0.0; rows.len() / dimensions * width];
        candidates.distances(rows, &mut distances);
        let mut distances = distances.chunks_exact(width);
        let mut costs = vec![0.0; (1 + k) * width];
        let (kept, lost) = costs.split_at_mut(width);
        simd.for_each_nearest(rows, |nearest| {
            let lost = &mut lost[nearest.id as usize * width..][..width];
            let each = kept.iter_mut().zip(lost).zip(distances.next().unwrap_or_default());
            for ((kept, lost), distance) in each {
                let with = distance.min(nearest.squared);
                *kept += with;
                *lost += distance.min(nearest.second) - with;
            }
        });
        costs
    };
    let blocks: Vec<Vec<f64>> = points.blocks().map(of_block).collect();
    let costs = sum_of_rows((1 + k) * width, blocks.iter().map(Vec::as_slice));
    let swaps = (0..rows.len()).flat_map(|candidate| (0..k).map(move |out| (candidate, out)));
    let cost = |(candidate, out): (usize, usize)| costs[candidate] + costs[(1 + out) * width + candidate];
    let (candidate, out) = swaps.fold((0, 0), |best, next| if cost(next) < cost(best) { next } else { best });
    let mut centroids = centroids.to_vec();
    centroids[out * dimensions..][..dimensions].copy_from_slice(points.row(rows[candidate]));
    centroids
}
