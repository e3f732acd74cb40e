//! Guardrails, verdicts and sequences.

use super::*;
use crate::report::{GuardrailDecision, Limits as Interval, Role, VerdictWord};
use crate::{Evidence, Judgement, judge};

/// Conversions of both arms, and an outcome of the guardrail; 4,000 customers in each.
fn memory(kind: &str, hits: [u32; 2]) -> Memory {
    let mut memory = Memory::arms(kind, [("control", 4_000, hits[0]), ("b", 4_000, hits[1])]);
    let conversions = Memory::arms("convert", [("control", 4_000, 400), ("b", 4_000, 400)]);
    memory.happened.extend(conversions.happened);
    memory
}

fn decide(kind: &str, guardrail: &str, hits: [u32; 2], tolerate: f64) -> (GuardrailDecision, Judgement) {
    let asked = Asked::of("conversion").with_guardrail(guardrail, tolerate);
    let report = asked.report(&memory(kind, hits));
    assert_eq!((report.comparisons, report.metrics[1].role), (2, Role::Guardrail));
    let guardrail = report.metrics[1].comparisons[0].guardrail.clone().unwrap();
    (guardrail.decision, judge(&report))
}

/// Less is better of opt-outs, more of acceptances: the same numbers are the other way round.
#[test]
fn guardrails_are_turned_so_that_more_is_better() {
    use GuardrailDecision::{Advance, Hold, RollBack};
    let few_to_many = [200, 600];
    assert_eq!(decide("opt_out", "opt_out_rate", few_to_many, 0.02).0, RollBack);
    assert_eq!(decide("accept", "acceptance", few_to_many, 0.02).0, Advance);
    let many_to_few = [600, 200];
    assert_eq!(decide("opt_out", "opt_out_rate", many_to_few, 0.02).0, Advance);
    assert_eq!(decide("accept", "acceptance", many_to_few, 0.02).0, RollBack);
    // What is tolerated is within the limits.
    let alike = [400, 410];
    assert_eq!(decide("opt_out", "opt_out_rate", alike, 0.001).0, Hold);
    assert_eq!(decide("accept", "acceptance", alike, 0.001).0, Hold);
    // A loss that is tolerated may be certain.
    assert_eq!(decide("opt_out", "opt_out_rate", few_to_many, 0.2).0, Advance);
}

#[test]
fn a_judgement_has_its_evidence_or_says_why_it_waits() {
    let (_, judgement) = decide("opt_out", "opt_out_rate", [200, 600], 0.02);
    let Judgement::RollBack { evidence } = judgement else { panic!("{judgement:?}") };
    let Evidence { metric, variant, delta, low, high, tolerate, customers } = evidence;
    assert_eq!((metric.as_str(), variant.as_str(), customers), ("opt_out_rate", "b", 8_000));
    near(delta, 0.1);
    assert!(low > 0.02 && low < delta && delta < high, "{low} {high}");
    near(tolerate, 0.02);
    let (_, judgement) = decide("opt_out", "opt_out_rate", [10, 10], 0.02);
    let Judgement::Hold { why } = judgement else { panic!("{judgement:?}") };
    assert!(why.contains("cannot be compared yet") && why.contains("10 of the 25"), "{why}");
    let (_, judgement) = decide("opt_out", "opt_out_rate", [400, 410], 0.001);
    let Judgement::Hold { why } = judgement else { panic!("{judgement:?}") };
    assert!(why.contains("not known to lose less"), "{why}");
    assert_eq!(decide("opt_out", "opt_out_rate", [600, 200], 0.02).1, Judgement::Advance);
    let without = Asked::of("conversion").report(&memory("opt_out", [0, 0]));
    assert_eq!(judge(&without), Judgement::Advance);
}

#[test]
fn limits_are_oriented_and_effects_are_not() {
    let asked = Asked::of("conversion").with_guardrail("opt_out_rate", 0.02);
    let report = asked.report(&memory("opt_out", [200, 600]));
    let comparison = &report.metrics[1].comparisons[0];
    let Interval { low, high } = comparison.effect.as_ref().unwrap().sequence;
    let oriented = comparison.guardrail.as_ref().unwrap().oriented.unwrap();
    assert_eq!((oriented.low.to_bits(), oriented.high.to_bits()), ((-high).to_bits(), (-low).to_bits()));
}

#[test]
fn verdicts_are_what_sequences_and_guardrails_say() {
    let verdict = |hits: [u32; 2], opt_outs: [u32; 2]| {
        let mut memory = Memory::arms("convert", [("control", 4_000, hits[0]), ("b", 4_000, hits[1])]);
        let others = Memory::arms("opt_out", [("control", 4_000, opt_outs[0]), ("b", 4_000, opt_outs[1])]);
        memory.happened.extend(others.happened);
        Asked::of("conversion").with_guardrail("opt_out_rate", 0.01).report(&memory).verdict
    };
    let found = verdict([400, 800], [100, 100]);
    assert_eq!(found.word, VerdictWord::Better);
    assert!(found.sentence.contains("`b` is better") && found.sentence.contains("10.00 percentage points"));
    assert_eq!(verdict([800, 400], [100, 100]).word, VerdictWord::Worse);
    assert_eq!(verdict([400, 410], [100, 100]).word, VerdictWord::Undecided);
    let found = verdict([400, 800], [100, 600]);
    assert_eq!(found.word, VerdictWord::GuardrailBroken);
    assert!(found.sentence.contains("opt_out_rate"), "{}", found.sentence);
    assert_eq!(verdict([0, 0], [100, 100]).word, VerdictWord::TooEarly);
}

#[test]
fn p_is_the_least_so_far_and_each_day_has_what_was_known_then() {
    let mut memory = Memory::default();
    // A large difference among the first customers, none among those who follow.
    for (day, hits) in [(0, [30, 90]), (1, [60, 60]), (2, [90, 30]), (3, [60, 60])] {
        for (arm, variant) in ["control", "b"].into_iter().enumerate() {
            for number in 0..300 {
                let id = format!("{variant}-{day}-{number}");
                let at = START + day * DAY + number;
                memory.decide(&id, &id, variant, at);
                if number < hits[arm] {
                    memory.happen(&id, "convert", &id, at + 1);
                }
            }
        }
    }
    let report = Asked::of("conversion").report(&memory);
    let effect = primary(&report).effect.as_ref().unwrap();
    let points = &effect.over_time;
    let n: Vec<u64> = points.iter().map(|point| point.n).collect();
    assert_eq!(n, [600, 1_200, 1_800, 2_400]);
    near(points[0].delta, 0.2);
    near(points[1].delta, 0.1);
    near(effect.delta, 0.0);
    assert!(points.windows(2).all(|pair| pair[1].p <= pair[0].p) && points[0].p < 0.05, "{points:?}");
    assert_eq!(effect.sequence_p.to_bits(), points[0].p.to_bits());
    // A report of that day has said the same.
    let mut then = memory.clone();
    then.decided.retain(|decided| decided.at < START + 2 * DAY);
    then.happened.retain(|happened| happened.at < START + 2 * DAY);
    let then = Asked::of("conversion").report(&then);
    assert_eq!(primary(&then).effect.as_ref().unwrap().over_time, points[..2]);
}

#[test]
fn alpha_is_divided_over_challengers_and_guardrails() {
    let mut asked = Asked::of("conversion")
        .with_guardrail("opt_out_rate", 0.01)
        .with_guardrail("margin_per_customer", 1.0);
    asked.variants.push(("c".to_owned(), 1.0));
    asked.measured.secondary = vec![index(&asked.metrics, "engagement")];
    let report = asked.report(&Memory::arms("convert", [("control", 5, 1), ("b", 5, 1)]));
    assert_eq!(report.comparisons, 6);
    near(report.alpha_each, 0.05 / 6.0);
    let roles: Vec<Role> = report.metrics.iter().map(|metric| metric.role).collect();
    assert_eq!(roles, [Role::Primary, Role::Guardrail, Role::Guardrail, Role::Secondary]);
    assert!(report.metrics.iter().all(|metric| metric.comparisons.len() == 2 && metric.arms.len() == 3));
}
