//! The agreement of two clusterings of the same rows: the adjusted Rand index and the Jaccard similarity per cluster.

/// The contingency table of two clusterings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::train) struct Contingency {
    /// `counts[one * others + other]`.
    counts: Vec<u64>,
    others: usize,
}

impl Contingency {
    /// Counts the rows by their two clusters.
    ///
    /// `one` and `other`: the cluster of each row, below `ones` and `others`; greater labels are not counted.
    /// Cost: one pass over the rows, `ones` × `others` counters.
    pub(in crate::train) fn of(one: &[u32], ones: usize, other: &[u32], others: usize) -> Self {
        let mut counts = vec![0; ones * others];
        for (one, other) in one.iter().zip(other) {
            let (one, other) = (*one as usize, *other as usize);
            if one < ones && other < others {
                counts[one * others + other] += 1;
            }
        }
        Self { counts, others }
    }

    fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks_exact(self.others.max(1))
    }

    /// Rows per cluster of the other clustering.
    fn other_sizes(&self) -> Vec<u64> {
        let mut sizes = vec![0; self.others];
        for row in self.rows() {
            for (size, count) in sizes.iter_mut().zip(row) {
                *size += count;
            }
        }
        sizes
    }

    /// The adjusted Rand index: 1 for the same clusters under any numbering, about 0 for independent clusterings.
    ///
    /// At least −0.5. Computed in integers up to the last division, for fewer than 2³¹ rows.
    /// Two clusterings that agree on every pair of rows, such as two of one cluster each, have index 1.
    /// Source: Hubert & Arabie, "Comparing partitions" (1985); equal to scikit-learn's `adjusted_rand_score`.
    pub(in crate::train) fn adjusted_rand(&self) -> f64 {
        // Ordered pairs of different rows that share a cluster in both, only in one, only in the other, in neither.
        let squares = |sizes: &mut dyn Iterator<Item = u64>| -> i128 {
            sizes.map(|size| i128::from(size) * i128::from(size)).sum()
        };
        let rows = i128::from(self.counts.iter().sum::<u64>());
        let both = squares(&mut self.counts.iter().copied());
        let one = squares(&mut self.rows().map(|row| row.iter().sum()));
        let other = squares(&mut self.other_sizes().into_iter());
        let together = both - rows;
        let (only_one, only_other) = (one - both, other - both);
        let apart = rows * rows - one - other + both;
        if only_one == 0 && only_other == 0 {
            return 1.0;
        }
        let above = 2 * (together * apart - only_one * only_other);
        let below =
            (together + only_other) * (only_other + apart) + (together + only_one) * (only_one + apart);
        above as f64 / below as f64
    }

    /// For each cluster of the first clustering, the greatest Jaccard similarity with a cluster of the other one.
    ///
    /// Rows in both divided by rows in either, 0..=1; 0 for an empty cluster.
    ///
    /// Source: Hennig, "Cluster-wise assessment of cluster stability" (2007).
    pub(in crate::train) fn jaccard(&self) -> Vec<f64> {
        let other_sizes = self.other_sizes();
        let best = |row: &[u64]| {
            let size: u64 = row.iter().sum();
            let each = row.iter().zip(&other_sizes).map(|(both, other_size)| {
                let either = size + other_size - both;
                if either == 0 { 0.0 } else { *both as f64 / either as f64 }
            });
            each.fold(0.0, f64::max)
        };
        self.rows().map(best).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::golden;
    use super::*;

    fn of(one: &[u32], other: &[u32]) -> Contingency {
        let clusters = |labels: &[u32]| labels.iter().max().map_or(0, |most| *most as usize + 1);
        Contingency::of(one, clusters(one), other, clusters(other))
    }

    #[test]
    fn both_agree_with_python() {
        for case in golden::read()["agreement"].as_array().unwrap() {
            let (one, other) = (golden::labels(&case["one"]), golden::labels(&case["other"]));
            let found = of(&one, &other);
            golden::near(found.adjusted_rand(), case["adjusted_rand"].as_f64().unwrap(), 1e-12);
            let jaccard = found.jaccard();
            let expected = golden::numbers(&case["jaccard"]);
            assert_eq!(jaccard.len(), expected.len());
            for (found, expected) in jaccard.into_iter().zip(expected) {
                golden::near(found, expected, 1e-12);
            }
        }
    }

    #[test]
    fn a_split_cluster_has_the_share_of_its_largest_part() {
        let found = of(&[0, 0, 0, 0, 1, 1], &[0, 0, 0, 2, 1, 1]);
        assert_eq!(found.jaccard(), [0.75, 1.0]);
    }

    #[test]
    fn a_cluster_without_a_row_is_not_found_again() {
        assert_eq!(Contingency::of(&[0, 0], 2, &[1, 1], 3).jaccard(), [1.0, 0.0]);
    }

    #[test]
    fn counts_of_two_thousand_million_rows_do_not_overflow() {
        let half = u64::from(u32::MAX) / 4;
        let apart = Contingency { counts: vec![half, 0, 0, half], others: 2 };
        assert_eq!(apart.adjusted_rand().to_bits(), 1.0_f64.to_bits());
        let crossed = Contingency { counts: vec![half / 2; 4], others: 2 };
        assert!(crossed.adjusted_rand().abs() < 1e-9);
    }

    fn partitions() -> impl Strategy<Value = (Vec<u32>, Vec<u32>)> {
        proptest::collection::vec((0_u32..5, 0_u32..4), 1..80).prop_map(|rows| rows.into_iter().unzip())
    }

    proptest! {
        #[test]
        fn the_adjusted_rand_index_is_symmetric_and_at_most_1((one, other) in partitions()) {
            let there = of(&one, &other).adjusted_rand();
            prop_assert_eq!(there.to_bits(), of(&other, &one).adjusted_rand().to_bits());
            prop_assert!((-0.5..=1.0).contains(&there), "{}", there);
        }

        #[test]
        fn renamed_clusters_are_the_same_clusters((one, _) in partitions(), shift in 1_u32..5) {
            let renamed: Vec<u32> = one.iter().map(|label| (label + shift) % 5).collect();
            let found = Contingency::of(&one, 5, &renamed, 5);
            prop_assert_eq!(found.adjusted_rand().to_bits(), 1.0_f64.to_bits());
            for (cluster, jaccard) in found.jaccard().into_iter().enumerate() {
                let expected: f64 = if one.contains(&(cluster as u32)) { 1.0 } else { 0.0 };
                prop_assert_eq!(jaccard.to_bits(), expected.to_bits());
            }
        }

        #[test]
        fn jaccard_is_a_share((one, other) in partitions()) {
            prop_assert!(of(&one, &other).jaccard().iter().all(|value| (0.0..=1.0).contains(value)));
        }
    }
}
