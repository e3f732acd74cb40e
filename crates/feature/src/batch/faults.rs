//! Values that their features cannot have: the first of each row, described only on request.

use super::{BatchError, FeatureBatch, FeatureType, column_field};

/// The first fault of each row.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// One entry per row, or empty while no row has a fault: nearly every batch is valid.
    of_rows: Vec<Option<Fault>>,
}

/// Where the value is, and the type of its feature.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Dense { column: usize, wanted: FeatureType },
    Column { column: usize, wanted: FeatureType },
}

impl Faults {
    /// Records a fault of one of `rows` rows, unless the row has one already.
    pub(super) fn add(&mut self, row: usize, rows: usize, fault: Fault) {
        if self.of_rows.is_empty() {
            self.of_rows = vec![None; rows];
        }
        if let Some(slot) = self.of_rows.get_mut(row) {
            slot.get_or_insert(fault);
        }
    }

    pub(super) fn of(&self, row: usize) -> Option<Fault> {
        self.of_rows.get(row).copied().flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of_rows.is_empty()
    }
}

impl Fault {
    /// The problem, with the path of the value within the batch.
    pub(super) fn describe(self, batch: &FeatureBatch, row: usize) -> BatchError {
        let (field, name, value, wanted) = match self {
            Self::Dense { column, wanted } => {
                let index = row * batch.dense_names.len() + column;
                let value = batch.dense_values[index].to_string();
                (format!("dense.values[{index}]"), &batch.dense_names[column], value, wanted)
            }
            Self::Column { column, wanted } => {
                let sent = &batch.columns[column];
                let field = format!("{}[{row}]", column_field(column, &sent.values));
                let value = sent.values.value(row).as_f64().unwrap_or(f64::NAN).to_string();
                (field, sent.name.as_str(), value, wanted)
            }
        };
        let wanted = match wanted {
            FeatureType::Int => "a whole number of 64 bits",
            FeatureType::Bool => "0 or 1",
            FeatureType::Float | FeatureType::String => "finite or NaN (missing)",
        };
        BatchError::new(field, format!("row {row} of feature `{name}` is {value}; it must be {wanted}"))
    }
}
