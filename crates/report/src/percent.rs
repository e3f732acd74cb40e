//! Shares in per cent: the one place that rounds them, for the terminal, the reports and their figures.

/// 100 % in tenths of a per cent.
const WHOLE: u128 = 1_000;

/// A share of 0..=1 to a tenth of a per cent: `21.8 %`. Only 0 reads `0 %` and only 1 reads `100 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent == 0.0 {
        "0 %".to_owned()
    } else if percent < 0.05 {
        "< 0.1 %".to_owned()
    } else if percent >= 100.0 {
        "100 %".to_owned()
    } else if percent > 99.95 {
        "> 99.9 %".to_owned()
    } else {
        format!("{percent:.1} %")
    }
}

/// A share as [`percent`] shows it, with enough digits to differ from a limit: `1.98 %` for a limit of 2 %.
#[must_use]
pub fn percent_near(share: f64, limit: f64) -> String {
    let shown = |decimals: usize, share: f64| format!("{:.decimals$} %", 100.0 * share);
    if share.to_bits() == limit.to_bits() || shown(1, share) != shown(1, limit) {
        return percent(share);
    }
    let decimals = (2..=12).find(|decimals| shown(*decimals, share) != shown(*decimals, limit));
    decimals.map_or_else(|| percent(share), |decimals| shown(decimals, share))
}

/// The parts of a whole to a tenth of a per cent, rounded so that they add up to 100 %.
///
/// The largest remainder method: each part is rounded down, and those with the largest remainders get the missing
/// tenths. No part is off by a tenth or more.
#[must_use]
pub fn percents(parts: &[u64]) -> Vec<String> {
    let all: u128 = parts.iter().map(|part| u128::from(*part)).sum();
    if all == 0 {
        return vec![percent(0.0); parts.len()];
    }
    let mut tenths: Vec<u128> = parts.iter().map(|part| u128::from(*part) * WHOLE / all).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    // The sort is stable: of equal remainders, the first part gets the tenth.
    order.sort_by_key(|part| std::cmp::Reverse(u128::from(parts[*part]) * WHOLE % all));
    let missing = WHOLE.saturating_sub(tenths.iter().sum()) as usize;
    order.iter().take(missing).for_each(|part| tenths[*part] += 1);
    let shown = |(part, tenths): (&u64, u128)| match (u128::from(*part), tenths) {
        (0, _) => "0 %".to_owned(),
        (part, _) if part == all => "100 %".to_owned(),
        (_, 0) => "< 0.1 %".to_owned(),
        (_, WHOLE) => "> 99.9 %".to_owned(),
        (_, tenths) => format!("{}.{} %", tenths / 10, tenths % 10),
    };
    parts.iter().zip(tenths).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_never_rounded_to_nothing_or_to_all() {
        let cases =
            [(0.0, "0 %"), (0.000_1, "< 0.1 %"), (0.218_4, "21.8 %"), (0.9999, "> 99.9 %"), (1.0, "100 %")];
        for (value, expected) in cases {
            assert_eq!(percent(value), expected);
        }
    }

    #[test]
    fn a_share_that_misses_a_limit_does_not_read_as_the_limit() {
        assert_eq!(percent_near(0.019_8, 0.02), "1.98 %");
        assert_eq!(percent_near(0.019_999, 0.02), "1.9999 %");
        assert_eq!(percent_near(0.02, 0.02), "2.0 %");
        assert_eq!(percent_near(0.113, 0.02), "11.3 %");
        assert_eq!(percent_near(0.200_1, 0.2), "20.01 %");
    }

    #[test]
    fn parts_add_up_where_rounding_each_would_not() {
        assert_eq!(percents(&[1, 1, 1]), ["33.4 %", "33.3 %", "33.3 %"]);
        assert_eq!(percents(&[9_997, 3]), ["> 99.9 %", "< 0.1 %"]);
        assert_eq!(percents(&[5, 0]), ["100 %", "0 %"]);
        assert_eq!(percents(&[0, 0]), ["0 %", "0 %"]);
        assert!(percents(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(parts in proptest::collection::vec(0_u64..1_000_000, 1..15)) {
            let all: u64 = parts.iter().sum();
            prop_assume!(all > 0);
            let tenths = |text: &String| match text.as_str() {
                "< 0.1 %" => 0,
                "> 99.9 %" => 1_000,
                text => (text.trim_end_matches(" %").parse::<f64>().unwrap() * 10.0).round() as u64,
            };
            let shown = percents(&parts);
            prop_assert_eq!(shown.iter().map(tenths).sum::<u64>(), 1_000);
            for (part, text) in parts.iter().zip(&shown) {
                let exact = 1_000.0 * *part as f64 / all as f64;
                prop_assert!((tenths(text) as f64 - exact).abs() < 1.0, "{part} of {all}: {text}");
            }
        }

        #[test]
        fn a_share_beside_a_limit_is_on_its_side(share in 0.001_f64..0.999, limit in 0.001_f64..0.999) {
            prop_assume!((share - limit).abs() > 1e-9);
            on_its_side(share, limit)?;
        }

        /// Shares and limits that only differ in a later digit.
        #[test]
        fn a_share_close_to_a_limit_is_on_its_side(
            limit in 0.001_f64..0.998,
            digits in 2_i32..9,
            distance in prop_oneof![-9.0_f64..-1.0, 1.0_f64..9.0],
        ) {
            let share = limit + distance * 10_f64.powi(-digits - 2);
            prop_assume!((0.001..0.999).contains(&share));
            on_its_side(share, limit)?;
        }
    }

    /// What is shown where a digit tells the two apart is beyond neither: to round up to the limit or past it, the
    /// limit would have to be rounded to the same number.
    fn on_its_side(share: f64, limit: f64) -> Result<(), TestCaseError> {
        let text = percent_near(share, limit);
        let number: f64 = text.trim_end_matches(" %").parse().unwrap();
        let limit = 100.0 * limit;
        prop_assert!(
            if 100.0 * share < limit { number < limit } else { number > limit },
            "{text} for {share} beside {limit} %"
        );
        Ok(())
    }
}
