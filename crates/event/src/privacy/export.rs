//! All that is recorded of a person, as one JSON document.
//!
//! ```json
//! {"customer_id": "C-1",
//!  "pseudonyms": [{"key": "2026-11", "pseudonym": "fb69…"}],
//!  "decisions": [{…, "sensitive": {"customer": {"strings": ["married"]}}}],
//!  "outcomes": [{…}],
//!  "shadows": [{…}]}
//! ```
//! An event is as in an export to JSON Lines. The values of sensitive features are beside a decision, decrypted; where
//! they cannot be, `sensitive` says why. What else is known of a person (features, history) the caller adds.

use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{RecordedEntity, Subject, ValueCipher};
use crate::columns::Entry;
use crate::export::{Names, NamesOf, NamesOfRelease, json_line};
use crate::kind::{Kind, Record};
use crate::proto::{DecisionRecord, FeatureValues};
use crate::read::{EventReader, Query};
use crate::sealed::SealedError;

/// Why a person's data cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum SubjectExportError {
    /// Records cannot be read.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// The document cannot be written.
    #[error("the export cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// Writes what is recorded of a person to `out`, event by event. `more` are parts of the document that the caller adds,
/// by name. Returns how many events there were.
///
/// # Errors
/// When the store cannot be reached, a file is damaged, or `out` not be written.
pub fn write(
    reader: &EventReader,
    subject: &Subject,
    cipher: &ValueCipher,
    names: NamesOf<'_>,
    more: &[(&str, Value)],
    out: &mut dyn Write,
) -> Result<u64, SubjectExportError> {
    let pseudonyms: Vec<Value> = subject
        .names()
        .iter()
        .filter(|name| !name.key.is_empty())
        .map(|name| serde_json::json!({ "key": name.key, "pseudonym": name.text }))
        .collect();
    write!(out, "{{\"customer_id\":{},\n\"pseudonyms\":{}", json(subject.id())?, json(&pseudonyms)?)?;
    for (name, value) in more {
        write!(out, ",\n{}:{}", json(*name)?, json(value)?)?;
    }
    let mut known: HashMap<u64, Option<Arc<dyn Names>>> = HashMap::new();
    let names = &mut |release| known.entry(release).or_insert_with(|| names(release)).clone();
    // An id may be the pseudonym of another customer; the names of the query are texts alone.
    let query = Query { customers: subject.texts(), ..Query::default() };
    let (mut all, mut line) = (0, Vec::new());
    for kind in Kind::ALL {
        write!(out, ",\n{}:[", json(&format!("{kind}s"))?)?;
        let (mut count, mut failure) = (0_u64, None);
        reader.scan_entries(kind, &query, &mut |entry| {
            if !subject.is_of(&entry.record) {
                return ControlFlow::Continue(());
            }
            let written = event(entry, names, cipher, &mut line)
                .and_then(|()| out.write_all(if count == 0 { b"\n" } else { b",\n" }))
                .and_then(|()| out.write_all(&line));
            count += 1;
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failure {
            return Err(error.into());
        }
        out.write_all(b"]")?;
        all += count;
    }
    out.write_all(b"}\n")?;
    out.flush()?;
    Ok(all)
}

/// An event as JSON in `line`, with what is encrypted in it.
fn event(
    entry: Entry,
    names: &mut NamesOfRelease<'_>,
    cipher: &ValueCipher,
    line: &mut Vec<u8>,
) -> io::Result<()> {
    line.clear();
    // Values of features are only in decisions.
    let sensitive =
        if let Record::Decision(record) = &entry.record { sensitive(record, cipher) } else { Vec::new() };
    json_line(entry, names, line)?;
    if sensitive.is_empty() {
        line.truncate(line.trim_ascii_end().len());
        return Ok(());
    }
    let mut whole: Value = serde_json::from_slice(line)?;
    whole["sensitive"] = sensitive.into_iter().collect::<serde_json::Map<_, _>>().into();
    line.clear();
    serde_json::to_writer(line, &whole)?;
    Ok(())
}

/// The values of sensitive features by entity, or why they cannot be read.
fn sensitive(record: &DecisionRecord, cipher: &ValueCipher) -> Vec<(String, Value)> {
    let entities = [(RecordedEntity::Customer, &record.customer), (RecordedEntity::Context, &record.context)];
    let id = Uuid::parse_str(&record.decision_id).unwrap_or_default();
    let read = |(entity, values): (RecordedEntity, &Option<FeatureValues>)| {
        let encrypted = values.as_ref()?.encrypted.as_ref()?;
        let value = match cipher.decrypt(encrypted, id, entity) {
            Ok(values) => lists(&values),
            Err(error) => serde_json::json!({ "unreadable": error.to_string() }),
        };
        Some((entity.word().to_owned(), value))
    };
    entities.into_iter().filter_map(read).collect()
}

/// The lists that have values, in the order of the sensitive features of that type.
fn lists(values: &FeatureValues) -> Value {
    let bools: Vec<bool> = values.bools.iter().map(|value| *value != 0).collect();
    let all = [
        ("floats", serde_json::json!(values.floats)),
        ("ints", serde_json::json!(values.ints)),
        ("bools", serde_json::json!(bools)),
        ("strings", serde_json::json!(values.strings)),
    ];
    let has_values = |(_, list): &(&str, Value)| list.as_array().is_some_and(|list| !list.is_empty());
    all.into_iter()
        .filter(has_values)
        .map(|(name, list)| (name.to_owned(), list))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn json(value: &(impl Serialize + ?Sized)) -> io::Result<String> {
    Ok(serde_json::to_string(value)?)
}

#[cfg(test)]
mod tests;
