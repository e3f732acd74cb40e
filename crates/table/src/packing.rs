//! How a text file is compressed: found by its first bytes, unpacked within limits, packed again.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Limits;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Level 3 packs to within a few percent of slower ones.
const ZSTD_LEVEL: i32 = 3;

/// How a text file is compressed. The name of the file says nothing: a store keeps compressed files as `.csv`, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// It is not.
    None,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

impl Packing {
    /// The packing of a file, by its first bytes: four of them suffice.
    #[must_use]
    pub fn of(first: &[u8]) -> Self {
        if first.starts_with(GZIP) {
            Self::Gzip
        } else if first.starts_with(ZSTD) {
            Self::Zstd
        } else {
            Self::None
        }
    }

    /// The text of a file, which unpacks within `limits`: more is an error when it is read.
    ///
    /// # Errors
    /// When the decoder cannot be made.
    pub fn unpack<'r>(self, input: impl Read + Send + 'r, limits: Limits) -> io::Result<Unpacked<'r>> {
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Counted { input, taken: Arc::clone(&taken) };
        let unpacked: Box<dyn Read + Send + 'r> = match self {
            Self::None => return Ok(Unpacked { text: Box::new(counted), taken }),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(counted))),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(counted)?),
        };
        let text = Bounded { input: unpacked, unpacked: 0, taken: Arc::clone(&taken), limits };
        Ok(Unpacked { text: Box::new(text), taken })
    }

    /// Packs what is written to it into `target`.
    ///
    /// # Errors
    /// When the encoder cannot be made.
    pub fn pack<W: Write>(self, target: W) -> io::Result<Packer<W>> {
        Ok(Packer(match self {
            Self::None => Encoder::None(target),
            Self::Gzip => {
                Encoder::Gzip(flate2::write::GzEncoder::new(target, flate2::Compression::default()))
            }
            Self::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(target, ZSTD_LEVEL)?),
        }))
    }
}

/// The text of a file.
pub struct Unpacked<'r> {
    pub(super) text: Box<dyn Read + Send + 'r>,
    /// Bytes of the file that were consumed.
    pub(super) taken: Arc<AtomicU64>,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text.read(buffer)
    }
}

/// A file that is being written.
pub struct Packer<W: Write>(Encoder<W>);

enum Encoder<W: Write> {
    None(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Packer<W> {
    /// Ends the compressed file, and returns where it was written to.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Encoder::None(target) => Ok(target),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Encoder::None(target) => target.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Encoder::None(target) => target.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Counts the bytes that are read.
struct Counted<R> {
    input: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Fails once the output is too long, or too long for its compressed input.
struct Bounded<R> {
    input: R,
    unpacked: u64,
    taken: Arc<AtomicU64>,
    limits: Limits,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer).map_err(|error| {
            io::Error::new(error.kind(), format!("the compressed file is damaged or cut off ({error})"))
        })?;
        self.unpacked = self.unpacked.saturating_add(read as u64);
        let (taken, limits) = (self.taken.load(Ordering::Relaxed), &self.limits);
        let most = limits.unpacked_of(taken);
        if self.unpacked <= most {
            return Ok(read);
        }
        let why = if most < limits.unpacked_bytes {
            format!(", more than {} times its length", limits.ratio)
        } else {
            String::new()
        };
        Err(io::Error::other(format!("it unpacks to more than {} MiB{why}; unpack it first", most >> 20)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_to_the_same() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for packing in [Packing::None, Packing::Gzip, Packing::Zstd] {
            let mut packer = packing.pack(Vec::new()).unwrap();
            packer.write_all(&text).unwrap();
            let packed = packer.finish().unwrap();
            assert_eq!(Packing::of(&packed), packing);
            let mut unpacked = Vec::new();
            packing.unpack(&*packed, Limits::CUSTOMERS).unwrap().read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == text, "{packing:?}");
        }
        assert_eq!([&b""[..], b"\x1f", b"\x28\xb5"].map(Packing::of), [Packing::None; 3]);
    }
}
