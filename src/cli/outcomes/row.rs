//! The fields of an outcome, as files of all formats have them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use document::suggestion;
use history::feedback::ReportedOutcome;

/// The columns, in the order of the numbers below.
pub(super) const COLUMNS: [&str; 8] =
    ["event_id", "decision_id", "offer_id", "customer_id", "type", "value", "occurred_at", "attributes"];
pub(super) const EVENT_ID: usize = 0;
pub(super) const DECISION_ID: usize = 1;
pub(super) const OFFER_ID: usize = 2;
pub(super) const CUSTOMER_ID: usize = 3;
pub(super) const TYPE: usize = 4;
pub(super) const VALUE: usize = 5;
pub(super) const OCCURRED_AT: usize = 6;
pub(super) const ATTRIBUTES: usize = 7;

/// Without these no outcome is accepted.
const REQUIRED: [usize; 3] = [EVENT_ID, TYPE, OCCURRED_AT];

/// Where a file has each column.
#[derive(Debug)]
pub(super) struct Positions([Option<usize>; COLUMNS.len()]);

impl Positions {
    /// Finds the columns among the names of a file. Also returns what to note of the others.
    ///
    /// # Errors
    /// When a column is missing or there twice.
    pub(super) fn find(names: &[String]) -> Result<(Self, Vec<String>), String> {
        let mut positions = [None; COLUMNS.len()];
        let mut notes = Vec::new();
        for (position, name) in names.iter().enumerate() {
            match COLUMNS.iter().position(|known| known == name) {
                Some(column) if positions[column].is_some() => {
                    return Err(format!("column `{name}` is there twice; rename or remove one"));
                }
                Some(column) => positions[column] = Some(position),
                None if name.is_empty() => {}
                None => {
                    let hint = suggestion(name, COLUMNS);
                    notes.push(format!("column `{name}` is not one of an outcome and was ignored{hint}"));
                }
            }
        }
        let missing: Vec<&str> = REQUIRED
            .into_iter()
            .filter(|column| positions[*column].is_none())
            .map(|column| COLUMNS[column])
            .collect();
        if missing.is_empty() {
            return Ok((Self(positions), notes));
        }
        Err(format!(
            "the columns {} are needed; {} missing",
            REQUIRED.map(|column| COLUMNS[column]).join(", "),
            missing.join(", ")
        ))
    }

    /// The position of a column.
    pub(super) fn of(&self, column: usize) -> Option<usize> {
        self.0[column]
    }
}

/// A moment with its time zone.
pub(super) fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    text.trim().parse().map_err(|_| {
        format!("`occurred_at`: {text:?} is not a moment with its time zone, such as 2026-11-30T18:00:00Z")
    })
}

/// Attributes as the text of a JSON object; nothing is none.
pub(super) fn attributes(text: &str) -> Result<BTreeMap<String, String>, String> {
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("`attributes` is not a JSON object: {error}"))?;
    attributes_of(object)
}

/// Attributes of a JSON object: texts, and numbers and truths as they are written.
pub(super) fn attributes_of(
    object: serde_json::Map<String, Value>,
) -> Result<BTreeMap<String, String>, String> {
    let mut attributes = BTreeMap::new();
    for (name, value) in object {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(format!("`attributes`: {name:?} is not a text; write it as one"));
            }
        };
        attributes.insert(name, text);
    }
    Ok(attributes)
}

/// The bytes of the texts of an outcome, roughly those that it takes on the wire.
pub(super) fn bytes(outcome: &ReportedOutcome) -> usize {
    let ReportedOutcome { event_id, decision_id, offer_id, customer_id, outcome_type, attributes, .. } =
        outcome;
    let ids = [event_id, decision_id, offer_id, customer_id, outcome_type];
    let attributes: usize = attributes.iter().map(|(name, text)| name.len() + text.len() + 8).sum();
    ids.iter().map(|id| id.len() + 4).sum::<usize>() + attributes + 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_others_are_noted() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (positions, notes) =
            Positions::find(&names(&["type", "costumer_id", "event_id", "", "occurred_at"])).unwrap();
        assert_eq!(
            (positions.of(TYPE), positions.of(EVENT_ID), positions.of(VALUE)),
            (Some(0), Some(2), None)
        );
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("`costumer_id`") && notes[0].contains("`customer_id`?"), "{notes:?}");
        let missing = Positions::find(&names(&["type", "value"])).unwrap_err();
        assert!(missing.ends_with("event_id, occurred_at missing"), "{missing}");
        let twice = Positions::find(&names(&["type", "type"])).unwrap_err();
        assert!(twice.contains("twice"), "{twice}");
    }

    #[test]
    fn a_moment_has_its_time_zone() {
        let written = ["2026-11-30T18:00:00Z", " 2026-11-30T19:00:00.000+01:00", "2026-11-30 18:00:00+00:00"];
        for text in written {
            assert_eq!(moment(text).unwrap().timestamp(), 1_796_061_600, "{text}");
        }
        for text in ["", "2026-11-30", "2026-11-30T18:00:00", "30.11.2026 18:00", "1796061600"] {
            assert!(moment(text).unwrap_err().starts_with("`occurred_at`: "), "{text}");
        }
    }

    #[test]
    fn attributes_are_texts_by_name() {
        assert_eq!(attributes(" ").unwrap(), BTreeMap::new());
        let found = attributes(r#"{"page":"home","seconds":1.5,"first":true,"nothing":null}"#).unwrap();
        let expected = [("first", "true"), ("page", "home"), ("seconds", "1.5")];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
        for (text, words) in
            [("[1]", "not a JSON object"), ("{", "not a JSON object"), (r#"{"a":{}}"#, "\"a\"")]
        {
            assert!(attributes(text).unwrap_err().contains(words), "{text}");
        }
    }
}
