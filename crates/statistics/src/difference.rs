//! The difference between two arms, with intervals for one look and for any number of them.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::{Estimate, Interval};

/// A difference between two arms: challenger − control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The difference.
    pub delta: f64,
    /// Its variance.
    pub variance: f64,
    /// The units of the control, and of the challenger.
    pub n: [u64; 2],
    /// The degrees of freedom of Welch's test.
    pub degrees: f64,
}

/// What is inferred about a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inference {
    /// Its interval.
    pub interval: Interval,
    /// The probability of a difference at least as large where there is none; at least that, for a sequence.
    pub p: f64,
}

impl Difference {
    /// The difference between two arms. `None` if neither varies, or a number is not finite.
    #[must_use]
    pub fn of(control: &Estimate, challenger: &Estimate) -> Option<Self> {
        Self::new(challenger.value - control.value, control, challenger, [1.0, 1.0])
    }

    /// The difference as a share of the control's value, by the delta method on the quotient. `of_control` and
    /// `of_challenger` are the values that are not adjusted by a covariate: those people compare with. `None` if the
    /// control's is 0.
    ///
    /// Source: `gbstats` 0.8.0, `frequentist_variance` with `relative`.
    #[must_use]
    pub fn relative(
        control: &Estimate,
        challenger: &Estimate,
        [of_control, of_challenger]: [f64; 2],
    ) -> Option<Self> {
        let delta = (challenger.value - control.value) / of_control;
        let to_challenger = of_control.powi(2).recip();
        let to_control = of_challenger.powi(2) / of_control.powi(4);
        Self::new(delta, control, challenger, [to_control, to_challenger])
    }

    /// `scale`: what the variance of each value is multiplied by.
    fn new(delta: f64, control: &Estimate, challenger: &Estimate, scale: [f64; 2]) -> Option<Self> {
        let of_mean = |arm: &Estimate| arm.variance / arm.n as f64;
        let parts = [of_mean(control) * scale[0], of_mean(challenger) * scale[1]];
        // The degrees of freedom do not depend on the unit.
        let [one, other] = [of_mean(control), of_mean(challenger)];
        let squares = one * one / (control.n as f64 - 1.0) + other * other / (challenger.n as f64 - 1.0);
        let degrees = (one + other).powi(2) / squares;
        let variance = parts[0] + parts[1];
        let is_known = delta.is_finite() && variance.is_finite() && variance > 0.0 && degrees > 0.0;
        is_known.then_some(Self { delta, variance, n: [control.n, challenger.n], degrees })
    }

    /// The inference for one look at a time that was fixed before: Welch's two-sided t test.
    ///
    /// Source: Welch, "The generalization of Student's problem when several different population variances are
    /// involved" (1947).
    #[must_use]
    pub fn fixed(&self, alpha: f64) -> Inference {
        let error = self.variance.sqrt();
        let statistic = (self.delta / error).abs();
        let (quantile, p) = match StudentsT::new(0.0, 1.0, self.degrees) {
            Ok(t) => (t.inverse_cdf(1.0 - alpha / 2.0), 2.0 * t.sf(statistic)),
            Err(_) => (crate::normal::quantile(1.0 - alpha / 2.0), 2.0 * crate::normal::cdf(-statistic)),
        };
        Inference { interval: Interval::around(self.delta, quantile * error), p: p.clamp(0.0, 1.0) }
    }

    /// The inference that holds however often one looks, and whenever one stops: an asymptotic confidence sequence. It is
    /// tightest with `planned` units in both arms. p is that of this look; over several, take the least.
    ///
    /// Sources: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic
    /// confidence sequences" (2024), theorem 2.2; p is the level at which the interval ends at 0.
    #[must_use]
    pub fn sequence(&self, alpha: f64, planned: u64) -> Inference {
        let n = (self.n[0] + self.n[1]) as f64;
        let squares = n * rho(alpha, planned).powi(2);
        let root = (squares + 1.0).sqrt();
        let factor = 2.0 * (squares + 1.0) / (n * squares) * (root / alpha).ln();
        let distance = (self.variance * n * factor).max(0.0).sqrt();
        let exponent = self.delta * self.delta / self.variance * squares / (2.0 * (squares + 1.0));
        let p = root * (-exponent).exp();
        Inference { interval: Interval::around(self.delta, distance), p: p.clamp(0.0, 1.0) }
    }
}

/// The parameter ρ of a sequence that is tightest with `planned` units in both arms.
///
/// Source: Waudby-Smith et al. (2024), appendix B.2, as `gbstats` 0.8.0 has it.
#[must_use]
pub fn rho(alpha: f64, planned: u64) -> f64 {
    let log = -2.0 * alpha.ln();
    ((log + (log + 1.0).ln()) / planned.max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::tests::{arms, of_clicks, of_post, sums};
    use crate::{Measure, Sums, Unit, theta};

    const ALPHA: f64 = 0.05;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    fn check(found: &Inference, (low, high): (f64, f64), p: f64) {
        near(found.interval.low, low);
        near(found.interval.high, high);
        near(found.p, p);
    }

    fn share(hits: u64, n: u64) -> Estimate {
        let unit = |part| Unit { part, size: 1.0, before: 0.0 };
        let hits = (0..hits).map(|_| unit(1.0)).chain((hits..n).map(|_| unit(0.0)));
        sums(hits).estimate(Measure::Share).unwrap()
    }

    #[test]
    fn shares_are_compared_as_elsewhere() {
        let found = Difference::of(&share(500, 10_000), &share(560, 10_000)).unwrap();
        near(found.delta, 0.006);
        assert!((found.variance - 1.003_64e-5).abs() < 1e-12);
        near(rho(ALPHA, 5_000), 0.039_840_1);
        near(rho(ALPHA, 20_000), 0.019_920_0);
        let sequence = found.sequence(ALPHA, 5_000);
        near(sequence.interval.low, -0.003_906_8);
        near(sequence.interval.high, 0.015_906_8);
        check(&found.sequence(ALPHA, 20_000), (-0.003_615_6, 0.015_615_6), 0.607_915);
        check(&found.fixed(ALPHA), (-0.000_209_6, 0.012_209_6), 0.058_250);
    }

    /// Goldens of `gbstats` 0.8.0 on data that anyone can make again; `tea-tasting` 1.14 agrees.
    #[test]
    fn means_adjusted_means_and_ratios_are_compared_as_elsewhere() {
        let made = arms();
        let [control, challenger] = [of_post(&made[0]), of_post(&made[1])];
        let plain = [&control, &challenger].map(|arm| arm.estimate(Measure::Mean).unwrap());
        let found = Difference::of(&plain[0], &plain[1]).unwrap();
        near(found.delta, 0.219_182_238);
        check(&found.fixed(ALPHA), (0.065_571_774, 0.372_792_702), 0.005_175_23);
        check(&found.sequence(ALPHA, 5_000), (-0.019_032_251, 0.457_396_726), 0.092_257_3);
        let relative = Difference::relative(&plain[0], &plain[1], [plain[0].value, plain[1].value]).unwrap();
        near(relative.delta, 0.040_051_590);
        check(&relative.fixed(ALPHA), (0.011_418_804, 0.068_684_376), 0.006_125_78);
        let interval = relative.sequence(ALPHA, 5_000).interval;
        near(interval.low, -0.004_351_273);
        near(interval.high, 0.084_454_453);

        let theta = theta(&[&control, &challenger]).unwrap();
        let mut all = control;
        all.merge(&challenger);
        let adjusted =
            [&control, &challenger].map(|arm| arm.estimate_adjusted(theta, all.mean_before()).unwrap());
        let found = Difference::of(&adjusted[0], &adjusted[1]).unwrap();
        near(found.delta, 0.156_536_763);
        check(&found.fixed(ALPHA), (0.102_767_126, 0.210_306_401), 1.228_399_74e-8);
        check(&found.sequence(ALPHA, 5_000), (0.073_152_427, 0.239_921_100), 2.097_03e-6);
        let relative = Difference::relative(&adjusted[0], &adjusted[1], [plain[0].value, plain[1].value]);
        let relative = relative.unwrap();
        near(relative.delta, 0.028_604_263);
        check(&relative.fixed(ALPHA), (0.018_581_483, 0.038_627_042), 2.350_11e-8);
        let interval = relative.sequence(ALPHA, 5_000).interval;
        near(interval.low, 0.013_061_238);
        near(interval.high, 0.044_147_288);

        let ratios = [&made[0], &made[1]].map(|arm| of_clicks(arm).estimate(Measure::Ratio).unwrap());
        let found = Difference::of(&ratios[0], &ratios[1]).unwrap();
        near(found.delta, 0.016_337_770);
        check(&found.fixed(ALPHA), (0.001_909_358, 0.030_766_181), 0.026_474_363_6);
        check(&found.sequence(ALPHA, 5_000), (-0.006_037_367, 0.038_712_906), 0.322_511);
        let relative =
            Difference::relative(&ratios[0], &ratios[1], [ratios[0].value, ratios[1].value]).unwrap();
        near(relative.delta, 0.082_208_375);
        check(&relative.fixed(ALPHA), (0.006_682_327, 0.157_734_423), 0.032_901_7);
        let interval = relative.sequence(ALPHA, 5_000).interval;
        near(interval.low, -0.034_915_096);
        near(interval.high, 0.199_331_846);
    }

    #[test]
    fn what_does_not_vary_has_no_interval() {
        let same = |value| Estimate { n: 100, value, variance: 0.0 };
        assert_eq!(Difference::of(&same(0.0), &same(1.0)), None);
        let varies = Estimate { n: 100, value: 1.0, variance: 1.0 };
        assert!(Difference::of(&same(0.0), &varies).is_some());
        assert_eq!(Difference::relative(&same(0.0), &varies, [0.0, 1.0]), None);
        assert_eq!(Difference::of(&varies, &Estimate { value: f64::INFINITY, ..varies }), None);
    }

    fn estimate() -> impl Strategy<Value = Estimate> {
        (2_u64..100_000, -1e3..1e3_f64, 1e-6..1e4_f64).prop_map(|(n, value, variance)| Estimate {
            n,
            value,
            variance,
        })
    }

    proptest! {
        #[test]
        fn p_is_below_alpha_where_the_interval_leaves_out_nothing(
            one in estimate(), other in estimate(), alpha in 0.001..0.2_f64, planned in 100_u64..1_000_000,
        ) {
            let found = Difference::of(&one, &other).unwrap();
            for Inference { interval, p } in [found.fixed(alpha), found.sequence(alpha, planned)] {
                prop_assert!((0.0..=1.0).contains(&p));
                prop_assert!(interval.low <= found.delta && found.delta <= interval.high);
                let leaves_out = interval.low > 0.0 || interval.high < 0.0;
                // Near the level both are within rounding.
                if (p - alpha).abs() > 1e-6 {
                    prop_assert_eq!(p < alpha, leaves_out, "p {} of {:?}", p, interval);
                }
            }
        }

        /// Control and challenger change places: so does everything.
        #[test]
        fn orientation_changes_signs_alone(one in estimate(), other in estimate()) {
            let (there, back) = (Difference::of(&one, &other).unwrap(), Difference::of(&other, &one).unwrap());
            prop_assert!((there.delta + back.delta).abs() == 0.0);
            let (there, back) = (there.sequence(0.05, 5_000), back.sequence(0.05, 5_000));
            prop_assert_eq!((there.interval.low, there.p), (-back.interval.high, back.p));
        }

        #[test]
        fn a_sequence_is_wider_than_one_look(one in estimate(), other in estimate(), planned in 100_u64..1_000_000) {
            let found = Difference::of(&one, &other).unwrap();
            // With few units, t has heavier tails than the limit that the sequence is about.
            prop_assume!(one.n.min(other.n) >= 100);
            let (fixed, sequence) = (found.fixed(0.05), found.sequence(0.05, planned));
            prop_assert!(sequence.interval.low <= fixed.interval.low && fixed.p <= sequence.p);
        }
    }

    /// The error of a test that looks after every unit from the first 100 on, over A/A data.
    fn false_alarms(tests: u64, looks: u64, each: u64) -> u64 {
        use std::iter;
        let mut alarms = 0;
        for test in 0..tests {
            let mut state = test.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66;
            let mut draw = || {
                state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let x = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
            };
            let mut arms = [Sums::default(); 2];
            let is_shown = |arm: &Sums| arm.n() >= 100 && arm.part() >= 25.0;
            let mut seen = 0;
            let alarm = iter::repeat_with(|| {
                for arm in &mut arms {
                    for _ in 0..each {
                        arm.add(Unit { part: f64::from(draw() < 0.05), size: 1.0, before: 0.0 });
                    }
                }
                let [one, other] = &arms;
                if !(is_shown(one) && is_shown(other)) {
                    return false;
                }
                seen += 1;
                let found = one.estimate(Measure::Share).zip(other.estimate(Measure::Share));
                let found = found.and_then(|(one, other)| Difference::of(&one, &other));
                found.is_some_and(|found| found.sequence(ALPHA, 20_000).p < ALPHA)
            })
            .take((looks + 1_000 / each) as usize)
            .any(|alarm| alarm);
            assert!(alarm || seen >= looks, "{seen} looks");
            alarms += u64::from(alarm);
        }
        alarms
    }

    /// 1,000 looks at each of 200 A/A tests with a base rate of 5 %.
    #[test]
    fn looking_again_and_again_raises_no_more_alarms_than_it_says() {
        let alarms = false_alarms(200, 1_000, 20);
        let expected = 200.0 * ALPHA;
        let most = expected + 3.0 * (expected * (1.0 - ALPHA)).sqrt();
        assert!((alarms as f64) <= most, "{alarms} of 200, at most {most}");
    }

    /// The same 2,000 times: the upper 99 % limit of the rate is at most 0.01 above alpha.
    #[test]
    #[ignore = "minutes; `make stats` runs it"]
    fn looking_again_and_again_over_2000_tests() {
        let alarms = false_alarms(2_000, 1_000, 20);
        let upper = crate::wilson(alarms, 2_000, crate::normal::quantile(0.99)).unwrap().high;
        println!(
            "{alarms} of 2,000 A/A tests raised an alarm; the upper 99 % limit of the rate is {upper:.4}"
        );
        assert!(upper <= ALPHA + 0.01, "{upper}");
    }
}
