//! Probe rows for a model: values on and next to thresholds, extremes, zeros of both signs, missing values.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use crate::columns::{Columns, Feature};
use crate::ensemble::trees::TreeEnsemble;
use crate::{Evaluator, NativeModel};

/// The most thresholds that are kept for each value of a row.
const MAX_TURNING_POINTS: usize = 256;

/// The type of a value of a row, as the graph declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// A float.
    Float,
    /// A double.
    Double,
    /// An integer of 32 or 64 bits.
    Int,
    /// 0 or 1.
    Bool,
    /// A text, by its number in the vocabulary ([`NativeModel::vocabulary`]). Any other text is [`UNKNOWN`].
    Text,
}

/// The number of a text outside the vocabulary.
pub const UNKNOWN: f64 = -1.0;

/// Collects a sample of thresholds for each value of a row, spread over the ensemble.
pub(super) fn turning_points(ensemble: &TreeEnsemble, columns: &Columns, points: &mut [Vec<f64>]) {
    for split in ensemble.trees.iter().flat_map(|tree| &tree.splits) {
        columns.add_turning_points(split, &mut points[columns.input(split.column)]);
    }
    for points in points {
        choose(points);
    }
}

/// The substitute for thresholds in a linear model or an MLP: row values for which the weighted inputs are `values`.
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
    let (every, count) = (points.len().div_ceil(MAX_TURNING_POINTS).max(1), points.len());
    *points = (0..count).step_by(every).map(|at| points[at]).collect();
    points.shrink_to_fit();
}

impl NativeModel {
    /// Makes `count` rows of [`NativeModel::row_width`] values, row-major, each valid for the graph's input. The values
    /// lie on, next to, between and beyond thresholds. Zeros of both signs, the least and the greatest numbers are
    /// among them, and NaN if `missing`. The same seed gives the same rows.
    #[must_use]
    pub fn probe_rows(&self, count: usize, missing: bool, seed: u64) -> Vec<f64> {
        let mut random = SplitMix64::seed_from_u64(seed);
        let columns = self.elements.iter().zip(&self.turning_points);
        // In a sum, a huge value hides the others, and two may add up to NaN.
        let adds = matches!(self.evaluator, Evaluator::Linear(_) | Evaluator::Mlp(_));
        // In an MLP, the units of a large value cancel in the next layer, up to rounding that depends on the order.
        let large = !matches!(self.evaluator, Evaluator::Mlp(_));
        let mut rows = Vec::with_capacity(count * self.row_width());
        for _ in 0..count {
            // Some rows are complete, some have many missing values.
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

/// The extreme values that are used.
#[derive(Clone, Copy, PartialEq)]
enum Extremes {
    None,
    /// No finite values beyond a few units.
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
            // Between two thresholds or slightly beyond.
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
        // Far enough from the limits of 32 bits that an input of either width holds it.
        Element::Int => found.round().clamp(-1e9, 1e9) + 0.0,
    }
}
