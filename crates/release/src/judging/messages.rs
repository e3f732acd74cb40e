//! The messages between a server and the judging process: one question, then a line for each gate and each report.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::gates::Sample;
use crate::records::{Evidence, GateReport};
use feature::PackedRows;
use model::onnx::GraphFacts;

/// The most bytes of a question: the largest sample of rows, each with kilobytes of text, and a margin.
pub(super) const MAX_QUESTION: u64 = 256 << 20;

/// The most bytes of an answer: the facts of all graphs of a version are less.
pub(super) const MAX_ANSWER: u64 = 64 << 20;

/// An absolute path: the judging process has another working directory.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct AbsolutePath(PathBuf);

impl AbsolutePath {
    pub(crate) fn new(path: &Path) -> std::io::Result<Self> {
        std::path::absolute(path).map(Self)
    }
}

impl AsRef<Path> for AbsolutePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// What to judge.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Subject {
    Version(Box<Question>),
    Bare { file: AbsolutePath },
}

/// A pushed version and what it is compared with: a [`Candidate`](crate::Candidate) for the other process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    pub directory: AbsolutePath,
    pub name: String,
    pub version: u64,
    /// The text of `features.toml`.
    pub features: String,
    pub segments: Option<usize>,
    pub champion: Option<ServingVersion>,
    /// The rows that both versions score, and where they come from.
    pub rows: PackedRows,
    pub source: String,
}

/// The serving version of the same name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServingVersion {
    pub directory: AbsolutePath,
    pub version: u64,
    /// The text of `features.toml`.
    pub features: String,
    /// The facts about its graphs from when it was judged.
    pub facts: Vec<GraphFacts>,
}

impl Question {
    /// A question without a champion or segments, with the rows of `sample`.
    pub(crate) fn new(
        directory: &Path,
        name: &str,
        version: u64,
        features: &str,
        sample: &Sample,
    ) -> std::io::Result<Self> {
        Ok(Self {
            directory: AbsolutePath::new(directory)?,
            name: name.to_owned(),
            version,
            features: features.to_owned(),
            segments: None,
            champion: None,
            rows: PackedRows::pack(&sample.rows),
            source: sample.source.clone(),
        })
    }
}

/// A line of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Message {
    /// This gate begins.
    Begins(String),
    /// The report of the gate that began last.
    Report(GateReport),
    /// All gates have run.
    Done { evidence: Evidence, used: String },
}
