//! The one place where errors become statuses.

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};

use super::inference::InferenceError;
use crate::decision::DecisionError;
use crate::model::{Refusal, RepositoryError, Stop};

/// The status of a decision that has no answer. Details of our own faults go to the log, under the request's id.
pub(super) fn from_decision(error: &DecisionError, request_id: &str) -> Status {
    match error {
        DecisionError::Invalid { .. } => Status::invalid_argument(error.to_string()),
        DecisionError::NotFound { .. } => Status::not_found(error.to_string()),
        DecisionError::NotLoaded { .. } => Status::failed_precondition(error.to_string()),
        DecisionError::NotReady => Status::unavailable(error.to_string()),
        DecisionError::Refused(refusal) => from_refusal(*refusal, request_id),
        DecisionError::Internal(details) => internal(details, request_id),
    }
}

/// The status of an inference that has no answer.
pub(super) fn from_inference(error: &InferenceError, request_id: &str) -> Status {
    match error {
        InferenceError::InvalidArgument { field, message } => invalid(field, message),
        InferenceError::Repository(error) => match error {
            RepositoryError::ModelNotFound { .. } | RepositoryError::VersionNotFound { .. } => {
                Status::not_found(error.to_string())
            }
            RepositoryError::NotLoaded { .. } | RepositoryError::CannotLoad { .. } => {
                Status::failed_precondition(error.to_string())
            }
        },
        InferenceError::AnswerTooLarge { .. } => Status::out_of_range(error.to_string()),
        InferenceError::Refused(refusal) => from_refusal(*refusal, request_id),
        InferenceError::Model(error) => internal(&error.to_string(), request_id),
    }
}

/// The status of work that the workers refused or did not finish.
pub(super) fn from_refusal(refusal: Refusal, request_id: &str) -> Status {
    match refusal {
        Refusal::Overloaded => Status::resource_exhausted("too much work is queued; try again later"),
        Refusal::Stopped(Stop::DeadlineExceeded) => deadline_exceeded(),
        Refusal::Stopped(Stop::Abandoned) => Status::cancelled("the caller has gone"),
        Refusal::Panicked => internal("the work panicked", request_id),
    }
}

/// Our fault: the caller gets the request's id, the log gets the details.
pub(super) fn internal(details: &str, request_id: &str) -> Status {
    tracing::error!(request_id, details, "internal error");
    Status::internal(format!("{OUR_FAULT} {request_id}"))
}

/// The server goes away.
pub(super) fn draining() -> Status {
    Status::unavailable("the server is shutting down; call another replica")
}

/// How [`internal`] begins: any other `INTERNAL` is `tonic`'s word for bytes that it could not read.
const OUR_FAULT: &str = "internal error; quote request id";

/// `tonic` calls a damaged frame or compression `INTERNAL`, and too much of it `RESOURCE_EXHAUSTED`; the contract calls the
/// one the caller's mistake and the other out of range.
pub(super) fn corrected(status: Status) -> Status {
    let message = status.message();
    if status.code() == Code::Internal && !message.starts_with(OUR_FAULT) {
        return Status::invalid_argument(message);
    }
    if status.code() == Code::ResourceExhausted && message.contains("decompressing") {
        return Status::out_of_range(message);
    }
    status
}

/// [`corrected`] for an answer that has no body.
pub(super) fn of_caller(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(status) if matches!(status.code(), Code::Internal | Code::ResourceExhausted) => {
            corrected(status).into_http()
        }
        _ => response,
    }
}

/// The caller's deadline has passed; the work was dropped.
pub(super) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline passed before the answer was ready; the work was dropped")
}

/// The caller's field is wrong.
pub(super) fn invalid(field: impl std::fmt::Display, message: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{field}: {message}"))
}

/// The name of a code as gRPC writes it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelError;

    #[test]
    fn each_reason_has_its_status() {
        let named = |name: &str| name.to_owned();
        let cases = [
            (
                InferenceError::InvalidArgument { field: named("inputs[0].shape"), message: named("is [1]") },
                Code::InvalidArgument,
            ),
            (RepositoryError::ModelNotFound { name: named("m"), hint: String::new() }.into(), Code::NotFound),
            (
                RepositoryError::VersionNotFound { name: named("m"), version: 2, versions: vec![1] }.into(),
                Code::NotFound,
            ),
            (
                RepositoryError::NotLoaded { name: named("m"), version: 1, serving: Some(2) }.into(),
                Code::FailedPrecondition,
            ),
            (
                RepositoryError::CannotLoad { name: named("m"), version: 1, reason: named("damaged") }.into(),
                Code::FailedPrecondition,
            ),
            (InferenceError::AnswerTooLarge { bytes: 2, limit: 1 }, Code::OutOfRange),
            (Refusal::Overloaded.into(), Code::ResourceExhausted),
            (Refusal::Stopped(Stop::DeadlineExceeded).into(), Code::DeadlineExceeded),
            (Refusal::Stopped(Stop::Abandoned).into(), Code::Cancelled),
            (Refusal::Panicked.into(), Code::Internal),
        ];
        for (error, code) in cases {
            assert_eq!(from_inference(&error, "7").code(), code, "{error}");
        }
    }

    #[test]
    fn our_own_faults_are_told_by_request_id_only() {
        let error = InferenceError::Model(ModelError::NoSession { worker: 3, sessions: 2 });
        let message = from_inference(&error, "request 7").message().to_owned();
        assert!(message.contains("request 7") && !message.contains("session"), "{message}");
    }
}
