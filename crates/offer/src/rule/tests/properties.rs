//! Properties of every text and every rule.

use proptest::prelude::*;

use super::{OFFER, evaluate_for, schema};
use crate::Rule;
use feature::{Row, ValueRef};

/// Text that resembles a rule.
fn tokens() -> impl Strategy<Value = String> {
    const TOKENS: [&str; 52] = [
        "customer",
        "context",
        "offer",
        "segment",
        ".",
        "balance",
        "age",
        "tier",
        "has_card",
        "month",
        "fee",
        "id",
        "name",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&&",
        "||",
        "!",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "?",
        ":",
        "in",
        "has",
        "size",
        "matches",
        "startsWith",
        "exists",
        "1",
        "2.5",
        "0x1",
        "1u",
        "'a'",
        "\"b\\n\"",
        "r'\\d'",
        "b'x'",
        "null",
        "true",
    ];
    prop::collection::vec((prop::sample::select(&TOKENS[..]), prop_oneof![Just(""), Just(" ")]), 0..40)
        .prop_map(|words| words.into_iter().flat_map(|(word, space)| [word, space]).collect())
}

/// Text that nests, hides nesting or resembles either, far more often than in [`tokens`].
const NESTING: [&str; 24] = [
    "(", "(", "(", ")", "[", "]", "{", "}", "!", "-", "1+", "1", ".x", "?", ":", "&&", ",", "in ", "'", "\"",
    "'''", "r'", "\\", "//",
];

/// A comparison with the result of Rust; `age` and `balance` are the customer's.
fn comparison(age: i64, balance: f32) -> impl Strategy<Value = (String, bool)> {
    let against = |symbol: &str, left: f64, right: f64| match symbol {
        "<" => left.lt(&right),
        "<=" => left.le(&right),
        ">" => left.gt(&right),
        ">=" => left.ge(&right),
        "==" => left.eq(&right),
        _ => left.ne(&right),
    };
    let symbol = || prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    prop_oneof![
        (symbol(), -5i64..5).prop_map(move |(symbol, number)| {
            (format!("customer.age {symbol} {number}"), against(symbol, age as f64, number as f64))
        }),
        (symbol(), -5i64..5).prop_map(move |(symbol, number)| {
            (
                format!("{number} {symbol} customer.balance"),
                against(symbol, number as f64, f64::from(balance)),
            )
        }),
        (symbol(), -50i32..50).prop_map(move |(symbol, tenths)| {
            let number = f64::from(tenths) / 10.0;
            let expected = against(symbol, f64::from(balance), f64::from(number as f32));
            (format!("customer.balance {symbol} {number:.1}"), expected)
        }),
        (symbol(), Just(())).prop_map(move |(symbol, ())| {
            let rule = format!("customer.age * 2 {symbol} customer.balance + 0.5");
            (rule, against(symbol, (age * 2) as f64, f64::from(balance) + 0.5))
        }),
        (symbol(), -1i64..5).prop_map(move |(symbol, number)| {
            // The other side decides: a missing value beside `false &&` does not matter.
            let rule =
                format!("has(customer.unknown) && customer.unknown > 1.0 || customer.age {symbol} {number}");
            (rule, against(symbol, age as f64, number as f64))
        }),
    ]
}

fn conditions() -> impl Strategy<Value = (i64, f32, String, bool)> {
    (-5i64..5, (-50i32..50).prop_map(|tenths| (f64::from(tenths) / 10.0) as f32)).prop_flat_map(
        |(age, balance)| {
            let leaf = comparison(age, balance);
            let tree = leaf.prop_recursive(4, 16, 2, |inner| {
                prop_oneof![
                    (inner.clone(), inner.clone())
                        .prop_map(|((a, x), (b, y))| (format!("({a}) && ({b})"), x && y)),
                    (inner.clone(), inner.clone())
                        .prop_map(|((a, x), (b, y))| (format!("({a}) || ({b})"), x || y)),
                    inner.clone().prop_map(|(a, x)| (format!("!({a})"), !x)),
                    (inner.clone(), inner)
                        .prop_map(|((a, x), (b, y))| (format!("({a}) ? ({b}) : !({b})"), x == y)),
                ]
            });
            tree.prop_map(move |(source, expected)| (age, balance, source, expected))
        },
    )
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_panic(source in ".{0,200}") {
        let _ = Rule::compile(&source, &schema());
    }

    #[test]
    fn no_sequence_of_tokens_makes_the_compiler_or_the_interpreter_panic(source in tokens()) {
        if let Ok(rule) = Rule::compile(&source, &schema()) {
            let row = Row { customer: &[], context: &[], offer: &[], segment: None };
            let _ = rule.interpret(&row, &OFFER);
        }
    }

    #[test]
    fn nothing_that_nests_exhausts_the_stack(
        parts in prop::collection::vec(prop::sample::select(&NESTING[..]), 0..1_500),
    ) {
        let _ = Rule::compile(&parts.concat(), &schema());
    }

    #[test]
    fn a_rule_agrees_with_the_same_condition_in_rust((age, balance, source, expected) in conditions()) {
        let customer =
            [ValueRef::Float(balance), ValueRef::Int(age), ValueRef::Missing, ValueRef::Missing, ValueRef::Missing];
        prop_assert_eq!(evaluate_for(&source, &customer), Ok(expected), "{}", source);
    }
}
