//! Why an inference call has no answer, and the status that says so.

use tonic::Status;

use crate::model::{ModelError, Refusal, RepositoryError, Stop};

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
}

/// `text` cut to a length that belongs in a message.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl From<InferenceError> for Status {
    fn from(error: InferenceError) -> Self {
        let message = error.to_string();
        match error {
            InferenceError::InvalidArgument { .. } => Status::invalid_argument(message),
            InferenceError::Repository(
                RepositoryError::ModelNotFound { .. } | RepositoryError::VersionNotFound { .. },
            ) => Status::not_found(message),
            InferenceError::Repository(
                RepositoryError::NotLoaded { .. } | RepositoryError::CannotLoad { .. },
            ) => Status::failed_precondition(message),
            InferenceError::AnswerTooLarge { .. } => Status::out_of_range(message),
            InferenceError::Refused(Refusal::Overloaded) => Status::resource_exhausted(message),
            InferenceError::Refused(Refusal::Stopped(Stop::DeadlineExceeded)) => {
                Status::deadline_exceeded(message)
            }
            InferenceError::Refused(Refusal::Stopped(Stop::Abandoned)) => Status::cancelled(message),
            InferenceError::Refused(Refusal::Panicked) | InferenceError::Model(_) => {
                tracing::error!(error = message, "an inference failed");
                Status::internal("the server failed; its log says why")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let message = error.to_string();
            assert_eq!(Status::from(error).code(), code, "{message}");
        }
    }

    #[test]
    fn our_own_faults_are_not_told() {
        let error = InferenceError::Model(ModelError::NoSession { worker: 3, sessions: 2 });
        assert!(!Status::from(error).message().contains("session"));
    }
}
