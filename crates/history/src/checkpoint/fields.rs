//! Numbers and texts in a stream: a number has 8 bytes, little-endian; a text has its length before it.

use std::io::{self, Read, Write};

use uuid::Uuid;

use super::CheckpointError;
use super::frames::{FrameReader, FrameWriter};

/// The most bytes of a text.
const LONGEST: u64 = 1 << 20;

/// Writes fields.
pub(super) struct Output<W>(FrameWriter<W>);

impl<W: Write> Output<W> {
    pub(super) fn new(out: W) -> Self {
        Self(FrameWriter::new(out))
    }

    pub(super) fn number(&mut self, number: u64) -> io::Result<()> {
        self.0.write(&number.to_le_bytes())
    }

    pub(super) fn signed(&mut self, number: i64) -> io::Result<()> {
        self.0.write(&number.to_le_bytes())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.number(bytes.len() as u64)?;
        self.0.write(bytes)
    }

    pub(super) fn uuid(&mut self, uuid: Uuid) -> io::Result<()> {
        self.0.write(uuid.as_bytes())
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}

/// Reads fields. What does not fit the type that is asked for is damage.
pub(super) struct Input<R>(FrameReader<R>);

impl<R: Read> Input<R> {
    pub(super) fn new(input: R) -> Self {
        Self(FrameReader::new(input))
    }

    pub(super) fn number(&mut self) -> Result<u64, CheckpointError> {
        let mut bytes = [0; 8];
        self.0.read(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn signed(&mut self) -> Result<i64, CheckpointError> {
        Ok(self.number()? as i64)
    }

    /// A position among names.
    pub(super) fn small(&mut self) -> Result<u16, CheckpointError> {
        u16::try_from(self.number()?).map_err(|_| self.damaged("a number is too great"))
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, CheckpointError> {
        let length = self.number()?;
        if length > LONGEST {
            return Err(self.damaged("a text is too long"));
        }
        let mut bytes = vec![0; length as usize];
        self.0.read(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<String, CheckpointError> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes).map_err(|_| self.damaged("a text is not UTF-8"))
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, CheckpointError> {
        let mut bytes = [0; 16];
        self.0.read(&mut bytes)?;
        Ok(Uuid::from_bytes(bytes))
    }

    /// Whether the next bytes are these.
    pub(super) fn begins_with(&mut self, expected: &[u8]) -> Result<bool, CheckpointError> {
        Ok(self.bytes()? == expected)
    }

    /// An error at the place that was reached.
    pub(super) fn damaged(&self, message: &'static str) -> CheckpointError {
        self.0.damaged(message)
    }

    /// Makes sure that everything was read.
    pub(super) fn finish(self) -> Result<(), CheckpointError> {
        self.0.finish()
    }
}
