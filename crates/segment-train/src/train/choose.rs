//! The choice of k: fits every number of segments in a range and chooses one.
//!
//! Every k is fitted on all rows, validity indices are computed, and its clusters are compared with refits on bootstrap
//! resamples. k is stable if all its clusters are found again and none is too small.
//! The stable k with the best silhouette is recommended; the settings may request another.
//! Start reading at [`choose`].

pub(super) mod agreement;
mod gap;
#[cfg(test)]
pub(super) mod golden;
mod indices;
pub(super) mod kneedle;
mod recommend;
mod stability;
pub(super) mod stop_only;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use self::indices::Spread;
use self::stop_only::StopOnly;
use super::k_means::{self, Fit, KMeansOptions};
use super::membership::distinct_rows;
use super::progress::{Progress, Stopped};
use super::silhouette::{self, Silhouettes};
use super::study::{Candidate, Choice, Stability};

/// The parameters of the choice.
#[derive(Debug, Clone)]
pub(super) struct ChooseOptions {
    /// The numbers of segments to try, ascending, from 1 on.
    pub(super) ks: RangeInclusive<usize>,
    /// The requested number, inside `ks` or not.
    pub(super) k: Option<usize>,
    /// The parameters of k-means and the seed of everything; its `k` is ignored.
    pub(super) k_means: KMeansOptions,
    /// Bootstrap resamples, at least 1.
    pub(super) resamples: usize,
    /// Reference sets of the gap statistic, at least 1; `None` skips it.
    pub(super) gap: Option<usize>,
    /// A table with more rows gets silhouettes of a sample of this size.
    pub(super) silhouette_rows: usize,
}

/// The chosen clustering.
#[derive(Debug)]
pub(super) struct Chosen {
    /// All candidates.
    pub(super) choice: Choice,
    /// The fit of the chosen k; the largest cluster first.
    pub(super) fit: Fit,
    /// Its silhouettes.
    pub(super) silhouettes: Silhouettes,
    /// Its stability, by the clusters of `fit`.
    pub(super) stability: Stability,
}

/// Why no number of segments was chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// `progress` asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A number of segments is 0.
    #[error("the number of segments (k) must be at least 1")]
    NoSegments,
    /// The range is empty.
    #[error("no number of segments to try: the range {from} to {to} is empty; put the smaller number first")]
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
    /// More segments than distinct rows.
    #[error("cannot form {k} segments (k) from {distinct} distinct rows; request at most {distinct}")]
    TooManySegments {
        /// The requested number, or the lowest of the range.
        k: usize,
        /// Rows that differ after preparation.
        distinct: usize,
    },
    /// No number is stable and none was requested.
    #[error("{}", .choice.reason)]
    NoStable {
        /// All candidates; `chosen` is 0.
        choice: Box<Choice>,
    },
}

/// Tries every number of segments in a range and chooses one.
///
/// `points`: rows × dimensions, in standard layout, every value finite.
/// The range is limited to the number of distinct rows; a requested number is tried as well.
///
/// Each k gets a k-means fit on all rows with clusters numbered by size, validity indices, silhouettes, and its
/// stability; on request the gap statistic. The silhouettes of all k share one pass over the distances.
/// The knee of the inertia is computed over the range.
///
/// The requested k is chosen, else the recommended one: the stable k with the best silhouette.
/// k is stable if every cluster has a Jaccard similarity of at least
/// [`STABLE_JACCARD`](super::study::STABLE_JACCARD) and a share of at least
/// [`SMALLEST_SHARE`](super::study::SMALLEST_SHARE).
///
/// Cost per k: the restarts of k-means on all rows, and a few restarts on each resample.
/// The silhouettes cost rows² × dimensions once, for at most `silhouette_rows` rows.
/// The result depends only on the points and the seed, not on the number of threads.
///
/// # Errors
/// Counts of 0, an empty range, more segments than distinct rows, no stable number and none requested;
/// `progress` asked to stop.
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

/// The numbers of the range that the rows allow, ascending; empty if only the requested number is possible.
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
        // Rows without coordinates are all equal.
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
        let fit = k_means::fit(points, &KMeansOptions { k: *k, ..options.clone() }, &StopOnly(progress))?;
        progress.advance(*k as u64);
        Ok(largest_first(fit))
    };
    ks.iter().map(fit).collect()
}

/// Numbers the clusters by size, the largest first, and clusters of equal size by their coordinates.
///
/// So the numbering, and with it the order of the similarities, does not depend on the restart.
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

/// The knee of the inertia over the range; a requested number outside does not move it.
fn knee(tried: &[usize], all: &[usize], fits: &[Fit]) -> Option<u64> {
    let in_range = all.iter().zip(fits).filter(|(k, _)| tried.contains(k));
    let (x, y): (Vec<f64>, Vec<f64>) = in_range.map(|(k, fit)| (*k as f64, fit.inertia)).unzip();
    kneedle::kneedle(&x, &y).map(|position| x[position] as u64)
}

#[cfg(test)]
mod tests;
