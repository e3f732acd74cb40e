//! The whole choice: on simulated groups, on degenerate rows and on the data set CC GENERAL.

use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::{Array2, array};

use super::golden::{AMOUNTS_AND_COUNTS, cc_general};
use super::*;
use crate::train::draw;
use crate::train::progress::Silent;

fn options(ks: RangeInclusive<usize>) -> ChooseOptions {
    let k_means = KMeansOptions { tolerance: 1e-6, ..KMeansOptions::new(0, 5, 42) };
    ChooseOptions { ks, k: None, k_means, resamples: 8, gap: None, silhouette_rows: 20_000 }
}

/// A group of each size in `sizes`, each around its own corner of a cube of side 10.
fn groups(sizes: &[usize]) -> Array2<f64> {
    let mut random = draw::generator(1, draw::Purpose::Resample, 0);
    let corner = |group: usize, dimension: usize| if group >> dimension & 1 == 1 { 10.0 } else { 0.0 };
    let mut rows = Vec::new();
    for (group, size) in sizes.iter().enumerate() {
        for _ in 0..*size {
            rows.extend((0..3).map(|dimension| corner(group, dimension) + draw::unit(&mut random)));
        }
    }
    Array2::from_shape_vec((rows.len() / 3, 3), rows).unwrap()
}

fn chosen(points: &Array2<f64>, options: &ChooseOptions) -> Chosen {
    choose(points.view(), options, &Silent).unwrap()
}

fn refused(points: &Array2<f64>, options: &ChooseOptions) -> String {
    choose(points.view(), options, &Silent).unwrap_err().to_string()
}

#[test]
fn separated_groups_are_found() {
    let points = groups(&[60, 50, 40, 30]);
    let options = ChooseOptions { gap: Some(3), ..options(3..=7) };
    let found = chosen(&points, &options);
    assert_eq!((found.choice.recommended, found.choice.chosen, found.choice.by_hand), (Some(4), 4, false));
    assert_eq!(found.choice.knee, Some(4));
    assert_eq!(found.fit.sizes, [60, 50, 40, 30]);
    assert_eq!(found.stability.jaccard, [1.0; 4]);
    assert_eq!(found.stability.ari.to_bits(), 1.0_f64.to_bits());
    assert!(found.silhouettes.mean > 0.9);
    let candidates = &found.choice.candidates;
    assert_eq!(candidates.iter().map(|candidate| candidate.k).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    let best = &candidates[1];
    assert!((best.smallest_share - 30.0 / 180.0).abs() < 1e-12);
    for other in [&candidates[0], &candidates[2]] {
        assert!(
            best.calinski_harabasz > other.calinski_harabasz && best.davies_bouldin < other.davies_bouldin
        );
        assert!(best.gap.unwrap().value > other.gap.unwrap().value);
    }
}

#[test]
fn the_chosen_fit_is_numbered_by_size_and_belongs_to_its_candidate() {
    let found = chosen(&groups(&[30, 60, 40]), &options(3..=3));
    assert_eq!(found.fit.sizes, [60, 40, 30]);
    let (labels, centroids) = (&found.fit.labels, &found.fit.centroids);
    assert_eq!((labels[0], labels[30], labels[90]), (2, 0, 1));
    assert!(centroids[[0, 0]] > 9.0 && centroids[[1, 1]] > 9.0 && centroids[[2, 0]] < 1.0);
    assert_eq!(found.choice.candidates[0].inertia.to_bits(), found.fit.inertia.to_bits());
}

#[test]
fn a_requested_number_is_chosen_inside_and_outside_of_the_range() {
    let points = groups(&[60, 50, 40, 30]);
    for (k, tried) in [(6, vec![3, 4, 5, 6]), (2, vec![2, 3, 4, 5, 6]), (8, vec![3, 4, 5, 6, 8])] {
        let found = chosen(&points, &ChooseOptions { k: Some(k), ..options(3..=6) });
        assert_eq!(found.choice.candidates.iter().map(|each| each.k).collect::<Vec<_>>(), tried);
        assert_eq!((found.choice.chosen, found.choice.by_hand), (k as u64, true));
        assert_eq!((found.choice.recommended, found.choice.knee), (Some(4), Some(4)));
        assert_eq!((found.fit.sizes.len(), found.stability.jaccard.len()), (k, k));
    }
}

#[test]
fn without_a_stable_number_the_error_holds_the_candidates() {
    // Evenly spaced rows: the clusters depend on where a resample happens to be denser.
    let points = Array2::from_shape_fn((300, 1), |(row, _)| row as f64);
    let tried = ChooseOptions { resamples: 6, ..options(9..=10) };
    match choose(points.view(), &tried, &Silent) {
        Err(ChooseError::NoStable { choice }) => {
            assert_eq!((choice.candidates.len(), choice.chosen, choice.recommended), (2, 0, None));
            let message = ChooseError::NoStable { choice }.to_string();
            assert!(message.starts_with("no number of segments from 9 to 10 is stable: 9 ("), "{message}");
            assert!(message.ends_with("; choose one with --k"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let by_hand = chosen(&points, &ChooseOptions { k: Some(9), ..tried });
    assert!(by_hand.choice.reason.contains("although this is not stable"), "{}", by_hand.choice.reason);
    assert!(
        by_hand.choice.reason.ends_with("No number from 9 to 10 is recommended."),
        "{}",
        by_hand.choice.reason
    );
}

#[test]
fn the_range_ends_at_the_distinct_rows() {
    let points =
        Array2::from_shape_fn((60, 1), |(row, _)| (row % 4 * row % 4) as f64 + (row % 4) as f64 * 10.0);
    let found = chosen(&points, &options(3..=12));
    assert_eq!(found.choice.candidates.last().unwrap().k, 4);
    assert_eq!(found.choice.chosen, 4);
    assert!(found.choice.candidates.iter().all(|candidate| candidate.calinski_harabasz.is_finite()));
    let two = array![[1.0], [2.0], [1.0], [2.0], [1.0], [2.0]];
    assert_eq!(
        refused(&two, &options(3..=12)),
        "cannot form 3 segments (k) from 2 distinct rows; request at most 2"
    );
    assert_eq!(
        refused(&points, &ChooseOptions { k: Some(5), ..options(3..=12) }),
        "cannot form 5 segments (k) from 4 distinct rows; request at most 4"
    );
    let by_hand = chosen(&two, &ChooseOptions { k: Some(2), ..options(3..=12) });
    assert_eq!((by_hand.choice.candidates.len(), by_hand.choice.recommended), (1, None));
}

#[test]
fn one_segment_and_one_row_have_finite_figures() {
    let found = chosen(&array![[1.0, 2.0]], &ChooseOptions { k: Some(1), gap: Some(2), ..options(1..=3) });
    let candidate = &found.choice.candidates[0];
    assert!(candidate.silhouette.is_finite() && candidate.davies_bouldin.is_finite());
    assert_eq!((candidate.gap, candidate.smallest_share), (None, 1.0));
}

#[test]
fn counts_of_0_and_empty_ranges_are_refused() {
    let points = groups(&[5, 5, 5]);
    let asks = |change: &dyn Fn(&mut ChooseOptions)| {
        let mut options = options(3..=4);
        change(&mut options);
        refused(&points, &options)
    };
    assert_eq!(asks(&|options| options.k = Some(0)), "the number of segments (k) must be at least 1");
    assert_eq!(asks(&|options| options.ks = 0..=4), "the number of segments (k) must be at least 1");
    let reversed = RangeInclusive::new(5, 4);
    assert!(
        asks(&|options| options.ks = reversed.clone())
            .starts_with("no number of segments to try: the range 5 to 4")
    );
    assert_eq!(asks(&|options| options.resamples = 0), "the number of resamples must be at least 1");
    assert!(asks(&|options| options.gap = Some(0)).starts_with("the number of reference sets"));
}

#[test]
fn threads_do_not_change_the_choice_and_the_seed_may() {
    let points = groups(&[40, 30, 20, 10]);
    let options = ChooseOptions { gap: Some(2), ..options(3..=6) };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| chosen(&points, &options))
    };
    let (one, four) = (with(1), with(4));
    assert_eq!(one.choice, four.choice);
    assert_eq!(one.fit.labels, four.fit.labels);
    assert_eq!(one.fit.centroids, four.fit.centroids);
}

/// Asks to stop once a step has begun.
struct StopIn(&'static str, AtomicBool);

impl Progress for StopIn {
    fn begin(&self, step: &str, _units: u64) {
        if step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }

    fn advance(&self, _units: u64) {}

    fn stopped(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

#[test]
fn every_step_can_be_stopped() {
    let points = groups(&[40, 30, 20]);
    let options = ChooseOptions { gap: Some(2), ..options(3..=4) };
    for step in ["k-means", "stability", "gap statistic"] {
        let found = choose(points.view(), &options, &StopIn(step, AtomicBool::new(false)));
        assert!(matches!(found, Err(ChooseError::Stopped(_))), "{step}: {found:?}");
    }
}

#[test]
fn six_segments_of_cc_general_are_stable_and_seven_and_eight_are_not() {
    let Some(points) = cc_general(&AMOUNTS_AND_COUNTS) else { return };
    let found = chosen(&points, &ChooseOptions { resamples: 20, ..options(6..=8) });
    for candidate in &found.choice.candidates {
        eprintln!("k = {}: {:?}", candidate.k, candidate.stability);
    }
    assert_eq!(
        found.choice.candidates.iter().map(|each| each.stable).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert!(found.stability.least() >= 0.9, "{:?}", found.stability);
    assert_eq!((found.choice.chosen, found.choice.recommended), (6, Some(6)));
    // KMeans(6, n_init=10) and silhouette_score of scikit-learn.
    assert!((found.fit.inertia / 71_656.4 - 1.0).abs() < 1e-3, "{}", found.fit.inertia);
    assert!((found.silhouettes.mean - 0.2172).abs() < 0.005, "{}", found.silhouettes.mean);
}

#[test]
fn without_logarithms_six_segments_of_cc_general_are_not_stable() {
    let Some(points) = cc_general(&[]) else { return };
    let found = chosen(&points, &ChooseOptions { k: Some(6), ..options(6..=6) });
    eprintln!("{:?}", found.stability);
    assert!(!found.choice.candidates[0].stable);
    assert_eq!(found.choice.recommended, None);
}
