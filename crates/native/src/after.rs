//! The steps that an exporter put after the model, applied row by row.

use crate::finish::{logistic, softmax};

/// The steps on the scores of a row, in order. Usually none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct After {
    pub(super) steps: Vec<ScoreStep>,
    /// The only score to keep.
    pub(super) only: Option<usize>,
}

/// One step on the scores of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ScoreStep {
    Add(f32),
    /// Adds a constant to each score.
    AddEach(Vec<f32>),
    /// A constant minus the score.
    From(f32),
    Multiply(f32),
    Divide(f32),
    Sigmoid,
    Softmax,
    /// Divides by the largest.
    Max,
    /// Divides by the sum of the absolute values.
    L1,
    /// Divides by the root of the sum of squares.
    L2,
    /// Selects these scores, in this order.
    Columns(Vec<usize>),
    /// Applies several lists of steps to the same scores and joins the results.
    Join(Vec<Vec<ScoreStep>>),
}

impl After {
    /// The number of scores of a row that had `before`.
    pub(super) fn width(&self, before: usize) -> usize {
        // Impossible widths were refused when the graph was read.
        let own = self.steps.iter().fold(before, |width, step| step.width(width).unwrap_or(width));
        if self.only.is_some() { 1 } else { own }
    }

    /// A bound of the absolute score, if `before` bounds the sum of its terms' absolute values.
    pub(super) fn magnitude(&self, before: f64) -> f64 {
        through_magnitude(&self.steps, before)
    }

    /// Turns the scores of a row into the wanted ones. `scores` is overwritten.
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

impl ScoreStep {
    /// How many scores the step makes of `width`, or why it cannot.
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

    /// New scores, where the step may change their number.
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
                // All zeros stay zeros.
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

fn through_magnitude(steps: &[ScoreStep], before: f64) -> f64 {
    let largest = |values: &[f32]| values.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    steps.iter().fold(before, |now, step| match step {
        ScoreStep::Add(other) | ScoreStep::From(other) => now + largest(&[*other]),
        ScoreStep::AddEach(others) => now + largest(others),
        ScoreStep::Multiply(factor) => now * largest(&[*factor]),
        ScoreStep::Divide(divisor) => now / largest(&[*divisor]),
        // Their results lie within -1..=1.
        ScoreStep::Sigmoid | ScoreStep::Softmax | ScoreStep::Max | ScoreStep::L1 | ScoreStep::L2 => 1.0,
        ScoreStep::Columns(_) => now,
        ScoreStep::Join(ways) => ways.iter().map(|way| through_magnitude(way, now)).fold(0.0, f64::max),
    })
}

/// Applies `steps` to a row's scores.
fn through(steps: &[ScoreStep], scores: &[f32]) -> Vec<f32> {
    steps.iter().fold(scores.to_vec(), |mut now, step| match step.others(&now) {
        Some(others) => others,
        None => {
            step.apply(&mut now);
            now
        }
    })
}
