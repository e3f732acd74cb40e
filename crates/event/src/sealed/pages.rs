//! Checks the pages of a column chunk before any is unpacked: their unpacked size, their values, their encoding.
//!
//! The decoder believes the headers of pages: it allocates what they claim, and a run of a billion equal values takes
//! a few bytes. Crate `table` checks tables of customers likewise; its check knows no lists. See
//! <https://github.com/apache/parquet-format> and
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use ::parquet::basic::{Compression, Type};
use ::parquet::file::metadata::ColumnChunkMetaData;

/// The most bytes of a page, unpacked. One event of 32 MiB is a page of its own.
const PAGE_BYTES: u64 = 64 << 20;
/// The most bytes of all pages of a chunk, unpacked.
const CHUNK_BYTES: u64 = 256 << 20;
/// The most elements of the lists of a row group.
const ELEMENTS: u64 = 4 << 20;

const DATA: i64 = 0;
const INDEX: i64 = 1;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE: i64 = 3;
const RLE_DICTIONARY: i64 = 8;

/// What was found in a chunk.
pub(super) struct Found {
    /// Values of the data pages, with what is missing.
    pub(super) values: u64,
    pub(super) has_dictionary: bool,
}

/// Checks all pages of the chunk `bytes` of a row group with `rows` rows.
pub(super) fn check(bytes: &[u8], column: &ColumnChunkMetaData, rows: u64) -> Result<Found, String> {
    match column.compression() {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) | Compression::LZ4_RAW => {}
        other @ (Compression::GZIP(_) | Compression::BROTLI(_) | Compression::LZO | Compression::LZ4) => {
            return Err(format!("is compressed with {other}; write it with zstd"));
        }
    }
    let mut found = Found { values: 0, has_dictionary: false };
    let (mut at, mut unpacked) = (0, 0_u64);
    while at < bytes.len() {
        let mut compact = Compact { bytes, at };
        let header = PageHeader::read(&mut compact).ok_or_else(contradicts)?;
        let packed = usize::try_from(header.packed).map_err(|_| contradicts())?;
        at = compact.at.checked_add(packed).filter(|at| *at <= bytes.len()).ok_or_else(contradicts)?;
        let page = u64::try_from(header.unpacked).map_err(|_| contradicts())?;
        let values = u64::try_from(header.values).map_err(|_| contradicts())?;
        unpacked = unpacked.saturating_add(page);
        if page > PAGE_BYTES || unpacked > CHUNK_BYTES {
            let most = if page > PAGE_BYTES { PAGE_BYTES } else { CHUNK_BYTES } >> 20;
            return Err(format!(
                "unpacks to more than {most} MiB; write it with smaller pages and row groups"
            ));
        }
        match header.kind {
            // The decoder allocates space for as many values as the header claims.
            DICTIONARY if values > page / least_bytes(column.column_type()) => return Err(contradicts()),
            DICTIONARY => found.has_dictionary = true,
            DATA | DATA_V2 => {
                let booleans = column.column_type() == Type::BOOLEAN;
                match header.encoding {
                    PLAIN | PLAIN_DICTIONARY | RLE_DICTIONARY => {}
                    RLE if booleans => {}
                    other => {
                        return Err(format!(
                            "has values of encoding {other}; write it with plain values or dictionaries"
                        ));
                    }
                }
                found.values = found.values.saturating_add(values);
            }
            INDEX => {}
            _ => return Err(contradicts()),
        }
    }
    let lists = column.column_descr().max_rep_level() > 0;
    let stated = u64::try_from(column.num_values()).map_err(|_| contradicts())?;
    let fits = if lists { (rows..=ELEMENTS.max(rows)).contains(&found.values) } else { found.values == rows };
    if fits && found.values == stated { Ok(found) } else { Err(contradicts()) }
}

/// The fewest bytes that a value of a dictionary takes.
fn least_bytes(kind: Type) -> u64 {
    match kind {
        Type::BOOLEAN | Type::FIXED_LEN_BYTE_ARRAY => 1,
        // A text is preceded by its length.
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
    }
}

pub(super) fn contradicts() -> String {
    "contradicts itself".to_owned()
}

/// The part of a page header that is checked.
#[derive(Debug, Default, PartialEq, Eq)]
struct PageHeader {
    kind: i64,
    unpacked: i64,
    packed: i64,
    values: i64,
    encoding: i64,
    /// The number of the field that has the last two.
    part: Option<i64>,
}

impl PageHeader {
    fn read(compact: &mut Compact<'_>) -> Option<Self> {
        let mut header = Self::default();
        let mut id = 0;
        while let Some(kind) = compact.field(&mut id)? {
            match (id, kind) {
                (1, I32) => header.kind = compact.zigzag()?,
                (2, I32) => header.unpacked = compact.zigzag()?,
                (3, I32) => header.packed = compact.zigzag()?,
                // With two of them, the decoder might believe the other.
                (5 | 7 | 8, STRUCT) if header.part.is_none() => header.read_part(id, compact)?,
                (5 | 7 | 8, _) => return None,
                _ => compact.skip(kind, 0)?,
            }
        }
        Some(header)
    }

    /// `DataPageHeader`, `DictionaryPageHeader` or `DataPageHeaderV2`.
    fn read_part(&mut self, part: i64, compact: &mut Compact<'_>) -> Option<()> {
        self.part = Some(part);
        let mut id = 0;
        while let Some(kind) = compact.field(&mut id)? {
            match (part, id, kind) {
                (_, 1, I32) => self.values = compact.zigzag()?,
                (5 | 7, 2, I32) | (8, 4, I32) => self.encoding = compact.zigzag()?,
                _ => compact.skip(kind, 0)?,
            }
        }
        Some(())
    }
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const STRUCT: u8 = 12;

/// The most levels of nested structures.
const DEEPEST: usize = 8;

/// Thrift's compact protocol, as far as page headers use it: they have no lists and no maps.
struct Compact<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// The type of the next field, with its number in `id`; `None` within at the end of the structure.
    #[expect(
        clippy::option_option,
        reason = "the outer is the end of the bytes, the inner that of the structure"
    )]
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *id = match head >> 4 {
            0 => self.zigzag()?,
            step => id.saturating_add(step.into()),
        };
        Some(Some(head & 0x0f))
    }

    fn discard(&mut self, bytes: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(bytes).ok()?).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => Some(()),
            BYTE => self.discard(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.discard(8),
            BINARY => self.varint().and_then(|bytes| self.discard(bytes)),
            STRUCT if depth < DEEPEST => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data page of 5 plain values, 10 bytes packed and 12 unpacked.
    const HEADER: [u8; 17] = [
        0x15, 0x00, 0x15, 0x18, 0x15, 0x14, 0x2c, 0x15, 0x0a, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x00, 0x00,
    ];

    fn read(bytes: &[u8]) -> Option<(PageHeader, usize)> {
        let mut compact = Compact { bytes, at: 0 };
        let header = PageHeader::read(&mut compact)?;
        Some((header, compact.at))
    }

    #[test]
    fn a_header_is_read_to_its_end() {
        let expected =
            PageHeader { kind: DATA, unpacked: 12, packed: 10, values: 5, encoding: PLAIN, part: Some(5) };
        let behind = [&HEADER[..], &[0xff; 9]].concat();
        assert_eq!(read(&behind), Some((expected, HEADER.len())));
        for cut in 0..HEADER.len() {
            assert_eq!(read(&HEADER[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_header_that_readers_may_understand_in_two_ways_is_refused() {
        let mut twice = HEADER[..HEADER.len() - 1].to_vec();
        // The header of a dictionary beside that of values.
        twice.extend([0x2c, 0x15, 0x02, 0x15, 0x00, 0x00, 0x00]);
        assert_eq!(read(&twice), None);
    }

    #[test]
    fn what_pages_do_not_have_is_refused() {
        // A list, a map, a type that there is not, and structures in structures without an end.
        for (kind, rest) in [(9, [0xf5; 20]), (11, [0x55; 20]), (14, [0; 20]), (12, [0x1c; 20])] {
            let mut bytes = vec![0x90 | kind];
            bytes.extend(rest);
            assert_eq!(read(&bytes), None, "{kind}");
        }
    }
}
