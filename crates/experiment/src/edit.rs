//! Changes an experiment in the text of `policy.toml`, so that comments, order and layout stay.
//!
//! The text is parsed for the places of its values alone. Every byte that belongs to no changed value is kept, which a
//! printer of TOML would not promise: line ends and spaces differ among editors. The text must have passed the reader
//! ([`read()`](crate::read())), and its reader checks the result again.

mod conclude;
#[cfg(test)]
mod tests;

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use conclude::{Concluded, conclude};

use crate::State;

/// Why a text cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such experiment.
    #[error("there is no experiment `{id}`{hint}")]
    NoExperiment {
        /// The id that was asked for.
        id: String,
        /// The id that was probably meant.
        hint: String,
    },
    /// The experiment has no such variant.
    #[error("experiment `{id}` has no variant `{variant}`{hint}")]
    NoVariant {
        /// The experiment.
        id: String,
        /// The id that was asked for.
        variant: String,
        /// The id that was probably meant.
        hint: String,
    },
    /// What the winner changes cannot be written for its placements alone.
    #[error(
        "variant `{variant}` of experiment `{id}` changes {what}, which holds at {elsewhere}, too, where the \
         experiment is not; make the release by hand"
    )]
    Elsewhere {
        /// The experiment.
        id: String,
        /// The variant.
        variant: String,
        /// What it changes.
        what: String,
        /// A placement without the experiment.
        elsewhere: String,
    },
    /// The layout of a table is one that cannot be changed in place.
    #[error("{place}: write `{key}` in one line, as a table in braces or a plain value, then conclude again")]
    Layout {
        /// The table.
        place: String,
        /// The key.
        key: String,
    },
    /// The text is not what a release may have.
    #[error("policy.toml cannot be read: {0}")]
    Unreadable(String),
}

/// The text with the coverage of an experiment changed.
///
/// # Errors
/// [`EditError::NoExperiment`]; [`EditError::Unreadable`] if the text is not that of a release.
pub fn set_coverage(text: &str, id: &str, coverage: f64) -> Result<String, EditError> {
    let root = parse(text)?;
    let mut edits = Edits::new(text);
    edits.set(&entry(&root, "experiment", id)?, "coverage", &format!("{coverage:?}"), "id")?;
    Ok(edits.apply())
}

/// The text with the state of an experiment changed. A state that was left out is written after the coverage.
///
/// # Errors
/// As [`set_coverage`].
pub fn set_state(text: &str, id: &str, state: State) -> Result<String, EditError> {
    let root = parse(text)?;
    let mut edits = Edits::new(text);
    edits.set_state(&entry(&root, "experiment", id)?, state)?;
    Ok(edits.apply())
}

fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, EditError> {
    DeTable::parse(text).map_err(|error| EditError::Unreadable(error.message().to_owned()))
}

/// A table of an array of tables, with its place in the text.
#[derive(Clone)]
struct Entry<'d, 'i> {
    /// What messages call it.
    label: String,
    values: &'d DeTable<'i>,
    span: Range<usize>,
}

impl<'d, 'i> Entry<'d, 'i> {
    fn get(&self, key: &str) -> Option<&'d Spanned<DeValue<'i>>> {
        self.values.get(key)
    }

    fn text(&self, key: &str) -> Option<&'d str> {
        self.get(key)?.get_ref().as_str()
    }
}

/// The tables of the array `name`, in the order of the text.
fn entries<'d, 'i>(root: &'d Spanned<DeTable<'i>>, name: &str) -> Vec<Entry<'d, 'i>> {
    let Some(DeValue::Array(items)) = root.get_ref().get(name).map(Spanned::get_ref) else {
        return Vec::new();
    };
    let tables = items.iter().filter_map(|item| match item.get_ref() {
        DeValue::Table(values) => {
            let id = values.get("id").and_then(|id| id.get_ref().as_str()).unwrap_or_default();
            Some(Entry { label: format!("{name} `{id}`"), values, span: item.span() })
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_) => None,
    });
    tables.collect()
}

/// The table called `id` of the array `name`.
fn entry<'d, 'i>(root: &'d Spanned<DeTable<'i>>, name: &str, id: &str) -> Result<Entry<'d, 'i>, EditError> {
    let all = entries(root, name);
    let found = all.iter().find(|entry| entry.text("id") == Some(id)).cloned();
    found.ok_or_else(|| {
        let ids: Vec<&str> = all.iter().filter_map(|entry| entry.text("id")).collect();
        EditError::NoExperiment { id: id.to_owned(), hint: document::suggestion(id, ids.iter().copied()) }
    })
}

/// Changes to a text, collected and then made at once.
struct Edits<'t> {
    text: &'t str,
    changes: Vec<(Range<usize>, String)>,
}

impl<'t> Edits<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, changes: Vec::new() }
    }

    fn set_state(&mut self, experiment: &Entry<'_, '_>, state: State) -> Result<(), EditError> {
        let word = format!("\"{}\"", state.name());
        self.set(experiment, "state", &word, "coverage")
    }

    /// Gives `key` a value. A key that is absent is written after the one called `beside`, which is a number or a text
    /// in one line.
    fn set(&mut self, table: &Entry<'_, '_>, key: &str, value: &str, beside: &str) -> Result<(), EditError> {
        let layout = || EditError::Layout { place: table.label.clone(), key: key.to_owned() };
        if let Some(present) = table.get(key) {
            let span = present.span();
            let old = self.text.get(span.clone()).ok_or_else(layout)?;
            // A table with a heading of its own, or one of dotted keys, is in several places: its span is only one.
            if matches!(present.get_ref(), DeValue::Table(_)) && !old.starts_with('{') {
                return Err(layout());
            }
            self.changes.push((span, in_quotes_of(old, value)));
            return Ok(());
        }
        let beside = table.get(beside).ok_or_else(layout)?.span();
        let is_inline = self.text[table.span.start..].starts_with('{');
        if is_inline {
            self.changes.push((beside.end..beside.end, format!(", {key} = {value}")));
            return Ok(());
        }
        let line = self.text[..beside.start].rfind('\n').map_or(0, |at| at + 1);
        let indent: String =
            self.text[line..].chars().take_while(|letter| matches!(letter, ' ' | '\t')).collect();
        let (at, added) = match self.text[beside.end..].find('\n') {
            Some(end) => {
                let end = beside.end + end;
                let line_end = if self.text[..end].ends_with('\r') { "\r\n" } else { "\n" };
                (end + 1, format!("{indent}{key} = {value}{line_end}"))
            }
            None => (self.text.len(), format!("\n{indent}{key} = {value}")),
        };
        self.changes.push((at..at, added));
        Ok(())
    }

    fn apply(mut self) -> String {
        // From the end, so that earlier places stay where they are.
        self.changes.sort_by_key(|(span, _)| span.start);
        let mut text = self.text.to_owned();
        for (span, new) in self.changes.into_iter().rev() {
            text.replace_range(span, &new);
        }
        text
    }
}

/// A text value in the quotes of the one that it replaces.
fn in_quotes_of(old: &str, new: &str) -> String {
    let is_literal = old.starts_with('\'') && !old.starts_with("'''");
    match new.strip_prefix('"').and_then(|new| new.strip_suffix('"')) {
        Some(word) if is_literal && !word.contains(['\'', '\\']) => format!("'{word}'"),
        _ => new.to_owned(),
    }
}
