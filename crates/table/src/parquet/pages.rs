//! Checks the pages of the columns that will be read: their unpacked size and number of values.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use ::parquet::basic::{Compression, Type};
use ::parquet::column::page::{Page, PageReader};
use ::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use ::parquet::file::reader::ChunkReader;
use ::parquet::file::serialized_reader::SerializedPageReader;

use super::thrift::PageHeader;
use super::{delta, unreadable};
use crate::limits::Limits;

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

/// The first bytes of an LZ4 frame, which a page may contain instead of a block.
const LZ4_FRAME: [u8; 4] = 0x184D_2204_u32.to_le_bytes();

/// The most bytes that one byte of LZ4 unpacks to.
const LZ4_RATIO: u64 = 255;

/// The dictionaries of all columns that are read, each number that of the row group with the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dictionaries {
    /// Their bytes.
    pub(super) bytes: u64,
    /// The bytes of the longest text of each, taken together: what a row takes at most, over what is in the pages.
    pub(super) longest_texts: u64,
}

/// Checks all pages of the columns `leaves` against the limits. Returns what they have of dictionaries.
pub(super) fn check<R: ChunkReader + 'static>(
    input: &Arc<R>,
    file: &ParquetMetaData,
    leaves: &[usize],
    limits: &Limits,
) -> Result<Dictionaries, String> {
    let length = input.len();
    let (mut unpacked, mut most) = (0_u64, Dictionaries::default());
    for group in file.row_groups() {
        let rows = u64::try_from(group.num_rows()).map_err(|_| contradicts())?;
        let mut of_group = Dictionaries::default();
        for leaf in leaves {
            let column = group.columns().get(*leaf).ok_or_else(contradicts)?;
            let found = Chunk::walk(&**input, column, rows, length, limits)?;
            unpacked = unpacked.saturating_add(found.unpacked);
            if unpacked > limits.unpacked_of(length) {
                let most = limits.unpacked_of(length) >> 20;
                return Err(format!(
                    "its pages unpack to more than {most} MiB, too much for a file of {length} bytes; \
                     write it again as CSV"
                ));
            }
            if found.has_delta_texts {
                check_delta(input, column, rows)?;
            }
            of_group.bytes = of_group.bytes.saturating_add(found.dictionary);
            if found.dictionary > 0 {
                let longest = longest_text(input, column, rows, found.dictionary)?;
                of_group.longest_texts = of_group.longest_texts.saturating_add(longest);
            }
        }
        most.bytes = most.bytes.max(of_group.bytes);
        most.longest_texts = most.longest_texts.max(of_group.longest_texts);
    }
    Ok(most)
}

/// The totals of the pages of a column in a row group.
#[derive(Default)]
struct Chunk {
    unpacked: u64,
    dictionary: u64,
    values: u64,
    has_delta_texts: bool,
}

impl Chunk {
    fn walk<R: ChunkReader>(
        input: &R,
        column: &ColumnChunkMetaData,
        rows: u64,
        length: u64,
        limits: &Limits,
    ) -> Result<Self, String> {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let start = u64::try_from(start).map_err(|_| contradicts())?;
        let size = u64::try_from(column.compressed_size()).map_err(|_| contradicts())?;
        let end = start.checked_add(size).filter(|end| *end <= length).ok_or_else(contradicts)?;
        let (mut at, mut found) = (start, Self::default());
        while at < end {
            let header = input.get_read(at).map_err(|error| unreadable(&error))?;
            let header = PageHeader::read(header.take(end - at)).map_err(|error| unreadable(&error))?;
            let packed = u64::try_from(header.packed).map_err(|_| contradicts())?;
            let body = at + header.length;
            at = body.checked_add(packed).filter(|at| *at <= end).ok_or_else(contradicts)?;
            found.take(&header, least_bytes(column.column_type()), rows, limits)?;
            check_codec(input, column.compression(), &header, body, packed, limits)?;
        }
        if found.values > rows {
            return Err(contradicts());
        }
        Ok(found)
    }

    /// `least`: the fewest bytes that a value of a dictionary takes.
    fn take(&mut self, header: &PageHeader, least: u64, rows: u64, limits: &Limits) -> Result<(), String> {
        let unpacked = u64::try_from(header.unpacked).map_err(|_| contradicts())?;
        let values = u64::try_from(header.values).map_err(|_| contradicts())?;
        if unpacked > limits.page_bytes {
            let most = limits.page_bytes >> 20;
            return Err(format!(
                "has a page that unpacks to {} MiB; at most {most}: write it with smaller pages",
                unpacked >> 20
            ));
        }
        self.unpacked = self.unpacked.saturating_add(unpacked);
        match header.kind {
            // The decoder allocates space for as many values as the header claims.
            DICTIONARY if values > unpacked / least => return Err(contradicts()),
            DICTIONARY => self.dictionary = self.dictionary.saturating_add(unpacked),
            DATA | DATA_V2 => {
                self.values = self.values.saturating_add(values);
                self.has_delta_texts |= delta::is_of_texts(header.encoding);
            }
            _ => {}
        }
        if self.values > rows { Err(contradicts()) } else { Ok(()) }
    }
}

fn least_bytes(kind: Type) -> u64 {
    match kind {
        Type::BOOLEAN | Type::FIXED_LEN_BYTE_ARRAY => 1,
        // A text is preceded by its length.
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
    }
}

/// Checks the unpacked size of a page against its header where the decoder does not. Gzip, brotli and LZ4 frames
/// unpack for as long as their own bytes say.
fn check_codec<R: ChunkReader>(
    input: &R,
    codec: Compression,
    header: &PageHeader,
    body: u64,
    packed: u64,
    limits: &Limits,
) -> Result<(), String> {
    if header.plain {
        return Ok(());
    }
    let levels = u64::try_from(header.levels).map_err(|_| contradicts())?;
    let said =
        u64::try_from(header.unpacked).unwrap_or_default().checked_sub(levels).ok_or_else(contradicts)?;
    let packed = packed.checked_sub(levels).ok_or_else(contradicts)?;
    let open = || {
        let bytes = input.get_read(body.saturating_add(levels)).map_err(|error| unreadable(&error))?;
        Ok::<_, String>(BufReader::new(bytes.take(packed)))
    };
    let found = match codec {
        Compression::GZIP(_) => count(flate2::bufread::MultiGzDecoder::new(open()?), said),
        Compression::BROTLI(_) => count(brotli::Decompressor::new(open()?, BROTLI_BUFFER_BYTES), said),
        Compression::LZ4 => {
            let mut magic = [0; 4];
            let framed = open()?.read_exact(&mut magic).is_ok() && magic == LZ4_FRAME;
            if framed && packed.saturating_mul(LZ4_RATIO) > limits.page_bytes { limits.page_bytes } else { 0 }
        }
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::LZO
        | Compression::ZSTD(_)
        | Compression::LZ4_RAW => 0,
    };
    if found > said {
        return Err(unreadable(&"a page unpacks to more than its header says"));
    }
    Ok(())
}

const BROTLI_BUFFER_BYTES: usize = 64 << 10;

/// Bytes that `input` yields, counted up to `most + 1`. Reporting damaged input is left to the decoder.
fn count(input: impl Read, most: u64) -> u64 {
    let mut left = input.take(most.saturating_add(1));
    match io::copy(&mut left, &mut io::sink()) {
        Ok(bytes) => bytes,
        Err(_) => most.saturating_add(1) - left.limit(),
    }
}

/// Checks the counts within pages of texts against the rows: the decoder allocates space for as many as they claim.
fn check_delta<R: ChunkReader + 'static>(
    input: &Arc<R>,
    column: &ColumnChunkMetaData,
    rows: u64,
) -> Result<(), String> {
    let rows = usize::try_from(rows).map_err(|_| contradicts())?;
    let mut pages = SerializedPageReader::new(Arc::clone(input), column, rows, None)
        .map_err(|error| unreadable(&error))?;
    let nullable = column.column_descr().max_def_level() > 0;
    while let Some(page) = pages.get_next_page().map_err(|error| unreadable(&error))? {
        if !delta::counts_fit(&page, nullable) {
            return Err(contradicts());
        }
    }
    Ok(())
}

/// The bytes of the longest text of a column's dictionary, which takes `bytes`; 0 if it has numbers.
fn longest_text<R: ChunkReader + 'static>(
    input: &Arc<R>,
    column: &ColumnChunkMetaData,
    rows: u64,
    bytes: u64,
) -> Result<u64, String> {
    match column.column_type() {
        Type::BYTE_ARRAY => {}
        Type::FIXED_LEN_BYTE_ARRAY => {
            return u64::try_from(column.column_descr().type_length()).map_err(|_| contradicts());
        }
        Type::BOOLEAN | Type::INT32 | Type::INT64 | Type::INT96 | Type::FLOAT | Type::DOUBLE => return Ok(0),
    }
    let rows = usize::try_from(rows).map_err(|_| contradicts())?;
    let mut pages = SerializedPageReader::new(Arc::clone(input), column, rows, None)
        .map_err(|error| unreadable(&error))?;
    let first = pages.get_next_page().map_err(|error| unreadable(&error))?;
    Ok(match first {
        Some(Page::DictionaryPage { buf, .. }) => longest_of(&buf),
        // It is elsewhere, so it is not known: the decoder decides what that means.
        _ => bytes,
    })
}

/// The bytes of the longest of plain texts, each behind its length. What is behind a false length counts as one text.
fn longest_of(mut texts: &[u8]) -> u64 {
    let mut longest = 0;
    while let Some((length, behind)) = texts.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        longest = longest.max(length.min(behind.len()));
        texts = behind.get(length..).unwrap_or_default();
    }
    longest as u64
}

fn contradicts() -> String {
    unreadable(&"it contradicts itself")
}
