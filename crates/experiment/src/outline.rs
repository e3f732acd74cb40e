//! What a text says about its experiments, without the rest of the release: for those who change experiments, not for
//! those who decide.

#[cfg(test)]
mod tests;

use toml::{Table, Value};

use crate::edit::EditError;
use crate::hash::wide;
use crate::{State, Step};

/// An experiment as `policy.toml` has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// Its id.
    pub id: String,
    /// Whether it assigns.
    pub state: State,
    /// The share of those eligible that take part, 0..=1.
    pub coverage: f64,
    /// The ids of its placements; empty for all.
    pub placements: Vec<String>,
    /// The rule for who may take part; empty for everyone.
    pub when: String,
    /// Its group; empty for none.
    pub group: String,
    /// Its variants, the control first.
    pub variants: Vec<OutlinedVariant>,
    /// Its schedule.
    pub steps: Vec<Step>,
    /// Whether it has guardrails: its schedule goes on only where they allow it.
    pub has_guardrails: bool,
    /// A digest of all but the schedule and the listed customers.
    pub definition: u64,
}

/// A variant as `policy.toml` has it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutlinedVariant {
    /// Its id.
    pub id: String,
    /// Its share of those that take part, 0..=1.
    pub weight: f64,
    /// What it changes, each as it could be written in one line.
    pub changes: Vec<String>,
}

impl Outline {
    /// The next step of its schedule.
    #[must_use]
    pub fn next_step(&self) -> Option<Step> {
        self.steps.iter().find(|step| step.coverage > self.coverage).copied()
    }
}

/// The experiments of a text that a release has, sorted by id.
///
/// # Errors
/// [`EditError::Unreadable`] where the text has not passed the reader.
pub fn outline(text: &str) -> Result<Vec<Outline>, EditError> {
    let root: Table = text.parse().map_err(|error: toml::de::Error| unreadable(error.message()))?;
    let tables = tables(root.get("experiment"));
    let mut all = tables.into_iter().map(of_table).collect::<Result<Vec<_>, _>>()?;
    all.sort_by(|left, right| left.id.cmp(&right.id));
    Ok(all)
}

fn of_table(table: &Table) -> Result<Outline, EditError> {
    let id = text(table, "id");
    let missing = |key: &str| unreadable(&format!("`{key}` of an experiment is missing or wrong"));
    let state = match table.get("state").and_then(Value::as_str) {
        None => State::default(),
        Some(word) => State::named(word).ok_or_else(|| missing("state"))?,
    };
    let steps = tables(table.get("step")).into_iter().map(step).collect::<Option<_>>();
    Ok(Outline {
        state,
        coverage: number(table, "coverage").ok_or_else(|| missing("coverage"))?,
        placements: strings(table.get("placements")),
        when: text(table, "when"),
        group: text(table, "group"),
        variants: tables(table.get("variant")).into_iter().map(variant).collect(),
        steps: steps.ok_or_else(|| missing("step"))?,
        has_guardrails: has_guardrails(table),
        definition: definition(table),
        id,
    })
}

fn variant(table: &Table) -> OutlinedVariant {
    let own = ["id", "weight", "listed"];
    let changes = table.iter().filter(|(key, _)| !own.contains(&key.as_str()));
    OutlinedVariant {
        id: text(table, "id"),
        weight: number(table, "weight").unwrap_or_default(),
        changes: changes.map(|(key, value)| format!("{key} = {value}")).collect(),
    }
}

fn step(table: &Table) -> Option<Step> {
    let after = document::settings::duration(table.get("after")?.as_str()?).ok()?;
    Some(Step { coverage: number(table, "coverage")?, after })
}

fn has_guardrails(table: &Table) -> bool {
    let metric = table.get("metric").and_then(Value::as_table);
    !tables(metric.and_then(|metric| metric.get("guardrails"))).is_empty()
}

/// The digest of what only a person changes, and of the coverage and the state.
fn definition(table: &Table) -> u64 {
    let mut table = table.clone();
    table.remove("step");
    if let Some(Value::Array(variants)) = table.get_mut("variant") {
        for variant in variants.iter_mut().filter_map(Value::as_table_mut) {
            variant.remove("listed");
        }
    }
    wide(table.to_string().as_bytes())
}

fn tables(value: Option<&Value>) -> Vec<&Table> {
    let list = value.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_table).collect()
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text(table: &Table, key: &str) -> String {
    table.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(table: &Table, key: &str) -> Option<f64> {
    match table.get(key)? {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        Value::String(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

fn unreadable(message: &str) -> EditError {
    EditError::Unreadable(message.to_owned())
}
