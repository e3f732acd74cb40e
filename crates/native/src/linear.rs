//! Linear models: weighted sums of their inputs, in doubles.
//!
//! A sum is added by side ([`Side`]), each side in the order of the columns. So a customer's sum and an offer's can be
//! computed apart and give the same bits. Start reading at [`Linear::score`].

use crate::after::After;
use crate::columns::{Feature, Number};
use crate::evaluate::Evaluate;
use crate::factorised::Side;
use crate::finish::Finish;
use crate::scratch::Scratch;

/// The weights of a linear operator.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    /// Sums per row.
    pub(super) targets: usize,
    /// Columns × targets.
    pub(super) coefficients: Vec<f64>,
    /// Includes the intercepts as base values.
    pub(super) finish: Finish,
}

/// A linear model, ready to score.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    features: Vec<Feature>,
    weights: Weights,
    /// The columns of each side, in their order.
    groups: [Vec<u32>; 3],
    pub(super) after: After,
}

/// The order in which the sides' sums are added.
pub(super) const SIDES: [Side; 3] = [Side::Customer, Side::Offer, Side::Pair];

impl Linear {
    /// All columns count as the customer's until [`Linear::grouped`] is called. `features` has one entry per column of
    /// `weights`.
    pub(super) fn new(features: Vec<Feature>, weights: Weights, after: After) -> Self {
        let all = (0..features.len() as u32).collect();
        Self { features, weights, groups: [all, Vec::new(), Vec::new()], after }
    }

    /// The same model with its sums added by these sides, one per value of a row.
    pub(super) fn grouped(mut self, sides: &[Side]) -> Self {
        self.groups = SIDES.map(|side| {
            let own = |(_, feature): &(usize, &Feature)| sides.get(feature.input) == Some(&side);
            self.features.iter().enumerate().filter(own).map(|(column, _)| column as u32).collect()
        });
        self
    }

    /// Whether any column belongs to `side`.
    pub(super) fn has_columns(&self, side: Side) -> bool {
        !self.groups[side as usize].is_empty()
    }

    /// The contribution of one side's values to the sums of a row, one per target.
    pub(super) fn part<T: Number>(&self, side: Side, row: &[T], sums: &mut [f64]) {
        sums.fill(0.0);
        let targets = self.weights.targets;
        for column in &self.groups[side as usize] {
            let column = *column as usize;
            let value = self.features[column].value(row);
            for (sum, weight) in
                sums.iter_mut().zip(&self.weights.coefficients[column * targets..][..targets])
            {
                *sum += value * weight;
            }
        }
    }

    /// The scores of a row from its parts: the customer's, the offer's, the pair's.
    pub(super) fn finish(&self, parts: [&[f64]; 3], scratch: &mut Scratch, out: &mut [f32]) {
        let own = self.weights.finish.width(self.weights.targets);
        let sums = &mut scratch.row_doubles;
        sums.clear();
        let [customer, offer, pair] = parts;
        sums.extend(
            customer.iter().zip(offer).zip(pair).map(|((customer, offer), pair)| customer + offer + pair),
        );
        scratch.scores.resize(own.max(scratch.scores.len()), 0.0);
        let scores = &mut scratch.scores[..own];
        self.weights.finish.row(sums, scores);
        self.after.row(scores, out);
    }

    /// Sums per row.
    pub(super) fn targets(&self) -> usize {
        self.weights.targets
    }
}

impl Evaluate for Linear {
    fn width(&self) -> usize {
        self.after.width(self.weights.finish.width(self.weights.targets))
    }

    fn keep_only(&mut self, score: usize) {
        self.after.only = Some(score);
    }

    fn layers(&self) -> usize {
        1
    }

    fn score<T: Number>(&self, rows: &[T], width: usize, scratch: &mut Scratch, out: &mut [f32]) {
        let targets = self.weights.targets;
        let mut parts = std::mem::take(&mut scratch.parts);
        parts.resize(SIDES.len() * targets, 0.0);
        // A graph may take no values at all.
        for (row, out) in rows.chunks_exact(width.max(1)).zip(out.chunks_exact_mut(self.width())) {
            for (side, part) in SIDES.into_iter().zip(parts.chunks_exact_mut(targets)) {
                self.part(side, row, part);
            }
            let (customer, rest) = parts.split_at(targets);
            let (offer, pair) = rest.split_at(targets);
            self.finish([customer, offer, &pair[..targets]], scratch, out);
        }
        scratch.parts = parts;
    }

    fn memory_bytes(&self) -> usize {
        let features: usize = self.features.iter().map(Feature::memory_bytes).sum();
        let groups: usize = self.groups.iter().map(|group| size_of_val(group.as_slice())).sum();
        features + groups + size_of_val(self.weights.coefficients.as_slice())
    }
}
