//! Integer quotients combined with floats: the rule keeps its meaning, and a warning says what to write.

use super::*;

fn warnings(source: &str) -> Vec<String> {
    let rule = Rule::compile(source, &schema()).unwrap_or_else(|problems| panic!("{source}: {problems:?}"));
    rule.warnings().iter().map(|warning| warning.message.clone()).collect()
}

#[test]
fn a_quotient_without_decimals_is_reported_with_the_form_to_write() {
    for (source, form) in [
        ("customer.age / context.month >= 0.5", "customer.age * 1.0 / context.month"),
        ("0.5 <= customer.age / context.month", "customer.age * 1.0 / context.month"),
        ("(customer.age / context.month) == customer.balance", "customer.age * 1.0 / context.month"),
        ("customer.age / context.month * 100.0 > 50", "customer.age * 1.0 / context.month"),
        ("1 + customer.age / 12 > 1.5", "customer.age * 1.0 / 12"),
        ("1 - -(customer.age / 12) > 1.5", "customer.age * 1.0 / 12"),
        ("(customer.has_card ? customer.age / 12 : 0) > 0.5", "customer.age * 1.0 / 12"),
        ("(customer.has_card ? customer.age / 12 : 0.5) > 0.2", "customer.age * 1.0 / 12"),
        ("customer.age / 12 in [0.5, 1.5]", "customer.age * 1.0 / 12"),
        ("customer.balance in [1, customer.age / 12]", "customer.age * 1.0 / 12"),
        ("(customer.age + 1) / (context.month - 1) > 0.5", "(customer.age + 1) * 1.0 / (context.month - 1)"),
        ("size(customer.tier) / 2 > 2.5", "size(customer.tier) * 1.0 / 2"),
        ("customer.age * (7 / 2) > 140.0", "7 * 1.0 / 2"),
    ] {
        let found = warnings(source);
        assert_eq!(found.len(), 1, "{source}: {found:?}");
        assert!(found[0].ends_with(&format!("write `{form}`")), "{source}: {found:?}");
        // The suggested form is valid and has no warning.
        assert_eq!(warnings(&format!("{form} > 0.5")), [""; 0], "{form}");
    }
}

#[test]
fn a_quotient_that_stays_an_int_has_no_warning() {
    for source in [
        "customer.age / 12 >= 1",
        "customer.age / context.month == 3",
        "customer.age / 10 * 10 == customer.age",
        "customer.age / 12.0 >= 0.5",
        "customer.balance / 12 >= 0.5",
        "customer.age * (12 / 4) > 140.5",
        "customer.age / 12 > 1 && customer.balance > 0.5",
        "customer.age / 12 in [1, 2]",
    ] {
        assert_eq!(warnings(source), [""; 0], "{source}");
    }
}

#[test]
fn a_warning_is_placed_at_the_division_and_changes_nothing() {
    let source = "customer.age > 1 &&\ncustomer.age / context.month >= 0.5";
    let rule = Rule::compile(source, &schema()).unwrap();
    assert_eq!(rule.warnings()[0].line, 2);
    let row = |age| [ValueRef::Missing, ValueRef::Int(age)];
    assert_eq!(evaluate_for(source, &row(6)), Ok(false), "6 / 7 is 0");
    assert_eq!(evaluate_for(source, &row(7)), Ok(true));
}
