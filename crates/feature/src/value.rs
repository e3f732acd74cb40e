//! The values of features, owned and borrowed.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The type of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureType {
    /// A 32-bit float: the type that models take and that the embedded store keeps.
    Float,
    /// A 64-bit signed integer.
    Int,
    /// Text.
    String,
    /// True or false.
    Bool,
}

impl FeatureType {
    /// Whether a model can take the feature as a number.
    #[must_use]
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Float | Self::Int | Self::Bool)
    }
}

impl fmt::Display for FeatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Int => "int",
            Self::String => "string",
            Self::Bool => "bool",
        })
    }
}

/// A value that owns its text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a float feature; finite.
    Float(f32),
    /// Of an int feature.
    Int(i64),
    /// Of a string feature.
    String(Arc<str>),
    /// Of a bool feature.
    Bool(bool),
}

impl Value {
    /// The value as a reference.
    #[must_use]
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Float(value) => ValueRef::Float(*value),
            Self::Int(value) => ValueRef::Int(*value),
            Self::String(value) => ValueRef::String(value),
            Self::Bool(value) => ValueRef::Bool(*value),
        }
    }
}

/// A value as rules and models read it; cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// Unknown: no request column, nothing in the store, no default.
    Missing,
    /// Of a float feature; finite.
    Float(f32),
    /// Of an int feature.
    Int(i64),
    /// Of a string feature.
    String(&'a str),
    /// Of a bool feature.
    Bool(bool),
}

impl<'a> From<&'a Option<Value>> for ValueRef<'a> {
    fn from(value: &'a Option<Value>) -> Self {
        value.as_ref().map_or(Self::Missing, Value::as_ref)
    }
}

impl ValueRef<'_> {
    /// The value, or `default` if it is missing.
    #[must_use]
    pub fn or(self, default: Self) -> Self {
        if self.is_missing() { default } else { self }
    }

    /// Whether the value is missing.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// The value as a number: NaN if missing, 0 or 1 for booleans. `None` for text.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Missing => Some(f64::NAN),
            Self::Float(value) => Some(f64::from(*value)),
            Self::Int(value) => Some(*value as f64),
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            Self::String(_) => None,
        }
    }

    /// The type; `None` if the value is missing.
    #[must_use]
    pub fn feature_type(&self) -> Option<FeatureType> {
        match self {
            Self::Missing => None,
            Self::Float(_) => Some(FeatureType::Float),
            Self::Int(_) => Some(FeatureType::Int),
            Self::String(_) => Some(FeatureType::String),
            Self::Bool(_) => Some(FeatureType::Bool),
        }
    }

    /// Converts the value to another type without changing its meaning: 7 is 7.0, true is 1. A caller then need not
    /// know the numeric types of a schema. A missing value stays missing.
    ///
    /// `None` if the wanted type has no such value: a fraction for an int, 2 for a bool, anything but text for text.
    /// Infinite and NaN floats have no counterpart either.
    #[must_use]
    pub fn cast(self, wanted: FeatureType) -> Option<Self> {
        match (wanted, self) {
            (FeatureType::Float, Self::Float(value)) => Some(self).filter(|_| value.is_finite()),
            (_, Self::Missing)
            | (FeatureType::Int, Self::Int(_))
            | (FeatureType::Bool, Self::Bool(_))
            | (FeatureType::String, Self::String(_)) => Some(self),
            (FeatureType::Float, Self::Int(value)) => Some(Self::Float(value as f32)),
            (FeatureType::Float, Self::Bool(truth)) => Some(Self::Float(f32::from(u8::from(truth)))),
            // Beyond 64 bits every float is whole, but need not be the intended number.
            (FeatureType::Int, Self::Float(value)) => {
                (value.fract() == 0.0 && value.abs() < 9.223_372e18).then_some(Self::Int(value as i64))
            }
            (FeatureType::Int, Self::Bool(truth)) => Some(Self::Int(i64::from(truth))),
            (FeatureType::Bool, Self::Float(value)) => {
                (value == 0.0 || (value - 1.0).abs() == 0.0).then_some(Self::Bool(value != 0.0))
            }
            (FeatureType::Bool, Self::Int(value)) => matches!(value, 0 | 1).then_some(Self::Bool(value == 1)),
            (FeatureType::String, _) | (_, Self::String(_)) => None,
        }
    }

    /// The owned value; `None` if it is missing.
    #[must_use]
    pub fn to_value(&self) -> Option<Value> {
        match self {
            Self::Missing => None,
            Self::Float(value) => Some(Value::Float(*value)),
            Self::Int(value) => Some(Value::Int(*value)),
            Self::String(value) => Some(Value::String(Arc::from(*value))),
            Self::Bool(value) => Some(Value::Bool(*value)),
        }
    }
}
