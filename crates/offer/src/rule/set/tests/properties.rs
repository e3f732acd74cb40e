//! Random well-typed rules over random rows: the compiled form and the interpreter agree, including errors.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Includes values beyond the allowed ones, in case a row has them.
const FLOATS: [f32; 12] =
    [0.0, -0.0, 0.3, 1.0, -1.0, 7.5, 1e-45, f32::MAX, f32::MIN, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
const INTS: [i64; 11] =
    [0, 1, -1, 2, 7, 40, i64::MAX, i64::MIN, i64::MAX - 1, (1 << 53) + 1, i32::MAX as i64];
const TEXTS: [&str; 7] = ["", "a", "ab", "b", "é", "gold", "Gold"];

/// The values of one entity, in the order of [`schema`].
fn values() -> impl Strategy<Value = Vec<ValueRef<'static>>> {
    let some =
        |values: BoxedStrategy<ValueRef<'static>>| prop_oneof![1 => Just(ValueRef::Missing), 4 => values];
    let float = some(select(&FLOATS[..]).prop_map(ValueRef::Float).boxed());
    let int = some(select(&INTS[..]).prop_map(ValueRef::Int).boxed());
    let text = some(select(&TEXTS[..]).prop_map(ValueRef::String).boxed());
    let truth = some(any::<bool>().prop_map(ValueRef::Bool).boxed());
    let pairs = (float.clone(), float, int.clone(), int, text.clone(), text, truth.clone(), truth);
    pairs.prop_map(|(f0, f1, i0, i1, s0, s1, b0, b1)| vec![f0, f1, i0, i1, s0, s1, b0, b1])
}

/// The source of a part of a rule.
type Part = BoxedStrategy<String>;

/// A variable of a type, by the letter of its features.
fn variable(letter: &'static str) -> Part {
    let features = (select(vec!["customer.c", "context.x", "offer.o"]), 0..2)
        .prop_map(move |(scope, number)| format!("{scope}{letter}{number}"));
    let fields: &[&str] = match letter {
        "f" => &["offer.value", "offer.cost", "offer.weight"],
        "i" => &["segment.id"],
        "s" => &["offer.id", "offer.category", "segment.name"],
        _ => return features.boxed(),
    };
    prop_oneof![4 => features, 1 => select(fields).prop_map(str::to_owned)].boxed()
}

fn one_of(sources: &'static [&'static str]) -> Part {
    select(sources).prop_map(str::to_owned).boxed()
}

fn float_literal() -> Part {
    one_of(&["0.0", "0.3", "1.0", "7.5", "-1.0", "3.4e38", "1e-45", "9.0e18"])
}

fn int_literal() -> Part {
    select(&INTS[..]).prop_map(|number| number.to_string()).boxed()
}

fn text_literal() -> Part {
    select(&TEXTS[..]).prop_map(|text| format!("'{text}'")).boxed()
}

fn binary(left: &Part, right: &Part, symbols: &'static [&'static str]) -> Part {
    let parts = (left.clone(), select(symbols), right.clone());
    parts.prop_map(|(left, symbol, right)| format!("({left} {symbol} {right})")).boxed()
}

fn list(item: &Part, of: Part) -> Part {
    let parts = (item.clone(), prop::collection::vec(of, 1..4));
    parts.prop_map(|(item, list)| format!("({item} in [{}])", list.join(", "))).boxed()
}

/// Parts of the four types, each made of less deep ones.
struct Grammar {
    float: Part,
    int: Part,
    text: Part,
    truth: Part,
}

impl Grammar {
    fn leaves() -> Self {
        let has = select(vec!["f", "i", "s", "b"]).prop_flat_map(variable);
        Self {
            float: prop_oneof![3 => variable("f"), 2 => float_literal()].boxed(),
            int: prop_oneof![3 => variable("i"), 2 => int_literal()].boxed(),
            text: prop_oneof![3 => variable("s"), 2 => text_literal()].boxed(),
            truth: prop_oneof![
                4 => variable("b"),
                1 => one_of(&["true", "false"]),
                2 => has.prop_map(|name| format!("has({name})")),
            ]
            .boxed(),
        }
    }

    fn choice(&self, of: &Part) -> Part {
        let parts = (self.truth.clone(), of.clone(), of.clone());
        parts.prop_map(|(condition, yes, no)| format!("({condition} ? {yes} : {no})")).boxed()
    }

    fn deeper(&self) -> Self {
        let Self { float, int, text, .. } = self;
        let negated = |of: &Part| of.clone().prop_map(|number| format!("-({number})"));
        let number = prop_oneof![float.clone(), int.clone()].boxed();
        Self {
            float: prop_oneof![
                2 => float.clone(),
                2 => binary(float, &number, &["+", "-", "*", "/"]),
                1 => binary(&number, float, &["+", "-", "*", "/"]),
                1 => negated(float),
                1 => self.choice(float),
            ]
            .boxed(),
            int: prop_oneof![
                2 => int.clone(),
                3 => binary(int, int, &["+", "-", "*", "/", "%"]),
                1 => negated(int),
                1 => text.clone().prop_map(|text| format!("size({text})")),
                1 => self.choice(int),
            ]
            .boxed(),
            text: prop_oneof![4 => text.clone(), 1 => self.choice(text)].boxed(),
            truth: self.deeper_truth(&number),
        }
    }

    fn deeper_truth(&self, number: &Part) -> Part {
        const ORDERS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];
        let Self { int, text, truth, .. } = self;
        // More than two without brackets: the parser balances them.
        let many = (prop::collection::vec(truth.clone(), 3..6), select(vec![" && ", " || "]));
        let tested = (text.clone(), select(vec!["startsWith", "endsWith", "contains"]), text.clone());
        let matched = (text.clone(), select(vec!["a", "^g", "d$", "^.$"]));
        prop_oneof![
            1 => truth.clone(),
            6 => binary(truth, truth, &["&&", "||"]),
            2 => many.prop_map(|(all, symbol)| format!("({})", all.join(symbol))),
            2 => truth.clone().prop_map(|inner| format!("!({inner})")),
            1 => self.choice(truth),
            1 => binary(truth, truth, &["==", "!="]),
            5 => binary(number, number, ORDERS),
            3 => binary(text, text, ORDERS),
            1 => list(text, text_literal()),
            1 => list(number, prop_oneof![int_literal(), float_literal()].boxed()),
            1 => list(int, prop_oneof![2 => int_literal(), 1 => variable("i")].boxed()),
            1 => tested.prop_map(|(text, test, part)| format!("{text}.{test}({part})")),
            1 => matched.prop_map(|(text, pattern)| format!("{text}.matches('{pattern}')")),
        ]
        .boxed()
    }
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    let one = Grammar::leaves().deeper();
    let two = one.deeper();
    let three = two.deeper();
    prop::collection::vec(prop_oneof![one.truth, two.truth, three.truth], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_compiled_rule_agrees_with_the_interpreter(
        rules in rules(),
        (customer, context, offer) in (values(), values(), values()),
        segment in prop::option::of((select(&INTS[..]), select(&TEXTS[..]))),
    ) {
        let segment = segment.map(|(id, name)| SegmentRef { id, name });
        let row = Row { customer: &customer, context: &context, offer: &offer, segment };
        let sources: Vec<&str> = rules.iter().map(String::as_str).collect();
        let (rules, set) = compile(&sources, &offer);
        let known = Row { offer: &[], ..row };
        let mut memo = RuleMemo::default();
        set.begin(&mut memo);
        for rule in &rules {
            match set.holds(rule, 0, &known, &memo) {
                Some(compiled) => {
                    let interpreted = rule.interpret(&row, &OFFER);
                    prop_assert_eq!(compiled, interpreted, "{} of {:?} on {:?}", rule.source(), sources, row);
                }
                None => prop_assert!(rule.source().contains(" in ["), "{} is left to the interpreter", rule.source()),
            }
        }
    }
}
