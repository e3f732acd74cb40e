//! The lines of the entries in a release's files, for warnings.
//!
//! A loaded release no longer knows lines. The files are parsed once more, and only when a reviewer asks.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;

use super::ReleaseSource;
use document::{Document, Problems, Table};

/// A kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `[[feature]]`, identified by its name.
    Feature,
    /// `[[offer]]`.
    Offer,
    /// `[[category]]`.
    Category,
    /// `[[placement]]`.
    Placement,
    /// `[[context_weight]]`.
    ContextWeight,
    /// `[[contact_limit]]`.
    ContactLimit,
    /// `[[experiment]]`.
    Experiment,
}

/// The line of each entry and of its keys.
pub struct Lines<'a> {
    source: &'a ReleaseSource<'a>,
    entries: OnceCell<BTreeMap<(Kind, String), Entry>>,
}

struct Entry {
    first: usize,
    keys: BTreeMap<String, usize>,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Feature,
        Self::Offer,
        Self::Category,
        Self::Placement,
        Self::ContextWeight,
        Self::ContactLimit,
        Self::Experiment,
    ];

    /// The file that has such entries.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Feature => "features.toml",
            Self::Offer => "offers.toml",
            Self::Category
            | Self::Placement
            | Self::ContextWeight
            | Self::ContactLimit
            | Self::Experiment => "policy.toml",
        }
    }

    /// The entry's header in the file (`[[offer]]`).
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Feature => "feature",
            Self::Offer => "offer",
            Self::Category => "category",
            Self::Placement => "placement",
            Self::ContextWeight => "context_weight",
            Self::ContactLimit => "contact_limit",
            Self::Experiment => "experiment",
        }
    }

    fn id_key(self) -> &'static str {
        match self {
            Self::Feature => "name",
            Self::Offer
            | Self::Category
            | Self::Placement
            | Self::ContextWeight
            | Self::ContactLimit
            | Self::Experiment => "id",
        }
    }
}

impl<'a> Lines<'a> {
    /// For the files of `source`; reads nothing yet.
    #[must_use]
    pub fn new(source: &'a ReleaseSource<'a>) -> Self {
        Self { source, entries: OnceCell::new() }
    }

    /// What the release was loaded from.
    #[must_use]
    pub fn source(&self) -> &ReleaseSource<'a> {
        self.source
    }

    /// The line of an entry's `key`, or else the entry's first line.
    #[must_use]
    pub fn of(&self, kind: Kind, id: &str, key: &str) -> Option<usize> {
        let entry = self.entries.get_or_init(|| read(self.source)).get(&(kind, id.to_owned()))?;
        Some(entry.keys.get(key).copied().unwrap_or(entry.first))
    }

    /// Records a problem with an entry's `key`, with file and line, in the style of the other messages.
    pub fn push(
        &self,
        problems: &mut Problems,
        (kind, id): (Kind, &str),
        key: &str,
        message: impl fmt::Display,
    ) {
        let line = self.of(kind, id, key);
        problems.push(kind.file(), line, format!("{} `{id}`: {message}", kind.word()));
    }
}

fn read(source: &ReleaseSource<'_>) -> BTreeMap<(Kind, String), Entry> {
    let mut entries = BTreeMap::new();
    for (file, text) in
        [("features.toml", source.features), ("offers.toml", source.offers), ("policy.toml", source.policy)]
    {
        // The release was loaded from these files, so they are TOML.
        let Ok(document) = Document::parse(file, text) else { continue };
        let root = document.root();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.file() == file) {
            for table in root.tables(kind.word()) {
                if let Some(id) = table.optional::<String>(kind.id_key()) {
                    entries.entry((kind, id)).or_insert_with(|| Entry::of(&table));
                }
            }
        }
    }
    entries
}

impl Entry {
    fn of(table: &Table<'_, '_>) -> Self {
        let keys = table.keys().into_iter().map(|key| (table.line(&key), key));
        Self { first: table.first_line(), keys: keys.map(|(line, key)| (key, line)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_kind_id_and_key() {
        let pins = BTreeMap::new();
        let source = ReleaseSource {
            number: 0,
            features: "[[feature]]\nname = 'x'\ntype = 'int'\n",
            offers: "\n[[offer]]\nid = 'a'\nchannels = [\n  'x',\n]\n[[offer]]\nid = 'b'\n",
            policy: "[[placement]]\nid = 'a'\n\ncount = 1\n",
            models_dir: "none".into(),
            store: None,
            pins: &pins,
        };
        let lines = Lines::new(&source);
        assert_eq!(lines.of(Kind::Offer, "a", "channels"), Some(4));
        assert_eq!(lines.of(Kind::Offer, "b", "channels"), Some(7));
        assert_eq!(lines.of(Kind::Placement, "a", "count"), Some(4));
        assert_eq!(lines.of(Kind::Feature, "x", "type"), Some(3));
        assert_eq!(lines.of(Kind::Category, "a", "weight"), None);
        let mut problems = Problems::new();
        lines.push(&mut problems, (Kind::Offer, "a"), "id", "is odd");
        assert_eq!(problems.to_string(), "offers.toml:3: offer `a`: is odd");
    }
}
