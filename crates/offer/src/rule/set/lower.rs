//! Lowers the checked expression to nodes, for one offer: values of the offer become constants.
//!
//! A part without a node is left to the interpreter. Some are too rare to compile, such as a list with computed items
//! to the right of `in`. Others the checker may accept before this file knows them.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, ListExpr, LiteralValue, operators};

use super::OfferView;
use super::build::RuleSetBuilder;
use super::node::{AnyId, Bits, Bool, Choice, Comparison, Float, Id, Int, Operation, Text, TextTest};
use crate::rule::Rule;
use crate::rule::number::{Number, TO_NUMBER};
use crate::rule::scope;
use crate::rule::scope::{Operand, Slot, Source};
use feature::{FeatureType, Row};

/// The root node of the rule; `None` if a part of it has no node.
pub(super) fn rule(builder: &mut RuleSetBuilder, rule: &Rule, offer: &OfferView<'_>) -> Option<Id<Bool>> {
    Lowering { builder, slots: &rule.slots, offer }.truth(&rule.expression)
}

struct Lowering<'a> {
    builder: &'a mut RuleSetBuilder,
    slots: &'a [Slot],
    offer: &'a OfferView<'a>,
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

    /// A constant; `None` for a missing value.
    fn value(&mut self, value: Operand<'_>) -> Option<AnyId> {
        Some(match value {
            Operand::Bool(value) => AnyId::Bool(self.builder.bool_node(Bool::Known(Ok(value)))),
            Operand::Int(value) => AnyId::Int(self.builder.int_node(Int::Known(Ok(value)))),
            Operand::Float(value) => AnyId::Float(self.builder.float_node(Float::Known(Ok(Bits::of(value))))),
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
                    FeatureType::Bool => AnyId::Bool(self.builder.bool_node(Bool::Known(Err(missing)))),
                    FeatureType::Int => AnyId::Int(self.builder.int_node(Int::Known(Err(missing)))),
                    FeatureType::Float => AnyId::Float(self.builder.float_node(Float::Known(Err(missing)))),
                    FeatureType::String => AnyId::Text(self.builder.text_node(Text::Known(Err(missing)))),
                })
            }
            Slot::Value { source, kind, name } => {
                let read = self.builder.read(*source, name);
                Some(match kind {
                    FeatureType::Bool => AnyId::Bool(self.builder.bool_node(Bool::Read(read))),
                    FeatureType::Int => AnyId::Int(self.builder.int_node(Int::Read(read))),
                    FeatureType::Float => AnyId::Float(self.builder.float_node(Float::Read(read))),
                    FeatureType::String => AnyId::Text(self.builder.text_node(Text::Read(read))),
                })
            }
            Slot::Presence { source, .. } if source.is_of_offer() => {
                let has = self.of_offer(*source) != Operand::Missing;
                self.value(Operand::Bool(has))
            }
            Slot::Presence { source, .. } => Some(AnyId::Bool(self.builder.bool_node(Bool::Has(*source)))),
            Slot::Pattern(_) => None,
        }
    }

    fn of_offer(&self, source: Source) -> Operand<'a> {
        let OfferView { features, fields, .. } = self.offer;
        source.read(&Row { customer: &[], context: &[], offer: features, segment: None }, fields)
    }

    fn call(&mut self, call: &CallExpr) -> Option<AnyId> {
        let target = call.target.as_deref();
        match (call.func_name.as_str(), target, call.args.as_slice()) {
            (operators::LOGICAL_AND, None, [left, right]) => self.connective(false, left, right),
            (operators::LOGICAL_OR, None, [left, right]) => self.connective(true, left, right),
            (operators::LOGICAL_NOT, None, [inner]) => {
                let inner = self.truth(inner)?;
                Some(AnyId::Bool(self.builder.not(inner)))
            }
            (operators::CONDITIONAL, None, [condition, yes, no]) => self.conditional(condition, yes, no),
            (operators::NEGATE, None, [inner]) => self.negation(inner),
            (operators::IN, None, [item, list]) => self.membership(item, list),
            (TO_NUMBER, None, [inner]) => match self.lower(inner)? {
                AnyId::Int(whole) => Some(AnyId::Float(self.builder.float_node(Float::Of(whole)))),
                float @ AnyId::Float(_) => Some(float),
                AnyId::Bool(_) | AnyId::Text(_) => None,
            },
            ("size", None, [text]) => {
                let text = self.text(text)?;
                Some(AnyId::Int(self.builder.int_node(Int::Size(text))))
            }
            (name, Some(text), [tested]) => {
                let test = text_test(name)?;
                let (text, tested) = (self.text(text)?, self.text(tested)?);
                Some(AnyId::Bool(self.builder.bool_node(Bool::TextTest(test, text, tested))))
            }
            (operators::NOT_EQUALS, None, [left, right]) => {
                let equal = self.comparison(Comparison::EQUAL, left, right)?;
                Some(AnyId::Bool(self.builder.not(equal)))
            }
            (name, None, [left, right]) => match (comparison(name), operation(name)) {
                (Some(comparison), _) => self.comparison(comparison, left, right).map(AnyId::Bool),
                (None, Some(operation)) => self.calculation(operation, left, right),
                (None, None) => None,
            },
            _ => None,
        }
    }

    fn connective(&mut self, decisive: bool, left: &IdedExpr, right: &IdedExpr) -> Option<AnyId> {
        let members = [self.truth(left)?, self.truth(right)?];
        Some(AnyId::Bool(self.builder.connect(decisive, &members)))
    }

    fn conditional(&mut self, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Option<AnyId> {
        let condition = self.truth(condition)?;
        Some(match (self.lower(yes)?, self.lower(no)?) {
            (AnyId::Bool(yes), AnyId::Bool(no)) => AnyId::Bool(self.builder.choice(
                Choice { condition, yes, no },
                Bool::Choice,
                |fault| Bool::Known(Err(fault)),
                RuleSetBuilder::bool_node,
            )),
            (AnyId::Int(yes), AnyId::Int(no)) => AnyId::Int(self.builder.choice(
                Choice { condition, yes, no },
                Int::Choice,
                |fault| Int::Known(Err(fault)),
                RuleSetBuilder::int_node,
            )),
            (AnyId::Float(yes), AnyId::Float(no)) => AnyId::Float(self.builder.choice(
                Choice { condition, yes, no },
                Float::Choice,
                |fault| Float::Known(Err(fault)),
                RuleSetBuilder::float_node,
            )),
            (AnyId::Text(yes), AnyId::Text(no)) => AnyId::Text(self.builder.choice(
                Choice { condition, yes, no },
                Text::Choice,
                |fault| Text::Known(Err(fault)),
                RuleSetBuilder::text_node,
            )),
            _ => return None,
        })
    }

    fn negation(&mut self, inner: &IdedExpr) -> Option<AnyId> {
        match self.lower(inner)? {
            AnyId::Int(inner) => Some(AnyId::Int(self.builder.int_node(Int::Negated(inner)))),
            AnyId::Float(inner) => Some(AnyId::Float(self.builder.float_node(Float::Negated(inner)))),
            AnyId::Bool(_) | AnyId::Text(_) => None,
        }
    }

    fn comparison(&mut self, comparison: Comparison, left: &IdedExpr, right: &IdedExpr) -> Option<Id<Bool>> {
        let (left, right) = (self.lower(left)?, self.lower(right)?);
        self.compared(comparison, left, right)
    }

    fn compared(&mut self, comparison: Comparison, left: AnyId, right: AnyId) -> Option<Id<Bool>> {
        Some(match (left, right) {
            (AnyId::Bool(left), AnyId::Bool(right)) if comparison == Comparison::EQUAL => {
                self.builder.bool_node(Bool::Same(left, right))
            }
            (AnyId::Int(left), AnyId::Int(right)) => self.builder.compare_ints(comparison, left, right),
            (AnyId::Float(left), AnyId::Float(right)) => self.builder.compare_floats(comparison, left, right),
            (AnyId::Text(left), AnyId::Text(right)) => {
                self.builder.bool_node(Bool::Texts(comparison, left, right))
            }
            _ => return None,
        })
    }

    fn calculation(&mut self, operation: Operation, left: &IdedExpr, right: &IdedExpr) -> Option<AnyId> {
        Some(match (self.lower(left)?, self.lower(right)?) {
            (AnyId::Int(left), AnyId::Int(right)) => {
                AnyId::Int(self.builder.int_node(Int::Calculated(operation, left, right)))
            }
            (AnyId::Float(left), AnyId::Float(right)) => {
                AnyId::Float(self.builder.float_node(Float::Calculated(operation, left, right)))
            }
            _ => return None,
        })
    }

    /// A text that matches a pattern, or an item that equals one of a list of values. A missing item gives the same
    /// error in every comparison, so the joined comparisons equal `in`. Rules that compare the item with one of the
    /// values share that comparison.
    fn membership(&mut self, item: &IdedExpr, list: &IdedExpr) -> Option<AnyId> {
        if let Expr::Ident(slot) = &list.expr
            && let Some(Slot::Pattern(pattern)) = scope::find(self.slots, slot)
        {
            let text = self.text(item)?;
            return Some(AnyId::Bool(self.builder.matches(text, pattern)));
        }
        let Expr::List(ListExpr { elements, .. }) = &list.expr else { return None };
        let item = self.lower(item)?;
        let mut equal = Vec::with_capacity(elements.len());
        for element in elements {
            let element = self.lower(element)?;
            if !self.builder.is_value(element) {
                return None;
            }
            // An int is compared with a float as a float.
            let item = match (item, element) {
                (AnyId::Int(item), AnyId::Float(_)) => AnyId::Float(self.builder.float_node(Float::Of(item))),
                _ => item,
            };
            equal.push(self.compared(Comparison::EQUAL, item, element)?);
        }
        Some(AnyId::Bool(self.builder.connect(true, &equal)))
    }

    fn truth(&mut self, node: &IdedExpr) -> Option<Id<Bool>> {
        let AnyId::Bool(id) = self.lower(node)? else { return None };
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

fn text_test(name: &str) -> Option<TextTest> {
    Some(match name {
        "startsWith" => TextTest::StartsWith,
        "endsWith" => TextTest::EndsWith,
        "contains" => TextTest::Contains,
        _ => return None,
    })
}
