//! Records of decisions: complete, durable, replayed to the byte, shown and listed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::Code;
use tonic::transport::Channel;

use super::binary::{Ended, Process, command, init, proffer, proffer_prints};
use super::harness::{Copy, Server, dense, rank_request, recorded_events, sample_workspace, wire};
use super::management::{Management, marked};
use super::s3::S3;
use wire::decision_service_client::DecisionServiceClient;
use wire::record_service_client::RecordServiceClient;

/// Calls of every kind: batches, features, contexts, narrowed offers, names that do not exist, customers that fail.
fn calls() -> Vec<wire::RankRequest> {
    let value = |kind| wire::FeatureValue { kind: Some(kind) };
    let explained = |explain: wire::Explain, request: wire::RankRequest| wire::RankRequest {
        explain: explain.into(),
        ..request
    };
    let ids: Vec<String> = (1..=60).map(|id| format!("C{id:06}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let consents = |mut request: wire::RankRequest, consents: &[&str]| {
        for customer in &mut request.customers {
            customer.consents = consents.iter().map(|one| (*one).to_owned()).collect();
        }
        request
    };
    let one = || rank_request("app_home", &["C000007"]);
    vec![
        explained(wire::Explain::None, one()),
        explained(wire::Explain::Winners, one()),
        explained(wire::Explain::All, one()),
        rank_request("email_monthly", &ids),
        consents(rank_request("email_monthly", &["C000003", "stranger"]), &["marketing", "unheard_of"]),
        wire::RankRequest {
            features: Some(dense(
                &["balance", "age", "no_such_feature"],
                2,
                &[5000.5, 44.0, 1.0, f32::NAN, 17.0, 2.0],
            )),
            ..rank_request("app_home", &["C000008", ""])
        },
        // The first is anonymous and without features, so that it fails alone.
        rank_request("app_home", &["", "C000009"]),
        // An infinite value fails its row alone.
        wire::RankRequest {
            features: Some(dense(&["balance"], 2, &[f32::INFINITY, 3.0])),
            ..rank_request("app_home", &["C000010", "C000011"])
        },
        wire::RankRequest {
            context: [
                ("month".to_owned(), value(wire::feature_value::Kind::Int64Value(12))),
                ("page".to_owned(), value(wire::feature_value::Kind::StringValue("travel".to_owned()))),
                ("nothing".to_owned(), value(wire::feature_value::Kind::BoolValue(true))),
            ]
            .into(),
            ..one()
        },
        wire::RankRequest {
            candidate_offer_ids: vec![
                "travel_gold".to_owned(),
                "security_checkup".to_owned(),
                "gone".to_owned(),
            ],
            ..one()
        },
        wire::RankRequest { exclude_offer_ids: vec!["travel_gold".to_owned()], count: 7, ..one() },
        wire::RankRequest { channel: "pigeon".to_owned(), ..one() },
        wire::RankRequest { as_of: None, request_id: "a-name-of-its-own".to_owned(), ..one() },
        wire::RankRequest {
            as_of: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 }),
            ..one()
        },
    ]
}

/// Sends the calls, one by one and as a stream; the ids of all decisions.
pub(crate) async fn decide(channel: Channel) -> BTreeSet<String> {
    let mut client = DecisionServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut ids = BTreeSet::new();
    let mut keep = |response: wire::RankResponse| {
        ids.extend(response.results.into_iter().map(|result| result.decision_id));
    };
    for call in calls() {
        keep(client.rank(call).await.unwrap().into_inner());
    }
    let messages: Vec<_> =
        calls().into_iter().map(|call| wire::RankStreamRequest { request: Some(call) }).collect();
    let mut stream = client.rank_stream(tokio_stream::iter(messages)).await.unwrap().into_inner();
    while let Some(answer) = stream.next().await {
        keep(answer.unwrap().response.unwrap());
    }
    ids
}

pub(crate) fn run(words: &[&str], paths: &[(&str, &Path)]) -> Ended {
    let words = words.iter().map(OsStr::new);
    let paths = paths.iter().flat_map(|(flag, path)| [OsStr::new(flag), path.as_os_str()]);
    proffer(words.chain(paths))
}

/// What a replay of everything found, as JSON.
pub(crate) fn replayed(words: &[&str], paths: &[(&str, &Path)]) -> serde_json::Value {
    let ended = run(&[&["replay", "--format", "json", "--rescore"], words].concat(), paths);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Of the records of a replay, those with the same answer, and those of an error, which have none.
pub(crate) fn the_same(replayed: &serde_json::Value) -> u64 {
    let count = |name: &str| replayed[name].as_u64().unwrap();
    count("identical") + count("without_decision")
}

/// The ids of the decisions that are recorded, each as often as it is.
fn recorded(store: &Path, data: Option<&Path>) -> Vec<String> {
    let mut command = vec!["decision", "list", "--json", "--count", "100000", "--store"];
    let (store, data) = (store.display().to_string(), data.map(|data| data.display().to_string()));
    command.push(&store);
    if let Some(data) = &data {
        command.extend(["--data", data]);
    }
    let listed: Vec<serde_json::Value> = serde_json::from_str(&proffer_prints(command)).unwrap();
    listed.iter().map(|one| one["decision_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_recorded_once_and_decided_again_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&sample_workspace(), &[("data.directory", data.to_str().unwrap())]);
    let store = server.store.clone();
    let mut ids = decide(server.channel().await).await;
    // Two more releases: one with other rules, one with another model.
    let mut management = Management::over(server.channel().await);
    management.push("propensity", 2, marked("propensity", "x").path()).await.unwrap();
    assert_eq!(management.create(&[("propensity", 2)]).await.unwrap(), 2);
    management.promote(2).await.unwrap();
    ids.append(&mut decide(server.channel().await).await);
    // What is only previewed is not recorded.
    let mut client = server.client().await;
    let preview = wire::RankRequest { dry_run: true, ..rank_request("app_home", &["C000001"]) };
    client.rank(preview).await.unwrap();
    drop((client, management));
    // The store of the server is removed with it, and is needed longer.
    let kept = directory.path().join("store");
    super::harness::copy_directory(&store, &kept);
    server.join_quietly();

    let found = recorded(&kept, Some(&data));
    assert_eq!(found.len(), ids.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ids);
    let places = [("--store", kept.as_path()), ("--data", data.as_path())];
    let from_log = replayed(&[], &places);
    assert_eq!(the_same(&from_log), ids.len() as u64);
    assert_eq!((&from_log["differing"], &from_log["failed"]), (&0.into(), &0.into()));
    assert!(from_log["without_decision"].as_u64().unwrap() >= 8, "{from_log}");
    for release in ["1", "2"] {
        assert_eq!(from_log["releases"][release], ids.len() / 2, "{from_log}");
    }

    // From Parquet it is the same.
    let sealed = run(&["events", "seal", data.to_str().unwrap()], &[("--store", &kept)]);
    assert_eq!(sealed.code, Some(0), "{sealed:?}");
    assert_eq!(recorded(&kept, None).into_iter().collect::<BTreeSet<_>>(), ids);
    let from_parquet = replayed(&[], &[("--store", &kept)]);
    assert_eq!(from_parquet, from_log);
    let verified = run(&["events", "verify"], &[("--store", &kept)]);
    assert_eq!(verified.code, Some(0), "{verified:?}");

    // And from an export.
    let exported = directory.path().join("out.parquet");
    assert_eq!(run(&["events", "export"], &[("--store", &kept), ("--out", &exported)]).code, Some(0));
    assert_eq!(replayed(&[], &[("--store", &kept), ("--input", &exported)]), from_log);

    // A changed byte of a sealed file is found.
    let file = walk(&kept.join("events")).pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let verified = run(&["events", "verify"], &[("--store", &kept)]);
    assert_eq!(verified.code, Some(1), "{verified:?}");
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_shown_and_listed_by_a_server_and_without() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let settings = [("data.directory", data.to_str().unwrap()), ("records.sync", "always")];
    let server = Server::start(&sample_workspace(), &settings);
    let response =
        server.client().await.rank(rank_request("app_home", &["C000042"])).await.unwrap().into_inner();
    let result = &response.results[0];
    let mut records = RecordServiceClient::new(server.channel().await);
    let got = wire::GetDecisionRequest { decision_id: result.decision_id.clone() };
    let got = records.get_decision(got).await.unwrap().into_inner();
    assert!(got.replayed, "{got:?}");
    // The call asked to explain everything, so that the explanation is what it was told.
    assert_eq!(got.result.as_ref(), Some(result));
    let age = got.features.iter().find(|feature| feature.name == "age").unwrap();
    assert_eq!(age.source(), event::proto::FeatureSource::Store);
    assert!(age.value.is_some());

    let list = |request: wire::ListDecisionsRequest| {
        let mut records = records.clone();
        async move { records.list_decisions(request).await.map(tonic::Response::into_inner) }
    };
    for _ in 0..5 {
        server.client().await.rank(rank_request("email_monthly", &["C000042", "C000043"])).await.unwrap();
    }
    let of_customer = wire::ListDecisionsRequest { customer_id: "C000042".to_owned(), ..Default::default() };
    let all = list(of_customer.clone()).await.unwrap();
    assert_eq!((all.decisions.len(), all.next_page_token.as_str()), (6, ""));
    // Page by page it is the same.
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let request = wire::ListDecisionsRequest { page_size: 4, page_token: token, ..of_customer.clone() };
        let page = list(request).await.unwrap();
        paged.extend(page.decisions);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all.decisions);
    let shown = all.decisions[0].offer_ids[0].clone();
    let by_offer = wire::ListDecisionsRequest {
        offer_id: shown.clone(),
        placement: "app_home".to_owned(),
        ..Default::default()
    };
    assert_eq!(list(by_offer).await.unwrap().decisions[0].decision_id, result.decision_id);

    // The commands print the same with and without the server.
    let (address, id) = (server.address.to_string(), result.decision_id.as_str());
    let asked = proffer_prints(["decision", "show", id, "--json", "--server", &address]);
    let places = ["--store", server.store.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let read = proffer_prints([&["decision", "show", id, "--json"], &places[..]].concat());
    assert_eq!(asked, read);
    let text = proffer_prints(["decision", "show", id, "--server", &address]);
    for words in ["customer C000042", "decided again: the same answer", &shown, "withheld", "age"] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_about_records_name_the_field() {
    let server = Server::sample();
    let mut records = RecordServiceClient::new(server.channel().await);
    for (id, code) in [("", Code::InvalidArgument), ("17", Code::InvalidArgument), (NOBODY, Code::NotFound)] {
        let request = wire::GetDecisionRequest { decision_id: id.to_owned() };
        let status = records.get_decision(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(if id == NOBODY { NOBODY } else { "decision_id: " }), "{status}");
    }
    let long = wire::ListDecisionsRequest { placement: "x".repeat(300), ..Default::default() };
    let status = records.list_decisions(long).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("placement: "), "{status}");

    let silent = Server::start(&sample_workspace(), &[("records.record", "false")]);
    let mut records = RecordServiceClient::new(silent.channel().await);
    let request = wire::GetDecisionRequest { decision_id: NOBODY.to_owned() };
    let status = records.get_decision(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("records.record"), "{status}");
}

/// An id without a decision.
const NOBODY: &str = "0190a000-0000-7000-8000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let (store, data) = (directory.path().join("store"), directory.path().join("data"));
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let mut acknowledged = BTreeSet::new();
    for round in 0..kills() {
        let mut serve = command();
        serve.env("PROFFER_DATA_DIRECTORY", &data);
        // Small and young files, so that the kills also meet rotation and sealing.
        serve.env("PROFFER_RECORDS_SYNC", "always").env("PROFFER_RECORDS_LOG_FILE", "64KiB");
        serve.env("PROFFER_RECORDS_LOG_AGE", "1s");
        let process = Process::start(serve, &store);
        let calls = (0..4).map(|_| {
            let address = process.address;
            tokio::spawn(async move {
                let mut ids = Vec::new();
                let client = DecisionServiceClient::connect(format!("http://{address}")).await;
                let Ok(mut client) = client else { return ids };
                for customer in 1.. {
                    let id = format!("C{:06}", customer % 2000 + 1);
                    match client.rank(rank_request("app_home", &[&id])).await {
                        Ok(response) => ids.push(response.into_inner().results[0].decision_id.clone()),
                        Err(_) => break,
                    }
                }
                ids
            })
        });
        let calls: Vec<_> = calls.collect();
        // Another moment in each round; which one has no effect on what must hold.
        tokio::time::sleep(Duration::from_millis(150 + 83 * (round % 20))).await;
        process.signal("KILL");
        for call in calls {
            acknowledged.extend(call.await.unwrap());
        }
        drop(process);
    }
    assert!(acknowledged.len() as u64 > kills(), "hardly a call was answered");
    // All of them: `decision list` lists 100,000 at most, which some hundred kills exceed.
    let mut found = Vec::new();
    let read = recorded_events(&store, &data).scan(&event::Query::default(), &mut |record| {
        found.push(record.decision_id);
        ControlFlow::Continue(())
    });
    read.unwrap();
    let distinct: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(found.len(), distinct.len(), "a decision is recorded twice");
    let lost: Vec<&String> = acknowledged.difference(&distinct).collect();
    assert!(lost.is_empty(), "{} of {} are lost", lost.len(), acknowledged.len());
    let places = [("--store", store.as_path()), ("--data", data.as_path())];
    let verified = run(&["events", "verify"], &places);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert_eq!(replayed(&[], &places)["identical"], found.len());
}

/// How often a server is killed; `make chaos` does it more often.
fn kills() -> u64 {
    std::env::var("PROFFER_TEST_KILLS").map_or(6, |kills| kills.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_cannot_share_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (store, data) = (directory.path().join("store"), directory.path().join("data"));
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let mut serve = command();
    serve.env("PROFFER_DATA_DIRECTORY", &data);
    let first = Process::start(serve, &store);
    let second = run(
        &["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-filter", "off"],
        &[("--store", &store), ("--data", &data)],
    );
    assert_eq!(second.code, Some(1));
    let held_by = format!("is in use by process {} (proffer serve)", first.id());
    assert!(second.stderr.contains(&held_by), "{second:?}");
    assert!(second.stderr.contains("data.directory"), "{second:?}");
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_sealed_into_a_bucket() {
    let Some(s3) = S3::shared() else { return };
    let (directory, location) = (tempfile::tempdir().unwrap(), s3.new_location());
    let with_s3 = || {
        let mut proffer = command();
        proffer.envs(s3.variables()).current_dir(directory.path());
        proffer
    };
    let made =
        with_s3().args(["init", "--store", &location, "--from"]).arg(sample_workspace()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut serve = with_s3();
    serve.env("PROFFER_DATA_DIRECTORY", directory.path().join("data"));
    serve.env("PROFFER_RECORDS_LOG_AGE", "1s");
    let process = Process::start(serve, Path::new(&location));
    let channel =
        Channel::from_shared(format!("http://{}", process.address)).unwrap().connect().await.unwrap();
    let ids = decide(channel).await;
    assert!(process.terminate().success());
    let sealed = with_s3().args(["events", "seal", "data", "--store", &location]).output().unwrap();
    assert!(sealed.status.success(), "{sealed:?}");
    let replay = with_s3().args(["replay", "--format", "json", "--store", &location]).output().unwrap();
    assert!(replay.status.success(), "{replay:?}");
    let replayed: serde_json::Value = serde_json::from_slice(&replay.stdout).unwrap();
    assert_eq!(the_same(&replayed), ids.len() as u64);
}

/// A workspace whose customers have a sensitive feature, a key file, and a server that uses both.
fn sensitive(directory: &Path) -> (Copy, PathBuf) {
    let workspace = Copy::new();
    workspace.replace("features.toml", "name = \"age\"\n", "name = \"age\"\nsensitive = true\n");
    let keys = directory.join("keys.toml");
    let made = run(&["privacy", "keys"], &[("--out", &keys)]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let again = run(&["privacy", "keys"], &[("--out", &keys)]);
    assert_eq!(again.code, Some(1), "{again:?}");
    (workspace, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn pseudonyms_and_sensitive_values_are_read_with_the_keys_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (workspace, keys) = sensitive(directory.path());
    let data = directory.path().join("data");
    let settings = [
        ("data.directory", data.to_str().unwrap()),
        ("records.sync", "always"),
        ("records.pseudonyms", "hmac-sha256"),
        ("records.keys", keys.to_str().unwrap()),
    ];
    let server = Server::start(workspace.path(), &settings);
    server.client().await.rank(rank_request("app_home", &["C000042"])).await.unwrap();
    // The log contains no customer id.
    for file in walk(&data) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(7).any(|part| part == b"C000042"), "{} names the customer", file.display());
    }
    // A server with the keys finds them by their id.
    let mut records = RecordServiceClient::new(server.channel().await);
    let list = wire::ListDecisionsRequest { customer_id: "C000042".to_owned(), ..Default::default() };
    let listed = records.list_decisions(list).await.unwrap().into_inner().decisions;
    assert_eq!(listed.len(), 1);
    assert_ne!(listed[0].customer_id, "C000042");

    let places = [("--store", server.store.as_path()), ("--data", data.as_path())];
    let without = run(&["replay"], &places);
    assert_eq!(without.code, Some(1), "{without:?}");
    assert!(without.stdout.contains("--keys"), "{without:?}");
    let with = [&places[..], &[("--keys", keys.as_path())]].concat();
    assert_eq!(replayed(&[], &with)["identical"], 1);
    let found = run(&["decision", "list", "--json", "--customer", "C000042"], &with);
    assert!(found.stdout.contains(&listed[0].decision_id), "{found:?}");
    let shown = run(&["decision", "show", &listed[0].decision_id], &with);
    assert!(shown.stdout.contains("decided again: the same answer"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_shows_what_was_simulated() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&sample_workspace(), &[]);
    // Release 2 has another model and another policy.
    let workspace = Copy::new();
    workspace.replace("offers.toml", "value = 80.0", "value = 240.0");
    let place = server.store.display().to_string();
    let made = proffer([
        OsStr::new("release"),
        "create".as_ref(),
        workspace.path().as_os_str(),
        "--store".as_ref(),
        place.as_ref(),
    ]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let page = directory.path().join("effect.html");
    let as_of = "2026-10-14T17:46:40Z";
    let simulated = run(
        &["release", "simulate", "2", "--placement", "app_home", "--as-of", as_of, "--format", "json"],
        &[("--store", &server.store), ("--html", &page)],
    );
    assert_eq!(simulated.code, Some(0), "{simulated:?}");
    let effect: serde_json::Value = serde_json::from_str(&simulated.stdout).unwrap();
    assert!(std::fs::read_to_string(&page).unwrap().contains("</html>"));

    let mut shown = [std::collections::BTreeMap::new(), std::collections::BTreeMap::new()];
    for (release, shown) in (1..).zip(&mut shown) {
        if release == 2 {
            Management::over(server.channel().await).promote(2).await.unwrap();
        }
        let ids: Vec<String> = (1..=2000).map(|id| format!("C{id:06}")).collect();
        let mut client = server.client().await;
        for some in ids.chunks(500) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            let request = wire::RankRequest { dry_run: true, ..rank_request("app_home", &some) };
            let response = client.rank(request).await.unwrap().into_inner();
            assert_eq!(response.release, release);
            for offer in response.results.into_iter().flat_map(|result| result.offers) {
                *shown.entry(offer.offer_id).or_insert(0_u64) += 1;
            }
        }
    }
    assert_ne!(shown[0], shown[1], "the release changes nothing");
    for offer in effect["effect"]["offers"].as_array().unwrap() {
        let id = offer["offer"].as_str().unwrap();
        for (side, shown) in ["before", "after"].iter().zip(&shown) {
            assert_eq!(offer["shown"][side], shown.get(id).copied().unwrap_or(0), "{id} {side}");
        }
    }
}
