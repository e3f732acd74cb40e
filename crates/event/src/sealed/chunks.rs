//! Column chunks of a row group in memory, checked before anything is decoded.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use ::parquet::column::page::{Page, PageReader};
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use ::parquet::file::reader::{ChunkReader, Length};
use ::parquet::file::serialized_reader::SerializedPageReader;
use bytes::buf::Reader;
use bytes::{Buf, Bytes};

use super::pages;
use super::write::crc;

/// The most bytes that are read from a file at once.
const READ_BYTES: u64 = 64 << 20;
/// The most bytes that the texts of a chunk may take, if each is the longest of the dictionary.
const DICTIONARY_BYTES: u64 = 256 << 20;

/// Chunks by where they begin.
#[derive(Clone)]
pub(super) struct Chunks {
    parts: Arc<[(u64, Bytes)]>,
    /// The length of the file.
    length: u64,
}

impl Chunks {
    /// Reads the columns `leaves` of a row group. `checksum`: that of a column, if one is known.
    pub(super) fn read(
        file: &File,
        length: u64,
        group: &RowGroupMetaData,
        leaves: &[usize],
        checksum: impl Fn(usize) -> Option<u32>,
    ) -> Result<Self, String> {
        let rows = u64::try_from(group.num_rows()).map_err(|_| pages::contradicts())?;
        let mut wanted: Vec<(usize, Range<u64>)> =
            leaves.iter().map(|leaf| (*leaf, range(group.column(*leaf)))).collect();
        wanted.sort_by_key(|(_, range)| range.start);
        let mut parts = Vec::with_capacity(wanted.len());
        for span in spans(&wanted) {
            let start = span.first().map_or(0, |(_, range)| range.start);
            let end = span.last().map_or(start, |(_, range)| range.end);
            let mut bytes = vec![0; (end - start) as usize];
            file.read_exact_at(&mut bytes, start).map_err(|error| unreadable(&error))?;
            let bytes = Bytes::from(bytes);
            for (leaf, range) in span {
                let part = bytes.slice((range.start - start) as usize..(range.end - start) as usize);
                if checksum(*leaf).is_some_and(|stated| stated != crc(&part)) {
                    let name = group.column(*leaf).column_path().string();
                    return Err(format!("column `{name}` does not match its checksum; the file was changed"));
                }
                parts.push((range.start, part));
            }
        }
        let chunks = Self { parts: parts.into(), length };
        for leaf in leaves {
            let column = group.column(*leaf);
            let checked = chunks.check(column, rows);
            checked.map_err(|message| format!("column `{}` {message}", column.column_path().string()))?;
        }
        Ok(chunks)
    }

    /// Checks the pages of a column.
    fn check(&self, column: &ColumnChunkMetaData, rows: u64) -> Result<(), String> {
        let range = range(column);
        let bytes = self.get_bytes(range.start, (range.end - range.start) as usize);
        let found = pages::check(&bytes.map_err(|error| error.to_string())?, column, rows)?;
        if !found.has_dictionary || column.column_type() != ::parquet::basic::Type::BYTE_ARRAY {
            return Ok(());
        }
        let rows = usize::try_from(rows).map_err(|_| pages::contradicts())?;
        let mut reader = SerializedPageReader::new(Arc::new(self.clone()), column, rows, None)
            .map_err(|error| error.to_string())?;
        let Some(Page::DictionaryPage { buf, .. }) =
            reader.get_next_page().map_err(|error| error.to_string())?
        else {
            return Err("has a dictionary behind values".to_owned());
        };
        let longest = longest_text(&buf).ok_or_else(pages::contradicts)?;
        if found.values.saturating_mul(longest) > DICTIONARY_BYTES {
            return Err(format!(
                "may unpack to more than {} MiB; write it without a dictionary, or with smaller row groups",
                DICTIONARY_BYTES >> 20
            ));
        }
        Ok(())
    }

    /// The part that has the byte at `start`, from there on.
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let behind = self.parts.partition_point(|(at, _)| *at <= start);
        let part = behind.checked_sub(1).map(|at| &self.parts[at]);
        part.and_then(|(at, bytes)| {
            Some(bytes.slice(usize::try_from(start - at).ok().filter(|skip| *skip <= bytes.len())?..))
        })
        .ok_or_else(|| ParquetError::EOF("a column outside of its chunk".to_owned()))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Chunks {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF("a page beyond its chunk".to_owned()));
        }
        Ok(bytes.slice(..length))
    }
}

/// Where a chunk is. That it is within the file was checked when the file was opened.
fn range(column: &ColumnChunkMetaData) -> Range<u64> {
    let (start, length) = column.byte_range();
    start..start + length
}

/// The chunks that lie side by side, so that they can be read at once. Chunks that overlap are read apart.
fn spans(wanted: &[(usize, Range<u64>)]) -> impl Iterator<Item = &[(usize, Range<u64>)]> {
    let mut bytes = 0;
    wanted.chunk_by(move |(_, one), (_, next)| {
        bytes += next.end - next.start;
        let together = one.end == next.start && bytes <= READ_BYTES;
        if !together {
            bytes = 0;
        }
        together
    })
}

/// The longest of texts that are preceded by their length each.
fn longest_text(mut bytes: &[u8]) -> Option<u64> {
    let mut longest = 0;
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        longest = longest.max(length);
        bytes = rest.get(length as usize..)?;
    }
    Some(longest.into())
}

fn unreadable(error: &io::Error) -> String {
    format!("it cannot be read: {error}")
}
