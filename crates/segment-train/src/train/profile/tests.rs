use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use segment::artefact::Segment;
use segment::assign::Centroids;
use segment::prepare::Preparation;

/// A table and what was trained on it.
#[derive(Debug)]
pub(super) struct Trained {
    pub(super) segmentation: Segmentation,
    raw: Vec<f32>,
    labels: Vec<u32>,
}

impl Trained {
    pub(super) fn rows(&self) -> Rows<'_> {
        Rows { raw: &self.raw, customers: None, labels: &self.labels }
    }
}

/// Without silhouettes.
pub(super) fn evidence() -> Evidence<'static> {
    Evidence { silhouette_rows: &[], silhouettes: &[], jaccard: &[1.0, 0.9, 0.8] }
}

fn trained(
    features: Vec<FeaturePreparation>,
    centroids: Vec<f64>,
    raw: Vec<f32>,
    labels: Vec<u32>,
) -> Trained {
    let k = centroids.len() / features.len();
    let size = |id: usize| labels.iter().filter(|label| **label as usize == id).count() as u64;
    let segmentation = Segmentation {
        centroids: Centroids::new(features.len(), centroids),
        preparation: Preparation { features, pca: None },
        segments: (0..k).map(|id| Segment { name: format!("Segment {id}"), size: size(id) }).collect(),
        inertia: 1.0,
        training: serde_json::from_value(
            serde_json::json!({ "rows": labels.len(), "k": k, "seed": 42, "n_init": 10 }),
        )
        .unwrap(),
    };
    Trained { segmentation, raw, labels }
}

fn plain(name: &str) -> FeaturePreparation {
    serde_json::from_value(serde_json::json!({
        "name": name, "impute": 0.0, "log1p": false, "mean": 0.0, "deviation": 1.0, "range": [-9.0, 9.0],
    }))
    .unwrap()
}

/// Two groups on a grid of whole numbers: many ties, many identical rows.
pub(super) fn blobs(rows: usize) -> Trained {
    let raw = (0..rows).flat_map(|row| {
        let group = row % 2;
        [row % 3 + 6 * group, row / 3 % 3 + 6 * group, row / 7 % 2].map(|value| value as f32)
    });
    let labels = (0..rows).map(|row| (row % 2) as u32).collect();
    let features = ["one", "two", "three"].map(plain).to_vec();
    trained(features, vec![1.0, 1.0, 0.5, 7.0, 7.0, 0.5], raw.collect(), labels)
}

#[derive(Deserialize)]
struct Golden {
    rows: Vec<Vec<Option<f32>>>,
    labels: Vec<u32>,
    preparation: Vec<FeaturePreparation>,
    population: Vec<GoldenPopulation>,
    segments: Vec<GoldenSegment>,
    correlation: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct GoldenPopulation {
    name: String,
    mean: f64,
    median: f64,
    deviation: f64,
    explained: f64,
}

#[derive(Deserialize)]
struct GoldenSegment {
    size: u64,
    share: f64,
    centroid: Vec<f64>,
    features: Vec<GoldenFeature>,
    distinguishing: Vec<usize>,
    nearest: Vec<String>,
}

#[derive(Deserialize)]
struct GoldenFeature {
    mean: f64,
    median: f64,
    z: f64,
    lift: Option<f64>,
    difference: f64,
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{found} is not {expected}");
}

#[test]
fn the_figures_are_those_of_pandas() {
    let golden = include_str!("../../../../../tests/golden/profile.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let raw = golden.rows.iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect();
    let centroids = golden.segments.iter().flat_map(|segment| segment.centroid.clone()).collect();
    let table = trained(golden.preparation, centroids, raw, golden.labels);
    let found = profile(&table.segmentation, &table.rows(), &evidence());

    for (found, expected) in found.features.iter().zip(&golden.population) {
        assert_eq!(found.name, expected.name);
        near(found.mean, expected.mean);
        near(found.median, expected.median);
        near(found.deviation, expected.deviation);
        near(found.explained, expected.explained);
    }
    assert_eq!(found.segments.len(), golden.segments.len());
    for (found, expected) in found.segments.iter().zip(&golden.segments) {
        assert_eq!(found.size, expected.size);
        near(found.share, expected.share);
        assert_eq!(found.distinguishing, expected.distinguishing);
        assert_eq!(found.nearest, expected.nearest);
        for (found, expected) in found.features.iter().zip(&expected.features) {
            near(found.mean, expected.mean);
            near(found.median, expected.median);
            near(found.z, expected.z);
            near(found.difference, expected.difference);
            assert_eq!(found.lift.is_some(), expected.lift.is_some());
            near(found.lift.unwrap_or(0.0), expected.lift.unwrap_or(0.0));
        }
    }
    for (found, expected) in found.correlation.iter().flatten().zip(golden.correlation.iter().flatten()) {
        near(*found, *expected);
    }
}

#[test]
fn segments_without_any_overlap_differ_by_a_finite_amount() {
    let table = trained(vec![plain("a")], vec![1.0, 2.0], vec![1.0, 1.0, 2.0, 2.0], vec![0, 0, 1, 1]);
    let found = profile(&table.segmentation, &table.rows(), &evidence());
    near(found.segments[1].features[0].difference, 2_000.0);
    near(found.features[0].explained, 1.0);
    assert_eq!(found.segments[1].proposed, "Very high a");
}

#[test]
fn the_silhouette_of_a_segment_is_the_mean_over_its_known_rows() {
    let evidence = Evidence { silhouette_rows: &[1, 2, 3], silhouettes: &[0.5, 0.25, 0.75], jaccard: &[] };
    assert_eq!(mean_silhouettes(&[0, 0, 1, 1], &evidence, 3), [0.5, 0.5, 0.0]);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let table = blobs(20_000);
    let found = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| profile(&table.segmentation, &table.rows(), &evidence()))
    };
    let one = found(1);
    assert_eq!(one.segments[0].nearest.len(), 5);
    assert_eq!(found(3), one);
}

proptest! {
    #[test]
    fn profiles_are_finite_and_consistent(
        rows in prop::collection::vec((prop::array::uniform3(prop_oneof![
            6 => -50.0..50.0_f32, 1 => Just(f32::NAN), 3 => Just(0.0_f32)
        ]), 0..3_u32), 3..60),
    ) {
        let raw = rows.iter().flat_map(|(row, _)| *row).collect();
        let labels = rows.iter().map(|(_, label)| *label).collect();
        let features = ["A_b", "a b", "c"].map(plain).to_vec();
        let table = trained(features, vec![0.0; 9], raw, labels);
        let found = profile(&table.segmentation, &table.rows(), &evidence());
        let shares: f64 = found.segments.iter().map(|segment| segment.share).sum();
        prop_assert!((shares - 1.0).abs() < 1e-12);
        let mut names: Vec<&str> = found.segments.iter().map(|segment| &*segment.proposed).collect();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), 3);
        for feature in &found.features {
            prop_assert!((0.0..=1.0).contains(&feature.explained));
        }
        for segment in &found.segments {
            prop_assert!(segment.nearest.len() as u64 == segment.size.min(5));
            for feature in &segment.features {
                let values = [feature.mean, feature.median, feature.z, feature.difference];
                prop_assert!(values.iter().all(|value| value.is_finite()), "{:?}", feature);
            }
        }
        prop_assert!(found.correlation.iter().flatten().all(|value| (-1.0..=1.0).contains(value)));
    }
}
