//! Other clustering methods compared with the segments: Ward, a Gaussian mixture, DBSCAN.
//!
//! The comparisons run on a sample and never change the segments. A method that fails leaves a note.
//! Start reading at [`compare`].

mod density;
mod mixture;
mod ward;

use ndarray::{ArrayView2, Axis};

use super::choose::agreement::Contingency;
use super::choose::stop_only::StopOnly;
use super::draw::{self, Purpose};
use super::progress::{Progress, Stopped};
use super::silhouette;
use super::study::Comparison;

/// Customers in the sample of the comparison; Ward's distances take 16 MB.
pub(super) const DEFAULT_COMPARISON_ROWS: usize = 2_000;

/// A clustering by another method.
struct Clustering {
    /// The parameters of the method.
    settings: String,
    /// The cluster of each row, from 0, or `None` for noise; or the error.
    labels: Result<Vec<Option<u32>>, String>,
}

/// Clusters a sample with each of the other methods and compares the results with the segments.
///
/// `points`: rows × dimensions, in standard layout. `labels`: the segment of each row, below `k`.
/// `rows` rows are drawn without replacement, the same ones for one `seed`.
/// The adjusted Rand index covers the whole sample, with noise as a cluster of its own.
/// The silhouette covers the rows that are not noise, if they form at least two clusters.
/// Cost: sample² × dimensions.
pub(super) fn compare(
    points: ArrayView2<'_, f64>,
    labels: &[u32],
    k: usize,
    rows: usize,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<Comparison>, Stopped> {
    let sample =
        draw::without_replacement(&mut draw::generator(seed, Purpose::Comparison, 0), points.nrows(), rows);
    let segments: Vec<u32> = sample.iter().map(|row| labels[*row]).collect();
    let sample = points.select(Axis(0), &sample);
    let sample = sample.view();
    let mut comparisons = Vec::new();
    progress.begin("comparisons", METHODS.len() as u64);
    for (name, method) in METHODS {
        if progress.stopped() {
            return Err(Stopped);
        }
        let clustering = method(sample, k, seed);
        comparisons.push(comparison(name, clustering, sample, &segments, k, progress)?);
        progress.advance(1);
    }
    Ok(comparisons)
}

/// A method that forms about `k` clusters, with a seed.
type Method = fn(ArrayView2<'_, f64>, usize, u64) -> Clustering;

const METHODS: [(&str, Method); 3] = [
    ("Ward", |points, k, _| ward::ward(points, k)),
    ("Gaussian mixture", mixture::mixture),
    ("DBSCAN", |points, _, _| density::dbscan(points)),
];

fn comparison(
    method: &str,
    clustering: Clustering,
    points: ArrayView2<'_, f64>,
    segments: &[u32],
    k: usize,
    progress: &dyn Progress,
) -> Result<Comparison, Stopped> {
    let mut comparison = Comparison {
        method: method.to_owned(),
        settings: clustering.settings,
        rows: points.nrows() as u64,
        clusters: 0,
        noise: 0.0,
        ari: None,
        silhouette: None,
        note: None,
    };
    let labels = match clustering.labels {
        Ok(labels) => labels,
        Err(note) => return Ok(Comparison { note: Some(note), ..comparison }),
    };
    let (numbers, clusters) = numbered(&labels);
    let kept: Vec<usize> = (0..labels.len()).filter(|row| labels[*row].is_some()).collect();
    comparison.clusters = clusters as u64;
    comparison.noise = (labels.len() - kept.len()) as f64 / labels.len().max(1) as f64;
    comparison.ari = Some(Contingency::of(segments, k, &numbers, clusters + 1).adjusted_rand());
    if clusters >= 2 {
        let of_kept: Vec<u32> = kept.iter().map(|row| numbers[*row]).collect();
        let points = points.select(Axis(0), &kept);
        let labelings = [(of_kept.as_slice(), clusters)];
        let found = silhouette::silhouettes(points.view(), &labelings, usize::MAX, 0, &StopOnly(progress))?;
        comparison.silhouette = found.first().map(|silhouettes| silhouettes.mean);
    } else {
        comparison.note = Some("fewer than two clusters, so there is no silhouette".to_owned());
    }
    Ok(comparison)
}

/// Renumbers the clusters that are not empty from 0, with noise as the last; also returns their number without noise.
fn numbered(labels: &[Option<u32>]) -> (Vec<u32>, usize) {
    let mut present: Vec<u32> = labels.iter().copied().flatten().collect();
    present.sort_unstable();
    present.dedup();
    let number = |label: &Option<u32>| {
        let found = label.and_then(|label| present.binary_search(&label).ok());
        found.unwrap_or(present.len()) as u32
    };
    (labels.iter().map(number).collect(), present.len())
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::super::choose::golden::{self, AMOUNTS_AND_COUNTS, cc_general};
    use super::super::k_means::{self, KMeansOptions};
    use super::super::progress::Silent;
    use super::*;

    fn by_method(points: &Array2<f64>, labels: &[u32], k: usize, rows: usize) -> [Comparison; 3] {
        compare(points.view(), labels, k, rows, 42, &Silent).unwrap().try_into().unwrap()
    }

    #[test]
    fn indices_agree_with_scikit_learn() {
        let case = &golden::read()["other_methods"];
        let (points, labels) = (golden::matrix(&case["points"]), golden::labels(&case["labels"]));
        let [ward, _, dbscan] = by_method(&points, &labels, 3, 1_000);
        golden::near(ward.ari.unwrap(), case["ward_adjusted_rand"].as_f64().unwrap(), 1e-12);
        golden::near(ward.silhouette.unwrap(), case["ward_silhouette"].as_f64().unwrap(), 1e-6);
        golden::near(dbscan.ari.unwrap(), case["dbscan_adjusted_rand"].as_f64().unwrap(), 1e-12);
        golden::near(dbscan.silhouette.unwrap(), case["dbscan_silhouette"].as_f64().unwrap(), 1e-6);
        assert_eq!((dbscan.clusters, dbscan.noise), (2, 3.0 / 75.0));
        assert_eq!((ward.clusters, ward.rows, ward.noise), (3, 75, 0.0));
    }

    #[test]
    fn groups_that_are_well_apart_are_found_by_other_methods_too() {
        let mut random = draw::generator(3, Purpose::Comparison, 1);
        let points = Array2::from_shape_fn((300, 2), |(row, dimension)| {
            let centre = if row % 3 == dimension + 1 { 9.0 } else { 0.0 };
            // The sum of four uniform numbers is roughly normal.
            centre + (0..4).map(|_| draw::unit(&mut random)).sum::<f64>()
        });
        let labels: Vec<u32> = (0..300).map(|row| row % 3).collect();
        let [ward, mixture, dbscan] = by_method(&points, &labels, 3, 200);
        for comparison in [ward, mixture] {
            assert_eq!(
                (comparison.clusters, comparison.rows, &comparison.note),
                (3, 200, &None),
                "{comparison:?}"
            );
            assert!(comparison.ari.unwrap() > 0.99 && comparison.silhouette.unwrap() > 0.7, "{comparison:?}");
        }
        // DBSCAN takes the edges of the groups for noise.
        assert!(
            dbscan.noise < 0.2 && dbscan.ari.unwrap() > 0.7 && dbscan.silhouette.unwrap() > 0.6,
            "{dbscan:?}"
        );
    }

    #[test]
    fn a_failed_method_leaves_a_note() {
        let points = Array2::from_elem((5, 2), 1.0);
        let [ward, mixture, dbscan] = by_method(&points, &[0; 5], 1, 1_000);
        assert_eq!((ward.clusters, ward.silhouette), (1, None));
        assert!(ward.note.is_some() && dbscan.note.is_some(), "{ward:?} {dbscan:?}");
        assert_eq!((dbscan.clusters, dbscan.ari), (0, None));
        assert!(mixture.silhouette.is_none(), "{mixture:?}");
        let too_many = by_method(&points, &[0; 5], 9, 1_000);
        assert_eq!(too_many[0].note.as_deref(), Some("cannot form 9 clusters from 5 rows"));
    }

    #[test]
    fn card_holders_are_compared_the_same_way_each_time() {
        let Some(points) = cc_general(&AMOUNTS_AND_COUNTS) else { return };
        let options = KMeansOptions { tolerance: 1e-6, ..KMeansOptions::new(6, 5, 42) };
        let fit = k_means::fit(points.view(), &options, &Silent).unwrap();
        let comparisons = by_method(&points, &fit.labels, 6, 1_000);
        eprintln!("{comparisons:#?}");
        assert_eq!(comparisons, by_method(&points, &fit.labels, 6, 1_000));
        assert!(comparisons[0].ari.unwrap() > 0.3);
        assert!(comparisons[1].note.is_none() && comparisons[1].ari.unwrap() > 0.2);
    }
}
