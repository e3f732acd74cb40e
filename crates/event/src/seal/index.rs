//! Where the events of a log file are, in the order in which they are sealed: 24 bytes of memory each.
//!
//! A first pass reads all frames, checks their checksums and decodes times alone. Events are decoded whole when their
//! turn comes, each by itself.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use chrono::NaiveDate;
use prost::Message;
use work::priority::yield_if_due;

use crate::columns::Entry;
use crate::frame::{FrameError, HEAD_BYTES, MAX_EVENT_BYTES, checksum};
use crate::log::LogFile;
use crate::proto::{Event, LogHeader};
use crate::sealed::{Content, Contents, SealedError, date_of};

/// The greatest format of log files that is known.
const FORMAT: u32 = 1;

/// Bytes that are read ahead.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes that are read at once where events follow on each other.
const WINDOW_BYTES: usize = 64 << 10;

/// A log file that is open: it can be read even if it is deleted.
pub(crate) struct OpenLog {
    pub(super) shown: String,
    pub(super) file: Arc<File>,
    server: String,
    sequence: u64,
    /// The bytes that count.
    bytes: u64,
}

/// The decisions of a log file by `decided_at`, then in the order of the log.
pub(crate) struct LogIndex {
    shown: String,
    file: Arc<File>,
    /// The bytes that count.
    bytes: u64,
    /// The version of the server that wrote it.
    version: String,
    items: Vec<Item>,
}

/// Bytes of a log file that were read at once.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    /// Where they begin.
    start: u64,
    /// Where the frame that was asked for last ends.
    next: u64,
}

/// A decision of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) decided_at: i64,
    /// Where its frame begins.
    pub(super) offset: u64,
    /// The bytes of the event.
    pub(super) bytes: u32,
    checksum: u32,
}

/// The decisions of one day in a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) date: NaiveDate,
    pub(crate) items: Range<usize>,
}

/// The fields of an event that an index needs.
#[derive(Clone, PartialEq, Message)]
struct Glance {
    #[prost(message, optional, tag = "3")]
    header: Option<LogHeader>,
    #[prost(message, optional, tag = "4")]
    decision: Option<DecisionGlance>,
}

#[derive(Clone, PartialEq, Message)]
struct DecisionGlance {
    #[prost(int64, tag = "3")]
    decided_at: i64,
}

impl OpenLog {
    /// Opens a log file. `None` if it has been sealed and deleted.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn open(server: &str, log: &LogFile) -> Result<Option<Self>, SealedError> {
        match File::open(&log.path) {
            Ok(file) => Ok(Some(Self {
                shown: log.path.display().to_string(),
                file: Arc::new(file),
                server: server.to_owned(),
                sequence: log.sequence,
                bytes: log.bytes,
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SealedError::io(&log.path)(error)),
        }
    }

    /// Its decisions in order.
    ///
    /// # Errors
    /// When it cannot be read as far as it counts, is of another server or sequence, or in a newer format.
    pub(crate) fn index(&self) -> Result<LogIndex, SealedError> {
        let mut items = Vec::new();
        let header = self.walk(&mut |item| items.push(item))?;
        // Most are in order already.
        items.sort();
        Ok(LogIndex {
            shown: self.shown.clone(),
            file: Arc::clone(&self.file),
            bytes: self.bytes,
            version: header.version,
            items,
        })
    }

    /// Passes each decision to `take`. Returns the header.
    pub(super) fn walk(&self, take: &mut dyn FnMut(Item)) -> Result<LogHeader, SealedError> {
        let mut source =
            BufReader::with_capacity(BUFFER_BYTES, At { file: &self.file, at: 0 }).take(self.bytes);
        let (mut offset, mut buffer, mut header) = (0, Vec::new(), None);
        while let Some((checksum, glance)) = self.next(&mut source, offset, &mut buffer)? {
            match (glance.header, glance.decision, &header) {
                (Some(found), None, None) => header = Some(self.check_header(found)?),
                (None, Some(DecisionGlance { decided_at }), Some(_)) => {
                    take(Item { decided_at, offset, bytes: buffer.len() as u32, checksum });
                }
                (None, None, Some(_)) => {
                    let message = format!("the event at byte {offset} is of a kind that is not known");
                    return Err(SealedError::Newer { path: self.shown.clone(), message });
                }
                (_, _, None) => return Err(self.damaged("it does not begin with a header")),
                (Some(_), _, Some(_)) => {
                    return Err(self.damaged(format!("it has another header at byte {offset}")));
                }
            }
            offset += (HEAD_BYTES + buffer.len()) as u64;
            yield_if_due();
        }
        header.ok_or_else(|| self.damaged("it is empty"))
    }

    /// Reads the next frame; `None` at the end. The event is in `buffer` then.
    fn next(
        &self,
        source: &mut impl Read,
        at: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<(u32, Glance)>, SealedError> {
        let failed = |source| Err(SealedError::Log { path: self.shown.clone(), source });
        let torn = |message: String| failed(FrameError::Torn { at, message });
        if at == self.bytes {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        let read = source.read_exact(&mut head);
        let [length @ .., _, _, _, _] = head;
        let [_, _, _, _, stated @ ..] = head;
        let bytes = u32::from_le_bytes(length) as usize;
        if read.is_ok() && bytes > MAX_EVENT_BYTES {
            return torn(format!("its length is {bytes}, more than {MAX_EVENT_BYTES}"));
        }
        buffer.clear();
        // The length is not believed before its bytes are there.
        match read.and_then(|()| source.by_ref().take(bytes as u64).read_to_end(buffer)) {
            Ok(found) if found == bytes => {}
            Ok(found) => return torn(format!("{found} of its {bytes} bytes")),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return torn("a part of its head".to_owned());
            }
            Err(error) => return failed(FrameError::Io(error)),
        }
        let (stated, found) = (u32::from_le_bytes(stated), checksum(length, buffer));
        if found != stated {
            return torn(format!("its checksum is {found:08x}, not {stated:08x}"));
        }
        match Glance::decode(&**buffer) {
            Ok(glance) => Ok(Some((found, glance))),
            Err(error) => failed(FrameError::Foreign { at, message: error.to_string() }),
        }
    }

    fn check_header(&self, header: LogHeader) -> Result<LogHeader, SealedError> {
        if header.format > FORMAT {
            let message = format!("its format is {}", header.format);
            return Err(SealedError::Newer { path: self.shown.clone(), message });
        }
        if header.server == self.server && header.sequence == self.sequence {
            return Ok(header);
        }
        Err(self.damaged(format!(
            "it is of server {} and sequence {}, as it says; give it its name again, or move it away",
            header.server, header.sequence
        )))
    }

    fn damaged(&self, message: impl Into<String>) -> SealedError {
        SealedError::damaged(&self.shown, message)
    }
}

impl LogIndex {
    /// Its name in messages.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// The days of its decisions, ascending.
    pub(crate) fn days(&self) -> Vec<Day> {
        let mut days = Vec::new();
        let mut start = 0;
        while let Some(first) = self.items.get(start) {
            let date = date_of(first.decided_at);
            let end = start + self.items[start..].partition_point(|item| date_of(item.decided_at) == date);
            days.push(Day { date, items: start..end });
            start = end;
        }
        days
    }

    /// What some of its decisions are as a sealed file.
    pub(crate) fn content(&self, items: Range<usize>) -> Content {
        let mut contents = Contents::new();
        self.items[items].iter().for_each(|item| contents.add(item.checksum));
        contents.content()
    }

    /// Reads a decision. `window` is for what is read.
    ///
    /// # Errors
    /// When it cannot be decoded, or was changed since it was indexed.
    pub(crate) fn entry(&self, item: usize, window: &mut Window) -> Result<Entry, SealedError> {
        let item = self.items[item];
        Entry::of_event(self.event(item, window)?).ok_or_else(|| self.changed(item))
    }

    /// Reads a decision and the checksum of its frame, to be written elsewhere.
    ///
    /// # Errors
    /// As [`entry`](Self::entry), and when it has fields that this version does not know: they would be lost.
    pub(crate) fn whole_entry(&self, item: usize, window: &mut Window) -> Result<(Entry, u32), SealedError> {
        let item = self.items[item];
        let event = self.event(item, window)?;
        if event.encoded_len() != item.bytes as usize {
            let (position, version) = (event.position, &self.version);
            let message =
                format!("event {position} has fields that are not known; version {version} wrote it");
            return Err(SealedError::Newer { path: self.shown.clone(), message });
        }
        let entry = Entry::of_event(event).ok_or_else(|| self.changed(item))?;
        Ok((entry, item.checksum))
    }

    fn event(&self, item: Item, window: &mut Window) -> Result<Event, SealedError> {
        let frame = self.frame(item, window)?;
        let (head, body) = frame.split_at(HEAD_BYTES);
        let length = head.first_chunk::<4>().copied().unwrap_or_default();
        if checksum(length, body) != item.checksum {
            return Err(self.changed(item));
        }
        Event::decode(body).map_err(|error| SealedError::Log {
            path: self.shown.clone(),
            source: FrameError::Foreign { at: item.offset, message: error.to_string() },
        })
    }

    /// The bytes of a frame.
    fn frame<'w>(&self, item: Item, window: &'w mut Window) -> Result<&'w [u8], SealedError> {
        let length = HEAD_BYTES + item.bytes as usize;
        let held = item.offset.checked_sub(window.start).map(|at| at as usize);
        let at = match held.filter(|at| at + length <= window.bytes.len()) {
            Some(at) => at,
            None => {
                // What is out of order is read alone: the next is likely to be elsewhere.
                let ahead = if item.offset == window.next { WINDOW_BYTES } else { 0 };
                let left = self.bytes.saturating_sub(item.offset) as usize;
                window.bytes.resize(ahead.min(left).max(length), 0);
                window.start = item.offset;
                let read = self.file.read_exact_at(&mut window.bytes, item.offset);
                read.map_err(|source| {
                    window.bytes.clear();
                    SealedError::Io { path: self.shown.clone(), source }
                })?;
                0
            }
        };
        window.next = item.offset + length as u64;
        Ok(&window.bytes[at..at + length])
    }

    fn changed(&self, item: Item) -> SealedError {
        SealedError::damaged(&self.shown, format!("it changed at byte {} while it was read", item.offset))
    }
}

/// Reads a file from its beginning, independent of other readers.
struct At<'f> {
    file: &'f File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
