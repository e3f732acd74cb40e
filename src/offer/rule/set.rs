//! The rules of a catalog in the form in which they serve: one graph of shared parts.
//!
//! [`RuleSetBuilder`] takes rule after rule and turns each into nodes. Parts that are equal, in whichever rules they
//! stand, are one node. What a rule reads of an offer is known when the offers are read, so that it is compiled once for
//! each offer that asks it (once for all, where it reads nothing of them) and nodes depend on the customer and the
//! context alone: a part that many offers' rules have in common is computed at most once per customer, when the first of
//! them needs it ([`RuleMemo`]).
//!
//! Evaluating allocates nothing and gives what the interpreter gives, errors included; the tests hold one against the
//! other. A rule with a part that has no node keeps [`Compiled::Not`], and the interpreter evaluates it.
//! Start reading at [`RuleSetBuilder::add`], then `lower.rs` and `evaluate.rs`.

mod build;
mod evaluate;
mod lower;
mod node;
mod table;

pub(in crate::offer) use build::RuleSetBuilder;
pub use evaluate::RuleMemo;

use super::scope::Pattern;
use super::{OfferFields, Rule, RuleError};
use crate::feature::{Row, ValueRef};
use evaluate::Evaluation;
use node::{Float, Id, Members, Text, Truth, Whole};
use table::Table;

/// Every rule of a catalog. Immutable; rules refer to it by the places of its nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::offer) struct RuleSet {
    truths: Table<Truth>,
    wholes: Table<Whole>,
    floats: Table<Float>,
    texts: Table<Text>,
    members: Vec<Id<Truth>>,
    written: Vec<Box<str>>,
    patterns: Vec<Pattern>,
    faults: Vec<RuleError>,
}

/// What a rule is in the set of its catalog.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Compiled {
    /// Nothing: the interpreter evaluates it.
    #[default]
    Not,
    /// The same for every offer.
    Same(Id<Truth>),
    /// One node for each offer that asks it, by the index of the offer, ascending.
    ByOffer(Box<[(usize, Id<Truth>)]>),
}

/// An offer as rules see it.
#[derive(Debug, Clone)]
pub(in crate::offer) struct OfferSeen<'a> {
    /// Its index in the library.
    pub(in crate::offer) index: usize,
    pub(in crate::offer) fields: OfferFields<'a>,
    /// One value per offer feature of the schema.
    pub(in crate::offer) features: Vec<ValueRef<'a>>,
}

impl OfferSeen<'_> {
    /// Stands in where a rule reads nothing of an offer.
    pub(super) const NONE: Self = Self {
        index: 0,
        fields: OfferFields { id: "", category: "", value: 0.0, cost: 0.0, weight: 0.0 },
        features: Vec::new(),
    };
}

impl RuleSet {
    /// Forgets in `memo` what was known of the last customer.
    pub(in crate::offer) fn begin(&self, memo: &mut RuleMemo) {
        memo.begin(self);
    }

    /// Whether `rule` holds for the offer with this index and the customer of the row, about whom `memo` was begun;
    /// `None` where only the interpreter can tell.
    pub(in crate::offer) fn holds(
        &self,
        rule: &Rule,
        offer: usize,
        row: &Row<'_>,
        memo: &RuleMemo,
    ) -> Option<Result<bool, RuleError>> {
        let root = match &rule.compiled {
            Compiled::Not => return None,
            Compiled::Same(root) => *root,
            Compiled::ByOffer(roots) => {
                let found = roots.binary_search_by_key(&offer, |(index, _)| *index).ok()?;
                roots[found].1
            }
        };
        let outcome = Evaluation { set: self, memo, row }.ask(root);
        Some(outcome.map_err(|fault| self.faults[fault.0 as usize].clone()))
    }

    fn members(&self, members: Members) -> &[Id<Truth>] {
        let start = members.start as usize;
        &self.members[start..start + members.count as usize]
    }
}

#[cfg(test)]
mod tests;
