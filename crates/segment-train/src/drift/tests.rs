//! Figures compared with numpy, and invariants for all tables.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::train::progress::Silent;
use segment::prepare::Reference;
use segment::samples::segmentation;

/// The distribution of known values in their deciles, as training counts it.
fn reference(values: &[f32]) -> Reference {
    let mut known: Vec<f32> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    known.sort_by(f32::total_cmp);
    let mut edges: Vec<f64> = (1..10).map(|decile| f64::from(known[decile * known.len() / 10])).collect();
    edges.dedup();
    let missing = (values.len() - known.len()) as u64;
    Reference { counts: psi::bins(&edges, known), edges, missing }
}

/// Segments trained on `balance`, in 0 to 5 as in the fixture, and on a constant.
fn trained_on(balance: &[f32]) -> Segmentation {
    let mut trained = segmentation();
    let width = balance.len() as u64;
    trained.preparation.features[0].reference = Some(reference(balance));
    trained.preparation.features[1].reference =
        Some(Reference { edges: vec![1.0], counts: vec![0, width], missing: 0 });
    trained
}

fn drift_of(segmentation: &Segmentation, balance: &[f32]) -> Drift {
    let purchases = vec![1.0; balance.len()];
    let columns: [(&str, &[f32]); 2] = [("balance", balance), ("purchases", &purchases)];
    let customers = Customers::of_numbers(segmentation, &columns).unwrap();
    measure(segmentation, &customers, "june.csv".into(), DEFAULT_LIMIT, &Silent).unwrap()
}

/// A thousand changed values below 1; every `nth` is missing.
fn thousand(change: fn(f32) -> f32, nth: Option<usize>) -> Vec<f32> {
    let value = |at: usize| change((at * 7919 % 1000) as f32 / 1000.0);
    (0..1000).map(|at| if nth.is_some_and(|nth| at % nth == 0) { f32::NAN } else { value(at) }).collect()
}

#[test]
fn the_psi_agrees_with_numpy_with_a_bin_for_missing_values() {
    let square = |value: f32| value * value;
    for (then, now, expected) in [
        (thousand(|value| value, None), thousand(square, None), 0.380_449_186_583_142),
        (thousand(|value| value, None), thousand(square, Some(20)), 0.600_578_200_353_526_6),
        (thousand(|value| value, Some(50)), thousand(square, Some(20)), 0.396_064_381_637_686_26),
    ] {
        let drift = drift_of(&trained_on(&then), &now);
        let found = drift.features[0].psi.unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        assert_eq!(drift.features[0].verdict, Some(Verdict::Shifted));
        assert!(drift.shifted());
    }
}

#[test]
fn shares_of_segments_are_compared_with_the_sizes_in_the_artefact() {
    // 300 customers near the centroid of segment 0 and 700 near that of segment 1; 6 and 4 in training.
    let now: Vec<f32> = (0..1000).map(|at| if at % 10 < 3 { 1.0 } else { 5.0 }).collect();
    let drift = drift_of(&trained_on(&now), &now);
    assert!((drift.segments.psi - 0.352_941_833_217_573_44).abs() < 1e-12, "{}", drift.segments.psi);
    let shares: Vec<(f64, f64)> =
        drift.segments.shares.iter().map(|segment| (segment.then, segment.now)).collect();
    assert_eq!(shares, [(0.6, 0.3), (0.4, 0.7)]);
    assert_eq!(drift.segments.verdict, Verdict::Shifted);
    // No feature has shifted; the shares alone suffice.
    assert_eq!((drift.shifted_features().count(), drift.shifted()), (0, true));
}

#[test]
fn a_lost_decimal_point_and_values_beyond_the_training_are_counted() {
    let mut now = thousand(|value| 5.0 * value, None);
    now[7] = 875.0;
    now[8] = 6.0;
    now[9] = -0.5;
    now[10] = f32::NAN;
    let drift = drift_of(&trained_on(&thousand(|value| 5.0 * value, None)), &now);
    let balance = &drift.features[0];
    assert_eq!((balance.below, balance.above, balance.far_out), (1, 2, 1));
    assert_eq!((balance.range_then, balance.range_now), ([0.0, 5.0], Some([-0.5, 875.0])));
    assert!((balance.missing_now - 0.001).abs() < 1e-15 && (balance.out_of_range - 0.003).abs() < 1e-15);
    assert_eq!(balance.verdict, Some(Verdict::Stable));
    let suspects: Vec<&str> = drift.suspects().map(|feature| feature.feature.as_str()).collect();
    assert_eq!(suspects, ["balance"]);
    let shown = drift.to_string();
    let line =
        "`balance`: 1 value is at least 100 times the training range (0 to 5): is a decimal point missing?";
    assert!(shown.lines().any(|shown| shown == line), "{shown}");
}

#[test]
fn without_a_distribution_or_a_value_there_is_no_figure() {
    let drift = drift_of(&segmentation(), &[f32::NAN, f32::NAN]);
    let balance = &drift.features[0];
    assert_eq!((balance.psi, balance.verdict, balance.missing_then), (None, None, None));
    assert_eq!((balance.range_now, balance.mean_now), (None, None));
    let shown = drift.to_string();
    assert!(
        shown.contains("train the segments again to compare") && shown.contains("fewer than 1000"),
        "{shown}"
    );
    // A feature that is now always missing has shifted.
    let drift = drift_of(&trained_on(&thousand(|value| value, None)), &[f32::NAN; 1000]);
    assert_eq!(drift.features[0].verdict, Some(Verdict::Shifted));
}

#[test]
fn verdicts_change_at_the_usual_limits() {
    let verdicts = [0.0, 0.099, 0.1, 0.25, 0.2501].map(|psi| Verdict::of(psi).as_str());
    assert_eq!(verdicts, ["stable", "stable", "moderate", "moderate", "shifted"]);
}

#[test]
fn a_file_is_read_for_the_columns_of_the_artefact_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("june.csv");
    fs::write(&path, "id,note,Purchases,balance\na,x,1,5\nb,y,1,unknown\nc,z,1,0\n").unwrap();
    let options = ReadOptions {
        missing: vec!["unknown".to_owned()],
        rename: [("Purchases".to_owned(), "purchases".to_owned())].into(),
        ..ReadOptions::default()
    };
    let found = drift(&segmentation(), &path, &options, DEFAULT_LIMIT, &Silent).unwrap();
    assert_eq!((found.customers, found.trained_on), (3, 10));
    assert!((found.features[0].missing_now - 1.0 / 3.0).abs() < 1e-15);

    fs::write(&path, "id,purchases,ballance\na,1,5\nb,1,5\n").unwrap();
    let error = drift(&segmentation(), &path, &ReadOptions::default(), DEFAULT_LIMIT, &Silent)
        .unwrap_err()
        .to_string();
    assert!(error.contains("june.csv:1: there is no column `balance`"), "{error}");
    for limit in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error =
            drift(&segmentation(), &path, &ReadOptions::default(), limit, &Silent).unwrap_err().to_string();
        assert!(error.starts_with("the PSI limit must be a number above 0, not "), "{error}");
    }
}

#[test]
fn threads_do_not_change_a_digit() {
    let now: Vec<f32> = (0..20_000).map(|at| (at * 7919 % 1000) as f32 / 7.0).collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let drift = pool.install(|| drift_of(&trained_on(&now), &now));
        serde_json::to_string(&drift).unwrap()
    };
    assert_eq!(with(1), with(3));
}

proptest! {
    #[test]
    fn a_table_has_not_drifted_from_itself(
        values in prop::collection::vec(prop_oneof![9 => 0.0..5.0_f32, 1 => Just(f32::NAN)], 30..200),
    ) {
        prop_assume!(values.iter().any(|value| !value.is_nan()));
        let drift = drift_of(&trained_on(&values), &values);
        for feature in &drift.features {
            prop_assert_eq!(feature.psi.map(f64::to_bits), Some(0));
            prop_assert_eq!((feature.below, feature.above, feature.far_out), (0, 0, 0));
        }
        prop_assert_eq!(drift.features[0].missing_then, Some(drift.features[0].missing_now));
        prop_assert_eq!(drift.shifted(), drift.segments.psi > DEFAULT_LIMIT);
    }
}
