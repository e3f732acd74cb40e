//! A graph of a version and what answers for it: an engine of our own where it says what ONNX Runtime says, else ONNX Runtime.
//!
//! Start reading at [`Graph::new`] for how the engine is chosen, and at [`Graph::score`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::inputs::{Element, Plan};
use super::matrix::{Numbers, Rows};
use super::onnx::{OnnxFile, OnnxModel, Outputs, Tensor, TensorData, ValueKind};
use super::output::ScoreOutput;
use super::rounding;
use super::trees::{Disagreement, InputPart, PROBES, Scratch, Side, TreeModel, Unsupported, tree_count};
use super::{ModelError, Worker};
use crate::priority::pause;

/// Rows that go into one run of a graph without a fixed batch, so that the memory of a run is bounded.
pub(super) const BLOCK_ROWS: usize = 4096;

/// Rows that go into one run while an engine is held against ONNX Runtime, so that runs are short beside calls.
const RUN_ROWS: usize = 64;

/// Seed of the rows that an engine is tried with: the same for the same file, everywhere.
const SEED: u64 = 0x70_72_6F_66_66_65_72;

thread_local! {
    /// Room that scoring with trees needs, kept by each worker.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What computes the scores of a graph.
#[derive(Debug, Clone)]
pub enum Engine {
    /// The trees of the graph, its linear model or its perceptron, verified against ONNX Runtime when they were loaded.
    Native(Arc<TreeModel>),
    /// ONNX Runtime, and why.
    OnnxRuntime(Why),
}

impl Engine {
    /// Its name: `native` or `onnxruntime`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native(_) => "native",
            Self::OnnxRuntime(_) => "onnxruntime",
        }
    }

    /// Why it is not the native one, in a word; `verified` where it is.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Native(_) => "verified",
            Self::OnnxRuntime(Why::Unsupported(_)) => "unsupported",
            Self::OnnxRuntime(Why::Disagreement(_)) => "disagreement",
        }
    }
}

/// Why ONNX Runtime serves a graph.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Why {
    /// No engine of ours knows such a graph.
    #[error("{0}")]
    Unsupported(Arc<Unsupported>),
    /// The native engine says something else than ONNX Runtime.
    #[error("the native engine disagrees: {0}")]
    Disagreement(Arc<Disagreement>),
}

/// The engines that were made for the outputs of a graph, each with what rounding may do to its scores: made once, kept as long as the
/// graph is loaded.
#[derive(Debug, Default)]
pub(super) struct Engines(Mutex<Vec<(ScoreOutput, Engine, f64)>>);

impl Engines {
    fn get(&self, output: &ScoreOutput, make: impl FnOnce() -> (Engine, f64)) -> (Engine, f64) {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, engine, rounding)) = made.iter().find(|(of, ..)| of == output) {
            return (engine.clone(), *rounding);
        }
        let (engine, rounding) = make();
        made.push((output.clone(), engine.clone(), rounding));
        (engine, rounding)
    }

    /// Whether an engine of ours serves all that was asked for, so that ONNX Runtime need not be ready.
    pub(super) fn all_native(&self) -> bool {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !made.is_empty() && made.iter().all(|(_, engine, _)| matches!(engine, Engine::Native(_)))
    }
}

/// A graph, the score among its outputs, and what computes it.
#[derive(Debug)]
pub(super) struct Graph {
    onnx: Arc<OnnxModel>,
    pub(super) output: ScoreOutput,
    engine: Engine,
    rounding: f64,
}

impl Graph {
    /// The graph with the engine that serves it: the native one, if it knows such a graph and answers [`PROBES`] rows as ONNX Runtime
    /// does. Sessions that then serve nobody are given up.
    pub(super) fn new(
        name: &str,
        file: &OnnxFile,
        onnx: Arc<OnnxModel>,
        output: ScoreOutput,
        plan: &Plan,
    ) -> Self {
        let mut fresh = false;
        let (engine, rounding) = onnx.engines().get(&output, || {
            let began = Instant::now();
            fresh = true;
            let engine = choose(file, &onnx, &output, plan);
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
                Engine::OnnxRuntime(why @ Why::Unsupported(_)) => {
                    tracing::debug!(graph = name, %why, "served by ONNX Runtime");
                }
                Engine::OnnxRuntime(why) => {
                    tracing::warn!(graph = name, %why, milliseconds, "served by ONNX Runtime");
                }
            }
            let rounding = rounding_of(&engine, file, &onnx, &output);
            (engine, rounding)
        });
        if fresh && onnx.engines().all_native() {
            onnx.drop_sessions();
        } else if fresh && onnx.make_first(1).is_err() {
            // Whoever runs it will be told why.
            tracing::debug!(graph = name, "ONNX Runtime has no session yet");
        }
        Self { onnx, output, engine, rounding }
    }

    /// How far a score may be off because it was added up in 32 bits; see [`rounding`].
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

    /// Scores the rows of `range`, which may be no more than the graph takes at once: range × columns, row-major.
    ///
    /// # Errors
    /// A worker without a session, a graph that fails or answers in another shape.
    pub(super) fn score(
        &self,
        worker: &Worker,
        plan: &Plan,
        rows: &Rows<'_>,
        range: &Range<usize>,
    ) -> Result<Vec<f32>, ModelError> {
        match &self.engine {
            Engine::Native(trees) => {
                let mut scores = vec![f32::NAN; range.len() * trees.width()];
                SCRATCH.with_borrow_mut(|scratch| match rows.numbers(range, trees) {
                    Numbers::Floats(values) => trees.score(values, scratch, &mut scores),
                    Numbers::Doubles(values) => trees.score(&values, scratch, &mut scores),
                });
                Ok(scores)
            }
            Engine::OnnxRuntime(_) => {
                let batch = plan.batch.unwrap_or(range.len());
                run(&self.onnx, worker, &self.output, &rows.tensors(range, batch), batch, range.len())
            }
        }
    }
}

fn run(
    onnx: &OnnxModel,
    worker: &Worker,
    output: &ScoreOutput,
    tensors: &[Tensor<'_>],
    batch: usize,
    rows: usize,
) -> Result<Vec<f32>, ModelError> {
    let values = onnx.run(worker, tensors, Outputs::Only(&[output.index]))?;
    let value = values.into_iter().next().ok_or_else(|| ModelError::Output {
        name: output.name.clone(),
        message: "nothing came back".to_owned(),
    })?;
    output.read(value, batch, rows)
}

/// How far the scores of a graph may be off by rounding alone.
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

/// Reads the graph in `file` and holds it against what ONNX Runtime makes of it, which is `reference`.
///
/// The comparison runs in a session of its own, since another may be serving.
fn choose(file: &OnnxFile, reference: &OnnxModel, output: &ScoreOutput, plan: &Plan) -> Engine {
    match verified(file, reference, output, plan) {
        Ok(trees) => Engine::Native(Arc::new(trees)),
        Err(why) => Engine::OnnxRuntime(why),
    }
}

/// The engine, if it answers as the reference does, or did before in this process for the same bytes.
fn verified(
    file: &OnnxFile,
    reference: &OnnxModel,
    output: &ScoreOutput,
    plan: &Plan,
) -> Result<TreeModel, Why> {
    pause();
    let trees = native(file.bytes.clone(), output, plan)?;
    let asked = format!("{output:?} {}", plan.in_words());
    if !reference.known().is_verified(file.digest, &asked) {
        pause();
        let rows = trees.probe_rows(PROBES, true, SEED);
        trees
            .verify(&rows, |rows| answers(reference, output, plan, &trees, rows))
            .map_err(|disagreement| Why::Disagreement(Arc::new(disagreement)))?;
        reference.learn(file, asked);
    }
    Ok(trees)
}

fn native(bytes: Bytes, output: &ScoreOutput, plan: &Plan) -> Result<TreeModel, Why> {
    let unsupported = |why: String| Why::Unsupported(Arc::new(Unsupported { node: "graph".to_owned(), why }));
    let parts = plan.tensors.iter();
    let parts: Vec<InputPart<'_>> =
        parts.map(|tensor| InputPart { name: &tensor.name, columns: tensor.columns.len() }).collect();
    let trees =
        TreeModel::read_shared(bytes, &output.name, &parts).map_err(|why| Why::Unsupported(Arc::new(why)))?;
    let column =
        output.column(trees.labels(), trees.width()).map_err(|error| unsupported(error.to_string()))?;
    let sides: Vec<Side> = plan.sides().collect();
    let trees = trees.grouped(&sides);
    match column {
        None => Ok(trees),
        Some(column) => trees.only(column).ok_or_else(|| unsupported(format!("it has no column {column}"))),
    }
}

/// What ONNX Runtime says of rows as `trees` takes them.
fn answers(
    onnx: &OnnxModel,
    output: &ScoreOutput,
    plan: &Plan,
    trees: &TreeModel,
    rows: &[f64],
) -> Result<Vec<f32>, ModelError> {
    let (onnx, worker) = (onnx.apart()?, Worker::only());
    let width: usize = plan.tensors.iter().map(|tensor| tensor.columns.len()).sum();
    let mut scores = Vec::with_capacity(rows.len() / width.max(1) * output.columns());
    for rows in rows.chunks(plan.batch.unwrap_or(RUN_ROWS) * width.max(1)) {
        pause();
        let kept = rows.len() / width.max(1);
        let batch = plan.batch.unwrap_or(kept);
        let mut padded = rows.to_vec();
        while padded.len() < batch * width {
            padded.extend_from_slice(&rows[rows.len() - width..]);
        }
        let mut from = 0;
        let tensors = plan.tensors.iter().map(|tensor| {
            let columns = from..from + tensor.columns.len();
            from = columns.end;
            let values = || padded.chunks_exact(width).flat_map(|row| row[columns.clone()].iter().copied());
            let data = match tensor.element {
                Element::Float64 => TensorData::Float64(values().collect()),
                Element::Int64 => TensorData::Int64(values().map(|value| value as i64).collect()),
                Element::Int32 => TensorData::Int32(values().map(|value| value as i32).collect()),
                Element::Float32 => TensorData::Float32(values().map(|value| value as f32).collect()),
                Element::Bool => TensorData::Bool(values().map(|value| value != 0.0).collect()),
                Element::String => TensorData::String(texts(trees, columns.start, values())),
            };
            tensor.of(data, batch)
        });
        let tensors: Vec<Tensor<'_>> = tensors.collect();
        scores.extend(run(&onnx, &worker, output, &tensors, batch, kept)?);
    }
    Ok(scores)
}

/// The texts of a tensor that begins at the value `first` of a row and has one column.
fn texts(trees: &TreeModel, first: usize, values: impl Iterator<Item = f64>) -> Cow<'static, [String]> {
    let known = || trees.vocabulary(first).into_iter().flatten();
    let mut by_place = vec![String::new(); known().count()];
    known().for_each(|(text, place)| by_place[*place].clone_from(text));
    // Longer than any that makes a difference.
    let unknown = "?".repeat(by_place.iter().map(String::len).max().unwrap_or(0) + 1);
    let text = |value: f64| {
        let place = (value >= 0.0).then_some(value as usize);
        place.and_then(|place| by_place.get(place)).unwrap_or(&unknown).clone()
    };
    values.map(text).collect()
}

#[cfg(test)]
mod tests;
