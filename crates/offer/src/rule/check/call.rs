//! Operators and functions: their operands and results.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, ListExpr, LiteralValue, operators};

use super::names::unknown_function;
use super::{Checker, Typed, call_node, quotient};
use crate::rule::scope::{Pattern, Slot};
use feature::FeatureType;

/// The most bytes of a compiled pattern: repetition can expand a short one.
const PATTERN_SIZE: usize = 1 << 20;

impl Checker<'_> {
    pub(super) fn call(&mut self, id: u64, call: CallExpr) -> Option<Typed> {
        let CallExpr { func_name: name, target, args } = call;
        match (name.as_str(), target, arguments(args)) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, None, Arguments::Two(left, right)) => {
                self.connective(id, &name, left, right)
            }
            (operators::LOGICAL_NOT, None, Arguments::One(operand)) => self.not(id, operand),
            (operators::CONDITIONAL, None, Arguments::Three(condition, yes, no)) => {
                self.conditional(id, condition, yes, no)
            }
            (operators::EQUALS | operators::NOT_EQUALS, None, Arguments::Two(left, right)) => {
                self.comparison(id, &name, left, right)
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                None,
                Arguments::Two(left, right),
            ) => self.ordering(id, &name, left, right),
            (
                operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO,
                None,
                Arguments::Two(left, right),
            ) => self.arithmetic(id, &name, left, right),
            (operators::NEGATE, None, Arguments::One(operand)) => self.negation(id, operand),
            (operators::IN, None, Arguments::Two(item, list)) => self.membership(id, item, list),
            (operators::INDEX | operators::OPT_INDEX, ..) => {
                self.refuse(id, "`[…]` behind a value is not supported in rules")
            }
            ("has", None, Arguments::One(IdedExpr { id, expr: Expr::Select(select) })) => {
                self.presence(id, select)
            }
            ("has", ..) => self.refuse(id, "`has` takes one field, as in `has(customer.balance)`"),
            ("size", None, Arguments::One(text)) => self.size(id, text),
            ("size", Some(text), Arguments::None) => self.size(id, *text),
            ("size", ..) => self.refuse(id, "`size` takes one text, as in `size(customer.name)`"),
            ("startsWith" | "endsWith" | "contains", Some(text), Arguments::One(part)) => {
                self.text_test(id, &name, *text, part)
            }
            ("matches", Some(text), Arguments::One(pattern)) => self.pattern_test(id, *text, pattern),
            ("startsWith" | "endsWith" | "contains" | "matches", ..) => {
                let message = format!(
                    "`{name}` is called on a text and takes one, as in `customer.tier.{name}(\"gold\")`"
                );
                self.refuse(id, &message)
            }
            // The arguments are not checked: names in a macro have their own meaning.
            _ => self.refuse(id, &unknown_function(name.trim_start_matches('.'))),
        }
    }

    fn connective(&mut self, id: u64, name: &str, left: IdedExpr, right: IdedExpr) -> Option<Typed> {
        let (left, right) = self.both(left, right)?;
        for side in [&left, &right] {
            if side.kind != FeatureType::Bool {
                let message =
                    format!("`{}` joins conditions, and one side is {}", symbol(name), side.describe());
                return self.refuse(id, &format!("{message}; compare it with something"));
            }
        }
        Some(truth(call_node(id, name, vec![left.node, right.node])))
    }

    fn not(&mut self, id: u64, operand: IdedExpr) -> Option<Typed> {
        let operand = self.check(operand)?;
        if operand.kind != FeatureType::Bool {
            let message =
                format!("`!` negates a condition, not {}; compare it with something", operand.describe());
            return self.refuse(id, &message);
        }
        Some(truth(call_node(id, operators::LOGICAL_NOT, vec![operand.node])))
    }

    fn conditional(&mut self, id: u64, condition: IdedExpr, yes: IdedExpr, no: IdedExpr) -> Option<Typed> {
        let condition = self.check(condition);
        let (yes, no) = self.both(yes, no)?;
        let condition = condition?;
        if condition.kind != FeatureType::Bool {
            let message =
                format!("`?` follows a condition, not {}; compare it with something", condition.describe());
            return self.refuse(id, &message);
        }
        let quotient = yes.quotient.or(no.quotient);
        let (kind, yes, no) = if yes.is_number() && no.is_number() {
            self.warn_of_quotients(&yes, &no);
            same_number(yes, no)
        } else if yes.kind == no.kind {
            (yes.kind, yes.node, no.node)
        } else {
            let message =
                format!("`? :` chooses between {} and {}; give both one type", yes.describe(), no.describe());
            return self.refuse(id, &message);
        };
        let node = call_node(id, operators::CONDITIONAL, vec![condition.node, yes, no]);
        let quotient = quotient.filter(|_| kind == FeatureType::Int);
        Some(Typed { kind, node, label: None, quotient })
    }

    fn comparison(&mut self, id: u64, name: &str, left: IdedExpr, right: IdedExpr) -> Option<Typed> {
        let (left, right) = self.both(left, right)?;
        let (left, right) = self.comparable(id, symbol(name), left, right)?;
        Some(truth(call_node(id, name, vec![left, right])))
    }

    fn ordering(&mut self, id: u64, name: &str, left: IdedExpr, right: IdedExpr) -> Option<Typed> {
        let (left, right) = self.both(left, right)?;
        if left.kind == FeatureType::Bool && right.kind == FeatureType::Bool {
            let message =
                format!("`{}` orders numbers or text, not true and false; use `==` or `!=`", symbol(name));
            return self.refuse(id, &message);
        }
        let (left, right) = self.comparable(id, symbol(name), left, right)?;
        Some(truth(call_node(id, name, vec![left, right])))
    }

    fn arithmetic(&mut self, id: u64, name: &str, left: IdedExpr, right: IdedExpr) -> Option<Typed> {
        let (left, right) = self.both(left, right)?;
        let whole_only = name == operators::MODULO;
        for side in [&left, &right] {
            if !side.is_number() || (whole_only && side.kind != FeatureType::Int) {
                let needs = if whole_only { "whole numbers" } else { "numbers" };
                let message = format!(
                    "`{}` calculates with {needs}, and one side is {}",
                    symbol(name),
                    side.describe()
                );
                return self.refuse(id, &message);
            }
        }
        self.warn_of_quotients(&left, &right);
        let quotient = quotient::of_operation(id, name, &left, &right);
        let (kind, left, right) = same_number(left, right);
        Some(Typed { kind, node: call_node(id, name, vec![left, right]), label: None, quotient })
    }

    fn negation(&mut self, id: u64, operand: IdedExpr) -> Option<Typed> {
        let operand = self.check(operand)?;
        if !operand.is_number() {
            return self.refuse(id, &format!("`-` takes a number, not {}", operand.describe()));
        }
        let node = call_node(id, operators::NEGATE, vec![operand.node]);
        Some(Typed { kind: operand.kind, node, label: None, quotient: operand.quotient })
    }

    fn membership(&mut self, id: u64, item: IdedExpr, list: IdedExpr) -> Option<Typed> {
        let item = self.check(item);
        let Expr::List(ListExpr { elements, .. }) = list.expr else {
            return self.refuse(
                id,
                "`in` needs a list to its right, as in `customer.tier in [\"gold\", \"black\"]`",
            );
        };
        let elements: Vec<Option<Typed>> = elements.into_iter().map(|element| self.check(element)).collect();
        let item = item?;
        let elements: Vec<Typed> = elements.into_iter().collect::<Option<_>>()?;
        if elements.is_empty() {
            return self.refuse(list.id, "the list to the right of `in` is empty");
        }
        let all_numbers = item.is_number() && elements.iter().all(Typed::is_number);
        if let Some(other) = elements.iter().find(|element| !all_numbers && element.kind != item.kind) {
            let message = format!(
                "`in` compares {} with values of the same type, but the list has {}",
                item.describe(),
                other.describe()
            );
            return self.refuse(id, &message);
        }
        for element in elements.iter().filter(|_| all_numbers) {
            self.warn_of_quotients(&item, element);
        }
        let is_float = item.kind == FeatureType::Float;
        let node = |element: Typed| if is_float { element.into_float() } else { element.node };
        let elements = ListExpr::new(elements.into_iter().map(node).collect());
        let list = IdedExpr { id: list.id, expr: Expr::List(elements) };
        Some(truth(call_node(id, operators::IN, vec![item.node, list])))
    }

    fn size(&mut self, id: u64, text: IdedExpr) -> Option<Typed> {
        if matches!(text.expr, Expr::List(_)) {
            return self.refuse(id, "the size of a written list is constant; write the number");
        }
        let text = self.text("size", text)?;
        let node = call_node(id, "size", vec![text]);
        Some(Typed { kind: FeatureType::Int, node, label: None, quotient: None })
    }

    fn text_test(&mut self, id: u64, name: &str, text: IdedExpr, part: IdedExpr) -> Option<Typed> {
        let (text, part) = (self.text(name, text), self.text(name, part));
        let call = CallExpr { func_name: name.to_owned(), target: Some(Box::new(text?)), args: vec![part?] };
        Some(truth(IdedExpr { id, expr: Expr::Call(call) }))
    }

    fn pattern_test(&mut self, id: u64, text: IdedExpr, pattern: IdedExpr) -> Option<Typed> {
        let text = self.text("matches", text);
        let Expr::Literal(LiteralValue::String(written)) = pattern.expr else {
            return self
                .refuse(id, "`matches` takes a pattern in quotes, so that it is checked and compiled once");
        };
        let pattern = match regex::RegexBuilder::new(written.inner()).size_limit(PATTERN_SIZE).build() {
            Ok(pattern) => Pattern(pattern),
            Err(error) => {
                let shown = error.to_string();
                let reason = shown.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let message = format!("{:?} is not a regular expression: {reason}", written.inner());
                return self.refuse(pattern.id, &message);
            }
        };
        let text = text?;
        let pattern = self.slot(id, Slot::Pattern(pattern));
        Some(truth(call_node(id, operators::IN, vec![text, pattern])))
    }

    /// Checks both sides, even if one is invalid.
    fn both(&mut self, left: IdedExpr, right: IdedExpr) -> Option<(Typed, Typed)> {
        let (left, right) = (self.check(left), self.check(right));
        Some((left?, right?))
    }

    fn text(&mut self, function: &str, node: IdedExpr) -> Option<IdedExpr> {
        let id = node.id;
        let text = self.check(node)?;
        if text.kind != FeatureType::String {
            self.report(id, format!("`{function}` takes text, not {}", text.describe()));
            return None;
        }
        Some(text.node)
    }

    /// Two values of one type, or two numbers. Next to a float, an int literal becomes a float.
    fn comparable(
        &mut self,
        id: u64,
        symbol: &str,
        left: Typed,
        right: Typed,
    ) -> Option<(IdedExpr, IdedExpr)> {
        if left.is_number() && right.is_number() {
            self.warn_of_quotients(&left, &right);
            let (_, left, right) = same_number(left, right);
            return Some((left, right));
        }
        if left.kind == right.kind {
            return Some((left.node, right.node));
        }
        let hint = if left.is_number() && right.kind == FeatureType::String
            || right.is_number() && left.kind == FeatureType::String
        {
            "; numbers are written without quotes, text with"
        } else {
            "; compare values of one type"
        };
        self.report(
            id,
            format!("`{symbol}` cannot compare {} with {}{hint}", left.describe(), right.describe()),
        );
        None
    }
}

/// The arguments of a call by their number.
enum Arguments {
    None,
    One(IdedExpr),
    Two(IdedExpr, IdedExpr),
    Three(IdedExpr, IdedExpr, IdedExpr),
    More,
}

fn arguments(args: Vec<IdedExpr>) -> Arguments {
    match <[IdedExpr; 1]>::try_from(args) {
        Ok([first]) => Arguments::One(first),
        Err(args) => match <[IdedExpr; 2]>::try_from(args) {
            Ok([first, second]) => Arguments::Two(first, second),
            Err(args) => match <[IdedExpr; 3]>::try_from(args) {
                Ok([first, second, third]) => Arguments::Three(first, second, third),
                Err(args) if args.is_empty() => Arguments::None,
                Err(_) => Arguments::More,
            },
        },
    }
}

/// Two numbers that the interpreter can combine: both ints, or both floats.
fn same_number(left: Typed, right: Typed) -> (FeatureType, IdedExpr, IdedExpr) {
    if left.kind == FeatureType::Int && right.kind == FeatureType::Int {
        return (FeatureType::Int, left.node, right.node);
    }
    (FeatureType::Float, left.into_float(), right.into_float())
}

fn truth(node: IdedExpr) -> Typed {
    Typed { kind: FeatureType::Bool, node, label: None, quotient: None }
}

/// An operator as written in a rule.
fn symbol(name: &str) -> &str {
    match name {
        operators::IN => "in",
        _ => name.trim_matches('_'),
    }
}
