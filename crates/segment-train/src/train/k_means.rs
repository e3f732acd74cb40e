//! k-means: assigns rows to k clusters with a small sum of squared distances to the cluster means.
//!
//! Restarts use greedy k-means++ seeding, Lloyd iterations with Hamerly bounds, and swaps out of local minima.
//! A large table starts from a sample, a very large one from mini-batches.
//! The result depends only on the points and the seed: each restart has its own generator.
//! Sums are added up by blocks of rows, in order, for any number of threads. Start reading at [`fit`].

mod bounds;
mod mini_batch;
mod seeding;
mod swaps;
#[cfg(test)]
mod tests;

use ndarray::{Array2, ArrayView2};
use rand_xoshiro::Xoshiro256Plus;
use rayon::prelude::*;

use self::bounds::Lloyd;
use super::draw::{self, Purpose};
use super::progress::{Progress, Stopped};
use segment::simd::SimdCentroids;

/// Maximum iterations of a restart.
const MAX_ITERATIONS: usize = 300;

/// A restart converges once the squared moves of its centroids are below this share of the mean variance.
///
/// The same criterion as scikit-learn's. The best restart then continues until no row changes its cluster, except in a
/// large table.
pub const TOLERANCE: f64 = 1e-4;

/// From this number of rows on, all threads share one restart at a time, and each restart begins on a sample.
///
/// With fewer rows, each thread runs its own restart.
const SHARED_FROM: usize = 50_000;

/// Rows of that sample, drawn with replacement.
const SAMPLE: usize = 30_000;

/// Swaps per restart.
///
/// On CC GENERAL, k = 2..=12, ten restarts without swaps end up to 0.84 % above the lowest known inertia (of 150
/// restarts). With two swaps each they end within 0.005 %.
pub const SWAPS: usize = 2;

/// Parameters of k-means.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeansOptions {
    /// Clusters, at least 1 and at most the number of distinct rows.
    pub k: usize,
    /// Restarts, at least 1; the one with the lowest inertia is kept, the first of equal ones.
    pub n_init: usize,
    /// Seed of the random generators.
    pub seed: u64,
    /// Maximum iterations of a restart.
    pub max_iterations: usize,
    /// See [`TOLERANCE`].
    pub tolerance: f64,
    /// See [`SWAPS`].
    pub swaps: usize,
    /// Tables with more rows start from mini-batches.
    pub mini_batch_above: usize,
}

impl KMeansOptions {
    /// `k` clusters and `n_init` restarts, with defaults for the rest and without mini-batches.
    #[must_use]
    pub const fn new(k: usize, n_init: usize, seed: u64) -> Self {
        Self {
            k,
            n_init,
            seed,
            max_iterations: MAX_ITERATIONS,
            tolerance: TOLERANCE,
            swaps: SWAPS,
            mini_batch_above: usize::MAX,
        }
    }
}

/// A clustering.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Clusters × dimensions.
    pub centroids: Array2<f64>,
    /// The cluster of each row: that of the nearest centroid; the lowest wins a tie.
    pub labels: Vec<u32>,
    /// The sum, not the mean, of the squared distances of the rows to their centroids.
    pub inertia: f64,
    /// Iterations of the best restart.
    pub iterations: usize,
    /// Rows of each cluster.
    pub sizes: Vec<u64>,
}

/// Clusters rows.
///
/// `points`: rows × dimensions in standard layout, every value finite, with at least `options.k` distinct rows.
/// Cost: at most restarts × iterations × rows × k × dimensions; bounds skip the rows that cannot change.
/// Memory: 20 bytes per row and running restart.
///
/// Sources: Lloyd, "Least squares quantization in PCM" (1982); Arthur & Vassilvitskii, "k-means++: the advantages of
/// careful seeding" (2007), with several candidates per centroid as in its section 7; Hamerly, "Making k-means even
/// faster" (2010); Lattanzi & Sohler, "A better k-means++ algorithm via local search" (2019), here after the iterations
/// instead of before them.
///
/// # Errors
/// [`Stopped`] if `progress` asks to stop.
///
/// # Panics
/// If `points` is not in standard layout.
pub fn fit(
    points: ArrayView2<'_, f64>,
    options: &KMeansOptions,
    progress: &dyn Progress,
) -> Result<Fit, Stopped> {
    let points = Points::new(points);
    let starts = if points.rows() > options.mini_batch_above {
        vec![mini_batch::centroids(points, options, progress)?]
    } else {
        Vec::new()
    };
    let restart = Restart { options, tolerance: options.tolerance * points.mean_variance(), progress };
    let run = |number: usize| -> Result<Lloyd<'_>, Stopped> {
        let lloyd = match starts.get(number) {
            Some(start) => restart.descend(points, start.clone())?,
            None => {
                let mut random = draw::generator(options.seed, Purpose::Restart, number as u64);
                restart.run(points, &mut random)?
            }
        };
        progress.advance(1);
        Ok(lloyd)
    };
    let restarts = if starts.is_empty() { options.n_init.max(1) } else { starts.len() };
    let best = if points.rows() >= SHARED_FROM {
        // One at a time, so that only the bounds of one restart are in memory.
        (0..restarts).try_fold(None, |best, number| Ok(Some(better(best, run(number)?))))?
    } else {
        let all: Vec<Lloyd<'_>> = (0..restarts).into_par_iter().map(run).collect::<Result<_, _>>()?;
        all.into_iter().fold(None, |best, next| Some(better(best, next)))
    };
    let Some(mut best) = best else { return Err(Stopped) };
    if points.rows() < SHARED_FROM {
        best.run(options.max_iterations, 0.0, progress)?;
    }
    Ok(best.finish())
}

/// The parameters that all restarts share.
struct Restart<'a> {
    options: &'a KMeansOptions,
    tolerance: f64,
    progress: &'a dyn Progress,
}

impl Restart<'_> {
    /// Runs a restart: iterations from a start, then swaps, each followed by iterations; the best of these.
    ///
    /// A large table begins on a sample, so that few iterations over all rows remain.
    fn run<'p>(&self, points: Points<'p>, random: &mut Xoshiro256Plus) -> Result<Lloyd<'p>, Stopped> {
        if points.rows() >= SHARED_FROM {
            let rows = draw::with_replacement(random, points.rows(), SAMPLE);
            let sample: Vec<f64> = rows.into_iter().flat_map(|row| points.row(row)).copied().collect();
            let sample = Points { values: &sample, dimensions: points.dimensions };
            let start = self.run(sample, random)?.into_centroids();
            return self.descend(points, start);
        }
        let start = seeding::k_means_plus_plus(points, self.options.k, random);
        let mut best = self.descend(points, start)?;
        for _ in 0..self.options.swaps {
            let next = self.descend(points, swaps::swapped(points, best.centroids(), random))?;
            best = better(Some(best), next);
        }
        Ok(best)
    }

    /// Iterates from these centroids until convergence.
    fn descend<'p>(&self, points: Points<'p>, start: Vec<f64>) -> Result<Lloyd<'p>, Stopped> {
        let mut lloyd = Lloyd::new(points, start);
        lloyd.run(self.options.max_iterations, self.tolerance, self.progress)?;
        Ok(lloyd)
    }
}

/// Calls `each` with the nearest of `centroids` for every row of `points`, in order, on one thread.
///
/// Assigns as training and serving do. `centroids`: k × dimensions; `points`: rows × dimensions; both in standard
/// layout. Cost: rows × k × dimensions.
///
/// # Panics
/// If either is not in standard layout.
pub fn each_nearest(centroids: ArrayView2<'_, f64>, points: ArrayView2<'_, f64>, mut each: impl FnMut(u32)) {
    let (centroids, points) = (Points::new(centroids), Points::new(points));
    SimdCentroids::new(points.dimensions, centroids.values)
        .for_each_nearest(points.values, |nearest| each(nearest.id));
}

/// The one with the lower inertia, the earlier of equal ones.
fn better<'p>(best: Option<Lloyd<'p>>, next: Lloyd<'p>) -> Lloyd<'p> {
    match best {
        Some(best) if best.inertia() <= next.inertia() => best,
        Some(_) | None => next,
    }
}

/// Rows × dimensions in one slice, divided into blocks: the unit of parallel work and of sums.
#[derive(Debug, Clone, Copy)]
struct Points<'p> {
    values: &'p [f64],
    dimensions: usize,
}

impl<'p> Points<'p> {
    /// Rows per block: enough work to outweigh its dispatch, and few enough that two threads share a small table.
    const BLOCK: usize = 2048;

    #[expect(clippy::expect_used, reason = "a documented panic of the callers")]
    fn new(points: ArrayView2<'p, f64>) -> Self {
        let dimensions = points.ncols();
        Self { values: points.to_slice().expect("points in standard layout"), dimensions }
    }

    fn rows(&self) -> usize {
        self.values.len() / self.dimensions
    }

    fn row(&self, row: usize) -> &'p [f64] {
        &self.values[row * self.dimensions..][..self.dimensions]
    }

    fn blocks(&self) -> rayon::slice::Chunks<'p, f64> {
        self.values.par_chunks(Self::BLOCK * self.dimensions)
    }

    /// The mean of the population variances of the coordinates.
    fn mean_variance(&self) -> f64 {
        let dimensions = self.dimensions;
        let of_blocks = |each: &(dyn Fn(&mut [f64], &[f64]) + Sync)| {
            let sums: Vec<Vec<f64>> = self
                .blocks()
                .map(|block| {
                    let mut sums = vec![0.0; dimensions];
                    block.chunks_exact(dimensions).for_each(|row| each(&mut sums, row));
                    sums
                })
                .collect();
            sum_of_rows(dimensions, sums.iter().map(Vec::as_slice))
        };
        let rows = self.rows() as f64;
        let mut means = of_blocks(&|sums, row| sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x));
        for mean in &mut means {
            *mean /= rows;
        }
        let squares = of_blocks(&|sums, row| {
            let each = sums.iter_mut().zip(row).zip(&means);
            each.for_each(|((sum, x), mean)| *sum += (x - mean) * (x - mean));
        });
        squares.iter().sum::<f64>() / rows / dimensions as f64
    }
}

/// The element-wise sum of lists of `length` values, in order.
fn sum_of_rows<'a>(length: usize, lists: impl IntoIterator<Item = &'a [f64]>) -> Vec<f64> {
    let mut sums = vec![0.0; length];
    for list in lists {
        sums.iter_mut().zip(list).for_each(|(sum, value)| *sum += value);
    }
    sums
}
