//! Tables in CSV as people have them: one reader for customers, training tables, rows to score and golden rows.
//!
//! Owns how a file of text is written: compressed or not, its encoding, its separator and quotes, its decimal mark, its
//! words for nothing, yes and no, and whether it is whole. Knows nothing of what a column means. A file that is not whole is
//! a [`Fault`] with its line, and never a shorter table: that is what [`Reader`] is for. Start reading at [`Reader::open`];
//! `record.rs` cuts records.

mod dialect;
mod number;
mod record;
mod source;
#[cfg(test)]
mod tests;
mod words;
mod write;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use number::{Decimal, Marks, Thousands, advice};
pub use record::Record;
pub use words::{is_missing, truth};
pub use write::Writer;

use self::dialect::Dialect;
use self::record::Records;
use self::source::Source;
use crate::document::Problems;

/// Bytes of a file from which its separator, quotes and encoding are told.
const HEAD_BYTES: u64 = 64 * 1024;

/// What a person can say to a command of marks that may stand between thousands.
pub const SAY_DECIMAL: &str = ", or say what stands before decimals: --decimal comma, or --decimal point";

/// What may separate fields, as people name it.
pub const SEPARATORS: [(&str, u8); 4] = [(",", b','), (";", b';'), ("tab", b'\t'), ("|", b'|')];

/// The most bytes that a compressed table is unpacked to, 16 GiB: more than any table of customers has, and an end for a
/// file that was made to have none.
pub const MOST_UNPACKED: u64 = 16 << 30;

/// What is said of text that is not UTF-8.
pub const NOT_UTF8: &str = "is not valid UTF-8; save the file as UTF-8";

/// What is said of a number that no 32-bit float holds.
pub const INFINITE: &str = "is infinite or beyond ±3.4e38; leave it empty where the value is not known";

/// What is said of a file without a header.
pub const EMPTY: &str = "is empty; its first line must name the columns";

/// Why a file cannot be read on.
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

    /// As what is wrong with `file`.
    #[must_use]
    pub fn of(self, file: &str) -> Problems {
        Problems::one(file, self.line, self.message)
    }
}

/// What becomes of quotes that are not closed and of text behind those that are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Faults {
    /// They end the reading.
    #[default]
    Refused,
    /// They are kept in mind, and the file is read as it was before they were refused.
    Tolerated,
}

/// What is known of a file before it is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'o> {
    /// What separates fields; told from the file where absent.
    pub separator: Option<u8>,
    /// What quotes fields; told from the file where absent.
    pub quote: Option<u8>,
    /// What stands before decimals; the point where the comma separates fields, else either, where absent.
    pub decimal: Option<Decimal>,
    /// A column that the header must have: with another separator it would not.
    pub column: Option<&'o str>,
    /// What becomes of a file that is not whole.
    pub faults: Faults,
    /// The most bytes that it may be unpacked to; [`MOST_UNPACKED`] where absent.
    pub most_unpacked: Option<u64>,
}

/// A file that is read record by record.
pub struct Reader<'r> {
    records: Records<Box<dyn Read + Send + 'r>>,
    packed: Option<Arc<AtomicU64>>,
    names: Vec<String>,
    line: usize,
    separator: u8,
    decimal: Decimal,
    /// The first record with a field that may be several rows, and how many such records there are.
    swallowed: Option<(usize, usize)>,
}

impl<'r> Reader<'r> {
    /// Reads the head and the header.
    ///
    /// # Errors
    /// A file that is no CSV in UTF-8, is empty, or whose header is not whole.
    pub fn open(input: impl Read + Send + 'r, options: Options<'_>) -> Result<Self, Fault> {
        let source = Source::open(input, options.most_unpacked.unwrap_or(MOST_UNPACKED))?;
        let dialect = Dialect::detect(&source.head, options.separator, options.quote, options.column);
        let mut records = Records::new(source.head, source.mark, source.rest, dialect, options.faults);
        let mut header = Record::default();
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
            names,
            line: header.line(),
            separator: dialect.separator,
            decimal: options.decimal.unwrap_or(by_separator),
            swallowed: None,
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

    /// Bytes of the file up to the end of the record that was read last; of a compressed file, those that were taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.packed.as_ref().map_or_else(|| self.records.position(), |taken| taken.load(Ordering::Relaxed))
    }

    /// Reads the next record into `record`; `false` at the end of the file.
    ///
    /// # Errors
    /// Where the file is not whole or cannot be read on. Nothing can be read after that.
    pub fn read(&mut self, record: &mut Record) -> Result<bool, Fault> {
        let read = self.records.read(record)?;
        if read && record.spans_lines() && may_hold_rows(record, self.separator, self.names.len()) {
            let (first, count) = self.swallowed.unwrap_or((record.line(), 0));
            self.swallowed = Some((first, count + 1));
        }
        Ok(read)
    }

    /// What is wrong with the number of fields of a record, if anything is.
    #[must_use]
    pub fn width_fault(&self, record: &Record) -> Option<String> {
        width_fault(record, self.names.len())
    }

    /// What is to be said of a file that was read to its end without a fault.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let tolerated = self.records.tolerated().iter().map(|fault| match fault.line {
            Some(line) => format!("line {line}: {}", fault.message),
            None => fault.message.clone(),
        });
        let mut notes: Vec<String> = tolerated.collect();
        if let Some((line, count)) = self.swallowed {
            let rows = if count == 1 { String::new() } else { format!(" ({count} rows in all)") };
            notes.push(format!(
                "line {line}: a field within quotes goes over several lines that may be rows; is a quote missing?{rows}"
            ));
        }
        if self.records.open_ended() {
            notes.push("the last line has no line end; is the file whole?".to_owned());
        }
        notes
    }
}

/// Whether a field looks as if a quote that was left out had joined rows: its lines have as many separators as rows have, and
/// the last as many as stand before the field.
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

/// What is wrong with a record that has not `width` fields, if it has not.
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
