//! Texts with delta-encoded lengths. The page itself claims their number, and the decoder trusts that claim.
//!
//! See <https://github.com/apache/parquet-format/blob/master/Encodings.md>, `DELTA_BINARY_PACKED` and the encodings
//! built on it.

use ::parquet::basic::Encoding;
use ::parquet::column::page::Page;

/// The numbers of `DELTA_LENGTH_BYTE_ARRAY` and `DELTA_BYTE_ARRAY` in the format.
const OF_TEXTS: [i64; 2] = [6, 7];

/// Whether an encoding, given by number, is one of these.
pub(super) fn is_of_texts(encoding: i64) -> bool {
    OF_TEXTS.contains(&encoding)
}

/// Whether a page of such texts claims no more texts than it has values; `true` for every other page. `nullable`:
/// whether a data page of version 1 has levels before its values.
pub(super) fn counts_fit(page: &Page, nullable: bool) -> bool {
    let (values, encoding) = (u64::from(page.num_values()), page.encoding());
    if ![Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY].contains(&encoding) {
        return true;
    }
    let (bytes, levels) = match page {
        Page::DataPage { buf, .. } if nullable => {
            let Some(length) = buf.get(..4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) else {
                return false;
            };
            (buf, 4 + u32::from_le_bytes(length) as usize)
        }
        Page::DataPage { buf, .. } => (buf, 0),
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            (buf, *def_levels_byte_len as usize + *rep_levels_byte_len as usize)
        }
        Page::DictionaryPage { .. } => return true,
    };
    let Some(bytes) = bytes.get(levels..) else { return false };
    let Some(first) = Numbers::begin(bytes).filter(|first| first.count <= values) else { return false };
    if encoding == Encoding::DELTA_LENGTH_BYTE_ARRAY {
        return true;
    }
    // The lengths of the shared prefixes come first, then the lengths of the suffixes.
    let second = first.end().and_then(|end| bytes.get(end..)).and_then(Numbers::begin);
    second.is_some_and(|second| second.count <= values)
}

/// Delta-encoded numbers, in blocks.
struct Numbers<'b> {
    bytes: &'b [u8],
    /// Where the first block begins.
    at: usize,
    block: u64,
    parts: u64,
    count: u64,
}

impl<'b> Numbers<'b> {
    fn begin(bytes: &'b [u8]) -> Option<Self> {
        let mut at = 0;
        let block = varint(bytes, &mut at)?;
        let parts = varint(bytes, &mut at)?;
        let count = varint(bytes, &mut at)?;
        varint(bytes, &mut at)?;
        Some(Self { bytes, at, block, parts, count })
    }

    /// Where the numbers end.
    fn end(&self) -> Option<usize> {
        let mut at = self.at;
        let mut left = self.count.saturating_sub(1);
        let of_part = self.block.checked_div(self.parts)?;
        while left > 0 {
            varint(self.bytes, &mut at)?;
            let widths = self.bytes.get(at..at.checked_add(usize::try_from(self.parts).ok()?)?)?;
            at += widths.len();
            for width in widths {
                if left == 0 {
                    break;
                }
                let bytes = u64::from(*width).checked_mul(of_part)?.div_ceil(8);
                at = at.checked_add(usize::try_from(bytes).ok()?)?;
                left = left.saturating_sub(of_part.max(1));
            }
        }
        Some(at)
    }
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
