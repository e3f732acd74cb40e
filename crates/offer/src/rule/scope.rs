//! The variables of a rule, and how the interpreter gets their values.
//!
//! The checker replaces each variable by a slot number. So nothing is looked up by name per customer, and only values
//! that the rule reads enter the context.

use std::fmt;

use cel::ExecutionError;
use cel::common::traits::Container;
use cel::common::types::{CelBool, CelInt, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;

use super::OfferFields;
use super::number::Number;
use feature::{Entity, FeatureType, Row, ValueRef};

/// A value of a row or an offer that a rule reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A customer feature by its position in the schema.
    Customer(u32),
    /// A context feature by its position in the schema.
    Context(u32),
    /// An offer feature by its position in the schema.
    Offer(u32),
    OfferId,
    OfferCategory,
    OfferValue,
    OfferCost,
    OfferWeight,
    SegmentId,
    SegmentName,
}

impl Source {
    /// Whether it is the same for every customer.
    pub(super) fn is_of_offer(self) -> bool {
        match self {
            Self::Offer(_)
            | Self::OfferId
            | Self::OfferCategory
            | Self::OfferValue
            | Self::OfferCost
            | Self::OfferWeight => true,
            Self::Customer(_) | Self::Context(_) | Self::SegmentId | Self::SegmentName => false,
        }
    }

    /// The feature it reads, if any.
    pub(super) fn feature(self) -> Option<(Entity, usize)> {
        match self {
            Self::Customer(index) => Some((Entity::Customer, index as usize)),
            Self::Context(index) => Some((Entity::Context, index as usize)),
            Self::Offer(index) => Some((Entity::Offer, index as usize)),
            Self::OfferId
            | Self::OfferCategory
            | Self::OfferValue
            | Self::OfferCost
            | Self::OfferWeight
            | Self::SegmentId
            | Self::SegmentName => None,
        }
    }

    /// Its value in a row; a row does not have the fields of an offer.
    pub(super) fn in_row<'a>(self, row: &Row<'a>) -> ValueRef<'a> {
        let value = match self {
            Self::Customer(index) => row.customer.get(index as usize).copied(),
            Self::Context(index) => row.context.get(index as usize).copied(),
            Self::Offer(index) => row.offer.get(index as usize).copied(),
            Self::SegmentId => row.segment.map(|segment| ValueRef::Int(segment.id)),
            Self::SegmentName => row.segment.map(|segment| ValueRef::String(segment.name)),
            Self::OfferId | Self::OfferCategory | Self::OfferValue | Self::OfferCost | Self::OfferWeight => {
                None
            }
        };
        value.unwrap_or(ValueRef::Missing)
    }

    /// Its value in a row and an offer.
    pub(super) fn read<'a>(self, row: &Row<'a>, offer: &OfferFields<'a>) -> Operand<'a> {
        match self {
            Self::OfferId => Operand::String(offer.id),
            Self::OfferCategory => Operand::String(offer.category),
            Self::OfferValue => Operand::Float(Number::exact(offer.value)),
            Self::OfferCost => Operand::Float(Number::exact(offer.cost)),
            Self::OfferWeight => Operand::Float(Number::exact(offer.weight)),
            Self::Customer(_) | Self::Context(_) | Self::Offer(_) | Self::SegmentId | Self::SegmentName => {
                self.in_row(row).into()
            }
        }
    }
}

/// A value in the types that rules calculate with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operand<'a> {
    Missing,
    Float(Number),
    Int(i64),
    String(&'a str),
    Bool(bool),
}

impl<'a> From<ValueRef<'a>> for Operand<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Missing => Self::Missing,
            ValueRef::Float(value) => Self::Float(Number::of_feature(value)),
            ValueRef::Int(value) => Self::Int(value),
            ValueRef::String(value) => Self::String(value),
            ValueRef::Bool(value) => Self::Bool(value),
        }
    }
}

/// The meaning of a variable in the checked expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Slot {
    /// The value, with its name in the rule.
    Value { source: Source, kind: FeatureType, name: String },
    /// Whether the value is present.
    Presence { source: Source, name: String },
    /// The pattern that the text left of `in` must match.
    Pattern(Pattern),
}

impl Slot {
    pub(super) fn source(&self) -> Option<Source> {
        match self {
            Self::Value { source, .. } | Self::Presence { source, .. } => Some(*source),
            Self::Pattern(_) => None,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Value { name, .. } | Self::Presence { name, .. } => name,
            Self::Pattern(pattern) => pattern.0.as_str(),
        }
    }
}

/// The slot of a variable in the checked expression.
pub(super) fn find<'a>(slots: &'a [Slot], variable: &str) -> Option<&'a Slot> {
    slots.get(variable.parse::<usize>().ok()?)
}

/// One customer × offer, for a rule.
pub(super) struct Scope<'a> {
    pub(super) slots: &'a [Slot],
    pub(super) row: &'a Row<'a>,
    pub(super) offer: &'a OfferFields<'a>,
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match find(self.slots, variable)? {
            Slot::Value { source, .. } => match source.read(self.row, self.offer) {
                Operand::Missing => None,
                Operand::Float(value) => Some(CowVal::owned(value)),
                Operand::Int(value) => Some(CowVal::owned(CelInt::from(value))),
                Operand::String(value) => Some(CowVal::owned(CelString::from(value))),
                Operand::Bool(value) => Some(CowVal::owned(CelBool::from(value))),
            },
            Slot::Presence { source, .. } => {
                let value = source.read(self.row, self.offer);
                Some(CowVal::owned(CelBool::from(value != Operand::Missing)))
            }
            Slot::Pattern(pattern) => Some(CowVal::Borrowed(pattern)),
        }
    }
}

/// A regular expression, compiled once. To the interpreter it is a container of all matching texts.
///
/// The interpreter's own `matches` compiles the expression at each call.
#[derive(Clone)]
pub(super) struct Pattern(pub(super) regex::Regex);

static PATTERN: Type = Type::new_unspecified_type("pattern");

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

impl Container for Pattern {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        let text = value.downcast_ref::<CelString>();
        Ok(text.is_some_and(|text| self.0.is_match(text.inner())))
    }
}
