//! Rows to try a model with: values on thresholds and beside them, extremes, zeros of both signs, gaps.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::TreeModel;
use super::columns::Columns;
use super::ensemble::Ensemble;

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
}

/// Collects, for each value of a row, where conditions turn; a choice of them, spread over the ensemble.
pub(super) fn turning_points(ensemble: &Ensemble, columns: &Columns, points: &mut [Vec<f64>]) {
    for split in ensemble.trees.iter().flat_map(|tree| &tree.splits) {
        points[columns.input(split.column)].extend(columns.turning_point(split));
    }
    for points in points {
        points.sort_unstable_by(f64::total_cmp);
        points.dedup();
        let (every, count) = (points.len().div_ceil(MOST_TURNING_POINTS).max(1), points.len());
        *points = (0..count).step_by(every).map(|at| points[at]).collect();
        points.shrink_to_fit();
    }
}

impl TreeModel {
    /// `count` rows of [`TreeModel::row_width`] values, row-major, each a value that the graph's input can hold: on and next to
    /// thresholds, between them, beyond them; zeros of both signs, the least and the greatest numbers, and where `missing`
    /// says so, NaN. The same seed gives the same rows.
    #[must_use]
    pub fn probe_rows(&self, count: usize, missing: bool, seed: u64) -> Vec<f64> {
        let mut random = SplitMix64::seed_from_u64(seed);
        let columns = self.elements.iter().zip(&self.turning_points);
        (0..count)
            .flat_map(|_| {
                // Some rows are whole, some full of holes.
                let gaps = if missing { random.next_u32() % 3 } else { 0 };
                columns.clone().map(|(element, points)| value(&mut random, *element, points, gaps)).collect::<Vec<_>>()
            })
            .collect()
    }
}

fn value(random: &mut SplitMix64, element: Element, points: &[f64], gaps: u32) -> f64 {
    if element != Element::Int && random.next_u32() % 8 < gaps {
        return f64::NAN;
    }
    let unit = (random.next_u32() as f64 + 0.5) / f64::from(u32::MAX);
    let point = points.get(random.next_u32() as usize % points.len().max(1)).copied().unwrap_or(0.0);
    let float = |value: f64, step: fn(f32) -> f32| f64::from(step(value as f32));
    let found = match random.next_u32() % 16 {
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
            let extremes = [
                0.0,
                -0.0,
                f64::from(f32::from_bits(1)),
                -f64::from(f32::from_bits(1)),
                f64::from(f32::MAX),
                f64::from(f32::MIN),
                f64::from(f32::MIN_POSITIVE),
                1e3 * unit,
                -1e3 * unit,
                f64::INFINITY,
                f64::NEG_INFINITY,
            ];
            extremes[random.next_u32() as usize % extremes.len()]
        }
    };
    match element {
        Element::Double => found,
        Element::Float => f64::from(found as f32),
        // Far enough from the ends of 32 bits that an input of either width holds it.
        Element::Int => found.round().clamp(-1e9, 1e9) + 0.0,
    }
}
