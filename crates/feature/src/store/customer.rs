//! One customer in a file: all that it has of them, and the same file without them.
//!
//! The file without them is made anew, and the owner of the former one replaces it. Nothing but the rows of the
//! customer goes: a CSV file keeps its bytes, separator, quotes and numbers, and its compression; a Parquet file keeps
//! its columns, types and metadata.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::columns::ID_COLUMN;
use document::Problems;
use table::parquet::{Parquet, unreadable};
use table::{Fault, Faults, Limits, Options, Packing, Reader, Record, Unpacked};

/// The first bytes of a Parquet file.
const PARQUET: &[u8] = b"PAR1";

/// Level 3 packs to within a few percent of slower ones.
const ZSTD_LEVEL: i32 = 3;
/// Rows of Parquet that are decoded at a time.
const BATCH_ROWS: usize = 4_096;
/// Bytes that are read or written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// The columns of a row and their values as the file has them; `None` for what is missing.
pub(super) type Values = Vec<(String, Option<String>)>;

/// The rows that a file has of the customer `id`: one, unless the file was written by hand.
///
/// # Errors
/// When the file cannot be read to its end.
pub(super) fn rows_of(file: &Path, id: &str) -> Result<Vec<Values>, Problems> {
    let shown = file.display().to_string();
    on_file(file, &shown, |is_parquet| if is_parquet { parquet_rows(file, id) } else { csv_rows(file, id) })
}

/// Writes to `made` what `file` has besides the rows of the customer `id`, and syncs it to the disk. Returns how many
/// rows that leaves out; without any, nothing is written. Errors call the file `shown`.
///
/// # Errors
/// When the file cannot be read to its end, or `made` not be written. `made` is to be removed then.
pub fn without(file: &Path, shown: &str, id: &str, made: &Path) -> Result<u64, Problems> {
    on_file(file, shown, |is_parquet| {
        if is_parquet { parquet_without(file, id, made) } else { csv_without(file, id, made) }
    })
}

/// Tells `work` whether the file is Parquet, and gives its faults the name of the file.
fn on_file<T>(file: &Path, shown: &str, work: impl FnOnce(bool) -> Result<T, Fault>) -> Result<T, Problems> {
    let run = || work(first_bytes(file).map_err(fault)? == PARQUET);
    // The decoder of Parquet asserts when a damaged file contradicts itself. Nothing of it survives that.
    let done = catch_unwind(AssertUnwindSafe(run));
    done.unwrap_or_else(|_| Err(fault(unreadable(&"it contradicts itself")))).map_err(|fault| fault.of(shown))
}

fn first_bytes(file: &Path) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    File::open(file)?.take(4).read_to_end(&mut first)?;
    Ok(first)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`, which gives it away")]
fn fault(error: impl ToString) -> Fault {
    Fault { line: None, message: error.to_string() }
}

/// The text of a CSV file.
fn text_of(file: &Path, packing: Packing) -> io::Result<Unpacked<'static>> {
    packing.unpack(BufReader::with_capacity(BUFFER_BYTES, File::open(file)?), Limits::CUSTOMERS)
}

/// Is given the names of the columns, a record, and where that begins and ends in the text.
type Visit<'v> = dyn FnMut(&[String], &Record, (u64, u64)) + 'v;

/// Passes each record of the customer to `visit`.
fn visit_csv(text: impl Read + Send, id: &str, visit: &mut Visit<'_>) -> Result<(), Fault> {
    // As the server reads the files that a store has already.
    let options = Options {
        quote: Some(b'"'),
        column: Some(ID_COLUMN),
        faults: Faults::Tolerated,
        limits: Limits::CUSTOMERS,
        ..Options::default()
    };
    let mut reader = Reader::open(text, options)?;
    let names = reader.names().to_vec();
    let column = names.iter().position(|name| name == ID_COLUMN);
    let column = column.ok_or_else(|| fault(format!("no column `{ID_COLUMN}`")))?;
    let mut record = Record::default();
    loop {
        let start = reader.position();
        if !reader.read(&mut record)? {
            return Ok(());
        }
        if record.get(column) == Some(id.as_bytes()) {
            visit(&names, &record, (start, reader.position()));
        }
    }
}

fn csv_rows(file: &Path, id: &str) -> Result<Vec<Values>, Fault> {
    let mut rows = Vec::new();
    let packing = Packing::of(&first_bytes(file).map_err(fault)?);
    visit_csv(text_of(file, packing).map_err(fault)?, id, &mut |names, record, _| {
        let value = |at| record.get(at).map(String::from_utf8_lossy).filter(|text| !text.is_empty());
        let values = names.iter().enumerate().map(|(at, name)| (name.clone(), value(at).map(Into::into)));
        rows.push(values.collect());
    })?;
    Ok(rows)
}

fn csv_without(file: &Path, id: &str, made: &Path) -> Result<u64, Fault> {
    let packing = Packing::of(&first_bytes(file).map_err(fault)?);
    let mut cuts = Vec::new();
    let mut first = Vec::new();
    let mut text = text_of(file, packing).map_err(fault)?;
    text.by_ref().take(4).read_to_end(&mut first).map_err(fault)?;
    // The reader would unpack it again, and count other bytes.
    if Packing::of(&first) != Packing::None {
        return Err(fault("is compressed twice; unpack it once"));
    }
    visit_csv(io::Cursor::new(first).chain(text), id, &mut |_, _, place| cuts.push(place))?;
    if cuts.is_empty() {
        return Ok(0);
    }
    let copy = || -> io::Result<()> {
        let source = BufReader::with_capacity(BUFFER_BYTES, text_of(file, packing)?);
        let target = BufWriter::with_capacity(BUFFER_BYTES, File::create(made)?);
        let mut target = packing.pack(target)?;
        copy_without(source, &cuts, &mut |bytes| target.write_all(bytes))?;
        target.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    };
    copy().map_err(fault)?;
    Ok(cuts.len() as u64)
}

/// Passes on what is outside of `cuts`, which ascend. Rows end behind a carriage return; a line feed behind that goes
/// or stays with it.
fn copy_without(
    mut source: impl BufRead,
    cuts: &[(u64, u64)],
    pass: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let (mut at, mut last, mut cuts) = (0, 0, cuts.iter().copied().peekable());
    loop {
        let bytes = match source.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let ends_line = last == b'\r' && bytes[0] == b'\n';
        let (most, is_cut) = match cuts.peek() {
            Some((start, _)) if at == *start && ends_line => (1, false),
            Some((_, end)) if at >= *end => {
                cuts.next();
                if !ends_line {
                    continue;
                }
                (1, true)
            }
            Some((start, end)) if at >= *start => (end - at, true),
            Some((start, _)) => (start - at, false),
            None => (u64::MAX, false),
        };
        let bytes = &bytes[..bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX))];
        if !is_cut {
            pass(bytes)?;
        }
        let read = bytes.len();
        last = bytes[read - 1];
        at += read as u64;
        source.consume(read);
    }
}

/// How many rows of a Parquet file are of the customer: only its ids are read, as most files do not have them.
fn count_parquet(file: &Path, id: &str) -> Result<u64, Fault> {
    let opened = open_parquet(file)?;
    let column = opened.fields().iter().position(|field| field.name() == ID_COLUMN);
    let column = column.ok_or_else(|| fault(format!("no column `{ID_COLUMN}`")))?;
    let mut rows = 0;
    for batch in opened.read(&[column], BATCH_ROWS).map_err(fault)? {
        rows += found(&batch.map_err(fault)?, id)?.len() as u64;
    }
    Ok(rows)
}

fn open_parquet(file: &Path) -> Result<Parquet<File>, Fault> {
    Parquet::open(File::open(file).map_err(fault)?, Limits::CUSTOMERS).map_err(fault)
}

fn parquet_rows(file: &Path, id: &str) -> Result<Vec<Values>, Fault> {
    let mut rows = Vec::new();
    if count_parquet(file, id)? == 0 {
        return Ok(rows);
    }
    let options = FormatOptions::default();
    for batch in all_columns(open_parquet(file)?, file)? {
        let batch = batch.map_err(fault)?;
        for row in found(&batch, id)? {
            let mut values = Vec::with_capacity(batch.num_columns());
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                let shown = ArrayFormatter::try_new(column, &options).map_err(fault)?;
                let text = shown.value(row).try_to_string().map_err(fault)?;
                values.push((field.name().clone(), Some(text).filter(|text| !text.is_empty())));
            }
            rows.push(values);
        }
    }
    Ok(rows)
}

fn parquet_without(file: &Path, id: &str, made: &Path) -> Result<u64, Fault> {
    let rows = count_parquet(file, id)?;
    if rows == 0 {
        return Ok(0);
    }
    let opened = open_parquet(file)?;
    let pairs = opened.file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(fault)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let target = File::create(made).map_err(fault)?;
    let (mut writer, mut cut): (Option<ArrowWriter<File>>, u64) = (None, 0);
    for batch in all_columns(opened, file)? {
        let batch = batch.map_err(fault)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                let target = target.try_clone().map_err(fault)?;
                let new = ArrowWriter::try_new(target, batch.schema(), Some(properties.clone()));
                writer.insert(new.map_err(fault)?)
            }
        };
        let mut start = 0;
        for row in found(&batch, id)?.into_iter().chain([batch.num_rows()]) {
            if row > start {
                writer.write(&batch.slice(start, row - start)).map_err(fault)?;
            }
            cut += u64::from(row < batch.num_rows());
            start = row + 1;
        }
    }
    let changed = || fault("it changed while it was read");
    let mut writer = writer.ok_or_else(changed)?;
    // The types of Arrow are written by the writer itself.
    for pair in pairs.into_iter().filter(|pair| pair.key != "ARROW:schema") {
        writer.append_key_value_metadata(pair);
    }
    writer.close().map_err(fault)?;
    target.sync_all().map_err(fault)?;
    if cut == rows { Ok(rows) } else { Err(changed()) }
}

type AllColumns = Box<dyn Iterator<Item = Result<RecordBatch, String>>>;

/// The batches of all columns. Their pages are checked before they are unpacked, unless there are lists or structures:
/// no feature is one, so that the check does not know them.
fn all_columns(opened: Parquet<File>, file: &Path) -> Result<AllColumns, Fault> {
    let fields = opened.fields().clone();
    if !fields.iter().any(|field| field.data_type().is_nested()) {
        let all: Vec<usize> = (0..fields.len()).collect();
        return Ok(Box::new(opened.read(&all, BATCH_ROWS).map_err(fault)?));
    }
    let source = File::open(file).map_err(fault)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(source).map_err(fault)?;
    let batches = builder.with_batch_size(BATCH_ROWS).build().map_err(fault)?;
    Ok(Box::new(batches.map(|batch| batch.map_err(|error| error.to_string()))))
}

/// The rows of a batch that are of the customer, ascending.
fn found(batch: &RecordBatch, id: &str) -> Result<Vec<usize>, Fault> {
    let column = batch.column_by_name(ID_COLUMN).ok_or_else(|| fault(unreadable(&"a column is missing")))?;
    // Ids are texts or whole numbers, also as dictionaries.
    let ids = cast(column, &DataType::LargeUtf8).map_err(|error| fault(format!("`{ID_COLUMN}`: {error}")))?;
    let ids = ids.as_string::<i64>();
    Ok((0..ids.len()).filter(|row| ids.is_valid(*row) && ids.value(*row) == id).collect())
}
