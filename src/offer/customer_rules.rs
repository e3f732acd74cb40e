//! The rules of a catalog, asked about one customer.

use super::rule::{OfferSeen, RuleSet, RuleSetBuilder};
use super::{Catalog, Offer, OfferFields, OfferLibrary, Policy, Rule, RuleError, RuleMemo};
use crate::feature::{Row, ValueRef};

/// Every rule of a catalog, as it answers for one customer in the context of one call ([`Catalog::rules_for`]).
///
/// What rules have in common is computed at most once, when the first of them needs it.
pub struct CustomerRules<'a> {
    catalog: &'a Catalog,
    /// What is known of the customer and the context; its offer is empty.
    row: Row<'a>,
    memo: &'a RuleMemo,
}

impl<'a> CustomerRules<'a> {
    pub(super) fn new(catalog: &'a Catalog, row: Row<'a>, memo: &'a mut RuleMemo) -> Self {
        catalog.rules.begin(memo);
        Self { catalog, row, memo }
    }

    /// Whether `rule`, which is one of the catalog, holds for the customer and the offer with this index: some
    /// nanoseconds per term, and no allocation while it has an answer. The few rules that have no compiled form cost what
    /// [`Rule::interpret`] costs.
    ///
    /// # Errors
    /// A value the rule uses is missing, or a calculation has no result.
    ///
    /// # Panics
    /// If the index is not one of the library, or the rule is of another catalog.
    pub fn holds(&self, rule: &Rule, offer: usize) -> Result<bool, RuleError> {
        let Catalog { library, rules, .. } = self.catalog;
        rules.holds(rule, offer, &self.row, self.memo).unwrap_or_else(|| {
            let offer = library.get(offer);
            let features = features(offer);
            rule.interpret(&Row { offer: &features, ..self.row }, &self.catalog.fields(offer))
        })
    }
}

/// Compiles the rules of offers and of context weights into one set.
pub(super) fn compile(library: &mut OfferLibrary, policy: &mut Policy) -> RuleSet {
    let mut builder = RuleSetBuilder::new();
    for (index, offer) in library.offers_mut().iter_mut().enumerate() {
        // By its parts: the rules are changed while the rest is read.
        let Offer { id, value, cost, weight, .. } = offer;
        let category = &policy.categories[offer.category].id;
        let fields = OfferFields { id, category, value: *value, cost: *cost, weight: *weight };
        let features = offer.features.iter().map(ValueRef::from).collect();
        let seen = OfferSeen { index, fields, features };
        let rules =
            [&mut offer.exclusion, &mut offer.eligibility, &mut offer.applicability, &mut offer.suitability];
        for rule in rules.into_iter().flatten() {
            builder.add(rule, std::slice::from_ref(&seen));
        }
    }
    for context_weight in &mut policy.context_weights {
        let seen = |index: usize| {
            let offer = library.get(index);
            let fields = super::fields(offer, &policy.categories);
            OfferSeen { index, fields, features: features(offer) }
        };
        let offers: Vec<OfferSeen<'_>> = context_weight.offers.iter().copied().map(seen).collect();
        builder.add(&mut context_weight.when, &offers);
    }
    builder.finish()
}

pub(super) fn features(offer: &Offer) -> Vec<ValueRef<'_>> {
    offer.features.iter().map(ValueRef::from).collect()
}
