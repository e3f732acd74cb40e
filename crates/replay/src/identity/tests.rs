use std::sync::Arc;

use decision::Limiter;
use event::proto::SeenHistory;
use history::History;
use prost::Message;
use release::{Release, Snapshot};

use super::*;
use crate::samples::{Models, Texts, crowded, rank_with, react, source};
use crate::{CustomerNames, DecisionView, explain};

fn releases(snapshot: &Arc<Snapshot>) -> Releases {
    let release: Arc<Release> = Arc::clone(&snapshot.release);
    Releases::new(move |number| {
        if number == release.number() { Ok(Arc::clone(&release)) } else { Err("is gone".to_owned()) }
    })
}

/// Decisions with limits of all kinds, with outcomes between them, as they are read from a log.
fn limited() -> (Arc<Snapshot>, Vec<DecisionRecord>) {
    let snapshot = Models::new().load(7, &Texts::limited(60));
    let history = Arc::new(History::default());
    let limiter = Limiter::new(Arc::clone(&history), Arc::new(CustomerNames::default()));
    let mut records = Vec::new();
    for (round, request) in crowded(90).into_iter().enumerate() {
        let (results, recorded) = rank_with(&limiter, &snapshot, [request]);
        react(&history, &results, round);
        records.extend(recorded);
    }
    let read = |record: &DecisionRecord| DecisionRecord::decode(&*record.encode_to_vec()).unwrap();
    (snapshot, records.iter().map(read).collect())
}

fn replayed(snapshot: &Arc<Snapshot>, records: &[DecisionRecord]) -> Replayed {
    replay(source(records), &releases(snapshot), Options { rescore: true, threads: 2 }, |_| {}).unwrap()
}

/// How many records have something.
fn count(records: &[DecisionRecord], has: impl Fn(&DecisionRecord) -> bool) -> usize {
    records.iter().filter(|record| has(record)).count()
}

/// The numbers of a stage and of reasons on the wire.
const RESERVATION: u8 = decision::Stage::Reservation as u8 + 1;

#[test]
fn decisions_with_limits_are_decided_again_to_the_byte() {
    use decision::Reason::{Budget, CapCustomer, CapTotal, ContactLimit, Suppressed};

    let (snapshot, records) = limited();
    let found = replayed(&snapshot, &records);
    assert!(found.is_identical(), "{:?} {:?}", found.differences, found.failures);
    assert_eq!((found.identical, found.without_decision), (records.len() as u64, 0));

    // And there is something of everything among them.
    let reasons: std::collections::BTreeSet<u8> = records
        .iter()
        .filter_map(|record| record.candidates.as_ref())
        .flat_map(|candidates| candidates.reasons.iter().copied())
        .collect();
    for reason in [Suppressed, ContactLimit, CapCustomer, CapTotal, Budget] {
        assert!(reasons.contains(&(reason as u8 + 1)), "{reason}: {reasons:?}");
    }
    let has_stage = |record: &DecisionRecord, stage| {
        record.candidates.as_ref().is_some_and(|candidates| candidates.stages.contains(&stage))
    };
    let numbers = [
        count(&records, |record| record.history.as_ref().is_some_and(|seen| !seen.events.is_empty())),
        count(&records, |record| record.history.as_ref().is_some_and(|seen| !seen.full.is_empty())),
        count(&records, |record| record.history.as_ref().is_some_and(|seen| seen.opted_out)),
        count(&records, |record| has_stage(record, RESERVATION)),
        count(&records, |record| record.refusals.iter().any(|refusal| refusal.round > 0)),
        count(&records, |record| record.refusals.iter().any(|refusal| refusal.fallback)),
        count(&records, |record| record.offers.iter().any(|offer| offer.cap_total.is_some())),
        count(&records, |record| record.offers.iter().any(|offer| offer.budget.is_some())),
        count(&records, |record| record.offers.iter().any(|offer| offer.terms.is_some())),
        count(&records, |record| record.default_channel == "app" && record.channel.is_empty()),
        count(&records, |record| record.history.is_none()),
    ];
    assert!(numbers.iter().all(|number| *number > 0), "{numbers:?}");
}

#[test]
fn a_record_of_an_earlier_version_is_decided_again_as_it_is() {
    let snapshot = Models::new().load(7, &Texts::sample(60));
    let limiter = Limiter::new(Arc::default(), Arc::new(CustomerNames::default()));
    let (_, mut records) = rank_with(&limiter, &snapshot, crowded(30));
    for record in &mut records {
        record.default_channel.clear();
        record.offers.iter_mut().for_each(|offer| offer.terms = None);
    }
    let found = replayed(&snapshot, &records);
    assert!(found.is_identical(), "{:?} {:?}", found.differences, found.failures);
    assert!(count(&records, |record| record.offers.iter().any(|offer| offer.fallback)) > 0);
}

/// A record of many, changed; each must be found. `changes`: whether there was something to change.
fn is_found(
    snapshot: &Arc<Snapshot>,
    records: &[DecisionRecord],
    change: impl Fn(&mut DecisionRecord) -> bool,
) {
    let changed = records.iter().find_map(|record| {
        let mut record = record.clone();
        change(&mut record).then_some(record)
    });
    let changed = changed.expect("a record to change");
    let found = replayed(snapshot, std::slice::from_ref(&changed));
    assert_eq!(found.identical, 0, "{changed:?}");
}

#[test]
fn whatever_is_changed_of_what_limits_did_is_found() {
    let (snapshot, records) = limited();
    let seen = |record: &mut DecisionRecord, change: fn(&mut SeenHistory) -> bool| {
        record.history.as_mut().is_some_and(change)
    };
    let withheld = |record: &DecisionRecord, reason: decision::Reason| {
        record.candidates.as_ref().is_some_and(|found| found.reasons.contains(&(reason as u8 + 1)))
    };
    // What was looked at, where it withheld something.
    is_found(&snapshot, &records, |record| {
        withheld(record, decision::Reason::CapTotal)
            && record.refusals.is_empty()
            && seen(record, |seen| {
                let had = !seen.full.is_empty();
                (seen.full, seen.frees_in) = (Vec::new(), Vec::new());
                had
            })
    });
    is_found(&snapshot, &records, |record| {
        withheld(record, decision::Reason::Suppressed)
            && seen(record, |seen| {
                seen.times[0] -= 40 * 86_400_000;
                true
            })
    });
    is_found(&snapshot, &records, |record| {
        seen(record, |seen| {
            seen.opted_out = !seen.opted_out;
            true
        })
    });
    is_found(&snapshot, &records, |record| {
        seen(record, |seen| {
            let had = !seen.events.is_empty();
            seen.events[..usize::from(had)].iter_mut().for_each(|event| *event = 999);
            had
        })
    });
    // What was refused.
    let refusals = |record: &mut DecisionRecord, change: fn(&mut event::proto::RecordedRefusal)| {
        let had = !record.refusals.is_empty();
        record.refusals.iter_mut().take(1).for_each(change);
        had
    };
    is_found(&snapshot, &records, |record| refusals(record, |refusal| refusal.round += 7));
    is_found(&snapshot, &records, |record| refusals(record, |refusal| refusal.fallback = !refusal.fallback));
    is_found(&snapshot, &records, |record| refusals(record, |refusal| refusal.offer_id.push('x')));
    is_found(&snapshot, &records, |record| refusals(record, |refusal| refusal.reason = 99));
    is_found(&snapshot, &records, |record| {
        let had = !record.refusals.is_empty();
        record.refusals.clear();
        had
    });
    // What was reserved.
    is_found(&snapshot, &records, |record| {
        let reserved = record.offers.iter_mut().find_map(|offer| offer.cap_total.as_mut());
        reserved.map(|reserved| reserved.lapses_in += 1).is_some()
    });
    is_found(&snapshot, &records, |record| {
        let reserved = record.offers.iter_mut().find_map(|offer| offer.budget.as_mut());
        reserved.map(|reserved| reserved.outcome.push('x')).is_some()
    });
    is_found(&snapshot, &records, |record| {
        record
            .offers
            .iter_mut()
            .find(|offer| offer.budget.is_some())
            .map(|offer| offer.budget = None)
            .is_some()
    });
    is_found(&snapshot, &records, |record| {
        let terms = record.offers.iter_mut().find_map(|offer| offer.terms.as_mut());
        terms.map(|terms| terms.cost += 0.01).is_some()
    });
    is_found(&snapshot, &records, |record| {
        let had = !record.default_channel.is_empty();
        record.default_channel.push('x');
        had
    });
}

#[test]
fn a_decision_with_limits_is_shown_with_when_they_free() {
    let (snapshot, records) = limited();
    let releases = releases(&snapshot);
    let view = |record: &DecisionRecord| DecisionView::of(record, &explain(record, &releases));
    let views: Vec<DecisionView> = records.iter().map(view).collect();
    assert!(views.iter().all(|view| view.replayed == Some(true) && view.unexplained.is_empty()));
    let details = |reason: &str| {
        let withheld = views.iter().flat_map(|view| &view.withheld).filter(|one| one.reason == reason);
        withheld.map(|one| one.detail.as_str()).collect::<Vec<_>>()
    };
    let starts = |reason: &str, text: &str| {
        let details = details(reason);
        assert!(details.iter().any(|detail| detail.starts_with(text)), "{text}: {details:?}");
    };
    starts("SUPPRESSED", "dismissed: frees in ");
    starts("CONTACT_LIMIT", "letters: frees in 3 d");
    starts("CAP_CUSTOMER", "cap_customer: frees in 7 d");
    starts("CAP_TOTAL", "cap_total: ");
    starts("BUDGET", "budget: frees in ");
    let refusals: Vec<_> = views.iter().flat_map(|view| &view.refusals).collect();
    assert!(refusals.iter().any(|one| one.round.is_none() && one.limit.limit == "letters"), "{refusals:?}");
    assert!(refusals.iter().any(|one| one.limit.limit == "budget" && one.reason == "BUDGET"), "{refusals:?}");
    let reserved: Vec<_> =
        views.iter().flat_map(|view| &view.offers).flat_map(|offer| &offer.reservations).collect();
    assert!(
        reserved.iter().any(|one| (one.limit, one.outcome.as_str()) == ("budget", "accept")),
        "{reserved:?}"
    );
    let json = serde_json::to_value(&views).unwrap();
    let history = json.as_array().unwrap().iter().find_map(|view| view.get("history")).unwrap();
    assert!(history["events"].is_array() && history["full"].is_array(), "{history}");
    let full = views.iter().filter_map(|view| view.history.as_ref()).flat_map(|history| &history.full);
    assert!(full.clone().any(|limit| limit.frees.starts_with("frees in ") || limit.frees == "does not free"));
}
