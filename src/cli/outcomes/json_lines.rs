//! Outcomes from JSON Lines: an object a line.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

use super::file::{Line, Take};
use super::row::{
    self, ATTRIBUTES, COLUMNS, CUSTOMER_ID, DECISION_ID, EVENT_ID, OCCURRED_AT, OFFER_ID, TYPE, VALUE,
};
use document::suggestion;
use history::feedback::ReportedOutcome;
use table::{EMPTY, NOT_UTF8};

/// The most bytes of a line: far more than an outcome may have.
const LINE_BYTES: u64 = 1 << 20;

/// Reads all lines; empty ones are nothing.
pub(super) fn read(input: impl Read, take: Take<'_>) {
    let mut input = BufReader::new(input);
    let (mut bytes, mut number, mut unknown) = (Vec::new(), 0, Vec::new());
    let mut is_empty = true;
    loop {
        bytes.clear();
        number += 1;
        match input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut bytes) {
            Ok(0) => break,
            Ok(length) if length as u64 == LINE_BYTES && bytes.last() != Some(&b'\n') => {
                let message =
                    format!("the line is longer than {} KiB; the rest is not read", LINE_BYTES >> 10);
                take(Line::Wrong(Some(number), message));
                return;
            }
            Ok(_) => {}
            Err(error) => {
                take(Line::Wrong(Some(number), format!("the file cannot be read on: {error}")));
                return;
            }
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        is_empty = false;
        let line = match outcome(&bytes, &mut unknown) {
            Ok(outcome) => Line::Outcome(number, outcome),
            Err(message) => Line::Wrong(Some(number), message),
        };
        if !take(line) {
            return;
        }
    }
    if is_empty {
        take(Line::Wrong(None, EMPTY.replace("; its first line must name the columns", "")));
    }
    for name in unknown {
        let hint = suggestion(&name, COLUMNS);
        take(Line::Note(format!("field `{name}` is not one of an outcome and was ignored{hint}")));
    }
}

/// The most fields that are noted.
const NOTED: usize = 20;

fn outcome(line: &[u8], unknown: &mut Vec<String>) -> Result<ReportedOutcome, String> {
    let line = std::str::from_utf8(line).map_err(|_| format!("the line {NOT_UTF8}"))?;
    let mut object: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| format!("the line is not a JSON object: {error}"))?;
    let mut field = |column: usize| object.remove(COLUMNS[column]).unwrap_or_default();
    let read = ReportedOutcome {
        event_id: text(EVENT_ID, field(EVENT_ID))?,
        decision_id: text(DECISION_ID, field(DECISION_ID))?,
        offer_id: text(OFFER_ID, field(OFFER_ID))?,
        customer_id: text(CUSTOMER_ID, field(CUSTOMER_ID))?,
        outcome_type: text(TYPE, field(TYPE))?,
        value: match field(VALUE) {
            value if value.is_null() => 0.0,
            value => {
                let number = value.as_f64().ok_or_else(|| format!("`value`: {value} is not a number"));
                number?
            }
        },
        occurred_at: Some(row::moment(&text(OCCURRED_AT, field(OCCURRED_AT))?)?),
        attributes: match field(ATTRIBUTES) {
            Value::Null => row::attributes("")?,
            Value::Object(object) => row::attributes_of(object)?,
            Value::String(text) => row::attributes(&text)?,
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
                return Err(format!("`attributes`: {other} is not an object"));
            }
        },
    };
    for name in object.into_iter().map(|(name, _)| name) {
        if unknown.len() < NOTED && !unknown.contains(&name) {
            unknown.push(name);
        }
    }
    Ok(read)
}

/// A text, or a whole number as one: ids may be either.
fn text(column: usize, value: Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(format!("`{}`: {other} is not a text", COLUMNS[column]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        read(text.as_bytes(), &mut |line| {
            found.push(match line {
                Line::Outcome(number, outcome) => {
                    let ReportedOutcome { event_id, customer_id, value, attributes, .. } = outcome;
                    format!("{number} {event_id} {customer_id} {value} {}", attributes.len())
                }
                Line::Wrong(number, message) => format!("{number:?} {message}"),
                Line::Note(message) => message,
            });
            true
        });
        found
    }

    #[test]
    fn each_line_is_an_outcome_or_says_what_is_wrong() {
        let text = "{\"event_id\":\"1\",\"type\":\"click\",\"occurred_at\":\"2026-11-30T18:00:00Z\",\"customer_id\":7,\
                    \"value\":2.5,\"attributes\":{\"a\":1}}\n\n\
                    {\"event_id\":\"2\"}\n\
                    [1]\n\
                    {\"event_id\":\"3\",\"occurred_at\":\"2026-11-30T18:00:00Z\",\"value\":\"x\"}\n\
                    {\"event_id\":\"4\",\"occurred_at\":\"2026-11-30T18:00:00Z\",\"offerid\":\"a\"}";
        let found = lines(text);
        assert_eq!(found[0], "1 1 7 2.5 1");
        assert!(found[1].starts_with("Some(3) `occurred_at`: \"\""), "{found:?}");
        assert!(found[2].starts_with("Some(4) the line is not a JSON object"), "{found:?}");
        assert_eq!(found[3], "Some(5) `value`: \"x\" is not a number");
        assert_eq!(found[4], "6 4  0 0");
        assert!(
            found[5].starts_with("field `offerid` is not one") && found[5].contains("`offer_id`?"),
            "{found:?}"
        );
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn an_empty_file_and_an_endless_line_are_told() {
        assert_eq!(lines("\n \n"), ["None is empty"]);
        let endless = format!("{{\"event_id\":\"{}\"}}\n{{}}\n", "x".repeat(2 << 20));
        assert_eq!(lines(&endless), ["Some(1) the line is longer than 1024 KiB; the rest is not read"]);
    }
}
