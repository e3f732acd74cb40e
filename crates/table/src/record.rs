//! Records: where fields and lines end, and whether every opening quote is closed.
//!
//! A field that begins with the quote ends with it; within, the quote is doubled. A quote elsewhere in a field is
//! text, because it hides nothing. A line ends with a line feed, a carriage return or both; an empty line is not a
//! record. Each byte is examined once, and runs between quotes and line ends are copied as a whole.

use std::io::{ErrorKind, Read};

use super::dialect::Dialect;
use super::{Fault, Faults, Limits};
use document::grouped;

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 1 << 18;

const NEVER_CLOSED: &str =
    "the quote that opens here is never closed; close it, or remove it (a quote within quotes is doubled)";

const TEXT_BEHIND: &str = "text follows the closing quote of a field that opens here; a quote may be missing or \
                           superfluous (a quote within quotes is doubled)";

const NUL: &str = "a NUL byte; the file is damaged or is not UTF-8; save it as CSV (UTF-8)";

/// One row of a file, as written but without its quotes.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The fields, with one byte between them.
    bytes: Vec<u8>,
    /// Where each field ends; the next begins one byte later.
    ends: Vec<usize>,
    line: usize,
    last_line: usize,
}

impl Record {
    /// The number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The line on which it begins, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// A field by its position.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<&[u8]> {
        let end = *self.ends.get(position)?;
        let start = position.checked_sub(1).map_or(0, |before| self.ends[before] + 1);
        self.bytes.get(start..end)
    }

    /// The fields in the order of the columns.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|position| self.get(position))
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        (self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()) as u64
    }

    /// Clears the record, and frees its memory if that exceeds `most` bytes.
    pub fn reset(&mut self, most: usize) {
        self.clear();
        if self.memory_bytes() > most as u64 {
            *self = Self::default();
        }
    }

    /// Whether a field contains a line break.
    pub(super) fn spans_lines(&self) -> bool {
        self.last_line > self.line
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn end_field(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

/// The meaning of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Text,
    Separator,
    LineEnd,
    Quote,
    Nul,
}

/// The state of the parser at the next byte.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Outside quotes. A quote at offset `opens` of the record opens a field.
    Plain { opens: usize },
    /// Within quotes that opened on this line.
    Quoted { opened: usize },
    /// Behind a quote that closes the field or is the first of a doubled quote.
    Closing { opened: usize },
    /// Behind white space that follows a closing quote.
    Closed { opened: usize },
}

/// Splits bytes into records.
pub(super) struct Records<R> {
    input: R,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    /// Bytes of the file before the buffer.
    before: u64,
    /// The line of the next byte.
    line: usize,
    /// Whether the previous byte was a carriage return. A line feed after it belongs to the same line end.
    after_return: bool,
    classes: [Class; 256],
    faults: Faults,
    limits: Limits,
    tolerated: Vec<Fault>,
    failed: bool,
    /// Whether the last record ended with the file instead of a line end.
    open_ended: bool,
}

impl<R: Read> Records<R> {
    /// `head`: the first bytes, already read, without a byte order mark. `before`: bytes that precede them.
    pub(super) fn new(head: Vec<u8>, before: u64, input: R, dialect: Dialect, faults: Faults) -> Self {
        let mut classes = [Class::Text; 256];
        classes[usize::from(dialect.separator)] = Class::Separator;
        classes[usize::from(dialect.quote)] = Class::Quote;
        classes[usize::from(b'\n')] = Class::LineEnd;
        classes[usize::from(b'\r')] = Class::LineEnd;
        if faults == Faults::Refused {
            classes[0] = Class::Nul;
        }
        Self {
            end: head.len(),
            buffer: head,
            input,
            at: 0,
            before,
            line: 1,
            after_return: false,
            classes,
            faults,
            limits: Limits { columns: usize::MAX, ..Limits::default() },
            tolerated: Vec::new(),
            failed: false,
            open_ended: false,
        }
    }

    /// Applies `limits` to all further records. An unclosed quote then cannot take the whole file into memory, nor
    /// can a line of separators.
    pub(super) fn bound(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes of the file up to the end of the last read.
    pub(super) fn position(&self) -> u64 {
        self.before + self.at as u64
    }

    /// Faults that were found and tolerated.
    pub(super) fn tolerated(&self) -> &[Fault] {
        &self.tolerated
    }

    /// Whether the last record ended with the file instead of a line end.
    pub(super) fn open_ended(&self) -> bool {
        self.open_ended
    }

    /// Reads the next record; `false` at the end of the file, and after a fault.
    pub(super) fn read(&mut self, record: &mut Record) -> Result<bool, Fault> {
        let read = self.read_record(record);
        if read.is_err() {
            // Anything that follows would be misread.
            self.failed = true;
        }
        read
    }

    fn read_record(&mut self, record: &mut Record) -> Result<bool, Fault> {
        record.clear();
        if self.failed || !self.skip_line_ends()? {
            return Ok(false);
        }
        record.line = self.line;
        let mut state = State::Plain { opens: 0 };
        loop {
            if !self.fill()? {
                return self.end_of_file(record, state);
            }
            if record.bytes.len() > self.limits.record_bytes && self.faults == Faults::Refused {
                return Err(self.too_long(record, state));
            }
            let next = match state {
                State::Plain { opens } => self.plain(record, opens)?,
                State::Quoted { opened } => Some(self.quoted(record, opened)?),
                State::Closing { opened } | State::Closed { opened } => {
                    self.behind_quote(record, opened, matches!(state, State::Closing { .. }))?
                }
            };
            match next {
                Some(next) => state = next,
                None => return Ok(true),
            }
        }
    }

    /// Whether there is a next byte.
    fn fill(&mut self) -> Result<bool, Fault> {
        if self.at < self.end {
            return Ok(true);
        }
        self.before += self.end as u64;
        (self.at, self.end) = (0, 0);
        self.buffer.resize(BUFFER_BYTES, 0);
        loop {
            match self.input.read(&mut self.buffer) {
                Ok(read) => {
                    self.end = read;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let message = format!("cannot be read to its end (line {}): {error}", self.line);
                    return Err(Fault { line: None, message });
                }
            }
        }
    }

    /// Skips empty lines. Returns whether a record follows.
    fn skip_line_ends(&mut self) -> Result<bool, Fault> {
        while self.fill()? {
            match self.buffer[self.at] {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' => self.line += 1,
                b'\r' => {
                    self.line += 1;
                    self.after_return = true;
                }
                _ => {
                    self.after_return = false;
                    return Ok(true);
                }
            }
            self.at += 1;
        }
        Ok(false)
    }

    /// Reads outside quotes; `None` once the record has ended.
    fn plain(&mut self, record: &mut Record, mut opens: usize) -> Result<Option<State>, Fault> {
        let input = &self.buffer[self.at..self.end];
        let base = record.bytes.len();
        let mut at = 0;
        loop {
            // Separators are copied with the fields: they are the bytes between them.
            at += input[at..]
                .iter()
                .position(|byte| self.classes[usize::from(*byte)] != Class::Text)
                .unwrap_or(input.len() - at);
            let Some(byte) = input.get(at) else {
                record.bytes.extend_from_slice(input);
                self.at = self.end;
                return Ok(Some(State::Plain { opens }));
            };
            match self.classes[usize::from(*byte)] {
                Class::Separator => {
                    if record.ends.len() + 1 >= self.limits.columns {
                        return Err(self.too_wide(record));
                    }
                    record.ends.push(base + at);
                    opens = base + at + 1;
                }
                Class::LineEnd => {
                    record.bytes.extend_from_slice(&input[..at]);
                    record.end_field();
                    self.after_return = *byte == b'\r';
                    self.at += at + 1;
                    record.last_line = self.line;
                    self.line += 1;
                    return Ok(None);
                }
                Class::Quote if base + at == opens => {
                    record.bytes.extend_from_slice(&input[..at]);
                    self.at += at + 1;
                    return Ok(Some(State::Quoted { opened: self.line }));
                }
                Class::Nul => return Err(Fault::at(self.line, NUL)),
                Class::Quote | Class::Text => {}
            }
            at += 1;
        }
    }

    fn quoted(&mut self, record: &mut Record, opened: usize) -> Result<State, Fault> {
        let input = &self.buffer[self.at..self.end];
        let special = |byte: &u8| self.classes[usize::from(*byte)] > Class::Separator;
        let Some(at) = input.iter().position(special) else {
            record.bytes.extend_from_slice(input);
            self.at = self.end;
            return Ok(State::Quoted { opened });
        };
        let byte = input[at];
        record.bytes.extend_from_slice(&input[..at]);
        self.at += at + 1;
        match self.classes[usize::from(byte)] {
            Class::Quote => return Ok(State::Closing { opened }),
            Class::Nul => return Err(Fault::at(self.line, NUL)),
            Class::LineEnd if byte == b'\n' && record.bytes.last() == Some(&b'\r') => {}
            Class::LineEnd => self.line += 1,
            Class::Text | Class::Separator => {}
        }
        record.bytes.push(byte);
        Ok(State::Quoted { opened })
    }

    fn behind_quote(
        &mut self,
        record: &mut Record,
        opened: usize,
        may_be_doubled: bool,
    ) -> Result<Option<State>, Fault> {
        let byte = self.buffer[self.at];
        self.at += 1;
        match self.classes[usize::from(byte)] {
            Class::Quote if may_be_doubled => {
                record.bytes.push(byte);
                Ok(Some(State::Quoted { opened }))
            }
            Class::Separator => {
                if record.ends.len() + 1 >= self.limits.columns {
                    return Err(self.too_wide(record));
                }
                record.end_field();
                record.bytes.push(byte);
                Ok(Some(State::Plain { opens: record.bytes.len() }))
            }
            Class::LineEnd => {
                record.end_field();
                self.after_return = byte == b'\r';
                record.last_line = self.line;
                self.line += 1;
                Ok(None)
            }
            Class::Text if byte.is_ascii_whitespace() && self.faults == Faults::Refused => {
                Ok(Some(State::Closed { opened }))
            }
            Class::Text | Class::Quote | Class::Nul => {
                self.fault(Fault::at(opened, TEXT_BEHIND))?;
                record.bytes.push(byte);
                Ok(Some(State::Plain { opens: usize::MAX }))
            }
        }
    }

    fn end_of_file(&mut self, record: &mut Record, state: State) -> Result<bool, Fault> {
        if let State::Quoted { opened } = state {
            self.fault(Fault::at(opened, NEVER_CLOSED))?;
        }
        record.end_field();
        record.last_line = self.line;
        self.open_ended = true;
        Ok(true)
    }

    fn fault(&mut self, fault: Fault) -> Result<(), Fault> {
        match self.faults {
            Faults::Refused => Err(fault),
            Faults::Tolerated => {
                // One fault shows that the file is malformed; further ones add nothing.
                if self.tolerated.is_empty() {
                    self.tolerated.push(fault);
                }
                Ok(())
            }
        }
    }

    fn too_wide(&self, record: &Record) -> Fault {
        let most = grouped(&self.limits.columns.to_string());
        let message = format!(
            "more than {most} columns, the most a table may have; leave out those that are not features"
        );
        Fault::at(record.line, message)
    }

    fn too_long(&self, record: &Record, state: State) -> Fault {
        let most = self.limits.record_bytes >> 20;
        match state {
            State::Quoted { opened } => Fault::at(
                opened,
                format!("the quote that opens here is not closed within {most} MiB; close it"),
            ),
            State::Plain { .. } | State::Closing { .. } | State::Closed { .. } => {
                Fault::at(record.line, format!("the row is longer than {most} MiB; is this a table?"))
            }
        }
    }
}
