//! Merging the parts of files: those of a day and a server by time, or all of a server by position.
//!
//! A part is decoded when its first event may be the next, and a few ahead of that. The file behind the last one that
//! is open is opened before a part of that is decoded: decisions that were made at the end of one log file may stand in
//! the next, since a call may take longer than another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::ControlFlow;
use std::vec::IntoIter;

use super::Wants;
use super::source::{Files, Part, Sources};
use super::threads::{Decoder, Pending};
use crate::columns::Entry;
use crate::kind::EventRecord;
use crate::sealed::SealedError;

/// Parts that are being decoded or wait decoded, beside those that are merged.
pub(super) const AHEAD: usize = 4;

/// By what events are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The time by which they are filed, then their position.
    Time,
    /// Their position.
    Position,
}

impl Order {
    fn key(self, entry: &Entry) -> Key {
        match self {
            Self::Time => (entry.record.filed_at(), entry.position),
            Self::Position => (entry.position.cast_signed(), entry.position),
        }
    }
}

/// Where an event is in the order. The first part is also the lower bound of a [`Part`].
type Key = (i64, u64);

type Visit<'v> = &'v mut dyn FnMut(Entry) -> ControlFlow<()>;

/// Passes all wanted events to `visit`, until it breaks.
pub(super) fn all(
    mut sources: Sources,
    wants: &dyn Wants,
    decoder: &Decoder<Vec<Entry>>,
    visit: Visit<'_>,
) -> Result<(), SealedError> {
    while let Some(files) = sources.next_files() {
        let mut merge = Merge {
            sources: &sources,
            wants,
            decoder,
            files,
            parts: BTreeMap::new(),
            decoding: BTreeMap::new(),
            open: BinaryHeap::new(),
            number: 0,
            newest: 0,
        };
        if merge.run(visit)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// The lower bound of a part, and its number.
type Place = (i64, usize);

struct Merge<'s> {
    sources: &'s Sources,
    wants: &'s dyn Wants,
    decoder: &'s Decoder<Vec<Entry>>,
    files: Files,
    /// Parts of open files that are not being decoded.
    parts: BTreeMap<Place, Part>,
    decoding: BTreeMap<Place, Pending<Vec<Entry>>>,
    open: BinaryHeap<Reverse<Cursor>>,
    /// The number of the next part.
    number: usize,
    /// The number of the first part of the file that was opened last.
    newest: usize,
}

/// Events of a part that are not passed on yet.
struct Cursor {
    key: Key,
    next: Entry,
    rest: IntoIter<Entry>,
}

impl Cursor {
    fn new(order: Order, mut rest: IntoIter<Entry>) -> Option<Self> {
        let next = rest.next()?;
        Some(Self { key: order.key(&next), next, rest })
    }
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Cursor {}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl Merge<'_> {
    fn run(&mut self, visit: Visit<'_>) -> Result<ControlFlow<()>, SealedError> {
        self.open_file()?;
        loop {
            self.decode_ahead()?;
            let lower = self.lower();
            let Some(Reverse(cursor)) = self.open.peek() else {
                match lower {
                    Some(_) => self.open_part()?,
                    None => return Ok(ControlFlow::Continue(())),
                }
                continue;
            };
            // A part that may begin with as early an event comes first.
            if lower.is_some_and(|lower| lower <= cursor.key.0) {
                self.open_part()?;
                continue;
            }
            let Some(Reverse(cursor)) = self.open.pop() else { continue };
            if self.pass_on(cursor, lower, visit).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// Passes on the events of a part, until another one has an earlier event.
    fn pass_on(&mut self, cursor: Cursor, lower: Option<i64>, visit: Visit<'_>) -> ControlFlow<()> {
        let order = self.sources.order();
        let other = self.open.peek().map(|Reverse(other)| other.key);
        let Cursor { mut next, mut rest, .. } = cursor;
        loop {
            visit(next)?;
            let Some(entry) = rest.next() else { return ControlFlow::Continue(()) };
            let key = order.key(&entry);
            if lower.is_some_and(|lower| lower <= key.0) || other.is_some_and(|other| other < key) {
                self.open.push(Reverse(Cursor { key, next: entry, rest }));
                return ControlFlow::Continue(());
            }
            next = entry;
        }
    }

    /// The first place in the order that an event of a part may have that is not open.
    fn lower(&self) -> Option<i64> {
        let first = |place: Option<&Place>| place.map(|(lower, _)| *lower);
        let (parts, decoding) = (first(self.parts.keys().next()), first(self.decoding.keys().next()));
        parts.into_iter().chain(decoding).min()
    }

    /// Has the next parts decoded.
    fn decode_ahead(&mut self) -> Result<(), SealedError> {
        while self.decoding.len() < AHEAD && self.decode_next()? {}
        Ok(())
    }

    /// Has the next part decoded; `false` if there is none.
    fn decode_next(&mut self) -> Result<bool, SealedError> {
        while self.parts.keys().next().is_none_or(|(_, number)| *number >= self.newest) {
            if !self.open_file()? {
                break;
            }
        }
        let Some((place, part)) = self.parts.pop_first() else { return Ok(false) };
        self.decoding.insert(place, self.decoder.start(part));
        Ok(true)
    }

    /// Opens the next file; `false` if there is none.
    fn open_file(&mut self) -> Result<bool, SealedError> {
        let Some(parts) = self.sources.open_next(&mut self.files, self.wants)? else { return Ok(false) };
        self.newest = self.number;
        for part in parts {
            self.parts.insert((part.lower, self.number), part);
            self.number += 1;
        }
        Ok(true)
    }

    /// Waits for the part with the least lower bound.
    fn open_part(&mut self) -> Result<(), SealedError> {
        let first = self.parts.keys().next().copied();
        if self.decoding.keys().next().is_none_or(|place| first.is_some_and(|first| first < *place)) {
            self.decode_next()?;
        }
        let Some((_, pending)) = self.decoding.pop_first() else { return Ok(()) };
        let entries = pending.wait()?;
        self.open.extend(Cursor::new(self.sources.order(), entries.into_iter()).map(Reverse));
        Ok(())
    }
}
