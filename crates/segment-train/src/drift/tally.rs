//! Counts over a block of customers. Blocks are added up in order, so sums always have the same last digits.

use segment::assign::Segmentation;
use segment::prepare::{FeaturePreparation, Reference};

/// Values this many times the training range are errors rather than growth.
///
/// A decimal point lost before three digits multiplies a value by 1000; this finds it for values of a tenth of the
/// maximum or more.
const FAR_OUT: f64 = 100.0;

/// Counts over some customers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tally {
    /// In the order of the artefact.
    pub(super) features: Vec<FeatureTally>,
    /// Customers by the segment that the artefact assigns.
    pub(super) segments: Vec<u64>,
}

/// Counts for a feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FeatureTally {
    /// Known values per bin of the training; empty if the artefact has no bins.
    pub(super) counts: Vec<u64>,
    pub(super) missing: u64,
    pub(super) below: u64,
    pub(super) above: u64,
    pub(super) far_out: u64,
    /// Sum of the known values.
    pub(super) sum: f64,
    /// Minimum and maximum; infinite and reversed until there is a value.
    pub(super) range: [f64; 2],
}

impl Tally {
    pub(super) fn empty(segmentation: &Segmentation) -> Self {
        Self {
            features: segmentation.features().iter().map(FeatureTally::empty).collect(),
            segments: vec![0; segmentation.len()],
        }
    }

    /// Counts a block of raw values: rows × features of the artefact, row-major.
    pub(super) fn of(segmentation: &Segmentation, raw: &[f32]) -> Self {
        let mut tally = Self::empty(segmentation);
        let features = segmentation.features();
        for row in raw.chunks_exact(features.len()) {
            for ((counted, feature), value) in tally.features.iter_mut().zip(features).zip(row) {
                counted.add(feature, *value);
            }
        }
        for assignment in segmentation.assign_rows(raw) {
            tally.segments[assignment.id as usize] += 1;
        }
        tally
    }

    pub(super) fn plus(mut self, other: Self) -> Self {
        add(&mut self.segments, &other.segments);
        for (one, other) in self.features.iter_mut().zip(other.features) {
            add(&mut one.counts, &other.counts);
            one.missing += other.missing;
            one.below += other.below;
            one.above += other.above;
            one.far_out += other.far_out;
            one.sum += other.sum;
            one.range = [one.range[0].min(other.range[0]), one.range[1].max(other.range[1])];
        }
        self
    }
}

impl FeatureTally {
    fn empty(feature: &FeaturePreparation) -> Self {
        let bins = feature.reference.as_ref().map_or(0, |reference| reference.counts.len());
        Self {
            counts: vec![0; bins],
            missing: 0,
            below: 0,
            above: 0,
            far_out: 0,
            sum: 0.0,
            range: [f64::INFINITY, f64::NEG_INFINITY],
        }
    }

    fn add(&mut self, feature: &FeaturePreparation, raw: f32) {
        if raw.is_nan() {
            self.missing += 1;
            return;
        }
        if let Some(reference) = &feature.reference {
            self.counts[Reference::bin(reference, raw)] += 1;
        }
        let value = f64::from(raw);
        let [least, greatest] = feature.range;
        self.below += u64::from(value < least);
        self.above += u64::from(value > greatest);
        let reach = least.abs().max(greatest.abs());
        self.far_out += u64::from(reach > 0.0 && value.abs() >= FAR_OUT * reach);
        self.sum += value;
        self.range = [self.range[0].min(value), self.range[1].max(value)];
    }
}

fn add(to: &mut [u64], counts: &[u64]) {
    to.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}
