//! Answers of servers, decoded so that `peers.py` can compare them with ONNX Runtime.

use bytes::Bytes;
use proffer::grpc::proto::inference::ModelInferResponse;
use proffer::grpc::proto::proffer::v1 as wire;
use prost::Message;
use serde_json::{Value, json};

use crate::bare::Scores;
use crate::requests::Case;

/// Scores, or the ranked offers of each customer as `[id, priority, score]`; the score is `null` if it was not
/// requested.
pub(crate) fn read(case: Case, answer: &Bytes) -> Value {
    let answer = answer.clone();
    match case {
        Case::Bare => json!(Scores::decode(answer).unwrap().values),
        Case::Mlserver => json!(doubles(&ModelInferResponse::decode(answer).unwrap())),
        Case::Infer => {
            let answer = ModelInferResponse::decode(answer).unwrap();
            let both = answer.raw_output_contents[0].as_chunks().0.iter().copied().map(f32::from_le_bytes);
            json!(both.skip(1).step_by(2).collect::<Vec<f32>>())
        }
        Case::Rank => ranked(&wire::RankResponse::decode(answer).unwrap()),
        Case::Score | Case::Echo => json!(wire::ScoreResponse::decode(answer).unwrap().values),
        Case::Campaign => ranked(&wire::RankStreamResponse::decode(answer).unwrap().response.unwrap()),
    }
}

/// LightGBM predicts doubles; `MLServer` sends them raw if the request was raw.
fn doubles(answer: &ModelInferResponse) -> Vec<f64> {
    match answer.raw_output_contents.first() {
        Some(raw) => raw.as_chunks().0.iter().copied().map(f64::from_le_bytes).collect(),
        None => answer.outputs[0].contents.as_ref().unwrap().fp64_contents.clone(),
    }
}

/// The ranked offers of each customer.
pub(crate) fn ranked(answer: &wire::RankResponse) -> Value {
    let result = |result: &wire::RankResult| -> Value {
        assert!(result.error.is_none(), "no decision for {}", result.customer_id);
        let offers = result.offers.iter();
        offers
            .map(|offer| json!([offer.offer_id, offer.priority, offer.factors.as_ref().map(|of| of.score)]))
            .collect()
    };
    answer.results.iter().map(result).collect()
}
