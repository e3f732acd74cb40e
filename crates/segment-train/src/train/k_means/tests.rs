//! Invariants of every clustering.

use ndarray::Array2;
use proptest::prelude::*;

use super::super::progress::Silent;
use super::*;

fn cluster(points: &Array2<f64>, options: &KMeansOptions) -> Fit {
    fit(points.view(), options, &Silent).unwrap()
}

fn squared(one: ndarray::ArrayView1<'_, f64>, other: ndarray::ArrayView1<'_, f64>) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Blobs of unequal size that overlap.
fn blobs(rows: usize, dimensions: usize, seed: u64) -> Array2<f64> {
    let mut random = draw::generator(seed, Purpose::Comparison, 0);
    let mut unit = move || draw::unit(&mut random);
    Array2::from_shape_fn((rows, dimensions), |(row, dimension)| {
        let centre = ((row * row) % 5 * (dimension + 1)) as f64 % 4.0;
        centre + unit() + unit() + unit()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_belong_to_the_nearest_mean(
        rows in 1..300_usize,
        dimensions in 1..6_usize,
        k in 1..14_usize,
        seed in 0..1000_u64,
    ) {
        let points = blobs(rows, dimensions, seed);
        let k = k.min(rows);
        let fit = cluster(&points, &KMeansOptions::new(k, 2, seed));
        prop_assert_eq!(fit.sizes.iter().sum::<u64>(), rows as u64);
        let mut inertia = 0.0;
        for (row, label) in points.outer_iter().zip(&fit.labels) {
            let own = squared(row, fit.centroids.row(*label as usize));
            inertia += own;
            for (id, centroid) in fit.centroids.outer_iter().enumerate() {
                let other = squared(row, centroid);
                prop_assert!(own < other || ((own - other).abs() < f64::MIN_POSITIVE && *label as usize <= id));
            }
        }
        prop_assert!((inertia - fit.inertia).abs() <= 1e-9 * inertia.max(1.0));
        for (id, centroid) in fit.centroids.outer_iter().enumerate() {
            let rows = points.outer_iter().zip(&fit.labels);
            let members: Vec<_> = rows.filter(|(_, label)| **label as usize == id).collect();
            prop_assert_eq!(members.len() as u64, fit.sizes[id]);
            prop_assert!(!members.is_empty());
            for dimension in 0..dimensions {
                let mean = members.iter().map(|(row, _)| row[dimension]).sum::<f64>() / members.len() as f64;
                prop_assert!((mean - centroid[dimension]).abs() < 1e-9, "{} {}", mean, centroid[dimension]);
            }
        }
    }

    #[test]
    fn more_restarts_are_never_worse(rows in 20..200_usize, seed in 0..1000_u64) {
        let points = blobs(rows, 3, seed);
        // Restarts are compared before the best one continues, so a tolerance could change their order.
        let options = |n_init| KMeansOptions { tolerance: 0.0, ..KMeansOptions::new(5, n_init, seed) };
        let inertia = |n_init| cluster(&points, &options(n_init)).inertia;
        prop_assert!(inertia(6) <= inertia(2) * (1.0 + 1e-9));
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    // Enough rows for a restart per thread, for shared restarts and for mini-batches.
    for (rows, mini_batch_above) in [(9000, usize::MAX), (60_000, usize::MAX), (60_000, 10_000)] {
        let points = blobs(rows, 4, 3);
        let options = KMeansOptions { mini_batch_above, ..KMeansOptions::new(6, 3, 11) };
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| cluster(&points, &options))
        };
        let one = with(1);
        for threads in [2, 3, 8] {
            assert_eq!(with(threads), one, "{rows} rows, {threads} threads");
        }
    }
}

#[test]
fn as_many_clusters_as_distinct_rows_have_no_inertia() {
    let values = [1.0, 5.0, 1.0, 9.0, 5.0, 1.0, 7.0];
    let points = Array2::from_shape_vec((7, 1), values.to_vec()).unwrap();
    let fit = cluster(&points, &KMeansOptions::new(4, 3, 1));
    assert!(fit.inertia.abs() < 1e-12 && fit.sizes.iter().all(|size| *size > 0), "{fit:?}");
}

#[test]
fn a_start_without_a_row_is_filled() {
    let points = Array2::from_shape_vec((4, 1), vec![0.0, 1.0, 10.0, 11.0]).unwrap();
    let mut lloyd = Lloyd::new(Points::new(points.view()), vec![0.0, 1e6, 2e6]);
    lloyd.run(100, 0.0, &Silent).unwrap();
    let fit = lloyd.finish();
    assert_eq!(fit.sizes.iter().sum::<u64>(), 4);
    assert!(fit.sizes.iter().all(|size| *size > 0), "{fit:?}");
}

#[test]
fn a_row_that_no_sample_has_can_still_be_a_cluster() {
    let mut points = Array2::zeros((60_000, 1));
    points.slice_mut(ndarray::s![30_000.., ..]).fill(1.0);
    points[[59_999, 0]] = 5.0;
    let fit = cluster(&points, &KMeansOptions::new(3, 2, 1));
    let mut sizes = fit.sizes.clone();
    sizes.sort_unstable();
    assert_eq!((sizes, fit.inertia), (vec![1, 29_999, 30_000], 0.0));
}

#[test]
fn a_swap_leaves_a_minimum_that_iterations_do_not() {
    // Two centroids share a group while one lies between two other groups.
    let groups = [0.0, 10.0, 30.0, 31.0];
    let points = Array2::from_shape_fn((400, 1), |(row, _)| groups[row % 4] + (row / 4) as f64 * 1e-3);
    let points = Points::new(points.view());
    let stuck = vec![5.0, 30.0, 31.0];
    let mut lloyd = Lloyd::new(points, stuck);
    lloyd.run(100, 0.0, &Silent).unwrap();
    let mut random = draw::generator(1, Purpose::Restart, 0);
    let mut next = Lloyd::new(points, swaps::swapped(points, lloyd.centroids(), &mut random));
    next.run(100, 0.0, &Silent).unwrap();
    assert!(next.inertia() < lloyd.inertia() / 50.0, "{} {}", next.inertia(), lloyd.inertia());
}

proptest! {
    /// Compares the cost of the chosen swap with that of every other centroid's, computed row by row.
    #[test]
    fn the_best_swap_is_chosen(rows in 12..80_usize, k in 2..6_usize, seed in 0..1000_u64) {
        let points = blobs(rows, 2, seed);
        let view = Points::new(points.view());
        let start: Vec<f64> = (0..k).flat_map(|row| view.row(row * 2).to_vec()).collect();
        let found = swaps::swapped(view, &start, &mut draw::generator(seed, Purpose::Restart, 0));
        let cost = |centroids: &[f64]| -> f64 {
            let nearest = |row: &[f64]| {
                let each = centroids.chunks_exact(2).map(|centroid| squared(row.into(), centroid.into()));
                each.fold(f64::INFINITY, f64::min)
            };
            (0..rows).map(|row| nearest(view.row(row))).sum()
        };
        let changed: Vec<usize> = (0..k).filter(|at| found[at * 2..][..2] != start[at * 2..][..2]).collect();
        prop_assert!(changed.len() <= 1);
        if let [out] = changed[..] {
            for other in 0..k {
                let mut instead = start.clone();
                instead[other * 2..][..2].copy_from_slice(&found[out * 2..][..2]);
                prop_assert!(cost(&found) <= cost(&instead) * (1.0 + 1e-9));
            }
        }
    }
}

#[test]
fn mini_batches_come_close_to_all_rows() {
    let points = blobs(30_000, 5, 7);
    let all = cluster(&points, &KMeansOptions::new(5, 3, 1)).inertia;
    let some =
        cluster(&points, &KMeansOptions { mini_batch_above: 1000, ..KMeansOptions::new(5, 3, 1) }).inertia;
    assert!(some <= all * 1.01, "{some} {all}");
}
