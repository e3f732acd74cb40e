//! Implements the interpreter's value traits for numbers.

use std::any::Any;
use std::cmp::Ordering;

use cel::common::traits::{Adder, Comparer, Divider, Multiplier, Negator, Subtractor};
use cel::common::types::{CelDouble, CelInt, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{Env, ExecutionError, add_overload};

use super::Number;

static NUMBER: Type = Type::new_unspecified_type("number");

/// The function that the checker wraps around ints next to a float, and around every float literal.
pub(in crate::rule) const TO_NUMBER: &str = "@number";

/// The functions of the language, and the one that makes numbers.
pub(in crate::rule) fn environment() -> Env {
    let mut env = Env::stdlib();
    let whole = add_overload!(env, fn of_whole: (CelInt) -> Number, name = TO_NUMBER, id = "whole_to_number");
    let double =
        add_overload!(env, fn of_double: (CelDouble) -> Number, name = TO_NUMBER, id = "double_to_number");
    debug_assert!(whole.is_ok() && double.is_ok(), "the name is not a CEL identifier");
    env
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the interpreter hands out references")]
fn of_whole(whole: &CelInt) -> Number {
    Number::of_whole(*whole.inner())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the interpreter hands out references")]
fn of_double(double: &CelDouble) -> Number {
    Number::exact(*double.inner())
}

/// The other operand; the checker lets only numbers through.
fn number(side: &dyn Val) -> Result<Number, ExecutionError> {
    side.downcast_ref::<Number>().copied().or_else(|| side.downcast_ref().map(of_whole)).ok_or_else(|| {
        ExecutionError::UnexpectedType {
            got: side.get_type().name().to_owned(),
            want: NUMBER.name().to_owned(),
        }
    })
}

impl Val for Number {
    fn get_type(&self) -> &Type {
        &NUMBER
    }

    fn cel_type() -> &'static Type {
        &NUMBER
    }

    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }

    fn as_divider<'b, 'v>(&'b self) -> Option<&'b (dyn Divider + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_multiplier<'b, 'v>(&'b self) -> Option<&'b (dyn Multiplier + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_negator<'b, 'v>(&'b self) -> Option<&'b (dyn Negator + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_subtractor<'b, 'v>(&'b self) -> Option<&'b (dyn Subtractor + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        number(other).is_ok_and(|other| self.order(other) == Some(Ordering::Equal))
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Number {}

impl Adder for Number {
    fn add<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(CowVal::owned(self.plus(number(other)?)))
    }
}

impl Subtractor for Number {
    fn sub<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(CowVal::owned(self.minus(number(other)?)))
    }
}

impl Multiplier for Number {
    fn mul<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(CowVal::owned(self.times(number(other)?)))
    }
}

impl Divider for Number {
    fn div<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(CowVal::owned(self.over(number(other)?)))
    }
}

impl Negator for Number {
    fn negate<'v>(&self) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(Box::new(self.negated()))
    }
}

impl Comparer for Number {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, ExecutionError> {
        let incomparable = || ExecutionError::no_such_overload("compare", Vec::new());
        self.order(number(other)?).ok_or_else(incomparable)
    }
}
