//! The bytes of a file: decompressed if needed, and refused by kind if they are not text in UTF-8.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::packing::{Packing, Unpacked};
use super::{Fault, HEAD_BYTES, Limits};

/// The first bytes of files that are not CSV in UTF-8, and what to do about each.
const OTHER_KINDS: [(&[u8], &str); 10] = [
    // Before UTF-16, whose mark is a prefix of this one.
    (b"\xff\xfe\0\0", "is UTF-32; save it as UTF-8"),
    (b"\0\0\xfe\xff", "is UTF-32; save it as UTF-8"),
    (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
    (b"PK\x03\x04", "is a workbook or a ZIP archive; export the table as CSV (UTF-8) or Parquet"),
    (b"\xd0\xcf\x11\xe0", "is a workbook of Excel; export the table as CSV (UTF-8) or Parquet"),
    (
        b"PAR1",
        "is Parquet; only `features load` and `segment` read that, from a file named *.parquet; save it as CSV",
    ),
    (b"BZh", "is compressed with bzip2; unpack it, or compress it with gzip or zstd"),
    (b"\xfd7zXZ\0", "is compressed with xz; unpack it, or compress it with gzip or zstd"),
    (b"%PDF", "is a PDF; export the table as CSV (UTF-8) or Parquet"),
];

/// The byte order mark of UTF-8, which is skipped.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The text of a file.
pub(super) struct Source<'r> {
    /// The first bytes, at most [`HEAD_BYTES`], without a byte order mark.
    pub(super) head: Vec<u8>,
    /// Bytes of the byte order mark.
    pub(super) mark: u64,
    /// What follows the head.
    pub(super) rest: Box<dyn Read + Send + 'r>,
    /// Compressed bytes consumed; `None` for a file that is not compressed.
    pub(super) packed: Option<Arc<AtomicU64>>,
}

impl<'r> Source<'r> {
    /// Opens a file; a compressed one unpacks within `limits`.
    pub(super) fn open(mut input: impl Read + Send + 'r, limits: Limits) -> Result<Self, Fault> {
        let mut magic = Vec::with_capacity(4);
        input.by_ref().take(4).read_to_end(&mut magic).map_err(|error| unreadable(&error))?;
        let packing = Packing::of(&magic);
        let input = io::Cursor::new(magic).chain(input);
        let Unpacked { text: mut rest, taken } =
            packing.unpack(input, limits).map_err(|error| unreadable(&error))?;
        let mut head = Vec::new();
        rest.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| unreadable(&error))?;
        if let Some((_, message)) = OTHER_KINDS.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(Fault { line: None, message: (*message).to_owned() });
        }
        if let Some(message) = not_text(&head) {
            return Err(Fault { line: None, message: message.to_owned() });
        }
        let mark = if head.starts_with(MARK) { MARK.len() } else { 0 };
        head.drain(..mark);
        Ok(Self { head, mark: mark as u64, rest, packed: (packing != Packing::None).then_some(taken) })
    }
}

/// Names the encoding of a head that has NUL bytes where UTF-16 or UTF-32 has them for Latin letters.
fn not_text(head: &[u8]) -> Option<&'static str> {
    let first = head.get(..4)?;
    let nul = [first[0] == 0, first[1] == 0, first[2] == 0, first[3] == 0];
    match nul {
        [false, true, false, true] | [true, false, true, false] => Some("is UTF-16; save it as UTF-8"),
        [false, true, true, true] | [true, true, true, false] => Some("is UTF-32; save it as UTF-8"),
        _ => None,
    }
}

fn unreadable(error: &io::Error) -> Fault {
    Fault { line: None, message: format!("cannot be read: {error}") }
}
