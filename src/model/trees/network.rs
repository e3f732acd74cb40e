//! Perceptrons: weighted sums of what stands before them, what an activation makes of these, sums of that, and so on, in floats.
//!
//! The sums of the first layer are added up by whose values they are ([`Side`]), so that those of a customer and of an offer
//! can be found apart. Each sum goes through its inputs in their order, however many rows are at hand and whatever the
//! instruction set, so that all ways give the same bits. Start reading at [`Network::score`].

#![expect(clippy::inline_always, reason = "it must become part of the function that has the instruction set")]

use std::sync::Arc;

use super::after::After;
use super::columns::{Feature, Number};
use super::factorised::Side;
use super::finish::logistic;
use super::linear::SIDES;
use super::machine::{Job, LANES, Machine};
use super::scratch::Scratch;
use super::vectors::Set;

/// Rows that go through the layers together: what they need stays in the nearest caches.
const BLOCK: usize = 64;

/// What happens to each sum of a layer before the next one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    Relu,
    /// What is below 0 is multiplied with this.
    LeakyRelu(f32),
    Sigmoid,
    Tanh,
}

/// Sums of inputs.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    inputs: usize,
    outputs: usize,
    /// What sums begin with, for each [`LANES`] of them; what is beyond the outputs is 0, here and there.
    bias: Vec<[f32; LANES]>,
    /// For each [`LANES`] sums, the weights of each input.
    weights: Vec<[f32; LANES]>,
}

/// A network, ready to score.
#[derive(Debug, Clone)]
pub(super) struct Network {
    features: Vec<Feature>,
    /// Whether the columns are the values of a row as they came.
    plain: bool,
    /// The first layer, in parts by side: the columns whose sums they are, in their order.
    first: [(Vec<u32>, Layer); 3],
    /// The others, with what happens before each.
    deeper: Arc<[(Activation, Layer)]>,
    pub(super) after: After,
    pub(super) machine: Machine,
}

/// The sums of one side of a row; kept and filled again for the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    values: Vec<f32>,
    hidden: Vec<f32>,
}

impl Layer {
    /// `bias`: one per output; `weights`: inputs × outputs.
    pub(super) fn new(bias: &[f32], weights: &[f32]) -> Self {
        let outputs = bias.len();
        let inputs = weights.len().checked_div(outputs).unwrap_or(0);
        Self::of(inputs, bias, |input, output| weights[input * outputs + output])
    }

    fn of(inputs: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        let outputs = bias.len();
        let blocks = outputs.div_ceil(LANES);
        let lane = |block: usize, lane: usize| Some(block * LANES + lane).filter(|output| *output < outputs);
        let lanes = |block: usize, value: &dyn Fn(usize) -> f32| {
            std::array::from_fn(|at| lane(block, at).map_or(0.0, value))
        };
        let weights = (0..blocks).flat_map(|block| {
            (0..inputs)
                .map(move |input| (block, input))
                .map(|(block, input)| lanes(block, &|output| weight(input, output)))
        });
        Self {
            inputs,
            outputs,
            bias: (0..blocks).map(|block| lanes(block, &|output| bias[output])).collect(),
            weights: weights.collect(),
        }
    }

    fn weight(&self, input: usize, output: usize) -> f32 {
        self.weights[output / LANES * self.inputs + input][output % LANES]
    }

    /// Sums of a row.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Sums of a row with what fills up the last [`LANES`] of them.
    fn stride(&self) -> usize {
        self.bias.len() * LANES
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(self.bias.as_slice()) + size_of_val(self.weights.as_slice())
    }
}

impl Network {
    /// All columns count as the customer's until [`Network::grouped`] says otherwise. `features`: as many as `first` has inputs.
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
        Self { features, plain, first, deeper: deeper.into(), after, machine: Machine::best() }
    }

    /// The same network added up by these sides, one for each value of a row.
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
            // Whatever comes of a row begins with the bias once: with the customer's sums.
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

    pub(super) fn layers(&self) -> usize {
        1 + self.deeper.len()
    }

    /// Scores per row.
    pub(super) fn width(&self) -> usize {
        self.after.width(self.last().outputs)
    }

    /// Whether any column is of the pair.
    pub(super) fn has_pair_columns(&self) -> bool {
        self.has_columns(Side::Pair)
    }

    fn has_columns(&self, side: Side) -> bool {
        !self.first[side as usize].0.is_empty()
    }

    fn last(&self) -> &Layer {
        self.deeper.last().map_or(&self.first[0].1, |(_, layer)| layer)
    }

    /// Scores `rows` of `width` values into `out`, rows × [`Network::width`].
    pub(super) fn score<T: Number>(&self, rows: &[T], width: usize, scratch: &mut Scratch, out: &mut [f32]) {
        let Scratch { network: Sums { values, hidden }, next, .. } = scratch;
        let blocks = rows.chunks(BLOCK * width.max(1)).zip(out.chunks_mut(BLOCK * self.width()));
        for (rows, out) in blocks {
            self.sums(Side::Customer, rows, width, values, hidden);
            for side in [Side::Offer, Side::Pair] {
                if self.has_columns(side) {
                    self.sums(side, rows, width, values, next);
                    add(hidden, next);
                }
            }
            self.finish(hidden, next, out);
        }
    }

    /// What the values of one side add to the sums of the first layer: rows × [`Layer::stride`].
    pub(super) fn part<T: Number>(&self, side: Side, rows: &[T], width: usize, sums: &mut Sums) {
        self.sums(side, rows, width, &mut sums.values, &mut sums.hidden);
    }

    fn sums<T: Number>(
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
        self.machine.work(Multiply {
            layer,
            activation: None,
            rows: values,
            stride: columns.len(),
            out: sums,
        });
    }

    /// Scores a customer with some offers, whose parts these are: `offers` is those of all of them. Whether all that is
    /// wanted is there.
    pub(super) fn meet<T: Number>(
        &self,
        customer: &Sums,
        offers: &Sums,
        (wanted, pairs, width): (&[usize], &[T], usize),
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> bool {
        let (stride, customer) = (self.first[0].1.stride(), &customer.hidden);
        let there = |offer: &usize| (offer + 1) * stride <= offers.hidden.len();
        if customer.len() != stride || !wanted.iter().all(there) {
            return false;
        }
        let Scratch { network: Sums { values, hidden }, next, .. } = scratch;
        let blocks = wanted.chunks(BLOCK).zip(out.chunks_mut(BLOCK * self.width()));
        for (block, (wanted, out)) in blocks.enumerate() {
            hidden.clear();
            for offer in wanted {
                let offer = &offers.hidden[offer * stride..][..stride];
                hidden.extend(customer.iter().zip(offer).map(|(customer, offer)| customer + offer));
            }
            if self.has_pair_columns() {
                let pairs = &pairs[block * BLOCK * width..][..wanted.len() * width];
                self.sums(Side::Pair, pairs, width, values, next);
                add(hidden, next);
            }
            self.finish(hidden, next, out);
        }
        true
    }

    /// From the sums of the first layer to the scores.
    fn finish(&self, hidden: &mut Vec<f32>, next: &mut Vec<f32>, out: &mut [f32]) {
        let mut stride = self.first[0].1.stride();
        for (activation, layer) in &*self.deeper {
            let count = hidden.len().checked_div(stride).unwrap_or(0);
            next.resize(count * layer.stride(), 0.0);
            let activation = Some(*activation);
            self.machine.work(Multiply { layer, activation, rows: hidden, stride, out: next });
            std::mem::swap(hidden, next);
            stride = layer.stride();
        }
        let outputs = self.last().outputs;
        for (row, out) in hidden.chunks_exact_mut(stride).zip(out.chunks_exact_mut(self.width())) {
            self.after.row(&mut row[..outputs], out);
        }
        // Rust leaves sign and payload of a NaN to the compiler, which may swap the factors of a product on one machine only
        // (<https://doc.rust-lang.org/std/primitive.f32.html#nan-bit-patterns>).
        for score in out {
            *score = if score.is_nan() { f32::NAN } else { *score };
        }
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        let features: usize = self.features.iter().map(Feature::memory_bytes).sum();
        let first = self.first.iter().map(|(columns, layer)| size_of_val(&**columns) + layer.memory_bytes());
        let deeper = self.deeper.iter().map(|(_, layer)| layer.memory_bytes());
        features + first.sum::<usize>() + deeper.sum::<usize>()
    }
}

impl Sums {
    /// Gives up what only finding the sums needed.
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

/// The sums of a layer for rows of `stride` values each, after what happens to these; `out` has [`Layer::stride`] per row.
struct Multiply<'a> {
    layer: &'a Layer,
    activation: Option<Activation>,
    rows: &'a mut [f32],
    stride: usize,
    out: &'a mut [f32],
}

impl Job for Multiply<'_> {
    #[inline(always)]
    fn run<M: Set>(self) {
        let Self { layer, activation, rows, stride, out } = self;
        if let Some(activation) = activation {
            activation.apply(rows);
        }
        let own = layer.stride();
        for (block, bias) in layer.bias.iter().enumerate() {
            let weights = &layer.weights[block * layer.inputs..][..layer.inputs];
            let row = |at: usize| &rows[at * stride..][..layer.inputs];
            let place = |at: usize| at * own + block * LANES;
            let count = out.len() / own;
            let fours = count / 4 * 4;
            for at in (0..fours).step_by(4) {
                let sums = four(weights, bias, [row(at), row(at + 1), row(at + 2), row(at + 3)]);
                for (next, sums) in sums.iter().enumerate() {
                    out[place(at + next)..][..LANES].copy_from_slice(sums);
                }
            }
            for at in fours..count {
                out[place(at)..][..LANES].copy_from_slice(&one(weights, bias, row(at)));
            }
        }
    }
}

/// Sixteen sums of a row.
#[inline(always)]
fn one(weights: &[[f32; LANES]], bias: &[f32; LANES], row: &[f32]) -> [f32; LANES] {
    let mut sums = *bias;
    for (weights, value) in weights.iter().zip(row) {
        step(&mut sums, weights, *value);
    }
    sums
}

/// The same of four rows, so that weights are read once for them and no sum waits for the one before. Four names instead of
/// an array, which the compiler would keep in memory.
#[inline(always)]
fn four(weights: &[[f32; LANES]], bias: &[f32; LANES], rows: [&[f32]; 4]) -> [[f32; LANES]; 4] {
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
fn step(sums: &mut [f32; LANES], weights: &[f32; LANES], value: f32) {
    for (sum, weight) in sums.iter_mut().zip(weights) {
        *sum += value * weight;
    }
}

impl Activation {
    #[inline(always)]
    fn apply(self, values: &mut [f32]) {
        // A choice here and not in the loop, so that each loop is one of vectors.
        match self {
            Self::Relu => each(values, |value| if value < 0.0 { 0.0 } else { value }),
            Self::LeakyRelu(slope) => each(values, |value| if value < 0.0 { slope * value } else { value }),
            Self::Sigmoid => each(values, logistic),
            Self::Tanh => each(values, f32::tanh),
        }
    }
}

/// What is no number must stay so.
#[inline(always)]
fn each(values: &mut [f32], act: impl Fn(f32) -> f32) {
    for value in values {
        *value = act(*value);
    }
}
