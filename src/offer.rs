//! Offers: what a customer can be shown, where, and under which rules.
//!
//! Owns `offers.toml` and `policy.toml` ([`read`]: both at once, because they refer to each other) and the CEL rules in
//! them ([`Rule`]), type-checked against the feature schema and compiled when they are read. It only gives data and rules:
//! deciding who is shown what is not done here, and nothing here knows models, segments or the wire.
//! Start reading at [`read`], then [`Offer`], [`Placement`], [`Rule`] and [`CustomerRules`].

mod customer_rules;
mod findings;
mod library;
mod policy;
mod reading;
mod rule;
#[cfg(test)]
mod tests;
mod zone;

pub use customer_rules::CustomerRules;
pub use findings::{RuleFinding, RulePlace};
pub use library::{Attribute, Offer, OfferLibrary, feature_rows};
pub use policy::{Candidate, Category, ContextWeight, NamedModel, Placement, Policy, Strategy};
pub use rule::{Declared, OfferFields, Rule, RuleError, RuleMemo, RuleProblem};

use crate::document::{Document, Problems};
use crate::feature::{FeatureSchema, Row};
use crate::priority::pause;
use reading::{Entries, Names};

/// The offers and the policy of a release, checked against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    /// Every offer.
    pub library: OfferLibrary,
    /// Categories, placements and context weights.
    pub policy: Policy,
    /// The rules of both, in the form in which they serve.
    rules: rule::RuleSet,
}

impl Catalog {
    /// Compiles the rules of a catalog that is sound.
    fn compiled(self) -> Self {
        let Self { mut library, mut policy, .. } = self;
        let rules = customer_rules::compile(&mut library, &mut policy);
        Self { library, policy, rules }
    }

    /// The rules as they answer for the customer and the context of `row`, whose offer is not looked at. `memo` serves for
    /// one customer after the other.
    pub fn rules_for<'a>(&'a self, row: Row<'a>, memo: &'a mut RuleMemo) -> CustomerRules<'a> {
        CustomerRules::new(self, row, memo)
    }

    /// What rules read as `offer.id`, `offer.category`, `offer.value`, `offer.cost` and `offer.weight`.
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

/// Files that must not be used, and what could be read of them: who knows more can find more problems in it.
#[derive(Debug)]
pub struct Unsound {
    /// Everything that is wrong, sorted by file and line.
    pub problems: Problems,
    /// Stand-ins where a value was wrong; `None` where a file is not TOML.
    pub catalog: Option<Box<Catalog>>,
}

/// Reads `offers.toml` and `policy.toml`, each given as the name that problems carry and the text.
///
/// # Errors
/// Every problem of both files, with line and what to do. A file that is not TOML is reported alone: what refers to it
/// cannot be judged.
pub fn read(
    schema: &FeatureSchema,
    (offers_file, offers_text): (&str, &str),
    (policy_file, policy_text): (&str, &str),
) -> Result<Catalog, Unsound> {
    let mut problems = Problems::new();
    let offers_document = problems.absorb(Document::parse(offers_file, offers_text));
    pause();
    let policy_document = problems.absorb(Document::parse(policy_file, policy_text));
    let (Some(offers_document), Some(policy_document)) = (offers_document, policy_document) else {
        return Err(Unsound { problems, catalog: None });
    };

    let offers_root = offers_document.root();
    let policy_root = policy_document.root();
    let offers = Entries::open(&offers_root, offers_file, "offer");
    let categories = Entries::open(&policy_root, policy_file, "category");
    let placements = Entries::open(&policy_root, policy_file, "placement");
    let context_weights = Entries::open(&policy_root, policy_file, "context_weight");
    let segmentation = policy::read_segmentation(&policy_root);
    let zone = zone::read_zone(&policy_root);
    for (root, entries) in [(&offers_root, &offers), (&policy_root, &categories), (&policy_root, &placements)]
    {
        entries.require_one(root);
    }
    let names = Names {
        schema,
        has_segments: segmentation.is_some(),
        zone,
        policy_file,
        offers: &offers.ids,
        categories: &categories.ids,
        placements: &placements.ids,
    };

    let categories = policy::read_categories(&categories);
    let library = OfferLibrary::new(library::read_offers(&offers, &names, &categories));
    let policy = Policy {
        placements: policy::read_placements(&placements, &names, library.offers()),
        context_weights: policy::read_context_weights(&context_weights, &names, library.offers()),
        categories,
        segmentation,
    };
    policy::refuse_unenforced(&policy_root);
    offers_root.finish();
    policy_root.finish();

    problems.absorb(offers_document.finish(()));
    problems.absorb(policy_document.finish(()));
    let catalog = Catalog { library, policy, rules: rule::RuleSet::default() };
    match problems.into_result(()) {
        Ok(()) => {
            pause();
            Ok(catalog.compiled())
        }
        Err(problems) => Err(Unsound { problems, catalog: Some(Box::new(catalog)) }),
    }
}
