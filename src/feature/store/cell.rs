//! Cells as values of a feature's type, with what is wrong said in words.

use super::findings::shown;
use crate::feature::{Feature, FeatureType, ValueRef};

/// Beyond ±2⁵³ a double skips whole numbers, so one that is read from it may not be the one that was meant.
const EXACT_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// Reads a cell of a CSV file. Empty is missing, and so is NaN; white space around numbers does not matter.
pub fn from_text<'a>(feature: &Feature, cell: &'a [u8]) -> Result<ValueRef<'a>, String> {
    if cell.is_empty() {
        return Ok(ValueRef::Missing);
    }
    let text = std::str::from_utf8(cell).map_err(|_| {
        format!("`{}`: {} is not valid UTF-8; save the file as UTF-8", feature.name, shown(cell))
    })?;
    if feature.feature_type == FeatureType::String {
        return Ok(ValueRef::String(text));
    }
    let word = text.trim_ascii();
    match feature.feature_type {
        _ if word.is_empty() => Ok(ValueRef::Missing),
        FeatureType::Float => match word.parse::<f32>() {
            Ok(number) if number.is_nan() => Ok(ValueRef::Missing),
            Ok(number) if number.is_finite() => Ok(ValueRef::Float(number)),
            Ok(_) => Err(not_finite(feature, cell)),
            Err(_) => Err(refusal(feature, cell, "is not a number", number_hint(word))),
        },
        FeatureType::Int => match word.parse::<i64>() {
            Ok(number) => Ok(ValueRef::Int(number)),
            Err(_) => whole_float(feature, cell, word),
        },
        FeatureType::Bool | FeatureType::String => match word {
            "1" => Ok(ValueRef::Bool(true)),
            "0" => Ok(ValueRef::Bool(false)),
            _ if word.eq_ignore_ascii_case("true") => Ok(ValueRef::Bool(true)),
            _ if word.eq_ignore_ascii_case("false") => Ok(ValueRef::Bool(false)),
            _ => Err(refusal(feature, cell, "is neither true nor false", "write true, false, 1 or 0")),
        },
    }
}

/// Reads a number of a typed column as a number or a bool, if nothing of it is lost but the digits that no 32-bit float
/// has. NaN is missing.
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
            _ => Err(refusal(feature, &cell(), "is neither true nor false", "write true, false, 1 or 0")),
        },
    }
}

/// Reads an int that some other program wrote as a float (`12.0`).
fn whole_float(feature: &Feature, cell: &[u8], word: &str) -> Result<ValueRef<'static>, String> {
    match word.parse::<f64>() {
        Ok(number) => from_number(feature, number).map_err(|_| not_whole(feature, cell)),
        Err(_) => Err(refusal(feature, cell, "is not a whole number", number_hint(word))),
    }
}

fn refusal(feature: &Feature, cell: &[u8], what: &str, remedy: &str) -> String {
    let article = if feature.feature_type == FeatureType::Int { "an" } else { "a" };
    let Feature { name, feature_type, .. } = feature;
    format!("`{name}` is {article} {feature_type}: {} {what}; {remedy}", shown(cell))
}

fn not_finite(feature: &Feature, cell: &[u8]) -> String {
    let remedy = "leave it empty where the value is not known";
    refusal(feature, cell, "is infinite or beyond ±3.4e38", remedy)
}

fn not_whole(feature: &Feature, cell: &[u8]) -> String {
    let remedy = "round it, or make the feature a float";
    refusal(feature, cell, "is not a whole number of 64 bits", remedy)
}

fn number_hint(word: &str) -> &'static str {
    if word.replace(',', ".").parse::<f64>().is_ok() {
        "use a point"
    } else if word.contains(',') && word.replace(',', "").parse::<f64>().is_ok() {
        "write it without separators"
    } else {
        "leave it empty where the value is not known"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::Entity;

    fn feature(feature_type: FeatureType) -> Feature {
        let (name, description) = ("balance".to_owned(), String::new());
        let (entity, values) = (Entity::Customer, Vec::new());
        Feature { name, feature_type, entity, default: None, range: None, values, description }
    }

    fn read(feature_type: FeatureType, cell: &str) -> Result<ValueRef<'_>, String> {
        from_text(&feature(feature_type), cell.as_bytes())
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
            (Float, "NA", "is not a number; leave it empty where the value is not known"),
            (Float, "-inf", "\"-inf\" is infinite or beyond ±3.4e38"),
            (Float, "1e39", "\"1e39\" is infinite or beyond ±3.4e38"),
            (Int, "3.7", "`balance` is an int: \"3.7\" is not a whole number of 64 bits; round it"),
            (Int, "9223372036854775808", "is not a whole number of 64 bits"),
            (Int, "x", "\"x\" is not a whole number; leave it empty"),
            (
                Bool,
                "yes",
                "`balance` is a bool: \"yes\" is neither true nor false; write true, false, 1 or 0",
            ),
        ];
        for (feature_type, cell, message) in cases {
            let found = read(feature_type, cell).unwrap_err();
            assert!(found.contains(message), "{found}");
        }
        let broken = from_text(&feature(FeatureType::String), b"caf\xe9").unwrap_err();
        assert!(broken.contains("not valid UTF-8"), "{broken}");
    }

    #[test]
    fn numbers_are_taken_where_nothing_is_lost() {
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
