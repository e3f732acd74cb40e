//! Decoding a row group: first the columns that a query looks at, then the rest, for the rows that it wants.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use arrow_array::{BooleanArray, RecordBatch};
use work::catch_panic;
use work::priority::yield_if_due;

use super::chunks::Chunks;
use super::{SealedError, SealedFile};
use crate::columns::{Condition, Entry, Narrow, PSEUDONYM_KEY, each_text};
use crate::read::Wants;

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
    /// The wanted entries of a row group, in their order.
    ///
    /// # Errors
    /// Columns that are damaged, or too large to be decoded.
    pub(crate) fn entries(&self, group: usize, wants: &dyn Wants) -> Result<Vec<Entry>, SealedError> {
        let mut entries = Vec::new();
        let _ = self.decode(group, wants, Kept::Group, &mut |batch| {
            entries.extend(batch);
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    /// The wanted rows of a row group with a few columns, in their order. What is left of events about an erased person
    /// is among them. `None` if the file lacks one of these columns, or one that `wants` looks at.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub(crate) fn narrow<B: Narrow>(
        &self,
        group: usize,
        wants: &dyn Wants,
    ) -> Result<Option<Vec<B>>, SealedError> {
        let conditions = wants.conditions(self.kind(), self.server());
        let mut needed = conditions.iter().map(|condition| condition.column).chain(B::NAMES.iter().copied());
        if self.kind() != B::KIND || !needed.all(|name| self.has_column(name)) {
            return Ok(None);
        }
        let opened = self.guarded(|| self.batches(group, wants, B::NAMES))?;
        let Some((mut batches, expected)) = opened else { return Ok(Some(Vec::new())) };
        let (mut found, mut rows, mut bytes) = (Vec::new(), 0, 0);
        loop {
            let decoded = self.guarded(|| {
                let Some(batch) = batches.next() else { return Ok(None) };
                let batch = batch.map_err(|error| error.to_string())?;
                bytes += batch.get_array_memory_size() as u64;
                if bytes > RECORDS_BYTES {
                    return Err(too_much());
                }
                Ok(Some((batch.num_rows(), B::of(&batch)?)))
            })?;
            yield_if_due();
            let Some((more, columns)) = decoded else { break };
            rows += more;
            found.push(columns);
        }
        self.check_rows(rows, expected)?;
        Ok(Some(found))
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
                    each_text(&batch, PSEUDONYM_KEY, &mut |key| {
                        if !keys.contains(key) {
                            keys.insert(key.to_owned());
                        }
                    })?;
                }
                Ok(())
            })?,
        }
        keys.remove("");
        Ok(keys)
    }

    /// Passes the wanted entries of a row group to `visit`, a batch at a time, until it breaks.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub(crate) fn visit(
        &self,
        group: usize,
        wants: &dyn Wants,
        visit: &mut dyn FnMut(Vec<Entry>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SealedError> {
        self.decode(group, wants, Kept::Batch, visit)
    }

    fn decode(
        &self,
        group: usize,
        wants: &dyn Wants,
        kept: Kept,
        visit: &mut dyn FnMut(Vec<Entry>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, SealedError> {
        let columns = self.kind().table().columns();
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let opened = self.guarded(|| self.batches(group, wants, &names))?;
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
                    let columns = self.kind().table().rows(&batch)?;
                    weight += (0..batch.num_rows()).map(|row| columns.weight(row)).sum::<u64>();
                    if weight > RECORDS_BYTES {
                        return Err(too_much());
                    }
                    let entries = (0..batch.num_rows()).map(|row| columns.entry(row));
                    Ok(Some((batch.num_rows(), entries.collect::<Result<Vec<_>, _>>()?)))
                }
            })?;
            yield_if_due();
            let Some((more, mut entries)) = decoded else { break };
            rows += more;
            // A file may lack the columns that were looked at.
            entries.retain(|entry| wants.wants(entry));
            if visit(entries).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.check_rows(rows, expected)?;
        Ok(ControlFlow::Continue(()))
    }

    fn check_rows(&self, rows: usize, expected: usize) -> Result<(), SealedError> {
        if rows == expected {
            return Ok(());
        }
        Err(SealedError::damaged(&self.shown, format!("it has {rows} rows where {expected} should be")))
    }

    /// The batches of a row group with the columns of those names, and how many rows they have together. `None` if none
    /// of them is wanted.
    fn batches(
        &self,
        group: usize,
        wants: &dyn Wants,
        names: &[&str],
    ) -> Result<Option<(ParquetRecordBatchReader, usize)>, String> {
        let rows = self.parquet().row_group(group).num_rows() as usize;
        let conditions = wants.conditions(self.kind(), self.server());
        let looked_at: Vec<&str> = conditions.iter().map(|condition| condition.column).collect();
        let mut wanted = None;
        if !looked_at.is_empty() {
            let reader = self.reader(group, &looked_at, None)?;
            let mut masks = Vec::new();
            if let Some(reader) = reader {
                for batch in reader {
                    let batch = batch.map_err(|error| error.to_string())?;
                    masks.push(mask(&conditions, &batch)?);
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
        let expected = wanted.as_ref().map_or(rows, |(_, count)| *count);
        let reader = self.reader(group, names, wanted.map(|(selection, _)| selection))?;
        Ok(reader.map(|reader| (reader, expected)))
    }

    /// Whether it has a column of that name.
    fn has_column(&self, name: &str) -> bool {
        let schema = self.parquet().file_metadata().schema_descr();
        (0..schema.num_columns()).any(|leaf| schema.get_column_root(leaf).name() == name)
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

fn too_much() -> String {
    format!("its records would take more than {} MiB of memory", RECORDS_BYTES >> 20)
}

/// The rows of a batch that may be wanted: a column that the file lacks says nothing.
fn mask(conditions: &[Condition<'_>], batch: &RecordBatch) -> Result<BooleanArray, String> {
    let mut mask = vec![true; batch.num_rows()];
    for condition in conditions {
        if let Some(rows) = condition.rows(batch)? {
            mask.iter_mut().zip(rows).for_each(|(row, fulfils)| *row &= fulfils);
        }
    }
    Ok(BooleanArray::from(mask))
}
