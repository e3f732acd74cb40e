//! Who is in which arm, and what counts of it.

use super::*;
use crate::report::VerdictWord;

/// (customers, decisions, outcomes) of both arms.
fn counts(report: &ExperimentReport) -> [(u64, u64, u64); 2] {
    [0, 1].map(|arm| {
        let arm = &report.arms[arm];
        (arm.customers, arm.decisions, arm.outcomes)
    })
}

#[test]
fn a_customer_counts_in_their_first_arm_whatever_they_see_later() {
    let mut memory = Memory::default();
    // Rows of a day have no order: the later one comes first.
    memory.decide("d2", "C1", "b", START + 2);
    memory.decide("d1", "C1", "control", START + 1);
    memory.decide("d3", "C1", "b", START + DAY);
    memory.decide("d4", "C2", "b", START + 5);
    memory.happen("o1", "convert", "d3", START + DAY + 9);
    let report = Asked::of("conversion").report(&memory);
    assert_eq!(counts(&report), [(1, 3, 1), (1, 1, 0)]);
    assert_eq!(report.left_out.crossed_customers, 1);
    let values: Vec<f64> = report.metrics[0].arms.iter().map(|arm| arm.numerator).collect();
    assert_eq!(values, [1.0, 0.0]);
    assert!(report.warnings.iter().any(|warning| warning.contains("more than one arm")));
    let exposed: Vec<_> =
        report.exposure.iter().map(|day| (day.day.as_str(), day.new.clone(), day.all.clone())).collect();
    assert_eq!(exposed, [("2026-11-01", vec![1, 1], vec![1, 1]), ("2026-11-02", vec![0, 0], vec![1, 1])]);
}

#[test]
fn what_was_not_drawn_and_who_is_unknown_are_counted_and_left_out() {
    let mut memory = Memory::default();
    memory.decide("d1", "C1", "control", START + 1);
    memory.decide("d2", "C2", "b", START + 2).arm = Some(("b".to_owned(), PHASE, 2));
    memory.decide("d3", "C3", "b", START + 3).arm = Some(("b".to_owned(), PHASE, 3));
    memory.decide("d4", "", "b", START + 4).arm = None;
    memory.decide("d5", "C4", "c", START + 5);
    memory.decide("d6", "C5", "b", START + 6).arm = None;
    memory.happen("o1", "convert", "d2", START + 9);
    let report = Asked::of("conversion").report(&memory);
    assert_eq!(counts(&report), [(1, 1, 0), (0, 0, 0)]);
    assert_eq!((report.left_out.forced_decisions, report.left_out.unknown_decisions), (2, 1));
    assert!(report.warnings.iter().any(|warning| warning.contains("a variant that the experiment")));
}

#[test]
fn outcomes_count_once_and_in_time() {
    let mut memory = Memory::default();
    memory.decide("d1", "C1", "control", START + 1);
    memory.decide("d2", "C2", "control", START + 2);
    memory.decide("elsewhere", "C1", "control", START + 3).arm = None;
    for at in [START + 5, START + 6, START + 2 * DAY] {
        // The same outcome, by several servers.
        memory.happen("o1", "accept", "d1", at).value = 10.0;
    }
    memory.happen("o2", "accept", "d2", START + 7).late = true;
    memory.happen("o3", "accept", "elsewhere", START + 8);
    memory.happen("o4", "accept", "of nobody", START + 9);
    let report = Asked::of("revenue_per_customer").report(&memory);
    assert_eq!(counts(&report)[0], (2, 2, 1));
    assert_eq!((report.left_out.late_outcomes, report.left_out.unmatched_outcomes), (1, 1));
    near(report.metrics[0].arms[0].numerator, 10.0);
}

#[test]
fn a_window_counts_from_the_decision_on_also_what_is_late_by_attribution() {
    let mut asked = Asked::of("conversion");
    let primary = asked.measured.primary;
    asked.metrics[primary].window = Some(std::time::Duration::from_hours(24));
    let mut memory = Memory::default();
    for (number, after) in [DAY - 1, DAY, DAY + 1].into_iter().enumerate() {
        let id = format!("d{number}");
        memory.decide(&id, &id, "control", START);
        let happened = memory.happen(&format!("o{number}"), "convert", &id, START + 3 * DAY);
        (happened.after, happened.late) = (after, number == 0);
    }
    near(asked.report(&memory).metrics[0].arms[0].numerator, 2.0);
}

#[test]
fn phases_are_kept_apart() {
    let mut memory = Memory::arms("convert", [("control", 3, 1), ("b", 3, 2)]);
    let alone = Asked::of("conversion").report(&memory);
    for (number, phase) in [(1, 8), (2, 8), (3, 9)] {
        let id = format!("other{number}");
        memory.decide(&id, "control0", "b", START + DAY * number).arm = Some(("b".to_owned(), phase, 1));
        memory.happen(&id, "convert", &id, START + DAY * number);
    }
    let report = Asked::of("conversion").report(&memory);
    assert_eq!((&report.arms, &report.from, &report.to), (&alone.arms, &alone.from, &alone.to));
    assert_eq!(report.metrics[0].arms, alone.metrics[0].arms);
    let others: Vec<_> =
        report.other_phases.iter().map(|other| (other.phase.as_str(), other.decisions)).collect();
    assert_eq!(others, [("0000000000000009", 1), ("0000000000000008", 2)]);
    assert_eq!(report.phase, "0000000000000007");
}

#[test]
fn a_covariate_is_of_the_time_before_the_first_exposure() {
    let mut memory = Memory::default();
    let first = START + 30 * DAY;
    for number in 0..400_i64 {
        let id = format!("C{number}");
        memory.decide(&id, &id, if number % 2 == 0 { "control" } else { "b" }, first + number);
        // Spending of a customer is what they spent before, and a little.
        let spent = (number / 2 % 20) as f64 + 1.0;
        let mut spend = |event: String, decision: &str, at: i64, value: f64| {
            let happened = memory.happen(&event, "accept", decision, at);
            (happened.customer, happened.value) = (id.clone(), value);
        };
        spend(format!("{id}-before"), "earlier", first + number - 28 * DAY, spent);
        spend(format!("{id}-too-early"), "earlier", first + number - 28 * DAY - 1, 1e6);
        spend(format!("{id}-unmatched"), "earlier", first + number + 1, 1e6);
        spend(format!("{id}-after"), &id, first + number + DAY, spent + (number % 7) as f64 / 10.0);
    }
    let mut asked = Asked::of("revenue_per_customer");
    let report = asked.report(&memory);
    let effect = primary(&report).effect.as_ref().unwrap();
    let theta = effect.theta.unwrap();
    assert!((0.9..1.1).contains(&theta), "{theta}");
    assert!(effect.variance_reduced.unwrap() > 0.9, "{effect:?}");
    assert_eq!(report.left_out.unmatched_outcomes, 400);
    // What is shown of an arm is not adjusted.
    let arm = &report.metrics[0].arms[0];
    near(arm.value.unwrap(), arm.numerator / 200.0);
    asked.measured.covariate = std::time::Duration::ZERO;
    let plain = asked.report(&memory);
    let plain = primary(&plain).effect.as_ref().unwrap();
    assert_eq!(plain.theta, None);
    assert!(plain.fixed.high - plain.fixed.low > 2.0 * (effect.fixed.high - effect.fixed.low));
}

#[test]
fn a_wrong_split_hides_everything_else() {
    let asked = Asked::of("conversion").with_guardrail("opt_out_rate", 0.01);
    let report = asked.report(&Memory::arms("convert", [("control", 1_000, 100), ("b", 1_300, 300)]));
    let mismatch = report.mismatch.as_ref().unwrap();
    assert!(mismatch.is_mismatch && mismatch.p < 0.001 && mismatch.degrees == 1, "{mismatch:?}");
    assert_eq!(report.verdict.word, VerdictWord::Mismatch);
    assert!(report.metrics.is_empty() && report.by_placement.is_empty() && report.by_segment.is_empty());
    assert!(matches!(crate::judge(&report), crate::Judgement::Hold { .. }));
    let fair = asked.report(&Memory::arms("convert", [("control", 1_000, 100), ("b", 1_010, 300)]));
    assert!(!fair.mismatch.unwrap().is_mismatch && !fair.metrics.is_empty());
}

/// Once the split was seen to be wrong, it does not become right by more customers.
#[test]
fn the_least_p_of_a_split_stays() {
    let mut memory = Memory::arms("convert", [("control", 3_000, 100), ("b", 3_900, 300)]);
    for number in 0..900 {
        let id = format!("late{number}");
        memory.decide(&id, &id, "control", START + 2 * DAY);
    }
    let mismatch = Asked::of("conversion").report(&memory).mismatch.unwrap();
    assert!(mismatch.p > 0.9 && mismatch.sequential_p < 0.01 && mismatch.is_mismatch, "{mismatch:?}");
}

#[test]
fn too_few_customers_or_conversions_are_not_shown() {
    let hidden = |control: (u32, u32), challenger: (u32, u32)| {
        let arms = [("control", control.0, control.1), ("b", challenger.0, challenger.1)];
        let report = Asked::of("conversion").report(&Memory::arms("convert", arms));
        (primary(&report).hidden.clone(), primary(&report).effect.is_some(), report)
    };
    let (why, is_shown, report) = hidden((99, 50), (110, 50));
    assert!(why.contains("`control` has 99 of the 100 customers") && !is_shown, "{why}");
    assert_eq!(report.verdict.word, VerdictWord::TooEarly);
    assert_eq!((report.metrics[0].arms[0].value, report.metrics[0].arms[0].n), (None, 99));
    assert!(report.metrics[0].arms[1].value.is_some());
    let (why, is_shown, _) = hidden((100, 50), (100, 24));
    assert!(why.contains("`b` has 24 of the 25 customers") && !is_shown, "{why}");
    let (why, is_shown, report) = hidden((100, 25), (100, 25));
    assert!(why.is_empty() && is_shown, "{why}");
    assert_eq!(report.verdict.word, VerdictWord::Undecided);
    // The day before there were no conversions.
    assert_eq!(primary(&report).effect.as_ref().unwrap().over_time.len(), 1);
}

#[test]
fn the_golden_of_the_design_is_found_through_rows() {
    let memory = Memory::arms("convert", [("control", 10_000, 500), ("b", 10_000, 560)]);
    let mut asked = Asked::of("conversion");
    asked.measured.planned = 20_000;
    let report = asked.report(&memory);
    let effect = primary(&report).effect.as_ref().unwrap();
    let six = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    six(effect.delta, 0.006);
    six(effect.sequence.low, -0.003_615_6);
    six(effect.sequence.high, 0.015_615_6);
    six(effect.sequence_p, 0.607_915);
    six(effect.fixed.low, -0.000_209_6);
    six(effect.fixed_p, 0.058_250);
    six(effect.relative.unwrap(), 0.12);
    assert_eq!((report.comparisons, report.alpha_each.to_bits()), (1, 0.05_f64.to_bits()));
}

#[test]
fn breakdowns_are_by_where_and_by_the_first_segment() {
    let mut memory = Memory::default();
    for (id, customer, placement, segment, at) in [
        ("d1", "C1", "home", Some(3), 1),
        ("d2", "C1", "card", Some(4), DAY),
        ("d3", "C2", "home", None, 2),
        ("d4", "C3", "card", Some(4), 3),
    ] {
        let decided = memory.decide(id, customer, "control", START + at);
        (decided.placement, decided.segment) = (placement.to_owned(), segment);
    }
    memory.happen("o1", "convert", "d2", START + DAY + 1);
    let mut asked = Asked::of("conversion");
    asked.segments.insert(3, "Savers".to_owned());
    let report = asked.report(&memory);
    let shown = |parts: &[crate::report::Breakdown]| -> Vec<(String, u64, f64)> {
        parts.iter().map(|part| (part.part.clone(), part.arms[0].n, part.arms[0].numerator)).collect()
    };
    let of = |name: &str, n, numerator| (name.to_owned(), n, numerator);
    assert_eq!(shown(&report.by_placement), [of("card", 2, 1.0), of("home", 2, 0.0)]);
    let segments = [of("no segment", 1, 0.0), of("Savers", 1, 1.0), of("segment 4", 1, 0.0)];
    assert_eq!(shown(&report.by_segment), segments);
}

#[test]
fn more_than_the_limits_is_an_error_that_says_what() {
    let memory = Memory::arms("convert", [("control", 3, 3), ("b", 3, 3)]);
    let most = Limits { customers: 6, decisions: 6, outcomes: 6, pairs: 6 };
    let refused = |limits| {
        let asked = Asked { limits, ..Asked::of("conversion") };
        asked.try_report(&memory).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(refused(most), Ok(()));
    for (limits, what) in [
        (Limits { customers: 5, ..most }, "more than 5 customers"),
        (Limits { decisions: 5, ..most }, "more than 5 decisions"),
        (Limits { outcomes: 5, ..most }, "more than 5 outcomes"),
        (Limits { pairs: 5, ..most }, "more than 5 pairs"),
    ] {
        assert!(refused(limits).unwrap_err().contains(what), "{what}");
    }
    let mut asked = Asked::of("conversion");
    asked.measured.primary = 999;
    assert!(asked.try_report(&memory).unwrap_err().to_string().contains("metric 999"));
}

#[test]
fn without_a_decision_there_is_a_report_that_says_so() {
    let report = Asked::of("conversion").report(&Memory::default());
    assert_eq!((report.from.as_str(), report.exposure.len(), report.mismatch.clone()), ("", 0, None));
    assert_eq!(report.verdict.word, VerdictWord::TooEarly);
    assert!(report.warnings.iter().any(|warning| warning.contains("No decision")));
}

#[test]
fn sources_say_how_old_the_newest_event_of_each_server_is() {
    let mut memory = Memory::arms("convert", [("control", 2, 1), ("b", 2, 0)]);
    memory.decide("d", "C", "b", START + 39 * DAY + DAY / 2).server = "s3".to_owned();
    let report = Asked::of("conversion").report(&memory);
    let sources: Vec<_> = report.sources.iter().map(|of| (of.server.as_str(), of.age_seconds)).collect();
    assert_eq!(sources[0].0, "s1");
    assert_eq!(sources[2], ("s3", 12 * 3_600));
    // Half a day is no reason to warn, and weeks are.
    let warned = |server: &str| report.warnings.iter().any(|warning| warning.contains(server));
    assert_eq!([warned("server s1"), warned("server s2"), warned("server s3")], [true, true, false]);
}
