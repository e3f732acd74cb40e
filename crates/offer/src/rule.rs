//! CEL rules: parsed and type-checked when a release is read, evaluated per customer × offer.
//!
//! A rule reads `customer.<feature>`, `context.<feature>`, `offer.<feature>`, `offer.id`, `offer.category`,
//! `offer.value`, `offer.cost`, `offer.weight`, `segment.id` (int) and `segment.name` (string). It supports
//!
//! - `&&`, `||`, `!` and `? :` on booleans,
//! - `==` and `!=` on two values of one type, `<`, `<=`, `>` and `>=` on numbers and on text,
//! - `+`, `-`, `*`, `/` on numbers, `%` on whole numbers,
//! - `in` with a list (`customer.tier in ["gold", "black"]`),
//! - `startsWith`, `endsWith`, `contains`, `matches` (a pattern in quotes) and `size` on text,
//! - `has(customer.x)`: whether a value is known.
//!
//! Any other part of CEL is refused by name when the rule is compiled.
//!
//! **Numbers.** Ints and floats can be mixed in comparisons and arithmetic; an int then counts as a float. Floats are
//! CEL's doubles. A feature is stored in 32 bits and counts as the shortest decimal that reads as it. So 0.3 in a
//! file, in a request and in a rule is one number. Arithmetic has 64 bits, and a comparison treats numbers as equal
//! if they differ by no more than rounding. `customer.balance >= 0.07 * customer.limit` thus holds at exactly 7 %
//! (`number.rs`).
//!
//! **Missing values.** Using a missing value is [`RuleError::Missing`]; `has` tests for it. An error on one side of
//! `&&` or `||` does not matter if the other side decides, in any order. `customer.x > 1.0 && false` is false even if
//! `customer.x` is missing. `? :` evaluates only the branch it takes; `in` needs every item of its list.
//!
//! A checked rule is evaluated in two ways that always agree. The compiled form shares parts with the other rules of
//! its catalog (`set.rs`) and serves. The interpreter of crate `cel`, used nowhere else, serves the rest and is the
//! reference in tests ([`Rule::interpret`]). Start reading at [`Rule::compile`].

mod check;
mod limits;
mod number;
mod parsed;
mod satisfiable;
mod scope;
mod set;
mod shown;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::types::CelBool;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};

use feature::{Entity, FeatureSchema, Row};
pub use satisfiable::Declared;
pub(crate) use satisfiable::Outlook;
use scope::{Scope, Slot, Source};
use set::Compiled;
pub use set::RuleMemo;
pub(super) use set::{OfferView, RuleSet, RuleSetBuilder};

/// A condition on a customer, an offer and the context of a call.
#[derive(Clone, PartialEq)]
pub struct Rule {
    source: Arc<str>,
    /// The checked expression: every variable is a slot number, and types match without conversion at run time.
    expression: Arc<IdedExpr>,
    slots: Arc<[Slot]>,
    warnings: Arc<[RuleProblem]>,
    /// The compiled form in the rule set of its catalog.
    compiled: Compiled,
}

/// The fields of an offer that rules read, apart from its features.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OfferFields<'a> {
    /// `offer.id`.
    pub id: &'a str,
    /// `offer.category`, its id.
    pub category: &'a str,
    /// `offer.value`, in money.
    pub value: f64,
    /// `offer.cost`, in money.
    pub cost: f64,
    /// `offer.weight`, in percent.
    pub weight: f64,
}

/// A problem in a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProblem {
    /// The line within the rule, from 1.
    pub line: usize,
    /// The character within that line, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// Why a rule has no result for a customer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The rule uses a missing value.
    #[error("{feature} is missing")]
    Missing {
        /// The name in the rule (`customer.balance`).
        feature: Arc<str>,
    },
    /// A calculation has no result: a division by zero, an int beyond 64 bits, or a comparison with infinity −
    /// infinity.
    #[error("{reason}")]
    Calculation {
        /// The reason in words.
        reason: Cow<'static, str>,
    },
}

/// The functions of the language, shared by all rules.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(number::environment()));

impl Rule {
    /// Parses `source` and checks it against `schema`.
    ///
    /// # Errors
    /// The first problem of syntax, length or nesting, or else every wrong name and type.
    pub fn compile(source: &str, schema: &FeatureSchema) -> Result<Self, Vec<RuleProblem>> {
        limits::check(source).map_err(|problem| vec![problem])?;
        let check::Checked { expression, slots, warnings } = check::compile(source, schema)?;
        // Initialised now, so that no call waits for it.
        LazyLock::force(&ENVIRONMENT);
        Ok(Self {
            source: source.into(),
            expression: Arc::new(expression),
            slots: slots.into(),
            warnings: warnings.into(),
            compiled: Compiled::Not,
        })
    }

    /// Whether the rule holds, evaluated by the interpreter: for the few rules without a compiled form, and as the
    /// reference in tests. Every call builds a context and allocates for most operations; a rule of three terms takes
    /// about 0.4 µs.
    ///
    /// # Errors
    /// A value it uses is missing, or a calculation has no result.
    pub fn interpret(&self, row: &Row<'_>, offer: &OfferFields<'_>) -> Result<bool, RuleError> {
        let scope = Scope { slots: &self.slots, row, offer };
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&scope);
        let value = Value::resolve_val(&self.expression, &context).map_err(|error| self.error(&error))?;
        match value.downcast_ref::<CelBool>() {
            Some(truth) => Ok(*truth.inner()),
            None => Err(RuleError::calculation("the rule is neither true nor false")),
        }
    }

    /// The text of the rule.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of the rule, shared.
    #[must_use]
    pub fn shared_source(&self) -> Arc<str> {
        Arc::clone(&self.source)
    }

    /// Valid parts that are probably mistakes: an integer quotient, which has dropped its decimals, combined with a
    /// float.
    #[must_use]
    pub fn warnings(&self) -> &[RuleProblem] {
        &self.warnings
    }

    /// Whether it reads `segment.id` or `segment.name`.
    #[must_use]
    pub fn uses_segment(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.source(), Some(Source::SegmentId | Source::SegmentName)))
    }

    /// The features that it reads or tests with `has`: entity and position in the schema.
    pub fn features(&self) -> impl Iterator<Item = (Entity, usize)> {
        self.slots.iter().filter_map(|slot| slot.source()?.feature())
    }

    /// Whether it has a compiled form.
    #[cfg(test)]
    pub(crate) fn is_compiled(&self) -> bool {
        self.compiled != Compiled::Not
    }

    /// Whether it reads anything of an offer.
    pub(crate) fn reads_offer(&self) -> bool {
        self.slots.iter().any(|slot| slot.source().is_some_and(Source::is_of_offer))
    }

    /// Whether it reads anything of the call.
    pub(crate) fn reads_context(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.source(), Some(Source::Context(_))))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the interpreter's errors are an open list, most of them impossible here"
    )]
    fn error(&self, error: &ExecutionError) -> RuleError {
        match error {
            // An unresolved variable is a missing value: the checker has replaced all variables by slots.
            ExecutionError::UndeclaredReference(variable) => match scope::find(&self.slots, variable) {
                Some(slot) => RuleError::Missing { feature: slot.name().into() },
                None => RuleError::Calculation { reason: error.to_string().into() },
            },
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                RuleError::calculation(RuleError::DIVISION)
            }
            ExecutionError::Overflow(..) => RuleError::calculation(RuleError::OVERFLOW),
            // All types match, so only a NaN has no order.
            ExecutionError::NoSuchOverload(_) => RuleError::calculation(RuleError::UNORDERED),
            _ => RuleError::Calculation { reason: error.to_string().into() },
        }
    }
}

impl RuleError {
    const DIVISION: &str = "a division by zero";
    const OVERFLOW: &str = "a whole number beyond 64 bits";
    const UNORDERED: &str = "a comparison with a value that is not a number";

    fn calculation(reason: &'static str) -> Self {
        Self::Calculation { reason: Cow::Borrowed(reason) }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.source).finish()
    }
}

impl RuleProblem {
    /// A problem at the `offset`th byte of `source`.
    fn new(source: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = String::from_utf8_lossy(&source.as_bytes()[..offset.min(source.len())]);
        let line = before.split('\n').count();
        let column = before.split('\n').next_back().map_or(0, |last| last.chars().count()) + 1;
        Self { line, column, message: message.into() }
    }
}

#[cfg(test)]
mod tests;
