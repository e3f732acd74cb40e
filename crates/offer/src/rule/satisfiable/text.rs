//! Conditions on text.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue};

use super::ValueSet;
use super::clauses::{Clause, Clauses, Key};
use super::value_set::{Orders, Words};
use crate::rule::scope;
use crate::rule::scope::{Operand, Slot, Source};

/// A text part of a rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Text {
    /// Constant.
    Known(String),
    /// An error for every customer.
    Fails,
    /// A feature, or the name of the segment.
    Read(Source),
    /// Chosen by `? :`.
    Other,
}

impl Clauses<'_> {
    pub(super) fn text(&self, node: &IdedExpr) -> Text {
        match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => Text::Known(text.inner().to_owned()),
            Expr::Ident(slot) => match scope::find(self.slots, slot) {
                Some(Slot::Value { source, .. }) if source.is_of_offer() => match self.of_offer(*source) {
                    Operand::String(text) => Text::Known(text.to_owned()),
                    Operand::Missing | Operand::Float(_) | Operand::Int(_) | Operand::Bool(_) => Text::Fails,
                },
                Some(Slot::Value { source, .. }) => Text::Read(*source),
                _ => Text::Other,
            },
            _ => Text::Other,
        }
    }

    /// The clauses of a comparison; `None` if it excludes nothing.
    pub(super) fn texts(&self, orders: Orders, left: &Text, right: &Text) -> Option<Vec<Clause>> {
        match (left, right) {
            (Text::Fails, _) | (_, Text::Fails) => Some(Vec::new()),
            (Text::Known(left), Text::Known(right)) => Some(Clause::constant(orders.hold(left.cmp(right)))),
            (Text::Read(source), Text::Known(word)) => self.read_text(*source, orders, word),
            (Text::Known(word), Text::Read(source)) => self.read_text(*source, orders.exchanged(), word),
            (Text::Read(_) | Text::Other, _) | (_, Text::Other) => None,
        }
    }

    fn read_text(&self, source: Source, orders: Orders, word: &str) -> Option<Vec<Clause>> {
        if let Some(clauses) = self.tested(source, |text| orders.hold(text.cmp(word))) {
            return Some(clauses);
        }
        let one = [word.to_owned()].into();
        let words = match orders {
            Orders { less: false, equal: true, greater: false } => Words::Only(one),
            Orders { less: true, equal: false, greater: true } => Words::AllBut(one),
            _ => return None,
        };
        Some(Clause::one(Key::Value(source), ValueSet::Words(words)))
    }

    /// The clauses of a test of a text, if its possible values are declared.
    pub(super) fn tested(&self, source: Source, test: impl Fn(&str) -> bool) -> Option<Vec<Clause>> {
        let words = self.words(source)?.into_iter().filter(|word| test(word)).map(str::to_owned).collect();
        Some(Clause::one(Key::Value(source), ValueSet::Words(Words::Only(words))))
    }

    /// The clauses of a test of a text with another; `None` if it excludes nothing.
    pub(super) fn text_tests(
        &self,
        name: &str,
        text: &Text,
        part: &Text,
        wanted: bool,
    ) -> Option<Vec<Clause>> {
        let holds: fn(&str, &str) -> bool = match name {
            "startsWith" => |text, part| text.starts_with(part),
            "endsWith" => |text, part| text.ends_with(part),
            "contains" => |text, part| text.contains(part),
            _ => return None,
        };
        match (text, part) {
            (Text::Fails, _) | (_, Text::Fails) => Some(Vec::new()),
            (Text::Known(text), Text::Known(part)) => Some(Clause::constant(holds(text, part) == wanted)),
            (Text::Read(source), Text::Known(part)) => {
                self.tested(*source, |text| holds(text, part) == wanted)
            }
            _ => None,
        }
    }

    /// The clauses of `in` with a list of constant words; `None` if one is not constant.
    pub(super) fn among(&self, item: &Text, list: &[Text], wanted: bool) -> Option<Vec<Clause>> {
        if *item == Text::Fails || list.contains(&Text::Fails) {
            return Some(Vec::new());
        }
        let word = |text: &Text| if let Text::Known(word) = text { Some(word.clone()) } else { None };
        let words: BTreeSet<String> = list.iter().map(word).collect::<Option<_>>()?;
        match item {
            Text::Known(item) => Some(Clause::constant(words.contains(item) == wanted)),
            Text::Read(source) => self.tested(*source, |text| words.contains(text) == wanted).or_else(|| {
                let words = if wanted { Words::Only(words.clone()) } else { Words::AllBut(words.clone()) };
                Some(Clause::one(Key::Value(*source), ValueSet::Words(words)))
            }),
            Text::Fails | Text::Other => None,
        }
    }
}
