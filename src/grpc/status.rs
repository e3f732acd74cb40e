//! The one place where errors become statuses.

use tonic::{Code, Status};

use crate::decision::DecisionError;
use crate::model::{Refusal, Stop};

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
    Status::internal(format!("internal error; quote request id {request_id}"))
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
