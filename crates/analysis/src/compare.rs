//! A challenger against the control: what is found, and what is too early to be shown.

use statistics::{Difference, Estimate, Inference, Measure, Sums, normal, theta, wilson};

use crate::counted::Counted;
use crate::report::{
    ArmValue, Comparison, Effect, GuardrailDecision, GuardrailResult, Limits, SequencePoint,
};

/// Nothing is shown of arms with fewer customers: means of few are not normal.
pub const CUSTOMERS: u64 = 100;

/// Nothing is shown of arms with fewer customers whose numerator is not 0: that of a share is not normal near 0.
pub const CONVERSIONS: u64 = 25;

/// The level of each comparison, and the customers at which its sequence is tightest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level {
    pub alpha: f64,
    pub planned: u64,
}

/// A difference that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    difference: Difference,
    relative: Option<Difference>,
    /// θ, and the share of the variance that the adjustment takes away.
    adjusted: Option<(f64, f64)>,
}

/// Both arms of a comparison, the control first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Both<'c> {
    pub arms: [&'c Counted; 2],
    pub names: [&'c str; 2],
    pub measure: Measure,
}

impl Both<'_> {
    /// What is found; why nothing is shown otherwise.
    pub(crate) fn compare(&self) -> Result<Found, String> {
        for (arm, name) in self.arms.iter().zip(self.names) {
            if let Some(lack) = lack(arm) {
                return Err(format!("`{name}` has {lack}"));
            }
        }
        let sums = self.arms.map(|arm| &arm.sums);
        self.found(sums)
            .ok_or_else(|| "all customers are alike: there is no spread to compare with".to_owned())
    }

    fn found(&self, [control, challenger]: [&Sums; 2]) -> Option<Found> {
        let plain = [control.estimate(self.measure)?, challenger.estimate(self.measure)?];
        let difference = Difference::of(&plain[0], &plain[1])?;
        let values = [plain[0].value, plain[1].value];
        let of = |arms: [Estimate; 2], difference, adjusted| Found {
            difference,
            relative: Difference::relative(&arms[0], &arms[1], values),
            adjusted,
        };
        let by_before = match self.measure {
            Measure::Share | Measure::Mean => adjust(control, challenger),
            Measure::Ratio => None,
        };
        if let Some((theta, arms)) = by_before
            && let Some(adjusted) = Difference::of(&arms[0], &arms[1])
        {
            let reduced = 1.0 - adjusted.variance / difference.variance;
            return Some(of(arms, adjusted, Some((theta, reduced))));
        }
        Some(of(plain, difference, None))
    }
}

/// The values of both arms less what their customers did before (CUPED); `None` if no customer did anything before.
fn adjust(control: &Sums, challenger: &Sums) -> Option<(f64, [Estimate; 2])> {
    let theta = theta(&[control, challenger])?;
    let mut all = *control;
    all.merge(challenger);
    let mean = all.mean_before();
    let arms = [control.estimate_adjusted(theta, mean)?, challenger.estimate_adjusted(theta, mean)?];
    Some((theta, arms))
}

/// What an arm has too little of.
pub(crate) fn lack(arm: &Counted) -> Option<String> {
    if arm.sums.n() < CUSTOMERS {
        return Some(format!("{} of the {CUSTOMERS} customers that are needed", arm.sums.n()));
    }
    (arm.conversions < CONVERSIONS).then(|| {
        format!("{} of the {CONVERSIONS} customers with something to count that are needed", arm.conversions)
    })
}

impl Found {
    /// The sequence at the end of a day; `least_p` is that of the days before.
    pub(crate) fn point(&self, day: String, level: Level, least_p: f64) -> SequencePoint {
        let Inference { interval, p } = self.difference.sequence(level.alpha, level.planned);
        SequencePoint {
            day,
            n: self.difference.n[0] + self.difference.n[1],
            delta: self.difference.delta,
            low: interval.low,
            high: interval.high,
            p: p.min(least_p),
        }
    }

    /// The effect; `over_time` are the points so far.
    pub(crate) fn effect(&self, level: Level, over_time: &[SequencePoint]) -> Effect {
        let sequence = self.difference.sequence(level.alpha, level.planned);
        let fixed = self.difference.fixed(level.alpha);
        let relative = self.relative.map(|relative| relative.sequence(level.alpha, level.planned).interval);
        Effect {
            delta: self.difference.delta,
            sequence: limits(sequence.interval),
            sequence_p: over_time.iter().fold(sequence.p, |least, point| point.p.min(least)),
            fixed: limits(fixed.interval),
            fixed_p: fixed.p,
            relative: self.relative.map(|relative| relative.delta),
            relative_sequence: relative.map(limits),
            theta: self.adjusted.map(|(theta, _)| theta),
            variance_reduced: self.adjusted.map(|(_, reduced)| reduced),
            over_time: over_time.to_vec(),
        }
    }
}

fn limits(interval: statistics::Interval) -> Limits {
    Limits { low: interval.low, high: interval.high }
}

/// A comparison without what a guardrail says.
pub(crate) fn comparison(both: &Both<'_>, level: Level, over_time: &[SequencePoint]) -> Comparison {
    let variant = both.names[1].to_owned();
    match both.compare() {
        Ok(found) => {
            let effect = Some(found.effect(level, over_time));
            Comparison { variant, hidden: String::new(), effect, guardrail: None }
        }
        Err(hidden) => Comparison { variant, hidden, effect: None, guardrail: None },
    }
}

/// What a guardrail says: limits are turned so that more is better.
pub(crate) fn guardrail(effect: Option<&Effect>, higher_is_better: bool, tolerate: f64) -> GuardrailResult {
    let oriented = effect.map(|effect| {
        let Limits { low, high } = effect.sequence;
        if higher_is_better { Limits { low, high } } else { Limits { low: -high, high: -low } }
    });
    let decision = match oriented {
        Some(oriented) if oriented.high < -tolerate => GuardrailDecision::RollBack,
        Some(oriented) if oriented.low > -tolerate => GuardrailDecision::Advance,
        Some(_) | None => GuardrailDecision::Hold,
    };
    GuardrailResult { tolerate, oriented, decision }
}

/// The value of an arm, with an interval for one look.
pub(crate) fn value(variant: &str, arm: &Counted, measure: Measure, alpha: f64) -> ArmValue {
    let sums = &arm.sums;
    let denominator = match measure {
        Measure::Share | Measure::Mean => sums.n() as f64,
        Measure::Ratio => sums.size(),
    };
    let value = Some(sums.part() / denominator).filter(|value| value.is_finite());
    let z = normal::quantile(1.0 - alpha / 2.0);
    let interval = match measure {
        Measure::Share => wilson(sums.part().max(0.0) as u64, sums.n(), z).map(limits),
        Measure::Mean | Measure::Ratio => sums.estimate(measure).map(|estimate| {
            let distance = z * (estimate.variance / estimate.n as f64).sqrt();
            Limits { low: estimate.value - distance, high: estimate.value + distance }
        }),
    };
    ArmValue {
        variant: variant.to_owned(),
        n: sums.n(),
        numerator: sums.part(),
        denominator,
        value,
        interval: interval.filter(|_| value.is_some()),
    }
}

/// As [`value`], with no value and no interval of an arm that is too small to be shown.
pub(crate) fn value_if_shown(variant: &str, arm: &Counted, measure: Measure, alpha: f64) -> ArmValue {
    let all = value(variant, arm, measure, alpha);
    if lack(arm).is_some() { ArmValue { value: None, interval: None, ..all } } else { all }
}
