//! Turns the sums of a row into the operator's outputs: base values, the second class, the transform.
//!
//! Where the specification is open, it follows ONNX Runtime 1.31. Start reading at [`Finish::row`].

use crate::real::Real;

/// The steps on the sums.
#[derive(Debug, Clone)]
pub(super) struct Finish {
    /// Added to the sums: one value for all, one per target, or none.
    pub(super) base: Vec<f64>,
    /// Divides the sums before the base is added: 1, or the number of trees.
    pub(super) divisor: usize,
    pub(super) scores: ScoreKind,
    pub(super) transform: Transform,
}

/// How sums become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScoreKind {
    /// One score per sum.
    PerTarget,
    /// Two classes of which only the first has weights. The second score follows from the first. `positive`: no weight
    /// is below 0, so the sum is a probability.
    Complement { positive: bool },
    /// Two classes of which only this one has weights. The other's score is 0.
    Lone { class: usize },
    /// Two classes with a base value each. The second score counts, and the first is its negative.
    Opposite,
}

/// The transform of the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

impl Finish {
    /// A score per sum: each has its own base value, or all share one, or none.
    pub(super) fn per_target(base: Vec<f64>, transform: Transform) -> Self {
        Self { base, divisor: 1, scores: ScoreKind::PerTarget, transform }
    }

    /// The number of scores for this many sums.
    pub(super) fn width(&self, targets: usize) -> usize {
        match self.scores {
            ScoreKind::PerTarget => targets,
            ScoreKind::Complement { .. } | ScoreKind::Lone { .. } | ScoreKind::Opposite => 2,
        }
    }

    /// The scores of a row. `sums` has one per target, `out` as many as [`Finish::width`] returns.
    pub(super) fn row<S: Real>(&self, sums: &[S], out: &mut [f32]) {
        match self.scores {
            ScoreKind::PerTarget => {
                for (target, (sum, out)) in sums.iter().zip(&mut *out).enumerate() {
                    *out = self.based(*sum, target).to_f32();
                }
                self.transform.apply(out);
            }
            ScoreKind::Opposite => {
                let score = (S::of(self.base[1]) + sums[0]).to_f32();
                out.copy_from_slice(&[-score, score]);
                self.transform.apply(out);
            }
            ScoreKind::Lone { class } => {
                out.fill(0.0);
                out[class] = self.based(sums[0], 0).to_f32();
                self.transform.apply(out);
            }
            ScoreKind::Complement { positive } => {
                let score = self.based(sums[0], 0).to_f32();
                let both = match self.transform {
                    Transform::Logistic => [logistic(-score), logistic(score)],
                    Transform::None | Transform::Softmax | Transform::SoftmaxZero | Transform::Probit => {
                        [if positive { 1.0 - score } else { -score }, score]
                    }
                };
                out.copy_from_slice(&both);
            }
        }
    }

    fn based<S: Real>(&self, sum: S, target: usize) -> S {
        let sum = if self.divisor == 1 { sum } else { sum / S::of(self.divisor as f64) };
        match self.base.as_slice() {
            [] => sum,
            [one] => sum + S::of(*one),
            several => sum + S::of(several[target]),
        }
    }
}

impl Transform {
    fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
            Self::Softmax => softmax(scores, |_| true),
            Self::SoftmaxZero => softmax(scores, |score| score.abs() > 1e-7),
        }
    }
}

/// Subtracts the largest score first, so that nothing overflows. Scores that `counts` excludes stay near zero.
pub(super) fn softmax(scores: &mut [f32], counts: impl Fn(f32) -> bool) {
    let greatest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in &mut *scores {
        if counts(*score) {
            *score = (*score - greatest).exp();
            sum += *score;
        } else {
            *score *= (-greatest).exp();
        }
    }
    for score in scores {
        *score /= sum;
    }
}

/// 1 / (1 + exp(-x)), without overflow.
pub(super) fn logistic(score: f32) -> f32 {
    let upper = 1.0 / (1.0 + (-score.abs()).exp());
    if score < 0.0 { 1.0 - upper } else { upper }
}

/// The inverse of the normal distribution function, by Winitzki's approximation of the error function (2008), as in
/// ONNX Runtime.
fn probit(score: f32) -> f32 {
    #[expect(clippy::approx_constant, reason = "so many digits of it and no more are what ONNX Runtime has")]
    const PI: f32 = 3.14159;
    let x = 2.0 * score - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let v = 2.0 / (PI * 0.147) + 0.5 * log;
    let squared = -v + (v * v - 1.0 / 0.147 * log).sqrt();
    std::f32::consts::SQRT_2 * sign * squared.sqrt()
}
