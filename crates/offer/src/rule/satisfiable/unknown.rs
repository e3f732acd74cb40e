//! Words and numbers in rules that no value can equal.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};

use super::Declared;
use crate::rule::scope;
use crate::rule::scope::{Slot, Source};
use crate::rule::{Rule, RuleProblem, parsed};
use document::suggestion;

impl Rule {
    /// The literals that the rule compares by `==`, `!=` or `in` with an input that can never equal them, each with a
    /// suggestion.
    pub(crate) fn unknown_values(&self, declared: Declared<'_>) -> Vec<RuleProblem> {
        let mut found = Vec::new();
        self.each_comparison(&self.expression, &mut |source, name, literal| {
            if let Some(message) = unknown(declared, source, name, literal) {
                found.push(self.problem_at(literal.id, message));
            }
        });
        found
    }

    /// Visits each literal that is compared with a variable, with the variable and its name.
    fn each_comparison(&self, node: &IdedExpr, visit: &mut dyn FnMut(Source, &str, &IdedExpr)) {
        match &node.expr {
            Expr::Call(call) => {
                let is_equality = [operators::EQUALS, operators::NOT_EQUALS, operators::IN]
                    .contains(&call.func_name.as_str());
                if let [left, right] = call.args.as_slice()
                    && is_equality
                {
                    for (variable, other) in [(left, right), (right, left)] {
                        let Expr::Ident(slot) = &variable.expr else { continue };
                        let Some(Slot::Value { source, name, .. }) = scope::find(&self.slots, slot) else {
                            continue;
                        };
                        match &other.expr {
                            Expr::Literal(_) => visit(*source, name, other),
                            Expr::List(list) => {
                                list.elements.iter().for_each(|element| visit(*source, name, element));
                            }
                            _ => {}
                        }
                    }
                }
                call.args.iter().for_each(|argument| self.each_comparison(argument, visit));
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.each_comparison(element, visit)),
            _ => {}
        }
    }

    /// A problem at the position of the node.
    fn problem_at(&self, id: u64, message: String) -> RuleProblem {
        let positions = parsed::parse(&self.source).ok();
        let offset =
            positions.and_then(|parsed| parsed.1.offset_for(id)).map_or(0, |(start, _)| start as usize);
        RuleProblem::new(&self.source, offset, message)
    }
}

fn unknown(declared: Declared<'_>, source: Source, name: &str, literal: &IdedExpr) -> Option<String> {
    match &literal.expr {
        Expr::Literal(LiteralValue::String(text)) => {
            let word = text.inner();
            let words = declared.words(source)?;
            if words.contains(&word) {
                return None;
            }
            let hint = match suggestion(word, words.iter().copied()) {
                hint if hint.is_empty() => format!("; it is one of {}", listed(&words)),
                hint => hint,
            };
            Some(format!("`{name}` is never {word:?}{hint}"))
        }
        Expr::Literal(LiteralValue::Int(number)) if source == Source::SegmentId => {
            let (least, greatest) = declared.range(source)?;
            let number = *number.inner();
            let is_one = (least..=greatest).contains(&(number as f64));
            (!is_one)
                .then(|| format!("`{name}` is never {number}; the segmentation has {least} to {greatest}"))
        }
        _ => None,
    }
}

/// The first of many words.
fn listed(words: &[&str]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = words.iter().take(SHOWN).map(|word| format!("{word:?}")).collect();
    let more = if words.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
