//! A line of CSV per decision: the flat columns.

use crate::columns::{COLUMNS, Cells, Entry};
use crate::export::time;
use crate::proto::RecordedOffer;

/// What joins the elements of a list.
const JOINT: &str = ";";

/// Where a spreadsheet takes a text for a formula.
const FORMULAS: [char; 4] = ['=', '+', '-', '@'];

/// The names of the columns.
pub(super) fn header() -> String {
    let names = COLUMNS.iter().filter(|column| column.cells != Cells::Bytes).map(|column| column.name);
    format!("{}\n", names.collect::<Vec<_>>().join(","))
}

/// Writes the line of a decision, in the order of the columns.
pub(super) fn line(entry: &Entry, line: &mut Vec<u8>) {
    let Entry { position, recorded_at, record } = entry;
    let mut cells = Line { line };
    cells.number(&position);
    cells.time(*recorded_at);
    cells.time(record.decided_at);
    for text in [&record.decision_id, &record.request_id, &record.server, &record.server_version] {
        cells.text(text);
    }
    cells.number(&record.release);
    for text in [&record.placement, &record.channel, &record.customer_id, &record.pseudonym_key] {
        cells.text(text);
    }
    cells.number(&record.count);
    cells.number(&record.explain);
    cells.number(&record.unknown_customer);
    cells.optional(record.segment.as_ref().map(|segment| segment.id));
    let list =
        |of: &dyn Fn(&RecordedOffer) -> String| record.offers.iter().map(of).collect::<Vec<_>>().join(JOINT);
    cells.text(&list(&|offer| offer.offer_id.clone()));
    cells.bare(&list(&|offer| offer.priority.to_string()));
    cells.bare(&list(&|offer| {
        offer.factors.as_ref().map_or_else(String::new, |factors| factors.propensity.to_string())
    }));
    cells.bare(&list(&|offer| offer.selection_probability.to_string()));
    cells.number(&record.offers.iter().any(|offer| offer.fallback));
    cells.text(&record.degraded.join(JOINT));
    cells.optional(record.error.as_ref().map(|error| error.code));
    cells.text(record.error.as_ref().map_or("", |error| &error.message));
    cells.number(&record.call_us);
    cells.number(&record.call_customers);
    cells.end();
}

struct Line<'l> {
    line: &'l mut Vec<u8>,
}

impl Line<'_> {
    fn number(&mut self, number: &impl ToString) {
        self.bare(&number.to_string());
    }

    fn optional(&mut self, number: Option<impl ToString>) {
        self.bare(&number.map_or_else(String::new, |number| number.to_string()));
    }

    fn time(&mut self, micros: i64) {
        self.bare(&time(micros).unwrap_or_else(|| micros.to_string()));
    }

    /// A cell that needs no quotes.
    fn bare(&mut self, text: &str) {
        self.line.extend_from_slice(text.as_bytes());
        self.line.push(b',');
    }

    fn text(&mut self, text: &str) {
        if !text.starts_with(FORMULAS) && !text.contains([',', '"', '\r', '\n']) {
            return self.bare(text);
        }
        self.bare(&format!("\"{}\"", text.replace('"', "\"\"")));
    }

    /// Ends the line instead of the last cell.
    fn end(&mut self) {
        self.line.pop();
        self.line.push(b'\n');
    }
}
