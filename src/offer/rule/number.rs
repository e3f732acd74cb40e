//! The arithmetic of rules: 64-bit floats that know how far rounding may have moved them.
//!
//! A rule means what a person reads in it: decimal numbers. 64 bits hold few decimals exactly, so that 0.07 × 100 comes to
//! 7.000000000000001, and a customer at exactly 7 % would be told that they are below. So each result carries a bound of its
//! rounding error, and a comparison takes two numbers as equal where they differ by no more than that. Numbers that were
//! read or written, not calculated, have no error and compare as they are.
//!
//! The compiled form and the interpreter calculate with this one type. Start reading at [`Number::order`].

mod cel;
mod widen;

use std::cmp::Ordering;

pub(super) use cel::{TO_NUMBER, environment};
pub(super) use widen::widen;

/// Twice the greatest relative rounding error of an operation, so that the rounding of the bound itself is covered, too.
const ROUNDING: f64 = f64::EPSILON;

/// A double, and how far it may be from what exact arithmetic says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    value: f64,
    /// What the calculation behind the value may be off, the last rounding apart; 0 for what was read or written.
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

    /// A whole number, rounded beyond 53 bits.
    pub(super) fn of_whole(value: i64) -> Self {
        Self::exact(value as f64)
    }

    /// The value, if it was read or written, not calculated.
    pub(super) fn as_exact(self) -> Option<f64> {
        (self.error == 0.0).then_some(self.value)
    }

    /// The value, and how far it may be off.
    pub(super) fn approximate(self) -> (f64, f64) {
        (self.value, if self.error == 0.0 { 0.0 } else { self.reach() })
    }

    /// What tells two numbers apart: the bits of value and error.
    pub(super) fn bits(self) -> (u64, u64) {
        (self.value.to_bits(), self.error.to_bits())
    }

    /// See [`Number::bits`].
    pub(super) fn from_bits((value, error): (u64, u64)) -> Self {
        Self { value: f64::from_bits(value), error: f64::from_bits(error) }
    }

    /// The order of two numbers; `None` where one of them is not a number.
    #[inline]
    pub(super) fn order(self, other: Self) -> Option<Ordering> {
        if self.error != 0.0 || other.error != 0.0 {
            let difference = (self.value - other.value).abs();
            // An infinite one is told apart from all others below.
            if difference.is_finite() && difference <= self.reach() + other.reach() {
                return Some(Ordering::Equal);
            }
        }
        self.value.partial_cmp(&other.value)
    }

    pub(super) fn negated(self) -> Self {
        Self { value: -self.value, ..self }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self::calculated(self.value + other.value, self.reach() + other.reach())
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(other.negated())
    }

    pub(super) fn times(self, other: Self) -> Self {
        let (left, right) = (self.reach(), other.reach());
        let error = self.value.abs() * right + (other.value.abs() + right) * left;
        Self::calculated(self.value * other.value, error)
    }

    /// What is divided by zero is infinite, or not a number.
    pub(super) fn over(self, other: Self) -> Self {
        let (left, right) = (self.reach(), other.reach());
        let value = self.value / other.value;
        let least_divisor = other.value.abs() - right;
        if least_divisor <= 0.0 {
            return Self::exact(value);
        }
        Self::calculated(value, (left + value.abs() * right) / least_divisor)
    }

    /// How far the value may be off, its own rounding included.
    fn reach(self) -> f64 {
        self.error + ROUNDING * self.value.abs()
    }

    /// A result. One that cannot be told from zero is zero: what is divided by it is infinite, whatever rounding left.
    fn calculated(value: f64, error: f64) -> Self {
        if !value.is_finite() || !error.is_finite() {
            return Self::exact(value);
        }
        Self { value: if value.abs() < error { 0.0 } else { value }, error }
    }
}

#[cfg(test)]
mod tests;
