//! Concluding: what the winner changes becomes what holds for everyone.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{EditError, Edits, Entry, entries, entry, parse};
use crate::State;

/// An experiment whose winner holds for everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concluded {
    /// The text of `policy.toml`, with the experiment stopped.
    pub policy: String,
    /// The versions of models that everyone gets, by name.
    pub models: BTreeMap<String, u64>,
}

/// Stops an experiment and writes what its `winner` changes where it holds for everyone. The control changes nothing.
///
/// # Errors
/// As [`super::set_state`]; [`EditError::NoVariant`]; [`EditError::Elsewhere`] where what the winner changes holds at
/// placements without the experiment, too.
pub fn conclude(text: &str, id: &str, winner: &str) -> Result<Concluded, EditError> {
    let root = parse(text)?;
    let experiment = entry(&root, "experiment", id)?;
    let winner = find_variant(&experiment, id, winner)?;
    let mut edits = Edits::new(text);
    edits.set_state(&experiment, State::Stopped)?;
    let placements = entries(&root, "placement");
    let ids = strings(experiment.get("placements"));
    let is_at = |placement: &&Entry<'_, '_>| {
        ids.is_empty() || placement.text("id").is_some_and(|id| ids.contains(&id))
    };
    let (here, elsewhere): (Vec<_>, Vec<_>) = placements.iter().partition(is_at);
    let refuse = |what: String, elsewhere: &Entry<'_, '_>| EditError::Elsewhere {
        id: id.to_owned(),
        variant: winner.text("id").unwrap_or_default().to_owned(),
        what,
        elsewhere: elsewhere.label.clone(),
    };
    for key in ["strategy", "count", "exploration"] {
        let Some(value) = winner.get(key) else { continue };
        for placement in &here {
            edits.set(placement, key, &written(value.get_ref()), "id")?;
        }
    }
    for (key, array, field) in
        [("category_weights", "category", "weight"), ("context_weights", "context_weight", "percent")]
    {
        for (name, value) in members(winner.get(key)) {
            if let Some(elsewhere) = elsewhere.first() {
                return Err(refuse(format!("`{key}`"), elsewhere));
            }
            let target = entry(&root, array, name)?;
            edits.set(&target, field, &written(value), "id")?;
        }
    }
    let mut models = BTreeMap::new();
    for (name, value) in members(winner.get("models")) {
        if let Some(elsewhere) = elsewhere.iter().find(|placement| uses(placement, name)) {
            return Err(refuse(format!("model `{name}`"), elsewhere));
        }
        if let Some(version) = version(value) {
            models.insert(name.to_owned(), version);
        }
    }
    Ok(Concluded { policy: edits.apply(), models })
}

fn find_variant<'d, 'i>(
    experiment: &Entry<'d, 'i>,
    id: &str,
    variant: &str,
) -> Result<Entry<'d, 'i>, EditError> {
    let Some(DeValue::Array(items)) = experiment.get("variant").map(Spanned::get_ref) else {
        return Err(EditError::Unreadable(format!("experiment `{id}` has no variants")));
    };
    let mut ids = Vec::new();
    for item in items {
        let DeValue::Table(values) = item.get_ref() else { continue };
        let found = Entry { label: format!("variant `{variant}`"), values, span: item.span() };
        if found.text("id") == Some(variant) {
            return Ok(found);
        }
        ids.extend(found.text("id"));
    }
    let hint = document::suggestion(variant, ids);
    Err(EditError::NoVariant { id: id.to_owned(), variant: variant.to_owned(), hint })
}

/// Whether a placement's offers are scored by a model.
fn uses(placement: &Entry<'_, '_>, model: &str) -> bool {
    let scorers = placement.get("scorer").and_then(|scorers| scorers.get_ref().as_array());
    let named =
        |table: &DeTable<'_>| table.get("model").and_then(|name| name.get_ref().as_str()) == Some(model);
    let by_scorer = scorers.into_iter().flat_map(|scorers| scorers.iter());
    named(placement.values) || by_scorer.filter_map(|scorer| scorer.get_ref().as_table()).any(named)
}

fn strings<'d>(value: Option<&'d Spanned<DeValue<'_>>>) -> Vec<&'d str> {
    let list = value.and_then(|value| value.get_ref().as_array());
    list.into_iter().flat_map(|list| list.iter()).filter_map(|item| item.get_ref().as_str()).collect()
}

/// The keys and values of a table, if there is one.
fn members<'d, 'i>(value: Option<&'d Spanned<DeValue<'i>>>) -> Vec<(&'d str, &'d DeValue<'i>)> {
    let table = value.and_then(|value| value.get_ref().as_table());
    let pairs = table.into_iter().flat_map(|table| table.iter());
    pairs.map(|(key, value)| (key.get_ref().as_ref(), value.get_ref())).collect()
}

fn version(value: &DeValue<'_>) -> Option<u64> {
    let DeValue::Integer(number) = value else { return None };
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A value in one line.
fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()).to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let member = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                format!("{} = {}", written_key(key), written(value.get_ref()))
            };
            let members: Vec<String> = table.iter().map(member).collect();
            format!("{{ {} }}", members.join(", "))
        }
    }
}

fn written_key(key: &str) -> String {
    let bare = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if !key.is_empty() && key.chars().all(bare) {
        return key.to_owned();
    }
    toml::Value::String(key.to_owned()).to_string()
}
