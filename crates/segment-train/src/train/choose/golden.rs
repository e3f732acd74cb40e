//! Reference data for tests: the figures of Python in `tests/golden/clustering.json`, written by
//! `tests/golden/clustering.py`, and the data set CC GENERAL.

use std::io::Read;

use ndarray::Array2;
use serde_json::Value;

use crate::train::public_data::public_data;

/// The whole file.
pub(in crate::train) fn read() -> Value {
    serde_json::from_str(include_str!("../../../../../tests/golden/clustering.json")).unwrap()
}

/// A list of numbers.
pub(in crate::train) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// A list of cluster labels, none of which is −1, scikit-learn's label for noise.
pub(in crate::train) fn labels(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|label| label.as_u64().unwrap() as u32).collect()
}

/// A list of rows.
pub(in crate::train) fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

/// Fails if two numbers differ by more than `tolerance`, relative to the larger one or to 1.
#[track_caller]
pub(in crate::train) fn near(found: f64, expected: f64, tolerance: f64) {
    let scale = found.abs().max(expected.abs()).max(1.0);
    assert!((found - expected).abs() <= tolerance * scale, "{found} instead of {expected}");
}

/// CC GENERAL as z-scores, with medians for missing values and ln(1 + x) of the columns in `logged`.
///
/// `None`, with a note, if the data is not available.
pub(in crate::train) fn cc_general(logged: &[usize]) -> Option<Array2<f64>> {
    let mut text = String::new();
    public_data("cc_general/CC_GENERAL.csv.gz")?.read_to_string(&mut text).unwrap();
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').skip(1).map(|field| field.trim().parse().unwrap_or(f64::NAN)).collect())
        .collect();
    let mut points = Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap();
    for (position, mut column) in points.columns_mut().into_iter().enumerate() {
        let mut known: Vec<f64> = column.iter().copied().filter(|value| !value.is_nan()).collect();
        known.sort_by(f64::total_cmp);
        let median = f64::midpoint(known[(known.len() - 1) / 2], known[known.len() / 2]);
        column.mapv_inplace(|value| if value.is_nan() { median } else { value });
        if logged.contains(&position) {
            column.mapv_inplace(f64::ln_1p);
        }
        let (mean, deviation) = (column.mean().unwrap(), column.std(0.0));
        column.mapv_inplace(|value| (value - mean) / deviation);
    }
    Some(points)
}

/// The columns of balances, sums, counts and limits, from `BALANCE` to `MINIMUM_PAYMENTS`.
///
/// The others are frequencies, a share and `TENURE`, which is skewed to the left.
pub(in crate::train) const AMOUNTS_AND_COUNTS: [usize; 10] = [0, 2, 3, 4, 5, 10, 11, 12, 13, 14];
