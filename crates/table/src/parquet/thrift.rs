//! The part of Thrift's compact protocol that page headers use.
//!
//! See <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use std::io::{self, Read};

/// The most bytes of one header. It may repeat the smallest and the largest text of its page.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// The most levels of nested structures.
const DEEPEST: usize = 16;

/// More levels than this are unusual: headers of the format have three.
const USUAL_DEPTH: usize = 8;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// The header of a page of a Parquet file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageHeader {
    /// 0 data, 1 index, 2 dictionary, 3 data (version 2).
    pub kind: i64,
    /// Bytes of the page, unpacked.
    pub unpacked: i64,
    /// Bytes of the page as it is stored, without its header.
    pub packed: i64,
    /// Values of a data or dictionary page.
    pub values: i64,
    /// The encoding of the values, by its number in the format.
    pub encoding: i64,
    /// Bytes of uncompressed levels before the values, in a data page of version 2.
    pub levels: i64,
    /// Whether the part behind the levels is uncompressed.
    pub plain: bool,
    /// Bytes of the header itself.
    pub length: u64,
    /// Whether it has collections, or structures deeper than those of the format; this version skips them.
    pub unusual: bool,
    /// The field of the kind of page that the values are of.
    part: Option<i64>,
}

impl PageHeader {
    /// Reads a header and no byte behind it.
    ///
    /// # Errors
    /// When it is damaged, ends too early, or describes two kinds of pages.
    pub fn read(input: impl Read) -> io::Result<Self> {
        let mut compact = Compact { input, read: 0, unusual: false };
        let mut header = Self::default();
        let mut id = 0;
        while let Some(kind) = compact.field(&mut id)? {
            match (id, kind) {
                (1, I32) => header.kind = compact.zigzag()?,
                (2, I32) => header.unpacked = compact.zigzag()?,
                (3, I32) => header.packed = compact.zigzag()?,
                // With two of them, the decoder might believe the other.
                (5 | 7 | 8, STRUCT) if header.part.is_none() => header.read_part(id, &mut compact)?,
                (5 | 7 | 8, _) => return Err(damaged()),
                _ => compact.skip(kind, 0)?,
            }
        }
        (header.length, header.unusual) = (compact.read, compact.unusual);
        Ok(header)
    }

    /// `DataPageHeader`, `DictionaryPageHeader` or `DataPageHeaderV2`.
    fn read_part(&mut self, part: i64, compact: &mut Compact<impl Read>) -> io::Result<()> {
        self.part = Some(part);
        let mut id = 0;
        while let Some(kind) = compact.field(&mut id)? {
            match (part, id, kind) {
                (_, 1, I32) => self.values = compact.zigzag()?,
                (5 | 7, 2, I32) | (8, 4, I32) => self.encoding = compact.zigzag()?,
                (8, 5 | 6, I32) => self.levels = self.levels.saturating_add(compact.zigzag()?),
                (8, 7, FALSE) => self.plain = true,
                _ => compact.skip(kind, 0)?,
            }
        }
        Ok(())
    }
}

struct Compact<R> {
    input: R,
    read: u64,
    unusual: bool,
}

impl<R: Read> Compact<R> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        self.count(1)?;
        Ok(byte[0])
    }

    fn count(&mut self, bytes: u64) -> io::Result<()> {
        self.read = self.read.saturating_add(bytes);
        if self.read > MAX_HEADER_BYTES { Err(damaged()) } else { Ok(()) }
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(damaged())
    }

    fn zigzag(&mut self) -> io::Result<i64> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// The type of the next field, with its number in `id`; `None` at the end of the structure.
    fn field(&mut self, id: &mut i64) -> io::Result<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        *id = match head >> 4 {
            0 => self.zigzag()?,
            step => id.saturating_add(step.into()),
        };
        Ok(Some(head & 0x0f))
    }

    fn discard(&mut self, bytes: u64) -> io::Result<()> {
        self.count(bytes)?;
        let discarded = io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink())?;
        if discarded == bytes { Ok(()) } else { Err(damaged()) }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(damaged());
        }
        self.unusual |= matches!(kind, LIST | SET | MAP | UUID) || kind == STRUCT && depth >= USUAL_DEPTH;
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.discard(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.discard(8),
            UUID => self.discard(16),
            BINARY => self.varint().and_then(|bytes| self.discard(bytes)),
            LIST | SET => {
                let head = self.byte()?;
                let size = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                (0..size).try_for_each(|_| self.skip_element(head & 0x0f, depth))
            }
            MAP => {
                let size = self.varint()?;
                let kinds = if size == 0 { 0 } else { self.byte()? };
                (0..size).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 0x0f, depth)
                })
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            _ => Err(damaged()),
        }
    }

    /// In a list a boolean takes a byte of its own.
    fn skip_element(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        if matches!(kind, TRUE | FALSE) { self.discard(1) } else { self.skip(kind, depth + 1) }
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the header of a page is damaged")
}
