//! The log of a server: records of the erased are blanked in its closed files.
//!
//! A file with such records is written anew beside itself, and takes its own name at one moment. It is as long as
//! before and all other bytes stay, so known positions in it stay true. A process that dies leaves the file as it was,
//! or the new one; beginning again does no harm.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message;
use work::priority::yield_if_due;

use super::blank::blank_event;
use super::{Erased, ErasureError, point};
use crate::disk::{self, Disk};
use crate::error::NotRecorded;
use crate::event_log::EventLog;
use crate::frame::{self, FrameError, Frames, HEAD_BYTES};
use crate::keys::KeyName;
use crate::kind::Record;
use crate::log::unread::unread;
use crate::log::{LogFile, LogFiles, TakenOver, Unread};
use crate::proto::event;
use crate::recorder::Recorder;
use crate::sealed::SealedError;

/// Bytes that are read ahead.
const BUFFER_BYTES: usize = 256 << 10;

/// How long a server waits until its open file is closed: a sync takes less, and the next poll tries again.
const CLOSING: Duration = Duration::from_secs(10);

/// The log of a server, as erasing needs it.
pub trait ServerLog {
    /// Writes what was queued before, and closes the open file.
    ///
    /// # Errors
    /// When it cannot be written for now.
    fn close_file(&self) -> Result<(), NotRecorded>;

    /// A handle to its files.
    fn log_files(&self) -> LogFiles;

    /// Whether it is about to be given up, so that no more files of it may be changed.
    fn is_ending(&self) -> bool;

    /// Drops what the server has worked out of events of the erased, in memory and in its data directory. Called once
    /// the file is closed: events that come later are of after the erasure.
    ///
    /// # Errors
    /// What cannot be dropped.
    fn forget_events(&self, _erased: &Erased) -> Result<(), String> {
        Ok(())
    }
}

/// The log of a running server; can be sent to other threads.
#[derive(Debug, Clone)]
pub struct LiveLog {
    recorder: Recorder,
    files: LogFiles,
    ending: Arc<AtomicBool>,
}

impl LiveLog {
    /// That of a server.
    #[must_use]
    pub fn of(log: &EventLog) -> Self {
        Self { recorder: log.recorder(), files: log.log_files(), ending: Arc::default() }
    }

    /// No more files are blanked, after the one that is.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}

impl ServerLog for LiveLog {
    fn close_file(&self) -> Result<(), NotRecorded> {
        self.recorder.close_file(CLOSING)
    }

    fn log_files(&self) -> LogFiles {
        self.files.clone()
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

/// The log of a dead server has no open file.
impl ServerLog for TakenOver {
    fn close_file(&self) -> Result<(), NotRecorded> {
        Ok(())
    }

    fn log_files(&self) -> LogFiles {
        self.files().clone()
    }

    fn is_ending(&self) -> bool {
        false
    }
}

/// What was done to a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Blanked {
    /// How many records were blanked, for each marker.
    pub(super) records: Vec<u64>,
    /// Keys of the pseudonyms in all other records.
    pub(super) keys: BTreeSet<KeyName>,
    /// Files that may hold records and cannot be searched, and why.
    pub(super) left: Vec<String>,
}

/// Blanks the records of `erased` in all files that are closed now. Nothing is sealed meanwhile. Ends before the next
/// file if it `is_ending`.
///
/// # Errors
/// When a file cannot be read to its end or written, or is not to be changed any more. Files before it are done.
pub(super) fn blank_all(
    logs: &LogFiles,
    erased: &Erased,
    is_ending: &dyn Fn() -> bool,
) -> Result<Blanked, ErasureError> {
    // A log that is being sealed would go to the store with what is blanked here.
    let _held = logs.hold();
    let mut blanked = Blanked { records: vec![0; erased.markers().len()], ..Blanked::default() };
    for log in logs.closed() {
        if is_ending() {
            return Err(NotRecorded::Closed.into());
        }
        blank_file(logs.disk(), &log, erased, &mut blanked)?;
        point("erase.blanked");
    }
    let unread = unread(logs.disk(), logs.directory(), logs.server());
    let unread = unread.map_err(SealedError::io(logs.directory()))?;
    blanked.left.extend(unread.iter().map(Unread::to_string));
    Ok(blanked)
}

fn blank_file(
    disk: &dyn Disk,
    log: &LogFile,
    erased: &Erased,
    blanked: &mut Blanked,
) -> Result<(), ErasureError> {
    let path = &log.path;
    let shown = path.display().to_string();
    let open = || disk.read(path).map(|source| source.take(log.bytes));
    let source = match open() {
        Ok(source) => source,
        // It was deleted since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SealedError::io(path)(error).into()),
    };
    let mut frames = Frames::new(BufReader::with_capacity(BUFFER_BYTES, source));
    let failed = |source: FrameError| SealedError::Log { path: shown.clone(), source };
    let (mut patches, mut start) = (VecDeque::new(), 0);
    let mut records = vec![0; blanked.records.len()];
    let (mut ids, mut named) = (BTreeSet::new(), Vec::new());
    while let Some(one) = frames.next_frame().map_err(failed)? {
        if let Some(event::Event::Header(header)) = &one.event.event {
            named = KeyName::in_header(&header.keys);
        }
        if let Some(record) = one.event.event.as_ref().and_then(Record::in_event) {
            let mut is_meant = false;
            for marker in erased.markers_of(record) {
                is_meant = true;
                records[marker] += 1;
            }
            if is_meant {
                let length = (one.end - start) as usize - HEAD_BYTES;
                let Some(blank) = blank_event(&one.event, length) else {
                    let message = format!("event {} is too short to be blanked", one.event.position);
                    return Err(SealedError::damaged(&shown, message).into());
                };
                let mut bytes = Vec::with_capacity(HEAD_BYTES + blank.encoded_len());
                frame::write(&blank, &mut bytes);
                patches.push_back((start, bytes));
            } else if !record.pseudonym_key().is_empty() && !ids.contains(record.pseudonym_key()) {
                ids.insert(record.pseudonym_key().to_owned());
            }
        }
        start = one.end;
        yield_if_due();
    }
    blanked.keys.extend(ids.iter().flat_map(|id| KeyName::candidates(id, &named)));
    // What a write left that failed is behind the end, and may be a copy of what is blanked.
    if patches.is_empty() && length(disk, path)? <= log.bytes {
        return Ok(());
    }
    let source = BufReader::with_capacity(BUFFER_BYTES, open().map_err(SealedError::io(path))?);
    disk::replace(disk, path, Patched { source, at: 0, patches }).map_err(SealedError::io(path))?;
    for (all, more) in blanked.records.iter_mut().zip(records) {
        *all += more;
    }
    Ok(())
}

fn length(disk: &dyn Disk, path: &Path) -> Result<u64, SealedError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let listed = disk.list(directory).map_err(SealedError::io(directory))?;
    let found =
        listed.into_iter().find(|(name, _)| path.file_name().is_some_and(|file| file == name.as_str()));
    Ok(found.map_or(0, |(_, length)| length))
}

/// The bytes of a source, some of which are replaced by as many others.
struct Patched<R> {
    source: R,
    at: u64,
    /// Where each begins, and its bytes; ascending, none reaches into the next.
    patches: VecDeque<(u64, Vec<u8>)>,
}

impl<R: Read> Read for Patched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        let (from, to) = (self.at, self.at + read as u64);
        while let Some((start, bytes)) = self.patches.front().filter(|(start, _)| *start < to) {
            let end = start + bytes.len() as u64;
            let (first, last) = ((*start).max(from), end.min(to));
            if first < last {
                let part = &bytes[(first - start) as usize..(last - start) as usize];
                buffer[(first - from) as usize..(last - from) as usize].copy_from_slice(part);
            }
            if end > to {
                break;
            }
            self.patches.pop_front();
        }
        self.at = to;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads at most so many bytes at a time.
    struct Slow<'b>(&'b [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }

    proptest! {
        #[test]
        fn patches_replace_their_bytes_and_no_others(
            bytes in prop::collection::vec(any::<u8>(), 1..200),
            parts in prop::collection::vec((0_usize..20, 1_usize..30), 0..8),
            most in 1_usize..40,
        ) {
            let (mut expected, mut patches, mut at) = (bytes.clone(), VecDeque::new(), 0);
            for (gap, length) in parts {
                let (start, end) = (at + gap, at + gap + length);
                if end > bytes.len() {
                    break;
                }
                expected[start..end].fill(7);
                patches.push_back((start as u64, vec![7; length]));
                at = end;
            }
            let mut patched = Patched { source: Slow(&bytes, most), at: 0, patches };
            let mut found = Vec::new();
            patched.read_to_end(&mut found).unwrap();
            prop_assert_eq!(found, expected);
        }
    }
}
