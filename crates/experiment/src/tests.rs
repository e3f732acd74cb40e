//! Tests of more than one module, and what several of them need.

mod assign;
mod holdout;
mod read;
pub(crate) mod sample;

pub(crate) use sample::{experiments, policy_with};

/// Customers of the tests of distribution.
pub(crate) const CUSTOMERS: usize = 100_000;

/// The id of a customer, as a bank numbers them.
pub(crate) fn id(number: usize) -> String {
    format!("C{number:06}")
}

/// What χ² with this many degrees of freedom exceeds once in 10,000 times.
///
/// Source: Wilson and Hilferty (1931); at most 7 % above the quantile, and 0.1 % for 99 degrees of freedom.
pub(crate) fn limit(degrees: usize) -> f64 {
    const NORMAL: f64 = 3.719_016_485;
    let part = 2.0 / (9.0 * degrees as f64);
    degrees as f64 * (1.0 - part + NORMAL * part.sqrt()).powi(3)
}

/// χ² of counts against expected counts.
pub(crate) fn chi_square(counts: &[usize], expected: &[f64]) -> f64 {
    assert_eq!(counts.len(), expected.len());
    counts.iter().zip(expected).map(|(count, expected)| (*count as f64 - expected).powi(2) / expected).sum()
}

/// Asserts that the rows and columns of a table of counts are independent.
pub(crate) fn assert_independent<const COLUMNS: usize>(table: &[[usize; COLUMNS]], what: &str) {
    let total: usize = table.iter().flatten().sum();
    let columns: Vec<usize> = (0..COLUMNS).map(|column| table.iter().map(|row| row[column]).sum()).collect();
    let expected: Vec<f64> = table
        .iter()
        .flat_map(|row| {
            let row: usize = row.iter().sum();
            columns.iter().map(move |column| row as f64 * *column as f64 / total as f64)
        })
        .collect();
    let counts: Vec<usize> = table.iter().flatten().copied().collect();
    let statistic = chi_square(&counts, &expected);
    let limit = limit((table.len() - 1) * (COLUMNS - 1));
    assert!(statistic < limit, "{what}: χ² {statistic} above {limit}");
}
