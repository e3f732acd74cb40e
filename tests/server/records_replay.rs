//! Thousands of decisions of every kind over three releases and a restart, decided again to the byte: from the log,
//! from sealed files in a directory, and from those in a bucket. `make replay-test` does it with a hundred thousand.

use std::collections::{BTreeMap, BTreeSet};

use event::proto::{DecisionRecord, FeatureSource};
use tokio_stream::StreamExt;
use tonic::transport::Channel;

use super::binary::Process;
use super::harness::{Copy, dense, rank_request, wire};
use super::management::{Management, marked};
use super::records::the_same;
use super::records_faults::Scene;
use super::s3::S3;
use wire::decision_service_client::DecisionServiceClient;
use wire::record_service_client::RecordServiceClient;

/// How many decisions are made in each place.
fn decisions() -> usize {
    std::env::var("PROFFER_TEST_DECISIONS").map_or(3_000, |decisions| decisions.parse().unwrap())
}

/// The kinds of calls, which come in turn.
const KINDS: usize = 12;

const EXPLAIN: [wire::Explain; 3] = [wire::Explain::None, wire::Explain::Winners, wire::Explain::All];

/// A call, each of another kind and for other customers. `release` is the current one.
fn call(turn: usize, release: u64) -> wire::RankRequest {
    let value = |kind| wire::FeatureValue { kind: Some(kind) };
    let customer = |at: usize| format!("C{:06}", (turn * 31 + at * 7) % 2_000 + 1);
    let one = customer(0);
    let home = || rank_request("app_home", &[&one]);
    let number = (turn % 900) as f32;
    let request = match turn % KINDS {
        0 => home(),
        1 => wire::RankRequest { channel: "chat".to_owned(), ..rank_request("call_center", &[&one]) },
        2 => {
            let ids: Vec<String> = (0..40).map(customer).collect();
            rank_request("email_monthly", &ids.iter().map(String::as_str).collect::<Vec<_>>())
        }
        // Missing, beyond its range, of no name in the schema; for an unknown customer and for an empty id.
        3 => {
            let values = [number, f32::NAN, 1.0, -5.0, 44.0, 2.0, 5_000.5, 17.0, 3.0];
            let features = dense(&["balance", "age", "no_such_feature"], 3, &values);
            wire::RankRequest {
                features: Some(features),
                ..rank_request("app_home", &[&one, &format!("stranger-{turn}"), ""])
            }
        }
        // An empty id without features, and a name that is too long, beside a customer who is decided.
        4 => rank_request("app_home", &["", &one, &"x".repeat(300)]),
        5 => wire::RankRequest {
            features: Some(dense(&["balance"], 2, &[f32::INFINITY, number])),
            ..rank_request("email_monthly", &[&one, &customer(1)])
        },
        6 => {
            let mut request = rank_request("email_monthly", &[&one, "stranger"]);
            for customer in &mut request.customers {
                customer.consents = vec!["marketing".to_owned(), "unheard_of".to_owned()];
            }
            request
        }
        7 => wire::RankRequest {
            candidate_offer_ids: ["travel_gold", "security_checkup", "gone"].map(str::to_owned).into(),
            exclude_offer_ids: vec!["security_checkup".to_owned()],
            ..home()
        },
        8 => wire::RankRequest {
            context: [
                ("month".to_owned(), value(wire::feature_value::Kind::Int64Value((turn % 12) as i64 + 1))),
                ("page".to_owned(), value(wire::feature_value::Kind::StringValue("travel".to_owned()))),
                ("nothing".to_owned(), value(wire::feature_value::Kind::BoolValue(true))),
            ]
            .into(),
            ..home()
        },
        9 => wire::RankRequest { channel: "pigeon".to_owned(), ..home() },
        10 => wire::RankRequest { as_of: None, request_id: format!("call-{turn}"), count: 7, ..home() },
        _ => wire::RankRequest { release, ..home() },
    };
    wire::RankRequest { explain: EXPLAIN[turn / KINDS % EXPLAIN.len()].into(), ..request }
}

/// What a client was told.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    release: u64,
    /// Ids and the bits of priorities.
    offers: Vec<(String, u64)>,
    degraded: Vec<String>,
    error: Option<String>,
}

/// What a client was told of each decision.
type All = BTreeMap<String, Told>;

fn keep(response: wire::RankResponse, all: &mut All) {
    let release = response.release;
    for result in response.results {
        let bits = |offer: wire::RankedOffer| (offer.offer_id, offer.priority.to_bits());
        let told = Told {
            release,
            offers: result.offers.into_iter().map(bits).collect(),
            degraded: result.degraded,
            error: result.error.map(|error| error.message),
        };
        assert!(all.insert(result.decision_id, told).is_none(), "an id is given twice");
    }
}

/// Makes at least so many decisions: half of them call by call, half in a stream.
async fn decide(server: &Process, decisions: usize, release: u64, turn: &mut usize, all: &mut All) {
    let mut client = DecisionServiceClient::new(channel(server).await).max_decoding_message_size(usize::MAX);
    let half = all.len() + decisions / 2;
    while all.len() < half {
        keep(client.rank(call(*turn, release)).await.unwrap().into_inner(), all);
        *turn += 1;
    }
    let (mut calls, mut customers) = (Vec::new(), 0);
    while customers < decisions.div_ceil(2) {
        let request = call(*turn, release);
        customers += request.customers.len();
        calls.push(wire::RankStreamRequest { request: Some(request) });
        *turn += 1;
    }
    let mut stream = client.rank_stream(tokio_stream::iter(calls)).await.unwrap().into_inner();
    while let Some(answer) = stream.next().await {
        keep(answer.unwrap().response.unwrap(), all);
    }
}

async fn channel(server: &Process) -> Channel {
    Channel::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

/// Release 2 has another model; release 3 another offer's value, another policy and another schema.
async fn promote(scene: &Scene, server: &Process, release: u64) {
    let mut management = Management::over(channel(server).await);
    if release == 2 {
        management.push("propensity", 2, marked("propensity", "x").path()).await.unwrap();
        assert_eq!(management.create(&[("propensity", 2)]).await.unwrap(), 2);
    } else {
        let workspace = Copy::new();
        workspace.replace("offers.toml", "value = 80.0", "value = 240.0");
        workspace.replace("policy.toml", "weight = 30.0", "weight = 60.0");
        workspace.replace(
            "features.toml",
            "[[feature]]\n",
            "[[feature]]\nname = \"loyalty\"\ntype = \"float\"\nentity = \"customer\"\ndefault = 0.5\n\
             range = [0.0, 1.0]\n\n[[feature]]\n",
        );
        let made = scene.run(&["release", "create", workspace.path().to_str().unwrap()]);
        assert_eq!(made.code, Some(0), "{made:?}");
    }
    management.promote(release).await.unwrap();
}

/// What a replay of everything finds.
fn replayed(scene: &Scene, words: &[&str]) -> serde_json::Value {
    let replay = scene.run(&[&["replay", "--rescore", "--format", "json"], words].concat());
    assert_eq!(replay.code, Some(0), "{}{}", replay.stderr, &replay.stdout[..replay.stdout.len().min(4_000)]);
    serde_json::from_str(&replay.stdout).unwrap()
}

/// What the records of a test have between them.
#[derive(Default)]
struct Coverage(BTreeSet<String>);

impl Coverage {
    fn add(&mut self, record: &DecisionRecord) {
        let mut has = |what: &str, it_has: bool| {
            if it_has && !self.0.contains(what) {
                self.0.insert(what.to_owned());
            }
        };
        has(&format!("explain {}", record.explain), true);
        has("batch", record.call_customers > 1);
        has("error", record.error.is_some());
        has("unknown customer", record.unknown_customer);
        has("segment", record.segment.is_some());
        has("asked release", record.asked_release > 0);
        has("candidates of the call", !record.candidate_offer_ids.is_empty());
        has("excluded offers", !record.exclude_offer_ids.is_empty());
        has("consents of the call", !record.consents.is_empty());
        has("as of now", record.as_of.is_none());
        has("as of another time", record.as_of.is_some());
        has("fallback", record.offers.iter().any(|offer| offer.fallback));
        has("no offer", record.offers.is_empty() && record.error.is_none());
        for line in &record.degraded {
            has(line.split(':').next().unwrap_or_default(), true);
        }
        let sources = [&record.customer, &record.context].into_iter().flatten();
        for source in sources.flat_map(|values| &values.sources) {
            has(FeatureSource::try_from(i32::from(*source)).unwrap().word(), true);
        }
    }

    /// Checks that nothing is missing that `call` asks for.
    fn check(&self) {
        let kinds = [
            ["explain 1", "explain 2", "explain 3", "batch", "error"],
            ["unknown customer", "segment", "asked release", "candidates of the call", "excluded offers"],
            ["consents of the call", "as of now", "as of another time", "fallback", "default"],
            ["missing", "out_of_range", "unknown_customer", "unknown_consent", "unknown_offer"],
            ["request", "store", "unknown_feature", "unknown_channel", "no offer"],
        ];
        let missing: Vec<_> = kinds.as_flattened().iter().filter(|kind| !self.0.contains(**kind)).collect();
        assert!(missing.is_empty(), "no record with {missing:?}; there are {:?}", self.0);
    }
}

/// Decides in a place, and decides all of it again.
async fn is_decided_again(scene: &Scene) {
    let each = decisions().div_ceil(3);
    let keys = [("log_file", "1MiB")];
    let mut server = scene.serve("data", &keys);
    let (mut told, mut turn) = (All::new(), 0);
    let mut before = Vec::new();
    for release in 1..=3 {
        if release > 1 {
            promote(scene, &server, release).await;
        }
        decide(&server, each / 2, release, &mut turn, &mut told).await;
        if release == 2 {
            let first = |of: u64| told.iter().find(|(_, told)| told.release == of).unwrap().0.clone();
            before = vec![first(1), first(2)];
            assert!(server.terminate().success());
            server = scene.serve("data", &keys);
        }
        decide(&server, each.div_ceil(2), release, &mut turn, &mut told).await;
    }
    // What was decided before the restart is decided again by the server.
    let mut records = RecordServiceClient::new(channel(&server).await);
    for decision_id in before {
        let got = records.get_decision(wire::GetDecisionRequest { decision_id }).await.unwrap().into_inner();
        assert!(got.replayed, "{got:?}");
    }
    assert!(server.terminate().success());

    let data = scene.path("data");
    let from_both = replayed(scene, &["--data", data.to_str().unwrap()]);
    assert_eq!(the_same(&from_both), told.len() as u64);
    let errors = told.values().filter(|told| told.error.is_some()).count();
    assert_eq!(from_both["without_decision"], errors);
    assert_eq!((&from_both["differing"], &from_both["failed"]), (&0.into(), &0.into()));
    for release in 1..=3_u64 {
        let made = told.values().filter(|told| told.release == release).count();
        assert_eq!(from_both["releases"][release.to_string()], made, "{from_both}");
        assert!(made >= each / 2, "{from_both}");
    }
    scene.seal("data");
    assert_eq!(replayed(scene, &[]), from_both);
    scene.assert_whole(&[]);

    // And the records are what the clients were told.
    let (mut coverage, mut found) = (Coverage::default(), BTreeSet::new());
    scene.read(&[], |_, record| {
        coverage.add(&record);
        let bits = |offer: &event::proto::RecordedOffer| (offer.offer_id.clone(), offer.priority.to_bits());
        let recorded = Told {
            release: record.release,
            offers: record.offers.iter().map(bits).collect(),
            degraded: record.degraded,
            error: record.error.map(|error| error.message),
        };
        assert_eq!(told.get(&record.decision_id), Some(&recorded), "{}", record.decision_id);
        assert!(found.insert(record.decision_id), "a decision is recorded twice");
    });
    assert_eq!(found.len(), told.len());
    coverage.check();
    println!("{} decisions in {} were decided again, from {} calls", told.len(), scene.location(), turn);
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_over_three_releases_are_decided_again_from_a_directory() {
    is_decided_again(&Scene::in_directory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_over_three_releases_are_decided_again_from_a_bucket() {
    let Some(s3) = S3::shared() else { return };
    is_decided_again(&Scene::in_bucket(s3)).await;
}
