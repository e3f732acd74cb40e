//! The frames of a log file: a length, a checksum, an event.
//!
//! A frame is 4 bytes of length and 4 bytes of CRC-32C, little-endian, then the event as protobuf. The checksum covers
//! the length, too, so that a length that was torn is not believed. A file that ends within a frame, or whose last
//! frame does not match its checksum, has a torn tail: the process or the machine stopped while it was written.

use std::io::{self, Read};

use crc_fast::{CrcAlgorithm, Digest};
use prost::Message;

use crate::proto::Event;

/// The most bytes of one event. No record comes near: a request's message is at most 16 MiB for up to 1,024 customers.
pub const MAX_EVENT_BYTES: usize = 32 << 20;

/// The bytes before an event: its length and its checksum.
pub const HEAD_BYTES: usize = 8;

/// Appends `event` to `out` as a frame. Returns the bytes of the event.
pub fn write(event: &Event, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend([0; HEAD_BYTES]);
    // A vector grows as needed.
    let _ = event.encode(out);
    let bytes = out.len() - start - HEAD_BYTES;
    let length = u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = checksum(length, &out[start + HEAD_BYTES..]).to_le_bytes();
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..start + HEAD_BYTES].copy_from_slice(&checksum);
    bytes
}

/// The bytes of each of some whole frames, their heads included.
pub(crate) fn lengths(frames: &[u8]) -> impl Iterator<Item = usize> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        let length = HEAD_BYTES + u32::from_le_bytes(*rest.first_chunk()?) as usize;
        rest = rest.get(length..)?;
        Some(length)
    })
}

/// The CRC-32C of a frame's length and event.
#[must_use]
pub fn checksum(length: [u8; 4], event: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&length);
    digest.update(event);
    digest.finalize() as u32
}

/// A frame that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The event.
    pub event: Event,
    /// The checksum.
    pub checksum: u32,
    /// The position behind the frame in its file, in bytes.
    pub end: u64,
}

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The file ends within a frame, or the frame was not written whole. What follows is unknown.
    #[error("the frame at byte {at} is not whole: {message}")]
    Torn {
        /// Where the frame begins.
        at: u64,
        /// What is wrong with it.
        message: String,
    },
    /// The frame is whole, and holds no event.
    #[error("the frame at byte {at} holds no event: {message}")]
    Foreign {
        /// Where the frame begins.
        at: u64,
        /// What is wrong with it.
        message: String,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads frames one after another.
#[derive(Debug)]
pub struct Frames<R> {
    source: R,
    at: u64,
    buffer: Vec<u8>,
}

impl<R: Read> Frames<R> {
    /// Reads from the first frame on. The source should be buffered.
    pub fn new(source: R) -> Self {
        Self { source, at: 0, buffer: Vec::new() }
    }

    /// The next frame; `None` at the end of the file.
    ///
    /// # Errors
    /// When the rest of the file is not a whole frame with an event. Nothing behind it can be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let at = self.at;
        let torn = |message: String| FrameError::Torn { at, message };
        let mut head = [0; HEAD_BYTES];
        match read_up_to(&mut self.source, &mut head)? {
            0 => return Ok(None),
            HEAD_BYTES => {}
            some => return Err(torn(format!("{some} bytes of its head"))),
        }
        let (length, stated) = head.split_at(4);
        let length = [length[0], length[1], length[2], length[3]];
        let stated = u32::from_le_bytes([stated[0], stated[1], stated[2], stated[3]]);
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes > MAX_EVENT_BYTES {
            return Err(torn(format!("its length is {bytes}, more than {MAX_EVENT_BYTES}")));
        }
        self.buffer.clear();
        // The length is not believed before its bytes are there.
        let read = (&mut self.source).take(bytes as u64).read_to_end(&mut self.buffer)?;
        if read < bytes {
            return Err(torn(format!("{read} of its {bytes} bytes")));
        }
        let found = checksum(length, &self.buffer);
        if found != stated {
            return Err(torn(format!("its checksum is {found:08x}, not {stated:08x}")));
        }
        self.at += (HEAD_BYTES + bytes) as u64;
        let event = Event::decode(&*self.buffer)
            .map_err(|error| FrameError::Foreign { at, message: error.to_string() })?;
        Ok(Some(Frame { event, checksum: found, end: self.at }))
    }
}

/// Fills `buffer` as far as the source has bytes.
fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::{DecisionRecord, LogHeader, event};

    fn event(position: u64, text: &str) -> Event {
        let event = if position == 1 {
            event::Event::Header(LogHeader { format: 1, server: text.to_owned(), ..LogHeader::default() })
        } else {
            event::Event::Decision(Box::new(DecisionRecord {
                request_id: text.to_owned(),
                ..DecisionRecord::default()
            }))
        };
        Event { position, recorded_at: 7, event: Some(event) }
    }

    fn file(texts: &[String]) -> (Vec<Event>, Vec<u8>) {
        let events: Vec<Event> = texts.iter().zip(1..).map(|(text, at)| event(at, text)).collect();
        let mut bytes = Vec::new();
        for event in &events {
            write(event, &mut bytes);
        }
        (events, bytes)
    }

    /// The events before the first error, and the error.
    fn read(bytes: &[u8]) -> (Vec<Event>, Option<FrameError>) {
        let (mut frames, mut events) = (Frames::new(bytes), Vec::new());
        loop {
            match frames.next_frame() {
                Ok(Some(frame)) => events.push(frame.event),
                Ok(None) => return (events, None),
                Err(error) => return (events, Some(error)),
            }
        }
    }

    #[test]
    fn the_checksum_is_crc_32c() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(checksum([0; 4], &[0; 28]), 0x8A91_36AA);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(texts in prop::collection::vec(".{0,40}", 0..8)) {
            let (events, bytes) = file(&texts);
            let (found, error) = read(&bytes);
            prop_assert_eq!(found, events);
            prop_assert!(error.is_none());
        }

        #[test]
        fn a_file_that_was_cut_is_read_up_to_the_cut(
            texts in prop::collection::vec(".{0,40}", 1..8), cut in any::<prop::sample::Index>(),
        ) {
            let (events, bytes) = file(&texts);
            let cut = cut.index(bytes.len());
            let (found, error) = read(&bytes[..cut]);
            prop_assert_eq!(&found[..], &events[..found.len()]);
            let mut whole = Vec::new();
            for one in &found {
                write(one, &mut whole);
            }
            prop_assert_eq!(error.is_some(), cut != whole.len());
        }

        #[test]
        fn a_changed_byte_is_found(
            texts in prop::collection::vec(".{0,40}", 1..8),
            at in any::<prop::sample::Index>(),
            change in 1_u8..=255,
        ) {
            let (events, mut bytes) = file(&texts);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            let (found, error) = read(&bytes);
            prop_assert!(error.is_some());
            prop_assert_eq!(&found[..], &events[..found.len()]);
        }

        #[test]
        fn foreign_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            prop_assert!(read(&bytes).1.is_some());
        }
    }
}
