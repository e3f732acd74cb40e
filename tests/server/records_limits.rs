//! Decisions with limits of all kinds, with outcomes between them and a restart: decided again to the byte, shown with
//! when limits free, asked of another release, and simulated.

use std::collections::{BTreeMap, BTreeSet};

use event::proto::DecisionRecord;
use tonic::transport::Channel;

use super::binary::Process;
use super::harness::{Copy, rank_request, wire};
use super::records_faults::Scene;
use super::records_faults::clock::Clock;
use wire::decision_service_client::DecisionServiceClient;
use wire::feedback_service_client::FeedbackServiceClient;
use wire::record_service_client::RecordServiceClient;

/// The most that may be shown of an offer whose outcome is never reported, and of one that counts decisions.
const MOST_RESERVED: u64 = 60;
const MOST_SHOWN: u64 = 150;

const POLICY: &str = r#"
[[contact_limit]]
id = "two_letters"
channels = ["email"]
limit = 2
per = "7d"
count = "decision"

[[contact_limit]]
id = "travel_seen"
categories = ["travel"]
limit = 2
per = "2d"
count = "impression"

[[contact_limit]]
id = "calls"
placements = ["call_center"]
limit = 1
per = "day"
count = "decision"

[[suppression]]
id = "dismissed_twice"
after = { outcome = "dismiss", times = 2, within = "30d" }
pause = "60d"
scope = "category"
"#;

/// The sample with limits of all kinds.
fn workspace() -> Copy {
    let copy = Copy::new();
    copy.append("policy.toml", POLICY);
    let limits = [
        (
            "travel_gold",
            format!("cap_total = {{ limit = {MOST_RESERVED}, per = \"30d\", count = \"convert\", reserve = \"20d\" }}"),
        ),
        ("cashback_groceries", format!("cap_total = {{ limit = {MOST_SHOWN}, per = \"all\", count = \"decision\" }}")),
        ("cashback_everyday", "cap_customer = { limit = 1, per = \"3d\", count = \"decision\" }".to_owned()),
        (
            "transfer_12_months",
            "budget = { amount = 900.0, per = \"20d\", count = \"accept\", spends = \"value\", reserve = \"1d\" }"
                .to_owned(),
        ),
    ];
    for (offer, limit) in limits {
        copy.replace("offers.toml", &format!("id = \"{offer}\"\n"), &format!("id = \"{offer}\"\n{limit}\n"));
    }
    copy
}

async fn channel(server: &Process) -> Channel {
    Channel::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

/// A call for some customers, some of them twice, all of whom consent to everything.
fn call(turn: usize) -> wire::RankRequest {
    let placement = ["app_home", "email_monthly", "call_center"][turn % 3];
    let customer = |at: usize| format!("C{:06}", (turn * 31 + at * 7) % 150 + 1);
    let ids: Vec<String> = (0..=turn % 9).chain([0]).map(customer).collect();
    let mut request = rank_request(placement, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    for customer in &mut request.customers {
        customer.consents = ["marketing", "profiling", "partners"].map(str::to_owned).into();
    }
    if turn % 4 == 1 {
        ["web", "email", "chat"][turn % 3].clone_into(&mut request.channel);
    }
    request.explain = wire::Explain::All.into();
    request
}

/// What customers do with what they were shown: of all kinds, at times from days ago until now.
fn outcomes(results: &[wire::RankResult], turn: usize) -> Vec<wire::Outcome> {
    let shown = results.iter().flat_map(|result| result.offers.iter().map(move |offer| (result, offer)));
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let outcome = |(at, (result, offer)): (usize, (&wire::RankResult, &wire::RankedOffer))| {
        let kinds = ["impression", "dismiss", "accept", "impression", "click", "dismiss"];
        let opts_out = turn % 40 == 17 && at == 0;
        wire::Outcome {
            event_id: format!("{turn}-{at}"),
            decision_id: result.decision_id.clone(),
            offer_id: offer.offer_id.clone(),
            r#type: if opts_out { "opt_out" } else { kinds[(turn + at * 5) % 6] }.to_owned(),
            occurred_at: Some(prost_types::Timestamp {
                seconds: now - ((turn * 7 + at) % 90) as i64 * 3_600,
                nanos: 0,
            }),
            ..wire::Outcome::default()
        }
    };
    shown.enumerate().map(outcome).collect()
}

/// What clients were told: the offers of each decision.
type Told = BTreeMap<String, Vec<String>>;

/// Decides for some turns, with outcomes after each.
async fn decide(server: &Process, turns: std::ops::Range<usize>, told: &mut Told) {
    let channel = channel(server).await;
    let mut ranks = DecisionServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
    let mut feedback = FeedbackServiceClient::new(channel);
    for turn in turns {
        let results = ranks.rank(call(turn)).await.unwrap().into_inner().results;
        let outcomes = outcomes(&results, turn);
        if !outcomes.is_empty() {
            let request = wire::RecordOutcomesRequest { outcomes };
            let verdicts = feedback.record_outcomes(request).await.unwrap().into_inner().verdicts;
            let accepted = wire::outcome_verdict::Verdict::Accepted;
            assert!(verdicts.iter().all(|verdict| verdict.verdict() == accepted), "{verdicts:?}");
        }
        for result in results {
            let offers = result.offers.into_iter().map(|offer| offer.offer_id).collect();
            assert_eq!(told.insert(result.decision_id, offers), None, "an id is given twice");
        }
    }
}

/// The report of a command that succeeds, as JSON.
#[track_caller]
fn report(scene: &Scene, words: &[&str]) -> serde_json::Value {
    let ended = scene.run(&[words, &["--format", "json"]].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.stderr, &ended.stdout[..ended.stdout.len().min(4_000)]);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn shown<'t>(told: impl IntoIterator<Item = &'t Vec<String>>, offer: &str) -> u64 {
    told.into_iter().flatten().filter(|id| *id == offer).count() as u64
}

/// The reasons of a record, by number.
fn reasons(record: &DecisionRecord) -> BTreeSet<u8> {
    record.candidates.iter().flat_map(|candidates| candidates.reasons.iter().copied()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_with_limits_are_decided_again_over_a_restart() {
    use wire::WithheldReason::{Budget, CapCustomer, CapTotal, ContactLimit, Suppressed};

    let scene = Scene::of(workspace().path());
    let (data, keys) = (scene.path("data"), [("log_file", "64KiB"), ("sync", "always")]);
    let data = data.to_str().unwrap();
    let mut told = Told::new();
    let mut server = scene.serve("data", &keys);
    decide(&server, 0..150, &mut told).await;
    let before = told.clone();
    assert!(server.terminate().success());
    server = scene.serve("data", &keys);
    decide(&server, 150..300, &mut told).await;

    // What was shown before the restart counts after it.
    for (offer, most) in [("travel_gold", MOST_RESERVED), ("cashback_groceries", MOST_SHOWN)] {
        let (first, both) = (shown(before.values(), offer), shown(told.values(), offer));
        assert!(first > 0 && both <= most, "{offer}: {first} {both}");
    }
    let mut records = RecordServiceClient::new(channel(&server).await);
    for decision_id in before.keys().step_by(20) {
        let request = wire::GetDecisionRequest { decision_id: decision_id.clone() };
        let got = records.get_decision(request).await.unwrap().into_inner();
        assert!(got.replayed, "{got:?}");
    }
    assert!(server.terminate().success());

    let found = report(&scene, &["replay", "--rescore", "--data", data]);
    assert_eq!((&found["identical"], &found["failed"]), (&told.len().into(), &0.into()));
    let records = scene.records(&["data"]);
    assert_eq!(records.len(), told.len());
    let (mut all, mut numbers) = (BTreeSet::new(), [0; 8]);
    for record in &records {
        all.extend(reasons(record));
        let seen = record.history.as_ref();
        let has = [
            seen.is_some_and(|seen| !seen.events.is_empty()),
            seen.is_some_and(|seen| !seen.full.is_empty()),
            seen.is_some_and(|seen| seen.opted_out),
            seen.is_none(),
            record.refusals.iter().any(|refusal| !refusal.fallback),
            record.refusals.iter().any(|refusal| refusal.fallback),
            record.offers.iter().any(|offer| offer.cap_total.is_some()),
            record.offers.iter().any(|offer| offer.budget.is_some()),
        ];
        numbers.iter_mut().zip(has).for_each(|(number, has)| *number += usize::from(has));
        let offers: Vec<&str> = record.offers.iter().map(|offer| &*offer.offer_id).collect();
        assert_eq!(told[&record.decision_id], offers);
    }
    assert!(numbers.iter().all(|number| *number > 0), "{numbers:?}");
    for reason in [Suppressed, ContactLimit, CapCustomer, CapTotal, Budget] {
        assert!(all.contains(&(reason as u8)), "{reason:?}: {all:?}");
    }

    // Each reason says when it frees.
    let of = |reason: wire::WithheldReason| {
        let looked =
            |record: &DecisionRecord| record.history.as_ref().is_some_and(|seen| !seen.events.is_empty());
        let mut found = records.iter().filter(|record| reasons(record).contains(&(reason as u8)));
        let record = found.find(|record| looked(record)).unwrap();
        let shown = scene.run(&["decision", "show", &record.decision_id, "--data", data]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        shown.stdout
    };
    let contacts = of(ContactLimit);
    assert!(contacts.contains("decided again: the same answer"), "{contacts}");
    assert!(contacts.contains("what limits looked at") && contacts.contains(": frees in "), "{contacts}");
    assert!(of(Suppressed).contains("dismissed_twice: frees in "));

    // Sealed, they are the same.
    scene.seal("data");
    assert_eq!(report(&scene, &["replay", "--rescore"]), found);
    let unchanged = report(&scene, &["replay", "--release", "1"]);
    assert_eq!(unchanged["effect"]["all"]["slate_changes"], 0);
    assert_eq!(unchanged["subject"]["not_known"], serde_json::json!({}));
    let other = Copy::new();
    other.append("policy.toml", &POLICY.replace("limit = 2\nper = \"7d\"", "limit = 4\nper = \"8d\""));
    let policy = other.path().join("policy.toml");
    let changed = report(&scene, &["replay", "--policy", policy.to_str().unwrap()]);
    let letters = records.iter().filter(|record| record.placement == "email_monthly").count();
    assert_eq!(changed["subject"]["not_known"]["contact limit `two_letters`"], letters);
    assert!(changed["effect"]["all"]["slate_changes"].as_u64().unwrap() > 0, "{changed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_simulated_with_limits_is_what_customers_then_get() {
    let scene = Scene::of(workspace().path());
    let other = workspace();
    other.replace("offers.toml", &format!("limit = {MOST_SHOWN}"), "limit = 170");
    other.replace("offers.toml", "value = 80.0", "value = 200.0");
    assert_eq!(scene.run(&["release", "create", other.path().to_str().unwrap()]).code, Some(0));
    let (data, keys) = (scene.path("data"), [("sync", "always")]);
    let server = scene.serve("data", &keys);
    decide(&server, 0..60, &mut Told::new()).await;
    assert!(server.terminate().success());

    let simulated = report(
        &scene,
        &["release", "simulate", "2", "--placement", "app_home", "--data", data.to_str().unwrap()],
    );
    let promoted = scene.run(&["release", "promote", "2"]);
    assert_eq!(promoted.code, Some(0), "{promoted:?}");
    let server = scene.serve("data", &keys);
    let mut client = DecisionServiceClient::new(channel(&server).await);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let mut capped = 0;
    for customer in 1..=2_000 {
        let request = wire::RankRequest {
            explain: wire::Explain::All.into(),
            as_of: None,
            ..rank_request("app_home", &[&format!("C{customer:06}")])
        };
        let response = client.rank(request).await.unwrap().into_inner();
        assert_eq!(response.release, 2);
        let result = &response.results[0];
        result.offers.iter().for_each(|offer| *expected.entry(offer.offer_id.clone()).or_default() += 1);
        capped += result
            .rejected
            .iter()
            .filter(|one| one.withheld_reason() == wire::WithheldReason::CapTotal)
            .count();
    }
    let offers = simulated["effect"]["offers"].as_array().unwrap();
    let simulated_offers: BTreeMap<String, u64> = offers
        .iter()
        .map(|offer| (offer["offer"].as_str().unwrap().to_owned(), offer["shown"]["after"].as_u64().unwrap()))
        .filter(|(_, shown)| *shown > 0)
        .collect();
    assert_eq!(simulated_offers, expected);
    let reasons = simulated["effect"]["reasons"].as_array().unwrap();
    let totals = reasons.iter().filter(|one| one["reason"] == "CAP_TOTAL");
    assert_eq!(totals.map(|one| one["offers"]["after"].as_u64().unwrap()).sum::<u64>(), capped as u64);
    assert!(capped > 0, "{capped}");
}

/// How often an offer is shown in a simulation, with the other release.
fn simulated(report: &serde_json::Value, offer: &str) -> u64 {
    let offers = report["effect"]["offers"].as_array().unwrap();
    let found = offers.iter().find(|one| one["offer"] == offer);
    found.map_or(0, |one| one["shown"]["after"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_counts_all_that_is_recorded_or_what_was_before_the_time_that_it_is_given() {
    let scene = Scene::of(workspace().path());
    let Some(clock) = Clock::new(&scene.path("")) else { return };
    // What this server records is later than any moment at which the command is run.
    clock.set(3_600);
    let mut serve = scene.server("data", &[("sync", "always")]);
    clock.apply(&mut serve);
    let server = scene.start(serve);
    let ids: Vec<String> = (1..=100).map(|customer| format!("C{customer:06}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut client = DecisionServiceClient::new(channel(&server).await);
    let results = client.rank(rank_request("app_home", &ids)).await.unwrap().into_inner().results;
    let told: Vec<Vec<String>> = results
        .into_iter()
        .map(|result| result.offers.into_iter().map(|offer| offer.offer_id).collect())
        .collect();
    let reserved = shown(&told, "travel_gold");
    assert!(reserved > 0 && reserved < MOST_RESERVED, "{reserved}");
    assert!(server.terminate().success());

    let data = scene.path("data");
    let simulate = ["release", "simulate", "1", "--placement", "app_home", "--data", data.to_str().unwrap()];
    assert_eq!(simulated(&report(&scene, &simulate), "travel_gold"), MOST_RESERVED - reserved);
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let before = report(&scene, &[&simulate[..], &["--as-of", &now]].concat());
    assert_eq!(simulated(&before, "travel_gold"), MOST_RESERVED);
}
