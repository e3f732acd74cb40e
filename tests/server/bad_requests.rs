//! Mistakes in requests: each gets its status and the name of its field, and the server still serves afterwards.

use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::{Code, Request, Status};

use super::harness::{Server, dense, exchange, frame, rank_request, wire};

/// Checks that the sample server still decides.
async fn assert_serving() {
    let mut client = Server::sample().client().await;
    let response = client.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner();
    assert!(!response.results[0].offers.is_empty());
}

async fn refused_rank(change: impl FnOnce(&mut wire::RankRequest)) -> Status {
    let mut request = rank_request("app_home", &["C000001"]);
    change(&mut request);
    Server::sample().client().await.rank(request).await.unwrap_err()
}

async fn refused_score(change: impl FnOnce(&mut wire::ScoreRequest)) -> Status {
    let mut request = wire::ScoreRequest {
        model: Some(wire::ModelRef { name: "propensity".to_owned(), version: 0 }),
        features: Some(dense(&["balance"], 1, &[10.0])),
        offer_ids: vec!["travel_gold".to_owned()],
    };
    change(&mut request);
    Server::sample().client().await.score(request).await.unwrap_err()
}

#[track_caller]
fn assert_status(status: &Status, code: Code, field: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(field), "{:?} does not name {field:?}", status.message());
}

#[tokio::test]
async fn unknown_names_are_not_found_and_a_likely_one_is_suggested() {
    let status = refused_rank(|request| request.placement = "app_hme".into()).await;
    assert_status(
        &status,
        Code::NotFound,
        "placement: there is no placement `app_hme`; did you mean `app_home`?",
    );
    let status = refused_score(|request| request.model.as_mut().unwrap().name = "propencity".into()).await;
    assert_status(
        &status,
        Code::NotFound,
        "model.name: there is no model `propencity`; did you mean `propensity`?",
    );
    let status = refused_score(|request| request.model.as_mut().unwrap().version = 99).await;
    assert_status(&status, Code::NotFound, "model.version");
    let status = refused_rank(|request| request.release = 77).await;
    assert_status(&status, Code::NotFound, "release");
    assert_serving().await;
}

#[tokio::test]
async fn features_that_do_not_fit_the_schema_name_their_field() {
    let of_offer = refused_score(|request| request.features = Some(dense(&["annual_fee"], 1, &[1.0]))).await;
    assert_status(&of_offer, Code::InvalidArgument, "features.dense.names[0]");
    assert_status(
        &of_offer,
        Code::InvalidArgument,
        "`annual_fee` is a feature of the offer, which cannot be sent here",
    );
    let short = refused_rank(|request| request.features = Some(dense(&["balance"], 1, &[]))).await;
    assert_status(&short, Code::InvalidArgument, "features.dense.values");
    let rows = refused_rank(|request| request.features = Some(dense(&["balance"], 2, &[1.0, 2.0]))).await;
    assert_status(&rows, Code::InvalidArgument, "features.rows");
    let column = |values| {
        let column = wire::FeatureColumn { name: "balance".into(), values, null_rows: vec![] };
        Some(wire::FeatureBatch { rows: 1, dense: None, columns: vec![column] })
    };
    let strings = wire::StringValues { values: vec!["a lot".into()] };
    let strings = column(Some(wire::feature_column::Values::Strings(strings)));
    let wrong_type = refused_rank(|request| request.features = strings).await;
    assert_status(&wrong_type, Code::InvalidArgument, "features.columns[0].strings");
    let nothing = refused_rank(|request| request.features = column(None)).await;
    assert_status(&nothing, Code::InvalidArgument, "features.columns[0].values");
    let long = wire::FloatValues { values: vec![1.0, 2.0] };
    let long = column(Some(wire::feature_column::Values::Floats(long)));
    let wrong_length = refused_rank(|request| request.features = long).await;
    assert_status(&wrong_length, Code::InvalidArgument, "features.columns[0].floats");
    let value = |kind| std::collections::HashMap::from([("month".to_owned(), wire::FeatureValue { kind })]);
    let text = value(Some(wire::feature_value::Kind::StringValue("June".into())));
    let context = refused_rank(|request| request.context = text).await;
    assert_status(&context, Code::InvalidArgument, "context[month]");
    assert_serving().await;
}

#[tokio::test]
async fn invalid_data_of_one_customer_fails_only_that_customer() {
    use wire::feature_column::Values;
    let column = |name: &str, values| wire::FeatureColumn {
        name: name.to_owned(),
        values: Some(values),
        null_rows: vec![],
    };
    let ids = ["C000001", "C000002", "C000003", "C000004", "C000005", "C000006", "C000007"];
    let mut request = rank_request("app_home", &ids);
    let long = "ä".repeat(200);
    request.customers[1].customer_id = long.clone();
    request.customers[2].consents = vec!["marketing".to_owned(), "x".repeat(300)];
    let mut batch = dense(&["balance", "age"], 7, &[1.0, 40.0].repeat(7));
    let mut values = vec![5.0; 7];
    values[3] = f32::NEG_INFINITY;
    batch.columns.push(column("purchases", Values::Floats(wire::FloatValues { values })));
    let mut texts = vec!["middle".to_owned(); 7];
    texts[4] = "x".repeat(70_000);
    batch.columns.push(column("income_band", Values::Strings(wire::StringValues { values: texts })));
    let dense = batch.dense.as_mut().unwrap();
    (dense.values[10], dense.values[13]) = (f32::INFINITY, 40.5);
    request.features = Some(batch.clone());
    let mut client = Server::sample().client().await;
    let results = client.rank(request).await.unwrap().into_inner().results;
    let expected = [
        None,
        Some("customers[1].customer_id"),
        Some("customers[2].consents[1]"),
        Some("features.columns[0].floats[3]"),
        Some("features.columns[1].strings[4]"),
        Some("features.dense.values[10]"),
        Some("features.dense.values[13]"),
    ];
    for (result, expected) in results.iter().zip(expected) {
        assert_eq!(result.error.as_ref().map(|error| error.field.as_str()), expected, "{result:?}");
        assert_eq!(result.offers.is_empty(), expected.is_some());
        assert!(result.error.as_ref().is_none_or(|error| error.code == "INVALID_ARGUMENT"));
    }
    assert_eq!(results[1].customer_id, "ä".repeat(128), "the beginning of an id that is too long");
    // The valid one is decided as in a call of its own.
    let mut alone = rank_request("app_home", &ids[..1]);
    alone.features = Some(wire::FeatureBatch {
        rows: 1,
        dense: Some(wire::DenseFeatures {
            names: ["balance", "age"].iter().collect(),
            values: vec![1.0, 40.0],
        }),
        columns: vec![
            column("purchases", Values::Floats(wire::FloatValues { values: vec![5.0] })),
            column("income_band", Values::Strings(wire::StringValues { values: vec!["middle".to_owned()] })),
        ],
    });
    let alone = client.rank(alone).await.unwrap().into_inner().results.remove(0);
    let shown = |result: &wire::RankResult| -> Vec<String> {
        result.offers.iter().map(|offer| offer.offer_id.clone()).collect()
    };
    assert_eq!((shown(&results[0]), &results[0].degraded), (shown(&alone), &alone.degraded));

    // In the other calls, too, only the invalid rows fail.
    let score = wire::ScoreRequest {
        model: Some(wire::ModelRef { name: "propensity".to_owned(), version: 0 }),
        features: Some(batch.clone()),
        offer_ids: vec!["travel_gold".to_owned(), "cashback_dining".to_owned()],
    };
    let scored = client.score(score).await.unwrap().into_inner();
    let rows: Vec<u32> = scored.errors.iter().map(|error| error.row).collect();
    assert_eq!(rows, [3, 4, 5, 6], "{:?}", scored.errors);
    assert!(
        scored.errors[2].message.contains("features.dense.values[10]: row 5 of feature `balance` is inf")
    );
    for row in 0..7 {
        let all_nan = scored.values[row * 2..row * 2 + 2].iter().all(|value| value.is_nan());
        assert_eq!(all_nan, row >= 3, "{:?}", scored.values);
    }
    let request = wire::AssignSegmentsRequest { features: Some(batch) };
    let assigned = client.assign_segments(request).await.unwrap().into_inner();
    assert_eq!(assigned.errors.iter().map(|error| error.row).collect::<Vec<_>>(), rows);
    for (row, segment) in assigned.segments.iter().enumerate() {
        assert_eq!((segment.id < 0, segment.distance.is_nan()), (row >= 3, row >= 3), "{segment:?}");
    }
    assert_serving().await;
}

#[tokio::test]
async fn dense_rows_with_an_infinite_value_are_nan_even_if_read_in_place() {
    let manifest =
        std::fs::read_to_string(super::harness::sample_workspace().join("propensity/1/model.toml")).unwrap();
    let manifest = model::Manifest::parse("model.toml", &manifest).unwrap();
    let model::Inputs::Dense(names) = &manifest.inputs else { panic!("propensity takes dense rows") };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut values = vec![1.0; 3 * names.len()];
    values[names.len() + 2] = f32::INFINITY;
    let request = wire::ScoreRequest {
        model: Some(wire::ModelRef { name: "propensity".to_owned(), version: 0 }),
        features: Some(dense(&names, 3, &values)),
        offer_ids: Vec::new(),
    };
    let scored = Server::sample().client().await.score(request).await.unwrap().into_inner();
    assert_eq!(scored.errors.iter().map(|error| error.row).collect::<Vec<_>>(), [1], "{:?}", scored.errors);
    let missing: Vec<bool> = scored.values.iter().map(|value| value.is_nan()).collect();
    assert_eq!(missing, [false, true, false]);
}

#[tokio::test]
async fn names_unknown_to_the_release_are_reported_and_the_call_is_answered() {
    let mut client = Server::sample().client().await;
    let mut ask = async |change: &dyn Fn(&mut wire::RankRequest)| {
        let mut request = rank_request("app_home", &["C000001"]);
        change(&mut request);
        client.rank(request).await.unwrap().into_inner().results.remove(0)
    };
    let plain = ask(&|_| {}).await;
    let reports = |result: &wire::RankResult, entry: &str| result.degraded.iter().any(|one| one == entry);
    let features = ask(&|request| request.features = Some(dense(&["balanse"], 1, &[f32::INFINITY]))).await;
    assert!(reports(&features, "unknown_feature:balanse") && features.offers == plain.offers);
    let value = |kind| wire::FeatureValue { kind: Some(kind) };
    let number = value(wire::feature_value::Kind::FloatValue(1.0));
    let context = ask(&|request| request.context = [("balance".to_owned(), number.clone())].into()).await;
    assert!(reports(&context, "unknown_feature:balance") && context.offers == plain.offers);
    let channel = ask(&|request| request.channel = "carrier_pigeon".to_owned()).await;
    assert!(reports(&channel, "unknown_channel:carrier_pigeon") && channel.offers.is_empty());
    let reasons = channel.rejected.iter().filter(|rejected| rejected.reason == "CHANNEL_NOT_ALLOWED");
    assert!(reasons.clone().count() > 0 && reasons.clone().all(|rejected| rejected.detail.contains("app")));
}

#[tokio::test]
async fn sizes_are_bounded() {
    let none = refused_rank(|request| request.customers.clear()).await;
    assert_status(&none, Code::InvalidArgument, "customers");
    let customer = wire::Customer { customer_id: "C000001".into(), consents: vec![] };
    let many = refused_rank(|request| request.customers = vec![customer; 100_000]).await;
    assert_status(&many, Code::InvalidArgument, "customers: 100000 customers are more than 1024");
    let long = "x".repeat(1 << 20);
    let id = refused_rank(|request| request.request_id = long.clone()).await;
    assert_status(&id, Code::InvalidArgument, "request_id");
    for odd in ["two words", "a\nforged line", "\u{1b}[2J", "\u{202e}", "ä"] {
        let id = refused_rank(|request| request.request_id = odd.to_owned()).await;
        assert_status(&id, Code::InvalidArgument, "request_id: must be 1 to 128 visible characters of ASCII");
    }
    let id = refused_rank(|request| request.candidate_offer_ids = vec![long]).await;
    assert_status(&id, Code::InvalidArgument, "candidate_offer_ids[0]");
    let message = "x".repeat(64 << 20);
    let message = refused_rank(|request| request.request_id = message).await;
    assert_eq!(message.code(), Code::OutOfRange, "{message:?}");
    let count = refused_rank(|request| request.count = 101).await;
    assert_status(&count, Code::InvalidArgument, "count");
    let rows = refused_score(|request| request.features.as_mut().unwrap().rows = 100_001).await;
    assert_status(&rows, Code::InvalidArgument, "features.rows");
    assert_serving().await;
}

#[tokio::test]
async fn values_outside_their_type_are_rejected() {
    let explain = refused_rank(|request| request.explain = 17).await;
    assert_status(&explain, Code::InvalidArgument, "explain");
    let nanos = prost_types::Timestamp { seconds: 0, nanos: -5 };
    let as_of = refused_rank(|request| request.as_of = Some(nanos)).await;
    assert_status(&as_of, Code::InvalidArgument, "as_of");
    assert_serving().await;
}

/// Sends raw bytes, as a client in another language might.
#[derive(Debug, Clone, Default)]
struct Raw;

struct RawCoder;

impl tonic::codec::Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = RawCoder;
    type Decoder = RawCoder;
    fn encoder(&mut self) -> RawCoder {
        RawCoder
    }
    fn decoder(&mut self) -> RawCoder {
        RawCoder
    }
}

impl tonic::codec::Encoder for RawCoder {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, buffer: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
        use prost::bytes::BufMut;
        buffer.put_slice(&item);
        Ok(())
    }
}

impl tonic::codec::Decoder for RawCoder {
    type Item = ();
    type Error = Status;
    fn decode(&mut self, buffer: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, Status> {
        use prost::bytes::Buf;
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

async fn raw_rank(bytes: &[u8]) -> Status {
    let mut client = tonic::client::Grpc::new(Server::sample().channel().await);
    client.ready().await.unwrap();
    let path = "/proffer.v1.DecisionService/Rank".parse().unwrap();
    client.unary(Request::new(bytes.to_vec()), path, Raw).await.unwrap_err()
}

#[tokio::test]
async fn invalid_messages_are_the_fault_of_the_caller() {
    // Field 2 (placement), three bytes that are not UTF-8.
    let status = raw_rank(&[0x12, 3, 0xff, 0xfe, 0xfd]).await;
    assert_status(&status, Code::InvalidArgument, "placement");
    // A missing message is the caller's fault, too.
    assert_eq!(damaged_frame(&[]).await.code(), Code::InvalidArgument);
    // A frame that is flagged as compressed but is not.
    let damaged = damaged_frame(&[1, 0, 0, 0, 2, 0x12, 0]).await;
    assert_eq!(damaged.code(), Code::InvalidArgument, "{damaged:?}");
    // A length that exceeds the message.
    let status = raw_rank(&[0x12, 0x7f, b'x']).await;
    assert_status(&status, Code::InvalidArgument, "decoded");
    assert_serving().await;
}

/// Sends the raw bytes of a `Rank`, frame included, and reads the server's own answer: `tonic`'s client would reject
/// some of them itself.
async fn raw_call(headers: &[(&str, &str)], frame: Vec<u8>) -> Status {
    let (answer, _) = exchange(Server::sample().address, headers, frame).await;
    Status::from_header_map(&answer.headers).expect("an answer without a body")
}

#[tokio::test]
async fn only_large_answers_are_compressed_and_only_on_request() {
    let flag = |customers: usize, accepts: &'static [(&'static str, &'static str)]| async move {
        let ids: Vec<String> = (1..=customers).map(|number| format!("C{number:06}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let message = frame(&rank_request("app_home", &ids));
        let (_, body) = exchange(Server::sample().address, accepts, message).await;
        body[0]
    };
    let gzip = &[("grpc-accept-encoding", "gzip")];
    assert_eq!(flag(1, gzip).await, 0, "small answer");
    assert_eq!(flag(500, gzip).await, 1, "large answer");
    assert_eq!(flag(500, &[]).await, 0, "no compression requested");
}

async fn damaged_frame(frame: &[u8]) -> Status {
    raw_call(&[("grpc-encoding", "gzip")], frame.to_vec()).await
}

async fn with_timeout(timeout: &str, request: &wire::RankRequest) -> Status {
    raw_call(&[("grpc-timeout", timeout)], frame(request)).await
}

#[tokio::test]
async fn a_deadline_that_cannot_be_met_is_exceeded() {
    let small = rank_request("app_home", &["C000001"]);
    assert_status(&with_timeout("0m", &small).await, Code::DeadlineExceeded, "deadline");
    assert_status(&with_timeout("1n", &small).await, Code::DeadlineExceeded, "deadline");
    assert_status(&with_timeout("soon", &small).await, Code::InvalidArgument, "grpc-timeout");
    // Work that takes longer than the deadline is cancelled.
    let ids: Vec<String> = (1..=1000).map(|number| format!("C{number:06}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let large = rank_request("app_home", &ids);
    assert_status(&with_timeout("3m", &large).await, Code::DeadlineExceeded, "deadline");
    assert_serving().await;
}

#[tokio::test]
async fn a_client_that_disappears_mid_stream_leaves_no_work_behind() {
    let server = Server::sample();
    let ids: Vec<String> = (1..=1000).map(|number| format!("C{number:06}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let message = wire::RankStreamRequest { request: Some(rank_request("app_home", &ids)) };
    let mut client = server.client().await;
    let endless = tokio_stream::iter(std::iter::repeat(message));
    let mut stream = client.rank_stream(endless).await.unwrap().into_inner();
    assert!(stream.next().await.unwrap().is_ok());
    drop(stream);
    drop(client);
    // Its work is cancelled, so the queue drains although the client sent requests without end.
    for attempt in 0.. {
        let metrics = server.admin_get("/metrics").unwrap();
        if metrics.contains("proffer_queue_depth 0") {
            break;
        }
        assert!(attempt < 500, "the queue does not drain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_serving().await;
}

#[tokio::test]
async fn a_failed_request_ends_its_stream_with_its_status() {
    let good = wire::RankStreamRequest { request: Some(rank_request("app_home", &["C000001"])) };
    let bad = wire::RankStreamRequest { request: None };
    let mut client = Server::sample().client().await;
    let messages = tokio_stream::iter(vec![good.clone(), good.clone(), bad, good]);
    let mut stream = client.rank_stream(messages).await.unwrap().into_inner();
    assert!(stream.next().await.unwrap().is_ok());
    assert!(stream.next().await.unwrap().is_ok());
    assert_status(&stream.next().await.unwrap().unwrap_err(), Code::InvalidArgument, "request");
    assert!(stream.next().await.is_none());
    assert_serving().await;
}
