//! Evaluates nodes for one customer, on demand, and memoises shared ones.

use std::cell::Cell;

use super::RuleSet;
use super::node::{Bits, Bool, Choice, Comparison, Fault, Float, Id, Int, Members, Read, Text, TextTest};
use super::table::{Entry, Table};
use crate::rule::number::Number;
use feature::{Row, ValueRef};

type Outcome<V> = Result<V, Fault>;

/// A memo cell: empty, or the result of a node.
type Kept<V> = Cell<Option<Outcome<V>>>;

/// Memo cells for shared nodes, reused from customer to customer. Allocates for the first customer only.
#[derive(Debug, Default)]
pub struct RuleMemo {
    bools: Vec<Kept<bool>>,
    ints: Vec<Kept<i64>>,
    floats: Vec<Kept<Number>>,
    /// How many nodes were computed since the memo was made.
    #[cfg(test)]
    pub(in crate::rule) computed: Cell<usize>,
}

impl RuleMemo {
    /// Clears the memo and sizes it for `set`.
    pub(super) fn begin(&mut self, set: &RuleSet) {
        self.bools.clear();
        self.bools.resize(set.bools.shared(), Cell::new(None));
        self.ints.clear();
        self.ints.resize(set.ints.shared(), Cell::new(None));
        self.floats.clear();
        self.floats.resize(set.floats.shared(), Cell::new(None));
    }
}

/// The nodes of a set, evaluated for one row.
pub(in crate::rule) struct Evaluation<'a> {
    pub(super) set: &'a RuleSet,
    pub(super) memo: &'a RuleMemo,
    pub(super) row: &'a Row<'a>,
}

/// A node with a memoised value if several nodes need it.
pub(super) trait Node: Copy {
    type Value: Copy;

    fn table(set: &RuleSet) -> &Table<Self>;

    fn kept(memo: &RuleMemo) -> &[Kept<Self::Value>];

    fn compute(&self, evaluation: &Evaluation<'_>) -> Outcome<Self::Value>;
}

impl<'a> Evaluation<'a> {
    /// The result of the node; computed at most once if it is shared.
    #[inline]
    pub(super) fn ask<N: Node>(&self, id: Id<N>) -> Outcome<N::Value> {
        let Entry { node, cell } = N::table(self.set).get(id);
        let Some(kept) = N::kept(self.memo).get(*cell as usize) else {
            return node.compute(self);
        };
        kept.get().unwrap_or_else(|| {
            #[cfg(test)]
            self.memo.computed.set(self.memo.computed.get() + 1);
            let outcome = node.compute(self);
            kept.set(Some(outcome));
            outcome
        })
    }

    /// Texts are not memoised: they are only read or chosen.
    fn text(&self, id: Id<Text>) -> Outcome<&'a str> {
        match self.set.texts.get(id).node {
            Text::Known(text) => text.map(|place| &*self.set.written[place as usize]),
            Text::Read(read) => {
                let ValueRef::String(value) = read.source.in_row(self.row) else { return Err(read.missing) };
                Ok(value)
            }
            Text::Choice(choice) => self.text(self.choose(choice)?),
        }
    }

    fn choose<N>(&self, choice: Choice<N>) -> Outcome<Id<N>> {
        Ok(if self.ask(choice.condition)? { choice.yes } else { choice.no })
    }

    fn read_int(&self, read: Read) -> Outcome<i64> {
        let ValueRef::Int(value) = read.source.in_row(self.row) else { return Err(read.missing) };
        Ok(value)
    }

    fn read_float(&self, read: Read) -> Outcome<f32> {
        let ValueRef::Float(value) = read.source.in_row(self.row) else { return Err(read.missing) };
        Ok(value)
    }

    /// Whether all (`decisive` is false) or any (it is true) of the members hold. A decisive member decides even if
    /// others are errors. Of several errors the last is returned, as by the interpreter.
    fn connect(&self, members: Members, decisive: bool) -> Outcome<bool> {
        let mut outcome = Ok(!decisive);
        for member in self.set.members(members) {
            match self.ask(*member) {
                Ok(value) if value == decisive => return Ok(decisive),
                Ok(_) => {}
                Err(fault) => outcome = Err(fault),
            }
        }
        outcome
    }
}

impl Node for Bool {
    type Value = bool;

    fn table(set: &RuleSet) -> &Table<Self> {
        &set.bools
    }

    fn kept(memo: &RuleMemo) -> &[Kept<bool>] {
        &memo.bools
    }

    fn compute(&self, evaluation: &Evaluation<'_>) -> Outcome<bool> {
        match *self {
            Self::Known(outcome) => outcome,
            Self::Read(read) => {
                let ValueRef::Bool(value) = read.source.in_row(evaluation.row) else {
                    return Err(read.missing);
                };
                Ok(value)
            }
            Self::Has(source) => Ok(!source.in_row(evaluation.row).is_missing()),
            Self::Not(inner) => Ok(!evaluation.ask(inner)?),
            Self::All(members) => evaluation.connect(members, false),
            Self::Any(members) => evaluation.connect(members, true),
            Self::Choice(choice) => evaluation.ask(evaluation.choose(choice)?),
            Self::Same(left, right) => Ok(evaluation.ask(left)? == evaluation.ask(right)?),
            Self::Ints(comparison, left, right) => {
                Ok(comparison.holds(&evaluation.ask(left)?, &evaluation.ask(right)?))
            }
            Self::Floats(comparison, left, right) => {
                comparison.of_numbers(evaluation.ask(left)?, evaluation.ask(right)?)
            }
            Self::Texts(comparison, left, right) => {
                let (left, right) = (evaluation.text(left)?, evaluation.text(right)?);
                // Texts of different lengths are unequal without comparing bytes.
                Ok(if comparison == Comparison::EQUAL {
                    left == right
                } else {
                    comparison.holds(left, right)
                })
            }
            Self::IntVsConstant(comparison, read, number) => {
                Ok(comparison.holds(&evaluation.read_int(read)?, &number))
            }
            Self::FloatVsConstant(comparison, read, number) => {
                comparison.of_features(evaluation.read_float(read)?, number.value())
            }
            Self::TextTest(test, text, tested) => {
                // The interpreter evaluates the argument first.
                let tested = evaluation.text(tested)?;
                let text = evaluation.text(text)?;
                Ok(match test {
                    TextTest::StartsWith => text.starts_with(tested),
                    TextTest::EndsWith => text.ends_with(tested),
                    TextTest::Contains => text.contains(tested),
                })
            }
            Self::Matches(text, pattern) => {
                Ok(evaluation.set.patterns[pattern as usize].0.is_match(evaluation.text(text)?))
            }
        }
    }
}

impl Node for Int {
    type Value = i64;

    fn table(set: &RuleSet) -> &Table<Self> {
        &set.ints
    }

    fn kept(memo: &RuleMemo) -> &[Kept<i64>] {
        &memo.ints
    }

    fn compute(&self, evaluation: &Evaluation<'_>) -> Outcome<i64> {
        match *self {
            Self::Known(outcome) => outcome,
            Self::Read(read) => evaluation.read_int(read),
            Self::Negated(inner) => evaluation.ask(inner)?.checked_neg().ok_or(Fault::OVERFLOW),
            Self::Calculated(operation, left, right) => {
                operation.of_ints(evaluation.ask(left)?, evaluation.ask(right)?)
            }
            Self::Size(text) => Ok(evaluation.text(text)?.chars().count() as i64),
            Self::Choice(choice) => evaluation.ask(evaluation.choose(choice)?),
        }
    }
}

impl Node for Float {
    type Value = Number;

    fn table(set: &RuleSet) -> &Table<Self> {
        &set.floats
    }

    fn kept(memo: &RuleMemo) -> &[Kept<Number>] {
        &memo.floats
    }

    fn compute(&self, evaluation: &Evaluation<'_>) -> Outcome<Number> {
        match *self {
            Self::Known(outcome) => outcome.map(Bits::value),
            Self::Read(read) => evaluation.read_float(read).map(Number::of_feature),
            Self::Of(whole) => evaluation.ask(whole).map(Number::of_whole),
            Self::Negated(inner) => evaluation.ask(inner).map(Number::negated),
            Self::Calculated(operation, left, right) => {
                Ok(operation.of_numbers(evaluation.ask(left)?, evaluation.ask(right)?))
            }
            Self::Choice(choice) => evaluation.ask(evaluation.choose(choice)?),
        }
    }
}
