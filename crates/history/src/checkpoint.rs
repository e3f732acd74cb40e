//! Checkpoints: a history as a file, so that a server that starts reads it and the part of the log behind it.
//!
//! A file has the position in the log that it covers, in the caller's terms. [`write()`] takes it of a history
//! in which nothing happens meanwhile, as when a server stops. [`advance()`] makes the next one out of the last one and
//! the events behind it, without the history that serves: customers are merged one by one, so that it needs memory for
//! the customers of these events alone. [`without`] takes customers out. [`read`] gives the history again. Every frame
//! has a checksum, which covers its number, too, and the last one is marked: a file that was cut or changed is refused
//! whole.

mod advance;
mod fields;
mod frames;
mod parts;

use std::io::{self, Read, Write};
use std::sync::atomic::Ordering;

use chrono::TimeDelta;

pub use advance::{advance, without};

use self::fields::{Input, Output};
use super::History;
use super::timeline::{Id, Timeline};

/// What a file begins with, and its version.
const HEAD: &[u8] = b"proffer history 1\n";

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file is none, or of another version.
    #[error("this is no checkpoint of a history that this version can read; build the history from events")]
    Foreign,
    /// The file was cut or changed.
    #[error("the checkpoint is damaged at byte {at}: {message}; build the history from events")]
    Damaged {
        /// Where.
        at: u64,
        /// What is wrong.
        message: &'static str,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A history that was read.
#[derive(Debug)]
pub struct Checkpoint {
    /// The history.
    pub history: History,
    /// The position in the log that it covers.
    pub position: Vec<u8>,
}

/// Writes a history in which nothing happens meanwhile: no transaction is open, and no event is being counted.
///
/// # Errors
/// When `out` fails.
pub fn write(history: &History, position: &[u8], out: impl Write) -> Result<(), CheckpointError> {
    let mut out = Output::new(out);
    write_head(history, position, &mut out)?;
    for id in history.customers.ids() {
        history.customers.read(&id, |timeline| write_customer(&id, timeline, &mut out)).transpose()?;
    }
    end(out)
}

/// Reads a history, which recognises duplicates of outcomes for `deduplicated`.
///
/// # Errors
/// When the file is not one that was written whole, or `input` fails.
pub fn read(input: impl Read, deduplicated: TimeDelta) -> Result<Checkpoint, CheckpointError> {
    let mut input = Input::new(input);
    let (history, position) = read_head(&mut input, deduplicated)?;
    let codes = history.names.codes();
    while let Some((_, timeline)) = read_customer(&mut input, codes)? {
        history.customers.add(timeline);
    }
    input.finish()?;
    Ok(Checkpoint { history, position })
}

/// Writes everything but the customers.
fn write_head<W: Write>(
    history: &History,
    position: &[u8],
    out: &mut Output<W>,
) -> Result<(), CheckpointError> {
    out.bytes(HEAD)?;
    out.bytes(position)?;
    out.number(history.kept_since.load(Ordering::Relaxed) as u64)?;
    out.number(history.given_up.load(Ordering::Relaxed))?;
    parts::write_names(&history.names, out)?;
    let ledgers = history.ledgers();
    out.number(ledgers.len() as u64)?;
    for (offer, ledger) in ledgers {
        out.number(u64::from(offer))?;
        parts::write_ledger(&ledger.save(), out)?;
    }
    let seen = history.seen.items();
    out.number(seen.len() as u64)?;
    for item in seen {
        out.number(item)?;
    }
    Ok(())
}

/// Reads everything but the customers, and the position.
fn read_head<R: Read>(
    input: &mut Input<R>,
    deduplicated: TimeDelta,
) -> Result<(History, Vec<u8>), CheckpointError> {
    if !input.begins_with(HEAD)? {
        return Err(CheckpointError::Foreign);
    }
    let position = input.bytes()?;
    let history = History::new(deduplicated);
    history.kept_since.store(input.number()? as i64, Ordering::Relaxed);
    history.given_up.store(input.number()?, Ordering::Relaxed);
    parts::read_names(&history.names, input)?;
    for _ in 0..input.number()? {
        let offer = input.small()?;
        history.ledger(offer).restore(parts::read_ledger(input)?);
    }
    for _ in 0..input.number()? {
        history.seen.restore(input.number()?);
    }
    Ok((history, position))
}

fn write_customer<W: Write>(
    id: &str,
    timeline: &Timeline,
    out: &mut Output<W>,
) -> Result<(), CheckpointError> {
    out.number(1)?;
    out.bytes(id.as_bytes())?;
    out.number(u64::from(timeline.has_opted_out()))?;
    out.number(timeline.len() as u64)?;
    for entry in timeline.entries() {
        out.number(entry.bits())?;
    }
    Ok(())
}

/// The next customer, whose entries have the first `codes`; `None` behind the last.
fn read_customer<R: Read>(
    input: &mut Input<R>,
    codes: usize,
) -> Result<Option<(Box<str>, Timeline)>, CheckpointError> {
    if input.number()? == 0 {
        return Ok(None);
    }
    let id = input.text()?;
    let opted_out = input.number()? == 1;
    let length = input.number()? as usize;
    if length > Timeline::MOST {
        return Err(input.damaged("a customer has too many entries"));
    }
    let mut entries = Vec::with_capacity(length);
    for _ in 0..length {
        let entry = super::entry::Entry::from_bits(input.number()?);
        if entry.code().get() as usize >= codes {
            return Err(input.damaged("an entry has a code that is not there"));
        }
        entries.push(entry);
    }
    if !entries.is_sorted_by_key(|entry| entry.at()) {
        return Err(input.damaged("the entries of a customer are not in order"));
    }
    let timeline = Timeline::from_entries(&Id::new(&id), &entries, opted_out);
    Ok(Some((id.into(), timeline)))
}

/// Ends the customers and the file.
fn end<W: Write>(mut out: Output<W>) -> Result<(), CheckpointError> {
    out.number(0)?;
    Ok(out.finish()?)
}

#[cfg(test)]
mod tests;
