//! Outcome types: what a customer can do with an offer, and how long after the decision it counts as its outcome.
//!
//! Eight types are built in ([`OUTCOMES`]); `[[outcome]]` in `policy.toml` declares further ones.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::PlacementIndex;
use super::reading::{self, Entries, Length, Names};
use document::{Table, suggestion};

/// What an outcome says about the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// The customer took it up.
    Positive,
    /// The customer turned it down.
    Negative,
    /// Neither.
    Neutral,
}

/// What limits count in the place of outcomes; no outcome type has this name.
pub(super) const DECISION: &str = "decision";

/// The most outcome types that a policy can declare: with the built-in ones and [`DECISION`] they fit in a byte.
const MOST_DECLARED: usize = 200;

/// The built-in outcome types.
pub const OUTCOMES: [(&str, OutcomeKind); 8] = [
    ("impression", OutcomeKind::Neutral),
    ("click", OutcomeKind::Positive),
    ("dismiss", OutcomeKind::Negative),
    ("accept", OutcomeKind::Positive),
    ("convert", OutcomeKind::Positive),
    ("reject", OutcomeKind::Negative),
    ("opt_out", OutcomeKind::Negative),
    ("complaint", OutcomeKind::Negative),
];

/// A type of outcome that can be recorded and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeType {
    /// Small letters, digits and `_`; unique.
    pub id: String,
    /// What it says about the offer.
    pub kind: OutcomeKind,
}

/// How long after its decision an outcome counts as on time (`[attribution]`, `[placement.attribution]`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribution {
    /// The windows that hold for every placement, by outcome type.
    everywhere: BTreeMap<String, TimeDelta>,
    /// The windows of each placement, which come before the others.
    placements: Vec<BTreeMap<String, TimeDelta>>,
}

impl Attribution {
    /// The window of an outcome type at a placement: a later outcome is late. `None` if there is none: then no outcome
    /// is late.
    #[must_use]
    pub fn window(&self, placement: PlacementIndex, outcome: &str) -> Option<TimeDelta> {
        let own = self.placements.get(placement.get()).and_then(|windows| windows.get(outcome));
        own.or_else(|| self.everywhere.get(outcome)).copied()
    }
}

/// Reads the outcome types: the built-in ones and those that the policy declares, sorted by id.
pub(super) fn read_outcomes(declared: &Entries<'_, '_>) -> Vec<OutcomeType> {
    let built_in = OUTCOMES.iter().map(|(id, kind)| OutcomeType { id: (*id).to_owned(), kind: *kind });
    let mut outcomes: Vec<OutcomeType> = built_in.collect();
    outcomes.extend(declared.iter().filter_map(|(id, table)| read_outcome(id, table)));
    if let Some((_, table)) = declared.iter().nth(MOST_DECLARED) {
        table.problem(format!("a policy can declare at most {MOST_DECLARED} outcome types"));
    }
    outcomes.sort_by(|left, right| left.id.cmp(&right.id));
    outcomes
}

fn read_outcome(id: &str, table: &Table<'_, '_>) -> Option<OutcomeType> {
    let small = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    // Other letters that are wrong are reported already.
    if reading::is_name(id) && !id.chars().all(small) {
        table.problem_at("id", format!("`id` of an outcome must be small letters, digits and _, not {id:?}"));
    }
    if id == DECISION {
        table.problem_at("id", "`decision` is what limits count without an outcome; choose another `id`");
    }
    let is_built_in = OUTCOMES.iter().any(|(known, _)| *known == id);
    if is_built_in {
        table.problem_at("id", format!("`{id}` is built in; remove it here, or choose another `id`"));
    }
    let kinds = [
        ("positive", OutcomeKind::Positive),
        ("negative", OutcomeKind::Negative),
        ("neutral", OutcomeKind::Neutral),
    ];
    // Without a valid kind the type is still known, so that what counts it is not reported, too.
    let kind = reading::one_of(table, "kind", &kinds).unwrap_or(OutcomeKind::Neutral);
    table.finish();
    (!is_built_in).then_some(OutcomeType { id: id.to_owned(), kind })
}

/// The outcome type that `key` names, or one of the words in `also`. Any other is a problem.
pub(super) fn named(table: &Table<'_, '_>, key: &str, names: &Names<'_>, also: &[&str]) -> Option<String> {
    if !table.has(key) {
        table.problem(format!("`{key}` is missing; give it an outcome, such as \"impression\""));
    }
    let id: String = table.optional(key)?;
    is_known(table, key, &id, names, also).then_some(id)
}

/// Whether `id`, which `key` names, is an outcome type or one of the words in `also`. Any other is a problem.
fn is_known(table: &Table<'_, '_>, key: &str, id: &str, names: &Names<'_>, also: &[&str]) -> bool {
    let known = || names.outcomes.iter().map(|outcome| outcome.id.as_str()).chain(also.iter().copied());
    let found = known().any(|known| known == id);
    if !found {
        let mut hint = suggestion(id, known());
        if hint.is_empty() {
            hint = format!("; known: {}", known().collect::<Vec<_>>().join(", "));
        }
        let file = names.policy_file;
        let message =
            format!("`{key}`: unknown outcome `{id}`, not built in and no [[outcome]] in {file}{hint}");
        table.problem_at(key, message);
    }
    found
}

/// Reads the windows of the policy and of its placements.
pub(super) fn read_attribution(
    root: &Table<'_, '_>,
    placements: &Entries<'_, '_>,
    names: &Names<'_>,
) -> Attribution {
    Attribution {
        everywhere: read_windows(root, names),
        placements: placements.iter().map(|(_, table)| read_windows(table, names)).collect(),
    }
}

fn read_windows(table: &Table<'_, '_>, names: &Names<'_>) -> BTreeMap<String, TimeDelta> {
    let Some(table) = table.table("attribution") else { return BTreeMap::new() };
    let read = |key: String| {
        let Length(window) = table.optional(&key)?;
        is_known(&table, &key, &key, names, &[]).then_some((key, window))
    };
    table.keys().into_iter().filter_map(read).collect()
}
