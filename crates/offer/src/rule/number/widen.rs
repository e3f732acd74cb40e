//! Widens 32-bit floats to the double of the shortest decimal that reads as the float.
//!
//! People, files and requests write decimals; 0.3 is stored in 32 bits as 0.300000012. For up to six significant
//! digits the shortest decimal that reads as that float is the written one. Nothing is allocated.

use std::fmt::{self, Write};

/// The powers of ten by which a 24-bit number can be multiplied without rounding; more decimals than most values
/// have.
const DECIMALS: [f64; 13] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/// Units for large numbers in descending order, so that the fewest digits are tried first.
const UNITS: [f64; 15] = [1e14, 1e13, 1e12, 1e11, 1e10, 1e9, 1e8, 1e7, 1e6, 1e5, 1e4, 1e3, 1e2, 1e1, 1e0];

/// From here on every float is whole, and the shortest decimal may differ from it.
const LARGE: f64 = (1_u32 << f32::MANTISSA_DIGITS) as f64;

/// Half a unit in the last place of a 32-bit float, relative to the float. A decimal farther away reads as another
/// float.
const NEAR: f64 = 1.0 / LARGE;

/// The double nearest to the shortest decimal that reads as `value`: a few nanoseconds if it has few digits.
///
/// Keeps the sign of zero, infinities, NaN and the order of values.
pub(in crate::rule) fn widen(value: f32) -> f64 {
    let magnitude = f64::from(value.abs());
    let decimal = if magnitude < LARGE { with_decimals(magnitude) } else { in_units(magnitude) };
    decimal.unwrap_or_else(|| digits(magnitude as f32)).copysign(f64::from(value))
}

/// The shortest decimal, if it has at most twelve decimals.
fn with_decimals(magnitude: f64) -> Option<f64> {
    if magnitude == 0.0 {
        return Some(0.0);
    }
    DECIMALS.iter().find_map(|scale| {
        let scaled = magnitude * scale;
        let nearest = rounded(scaled);
        // Rules most candidates out without a division.
        if (scaled - nearest).abs() > scaled * NEAR {
            return None;
        }
        reads_as(nearest / scale, magnitude)
    })
}

/// The whole number with the fewest digits before its zeros.
fn in_units(magnitude: f64) -> Option<f64> {
    if magnitude >= UNITS[0] * 10.0 {
        return None;
    }
    let units = UNITS.iter().filter(|unit| **unit <= magnitude);
    units.into_iter().find_map(|unit| reads_as(rounded(magnitude / unit) * unit, magnitude))
}

/// The nearest whole number, rounding half up. `round` is a library call on most targets.
fn rounded(positive: f64) -> f64 {
    (positive + 0.5) as i64 as f64
}

fn reads_as(decimal: f64, magnitude: f64) -> Option<f64> {
    (decimal as f32).total_cmp(&(magnitude as f32)).is_eq().then_some(decimal)
}

/// The general case: writes the shortest decimal and parses it.
fn digits(magnitude: f32) -> f64 {
    let mut text = Text::default();
    let written = write!(text, "{magnitude:e}");
    let read = std::str::from_utf8(&text.bytes[..text.length]).ok().and_then(|digits| digits.parse().ok());
    // Neither can fail; infinity and NaN are written and parsed too.
    written.ok().and(read).unwrap_or(f64::from(magnitude))
}

/// A text on the stack with space for nine digits, a point and an exponent.
#[derive(Default)]
struct Text {
    bytes: [u8; 24],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.length + part.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)]

    use proptest::prelude::*;

    use super::*;

    /// The independent reference: Rust prints the shortest decimal.
    fn expected(value: f32) -> f64 {
        value.to_string().parse().unwrap()
    }

    fn check(value: f32) {
        let widened = widen(value);
        assert_eq!(widened.to_bits(), expected(value).to_bits(), "{value:e} is {widened:e}");
        assert_eq!((widened as f32).to_bits(), value.to_bits(), "{value:e}");
    }

    #[test]
    fn a_value_is_the_written_decimal() {
        for text in ["0.3", "0.07", "333.33", "1999.99", "12345.67", "16777216", "25000000", "1e10", "1.1e10"]
        {
            assert_eq!(widen(text.parse().unwrap()), text.parse::<f64>().unwrap(), "{text}");
        }
        for value in
            [0.0, -0.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY]
        {
            check(value);
        }
        assert!(widen(f32::NAN).is_nan());
    }

    #[test]
    fn numbers_at_powers_of_two_and_ten_are_exact_too() {
        let seams =
            (-45..39).map(|power| 10_f32.powi(power)).chain((-149..128).map(|power| 2_f32.powi(power)));
        for seam in seams {
            for value in [seam.next_down(), seam, seam.next_up()] {
                check(value);
                check(-value);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn every_pattern_of_bits_is_widened_to_its_shortest_decimal(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(!value.is_nan());
            check(value);
        }

        #[test]
        fn every_number_of_an_everyday_size_is_widened_to_its_shortest_decimal(
            exponent in -14_i32..50, mantissa in 0_u32..1 << 23,
        ) {
            check(f32::from_bits(((exponent + 127) as u32) << 23 | mantissa));
        }

        #[test]
        fn widening_keeps_the_order(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert!(widen(value) < widen(value.next_up()));
        }
    }
}
