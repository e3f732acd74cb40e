//! Out of a local minimum: a centroid goes to where rows are far from all of them.

use rand_xoshiro::Xoshiro256Plus;
use rayon::prelude::*;

use super::seeding::{Closest, draw_rows};
use super::{Points, added_up};
use crate::segment::lanes::Lanes;

/// The centroids (k × dimensions) with one of them moved onto a row, the move that leaves the smallest sum of squared distances
/// before any further step.
///
/// 2 + ⌊ln k⌋ rows are drawn as for a start (see [`super::seeding`]); each is tried in the place of each centroid, which costs one look at
/// its distances, since a row that loses its centroid falls to its second nearest or to the new one. Cost: rows × dimensions ×
/// (k + candidates). Source: Lattanzi & Sohler, "A better k-means++ algorithm via local search" (2019), with its test of every exchange.
pub(super) fn swapped(points: Points<'_>, centroids: &[f64], random: &mut Xoshiro256Plus) -> Vec<f64> {
    let dimensions = points.dimensions;
    let k = centroids.len() / dimensions;
    let lanes = Lanes::new(dimensions, centroids);
    let closest = Closest::new(points, &lanes);
    let rows = draw_rows(&closest, k, random);
    let values: Vec<f64> = rows.iter().flat_map(|row| points.row(*row)).copied().collect();
    let candidates = Lanes::new(dimensions, &values);
    let width = candidates.width();
    // For each candidate: what all rows cost with it, then what more they cost without each of the centroids.
    let of_block = |rows: &[f64]| {
        let mut distances = vec![0.0; rows.len() / dimensions * width];
        candidates.distances(rows, &mut distances);
        let mut distances = distances.chunks_exact(width);
        let mut costs = vec![0.0; (1 + k) * width];
        let (kept, lost) = costs.split_at_mut(width);
        lanes.each_nearest(rows, |nearest| {
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
    let costs = added_up((1 + k) * width, blocks.iter().map(Vec::as_slice));
    let exchanges = (0..rows.len()).flat_map(|candidate| (0..k).map(move |out| (candidate, out)));
    let cost = |(candidate, out): (usize, usize)| costs[candidate] + costs[(1 + out) * width + candidate];
    let (candidate, out) =
        exchanges.fold((0, 0), |best, next| if cost(next) < cost(best) { next } else { best });
    let mut centroids = centroids.to_vec();
    centroids[out * dimensions..][..dimensions].copy_from_slice(points.row(rows[candidate]));
    centroids
}
