//! Outcomes: one verdict each, recorded and counted once, known after a restart; from a call, a stream, or a file.

mod answers;
mod history;
mod starbucks;
pub(crate) mod workspace;

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::builder::{MapBuilder, StringBuilder};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use event::proto::OutcomeRecord;
use parquet::arrow::ArrowWriter;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use super::binary::{Ended, proffer};
use super::harness::{Copy, Server, rank_request, recorded_events, sample_workspace, wire};
use wire::feedback_service_client::FeedbackServiceClient;
use wire::outcome_verdict::Verdict;
use wire::{OutcomeProblem, OutcomeVerdict};

/// Settings of a server with this data directory. What it answered is durable.
fn settings(data: &Path) -> Vec<(&str, &str)> {
    vec![("data.directory", data.to_str().unwrap()), ("records.sync", "always")]
}

/// A moment so many seconds ahead of now.
fn moment(ahead: i64) -> prost_types::Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    prost_types::Timestamp { seconds: now.as_secs().cast_signed() + ahead, nanos: 0 }
}

/// A click now.
fn click(event_id: &str) -> wire::Outcome {
    wire::Outcome {
        event_id: event_id.to_owned(),
        r#type: "click".to_owned(),
        occurred_at: Some(moment(0)),
        ..wire::Outcome::default()
    }
}

/// A click by a customer without a decision.
fn click_by(event_id: &str, customer: &str) -> wire::Outcome {
    wire::Outcome { customer_id: customer.to_owned(), offer_id: "travel_gold".to_owned(), ..click(event_id) }
}

async fn record(server: &Server, outcomes: Vec<wire::Outcome>) -> Result<Vec<OutcomeVerdict>, Status> {
    let mut client = FeedbackServiceClient::new(server.channel().await);
    let request = wire::RecordOutcomesRequest { outcomes };
    client.record_outcomes(request).await.map(|answer| answer.into_inner().verdicts)
}

/// What was shown to a customer who consents to everything: the id, the offers, and the whole result.
async fn shown(server: &Server, placement: &str, customer: &str) -> wire::RankResult {
    let mut request = rank_request(placement, &[customer]);
    request.customers[0].consents = ["marketing", "profiling", "partners"].map(str::to_owned).to_vec();
    server.client().await.rank(request).await.unwrap().into_inner().results.remove(0)
}

/// The outcomes that are recorded in a data directory or sealed in a store.
fn recorded(store: &Path, data: &Path) -> Vec<OutcomeRecord> {
    let reader = recorded_events(store, data);
    let mut found = Vec::new();
    let all = event::Query::default();
    reader
        .scan_outcomes(&all, &mut |record| {
            found.push(record);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn verdicts(told: &[OutcomeVerdict]) -> Vec<Verdict> {
    told.iter().map(OutcomeVerdict::verdict).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_has_its_verdict_and_is_recorded_beside_its_decision() {
    const NOBODY: &str = "0190a000-0000-7000-8000-000000000000";

    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&sample_workspace(), &settings(&data));
    let result = shown(&server, "app_home", "C000007").await;
    let offer = result.offers[0].offer_id.clone();
    let of_decision = |event_id: &str| wire::Outcome {
        decision_id: result.decision_id.clone(),
        offer_id: offer.clone(),
        ..click(event_id)
    };
    let unknown = |event_id: &str| wire::Outcome { decision_id: NOBODY.to_owned(), ..click(event_id) };
    let outcomes = vec![
        wire::Outcome { value: 2.5, attributes: [("page".into(), "home".into())].into(), ..of_decision("1") },
        of_decision("1"),
        wire::Outcome { customer_id: "C000007".to_owned(), ..of_decision("2") },
        click_by("3", "C000008"),
        wire::Outcome { customer_id: "C000008".to_owned(), offer_id: offer.clone(), ..unknown("4") },
        // Refused, each for its own reason.
        wire::Outcome { event_id: String::new(), ..of_decision("") },
        wire::Outcome { occurred_at: Some(moment(-31 * 86_400)), ..of_decision("6") },
        wire::Outcome { occurred_at: Some(moment(60)), ..of_decision("7") },
        unknown("8"),
        wire::Outcome { offer_id: "no_such_offer".to_owned(), ..of_decision("9") },
        wire::Outcome { customer_id: "C000008".to_owned(), ..of_decision("10") },
        wire::Outcome { r#type: "aplaud".to_owned(), ..of_decision("11") },
        wire::Outcome { value: f64::NAN, ..of_decision("12") },
        wire::Outcome { occurred_at: None, ..of_decision("13") },
    ];
    let told = record(&server, outcomes.clone()).await.unwrap();
    let ids: Vec<&str> = outcomes.iter().map(|outcome| outcome.event_id.as_str()).collect();
    assert_eq!(told.iter().map(|verdict| verdict.event_id.as_str()).collect::<Vec<_>>(), ids);
    let (accepted, duplicate) = (Verdict::Accepted, Verdict::Duplicate);
    assert_eq!(verdicts(&told[..5]), [accepted, duplicate, accepted, accepted, accepted], "{told:?}");
    let attributed: Vec<bool> = told[..5].iter().map(|verdict| verdict.attributed).collect();
    assert_eq!(attributed, [true, false, true, false, false]);
    let problems = [
        (OutcomeProblem::Invalid, "event_id"),
        (OutcomeProblem::TooOld, "occurred_at"),
        (OutcomeProblem::FromTheFuture, "occurred_at"),
        (OutcomeProblem::UnknownDecision, "decision_id"),
        (OutcomeProblem::Mismatch, "offer_id"),
        (OutcomeProblem::Mismatch, "customer_id"),
        (OutcomeProblem::UnknownType, "type"),
        (OutcomeProblem::Invalid, "value"),
        (OutcomeProblem::Invalid, "occurred_at"),
    ];
    for (told, (problem, field)) in told[5..].iter().zip(problems) {
        assert_eq!((told.verdict(), told.problem(), told.field.as_str()), (Verdict::Refused, problem, field));
        assert!(!told.message.is_empty(), "{told:?}");
    }
    for count in [0, 1001] {
        let status = record(&server, vec![click_by("x", "C000008"); count]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("outcomes: "), "{status}");
    }
    let metrics = server.admin_get("/metrics").unwrap();
    for line in [
        "proffer_outcomes_total{outcome=\"click\",verdict=\"accepted\"} 4",
        "proffer_outcomes_total{outcome=\"other\",verdict=\"refused\"} 1",
        "proffer_outcomes_unattributed_total 2",
        "proffer_requests_total{rpc=\"RecordOutcomes\",code=\"OK\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }

    let store = directory.path().join("store");
    super::harness::copy_directory(&server.store, &store);
    server.join_quietly();
    let found = recorded(&store, &data);
    assert_eq!(found.iter().map(|record| record.event_id.as_str()).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    let first = &found[0];
    assert_eq!((first.decision_id.as_str(), first.offer_id.as_str()), (&*result.decision_id, &*offer));
    assert_eq!((first.customer_id.as_str(), first.placement.as_str()), ("C000007", "app_home"));
    // The call named no channel, which is the placement's first.
    assert_eq!((first.channel.as_str(), first.value, first.release), ("app", 2.5, 1));
    assert_eq!(first.attributes["page"], "home");
    assert!(first.attributed && !first.late && first.decided_at > 0);
    assert!(!found[3].attributed && found[3].decision_id == NOBODY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_each_request_in_order() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = FeedbackServiceClient::new(server.channel().await);
    let request = |range: std::ops::Range<u32>| wire::RecordOutcomesStreamRequest {
        request: Some(wire::RecordOutcomesRequest {
            outcomes: range.map(|number| click_by(&format!("event-{number}"), "C000001")).collect(),
        }),
    };
    let requests: Vec<_> = (0..40).map(|batch| request(batch * 100..(batch + 2) * 100)).collect();
    let mut answers = client.record_outcomes_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(answer) = answers.next().await {
        let told = answer.unwrap().response.unwrap().verdicts;
        // The first half was in the request before.
        let (before, new) = told.split_at(if count == 0 { 0 } else { 100 });
        assert!(before.iter().all(|one| one.verdict() == Verdict::Duplicate));
        assert!(new.iter().all(|one| one.verdict() == Verdict::Accepted));
        assert_eq!(told[0].event_id, format!("event-{}", count * 100));
        count += 1;
    }
    assert_eq!(count, 40);
    // A request that fails ends the stream.
    let broken = vec![request(9_000..9_001), wire::RecordOutcomesStreamRequest::default(), request(0..1)];
    let mut answers = client.record_outcomes_stream(tokio_stream::iter(broken)).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok());
    let status = answers.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("request: is missing"), "{status}");
    assert!(answers.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_are_known_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (data, store) = (directory.path().join("data"), directory.path().join("store"));
    super::harness::make_store(&store, &sample_workspace()).unwrap();
    let server = Server::over(&store, &settings(&data));
    let result = shown(&server, "app_home", "C000009").await;
    let of_decision = |event_id: &str| wire::Outcome {
        decision_id: result.decision_id.clone(),
        offer_id: result.offers[0].offer_id.clone(),
        ..click(event_id)
    };
    let outcomes = vec![of_decision("1"), click_by("2", "C000009")];
    assert_eq!(verdicts(&record(&server, outcomes.clone()).await.unwrap()), [Verdict::Accepted; 2]);
    server.join_quietly();
    let server = Server::over(&store, &settings(&data));
    assert_eq!(verdicts(&record(&server, outcomes).await.unwrap()), [Verdict::Duplicate; 2]);
    // A decision from before the restart is found in the log.
    let told = record(&server, vec![of_decision("3")]).await.unwrap();
    assert_eq!((told[0].verdict(), told[0].attributed), (Verdict::Accepted, true));
    server.join_quietly();
    assert_eq!(recorded(&store, &data).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_holds_at_once_survives_a_restart_and_overrides_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let (data, store) = (directory.path().join("data"), directory.path().join("store"));
    super::harness::make_store(&store, &sample_workspace()).unwrap();
    // Not even durable decisions: an opt-out is.
    let settings = [("data.directory", data.to_str().unwrap()), ("records.sync", "os")];
    let without_consent = |result: &wire::RankResult| {
        let stages = result.rejected.iter().map(wire::RejectedOffer::withheld_stage);
        stages.filter(|stage| *stage == wire::WithheldStage::Consent).count()
    };
    let server = Server::over(&store, &settings);
    let before = shown(&server, "email_monthly", "C000012").await;
    let other = shown(&server, "email_monthly", "C000013").await;
    let opt_out = wire::Outcome { r#type: "opt_out".to_owned(), ..click_by("1", "C000012") };
    assert_eq!(verdicts(&record(&server, vec![opt_out]).await.unwrap()), [Verdict::Accepted]);
    let after = shown(&server, "email_monthly", "C000012").await;
    assert!(without_consent(&after) > without_consent(&before), "{after:?}");
    assert!(after.degraded.contains(&"opted_out".to_owned()), "{:?}", after.degraded);
    assert_eq!(without_consent(&shown(&server, "email_monthly", "C000013").await), without_consent(&other));
    server.join_quietly();
    let server = Server::over(&store, &settings);
    let again = shown(&server, "email_monthly", "C000012").await;
    assert_eq!(without_consent(&again), without_consent(&after));
    assert_eq!(without_consent(&shown(&server, "email_monthly", "C000013").await), without_consent(&other));
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_those_of_the_policy_and_late_outcomes_are_kept() {
    let copy = Copy::new();
    copy.append("policy.toml", "\n[[outcome]]\nid = \"visited_branch\"\nkind = \"positive\"\n");
    // The first of them holds where a placement has none of its own.
    copy.replace("policy.toml", "click = \"1d\"", "click = \"1s\"");
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(copy.path(), &settings(&data));
    let result = shown(&server, "app_home", "C000010").await;
    let typed = |event_id: &str, outcome_type: &str| wire::Outcome {
        decision_id: result.decision_id.clone(),
        offer_id: result.offers[0].offer_id.clone(),
        r#type: outcome_type.to_owned(),
        // Within the five seconds by which clocks may differ.
        occurred_at: Some(moment(4)),
        ..click(event_id)
    };
    let told = record(&server, vec![typed("1", "visited_branch"), typed("2", "click")]).await.unwrap();
    assert_eq!(verdicts(&told), [Verdict::Accepted; 2], "{told:?}");
    assert_eq!([told[0].late, told[1].late], [false, true]);
    let text = server.admin_get("/metrics").unwrap();
    assert!(text.contains("proffer_outcomes_late_total 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_record_takes_no_outcomes() {
    let server = Server::start(&sample_workspace(), &[("records.record", "false")]);
    let status = record(&server, vec![click_by("1", "C000001")]).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("records.record"), "{status}");
}

fn command(server: &Server, file: &Path, more: &[&str]) -> Ended {
    let address = server.address.to_string();
    let words = ["outcomes", "record", "--server", &address, "--input", file.to_str().unwrap()];
    proffer(words.into_iter().chain(more.iter().copied()))
}

fn time(ahead: i64) -> String {
    let moment = moment(ahead);
    chrono::DateTime::from_timestamp(moment.seconds, 0).unwrap().to_rfc3339()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_format_are_recorded_and_bad_lines_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&sample_workspace(), &settings(&directory.path().join("data")));
    let path = |name: &str| directory.path().join(name);
    let (now, old) = (time(0), time(-40 * 86_400));

    // CSV, of more rows than a request has.
    let mut csv = "event_id;type;customer_id;offer_id;value;occurred_at;attributes;note\n".to_owned();
    for number in 1..=2_500 {
        let attributes = "\"{\"\"page\"\":\"\"home\"\"}\"";
        writeln!(csv, "c{number};impression;C000001;travel_gold;1,5;{now};{attributes};x").unwrap();
    }
    let more = [
        format!("c1;impression;C000001;travel_gold;;{now};;\n"),
        format!("old;click;C000001;travel_gold;;{old};;\n"),
        format!("bad;click;C000001;travel_gold;much;{now};;\n"),
        "late;click;C000001;travel_gold;1;yesterday;;\n".to_owned(),
        format!("short;click;{now}\n"),
    ];
    csv.extend(more);
    fs::write(path("o.csv"), csv).unwrap();
    let ended = command(&server, &path("o.csv"), &["--json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let summary: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let expected = serde_json::json!({
        "accepted": 2_500, "late": 0, "unattributed": 2_500, "limit_overshoot": 0, "duplicates": 1, "refused": 1,
        "problems": { "TOO_OLD": 1 }, "unread": 3,
    });
    assert_eq!(summary, expected);
    let file = path("o.csv").display().to_string();
    for words in [
        format!("{file}:2503: `occurred_at` is longer ago"),
        "(TOO_OLD)".to_owned(),
        format!("{file}:2504: `value`: \"much\" is not a number"),
        format!("{file}:2505: `occurred_at`: \"yesterday\""),
        format!("{file}:2506: 3 fields where the header has 8"),
        "column `note` is not one of an outcome and was ignored".to_owned(),
        "1 outcome was refused, 3 lines were not read".to_owned(),
    ] {
        assert!(ended.stderr.contains(&words), "{words} is not in {}", ended.stderr);
    }

    // JSON Lines.
    let line = |id: &str| {
        format!(
            "{{\"event_id\":\"{id}\",\"type\":\"click\",\"customer_id\":\"C000002\",\"offer_id\":\"travel_gold\",\
             \"occurred_at\":\"{now}\"}}\n"
        )
    };
    fs::write(path("o.jsonl"), [line("j1"), "\n".to_owned(), line("j2")].concat()).unwrap();
    let ended = command(&server, &path("o.jsonl"), &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("2 accepted, 0 known already, 0 refused"), "{ended:?}");
    let again = command(&server, &path("o.jsonl"), &[]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("0 accepted, 2 known already"), "{again:?}");
    fs::write(path("bad.jsonl"), [line("j3"), "{\n".to_owned()].concat()).unwrap();
    let ended = command(&server, &path("bad.jsonl"), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("bad.jsonl:2: the line is not a JSON object"), "{ended:?}");
    assert!(ended.stdout.contains("1 accepted, 0 known already, 0 refused, 1 not read"), "{ended:?}");

    // Parquet.
    write_parquet(&path("o.parquet"), moment(0).seconds);
    let ended = command(&server, &path("o.parquet"), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("2 accepted, 0 known already, 1 refused, 1 not read"), "{ended:?}");
    let file = path("o.parquet").display().to_string();
    for words in [
        format!("{file}:3: `occurred_at` is missing"),
        format!("{file}:4: `type` \"clap\" is neither built in nor an [[outcome]]"),
    ] {
        assert!(ended.stderr.contains(&words), "{words} is not in {}", ended.stderr);
    }

    // What is no file of outcomes.
    fs::write(path("o.txt"), "x").unwrap();
    fs::write(path("columns.csv"), "event_id,occured_at\n1,2\n").unwrap();
    for (name, words) in [
        ("o.txt", "outcomes are read from a .csv"),
        ("gone.csv", "could not be opened"),
        ("columns.csv", "columns.csv:1: the columns event_id, type, occurred_at are needed"),
    ] {
        let ended = command(&server, &path(name), &[]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(words), "{words} is not in {}", ended.stderr);
    }

    // An exported file can be recorded again, here on the same server.
    let exported = path("exported.parquet");
    let store = server.store.display().to_string();
    let data = directory.path().join("data").display().to_string();
    let words = ["events", "export", "--kind", "outcome", "--store", &store, "--data", &data, "--out"];
    let ended = proffer(words.into_iter().chain([exported.to_str().unwrap()]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = command(&server, &exported, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("0 accepted, 2,505 known already"), "{ended:?}");
}

/// Two good rows, one without a moment, and one of a type that is not declared.
fn write_parquet(path: &Path, now: i64) {
    let texts = |texts: [&str; 4]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
    let mut attributes = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in 0..4 {
        if row == 0 {
            attributes.keys().append_value("page");
            attributes.values().append_value("home");
        }
        attributes.append(row != 1).unwrap();
    }
    let moments = [Some(now * 1_000_000), Some(now * 1_000_000 - 1), None, Some(now * 1_000_000)];
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("event_id", texts(["p1", "p2", "p3", "p4"]), false),
        ("type", texts(["click", "accept", "click", "clap"]), false),
        ("customer_id", texts(["C000003"; 4]), false),
        ("offer_id", texts(["travel_gold"; 4]), false),
        ("value", Arc::new(Float64Array::from(vec![Some(1.5), None, None, None])), true),
        (
            "occurred_at",
            Arc::new(TimestampMicrosecondArray::from(moments.to_vec()).with_timezone("UTC")),
            true,
        ),
        ("attributes", Arc::new(attributes.finish()), true),
    ])
    .unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}
