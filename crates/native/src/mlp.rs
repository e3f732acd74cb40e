//! MLPs: layers of weighted sums with an activation between them, in floats.
//!
//! The units of the first layer are added by side ([`Side`]), so that those of a customer and of an offer can be
//! computed apart. Each unit adds its inputs in order, for any number of rows and any instruction set. So all ways give
//! the same bits. Start reading at [`Mlp::score`].

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use std::sync::Arc;

use crate::after::After;
use crate::columns::{Feature, Number};
use crate::evaluate::Evaluate;
use crate::factorised::{Side, Wanted};
use crate::finish::logistic;
use crate::instructions::{Instructions, Kernel, SIMD_WIDTH};
use crate::linear::SIDES;
use crate::scratch::Scratch;
use crate::vectors::InstructionSet;

/// Rows that pass the layers together, so that their data stays in the nearest caches.
const BLOCK: usize = 64;

/// The activation between two layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    Relu,
    /// Multiplies values below 0 by this.
    LeakyRelu(f32),
    Sigmoid,
    Tanh,
}

/// A dense layer of units.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    inputs: usize,
    outputs: usize,
    /// The biases, [`SIMD_WIDTH`] units at a time. The padding beyond the outputs is 0, here and in `weights`.
    bias: Vec<[f32; SIMD_WIDTH]>,
    /// The weights of each input, [`SIMD_WIDTH`] units at a time.
    weights: Vec<[f32; SIMD_WIDTH]>,
}

/// An MLP, ready to score.
#[derive(Debug, Clone)]
pub(super) struct Mlp {
    features: Vec<Feature>,
    /// Whether the columns are the row's values, unchanged.
    plain: bool,
    /// The first layer by side: the input columns of each side, in order, and its part.
    first: [(Vec<u32>, Layer); 3],
    /// The other layers, each with the activation before it.
    deeper: Arc<[(Activation, Layer)]>,
    pub(super) after: After,
    pub(super) instructions: Instructions,
}

/// One side's part of the first layer's units. Its memory is reused.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerUnits {
    values: Vec<f32>,
    hidden: Vec<f32>,
}

impl Layer {
    /// `bias` has one value per output; `weights` is inputs × outputs.
    pub(super) fn new(bias: &[f32], weights: &[f32]) -> Self {
        let outputs = bias.len();
        let inputs = weights.len().checked_div(outputs).unwrap_or(0);
        Self::of(inputs, bias, |input, output| weights[input * outputs + output])
    }

    fn of(inputs: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        let outputs = bias.len();
        let blocks = outputs.div_ceil(SIMD_WIDTH);
        let unit =
            |block: usize, unit: usize| Some(block * SIMD_WIDTH + unit).filter(|output| *output < outputs);
        let units = |block: usize, value: &dyn Fn(usize) -> f32| {
            std::array::from_fn(|at| unit(block, at).map_or(0.0, value))
        };
        let weights = (0..blocks).flat_map(|block| {
            (0..inputs)
                .map(move |input| (block, input))
                .map(|(block, input)| units(block, &|output| weight(input, output)))
        });
        Self {
            inputs,
            outputs,
            bias: (0..blocks).map(|block| units(block, &|output| bias[output])).collect(),
            weights: weights.collect(),
        }
    }

    fn weight(&self, input: usize, output: usize) -> f32 {
        self.weights[output / SIMD_WIDTH * self.inputs + input][output % SIMD_WIDTH]
    }

    /// The number of units.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The number of units, padded to a multiple of [`SIMD_WIDTH`].
    fn stride(&self) -> usize {
        self.bias.len() * SIMD_WIDTH
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(self.bias.as_slice()) + size_of_val(self.weights.as_slice())
    }
}

impl Mlp {
    /// All columns count as the customer's until [`Mlp::grouped`] is called. `features` has one entry per input of
    /// `first`.
    pub(super) fn new(
        features: Vec<Feature>,
        first: Layer,
        deeper: Vec<(Activation, Layer)>,
        after: After,
    ) -> Self {
        let outputs = first.outputs;
        let nothing = || (Vec::new(), Layer::of(0, &vec![0.0; outputs], |_, _| 0.0));
        let all = (0..features.len() as u32).collect();
        let first = [(all, first), nothing(), nothing()];
        let plain = features.iter().all(|feature| feature.steps.is_empty());
        Self { features, plain, first, deeper: deeper.into(), after, instructions: Instructions::best() }
    }

    /// The same MLP with its units added by these sides, one per value of a row.
    pub(super) fn grouped(mut self, sides: &[Side]) -> Self {
        let outputs = self.first[0].1.outputs;
        let bias: Vec<f32> = self.first[0].1.bias.iter().flatten().copied().take(outputs).collect();
        let place = |column: u32| {
            let mut parts = self.first.iter();
            parts.find_map(|(columns, layer)| Some((layer, columns.iter().position(|own| *own == column)?)))
        };
        let first = SIDES.map(|side| {
            let own = |(_, feature): &(usize, &Feature)| sides.get(feature.input) == Some(&side);
            let columns = self.features.iter().enumerate().filter(own).map(|(column, _)| column as u32);
            let columns: Vec<u32> = columns.collect();
            let places: Vec<_> = columns.iter().copied().filter_map(place).collect();
            // The bias must be added once: it is part of the customer's side.
            let bias = if side == Side::Customer { bias.clone() } else { vec![0.0; outputs] };
            let layer = Layer::of(places.len(), &bias, |input, output| {
                let (layer, at) = places[input];
                layer.weight(at, output)
            });
            (columns, layer)
        });
        self.first = first;
        self
    }

    /// Whether any column belongs to `side`.
    pub(super) fn has_columns(&self, side: Side) -> bool {
        !self.first[side as usize].0.is_empty()
    }

    fn last(&self) -> &Layer {
        self.deeper.last().map_or(&self.first[0].1, |(_, layer)| layer)
    }

    /// The contribution of one side's values to the units of the first layer: rows × [`Layer::stride`].
    pub(super) fn part<T: Number>(&self, side: Side, rows: &[T], width: usize, sums: &mut LayerUnits) {
        self.first_layer(side, rows, width, &mut sums.values, &mut sums.hidden);
    }

    fn first_layer<T: Number>(
        &self,
        side: Side,
        rows: &[T],
        width: usize,
        values: &mut Vec<f32>,
        sums: &mut Vec<f32>,
    ) {
        let (columns, layer) = &self.first[side as usize];
        let rows = rows.chunks_exact(width.max(1));
        sums.resize(rows.len() * layer.stride(), 0.0);
        values.clear();
        for row in rows {
            let features = columns.iter().map(|column| &self.features[*column as usize]);
            if self.plain {
                values.extend(features.map(|feature| row[feature.input].to_f32()));
            } else {
                values.extend(features.map(|feature| feature.value(row) as f32));
            }
        }
        self.instructions.run(Multiply {
            layer,
            activation: None,
            rows: values,
            stride: columns.len(),
            out: sums,
        });
    }

    /// Scores a customer with some offers from their parts; `offers` holds those of all offers. Returns whether all
    /// wanted parts exist.
    pub(super) fn combine<T: Number>(
        &self,
        customer: &LayerUnits,
        offers: &LayerUnits,
        wanted: Wanted<'_, T>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> bool {
        let (stride, customer) = (self.first[0].1.stride(), &customer.hidden);
        let Wanted { offers: wanted, pairs, row_width: width } = wanted;
        let there = |offer: &usize| (offer + 1) * stride <= offers.hidden.len();
        if customer.len() != stride || !wanted.iter().all(there) {
            return false;
        }
        let Scratch { mlp: LayerUnits { values, hidden }, next, .. } = scratch;
        let blocks = wanted.chunks(BLOCK).zip(out.chunks_mut(BLOCK * self.width()));
        for (block, (wanted, out)) in blocks.enumerate() {
            hidden.clear();
            for offer in wanted {
                let offer = &offers.hidden[offer * stride..][..stride];
                hidden.extend(customer.iter().zip(offer).map(|(customer, offer)| customer + offer));
            }
            if self.has_columns(Side::Pair) {
                let pairs = &pairs[block * BLOCK * width..][..wanted.len() * width];
                self.first_layer(Side::Pair, pairs, width, values, next);
                add(hidden, next);
            }
            self.finish(hidden, next, out);
        }
        true
    }

    /// Computes the scores from the units of the first layer.
    fn finish(&self, hidden: &mut Vec<f32>, next: &mut Vec<f32>, out: &mut [f32]) {
        let mut stride = self.first[0].1.stride();
        for (activation, layer) in &*self.deeper {
            let count = hidden.len().checked_div(stride).unwrap_or(0);
            next.resize(count * layer.stride(), 0.0);
            let activation = Some(*activation);
            self.instructions.run(Multiply { layer, activation, rows: hidden, stride, out: next });
            std::mem::swap(hidden, next);
            stride = layer.stride();
        }
        let outputs = self.last().outputs;
        for (row, out) in hidden.chunks_exact_mut(stride).zip(out.chunks_exact_mut(self.width())) {
            self.after.row(&mut row[..outputs], out);
        }
        // Rust leaves the sign and payload of a NaN to the compiler, which may swap the factors of a product on one
        // machine only (<https://doc.rust-lang.org/std/primitive.f32.html#nan-bit-patterns>).
        for score in out {
            *score = if score.is_nan() { f32::NAN } else { *score };
        }
    }
}

impl Evaluate for Mlp {
    fn width(&self) -> usize {
        self.after.width(self.last().outputs)
    }

    fn keep_only(&mut self, score: usize) {
        self.after.only = Some(score);
    }

    fn layers(&self) -> usize {
        1 + self.deeper.len()
    }

    fn score<T: Number>(&self, rows: &[T], width: usize, scratch: &mut Scratch, out: &mut [f32]) {
        let Scratch { mlp: LayerUnits { values, hidden }, next, .. } = scratch;
        let blocks = rows.chunks(BLOCK * width.max(1)).zip(out.chunks_mut(BLOCK * self.width()));
        for (rows, out) in blocks {
            self.first_layer(Side::Customer, rows, width, values, hidden);
            for side in [Side::Offer, Side::Pair] {
                if self.has_columns(side) {
                    self.first_layer(side, rows, width, values, next);
                    add(hidden, next);
                }
            }
            self.finish(hidden, next, out);
        }
    }

    fn memory_bytes(&self) -> usize {
        let features: usize = self.features.iter().map(Feature::memory_bytes).sum();
        let first = self.first.iter().map(|(columns, layer)| size_of_val(&**columns) + layer.memory_bytes());
        let deeper = self.deeper.iter().map(|(_, layer)| layer.memory_bytes());
        features + first.sum::<usize>() + deeper.sum::<usize>()
    }
}

impl LayerUnits {
    /// Frees the memory that only the computation needed.
    pub(super) fn forget_values(&mut self) {
        self.values = Vec::new();
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.values.as_slice()) + size_of_val(self.hidden.as_slice())
    }
}

fn add(sums: &mut [f32], others: &[f32]) {
    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
}

/// The kernel of a layer: applies the activation to rows of `stride` values and multiplies. `out` has [`Layer::stride`]
/// per row.
struct Multiply<'a> {
    layer: &'a Layer,
    activation: Option<Activation>,
    rows: &'a mut [f32],
    stride: usize,
    out: &'a mut [f32],
}

impl Kernel for Multiply<'_> {
    #[inline(always)]
    fn run<M: InstructionSet>(self) {
        let Self { layer, activation, rows, stride, out } = self;
        if let Some(activation) = activation {
            activation.apply(rows);
        }
        let own = layer.stride();
        for (block, bias) in layer.bias.iter().enumerate() {
            let weights = &layer.weights[block * layer.inputs..][..layer.inputs];
            let row = |at: usize| &rows[at * stride..][..layer.inputs];
            let place = |at: usize| at * own + block * SIMD_WIDTH;
            let count = out.len() / own;
            let fours = count / 4 * 4;
            for at in (0..fours).step_by(4) {
                let sums = four(weights, bias, [row(at), row(at + 1), row(at + 2), row(at + 3)]);
                for (next, sums) in sums.iter().enumerate() {
                    out[place(at + next)..][..SIMD_WIDTH].copy_from_slice(sums);
                }
            }
            for at in fours..count {
                out[place(at)..][..SIMD_WIDTH].copy_from_slice(&one(weights, bias, row(at)));
            }
        }
    }
}

/// [`SIMD_WIDTH`] units of a row.
#[inline(always)]
fn one(weights: &[[f32; SIMD_WIDTH]], bias: &[f32; SIMD_WIDTH], row: &[f32]) -> [f32; SIMD_WIDTH] {
    let mut sums = *bias;
    for (weights, value) in weights.iter().zip(row) {
        step(&mut sums, weights, *value);
    }
    sums
}

/// The same for four rows, so that weights are read once for them and no sum waits for the one before. Four variables
/// instead of an array, which the compiler would keep in memory.
#[inline(always)]
fn four(
    weights: &[[f32; SIMD_WIDTH]],
    bias: &[f32; SIMD_WIDTH],
    rows: [&[f32]; 4],
) -> [[f32; SIMD_WIDTH]; 4] {
    let [mut first, mut second, mut third, mut fourth] = [*bias; 4];
    let [one, two, three, four] = rows;
    for ((((weights, one), two), three), four) in weights.iter().zip(one).zip(two).zip(three).zip(four) {
        step(&mut first, weights, *one);
        step(&mut second, weights, *two);
        step(&mut third, weights, *three);
        step(&mut fourth, weights, *four);
    }
    [first, second, third, fourth]
}

#[inline(always)]
fn step(sums: &mut [f32; SIMD_WIDTH], weights: &[f32; SIMD_WIDTH], value: f32) {
    for (sum, weight) in sums.iter_mut().zip(weights) {
        *sum += value * weight;
    }
}

impl Activation {
    #[inline(always)]
    fn apply(self, values: &mut [f32]) {
        // The choice is outside the loops, so that each loop vectorises.
        match self {
            Self::Relu => each(values, |value| if value < 0.0 { 0.0 } else { value }),
            Self::LeakyRelu(slope) => each(values, |value| if value < 0.0 { slope * value } else { value }),
            Self::Sigmoid => each(values, logistic),
            Self::Tanh => each(values, f32::tanh),
        }
    }
}

/// NaN must stay NaN.
#[inline(always)]
fn each(values: &mut [f32], act: impl Fn(f32) -> f32) {
    for value in values {
        *value = act(*value);
    }
}
