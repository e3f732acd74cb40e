//! Which segment a customer belongs to: the nearest centroid in the prepared space.
//!
//! Pure arithmetic on the artefact, with a result for every input. Nothing is learned from data here.

use super::artefact::{Segment, TrainingNotes};
use super::prepare::{FeaturePreparation, Preparation};

/// Trained segments, ready to assign: a validated `segments.json` in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmentation {
    /// How a row becomes a point.
    pub preparation: Preparation,
    /// One per segment, by id.
    pub centroids: Centroids,
    /// Names and sizes, by id.
    pub segments: Vec<Segment>,
    /// The sum of the squared distances of the training rows to their centroids.
    pub inertia: f64,
    /// What it was trained from.
    pub training: TrainingNotes,
}

/// The segment of a customer, and how clearly they belong there.
///
/// Distances are Euclidean, in the prepared space (standard deviations).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assignment {
    /// The segment whose centroid is nearest; the lowest id wins a tie.
    pub id: u32,
    /// Distance to that centroid; finite, at least 0.
    pub distance: f64,
    /// (d2 − d1) / d2, where d1 and d2 are the distances to the nearest and the second nearest centroid.
    ///
    /// 0 halfway between two segments; 1 on a centroid, or if there is only one segment.
    pub margin: f64,
}

/// Scratch buffer of an assignment. Calls that reuse one do not allocate.
#[derive(Debug, Clone, Default)]
pub struct Scratch(Vec<f64>);

impl Segmentation {
    /// The features of a row, in the order of its values.
    #[must_use]
    pub fn features(&self) -> &[FeaturePreparation] {
        &self.preparation.features
    }

    /// The segments by id.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The name of a segment, `None` for an unknown id.
    #[must_use]
    pub fn name(&self, id: u32) -> Option<&str> {
        self.segments.get(id as usize).map(|segment| segment.name.as_str())
    }

    /// The number of segments, at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Always false: a segmentation has at least one segment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The sum of the squared distances of the training rows to their centroids.
    #[must_use]
    pub fn inertia(&self) -> f64 {
        self.inertia
    }

    /// What training did.
    #[must_use]
    pub fn training(&self) -> &TrainingNotes {
        &self.training
    }

    /// The segment of one customer; allocates a scratch buffer. See [`Self::assign_with`].
    #[must_use]
    pub fn assign(&self, raw: &[f32]) -> Assignment {
        self.assign_with(raw, &mut Scratch::default())
    }

    /// The segment of one customer. Allocates only if `scratch` never held a row of this segmentation.
    ///
    /// `raw`: one value per feature, in the order of [`Self::features`] and in the unit of the feature.
    /// NaN is a missing value and is imputed. So are infinite values, which callers refuse earlier.
    /// Cost: features + segments × dimensions.
    /// Source: the assignment step of Lloyd, "Least squares quantization in PCM" (1982).
    pub fn assign_with(&self, raw: &[f32], scratch: &mut Scratch) -> Assignment {
        debug_assert_eq!(raw.len(), self.features().len(), "one raw value per feature");
        self.centroids.nearest(self.preparation.point(raw, &mut scratch.0)).into()
    }

    /// The segments of many customers, each as [`Self::assign`] computes it.
    ///
    /// `raw`: customers × features, row-major; an incomplete last row is ignored.
    #[must_use]
    pub fn assign_rows(&self, raw: &[f32]) -> Vec<Assignment> {
        let mut scratch = Scratch::default();
        raw.chunks_exact(self.features().len()).map(|row| self.assign_with(row, &mut scratch)).collect()
    }
}

/// Segments × dimensions, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Centroids {
    dimensions: usize,
    values: Vec<f64>,
}

/// The nearest centroid to a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// The position of the centroid; the lowest wins a tie.
    pub id: u32,
    /// Squared distance to it.
    pub squared: f64,
    /// Squared distance to the second nearest, `None` if there is only one centroid.
    second: Option<f64>,
}

impl Centroids {
    /// `values`: centroids × `dimensions`, row-major; neither is 0.
    #[must_use]
    pub fn new(dimensions: usize, values: Vec<f64>) -> Self {
        Self { dimensions, values }
    }

    /// The centroids in order.
    #[must_use]
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.dimensions)
    }

    /// The nearest centroid in squared Euclidean distance.
    ///
    /// A distance that overflows counts as the greatest float, so there is always a nearest centroid.
    #[must_use]
    pub fn nearest(&self, point: &[f64]) -> Nearest {
        let (mut id, mut squared, mut second) = (0, f64::INFINITY, f64::INFINITY);
        for (index, centroid) in (0..).zip(self.rows()) {
            let sum: f64 = centroid.iter().zip(point).map(|(c, p)| (p - c) * (p - c)).sum();
            // `min` also turns NaN into the greatest float: extreme components can give inf − inf.
            let distance = sum.min(f64::MAX);
            if distance < squared {
                (id, squared, second) = (index, distance, squared);
            } else if distance < second {
                second = distance;
            }
        }
        Nearest { id, squared, second: second.is_finite().then_some(second) }
    }
}

impl From<Nearest> for Assignment {
    fn from(nearest: Nearest) -> Self {
        let distance = nearest.squared.sqrt();
        let margin = match nearest.second.map(f64::sqrt) {
            None => 1.0,
            // Two identical centroids, and the point is on both.
            Some(0.0) => 0.0,
            Some(second) => (second - distance) / second,
        };
        Self { id: nearest.id, distance, margin }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "both sides come from the same arithmetic")]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::segmentation;

    /// Any valid segmentation of moderate size, with and without components.
    pub(crate) fn segmentations() -> impl Strategy<Value = Segmentation> {
        let value = -100.0..100.0_f64;
        let feature =
            (value.clone(), prop::option::of((-50.0..0.0, 0.0..50.0)), any::<bool>(), value.clone());
        let features =
            prop::collection::vec((feature, 0.01..10.0_f64, prop::array::uniform2(value.clone())), 1..6);
        let shape = (features, prop::option::of(1..4_usize), 1..5_usize);
        shape.prop_flat_map(move |(features, components, k)| {
            let width = features.len();
            let matrix =
                |rows, columns| prop::collection::vec(prop::collection::vec(-10.0..10.0_f64, columns), rows);
            let pca = components.map(|rows| matrix(rows, width));
            let pca = pca.map_or_else(|| Just(None).boxed(), |matrix| matrix.prop_map(Some).boxed());
            let dimensions = components.unwrap_or(width);
            let sizes = prop::collection::vec(1..1000_u64, k);
            let centroids = prop::collection::vec(value.clone(), k * dimensions);
            let notes = (any::<u64>(), 0.0..1e6);
            (Just(features), pca, sizes, centroids, notes).prop_map(
                move |(features, pca, sizes, centroids, (seed, inertia))| {
                    let features = features.into_iter().enumerate().map(
                        |(index, ((impute, winsor, log1p, mean), deviation, mut range))| {
                            range.sort_by(f64::total_cmp);
                            let name = format!("feature_{index}");
                            let winsor = winsor.map(|(low, high)| [low, high]);
                            let plain = FeaturePreparation::identity(name);
                            FeaturePreparation { impute, winsor, log1p, mean, deviation, range, ..plain }
                        },
                    );
                    let rows = sizes.iter().sum();
                    let names = (0..).map(|id| format!("Segment {id}"));
                    let segments = names.zip(sizes).map(|(name, size)| Segment { name, size });
                    Segmentation {
                        preparation: Preparation { features: features.collect(), pca },
                        centroids: Centroids::new(dimensions, centroids),
                        segments: segments.collect(),
                        inertia,
                        training: TrainingNotes {
                            rows,
                            k: k as u64,
                            seed,
                            n_init: 10,
                            ..TrainingNotes::default()
                        },
                    }
                },
            )
        })
    }

    fn permuted<T: Clone>(order: &[usize], row: &[T]) -> Vec<T> {
        order.iter().map(|column| row[*column].clone()).collect()
    }

    fn with_rows() -> impl Strategy<Value = (Segmentation, Vec<f32>)> {
        segmentations().prop_flat_map(|segmentation| {
            let width = segmentation.features().len();
            let value = prop_oneof![8 => -200.0..200.0_f32, 1 => Just(f32::NAN), 1 => any::<f32>()];
            let rows =
                (1..5_usize).prop_flat_map(move |rows| prop::collection::vec(value.clone(), rows * width));
            (Just(segmentation), rows)
        })
    }

    #[test]
    fn the_nearest_centroid_wins_with_a_margin() {
        let segmentation = segmentation();
        // Standardised: (3, 0), so 3 from `Quiet` and 1 from `Busy`.
        let assignment = segmentation.assign(&[4.0, 1.0]);
        assert_eq!(assignment, Assignment { id: 1, distance: 1.0, margin: 2.0 / 3.0 });
        assert_eq!(segmentation.name(1), Some("Busy"));
        assert_eq!(segmentation.name(2), None);
        assert_eq!(segmentation.len(), 2);
    }

    #[test]
    fn a_tie_goes_to_the_lowest_id_with_margin_0() {
        assert_eq!(segmentation().assign(&[3.0, 1.0]), Assignment { id: 0, distance: 2.0, margin: 0.0 });
    }

    #[test]
    fn a_missing_value_is_imputed() {
        let segmentation = segmentation();
        assert_eq!(segmentation.assign(&[f32::NAN, 1.0]), segmentation.assign(&[1.0, 1.0]));
    }

    #[test]
    fn one_segment_alone_has_margin_1() {
        let mut single = segmentation();
        single.centroids = Centroids::new(2, vec![0.0, 0.0]);
        assert_eq!(single.assign(&[1.0, 5.0]), Assignment { id: 0, distance: 2.0, margin: 1.0 });
    }

    #[test]
    fn two_identical_centroids_have_margin_0() {
        let mut twice = segmentation();
        twice.centroids = Centroids::new(2, vec![0.0; 4]);
        assert_eq!(twice.assign(&[1.0, 1.0]), Assignment { id: 0, distance: 0.0, margin: 0.0 });
    }

    #[test]
    fn a_distance_beyond_all_floats_is_the_greatest_one() {
        let mut tiny = segmentation();
        tiny.preparation.features[0].deviation = f64::MIN_POSITIVE;
        let assignment = tiny.assign(&[f32::MAX, 1.0]);
        assert_eq!(assignment, Assignment { id: 0, distance: f64::MAX.sqrt(), margin: 0.0 });
    }

    proptest! {
        #[test]
        fn assignment_is_the_least_of_all_distances((segmentation, raw) in with_rows()) {
            let width = segmentation.features().len();
            let batch = segmentation.assign_rows(&raw);
            prop_assert_eq!(batch.len(), raw.len() / width);
            for (row, assignment) in raw.chunks_exact(width).zip(batch) {
                prop_assert_eq!(segmentation.assign(row), assignment);
                let point = segmentation.preparation.points(row);
                prop_assert!(point.iter().all(|coordinate| coordinate.is_finite()));
                let squares: Vec<f64> = segmentation
                    .centroids
                    .rows()
                    .map(|centroid| centroid.iter().zip(&point).map(|(c, p)| (c - p).powi(2)).sum())
                    .collect();
                let least = squares.iter().copied().fold(f64::INFINITY, f64::min);
                let first = squares.iter().position(|square| *square == least);
                prop_assert_eq!(Some(assignment.id as usize), first);
                prop_assert_eq!(assignment.distance, least.sqrt());
                prop_assert!((0.0..=1.0).contains(&assignment.margin));
            }
        }

        #[test]
        fn the_order_of_the_columns_changes_nothing((segmentation, raw) in with_rows(), seed in any::<u64>()) {
            let width = segmentation.features().len();
            let mut order: Vec<usize> = (0..width).collect();
            order.sort_by_key(|column| (*column as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
            let mut moved = segmentation.clone();
            moved.preparation.features = permuted(&order, &segmentation.preparation.features);
            if let Some(pca) = &mut moved.preparation.pca {
                for component in pca {
                    *component = permuted(&order, component);
                }
            } else {
                let rows = segmentation.centroids.rows();
                moved.centroids = Centroids::new(width, rows.flat_map(|row| permuted(&order, row)).collect());
            }
            for row in raw.chunks_exact(width) {
                let (here, there) = (segmentation.assign(row), moved.assign(&permuted(&order, row)));
                // The order of the terms changes the last bits of a sum, which may decide a tie.
                prop_assert!((here.distance - there.distance).abs() <= 1e-9 * (1.0 + here.distance));
                prop_assert!(here.id == there.id || here.margin < 1e-9);
            }
        }
    }
}
