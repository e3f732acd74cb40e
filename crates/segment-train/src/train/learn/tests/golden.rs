//! Comparison with numpy, scipy and scikit-learn; `tests/golden/preparation.py` writes the values.

use serde_json::Value;

use super::*;

/// Relative to the size of the values, which are sums of a few hundred 64-bit floats.
const TOLERANCE: f64 = 1e-11;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../../../../tests/golden/preparation.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            vec![value.as_f64().unwrap_or(f64::NAN)]
        }
    }
}

fn names(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn golden_table(golden: &Value) -> Table {
    let values = numbers(&golden["rows"]).into_iter().map(|value| value as f32).collect();
    let names = names(&golden["names"]);
    Table { file: "customers.csv".into(), equals: vec![None; names.len()], names, values, ..Table::default() }
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0_f64, |size, value| size.max(value.abs()));
    for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= TOLERANCE * size,
            "{what}, value {position}: {found}, not {expected}"
        );
    }
}

/// Learns with `settings` and compares statistics and points with those under `case`.
fn check(case: &str, settings: &PrepareSettings) {
    let golden = golden();
    let (table, expected) = (golden_table(&golden), &golden[case]);
    let learned = learn(&table, settings).unwrap();
    let features = &learned.preparation.features;
    let of = |value: fn(&FeaturePreparation) -> f64| features.iter().map(value).collect::<Vec<_>>();
    assert_close(&of(|feature| feature.impute), &numbers(&expected["impute"]), &format!("{case}: impute"));
    assert_close(&of(|feature| feature.mean), &numbers(&expected["mean"]), &format!("{case}: mean"));
    let deviations = of(|feature| feature.deviation);
    assert_close(&deviations, &numbers(&expected["deviation"]), &format!("{case}: deviation"));
    let winsor: Vec<f64> = features.iter().filter_map(|feature| feature.winsor).flatten().collect();
    let bounds = expected.get("winsor").map(numbers).unwrap_or_default();
    assert_close(&winsor, &bounds, &format!("{case}: winsor"));
    let correlation = learned.correlation.concat();
    assert_close(&correlation, &numbers(&expected["correlation"]), &format!("{case}: correlation"));
    assert_eq!(learned.variance_kept.is_some(), expected.get("variance_kept").is_some());
    if let (Some(components), Some(kept)) = (&learned.preparation.pca, learned.variance_kept) {
        assert_close(&components.concat(), &numbers(&expected["pca"]), &format!("{case}: pca"));
        assert_close(&[kept], &numbers(&expected["variance_kept"]), &format!("{case}: variance_kept"));
    }
    let points = numbers(&expected["points"]);
    let found = learned.preparation.points(&learned.raw(table.values.clone(), table.names.len()));
    assert_close(&found[..points.len()], &points, &format!("{case}: points"));
}

#[test]
fn facts_and_references_of_columns() {
    let golden = golden();
    let learned = by_default(&golden_table(&golden)).unwrap();
    let fact =
        |value: fn(&Column) -> Option<f64>| learned.columns.iter().filter_map(value).collect::<Vec<_>>();
    assert_close(&fact(|column| column.skewness), &numbers(&golden["skewness"]), "skewness");
    assert_close(&fact(|column| column.mean), &numbers(&golden["means"]), "means");
    let logged: Vec<&str> = learned
        .preparation
        .features
        .iter()
        .filter(|feature| feature.log1p)
        .map(|feature| feature.name.as_str())
        .collect();
    assert_eq!(logged, names(&golden["log1p"]));
    for (feature, expected) in
        learned.preparation.features.iter().zip(golden["reference"].as_array().unwrap())
    {
        let reference = serde_json::to_value(feature.reference.as_ref().unwrap()).unwrap();
        assert_eq!(&reference, expected, "{}", feature.name);
    }
}

#[test]
fn median_logarithms_and_z_scores() {
    check("default", &PrepareSettings::default());
}

#[test]
fn mean_without_logarithms() {
    check(
        "mean",
        &PrepareSettings { impute: Impute::Mean, log1p: Log1p::Never, ..PrepareSettings::default() },
    );
}

#[test]
fn constant_and_named_logarithms() {
    let log1p = Log1p::Of(vec!["balance".into()]);
    check(
        "constant",
        &PrepareSettings { impute: Impute::Constant(12.5), log1p, ..PrepareSettings::default() },
    );
}

#[test]
fn winsorised() {
    check("winsorised", &PrepareSettings { winsorise: Some([0.05, 0.9]), ..PrepareSettings::default() });
}

#[test]
fn min_max() {
    check("min_max", &PrepareSettings { scale: Scale::MinMax, ..PrepareSettings::default() });
}

#[test]
fn principal_components() {
    check("components", &PrepareSettings { variance_kept: Some(0.85), ..PrepareSettings::default() });
    let settings = PrepareSettings {
        log1p: Log1p::Never,
        winsorise: Some([0.01, 0.99]),
        scale: Scale::MinMax,
        variance_kept: Some(0.9),
        ..PrepareSettings::default()
    };
    check("components_of_min_max", &settings);
}
