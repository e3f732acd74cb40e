//! Numbers at boundaries, and what rounding leaves.

#![allow(clippy::float_cmp)]

use super::*;

fn exact(value: f64) -> Number {
    Number::exact(value)
}

fn of(value: f32) -> Number {
    Number::of_feature(value)
}

#[test]
fn a_calculated_number_equals_what_exact_arithmetic_says() {
    let equal = Some(Ordering::Equal);
    let product: f64 = 0.07 * 100.0;
    assert!(product > 7.0, "doubles alone do not say so");
    assert_eq!(of(7.0).order(exact(0.07).times(of(100.0))), equal);
    assert_eq!(of(7.0).over(of(100.0)).order(exact(0.07)), equal);
    assert_eq!(exact(0.1).plus(exact(0.2)).order(exact(0.3)), equal);
    assert_eq!(exact(0.1).plus(exact(0.2)).minus(exact(0.3)).order(exact(0.0)), equal);
    assert_eq!(of(7.0).minus(exact(0.07).times(of(100.0))).order(exact(0.0)), equal);
    assert_eq!(of(12_345_678.0).minus(exact(12_345_677.9)).order(exact(0.1)), equal);
    assert_eq!(of(1.0).over(of(3.0)).times(of(3.0)).order(of(1.0)), equal);
    assert_eq!(exact(0.07).times(of(100.0)).negated().order(of(-7.0)), equal);
}

#[test]
fn numbers_that_differ_by_more_than_rounding_differ() {
    let product = exact(0.07).times(of(1000.0));
    assert_eq!(of(69.999_99).order(product), Some(Ordering::Less));
    assert_eq!(of(70.000_01).order(product), Some(Ordering::Greater));
    assert_eq!(exact(70.000_000_000_001).order(product), Some(Ordering::Greater));
    // Numbers that were not calculated compare exactly.
    assert_eq!(exact(0.3_f64.next_up()).order(exact(0.3)), Some(Ordering::Greater));
    assert_eq!(of(0.3_f32.next_up()).order(of(0.3)), Some(Ordering::Greater));
}

#[test]
fn a_residue_of_rounding_is_zero() {
    let nothing = exact(0.1).plus(exact(0.2)).minus(exact(0.3));
    assert_eq!(nothing.value, 0.0);
    assert_eq!(nothing.times(exact(1e20)).order(exact(0.0)), Some(Ordering::Equal));
    assert_eq!(of(1.0).over(nothing).order(exact(f64::MAX)), Some(Ordering::Greater));
}

#[test]
fn infinity_zero_and_nan_are_those_of_ieee() {
    let infinity = of(1.0).over(exact(0.0));
    assert_eq!(infinity, exact(f64::INFINITY));
    assert_eq!(of(1.0).over(of(-0.0)), exact(f64::NEG_INFINITY));
    let product = exact(0.1).times(of(3.0));
    assert_eq!(product.order(infinity), Some(Ordering::Less));
    assert_eq!(infinity.order(product), Some(Ordering::Greater));
    assert_eq!(infinity.order(infinity), Some(Ordering::Equal));
    assert_eq!(infinity.minus(infinity).order(product), None);
    assert_eq!(exact(f64::NAN).order(exact(f64::NAN)), None);
    assert_eq!(exact(0.0).order(of(-0.0)), Some(Ordering::Equal));
    assert_eq!(exact(f64::MAX).times(exact(f64::MAX)).times(product), exact(f64::INFINITY));
    assert_eq!(of(1e-45).times(of(1e-45)).order(exact(0.0)), Some(Ordering::Greater));
}
