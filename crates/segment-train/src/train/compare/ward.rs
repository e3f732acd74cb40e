//! Hierarchical clustering with Ward's criterion.

use kodama::{Dendrogram, Method, linkage};
use ndarray::ArrayView2;

use super::Clustering;

/// Merges the two clusters whose union adds least to the sum of squares, until `k` clusters are left.
///
/// `points`: rows × dimensions. Cost: rows² × dimensions for the distances and about rows² for the merges.
/// Memory: rows² / 2 distances.
/// Sources: Ward, "Hierarchical grouping to optimize an objective function" (1963); for the nearest-neighbour chain,
/// Müllner, "Modern hierarchical, agglomerative clustering algorithms" (2011).
pub(super) fn ward(points: ArrayView2<'_, f64>, k: usize) -> Clustering {
    let settings = format!("k = {k}");
    let rows = points.nrows();
    if k == 0 || k > rows {
        return Clustering { settings, labels: Err(format!("cannot form {k} clusters from {rows} rows")) };
    }
    let dendrogram = linkage(&mut distances(points), rows, Method::Ward);
    Clustering { settings, labels: Ok(cut(&dendrogram, k)) }
}

/// Euclidean distances of all pairs, row by row above the diagonal.
fn distances(points: ArrayView2<'_, f64>) -> Vec<f64> {
    let rows: Vec<Vec<f64>> = points.rows().into_iter().map(|row| row.to_vec()).collect();
    let distance = |one: &[f64], other: &[f64]| {
        one.iter().zip(other).map(|(one, other)| (one - other) * (one - other)).sum::<f64>().sqrt()
    };
    let mut distances = Vec::with_capacity(rows.len() * rows.len().saturating_sub(1) / 2);
    for (position, one) in rows.iter().enumerate() {
        distances.extend(rows[position + 1..].iter().map(|other| distance(one, other)));
    }
    distances
}

/// The clusters before the last `k − 1` merges, numbered in the order of their first rows.
fn cut(dendrogram: &Dendrogram<f64>, k: usize) -> Vec<Option<u32>> {
    let rows = dendrogram.observations();
    // The cluster that each cluster was merged into; merge i forms cluster rows + i.
    let mut into: Vec<usize> = (0..rows + dendrogram.len()).collect();
    for (merge, step) in dendrogram.steps().iter().take(rows - k).enumerate() {
        into[step.cluster1] = rows + merge;
        into[step.cluster2] = rows + merge;
    }
    // In reverse, so that each entry becomes its final cluster.
    for cluster in (0..into.len()).rev() {
        into[cluster] = into[into[cluster]];
    }
    let mut seen = Vec::with_capacity(k);
    let number = |cluster: &usize| {
        let known = seen.iter().position(|known| known == cluster);
        Some(known.unwrap_or_else(|| {
            seen.push(*cluster);
            seen.len() - 1
        }) as u32)
    };
    into[..rows].iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::super::choose::golden;
    use super::super::Contingency;
    use super::*;

    #[test]
    fn clusters_agree_with_scipy() {
        let case = &golden::read()["other_methods"];
        let found: Vec<u32> =
            ward(golden::matrix(&case["points"]).view(), 3).labels.unwrap().into_iter().flatten().collect();
        assert_eq!(
            Contingency::of(&found, 3, &golden::labels(&case["ward"]), 3).adjusted_rand().to_bits(),
            1.0_f64.to_bits()
        );
    }

    #[test]
    fn every_number_of_clusters_up_to_the_rows_is_possible() {
        let points = array![[0.0], [0.1], [5.0], [5.2], [9.0]];
        let at = |k| ward(points.view(), k).labels;
        assert_eq!(at(1).unwrap(), [Some(0); 5]);
        assert_eq!(at(3).unwrap(), [0, 0, 1, 1, 2].map(Some));
        assert_eq!(at(5).unwrap(), [0, 1, 2, 3, 4].map(Some));
        assert_eq!(at(6).unwrap_err(), "cannot form 6 clusters from 5 rows");
    }
}
