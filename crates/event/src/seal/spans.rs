//! A log file in spans, each of which one thread reads and decodes at a time.
//!
//! Of each span only its bytes and its days are kept, so that a log of any length takes little memory. Its frames are
//! read at once, in the order of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::BytesMut;
use chrono::NaiveDate;
use prost::Message;
use work::priority::yield_if_due;

use super::OpenLog;
use crate::columns::Entry;
use crate::frame::{self, FrameError, HEAD_BYTES};
use crate::proto::Event;
use crate::sealed::{SealedError, date_of};

/// The most events of a span. Decoded, they should still be in the cache of the processor when they are passed on.
const EVENTS: usize = 512;
/// The bytes after which a span ends.
const BYTES: u64 = 1 << 20;

/// A log file, and where its spans are.
pub(crate) struct LogSpans {
    log: OpenLog,
    spans: Vec<Span>,
}

/// Frames that lie side by side.
#[derive(Debug, Default)]
struct Span {
    bytes: Range<u64>,
    events: usize,
    /// When the first decision of each day was made.
    days: BTreeMap<NaiveDate, i64>,
}

impl OpenLog {
    /// Its spans.
    ///
    /// # Errors
    /// As [`index`](Self::index).
    pub(crate) fn spans(self) -> Result<LogSpans, SealedError> {
        let mut spans: Vec<Span> = Vec::new();
        self.walk(&mut |item| {
            let has_room = |last: &Span| last.events < EVENTS && last.bytes.end - last.bytes.start < BYTES;
            if !spans.last().is_some_and(has_room) {
                spans.push(Span { bytes: item.offset..item.offset, ..Span::default() });
            }
            let Some(span) = spans.last_mut() else { return };
            span.bytes.end = item.offset + HEAD_BYTES as u64 + u64::from(item.bytes);
            span.events += 1;
            let first = span.days.entry(date_of(item.decided_at)).or_insert(item.decided_at);
            *first = item.decided_at.min(*first);
        })?;
        Ok(LogSpans { log: self, spans })
    }
}

impl LogSpans {
    /// The days of the decisions.
    pub(crate) fn dates(&self) -> BTreeSet<NaiveDate> {
        self.spans.iter().flat_map(|span| span.days.keys().copied()).collect()
    }

    /// The spans that have decisions of a day, and when the first of those was made.
    pub(crate) fn of_day(&self, date: NaiveDate) -> impl Iterator<Item = (i64, usize)> {
        let spans = self.spans.iter().enumerate();
        spans.filter_map(move |(at, span)| span.days.get(&date).map(|first| (*first, at)))
    }

    /// The decisions of a day in a span, by `decided_at`, then in the order of the log. `buffer` is for its bytes.
    ///
    /// # Errors
    /// When it cannot be read or decoded, or was changed since its bytes were found.
    pub(crate) fn entries(
        &self,
        span: usize,
        date: NaiveDate,
        buffer: &mut BytesMut,
    ) -> Result<Vec<Entry>, SealedError> {
        let Span { bytes, events, .. } = &self.spans[span];
        let OpenLog { shown, file, .. } = &self.log;
        let mut entries = Vec::with_capacity(*events);
        buffer.clear();
        buffer.resize((bytes.end - bytes.start) as usize, 0);
        file.read_exact_at(buffer, bytes.start)
            .map_err(|source| SealedError::Io { path: shown.clone(), source })?;
        // Fields of bytes are copied once if they come from `Bytes`, else twice.
        let mut rest = buffer.split().freeze();
        while !rest.is_empty() {
            let at = bytes.end - rest.len() as u64;
            let changed =
                || SealedError::damaged(shown, format!("it changed at byte {at} while it was read"));
            let event = frame::take(&mut rest).ok_or_else(changed)?;
            let event = Event::decode(event).map_err(|error| SealedError::Log {
                path: shown.clone(),
                source: FrameError::Foreign { at, message: error.to_string() },
            })?;
            let entry = Entry::of_event(event).ok_or_else(changed)?;
            if date_of(entry.record.decided_at) == date {
                entries.push(entry);
            }
            yield_if_due();
        }
        // Most are in order already.
        entries.sort_by_key(|entry| entry.record.decided_at);
        Ok(entries)
    }
}
