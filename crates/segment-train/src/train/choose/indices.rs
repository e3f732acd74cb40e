//! Validity indices of a clustering: Calinski–Harabasz, Davies–Bouldin and the share of the smallest cluster.

use ndarray::{Array2, ArrayView2};

/// The sizes, means and dispersions of the clusters, from which the indices are computed.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::train) struct Spread {
    /// Rows per cluster.
    sizes: Vec<u64>,
    /// The mean of each cluster, clusters × dimensions; 0 for an empty one.
    means: Array2<f64>,
    /// Mean Euclidean distance of the rows of each cluster to its mean.
    scatter: Vec<f64>,
    /// Sum over all rows of the squared distance to the mean of the cluster.
    within: f64,
    /// Sum over the clusters of rows × squared distance of the cluster mean to the overall mean.
    between: f64,
}

impl Spread {
    /// Measures a clustering.
    ///
    /// `points`: rows × dimensions, in standard layout. `labels`: one per row, below `clusters`.
    /// The means are those of the rows, not the centroids that the labels come from.
    /// Cost: two passes over the points. Sums are in the order of the rows.
    pub(in crate::train) fn of(points: ArrayView2<'_, f64>, labels: &[u32], clusters: usize) -> Self {
        let mut sizes = vec![0_u64; clusters];
        let mut means = Array2::zeros((clusters, points.ncols()));
        let mut centre = ndarray::Array1::<f64>::zeros(points.ncols());
        for (point, label) in points.rows().into_iter().zip(labels) {
            sizes[*label as usize] += 1;
            let mut mean = means.row_mut(*label as usize);
            mean += &point;
        }
        for (mut mean, size) in means.rows_mut().into_iter().zip(&sizes) {
            centre += &mean;
            mean /= (*size).max(1) as f64;
        }
        centre /= points.nrows().max(1) as f64;

        let mut scatter = vec![0.0; clusters];
        let mut within = 0.0;
        for (point, label) in points.rows().into_iter().zip(labels) {
            let mean = means.row(*label as usize);
            let squared = squared_distance(point.iter().zip(mean));
            within += squared;
            scatter[*label as usize] += squared.sqrt();
        }
        for (scatter, size) in scatter.iter_mut().zip(&sizes) {
            *scatter /= (*size).max(1) as f64;
        }
        let apart = means.rows().into_iter().map(|mean| squared_distance(mean.iter().zip(&centre)));
        let between = apart.zip(&sizes).map(|(squared, size)| squared * *size as f64).sum();
        Self { sizes, means, scatter, within, between }
    }

    /// The ratio of the variances between and within the clusters; higher is better.
    ///
    /// (B / (k − 1)) / (W / (n − k)) for the k clusters that are not empty.
    /// 1 if every row lies on the mean of its cluster, as in scikit-learn's `calinski_harabasz_score`.
    /// 0 for fewer than two clusters, for which it is undefined.
    /// Source: Caliński & Harabasz, "A dendrite method for cluster analysis" (1974).
    pub(in crate::train) fn calinski_harabasz(&self) -> f64 {
        let clusters = self.occupied().count() as f64;
        let rows = self.rows() as f64;
        if clusters < 2.0 {
            0.0
        } else if self.within <= 0.0 {
            1.0
        } else {
            self.between * (rows - clusters) / (self.within * (clusters - 1.0))
        }
    }

    /// The mean similarity of each cluster to the most similar other one; lower is better, 0 is the minimum.
    ///
    /// The similarity is the sum of the scatters of two clusters, divided by the distance of their means.
    /// Empty clusters are left out, and clusters with equal means are not compared.
    /// 0 for fewer than two clusters, for which it is undefined.
    /// Cost: clusters² × dimensions. Source: Davies & Bouldin, "A cluster separation measure" (1979); equal to
    /// scikit-learn's `davies_bouldin_score`.
    pub(in crate::train) fn davies_bouldin(&self) -> f64 {
        let clusters = self.occupied().count();
        if clusters < 2 {
            return 0.0;
        }
        let similarity = |one: usize, other: usize| {
            let means = self.means.row(one);
            let distance = squared_distance(means.iter().zip(self.means.row(other))).sqrt();
            if distance > 0.0 { (self.scatter[one] + self.scatter[other]) / distance } else { 0.0 }
        };
        let most_similar = self
            .occupied()
            .map(|one| self.occupied().map(|other| similarity(one, other)).fold(0.0, f64::max));
        most_similar.sum::<f64>() / clusters as f64
    }

    /// The share of the rows in the smallest cluster, 0..=1.
    pub(in crate::train) fn smallest_share(&self) -> f64 {
        let smallest = self.sizes.iter().copied().min().unwrap_or(0);
        smallest as f64 / self.rows().max(1) as f64
    }

    fn rows(&self) -> u64 {
        self.sizes.iter().sum()
    }

    fn occupied(&self) -> impl Iterator<Item = usize> + Clone {
        self.sizes.iter().enumerate().filter(|(_, size)| **size > 0).map(|(cluster, _)| cluster)
    }
}

fn squared_distance<'a>(pairs: impl Iterator<Item = (&'a f64, &'a f64)>) -> f64 {
    pairs.map(|(one, other)| (one - other) * (one - other)).sum()
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::super::golden;
    use super::*;

    #[test]
    fn indices_agree_with_scikit_learn() {
        for case in golden::read()["indices"].as_array().unwrap() {
            let points = golden::matrix(&case["points"]);
            let labels = golden::labels(&case["labels"]);
            let clusters = case["clusters"].as_u64().unwrap() as usize;
            let spread = Spread::of(points.view(), &labels, clusters);
            golden::near(spread.calinski_harabasz(), case["calinski_harabasz"].as_f64().unwrap(), 1e-9);
            golden::near(spread.davies_bouldin(), case["davies_bouldin"].as_f64().unwrap(), 1e-9);
            golden::near(spread.smallest_share(), case["smallest_share"].as_f64().unwrap(), 1e-12);
        }
    }

    #[test]
    fn an_empty_cluster_counts_only_as_the_smallest() {
        let points = array![[0.0], [1.0], [8.0], [9.0]];
        let with = Spread::of(points.view(), &[0, 0, 2, 2], 3);
        let without = Spread::of(points.view(), &[0, 0, 1, 1], 2);
        assert_eq!(with.calinski_harabasz().to_bits(), without.calinski_harabasz().to_bits());
        assert_eq!(with.davies_bouldin().to_bits(), without.davies_bouldin().to_bits());
        assert_eq!((with.smallest_share(), without.smallest_share()), (0.0, 0.5));
    }

    #[test]
    fn one_cluster_and_rows_on_their_means_have_finite_indices() {
        let points = array![[0.0, 1.0], [0.0, 1.0], [4.0, 4.0]];
        let one = Spread::of(points.view(), &[0, 0, 0], 1);
        assert_eq!((one.calinski_harabasz(), one.davies_bouldin()), (0.0, 0.0));
        let exact = Spread::of(points.view(), &[0, 0, 1], 2);
        assert_eq!((exact.calinski_harabasz(), exact.davies_bouldin()), (1.0, 0.0));
    }

    proptest! {
        #[test]
        fn indices_are_finite_and_not_negative(
            rows in proptest::collection::vec(((-9_i32..9, -9_i32..9), 0_u32..4), 1..40),
        ) {
            let coordinates = rows.iter().flat_map(|((x, y), _)| [f64::from(*x), f64::from(*y)]).collect();
            let points = Array2::from_shape_vec((rows.len(), 2), coordinates).unwrap();
            let labels: Vec<u32> = rows.iter().map(|(_, label)| *label).collect();
            let spread = Spread::of(points.view(), &labels, 4);
            for index in [spread.calinski_harabasz(), spread.davies_bouldin(), spread.smallest_share()] {
                prop_assert!(index.is_finite() && index >= 0.0, "{}", index);
            }
        }
    }
}
