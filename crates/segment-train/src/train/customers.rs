//! The customers of a table in the features of an existing artefact, block by block.
//!
//! Used for tables that the segments were not trained on: matching to the previous version, and drift.
//! Learns nothing from the table. Start reading at [`Customers`].

use std::path::Path;

use rayon::prelude::*;

use super::progress::{Progress, Stopped};
use super::table::{ReadOptions, Table};
use document::{Problems, suggestion};
use segment::Segmentation;
use segment::prepare::FeaturePreparation;

/// Rows per parallel task: a few milliseconds of work.
///
/// Sums are added up in the order of the blocks, so this also determines their last digits.
const ROWS_PER_BLOCK: usize = 4096;

/// A table read for the features of one artefact.
#[derive(Debug)]
pub(crate) struct Customers {
    table: Table,
    columns: FeatureColumns,
}

impl Customers {
    /// Reads only the columns that `segmentation` needs.
    ///
    /// `given`: words for missing values, renamed columns and the CSV format. The choice of columns in it is ignored.
    ///
    /// # Errors
    /// Those of [`Table::read`], such as a missing column.
    pub(crate) fn read(
        path: &Path,
        segmentation: &Segmentation,
        given: &ReadOptions,
        progress: &dyn Progress,
    ) -> Result<Self, Problems> {
        let names = |texts_only: bool| {
            let features = segmentation.features().iter();
            let chosen = features.filter(|feature| !texts_only || feature.equals.is_some());
            let mut names: Vec<String> = chosen.map(|feature| feature.name.clone()).collect();
            // The features of one text are adjacent in the artefact, as they were in the table.
            names.dedup();
            names
        };
        let options = ReadOptions {
            one_hot: names(true),
            missing: given.missing.clone(),
            rename: given.rename.clone(),
            separator: given.separator,
            decimal: given.decimal,
            only: Some(names(false)),
            ..ReadOptions::default()
        };
        let table = Table::read_watched(path, &options, progress)?;
        let columns = FeatureColumns::of(segmentation, &table)?;
        Ok(Self { table, columns })
    }

    /// A table of numbers for tests.
    #[cfg(test)]
    pub(crate) fn of_numbers(
        segmentation: &Segmentation,
        columns: &[(&str, &[f32])],
    ) -> Result<Self, Problems> {
        let table = Table::of_numbers(columns);
        let columns = FeatureColumns::of(segmentation, &table)?;
        Ok(Self { table, columns })
    }

    /// Warnings about the file as a whole, a sentence each.
    #[must_use]
    pub(crate) fn notes(&self) -> &[String] {
        self.table.notes()
    }

    /// The number of customers.
    #[must_use]
    pub(crate) fn rows(&self) -> usize {
        self.table.rows()
    }

    /// Applies `each` to every block of raw values, in parallel, and returns the results in order.
    ///
    /// A block has rows × features of the artefact, row-major. The blocks do not depend on the number of threads.
    ///
    /// # Errors
    /// `progress` asked to stop.
    pub(crate) fn by_block<T: Send>(
        &self,
        step: &str,
        progress: &dyn Progress,
        each: impl Fn(&[f32]) -> T + Sync,
    ) -> Result<Vec<T>, Stopped> {
        self.columns.by_block(&self.table, step, progress, each)
    }
}

/// The segment of each customer of a table by the previous artefact.
///
/// # Errors
/// Every feature of the previous version that the table lacks; `progress` asked to stop.
pub(super) fn labels(
    previous: &Segmentation,
    table: &Table,
    progress: &dyn Progress,
) -> Result<Result<Vec<u32>, Stopped>, Problems> {
    let columns = FeatureColumns::of(previous, table)?;
    let blocks = columns.by_block(table, "assigning to the previous segments", progress, |raw| {
        previous.assign_rows(raw).into_iter().map(|assignment| assignment.id).collect::<Vec<u32>>()
    });
    Ok(blocks.map(|blocks| blocks.concat()))
}

/// The columns of a table that hold the features of an artefact.
#[derive(Debug)]
struct FeatureColumns {
    /// The column of each feature; `None` for a text that no customer has.
    columns: Vec<Option<usize>>,
    /// Whether the table has exactly these columns in this order.
    in_place: bool,
}

impl FeatureColumns {
    fn of(segmentation: &Segmentation, table: &Table) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut columns = Vec::with_capacity(segmentation.features().len());
        for feature in segmentation.features() {
            match column(feature, table) {
                Ok(column) => columns.push(column),
                Err(message) => problems.push(table.file.clone(), None, message),
            }
        }
        let in_place = columns.iter().copied().eq((0..table.names.len()).map(Some));
        problems.into_result(Self { columns, in_place })
    }

    fn by_block<T: Send>(
        &self,
        table: &Table,
        step: &str,
        progress: &dyn Progress,
        each: impl Fn(&[f32]) -> T + Sync,
    ) -> Result<Vec<T>, Stopped> {
        progress.begin(step, table.rows() as u64);
        let width = table.names.len();
        let blocks = table.values.par_chunks(ROWS_PER_BLOCK * width).map(|rows| {
            if progress.stopped() {
                return None;
            }
            let done = if self.in_place { each(rows) } else { each(&self.gathered(rows, width)) };
            progress.advance((rows.len() / width) as u64);
            Some(done)
        });
        blocks.collect::<Option<Vec<T>>>().ok_or(Stopped)
    }

    fn gathered(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut raw = Vec::with_capacity(rows.len() / width * self.columns.len());
        for row in rows.chunks_exact(width) {
            raw.extend(self.columns.iter().map(|column| column.map_or(0.0, |column| row[column])));
        }
        raw
    }
}

/// The column of a feature; `None` for a text that no customer of the table has, which is 0 for all.
fn column(feature: &FeaturePreparation, table: &Table) -> Result<Option<usize>, String> {
    let name = &feature.name;
    let wanted = feature.equals.as_ref().map(|text| (name, text));
    let encoded = |index: usize| table.equals.get(index).and_then(Option::as_ref);
    let found = (0..table.names.len()).find(|index| match (wanted, encoded(*index)) {
        (None, None) => table.names[*index] == *name,
        (Some((column, text)), Some((other, value))) => column == other && text == value,
        (None, Some(_)) | (Some(_), None) => false,
    });
    let has_texts =
        (0..table.names.len()).any(|index| encoded(index).is_some_and(|(other, _)| other == name));
    if found.is_some() || (wanted.is_some() && has_texts) {
        return Ok(found);
    }
    let needed = "which the previous segments use";
    let known = table.columns.iter().find(|column| column.name == *name);
    Err(match (known.and_then(|column| column.left_out.as_ref()), wanted) {
        (Some(reason), _) => {
            format!(
                "column `{name}`, {needed}, is left out: {reason}; include it, or train without --previous"
            )
        }
        (None, Some(_)) if known.is_some() || table.names.contains(name) => {
            format!(
                "column `{name}`, {needed}, was text; encode it with --one-hot {name}, or train without --previous"
            )
        }
        (None, None) if has_texts => {
            format!(
                "column `{name}`, {needed}, was a number and is now text; correct it, or train without --previous"
            )
        }
        (None, _) => {
            let hint = suggestion(name, table.names.iter().map(String::as_str));
            format!("there is no column `{name}`, {needed}{hint}; add it, or train without --previous")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::progress::Silent;
    use segment::samples::segmentation;

    struct Stopping;

    impl Progress for Stopping {
        fn begin(&self, _step: &str, _units: u64) {}

        fn advance(&self, _units: u64) {}

        fn stopped(&self) -> bool {
            true
        }
    }

    /// Customers with 0 or 5 in `balance`, and a column that is not in the artefact.
    fn table(rows: usize) -> Table {
        let balance: Vec<f32> = (0..rows).map(|row| if row % 3 == 0 { 5.0 } else { 0.0 }).collect();
        let other = vec![7.0; rows];
        Table::of_numbers(&[("purchases", &vec![1.0; rows]), ("age", &other), ("balance", &balance)])
    }

    #[test]
    fn features_are_found_by_name_and_customers_keep_their_order() {
        let rows = 2 * ROWS_PER_BLOCK + 5;
        let labels = labels(&segmentation(), &table(rows), &Silent).unwrap().unwrap();
        let expected: Vec<u32> = (0..rows).map(|row| u32::from(row % 3 == 0)).collect();
        assert_eq!(labels, expected);
    }

    #[test]
    fn a_table_in_the_order_of_the_artefact_is_not_copied() {
        let columns: [(&str, &[f32]); 2] = [("balance", &[5.0, 0.0]), ("purchases", &[1.0, 1.0])];
        let customers = Customers::of_numbers(&segmentation(), &columns).unwrap();
        assert!(customers.columns.in_place);
        let blocks = customers.by_block("looking", &Silent, <[f32]>::to_vec).unwrap();
        assert_eq!(blocks, [[5.0, 1.0, 0.0, 1.0]]);
    }

    #[test]
    fn all_missing_features_are_named() {
        let columns: [(&str, &[f32]); 2] = [("ballance", &[5.0, 0.0]), ("age", &[1.0, 1.0])];
        let error = Customers::of_numbers(&segmentation(), &columns).unwrap_err().to_string();
        assert_eq!(
            error,
            "customers.csv: there is no column `balance`, which the previous segments use; did you mean `ballance`?; \
             add it, or train without --previous\n\
             customers.csv: there is no column `purchases`, which the previous segments use; add it, or train without \
             --previous"
        );
    }

    #[test]
    fn a_text_that_no_customer_has_is_0_for_all() {
        let mut segmentation = segmentation();
        segmentation.preparation.features[1].equals = Some("student".to_owned());
        segmentation.preparation.features[1].name = "job".to_owned();
        let mut table = Table::of_numbers(&[("balance", &[5.0, 0.0]), ("job=retired", &[1.0, 0.0])]);
        table.equals[1] = Some(("job".to_owned(), "retired".to_owned()));
        let columns = FeatureColumns::of(&segmentation, &table).unwrap();
        assert_eq!(columns.columns, [Some(0), None]);
        assert_eq!(columns.gathered(&table.values, 2), [5.0, 0.0, 0.0, 0.0]);

        // A number cannot replace the text of the training.
        let numbers = Table::of_numbers(&[("balance", &[5.0, 0.0]), ("job", &[1.0, 0.0])]);
        let error = FeatureColumns::of(&segmentation, &numbers).unwrap_err().to_string();
        assert!(error.contains("was text; encode it with --one-hot job"), "{error}");
    }

    #[test]
    fn progress_can_stop_it() {
        assert_eq!(labels(&segmentation(), &table(9), &Stopping).unwrap(), Err(Stopped));
    }
}
