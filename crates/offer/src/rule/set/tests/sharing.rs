//! A part shared by rules is one node, which is computed at most once per customer.

use super::*;

/// How many shared nodes are computed if each rule is evaluated twice for one customer.
fn computed(sources: &[&str]) -> usize {
    let (rules, set) = compile(sources, &OFFERED);
    let mut memo = RuleMemo::default();
    set.begin(&mut memo);
    for rule in rules.iter().chain(&rules) {
        assert!(set.holds(rule, 0, &ROW, &memo).is_some());
    }
    memo.computed.get()
}

#[test]
fn a_part_shared_by_several_rules_is_computed_once() {
    assert_eq!(computed(&["customer.ci0 * 2 > 7 && customer.cb0"]), 0, "nothing is shared");
    let sources = [
        "customer.cs0.matches('^gold') && customer.ci0 > 30",
        "customer.cb0 && customer.cs0.matches('^gold')",
        "customer.cb1 || (customer.cs0.matches('^gold') && customer.cf0 < 1.0)",
    ];
    assert_eq!(computed(&sources), 1);
}

#[test]
fn equivalent_parts_are_one_node() {
    for pair in [
        ["customer.cf0 > 1.0", "1 < customer.cf0"],
        ["customer.ci0 >= 12", "customer.ci0 >= offer.oi0"],
        ["customer.ci0 > 1", "customer.ci0 > 1 && offer.value > 1.0"],
        ["customer.ci0 == 7", "customer.ci0 != 7"],
        ["customer.cs0 == 'a'", "customer.cs0 in ['a', 'b']"],
        ["customer.cs0 == 'a' || customer.cs0 == 'b'", "customer.cs0 in ['a', 'b']"],
        [
            "customer.cb0 && (customer.ci0 > 1 && has(customer.cf0))",
            "(customer.cb0 && customer.ci0 > 1) && has(customer.cf0)",
        ],
    ] {
        assert_eq!(computed(&pair), 1, "{pair:?}");
    }
}

#[test]
fn unneeded_parts_are_not_computed() {
    let sources =
        ["customer.cb1 && customer.ci0 * 2 > 7", "customer.ci0 * 2 > 7 && false", "customer.ci0 * 2 > 7"];
    let (rules, set) = compile(&sources, &OFFERED);
    let mut memo = RuleMemo::default();
    set.begin(&mut memo);
    for rule in &rules[..2] {
        assert_eq!(set.holds(rule, 0, &ROW, &memo), Some(Ok(false)));
    }
    assert_eq!(memo.computed.get(), 0);
    assert_eq!(set.holds(&rules[2], 0, &ROW, &memo), Some(Ok(true)));
    assert_eq!(memo.computed.get(), 1);
}

#[test]
fn the_next_customer_gets_their_own_answers() {
    let (rules, set) = compile(&["customer.ci0 > 30", "!(customer.ci0 > 30)"], &OFFERED);
    let mut memo = RuleMemo::default();
    for age in [40, 20, 40] {
        set.begin(&mut memo);
        let customer = [ValueRef::Missing, ValueRef::Missing, ValueRef::Int(age)];
        let row = Row { customer: &customer, ..ROW };
        assert_eq!(set.holds(&rules[0], 0, &row, &memo), Some(Ok(age > 30)));
        assert_eq!(set.holds(&rules[1], 0, &row, &memo), Some(Ok(age <= 30)));
    }
    assert_eq!(memo.computed.get(), 3);
}
