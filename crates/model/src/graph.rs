//! A graph of a version: the output that is the score, and the engine that computes it.
//!
//! Start reading at [`Graph::score`]; [`super::engine`] chooses the engine.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::cache::LoadedGraph;
use super::engine::{Engine, NotNative, choose, run};
use super::inputs::Plan;
use super::matrix::{Numbers, Rows};
use super::onnx::{OnnxFile, OnnxModel, ValueKind};
use super::output::ScoreOutput;
use super::rounding;
use crate::ModelError;
use native::{Scratch, tree_count};
use work::Worker;

/// The most rows per run of a graph without a fixed batch. It bounds the memory of a run.
pub(super) const BLOCK_ROWS: usize = 4096;

thread_local! {
    /// Scratch memory of the native engine, one per thread.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A graph, its score output, and the engine that serves it.
#[derive(Debug)]
pub(super) struct Graph {
    loaded: Arc<LoadedGraph>,
    pub(super) output: ScoreOutput,
    engine: Engine,
    rounding: f64,
}

impl Graph {
    /// Chooses the engine for a graph. Sessions that it does not need are dropped.
    pub(super) fn new(
        name: &str,
        file: &OnnxFile,
        loaded: Arc<LoadedGraph>,
        output: ScoreOutput,
        plan: &Plan,
    ) -> Self {
        let onnx = loaded.onnx();
        let mut fresh = false;
        let (engine, rounding) = loaded.engines().get(&output, || {
            let began = Instant::now();
            fresh = true;
            let engine = choose(file, onnx, &output, plan);
            let milliseconds = began.elapsed().as_millis() as u64;
            match &engine {
                Engine::Native(trees) => tracing::debug!(
                    graph = name,
                    trees = trees.trees(),
                    layers = trees.layers(),
                    bytes = trees.memory_bytes(),
                    milliseconds,
                    "served by the native engine"
                ),
                Engine::OnnxRuntime(why @ NotNative::Unsupported(_)) => {
                    tracing::debug!(graph = name, %why, "served by ONNX Runtime");
                }
                Engine::OnnxRuntime(why) => {
                    tracing::warn!(graph = name, %why, milliseconds, "served by ONNX Runtime");
                }
            }
            let rounding = rounding_of(&engine, file, onnx, &output);
            (engine, rounding)
        });
        if fresh && loaded.is_native() {
            onnx.drop_sessions();
        } else if fresh && onnx.make_first(1).is_err() {
            // The caller that runs it gets the error.
            tracing::debug!(graph = name, "ONNX Runtime has no session yet");
        }
        Self { loaded, output, engine, rounding }
    }

    /// The rounding error that 32-bit sums may leave in a score; see [`rounding`].
    pub(super) fn rounding(&self) -> f64 {
        self.rounding
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Scores per row.
    pub(super) fn columns(&self) -> usize {
        self.output.columns()
    }

    /// Scores the rows of `range`, at most one batch of the graph: range × columns, row-major.
    ///
    /// # Errors
    /// A worker without a session; a graph that fails or returns another shape.
    pub(super) fn score(
        &self,
        worker: &Worker,
        plan: &Plan,
        rows: &Rows<'_>,
        range: &Range<usize>,
    ) -> Result<Vec<f32>, ModelError> {
        match &self.engine {
            Engine::Native(engine) => {
                let mut scores = vec![f32::NAN; range.len() * engine.width()];
                SCRATCH.with_borrow_mut(|scratch| match rows.numbers(range, engine) {
                    Numbers::Floats(values) => engine.score(values, scratch, &mut scores),
                    Numbers::Doubles(values) => engine.score(&values, scratch, &mut scores),
                });
                Ok(scores)
            }
            Engine::OnnxRuntime(_) => {
                let batch = plan.batch.unwrap_or(range.len());
                run(self.loaded.onnx(), worker, &self.output, &rows.tensors(range, batch), batch, range.len())
            }
        }
    }
}

/// How far rounding may move the scores of a graph.
fn rounding_of(engine: &Engine, file: &OnnxFile, onnx: &OnnxModel, output: &ScoreOutput) -> f64 {
    let sums = match engine {
        Engine::Native(trees) => match trees.trees() {
            0 => rounding::bound(rounding::USUAL_TERMS, 1.0),
            trees_in_all => rounding::bound(trees_in_all, trees.magnitude()),
        },
        Engine::OnnxRuntime(_) => {
            rounding::bound(rounding::USUAL_TERMS + tree_count(file.bytes.clone()), 1.0)
        }
    };
    let kind = onnx.signature().outputs.get(output.index).map(|spec| &spec.kind);
    if let Some(ValueKind::Tensor(element)) = kind { sums + rounding::of_type(*element) } else { sums }
}

#[cfg(test)]
mod tests;
