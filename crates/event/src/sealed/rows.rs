//! Decoding a row group: first the columns that a query looks at, then the rest, for the rows that it wants.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use arrow_array::BooleanArray;
use work::catch_panic;
use work::priority::yield_if_due;

use super::chunks::Chunks;
use super::{SealedError, SealedFile};
use crate::columns::{COLUMNS, Columns, Entry, PSEUDONYM_KEY};
use crate::read::Query;

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 1_024;
/// The most bytes of decoded records that are in memory at a time.
const RECORDS_BYTES: u64 = 512 << 20;

/// What is in memory at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Batch,
    Group,
}

impl SealedFile {
    /// The entries of a row group that a query wants, in their order.
    ///
    /// # Errors
    /// Columns that are damaged, or too large to be decoded.
    pub(crate) fn entries(&self, group: usize, query: &Query) -> Result<Vec<Entry>, SealedError> {
        let mut entries = Vec::new();
        self.pass_entries(group, query, &mut |batch| entries.extend(batch))?;
        Ok(entries)
    }

    /// Passes the entries of a row group that a query wants to `take`, a batch at a time, which may keep them all.
    ///
    /// # Errors
    /// As [`entries`](Self::entries). What came before has been passed on.
    pub(crate) fn pass_entries(
        &self,
        group: usize,
        query: &Query,
        take: &mut dyn FnMut(Vec<Entry>),
    ) -> Result<(), SealedError> {
        let mut take_all = |batch| {
            take(batch);
            ControlFlow::Continue(())
        };
        self.decode(group, query, Kept::Group, &mut take_all).map(|_| ())
    }

    /// The keys of the pseudonyms in a row group.
    ///
    /// # Errors
    /// A column that is damaged.
    pub(crate) fn pseudonym_keys(&self, group: usize) -> Result<BTreeSet<String>, SealedError> {
        let mut keys = BTreeSet::new();
        match self.text_bounds(group, PSEUDONYM_KEY) {
            Some((least, greatest)) if least == greatest => {
                keys.insert(String::from_utf8_lossy(least).into_owned());
            }
            _ => self.guarded(|| {
                let Some(reader) = self.reader(group, &[PSEUDONYM_KEY], None)? else { return Ok(()) };
                for batch in reader {
                    let batch = batch.map_err(|error| error.to_string())?;
                    let columns = Columns::of(&batch)?;
                    for row in 0..batch.num_rows() {
                        let key = columns.text(PSEUDONYM_KEY, row).unwrap_or_default();
                        if !keys.contains(key) {
                            keys.insert(key.to_owned());
                        }
                    }
                }
                Ok(())
            })?,
        }
        keys.remove("");
        Ok(keys)
    }

    /// Passes the entries of a row group that a query wants to `visit`, a batch at a time, until it breaks.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub(crate) fn visit(
        &self,
        group: usize,
        query: &Query,
        visit: &mut dyn FnMut(Vec<Entry>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SealedError> {
        self.decode(group, query, Kept::Batch, visit)
    }

    fn decode(
        &self,
        group: usize,
        query: &Query,
        kept: Kept,
        visit: &mut dyn FnMut(Vec<Entry>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SealedError> {
        let opened = self.guarded(|| self.batches(group, query))?;
        let Some((mut batches, expected)) = opened else { return Ok(ControlFlow::Continue(())) };
        let (mut rows, mut weight) = (0, 0);
        loop {
            if kept == Kept::Batch {
                weight = 0;
            }
            let decoded = self.guarded(|| match batches.next() {
                None => Ok(None),
                Some(batch) => {
                    let batch = batch.map_err(|error| error.to_string())?;
                    let columns = Columns::of(&batch)?;
                    weight += (0..batch.num_rows()).map(|row| columns.weight(row)).sum::<u64>();
                    if weight > RECORDS_BYTES {
                        let most = RECORDS_BYTES >> 20;
                        return Err(format!("its records would take more than {most} MiB of memory"));
                    }
                    let entries = (0..batch.num_rows()).map(|row| columns.entry(row));
                    Ok(Some((batch.num_rows(), entries.collect::<Result<Vec<_>, _>>()?)))
                }
            })?;
            yield_if_due();
            let Some((more, mut entries)) = decoded else { break };
            rows += more;
            // A file may lack the columns that were looked at.
            entries.retain(|entry| query.wants(&entry.record));
            if visit(entries).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if rows == expected {
            Ok(ControlFlow::Continue(()))
        } else {
            Err(SealedError::damaged(&self.shown, format!("it has {rows} rows where {expected} should be")))
        }
    }

    /// The batches of a row group, and how many rows they have together. `None` if the query wants none of them.
    fn batches(
        &self,
        group: usize,
        query: &Query,
    ) -> Result<Option<(ParquetRecordBatchReader, usize)>, String> {
        let rows = self.parquet().row_group(group).num_rows() as usize;
        let looked_at = query.columns();
        let mut wanted = None;
        if !looked_at.is_empty() {
            let reader = self.reader(group, &looked_at, None)?;
            let mut masks = Vec::new();
            if let Some(reader) = reader {
                for batch in reader {
                    let batch = batch.map_err(|error| error.to_string())?;
                    let columns = Columns::of(&batch)?;
                    let mask = (0..batch.num_rows()).map(|row| query.may_want(&columns, row));
                    masks.push(BooleanArray::from(mask.collect::<Vec<_>>()));
                }
                let seen: usize = masks.iter().map(BooleanArray::len).sum();
                if seen != rows {
                    return Err(format!("it has {seen} rows where {rows} should be"));
                }
                let count = masks.iter().map(BooleanArray::true_count).sum();
                if count == 0 {
                    return Ok(None);
                }
                wanted = (count < rows).then(|| (RowSelection::from_filters(&masks), count));
            }
        }
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        let expected = wanted.as_ref().map_or(rows, |(_, count)| *count);
        let reader = self.reader(group, &names, wanted.map(|(selection, _)| selection))?;
        Ok(reader.map(|reader| (reader, expected)))
    }

    /// Reads the columns of those names that the file has; `None` if it has none of them.
    fn reader(
        &self,
        group: usize,
        names: &[&str],
        selection: Option<RowSelection>,
    ) -> Result<Option<ParquetRecordBatchReader>, String> {
        let schema = self.parquet().file_metadata().schema_descr();
        let leaves: Vec<usize> = (0..schema.num_columns())
            .filter(|leaf| names.contains(&schema.get_column_root(*leaf).name()))
            .collect();
        if leaves.is_empty() {
            return Ok(None);
        }
        let checksum = |leaf| self.checksum_of(group, leaf);
        let row_group = self.parquet().row_group(group);
        let chunks = Chunks::read(&self.file, self.length, row_group, &leaves, checksum)?;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(ProjectionMask::leaves(schema, leaves))
            .with_batch_size(BATCH_ROWS);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        builder.build().map(Some).map_err(|error| error.to_string())
    }

    /// Turns a panic of the decoder into an error: it asserts where a file contradicts itself. Nothing that was
    /// decoded survives that.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, String>) -> Result<T, SealedError> {
        catch_panic(work)
            .unwrap_or_else(|_| Err("it contradicts itself".to_owned()))
            .map_err(|message| SealedError::damaged(&self.shown, message))
    }
}
