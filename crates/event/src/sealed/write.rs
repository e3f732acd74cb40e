//! Writing a file: rows are collected in batches, batches in row groups, and each row group goes to the file once it
//! is whole. So memory is bounded for any log, and the same entries give the same bytes.

use std::fs::File;
use std::io::Write;
use std::mem;
use std::path::{Path, PathBuf};

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{KeyValue, SortingColumn};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::schema::types::ColumnPath;
use crc_fast::CrcAlgorithm;
use prost::Message;

use super::description::{CHUNKS_CRC, Contents, FOOTER_CRC};
use super::{Content, Description, GROUP_BYTES, GROUP_ROWS, Kind, OfLog, SealedError};
use crate::columns::{BatchBuilder, COLUMNS, Cells, Column, Entry, schema};
use crate::proto::DecisionRecord;

/// Rows of a batch: enough to amortise its set-up.
const BATCH_ROWS: usize = 1_024;
/// Bytes of events after which a batch ends.
const BATCH_BYTES: usize = 1 << 20;
/// The most bytes that a row group's values of a column with a dictionary may take unpacked, if each is the longest.
/// Readers refuse what could take more than eight times as much.
const DICTIONARY_BYTES: usize = 32 << 20;
/// Level 3 of zstd packs to within a few percent of slower ones.
const ZSTD_LEVEL: i32 = 3;
/// What the name of the program begins with that a file says to be written by.
pub(super) const CREATED_BY: &str = "proffer version";
/// What stands for the checksum of the footer while it is computed.
const NO_CHECKSUM: &str = "00000000";

/// Writes entries to a new file.
pub(crate) struct SealedWriter {
    path: PathBuf,
    file: File,
    writer: ArrowWriter<Vec<u8>>,
    batch: BatchBuilder,
    group: Group,
    /// Bytes that went to the file.
    written: u64,
    chunk_checksums: String,
    contents: Contents,
    positions: Option<(u64, u64)>,
}

/// The row group that is being written.
#[derive(Default)]
struct Group {
    rows: usize,
    bytes: usize,
    /// The most values of a column with a dictionary.
    values: usize,
    /// The longest of them.
    longest: usize,
}

impl SealedWriter {
    /// Creates the file. `ordered`: whether entries will come in the order of `decided_at`.
    pub(crate) fn create(path: &Path, ordered: bool) -> Result<Self, SealedError> {
        let file = File::create(path).map_err(SealedError::io(path))?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties(ordered).map_err(failed(path))?)
            .with_skip_arrow_metadata(true)
            .with_schema_root("events".to_owned());
        let writer =
            ArrowWriter::try_new_with_options(Vec::new(), schema(), options).map_err(failed(path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            writer,
            batch: BatchBuilder::new(),
            group: Group::default(),
            written: 0,
            chunk_checksums: String::new(),
            contents: Contents::new(),
            positions: None,
        })
    }

    /// Adds an entry. `checksum`: that of its frame.
    pub(crate) fn push(&mut self, entry: Entry, checksum: u32) -> Result<(), SealedError> {
        let bytes = entry.record.encoded_len();
        if !self.group.take(&entry.record, bytes) {
            self.end_group()?;
            self.group.take(&entry.record, bytes);
        }
        self.contents.add(checksum);
        let position = entry.position;
        let (first, last) = self.positions.unwrap_or((position, position));
        self.positions = Some((first.min(position), last.max(position)));
        self.batch.push(entry, bytes);
        if self.batch.rows() >= BATCH_ROWS || self.batch.bytes() >= BATCH_BYTES {
            self.end_batch()?;
        }
        Ok(())
    }

    /// Ends the file, and syncs it to the disk.
    pub(crate) fn finish(mut self, kind: Kind, log: Option<OfLog>) -> Result<Content, SealedError> {
        self.end_group()?;
        let content = self.contents.content();
        let (first_position, last_position) = self.positions.unwrap_or_default();
        let description = Description { kind, content, first_position, last_position, log };
        let checksums =
            [(CHUNKS_CRC, mem::take(&mut self.chunk_checksums)), (FOOTER_CRC, NO_CHECKSUM.to_owned())];
        for (key, value) in description.pairs().into_iter().chain(checksums) {
            self.writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        self.writer.finish().map_err(failed(&self.path))?;
        let mut footer = self.take_bytes()?;
        // Eight bytes behind it are its length and `PAR1`.
        let end = footer.len().saturating_sub(8);
        if let Some((at, _)) = checksum_in(&footer[..end]) {
            let checksum = crc(&footer[..end]);
            footer[at..at + NO_CHECKSUM.len()].copy_from_slice(format!("{checksum:08x}").as_bytes());
        }
        let written = self.file.write_all(&footer).and_then(|()| self.file.sync_all());
        written.map_err(SealedError::io(&self.path))?;
        Ok(content)
    }

    fn end_batch(&mut self) -> Result<(), SealedError> {
        if self.batch.rows() == 0 {
            return Ok(());
        }
        let batch = self.batch.finish().map_err(|error| failed(&self.path)(error.into()))?;
        self.writer.write(&batch).map_err(failed(&self.path))
    }

    /// Ends the row group, and moves it to the file.
    fn end_group(&mut self) -> Result<(), SealedError> {
        self.end_batch()?;
        self.group = Group::default();
        let before = self.writer.flushed_row_groups().len();
        self.writer.flush().map_err(failed(&self.path))?;
        let start = self.written;
        let mut bytes = self.take_bytes()?;
        for group in &self.writer.flushed_row_groups()[before..] {
            for column in group.columns() {
                let (at, length) = column.byte_range();
                let at = (at - start) as usize;
                let checksum = crc(bytes.get(at..at + length as usize).unwrap_or_default());
                let _ = std::fmt::Write::write_fmt(&mut self.chunk_checksums, format_args!("{checksum:08x}"));
            }
        }
        self.file.write_all(&bytes).map_err(SealedError::io(&self.path))?;
        // The next group takes about as much.
        bytes.clear();
        *self.writer.inner_mut() = bytes;
        Ok(())
    }

    /// The bytes since the last call.
    fn take_bytes(&mut self) -> Result<Vec<u8>, SealedError> {
        self.writer.sync().map_err(SealedError::io(&self.path))?;
        let bytes = mem::take(self.writer.inner_mut());
        self.written += bytes.len() as u64;
        Ok(bytes)
    }
}

impl Group {
    /// Counts a record, unless the group is full.
    fn take(&mut self, record: &DecisionRecord, bytes: usize) -> bool {
        let texts = [
            &record.server,
            &record.server_version,
            &record.placement,
            &record.channel,
            &record.pseudonym_key,
        ];
        let texts = texts.into_iter().chain(record.offers.iter().map(|offer| &offer.offer_id));
        let next = Self {
            rows: self.rows + 1,
            bytes: self.bytes + bytes,
            values: self.values + record.offers.len().max(1),
            longest: texts.map(String::len).fold(self.longest, usize::max),
        };
        let full = next.rows > GROUP_ROWS
            || next.bytes > GROUP_BYTES
            || next.values.saturating_mul(next.longest) > DICTIONARY_BYTES;
        if full && self.rows > 0 {
            return false;
        }
        *self = next;
        true
    }
}

fn properties(ordered: bool) -> Result<WriterProperties, ParquetError> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL)?;
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("{CREATED_BY} {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        // Row groups are small, so that an index of pages would save nothing.
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(None);
    if ordered {
        let ascending = |column_idx| SortingColumn { column_idx, descending: false, nulls_first: false };
        let position = |name| COLUMNS.iter().position(|column| column.name == name);
        let columns = [crate::columns::DECIDED_AT, crate::columns::POSITION].into_iter().filter_map(position);
        properties = properties.set_sorting_columns(Some(columns.map(|at| ascending(at as i32)).collect()));
    }
    for column in &COLUMNS {
        if column.repeats {
            properties = properties.set_column_dictionary_enabled(path(column), true);
        }
        if !column.cells.is_list() && column.cells != Cells::Bytes {
            properties = properties.set_column_statistics_enabled(path(column), EnabledStatistics::Chunk);
        }
    }
    Ok(properties.build())
}

fn path(column: &Column) -> ColumnPath {
    let name = column.name.to_owned();
    if column.cells.is_list() {
        ColumnPath::new(vec![name, "list".to_owned(), Cells::ELEMENT.to_owned()])
    } else {
        ColumnPath::from(name)
    }
}

/// Where a footer has its own checksum, and the eight letters that stand there.
pub(super) fn checksum_in(footer: &[u8]) -> Option<(usize, [u8; 8])> {
    let key = FOOTER_CRC.as_bytes();
    // The last, as texts of events may stand before it. Behind the key are the head of a field and a length.
    let at = footer.windows(key.len()).rposition(|window| window == key)? + key.len() + 2;
    Some((at, footer.get(at..at + 8)?.try_into().ok()?))
}

/// The checksum of a footer, computed with its own field set to zero.
pub(super) fn footer_checksum(footer: &mut [u8], at: usize) -> u32 {
    footer[at..at + NO_CHECKSUM.len()].copy_from_slice(NO_CHECKSUM.as_bytes());
    crc(footer)
}

/// The CRC-32C of bytes.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn failed(path: &Path) -> impl FnOnce(ParquetError) -> SealedError {
    let path = path.display().to_string();
    move |error| SealedError::damaged(&path, format!("it cannot be written: {error}"))
}
