//! Helpers for reading `offers.toml` and `policy.toml`: tables with ids, references to them, percentages, rules.

use chrono::TimeDelta;
use toml::de::DeValue;

use super::{OutcomeType, Rule};
use document::{FromToml, Table, settings, suggestion};
use feature::FeatureSchema;
use work::priority::yield_if_due;

/// The tables of one kind (`[[offer]]`), sorted by id, so that the order in the file does not matter.
///
/// All references to a table use its position as index.
pub(super) struct Entries<'d, 'i> {
    pub(super) ids: Ids,
    pub(super) tables: Vec<Table<'d, 'i>>,
}

/// The ids of one kind of table, with the name of the kind for messages.
pub(super) struct Ids {
    kind: &'static str,
    file: String,
    sorted: Vec<String>,
}

/// Everything that a table may refer to.
pub(super) struct Names<'a> {
    pub(super) schema: &'a FeatureSchema,
    /// Whether the policy names a segmentation; without one no rule can use `segment`.
    pub(super) has_segments: bool,
    /// The time zone of dates and local times.
    pub(super) zone: chrono_tz::Tz,
    pub(super) policy_file: &'a str,
    pub(super) offers: &'a Ids,
    pub(super) categories: &'a Ids,
    pub(super) placements: &'a Ids,
    /// Built in and declared, sorted by id.
    pub(super) outcomes: &'a [OutcomeType],
}

impl<'d, 'i> Entries<'d, 'i> {
    /// Reads the ids of the `[[kind]]` tables and names the tables after them.
    pub(super) fn open(root: &Table<'d, 'i>, file: &str, kind: &'static str) -> Self {
        let mut entries: Vec<(String, Table<'d, 'i>)> = Vec::new();
        for table in root.tables(kind) {
            let id: String = table.required("id");
            if !id.is_empty() {
                table.label(format!("{kind} `{id}`"));
                check_name(&table, "id", &id);
            }
            entries.push((id, table));
        }
        // Stable, so that the later of two equal ids in the file is reported.
        entries.sort_by(|(left, _), (right, _)| left.cmp(right));
        for pair in entries.windows(2) {
            if let [(first_id, first), (id, table)] = pair
                && first_id == id
                && !id.is_empty()
            {
                let line = first.first_line();
                table.problem_at("id", format!("`{id}` is already the id of the {kind} in line {line}"));
            }
        }
        let (sorted, tables) = entries.into_iter().unzip();
        Self { ids: Ids { kind, file: file.to_owned(), sorted }, tables }
    }

    /// Reports a file without any such table.
    pub(super) fn require_one(&self, root: &Table<'_, '_>) {
        if self.tables.is_empty() {
            let kind = self.ids.kind;
            root.problem(format!("no [[{kind}]]: a release needs at least one"));
        }
    }

    /// Each id with its table, in the order of the indices.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Table<'d, 'i>)> {
        self.ids.sorted.iter().map(String::as_str).zip(&self.tables)
    }
}

impl Ids {
    /// The ids, in the order of the indices.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.sorted.iter().map(String::as_str)
    }

    /// The id with this index.
    pub(super) fn name(&self, index: usize) -> &str {
        &self.sorted[index]
    }

    /// The index of `id`, which `key` of `table` refers to. An unknown id is a problem.
    pub(super) fn find(&self, table: &Table<'_, '_>, key: &str, id: &str) -> Option<usize> {
        let found = self.sorted.binary_search_by(|known| known.as_str().cmp(id)).ok();
        if found.is_none() {
            let Self { kind, file, sorted } = self;
            let hint = suggestion(id, sorted.iter().map(String::as_str));
            table.problem_at(key, format!("`{key}`: unknown {kind} `{id}`, no [[{kind}]] in {file}{hint}"));
        }
        found
    }

    /// The indices of the ids listed under `key`, sorted and distinct; `None` if the key is absent.
    pub(super) fn find_all(&self, table: &Table<'_, '_>, key: &str) -> Option<Vec<usize>> {
        let ids: Vec<String> = table.optional(key)?;
        let mut found: Vec<usize> = ids.iter().filter_map(|id| self.find(table, key, id)).collect();
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

/// Whether a name is usable as an id, a model name or a part of a path.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
    name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.chars().all(allowed)
}

/// Reports a name that is not usable as an id, a model name or a part of a path.
pub(super) fn check_name(table: &Table<'_, '_>, key: &str, name: &str) {
    if !is_name(name) {
        let message = format!(
            "`{key}` must be letters, digits, _ - and ., beginning with a letter or a digit, not {name:?}"
        );
        table.problem_at(key, message);
    }
}

/// The words listed under `key`, without duplicates, in their order; empty if the key is absent.
pub(super) fn words(table: &Table<'_, '_>, key: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in table.or(key, Vec::<String>::new()) {
        if word.trim().is_empty() {
            table.problem_at(key, format!("`{key}` has an empty item; remove it"));
        } else if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// A percentage by which something is raised or lowered: more than −100, so that the factor stays above zero.
pub(super) fn percent(table: &Table<'_, '_>, key: &str, value: f64) -> f64 {
    if value <= -100.0 {
        table.problem_at(key, format!("`{key}` must be more than -100 percent, not {value}"));
    }
    value
}

/// An amount of money under `key`, at least zero.
pub(super) fn money(table: &Table<'_, '_>, key: &str, value: f64) -> f64 {
    if value < 0.0 {
        table.problem_at(key, format!("`{key}` must be at least 0, not {value}"));
    }
    value
}

/// One word of a fixed set. A missing key is a problem, too.
pub(super) fn one_of<T: Copy>(table: &Table<'_, '_>, key: &str, choices: &[(&str, T)]) -> Option<T> {
    if !table.has(key) {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        table.problem(format!("`{key}` is missing; give it one of {}", words.join(", ")));
    }
    table.choice(key, choices)
}

/// A length of time, from a second to ten years.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Length(pub(super) TimeDelta);

impl FromToml for Length {
    const EXPECTED: &'static str = "a duration of 1s to 3650d, such as \"30m\", \"12h\" or \"7d\"";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let length = TimeDelta::from_std(settings::duration(value.as_str()?).ok()?).ok()?;
        (TimeDelta::seconds(1)..=TimeDelta::days(3_650)).contains(&length).then_some(Self(length))
    }
}

/// The rule under `key`, if it is present and valid.
pub(super) fn rule(table: &Table<'_, '_>, key: &str, names: &Names<'_>) -> Option<Rule> {
    let source: String = table.optional(key)?;
    yield_if_due();
    match Rule::compile(&source, names.schema) {
        Ok(rule) => {
            if rule.uses_segment() && !names.has_segments {
                let file = names.policy_file;
                table.problem_at(key, format!("`{key}` uses `segment`, but {file} names no `segmentation`"));
            }
            Some(rule)
        }
        Err(problems) => {
            let many_lines = source.trim_end().contains('\n');
            for problem in problems {
                let place =
                    if many_lines { format!(" (line {} of the rule)", problem.line) } else { String::new() };
                table.problem_at(key, format!("`{key}`: {}{place}", problem.message));
            }
            None
        }
    }
}

/// Reports those of `keys` that are present: a setting that is not enforced must not look effective.
pub(super) fn refuse(table: &Table<'_, '_>, keys: &[&str]) {
    for key in keys.iter().filter(|key| table.has(key)) {
        table.problem_at(key, format!("{key}: not enforced by this version; remove it"));
        let Amounts(amounts) = table.or(key, Amounts::default());
        for amount in amounts.iter().filter(|amount| **amount < 0.0) {
            table.problem_at(key, format!("`{key}` must not be negative, and is {amount}"));
        }
    }
}

/// Every number in a value of any shape.
#[derive(Default)]
struct Amounts(Vec<f64>);

impl FromToml for Amounts {
    const EXPECTED: &'static str = "anything";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let inner = |item: &DeValue<'_>| Self::from_toml(item).unwrap_or_default().0;
        Some(Self(match value {
            DeValue::Array(items) => items.iter().flat_map(|item| inner(item.get_ref())).collect(),
            DeValue::Table(entries) => entries.iter().flat_map(|(_, item)| inner(item.get_ref())).collect(),
            DeValue::Integer(_) | DeValue::Float(_) => f64::from_toml(value).into_iter().collect(),
            DeValue::String(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => Vec::new(),
        }))
    }
}
