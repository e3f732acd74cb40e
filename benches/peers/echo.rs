//! The floor under `Score`: the same bytes through tonic, with nothing done for them; messages as prost generates them.

use proffer::grpc::proto::proffer::v1::ScoreResponse;
use tonic::Status;

use crate::plain::Answer;

/// `proffer.v1.ScoreRequest`, as far as the client fills it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    #[prost(message, optional, tag = "1")]
    model: Option<ModelRef>,
    #[prost(message, optional, tag = "2")]
    features: Option<FeatureBatch>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ModelRef {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FeatureBatch {
    #[prost(uint32, tag = "1")]
    rows: u32,
    #[prost(message, optional, tag = "2")]
    dense: Option<DenseFeatures>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DenseFeatures {
    #[prost(string, repeated, tag = "1")]
    names: Vec<String>,
    #[prost(float, repeated, tag = "2")]
    values: Vec<f32>,
}

/// Answers in as many bytes as Proffer does, with the first value of the request as the score.
#[derive(Clone)]
pub(crate) struct Echo;

impl Answer for Echo {
    type Request = Request;
    type Reply = ScoreResponse;

    async fn answer(&self, request: Request) -> Result<ScoreResponse, Status> {
        let (model, features) = request.model.zip(request.features).ok_or_else(incomplete)?;
        let value = features.dense.and_then(|dense| dense.values.first().copied()).ok_or_else(incomplete)?;
        Ok(ScoreResponse {
            model: model.name,
            version: 1,
            release: 1,
            rows: 1,
            columns: vec!["probabilities".to_owned()],
            values: vec![value],
            ..ScoreResponse::default()
        })
    }
}

fn incomplete() -> Status {
    Status::invalid_argument("the message is incomplete")
}
