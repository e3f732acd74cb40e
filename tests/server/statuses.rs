//! Errors that programs can interpret, and answers that are too large for a client.

use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wire::decision_service_client::DecisionServiceClient;
use wire::model_service_client::ModelServiceClient;

use super::harness::{Copy, Server, dense, rank_request, scores, wire};

/// The default limit of gRPC clients for received messages, in bytes.
const CLIENT_LIMIT: usize = 4 << 20;

async fn refused(change: impl FnOnce(&mut wire::RankRequest)) -> Status {
    let mut request = rank_request("app_home", &["C000001"]);
    "the-caller's".clone_into(&mut request.request_id);
    change(&mut request);
    Server::sample().client().await.rank(request).await.unwrap_err()
}

#[tokio::test]
async fn an_invalid_field_is_named_in_the_error_details() {
    let long = vec!["x".repeat(300)];
    let errors = [
        (refused(|request| request.exclude_offer_ids = long).await, "exclude_offer_ids[0]"),
        (refused(|request| request.count = 101).await, "count"),
        (refused(|request| request.placement.clear()).await, "placement"),
        (refused(|request| request.explain = 9).await, "explain"),
        (refused(|request| request.channel = "x".repeat(300)).await, "channel"),
    ];
    for (status, field) in errors {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), 1, "{status:?}");
        assert_eq!(violations[0].field, field);
        assert_eq!(status.message(), format!("{field}: {}", violations[0].description));
        assert_eq!(status.get_details_request_info().unwrap().request_id, "the-caller's");
    }
    let mut models = ModelServiceClient::new(Server::sample().channel().await);
    let outgoing = wire::GetModelVersionRequest { name: "../x".to_owned(), version: 1 };
    let status = models.get_model_version(outgoing).await.unwrap_err();
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "name");
}

#[tokio::test]
async fn every_error_names_its_request() {
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

/// Calls a method for which there is no generated client.
async fn call(channel: Channel, path: &'static str) -> Status {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let codec: tonic_prost::ProstCodec<(), ()> = tonic_prost::ProstCodec::default();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    client.unary(tonic::Request::new(()), path, codec).await.unwrap_err()
}

#[tokio::test]
async fn an_exhausted_call_gets_a_retry_delay() {
    let server = Server::start(Copy::new().path(), &[("limits.concurrent_calls", "1")]);
    let mut client = server.client().await;
    // An open stream is an in-flight call from its first message on.
    let mut open = client.clone();
    let (requests, outgoing) = tokio::sync::mpsc::channel(1);
    let answers = open.rank_stream(tokio_stream::wrappers::ReceiverStream::new(outgoing)).await.unwrap();
    assert!(client.rank(rank_request("app_home", &["C000001"])).await.is_ok());
    let message = wire::RankStreamRequest { request: Some(rank_request("app_home", &["C000001"])) };
    requests.send(message).await.unwrap();
    let mut answers = answers.into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let status = client.rank(rank_request("app_home", &["C000001"])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!delay.is_zero() && delay.as_secs() < 10, "{delay:?}");
    assert!(status.get_details_request_info().is_some());
}

/// Checks that a client with default options gets the answer, or an error from the server that says what to do. Returns
/// whether it got the answer.
#[track_caller]
fn assert_received<T>(answer: Result<T, Status>, hint: &str) -> bool {
    let Err(status) = answer else { return true };
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    for words in ["the answer has", "limits.answer", hint] {
        assert!(status.message().contains(words), "{status:?}");
    }
    assert!(status.get_details_request_info().is_some(), "{status:?}");
    false
}

#[tokio::test]
async fn no_answer_exceeds_the_default_limit_of_clients() {
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
            let received = assert_received(answer, "fewer customers");
            assert!(received || !fits, "{placement} {explain:?}");
            let outgoing = wire::RankStreamRequest { request: Some(request) };
            let mut answers = client.rank_stream(tokio_stream::once(outgoing)).await.unwrap().into_inner();
            assert_received(answers.message().await, "fewer customers");
        }
    }
    let balances = vec![100.0; 100_000];
    let outgoing =
        wire::AssignSegmentsRequest { features: Some(dense(&["balance"], balances.len(), &balances)) };
    assert_received(client.assign_segments(outgoing).await, "fewer rows");
    // The same request with raised limits on both sides.
    let mut request = rank_request("app_home", &ids);
    request.explain = wire::Explain::All.into();
    let answer = Server::sample().client().await.rank(request).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 1024);
}

#[tokio::test]
async fn answers_with_rows_obey_the_limit_too() {
    let server = Server::start(Copy::new().path(), &[("limits.answer", "64KiB")]);
    let mut client = DecisionServiceClient::new(server.channel().await).max_decoding_message_size(64 << 10);
    let offers = ["travel_gold", "travel_basic", "cashback_fuel", "cashback_dining"];
    for (rows, fits) in [(4000, true), (4200, false)] {
        let request = scores("propensity", rows, &offers);
        assert_eq!(assert_received(client.score(request.clone()).await, "fewer rows"), fits, "{rows}");
        let outgoing = tokio_stream::once(wire::ScoreStreamRequest { request: Some(request) });
        let mut answers = client.score_stream(outgoing).await.unwrap().into_inner();
        assert_eq!(assert_received(answers.message().await, "fewer rows"), fits, "{rows}");
        let balances = vec![100.0; rows];
        let outgoing = wire::AssignSegmentsRequest { features: Some(dense(&["balance"], rows, &balances)) };
        assert_received(client.assign_segments(outgoing).await, "fewer rows");
    }
}
