//! What the gates share: the version under judgement, read and loaded once and no sooner than a gate asks.

use std::cell::OnceCell;
use std::fs;
use std::sync::Arc;

use super::Candidate;
use super::rows::{self, Generated};
use crate::document::Problems;
use crate::feature::Row;
use crate::model::onnx::OnnxModel;
use crate::model::{Manifest, Matrix, Model, ModelError, ModelKind, Worker};
use crate::release::load::{Loaded, load_version};

/// The version under judgement.
pub(super) struct Bench<'a> {
    pub candidate: &'a Candidate<'a>,
    manifest: OnceCell<Result<Manifest, Problems>>,
    /// Kept, so that the graphs are loaded once however many gates need them.
    graphs: OnceCell<Vec<Arc<OnnxModel>>>,
    loaded: OnceCell<Result<Loaded, Problems>>,
    rows: OnceCell<Vec<Generated<'a>>>,
    worker: Worker,
}

impl<'a> Bench<'a> {
    pub fn new(candidate: &'a Candidate<'a>) -> Self {
        Self {
            candidate,
            manifest: OnceCell::new(),
            graphs: OnceCell::new(),
            loaded: OnceCell::new(),
            rows: OnceCell::new(),
            worker: Worker::only(),
        }
    }

    /// What problems call the version.
    pub fn label(&self) -> String {
        format!("{}/{}", self.candidate.name, self.candidate.version)
    }

    /// What problems call a file of the version.
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.label())
    }

    pub fn manifest(&self) -> Result<&Manifest, &Problems> {
        let read = || {
            let file = self.file("model.toml");
            let text = fs::read_to_string(self.candidate.directory.join("model.toml"))
                .map_err(|error| Problems::one(&file, None, format!("cannot be read: {error}")))?;
            Manifest::parse(&file, &text)
        };
        self.manifest.get_or_init(read).as_ref()
    }

    /// Keeps graphs in memory until the version is loaded with them.
    pub fn keep(&self, graphs: Vec<Arc<OnnxModel>>) {
        // Nobody keeps graphs twice; if one did, the first would do.
        let _ = self.graphs.set(graphs);
    }

    pub fn loaded(&self) -> Result<&Loaded, &Problems> {
        let Candidate { directory, name, version, schema, cache, .. } = *self.candidate;
        self.loaded.get_or_init(|| load_version(directory, name, version, schema, cache)).as_ref()
    }

    /// Generated rows, the same for every gate.
    pub fn rows(&self) -> &[Generated<'a>] {
        self.rows.get_or_init(|| rows::generate(self.candidate.schema, self.candidate.segments))
    }

    /// The right to use the one session of each model.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }
}

/// What the model itself says of each row and column, row-major; `None` where it is not finite, or the model needs a value that
/// is missing.
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

/// What a caller is told of a raw score, where it may be told at all: a propensity lies in 0..=1, calibrated or not.
pub(super) fn answer(model: &Model, raw: f32) -> Option<f32> {
    if model.manifest().kind == ModelKind::Propensity {
        model.propensity(raw)?;
    }
    model.answer(raw)
}
