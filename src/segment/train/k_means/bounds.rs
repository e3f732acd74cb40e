//! Lloyd's steps, with bounds that spare rows which cannot change their cluster.

use ndarray::Array2;
use rayon::prelude::*;

use super::super::progress::{Progress, Stopped};
use super::{Fit, Points, added_up};
use crate::segment::lanes::{Lanes, Nearest};

/// Rows that are gathered before their distances are computed.
const GATHERED: usize = 64;

/// A restart under way.
///
/// For each row two bounds are kept: one above the distance to its own centroid, one below the distances to all others. They are moved
/// with the centroids; only where they cross are distances computed again. Source: Hamerly, "Making k-means even faster" (2010).
pub(super) struct Lloyd<'p> {
    points: Points<'p>,
    centroids: Vec<f64>,
    /// Sums and numbers of the rows of each cluster.
    sums: Vec<f64>,
    counts: Vec<i64>,
    rows: Rows,
    /// How far each centroid moved in the last step.
    moved: Vec<f64>,
    iterations: usize,
    converged: bool,
    inertia: f64,
}

/// What is known of each row.
struct Rows {
    labels: Vec<u32>,
    upper: Vec<f64>,
    lower: Vec<f64>,
}

/// A row that has no cluster yet.
const NONE: u32 = u32::MAX;

/// What the rows of a block changed.
#[derive(Default)]
struct Change {
    sums: Vec<f64>,
    counts: Vec<i64>,
    rows: usize,
}

impl<'p> Lloyd<'p> {
    /// From these centroids, k × dimensions.
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

    /// The sum of the squared distances from the nearest centroid, as the last run left it.
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

    /// Goes on until no row changes, the squared moves of the centroids add up to no more than `tolerance`, or there were
    /// `most` steps in all.
    ///
    /// # Errors
    /// [`Stopped`].
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
        let lanes = self.lanes();
        let blocks: Vec<f64> = self
            .points
            .blocks()
            .map(|rows| {
                let mut sum = 0.0;
                lanes.each_nearest(rows, |nearest| sum += nearest.squared);
                sum
            })
            .collect();
        self.inertia = blocks.iter().sum();
        Ok(())
    }

    /// The clustering: centroids are means of the rows that were theirs, added up afresh, and each row is its nearest centroid's.
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
        self.sums = added_up(k * dimensions, sums.iter().map(Vec::as_slice));
        self.step();
        let lanes = self.lanes();
        let blocks: Vec<(Vec<u32>, f64)> = self
            .points
            .blocks()
            .map(|rows| {
                let (mut labels, mut sum) = (Vec::with_capacity(rows.len() / dimensions), 0.0);
                lanes.each_nearest(rows, |nearest| {
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

    fn lanes(&self) -> Lanes {
        Lanes::new(self.points.dimensions, &self.centroids)
    }

    /// Every row to its nearest centroid; returns how many changed.
    fn assign(&mut self) -> usize {
        let lanes = self.lanes();
        let (half, moves) = (half_way(&lanes, &self.centroids), Moves::new(&self.moved));
        let block = Block { lanes: &lanes, half: &half, moves: &moves, dimensions: self.points.dimensions };
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

    /// Gives a cluster without a row the row that lies farthest from its centroid.
    fn fill_empty(&mut self) {
        let dimensions = self.points.dimensions;
        while let Some(empty) = self.counts.iter().position(|count| *count == 0) {
            let lanes = self.lanes();
            let mut farthest = (0, -1.0);
            let mut row = 0;
            lanes.each_nearest(self.points.values, |nearest| {
                // The last row of a cluster stays with it.
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
            // So that the next one is looked for with this centroid in its place.
            let moved = distance(&self.centroids[empty * dimensions..][..dimensions], values);
            self.moved[empty] = moved;
            self.converged = false;
        }
    }

    /// Centroids to the means of their rows; returns the sum of the squares of how far they moved.
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

/// What a thread needs to assign a block of rows.
struct Block<'a> {
    lanes: &'a Lanes,
    half: &'a [f64],
    moves: &'a Moves<'a>,
    dimensions: usize,
}

impl Block<'_> {
    fn assign(&self, rows: &[f64], labels: &mut [u32], upper: &mut [f64], lower: &mut [f64]) -> Change {
        let mut change = Change::default();
        let (mut gathered, mut which) =
            (Vec::with_capacity(GATHERED * self.dimensions), Vec::with_capacity(GATHERED));
        let mut out = vec![0.0; GATHERED * self.lanes.width()];
        for row in 0..labels.len() {
            if labels[row] != NONE {
                let own = labels[row] as usize;
                upper[row] += self.moves.moved[own];
                lower[row] -= self.moves.of_others(own);
                if upper[row] <= lower[row].max(self.half[own]) {
                    continue;
                }
            }
            which.push(row);
            gathered.extend_from_slice(&rows[row * self.dimensions..][..self.dimensions]);
            if which.len() < GATHERED && row + 1 < labels.len() {
                continue;
            }
            self.settle(&mut gathered, &mut which, &mut out, &mut change, labels, upper, lower);
        }
        self.settle(&mut gathered, &mut which, &mut out, &mut change, labels, upper, lower);
        change
    }

    #[expect(clippy::too_many_arguments, reason = "buffers of the caller, which it lends again and again")]
    fn settle(
        &self,
        gathered: &mut Vec<f64>,
        which: &mut Vec<usize>,
        out: &mut [f64],
        change: &mut Change,
        labels: &mut [u32],
        upper: &mut [f64],
        lower: &mut [f64],
    ) {
        let (width, dimensions) = (self.lanes.width(), self.dimensions);
        let out = &mut out[..which.len() * width];
        self.lanes.distances(gathered, out);
        for ((row, values), distances) in
            which.iter().zip(gathered.chunks_exact(dimensions)).zip(out.chunks_exact(width))
        {
            let Nearest { id, squared, second } = self.lanes.nearest(distances);
            (upper[*row], lower[*row]) = (squared.sqrt(), second.sqrt());
            let before = std::mem::replace(&mut labels[*row], id);
            if before != id {
                change.note(self.lanes.count(), dimensions, before, id, values);
            }
        }
        which.clear();
        gathered.clear();
    }
}

impl Change {
    fn note(&mut self, k: usize, dimensions: usize, before: u32, now: u32, values: &[f64]) {
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

/// How far centroids moved, and the most that any but one did.
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

/// For each centroid half the distance to the nearest other: a row that is closer belongs to it. Infinite where there is no other.
fn half_way(lanes: &Lanes, centroids: &[f64]) -> Vec<f64> {
    let width = lanes.width();
    let mut out = vec![0.0; lanes.count() * width];
    lanes.distances(centroids, &mut out);
    let nearest_other = |(own, distances): (usize, &[f64])| {
        let others = distances[..lanes.count()].iter().enumerate().filter(|(at, _)| *at != own);
        others.map(|(_, squared)| *squared).fold(f64::INFINITY, f64::min).sqrt() / 2.0
    };
    out.chunks_exact(width).enumerate().map(nearest_other).collect()
}

fn distance(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| (one - other) * (one - other)).sum::<f64>().sqrt()
}

fn add(sums: &mut [f64], values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

fn subtract(sums: &mut [f64], values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum -= value);
}
