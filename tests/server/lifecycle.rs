//! Starting, changing and stopping: probes, health, reflection, new customers, draining.

use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::harness::{Copy, Server, rank_request, wire};

/// Checks the health status of the server as a whole and of each service.
async fn assert_health(health: &mut HealthClient<Channel>, expected: ServingStatus) {
    for service in [
        "",
        "proffer.v1.DecisionService",
        "proffer.v1.ModelService",
        "proffer.v1.ReleaseService",
        "proffer.v1.ExperimentService",
        "inference.GRPCInferenceService",
    ] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, expected, "{service}");
    }
}

#[tokio::test]
async fn health_and_probes_report_that_it_serves() {
    let server = Server::sample();
    let mut health = HealthClient::new(server.channel().await);
    assert_health(&mut health, ServingStatus::Serving).await;
    let unknown = health.check(HealthCheckRequest { service: "none".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(server.admin_get("/livez").unwrap().starts_with("HTTP/1.1 200"));
    assert!(server.admin_get("/readyz").unwrap().contains("\"release\":1"));
}

#[tokio::test]
async fn reflection_lists_the_services() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let mut client = ServerReflectionClient::new(Server::sample().channel().await);
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = answers.into_inner().next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for service in [
        "proffer.v1.DecisionService",
        "proffer.v1.ModelService",
        "proffer.v1.ReleaseService",
        "proffer.v1.ExperimentService",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
    ] {
        assert!(names.iter().any(|name| name == service), "{service}: {names:?}");
    }
}

#[tokio::test]
async fn metrics_count_decisions() {
    let server = Server::start(Copy::new().path(), &[]);
    let mut client = server.client().await;
    client.rank(rank_request("app_home", &["C000001", "C000002"])).await.unwrap();
    client.rank(rank_request("nowhere", &["C000001"])).await.unwrap_err();
    let metrics = server.admin_get("/metrics").unwrap();
    for line in [
        "proffer_decisions_total{placement=\"app_home\"} 2",
        "proffer_requests_total{rpc=\"Rank\",code=\"OK\"} 1",
        "proffer_requests_total{rpc=\"Rank\",code=\"NOT_FOUND\"} 1",
        "proffer_release 1",
        "proffer_customers 2000",
    ] {
        assert!(metrics.contains(line), "no {line:?} in\n{metrics}");
    }
}

#[tokio::test]
async fn new_customers_serve_without_a_restart_and_damaged_ones_do_not() {
    let server = Server::start(Copy::new().path(), &[]);
    let mut client = server.client().await;
    let mut unknown = async || {
        let results = client.rank(rank_request("app_home", &["NEW1"])).await.unwrap().into_inner().results;
        results[0].degraded.iter().any(|entry| entry == "unknown_customer")
    };
    assert!(unknown().await);
    let customers = server.store.join("customers/customers.csv");
    std::fs::write(server.store.join("next.csv"), "customer_id,balance\nNEW1,100.0\n").unwrap();
    std::fs::rename(server.store.join("next.csv"), &customers).unwrap();
    let mut attempts = 0;
    while unknown().await {
        attempts += 1;
        assert!(attempts < 500, "the new customers do not serve");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    std::fs::write(server.store.join("next.csv"), "customer_id,balance\nNEW1,a lot\n").unwrap();
    std::fs::rename(server.store.join("next.csv"), &customers).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!unknown().await, "the old customers still serve");
}

#[tokio::test]
async fn in_flight_calls_finish_at_shutdown_and_new_ones_are_rejected() {
    let server = Server::start(Copy::new().path(), &[("server.drain", "20s")]);
    let mut client = server.client().await;
    client.rank(rank_request("app_home", &["C000001"])).await.unwrap();
    let ids: Vec<String> = (1..=1000).map(|number| format!("C{number:06}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut busy = server.client().await;
    let request = rank_request("app_home", &ids);
    let in_flight = tokio::spawn(async move { busy.rank(request).await });
    while !server.admin_get("/metrics").unwrap().contains("proffer_requests_in_flight{rpc=\"Rank\"} 1") {
        if in_flight.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    server.shut_down();
    assert_eq!(in_flight.await.unwrap().unwrap().into_inner().results.len(), 1000);
    tokio::task::spawn_blocking(move || server.join()).await.unwrap().unwrap();
    let refused = client.rank(rank_request("app_home", &["C000001"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
}

#[tokio::test]
async fn a_draining_server_is_not_ready_but_still_accepts_and_answers() {
    let settings = [("server.drain", "20s"), ("server.drain_delay", "2s")];
    let server = Server::start(Copy::new().path(), &settings);
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let began = std::time::Instant::now();
    server.shut_down();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(server.admin_get("/readyz").unwrap().starts_with("HTTP/1.1 503"));
    assert!(server.admin_get("/livez").unwrap().starts_with("HTTP/1.1 200"));
    assert_health(&mut health, ServingStatus::NotServing).await;
    // Callers that have not noticed are still answered, even on a new connection.
    let mut answered = 0;
    while began.elapsed() < Duration::from_secs(1) {
        server.client().await.rank(rank_request("app_home", &["C000001"])).await.unwrap();
        answered += 1;
    }
    assert!(answered > 0);
    drop((health, watch));
    tokio::task::spawn_blocking(move || server.join()).await.unwrap().unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

/// A stream with more requests than it can answer ends at the drain, and reports exactly how many are answered.
#[tokio::test]
async fn a_stream_that_a_drain_ends_reports_where_to_resume() {
    let server = Server::start(Copy::new().path(), &[("server.drain", "20s")]);
    let mut client = server.client().await;
    let message = wire::RankStreamRequest { request: Some(rank_request("app_home", &["C000001"])) };
    let outgoing = tokio_stream::iter(std::iter::repeat(message));
    let mut answers = client.rank_stream(outgoing).await.unwrap().into_inner();
    let mut answered = 0;
    let end = loop {
        match answers.next().await.unwrap() {
            Ok(_) => answered += 1,
            Err(end) => break end,
        }
        if answered == 20 {
            server.shut_down();
        }
    };
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    let details = end.get_details_error_info().unwrap();
    assert_eq!((details.reason.as_str(), details.domain.as_str()), ("DRAINING", "proffer"));
    assert_eq!(details.metadata["answered"], answered.to_string());
    let words = format!(
        "{answered} messages of this stream are answered: send the next, from message {}",
        answered + 1
    );
    assert!(end.message().contains(&words), "{end:?}");
    assert!(end.get_details_retry_info().is_some() && end.get_details_request_info().is_some());
    drop((client, answers));
    tokio::task::spawn_blocking(move || server.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn too_many_concurrent_calls_are_rejected_as_exhausted() {
    let server =
        Server::start(Copy::new().path(), &[("limits.concurrent_calls", "1"), ("server.workers", "1")]);
    let ids: Vec<String> = (1..=1000).map(|number| format!("C{number:06}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (mut client, request) = (server.client().await, rank_request("app_home", &ids));
        calls.spawn(async move { client.rank(request).await.map(|_| ()).map_err(|status| status.code()) });
    }
    let codes: Vec<Result<(), Code>> = calls.join_all().await;
    assert!(codes.contains(&Ok(())), "{codes:?}");
    assert!(codes.contains(&Err(Code::ResourceExhausted)), "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, Ok(()) | Err(Code::ResourceExhausted))), "{codes:?}");
}

#[tokio::test]
async fn an_open_stream_is_notified_of_the_drain() {
    let server = Server::start(Copy::new().path(), &[("server.drain", "20s")]);
    let mut client = server.client().await;
    let (requests, outgoing) = tokio::sync::mpsc::channel(1);
    let message = wire::RankStreamRequest { request: Some(rank_request("app_home", &["C000001"])) };
    requests.send(message).await.unwrap();
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
    let mut answers = client.rank_stream(outgoing).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok());
    server.shut_down();
    let end = answers.next().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    assert!(end.message().contains("send the next, from message 2, on to another replica"), "{end:?}");
    drop(requests);
    tokio::task::spawn_blocking(move || server.join()).await.unwrap().unwrap();
}
