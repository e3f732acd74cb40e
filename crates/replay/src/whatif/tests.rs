mod limited;

use event::proto::RecordedError;

use super::*;
use crate::samples::{Models, Texts, named, rank, requests, source};

/// Decides again with `other` for records of `base`.
fn compared(
    records: &[DecisionRecord],
    base: &Arc<Snapshot>,
    other: &Arc<Snapshot>,
    threads: usize,
) -> Comparison {
    let load = |number: u64| {
        if number == base.release.number() {
            Ok(Arc::clone(base))
        } else {
            Err(format!("release {number} is gone"))
        }
    };
    let options = Options { threads, ..Options::default() };
    what_if(source(records), load, &named(other), options, |_| {}).unwrap()
}

#[test]
fn the_same_release_changes_nothing() {
    let (models, texts) = (Models::new(), Texts::sample(400));
    let base = models.load(3, &texts);
    let (_, records) = rank(&base, requests(400));
    let found = compared(&records, &base, &models.load(4, &texts), 2);
    assert_eq!(found.excluded, Excluded::default());
    assert_eq!(found.effect.all.decisions, 400);
    assert!(found.effect.is_unchanged(), "{:?}", found.effect.all);
    assert!(found.effect.all.offers.before > 200 && found.effect.reasons.len() > 5, "{:?}", found.effect);
    let Subject::Records(subject) = &found.subject else { panic!("{:?}", found.subject) };
    assert_eq!((subject.records, subject.release, &subject.releases), (400, 4, &BTreeMap::from([(3, 400)])));
}

/// The records of 400 requests to release 3, and a release with other offers, another model and other places.
fn changed() -> (Vec<DecisionRecord>, Arc<Snapshot>, Arc<Snapshot>) {
    let (models, texts) = (Models::new(), Texts::sample(400));
    let base = models.load(3, &texts);
    let (_, records) = rank(&base, requests(400));
    let other = texts
        .with_offers("customer.age >= 30", "customer.age >= 50")
        .with_offers("id = \"green\"\nname = \"Green card\"", "id = \"silver\"\nname = \"Silver card\"")
        .with_offers("value = 25.0", "value = 90.0");
    (records, base, models.load_with(4, &other, 2))
}

#[test]
fn what_the_other_release_answers_is_what_it_would_have_answered() {
    let (records, base, other) = changed();
    let found = compared(&records, &base, &other, 2);
    assert_eq!(found.excluded, Excluded::default());
    // The other release decides for the same requests and customers in the usual way.
    let (answered, _) = rank(&other, requests(400));
    let (before, _) = rank(&base, requests(400));
    let mut expected: BTreeMap<&str, (u64, u64, f64)> = BTreeMap::new();
    for (side, results) in [(0, &before), (1, &answered)] {
        for offer in results.iter().flat_map(|result| &result.offers) {
            let sums = expected.entry(&offer.offer_id).or_default();
            sums.0 += u64::from(side == 0);
            sums.1 += u64::from(side == 1);
            let value = offer.factors.as_ref().map_or(0.0, |factors| factors.propensity * factors.value);
            sums.2 += if side == 1 { value } else { 0.0 };
        }
    }
    for offer in &found.effect.offers {
        let (before, after, value) = expected.remove(offer.offer.as_str()).unwrap_or_default();
        assert_eq!((offer.shown.before, offer.shown.after), (before, after), "{}", offer.offer);
        assert!((offer.expected_value.after - value).abs() < 1e-6, "{}", offer.offer);
    }
    assert!(expected.is_empty(), "{expected:?}");
    let first =
        |result: &decision::RankResult| result.offers.first().map(|offer| Arc::clone(&offer.offer_id));
    let changes =
        before.iter().zip(&answered).filter(|(one, other)| first(one) != first(other)).count() as u64;
    assert_eq!(found.effect.all.first_changes, changes);
    assert!(changes > 50, "{changes}");
    let names: Vec<(&str, &str)> =
        found.effect.offers.iter().map(|offer| (offer.offer.as_str(), offer.name.as_str())).collect();
    assert!(
        names.contains(&("green", "Green card")) && names.contains(&("silver", "Silver card")),
        "{names:?}"
    );
}

#[test]
fn the_result_does_not_depend_on_threads() {
    let (mut records, base, other) = changed();
    records[17].format = 99;
    let mut long = records.clone();
    while long.len() < 5_000 {
        long.extend_from_slice(&records);
    }
    let json = |threads: usize| compared(&long, &base, &other, threads).json().unwrap();
    let one = json(1);
    assert_eq!(json(8), one);
    assert_eq!(json(3), one);
}

#[test]
fn what_cannot_be_compared_is_counted() {
    let (mut records, base, _) = changed();
    let without = Texts::sample(1).with(
        |texts| &mut texts.policy,
        "[[placement]]\nid = \"letter\"",
        "[[placement]]\nid = \"mailing\"",
    );
    let without =
        without.with_offers("placements = [\"home\", \"letter\"]", "placements = [\"home\", \"mailing\"]");
    let other = Models::new().load(4, &without);
    let letters = records.iter().filter(|record| record.placement == "letter").count() as u64;
    let homes = records.len() as u64 - letters;
    let mut damaged = records.iter_mut().filter(|record| record.placement == "home");
    damaged.next().unwrap().error = Some(RecordedError::default());
    damaged.next().unwrap().format = 99;
    damaged.next().unwrap().release = 77;
    damaged.next().unwrap().candidates.as_mut().unwrap().stages.pop();
    damaged.next().unwrap().candidates.as_mut().unwrap().stages[0] = 200;
    damaged.next().unwrap().customer.as_mut().unwrap().sources.pop();
    let found = compared(&records, &base, &other, 2);
    let Excluded { without_decision, gone_placements, new_placements, failed, failures } = &found.excluded;
    assert_eq!((*without_decision, *failed, failures.len()), (1, 5, 5));
    assert_eq!(gone_placements, &BTreeMap::from([("letter".to_owned(), letters)]));
    assert!(new_placements.is_empty());
    assert_eq!(found.effect.all.decisions, homes - 6);
    assert_eq!(found.excluded.decisions() + found.effect.all.decisions, records.len() as u64);
    let reasons: Vec<&str> = failures.iter().map(|failure| failure.reason.as_str()).collect();
    for expected in
        ["format 99", "release 77 is gone", "candidates: the record has 4", "stage 200", "features"]
    {
        assert!(reasons.iter().any(|reason| reason.contains(expected)), "{expected}: {reasons:?}");
    }
}

#[test]
fn no_records_give_no_effect() {
    let models = Models::new();
    let base = models.load(3, &Texts::sample(1));
    let found = compared(&[], &base, &base, 2);
    assert_eq!(found.effect.all, crate::Totals::default());
    assert!(found.effect.is_unchanged() && found.effect.placements.is_empty());
}

#[test]
fn an_error_of_the_source_ends_it() {
    let models = Models::new();
    let base = models.load(3, &Texts::sample(1));
    let source = |_: &mut dyn FnMut(DecisionRecord) -> ControlFlow<()>| Err("unreadable");
    let found = what_if(source, |_| Err(String::new()), &named(&base), Options::default(), |_| {});
    assert_eq!(found, Err(ParallelError::Source("unreadable")));
}

#[test]
fn records_of_several_releases_are_read_with_their_own() {
    let (models, texts) = (Models::new(), Texts::sample(100));
    let moved = texts.with(
        |texts| &mut texts.features,
        "[[feature]]\nname = \"m0\"\ntype = \"float\"\nentity = \"customer\"\ndefault = 0.5\n",
        "",
    );
    // The same features in another order.
    let moved = Texts {
        features: moved.features
            + "[[feature]]\nname = \"m0\"\ntype = \"float\"\nentity = \"customer\"\ndefault = 0.5\n",
        ..moved
    };
    let releases: Vec<Arc<Snapshot>> =
        (1..=6).map(|number| models.load(number, if number % 2 == 0 { &moved } else { &texts })).collect();
    let mut records = Vec::new();
    for release in &releases {
        records.extend(rank(release, requests(40)).1);
    }
    // Those of one release come back after more than a thread keeps.
    records.extend(records.clone());
    let load = |number: u64| Ok(Arc::clone(&releases[number as usize - 1]));
    for other in [&releases[0], &releases[1]] {
        let found = what_if(source(&records), load, &named(other), Options::default(), |_| {}).unwrap();
        assert_eq!(found.excluded, Excluded::default());
        assert_eq!(found.effect.all.decisions, 480);
        assert!(found.effect.is_unchanged(), "{:?}", found.effect.all);
    }
}

#[test]
fn a_simulation_for_records_compares_two_releases_that_both_decide_again() {
    let (records, base, other) = changed();
    let load = |number: u64| {
        if number == 3 { Ok(Arc::clone(&base)) } else { Err(format!("release {number} is gone")) }
    };
    let simulated = |before: &Arc<Snapshot>, after: &Arc<Snapshot>, threads| {
        let options = Options { threads, ..Options::default() };
        simulate_records(source(&records), load, (&named(before), &named(after)), options, |_| {}).unwrap()
    };
    // What release 3 answered is what it decides again.
    let expected = compared(&records, &base, &other, 2);
    for threads in [1, 3] {
        let found = simulated(&base, &other, threads);
        assert_eq!((&found.effect, &found.excluded), (&expected.effect, &expected.excluded));
        let Subject::Records(subject) = &found.subject else { panic!("{:?}", found.subject) };
        assert_eq!(subject.before.as_deref(), Some("release 3"));
    }
    // It need not be a release that answered.
    let back = simulated(&other, &base, 2);
    assert!(expected.effect.all.slate_changes > 0);
    assert_eq!(back.effect.all.slate_changes, expected.effect.all.slate_changes);
    let swapped = |one: crate::BeforeAfter<f64>| (one.after.to_bits(), one.before.to_bits());
    let forward = expected.effect.all.expected_value;
    assert_eq!(swapped(back.effect.all.expected_value), (forward.before.to_bits(), forward.after.to_bits()));
    let same = simulated(&other, &other, 2);
    assert!(same.effect.is_unchanged() && same.effect.all.decisions == expected.effect.all.decisions);
}

#[test]
fn placements_that_one_release_lacks_are_counted_on_its_side() {
    let (models, texts) = (Models::new(), Texts::sample(60));
    let base = models.load(3, &texts);
    let (_, records) = rank(&base, requests(60));
    let renamed = Texts {
        policy: texts.policy.replace("\"letter\"", "\"post\""),
        offers: texts.offers.replace("\"letter\"", "\"post\""),
        ..texts.clone()
    };
    let other = models.load(4, &renamed);
    let load = |_: u64| Ok(Arc::clone(&base));
    let letters = records.iter().filter(|record| record.placement == "letter").count() as u64;
    let found = |before: &Arc<Snapshot>, after: &Arc<Snapshot>| {
        let options = Options::default();
        let compared =
            simulate_records(source(&records), load, (&named(before), &named(after)), options, |_| {});
        let Excluded { gone_placements, new_placements, .. } = compared.unwrap().excluded;
        (gone_placements, new_placements)
    };
    let at_letter = BTreeMap::from([("letter".to_owned(), letters)]);
    assert!(letters > 0);
    assert_eq!(found(&base, &other), (at_letter.clone(), BTreeMap::new()));
    assert_eq!(found(&other, &base), (BTreeMap::new(), at_letter));
}
