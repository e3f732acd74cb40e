//! The customers of a store: a file without one of them.
//!
//! The file is made anew; whoever owns the store puts it in the place of the former one, the present file and those
//! that are kept to undo a load. Nothing but the row goes: a CSV file keeps its bytes, separator, quotes and numbers,
//! and its compression; a Parquet file keeps its columns, types and metadata.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::DataType;
use table::parquet::{Parquet, unreadable};
use table::{Faults, Limits, Options, Reader, Record};

use super::ErasureError;

/// The id column, which every customer file has.
const ID_COLUMN: &str = "customer_id";

/// The first bytes of files by their format. The name says nothing: a store keeps compressed files as `.csv`, too.
const PARQUET: &[u8] = b"PAR1";
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Level 3 packs to within a few percent of slower ones.
const ZSTD_LEVEL: i32 = 3;
/// Rows of Parquet that are decoded at a time.
const BATCH_ROWS: usize = 4_096;
/// Bytes that are read or written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes to `made` what `file` has besides the rows of the customer `id`, and syncs it to the disk. Returns how many
/// rows that leaves out; without any, nothing is written.
///
/// # Errors
/// When the file cannot be read to its end, or `made` not be written. `made` is to be removed then.
pub fn without(file: &Path, id: &str, made: &Path) -> Result<u64, ErasureError> {
    let shown = file.display().to_string();
    let mut magic = Vec::new();
    let read = File::open(file).and_then(|source| source.take(4).read_to_end(&mut magic));
    read.map_err(ErasureError::io(file))?;
    let rows = if magic == PARQUET {
        // The decoder asserts when a damaged file contradicts itself. Nothing of it survives that.
        catch_unwind(AssertUnwindSafe(|| parquet_without(file, id, made)))
            .unwrap_or_else(|_| Err(unreadable(&"it contradicts itself")))
    } else {
        csv_without(file, id, made)
    };
    rows.map_err(|message| ErasureError::damaged(&shown, message))
}

/// How a CSV file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(file: &Path) -> io::Result<Self> {
        let mut magic = Vec::new();
        File::open(file)?.take(4).read_to_end(&mut magic)?;
        Ok(match magic {
            magic if magic.starts_with(GZIP) => Self::Gzip,
            magic if magic == ZSTD => Self::Zstd,
            _ => Self::None,
        })
    }

    /// The text of a file.
    fn unpacked(self, file: &Path) -> io::Result<Box<dyn Read + Send>> {
        let source = BufReader::with_capacity(BUFFER_BYTES, File::open(file)?);
        let text: Box<dyn Read + Send> = match self {
            Self::None => return Ok(Box::new(source)),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(source)?),
        };
        Ok(Box::new(Bounded { text, left: Limits::CUSTOMERS.unpacked_bytes }))
    }
}

/// Fails where a compressed file has no end.
struct Bounded {
    text: Box<dyn Read + Send>,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other("it unpacks to more than a table may have")),
        }
        Ok(read)
    }
}

/// A compressed file that is being written.
enum Packed {
    None(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Packed {
    fn create(packing: Packing, made: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(made)?);
        Ok(match packing {
            Packing::None => Self::None(file),
            Packing::Gzip => Self::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::default())),
            Packing::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(file, ZSTD_LEVEL)?),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::None(file) => file.write_all(bytes),
            Self::Gzip(file) => file.write_all(bytes),
            Self::Zstd(file) => file.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        let file = match self {
            Self::None(file) => file,
            Self::Gzip(file) => file.finish()?,
            Self::Zstd(file) => file.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

fn csv_without(file: &Path, id: &str, made: &Path) -> Result<u64, String> {
    let text = |error: io::Error| error.to_string();
    let packing = Packing::of(file).map_err(text)?;
    let cuts = rows_of(packing.unpacked(file).map_err(text)?, id)?;
    if cuts.is_empty() {
        return Ok(0);
    }
    let copy = || -> io::Result<()> {
        let source = BufReader::with_capacity(BUFFER_BYTES, packing.unpacked(file)?);
        let mut target = Packed::create(packing, made)?;
        copy_without(source, &cuts, &mut |bytes| target.write_all(bytes))?;
        target.finish()
    };
    copy().map_err(text)?;
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

/// Where in a text the rows of a customer begin and end, in bytes.
fn rows_of(text: impl Read + Send, id: &str) -> Result<Vec<(u64, u64)>, String> {
    // As the server reads the files that a store has already.
    let options = Options {
        quote: Some(b'"'),
        column: Some(ID_COLUMN),
        faults: Faults::Tolerated,
        limits: Limits::CUSTOMERS,
        ..Options::default()
    };
    let mut reader = Reader::open(text, options).map_err(|fault| fault.message)?;
    let column = reader.names().iter().position(|name| name == ID_COLUMN);
    let column = column.ok_or_else(|| format!("no column `{ID_COLUMN}`"))?;
    let (mut record, mut cuts) = (Record::default(), Vec::new());
    loop {
        let start = reader.position();
        match reader.read(&mut record) {
            Ok(true) if record.get(column) == Some(id.as_bytes()) => cuts.push((start, reader.position())),
            Ok(true) => {}
            Ok(false) => return Ok(cuts),
            Err(fault) => {
                let line = fault.line.map_or_else(String::new, |line| format!("line {line}: "));
                return Err(format!("{line}{}", fault.message));
            }
        }
    }
}

fn parquet_without(file: &Path, id: &str, made: &Path) -> Result<u64, String> {
    let text = |error: io::Error| error.to_string();
    let failed = |error: ParquetError| error.to_string();
    let open = || Parquet::open(File::open(file).map_err(text)?, Limits::CUSTOMERS);
    let opened = open()?;
    let column = opened.fields().iter().position(|field| field.name() == ID_COLUMN);
    let column = column.ok_or_else(|| format!("no column `{ID_COLUMN}`"))?;
    // The ids alone first: most files do not have the customer.
    let mut rows = 0;
    for batch in opened.read(&[column], BATCH_ROWS)? {
        rows += found(&batch?, id)?.len() as u64;
    }
    if rows == 0 {
        return Ok(0);
    }
    let opened = open()?;
    let pairs = opened.file_metadata().key_value_metadata().cloned().unwrap_or_default();
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(failed)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let target = File::create(made).map_err(text)?;
    let (mut writer, mut cut): (Option<ArrowWriter<File>>, u64) = (None, 0);
    for batch in all_columns(opened, file)? {
        let batch = batch?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                let target = target.try_clone().map_err(text)?;
                let new = ArrowWriter::try_new(target, batch.schema(), Some(properties.clone()));
                writer.insert(new.map_err(failed)?)
            }
        };
        let mut start = 0;
        for row in found(&batch, id)?.into_iter().chain([batch.num_rows()]) {
            if row > start {
                writer.write(&batch.slice(start, row - start)).map_err(failed)?;
            }
            cut += u64::from(row < batch.num_rows());
            start = row + 1;
        }
    }
    let changed = || "it changed while it was read".to_owned();
    let mut writer = writer.ok_or_else(changed)?;
    // The types of Arrow are written by the writer itself.
    for pair in pairs.into_iter().filter(|pair| pair.key != "ARROW:schema") {
        writer.append_key_value_metadata(pair);
    }
    writer.close().map_err(failed)?;
    target.sync_all().map_err(text)?;
    if cut == rows { Ok(rows) } else { Err(changed()) }
}

/// The batches of all columns. Their pages are checked before they are unpacked, unless there are lists or structures:
/// no feature is one, so that the check does not know them.
fn all_columns(
    opened: Parquet<File>,
    file: &Path,
) -> Result<Box<dyn Iterator<Item = Result<RecordBatch, String>>>, String> {
    let fields = opened.fields().clone();
    if !fields.iter().any(|field| field.data_type().is_nested()) {
        let all: Vec<usize> = (0..fields.len()).collect();
        return Ok(Box::new(opened.read(&all, BATCH_ROWS)?));
    }
    let source = File::open(file).map_err(|error| error.to_string())?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(source).map_err(|error| error.to_string())?;
    let batches = builder.with_batch_size(BATCH_ROWS).build().map_err(|error| error.to_string())?;
    Ok(Box::new(batches.map(|batch| batch.map_err(|error| error.to_string()))))
}

/// The rows of a batch that are of the customer, ascending.
fn found(batch: &RecordBatch, id: &str) -> Result<Vec<usize>, String> {
    let column = batch.column_by_name(ID_COLUMN).ok_or_else(|| unreadable(&"a column is missing"))?;
    // Ids are texts or whole numbers, also as dictionaries.
    let ids = cast(column, &DataType::LargeUtf8).map_err(|error| format!("`{ID_COLUMN}`: {error}"))?;
    let ids = ids.as_string::<i64>();
    Ok((0..ids.len()).filter(|row| ids.is_valid(*row) && ids.value(*row) == id).collect())
}

#[cfg(test)]
mod tests;
