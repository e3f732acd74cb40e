//! Decisions with a holdout, experiments, exploration and new offers: recorded, decided again, asked of another release,
//! and simulated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use decision::{Limiter, RankRequest, Reason, Stage};
use event::proto::DecisionRecord;
use history::History;
use prost::Message;
use release::{Release, Snapshot};

use crate::identity::{Options, Replayed, replay};
use crate::samples::{Models, Texts, crowded, moment, named, rank_with, react, source};
use crate::{
    CustomerNames, DecisionView, Releases, SimulatedHistory, Simulation, Subject, explain, simulate, what_if,
};

fn releases(snapshot: &Arc<Snapshot>) -> Releases {
    let release: Arc<Release> = Arc::clone(&snapshot.release);
    Releases::new(move |number| {
        if number == release.number() { Ok(Arc::clone(&release)) } else { Err("is gone".to_owned()) }
    })
}

fn replayed(snapshot: &Arc<Snapshot>, records: &[DecisionRecord]) -> Replayed {
    replay(source(records), &releases(snapshot), Options { rescore: true, threads: 2 }, |_| {}).unwrap()
}

/// Decisions of all kinds, some with forced variants, as they are read from a log.
fn decided(snapshot: &Arc<Snapshot>) -> Vec<DecisionRecord> {
    let history = Arc::new(History::default());
    let limiter = Limiter::new(Arc::clone(&history), Arc::new(CustomerNames::default()));
    let mut records = Vec::new();
    // All of them look at the same totals, and more want the best card than there are.
    let customer =
        |number: usize| decision::Customer { id: format!("c{number:05}"), ..decision::Customer::default() };
    let everyone = RankRequest {
        placement: "home".to_owned(),
        customers: (0..60).map(customer).collect(),
        ..RankRequest::default()
    };
    let calls = std::iter::once(everyone).chain(crowded(160));
    for (round, mut request) in calls.enumerate() {
        if round % 6 == 5 {
            // These calls are for letters, where `weights` is not, although its group is.
            let forced = [("base_v2", "challenger"), ("weights", "as_is")];
            request.forced = forced.map(|(one, two)| (one.to_owned(), two.to_owned())).to_vec();
        }
        if round % 4 == 1 {
            let page = decision::ContextValue::String("travel".to_owned());
            request.context.push(("page".to_owned(), Some(page)));
        }
        let (results, recorded) = rank_with(&limiter, snapshot, [request]);
        react(&history, &results, round);
        records.extend(recorded);
    }
    let read = |record: &DecisionRecord| DecisionRecord::decode(&*record.encode_to_vec()).unwrap();
    records.iter().map(read).collect()
}

fn count(records: &[DecisionRecord], has: impl Fn(&DecisionRecord) -> bool) -> usize {
    records.iter().filter(|record| has(record)).count()
}

fn has_reason(record: &DecisionRecord, reason: Reason) -> bool {
    record.candidates.as_ref().is_some_and(|found| found.reasons.contains(&(reason as u8 + 1)))
}

#[test]
fn decisions_with_experiments_and_exploration_are_decided_again_to_the_byte() {
    let snapshot = Models::new().load(7, &Texts::experimented(60));
    let records = decided(&snapshot);
    let found = replayed(&snapshot, &records);
    assert!(found.is_identical(), "{:?} {:?} {:?}", found.differences, found.failures, found.rescored);
    assert_eq!((found.identical, found.without_decision), (records.len() as u64, 0));

    // And there is something of everything among them.
    let variants: BTreeSet<(&str, &str, u32)> = records
        .iter()
        .flat_map(|record| &record.assignments)
        .map(|one| (one.experiment.as_str(), one.variant.as_str(), one.how))
        .collect();
    for variant in [
        ("base_v2", "champion", 1),
        ("base_v2", "challenger", 1),
        ("base_v2", "challenger", 2),
        ("base_v2", "challenger", 3),
        ("weights", "cards_first", 1),
        ("weights", "by_margin", 1),
    ] {
        assert!(variants.contains(&variant), "{variant:?} is not among {variants:?}");
    }
    let has_arm = |record: &DecisionRecord, experiment: &str, how| {
        record.assignments.iter().any(|one| one.experiment == experiment && one.how == how)
    };
    let forced_elsewhere =
        count(&records, |record| has_arm(record, "base_v2", 3) && has_arm(record, "letters", 1));
    assert!(forced_elsewhere > 0);
    let offers = |has: &dyn Fn(&event::proto::RecordedOffer) -> bool| {
        count(&records, |record| record.offers.iter().any(has))
    };
    let version =
        |of: u64| offers(&|offer| offer.factors.as_ref().is_some_and(|factors| factors.model_version == of));
    let numbers = [
        count(&records, |record| record.held_out),
        count(&records, |record| record.held_out && record.offers.iter().any(|offer| offer.fallback)),
        count(&records, |record| has_reason(record, Reason::Holdout)),
        count(&records, |record| has_reason(record, Reason::Maturity)),
        count(&records, |record| record.newcomers.iter().any(|one| one.impressions > 0)),
        offers(&|offer| offer.selection_probability < 1.0),
        offers(&|offer| offer.conditional),
        offers(&|offer| offer.mandatory),
        version(1),
        version(2),
    ];
    assert!(numbers.iter().all(|number| *number > 0), "{numbers:?}");
    for record in records.iter().filter(|record| record.held_out) {
        assert!(
            record.assignments.is_empty() && record.offers.iter().all(|offer| offer.fallback),
            "{record:?}"
        );
        let candidates = record.candidates.as_ref().unwrap();
        assert!(candidates.stages.iter().all(|stage| *stage == Stage::Holdout as u8 + 1));
    }
}

#[test]
fn a_record_with_a_pseudonym_keeps_its_arms() {
    let snapshot = Models::new().load(7, &Texts::experimented(60));
    let mut records = decided(&snapshot);
    // Nobody can draw with the id any more.
    for (number, record) in records.iter_mut().enumerate() {
        record.customer_id = format!("p{number}");
        record.pseudonym_key = "k1".to_owned();
    }
    let found = replayed(&snapshot, &records);
    assert!(found.is_identical(), "{:?} {:?}", found.differences, found.failures);
    assert!(count(&records, |record| record.held_out) > 0);
    assert!(count(&records, |record| !record.assignments.is_empty()) > 0);
}

#[test]
fn a_pseudonym_has_one_arm_of_experiments_that_another_release_put_into_one_group() {
    let texts = Texts::experimented(60);
    let mut records = decided(&Models::new().load(7, &texts));
    for (number, record) in records.iter_mut().enumerate() {
        record.customer_id = format!("p{number}");
        record.pseudonym_key = "k1".to_owned();
    }
    let grouped =
        texts.with(|texts| &mut texts.policy, "group_range = [0.0, 0.6]", "group_range = [0.0, 0.3]").with(
            |texts| &mut texts.policy,
            "id = \"base_v2\"\n",
            "id = \"base_v2\"\ngroup = \"layout\"\ngroup_range = [0.3, 0.6]\n",
        );
    let releases = releases(&Models::new().load(7, &grouped));
    let mut both = 0;
    for record in records.iter().filter(|record| record.assignments.len() == 2) {
        let decided = explain(record, &releases).unwrap().result;
        // The first by name, `base_v2`.
        let found: Vec<usize> = decided.assignments.iter().map(|one| one.experiment).collect();
        assert_eq!(found, [0], "{record:?}");
        both += 1;
    }
    assert!(both > 0);
}

#[test]
fn whatever_is_changed_of_arms_and_probabilities_is_found() {
    type Change = fn(&mut DecisionRecord) -> bool;
    let snapshot = Models::new().load(7, &Texts::experimented(60));
    let records = decided(&snapshot);
    let changes: [Change; 8] = [
        |record| {
            record.assignments.first_mut().is_some_and(|one| {
                "champion!".clone_into(&mut one.variant);
                one.how == 1
            })
        },
        |record| {
            record.assignments.retain(|one| one.how == 1);
            let is_drawn = !record.assignments.is_empty();
            record.assignments.clear();
            is_drawn
        },
        |record| {
            record.assignments.first_mut().is_some_and(|one| {
                one.phase ^= 1;
                true
            })
        },
        |record| std::mem::take(&mut record.held_out),
        |record| {
            let explored = record.offers.iter_mut().find(|offer| offer.selection_probability < 1.0);
            explored.is_some_and(|offer| {
                offer.selection_probability = offer.selection_probability.next_up();
                true
            })
        },
        |record| record.offers.iter_mut().any(|offer| std::mem::take(&mut offer.conditional)),
        |record| record.offers.iter_mut().any(|offer| std::mem::take(&mut offer.mandatory)),
        // Another decision is another throw.
        |record| {
            record.decision_id = uuid::Uuid::from_u128(7).to_string();
            record.offers.iter().any(|offer| offer.selection_probability < 0.7)
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let changed: Vec<DecisionRecord> = records
            .iter()
            .filter_map(|record| {
                let mut record = record.clone();
                change(&mut record).then_some(record)
            })
            .take(20)
            .collect();
        assert!(!changed.is_empty(), "change {number} changes nothing");
        let found = replayed(&snapshot, &changed);
        // The last change is another throw, which may come to the same.
        let least = if number == 7 { 1 } else { changed.len() as u64 };
        assert!(found.differing >= least, "change {number}: {} of {}", found.differing, changed.len());
    }
}

#[test]
fn a_decision_is_shown_with_its_variants_and_probabilities() {
    let snapshot = Models::new().load(7, &Texts::experimented(60));
    let records = decided(&snapshot);
    let record = records
        .iter()
        .find(|record| {
            record.assignments.len() == 2 && record.offers.iter().any(|one| one.selection_probability < 1.0)
        })
        .unwrap();
    let view = DecisionView::of(record, &explain(record, &releases(&snapshot)));
    assert_eq!(view.replayed, Some(true));
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["assignments"].as_array().unwrap().len(), 2, "{json}");
    assert_eq!(json["assignments"][0]["experiment"], "base_v2");
    assert!(json["offers"][0]["selection_probability"].as_f64().unwrap() <= 1.0);
    let held_out = records.iter().find(|record| record.held_out).unwrap();
    let view = DecisionView::of(held_out, &explain(held_out, &releases(&snapshot)));
    assert!(view.held_out && view.withheld.iter().all(|one| one.reason == "HOLDOUT"), "{view:?}");
}

/// The same with experiments that are stopped, and no holdout.
fn without_experiments(texts: &Texts) -> Texts {
    let mut plain = texts.with(|texts| &mut texts.policy, "coverage = ", "state = \"stopped\"\ncoverage = ");
    plain.policy = plain.policy.replace("[holdout]\nshare = 0.1\nredraw = \"monthly\"\n", "");
    plain
}

#[test]
fn another_release_decides_with_its_own_experiments() {
    let (models, texts) = (Models::new(), Texts::experimented(60));
    let snapshot = models.load(7, &texts);
    let records = decided(&snapshot);
    let same = models.load(8, &texts);
    let plain = models.load(9, &without_experiments(&texts));
    let ask = |other: &Arc<Snapshot>| {
        let load = Arc::clone(&snapshot);
        what_if(
            source(&records),
            move |_| Ok(Arc::clone(&load)),
            &named(other),
            crate::Options::default(),
            |_| {},
        )
        .unwrap()
    };
    let unchanged = ask(&same);
    assert_eq!(unchanged.effect.all.first_changes, 0, "{:?}", unchanged.effect.all);
    let changed = ask(&plain);
    assert!(changed.effect.all.first_changes > 0, "{:?}", changed.effect.all);
}

#[test]
fn a_simulation_repeats_itself_with_the_arms_of_each_customer() {
    let (models, texts) = (Models::new(), Texts::experimented(400));
    let (before, after) = (models.load(7, &texts), models.load(8, &without_experiments(&texts)));
    let run = |before: &Arc<Snapshot>, after: &Arc<Snapshot>, threads| {
        let simulation = Simulation {
            before: named(before),
            after: named(after),
            placements: Vec::new(),
            now: moment(),
            history: SimulatedHistory::default(),
            options: crate::Options { threads, ..crate::Options::default() },
        };
        simulate(&simulation, |_| {}).unwrap()
    };
    let text = |comparison: &crate::Comparison| serde_json::to_string(comparison).unwrap();
    let found = run(&before, &after, 1);
    assert_eq!(text(&found), text(&run(&before, &after, 2)));
    // Chance is that of the customer: the same release explores the same.
    let same = run(&before, &models.load(9, &texts), 1);
    let Subject::Customers(customers) = &same.subject else { panic!("{:?}", same.subject) };
    assert_eq!((customers.first_changes, customers.slate_changes), (0, 0));
    let Subject::Customers(customers) = &found.subject else { panic!("{:?}", found.subject) };
    assert!(customers.first_changes > 0);
    // A tenth is held out in one of them alone.
    let withheld = |reason: &str| {
        let all = found.effect.reasons.iter().filter(|one| one.reason == reason);
        all.fold((0, 0), |sum, one| (sum.0 + one.offers.before, sum.1 + one.offers.after))
    };
    let held_out = withheld("HOLDOUT");
    assert!(held_out.0 > 0 && held_out.1 == 0, "{held_out:?}");
}

#[test]
fn arms_do_not_depend_on_the_call() {
    let snapshot = Models::new().load(7, &Texts::experimented(60));
    let limiter = || Limiter::new(Arc::default(), Arc::new(CustomerNames::default()));
    let customer =
        |number: usize| decision::Customer { id: format!("c{number:05}"), ..decision::Customer::default() };
    let request = |numbers: &mut dyn Iterator<Item = usize>| RankRequest {
        placement: "home".to_owned(),
        customers: numbers.map(customer).collect(),
        as_of: Some(moment()),
        ..RankRequest::default()
    };
    let arms = |requests: Vec<RankRequest>| {
        let (results, _) = rank_with(&limiter(), &snapshot, requests);
        let arm = |one: &experiment::Assignment| (one.experiment, one.variant);
        let of = |result: &decision::RankResult| {
            (
                result.customer_id.clone(),
                (result.held_out, result.assignments.iter().map(arm).collect::<Vec<_>>()),
            )
        };
        results.iter().map(of).collect::<BTreeMap<_, _>>()
    };
    let together = arms(vec![request(&mut (0..200))]);
    let backwards = arms((0..200).rev().map(|number| request(&mut std::iter::once(number))).collect());
    assert_eq!(together, backwards);
    let held_out = together.values().filter(|(held_out, _)| *held_out).count();
    assert!((5..45).contains(&held_out), "{held_out}");
}
