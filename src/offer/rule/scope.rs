//! What the variables of a rule stand for, and how the interpreter is given their values.
//!
//! The checker replaces each variable by the number of a slot, so that nothing is looked up by name per customer and no
//! value is put into a context that the rule does not read.

use std::fmt;

use cel::ExecutionError;
use cel::common::traits::Container;
use cel::common::types::{CelBool, CelDouble, CelInt, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;

use super::OfferFields;
use crate::feature::{Entity, FeatureType, Row, ValueRef};

/// Something of a row or an offer that a rule reads.
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

    /// The feature that it is, if it is one.
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

    /// What a row knows of it; a row does not know the fields of an offer.
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

    /// What a row and an offer know of it.
    pub(super) fn read<'a>(self, row: &Row<'a>, offer: &OfferFields<'a>) -> ValueRef<'a> {
        match self {
            Self::OfferId => ValueRef::String(offer.id),
            Self::OfferCategory => ValueRef::String(offer.category),
            Self::OfferValue => ValueRef::Float(offer.value as f32),
            Self::OfferCost => ValueRef::Float(offer.cost as f32),
            Self::OfferWeight => ValueRef::Float(offer.weight as f32),
            Self::Customer(_) | Self::Context(_) | Self::Offer(_) | Self::SegmentId | Self::SegmentName => {
                self.in_row(row)
            }
        }
    }
}

/// What a variable of the checked expression stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Slot {
    /// The value, under the name that the rule gives it.
    Value { source: Source, kind: FeatureType, name: String },
    /// Whether there is a value.
    Presence { source: Source, name: String },
    /// What the text left of `in` must match.
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

/// The slot that a variable of the checked expression names.
pub(super) fn find<'a>(slots: &'a [Slot], variable: &str) -> Option<&'a Slot> {
    slots.get(variable.parse::<usize>().ok()?)
}

/// One customer × offer as a rule sees it.
pub(super) struct Scope<'a> {
    pub(super) slots: &'a [Slot],
    pub(super) row: &'a Row<'a>,
    pub(super) offer: &'a OfferFields<'a>,
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match find(self.slots, variable)? {
            Slot::Value { source, .. } => match source.read(self.row, self.offer) {
                ValueRef::Missing => None,
                ValueRef::Float(value) => Some(CowVal::owned(CelDouble::from(f64::from(value)))),
                ValueRef::Int(value) => Some(CowVal::owned(CelInt::from(value))),
                ValueRef::String(value) => Some(CowVal::owned(CelString::from(value))),
                ValueRef::Bool(value) => Some(CowVal::owned(CelBool::from(value))),
            },
            Slot::Presence { source, .. } => {
                Some(CowVal::owned(CelBool::from(!source.read(self.row, self.offer).is_missing())))
            }
            Slot::Pattern(pattern) => Some(CowVal::Borrowed(pattern)),
        }
    }
}

/// A regular expression, compiled once; to the interpreter it is a container of all the text that matches.
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
