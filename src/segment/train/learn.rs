//! What the preparation learns from a table: medians, logarithms, means and deviations.
//!
//! Each statistic is taken of what serving will see: 32-bit raw values, put through [`FeaturePreparation::apply`].

use super::table::Table;
use crate::document::Problems;
use crate::segment::prepare::{FeaturePreparation, Preparation};

/// A column more skewed than this is taken as ln(1 + x) …
const LOG1P_SKEWNESS: f64 = 1.0;

/// … if its 99th percentile is above this: shares and frequencies, which end at 1, stay as they are.
const LOG1P_PERCENTILE_99: f64 = 1.0;

/// The preparation of a table: median imputation, `log1p` on skewed columns, z-scores.
///
/// # Errors
/// Every column that has no value at all, or only one value.
pub(super) fn learn(table: &Table) -> Result<Preparation, Problems> {
    let mut problems = Problems::new();
    let mut features = Vec::with_capacity(table.names.len());
    for (index, name) in table.names.iter().enumerate() {
        match learn_feature(name, table, index) {
            Ok(feature) => features.push(feature),
            Err(message) => problems.push(table.file.clone(), Some(1), format!("column `{name}`: {message}")),
        }
    }
    problems.into_result(Preparation { features, pca: None })
}

fn learn_feature(name: &str, table: &Table, index: usize) -> Result<FeaturePreparation, String> {
    let known = table.column(index).filter(|value| !value.is_nan());
    let mut known: Vec<f64> = known.map(f64::from).collect();
    known.sort_by(f64::total_cmp);
    let (Some(&least), Some(&greatest)) = (known.first(), known.last()) else {
        return Err("no row has a value; remove the column".to_owned());
    };
    // Asked of the values themselves: rounding can give a constant column a deviation that is not quite 0.
    if least >= greatest {
        return Err(format!("every value is {least}, which tells no customers apart; remove the column"));
    }
    let mut feature = FeaturePreparation {
        name: name.to_owned(),
        impute: quantile(&known, 0.5),
        winsor: None,
        log1p: least >= 0.0
            && quantile(&known, 0.99) > LOG1P_PERCENTILE_99
            && skewness(&known) > LOG1P_SKEWNESS,
        mean: 0.0,
        deviation: 1.0,
        range: [least, greatest],
    };
    let prepared: Vec<f64> = table.column(index).map(|raw| feature.apply(raw)).collect();
    feature.mean = mean(&prepared);
    feature.deviation = central_moment(&prepared, 2).sqrt();
    Ok(feature)
}

/// The quantile at `share` (0..=1) of values in ascending order, linear between neighbours; the values are not empty.
/// Source: Hyndman & Fan, "Sample quantiles in statistical packages" (1996), type 7, as `numpy.quantile`.
fn quantile(ascending: &[f64], share: f64) -> f64 {
    let position = share * (ascending.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(ascending.len() - 1);
    let (low, high) = (ascending[below], ascending[above]);
    low + (position - below as f64) * (high - low)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean of the `order`-th powers of the differences from the mean; order 2 is the population variance.
fn central_moment(values: &[f64], order: i32) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(order)).sum::<f64>() / values.len() as f64
}

/// The population skewness m3 / m2^1.5 (Fisher and Pearson's g1) of values that are not all equal.
fn skewness(values: &[f64]) -> f64 {
    central_moment(values, 3) / central_moment(values, 2).powf(1.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_agree_with_numpy_and_scipy() {
        // numpy.quantile, numpy.std and scipy.stats.skew of these five numbers.
        let values = [1.0, 2.0, 3.0, 4.0, 10.0];
        assert!((quantile(&values, 0.99) - 9.76).abs() < 1e-12);
        assert!((quantile(&values, 0.5) - 3.0).abs() < 1e-12);
        assert!((central_moment(&values, 2).sqrt() - 3.162_277_660_168_379_5).abs() < 1e-12);
        assert!((skewness(&values) - 1.138_419_957_660_616_6).abs() < 1e-12);
    }

    #[test]
    fn a_missing_value_becomes_the_median_and_the_whole_column_is_standardised() {
        let preparation = learn(&Table::of_numbers(&[("balance", &[-1.0, f32::NAN, 3.0, 2.0])])).unwrap();
        let feature = &preparation.features[0];
        assert_eq!((feature.impute.to_bits(), feature.range), (2.0_f64.to_bits(), [-1.0, 3.0]));
        let points = preparation.points(&[-1.0, f32::NAN, 3.0, 2.0]);
        assert!(mean(&points).abs() < 1e-12);
        assert!((central_moment(&points, 2) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn only_skewed_amounts_that_are_never_negative_are_logged() {
        let preparation = learn(&Table::of_numbers(&[
            ("amount", &[0.0, 1.0, 1.0, 2.0, 900.0]),
            ("share", &[0.0, 0.0, 0.0, 0.0, 1.0]),
            ("signed", &[-1.0, 1.0, 1.0, 2.0, 900.0]),
            ("even", &[10.0, 20.0, 30.0, 40.0, 50.0]),
        ]))
        .unwrap();
        let logged: Vec<bool> = preparation.features.iter().map(|feature| feature.log1p).collect();
        assert_eq!(logged, [true, false, false, false]);
    }

    #[test]
    fn columns_that_say_nothing_are_all_named() {
        let nothing = [f32::NAN; 3];
        let columns: [(&str, &[f32]); 4] = [
            ("void", &nothing),
            ("sound", &[1.0, 2.0, 3.0]),
            ("same", &[0.1; 3]),
            ("zero", &[0.0, -0.0, f32::NAN]),
        ];
        let found = learn(&Table::of_numbers(&columns)).unwrap_err().to_string();
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(lines.len(), 3, "{found}");
        assert!(found.contains("customers.csv:1: column `void`: no row has a value; remove the column"));
        assert!(found.contains("column `same`: every value is 0.1"), "{found}");
        assert!(found.contains("column `zero`: every value is"), "{found}");
    }
}
