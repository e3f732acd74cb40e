//! What must hold of every clustering, and the figures of scikit-learn on real card holders.

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
            let members: Vec<_> = points.outer_iter().zip(&fit.labels).filter(|(_, label)| **label as usize == id).collect();
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
        // Restarts are compared before the best of them is carried on, by at most what the tolerance leaves.
        let inertia = |n_init| cluster(&points, &KMeansOptions { tolerance: 0.0, ..KMeansOptions::new(5, n_init, seed) }).inertia;
        prop_assert!(inertia(6) <= inertia(2) * (1.0 + 1e-9));
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    // Enough rows for both ways to share the work, and for mini-batches.
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
fn as_many_clusters_as_distinct_rows_leave_nothing_between() {
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
fn mini_batches_come_close_to_all_rows() {
    let points = blobs(30_000, 5, 7);
    let all = cluster(&points, &KMeansOptions::new(5, 3, 1)).inertia;
    let some =
        cluster(&points, &KMeansOptions { mini_batch_above: 1000, ..KMeansOptions::new(5, 3, 1) }).inertia;
    assert!(some <= all * 1.01, "{some} {all}");
}
