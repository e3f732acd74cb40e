use std::collections::BTreeSet;

use event::proto::RecordedError;
use serde_json::Value as Json;
use shadow::{Names, ShadowReport};

use super::*;
use crate::samples::{Models, Texts, crowded, rank, requests, source};

/// The same files with a shadow that is compared on this share of the decisions.
fn with_shadow(texts: &Texts, id: &str, sample: f64, changes: &str) -> Texts {
    let policy = &texts.policy;
    let policy = format!("{policy}[[shadow]]\nid = \"{id}\"\nsample = {sample:?}\n{changes}\n");
    Texts { policy, ..texts.clone() }
}

fn run(
    records: &[DecisionRecord],
    base: &Arc<Snapshot>,
    other: &Arc<Snapshot>,
    options: ShadowOptions<'_>,
) -> ReplayedShadows {
    let load = |number: u64| {
        if number == base.release.number() {
            Ok(Arc::clone(base))
        } else {
            Err(format!("release {number} is gone"))
        }
    };
    replay_shadows(source(records), load, other, options, |_| {}).unwrap()
}

/// The comparisons, one by one.
fn comparisons(records: &[DecisionRecord], base: &Arc<Snapshot>, other: &Arc<Snapshot>) -> Vec<Comparison> {
    let names = Arc::new(History::default());
    let limited = Loaded::new(Arc::clone(other), &names);
    let other = Other { snapshot: Arc::clone(other), limited, options: ShadowOptions::default() };
    let counts = ReplayedShadows::default();
    let mut state = State { other: &other, names, worker: Worker::only(), bases: Vec::new(), counts };
    let mut found = Vec::new();
    for record in records {
        state.add(record, |_| Ok(Arc::clone(base)), &mut found);
    }
    assert_eq!(state.counts.excluded, Excluded::default());
    found
}

/// The report on the only shadow.
fn report(replayed: &ReplayedShadows) -> ShadowReport {
    let mut report = replayed.tally.report(&Names::default());
    assert_eq!(report.shadows.len(), 1, "{report:?}");
    report.shadows.remove(0)
}

/// All numbers but those that the clock gives.
fn without_times(replayed: &ReplayedShadows) -> Json {
    fn strip(json: &mut Json) {
        match json {
            Json::Object(fields) => {
                fields.retain(|name, _| name != "champion_us" && name != "shadow_us");
                fields.values_mut().for_each(strip);
            }
            Json::Array(items) => items.iter_mut().for_each(strip),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }
    let mut json = serde_json::to_value(replayed.tally.report(&Names::default())).unwrap();
    strip(&mut json);
    json
}

#[test]
fn the_champion_shows_again_what_it_has_shown() {
    let models = Models::new();
    let texts = Texts::experimented(300);
    let base = models.load(3, &with_shadow(&texts, "s", 1.0, "models = { base = 2 }"));
    let (results, records) = rank(&base, crowded(60));
    let found = comparisons(&records, &base, &base);
    let held_out: BTreeSet<String> = results
        .iter()
        .filter(|result| result.held_out)
        .map(|result| result.decision_id.hyphenated().to_string())
        .collect();
    assert_eq!(found.len() + held_out.len(), records.len());
    for one in &found {
        let recorded = records.iter().find(|record| record.decision_id == one.decision_id).unwrap();
        let both = one.result.as_ref().unwrap();
        let shown: Vec<&str> =
            both.champion_shown.iter().map(|at| &*both.offers[*at as usize].offer_id).collect();
        let expected: Vec<&str> = recorded.offers.iter().map(|offer| &*offer.offer_id).collect();
        assert_eq!(shown, expected, "{one:?}\n{recorded:?}");
        assert_eq!((both.withheld_by_champion_only, both.withheld_by_shadow_only), (0, 0));
        assert_eq!(one.segment, recorded.segment.as_ref().map(|segment| segment.id));
    }
}

#[test]
fn a_shadow_that_changes_nothing_agrees_in_everything() {
    let texts = Texts::experimented(300);
    // The category has no weight of its own.
    let texts = with_shadow(&texts, "s", 1.0, "category_weights = { points = 0.0 }");
    let base = Models::new().load(3, &texts);
    let (_, records) = rank(&base, crowded(60));
    let replayed = run(&records, &base, &base, ShadowOptions { threads: 2, ..ShadowOptions::default() });
    assert_eq!(replayed.excluded, Excluded::default());
    let all = report(&replayed).all;
    assert_eq!(all.compared, replayed.decisions());
    let first = all.first_agrees.unwrap();
    assert_eq!((first.count, first.share), (first.n, 1.0));
    for mean in [all.overlap, all.tau_b, all.rbo].map(Option::unwrap) {
        assert_eq!((mean.mean, mean.deviation), (1.0, Some(0.0)));
    }
    let change = all.score_change.unwrap();
    assert_eq!((change.mean, change.deviation), (0.0, Some(0.0)));
    let shift = all.score_shift.unwrap();
    assert_eq!((shift.psi, shift.ks), (0.0, 0.0));
    for value in [all.value_by_champion, all.value_by_shadow].map(Option::unwrap) {
        assert_eq!((value.change, value.deviation), (0.0, Some(0.0)));
    }
    assert_eq!(all.withheld_differs.unwrap().count, 0);
}

/// Records of release 3, and release 4 with a shadow, other offers and another schema.
fn changed() -> (Vec<DecisionRecord>, Arc<Snapshot>, Arc<Snapshot>) {
    let (models, texts) = (Models::new(), Texts::sample(400));
    let base = models.load(3, &texts);
    let (_, records) = rank(&base, requests(400));
    let first = "[[feature]]\nname = \"m0\"\ntype = \"float\"\nentity = \"customer\"\ndefault = 0.5\n";
    let other = texts.with_offers("value = 25.0", "value = 90.0");
    // The features of the customer have other positions.
    let mut other = other.with(|texts| &mut texts.features, first, "");
    other.features.push_str(first);
    let other = with_shadow(&other, "s", 0.25, "models = { base = 2 }");
    (records, base, models.load(4, &other))
}

#[test]
fn another_release_finds_the_features_by_name() {
    let (records, base, other) = changed();
    let replayed = run(&records, &base, &other, ShadowOptions::default());
    assert_eq!((replayed.records, replayed.decisions()), (400, 400));
    // The same as if that release had decided itself.
    let (_, own) = rank(&other, requests(400));
    let expected = run(&own, &other, &other, ShadowOptions::default());
    let (found, expected) = (report(&replayed).all, report(&expected).all);
    assert!(found.compared > 300 && found.first_agrees.unwrap().share < 1.0, "{found:?}");
    let of = |figures: &shadow::Figures| {
        let change = figures.score_change.unwrap();
        (figures.compared, figures.failed, figures.first_agrees, change.pairs, change.decisions)
    };
    assert_eq!(of(&found), of(&expected));
}

#[test]
fn the_result_does_not_depend_on_threads() {
    let (mut records, base, other) = changed();
    records[17].format = 99;
    let mut long = records.clone();
    while long.len() < 5_000 {
        long.extend_from_slice(&records);
    }
    let json = |threads: usize| {
        let replayed = run(&long, &base, &other, ShadowOptions { threads, ..ShadowOptions::default() });
        (without_times(&replayed), replayed.excluded)
    };
    let one = json(1);
    assert_eq!(one.1.failed, 13);
    assert_eq!(json(8), one);
    assert_eq!(json(3), one);
}

#[test]
fn what_is_sampled_is_what_a_server_samples() {
    let (records, base, other) = changed();
    let shadow = &other.release.experiments().shadows[0];
    let id = |record: &DecisionRecord| uuid::Uuid::parse_str(&record.decision_id).unwrap().as_u128();
    let expected = records.iter().filter(|record| shadow.samples(id(record))).count() as u64;
    assert!((60..140).contains(&expected), "{expected}");
    let options = ShadowOptions { sampled: true, ..ShadowOptions::default() };
    let replayed = run(&records, &base, &other, options);
    assert_eq!((replayed.decisions(), replayed.without_shadow), (expected, 400 - expected));
    assert_eq!(report(&replayed).all.compared + report(&replayed).all.failed, expected);
}

#[test]
fn one_shadow_can_be_chosen_and_what_is_not_compared_is_counted() {
    let (models, texts) = (Models::new(), Texts::sample(60));
    let base = models.load(3, &texts);
    let (_, mut records) = rank(&base, requests(60));
    let texts = with_shadow(&texts, "everywhere", 1.0, "models = { base = 2 }");
    let texts = with_shadow(&texts, "letters", 1.0, "placements = [\"letter\"]\nstrategy = \"priority\"");
    let other = models.load(4, &texts);
    let letters = records.iter().filter(|record| record.placement == "letter").count() as u64;
    let both = run(&records, &base, &other, ShadowOptions::default());
    let ids = |replayed: &ReplayedShadows| -> Vec<String> {
        let shadows = replayed.tally.report(&Names::default()).shadows;
        shadows.into_iter().map(|one| one.shadow).collect()
    };
    assert_eq!((both.decisions(), ids(&both)), (60, vec!["everywhere".to_owned(), "letters".to_owned()]));
    let options = ShadowOptions { shadow: Some("letters"), ..ShadowOptions::default() };
    let one = run(&records, &base, &other, options);
    assert_eq!(
        (one.decisions(), one.without_shadow, ids(&one)),
        (letters, 60 - letters, vec!["letters".to_owned()])
    );

    records[0].error = Some(RecordedError::default());
    records[1].placement = "gone".to_owned();
    records[2].release = 9;
    let some = run(&records, &base, &other, ShadowOptions::default());
    assert_eq!((some.records, some.decisions(), some.excluded.decisions()), (60, 57, 3));
    let failure = some.excluded.failures.first().unwrap();
    assert_eq!(failure.reason, "release 9 is gone");
}
