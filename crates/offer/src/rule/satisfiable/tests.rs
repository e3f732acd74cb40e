//! Which rules can never be true or false, and that no rule is reported wrongly.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::OfferFields;
use feature::{FeatureType, Row, SegmentRef, ValueRef};

const OFFER: OfferFields<'_> =
    OfferFields { id: "gold", category: "travel", value: 79.99, cost: 0.1, weight: 25.0 };

/// A share from 0 to 1, a count from 0 to 5, and features without declared values.
fn schema() -> FeatureSchema {
    use FeatureType::{Bool, Float, Int, String};
    let feature =
        |(entity, name, feature_type, range): (Entity, &str, FeatureType, Option<(f64, f64)>)| Feature {
            range,
            values: if name == "grade" { vec!["a".into(), "b".into()] } else { Vec::new() },
            ..Feature::new(name, feature_type, entity)
        };
    FeatureSchema::from_features(
        [
            (Entity::Customer, "share", Float, Some((0.0, 1.0))),
            (Entity::Customer, "count", Int, Some((0.0, 5.0))),
            (Entity::Customer, "age", Int, None),
            (Entity::Customer, "balance", Float, None),
            (Entity::Customer, "tier", String, None),
            (Entity::Customer, "active", Bool, None),
            (Entity::Customer, "grade", String, None),
            (Entity::Offer, "fee", Float, None),
            (Entity::Offer, "months", Int, None),
        ]
        .map(feature),
    )
}

/// The outlook under the declared values, for an offer with `fee` 95.5 and a missing `months`.
fn outlook(source: &str) -> Option<Outlook> {
    let schema = schema();
    let rule = Rule::compile(source, &schema).unwrap_or_else(|problems| panic!("{source}: {problems:?}"));
    let segments = ["a".into(), "b".into()];
    let declared =
        Declared { schema: &schema, segments: Some(&segments), offers: &["gold"], categories: &["travel"] };
    let features = vec![ValueRef::Float(95.5), ValueRef::Missing];
    rule.outlook(Some(declared), &[OfferView { index: 0, fields: OFFER, features }])
}

#[test]
fn a_rule_that_no_customer_can_meet_is_never_true() {
    for source in [
        "false",
        "1 > 2",
        "0.1 + 0.2 > 0.3",
        "customer.age > 5 && customer.age < 3",
        "customer.age > 5 && customer.age < 6",
        "customer.balance > 5 && customer.balance < 5.0",
        "customer.age == 4 && customer.age != 4",
        "customer.tier == 'a' && customer.tier == 'b'",
        "customer.tier in ['a', 'b'] && customer.tier in ['c', 'd']",
        "customer.tier == 'a' && !(customer.tier in ['a', 'b'])",
        "customer.share > 1",
        "customer.share * 100.0 > 200.0",
        "customer.count + 1 > 6",
        "customer.count == 2.5",
        "customer.count != 0 && customer.count < 1",
        "customer.active && !customer.active",
        "!has(customer.age) && customer.age > 1",
        "customer.balance > customer.age && customer.balance < customer.age",
        "customer.balance >= 0.3 * customer.age && customer.balance < 0.3 * customer.age",
        "customer.tier.startsWith('g') && !customer.tier.startsWith('g')",
        "customer.balance < customer.balance",
        "segment.id == 2",
        "customer.grade == 'c'",
        "customer.grade > 'b' || customer.grade.endsWith('c')",
        "customer.grade != 'a' && customer.grade != 'b'",
        "segment.name == 'c'",
        "segment.name.startsWith('c')",
        "segment.name != 'a' && segment.name != 'b'",
        "(customer.age > 5 ? customer.age < 3 : customer.age > 7)",
        "offer.fee > 100.0 && customer.active",
        "offer.months > 3",
        "offer.id == 'silver'",
    ] {
        assert_eq!(outlook(source), Some(Outlook::NeverTrue), "{source}");
    }
}

#[test]
fn a_rule_that_every_customer_meets_is_never_false() {
    for source in [
        "true",
        "customer.age >= 0 || customer.age < 0",
        "customer.balance != 5.0 || customer.balance == 5.0",
        "customer.share <= 1.0",
        "customer.count > -1",
        "customer.tier != 'a' || customer.tier != 'b'",
        "segment.name in ['a', 'b']",
        "segment.id >= 0",
        "customer.grade in ['a', 'b', 'c']",
        "offer.fee < 100.0 || customer.active",
        "has(offer.fee) || customer.age > 3",
        "customer.share * 2.0 <= 3.0",
        "(customer.active == false) != customer.active",
    ] {
        assert_eq!(outlook(source), Some(Outlook::NeverFalse), "{source}");
    }
}

#[test]
fn a_rule_that_depends_on_the_customer_is_left_alone() {
    for source in [
        "customer.age > 3 && customer.age < 5",
        "customer.balance > 5.0 && customer.balance < 5.1",
        "customer.balance >= 0.3 * customer.age",
        "customer.share == 1",
        "customer.share > 0.99999",
        "customer.tier == 'a' || customer.tier == 'b'",
        "has(customer.age) && customer.age > 1",
        "!has(customer.age) || customer.age > 1",
        "customer.count in [5, 6]",
        "segment.name != 'a'",
        "offer.fee > customer.balance",
        "customer.balance / customer.share > 0",
        "customer.count / 2 == 2 && customer.count * 2 == 10",
        "!(customer.share < 1)",
    ] {
        assert_eq!(outlook(source), None, "{source}");
    }
}

fn one_of(parts: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(parts).prop_map(str::to_owned)
}

fn comparison(
    parts: &'static [&'static str],
    literals: &'static [&'static str],
) -> impl Strategy<Value = String> {
    let symbol = select(vec!["==", "!=", "<", "<=", ">", ">="]);
    (select(parts), symbol, select(literals))
        .prop_map(|(part, symbol, literal)| format!("{part} {symbol} {literal}"))
}

fn rules() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => comparison(
            &["customer.share", "customer.count", "customer.age", "customer.balance"],
            &["-1", "0", "0.25", "1", "2", "2.5", "5", "6", "customer.balance", "customer.count", "offer.fee",
                "0.1 * 10.0"],
        ),
        2 => comparison(
            &[
                "customer.share * 2.0", "customer.count / 2", "customer.count - customer.age", "customer.count % 3",
                "customer.share * customer.balance", "customer.balance / customer.share", "-customer.share",
                "(customer.active ? customer.count : customer.age)", "size(customer.tier)", "offer.value",
            ],
            &["-2", "0", "0.5", "1", "2.0", "5", "80.0", "customer.share", "customer.count"],
        ),
        2 => comparison(&["customer.tier", "customer.grade", "segment.name"], &["'a'", "'b'", "'c'", "offer.id"]),
        1 => one_of(&[
            "customer.active", "has(customer.age)", "has(customer.share)", "has(offer.fee)", "true", "false",
            "customer.tier in ['a', 'c']", "segment.name in ['b', 'c']", "segment.id in [0, 2]", "segment.id < 2",
            "customer.count in [1, 2.5, 7]", "customer.share in [0.25, 2.0]", "customer.tier.startsWith('a')",
            "segment.name.matches('^a')", "customer.active == (customer.age > 1)", "offer.months > 1",
        ]),
    ];
    leaf.prop_recursive(4, 12, 2, |inner| {
        prop_oneof![
            4 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            3 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            2 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

fn rows() -> impl Strategy<Value = (Vec<ValueRef<'static>>, Option<SegmentRef<'static>>)> {
    let some =
        |values: BoxedStrategy<ValueRef<'static>>| prop_oneof![1 => Just(ValueRef::Missing), 8 => values];
    let float = |values: &'static [f32]| some(select(values).prop_map(ValueRef::Float).boxed());
    let int = |values: &'static [i64]| some(select(values).prop_map(ValueRef::Int).boxed());
    let customer = (
        float(&[0.0, 0.1, 0.25, 0.5, 1.0]),
        int(&[0, 1, 2, 3, 4, 5]),
        int(&[-1, 0, 1, 2, 5, 6, 40, i64::MAX]),
        float(&[-1.0, 0.0, 0.1, 0.25, 1.0, 2.0, 5.0, 95.5, f32::MAX]),
        some(select(vec!["a", "b", "c", "gold"]).prop_map(ValueRef::String).boxed()),
        some(any::<bool>().prop_map(ValueRef::Bool).boxed()),
        some(select(vec!["a", "b"]).prop_map(ValueRef::String).boxed()),
    );
    let segment = prop::option::weighted(0.9, select(vec![(0, "a"), (1, "b")]));
    (customer, segment).prop_map(|((share, count, age, balance, tier, active, grade), segment)| {
        let segment = segment.map(|(id, name)| SegmentRef { id, name });
        (vec![share, count, age, balance, tier, active, grade], segment)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_row_contradicts_an_outlook(source in rules(), rows in prop::collection::vec(rows(), 20)) {
        let Some(outlook) = outlook(&source) else { return Ok(()) };
        let rule = Rule::compile(&source, &schema()).unwrap();
        for (customer, segment) in &rows {
            let offer = [ValueRef::Float(95.5), ValueRef::Missing];
            let row = Row { customer, context: &[], offer: &offer, segment: *segment };
            let contradiction = outlook == Outlook::NeverTrue;
            prop_assert_ne!(rule.interpret(&row, &OFFER), Ok(contradiction), "{} at {:?}", source, row);
        }
    }
}
