//! What an exporter put behind the trees, row by row.

use super::finish::{logistic, softmax};

/// What happens to the scores of a row, in this order. The commonest is nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct After {
    pub(super) steps: Vec<Act>,
    /// The only score that is wanted.
    pub(super) only: Option<usize>,
}

/// One thing that happens to the scores of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    Add(f32),
    /// A constant for each score.
    AddEach(Vec<f32>),
    /// A constant less the score.
    From(f32),
    Multiply(f32),
    Divide(f32),
    Sigmoid,
    Softmax,
    /// Division by the largest.
    Max,
    /// Division by the sum of the absolute values.
    L1,
    /// Division by the root of the sum of the squares.
    L2,
    /// These scores, in this order.
    Columns(Vec<usize>),
    /// What becomes of the same scores in several ways, side by side.
    Join(Vec<Vec<Act>>),
}

impl After {
    /// The scores of a row of which there were `before`.
    pub(super) fn width(&self, before: usize) -> usize {
        // What cannot be was refused when the graph was read.
        let own = self.steps.iter().fold(before, |width, step| step.width(width).unwrap_or(width));
        if self.only.is_some() { 1 } else { own }
    }

    /// What becomes of `before`, which the absolute values of a score's terms come to at most.
    pub(super) fn magnitude(&self, before: f64) -> f64 {
        through_magnitude(&self.steps, before)
    }

    /// Turns the scores of a row into those that are wanted; `scores` is used up.
    #[inline]
    pub(super) fn row(&self, scores: &mut [f32], out: &mut [f32]) {
        let mut others: Vec<f32>;
        let mut now = scores;
        for step in &self.steps {
            match step.others(now) {
                None => step.apply(now),
                Some(found) => {
                    others = found;
                    now = &mut others;
                }
            }
        }
        match self.only {
            Some(column) => out[0] = now[column],
            None => out.copy_from_slice(now),
        }
    }
}

impl Act {
    /// How many scores come of `width`, or why none can.
    pub(super) fn width(&self, width: usize) -> Result<usize, &'static str> {
        if let Self::Columns(columns) = self {
            let there = !columns.is_empty() && columns.iter().all(|column| *column < width);
            return if there { Ok(columns.len()) } else { Err("columns that are not there") };
        }
        if let Self::Join(ways) = self {
            return ways.iter().map(|way| way.iter().try_fold(width, |width, step| step.width(width))).sum();
        }
        if let Self::AddEach(others) = self
            && others.len() != width
        {
            return Err("not a constant for each score");
        }
        Ok(width)
    }

    /// Other scores, perhaps of another number, where the step makes such.
    fn others(&self, scores: &[f32]) -> Option<Vec<f32>> {
        if let Self::Columns(columns) = self {
            return Some(columns.iter().map(|column| scores[*column]).collect());
        }
        if let Self::Join(ways) = self {
            return Some(ways.iter().flat_map(|way| through(way, scores)).collect());
        }
        None
    }

    fn apply(&self, scores: &mut [f32]) {
        let divide = |scores: &mut [f32], by: f32| scores.iter_mut().for_each(|score| *score /= by);
        match self {
            Self::AddEach(others) => {
                scores.iter_mut().zip(others).for_each(|(score, other)| *score += other);
            }
            Self::Add(other) => scores.iter_mut().for_each(|score| *score += other),
            Self::From(other) => scores.iter_mut().for_each(|score| *score = other - *score),
            Self::Multiply(factor) => scores.iter_mut().for_each(|score| *score *= factor),
            Self::Divide(divisor) => divide(scores, *divisor),
            Self::Sigmoid => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Softmax => softmax(scores, |_| true),
            Self::Max => divide(scores, scores.iter().copied().fold(f32::MIN, f32::max)),
            Self::L1 => {
                // Nothing but zeros stays so.
                let sum: f32 = scores.iter().map(|score| score.abs()).sum();
                if sum != 0.0 {
                    divide(scores, sum);
                }
            }
            Self::L2 => {
                let squares: f32 = scores.iter().map(|score| score * score).sum();
                if squares != 0.0 {
                    divide(scores, squares.sqrt());
                }
            }
            Self::Columns(_) | Self::Join(_) => {}
        }
    }
}

fn through_magnitude(steps: &[Act], before: f64) -> f64 {
    let largest = |values: &[f32]| values.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    steps.iter().fold(before, |now, step| match step {
        Act::Add(other) | Act::From(other) => now + largest(&[*other]),
        Act::AddEach(others) => now + largest(others),
        Act::Multiply(factor) => now * largest(&[*factor]),
        Act::Divide(divisor) => now / largest(&[*divisor]),
        // What comes of these lies within -1..=1.
        Act::Sigmoid | Act::Softmax | Act::Max | Act::L1 | Act::L2 => 1.0,
        Act::Columns(_) => now,
        Act::Join(ways) => ways.iter().map(|way| through_magnitude(way, now)).fold(0.0, f64::max),
    })
}

/// What `steps` make of a row's scores.
fn through(steps: &[Act], scores: &[f32]) -> Vec<f32> {
    steps.iter().fold(scores.to_vec(), |mut now, step| match step.others(&now) {
        Some(others) => others,
        None => {
            step.apply(&mut now);
            now
        }
    })
}
