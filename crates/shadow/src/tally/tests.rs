use proptest::prelude::*;

use super::*;
use crate::samples::{comparison, empty};
use crate::{Compared, Figures, Names, Report};

fn of(comparisons: impl IntoIterator<Item = Comparison>) -> Tally {
    let mut tally = Tally::default();
    comparisons.into_iter().for_each(|comparison| tally.add(&comparison));
    tally
}

fn report(tally: &Tally) -> Report {
    tally.report(&Names::default())
}

#[test]
#[expect(clippy::float_cmp, reason = "they must be exact")]
fn a_shadow_that_is_the_champion_agrees_exactly() {
    let report = report(&of((0..2_000).map(|at| comparison(at, 0.0)).chain([empty(1)])));
    let shadow = &report.shadows[0];
    let groups = shadow.placements.iter().map(|one| &one.figures);
    let groups = groups.chain(shadow.segments.iter().map(|one| &one.figures));
    for figures in groups.chain([&shadow.all]) {
        let Figures { first_agrees, overlap, tau_b, rbo, score_change, score_shift, .. } = figures;
        assert_eq!(first_agrees.unwrap().share, 1.0);
        for mean in [overlap, tau_b, rbo] {
            let mean = mean.unwrap();
            assert_eq!((mean.mean, mean.deviation, mean.interval), (1.0, Some(0.0), Some([1.0, 1.0])));
        }
        let change = score_change.unwrap();
        assert_eq!((change.mean, change.deviation, change.interval), (0.0, Some(0.0), Some([0.0, 0.0])));
        for quantile in [change.p1, change.p50, change.p99] {
            assert_eq!((quantile.value, quantile.interval), (0.0, Some([0.0, 0.0])));
        }
        let shift = score_shift.as_ref().unwrap();
        assert_eq!((shift.psi, shift.ks, shift.ks_p_value), (0.0, 0.0, 1.0));
        for value in [figures.value_by_champion, figures.value_by_shadow] {
            let value = value.unwrap();
            assert_eq!((value.change, value.deviation, value.champion), (0.0, Some(0.0), value.shadow));
        }
        assert_eq!(figures.withheld_differs.unwrap().count, 0);
    }
    assert_eq!((shadow.all.compared, shadow.all.empty, shadow.all.rbo.unwrap().n), (2_001, 1, 2_000));
    assert!(shadow.examples.is_empty());
}

/// Two decisions, worked out by hand.
#[test]
fn each_number_is_what_it_says() {
    let offer = |id: &str, champion: Option<(u32, f64)>, shadow: Option<(u32, f64)>, value: f64| {
        let ranked = |found: Option<(u32, f64)>| {
            found.map(|(rank, score)| crate::Ranked { rank, score, priority: score * value })
        };
        crate::ComparedOffer {
            offer_id: id.to_owned(),
            value,
            champion: ranked(champion),
            shadow: ranked(shadow),
        }
    };
    let decision = |at: u64, compared: Compared| Comparison { result: Ok(compared), ..comparison(at, 0.0) };
    let one = Compared {
        offers: vec![
            offer("a", Some((1, 0.5)), Some((2, 0.25)), 8.0),
            offer("b", Some((2, 0.125)), Some((1, 0.5)), 16.0),
        ],
        champion_shown: vec![0],
        shadow_shown: vec![1],
        withheld_by_shadow_only: 2,
        champion_us: 10,
        shadow_us: 30,
        ..Compared::default()
    };
    // A fallback is shown by both; it has no score.
    let other = Compared {
        offers: vec![offer("a", Some((1, 0.5)), Some((1, 0.5)), 8.0), crate::ComparedOffer::default()],
        champion_shown: vec![0, 1],
        shadow_shown: vec![0, 1],
        champion_us: 10,
        shadow_us: 30,
        ..Compared::default()
    };
    let all = report(&of([decision(1, one), decision(2, other)])).shadows[0].all.clone();
    let near =
        |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    near(all.first_agrees.unwrap().share, 0.5);
    near(all.overlap.unwrap().mean, 0.5);
    // 1 offer has no order.
    assert_eq!((all.tau_b.unwrap().n, all.tau_b.unwrap().interval), (1, None));
    near(all.tau_b.unwrap().mean, -1.0);
    // ab against ba: 0.1 × 0 + 0.9 × 1.
    near(all.rbo.unwrap().mean, f64::midpoint(0.9, 1.0));
    let change = all.score_change.unwrap();
    assert_eq!((change.pairs, change.decisions), (3, 2));
    near(change.mean, (-0.25 + 0.375) / 3.0);
    near(change.p1.value, -0.25);
    near(change.p99.value, 0.375);
    // By the champion: (0.125 × 16 + 4) / 2 instead of (4 + 4) / 2.
    let by_champion = all.value_by_champion.unwrap();
    near(by_champion.champion, 4.0);
    near(by_champion.change, -1.0);
    // By the shadow: (8 + 4) / 2 instead of (2 + 4) / 2.
    let by_shadow = all.value_by_shadow.unwrap();
    near(by_shadow.champion, 3.0);
    near(by_shadow.change, 3.0);
    assert_eq!((all.unvalued, all.withheld_differs.unwrap().count), (1, 1));
    near(all.champion_us.unwrap().p50.value, 10.0);
    near(all.shadow_us.unwrap().p99.value, 30.0);
}

#[test]
fn failures_count_by_reason_and_in_no_other_number() {
    let report = report(&of((0..310).map(|at| comparison(at, 0.1))));
    let shadow = &report.shadows[0];
    assert_eq!((shadow.all.failed, shadow.all.compared), (10, 300));
    assert_eq!(shadow.errors.iter().map(|error| error.decisions).collect::<Vec<_>>(), [5, 5]);
    assert_eq!(shadow.releases.values().sum::<u64>(), 310);
    let long = "é".repeat(1_000);
    let failed = of([Comparison { result: Err(long), ..comparison(1, 0.1) }]);
    assert_eq!(failed.shadows["challenger"].reasons.iter().next().unwrap().0.chars().count(), REASON_LETTERS);
}

#[test]
fn the_largest_disagreements_are_kept() {
    let comparisons: Vec<Comparison> = (0..3_000).map(|at| comparison(at, 0.3)).collect();
    let report = report(&of(comparisons.clone()));
    let steps = |rbo: f64| (rbo * 1e12).round() as u64;
    let examples = report.shadows[0].examples.iter();
    let kept: Vec<(u64, String)> =
        examples.map(|example| (steps(example.rbo), example.decision_id.clone())).collect();
    let mut all: Vec<(u64, String)> = comparisons
        .iter()
        .filter_map(|one| {
            let offers = one.result.as_ref().ok()?.offers.iter();
            let places: Vec<[u32; 2]> = offers
                .map(|offer| [offer.champion, offer.shadow].map(|side| side.map_or(0, |ranked| ranked.rank)))
                .collect();
            let rbo = statistics::rank_biased_overlap(&places, RBO_P, &mut Vec::new())?;
            Some((steps(rbo), one.decision_id.clone()))
        })
        .collect();
    all.sort();
    assert_eq!(kept, all[..20]);
    let first = &report.shadows[0].examples[0];
    assert!(first.offers.iter().any(|offer| offer.champion_shows) && first.more_offers == 0);
}

#[test]
fn examples_are_forgotten_and_counts_are_not() {
    let mut tally = of((0..100).map(|at| comparison(at, 0.3)));
    let before = report(&tally);
    tally.forget_examples();
    let after = report(&tally);
    assert!(!before.shadows[0].examples.is_empty() && after.shadows[0].examples.is_empty());
    assert_eq!(after.shadows[0].all.compared, before.shadows[0].all.compared);
}

#[test]
fn shadows_beyond_the_room_are_counted() {
    let mut tally = Tally::default();
    for number in (0..20).rev() {
        tally.add(&Comparison { shadow: format!("{number:02}"), ..comparison(1, 0.1) });
    }
    assert_eq!((tally.shadows.len(), tally.left_out), (SHADOWS, 4));
    assert!(tally.shadows.contains_key("00") && !tally.shadows.contains_key("16"));
    tally.shed("00", 3);
    tally.shed("00", 4);
    assert_eq!((tally.shadows["00"].shed, report(&tally).shadows[0].shed), (Some(7), Some(7)));
    assert!(!tally.is_empty() && Tally::default().is_empty());
}

/// The report with its floating-point numbers apart.
fn apart(value: &serde_json::Value, numbers: &mut Vec<f64>) -> serde_json::Value {
    if value.is_f64() {
        numbers.extend(value.as_f64());
        return serde_json::Value::Null;
    }
    match value {
        serde_json::Value::Array(list) => list.iter().map(|value| apart(value, numbers)).collect(),
        serde_json::Value::Object(map) => {
            map.iter().map(|(name, value)| (name.clone(), apart(value, numbers))).collect()
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => value.clone(),
    }
}

fn same(one: &Tally, other: &Tally) {
    let (mut numbers, mut others) = (Vec::new(), Vec::new());
    let one = apart(&serde_json::to_value(report(one)).unwrap(), &mut numbers);
    let other = apart(&serde_json::to_value(report(other)).unwrap(), &mut others);
    assert_eq!(one, other);
    assert_eq!(numbers.len(), others.len());
    for (one, other) in numbers.iter().zip(&others) {
        assert!((one - other).abs() <= 1e-9 * other.abs().max(1e-3), "{one} is not {other}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn parts_in_any_order_are_the_whole(
        from in 0_u64..10_000, count in 1_u64..400, part in prop::collection::vec(0_usize..3, 400),
        order in Just(vec![0_usize, 1, 2]).prop_shuffle(),
    ) {
        let comparisons = (from..from + count).map(|at| comparison(at, 0.1));
        let whole = of(comparisons.clone());
        let mut parts = [Tally::default(), Tally::default(), Tally::default()];
        for (comparison, part) in comparisons.zip(part) {
            parts[part].add(&comparison);
        }
        let mut merged = Tally::default();
        for at in order {
            merged.merge(&parts[at]);
        }
        same(&merged, &whole);
    }
}
