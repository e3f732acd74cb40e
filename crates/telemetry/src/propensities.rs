//! A histogram of propensities that takes a whole batch without a lock: a decision scores a hundred pairs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds, finer where most propensities are: typically a few percent accept.
const BOUNDS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0];

/// The propensities of a batch, collected without touching a metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PropensityBatch {
    /// By bucket. The last bucket is above every bound; no valid propensity reaches it.
    counts: [u32; BOUNDS.len() + 1],
    sum: f64,
}

impl PropensityBatch {
    /// Adds one propensity.
    pub fn add(&mut self, propensity: f64) {
        // Branchless: it runs for every pair, and the compiler vectorises the comparisons.
        let bucket: usize = BOUNDS.iter().map(|bound| usize::from(propensity > *bound)).sum();
        self.counts[bucket] += 1;
        self.sum += propensity;
    }
}

/// The histogram; clones share its state.
#[derive(Debug, Clone, Default)]
pub(super) struct Propensities(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS.len() + 1],
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Propensities {
    /// Adds a batch.
    pub(super) fn add(&self, batch: &PropensityBatch) {
        for (count, more) in self.0.counts.iter().zip(batch.counts).filter(|(_, more)| *more > 0) {
            count.fetch_add(u64::from(more), Ordering::Relaxed);
        }
        let add = |sum| Some((f64::from_bits(sum) + batch.sum).to_bits());
        // The closure always returns `Some`, so the update succeeds.
        _ = self.0.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

impl EncodeMetric for Propensities {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = f64::from_bits(self.0.sum.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Propensities {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut batch = PropensityBatch::default();
        for propensity in [0.0, 0.001, 0.0011, 0.5, 1.0] {
            batch.add(propensity);
        }
        assert_eq!((batch.counts[0], batch.counts[1], batch.counts[9], batch.counts[12]), (2, 1, 1, 1));
        assert!((batch.sum - 1.5021).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn a_histogram_is_the_sum_of_its_batches(
            batches in prop::collection::vec(prop::collection::vec(0.0..=1.0_f64, 0..20), 0..8),
        ) {
            let histogram = Propensities::default();
            for propensities in &batches {
                let mut batch = PropensityBatch::default();
                for propensity in propensities {
                    batch.add(*propensity);
                }
                histogram.add(&batch);
            }
            let all: Vec<f64> = batches.concat();
            let mut cumulative = 0;
            for (bound, count) in BOUNDS.iter().zip(&histogram.0.counts) {
                cumulative += count.load(Ordering::Relaxed);
                prop_assert_eq!(cumulative, all.iter().filter(|one| *one <= bound).count() as u64);
            }
            let sum = f64::from_bits(histogram.0.sum.load(Ordering::Relaxed));
            prop_assert!((sum - all.iter().sum::<f64>()).abs() < 1e-9);
        }
    }
}
