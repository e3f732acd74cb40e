//! Nothing but the fallback reaches who is held out: whatever a release has to reach them with, as `Rank` answers, and
//! simulated, and asked of records.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use decision::{Customer, Explain, Limiter, RankRequest, RankResult, Reason, Stage, decide_together};
use event::proto::DecisionRecord;
use release::Snapshot;
use work::Worker;

use crate::samples::{Models, Texts, moment, named, rank, source};
use crate::{
    Comparison, CustomerNames, Options, SimulatedHistory, Simulation, simulate, simulate_records, what_if,
};

const CUSTOMERS: usize = 120;

/// The placements, and how many candidates each has.
const PLACEMENTS: [(&str, usize); 2] = [("home", 5), ("letter", 2)];

/// The fallback; it belongs to one of the placements.
const FALLBACK: &str = "tips";

fn everyone() -> Vec<String> {
    (0..CUSTOMERS).map(|number| format!("c{number:05}")).collect()
}

/// An experiment that changes all that an experiment may change, for those whom it covers or lists.
fn experiment(coverage: f64, listed: &[String]) -> String {
    format!(
        "[[experiment]]\nid = \"all\"\ncoverage = {coverage:?}\n\
         [[experiment.variant]]\nid = \"control\"\nweight = 0.0\n\
         [[experiment.variant]]\nid = \"challenger\"\nweight = 1.0\nmodels = {{ base = 2 }}\nstrategy = \"margin\"\n\
         count = 3\ncategory_weights = {{ loans = 900.0 }}\nexploration = {{ method = \"epsilon\", epsilon = 1.0 }}\n\
         listed = {listed:?}\n"
    )
}

/// What could reach somebody, each alone and all at once.
fn temptations() -> Vec<(&'static str, Texts)> {
    let base = Texts::sample(CUSTOMERS);
    let offer = |texts: &Texts| texts.with_offers("weight = 20.0", "weight = 900.0");
    let category = |texts: &Texts| texts.with(|texts| &mut texts.policy, "weight = 10.0", "weight = 900.0");
    let adds =
        |texts: &Texts, lines: &str| Texts { policy: format!("{}{lines}", texts.policy), ..texts.clone() };
    let context = |texts: &Texts| {
        let weight = "[[context_weight]]\nid = \"always\"\nwhen = \"true\"\npercent = 900.0\n\
                      categories = [\"loans\"]\n";
        adds(texts, weight)
    };
    let of_loan =
        |texts: &Texts, key: &str| texts.with_offers("id = \"loan\"\n", &format!("id = \"loan\"\n{key}\n"));
    let mandatory = |texts: &Texts| of_loan(texts, "mandatory = true");
    let new = |texts: &Texts| of_loan(texts, "prior = { propensity = 1.0, evidence = 1000000.0 }");
    let explores = |texts: &Texts| {
        let lines = "exploration = { method = \"epsilon\", epsilon = 1.0 }\nmodel = \"base\"";
        texts.with(|texts| &mut texts.policy, "model = \"base\"", lines)
    };
    let drawn = |texts: &Texts| adds(texts, &experiment(1.0, &[]));
    let listed = |texts: &Texts| adds(texts, &experiment(0.0, &everyone()));
    let all = listed(&context(&explores(&new(&mandatory(&category(&offer(&base)))))));
    vec![
        ("nothing", base.clone()),
        ("the lever of an offer", offer(&base)),
        ("the lever of a category", category(&base)),
        ("a context weight", context(&base)),
        ("a mandatory offer", mandatory(&base)),
        ("a new offer with a prior", new(&base)),
        ("exploration", explores(&base)),
        ("an experiment that covers everyone", drawn(&base)),
        ("an experiment that lists everyone", listed(&base)),
        ("all of it", all),
    ]
}

/// The same with a holdout, drawn anew as `redraw` says.
fn held(texts: &Texts, redraw: &str) -> Texts {
    let holdout = format!("[holdout]\nshare = 0.4\nredraw = \"{redraw}\"\n");
    Texts { policy: format!("{}{holdout}", texts.policy), ..texts.clone() }
}

/// The same with these customers alone.
fn with_customers(texts: &Texts, ids: &BTreeSet<String>) -> Texts {
    let (head, rows) = texts.customers.split_once('\n').unwrap();
    let rows = rows.lines().filter(|row| ids.contains(row.split(',').next().unwrap()));
    let lines: Vec<&str> = std::iter::once(head).chain(rows).collect();
    Texts { customers: lines.join("\n") + "\n", ..texts.clone() }
}

/// Calls for these customers at each placement.
fn calls<'i>(ids: impl IntoIterator<Item = &'i String>, as_of: Option<DateTime<Utc>>) -> Vec<RankRequest> {
    let customer = |id: &String| Customer { id: id.clone(), ..Customer::default() };
    let customers: Vec<Customer> = ids.into_iter().map(customer).collect();
    let call = |(placement, _): (&str, usize)| RankRequest {
        placement: placement.to_owned(),
        customers: customers.clone(),
        explain: Explain::All,
        as_of,
        ..RankRequest::default()
    };
    PLACEMENTS.map(call).into()
}

/// Who is held out of these answers. Checks that nothing but the fallback reaches them.
fn held_out(results: &[RankResult], what: &str) -> BTreeSet<String> {
    let half = results.len() / PLACEMENTS.len();
    for (place, result) in results.iter().enumerate().filter(|(_, result)| result.held_out) {
        let (placement, candidates) = PLACEMENTS[place / half];
        let shown: Vec<(&str, bool)> =
            result.offers.iter().map(|offer| (&*offer.offer_id, offer.fallback)).collect();
        let expected = if placement == "letter" { vec![(FALLBACK, true)] } else { Vec::new() };
        assert_eq!(shown, expected, "{what}: {result:?}");
        assert!(result.assignments.is_empty(), "{what}: {result:?}");
        assert_eq!(result.withheld.len(), candidates, "{what}: {result:?}");
        let is_held = |(stage, reason)| (stage, reason) == (Stage::Holdout, Reason::Holdout);
        let withheld = result.withheld.iter();
        assert!(withheld.map(|one| (one.stage, one.reason)).all(is_held), "{what}: {result:?}");
    }
    results.iter().filter(|result| result.held_out).map(|result| result.customer_id.clone()).collect()
}

/// What can be seen of an answer.
fn seen(result: &RankResult) -> String {
    let offers: Vec<_> = result
        .offers
        .iter()
        .map(|offer| (&*offer.offer_id, offer.priority, offer.selection_probability, offer.mandatory))
        .collect();
    let arms: Vec<_> = result.assignments.iter().map(|one| (one.experiment, one.variant)).collect();
    format!("{} {offers:?} {arms:?}", result.customer_id)
}

fn simulated(before: &Arc<Snapshot>, after: &Arc<Snapshot>, now: DateTime<Utc>) -> Comparison {
    let simulation = Simulation {
        before: named(before),
        after: named(after),
        placements: Vec::new(),
        now,
        history: SimulatedHistory::default(),
        options: Options { threads: 1, ..Options::default() },
    };
    simulate(&simulation, |_| {}).unwrap()
}

/// Asks the other release about records, compared with what was answered and with what the first release decides again.
fn asked(records: &[DecisionRecord], before: &Arc<Snapshot>, after: &Arc<Snapshot>) -> [Comparison; 2] {
    let load = |_: u64| Ok::<_, String>(Arc::clone(before));
    let (options, named_before, named_after) = (Options::default(), named(before), named(after));
    [
        what_if(source(records), load, &named_after, options, |_| {}).unwrap(),
        simulate_records(source(records), load, (&named_before, &named_after), options, |_| {}).unwrap(),
    ]
}

/// Checks that so many customers get what they had before, or that nothing but the fallback reaches any of them after.
fn check(found: &Comparison, customers: usize, are_held_out: bool, what: &str) {
    let customers = customers as u64;
    let all = &found.effect.all;
    assert_eq!(
        (all.decisions, found.excluded.decisions()),
        (2 * customers, 0),
        "{what}: {:?}",
        found.excluded
    );
    let shows = |offer: &str, side: fn(crate::BeforeAfter<u64>) -> u64| -> u64 {
        let found = found.effect.offers.iter().filter(|one| one.offer == offer);
        found.map(|one| side(one.shown)).sum()
    };
    let offers = || found.effect.offers.iter().map(|one| one.offer.as_str()).filter(|id| *id != FALLBACK);
    assert!(offers().any(|offer| shows(offer, |shown| shown.before) > 0), "{what}: nothing was shown before");
    let candidates: usize = PLACEMENTS.iter().map(|(_, candidates)| candidates).sum();
    let held_out =
        found.effect.reasons.iter().filter(|one| (one.stage, one.reason) == ("holdout", "HOLDOUT"));
    let held_out = held_out.fold((0, 0), |sum, one| (sum.0 + one.offers.before, sum.1 + one.offers.after));
    if !are_held_out {
        assert_eq!(held_out, (0, 0), "{what}");
        assert!(found.effect.is_unchanged(), "{what}: {all:?}");
        return;
    }
    assert_eq!(held_out, (0, customers * candidates as u64), "{what}");
    assert_eq!(
        (all.fallbacks.after, all.empty.after, all.offers.after),
        (customers, customers, customers),
        "{what}"
    );
    assert_eq!(shows(FALLBACK, |shown| shown.after), customers, "{what}");
    for offer in offers() {
        assert_eq!(shows(offer, |shown| shown.after), 0, "{what}: {offer}");
    }
    let others = found.effect.reasons.iter().filter(|one| one.reason != "HOLDOUT");
    assert_eq!(others.map(|one| one.offers.after).sum::<u64>(), 0, "{what}");
}

#[test]
fn nothing_but_the_fallback_reaches_who_is_held_out_whatever_there_is_to_reach_them_with() {
    let models = Models::new();
    let mut without = Vec::new();
    let mut expected = BTreeSet::new();
    for (what, texts) in temptations() {
        let after = models.load(8, &held(&texts, "never"));
        let (answers, _) = rank(&after, calls(&everyone(), None));
        let out = held_out(&answers, what);
        let open: Vec<String> = answers.iter().filter(|result| !result.held_out).map(seen).collect();
        if what == "nothing" {
            assert!((28..68).contains(&out.len()), "{}", out.len());
            (without, expected) = (open, out);
        } else {
            // The others are reached, and the same customers are held out.
            assert_ne!(open, without, "{what} reaches nobody");
            assert_eq!(out, expected, "{what}");
        }

        let texts = with_customers(&texts, &expected);
        let (before, after) = (models.load(7, &texts), models.load(8, &held(&texts, "never")));
        check(&simulated(&before, &after, moment()), expected.len(), true, what);
        let (_, records) = rank(&before, calls(&expected, None));
        for found in asked(&records, &before, &after) {
            check(&found, expected.len(), true, what);
        }
    }
}

/// Who is held out of decisions at a moment.
fn held_out_at(snapshot: &Arc<Snapshot>, moment: DateTime<Utc>) -> BTreeSet<String> {
    let limiter = Limiter::new(Arc::default(), Arc::new(CustomerNames::default()));
    let ids = everyone();
    let request = calls(&ids, None).remove(0);
    let decided = decide_together(snapshot, request, moment, &limiter, &Worker::only()).unwrap();
    let decisions = ids.into_iter().zip(&decided.decisions);
    decisions.filter(|(_, decision)| decision.held_out).map(|(id, _)| id).collect()
}

#[test]
fn the_monthly_draw_changes_at_month_s_end_in_the_zone_of_the_policy_in_simulations_and_what_if_too() {
    let models = Models::new();
    let zone = "segmentation = \"segments\"\ntime_zone = \"Asia/Tokyo\"\n";
    let texts =
        Texts::sample(CUSTOMERS).with(|texts| &mut texts.policy, "segmentation = \"segments\"\n", zone);
    let monthly = models.load(8, &held(&texts, "monthly"));
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    // Tokyo is nine hours ahead of UTC.
    let (last, first) = (at("2035-11-30T14:59:59.999999Z"), at("2035-11-30T15:00:00Z"));
    let (november, december) = (held_out_at(&monthly, last), held_out_at(&monthly, first));
    assert_eq!(held_out_at(&monthly, at("2035-10-31T15:00:00Z")), november);
    assert_ne!(held_out_at(&monthly, at("2035-10-31T14:59:59Z")), november);
    assert_eq!(held_out_at(&monthly, at("2035-12-31T14:59:59Z")), december);
    // Those who enter at the end of November, and whom the clock of a call does not hold out anyway.
    let clock = Utc::now();
    let present = [clock, clock + TimeDelta::days(1)].map(|moment| held_out_at(&monthly, moment));
    let enter: BTreeSet<String> = december
        .difference(&november)
        .filter(|id| !present.iter().any(|held| held.contains(*id)))
        .cloned()
        .collect();
    assert!(!enter.is_empty());

    let texts = with_customers(&texts, &enter);
    let (before, after) = (models.load(7, &texts), models.load(8, &held(&texts, "monthly")));
    for (moment, are_held_out) in [(last, false), (first, true)] {
        let what = moment.to_string();
        check(&simulated(&before, &after, moment), enter.len(), are_held_out, &what);
        let (answers, _) = rank(&after, calls(&enter, Some(moment)));
        let expected = if are_held_out { enter.clone() } else { BTreeSet::new() };
        assert_eq!(held_out(&answers, &what), expected, "{what}");
        let (_, records) = rank(&before, calls(&enter, Some(moment)));
        for found in asked(&records, &before, &after) {
            check(&found, enter.len(), are_held_out, &what);
        }
    }
}
