//! What computes the scores of a graph: the native engine where it matches ONNX Runtime, else ONNX Runtime.
//!
//! Start reading at [`choose`].

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::inputs::{Element, Plan};
use super::onnx::{Compared, OnnxFile, OnnxModel, Outputs, Tensor, TensorData};
use super::output::ScoreOutput;
use crate::ModelError;
use native::{Disagreement, InputPart, NativeModel, PROBES, REVISION, Side, Unsupported};
use work::Worker;
use work::priority::yield_if_due;

/// Rows per run while an engine is compared with ONNX Runtime. Few, so that runs are short compared with calls.
const RUN_ROWS: usize = 64;

/// Seed of the probe rows: the same file gets the same rows everywhere.
const SEED: u64 = 0x70_72_6F_66_66_65_72;

/// What computes the scores of a graph.
#[derive(Debug, Clone)]
pub enum Engine {
    /// The native engine for the graph's trees, linear model or MLP. It was verified against ONNX Runtime at load.
    Native(Arc<NativeModel>),
    /// ONNX Runtime, and why.
    OnnxRuntime(NotNative),
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

    /// The reason in a word; `verified` for the native engine.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Native(_) => "verified",
            Self::OnnxRuntime(NotNative::Unsupported(_)) => "unsupported",
            Self::OnnxRuntime(NotNative::Disagreement(_)) => "disagreement",
        }
    }
}

/// Why ONNX Runtime serves a graph.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotNative {
    /// The native engine does not support the graph.
    #[error("{0}")]
    Unsupported(Arc<Unsupported>),
    /// The native engine and ONNX Runtime give different scores.
    #[error("the native engine disagrees: {0}")]
    Disagreement(Arc<str>),
}

/// The engines made for the outputs of a graph, each with the rounding error of its scores. Each is made once and kept
/// while the graph is loaded.
#[derive(Debug, Default)]
pub(super) struct Engines(Mutex<Vec<(ScoreOutput, Engine, f64)>>);

impl Engines {
    pub(super) fn get(&self, output: &ScoreOutput, make: impl FnOnce() -> (Engine, f64)) -> (Engine, f64) {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, engine, rounding)) = made.iter().find(|(of, ..)| of == output) {
            return (engine.clone(), *rounding);
        }
        let (engine, rounding) = make();
        made.push((output.clone(), engine.clone(), rounding));
        (engine, rounding)
    }

    /// Whether the native engine serves every output asked for, so that no session is needed.
    pub(super) fn all_native(&self) -> bool {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !made.is_empty() && made.iter().all(|(_, engine, _)| matches!(engine, Engine::Native(_)))
    }
}

/// Reads the graph in `file` and compares it with ONNX Runtime's `reference`.
///
/// The comparison runs in a separate session, since the others may be serving.
pub(super) fn choose(file: &OnnxFile, reference: &OnnxModel, output: &ScoreOutput, plan: &Plan) -> Engine {
    match verified(file, reference, output, plan) {
        Ok(engine) => Engine::Native(Arc::new(engine)),
        Err(why) => Engine::OnnxRuntime(why),
    }
}

/// The native engine, if it matches the reference or is known to for these bytes.
fn verified(
    file: &OnnxFile,
    reference: &OnnxModel,
    output: &ScoreOutput,
    plan: &Plan,
) -> Result<NativeModel, NotNative> {
    yield_if_due();
    // A verdict on the graph's bytes does not cover other files.
    if !reference.is_whole() {
        return Err(unsupported("it keeps weights in other files".to_owned()));
    }
    let engine = native(file.bytes.clone(), output, plan)?;
    let asked = format!("{REVISION} {output:?} {}", plan.description());
    match reference.known().compared(file.digest, &asked) {
        Some(Compared::Equal) => return Ok(engine),
        Some(Compared::Differs(how)) => return Err(NotNative::Disagreement(how.into())),
        None => yield_if_due(),
    }
    let rows = engine.probe_rows(PROBES, true, SEED);
    let found = engine.verify(&rows, |rows| answers(reference, output, plan, &engine, rows));
    match &found {
        Ok(()) => reference.learn(file, &asked, Compared::Equal),
        // Proves nothing about the graph.
        Err(Disagreement::NoReference(_)) => {}
        Err(how @ (Disagreement::Count { .. } | Disagreement::Score { .. })) => {
            reference.learn(file, &asked, Compared::Differs(how.to_string()));
        }
    }
    found.map(|()| engine).map_err(|how| NotNative::Disagreement(how.to_string().into()))
}

fn unsupported(why: String) -> NotNative {
    NotNative::Unsupported(Arc::new(Unsupported { node: "graph".to_owned(), why }))
}

fn native(bytes: Bytes, output: &ScoreOutput, plan: &Plan) -> Result<NativeModel, NotNative> {
    let parts = plan.tensors.iter();
    let parts: Vec<InputPart<'_>> =
        parts.map(|tensor| InputPart { name: &tensor.name, columns: tensor.columns.len() }).collect();
    let engine = NativeModel::read_shared(bytes, &output.name, &parts)
        .map_err(|why| NotNative::Unsupported(Arc::new(why)))?;
    let column =
        output.column(engine.labels(), engine.width()).map_err(|error| unsupported(error.to_string()))?;
    let sides: Vec<Side> = plan.sides().collect();
    let engine = engine.grouped(&sides);
    match column {
        None => Ok(engine),
        Some(column) => engine.only(column).ok_or_else(|| unsupported(format!("it has no column {column}"))),
    }
}

/// ONNX Runtime's scores of rows in the native engine's format.
fn answers(
    onnx: &OnnxModel,
    output: &ScoreOutput,
    plan: &Plan,
    engine: &NativeModel,
    rows: &[f64],
) -> Result<Vec<f32>, ModelError> {
    let (onnx, worker) = (onnx.with_own_session()?, Worker::only());
    let width: usize = plan.tensors.iter().map(|tensor| tensor.columns.len()).sum();
    let mut scores = Vec::with_capacity(rows.len() / width.max(1) * output.columns());
    for rows in rows.chunks(plan.batch.unwrap_or(RUN_ROWS) * width.max(1)) {
        yield_if_due();
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
                Element::String => TensorData::String(texts(engine, columns.start, values())),
            };
            tensor.of(data, batch)
        });
        let tensors: Vec<Tensor<'_>> = tensors.collect();
        scores.extend(run(&onnx, &worker, output, &tensors, batch, kept)?);
    }
    Ok(scores)
}

/// The texts of a tensor that has one column, at position `first` of a row.
fn texts(engine: &NativeModel, first: usize, values: impl Iterator<Item = f64>) -> Cow<'static, [String]> {
    let known = || engine.vocabulary(first).into_iter().flatten();
    let mut by_place = vec![String::new(); known().count()];
    known().for_each(|(text, place)| by_place[*place].clone_from(text));
    // Longer than any text in the vocabulary, so it is unknown.
    let unknown = "?".repeat(by_place.iter().map(String::len).max().unwrap_or(0) + 1);
    let text = |value: f64| {
        let place = (value >= 0.0).then_some(value as usize);
        place.and_then(|place| by_place.get(place)).unwrap_or(&unknown).clone()
    };
    values.map(text).collect()
}

/// Runs the graph in the session of `worker`. Returns the scores of `rows` rows; the tensors have `batch`.
pub(super) fn run(
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
        message: "the run returned nothing".to_owned(),
    })?;
    output.read(value, batch, rows)
}
