//! Offers: what a customer can be shown, where, and under which rules.
//!
//! Owns `offers.toml` and `policy.toml`, with the CEL rules and the limits in them. [`read`] reads both files at once,
//! because they refer to each other. A [`Rule`] is type-checked against the feature schema and compiled when it is
//! read. This crate only provides data and rules: crate `decision` decides who is shown what. Nothing here knows
//! models, segments or the wire. Start reading at [`read`], then [`Offer`], [`Placement`], [`Rule`],
//! [`CustomerRules`] and [`ContactLimit`].

mod customer_rules;
mod experiments;
mod findings;
mod index;
mod library;
mod limit;
mod outcome;
mod policy;
mod reading;
mod rule;
#[cfg(test)]
mod tests;
mod zone;

pub use customer_rules::CustomerRules;
pub use findings::{RuleFinding, RulePlace};
pub use index::{OfferIndex, PlacementIndex};
pub use library::{Attribute, Offer, OfferLibrary, feature_rows};
pub use limit::{
    Budget, ContactLimit, Counted, CustomerCap, LimitFinding, LimitPlace, Pacing, Period, Spending,
    Suppression, SuppressionScope, TotalCap,
};
pub use outcome::{Attribution, OUTCOMES, OutcomeKind, OutcomeType};
pub use policy::{Candidate, Category, ContextWeight, NamedModel, Placement, Policy, Strategy};
pub use rule::{Declared, OfferFields, Rule, RuleError, RuleMemo, RuleProblem};

use document::{Document, Problems};
use experiment::{Experiments, Phase};
use feature::{FeatureSchema, Row};
use reading::{Entries, Names};
use work::priority::yield_if_due;

/// The offers and the policy of a release, checked against each other.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Every offer.
    pub library: OfferLibrary,
    /// Categories, placements and context weights.
    pub policy: Policy,
    /// Experiments, metrics, the holdout and exploration. Placements, categories, context weights and offers are by
    /// index.
    pub experiments: Experiments<Rule>,
    /// The phase of each experiment.
    pub phases: Vec<Phase>,
    /// The compiled rules of both.
    rules: rule::RuleSet,
}

impl Catalog {
    /// Compiles the rules of a valid catalog.
    fn compiled(self) -> Self {
        let Self { mut library, mut policy, mut experiments, phases, .. } = self;
        let rules = customer_rules::compile(&mut library, &mut policy, &mut experiments);
        Self { library, policy, experiments, phases, rules }
    }

    /// The rules for the customer and the context of `row`; the offer of `row` is ignored. `memo` can be reused for
    /// the next customer.
    pub fn rules_for<'a>(&'a self, row: Row<'a>, memo: &'a mut RuleMemo) -> CustomerRules<'a> {
        CustomerRules::new(self, row, memo)
    }

    /// The values of `offer.id`, `offer.category`, `offer.value`, `offer.cost` and `offer.weight` in rules.
    #[must_use]
    pub fn fields<'a>(&'a self, offer: &'a Offer) -> OfferFields<'a> {
        fields(offer, &self.policy.categories)
    }
}

fn fields<'a>(offer: &'a Offer, categories: &'a [Category]) -> OfferFields<'a> {
    OfferFields {
        id: &offer.id,
        category: &categories[offer.category].id,
        value: offer.value,
        cost: offer.cost,
        weight: offer.weight,
    }
}

/// The result of invalid files: their problems, and the catalog as far as it could be read. A caller with more
/// context can find further problems in it.
#[derive(Debug)]
pub struct InvalidCatalog {
    /// Every problem, sorted by file and line.
    pub problems: Problems,
    /// Has placeholders for invalid values; `None` if a file is not TOML.
    pub catalog: Option<Box<Catalog>>,
}

/// Reads `offers.toml` and `policy.toml`, each given as its name in problems and its text.
///
/// # Errors
/// Every problem of both files, with line and remedy. A file that is not TOML is reported alone, because references
/// to it cannot be checked.
pub fn read(
    schema: &FeatureSchema,
    (offers_file, offers_text): (&str, &str),
    (policy_file, policy_text): (&str, &str),
) -> Result<Catalog, InvalidCatalog> {
    let mut problems = Problems::new();
    let offers_document = problems.absorb(Document::parse(offers_file, offers_text));
    yield_if_due();
    let policy_document = problems.absorb(Document::parse(policy_file, policy_text));
    let (Some(offers_document), Some(policy_document)) = (offers_document, policy_document) else {
        return Err(InvalidCatalog { problems, catalog: None });
    };

    let offers_root = offers_document.root();
    let policy_root = policy_document.root();
    let offers = Entries::open(&offers_root, offers_file, "offer");
    let categories = Entries::open(&policy_root, policy_file, "category");
    let placements = Entries::open(&policy_root, policy_file, "placement");
    let context_weights = Entries::open(&policy_root, policy_file, "context_weight");
    let contact_limits = Entries::open(&policy_root, policy_file, "contact_limit");
    let suppressions = Entries::open(&policy_root, policy_file, "suppression");
    let outcomes = Entries::open(&policy_root, policy_file, "outcome");
    let segmentation = policy::read_segmentation(&policy_root);
    let zone = zone::read_zone(&policy_root);
    for (root, entries) in [(&offers_root, &offers), (&policy_root, &categories), (&policy_root, &placements)]
    {
        entries.require_one(root);
    }
    let outcomes = outcome::read_outcomes(&outcomes);
    let names = Names {
        schema,
        has_segments: segmentation.is_some(),
        zone,
        policy_file,
        offers: &offers.ids,
        categories: &categories.ids,
        placements: &placements.ids,
        outcomes: &outcomes,
    };

    let categories = policy::read_categories(&categories);
    let library = OfferLibrary::new(library::read_offers(&offers, &names, &categories));
    let attribution = outcome::read_attribution(&policy_root, &placements, &names);
    let policy = Policy {
        placements: policy::read_placements(&placements, &names, library.offers()),
        context_weights: policy::read_context_weights(&context_weights, &names, library.offers()),
        categories,
        segmentation,
        time_zone: zone,
        contact_limits: limit::contact_limits(&contact_limits, &names, library.offers()),
        suppressions: limit::suppressions(&suppressions, &names),
        attribution,
        outcomes: outcomes.clone(),
    };
    let (experiments, phases) =
        experiments::read(&policy_root, &offers_root, &names, &context_weights.ids, &policy, &library);
    policy::refuse_unenforced(&policy_root);
    offers_root.finish();
    policy_root.finish();

    problems.absorb(offers_document.finish(()));
    problems.absorb(policy_document.finish(()));
    let catalog = Catalog { library, policy, experiments, phases, rules: rule::RuleSet::default() };
    match problems.into_result(()) {
        Ok(()) => {
            yield_if_due();
            Ok(catalog.compiled())
        }
        Err(problems) => Err(InvalidCatalog { problems, catalog: Some(Box::new(catalog)) }),
    }
}
