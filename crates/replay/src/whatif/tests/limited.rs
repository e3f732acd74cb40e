//! What-if with limits: what was recorded is used, and what was not is said.

use std::fmt::Write;

use decision::{Customer, Limiter, RankRequest};

use super::*;
use crate::CustomerNames;
use crate::samples::{crowded, rank_with, react};

/// Records of a release with limits of all kinds, with outcomes between them; and the models and files to load others.
fn limited() -> (Models, Texts, Arc<Snapshot>, Vec<DecisionRecord>) {
    let (models, texts) = (Models::new(), Texts::limited(60));
    let base = models.load(3, &texts);
    let history = Arc::new(History::default());
    let limiter = Limiter::new(Arc::clone(&history), Arc::new(CustomerNames::default()));
    let mut records = Vec::new();
    for (round, request) in crowded(60).into_iter().enumerate() {
        let (results, recorded) = rank_with(&limiter, &base, [request]);
        react(&history, &results, round);
        records.extend(recorded);
    }
    (models, texts, base, records)
}

fn not_known(found: &Comparison) -> Vec<(&str, u64)> {
    let Subject::Records(Records { not_known, .. }) = &found.subject else { panic!("{:?}", found.subject) };
    not_known.iter().map(|(limit, decisions)| (limit.as_str(), *decisions)).collect()
}

/// How many offers were withheld for a reason, before and after.
fn withheld(found: &Comparison, reason: &str) -> (u64, u64) {
    let of_reason = found.effect.reasons.iter().filter(|one| one.reason == reason);
    of_reason.fold((0, 0), |sum, one| (sum.0 + one.offers.before, sum.1 + one.offers.after))
}

fn at(records: &[DecisionRecord], placement: &str) -> u64 {
    records.iter().filter(|record| record.placement == placement).count() as u64
}

/// Decisions at `letter` over the channel that it has.
fn by_mail(records: &[DecisionRecord]) -> u64 {
    let is_mail = |record: &&DecisionRecord| record.placement == "letter" && record.channel.is_empty();
    records.iter().filter(is_mail).count() as u64
}

#[test]
fn the_same_limits_change_nothing() {
    let (models, texts, base, records) = limited();
    let found = compared(&records, &base, &models.load(4, &texts), 2);
    assert_eq!((found.effect.all.decisions, &found.excluded), (records.len() as u64, &Excluded::default()));
    assert!(found.effect.is_unchanged(), "{:?}", found.effect.all);
    assert_eq!(not_known(&found), []);
    for reason in ["SUPPRESSED", "CONTACT_LIMIT", "CAP_CUSTOMER", "CAP_TOTAL", "BUDGET"] {
        let (before, after) = withheld(&found, reason);
        assert!(before > 0 && before == after, "{reason}: {before} {after}");
    }
    let one = found.json().unwrap();
    assert_eq!(compared(&records, &base, &models.load(4, &texts), 8).json().unwrap(), one);
}

/// Eight offers of these values at home. Every second one is limited in total, and the others by customer: a call with
/// the same customer in many rows finds them used up one after another, more than there are rounds for.
fn alternating(values: [u32; 8]) -> Texts {
    let mut texts = Texts::sample(60).with(|texts| &mut texts.policy, "max_per_category = 1\n", "");
    for (number, value) in values.into_iter().enumerate() {
        let limit = if number % 2 == 0 {
            "cap_total = { limit = 1, per = \"all\", count = \"decision\" }"
        } else {
            "cap_customer = { limit = 1, per = \"7d\", count = \"decision\" }"
        };
        writeln!(
            texts.offers,
            "[[offer]]\nid = \"n{number}\"\nname = \"n{number}\"\ncategory = \"points\"\nplacements = [\"home\"]\n\
             value = {value}.0\n{limit}"
        )
        .unwrap();
    }
    texts
}

#[test]
fn slates_that_were_refused_in_every_round_end_as_they_did() {
    let (models, texts) = (Models::new(), alternating([900, 800, 700, 600, 500, 400, 300, 200]));
    let base = models.load(3, &texts);
    let mut records = Vec::new();
    for customer in 0..60 {
        // No customer has had anything when the first row is decided.
        let limiter = Limiter::new(Arc::default(), Arc::new(CustomerNames::default()));
        let customer = Customer { id: format!("c{customer:05}"), ..Customer::default() };
        let request = RankRequest {
            placement: "home".to_owned(),
            customers: vec![customer; 6],
            ..RankRequest::default()
        };
        records.extend(rank_with(&limiter, &base, [request]).1);
    }
    let is_exhausted = |record: &&DecisionRecord| {
        record.offers.is_empty() && record.refusals.iter().any(|one| one.round == 3)
    };
    assert!(records.iter().filter(is_exhausted).count() >= 60);
    let found = compared(&records, &base, &models.load(4, &texts), 2);
    assert_eq!((found.effect.all.decisions, &found.excluded), (records.len() as u64, &Excluded::default()));
    assert!(found.effect.is_unchanged(), "{:?}", found.effect.all);

    // Slates of another release never show what was refused, in whichever round that was.
    let other = models.load(4, &alternating([700, 600, 900, 500, 800, 400, 300, 200]));
    let found = compared(&records, &base, &other, 2);
    assert!(found.effect.all.slate_changes > 0, "{:?}", found.effect.all);
    assert!(records.iter().any(|record| record.refusals.iter().any(|one| one.round == 2)));
    for offer in &found.effect.offers {
        let has_room =
            |record: &&DecisionRecord| record.refusals.iter().all(|one| one.offer_id != offer.offer);
        let most = records.iter().filter(has_room).count() as u64;
        assert!(offer.shown.after <= most, "{offer:?} {most}");
    }
}

#[test]
fn another_limit_is_asked_of_the_history_that_was_recorded() {
    let (models, texts, base, records) = limited();
    let with_policy = |from: &str, to: &str| texts.with(|texts| &mut texts.policy, from, to);
    let letters = "channels = [\"mail\"]\nlimit = 1";
    // As far back as before, and of the same type: all of it is known.
    let wider = models.load(4, &with_policy(letters, "channels = [\"mail\"]\nlimit = 9"));
    let wider = compared(&records, &base, &wider, 2);
    assert_eq!(not_known(&wider), []);
    assert!(wider.effect.all.offers.after > wider.effect.all.offers.before, "{:?}", wider.effect.all);
    let shorter =
        models.load(4, &with_policy(&format!("{letters}\nper = \"3d\""), "limit = 0\nper = \"1d\""));
    let shorter = compared(&records, &base, &shorter, 2);
    assert_eq!(not_known(&shorter), []);
    // A limit of 0 everywhere: nothing is shown, the fallback included.
    assert_eq!(shorter.effect.all.empty.after, records.len() as u64);
}

#[test]
fn what_was_not_recorded_is_said_and_counts_as_not_having_happened() {
    let (models, texts, base, records) = limited();
    let policy = |from: &str, to: &str| texts.with(|texts| &mut texts.policy, from, to);
    let unknown = |texts: &Texts| {
        let found = compared(&records, &base, &models.load(4, texts), 2);
        assert_eq!(found.excluded, Excluded::default());
        let known = not_known(&found).into_iter().map(|(limit, count)| (limit.to_owned(), count));
        (known.collect::<Vec<_>>(), found)
    };
    let expect = |limit: &str, count: u64| vec![(limit.to_owned(), count)];
    let (letters, all) = (at(&records, "letter"), records.len() as u64);
    assert!(by_mail(&records) < letters);
    // Further back than `cap_customer` of `green` looked at decisions.
    let (found, _) = unknown(&policy("limit = 1\nper = \"3d\"", "limit = 1\nper = \"8d\""));
    assert_eq!(found, expect("contact limit `letters`", by_mail(&records)));
    // A type at which no limit had looked.
    let (found, _) = unknown(&policy("outcome = \"dismiss\"", "outcome = \"complaint\""));
    assert_eq!(found, expect("suppression `dismissed`", all));
    // Caps of offers matter where the offers are candidates.
    let (found, of_green) =
        unknown(&texts.with_offers("limit = 2, per = \"7d\"", "limit = 2, per = \"70d\""));
    assert_eq!(found, expect("`cap_customer` of `green`", at(&records, "home")));
    assert!(of_green.text().contains("look"), "{}", of_green.text());
    // Another total: how far it was used is not known, so it has room.
    let (found, of_points) = unknown(&texts.with_offers("limit = 12, per", "limit = 13, per"));
    assert_eq!(found, expect("`cap_total` of `points`", at(&records, "home")));
    let points =
        of_points.effect.withheld.iter().filter(|one| one.offer == "points" && one.reason == "CAP_TOTAL");
    let (before, after) =
        points.fold((0, 0), |sum, one| (sum.0 + one.decisions.before, sum.1 + one.decisions.after));
    assert!(before > 0 && after == 0, "{before} {after}");
    // An offer that the release that decided did not have at the placement.
    let moved = texts.with_offers(
        "placements = [\"home\"]\nvalue = 25.0",
        "placements = [\"home\", \"letter\"]\nvalue = 25.0",
    );
    assert_eq!(unknown(&moved).0, expect("`cap_total` of `points`", letters));
}

#[test]
fn records_without_limits_know_nothing_of_them() {
    let (models, texts) = (Models::new(), Texts::sample(60));
    let base = models.load(3, &texts);
    let (_, records) = rank(&base, crowded(30));
    let found = compared(&records, &base, &models.load(4, &Texts::limited(60)), 2);
    let (home, letter) = (at(&records, "home"), at(&records, "letter"));
    let expected = [
        ("`budget` of `loan`", home + letter),
        ("`cap_customer` of `green`", home),
        ("`cap_total` of `gold`", home + letter),
        ("`cap_total` of `points`", home),
        ("contact limit `cards_seen`", home + letter),
        ("contact limit `letters`", by_mail(&records)),
        ("suppression `dismissed`", home + letter),
    ];
    assert_eq!(not_known(&found), expected);
    assert!(found.effect.is_unchanged(), "{:?}", found.effect.all);
}
