//! Values that an earlier version never saw, such as those that lost their decimal point (0.875 as 875).

use super::Learned;
use crate::segment::Segmentation;
use crate::segment::train::table::Table;

impl Learned {
    /// Notes in the columns how many of their values are outside the range that `previous` was trained on.
    pub(in crate::segment::train) fn note_out_of_range(&mut self, previous: &Segmentation, table: &Table) {
        let counts = out_of_range(previous, table);
        for (name, count) in table.names.iter().zip(counts) {
            if let Some(column) = self.columns.iter_mut().find(|column| column.name == *name) {
                column.out_of_range = count;
            }
        }
    }
}

/// Known values outside the range that `previous` was trained on, per column of the table; `None` of a column that is none
/// of its features.
fn out_of_range(previous: &Segmentation, table: &Table) -> Vec<Option<u64>> {
    let count = |(index, header): (usize, &String)| {
        let feature = previous.features().iter().find(|feature| feature.label() == header.as_str())?;
        Some(table.column(index).filter(|raw| feature.is_out_of_range(*raw)).count() as u64)
    };
    table.names.iter().enumerate().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::super::learn;
    use super::*;
    use crate::segment::assign::tests::segmentation;
    use crate::segment::train::settings::PrepareSettings;

    #[test]
    fn a_lost_decimal_point_is_counted() {
        // Trained on 0 to 5.
        let table = Table::of_numbers(&[
            ("purchases", &[0.875, 875.0, -0.5]),
            ("limit", &[9.0, 9.0, 9.0]),
            ("balance", &[5.0, f32::NAN, 0.0]),
        ]);
        assert_eq!(out_of_range(&segmentation(), &table), [Some(2), None, Some(0)]);
        let mut learned = learn(&table_that_differs(), &PrepareSettings::default()).unwrap();
        learned.note_out_of_range(&segmentation(), &table_that_differs());
        let counts: Vec<Option<u64>> = learned.columns.iter().map(|column| column.out_of_range).collect();
        assert_eq!(counts, [Some(1), None]);
    }

    fn table_that_differs() -> Table {
        Table::of_numbers(&[("balance", &[0.875, 875.0]), ("age", &[20.0, 30.0])])
    }
}
