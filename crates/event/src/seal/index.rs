//! Where the events of a log file are, in the order in which they are sealed: 24 bytes of memory each.
//!
//! A first pass reads all frames, checks their checksums and decodes times alone. Events are decoded whole when their
//! turn comes, each by itself, from a [`Window`] of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use chrono::NaiveDate;
use prost::Message;
use work::priority::yield_if_due;

use crate::columns::Entry;
use crate::frame::{FrameError, HEAD_BYTES, MAX_EVENT_BYTES, checksum};
use crate::keys::KeyName;
use crate::kind::Kind;
use crate::log::LogFile;
use crate::proto::{Event, LogHeader};
use crate::sealed::{Content, Contents, SealedError, date_of};
use crate::wire::{Value, walk};

/// The greatest format of log files that is known.
const FORMAT: u32 = 1;

/// Bytes that are read ahead.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes that are read at once where events follow on each other.
const WINDOW_BYTES: usize = 64 << 10;

/// The field of an event that holds the header of a log.
const HEADER: u64 = 3;
/// The field of a record with the time by which it is filed.
const FILED_AT: u64 = 3;

/// A log file that is open: it can be read even if it is deleted.
pub(crate) struct OpenLog {
    shown: String,
    file: Arc<File>,
    server: String,
    sequence: u64,
    first: u64,
    last: u64,
    /// The bytes that count.
    bytes: u64,
    /// What the first pass found, if that is kept.
    found: OnceLock<Arc<Found>>,
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

/// The events of a log file by kind and time, then in the order of the log.
pub(crate) struct LogIndex<'l> {
    log: &'l OpenLog,
    found: Arc<Found>,
}

/// What a pass through a log file finds.
struct Found {
    /// The version of the server that wrote it.
    version: String,
    /// The keys for pseudonyms that it had.
    keys: Vec<KeyName>,
    items: BTreeMap<Kind, Vec<Item>>,
}

/// An event of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    /// The time by which it is filed.
    pub(crate) filed_at: i64,
    /// Where its frame begins.
    offset: u64,
    /// The bytes of the event.
    bytes: u32,
    checksum: u32,
}

/// The events of a kind and a day in a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day<'i> {
    pub(crate) kind: Kind,
    pub(crate) date: NaiveDate,
    pub(crate) items: &'i [Item],
}

/// What an event is, without decoding it.
enum Glance {
    Header(LogHeader),
    /// A record of a kind, and the time by which it is filed.
    Record(Kind, i64),
    /// Nothing that is known, and a field that may hold it.
    Unknown(Option<u64>),
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
                first: log.first,
                last: log.last,
                bytes: log.bytes,
                found: OnceLock::new(),
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SealedError::io(&log.path)(error)),
        }
    }

    /// The position of its first event.
    pub(crate) fn first_position(&self) -> u64 {
        self.first
    }

    /// The position of the last event that counts.
    pub(crate) fn last_position(&self) -> u64 {
        self.last
    }

    /// The days of its events of a kind. If it has at most `room` events, where they are is kept for the next
    /// [`index`](Self::index), and `room` shrinks by them.
    ///
    /// # Errors
    /// As [`index`](Self::index).
    pub(crate) fn dates(&self, wanted: Kind, room: &mut usize) -> Result<BTreeSet<NaiveDate>, SealedError> {
        if let Some(found) = self.found.get() {
            let of_kind = found.items.get(&wanted).into_iter().flatten();
            return Ok(of_kind.map(|item| date_of(item.filed_at)).collect());
        }
        let (mut dates, mut events) = (BTreeSet::new(), 0);
        let mut items: BTreeMap<Kind, Vec<Item>> = BTreeMap::new();
        let header = self.walk(&mut |kind, item| {
            if kind == wanted {
                dates.insert(date_of(item.filed_at));
            }
            events += 1;
            if events <= *room {
                items.entry(kind).or_default().push(item);
            } else {
                items.clear();
            }
        })?;
        if events <= *room {
            *room -= events;
            // Another thread may have been here before.
            let _ = self.found.set(Arc::new(Found::new(header, items)));
        }
        Ok(dates)
    }

    /// Its events by kind and time.
    ///
    /// # Errors
    /// When it cannot be read as far as it counts, is of another server or sequence, in a newer format, or has kinds
    /// that are not known.
    pub(crate) fn index(&self) -> Result<LogIndex<'_>, SealedError> {
        if let Some(found) = self.found.get() {
            return Ok(LogIndex { log: self, found: Arc::clone(found) });
        }
        let mut items: BTreeMap<Kind, Vec<Item>> = BTreeMap::new();
        let header = self.walk(&mut |kind, item| items.entry(kind).or_default().push(item))?;
        Ok(LogIndex { log: self, found: Arc::new(Found::new(header, items)) })
    }

    /// Its events of all kinds in its order, and the position of the first.
    ///
    /// # Errors
    /// As [`index`](Self::index).
    pub(crate) fn in_order(&self) -> Result<(u64, Vec<Item>), SealedError> {
        let mut items = Vec::new();
        self.walk(&mut |_, item| items.push(item))?;
        Ok((self.first, items))
    }

    /// Reads an event. `window` is for what is read.
    ///
    /// # Errors
    /// When it cannot be decoded, or was changed since it was indexed.
    pub(crate) fn entry(&self, item: Item, window: &mut Window) -> Result<Entry, SealedError> {
        Entry::of_event(self.event(item, window)?).ok_or_else(|| self.changed(item))
    }

    /// Passes each event to `take`, with its kind. Returns the header.
    fn walk(&self, take: &mut dyn FnMut(Kind, Item)) -> Result<LogHeader, SealedError> {
        let mut source =
            BufReader::with_capacity(BUFFER_BYTES, At { file: &self.file, at: 0 }).take(self.bytes);
        let (mut offset, mut buffer, mut header) = (0, Vec::new(), None);
        while let Some((checksum, glance)) = self.next(&mut source, offset, &mut buffer)? {
            match (glance, &header) {
                (Glance::Header(found), None) => header = Some(self.check_header(found)?),
                (Glance::Record(kind, filed_at), Some(_)) => {
                    take(kind, Item { filed_at, offset, bytes: buffer.len() as u32, checksum });
                }
                (Glance::Unknown(field), Some(_)) => {
                    let of = field.map_or_else(String::new, |field| format!(" (field {field} of Event)"));
                    let message = format!("the event at byte {offset} is of a kind that is not known{of}");
                    return Err(SealedError::Newer { path: self.shown.clone(), message });
                }
                (_, None) => return Err(self.damaged("it does not begin with a header")),
                (Glance::Header(_), Some(_)) => {
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
        match Glance::at(buffer) {
            Ok(glance) => Ok(Some((found, glance))),
            Err(message) => failed(FrameError::Foreign { at, message }),
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
            "it says that it is of server {} and sequence {}, and its name is another; rename it, or move it away",
            header.server, header.sequence
        )))
    }

    fn event(&self, item: Item, window: &mut Window) -> Result<Event, SealedError> {
        let (head, body) = self.frame(item, window)?.split_at(HEAD_BYTES);
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
        let held = item.offset.checked_sub(window.start).and_then(|at| usize::try_from(at).ok());
        let at = match held.filter(|at| at.saturating_add(length) <= window.bytes.len()) {
            Some(at) => at,
            None => {
                // What is out of order is read alone: the next is likely to be elsewhere.
                let ahead = if item.offset == window.next { WINDOW_BYTES } else { 0 };
                let left = self.bytes.saturating_sub(item.offset);
                let left = usize::try_from(left).unwrap_or(usize::MAX);
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
        window.next = item.offset.saturating_add(length as u64);
        Ok(&window.bytes[at..at + length])
    }

    fn changed(&self, item: Item) -> SealedError {
        SealedError::damaged(&self.shown, format!("it changed at byte {} while it was read", item.offset))
    }

    fn damaged(&self, message: impl Into<String>) -> SealedError {
        SealedError::damaged(&self.shown, message)
    }
}

impl Glance {
    /// What the bytes of an event are.
    fn at(event: &[u8]) -> Result<Self, String> {
        let kind_of = |field| Kind::ALL.into_iter().find(|kind| kind.field() == field);
        let (mut held, mut unknown) = (Vec::new(), None);
        let is_whole = walk(event, &mut |field, value| match (field, kind_of(field)) {
            (HEADER, _) | (_, Some(_)) => held.push((kind_of(field), value)),
            // The position and the time of the event.
            (1 | 2, None) => {}
            (_, None) => unknown = Some(field),
        });
        match held[..] {
            _ if !is_whole => Err("its fields are not whole".to_owned()),
            [] => Ok(Self::Unknown(unknown)),
            [(None, Value::Bytes(header))] => {
                LogHeader::decode(header).map(Self::Header).map_err(|error| error.to_string())
            }
            [(Some(kind), Value::Bytes(record))] => filed_at(record).map(|time| Self::Record(kind, time)),
            [..] => Err("it holds no record, or more than one".to_owned()),
        }
    }
}

/// The time by which a record is filed.
fn filed_at(record: &[u8]) -> Result<i64, String> {
    let mut time = 0;
    let is_whole = walk(record, &mut |field, value| {
        if let (FILED_AT, Value::Number(number)) = (field, value) {
            time = number.cast_signed();
        }
    });
    if is_whole { Ok(time) } else { Err("the fields of its record are not whole".to_owned()) }
}

impl Found {
    fn new(header: LogHeader, mut items: BTreeMap<Kind, Vec<Item>>) -> Self {
        // Most are in order already.
        for of_kind in items.values_mut() {
            of_kind.sort();
        }
        Self { version: header.version, keys: KeyName::in_header(&header.keys), items }
    }
}

impl LogIndex<'_> {
    /// Its name in messages.
    pub(crate) fn shown(&self) -> &str {
        &self.log.shown
    }

    /// The keys for pseudonyms that its server had.
    pub(crate) fn keys(&self) -> &[KeyName] {
        &self.found.keys
    }

    /// The days of its events, by kind and date.
    pub(crate) fn days(&self) -> Vec<Day<'_>> {
        let mut days = Vec::new();
        for (kind, items) in &self.found.items {
            let of_days = items.chunk_by(|one, next| date_of(one.filed_at) == date_of(next.filed_at));
            days.extend(of_days.map(|items| Day { kind: *kind, date: date_of(items[0].filed_at), items }));
        }
        days
    }

    /// The dates of its events by the names of their kinds.
    pub(crate) fn dates(&self) -> BTreeMap<String, Vec<NaiveDate>> {
        let mut dates: BTreeMap<String, Vec<NaiveDate>> = BTreeMap::new();
        for day in self.days() {
            dates.entry(day.kind.name().to_owned()).or_default().push(day.date);
        }
        dates
    }

    /// What some of its events are as a sealed file.
    pub(crate) fn content(items: &[Item]) -> Content {
        let mut contents = Contents::new();
        for item in items {
            contents.add(item.checksum);
        }
        contents.content()
    }

    /// Reads an event and the checksum of its frame, to be written elsewhere.
    ///
    /// # Errors
    /// As [`OpenLog::entry`], and when it has fields that this version does not know: they would be lost.
    pub(crate) fn whole_entry(&self, item: Item, window: &mut Window) -> Result<(Entry, u32), SealedError> {
        let event = self.log.event(item, window)?;
        if event.encoded_len() != item.bytes as usize {
            let by = if self.found.version == env!("CARGO_PKG_VERSION") {
                String::new()
            } else {
                format!(", and version {} wrote it", self.found.version)
            };
            let message = format!("event {} has fields that this version does not know{by}", event.position);
            return Err(SealedError::Newer { path: self.log.shown.clone(), message });
        }
        let entry = Entry::of_event(event).ok_or_else(|| self.log.changed(item))?;
        Ok((entry, item.checksum))
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
