//! Random rows against what the definitions say, customer by customer.

use proptest::prelude::*;
use statistics::{Difference, Measure, Sums, Unit};

use super::*;

/// Every metric by its definition: (customers, numerator, denominator) of an arm.
fn naive(memory: &Memory, variant: &str, id: &str) -> (u64, f64, f64) {
    let drawn = |decided: &&Decided| {
        let is_drawn = |(_, phase, how): &(String, u64, u32)| *phase == PHASE && *how == 1;
        !decided.customer.is_empty() && decided.arm.as_ref().is_some_and(is_drawn)
    };
    let mut by_customer: BTreeMap<&str, Vec<&Decided>> = BTreeMap::new();
    for decided in memory.decided.iter().filter(drawn) {
        by_customer.entry(&decided.customer).or_default().push(decided);
    }
    let (mut n, mut part, mut size) = (0, 0.0, 0.0);
    for decisions in by_customer.values() {
        let first = decisions.iter().min_by_key(|decided| decided.at).unwrap();
        if first.arm.as_ref().unwrap().0 != variant {
            continue;
        }
        n += 1;
        let mut events = BTreeSet::new();
        let mut rows: Vec<&Happened> = memory
            .happened
            .iter()
            .filter(|happened| decisions.iter().any(|decided| decided.id == happened.decision))
            .collect();
        rows.sort_by_key(|happened| date_of(happened.at));
        rows.retain(|happened| events.insert(&happened.event));
        rows.retain(|happened| !happened.late);
        let count = |kind: &str| rows.iter().filter(|happened| happened.kind == kind).count() as f64;
        let any = |kind: &str| f64::from(u8::from(count(kind) > 0.0));
        let sum = |kinds: &[&str], amount: &dyn Fn(&Happened) -> f64| -> f64 {
            let of = rows.iter().filter(|happened| kinds.contains(&happened.kind.as_str()));
            of.map(|happened| amount(happened)).sum()
        };
        let share = |holds: &dyn Fn(&Decided) -> bool| {
            decisions.iter().filter(|decided| holds(decided)).count() as f64
        };
        let (of_decisions, one) = (decisions.len() as f64, 1.0);
        let offers: BTreeSet<&String> = decisions.iter().flat_map(|decided| &decided.offers).collect();
        let came_back = |decided: &&&Decided| (DAY..=28 * DAY).contains(&(decided.at - first.at));
        let weight = |kind: &str| match kind {
            "accept" | "convert" => 1.0,
            "click" => 0.5,
            "opt_out" | "complaint" => -1.0,
            _ => 0.0,
        };
        let reactions = ["accept", "convert", "click", "opt_out", "complaint"];
        let (above, below) = match id {
            "acceptance" => (any("accept"), one),
            "conversion" => (any("convert"), one),
            "complaint_rate" => (any("complaint"), one),
            "opt_out_rate" => (any("opt_out"), one),
            "engagement" => (count("click"), count("impression")),
            "revenue_per_customer" => (sum(&["accept", "convert"], &|row: &Happened| row.value), one),
            "revenue_per_decision" => {
                (sum(&["accept", "convert"], &|row: &Happened| row.value), of_decisions)
            }
            "value_per_customer" => (5.0 * count("accept"), one),
            "value_per_decision" => (5.0 * count("accept"), of_decisions),
            "margin_per_customer" => (4.0 * count("accept"), one),
            "margin_per_decision" => (4.0 * count("accept"), of_decisions),
            "coverage" => {
                let shows = |decided: &Decided| decided.offers.len() > usize::from(decided.has_fallback);
                (share(&shows), of_decisions)
            }
            "slow_share" => {
                let is_slow =
                    |decided: &Decided| f64::from(decided.call[0]) / f64::from(decided.call[1]) > 10_000.0;
                (share(&is_slow), of_decisions)
            }
            "diversity" => (offers.len() as f64, one),
            "retention" => (f64::from(u8::from(decisions.iter().filter(came_back).count() > 0)), one),
            "relevance" => {
                (sum(&reactions, &|row: &Happened| weight(&row.kind)), reactions.map(count).iter().sum())
            }
            other => panic!("no definition of {other}"),
        };
        part += above;
        size += below;
    }
    (n, part, size)
}

fn any_decided() -> impl Strategy<Value = Decided> {
    let who = (0_u8..14, 0_i64..5 * DAY, prop::sample::select(vec!["home", "card"]));
    let what = (prop::collection::vec(0_u8..4, 0..3), any::<bool>(), [9_000_u32..32_000, 1..4]);
    let arm = prop_oneof![
        8 => Just((PHASE, 1_u32)),
        1 => Just((PHASE, 2)),
        1 => Just((8, 1)),
    ];
    (who, what, arm, 0_u8..20).prop_map(
        |((customer, at, placement), (mut offers, fallback, call), arm, cross)| {
            offers.sort_unstable();
            offers.dedup();
            // Most stay in their arm.
            let variant = if (customer % 2 == 0) == (cross > 0) { "control" } else { "b" };
            Decided {
                at: START + at,
                id: String::new(),
                server: "s1".to_owned(),
                placement: placement.to_owned(),
                customer: if customer == 13 { String::new() } else { format!("C{customer}") },
                key: String::new(),
                segment: Some(i64::from(customer % 3)),
                has_fallback: fallback && !offers.is_empty(),
                offers: offers.into_iter().map(|offer| format!("o{offer}")).collect(),
                call,
                arm: Some((variant.to_owned(), arm.0, arm.1)),
            }
        },
    )
}

prop_compose! {
    fn any_memory()(
        decided in prop::collection::vec(any_decided(), 1..60),
    )(
        happened in prop::collection::vec(
            (0..decided.len(), 0_u8..40, 0_usize..6, 0_i64..4 * DAY, 0_u8..50, any::<bool>()), 0..80,
        ),
        decided in Just(decided),
    ) -> Memory {
        let mut memory = Memory::default();
        for (number, mut decided) in decided.into_iter().enumerate() {
            decided.id = format!("d{number}");
            // No two at the same time, so that there is a first one.
            decided.at = decided.at / 100 * 100 + number as i64;
            memory.decided.push(decided);
        }
        for (number, (of, event, kind, after, value, is_late)) in happened.into_iter().enumerate() {
            let kinds = ["impression", "click", "accept", "convert", "opt_out", "complaint"];
            // Reports of an outcome with the same id are the same outcome.
            let event = if event < 3 { format!("twice{event}-{of}") } else { format!("e{number}") };
            // Those of a day at the same time, since the first that is read counts.
            let after = if event.starts_with("twice") { after / DAY * DAY + 1 } else { after };
            let at = memory.decided[of].at + after;
            let (kind, value, late) = match event.strip_prefix("twice") {
                Some(_) => ("click", 1, false),
                None => (kinds[kind], value, is_late && value > 40),
            };
            let happened = memory.happen(&event, kind, &format!("d{of}"), at);
            (happened.value, happened.late, happened.after) = (f64::from(value), late, after);
        }
        memory
    }
}

/// Customers, numerator and denominator.
type Sum = (u64, f64, f64);

/// The sums of all metrics in both arms, whatever else a report has.
fn sums(report: &ExperimentReport) -> Vec<(String, Vec<Sum>)> {
    let of = |metric: &MetricResult| {
        let arms = metric.arms.iter().map(|arm| (arm.n, arm.numerator, arm.denominator)).collect();
        (metric.metric.clone(), arms)
    };
    report.metrics.iter().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sums_are_what_the_definitions_say(memory in any_memory()) {
        let report = Asked::of("conversion").with_all_others().report(&memory);
        for metric in &report.metrics {
            for (arm, variant) in metric.arms.iter().zip(["control", "b"]) {
                let (n, part, mut size) = naive(&memory, variant, &metric.metric);
                if n == 0 {
                    size = 0.0;
                }
                prop_assert_eq!(arm.n, n, "{}", &metric.metric);
                prop_assert!((arm.numerator - part).abs() < 1e-9, "{} {} {}", metric.metric, arm.numerator, part);
                prop_assert!((arm.denominator - size).abs() < 1e-9, "{} {}", metric.metric, size);
            }
        }
        let all: u64 = report.arms.iter().map(|arm| arm.customers).sum();
        let exposed: u64 = report.exposure.iter().flat_map(|day| &day.new).sum();
        prop_assert_eq!(all, exposed);
    }

    /// Servers have what came to them: in which order their rows are read changes nothing.
    #[test]
    fn shards_merged_are_the_whole(memory in any_memory(), seed in any::<u64>()) {
        let key = |number: usize| (number as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        let mut turned = memory.clone();
        let mut numbered: Vec<(usize, Decided)> = turned.decided.drain(..).enumerate().collect();
        numbered.sort_by_key(|(number, _)| (key(*number), std::cmp::Reverse(*number)));
        turned.decided = numbered.into_iter().map(|(_, decided)| decided).collect();
        let mut numbered: Vec<(usize, Happened)> = turned.happened.drain(..).enumerate().collect();
        numbered.sort_by_key(|(number, _)| (key(*number), std::cmp::Reverse(*number)));
        turned.happened = numbered.into_iter().map(|(_, happened)| happened).collect();
        let asked = Asked::of("revenue_per_customer").with_all_others();
        let (whole, merged) = (asked.report(&memory), asked.report(&turned));
        prop_assert_eq!(sums(&whole), sums(&merged));
        prop_assert_eq!(whole, merged);
    }
}

/// Money with cents in, over days: taking customers out and putting them in again leaves what their sums are.
#[test]
fn effects_are_those_of_sums_over_customers() {
    let mut memory = Memory::default();
    let mut sums = [Sums::default(); 2];
    for number in 0..1_000_i64 {
        let (arm, id) = ((number % 2) as usize, format!("C{number}"));
        memory.decide(&id, &id, ["control", "b"][arm], START + number);
        let mut part = 0.0;
        for time in 0..number % 5 {
            let value = ((number * 37 + time * 11) % 997) as f64 / 100.0;
            memory.happen(&format!("{id}-{time}"), "accept", &id, START + (1 + time) * DAY).value = value;
            part += value;
        }
        sums[arm].add(Unit { part, size: 1.0, before: 0.0 });
    }
    let asked = Asked::of("revenue_per_customer").with_guardrail("conversion", 0.1);
    let report = asked.report(&memory);
    let [control, challenger] = sums.map(|sums| sums.estimate(Measure::Mean).unwrap());
    let expected = Difference::of(&control, &challenger).unwrap();
    let alpha = 0.05 / 2.0;
    let effect = primary(&report).effect.as_ref().unwrap();
    near(effect.delta, expected.delta);
    let (sequence, fixed) = (expected.sequence(alpha, 5_000), expected.fixed(alpha));
    near(effect.sequence.low, sequence.interval.low);
    near(effect.fixed.high, fixed.interval.high);
    near(effect.fixed_p, fixed.p);
    assert!(effect.over_time.len() >= 4 && effect.sequence_p <= sequence.p);
    let last = effect.over_time.last().unwrap();
    assert_eq!(last.delta.to_bits(), effect.delta.to_bits());
    assert!(report.metrics[1].comparisons[0].hidden.contains("0 of the 25"));
}
