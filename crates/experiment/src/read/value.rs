//! Types of values, and what both experiments and placements have.

use std::collections::HashMap;
use std::time::Duration;

use document::{FromToml, Table, settings};
use toml::de::DeValue;

use super::Names;
use crate::{Exploration, Method};

/// A share of something.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Share(pub(super) f64);

impl FromToml for Share {
    const EXPECTED: &'static str = "a share of 0 to 1, such as 0.05";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        f64::from_toml(value).filter(|share| (0.0..=1.0).contains(share)).map(Self)
    }
}

/// A share that is not nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct SomeShare(pub(super) f64);

impl FromToml for SomeShare {
    const EXPECTED: &'static str = "a share above 0 and at most 1, such as 0.05";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        f64::from_toml(value).filter(|share| *share > 0.0 && *share <= 1.0).map(Self)
    }
}

/// How long a coverage lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct After(pub(super) Duration);

impl FromToml for After {
    const EXPECTED: &'static str = "a duration of 1m to 365d, such as \"12h\" or \"7d\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let after = settings::duration(value.as_str()?).ok()?;
        let range = Duration::from_mins(1)..=Duration::from_hours(365 * 24);
        range.contains(&after).then_some(Self(after))
    }
}

/// A version of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Version(pub(super) u64);

impl FromToml for Version {
    const EXPECTED: &'static str = "a version, a whole number of at least 1";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        u64::from_toml(value).filter(|version| *version > 0).map(Self)
    }
}

/// How many impressions a prior is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Evidence(pub(super) f64);

impl FromToml for Evidence {
    const EXPECTED: &'static str = "a number of impressions, 1 to 1e9";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        f64::from_toml(value).filter(|evidence| (1.0..=1e9).contains(evidence)).map(Self)
    }
}

/// After how many impressions an offer is mature.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Impressions(pub(super) u64);

impl FromToml for Impressions {
    const EXPECTED: &'static str = "a number of impressions, a whole number of at least 1";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        u64::from_toml(value).filter(|impressions| *impressions > 0).map(Self)
    }
}

/// Ids by index, to look up many.
pub(super) struct Ids<'a>(HashMap<&'a str, usize>);

impl<'a> Ids<'a> {
    pub(super) fn new(ids: &[&'a str]) -> Self {
        Self(ids.iter().enumerate().map(|(index, id)| (*id, index)).collect())
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.0.get(id).copied()
    }
}

/// The value of a key that must be there; `None` after a problem with it.
pub(super) fn needed<T: FromToml>(table: &Table<'_, '_>, key: &str) -> Option<T> {
    if !table.has(key) {
        table.problem(format!("`{key}` is missing; give it {}", T::EXPECTED));
    }
    table.optional(key)
}

/// The id of a table, which is called `kind` and the id from then on; empty if it is missing or no text.
pub(super) fn read_id(table: &Table<'_, '_>, kind: &str) -> String {
    let Some(id) = needed::<String>(table, "id") else { return String::new() };
    table.label(format!("{kind}`{id}`"));
    check_name(table, "id", &id);
    id
}

/// Reports a name that is not usable as an id.
pub(super) fn check_name(table: &Table<'_, '_>, key: &str, name: &str) {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
    let begins = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !begins || !name.chars().all(allowed) {
        let message = format!(
            "`{key}` must be letters, digits, _ - and ., beginning with a letter or a digit, not {name:?}"
        );
        table.problem_at(key, message);
    }
}

/// The models of the placements, each once; of all placements if there are none.
pub(super) fn models_at<'a>(placements: &[usize], names: &Names<'a>) -> Vec<&'a str> {
    let here = |index: usize| placements.is_empty() || placements.contains(&index);
    let placements = names.placements.iter().enumerate().filter(|(index, _)| here(*index));
    let mut models: Vec<&str> =
        placements.flat_map(|(_, placement)| placement.models.iter().copied()).collect();
    models.sort_unstable();
    models.dedup();
    models
}

/// The exploration under `exploration`, if it is there and valid.
pub(super) fn exploration(table: &Table<'_, '_>) -> Option<Exploration> {
    let table = table.table("exploration")?;
    let words = ["greedy", "epsilon", "softmax"];
    let method: Option<String> = table.optional("method");
    let epsilon: Option<Share> = table.optional("epsilon");
    let temperature: Option<f64> = table.optional("temperature");
    if !table.has("method") {
        table.problem("`method` is missing; give it one of greedy, epsilon, softmax");
    }
    table.finish();
    let only = |key: &str, method: &str| {
        if table.has(key) {
            table.problem_at(key, format!("`{key}` belongs to method {method}; remove it"));
        }
    };
    let method = match method?.as_str() {
        "greedy" => {
            only("epsilon", "epsilon");
            only("temperature", "softmax");
            Method::Greedy
        }
        "epsilon" => {
            only("temperature", "softmax");
            if !table.has("epsilon") {
                table.problem("`epsilon` is missing; give it the share of slots that explore, such as 0.05");
            }
            let Share(epsilon) = epsilon?;
            if epsilon == 0.0 {
                table.problem_at("epsilon", "`epsilon` must be more than 0; method greedy does not explore");
            }
            Method::Epsilon { epsilon }
        }
        "softmax" => {
            only("epsilon", "epsilon");
            if !table.has("temperature") {
                table.problem(
                    "`temperature` is missing; give it an amount in the unit of the priority, such as 5.0",
                );
            }
            let temperature = temperature?;
            // Divisors below this make infinite exponents of ordinary priorities.
            if temperature < 1e-6 {
                table.problem_at(
                    "temperature",
                    format!("`temperature` must be at least 0.000001, not {temperature}"),
                );
            }
            Method::Softmax { temperature }
        }
        "thompson" => {
            table.problem_at("method", "method thompson: not enforced by this version; use softmax");
            return None;
        }
        other => {
            let hint = document::suggestion(other, words);
            table.problem_at(
                "method",
                format!("`method` must be one of {}, not {other:?}{hint}", words.join(", ")),
            );
            return None;
        }
    };
    Some(Exploration { method })
}
