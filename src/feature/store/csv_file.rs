//! Customers from CSV: comma-separated UTF-8 with a header, quoted where needed; a byte order mark is skipped.

use std::io::{BufRead, BufReader, Read};

use csv::{ByteRecord, ReaderBuilder};

use super::build::TableBuilder;
use super::columns::Columns;
use super::findings::Findings;
use super::{CustomerTable, LoadReport, cell};
use crate::document::Problems;
use crate::feature::{Entity, FeatureSchema};

const BUFFER_BYTES: usize = 1 << 16;

/// Reads a whole file; `file` is the name that problems carry.
pub(super) fn read(
    input: impl Read,
    file: &str,
    schema: &FeatureSchema,
) -> Result<(CustomerTable, LoadReport), Problems> {
    let features = schema.of(Entity::Customer);
    let mut findings = Findings::new(file);
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let terminator = match input.fill_buf() {
        Ok(beginning) => Terminator::of(beginning),
        Err(error) => return Err(Problems::one(file, None, unreadable(&error))),
    };
    // With a terminator of its own the last row is counted like the others; an empty line is no row.
    let input = input.chain(terminator.bytes());
    // Rows of another length than the header's are reported with the rest instead of ending the reading.
    let mut reader = ReaderBuilder::new().flexible(true).buffer_capacity(BUFFER_BYTES).from_reader(input);
    let names: Vec<String> = match reader.byte_headers() {
        Ok(header) => header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect(),
        Err(error) => return Err(Problems::one(file, None, unreadable(&error))),
    };
    if names.is_empty() {
        let message = "the file is empty; its first line must name the columns, `customer_id` among them";
        return Err(Problems::one(file, None, message));
    }
    let Some(columns) = Columns::resolve(&names, Some(1), schema, &mut findings) else {
        return Err(findings.into_result(()).err().unwrap_or_default());
    };
    let mut builder = TableBuilder::new(features, &columns, findings, "line");
    let mut record = ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                builder.problem(None, unreadable(&error));
                break;
            }
        }
        let line = terminator.first_line(reader.position().line() as usize, &record);
        if record.len() != names.len() {
            let (found, expected) = (record.len(), names.len());
            let remedy = "quote a field that contains a comma or a line break";
            builder.problem(line, format!("{found} fields where the header has {expected}; {remedy}"));
            continue;
        }
        let row = builder.begin(line, &record[columns.id]);
        for (position, feature) in &columns.features {
            match cell::from_text(&features[*feature], &record[*position]) {
                Ok(value) => builder.put(row, line, *feature, value),
                Err(message) => builder.problem(line, message),
            }
        }
    }
    builder.finish(file, columns)
}

/// What ends the lines of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Terminator {
    LineFeed,
    CarriageReturnLineFeed,
}

impl Terminator {
    fn of(beginning: &[u8]) -> Self {
        match beginning.iter().position(|byte| *byte == b'\n') {
            Some(at) if beginning[..at].ends_with(b"\r") => Self::CarriageReturnLineFeed,
            _ => Self::LineFeed,
        }
    }

    fn bytes(self) -> &'static [u8] {
        match self {
            Self::LineFeed => b"\n",
            Self::CarriageReturnLineFeed => b"\r\n",
        }
    }

    /// The line on which `record` begins, when `reached` is one more than the line feeds that were read with it. The
    /// position of the record itself would be that of the empty lines before it; and of a carriage return and a line feed
    /// the reader takes the second with the next record only.
    #[expect(
        clippy::naive_bytecount,
        reason = "the compiler vectorises it, and a crate for one line is too much"
    )]
    fn first_line(self, reached: usize, record: &ByteRecord) -> usize {
        let within = record.as_slice().iter().filter(|byte| **byte == b'\n').count();
        let last_line = match self {
            Self::LineFeed => reached.saturating_sub(1),
            Self::CarriageReturnLineFeed => reached,
        };
        last_line.saturating_sub(within)
    }
}

fn unreadable(error: &impl std::fmt::Display) -> String {
    format!("the file could not be read: {error}")
}
