//! Lloyd iterations, with bounds that skip the rows that cannot change their cluster.

use ndarray::Array2;
use rayon::prelude::*;

use super::super::progress::{Progress, Stopped};
use super::{Fit, Points, sum_of_rows};
use segment::simd::{Nearest, SimdCentroids};

/// Rows whose distances are computed together.
const GATHER: usize = 64;

/// A running restart.
///
/// Each row has an upper bound on the distance to its own centroid and a lower bound on the distances to all others.
/// The bounds follow the moves of the centroids; distances are computed again only if they cross.
/// Source: Hamerly, "Making k-means even faster" (2010).
pub(super) struct Lloyd<'p> {
    points: Points<'p>,
    centroids: Vec<f64>,
    /// Sum and number of the rows of each cluster.
    sums: Vec<f64>,
    counts: Vec<i64>,
    rows: Rows,
    /// How far each centroid moved in the last iteration.
    moved: Vec<f64>,
    iterations: usize,
    converged: bool,
    inertia: f64,
}

/// The cluster and the bounds of each row.
struct Rows {
    labels: Vec<u32>,
    upper: Vec<f64>,
    lower: Vec<f64>,
}

/// The label of a row without a cluster.
const NONE: u32 = u32::MAX;

/// The changes of the clusters by the rows of a block.
#[derive(Default)]
struct Change {
    sums: Vec<f64>,
    counts: Vec<i64>,
    rows: usize,
}

impl<'p> Lloyd<'p> {
    /// Starts from `centroids`, k × dimensions.
    pub(super) fn new(points: Points<'p>, centroids: Vec<f64>) -> Self {
        let k = centroids.len() / points.dimensions;
        let rows = points.rows();
        Self {
            points,
            sums: vec![0.0; centroids.len()],
            counts: vec![0; k],
            rows: Rows { labels: vec![NONE; rows], upper: vec![f64::INFINITY; rows], lower: vec![0.0; rows] },
            moved: vec![0.0; k],
            centroids,
            iterations: 0,
            converged: false,
            inertia: f64::INFINITY,
        }
    }

    /// The sum of the squared distances to the nearest centroid after the last run.
    pub(super) fn inertia(&self) -> f64 {
        self.inertia
    }

    /// k × dimensions.
    pub(super) fn centroids(&self) -> &[f64] {
        &self.centroids
    }

    /// k × dimensions.
    pub(super) fn into_centroids(self) -> Vec<f64> {
        self.centroids
    }

    /// Iterates until no row changes, or the squared moves of the centroids add up to at most `tolerance`.
    ///
    /// Ends after `most` iterations over all runs.
    ///
    /// # Errors
    /// [`Stopped`] if `progress` asks to stop.
    pub(super) fn run(
        &mut self,
        most: usize,
        tolerance: f64,
        progress: &dyn Progress,
    ) -> Result<(), Stopped> {
        while self.iterations < most && !self.converged {
            if progress.stopped() {
                return Err(Stopped);
            }
            self.iterations += 1;
            self.converged = self.assign() == 0;
            self.fill_empty();
            if self.step() <= tolerance {
                break;
            }
        }
        let simd = self.simd();
        let blocks: Vec<f64> = self
            .points
            .blocks()
            .map(|rows| {
                let mut sum = 0.0;
                simd.for_each_nearest(rows, |nearest| sum += nearest.squared);
                sum
            })
            .collect();
        self.inertia = blocks.iter().sum();
        Ok(())
    }

    /// The clustering: centroids are the means of their rows, summed anew, and each row gets its nearest centroid.
    pub(super) fn finish(mut self) -> Fit {
        let (k, dimensions) = (self.counts.len(), self.points.dimensions);
        let labels = self.rows.labels.par_chunks(Points::BLOCK);
        let sums: Vec<Vec<f64>> = self
            .points
            .blocks()
            .zip(labels)
            .map(|(rows, labels)| {
                let mut sums = vec![0.0; k * dimensions];
                for (row, label) in rows.chunks_exact(dimensions).zip(labels) {
                    add(&mut sums[*label as usize * dimensions..][..dimensions], row);
                }
                sums
            })
            .collect();
        self.sums = sum_of_rows(k * dimensions, sums.iter().map(Vec::as_slice));
        self.step();
        let simd = self.simd();
        let blocks: Vec<(Vec<u32>, f64)> = self
            .points
            .blocks()
            .map(|rows| {
                let (mut labels, mut sum) = (Vec::with_capacity(rows.len() / dimensions), 0.0);
                simd.for_each_nearest(rows, |nearest| {
                    labels.push(nearest.id);
                    sum += nearest.squared;
                });
                (labels, sum)
            })
            .collect();
        let mut fit = Fit {
            centroids: Array2::zeros((k, dimensions)),
            labels: Vec::with_capacity(self.points.rows()),
            inertia: blocks.iter().map(|(_, sum)| sum).sum(),
            iterations: self.iterations,
            sizes: vec![0; k],
        };
        fit.centroids.iter_mut().zip(&self.centroids).for_each(|(coordinate, found)| *coordinate = *found);
        for (labels, _) in blocks {
            fit.labels.extend(labels);
        }
        for label in &fit.labels {
            fit.sizes[*label as usize] += 1;
        }
        fit
    }

    fn simd(&self) -> SimdCentroids {
        SimdCentroids::new(self.points.dimensions, &self.centroids)
    }

    /// Assigns every row to its nearest centroid; returns how many changed.
    fn assign(&mut self) -> usize {
        let simd = self.simd();
        let (half_distances, moves) = (half_distances(&simd, &self.centroids), Moves::new(&self.moved));
        let block = Block {
            simd: &simd,
            half_distances: &half_distances,
            moves: &moves,
            dimensions: self.points.dimensions,
        };
        let rows = &mut self.rows;
        let labels = rows.labels.par_chunks_mut(Points::BLOCK);
        let bounds = rows.upper.par_chunks_mut(Points::BLOCK).zip(rows.lower.par_chunks_mut(Points::BLOCK));
        let changes: Vec<Change> = self
            .points
            .blocks()
            .zip(labels)
            .zip(bounds)
            .map(|((rows, labels), (upper, lower))| block.assign(rows, labels, upper, lower))
            .collect();
        for change in changes.iter().filter(|change| change.rows > 0) {
            add(&mut self.sums, &change.sums);
            self.counts.iter_mut().zip(&change.counts).for_each(|(count, more)| *count += more);
        }
        changes.iter().map(|change| change.rows).sum()
    }

    /// Gives each empty cluster the row farthest from its centroid.
    fn fill_empty(&mut self) {
        let dimensions = self.points.dimensions;
        while let Some(empty) = self.counts.iter().position(|count| *count == 0) {
            let simd = self.simd();
            let mut farthest = (0, -1.0);
            let mut row = 0;
            simd.for_each_nearest(self.points.values, |nearest| {
                // A cluster keeps its last row.
                if self.counts[self.rows.labels[row] as usize] > 1 && nearest.squared > farthest.1 {
                    farthest = (row, nearest.squared);
                }
                row += 1;
            });
            let (row, _) = farthest;
            let from = std::mem::replace(&mut self.rows.labels[row], empty as u32) as usize;
            let values = self.points.row(row);
            subtract(&mut self.sums[from * dimensions..][..dimensions], values);
            self.sums[empty * dimensions..][..dimensions].copy_from_slice(values);
            self.counts[from] -= 1;
            self.counts[empty] = 1;
            (self.rows.upper[row], self.rows.lower[row]) = (f64::INFINITY, 0.0);
            self.converged = false;
        }
    }

    /// Moves the centroids to the means of their rows; returns the sum of the squared moves.
    fn step(&mut self) -> f64 {
        let dimensions = self.points.dimensions;
        let clusters = self.centroids.chunks_exact_mut(dimensions).zip(self.sums.chunks_exact(dimensions));
        let mut squares = 0.0;
        for ((centroid, sums), (count, moved)) in clusters.zip(self.counts.iter().zip(&mut self.moved)) {
            if *count == 0 {
                continue;
            }
            let mut square = 0.0;
            for (coordinate, sum) in centroid.iter_mut().zip(sums) {
                let mean = sum / *count as f64;
                square += (mean - *coordinate) * (mean - *coordinate);
                *coordinate = mean;
            }
            *moved = square.sqrt();
            squares += square;
        }
        squares
    }
}

/// The shared data for the assignment of a block of rows.
struct Block<'a> {
    simd: &'a SimdCentroids,
    half_distances: &'a [f64],
    moves: &'a Moves<'a>,
    dimensions: usize,
}

impl Block<'_> {
    fn assign(&self, rows: &[f64], labels: &mut [u32], upper: &mut [f64], lower: &mut [f64]) -> Change {
        let mut change = Change::default();
        let (mut gathered, mut which) =
            (Vec::with_capacity(GATHER * self.dimensions), Vec::with_capacity(GATHER));
        let mut out = vec![0.0; GATHER * self.simd.width()];
        for row in 0..labels.len() {
            if labels[row] != NONE {
                let own = labels[row] as usize;
                upper[row] += self.moves.moved[own];
                lower[row] -= self.moves.of_others(own);
                if upper[row] <= lower[row].max(self.half_distances[own]) {
                    continue;
                }
            }
            which.push(row);
            gathered.extend_from_slice(&rows[row * self.dimensions..][..self.dimensions]);
            if which.len() < GATHER && row + 1 < labels.len() {
                continue;
            }
            self.reassign(&mut gathered, &mut which, &mut out, &mut change, labels, upper, lower);
        }
        self.reassign(&mut gathered, &mut which, &mut out, &mut change, labels, upper, lower);
        change
    }

    /// Assigns the gathered rows and clears the buffers.
    #[expect(clippy::too_many_arguments, reason = "the caller reuses the buffers")]
    fn reassign(
        &self,
        gathered: &mut Vec<f64>,
        which: &mut Vec<usize>,
        out: &mut [f64],
        change: &mut Change,
        labels: &mut [u32],
        upper: &mut [f64],
        lower: &mut [f64],
    ) {
        let (width, dimensions) = (self.simd.width(), self.dimensions);
        let out = &mut out[..which.len() * width];
        self.simd.distances(gathered, out);
        for ((row, values), distances) in
            which.iter().zip(gathered.chunks_exact(dimensions)).zip(out.chunks_exact(width))
        {
            let Nearest { id, squared, second } = self.simd.nearest(distances);
            (upper[*row], lower[*row]) = (squared.sqrt(), second.sqrt());
            let before = std::mem::replace(&mut labels[*row], id);
            if before != id {
                change.record(self.simd.count(), dimensions, before, id, values);
            }
        }
        which.clear();
        gathered.clear();
    }
}

impl Change {
    fn record(&mut self, k: usize, dimensions: usize, before: u32, now: u32, values: &[f64]) {
        if self.rows == 0 {
            self.sums.resize(k * dimensions, 0.0);
            self.counts.resize(k, 0);
        }
        self.rows += 1;
        if before != NONE {
            subtract(&mut self.sums[before as usize * dimensions..][..dimensions], values);
            self.counts[before as usize] -= 1;
        }
        add(&mut self.sums[now as usize * dimensions..][..dimensions], values);
        self.counts[now as usize] += 1;
    }
}

/// The moves of the centroids, with the two farthest.
struct Moves<'a> {
    moved: &'a [f64],
    farthest: usize,
    most: f64,
    second: f64,
}

impl<'a> Moves<'a> {
    fn new(moved: &'a [f64]) -> Self {
        let farthest = (1..moved.len()).fold(0, |best, at| if moved[at] > moved[best] { at } else { best });
        let others = moved.iter().enumerate().filter(|(at, _)| *at != farthest);
        let second = others.map(|(_, moved)| *moved).fold(0.0, f64::max);
        Self { moved, farthest, most: moved[farthest], second }
    }

    fn of_others(&self, own: usize) -> f64 {
        if own == self.farthest { self.second } else { self.most }
    }
}

/// For each centroid, half the distance to the nearest other one: a row that is closer belongs to it.
///
/// Infinite if there is no other centroid.
fn half_distances(simd: &SimdCentroids, centroids: &[f64]) -> Vec<f64> {
    let width = simd.width();
    let mut out = vec![0.0; simd.count() * width];
    simd.distances(centroids, &mut out);
    let nearest_other = |(own, distances): (usize, &[f64])| {
        let others = distances[..simd.count()].iter().enumerate().filter(|(at, _)| *at != own);
        others.map(|(_, squared)| *squared).fold(f64::INFINITY, f64::min).sqrt() / 2.0
    };
    out.chunks_exact(width).enumerate().map(nearest_other).collect()
}

fn add(sums: &mut [f64], values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

fn subtract(sums: &mut [f64], values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum -= value);
}
