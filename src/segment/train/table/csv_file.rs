//! Tables from CSV: the next block of records is cut while the one before is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use super::gather::Gather;
use super::header::Plan;
use super::{ReadOptions, Table};
use crate::document::Problems;
use crate::segment::train::progress::Progress;
use crate::table::{Fault, Options, Reader, Record, width_fault};

/// Records that are read at a time: enough to keep all threads busy, few enough to stay in the caches.
const BLOCK_RECORDS: usize = 4_096;

/// Reads a whole file; `file` is its name in messages.
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
            // What stands before it is not looked at: a file that is not whole is no table.
            Err(fault) => return Err(fault.of(file)),
        }
        if progress.stopped() {
            return Err(Problems::one(file, None, "was not read to its end, as asked; nothing was written"));
        }
        std::mem::swap(&mut ready, &mut next);
        if ready.records().is_empty() {
            break;
        }
        (filled, ()) =
            rayon::join(|| next.fill(&mut reader), || read_block(&mut gather, &mut ragged, ready.records()));
    }
    ragged.report(&mut gather);
    gather.finish("line", |rows| lines(path, options, rows))
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

/// Records that are used again and again, so that none is allocated per row.
#[derive(Default)]
struct Block {
    records: Vec<Record>,
    len: usize,
}

impl Block {
    fn records(&self) -> &[Record] {
        &self.records[..self.len]
    }

    /// Cuts the next records; returns the bytes that they take.
    fn fill(&mut self, reader: &mut Reader<'_>) -> Result<u64, Fault> {
        let start = reader.position();
        self.records.resize_with(BLOCK_RECORDS, Record::default);
        self.len = 0;
        while self.len < BLOCK_RECORDS && reader.read(&mut self.records[self.len])? {
            self.len += 1;
        }
        Ok(reader.position() - start)
    }
}

fn read_block(gather: &mut Gather<'_>, ragged: &mut Ragged, records: &[Record]) {
    let width = gather.width();
    ragged.look(gather.rows(), width, records);
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

/// Records that are not as wide as the header.
#[derive(Default)]
struct Ragged {
    count: u64,
    /// The first: its row, and what to say of it.
    first: Option<(u64, String)>,
}

impl Ragged {
    fn look(&mut self, first_row: u64, width: usize, records: &[Record]) {
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

/// The lines in which rows begin: the file is read again up to the last of them, only once somebody is to be told.
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
