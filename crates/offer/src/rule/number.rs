//! The arithmetic of rules: 64-bit floats with a bound of their rounding error.
//!
//! People read decimal numbers in a rule, but few decimals are exact in 64 bits: 0.07 × 100 is 7.000000000000001. A
//! customer at exactly 7 % would count as below. So each result has a bound of its rounding error, and a comparison
//! treats two numbers as equal within it. Numbers that were read or written, not calculated, have no error and compare
//! exactly.
//!
//! The compiled form and the interpreter share this type. Start reading at [`Number::order`].

mod cel;
mod widen;

use std::cmp::Ordering;

pub(super) use cel::{TO_NUMBER, environment};
pub(super) use widen::widen;

/// Twice the largest relative rounding error of an operation, to cover the rounding of the bound itself.
const ROUNDING: f64 = f64::EPSILON;

/// A double with a bound of its distance from the exact result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    value: f64,
    /// The error bound of the calculation, without the last rounding; 0 for a number that was read or written.
    error: f64,
}

impl Number {
    /// A number that was read or written.
    pub(super) fn exact(value: f64) -> Self {
        Self { value, error: 0.0 }
    }

    /// The value of a 32-bit feature: the shortest decimal that reads as it.
    pub(super) fn of_feature(value: f32) -> Self {
        Self::exact(widen(value))
    }

    /// An int, rounded beyond 53 bits.
    pub(super) fn of_whole(value: i64) -> Self {
        Self::exact(value as f64)
    }

    /// The value, if it was read or written, not calculated.
    pub(super) fn as_exact(self) -> Option<f64> {
        (self.error == 0.0).then_some(self.value)
    }

    /// The value and its error bound.
    pub(super) fn approximate(self) -> (f64, f64) {
        (self.value, if self.error == 0.0 { 0.0 } else { self.error_bound() })
    }

    /// The identity of a number: the bits of value and error.
    pub(super) fn bits(self) -> (u64, u64) {
        (self.value.to_bits(), self.error.to_bits())
    }

    /// See [`Number::bits`].
    pub(super) fn from_bits((value, error): (u64, u64)) -> Self {
        Self { value: f64::from_bits(value), error: f64::from_bits(error) }
    }

    /// The order of two numbers; `None` if either is NaN.
    #[inline]
    pub(super) fn order(self, other: Self) -> Option<Ordering> {
        if self.error != 0.0 || other.error != 0.0 {
            let difference = (self.value - other.value).abs();
            // Infinite values are ordered below.
            if difference.is_finite() && difference <= self.error_bound() + other.error_bound() {
                return Some(Ordering::Equal);
            }
        }
        self.value.partial_cmp(&other.value)
    }

    pub(super) fn negated(self) -> Self {
        Self { value: -self.value, ..self }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self::calculated(self.value + other.value, self.error_bound() + other.error_bound())
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    pub(super) fn times(self, other: Self) -> Self {
        let (left, right) = (self.error_bound(), other.error_bound());
        let error = self.value.abs() * right + (other.value.abs() + right) * left;
        Self::calculated(self.value * other.value, error)
    }

    /// A division by zero gives infinity or NaN.
    pub(super) fn over(self, other: Self) -> Self {
        let (left, right) = (self.error_bound(), other.error_bound());
        let value = self.value / other.value;
        let least_divisor = other.value.abs() - right;
        if least_divisor <= 0.0 {
            return Self::exact(value);
        }
        Self::calculated(value, (left + value.abs() * right) / least_divisor)
    }

    /// The error bound, including the last rounding.
    fn error_bound(self) -> f64 {
        self.error + ROUNDING * self.value.abs()
    }

    /// A result. One that cannot be distinguished from zero is zero, so that dividing by it gives infinity despite
    /// rounding.
    fn calculated(value: f64, error: f64) -> Self {
        if !value.is_finite() || !error.is_finite() {
            return Self::exact(value);
        }
        Self { value: if value.abs() < error { 0.0 } else { value }, error }
    }
}

#[cfg(test)]
mod tests;
