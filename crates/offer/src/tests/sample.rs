//! The rules of the sample workspace over its customers: the compiled form and the interpreter agree.

use std::path::Path;

use super::*;
use feature::store::CustomerTable;
use feature::{Entity, Row, SegmentRef, ValueRef};

const PAGES: [&str; 5] = ["home", "statement", "travel", "card", "support"];

fn sample() -> (Catalog, CustomerTable, FeatureSchema) {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let text = |file: &str| std::fs::read_to_string(models.join(file)).unwrap();
    let schema = FeatureSchema::parse("features.toml", &text("features.toml")).unwrap();
    let (offers, policy) = (text("offers.toml"), text("policy.toml"));
    let catalog = read(&schema, ("offers.toml", &offers), ("policy.toml", &policy)).unwrap();
    let (customers, _) = CustomerTable::load(&models.join("customers.csv"), &schema).unwrap();
    (catalog, customers, schema)
}

/// Each rule with the index of an offer that has it.
fn asked(catalog: &Catalog) -> Vec<(&Rule, OfferIndex)> {
    let of_offers = catalog.library.indexed().flat_map(|(index, offer)| {
        let rules = [&offer.exclusion, &offer.eligibility, &offer.applicability, &offer.suitability];
        rules.into_iter().flatten().map(move |rule| (rule, index))
    });
    let of_weights = catalog
        .policy
        .context_weights
        .iter()
        .flat_map(|weight| weight.offers.iter().map(move |index| (&weight.when, *index)));
    of_offers.chain(of_weights).collect()
}

#[test]
fn every_rule_of_the_sample_is_compiled() {
    let (catalog, ..) = sample();
    let asked = asked(&catalog);
    assert!(asked.len() > 50, "{}", asked.len());
    for (rule, _) in asked {
        assert!(rule.is_compiled(), "{rule:?}");
    }
}

#[test]
fn the_compiled_rules_of_the_sample_agree_with_the_interpreter_for_every_customer() {
    let (catalog, customers, schema) = sample();
    let asked = asked(&catalog);
    let rows = feature_rows(catalog.library.offers());
    let mut memo = RuleMemo::default();
    let (mut held, mut failed) = (0, 0);
    for (number, found) in customers.rows().enumerate() {
        let mut values = Vec::new();
        customers.read_row(found, &mut values);
        for (value, feature) in values.iter_mut().zip(schema.of(Entity::Customer)) {
            // Some rows have no defaults, so that more values are missing.
            *value = if number % 4 == 0 { *value } else { value.or(feature.default_ref()) };
        }
        let number = number as i64;
        let page = PAGES[number as usize % PAGES.len()];
        let context = [
            ValueRef::Int(1 + number % 12),
            ValueRef::Int(number % 24),
            ValueRef::String(page),
            ValueRef::Int(number % 90),
        ];
        let segment = (number % 10 != 0).then_some(SegmentRef { id: number % 7, name: "Rarely used" });
        let row = Row { customer: &values, context: &context, offer: &[], segment };
        let rules = catalog.rules_for(row, &mut memo);
        for (rule, offer) in &asked {
            let fields = catalog.fields(catalog.library.get(*offer));
            let interpreted = rule.interpret(&Row { offer: &rows[offer.get()], ..row }, &fields);
            held += usize::from(interpreted == Ok(true));
            failed += usize::from(interpreted.is_err());
            assert_eq!(rules.holds(rule, *offer), interpreted, "{rule:?} for customer {number}");
        }
    }
    assert!(held > 10_000 && failed > 1_000, "{held} held and {failed} failed: too few to tell");
}

#[test]
fn a_rule_that_is_not_compiled_is_interpreted_for_its_offer() {
    let offers = OFFERS.replace(
        "eligibility = \"customer.balance >= 3000.0\"",
        "eligibility = \"customer.balance in [offer.annual_fee, customer.balance]\"",
    );
    let catalog = catalog(&offers, POLICY).unwrap();
    let rule = catalog.library.get(OfferIndex::new(3)).eligibility.as_ref().unwrap();
    assert!(!rule.is_compiled());
    let mut memo = RuleMemo::default();
    for (balance, expected) in [
        (ValueRef::Float(1.0), Ok(true)),
        (ValueRef::Missing, Err(RuleError::Missing { feature: "customer.balance".into() })),
    ] {
        let row = Row { customer: &[balance], context: &[], offer: &[], segment: None };
        assert_eq!(catalog.rules_for(row, &mut memo).holds(rule, OfferIndex::new(3)), expected);
    }
}
