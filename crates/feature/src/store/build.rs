//! Builds a table row by row from any format.
//!
//! After the first problem the table is not used, but the rest of the file is still checked for problems.

use super::columns::Columns;
use super::findings::{Findings, shown};
use super::packed::{ColumnKind, Packed, PackedRows};
use super::texts::{Added, TextIndex};
use super::{Column, CustomerTable, LoadReport};
use crate::{Feature, FeatureType, ValueRef};
use document::Problems;
use table::NOT_UTF8;

/// The longest customer id, in bytes.
const ID_BYTES: usize = 256;

/// A table under construction.
pub(super) struct TableBuilder<'s> {
    features: &'s [Feature],
    rows: PackedRows,
    ids: TextIndex,
    dictionaries: Vec<TextIndex>,
    lines: Lines,
    findings: Findings,
    /// The unit of position in messages for this format: line or row.
    place: &'static str,
}

impl<'s> TableBuilder<'s> {
    pub(super) fn new(
        features: &'s [Feature],
        columns: &Columns,
        findings: Findings,
        place: &'static str,
    ) -> Self {
        let mut kinds = vec![ColumnKind::Absent; features.len()];
        for (_, feature) in &columns.features {
            kinds[*feature] = match features[*feature].feature_type {
                FeatureType::Float => ColumnKind::Float,
                FeatureType::Int | FeatureType::String | FeatureType::Bool => ColumnKind::Int,
            };
        }
        Self {
            features,
            rows: PackedRows::new(kinds),
            ids: TextIndex::default(),
            dictionaries: vec![TextIndex::default(); features.len()],
            lines: Lines::default(),
            findings,
            place,
        }
    }

    /// Begins a customer's row with all features missing. Returns the row number for [`Self::put`].
    pub(super) fn begin(&mut self, line: usize, id: &[u8]) -> usize {
        let row = self.rows.len();
        self.rows.push_blank();
        if let Err(message) = self.add_id(line, id) {
            self.findings.push(line, message);
        }
        row
    }

    /// Stores a value of the feature's type in a row that was begun.
    pub(super) fn put(&mut self, row: usize, line: usize, feature: usize, value: ValueRef<'_>) {
        let packed = match value {
            ValueRef::Missing | ValueRef::String("") => Packed::Missing,
            ValueRef::Float(number) => Packed::Float(number),
            ValueRef::Bool(truth) => Packed::Int(truth.into()),
            ValueRef::Int(i64::MIN) => {
                let name = &self.features[feature].name;
                let message = format!("`{name}`: {} is the one integer that the store cannot hold", i64::MIN);
                return self.findings.push(line, message);
            }
            ValueRef::Int(number) => Packed::Int(number),
            ValueRef::String(text) => match self.dictionaries[feature].add(text) {
                Ok(Added::New(number) | Added::Known(number)) => Packed::Int(number.into()),
                Err(_) => {
                    let name = &self.features[feature].name;
                    let message =
                        format!("`{name}`: its texts take more than 4 GiB; store long texts elsewhere");
                    return self.findings.push(line, message);
                }
            },
        };
        self.rows.put(row, feature, packed);
    }

    /// Records a problem with a row or one of its cells.
    pub(super) fn problem(&mut self, line: impl Into<Option<usize>>, message: impl Into<String>) {
        self.findings.push(line, message);
    }

    /// The table, if no problem was found.
    pub(super) fn finish(
        mut self,
        file: &str,
        columns: Columns,
    ) -> Result<(CustomerTable, LoadReport), Problems> {
        self.rows.shrink_to_fit();
        self.ids.shrink_to_fit();
        let dictionaries = self.dictionaries.into_iter();
        let columns_by_feature =
            dictionaries.zip(self.features).map(|(dictionary, feature)| match feature.feature_type {
                FeatureType::Float => Column::Float,
                FeatureType::Int => Column::Int,
                FeatureType::Bool => Column::Bool,
                FeatureType::String => Column::String(dictionary.into_texts()),
            });
        let report = LoadReport {
            file: file.to_owned(),
            customers: self.rows.len(),
            ignored_columns: columns.ignored,
            absent_features: columns.absent,
            notes: Vec::new(),
            may_be_truncated: false,
        };
        let table = CustomerTable { columns: columns_by_feature.collect(), rows: self.rows, ids: self.ids };
        self.findings.into_result((table, report))
    }

    fn add_id(&mut self, line: usize, id: &[u8]) -> Result<(), String> {
        if id.is_empty() {
            return Err("`customer_id` is empty; every customer needs an id".to_owned());
        }
        if id.len() > ID_BYTES {
            let length = id.len();
            return Err(format!("`customer_id` {} has {length} bytes; at most {ID_BYTES}", shown(id)));
        }
        let Ok(id) = std::str::from_utf8(id) else {
            return Err(format!("`customer_id` {} {NOT_UTF8}", shown(id)));
        };
        match self.ids.add(id) {
            Ok(Added::New(_)) => {
                self.lines.push(line);
                Ok(())
            }
            Ok(Added::Known(first)) => Err(format!(
                "customer {} is on {} {} already; keep one of them",
                shown(id.as_bytes()),
                self.place,
                self.lines.get(first as usize)
            )),
            Err(_) => {
                Err("the ids take more than 4 GiB; the embedded store holds fewer customers".to_owned())
            }
        }
    }
}

/// The line of each customer, stored as the few places where lines are not consecutive.
#[derive(Debug, Default)]
struct Lines {
    jumps: Vec<(usize, usize)>,
    count: usize,
}

impl Lines {
    fn push(&mut self, line: usize) {
        if self.count == 0 || self.get(self.count) != line {
            self.jumps.push((self.count, line));
        }
        self.count += 1;
    }

    fn get(&self, number: usize) -> usize {
        let after = self.jumps.partition_point(|(first, _)| *first <= number);
        let jump = after.checked_sub(1).map(|at| self.jumps[at]);
        jump.map_or(0, |(first, line)| line + (number - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_are_remembered_by_their_jumps(steps in proptest::collection::vec(1_usize..4, 1..50)) {
            let mut lines = Lines::default();
            let mut all = vec![2];
            all.extend(steps.iter().scan(2, |line, step| { *line += step; Some(*line) }));
            for line in &all {
                lines.push(*line);
            }
            for (number, line) in all.iter().enumerate() {
                prop_assert_eq!(lines.get(number), *line);
            }
        }
    }
}
