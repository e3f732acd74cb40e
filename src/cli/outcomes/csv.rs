//! Outcomes from CSV.

use std::fs::File;

use super::file::{Line, Take};
use super::row::{
    self, ATTRIBUTES, COLUMNS, CUSTOMER_ID, DECISION_ID, EVENT_ID, OCCURRED_AT, OFFER_ID, Positions, TYPE,
    VALUE,
};
use document::Problems;
use history::feedback::ReportedOutcome;
use table::{Decimal, NOT_UTF8, Options, Reader, Record, is_missing};

/// A CSV whose header was read.
pub(super) struct CsvFile {
    reader: Reader<'static>,
    positions: Positions,
    notes: Vec<String>,
}

impl CsvFile {
    pub(super) fn open(
        input: File,
        name: &str,
        separator: Option<u8>,
        decimal: Option<Decimal>,
    ) -> Result<Self, Problems> {
        let options = Options { separator, decimal, column: Some(COLUMNS[EVENT_ID]), ..Options::default() };
        let reader = Reader::open(input, options).map_err(|fault| fault.of(name))?;
        let (positions, notes) = Positions::find(reader.names())
            .map_err(|message| Problems::one(name, Some(reader.header_line()), message))?;
        Ok(Self { reader, positions, notes })
    }

    pub(super) fn read(mut self, take: Take<'_>) {
        let decimal = self.reader.decimal();
        let mut wanted = self.notes.into_iter().all(|note| take(Line::Note(note)));
        let mut record = Record::default();
        while wanted {
            match self.reader.read(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    take(Line::Wrong(fault.line.map(|line| line as u64), fault.message));
                    return;
                }
            }
            let line = record.line() as u64;
            let outcome = match self.reader.width_fault(&record) {
                Some(message) => Err(message),
                None => read(&record, &self.positions, decimal),
            };
            wanted = take(match outcome {
                Ok(outcome) => Line::Outcome(line, outcome),
                Err(message) => Line::Wrong(Some(line), message),
            });
        }
        for note in self.reader.notes() {
            take(Line::Note(note));
        }
    }
}

fn read(record: &Record, positions: &Positions, decimal: Decimal) -> Result<ReportedOutcome, String> {
    let field = |column: usize| {
        let bytes = positions.of(column).and_then(|position| record.get(position)).unwrap_or_default();
        std::str::from_utf8(bytes).map(str::trim).map_err(|_| format!("`{}` {NOT_UTF8}", COLUMNS[column]))
    };
    let text = |column| field(column).map(str::to_owned);
    let value = field(VALUE)?;
    let number =
        || decimal.number(value).ok_or_else(|| format!("`{}`: {value:?} is not a number", COLUMNS[VALUE]));
    Ok(ReportedOutcome {
        event_id: text(EVENT_ID)?,
        decision_id: text(DECISION_ID)?,
        offer_id: text(OFFER_ID)?,
        customer_id: text(CUSTOMER_ID)?,
        outcome_type: text(TYPE)?,
        value: if is_missing(value) { 0.0 } else { number()? },
        occurred_at: Some(row::moment(field(OCCURRED_AT)?)?),
        attributes: row::attributes(field(ATTRIBUTES)?)?,
    })
}
