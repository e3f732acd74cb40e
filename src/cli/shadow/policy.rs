//! The shadows of a policy, as its text has them.

use serde::Serialize;
use toml::{Table, Value};

use crate::cli::Failure;

/// The keys that say where a shadow holds; all others are what it changes.
const OWN: [&str; 3] = ["id", "placements", "sample"];

/// A shadow as the policy has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Outline {
    pub id: String,
    /// The share of the decisions that it is compared on.
    pub sample: f64,
    /// Where it holds; empty for everywhere.
    pub placements: Vec<String>,
    /// What it changes, each as it could be written in one line.
    pub changes: Vec<String>,
}

/// The shadows of a policy that was accepted, in its order.
pub(super) fn shadows(policy: &str) -> Result<Vec<Outline>, Failure> {
    let policy: Table = policy.parse()?;
    let all = policy.get("shadow").and_then(Value::as_array).into_iter().flatten();
    Ok(all.filter_map(Value::as_table).map(Outline::of).collect())
}

impl Outline {
    fn of(table: &Table) -> Self {
        let number =
            |value: &Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let texts = |value: &Value| -> Vec<String> {
            let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        let changes = table.iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
        Self {
            id: table.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            sample: table.get("sample").and_then(number).unwrap_or_default(),
            placements: table.get("placements").map(texts).unwrap_or_default(),
            changes: changes.map(|(key, value)| format!("{key} = {value}")).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadows_are_read_as_they_are_written() {
        let policy = "[[shadow]]\nid = \"a\"\nplacements = [\"home\"]\nsample = 0.1\nmodels = { base = 2 }\n\
                      strategy = \"margin\"\n[[shadow]]\nid = \"b\"\nsample = 1\nmodels = { base = 3 }\n";
        let found = shadows(policy).unwrap();
        assert_eq!(found[0].changes, ["models = { base = 2 }", "strategy = \"margin\""]);
        assert_eq!((found[0].sample, &found[0].placements[..]), (0.1, &["home".to_owned()][..]));
        assert_eq!((&*found[1].id, found[1].sample, found[1].placements.len()), ("b", 1.0, 0));
        assert!(shadows("segmentation = \"s\"\n").unwrap().is_empty());
    }
}
