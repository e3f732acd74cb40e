//! The nodes of compiled rules: four types, each in its own table.
//!
//! A node refers to its inputs by table index, and equal nodes have one index, so parts shared by rules exist once.
//! The type of a node is the type of its value, so evaluation checks no types. No node reads an offer: offer values
//! are constants.

use std::cmp::Ordering;
use std::marker::PhantomData;

use crate::rule::number::{Number, widen};
use crate::rule::scope::Source;

/// The index of a node in the table of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id<N> {
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

/// The error of a node: its index among the errors of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fault(pub(super) u32);

impl Fault {
    /// A division by zero.
    pub(super) const DIVISION: Self = Self(0);
    /// An int beyond 64 bits.
    pub(super) const OVERFLOW: Self = Self(1);
    /// An ordering with NaN.
    pub(super) const UNORDERED: Self = Self(2);
}

/// A value read from a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Read {
    pub(super) source: Source,
    /// The error if the value is missing.
    pub(super) missing: Fault,
}

/// One of two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Choice<N> {
    pub(super) condition: Id<Bool>,
    pub(super) yes: Id<N>,
    pub(super) no: Id<N>,
}

/// The members of a conjunction or disjunction: a range of the set's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Members {
    pub(super) start: u32,
    pub(super) count: u32,
}

/// A float compared by its bits, so that it can be part of a hash key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bits((u64, u64));

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
pub(crate) struct FeatureBits(u32);

impl FeatureBits {
    pub(super) fn value(self) -> f32 {
        f32::from_bits(self.0)
    }
}

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Bool {
    Known(Result<bool, Fault>),
    Read(Read),
    /// Whether the value is present.
    Has(Source),
    Not(Id<Bool>),
    /// `&&` of two or more.
    All(Members),
    /// `||` of two or more.
    Any(Members),
    Choice(Choice<Bool>),
    Same(Id<Bool>, Id<Bool>),
    Ints(Comparison, Id<Int>, Id<Int>),
    Floats(Comparison, Id<Float>, Id<Float>),
    Texts(Comparison, Id<Text>, Id<Text>),
    /// The most frequent comparison: a feature with a constant.
    IntVsConstant(Comparison, Read, i64),
    /// The float is compared in 32 bits, as stored: see [`Comparison::of_feature`].
    FloatVsConstant(Comparison, Read, FeatureBits),
    /// A test of the left text with the right one.
    TextTest(TextTest, Id<Text>, Id<Text>),
    /// Whether a text matches the pattern with that index in the set.
    Matches(Id<Text>, u32),
}

/// An int.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Int {
    Known(Result<i64, Fault>),
    Read(Read),
    Negated(Id<Int>),
    Calculated(Operation, Id<Int>, Id<Int>),
    /// The number of characters.
    Size(Id<Text>),
    Choice(Choice<Int>),
}

/// A float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Float {
    Known(Result<Bits, Fault>),
    Read(Read),
    Of(Id<Int>),
    Negated(Id<Float>),
    Calculated(Operation, Id<Float>, Id<Float>),
    Choice(Choice<Float>),
}

/// A text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Text {
    /// The constant text with that index in the set.
    Known(Result<u32, Fault>),
    Read(Read),
    Choice(Choice<Text>),
}

/// A node of any type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AnyId {
    Bool(Id<Bool>),
    Int(Id<Int>),
    Float(Id<Float>),
    Text(Id<Text>),
}

/// The orders of two values for which a comparison holds, as bits, so that evaluation does not branch on the kind of
/// comparison. `!=` is a negated `==`, and shares its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Comparison(u8);

impl Comparison {
    pub(super) const LESS: Self = Self(0b001);
    pub(super) const EQUAL: Self = Self(0b010);
    pub(super) const GREATER: Self = Self(0b100);
    pub(super) const LESS_OR_EQUAL: Self = Self(0b011);
    pub(super) const GREATER_OR_EQUAL: Self = Self(0b110);

    /// The equivalent comparison with its sides swapped.
    pub(super) fn exchanged(self) -> Self {
        Self(self.0 & 0b010 | self.0 << 2 & 0b100 | self.0 >> 2)
    }

    #[inline]
    pub(super) fn holds<T: PartialOrd + ?Sized>(self, left: &T, right: &T) -> bool {
        self.0 & Self::order(left, right) != 0
    }

    /// The comparison of a feature with `number`, as a comparison of 32-bit values. These are ordered like the
    /// decimals they stand for, so only the value nearest to `number` needs an adjusted result.
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

    /// NaN equals nothing and has no order.
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
        // Equality has a result even for NaN; only orderings fail.
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
pub(crate) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// `%` is for ints only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operation {
    pub(super) fn of_ints(self, left: i64, right: i64) -> Result<i64, Fault> {
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
            // The checker accepts none.
            Self::Remainder => Number::exact(f64::NAN),
        }
    }
}
