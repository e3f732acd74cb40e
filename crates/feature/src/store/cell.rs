//! Reads cells as values of a feature's type, with messages for those that do not fit.

use super::findings::shown;
use crate::{Feature, FeatureType, ValueRef};
use table::{Decimal, INFINITE, NOT_UTF8, advice, is_missing, truth};

const BOOL_ADVICE: &str = "write true or false, yes or no, 1 or 0";

/// Beyond ±2⁵³ a double skips whole numbers, so it may differ from the intended number.
const EXACT_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// Reads a cell of a CSV file with the given decimal mark. An empty cell is missing. For features other than strings
/// NaN and the words for missing values are missing too, and white space around a value is ignored.
pub fn from_text<'a>(feature: &Feature, cell: &'a [u8], decimal: Decimal) -> Result<ValueRef<'a>, String> {
    if cell.is_empty() {
        return Ok(ValueRef::Missing);
    }
    let text =
        std::str::from_utf8(cell).map_err(|_| format!("`{}`: {} {NOT_UTF8}", feature.name, shown(cell)))?;
    if feature.feature_type == FeatureType::String {
        return Ok(ValueRef::String(text));
    }
    let word = text.trim();
    match feature.feature_type {
        FeatureType::Float => match decimal.number::<f32>(word) {
            Some(number) if number.is_nan() => Ok(ValueRef::Missing),
            Some(number) if number.is_finite() => Ok(ValueRef::Float(number)),
            Some(_) => Err(not_finite(feature, cell)),
            None if is_missing(word) => Ok(ValueRef::Missing),
            None => Err(refusal(feature, cell, "is not a number", advice(word))),
        },
        FeatureType::Int => match word.parse::<i64>() {
            Ok(number) => Ok(ValueRef::Int(number)),
            Err(_) => whole_float(feature, cell, word, decimal),
        },
        FeatureType::Bool | FeatureType::String => match truth(word) {
            Some(truth) => Ok(ValueRef::Bool(truth)),
            None if is_missing(word) => Ok(ValueRef::Missing),
            None => Err(refusal(feature, cell, "is neither true nor false", BOOL_ADVICE)),
        },
    }
}

/// Converts a number of a typed column to a number or bool. Only digits that a 32-bit float cannot hold may be lost.
/// NaN is missing.
pub(super) fn from_number(feature: &Feature, number: f64) -> Result<ValueRef<'static>, String> {
    if number.is_nan() {
        return Ok(ValueRef::Missing);
    }
    let cell = || number.to_string().into_bytes();
    match feature.feature_type {
        FeatureType::Float => match number as f32 {
            single if single.is_finite() => Ok(ValueRef::Float(single)),
            _ => Err(not_finite(feature, &cell())),
        },
        FeatureType::Int if number.fract() == 0.0 && number.abs() <= EXACT_DOUBLE => {
            Ok(ValueRef::Int(number as i64))
        }
        FeatureType::Int => Err(not_whole(feature, &cell())),
        FeatureType::Bool | FeatureType::String => match number {
            0.0 => Ok(ValueRef::Bool(false)),
            1.0 => Ok(ValueRef::Bool(true)),
            _ => Err(refusal(feature, &cell(), "is neither true nor false", BOOL_ADVICE)),
        },
    }
}

/// Reads an int that another program wrote as a float (`12.0`) or with thousands separators.
fn whole_float(
    feature: &Feature,
    cell: &[u8],
    word: &str,
    decimal: Decimal,
) -> Result<ValueRef<'static>, String> {
    match decimal.number::<f64>(word) {
        Some(number) => from_number(feature, number).map_err(|_| not_whole(feature, cell)),
        None if is_missing(word) => Ok(ValueRef::Missing),
        None => Err(refusal(feature, cell, "is not a whole number", advice(word))),
    }
}

fn refusal(feature: &Feature, cell: &[u8], what: &str, remedy: &str) -> String {
    of_type(feature, &format!("{} {what}; {remedy}", shown(cell)))
}

fn of_type(feature: &Feature, message: &str) -> String {
    let article = if feature.feature_type == FeatureType::Int { "an" } else { "a" };
    let Feature { name, feature_type, .. } = feature;
    format!("`{name}` is {article} {feature_type}: {message}")
}

fn not_finite(feature: &Feature, cell: &[u8]) -> String {
    of_type(feature, &format!("{} {INFINITE}", shown(cell)))
}

fn not_whole(feature: &Feature, cell: &[u8]) -> String {
    let remedy = "round it, or make the feature a float";
    refusal(feature, cell, "is not a whole number of 64 bits", remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entity;

    fn feature(feature_type: FeatureType) -> Feature {
        Feature::new("balance", feature_type, Entity::Customer)
    }

    fn read(feature_type: FeatureType, cell: &str) -> Result<ValueRef<'_>, String> {
        from_text(&feature(feature_type), cell.as_bytes(), Decimal::Point)
    }

    #[test]
    fn cells_are_read_by_the_type_of_their_feature() {
        use FeatureType::{Bool, Float, Int, String};
        let cases = [
            (Float, " -1.5e2 ", ValueRef::Float(-150.0)),
            (Float, "", ValueRef::Missing),
            (Float, "NaN", ValueRef::Missing),
            (Int, "9223372036854775807", ValueRef::Int(i64::MAX)),
            (Int, "12.0", ValueRef::Int(12)),
            (Int, " ", ValueRef::Missing),
            (Bool, "True", ValueRef::Bool(true)),
            (Bool, "0", ValueRef::Bool(false)),
            (Bool, "yes", ValueRef::Bool(true)),
            (Bool, "?", ValueRef::Missing),
            (Float, "NA", ValueRef::Missing),
            (Int, "null", ValueRef::Missing),
            (String, "NA", ValueRef::String("NA")),
            (String, " null ", ValueRef::String(" null ")),
            (String, "", ValueRef::Missing),
        ];
        for (feature_type, cell, value) in cases {
            assert_eq!(read(feature_type, cell), Ok(value), "{cell:?}");
        }
    }

    #[test]
    fn a_cell_of_another_type_says_what_to_do() {
        use FeatureType::{Bool, Float, Int};
        let cases = [
            (Float, "12,5", "`balance` is a float: \"12,5\" is not a number; use a point"),
            (Float, "1,234.5", "is not a number; write it without separators"),
            (Float, "x", "is not a number; leave it empty where the value is not known"),
            (Float, "-inf", "\"-inf\" is infinite or beyond ±3.4e38"),
            (Float, "1e39", "\"1e39\" is infinite or beyond ±3.4e38"),
            (Int, "3.7", "`balance` is an int: \"3.7\" is not a whole number of 64 bits; round it"),
            (Int, "9223372036854775808", "is not a whole number of 64 bits"),
            (Int, "x", "\"x\" is not a whole number; leave it empty"),
            (
                Bool,
                "on",
                "`balance` is a bool: \"on\" is neither true nor false; write true or false, yes or no, 1 or 0",
            ),
        ];
        for (feature_type, cell, message) in cases {
            let found = read(feature_type, cell).unwrap_err();
            assert!(found.contains(message), "{found}");
        }
        let broken = from_text(&feature(FeatureType::String), b"caf\xe9", Decimal::Point).unwrap_err();
        assert!(broken.contains("not valid UTF-8"), "{broken}");
    }

    #[test]
    fn numbers_are_accepted_if_nothing_is_lost() {
        use FeatureType::{Bool, Float, Int};
        assert_eq!(from_number(&feature(Float), 0.1), Ok(ValueRef::Float(0.1)));
        assert_eq!(from_number(&feature(Int), -3.0), Ok(ValueRef::Int(-3)));
        assert_eq!(from_number(&feature(Bool), 1.0), Ok(ValueRef::Bool(true)));
        assert_eq!(from_number(&feature(Int), f64::NAN), Ok(ValueRef::Missing));
        for (feature_type, number) in [(Float, 1e300), (Int, 0.5), (Int, 1e16), (Bool, 2.0)] {
            assert!(from_number(&feature(feature_type), number).is_err(), "{number}");
        }
    }
}
