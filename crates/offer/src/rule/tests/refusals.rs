//! The messages about wrong rules, and the texts that must never reach the parser.

use super::{evaluate, schema};
use crate::Rule;

fn messages(source: &str) -> Vec<String> {
    match Rule::compile(source, &schema()) {
        Ok(rule) => panic!("{rule:?} is accepted"),
        Err(problems) => problems.into_iter().map(|problem| problem.message).collect(),
    }
}

/// Checks that each rule is refused with its one message.
fn check(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(messages(source), [*expected], "{source}");
    }
}

#[test]
fn an_unknown_name_is_refused_with_a_suggestion() {
    check(&[
        (
            "customer.balanse > 1",
            "unknown feature `customer.balanse`, not in the feature schema; did you mean `balance`?",
        ),
        ("customer.month > 1", "`month` is a feature of the context; write `context.month`"),
        ("context.fee > 1", "`fee` is a feature of the offer; write `offer.fee`"),
        (
            "customer.mnth > 1",
            "unknown feature `customer.mnth`, not in the feature schema; did you mean `context.month`?",
        ),
        ("customer.weight > 1", "`weight` is a field of the offer; write `offer.weight`"),
        ("offer.valu > 1", "unknown feature `offer.valu`, not in the feature schema; did you mean `value`?"),
        (
            "segment.nam == 'x'",
            "unknown field `segment.nam`, a segment has `id` and `name`; did you mean `name`?",
        ),
        ("balance > 1", "unknown variable `balance`; did you mean `customer.balance`?"),
        (
            "custmer.balance > 1",
            "unknown variable `custmer`; rules know customer, context, offer, segment; did you mean `customer`?",
        ),
        (
            "customer.tier == gold",
            "unknown variable `gold`; rules know customer, context, offer, segment; text needs quotes",
        ),
        ("segment == 3", "`segment` is not a value; name one of its fields, as in `segment.id`"),
        ("customer.tier.x == 3", "a value has no field `x`; variables are `scope.name`"),
    ]);
}

#[test]
fn a_type_that_does_not_fit_is_named() {
    check(&[
        (
            "customer.balance == '3'",
            "`==` cannot compare the float `customer.balance` with the string \"3\"; numbers are written \
             without quotes, text with",
        ),
        (
            "customer.tier > 3",
            "`>` cannot compare the string `customer.tier` with the int 3; numbers are written without quotes, \
             text with",
        ),
        (
            "customer.has_card == 1",
            "`==` cannot compare the bool `customer.has_card` with the int 1; compare values of one type",
        ),
        ("customer.has_card < true", "`<` orders numbers or text, not true and false; use `==` or `!=`"),
        (
            "customer.balance && true",
            "`&&` joins conditions, and one side is the float `customer.balance`; compare it with something",
        ),
        (
            "true || customer.tier",
            "`||` joins conditions, and one side is the string `customer.tier`; compare it with something",
        ),
        ("!customer.age", "`!` negates a condition, not the int `customer.age`; compare it with something"),
        (
            "customer.age ? true : false",
            "`?` follows a condition, not the int `customer.age`; compare it with something",
        ),
        ("true ? true : 1", "`? :` chooses between the bool true and the int 1; give both one type"),
        (
            "customer.tier + 'x' == 'y'",
            "`+` calculates with numbers, and one side is the string `customer.tier`",
        ),
        (
            "customer.balance % 2 == 1",
            "`%` calculates with whole numbers, and one side is the float `customer.balance`",
        ),
        ("-customer.tier == 'x'", "`-` takes a number, not the string `customer.tier`"),
        (
            "customer.age in 3",
            "`in` needs a list to its right, as in `customer.tier in [\"gold\", \"black\"]`",
        ),
        ("customer.age in []", "the list to the right of `in` is empty"),
        (
            "customer.age in [1, 'x']",
            "`in` compares the int `customer.age` with values of the same type, but the list has the string \"x\"",
        ),
        ("[1] == 1", "a list can only stand to the right of `in`"),
        ("customer.tier[0] == 'x'", "`[…]` behind a value is not supported in rules"),
        ("has(customer)", "`has` takes one field, as in `has(customer.balance)`"),
        (
            "has(customer.nothing_like_it)",
            "unknown feature `customer.nothing_like_it`, not in the feature schema",
        ),
        ("size(customer.age) == 1", "`size` takes text, not the int `customer.age`"),
        ("size([1]) == 1", "the size of a written list is constant; write the number"),
        ("size() == 1", "`size` takes one text, as in `size(customer.name)`"),
        ("customer.tier.startsWith(1)", "`startsWith` takes text, not the int 1"),
        ("customer.age.contains('x')", "`contains` takes text, not the int `customer.age`"),
        (
            "startsWith(customer.tier, 'x')",
            "`startsWith` is called on a text and takes one, as in `customer.tier.startsWith(\"gold\")`",
        ),
        ("customer.tier.matches('(')", "\"(\" is not a regular expression: unclosed group"),
        (
            "customer.tier.matches('a{9000}{9000}')",
            "\"a{9000}{9000}\" is not a regular expression: Compiled regex exceeds size limit of 1048576 bytes.",
        ),
        (
            "customer.tier.matches(customer.tier)",
            "`matches` takes a pattern in quotes, so that it is checked and compiled once",
        ),
    ]);
}

#[test]
fn unsupported_constructs_are_refused_by_name() {
    check(&[
        ("customer.tier.startWith('x')", "unknown function `startWith`; did you mean `startsWith`?"),
        (
            "frobnicate(1)",
            "`frobnicate` is not supported in rules; they know has, size, startsWith, endsWith, contains, matches",
        ),
        ("[1].exists(x, x > 0)", "`exists` is not supported in rules; use `in`, or join the cases with `||`"),
        (
            "timestamp('2026-01-01T00:00:00Z') > 1",
            "`timestamp` is not supported in rules; put dates into valid_from and valid_until",
        ),
        ("int(customer.balance) == 1", "`int` is not supported in rules; numbers mix without it"),
        ("{'a': 1} == 1", "maps are not supported in rules"),
        ("Offer{id: 1} == 1", "messages are not supported in rules"),
        ("customer.tier == b'x'", "bytes are not supported in rules; write the text without b"),
        ("customer.age == 3u", "unsigned numbers are not supported in rules; write 3 without u"),
        ("customer.age == null", "null is not supported in rules; test a value with `has(customer.x)`"),
        ("customer.balance < 1e300", "1e300 is beyond a 32-bit float; write a smaller number"),
        (
            "customer.balance",
            "a rule is true or false, and this is the float `customer.balance`; compare it with something",
        ),
        ("customer.age + 1", "a rule is true or false, and this is an int; compare it with something"),
    ]);
}

#[test]
fn syntax_errors_are_refused_with_a_hint() {
    check(&[
        ("customer.age = 3", "not a CEL expression: unexpected `=`; compare with `==`"),
        ("customer.has_card and true", "not a CEL expression: unexpected `and`; write `&&`"),
        ("customer.age >", "not a CEL expression: it ends too early"),
        ("", "not a CEL expression: it ends too early"),
        ("true\n é) && for", "not a CEL expression: unexpected `é`"),
        ("true\n) || é", "not a CEL expression: unexpected `)`"),
        ("for == 1", "not a CEL expression: reserved identifier: for"),
        ("99999999999999999999 == 1", "not a CEL expression: invalid int literal"),
        ("customer.tier == 'x", "a string is not closed; end it with the quote it begins with"),
        (
            "customer.tier.matches('\\d')",
            "unknown escape in a string; write \\\\ for a backslash, or r\"…\" for a pattern",
        ),
        ("customer.`tier` == 'x'", "names in backquotes are not supported in rules"),
    ]);
}

#[test]
fn all_types_and_names_that_are_wrong_are_reported_with_their_place() {
    let source = "customer.balanse > 1 &&\n  (customer.tier > 3 ||\n   é.x == 1)";
    let problems =
        Rule::compile("customer.balanse > 1 &&\n (customer.tier > 3 ||\n  has(offer.x))", &schema())
            .unwrap_err();
    let places: Vec<(usize, usize)> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(1, 9), (2, 17), (3, 12)]);
    let problems = Rule::compile(source, &schema()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].line, 3);
}

#[test]
fn deeply_nested_texts_never_reach_the_parser() {
    let nested = |levels: usize| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
    let chain = |terms: usize| format!("{}1 > 0", "1 + ".repeat(terms));
    let branches = |count: usize| format!("{}true", "true ? true : ".repeat(count));
    for deep in [
        nested(1_000),
        nested(65),
        chain(70),
        branches(65),
        format!("{}true", "!(".repeat(1_000)),
        format!("customer{} > 1", ".x".repeat(1_000)),
        format!("customer.x{} > 1", "[0]".repeat(200)),
        format!("1{}", " in 1".repeat(200)),
        format!("'\\'' == '{}", "(".repeat(1_000)),
        format!("\"{}", "(".repeat(1_000)),
    ] {
        let found = messages(&deep).join("\n");
        assert!(found.contains("at most 64 levels deep") || found.contains("not closed"), "{found}");
    }
    assert!(messages(&nested(10_000))[0].starts_with("a rule may have at most 4096 bytes, not 20004"));
    for valid in [
        nested(64),
        chain(60),
        branches(60),
        format!("{}true", "customer.age > 1 && ".repeat(200)),
        format!("customer.age in [{}1]", "1, ".repeat(1_000)),
        format!("customer.tier == '{}'", "(.+".repeat(1_000)),
        format!("customer.tier == r'''{}'''", "\\(\n".repeat(1_000)),
        "((((".replace('(', "(customer.age > 1 && ") + "true))))",
    ] {
        assert!(evaluate(&valid).is_ok(), "{valid}");
    }
}

#[test]
fn the_deepest_rules_fit_half_the_stack_of_a_thread() {
    let deepest = [
        format!("{}true{}", "!(".repeat(32), ")".repeat(32)),
        format!("{}true", "true ? true : ".repeat(63)),
        format!("{}1 > 0", "1 + ".repeat(62)),
        format!("{}1{} > 0", "(1 + ".repeat(31), ")".repeat(31)),
    ];
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let run = thread.spawn(move || deepest.iter().all(|source| evaluate(source).is_ok())).unwrap();
    assert!(run.join().unwrap());
}
