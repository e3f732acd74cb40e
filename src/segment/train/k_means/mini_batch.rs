//! Starts for very large tables: centroids that learn from a few rows at a time.

use super::super::draw::{self, Purpose};
use super::super::progress::{Progress, Stopped};
use super::{KMeansOptions, Points, seeding};
use crate::segment::lanes::Lanes;

/// Rows that centroids learn from at a time.
const BATCH: usize = 4096;

/// Batches that a restart sees.
const BATCHES: usize = 100;

/// Rows on which starts are drawn and restarts are compared.
const SAMPLE: usize = 50_000;

/// The centroids of the best restart, k × dimensions, for Lloyd's steps over all rows to begin from.
///
/// Each restart begins with k-means++ on a sample and moves the centroids towards the rows of batches that are drawn with replacement, by a
/// step of one over the rows that a centroid has had so far; the restart whose centroids lie nearest to the sample is kept. Cost: restarts ×
/// (100 batches of 4,096 rows + k-means++ on 50,000 rows) × k × dimensions. Source: Sculley, "Web-scale k-means clustering" (2010).
///
/// # Errors
/// [`Stopped`].
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
            Lanes::new(dimensions, &centroids)
                .each_nearest(&batch, |nearest| labels.push(nearest.id as usize));
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
        Lanes::new(dimensions, &centroids).each_nearest(sample.values, |nearest| inertia += nearest.squared);
        if best.as_ref().is_none_or(|(least, _)| inertia < *least) {
            best = Some((inertia, centroids));
        }
        progress.advance(1);
    }
    best.map(|(_, centroids)| centroids).ok_or(Stopped)
}
