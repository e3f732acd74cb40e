//! What is learned, compared with scikit-learn and checked for any table and settings.

mod golden;
mod properties;

use super::*;
use crate::train::settings::Impute;
use segment::prepare::{FeaturePreparation, ImputedWith, Scale};

fn by_default(table: &Table) -> Result<Learned, Problems> {
    learn(table, &PrepareSettings::default())
}

fn logged(learned: &Learned) -> Vec<bool> {
    learned.preparation.features.iter().map(|feature| feature.log1p).collect()
}

/// Two correlated amounts, a signed value and a flag.
fn customers() -> Table {
    Table::of_numbers(&[
        ("balance", &[0.0, 1.0, 1.0, 2.0, 900.0, f32::NAN]),
        ("limit", &[1.0, 3.0, 3.0, 5.0, 1801.0, 3.0]),
        ("signed", &[-1.0, 4.0, -2.0, 2.0, 3.0, 9.0]),
        ("flag", &[0.0, 1.0, 0.0, 0.0, 1.0, 1.0]),
    ])
}

#[test]
fn a_missing_value_becomes_the_median_and_the_whole_column_is_standardised() {
    let learned = by_default(&Table::of_numbers(&[("balance", &[-1.0, f32::NAN, 3.0, 2.0])])).unwrap();
    let feature = &learned.preparation.features[0];
    assert_eq!((feature.impute.to_bits(), feature.range), (2.0_f64.to_bits(), [-1.0, 3.0]));
    let points = learned.preparation.points(&[-1.0, f32::NAN, 3.0, 2.0]);
    assert!(statistics::mean(&points).abs() < 1e-12);
    assert!((statistics::central_moment(&points, 2) - 1.0).abs() < 1e-12);
}

#[test]
fn only_skewed_amounts_that_are_never_negative_are_logged() {
    let columns: [(&str, &[f32]); 4] = [
        ("amount", &[0.0, 1.0, 1.0, 2.0, 900.0]),
        ("share", &[0.0, 0.0, 0.0, 0.0, 1.0]),
        ("signed", &[-1.0, 1.0, 1.0, 2.0, 900.0]),
        ("even", &[10.0, 20.0, 30.0, 40.0, 50.0]),
    ];
    let table = Table::of_numbers(&columns);
    assert_eq!(logged(&by_default(&table).unwrap()), [true, false, false, false]);
    let never = PrepareSettings { log1p: Log1p::Never, ..PrepareSettings::default() };
    assert_eq!(logged(&learn(&table, &never).unwrap()), [false; 4]);
    let named = PrepareSettings { log1p: Log1p::Of(vec!["even".into()]), ..PrepareSettings::default() };
    assert_eq!(logged(&learn(&table, &named).unwrap()), [false, false, false, true]);
    // The imputed value needs a logarithm, too.
    let negative = PrepareSettings { impute: Impute::Constant(-1.0), ..PrepareSettings::default() };
    assert_eq!(logged(&learn(&table, &negative).unwrap()), [false; 4]);
}

#[test]
fn all_constant_and_empty_columns_are_named() {
    let nothing = [f32::NAN; 3];
    let columns: [(&str, &[f32]); 4] = [
        ("void", &nothing),
        ("sound", &[1.0, 2.0, 3.0]),
        ("same", &[0.1; 3]),
        ("zero", &[0.0, -0.0, f32::NAN]),
    ];
    let found = by_default(&Table::of_numbers(&columns)).unwrap_err().to_string();
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 3, "{found}");
    assert!(found.contains("customers.csv:1: column `void`: no row has a value; remove the column"));
    assert!(found.contains("column `same`: every value is 0.1"), "{found}");
    assert!(found.contains("column `zero`: every value is"), "{found}");
}

#[test]
fn settings_that_do_not_fit_the_table_are_all_named() {
    let settings = PrepareSettings {
        log1p: Log1p::Of(vec!["blance".into(), "signed".into()]),
        impute_by_feature: [("tenure".to_owned(), Impute::Mean)].into(),
        ..PrepareSettings::default()
    };
    let found = learn(&customers(), &settings).unwrap_err().to_string();
    for expected in [
        "customers.csv:1: `impute_by_feature` names `tenure`, but there is no such column",
        "customers.csv:1: `log1p` names `blance`, but there is no such column; did you mean `balance`?",
        "customers.csv:1: column `signed`: `log1p` names it, but its minimum is -2",
    ] {
        assert!(found.contains(expected), "{expected}\nnot in\n{found}");
    }
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn values_that_no_scale_can_hold_are_refused() {
    let settings = PrepareSettings {
        impute: Impute::Constant(1e300),
        log1p: Log1p::Never,
        ..PrepareSettings::default()
    };
    let found = learn(&customers(), &settings).unwrap_err().to_string();
    assert!(
        found.contains("column `balance`: its values, from 0 to 900, are too close together or too far"),
        "{found}"
    );
}

#[test]
fn the_imputation_may_differ_by_feature() {
    let settings = PrepareSettings {
        impute: Impute::Mean,
        impute_by_feature: [("limit".to_owned(), Impute::Constant(7.0)), ("flag".to_owned(), Impute::Median)]
            .into(),
        ..PrepareSettings::default()
    };
    let learned = learn(&customers(), &settings).unwrap();
    let features = &learned.preparation.features;
    let found: Vec<(f64, ImputedWith)> =
        features.iter().map(|feature| (feature.impute, feature.imputed_with)).collect();
    assert_eq!(
        found,
        [
            (180.8, ImputedWith::Mean),
            (7.0, ImputedWith::Constant),
            (2.5, ImputedWith::Mean),
            (0.5, ImputedWith::Median)
        ]
    );
}

#[test]
fn a_missing_text_is_0_as_any_other_text() {
    let source = ColumnSource { header: "job=admin.", name: "job", equals: Some("admin.") };
    let settings = PrepareSettings { impute: Impute::Mean, ..PrepareSettings::default() };
    let learned = column::learn(source, vec![1.0, 0.0, f32::NAN, 0.0, 1.0], &settings).unwrap();
    let feature = &learned.feature;
    assert_eq!((&*feature.name, feature.equals.as_deref()), ("job", Some("admin.")));
    assert_eq!((feature.impute.to_bits(), feature.imputed_with), (0.0_f64.to_bits(), ImputedWith::Constant));
    let served = |text| feature.apply(feature.raw_of_text(text)).to_bits();
    assert_eq!(served(Some("admin.")), feature.apply(1.0).to_bits());
    assert_eq!(served(Some("retired")), feature.apply(0.0).to_bits());
    assert_eq!(served(None), feature.apply(0.0).to_bits());
    assert_eq!((learned.facts.kind, &*learned.facts.name), ("text", "job=admin."));
}

#[test]
fn settings_cannot_name_a_column_of_text() {
    let sources = [ColumnSource { header: "job=admin.", name: "job", equals: Some("admin.") }];
    for name in ["job", "job=admin."] {
        let settings = PrepareSettings { log1p: Log1p::Of(vec![name.into()]), ..PrepareSettings::default() };
        let found = unknown_features("customers.csv", &sources, &settings).to_string();
        assert!(found.contains(&format!("`log1p` names `{name}`, which is text")), "{found}");
    }
}

#[test]
fn bounds_that_would_make_a_column_constant_are_not_set() {
    let mut rare = [0.0_f32; 200];
    rare[7] = 3.0;
    let even: Vec<f32> = (0..200).map(|row| row as f32).collect();
    let settings = PrepareSettings { winsorise: Some([0.01, 0.99]), ..PrepareSettings::default() };
    let learned = learn(&Table::of_numbers(&[("rare", &rare), ("even", &even)]), &settings).unwrap();
    assert_eq!(learned.columns[0].winsor, None);
    assert_eq!(learned.columns[1].winsor, learned.preparation.features[1].winsor);
    let [low, high] = learned.columns[1].winsor.unwrap();
    assert!((low - 1.99).abs() < 1e-12 && (high - 197.01).abs() < 1e-12, "{low} {high}");
}

#[test]
fn a_redundant_column_is_left_out_and_named() {
    let settings = PrepareSettings { correlation_limit: Some(0.95), ..PrepareSettings::default() };
    let table = customers();
    let learned = learn(&table, &settings).unwrap();
    assert_eq!(learned.kept, [0, 2, 3]);
    assert_eq!(learned.dropped.len(), 1);
    assert_eq!(learned.dropped[0].feature, "limit");
    let reason = learned.columns[1].left_out.as_deref().unwrap();
    assert!(reason.starts_with("correlates with `balance` (r = "), "{reason}");
    assert!(reason.ends_with("), above the limit of 0.95"), "{reason}");
    assert_eq!(learned.dropped[0].reason, reason);
    let raw = learned.raw(table.values.clone(), table.names.len());
    assert_eq!(raw[..6], [0.0, -1.0, 0.0, 1.0, 4.0, 1.0]);
    assert_eq!((raw.len(), learned.correlation.len()), (18, 3));
    // Without a column left out, the values of the table are returned unchanged.
    let (all, place) = (by_default(&table).unwrap(), table.values.as_ptr());
    let raw = all.raw(table.values, table.names.len());
    assert_eq!(raw.as_ptr(), place);
}

#[test]
fn the_facts_of_a_column_are_listed() {
    let learned = by_default(&customers()).unwrap();
    let balance = &learned.columns[0];
    assert_eq!((balance.missing, balance.distinct, balance.range), (1, 4, Some([0.0, 900.0])));
    assert_eq!((balance.mean, balance.impute, balance.log1p), (Some(180.8), Some(1.0), true));
    assert!((balance.skewness.unwrap() - 1.5).abs() < 0.01, "{balance:?}");
}

#[test]
fn the_scale_is_that_of_the_settings() {
    let settings = PrepareSettings { scale: Scale::MinMax, ..PrepareSettings::default() };
    let learned = learn(&customers(), &settings).unwrap();
    let flag = &learned.preparation.features[3];
    assert_eq!((flag.mean.to_bits(), flag.deviation.to_bits()), (0.0_f64.to_bits(), 1.0_f64.to_bits()));
}
