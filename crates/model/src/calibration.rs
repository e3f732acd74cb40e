//! From a raw score to a propensity.

use document::Table;

/// How a raw score becomes a propensity.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Calibration {
    /// The score already is a propensity.
    #[default]
    None,
    /// Platt scaling: `p = 1 / (1 + exp(-(a · s + b)))`.
    /// Source: Platt (1999), with the sign of `a` reversed, so that a positive `a` keeps the order of the scores.
    /// `sklearn_sigmoid` of a manifest is `p = 1 / (1 + exp(a · s + b))` with `a_` and `b_` of scikit-learn's
    /// `_SigmoidCalibration`. It is read as this with both signs reversed.
    Platt {
        /// The slope; not 0.
        a: f64,
        /// The intercept.
        b: f64,
    },
    /// Isotonic regression: see [`Isotonic`].
    Isotonic(Isotonic),
}

/// A piecewise linear, monotonic function given by its knots. Constant beyond the first and the last. Source: Zadrozny
/// and Elkan (2002).
#[derive(Debug, Clone, PartialEq)]
pub struct Isotonic {
    /// Scores, strictly increasing; at least one.
    x: Vec<f64>,
    /// Propensities in 0..=1, one per score. Non-decreasing, or non-increasing where the manifest says `falling`.
    y: Vec<f64>,
}

impl Calibration {
    /// Reads `[calibration]`, which may be absent, and its flag `falling`.
    ///
    /// Falling Platt scaling without that flag is no problem here, because stored releases may have it. The gate
    /// `calibration` and the review of new releases refuse it.
    pub(super) fn read(table: Option<&Table<'_, '_>>) -> (Self, bool) {
        let Some(table) = table else { return (Self::None, false) };
        let falling = table.or("falling", false);
        let calibration = Self::read_method(table, falling);
        if falling && calibration != Self::None && calibration.direction() == Direction::Rising {
            table.problem_at("falling", "`falling` is true, but the calibration rises; remove it");
        }
        (calibration, falling)
    }

    fn read_method(table: &Table<'_, '_>, falling: bool) -> Self {
        let methods = [
            ("none", Method::None),
            ("platt", Method::Platt),
            ("sklearn_sigmoid", Method::SklearnSigmoid),
            ("isotonic", Method::Isotonic),
        ];
        let Some(method) =
            table.choice("method", &methods).or((!table.has("method")).then_some(Method::None))
        else {
            // Reported. The other keys cannot be checked for an unknown method.
            return Self::None;
        };
        let calibration = match method {
            Method::None => Self::None,
            Method::Platt | Method::SklearnSigmoid => {
                let (a, b): (f64, f64) = (table.required("a"), table.required("b"));
                if table.has("a") && a == 0.0 {
                    table.problem_at(
                        "a",
                        "`a` must not be 0, which would give every score the same propensity",
                    );
                }
                let sign = if matches!(method, Method::SklearnSigmoid) { -1.0 } else { 1.0 };
                Self::Platt { a: sign * a, b: sign * b }
            }
            Method::Isotonic => {
                let (x, y) = (table.required::<Vec<f64>>("x"), table.required::<Vec<f64>>("y"));
                if table.has("x") && table.has("y") {
                    check_corners(table, &x, &y, falling);
                }
                Self::Isotonic(Isotonic { x, y })
            }
        };
        table.finish();
        calibration
    }

    /// Whether a higher score means a higher propensity.
    #[must_use]
    pub fn direction(&self) -> Direction {
        let rises = match self {
            Self::None => true,
            Self::Platt { a, .. } => *a >= 0.0,
            Self::Isotonic(isotonic) => isotonic.y.first() <= isotonic.y.last(),
        };
        if rises { Direction::Rising } else { Direction::Falling }
    }

    /// The propensity of a raw score, in double precision. `None` where the score is not finite or the result lies
    /// outside 0..=1 by more than `rounding`. A result outside by less becomes 0 or 1.
    #[must_use]
    pub fn propensity(&self, raw: f32, rounding: f64) -> Option<f64> {
        if !raw.is_finite() {
            return None;
        }
        let score = f64::from(raw);
        let propensity = match self {
            Self::None => score,
            Self::Platt { a, b } => 1.0 / (1.0 + (-(a * score + b)).exp()),
            Self::Isotonic(isotonic) => isotonic.at(score),
        };
        (-rounding..=1.0 + rounding).contains(&propensity).then(|| propensity.clamp(0.0, 1.0))
    }
}

/// The effect of a calibration on the order of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Keeps the order: the highest score has the highest propensity.
    Rising,
    /// Reverses the order.
    Falling,
}

/// Why a falling calibration is refused, and what to do.
pub const FALLING: &str = "the calibration falls: the highest score becomes the lowest propensity. It rises with a positive `a` under \
                           method = \"platt\", and with a negative one under method = \"sklearn_sigmoid\", which is how scikit-learn \
                           and LIBSVM write `a` and `b`; if the model's scores are upside down, say falling = true under [calibration]";

#[derive(Debug, Clone, Copy)]
enum Method {
    None,
    Platt,
    SklearnSigmoid,
    Isotonic,
}

fn check_corners(table: &Table<'_, '_>, x: &[f64], y: &[f64], falling: bool) {
    if x.is_empty() || x.len() != y.len() {
        let message =
            format!("`x` and `y` must be equally long and not empty, not {} and {}", x.len(), y.len());
        table.problem_at("y", message);
    }
    if let Some((left, right)) = x.iter().zip(x.iter().skip(1)).find(|(left, right)| left >= right) {
        table.problem_at("x", format!("`x` must increase, but {left} is followed by {right}"));
    }
    let mut pairs = y.iter().zip(y.iter().skip(1));
    if falling {
        if let Some((left, right)) = pairs.find(|(left, right)| left < right) {
            let message =
                format!("`y` must not increase where `falling` is true, but {left} is followed by {right}");
            table.problem_at("y", message);
        }
    } else if let Some((left, right)) = pairs.find(|(left, right)| left > right) {
        let message = format!(
            "`y` must not decrease, but {left} is followed by {right}; if the model's scores are upside down, say falling = true"
        );
        table.problem_at("y", message);
    }
    if let Some(value) = y.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        table.problem_at("y", format!("`y` must lie in 0..=1, but has {value}"));
    }
}

impl Isotonic {
    /// The value at `score`, in O(log knots).
    fn at(&self, score: f64) -> f64 {
        let after = self.x.partition_point(|x| *x <= score);
        let (Some(left), Some(right)) = (after.checked_sub(1), self.x.get(after)) else {
            let end = if after == 0 { self.y.first() } else { self.y.last() };
            return end.copied().unwrap_or(f64::NAN);
        };
        let share = (score - self.x[left]) / (right - self.x[left]);
        // This form stays between the knots' values under any rounding.
        self.y[left] * (1.0 - share) + self.y[after] * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use document::{Document, Problems};
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Calibration, Problems> {
        let document = Document::parse("model.toml", text)?;
        let (calibration, _) = Calibration::read(document.root().table("calibration").as_ref());
        document.finish(calibration)
    }

    #[test]
    fn platt_is_a_logistic_curve() {
        let platt = read("[calibration]\nmethod = 'platt'\na = 2.0\nb = -1.0").unwrap();
        assert_eq!(platt.propensity(0.5, 0.0), Some(0.5));
        let expected = 1.0 / (1.0 + f64::exp(-5.0));
        assert!((platt.propensity(3.0, 0.0).unwrap() - expected).abs() < 1e-15);
        assert_eq!(platt.propensity(f32::MAX, 0.0), Some(1.0));
        assert_eq!(platt.propensity(f32::MIN, 0.0), Some(0.0));
    }

    #[test]
    fn isotonic_is_linear_between_knots_and_constant_beyond() {
        let text = "[calibration]\nmethod = 'isotonic'\nx = [0.0, 0.5, 1.0]\ny = [0.0, 0.3, 0.9]";
        let isotonic = read(text).unwrap();
        for (score, expected) in
            [(-7.0, 0.0), (0.0, 0.0), (0.25, 0.15), (0.5, 0.3), (0.75, 0.6), (1.0, 0.9), (2.0, 0.9)]
        {
            let found = isotonic.propensity(score, 0.0).unwrap();
            assert!((found - expected).abs() < 1e-15, "{score}: {found}");
        }
        let single = read("[calibration]\nmethod = 'isotonic'\nx = [0.5]\ny = [0.25]").unwrap();
        assert_eq!(single.propensity(9.0, 0.0), Some(0.25));
    }

    #[test]
    fn without_a_method_a_score_must_be_a_propensity() {
        for none in [read("").unwrap(), read("[calibration]").unwrap()] {
            assert_eq!(none.propensity(0.25, 0.0), Some(0.25));
            for score in [-0.1, 1.5, f32::NAN, f32::INFINITY] {
                assert_eq!(none.propensity(score, 0.0), None, "{score}");
            }
        }
    }

    #[test]
    fn a_table_that_makes_no_sense_is_refused() {
        let refused = |text: &str, message: &str| {
            let problems = read(&format!("[calibration]\n{text}")).unwrap_err().to_string();
            assert!(problems.contains(message), "{text}: {problems}");
        };
        refused("method = 'plat'\na = 1.0", "did you mean `platt`?");
        refused("method = 'platt'\na = 1.0", "`b` is missing");
        refused("method = 'platt'\na = 0.0\nb = 1.0", "`a` must not be 0");
        refused("method = 'platt'\na = 1.0\nb = 1.0\nx = [1.0]", "unknown key `x`");
        refused("a = 1.0", "unknown key `a`");
        refused("method = 'isotonic'\nx = [0.0, 1.0]\ny = [0.0]", "equally long and not empty, not 2 and 1");
        refused("method = 'isotonic'\nx = []\ny = []", "not empty");
        refused("method = 'isotonic'\nx = [0.0, 0.0]\ny = [0.0, 1.0]", "`x` must increase");
        refused("method = 'isotonic'\nx = [0.0, 1.0]\ny = [0.5, 0.4]", "`y` must not decrease");
        refused("method = 'isotonic'\nx = [0.0, 1.0]\ny = [0.5, 1.4]", "`y` must lie in 0..=1");
        refused("method = 'isotonic'\nx = [0.0, nan]\ny = [0.5, 0.7]", "`x` must be a list");
    }

    /// Published numbers of scikit-learn's `_SigmoidCalibration`: a_ = -1.5, b_ = 0.25.
    #[test]
    fn scikit_learns_sigmoid_has_its_own_name_and_sign() {
        let sklearn = read("[calibration]\nmethod = 'sklearn_sigmoid'\na = -1.5\nb = 0.25").unwrap();
        assert_eq!(sklearn, Calibration::Platt { a: 1.5, b: -0.25 });
        assert_eq!(sklearn.direction(), Direction::Rising);
        for score in [-3.0_f32, 0.0, 0.7, 4.0] {
            let expected = 1.0 / (1.0 + f64::exp(-1.5 * f64::from(score) + 0.25));
            assert!((sklearn.propensity(score, 0.0).unwrap() - expected).abs() < 1e-15);
        }
        let pasted = read("[calibration]\nmethod = 'platt'\na = -1.5\nb = 0.25").unwrap();
        assert_eq!(pasted.direction(), Direction::Falling);
    }

    #[test]
    fn what_falls_can_say_so() {
        let falling =
            read("[calibration]\nmethod = 'isotonic'\nfalling = true\nx = [0.0, 1.0]\ny = [0.9, 0.1]")
                .unwrap();
        assert_eq!(falling.direction(), Direction::Falling);
        assert_eq!(falling.propensity(0.5, 0.0), Some(0.5));
        for (text, message) in [
            ("method = 'isotonic'\nx = [0.0, 1.0]\ny = [0.9, 0.1]", "say falling = true"),
            ("method = 'isotonic'\nfalling = true\nx = [0.0, 1.0]\ny = [0.1, 0.9]", "must not increase"),
            ("method = 'platt'\nfalling = true\na = 1.0\nb = 0.0", "but the calibration rises"),
        ] {
            let problems = read(&format!("[calibration]\n{text}")).unwrap_err().to_string();
            assert!(problems.contains(message), "{text}: {problems}");
        }
    }

    proptest! {
        #[test]
        fn isotonic_never_decreases_and_never_leaves_its_range(
            corners in proptest::collection::btree_map(-1000_i32..1000, 0.0_f64..=1.0, 1..20),
            mut scores in proptest::collection::vec(-20.0_f32..20.0, 2..40),
        ) {
            let x: Vec<f64> = corners.keys().map(|x| f64::from(*x) / 100.0).collect();
            let mut y: Vec<f64> = corners.values().copied().collect();
            y.sort_by(f64::total_cmp);
            let (least, greatest) = (y[0], y[y.len() - 1]);
            let calibration = Calibration::Isotonic(Isotonic { x, y });
            scores.sort_by(f32::total_cmp);
            let propensities: Vec<f64> =
                scores.iter().map(|score| calibration.propensity(*score, 0.0).unwrap()).collect();
            // Rounding in the interpolation may cost a few units in the last place.
            prop_assert!(propensities.windows(2).all(|pair| pair[0] <= pair[1] + 1e-15));
            prop_assert!(propensities.iter().all(|p| (least - 1e-15..=greatest + 1e-15).contains(p)));
        }
    }
}
