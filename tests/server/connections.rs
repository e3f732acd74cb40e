//! Connections: answers of every length are sent at once and whole, on every path.

use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::harness::{Server, rank_request, scores, wire};

/// Row counts on both sides of every threshold of length: copied into one frame, filling a frame, buffered, offloaded.
const ROWS: [usize; 10] = [1, 60, 250, 260, 1000, 4090, 4100, 4300, 9000, 40_000];

/// A request with this many rows, for one offer.
fn rows_of(rows: usize) -> wire::ScoreRequest {
    scores("propensity", rows, &["travel_gold"])
}

/// No message follows, so only the server itself can flush its answer.
#[tokio::test]
async fn an_answer_of_any_length_waits_for_no_further_message() {
    let mut client = Server::sample().client().await;
    let (messages, taken) = mpsc::channel(1);
    let message = |rows| wire::ScoreStreamRequest { request: Some(rows_of(rows)) };
    messages.send(message(ROWS[0])).await.unwrap();
    let mut answers = client.score_stream(ReceiverStream::new(taken)).await.unwrap().into_inner();
    for (rows, next) in ROWS.into_iter().zip(ROWS.into_iter().skip(1).map(Some).chain([None])) {
        let answer = answers.next().await.unwrap().unwrap().response.unwrap();
        let alone = client.score(rows_of(rows)).await.unwrap().into_inner();
        assert_eq!((answer.values.len(), alone.values.len()), (rows, rows));
        let near = answer.values.iter().zip(&alone.values).all(|(one, other)| (one - other).abs() < 1e-5);
        assert!(near, "{rows} rows");
        if let Some(next) = next {
            messages.send(message(next)).await.unwrap();
        }
    }
}

/// The customers of the call numbered `call`; their number varies.
fn customers(call: usize) -> Vec<String> {
    (0..=call % 7).map(|index| format!("C{:06}", 1 + (call * 31 + index * 7) % 2000)).collect()
}

async fn ranked(channel: tonic::transport::Channel, call: usize) -> wire::RankResponse {
    let customers = customers(call);
    let ids: Vec<&str> = customers.iter().map(String::as_str).collect();
    let mut client = wire::decision_service_client::DecisionServiceClient::new(channel);
    let answer = client.rank(rank_request("app_home", &ids)).await.unwrap().into_inner();
    let answered: Vec<&str> = answer.results.iter().map(|result| result.customer_id.as_str()).collect();
    assert_eq!(answered, ids);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_on_one_connection_and_on_many_get_their_own_answers() {
    const CALLS: usize = 64;
    let server = Server::sample();
    let shared = server.channel().await;
    let (mut on_one, mut on_many) = (Vec::new(), Vec::new());
    for call in 0..CALLS {
        on_one.push(tokio::spawn(ranked(shared.clone(), call)));
        let own = server.channel().await;
        on_many.push(tokio::spawn(ranked(own, call)));
    }
    for (one, many) in on_one.into_iter().zip(on_many) {
        let (one, many) = (one.await.unwrap(), many.await.unwrap());
        for (one, many) in one.results.iter().zip(&many.results) {
            let ids = |result: &wire::RankResult| -> Vec<String> {
                result.offers.iter().map(|offer| offer.offer_id.clone()).collect()
            };
            assert_eq!(ids(one), ids(many), "{}", one.customer_id);
            assert!(!one.offers.is_empty());
        }
    }
}
