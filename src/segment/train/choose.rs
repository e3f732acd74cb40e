//! How many segments: a fit for every number in a range, what speaks for each, and the number that is taken.
//!
//! Every number is clustered on all rows, its indices are computed, and its clusters are sought again in bootstrap
//! resamples. Of the numbers whose clusters are all found again and none of which is too small, the best silhouette is
//! recommended; a person may name another. Nothing here knows linfa. Start reading at [`choose`].

pub(super) mod agreement;
mod gap;
#[cfg(test)]
pub(super) mod golden;
mod indices;
pub(super) mod kneedle;
mod recommend;
mod stability;
pub(super) mod unheard;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

pub use self::recommend::{LEAST_JACCARD, LEAST_SHARE};

use self::indices::Spread;
use self::unheard::Unheard;
use super::k_means::{self, Fit, KMeansOptions};
use super::membership::distinct_rows;
use super::progress::{Progress, Stopped};
use super::silhouette::{self, Silhouettes};
use super::study::{Candidate, Choice, Stability};

/// The numbers of segments that are tried where nobody says which: two segments always look stable and say little.
pub const DEFAULT_KS: RangeInclusive<usize> = 3..=12;

/// Bootstrap resamples where nobody gives a number.
pub const DEFAULT_RESAMPLES: usize = 20;

/// What to try.
#[derive(Debug, Clone)]
pub(super) struct ChooseOptions {
    /// The numbers of segments to try, ascending, from 1 on.
    pub(super) ks: RangeInclusive<usize>,
    /// The number that a person names; in `ks` or not.
    pub(super) k: Option<usize>,
    /// How to cluster, and the seed of everything; its `k` is ignored.
    pub(super) k_means: KMeansOptions,
    /// Bootstrap resamples, at least 1.
    pub(super) resamples: usize,
    /// Reference sets of the gap statistic, at least 1, where it is wanted.
    pub(super) gap: Option<usize>,
    /// Silhouettes of a table of more rows are taken of a sample of so many.
    pub(super) silhouette_rows: usize,
}

/// The clustering that was taken.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Everything that was tried.
    pub(super) choice: Choice,
    /// The fit with the number that was taken; the largest cluster first.
    pub(super) fit: Fit,
    /// Its silhouettes.
    pub(super) silhouettes: Silhouettes,
    /// Its stability, by the clusters of `fit`.
    pub(super) stability: Stability,
}

/// Why no number of segments was taken.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// A person ended it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A number of segments is 0.
    #[error("the number of segments (k) must be at least 1")]
    NoSegments,
    /// A range that holds no number.
    #[error("no number of segments to try: {from}..={to} is empty; give the smaller number first")]
    EmptyRange {
        /// Its first number.
        from: usize,
        /// Its last number.
        to: usize,
    },
    /// No resamples.
    #[error("the number of resamples must be at least 1")]
    NoResamples,
    /// No reference sets.
    #[error("the number of reference sets of the gap statistic must be at least 1")]
    NoReferences,
    /// More segments than different rows.
    #[error("{k} segments (k) of {distinct} distinct rows; ask for at most {distinct}")]
    TooManySegments {
        /// Segments asked for, or the least that was to be tried.
        k: usize,
        /// Rows that differ once they are prepared.
        distinct: usize,
    },
    /// No number is stable and nobody named one.
    #[error("{}", .choice.reason)]
    NoStable {
        /// What was tried; its `chosen` is 0.
        choice: Box<Choice>,
    },
}

/// Tries every number of segments in a range and takes one.
///
/// `points`: rows × dimensions, in standard layout, every value finite. The range is cut to the number of distinct
/// rows; the number that a person names is tried as well. For each: k-means on all rows with the clusters numbered by
/// size, silhouettes (of all numbers in one pass over the distances), Calinski–Harabasz, Davies–Bouldin, the smallest
/// share and the stability, on request the gap statistic; then the knee of the inertia over the range. Taken is the
/// number that a person names, or else the best silhouette of those numbers of the range whose clusters all have a
/// Jaccard similarity of at least [`LEAST_JACCARD`] and a share of at least [`LEAST_SHARE`].
///
/// Cost: for each number the restarts of k-means on all rows, and `resamples` times a few restarts on as many rows, at
/// most 20,000; rows² × dimensions for the silhouettes, up to `silhouette_rows`. The result depends on the points and
/// the seed alone, not on the number of threads.
///
/// # Errors
/// Options that ask for nothing, more segments than distinct rows, no stable number and none named, a stop.
pub(super) fn choose(
    points: ArrayView2<'_, f64>,
    options: &ChooseOptions,
    progress: &dyn Progress,
) -> Result<Chosen, ChooseError> {
    let tried = numbers_to_try(points, options)?;
    let all: Vec<usize> =
        tried.iter().copied().chain(options.k).collect::<BTreeSet<_>>().into_iter().collect();
    let mut fits = fits(points, &all, &options.k_means, progress)?;
    let labelings: Vec<(&[u32], usize)> =
        fits.iter().map(|fit| (fit.labels.as_slice(), fit.sizes.len())).collect();
    let seed = options.k_means.seed;
    let mut silhouettes =
        silhouette::silhouettes(points, &labelings, options.silhouette_rows, seed, progress)?;
    let spreads: Vec<Spread> =
        fits.par_iter().map(|fit| Spread::of(points, &fit.labels, fit.sizes.len())).collect();
    let mut stabilities = stability::stability(points, &fits, options.resamples, &options.k_means, progress)?;
    let gaps = gap::gaps(points, &fits, options.gap, &options.k_means, progress)?;

    let candidate = |position: usize| {
        let (fit, silhouettes, spread) = (&fits[position], &silhouettes[position], &spreads[position]);
        let candidate = Candidate {
            k: all[position] as u64,
            inertia: fit.inertia,
            silhouette: silhouettes.mean,
            silhouette_error: silhouettes.error,
            calinski_harabasz: spread.calinski_harabasz(),
            davies_bouldin: spread.davies_bouldin(),
            gap: gaps[position],
            sizes: fit.sizes.clone(),
            smallest_share: spread.smallest_share(),
            stability: stabilities[position].clone(),
            stable: false,
        };
        Candidate { stable: recommend::is_stable(&candidate), ..candidate }
    };
    let candidates: Vec<Candidate> = (0..all.len()).map(candidate).collect();
    let choice = recommend::choice(candidates, &tried, knee(&tried, &all, &fits), options.k);
    match all.iter().position(|k| *k as u64 == choice.chosen) {
        Some(position) => Ok(Chosen {
            choice,
            fit: fits.swap_remove(position),
            silhouettes: silhouettes.swap_remove(position),
            stability: stabilities.swap_remove(position),
        }),
        None => Err(ChooseError::NoStable { choice: Box::new(choice) }),
    }
}

/// The numbers of the range that the rows allow, ascending; none where only the number that a person names is possible.
fn numbers_to_try(points: ArrayView2<'_, f64>, options: &ChooseOptions) -> Result<Vec<usize>, ChooseError> {
    let (from, to) = (*options.ks.start(), *options.ks.end());
    if options.k == Some(0) || from == 0 {
        return Err(ChooseError::NoSegments);
    }
    if from > to {
        return Err(ChooseError::EmptyRange { from, to });
    }
    if options.resamples == 0 {
        return Err(ChooseError::NoResamples);
    }
    if options.gap == Some(0) {
        return Err(ChooseError::NoReferences);
    }
    let enough = to.max(options.k.unwrap_or(0));
    let rows = points.as_standard_layout();
    let distinct = match rows.as_slice() {
        Some(values) if points.ncols() > 0 => distinct_rows(values, points.ncols(), enough),
        // Rows without a coordinate are all the same.
        _ => points.nrows().min(1),
    };
    let needed = options.k.unwrap_or(from);
    if needed > distinct {
        return Err(ChooseError::TooManySegments { k: needed, distinct });
    }
    Ok((from..=to.min(distinct)).collect())
}

/// A fit for each number, its clusters numbered by size.
fn fits(
    points: ArrayView2<'_, f64>,
    ks: &[usize],
    options: &KMeansOptions,
    progress: &dyn Progress,
) -> Result<Vec<Fit>, Stopped> {
    progress.begin("k-means", ks.iter().sum::<usize>() as u64);
    let fit = |k: &usize| {
        let fit = k_means::fit(points, &KMeansOptions { k: *k, ..options.clone() }, &Unheard(progress))?;
        progress.advance(*k as u64);
        Ok(largest_first(fit))
    };
    ks.iter().map(fit).collect()
}

/// Numbers the clusters by their rows, the most first; equal ones by their coordinates, so that the numbering, and with
/// it the order of the similarities, does not depend on chance.
fn largest_first(mut fit: Fit) -> Fit {
    let mut order: Vec<usize> = (0..fit.sizes.len()).collect();
    order.sort_by(|one, other| {
        let coordinates = || {
            let pairs = fit.centroids.row(*one).into_iter().zip(fit.centroids.row(*other));
            pairs.map(|(one, other)| one.total_cmp(other)).find(|order| order.is_ne())
        };
        fit.sizes[*other]
            .cmp(&fit.sizes[*one])
            .then_with(|| coordinates().unwrap_or(std::cmp::Ordering::Equal))
    });
    let mut number = vec![0_u32; order.len()];
    for (new, old) in order.iter().enumerate() {
        number[*old] = new as u32;
    }
    fit.labels.iter_mut().for_each(|label| *label = number[*label as usize]);
    fit.centroids = fit.centroids.select(Axis(0), &order);
    fit.sizes = order.iter().map(|old| fit.sizes[*old]).collect();
    fit
}

/// Where the inertia bends most, over the range alone: a number beside it that a person names does not move the knee.
fn knee(tried: &[usize], all: &[usize], fits: &[Fit]) -> Option<u64> {
    let in_range = all.iter().zip(fits).filter(|(k, _)| tried.contains(k));
    let (x, y): (Vec<f64>, Vec<f64>) = in_range.map(|(k, fit)| (*k as f64, fit.inertia)).unzip();
    kneedle::kneedle(&x, &y).map(|position| x[position] as u64)
}

#[cfg(test)]
mod tests;
