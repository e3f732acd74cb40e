//! Starts for very large tables: mini-batch k-means.

use super::super::draw::{self, Purpose};
use super::super::progress::{Progress, Stopped};
use super::{KMeansOptions, Points, seeding};
use segment::simd::SimdCentroids;

/// Rows per batch.
const BATCH: usize = 4096;

/// Batches per restart.
const BATCHES: usize = 100;

/// Rows of the sample for seeding and for the comparison of restarts.
const SAMPLE: usize = 50_000;

/// The centroids of the best restart, k × dimensions, as the start of Lloyd iterations over all rows.
///
/// Each restart begins with k-means++ on a sample. Batches drawn with replacement then move the centroids towards their
/// rows, by 1 / the number of rows that a centroid has had so far.
/// The restart with the lowest inertia on the sample is kept.
/// Cost: restarts × ([`BATCHES`] × [`BATCH`] rows + k-means++ on [`SAMPLE`] rows) × k × dimensions.
/// Source: Sculley, "Web-scale k-means clustering" (2010).
///
/// # Errors
/// [`Stopped`] if `progress` asks to stop.
pub(super) fn centroids(
    points: Points<'_>,
    options: &KMeansOptions,
    progress: &dyn Progress,
) -> Result<Vec<f64>, Stopped> {
    let dimensions = points.dimensions;
    let mut random = draw::generator(options.seed, Purpose::MiniBatch, 0);
    let sample: Vec<f64> = draw::without_replacement(&mut random, points.rows(), SAMPLE)
        .into_iter()
        .flat_map(|row| points.row(row))
        .copied()
        .collect();
    let sample = Points { values: &sample, dimensions };
    let mut best: Option<(f64, Vec<f64>)> = None;
    for restart in 0..options.n_init.max(1) as u64 {
        let mut random = draw::generator(options.seed, Purpose::MiniBatch, restart + 1);
        let mut centroids = seeding::k_means_plus_plus(sample, options.k, &mut random);
        let mut seen = vec![0_u64; options.k];
        for _ in 0..BATCHES {
            if progress.stopped() {
                return Err(Stopped);
            }
            let rows = draw::with_replacement(&mut random, points.rows(), BATCH);
            let batch: Vec<f64> = rows.iter().flat_map(|row| points.row(*row)).copied().collect();
            let mut labels = Vec::with_capacity(BATCH);
            SimdCentroids::new(dimensions, &centroids)
                .for_each_nearest(&batch, |nearest| labels.push(nearest.id as usize));
            for (row, label) in batch.chunks_exact(dimensions).zip(labels) {
                seen[label] += 1;
                let step = 1.0 / seen[label] as f64;
                let centroid = &mut centroids[label * dimensions..][..dimensions];
                centroid
                    .iter_mut()
                    .zip(row)
                    .for_each(|(coordinate, value)| *coordinate += step * (value - *coordinate));
            }
        }
        let mut inertia = 0.0;
        SimdCentroids::new(dimensions, &centroids)
            .for_each_nearest(sample.values, |nearest| inertia += nearest.squared);
        if best.as_ref().is_none_or(|(least, _)| inertia < *least) {
            best = Some((inertia, centroids));
        }
        progress.advance(1);
    }
    best.map(|(_, centroids)| centroids).ok_or(Stopped)
}
