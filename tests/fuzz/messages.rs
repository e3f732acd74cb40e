//! The messages of both protocols, decoded from wire bytes.

use std::collections::HashMap;

use prost::{Message, Name};

use proffer::grpc::proto::inference;
use proffer::grpc::proto::proffer::v1 as wire;

use super::run;
use fuzz::Target;

/// Decodes a message, and checks that it keeps its encoded length when it is encoded and decoded again.
fn decode<M: Message + Name + Default>(input: &[u8]) {
    if let Ok(message) = M::decode(input) {
        let written = message.encode_to_vec();
        assert_eq!(written.len(), message.encoded_len(), "{}", M::full_name());
        let again = M::decode(&written[..]).unwrap();
        assert_eq!(again.encoded_len(), written.len(), "{}", M::full_name());
    }
}

fn value(kind: wire::feature_value::Kind) -> wire::FeatureValue {
    wire::FeatureValue { kind: Some(kind) }
}

fn batch() -> wire::FeatureBatch {
    wire::FeatureBatch {
        rows: 2,
        dense: Some(wire::DenseFeatures {
            names: ["balance", "age"].iter().map(|name| (*name).to_owned()).collect(),
            values: vec![1.0, f32::NAN, -0.0, 3e38],
        }),
        columns: vec![wire::FeatureColumn { name: "city".to_owned(), ..wire::FeatureColumn::default() }],
    }
}

fn rank() -> wire::RankRequest {
    use wire::feature_value::Kind;
    let context = [
        ("month", Kind::Int64Value(-6)),
        ("page", Kind::StringValue("home\u{202e}".to_owned())),
        ("share", Kind::FloatValue(f64::MIN_POSITIVE)),
    ];
    wire::RankRequest {
        request_id: "mine".to_owned(),
        placement: "app_home".to_owned(),
        channel: "app".to_owned(),
        customers: vec![
            wire::Customer {
                customer_id: "C000001".to_owned(),
                consents: vec!["email".to_owned()]
            };
            3
        ],
        features: Some(batch()),
        context: HashMap::from(context.map(|(name, kind)| (name.to_owned(), value(kind)))),
        count: 5,
        ..wire::RankRequest::default()
    }
}

#[test]
fn decisions() {
    let score = wire::ScoreRequest { features: Some(batch()), ..wire::ScoreRequest::default() };
    let assign = wire::AssignSegmentsRequest { features: Some(batch()) };
    let seeds = vec![
        rank().encode_to_vec(),
        wire::RankStreamRequest { request: Some(rank()) }.encode_to_vec(),
        score.encode_to_vec(),
        assign.encode_to_vec(),
        Vec::new(),
    ];
    run(Target { name: "decisions", seeds, words: &[], inputs: 20_000 }, 512, |input| {
        decode::<wire::RankRequest>(input);
        decode::<wire::RankStreamRequest>(input);
        decode::<wire::ScoreRequest>(input);
        decode::<wire::ScoreStreamRequest>(input);
        decode::<wire::AssignSegmentsRequest>(input);
    });
}

#[test]
fn management() {
    let create = wire::CreateReleaseRequest {
        offers_toml: Some("[[offer]]\nid = 'a'\n".to_owned()),
        ..wire::CreateReleaseRequest::default()
    };
    let seeds = vec![create.encode_to_vec(), Vec::new()];
    run(Target { name: "management", seeds, words: &[], inputs: 20_000 }, 512, |input| {
        decode::<wire::PushModelVersionRequest>(input);
        decode::<wire::CreateReleaseRequest>(input);
        decode::<wire::PromoteReleaseRequest>(input);
        decode::<wire::RollbackReleaseRequest>(input);
        decode::<wire::ListReleasesRequest>(input);
        decode::<wire::GetModelVersionRequest>(input);
    });
}

#[test]
fn inference_protocol() {
    let tensor = inference::model_infer_request::InferInputTensor {
        name: "input".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1, 4],
        contents: Some(inference::InferTensorContents { fp32_contents: vec![1.0; 4], ..Default::default() }),
        ..Default::default()
    };
    let request = inference::ModelInferRequest {
        model_name: "propensity".to_owned(),
        id: "42".to_owned(),
        inputs: vec![tensor; 2],
        raw_input_contents: vec![vec![0; 16]],
        ..Default::default()
    };
    let seeds = vec![request.encode_to_vec(), Vec::new()];
    run(Target { name: "inference", seeds, words: &[], inputs: 20_000 }, 512, |input| {
        decode::<inference::ModelInferRequest>(input);
        decode::<inference::ModelMetadataRequest>(input);
        decode::<inference::ModelReadyRequest>(input);
    });
}
