//! Reads tables in CSV: customers, training tables, rows to score and golden rows.
//!
//! Owns how a text file is written: compression, encoding, separator, quotes, decimal mark, and the words for
//! missing, yes and no. Also owns how large a table in any format may be ([`Limits`]), and checks Parquet files
//! against that ([`parquet`]). Knows nothing of what a column means.
//!
//! A truncated or malformed file is a [`Fault`] with its line, never a shorter table; [`Reader`] ensures that. Start
//! reading at [`Reader::open`]. `record.rs` splits records.

mod dialect;
mod limits;
mod number;
mod packing;
pub mod parquet;
mod record;
mod source;
#[cfg(test)]
mod tests;
mod words;
mod write;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use limits::{Limits, VALUE_BYTES};
pub use number::{Decimal, Marks, Thousands, advice};
pub use packing::{Packer, Packing, Unpacked};
pub use record::Record;
pub use words::{is_missing, truth};
pub use write::Writer;

use self::dialect::Dialect;
use self::record::Records;
use self::source::Source;
use document::Problems;

/// Bytes at the start of a file from which its separator, quotes and encoding are detected.
const HEAD_BYTES: u64 = 64 * 1024;

/// The end of a message about thousands: how to set the decimal mark of a command.
pub const SAY_DECIMAL: &str = ", or name the decimal mark: --decimal comma or --decimal point";

/// The separators of fields, with the names people use for them.
pub const SEPARATORS: [(&str, u8); 4] = [(",", b','), (";", b';'), ("tab", b'\t'), ("|", b'|')];

/// The message for text that is not UTF-8.
pub const NOT_UTF8: &str = "is not valid UTF-8; save the file as UTF-8";

/// The message for a number that no 32-bit float holds.
pub const INFINITE: &str = "is infinite or beyond ±3.4e38; leave it empty where the value is not known";

/// The message for a file without a header.
pub const EMPTY: &str = "is empty; its first line must name the columns";

/// Why a file cannot be read any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1, where one can be named.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl Fault {
    fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into() }
    }

    /// The fault as a problem of `file`.
    #[must_use]
    pub fn of(self, file: &str) -> Problems {
        Problems::one(file, self.line, self.message)
    }
}

/// How unclosed quotes, and text behind a closing quote, are handled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Faults {
    /// They end the reading.
    #[default]
    Refused,
    /// They are noted, and the file is read as before faults were refused.
    Tolerated,
}

/// What the caller knows of a file before it is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'o> {
    /// The separator of fields; detected if absent.
    pub separator: Option<u8>,
    /// The quote of fields; detected if absent.
    pub quote: Option<u8>,
    /// The decimal mark. If absent: the point where commas separate fields, otherwise either.
    pub decimal: Option<Decimal>,
    /// A column that the header must have. It rules out separators under which the header lacks it.
    pub column: Option<&'o str>,
    /// How a malformed file is handled.
    pub faults: Faults,
    /// How large it may be.
    pub limits: Limits,
}

/// A file that is read record by record.
pub struct Reader<'r> {
    records: Records<Box<dyn Read + Send + 'r>>,
    packed: Option<Arc<AtomicU64>>,
    limits: Limits,
    /// Records read below the header.
    rows: u64,
    names: Vec<String>,
    line: usize,
    separator: u8,
    decimal: Decimal,
    /// The line of the first record with a field that may contain several rows, and the number of such records.
    joined: Option<(usize, usize)>,
}

impl<'r> Reader<'r> {
    /// Reads the head and the header.
    ///
    /// # Errors
    /// A file that is not CSV in UTF-8, is empty, or has a malformed header.
    pub fn open(input: impl Read + Send + 'r, options: Options<'_>) -> Result<Self, Fault> {
        let limits = options.limits;
        let source = Source::open(input, limits)?;
        let declared = declared_separator(&source.head);
        let separator = options.separator.or(declared);
        let dialect = Dialect::detect(&source.head, separator, options.quote, options.column);
        let mut records = Records::new(source.head, source.mark, source.rest, dialect, options.faults);
        records.bound(limits);
        let mut header = Record::default();
        if declared.is_some() {
            records.read(&mut header)?;
        }
        if !records.read(&mut header)? {
            return Err(Fault { line: None, message: EMPTY.to_owned() });
        }
        let mut names = Vec::with_capacity(header.len());
        for (number, name) in (1..).zip(header.iter()) {
            if std::str::from_utf8(name).is_err() && options.faults == Faults::Refused {
                return Err(Fault::at(header.line(), format!("the name of column {number} {NOT_UTF8}")));
            }
            names.push(String::from_utf8_lossy(name).trim().to_owned());
        }
        let by_separator = if dialect.separator == b',' { Decimal::Point } else { Decimal::Either };
        Ok(Self {
            records,
            packed: source.packed,
            limits,
            rows: 0,
            names,
            line: header.line(),
            separator: dialect.separator,
            decimal: options.decimal.unwrap_or(by_separator),
            joined: None,
        })
    }

    /// The names of the columns, without white space around them.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The line of the header.
    #[must_use]
    pub fn header_line(&self) -> usize {
        self.line
    }

    /// How numbers are written.
    #[must_use]
    pub fn decimal(&self) -> Decimal {
        self.decimal
    }

    /// Bytes of the file up to the end of the last record read. For a compressed file: the compressed bytes consumed.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.packed.as_ref().map_or_else(|| self.records.position(), |taken| taken.load(Ordering::Relaxed))
    }

    /// Reads the next record into `record`; `false` at the end of the file.
    ///
    /// # Errors
    /// A malformed or unreadable file. Nothing can be read after that.
    pub fn read(&mut self, record: &mut Record) -> Result<bool, Fault> {
        let read = self.records.read(record)?;
        self.rows += u64::from(read);
        if let Some(message) = self.limits.rows_fault(self.rows, self.names.len()) {
            return Err(Fault::at(record.line(), message));
        }
        if read && record.spans_lines() && may_hold_rows(record, self.separator, self.names.len()) {
            let (first, count) = self.joined.unwrap_or((record.line(), 0));
            self.joined = Some((first, count + 1));
        }
        Ok(read)
    }

    /// What is wrong with the number of fields of a record, if anything.
    #[must_use]
    pub fn width_fault(&self, record: &Record) -> Option<String> {
        width_fault(record, self.names.len())
    }

    /// Whether the file, once read to its end, lacks a final line end. Any cut within a line leaves such a file.
    #[must_use]
    pub fn may_be_truncated(&self) -> bool {
        self.records.open_ended()
    }

    /// What to report about a file that was read to its end without a fault.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let tolerated = self.records.tolerated().iter().map(|fault| match fault.line {
            Some(line) => format!("line {line}: {}", fault.message),
            None => fault.message.clone(),
        });
        let mut notes: Vec<String> = tolerated.collect();
        if let Some((line, count)) = self.joined {
            let rows = if count == 1 { String::new() } else { format!(" ({count} rows in all)") };
            notes.push(format!(
                "line {line}: a quoted field spans several lines that may be rows; is a quote missing?{rows}"
            ));
        }
        if self.records.open_ended() {
            notes.push("the last line has no line end; is the file whole?".to_owned());
        }
        notes
    }
}

/// The separator in a first line such as `sep=;`. Spreadsheets write and read that line; it is not a header.
fn declared_separator(head: &[u8]) -> Option<u8> {
    let (separator, rest) = head.strip_prefix(b"sep=")?.split_first()?;
    let known = SEPARATORS.iter().any(|(_, known)| known == separator);
    (known && (rest.starts_with(b"\n") || rest.starts_with(b"\r"))).then_some(*separator)
}

/// Whether a field looks like rows joined by a missing quote. Its lines have as many separators as rows have. The
/// last has as many as precede the field.
#[expect(clippy::naive_bytecount, reason = "lines within a field are few and short")]
fn may_hold_rows(record: &Record, separator: u8, width: usize) -> bool {
    record.iter().enumerate().any(|(column, field)| {
        let separators = |line: &[u8]| line.iter().filter(|byte| **byte == separator).count();
        // The first line of the field is the rest of the row in which the quote opened.
        let lines: Vec<&[u8]> = field.split(|byte| *byte == b'\n').skip(1).collect();
        let Some((last, whole)) = lines.split_last() else { return false };
        separators(last) == column
            && (column > 0 || !whole.is_empty())
            && whole.iter().all(|line| width > 1 && separators(line) + 1 == width)
    })
}

/// What is wrong with a record that does not have `width` fields.
#[must_use]
pub fn width_fault(record: &Record, width: usize) -> Option<String> {
    let found = record.len();
    if found == width {
        return None;
    }
    let advice = if record.spans_lines() {
        "a quote may be missing or too many"
    } else if found > width {
        "put a field that contains the separator into quotes, and write decimal points"
    } else {
        "a missing value is an empty field"
    };
    Some(format!("{found} fields where the header has {width}; {advice}"))
}
