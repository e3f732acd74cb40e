//! The range of a calculation: interval arithmetic, widened by more than any rounding error.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::clauses::Clauses;
use super::text::Text;
use crate::rule::number::{Number, TO_NUMBER};
use crate::rule::scope;
use crate::rule::scope::{Operand, Slot, Source};
use feature::FeatureType;

/// The relative widening of intervals: far more than rounding, far less than people write.
const SLACK: f64 = 1e-9;

/// More than any 32-bit float.
const GREATEST: f64 = 3.5e38;

/// Larger ints are not all exact doubles.
pub(super) const EXACT: f64 = 9_007_199_254_740_992.0;

/// The numbers between two finite bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether all of them are ints, with int arithmetic.
    is_whole: bool,
}

/// A numeric part of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Amount {
    /// Constant.
    Known(Number),
    /// A constant int.
    Whole(i64),
    /// An error for every customer.
    Fails,
    /// A feature or the segment; whether it is an int.
    Read(Source, bool),
    /// Calculated; `None` if it may be infinite or NaN.
    Calculated(Option<Interval>),
}

impl Interval {
    /// The hull of the corners, widened in proportion to `magnitude`; `None` if a bound is not finite.
    fn around(corners: &[f64], magnitude: f64, is_whole: bool) -> Option<Self> {
        let slack = if is_whole && magnitude < EXACT { 0.0 } else { SLACK * magnitude };
        let low = corners.iter().copied().fold(f64::INFINITY, f64::min) - slack;
        let high = corners.iter().copied().fold(f64::NEG_INFINITY, f64::max) + slack;
        let is_finite = !corners.iter().any(|corner| corner.is_nan()) && low.is_finite() && high.is_finite();
        is_finite.then_some(Self { low, high, is_whole })
    }

    fn magnitude(self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    fn sum(self, other: Self) -> Option<Self> {
        let corners = [self.low + other.low, self.high + other.high];
        Self::around(&corners, self.magnitude() + other.magnitude(), self.is_whole && other.is_whole)
    }

    fn negated(self) -> Self {
        Self { low: -self.high, high: -self.low, ..self }
    }

    fn product(self, other: Self) -> Option<Self> {
        let corners = [self.low, self.high].map(|one| [one * other.low, one * other.high]);
        Self::around(
            corners.as_flattened(),
            self.magnitude() * other.magnitude(),
            self.is_whole && other.is_whole,
        )
    }

    fn quotient(self, other: Self) -> Option<Self> {
        let least = other.low.abs().min(other.high.abs());
        if other.low <= 0.0 && other.high >= 0.0 {
            return None;
        }
        let corners = [self.low, self.high].map(|one| [one / other.low, one / other.high]);
        Self::around(corners.as_flattened(), self.magnitude() / least, false)
    }

    fn hull(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            is_whole: self.is_whole && other.is_whole,
        }
    }
}

impl Clauses<'_> {
    /// The possible values of a numeric part of the rule.
    pub(super) fn amount(&self, node: &IdedExpr) -> Amount {
        match &node.expr {
            Expr::Literal(LiteralValue::Int(number)) => Amount::Whole(*number.inner()),
            Expr::Literal(LiteralValue::Double(number)) => Amount::Known(Number::exact(*number.inner())),
            Expr::Ident(slot) => match scope::find(self.slots, slot) {
                Some(Slot::Value { source, .. }) if source.is_of_offer() => match self.of_offer(*source) {
                    Operand::Float(number) => Amount::Known(number),
                    Operand::Int(number) => Amount::Whole(number),
                    Operand::Missing | Operand::String(_) | Operand::Bool(_) => Amount::Fails,
                },
                Some(Slot::Value { source, kind, .. }) => Amount::Read(*source, *kind == FeatureType::Int),
                _ => Amount::Calculated(None),
            },
            Expr::Call(call) => self.amount_of_call(call).unwrap_or(Amount::Calculated(None)),
            _ => Amount::Calculated(None),
        }
    }

    /// The range of an amount, if it is finite.
    pub(super) fn interval(&self, amount: Amount) -> Option<Interval> {
        match amount {
            Amount::Known(number) => {
                let (value, reach) = number.approximate();
                Interval::around(&[value - reach, value + reach], 0.0, false)
            }
            Amount::Whole(number) => Interval::around(&[number as f64], (number as f64).abs(), true),
            Amount::Fails => None,
            Amount::Read(source, is_whole) => {
                let (low, high) = self.range(source).unwrap_or(if is_whole {
                    (i64::MIN as f64, i64::MAX as f64)
                } else {
                    (-GREATEST, GREATEST)
                });
                Interval::around(&[low, high], low.abs().max(high.abs()), is_whole)
            }
            Amount::Calculated(interval) => interval,
        }
    }

    fn amount_of_call(&self, call: &CallExpr) -> Option<Amount> {
        match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
            (TO_NUMBER, None, [inner]) => Some(match self.amount(inner) {
                Amount::Whole(number) => Amount::Known(Number::of_whole(number)),
                other => other,
            }),
            ("size", None, [text]) => Some(match self.text(text) {
                Text::Known(text) => Amount::Whole(text.chars().count() as i64),
                Text::Fails => Amount::Fails,
                Text::Read(_) | Text::Other => {
                    Amount::Calculated(Some(Interval { low: 0.0, high: 1e15, is_whole: true }))
                }
            }),
            (operators::NEGATE, None, [inner]) => Some(match self.amount(inner) {
                Amount::Fails => Amount::Fails,
                Amount::Known(number) => Amount::Known(number.negated()),
                Amount::Whole(number) => number.checked_neg().map_or(Amount::Fails, Amount::Whole),
                other => Amount::Calculated(Some(self.interval(other)?.negated())),
            }),
            (operators::CONDITIONAL, None, [_, yes, no]) => Some(match (self.amount(yes), self.amount(no)) {
                (Amount::Fails, other) | (other, Amount::Fails) => Amount::Calculated(self.interval(other)),
                (yes, no) => Amount::Calculated(Some(self.interval(yes)?.hull(self.interval(no)?))),
            }),
            (name, None, [left, right]) => self.operation(name, self.amount(left), self.amount(right)),
            _ => None,
        }
    }

    fn operation(&self, name: &str, left: Amount, right: Amount) -> Option<Amount> {
        match (left, right) {
            (Amount::Fails, _) | (_, Amount::Fails) => return Some(Amount::Fails),
            (Amount::Whole(left), Amount::Whole(right)) => {
                let result = match name {
                    operators::ADD => left.checked_add(right),
                    operators::SUBSTRACT => left.checked_sub(right),
                    operators::MULTIPLY => left.checked_mul(right),
                    operators::DIVIDE => left.checked_div(right),
                    operators::MODULO => left.checked_rem(right),
                    _ => return None,
                };
                return Some(result.map_or(Amount::Fails, Amount::Whole));
            }
            (Amount::Known(left), Amount::Known(right)) => {
                return Some(Amount::Known(match name {
                    operators::ADD => left.plus(right),
                    operators::SUBSTRACT => left.minus(right),
                    operators::MULTIPLY => left.times(right),
                    operators::DIVIDE => left.over(right),
                    _ => return None,
                }));
            }
            _ => {}
        }
        let (one, other) = (self.interval(left)?, self.interval(right)?);
        let interval = match name {
            operators::ADD => one.sum(other)?,
            operators::SUBSTRACT => one.sum(other.negated())?,
            operators::MULTIPLY => one.product(other)?,
            // Int division truncates towards zero. (An int next to a float has become a float.)
            operators::DIVIDE if one.is_whole && other.is_whole => {
                let Interval { low, high, .. } = one.quotient(other)?;
                Interval { low: low.trunc(), high: high.trunc(), is_whole: true }
            }
            operators::DIVIDE => one.quotient(other)?,
            // Less than the divisor, with the sign of the dividend.
            operators::MODULO => {
                let most = other.magnitude();
                Interval {
                    low: if one.low >= 0.0 { 0.0 } else { -most },
                    high: if one.high <= 0.0 { 0.0 } else { most },
                    is_whole: true,
                }
            }
            _ => return None,
        };
        Some(Amount::Calculated(Some(interval)))
    }
}
