//! The type check: turns the parser's tree into one with known names and matching types.
//!
//! The checker builds the tree that is evaluated. Variables become slots, ints become floats where the interpreter
//! cannot mix them, and `has` and `matches` become lookups in the scope. An invalid part is reported once and has no
//! type, so that enclosing parts report nothing.

mod call;
mod names;
mod quotient;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SourceInfo};
use cel::common::types::CelDouble;
use cel::parser::ParseErrors;

use super::number::TO_NUMBER;
use super::scope::Slot;
use super::{RuleProblem, parsed};
use feature::{FeatureSchema, FeatureType};

/// A valid rule.
pub(super) struct Checked {
    pub(super) expression: IdedExpr,
    pub(super) slots: Vec<Slot>,
    /// Valid parts that are probably mistakes.
    pub(super) warnings: Vec<RuleProblem>,
}

/// Parses and checks a rule, which must be within the limits of length and nesting.
pub(super) fn compile(source: &str, schema: &FeatureSchema) -> Result<Checked, Vec<RuleProblem>> {
    let parsed = parsed::parse(source).map_err(|errors| vec![syntax_problem(source, &errors)])?;
    let (tree, positions) = &*parsed;
    let (slots, problems, warnings) = (Vec::new(), Vec::new(), Vec::new());
    let mut checker = Checker { source, schema, positions, slots, problems, warnings };
    let id = tree.id;
    let rule = checker.check(tree.clone());
    if let Some(rule) = &rule
        && rule.kind != FeatureType::Bool
    {
        let message =
            format!("a rule is true or false, and this is {}; compare it with something", rule.describe());
        checker.report(id, message);
    }
    match rule {
        Some(rule) if checker.problems.is_empty() => {
            Ok(Checked { expression: rule.node, slots: checker.slots, warnings: checker.warnings })
        }
        _ => Err(checker.problems),
    }
}

struct Checker<'a> {
    source: &'a str,
    schema: &'a FeatureSchema,
    positions: &'a SourceInfo,
    slots: Vec<Slot>,
    problems: Vec<RuleProblem>,
    warnings: Vec<RuleProblem>,
}

/// A part of a rule with its type.
struct Typed {
    kind: FeatureType,
    node: IdedExpr,
    /// Its name in messages, if it is a variable or a literal.
    label: Option<String>,
    /// If it is an int made from an integer division: the id of that division.
    quotient: Option<u64>,
}

impl Typed {
    fn is_number(&self) -> bool {
        matches!(self.kind, FeatureType::Float | FeatureType::Int)
    }

    /// For messages: ``the float `customer.balance` `` or `a float`.
    fn describe(&self) -> String {
        match &self.label {
            Some(label) => format!("the {} {label}", self.kind),
            None if self.kind == FeatureType::Int => "an int".to_owned(),
            None => format!("a {}", self.kind),
        }
    }

    /// The node as a float: literals are converted now, other nodes when they are evaluated.
    fn into_float(self) -> IdedExpr {
        let Self { kind, node, .. } = self;
        if kind != FeatureType::Int {
            return node;
        }
        if let Expr::Literal(LiteralValue::Int(value)) = &node.expr {
            return literal_float(node.id, *value.inner() as f64);
        }
        call_node(node.id, TO_NUMBER, vec![node])
    }
}

impl Checker<'_> {
    fn check(&mut self, node: IdedExpr) -> Option<Typed> {
        let IdedExpr { id, expr } = node;
        match expr {
            Expr::Literal(literal) => self.literal(id, literal),
            Expr::Ident(name) => self.bare_name(id, &name),
            Expr::Select(select) => self.variable(id, select),
            Expr::Call(call) => self.call(id, call),
            Expr::List(_) => self.refuse(id, "a list can only stand to the right of `in`"),
            Expr::Map(_) => self.refuse(id, "maps are not supported in rules"),
            Expr::Struct(_) => self.refuse(id, "messages are not supported in rules"),
            Expr::Comprehension(_) => self.refuse(id, "comprehensions are not supported in rules"),
            Expr::Unspecified => self.refuse(id, "a part of the rule is missing"),
        }
    }

    fn literal(&mut self, id: u64, literal: LiteralValue) -> Option<Typed> {
        let (kind, label) = match &literal {
            LiteralValue::Boolean(truth) => (FeatureType::Bool, truth.inner().to_string()),
            LiteralValue::Int(number) => (FeatureType::Int, number.inner().to_string()),
            LiteralValue::String(text) => (FeatureType::String, format!("{:?}", text.inner())),
            LiteralValue::Double(number) => {
                let number = *number.inner();
                if !(number as f32).is_finite() {
                    return self
                        .refuse(id, &format!("{number:e} is beyond a 32-bit float; write a smaller number"));
                }
                let label = Some(number.to_string());
                let node = literal_float(id, number);
                return Some(Typed { kind: FeatureType::Float, node, label, quotient: None });
            }
            LiteralValue::UInt(number) => {
                let message = format!(
                    "unsigned numbers are not supported in rules; write {} without u",
                    number.inner()
                );
                return self.refuse(id, &message);
            }
            LiteralValue::Bytes(_) => {
                return self.refuse(id, "bytes are not supported in rules; write the text without b");
            }
            LiteralValue::Null => {
                return self
                    .refuse(id, "null is not supported in rules; test a value with `has(customer.x)`");
            }
        };
        let node = IdedExpr { id, expr: Expr::Literal(literal) };
        Some(Typed { kind, node, label: Some(label), quotient: None })
    }

    fn report(&mut self, id: u64, message: impl Into<String>) {
        let problem = self.problem(id, message);
        self.problems.push(problem);
    }

    fn problem(&self, id: u64, message: impl Into<String>) -> RuleProblem {
        let offset = self.positions.offset_for(id).map_or(0, |(start, _)| start as usize);
        RuleProblem::new(self.source, offset, message)
    }

    fn refuse(&mut self, id: u64, message: &str) -> Option<Typed> {
        self.report(id, message);
        None
    }
}

fn literal_float(id: u64, value: f64) -> IdedExpr {
    let value = LiteralValue::Double(CelDouble::from(value));
    call_node(id, TO_NUMBER, vec![IdedExpr { id, expr: Expr::Literal(value) }])
}

fn call_node(id: u64, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id, expr: Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args }) }
}

/// The first error of the parser, with a hint for common mistakes.
fn syntax_problem(source: &str, errors: &ParseErrors) -> RuleProblem {
    const HINTS: [(&str, &str); 4] = [
        ("=", "; compare with `==`"),
        ("and", "; write `&&`"),
        ("or", "; write `||`"),
        ("not", "; write `!`"),
    ];
    let Some(error) = errors.errors.first() else {
        return RuleProblem::new(source, 0, "not a CEL expression");
    };
    let (line, column) = (error.pos.0.max(1).cast_unsigned(), error.pos.1.max(1).cast_unsigned());
    // For tokens, the parser's message lists everything it would have accepted.
    let is_about_tokens = ["Syntax error", "error recovery"].iter().any(|start| error.msg.starts_with(start));
    let found = word_at(source, line, column);
    let reason = match found {
        _ if !is_about_tokens => error.msg.clone(),
        "" => "it ends too early".to_owned(),
        word => format!("unexpected `{word}`"),
    };
    let hint = HINTS.iter().find(|(word, _)| *word == found).map_or("", |(_, hint)| hint);
    RuleProblem { line, column, message: format!("not a CEL expression: {reason}{hint}") }
}

/// The word, or else the character, at a position of the parser, counted in characters from 1.
fn word_at(source: &str, line: usize, column: usize) -> &str {
    let line = source.split('\n').nth(line - 1).unwrap_or_default();
    let start = line.char_indices().nth(column - 1).map_or(line.len(), |(start, _)| start);
    let rest = &line[start..];
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
    if end > 0 { &rest[..end] } else { &rest[..rest.chars().next().map_or(0, char::len_utf8)] }
}
