//! What `Rank`, `Score` and `AssignSegments` guarantee beyond their numbers.

use telemetry::Format;
use tonic::Code;

use super::harness::{Copy, Server, dense, rank_request, sample_workspace, wire};
use super::small::{INPUTS, Small, Texts, shown};

fn sample_ids() -> Vec<String> {
    let text = std::fs::read_to_string(sample_workspace().join("customers.csv")).unwrap();
    text.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_sample_customer_gets_an_offer_in_every_placement_by_id_alone() {
    let mut client = Server::sample().client().await;
    let ids = sample_ids();
    assert_eq!(ids.len(), 2000);
    for placement in ["app_home", "email_monthly", "call_center"] {
        for ids in ids.chunks(1000) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let request = wire::RankRequest { as_of: None, ..rank_request(placement, &ids) };
            let response = client.rank(request).await.unwrap().into_inner();
            assert_eq!(response.results.len(), ids.len());
            for (result, id) in response.results.iter().zip(&ids) {
                assert_eq!(result.customer_id, *id);
                assert!(!result.offers.is_empty(), "{placement}: nothing for {id}");
            }
        }
    }
}

#[tokio::test]
async fn a_customer_that_cannot_be_decided_fails_alone() {
    let mut client = Server::sample().client().await;
    let request = rank_request("app_home", &["C000001", "", "C000002"]);
    let results = client.rank(request).await.unwrap().into_inner().results;
    let error = results[1].error.as_ref().unwrap();
    assert_eq!((error.code.as_str(), error.field.as_str()), ("INVALID_ARGUMENT", "customers[1].customer_id"));
    assert!(results[1].offers.is_empty());
    for index in [0, 2] {
        assert!(results[index].error.is_none() && !results[index].offers.is_empty());
    }
}

#[tokio::test]
async fn explanations_come_in_three_levels() {
    let mut client = Server::sample().client().await;
    let mut ask = async |explain: wire::Explain| {
        let request = wire::RankRequest { explain: explain.into(), ..rank_request("app_home", &["C000001"]) };
        client.rank(request).await.unwrap().into_inner().results.remove(0)
    };
    let (none, winners, all) =
        (ask(wire::Explain::None).await, ask(wire::Explain::Winners).await, ask(wire::Explain::All).await);
    assert!(none.offers.iter().all(|offer| offer.factors.is_none()) && none.rejected.is_empty());
    assert!(winners.offers.iter().all(|offer| offer.factors.is_some()) && winners.rejected.is_empty());
    assert!(!all.rejected.is_empty());
    let ids = |result: &wire::RankResult| -> Vec<String> {
        result.offers.iter().map(|offer| offer.offer_id.clone()).collect()
    };
    assert_eq!(ids(&none), ids(&all));
    assert_eq!(ids(&winners), ids(&all));
    for rejected in &all.rejected {
        assert!(!rejected.stage.is_empty() && !rejected.reason.is_empty(), "{rejected:?}");
    }
    let offer = &all.offers[0];
    let factors = offer.factors.as_ref().unwrap();
    let product = factors.propensity * factors.context_weight * factors.value * factors.lever;
    assert!((offer.priority - product).abs() <= 1e-12 * product.abs());
    assert!(offer.attributes.contains_key("headline"), "{:?}", offer.attributes);
}

#[tokio::test]
async fn defaulted_and_out_of_range_values_are_listed() {
    let mut client = Server::sample().client().await;
    let mut request = rank_request("app_home", &["an unknown customer"]);
    request.features = Some(dense(&["balance", "age"], 1, &[-5.0, f32::NAN]));
    let result = client.rank(request).await.unwrap().into_inner().results.remove(0);
    for expected in
        ["unknown_customer", "out_of_range:balance", "missing:age", "default:purchases", "default:month"]
    {
        assert!(result.degraded.iter().any(|entry| entry == expected), "{expected}: {:?}", result.degraded);
    }
}

#[tokio::test]
async fn scores_are_the_propensities_that_rank_uses() {
    let mut client = Server::sample().client().await;
    let request = rank_request("app_home", &["C000001"]);
    let ranked = client.rank(request).await.unwrap().into_inner().results.remove(0);
    let (names, values): (Vec<String>, Vec<f32>) = customer_row("C000001").into_iter().unzip();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = wire::ScoreRequest {
        model: Some(wire::ModelRef { name: "propensity".to_owned(), version: 0 }),
        features: Some(dense(&names, 1, &values)),
        offer_ids: ranked.offers.iter().map(|offer| offer.offer_id.clone()).collect(),
    };
    let scored = client.score(request).await.unwrap().into_inner();
    assert!(scored.calibrated && scored.errors.is_empty());
    assert_eq!((scored.rows, scored.columns.len()), (1, ranked.offers.len()));
    for (offer, score) in ranked.offers.iter().zip(&scored.values) {
        let propensity = offer.factors.as_ref().unwrap().propensity;
        assert!((f64::from(*score) - propensity).abs() < 1e-6, "{}: {score}", offer.offer_id);
    }
}

/// The known float and int features of a sample customer.
fn customer_row(id: &str) -> Vec<(String, f32)> {
    let text = std::fs::read_to_string(sample_workspace().join("customers.csv")).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap().split(',');
    let line = lines.find(|line| line.starts_with(id)).unwrap();
    header
        .zip(line.split(','))
        .skip(1)
        .filter_map(|(name, text)| {
            let number = match text {
                "true" => Some(1.0),
                "false" => Some(0.0),
                _ => text.parse().ok(),
            };
            number.map(|number| (name.to_owned(), number))
        })
        .collect()
}

#[tokio::test]
async fn a_row_that_cannot_be_scored_is_nan_with_a_reason() {
    let mut client = Server::sample().client().await;
    // This model accepts no missing values, and `age` has no default.
    let schema = std::fs::read_to_string(sample_workspace().join("affinity/1/model.toml")).unwrap();
    assert!(schema.contains("accepts_missing = false"));
    let request = wire::ScoreRequest {
        model: Some(wire::ModelRef { name: "affinity".to_owned(), version: 0 }),
        features: Some(dense(&["age", "balance"], 2, &[40.0, 1.0, f32::NAN, 1.0])),
        offer_ids: Vec::new(),
    };
    let scored = client.score(request).await.unwrap().into_inner();
    let width = scored.columns.len();
    assert_eq!(scored.values.len(), 2 * width);
    assert_eq!(scored.errors.len(), 1, "{:?}", scored.errors);
    assert_eq!(scored.errors[0].row, 1);
    assert!(scored.errors[0].message.contains("`age`"), "{:?}", scored.errors);
    assert!(scored.values[..width].iter().all(|value| (0.0..=1.0).contains(value)));
    assert!(scored.values[width..].iter().all(|value| value.is_nan()));
}

#[tokio::test]
async fn a_model_that_fails_on_one_customer_affects_only_that_customer() {
    // If an input is missing for one customer, the model's offers are withheld with a reason; the other customer is
    // unaffected.
    let mut client = Server::sample().client().await;
    let mut request = rank_request("call_center", &["stranger", "C000001"]);
    request.candidate_offer_ids = Vec::new();
    let both = client.rank(request).await.unwrap().into_inner().results;
    let alone = client.rank(rank_request("call_center", &["C000001"])).await.unwrap().into_inner().results;
    let unavailable = |result: &wire::RankResult| {
        result.rejected.iter().filter(|offer| offer.reason == "MODEL_UNAVAILABLE").count()
    };
    assert!(unavailable(&both[0]) > 0, "{:?}", both[0].rejected);
    assert!(!both[0].offers.is_empty(), "the fallback or offers of another model remain");
    let ids = |result: &wire::RankResult| -> Vec<String> {
        result.offers.iter().map(|offer| offer.offer_id.clone()).collect()
    };
    assert_eq!(ids(&both[1]), ids(&alone[0]));
}

#[tokio::test]
async fn a_version_that_is_in_the_store_but_not_in_the_release_is_a_failed_precondition() {
    let workspace = Copy::new();
    let server = Server::start(workspace.path(), &[]);
    let known = server.store.join("models/propensity");
    std::fs::create_dir(known.join("2")).unwrap();
    std::fs::copy(known.join("1/model.toml"), known.join("2/model.toml")).unwrap();
    let request = wire::ScoreRequest {
        model: Some(wire::ModelRef { name: "propensity".to_owned(), version: 2 }),
        features: Some(dense(&["balance"], 1, &[10.0])),
        offer_ids: vec!["travel_gold".to_owned()],
    };
    let status = server.client().await.score(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
}

#[tokio::test]
async fn a_fallback_is_shown_only_if_no_offer_remains_and_is_marked() {
    let mut client = Server::sample().client().await;
    let mut request = rank_request("app_home", &["C000001"]);
    request.candidate_offer_ids = vec!["travel_gold".into()];
    request.exclude_offer_ids = vec!["travel_gold".into()];
    let result = client.rank(request).await.unwrap().into_inner().results.remove(0);
    assert_eq!(result.offers.len(), 1);
    assert!(result.offers[0].fallback && result.offers[0].factors.is_none());
    assert_eq!(result.offers[0].offer_id, "spending_insights");
}

#[tokio::test]
async fn a_request_id_is_echoed_or_generated_and_decision_ids_are_version_7_uuids() {
    let mut client = Server::sample().client().await;
    let mut request = rank_request("app_home", &["C000001", "C000002"]);
    let made = client.rank(request.clone()).await.unwrap().into_inner();
    assert!(uuid::Uuid::parse_str(&made.request_id).is_ok());
    request.request_id = "mine".into();
    let echoed = client.rank(request).await.unwrap().into_inner();
    assert_eq!(echoed.request_id, "mine");
    let ids: Vec<uuid::Uuid> =
        echoed.results.iter().map(|result| uuid::Uuid::parse_str(&result.decision_id).unwrap()).collect();
    assert!(ids.iter().all(|id| id.get_version_num() == 7) && ids[0] != ids[1]);
}

#[tokio::test]
async fn columns_come_in_the_order_in_which_they_were_asked_for() {
    let mut client = Server::sample().client().await;
    let manifest = std::fs::read_to_string(sample_workspace().join("network/1/model.toml")).unwrap();
    let manifest = model::Manifest::parse("model.toml", &manifest).unwrap();
    let model::Inputs::Dense(names) = &manifest.inputs else { panic!("the network takes dense rows") };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let row: Vec<f32> = (0..names.len()).map(|index| index as f32 / 10.0).collect();
    let mut ask = async |offer_ids: &[String]| {
        let request = wire::ScoreRequest {
            model: Some(wire::ModelRef { name: "network".to_owned(), version: 0 }),
            // Bool features take 0 and 1, int features whole numbers.
            features: Some(dense(&names, 1, &row.iter().map(|value| value.floor()).collect::<Vec<_>>())),
            offer_ids: offer_ids.to_vec(),
        };
        client.score(request).await.unwrap().into_inner()
    };
    let all = ask(&[]).await;
    assert_eq!(all.columns, manifest.offers);
    let reversed: Vec<String> = manifest.offers.iter().rev().cloned().collect();
    let turned = ask(&reversed).await;
    assert_eq!(turned.columns, reversed);
    assert_eq!(turned.values, all.values.iter().rev().copied().collect::<Vec<f32>>());
    let one = ask(&reversed[..1]).await;
    assert_eq!(one.values, turned.values[..1]);
    // An offer that the release no longer has keeps its column.
    let gone = ask(&[reversed[0].clone(), "retired".to_owned(), reversed[1].clone()]).await;
    assert_eq!(gone.columns, [&reversed[0], "retired", &reversed[1]]);
    assert_eq!(
        [0, 2].map(|column| gone.values[column].to_bits()),
        [0, 1].map(|column| turned.values[column].to_bits())
    );
    assert!(gone.values[1].is_nan() && gone.errors.is_empty());
    assert_eq!(gone.degraded, ["unknown_offer:retired"]);
}

#[tokio::test]
async fn every_call_ignores_names_that_the_release_no_longer_has() {
    let mut client = Server::sample().client().await;
    let (known, more) = (["balance", "credit_limit"], ["balance", "gone", "credit_limit"]);
    let score = |names: &[&str], values: &[f32], offers: &[&str]| wire::ScoreRequest {
        model: Some(wire::ModelRef { name: "propensity".to_owned(), version: 0 }),
        features: Some(dense(names, 2, values)),
        offer_ids: offers.iter().map(|offer| (*offer).to_owned()).collect(),
    };
    let plain = score(&known, &[100.0, 1000.0, 900.0, 1000.0], &["travel_gold", "cashback_everyday"]);
    let named = [100.0, 7.0, 1000.0, 900.0, f32::INFINITY, 1000.0];
    let plain = client.score(plain).await.unwrap().into_inner();
    let wide = score(&more, &named, &["travel_gold", "retired", "cashback_everyday"]);
    let wide = client.score(wide).await.unwrap().into_inner();
    let kept: Vec<f32> = wide.values.chunks(3).flat_map(|row| [row[0], row[2]]).collect();
    assert_eq!(kept, plain.values);
    assert!(wide.values.chunks(3).all(|row| row[1].is_nan()));
    assert_eq!(wide.degraded, ["unknown_offer:retired", "unknown_feature:gone"]);
    assert!(plain.degraded.is_empty() && wide.errors.is_empty());
    let nothing = client.score(score(&known, &[1.0; 4], &["retired"])).await.unwrap().into_inner();
    assert!(nothing.values.len() == 2 && nothing.values.iter().all(|value| value.is_nan()));

    let assign = |names: &[&str], values: &[f32]| wire::AssignSegmentsRequest {
        features: Some(dense(names, 2, values)),
    };
    let plain =
        client.assign_segments(assign(&known, &[100.0, 1000.0, 900.0, 1000.0])).await.unwrap().into_inner();
    let wide = client.assign_segments(assign(&more, &named)).await.unwrap().into_inner();
    assert_eq!((wide.segments, wide.degraded), (plain.segments, vec!["unknown_feature:gone".to_owned()]));
    assert!(wide.errors.is_empty());
}

#[tokio::test]
async fn a_missing_value_takes_the_default_in_every_form_of_a_request() {
    let mut client = Server::sample().client().await;
    let manifest = std::fs::read_to_string(sample_workspace().join("propensity/1/model.toml")).unwrap();
    let manifest = model::Manifest::parse("model.toml", &manifest).unwrap();
    let model::Inputs::Dense(names) = &manifest.inputs else { panic!("propensity takes dense rows") };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut row = vec![1.0; names.len()];
    row[names.iter().position(|name| *name == "balance").unwrap()] = f32::NAN;
    let request = |batch| wire::ScoreRequest {
        model: Some(wire::ModelRef { name: "propensity".to_owned(), version: 0 }),
        features: Some(batch),
        offer_ids: Vec::new(),
    };
    let in_order = client.score(request(dense(&names, 1, &row))).await.unwrap().into_inner();
    let mut shuffled: Vec<(&str, f32)> = names.iter().copied().zip(row).collect();
    shuffled.reverse();
    let (names, row): (Vec<&str>, Vec<f32>) = shuffled.into_iter().unzip();
    let in_reverse = client.score(request(dense(&names, 1, &row))).await.unwrap().into_inner();
    assert_eq!(in_order.values, in_reverse.values);
}

/// 130 leaves of 1 / 130 add up to 1.0000019 in 32-bit floats.
#[tokio::test]
async fn a_sum_of_leaves_just_above_1_is_clamped_to_1() {
    let small =
        Small::of("forest_of_130", "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['m0', 'm2']\n");
    small.publish(&Texts {
        features: INPUTS.to_owned(),
        offers: "[[offer]]\nid = 'gold'\nname = ''\ncategory = 'c'\nplacements = ['p']\nvalue = 1.0\n"
            .to_owned(),
        policy:
            "[[category]]\nid = 'c'\n[[placement]]\nid = 'p'\nchannels = ['app']\ncount = 1\nmodel = 'base'\n"
                .to_owned(),
        customers: "customer_id,m0\nsure,20000\nnot,5\n".to_owned(),
    });
    for (customer, propensity) in [("sure", 1.0), ("not", 0.0)] {
        let result = small.one(rank_request("p", &[customer])).await;
        assert_eq!(shown(&result), ["gold"], "{customer}");
        assert_eq!(
            result.offers[0].factors.as_ref().unwrap().propensity.to_bits(),
            f64::to_bits(propensity),
            "{customer}"
        );
    }
    let metrics = small.metrics.encode(Format::Text);
    assert!(metrics.contains("proffer_propensities_clamped_total{model=\"base\"} 1\n"), "{metrics}");
}
