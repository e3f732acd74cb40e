//! The results of valid rules: operators, missing values, and calculations without a result.

mod properties;
mod quotients;
mod refusals;

use super::*;
use feature::{Entity, Feature, FeatureType, SegmentRef, ValueRef};

fn schema() -> FeatureSchema {
    use FeatureType::{Bool, Float, Int, String};
    let feature =
        |(entity, name, feature_type): (Entity, &str, FeatureType)| Feature::new(name, feature_type, entity);
    FeatureSchema::from_features(
        [
            (Entity::Customer, "balance", Float),
            (Entity::Customer, "age", Int),
            (Entity::Customer, "tier", String),
            (Entity::Customer, "has_card", Bool),
            (Entity::Customer, "unknown", Float),
            (Entity::Context, "month", Int),
            (Entity::Offer, "fee", Float),
        ]
        .map(feature),
    )
}

const OFFER: OfferFields<'_> =
    OfferFields { id: "gold", category: "travel", value: 79.99, cost: 0.1, weight: 25.0 };

fn evaluate_for(source: &str, customer: &[ValueRef<'_>]) -> Result<bool, RuleError> {
    let rule = Rule::compile(source, &schema()).unwrap_or_else(|problems| panic!("{source}: {problems:?}"));
    let segment = Some(SegmentRef { id: 3, name: "big spenders" });
    let row = Row { customer, context: &[ValueRef::Int(7)], offer: &[ValueRef::Float(95.5)], segment };
    rule.interpret(&row, &OFFER)
}

fn evaluate(source: &str) -> Result<bool, RuleError> {
    let customer = [
        ValueRef::Float(0.3),
        ValueRef::Int(40),
        ValueRef::String("gold é"),
        ValueRef::Bool(true),
        ValueRef::Missing,
    ];
    evaluate_for(source, &customer)
}

#[test]
fn a_rule_has_the_result_of_cel() {
    for (source, expected) in [
        ("true", true),
        ("!false && (false || true)", true),
        ("customer.balance == 0.3", true),
        ("customer.balance <= 0.3 && customer.balance >= 0.3", true),
        ("customer.balance * 10.0 == 3 && customer.balance * 10.0 >= 3", true),
        ("customer.balance * 10.0 > 3", false),
        ("customer.balance * 0.1 >= 0.03 && customer.balance + 0.1 + 0.2 <= 0.6", true),
        ("customer.balance < 1", true),
        ("1 > customer.balance", true),
        ("customer.age == 40.0", true),
        ("customer.age / 3 == 13", true),
        ("customer.age / 3.0 > 13.3", true),
        ("customer.age % 7 == 5", true),
        ("-customer.age < 0", true),
        ("customer.age + customer.balance > 40", true),
        ("customer.age - 41 == -1", true),
        ("customer.tier == 'gold é'", true),
        ("customer.tier < 'silver'", true),
        ("customer.tier.startsWith('gold')", true),
        ("customer.tier.endsWith(\"x\")", false),
        ("customer.tier.contains('d ')", true),
        ("customer.tier.matches('^g.ld')", true),
        ("customer.tier.matches(r'^\\w+$')", false),
        ("size(customer.tier) == 6 && customer.tier.size() == 6", true),
        ("customer.has_card == true", true),
        ("customer.has_card != (context.month == 7)", false),
        ("context.month in [6, 7, 8]", true),
        ("customer.age in [39.5, 40.0]", true),
        ("customer.balance in [0.3, 1]", true),
        ("!(offer.category in ['cash', 'loan'])", true),
        ("offer.id == 'gold' && offer.fee == 95.5", true),
        ("offer.value == 79.99 && offer.cost == 0.1 && offer.weight == 25", true),
        ("segment.id == 3 && segment.name == 'big spenders'", true),
        ("(customer.age > 30 ? customer.balance : 2) < 1.0", true),
        ("(customer.age > 50 ? customer.balance : 2) / 4 == 0.5", true),
        ("customer.age > 30 ? customer.has_card : false", true),
        ("has(customer.balance) && has(segment.id) && has(offer.value)", true),
        ("has(customer.unknown)", false),
        ("customer.age > 18 // of age\n && true", true),
    ] {
        assert_eq!(evaluate(source), Ok(expected), "{source}");
    }
}

#[test]
fn a_missing_value_is_an_error_unless_the_other_side_decides() {
    let missing = RuleError::Missing { feature: "customer.unknown".into() };
    for source in [
        "customer.unknown > 1.0",
        "!(customer.unknown > 1.0)",
        "customer.unknown == customer.unknown",
        "customer.unknown > 1.0 && true",
        "true && customer.unknown > 1.0",
        "customer.unknown > 1.0 || false",
        "false || customer.unknown > 1.0",
        "customer.unknown > 1.0 ? true : true",
        "customer.age in [40, customer.unknown]",
        "1.0 + customer.unknown > 0.0",
    ] {
        assert_eq!(evaluate(source), Err(missing.clone()), "{source}");
    }
    for (source, expected) in [
        ("customer.unknown > 1.0 && false", false),
        ("false && customer.unknown > 1.0", false),
        ("customer.unknown > 1.0 || true", true),
        ("true || customer.unknown > 1.0", true),
        ("true ? true : customer.unknown > 1.0", true),
        ("has(customer.unknown) && customer.unknown > 1.0", false),
        ("!has(customer.unknown) || customer.unknown > 1.0", true),
    ] {
        assert_eq!(evaluate(source), Ok(expected), "{source}");
    }
    assert_eq!(missing.to_string(), "customer.unknown is missing");
}

#[test]
fn a_customer_without_segment_misses_it() {
    let rule = Rule::compile("segment.id == 1", &schema()).unwrap();
    assert!(rule.uses_segment());
    let row = Row { customer: &[], context: &[], offer: &[], segment: None };
    assert_eq!(rule.interpret(&row, &OFFER), Err(RuleError::Missing { feature: "segment.id".into() }));
    assert!(!Rule::compile("offer.fee > 1", &schema()).unwrap().uses_segment());
}

#[test]
fn a_calculation_without_a_result_is_an_error() {
    for (source, expected) in [
        ("1 / (customer.age - 40) > 0", "a division by zero"),
        ("customer.age % 0 == 1", "a division by zero"),
        ("9223372036854775807 + customer.age > 0", "a whole number beyond 64 bits"),
        ("(customer.balance - customer.balance) / 0.0 > 1", "a comparison with a value that is not a number"),
    ] {
        assert_eq!(evaluate(source), Err(RuleError::calculation(expected)), "{source}");
    }
    assert_eq!(evaluate("customer.age / 0.0 > 1"), Ok(true), "a float divided by zero is infinite");
}
