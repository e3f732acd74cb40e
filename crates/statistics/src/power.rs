//! Planning: how many units an experiment needs.

use crate::difference::rho;
use crate::normal;

/// How the result is to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Once, when all units are there.
    Once,
    /// At any time, with a sequence that is tightest when all units are there.
    AnyTime,
}

/// The most units that are planned for.
const MOST: u64 = 1 << 50;

/// An experiment that is planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// The variance of one unit, in the control and in the challenger.
    pub variances: [f64; 2],
    /// The shares of both arms among the units, which need not sum to 1.
    pub shares: [f64; 2],
    /// The probability of a difference where there is none, 0..1.
    pub alpha: f64,
    /// How the result is to be judged.
    pub look: Look,
}

impl Design {
    /// The probability that a difference of `effect` is found with `units` in both arms, at the look when they are all
    /// there; looks before add to it. By the normal approximation.
    #[must_use]
    pub fn power(&self, effect: f64, units: u64) -> f64 {
        let n = units as f64;
        let all = self.shares[0] + self.shares[1];
        let parts = [0, 1].map(|arm| self.variances[arm] * all / (self.shares[arm] * n));
        let error = (parts[0] + parts[1]).sqrt();
        let limit = match self.look {
            Look::Once => normal::quantile(1.0 - self.alpha / 2.0),
            Look::AnyTime => {
                let squares = n * rho(self.alpha, units).powi(2);
                let factor = 2.0 * (squares + 1.0) / squares * ((squares + 1.0).sqrt() / self.alpha).ln();
                factor.sqrt()
            }
        };
        let distance = effect.abs() / error;
        normal::cdf(distance - limit) + normal::cdf(-distance - limit)
    }

    /// The least number of units in both arms with which a difference of `effect` is found with probability `power`.
    /// `None` if the effect is 0, a number is not one, or there is none below 10¹⁵.
    #[must_use]
    pub fn units(&self, effect: f64, power: f64) -> Option<u64> {
        let is_enough = |units: u64| self.power(effect, units) >= power;
        if !is_enough(MOST) {
            return None;
        }
        let (mut few, mut enough) = (1, MOST);
        while enough - few > 1 {
            let middle = few + (enough - few) / 2;
            if is_enough(middle) { enough = middle } else { few = middle }
        }
        Some(enough)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Difference, Measure, Sums, Unit};

    fn design(look: Look) -> Design {
        let variance = |share: f64| share * (1.0 - share);
        Design { variances: [variance(0.05), variance(0.06)], shares: [0.5, 0.5], alpha: 0.05, look }
    }

    /// `statsmodels` 0.15: `NormalIndPower` with the variances of both shares: 8,155 in each arm, by the formula
    /// `(z₁₋α/₂ + z₁₋β)² · (p₁q₁ + p₂q₂) ÷ δ²`.
    #[test]
    fn one_look_needs_what_the_formula_says() {
        let design = design(Look::Once);
        let z = normal::quantile(0.975) + normal::quantile(0.8);
        let expected = 2.0 * z * z * (0.0475 + 0.0564) / 1e-4;
        let units = design.units(0.01, 0.8).unwrap();
        assert!((units as f64 - expected).abs() < 2.0, "{units} {expected}");
        assert!((design.power(0.01, units) - 0.8).abs() < 1e-4);
    }

    /// What is planned is what happens: 2,000 experiments with the planned number of units each.
    #[test]
    fn the_power_of_a_plan_is_what_experiments_have() {
        for look in [Look::Once, Look::AnyTime] {
            let design = design(look);
            let units = design.units(0.01, 0.8).unwrap();
            let each = units / 2;
            let mut found = 0;
            for experiment in 0..2_000_u64 {
                // The sum of many draws, by the normal approximation of the binomial distribution.
                let mut arms = [(0.05, 0_u64), (0.06, 1)].map(|(share, arm)| {
                    let seed = experiment * 2 + arm + 1;
                    let mean = each as f64 * share;
                    let deviation = (mean * (1.0 - share)).sqrt();
                    let hits = (mean + deviation * draw(seed)).round().clamp(0.0, each as f64) as u64;
                    let mut sums = Sums::default();
                    sums.merge(&repeated(1.0, hits));
                    sums.merge(&repeated(0.0, each - hits));
                    sums.estimate(Measure::Share).unwrap()
                });
                let [control, challenger] = &mut arms;
                let difference = Difference::of(control, challenger).unwrap();
                let p = match look {
                    Look::Once => difference.fixed(0.05).p,
                    Look::AnyTime => difference.sequence(0.05, units).p,
                };
                found += u64::from(p < 0.05);
            }
            let power = found as f64 / 2_000.0;
            // Two points, and three standard errors of 2,000 experiments would be 2.7.
            assert!((power - 0.8).abs() <= 0.02, "{look:?}: {power}");
        }
    }

    fn repeated(part: f64, times: u64) -> Sums {
        let mut sums = Sums::default();
        for _ in 0..times {
            sums.add(Unit { part, size: 1.0, before: 0.0 });
        }
        sums
    }

    /// A draw from the standard normal distribution, evenly spread over the seeds.
    fn draw(seed: u64) -> f64 {
        let x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        normal::quantile((((x ^ (x >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64)
    }

    #[test]
    fn what_cannot_be_planned_is_said() {
        assert_eq!(design(Look::Once).units(0.0, 0.8), None);
        assert_eq!(design(Look::AnyTime).units(f64::NAN, 0.8), None);
        assert_eq!(Design { shares: [0.0, 1.0], ..design(Look::Once) }.units(0.01, 0.8), None);
    }

    proptest! {
        #[test]
        fn looking_at_any_time_needs_more_and_so_does_a_smaller_effect(effect in 0.001..0.05_f64) {
            let units = |look, effect| design(look).units(effect, 0.8).unwrap();
            prop_assert!(units(Look::AnyTime, effect) > units(Look::Once, effect));
            prop_assert!(units(Look::AnyTime, effect / 2.0) > units(Look::AnyTime, effect));
        }
    }
}
