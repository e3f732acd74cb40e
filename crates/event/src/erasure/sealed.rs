//! Sealed files: one that holds records of the person is replaced by one in which they are blanked.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use objects::Put;
use prost::Message;
use work::priority::yield_if_due;

use super::blank::blank_event;
use super::{ErasureError, ErasureStore, point};
use crate::columns::Entry;
use crate::frame;
use crate::keys::KeyName;
use crate::privacy::Subject;
use crate::read::Query;
use crate::sealed::{EventStore, SealedError, SealedFile, SealedKey, SealedWriter};

/// How often a file is read again because another was put in its place meanwhile.
const ATTEMPTS: usize = 5;

/// What was found in a sealed file, and done to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Replaced {
    /// How many records were blanked. The file is another one if there are any.
    pub(super) records: u64,
    /// Keys of pseudonyms under which records cannot be searched.
    pub(super) unknown_keys: BTreeSet<KeyName>,
    /// Keys of pseudonyms under which records were searched, though the file does not say which secret they had.
    pub(super) unproven_keys: BTreeSet<KeyName>,
}

/// Blanks the records of a person in a sealed file. Does nothing if there are none, or no such file (any more).
///
/// # Errors
/// When the store cannot be reached or written to, or the file is damaged; it stays as it is then.
pub(super) fn blank_file(
    events: &EventStore,
    store: &ErasureStore,
    key: &SealedKey,
    subject: &Subject,
) -> Result<Replaced, ErasureError> {
    let Some(local) = events.local(key)? else { return Ok(Replaced::default()) };
    let mut found = search(&SealedFile::open(local)?, subject)?;
    if found.records == 0 {
        return Ok(found);
    }
    let name = key.to_string();
    for _ in 0..ATTEMPTS {
        // Before the file is read: what is put in its place while it is read has another tag.
        let Some(former) = store.tag(&name)? else { return Ok(Replaced::default()) };
        let Some(local) = events.local(key)? else { return Ok(Replaced::default()) };
        let file = SealedFile::open(local)?;
        let staging = events.stage()?;
        let made = staging.path().join("sealed.parquet");
        let mut writer = SealedWriter::create(&made, key.kind, true)?;
        found.records = copy(&file, &mut writer, subject)?;
        let log = file.description().and_then(|description| description.log.clone());
        writer.finish(log)?;
        point("erase.staged");
        if let Put::Done(_) = store.exchange(&name, &former, &made)? {
            point("erase.replaced");
            return Ok(found);
        }
    }
    let message = "it keeps changing; is another program writing it?";
    Err(SealedError::damaged(&store.shown(&name), message).into())
}

/// Whether there are records of the person, without decoding more than names.
fn search(file: &SealedFile, subject: &Subject) -> Result<Replaced, ErasureError> {
    let mut found = Replaced::default();
    let query = Query { customers: subject.texts(), ..Query::default() };
    for group in 0..file.groups() {
        if query.may_want_group(file, group) {
            let entries = file.entries(group, &query)?;
            found.records += entries.iter().filter(|entry| subject.is_of(&entry.record)).count() as u64;
        }
        for id in file.pseudonym_keys(group)? {
            for key in KeyName::candidates(&id, file.log_keys()) {
                if !subject.knows_key(&key) {
                    found.unknown_keys.insert(key);
                } else if key.fingerprint.is_none() {
                    found.unproven_keys.insert(key);
                }
            }
        }
    }
    Ok(found)
}

/// Copies all events, and blanks those of the person. Returns how many that were.
fn copy(file: &SealedFile, writer: &mut SealedWriter, subject: &Subject) -> Result<u64, ErasureError> {
    let (mut records, mut buffer, mut failure) = (0, Vec::new(), None);
    for group in 0..file.groups() {
        let _ = file.visit(group, &Query::default(), &mut |entries| {
            for entry in entries {
                let is_meant = subject.is_of(&entry.record);
                records += u64::from(is_meant);
                let pushed = framed(file, entry, is_meant, &mut buffer)
                    .and_then(|(entry, checksum)| writer.push(entry, checksum));
                if let Err(error) = pushed {
                    failure = Some(error);
                    return ControlFlow::Break(());
                }
                yield_if_due();
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = failure.take() {
            return Err(error.into());
        }
    }
    Ok(records)
}

/// An entry, blanked if it is meant, and the checksum of its frame.
fn framed(
    file: &SealedFile,
    entry: Entry,
    is_meant: bool,
    buffer: &mut Vec<u8>,
) -> Result<(Entry, u32), SealedError> {
    let position = entry.position;
    let too_short =
        || SealedError::damaged(file.shown(), format!("event {position} is too short to be blanked"));
    let mut event = entry.into_event();
    if is_meant {
        event = blank_event(&event, event.encoded_len()).ok_or_else(too_short)?;
    }
    buffer.clear();
    frame::write(&event, buffer);
    let checksum = buffer[4..].first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    Ok((Entry::of_event(event).ok_or_else(too_short)?, checksum))
}
