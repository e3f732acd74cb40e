//! Values that an earlier version never saw, such as those that lost their decimal point (0.875 as 875).

use crate::segment::Segmentation;
use crate::segment::train::table::Table;

/// Known values outside the range that `previous` was trained on, per column of the table; `None` of a column that is none
/// of its features.
pub(in crate::segment) fn out_of_range(previous: &Segmentation, table: &Table) -> Vec<Option<u64>> {
    let count = |(index, header): (usize, &String)| {
        let feature = previous.features().iter().find(|feature| feature.label() == header.as_str())?;
        Some(table.column(index).filter(|raw| feature.is_out_of_range(*raw)).count() as u64)
    };
    table.names.iter().enumerate().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::assign::tests::segmentation;

    #[test]
    fn a_lost_decimal_point_is_counted() {
        // Trained on 0 to 5.
        let table = Table {
            file: "customers.csv".into(),
            names: vec!["purchases".into(), "limit".into(), "balance".into()],
            values: vec![0.875, 9.0, 5.0, 875.0, 9.0, f32::NAN, -0.5, 9.0, 0.0],
            customers: None,
        };
        assert_eq!(out_of_range(&segmentation(), &table), [Some(2), None, Some(0)]);
    }
}
