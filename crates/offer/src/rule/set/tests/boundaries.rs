//! Rules at their boundaries, compared with exact arithmetic: both forms of a rule give the exact answer.

use std::cmp::Ordering;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const SYMBOLS: [&str; 6] = [">=", "<=", "==", "!=", "<", ">"];

fn holds(symbol: &str, order: Ordering) -> bool {
    match symbol {
        ">=" => order.is_ge(),
        "<=" => order.is_le(),
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        _ => order.is_gt(),
    }
}

/// A decimal with few digits, as people write them: `units` of 10^-`decimals`.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    units: i64,
    decimals: u32,
}

impl Decimal {
    /// As in TOML and CSV, and as CEL reads a float.
    fn text(self) -> String {
        let scale = 10_i64.pow(self.decimals);
        let (whole, part) = (self.units / scale, self.units % scale);
        if self.decimals == 0 {
            format!("{whole}.0")
        } else {
            format!("{whole}.{part:0width$}", width = self.decimals as usize)
        }
    }

    fn feature(self) -> ValueRef<'static> {
        ValueRef::Float(self.text().parse().unwrap())
    }

    fn fraction(self) -> Fraction {
        Fraction { over: self.units.into(), under: 10_i128.pow(self.decimals) }
    }
}

/// An exact fraction; operations return `None` if they overflow.
#[derive(Debug, Clone, Copy)]
struct Fraction {
    over: i128,
    under: i128,
}

impl Fraction {
    fn reduced(over: i128, under: i128) -> Self {
        let (mut a, mut b) = (over.unsigned_abs(), under.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let common = a.max(1).cast_signed() * under.signum();
        Self { over: over / common, under: under / common }
    }

    fn calculate(self, symbol: char, other: Self) -> Option<Self> {
        let Self { over: a, under: b } = self;
        let Self { over: c, under: d } = other;
        let (over, under) = match symbol {
            '+' => (a.checked_mul(d)?.checked_add(c.checked_mul(b)?)?, b.checked_mul(d)?),
            '-' => (a.checked_mul(d)?.checked_sub(c.checked_mul(b)?)?, b.checked_mul(d)?),
            '*' => (a.checked_mul(c)?, b.checked_mul(d)?),
            _ => (a.checked_mul(d)?, b.checked_mul(c)?),
        };
        (under != 0).then(|| Self::reduced(over, under))
    }

    fn approximate(self) -> f64 {
        self.over as f64 / self.under as f64
    }
}

fn answers(rules: &[String], customer: &[ValueRef<'_>]) -> Vec<Result<bool, RuleError>> {
    let row = Row { customer, ..ROW };
    check(&rules.iter().map(String::as_str).collect::<Vec<_>>(), &row)
}

/// A customer with a balance of exactly a share of the limit: each rule about that share, in each form.
fn check_share(share: Decimal, limit: Decimal) {
    let balance = Decimal { units: share.units * limit.units, decimals: share.decimals + limit.decimals };
    // Beyond 32 bits the balance is another number.
    assert!(balance.units < 1 << 24 || balance.units % 10_i64.pow(balance.decimals) == 0, "{balance:?}");
    let customer = [balance.feature(), limit.feature()];
    let p = share.text();
    for symbol in SYMBOLS {
        let expected = Ok(holds(symbol, Ordering::Equal));
        let rules = [
            format!("customer.cf0 {symbol} {p} * customer.cf1"),
            format!("customer.cf0 {symbol} customer.cf1 * {p}"),
            format!("customer.cf0 / customer.cf1 {symbol} {p}"),
            format!("customer.cf0 - {p} * customer.cf1 {symbol} 0"),
            format!("100 * customer.cf0 / customer.cf1 {symbol} {p} * 100.0"),
        ];
        for (rule, answer) in rules.iter().zip(answers(&rules, &customer)) {
            assert_eq!(answer, expected, "{rule} at {customer:?}");
        }
    }
}

#[test]
fn a_rule_about_a_share_holds_at_exactly_that_share() {
    for percent in 1..100 {
        for (units, decimals) in [(1000, 0), (250, 0), (7, 0), (33_333, 2), (19_999, 2), (3, 1), (12_345, 1)]
        {
            check_share(Decimal { units: percent, decimals: 2 }, Decimal { units, decimals });
        }
    }
}

#[test]
fn a_rule_differs_for_neighbouring_values() {
    // The next 32-bit float on each side of the boundary is another balance.
    for percent in 1..100_u16 {
        let boundary = f32::from(percent) * 10.0;
        for (balance, order) in [
            (boundary.next_down(), Ordering::Less),
            (boundary, Ordering::Equal),
            (boundary.next_up(), Ordering::Greater),
        ] {
            let customer = [ValueRef::Float(balance), ValueRef::Float(1000.0)];
            for symbol in SYMBOLS {
                let rule =
                    format!("customer.cf0 {symbol} {}.{:02} * customer.cf1", percent / 100, percent % 100);
                assert_eq!(
                    answers(std::slice::from_ref(&rule), &customer),
                    [Ok(holds(symbol, order))],
                    "{rule} at {balance}"
                );
            }
        }
    }
}

fn decimal(most: i64) -> impl Strategy<Value = Decimal> {
    (1..most, 0_u32..3).prop_map(|(units, decimals)| Decimal { units, decimals })
}

/// A calculation in CEL, with its exact result and the sum of the amounts that it adds up.
#[derive(Debug, Clone)]
struct Calculation {
    text: String,
    value: Option<Fraction>,
    amount: f64,
}

/// The features that calculations read: `cf0` and `cf1` of customer and context.
const FEATURES: [&str; 4] = ["customer.cf0", "customer.cf1", "context.xf0", "context.xf1"];

fn leaf(values: [Decimal; 4]) -> impl Strategy<Value = Calculation> {
    let of = |text: String, value: Decimal| Calculation {
        text,
        value: Some(value.fraction()),
        amount: value.fraction().approximate(),
    };
    prop_oneof![
        (0_usize..4).prop_map(move |index| of(FEATURES[index].to_owned(), values[index])),
        decimal(1000).prop_map(move |value| of(value.text(), value)),
    ]
}

fn calculation(values: [Decimal; 4]) -> impl Strategy<Value = Calculation> {
    let pair = |symbol: char, left: &Calculation, right: &Calculation| Calculation {
        text: format!("({} {symbol} {})", left.text, right.text),
        value: left.value.zip(right.value).and_then(|(left, right)| left.calculate(symbol, right)),
        amount: match symbol {
            '+' | '-' => left.amount + right.amount,
            '*' => left.amount * right.amount,
            _ => left.amount / right.amount,
        },
    };
    leaf(values).prop_recursive(3, 6, 2, move |inner| {
        prop_oneof![
            3 => (inner.clone(), select(vec!['+', '-', '*']), inner.clone())
                .prop_map(move |(left, symbol, right)| pair(symbol, &left, &right)),
            1 => (inner, leaf(values)).prop_map(move |(left, right)| pair('/', &left, &right)),
        ]
    })
}

fn calculations() -> impl Strategy<Value = ([Decimal; 4], Calculation, Calculation, Decimal)> {
    [decimal(10_000), decimal(10_000), decimal(100), decimal(10)]
        .prop_flat_map(|values| (Just(values), calculation(values), calculation(values), decimal(100)))
}

fn compare(values: [Decimal; 4], left: &str, right: &str, order: Ordering) -> Result<(), TestCaseError> {
    let [c0, c1, x0, x1] = values.map(Decimal::feature);
    let (customer, context) = ([c0, c1], [x0, x1]);
    let row = Row { customer: &customer, context: &context, ..ROW };
    let rules: Vec<String> = SYMBOLS.iter().map(|symbol| format!("{left} {symbol} {right}")).collect();
    let answers = check(&rules.iter().map(String::as_str).collect::<Vec<_>>(), &row);
    for ((symbol, rule), answer) in SYMBOLS.iter().zip(&rules).zip(answers) {
        prop_assert_eq!(answer, Ok(holds(symbol, order)), "{} at {:?}", rule, row);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_comparison_agrees_with_exact_arithmetic((values, left, right, _) in calculations()) {
        let (Some(a), Some(b)) = (left.value, right.value) else { return Ok(()) };
        let Some(difference) = a.calculate('-', b) else { return Ok(()) };
        // Results closer than 64-bit precision count as equal; either order would be right.
        let told_apart = difference.approximate().abs() > 1e-13 * (left.amount + right.amount);
        prop_assume!(difference.over == 0 || told_apart);
        compare(values, &left.text, &right.text, difference.over.cmp(&0))?;
    }

    #[test]
    fn two_ways_to_calculate_the_same_are_equal((values, left, right, number) in calculations()) {
        let (a, b, n) = (&left.text, &right.text, number.text());
        prop_assume!(left.value.is_some() && right.value.is_some());
        for (one, other) in [
            (format!("({a} + {b}) * {n}"), format!("{a} * {n} + {n} * {b}")),
            (format!("({a} - {b}) / {n}"), format!("{a} / {n} - {b} / {n}")),
            (format!("{a} + {b} - {a}"), format!("{b} * 1.0")),
            (format!("{a} * 0.07 + {a} * 0.93"), a.clone()),
            (format!("{a} / 3.0 + {a} / 3.0 + {a} / 3.0"), a.clone()),
            (format!("-({a} - {b})"), format!("{b} - {a}")),
        ] {
            compare(values, &one, &other, Ordering::Equal)?;
        }
    }

    #[test]
    fn a_comparison_with_a_literal_is_that_of_the_decimals(
        feature in decimal(1 << 20), near in -20_i64..20, decimals in 0_u32..6,
    ) {
        // Digits behind those of the feature, which 32 bits would round away.
        let written = Decimal {
            units: feature.units * 10_i64.pow(decimals) + near,
            decimals: feature.decimals + decimals,
        };
        prop_assume!(written.units > 0);
        let customer = [feature.feature()];
        for symbol in SYMBOLS {
            let expected = holds(symbol, 0.cmp(&near));
            let rule = format!("customer.cf0 {symbol} {}", written.text());
            let found = answers(std::slice::from_ref(&rule), &customer);
            prop_assert_eq!(found, [Ok(expected)], "{} at {:?}", rule, feature);
        }
    }
}
