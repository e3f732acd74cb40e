//! Reads variants: what they change, and who is listed in them. Shadows change the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use document::{Table, suggestion};

use super::value::{self, Share, Version};
use super::{CategoryNames, Names};
use crate::{Changes, ModelVersion, Strategy, Variant};

/// What a variant may change at a placement, and nothing else.
pub(super) const CHANGES: [&str; 6] =
    ["models", "strategy", "count", "category_weights", "context_weights", "exploration"];

/// Reads a variant of the experiment called `experiment`, at placements with these models; `None` without a weight.
pub(super) fn read(
    table: &Table<'_, '_>,
    experiment: &str,
    is_control: bool,
    names: &Names<'_>,
    models: &[&str],
) -> Option<Variant> {
    let id = value::read_id(table, &format!("experiment `{experiment}` variant "));
    let weight: Option<Share> = value::needed(table, "weight");
    let listed = read_listed(table);
    if is_control {
        for key in CHANGES.iter().filter(|key| table.has(key)) {
            table.problem_at(
                key,
                format!("the first variant is the control, which changes nothing; remove `{key}`"),
            );
        }
    }
    let count = read_count(table);
    let changes = Changes { count, ..read_changes(table, "experiment", names, models) };
    table.finish();
    let Share(weight) = weight?;
    Some(Variant { id, weight, changes, listed })
}

/// Reports variants of one id, and customers that two variants list.
pub(super) fn check_twins(tables: &[Table<'_, '_>], variants: &[Variant]) {
    let mut lists: HashMap<&str, &str> = HashMap::new();
    for (index, (table, variant)) in tables.iter().zip(variants).enumerate() {
        let mut before = variants.iter().take(index).zip(tables);
        if let Some((_, first)) = before.find(|(other, _)| other.id == variant.id && !other.id.is_empty()) {
            let line = first.first_line();
            table.problem_at(
                "id",
                format!("`{}` is already the id of the variant in line {line}", variant.id),
            );
        }
        for id in &variant.listed {
            match lists.entry(id.as_str()) {
                Entry::Occupied(other) => {
                    let other = other.get();
                    let message = format!("`listed`: customer {id:?} is already listed in variant `{other}`");
                    table.problem_at("listed", message);
                }
                Entry::Vacant(place) => {
                    place.insert(&variant.id);
                }
            }
        }
    }
}

fn read_listed(table: &Table<'_, '_>) -> Vec<String> {
    let mut listed: Vec<String> = table.or("listed", Vec::new());
    if listed.iter().any(String::is_empty) {
        table.problem_at("listed", "`listed` has an empty id; remove it: an empty id is in no arm");
    }
    if listed.len() > 1_000 {
        let count = listed.len();
        table.problem_at(
            "listed",
            format!("`listed` has {count} customers and may have 1000: it is for testers"),
        );
        listed.truncate(1_000);
    }
    listed.sort_unstable();
    listed.dedup();
    listed
}

fn read_count(table: &Table<'_, '_>) -> Option<usize> {
    let count: Option<usize> = table.optional("count");
    if let Some(count) = count.filter(|count| !(1..=100).contains(count)) {
        table.problem_at("count", format!("`count` must be 1 to 100, not {count}"));
    }
    count
}

/// Reads what a table of `kind` changes, but for the count, at placements with these models.
pub(super) fn read_changes(table: &Table<'_, '_>, kind: &str, names: &Names<'_>, models: &[&str]) -> Changes {
    let strategies = [("priority", Strategy::Priority), ("margin", Strategy::Margin)];
    let strategy = table.choice("strategy", &strategies);
    let categories: Vec<&str> = names.categories.iter().map(|category| category.id).collect();
    let category_weights =
        percents(table, "category_weights", "category", &categories, |place, category, percent| {
            check_lever(place, &names.categories[category], percent);
        });
    let context_weights =
        percents(table, "context_weights", "context weight", names.context_weights, |_, _, _| ());
    let (models, exploration) = (read_models(table, kind, models), value::exploration(table));
    Changes { models, strategy, count: None, category_weights, context_weights, exploration }
}

fn read_models(table: &Table<'_, '_>, kind: &str, models: &[&str]) -> Vec<ModelVersion> {
    let Some(table) = table.table("models") else { return Vec::new() };
    let keys = table.keys();
    let read = |name: String| {
        let version: Option<Version> = table.optional(&name);
        if !models.contains(&name.as_str()) {
            let hint = suggestion(&name, models.iter().copied());
            table.problem_at(&name, format!("no placement of the {kind} uses model `{name}`{hint}"));
        }
        let (Version(version), line) = (version?, table.line(&name));
        Some(ModelVersion { name, version, line })
    };
    keys.into_iter().filter_map(read).collect()
}

/// A table of percentages by id; `check` looks further at each of them.
fn percents(
    table: &Table<'_, '_>,
    key: &str,
    kind: &str,
    ids: &[&str],
    check: impl Fn(&Table<'_, '_>, usize, f64),
) -> Vec<(usize, f64)> {
    let Some(table) = table.table(key) else { return Vec::new() };
    let mut found = Vec::new();
    for id in table.keys() {
        let percent: f64 = table.required(&id);
        if percent <= -100.0 {
            table.problem_at(&id, format!("`{id}` must be more than -100 percent, not {percent}"));
        }
        match ids.iter().position(|known| *known == id) {
            Some(index) => {
                check(&table, index, percent);
                found.push((index, percent));
            }
            None => {
                let hint = suggestion(&id, ids.iter().copied());
                table.problem_at(&id, format!("unknown {kind} `{id}`{hint}"));
            }
        }
    }
    found.sort_by_key(|(index, _)| *index);
    found
}

/// Reports a weight that, with that of an offer, would turn priorities around.
fn check_lever(table: &Table<'_, '_>, category: &CategoryNames<'_>, percent: f64) {
    let CategoryNames { id, lowest_offer } = *category;
    let sum = percent + lowest_offer;
    if percent > -100.0 && sum <= -100.0 {
        table.problem_at(
            id,
            format!(
                "`{id}` {percent} plus {lowest_offer} of an offer of the category is {sum}; the sum must be more than \
                 -100 percent"
            ),
        );
    }
}
