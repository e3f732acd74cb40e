//! Quotients of whole numbers that meet a float.
//!
//! The quotient of two whole numbers is whole in CEL: 9 / 12 is 0. Standard CEL then refuses to compare it with 0.5; here numbers mix, so
//! that the rule would be silently wrong. It means what it always meant, and a warning says what to write.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};

use super::{Checker, Typed};
use crate::feature::FeatureType;
use crate::offer::rule::shown::{PRODUCT, show_within};

/// The division that the result of an operation on two numbers was made of; `None` where it is a float.
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
    /// Warns where one of two numbers is a float and the other was made of a quotient of whole numbers.
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
            "`{dividend} / {divisor}` divides whole numbers and loses the decimals (9 / 12 is 0) before it meets a float; \
             write `{dividend} * 1.0 / {divisor}`"
        );
        let warning = self.problem(id, message);
        // One division may meet several floats.
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
