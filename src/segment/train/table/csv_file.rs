//! Tables from CSV: the next block of records is cut while the one before is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::str;

use csv::{ByteRecord, Reader};

use super::dialect::Dialect;
use super::gather::Gather;
use super::header::Plan;
use super::{ReadOptions, Table};
use crate::document::Problems;
use crate::segment::train::progress::Progress;

/// Records that are read at a time: enough to keep all threads busy, few enough to stay in the caches.
const BLOCK_RECORDS: usize = 4_096;

/// Bytes that are read from the file at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// Line of the header.
const HEADER_LINE: usize = 1;

/// Reads a whole file; `file` is its name in messages, `head` its first bytes.
pub(super) fn read(
    path: &Path,
    file: &str,
    head: &[u8],
    options: &ReadOptions,
    progress: &dyn Progress,
) -> Result<Table, Problems> {
    let dialect = Dialect::detect(head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head));
    let unreadable = |error: &csv::Error| Problems::one(file, None, format!("cannot be read: {error}"));
    let mut reader = open(path, dialect).map_err(|error| unreadable(&error))?;
    let header = reader.byte_headers().map_err(|error| unreadable(&error))?;
    let plan = plan(file, header, options)?;
    let mut gather = Gather::new(file, Some(HEADER_LINE), plan, options);
    let mut ragged = Ragged::default();
    progress.begin("reading the table", path.metadata().map_or(0, |kind| kind.len()));
    let (mut ready, mut next) = (Block::default(), Block::default());
    let mut filled = next.fill(&mut reader);
    loop {
        match filled {
            Ok(bytes) => progress.advance(bytes),
            Err(error) => {
                gather.problem(None, format!("cannot be read to its end: {error}"));
                break;
            }
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
    gather.finish("line", |rows| lines(path, dialect, rows))
}

fn open(path: &Path, dialect: Dialect) -> csv::Result<Reader<File>> {
    dialect.builder().buffer_capacity(BUFFER_BYTES).from_path(path)
}

fn plan(file: &str, header: &ByteRecord, options: &ReadOptions) -> Result<Plan, Problems> {
    let mut problems = Problems::new();
    if header.is_empty() {
        return Err(Problems::one(file, None, "is empty; a header and one row per customer are needed"));
    }
    let mut names = Vec::with_capacity(header.len());
    for (number, name) in (1..).zip(header) {
        if str::from_utf8(name).is_err() {
            let message = format!("the name of column {number} is not UTF-8; convert the file to UTF-8");
            problems.push(file, Some(HEADER_LINE), message);
        }
        names.push(String::from_utf8_lossy(name).trim().to_owned());
    }
    Plan::new(file, Some(HEADER_LINE), names, options, problems)
}

/// Records that are used again and again, so that none is allocated per row.
#[derive(Default)]
struct Block {
    records: Vec<ByteRecord>,
    len: usize,
}

impl Block {
    fn records(&self) -> &[ByteRecord] {
        &self.records[..self.len]
    }

    /// Cuts the next records; returns the bytes that they take.
    fn fill(&mut self, reader: &mut Reader<File>) -> Result<u64, csv::Error> {
        let start = reader.position().byte();
        self.records.resize_with(BLOCK_RECORDS, ByteRecord::new);
        self.len = 0;
        while self.len < BLOCK_RECORDS && reader.read_byte_record(&mut self.records[self.len])? {
            self.len += 1;
        }
        Ok(reader.position().byte() - start)
    }
}

fn read_block(gather: &mut Gather<'_>, ragged: &mut Ragged, records: &[ByteRecord]) {
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
    fn look(&mut self, first_row: u64, width: usize, records: &[ByteRecord]) {
        for (row, record) in (first_row..).zip(records) {
            if record.len() == width {
                continue;
            }
            self.count += 1;
            self.first.get_or_insert_with(|| {
                let advice = if record.as_slice().contains(&b'\n') {
                    "a quote that opens here may not be closed"
                } else if record.len() > width {
                    "put a value that has the separator in it into quotes, and write decimal points"
                } else {
                    "a missing value is an empty field"
                };
                (row, format!("{} fields, but the header has {width}; {advice}", record.len()))
            });
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
fn lines(path: &Path, dialect: Dialect, rows: &BTreeSet<u64>) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    let (Some(last), Ok(mut reader)) = (rows.last(), open(path, dialect)) else { return found };
    let mut record = ByteRecord::new();
    for row in 0..=*last {
        if !reader.read_byte_record(&mut record).unwrap_or(false) {
            break;
        }
        if rows.contains(&row)
            && let Some(line) = line_of(path, &record)
        {
            found.insert(row, line);
        }
    }
    found
}

/// The line where a record begins. The reader counts the blank lines before a record as part of it, so they are looked
/// up in the file.
fn line_of(path: &Path, record: &ByteRecord) -> Option<usize> {
    let start = record.position()?;
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(start.byte())).ok()?;
    let before = BufReader::new(file).bytes().map_while(Result::ok);
    let ends = before.take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n');
    Some(start.line() as usize + ends.count())
}
