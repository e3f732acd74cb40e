//! Why an inference call has no answer, and the status that says so.

use tonic::Status;

use crate::grpc::status;
use crate::model::{ModelError, Refusal, RepositoryError};

/// Why a call of the Open Inference Protocol failed.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The request is wrong in one field.
    #[error("{field}: {message}")]
    InvalidArgument {
        /// The path of the field (`inputs[0].shape`).
        field: String,
        /// What is wrong, and what the model wants.
        message: String,
    },
    /// There is no such model, or it is not loaded.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The answer would not fit into a message.
    #[error(
        "the outputs need {bytes} bytes, but a message holds at most {limit}; ask for fewer outputs or rows"
    )]
    AnswerTooLarge {
        /// The size of the answer, at least.
        bytes: usize,
        /// The limit of a message.
        limit: usize,
    },
    /// The queue, the deadline or the caller ended the call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The model failed for a reason that is not the request.
    #[error(transparent)]
    Model(ModelError),
}

/// The longest piece of a client's own text, or of ONNX Runtime's, that a message repeats; in characters.
const LONGEST_QUOTE: usize = 300;

impl InferenceError {
    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidArgument { field: field.into(), message: message.into() }
    }

    /// The status of a call that ended this way. Details of our own faults go to the log, under `request_id`.
    pub(super) fn status(&self, request_id: &str) -> Status {
        match self {
            Self::InvalidArgument { field, message } => status::invalid(field, message),
            Self::Repository(error) => match error {
                RepositoryError::ModelNotFound { .. } | RepositoryError::VersionNotFound { .. } => {
                    Status::not_found(error.to_string())
                }
                RepositoryError::NotLoaded { .. } | RepositoryError::CannotLoad { .. } => {
                    Status::failed_precondition(error.to_string())
                }
            },
            Self::AnswerTooLarge { .. } => Status::out_of_range(self.to_string()),
            Self::Refused(refusal) => status::from_refusal(*refusal, request_id),
            Self::Model(error) => status::internal(&error.to_string(), request_id),
        }
    }
}

/// `text` cut to a length that belongs in a message.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stop;
    use tonic::Code;

    #[test]
    fn each_reason_has_its_status() {
        let named = |name: &str| name.to_owned();
        let cases = [
            (InferenceError::invalid("inputs[0].shape", "is [1]"), Code::InvalidArgument),
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
            assert_eq!(error.status("7").code(), code, "{error}");
        }
    }

    #[test]
    fn our_own_faults_are_told_by_request_id_only() {
        let error = InferenceError::Model(ModelError::NoSession { worker: 3, sessions: 2 });
        let message = error.status("request 7").message().to_owned();
        assert!(message.contains("request 7") && !message.contains("session"), "{message}");
    }
}
