//! Rows to try a model with: values on thresholds and beside them, extremes, zeros of both signs, gaps.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::columns::{Columns, Feature};
use super::ensemble::Ensemble;
use super::{Evaluator, TreeModel};

/// Thresholds that are kept for each value of a row.
const MOST_TURNING_POINTS: usize = 256;

/// The type of a value of a row, as the graph has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// A float.
    Float,
    /// A double.
    Double,
    /// A whole number of 32 or 64 bits.
    Int,
    /// 0 or 1.
    Bool,
    /// A text, by its place in the vocabulary ([`TreeModel::vocabulary`]); one that is not there has none and is [`UNKNOWN`].
    Text,
}

/// The number of a text that makes no difference.
pub const UNKNOWN: f64 = -1.0;

/// Collects, for each value of a row, where conditions turn; a choice of them, spread over the ensemble.
pub(super) fn turning_points(ensemble: &Ensemble, columns: &Columns, points: &mut [Vec<f64>]) {
    for split in ensemble.trees.iter().flat_map(|tree| &tree.splits) {
        columns.add_turning_points(split, &mut points[columns.input(split.column)]);
    }
    for points in points {
        choose(points);
    }
}

/// What a linear model or a network has instead of thresholds: for each value of a row, where what is weighted is `values`.
pub(super) fn usual_values(features: &[Feature], values: &[f64], points: &mut [Vec<f64>]) {
    for feature in features {
        let values = values.iter().map(|value| feature.undo(*value));
        points[feature.input].extend(values.filter(|value| value.is_finite()));
    }
    points.iter_mut().for_each(choose);
}

fn choose(points: &mut Vec<f64>) {
    points.sort_unstable_by(f64::total_cmp);
    points.dedup();
    let (every, count) = (points.len().div_ceil(MOST_TURNING_POINTS).max(1), points.len());
    *points = (0..count).step_by(every).map(|at| points[at]).collect();
    points.shrink_to_fit();
}

impl TreeModel {
    /// `count` rows of [`TreeModel::row_width`] values, row-major, each a value that the graph's input can hold: on and next to
    /// thresholds, between them, beyond them; zeros of both signs, the least and the greatest numbers, and where `missing`
    /// says so, NaN. The same seed gives the same rows.
    #[must_use]
    pub fn probe_rows(&self, count: usize, missing: bool, seed: u64) -> Vec<f64> {
        let mut random = SplitMix64::seed_from_u64(seed);
        let columns = self.elements.iter().zip(&self.turning_points);
        // Where values are added up, one that is huge says nothing of the others, and two add up to nothing that is defined.
        let adds = matches!(self.evaluator, Evaluator::Linear(_) | Evaluator::Network(_));
        // What a layer makes of one that is large cancels out in the next, up to what the order of adding up leaves.
        let large = !matches!(self.evaluator, Evaluator::Network(_));
        let mut rows = Vec::with_capacity(count * self.row_width());
        for _ in 0..count {
            // Some rows are whole, some full of holes.
            let gaps = if missing { random.next_u32() % 3 } else { 0 };
            let lone = random.next_u32() as usize % (2 * self.row_width()).max(1);
            for (at, (element, points)) in columns.clone().enumerate() {
                let extremes = match (!adds || at == lone, large) {
                    (false, _) => Extremes::None,
                    (true, false) => Extremes::NotLarge,
                    (true, true) => Extremes::All,
                };
                rows.push(value(&mut random, *element, points, gaps, extremes));
            }
        }
        rows
    }
}

/// The values far from all thresholds that are tried.
#[derive(Clone, Copy, PartialEq)]
enum Extremes {
    None,
    /// All but finite ones beyond some units.
    NotLarge,
    All,
}

fn value(random: &mut SplitMix64, element: Element, points: &[f64], gaps: u32, extremes: Extremes) -> f64 {
    match element {
        Element::Bool => return f64::from(random.next_u32() % 2),
        Element::Text => {
            let at = random.next_u32() as usize % (points.len() + 1);
            return points.get(at).copied().unwrap_or(UNKNOWN);
        }
        Element::Float | Element::Double | Element::Int => {}
    }
    if element != Element::Int && random.next_u32() % 8 < gaps {
        return f64::NAN;
    }
    let unit = (f64::from(random.next_u32()) + 0.5) / f64::from(u32::MAX);
    let point = points.get(random.next_u32() as usize % points.len().max(1)).copied().unwrap_or(0.0);
    let float = |value: f64, step: fn(f32) -> f32| f64::from(step(value as f32));
    let found = match random.next_u32() % if extremes == Extremes::None { 13 } else { 16 } {
        0..4 => point,
        4..6 if element == Element::Double => point.next_up(),
        4..6 => float(point, f32::next_up),
        6..8 if element == Element::Double => point.next_down(),
        6..8 => float(point, f32::next_down),
        8..13 => {
            // Between two thresholds or somewhat beyond.
            let other = points.get(random.next_u32() as usize % points.len().max(1)).copied().unwrap_or(1.0);
            point + (other - point) * (unit * 1.2 - 0.1)
        }
        _ => {
            let values = [
                0.0,
                -0.0,
                f64::from(f32::from_bits(1)),
                -f64::from(f32::from_bits(1)),
                f64::from(f32::MIN_POSITIVE),
                f64::INFINITY,
                f64::NEG_INFINITY,
                1e3 * unit,
                -1e3 * unit,
                f64::from(f32::MAX),
                f64::from(f32::MIN),
            ];
            let count = if extremes == Extremes::All { values.len() } else { values.len() - 4 };
            values[random.next_u32() as usize % count]
        }
    };
    match element {
        Element::Double | Element::Bool | Element::Text => found,
        Element::Float => f64::from(found as f32),
        // Far enough from the ends of 32 bits that an input of either width holds it.
        Element::Int => found.round().clamp(-1e9, 1e9) + 0.0,
    }
}
