//! What a refusal tells a program, and answers that a client would not take.

use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wire::decision_service_client::DecisionServiceClient;
use wire::model_service_client::ModelServiceClient;

use super::harness::{Copy, Server, dense, rank_request, scores, wire};

/// Bytes of a message that clients of gRPC receive unless they are told otherwise.
const CLIENT_LIMIT: usize = 4 << 20;

async fn refused(change: impl FnOnce(&mut wire::RankRequest)) -> Status {
    let mut request = rank_request("app_home", &["C000001"]);
    "the-caller's".clone_into(&mut request.request_id);
    change(&mut request);
    Server::sample().client().await.rank(request).await.unwrap_err()
}

#[tokio::test]
async fn a_wrong_field_is_named_apart_from_the_message() {
    let long = vec!["x".repeat(300)];
    let refusals = [
        (refused(|request| request.exclude_offer_ids = long).await, "exclude_offer_ids[0]"),
        (refused(|request| request.count = 101).await, "count"),
        (refused(|request| request.placement.clear()).await, "placement"),
        (refused(|request| request.explain = 9).await, "explain"),
        (refused(|request| request.channel = "x".repeat(300)).await, "channel"),
    ];
    for (status, field) in refusals {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), 1, "{status:?}");
        assert_eq!(violations[0].field, field);
        assert_eq!(status.message(), format!("{field}: {}", violations[0].description));
        assert_eq!(status.get_details_request_info().unwrap().request_id, "the-caller's");
    }
    let mut models = ModelServiceClient::new(Server::sample().channel().await);
    let asked = wire::GetModelVersionRequest { name: "../x".to_owned(), version: 1 };
    let status = models.get_model_version(asked).await.unwrap_err();
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "name");
}

#[tokio::test]
async fn every_refusal_names_its_request() {
    let unknown = refused(|request| request.placement = "nowhere".to_owned()).await;
    assert_eq!(unknown.get_details_request_info().unwrap().request_id, "the-caller's");
    let mut client = Server::sample().client().await;
    let unnamed = [
        client.rank(rank_request("nowhere", &["C000001"])).await.unwrap_err(),
        client
            .rank(wire::RankRequest { request_id: "x".repeat(300), ..Default::default() })
            .await
            .unwrap_err(),
        client.score(wire::ScoreRequest::default()).await.unwrap_err(),
        client.assign_segments(wire::AssignSegmentsRequest::default()).await.unwrap_err(),
        call(Server::sample().channel().await, "/proffer.v1.DecisionService/Nothing").await,
    ];
    let mut ids: Vec<String> = unnamed
        .iter()
        .map(|status| status.get_details_request_info().unwrap_or_else(|| panic!("{status:?}")).request_id)
        .collect();
    assert!(ids.iter().all(|id| uuid::Uuid::parse_str(id).is_ok()), "{ids:?}");
    ids.dedup();
    assert_eq!(ids.len(), unnamed.len());
}

/// Calls a path that no client was generated for.
async fn call(channel: Channel, path: &'static str) -> Status {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let codec: tonic_prost::ProstCodec<(), ()> = tonic_prost::ProstCodec::default();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    client.unary(tonic::Request::new(()), path, codec).await.unwrap_err()
}

#[tokio::test]
async fn who_is_refused_for_want_of_room_is_told_when_to_try_again() {
    let server = Server::start(Copy::new().path(), &[("limits.concurrent_calls", "1")]);
    let mut client = server.client().await;
    // An open stream is a call under way, from its first message on.
    let mut open = client.clone();
    let (questions, asked) = tokio::sync::mpsc::channel(1);
    let answers = open.rank_stream(tokio_stream::wrappers::ReceiverStream::new(asked)).await.unwrap();
    assert!(client.rank(rank_request("app_home", &["C000001"])).await.is_ok());
    let message = wire::RankStreamRequest { request: Some(rank_request("app_home", &["C000001"])) };
    questions.send(message).await.unwrap();
    let mut answers = answers.into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let status = client.rank(rank_request("app_home", &["C000001"])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!delay.is_zero() && delay.as_secs() < 10, "{delay:?}");
    assert!(status.get_details_request_info().is_some());
}

/// An answer that a client without options gets, or a refusal by the server that says what to do; never one that the client cannot take.
#[track_caller]
fn assert_taken<T>(answer: Result<T, Status>, hint: &str) -> bool {
    let Err(status) = answer else { return true };
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    for words in ["the answer has", "limits.answer", hint] {
        assert!(status.message().contains(words), "{status:?}");
    }
    assert!(status.get_details_request_info().is_some(), "{status:?}");
    false
}

#[tokio::test]
async fn no_answer_of_the_default_limits_is_more_than_a_client_takes() {
    let default = (CLIENT_LIMIT / (1 << 20)).to_string() + "MiB";
    let server = Server::start(Copy::new().path(), &[("limits.answer", &default)]);
    let mut client = DecisionServiceClient::new(server.channel().await);
    let ids: Vec<String> = (1..=1024).map(|number| format!("C{number:06}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for placement in ["app_home", "email_monthly"] {
        for (explain, fits) in [(wire::Explain::None, true), (wire::Explain::All, false)] {
            let mut request = rank_request(placement, &ids);
            request.explain = explain.into();
            let answer = client.rank(request.clone()).await;
            let taken = assert_taken(answer, "fewer customers");
            assert!(taken || !fits, "{placement} {explain:?}");
            let asked = wire::RankStreamRequest { request: Some(request) };
            let mut answers = client.rank_stream(tokio_stream::once(asked)).await.unwrap().into_inner();
            assert_taken(answers.message().await, "fewer customers");
        }
    }
    let balances = vec![100.0; 100_000];
    let asked =
        wire::AssignSegmentsRequest { features: Some(dense(&["balance"], balances.len(), &balances)) };
    assert_taken(client.assign_segments(asked).await, "fewer rows");
    // The same question with the limit raised on both sides.
    let mut request = rank_request("app_home", &ids);
    request.explain = wire::Explain::All.into();
    let answer = Server::sample().client().await.rank(request).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 1024);
}

#[tokio::test]
async fn answers_of_rows_are_held_against_the_limit_too() {
    let server = Server::start(Copy::new().path(), &[("limits.answer", "64KiB")]);
    let mut client = DecisionServiceClient::new(server.channel().await).max_decoding_message_size(64 << 10);
    let offers = ["travel_gold", "travel_basic", "cashback_fuel", "cashback_dining"];
    for (rows, fits) in [(4000, true), (4200, false)] {
        let request = scores("propensity", rows, &offers);
        assert_eq!(assert_taken(client.score(request.clone()).await, "fewer rows"), fits, "{rows}");
        let asked = tokio_stream::once(wire::ScoreStreamRequest { request: Some(request) });
        let mut answers = client.score_stream(asked).await.unwrap().into_inner();
        assert_eq!(assert_taken(answers.message().await, "fewer rows"), fits, "{rows}");
        let balances = vec![100.0; rows];
        let asked = wire::AssignSegmentsRequest { features: Some(dense(&["balance"], rows, &balances)) };
        assert_taken(client.assign_segments(asked).await, "fewer rows");
    }
}
