//! Evaluation: what a node is for one customer, asked for when it is needed and kept where it is needed again.

use std::cell::Cell;

use super::RuleSet;
use super::node::{Bits, Choice, Comparison, Fault, Float, Id, Members, Part, Read, Text, Truth, Whole};
use super::table::{Entry, Table};
use crate::feature::{Row, ValueRef};
use crate::offer::rule::number::Number;

type Outcome<V> = Result<V, Fault>;

/// What is kept of a node: nothing yet, or what it came to.
type Kept<V> = Cell<Option<Outcome<V>>>;

/// Memory for what rules have in common, for one customer after the other; nothing is allocated after the first.
#[derive(Debug, Default)]
pub struct RuleMemo {
    truths: Vec<Kept<bool>>,
    wholes: Vec<Kept<i64>>,
    floats: Vec<Kept<Number>>,
    /// How many nodes were computed since the memo was made.
    #[cfg(test)]
    pub(in crate::offer::rule) computed: Cell<usize>,
}

impl RuleMemo {
    /// Forgets what it knows and makes room for what rules of `set` share.
    pub(super) fn begin(&mut self, set: &RuleSet) {
        self.truths.clear();
        self.truths.resize(set.truths.shared(), Cell::new(None));
        self.wholes.clear();
        self.wholes.resize(set.wholes.shared(), Cell::new(None));
        self.floats.clear();
        self.floats.resize(set.floats.shared(), Cell::new(None));
    }
}

/// Nodes of a set, asked about one row.
pub(in crate::offer::rule) struct Evaluation<'a> {
    pub(super) set: &'a RuleSet,
    pub(super) memo: &'a RuleMemo,
    pub(super) row: &'a Row<'a>,
}

/// A node whose value is kept where several need it.
pub(super) trait Node: Copy {
    type Value: Copy;

    fn table(set: &RuleSet) -> &Table<Self>;

    fn kept(memo: &RuleMemo) -> &[Kept<Self::Value>];

    fn compute(&self, evaluation: &Evaluation<'_>) -> Outcome<Self::Value>;
}

impl<'a> Evaluation<'a> {
    /// What the node comes to; computed at most once where several need it.
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

    /// A text is never kept: it is only read or chosen.
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

    fn whole(&self, read: Read) -> Outcome<i64> {
        let ValueRef::Int(value) = read.source.in_row(self.row) else { return Err(read.missing) };
        Ok(value)
    }

    fn float(&self, read: Read) -> Outcome<f32> {
        let ValueRef::Float(value) = read.source.in_row(self.row) else { return Err(read.missing) };
        Ok(value)
    }

    /// Whether all (`decisive` is false) or any (it is true) of the members hold. One that is decisive decides, whatever is
    /// wrong with the others; of several errors the last is told, as the interpreter does.
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

impl Node for Truth {
    type Value = bool;

    fn table(set: &RuleSet) -> &Table<Self> {
        &set.truths
    }

    fn kept(memo: &RuleMemo) -> &[Kept<bool>] {
        &memo.truths
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
            Self::Wholes(comparison, left, right) => {
                Ok(comparison.holds(&evaluation.ask(left)?, &evaluation.ask(right)?))
            }
            Self::Floats(comparison, left, right) => {
                comparison.of_numbers(evaluation.ask(left)?, evaluation.ask(right)?)
            }
            Self::Texts(comparison, left, right) => {
                let (left, right) = (evaluation.text(left)?, evaluation.text(right)?);
                // Texts of different lengths are unequal without a look at them.
                Ok(if comparison == Comparison::EQUAL {
                    left == right
                } else {
                    comparison.holds(left, right)
                })
            }
            Self::WholeAgainst(comparison, read, number) => {
                Ok(comparison.holds(&evaluation.whole(read)?, &number))
            }
            Self::FloatAgainst(comparison, read, number) => {
                comparison.of_features(evaluation.float(read)?, number.value())
            }
            Self::Part(part, text, tested) => {
                // The interpreter evaluates what stands in the brackets first.
                let tested = evaluation.text(tested)?;
                let text = evaluation.text(text)?;
                Ok(match part {
                    Part::Starts => text.starts_with(tested),
                    Part::Ends => text.ends_with(tested),
                    Part::Contained => text.contains(tested),
                })
            }
            Self::Matches(text, pattern) => {
                Ok(evaluation.set.patterns[pattern as usize].0.is_match(evaluation.text(text)?))
            }
        }
    }
}

impl Node for Whole {
    type Value = i64;

    fn table(set: &RuleSet) -> &Table<Self> {
        &set.wholes
    }

    fn kept(memo: &RuleMemo) -> &[Kept<i64>] {
        &memo.wholes
    }

    fn compute(&self, evaluation: &Evaluation<'_>) -> Outcome<i64> {
        match *self {
            Self::Known(outcome) => outcome,
            Self::Read(read) => evaluation.whole(read),
            Self::Negated(inner) => evaluation.ask(inner)?.checked_neg().ok_or(Fault::OVERFLOW),
            Self::Calculated(operation, left, right) => {
                operation.of_wholes(evaluation.ask(left)?, evaluation.ask(right)?)
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
            Self::Read(read) => evaluation.float(read).map(Number::of_feature),
            Self::Of(whole) => evaluation.ask(whole).map(Number::of_whole),
            Self::Negated(inner) => evaluation.ask(inner).map(Number::negated),
            Self::Calculated(operation, left, right) => {
                Ok(operation.of_numbers(evaluation.ask(left)?, evaluation.ask(right)?))
            }
            Self::Choice(choice) => evaluation.ask(evaluation.choose(choice)?),
        }
    }
}
