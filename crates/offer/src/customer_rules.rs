//! The rules of a catalog, evaluated for one customer.

use super::rule::{OfferView, RuleSet, RuleSetBuilder};
use super::{Catalog, Offer, OfferFields, OfferIndex, OfferLibrary, Policy, Rule, RuleError, RuleMemo};
use experiment::Experiments;
use feature::{Row, ValueRef};

/// Every rule of a catalog, for one customer in the context of one call ([`Catalog::rules_for`]).
///
/// Parts that rules share are computed at most once, on first use.
pub struct CustomerRules<'a> {
    catalog: &'a Catalog,
    /// The customer and the context; the offer is empty.
    row: Row<'a>,
    memo: &'a RuleMemo,
}

impl<'a> CustomerRules<'a> {
    pub(super) fn new(catalog: &'a Catalog, row: Row<'a>, memo: &'a mut RuleMemo) -> Self {
        catalog.rules.begin(memo);
        Self { catalog, row, memo }
    }

    /// Whether `rule` of this catalog holds for the customer and the offer with this index. A compiled rule takes
    /// some nanoseconds per term and allocates nothing. A rule without a compiled form costs what [`Rule::interpret`]
    /// costs.
    ///
    /// # Errors
    /// A value that the rule uses is missing, or a calculation has no result.
    ///
    /// # Panics
    /// If the index is not one of the library, or the rule belongs to another catalog.
    pub fn holds(&self, rule: &Rule, offer: OfferIndex) -> Result<bool, RuleError> {
        let Catalog { library, rules, .. } = self.catalog;
        rules.holds(rule, offer.get(), &self.row, self.memo).unwrap_or_else(|| {
            let offer = library.get(offer);
            let features = features(offer);
            rule.interpret(&Row { offer: &features, ..self.row }, &self.catalog.fields(offer))
        })
    }

    /// Whether a rule of this catalog that reads nothing of an offer holds for the customer, as that of an experiment.
    ///
    /// # Errors
    /// As [`CustomerRules::holds`].
    pub fn holds_for_customer(&self, rule: &Rule) -> Result<bool, RuleError> {
        let no_offer = || rule.interpret(&self.row, &OfferView::NONE.fields);
        self.catalog.rules.holds(rule, 0, &self.row, self.memo).unwrap_or_else(no_offer)
    }
}

/// Compiles the rules of offers, of context weights and of experiments into one set.
pub(super) fn compile(
    library: &mut OfferLibrary,
    policy: &mut Policy,
    experiments: &mut Experiments<Rule>,
) -> RuleSet {
    let mut builder = RuleSetBuilder::new();
    for (index, offer) in library.offers_mut().iter_mut().enumerate() {
        // Destructured, because the rules are changed while the other fields are read.
        let Offer { id, value, cost, weight, .. } = offer;
        let category = &policy.categories[offer.category].id;
        let fields = OfferFields { id, category, value: *value, cost: *cost, weight: *weight };
        let features = offer.features.iter().map(ValueRef::from).collect();
        let view = OfferView { index, fields, features };
        let rules =
            [&mut offer.exclusion, &mut offer.eligibility, &mut offer.applicability, &mut offer.suitability];
        for rule in rules.into_iter().flatten() {
            builder.add(rule, std::slice::from_ref(&view));
        }
    }
    for context_weight in &mut policy.context_weights {
        let view = |index: OfferIndex| {
            let offer = library.get(index);
            let fields = super::fields(offer, &policy.categories);
            OfferView { index: index.get(), fields, features: features(offer) }
        };
        let offers: Vec<OfferView<'_>> = context_weight.offers.iter().copied().map(view).collect();
        builder.add(&mut context_weight.when, &offers);
    }
    for rule in experiments.rules_mut() {
        // It reads nothing of an offer.
        builder.add(rule, std::slice::from_ref(&OfferView::NONE));
    }
    builder.finish()
}

pub(super) fn features(offer: &Offer) -> Vec<ValueRef<'_>> {
    offer.features.iter().map(ValueRef::from).collect()
}
