//! A stream of bytes in frames with checksums.
//!
//! A frame is 4 bytes of length and 4 bytes of CRC-32C, little-endian, then so many bytes. The checksum covers the
//! number of the frame in the file, the length, and the bytes. A frame without bytes is the last one.

use std::io::{self, Read, Write};

use crc_fast::{CrcAlgorithm, Digest};

use super::CheckpointError;

/// The bytes of a frame.
const FRAME: usize = 64 << 10;

/// Writes bytes in frames.
pub(super) struct FrameWriter<W> {
    out: W,
    number: u64,
    buffer: Vec<u8>,
}

impl<W: Write> FrameWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, number: 0, buffer: Vec::with_capacity(FRAME) }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let fits = bytes.len().min(FRAME - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..fits]);
            bytes = &bytes[fits..];
            if self.buffer.len() == FRAME {
                self.end_frame()?;
            }
        }
        Ok(())
    }

    /// Writes what is left and the last frame.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.end_frame()?;
        }
        self.end_frame()?;
        self.out.flush()
    }

    fn end_frame(&mut self) -> io::Result<()> {
        let length = (self.buffer.len() as u32).to_le_bytes();
        let checksum = checksum(self.number, length, &self.buffer).to_le_bytes();
        self.out.write_all(&length)?;
        self.out.write_all(&checksum)?;
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.number += 1;
        Ok(())
    }
}

/// Reads bytes from frames.
pub(super) struct FrameReader<R> {
    input: R,
    number: u64,
    buffer: Vec<u8>,
    /// The place in the buffer, and where the buffer begins in the file.
    place: usize,
    begin: u64,
    is_last: bool,
}

impl<R: Read> FrameReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, number: 0, buffer: Vec::new(), place: 0, begin: 0, is_last: false }
    }

    /// Fills `bytes`.
    pub(super) fn read(&mut self, mut bytes: &mut [u8]) -> Result<(), CheckpointError> {
        while !bytes.is_empty() {
            if self.place == self.buffer.len() {
                self.next_frame()?;
                if self.is_last {
                    return Err(self.damaged("it ends too early"));
                }
            }
            let fits = bytes.len().min(self.buffer.len() - self.place);
            let (now, later) = bytes.split_at_mut(fits);
            now.copy_from_slice(&self.buffer[self.place..self.place + fits]);
            self.place += fits;
            bytes = later;
        }
        Ok(())
    }

    /// Makes sure that everything was read, and that the file ends here.
    pub(super) fn finish(mut self) -> Result<(), CheckpointError> {
        if self.place < self.buffer.len() {
            return Err(self.damaged("it goes on behind its end"));
        }
        self.next_frame()?;
        if !self.is_last {
            return Err(self.damaged("it goes on behind its end"));
        }
        match self.input.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(self.damaged("something follows its last frame")),
        }
    }

    /// An error at the place that was reached.
    pub(super) fn damaged(&self, message: &'static str) -> CheckpointError {
        CheckpointError::Damaged { at: self.begin + self.place as u64, message }
    }

    fn next_frame(&mut self) -> Result<(), CheckpointError> {
        self.begin += self.buffer.len() as u64;
        self.place = 0;
        self.buffer.clear();
        let mut head = [0; 8];
        self.fill(&mut head)?;
        let (length, stated) = head.split_at(4);
        let length = [length[0], length[1], length[2], length[3]];
        let stated = u32::from_le_bytes([stated[0], stated[1], stated[2], stated[3]]);
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes > FRAME {
            return Err(self.damaged("the length of a frame is too great"));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(bytes, 0);
        let read = self.fill(&mut buffer);
        self.begin += head.len() as u64;
        self.buffer = buffer;
        read?;
        if checksum(self.number, length, &self.buffer) != stated {
            return Err(self.damaged("a checksum does not match"));
        }
        self.number += 1;
        self.is_last = bytes == 0;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), CheckpointError> {
        self.input.read_exact(bytes).map_err(|error| {
            let is_cut = error.kind() == io::ErrorKind::UnexpectedEof;
            if is_cut { self.damaged("it was cut") } else { error.into() }
        })
    }
}

fn checksum(number: u64, length: [u8; 4], bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&number.to_le_bytes());
    digest.update(&length);
    digest.update(bytes);
    digest.finalize() as u32
}
