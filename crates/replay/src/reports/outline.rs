//! What a report is made of, before it becomes text or HTML.
//!
//! Texts are plain; names in backticks become code in HTML. Nothing is escaped yet.

/// A report.
#[derive(Debug, Clone, Default)]
pub(super) struct Outline {
    pub title: String,
    /// What was compared with what.
    pub source: String,
    /// The result in a few sentences.
    pub lead: String,
    pub warnings: Vec<String>,
    /// The headline numbers, each with what it counts.
    pub tiles: Vec<(String, String)>,
    pub parts: Vec<Part>,
    /// The last line on a terminal.
    pub verdict: Option<String>,
}

/// A part under a heading. One without blocks is left out.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The target of its link in HTML.
    pub id: &'static str,
    pub title: &'static str,
    pub blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
pub(super) enum Block {
    Text(String),
    Heading(&'static str),
    Grid(Grid),
    List(Vec<String>),
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    pub columns: Vec<(&'static str, Kind)>,
    pub rows: Vec<Vec<Cell>>,
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Words,
    Number,
    /// Only in HTML.
    Bars,
}

#[derive(Debug, Clone)]
pub(super) enum Cell {
    Text(String),
    /// A thing with a name for people and an id.
    Named {
        name: String,
        id: String,
    },
    /// An amount before and after, and in brackets how much that is, or nothing.
    Change {
        amounts: String,
        relative: String,
    },
    /// Two bars of a length from 0 to 1, and what they show.
    Bars {
        before: f64,
        after: f64,
        label: String,
    },
}

impl Part {
    pub(super) fn new(id: &'static str, title: &'static str, blocks: Vec<Block>) -> Self {
        Self { id, title, blocks }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
