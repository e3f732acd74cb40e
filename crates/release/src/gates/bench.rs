//! What the gates share: the version, read and loaded once, when a gate first asks.

use std::cell::OnceCell;
use std::sync::Arc;

use super::Candidate;
use super::rows::{self, Generated};
use crate::load::{Loaded, load_version};
use document::Problems;
use feature::Row;
use model::{
    LoadedGraph, MAX_MANIFEST_BYTES, Manifest, Matrix, Model, ModelError, ModelKind, read_text_at_most,
};
use work::Worker;

/// The version that is being judged.
pub(super) struct Bench<'a> {
    pub candidate: &'a Candidate<'a>,
    manifest: OnceCell<Result<Manifest, Problems>>,
    /// Kept, so that the graphs are loaded once however many gates need them.
    graphs: OnceCell<Vec<Arc<LoadedGraph>>>,
    loaded: OnceCell<Result<Loaded, Problems>>,
    rows: OnceCell<Vec<Generated<'a>>>,
    worker: Worker,
}

impl<'a> Bench<'a> {
    pub(super) fn new(candidate: &'a Candidate<'a>) -> Self {
        Self {
            candidate,
            manifest: OnceCell::new(),
            graphs: OnceCell::new(),
            loaded: OnceCell::new(),
            rows: OnceCell::new(),
            worker: Worker::only(),
        }
    }

    /// The version's name in messages.
    pub(super) fn label(&self) -> String {
        format!("{}/{}", self.candidate.name, self.candidate.version)
    }

    /// The name of one of the version's files in messages.
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.label())
    }

    pub(super) fn manifest(&self) -> Result<&Manifest, &Problems> {
        let read = || {
            let file = self.file("model.toml");
            let text = read_text_at_most(&self.candidate.directory.join("model.toml"), MAX_MANIFEST_BYTES)
                .map_err(|error| Problems::one(&file, None, format!("cannot be read: {error}")))?;
            Manifest::parse(&file, &text)
        };
        self.manifest.get_or_init(read).as_ref()
    }

    /// Keeps graphs in memory until the version is loaded with them.
    pub(super) fn keep(&self, graphs: Vec<Arc<LoadedGraph>>) {
        // One gate alone sets it; a second set would change nothing.
        let _ = self.graphs.set(graphs);
    }

    pub(super) fn loaded(&self) -> Result<&Loaded, &Problems> {
        let Candidate { directory, name, version, schema, cache, .. } = *self.candidate;
        self.loaded.get_or_init(|| load_version(directory, name, version, schema, cache)).as_ref()
    }

    /// Generated rows, the same for every gate.
    pub(super) fn rows(&self) -> &[Generated<'a>] {
        self.rows.get_or_init(|| rows::generate(self.candidate.schema, self.candidate.segments))
    }

    /// The permission to use the one session of each model.
    pub(super) fn worker(&self) -> &Worker {
        &self.worker
    }
}

/// The model's raw score of each row and column, row-major; `None` where it is not finite, or a required value is
/// missing.
///
/// # Errors
/// When the model fails on every row alike.
pub(super) fn raw_scores<'r>(
    model: &Model,
    worker: &Worker,
    rows: impl IntoIterator<Item = Row<'r>>,
) -> Result<Vec<Option<f32>>, ModelError> {
    let mut matrix: Matrix = model.matrix();
    let taken: Vec<bool> = rows.into_iter().map(|row| matrix.push(&row).is_ok()).collect();
    let scores = model.score(worker, &matrix)?;
    let mut scored = scores.values.chunks_exact(scores.columns.max(1));
    let mut raw = Vec::with_capacity(taken.len() * scores.columns);
    for taken in taken {
        match taken.then(|| scored.next()).flatten() {
            Some(row) => raw.extend(row.iter().map(|score| Some(*score).filter(|score| score.is_finite()))),
            None => raw.extend(std::iter::repeat_n(None, scores.columns)),
        }
    }
    Ok(raw)
}

/// The caller's answer for a raw score, if it is a valid one: a propensity lies in 0..=1, calibrated or not.
pub(super) fn answer(model: &Model, raw: f32) -> Option<f32> {
    if model.manifest().kind == ModelKind::Propensity {
        model.propensity(raw)?;
    }
    model.answer(raw)
}
