//! The compiled form of a catalog's rules: one graph of shared nodes.
//!
//! [`RuleSetBuilder`] turns each rule into nodes. Equal parts of any rules are one node. Offers are fixed when rules
//! are compiled, so offer values are constants. A rule that reads an offer is compiled once per offer, any other rule
//! once. Nodes therefore depend only on the customer and the context. A part shared by the rules of many offers is
//! computed at most once per customer, on first use ([`RuleMemo`]).
//!
//! Evaluation allocates nothing and returns the same as the interpreter, including errors; the tests compare both. A
//! rule with a part that has no node stays [`Compiled::Not`] and is interpreted. Start reading at
//! [`RuleSetBuilder::add`], then `lower.rs` and `evaluate.rs`.

mod build;
mod evaluate;
mod lower;
mod node;
mod table;

pub(crate) use build::RuleSetBuilder;
pub use evaluate::RuleMemo;

use super::scope::Pattern;
use super::{OfferFields, Rule, RuleError};
use evaluate::Evaluation;
use feature::{Row, ValueRef};
use node::{Bool, Float, Id, Int, Members, Text};
use table::Table;

/// Every compiled rule of a catalog. Immutable; rules refer to its nodes by index.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RuleSet {
    bools: Table<Bool>,
    ints: Table<Int>,
    floats: Table<Float>,
    texts: Table<Text>,
    members: Vec<Id<Bool>>,
    written: Vec<Box<str>>,
    patterns: Vec<Pattern>,
    faults: Vec<RuleError>,
}

/// The compiled form of a rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Compiled {
    /// None: the rule is interpreted.
    #[default]
    Not,
    /// One node for all offers.
    Same(Id<Bool>),
    /// One node per offer that has the rule, sorted by the index of the offer.
    ByOffer(Box<[(usize, Id<Bool>)]>),
}

/// An offer as rules see it.
#[derive(Debug, Clone)]
pub(crate) struct OfferView<'a> {
    /// Its index in the library.
    pub(crate) index: usize,
    pub(crate) fields: OfferFields<'a>,
    /// One value per offer feature of the schema.
    pub(crate) features: Vec<ValueRef<'a>>,
}

impl OfferView<'_> {
    /// The placeholder for rules that read nothing of an offer.
    pub(crate) const NONE: Self = Self {
        index: 0,
        fields: OfferFields { id: "", category: "", value: 0.0, cost: 0.0, weight: 0.0 },
        features: Vec::new(),
    };
}

impl RuleSet {
    /// Resets `memo` for the next customer.
    pub(crate) fn begin(&self, memo: &mut RuleMemo) {
        memo.begin(self);
    }

    /// Whether `rule` holds for the offer with this index and the customer of the row. `memo` must have been reset
    /// for this customer. `None` if only the interpreter can evaluate the rule.
    pub(crate) fn holds(
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

    fn members(&self, members: Members) -> &[Id<Bool>] {
        let start = members.start as usize;
        &self.members[start..start + members.count as usize]
    }
}

#[cfg(test)]
mod tests;
