//! Shadows: the champion decides again what it has decided, a challenger what it would decide in an experiment, and
//! neither leaves a trace in an answer.

mod samples;

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use experiment::Changes;
use feature::Value;
use offer::PlacementIndex;
use proptest::prelude::{Just, Strategy as _, any, prop, prop_assert_eq, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use release::{LoadedShadow, Snapshot};
use uuid::Uuid;
use work::{Call, Cancellation, Worker};

use self::samples::{
    Bank, compared, comparisons, decider, everybody, limited, offered, rank, request, shadow, usual,
};
use super::{Again, Overlay, ShadowComparison, ShadowJob, ShadowSink, Whole, compare, decide_whole, side};
use crate::replay::{self, RecordedValues, ReplayInput};
use crate::{Compared, Customer, Explain, RankRequest, RankResult, ValueSource};

/// Both sides, where both could decide.
fn sides(comparison: &ShadowComparison) -> &Compared {
    comparison.result.as_ref().unwrap_or_else(|why| panic!("{why}"))
}

/// Asserts that the champion has shown what was answered.
fn assert_champion(results: &[RankResult], comparisons: &[ShadowComparison]) {
    for one in comparisons {
        let answered = results.iter().find(|result| result.decision_id == one.decision_id).unwrap();
        let shown: Vec<_> = answered.offers.iter().map(|offer| offer.offer).collect();
        assert_eq!(sides(one).champion.shown, shown, "{one:?}\n{answered:?}");
        assert_eq!(one.customer_id, answered.customer_id);
        for offer in answered.offers.iter().filter(|offer| !offer.fallback) {
            let ranked =
                sides(one).champion.ranking.iter().find(|ranked| ranked.offer == offer.offer).unwrap();
            assert_eq!(ranked.priority.to_bits(), offer.priority.to_bits());
            assert_eq!(Some(ranked.score), offer.factors.as_ref().map(|factors| factors.propensity));
        }
    }
}

#[test]
fn a_shadow_that_is_the_champion_ranks_alike_to_the_last_bit() {
    let bank = Bank::new();
    for exploration in ["method = \"greedy\"", "method = \"softmax\", temperature = 3.0"] {
        let snapshot = bank.exploring(exploration, &shadow("models = { base = 1 }"));
        let (results, comparisons) = compared(&snapshot, request(&usual(200)));
        assert_eq!(comparisons.len(), 200);
        assert_champion(&results, &comparisons);
        for one in &comparisons {
            let Compared { champion, challenger } = sides(one);
            assert_eq!(champion.ranking, challenger.ranking);
            assert_eq!(champion.shown, challenger.shown);
            assert_eq!(champion.withheld_by_rules, challenger.withheld_by_rules);
            assert_eq!(champion.models, [("base".to_owned(), 1)]);
            assert_eq!(champion.models, challenger.models);
            assert_eq!(champion.ranking.len() + champion.withheld_by_rules.len(), 8);
            assert_eq!((&*one.shadow, &*one.placement, &*one.channel), ("s", "home", "app"));
        }
        let withheld: usize = comparisons.iter().map(|one| sides(one).champion.withheld_by_rules.len()).sum();
        assert!((1..200).contains(&withheld), "{withheld}");
    }
}

#[test]
fn a_shadow_with_another_model_ranks_by_it_and_the_answer_does_not() {
    let bank = Bank::new();
    let snapshot = bank.with(&shadow("models = { base = 2 }"));
    let (results, comparisons) = compared(&snapshot, request(&usual(200)));
    assert_champion(&results, &comparisons);
    let mut others = 0;
    for one in &comparisons {
        let Compared { champion, challenger } = sides(one);
        assert_eq!(challenger.models, [("base".to_owned(), 2)]);
        let offers = |side: &crate::Decided| {
            let mut offers: Vec<_> = side.ranking.iter().map(|one| one.offer).collect();
            offers.sort_unstable();
            offers
        };
        assert_eq!(offers(champion), offers(challenger));
        assert_eq!(champion.withheld_by_rules, challenger.withheld_by_rules);
        others += usize::from(champion.shown != challenger.shown);
        // It is pinned nowhere, so no answer has it.
        let answered = results.iter().find(|result| result.decision_id == one.decision_id).unwrap();
        let mut factors = answered.offers.iter().filter_map(|offer| offer.factors.as_ref());
        assert!(factors.all(|factors| factors.model.map(release::ModelIndex::get) == Some(0)));
    }
    assert!(others > 20, "{others}");
}

/// What of an answer does not depend on the ids of its decisions.
fn shown(results: &[RankResult]) -> Vec<String> {
    let of = |result: &RankResult| {
        let RankResult {
            customer_id, offers, segment, assignments, held_out, withheld, degraded, error, ..
        } = result;
        format!(
            "{customer_id} {offers:?} {segment:?} {assignments:?} {held_out} {withheld:?} {degraded:?} {error:?}"
        )
    };
    results.iter().map(of).collect()
}

#[test]
fn answers_are_the_same_with_and_without_shadows() {
    let bank = Bank::new();
    let shadows: String = [
        "models = { base = 2 }",
        "models = { base = 3 }",
        "models = { base = 4 }",
        "models = { base = 9 }",
        "strategy = \"margin\"\ncategory_weights = { odd = 50.0 }\nexploration = { method = \"epsilon\", \
         epsilon = 1.0 }",
    ]
    .iter()
    .enumerate()
    .map(|(number, changes)| shadow(changes).replace("\"s\"", &format!("\"s{number}\"")))
    .collect();
    let variant = everybody("context_weights = { spring = 70.0 }");
    let (with, without) = (bank.with(&format!("{variant}{shadows}")), bank.with(&variant));
    let home = PlacementIndex::new(0);
    assert_eq!(with.release.pins(), without.release.pins());
    assert_eq!(with.release.needs_session(home, false), without.release.needs_session(home, false));
    assert_eq!(with.release.feature_usage().at(home), without.release.feature_usage().at(home));
    let ask = || {
        let m0: Vec<f32> = usual(300).into_iter().chain([20_000.0, 0.1]).collect();
        let mut request = RankRequest { explain: Explain::All, ..request(&m0) };
        // A visitor without an id.
        request.customers[301].id.clear();
        request
    };
    let (results, jobs) = offered(decider(&with), ask());
    let expected = rank(&decider(&without), ask());
    assert_eq!(shown(&results), shown(&expected));
    // The income, which a shadow needs, is not missed.
    assert!(results.iter().flat_map(|result| &result.degraded).all(|line| !line.contains("income")));
    let found: Vec<_> = jobs.iter().flat_map(comparisons).collect();
    // All shadows but the one without a version are compared on all of them.
    assert_eq!(found.len(), 4 * results.len());
}

#[test]
fn the_decisions_that_a_shadow_samples_are_offered_and_no_others() {
    let bank = Bank::new();
    let snapshot = bank.with(&shadow("models = { base = 2 }").replace("1.0", "0.25"));
    let (results, jobs) = offered(decider(&snapshot), request(&usual(400)));
    let [job] = &jobs[..] else { panic!("{jobs:?}") };
    let of_policy = &snapshot.release.experiments().shadows[0];
    let expected: Vec<Uuid> = results
        .iter()
        .map(|result| result.decision_id)
        .filter(|id| of_policy.samples(id.as_u128()))
        .collect();
    assert!((60..140).contains(&expected.len()), "{}", expected.len());
    assert_eq!(job.decisions(), expected.len());
    let by_shadow: Vec<_> = job.by_shadow().map(|(shadow, count)| (&**shadow, count)).collect();
    assert_eq!(by_shadow, [("s", expected.len())]);
    assert!(job.bytes() > job.decisions());
    let found: Vec<Uuid> = comparisons(job).iter().map(|one| one.decision_id).collect();
    assert_eq!(found, expected);
}

#[test]
fn previews_errors_and_the_held_out_are_not_offered() {
    let bank = Bank::new();
    let snapshot = bank.with(&shadow("models = { base = 2 }"));
    let preview = RankRequest { dry_run: true, ..request(&usual(3)) };
    assert!(offered(decider(&snapshot), preview).1.is_empty());
    let anonymous = RankRequest { features: feature::FeatureBatch::default(), ..request(&usual(2)) };
    let anonymous = RankRequest { customers: vec![Customer::default(); 2], ..anonymous };
    let (results, jobs) = offered(decider(&snapshot), anonymous);
    assert!(results.iter().all(|result| result.error.is_some()) && jobs.is_empty());

    let holdout = format!("[holdout]\nshare = 0.5\nredraw = \"never\"\n{}", shadow("models = { base = 2 }"));
    let (results, comparisons) = compared(&bank.with(&holdout), request(&usual(100)));
    let open: Vec<Uuid> =
        results.iter().filter(|result| !result.held_out).map(|result| result.decision_id).collect();
    assert!((20..80).contains(&open.len()));
    assert_eq!(comparisons.iter().map(|one| one.decision_id).collect::<Vec<_>>(), open);
    // Nor is anything where no shadow holds.
    assert!(offered(decider(&bank.with("")), request(&usual(3))).1.is_empty());
}

#[test]
fn a_shadow_without_scores_says_why_and_the_answer_stays() {
    let bank = Bank::new();
    for (version, m0, why) in [(3, 20_000.0, "base answered NaN"), (4, 0.5, "income")] {
        let snapshot = bank.with(&shadow(&format!("models = {{ base = {version} }}")));
        assert!(snapshot.release.shadows()[0].is_ready());
        let (results, comparisons) = compared(&snapshot, request(&[m0]));
        assert!(results[0].error.is_none() && results[0].offers.len() == 3, "{results:?}");
        let found = comparisons[0].result.as_ref().unwrap_err();
        assert!(found.contains(why), "{found}");
    }
    // Where the same model has a score, it is compared.
    let snapshot = bank.with(&shadow("models = { base = 3 }"));
    let (results, comparisons) = compared(&snapshot, request(&[0.5, 20_000.0, 0.6]));
    let outcomes: Vec<bool> = comparisons.iter().map(|one| one.result.is_ok()).collect();
    assert_eq!(outcomes, [true, false, true]);
    assert_champion(&results[..1], &comparisons[..1]);
}

#[test]
fn a_shadow_that_is_unavailable_is_not_offered() {
    let bank = Bank::new();
    let snapshot = bank.with(&shadow("models = { base = 9 }"));
    assert!(matches!(snapshot.release.shadows(), [LoadedShadow::Unavailable { .. }]));
    let (results, jobs) = offered(decider(&snapshot), request(&usual(5)));
    assert!(results.iter().all(|result| result.error.is_none()) && jobs.is_empty());
}

#[test]
fn a_side_that_panics_is_an_error_of_its_comparison() {
    let panicked = side(|| -> Result<Result<Whole, String>, Cancellation> { panic!("row {}", 3) });
    // Its words, which may be anything, stay here.
    assert_eq!(panicked.unwrap().unwrap_err(), "it panicked");
    let over = side(|| Err(Cancellation::Abandoned));
    assert_eq!(over.unwrap_err(), Cancellation::Abandoned);
}

/// Panics, or sheds.
#[derive(Debug)]
struct Broken(bool);

impl ShadowSink for Broken {
    fn offer(&self, job: ShadowJob) -> bool {
        assert!(!self.0, "{job:?}");
        false
    }
}

#[test]
fn a_sink_that_sheds_or_panics_changes_no_answer() {
    let bank = Bank::new();
    let snapshot = bank.with(&shadow("models = { base = 2 }"));
    let expected = shown(&rank(&decider(&snapshot), request(&usual(20))));
    for panics in [false, true] {
        let results = rank(&decider(&snapshot).with_shadow(Arc::new(Broken(panics))), request(&usual(20)));
        assert_eq!(shown(&results), expected);
    }
}

#[test]
fn comparing_ends_with_its_call() {
    let bank = Bank::new();
    let (_, jobs) = offered(decider(&bank.with(&shadow("models = { base = 2 }"))), request(&usual(5)));
    let mut count = 0;
    let ended = compare(&jobs[0], &Worker::only(), &Call::new(Some(Instant::now())), |_| count += 1);
    assert_eq!((ended, count), (Err(Cancellation::DeadlineExceeded), 0));
}

#[test]
fn the_champion_repeats_what_limits_refused_and_nothing_is_reserved_again() {
    let bank = Bank::new();
    let capped = bank.capped(8, &shadow("models = { base = 2 }"));
    let decider = limited(&capped);
    let o3 = capped.release.catalog().library.find("o3").unwrap();
    let shows = |results: &[RankResult]| {
        results.iter().filter(|result| result.offers.iter().any(|offer| offer.offer == o3)).count()
    };
    let ask = |first: usize, count: usize| {
        let mut request = request(&usual(count));
        for (number, customer) in request.customers.iter_mut().enumerate() {
            customer.id = format!("c{}", first + number);
        }
        request
    };
    let (results, jobs) = offered(decider.clone(), ask(0, 5));
    assert_eq!(shows(&results), 5);
    let found: Vec<_> = jobs.iter().flat_map(comparisons).collect();
    assert_champion(&results, &found);
    // Three are left, whatever was compared.
    let (results, jobs) = offered(decider.clone(), ask(5, 10));
    assert_eq!(shows(&results), 3);
    let found: Vec<_> = jobs.iter().flat_map(comparisons).collect();
    assert_eq!(found.len(), 10);
    assert_champion(&results, &found);
    // Nobody is shown by a shadow what had no room.
    for (one, result) in found.iter().zip(&results) {
        let had_room = result.offers.iter().any(|offer| offer.offer == o3);
        assert!(had_room || !sides(one).challenger.shown.contains(&o3), "{one:?}");
    }
    assert_eq!(shows(&rank(&decider, ask(15, 2))), 0);
}

#[test]
fn of_rows_that_see_each_other_the_first_is_offered() {
    let bank = Bank::new();
    let snapshot = bank.with(&shadow("models = { base = 2 }"));
    let twice = || {
        let mut request = request(&usual(4));
        request.customers[2] = request.customers[0].clone();
        request
    };
    let (results, jobs) = offered(limited(&snapshot), twice());
    let found: Vec<Uuid> = jobs.iter().flat_map(comparisons).map(|one| one.decision_id).collect();
    assert_eq!(found, [0, 1, 3].map(|row: usize| results[row].decision_id));
    // Without limits they do not see each other.
    assert_eq!(offered(decider(&snapshot), twice()).1[0].decisions(), 4);
}

/// What a variant or a shadow changes, as text.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    model: Option<u64>,
    strategy: Option<&'static str>,
    even: Option<f64>,
    odd: Option<f64>,
    spring: Option<f64>,
    exploration: Option<&'static str>,
}

impl Change {
    fn lines(&self) -> String {
        let quoted = |key: &str, value: Option<String>| value.map(|value| format!("{key} = {value}\n"));
        let number = |id: &str, percent: Option<f64>| percent.map(|percent| format!("{id} = {percent:?}"));
        let weights: Vec<String> =
            [number("even", self.even), number("odd", self.odd)].into_iter().flatten().collect();
        let weights = (!weights.is_empty()).then(|| format!("{{ {} }}", weights.join(", ")));
        [
            quoted("models", self.model.map(|version| format!("{{ base = {version} }}"))),
            quoted("strategy", self.strategy.map(|strategy| format!("{strategy:?}"))),
            quoted("category_weights", weights),
            quoted("context_weights", number("spring", self.spring).map(|one| format!("{{ {one} }}"))),
            quoted("exploration", self.exploration.map(|method| format!("{{ {method} }}"))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// This over another.
    fn over(&self, under: &Self) -> Self {
        Self {
            model: self.model.or(under.model),
            strategy: self.strategy.or(under.strategy),
            even: self.even.or(under.even),
            odd: self.odd.or(under.odd),
            spring: self.spring.or(under.spring),
            exploration: self.exploration.or(under.exploration),
        }
    }
}

fn change() -> impl proptest::prelude::Strategy<Value = Change> {
    let percent = || prop::option::of((-60..200_i32).prop_map(f64::from));
    let methods = prop_oneof![
        Just("method = \"greedy\""),
        Just("method = \"epsilon\", epsilon = 0.5"),
        Just("method = \"softmax\", temperature = 2.0"),
    ];
    let strategies = prop_oneof![Just("priority"), Just("margin")];
    let own = (prop::option::of(1..3_u64), prop::option::of(strategies), prop::option::of(methods));
    (own, percent(), percent(), percent()).prop_map(|((model, strategy, exploration), even, odd, spring)| {
        Change { model, strategy, even, odd, spring, exploration }
    })
}

/// A decision for a customer with this m0, as a record has it.
fn recorded(decision: Uuid, m0: f32) -> ReplayInput {
    let customer = vec![(ValueSource::Request, Some(Value::Float(m0))), (ValueSource::Missing, None)];
    let context = vec![(ValueSource::Missing, None)];
    let values =
        RecordedValues { decision_id: Some(decision), customer, context, ..RecordedValues::default() };
    let request = RankRequest {
        placement: "home".to_owned(),
        customers: vec![Customer { id: "c0".to_owned(), ..Customer::default() }],
        ..RankRequest::default()
    };
    ReplayInput { request, now: Utc::now(), values, ignored: None }
}

/// The decision as the release makes it for an answer.
fn decided(snapshot: &Arc<Snapshot>, input: ReplayInput, decision: Uuid) -> Whole {
    let plan = replay::plan(snapshot, input).unwrap();
    let again = Again { decision, arms: None, refusals: None, overlay: None };
    decide_whole(&plan, 0, again, &Worker::only(), &Call::default()).unwrap().unwrap()
}

#[test]
fn a_shadow_decides_as_a_variant_with_the_same_changes_would() {
    let bank = Bank::new();
    // Keeps the graphs in memory.
    let _kept = bank.with(&shadow("models = { base = 2 }"));
    let cases = (change(), change(), any::<u128>(), 0.0..1.0_f32);
    let config = Config { failure_persistence: None, ..Config::with_cases(96) };
    let mut runner = TestRunner::new(config);
    let checked = runner.run(&cases, |(under, mut over, decision, m0)| {
        if over.lines().is_empty() {
            over.strategy = Some("priority");
        }
        let decision = Uuid::from_u128(decision);
        let input = || recorded(decision, m0);
        let shadowed = bank.with(&format!("{}{}", everybody(&under.lines()), shadow(&over.lines())));
        let job = ShadowJob::of_record(&shadowed, input(), |_| true).unwrap().unwrap();
        let found = comparisons(&job);
        let Compared { champion, challenger } = sides(&found[0]);
        let expected = |change: &Change| decided(&bank.with(&everybody(&change.lines())), input(), decision);
        let (arm, merged) = (expected(&under), expected(&over.over(&under)));
        prop_assert_eq!(&champion.ranking, &arm.ranking);
        prop_assert_eq!(&champion.shown, &arm.shown);
        prop_assert_eq!(&challenger.ranking, &merged.ranking);
        prop_assert_eq!(&challenger.shown, &merged.shown);
        prop_assert_eq!(&challenger.withheld_by_rules, &merged.withheld_by_rules);
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn an_overlay_that_changes_nothing_changes_nothing() {
    let bank = Bank::new();
    let snapshot =
        bank.exploring("method = \"softmax\", temperature = 3.0", &everybody("models = { base = 2 }"));
    for number in 0..50 {
        let decision = Uuid::from_u128(number);
        let input = || recorded(decision, 0.4);
        let plan = replay::plan(&snapshot, input()).unwrap();
        let changes = Changes::default();
        let overlay = Some(Overlay { changes: &changes, replacements: &[] });
        let again = Again { decision, arms: None, refusals: None, overlay };
        let whole = decide_whole(&plan, 0, again, &Worker::only(), &Call::default()).unwrap().unwrap();
        let expected = decided(&snapshot, input(), decision);
        assert_eq!((whole.ranking, whole.shown), (expected.ranking, expected.shown));
    }
}

#[test]
fn a_recorded_decision_is_compared_with_the_shadows_that_are_wanted() {
    let bank = Bank::new();
    let two = format!(
        "{}{}",
        shadow("models = { base = 2 }"),
        shadow("strategy = \"margin\"").replace("\"s\"", "\"t\"")
    );
    let snapshot = bank.with(&two);
    let input = || recorded(Uuid::from_u128(7), 0.3);
    let of = |wanted: &str| ShadowJob::of_record(&snapshot, input(), |shadow| *shadow.id == *wanted).unwrap();
    let found = comparisons(&of("t").unwrap());
    assert_eq!(found.iter().map(|one| &*one.shadow).collect::<Vec<_>>(), ["t"]);
    assert!(of("u").is_none());
}
