//! Matches the columns of a file with features.

use super::findings::Findings;
use crate::{Entity, FeatureSchema};
use document::suggestion;

/// The id column, which every customer file must have.
pub(super) const ID_COLUMN: &str = "customer_id";

/// The columns of a file, matched with the customer features of a schema.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// The position of `customer_id`.
    pub(super) id: usize,
    /// Position in the file and position among the customer features, in the order of the file.
    pub(super) features: Vec<(usize, usize)>,
    /// Columns that are not customer features.
    pub(super) ignored: Vec<String>,
    /// Customer features that the file lacks.
    pub(super) absent: Vec<String>,
}

impl Columns {
    /// Finds the columns by name. Returns `None` and records problems on `line` if that fails.
    pub(super) fn resolve(
        names: &[String],
        line: Option<usize>,
        schema: &FeatureSchema,
        findings: &mut Findings,
    ) -> Option<Self> {
        for (position, name) in names.iter().enumerate() {
            if !name.is_empty() && names[..position].contains(name) {
                findings.push(line, format!("column `{name}` appears twice; rename or remove one"));
            }
        }
        let Some(id) = names.iter().position(|name| name == ID_COLUMN) else {
            findings.push(line, missing_id(names));
            return None;
        };
        let features: Vec<(usize, usize)> = names
            .iter()
            .enumerate()
            .filter_map(|(position, name)| match schema.find(name) {
                Some((Entity::Customer, feature)) => Some((position, feature)),
                _ => None,
            })
            .collect();
        let is_feature = |position: usize| features.iter().any(|(column, _)| *column == position);
        let ignored = (0..names.len()).filter(|position| *position != id && !is_feature(*position));
        let ignored = ignored.map(|position| names[position].clone()).collect();
        let customer = schema.of(Entity::Customer).iter().map(|feature| &feature.name);
        let absent = customer.filter(|name| !names.contains(name)).cloned().collect();
        findings.is_empty().then_some(Self { id, features, ignored, absent })
    }
}

fn missing_id(names: &[String]) -> String {
    let hint = suggestion(ID_COLUMN, names.iter().map(String::as_str));
    let hint = hint.replace("did you mean", "is it");
    format!("no column `{ID_COLUMN}`; every customer needs an id{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut findings = Findings::new("c.csv");
        assert!(Columns::resolve(&names, Some(1), &FeatureSchema::default(), &mut findings).is_none());
        findings.into_result(()).unwrap_err().to_string()
    }

    #[test]
    fn a_header_without_ids_says_what_to_do() {
        assert!(problem(&["id", "x"]).contains("every customer needs an id"));
        assert!(problem(&["customer_ids"]).ends_with("; is it `customer_ids`?"));
        assert_eq!(
            problem(&["customer_id", "x", "x"]),
            "c.csv:1: column `x` appears twice; rename or remove one"
        );
    }
}
