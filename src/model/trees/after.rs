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
}

impl After {
    /// The scores of a row of which there were `before`.
    pub(super) fn width(&self, before: usize) -> usize {
        let own = self
            .steps
            .iter()
            .fold(before, |width, step| if let Act::Columns(columns) = step { columns.len() } else { width });
        if self.only.is_some() { 1 } else { own }
    }

    /// Turns the scores of a row into those that are wanted; `scores` is used up.
    #[inline]
    pub(super) fn row(&self, scores: &mut [f32], out: &mut [f32]) {
        let mut width = scores.len();
        for step in &self.steps {
            let now = &mut scores[..width];
            if let Act::Columns(columns) = step {
                let taken: Vec<f32> = columns.iter().map(|column| now[*column]).collect();
                scores[..taken.len()].copy_from_slice(&taken);
                width = taken.len();
            } else {
                step.apply(now);
            }
        }
        match self.only {
            Some(column) => out[0] = scores[column],
            None => out.copy_from_slice(&scores[..width]),
        }
    }
}

impl Act {
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
            Self::Columns(_) => {}
        }
    }
}
