//! Ensembles of trees, linear models and perceptrons, evaluated without ONNX Runtime: the same answers at a fraction of its time.
//!
//! Owns the reading of an ONNX graph that is one of these with what exporters put around it ([`TreeModel::read`]), its
//! evaluation for rows ([`TreeModel::score`]) and for customers × offers ([`Factorised`]), and the check that its answers
//! are those of ONNX Runtime ([`TreeModel::verify`]), which must pass before anybody relies on it. Knows numbers and columns;
//! knows nothing of features, manifests or `ort`. Whatever it does not recognise is [`Unsupported`], and ONNX Runtime goes
//! on with that model.
//!
//! The way of a graph: `graph` recognises it, `ensemble` brings its trees into one form, `engine` holds them as `bits` (up to
//! 256 leaves) or `walk` (more) with the values of `leaves`, `columns` turns values into keys, `finish` and `after` turn
//! sums into scores. A linear model is `linear` instead of an `ensemble` and an `engine`, a perceptron `network`. `machine` chooses the instruction set; all give the same bits. Start reading at [`TreeModel`].

mod after;
mod bits;
mod columns;
mod engine;
mod ensemble;
mod factorised;
mod finish;
mod graph;
mod keys;
mod leaves;
mod linear;
mod machine;
mod network;
mod probe;
mod real;
mod scratch;
mod vectors;
mod verify;
mod walk;
mod word;

pub use columns::Number;
pub use factorised::{CustomerVectors, Factorised, Misfit, OfferVectors, Side};
pub use probe::{Element, UNKNOWN};
pub use scratch::Scratch;
pub use verify::{Disagreement, PROBES, TOLERANCE};

use std::collections::HashMap;

use bytes::Bytes;

use super::onnx::Labels;
use crate::priority::pause;
use engine::Engine;
use graph::Core;
use linear::Linear;
use network::Network;

/// The trees in a graph, whether or not an engine of ours knows it.
pub(super) fn tree_count(bytes: Bytes) -> usize {
    graph::tree_count(bytes)
}

/// Why a graph is left to ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{node}: {why}")]
pub struct Unsupported {
    /// The node: its operator and what it gives; `graph` where there is none.
    pub node: String,
    /// What it is about it.
    pub why: String,
}

impl Unsupported {
    fn because(why: String) -> Self {
        Self { node: "graph".to_owned(), why }
    }
}

/// One output of a graph, computed by an engine of our own. Immutable; shared by all threads.
#[derive(Debug)]
pub struct TreeModel {
    evaluator: Evaluator,
    /// What a row consists of, in its order.
    elements: Vec<Element>,
    labels: Option<Labels>,
    /// Values at which conditions turn, for each value of a row; a choice of them.
    turning_points: Vec<Vec<f64>>,
    /// The places of the texts that make a difference, for each value of a row that is a text.
    vocabularies: Vec<HashMap<String, usize>>,
    trees: usize,
    magnitude: f64,
}

#[derive(Debug)]
enum Evaluator {
    Float(Engine<f32>),
    Double(Engine<f64>),
    Linear(Linear),
    Network(Network),
}

/// A tensor that a graph takes, as a part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputPart<'n> {
    /// The graph's name for it.
    pub name: &'n str,
    /// Its columns.
    pub columns: usize,
}

impl TreeModel {
    /// Reads the graph in `bytes`, of which `output` is wanted. A row will be the columns of `inputs`, one after the other:
    /// all that the graph takes, in any order.
    ///
    /// # Errors
    /// What is not recognised, with the node: a graph of something else than trees, or trees that are damaged. ONNX Runtime
    /// may run it all the same.
    pub fn read(bytes: &[u8], output: &str, inputs: &[InputPart<'_>]) -> Result<Self, Unsupported> {
        Self::read_shared(Bytes::copy_from_slice(bytes), output, inputs)
    }

    /// The same without a copy of the bytes.
    pub(super) fn read_shared(
        bytes: Bytes,
        output: &str,
        inputs: &[InputPart<'_>],
    ) -> Result<Self, Unsupported> {
        let found = graph::read(bytes, output, inputs)?;
        pause();
        let (features, after) = (found.features, found.after);
        let magnitude = match &found.core {
            Core::Trees(ensemble) => after.magnitude(ensemble.magnitude()),
            Core::Linear(_) | Core::Network { .. } => 1.0,
        };
        let mut turning_points = vec![Vec::new(); found.elements.len()];
        let (evaluator, trees) = match found.core {
            Core::Linear(weights) => {
                probe::usual_values(&features, &[-1.0, 0.0, 1.0], &mut turning_points);
                (Evaluator::Linear(Linear::new(features, weights, after)), 0)
            }
            Core::Network { first, deeper } => {
                // So far that sums are on both sides of where activations bend.
                probe::usual_values(&features, &[-3.0, -1.0, 0.0, 1.0, 3.0], &mut turning_points);
                (Evaluator::Network(Network::new(features, first, deeper, after)), 0)
            }
            Core::Trees(ensemble) if ensemble.double => {
                let engine = Engine::<f64>::new(&ensemble, &features, after);
                probe::turning_points(&ensemble, &engine.columns, &mut turning_points);
                (Evaluator::Double(engine), ensemble.trees.len())
            }
            Core::Trees(ensemble) => {
                let engine = Engine::<f32>::new(&ensemble, &features, after);
                probe::turning_points(&ensemble, &engine.columns, &mut turning_points);
                (Evaluator::Float(engine), ensemble.trees.len())
            }
        };
        let places = |texts: Vec<String>| texts.into_iter().zip(0..).collect();
        let vocabularies = found.vocabularies.into_iter().map(places).collect();
        let (elements, labels) = (found.elements, found.labels);
        let model = Self { evaluator, elements, labels, turning_points, vocabularies, trees, magnitude };
        if model.width() == 0 {
            return Err(Unsupported::because("nothing comes out of it".to_owned()));
        }
        Ok(model)
    }

    /// Keeps one score of each row and drops the others; `None` where there is no such score.
    #[must_use]
    pub fn only(mut self, score: usize) -> Option<Self> {
        if score >= self.width() {
            return None;
        }
        match &mut self.evaluator {
            Evaluator::Float(engine) => engine.after.only = Some(score),
            Evaluator::Double(engine) => engine.after.only = Some(score),
            Evaluator::Linear(linear) => linear.after.only = Some(score),
            Evaluator::Network(network) => network.after.only = Some(score),
        }
        Some(self)
    }

    /// The same model for values of these sides, one for each value of a row: linear models and networks add up by side, so
    /// that [`TreeModel::score`] gives the bits that [`Factorised::score_pairs`] gives for the same split.
    #[must_use]
    pub fn grouped(mut self, sides: &[Side]) -> Self {
        self.evaluator = match self.evaluator {
            Evaluator::Linear(linear) => Evaluator::Linear(linear.grouped(sides)),
            Evaluator::Network(network) => Evaluator::Network(network.grouped(sides)),
            trees @ (Evaluator::Float(_) | Evaluator::Double(_)) => trees,
        };
        self
    }

    /// The values of a row.
    #[must_use]
    pub fn row_width(&self) -> usize {
        self.elements.len()
    }

    /// The type of each value of a row, as the graph has it.
    #[must_use]
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// The scores of a row: the columns of the output.
    #[must_use]
    pub fn width(&self) -> usize {
        match &self.evaluator {
            Evaluator::Float(engine) => engine.width(),
            Evaluator::Double(engine) => engine.width(),
            Evaluator::Linear(linear) => linear.width(),
            Evaluator::Network(network) => network.width(),
        }
    }

    /// The texts that make a difference for a value of a row, with the numbers that a row has for them; any other text is
    /// [`UNKNOWN`].
    #[must_use]
    pub fn vocabulary(&self, value: usize) -> Option<&HashMap<String, usize>> {
        self.vocabularies.get(value)
    }

    /// The classes of the columns, where the output is a ZipMap; before [`TreeModel::only`].
    #[must_use]
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    /// What a row has for a text at a place of it: its number in the vocabulary, or [`UNKNOWN`].
    #[must_use]
    pub fn text(&self, value: usize, text: &str) -> f64 {
        let place = self.vocabularies.get(value).and_then(|vocabulary| vocabulary.get(text));
        place.map_or(UNKNOWN, |place| *place as f64)
    }

    /// Trees; none where it is a linear model or a perceptron.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.trees
    }

    /// At most so much come the absolute values of a score's terms to: the largest leaf of each tree and what stands behind
    /// them; 1 where no trees are added up to the score.
    #[must_use]
    pub fn magnitude(&self) -> f64 {
        self.magnitude
    }

    /// Layers of sums: one of a linear model, more of a perceptron; none where it has trees.
    #[must_use]
    pub fn layers(&self) -> usize {
        match &self.evaluator {
            Evaluator::Float(_) | Evaluator::Double(_) => 0,
            Evaluator::Linear(_) => 1,
            Evaluator::Network(network) => network.layers(),
        }
    }

    /// Scores `rows` (rows × [`TreeModel::row_width`], row-major) into `out` (rows × [`TreeModel::width`]). NaN is a missing
    /// value. Doubles that a graph takes as floats are rounded. Rows without room, and room without rows, are left alone.
    pub fn score<T: Number>(&self, rows: &[T], scratch: &mut Scratch, out: &mut [f32]) {
        let (row_width, width) = (self.row_width(), self.width());
        let count = (out.len() / width).min(rows.len().checked_div(row_width).unwrap_or(0));
        let (rows, out) = (&rows[..count * row_width], &mut out[..count * width]);
        match &self.evaluator {
            Evaluator::Float(engine) => engine.score(rows, row_width, scratch, out),
            Evaluator::Double(engine) => engine.score(rows, row_width, scratch, out),
            Evaluator::Linear(linear) => linear.score(rows, row_width, scratch, out),
            Evaluator::Network(network) => network.score(rows, row_width, scratch, out),
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let engine = match &self.evaluator {
            Evaluator::Float(engine) => engine.memory_bytes(),
            Evaluator::Double(engine) => engine.memory_bytes(),
            Evaluator::Linear(linear) => linear.memory_bytes(),
            Evaluator::Network(network) => network.memory_bytes(),
        };
        let turning_points: usize =
            self.turning_points.iter().map(|points| size_of_val(points.as_slice())).sum();
        engine + turning_points + size_of_val(self.elements.as_slice())
    }
}

#[cfg(test)]
mod against_onnx_runtime;
#[cfg(test)]
mod tests;
