//! Calls over gRPC on the loopback device, with one connection per caller.

use std::sync::Arc;

use proffer::grpc::proto::proffer::v1 as wire;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use wire::decision_service_client::DecisionServiceClient;

use crate::PLACEMENTS;
use crate::in_process::{Engine, RANK_CUSTOMERS, SCORE_ROWS};
use crate::measure::{Measured, Turns, closed_loop, counted, in_turn, in_turns, print_columns};
use crate::sample::{self, Visit};
use crate::server::Server;

/// A client of decisions on a connection of its own.
pub(crate) type Client = DecisionServiceClient<Channel>;

/// Median latencies with one connection, in µs.
pub(crate) struct Latencies {
    /// Of a health check.
    pub bare_p50: f64,
    /// Of `Rank` at the first placement.
    pub rank_p50: f64,
}

/// Measures every kind of call.
pub(crate) async fn run(server: &Server, engine: &Engine, visits: &[Visit]) -> Latencies {
    print_columns("Over gRPC on loopback, the client on the same cores", "calls/s");
    let bare = health(server).await;
    bare.print("health check, 1 connection: a bare call", 1);
    let mut first = None;
    for (placement, connections) in [
        (PLACEMENTS[0].0, 1),
        (PLACEMENTS[0].0, 4),
        (PLACEMENTS[0].0, 16),
        (PLACEMENTS[1].0, 1),
        (PLACEMENTS[2].0, 1),
    ] {
        let requests = sample::for_each(visits, |visit| visit.message(placement));
        let measured = rank(server, &requests, connections).await;
        let name = format!(
            "Rank {placement}: {} candidates, {}",
            engine.candidates(placement),
            counted(connections, "connection"),
        );
        measured.print(&name, 1);
        first.get_or_insert(measured.quantile(0.5).median);
    }
    bulk(server, engine, visits).await;
    Latencies { bare_p50: bare.quantile(0.5).median, rank_p50: first.unwrap() }
}

async fn bulk(server: &Server, engine: &Engine, visits: &[Visit]) {
    print_columns("Over gRPC, bulk, 1 connection", "rows or customers/s");
    let (rows, width) = sample::rows(&engine.snapshot, visits, "propensity", SCORE_ROWS);
    let client = client(server).await;
    let caller = in_turn(Arc::from([sample::rows_message(&rows)]), 0, move |request| {
        let mut client = client.clone();
        async move {
            let answer = client.score(request).await.unwrap().into_inner();
            assert!(answer.errors.is_empty() && answer.values.len() == SCORE_ROWS);
        }
    });
    let measured = closed_loop(vec![caller], server.process()).await;
    measured.print(&format!("Score {SCORE_ROWS} rows × {width}, dense, propensity"), SCORE_ROWS);

    let (_, batch) = sample::batch(&visits[..RANK_CUSTOMERS], PLACEMENTS[0].0);
    let measured = rank(server, &Arc::from([batch]), 1).await;
    measured.print(&format!("Rank {RANK_CUSTOMERS} customers, {}", PLACEMENTS[0].0), RANK_CUSTOMERS);
}

async fn health(server: &Server) -> Measured {
    let client = HealthClient::new(connect(server).await);
    let caller = in_turn(Arc::from([HealthCheckRequest::default()]), 0, move |request| {
        let mut client = client.clone();
        async move {
            client.check(request).await.unwrap();
        }
    });
    closed_loop(vec![caller], server.process()).await
}

/// Measures `Rank`.
pub(crate) async fn rank(
    server: &Server,
    requests: &Arc<[wire::RankRequest]>,
    connections: usize,
) -> Measured {
    let clients = clients(server, connections).await;
    closed_loop(callers(clients, requests, ranked), server.process()).await
}

/// Measures `Rank` of two servers that take turns.
pub(crate) async fn rank_in_turns(
    servers: [&Server; 2],
    requests: &Arc<[wire::RankRequest]>,
    connections: usize,
) -> Turns {
    let [first, second] = servers;
    let clients = [clients(first, connections).await, clients(second, connections).await];
    let loops = clients.map(|clients| callers(clients, requests, ranked));
    in_turns(loops, servers.map(Server::process)).await
}

/// Clients on connections of their own.
pub(crate) async fn clients(server: &Server, connections: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(client(server).await);
    }
    clients
}

/// A caller per client; each starts at a different request.
fn callers<C, F>(
    clients: Vec<Client>,
    requests: &Arc<[wire::RankRequest]>,
    call: C,
) -> Vec<impl FnMut() -> F + use<C, F>>
where
    C: Fn(Client, wire::RankRequest) -> F + Copy,
{
    let count = clients.len();
    let caller = |(at, client): (usize, Client)| {
        let first = at * requests.len() / count;
        in_turn(Arc::clone(requests), first, move |request| call(client.clone(), request))
    };
    clients.into_iter().enumerate().map(caller).collect()
}

async fn ranked(mut client: Client, request: wire::RankRequest) {
    let answer = client.rank(request).await.unwrap().into_inner();
    answer.results.iter().for_each(check);
}

fn check(result: &wire::RankResult) {
    assert!(result.error.is_none() && !result.offers.is_empty(), "no decision for {}", result.customer_id);
}

/// A connection.
pub(crate) async fn connect(server: &Server) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

async fn client(server: &Server) -> Client {
    DecisionServiceClient::new(connect(server).await).max_decoding_message_size(usize::MAX)
}
