//! Checks the pages of a column chunk before any is unpacked: their unpacked size, their values, their encoding.
//!
//! The decoder believes the headers of pages: it allocates what they claim, and a run of a billion equal values takes
//! a few bytes. Crate `table` checks tables of customers likewise and reads the headers; its check knows no lists. See
//! <https://github.com/apache/parquet-format>.

use ::parquet::basic::{Compression, Type};
use ::parquet::file::metadata::ColumnChunkMetaData;
use table::parquet::PageHeader;

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
        let header = header(&bytes[at..]).ok_or_else(contradicts)?;
        at += header.length as usize;
        let packed = usize::try_from(header.packed).map_err(|_| contradicts())?;
        at = at.checked_add(packed).filter(|at| *at <= bytes.len()).ok_or_else(contradicts)?;
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

/// The header at the beginning of `bytes`; `None` if it is damaged, or has what headers of pages do not have.
fn header(bytes: &[u8]) -> Option<PageHeader> {
    PageHeader::read(bytes).ok().filter(|header| !header.unusual)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data page of 5 plain values, 10 bytes packed and 12 unpacked.
    const HEADER: [u8; 17] = [
        0x15, 0x00, 0x15, 0x18, 0x15, 0x14, 0x2c, 0x15, 0x0a, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x00, 0x00,
    ];

    /// The parts of a header that are checked, and its length.
    fn read(bytes: &[u8]) -> Option<([i64; 5], usize)> {
        let PageHeader { kind, unpacked, packed, values, encoding, length, .. } = header(bytes)?;
        Some(([kind, unpacked, packed, values, encoding], length as usize))
    }

    #[test]
    fn a_header_is_read_to_its_end() {
        let expected = [DATA, 12, 10, 5, PLAIN];
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
        // A list that is whole, and structures deeper than any header has.
        let list = [0x99, 0x15, 0x02, 0x00];
        let deep = [&[0x9c][..], &[0x1c; 8], &[0x00; 10]].concat();
        for bytes in [&list[..], &deep[..]] {
            assert!(PageHeader::read(bytes).unwrap().unusual);
            assert_eq!(read(bytes), None);
        }
        for (kind, rest) in [(9, [0xf5; 20]), (11, [0x55; 20]), (14, [0; 20]), (12, [0x1c; 20])] {
            let mut bytes = vec![0x90 | kind];
            bytes.extend(rest);
            assert_eq!(read(&bytes), None, "{kind}");
        }
    }
}
