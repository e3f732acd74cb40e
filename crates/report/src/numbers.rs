//! Numbers as people write them: thousands separators, significant digits, a real minus sign.
//!
//! Only [`signed`] shows a small value as 0.

use super::percent::percent;
use document::grouped;

/// A count: `8,950`.
#[must_use]
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A quantity in its own unit, to about three digits: `1,274`, `87.3`, `0.873`, `0.0021`, `1.3e-9`.
#[must_use]
pub fn quantity(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-6..1e15).contains(&size) {
        return format!("{value:.1e}").replace('-', "−").replace("e−", "e-");
    }
    // Three significant digits; a value from 100 on is a whole number.
    let decimals = (2 - size.log10().floor() as i32).clamp(0, 9) as usize;
    fixed(value, decimals)
}

/// A quantity as [`quantity`] shows it, without trailing zeros: `3` rather than `3.00`.
#[must_use]
pub fn short(value: f64) -> String {
    let text = quantity(value);
    if !text.contains('.') || text.contains('e') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A value with a fixed number of decimals, so that columns align; with more if it would read as 0 otherwise.
#[must_use]
pub fn fixed(value: f64, decimals: usize) -> String {
    let mut text = format!("{:.decimals$}", value.abs());
    if value != 0.0 && text.bytes().all(|byte| matches!(byte, b'0' | b'.')) {
        let needed = (-value.abs().log10()).ceil().clamp(0.0, 12.0) as usize;
        text = format!("{:.needed$}", value.abs());
    }
    let (whole, fraction) = text.split_once('.').map_or((&*text, None), |(whole, rest)| (whole, Some(rest)));
    let mut shown = grouped(whole);
    if let Some(fraction) = fraction {
        shown.push('.');
        shown.push_str(fraction);
    }
    if value < 0.0 { format!("−{shown}") } else { shown }
}

/// A difference, always with its sign: `+1.24`, `−0.31`, `0.00`.
#[must_use]
pub fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    if text.bytes().all(|byte| matches!(byte, b'0' | b'.')) {
        text
    } else if value < 0.0 {
        format!("−{text}")
    } else {
        format!("+{text}")
    }
}

/// A share of 0..=1: `21.8 %`, `< 0.1 %`, `100 %`.
#[must_use]
pub fn share(value: f64) -> String {
    percent(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_have_three_significant_digits() {
        let cases = [
            (0.0, "0"),
            (1_274.4, "1,274"),
            (1_234_567.8, "1,234,568"),
            (314.26, "314"),
            (87.34, "87.3"),
            (-4.567, "−4.57"),
            (0.873_4, "0.873"),
            (0.002_12, "0.00212"),
            (3e-8, "3.0e-8"),
            (-3e-8, "−3.0e-8"),
        ];
        for (value, expected) in cases {
            assert_eq!(quantity(value), expected);
        }
        assert_eq!((short(3.0), short(0.25), short(1_200.0)), ("3".into(), "0.25".into(), "1,200".into()));
    }

    #[test]
    fn columns_keep_their_digits_unless_a_value_would_vanish() {
        assert_eq!(fixed(0.217_2, 3), "0.217");
        assert_eq!(fixed(0.000_42, 3), "0.0004");
        assert_eq!(fixed(-12_345.678, 1), "−12,345.7");
        assert_eq!(signed(1.239, 2), "+1.24");
        assert_eq!(signed(-0.001, 2), "0.00");
    }

    proptest! {
        #[test]
        fn a_value_that_is_not_0_is_never_shown_as_0(value in prop_oneof![-1e9..1e9_f64, -1e-3..1e-3_f64]) {
            prop_assume!(value.abs() > 1e-11);
            for text in [quantity(value), short(value), fixed(value, 3)] {
                prop_assert!(text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)), "{value}: {text}");
            }
        }
    }
}
