//! From the checked expression to nodes, for one offer: what the rule reads of the offer becomes a constant.
//!
//! What has no node here has none on purpose, because nobody writes it (a list with something that has to be computed, to
//! the right of `in`), or because the checker learnt it and this file did not: the interpreter knows it.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, ListExpr, LiteralValue, operators};

use super::OfferSeen;
use super::build::RuleSetBuilder;
use super::node::{AnyId, Bits, Choice, Comparison, Float, Id, Operation, Part, Text, Truth, Whole};
use crate::feature::{FeatureType, Row};
use crate::offer::rule::Rule;
use crate::offer::rule::number::{Number, TO_NUMBER};
use crate::offer::rule::scope::{self, Operand, Slot, Source};

/// The node that stands for the rule; `None` where a part of it has none.
pub(super) fn rule(builder: &mut RuleSetBuilder, rule: &Rule, offer: &OfferSeen<'_>) -> Option<Id<Truth>> {
    Lowering { builder, slots: &rule.slots, offer }.truth(&rule.expression)
}

struct Lowering<'a> {
    builder: &'a mut RuleSetBuilder,
    slots: &'a [Slot],
    offer: &'a OfferSeen<'a>,
}

impl<'a> Lowering<'a> {
    fn lower(&mut self, node: &IdedExpr) -> Option<AnyId> {
        match &node.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(slot) => self.variable(slot),
            Expr::Call(call) => self.call(call),
            Expr::Select(_)
            | Expr::List(_)
            | Expr::Map(_)
            | Expr::Struct(_)
            | Expr::Comprehension(_)
            | Expr::Unspecified => None,
        }
    }

    fn literal(&mut self, literal: &LiteralValue) -> Option<AnyId> {
        Some(match literal {
            LiteralValue::Boolean(truth) => self.value(Operand::Bool(*truth.inner()))?,
            LiteralValue::Int(number) => self.value(Operand::Int(*number.inner()))?,
            LiteralValue::String(text) => self.value(Operand::String(text.inner()))?,
            LiteralValue::Double(number) => self.value(Operand::Float(Number::exact(*number.inner())))?,
            LiteralValue::UInt(_) | LiteralValue::Bytes(_) | LiteralValue::Null => return None,
        })
    }

    /// A value that is the same for every customer; `None` for a missing one.
    fn value(&mut self, value: Operand<'_>) -> Option<AnyId> {
        Some(match value {
            Operand::Bool(value) => AnyId::Truth(self.builder.truth(Truth::Known(Ok(value)))),
            Operand::Int(value) => AnyId::Whole(self.builder.whole(Whole::Known(Ok(value)))),
            Operand::Float(value) => AnyId::Float(self.builder.float(Float::Known(Ok(Bits::of(value))))),
            Operand::String(value) => AnyId::Text(self.builder.written(value)),
            Operand::Missing => return None,
        })
    }

    fn variable(&mut self, slot: &str) -> Option<AnyId> {
        match scope::find(self.slots, slot)? {
            Slot::Value { source, kind, name } if source.is_of_offer() => {
                let value = self.of_offer(*source);
                if let Some(known) = self.value(value) {
                    return Some(known);
                }
                let missing = self.builder.missing(name);
                Some(match kind {
                    FeatureType::Bool => AnyId::Truth(self.builder.truth(Truth::Known(Err(missing)))),
                    FeatureType::Int => AnyId::Whole(self.builder.whole(Whole::Known(Err(missing)))),
                    FeatureType::Float => AnyId::Float(self.builder.float(Float::Known(Err(missing)))),
                    FeatureType::String => AnyId::Text(self.builder.text(Text::Known(Err(missing)))),
                })
            }
            Slot::Value { source, kind, name } => {
                let read = self.builder.read(*source, name);
                Some(match kind {
                    FeatureType::Bool => AnyId::Truth(self.builder.truth(Truth::Read(read))),
                    FeatureType::Int => AnyId::Whole(self.builder.whole(Whole::Read(read))),
                    FeatureType::Float => AnyId::Float(self.builder.float(Float::Read(read))),
                    FeatureType::String => AnyId::Text(self.builder.text(Text::Read(read))),
                })
            }
            Slot::Presence { source, .. } if source.is_of_offer() => {
                let has = self.of_offer(*source) != Operand::Missing;
                self.value(Operand::Bool(has))
            }
            Slot::Presence { source, .. } => Some(AnyId::Truth(self.builder.truth(Truth::Has(*source)))),
            Slot::Pattern(_) => None,
        }
    }

    fn of_offer(&self, source: Source) -> Operand<'a> {
        let OfferSeen { features, fields, .. } = self.offer;
        source.read(&Row { customer: &[], context: &[], offer: features, segment: None }, fields)
    }

    fn call(&mut self, call: &CallExpr) -> Option<AnyId> {
        let target = call.target.as_deref();
        match (call.func_name.as_str(), target, call.args.as_slice()) {
            (operators::LOGICAL_AND, None, [left, right]) => self.connective(false, left, right),
            (operators::LOGICAL_OR, None, [left, right]) => self.connective(true, left, right),
            (operators::LOGICAL_NOT, None, [inner]) => {
                let inner = self.truth(inner)?;
                Some(AnyId::Truth(self.builder.not(inner)))
            }
            (operators::CONDITIONAL, None, [condition, yes, no]) => self.conditional(condition, yes, no),
            (operators::NEGATE, None, [inner]) => self.negation(inner),
            (operators::IN, None, [item, list]) => self.membership(item, list),
            (TO_NUMBER, None, [inner]) => match self.lower(inner)? {
                AnyId::Whole(whole) => Some(AnyId::Float(self.builder.float(Float::Of(whole)))),
                float @ AnyId::Float(_) => Some(float),
                AnyId::Truth(_) | AnyId::Text(_) => None,
            },
            ("size", None, [text]) => {
                let text = self.text(text)?;
                Some(AnyId::Whole(self.builder.whole(Whole::Size(text))))
            }
            (name, Some(text), [tested]) => {
                let part = part(name)?;
                let (text, tested) = (self.text(text)?, self.text(tested)?);
                Some(AnyId::Truth(self.builder.truth(Truth::Part(part, text, tested))))
            }
            (operators::NOT_EQUALS, None, [left, right]) => {
                let equal = self.comparison(Comparison::EQUAL, left, right)?;
                Some(AnyId::Truth(self.builder.not(equal)))
            }
            (name, None, [left, right]) => match (comparison(name), operation(name)) {
                (Some(comparison), _) => self.comparison(comparison, left, right).map(AnyId::Truth),
                (None, Some(operation)) => self.calculation(operation, left, right),
                (None, None) => None,
            },
            _ => None,
        }
    }

    fn connective(&mut self, decisive: bool, left: &IdedExpr, right: &IdedExpr) -> Option<AnyId> {
        let members = [self.truth(left)?, self.truth(right)?];
        Some(AnyId::Truth(self.builder.connect(decisive, &members)))
    }

    fn conditional(&mut self, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Option<AnyId> {
        let condition = self.truth(condition)?;
        Some(match (self.lower(yes)?, self.lower(no)?) {
            (AnyId::Truth(yes), AnyId::Truth(no)) => AnyId::Truth(self.builder.choice(
                Choice { condition, yes, no },
                Truth::Choice,
                |fault| Truth::Known(Err(fault)),
                RuleSetBuilder::truth,
            )),
            (AnyId::Whole(yes), AnyId::Whole(no)) => AnyId::Whole(self.builder.choice(
                Choice { condition, yes, no },
                Whole::Choice,
                |fault| Whole::Known(Err(fault)),
                RuleSetBuilder::whole,
            )),
            (AnyId::Float(yes), AnyId::Float(no)) => AnyId::Float(self.builder.choice(
                Choice { condition, yes, no },
                Float::Choice,
                |fault| Float::Known(Err(fault)),
                RuleSetBuilder::float,
            )),
            (AnyId::Text(yes), AnyId::Text(no)) => AnyId::Text(self.builder.choice(
                Choice { condition, yes, no },
                Text::Choice,
                |fault| Text::Known(Err(fault)),
                RuleSetBuilder::text,
            )),
            _ => return None,
        })
    }

    fn negation(&mut self, inner: &IdedExpr) -> Option<AnyId> {
        match self.lower(inner)? {
            AnyId::Whole(inner) => Some(AnyId::Whole(self.builder.whole(Whole::Negated(inner)))),
            AnyId::Float(inner) => Some(AnyId::Float(self.builder.float(Float::Negated(inner)))),
            AnyId::Truth(_) | AnyId::Text(_) => None,
        }
    }

    fn comparison(&mut self, comparison: Comparison, left: &IdedExpr, right: &IdedExpr) -> Option<Id<Truth>> {
        let (left, right) = (self.lower(left)?, self.lower(right)?);
        self.compared(comparison, left, right)
    }

    fn compared(&mut self, comparison: Comparison, left: AnyId, right: AnyId) -> Option<Id<Truth>> {
        Some(match (left, right) {
            (AnyId::Truth(left), AnyId::Truth(right)) if comparison == Comparison::EQUAL => {
                self.builder.truth(Truth::Same(left, right))
            }
            (AnyId::Whole(left), AnyId::Whole(right)) => self.builder.compare_wholes(comparison, left, right),
            (AnyId::Float(left), AnyId::Float(right)) => self.builder.compare_floats(comparison, left, right),
            (AnyId::Text(left), AnyId::Text(right)) => {
                self.builder.truth(Truth::Texts(comparison, left, right))
            }
            _ => return None,
        })
    }

    fn calculation(&mut self, operation: Operation, left: &IdedExpr, right: &IdedExpr) -> Option<AnyId> {
        Some(match (self.lower(left)?, self.lower(right)?) {
            (AnyId::Whole(left), AnyId::Whole(right)) => {
                AnyId::Whole(self.builder.whole(Whole::Calculated(operation, left, right)))
            }
            (AnyId::Float(left), AnyId::Float(right)) => {
                AnyId::Float(self.builder.float(Float::Calculated(operation, left, right)))
            }
            _ => return None,
        })
    }

    /// A text that matches a pattern, or an item that equals one of a list of values. An item without a value is the same
    /// error whatever it is compared with, so that the comparisons, joined, say what `in` says; and rules that compare the
    /// item with one of the values share that comparison.
    fn membership(&mut self, item: &IdedExpr, list: &IdedExpr) -> Option<AnyId> {
        if let Expr::Ident(slot) = &list.expr
            && let Some(Slot::Pattern(pattern)) = scope::find(self.slots, slot)
        {
            let text = self.text(item)?;
            return Some(AnyId::Truth(self.builder.matches(text, pattern)));
        }
        let Expr::List(ListExpr { elements, .. }) = &list.expr else { return None };
        let item = self.lower(item)?;
        let mut equal = Vec::with_capacity(elements.len());
        for element in elements {
            let element = self.lower(element)?;
            if !self.builder.is_value(element) {
                return None;
            }
            // A whole number is compared with a float as a float.
            let item = match (item, element) {
                (AnyId::Whole(item), AnyId::Float(_)) => AnyId::Float(self.builder.float(Float::Of(item))),
                _ => item,
            };
            equal.push(self.compared(Comparison::EQUAL, item, element)?);
        }
        Some(AnyId::Truth(self.builder.connect(true, &equal)))
    }

    fn truth(&mut self, node: &IdedExpr) -> Option<Id<Truth>> {
        let AnyId::Truth(id) = self.lower(node)? else { return None };
        Some(id)
    }

    fn text(&mut self, node: &IdedExpr) -> Option<Id<Text>> {
        let AnyId::Text(id) = self.lower(node)? else { return None };
        Some(id)
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::EQUAL,
        operators::LESS => Comparison::LESS,
        operators::LESS_EQUALS => Comparison::LESS_OR_EQUAL,
        operators::GREATER => Comparison::GREATER,
        operators::GREATER_EQUALS => Comparison::GREATER_OR_EQUAL,
        _ => return None,
    })
}

fn operation(name: &str) -> Option<Operation> {
    Some(match name {
        operators::ADD => Operation::Add,
        operators::SUBSTRACT => Operation::Subtract,
        operators::MULTIPLY => Operation::Multiply,
        operators::DIVIDE => Operation::Divide,
        operators::MODULO => Operation::Remainder,
        _ => return None,
    })
}

fn part(name: &str) -> Option<Part> {
    Some(match name {
        "startsWith" => Part::Starts,
        "endsWith" => Part::Ends,
        "contains" => Part::Contained,
        _ => return None,
    })
}
