//! Integer quotients combined with floats.
//!
//! In CEL the quotient of two ints is an int: 9 / 12 is 0. Standard CEL then refuses a comparison with 0.5. Here
//! numbers mix, so the rule would silently be wrong. It keeps its CEL meaning, and a warning says what to write.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};

use super::{Checker, Typed};
use crate::rule::shown::{PRODUCT, show_within};
use feature::FeatureType;

/// The division that the result of an operation on two numbers is made from; `None` if the result is a float.
pub(super) fn of_operation(id: u64, name: &str, left: &Typed, right: &Typed) -> Option<u64> {
    if left.kind != FeatureType::Int || right.kind != FeatureType::Int {
        return None;
    }
    let inner = left.quotient.or(right.quotient);
    if name != operators::DIVIDE {
        return inner;
    }
    match (written(&left.node), written(&right.node)) {
        // 12 / 4 loses nothing.
        (Some(dividend), Some(divisor)) if dividend.checked_rem(divisor) == Some(0) => inner,
        _ => Some(id),
    }
}

fn written(node: &IdedExpr) -> Option<i64> {
    let Expr::Literal(LiteralValue::Int(number)) = &node.expr else { return None };
    Some(*number.inner())
}

impl Checker<'_> {
    /// Warns if one of two numbers is a float and the other is made from an integer division.
    pub(super) fn warn_of_quotients(&mut self, left: &Typed, right: &Typed) {
        for (whole, other) in [(left, right), (right, left)] {
            if other.kind == FeatureType::Float
                && let Some(id) = whole.quotient
                && let Some((dividend, divisor)) = find(&whole.node, id)
            {
                self.warn_of_quotient(id, dividend, divisor);
            }
        }
    }

    fn warn_of_quotient(&mut self, id: u64, dividend: &IdedExpr, divisor: &IdedExpr) {
        let dividend = show_within(dividend, &self.slots, PRODUCT);
        let divisor = show_within(divisor, &self.slots, PRODUCT + 1);
        let message = format!(
            "`{dividend} / {divisor}` divides whole numbers and drops the decimals (9 / 12 is 0) before it is combined \
             with a float; write `{dividend} * 1.0 / {divisor}`"
        );
        let warning = self.problem(id, message);
        // One division may be combined with several floats.
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// The dividend and the divisor of the division with this id.
fn find(node: &IdedExpr, id: u64) -> Option<(&IdedExpr, &IdedExpr)> {
    let Expr::Call(call) = &node.expr else { return None };
    match call.args.as_slice() {
        [dividend, divisor] if node.id == id => Some((dividend, divisor)),
        arguments => arguments.iter().find_map(|argument| find(argument, id)),
    }
}
