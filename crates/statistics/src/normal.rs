//! The standard normal distribution.

use std::f64::consts::TAU;

/// From here on the tail is computed by itself; nearer to 0 the series needs few terms.
const TAIL: f64 = 2.0;

/// Terms of the continued fraction: at [`TAIL`], the ones left out are below 10⁻¹⁸ of the result.
const FRACTIONS: u32 = 60;

/// The probability of a value up to `x`.
///
/// The relative error is below 10⁻¹³ from −8 to 8, also in the lower tail; use `cdf(-x)` for the upper one. NaN gives
/// NaN. Sources: Marsaglia, "Evaluating the normal distribution" (2004), the series; Laplace's continued fraction for
/// the tail, Abramowitz & Stegun 26.2.14.
#[must_use]
pub fn cdf(x: f64) -> f64 {
    if x > 0.0 {
        return 1.0 - cdf(-x);
    }
    let density = (-0.5 * x * x).exp() / TAU.sqrt();
    if x < -TAIL {
        let below = (1..=FRACTIONS).rev().fold(-x, |rest, term| -x + f64::from(term) / rest);
        return density / below;
    }
    let (mut sum, mut term, mut odd) = (x, x, 1.0);
    loop {
        odd += 2.0;
        term *= x * x / odd;
        let next = sum + term;
        // NaN never equals itself, and ends here too.
        if next.to_bits() == sum.to_bits() || next.is_nan() {
            return 0.5 + density * next;
        }
        sum = next;
    }
}

/// The value up to which the probability is `p`: −∞ at 0 and below, ∞ at 1 and above.
///
/// The relative error is about 10⁻¹⁶. NaN gives NaN. Source: Wichura, "Algorithm AS 241: the percentage points of the
/// normal distribution" (1988), PPND16.
#[must_use]
pub fn quantile(p: f64) -> f64 {
    if p.is_nan() {
        return f64::NAN;
    }
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    let from_middle = p - 0.5;
    if from_middle.abs() <= 0.425 {
        let r = 0.180_625 - from_middle * from_middle;
        return from_middle * quotient(&MIDDLE, r);
    }
    let tail = p.min(1.0 - p);
    let r = (-tail.ln()).sqrt();
    let size = if r <= 5.0 { quotient(&SIDE, r - 1.6) } else { quotient(&FAR, r - 5.0) };
    if from_middle < 0.0 { -size } else { size }
}

/// A quotient of two polynomials, the coefficients from that of r⁰ on.
fn quotient([above, below]: &[[f64; 8]; 2], r: f64) -> f64 {
    let value = |terms: &[f64; 8]| terms.iter().rev().fold(0.0, |sum, term| sum * r + term);
    value(above) / value(below)
}

#[expect(clippy::excessive_precision, clippy::unreadable_literal, reason = "as printed in the source")]
const MIDDLE: [[f64; 8]; 2] = [
    [
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ],
    [
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ],
];

#[expect(clippy::excessive_precision, clippy::unreadable_literal, reason = "as printed in the source")]
const SIDE: [[f64; 8]; 2] = [
    [
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ],
    [
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ],
];

#[expect(clippy::excessive_precision, clippy::unreadable_literal, reason = "as printed in the source")]
const FAR: [[f64; 8]; 2] = [
    [
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ],
    [
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ],
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-13, "{found} is not {expected}");
    }

    /// `scipy.stats.norm.ppf`, SciPy 1.17.1.
    #[test]
    fn quantiles_are_those_of_scipy() {
        for (p, expected) in SCIPY_PPF {
            near(quantile(p), expected);
        }
        assert_eq!(quantile(0.5).to_bits(), 0.0_f64.to_bits());
        assert!(quantile(0.0) < f64::MIN && quantile(1.0) > f64::MAX);
        assert!(quantile(f64::NAN).is_nan());
    }

    /// `scipy.stats.norm.cdf`, SciPy 1.17.1.
    #[test]
    fn probabilities_are_those_of_scipy() {
        for (x, expected) in SCIPY_CDF {
            near(cdf(x), expected);
        }
        assert_eq!(
            [cdf(f64::NEG_INFINITY), cdf(f64::INFINITY)].map(f64::to_bits),
            [0.0, 1.0].map(f64::to_bits)
        );
        assert!(cdf(f64::NAN).is_nan());
    }

    const SCIPY_PPF: [(f64, f64); 7] = [
        (1e-300, -37.047_096_299_361_2),
        (1e-12, -7.034_483_825_301_131),
        (0.001, -3.090_232_306_167_813),
        (0.025, -1.959_963_984_540_054_5),
        (0.3, -0.524_400_512_708_040_9),
        (0.975, 1.959_963_984_540_054),
        (0.9999, 3.719_016_485_455_709),
    ];

    const SCIPY_CDF: [(f64, f64); 11] = [
        (-12.0, 1.776_482_112_077_653e-33),
        (-8.0, 6.220_960_574_271_74e-16),
        (-3.0, 0.001_349_898_031_630_093_3),
        (-2.5, 0.006_209_665_325_776_132),
        (-2.0, 0.022_750_131_948_179_195),
        (-1.5, 0.066_807_201_268_858_07),
        (-0.1, 0.460_172_162_722_971),
        (0.0, 0.5),
        (0.7, 0.758_036_347_776_927),
        (1.96, 0.975_002_104_851_779_5),
        (4.0, 0.999_968_328_758_166_9),
    ];

    proptest! {
        #[test]
        fn a_quantile_has_its_probability(p in prop_oneof![1e-15_f64..1e-3, 1e-3..0.999_f64]) {
            prop_assert!((cdf(quantile(p)) / p - 1.0).abs() < 1e-12);
        }
    }
}
