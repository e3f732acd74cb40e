//! Values outside the training range of the previous version, such as those without their decimal point.

use super::Learned;
use crate::train::table::Table;
use segment::Segmentation;

impl Learned {
    /// Records in each column how many of its values are outside the training range of `previous`.
    pub(in crate::train) fn note_out_of_range(&mut self, previous: &Segmentation, table: &Table) {
        let counts = out_of_range(previous, table);
        for (name, count) in table.names.iter().zip(counts) {
            if let Some(column) = self.columns.iter_mut().find(|column| column.name == *name) {
                column.out_of_range = count;
            }
        }
    }
}

/// Known values outside the training range of `previous`, per column of the table.
///
/// `None` for a column that is not a feature of `previous`.
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
    use crate::train::settings::PrepareSettings;
    use segment::samples::segmentation;

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
