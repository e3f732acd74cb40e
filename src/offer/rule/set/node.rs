//! What compiled rules are made of: nodes of four types, each in a table of its own.
//!
//! A node refers to the nodes that it needs by their place in a table, and equal nodes have one place: what two rules
//! have in common exists once. The type of a node is the type of its value, so that nothing is checked when it is
//! evaluated. Nothing here reads an offer: what a rule reads of one is a constant in it.

use std::cmp::Ordering;
use std::marker::PhantomData;

use crate::offer::rule::number::{Number, widen};
use crate::offer::rule::scope::Source;

/// Where a node stands in the table of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id<N> {
    place: u32,
    kind: PhantomData<fn() -> N>,
}

impl<N> Id<N> {
    pub(super) fn new(place: usize) -> Self {
        Self { place: place as u32, kind: PhantomData }
    }

    pub(super) fn place(self) -> usize {
        self.place as usize
    }
}

/// Why a node has no value: its place among the errors of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fault(pub(super) u32);

impl Fault {
    /// A division by zero.
    pub(super) const DIVISION: Self = Self(0);
    /// A whole number beyond 64 bits.
    pub(super) const OVERFLOW: Self = Self(1);
    /// An order of what is not a number.
    pub(super) const UNORDERED: Self = Self(2);
}

/// A value that was read of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Read {
    pub(super) source: Source,
    /// What it is to use the value where it is missing.
    pub(super) missing: Fault,
}

/// One of two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Choice<N> {
    pub(super) condition: Id<Truth>,
    pub(super) yes: Id<N>,
    pub(super) no: Id<N>,
}

/// Conditions that stand side by side: a run of the set's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Members {
    pub(super) start: u32,
    pub(super) count: u32,
}

/// A float that equals only what has the same bits, so that nodes can be found by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bits((u64, u64));

impl Bits {
    pub(super) fn of(value: Number) -> Self {
        Self(value.bits())
    }

    pub(super) fn value(self) -> Number {
        Number::from_bits(self.0)
    }
}

/// A 32-bit float, likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FeatureBits(u32);

impl FeatureBits {
    pub(super) fn value(self) -> f32 {
        f32::from_bits(self.0)
    }
}

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    Known(Result<bool, Fault>),
    Read(Read),
    /// Whether there is a value.
    Has(Source),
    Not(Id<Truth>),
    /// `&&` of two or more.
    All(Members),
    /// `||` of two or more.
    Any(Members),
    Choice(Choice<Truth>),
    Same(Id<Truth>, Id<Truth>),
    Wholes(Comparison, Id<Whole>, Id<Whole>),
    Floats(Comparison, Id<Float>, Id<Float>),
    Texts(Comparison, Id<Text>, Id<Text>),
    /// A comparison of what most rules compare: a feature with a number that the rule writes.
    WholeAgainst(Comparison, Read, i64),
    /// The float is compared as it is kept, in 32 bits: see [`Comparison::of_feature`].
    FloatAgainst(Comparison, Read, FeatureBits),
    /// A test of the left text with the right one.
    Part(Part, Id<Text>, Id<Text>),
    /// Whether a text matches the pattern at that place of the set.
    Matches(Id<Text>, u32),
}

/// A whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whole {
    Known(Result<i64, Fault>),
    Read(Read),
    Negated(Id<Whole>),
    Calculated(Operation, Id<Whole>, Id<Whole>),
    /// The number of characters.
    Size(Id<Text>),
    Choice(Choice<Whole>),
}

/// A float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Float {
    Known(Result<Bits, Fault>),
    Read(Read),
    Of(Id<Whole>),
    Negated(Id<Float>),
    Calculated(Operation, Id<Float>, Id<Float>),
    Choice(Choice<Float>),
}

/// A text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Text {
    /// The text at that place of the set.
    Known(Result<u32, Fault>),
    Read(Read),
    Choice(Choice<Text>),
}

/// A node of any type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnyId {
    Truth(Id<Truth>),
    Whole(Id<Whole>),
    Float(Id<Float>),
    Text(Id<Text>),
}

/// The orders of two values for which a comparison holds, as bits, so that no branch depends on which comparison it is.
/// `!=` is a negated `==`: both share the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Comparison(u8);

impl Comparison {
    pub(super) const LESS: Self = Self(0b001);
    pub(super) const EQUAL: Self = Self(0b010);
    pub(super) const GREATER: Self = Self(0b100);
    pub(super) const LESS_OR_EQUAL: Self = Self(0b011);
    pub(super) const GREATER_OR_EQUAL: Self = Self(0b110);

    /// The comparison that says the same with its sides exchanged.
    pub(super) fn exchanged(self) -> Self {
        Self(self.0 & 0b010 | self.0 << 2 & 0b100 | self.0 >> 2)
    }

    #[inline]
    pub(super) fn holds<T: PartialOrd + ?Sized>(self, left: &T, right: &T) -> bool {
        self.0 & Self::order(left, right) != 0
    }

    /// The comparison of a feature with `number`, as one of the 32-bit values: they are in the order of the decimals that
    /// they stand for, so that only the one that `number` rounds to may be on another side of it.
    pub(super) fn of_feature(self, number: f64) -> (Self, FeatureBits) {
        let nearest = number as f32;
        let order_of_nearest = match widen(nearest).partial_cmp(&number) {
            Some(Ordering::Less) => Self::LESS,
            Some(Ordering::Greater) => Self::GREATER,
            Some(Ordering::Equal) | None => Self::EQUAL,
        };
        let holds_at_nearest = u8::from(self.0 & order_of_nearest.0 != 0) << 1;
        (Self(self.0 & 0b101 | holds_at_nearest), FeatureBits(nearest.to_bits()))
    }

    /// What is not a number equals nothing and has no order.
    #[inline]
    pub(super) fn of_numbers(self, left: Number, right: Number) -> Result<bool, Fault> {
        self.of_order(match left.order(right) {
            Some(Ordering::Less) => Self::LESS.0,
            Some(Ordering::Equal) => Self::EQUAL.0,
            Some(Ordering::Greater) => Self::GREATER.0,
            None => 0,
        })
    }

    /// See [`Comparison::of_feature`].
    #[inline]
    pub(super) fn of_features(self, left: f32, right: f32) -> Result<bool, Fault> {
        self.of_order(Self::order(&left, &right))
    }

    #[inline]
    fn of_order(self, order: u8) -> Result<bool, Fault> {
        // What asks for no order but equality, if for that, has an answer.
        if order == 0 && self.0 & 0b101 != 0 {
            return Err(Fault::UNORDERED);
        }
        Ok(self.0 & order != 0)
    }

    fn order<T: PartialOrd + ?Sized>(left: &T, right: &T) -> u8 {
        u8::from(left < right) | u8::from(left == right) << 1 | u8::from(left > right) << 2
    }
}

/// A test of a text with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    Starts,
    Ends,
    Contained,
}

/// `%` is of whole numbers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operation {
    pub(super) fn of_wholes(self, left: i64, right: i64) -> Result<i64, Fault> {
        let result = match self {
            Self::Divide | Self::Remainder if right == 0 => return Err(Fault::DIVISION),
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide => left.checked_div(right),
            Self::Remainder => left.checked_rem(right),
        };
        result.ok_or(Fault::OVERFLOW)
    }

    pub(super) fn of_numbers(self, left: Number, right: Number) -> Number {
        match self {
            Self::Add => left.plus(right),
            Self::Subtract => left.minus(right),
            Self::Multiply => left.times(right),
            Self::Divide => left.over(right),
            // The checker lets none through.
            Self::Remainder => Number::exact(f64::NAN),
        }
    }
}
