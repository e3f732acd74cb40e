//! `Score`: from the wire and back.

use tonic::Status;

use super::features::read_batch;
use crate::grpc::limits::{Limits, check_id, check_ids};
use crate::grpc::proto::proffer::v1 as wire;
use crate::grpc::status::invalid;
use decision::{RowProblems, ScoreAnswer, ScoreRequest};

/// Reads a request; names are checked against the release later.
pub(super) fn read(request: wire::ScoreRequest, limits: &Limits) -> Result<ScoreRequest, Status> {
    let model = request.model.unwrap_or_default();
    if model.name.is_empty() {
        return Err(invalid("model.name", "is missing; name a model of the release"));
    }
    check_id("model.name", &model.name)?;
    check_ids("offer_ids", &request.offer_ids)?;
    let batch = request.features.ok_or_else(|| invalid("features", "is missing"))?;
    let mut unreadable = RowProblems::new();
    Ok(ScoreRequest {
        model: model.name,
        version: model.version,
        features: read_batch(batch, limits.rows, limits, &mut unreadable)?,
        unreadable,
        offer_ids: request.offer_ids,
    })
}

/// Writes an answer.
pub(super) fn write(answer: ScoreAnswer) -> wire::ScoreResponse {
    wire::ScoreResponse {
        model: answer.model,
        version: answer.version,
        release: answer.release,
        rows: answer.rows as u32,
        columns: answer.columns,
        values: answer.values,
        calibrated: answer.calibrated,
        errors: write_errors(answer.errors),
        degraded: answer.degraded,
    }
}

/// Writes what is wrong with rows.
pub(super) fn write_errors(errors: Vec<(usize, String)>) -> Vec<wire::RowError> {
    errors.into_iter().map(|(row, message)| wire::RowError { row: row as u32, message }).collect()
}
