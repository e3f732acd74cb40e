//! Writes a part of a checked rule in rule syntax, for messages.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::number::TO_NUMBER;
use super::scope::{self, Slot};

/// Operators by precedence, lowest first. Calls and literals have the highest.
const BINDING: [&[&str]; 7] = [
    &[operators::CONDITIONAL],
    &[operators::LOGICAL_OR],
    &[operators::LOGICAL_AND],
    &[
        operators::EQUALS,
        operators::NOT_EQUALS,
        operators::LESS,
        operators::LESS_EQUALS,
        operators::GREATER,
        operators::GREATER_EQUALS,
        operators::IN,
    ],
    &[operators::ADD, operators::SUBSTRACT],
    &[operators::MULTIPLY, operators::DIVIDE, operators::MODULO],
    &[operators::LOGICAL_NOT, operators::NEGATE],
];

/// The precedence of a product.
pub(super) const PRODUCT: usize = 5;

/// The part in rule syntax.
pub(super) fn show(node: &IdedExpr, slots: &[Slot]) -> String {
    show_within(node, slots, 0)
}

/// The same, in brackets if its precedence is below `least`.
pub(super) fn show_within(node: &IdedExpr, slots: &[Slot], least: usize) -> String {
    match &node.expr {
        Expr::Literal(literal) => show_literal(literal),
        Expr::Ident(slot) => match scope::find(slots, slot) {
            Some(Slot::Presence { name, .. }) => format!("has({name})"),
            Some(slot) => slot.name().to_owned(),
            None => String::new(),
        },
        Expr::Call(call) => show_call(call, slots, least),
        Expr::List(list) => {
            let items: Vec<String> = list.elements.iter().map(|item| show(item, slots)).collect();
            format!("[{}]", items.join(", "))
        }
        Expr::Select(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => {
            String::new()
        }
    }
}

fn show_call(call: &CallExpr, slots: &[Slot], least: usize) -> String {
    let name = call.func_name.as_str();
    let binding = BINDING.iter().position(|names| names.contains(&name)).unwrap_or(BINDING.len());
    let within = |node: &IdedExpr, least: usize| show_within(node, slots, least);
    let text = match (call.target.as_deref(), call.args.as_slice()) {
        (None, [inner]) if name == TO_NUMBER => return within(inner, least),
        (None, [condition, yes, no]) => {
            format!("{} ? {} : {}", within(condition, 1), within(yes, 1), within(no, 0))
        }
        (None, [inner]) if binding < BINDING.len() => {
            let symbol = if name == operators::NEGATE { "-" } else { "!" };
            format!("{symbol}{}", within(inner, binding + 1))
        }
        (None, [text, pattern]) if matches!(pattern.expr, Expr::Ident(_)) && name == operators::IN => {
            return format!("{}.matches({:?})", within(text, BINDING.len()), within(pattern, 0));
        }
        (None, [left, right]) if binding < BINDING.len() => {
            let symbol = if name == operators::IN { "in" } else { name.trim_matches('_') };
            format!("{} {symbol} {}", within(left, binding), within(right, binding + 1))
        }
        (target, arguments) => {
            let arguments: Vec<String> = arguments.iter().map(|argument| within(argument, 0)).collect();
            let target = target.map(|target| within(target, BINDING.len()) + ".").unwrap_or_default();
            return format!("{target}{name}({})", arguments.join(", "));
        }
    };
    if binding < least { format!("({text})") } else { text }
}

fn show_literal(literal: &LiteralValue) -> String {
    match literal {
        LiteralValue::Boolean(truth) => truth.inner().to_string(),
        LiteralValue::Int(number) => number.inner().to_string(),
        LiteralValue::Double(number) => format!("{:?}", number.inner()),
        LiteralValue::String(text) => format!("{:?}", text.inner()),
        LiteralValue::UInt(_) | LiteralValue::Bytes(_) | LiteralValue::Null => String::new(),
    }
}
