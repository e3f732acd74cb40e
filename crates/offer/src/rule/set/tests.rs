//! Compiled rules, compared with the interpreter.

mod boundaries;
mod properties;
mod sharing;

use super::*;
use feature::{Entity, Feature, FeatureSchema, FeatureType, SegmentRef};

const OFFER: OfferFields<'_> =
    OfferFields { id: "gold", category: "travel", value: 79.99, cost: 0.1, weight: -25.0 };

/// Two features of each type for each entity: `customer.cf0` to `offer.ob1`.
fn schema() -> FeatureSchema {
    use FeatureType::{Bool, Float, Int, String};
    let mut features = Vec::new();
    for (entity, short) in [(Entity::Customer, "c"), (Entity::Context, "x"), (Entity::Offer, "o")] {
        for (kind, letter) in [(Float, "f"), (Int, "i"), (String, "s"), (Bool, "b")] {
            for number in 0..2 {
                features.push(Feature::new(format!("{short}{letter}{number}"), kind, entity));
            }
        }
    }
    FeatureSchema::from_features(features)
}

/// The rules and their set, compiled for the offer with index 0.
fn compile(sources: &[&str], offer: &[ValueRef<'_>]) -> (Vec<Rule>, RuleSet) {
    let compile = |source: &&str| {
        Rule::compile(source, &schema()).unwrap_or_else(|problems| panic!("{source}: {problems:?}"))
    };
    let mut rules: Vec<Rule> = sources.iter().map(compile).collect();
    let mut builder = RuleSetBuilder::new();
    let view = OfferView { index: 0, fields: OFFER, features: offer.to_vec() };
    for rule in &mut rules {
        builder.add(rule, std::slice::from_ref(&view));
    }
    (rules, builder.finish())
}

/// Compares each rule, compiled with the others, with the interpreter; returns the results.
fn check(sources: &[&str], row: &Row<'_>) -> Vec<Result<bool, RuleError>> {
    let (rules, set) = compile(sources, row.offer);
    let customer = Row { offer: &[], ..*row };
    let mut memo = RuleMemo::default();
    set.begin(&mut memo);
    let answer = |rule: &Rule| {
        let interpreted = rule.interpret(row, &OFFER);
        let compiled = set.holds(rule, 0, &customer, &memo);
        assert_eq!(compiled.as_ref(), Some(&interpreted), "{}", rule.source());
        // The second result may come from the memo.
        assert_eq!(set.holds(rule, 0, &customer, &memo), compiled, "{}", rule.source());
        interpreted
    };
    rules.iter().map(answer).collect()
}

fn check_one(source: &str, row: &Row<'_>) -> Result<bool, RuleError> {
    check(&[source], row).remove(0)
}

fn missing(feature: &str) -> Result<bool, RuleError> {
    Err(RuleError::Missing { feature: feature.into() })
}

/// The second float of customer and context is missing, and the second feature of each type of the offer.
const CUSTOMER: [ValueRef<'_>; 8] = [
    ValueRef::Float(0.3),
    ValueRef::Missing,
    ValueRef::Int(40),
    ValueRef::Int(i64::MAX),
    ValueRef::String("gold é"),
    ValueRef::String(""),
    ValueRef::Bool(true),
    ValueRef::Bool(false),
];
const OFFERED: [ValueRef<'_>; 8] = [
    ValueRef::Float(95.5),
    ValueRef::Missing,
    ValueRef::Int(12),
    ValueRef::Missing,
    ValueRef::String("visa"),
    ValueRef::Missing,
    ValueRef::Bool(true),
    ValueRef::Missing,
];
const ROW: Row<'_> = Row {
    customer: &CUSTOMER,
    context: &CUSTOMER,
    offer: &OFFERED,
    segment: Some(SegmentRef { id: 3, name: "big spenders" }),
};

#[test]
fn every_construct_agrees_with_the_interpreter() {
    for (source, expected) in [
        ("true", true),
        ("customer.cb0 && !customer.cb1 || context.xb1", true),
        ("customer.cb0 == (context.xi0 == 40)", true),
        ("customer.cb0 != customer.cb1", true),
        ("customer.cf0 == 0.3 && 0.3 >= customer.cf0 && 0.2 < customer.cf0", true),
        ("customer.cf0 != 0.3", false),
        ("1 > customer.cf0 && customer.ci0 > 39.5 && 40 <= customer.ci0", true),
        ("customer.ci0 == context.xi0 && customer.cf0 < context.xi0", true),
        ("customer.ci0 / 3 == 13 && customer.ci0 % 7 == 5 && -customer.ci0 < 0", true),
        ("customer.ci0 * 2 - 1 == 79 && customer.ci0 + 1 > 40", true),
        ("-customer.cf0 * 10.0 / 2.0 + 1.0 - 0.5 < 0.0", true),
        ("customer.cs0 == 'gold é' && customer.cs0 < 'silver' && customer.cs0 >= customer.cs1", true),
        (
            "customer.cs0.startsWith('gold') && customer.cs0.contains('d ') && !customer.cs0.endsWith('x')",
            true,
        ),
        ("'gold é and more'.startsWith(customer.cs0)", true),
        ("customer.cs0.matches('^g.ld') && !customer.cs1.matches('x')", true),
        ("size(customer.cs0) == 6 && customer.cs1.size() == 0", true),
        ("customer.cs0 in ['silver', 'gold é'] && !(customer.ci0 in [1, 2])", true),
        ("customer.ci0 in [39.5, 40.0, 7] && customer.cf0 in [0.3, 1] && customer.cb0 in [true]", true),
        ("context.xi0 in [offer.oi0, 40]", true),
        ("(customer.ci0 > 30 ? customer.cf0 : 2) < 1.0", true),
        ("(customer.cb1 ? customer.cs0 : offer.os0) == 'visa' && (customer.cb0 ? 1 : 2) == 1", true),
        ("customer.cb0 ? customer.cb1 : true", false),
        (
            "has(customer.cf0) && !has(customer.cf1) && has(offer.of0) && !has(offer.of1) && has(offer.id)",
            true,
        ),
        ("offer.id == 'gold' && offer.category == 'travel' && offer.cost == 0.1 && offer.weight < 0", true),
        ("customer.ci0 * 3 > offer.of0 && offer.value > customer.ci0", true),
        ("offer.value > 50.0 ? customer.cb0 : offer.ob1", true),
        ("segment.id == 3 && segment.name == 'big spenders'", true),
    ] {
        assert_eq!(check_one(source, &ROW), Ok(expected), "{source}");
    }
}

#[test]
fn of_several_errors_the_same_one_is_returned() {
    let anonymous = Row { segment: None, ..ROW };
    for (source, expected) in [
        ("customer.cf1 > 1.0", missing("customer.cf1")),
        ("customer.cf1 > offer.of1", missing("customer.cf1")),
        ("offer.of1 > customer.cf1", missing("offer.of1")),
        ("customer.cf1 > 1.0 && offer.of1 > 1.0", missing("offer.of1")),
        ("customer.cf1 > 1.0 && offer.of1 > 1.0 && customer.cb0", missing("offer.of1")),
        ("segment.id == 1 || (customer.cf1 > 1.0 || customer.cb1)", missing("customer.cf1")),
        ("customer.cf1 > 1.0 && (customer.cb1 || segment.id == 1)", missing("segment.id")),
        ("segment.name.startsWith(offer.os1)", missing("offer.os1")),
        ("segment.name in ['a', 'b']", missing("segment.name")),
        ("offer.oi1 in [1, 2]", missing("offer.oi1")),
        ("(offer.ob1 ? 1 : 2) == customer.ci0", missing("offer.ob1")),
        ("customer.cf1 > 1.0 ? true : true", missing("customer.cf1")),
        ("customer.cf1 > 1.0 && customer.cb1 && offer.ob1", Ok(false)),
        ("offer.ob1 || segment.id == 1 || customer.cb0", Ok(true)),
        ("!(offer.ob1 && customer.cb1)", Ok(true)),
    ] {
        assert_eq!(check_one(source, &anonymous), expected, "{source}");
    }
}

#[test]
fn a_calculation_without_a_result_is_the_same_error() {
    for (source, expected) in [
        ("1 / (customer.ci0 - 40) > 0", RuleError::DIVISION),
        ("customer.ci0 % 0 == 1", RuleError::DIVISION),
        ("customer.ci1 + 1 > 0", RuleError::OVERFLOW),
        ("(-customer.ci1 - 1) / -1 > 0", RuleError::OVERFLOW),
        ("(-customer.ci1 - 1) % -1 == 0", RuleError::OVERFLOW),
        ("-(-customer.ci1 - 1) > 0", RuleError::OVERFLOW),
        ("9223372036854775807 * 2 > customer.ci0", RuleError::OVERFLOW),
        ("(customer.cf0 - customer.cf0) / 0.0 > 1", RuleError::UNORDERED),
        ("0.0 / 0.0 <= customer.cf0", RuleError::UNORDERED),
    ] {
        assert_eq!(check_one(source, &ROW), Err(RuleError::calculation(expected)), "{source}");
    }
    assert_eq!(check_one("0.0 / 0.0 == customer.cf0", &ROW), Ok(false));
    assert_eq!(check_one("0.0 / 0.0 != customer.cf0", &ROW), Ok(true));
    assert_eq!(check_one("0.0 / 0.0 in [1.0, 2.0]", &ROW), Ok(false));
    assert_eq!(check_one("customer.ci0 / 0.0 > 1", &ROW), Ok(true));
}

#[test]
fn a_list_with_computed_items_is_left_to_the_interpreter() {
    for source in [
        "customer.ci0 in [40, context.xi1]",
        "customer.ci0 in [offer.oi1, 40]",
        "customer.cb0 && customer.cs0 in [segment.name]",
    ] {
        let (rules, set) = compile(&[source], &OFFERED);
        assert_eq!(set.holds(&rules[0], 0, &ROW, &RuleMemo::default()), None, "{source}");
    }
}

#[test]
fn an_offer_that_a_rule_was_not_compiled_for_is_left_to_the_interpreter() {
    let (rules, set) = compile(&["offer.value > 1.0", "customer.cb0"], &OFFERED);
    let mut memo = RuleMemo::default();
    set.begin(&mut memo);
    assert_eq!(set.holds(&rules[0], 1, &ROW, &memo), None);
    assert_eq!(set.holds(&rules[1], 1, &ROW, &memo), Some(Ok(true)));
}
