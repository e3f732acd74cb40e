//! The native engine: tree ensembles, linear models and MLPs, evaluated without ONNX Runtime. Same answers, a fraction
//! of the time.
//!
//! Reads an ONNX graph of one of these kinds, with the nodes that exporters put around it ([`NativeModel::read`]).
//! Scores rows ([`NativeModel::score`]) and customers with offers ([`Factorised`]). Compares its answers with ONNX
//! Runtime's ([`NativeModel::verify`]); a model is served only if they match. Knows numbers and columns; knows nothing
//! of features, manifests or `ort`. A graph that it does not recognise is [`Unsupported`], and ONNX Runtime serves it.
//!
//! `onnx_graph` recognises a graph and returns an `ensemble`, a `linear` model or an `mlp`. Each implements
//! `evaluate::Evaluate`. `columns` turns values into their inputs; `finish` and `after` turn sums into scores.
//! `instructions` chooses the instruction set; all give the same bits. Start reading at [`NativeModel`].

mod after;
mod columns;
mod ensemble;
mod evaluate;
mod factorised;
mod finish;
mod instructions;
mod linear;
mod mlp;
mod onnx_graph;
mod probe;
mod real;
mod scratch;
mod vectors;
mod verify;

pub use columns::Number;
pub use factorised::{CustomerVectors, Factorised, Misfit, OfferVectors, Side};
pub use onnx_graph::{Attribute, Labels, proto};
pub use probe::{Element, UNKNOWN};
pub use scratch::Scratch;
pub use verify::{Disagreement, PROBES, TOLERANCE};

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use ensemble::Ensemble;
use evaluate::{Evaluate, with_evaluator};
use linear::Linear;
use mlp::Mlp;
use onnx_graph::Core;
use work::priority::yield_if_due;

/// The engine's version. Raise it with every change that may change answers, so that stored verdicts on the older
/// engine are not reused.
pub const REVISION: u32 = 1;

/// The number of trees in a graph, whether or not the native engine supports it.
pub fn tree_count(bytes: Bytes) -> usize {
    onnx_graph::tree_count(bytes)
}

/// Why ONNX Runtime serves a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{node}: {why}")]
pub struct Unsupported {
    /// The node: its operator and output; `graph` where there is none.
    pub node: String,
    /// The reason.
    pub why: String,
}

impl Unsupported {
    fn because(why: String) -> Self {
        Self { node: "graph".to_owned(), why }
    }
}

/// One output of a graph, computed by the native engine. Immutable; shared by all threads.
#[derive(Debug)]
pub struct NativeModel {
    evaluator: Evaluator,
    /// The values of a row, in order.
    elements: Vec<Element>,
    labels: Option<Labels>,
    /// For each value of a row, a sample of values at which conditions change.
    turning_points: Vec<Vec<f64>>,
    /// For each text in a row, the numbers of the texts that change scores.
    vocabularies: Vec<HashMap<String, usize>>,
    trees: usize,
    magnitude: f64,
}

#[derive(Debug)]
enum Evaluator {
    Float(Arc<Ensemble<f32>>),
    Double(Arc<Ensemble<f64>>),
    Linear(Linear),
    Mlp(Mlp),
}

impl Evaluator {
    fn width(&self) -> usize {
        with_evaluator!(self, |evaluator| evaluator.width())
    }

    /// `None` if the trees are shared.
    fn only(mut self, score: usize) -> Option<Self> {
        match &mut self {
            Self::Float(trees) => Arc::get_mut(trees)?.keep_only(score),
            Self::Double(trees) => Arc::get_mut(trees)?.keep_only(score),
            Self::Linear(linear) => linear.keep_only(score),
            Self::Mlp(mlp) => mlp.keep_only(score),
        }
        Some(self)
    }

    /// Linear models and MLPs add up by side. Trees are unaffected.
    fn grouped(self, sides: &[Side]) -> Self {
        match self {
            Self::Linear(linear) => Self::Linear(linear.grouped(sides)),
            Self::Mlp(mlp) => Self::Mlp(mlp.grouped(sides)),
            trees @ (Self::Float(_) | Self::Double(_)) => trees,
        }
    }

    fn layers(&self) -> usize {
        with_evaluator!(self, |evaluator| evaluator.layers())
    }

    fn score<T: Number>(&self, rows: &[T], row_width: usize, scratch: &mut Scratch, out: &mut [f32]) {
        with_evaluator!(self, |evaluator| evaluator.score(rows, row_width, scratch, out));
    }

    fn memory_bytes(&self) -> usize {
        with_evaluator!(self, |evaluator| evaluator.memory_bytes())
    }
}

/// An input tensor of the graph, as a part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputPart<'n> {
    /// The graph's name for it.
    pub name: &'n str,
    /// Its columns.
    pub columns: usize,
}

impl NativeModel {
    /// Reads the graph in `bytes`, up to `output`. A row consists of the columns of `inputs`, one after the other.
    /// `inputs` must be all inputs of the graph, in any order.
    ///
    /// # Errors
    /// The node that is not supported or is damaged. ONNX Runtime may still run the graph.
    pub fn read(bytes: &[u8], output: &str, inputs: &[InputPart<'_>]) -> Result<Self, Unsupported> {
        Self::read_shared(Bytes::copy_from_slice(bytes), output, inputs)
    }

    /// Does the same without copying the bytes.
    pub fn read_shared(bytes: Bytes, output: &str, inputs: &[InputPart<'_>]) -> Result<Self, Unsupported> {
        let found = onnx_graph::read(bytes, output, inputs)?;
        yield_if_due();
        let (features, after) = (found.features, found.after);
        let magnitude = match &found.core {
            Core::Trees(ensemble) => after.magnitude(ensemble.magnitude()),
            Core::Linear(_) | Core::Mlp { .. } => 1.0,
        };
        let mut turning_points = vec![Vec::new(); found.elements.len()];
        let (evaluator, trees) = match found.core {
            Core::Linear(weights) => {
                probe::usual_values(&features, &[-1.0, 0.0, 1.0], &mut turning_points);
                (Evaluator::Linear(Linear::new(features, weights, after)), 0)
            }
            Core::Mlp { first, deeper } => {
                // Far enough that sums lie on both sides of an activation's bend.
                probe::usual_values(&features, &[-3.0, -1.0, 0.0, 1.0, 3.0], &mut turning_points);
                (Evaluator::Mlp(Mlp::new(features, first, deeper, after)), 0)
            }
            Core::Trees(ensemble) if ensemble.double => {
                let trees = Ensemble::<f64>::new(&ensemble, &features, after);
                probe::turning_points(&ensemble, &trees.columns, &mut turning_points);
                (Evaluator::Double(Arc::new(trees)), ensemble.trees.len())
            }
            Core::Trees(ensemble) => {
                let trees = Ensemble::<f32>::new(&ensemble, &features, after);
                probe::turning_points(&ensemble, &trees.columns, &mut turning_points);
                (Evaluator::Float(Arc::new(trees)), ensemble.trees.len())
            }
        };
        let places = |texts: Vec<String>| texts.into_iter().zip(0..).collect();
        let vocabularies = found.vocabularies.into_iter().map(places).collect();
        let (elements, labels) = (found.elements, found.labels);
        let model = Self { evaluator, elements, labels, turning_points, vocabularies, trees, magnitude };
        if model.width() == 0 {
            return Err(Unsupported::because("it has no scores".to_owned()));
        }
        Ok(model)
    }

    /// Keeps one score of each row and drops the others. `None` if there is no such score.
    #[must_use]
    pub fn only(self, score: usize) -> Option<Self> {
        if score >= self.width() {
            return None;
        }
        Some(Self { evaluator: self.evaluator.only(score)?, ..self })
    }

    /// Makes linear models and MLPs add up by side, with one side per value of a row. Then [`NativeModel::score`] gives
    /// the bits that [`Factorised::score_pairs`] gives for the same split.
    #[must_use]
    pub fn grouped(self, sides: &[Side]) -> Self {
        Self { evaluator: self.evaluator.grouped(sides), ..self }
    }

    /// The number of values of a row.
    #[must_use]
    pub fn row_width(&self) -> usize {
        self.elements.len()
    }

    /// The type of each value of a row, as the graph declares it.
    #[must_use]
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// The number of scores of a row: the columns of the output.
    #[must_use]
    pub fn width(&self) -> usize {
        self.evaluator.width()
    }

    /// For a value of a row, the texts that change scores and their numbers. Any other text is [`UNKNOWN`].
    #[must_use]
    pub fn vocabulary(&self, value: usize) -> Option<&HashMap<String, usize>> {
        self.vocabularies.get(value)
    }

    /// The classes of the columns, where the output is a ZipMap; before [`NativeModel::only`].
    #[must_use]
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    /// The number that a row has for a text at a position: from the vocabulary, or [`UNKNOWN`].
    #[must_use]
    pub fn text(&self, value: usize, text: &str) -> f64 {
        let place = self.vocabularies.get(value).and_then(|vocabulary| vocabulary.get(text));
        place.map_or(UNKNOWN, |place| *place as f64)
    }

    /// The number of trees; 0 for a linear model or an MLP.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.trees
    }

    /// A bound of the sum of a score's absolute terms: the largest leaf of each tree and the steps behind them. 1 where
    /// no trees are summed.
    #[must_use]
    pub fn magnitude(&self) -> f64 {
        self.magnitude
    }

    /// The number of layers: 1 for a linear model, more for an MLP, 0 for trees.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.evaluator.layers()
    }

    /// Scores `rows` (rows × [`NativeModel::row_width`], row-major) into `out` (rows × [`NativeModel::width`]). NaN is
    /// a missing value. Doubles are rounded where the graph takes floats. If the lengths differ, the excess rows or
    /// scores are ignored.
    pub fn score<T: Number>(&self, rows: &[T], scratch: &mut Scratch, out: &mut [f32]) {
        let (row_width, width) = (self.row_width(), self.width());
        let count = (out.len() / width).min(rows.len().checked_div(row_width).unwrap_or(0));
        let (rows, out) = (&rows[..count * row_width], &mut out[..count * width]);
        self.evaluator.score(rows, row_width, scratch, out);
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let evaluator = self.evaluator.memory_bytes();
        let turning_points: usize =
            self.turning_points.iter().map(|points| size_of_val(points.as_slice())).sum();
        evaluator + turning_points + size_of_val(self.elements.as_slice())
    }
}

#[cfg(any(test, feature = "test-support"))]
pub mod samples;
#[cfg(test)]
mod tests;
