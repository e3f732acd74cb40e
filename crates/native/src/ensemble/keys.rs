//! Maps numbers to integers in the same order, so that comparisons are integer comparisons.
//!
//! -0 and +0 are equal and share a key. NaN has none; callers place it.

/// Below the key of every number, also where the key of [`of_float`] is shifted by one.
pub(crate) const LOWEST: i32 = i32::MIN;

/// Above the key of every number.
pub(crate) const HIGHEST: i32 = i32::MAX;

/// The key of a number: `a < b` exactly where `of_float(a) < of_float(b)`. Never [`LOWEST`], [`HIGHEST`] or the keys
/// next to them.
pub(crate) fn of_float(value: f32) -> i32 {
    // Adding +0 turns -0 into +0 and changes nothing else.
    let bits = (value + 0.0).to_bits() as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// The key of a number, as [`of_float`].
pub(crate) fn of_double(value: f64) -> i64 {
    let bits = (value + 0.0).to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The number of a key.
pub(crate) fn float(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) as u32 >> 1) as i32) as u32)
}

/// The number of a key.
pub(crate) fn double(key: i64) -> f64 {
    f64::from_bits((key ^ ((key >> 63) as u64 >> 1) as i64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_the_numbers(a: f32, b: f32, c: f64, d: f64) {
            prop_assert_eq!(a.partial_cmp(&b).unwrap(), of_float(a).cmp(&of_float(b)));
            prop_assert_eq!(c.partial_cmp(&d).unwrap(), of_double(c).cmp(&of_double(d)));
            prop_assert_eq!((float(of_float(a)), double(of_double(c))), (a, c));
        }
    }

    #[test]
    fn zeros_are_equal_and_the_ends_are_free() {
        assert_eq!(of_float(-0.0), of_float(0.0));
        assert_eq!(of_double(-0.0), of_double(0.0));
        let keys = [f32::NEG_INFINITY, -1.0, -f32::from_bits(1), 0.0, f32::from_bits(1), f32::INFINITY];
        let keys = keys.map(of_float);
        assert!(keys.is_sorted() && keys[0] > LOWEST + 1 && keys[5] < HIGHEST - 1, "{keys:?}");
    }
}
