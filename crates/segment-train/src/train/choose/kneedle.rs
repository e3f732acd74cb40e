//! Kneedle: the knee of a decreasing curve.
//!
//! Source: Satopää, Albrecht, Irwin & Raghavan, "Finding a 'kneedle' in a haystack: detecting knee points in system
//! behavior" (2011), offline, for a convex decreasing curve with sensitivity 1.

/// The paper's S: how far the difference curve must fall below a local maximum, in mean steps of x, to make it a knee.
const SENSITIVITY: f64 = 1.0;

/// The position of the knee of a convex decreasing curve, or `None` if it has none.
///
/// `x` ascending, `y` of the same length, every value finite.
/// The result depends on the range of `x`, so only results of one range compare. Units and origins do not matter.
/// Equal to `KneeLocator(x, y, S=1, curve="convex", direction="decreasing", online=False)` of the Python package
/// kneed 0.9.0. Cost: a few passes.
pub(in crate::train) fn kneedle(x: &[f64], y: &[f64]) -> Option<usize> {
    let difference = difference_curve(x, y)?;
    let at = |position: usize| difference.get(position).copied();
    // An end is compared with itself, as in SciPy's `argrelextrema`.
    let neighbours =
        |position: usize| (at(position.saturating_sub(1)), at((position + 1).min(difference.len() - 1)));
    let step = SENSITIVITY / (difference.len() - 1) as f64;
    let mut candidate = None;
    for (position, &value) in difference.iter().enumerate().take(difference.len() - 1) {
        let (before, after) = neighbours(position);
        if before.is_none_or(|before| value >= before) && after.is_none_or(|after| value >= after) {
            candidate = Some((position, value - step));
        }
        // A local minimum ends the search until the next maximum.
        if before.is_none_or(|before| value <= before) && after.is_none_or(|after| value <= after) {
            candidate = None;
        }
        if let Some((knee, threshold)) = candidate
            && after.is_some_and(|after| after < threshold)
        {
            return Some(knee);
        }
    }
    None
}

/// The position farthest below the chord of a convex decreasing curve, the first of equal ones.
///
/// `None` as for [`kneedle`]. For curves of many noisy values, whose first local maximum means nothing.
pub(in crate::train) fn farthest_below_chord(x: &[f64], y: &[f64]) -> Option<usize> {
    let difference = difference_curve(x, y)?;
    let mut best = (0, *difference.first()?);
    for (position, value) in difference.into_iter().enumerate() {
        if value > best.1 {
            best = (position, value);
        }
    }
    Some(best.0)
}

/// 1 − y − x with both scaled to 0..=1: the height of the inverted curve above the diagonal.
///
/// `None` for fewer than two values, or if x or y is constant.
fn difference_curve(x: &[f64], y: &[f64]) -> Option<Vec<f64>> {
    let x = normalised(x)?;
    let y = normalised(y)?;
    let inverted = y.into_iter().map(|value| 1.0 - value);
    Some(inverted.zip(x).map(|(inverted, x)| inverted - x).collect())
}

fn normalised(values: &[f64]) -> Option<Vec<f64>> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (greatest > least).then(|| values.iter().map(|value| (value - least) / (greatest - least)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::golden;
    use super::*;

    #[test]
    fn knees_agree_with_kneed() {
        for case in golden::read()["knees"].as_array().unwrap() {
            let (x, y) = (golden::numbers(&case["x"]), golden::numbers(&case["y"]));
            let knee = kneedle(&x, &y).map(|position| x[position]);
            assert_eq!(knee, case["knee"].as_f64(), "{y:?}");
        }
    }

    #[test]
    fn a_straight_line_has_no_knee() {
        assert_eq!(kneedle(&[3.0, 4.0, 5.0], &[9.0, 9.0, 9.0]), None);
        assert_eq!(kneedle(&[3.0, 4.0, 5.0, 6.0, 7.0], &[8.0, 6.0, 4.0, 2.0, 0.0]), None);
        assert_eq!(kneedle(&[3.0], &[9.0]), None);
        assert_eq!(kneedle(&[], &[]), None);
    }

    #[test]
    fn the_farthest_point_from_the_chord_ignores_small_bumps() {
        let x: Vec<f64> = (0..8).map(f64::from).collect();
        let y = [100.0, 70.0, 69.9, 30.0, 12.0, 8.0, 4.0, 0.0];
        assert_eq!(farthest_below_chord(&x, &y), Some(4));
    }

    proptest! {
        // Whole numbers scaled by powers of two are exact.
        #[test]
        fn units_and_origins_do_not_matter(
            y in proptest::collection::vec(0_i32..1000, 2..14),
            (x_scale, y_scale) in (-8_i32..8, -8_i32..8),
            (x_shift, y_shift) in (-1000_i32..1000, -1000_i32..1000),
        ) {
            let x: Vec<f64> = (0..y.len() as i32).map(f64::from).collect();
            let y: Vec<f64> = y.into_iter().map(f64::from).collect();
            let moved = |values: &[f64], scale: i32, shift: i32| -> Vec<f64> {
                values.iter().map(|value| (value + f64::from(shift)) * 2.0_f64.powi(scale)).collect()
            };
            let (moved_x, moved_y) = (moved(&x, x_scale, x_shift), moved(&y, y_scale, y_shift));
            prop_assert_eq!(kneedle(&x, &y), kneedle(&moved_x, &moved_y));
            prop_assert_eq!(farthest_below_chord(&x, &y), farthest_below_chord(&moved_x, &moved_y));
        }
    }
}
