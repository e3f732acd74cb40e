//! The floor under `Score`: the same messages through tonic, with nothing done for them.

use proffer::grpc::proto::proffer::v1::{ScoreRequest, ScoreResponse};
use tonic::Status;

use crate::plain::Answer;

/// Answers in as many bytes as Proffer does, with the first value of the request as the score.
#[derive(Clone)]
pub struct Echo;

impl Answer for Echo {
    type Request = ScoreRequest;
    type Reply = ScoreResponse;

    async fn answer(&self, request: ScoreRequest) -> Result<ScoreResponse, Status> {
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
