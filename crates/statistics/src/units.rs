//! Sums over the units of an experiment: all that is kept of them, and what follows for an arm.

/// What one unit, such as a customer, adds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Unit {
    /// The numerator: how often, or how much.
    pub part: f64,
    /// The denominator of a ratio: decisions, offers. Not looked at by other measures.
    pub size: f64,
    /// The covariate: the same as the numerator, from before the unit took part.
    pub before: f64,
}

/// Power sums over units. They merge, and a unit may be taken out again, so that one which changes is counted once.
///
/// Sums of whole numbers below 2⁵³ are exact, and so do not depend on the order. Takes 80 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    n: u64,
    part: f64,
    size: f64,
    before: f64,
    parts: f64,
    sizes: f64,
    befores: f64,
    part_size: f64,
    part_before: f64,
}

/// What is measured of an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The share of units with a part of 1; each is 0 or 1. Its variance is that of the share, p(1 − p).
    Share,
    /// The mean of the parts over units.
    Mean,
    /// Σ part ÷ Σ size over units, by the delta method.
    Ratio,
}

/// A value of an arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Its units, at least two.
    pub n: u64,
    /// The value.
    pub value: f64,
    /// The variance of one unit. That of the value is this ÷ n.
    pub variance: f64,
}

impl Sums {
    /// Counts a unit. One with a number that is not finite is left out; returns whether it was counted.
    pub fn add(&mut self, unit: Unit) -> bool {
        self.change(unit, 1.0)
    }

    /// Takes a unit out again that was counted.
    pub fn remove(&mut self, unit: Unit) {
        self.change(unit, -1.0);
    }

    fn change(&mut self, Unit { part, size, before }: Unit, sign: f64) -> bool {
        if !(part.is_finite() && size.is_finite() && before.is_finite()) {
            return false;
        }
        self.n = if sign > 0.0 { self.n + 1 } else { self.n.saturating_sub(1) };
        self.part += sign * part;
        self.size += sign * size;
        self.before += sign * before;
        self.parts += sign * part * part;
        self.sizes += sign * size * size;
        self.befores += sign * before * before;
        self.part_size += sign * part * size;
        self.part_before += sign * part * before;
        true
    }

    /// Adds the units of another.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.part += other.part;
        self.size += other.size;
        self.before += other.before;
        self.parts += other.parts;
        self.sizes += other.sizes;
        self.befores += other.befores;
        self.part_size += other.part_size;
        self.part_before += other.part_before;
    }

    /// How many units there are.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The sum of the numerators.
    #[must_use]
    pub fn part(&self) -> f64 {
        self.part
    }

    /// The sum of the denominators.
    #[must_use]
    pub fn size(&self) -> f64 {
        self.size
    }

    /// The mean of the covariates; 0 without a unit.
    #[must_use]
    pub fn mean_before(&self) -> f64 {
        if self.n == 0 { 0.0 } else { self.before / self.n as f64 }
    }

    /// The value of an arm; `None` with fewer than two units, without a denominator, or if a sum is not finite.
    ///
    /// Source of the variance of a ratio: Deng, Knoblich & Lu, "Applying the delta method in metric analytics" (2018).
    #[must_use]
    pub fn estimate(&self, measure: Measure) -> Option<Estimate> {
        if self.n < 2 {
            return None;
        }
        let n = self.n as f64;
        let mean = self.part / n;
        let (value, variance) = match measure {
            Measure::Share => (mean, (mean * (1.0 - mean)).max(0.0)),
            Measure::Mean => (mean, self.variance_of_part()),
            Measure::Ratio => {
                let size = self.size / n;
                let covariance = spread(self.part_size, self.part, self.size, n);
                let sizes = spread(self.sizes, self.size, self.size, n);
                let ratio = mean / size;
                let squares = self.variance_of_part() - 2.0 * ratio * covariance + ratio * ratio * sizes;
                (ratio, squares.max(0.0) / (size * size))
            }
        };
        Estimate::of(self.n, value, variance)
    }

    /// The mean of the parts, less what `theta` says of the covariate: y − θ·(x − `mean_before`). `mean_before` is that
    /// of all arms together, so that the value stays near the plain mean. As [`Sums::estimate`].
    ///
    /// Source: Deng, Xu, Kohavi & Walker, "Improving the sensitivity of online controlled experiments by utilizing
    /// pre-experiment data" (2013).
    #[must_use]
    pub fn estimate_adjusted(&self, theta: f64, mean_before: f64) -> Option<Estimate> {
        if self.n < 2 {
            return None;
        }
        let n = self.n as f64;
        let covariance = spread(self.part_before, self.part, self.before, n);
        let befores = spread(self.befores, self.before, self.before, n).max(0.0);
        let variance = self.variance_of_part() + theta * theta * befores - 2.0 * theta * covariance;
        Estimate::of(self.n, self.part / n - theta * (self.before / n - mean_before), variance.max(0.0))
    }

    fn variance_of_part(&self) -> f64 {
        spread(self.parts, self.part, self.part, self.n as f64).max(0.0)
    }
}

impl Estimate {
    fn of(n: u64, value: f64, variance: f64) -> Option<Self> {
        (value.is_finite() && variance.is_finite()).then_some(Self { n, value, variance })
    }
}

/// The covariance of a sample, from the sum of products and the two sums.
fn spread(products: f64, one: f64, other: f64, n: f64) -> f64 {
    (products - one / n * other) / (n - 1.0)
}

/// θ of [`Sums::estimate_adjusted`]: the covariance of part and covariate ÷ the variance of the covariate, over the
/// units of all arms. `None` if the covariate does not vary.
#[must_use]
pub fn theta(arms: &[&Sums]) -> Option<f64> {
    let mut all = Sums::default();
    for arm in arms {
        all.merge(arm);
    }
    let n = all.n as f64;
    let befores = spread(all.befores, all.before, all.before, n);
    // Of equal values, the sums leave some rounding.
    let is_spread = all.n >= 2 && befores > 1e-12 * all.befores / n;
    let theta = spread(all.part_before, all.part, all.before, n) / befores;
    (is_spread && theta.is_finite()).then_some(theta)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Data that anyone can make again: two arms of 2,000 units, in which `post` of the second is 0.15 higher.
    pub(crate) struct Made {
        pub(crate) pre: f64,
        pub(crate) post: f64,
        pub(crate) sessions: u64,
        pub(crate) clicks: u64,
    }

    fn mix(number: u64) -> u64 {
        let x = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn uniform(number: u64) -> f64 {
        (mix(number) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn made(offset: u64, lift: f64) -> Vec<Made> {
        let unit = |at: u64| {
            let base = offset + 4 * at;
            let pre = 10.0 * uniform(base);
            let sessions = 1 + (5.0 * uniform(base + 2)) as u64;
            let clicks = (0..sessions)
                .filter(|session| uniform(base + 3 + 1_000_003 * (session + 1)) < 0.2 + lift / 20.0)
                .count() as u64;
            Made { pre, post: 0.8 * pre + 3.0 * uniform(base + 1) + lift, sessions, clicks }
        };
        (0..2_000).map(unit).collect()
    }

    pub(crate) fn sums(units: impl IntoIterator<Item = Unit>) -> Sums {
        let mut sums = Sums::default();
        units.into_iter().for_each(|unit| assert!(sums.add(unit)));
        sums
    }

    pub(crate) fn arms() -> [Vec<Made>; 2] {
        [made(1, 0.0), made(10_000_001, 0.15)]
    }

    pub(crate) fn of_post(arm: &[Made]) -> Sums {
        sums(arm.iter().map(|one| Unit { part: one.post, size: 1.0, before: one.pre }))
    }

    pub(crate) fn of_clicks(arm: &[Made]) -> Sums {
        sums(arm.iter().map(|one| Unit { part: one.clicks as f64, size: one.sessions as f64, before: 0.0 }))
    }

    /// Variances and θ as `gbstats` 0.8.0 has them.
    #[test]
    fn another_implementation_finds_the_same() {
        let made = arms();
        let [control, challenger] = [of_post(&made[0]), of_post(&made[1])];
        let near = |found: f64, expected: f64, digits: f64| (found - expected).abs() < digits;
        assert!(near(control.part(), 10_944.995_569_942_737, 1e-8));
        assert!(near(challenger.part(), 11_383.360_045_332_2, 1e-8));
        let [one, other] = [&control, &challenger].map(|arm| arm.estimate(Measure::Mean).unwrap().variance);
        assert!(near(one, 6.0909, 5e-5) && near(other, 6.1866, 5e-5), "{one} {other}");
        let theta = theta(&[&control, &challenger]).unwrap();
        assert!(near(theta, 0.802_575_413_315_594_2, 1e-12), "{theta}");
        let adjusted = [&control, &challenger].map(|arm| arm.estimate_adjusted(theta, 5.0).unwrap().variance);
        assert!(near(adjusted[0], 0.747_04, 5e-6) && near(adjusted[1], 0.757_30, 5e-6), "{adjusted:?}");
        let clicks = [&made[0], &made[1]].map(|arm| of_clicks(arm));
        assert_eq!((clicks[0].size(), clicks[0].part()), (6_013.0, 1_195.0));
        assert_eq!((clicks[1].size(), clicks[1].part()), (5_891.0, 1_267.0));
    }

    #[test]
    fn nothing_follows_from_nothing() {
        let none = Sums::default();
        let one = sums([Unit { part: 1.0, size: 1.0, before: 1.0 }]);
        for sums in [none, one] {
            assert_eq!(
                [Measure::Share, Measure::Mean, Measure::Ratio].map(|of| sums.estimate(of)),
                [None; 3]
            );
            assert_eq!((sums.estimate_adjusted(0.5, 0.0), theta(&[&sums])), (None, None));
        }
        let without_size = sums([Unit { part: 1.0, ..Unit::default() }; 3]);
        assert_eq!(without_size.estimate(Measure::Ratio), None);
        assert!(without_size.estimate(Measure::Mean).unwrap().variance.abs() < f64::EPSILON);
        // A covariate that is the same for everyone says nothing.
        assert_eq!(theta(&[&sums(vec![Unit { part: 1.0, size: 1.0, before: 0.1 }; 1_000])]), None);
    }

    fn units() -> impl Strategy<Value = Vec<Unit>> {
        let unit = (0_u32..50, 0_u32..9, 0_u32..50).prop_map(|(part, size, before)| Unit {
            part: part.into(),
            size: size.into(),
            before: before.into(),
        });
        prop::collection::vec(unit, 0..80)
    }

    proptest! {
        #[test]
        fn parts_are_the_whole_and_what_is_taken_out_was_never_there(one in units(), other in units()) {
            let whole = sums(one.iter().chain(&other).copied());
            let mut merged = sums(other.iter().copied());
            merged.merge(&sums(one.iter().copied()));
            prop_assert_eq!(merged, whole);
            for unit in &other {
                merged.remove(*unit);
            }
            prop_assert_eq!(merged, sums(one.iter().copied()));
        }

        #[test]
        fn no_number_breaks_anything(
            units in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>()), 0..20), at in any::<f64>(),
        ) {
            let mut sums = Sums::default();
            let mut counted = 0;
            for (part, size, before) in units {
                counted += u64::from(sums.add(Unit { part, size, before }));
            }
            prop_assert_eq!(sums.n(), counted);
            for measure in [Measure::Share, Measure::Mean, Measure::Ratio] {
                if let Some(found) = sums.estimate(measure) {
                    prop_assert!(found.value.is_finite() && found.variance >= 0.0);
                }
            }
            let _ = (theta(&[&sums]), sums.estimate_adjusted(at, at), sums.mean_before());
        }
    }
}
