//! Reads a table from CSV: splits the next block of records while the current one is parsed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use super::gather::Gather;
use super::header::Plan;
use super::{ReadOptions, Table};
use crate::train::progress::Progress;
use document::Problems;
use table::{Fault, Options, Reader, Record, width_fault};

/// Maximum records of a block: enough to keep all threads busy, and few enough to stay in the caches.
const BLOCK_RECORDS: usize = 4_096;

/// Maximum bytes of a block, which limits wide rows.
const BLOCK_BYTES: u64 = 32 << 20;

/// Capacity in bytes that a record keeps for reuse.
const KEPT_BYTES: usize = 64 << 10;

/// Reads the whole file; `file` is its name in messages.
pub(super) fn read(
    path: &Path,
    file: &str,
    options: &ReadOptions,
    progress: &dyn Progress,
) -> Result<Table, Problems> {
    let mut reader = open(path, options).map_err(|fault| fault.of(file))?;
    let header_line = Some(reader.header_line());
    let plan = Plan::new(file, header_line, reader.names().to_vec(), options, Problems::new())?;
    let mut gather = Gather::new(file, header_line, plan, options).with_decimal(reader.decimal());
    let mut ragged = Ragged::default();
    progress.begin("reading the table", path.metadata().map_or(0, |kind| kind.len()));
    let (mut ready, mut next) = (Block::default(), Block::default());
    let mut filled = next.fill(&mut reader);
    loop {
        match filled {
            Ok(bytes) => progress.advance(bytes),
            // Earlier records are not used: a damaged file is not a table.
            Err(fault) => return Err(fault.of(file)),
        }
        if progress.stopped() {
            return Err(Problems::one(file, None, "stopped while reading; nothing was written"));
        }
        std::mem::swap(&mut ready, &mut next);
        if ready.records().is_empty() {
            break;
        }
        (filled, ()) =
            rayon::join(|| next.fill(&mut reader), || read_block(&mut gather, &mut ragged, ready.records()));
    }
    ragged.report(&mut gather);
    let mut table = gather.finish("line", |rows| lines(path, options, rows))?;
    table.notes = reader.notes();
    Ok(table)
}

fn open(path: &Path, options: &ReadOptions) -> Result<Reader<'static>, Fault> {
    let input = File::open(path)
        .map_err(|error| Fault { line: None, message: format!("cannot be read: {error}") })?;
    let options = Options {
        separator: options.separator,
        decimal: options.decimal,
        column: options.id_column.as_deref(),
        ..Options::default()
    };
    Reader::open(input, options)
}

/// A block of records, reused so that nothing is allocated per row.
#[derive(Default)]
struct Block {
    records: Vec<Record>,
    len: usize,
}

impl Block {
    fn records(&self) -> &[Record] {
        &self.records[..self.len]
    }

    /// Reads the next records; returns their bytes in the file.
    fn fill(&mut self, reader: &mut Reader<'_>) -> Result<u64, Fault> {
        let start = reader.position();
        self.records.resize_with(BLOCK_RECORDS, Record::default);
        self.records.iter_mut().for_each(|record| record.reset(KEPT_BYTES));
        self.len = 0;
        let mut bytes = 0;
        while self.len < BLOCK_RECORDS && bytes < BLOCK_BYTES && reader.read(&mut self.records[self.len])? {
            bytes += self.records[self.len].memory_bytes();
            self.len += 1;
        }
        Ok(reader.position() - start)
    }
}

fn read_block(gather: &mut Gather<'_>, ragged: &mut Ragged, records: &[Record]) {
    let width = gather.width();
    ragged.check(gather.rows(), width, records);
    let Ok(()) = gather.block::<std::convert::Infallible>(
        records.len(),
        |column, first, words| {
            for (row, record) in (first..).zip(records) {
                match record.get(column.position).filter(|_| record.len() == width) {
                    Some(field) => column.read_field(row, field, words),
                    None => column.skip(),
                }
            }
            Ok(())
        },
        |ids, first| {
            for (row, record) in (first..).zip(records) {
                match record.get(ids.position).filter(|_| record.len() == width) {
                    Some(field) => ids.read(row, field),
                    None => ids.skip(),
                }
            }
            Ok(())
        },
    );
}

/// Records with another number of fields than the header.
#[derive(Default)]
struct Ragged {
    count: u64,
    /// The row of the first, and its message.
    first: Option<(u64, String)>,
}

impl Ragged {
    fn check(&mut self, first_row: u64, width: usize, records: &[Record]) {
        for (row, record) in (first_row..).zip(records) {
            if let Some(message) = width_fault(record, width) {
                self.count += 1;
                self.first.get_or_insert((row, message));
            }
        }
    }

    fn report(self, gather: &mut Gather<'_>) {
        let Some((row, mut message)) = self.first else { return };
        if self.count > 1 {
            message = format!("{message} ({} rows in all)", self.count);
        }
        gather.problem(Some(row), message);
    }
}

/// The lines in which rows begin. Reads the file again up to the last row, which only problems need.
fn lines(path: &Path, options: &ReadOptions, rows: &BTreeSet<u64>) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    let (Some(last), Ok(mut reader)) = (rows.last(), open(path, options)) else { return found };
    let mut record = Record::default();
    for row in 0..=*last {
        if !reader.read(&mut record).unwrap_or(false) {
            break;
        }
        if rows.contains(&row) {
            found.insert(row, record.line());
        }
    }
    found
}
